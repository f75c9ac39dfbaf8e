//! Automation without `MiniStack`: what a start does over accounts and Regions, by AWS's own model.

use std::time::Duration;

use crate::support::{AGENCY, CENTRAL, REGION, python};
use local_aws::{AwsError, Client, LocalAws, Options, Outcome, Script, Unbegun};
use serde_json::{Value, json};

const OTHER: &str = "333333333333";

fn start() -> LocalAws {
    let aws = LocalAws::start(Options { ministack: false, ..Options::new(python()) }).unwrap();
    aws.automation().set_duration(Duration::from_mins(1));
    aws
}

/// A restart of what is tagged, over these accounts and one Region, one after the other.
fn restart(accounts: &[&str]) -> Value {
    json!({
        "DocumentName": "AWS-RestartEC2Instance",
        "Parameters": {"AutomationAssumeRole": [format!("arn:aws:iam::{CENTRAL}:role/AWS-SystemsManager-AutomationAdministrationRole")]},
        "TargetParameterName": "InstanceId",
        "Targets": [{"Key": "tag:Env", "Values": ["PROD"]}],
        "TargetLocations": [{"Accounts": accounts, "Regions": [REGION]}]
    })
}

async fn begin(client: &Client, body: &Value) -> Result<String, AwsError> {
    let answer = client.json("ssm", "StartAutomationExecution", body).await?;
    Ok(answer["AutomationExecutionId"].as_str().unwrap().to_owned())
}

async fn get(client: &Client, id: &str) -> Value {
    let answer = client.json("ssm", "GetAutomationExecution", &json!({"AutomationExecutionId": id})).await.unwrap();
    answer["AutomationExecution"].clone()
}

fn statuses(execution: &Value) -> Vec<&str> {
    execution["StepExecutions"].as_array().unwrap().iter().map(|step| step["StepStatus"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn one_account_after_the_other_until_one_fails_and_again_where_it_did() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    aws.automation().script(OTHER, REGION, Outcome::ExecutionRoleMissing);
    let mut body = restart(&[AGENCY, OTHER, "444444444444"]);
    let id = begin(&central, &body).await.unwrap();

    let running = get(&central, &id).await;
    assert_eq!(running["AutomationExecutionStatus"], "InProgress");
    assert_eq!(statuses(&running), ["InProgress", "Pending", "Pending"]);
    aws.automation().advance(Duration::from_mins(3));

    let ended = get(&central, &id).await;
    assert_eq!(ended["AutomationExecutionStatus"], "Failed");
    assert_eq!(statuses(&ended), ["Success", "Failed", "Cancelled"]);
    let counters =
        json!({"TotalSteps": 3, "SuccessSteps": 1, "FailedSteps": 1, "CancelledSteps": 1, "TimedOutSteps": 0});
    assert_eq!(ended["ProgressCounters"], counters);
    let failed = &ended["StepExecutions"][1];
    assert!(failed["FailureMessage"].as_str().unwrap().contains("in the target location is unable to be assumed"));
    assert_eq!(failed["TargetLocation"]["Accounts"], json!([OTHER]));
    assert_eq!(failed["Outputs"], json!({}), "no child was created");

    // The role is there now; the rest is started again.
    aws.automation().clear_scripts();
    body["TargetLocations"][0]["Accounts"] = json!([OTHER, "444444444444"]);
    let again = begin(&central, &body).await.unwrap();
    aws.automation().advance(Duration::from_mins(3));
    assert_eq!(get(&central, &again).await["AutomationExecutionStatus"], "Success");
    assert_eq!(aws.automation().executions(CENTRAL, REGION).len(), 2);
}

#[tokio::test]
async fn a_child_is_read_where_it_ran_and_nowhere_else() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    aws.automation().script(AGENCY, "*", Outcome::TargetFailure { resources: 3, failed: 1 });
    let id = begin(&central, &restart(&[AGENCY])).await.unwrap();
    aws.automation().advance(Duration::from_mins(2));
    let parent = get(&central, &id).await;
    let child = parent["StepExecutions"][0]["Outputs"]["ExecutionId"][0].as_str().unwrap();

    let agency = aws.client(AGENCY, REGION);
    let seen = get(&agency, child).await;
    assert_eq!(seen["ParentAutomationExecutionId"], id.as_str());
    assert_eq!(statuses(&seen), ["Failed", "Success", "Success"]);
    let role = format!("arn:aws:iam::{AGENCY}:role/AWS-SystemsManager-AutomationExecutionRole");
    assert_eq!(seen["Parameters"]["AutomationAssumeRole"], json!([role]));
    assert_eq!(seen["ResolvedTargets"]["ParameterValues"].as_array().unwrap().len(), 3);
    for client in [&central, &agency.clone().in_region("eu-west-1")] {
        let body = json!({"AutomationExecutionId": child});
        let refused = client.json("ssm", "GetAutomationExecution", &body).await.unwrap_err();
        assert_eq!(refused.code, "AutomationExecutionNotFoundException");
    }

    let filters = json!({"Filters": [{"Key": "ParentExecutionId", "Values": [id]}]});
    let listed = agency.json("ssm", "DescribeAutomationExecutions", &filters).await.unwrap();
    assert_eq!(listed["AutomationExecutionMetadataList"][0]["AutomationExecutionId"], child);
    let listed = central.json("ssm", "DescribeAutomationExecutions", &json!({})).await.unwrap();
    let listed = listed["AutomationExecutionMetadataList"].as_array().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0]["AutomationType"], &listed[0]["AutomationExecutionStatus"]),
        (&json!("CrossAccount"), &json!("Failed"))
    );
}

#[tokio::test]
async fn listings_filter_and_page() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    let accounts: Vec<String> = (0..50).map(|n| format!("{:012}", 222_222_222_000_u64 + n)).collect();
    let mut body = restart(&[]);
    body["TargetLocations"] = json!([{"Accounts": accounts, "Regions": [REGION, "eu-west-1"],
        "TargetLocationMaxConcurrency": "100%", "TargetLocationMaxErrors": "100%"}]);
    body["Tags"] = json!([{"Key": "Wave", "Value": "1"}]);
    aws.automation().script(&accounts[3], "eu-west-1", Outcome::Throttled);
    let id = begin(&central, &body).await.unwrap();
    aws.automation().advance(Duration::from_mins(2));

    let seen = get(&central, &id).await;
    assert_eq!((statuses(&seen).len(), &seen["StepExecutionsTruncated"]), (50, &json!(true)));
    let mut names = Vec::new();
    let mut token = Value::Null;
    loop {
        let page = json!({"AutomationExecutionId": id, "MaxResults": 50, "NextToken": token, "ReverseOrder": true});
        let page = central.json("ssm", "DescribeAutomationStepExecutions", &page).await.unwrap();
        names.extend(page["StepExecutions"].as_array().unwrap().iter().map(|step| step["StepName"].to_string()));
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(names.len(), 100);
    assert!(names.is_sorted_by(|a, b| a.split('_').next() >= b.split('_').next()));

    let steps = async |key: &str, value: &str| {
        let body = json!({"AutomationExecutionId": id, "Filters": [{"Key": key, "Values": [value]}]});
        let answer = central.json("ssm", "DescribeAutomationStepExecutions", &body).await?;
        Ok::<_, AwsError>(answer["StepExecutions"].as_array().unwrap().clone())
    };
    let failed = steps("StepExecutionStatus", "Failed").await.unwrap();
    assert_eq!(failed.len(), 1);
    assert!(failed[0]["FailureMessage"].as_str().unwrap().contains("Rate exceeded"));
    let step_id = failed[0]["StepExecutionId"].as_str().unwrap();
    assert_eq!(steps("StepExecutionId", step_id).await.unwrap(), failed);
    assert_eq!(steps("StepName", failed[0]["StepName"].as_str().unwrap()).await.unwrap(), failed);
    assert_eq!(steps("Action", "aws:runCommand").await.unwrap().len(), 0);
    assert_eq!(steps("StepExecutionStatus", "Bad").await.unwrap_err().code, "InvalidFilterValue");

    let count = async |key: &str, value: &str| {
        let body = json!({"Filters": [{"Key": key, "Values": [value]}]});
        let answer = central.json("ssm", "DescribeAutomationExecutions", &body).await.unwrap();
        answer["AutomationExecutionMetadataList"].as_array().unwrap().len()
    };
    let rows = [
        ("ExecutionStatus", "Success", 1),
        ("ExecutionStatus", "Failed", 0),
        ("ExecutionId", id.as_str(), 1),
        ("DocumentNamePrefix", "AWS-Restart", 1),
        ("DocumentNamePrefix", "AWS-Stop", 0),
        ("StartTimeAfter", "2020-01-01T00:00:00Z", 1),
        ("StartTimeBefore", "2020-01-01T00:00:00Z", 0),
        ("AutomationType", "CrossAccount", 1),
        ("AutomationType", "Local", 0),
        ("TagKey", "Wave", 1),
        ("CurrentAction", "aws:executeAutomation", 0),
    ];
    for (key, value, expected) in rows {
        assert_eq!(count(key, value).await, expected, "{key} {value}");
    }
    let again = begin(&central, &body).await.unwrap();
    assert_ne!(again, id);
    let first = central.json("ssm", "DescribeAutomationExecutions", &json!({"MaxResults": 1})).await.unwrap();
    assert_eq!(first["AutomationExecutionMetadataList"][0]["AutomationExecutionId"], again.as_str());
    let next = json!({"MaxResults": 1, "NextToken": first["NextToken"]});
    let second = central.json("ssm", "DescribeAutomationExecutions", &next).await.unwrap();
    assert_eq!(second["AutomationExecutionMetadataList"][0]["AutomationExecutionId"], id.as_str());
    assert!(second["NextToken"].is_null());
    let bad = central.json("ssm", "DescribeAutomationExecutions", &json!({"NextToken": "x"})).await.unwrap_err();
    assert_eq!(bad.code, "InvalidNextToken");
}

#[tokio::test]
async fn stopping_cancels_and_only_once() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    let id = begin(&central, &restart(&[AGENCY, OTHER])).await.unwrap();
    let stop = async |body: Value| central.json("ssm", "StopAutomationExecution", &body).await;

    aws.automation().advance(Duration::from_secs(10));
    aws.automation().set_duration(Duration::from_secs(5));
    stop(json!({"AutomationExecutionId": id})).await.unwrap();
    let seen = get(&central, &id).await;
    assert_eq!(seen["AutomationExecutionStatus"], "Cancelling");
    assert_eq!(statuses(&seen), ["Cancelling", "Cancelled"]);
    aws.automation().advance(Duration::from_secs(10));
    let seen = get(&central, &id).await;
    assert_eq!(seen["AutomationExecutionStatus"], "Cancelled");
    assert_eq!(statuses(&seen), ["Cancelled", "Cancelled"]);
    let refused = stop(json!({"AutomationExecutionId": id})).await.unwrap_err();
    assert_eq!(refused.code, "InvalidAutomationStatusUpdateException");
    let refused = stop(json!({"AutomationExecutionId": "00000000-0000-4000-8000-000000000000"})).await.unwrap_err();
    assert_eq!(refused.code, "AutomationExecutionNotFoundException");

    let id = begin(&central, &restart(&[AGENCY, OTHER])).await.unwrap();
    stop(json!({"AutomationExecutionId": id, "Type": "Complete"})).await.unwrap();
    aws.automation().advance(Duration::from_secs(10));
    assert_eq!(statuses(&get(&central, &id).await), ["Success", "Cancelled"]);
}

#[tokio::test]
async fn a_client_token_starts_one_execution() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    let mut body = restart(&[AGENCY]);
    body["ClientToken"] = json!("6ba7b810-9dad-51d1-80b4-00c04fd430c8");
    let id = begin(&central, &body).await.unwrap();
    body["ClientToken"] = json!("6BA7B810-9DAD-51D1-80B4-00C04FD430C8");
    assert_eq!(begin(&central, &body).await.unwrap(), id);
    body["TargetLocations"][0]["Accounts"] = json!([OTHER]);
    assert_eq!(begin(&central, &body).await.unwrap_err().code, "IdempotentParameterMismatch");
    let elsewhere = aws.client(CENTRAL, "eu-west-1");
    assert_ne!(begin(&elsewhere, &body).await.unwrap(), id);
    assert_eq!(aws.automation().executions(CENTRAL, REGION).len(), 1);
}

#[tokio::test]
async fn what_is_refused_at_the_start() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    let check = async |member: &str, value: Value, expected: &str| {
        let mut body = restart(&[AGENCY]);
        body[member] = value;
        assert_eq!(begin(&central, &body).await.unwrap_err().code, expected, "{member}");
    };
    check("DocumentName", json!("AWS-RunPatchBaseline"), "AutomationDefinitionNotFoundException").await;
    check("DocumentName", json!("x"), "ValidationException").await;
    check("ClientToken", json!("not-a-uuid"), "ValidationException").await;
    check("MaxConcurrency", json!("0"), "ValidationException").await;
    let accounts: Vec<String> = (0..51).map(|n| format!("{n:012}")).collect();
    check("TargetLocations", json!([{"Accounts": accounts, "Regions": [REGION]}]), "ValidationException").await;
    let one = json!({"Key": "tag:Env", "Values": ["PROD"]});
    check("Targets", json!([one, one]), "ValidationException").await;

    aws.automation().register_document("TagHub-Patch", &["TagKey"]);
    let mut body = restart(&[AGENCY]);
    body["DocumentName"] = json!(format!("arn:aws:ssm:{REGION}:{CENTRAL}:document/TagHub-Patch"));
    assert_eq!(begin(&central, &body).await.unwrap_err().code, "InvalidAutomationExecutionParametersException");
    body["TargetParameterName"] = json!("TagKey");
    begin(&central, &body).await.unwrap();
}

#[tokio::test]
async fn organizational_units_are_resolved() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    aws.automation().register_ou("ou-ab12-parent00", &[AGENCY, "ou-ab12-child000"]);
    aws.automation().register_ou("ou-ab12-child000", &[OTHER, AGENCY]);
    let accounts = async |location: Value| {
        let mut body = restart(&[]);
        body["TargetLocations"] = json!([location]);
        let id = begin(&central, &body).await.unwrap();
        let steps = get(&central, &id).await["StepExecutions"].as_array().unwrap().clone();
        steps.iter().map(|step| step["TargetLocation"]["Accounts"][0].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let unit = |more: Value| {
        let mut location = json!({"Accounts": ["ou-ab12-parent00"], "Regions": [REGION]});
        location.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        location
    };
    assert_eq!(accounts(unit(json!({}))).await, [AGENCY]);
    assert_eq!(accounts(unit(json!({"IncludeChildOrganizationUnits": true}))).await, [AGENCY, OTHER]);
    let excluding = json!({"IncludeChildOrganizationUnits": true, "ExcludeAccounts": [AGENCY]});
    assert_eq!(accounts(unit(excluding)).await, [OTHER]);
    assert!(accounts(json!({"Accounts": ["ou-ab12-unknown0"], "Regions": [REGION]})).await.is_empty());
    let failed = aws.automation().executions(CENTRAL, REGION).pop().unwrap();
    assert_eq!(failed["AutomationExecutionStatus"], "Failed");
}

#[tokio::test]
async fn a_run_without_target_locations_is_its_own() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    aws.automation().script(CENTRAL, REGION, Script::taking(Outcome::AccessDenied, Duration::from_secs(1)));
    let mut body = restart(&[]);
    body.as_object_mut().unwrap().remove("TargetLocations");
    let id = begin(&central, &body).await.unwrap();
    aws.automation().advance(Duration::from_secs(2));
    let seen = get(&central, &id).await;
    assert_eq!(seen["AutomationExecutionStatus"], "Failed");
    assert!(seen["FailureMessage"].as_str().unwrap().contains("is not authorized to perform"), "{seen}");
    assert!(seen["ParentAutomationExecutionId"].is_null());
}

#[tokio::test]
async fn a_start_over_5000_accounts_and_30_regions_can_be_followed() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    let regions: Vec<String> = (0..30).map(|n| format!("eu-test-{n}")).collect();
    let locations: Vec<Value> = (0..100)
        .map(|location: u64| {
            let accounts: Vec<String> = (0..50).map(|n| format!("{:012}", 500_000_000_000 + location * 50 + n)).collect();
            json!({"Accounts": accounts, "Regions": regions, "TargetLocationMaxConcurrency": "50", "TargetLocationMaxErrors": "10"})
        })
        .collect();
    let mut body = restart(&[]);
    body["TargetLocations"] = json!(locations);
    let id = begin(&central, &body).await.unwrap();
    aws.automation().advance(Duration::from_mins(31));
    let seen = get(&central, &id).await;
    assert_eq!(seen["ProgressCounters"]["SuccessSteps"], 150_000);
    let child = seen["StepExecutions"][49]["Outputs"]["ExecutionId"][0].as_str().unwrap();
    let there = aws.client(seen["StepExecutions"][49]["TargetLocation"]["Accounts"][0].as_str().unwrap(), &regions[19]);
    assert_eq!(get(&there, child).await["AutomationExecutionStatus"], "Success");
}

#[tokio::test]
async fn a_run_that_finds_nothing_succeeds_with_a_warning() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    aws.automation().script(AGENCY, "*", Outcome::Success { resources: 0 });
    let id = begin(&central, &restart(&[AGENCY])).await.unwrap();
    aws.automation().advance(Duration::from_mins(2));
    let step = &get(&central, &id).await["StepExecutions"][0];
    assert_eq!(step["StepStatus"], "Success");
    assert!(step["WarningMessage"].as_str().unwrap().starts_with("No targets were found"));
    let child = step["Outputs"]["ExecutionId"][0].as_str().unwrap();
    let seen = get(&aws.client(AGENCY, REGION), child).await;
    assert_eq!((&seen["ProgressCounters"]["TotalSteps"], &seen["StepExecutions"]), (&json!(0), &json!([])));
}

#[tokio::test]
async fn without_instances_to_look_up_a_run_works_on_one_that_is_made_up() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    aws.automation().set_default(Outcome::TargetedInstances);
    let id = begin(&central, &restart(&[AGENCY])).await.unwrap();
    aws.automation().advance(Duration::from_mins(2));
    let step = &get(&central, &id).await["StepExecutions"][0];
    assert_eq!((&step["StepStatus"], &step["WarningMessage"]), (&json!("Success"), &Value::Null));
    let child = get(&aws.client(AGENCY, REGION), step["Outputs"]["ExecutionId"][0].as_str().unwrap()).await;
    assert_eq!(child["ResolvedTargets"]["ParameterValues"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_never_begins_can_be_shown_in_three_ways() {
    for (unbegun, running, ended) in [
        (Unbegun::Cancelled, vec!["InProgress", "Pending"], vec!["Failed", "Cancelled"]),
        (Unbegun::Pending, vec!["InProgress", "Pending"], vec!["Failed", "Pending"]),
        (Unbegun::Absent, vec!["InProgress"], vec!["Failed"]),
    ] {
        let aws = start();
        let central = aws.client(CENTRAL, REGION);
        aws.automation().set_unbegun(unbegun);
        aws.automation().script(AGENCY, "*", Outcome::NoTargets);
        let id = begin(&central, &restart(&[AGENCY, OTHER])).await.unwrap();
        assert_eq!(statuses(&get(&central, &id).await), running);
        aws.automation().advance(Duration::from_mins(5));
        assert_eq!(statuses(&get(&central, &id).await), ended);
        let body = json!({"AutomationExecutionId": id});
        let steps = central.json("ssm", "DescribeAutomationStepExecutions", &body).await.unwrap();
        assert_eq!(statuses(&steps), ended);
        assert_eq!(get(&central, &id).await["AutomationExecutionStatus"], "Failed");
    }
}

#[tokio::test]
async fn an_execution_takes_tags_after_its_start() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    let mut body = restart(&[AGENCY]);
    body["Tags"] = json!([{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]);
    let id = begin(&central, &body).await.unwrap();
    let of = |id: &str, tags: Value| {
        let mut body = json!({"ResourceType": "Automation", "ResourceId": id});
        body.as_object_mut().unwrap().extend(tags.as_object().unwrap().clone());
        body
    };
    let new = json!({"Tags": [{"Key": "b", "Value": ""}, {"Key": "c", "Value": "3"}]});
    central.json("ssm", "AddTagsToResource", &of(&id, new.clone())).await.unwrap();
    let list = central.json("ssm", "ListTagsForResource", &of(&id, json!({}))).await.unwrap();
    let expected = [("a", "1"), ("b", ""), ("c", "3")].map(|(key, value)| json!({"Key": key, "Value": value}));
    assert_eq!(list["TagList"], json!(expected));
    let unknown = of("4f7ca192-7e9a-40fe-9192-5cb15abcdef0", new);
    assert_eq!(central.json("ssm", "AddTagsToResource", &unknown).await.unwrap_err().code, "InvalidResourceId");
}
