//! Planning, starting and reading a run over 6,000 accounts and 30 Regions, and a request larger than any account.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use local_aws::{LocalAws, Options, Outcome};
use serde_json::{Value, json};
use tests::{CENTRAL, HOME_REGION, Paths};

use crate::host::Host;
use crate::package::Packages;

const ACCOUNTS: usize = 6_000;
const REGIONS: usize = 30;
/// Accounts and Regions of each of the two locations of a request that is too large.
const MANY: usize = 1_500;
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const LAMBDA_ANSWER_MAX: usize = 6 * 1_024 * 1_024;
/// Through which the function is invoked; account and Region are those of `tests`.
const ARN: &str = "arn:aws:lambda:us-east-1:111111111111:function:automation-fanout";

pub(crate) async fn measure(paths: &Paths, packages: &Packages) -> anyhow::Result<()> {
    let aws = LocalAws::start(Options { ministack: false, ..Options::new(&paths.python) })?;
    aws.automation().set_default(Outcome::AccessDenied);
    let role = format!("arn:aws:iam::{CENTRAL}:role/AWS-SystemsManager-AutomationAdministrationRole");
    let environment = [
        ("AWS_ENDPOINT_URL", aws.endpoint()),
        ("AWS_REGION", HOME_REGION),
        ("AWS_ACCESS_KEY_ID", CENTRAL),
        ("AWS_SECRET_ACCESS_KEY", "any"),
        ("AUTOMATION_ADMINISTRATION_ROLE_ARN", &role),
    ];
    let host = Host::start(&packages.fanout.bootstrap, 1, Duration::from_mins(15), &environment).await?;
    println!("### Fan-out over {ACCOUNTS} accounts and {REGIONS} Regions\n");
    println!(
        "| action | starts | account-Region pairs | calls of AWS | wall time | peak memory |\n|---|---|---|---|---|---|"
    );
    for action in ["Preview", "Start"] {
        let before = aws.calls().snapshot();
        let start = Instant::now();
        let answer = invoke(&host, &request(action)).await?;
        let wall = start.elapsed().as_secs_f64();
        let planned = if action == "Preview" { &answer["Planned"] } else { &answer["Executions"] };
        let planned: Vec<&Value> = planned.as_array().into_iter().flatten().collect();
        let pairs: u64 = planned.iter().filter_map(|start| start["AccountRegionPairs"].as_u64()).sum();
        anyhow::ensure!(usize::try_from(pairs)? == ACCOUNTS * REGIONS, "every pair is in the plan, once: {pairs}");
        let calls: u64 = aws.calls().snapshot().since(&before).iter().map(|(_, _, count)| count.total()).sum();
        let memory = host.peak_memory_mb()?;
        println!("| {action} | {} | {pairs} | {calls} | {wall:.2} s | {memory:.1} MB |", planned.len());
    }
    println!();
    status(&aws, &host).await?;
    let request = too_much();
    let start = Instant::now();
    let refused = host.invoker().invoke(ARN, Bytes::from(request.to_string())).await;
    let wall = start.elapsed().as_secs_f64();
    let memory = host.peak_memory_mb()?;
    let said = refused.err().and_then(|error| serde_json::from_str::<Value>(&error).ok());
    let kind = said.as_ref().and_then(|said| said["errorType"].as_str()).unwrap_or("planned");
    println!("Two locations of {MANY} accounts in {MANY} Regions: {kind}, {wall:.2} s, {memory:.1} MB at the peak.\n");
    anyhow::ensure!(memory < 256.0, "the plan fits the function's memory: {memory:.1} MB");
    Ok(())
}

/// Reads the run that was started, after every location of it failed.
async fn status(aws: &LocalAws, host: &Host) -> anyhow::Result<()> {
    let request = json!({"Action": "List", "IdempotencyKey": "bench"});
    let runs = invoke(host, &request).await?;
    let runs = runs["Executions"].as_array().context("a list of runs")?;
    let ids: Vec<&str> = runs.iter().filter_map(|run| run["AutomationExecutionId"].as_str()).collect();
    aws.automation().advance(Duration::from_hours(1_000));
    let before = aws.calls().snapshot();
    let start = Instant::now();
    let request = json!({"Action": "Status", "AutomationExecutionIds": ids});
    let answer = host.invoker().invoke(ARN, Bytes::from(request.to_string())).await.map_err(anyhow::Error::msg)?;
    let wall = start.elapsed().as_secs_f64();
    let calls: u64 = aws.calls().snapshot().since(&before).iter().map(|(_, _, count)| count.total()).sum();
    let memory = host.peak_memory_mb()?;
    println!("| action | executions | calls of AWS | wall time | peak memory | answer |\n|---|---|---|---|---|---|");
    let (count, kilobytes) = (ids.len(), answer.len() / 1_000);
    println!("| Status | {count} | {calls} | {wall:.2} s | {memory:.1} MB | {kilobytes} KB |\n");
    anyhow::ensure!(answer.len() <= LAMBDA_ANSWER_MAX, "Lambda returns the answer: {} bytes", answer.len());
    Ok(())
}

/// A request that no plan is made for.
fn too_much() -> Value {
    let mut request = request("Preview");
    let regions: Vec<String> = (0..MANY).map(region).collect();
    let locations = ["100", "200"].map(|concurrency| {
        let accounts: Vec<String> = (0..MANY).map(|index| format!("{:012}", 100_000_000_000 + index)).collect();
        json!({"Accounts": accounts, "Regions": regions, "TargetLocationMaxConcurrency": concurrency})
    });
    request["TargetLocations"] = json!(locations);
    request
}

/// The code of a Region that does not exist: its number has two digits at most.
fn region(index: usize) -> String {
    format!("us-bench{}-{}", "a".repeat(index / 100), index % 100)
}

fn request(action: &str) -> Value {
    let accounts: Vec<String> = (0..ACCOUNTS).map(|index| format!("{:012}", 100_000_000_000 + index)).collect();
    let regions: Vec<String> = (0..REGIONS).map(region).collect();
    json!({
        "Action": action,
        "IdempotencyKey": "bench",
        "DocumentName": "AWS-RestartEC2Instance",
        "TargetParameterName": "InstanceId",
        "Targets": [{"Key": "tag:Env", "Values": ["PROD"]}],
        "TargetLocations": [{
            "Accounts": accounts,
            "Regions": regions,
            "TargetLocationMaxConcurrency": "600",
            "TargetLocationMaxErrors": "100%",
        }],
    })
}

async fn invoke(host: &Host, request: &Value) -> anyhow::Result<Value> {
    let answer = host.invoker().invoke(ARN, Bytes::from(request.to_string())).await.map_err(anyhow::Error::msg)?;
    Ok(serde_json::from_slice(&answer)?)
}
