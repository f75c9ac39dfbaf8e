//! What automation-fanout tells of its runs: every cause of trouble, runs of any size and length, and stops.

use std::collections::BTreeMap;
use std::time::Duration;

use local_aws::{Outcome, Script, Unbegun};
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, HOME_REGION, SECOND_REGION, World};

use crate::fanout::{executions, fan_out_well, final_status, matrix, only_id, refusal, restart, start, status, with};

const HOUR: Duration = Duration::from_hours(1);
const WELL: Outcome = Outcome::Success { resources: 1 };

/// Accounts that all do the same thing, and so need no role.
fn scripted(world: &World, count: usize, script: impl Into<Script>) -> Vec<String> {
    let script = script.into();
    let accounts: Vec<String> = (0..count).map(|number| format!("{:012}", 500_000_000_000 + number)).collect();
    for account in &accounts {
        world.aws.automation().script(account, "*", script);
    }
    accounts
}

fn counts(execution: &Value) -> BTreeMap<&str, u64> {
    let counts = execution["Counts"].as_object().unwrap().iter();
    counts.map(|(status, count)| (status.as_str(), count.as_u64().unwrap())).collect()
}

#[tokio::test]
async fn every_cause_of_trouble_is_told() {
    let world = World::deployed_for_fanout(&[]).await.unwrap();
    let expected = [
        (Outcome::ExecutionRoleMissing, "Failed", "execution-role", "unable to be assumed", false),
        (Outcome::AccessDenied, "Failed", "access-denied", "not authorized to perform", true),
        (Outcome::DocumentMissing, "Failed", "runbook", "does not exist", false),
        (Outcome::Throttled, "Failed", "throttled", "Rate exceeded", false),
        (Outcome::RegionDisabled, "Failed", "region-disabled", "UnrecognizedClientException", false),
        (Outcome::NoTargets, "Failed", "no-targets", "No targets", true),
        (Outcome::TargetFailure { resources: 3, failed: 1 }, "Failed", "target-failed", "1 of 3", true),
        (Outcome::TimedOut, "TimedOut", "timed-out", "timed out", true),
        (Outcome::Success { resources: 0 }, "Success", "no-targets", "No targets", true),
        (WELL, "Success", "", "", true),
    ];
    let accounts = scripted(&world, expected.len(), WELL);
    for (account, (outcome, ..)) in accounts.iter().zip(expected) {
        world.aws.automation().script(account, "*", outcome);
    }
    let location = json!({
        "Accounts": accounts, "Regions": [HOME_REGION],
        "TargetLocationMaxConcurrency": "100%", "TargetLocationMaxErrors": "100%"
    });
    let id = start(&world, &restart(&location)).await;
    let execution = final_status(&world, &id).await;
    for (location, (outcome, status, cause, message, has_child)) in
        execution["Locations"].as_array().unwrap().iter().zip(expected)
    {
        let text = |name: &str| location[name].as_str().unwrap_or_default();
        assert_eq!((text("Status"), text("Cause")), (status, cause), "{outcome:?}: {location}");
        assert!(text("Message").contains(message), "{outcome:?}: {location}");
        assert_eq!(location["ChildExecutionId"].is_string(), has_child, "{outcome:?}: {location}");
    }
    assert_eq!(execution["Locations"].as_array().unwrap().len(), expected.len());
    assert_eq!(counts(&execution), [("Failed", 7), ("Success", 2), ("TimedOut", 1)].into());
    assert_eq!(execution["Causes"]["no-targets"], 2, "{execution}");
    assert_eq!(execution["Warnings"], json!(["1 location ended well with nothing targeted"]));
}

#[tokio::test]
async fn a_run_is_stopped_at_once_or_after_what_has_begun() {
    let world = World::deployed_for_fanout(&[]).await.unwrap();
    let accounts = scripted(&world, 3, Script::taking(WELL, HOUR));
    let stopped = async |kind: Value| {
        // The most tags, beside which the mark of a stop has to fit.
        let tags: Vec<Value> = ["a", "b", "c"].map(|key| json!({"Key": key, "Value": ""})).to_vec();
        let location = json!({"Accounts": accounts, "Regions": [HOME_REGION]});
        let id = start(&world, &with(restart(&location), json!({"Tags": tags}))).await;
        let answer = status(&world, &id).await;
        assert_eq!(answer["Terminal"], false, "{answer}");
        assert_eq!(counts(&answer["Executions"][0]), [("InProgress", 1), ("Pending", 2)].into());
        let resume = json!({"Action": "Resume", "AutomationExecutionId": id});
        let (kind_of_refusal, message) = refusal(&world, &resume).await;
        assert_eq!(kind_of_refusal, "NothingStarted");
        assert!(message.contains("StillRunning"), "{message}");

        let stop = with(json!({"Action": "Stop", "AutomationExecutionId": id}), kind);
        let answer = fan_out_well(&world, &stop).await;
        assert_eq!(
            (&answer["Executions"][0]["Outcome"], &answer["Complete"]),
            (&json!("stop-requested"), &json!(true)),
            "{answer}"
        );
        let execution = final_status(&world, &id).await;
        let answer = fan_out_well(&world, &stop).await;
        assert_eq!(answer["Executions"][0]["Outcome"], "already-ended", "{answer}");
        let one_more = json!({"ResourceType": "Automation", "ResourceId": id, "Tags": [{"Key": "d", "Value": ""}]});
        let refused = world.central().json("ssm", "AddTagsToResource", &one_more).await.unwrap_err();
        assert_eq!(refused.code, "TooManyTagsError");
        execution
    };
    let execution = stopped(json!({})).await;
    assert_eq!(execution["Status"], "Cancelled", "{execution}");
    assert!(matrix(&execution).iter().all(|[_, _, status, cause]| (*status, *cause) == ("Cancelled", "cancelled")));
    assert_eq!(execution["Causes"], json!({"cancelled": 3}));
    let execution = stopped(json!({"Type": "Complete"})).await;
    assert_eq!(counts(&execution), [("Cancelled", 2), ("Success", 1)].into());
}

#[tokio::test]
async fn a_run_of_any_size_and_length_is_shown_in_full() {
    let world = World::deployed_for_fanout(&[AGENCY_A, AGENCY_B]).await.unwrap();
    let regions = [HOME_REGION, SECOND_REGION];

    // More accounts than a location takes, and more steps than come with an execution.
    let accounts = scripted(&world, 65, WELL);
    let location = json!({"Accounts": accounts, "Regions": regions, "TargetLocationMaxConcurrency": "20"});
    let id = start(&world, &restart(&location)).await;
    let parts = executions(&world)[0]["TargetLocations"].clone();
    let sizes: Vec<usize> =
        parts.as_array().unwrap().iter().map(|part| part["Accounts"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [32, 33], "{parts}");
    let before = world.aws.calls().snapshot();
    let execution = final_status(&world, &id).await;
    let calls = world.aws.calls().snapshot().since(&before);
    assert_eq!(calls.of("ssm:DescribeAutomationStepExecutions").total(), 3, "130 steps");
    let expected: Vec<[&str; 4]> =
        accounts.iter().flat_map(|account| regions.map(|region| [account.as_str(), region, "Success", ""])).collect();
    assert_eq!(matrix(&execution), expected);

    // A run that outlives the wait, and one that does not.
    world.aws.automation().set_duration(HOUR);
    let agencies = json!({"Accounts": [AGENCY_A, AGENCY_B], "Regions": regions, "TargetLocationMaxConcurrency": "4"});
    let answer = fan_out_well(&world, &with(restart(&agencies), json!({"WaitSeconds": 1}))).await;
    assert_eq!(answer["Status"]["Terminal"], false, "{answer}");
    assert_eq!(counts(&answer["Status"]["Executions"][0]), [("InProgress", 4)].into());
    assert_eq!(final_status(&world, &only_id(&answer)).await["Status"], "Success");
    world.aws.automation().set_duration(Duration::from_millis(500));
    let answer = fan_out_well(&world, &with(restart(&agencies), json!({"WaitSeconds": 60}))).await;
    assert_eq!(answer["Status"]["Terminal"], true, "{answer}");
    assert_eq!(counts(&answer["Status"]["Executions"][0]), [("Success", 4)].into());
}

#[tokio::test]
async fn what_a_failed_run_never_came_to_is_shown_and_resumed() {
    let world = World::deployed_for_fanout(&[]).await.unwrap();
    let regions = [HOME_REGION, SECOND_REGION];
    let location = |accounts: &[String]| {
        json!({
            "Accounts": accounts, "Regions": regions,
            "TargetLocationMaxConcurrency": "10", "TargetLocationMaxErrors": "3"
        })
    };
    for (unbegun, word) in
        [(Unbegun::Cancelled, "Cancelled"), (Unbegun::Pending, "NotStarted"), (Unbegun::Absent, "NotStarted")]
    {
        world.aws.automation().set_unbegun(unbegun);
        let accounts = scripted(&world, 30, WELL);
        for account in &accounts[..2] {
            world.aws.automation().script(account, "*", Outcome::AccessDenied);
        }
        let id = start(&world, &restart(&location(&accounts))).await;
        let execution = final_status(&world, &id).await;
        assert_eq!(execution["Status"], "Failed", "{unbegun:?}");
        assert_eq!(counts(&execution), [("Failed", 4), ("Success", 6), (word, 50)].into(), "{unbegun:?}");
        assert_eq!(matrix(&execution).len(), 60, "{unbegun:?}");

        scripted(&world, 30, WELL);
        let answer = fan_out_well(&world, &json!({"Action": "Resume", "AutomationExecutionId": id})).await;
        assert_eq!(answer["Executions"][0]["AccountRegionPairs"], 54, "{unbegun:?}: {answer}");
        let resumed = executions(&world).pop().unwrap();
        let left: Vec<&String> = accounts[..2].iter().chain(&accounts[5..]).collect();
        assert_eq!(resumed["TargetLocations"][0]["Accounts"], json!(left), "{unbegun:?}");
        let execution = final_status(&world, &only_id(&answer)).await;
        assert_eq!(counts(&execution), [("Success", 54)].into(), "{unbegun:?}");
    }
}
