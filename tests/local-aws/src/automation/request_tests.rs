use serde_json::json;

use super::super::documents::Runbooks;
use super::*;

const ROLE: &str = "arn:aws:iam::111111111111:role/AWS-SystemsManager-AutomationAdministrationRole";

/// A good request with these members replaced.
fn check_with(changes: &Value, expected: Result<&str, &str>) {
    let mut body = json!({
        "DocumentName": "AWS-RestartEC2Instance",
        "Parameters": {"AutomationAssumeRole": [ROLE]},
        "TargetParameterName": "InstanceId",
        "Targets": [{"Key": "tag:Env", "Values": ["PROD"]}],
        "TargetLocations": [{"Accounts": ["222222222222"], "Regions": ["us-east-1"]}]
    });
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let runbook = Runbooks::default().find("AWS-RestartEC2Instance").unwrap();
    let actual = check_assume_role(&body, "111111111111").and_then(|()| check(&body, &runbook));
    assert_eq!(actual.as_deref().map_err(|error| error.code.as_str()), expected, "{changes}");
}

#[test]
fn a_good_request_resolves_the_version() {
    check_with(&json!({}), Ok("1"));
    check_with(&json!({"DocumentVersion": "1"}), Ok("1"));
    check_with(&json!({"DocumentVersion": "7"}), Err("AutomationDefinitionVersionNotFoundException"));
}

#[test]
fn targets_and_what_goes_with_them() {
    let one = json!({"Key": "tag:Env", "Values": ["PROD"]});
    check_with(&json!({"Targets": [one, one]}), Err("ValidationException"));
    check_with(&json!({"TargetParameterName": null}), Err("ValidationException"));
    check_with(&json!({"TargetMaps": [{"InstanceId": ["i-1"]}]}), Err("ValidationException"));
    check_with(&json!({"Targets": null, "TargetParameterName": null}), Ok("1"));
    check_with(&json!({"Targets": [{"Key": "colour", "Values": ["red"]}]}), Err("InvalidTarget"));
    check_with(&json!({"Targets": [{"Key": "tag:Env", "Values": []}]}), Err("InvalidTarget"));
    check_with(&json!({"Targets": [{"Key": "ResourceGroup", "Values": ["web"]}]}), Ok("1"));
    check_with(&json!({"Targets": [{"Key": "AWS::EC2::Instance", "Values": ["i-1"]}]}), Err("InvalidTarget"));
}

#[test]
fn target_locations_are_complete_and_may_have_targets_of_their_own() {
    let location = |accounts: &[&str], regions: &[&str]| json!({"Accounts": accounts, "Regions": regions});
    let with = |location: Value| json!({"TargetLocations": [location]});
    check_with(&with(location(&[], &["us-east-1"])), Err("ValidationException"));
    check_with(&with(location(&["222222222222"], &[])), Err("ValidationException"));
    check_with(&with(location(&["agency"], &["us-east-1"])), Err("ValidationException"));
    check_with(&with(location(&["ou-ab12-cdefgh34", "r-ab12"], &["us-east-1"])), Ok("1"));
    let mut own = location(&["222222222222"], &["us-east-1"]);
    own["Targets"] = json!([{"Key": "tag:Env", "Values": ["PROD"]}]);
    check_with(&json!({"TargetLocations": [own], "Targets": null}), Ok("1"));
    check_with(
        &json!({"TargetLocations": [own], "Targets": null, "TargetParameterName": null}),
        Err("ValidationException"),
    );
}

#[test]
fn parameters_are_those_of_the_runbook() {
    let wrong = Err("InvalidAutomationExecutionParametersException");
    check_with(&json!({"Parameters": {"Colour": ["red"]}}), wrong);
    check_with(&json!({"TargetParameterName": "InstanceIds"}), wrong);
    check_with(&json!({"TargetParameterName": "AutomationAssumeRole"}), wrong);
}

#[test]
fn the_assume_role_is_a_role_of_the_callers_account() {
    let with = |role: &str| json!({"Parameters": {"AutomationAssumeRole": [role]}});
    check_with(&with("admin"), Err("InvalidAutomationExecutionParametersException"));
    check_with(&with("arn:aws:iam::222222222222:role/admin"), Err("AccessDeniedException"));
    check_with(&with(""), Ok("1"));
}

#[test]
fn at_most_five_tags() {
    let tags =
        |count: usize| -> Vec<Value> { (0..count).map(|n| json!({"Key": n.to_string(), "Value": ""})).collect() };
    check_with(&json!({"Tags": tags(5)}), Ok("1"));
    check_with(&json!({"Tags": tags(6)}), Err("ValidationException"));
}
