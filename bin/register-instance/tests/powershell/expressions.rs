//! Expressions: literals, members, operators.

use tree_sitter::Node;

use crate::shell::{Ended, Flow, Shell, type_name, variable_name};
use crate::syntax::{child, children};
use crate::value::{CUSTOM, HASHTABLE, Value, collapse, object};

impl Shell {
    pub(crate) fn expression(&mut self, node: Node<'static>) -> Ended<Value> {
        let parts = children(node);
        match node.kind() {
            "logical_expression"
            | "bitwise_expression"
            | "comparison_expression"
            | "additive_expression"
            | "multiplicative_expression"
            | "logical_argument_expression"
            | "bitwise_argument_expression"
            | "comparison_argument_expression"
            | "additive_argument_expression"
            | "multiplicative_argument_expression" => match parts.as_slice() {
                [one] => self.expression(*one),
                [left, operator, right] => self.operation(*left, *operator, *right),
                _ => self.unknown(node, "such a chain"),
            },
            "array_literal_expression" if parts.len() > 1 => {
                let elements = parts.into_iter().filter(|part| part.kind() != ",");
                let values: Ended<Vec<Value>> = elements.map(|part| Ok(self.expression(part)?.or_null())).collect();
                Ok(values?.into())
            }
            "format_expression"
            | "range_expression"
            | "array_literal_expression"
            | "unary_expression"
            | "argument_expression"
            | "format_argument_expression"
            | "range_argument_expression"
                if parts.len() == 1 =>
            {
                self.expression(parts[0])
            }
            "expression_with_unary_operator" => self.unary(node, &parts),
            "cast_expression" => {
                let (of, value) = (type_name(self.source_of(parts[0])), self.expression(parts[1])?);
                self.cast(&of, value)
            }
            "parenthesized_expression" => self.value_of_statement(child(node, "pipeline").unwrap()),
            "sub_expression" => Ok(collapse(self.listed(node)?)),
            "array_expression" => Ok(self.listed(node)?.into()),
            "hash_literal_expression" => self.hash_literal(node),
            "script_block_expression" => Ok(Value::Block(node)),
            "string_literal" => self.string(parts[0]),
            "integer_literal" | "real_literal" => {
                let text = self.source_of(node);
                match (text.parse(), text.parse()) {
                    (Ok(whole), _) => Ok(Value::Int(whole)),
                    (_, Ok(double)) => Ok(Value::Double(double)),
                    _ => self.unknown(node, "this number"),
                }
            }
            "variable" => self.read(node),
            "type_literal" => Ok(Value::Type(type_name(self.source_of(node)))),
            "member_access" => {
                let (target, name) = (self.expression(parts[0])?, self.member_name(parts[2])?);
                if parts[1].kind() == "::" {
                    Ok(self.static_member(&target, &name))
                } else {
                    self.member(&target, &name)
                }
            }
            "element_access" => {
                let (target, index) = (self.expression(parts[0])?, self.expression(parts[2])?);
                self.element(&target, &index)
            }
            "invokation_expression" => {
                let (target, name) = (self.expression(parts[0])?, self.member_name(parts[2])?);
                let arguments = self.arguments(parts[3])?;
                self.line = crate::syntax::line(node);
                if parts[1].kind() == "::" {
                    self.static_method(&target, &name, &arguments)
                } else {
                    self.method(&target, &name, &arguments)
                }
            }
            "post_increment_expression" => {
                let name = variable_name(self.source_of(parts[0]));
                let value = self.read(parts[0])?.int().unwrap();
                self.set(name, Value::Int(value + 1))?;
                Ok(Value::Nothing)
            }
            other => self.unknown(node, other),
        }
    }

    /// The outputs of what stands between the brackets.
    fn listed(&mut self, node: Node<'static>) -> Ended<Vec<Value>> {
        let mut out = Vec::new();
        if let Some(list) = child(node, "statement_list") {
            self.statements(list, &mut out)?;
        }
        Ok(out)
    }

    pub(crate) fn arguments(&mut self, list: Node<'static>) -> Ended<Vec<Value>> {
        let arguments = child(list, "argument_expression_list").map(children).unwrap_or_default();
        let arguments = arguments.into_iter().filter(|part| part.kind() != ",");
        arguments.map(|part| Ok(self.expression(part)?.or_null())).collect()
    }

    fn member_name(&mut self, node: Node<'static>) -> Ended<String> {
        match children(node).as_slice() {
            [variable] if variable.kind() == "variable" => Ok(self.read(*variable)?.text()),
            _ => Ok(self.source_of(node).to_owned()),
        }
    }

    fn read(&mut self, node: Node<'static>) -> Ended<Value> {
        let name = variable_name(self.source_of(node));
        if name.contains(':') {
            self.unknown(node, "variables of other scopes and drives");
        }
        if let Some(value) = self.variable(name) {
            return Ok(value);
        }
        self.throw(
            "RuntimeException",
            &format!("The variable '${name}' cannot be retrieved because it has not been set."),
        )
    }

    fn unary(&mut self, node: Node<'static>, parts: &[Node<'static>]) -> Ended<Value> {
        match parts {
            [one] => self.expression(*one),
            [operator, operand] => {
                let value = self.expression(*operand)?;
                match (operator.kind(), &value) {
                    ("-not" | "!", value) => Ok(Value::Bool(!value.is_true())),
                    ("-", Value::Int(number)) => Ok(Value::Int(-number)),
                    _ => self.unknown(node, "this operator"),
                }
            }
            _ => self.unknown(node, "such operators"),
        }
    }

    fn hash_literal(&mut self, node: Node<'static>) -> Ended<Value> {
        let table = object(HASHTABLE, vec![]);
        let Value::Object(entries) = &table else { unreachable!() };
        for entry in child(node, "hash_literal_body").map(children).unwrap_or_default() {
            if entry.kind() == ";" {
                continue;
            }
            let parts = children(entry);
            let key = parts[0];
            let key =
                if key.kind() == "simple_name" { self.source_of(key).to_owned() } else { self.expression(key)?.text() };
            let value = self.value_of_statement(parts[2])?;
            assert!(entries.get(&key).is_none(), "line {}: the key {key} is there twice", self.line);
            entries.set(&key, value.or_null());
        }
        Ok(table)
    }

    fn string(&mut self, node: Node<'static>) -> Ended<Value> {
        let source = self.source_of(node);
        let inner = &source[1..source.len() - 1];
        match node.kind() {
            "verbatim_string_characters" => Ok(inner.replace("''", "'").into()),
            "expandable_string_literal" => {
                let (mut text, mut from) = (String::new(), node.start_byte() + 1);
                for part in
                    children(node).into_iter().filter(|part| matches!(part.kind(), "variable" | "sub_expression"))
                {
                    self.plain(&mut text, from..part.start_byte());
                    text.push_str(&self.expression(part)?.text());
                    from = part.end_byte();
                }
                self.plain(&mut text, from..node.end_byte() - 1);
                Ok(text.into())
            }
            other => self.unknown(node, other),
        }
    }

    /// What stands in a string beside its variables.
    fn plain(&self, text: &mut String, range: std::ops::Range<usize>) {
        let source = self.source[range].replace("\"\"", "\"");
        let mut characters = source.chars();
        while let Some(character) = characters.next() {
            match character {
                '`' => match characters.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(known @ ('$' | '"' | '`' | '\'')) => text.push(known),
                    other => panic!("line {}: the evaluator does not know the escape {other:?}", self.line),
                },
                '$' => panic!("line {}: the grammar left a $ in the text: {source}", self.line),
                other => text.push(other),
            }
        }
    }

    // Assignments.

    pub(crate) fn assign(&mut self, node: Node<'static>) -> Ended<Value> {
        let parts = children(node);
        let (target, operator) = (children(parts[0])[0], self.source_of(parts[1]));
        let value = self.value_of_statement(parts[2])?;
        let value = match operator {
            "=" => value,
            "+=" => {
                let before = self.expression(target)?;
                self.add(&before, &value)
            }
            _ => self.unknown(node, "this assignment"),
        };
        self.store(target, value.clone())?;
        Ok(value)
    }

    fn store(&mut self, target: Node<'static>, value: Value) -> Ended<()> {
        let parts = children(target);
        match target.kind() {
            "variable" => {
                let name = variable_name(self.source_of(target));
                if name.contains(':') || target.child_count() > 0 && name == "_" {
                    self.unknown(target, "to assign this");
                }
                self.set(name, value)
            }
            "array_literal_expression" if parts.len() > 1 => {
                let targets: Vec<_> = parts.into_iter().filter(|part| part.kind() != ",").collect();
                let mut values = value.elements().into_iter();
                let last = targets.len() - 1;
                for (index, target) in targets.into_iter().enumerate() {
                    let value = if index == last {
                        collapse(values.by_ref().collect()).or_null()
                    } else {
                        values.next().unwrap_or(Value::Null)
                    };
                    self.store(target, value)?;
                }
                Ok(())
            }
            "member_access" => {
                let (object, name) = (self.expression(parts[0])?, self.member_name(parts[2])?);
                self.set_member(&object, &name, value.or_null())
            }
            "element_access" => {
                let (object, index) = (self.expression(parts[0])?, self.expression(parts[2])?);
                match &object {
                    Value::Object(table) => {
                        table.set(&index.text(), value.or_null());
                        Ok(())
                    }
                    _ => self.unknown(target, "to assign such an element"),
                }
            }
            other => self.unknown(target, other),
        }
    }

    fn set_member(&mut self, target: &Value, name: &str, value: Value) -> Ended<()> {
        match target {
            // Neither an object of the script nor one of .NET gets members by assignment.
            Value::Object(object) if object.of == HASHTABLE || object.get(name).is_some() => {
                object.set(name, value);
                Ok(())
            }
            _ => {
                let message = format!(
                    "The property '{name}' cannot be found on this object. Verify that the property exists and can be set."
                );
                self.throw("RuntimeException", &message)
            }
        }
    }

    // Members.

    pub(crate) fn member(&mut self, target: &Value, name: &str) -> Ended<Value> {
        if name.eq_ignore_ascii_case("PSObject") && !target.is_null() {
            return Ok(object("PSObject", vec![("Value", target.clone())]));
        }
        if let Some(value) = self.known_member(target, name) {
            return Ok(value);
        }
        assert!(
            !matches!(target, Value::Array(_) | Value::List(_)),
            "line {}: the evaluator does not know how to ask many for their {name}",
            self.line
        );
        let message = format!("The property '{name}' cannot be found on this object. Verify that the property exists.");
        self.throw("PropertyNotFoundException", &message)
    }

    fn known_member(&self, target: &Value, name: &str) -> Option<Value> {
        let lower = name.to_ascii_lowercase();
        let count = |length: usize| Some(Value::Int(i64::try_from(length).unwrap()));
        match target {
            Value::Text(text) if lower == "length" => count(text.encode_utf16().count()),
            Value::Array(values) if lower == "length" || lower == "count" => count(values.len()),
            Value::List(values) if lower == "count" => count(values.borrow().len()),
            // Strict mode knows the count of what is one, too.
            Value::Int(_) | Value::Bool(_) | Value::Text(_) if lower == "count" => count(1),
            Value::Object(object) if object.of == "PSObject" && lower == "properties" => {
                Some(crate::value::object("Properties", vec![("Value", object.get("Value").unwrap())]))
            }
            Value::Object(object) => match object.get(name) {
                // The entries of a hash table come first.
                None if object.of == HASHTABLE && lower == "count" => count(object.members.borrow().len()),
                None if object.of == CUSTOM && lower == "count" => count(1),
                found => found,
            },
            Value::Time(_) => panic!("line {}: the evaluator does not know what {name} is of a time", self.line),
            _ => None,
        }
    }

    pub(crate) fn element(&mut self, target: &Value, index: &Value) -> Ended<Value> {
        match (target, index) {
            // Below zero they are counted from the end.
            (Value::Array(_) | Value::List(_), Value::Int(at)) if *at >= 0 => {
                let values = target.elements();
                match usize::try_from(*at).ok().and_then(|at| values.get(at)) {
                    Some(value) => Ok(value.clone()),
                    None => self.throw("IndexOutOfRangeException", "Index was outside the bounds of the array."),
                }
            }
            (Value::Object(object), key) if object.of == "Properties" => {
                let value = object.get("Value").unwrap();
                let found = match &value {
                    // The entries of a hash table are none of its properties.
                    Value::Object(inner) if inner.of == HASHTABLE => None,
                    value => self.known_member(value, &key.text()),
                };
                Ok(found.map_or(Value::Null, |value| crate::value::object("PSNoteProperty", vec![("Value", value)])))
            }
            (Value::Object(object), key) if object.of == HASHTABLE => {
                Ok(object.get(&key.text()).unwrap_or(Value::Null))
            }
            _ if target.is_null() => self.throw("RuntimeException", "Cannot index into a null array."),
            _ => panic!("line {}: the evaluator does not know the element {index:?} of {target:?}", self.line),
        }
    }
}

/// What a finished run is to whoever started the script.
pub(crate) fn exit_code(result: Ended<()>) -> Option<i64> {
    match result {
        Ok(()) | Err(Flow::Return) => Some(0),
        Err(Flow::Exit(code)) => Some(code),
        Err(Flow::Killed) => None,
        // Nobody caught it.
        Err(Flow::Throw(_)) => Some(1),
        Err(other) => panic!("the script ended with {other:?}"),
    }
}
