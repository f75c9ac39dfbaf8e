//! The manager in the central account.

use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::interceptors::InterceptorContext;
use aws_sdk_lambda::config::retry::{ClassifyRetry, RetryAction, RetryConfig};
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::config::{Builder, Region, StalledStreamProtectionConfig};
use aws_sdk_lambda::operation::invoke::{InvokeError, InvokeOutput};
use aws_sdk_lambda::primitives::Blob;
use hub::{Answer, AwsError, FunctionArn, decode_str};
use serde::Deserialize;

use crate::config::InvocationType;
use crate::ports::Failure;

/// How long the manager is waited for, retries included: its own 300 seconds and some more. It bounds the operation
/// and not the attempt: what takes too long is not repeated, and no report runs beside itself. A broken connection is
/// retried, because those that froze with the function between two invocations break as a rule.
const TIMEOUT: Duration = Duration::from_secs(330);

/// Hands reports to the manager.
#[derive(Debug, Clone)]
pub struct Manager {
    client: Client,
    function_arn: String,
}

impl Manager {
    /// A client in the Region of the manager. Retries and timeouts are set here.
    pub fn new(builder: Builder, function: &FunctionArn) -> Self {
        let builder = builder
            .region(Region::new(function.region.to_string()))
            .retry_config(RetryConfig::standard().with_max_attempts(5))
            .retry_classifier(NotWhileBusy)
            .timeout_config(TimeoutConfig::builder().operation_timeout(TIMEOUT).build())
            // Silence is no stall: the manager is at work.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        Self { client: Client::from_conf(builder.build()), function_arn: function.to_string() }
    }

    /// Invokes the manager with a report, and reads its answer where there is one.
    ///
    /// # Errors
    /// Everything that is not plainly a success: what AWS answers after retries, an error of the function, an
    /// unexpected status, an answer that cannot be read. A busy manager is not tried again here: how long to wait for
    /// it depends on the time that the invocation has.
    pub async fn invoke(&self, report: &[u8], invocation_type: InvocationType) -> Result<Option<Answer>, Failure> {
        let output = self
            .client
            .invoke()
            .function_name(&self.function_arn)
            .invocation_type(match invocation_type {
                InvocationType::RequestResponse => aws_sdk_lambda::types::InvocationType::RequestResponse,
                InvocationType::Event => aws_sdk_lambda::types::InvocationType::Event,
            })
            .payload(Blob::new(report.to_vec()))
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

/// Keeps the SDK from trying again while the manager is busy: its few attempts would be over within seconds.
#[derive(Debug)]
struct NotWhileBusy;

impl ClassifyRetry for NotWhileBusy {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        match error.and_then(|error| error.downcast_ref::<InvokeError>()) {
            Some(InvokeError::TooManyRequestsException(_)) => RetryAction::RetryForbidden,
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "not while the manager is busy"
    }
}

fn answer(output: InvokeOutput) -> Result<Answer, Failure> {
    expect_status(&output, 200)?;
    let payload = output.payload.map(Blob::into_inner).unwrap_or_default();
    if let Some(kind) = output.function_error {
        return Err(function_error(&kind, &payload));
    }
    let unreadable =
        |problem: String| Failure::new("UnreadableAnswer", format!("the manager's answer is invalid: {problem}"));
    let json = std::str::from_utf8(&payload).map_err(|error| unreadable(error.to_string()))?;
    decode_str(json).map_err(|error| unreadable(error.to_string()))
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
