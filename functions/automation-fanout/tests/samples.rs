//! The sample events, and the examples of the service's own guide.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use automation_fanout::event::Event;
use automation_fanout::plan::{Part, REQUEST_TAG_KEY, TokenSource, plan};
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::111111111111:role/AWS-SystemsManager-AutomationAdministrationRole";

fn sample(name: &str) -> Value {
    let path = format!("{}/../../events/automation-fanout/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn parts(name: &str) -> Vec<Part> {
    let order = match Event::from_json(&sample(name)).unwrap() {
        Event::Start(order) | Event::Preview(order) => order,
        other => panic!("{other:?}"),
    };
    let tokens = TokenSource::of("key");
    plan(&order.request, &order.split, Some(ROLE), &tokens).unwrap().parts
}

/// The one request that is planned, without what this function adds: the token, and the service's own
/// defaults written out.
fn as_the_guide_has_it(name: &str) -> Value {
    let mut parts = parts(name);
    let request = parts.pop().unwrap().request;
    assert!(parts.is_empty(), "one start");
    assert!(uuid::Uuid::parse_str(request.client_token.as_deref().unwrap()).is_ok());
    let mut request = serde_json::to_value(request).unwrap();
    request.as_object_mut().unwrap().remove("ClientToken");
    assert_eq!(request.as_object_mut().unwrap().remove("Tags").unwrap()[0]["Key"], REQUEST_TAG_KEY);
    for location in request["TargetLocations"].as_array_mut().unwrap() {
        let location = location.as_object_mut().unwrap();
        assert_eq!(location.remove("TargetLocationMaxConcurrency"), Some(json!("1")));
        assert_eq!(location.remove("TargetLocationMaxErrors"), Some(json!("0")));
    }
    request
}

#[test]
fn the_guides_examples_give_the_guides_requests() {
    let expected = |target: Value, accounts: Value, regions: Value| {
        json!({
            "DocumentName": "AWS-RestartEC2Instance",
            "Parameters": {
                "AutomationAssumeRole":
                    ["arn:aws:iam::123456789012:role/AWS-SystemsManager-AutomationAdministrationRole"],
            },
            "TargetParameterName": "InstanceId",
            "Targets": [target],
            "TargetLocations": [{
                "Accounts": accounts,
                "Regions": regions,
                "ExecutionRoleName": "AWS-SystemsManager-AutomationExecutionRole",
            }],
        })
    };
    let two_accounts = json!(["123456789012", "987654321098"]);
    assert_eq!(
        as_the_guide_has_it("restart-by-tag"),
        expected(
            json!({"Key": "tag:Env", "Values": ["PROD"]}),
            two_accounts.clone(),
            json!(["us-east-2", "us-west-1"])
        )
    );
    assert_eq!(
        as_the_guide_has_it("restart-resource-group"),
        expected(json!({"Key": "ResourceGroup", "Values": ["prod-instances"]}), two_accounts, json!(["eu-central-1"]))
    );
    assert_eq!(
        as_the_guide_has_it("restart-organizational-unit"),
        expected(
            json!({"Key": "ResourceGroup", "Values": ["WebServices"]}),
            json!(["ou-1a2b3c-4d5e6c"]),
            json!(["us-west-1", "us-west-2"])
        )
    );
    let counts = |name: &str| parts(name).iter().map(|part| (part.target_locations, part.pairs)).collect::<Vec<_>>();
    assert_eq!(counts("restart-by-tag"), [(Some(1), Some(4))]);
    assert_eq!(counts("restart-organizational-unit"), [(Some(1), None)]);
}

#[test]
fn a_patching_run_names_the_administration_role_itself() {
    let request = serde_json::to_value(&parts("patch")[0].request).unwrap();
    assert_eq!(request["Parameters"]["AutomationAssumeRole"], json!([ROLE]));
    let mut sent = sample("patch");
    let fields = sent.as_object_mut().unwrap();
    fields.remove("IdempotencyKey");
    fields.remove("WaitSeconds");
    sent["Parameters"]["AutomationAssumeRole"] = json!([ROLE]);
    sent["ClientToken"] = request["ClientToken"].clone();
    sent["Tags"].as_array_mut().unwrap().push(request["Tags"][1].clone());
    assert_eq!(request["Tags"][1]["Key"], REQUEST_TAG_KEY);
    assert_eq!(request, sent, "all limits are the caller's own");
    assert_eq!(parts("patch"), parts("preview"), "the preview is of the same run");
}

#[test]
fn every_sample_is_a_valid_event() {
    let folder = format!("{}/../../events/automation-fanout", env!("CARGO_MANIFEST_DIR"));
    let mut actions = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let event = Event::from_json(&sample(name.strip_suffix(".json").unwrap()));
        let event = event.unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        actions.push(format!("{event:?}").split([' ', '(']).next().unwrap().to_owned());
    }
    actions.sort();
    actions.dedup();
    assert_eq!(actions, ["Campaign", "List", "Preflight", "Preview", "Resume", "Signal", "Start", "Status", "Stop"]);
}
