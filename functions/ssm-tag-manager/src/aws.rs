//! The managed nodes and their tags, over Systems Manager and the Resource Groups Tagging API.

mod coverage;
mod leases;
mod operation;
mod policies;
mod retire;

pub use coverage::{CoverageParameters, Kept};
pub use leases::LeaseTable;
pub use policies::PolicyParameters;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::{ConfigLoader, SdkConfig};
use aws_sdk_resourcegroupstagging::Client as TaggingClient;
use aws_sdk_resourcegroupstagging::types::{ResourceTagMapping, TagFilter};
use aws_sdk_ssm::Client as SsmClient;
use aws_sdk_ssm::types::{ResourceTypeForTagging, Tag};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use hub::{AwsError, FunctionArn, ManagedInstanceId};
use lambda_kit::CallCounts;
use operation::Operation;

use crate::plan::Tags;
use crate::ports::{Nodes, Rates};

/// The type of managed nodes in the Resource Groups Tagging API.
const NODE_TYPE: &str = "ssm:managed-instance";
/// The most that a page of `GetResources` holds.
const RESOURCES_PER_PAGE: i32 = 100;
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// The configuration of the clients. They do not try again by themselves: [`Calls`] does.
pub async fn sdk_config(loader: ConfigLoader) -> SdkConfig {
    loader
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build())
        .load()
        .await
}

/// The clients, and the operations with their rates. Lives as long as the sandbox.
#[derive(Debug)]
pub struct Calls {
    ssm: SsmClient,
    tagging: TaggingClient,
    leases: LeaseTable,
    get_resources: Operation,
    list_tags: Operation,
    remove_tags: Operation,
    add_tags: Operation,
    describe_information: Operation,
    deregister: Operation,
}

impl Calls {
    /// Calls over these clients.
    pub fn new(ssm: SsmClient, tagging: TaggingClient, leases: LeaseTable) -> Self {
        Self {
            ssm,
            tagging,
            leases,
            get_resources: Operation::new("tag:GetResources"),
            list_tags: Operation::new("ssm:ListTagsForResource"),
            remove_tags: Operation::new("ssm:RemoveTagsFromResource"),
            add_tags: Operation::new("ssm:AddTagsToResource"),
            describe_information: Operation::new("ssm:DescribeInstanceInformation"),
            deregister: Operation::new("ssm:DeregisterManagedInstance"),
        }
    }

    /// What was called since this was last asked for. What AWS throttled is logged.
    pub fn take_counts(&self) -> CallCounts {
        let counts = self.operations().into_iter().map(Operation::take_counts);
        counts.fold(self.leases.take_counts(), |sum, counts| CallCounts {
            calls: sum.calls + counts.calls,
            throttles: sum.throttles + counts.throttles,
        })
    }

    fn operations(&self) -> [&Operation; 6] {
        let Self {
            ssm: _,
            tagging: _,
            leases: _,
            get_resources,
            list_tags,
            remove_tags,
            add_tags,
            describe_information,
            deregister,
        } = self;
        [get_resources, list_tags, remove_tags, add_tags, describe_information, deregister]
    }

    fn rates(&self) -> Rates {
        self.operations()
            .into_iter()
            .filter_map(|operation| Some((operation.name.to_owned(), operation.rate()?)))
            .collect()
    }

    fn start_from(&self, rates: &Rates) {
        for operation in self.operations() {
            if let Some(rate) = rates.get(operation.name) {
                operation.start_from(*rate);
            }
        }
    }
}

/// The managed nodes of one account and Region.
#[derive(Debug)]
pub struct ManagedNodes<'a> {
    calls: &'a Calls,
    arn_prefix: String,
}

impl<'a> ManagedNodes<'a> {
    /// The nodes of the account and Region that the function runs in.
    pub fn new(calls: &'a Calls, function: &FunctionArn) -> Self {
        let FunctionArn { partition, region, account, .. } = function;
        Self { calls, arn_prefix: format!("arn:{partition}:ssm:{region}:{account}:managed-instance/") }
    }

    /// The nodes among the resources that a bulk read names, with their tags.
    fn tagged(&self, mappings: Option<Vec<ResourceTagMapping>>) -> impl Iterator<Item = (ManagedInstanceId, Tags)> {
        mappings.unwrap_or_default().into_iter().filter_map(|mapping| {
            let id = mapping.resource_arn?.strip_prefix(&self.arn_prefix)?.parse().ok()?;
            let tags = mapping.tags.unwrap_or_default().into_iter();
            Some((id, tags.map(|tag| (tag.key, tag.value)).collect()))
        })
    }
}

impl Nodes for ManagedNodes<'_> {
    async fn read_many(&self, nodes: &[ManagedInstanceId]) -> Result<BTreeMap<ManagedInstanceId, Tags>, AwsError> {
        let arns: Vec<String> = nodes.iter().map(|node| format!("{}{node}", self.arn_prefix)).collect();
        let request = self.calls.tagging.get_resources().set_resource_arn_list(Some(arns));
        let output = self.calls.get_resources.call(async || request.clone().send().await).await?;
        Ok(self.tagged(output.resource_tag_mapping_list).collect())
    }

    async fn read(&self, node: &ManagedInstanceId) -> Result<Option<Tags>, AwsError> {
        let request = self
            .calls
            .ssm
            .list_tags_for_resource()
            .resource_type(ResourceTypeForTagging::ManagedInstance)
            .resource_id(node.as_str());
        match self.calls.list_tags.call(async || request.clone().send().await).await {
            Ok(output) => {
                let tags = output.tag_list.unwrap_or_default().into_iter();
                Ok(Some(tags.map(|tag| (tag.key, tag.value)).collect()))
            }
            Err(error) if error.code == "InvalidResourceId" => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, node: &ManagedInstanceId, keys: &[String]) -> Result<(), AwsError> {
        let request = self
            .calls
            .ssm
            .remove_tags_from_resource()
            .resource_type(ResourceTypeForTagging::ManagedInstance)
            .resource_id(node.as_str())
            .set_tag_keys(Some(keys.to_vec()));
        self.calls.remove_tags.call(async || request.clone().send().await).await?;
        Ok(())
    }

    async fn set(&self, node: &ManagedInstanceId, tags: &Tags) -> Result<(), AwsError> {
        let tags: Result<Vec<Tag>, _> =
            tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let tags = tags.map_err(|error| invalid_request(self.calls.add_tags.name, &error))?;
        let request = self
            .calls
            .ssm
            .add_tags_to_resource()
            .resource_type(ResourceTypeForTagging::ManagedInstance)
            .resource_id(node.as_str())
            .set_tags(Some(tags));
        self.calls.add_tags.call(async || request.clone().send().await).await?;
        Ok(())
    }

    async fn find(&self, key: &str, values: &[String]) -> Result<BTreeMap<ManagedInstanceId, Tags>, AwsError> {
        let values = (!values.is_empty()).then(|| values.to_vec());
        let request = self
            .calls
            .tagging
            .get_resources()
            .resource_type_filters(NODE_TYPE)
            .tag_filters(TagFilter::builder().key(key).set_values(values).build())
            .resources_per_page(RESOURCES_PER_PAGE);
        let mut found = BTreeMap::new();
        let mut page_token = None;
        loop {
            let request = request.clone().set_pagination_token(page_token);
            let output = self.calls.get_resources.call(async || request.clone().send().await).await?;
            found.extend(self.tagged(output.resource_tag_mapping_list));
            page_token = output.pagination_token.filter(|token| !token.is_empty());
            if page_token.is_none() {
                return Ok(found);
            }
        }
    }

    fn rates(&self) -> Rates {
        self.calls.rates()
    }

    fn start_from(&self, rates: &Rates) {
        self.calls.start_from(rates);
    }

    fn may_land_late(&self) -> bool {
        self.calls.operations().into_iter().fold(false, |late, operation| operation.take_unanswered() | late)
    }
}

/// The builders refuse a tag or a filter without key or value, which none of ours is; should they ever refuse more,
/// the node fails in words.
fn invalid_request(operation: &'static str, error: &aws_smithy_types::error::operation::BuildError) -> AwsError {
    AwsError {
        operation,
        code: "InvalidRequest".to_owned(),
        message: error.to_string(),
        request_id: None,
        retryable: false,
    }
}
