//! The edge to AWS.

mod central;
mod log;
mod store;

use std::time::Duration;

use aws_config::{ConfigLoader, SdkConfig};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use direct_call::Caller;

pub use central::{CentralAccount, Clients, node_of};
pub use log::{NODES, REPORTS, each_line, logged};
pub use store::ReportBucket;

const MAX_ATTEMPTS: u32 = 8;
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// The configuration of all clients: calls are tried again, and each attempt is bounded in time.
pub async fn sdk_config(loader: ConfigLoader) -> SdkConfig {
    loader
        .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build())
        .load()
        .await
}

/// What calls services without an SDK crate.
pub fn caller(config: &SdkConfig) -> Caller {
    Caller::new(config, ATTEMPT_TIMEOUT)
}
