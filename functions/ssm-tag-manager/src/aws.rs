//! The managed nodes and their tags, over Systems Manager and the Resource Groups Tagging API.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_resourcegroupstagging::Client as TaggingClient;
use aws_sdk_ssm::Client as SsmClient;
use aws_sdk_ssm::types::{ResourceTypeForTagging, Tag};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use hub::{AwsError, FunctionArn, ManagedInstanceId};

use crate::handler::Nodes;
use crate::plan::Tags;

const MAX_ATTEMPTS: u32 = 8;
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// The configuration of the clients: calls are tried again, slower where the service throttles, and each
/// attempt is bounded in time. The whole call is bounded by the invocation's budget.
pub async fn sdk_config() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::adaptive().with_max_attempts(MAX_ATTEMPTS))
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build())
        .load()
        .await
}

/// The managed nodes of one account and Region.
#[derive(Debug)]
pub struct ManagedNodes<'a> {
    ssm: &'a SsmClient,
    tagging: &'a TaggingClient,
    arn_prefix: String,
}

impl<'a> ManagedNodes<'a> {
    /// The nodes of the account and Region that the function runs in.
    pub fn new(ssm: &'a SsmClient, tagging: &'a TaggingClient, function: &FunctionArn) -> Self {
        let FunctionArn { partition, region, account, .. } = function;
        Self { ssm, tagging, arn_prefix: format!("arn:{partition}:ssm:{region}:{account}:managed-instance/") }
    }
}

impl Nodes for ManagedNodes<'_> {
    async fn read_many(&self, nodes: &[ManagedInstanceId]) -> Result<BTreeMap<ManagedInstanceId, Tags>, AwsError> {
        let arns = nodes.iter().map(|node| format!("{}{node}", self.arn_prefix)).collect();
        let output = self
            .tagging
            .get_resources()
            .set_resource_arn_list(Some(arns))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("tag:GetResources", &error))?;
        let mappings = output.resource_tag_mapping_list.unwrap_or_default().into_iter();
        Ok(mappings
            .filter_map(|mapping| {
                let id = mapping.resource_arn?.strip_prefix(&self.arn_prefix)?.parse().ok()?;
                let tags = mapping.tags.unwrap_or_default().into_iter();
                Some((id, tags.map(|tag| (tag.key, tag.value)).collect()))
            })
            .collect())
    }

    async fn read(&self, node: &ManagedInstanceId) -> Result<Option<Tags>, AwsError> {
        let output = self
            .ssm
            .list_tags_for_resource()
            .resource_type(ResourceTypeForTagging::ManagedInstance)
            .resource_id(node.as_str())
            .send()
            .await;
        match output {
            Ok(output) => {
                let tags = output.tag_list.unwrap_or_default().into_iter();
                Ok(Some(tags.map(|tag| (tag.key, tag.value)).collect()))
            }
            Err(error) => match AwsError::from_sdk("ssm:ListTagsForResource", &error) {
                error if error.code == "InvalidResourceId" => Ok(None),
                error => Err(error),
            },
        }
    }

    async fn remove(&self, node: &ManagedInstanceId, keys: &[String]) -> Result<(), AwsError> {
        self.ssm
            .remove_tags_from_resource()
            .resource_type(ResourceTypeForTagging::ManagedInstance)
            .resource_id(node.as_str())
            .set_tag_keys(Some(keys.to_vec()))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ssm:RemoveTagsFromResource", &error))?;
        Ok(())
    }

    async fn set(&self, node: &ManagedInstanceId, tags: &Tags) -> Result<(), AwsError> {
        let tags: Result<Vec<Tag>, _> =
            tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let tags = tags.map_err(|error| invalid_request(&error))?;
        self.ssm
            .add_tags_to_resource()
            .resource_type(ResourceTypeForTagging::ManagedInstance)
            .resource_id(node.as_str())
            .set_tags(Some(tags))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ssm:AddTagsToResource", &error))?;
        Ok(())
    }
}

/// The builder refuses a tag without key or value, which none of ours is; should it ever refuse more, the
/// node fails in words.
fn invalid_request(error: &aws_smithy_types::error::operation::BuildError) -> AwsError {
    AwsError {
        operation: "ssm:AddTagsToResource",
        code: "InvalidRequest".to_owned(),
        message: error.to_string(),
        request_id: None,
        retryable: false,
    }
}
