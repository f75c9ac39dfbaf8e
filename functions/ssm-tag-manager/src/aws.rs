//! The managed nodes and their tags, over Systems Manager and the Resource Groups Tagging API.

mod retire;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_resourcegroupstagging::Client as TaggingClient;
use aws_sdk_resourcegroupstagging::types::ResourceTagMapping;
use aws_sdk_ssm::Client as SsmClient;
use aws_sdk_ssm::types::{ResourceTypeForTagging, Tag};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use hub::{AwsError, FunctionArn, ManagedInstanceId};
use telemetry::CallCounts;
use tokio::time::Instant;

use crate::handler::Nodes;
use crate::pace::Pace;
use crate::plan::Tags;

/// How often one call may fail. Throttling is no failure: the call goes again at the pace that it taught us, and the
/// whole call is bounded by the invocation's budget.
const MAX_FAILURES: u32 = 8;
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// The wait after the first failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The configuration of the clients. They do not try again by themselves: [`Calls`] does.
pub async fn sdk_config() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build())
        .load()
        .await
}

/// The clients, and the pace of each operation as the service has taught it so far. Lives as long as the sandbox.
#[derive(Debug)]
pub struct Calls {
    ssm: SsmClient,
    tagging: TaggingClient,
    get_resources: RefCell<Pace>,
    list_tags: RefCell<Pace>,
    remove_tags: RefCell<Pace>,
    add_tags: RefCell<Pace>,
    describe_information: RefCell<Pace>,
    deregister: RefCell<Pace>,
    counts: Cell<CallCounts>,
}

impl Calls {
    /// Calls over these clients.
    pub fn new(ssm: SsmClient, tagging: TaggingClient) -> Self {
        let pace = || RefCell::new(Pace::new(Instant::now()));
        Self {
            ssm,
            tagging,
            get_resources: pace(),
            list_tags: pace(),
            remove_tags: pace(),
            add_tags: pace(),
            describe_information: pace(),
            deregister: pace(),
            counts: Cell::default(),
        }
    }

    /// What was called since this was last asked for.
    pub fn take_counts(&self) -> CallCounts {
        self.counts.take()
    }

    /// Makes a call at the operation's pace, and again where that can help.
    async fn call<T, E>(
        &self,
        pace: &RefCell<Pace>,
        operation: &'static str,
        send: impl AsyncFn() -> Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<T, AwsError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let mut wait = FIRST_WAIT;
        let mut failures = 0;
        loop {
            let slot = pace.borrow_mut().slot(Instant::now());
            tokio::time::sleep_until(slot).await;
            let went_out = Instant::now();
            self.count(CallCounts { calls: 1, throttles: 0 });
            let error = match send().await {
                Ok(output) => {
                    pace.borrow_mut().answered(Instant::now());
                    return Ok(output);
                }
                Err(error) => AwsError::from_sdk(operation, &error),
            };
            if error.is_throttling() {
                self.count(CallCounts { calls: 0, throttles: 1 });
                pace.borrow_mut().throttled(Instant::now(), went_out);
                continue;
            }
            pace.borrow_mut().answered(Instant::now());
            failures += 1;
            if !error.retryable || failures == MAX_FAILURES {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    fn count(&self, more: CallCounts) {
        let CallCounts { calls, throttles } = self.counts.get();
        self.counts.set(CallCounts { calls: calls + more.calls, throttles: throttles + more.throttles });
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
        let output = self
            .calls
            .call(&self.calls.get_resources, "tag:GetResources", async || request.clone().send().await)
            .await?;
        Ok(self.tagged(output.resource_tag_mapping_list).collect())
    }

    async fn read(&self, node: &ManagedInstanceId) -> Result<Option<Tags>, AwsError> {
        let request = self
            .calls
            .ssm
            .list_tags_for_resource()
            .resource_type(ResourceTypeForTagging::ManagedInstance)
            .resource_id(node.as_str());
        match self
            .calls
            .call(&self.calls.list_tags, "ssm:ListTagsForResource", async || request.clone().send().await)
            .await
        {
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
        self.calls
            .call(&self.calls.remove_tags, "ssm:RemoveTagsFromResource", async || request.clone().send().await)
            .await?;
        Ok(())
    }

    async fn set(&self, node: &ManagedInstanceId, tags: &Tags) -> Result<(), AwsError> {
        let tags: Result<Vec<Tag>, _> =
            tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let tags = tags.map_err(|error| invalid_request("ssm:AddTagsToResource", &error))?;
        let request = self
            .calls
            .ssm
            .add_tags_to_resource()
            .resource_type(ResourceTypeForTagging::ManagedInstance)
            .resource_id(node.as_str())
            .set_tags(Some(tags));
        self.calls.call(&self.calls.add_tags, "ssm:AddTagsToResource", async || request.clone().send().await).await?;
        Ok(())
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
