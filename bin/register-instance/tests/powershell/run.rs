//! A run of the script: its parameters, its end, and what holds for every run.

use tree_sitter::Node;

use crate::expressions::exit_code;
use crate::machine::{CODE, Machine, RENEWED_CODE};
use crate::shell::{Ended, Flow, Shell, variable_name};
use crate::syntax::{self, child, children};
use crate::value::{Value, object};

/// The machine afterwards, and the exit code; none if the process was killed.
pub(crate) struct Done {
    pub(crate) machine: Machine,
    pub(crate) code: Option<i64>,
}

/// Runs the script.
pub(crate) fn run(machine: Machine, arguments: &[(&str, &str)]) -> Done {
    run_text(machine, arguments, syntax::SCRIPT, syntax::root())
}

/// Runs another script, which lives as long as the test does.
pub(crate) fn run_text(machine: Machine, arguments: &[(&str, &str)], text: &'static str, root: Node<'static>) -> Done {
    let mut shell = Shell::new(machine, text);
    let result = shell.script(root, arguments);
    if let Err(Flow::Throw(Value::Object(record))) = &result
        && let Some(Value::Object(exception)) = record.get("Exception")
    {
        let told = format!("line {}: {}\n", record.text("Line"), exception.text("Message"));
        shell.machine.said.push_str(&told);
    }
    let code = exit_code(result);
    let mut machine = shell.machine;
    assert!(
        code.is_none() || !machine.holds_lock || !machine.faults.is_empty(),
        "the lock is not given back:\n{}",
        machine.said
    );
    // Windows closes what a process leaves open.
    machine.holds_lock = false;
    for secret in [CODE, RENEWED_CODE, "privateKey"] {
        assert!(!machine.said.contains(secret), "a secret shows: {}", machine.said);
    }
    Done { machine, code }
}

impl Shell {
    fn script(&mut self, root: Node<'static>, arguments: &[(&str, &str)]) -> Ended<()> {
        if let Some(block) = child(root, "param_block") {
            self.parameters(block, arguments)?;
        }
        match child(root, "statement_list") {
            Some(list) => self.statements(list, &mut Vec::new()),
            None => Ok(()),
        }
    }

    /// Binds the parameters of the script, as whoever starts it gives them.
    fn parameters(&mut self, block: Node<'static>, arguments: &[(&str, &str)]) -> Ended<()> {
        let parameters = child(block, "parameter_list").map(children).unwrap_or_default();
        let parameters: Vec<_> = parameters.into_iter().filter(|node| node.kind() == "script_parameter").collect();
        let text = self.source;
        let name_of =
            |parameter: Node<'static>| variable_name(&text[child(parameter, "variable").unwrap().byte_range()]);
        let unknown = arguments
            .iter()
            .find(|(name, _)| !parameters.iter().any(|known| name_of(*known).eq_ignore_ascii_case(name)));
        if let Some((name, _)) = unknown {
            return self.throw(
                "ParameterBindingException",
                &format!("A parameter cannot be found that matches parameter name '{name}'."),
            );
        }
        let given =
            |name: &str| arguments.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        // Those that say so are of one set; what is given decides which.
        let set_of = |shell: &Self, parameter: Node<'static>| {
            shell.attribute(parameter, "Parameter").and_then(|text| quoted(text, "ParameterSetName"))
        };
        let used = parameters.iter().filter(|parameter| given(name_of(**parameter)).is_some());
        let mut sets: Vec<&str> = used.filter_map(|parameter| set_of(self, *parameter)).collect();
        sets.dedup();
        let set = match sets.as_slice() {
            [] => "Json",
            [one] => *one,
            _ => {
                return self.throw(
                    "ParameterBindingException",
                    "Parameter set cannot be resolved using the specified named parameters.",
                );
            }
        };
        let source = child(block, "attribute_list").map(|node| self.source_of(node)).unwrap_or_default();
        assert_eq!(quoted(source, "DefaultParameterSetName"), Some("Json"));
        for parameter in parameters {
            let (name, of) = (name_of(parameter), self.parameter_type(parameter));
            let is_wanted = self.attribute(parameter, "Parameter").is_some_and(|text| text.contains("Mandatory"));
            let is_of_set = set_of(self, parameter).is_none_or(|own| own == set);
            let value = match (given(name), child(parameter, "script_parameter_default")) {
                (Some(_), _) if of.as_deref() == Some("switch") => Value::Bool(true),
                (Some(text), _) => text.into(),
                (None, _) if is_wanted && is_of_set => {
                    let message =
                        format!("Cannot process command because of one or more missing mandatory parameters: {name}.");
                    return self.throw("ParameterBindingException", &message);
                }
                (None, Some(default)) => self.expression(children(default)[1])?,
                (None, None) if of.as_deref() == Some("switch") => Value::Bool(false),
                (None, None) => "".into(),
            };
            if given(name).is_some() {
                self.validate(parameter, name, &value)?;
            }
            self.declare(name, of, value)?;
        }
        self.set("PSCmdlet", object("PSCmdlet", vec![("ParameterSetName", set.into())]))
    }

    fn validate(&mut self, parameter: Node<'static>, name: &str, value: &Value) -> Ended<()> {
        let invalid = |shell: &Self| {
            shell.throw("ParameterBindingException", &format!("Cannot validate argument on parameter '{name}'."))
        };
        if let Some(text) = self.attribute(parameter, "ValidatePattern") {
            let pattern = text.split('\'').nth(1).unwrap();
            // Without this it does not look at the case.
            let with_case = quoted(text, "Options") == Some("None");
            if !self.matches(&value.text(), pattern, with_case)? {
                return invalid(self);
            }
        }
        if let Some(text) = self.attribute(parameter, "ValidateRange") {
            let limits: Vec<i64> =
                text.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
            if !value.int().is_some_and(|value| (limits[0]..=limits[1]).contains(&value)) {
                return invalid(self);
            }
        }
        Ok(())
    }

    /// The text of an attribute of a parameter.
    fn attribute(&self, parameter: Node<'static>, name: &str) -> Option<&'static str> {
        let attributes = child(parameter, "attribute_list").map(children).unwrap_or_default();
        let mut texts = attributes.into_iter().map(|attribute| self.source_of(attribute));
        texts.rfind(|text| text.starts_with(&format!("[{name}(")))
    }
}

/// The text that is given to a name in an attribute.
fn quoted(text: &'static str, name: &str) -> Option<&'static str> {
    let (_, rest) = text.split_once(&format!("{name} = '"))?;
    rest.split('\'').next()
}
