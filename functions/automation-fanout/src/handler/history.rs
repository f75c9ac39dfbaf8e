//! `List`, and finding again what was started under a key.

use hub::AwsError;

use super::{Run, too_late};
use crate::answer::{ListAnswer, ListedExecution};
use crate::error::FanoutError;
use crate::event::Query;
use crate::plan::execution::{Execution, Listed};
use crate::plan::{REQUEST_TAG_KEY, RESUMES_TAG_KEY, key_mark};
use crate::ports::World;

const LIST: &str = "ssm:DescribeAutomationExecutions";
const TAGS: &str = "ssm:ListTagsForResource";
const GET: &str = "ssm:GetAutomationExecution";
/// How many places are told where an instance turned up in.
const TOUCHED_MAX: usize = 20;

impl<W: World> Run<'_, W> {
    pub(super) async fn list(&mut self, query: &Query) -> Result<ListAnswer, FanoutError> {
        let mut answer = ListAnswer { action: "List", complete: true, executions: Vec::new(), notes: Vec::new() };
        let tag_key = query.idempotency_key.as_ref().map(|_| REQUEST_TAG_KEY);
        let mut page_token = None;
        loop {
            let page = match self.list_page(query, tag_key, page_token).await {
                Ok(page) => page,
                Err(error) if answer.executions.is_empty() => return Err(FanoutError::NotListed(error)),
                Err(error) => {
                    answer.complete = false;
                    answer.notes.push(format!("there may be more: {error}"));
                    break;
                }
            };
            for listed in page.executions {
                match self.listed(listed, query).await {
                    Ok(found) => answer.executions.extend(found),
                    Err(error) => {
                        answer.complete = false;
                        answer.notes.push(format!("an execution was left out: {error}"));
                    }
                }
                if answer.executions.len() == query.max_results {
                    break;
                }
            }
            page_token = page.next_token;
            if page_token.is_none() {
                break;
            }
            if answer.executions.len() == query.max_results {
                answer.complete = false;
                answer.notes.push(format!(
                    "there may be more than {}: narrow the time, or raise MaxResults",
                    query.max_results
                ));
                break;
            }
        }
        tracing::info!(complete = answer.complete, executions = answer.executions.len(), "executions listed");
        Ok(answer)
    }

    async fn list_page(
        &mut self,
        query: &Query,
        tag_key: Option<&str>,
        page_token: Option<String>,
    ) -> Result<crate::ports::ExecutionPage, AwsError> {
        if !self.lists.turn(self.begin_until).await {
            return Err(too_late(LIST, "not all were listed, because the function's time is up"));
        }
        self.in_time(LIST, self.world.executions(query, tag_key, page_token)).await
    }

    /// The tag of an execution with this key.
    async fn tag(&mut self, id: &str, key: &str) -> Result<Option<String>, AwsError> {
        if !self.tag_reads.turn(self.begin_until).await {
            return Err(too_late(TAGS, "not all tags were read, because the function's time is up"));
        }
        let tags = self.in_time(TAGS, self.world.tags(id)).await?;
        Ok(tags.into_iter().find(|tag| tag.key == key).map(|tag| tag.value))
    }

    /// An execution as it is answered, where it is one of those that were asked for.
    async fn listed(&mut self, listed: Listed, query: &Query) -> Result<Option<ListedExecution>, AwsError> {
        if let Some(key) = &query.idempotency_key {
            let tag = self.tag(&listed.id, REQUEST_TAG_KEY).await?;
            if !tag.is_some_and(|tag| is_of_key(&tag, key)) {
                return Ok(None);
            }
        }
        let mut touched = Vec::new();
        if let Some(instance) = &query.instance_id {
            touched = self.touched(&listed.id, instance).await?;
            if touched.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(ListedExecution {
            automation_execution_id: listed.id,
            document_name: listed.document_name,
            document_version: listed.document_version,
            status: listed.status,
            started_at: listed.started_at,
            ended_at: listed.ended_at,
            executed_by: listed.executed_by,
            message: listed.failure_message,
            touched,
        }))
    }

    /// Where an instance turns up in an execution, as far as its own steps and their outputs tell: what runs in other
    /// accounts is not read.
    async fn touched(&mut self, id: &str, instance: &str) -> Result<Vec<String>, AwsError> {
        if !self.reads.turn(self.begin_until).await {
            return Err(too_late(GET, "not read, because the function's time is up"));
        }
        let execution = self.in_time(GET, self.world.execution(id)).await?;
        let mut reading = super::read::Reading {
            id: id.to_owned(),
            all_steps_read: !execution.steps_truncated,
            execution: Some(execution),
            error: None,
        };
        self.read_steps(&mut reading).await;
        Ok(reading.execution.map(|execution| places(&execution, instance)).unwrap_or_default())
    }

    /// What was started under a key, with the whole tag of each.
    pub(super) async fn started_under(&mut self, key: &str, document: &str) -> Result<Vec<(Listed, String)>, AwsError> {
        self.tagged(document, REQUEST_TAG_KEY, |tag| is_of_key(tag, key)).await
    }

    /// The resumptions of an execution.
    pub(super) async fn resumptions_of(&mut self, id: &str, document: &str) -> Result<Vec<Listed>, AwsError> {
        let found = self.tagged(document, RESUMES_TAG_KEY, |tag| tag == id).await?;
        Ok(found.into_iter().map(|(listed, _)| listed).collect())
    }

    /// Executions of a runbook with a tag that is meant, oldest first. A list may name the runbook without its ARN.
    async fn tagged(
        &mut self,
        document: &str,
        tag_key: &str,
        is_meant: impl Fn(&str) -> bool,
    ) -> Result<Vec<(Listed, String)>, AwsError> {
        let mut found = Vec::new();
        let mut page_token = None;
        loop {
            let page = self.list_page(&Query::default(), Some(tag_key), page_token).await?;
            for listed in page.executions {
                if short_name(&listed.document_name) != short_name(document) {
                    continue;
                }
                if let Some(tag) = self.tag(&listed.id, tag_key).await?.filter(|tag| is_meant(tag)) {
                    found.push((listed, tag));
                }
            }
            page_token = page.next_token;
            if page_token.is_none() {
                found.reverse();
                return Ok(found);
            }
        }
    }
}

fn short_name(document: &str) -> &str {
    document.rsplit_once(":document/").map_or(document, |(_, name)| name)
}

fn is_of_key(tag: &str, key: &str) -> bool {
    tag.rsplit_once('.').is_some_and(|(_, mark)| mark == key_mark(key))
}

fn places(execution: &Execution, instance: &str) -> Vec<String> {
    let mut places = Vec::new();
    let names = |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| word == instance);
    for (name, values) in &execution.request.parameters {
        if values.iter().any(|value| names(value)) {
            places.push(format!("Parameters.{name}"));
        }
    }
    if execution.request.targets.iter().flat_map(|target| &target.values).any(|value| names(value))
        || execution.resolved_targets.iter().any(|value| names(value))
    {
        places.push("Targets".to_owned());
    }
    for step in &execution.steps {
        let outputs = step.outputs.values().flatten().any(|value| names(value));
        if outputs || step.inputs.values().any(|value| names(value)) || names(&step.name) {
            places.push(format!("step {}", step.name));
        }
    }
    places.truncate(TOUCHED_MAX);
    places
}
