//! Condition expressions: `attribute_exists`, `attribute_not_exists`, `=`, `<`, `<=`, `>`, `>=`, `AND`, `OR`, `NOT` and
//! parentheses, over attributes named `#name` and values named `:value`.
//!
//! A bare attribute name may be one of DynamoDB's 573 reserved words, which are not listed here, so it is refused.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Item, invalid, unknown, value};
use crate::aws_error::AwsError;

/// A condition that was read, with its names and values filled in.
#[derive(Debug)]
pub(super) enum Condition {
    Exists(String),
    Compare(Operand, Comparator, Operand),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

#[derive(Debug)]
pub(super) enum Operand {
    Attribute(String),
    Value(Value),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Comparator {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// The condition of a request, if it has one.
    pub(super) fn of_request(body: &Value) -> Result<Option<Self>, AwsError> {
        let (names, values) = (&body["ExpressionAttributeNames"], &body["ExpressionAttributeValues"]);
        let Some(expression) = body["ConditionExpression"].as_str() else {
            return match (names.is_null(), values.is_null()) {
                (true, true) => Ok(None),
                (false, _) => Err(invalid("ExpressionAttributeNames can only be specified when using expressions")),
                (true, false) => Err(invalid(
                    "ExpressionAttributeValues can only be specified when using expressions: ConditionExpression is null",
                )),
            };
        };
        for (what, given) in [("ExpressionAttributeNames", names), ("ExpressionAttributeValues", values)] {
            if given.as_object().is_some_and(Map::is_empty) {
                return Err(invalid(format!("{what} must not be empty")));
            }
        }
        let mut reader = Reader { tokens: tokens(expression)?, at: 0, names, values, used: RefCell::default() };
        let condition = reader.or()?;
        if reader.at < reader.tokens.len() {
            return Err(reader.syntax_error());
        }
        reader.check_used()?;
        Ok(Some(condition))
    }

    /// Whether it holds for an item, or for none.
    pub(super) fn holds(&self, item: Option<&Item>) -> Result<bool, AwsError> {
        Ok(match self {
            Self::Exists(name) => item.is_some_and(|item| item.contains_key(name)),
            Self::Not(inner) => !inner.holds(item)?,
            Self::And(one, other) => one.holds(item)? && other.holds(item)?,
            Self::Or(one, other) => one.holds(item)? || other.holds(item)?,
            Self::Compare(one, comparator, other) => {
                let (Some(one), Some(other)) = (one.value(item), other.value(item)) else { return Ok(false) };
                match (comparator, value::compare(one, other)) {
                    (Comparator::Equal, None) => one == other,
                    (_, None) => {
                        let kinds = (value::parts(one), value::parts(other));
                        let (Some((kind, _)), Some((other_kind, _))) = kinds else { return Ok(false) };
                        if kind == other_kind {
                            return Err(unknown("a comparison of this type of values"));
                        }
                        false
                    }
                    (Comparator::Equal, Some(order)) => order.is_eq(),
                    (Comparator::Less, Some(order)) => order.is_lt(),
                    (Comparator::LessOrEqual, Some(order)) => order.is_le(),
                    (Comparator::Greater, Some(order)) => order.is_gt(),
                    (Comparator::GreaterOrEqual, Some(order)) => order.is_ge(),
                }
            }
        })
    }
}

impl Operand {
    fn value<'a>(&'a self, item: Option<&'a Item>) -> Option<&'a Value> {
        match self {
            Self::Attribute(name) => item?.get(name),
            Self::Value(value) => Some(value),
        }
    }
}

struct Reader<'a> {
    tokens: Vec<String>,
    at: usize,
    names: &'a Value,
    values: &'a Value,
    used: RefCell<BTreeSet<String>>,
}

/// Words, names, values and signs.
fn tokens(expression: &str) -> Result<Vec<String>, AwsError> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = match first {
            '(' | ')' | '=' | ',' => 1,
            '<' | '>' => 1 + usize::from(rest[1..].starts_with(['=', '>'])),
            '#' | ':' => 1 + rest[1..].find(|c| !is_word(c)).unwrap_or(rest.len() - 1),
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => return Err(unknown(&format!("'{first}' in a ConditionExpression"))),
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

impl Reader<'_> {
    fn or(&mut self) -> Result<Condition, AwsError> {
        let mut condition = self.and()?;
        while self.takes_word("OR") {
            condition = Condition::Or(Box::new(condition), Box::new(self.and()?));
        }
        Ok(condition)
    }

    fn and(&mut self) -> Result<Condition, AwsError> {
        let mut condition = self.not()?;
        while self.takes_word("AND") {
            condition = Condition::And(Box::new(condition), Box::new(self.not()?));
        }
        Ok(condition)
    }

    fn not(&mut self) -> Result<Condition, AwsError> {
        if self.takes_word("NOT") {
            return Ok(Condition::Not(Box::new(self.not()?)));
        }
        if self.takes("(") {
            let inner = self.or()?;
            return if self.takes(")") { Ok(inner) } else { Err(self.syntax_error()) };
        }
        let is_call = self.tokens.get(self.at + 1).is_some_and(|next| next == "(");
        if is_call { self.function() } else { self.comparison() }
    }

    fn function(&mut self) -> Result<Condition, AwsError> {
        let name = self.next();
        if !["attribute_exists", "attribute_not_exists"].contains(&name.as_str()) {
            return Err(unknown(&format!("the function {name}")));
        }
        self.at += 1;
        let Operand::Attribute(attribute) = self.operand()? else { return Err(self.syntax_error()) };
        if !self.takes(")") {
            return Err(self.syntax_error());
        }
        let exists = Condition::Exists(attribute);
        Ok(if name == "attribute_exists" { exists } else { Condition::Not(Box::new(exists)) })
    }

    fn comparison(&mut self) -> Result<Condition, AwsError> {
        let one = self.operand()?;
        let comparator = match self.next().as_str() {
            "=" => Comparator::Equal,
            "<" => Comparator::Less,
            "<=" => Comparator::LessOrEqual,
            ">" => Comparator::Greater,
            ">=" => Comparator::GreaterOrEqual,
            "" => return Err(self.syntax_error()),
            other => return Err(unknown(&format!("the comparator {other}"))),
        };
        Ok(Condition::Compare(one, comparator, self.operand()?))
    }

    fn operand(&mut self) -> Result<Operand, AwsError> {
        let token = self.next();
        let undefined = |what: &str, kind: &str| {
            invalid(format!(
                "Invalid ConditionExpression: An expression attribute {what} is not defined; attribute {kind}: {token}"
            ))
        };
        self.used.borrow_mut().insert(token.clone());
        if token.starts_with('#') {
            let name =
                self.names[&token].as_str().ok_or_else(|| undefined("name used in the document path", "name"))?;
            return Ok(Operand::Attribute(name.to_owned()));
        }
        if token.starts_with(':') {
            let value = self.values.get(&token).ok_or_else(|| undefined("value used in expression", "value"))?;
            value::check(value)?;
            return Ok(Operand::Value(value.clone()));
        }
        Err(if token.is_empty() { self.syntax_error() } else { unknown(&format!("the bare attribute name {token}")) })
    }

    /// DynamoDB refuses names and values that no expression uses.
    fn check_used(&self) -> Result<(), AwsError> {
        for (what, given) in [("ExpressionAttributeNames", self.names), ("ExpressionAttributeValues", self.values)] {
            let used = self.used.borrow();
            let unused: Vec<&str> = given
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, _)| key.as_str())
                .filter(|key| !used.contains(*key))
                .collect();
            if !unused.is_empty() {
                let keys = unused.join(", ");
                return Err(invalid(format!("Value provided in {what} unused in expressions: keys: {{{keys}}}")));
            }
        }
        Ok(())
    }

    /// The next token; empty at the end.
    fn next(&mut self) -> String {
        let token = self.tokens.get(self.at).cloned().unwrap_or_default();
        self.at += 1;
        token
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is_next = self.tokens.get(self.at).is_some_and(|token| token == sign);
        self.at += usize::from(is_next);
        is_next
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is_next = self.tokens.get(self.at).is_some_and(|token| token.eq_ignore_ascii_case(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn syntax_error(&self) -> AwsError {
        let near = self.tokens[self.at.saturating_sub(1).min(self.tokens.len())..].join(" ");
        let token = self.tokens.get(self.at.saturating_sub(1)).map_or("<EOF>", String::as_str);
        invalid(format!("Invalid ConditionExpression: Syntax error; token: \"{token}\", near: \"{near}\""))
    }
}
