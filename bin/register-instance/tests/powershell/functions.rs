//! Functions and blocks of the script, and what they are called with.

use tree_sitter::Node;

use crate::shell::{Ended, Flow, Scope, Shell, type_name, variable_name};
use crate::syntax::{child, children};
use crate::value::Value;

impl Shell {
    pub(crate) fn function(&self, name: &str) -> Option<Node<'static>> {
        self.functions.get(&name.to_ascii_lowercase()).copied()
    }

    /// Calls a function with what its parameters are bound to.
    pub(crate) fn call(
        &mut self,
        function: Node<'static>,
        mut named: Vec<(String, Value)>,
        positional: Vec<Value>,
    ) -> Ended<Vec<Value>> {
        let list = child(function, "function_parameter_declaration").and_then(|all| child(all, "parameter_list"));
        let parameters = list.map(children).unwrap_or_default();
        let (mut positional, mut bound) = (positional.into_iter(), Vec::new());
        for parameter in parameters.into_iter().filter(|node| node.kind() == "script_parameter") {
            let name = variable_name(self.source_of(child(parameter, "variable").unwrap()));
            let at = named.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
            let value = at.map(|at| named.swap_remove(at).1).or_else(|| positional.next());
            if child(parameter, "script_parameter_default").is_some() {
                self.unknown(parameter, "a default of a function's parameter");
            }
            bound.push((name, self.parameter_type(parameter), value.unwrap_or(Value::Null).or_null()));
        }
        if !named.is_empty() || positional.next().is_some() {
            self.unknown(function, "arguments that the function has no parameters for");
        }
        assert!(self.scopes.len() < 100, "line {}: a function calls itself for ever", self.line);
        let line = self.line;
        self.scopes.push(Scope::default());
        let result = self.called(function, bound);
        self.scopes.pop();
        self.line = line;
        result
    }

    fn called(
        &mut self,
        function: Node<'static>,
        bound: Vec<(&'static str, Option<String>, Value)>,
    ) -> Ended<Vec<Value>> {
        for (name, of, value) in bound {
            self.declare(name, of, value)?;
        }
        let mut out = Vec::new();
        let body = child(function, "script_block").and_then(|block| child(block, "script_block_body"));
        let result = match body.and_then(|body| child(body, "statement_list")) {
            Some(list) => self.statements(list, &mut out),
            None => Ok(()),
        };
        match result {
            Ok(()) | Err(Flow::Return) => Ok(out),
            Err(Flow::Break | Flow::Continue) => self.unknown(function, "to end a loop of whoever called"),
            Err(other) => Err(other),
        }
    }

    /// Runs a block: in a scope of its own with `&`, and in that of the caller for each element of a pipeline.
    pub(crate) fn invoke(&mut self, block: Node<'static>, in_own_scope: bool) -> Ended<Vec<Value>> {
        let mut out = Vec::new();
        let body = child(block, "script_block").and_then(|block| child(block, "script_block_body"));
        let Some(list) = body.and_then(|body| child(body, "statement_list")) else { return Ok(out) };
        if in_own_scope {
            self.scopes.push(Scope::default());
        }
        let result = self.statements(list, &mut out);
        if in_own_scope {
            self.scopes.pop();
        }
        match result {
            Ok(()) | Err(Flow::Return) => Ok(out),
            Err(other) => Err(other),
        }
    }

    pub(crate) fn parameter_type(&self, parameter: Node<'static>) -> Option<String> {
        let attributes = child(parameter, "attribute_list").map(children).unwrap_or_default();
        let literal = attributes.into_iter().find_map(|attribute| child(attribute, "type_literal"))?;
        Some(type_name(self.source_of(literal)))
    }
}
