//! The handler over Automation in memory: outcomes, rates, deadlines, failures.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod account;
mod campaign;
mod facts;
mod interleaving;
mod past;
mod preflight;
mod resume;
mod start;
mod status;
mod stop;
mod units;
mod wait;
mod waves;

use std::time::Duration;

use account::Account;
use automation_fanout::plan::execution::{Execution, Step};
use automation_fanout::plan::request::{StartRequest, TargetLocation};
use automation_fanout::{Config, FanoutError, Invocation, handle};
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::111111111111:role/AWS-SystemsManager-AutomationAdministrationRole";
const ID: &str = "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE";
const ID_2: &str = "a4a3c0e9-7efd-462a-8594-01234EXAMPLE";
const A: &str = "111111111111";
const B: &str = "222222222222";
const NO_ROLE: &str = "The execution role arn:aws:iam::222222222222:role/AWS-SystemsManager-AutomationExecutionRole in \
                       the target location is unable to be assumed.";

async fn send_with(account: &Account, budget: u64, request_id: &str, event: &Value) -> Result<Value, FanoutError> {
    let config = config();
    let invocation = Invocation { request_id: request_id.to_owned(), budget: Duration::from_secs(budget) };
    handle(&config, account, &invocation, event).await.map(|answer| serde_json::to_value(answer).unwrap())
}

fn config() -> Config {
    Config {
        administration_role_arn: ROLE.to_owned(),
        aws_runbooks: Some(vec!["AWS-RestartEC2Instance".to_owned()]),
        own_runbooks: Some(vec!["TagHub-*".to_owned(), "Patch".to_owned()]),
        step_price: Some(0.002),
        name_prefix: String::new(),
        region: Some("us-east-1".to_owned()),
    }
}

async fn send(account: &Account, event: &Value) -> Result<Value, FanoutError> {
    send_with(account, 900, "request-1", event).await
}

fn sample(name: &str) -> Value {
    let path = format!("{}/../../events/automation-fanout/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A request that takes so many starts: 100 locations in each, and one in the last.
fn fleet(starts: usize) -> Value {
    let locations: Vec<Value> =
        (0..=(starts - 1) * 100).map(|n| json!({"Accounts": [format!("{n:012}")], "Regions": ["us-east-1"]})).collect();
    json!({"DocumentName": "Patch", "TargetLocations": locations, "IdempotencyKey": "k"})
}

fn small() -> Value {
    json!({"DocumentName": "Patch",
           "TargetLocations": [{"Accounts": [A, B], "Regions": ["us-east-1", "us-west-2"]}]})
}

fn codes(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|failure| failure["Code"].as_str().unwrap()).collect()
}

fn ids(answer: &Value) -> Vec<&str> {
    let executions = answer["Executions"].as_array().unwrap();
    executions.iter().map(|execution| execution["AutomationExecutionId"].as_str().unwrap()).collect()
}

fn execution(id: &str, status: &str, steps: Vec<Step>) -> Execution {
    let location = TargetLocation {
        accounts: vec![A.to_owned(), B.to_owned()],
        regions: vec!["us-east-1".to_owned(), "us-west-2".to_owned()],
        execution_role_name: Some("Execution".to_owned()),
        ..TargetLocation::default()
    };
    let request = StartRequest {
        document_name: "Patch".to_owned(),
        document_version: Some("7".to_owned()),
        target_locations: vec![location],
        ..StartRequest::default()
    };
    Execution { id: id.to_owned(), status: status.into(), request, steps, ..Execution::default() }
}
