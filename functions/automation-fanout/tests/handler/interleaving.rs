//! No interleaving of retries, time-outs, duplicates and changed requests starts a location twice under one key.

use std::collections::BTreeSet;
use std::time::Duration;

use automation_fanout::plan::REQUEST_TAG_KEY;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::account::{Account, Dice};
use crate::{fleet, send_with};

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
