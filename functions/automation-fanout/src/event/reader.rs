//! Reading JSON while collecting every problem, where serde would stop at the first.

use hub::json_kind;
use serde_json::{Map, Value};

use super::suggest::did_you_mean;
use crate::plan::problem::{Path, Problem};

/// How much of a refused value is repeated in words.
const SHOWN_MAX: usize = 60;

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn refuse(&mut self, path: &Path<'_>, text: impl Into<String>) {
        self.problems.push(Problem::new(path, text));
    }

    /// An object with no other fields than these.
    pub(super) fn object<'v>(
        &mut self,
        value: &'v Value,
        path: &Path<'_>,
        known: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        let fields = self.map(value, path)?;
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            let text = format!("unknown field; {}", did_you_mean(name, known));
            self.refuse(&path.field(name), text);
        }
        Some(fields)
    }

    /// An object with any fields.
    pub(super) fn map<'v>(&mut self, value: &'v Value, path: &Path<'_>) -> Option<&'v Map<String, Value>> {
        self.typed(value, path, "an object", Value::as_object)
    }

    /// A list of `min` to `max` items.
    pub(super) fn list<'v>(
        &mut self,
        value: &'v Value,
        path: &Path<'_>,
        (min, max): (usize, usize),
    ) -> Option<&'v [Value]> {
        let items = self.typed(value, path, "a list", Value::as_array)?;
        if items.len() < min || items.len() > max {
            let expected = match (min, max) {
                (1, usize::MAX) => "at least one item".to_owned(),
                (_, 1) => "exactly one item".to_owned(),
                (0, max) => format!("at most {max} items"),
                (min, max) => format!("{min} to {max} items"),
            };
            let got = if items.is_empty() { "an empty list".to_owned() } else { items.len().to_string() };
            self.refuse(path, format!("expected {expected}, got {got}"));
        }
        Some(items)
    }

    /// A whole number from `min` to `max`.
    pub(super) fn number(&mut self, value: &Value, path: &Path<'_>, (min, max): (u64, u64)) -> Option<u64> {
        let number = value.as_u64().filter(|number| (min..=max).contains(number));
        if number.is_none() {
            let got = if value.is_number() { value.to_string() } else { json_kind(value).to_owned() };
            self.refuse(path, format!("expected a whole number from {min} to {max}, got {got}"));
        }
        number
    }

    pub(super) fn boolean(&mut self, value: &Value, path: &Path<'_>) -> Option<bool> {
        self.typed(value, path, "true or false", Value::as_bool)
    }

    /// A string that `read` understands. The value stays out of the refusal where it may be a secret.
    pub(super) fn parsed<T>(
        &mut self,
        value: &Value,
        path: &Path<'_>,
        expected: &Expected,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.typed(value, path, &expected.words(), Value::as_str)?;
        let parsed = read(text);
        if parsed.is_none() {
            let got = match expected {
                Expected::Open(_) => shown(text),
                Expected::Secret(_) => format!("another text of {} characters", text.chars().count()),
            };
            self.refuse(path, format!("expected {}, got {got}", expected.words()));
        }
        parsed
    }

    /// A string that fulfils a condition.
    pub(super) fn string(
        &mut self,
        value: &Value,
        path: &Path<'_>,
        expected: &Expected,
        is_valid: impl FnOnce(&str) -> bool,
    ) -> Option<String> {
        self.parsed(value, path, expected, |text| is_valid(text).then(|| text.to_owned()))
    }

    /// A list of strings that each fulfil a condition. Those that do not are refused and kept, so that what
    /// is counted later is what the caller wrote.
    pub(super) fn strings(
        &mut self,
        value: &Value,
        path: &Path<'_>,
        bounds: (usize, usize),
        expected: &Expected,
        is_valid: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let items = self.list(value, path, bounds).unwrap_or_default().iter().enumerate();
        let mut strings = Vec::new();
        for (index, item) in items {
            let _ = self.string(item, &path.index(index), expected, &is_valid);
            strings.extend(item.as_str().map(str::to_owned));
        }
        strings
    }

    fn typed<'v, T>(
        &mut self,
        value: &'v Value,
        path: &Path<'_>,
        expected: &str,
        read: impl FnOnce(&'v Value) -> Option<T>,
    ) -> Option<T> {
        let typed = read(value);
        if typed.is_none() {
            self.refuse(path, format!("expected {expected}, got {}", json_kind(value)));
        }
        typed
    }
}

/// What a string should be, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// A refusal repeats the value.
    Open(&'static str),
    /// A refusal keeps the value to itself: parameters of a runbook and presigned URLs are nobody's business.
    Secret(&'static str),
}

impl Expected {
    fn words(&self) -> String {
        match self {
            Self::Open(words) | Self::Secret(words) => (*words).to_owned(),
        }
    }
}

/// The value in quotation marks, cut where it is long.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{:?} and more", &text[..end]),
        None => format!("{text:?}"),
    }
}
