//! Planning and starting a run over 6,000 accounts and 30 Regions.

use std::time::{Duration, Instant};

use bytes::Bytes;
use local_aws::{LocalAws, Options};
use serde_json::{Value, json};
use tests::{CENTRAL, HOME_REGION, Paths};

use crate::host::Host;
use crate::package::Packages;

const ACCOUNTS: u64 = 6_000;
const REGIONS: u64 = 30;

pub(crate) async fn measure(paths: &Paths, packages: &Packages) -> anyhow::Result<()> {
    let aws = LocalAws::start(Options { ministack: false, ..Options::new(&paths.python) })?;
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
        anyhow::ensure!(pairs == ACCOUNTS * REGIONS, "every pair is in the plan, once: {pairs}");
        let calls: u64 = aws.calls().snapshot().since(&before).iter().map(|(_, _, count)| count.total()).sum();
        let memory = host.peak_memory_mb()?;
        println!("| {action} | {} | {pairs} | {calls} | {wall:.2} s | {memory:.1} MB |", planned.len());
    }
    println!();
    Ok(())
}

fn request(action: &str) -> Value {
    let accounts: Vec<String> = (0..ACCOUNTS).map(|index| format!("{:012}", 100_000_000_000 + index)).collect();
    let regions: Vec<String> = (0..REGIONS).map(|index| format!("us-bench-{index}")).collect();
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
            "TargetLocationMaxErrors": "10%",
        }],
    })
}

async fn invoke(host: &Host, request: &Value) -> anyhow::Result<Value> {
    let arn = format!("arn:aws:lambda:{HOME_REGION}:{CENTRAL}:function:automation-fanout");
    let answer = host.invoker().invoke(&arn, Bytes::from(request.to_string())).await.map_err(anyhow::Error::msg)?;
    Ok(serde_json::from_slice(&answer)?)
}
