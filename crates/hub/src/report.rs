//! The report that a collector sends to the manager.

use serde::{Deserialize, Serialize};

use crate::wire::at_most;
use crate::{AccountId, Region, Timestamp, WireError, decode_str};

/// The only version of the report there is.
pub const REPORT_VERSION: u64 = 1;

/// A report names at most this many instances, and at most this many in each of its other lists.
pub const REPORT_INSTANCES_MAX: usize = 1_000;

/// An instance of a report has at most this many tags. EC2 takes 50 of a user's, and AWS adds some of its own:
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html>.
pub const INSTANCE_TAGS_MAX: usize = 200;

/// The tags of an agency's instances as they were at one instant.
///
/// Only `instances[].instanceId` and `instances[].tags` are required. Everything in it is a claim of the
/// sender: who the sender is, the manager knows from the alias that was invoked.
///
/// ```
/// let event = r#"{"instances": [
///     {"instanceId": "mi-0123456789abcdef0", "tags": [{"Key": "OS", "Value": 7}]}
/// ]}"#;
/// let error = hub::Report::from_event(event).unwrap_err();
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
    /// False if nobody reads the answer (an asynchronous invocation). Absent means true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<bool>,
    /// The instances, at most [`REPORT_INSTANCES_MAX`], and at most 500 from our own collector.
    #[serde(deserialize_with = "at_most::<_, _, REPORT_INSTANCES_MAX>")]
    pub instances: Vec<Instance>,
    /// Instances that EC2 says are terminated, at most 500 from our own collector. None of them is in `instances`.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "at_most::<_, _, REPORT_INSTANCES_MAX>"
    )]
    pub terminated: Vec<Terminated>,
    /// Instances that are not terminated and carry no tag `managedinstanceid`, at most 500 from our own collector. A
    /// node whose `tag-hub:source` names one of them lost its link. Not checked here, as with [`Instance`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlinked: Option<Unlinked>,
    /// How many of the Region's instances are managed: in one report of each sweep and Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
}

impl Report {
    /// Reads a report from the JSON of an invocation, without building a tree of it first.
    ///
    /// # Errors
    /// Names the place that does not fit, such as `instances[3].tags[0].Value`.
    pub fn from_event(event: &str) -> Result<Self, WireError> {
        decode_str(event)
    }

    /// True if somebody reads the answer.
    pub fn wants_reply(&self) -> bool {
        self.reply.unwrap_or(true)
    }

    /// True if the sender is a collector of a release before 0.2, which cannot read the outcomes that came later:
    /// those collectors always say `reply` and never `unlinked`.
    pub fn is_from_old_collector(&self) -> bool {
        self.reply.is_some() && self.unlinked.is_none()
    }
}

/// EC2 instance IDs, at most [`REPORT_INSTANCES_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unlinked(#[serde(deserialize_with = "at_most::<_, _, REPORT_INSTANCES_MAX>")] pub Vec<String>);

/// How many of a Region's instances have a managed node, and which do not.
///
/// `running` and `stopped` count all instances of the Region that are not terminated (`pending` counts as running,
/// `stopping` as stopped); `managed` counts those of them that carry the tag `managedinstanceid`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Coverage {
    /// Instances that are pending or running.
    pub running: usize,
    /// Instances that are stopping, stopped or shutting down.
    pub stopped: usize,
    /// Instances that name a managed node.
    pub managed: usize,
    /// Running instances that name none, the first ones by ID.
    #[serde(default, deserialize_with = "at_most::<_, _, REPORT_INSTANCES_MAX>")]
    pub unmanaged: Vec<String>,
    /// How many more there are.
    #[serde(default)]
    pub unmanaged_omitted: usize,
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
    /// All tags of the EC2 instance, at most [`INSTANCE_TAGS_MAX`].
    #[serde(deserialize_with = "at_most::<_, _, INSTANCE_TAGS_MAX>")]
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
    use serde_json::{Value, json};

    use super::*;

    fn read(event: &Value) -> Result<Report, WireError> {
        Report::from_event(&event.to_string())
    }

    #[test]
    fn the_minimal_form_is_a_report() {
        let event =
            json!({"instances": [{"instanceId": "mi-0123456789abcdef0", "tags": [{"Key": "Env", "Value": ""}]}]});
        let report = read(&event).unwrap();
        assert_eq!(report.version, 1);
        assert!(report.wants_reply() && !report.dry_run && !report.is_from_old_collector());
        assert_eq!(report.instances[0].tags[0], Tag { key: "Env".to_owned(), value: String::new() });
    }

    #[test]
    fn the_full_form_round_trips() {
        let event = json!({
            "version": 1, "account": "222222222222", "region": "us-east-1", "observedAt": "2026-11-22T02:00:00Z",
            "dryRun": true, "reply": false,
            "instances": [{"instanceId": "mi-0123456789abcdef0", "ec2InstanceId": "i-0abcdef0123456789",
                           "tags": [{"Key": "Env", "Value": "PROD"}]}],
            "unlinked": ["i-0aaaaaaaaaaaaaaaa"],
            "coverage": {"running": 41, "stopped": 3, "managed": 38, "unmanaged": ["i-0bbbbbbbbbbbbbbbb"],
                         "unmanagedOmitted": 0}
        });
        let report = read(&event).unwrap();
        assert_eq!(serde_json::to_value(report).unwrap(), event);
    }

    #[test]
    fn terminated_instances_are_a_report_of_their_own_and_are_absent_where_there_are_none() {
        let event = json!({"version": 1, "dryRun": false, "instances": [],
                           "terminated": [{"ec2InstanceId": "i-0abcdef0123456789"}]});
        let mut report = read(&event).unwrap();
        assert_eq!(serde_json::to_value(&report).unwrap(), event);
        report.terminated.clear();
        assert_eq!(serde_json::to_string(&report).unwrap(), r#"{"version":1,"dryRun":false,"instances":[]}"#);
    }

    #[test]
    fn a_collector_of_an_earlier_release_is_known_by_what_it_says() {
        let report = |event: Value| read(&event).unwrap();
        assert!(report(json!({"reply": true, "instances": []})).is_from_old_collector());
        assert!(!report(json!({"reply": false, "instances": [], "unlinked": []})).is_from_old_collector());
        assert!(!report(json!({"instances": []})).is_from_old_collector());
    }

    #[test]
    fn what_is_too_long_is_refused_with_its_length() {
        let instance = json!({"instanceId": "mi-0123456789abcdef0", "tags": []});
        let most = vec![instance.clone(); 1_000];
        assert_eq!(read(&json!({"instances": most})).unwrap().instances.len(), 1_000);
        let tags = vec![json!({"Key": "a", "Value": "b"}); 201];
        for (event, path, problem) in [
            (json!({"instances": vec![instance; 1_001]}), "instances", "expected at most 1000 entries, got 1001"),
            (json!({"instances": [], "unlinked": vec!["i"; 1_002]}), "unlinked", "got 1002"),
            (json!({"instances": [], "terminated": vec![json!({"ec2InstanceId": "i"}); 1_001]}), "terminated", "1001"),
            (json!({"instances": [{"instanceId": "x", "tags": tags}]}), "instances[0].tags", "at most 200 entries"),
        ] {
            let error = read(&event).unwrap_err();
            assert_eq!(error.path, path);
            assert!(error.problem.contains(problem), "{error}");
        }
    }

    #[test]
    fn errors_name_the_place() {
        let tag = |tag: Value| json!({"instances": [{"instanceId": "mi-0123456789abcdef0", "tags": [tag]}]});
        for (event, path, problem) in [
            (json!([]), "event", "expected an object, got a list"),
            (json!(null), "event", "expected an object, got null"),
            (json!({}), "event", "missing field `instances`"),
            (json!({"instances": {}}), "instances", "got an object, expected a list"),
            (json!({"version": 2, "instances": []}), "version", "expected version 1, got 2"),
            (json!({"version": "1", "instances": []}), "version", "expected a whole number"),
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
            let error = read(&event).unwrap_err();
            assert_eq!(error.path, path, "{event}");
            assert!(error.problem.contains(problem), "{event}: {error}");
        }
    }
}
