//! What an invocation may ask for.

use hub::{AccountId, WireError, decode};
use serde::Deserialize;
use serde_json::Value;

/// An invocation's wish: without any field, every agency is served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Only this agency.
    #[serde(default)]
    pub agency: Option<AccountId>,
    /// Read and answer, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl Request {
    /// Reads the event of an invocation.
    ///
    /// # Errors
    /// Names the place that does not fit, such as `agency`.
    pub fn from_event(event: &Value) -> Result<Self, WireError> {
        decode(event)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_is_read() {
        let agency = || Some("222222222222".parse().unwrap());
        for (event, expected) in [
            (json!({}), Request::default()),
            (json!({"agency": "222222222222"}), Request { agency: agency(), dry_run: false }),
            (json!({"dryRun": true}), Request { agency: None, dry_run: true }),
            (json!({"agency": "222222222222", "dryRun": true}), Request { agency: agency(), dry_run: true }),
        ] {
            assert_eq!(Request::from_event(&event), Ok(expected), "{event}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (event, path, problem) in [
            (json!([]), "event", "expected an object, got a list"),
            (json!({"agency": 222_222_222_222_u64}), "agency", "expected a string"),
            (json!({"agency": "22"}), "agency", "12 digits"),
            (json!({"dryRun": "yes"}), "dryRun", "expected a boolean"),
            (json!({"dryrun": true}), "dryrun", "unknown field"),
            (json!({"agencies": []}), "agencies", "unknown field"),
        ] {
            let error = Request::from_event(&event).unwrap_err();
            assert_eq!(error.path, path, "{event}");
            assert!(error.problem.contains(problem), "{event}: {error}");
        }
    }
}
