//! Past executions, over Systems Manager.

use aws_sdk_ssm::types::{AutomationExecutionFilter, AutomationExecutionFilterKey as Key, ResourceTypeForTagging};
use hub::{AwsError, Tag, Timestamp};

use super::{Calls, convert, unexpected};
use crate::event::Query;
use crate::ports::{ExecutionPage, History};

const DESCRIBE: &str = "ssm:DescribeAutomationExecutions";
/// The largest page: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeAutomationExecutions.html>.
const EXECUTIONS_PER_PAGE: i32 = 50;
/// The tags of so many executions are kept, which take some 30 MB.
const KNOWN_MAX: usize = 50_000;

impl History for Calls {
    async fn executions(
        &self,
        query: &Query,
        tag_key: Option<&str>,
        page_token: Option<String>,
    ) -> Result<ExecutionPage, AwsError> {
        let output = self
            .ssm
            .describe_automation_executions()
            .set_filters(Some(filters(query, tag_key)?).filter(|filters| !filters.is_empty()))
            .max_results(EXECUTIONS_PER_PAGE)
            .set_next_token(page_token)
            .customize()
            .interceptor(self.tally.clone())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(DESCRIBE, &error))?;
        let executions = output.automation_execution_metadata_list.unwrap_or_default().into_iter();
        Ok(ExecutionPage {
            // A child in this account is a part of another execution.
            executions: executions
                .filter(|execution| execution.parent_automation_execution_id.is_none())
                .map(convert::listed)
                .collect(),
            next_token: output.next_token.filter(|token| !token.is_empty()),
        })
    }

    async fn tags(&self, id: &str) -> Result<Vec<Tag>, AwsError> {
        let output = self
            .ssm
            .list_tags_for_resource()
            .resource_type(ResourceTypeForTagging::Automation)
            .resource_id(id)
            .customize()
            .interceptor(self.tally.clone())
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("ssm:ListTagsForResource", &error))?;
        let tags = output.tag_list.unwrap_or_default().into_iter();
        let tags: Vec<Tag> = tags.map(|tag| Tag { key: tag.key, value: tag.value }).collect();
        // Without ours they may not all be there yet.
        if tags.iter().any(|tag| hub::is_reserved(&tag.key))
            && let Ok(mut known) = self.known_tags.lock()
            && known.len() < KNOWN_MAX
        {
            known.insert(id.to_owned(), tags.clone());
        }
        Ok(tags)
    }

    fn known_tags(&self, id: &str) -> Option<Vec<Tag>> {
        self.known_tags.lock().ok()?.get(id).cloned()
    }
}

fn filters(query: &Query, tag_key: Option<&str>) -> Result<Vec<AutomationExecutionFilter>, AwsError> {
    let time = |time: &Timestamp| vec![time.to_string()];
    let statuses = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let all: [(Key, Option<Vec<String>>); 5] = [
        (Key::TagKey, tag_key.map(|key| vec![key.to_owned()])),
        (Key::DocumentNamePrefix, query.document_name.clone().map(|name| vec![name])),
        (Key::ExecutionStatus, query.outcome.map(|outcome| statuses(outcome.statuses()))),
        (Key::StartTimeAfter, query.started_after.as_ref().map(time)),
        (Key::StartTimeBefore, query.started_before.as_ref().map(time)),
    ];
    let given = all.into_iter().filter_map(|(key, values)| Some((key, values?)));
    let filter = |(key, values)| AutomationExecutionFilter::builder().key(key).set_values(Some(values)).build();
    let filters: Result<Vec<_>, _> = given.map(filter).collect();
    filters.map_err(|error| unexpected(DESCRIBE, error.to_string()))
}
