//! `Campaign` and `Wave`: the steps that the state machine asks for.

use std::time::Duration;

use serde_json::{Value, json};

use crate::account::{Account, Call};
use crate::{A, B, NO_ROLE, send, send_with};

const C: &str = "333333333333";

fn campaign() -> Value {
    json!({
        "Name": "patch-11",
        "Request": {"DocumentName": "Patch",
                    "TargetLocations": [{"Accounts": [A, B, C], "Regions": ["us-east-1"], "TargetLocationMaxErrors": "100%",
                                         "TargetLocationMaxConcurrency": "10"}]},
        "Waves": [{"Name": "ring-1", "Accounts": [A]}, {"Name": "ring-2", "Accounts": [B, C]}],
        "Gate": {"MaxFailedPercent": 0}
    })
}

fn with(mut event: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("an object") };
    event.as_object_mut().unwrap().extend(more);
    event
}

fn plan(campaign: Value) -> Value {
    with(campaign, json!({"Action": "Campaign"}))
}

fn wave(campaign: &Value, name: &str, earlier: &Value, executions: &Value) -> Value {
    json!({"Action": "Wave", "Campaign": campaign, "Wave": name, "EarlierExecutions": earlier,
           "AutomationExecutionIds": executions})
}

/// A first step of a wave.
fn first(campaign: &Value, name: &str) -> Value {
    wave(campaign, name, &json!([]), &json!([]))
}

/// A run of a campaign, as the state machine does it: until a wave does not pass. The last answer.
async fn run(account: &Account, campaign: &Value) -> Value {
    let planned = send(account, &plan(campaign.clone())).await.unwrap();
    let mut last = Value::Null;
    for planned in planned["Waves"].as_array().unwrap() {
        last = run_wave(account, campaign, planned).await;
        if last["State"] != "Passed" {
            break;
        }
    }
    last
}

async fn run_wave(account: &Account, campaign: &Value, planned: &Value) -> Value {
    let earlier = planned.get("EarlierExecutions").cloned().unwrap_or(json!([]));
    let mut executions = json!([]);
    for _ in 0..50 {
        let name = planned["Name"].as_str().unwrap();
        let answer = send(account, &wave(campaign, name, &earlier, &executions)).await.unwrap();
        if answer["State"] == "Passed" || answer["State"] == "Stopped" {
            return answer;
        }
        executions = answer["AutomationExecutionIds"].clone();
        tokio::time::sleep(Duration::from_secs(answer["RetryAfterSeconds"].as_u64().unwrap())).await;
    }
    panic!("the wave did not end");
}

#[tokio::test(start_paused = true)]
async fn a_campaign_is_planned_before_anything_is_started() {
    let account = Account::new();
    let gate = json!({"Gate": {"SoakMinutes": 30, "Approval": true}, "Preflight": true});
    let answer = send(&account, &plan(with(campaign(), gate.clone()))).await.unwrap();
    assert_eq!(answer["Preflight"], true);
    assert_eq!(
        answer["Waves"],
        json!([
            {"Name": "ring-1", "Next": "ring-2", "Accounts": 1, "AccountRegionPairs": 1, "SuchAs": [A],
             "SoakSeconds": 1800, "Approval": true, "ApprovalSeconds": 86400},
            {"Name": "ring-2", "Next": null, "Accounts": 2, "AccountRegionPairs": 2, "SuchAs": [B, C],
             "SoakSeconds": 0, "Approval": false, "ApprovalSeconds": 86400},
        ])
    );
    let rest = send(&account, &plan(with(with(campaign(), gate), json!({"From": "ring-2"})))).await.unwrap();
    assert_eq!((&rest["Preflight"], rest["Waves"].as_array().unwrap().len()), (&json!(false), 1));
    assert_eq!(account.call_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_carried_out_is_refused_with_its_path() {
    let account = Account::new();
    account.set_calendar("freeze", true);
    for (change, expected) in [
        (json!({"From": "ring-9"}), "From: expected the name of a wave, got \"ring-9\"; the waves are ring-1, ring-2"),
        (json!({"Waves": []}), "Waves: expected 1 to 50 items, got an empty list"),
        (json!({"Waves": [{"Name": "a", "Accounts": []}]}), "Waves[0].Accounts: expected at least one item"),
        (
            json!({"Waves": [{"Name": "a", "Percent": 0}]}),
            "Waves[0].Percent: expected a whole number from 1 to 100, got 0",
        ),
        (json!({"Waves": [{"Name": "a", "Percent": 101}]}), "Waves[0].Percent: expected a whole number from 1 to 100"),
        (
            json!({"Waves": [{"Name": "a/b", "Percent": 5}]}),
            "Waves[0].Name: expected 1 to 64 characters, none of them /",
        ),
        (
            json!({"Waves": [{"Name": "a"}]}),
            "Waves[0]: expected one of Accounts, OrganizationalUnits, Regions, Percent",
        ),
        (
            json!({"Waves": [{"Name": "a", "Percent": 100}, {"Name": "b", "Percent": 100}]}),
            "Waves[1]: expected at least one",
        ),
        (json!({"Gate": {"Calendars": ["nowhere"]}}), "Gate.Calendars: expected Change Calendars of this account"),
        (json!({"Gate": {"MaxFailedPercent": 101}}), "Gate.MaxFailedPercent: expected a whole number from 0 to 100"),
        (json!({"Gate": {"ApprovalMinutes": 5}}), "Gate.ApprovalMinutes: expected only together with"),
        (json!({"Gate": {"Frob": 1}}), "Gate.Frob: unknown field"),
        (json!({"Name": ""}), "Name: expected 1 to 150 characters"),
        (json!({"Request": {"DocumentName": "Patch"}}), "Request.TargetLocations: expected at least one location"),
        (
            json!({"Request": {"DocumentName": "Patch", "IdempotencyKey": "x",
                   "TargetLocations": [{"Accounts": [A, B, C], "Regions": ["us-eats-1"]}]}}),
            "Request.IdempotencyKey: expected no key",
        ),
        (
            json!({"Request": {"DocumentName": "Patch",
                   "TargetLocations": [{"Accounts": [A, B, C], "Regions": ["us-eats-1"]}]}}),
            "Request.TargetLocations[0].Regions[0]: expected a Region that this account knows",
        ),
    ] {
        let event = plan(with(campaign(), change));
        let error = send(&account, &event).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert_eq!(error.error_type(), "InvalidRequest");
    }
    assert!(account.started().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_wave_is_started_once_whatever_is_retried() {
    let account = Account::new().with_memory(Duration::from_mins(1), Duration::ZERO);
    let campaign = campaign();
    let begun = send(&account, &first(&campaign, "ring-1")).await.unwrap();
    assert_eq!(begun["State"], "Running", "{begun:#}");
    // The answer was lost, and the service has forgotten every token.
    tokio::time::sleep(Duration::from_secs(100)).await;
    let again = send_with(&account, 900, "request-2", &first(&campaign, "ring-1")).await.unwrap();
    assert_eq!(again["AutomationExecutionIds"], begun["AutomationExecutionIds"]);
    assert_eq!(account.started().len(), 1);
}

/// What somebody may make of a campaign under its name.
fn others(campaign: &Value) -> Vec<Value> {
    let mut parameters = campaign.clone();
    parameters["Request"]["Parameters"] = json!({"Operation": ["Install"]});
    let mut runbook = campaign.clone();
    runbook["Request"]["DocumentName"] = json!("TagHub-Other");
    let renamed = json!({"Waves": [{"Name": "first", "Accounts": [A]}, {"Name": "second", "Accounts": [B, C]}]});
    let divided = json!({"Waves": [{"Name": "ring-1", "Accounts": [A]}, {"Name": "ring-2", "Accounts": [B]}]});
    let turned = json!({"Waves": [{"Name": "ring-2", "Accounts": [B, C]}, {"Name": "ring-1", "Accounts": [A]}]});
    let mut all = vec![parameters, runbook];
    all.extend([renamed, divided, turned].map(|waves| with(campaign.clone(), waves)));
    all
}

#[tokio::test(start_paused = true)]
async fn one_name_is_one_campaign() {
    let words = "Name: expected a name that no other campaign has, got \"patch-11\"";
    for other in others(&campaign()) {
        // At once, where the service has not listed the first yet; and long after, where it has forgotten the token.
        for (token_life, list_lag, waits) in [(Duration::MAX, 1_000, 1), (Duration::from_mins(1), 0, 1_000)] {
            let account = Account::new().with_memory(token_life, Duration::from_secs(list_lag));
            send(&account, &first(&campaign(), "ring-1")).await.unwrap();
            tokio::time::sleep(Duration::from_secs(waits)).await;
            let name = other["Waves"][0]["Name"].as_str().unwrap();
            let error = send(&account, &first(&other, name)).await.unwrap_err().to_string();
            let expected = if list_lag > 0 { "this token already started another request" } else { words };
            assert!(error.contains(expected), "{expected}: {error}");
            assert_eq!(account.started().len(), 1, "{other:#}");
            if list_lag == 0 {
                let error = send(&account, &plan(other.clone())).await.unwrap_err().to_string();
                assert!(error.contains(words), "refused before any preflight: {error}");
            }
        }
    }
    // What is between the waves may change.
    let account = Account::new();
    send(&account, &first(&campaign(), "ring-1")).await.unwrap();
    let gate = json!({"Gate": {"MaxFailedPercent": 50, "SoakMinutes": 5}, "From": "ring-2", "Resume": true});
    send(&account, &plan(with(campaign(), gate))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_key_of_a_wave_is_no_key_of_a_start() {
    let alone = json!({"DocumentName": "Patch", "IdempotencyKey": "patch-11/ring-1",
                       "TargetLocations": [{"Accounts": [A], "Regions": ["us-east-1"]}]});
    let account = Account::new();
    send(&account, &first(&campaign(), "ring-1")).await.unwrap();
    let error = send(&account, &alone).await.unwrap_err().to_string();
    assert!(error.contains("IdempotencyKey: expected a key that no wave of a campaign has"), "{error}");
    assert_eq!(account.started().len(), 1);

    let account = Account::new();
    send(&account, &alone).await.unwrap();
    let error = send(&account, &first(&campaign(), "ring-1")).await.unwrap_err().to_string();
    assert!(error.contains("Name: expected a name that no other campaign has"), "{error}");
    assert_eq!(account.started().len(), 1);
    // The same start again is the same start.
    send_with(&account, 900, "request-2", &alone).await.unwrap();
    assert_eq!(account.started().len(), 1);
}

/// A campaign whose only wave takes two starts.
fn wide() -> Value {
    let locations: Vec<Value> = (0..101)
        .map(|n| json!({"Accounts": [format!("{n:012}")], "Regions": ["us-east-1"], "TargetLocationMaxErrors": "100%"}))
        .collect();
    let accounts: Vec<Value> = locations.iter().map(|location| location["Accounts"][0].clone()).collect();
    json!({"Name": "wide", "Request": {"DocumentName": "Patch", "TargetLocations": locations},
           "Waves": [{"Name": "all", "Accounts": accounts}]})
}

#[tokio::test(start_paused = true)]
async fn a_wave_that_was_started_in_part_starts_the_rest_and_nothing_twice() {
    let account = Account::new()
        .with_memory(Duration::from_mins(1), Duration::ZERO)
        .with_start_faults(&[None, Some("AutomationExecutionLimitExceededException")]);
    let waits = send(&account, &first(&wide(), "all")).await.unwrap();
    assert_eq!((&waits["State"], account.started().len()), (&json!("Waiting"), 1), "{waits:#}");
    let words = "not all of it is started: AutomationExecutionLimitExceededException";
    assert!(waits["Reason"].as_str().unwrap().starts_with(words), "{waits:#}");
    // The service has forgotten the token of the first part by now.
    tokio::time::sleep(Duration::from_mins(5)).await;
    let answer = run(&account, &wide()).await;
    assert_eq!((&answer["State"], &answer["Locations"]), (&json!("Passed"), &json!(101)));
    let counts: Vec<usize> = account.started().iter().map(|request| request.target_locations.len()).collect();
    assert_eq!(counts, [100, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_wave_that_somebody_stopped_ends_the_campaign_whatever_may_fail() {
    let account = Account::new().with_run_of(Duration::from_secs(500));
    let campaign = with(campaign(), json!({"Gate": {"MaxFailedPercent": 100}}));
    let begun = send(&account, &first(&campaign, "ring-1")).await.unwrap();
    let stop = json!({"Action": "Stop", "AutomationExecutionIds": begun["AutomationExecutionIds"]});
    send(&account, &stop).await.unwrap();
    let answer = run(&account, &campaign).await;
    let reason = format!("its execution {} was stopped", begun["AutomationExecutionIds"][0].as_str().unwrap());
    assert_eq!((&answer["State"], &answer["Reason"]), (&json!("Stopped"), &json!(reason)), "{answer:#}");
    assert_eq!(account.started().len(), 1);
    // It goes on when it is told to.
    let go_on = with(campaign, json!({"Resume": true}));
    assert_eq!(run(&account, &go_on).await["State"], "Passed");
    assert_eq!(account.started().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_wave_waits_for_the_calendar() {
    let account = Account::new();
    account.set_calendar("freeze", false);
    let campaign = with(campaign(), json!({"Gate": {"Calendars": ["freeze"]}}));
    let answer = send(&account, &first(&campaign, "ring-1")).await.unwrap();
    assert_eq!((&answer["State"], &answer["Reason"]), (&json!("Waiting"), &json!("a Change Calendar is closed")));
    assert!(account.started().is_empty());
    account.set_calendar("freeze", true);
    let answer = run(&account, &campaign).await;
    assert_eq!((&answer["State"], &answer["Wave"]), (&json!("Passed"), &json!("ring-2")));
}

#[tokio::test(start_paused = true)]
async fn a_campaign_stops_at_the_gate_and_goes_on_from_there() {
    let account = Account::new().with_end(B, "us-east-1", ("Failed", NO_ROLE));
    let campaign = campaign();
    let stopped = run(&account, &campaign).await;
    assert_eq!((&stopped["State"], &stopped["FailedPercent"]), (&json!("Stopped"), &json!(50.0)), "{stopped:#}");
    assert_eq!((&stopped["Wave"], &stopped["Failures"][0]["Cause"]), (&json!("ring-2"), &json!("execution-role")));
    assert_eq!(account.started().len(), 2);

    // Without a word nothing is started again, however often it is run.
    assert_eq!(run(&account, &campaign).await["State"], "Stopped");
    assert_eq!(account.started().len(), 2);

    // It still fails: resumed once in a run, and not again and again.
    let go_on = with(campaign, json!({"Resume": true, "From": "ring-2"}));
    assert_eq!(run(&account, &go_on).await["State"], "Stopped");
    assert_eq!(account.started().len(), 3);

    // What was wrong is put right.
    let account = account.with_end(B, "us-east-1", ("Success", ""));
    let passed = run(&account, &go_on).await;
    assert_eq!(
        (&passed["State"], &passed["Locations"], &passed["Succeeded"]),
        (&json!("Passed"), &json!(2), &json!(2))
    );
    let started = account.started();
    let resumed = started.iter().skip(2).flat_map(|request| &request.target_locations);
    let reached: Vec<&String> = resumed.flat_map(|location| &location.accounts).collect();
    assert_eq!(reached, [B, B], "what succeeded is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_campaign_goes_on_only_while_the_calendar_is_open() {
    let account = Account::new().with_end(B, "us-east-1", ("Failed", NO_ROLE));
    account.set_calendar("freeze", true);
    let campaign = with(campaign(), json!({"Gate": {"Calendars": ["freeze"]}}));
    assert_eq!(run(&account, &campaign).await["State"], "Stopped");
    account.set_calendar("freeze", false);
    let go_on = with(campaign, json!({"Resume": true, "From": "ring-2"}));
    let earlier = send(&account, &plan(go_on.clone())).await.unwrap()["Waves"][0]["EarlierExecutions"].clone();
    let step = async |ids: &Value| send(&account, &wave(&go_on, "ring-2", &earlier, ids)).await.unwrap();
    for ids in [json!([]), earlier.clone()] {
        let waits = step(&ids).await;
        assert_eq!((&waits["State"], account.started().len()), (&json!("Waiting"), 2), "{waits:#}");
        assert_eq!(waits["Reason"], "it is not resumed yet: a Change Calendar is closed");
    }
    account.set_calendar("freeze", true);
    let resumed = step(&earlier).await;
    assert_eq!((&resumed["State"], account.started().len()), (&json!("Running"), 3), "{resumed:#}");
    // Where nothing is left to start, nothing waits.
    account.set_calendar("freeze", false);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(step(&resumed["AutomationExecutionIds"]).await["State"], "Stopped");
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_ends_no_campaign() {
    // A start that got no answer, as often as it is tried.
    let account = Account::new().with_start_faults(&[Some("Timeout"); 8]);
    let waits = send(&account, &first(&campaign(), "ring-1")).await.unwrap();
    assert_eq!((&waits["State"], account.times(&Call::Start).len()), (&json!("Waiting"), 8), "{waits:#}");
    assert_eq!(waits["Reason"], "nothing is started: Timeout: on demand");
    assert_eq!(run(&account, &campaign()).await["State"], "Passed");

    // A runbook that cannot be read, where nothing says what it works on.
    let account = Account::new().with_runbook(Err("ThrottlingException"));
    let waits = send(&account, &first(&campaign(), "ring-1")).await.unwrap();
    let words =
        "the runbook could not be read (ssm:DescribeDocument: ThrottlingException), and the request says nothing";
    assert!(waits["Reason"].as_str().unwrap().starts_with(words) && waits["State"] == "Waiting", "{waits:#}");
    // The state machine tries these again, which it does not what is refused.
    for step in [plan(campaign()), json!({"Action": "Preflight", "Campaign": campaign()})] {
        assert_eq!(send(&account, &step).await.unwrap_err().error_type(), "RunbookNotRead");
    }
    assert!(account.started().is_empty());
    let mut elsewhere = campaign();
    elsewhere["Request"]["TargetLocations"][0]["Regions"] = json!(["us-eats-1"]);
    assert_eq!(send(&account, &plan(elsewhere)).await.unwrap_err().error_type(), "InvalidRequest");
    let error = send(&account.with_runbook(Err("AccessDeniedException")), &first(&campaign(), "ring-1")).await;
    assert_eq!(error.unwrap_err().error_type(), "InvalidRequest");
}

#[tokio::test(start_paused = true)]
async fn a_preflight_waits_where_a_wave_waits() {
    let asked = json!({"Action": "Preflight", "Campaign": with(campaign(), json!({"Preflight": true}))});
    let full = "AutomationExecutionLimitExceededException";
    let account = Account::new().with_start_faults(&[Some(full)]);
    let waits = send(&account, &asked).await.unwrap();
    assert_eq!((&waits["Ready"], &waits["Complete"]), (&json!(false), &json!(false)), "{waits:#}");
    assert_eq!(waits["AutomationExecutionIds"], json!([]));
    assert_eq!(waits["Summary"], format!("nothing is started yet: {full}: on demand"));
    assert_eq!(send(&account, &asked).await.unwrap()["Ready"], true);
    // Whoever asks by hand is told, and what cannot pass is refused.
    let mut by_hand = campaign()["Request"].clone();
    by_hand["Action"] = json!("Preflight");
    assert!(send(&Account::new().with_start_faults(&[Some(full)]), &by_hand).await.is_err());
    let refused = Account::new().with_start_faults(&[Some("AutomationDefinitionNotFoundException")]);
    assert!(send(&refused, &asked).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_wave_is_looked_at_less_often_as_it_goes_on() {
    let account = Account::new().with_run_of(Duration::from_hours(1));
    for (looks, seconds) in [(json!({}), 60), (json!({"Looks": 29}), 60), (json!({"Looks": 60}), 240)] {
        let step = with(first(&campaign(), "ring-1"), looks);
        assert_eq!(send(&account, &step).await.unwrap()["RetryAfterSeconds"], seconds);
    }
    // But when a calendar opens, which may be for a short time.
    let gated = with(campaign(), json!({"Gate": {"Calendars": ["freeze"]}}));
    for (opens_in, seconds) in [(None, 3_600), (Some(1_200), 1_200), (Some(9_000), 3_600), (Some(0), 60)] {
        let account = opens_in.map_or_else(Account::new, |seconds| Account::new().with_opening_in(seconds));
        account.set_calendar("freeze", false);
        let step = with(first(&gated, "ring-1"), json!({"Looks": 1_000}));
        assert_eq!(send(&account, &step).await.unwrap()["RetryAfterSeconds"], seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_each_wave_keeps_refuses_no_campaign() {
    let accounts: Vec<String> = (0..600).map(|n| format!("{n:012}")).collect();
    let request = json!({"DocumentName": "Patch", "TargetLocations": [{"Accounts": accounts, "Regions": ["us-east-1"],
        "TargetLocationMaxConcurrency": "10", "TargetLocationMaxErrors": "100%"}]});
    let rings =
        json!([{"Name": "canary", "Percent": 5}, {"Name": "half", "Percent": 50}, {"Name": "all", "Percent": 100}]);
    let campaign = json!({"Name": "c", "Preflight": true, "Request": request, "Waves": rings});
    let account = Account::new();
    assert_eq!(send(&account, &plan(campaign.clone())).await.unwrap()["Waves"].as_array().unwrap().len(), 3);
    let asked = json!({"Action": "Preflight", "Campaign": campaign});
    assert_eq!(send(&account, &asked).await.unwrap()["Ready"], true);
    let at_once = with(campaign, json!({"Waves": [{"Name": "all", "Percent": 100}]}));
    let error = send(&account, &plan(at_once)).await.unwrap_err().to_string();
    let words = "Waves[0].Request.TargetLocations[0].TargetLocationMaxConcurrency: 10 cannot be shared out over the 12";
    assert!(error.contains(words), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_this_run_started_is_not_resumed_in_it() {
    let account = Account::new().with_end(A, "us-east-1", ("Failed", NO_ROLE));
    let campaign = with(campaign(), json!({"Resume": true}));
    assert_eq!(run(&account, &campaign).await["State"], "Stopped");
    assert_eq!(account.started().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_runs_that_resume_at_once_share_one_resumption() {
    let account = Account::new().with_end(B, "us-east-1", ("Failed", NO_ROLE));
    run(&account, &campaign()).await;
    let account = account.with_end(B, "us-east-1", ("Success", ""));
    let go_on = with(campaign(), json!({"Resume": true, "From": "ring-2"}));
    let late = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        run(&account, &go_on).await
    };
    let (one, other, late) = tokio::join!(run(&account, &go_on), run(&account, &go_on), late);
    for answer in [one, other, late] {
        assert_eq!((&answer["State"], &answer["Succeeded"]), (&json!("Passed"), &json!(2)), "{answer:#}");
    }
    assert_eq!(account.started().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_resumption_that_is_throttled_is_tried_again_later() {
    let account = Account::new().with_end(B, "us-east-1", ("Failed", NO_ROLE));
    run(&account, &campaign()).await;
    let account = account
        .with_end(B, "us-east-1", ("Success", ""))
        .with_start_faults(&[Some("AutomationExecutionLimitExceededException")]);
    let go_on = with(campaign(), json!({"Resume": true, "From": "ring-2"}));
    let answer = run(&account, &go_on).await;
    assert_eq!((&answer["State"], &answer["Succeeded"]), (&json!("Passed"), &json!(2)), "{answer:#}");
    assert_eq!(account.started().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_steps_of_a_wave_are_read_once_it_has_ended() {
    let account = Account::new().with_run_of(Duration::from_secs(500));
    let begun = send(&account, &first(&wide(), "all")).await.unwrap();
    let again = wave(&wide(), "all", &json!([]), &begun["AutomationExecutionIds"]);
    send(&account, &again).await.unwrap();
    assert!(account.times(&Call::Describe).is_empty());
    tokio::time::sleep(Duration::from_mins(10)).await;
    let ended = send(&account, &again).await.unwrap();
    assert_eq!((&ended["State"], &ended["Succeeded"]), (&json!("Passed"), &json!(101)));
    assert_eq!(account.times(&Call::Describe).len(), 2, "100 steps");
}

#[tokio::test(start_paused = true)]
async fn what_a_campaign_hears_fits_into_its_state_machine() {
    let accounts: Vec<String> = (0..40).map(|number| format!("{number:012}")).collect();
    let mut account = Account::new();
    for (index, id) in accounts.iter().enumerate() {
        let action = if index < 15 { 0 } else { index };
        let denied = format!("User: x is not authorized to perform: ssm:Action{action} on resource: y");
        account = account.with_end(id, "us-east-1", ("Failed", denied.leak()));
    }
    let request = json!({"DocumentName": "Patch", "TargetLocations": [{
        "Accounts": accounts, "Regions": ["us-east-1"], "TargetLocationMaxErrors": "100%",
        "TargetLocationMaxConcurrency": "9"}]});
    let campaign =
        json!({"Name": "c", "Preflight": true, "Request": request, "Waves": [{"Name": "all", "Percent": 100}]});
    let asked = json!({"Action": "Preflight", "Campaign": campaign});
    let told = send(&account, &asked).await.unwrap();
    let look = json!({"AutomationExecutionIds": told["AutomationExecutionIds"]});
    let again = send(&account, &with(asked, look.clone())).await.unwrap();
    let ended = run(&account, &campaign).await;
    // Twenty causes with five accounts each, of any number of Regions, are far below the 256 KB of a state.
    for groups in [&told["Problems"], &again["Problems"], &ended["Failures"]] {
        assert_eq!(groups.as_array().unwrap().len(), 20);
        assert_eq!((&groups[0]["Count"], &groups[0]["AccountsOmitted"]), (&json!(15), &json!(10)));
        assert_eq!(groups[0]["Accounts"].as_object().unwrap().len(), 5);
    }
    let by_hand = send(&account, &with(json!({"Action": "Preflight"}), look)).await.unwrap();
    assert_eq!(by_hand["Problems"].as_array().unwrap().len(), 26, "whoever asks by hand hears all");
}

#[tokio::test(start_paused = true)]
async fn a_wave_that_the_campaign_does_not_have_is_refused() {
    let error = send(&Account::new(), &first(&campaign(), "ring-9")).await.unwrap_err();
    let words = "Wave: expected the name of a wave, got \"ring-9\"; the waves are ring-1, ring-2";
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_gate_sees_a_failure_beside_a_success_in_the_same_place() {
    let nodes: Vec<String> = (0..60).map(|n| format!("mi-{n:017x}")).collect();
    let request = json!({"DocumentName": "Patch", "TargetParameterName": "InstanceId",
        "Targets": [{"Key": "ParameterValues", "Values": nodes}],
        "TargetLocations": [{"Accounts": [A], "Regions": ["us-east-1"], "TargetLocationMaxErrors": "100%"}]});
    let campaign = json!({"Name": "c", "Request": request, "Waves": [{"Name": "all", "Accounts": [A]}]});
    let account = Account::new().with_end_for(&nodes[59], ("Failed", "no"));
    let answer = run(&account, &campaign).await;
    assert_eq!(
        (&answer["State"], &answer["Locations"], &answer["Succeeded"]),
        (&json!("Stopped"), &json!(2), &json!(1))
    );
    // It is put right by its own resumption.
    let account = account.with_end_for(&nodes[59], ("Success", ""));
    let answer = run(&account, &with(campaign, json!({"Resume": true}))).await;
    assert_eq!(
        (&answer["State"], &answer["Locations"], &answer["Succeeded"]),
        (&json!("Passed"), &json!(2), &json!(2))
    );
    assert_eq!(account.started().len(), 3);

    let location = |value: &str| json!({"Accounts": [A], "Regions": ["us-east-1"], "Targets": [{"Key": "tag:Env", "Values": [value]}]});
    let request = json!({"DocumentName": "Patch", "TargetParameterName": "InstanceId",
                         "TargetLocations": [location("x"), location("y")]});
    let campaign = json!({"Name": "c", "Request": request, "Waves": [{"Name": "all", "Accounts": [A]}]});
    for account in [Account::new(), Account::new().with_bare_steps()] {
        let answer = run(&account.with_end_for("x", ("Failed", "no")), &campaign).await;
        let expected = (&json!("Stopped"), &json!(2), &json!(1));
        assert_eq!((&answer["State"], &answer["Locations"], &answer["Succeeded"]), expected);
    }
    // Where none did well it does not matter which is which.
    let (no, well) = (("Failed", "no"), ("Success", ""));
    let account = Account::new().with_bare_steps().with_end_for("x", no).with_end_for("y", no);
    assert_eq!(run(&account, &campaign).await["Succeeded"], 0);
    let account = account.with_end_for("x", well).with_end_for("y", well);
    let answer = run(&account, &with(campaign, json!({"Resume": true}))).await;
    let expected = (&json!("Passed"), &json!(2), &json!(2));
    assert_eq!((&answer["State"], &answer["Locations"], &answer["Succeeded"]), expected);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_the_request_leaves_out_is_in_no_wave_and_is_not_missed() {
    let mut campaign = campaign();
    campaign["Request"]["TargetLocations"][0]["ExcludeAccounts"] = json!([C]);
    let error = send(&Account::new(), &plan(campaign.clone())).await.unwrap_err().to_string();
    assert!(error.contains("Waves[1].Accounts[1]: expected one of the request's, got 333333333333"), "{error}");
    campaign["Waves"] = json!([{"Name": "all", "Percent": 100}]);
    let account = Account::new().with_end(B, "us-east-1", ("Failed", NO_ROLE));
    let stopped = run(&account, &campaign).await;
    assert_eq!((&stopped["State"], &stopped["Locations"]), (&json!("Stopped"), &json!(2)), "{stopped:#}");
    run(&account, &with(campaign, json!({"Resume": true}))).await;
    let accounts: Vec<Vec<String>> =
        account.started().iter().map(|request| request.target_locations[0].accounts.clone()).collect();
    assert_eq!(accounts, [vec![A.to_owned(), B.to_owned()], vec![B.to_owned()]]);
}

#[tokio::test(start_paused = true)]
async fn calendars_that_cannot_be_read_are_no_mistake_of_the_callers() {
    let gated = with(campaign(), json!({"Gate": {"Calendars": ["freeze"]}}));
    for (code, waits) in [("ThrottlingException", true), ("AccessDeniedException", false)] {
        let account = Account::new().with_calendar_fault(code);
        let error = send(&account, &plan(gated.clone())).await.unwrap_err();
        assert_eq!(error.error_type(), "CalendarsNotRead", "{error}");
        let answer = send(&account, &first(&gated, "ring-1")).await;
        match answer {
            Ok(answer) if waits => assert_eq!(answer["State"], "Waiting"),
            Err(error) if !waits => assert_eq!(error.error_type(), "CalendarsNotRead"),
            other => panic!("{code}: {other:?}"),
        }
        assert!(account.started().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_waves_may_share_through_units_is_said() {
    let location = |account: &str| json!({"Accounts": [account], "Regions": ["us-east-1"]});
    let campaign = json!({"Name": "c", "Request": {"DocumentName": "Patch",
            "TargetLocations": [location("ou-ab12-cdefghij"), location(A)]},
        "Waves": [{"Name": "canary", "Accounts": [A]}, {"Name": "rest", "OrganizationalUnits": ["ou-ab12-cdefghij"]}]});
    let answer = send(&Account::new(), &plan(campaign)).await.unwrap();
    let notes = answer["Notes"].to_string();
    assert!(notes.contains("an account that both reach in us-east-1 is started twice in this campaign"), "{notes}");
}
