//! Automation over Systems Manager, and what a start is checked against.

mod convert;
mod facts;
mod history;
mod tally;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::{ConfigLoader, SdkConfig};
use aws_sdk_ssm::Client;
use aws_sdk_ssm::config::Builder;
use aws_sdk_ssm::types::{ResourceTypeForTagging, SignalType as SdkSignalType, StopType as SdkStopType, Tag};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use hub::AwsError;
use lambda_kit::CallCounts;

use self::tally::Tally;
use crate::event::{Signal, StopType};
use crate::plan::execution::Execution;
use crate::plan::request::StartRequest;
use crate::ports::{Automation, StepPage};

const MAX_ATTEMPTS: u32 = 8;
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest page: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeAutomationStepExecutions.html>.
const STEPS_PER_PAGE: i32 = 50;

/// The configuration of the client, with what the environment says in the loader: all calls but starts are tried again,
/// and each attempt is bounded in time. The handler keeps to the published rates by itself, so the SDK's adaptive mode
/// would only slow down what follows a single throttled call.
pub async fn sdk_config(loader: ConfigLoader) -> SdkConfig {
    loader
        .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build())
        .load()
        .await
}

/// The calls of one account and Region.
#[derive(Debug, Clone)]
pub struct Calls {
    ssm: Client,
    ec2: aws_sdk_ec2::Client,
    tagging: aws_sdk_resourcegroupstagging::Client,
    tally: Tally,
    known_tags: Arc<Mutex<HashMap<String, Vec<hub::Tag>>>>,
}

impl Calls {
    /// Calls over these clients.
    pub fn new(ssm: Client, ec2: aws_sdk_ec2::Client, tagging: aws_sdk_resourcegroupstagging::Client) -> Self {
        Self { ssm, ec2, tagging, tally: Tally::default(), known_tags: Arc::default() }
    }

    /// What was called since this was last asked for.
    pub fn take_counts(&self) -> CallCounts {
        self.tally.take()
    }
}

impl Automation for Calls {
    async fn start(&self, request: &StartRequest) -> Result<String, AwsError> {
        const OPERATION: &str = "ssm:StartAutomationExecution";
        let input = convert::start_input(request).map_err(|error| unexpected(OPERATION, error.to_string()))?;
        let output = self
            .ssm
            .start_automation_execution()
            .set_document_name(input.document_name)
            .set_document_version(input.document_version)
            .set_parameters(input.parameters)
            .set_client_token(input.client_token)
            .set_mode(input.mode)
            .set_target_parameter_name(input.target_parameter_name)
            .set_targets(input.targets)
            .set_target_maps(input.target_maps)
            .set_max_concurrency(input.max_concurrency)
            .set_max_errors(input.max_errors)
            .set_target_locations(input.target_locations)
            .set_tags(input.tags)
            .set_alarm_configuration(input.alarm_configuration)
            .set_target_locations_url(input.target_locations_url)
            .customize()
            // The handler tries a start again, each time in a turn of its own.
            .config_override(Builder::new().retry_config(RetryConfig::disabled()))
            .interceptor(self.tally.clone())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(OPERATION, &error))?;
        output.automation_execution_id.ok_or_else(|| unexpected(OPERATION, "the answer has no execution id".to_owned()))
    }

    async fn execution(&self, id: &str) -> Result<Execution, AwsError> {
        const OPERATION: &str = "ssm:GetAutomationExecution";
        let output = self
            .ssm
            .get_automation_execution()
            .automation_execution_id(id)
            .customize()
            .interceptor(self.tally.clone())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(OPERATION, &error))?;
        let execution = output.automation_execution;
        let execution = execution.ok_or_else(|| unexpected(OPERATION, "the answer has no execution".to_owned()))?;
        Ok(convert::execution(id, execution))
    }

    async fn steps(&self, id: &str, page_token: Option<String>) -> Result<StepPage, AwsError> {
        let output = self
            .ssm
            .describe_automation_step_executions()
            .automation_execution_id(id)
            .max_results(STEPS_PER_PAGE)
            .set_next_token(page_token)
            .customize()
            .interceptor(self.tally.clone())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ssm:DescribeAutomationStepExecutions", &error))?;
        Ok(StepPage {
            steps: output.step_executions.unwrap_or_default().into_iter().map(convert::step).collect(),
            // The end may also be an empty token.
            next_token: output.next_token.filter(|token| !token.is_empty()),
        })
    }

    async fn stop(&self, id: &str, stop_type: StopType) -> Result<(), AwsError> {
        let stop_type = match stop_type {
            StopType::Cancel => SdkStopType::Cancel,
            StopType::Complete => SdkStopType::Complete,
        };
        self.ssm
            .stop_automation_execution()
            .automation_execution_id(id)
            .r#type(stop_type)
            .customize()
            .interceptor(self.tally.clone())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ssm:StopAutomationExecution", &error))?;
        Ok(())
    }

    async fn mark(&self, id: &str, tag_key: &str) -> Result<(), AwsError> {
        const OPERATION: &str = "ssm:AddTagsToResource";
        let tag = Tag::builder().key(tag_key).value("").build();
        self.ssm
            .add_tags_to_resource()
            .resource_type(ResourceTypeForTagging::Automation)
            .resource_id(id)
            .tags(tag.map_err(|error| unexpected(OPERATION, error.to_string()))?)
            .customize()
            .interceptor(self.tally.clone())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(OPERATION, &error))?;
        Ok(())
    }

    async fn signal(&self, signal: &Signal) -> Result<(), AwsError> {
        let payload = signal.payload.clone().into_iter().collect();
        self.ssm
            .send_automation_signal()
            .automation_execution_id(&signal.execution.id)
            .signal_type(SdkSignalType::from(signal.signal_type.into_str()))
            .set_payload(Some(payload).filter(|payload: &HashMap<_, _>| !payload.is_empty()))
            .customize()
            .interceptor(self.tally.clone())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ssm:SendAutomationSignal", &error))?;
        Ok(())
    }
}

/// Something that the service or the SDK does not do, in words where it does.
fn unexpected(operation: &'static str, message: String) -> AwsError {
    AwsError { operation, code: "UnexpectedAnswer".to_owned(), message, request_id: None, retryable: false }
}
