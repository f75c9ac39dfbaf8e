//! Decoding JSON so that an error names the place.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;

use crate::ids::shortened;

/// How much of a place and of a problem is shown: both may quote what came.
const SHOWN: usize = 1_000;
const OBJECT: &str = "an object";

/// JSON that does not fit: where, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct WireError {
    /// The place, such as `instances[3].tags[0].Value`, or `event` for the whole.
    pub path: String,
    /// What was expected and what came.
    pub problem: String,
}

/// Reads a `T` from a JSON value.
///
/// # Errors
/// Names the first place that does not fit.
pub fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, WireError> {
    if !value.is_object() {
        return Err(WireError {
            path: "event".to_owned(),
            problem: format!("expected an object, got {}", json_kind(value)),
        });
    }
    serde_path_to_error::deserialize(value).map_err(wire_error)
}

/// Reads a `T` from JSON text, without building a tree of it first.
///
/// # Errors
/// Names the first place that does not fit.
pub fn decode_str<T: DeserializeOwned>(json: &str) -> Result<T, WireError> {
    if let Some(kind) = kind_of(json).filter(|kind| *kind != OBJECT) {
        let problem = match serde_json::from_str::<IgnoredAny>(json) {
            Ok(_) => format!("expected an object, got {kind}"),
            Err(error) => plain(&error),
        };
        return Err(WireError { path: "event".to_owned(), problem });
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(wire_error)?;
    match deserializer.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(WireError { path: "event".to_owned(), problem: plain(&error) }),
    }
}

fn wire_error(error: serde_path_to_error::Error<serde_json::Error>) -> WireError {
    let path = match shortened(&error.path().to_string(), SHOWN) {
        path if path == "." => "event".to_owned(),
        path => path.into_owned(),
    };
    WireError { path, problem: plain(&error.into_inner()) }
}

/// serde's message in JSON's words and without the column, which the path replaces.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = match text.rfind(" at line ") {
        Some(end) if error.line() > 0 => &text[..end],
        _ => &text,
    };
    let text = &*shortened(text, SHOWN);
    let Some((got, expected)) = text.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    else {
        return text.replace("unknown variant", "unknown word");
    };
    let got = match got {
        "map" => "an object",
        "sequence" => "a list",
        "unit value" => "null",
        other => other,
    };
    let expected = match expected {
        "a sequence" => "a list",
        "a map" => "an object",
        "u64" | "usize" | "i64" | "u16" | "u32" => "a whole number",
        struct_name if struct_name.starts_with("struct ") || struct_name.starts_with("internally tagged") => {
            "an object"
        }
        other => other,
    };
    format!("got {got}, expected {expected}")
}

/// Reads a list of at most `MAX` entries. A longer one is refused with its length, and is not kept in memory.
pub(crate) fn at_most<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct AtMost<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for AtMost<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while list.len() < MAX {
                let Some(entry) = entries.next_element()? else { return Ok(list) };
                list.push(entry);
            }
            let mut further_count = 0_usize;
            while entries.next_element::<IgnoredAny>()?.is_some() {
                further_count += 1;
            }
            if further_count == 0 {
                return Ok(list);
            }
            Err(A::Error::custom(format!("expected at most {MAX} entries, got {}", MAX + further_count)))
        }
    }

    deserializer.deserialize_seq(AtMost::<T, MAX>(PhantomData))
}

/// The kind of a JSON value, in words.
pub fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => OBJECT,
    }
}

/// The kind that JSON text would have if it is valid, by its first character.
fn kind_of(json: &str) -> Option<&'static str> {
    Some(match json.trim_start().bytes().next()? {
        b'n' => "null",
        b't' | b'f' => "a boolean",
        b'-' | b'0'..=b'9' => "a number",
        b'"' => "a string",
        b'[' => "a list",
        b'{' => OBJECT,
        _ => return None,
    })
}
