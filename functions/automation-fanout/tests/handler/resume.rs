//! `Resume`.

use std::time::Duration;

use automation_fanout::plan::execution::Execution;
use serde_json::{Value, json};

use crate::account::{Account, step};
use crate::{A, B, ID, ID_2, NO_ROLE, codes, execution, ids, sample, send, send_with, small};

fn half_failed() -> Execution {
    let steps = vec![
        step(A, "us-east-1", "Success", ""),
        step(A, "us-west-2", "Success", ""),
        step(B, "us-east-1", "Failed", NO_ROLE),
        step(B, "us-west-2", "Cancelled", ""),
    ];
    execution(ID, "Failed", steps)
}

#[tokio::test(start_paused = true)]
async fn a_resumption_starts_only_what_failed() {
    let account = Account::new().with_execution(half_failed());
    let answer = send(&account, &sample("resume")).await.unwrap();
    insta::assert_json_snapshot!(answer, @r###"
    {
      "Action": "Resume",
      "Complete": true,
      "IdempotencyKey": "after the role was fixed",
      "Executions": [
        {
          "AutomationExecutionId": "00000000-0000-4000-8000-000000000001",
          "ClientToken": "0bbfc4a0-c539-5244-8641-45a1f100c91d",
          "TargetLocations": 1,
          "AccountRegionPairs": 2,
          "Resumes": "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE"
        }
      ],
      "Failed": [],
      "Notes": [
        "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE: Parameters.AutomationAssumeRole is added: arn:aws:iam::111111111111:role/AWS-SystemsManager-AutomationAdministrationRole"
      ]
    }
    "###);
    let mut started = serde_json::to_value(account.started()).unwrap();
    let tags = started[0]["Tags"].as_array_mut().unwrap();
    assert_eq!(tags.pop().unwrap()["Key"], "tag-hub:request");
    insta::assert_json_snapshot!(started, @r###"
    [
      {
        "DocumentName": "Patch",
        "DocumentVersion": "7",
        "Parameters": {
          "AutomationAssumeRole": [
            "arn:aws:iam::111111111111:role/AWS-SystemsManager-AutomationAdministrationRole"
          ]
        },
        "ClientToken": "0bbfc4a0-c539-5244-8641-45a1f100c91d",
        "TargetLocations": [
          {
            "Accounts": [
              "222222222222"
            ],
            "Regions": [
              "us-east-1",
              "us-west-2"
            ],
            "TargetLocationMaxConcurrency": "1",
            "TargetLocationMaxErrors": "0",
            "ExecutionRoleName": "Execution"
          }
        ],
        "Tags": [
          {
            "Key": "Campaign",
            "Value": "2026-11"
          },
          {
            "Key": "tag-hub:resumes",
            "Value": "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE"
          }
        ]
      }
    ]
    "###);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_resumption_starts_nothing_twice() {
    let account = Account::new().with_execution(half_failed());
    let event = json!({"Action": "Resume", "AutomationExecutionId": ID});
    let first = send(&account, &event).await.unwrap();
    let second = send_with(&account, 900, "request-2", &event).await.unwrap();
    assert_eq!((&first, account.started().len()), (&second, 1), "not even without a key");
    let mut by_key = event.clone();
    by_key["IdempotencyKey"] = first["IdempotencyKey"].clone();
    assert_eq!(ids(&send(&account, &by_key).await.unwrap()), ids(&first));
    by_key["IdempotencyKey"] = json!("once more");
    assert_ne!(ids(&send(&account, &by_key).await.unwrap()), ids(&first));
}

#[tokio::test(start_paused = true)]
async fn an_execution_is_resumed_once_however_late_somebody_asks_again() {
    let account = Account::new().with_execution(half_failed()).with_memory(Duration::from_mins(1), Duration::ZERO);
    let event = json!({"Action": "Resume", "AutomationExecutionId": ID});
    let first = send(&account, &event).await.unwrap();
    // The service has forgotten the token.
    tokio::time::sleep(Duration::from_hours(24)).await;
    let second = send_with(&account, 900, "request-2", &event).await.unwrap();
    assert_eq!((&first, account.started().len()), (&second, 1));
    let mut other = event.clone();
    other["TargetLocationMaxErrors"] = json!("100%");
    let error = send_with(&account, 900, "request-3", &other).await.unwrap_err();
    assert!(error.to_string().contains("another request was started under this key before, as 00000000"), "{error}");
    assert_eq!(account.started().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_still_runs_is_not_resumed() {
    let account = Account::new()
        .with_execution(execution(ID_2, "InProgress", vec![step(A, "us-east-1", "Failed", NO_ROLE)]))
        .with_execution(half_failed());
    let one = json!({"Action": "Resume", "AutomationExecutionId": ID_2});
    let error = send(&account, &one).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "nothing was started: StillRunning: the execution is still InProgress; wait until it has ended, or stop it"
    );
    assert_eq!(error.error_type(), "NothingStarted");
    let both = json!({"Action": "Resume", "AutomationExecutionIds": [ID_2, ID]});
    let answer = send(&account, &both).await.unwrap();
    assert_eq!((answer["Complete"].clone(), ids(&answer).len()), (json!(false), 1));
    assert_eq!(answer["Failed"][0]["AutomationExecutionId"], ID_2);
    assert_eq!(account.started().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_left_is_no_failure() {
    let all = [(A, "us-east-1"), (A, "us-west-2"), (B, "us-east-1"), (B, "us-west-2")];
    let steps = all.map(|(account, region)| step(account, region, "Success", "")).to_vec();
    let account = Account::new().with_execution(execution(ID, "Success", steps));
    let answer = send(&account, &json!({"Action": "Resume", "AutomationExecutionId": ID})).await.unwrap();
    assert_eq!((answer["Complete"].clone(), ids(&answer).len()), (json!(true), 0));
    assert_eq!(answer["Notes"], json!([format!("{ID}: every location succeeded")]));
    assert_eq!(account.started().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_failed_in_a_real_run_is_resumed_and_followed() {
    let account =
        Account::new().with_end(B, "us-east-1", ("Failed", NO_ROLE)).with_end(A, "us-west-2", ("TimedOut", ""));
    let mut event = small();
    event["WaitSeconds"] = json!(120);
    let first = send(&account, &event).await.unwrap();
    let resume = json!({"Action": "Resume", "AutomationExecutionIds": ids(&first), "WaitSeconds": 120});
    let second = send(&account, &resume).await.unwrap();
    assert_eq!(second["Status"]["Executions"][0]["Counts"], json!({"Failed": 1, "TimedOut": 1}));
    assert_eq!(second["Executions"][0]["Resumes"], ids(&first)[0]);
    let resumed = account.started().pop().unwrap();
    let reached: Vec<_> = resumed.target_locations.iter().map(|l| (l.accounts.clone(), l.regions.clone())).collect();
    let pair = |account: &str, region: &str| (vec![account.to_owned()], vec![region.to_owned()]);
    assert_eq!(reached, [pair(B, "us-east-1"), pair(A, "us-west-2")]);
}

#[tokio::test(start_paused = true)]
async fn wide_executions_are_resumed_from_all_their_steps() {
    let account = Account::new().with_end("000000000119", "us-east-1", ("Failed", NO_ROLE));
    let accounts: Vec<String> = (0..120).map(|n| format!("{n:012}")).collect();
    let event = json!({"DocumentName": "Patch", "WaitSeconds": 120,
                       "TargetLocations": [{"Accounts": accounts, "Regions": ["us-east-1"]}]});
    let first = send(&account, &event).await.unwrap();
    let answer = send(&account, &json!({"Action": "Resume", "AutomationExecutionIds": ids(&first)})).await.unwrap();
    assert_eq!(answer["Executions"][0]["AccountRegionPairs"], 1);
    assert_eq!(account.started().pop().unwrap().target_locations[0].accounts, ["000000000119"]);
}

fn resume(ids: &[&str], key: &str) -> Value {
    json!({"Action": "Resume", "AutomationExecutionIds": ids, "IdempotencyKey": key})
}

#[tokio::test(start_paused = true)]
async fn an_execution_and_its_resumption_are_not_both_resumed() {
    let account = Account::new().with_end(B, "us-east-1", ("Failed", NO_ROLE));
    let mut event = small();
    event["WaitSeconds"] = json!(120);
    let first = send(&account, &event).await.unwrap();
    let first = ids(&first)[0].to_owned();
    let mut again = resume(&[&first], "one");
    again["WaitSeconds"] = json!(120);
    let one = ids(&send(&account, &again).await.unwrap())[0].to_owned();
    for list in [[&first, &one], [&one, &first]] {
        let answer = send(&account, &resume(&list.map(String::as_str), "two")).await.unwrap();
        assert_eq!((&answer["Complete"], ids(&answer).len()), (&json!(false), 1), "{answer:#}");
        assert_eq!((&answer["Executions"][0]["Resumes"], account.started().len()), (&json!(one), 3));
        assert_eq!(
            (&answer["Failed"][0]["AutomationExecutionId"], codes(&answer["Failed"])),
            (&json!(first), vec!["NotResumable"])
        );
        let message = answer["Failed"][0]["Message"].as_str().unwrap();
        assert!(message.contains("which is resumed under this key, go back to the same execution"), "{message}");
    }
    // Nor one after the other.
    let error = send(&account, &resume(&[&first], "two")).await.unwrap_err().to_string();
    assert!(error.contains("go back to the same execution"), "{error}");
    assert_eq!(account.started().len(), 3);
    // Nor are two resumptions of one execution.
    again = resume(&[&first], "other");
    again["WaitSeconds"] = json!(120);
    let other = ids(&send(&account, &again).await.unwrap())[0].to_owned();
    let answer = send(&account, &resume(&[&one, &other], "three")).await.unwrap();
    assert_eq!((ids(&answer).len(), codes(&answer["Failed"])), (1, vec!["NotResumable"]), "{answer:#}");
}

#[tokio::test(start_paused = true)]
async fn an_id_in_two_spellings_is_one_execution() {
    let account = Account::new().with_execution(half_failed());
    let spelled = [ID.to_owned(), ID.to_ascii_uppercase()];
    let both = send(&account, &json!({"Action": "Resume", "AutomationExecutionIds": spelled})).await.unwrap();
    assert_eq!(ids(&both).len(), 1);
    let upper = json!({"Action": "Resume", "AutomationExecutionId": spelled[1]});
    let again = send_with(&account, 900, "request-2", &upper).await.unwrap();
    assert_eq!((ids(&again), account.started().len()), (ids(&both), 1));
    assert_eq!(again["Executions"][0]["Resumes"], ID);
}

#[tokio::test(start_paused = true)]
async fn what_was_left_out_stays_so_in_a_resumption() {
    let account = Account::new().with_end(B, "us-east-1", ("Failed", NO_ROLE));
    let mut event = small();
    event["TargetLocations"][0]["ExcludeAccounts"] = json!([A]);
    event["WaitSeconds"] = json!(120);
    let first = send(&account, &event).await.unwrap();
    assert_eq!(first["Executions"][0]["AccountRegionPairs"], 2);
    assert_eq!(first["Status"]["Executions"][0]["Counts"], json!({"Failed": 1, "Success": 1}));
    send(&account, &json!({"Action": "Resume", "AutomationExecutionIds": ids(&first)})).await.unwrap();
    let resumed = account.started().pop().unwrap();
    assert_eq!((resumed.target_locations.len(), &resumed.target_locations[0].accounts), (1, &vec![B.to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn of_two_locations_in_one_place_none_is_resumed_by_guess() {
    let location = |role: &str, value: &str| {
        json!({"Accounts": [A], "Regions": ["us-east-1"], "ExecutionRoleName": role,
               "Targets": [{"Key": "tag:Env", "Values": [value]}]})
    };
    let event = json!({"DocumentName": "Patch", "TargetParameterName": "InstanceId", "WaitSeconds": 120,
                       "TargetLocations": [location("One", "x"), location("Two", "y")]});
    let account = Account::new().with_end_for("y", ("Failed", NO_ROLE));
    let first = send(&account, &event).await.unwrap();
    send(&account, &json!({"Action": "Resume", "AutomationExecutionIds": ids(&first)})).await.unwrap();
    let resumed = account.started().pop().unwrap();
    assert_eq!(resumed.target_locations.len(), 1);
    assert_eq!(resumed.target_locations[0].execution_role_name.as_deref(), Some("Two"));

    let account = Account::new().with_end_for("y", ("Failed", NO_ROLE)).with_bare_steps();
    let first = send(&account, &event).await.unwrap();
    let error = send(&account, &json!({"Action": "Resume", "AutomationExecutionIds": ids(&first)})).await.unwrap_err();
    assert!(
        error.to_string().contains("NotResumable: 111111111111 in us-east-1 is in TargetLocations[0] and"),
        "{error}"
    );
    assert_eq!(account.started().len(), 1);
}
