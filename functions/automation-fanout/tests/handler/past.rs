//! `List` and `Signal`.

use serde_json::{Value, json};

use crate::account::{Account, step};
use crate::{A, ID, execution, fleet, send, send_with, small};

fn listed(answer: &Value) -> Vec<&str> {
    let executions = answer["Executions"].as_array().unwrap();
    executions.iter().map(|one| one["AutomationExecutionId"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn runs_are_found_again_by_their_key() {
    let account = Account::new();
    let first = send(&account, &fleet(3)).await.unwrap();
    send_with(&account, 900, "other", &small()).await.unwrap();
    let answer = send(&account, &json!({"Action": "List", "IdempotencyKey": "k"})).await.unwrap();
    let mut expected: Vec<&str> = first["Executions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["AutomationExecutionId"].as_str().unwrap())
        .collect();
    expected.reverse();
    assert_eq!((listed(&answer), &answer["Complete"]), (expected, &json!(true)));
    let all = send(&account, &json!({"Action": "List"})).await.unwrap();
    assert_eq!(listed(&all).len(), 4);
    let two = send(&account, &json!({"Action": "List", "MaxResults": 2})).await.unwrap();
    assert_eq!((listed(&two).len(), &two["Complete"]), (2, &json!(false)));
    let none = send(&account, &json!({"Action": "List", "IdempotencyKey": "nobody"})).await.unwrap();
    assert_eq!((listed(&none).len(), &none["Complete"]), (0, &json!(true)));
}

#[tokio::test(start_paused = true)]
async fn runs_are_found_again_by_outcome_and_instance() {
    let account = Account::new();
    let mut event = small();
    event["Parameters"] = json!({"InstanceId": ["i-0123456789abcdef0"]});
    let id = send(&account, &event).await.unwrap()["Executions"][0]["AutomationExecutionId"].clone();
    send_with(&account, 900, "other", &small()).await.unwrap();
    let touched = send(&account, &json!({"Action": "List", "InstanceId": "i-0123456789abcdef0"})).await.unwrap();
    assert_eq!(listed(&touched), [id.as_str().unwrap()]);
    assert_eq!(touched["Executions"][0]["Touched"], json!(["Parameters.InstanceId"]));
    let running = send(&account, &json!({"Action": "List", "Outcome": "Running"})).await.unwrap();
    assert_eq!(listed(&running).len(), 2);
    let failed = send(&account, &json!({"Action": "List", "Outcome": "Failed"})).await.unwrap();
    assert_eq!(listed(&failed).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_wrongly_is_refused_in_words() {
    let account = Account::new();
    for (event, expected) in [
        (
            json!({"Action": "List", "Outcome": "Bad"}),
            "Outcome: expected Running, Success, Failed, TimedOut or Cancelled",
        ),
        (json!({"Action": "List", "MaxResults": 0}), "MaxResults: expected a whole number from 1 to 200, got 0"),
        (json!({"Action": "List", "InstanceId": "web"}), "InstanceId: expected an instance id"),
        (json!({"Action": "List", "StartedAfter": "today"}), "StartedAfter: expected a time such as"),
        (
            json!({"Action": "List", "StartedAfter": "2026-11-22T02:00:00Z", "StartedBefore": "2026-11-21T02:00:00Z"}),
            "StartedBefore: expected a time after StartedAfter",
        ),
        (json!({"Action": "Signal", "AutomationExecutionId": ID}), "SignalType: expected Approve"),
        (
            json!({"Action": "Signal", "AutomationExecutionId": ID, "SignalType": "StartStep"}),
            "Payload.StepName: expected the step",
        ),
        (json!({"Action": "Signal", "SignalType": "Approve"}), "expected at least one execution id"),
    ] {
        let error = send(&account, &event).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{event}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_shown_and_answered() {
    let mut approve = step(A, "us-east-1", "Waiting", "");
    approve.action = "aws:approve".to_owned();
    let account = Account::new().with_execution(execution(ID, "InProgress", vec![approve]));
    let status = send(&account, &json!({"Action": "Status", "AutomationExecutionId": ID})).await.unwrap();
    assert_eq!(status["Executions"][0]["Waiting"][0]["Account"], A, "{status:#}");
    let signal = json!({"Action": "Signal", "AutomationExecutionId": ID, "SignalType": "Approve",
                        "Payload": {"Comment": ["well done"]}});
    let answer = send(&account, &signal).await.unwrap();
    assert_eq!(answer, json!({"Action": "Signal", "AutomationExecutionId": ID, "SignalType": "Approve"}));
    assert_eq!(account.signals()[0].payload["Comment"], ["well done"]);
    let unknown = json!({"Action": "Signal", "AutomationExecutionId": "a4a3c0e9-7efd-462a-8594-01234EXAMPLE",
                         "SignalType": "Reject"});
    assert_eq!(send(&account, &unknown).await.unwrap_err().error_type(), "InvalidRequest");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_cut_within_its_last_page_says_so() {
    let account = Account::new();
    send(&account, &small()).await.unwrap();
    send_with(&account, 900, "other", &small()).await.unwrap();
    let one = send(&account, &json!({"Action": "List", "MaxResults": 1})).await.unwrap();
    assert_eq!((listed(&one).len(), &one["Complete"]), (1, &json!(false)), "{one:#}");
    assert!(one["Notes"][0].as_str().unwrap().starts_with("there may be more than 1"), "{one:#}");
    let both = send(&account, &json!({"Action": "List", "MaxResults": 2})).await.unwrap();
    assert_eq!((listed(&both).len(), &both["Complete"]), (2, &json!(true)));
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_found_in_any_of_many_steps() {
    const INSTANCE: &str = "i-0123456789abcdef0";
    let mut steps: Vec<_> = (0..130).map(|n| step(&format!("{n:012}"), "us-east-1", "Success", "")).collect();
    let list = json!({"Action": "List", "InstanceId": INSTANCE});
    let of = |steps| Account::new().with_execution(execution(ID, "Success", steps));
    assert_eq!(listed(&send(&of(steps.clone()), &list).await.unwrap()).len(), 0);
    for index in [3, 70, 129] {
        steps[index].inputs.push(("InstanceIds".to_owned(), format!("[\"{INSTANCE}\"]")));
    }
    let answer = send(&of(steps), &list).await.unwrap();
    let name = |n: usize| format!("step {n:012}-us-east-1");
    assert_eq!(answer["Executions"][0]["Touched"], json!([name(3), name(70), name(129)]));
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_found_in_the_targets_of_a_location() {
    const INSTANCE: &str = "i-0123456789abcdef0";
    let target = |value: &str| json!([{"Key": "ParameterValues", "Values": [value]}]);
    let location = |value: &str| json!({"Accounts": [A], "Regions": ["us-east-1"], "Targets": target(value)});
    let event = json!({"DocumentName": "Patch", "TargetParameterName": "InstanceId",
                       "TargetLocations": [location("i-11111111111111111"), location(INSTANCE)]});
    let account = Account::new().with_bare_steps();
    send(&account, &event).await.unwrap();
    let maps = json!({"DocumentName": "Patch", "TargetParameterName": "InstanceId", "TargetMaps": [{"InstanceId": [INSTANCE]}]});
    send_with(&account, 900, "other", &maps).await.unwrap();
    let answer = send(&account, &json!({"Action": "List", "InstanceId": INSTANCE})).await.unwrap();
    let touched = |index: usize| &answer["Executions"][index]["Touched"];
    assert_eq!((touched(0), touched(1)), (&json!(["TargetMaps[0]"]), &json!(["TargetLocations[1].Targets"])));
}
