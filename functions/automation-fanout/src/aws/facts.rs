//! What a start is checked against: the runbook, the Regions, nodes and Change Calendars.

use aws_sdk_resourcegroupstagging::types::TagFilter;
use aws_sdk_ssm::types::{CalendarState as SdkCalendarState, DocumentFormat};
use hub::{AwsError, Timestamp};
use serde_json::Value;

use super::{Calls, unexpected};
use crate::plan::advice::KnownRegion;
use crate::plan::request::Target;
use crate::plan::runbook::{Parameter, Runbook};
use crate::ports::{CalendarState, Facts, Node};

const NODE_TYPE: &str = "ssm:managed-instance";
/// The largest page: <https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html>.
const RESOURCES_PER_PAGE: i32 = 100;
/// What the service says of a document that it does not know, or not in this version.
const NO_DOCUMENT: [&str; 3] = ["InvalidDocument", "InvalidDocumentVersion", "DocumentNotFoundException"];
/// What EC2 says of a Region that the account has not enabled.
const NOT_OPTED_IN: &str = "not-opted-in";

impl Facts for Calls {
    async fn runbook(&self, name: &str, version: Option<&str>) -> Result<Option<Runbook>, AwsError> {
        let call = self
            .ssm
            .describe_document()
            .name(name)
            .set_document_version(version.map(str::to_owned))
            .customize()
            .interceptor(self.tally.clone())
            .send();
        let output = match call.await.map_err(|error| AwsError::from_sdk("ssm:DescribeDocument", &error)) {
            Err(error) if NO_DOCUMENT.contains(&error.code.as_str()) => return Ok(None),
            output => output?,
        };
        let description = output.document.unwrap_or_else(|| aws_sdk_ssm::types::DocumentDescription::builder().build());
        let parameters = description.parameters.unwrap_or_default().into_iter().map(|parameter| Parameter {
            name: parameter.name.unwrap_or_default(),
            has_default: parameter.default_value.is_some(),
        });
        Ok(Some(Runbook {
            name: name.to_owned(),
            parameters: parameters.collect(),
            document_type: description.document_type.map(|kind| kind.as_str().to_owned()),
            steps: None,
        }))
    }

    async fn step_count(&self, name: &str, version: Option<&str>) -> Result<usize, AwsError> {
        const OPERATION: &str = "ssm:GetDocument";
        let output = self
            .ssm
            .get_document()
            .name(name)
            .set_document_version(version.map(str::to_owned))
            .document_format(DocumentFormat::Json)
            .customize()
            .interceptor(self.tally.clone())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(OPERATION, &error))?;
        let content: Value = serde_json::from_str(&output.content.unwrap_or_default())
            .map_err(|error| unexpected(OPERATION, format!("the content is not JSON: {error}")))?;
        let steps = content["mainSteps"].as_array();
        steps.map(Vec::len).ok_or_else(|| unexpected(OPERATION, "the content has no mainSteps".to_owned()))
    }

    async fn regions(&self) -> Result<Vec<KnownRegion>, AwsError> {
        let output = self
            .ec2
            .describe_regions()
            .all_regions(true)
            .customize()
            .interceptor(self.tally.clone())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ec2:DescribeRegions", &error))?;
        let regions = output.regions.unwrap_or_default().into_iter().filter_map(|region| {
            let is_enabled = region.opt_in_status.as_deref() != Some(NOT_OPTED_IN);
            Some(KnownRegion { name: region.region_name?, is_enabled })
        });
        Ok(regions.collect())
    }

    async fn nodes(&self, matching: &[Target]) -> Result<Vec<Node>, AwsError> {
        let filters = matching.iter().map(|target| {
            let key = target.key.strip_prefix("tag:").unwrap_or(&target.key);
            TagFilter::builder().key(key).set_values(Some(target.values.clone())).build()
        });
        let request = self
            .tagging
            .get_resources()
            .resource_type_filters(NODE_TYPE)
            .set_tag_filters(Some(filters.collect()))
            .resources_per_page(RESOURCES_PER_PAGE);
        let mut nodes = Vec::new();
        let mut page_token = None;
        loop {
            let call = request.clone().set_pagination_token(page_token).customize().interceptor(self.tally.clone());
            let output = call.send().await.map_err(|error| AwsError::from_sdk("tag:GetResources", &error))?;
            for mapping in output.resource_tag_mapping_list.unwrap_or_default() {
                let tags = mapping.tags.unwrap_or_default();
                let tag = |key: &str| tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.clone());
                let arn = mapping.resource_arn.unwrap_or_default();
                let Some((_, id)) = arn.rsplit_once('/') else { continue };
                nodes.push(Node { id: id.to_owned(), name: tag("Name"), source: tag(hub::SOURCE_TAG_KEY) });
            }
            page_token = output.pagination_token.filter(|token| !token.is_empty());
            if page_token.is_none() {
                break;
            }
        }
        nodes.sort_by(|one, other| one.id.cmp(&other.id));
        nodes.dedup_by(|one, other| one.id == other.id);
        Ok(nodes)
    }

    async fn calendars(&self, names: &[String]) -> Result<Option<CalendarState>, AwsError> {
        let call = self
            .ssm
            .get_calendar_state()
            .set_calendar_names(Some(names.to_vec()))
            .customize()
            .interceptor(self.tally.clone())
            .send();
        match call.await.map_err(|error| AwsError::from_sdk("ssm:GetCalendarState", &error)) {
            Err(error) if NO_DOCUMENT.contains(&error.code.as_str()) || error.code == "InvalidDocumentType" => Ok(None),
            output => {
                let output = output?;
                let is_open = output.state == Some(SdkCalendarState::Open);
                let seconds = |time: &str| time.parse().ok().map(Timestamp::unix_seconds);
                let changes = output.next_transition_time().and_then(seconds);
                let changes_in = changes.zip(output.at_time().and_then(seconds)).map(|(then, now)| then - now);
                Ok(Some(CalendarState {
                    is_open,
                    changes_in: changes_in.and_then(|seconds| seconds.try_into().ok()),
                    changes_at: output.next_transition_time,
                }))
            }
        }
    }
}
