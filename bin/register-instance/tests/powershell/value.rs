//! Values, and what PowerShell takes them for: text, numbers, true or false, equal or not.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;

use tree_sitter::Node;

use crate::time::Time;

/// A value. An enumeration of .NET is its name as text, or its number where it is of flags.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// `$null`.
    Null,
    /// What a command gives that gives nothing: `$null` wherever it is looked at, and no element where it is listed.
    Nothing,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Array(Rc<Vec<Value>>),
    /// A `System.Collections.ArrayList`.
    List(Rc<RefCell<Vec<Value>>>),
    Time(Time),
    Object(Rc<Object>),
    /// A type, by its name without `System.`, in lower case.
    Type(String),
    /// A block of the script.
    Block(Node<'static>),
}

/// An object: a hash table, an object of the script, or one of .NET, with the members that it has here.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) of: &'static str,
    pub(crate) members: RefCell<Vec<(String, Value)>>,
}

pub(crate) const HASHTABLE: &str = "Hashtable";
pub(crate) const CUSTOM: &str = "PSCustomObject";

impl Object {
    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        let members = self.members.borrow();
        members.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    }

    pub(crate) fn set(&self, name: &str, value: Value) {
        let mut members = self.members.borrow_mut();
        match members.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, kept)) => *kept = value,
            None => members.push((name.to_owned(), value)),
        }
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or(Value::Null).text()
    }
}

/// A new object.
pub(crate) fn object(of: &'static str, members: Vec<(&str, Value)>) -> Value {
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Value::Object(Rc::new(Object { of, members: RefCell::new(members) }))
}

/// What several outputs are as one value.
pub(crate) fn collapse(mut values: Vec<Value>) -> Value {
    match values.len() {
        0 => Value::Nothing,
        1 => values.swap_remove(0),
        _ => Value::Array(Rc::new(values)),
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Self {
        Self::Array(Rc::new(values))
    }
}

impl Value {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::Nothing)
    }

    /// What a variable or a parameter makes of it.
    pub(crate) fn or_null(self) -> Self {
        if self.is_null() { Self::Null } else { self }
    }

    /// The elements, where it is listed; itself, where it is one.
    pub(crate) fn elements(&self) -> Vec<Value> {
        match self {
            Self::Nothing => vec![],
            Self::Array(values) => values.to_vec(),
            Self::List(values) => values.borrow().clone(),
            other => vec![other.clone()],
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Null | Self::Nothing => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Double(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Array(_) | Self::List(_) => match self.elements().as_slice() {
                [] => false,
                [one] => one.is_true(),
                _ => true,
            },
            Self::Time(_) | Self::Object(_) | Self::Type(_) | Self::Block(_) => true,
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Null | Self::Nothing => String::new(),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Int(value) => value.to_string(),
            Self::Double(value) => value.to_string(),
            Self::Text(text) => text.clone(),
            Self::Array(_) | Self::List(_) => self.elements().iter().map(Self::text).collect::<Vec<_>>().join(" "),
            Self::Time(time) => time.invariant(),
            Self::Type(name) => name.clone(),
            Self::Object(object) if object.of == "SecurityIdentifier" => object.text("Value"),
            Self::Object(object) => panic!("nobody knows here what a {} is as text", object.of),
            Self::Block(_) => panic!("nobody knows here what a block is as text"),
        }
    }

    /// The number that it is taken for; none if it is none.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Null | Self::Nothing => Some(0.0),
            Self::Bool(value) => Some(f64::from(u8::from(*value))),
            #[expect(clippy::cast_precision_loss, reason = "the script counts seconds and bytes")]
            Self::Int(value) => Some(*value as f64),
            Self::Double(value) => Some(*value),
            Self::Text(text) if text.trim().is_empty() => Some(0.0),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A number as `[int]` has it: the nearest, and the even one of two.
    #[expect(clippy::cast_possible_truncation, reason = "it was rounded before")]
    pub(crate) fn int(&self) -> Option<i64> {
        self.number().map(|number| number.round_ties_even() as i64)
    }

    /// `-eq`, where the left side is one value. Text is compared without its case, as is everywhere without a `c`.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (left, right) if left.is_null() || right.is_null() => left.is_null() && right.is_null(),
            (Self::Text(left), right) => left.to_lowercase() == right.text().to_lowercase(),
            (Self::Bool(left), right) => *left == right.is_true(),
            (Self::Int(_) | Self::Double(_), right) => {
                self.number().zip(right.number()).is_some_and(|(a, b)| a.partial_cmp(&b) == Some(Ordering::Equal))
            }
            (Self::Time(left), Self::Time(right)) => left.milliseconds == right.milliseconds,
            (Self::Object(left), Self::Object(right)) => Rc::ptr_eq(left, right),
            _ => panic!("nobody knows here whether {self:?} is {other:?}"),
        }
    }

    /// For `-lt` and its like.
    pub(crate) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Time(left), Self::Time(right)) => Some(left.milliseconds.cmp(&right.milliseconds)),
            (Self::Int(_) | Self::Double(_), Self::Int(_) | Self::Double(_)) => {
                self.number()?.partial_cmp(&other.number()?)
            }
            _ => panic!("nobody knows here which is more: {self:?} or {other:?}"),
        }
    }

    /// The name of its type, without `System.`, as `-is` and `GetType()` have it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null | Self::Nothing => "null",
            Self::Bool(_) => "Boolean",
            Self::Int(_) => "Int32",
            Self::Double(_) => "Double",
            Self::Text(_) => "String",
            Self::Array(_) => "Object[]",
            Self::List(_) => "ArrayList",
            Self::Time(_) => "DateTime",
            Self::Object(object) => object.of,
            Self::Type(_) => "RuntimeType",
            Self::Block(_) => "ScriptBlock",
        }
    }
}
