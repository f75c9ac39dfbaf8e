//! The manager in the central account.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::config::{Builder, Config, Region, StalledStreamProtectionConfig};
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::primitives::Blob;
use hub::{Answer, AwsError, FunctionArn, decode};
use serde::Deserialize;
use serde_json::Value;

use crate::answer::Failure;
use crate::config::InvocationType;

/// How long the manager is waited for, retries included: its own 300 seconds and some for being throttled. It
/// bounds the operation and not the attempt: what takes too long is not repeated, and no report runs beside
/// itself. A broken connection is retried, because those that froze with the function between two invocations
/// break as a rule.
const TIMEOUT: Duration = Duration::from_secs(330);

/// Hands reports to the manager.
#[derive(Debug, Clone)]
pub struct Manager {
    client: Client,
    function_arn: String,
}

impl Manager {
    /// A client in the Region of the manager.
    pub fn new(sdk: &SdkConfig, function: &FunctionArn) -> Self {
        let region = Region::new(function.region.to_string());
        Self {
            client: Client::from_conf(settings(Builder::from(sdk).region(region))),
            function_arn: function.to_string(),
        }
    }

    /// Invokes the manager with a report, and reads its answer where there is one.
    ///
    /// # Errors
    /// Everything that is not plainly a success: what AWS answers after retries, an error of the function, an
    /// unexpected status, an answer that cannot be read.
    pub async fn invoke(&self, report: Vec<u8>, invocation_type: InvocationType) -> Result<Option<Answer>, Failure> {
        let output = self
            .client
            .invoke()
            .function_name(&self.function_arn)
            .invocation_type(match invocation_type {
                InvocationType::RequestResponse => aws_sdk_lambda::types::InvocationType::RequestResponse,
                InvocationType::Event => aws_sdk_lambda::types::InvocationType::Event,
            })
            .payload(Blob::new(report))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("lambda:InvokeFunction", &error))?;
        match invocation_type {
            InvocationType::RequestResponse => answer(output).map(Some),
            InvocationType::Event => expect_status(&output, 202).map(|()| None),
        }
    }
}

/// What Lambda answers for a function that ended in an error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionError {
    error_type: String,
    #[serde(default)]
    error_message: String,
}

fn settings(builder: Builder) -> Config {
    builder
        .retry_config(RetryConfig::standard().with_max_attempts(5))
        .timeout_config(TimeoutConfig::builder().operation_timeout(TIMEOUT).build())
        // Silence is no stall: the manager is at work.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}

fn answer(output: InvokeOutput) -> Result<Answer, Failure> {
    expect_status(&output, 200)?;
    let payload = output.payload.map(Blob::into_inner).unwrap_or_default();
    if let Some(kind) = output.function_error {
        return Err(function_error(&kind, &payload));
    }
    let unreadable = |problem: String| Failure::new("UnreadableAnswer", format!("the manager's answer: {problem}"));
    let value: Value = serde_json::from_slice(&payload).map_err(|error| unreadable(error.to_string()))?;
    decode(&value).map_err(|error| unreadable(error.to_string()))
}

fn expect_status(output: &InvokeOutput, expected: i32) -> Result<(), Failure> {
    let status = output.status_code;
    if status == expected {
        return Ok(());
    }
    Err(Failure::new("UnexpectedStatus", format!("lambda:InvokeFunction: expected status {expected}, got {status}")))
}

fn function_error(kind: &str, payload: &[u8]) -> Failure {
    match serde_json::from_slice(payload) {
        Ok(FunctionError { error_type, error_message }) => {
            Failure::new(&error_type, format!("the manager failed: {error_message}"))
        }
        // A function that was stopped, say for its memory, may leave only a message.
        Err(_) => Failure::new(
            "FunctionError",
            format!(
                "the manager failed ({kind}): {}",
                String::from_utf8_lossy(payload).chars().take(500).collect::<String>()
            ),
        ),
    }
}

#[cfg(test)]
mod tests;
