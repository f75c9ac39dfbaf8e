//! The edge to AWS.

mod central;
mod parameters;

use std::time::Duration;

use aws_config::{ConfigLoader, SdkConfig};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use hub::AwsError;

pub use central::CentralAccount;
pub use parameters::{AgencyParameters, OpenParameters, PartitionParameters};

const MAX_ATTEMPTS: u32 = 5;
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The configuration of all clients: calls are tried again, and each attempt is bounded in time.
///
/// That holds for `CreateActivation` too, which has no client token: an attempt that came through although its answer
/// was lost leaves an activation whose code nobody knows, and a later run deletes it. Without retries a throttled
/// call, which is far more likely, would cost the agency a day.
pub async fn sdk_config(loader: ConfigLoader) -> SdkConfig {
    loader
        .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build())
        .load()
        .await
}

/// Something that the service or the SDK does not do, in words where it does.
fn unexpected(operation: &'static str, message: String) -> AwsError {
    AwsError { operation, code: "UnexpectedAnswer".to_owned(), message, request_id: None, retryable: false }
}
