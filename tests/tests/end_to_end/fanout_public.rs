//! Requests that others have published, as kinds: each goes through Preview and Start of the deployed function, and what
//! is sent is held against the service's own model by the local AWS.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, Paths, World};

use crate::fanout::with;

/// A published request: what it is for, where its kind is from, and what has to become of it.
#[derive(Debug)]
struct Published {
    kind: String,
    expect: String,
    request: Value,
}

fn published() -> Vec<Published> {
    let rows: Vec<Value> = serde_json::from_str(include_str!("fanout_public/requests.json")).unwrap();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| {
            assert!(!text(row, "source").is_empty());
            Published { kind: text(row, "kind"), expect: text(row, "expect"), request: row["request"].clone() }
        })
        .collect()
}

#[tokio::test]
async fn requests_that_others_have_published_are_met_or_refused_in_words() {
    let world = World::start(Paths::from_env().unwrap(), 0, None).unwrap();
    world.deploy_fanout(&[("AwsRunbooks", "AWS*"), ("OwnRunbooks", "*")]).await.unwrap();
    world.deploy_administration_role().await.unwrap();
    for agency in [AGENCY_A, AGENCY_B] {
        world.deploy_execution_role(agency).await.unwrap();
    }
    let published = published();
    assert!(published.len() >= 50, "{} kinds", published.len());
    let kinds: BTreeSet<&String> = published.iter().map(|one| &one.kind).collect();
    assert_eq!(kinds.len(), published.len(), "a kind twice");
    for one in &published {
        let name = one.request["DocumentName"].as_str().unwrap();
        if one.expect != "missing" && name != "AWS-RestartEC2Instance" && name != "AWS-StopEC2Instance" {
            world.aws.automation().register_document(name, &[]);
        }
    }
    for Published { kind, expect, request } in &published {
        let preview = world.fan_out(&with(request.clone(), json!({"Action": "Preview"}))).await.unwrap();
        let start = world.fan_out(&with(request.clone(), json!({"Action": "Start"}))).await.unwrap();
        let (previewed, told) = (preview.payload.to_string(), start.payload.to_string());
        assert!(!told.contains("ValidationException"), "{kind}: against the service's model: {told}");
        let fails = |code: &str| {
            assert_eq!(start.payload["errorType"], "NothingStarted", "{kind}: {told}");
            assert!(told.contains(code), "{kind}: {told}");
        };
        match expect.as_str() {
            "started" => {
                assert_eq!(preview.function_error, None, "{kind}: {previewed}");
                assert_eq!(start.payload["Complete"], true, "{kind}: {told}");
                let (planned, started) =
                    (preview.payload["Planned"].as_array(), start.payload["Executions"].as_array());
                assert_eq!(planned.map(Vec::len), started.map(Vec::len), "{kind}");
            }
            // Another role than the function may pass.
            "denied" => {
                assert!(previewed.contains("automation-fanout may pass"), "{kind}: {previewed}");
                fails("AccessDeniedException");
            }
            "missing" => {
                assert!(previewed.contains("there is no runbook"), "{kind}: {previewed}");
                fails("AutomationDefinitionNotFoundException");
            }
            "invalid target" => {
                assert!(previewed.contains("is newer than this version"), "{kind}: {previewed}");
                fails("InvalidTarget");
            }
            "wrong role" => assert_eq!(preview.function_error, None, "{kind}: {previewed}"),
            other => {
                let words = other.strip_prefix("refused: ").unwrap();
                assert_eq!(start.payload["errorType"], "InvalidRequest", "{kind}: {told}");
                assert!(told.contains(words) && previewed.contains(words), "{kind}: {told}");
            }
        }
    }
}
