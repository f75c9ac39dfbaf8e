//! Planning, starting and reading a run over 6,000 accounts and 30 Regions, and a request larger than any account.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use local_aws::{LocalAws, Options, Outcome};
use serde_json::{Value, json};
use tests::{CENTRAL, HOME_REGION, Paths};

use crate::host::{ANSWER_BYTES_MAX, Host};
use crate::package::Packages;

const ACCOUNTS: usize = 6_000;
const REGIONS: usize = 30;
/// Accounts and Regions of each of the two locations of a request that is too large.
const MANY: usize = 1_500;
/// What a plan may take, in MB.
const PLAN_MEMORY_MAX: f64 = 256.0;
/// What the function has, in MB.
const MEMORY_MAX: f64 = 512.0;
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
    let start = || Host::start(&packages.fanout.bootstrap, 1, Duration::from_mins(15), &environment);
    let host = start().await?;
    println!("### Fan-out over {ACCOUNTS} accounts and {REGIONS} Regions\n");
    println!(
        "| action | starts | account-Region pairs | calls of AWS | wall time | peak memory |\n|---|---|---|---|---|---|"
    );
    for action in ["Preview", "Start"] {
        let before = aws.calls().snapshot();
        let begin = Instant::now();
        let answer = invoke(&host, &request(action)).await?;
        let wall = begin.elapsed().as_secs_f64();
        let planned = if action == "Preview" { &answer["Planned"] } else { &answer["Executions"] };
        let planned: Vec<&Value> = planned.as_array().into_iter().flatten().collect();
        let pairs: u64 = planned.iter().filter_map(|start| start["AccountRegionPairs"].as_u64()).sum();
        anyhow::ensure!(usize::try_from(pairs)? == ACCOUNTS * REGIONS, "every pair is in the plan, once: {pairs}");
        let calls: u64 = aws.calls().snapshot().since(&before).iter().map(|(_, _, count)| count.total()).sum();
        let memory = host.peak_memory_mb()?;
        println!("| {action} | {} | {pairs} | {calls} | {wall:.2} s | {memory:.1} MB |", planned.len());
    }
    println!();
    plan(&start().await?).await?;
    status(&aws, &start().await?).await
}

/// Plans a request that is larger than any fleet.
async fn plan(host: &Host) -> anyhow::Result<()> {
    let start = Instant::now();
    let answer = invoke(host, &too_much()).await?;
    let wall = start.elapsed().as_secs_f64();
    let memory = host.peak_memory_mb()?;
    let starts = answer["Planned"].as_array().context("a plan")?;
    let pairs: u64 = starts.iter().filter_map(|start| start["AccountRegionPairs"].as_u64()).sum();
    println!(
        "Preview of two locations with {MANY} accounts and {MANY} Regions each: {} starts, {pairs} pairs, {wall:.2} s, \
         {memory:.1} MB at the peak, {} KB of answer.\n",
        starts.len(),
        answer.to_string().len() / 1_000
    );
    anyhow::ensure!(usize::try_from(pairs)? == 2 * MANY * MANY, "every pair is in the plan, once: {pairs}");
    anyhow::ensure!(memory < PLAN_MEMORY_MAX, "the plan fits the function's memory: {memory:.1} MB");
    Ok(())
}

/// Reads the run that was started, after every location of it failed: for as long as an invocation may take.
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
    let status: Value = serde_json::from_slice(&answer)?;
    let executions = status["Executions"].as_array().context("a status")?;
    let failed: u64 = executions.iter().filter_map(|execution| execution["Counts"]["Failed"].as_u64()).sum();
    let shown: usize = executions.iter().filter_map(|execution| execution["Locations"].as_array()).map(Vec::len).sum();
    println!("| action | executions | pairs read | pairs shown | calls of AWS | wall time | peak memory | answer |");
    println!("|---|---|---|---|---|---|---|---|");
    let (count, kilobytes) = (ids.len(), answer.len() / 1_000);
    println!("| Status | {count} | {failed} | {shown} | {calls} | {wall:.0} s | {memory:.1} MB | {kilobytes} KB |\n");
    anyhow::ensure!(memory < MEMORY_MAX, "the status fits the function's memory: {memory:.1} MB");
    anyhow::ensure!(answer.len() <= ANSWER_BYTES_MAX, "Lambda returns the answer: {} bytes", answer.len());
    Ok(())
}

/// As many groups of accounts and Regions as no fleet has.
fn too_much() -> Value {
    let mut request = request("Preview");
    let regions: Vec<String> = (0..MANY).map(region).collect();
    let locations = [0, 1].map(|half| {
        let accounts = (half * MANY..(half + 1) * MANY).map(account).collect::<Vec<_>>();
        json!({"Accounts": accounts, "Regions": regions, "TargetLocationMaxConcurrency": "100%",
               "TargetLocationMaxErrors": "100%"})
    });
    request["TargetLocations"] = json!(locations);
    request
}

fn account(index: usize) -> String {
    format!("{:012}", 100_000_000_000 + index)
}

/// The code of a Region that does not exist: its number has two digits at most.
fn region(index: usize) -> String {
    format!("us-bench{}-{}", "a".repeat(index / 100), index % 100)
}

fn request(action: &str) -> Value {
    let accounts: Vec<String> = (0..ACCOUNTS).map(account).collect();
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
