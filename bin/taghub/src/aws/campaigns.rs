//! Campaigns: executions of the state machine `tag-hub-campaign`.

use direct_call::instant;
use hub::AwsError;
use serde_json::{Value, json};

use crate::aws::hub::Hub;
use crate::aws::json::{STATES, call};
use crate::failure::Failure;
use crate::view::campaign::{Campaign, Execution, execution_name};

/// Executions that are described to find a campaign that taghub did not start.
const DESCRIBED_MAX: usize = 50;
/// Events in one page of a history.
const EVENTS: usize = 1_000;

/// The latest executions, those started last first, at most so many.
///
/// # Errors
/// What Step Functions answers.
pub async fn latest(hub: &Hub, count: usize) -> Result<Vec<Execution>, Failure> {
    let mut executions = Vec::new();
    for arn in arns(hub, count).await? {
        executions.push(describe(hub, &arn).await?);
    }
    Ok(executions)
}

/// The latest execution of a campaign, by its name.
///
/// # Errors
/// What Step Functions answers.
pub async fn find(hub: &Hub, name: &str) -> Result<Option<Execution>, Failure> {
    let all = arns(hub, EVENTS).await?;
    let start = execution_name(name);
    let is_ours = |arn: &&String| arn.rsplit(':').next().is_some_and(|last| last.starts_with(&start));
    let ours = all.iter().filter(is_ours);
    let others = all.iter().filter(|arn| !is_ours(arn)).take(DESCRIBED_MAX);
    for arn in ours.chain(others) {
        let execution = describe(hub, arn).await?;
        if execution.name() == name {
            return Ok(Some(execution));
        }
    }
    Ok(None)
}

async fn arns(hub: &Hub, count: usize) -> Result<Vec<String>, Failure> {
    let machine = hub.campaign_arn();
    let mut ask = json!({"stateMachineArn": machine, "maxResults": count.min(EVENTS)});
    let mut arns = Vec::new();
    loop {
        let page = states(hub, "states:ListExecutions", &ask).await?;
        let found = page["executions"].as_array().into_iter().flatten();
        arns.extend(found.filter_map(|execution| execution["executionArn"].as_str().map(str::to_owned)));
        match page["nextToken"].as_str() {
            Some(token) if arns.len() < count => ask["nextToken"] = json!(token),
            _ => break,
        }
    }
    arns.truncate(count);
    Ok(arns)
}

/// An execution by its ARN.
///
/// # Errors
/// What Step Functions answers.
pub async fn describe(hub: &Hub, arn: &str) -> Result<Execution, Failure> {
    let described = states(hub, "states:DescribeExecution", &json!({"executionArn": arn})).await?;
    let text = |name: &str| described[name].as_str().unwrap_or_default().to_owned();
    Ok(Execution {
        arn: arn.to_owned(),
        status: text("status"),
        input: serde_json::from_str(&text("input")).unwrap_or_default(),
        started: instant(&described["startDate"]),
        ended: instant(&described["stopDate"]),
        error: described["error"].as_str().map(|error| (error.to_owned(), text("cause"))),
    })
}

/// A campaign as its history tells it.
///
/// # Errors
/// What Step Functions answers.
pub async fn read(hub: &Hub, execution: &Execution) -> Result<Campaign, Failure> {
    let mut ask = json!({"executionArn": execution.arn, "maxResults": EVENTS, "includeExecutionData": true});
    let mut campaign = Campaign::new(execution);
    loop {
        let page = states(hub, "states:GetExecutionHistory", &ask).await?;
        for event in page["events"].as_array().into_iter().flatten() {
            campaign.see(event);
        }
        match page["nextToken"].as_str() {
            Some(token) => ask["nextToken"] = json!(token),
            None => return Ok(campaign),
        }
    }
}

/// Starts the state machine.
///
/// # Errors
/// What Step Functions answers; `ExecutionAlreadyExists` if the name was used.
pub async fn start(hub: &Hub, name: &str, input: &Value) -> Result<String, Failure> {
    let ask = json!({"stateMachineArn": hub.campaign_arn(), "name": name, "input": input.to_string()});
    let started = states(hub, "states:StartExecution", &ask).await?;
    Ok(started["executionArn"].as_str().unwrap_or_default().to_owned())
}

/// Ends an execution.
///
/// # Errors
/// What Step Functions answers.
pub async fn stop(hub: &Hub, arn: &str, cause: &str) -> Result<(), Failure> {
    let ask = json!({"executionArn": arn, "error": "Stopped", "cause": cause});
    states(hub, "states:StopExecution", &ask).await.map(|_| ())
}

/// Answers a campaign that waits for approval.
///
/// # Errors
/// What Step Functions answers, also if the answer comes too late.
pub async fn answer(hub: &Hub, token: &str, output: &Value) -> Result<(), Failure> {
    let ask = json!({"taskToken": token, "output": output.to_string()});
    states(hub, "states:SendTaskSuccess", &ask).await.map(|_| ())
}

async fn states(hub: &Hub, name: &'static str, body: &Value) -> Result<Value, Failure> {
    call(&hub.session, STATES, name, body).await.map_err(|error| failed(hub, &error))
}

fn failed(hub: &Hub, error: &AwsError) -> Failure {
    if error.code == "StateMachineDoesNotExist" {
        return Failure::missing(
            "no-campaigns",
            format!("no state machine {} in {}", hub.about.names.campaign, hub.place()),
        )
        .help("deploy template.yaml with Fanout=Yes, or fanout.yaml by itself");
    }
    Failure::aws(error, &hub.about.names.campaign)
}
