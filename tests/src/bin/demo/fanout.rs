//! The second part of the story: a runbook over both agencies and two Regions.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, HOME_REGION, SECOND_REGION, World};

use crate::show;

const WITHIN: Duration = Duration::from_mins(1);

pub(crate) async fn tell(world: &World) -> anyhow::Result<()> {
    show::step("Central IT restarts the instances with Env=PROD, in both agencies and two Regions");
    world.deploy_administration_role().await?;
    world.deploy_execution_role(AGENCY_A).await?;
    show::note(&format!("{AGENCY_B} has no AWS-SystemsManager-AutomationExecutionRole yet"));
    // Slow enough to be watched.
    world.aws.automation().set_duration(Duration::from_secs(2));
    let started = call(world, &restart()).await?;
    let first = execution_id(&started)?;
    show::note(&format!("started {first}"));
    let again = call(world, &restart()).await?;
    ensure!(execution_id(&again)? == first, "the same key starts nothing twice: {again}");
    show::note("the same request again: the same execution, nothing is started twice");

    let status = follow(world, &first).await?;
    let missing: Vec<&Value> = locations(&status).filter(|location| location["Account"] == AGENCY_B).collect();
    ensure!(missing.len() == 2, "both Regions of {AGENCY_B} are shown: {status}");
    for location in locations(&status) {
        let expected = if location["Account"] == AGENCY_A { "Success" } else { "Failed" };
        ensure!(location["Status"] == expected, "{location}");
    }
    ensure!(missing.iter().all(|location| location["Cause"] == "execution-role"), "the cause is named: {status}");
    show::note(&format!("the cause: {}", missing[0]["Message"].as_str().unwrap_or_default()));

    show::step("The role is deployed there, and Resume starts again on what failed, and on nothing else");
    world.deploy_execution_role(AGENCY_B).await?;
    let resumed = call(world, &json!({"Action": "Resume", "AutomationExecutionId": first})).await?;
    let second = execution_id(&resumed)?;
    ensure!(second != first, "a new execution: {resumed}");
    let status = follow(world, &second).await?;
    ensure!(locations(&status).count() == 2, "only what failed is started again: {status}");
    for location in locations(&status) {
        ensure!(location["Account"] == AGENCY_B && location["Status"] == "Success", "{location}");
    }
    Ok(())
}

fn restart() -> Value {
    json!({
        "IdempotencyKey": "demo",
        "DocumentName": "AWS-RestartEC2Instance",
        "TargetParameterName": "InstanceId",
        "Targets": [{"Key": "tag:Env", "Values": ["PROD"]}],
        "TargetLocations": [{
            "Accounts": [AGENCY_A, AGENCY_B],
            "Regions": [HOME_REGION, SECOND_REGION],
            "TargetLocationMaxConcurrency": "2",
            "TargetLocationMaxErrors": "100%",
        }],
    })
}

/// Asks until the run has ended, and shows the matrix whenever it has changed.
async fn follow(world: &World, execution: &str) -> anyhow::Result<Value> {
    let request = json!({"Action": "Status", "AutomationExecutionId": execution});
    let deadline = Instant::now() + WITHIN;
    let mut shown = Value::Null;
    loop {
        let status = call(world, &request).await?;
        if status["Executions"] != shown {
            show::matrix(&status);
            shown = status["Executions"].clone();
        }
        if status["Terminal"] == true {
            return Ok(status);
        }
        ensure!(Instant::now() < deadline, "the run has not ended: {status}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn call(world: &World, request: &Value) -> anyhow::Result<Value> {
    let answer = world.fan_out(request).await?;
    ensure!(answer.function_error.is_none(), "automation-fanout failed: {}", answer.payload);
    Ok(answer.payload)
}

fn execution_id(answer: &Value) -> anyhow::Result<String> {
    let id = answer["Executions"][0]["AutomationExecutionId"].as_str();
    id.map(str::to_owned).with_context(|| format!("nothing was started: {answer}"))
}

fn locations(status: &Value) -> impl Iterator<Item = &Value> {
    status["Executions"][0]["Locations"].as_array().into_iter().flatten()
}
