//! What is checked before a start, and what a preview says about it.

use automation_fanout::ports::Node;
use serde_json::{Value, json};

use crate::account::{Account, Call, runbook};
use crate::{A, B, codes, fleet, send, send_with, small};

fn notes(answer: &Value) -> Vec<&str> {
    answer["Notes"].as_array().into_iter().flatten().map(|note| note.as_str().unwrap()).collect()
}

fn with(mut event: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("an object") };
    event.as_object_mut().unwrap().extend(more);
    event
}

#[tokio::test(start_paused = true)]
async fn nothing_dangerous_is_started_by_leaving_targets_out() {
    let account =
        Account::new().with_runbook(Ok(Some(runbook(&[("InstanceId", false), ("AutomationAssumeRole", true)]))));
    for action in ["Start", "Preview"] {
        let error = send(&account, &with(small(), json!({"Action": action}))).await.unwrap_err();
        assert!(error.to_string().contains("\"AllTargets\": true"), "{error}");
    }
    assert!(account.started().is_empty());
    let answer = send(&account, &with(small(), json!({"AllTargets": true}))).await.unwrap();
    assert_eq!(answer["Complete"], true);
    let target = json!({"Targets": [{"Key": "tag:Env", "Values": ["x"]}], "TargetParameterName": "InstanceId",
                        "IdempotencyKey": "targets"});
    assert_eq!(send(&account, &with(small(), target)).await.unwrap()["Complete"], true);
    let given = json!({"Parameters": {"InstanceId": ["i-1"]}, "IdempotencyKey": "other"});
    assert_eq!(send(&account, &with(small(), given)).await.unwrap()["Complete"], true);
}

#[tokio::test(start_paused = true)]
async fn the_role_is_added_only_where_the_runbook_declares_it() {
    let account = Account::new().with_runbook(Ok(Some(runbook(&[("assumeRole", true)]))));
    let answer = send(&account, &small()).await.unwrap();
    assert!(notes(&answer)[0].contains("declares no AutomationAssumeRole"), "{answer}");
    assert!(account.started()[0].parameters.is_empty());
    let account = Account::new();
    let answer = send(&account, &small()).await.unwrap();
    assert!(notes(&answer)[0].starts_with("Parameters.AutomationAssumeRole is added: arn:"), "{answer}");
    assert!(account.started()[0].parameters.contains_key("AutomationAssumeRole"));
    // What cannot be read changes nothing.
    let account = Account::new().with_runbook(Err("AccessDeniedException"));
    let answer = send(&account, &with(small(), json!({"AllTargets": true}))).await.unwrap();
    assert!(notes(&answer)[0].contains("without a look at the runbook"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_region_that_does_not_exist_is_refused_before_any_start() {
    let account = Account::new();
    let mut event = small();
    event["TargetLocations"][0]["Regions"] = json!(["us-east-1", "us-eats-1"]);
    for action in ["Start", "Preview", "Preflight"] {
        let error = send(&account, &with(event.clone(), json!({"Action": action}))).await.unwrap_err();
        assert!(error.to_string().contains("TargetLocations[0].Regions[1]"), "{action}: {error}");
        assert!(error.to_string().contains("did you mean us-east-1?"), "{action}: {error}");
    }
    assert!(account.times(&Call::Start).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_preview_tells_what_a_start_would_be_refused_for_and_what_it_costs() {
    let account = Account::new();
    let event = json!({
        "Action": "Preview", "DocumentName": "AWS-StopEC2Instance", "Parameters": {"Operation": ["x"],
        "AutomationAssumeRole": ["arn:aws:iam::111111111111:role/Other"]},
        "TargetLocations": [{"Accounts": [A, B], "Regions": ["us-east-1", "us-west-2"]}]
    });
    let answer = send(&account, &event).await.unwrap();
    for expected in [
        "may pass arn:aws:iam::111111111111:role/AWS-SystemsManager-AutomationAdministrationRole alone",
        "may not start AWS-StopEC2Instance, and AWS would refuse it; add it to the parameter AwsRunbooks",
        "Parameters.Operation: the runbook declares no such parameter",
        "about 0.02 US dollars for each target: 4 accounts and Regions × 2 steps × 0.002 a step",
    ] {
        assert!(notes(&answer).iter().any(|note| note.contains(expected)), "{expected}: {answer:#}");
    }
    assert_eq!(account.call_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_preview_of_any_size_fits_into_an_answer() {
    let accounts: Vec<String> = (0..8_000).map(|number| format!("{number:012}")).collect();
    let regions: Vec<String> =
        (0..1_000).map(|n| format!("us-region{}-{}", ["a", "b"][n / 100 % 2].repeat(1 + n / 200), n % 100)).collect();
    let event = json!({"Action": "Preview", "DocumentName": "Patch", "TargetLocations": [
        {"Accounts": accounts, "Regions": regions, "TargetLocationMaxConcurrency": "100%", "TargetLocationMaxErrors": "100%"}]});
    let answer = send(&Account::new().with_regions(&regions), &event).await.unwrap();
    assert_eq!(answer["Planned"].as_array().unwrap().len(), 32);
    let shown = answer["Requests"].as_array().unwrap().len();
    assert!((1..32).contains(&shown), "{shown}");
    let note = format!("Requests: the first {shown} of 32, since an answer has no room for more");
    assert!(notes(&answer).contains(&note.as_str()), "{:?}", notes(&answer));
    assert!(answer.to_string().len() < 6_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_runbook_that_is_missing_is_tried_once_and_not_in_every_part() {
    let missing = Some("AutomationDefinitionNotFoundException");
    let account = Account::new().with_runbook(Ok(None)).with_start_faults(&[missing; 3]);
    let error = send(&account, &fleet(3)).await.unwrap_err();
    assert!(error.to_string().contains("AutomationDefinitionNotFoundException"), "{error}");
    assert_eq!(account.times(&Call::Start).len(), 1);
    let account = Account::new().with_start_faults(&[None, missing, None]);
    let answer = send(&account, &fleet(3)).await.unwrap();
    assert_eq!(codes(&answer["Failed"]), ["AutomationDefinitionNotFoundException", "NotTried"]);
    assert_eq!(account.times(&Call::Start).len(), 2, "what cannot change is not tried again");
}

#[tokio::test(start_paused = true)]
async fn a_long_list_of_nodes_becomes_several_starts() {
    let account = Account::new();
    let nodes: Vec<String> = (0..205).map(|index| format!("mi-{index:017x}")).collect();
    let event = with(
        small(),
        json!({"Targets": [{"Key": "ParameterValues", "Values": nodes}], "TargetParameterName": "InstanceId",
               "MaxConcurrency": "10", "IdempotencyKey": "nodes"}),
    );
    let answer = send(&account, &event).await.unwrap();
    let started = account.started();
    assert_eq!((answer["Complete"].clone(), started.len()), (json!(true), 5));
    let mut sent: Vec<String> = started.iter().flat_map(|request| request.targets[0].values.clone()).collect();
    sent.sort();
    assert_eq!(sent, nodes);
    let again = send_with(&account, 900, "request-2", &event).await.unwrap();
    assert_eq!(again["Executions"], answer["Executions"]);
    let listed = with(small(), json!({"Parameters": {"InstanceIds": nodes}}));
    let error = send(&account, &listed).await.unwrap_err();
    assert!(error.to_string().contains("give them as Targets with the Key ParameterValues"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn several_tags_are_resolved_to_nodes_of_the_central_account() {
    let node = |index: usize| Node {
        id: format!("mi-{index:017x}"),
        name: Some(format!("web-{index}")),
        source: Some(format!("{B}/us-east-1/i-{index:017x}")),
    };
    let account = Account::new().with_nodes((0..60).map(node).collect());
    let tags = json!([{"Key": "tag:Env", "Values": ["PROD"]}, {"Key": "tag:Role", "Values": ["web"]}]);
    let event =
        json!({"Action": "Preview", "DocumentName": "Patch", "Match": tags, "TargetParameterName": "InstanceId"});
    let answer = send(&account, &event).await.unwrap();
    assert_eq!(answer["Machines"].as_array().unwrap().len(), 60);
    assert_eq!(
        answer["Machines"][0],
        json!({"NodeId": "mi-00000000000000000", "Name": "web-0", "Source": format!("{B}/us-east-1/i-00000000000000000")})
    );
    assert_eq!(answer["Requests"].as_array().unwrap().len(), 2);
    assert_eq!(answer["Requests"][0]["TargetLocations"][0]["Accounts"], json!([A]));

    let elsewhere = with(event.clone(), json!({"TargetLocations": [{"Accounts": [B], "Regions": ["us-east-1"]}]}));
    let error = send(&account, &elsewhere).await.unwrap_err();
    assert!(error.to_string().contains("name a resource group"), "{error}");
    let error = send(&Account::new(), &event).await.unwrap_err();
    assert!(error.to_string().contains("got none with tag:Env=PROD and tag:Role=web"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_token_in_the_other_case_is_the_same_key() {
    let account = Account::new();
    let token = "A4A3C0E9-7EFD-462A-8594-01234ABCDEF0";
    let first = send(&account, &with(small(), json!({"ClientToken": token}))).await.unwrap();
    let second = with(small(), json!({"ClientToken": token.to_lowercase()}));
    assert_eq!(send_with(&account, 900, "request-2", &second).await.unwrap()["Executions"], first["Executions"]);
    assert_eq!(account.started().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_start_notes_a_location_without_targets_beside_others() {
    let account = Account::new();
    let location = |account: &str| json!({"Accounts": [account], "Regions": ["us-east-1"]});
    let target = json!([{"Key": "tag:Env", "Values": ["x"]}]);
    let event = json!({"DocumentName": "Patch", "TargetParameterName": "InstanceId",
                       "TargetLocations": [with(location(A), json!({"Targets": target})), location(B)]});
    for action in ["Start", "Preview", "Preflight"] {
        let answer = send(&account, &with(event.clone(), json!({"Action": action}))).await.unwrap();
        let told = notes(&answer).iter().filter(|note| note.contains("it has no Targets, unlike")).count();
        assert_eq!(told, 1, "{action}: {answer:#}");
    }
}
