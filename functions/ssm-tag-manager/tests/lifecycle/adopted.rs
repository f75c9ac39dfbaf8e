//! A node whose instance is terminated, and a copy of that instance that lives.

use super::*;

const COPY: &str = "i-00000000000000001";

/// The report of an instance that names the node, and is not the one that the node is linked to.
fn survivor(ec2: &str) -> Value {
    let mut event = one(NODE, &[("Env", "TEST")]);
    event["instances"][0]["ec2InstanceId"] = json!(ec2);
    event["observedAt"] = json!("2026-11-22T02:01:00Z");
    event
}

async fn tagged() -> Account {
    let account = account();
    send(&account, &one(NODE, &[("Env", "PROD"), ("Role", "web")])).await.unwrap();
    account
}

async fn adopts(account: &Account, event: &Value) {
    let answer = send(account, event).await.unwrap();
    assert_eq!(outcomes(&answer), [(NODE, "adopted")]);
    assert_eq!((answer.counts.received, answer.counts.updated, answer.counts.adopted), (1, 1, 1));
    let tags = account.tags(NODE);
    assert_eq!(tags["tag-hub:source"], format!("222222222222/us-east-1/{COPY}"));
    assert_eq!((&*tags["Env"], tags.get("Role")), ("TEST", None), "what the other instance left is gone");
    assert_eq!(tags.get("tag-hub:terminated"), None);
}

async fn conflicts(account: &Account, event: &Value, count: usize) {
    let before = account.tags(NODE);
    let answer = send(account, event).await.unwrap();
    assert_eq!(answer.counts.rejected, count);
    assert_eq!(serde_json::to_value(&answer.nodes[0]).unwrap()["reason"], "conflict");
    assert_eq!(account.tags(NODE), before);
}

#[tokio::test]
async fn the_survivor_adopts_a_node_that_is_marked() {
    let account = tagged().await;
    set(&account, NODE, "tag-hub:terminated", "1795312800");
    adopts(&account, &survivor(COPY)).await;
}

#[tokio::test]
async fn the_survivor_adopts_a_node_whose_instance_the_same_report_says_is_gone() {
    let account = tagged().await;
    let mut event = survivor(COPY);
    event["terminated"] = json!([{"ec2InstanceId": EC2}]);
    account.forget_calls();
    adopts(&account, &event).await;
    // Retirement is off: the list of the terminated is good for this alone, and costs nothing.
    let expected = [
        Call::Read(NODE.into()),
        Call::Take(LEASE.into()),
        Call::Read(NODE.into()),
        Call::Arrive(format!("222222222222/us-east-1/{COPY}")),
        find(1),
        Call::Remove(NODE.into()),
        Call::Set(NODE.into()),
        Call::Release(LEASE.into()),
    ];
    assert_eq!(account.calls(), expected);
}

#[tokio::test]
async fn while_the_instance_lives_a_copy_of_it_is_a_conflict() {
    let account = tagged().await;
    conflicts(&account, &survivor(COPY), 1).await;
    let mut event = survivor(COPY);
    event["terminated"] = json!([{"ec2InstanceId": "i-00000000000000002"}]);
    conflicts(&account, &event, 1).await;
    // A marker from after the report: the copy was seen before the end.
    set(&account, NODE, "tag-hub:terminated", &(1_795_312_860 + 1).to_string());
    conflicts(&account, &survivor(COPY), 1).await;
}

#[tokio::test]
async fn of_two_copies_none_adopts() {
    let account = tagged().await;
    set(&account, NODE, "tag-hub:terminated", "1795312800");
    let mut event = survivor(COPY);
    let second = survivor("i-00000000000000002")["instances"][0].clone();
    event["instances"].as_array_mut().unwrap().push(second);
    conflicts(&account, &event, 2).await;
}

#[tokio::test]
async fn another_agency_cannot_say_that_an_instance_is_gone() {
    let account = tagged().await;
    let mut event = survivor(COPY);
    event["terminated"] = json!([{"ec2InstanceId": EC2}]);
    let other = AGENCY_ARN.replace("222222222222", "333333333333");
    let before = account.tags(NODE);
    let handled = handle(&config("{}", "enforce"), &account, &invocation(&other), &event.to_string()).await;
    let answer = handled.result.unwrap();
    assert_eq!(serde_json::to_value(&answer.nodes[0]).unwrap()["reason"], "not-owned");
    assert_eq!(account.tags(NODE), before);
}

#[tokio::test]
async fn the_copys_own_node_is_given_up_when_it_adopts_another() {
    let account = tagged().await;
    let mut own = one(NODE_2, &[("Env", "X")]);
    own["instances"][0]["ec2InstanceId"] = json!(COPY);
    send(&account, &own).await.unwrap();
    set(&account, NODE, "tag-hub:terminated", "1795312800");
    let answer = send(&account, &survivor(COPY)).await.unwrap();
    assert_eq!(outcomes(&answer), [(NODE, "adopted"), (NODE_2, "superseded")]);
    assert_eq!(account.tags(NODE_2).get("Env"), None);
}
