//! The evaluator: statements, variables, functions, and how each ends.

use std::collections::BTreeMap;

use tree_sitter::Node;

use crate::machine::Machine;
use crate::syntax::{child, children, line};
use crate::value::{Value, collapse, object};

/// How a statement ends that does not reach its end.
#[derive(Debug)]
pub(crate) enum Flow {
    Break,
    Continue,
    Return,
    Exit(i64),
    /// An error record.
    Throw(Value),
    /// The process is gone: nothing runs any more, whatever is owed.
    Killed,
}

pub(crate) type Ended<T> = Result<T, Flow>;

/// The variables of one function. A typed parameter makes its type of whatever is assigned to it later.
#[derive(Default)]
pub(crate) struct Scope {
    variables: BTreeMap<String, Value>,
    types: BTreeMap<String, String>,
}

/// One run of the script.
pub(crate) struct Shell {
    pub(crate) machine: Machine,
    pub(crate) source: &'static str,
    pub(crate) line: usize,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) functions: BTreeMap<String, Node<'static>>,
}

impl Shell {
    pub(crate) fn new(machine: Machine, source: &'static str) -> Self {
        let mut global = Scope::default();
        for (name, value) in [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("null", Value::Null),
            ("erroractionpreference", "Continue".into()),
        ] {
            global.variables.insert(name.to_owned(), value);
        }
        Self { machine, source, line: 0, scopes: vec![global], functions: BTreeMap::new() }
    }

    /// Ends the test: the evaluator never guesses.
    pub(crate) fn unknown(&self, node: Node<'_>, what: &str) -> ! {
        panic!("line {}: the evaluator does not know {what}: {}", line(node), self.source_of(node));
    }

    pub(crate) fn source_of(&self, node: Node<'_>) -> &'static str {
        &self.source[node.byte_range()]
    }

    // Variables.

    pub(crate) fn variable(&self, name: &str) -> Option<Value> {
        let name = name.to_ascii_lowercase();
        self.scopes.iter().rev().find_map(|scope| scope.variables.get(&name)).cloned()
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) -> Ended<()> {
        let name = name.to_ascii_lowercase();
        // What is assigned to `$null` is thrown away.
        if name == "null" {
            return Ok(());
        }
        assert!(!["true", "false"].contains(&name.as_str()), "line {}: ${name} is assigned", self.line);
        let of = self.scopes.last().unwrap().types.get(&name).cloned();
        let value = match of {
            Some(of) => self.cast(&of, value)?,
            None => value,
        };
        self.scopes.last_mut().unwrap().variables.insert(name, value);
        Ok(())
    }

    /// A parameter, which keeps its type.
    pub(crate) fn declare(&mut self, name: &str, of: Option<String>, value: Value) -> Ended<()> {
        if let Some(of) = of {
            self.scopes.last_mut().unwrap().types.insert(name.to_ascii_lowercase(), of);
        }
        self.set(name, value)
    }

    // Errors.

    /// Throws an exception of .NET.
    pub(crate) fn throw<T>(&self, of: &'static str, message: &str) -> Ended<T> {
        Err(Flow::Throw(self.record(exception(of, message, Value::Null))))
    }

    /// Throws what a method threw, as PowerShell wraps it.
    pub(crate) fn throw_from<T>(&self, method: &str, arguments: usize, inner: Value) -> Ended<T> {
        let Value::Object(cause) = &inner else { panic!("{inner:?} is no exception") };
        let message =
            format!("Exception calling \"{method}\" with \"{arguments}\" argument(s): \"{}\"", cause.text("Message"));
        Err(Flow::Throw(self.record(exception("MethodInvocationException", &message, inner))))
    }

    pub(crate) fn record(&self, exception: Value) -> Value {
        let line = Value::Int(i64::try_from(self.line).unwrap());
        object("ErrorRecord", vec![("Exception", exception), ("Line", line)])
    }

    // Statements.

    pub(crate) fn statements(&mut self, node: Node<'static>, out: &mut Vec<Value>) -> Ended<()> {
        for statement in children(node) {
            self.statement(statement, out)?;
        }
        Ok(())
    }

    /// The statements between the braces.
    pub(crate) fn block(&mut self, node: Node<'static>, out: &mut Vec<Value>) -> Ended<()> {
        match child(node, "statement_list") {
            Some(list) => self.statements(list, out),
            None => Ok(()),
        }
    }

    fn statement(&mut self, node: Node<'static>, out: &mut Vec<Value>) -> Ended<()> {
        self.line = line(node);
        match node.kind() {
            "empty_statement" => Ok(()),
            "pipeline" => self.pipeline(node, out),
            "if_statement" => self.if_statement(node, out),
            "for_statement" => self.for_statement(node, out),
            "foreach_statement" => self.foreach_statement(node, out),
            "switch_statement" => self.switch_statement(node, out),
            "try_statement" => self.try_statement(node, out),
            "flow_control_statement" => self.flow_control(node, out),
            "function_statement" => {
                let name = child(node, "function_name").unwrap();
                self.functions.insert(self.source_of(name).to_ascii_lowercase(), node);
                Ok(())
            }
            other => self.unknown(node, other),
        }
    }

    fn if_statement(&mut self, node: Node<'static>, out: &mut Vec<Value>) -> Ended<()> {
        let condition = node.child_by_field_name("condition").unwrap();
        if self.value_of(condition)?.is_true() {
            return self.block(child(node, "statement_block").unwrap(), out);
        }
        for clause in child(node, "elseif_clauses").map(children).unwrap_or_default() {
            let condition = clause.child_by_field_name("condition").unwrap();
            if self.value_of(condition)?.is_true() {
                return self.block(child(clause, "statement_block").unwrap(), out);
            }
        }
        match child(node, "else_clause") {
            Some(clause) => self.block(child(clause, "statement_block").unwrap(), out),
            None => Ok(()),
        }
    }

    fn for_statement(&mut self, node: Node<'static>, out: &mut Vec<Value>) -> Ended<()> {
        let part = |field: &str| node.child_by_field_name(field).and_then(|part| child(part, "pipeline"));
        let (initializer, condition, iterator) = (part("for_initializer"), part("for_condition"), part("for_iterator"));
        if let Some(initializer) = initializer {
            self.pipeline(initializer, &mut Vec::new())?;
        }
        for turn in 0.. {
            assert!(turn < 100_000, "line {}: this loop has no end", line(node));
            if let Some(condition) = condition
                && !self.value_of(condition)?.is_true()
            {
                break;
            }
            match self.block(child(node, "statement_block").unwrap(), out) {
                Err(Flow::Break) => break,
                Ok(()) | Err(Flow::Continue) => {}
                Err(other) => return Err(other),
            }
            if let Some(iterator) = iterator {
                self.pipeline(iterator, &mut Vec::new())?;
            }
        }
        Ok(())
    }

    fn foreach_statement(&mut self, node: Node<'static>, out: &mut Vec<Value>) -> Ended<()> {
        let (variable, list) = (child(node, "variable").unwrap(), child(node, "pipeline").unwrap());
        let list = self.value_of(list)?;
        // Nothing is gone through for `$null`.
        let elements = if list.is_null() { vec![] } else { list.elements() };
        for element in elements {
            self.set(variable_name(self.source_of(variable)), element.or_null())?;
            match self.block(child(node, "statement_block").unwrap(), out) {
                Err(Flow::Break) => break,
                Ok(()) | Err(Flow::Continue) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// Every clause that fits is run, unless one ends the switch.
    fn switch_statement(&mut self, node: Node<'static>, out: &mut Vec<Value>) -> Ended<()> {
        let parameters = child(node, "switch_parameters").map(|all| self.source_of(all).to_ascii_lowercase());
        if parameters.as_deref() != Some("-regex -casesensitive") {
            self.unknown(node, "a switch but by -Regex -CaseSensitive");
        }
        let condition = child(child(node, "switch_condition").unwrap(), "pipeline").unwrap();
        let subject = self.value_of(condition)?.text();
        let clauses = child(child(node, "switch_body").unwrap(), "switch_clauses").unwrap();
        for clause in children(clauses) {
            let pattern = children(child(clause, "switch_clause_condition").unwrap())[0];
            let pattern = self.expression(pattern)?.text();
            if self.matches(&subject, &pattern, true)? {
                match self.block(child(clause, "statement_block").unwrap(), out) {
                    Err(Flow::Break) => return Ok(()),
                    Ok(()) => {}
                    Err(other) => return Err(other),
                }
            }
        }
        Ok(())
    }

    fn try_statement(&mut self, node: Node<'static>, out: &mut Vec<Value>) -> Ended<()> {
        let mut result = self.block(child(node, "statement_block").unwrap(), out);
        if let Err(Flow::Throw(record)) = &result {
            let record = record.clone();
            for clause in child(node, "catch_clauses").map(children).unwrap_or_default() {
                let Some(record) = self.caught(clause, &record) else { continue };
                let before = self.variable("_");
                self.set("_", record)?;
                result = self.block(child(clause, "statement_block").unwrap(), out);
                self.set("_", before.unwrap_or(Value::Null))?;
                break;
            }
        }
        if matches!(result, Err(Flow::Killed)) {
            return result;
        }
        if let Some(clause) = child(node, "finally_clause") {
            self.block(child(clause, "statement_block").unwrap(), out)?;
        }
        result
    }

    /// What a clause sees in `$_`, if it catches this. One with a type sees what was thrown inside a method.
    fn caught(&self, clause: Node<'static>, record: &Value) -> Option<Value> {
        let Some(types) = child(clause, "catch_type_list") else { return Some(record.clone()) };
        let Value::Object(thrown) = record else { panic!("{record:?} is no error record") };
        let Some(Value::Object(outer)) = thrown.get("Exception") else { panic!("there is no exception") };
        let mut found = vec![outer.clone()];
        if let Some(Value::Object(inner)) = outer.get("InnerException") {
            found.insert(0, inner);
        }
        for exception in found {
            for wanted in children(types).into_iter().filter(|node| node.kind() == "type_literal") {
                let wanted = type_name(self.source_of(wanted));
                let known = chain(exception.of);
                if known.iter().any(|name| name.eq_ignore_ascii_case(&wanted)) {
                    return Some(self.record(Value::Object(exception)));
                }
            }
        }
        None
    }

    fn flow_control(&mut self, node: Node<'static>, out: &mut Vec<Value>) -> Ended<()> {
        let pipeline = child(node, "pipeline");
        match children(node)[0].kind() {
            "return" => {
                if let Some(pipeline) = pipeline {
                    self.pipeline(pipeline, out)?;
                }
                Err(Flow::Return)
            }
            "break" => Err(Flow::Break),
            "continue" => Err(Flow::Continue),
            "exit" => {
                let code = pipeline.map(|pipeline| self.value_of(pipeline)).transpose()?;
                Err(Flow::Exit(code.and_then(|code| code.int()).unwrap_or_default()))
            }
            "throw" => {
                let Some(pipeline) = pipeline else { self.unknown(node, "to throw again") };
                match self.value_of(pipeline)? {
                    Value::Object(thrown) if thrown.of.ends_with("Exception") => {
                        Err(Flow::Throw(self.record(Value::Object(thrown))))
                    }
                    text @ Value::Text(_) => self.throw("RuntimeException", &text.text()),
                    _ => self.unknown(node, "to throw this"),
                }
            }
            other => self.unknown(node, other),
        }
    }

    /// The value of a pipeline: of an expression as it is, and of commands what they gave.
    pub(crate) fn value_of(&mut self, pipeline: Node<'static>) -> Ended<Value> {
        let inner = children(pipeline)[0];
        match inner.kind() {
            "assignment_expression" => self.assign(inner),
            "pipeline_chain" => match children(inner).as_slice() {
                [one] if one.kind() != "command" => self.expression(*one),
                _ => Ok(collapse(self.commands(inner)?)),
            },
            other => self.unknown(inner, other),
        }
    }

    /// The value of a statement that is assigned or an argument of another.
    pub(crate) fn value_of_statement(&mut self, node: Node<'static>) -> Ended<Value> {
        if node.kind() == "pipeline" {
            return self.value_of(node);
        }
        let mut out = Vec::new();
        self.statement(node, &mut out)?;
        Ok(collapse(out))
    }

    fn pipeline(&mut self, node: Node<'static>, out: &mut Vec<Value>) -> Ended<()> {
        let inner = children(node)[0];
        match inner.kind() {
            "assignment_expression" => self.assign(inner).map(drop),
            "pipeline_chain" => {
                match children(inner).as_slice() {
                    [one] if one.kind() != "command" => {
                        out.extend(self.expression(*one)?.elements());
                    }
                    _ => out.extend(self.commands(inner)?),
                }
                Ok(())
            }
            other => self.unknown(inner, other),
        }
    }
}

/// An exception. Its type has no `System.` before it.
pub(crate) fn exception(of: &'static str, message: &str, inner: Value) -> Value {
    let data = object(crate::value::HASHTABLE, vec![]);
    let members =
        vec![("Message", message.into()), ("InnerException", inner), ("Data", data), ("HResult", Value::Int(0))];
    object(of, members)
}

/// A type and those that it is made from.
pub(crate) fn chain(of: &'static str) -> Vec<&'static str> {
    let mut found = vec![of];
    if of.ends_with("Exception") {
        found.push("Exception");
    }
    found
}

/// `[System.IO.File]` as `io.file`.
pub(crate) fn type_name(literal: &str) -> String {
    let name = literal.trim_matches(['[', ']']).to_ascii_lowercase();
    name.strip_prefix("system.").map_or(name.clone(), str::to_owned)
}

/// `$Name` and `${Name}` as `Name`.
pub(crate) fn variable_name(source: &str) -> &str {
    source.trim_start_matches('$').trim_matches(['{', '}'])
}
