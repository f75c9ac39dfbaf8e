//! No interleaving of retries, time-outs, duplicates and changed requests starts a location twice under one key.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use automation_fanout::plan::{REQUEST_TAG_KEY, RESUMES_TAG_KEY};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::account::{Account, Dice};
use crate::{A, B, NO_ROLE, fleet, send_with};

/// The request, and what somebody may make of it before it is sent again under the same key.
fn variants() -> Vec<Value> {
    let whole = fleet(3);
    let mut other_end = whole.clone();
    other_end["TargetLocations"][200]["Regions"] = json!(["us-west-2"]);
    let mut other_begin = whole.clone();
    other_begin["TargetLocations"][0]["Regions"] = json!(["us-west-2"]);
    let mut other_runbook = whole.clone();
    other_runbook["Parameters"] = json!({"Operation": ["Install"]});
    let mut shorter = fleet(2);
    shorter["IdempotencyKey"] = whole["IdempotencyKey"].clone();
    let mut turned = whole.clone();
    turned["TargetLocations"].as_array_mut().unwrap().reverse();
    vec![whole, other_end, other_begin, other_runbook, shorter, turned]
}

/// Sends requests under one key, one after the other and at the same time, with little time and a service that throttles,
/// fails, refuses and loses answers as the dice fall.
async fn play(seed: u64) -> Account {
    let account = Account::new().with_dice(seed);
    let variants = variants();
    let mut dice = Dice::new(seed ^ 0x9e37_79b9_7f4a_7c15);
    for round in 0..4 {
        let sent = (0..=dice.below(2)).map(|at| {
            // The first request comes more often than any of the others.
            let variant = variants[dice.below(10).saturating_sub(4).min(5)].clone();
            let (budget, delay) = (11 + dice.below(20) as u64, dice.below(3_000) as u64);
            let account = &account;
            async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                let _ = send_with(account, budget, &format!("request-{round}-{at}"), &variant).await;
            }
        });
        join_all(sent).await;
    }
    account
}

#[tokio::test(start_paused = true)]
async fn no_location_is_started_twice_under_one_key() {
    let mut complete = 0;
    for seed in 0..400 {
        let account = play(seed).await;
        let started = account.started();
        let mut reached = BTreeSet::new();
        let mut tags = BTreeSet::new();
        for request in &started {
            for location in &request.target_locations {
                for account in &location.accounts {
                    for region in &location.regions {
                        assert!(
                            reached.insert((account.clone(), region.clone())),
                            "seed {seed}: {account} {region} twice"
                        );
                    }
                }
            }
            tags.extend(request.tags.iter().filter(|tag| tag.key == REQUEST_TAG_KEY).map(|tag| tag.value.clone()));
        }
        assert!(tags.len() <= 1, "seed {seed}: two requests under one key: {tags:?}");
        let accounts: BTreeSet<&String> = reached.iter().map(|(account, _)| account).collect();
        assert_eq!(accounts.len(), reached.len(), "seed {seed}: one account by two requests");
        complete += usize::from(started.len() == 3);
    }
    assert!(complete > 50, "the dice let hardly anything through: {complete}");
}

fn campaign(operation: &str) -> Value {
    json!({
        "Name": "c", "Resume": true,
        "Request": {"DocumentName": "Patch", "Parameters": {"Operation": [operation]},
                    "TargetLocations": [{"Accounts": [A, B, "333333333333"], "Regions": ["us-east-1"],
                                         "TargetLocationMaxErrors": "100%", "TargetLocationMaxConcurrency": "9"}]},
        "Waves": [{"Name": "one", "Accounts": [A, B]}, {"Name": "two", "Accounts": ["333333333333"]}]
    })
}

/// Several runs of a campaign at once, each retried and cut off, with another campaign of the same name among them; now
/// and then the service forgets its tokens, once all is quiet.
async fn play_campaign(seed: u64) -> Account {
    let account = Account::new().with_dice(seed).with_end(B, "us-east-1", ("Failed", NO_ROLE));
    let mut dice = Dice::new(seed ^ 0x5bd1_e995);
    for round in 0..6_i64 {
        let since = hub::Timestamp::from_unix_seconds(1_795_312_800 + round * 600).to_string();
        let sent = (0..=dice.below(2)).map(|at| {
            let operation = if dice.below(8) == 0 { "Install" } else { "Scan" };
            let wave = if dice.below(3) == 0 { "two" } else { "one" };
            let (budget, delay) = (11 + dice.below(60) as u64, dice.below(3_000) as u64);
            let (account, since) = (&account, since.clone());
            async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                let mut executions = json!([]);
                for step in 0..4 {
                    let event = json!({"Action": "Wave", "Campaign": campaign(operation), "Wave": wave, "Since": since,
                                       "AutomationExecutionIds": executions});
                    let id = format!("request-{round}-{at}-{step}");
                    if let Ok(answer) = send_with(account, budget, &id, &event).await {
                        executions = answer["AutomationExecutionIds"].clone();
                    }
                    tokio::time::sleep(Duration::from_secs(40)).await;
                }
            }
        });
        join_all(sent).await;
        tokio::time::sleep(Duration::from_secs(400)).await;
        if dice.below(2) == 0 {
            account.forget_tokens();
        }
    }
    account
}

#[tokio::test(start_paused = true)]
async fn no_location_is_started_twice_in_one_campaign() {
    let mut resumed_count = 0;
    for seed in 0..150 {
        let account = play_campaign(seed).await;
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        for request in account.started() {
            let resumes = request.tags.iter().find(|tag| tag.key == RESUMES_TAG_KEY);
            for account in request.target_locations.iter().flat_map(|location| &location.accounts) {
                match resumes {
                    // The one that always fails, and no other.
                    Some(_) => assert_eq!(account, B, "seed {seed}: what succeeded is started again"),
                    None => *first.entry(account.clone()).or_default() += 1,
                }
            }
            resumed_count += usize::from(resumes.is_some());
        }
        assert!(first.values().all(|count| *count == 1), "seed {seed}: {first:?}");
    }
    assert!(resumed_count > 50, "hardly anything was resumed: {resumed_count}");
}
