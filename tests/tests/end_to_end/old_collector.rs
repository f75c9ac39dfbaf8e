//! A collector of the last release against this manager: what it sends is taken, and what it is answered it can read.
//!
//! Agencies update when they like, so both are written down here as they were in release 0.1.

use serde::Deserialize;
use serde_json::{Value, json};
use tests::{AGENCY_A, Enrolled, HOME_REGION, World};

use crate::tags;

/// The answer as release 0.1 reads it. Fields that it does not know it passes over; words that it does not know make
/// the whole answer unreadable, and then its batch counts as failed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "that a field can be read is what is tested")]
struct Answer {
    agency: Option<String>,
    dry_run: bool,
    counts: Counts,
    nodes: Vec<NodeAnswer>,
    terminated: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "that a field can be read is what is tested")]
struct Counts {
    received: usize,
    updated: usize,
    unchanged: usize,
    rejected: usize,
    failed: usize,
    deferred: usize,
    tags_set: usize,
    tags_removed: usize,
    tags_dropped: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "that a field can be read is what is tested")]
struct NodeAnswer {
    instance_id: String,
    ec2_instance_id: Option<String>,
    #[serde(flatten)]
    outcome: Outcome,
    #[serde(default)]
    dropped: Vec<DroppedTag>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
enum Outcome {
    Updated,
    WouldUpdate,
    Unchanged,
    Rejected { reason: Rejection },
    Failed { code: String, message: String, retryable: bool },
    Deferred,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Rejection {
    InvalidId,
    UnknownNode,
    NotOwned,
    Conflict,
    Stale,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "that a field can be read is what is tested")]
struct DroppedTag {
    key: String,
    reason: DropReason,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DropReason {
    Reserved,
    Character,
    Length,
    Limit,
    NodeFull,
    Collision,
    OperatorOwned,
}

/// A report as release 0.1 writes it: it always says `reply`, and never `unlinked` or `coverage`.
fn report(instances: &[Value], terminated: &[&str]) -> Value {
    let mut report = json!({
        "version": 1, "account": AGENCY_A, "region": HOME_REGION, "observedAt": "2026-11-26T02:00:00Z",
        "dryRun": false, "reply": true, "instances": instances
    });
    if !terminated.is_empty() {
        report["terminated"] = terminated.iter().map(|id| json!({"ec2InstanceId": id})).collect();
    }
    report
}

fn instance(node: &str, ec2: &str, tags: &[(&str, &str)]) -> Value {
    let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    json!({"instanceId": node, "ec2InstanceId": ec2, "tags": tags})
}

async fn answered(world: &World, report: &Value) -> Answer {
    let answer = world.report(AGENCY_A, report).await.unwrap();
    assert_eq!(answer.function_error, None, "{}", answer.payload);
    serde_json::from_value(answer.payload.clone())
        .unwrap_or_else(|error| panic!("release 0.1 cannot read it: {error}: {}", answer.payload))
}

fn outcomes(answer: &Answer) -> Vec<&Outcome> {
    answer.nodes.iter().map(|node| &node.outcome).collect()
}

#[tokio::test]
async fn a_collector_of_the_last_release_is_served_and_reads_every_answer() {
    let world = World::deployed_with(&[("RetireNodes", "on")], &[]).await.unwrap();
    let enroll = async || world.enroll(AGENCY_A, HOME_REGION, &[]).await.unwrap();
    let (one, copy): (Enrolled, Enrolled) = (enroll().await, enroll().await);

    let first = report(&[instance(&one.node, &one.instance, &[("Env", "PROD"), ("a#b", "1")])], &[]);
    let answer = answered(&world, &first).await;
    assert_eq!(outcomes(&answer), [&Outcome::Updated]);
    assert_eq!(answer.nodes[0].dropped[0].reason, DropReason::Character);
    assert_eq!(world.plain_tags(&one.node), tags(&[("Env", "PROD")]));
    assert_eq!(answered(&world, &first).await.counts.unchanged, 1);

    // Words that came later are said in those that it knows.
    let node = world.register_node(AGENCY_A, None);
    let again = report(&[instance(&node, &one.instance, &[("Env", "PROD")])], &[]);
    let answer = answered(&world, &again).await;
    assert_eq!(outcomes(&answer), [&Outcome::Updated], "the node that was left is released without a word");
    assert_eq!(world.plain_tags(&one.node), tags(&[]));
    let adopted = report(&[instance(&node, &copy.instance, &[("Env", "COPY")])], &[&one.instance]);
    assert_eq!(outcomes(&answered(&world, &adopted).await), [&Outcome::Updated]);
    assert_eq!(world.plain_tags(&node), tags(&[("Env", "COPY")]));
    let refusal = local_aws::Fault::error("ssm:AddTagsToResource", 400, "ValidationException", "no");
    let refusal = world.aws.faults().add(refusal.resource("refuse-me"));
    let refused = report(&[instance(&node, &copy.instance, &[("Env", "COPY"), ("Odd", "refuse-me")])], &[]);
    assert_eq!(answered(&world, &refused).await.nodes[0].dropped.len(), 1);
    world.aws.faults().remove(refusal);

    // The lease is not to be had: the answer has a new field, and the outcome is one that it knows.
    let denied = local_aws::Fault::error("dynamodb:PutItem", 400, "AccessDeniedException", "no");
    world.aws.faults().add(denied);
    let deferred = report(&[instance(&node, &copy.instance, &[("Env", "LATER")])], &[]);
    assert_eq!(outcomes(&answered(&world, &deferred).await), [&Outcome::Deferred]);

    let unknown = report(&[instance("mi-00000000000000000", "i-00000000000000000", &[]), instance("x", "y", &[])], &[]);
    let reasons = [Rejection::UnknownNode, Rejection::InvalidId];
    let answer = answered(&world, &unknown).await;
    for reason in reasons {
        assert!(outcomes(&answer).contains(&&Outcome::Rejected { reason }), "{answer:?}");
    }
}
