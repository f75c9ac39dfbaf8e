//! Managed nodes: what Systems Manager knows of them, and their tags.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_resourcegroupstagging::types::TagFilter;
use aws_sdk_ssm::types::{InstanceInformation, InstanceInformationStringFilter, ResourceTypeForTagging};
use fleet_reporter::aws::node_of;
use hub::{AwsError, ManagedInstanceId};
use ssm_tag_manager::plan::Tags;

use crate::aws::hub::{About, Hub};
use crate::failure::Failure;
use crate::view::nodes::{Node, Ping};

/// Nodes in one page of DescribeInstanceInformation:
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeInstanceInformation.html>.
const PAGE: i32 = 50;

/// Reads nodes page by page: at most 50 at once are in memory.
#[derive(Debug)]
pub struct Pages<'a> {
    hub: &'a Hub,
    /// One tag that the service filters by. It takes no more than one.
    filter: Option<(String, String)>,
    with_tags: bool,
    next: Option<String>,
    is_done: bool,
}

impl<'a> Pages<'a> {
    /// All hybrid nodes of the hub, or those with a tag.
    pub fn new(hub: &'a Hub, filter: Option<(String, String)>) -> Self {
        Self { hub, filter, with_tags: true, next: None, is_done: false }
    }

    /// The same without the tags, which halves the calls.
    #[must_use]
    pub fn without_tags(self) -> Self {
        Self { with_tags: false, ..self }
    }

    /// The next page, in the order of AWS; nothing after the last one.
    ///
    /// # Errors
    /// If Systems Manager or the Tagging API does not answer.
    pub async fn next(&mut self) -> Result<Option<Vec<Node>>, Failure> {
        if self.is_done {
            return Ok(None);
        }
        let filter = match &self.filter {
            Some((key, value)) => filter(&format!("tag:{key}"), value)?,
            None => filter("ResourceType", "ManagedInstance")?,
        };
        let request = self.hub.session.ssm().describe_instance_information();
        let page = request.filters(filter).max_results(PAGE).set_next_token(self.next.take()).send().await;
        let page = page.map_err(|error| failed("ssm:DescribeInstanceInformation", &error))?;
        self.next = page.next_token.filter(|token| !token.is_empty());
        self.is_done = self.next.is_none();
        let known: Vec<InstanceInformation> = page.instance_information_list.unwrap_or_default();
        let ids: Vec<ManagedInstanceId> = known.iter().filter_map(|node| node.instance_id()?.parse().ok()).collect();
        let mut tags = if self.with_tags { tags_of(self.hub, &ids).await? } else { HashMap::new() };
        let nodes = known.into_iter().filter_map(|node| {
            let id: ManagedInstanceId = node.instance_id()?.parse().ok()?;
            let tags = tags.remove(&id).unwrap_or_default();
            Some(node_of(id, &node, tags))
        });
        Ok(Some(nodes.collect()))
    }
}

fn filter(key: &str, value: &str) -> Result<InstanceInformationStringFilter, Failure> {
    let filter = InstanceInformationStringFilter::builder().key(key).values(value).build();
    filter.map_err(|problem| Failure::usage(problem.to_string()))
}

/// The tags of nodes, 100 in a call. Those that never had a tag are left out.
async fn tags_of(hub: &Hub, nodes: &[ManagedInstanceId]) -> Result<HashMap<ManagedInstanceId, Tags>, Failure> {
    let prefix = arn_prefix(&hub.about);
    let mut all = HashMap::new();
    let client = hub.session.tagging();
    for some in nodes.chunks(100) {
        let arns = some.iter().map(|node| format!("{prefix}{node}")).collect();
        let output = client.get_resources().set_resource_arn_list(Some(arns)).send().await;
        let output = output.map_err(|error| failed("tag:GetResources", &error))?;
        all.extend(tagged(&prefix, output.resource_tag_mapping_list));
    }
    Ok(all)
}

fn tagged(
    prefix: &str,
    mappings: Option<Vec<aws_sdk_resourcegroupstagging::types::ResourceTagMapping>>,
) -> impl Iterator<Item = (ManagedInstanceId, Tags)> {
    mappings.unwrap_or_default().into_iter().filter_map(move |mapping| {
        let id = mapping.resource_arn?.strip_prefix(prefix)?.parse().ok()?;
        Some((id, mapping.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()))
    })
}

/// How many nodes are online, and how many there are: all hybrid nodes of the hub, or those with a tag.
///
/// # Errors
/// If Systems Manager does not answer.
pub async fn count(hub: &Hub, filter: Option<(String, String)>) -> Result<(usize, usize), Failure> {
    let mut pages = Pages::new(hub, filter).without_tags();
    let (mut online, mut all) = (0, 0);
    while let Some(page) = pages.next().await? {
        all += page.len();
        online += page.iter().filter(|node| node.ping == Ping::Online).count();
    }
    Ok((online, all))
}

/// How many hybrid nodes carry each value of a tag.
///
/// # Errors
/// If the Tagging API does not answer.
pub async fn count_by(hub: &Hub, key: &str) -> Result<BTreeMap<String, usize>, Failure> {
    let mut counts = BTreeMap::new();
    each_tagged(hub, key, |_, tags| {
        if let Some(value) = tags.get(key) {
            *counts.entry(value.clone()).or_default() += 1;
        }
    })
    .await?;
    Ok(counts)
}

/// The nodes whose tag `tag-hub:source` names an EC2 instance, in any account and Region.
///
/// # Errors
/// If the Tagging API does not answer.
pub async fn of_instance(hub: &Hub, instance: &hub::Ec2InstanceId) -> Result<Vec<ManagedInstanceId>, Failure> {
    let end = format!("/{instance}");
    let mut found = Vec::new();
    each_tagged(hub, hub::SOURCE_TAG_KEY, |id, tags| {
        if tags.get(hub::SOURCE_TAG_KEY).is_some_and(|source| source.ends_with(&end)) {
            found.push(id);
        }
    })
    .await?;
    Ok(found)
}

async fn each_tagged(hub: &Hub, key: &str, mut see: impl FnMut(ManagedInstanceId, Tags)) -> Result<(), Failure> {
    let prefix = arn_prefix(&hub.about);
    let client = hub.session.tagging();
    let request = client.get_resources().resource_type_filters("ssm:managed-instance").resources_per_page(100);
    let mut pages = request.tag_filters(TagFilter::builder().key(key).build()).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failed("tag:GetResources", &error))?;
        for (id, tags) in tagged(&prefix, page.resource_tag_mapping_list) {
            see(id, tags);
        }
    }
    Ok(())
}

/// One node with its tags, read from Systems Manager itself; nothing if there is no such node.
///
/// # Errors
/// If Systems Manager does not answer.
pub async fn one(hub: &Hub, id: &ManagedInstanceId) -> Result<Option<Node>, Failure> {
    let client = hub.session.ssm();
    let request = client.describe_instance_information().filters(filter("InstanceIds", id.as_str())?);
    let known = match request.send().await {
        Ok(output) => output.instance_information_list.unwrap_or_default().into_iter().next(),
        Err(error) => {
            let error = AwsError::from_sdk("ssm:DescribeInstanceInformation", &error);
            if error.code == "InvalidInstanceId" {
                return Ok(None);
            }
            return Err(Failure::aws(&error, ""));
        }
    };
    let Some(known) = known else { return Ok(None) };
    let request = client.list_tags_for_resource().resource_type(ResourceTypeForTagging::ManagedInstance);
    let tags = request.resource_id(id.as_str()).send().await;
    let tags =
        tags.map_err(|error| Failure::aws(&AwsError::from_sdk("ssm:ListTagsForResource", &error), id.as_str()))?;
    let tags = tags.tag_list.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect();
    Ok(Some(node_of(id.clone(), &known, tags)))
}

fn arn_prefix(about: &About) -> String {
    let About { partition, region, account, .. } = about;
    format!("arn:{partition}:ssm:{region}:{account}:managed-instance/")
}

fn failed<E>(
    operation: &'static str,
    error: &aws_smithy_runtime_api::client::result::SdkError<
        E,
        aws_smithy_runtime_api::client::orchestrator::HttpResponse,
    >,
) -> Failure
where
    E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
{
    Failure::aws(&AwsError::from_sdk(operation, error), "")
}
