//! Tag changes and ends of instances that come through a queue: what is to be read for them, and which messages have
//! to come again.
//!
//! A message says only which instance to look at. What counts is that an instance is read after its message came: all
//! messages about it are then done at once, however many there are.

use hub::{AccountId, Region, WireError, decode};
use serde::Deserialize;
use serde_json::Value;

use super::bridge::{Notice, notice};
use crate::plan::{InstanceArn, RetrySet, Scope};

const SQS: &str = "aws:sqs";

/// The messages of one invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    messages: Vec<Message>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    id: String,
    /// What changed, or why the message is not a change.
    change: Result<Notice, WireError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    records: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    message_id: String,
    event_source: String,
    #[serde(default)]
    body: String,
}

impl Queue {
    /// Reads the event of an invocation. A message that is not a change spoils none of the others.
    ///
    /// # Errors
    /// Names the place if the event is not an SQS event.
    pub(crate) fn from_json(event: &Value) -> Result<Self, WireError> {
        let Envelope { records } = decode(event)?;
        let messages = records.into_iter().enumerate().map(|(index, record)| {
            let Record { message_id, event_source, body } = record;
            if event_source != SQS {
                let path = format!("Records[{index}].eventSource");
                return Err(WireError { path, problem: format!("expected {SQS:?}, got {event_source:?}") });
            }
            Ok(Message { id: message_id, change: change(&body) })
        });
        Ok(Self { messages: messages.collect::<Result<_, _>>()? })
    }

    /// The same queue, in which a change in another account is a message that is refused.
    #[must_use]
    pub fn in_account(mut self, account: &AccountId) -> Self {
        for message in &mut self.messages {
            let change = message.change.as_ref().ok();
            if let Some(problem) = change.and_then(|change| InstanceArn::foreign(change.instances(), account)) {
                message.change = Err(problem);
            }
        }
        self
    }

    /// What is to be read: each instance once, in its own Region.
    pub fn scope(&self, collect_regions: &[Region]) -> Scope {
        let (tags, ends): (Vec<_>, Vec<_>) = self.changes().partition(|change| matches!(change, Notice::TagChange(_)));
        let (tags, ends) = (tags.into_iter().flat_map(Notice::instances), ends.into_iter().flat_map(Notice::instances));
        Scope::named(tags, ends, collect_regions)
    }

    /// How many messages there are.
    pub fn message_count(&self) -> usize {
        self.messages.len()
    }

    /// How many of them are tag changes.
    pub fn change_count(&self) -> usize {
        self.changes().filter(|change| matches!(change, Notice::TagChange(_))).count()
    }

    fn changes(&self) -> impl Iterator<Item = &Notice> {
        self.messages.iter().filter_map(|message| message.change.as_ref().ok())
    }

    /// The messages that are not changes, and why.
    pub fn refused(&self) -> impl Iterator<Item = (&str, &WireError)> {
        self.messages.iter().filter_map(|message| Some((message.id.as_str(), message.change.as_ref().err()?)))
    }

    /// The messages that have to come again: those that are not changes, so that they end in the failure queue, and
    /// those about something that was left open.
    pub fn unfinished(&self, retry: &RetrySet) -> impl Iterator<Item = &str> {
        let is_unfinished = |message: &&Message| match &message.change {
            Ok(Notice::Ended(ended)) => ended.iter().any(|ended| retry.has_end_of(ended)),
            Ok(change) => change.instances().iter().any(|instance| retry.has(instance)),
            Err(_) => true,
        };
        self.messages.iter().filter(is_unfinished).map(|message| message.id.as_str())
    }
}

/// EventBridge delivers the whole event as the body.
fn change(body: &str) -> Result<Notice, WireError> {
    let wrong = |problem: String| WireError { path: "body".to_owned(), problem };
    let event = serde_json::from_str(body).map_err(|error| wrong(format!("expected JSON: {error}")))?;
    match notice(&event)? {
        Notice::Schedule => Err(wrong("expected a tag change, got a schedule".to_owned())),
        change => Ok(change),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(region: &str, account: &str, id: &str) -> String {
        json!({"source": "aws.tag", "detail-type": "Tag Change on Resource",
               "resources": [format!("arn:aws:ec2:{region}:{account}:instance/{id}")],
               "detail": {"service": "ec2", "resource-type": "instance"}})
        .to_string()
    }

    fn own(region: &str, id: &str) -> String {
        body(region, "222222222222", id)
    }

    fn queue(bodies: &[&str]) -> Queue {
        let records: Vec<_> = bodies
            .iter()
            .enumerate()
            .map(|(index, body)| json!({"messageId": format!("m{index}"), "eventSource": "aws:sqs", "body": body}))
            .collect();
        let queue = Queue::from_json(&json!({"Records": records})).unwrap();
        queue.in_account(&"222222222222".parse().unwrap())
    }

    fn unfinished(queue: &Queue, regions: &[&str], ids: &[&str]) -> Vec<String> {
        let retry = RetrySet {
            regions: regions.iter().map(|region| region.parse().unwrap()).collect(),
            instance_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            ..RetrySet::default()
        };
        queue.unfinished(&retry).map(str::to_owned).collect()
    }

    #[test]
    fn each_instance_is_read_once_in_its_region() {
        let queue = queue(&[
            &own("us-east-1", "i-00000001"),
            &own("us-west-2", "i-00000002"),
            &own("us-east-1", "i-00000001"),
            &own("us-east-1", "i-00000003"),
            &own("eu-west-1", "i-00000004"),
        ]);
        let scope = queue.scope(&["us-west-2".parse().unwrap(), "us-east-1".parse().unwrap()]);
        let read: Vec<_> = scope
            .regions
            .iter()
            .map(|region| {
                let ids: Vec<_> = region.instance_ids.iter().map(|id| id.as_str().to_owned()).collect();
                (region.region.to_string(), ids)
            })
            .collect();
        let expected = [("us-east-1", vec!["i-00000001", "i-00000003"]), ("us-west-2", vec!["i-00000002"])];
        let expected =
            expected.map(|(region, ids)| (region.to_owned(), ids.into_iter().map(str::to_owned).collect::<Vec<_>>()));
        assert_eq!(read, expected);
        assert_eq!(scope.ignored_regions, ["eu-west-1".parse().unwrap()]);
        assert!(unfinished(&queue, &[], &[]).is_empty(), "a Region that is not collected is no failure");
    }

    #[test]
    fn what_was_left_open_comes_again() {
        let queue = queue(&[
            &own("us-east-1", "i-00000001"),
            &own("us-west-2", "i-00000002"),
            &own("us-east-1", "i-00000001"),
            &own("us-west-2", "i-00000003"),
        ]);
        assert_eq!(unfinished(&queue, &["us-east-1"], &[]), ["m0", "m2"]);
        assert_eq!(unfinished(&queue, &[], &["i-00000003"]), ["m3"]);
        assert_eq!(unfinished(&queue, &["us-west-2"], &["i-00000001"]), ["m0", "m1", "m2", "m3"]);
    }

    #[test]
    fn a_message_that_is_not_a_change_fails_alone() {
        let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}).to_string();
        let bodies = [
            "",
            "not JSON",
            "7",
            "[]",
            "{}",
            r#"{"dryRun": true}"#,
            r#"{"Records": []}"#,
            &schedule,
            &own("us-east-1", "i-00000001"),
            &body("us-east-1", "333333333333", "i-00000001"),
        ];
        let queue = queue(&bodies);
        assert_eq!((queue.message_count(), queue.change_count(), queue.refused().count()), (10, 1, 9));
        assert_eq!(unfinished(&queue, &[], &[]), ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m9"]);
        let problems: Vec<_> = queue.refused().map(|(id, problem)| format!("{id} {problem}")).collect();
        assert_eq!(problems[4], "m4 event: missing field `source`");
        assert_eq!(problems[7], "m7 body: expected a tag change, got a schedule");
        assert_eq!(
            problems[8],
            "m9 resources[0]: expected an instance of account 222222222222, got one of 333333333333"
        );
    }

    #[test]
    fn an_event_that_is_not_of_sqs_is_refused() {
        for (event, expected) in [
            (json!({"Records": 7}), "Records: got integer `7`, expected a list"),
            (json!({"Records": [{"body": "{}"}]}), "Records[0]: missing field `messageId`"),
            (
                json!({"Records": [{"messageId": "m", "eventSource": "aws:sns"}]}),
                r#"Records[0].eventSource: expected "aws:sqs", got "aws:sns""#,
            ),
        ] {
            assert_eq!(Queue::from_json(&event).unwrap_err().to_string(), expected);
        }
    }
}
