//! `Status`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::account::{Account, Call, step};
use crate::{A, B, ID, ID_2, NO_ROLE, execution, send, send_with};

fn status(ids: &[&str]) -> Value {
    json!({"Action": "Status", "AutomationExecutionIds": ids})
}

#[tokio::test(start_paused = true)]
async fn a_status_is_the_matrix_of_accounts_and_regions() {
    let steps = vec![
        step(B, "us-east-1", "Failed", NO_ROLE),
        step(A, "us-west-2", "InProgress", ""),
        step(A, "us-east-1", "Success", ""),
    ];
    let account = Account::new().with_execution(execution(ID, "InProgress", steps));
    let answer = send(&account, &status(&[ID])).await.unwrap();
    insta::assert_json_snapshot!(answer, @r###"
    {
      "Action": "Status",
      "Terminal": false,
      "Summary": "1 execution: 1 InProgress; 4 locations: 1 Failed, 1 InProgress, 1 Pending, 1 Success (causes: 1 execution-role)",
      "Executions": [
        {
          "AutomationExecutionId": "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE",
          "Status": "InProgress",
          "Terminal": false,
          "DocumentName": "Patch",
          "DocumentVersion": "7",
          "Failures": [
            {
              "Cause": "execution-role",
              "Status": "Failed",
              "Count": 1,
              "Message": "The execution role arn:aws:iam::222222222222:role/AWS-SystemsManager-AutomationExecutionRole in the target location is unable to be assumed.",
              "Accounts": {
                "222222222222": [
                  "us-east-1"
                ]
              }
            }
          ],
          "Counts": {
            "Failed": 1,
            "InProgress": 1,
            "Pending": 1,
            "Success": 1
          },
          "Causes": {
            "execution-role": 1
          },
          "Locations": [
            {
              "Account": "111111111111",
              "Region": "us-east-1",
              "Status": "Success",
              "ChildExecutionId": "child-of-111111111111-us-east-1"
            },
            {
              "Account": "111111111111",
              "Region": "us-west-2",
              "Status": "InProgress",
              "ChildExecutionId": "child-of-111111111111-us-west-2"
            },
            {
              "Account": "222222222222",
              "Region": "us-east-1",
              "Status": "Failed",
              "ChildExecutionId": "child-of-222222222222-us-east-1",
              "Cause": "execution-role",
              "Message": "The execution role arn:aws:iam::222222222222:role/AWS-SystemsManager-AutomationExecutionRole in the target location is unable to be assumed."
            },
            {
              "Account": "222222222222",
              "Region": "us-west-2",
              "Status": "Pending"
            }
          ]
        }
      ]
    }
    "###);
    assert_eq!(account.call_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_cause_is_told() {
    let rows = [
        ("Failed", NO_ROLE, "execution-role"),
        ("Failed", "User: x is not authorized to perform: ec2:StopInstances", "access-denied"),
        ("Failed", "AutomationDefinitionNotFoundException: Patch", "runbook"),
        ("Failed", "Rate exceeded (Error Code: ThrottlingException)", "throttled"),
        ("Failed", "No targets were found for the specified target key and values", "no-targets"),
        ("Failed", "1 of 3 targets failed", "target-failed"),
        ("TimedOut", "", "timed-out"),
        ("Cancelled", "", "cancelled"),
        ("Canceled", "", "cancelled"),
    ];
    let steps = rows
        .iter()
        .enumerate()
        .map(|(n, (status, message, _))| step(&format!("{n:012}"), "us-east-1", status, message));
    let mut failed = execution(ID, "Failed", steps.collect());
    failed.request.target_locations.clear();
    let account = Account::new().with_execution(failed);
    let answer = send(&account, &status(&[ID])).await.unwrap();
    let locations = answer["Executions"][0]["Locations"].as_array().unwrap();
    let causes: Vec<&str> = locations.iter().map(|location| location["Cause"].as_str().unwrap()).collect();
    assert_eq!(causes, rows.map(|(_, _, cause)| cause));
    assert_eq!(answer["Terminal"], true);
}

#[tokio::test(start_paused = true)]
async fn truncated_steps_are_read_page_by_page() {
    let pairs = (0..130).map(|n| step(&format!("{n:012}"), "us-east-1", "Success", ""));
    let mut wide = execution(ID, "Success", pairs.collect());
    wide.request.target_locations.clear();
    let account = Account::new().with_execution(wide);
    let answer = send(&account, &status(&[ID])).await.unwrap();
    let locations = answer["Executions"][0]["Locations"].as_array().unwrap();
    assert_eq!((locations.len(), answer["Executions"][0]["Counts"]["Success"].clone()), (130, json!(130)));
    assert_eq!(account.times(&Call::Get).len(), 1);
    let times: Vec<u64> = account.times(&Call::Describe).iter().map(|at| at / 10).collect();
    assert_eq!(times, [0, 33, 66], "three a second");
}

#[tokio::test(start_paused = true)]
async fn steps_that_could_not_all_be_read_are_told() {
    let pairs = (0..1_000).map(|n| step(&format!("{n:012}"), "us-east-1", "Success", ""));
    let account = Account::new().with_execution(execution(ID, "InProgress", pairs.collect()));
    // Nine seconds until nothing further is begun: 27 pages would do, and each takes a second.
    let account = account.with_latency(Duration::from_secs(1));
    let answer = send_with(&account, 20, "request-1", &status(&[ID])).await.unwrap();
    let one = &answer["Executions"][0];
    assert_eq!(one["Error"]["Code"], "DeadlineExceeded");
    assert_eq!(one["Counts"], json!({"Success": 450}), "what was not read is not called pending");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_status_is_shown_and_waited_for() {
    let odd = execution(ID, "SomethingNew", vec![step(A, "us-east-1", "AlsoNew", "")]);
    let account = Account::new().with_execution(odd);
    let answer = send(&account, &status(&[ID])).await.unwrap();
    assert_eq!(
        (answer["Terminal"].clone(), answer["Executions"][0]["Status"].clone()),
        (json!(false), json!("SomethingNew"))
    );
    assert_eq!(answer["Executions"][0]["Locations"][0]["Status"], "AlsoNew");
}

#[tokio::test(start_paused = true)]
async fn one_unknown_execution_does_not_spoil_the_others() {
    let done = vec![step(A, "us-east-1", "Success", "")];
    let account = Account::new().with_execution(execution(ID, "Success", done));
    let answer = send(&account, &status(&[ID_2, ID])).await.unwrap();
    assert_eq!(answer["Executions"][0]["Error"]["Code"], "AutomationExecutionNotFoundException");
    assert_eq!(answer["Executions"][1]["Status"], "Success");
    assert_eq!(answer["Terminal"], true);

    let error = send(&account, &status(&[ID_2])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the request is refused: AutomationExecutionIds[0]: expected an execution that Systems Manager knows in this \
             account and Region, got \"{ID_2}\""
        )
    );
    assert_eq!(error.error_type(), "InvalidRequest");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_cannot_be_read_at_all_is_an_error() {
    let account = Account::new().with_read_fault("AccessDeniedException");
    let error = send(&account, &status(&[ID, ID_2])).await.unwrap_err();
    assert_eq!(error.error_type(), "NothingRead");
    assert_eq!(error.to_string(), "no execution could be read: AccessDeniedException: on demand");
}

#[tokio::test(start_paused = true)]
async fn what_the_service_says_is_cut_before_it_is_told() {
    let account = Account::new().with_read_fault("AccessDeniedException").with_words(&"x".repeat(100_000));
    let error = send(&account, &status(&[ID, ID_2])).await.unwrap_err();
    let diagnostic = lambda_runtime::Diagnostic::from(error);
    assert_eq!(diagnostic.error_type, "NothingRead");
    assert!(diagnostic.error_message.len() < 5_000, "{}", diagnostic.error_message.len());
}

#[tokio::test(start_paused = true)]
async fn success_with_nothing_targeted_is_a_warning() {
    let mut empty = execution(ID, "Success", vec![]);
    empty.request.target_locations[0].accounts = vec!["ou-1a2b3c-4d5e6c".to_owned()];
    let account = Account::new().with_execution(empty);
    let answer = send(&account, &status(&[ID])).await.unwrap();
    assert_eq!(
        answer["Executions"][0]["Warnings"],
        json!(["ended well without running anywhere: nothing was targeted"])
    );
    assert_eq!(answer["Summary"], "1 execution: 1 Success; 0 locations; 1 warning");
}
