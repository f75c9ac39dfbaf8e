//! `Campaign` and `Wave`: the steps that the state machine asks for.

use std::time::Duration;

use serde_json::{Value, json};

use crate::account::Account;
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

/// The time of the account in memory when it begins, in seconds since then.
fn since(seconds: i64) -> String {
    hub::Timestamp::from_unix_seconds(1_795_312_800 + seconds).to_string()
}

fn wave(campaign: &Value, name: &str, since: &str, executions: &Value) -> Value {
    json!({"Action": "Wave", "Campaign": campaign, "Wave": name, "Since": since, "AutomationExecutionIds": executions})
}

/// Brings a wave to its end, as the state machine does.
async fn run(account: &Account, campaign: &Value, name: &str, since: &str) -> Value {
    let mut executions = json!([]);
    for _ in 0..50 {
        let answer = send(account, &wave(campaign, name, since, &executions)).await.unwrap();
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
    let account = Account::new();
    let campaign = campaign();
    let first = send(&account, &wave(&campaign, "ring-1", &since(0), &json!([]))).await.unwrap();
    assert_eq!(first["State"], "Running", "{first:#}");
    // The answer was lost, and the service has forgotten every token.
    account.forget_tokens();
    let again = send_with(&account, 900, "request-2", &wave(&campaign, "ring-1", &since(0), &json!([]))).await.unwrap();
    assert_eq!(again["AutomationExecutionIds"], first["AutomationExecutionIds"]);
    assert_eq!(account.started().len(), 1);
    // Another campaign of the same name is refused.
    let mut other = campaign.clone();
    other["Request"]["Parameters"] = json!({"Operation": ["Install"]});
    let error = send(&account, &wave(&other, "ring-1", &since(0), &json!([]))).await.unwrap_err();
    assert!(error.to_string().contains("another request was started as patch-11/ring-1 before"), "{error}");
    assert_eq!(account.started().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wave_waits_for_the_calendar() {
    let account = Account::new();
    account.set_calendar("freeze", false);
    let campaign = with(campaign(), json!({"Gate": {"Calendars": ["freeze"]}}));
    let answer = send(&account, &wave(&campaign, "ring-1", &since(0), &json!([]))).await.unwrap();
    assert_eq!((&answer["State"], &answer["Reason"]), (&json!("Waiting"), &json!("a Change Calendar is closed")));
    assert!(account.started().is_empty());
    account.set_calendar("freeze", true);
    let answer = run(&account, &campaign, "ring-1", &since(0)).await;
    assert_eq!((&answer["State"], &answer["Succeeded"]), (&json!("Passed"), &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn a_campaign_stops_at_the_gate_and_goes_on_from_there() {
    let account = Account::new().with_end(B, "us-east-1", ("Failed", NO_ROLE));
    let campaign = campaign();
    assert_eq!(run(&account, &campaign, "ring-1", &since(0)).await["State"], "Passed");
    let stopped = run(&account, &campaign, "ring-2", &since(0)).await;
    assert_eq!((&stopped["State"], &stopped["FailedPercent"]), (&json!("Stopped"), &json!(50.0)), "{stopped:#}");
    assert_eq!(stopped["Failures"][0]["Cause"], "execution-role");
    assert_eq!(account.started().len(), 2);

    // Without a word nothing is started again, however often it is run.
    assert_eq!(run(&account, &campaign, "ring-2", &since(10_000)).await["State"], "Stopped");
    assert_eq!(account.started().len(), 2);

    // It still fails: resumed once in this run, and not again and again.
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    let go_on = with(campaign, json!({"Resume": true, "From": "ring-2"}));
    assert_eq!(run(&account, &go_on, "ring-2", &since(1_000)).await["State"], "Stopped");
    assert_eq!(account.started().len(), 3);

    // What was wrong is put right.
    let account = account.with_end(B, "us-east-1", ("Success", ""));
    tokio::time::sleep(Duration::from_secs(10_000)).await;
    let passed = run(&account, &go_on, "ring-2", &since(10_000)).await;
    assert_eq!(
        (&passed["State"], &passed["Locations"], &passed["Succeeded"]),
        (&json!("Passed"), &json!(2), &json!(2))
    );
    let reached: Vec<String> = account
        .started()
        .iter()
        .skip(2)
        .flat_map(|request| request.target_locations.iter().flat_map(|location| location.accounts.clone()))
        .collect();
    assert_eq!(reached, [B.to_owned(), B.to_owned()], "what succeeded is left alone");
}
