//! EC2 instances that name a managed node.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{Builder, Config};
use aws_sdk_ec2::operation::describe_instances::DescribeInstancesOutput;
use aws_sdk_ec2::types::{Filter, InstanceStateName};
use hub::{AwsError, Ec2InstanceId, Instance, MANAGED_INSTANCE_ID_TAG_KEY, Region, Tag, Terminated};

use crate::sweep::Page;

/// The most that one page may hold.
const PAGE_SIZE: i32 = 1000;

/// The states of an instance that can have an agent, and the one from which there is no way back. A stopped one comes
/// back as the same node; one that is shutting down has an agent no more and is not gone yet.
const STATES: [&str; 5] = ["pending", "running", "stopping", "stopped", TERMINATED];
const TERMINATED: &str = "terminated";
const SHUTTING_DOWN: &str = "shutting-down";

/// Reads instances, in any Region.
#[derive(Debug, Clone)]
pub struct Instances {
    client: Client,
}

impl Instances {
    /// One client for all Regions: they share its connections and its certificates.
    pub fn new(sdk: &SdkConfig) -> Self {
        Self { client: Client::from_conf(settings(Builder::from(sdk))) }
    }

    /// Reads a page of all instances that carry the tag `managedinstanceid`, or of those among `instance_ids`
    /// (at most 200), with `DescribeInstances`.
    ///
    /// The ids are a filter and no list of ids: one unknown id in a list fails the whole call.
    ///
    /// # Errors
    /// What AWS answers after retries.
    pub async fn page(
        &self,
        region: &Region,
        instance_ids: &[Ec2InstanceId],
        page_token: Option<String>,
    ) -> Result<Page, AwsError> {
        let mut filters = vec![filter("tag-key", [MANAGED_INSTANCE_ID_TAG_KEY]), filter("instance-state-name", STATES)];
        if !instance_ids.is_empty() {
            filters.push(filter("instance-id", instance_ids.iter().map(Ec2InstanceId::as_str)));
        }
        self.read(region, filters, instance_ids, page_token).await
    }

    /// Reads which of these instances (1 to 200) are terminated, and which are about to be. Their tags are not asked for:
    /// EC2 takes them away.
    ///
    /// # Errors
    /// What AWS answers after retries.
    pub async fn terminated(
        &self,
        region: &Region,
        instance_ids: &[Ec2InstanceId],
        page_token: Option<String>,
    ) -> Result<Page, AwsError> {
        let filters = vec![
            filter("instance-state-name", [TERMINATED, SHUTTING_DOWN]),
            filter("instance-id", instance_ids.iter().map(Ec2InstanceId::as_str)),
        ];
        let page = self.read(region, filters, instance_ids, page_token).await?;
        Ok(Page { instances: Vec::new(), ..page })
    }

    async fn read(
        &self,
        region: &Region,
        filters: Vec<Filter>,
        instance_ids: &[Ec2InstanceId],
        page_token: Option<String>,
    ) -> Result<Page, AwsError> {
        self.client
            .describe_instances()
            .set_filters(Some(filters))
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

fn settings(builder: Builder) -> Config {
    builder
        .retry_config(RetryConfig::standard().with_max_attempts(5))
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(Duration::from_mins(1)).build())
        .build()
}

fn filter<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> Filter {
    Filter::builder().name(name).set_values(Some(values.into_iter().map(str::to_owned).collect())).build()
}

/// The instances of one answer. Where ids were asked for, nothing else gets through, whatever the service makes of
/// the filter: a run for one instance must not touch others.
fn page(output: DescribeInstancesOutput, asked_for: &[Ec2InstanceId]) -> Page {
    let is_asked_for = |instance: &aws_sdk_ec2::types::Instance| {
        asked_for.is_empty() || asked_for.iter().any(|id| instance.instance_id() == Some(id.as_str()))
    };
    let reservations = output.reservations.unwrap_or_default().into_iter();
    let instances = reservations.flat_map(|reservation| reservation.instances.unwrap_or_default()).filter(is_asked_for);
    let (gone, there): (Vec<_>, Vec<_>) = instances.partition(|instance| is(instance, &InstanceStateName::Terminated));
    let (ending, living): (Vec<_>, Vec<_>) =
        there.into_iter().partition(|instance| is(instance, &InstanceStateName::ShuttingDown));
    let gone = gone.into_iter().filter_map(|instance| instance.instance_id);
    Page {
        instances: living.into_iter().filter_map(instance).collect(),
        terminated: gone.map(|ec2_instance_id| Terminated { ec2_instance_id }).collect(),
        ending: ending.into_iter().filter_map(|instance| instance.instance_id).collect(),
        next_token: output.next_token.filter(|token| !token.is_empty()),
    }
}

fn is(instance: &aws_sdk_ec2::types::Instance, state: &InstanceStateName) -> bool {
    instance.state().and_then(|state| state.name()) == Some(state)
}

/// None for an instance without the join key, which the filter keeps out.
fn instance(instance: aws_sdk_ec2::types::Instance) -> Option<Instance> {
    let mut instance_id = None;
    let mut tags = Vec::new();
    for tag in instance.tags.unwrap_or_default() {
        let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        if key == MANAGED_INSTANCE_ID_TAG_KEY {
            instance_id = Some(value);
        } else {
            tags.push(Tag { key, value });
        }
    }
    Some(Instance { instance_id: instance_id?, ec2_instance_id: instance.instance_id, tags })
}

#[cfg(test)]
mod tests;
