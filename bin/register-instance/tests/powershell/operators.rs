//! Operators, with the regular expressions of .NET as far as the script has them.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;

use regex::{Regex, RegexBuilder};
use tree_sitter::Node;

use crate::shell::{Ended, Shell};
use crate::syntax::children;
use crate::value::{HASHTABLE, Value, object};

thread_local! {
    /// Regular expressions, which take long to build.
    static REGEXES: RefCell<HashMap<(String, bool), Regex>> = RefCell::default();
}

impl Shell {
    pub(crate) fn operation(
        &mut self,
        left: Node<'static>,
        operator: Node<'static>,
        right: Node<'static>,
    ) -> Ended<Value> {
        let name = match operator.kind() {
            "comparison_operator" => children(operator)[0].kind(),
            other => other,
        };
        let first = self.expression(left)?;
        match name {
            "-and" => return Ok((first.is_true() && self.expression(right)?.is_true()).into()),
            "-or" => return Ok((first.is_true() || self.expression(right)?.is_true()).into()),
            _ => {}
        }
        let second = self.expression(right)?;
        self.line = crate::syntax::line(operator);
        let is_listed = matches!(first, Value::Array(_) | Value::List(_));
        if is_listed && !matches!(name, "+" | "-join") {
            self.unknown(operator, "an operator that goes through a list");
        }
        Ok(match name {
            "-eq" => first.equals(&second).into(),
            "-ne" => (!first.equals(&second)).into(),
            "-lt" => (first.order(&second) == Some(Ordering::Less)).into(),
            "-gt" => (first.order(&second) == Some(Ordering::Greater)).into(),
            "-le" => matches!(first.order(&second), Some(Ordering::Less | Ordering::Equal)).into(),
            "-ge" => matches!(first.order(&second), Some(Ordering::Greater | Ordering::Equal)).into(),
            "-in" => second.elements().iter().any(|element| element.equals(&first)).into(),
            "-notin" => (!second.elements().iter().any(|element| element.equals(&first))).into(),
            "-match" => self.matches(&first.text(), &second.text(), false)?.into(),
            "-cmatch" => self.matches(&first.text(), &second.text(), true)?.into(),
            "-notmatch" => (!self.matches(&first.text(), &second.text(), false)?).into(),
            "-cnotmatch" => (!self.matches(&first.text(), &second.text(), true)?).into(),
            "-cne" => (first.text() != second.text()).into(),
            "-notlike" => (!like(&first.text(), &second.text())).into(),
            "-replace" => {
                let by = second.elements();
                let replacement = by[1].text();
                assert!(!replacement.contains('$'), "line {}: groups in a replacement", self.line);
                self.regex(&by[0].text(), false).replace_all(&first.text(), replacement.as_str()).into_owned().into()
            }
            "-like" => like(&first.text(), &second.text()).into(),
            "-split" => self.split(&first.text(), &second),
            "-join" => {
                let parts: Vec<String> = first.elements().iter().map(Value::text).collect();
                parts.join(&second.text()).into()
            }
            "-is" => {
                let Value::Type(of) = &second else { self.unknown(operator, "this type") };
                is_of(&first, of).into()
            }
            "-band" => Value::Int(first.int().unwrap() & second.int().unwrap()),
            "-bor" => Value::Int(first.int().unwrap() | second.int().unwrap()),
            "+" => self.add(&first, &second),
            "-" => match (&first, &second) {
                (Value::Time(from), Value::Time(to)) => {
                    let milliseconds = Value::Int(from.milliseconds - to.milliseconds);
                    let seconds = milliseconds.number().unwrap() / 1000.0;
                    object("TimeSpan", vec![("TotalSeconds", Value::Double(seconds))])
                }
                (Value::Int(from), Value::Int(less)) => Value::Int(from - less),
                _ => Value::Double(self.number(&first) - self.number(&second)),
            },
            "*" => match (&first, &second) {
                (Value::Int(one), Value::Int(other)) => Value::Int(one * other),
                _ => Value::Double(self.number(&first) * self.number(&second)),
            },
            _ => self.unknown(operator, "this operator"),
        })
    }

    fn number(&self, value: &Value) -> f64 {
        match value {
            Value::Int(_) | Value::Double(_) => value.number().unwrap(),
            _ => panic!("line {}: the evaluator does not reckon with {value:?}", self.line),
        }
    }

    pub(crate) fn add(&self, left: &Value, right: &Value) -> Value {
        match (left, right) {
            (Value::Text(text), right) => format!("{text}{}", right.text()).into(),
            (Value::Array(_), right) => {
                let more = if right.is_null() && !matches!(right, Value::Nothing) {
                    vec![Value::Null]
                } else {
                    right.elements()
                };
                [left.elements(), more].concat().into()
            }
            (Value::Int(one), Value::Int(other)) => Value::Int(one + other),
            (Value::Int(_) | Value::Double(_), Value::Int(_) | Value::Double(_)) => {
                Value::Double(self.number(left) + self.number(right))
            }
            _ => panic!("line {}: the evaluator does not add {right:?} to {left:?}", self.line),
        }
    }

    /// True if a text matches, and then `$Matches` has the groups.
    pub(crate) fn matches(&mut self, text: &str, pattern: &str, with_case: bool) -> Ended<bool> {
        let pattern = self.regex(pattern, with_case);
        let Some(found) = pattern.captures(text) else { return Ok(false) };
        let groups = found.iter().enumerate().filter_map(|(index, group)| Some((index.to_string(), group?.as_str())));
        let groups: Vec<(String, &str)> = groups.collect();
        let groups = groups.iter().map(|(index, group)| (index.as_str(), Value::from(*group))).collect();
        self.set("Matches", object(HASHTABLE, groups))?;
        Ok(true)
    }

    fn regex(&self, pattern: &str, with_case: bool) -> Regex {
        let key = (pattern.to_owned(), with_case);
        if let Some(known) = REGEXES.with_borrow(|known| known.get(&key).cloned()) {
            return known;
        }
        let built = self.built(pattern, with_case);
        REGEXES.with_borrow_mut(|known| known.insert(key, built.clone()));
        built
    }

    fn built(&self, pattern: &str, with_case: bool) -> Regex {
        for unlike in ["(?", "\\Z", "\\b", "\\k", "\\G"] {
            assert!(!pattern.contains(unlike), "line {}: {unlike} in {pattern} may differ here", self.line);
        }
        // In .NET `$` also stands before a line feed that ends the text.
        let (mut translated, mut characters, mut in_class) = (String::new(), pattern.chars(), false);
        while let Some(character) = characters.next() {
            match character {
                '\\' => translated.extend(['\\', characters.next().unwrap()]),
                '$' if !in_class => translated.push_str("(?:\\n?\\z)"),
                other => {
                    in_class = match other {
                        '[' => true,
                        ']' => false,
                        _ => in_class,
                    };
                    translated.push(other);
                }
            }
        }
        let built = RegexBuilder::new(&translated).case_insensitive(!with_case).build();
        built.unwrap_or_else(|error| panic!("line {}: {pattern}: {error}", self.line))
    }

    fn split(&self, text: &str, right: &Value) -> Value {
        let right = right.elements();
        let pattern = self.regex(&right[0].text(), false);
        let parts: Vec<Value> = match right.get(1) {
            Some(most) => {
                let most = usize::try_from(most.int().unwrap()).unwrap();
                pattern.splitn(text, most).map(Value::from).collect()
            }
            None => pattern.split(text).map(Value::from).collect(),
        };
        parts.into()
    }
}

/// `*` alone is known.
pub(crate) fn like(text: &str, pattern: &str) -> bool {
    assert!(!pattern.contains(['?', '[', '`']), "the evaluator does not know the pattern {pattern}");
    let (text, pattern) = (text.to_lowercase(), pattern.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn is_of(value: &Value, of: &str) -> bool {
    let name = value.type_name().to_ascii_lowercase();
    match of {
        "string" | "datetime" | "int" | "hashtable" => name == of || of == "int" && name == "int32",
        _ => panic!("the evaluator does not know the type {of}"),
    }
}
