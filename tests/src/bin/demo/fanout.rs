//! The second part of the story: a runbook over both agencies and two Regions.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use local_aws::Outcome;
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, SECOND_REGION, World};

use crate::fleet::Fleet;
use crate::show;

const WITHIN: Duration = Duration::from_mins(1);

pub(crate) async fn tell(world: &World, fleet: &Fleet) -> anyhow::Result<()> {
    show::step(
        "Central IT runs AWS-RestartEC2Instance on the instances with Env=PROD, in both agencies and two Regions",
    );
    for agency in [AGENCY_A, AGENCY_B] {
        for region in [HOME_REGION, SECOND_REGION] {
            let tagged = tagged(world, agency, region).await?;
            let expected = fleet.with_env(agency, region, "PROD");
            ensure!(tagged == expected, "{agency} {region}: {tagged:?} instead of {expected:?}");
            ensure!(!tagged.is_empty(), "{agency} {region}: nothing to show the run on");
            show::note(&format!("{agency} {region}: {}", Vec::from_iter(tagged).join(", ")));
        }
    }
    world.deploy_administration_role().await?;
    world.deploy_execution_role(AGENCY_A).await?;
    show::note(&format!("{AGENCY_B} has no AWS-SystemsManager-AutomationExecutionRole yet"));
    show::note(
        "the local AWS finds these instances and runs for a minute on each, in a hurry; it restarts none of them",
    );
    world.aws.automation().set_default(Outcome::TargetedInstances);
    world.aws.automation().set_duration(Duration::from_mins(1));
    let started = call(world, &restart()).await?;
    let first = execution_id(&started)?;
    show::note(&format!("started {first}"));
    let again = call(world, &restart()).await?;
    ensure!(execution_id(&again)? == first, "the same key starts nothing twice: {again}");
    ensure!(world.aws.automation().executions(CENTRAL, HOME_REGION).len() == 1, "there is one execution");
    show::note("the same request again: the same execution, nothing is started twice");

    let status = follow(world, &first).await?;
    let missing: Vec<&Value> = locations(&status).filter(|location| location["Account"] == AGENCY_B).collect();
    ensure!(missing.len() == 2, "both Regions of {AGENCY_B} are shown: {status}");
    for location in locations(&status) {
        let expected = if location["Account"] == AGENCY_A { "Success" } else { "Failed" };
        ensure!(location["Status"] == expected, "{location}");
    }
    ensure!(locations(&status).count() == 4, "every account and Region is shown: {status}");
    has_reached_what_is_tagged(world, &status).await?;
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
    has_reached_what_is_tagged(world, &status).await
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

/// Where the run was a success, it was one on the instances with the tag and on no others.
async fn has_reached_what_is_tagged(world: &World, status: &Value) -> anyhow::Result<()> {
    for location in locations(status).filter(|location| location["Status"] == "Success") {
        let text = |name: &str| location[name].as_str().with_context(|| format!("no {name} in {location}"));
        let (agency, region) = (text("Account")?, text("Region")?);
        ensure!(location["Cause"].is_null(), "there is nothing to complain of: {location}");
        let ask = json!({"AutomationExecutionId": text("ChildExecutionId")?});
        let child = world.aws.client(agency, region).json("ssm", "GetAutomationExecution", &ask).await?;
        let child = &child["AutomationExecution"];
        let resources = child["ResolvedTargets"]["ParameterValues"].as_array().into_iter().flatten();
        let resources: BTreeSet<String> = resources.filter_map(Value::as_str).map(str::to_owned).collect();
        let tagged = tagged(world, agency, region).await?;
        ensure!(resources == tagged, "{agency} {region}: {resources:?} instead of {tagged:?}");
        let done = child["StepExecutions"].as_array().into_iter().flatten();
        let done = done.filter(|step| step["StepStatus"] == "Success").count();
        ensure!(done == tagged.len(), "{agency} {region}: {done} steps for {} instances: {child}", tagged.len());
        show::note(&format!("{agency} {region}: its targets were {}", Vec::from_iter(resources).join(", ")));
    }
    Ok(())
}

/// The instances with Env=PROD that are there, as EC2 knows them.
async fn tagged(world: &World, agency: &str, region: &str) -> anyhow::Result<BTreeSet<String>> {
    let filters = [
        ("Filter.1.Name", "tag:Env"),
        ("Filter.1.Value.1", "PROD"),
        ("Filter.2.Name", "instance-state-name"),
        ("Filter.2.Value.1", "running"),
        ("Filter.2.Value.2", "stopped"),
    ];
    let instances = world.instances(agency, region, &filters).await?;
    Ok(instances.iter().filter_map(|instance| instance["instanceId"].as_str().map(str::to_owned)).collect())
}

/// The run as `taghub run watch` shows it, and its end.
async fn follow(world: &World, execution: &str) -> anyhow::Result<Value> {
    let watch = format!("run watch {execution} --interval 1s");
    let (shown, ended) = tokio::join!(show::taghub(world, CENTRAL, &watch), end(world, execution));
    shown?;
    ended
}

/// Asks until the run has ended. It has to be seen under way before; only then its time goes faster, so that no slow
/// machine misses it.
async fn end(world: &World, execution: &str) -> anyhow::Result<Value> {
    let request = json!({"Action": "Status", "AutomationExecutionId": execution});
    let deadline = Instant::now() + WITHIN;
    let mut was_under_way = false;
    loop {
        let status = call(world, &request).await?;
        if status["Terminal"] == true {
            ensure!(was_under_way, "no location was ever seen in progress: {status}");
            return Ok(status);
        }
        if locations(&status).any(|location| location["Status"] == "InProgress") {
            was_under_way = true;
            world.aws.automation().advance(Duration::from_secs(30));
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
