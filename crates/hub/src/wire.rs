//! Decoding JSON so that an error names the place.

use serde::de::DeserializeOwned;
use serde_json::Value;

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
    serde_path_to_error::deserialize(value).map_err(|error| WireError {
        path: match error.path().to_string() {
            path if path == "." => "event".to_owned(),
            path => path,
        },
        problem: error.into_inner().to_string(),
    })
}

/// The kind of a JSON value, in words.
pub fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
