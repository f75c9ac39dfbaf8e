//! The central account: grants, coverage, activations, and nodes with their tags and patches.

use std::collections::HashMap;

use aws_config::SdkConfig;
use aws_sdk_lambda::Client as LambdaClient;
use aws_sdk_resourcegroupstagging::Client as TaggingClient;
use aws_sdk_ssm::Client as SsmClient;
use aws_sdk_ssm::types::{InstanceInformation, InstanceInformationStringFilter};
use aws_smithy_types::DateTime;
use direct_call::Caller;
use fleet::{ActivationFacts, Node, PatchReading, Ping, RegionCoverage};
use hub::{AGENCY_ALIAS_PREFIX, AGENCY_TAG_KEY, AccountId, AwsError, FunctionArn, ManagedInstanceId, Timestamp};
use ssm_tag_manager::plan::Tags;

use super::log;
use crate::ports::{Granted, Hub, Logged, Names, NodePage};

/// The largest page: <https://docs.aws.amazon.com/lambda/latest/api/API_ListAliases.html>.
const ALIASES_PER_PAGE: i32 = 50;
/// The largest page: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html>.
const PARAMETERS_PER_PAGE: i32 = 10;
/// The largest page: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeActivations.html>.
const ACTIVATIONS_PER_PAGE: i32 = 50;
/// The largest page: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeInstanceInformation.html>.
const NODES_PER_PAGE: i32 = 50;
/// What the alias of an agency without a name is described as, before its account.
const UNNAMED: &str = "Reports of account ";

/// The clients.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Lambda.
    pub lambda: LambdaClient,
    /// Systems Manager.
    pub ssm: SsmClient,
    /// The Resource Groups Tagging API.
    pub tagging: TaggingClient,
    /// `CloudWatch` and its logs.
    pub caller: Caller,
}

impl Clients {
    /// The clients of a configuration.
    pub fn new(config: &SdkConfig) -> Self {
        Self {
            lambda: LambdaClient::new(config),
            ssm: SsmClient::new(config),
            tagging: TaggingClient::new(config),
            caller: super::caller(config),
        }
    }
}

/// The central account and Region.
#[derive(Debug, Clone)]
pub struct CentralAccount {
    clients: Clients,
    names: Names,
    arn_prefix: String,
}

impl CentralAccount {
    /// The account and Region of a function, or of any other part of the hub.
    pub fn new(clients: Clients, names: Names, part: &FunctionArn) -> Self {
        let FunctionArn { partition, region, account, .. } = part;
        Self { clients, names, arn_prefix: format!("arn:{partition}:ssm:{region}:{account}:managed-instance/") }
    }

    /// The tags of at most 100 nodes. Those that never had a tag are left out.
    async fn tags(&self, nodes: &[ManagedInstanceId]) -> Result<HashMap<ManagedInstanceId, Tags>, AwsError> {
        if nodes.is_empty() {
            return Ok(HashMap::new());
        }
        let arns = nodes.iter().map(|node| format!("{}{node}", self.arn_prefix)).collect();
        let output = self.clients.tagging.get_resources().set_resource_arn_list(Some(arns)).send().await;
        let output = output.map_err(|error| AwsError::from_sdk("tag:GetResources", &error))?;
        let mappings = output.resource_tag_mapping_list.unwrap_or_default().into_iter();
        let tagged = mappings.filter_map(|mapping| {
            let id = mapping.resource_arn?.strip_prefix(&self.arn_prefix)?.parse().ok()?;
            Some((id, mapping.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()))
        });
        Ok(tagged.collect())
    }
}

impl Hub for CentralAccount {
    async fn granted(&self) -> Result<Vec<Granted>, AwsError> {
        let request = self.clients.lambda.list_aliases().function_name(&self.names.manager).max_items(ALIASES_PER_PAGE);
        let mut pages = request.into_paginator().send();
        let mut granted = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::from_sdk("lambda:ListAliases", &error))?;
            granted.extend(page.aliases.unwrap_or_default().into_iter().filter_map(|alias| {
                let account = alias.name?.strip_prefix(AGENCY_ALIAS_PREFIX)?.parse().ok()?;
                let name = alias.description.filter(|text| !text.is_empty() && !text.starts_with(UNNAMED));
                Some(Granted { account, name })
            }));
        }
        Ok(granted)
    }

    async fn coverage(&self) -> Result<Vec<RegionCoverage>, AwsError> {
        let path = format!("/tag-hub/{}coverage", self.names.prefix);
        let request = self.clients.ssm.get_parameters_by_path().path(path).recursive(true);
        let mut pages = request.max_results(PARAMETERS_PER_PAGE).into_paginator().send();
        let mut all = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::from_sdk("ssm:GetParametersByPath", &error))?;
            for parameter in page.parameters.unwrap_or_default() {
                let name = parameter.name.unwrap_or_default();
                let written = parameter.last_modified_date.as_ref().map(time);
                let coverage = RegionCoverage::of(&name, parameter.value.as_deref().unwrap_or_default(), written);
                if coverage.is_none() {
                    tracing::warn!(parameter = name, "a parameter holds no coverage");
                }
                all.extend(coverage);
            }
        }
        Ok(all)
    }

    async fn activations(&self) -> Result<Vec<ActivationFacts>, AwsError> {
        let request = self.clients.ssm.describe_activations().max_results(ACTIVATIONS_PER_PAGE);
        let mut pages = request.into_paginator().send();
        let mut all = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::from_sdk("ssm:DescribeActivations", &error))?;
            let listed = page.activation_list.unwrap_or_default().into_iter().filter(|one| !one.expired);
            all.extend(listed.filter_map(|one| {
                let owner = one.tags().iter().find(|tag| tag.key() == AGENCY_TAG_KEY)?.value().parse().ok()?;
                let count =
                    |count: Option<i32>| count.and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
                let (limit, used) = (count(one.registration_limit), count(one.registrations_count));
                Some(ActivationFacts {
                    account: owner,
                    ends: time(one.expiration_date.as_ref()?),
                    registrations_left: limit.saturating_sub(used),
                    registration_limit: limit,
                })
            }));
        }
        Ok(all)
    }

    async fn logged(&self, since: Timestamp, until: Timestamp) -> Result<Logged, AwsError> {
        log::logged(&self.clients.caller, &self.names.manager, (since, Some(until)), log::NODES).await
    }

    async fn last_reports(
        &self,
        agencies: &[AccountId],
        now: Timestamp,
    ) -> Result<HashMap<AccountId, Timestamp>, AwsError> {
        log::last_reports(&self.clients.caller, &self.names, agencies, now).await
    }

    async fn nodes(&self, next: Option<String>) -> Result<NodePage, AwsError> {
        const OPERATION: &str = "ssm:DescribeInstanceInformation";
        let hybrid = InstanceInformationStringFilter::builder().key("ResourceType").values("ManagedInstance").build();
        let hybrid = hybrid.map_err(|error| AwsError {
            operation: OPERATION,
            code: "InvalidRequest".to_owned(),
            message: error.to_string(),
            request_id: None,
            retryable: false,
        })?;
        let request = self.clients.ssm.describe_instance_information().filters(hybrid).max_results(NODES_PER_PAGE);
        let page = request.set_next_token(next).send().await;
        let page = page.map_err(|error| AwsError::from_sdk(OPERATION, &error))?;
        let known: Vec<InstanceInformation> = page.instance_information_list.unwrap_or_default();
        let ids: Vec<ManagedInstanceId> = known.iter().filter_map(|node| node.instance_id()?.parse().ok()).collect();
        let mut tags = self.tags(&ids).await?;
        let nodes = known.into_iter().filter_map(|node| {
            let id: ManagedInstanceId = node.instance_id()?.parse().ok()?;
            let tags = tags.remove(&id).unwrap_or_default();
            Some(node_of(id, &node, tags))
        });
        Ok(NodePage { nodes: nodes.collect(), next: page.next_token.filter(|token| !token.is_empty()) })
    }

    async fn patches(&self, nodes: &[ManagedInstanceId]) -> Result<HashMap<ManagedInstanceId, PatchReading>, AwsError> {
        let ids = nodes.iter().map(ToString::to_string).collect();
        let request = self.clients.ssm.describe_instance_patch_states().set_instance_ids(Some(ids));
        let mut pages = request.into_paginator().send();
        let mut all = HashMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::from_sdk("ssm:DescribeInstancePatchStates", &error))?;
            for state in page.instance_patch_states.unwrap_or_default() {
                let count = |count: i32| u32::try_from(count).unwrap_or_default();
                let or_none = |count: Option<i32>| u32::try_from(count.unwrap_or_default()).unwrap_or_default();
                let reading = PatchReading {
                    missing: count(state.missing_count),
                    failed: count(state.failed_count),
                    critical: or_none(state.critical_non_compliant_count),
                    pending_reboot: or_none(state.installed_pending_reboot_count),
                    scanned_at: Some(time(&state.operation_end_time)),
                };
                all.extend(state.instance_id.parse().ok().map(|id: ManagedInstanceId| (id, reading)));
            }
        }
        Ok(all)
    }
}

/// A node as Systems Manager knows it.
pub fn node_of(id: ManagedInstanceId, known: &InstanceInformation, tags: Tags) -> Node {
    let ping = match known.ping_status().map(aws_sdk_ssm::types::PingStatus::as_str) {
        Some("Online") => Ping::Online,
        Some("Inactive") => Ping::Inactive,
        _ => Ping::Lost,
    };
    Node {
        name: tags.get("Name").cloned().or_else(|| known.computer_name().or(known.name()).map(str::to_owned)),
        ping,
        last_ping: known.last_ping_date_time().map(time),
        agent: known.agent_version().unwrap_or_default().to_owned(),
        platform: known.platform_name().unwrap_or_default().to_owned(),
        id,
        tags,
    }
}

fn time(date: &DateTime) -> Timestamp {
    Timestamp::from_unix_seconds(date.secs())
}
