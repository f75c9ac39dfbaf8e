//! Writers that do not finish: what the next one makes of it.

use hub::ManagedInstanceId;
use ssm_tag_manager::plan::{Intent, NodeIntent};

use super::*;

/// An account in which each call takes a second, and a node with `Env=PROD` and `Role=web` from the hub.
async fn tagged() -> Account {
    let account = account();
    send(&account, &one(NODE, &[("Env", "PROD"), ("Role", "web")])).await.unwrap();
    account.forget_calls();
    account.with_latency(Duration::from_secs(1))
}

/// Ends an invocation after so many calls, as Lambda or the machine under it can at any time.
async fn crash_after(calls: u64, account: &Account, event: &Value) {
    let limit = Duration::from_millis(1000 * calls + 500);
    let invocation = invocation(AGENCY_ARN);
    assert!(tokio::time::timeout(limit, handled(account, &invocation, event)).await.is_err(), "it ended before");
}

fn set(account: &Account, key: &str, value: &str) {
    account.change(NODE, |tags| drop(tags.insert(key.to_owned(), value.to_owned())));
}

fn node() -> ManagedInstanceId {
    NODE.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_sets_after_a_crash_stays() {
    let account = tagged().await;
    // The look, the lease, a read, the removal; and no memory of it.
    crash_after(4, &account, &one(NODE, &[("Env", "TEST")])).await;
    assert!(!account.tags(NODE).contains_key("Role") && account.tags(NODE)["Env"] == "PROD");
    assert!(!account.lease(LEASE).unwrap().intent.is_empty(), "what was about to change is known");
    set(&account, "Role", "db");
    let answer = handled(&account, &later(6), &one(NODE, &[("Env", "TEST")])).await.result.unwrap();
    assert_eq!((answer.counts.updated, answer.counts.tags_removed), (1, 0));
    assert_eq!((&*account.tags(NODE)["Env"], &*account.tags(NODE)["Role"]), ("TEST", "db"));
    assert!(account.lease(LEASE).is_none(), "all is settled");
    // For good: no later report takes it for the hub's.
    handled(&account, &later(12), &one(NODE, &[])).await.result.unwrap();
    assert_eq!((account.tags(NODE).get("Env"), &*account.tags(NODE)["Role"]), (None, "db"));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_not_taken_from_a_holder_that_may_live() {
    let account = tagged().await;
    crash_after(4, &account, &one(NODE, &[("Env", "TEST")])).await;
    // The holder works for 25 seconds at most. Its clock may be behind, and its last call may arrive late.
    let until_ms = account.lease(LEASE).unwrap().until_ms;
    let after = |seconds| held_for(Duration::from_secs(seconds)).until_ms;
    assert!((after(30)..after(40)).contains(&until_ms), "{until_ms}");
    let early = Invocation { now: now() + Duration::from_secs(20), ..later(1) };
    let early = handled(&account, &early, &one(NODE, &[("Env", "TEST")])).await;
    assert_eq!(early.answer().unwrap().counts.updated, 1, "it waits until then");
    assert!(early.lease_use.wait > Duration::from_secs(10), "{:?}", early.lease_use.wait);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_the_next_report_does_not_name_is_settled_first() {
    let account = tagged().await;
    crash_after(4, &account, &one(NODE, &[("Env", "TEST")])).await;
    account.forget_calls();
    handled(&account, &later(6), &second(&[("Env", "X")])).await.result.unwrap();
    let calls = [
        Call::Read(NODE_2.into()),
        take(LEASE),
        Call::Read(NODE.into()),
        Call::Set(NODE.into()),
        Call::Read(NODE_2.into()),
        Call::Arrive("222222222222/us-east-1/i-0abcdef012345678a".into()),
        Call::Find("tag-hub:source".into(), 1),
        Call::Set(NODE_2.into()),
        release(LEASE),
    ];
    assert_eq!(account.calls(), calls);
    assert!(account.lease(LEASE).is_none());
    assert_eq!(account.tags(NODE)["Env"], "PROD", "its tags are the next report's business");
    // The removal is remembered by now: what an operator sets afterwards is an operator's.
    set(&account, "Role", "db");
    handled(&account, &later(12), &one(NODE, &[])).await.result.unwrap();
    assert_eq!((account.tags(NODE).get("Env"), &*account.tags(NODE)["Role"]), (None, "db"));
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_a_dead_writer_set_is_ours() {
    // Half of a call was carried out: the tag is there, the memory is not.
    for is_named_next in [true, false] {
        let account = tagged().await.with_fault(Fault::half_set(NODE, &["New"]));
        let event = one(NODE, &[("Env", "PROD"), ("Role", "web"), ("New", "1")]);
        assert_eq!(handled(&account, &invocation(AGENCY_ARN), &event).await.answer().unwrap().counts.failed, 1);
        assert_eq!(account.tags(NODE)["New"], "1");
        let held = account.lease(LEASE).unwrap();
        assert_eq!(held.until_ms, 0, "the lease is given back");
        assert!(held.intent.0.contains_key(&node()), "with what is not settled");
        let account = account.without_faults();
        if !is_named_next {
            handled(&account, &later(6), &second(&[("Env", "X")])).await.result.unwrap();
            assert!(account.lease(LEASE).is_none());
        }
        handled(&account, &later(12), &one(NODE, &[("Env", "TEST")])).await.result.unwrap();
        let tags = account.tags(NODE);
        assert_eq!((&*tags["Env"], tags.get("New"), tags.get("Role")), ("TEST", None, None), "{is_named_next}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_a_dead_writer_set_goes_although_nothing_else_changes() {
    for overwrite in [true, false] {
        let config = config(&format!("{{\"overwrite\": {overwrite}}}"), "enforce");
        let as_reported = one(NODE, &[("Env", "PROD"), ("Role", "web")]);
        let account = tagged().await.with_fault(Fault::half_set(NODE, &["New"]));
        let event = one(NODE, &[("Env", "PROD"), ("Role", "web"), ("New", "1")]);
        handle(&config, &account, &invocation(AGENCY_ARN), &event.to_string()).await.result.unwrap();
        let account = account.without_faults();
        let next = if overwrite { as_reported.clone() } else { event };
        handle(&config, &account, &later(6), &next.to_string()).await.result.unwrap();
        assert!(account.lease(LEASE).is_none(), "overwrite: {overwrite}");
        handle(&config, &account, &later(12), &as_reported.to_string()).await.result.unwrap();
        assert!(!account.tags(NODE).contains_key("New"), "overwrite: {overwrite}");
    }
}

/// To read an agency's policy may take its time. Nobody may take the lease away meanwhile for that.
#[tokio::test(start_paused = true)]
async fn a_lease_is_counted_from_when_the_time_was_read() {
    let account = tagged().await;
    let invocation = invocation(AGENCY_ARN);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let limit = Duration::from_millis(2_500);
    let event = one(NODE, &[("Env", "TEST")]);
    assert!(tokio::time::timeout(limit, handled(&account, &invocation, &event)).await.is_err());
    let taken_at = held_for(Duration::from_secs(21)).until_ms;
    let lasts_ms = account.lease(LEASE).unwrap().until_ms - taken_at;
    assert!((34_000..=36_000).contains(&lasts_ms), "{lasts_ms}");
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_answer_the_node_is_read_again_and_remembers_what_is_on_it() {
    let account = tagged().await.with_fault(Fault::half_set(NODE, &["New"]).times(1));
    let event = one(NODE, &[("Env", "PROD"), ("Role", "web"), ("New", "1")]);
    assert_eq!(handled(&account, &invocation(AGENCY_ARN), &event).await.answer().unwrap().counts.failed, 1);
    let (read, set) = (Call::Read(NODE.into()), Call::Set(NODE.into()));
    assert_eq!(account.node_calls(), [read.clone(), read.clone(), set.clone(), read, set]);
    assert!(account.lease(LEASE).is_none(), "nothing is left to settle");
    // It goes although no look can tell it from an operator's but for the memory.
    handled(&account, &later(6), &one(NODE, &[("Env", "PROD"), ("Role", "web")])).await.result.unwrap();
    assert!(!account.tags(NODE).contains_key("New"));
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_was_not_set_although_it_is_remembered_is_an_operators() {
    // The other half of the call: the memory is there, the tag is not.
    let account = tagged().await.with_fault(Fault::half_set(NODE, &["tag-hub:applied"]));
    let event = one(NODE, &[("Env", "PROD"), ("Role", "web"), ("New", "1")]);
    handled(&account, &invocation(AGENCY_ARN), &event).await.result.unwrap();
    set(&account, "New", "ops");
    let account = account.without_faults();
    handled(&account, &later(6), &one(NODE, &[("Env", "PROD")])).await.result.unwrap();
    assert_eq!(account.tags(NODE)["New"], "ops");
    assert!(!account.tags(NODE).contains_key("Role"));
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_lasts_leaves_the_intent_in_the_table() {
    let account = tagged().await.with_fault(Fault::on_set(NODE, "InternalServerError", true));
    let event = one(NODE, &[("Env", "TEST")]);
    for minutes in [0, 6] {
        let handled = handled(&account, &later(minutes), &event).await;
        assert_eq!(handled.answer().unwrap().counts.failed, 1);
        assert_eq!(account.lease(LEASE).unwrap().intent.0.len(), 1, "after {minutes} minutes");
    }
    set(&account, "Role", "db");
    let account = account.without_faults();
    assert_eq!(handled(&account, &later(12), &event).await.result.unwrap().counts.updated, 1);
    assert_eq!((&*account.tags(NODE)["Env"], &*account.tags(NODE)["Role"]), ("TEST", "db"));
    assert!(account.lease(LEASE).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_rejected_node_is_settled_all_the_same() {
    let account = tagged().await;
    crash_after(4, &account, &one(NODE, &[("Env", "TEST")])).await;
    account.freeze_bulk_reads();
    account.change(NODE, |tags| drop(tags.insert("tag-hub:agency".to_owned(), "333333333333".to_owned())));
    let mut event = two(&[("Env", "TEST")]);
    event["observedAt"] = json!("2026-11-22T02:00:01Z");
    handled(&account, &later(6), &event).await.result.unwrap();
    assert!(account.lease(LEASE).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_was_declared_on_an_old_view_does_no_harm() {
    let account = account();
    send(&account, &two(&[("Env", "PROD"), ("Role", "web")])).await.unwrap();
    account.freeze_bulk_reads();
    handled(&account, &later(1), &two(&[("Env", "PROD"), ("Role", "db")])).await.result.unwrap();
    // It sees Role=web, says that it is about to remove that, and dies before it reads the node.
    let account = account.with_latency(Duration::from_secs(1));
    crash_after(2, &account, &two(&[("Env", "PROD")])).await;
    assert_eq!(account.tags(NODE)["Role"], "db");
    handled(&account, &later(6), &two(&[("Env", "PROD")])).await.result.unwrap();
    assert!(!account.tags(NODE).contains_key("Role"), "the hub had set it since");
}

#[tokio::test(start_paused = true)]
async fn an_intent_about_a_node_that_is_gone_is_forgotten() {
    let mut intent = Intent::default();
    intent.0.insert("mi-0000000000000dead".parse().unwrap(), NodeIntent::default());
    let held = Held { intent, ..held_for(Duration::ZERO) };
    let account = account().with_lease(LEASE, held);
    handled(&account, &later(6), &one(NODE, &[("Env", "PROD")])).await.result.unwrap();
    assert!(account.lease(LEASE).is_none());
    assert!(account.calls().contains(&Call::Read("mi-0000000000000dead".into())));
}

#[tokio::test(start_paused = true)]
async fn wherever_a_writer_dies_the_next_report_is_exact() {
    let event = one(NODE, &[("Env", "TEST"), ("New", "1")]);
    for calls in 0..6 {
        let account = tagged().await;
        set(&account, "Owner", "ops");
        crash_after(calls, &account, &event).await;
        handled(&account, &later(6), &one(NODE, &[("Env", "PROD")])).await.result.unwrap();
        let mut tags = account.tags(NODE);
        tags.retain(|key, _| !hub::is_reserved(key));
        let expected = [("Env", "PROD"), ("Owner", "ops")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(tags, expected.into(), "after {calls} calls");
        account.forget_calls();
        handled(&account, &later(12), &one(NODE, &[("Env", "PROD")])).await.result.unwrap();
        // The operator's tag might be what a call that was done by half left there: the table knows.
        assert_eq!(account.calls(), [Call::Read(NODE.into()), Call::LeftBehind(LEASE.into())]);
    }
}

/// A refusal that lasts, such as a permission that is missing, must not fill the table: nobody could take the lease.
#[tokio::test]
async fn what_is_refused_again_and_again_is_not_remembered_again_and_again() {
    let account = account().with_fault(Fault::on_any_set("AccessDeniedException", false));
    let mut sizes = Vec::new();
    for minutes in 1..=20 {
        let answer = handled(&account, &later(minutes), &one(NODE, &[("Env", "PROD"), ("Role", "web")])).await;
        assert_eq!(answer.result.unwrap().counts.failed, 1);
        sizes.push(account.lease(LEASE).map_or(0, |held| serde_json::to_string(&held.intent).unwrap().len()));
    }
    assert_eq!(sizes, [0; 20], "a read shows that nothing was done");
    let account = account.without_faults();
    send(&account, &one(NODE, &[("Env", "PROD"), ("Role", "web")])).await.unwrap();

    // What was removed before the refusal cannot be written into the node's memory, and is in the table once.
    let account = account.with_fault(Fault::on_any_set("AccessDeniedException", false));
    let mut sizes = Vec::new();
    for minutes in 30..50 {
        account.change(NODE, |tags| drop(tags.remove("Role")));
        let answer = handled(&account, &later(minutes), &one(NODE, &[("Env", "TEST")])).await;
        assert_eq!(answer.result.unwrap().counts.failed, 1);
        sizes.push(account.lease(LEASE).map_or(0, |held| serde_json::to_string(&held.intent).unwrap().len()));
    }
    assert!(sizes[19] <= sizes[1], "{sizes:?}");
}

/// Whose node it is now decides, and not whose it was when a writer died.
#[tokio::test]
async fn a_half_done_node_of_another_agency_is_left_alone() {
    let account = account();
    send(&account, &one(NODE, &[("Env", "PROD")])).await.unwrap();
    let account = account.with_fault(Fault::half_set(NODE, &["Role"]));
    handled(&account, &later(1), &one(NODE, &[("Env", "PROD"), ("Role", "web")])).await.result.unwrap();
    let held = account.lease(LEASE).unwrap();
    assert!(!held.intent.is_empty());
    account.change(NODE, |tags| drop(tags.insert("tag-hub:agency".to_owned(), "333333333333".to_owned())));
    let account = account.without_faults();
    let before = account.tags(NODE);
    handled(&account, &later(12), &second(&[("Env", "X")])).await.result.unwrap();
    assert_eq!(account.tags(NODE), before);
    assert!(account.lease(LEASE).is_none(), "and it is forgotten");
}
