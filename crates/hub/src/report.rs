//! The report that a collector sends to the manager.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AccountId, Region, Timestamp, WireError, decode};

/// The only version of the report there is.
pub const REPORT_VERSION: u64 = 1;

/// The tags of an agency's instances as they were at one instant.
///
/// Only `instances[].instanceId` and `instances[].tags` are required. Everything in it is a claim of the
/// sender: who the sender is, the manager knows from the alias that was invoked.
///
/// ```
/// let event = serde_json::json!({"instances": [
///     {"instanceId": "mi-0123456789abcdef0", "tags": [{"Key": "OS", "Value": 7}]}
/// ]});
/// let error = hub::Report::from_event(&event).unwrap_err();
/// assert_eq!(error.path, "instances[0].tags[0].Value");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// [`REPORT_VERSION`].
    #[serde(default = "report_version", deserialize_with = "supported_version")]
    pub version: u64,
    /// The account that the instances are in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// The Region that the instances are in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// The instant before the tags were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Timestamp>,
    /// Plan and answer, write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// False where nobody reads the answer (an asynchronous invocation).
    #[serde(default = "yes")]
    pub reply: bool,
    /// The instances, at most 500 from our own collector.
    pub instances: Vec<Instance>,
    /// Instances that EC2 says are terminated, at most 500 from our own collector. None of them is in `instances`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terminated: Vec<Terminated>,
}

impl Report {
    /// Reads a report from the event of an invocation.
    ///
    /// # Errors
    /// Names the place that does not fit, such as `instances[3].tags[0].Value`.
    pub fn from_event(event: &Value) -> Result<Self, WireError> {
        decode(event)
    }
}

/// One EC2 instance that names a managed node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Instance {
    /// The managed node, as the instance's tag names it. Not checked here: one bad id is that instance's
    /// outcome and not an error of the report.
    pub instance_id: String,
    /// The EC2 instance. Where it is absent, nothing guards the node against a cloned image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ec2_instance_id: Option<String>,
    /// All tags of the EC2 instance.
    pub tags: Vec<Tag>,
}

/// An EC2 instance that is gone for good. Which node was its own, it may not be able to say any more: EC2 takes the
/// tags of a terminated instance away. The manager finds the node by its tag `tag-hub:source`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Terminated {
    /// The EC2 instance. Not checked here, as with [`Instance`].
    pub ec2_instance_id: String,
}

/// A tag as EC2 and Systems Manager spell it. The value may be empty, but not absent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Tag {
    /// Case-sensitive.
    pub key: String,
    /// Case-sensitive.
    pub value: String,
}

fn report_version() -> u64 {
    REPORT_VERSION
}

fn yes() -> bool {
    true
}

fn supported_version<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let version = u64::deserialize(deserializer)?;
    if version == REPORT_VERSION {
        Ok(version)
    } else {
        Err(serde::de::Error::custom(format!("expected version {REPORT_VERSION}, got {version}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_minimal_form_is_a_report() {
        let event =
            json!({"instances": [{"instanceId": "mi-0123456789abcdef0", "tags": [{"Key": "Env", "Value": ""}]}]});
        let report = Report::from_event(&event).unwrap();
        assert_eq!(report.version, 1);
        assert!(report.reply && !report.dry_run);
        assert_eq!(report.instances[0].tags[0], Tag { key: "Env".to_owned(), value: String::new() });
    }

    #[test]
    fn the_full_form_round_trips() {
        let event = json!({
            "version": 1, "account": "222222222222", "region": "us-east-1", "observedAt": "2026-11-22T02:00:00Z",
            "dryRun": true, "reply": false,
            "instances": [{"instanceId": "mi-0123456789abcdef0", "ec2InstanceId": "i-0abcdef0123456789",
                           "tags": [{"Key": "Env", "Value": "PROD"}]}]
        });
        let report = Report::from_event(&event).unwrap();
        assert_eq!(serde_json::to_value(report).unwrap(), event);
    }

    #[test]
    fn terminated_instances_are_a_report_of_their_own_and_are_absent_where_there_are_none() {
        let event = json!({"version": 1, "dryRun": false, "reply": true, "instances": [],
                           "terminated": [{"ec2InstanceId": "i-0abcdef0123456789"}]});
        let mut report = Report::from_event(&event).unwrap();
        assert_eq!(serde_json::to_value(&report).unwrap(), event);
        report.terminated.clear();
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"version":1,"dryRun":false,"reply":true,"instances":[]}"#
        );
    }

    #[test]
    fn errors_name_the_place() {
        let tag = |tag: Value| json!({"instances": [{"instanceId": "mi-0123456789abcdef0", "tags": [tag]}]});
        for (event, path, problem) in [
            (json!([]), "event", "expected an object, got a list"),
            (json!(null), "event", "expected an object, got null"),
            (json!({}), "event", "missing field `instances`"),
            (json!({"instances": {}}), "instances", "expected a sequence"),
            (json!({"version": 2, "instances": []}), "version", "expected version 1, got 2"),
            (json!({"version": "1", "instances": []}), "version", "expected u64"),
            (json!({"account": "12", "instances": []}), "account", "12 digits"),
            (json!({"region": "mars", "instances": []}), "region", "Region code"),
            (json!({"observedAt": "noon", "instances": []}), "observedAt", "expected a time such as"),
            (json!({"dryrun": true, "instances": []}), "dryrun", "unknown field"),
            (json!({"instances": [{"tags": []}]}), "instances[0]", "missing field `instanceId`"),
            (json!({"instances": [{"instanceId": 7, "tags": []}]}), "instances[0].instanceId", "expected a string"),
            (json!({"instances": [], "terminated": [{}]}), "terminated[0]", "missing field `ec2InstanceId`"),
            (
                json!({"instances": [], "terminated": [{"ec2InstanceId": "i-01234567", "instanceId": "mi-1"}]}),
                "terminated[0].instanceId",
                "unknown field",
            ),
            (tag(json!({"Key": "Env", "Value": 7})), "instances[0].tags[0].Value", "expected a string"),
            (tag(json!({"Key": "Env"})), "instances[0].tags[0]", "missing field `Value`"),
            (tag(json!({"key": "Env", "Value": "x"})), "instances[0].tags[0].key", "unknown field"),
        ] {
            let error = Report::from_event(&event).unwrap_err();
            assert_eq!(error.path, path, "{event}");
            assert!(error.problem.contains(problem), "{event}: {error}");
        }
    }
}
