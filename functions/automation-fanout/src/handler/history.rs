//! `List`, and finding again what was started under a key.

use std::collections::BTreeMap;

use hub::{AwsError, Tag};

use super::read::GET;
use super::{Run, too_late};
use crate::answer::{ListAnswer, ListedExecution, cut};
use crate::error::FanoutError;
use crate::event::Query;
use crate::plan::execution::Listed;
use crate::plan::{REQUEST_TAG_KEY, RESUMES_TAG_KEY, StartTag, key_mark};
use crate::ports::World;

const LIST: &str = "ssm:DescribeAutomationExecutions";
const TAGS: &str = "ssm:ListTagsForResource";
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
            let mut listed_now = page.executions.into_iter();
            while answer.executions.len() < query.max_results
                && let Some(listed) = listed_now.next()
            {
                match self.listed(listed, query).await {
                    Ok(found) => answer.executions.extend(found),
                    Err(error) => {
                        answer.complete = false;
                        answer.notes.push(format!("an execution was left out: {error}"));
                    }
                }
            }
            page_token = page.next_token;
            let is_last = page_token.is_none() && listed_now.len() == 0;
            if is_last {
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

    pub(super) async fn tags(&mut self, id: &str) -> Result<Vec<Tag>, AwsError> {
        if !self.tag_reads.turn(self.begin_until).await {
            return Err(too_late(TAGS, "not all tags were read, because the function's time is up"));
        }
        self.in_time(TAGS, self.world.tags(id)).await
    }

    /// An execution as it is answered, where it is one of those that were asked for.
    async fn listed(&mut self, listed: Listed, query: &Query) -> Result<Option<ListedExecution>, AwsError> {
        if let Some(key) = &query.idempotency_key
            && !start_tag(&self.tags(&listed.id).await?).is_some_and(|tag| tag.is_of_key(key))
        {
            return Ok(None);
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
            message: listed.failure_message.as_deref().map(cut),
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
        self.read_steps(&mut reading, Some(instance)).await;
        let mut places = reading.execution.map(|execution| execution.places(instance)).unwrap_or_default();
        if let Some(more_count) = places.len().checked_sub(TOUCHED_MAX).filter(|count| *count > 0) {
            places.truncate(TOUCHED_MAX);
            places.push(format!("{more_count} more"));
        }
        match reading.error {
            // It may turn up in a step that was not read.
            Some(error) if places.is_empty() => Err(error),
            _ => Ok(places),
        }
    }

    /// What was started with tags that are meant, oldest first, whatever its runbook.
    pub(super) async fn started(
        &mut self,
        is_meant: impl Fn(&StartTag) -> bool,
    ) -> Result<Vec<(Listed, StartTag)>, AwsError> {
        self.tagged(REQUEST_TAG_KEY, |tags| start_tag(tags).filter(&is_meant)).await
    }

    /// All resumptions.
    pub(super) async fn resumptions(&mut self) -> Result<Resumptions, AwsError> {
        let read = |tags: &[Tag]| Some((value(tags, RESUMES_TAG_KEY)?.to_owned(), start_tag(tags)));
        let mut resumptions = Resumptions::default();
        for (listed, (resumed, tag)) in self.tagged(RESUMES_TAG_KEY, read).await? {
            resumptions.0.entry(resumed).or_default().push((listed.id, tag));
        }
        Ok(resumptions)
    }

    /// Executions with a tag of this key, oldest first, and what is read of their tags.
    async fn tagged<T>(
        &mut self,
        tag_key: &str,
        read: impl Fn(&[Tag]) -> Option<T>,
    ) -> Result<Vec<(Listed, T)>, AwsError> {
        let mut found = Vec::new();
        let mut page_token = None;
        loop {
            let page = self.list_page(&Query::default(), Some(tag_key), page_token).await?;
            for listed in page.executions {
                // All of them are more than one invocation may read: the next goes on from here.
                let tags = match self.world.known_tags(&listed.id) {
                    Some(tags) => tags,
                    None => self.tags(&listed.id).await?,
                };
                found.extend(read(&tags).map(|read| (listed, read)));
            }
            page_token = page.next_token;
            if page_token.is_none() {
                found.reverse();
                return Ok(found);
            }
        }
    }
}

/// An execution that was resumed, and the mark of the key, where it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Branch {
    pub(super) resumed: String,
    pub(super) key_mark: Option<String>,
}

/// Which executions resume which: each with its resumptions.
#[derive(Debug, Default)]
pub(super) struct Resumptions(BTreeMap<String, Vec<(String, Option<StartTag>)>>);

impl Resumptions {
    /// Whether an execution was resumed.
    pub(super) fn has_resumed(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// The parts of an execution's resumption under a key: the digest of the request and the execution of each.
    pub(super) fn parts(&self, id: &str, key: &str) -> BTreeMap<usize, (&str, &str)> {
        let all = self.0.get(id).map(Vec::as_slice).unwrap_or_default();
        let tags = all.iter().filter_map(|(id, tag)| Some((id, tag.as_ref()?)));
        let of_key = tags.filter(|(_, tag)| tag.is_of_key(key));
        of_key.filter_map(|(id, tag)| Some((tag.part?, (tag.digest.as_str(), id.as_str())))).collect()
    }

    /// The executions that were resumed under a key.
    pub(super) fn under(&self, key: &str) -> Vec<&str> {
        let is_of_key = |(_, tag): &(String, Option<StartTag>)| tag.as_ref().is_some_and(|tag| tag.is_of_key(key));
        self.0.iter().filter(|(_, children)| children.iter().any(is_of_key)).map(|(id, _)| id.as_str()).collect()
    }

    /// From the execution that all began with to the resumption of this one under a key.
    pub(super) fn branches(&self, id: &str, key: &str) -> Vec<Branch> {
        let mut branches = vec![Branch { resumed: id.to_owned(), key_mark: Some(key_mark(key)) }];
        let resumed = |id: &str| {
            self.0.iter().find_map(|(resumed, children)| {
                let (_, tag) = children.iter().find(|(child, _)| child == id)?;
                Some(Branch { resumed: resumed.clone(), key_mark: tag.as_ref().map(|tag| tag.key_mark.clone()) })
            })
        };
        while let Some(next) = branches.last().and_then(|last| resumed(&last.resumed)) {
            // Tags that go in a circle are nobody's resumptions.
            if branches.iter().any(|branch| branch.resumed == next.resumed) {
                break;
            }
            branches.push(next);
        }
        branches.reverse();
        branches
    }

    /// Executions with all that resumed them, and what resumed that.
    pub(super) fn family(&self, ids: &[String]) -> Vec<String> {
        let mut family: Vec<String> = ids.to_vec();
        let mut index = 0;
        while let Some(id) = family.get(index) {
            let children = self.0.get(id).map(Vec::as_slice).unwrap_or_default();
            let new: Vec<String> =
                children.iter().map(|(child, _)| child.clone()).filter(|child| !family.contains(child)).collect();
            family.extend(new);
            index += 1;
        }
        family
    }
}

pub(super) fn value<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
}

fn start_tag(tags: &[Tag]) -> Option<StartTag> {
    StartTag::parse(value(tags, REQUEST_TAG_KEY)?)
}
