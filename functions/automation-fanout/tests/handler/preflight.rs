//! `Preflight`.

use serde_json::{Value, json};

use crate::account::Account;
use crate::{A, B, ID, NO_ROLE, execution, fleet, send, send_with, small};

#[tokio::test(start_paused = true)]
async fn a_preflight_tries_every_account_and_region_and_tells_what_is_missing() {
    let denied = "User: x is not authorized to perform: ssm:DescribeDocument on resource: y";
    let account = Account::new()
        .with_end(B, "us-east-1", ("Failed", NO_ROLE))
        .with_end(B, "us-west-2", ("Failed", NO_ROLE))
        .with_end(A, "us-west-2", ("Failed", denied));
    let mut event = small();
    event["Action"] = json!("Preflight");
    let answer = send(&account, &event).await.unwrap();
    assert_eq!((&answer["Ready"], &answer["Complete"]), (&json!(false), &json!(true)), "{answer:#}");
    assert_eq!(answer["Summary"], "not ready: 3 accounts and Regions did not answer well");
    let problems = answer["Problems"].as_array().unwrap();
    assert_eq!(problems[0]["Cause"], "execution-role");
    assert_eq!(problems[0]["Accounts"], json!({B: ["us-east-1", "us-west-2"]}));
    assert_eq!(
        (&problems[1]["Cause"], &problems[1]["Permission"]),
        (&json!("access-denied"), &json!("ssm:DescribeDocument"))
    );
    let started = account.started();
    assert_eq!(started.len(), 1);
    assert!(started[0].document_name.ends_with(":document/TagHub-Preflight"), "{}", started[0].document_name);
    assert_eq!(started[0].parameters["Runbook"], ["Patch"]);
    let location = serde_json::to_value(&started[0].target_locations[0]).unwrap();
    assert_eq!(location["TargetLocationMaxErrors"], "100%");
}

#[tokio::test(start_paused = true)]
async fn a_preflight_that_finds_nothing_is_ready_and_can_be_looked_at_again() {
    let account = Account::new();
    let mut event = small();
    event["Action"] = json!("Preflight");
    event["WaitSeconds"] = json!(5);
    event["Parameters"] = json!({"AutomationAssumeRole": ["arn:aws:iam::111111111111:role/Other"]});
    let answer = send(&account, &event).await.unwrap();
    assert_eq!((&answer["Ready"], &answer["Complete"]), (&json!(false), &json!(false)), "{answer:#}");
    let notes = answer["Notes"].to_string();
    assert!(notes.contains("AWS would refuse the start with arn:aws:iam::111111111111:role/Other"), "{notes}");
    let look =
        json!({"Action": "Preflight", "AutomationExecutionIds": answer["AutomationExecutionIds"], "WaitSeconds": 60});
    let answer = send(&account, &look).await.unwrap();
    assert_eq!(
        (&answer["Ready"], &answer["Summary"]),
        (&json!(true), &json!("ready: every account and Region answered"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_preflight_that_came_nowhere_says_why() {
    let mut failed = execution(ID, "Failed", vec![]);
    failed.failure_message = Some("The accounts of ou-ab12-cdefghij can't be listed.".to_owned());
    failed.request.target_locations.clear();
    failed.request.document_name = "arn:aws:ssm:us-east-1:111111111111:document/TagHub-Preflight".to_owned();
    let account = Account::new().with_execution(failed);
    let answer = send(&account, &json!({"Action": "Preflight", "AutomationExecutionId": ID})).await.unwrap();
    assert_eq!((&answer["Ready"], &answer["Problems"][0]["Cause"]), (&json!(false), &json!("organizational-unit")));
}

#[tokio::test(start_paused = true)]
async fn what_has_more_steps_than_can_be_read_comes_to_an_end() {
    // An invocation reads twenty pages in seven seconds.
    let account = |document: &str| {
        let mut ended = execution(ID, "Success", vec![]);
        ended.request.document_name = document.to_owned();
        Account::new().with_execution(ended).with_pages_of(5_100)
    };
    let look = json!({"Action": "Preflight", "AutomationExecutionId": ID});
    let answer = send_with(&account("TagHub-Preflight"), 17, "request-1", &look).await.unwrap();
    assert_eq!((&answer["Ready"], &answer["Complete"]), (&json!(false), &json!(true)));
    let words = "not ready: it has more steps than one invocation can read; try fewer accounts and Regions at once";
    assert_eq!(answer["Summary"], words);
    // With fewer, another look may read them all.
    let answer = send_with(&account("TagHub-Preflight").with_pages_of(50), 17, "request-1", &look).await.unwrap();
    assert_eq!((&answer["Ready"], &answer["Complete"]), (&json!(false), &json!(false)));

    let campaign = json!({"Name": "c", "Waves": [{"Name": "all", "Percent": 100}],
        "Request": {"DocumentName": "Patch", "TargetLocations": [{"Accounts": [A], "Regions": ["us-east-1"]}]}});
    let wave = json!({"Action": "Wave", "Campaign": campaign, "Wave": "all", "AutomationExecutionIds": [ID]});
    let answer = send_with(&account("Patch"), 17, "request-1", &wave).await.unwrap();
    assert_eq!(answer["State"], "Stopped");
    assert!(answer["Reason"].as_str().unwrap().starts_with("it has more steps than one invocation can read"));
}

#[tokio::test(start_paused = true)]
async fn a_preflight_needs_its_runbook_and_locations() {
    let account = Account::new().with_start_faults(&[Some("AutomationDefinitionNotFoundException")]);
    let mut event = small();
    event["Action"] = json!("Preflight");
    let error = send(&account, &event).await.unwrap_err();
    assert!(error.to_string().contains("deploy cfn/preflight-runbook.yaml"), "{error}");
    let event = json!({"Action": "Preflight", "DocumentName": "Patch"});
    let error = send(&Account::new(), &event).await.unwrap_err();
    assert!(error.to_string().contains("TargetLocations: expected locations"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_preflight_that_was_started_in_part_is_never_ready() {
    let account = Account::new().with_start_faults(&[None, Some("AutomationExecutionLimitExceededException")]);
    let mut event = fleet(3);
    event["Action"] = json!("Preflight");
    event["WaitSeconds"] = json!(1);
    let begun = send(&account, &event).await.unwrap();
    assert_eq!(begun["Failed"].as_array().unwrap().len(), 1, "{begun:#}");
    let look = |ids: &Value| json!({"Action": "Preflight", "AutomationExecutionIds": ids, "WaitSeconds": 600});
    let ids = begun["AutomationExecutionIds"].clone();
    let again = send(&account, &look(&ids)).await.unwrap();
    assert_eq!((&again["Ready"], &again["Complete"]), (&json!(false), &json!(true)), "{again:#}");
    assert_eq!(again["Summary"], "not ready: not all of it was started");
    assert_eq!(
        again["Failed"],
        json!([{"Code": "NotStarted", "Message": "start 2 of 3 of the preflight did not go through, or is not named"}])
    );
    // Nor is one of which not all is named.
    let account = Account::new();
    let whole = send(&account, &event).await.unwrap()["AutomationExecutionIds"].clone();
    assert_eq!(send(&account, &look(&whole)).await.unwrap()["Ready"], true);
    assert_eq!(send(&account, &look(&json!([whole[0], whole[1]]))).await.unwrap()["Ready"], false);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_preflight_is_refused() {
    let account = Account::new();
    let id = send(&account, &small()).await.unwrap()["Executions"][0]["AutomationExecutionId"].clone();
    let look = json!({"Action": "Preflight", "AutomationExecutionIds": [id], "WaitSeconds": 100});
    let error = send(&account, &look).await.unwrap_err().to_string();
    let words = "AutomationExecutionIds[0]: expected an execution of TagHub-Preflight, got";
    assert!(error.contains(words) && error.ends_with("which is one of Patch"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_preflight_tries_each_account_and_region_once_whatever_is_done_there() {
    let location = |accounts: &[&str], value: &str| json!({"Accounts": accounts, "Regions": ["us-east-1"], "Targets": [{"Key": "tag:Env", "Values": [value]}]});
    let mut event = json!({"Action": "Preview", "DocumentName": "Patch", "TargetParameterName": "InstanceId",
        "TargetLocations": [location(&[A, B], "x"), location(&[B, "333333333333"], "y"), location(&[A, B], "z")]});
    let account = Account::new();
    send(&account, &event).await.unwrap();
    event["Action"] = json!("Preflight");
    let answer = send(&account, &event).await.unwrap();
    assert_eq!(answer["Ready"], true, "{answer:#}");
    let started = account.started();
    let tried: Vec<&str> =
        started[0].target_locations.iter().flat_map(|location| &location.accounts).map(String::as_str).collect();
    assert_eq!(tried, [A, B, "333333333333"]);
}

#[tokio::test(start_paused = true)]
async fn a_preflight_that_came_to_no_account_is_not_ready() {
    let account = Account::new();
    let mut event = small();
    event["Action"] = json!("Preflight");
    event["TargetLocations"][0]["Accounts"] = json!(["ou-ab12-cdefghij"]);
    let account = account.with_empty_units();
    let answer = send(&account, &event).await.unwrap();
    assert_eq!((&answer["Ready"], &answer["Complete"]), (&json!(false), &json!(true)), "{answer:#}");
}
