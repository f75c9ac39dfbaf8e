//! Commands: what they are given, and which they are.

use tree_sitter::Node;

use crate::machine::Ran;
use crate::shell::{Ended, Flow, Shell};
use crate::syntax::{child, children};
use crate::value::{Value, collapse};

/// The parameters of a cmdlet: those that a value without a name goes to, the others, and switches.
type Parameters = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

fn parameters(cmdlet: &str) -> Option<Parameters> {
    Some(match cmdlet {
        "convertfrom-json" | "convertto-json" | "out-null" => (&[], &[], &[]),
        "get-acl" | "get-itemproperty" | "test-path" => (&[], &["LiteralPath"], &[]),
        "get-childitem" => (&[], &["Path", "LiteralPath"], &["File", "Force"]),
        "get-ciminstance" => (&[], &["ClassName", "Filter"], &[]),
        "get-command" => (&["Name"], &["ErrorAction"], &[]),
        "get-content" => (&[], &["LiteralPath", "Tail"], &["Raw"]),
        "get-item" => (&[], &["LiteralPath"], &["Force"]),
        "get-process" => (&[], &["Id"], &[]),
        "get-random" => (&[], &["Minimum", "Maximum"], &[]),
        "get-service" | "start-service" => (&[], &["Name"], &[]),
        "get-ssmparameter" => (&[], &["Name", "WithDecryption", "Region", "Credential"], &[]),
        "join-path" => (&["Path", "ChildPath"], &[], &[]),
        "move-item" => (&[], &["LiteralPath", "Destination"], &["Force"]),
        "new-awscredential" => (&[], &["AccessKey", "SecretKey", "SessionToken"], &[]),
        "new-ec2tag" => (&[], &["Resource", "Tag", "Region", "Credential"], &[]),
        "new-item" => (&[], &["ItemType", "Path"], &[]),
        "new-object" => (&["TypeName", "ArgumentList"], &[], &[]),
        "remove-item" => (&[], &["LiteralPath", "ErrorAction"], &[]),
        "select-object" => (&[], &["First", "Last"], &["Unique"]),
        "set-acl" => (&[], &["LiteralPath", "AclObject"], &[]),
        "set-service" => (&[], &["Name", "StartupType"], &[]),
        "set-strictmode" => (&[], &["Version"], &[]),
        "sort-object" => (&["Property"], &[], &[]),
        "start-sleep" => (&[], &["Seconds", "Milliseconds"], &[]),
        "stop-service" => (&[], &["Name"], &["Force", "NoWait"]),
        "where-object" => (&["FilterScript"], &[], &[]),
        "write-host" => (&["Object"], &[], &[]),
        _ => return None,
    })
}

/// What a cmdlet was called with.
pub(crate) struct Bound {
    named: Vec<(String, Value)>,
}

impl Bound {
    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        self.named.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.is_true())
    }
}

impl Shell {
    /// Runs a pipeline. Each command is given all that the one before gave.
    pub(crate) fn commands(&mut self, chain: Node<'static>) -> Ended<Vec<Value>> {
        let mut input: Option<Vec<Value>> = None;
        for part in children(chain) {
            input = Some(match part.kind() {
                "|" => continue,
                "command" => self.command(part, input.take())?,
                _ if input.is_none() => self.expression(part)?.elements(),
                other => self.unknown(part, other),
            });
        }
        Ok(input.unwrap_or_default())
    }

    fn command(&mut self, node: Node<'static>, input: Option<Vec<Value>>) -> Ended<Vec<Value>> {
        let (named, positional) = self.words(node)?;
        self.line = crate::syntax::line(node);
        let name_node = node.child_by_field_name("command_name").unwrap();
        if child(node, "command_invokation_operator").is_some() {
            let Some(variable) = child(name_node, "path_command_name").and_then(|path| child(path, "variable")) else {
                self.unknown(node, "to call this");
            };
            return match self.expression(variable)? {
                Value::Block(block) if named.is_empty() && positional.is_empty() => self.invoke(block, true),
                Value::Text(program) if named.is_empty() => self.program(node, &program, &positional),
                _ => self.unknown(node, "to call this"),
            };
        }
        let name = self.source_of(name_node);
        if let Some(function) = self.function(name) {
            if input.is_some() {
                self.unknown(node, "a function in a pipeline");
            }
            let named = named.into_iter().map(|(name, value)| match value {
                Some(value) => (name, value),
                None => self.unknown(node, "a switch of a function"),
            });
            let named = named.collect();
            return self.call(function, named, positional);
        }
        let lower = name.to_ascii_lowercase();
        let Some(known) = parameters(&lower) else { self.unknown(node, "this command") };
        let bound = self.bind(node, known, named, positional)?;
        self.cmdlet(&lower, &bound, input)
    }

    /// The words after the name of a command: `-Name` with its value, if one follows, and the rest.
    #[expect(clippy::type_complexity, reason = "named and positional, and nothing else ever")]
    fn words(&mut self, node: Node<'static>) -> Ended<(Vec<(String, Option<Value>)>, Vec<Value>)> {
        let name = node.child_by_field_name("command_name").unwrap();
        let is_flag = |parameter: &str| {
            let cmdlet = self.source_of(name).to_ascii_lowercase();
            parameters(&cmdlet)
                .is_some_and(|(_, _, switches)| switches.iter().any(|known| known.eq_ignore_ascii_case(parameter)))
        };
        let (mut named, mut positional): (Vec<(String, Option<Value>)>, Vec<Value>) = (vec![], vec![]);
        let mut words = vec![];
        let elements = child(node, "command_elements").map(children).unwrap_or_default();
        let mut elements = elements.into_iter().peekable();
        while let Some(element) = elements.next() {
            let list = elements.next_if(|next| next.kind() == "argument_list");
            words.push((element, list));
        }
        let mut flags = vec![];
        for (element, _) in &words {
            if element.kind() == "command_parameter" {
                flags.push(is_flag(self.source_of(*element).trim_start_matches('-')));
            }
        }
        let (mut flags, mut owner): (_, Option<usize>) = (flags.into_iter(), None);
        for (element, list) in words {
            if element.kind() == "command_parameter" {
                named.push((self.source_of(element).trim_start_matches('-').to_owned(), None));
                owner = (!flags.next().unwrap()).then(|| named.len() - 1);
                continue;
            }
            let value = self.word(element, list)?.or_null();
            match owner.take() {
                Some(at) => named[at].1 = Some(value),
                None => positional.push(value),
            }
        }
        Ok((named, positional))
    }

    fn word(&mut self, element: Node<'static>, list: Option<Node<'static>>) -> Ended<Value> {
        match (element.kind(), list) {
            // `New-Object Type(…)` and `New-Object Type $object.Method()`.
            ("generic_token", Some(list)) => {
                let arguments = self.arguments(list)?;
                Ok(crate::value::object(
                    "TypeWithArguments",
                    vec![("Type", self.source_of(element).into()), ("Arguments", arguments.into())],
                ))
            }
            ("member_access", Some(list)) => {
                let parts = children(element);
                let target = self.expression(parts[0])?;
                let arguments = self.arguments(list)?;
                self.method(&target, self.source_of(parts[2]), &arguments)
            }
            ("generic_token", None) => Ok(self.source_of(element).into()),
            (_, None) => self.expression(element),
            _ => self.unknown(element, "such a word"),
        }
    }

    fn bind(
        &self,
        node: Node<'static>,
        (first, others, switches): Parameters,
        named: Vec<(String, Option<Value>)>,
        positional: Vec<Value>,
    ) -> Ended<Bound> {
        let mut bound: Vec<(String, Value)> = vec![];
        for (name, value) in named {
            let known = first.iter().chain(others).chain(switches).find(|known| known.eq_ignore_ascii_case(&name));
            let Some(known) = known else { self.unknown(node, &format!("the parameter {name}")) };
            let value = match value {
                Some(value) if !switches.contains(known) => value,
                None if switches.contains(known) => Value::Bool(true),
                _ => self.unknown(node, &format!("the parameter {name} like this")),
            };
            let is_path = matches!(*known, "LiteralPath" | "Path" | "Name" | "Id" | "Destination");
            if is_path && (value.is_null() || value.text().is_empty()) {
                let what = if value.is_null() { "null" } else { "an empty string" };
                let message = format!("Cannot bind argument to parameter '{known}' because it is {what}.");
                return self.throw("ParameterBindingException", &message);
            }
            bound.push(((*known).to_owned(), value));
        }
        let mut free = first.iter().filter(|known| !bound.iter().any(|(name, _)| name == *known));
        let mut more = vec![];
        for value in positional {
            match free.next() {
                Some(known) => more.push(((*known).to_owned(), value)),
                None => self.unknown(node, "so many words"),
            }
        }
        bound.extend(more);
        Ok(Bound { named: bound })
    }

    /// A program called by its path. What it prints on its standard error is an error here, where that is redirected.
    fn program(&mut self, node: Node<'static>, program: &str, words: &[Value]) -> Ended<Vec<Value>> {
        let words: Vec<String> = words.iter().map(Value::text).collect();
        let (redirected, words): (Vec<&str>, Vec<&str>) =
            words.iter().map(String::as_str).partition(|word| word.starts_with("2>"));
        let ran = self.run_program(program, &words.join(" "), std::collections::BTreeMap::new())?;
        let Ok(Ran { out, err, hangs, .. }) = ran else {
            return self.throw("ApplicationFailedException", "the program failed to run: told to fail");
        };
        if hangs {
            // Nobody ends it.
            return Err(Flow::Exit(-1));
        }
        let is_stop = self.variable("ErrorActionPreference").is_some_and(|value| value.text() == "Stop");
        if !redirected.is_empty() && !err.is_empty() && is_stop {
            return self.throw("RemoteException", &err);
        }
        if words.is_empty() {
            self.unknown(node, "a program without words");
        }
        Ok(collapse(out.lines().map(Value::from).collect()).elements())
    }
}
