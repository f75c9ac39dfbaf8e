//! Organizational units: which accounts they hold is known to the service alone.

use automation_fanout::plan::execution::{Execution, Progress, Step};
use automation_fanout::plan::request::TargetLocation;
use serde_json::{Value, json};

use crate::account::{Account, step};
use crate::{A, B, ID, NO_ROLE, codes, execution, ids, send};

const UNIT: &str = "ou-ab12-cdefghij";

#[expect(clippy::unnecessary_wraps, reason = "beside what is not counted")]
fn counted(total: i32, success: i32) -> Option<Progress> {
    Some(Progress { total, success, ..Progress::default() })
}

/// An execution over a unit that ended, as the service counts it.
fn over_unit(status: &str, progress: Option<Progress>, steps: Vec<Step>) -> Execution {
    let mut execution = execution(ID, status, steps);
    let location = TargetLocation {
        accounts: vec![UNIT.to_owned()],
        regions: vec!["us-east-1".to_owned()],
        ..TargetLocation::default()
    };
    execution.request.target_locations = vec![location];
    Execution { progress, ..execution }
}

/// How a wave over the unit stands, of which so many of a hundred may fail.
async fn judged(percent: u8, execution: Execution) -> Value {
    let request = json!({"DocumentName": "Patch", "TargetLocations": [{"Accounts": [UNIT], "Regions": ["us-east-1"]}]});
    let campaign = json!({"Name": "c", "Request": request, "Gate": {"MaxFailedPercent": percent},
                          "Waves": [{"Name": "all", "OrganizationalUnits": [UNIT]}]});
    let wave = json!({"Action": "Wave", "Campaign": campaign, "Wave": "all", "AutomationExecutionIds": [ID]});
    send(&Account::new().with_execution(execution), &wave).await.unwrap()
}

fn well(count: usize) -> Vec<Step> {
    (0..count).map(|n| step(&format!("{n:012}"), "us-east-1", "Success", "")).collect()
}

fn one_failed(count: usize) -> Vec<Step> {
    let mut steps = well(count - 1);
    steps.push(step(A, "us-east-1", "Failed", NO_ROLE));
    steps
}

#[tokio::test(start_paused = true)]
async fn the_gate_counts_what_was_never_begun_in_a_unit() {
    for (percent, status, progress, steps, expected) in [
        (0, "Cancelled", counted(50, 1), well(1), ("Stopped", 50, 1)),
        // The limit of the execution itself kept it from what it had not begun.
        (10, "Failed", counted(100, 9), one_failed(10), ("Stopped", 100, 9)),
        (91, "Failed", counted(100, 9), one_failed(10), ("Passed", 100, 9)),
        (10, "Failed", counted(10, 9), one_failed(10), ("Passed", 10, 9)),
        (0, "Success", counted(10, 10), well(10), ("Passed", 10, 10)),
        (0, "Success", counted(12, 10), well(10), ("Stopped", 12, 10)),
        // The service counts a success that no step shows.
        (0, "Success", counted(12, 12), well(10), ("Passed", 10, 10)),
        // Where nothing is counted, nobody knows.
        (99, "TimedOut", None, well(1), ("Stopped", 1, 1)),
        (99, "Failed", None, one_failed(10), ("Stopped", 10, 9)),
        (100, "Failed", None, one_failed(10), ("Passed", 10, 9)),
        (0, "Success", None, well(10), ("Passed", 10, 10)),
        // What came nowhere passes no gate.
        (100, "Failed", counted(7, 0), vec![], ("Stopped", 7, 0)),
        (100, "Failed", None, vec![], ("Stopped", 1, 0)),
    ] {
        let answer = judged(percent, over_unit(status, progress, steps)).await;
        let got = (
            answer["State"].as_str().unwrap(),
            answer["Locations"].as_u64().unwrap(),
            answer["Succeeded"].as_u64().unwrap(),
        );
        assert_eq!(got, expected, "{percent} {status} {progress:?}: {answer:#}");
    }
    let answer = judged(99, over_unit("TimedOut", None, well(1))).await;
    let words = "1 of 1 locations succeeded, and how many accounts of its units were never begun is not known";
    assert_eq!(answer["Reason"], words);
    let answer = judged(100, over_unit("Failed", None, vec![])).await;
    assert_eq!(answer["Reason"], "it failed before it reached any account, which no MaxFailedPercent allows");
    let answer = judged(10, over_unit("Failed", counted(100, 9), one_failed(10))).await;
    let group = &answer["Failures"][1];
    assert_eq!((&group["Status"], &group["Count"]), (&json!("NotStarted"), &json!(90)), "{answer:#}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_over_a_unit_ends_the_wave_whatever_succeeded() {
    let answer = judged(100, over_unit("Cancelled", counted(3, 3), well(3))).await;
    assert_eq!(
        (&answer["State"], &answer["Reason"]),
        (&json!("Stopped"), &json!(format!("its execution {ID} was stopped")))
    );
    // Where all accounts are named, all of them succeeded.
    let mut named = over_unit("Cancelled", None, vec![step(A, "us-east-1", "Success", "")]);
    named.request.target_locations[0].accounts = vec![A.to_owned()];
    assert_eq!(judged(0, named).await["State"], "Passed");
}

#[tokio::test(start_paused = true)]
async fn a_status_counts_what_was_never_begun_in_a_unit() {
    let status = json!({"Action": "Status", "AutomationExecutionId": ID});
    let account = Account::new().with_execution(over_unit("Failed", counted(100, 9), one_failed(10)));
    let answer = send(&account, &status).await.unwrap();
    let one = &answer["Executions"][0];
    assert_eq!(one["Counts"], json!({"Failed": 1, "NotStarted": 90, "Success": 9}));
    assert_eq!((one["Locations"].as_array().unwrap().len(), &one["LocationsOmitted"]), (10, &Value::Null));
    let group = json!({"Status": "NotStarted", "Count": 90, "Accounts": {},
                       "Message": "counted by the service, which does not name them all"});
    assert_eq!(one["Failures"][1], group);
    assert!(
        answer["Summary"].as_str().unwrap().contains("100 locations: 1 Failed, 90 NotStarted, 9 Success"),
        "{answer:#}"
    );

    let account = Account::new().with_execution(over_unit("InProgress", counted(100, 9), well(9)));
    assert_eq!(send(&account, &status).await.unwrap()["Executions"][0]["Counts"], json!({"Pending": 91, "Success": 9}));
    let account = Account::new().with_execution(over_unit("Failed", None, one_failed(10)));
    let warnings = json!(["how many accounts of its units or file it never came to is not known"]);
    assert_eq!(send(&account, &status).await.unwrap()["Executions"][0]["Warnings"], warnings);
}

#[tokio::test(start_paused = true)]
async fn a_resumption_says_what_of_a_unit_it_leaves_behind() {
    let resume = json!({"Action": "Resume", "AutomationExecutionId": ID});
    let account = Account::new().with_execution(over_unit("Failed", counted(100, 9), one_failed(10)));
    for _ in 0..2 {
        let answer = send(&account, &resume).await.unwrap();
        assert_eq!((&answer["Complete"], ids(&answer).len()), (&json!(false), 1), "{answer:#}");
        assert_eq!(
            (codes(&answer["Failed"]), &answer["Failed"][0]["AutomationExecutionId"]),
            (vec!["NotResumable"], &json!(ID))
        );
        let message = answer["Failed"][0]["Message"].as_str().unwrap();
        assert!(
            message.starts_with("90 accounts and Regions of its units or file never began and cannot be"),
            "{message}"
        );
        assert_eq!(account.started().len(), 1);
    }
    assert_eq!(account.started()[0].target_locations[0].accounts, [A]);
    for progress in [counted(50, 1), None] {
        let account = Account::new().with_execution(over_unit("Cancelled", progress, well(1)));
        let error = send(&account, &resume).await.unwrap_err().to_string();
        assert!(error.starts_with("nothing was started: NotResumable: ") && error.contains("never began"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_preflight_tries_every_reach_of_a_unit() {
    let location = |value: &str, more: Value| {
        let target = json!([{"Key": "tag:Env", "Values": [value]}]);
        let mut location = json!({"Accounts": [UNIT], "Regions": ["us-east-1"], "Targets": target});
        location.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        location
    };
    let plain = || json!({});
    let (without_a, without_b) = (json!({"ExcludeAccounts": [A]}), json!({"ExcludeAccounts": [B]}));
    let with_children = json!({"IncludeChildOrganizationUnits": true});
    for (one, other, expected) in [
        (plain(), plain(), 1),
        (without_a.clone(), without_a.clone(), 1),
        (without_a.clone(), plain(), 2),
        (plain(), without_a.clone(), 2),
        (without_a, without_b.clone(), 2),
        (plain(), with_children.clone(), 2),
        (without_b, with_children, 2),
    ] {
        let account = Account::new();
        let event = json!({"Action": "Preflight", "DocumentName": "Patch", "TargetParameterName": "InstanceId",
                           "TargetLocations": [location("x", one), location("y", other)]});
        send(&account, &event).await.unwrap();
        assert_eq!(account.started()[0].target_locations.len(), expected, "{event:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_root_above_a_unit_is_refused_whichever_comes_first() {
    let unit = json!({"Accounts": [UNIT], "Regions": ["us-east-1"]});
    // It may also hold an account that the other names, which is not certain.
    let root = json!({"Accounts": ["r-ab12", A], "Regions": ["us-east-1"], "IncludeChildOrganizationUnits": true});
    for locations in [[&unit, &root], [&root, &unit]] {
        for event in [
            json!({"DocumentName": "Patch", "TargetLocations": locations}),
            json!({"Action": "Campaign", "Name": "c", "Waves": [{"Name": "all", "Regions": ["us-east-1"]}],
                   "Request": {"DocumentName": "Patch", "TargetLocations": locations}}),
        ] {
            let account = Account::new();
            let error = send(&account, &event).await.map(|answer| answer.to_string()).unwrap_err().to_string();
            assert!(error.contains("expected accounts that are in no other unit, got ou-ab12-cdefghij"), "{error}");
            assert!(account.started().is_empty());
        }
    }
}
