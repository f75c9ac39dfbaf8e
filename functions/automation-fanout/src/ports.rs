//! What the handler needs of the world.
#![expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]

use hub::AwsError;

use crate::event::{Query, Signal, StopType};
use crate::plan::advice::KnownRegion;
use crate::plan::execution::{Execution, Listed, Step};
use crate::plan::request::{StartRequest, Target};
use crate::plan::runbook::Runbook;

/// Executions of the central account and Region.
pub trait Automation {
    /// Starts an execution and gives its id, with one attempt.
    async fn start(&self, request: &StartRequest) -> Result<String, AwsError>;
    /// An execution, with its steps where they are few.
    async fn execution(&self, id: &str) -> Result<Execution, AwsError>;
    /// A page of an execution's steps.
    async fn steps(&self, id: &str, page_token: Option<String>) -> Result<StepPage, AwsError>;
    /// Ends an execution.
    async fn stop(&self, id: &str, stop_type: StopType) -> Result<(), AwsError>;
    /// Answers an execution that waits.
    async fn signal(&self, signal: &Signal) -> Result<(), AwsError>;
    /// Gives an execution a tag of this key.
    async fn mark(&self, id: &str, tag_key: &str) -> Result<(), AwsError>;
}

/// Past executions of the central account and Region.
pub trait History {
    /// A page of executions, those started last first. `tag_key` leaves those that have a tag with this key.
    async fn executions(
        &self,
        query: &Query,
        tag_key: Option<&str>,
        page_token: Option<String>,
    ) -> Result<ExecutionPage, AwsError>;
    /// The tags of an execution.
    async fn tags(&self, id: &str) -> Result<Vec<hub::Tag>, AwsError>;
    /// The same as they were read before, by this or an earlier invocation. What a start gave its execution stays.
    fn known_tags(&self, id: &str) -> Option<Vec<hub::Tag>>;
}

/// What a start is checked against.
pub trait Facts {
    /// A runbook of the central account and Region, or one of AWS's; none where there is no such runbook.
    async fn runbook(&self, name: &str, version: Option<&str>) -> Result<Option<Runbook>, AwsError>;
    /// How many steps a runbook has.
    async fn step_count(&self, name: &str, version: Option<&str>) -> Result<usize, AwsError>;
    /// The Regions of the partition.
    async fn regions(&self) -> Result<Vec<KnownRegion>, AwsError>;
    /// The managed nodes of the central account and Region that fit all of these, in the order of their ids.
    async fn nodes(&self, matching: &[Target]) -> Result<Vec<Node>, AwsError>;
    /// Whether all of these Change Calendars are open; none where one of them does not exist.
    async fn calendars(&self, names: &[String]) -> Result<Option<CalendarState>, AwsError>;
}

/// All of the world.
pub trait World: Automation + History + Facts {}

impl<T: Automation + History + Facts> World for T {}

/// A page of steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepPage {
    /// The steps.
    pub steps: Vec<Step>,
    /// Where the next page is, if there is one.
    pub next_token: Option<String>,
}

/// A page of executions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionPage {
    /// The executions.
    pub executions: Vec<Listed>,
    /// Where the next page is, if there is one.
    pub next_token: Option<String>,
}

/// A managed node of the central account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `mi-…`.
    pub id: String,
    /// Its tag `Name`.
    pub name: Option<String>,
    /// Its tag `tag-hub:source`: account, Region and instance.
    pub source: Option<String>,
}

/// How Change Calendars stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarState {
    /// Whether changes are allowed now.
    pub is_open: bool,
    /// When that changes.
    pub changes_at: Option<String>,
    /// In how many seconds it does.
    pub changes_in: Option<u64>,
}
