//! Instances that no longer carry the tag managedinstanceid.

use super::*;

fn unlinked(ec2_instance_ids: &[&str]) -> Value {
    json!({"region": "us-east-1", "observedAt": "2026-11-22T02:00:00Z", "instances": [], "unlinked": ec2_instance_ids})
}

fn linked() -> Account {
    let account = account();
    set(&account, NODE, "tag-hub:source", SOURCE);
    account
}

/// So many instances, among them that of the node.
fn among(count: usize) -> Vec<String> {
    (1..count).map(|n| format!("i-{n:017x}")).chain([EC2.to_owned()]).collect()
}

async fn found_among(account: &Account, count: usize) -> Answer {
    let ids = among(count);
    send(account, &unlinked(&ids.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap()
}

#[tokio::test]
async fn the_node_of_an_unlinked_instance_is_told_and_kept() {
    let account = linked();
    let before = account.tags(NODE);
    let answer = found_among(&account, 2).await;
    assert_eq!(outcomes(&answer), [(NODE, "unlinked")]);
    assert_eq!(answer.nodes[0].ec2_instance_id.as_deref(), Some(EC2));
    assert_eq!((answer.counts.received, answer.counts.unlinked), (0, 1));
    assert_eq!(account.calls(), [find(2)], "nothing is written, and no lease is needed for that");
    assert_eq!(account.tags(NODE), before);
}

#[tokio::test]
async fn many_unlinked_instances_are_looked_up_by_their_agency() {
    let account = linked();
    assert_eq!(found_among(&account, 100).await.counts.unlinked, 1);
    assert_eq!(account.calls(), [20; 5].map(find));
    account.forget_calls();
    assert_eq!(outcomes(&found_among(&account, 101).await), [(NODE, "unlinked")]);
    assert_eq!(account.calls(), [Call::Find("tag-hub:agency".to_owned(), 1)]);
}

#[tokio::test]
async fn nodes_of_others_left_nodes_and_named_nodes_are_no_news() {
    for count in [1, 101] {
        let account = account();
        set(&account, "mi-0fedcba987654321f", "tag-hub:source", SOURCE);
        assert_eq!(found_among(&account, count).await.counts.unlinked, 0, "another agency's");
        // Left by its instance for another node.
        set(&account, NODE, "tag-hub:source", SOURCE);
        set(&account, NODE, "tag-hub:applied", "2s.1795312800.c2FsdA.g..");
        assert_eq!(found_among(&account, count).await.counts.unlinked, 0, "superseded");
        account.change(NODE, |tags| drop(tags.remove("tag-hub:applied")));
        assert_eq!(found_among(&account, count).await.counts.unlinked, 1);
    }
    // The same report names it: the tag is on another instance now.
    let account = linked();
    let mut event = one(NODE, &[]);
    event["unlinked"] = json!([EC2]);
    assert_eq!(send(&account, &event).await.unwrap().counts.unlinked, 0);
}

#[tokio::test]
async fn what_names_no_instance_costs_nothing() {
    let account = linked();
    assert_eq!(send(&account, &unlinked(&[])).await.unwrap().counts.unlinked, 0);
    assert_eq!(send(&account, &unlinked(&["", "mi-0123456789abcdef0"])).await.unwrap().counts.unlinked, 0);
    assert!(account.calls().is_empty());
}

#[tokio::test]
async fn a_search_that_fails_spoils_nothing_else() {
    let account = linked().with_fault(super::super::Fault::on_read_many("AccessDeniedException", false));
    let mut event = one(NODE, &[("Env", "PROD")]);
    event["unlinked"] = json!(["i-00000000000000001"]);
    let answer = send(&account, &event).await.unwrap();
    assert_eq!((answer.counts.updated, answer.counts.unlinked), (1, 0));
}
