//! CloudFormation stacks, deployed and waited for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::aws_error::AwsError;
use crate::client::Client;
use crate::xml;

pub use crate::inventory::inventory;

const DONE_WITHIN: Duration = Duration::from_mins(2);
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Outputs of a stack by key.
pub type Outputs = BTreeMap<String, String>;

/// Why a stack is not what it should be.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StackError {
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The deployment failed; the reasons are those of its resources, oldest first.
    #[error("stack {stack} is {status}:\n{}", reasons.join("\n"))]
    Failed { stack: String, status: String, reasons: Vec<String> },
    #[error("stack {stack} was still {status} after {} s", DONE_WITHIN.as_secs())]
    NotDone { stack: String, status: String },
}

/// Puts a deployment package where a template's `CodeUri` finds it; makes the bucket if need be.
pub async fn upload(client: &Client, bucket: &str, key: &str, package: Vec<u8>) -> Result<(), AwsError> {
    match client.create_bucket(bucket).await {
        Ok(()) => {}
        Err(error) if error.code == "BucketAlreadyOwnedByYou" => {}
        Err(error) => return Err(error),
    }
    client.put_object(bucket, key, package).await
}

/// Creates a stack, or updates it where it exists, and waits. Capabilities: `CAPABILITY_NAMED_IAM`
/// and `CAPABILITY_AUTO_EXPAND`, which a SAM template needs.
pub async fn deploy(
    client: &Client,
    stack: &str,
    template: &str,
    parameters: &[(&str, &str)],
) -> Result<Outputs, StackError> {
    deploy_source(client, stack, ("TemplateBody", template), parameters).await
}

/// The same with a template in S3, for one of more than 51,200 bytes: CloudFormation takes it from there alone.
pub async fn deploy_from(
    client: &Client,
    stack: &str,
    url: &str,
    parameters: &[(&str, &str)],
) -> Result<Outputs, StackError> {
    deploy_source(client, stack, ("TemplateURL", url), parameters).await
}

async fn deploy_source(
    client: &Client,
    stack: &str,
    (source, template): (&str, &str),
    parameters: &[(&str, &str)],
) -> Result<Outputs, StackError> {
    let mut form: Vec<(String, &str)> = vec![
        ("StackName".to_owned(), stack),
        (source.to_owned(), template),
        ("Capabilities.member.1".to_owned(), "CAPABILITY_NAMED_IAM"),
        ("Capabilities.member.2".to_owned(), "CAPABILITY_AUTO_EXPAND"),
    ];
    for (index, (key, value)) in (1..).zip(parameters) {
        form.push((format!("Parameters.member.{index}.ParameterKey"), key));
        form.push((format!("Parameters.member.{index}.ParameterValue"), value));
    }
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    match client.query("cloudformation", "CreateStack", &form).await {
        Err(error) if error.code == "AlreadyExistsException" => {
            match client.query("cloudformation", "UpdateStack", &form).await {
                Err(error) if error.message.contains("No updates are to be performed") => {}
                result => drop(result?),
            }
        }
        result => drop(result?),
    }
    let description = wait(client, stack).await?.unwrap_or_default();
    let status = text(&description["StackStatus"]);
    if status == "CREATE_COMPLETE" || status == "UPDATE_COMPLETE" {
        return Ok(read_outputs(&description));
    }
    let reasons = failures(client, stack).await?;
    Err(StackError::Failed { stack: stack.to_owned(), status, reasons })
}

/// Deletes a stack and waits until it is gone.
pub async fn delete(client: &Client, stack: &str) -> Result<(), StackError> {
    client.query("cloudformation", "DeleteStack", &[("StackName", stack)]).await?;
    let Some(description) = wait(client, stack).await? else { return Ok(()) };
    let status = text(&description["StackStatus"]);
    if status == "DELETE_COMPLETE" {
        return Ok(());
    }
    let reasons = failures(client, stack).await?;
    Err(StackError::Failed { stack: stack.to_owned(), status, reasons })
}

/// The outputs of a stack that exists.
pub async fn outputs(client: &Client, stack: &str) -> Result<Outputs, StackError> {
    let description = describe(client, stack).await?.unwrap_or_default();
    Ok(read_outputs(&description))
}

/// The description of a stack in a terminal state; `None` where there is no such stack.
async fn wait(client: &Client, stack: &str) -> Result<Option<Value>, StackError> {
    let deadline = Instant::now() + DONE_WITHIN;
    loop {
        let Some(description) = describe(client, stack).await? else { return Ok(None) };
        let status = text(&description["StackStatus"]);
        if !status.ends_with("_IN_PROGRESS") {
            return Ok(Some(description));
        }
        if Instant::now() > deadline {
            return Err(StackError::NotDone { stack: stack.to_owned(), status });
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

async fn describe(client: &Client, stack: &str) -> Result<Option<Value>, AwsError> {
    match client.query("cloudformation", "DescribeStacks", &[("StackName", stack)]).await {
        Ok(answer) => Ok(xml::items(&answer["Stacks"]).first().cloned()),
        Err(error) if error.code == "ValidationError" && error.message.contains("does not exist") => Ok(None),
        Err(error) => Err(error),
    }
}

async fn failures(client: &Client, stack: &str) -> Result<Vec<String>, AwsError> {
    let answer = client.query("cloudformation", "DescribeStackEvents", &[("StackName", stack)]).await?;
    let events = xml::items(&answer["StackEvents"]).iter().rev();
    let failed = events.filter(|event| text(&event["ResourceStatus"]).ends_with("_FAILED"));
    let line = |event: &Value| {
        let [id, status, reason] =
            ["LogicalResourceId", "ResourceStatus", "ResourceStatusReason"].map(|name| text(&event[name]));
        format!("{id} {status}: {reason}")
    };
    Ok(failed.map(line).collect())
}

fn read_outputs(description: &Value) -> Outputs {
    let outputs = xml::items(&description["Outputs"]).iter();
    outputs.map(|output| (text(&output["OutputKey"]), text(&output["OutputValue"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
