//! What a report may hold, and how much it may have the hub write to its log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ssm_tag_manager::ManagerError;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;

/// Counts the lines of the log.
#[derive(Clone, Default)]
struct Lines(Arc<AtomicUsize>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ssm_tag_manager")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// How many lines the log has of a report.
async fn lines(account: &Account, retire: &str, event: &Value) -> usize {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let config = ssm_tag_manager::Config::from_lookup(|name| (name == "RETIRE_NODES").then(|| retire.to_owned()));
    handle(&config.unwrap(), account, &invocation(AGENCY_ARN), &event.to_string()).await.result.unwrap();
    lines.0.load(Ordering::Relaxed)
}

/// A report of so many instances, each with its own node.
fn instances(count: usize, node: impl Fn(usize) -> String, tags: &Value) -> Value {
    let instances: Vec<Value> = (0..count).map(|n| json!({"instanceId": node(n), "tags": tags})).collect();
    json!({"region": "us-east-1", "instances": instances})
}

#[tokio::test]
async fn a_report_of_1001_instances_is_refused_in_words() {
    let account = account();
    let most = instances(1_000, |_| NODE.to_owned(), &json!([]));
    assert_eq!(send(&account, &most).await.unwrap().counts.received, 1_000);
    account.forget_calls();
    let error = send(&account, &instances(1_001, |_| NODE.to_owned(), &json!([]))).await.unwrap_err();
    assert_eq!(error.to_string(), "invalid report: instances: expected at most 1000 entries, got 1001");
    assert!(matches!(error, ManagerError::InvalidReport(_)));
    assert!(account.calls().is_empty());
}

#[tokio::test]
async fn the_log_of_a_report_is_bounded_whatever_is_in_it() {
    let id = |n: usize| format!("mi-{n:017x}");
    let odd = json!([{"Key": "odd#", "Value": "x"}]);
    let mut fleet = Account::default();
    for n in 0..300 {
        fleet = fleet.with_node(&id(n), &[("tag-hub:agency", "222222222222")]);
    }
    let gone: Vec<Value> = (0..1_000).map(|n| json!({"ec2InstanceId": format!("what{n}?")})).collect();
    let gone = json!({"region": "us-east-1", "instances": [], "terminated": gone});
    for (case, account, retire, event) in [
        ("no ids", account(), "off", instances(1_000, |n| format!("mi-{n}"), &odd)),
        ("unknown nodes", account(), "off", instances(1_000, id, &odd)),
        ("dropped tags", fleet, "off", instances(300, id, &odd)),
        ("no instances", account(), "on", gone),
    ] {
        let lines = lines(&account, retire, &event).await;
        assert!((1..=205).contains(&lines), "{case}: {lines}");
    }
    let nothing = lines(&account(), "off", &json!({"instances": []})).await;
    assert_eq!(nothing, 1, "the sum");
}

#[tokio::test]
async fn nodes_that_fail_one_by_one_do_not_flood_the_log() {
    let mut account = Account::default().with_fault(super::super::Fault::on_any_set("AccessDeniedException", false));
    let id = |n: usize| format!("mi-{n:017x}");
    for n in 0..300 {
        account = account.with_node(&id(n), &[("tag-hub:agency", "222222222222")]);
    }
    let event = instances(300, id, &json!([{"Key": "Env", "Value": "x"}]));
    let lines = lines(&account, "off", &event).await;
    assert!((101..=205).contains(&lines), "{lines}");
}

#[tokio::test]
async fn a_collector_of_an_earlier_release_is_answered_in_words_that_it_knows() {
    for (reply, expected) in
        [(Some(true), vec![(NODE_2, "updated")]), (None, vec![(NODE, "superseded"), (NODE_2, "adopted")])]
    {
        let account = account();
        send(&account, &one(NODE, &[("Env", "PROD")])).await.unwrap();
        // The second node was that of an instance that is gone, and is named by the instance of the first one now.
        set(&account, NODE_2, "tag-hub:source", "222222222222/us-east-1/i-00000000000000001");
        set(&account, NODE_2, "tag-hub:terminated", "1795312800");
        let mut event = one(NODE_2, &[("Env", "PROD")]);
        event["observedAt"] = json!("2026-11-22T02:01:00Z");
        if let Some(reply) = reply {
            event["reply"] = json!(reply);
        }
        let answer = send(&account, &event).await.unwrap();
        assert_eq!(outcomes(&answer), expected);
        assert_eq!((answer.counts.received, answer.counts.updated), (1, 1));
    }
}
