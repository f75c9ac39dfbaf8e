//! No interleaving of retries, time-outs, duplicates, stops and changed requests starts a location twice under one key or in
//! one campaign.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use automation_fanout::plan::request::StartRequest;
use automation_fanout::plan::{REQUEST_TAG_KEY, RESUMES_TAG_KEY};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::account::{Account, Dice};
use crate::{A, B, NO_ROLE, fleet, send, send_with};

const C: &str = "333333333333";
/// How long a start may be under way when its first part is stopped.
const UNDER_WAY: Duration = Duration::from_secs(4);

fn changed(event: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut event = event.clone();
    change(&mut event);
    event
}

/// The request, and what somebody may make of it before it is sent again under the same key.
fn variants() -> Vec<Value> {
    let whole = fleet(3);
    vec![
        whole.clone(),
        changed(&whole, |event| event["TargetLocations"][200]["Regions"] = json!(["us-west-2"])),
        changed(&whole, |event| event["TargetLocations"][0]["Regions"] = json!(["us-west-2"])),
        changed(&whole, |event| event["Parameters"] = json!({"Operation": ["Install"]})),
        fleet(2),
        changed(&whole, |event| event["TargetLocations"].as_array_mut().unwrap().reverse()),
        changed(&whole, |event| event["DocumentName"] = json!("TagHub-Other")),
    ]
}

/// Requests of all that may be said about locations: accounts left out, two locations in one place, targets of their own
/// beside a list that makes several starts.
fn mixed() -> Vec<Value> {
    let nodes: Vec<String> = (0..130).map(|n| format!("mi-{:017x}", n % 110)).collect();
    let tag = |value: &str| json!([{"Key": "tag:Env", "Values": [value]}]);
    let location = |accounts: &[&str], more: Value| {
        changed(&json!({"Accounts": accounts, "Regions": ["us-east-1"]}), |location| {
            location.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        })
    };
    let whole = json!({"DocumentName": "Patch", "IdempotencyKey": "k", "TargetParameterName": "InstanceId",
        "Targets": [{"Key": "ParameterValues", "Values": nodes}],
        "TargetLocations": [location(&[A, B, C], json!({"ExcludeAccounts": [B]})),
            location(&[A, C], json!({"Targets": tag("x")})), location(&[C, A], json!({"Targets": tag("y")})),
            location(&["ou-ab12-cdefghij"], json!({"ExcludeAccounts": [A, C]}))]});
    vec![
        whole.clone(),
        changed(&whole, |event| event["TargetLocations"][0]["ExcludeAccounts"] = json!([C])),
        changed(&whole, |event| event["TargetLocations"][1]["Targets"] = tag("z")),
        changed(&whole, |event| event["Targets"][0]["Values"].as_array_mut().unwrap().truncate(60)),
        changed(&whole, |event| event["TargetLocations"].as_array_mut().unwrap().truncate(1)),
        changed(&whole, |event| event["TargetLocations"].as_array_mut().unwrap().reverse()),
        changed(&whole, |event| event["DocumentName"] = json!("TagHub-Other")),
    ]
}

/// What is run where: a value of the targets, or nothing.
fn work(request: &StartRequest) -> Vec<(String, String, String)> {
    let mut work = Vec::new();
    for location in &request.target_locations {
        let targets = if location.targets.is_empty() { &request.targets } else { &location.targets };
        for account in location.reached() {
            for region in &location.regions {
                let values = targets.iter().flat_map(|target| &target.values);
                work.extend(values.map(|value| (account.clone(), region.clone(), value.clone())));
            }
        }
    }
    work
}

/// Sends requests under one key, one after the other and at the same time, with little time and a service that throttles,
/// fails, refuses and loses answers as the dice fall. Now and then somebody stops what runs.
async fn play(seed: u64, variants: &[Value]) -> Account {
    let account = Account::new().with_dice(seed).with_run_of(Duration::from_mins(5));
    let mut dice = Dice::new(seed ^ 0x9e37_79b9_7f4a_7c15);
    for round in 0..4 {
        let stops_after = (dice.below(4) == 0).then(|| dice.below(4_000) as u64);
        let stop_type = ["Cancel", "Complete"][dice.below(2)];
        let sent = (0..=dice.below(2)).map(|at| {
            // The first request comes more often than any of the others.
            let variant = variants[dice.below(12).saturating_sub(5).min(6)].clone();
            let (budget, delay) = (11 + dice.below(20) as u64, dice.below(3_000) as u64);
            let account = &account;
            async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                let _ = send_with(account, budget, &format!("request-{round}-{at}"), &variant).await;
            }
        });
        let stop = async {
            let Some(delay) = stops_after else { return };
            tokio::time::sleep(Duration::from_millis(delay)).await;
            let ids: Vec<String> = account.history().into_iter().map(|(id, ..)| id).collect();
            if !ids.is_empty() {
                let stop = json!({"Action": "Stop", "AutomationExecutionIds": ids, "Type": stop_type});
                let _ = send(&account, &stop).await;
            }
        };
        tokio::join!(join_all(sent), stop);
    }
    account
}

fn pairs(request: &StartRequest) -> impl Iterator<Item = (String, String)> {
    request.target_locations.iter().flat_map(|location| {
        location
            .accounts
            .iter()
            .flat_map(|account| location.regions.iter().map(move |region| (account.clone(), region.clone())))
    })
}

fn tag<'a>(request: &'a StartRequest, key: &str) -> Option<&'a str> {
    request.tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
}

#[tokio::test(start_paused = true)]
async fn no_location_is_started_twice_under_one_key() {
    let variants = variants();
    let (mut complete, mut cut_short) = (0, 0);
    for seed in 0..400 {
        let account = play(seed, &variants).await;
        let started = account.started();
        let mut reached = BTreeSet::new();
        let mut tags = BTreeSet::new();
        for request in &started {
            for pair in pairs(request) {
                assert!(reached.insert(pair.clone()), "seed {seed}: {pair:?} twice");
            }
            tags.extend(tag(request, REQUEST_TAG_KEY).map(str::to_owned));
        }
        assert!(tags.len() <= 1, "seed {seed}: two requests under one key: {tags:?}");
        let accounts: BTreeSet<&String> = reached.iter().map(|(account, _)| account).collect();
        assert_eq!(accounts.len(), reached.len(), "seed {seed}: one account by two requests");
        complete += usize::from(started.len() == 3);

        let history = account.history();
        let first_stop = history.iter().min_by_key(|(_, _, at, _)| *at).and_then(|(.., stopped)| *stopped);
        if let Some(stop) = first_stop {
            let late = history.iter().any(|(_, _, at, _)| *at > stop + UNDER_WAY);
            assert!(!late, "seed {seed}: started after the first part was stopped");
            cut_short += usize::from(started.len() < 3);
        }
    }
    assert!(complete > 50, "the dice let hardly anything through: {complete}");
    assert!(cut_short > 5, "hardly anything was stopped in between: {cut_short}");
}

#[tokio::test(start_paused = true)]
async fn no_work_is_started_twice_whatever_a_request_says_about_its_locations() {
    let variants = mixed();
    let mut complete = 0;
    for seed in 0..200 {
        let account = play(seed, &variants).await;
        let started = account.started();
        let mut done = BTreeSet::new();
        for one in started.iter().flat_map(work) {
            assert!(done.insert(one.clone()), "seed {seed}: {one:?} twice");
        }
        let tags: BTreeSet<_> = started.iter().filter_map(|request| tag(request, REQUEST_TAG_KEY)).collect();
        assert!(tags.len() <= 1, "seed {seed}: two requests under one key: {tags:?}");
        complete += usize::from(started.len() == 3);
    }
    assert!(complete > 25, "the dice let hardly anything through: {complete}");
}

/// Of that, what failed is resumed, and its resumptions too, all under one key, with or without a word of the service about
/// which location a step is of.
#[tokio::test(start_paused = true)]
async fn no_work_is_resumed_twice_under_one_key() {
    let mut resumed_count = 0;
    for seed in 0..60 {
        let mut dice = Dice::new(seed ^ 0x00c0_ffee);
        let mut account = Account::new();
        for value in ["x", "y", "mi-00000000000000003"] {
            account = if dice.below(2) == 0 { account.with_end_for(value, ("Failed", NO_ROLE)) } else { account };
        }
        account = if dice.below(2) == 0 { account.with_end(C, "us-east-1", ("Failed", NO_ROLE)) } else { account };
        account = if dice.below(3) == 0 { account.with_bare_steps() } else { account };
        send(&account, &mixed()[0]).await.unwrap();
        let original: Vec<_> = account.started().iter().flat_map(work).collect();
        for round in 0..4 {
            tokio::time::sleep(Duration::from_mins(2)).await;
            let ids: Vec<String> =
                account.history().into_iter().map(|(id, ..)| id).filter(|_| dice.below(4) > 0).collect();
            let key = format!("key-{round}");
            let before = account.started().len();
            if !ids.is_empty() {
                let event = json!({"Action": "Resume", "AutomationExecutionIds": ids, "IdempotencyKey": key});
                let _ = send_with(&account, 900, &key, &event).await;
            }
            let mut done = BTreeSet::new();
            for one in account.started().iter().skip(before).flat_map(work) {
                assert!(original.contains(&one), "seed {seed}: {one:?} was never asked for");
                assert!(done.insert(one.clone()), "seed {seed}: {one:?} is resumed twice under {key}");
            }
            resumed_count += account.started().len() - before;
        }
    }
    assert!(resumed_count > 60, "hardly anything was resumed: {resumed_count}");
}

/// What failed in three parts is resumed again and again, at once and with other terms.
#[tokio::test(start_paused = true)]
async fn nothing_is_resumed_twice() {
    let mut resumed_count = 0;
    for seed in 0..150 {
        let failed: Vec<String> = (0..=200).step_by(7).map(|n| format!("{n:012}")).collect();
        let account =
            failed.iter().fold(Account::new(), |account, id| account.with_end(id, "us-east-1", ("Failed", NO_ROLE)));
        let first = send(&account, &fleet(3)).await.unwrap();
        let ids: Vec<Value> =
            first["Executions"].as_array().unwrap().iter().map(|one| one["AutomationExecutionId"].clone()).collect();
        tokio::time::sleep(Duration::from_mins(2)).await;
        let account = account.with_dice(seed);
        let mut dice = Dice::new(seed ^ 0x2545_f491);
        for round in 0..3 {
            let sent = (0..=dice.below(3)).map(|at| {
                let mut event = json!({"Action": "Resume", "AutomationExecutionIds": ids});
                if dice.below(5) == 0 {
                    event["TargetLocationMaxErrors"] = json!("100%");
                }
                let (budget, delay) = (11 + dice.below(30) as u64, dice.below(2_000) as u64);
                let account = &account;
                async move {
                    tokio::time::sleep(Duration::from_millis(delay)).await;
                    let _ = send_with(account, budget, &format!("request-{round}-{at}"), &event).await;
                }
            });
            join_all(sent).await;
        }
        let mut reached = BTreeSet::new();
        for request in account.started().iter().filter(|request| tag(request, RESUMES_TAG_KEY).is_some()) {
            for (id, region) in pairs(request) {
                assert!(failed.contains(&id), "seed {seed}: {id} had succeeded");
                assert!(reached.insert((id.clone(), region)), "seed {seed}: {id} is resumed twice");
            }
            resumed_count += 1;
        }
    }
    assert!(resumed_count > 200, "hardly anything was resumed: {resumed_count}");
}

/// The campaign, and what somebody may make of it under its name. Its first wave takes two starts.
fn campaigns() -> Vec<Value> {
    let many: Vec<String> = (0..100).map(|n| format!("{n:012}")).collect();
    let location = |id: &str| {
        json!({"Accounts": [id], "Regions": ["us-east-1"], "TargetLocationMaxErrors": "100%",
               "TargetLocationMaxConcurrency": "9"})
    };
    let wide: Vec<&str> = many.iter().map(String::as_str).chain([A, B]).collect();
    let locations: Vec<Value> = wide.iter().chain([&C]).map(|id| location(id)).collect();
    let whole = json!({
        "Name": "c", "Resume": true, "Gate": {"MaxFailedPercent": 5},
        "Request": {"DocumentName": "Patch", "TargetLocations": locations},
        "Waves": [{"Name": "one", "Accounts": wide}, {"Name": "two", "Accounts": [C]}]
    });
    vec![
        whole.clone(),
        // A run that begins with the second wave.
        changed(&whole, |campaign| {
            campaign["Gate"] = json!({});
            campaign["From"] = json!("two");
        }),
        changed(&whole, |campaign| campaign["Request"]["Parameters"] = json!({"Operation": ["Install"]})),
        changed(&whole, |campaign| campaign["Request"]["DocumentName"] = json!("TagHub-Other")),
        changed(&whole, |campaign| campaign["Waves"][0]["Name"] = json!("first")),
        changed(&whole, |campaign| campaign["Waves"].as_array_mut().unwrap().reverse()),
        changed(&whole, |campaign| {
            campaign["Waves"] = json!([{"Name": "one", "Percent": 30}, {"Name": "two", "Percent": 100}]);
        }),
    ]
}

/// A run as the state machine does it, with a step more where an answer is lost, until it ends or `steps` are done.
async fn run(account: &Account, campaign: &Value, budget: u64, name: &str, steps: usize) -> Result<Value, Value> {
    let plan = changed(campaign, |campaign| campaign["Action"] = json!("Campaign"));
    let refused = |error: automation_fanout::FanoutError| json!({"Refused": error.to_string()});
    let planned = send_with(account, budget, name, &plan).await.map_err(refused)?;
    let mut last = json!({"State": "NotBegun"});
    let mut left = steps;
    for wave in planned["Waves"].as_array().unwrap() {
        let earlier = wave.get("EarlierExecutions").cloned().unwrap_or(json!([]));
        let mut executions = json!([]);
        loop {
            if left == 0 {
                return Ok(last);
            }
            left -= 1;
            let event = json!({"Action": "Wave", "Campaign": campaign, "Wave": wave["Name"], "EarlierExecutions": earlier,
                               "AutomationExecutionIds": executions});
            let answer = send_with(account, budget, &format!("{name}-{left}"), &event).await;
            tokio::time::sleep(Duration::from_secs(40)).await;
            match answer {
                Ok(answer) => {
                    executions = answer["AutomationExecutionIds"].clone();
                    last = answer;
                }
                Err(error) if error.error_type() == "InvalidRequest" => return Err(refused(error)),
                Err(_) => continue,
            }
            if last["State"] == "Passed" {
                break;
            }
            if last["State"] == "Stopped" {
                return Ok(last);
            }
        }
    }
    Ok(last)
}

/// Several runs of a campaign at once, each retried and cut off, with other campaigns of the same name among them, while
/// somebody stops and resumes by hand. The service forgets its tokens after some minutes, and lists what was started after
/// some seconds.
async fn play_campaign(seed: u64) -> Account {
    let account = Account::new()
        .with_dice(seed)
        .with_end(B, "us-east-1", ("Failed", NO_ROLE))
        .with_memory(Duration::from_mins(5), Duration::from_secs(10));
    let campaigns = campaigns();
    let mut dice = Dice::new(seed ^ 0x5bd1_e995);
    for round in 0..4 {
        let (by_hand_after, action) = (dice.below(120) as u64, ["Stop", "Resume", "Status"][dice.below(3)]);
        let sent = (0..=dice.below(2)).map(|at| {
            let campaign = campaigns[dice.below(12).saturating_sub(5).min(6)].clone();
            let (budget, delay, steps) = (11 + dice.below(100) as u64, dice.below(3_000) as u64, 2 + dice.below(5));
            let account = &account;
            async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                let _ = run(account, &campaign, budget, &format!("request-{round}-{at}"), steps).await;
            }
        });
        let by_hand = async {
            tokio::time::sleep(Duration::from_secs(by_hand_after)).await;
            let ids: Vec<String> = account.history().into_iter().map(|(id, ..)| id).collect();
            if !ids.is_empty() {
                let _ = send(&account, &json!({"Action": action, "AutomationExecutionIds": ids})).await;
            }
        };
        tokio::join!(join_all(sent), by_hand);
        tokio::time::sleep(Duration::from_secs(dice.below(600) as u64)).await;
    }
    account
}

#[tokio::test(start_paused = true)]
async fn no_location_is_started_twice_in_one_campaign() {
    let (mut resumed_count, mut finished) = (0, 0);
    for seed in 0..40 {
        let account = play_campaign(seed).await;
        let mut first: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut resumed: BTreeSet<(String, String)> = BTreeSet::new();
        let mut digests = BTreeSet::new();
        for request in account.started() {
            if let Some(id) = tag(&request, RESUMES_TAG_KEY) {
                resumed_count += 1;
                for (account, _) in pairs(&request) {
                    assert!(resumed.insert((id.to_owned(), account)), "seed {seed}: {id} is resumed twice");
                }
            } else {
                digests.extend(tag(&request, REQUEST_TAG_KEY).and_then(|tag| tag.split('.').next()).map(str::to_owned));
                pairs(&request).for_each(|pair| *first.entry(pair).or_default() += 1);
            }
        }
        assert!(first.values().all(|count| *count == 1), "seed {seed}: {first:?}");
        assert!(digests.len() <= 1, "seed {seed}: two campaigns under one name");

        // Once all is quiet, the campaign that was begun can be brought to its end, and no other.
        account.calm();
        tokio::time::sleep(Duration::from_mins(10)).await;
        let mut accepted = 0;
        for campaign in campaigns() {
            let plan = changed(&campaign, |campaign| campaign["Action"] = json!("Campaign"));
            accepted += usize::from(send(&account, &plan).await.is_ok());
        }
        if !digests.is_empty() {
            // The gate of a campaign may change.
            assert!((1..=2).contains(&accepted), "seed {seed}: {accepted} campaigns of one name");
        }
        if let Ok(end) = run(&account, &campaigns()[0], 900, "last", 50).await {
            finished += 1;
            assert_eq!(end["State"], "Passed", "seed {seed}: {end:#}");
            let all: BTreeSet<(String, String)> =
                account.started().iter().flat_map(|request| pairs(request).collect::<Vec<_>>()).collect();
            assert_eq!(all.len(), 103, "seed {seed}: not every location was reached");
        }
    }
    assert!(resumed_count > 20, "hardly anything was resumed: {resumed_count}");
    assert!(finished > 12, "hardly any campaign came to its end: {finished}");
}
