//! Tags that Systems Manager refuses for a reason that the hub does not know.

use hub::Answer;

use super::*;

const TAGS: [(&str, &str); 5] = [("Env", "PROD"), ("Odd", "x"), ("Role", "web"), ("Team", "a"), ("Zone", "1")];

fn refusing(account: Account) -> Account {
    account.with_fault(Fault::on_key(NODE, "Odd", "ValidationException"))
}

fn set(account: &Account, key: &str, value: &str) {
    account.change(NODE, |tags| drop(tags.insert(key.to_owned(), value.to_owned())));
}

fn dropped(answer: &Answer) -> Value {
    serde_json::to_value(&answer.nodes[0].dropped).unwrap()
}

#[tokio::test]
async fn a_refused_tag_is_found_and_the_others_are_set() {
    let account = refusing(account());
    let answer = send(&account, &one(NODE, &TAGS)).await.unwrap();
    assert_eq!((answer.counts.updated, answer.counts.failed, answer.counts.tags_set), (1, 0, 4));
    assert_eq!(dropped(&answer), json!([{"key": "Odd", "reason": "refused"}]));
    let tags = account.tags(NODE);
    for (key, value) in TAGS {
        assert_eq!(tags.get(key).map(String::as_str), Some(value).filter(|_| key != "Odd"), "{key}");
    }
    // All; the memory; Team and Zone; Env, Odd and Role; Role; Env and Odd; Odd; Env; and the memory without Odd.
    assert_eq!(count(&account.calls(), &Call::Set(NODE.into())), 9);
}

#[tokio::test]
async fn a_refused_tag_is_remembered() {
    let account = refusing(account());
    let event = one(NODE, &TAGS);
    send(&account, &event).await.unwrap();
    account.forget_calls();
    let answer = send(&account, &event).await.unwrap();
    assert_eq!(account.calls(), [Call::Read(NODE.into())], "the next report writes nothing");
    assert_eq!(answer.counts.unchanged, 1);
    assert_eq!(dropped(&answer), json!([{"key": "Odd", "reason": "refused"}]), "and still says so");
}

#[tokio::test]
async fn a_refused_tag_is_tried_again_with_another_value() {
    let account = refusing(account());
    send(&account, &one(NODE, &TAGS)).await.unwrap();
    let mut tags = TAGS;
    tags[1].1 = "y";
    send(&account, &one(NODE, &tags)).await.unwrap();
    assert!(!account.tags(NODE).contains_key("Odd"), "it is refused again");
    let account = account.without_faults();
    account.forget_calls();
    send(&account, &one(NODE, &tags)).await.unwrap();
    assert_eq!(account.calls(), [Call::Read(NODE.into())]);
    tags[1].1 = "z";
    let answer = send(&account, &one(NODE, &tags)).await.unwrap();
    assert_eq!((&*account.tags(NODE)["Odd"], answer.counts.tags_dropped), ("z", 0));
}

#[tokio::test]
async fn where_a_value_is_refused_the_old_one_goes_with_the_next_report() {
    let account = account();
    send(&account, &one(NODE, &TAGS)).await.unwrap();
    set(&account, "Owner", "ops");
    let account = refusing(account);
    let mut tags = TAGS;
    tags[1].1 = "y";
    let event = one(NODE, &tags);
    let answer = send(&account, &event).await.unwrap();
    assert_eq!(dropped(&answer), json!([{"key": "Odd", "reason": "refused"}]));
    assert_eq!(account.tags(NODE)["Odd"], "x", "it stays the hub's");
    // No target reaches the node by a value that its instance no longer carries.
    let answer = send(&account, &event).await.unwrap();
    assert_eq!((&*answer.nodes[0].removed, answer.counts.tags_dropped), (&["Odd".to_owned()][..], 1));
    account.forget_calls();
    send(&account, &event).await.unwrap();
    assert_eq!(account.node_calls(), [Call::Read(NODE.into())]);
    assert_eq!(account.tags(NODE)["Owner"], "ops");
}

#[tokio::test]
async fn what_is_not_for_a_tag_is_a_failure_of_the_node() {
    for (code, retryable) in
        [("TooManyTagsError", false), ("AccessDeniedException", false), ("TooManyUpdates", true), ("Timeout", true)]
    {
        let account = account().with_fault(Fault::on_set(NODE, code, retryable));
        let answer = send(&account, &one(NODE, &TAGS)).await.unwrap();
        assert_eq!((answer.counts.failed, answer.counts.tags_dropped), (1, 0), "{code}");
        assert_eq!(serde_json::to_value(&answer.nodes[0]).unwrap()["code"], code);
        let account = account.without_faults();
        assert_eq!(send(&account, &one(NODE, &TAGS)).await.unwrap().counts.tags_set, 5, "{code}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_memory_itself_blames_no_tag() {
    let account = account().with_fault(Fault::on_key(NODE, "tag-hub:applied", "ValidationException"));
    let answer = send(&account, &one(NODE, &TAGS)).await.unwrap();
    assert_eq!((answer.counts.failed, answer.counts.tags_dropped), (1, 0));
    assert_eq!(account.tags(NODE).len(), 1, "nothing is set that could not be remembered");
}

#[tokio::test]
async fn a_refused_tag_of_one_node_stops_no_other() {
    let account = refusing(account());
    let answer = send(&account, &two(&TAGS)).await.unwrap();
    assert_eq!((answer.counts.updated, answer.counts.tags_set, answer.counts.tags_dropped), (2, 9, 1));
}
