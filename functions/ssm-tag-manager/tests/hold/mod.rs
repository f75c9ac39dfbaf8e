//! A changed policy takes no more than a few percent of the tags away before it is approved.

use hub::Answer;
use serde_json::{Value, json};
use ssm_tag_manager::plan::Policy;
use ssm_tag_manager::{Config, handle};

use crate::account::{Account, Call};
use crate::{AGENCY_ARN, NODE, NODE_2, account, invocation, one, two};

const TAGS: [(&str, &str); 3] = [("Env", "PROD"), ("Role", "web"), ("Team", "red")];

async fn sent(account: &Account, policy: &str, approved: &str, event: &Value) -> Answer {
    sent_with(account, &[("TAG_POLICY", policy), ("APPROVED_POLICIES", approved)], event).await
}

async fn sent_with(account: &Account, variables: &[(&str, &str)], event: &Value) -> Answer {
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let config = Config::from_lookup(lookup).unwrap();
    handle(&config, account, &invocation(AGENCY_ARN), &event.to_string()).await.result.unwrap()
}

fn digest(policy: &str) -> String {
    Policy::parse(policy).unwrap().digest
}

/// The tags of a node without the hub's own and the operator's.
fn carried(account: &Account, node: &str) -> Vec<String> {
    let is_shown = |key: &String| !hub::is_reserved(key) && key != "Owner";
    account
        .tags(node)
        .into_iter()
        .filter(|(key, _)| is_shown(key))
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

#[tokio::test]
async fn a_held_change_removes_nothing_and_adds_what_it_adds() {
    let account = account();
    sent(&account, "{}", "", &two(&TAGS)).await;
    let narrow = r#"{"include": ["Env"], "set": {"Fleet": "agency"}}"#;
    let answer = sent(&account, narrow, "", &two(&TAGS)).await;
    assert_eq!((answer.counts.tags_set, answer.counts.tags_removed, answer.counts.tags_held), (2, 0, 4));
    for node in [NODE, NODE_2] {
        assert_eq!(carried(&account, node), ["Env=PROD", "Fleet=agency", "Role=web", "Team=red"]);
    }
    // That is the steady state while it is held: no lease, no write.
    account.forget_calls();
    let answer = sent(&account, narrow, "", &two(&TAGS)).await;
    assert_eq!((answer.counts.unchanged, answer.counts.tags_held), (2, 4));
    assert_eq!(account.calls(), [Call::ReadMany(2)]);
    // A third policy is measured against the one that the nodes were last brought in line with.
    let answer = sent(&account, r#"{"include": ["Team"]}"#, "", &two(&TAGS)).await;
    assert_eq!((answer.counts.tags_removed, answer.counts.tags_held), (0, 6));
    // The former one comes back, and takes along what the others added.
    sent(&account, "{}", "", &two(&TAGS)).await;
    assert_eq!(carried(&account, NODE), ["Env=PROD", "Role=web", "Team=red"]);
}

#[tokio::test]
async fn an_approved_digest_removes_and_that_of_another_change_does_not() {
    let account = account();
    sent(&account, "{}", "", &two(&TAGS)).await;
    let (narrow, other) = (r#"{"include": ["Env"]}"#, r#"{"include": ["Team"]}"#);
    let answer = sent(&account, narrow, &digest(other), &two(&TAGS)).await;
    assert_eq!((answer.counts.tags_removed, answer.counts.tags_held), (0, 4));
    let approved = format!("{},{}", digest(other), digest(narrow));
    let answer = sent(&account, narrow, &approved, &two(&TAGS)).await;
    assert_eq!((answer.counts.tags_removed, answer.counts.tags_held), (4, 0));
    assert_eq!(carried(&account, NODE), ["Env=PROD"]);
    // It is in force now, and needs no approval to stay so.
    let answer = sent(&account, narrow, "", &two(&[])).await;
    assert_eq!((answer.counts.tags_removed, answer.counts.tags_held), (2, 0));
}

/// Whatever a policy can say that takes a tag away.
#[tokio::test]
async fn no_field_of_a_policy_gets_past_the_hold() {
    let derive = |when: &str| json!({"derive": [{"key": "Cohort", "value": "x", "when": {"Env": when}}]}).to_string();
    let renamed = [("a#b", "1"), ("Env", "PROD")];
    let tags: &[(&str, &str)] = &TAGS;
    let cases = [
        ("{}", r#"{"exclude": ["Team"]}"#, tags, "Team=red"),
        ("{}", r#"{"maxTags": 2}"#, tags, "Team=red"),
        (r#"{"set": {"Fleet": "x"}}"#, "{}", tags, "Fleet=x"),
        (&derive("PROD"), "{}", tags, "Cohort=x"),
        (&derive("PROD"), &derive("TEST"), tags, "Cohort=x"),
        (r#"{"rename": {"Env": "Stage"}}"#, "{}", tags, "Stage=PROD"),
        (r#"{"invalidCharacters": "replace"}"#, "{}", &renamed, "a_b=1"),
        (r#"{"maxTags": 2}"#, r#"{"maxTags": 2, "include": ["Team", "*"]}"#, tags, "Role=web"),
        (r#"{"removeStale": false}"#, "{}", tags, "Gone=1"),
    ];
    for (before, after, tags, kept) in cases {
        let account = account();
        let mut first = tags.to_vec();
        first.extend((kept == "Gone=1").then_some(("Gone", "1")));
        sent(&account, before, "", &two(&first)).await;
        sent(&account, before, "", &two(tags)).await;
        sent(&account, after, "", &two(tags)).await;
        assert!(carried(&account, NODE).contains(&kept.to_owned()), "{before} to {after}");
        sent(&account, after, &digest(after), &two(tags)).await;
        assert!(!carried(&account, NODE).contains(&kept.to_owned()), "{before} to {after}");
    }
}

#[tokio::test]
async fn a_change_of_a_few_percent_goes_at_once_and_the_limit_is_a_choice() {
    let keys: Vec<String> = (0..10).map(|n| format!("k{n}")).collect();
    let tags: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "x")).collect();
    // One tag of 2 nodes with 10 each is 10 %.
    for (percent, removed) in [("9", 0), ("10", 2), ("100", 2), ("0", 0)] {
        let account = account();
        sent(&account, "{}", "", &two(&tags)).await;
        let variables = [("TAG_POLICY", r#"{"exclude": ["k3"]}"#), ("POLICY_HOLD_PERCENT", percent)];
        let answer = sent_with(&account, &variables, &two(&tags)).await;
        assert_eq!((answer.counts.tags_removed, answer.counts.tags_held), (removed, 2 - removed), "{percent}");
    }
}

#[tokio::test]
async fn a_dry_run_says_what_a_held_change_would_do() {
    let account = account();
    sent(&account, "{}", "", &two(&TAGS)).await;
    let mut event = two(&TAGS);
    event["dryRun"] = json!(true);
    let answer = sent(&account, r#"{"include": ["Env"]}"#, "", &event).await;
    assert_eq!((answer.counts.tags_removed, answer.counts.tags_held, answer.counts.unchanged), (0, 4, 2));
}

#[tokio::test]
async fn what_an_instance_loses_goes_at_once_while_its_node_has_the_policy_in_force() {
    let account = account();
    sent(&account, "{}", "", &one(NODE, &TAGS)).await;
    let answer = sent(&account, "{}", "", &one(NODE, &TAGS[..1])).await;
    assert_eq!((answer.counts.tags_removed, answer.counts.tags_held), (2, 0));
}

/// The first report after an upgrade brings the digest to each node, and holds nothing.
#[tokio::test]
async fn a_node_of_an_earlier_release_is_brought_in_line_first() {
    // The memory names the key abc.
    let tags = [("tag-hub:agency", "222222222222"), ("tag-hub:applied", "1795312800.ungW"), ("abc", "1")];
    let account = Account::default().with_node(NODE, &tags);
    let answer = sent(&account, "{}", "", &one(NODE, &[("abc", "1")])).await;
    assert_eq!((answer.counts.updated, answer.counts.tags_set, answer.counts.tags_held), (1, 0, 0));
    assert!(account.tags(NODE)["tag-hub:applied"].contains(&digest("{}")));
    let answer = sent(&account, r#"{"exclude": ["abc"]}"#, "", &one(NODE, &[("abc", "1")])).await;
    assert_eq!((answer.counts.tags_removed, answer.counts.tags_held), (0, 1));
    // One that no report of this release reached is not protected yet.
    let account = Account::default().with_node(NODE, &tags);
    let answer = sent(&account, r#"{"exclude": ["abc"]}"#, "", &one(NODE, &[("abc", "1")])).await;
    assert_eq!((answer.counts.tags_removed, answer.counts.tags_held), (1, 0));
}
