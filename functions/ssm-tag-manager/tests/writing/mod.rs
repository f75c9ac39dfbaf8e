//! Writing under the lease: when it is taken, and what happens if it is not to be had.

mod crash;
mod refused;

use std::time::Duration;

use hub::Counts;
use serde_json::{Value, json};
use ssm_tag_manager::{Handled, Invocation, handle};

use super::account::{Account, Call, Fault, Held};
use super::{AGENCY_ARN, LEASE, NODE, NODE_2, account, config, invocation, now, one, send, two, written};

const BULK: [&str; 2] = ["bulk#1", "bulk#2"];

/// An invocation so many minutes after the others, when the leases that those held have ended.
fn later(minutes: u64) -> Invocation {
    let entropy = [u8::try_from(minutes).unwrap(); 16];
    Invocation { now: now() + Duration::from_mins(minutes), entropy, ..invocation(AGENCY_ARN) }
}

/// A lease that somebody holds for so long.
fn held_for(duration: Duration) -> Held {
    let until = now() + duration;
    let until_ms = until.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    Held { holder: "somebody".to_owned(), until_ms: i64::try_from(until_ms).unwrap(), ..Held::default() }
}

async fn handled(account: &Account, invocation: &Invocation, event: &Value) -> Handled {
    handle(&config("{}", "enforce"), account, invocation, &event.to_string()).await
}

/// An account and a report of so many nodes of the agency that carry nothing yet.
fn fleet(count: usize) -> (Account, Value) {
    let ids: Vec<String> = (0..count).map(|n| format!("mi-{n:017x}")).collect();
    let add = |account: Account, id: &String| account.with_node(id, &[("tag-hub:agency", "222222222222")]);
    let account = ids.iter().fold(Account::default(), add);
    let instance = |id: &String| json!({"instanceId": id, "tags": [{"Key": "Env", "Value": "PROD"}]});
    (account, json!({"instances": ids.iter().map(instance).collect::<Vec<_>>()}))
}

/// A report of the second node alone.
fn second(tags: &[(&str, &str)]) -> Value {
    let mut event = two(tags);
    event["instances"].as_array_mut().unwrap().remove(0);
    event
}

fn count(calls: &[Call], call: &Call) -> usize {
    calls.iter().filter(|other| *other == call).count()
}

fn take(name: &str) -> Call {
    Call::Take(name.to_owned())
}

fn release(name: &str) -> Call {
    Call::Release(name.to_owned())
}

#[tokio::test]
async fn without_a_change_the_table_is_not_called() {
    let account = account();
    account.change(NODE_2, |tags| drop(tags.remove("Owner")));
    let event = two(&[("Env", "PROD")]);
    send(&account, &event).await.unwrap();
    assert_eq!(account.lease(LEASE).map(|held| held.holder), None, "it is given back");
    account.forget_calls();
    let answer = send(&account, &event).await.unwrap();
    assert_eq!(answer.counts, Counts { received: 2, unchanged: 2, ..Counts::default() });
    assert_eq!(account.calls(), [Call::ReadMany(2)]);

    // A tag that the hub's memory does not name is an operator's, or what a call that was done by half left there.
    account.change(NODE_2, |tags| drop(tags.insert("Owner".to_owned(), "ops".to_owned())));
    account.forget_calls();
    assert_eq!(send(&account, &event).await.unwrap().counts.unchanged, 2);
    assert_eq!(account.calls(), [Call::ReadMany(2), Call::LeftBehind(LEASE.into())]);
    account.forget_calls();
    let dry_run = json!({"instances": event["instances"], "dryRun": true});
    send(&account, &dry_run).await.unwrap();
    assert_eq!(account.calls(), [Call::ReadMany(2)]);
}

#[tokio::test]
async fn one_node_of_many_that_changed_costs_two_calls_of_the_table() {
    let account = account();
    send(&account, &two(&[("Env", "PROD")])).await.unwrap();
    account.forget_calls();
    let mut event = two(&[("Env", "PROD")]);
    event["instances"][0]["tags"] = json!([{"Key": "Env", "Value": "TEST"}]);
    send(&account, &event).await.unwrap();
    let mut expected = written(NODE, &[Call::Set(NODE.into())]);
    expected[0] = Call::ReadMany(2);
    assert_eq!(account.calls(), expected);
}

#[tokio::test]
async fn a_node_that_was_written_meanwhile_is_left_alone_under_the_lease() {
    let account = account();
    send(&account, &two(&[("Env", "PROD")])).await.unwrap();
    account.freeze_bulk_reads();
    send(&account, &two(&[("Env", "TEST")])).await.unwrap();
    account.forget_calls();
    let answer = send(&account, &two(&[("Env", "TEST")])).await.unwrap();
    assert_eq!(answer.counts.unchanged, 2);
    let mut reads = account.node_calls();
    reads.sort_by_key(|call| matches!(call, Call::Read(id) if id == NODE_2));
    assert_eq!(reads, [Call::ReadMany(2), Call::Read(NODE.into()), Call::Read(NODE_2.into())]);
}

#[tokio::test]
async fn what_the_look_did_not_foresee_is_declared_before_it_is_written() {
    let account = account();
    send(&account, &two(&[("Env", "PROD"), ("Role", "web")])).await.unwrap();
    account.freeze_bulk_reads();
    account.change(NODE, |tags| drop(tags.insert("Role".to_owned(), "edited".to_owned())));
    account.forget_calls();
    let mut event = two(&[("Env", "PROD"), ("Role", "web")]);
    event["instances"][0]["tags"] = json!([{"Key": "Env", "Value": "TEST"}]);
    let answer = send(&account, &event).await.unwrap();
    assert_eq!(answer.nodes[0].removed, ["Role"]);
    let writes = [Call::Declare, Call::Remove(NODE.into()), Call::Set(NODE.into())];
    let mut expected = written(NODE, &writes);
    expected[0] = Call::ReadMany(2);
    assert_eq!(account.calls(), expected);
}

#[tokio::test]
async fn more_than_a_few_nodes_take_a_slot() {
    let (account, event) = fleet(5);
    send(&account, &event).await.unwrap();
    assert_eq!(account.table_calls(), [take(LEASE), release(LEASE)]);
    let (account, event) = fleet(6);
    send(&account, &event).await.unwrap();
    let calls = account.table_calls();
    let slot = BULK.into_iter().find(|slot| calls.contains(&take(slot))).unwrap();
    assert_eq!(calls, [take(slot), take(LEASE), release(LEASE), release(slot)]);
}

#[tokio::test(start_paused = true)]
async fn where_all_slots_are_taken_a_small_change_passes() {
    let held = || held_for(Duration::from_hours(1));
    let (account, event) = fleet(6);
    let account = account.with_lease(BULK[0], held()).with_lease(BULK[1], held());
    let handled = handled(&account, &invocation(AGENCY_ARN), &event).await;
    let answer = handled.answer().unwrap();
    assert_eq!(answer.counts.deferred, 6);
    let reason = "other agencies held all slots for bulk writers until time ran out";
    assert_eq!(answer.deferred_because.as_deref(), Some(reason));
    assert_eq!(count(&account.calls(), &take(LEASE)), 0);
    let small = json!({"instances": [event["instances"][0]]});
    assert_eq!(send(&account, &small).await.unwrap().counts.updated, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_holds_is_waited_for() {
    let account = account().with_lease(LEASE, held_for(Duration::from_secs(3)));
    let handled = handled(&account, &invocation(AGENCY_ARN), &one(NODE, &[("Env", "PROD")])).await;
    let answer = handled.answer().unwrap();
    assert_eq!((answer.counts.updated, &answer.deferred_because), (1, &None));
    assert_eq!(account.tags(NODE)["Env"], "PROD");
    let wait = handled.lease_use.wait;
    assert!((Duration::from_secs(3)..Duration::from_secs(4)).contains(&wait), "{wait:?}");
    assert_eq!((handled.lease_use.slice_count, handled.lease_use.deferred_count), (1, 0));
    let attempts = count(&account.calls(), &take(LEASE));
    assert!((8..=31).contains(&attempts), "{attempts} attempts, 100 to 400 ms apart");
    assert_eq!(count(&account.calls(), &Call::Set(NODE.into())), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_given_back_in_time_defers_and_says_so() {
    let account = account().with_lease(LEASE, held_for(Duration::from_hours(1)));
    let event = two(&[("Env", "PROD")]);
    let answer = send(&account, &event).await.unwrap();
    let json = serde_json::to_value(&answer).unwrap();
    assert_eq!(json["counts"]["deferred"], 2);
    assert_eq!(json["deferredBecause"], "another report of the agency held its lease until time ran out");
    assert_eq!(account.node_calls(), [Call::ReadMany(2)], "nothing is written");
    let mut no_reader = event.clone();
    no_reader["reply"] = json!(false);
    let error = send(&account, &no_reader).await.unwrap_err();
    assert!(error.to_string().starts_with("2 of 2 nodes must be retried: "), "{error}");
    account.without_lease(LEASE);
    assert_eq!(send(&account, &event).await.unwrap().counts.updated, 2, "the next report makes good");
}

#[tokio::test]
async fn while_the_table_fails_nothing_is_written_and_the_next_report_makes_good() {
    for (code, retryable) in [
        ("AccessDeniedException", false),
        ("ResourceNotFoundException", false),
        ("ProvisionedThroughputExceededException", true),
        ("DispatchFailure", true),
    ] {
        let account = account();
        send(&account, &one(NODE, &[("Env", "PROD")])).await.unwrap();
        account.forget_calls();
        let account = account.with_fault(Fault::on_lease(code, retryable));
        let event = two(&[("Env", "PROD")]);
        let handled = handled(&account, &invocation(AGENCY_ARN), &event).await;
        let answer = handled.answer().unwrap();
        assert_eq!((answer.counts.unchanged, answer.counts.deferred), (1, 1), "{code}");
        // Without the message of AWS, which names the hub's own role.
        let reason = format!("dynamodb:PutItem failed: {code}");
        assert_eq!(answer.deferred_because.as_deref(), Some(&*reason));
        assert_eq!(handled.lease_use.deferred_count, 1);
        assert_eq!(account.calls(), [Call::ReadMany(2), take(LEASE)]);
        let mut dry_run = event.clone();
        dry_run["dryRun"] = json!(true);
        assert_eq!(send(&account, &dry_run).await.unwrap().counts.updated, 1, "a look needs no table");
        let account = account.without_faults();
        assert_eq!(send(&account, &event).await.unwrap().counts.updated, 1, "{code}");
        assert_eq!(account.tags(NODE_2)["Env"], "PROD");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bulk_writer_does_not_keep_its_slot_while_it_waits_for_long() {
    let (account, event) = fleet(6);
    let account = account.with_lease(LEASE, held_for(Duration::from_secs(10)));
    assert_eq!(send(&account, &event).await.unwrap().counts.updated, 6);
    let calls = account.table_calls();
    let is_slot = |call: &&Call| matches!(call, Call::Take(name) if name != LEASE);
    let takes = calls.iter().filter(is_slot).count();
    let releases = calls.iter().filter(|call| matches!(call, Call::Release(name) if name != LEASE)).count();
    assert!(takes >= 5 && takes == releases, "{takes} times in ten seconds: {calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_write_gives_the_lease_back_now_and_then() {
    let (account, event) = fleet(30);
    let account = account.with_latency(Duration::from_secs(1));
    let handled = handled(&account, &invocation(AGENCY_ARN), &event).await;
    assert_eq!(handled.answer().unwrap().counts.updated, 30);
    // Two seconds for eight nodes: the fourth eight would begin after more than five.
    assert_eq!(handled.lease_use.slice_count, 2);
    let calls = account.table_calls();
    assert_eq!((count(&calls, &take(LEASE)), count(&calls, &release(LEASE))), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_slice_names_at_most_300_nodes() {
    let (account, event) = fleet(301);
    let handled = handled(&account, &invocation(AGENCY_ARN), &event).await;
    assert_eq!((handled.answer().unwrap().counts.updated, handled.lease_use.slice_count), (301, 2));
}

#[tokio::test]
async fn without_the_ownership_check_there_is_one_lease_for_all() {
    let account = account();
    let event = one(NODE, &[("Env", "PROD")]).to_string();
    handle(&config("{}", "off"), &account, &invocation(AGENCY_ARN), &event).await.result.unwrap();
    let arrive = Call::Arrive("222222222222/us-east-1/i-0abcdef0123456789".into());
    assert_eq!(account.table_calls(), [take("agency#all"), arrive, release("agency#all")]);
}
