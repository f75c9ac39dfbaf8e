//! The edge to AWS.

mod ec2;
mod manager;

use aws_config::SdkConfig;
use hub::{AwsError, Ec2InstanceId, Region};

use crate::config::{Config, InvocationType};
use crate::ports::{Aws, Failure, Page};

pub use ec2::Instances;
pub use manager::Manager;

/// Clients of the real services. They connect when they are first used.
#[derive(Debug)]
pub struct Clients {
    instances: Instances,
    manager: Manager,
}

impl Clients {
    /// Clients with the credentials, and so the account, of `sdk`.
    pub fn new(sdk: &SdkConfig, config: &Config) -> Self {
        Self { instances: Instances::new(sdk.into()), manager: Manager::new(sdk.into(), &config.manager) }
    }
}

impl Aws for Clients {
    async fn instances(
        &self,
        region: &Region,
        instance_ids: &[Ec2InstanceId],
        page_token: Option<String>,
    ) -> Result<Page, AwsError> {
        self.instances.page(region, instance_ids, page_token).await
    }

    async fn report(&self, report: &[u8], invocation_type: InvocationType) -> Result<Option<hub::Answer>, Failure> {
        self.manager.invoke(report, invocation_type).await
    }
}
