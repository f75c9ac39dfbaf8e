//! What an invocation may ask for.

use hub::{WireError, decode};
use serde::Deserialize;
use serde_json::Value;

/// An invocation's wish: without any field, the report is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Read and answer, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl Request {
    /// Reads the event of an invocation.
    ///
    /// # Errors
    /// Names the place that does not fit, such as `dryRun`.
    pub fn from_event(event: &Value) -> Result<Self, WireError> {
        decode(event)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_are_read_and_nothing_else() {
        assert_eq!(Request::from_event(&json!({})), Ok(Request { dry_run: false }));
        assert_eq!(Request::from_event(&json!({"dryRun": true})), Ok(Request { dry_run: true }));
        for (event, path, problem) in [
            (json!([]), "event", "expected an object, got a list"),
            (json!({"dryRun": "yes"}), "dryRun", "expected a boolean"),
            (json!({"agency": "222222222222"}), "agency", "unknown field"),
        ] {
            let error = Request::from_event(&event).unwrap_err();
            assert_eq!(error.path, path, "{event}");
            assert!(error.problem.contains(problem), "{event}: {error}");
        }
    }
}
