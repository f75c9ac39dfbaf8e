//! The handler over an account in memory: outcomes, call counts, failures.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod account;
mod hold;
mod lifecycle;
mod order;
mod retirement;
mod writing;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use account::{Account, Call, Fault};
use hub::{Answer, Counts};
use serde_json::{Value, json};
use ssm_tag_manager::{Config, Invocation, ManagerError, handle};
use tokio::time::Instant;

const AGENCY_ARN: &str = "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager:agency-222222222222";
const OWN_ARN: &str = "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager";
/// The lease of the agency.
const LEASE: &str = "agency#222222222222";
const NODE: &str = "mi-0123456789abcdef0";
const NODE_2: &str = "mi-0123456789abcdef1";

fn config(policy: &str, ownership: &str) -> Config {
    Config::from_lookup(|name| match name {
        "TAG_POLICY" => Some(policy.to_owned()),
        "OWNERSHIP_CHECK" => Some(ownership.to_owned()),
        _ => None,
    })
    .unwrap()
}

/// Two minutes after the sample events were observed.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_mins(29_921_882)
}

fn invocation(arn: &str) -> Invocation {
    Invocation {
        arn: arn.parse().unwrap(),
        now: now(),
        begun: Instant::now(),
        budget: Duration::from_mins(5),
        entropy: [7; 16],
    }
}

async fn send(account: &Account, event: &Value) -> Result<Answer, ManagerError> {
    handle(&config("{}", "enforce"), account, &invocation(AGENCY_ARN), &event.to_string()).await.result
}

fn sample(name: &str) -> Value {
    let path = format!("{}/../../events/ssm-tag-manager/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The account of the sample report: two nodes of the agency, one of another.
fn account() -> Account {
    Account::default()
        .with_node(NODE, &[("tag-hub:agency", "222222222222")])
        .with_node(NODE_2, &[("tag-hub:agency", "222222222222"), ("Owner", "ops")])
        .with_node("mi-0fedcba987654321f", &[("tag-hub:agency", "333333333333")])
}

fn one(node: &str, tags: &[(&str, &str)]) -> Value {
    let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    json!({"region": "us-east-1", "observedAt": "2026-11-22T02:00:00Z",
           "instances": [{"instanceId": node, "ec2InstanceId": "i-0abcdef0123456789", "tags": tags}]})
}

/// The calls for a single node: a look, and then these under the lease, after another look.
fn written(node: &str, writes: &[Call]) -> Vec<Call> {
    let read = || Call::Read(node.to_owned());
    let mut calls = vec![read(), Call::Take(LEASE.into()), read()];
    calls.extend_from_slice(writes);
    calls.push(Call::Release(LEASE.into()));
    calls
}

/// A report of both nodes of the agency, so that they are read in bulk.
fn two(tags: &[(&str, &str)]) -> Value {
    let mut event = one(NODE, tags);
    let mut second = event["instances"][0].clone();
    second["instanceId"] = json!(NODE_2);
    second["ec2InstanceId"] = json!("i-0abcdef012345678a");
    event["instances"].as_array_mut().unwrap().push(second);
    event
}

#[tokio::test]
async fn a_report_reaches_its_own_nodes_and_no_others() {
    let account = account();
    let answer = send(&account, &sample("report")).await.unwrap();
    insta::assert_json_snapshot!(answer, @r###"
    {
      "agency": "222222222222",
      "dryRun": false,
      "counts": {
        "received": 3,
        "updated": 2,
        "unchanged": 0,
        "rejected": 1,
        "failed": 0,
        "deferred": 0,
        "tagsSet": 4,
        "tagsRemoved": 0,
        "tagsDropped": 1,
        "adopted": 0,
        "superseded": 0,
        "unlinked": 0
      },
      "nodes": [
        {
          "instanceId": "mi-0123456789abcdef0",
          "ec2InstanceId": "i-0abcdef0123456789",
          "outcome": "updated",
          "set": {
            "Env": "PROD",
            "Patch Group": "linux-weekly"
          },
          "dropped": [
            {
              "key": "cost#centre",
              "reason": "character"
            }
          ]
        },
        {
          "instanceId": "mi-0123456789abcdef1",
          "ec2InstanceId": "i-0abcdef012345678a",
          "outcome": "updated",
          "set": {
            "Env": "TEST",
            "Name": "Straßenverkehrsamt"
          }
        },
        {
          "instanceId": "mi-0fedcba987654321f",
          "ec2InstanceId": "i-0abcdef012345678b",
          "outcome": "rejected",
          "reason": "not-owned"
        }
      ]
    }
    "###);
    assert_eq!(account.tags("mi-0fedcba987654321f").len(), 1, "another agency's node stays as it was");
    assert_eq!(account.tags(NODE_2)["Owner"], "ops");
    assert_eq!(account.tags(NODE)["tag-hub:source"], "222222222222/us-east-1/i-0abcdef0123456789");
}

#[tokio::test]
async fn the_steady_state_costs_one_read_per_hundred_nodes() {
    let mut account = Account::default();
    let ids: Vec<String> = (0..250).map(|n| format!("mi-{n:017x}")).collect();
    for id in &ids {
        account = account.with_node(id, &[("tag-hub:agency", "222222222222")]);
    }
    let instances: Vec<Value> =
        ids.iter().map(|id| json!({"instanceId": id, "tags": [{"Key": "Env", "Value": "PROD"}]})).collect();
    let event = json!({"instances": instances});
    send(&account, &event).await.unwrap();
    account.forget_calls();
    let answer = send(&account, &event).await.unwrap();
    assert_eq!(answer.counts, Counts { received: 250, unchanged: 250, ..Counts::default() });
    assert!(answer.nodes.is_empty());
    assert_eq!(account.calls(), [Call::ReadMany(100), Call::ReadMany(100), Call::ReadMany(50)]);
}

#[tokio::test]
async fn a_new_tag_on_a_new_node_costs_one_write() {
    let account = account();
    send(&account, &one(NODE, &[("Env", "PROD")])).await.unwrap();
    // A new node is looked for under its instance's name: the instance may have had another one before.
    let arrive = Call::Arrive("222222222222/us-east-1/i-0abcdef0123456789".into());
    let find = Call::Find("tag-hub:source".into(), 1);
    assert_eq!(account.calls(), written(NODE, &[arrive, find, Call::Set(NODE.into())]));
}

#[tokio::test]
async fn a_change_is_confirmed_and_costs_one_write() {
    let account = account();
    send(&account, &one(NODE, &[("Env", "PROD")])).await.unwrap();
    account.forget_calls();
    send(&account, &one(NODE, &[("Env", "TEST")])).await.unwrap();
    assert_eq!(account.calls(), written(NODE, &[Call::Set(NODE.into())]));
}

#[tokio::test]
async fn a_removal_is_confirmed_and_costs_two_writes() {
    let account = account();
    send(&account, &one(NODE, &[("Env", "PROD"), ("Role", "web")])).await.unwrap();
    account.forget_calls();
    let answer = send(&account, &one(NODE, &[("Env", "PROD")])).await.unwrap();
    assert_eq!(answer.nodes[0].removed, ["Role"]);
    assert_eq!(account.calls(), written(NODE, &[Call::Remove(NODE.into()), Call::Set(NODE.into())]));
    assert!(!account.tags(NODE).contains_key("Role"));
}

#[tokio::test]
async fn a_lagging_bulk_read_does_not_let_a_late_report_win() {
    let account = account();
    let at = |time: &str, value: &str| {
        let mut event = two(&[("Env", value)]);
        event["observedAt"] = json!(time);
        event
    };
    send(&account, &at("2026-11-22T02:00:00Z", "first")).await.unwrap();
    account.freeze_bulk_reads();
    send(&account, &at("2026-11-22T02:00:20Z", "third")).await.unwrap();
    let late = send(&account, &at("2026-11-22T02:00:10Z", "second")).await.unwrap();
    assert_eq!(late.counts.rejected, 2);
    assert_eq!(serde_json::to_value(&late.nodes[0]).unwrap()["reason"], "stale");
    assert_eq!(account.tags(NODE)["Env"], "third");
}

#[tokio::test]
async fn nodes_that_the_bulk_read_does_not_name_are_read_by_themselves() {
    let (untagged, unknown) = ("mi-00000000000000001", "mi-00000000000000002");
    let account = account().with_untagged_node(untagged);
    let mut event = two(&[("Env", "X")]);
    event["instances"][0]["instanceId"] = json!(untagged);
    event["instances"][1]["instanceId"] = json!(unknown);
    let answer = serde_json::to_value(send(&account, &event).await.unwrap()).unwrap();
    assert_eq!(
        (&answer["nodes"][0]["reason"], &answer["nodes"][1]["reason"]),
        (&json!("not-owned"), &json!("unknown-node"))
    );
    assert_eq!(account.calls(), [Call::ReadMany(2), Call::Read(untagged.into()), Call::Read(unknown.into())]);
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_says_what_it_would() {
    let account = account();
    let answer = send(&account, &sample("dry-run")).await.unwrap();
    assert!(answer.dry_run);
    assert_eq!(answer.counts.updated, 2);
    assert_eq!(serde_json::to_value(&answer.nodes[0]).unwrap()["outcome"], "would-update");
    assert!(account.calls().iter().all(|call| matches!(call, Call::ReadMany(_) | Call::Read(_))));
}

#[tokio::test]
async fn the_original_minimal_form_works() {
    let account = account();
    let answer = send(&account, &sample("minimal")).await.unwrap();
    assert_eq!(answer.counts.updated, 1);
    assert_eq!(account.tags(NODE)["OS"], "Linux");
    assert!(!account.tags(NODE).contains_key("tag-hub:source"), "the report does not say which instance it was");
}

#[tokio::test]
async fn an_empty_report_costs_nothing() {
    let account = account();
    let answer = send(&account, &json!({"instances": []})).await.unwrap();
    assert_eq!(answer.counts, Counts::default());
    assert!(account.calls().is_empty());
}

#[tokio::test]
async fn who_calls_is_read_from_the_alias_and_nowhere_else() {
    let account = account();
    let event = sample("report");
    let config = config("{}", "enforce");
    for arn in [OWN_ARN.to_owned(), format!("{OWN_ARN}:1"), format!("{OWN_ARN}:live")] {
        let error = handle(&config, &account, &invocation(&arn), &event.to_string()).await.result.unwrap_err();
        assert!(matches!(error, ManagerError::Unauthenticated { .. }), "{arn}: {error}");
    }
    let other = format!("{OWN_ARN}:agency-333333333333");
    let error = handle(&config, &account, &invocation(&other), &event.to_string()).await.result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the report claims account 222222222222, but the invoked alias belongs to 333333333333"
    );
    assert!(account.calls().is_empty(), "nothing was even looked at");
}

#[tokio::test]
async fn without_the_ownership_check_operators_may_call() {
    let account = Account::default().with_node(NODE, &[("Owner", "ops")]);
    let config = config("{}", "off");
    let answer = handle(&config, &account, &invocation(OWN_ARN), &sample("minimal").to_string()).await.result.unwrap();
    assert_eq!((answer.agency, answer.counts.updated), (None, 1));
}

#[tokio::test]
async fn two_instances_that_name_one_node_change_nothing() {
    let account = account();
    let mut event = one(NODE, &[("Env", "PROD")]);
    let mut clone = event["instances"][0].clone();
    clone["ec2InstanceId"] = json!("i-00000000000000001");
    event["instances"].as_array_mut().unwrap().push(clone);
    let answer = send(&account, &event).await.unwrap();
    assert_eq!((answer.counts.received, answer.counts.rejected), (2, 2));
    assert!(account.calls().is_empty());
}

#[tokio::test]
async fn what_is_measured_is_known_also_where_the_report_has_to_come_again() {
    let account = account().with_fault(Fault::on_set(NODE, "TooManyUpdates", true));
    let config = config("{}", "enforce");
    let handled = handle(&config, &account, &invocation(AGENCY_ARN), &sample("asynchronous").to_string()).await;
    assert!(handled.result.is_err());
    assert_eq!(handled.answer().unwrap().counts.failed, 1);
    assert_eq!(handled.observed_at, Some("2026-11-22T02:00:00Z".parse().unwrap()));
    let refused = handle(&config, &account, &invocation(AGENCY_ARN), "[]").await;
    assert!(refused.answer().is_none() && refused.observed_at.is_none());
}

#[tokio::test]
async fn a_time_far_ahead_counts_as_now() {
    let account = account();
    let mut event = one(NODE, &[("Env", "PROD")]);
    event["observedAt"] = json!("2030-01-01T00:00:00Z");
    send(&account, &event).await.unwrap();
    assert!(account.tags(NODE)["tag-hub:applied"].starts_with("2.1795312920."));
}

#[tokio::test]
async fn one_node_that_fails_does_not_stop_the_others() {
    let account = account().with_fault(Fault::on_set(NODE, "TooManyUpdates", true));
    let answer = send(&account, &sample("report")).await.unwrap();
    assert_eq!((answer.counts.updated, answer.counts.failed, answer.counts.rejected), (1, 1, 1));
    let failed = serde_json::to_value(&answer.nodes[0]).unwrap();
    assert_eq!(failed["code"], "TooManyUpdates");
    assert_eq!(failed["retryable"], true);
    assert_eq!(account.tags(NODE_2)["Env"], "TEST");
}

#[tokio::test]
async fn a_bulk_read_that_fails_is_the_outcome_of_its_nodes() {
    let account = account().with_fault(Fault::on_read_many("AccessDeniedException", false));
    let answer = send(&account, &sample("report")).await.unwrap();
    assert_eq!(answer.counts.failed, 3);
    assert_eq!(serde_json::to_value(&answer.nodes[0]).unwrap()["retryable"], false);
}

#[tokio::test]
async fn an_interrupted_update_is_finished_by_the_next_report() {
    let account = account();
    send(&account, &one(NODE, &[("Env", "PROD"), ("Role", "web")])).await.unwrap();
    let account = account.with_fault(Fault::on_set(NODE, "InternalServerError", true));
    let answer = send(&account, &one(NODE, &[("Env", "TEST")])).await.unwrap();
    assert_eq!(answer.nodes[0].removed, ["Role"], "what was done is told even where the rest failed");
    let account = account.without_faults();
    send(&account, &one(NODE, &[("Env", "TEST")])).await.unwrap();
    assert_eq!(account.tags(NODE)["Env"], "TEST");
    assert!(!account.tags(NODE).contains_key("Role"));
}

#[tokio::test]
async fn a_node_that_went_away_in_between_is_unknown() {
    let account = account().with_fault(Fault::on_set(NODE, "InvalidResourceId", false));
    let answer = send(&account, &one(NODE, &[("Env", "PROD")])).await.unwrap();
    assert_eq!(serde_json::to_value(&answer.nodes[0]).unwrap()["reason"], "unknown-node");
}

#[tokio::test]
async fn without_a_reader_what_can_be_tried_again_is_an_error() {
    let account = account().with_fault(Fault::on_set(NODE, "TooManyUpdates", true));
    let error = send(&account, &sample("asynchronous")).await.unwrap_err();
    assert!(error.to_string().starts_with("1 of 3 nodes must be retried: "), "{error}");
    assert_eq!(lambda_runtime::Diagnostic::from(error).error_type, "Incomplete");
    let account = account.without_faults().with_fault(Fault::on_set(NODE, "AccessDeniedException", false));
    assert!(send(&account, &sample("asynchronous")).await.is_ok(), "trying again would not help");
}

#[tokio::test(start_paused = true)]
async fn when_time_runs_out_the_rest_is_deferred() {
    let mut account = Account::default().with_latency(Duration::from_secs(1));
    let ids: Vec<String> = (0..40).map(|n| format!("mi-{n:017x}")).collect();
    for id in &ids {
        account = account.with_node(id, &[("tag-hub:agency", "222222222222")]);
    }
    let instances: Vec<Value> =
        ids.iter().map(|id| json!({"instanceId": id, "tags": [{"Key": "Env", "Value": "PROD"}]})).collect();
    let mut invocation = invocation(AGENCY_ARN);
    // A second each for the bulk read, the slot and the lease, and two for the eight nodes that are written at a time.
    invocation.budget = Duration::from_secs(17);
    let config = config("{}", "enforce");
    let event = json!({"instances": instances});
    let answer = handle(&config, &account, &invocation, &event.to_string()).await.result.unwrap();
    assert_eq!((answer.counts.updated, answer.counts.deferred), (16, 24));
    assert_eq!(answer.deferred_because, None, "it was not for want of a lease");
    let event = json!({"instances": event["instances"], "reply": false});
    let invocation = Invocation { begun: Instant::now(), ..invocation };
    let error = handle(&config, &account, &invocation, &event.to_string()).await.result.unwrap_err();
    assert!(error.to_string().starts_with("8 of 40 nodes"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_cut_off_in_time_for_the_answer() {
    let account = account().with_latency(Duration::from_hours(1));
    let answer = send(&account, &one(NODE, &[("Env", "PROD")])).await.unwrap();
    assert_eq!(answer.counts.deferred, 1);
}

#[tokio::test]
async fn what_is_no_report_is_refused_with_its_place() {
    let account = account();
    let mut wrong = sample("report");
    wrong["instances"][1]["tags"][0]["Value"] = json!(7);
    for (event, expected) in [
        (json!("report"), "invalid report: event: expected an object, got a string"),
        (json!({"version": 2, "instances": []}), "invalid report: version: expected version 1, got 2"),
        (wrong, "invalid report: instances[1].tags[0].Value: got integer `7`, expected a string"),
    ] {
        let error = send(&account, &event).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(lambda_runtime::Diagnostic::from(error).error_type, "InvalidReport");
    }
}
