//! Reports of terminated instances.

use hub::{Answer, Outcome, Rejection, TerminatedCounts};
use ssm_tag_manager::handle;

use super::super::account::{Call, Fault};
use super::*;

const MARK: &str = "tag-hub:terminated";

/// The two nodes of the agency, the first with the instance of the sample report behind it.
fn fleet() -> Account {
    let account = account();
    account.change(NODE, |tags| drop(tags.insert("tag-hub:source".to_owned(), SOURCE.to_owned())));
    account
}

async fn send(config: &Config, account: &Account, event: &Value) -> Answer {
    handle(config, account, &invocation(AGENCY_ARN), &event.to_string()).await.result.unwrap()
}

async fn counts(config: &Config, account: &Account, event: &Value) -> TerminatedCounts {
    send(config, account, event).await.terminated.unwrap()
}

/// The table is asked where the bulk read does not show a marked node.
fn arrived() -> Call {
    Call::Arrived(SOURCE.to_owned())
}

fn find() -> Call {
    Call::Find("tag-hub:source".to_owned(), 1)
}

#[tokio::test]
async fn while_retirement_is_off_terminated_instances_cost_nothing() {
    let account = fleet();
    for config in [config(&[]), mode("off")] {
        let event = gone(&["i-0abcdef0123456789", "what?"]);
        let expected = TerminatedCounts { received: 2, ignored: 2, ..TerminatedCounts::default() };
        assert_eq!(counts(&config, &account, &event).await, expected);
    }
    assert!(account.calls().is_empty());
}

#[tokio::test]
async fn a_report_without_terminated_instances_is_answered_as_ever() {
    let account = fleet();
    let answer = send(&mode("on"), &account, &super::super::sample("report")).await;
    assert_eq!(answer.terminated, None);
    let found: Vec<Call> = account.calls().into_iter().filter(|call| matches!(call, Call::Find(..))).collect();
    assert_eq!(found, [find()], "on the arrival of the second node, and for no mark");
}

#[tokio::test]
async fn the_node_of_a_terminated_instance_is_marked_once() {
    let account = fleet();
    let marked = counts(&mode("on"), &account, &gone(&["i-0abcdef0123456789"])).await;
    assert_eq!(marked, TerminatedCounts { received: 1, marked: 1, ..TerminatedCounts::default() });
    let calls = [
        find(),
        arrived(),
        Call::Take(LEASE.into()),
        Call::Read(NODE.into()),
        Call::Set(NODE.into()),
        Call::Release(LEASE.into()),
    ];
    assert_eq!(account.calls(), calls);
    assert_eq!(account.tags(NODE)[MARK], ARRIVED.to_string(), "by the manager's own clock");
    assert!(!account.tags(NODE_2).contains_key(MARK));

    account.forget_calls();
    let again = counts(&mode("on"), &account, &gone(&["i-0abcdef0123456789", "i-0abcdef0123456789"])).await;
    assert_eq!(again, TerminatedCounts { received: 2, unchanged: 1, ..TerminatedCounts::default() });
    assert_eq!(account.calls(), [find()]);
}

#[tokio::test]
async fn an_agency_cannot_make_a_mark_look_older_than_it_is() {
    let account = fleet();
    let mut event = gone(&["i-0abcdef0123456789"]);
    event["observedAt"] = json!("2020-01-01T00:00:00Z");
    counts(&mode("on"), &account, &event).await;
    assert_eq!(account.tags(NODE)[MARK], ARRIVED.to_string());
}

#[tokio::test]
async fn instances_without_a_node_cost_one_read_for_twenty() {
    let account = fleet();
    let ids: Vec<String> = (0..45).map(|n| format!("i-{n:017x}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let unknown = counts(&mode("on"), &account, &gone(&ids)).await;
    assert_eq!(unknown, TerminatedCounts { received: 45, unknown: 45, ..TerminatedCounts::default() });
    let find = |count| Call::Find("tag-hub:source".to_owned(), count);
    let finds: Vec<Call> = account.node_calls();
    assert_eq!(finds, [find(20), find(20), find(5)]);
    assert_eq!(account.table_calls().len(), 45);
}

#[tokio::test]
async fn a_dry_run_of_either_kind_marks_nothing_and_says_what_it_would() {
    let mut event = gone(&["i-0abcdef0123456789"]);
    for (config, dry_run) in [(mode("dry-run"), false), (mode("on"), true), (mode("dry-run"), true)] {
        let account = fleet();
        event["dryRun"] = json!(dry_run);
        assert_eq!(counts(&config, &account, &event).await.marked, 1);
        assert_eq!(account.calls(), [find(), arrived(), Call::Read(NODE.into())]);
        assert!(!account.tags(NODE).contains_key(MARK));
    }
}

#[tokio::test]
async fn only_the_owners_word_counts() {
    let account = fleet();
    // Another agency's instance of that id is behind no node.
    let other = OWN_ARN.to_owned() + ":agency-333333333333";
    let event = gone(&["i-0abcdef0123456789"]);
    let answer = handle(&mode("on"), &account, &invocation(&other), &event.to_string()).await.result.unwrap();
    assert_eq!(answer.terminated.unwrap().unknown, 1);
    // A node that changed hands is not marked on its old source.
    account.change(NODE, |tags| drop(tags.insert("tag-hub:agency".to_owned(), "333333333333".to_owned())));
    assert_eq!(counts(&mode("on"), &account, &event).await.rejected, 1);
    account.change(NODE, |tags| drop(tags.remove("tag-hub:agency")));
    assert_eq!(counts(&mode("on"), &account, &event).await.rejected, 1);
    assert!(!account.tags(NODE).contains_key(MARK));
    // Without the check, operators may.
    let config = config(&[("RETIRE_NODES", "on"), ("OWNERSHIP_CHECK", "off")]);
    let mut event = event;
    event["account"] = json!("222222222222");
    let answer = handle(&config, &account, &invocation(OWN_ARN), &event.to_string()).await.result.unwrap();
    assert_eq!(answer.terminated.unwrap().marked, 1);
}

#[tokio::test]
async fn what_cannot_be_marked_is_counted() {
    let account = fleet();
    let rejected = counts(&mode("on"), &account, &gone(&["mi-0123456789abcdef0", ""])).await;
    assert_eq!(rejected, TerminatedCounts { received: 2, rejected: 2, ..TerminatedCounts::default() });
    let mut nowhere = gone(&["i-0abcdef0123456789"]);
    nowhere.as_object_mut().unwrap().remove("region");
    assert_eq!(counts(&mode("on"), &account, &nowhere).await.rejected, 1);
    assert!(account.calls().is_empty());
}

#[tokio::test]
async fn a_full_node_is_not_marked() {
    let account = fleet();
    account.change(NODE, |tags| tags.extend((0..48).map(|n| (format!("ops-{n}"), String::new()))));
    assert_eq!(account.tags(NODE).len(), 50);
    assert_eq!(counts(&mode("on"), &account, &gone(&["i-0abcdef0123456789"])).await.rejected, 1);
    account.change(NODE, |tags| drop(tags.remove("ops-0")));
    assert_eq!(counts(&mode("on"), &account, &gone(&["i-0abcdef0123456789"])).await.marked, 1);
    assert_eq!(account.tags(NODE).len(), 50);
}

#[tokio::test]
async fn an_old_view_marks_nothing_that_has_changed() {
    let account = fleet();
    account.freeze_bulk_reads();
    account.change(NODE, |tags| drop(tags.insert("tag-hub:source".to_owned(), SOURCE.replace('9', "8"))));
    let rejected = counts(&mode("on"), &account, &gone(&["i-0abcdef0123456789"])).await;
    assert_eq!(rejected, TerminatedCounts { received: 1, rejected: 1, ..TerminatedCounts::default() });
    account.change(NODE, |tags| {
        tags.insert("tag-hub:source".to_owned(), SOURCE.to_owned());
        tags.insert(MARK.to_owned(), "1".to_owned());
    });
    assert_eq!(counts(&mode("on"), &account, &gone(&["i-0abcdef0123456789"])).await.unchanged, 1);
    assert_eq!(account.tags(NODE)[MARK], "1");
}

#[tokio::test]
async fn a_node_that_is_reported_alive_loses_its_mark() {
    let account = fleet();
    let mut alive = super::super::one(NODE, &[("Env", "PROD")]);
    send(&mode("on"), &account, &alive).await;
    counts(&mode("on"), &account, &gone(&["i-0abcdef0123456789"])).await;
    account.forget_calls();
    send(&mode("on"), &account, &alive).await;
    assert!(account.tags(NODE).contains_key(MARK), "it was observed before the instance was reported as gone");
    account.forget_calls();
    alive["observedAt"] = json!("2026-11-22T02:02:00Z");
    let answer = send(&mode("on"), &account, &alive).await;
    assert!(!account.tags(NODE).contains_key(MARK));
    assert_eq!(account.calls(), written(NODE, &[Call::Remove(NODE.into())]));
    assert_eq!((answer.counts.updated, answer.counts.tags_removed), (1, 0));
    assert!(answer.nodes[0].removed.is_empty(), "the hub's own tags are not listed");
}

#[tokio::test]
async fn a_report_from_before_the_end_does_not_bring_a_node_back() {
    let account = fleet();
    counts(&mode("on"), &account, &gone(&["i-0abcdef0123456789"])).await;
    let mut before = super::super::one(NODE, &[]);
    before["observedAt"] = json!("2026-11-22T01:59:59Z");
    send(&mode("on"), &account, &before).await;
    assert!(account.tags(NODE).contains_key(MARK));
}

/// A clone of the instance that is gone: it acts as the node.
fn clone_of_the_gone() -> Value {
    let mut event = super::super::one(NODE, &[("Env", "PROD")]);
    event["instances"][0]["ec2InstanceId"] = json!("i-00000000000000001");
    event
}

#[tokio::test]
async fn a_node_that_the_same_report_names_alive_is_not_marked() {
    let account = fleet();
    // Bulk reads still show the node as that of the instance that is gone.
    account.freeze_bulk_reads();
    let mut event = clone_of_the_gone();
    event["terminated"] = json!([{"ec2InstanceId": "i-0abcdef0123456789"}]);
    let answer = send(&mode("on"), &account, &event).await;
    assert_eq!((answer.counts.adopted, answer.terminated.unwrap().rejected), (1, 1));
    assert!(!account.tags(NODE).contains_key(MARK));
}

#[tokio::test]
async fn a_mark_that_nobody_can_read_goes_from_a_node_that_lives_and_nothing_else_does() {
    let account = fleet();
    account.change(NODE, |tags| drop(tags.insert(MARK.to_owned(), "edited by hand".to_owned())));
    let mut event = clone_of_the_gone();
    let before = account.tags(NODE);
    event["dryRun"] = json!(true);
    assert_eq!(send(&mode("on"), &account, &event).await.counts.rejected, 1);
    assert_eq!(account.tags(NODE), before);
    event["dryRun"] = json!(false);
    account.forget_calls();
    let answer = send(&mode("on"), &account, &event).await;
    assert_eq!(answer.counts.rejected, 1);
    assert_eq!(serde_json::to_value(&answer.nodes[0]).unwrap()["reason"], "conflict");
    assert_eq!(account.calls(), written(NODE, &[Call::Remove(NODE.into())]));
    let mut after = before;
    after.remove(MARK);
    assert_eq!(account.tags(NODE), after);
}

#[tokio::test]
async fn two_instances_that_name_one_node_show_that_it_lives() {
    let account = fleet();
    account.change(NODE, |tags| drop(tags.insert(MARK.to_owned(), OBSERVED.to_string())));
    let mut event = clone_of_the_gone();
    event["instances"]
        .as_array_mut()
        .unwrap()
        .extend(super::super::one(NODE, &[])["instances"].as_array().cloned().unwrap());
    let answer = send(&mode("on"), &account, &event).await;
    assert_eq!((answer.counts.received, answer.counts.rejected), (2, 2));
    assert!(answer.nodes.iter().all(|node| node.outcome == Outcome::Rejected { reason: Rejection::Conflict }));
    // The link, then the marker: never the marker alone.
    assert_eq!(account.calls(), written(NODE, &[Call::Remove(NODE.into()), Call::Remove(NODE.into())]));
    assert!(!account.tags(NODE).contains_key(MARK));
}

#[tokio::test]
async fn a_failure_with_one_node_is_its_own_and_asks_for_another_try() {
    let account = fleet().with_fault(Fault::on_set(NODE, "TooManyUpdates", true));
    let second = SOURCE.replace("6789", "678a");
    account.change(NODE_2, |tags| drop(tags.insert("tag-hub:source".to_owned(), second)));
    let mut event = gone(&["i-0abcdef0123456789", "i-0abcdef012345678a"]);
    let marked = counts(&mode("on"), &account, &event).await;
    assert_eq!((marked.marked, marked.failed), (1, 1));
    event["reply"] = json!(false);
    let error = handle(&mode("on"), &account, &invocation(AGENCY_ARN), &event.to_string()).await.result.unwrap_err();
    assert!(error.to_string().starts_with("1 of 2 nodes"), "{error}");
    let account = account.without_faults().with_fault(Fault::on_read_many("AccessDeniedException", false));
    let answer = handle(&mode("on"), &account, &invocation(AGENCY_ARN), &event.to_string()).await.result.unwrap();
    assert_eq!(answer.terminated.unwrap().failed, 2);
}

#[tokio::test(start_paused = true)]
async fn when_time_runs_out_marks_are_deferred() {
    let account = fleet().with_latency(Duration::from_hours(1));
    assert_eq!(counts(&mode("on"), &account, &gone(&["i-0abcdef0123456789"])).await.deferred, 1);
}

/// The bulk read is behind, and nobody reports the instance again: the table knows which node it was linked to just now.
#[tokio::test]
async fn a_node_that_the_bulk_read_does_not_show_yet_is_marked_too() {
    let account = account();
    account.freeze_bulk_reads();
    let report = json!({"region": "us-east-1", "observedAt": "2026-11-22T02:00:00Z", "instances": [
        {"instanceId": NODE, "ec2InstanceId": "i-0abcdef0123456789", "tags": []}]});
    assert_eq!(send(&mode("on"), &account, &report).await.counts.updated, 1);
    let marked = counts(&mode("dry-run"), &account, &gone(&["i-0abcdef0123456789"])).await;
    assert_eq!((marked.marked, marked.unknown), (1, 0));
    assert!(!account.tags(NODE).contains_key(MARK));
    let marked = counts(&mode("on"), &account, &gone(&["i-0abcdef0123456789"])).await;
    assert_eq!((marked.marked, marked.unknown), (1, 0));
    assert!(account.tags(NODE).contains_key(MARK));
}
