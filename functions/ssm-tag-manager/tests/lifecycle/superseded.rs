//! An instance that registered again: a new node with the same source.

use super::*;

/// The report of the new node, a minute after that of the old one.
fn again(tags: &[(&str, &str)]) -> Value {
    let mut event = one(NODE_2, tags);
    event["observedAt"] = json!("2026-11-22T02:01:00Z");
    event
}

#[tokio::test]
async fn the_old_node_loses_what_the_hub_set() {
    let account = account();
    send(&account, &one(NODE, &[("Env", "PROD"), ("Role", "web")])).await.unwrap();
    set(&account, NODE, "Owner", "ops");
    account.forget_calls();
    let answer = send(&account, &again(&[("Env", "PROD")])).await.unwrap();
    assert_eq!(outcomes(&answer), [(NODE, "superseded"), (NODE_2, "updated")]);
    assert_eq!(answer.nodes[0].removed, ["Env", "Role"]);
    assert_eq!(answer.nodes[0].ec2_instance_id.as_deref(), Some(EC2));
    assert_eq!((answer.counts.received, answer.counts.updated, answer.counts.superseded), (1, 1, 1));
    let calls = [
        Call::Read(NODE_2.into()),
        Call::Take(LEASE.into()),
        Call::Read(NODE_2.into()),
        Call::Arrive(SOURCE.into()),
        find(1),
        Call::Read(NODE.into()),
        Call::Declare,
        Call::Remove(NODE.into()),
        Call::Set(NODE.into()),
        Call::Set(NODE_2.into()),
        Call::Release(LEASE.into()),
    ];
    assert_eq!(account.calls(), calls);
    let old = account.tags(NODE);
    let keys: Vec<&str> = old.keys().map(String::as_str).collect();
    assert_eq!(keys, ["Owner", "tag-hub:agency", "tag-hub:applied", "tag-hub:source"]);
    assert!(old["tag-hub:applied"].starts_with("2s."), "{old:?}");
    assert_eq!(account.tags(NODE_2)["Env"], "PROD");
    account.forget_calls();
    assert_eq!(send(&account, &again(&[("Env", "PROD")])).await.unwrap().counts.superseded, 0);
    assert_eq!(account.node_calls(), [Call::Read(NODE_2.into())]);
}

#[tokio::test]
async fn a_late_report_of_the_old_node_is_stale() {
    let account = account();
    send(&account, &one(NODE, &[("Env", "PROD")])).await.unwrap();
    send(&account, &again(&[("Env", "PROD")])).await.unwrap();
    let (old, new) = (account.tags(NODE), account.tags(NODE_2));
    let late = send(&account, &one(NODE, &[("Env", "PROD")])).await.unwrap();
    assert_eq!(serde_json::to_value(&late.nodes[0]).unwrap()["reason"], "stale");
    assert_eq!((account.tags(NODE), account.tags(NODE_2)), (old, new));
}

#[tokio::test]
async fn a_report_from_before_that_comes_for_the_first_time_takes_nothing_from_the_new_node() {
    let account = account();
    send(&account, &again(&[("Env", "PROD")])).await.unwrap();
    let late = send(&account, &one(NODE, &[("Env", "PROD")])).await.unwrap();
    assert_eq!(serde_json::to_value(&late.nodes[0]).unwrap()["reason"], "stale");
    assert_eq!(account.tags(NODE_2)["Env"], "PROD");
    assert_eq!(account.tags(NODE).len(), 1);
}

#[tokio::test]
async fn an_instance_that_goes_back_to_its_old_node_leaves_the_new_one() {
    let account = account();
    send(&account, &one(NODE, &[("Env", "PROD")])).await.unwrap();
    send(&account, &again(&[("Env", "PROD")])).await.unwrap();
    let mut back = one(NODE, &[("Env", "PROD")]);
    back["observedAt"] = json!("2026-11-22T02:02:00Z");
    let answer = send(&account, &back).await.unwrap();
    assert_eq!(outcomes(&answer), [(NODE, "updated"), (NODE_2, "superseded")]);
    assert_eq!(account.tags(NODE)["Env"], "PROD");
    assert!(account.tags(NODE)["tag-hub:applied"].starts_with("2."));
    assert_eq!(account.tags(NODE_2).get("Env"), None);
}

#[tokio::test]
async fn nodes_of_others_and_of_other_instances_are_left_alone() {
    let account = account();
    set(&account, "mi-0fedcba987654321f", "tag-hub:source", SOURCE);
    set(&account, NODE, "tag-hub:source", "222222222222/us-east-1/i-00000000000000001");
    set(&account, NODE, "Env", "PROD");
    let (others, own) = (account.tags("mi-0fedcba987654321f"), account.tags(NODE));
    let answer = send(&account, &again(&[("Env", "PROD")])).await.unwrap();
    assert_eq!(outcomes(&answer), [(NODE_2, "updated")]);
    assert_eq!((account.tags("mi-0fedcba987654321f"), account.tags(NODE)), (others, own));
}

#[tokio::test]
async fn what_an_old_view_shows_is_looked_at_again() {
    let account = account();
    set(&account, NODE, "tag-hub:source", SOURCE);
    account.freeze_bulk_reads();
    // It has been linked to another instance since.
    set(&account, NODE, "tag-hub:source", "222222222222/us-east-1/i-00000000000000001");
    let before = account.tags(NODE);
    assert_eq!(send(&account, &again(&[("Env", "PROD")])).await.unwrap().counts.superseded, 0);
    assert_eq!(account.tags(NODE), before);
}

#[tokio::test]
async fn what_no_bulk_read_shows_yet_is_known_from_its_arrival() {
    let account = account();
    account.freeze_bulk_reads();
    send(&account, &one(NODE, &[("Env", "PROD")])).await.unwrap();
    let answer = send(&account, &again(&[("Env", "PROD")])).await.unwrap();
    assert_eq!(outcomes(&answer), [(NODE, "superseded"), (NODE_2, "updated")]);
    assert_eq!(account.tags(NODE).get("Env"), None);
}

#[tokio::test]
async fn many_new_nodes_are_looked_up_twenty_at_a_time() {
    let mut account = Account::default();
    let mut instances = Vec::new();
    for number in 0..45 {
        let (node, ec2) = (format!("mi-{number:017x}"), format!("i-{number:017x}"));
        account = account.with_node(&node, &[("tag-hub:agency", "222222222222")]);
        instances.push(json!({"instanceId": node, "ec2InstanceId": ec2, "tags": []}));
    }
    let answer = send(&account, &json!({"region": "us-east-1", "instances": instances})).await.unwrap();
    assert_eq!(answer.counts.updated, 45, "linked to their instances without a tag");
    let found: Vec<Call> = account.calls().into_iter().filter(|call| matches!(call, Call::Find(..))).collect();
    assert_eq!(found, [find(20), find(20), find(5)]);
}
