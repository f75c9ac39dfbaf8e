//! What an invocation may ask for, as it is spelled on the wire.

mod bridge;
mod queue;
mod state_change;

use hub::{AccountId, Ec2InstanceId, Region, WireError, decode};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use self::bridge::{Notice, notice};
use crate::plan::{InstanceArn, Scope};

pub use queue::Queue;

/// An event, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A sweep, on schedule or by hand.
    Sweep(Selection),
    /// The tags of these EC2 instances changed.
    TagChange(Vec<InstanceArn>),
    /// An EC2 instance changed its state: the instance if it is terminated now, nothing for other states.
    Ended(Option<InstanceArn>),
    /// Changes of both kinds through a queue, many at a time.
    Queue(Queue),
}

/// What a sweep reads: without any field, all instances in the configured Regions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selection {
    /// Only these instances.
    #[serde(default, deserialize_with = "at_least_one")]
    pub instance_ids: Option<Vec<Ec2InstanceId>>,
    /// These Regions instead of the configured ones.
    #[serde(default, deserialize_with = "at_least_one")]
    pub regions: Option<Vec<Region>>,
    /// Plan and answer, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl Event {
    /// Reads the event of an invocation.
    ///
    /// # Errors
    /// Names the place that does not fit, such as `instanceIds[1]`.
    pub fn from_json(event: &Value) -> Result<Self, WireError> {
        if event.get("Records").is_some() {
            return Ok(Self::Queue(Queue::from_json(event)?));
        }
        if event.get("source").is_none() && event.get("detail-type").is_none() {
            return Ok(Self::Sweep(decode(event)?));
        }
        Ok(match notice(event)? {
            Notice::Schedule => Self::Sweep(Selection::default()),
            Notice::TagChange(instances) => Self::TagChange(instances),
            Notice::Ended(instance) => Self::Ended(instance),
        })
    }

    /// Decides what to read, for a function in `account` that is set up to sweep `collect_regions`.
    ///
    /// # Errors
    /// Refuses a tag change of another account. In a queue that is the failure of its message alone.
    pub fn scope(self, account: &AccountId, collect_regions: &[Region]) -> Result<Scope, WireError> {
        match self {
            Self::Sweep(Selection { instance_ids, regions, dry_run }) => {
                let regions = regions.unwrap_or_else(|| collect_regions.to_vec());
                Ok(Scope::selected(regions, instance_ids.unwrap_or_default(), dry_run))
            }
            Self::TagChange(instances) => match InstanceArn::foreign(&instances, account) {
                Some(problem) => Err(problem),
                None => Ok(Scope::named(&instances, None, collect_regions)),
            },
            Self::Ended(instance) => match InstanceArn::foreign(instance.as_slice(), account) {
                Some(problem) => Err(problem),
                None => Ok(Scope::named(None, &instance, collect_regions)),
            },
            Self::Queue(queue) => Ok(queue.in_account(account).scope(collect_regions)),
        }
    }

    /// True for a sweep over all instances in the configured Regions that may write.
    pub fn is_full_sweep(&self) -> bool {
        matches!(self, Self::Sweep(selection) if *selection == Selection::default())
    }
}

/// A list that is there has items: an empty one is more likely a caller's mistake than a wish for everything.
fn at_least_one<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let items = Vec::deserialize(deserializer)?;
    if items.is_empty() {
        return Err(serde::de::Error::custom("expected at least one, got an empty list"));
    }
    Ok(Some(items))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::RegionScope;

    fn account() -> AccountId {
        "222222222222".parse().unwrap()
    }

    fn regions(names: &[&str]) -> Vec<Region> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn ids(ids: &[&str]) -> Vec<Ec2InstanceId> {
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    fn scope(event: &Value) -> Result<Scope, WireError> {
        Event::from_json(event)?.scope(&account(), &regions(&["us-east-1", "us-west-2"]))
    }

    fn everything() -> Scope {
        reading(&["us-east-1", "us-west-2"], &[])
    }

    /// These instances, or all, in each of these Regions.
    fn reading(names: &[&str], instance_ids: &[&str]) -> Scope {
        let regions = regions(names).into_iter();
        let regions = regions
            .map(|region| RegionScope { region, instance_ids: ids(instance_ids), ended_ids: Vec::new() })
            .collect();
        Scope { regions, ignored_regions: Vec::new(), dry_run: false }
    }

    fn file(name: &str) -> Value {
        let text = match name {
            "schedule" => include_str!("../../../events/tags-collector/schedule.json"),
            "tag-change" => include_str!("../../../events/tags-collector/tag-change.json"),
            "join-key-removed" => include_str!("../../../events/tags-collector/join-key-removed.json"),
            "tag-changes-queue" => include_str!("../../../events/tags-collector/tag-changes-queue.json"),
            "manual" => include_str!("../../../events/tags-collector/manual.json"),
            _ => include_str!("../../../events/tags-collector/dry-run.json"),
        };
        serde_json::from_str(text).unwrap()
    }

    /// The tag change of the sample with another value in one place.
    fn tag_change_with(pointer: &str, value: Value) -> Value {
        let mut event = file("tag-change");
        *event.pointer_mut(pointer).unwrap() = value;
        event
    }

    #[test]
    fn the_samples_ask_for_what_they_say() {
        assert_eq!(scope(&file("schedule")).unwrap(), everything());
        assert_eq!(scope(&file("dry-run")).unwrap(), Scope { dry_run: true, ..everything() });
        let manual = reading(&["us-east-1"], &["i-0abcdef0123456789", "i-0fedcba9876543210"]);
        assert_eq!(scope(&file("manual")).unwrap(), manual);
        assert_eq!(scope(&file("tag-change")).unwrap(), reading(&["us-east-1"], &["i-0abcdef0123456789"]));
        assert_eq!(scope(&file("join-key-removed")).unwrap(), reading(&["us-east-1"], &["i-0abcdef0123456789"]));
        let two = reading(&["us-east-1"], &["i-0abcdef0123456789", "i-0fedcba9876543210"]);
        assert_eq!(scope(&file("tag-changes-queue")).unwrap(), two);
    }

    #[test]
    fn every_kind_of_schedule_is_a_sweep() {
        for event in [
            json!({}),
            json!({"version": "0", "id": "53dc4d37", "detail-type": "Scheduled Event", "source": "aws.events",
                   "account": "222222222222", "time": "2026-11-22T02:00:00Z", "region": "us-east-1",
                   "resources": ["arn:aws:events:us-east-1:222222222222:rule/sweep"], "detail": {}}),
            json!({"version": "0", "id": "53dc4d37", "detail-type": "Scheduled Event", "source": "aws.scheduler",
                   "resources": ["arn:aws:scheduler:us-east-1:222222222222:schedule/default/sweep"], "detail": "{}"}),
        ] {
            assert_eq!(scope(&event).unwrap(), everything(), "{event}");
        }
    }

    #[test]
    fn only_a_sweep_of_everything_that_writes_is_a_full_one() {
        for (event, is_full) in [
            (json!({}), true),
            (json!({"source": "aws.scheduler"}), true),
            (json!({"dryRun": true}), false),
            (json!({"regions": ["us-east-1"]}), false),
            (json!({"instanceIds": ["i-01234567"]}), false),
            (file("tag-change"), false),
            (file("tag-changes-queue"), false),
        ] {
            assert_eq!(Event::from_json(&event).unwrap().is_full_sweep(), is_full, "{event}");
        }
    }

    #[test]
    fn an_operator_may_name_any_region_and_nothing_is_read_twice() {
        let event = json!({"regions": ["eu-west-1", "us-east-1", "eu-west-1"],
                           "instanceIds": ["i-01234567", "i-01234567"], "dryRun": true});
        let expected = Scope { dry_run: true, ..reading(&["eu-west-1", "us-east-1"], &["i-01234567"]) };
        assert_eq!(scope(&event).unwrap(), expected);
    }

    #[test]
    fn a_tag_change_in_a_region_that_is_not_collected_is_ignored() {
        let event =
            tag_change_with("/resources/0", json!("arn:aws:ec2:eu-west-1:222222222222:instance/i-0abcdef0123456789"));
        let expected = Scope { regions: Vec::new(), ignored_regions: regions(&["eu-west-1"]), ..everything() };
        assert_eq!(scope(&event).unwrap(), expected);
    }

    #[test]
    fn a_tag_change_is_read_in_every_partition() {
        let arn = "arn:aws-us-gov:ec2:us-gov-west-1:222222222222:instance/i-0abcdef0123456789";
        let scope = Event::from_json(&tag_change_with("/resources/0", json!(arn)))
            .unwrap()
            .scope(&account(), &regions(&["us-gov-west-1"]))
            .unwrap();
        assert_eq!(scope, reading(&["us-gov-west-1"], &["i-0abcdef0123456789"]));
    }

    fn ended_in(region: &str, account: &str, state: &str) -> Value {
        json!({"source": "aws.ec2", "detail-type": "EC2 Instance State-change Notification", "account": account,
               "region": region, "detail": {"instance-id": "i-01234567", "state": state}})
    }

    #[test]
    fn only_the_end_of_an_instance_asks_for_something() {
        let ended = scope(&ended_in("us-east-1", "222222222222", "terminated")).unwrap();
        let expected = RegionScope {
            region: "us-east-1".parse().unwrap(),
            instance_ids: Vec::new(),
            ended_ids: ids(&["i-01234567"]),
        };
        assert!(!expected.is_everything());
        assert_eq!(ended, Scope { regions: vec![expected], ..nothing() });
        assert_eq!(scope(&ended_in("us-east-1", "222222222222", "stopped")).unwrap(), nothing());
        let elsewhere = scope(&ended_in("eu-west-1", "222222222222", "terminated")).unwrap();
        assert_eq!(elsewhere, Scope { ignored_regions: regions(&["eu-west-1"]), ..nothing() });
    }

    fn nothing() -> Scope {
        Scope { regions: Vec::new(), ignored_regions: Vec::new(), dry_run: false }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_place() {
        for (event, expected) in [
            (json!(null), "event: expected an object, got null"),
            (json!([]), "event: expected an object, got a list"),
            (json!("{}"), "event: expected an object, got a string"),
            (
                json!({"dryrun": true}),
                "dryrun: unknown field `dryrun`, expected one of `instanceIds`, `regions`, `dryRun`",
            ),
            (json!({"dryRun": "yes"}), r#"dryRun: got string "yes", expected a boolean"#),
            (json!({"regions": []}), "regions: expected at least one, got an empty list"),
            (json!({"regions": null}), "regions: got null, expected a list"),
            (json!({"regions": "us-east-1"}), r#"regions: got string "us-east-1", expected a list"#),
            (
                json!({"regions": ["us-east-1", "mars"]}),
                r#"regions[1]: expected a Region code such as us-east-1, got "mars""#,
            ),
            (json!({"instanceIds": []}), "instanceIds: expected at least one, got an empty list"),
            (json!({"instanceIds": [7]}), "instanceIds[0]: got integer `7`, expected a string"),
            (
                json!({"instanceIds": ["i-01234567", "mi-0123456789abcdef0"]}),
                "instanceIds[1]: expected an EC2 instance id: i- and 8 or 17 lowercase hexadecimal digits, \
                 got \"mi-0123456789abcdef0\"",
            ),
            (json!({"detail-type": "Scheduled Event"}), "event: missing field `source`"),
            (json!({"source": 7}), "source: got integer `7`, expected a string"),
            (
                json!({"source": "aws.s3", "detail-type": "Object Created"}),
                r#"source: expected aws.events, aws.scheduler, aws.tag or aws.ec2, got "aws.s3""#,
            ),
            (
                json!({"source": "aws.ec2", "detail-type": "EBS Volume Notification"}),
                r#"detail-type: expected "EC2 Instance State-change Notification", got "EBS Volume Notification""#,
            ),
            (
                ended_in("us-east-1", "333333333333", "terminated"),
                "resources[0]: expected an instance of account 222222222222, got one of 333333333333",
            ),
            (
                json!({"source": "aws.events", "detail-type": "Other"}),
                r#"detail-type: expected "Scheduled Event", got "Other""#,
            ),
            (json!({"source": "aws.tag"}), r#"detail-type: expected "Tag Change on Resource", got nothing"#),
            (tag_change_with("/detail/service", json!("rds")), r#"detail.service: expected "ec2", got "rds""#),
            (
                tag_change_with("/detail/resource-type", json!("volume")),
                r#"detail.resource-type: expected "instance", got "volume""#,
            ),
            (tag_change_with("/detail", json!({"service": "ec2"})), "detail: missing field `resource-type`"),
            (tag_change_with("/resources", json!([])), "resources: expected at least one, got none"),
            (
                tag_change_with("/resources/0", json!("arn:aws:ec2:us-east-1:222222222222:volume/vol-1")),
                "resources[0]: expected arn:PARTITION:ec2:REGION:ACCOUNT:instance/ID, \
                 got \"arn:aws:ec2:us-east-1:222222222222:volume/vol-1\"",
            ),
            (
                tag_change_with("/resources/0", json!("arn:aws:ec2:us-east-1:333333333333:instance/i-01234567")),
                "resources[0]: expected an instance of account 222222222222, got one of 333333333333",
            ),
        ] {
            assert_eq!(scope(&event).unwrap_err().to_string(), expected, "{event}");
        }
    }
}
