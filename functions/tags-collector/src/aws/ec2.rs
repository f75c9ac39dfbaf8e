//! EC2 instances.

use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{Builder, Config};
use aws_sdk_ec2::operation::describe_instances::DescribeInstancesOutput;
use aws_sdk_ec2::types::{Filter, InstanceStateName};
use hub::{AwsError, Ec2InstanceId, MANAGED_INSTANCE_ID_TAG_KEY, Region, Tag};

use crate::plan::{InstanceState, SeenInstance};
use crate::ports::Page;

/// The most that one page may hold.
const PAGE_SIZE: i32 = 1000;

/// Reads instances, in any Region.
#[derive(Debug, Clone)]
pub struct Instances {
    client: Client,
}

impl Instances {
    /// One client for all Regions: they share its connections and its certificates. Retries and timeouts are set here.
    pub fn new(builder: Builder) -> Self {
        let builder = builder
            .retry_config(RetryConfig::standard().with_max_attempts(5))
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(Duration::from_mins(1)).build());
        Self { client: Client::from_conf(builder.build()) }
    }

    /// Reads a page of all instances, or of those among `instance_ids` (at most 200), with `DescribeInstances`.
    ///
    /// There is no filter by state or tag: which instances have no node is part of what is reported. The IDs are a
    /// filter and not a list of IDs, because one unknown ID in a list fails the whole call.
    ///
    /// # Errors
    /// What AWS answers after retries.
    pub async fn page(
        &self,
        region: &Region,
        instance_ids: &[Ec2InstanceId],
        page_token: Option<String>,
    ) -> Result<Page, AwsError> {
        let ids = Filter::builder()
            .name("instance-id")
            .set_values(Some(instance_ids.iter().map(Ec2InstanceId::to_string).collect()))
            .build();
        self.client
            .describe_instances()
            .set_filters((!instance_ids.is_empty()).then(|| vec![ids]))
            .max_results(PAGE_SIZE)
            .set_next_token(page_token)
            .customize()
            .config_override(Config::builder().region(aws_sdk_ec2::config::Region::new(region.to_string())))
            .send()
            .await
            .map(|output| page(output, instance_ids))
            .map_err(|error| AwsError::from_sdk("ec2:DescribeInstances", &error))
    }
}

/// The instances of one answer. If IDs were asked for, nothing else gets through, whatever the service makes of the
/// filter: a run for one instance must not touch others.
fn page(output: DescribeInstancesOutput, asked_for: &[Ec2InstanceId]) -> Page {
    let is_asked_for = |instance: &SeenInstance| {
        asked_for.is_empty() || asked_for.iter().any(|id| id.as_str() == instance.ec2_instance_id)
    };
    let reservations = output.reservations.unwrap_or_default().into_iter();
    let instances = reservations.flat_map(|reservation| reservation.instances.unwrap_or_default());
    Page {
        instances: instances.filter_map(instance).filter(is_asked_for).collect(),
        next_token: output.next_token.filter(|token| !token.is_empty()),
    }
}

/// None for an instance without an ID, which EC2 does not have.
fn instance(instance: aws_sdk_ec2::types::Instance) -> Option<SeenInstance> {
    let state = match instance.state().and_then(|state| state.name()) {
        Some(InstanceStateName::Pending | InstanceStateName::Running) => InstanceState::Running,
        Some(InstanceStateName::ShuttingDown) => InstanceState::ShuttingDown,
        Some(InstanceStateName::Terminated) => InstanceState::Terminated,
        _ => InstanceState::Stopped,
    };
    let mut managed_instance_id = None;
    let mut tags = Vec::new();
    for tag in instance.tags.unwrap_or_default() {
        let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        if key == MANAGED_INSTANCE_ID_TAG_KEY {
            managed_instance_id = Some(value);
        } else {
            tags.push(Tag { key, value });
        }
    }
    Some(SeenInstance { ec2_instance_id: instance.instance_id?, state, managed_instance_id, tags })
}
