//! What an invocation answers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::execution::Status;
use crate::request::StartRequest;
use crate::status::Cause;

/// The answer, in one form for each action.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Of `Start`, `Preview` and `Resume`.
    Start(StartAnswer),
    /// Of `Status`.
    Status(StatusAnswer),
    /// Of `Stop`.
    Stop(StopAnswer),
}

/// What was started, what was not, and why.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StartAnswer {
    /// `Start`, `Preview` or `Resume`.
    pub action: &'static str,
    /// True where nothing failed.
    pub complete: bool,
    /// What makes a second invocation start nothing new: the caller's key, or what stood in for it.
    pub idempotency_key: String,
    /// What was started.
    pub executions: Vec<StartedExecution>,
    /// What was not.
    pub failed: Vec<Failure>,
    /// In a preview: what would be started.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub planned: Vec<PlannedStart>,
    /// In a preview: the requests that would be sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<StartRequest>,
    /// How the request was read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// With `WaitSeconds`: where the executions stood in the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusAnswer>,
}

/// An execution that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StartedExecution {
    /// Its id.
    pub automation_execution_id: String,
    /// The token that it was started with.
    pub client_token: String,
    /// Its locations; null where a file says.
    pub target_locations: Option<usize>,
    /// Accounts times Regions; null where an organizational unit or a file hides it.
    pub account_region_pairs: Option<usize>,
    /// The execution that it resumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes: Option<String>,
}

/// A start in a preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PlannedStart {
    /// The token that it would be started with.
    pub client_token: String,
    /// Its locations; null where a file says.
    pub target_locations: Option<usize>,
    /// Accounts times Regions; null where an organizational unit or a file hides it.
    pub account_region_pairs: Option<usize>,
}

/// Something that was not done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Failure {
    /// The token of the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
    /// The execution that was to be stopped or resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automation_execution_id: Option<String>,
    /// The error code of AWS, or one of ours: `DeadlineExceeded`, `StillRunning`, `NotResumable`, `InvalidLimit`.
    pub code: String,
    /// The same in words.
    pub message: String,
}

/// Where executions stand.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StatusAnswer {
    /// Always `Status`.
    pub action: &'static str,
    /// True where nothing more will happen to any of them.
    pub terminal: bool,
    /// All of it in one line.
    pub summary: String,
    /// One entry for each execution asked for.
    pub executions: Vec<ExecutionStatus>,
}

/// Where one execution stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExecutionStatus {
    /// Its id.
    pub automation_execution_id: String,
    /// The service's own word; absent where it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// True where nothing more will happen to it.
    pub terminal: bool,
    /// The runbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_name: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_version: Option<String>,
    /// How many locations have which status.
    pub counts: BTreeMap<String, usize>,
    /// How many locations went wrong for which cause.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub causes: BTreeMap<&'static str, usize>,
    /// Account by account, Region by Region.
    pub locations: Vec<LocationStatus>,
    /// How many more locations there are than an answer can hold. Those in trouble are listed first of all.
    #[serde(skip_serializing_if = "is_zero")]
    pub locations_omitted: usize,
    /// Why the execution itself failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What ended well and still needs a look.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why it could not be read, or not in full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ReadError>,
}

/// Why an execution could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReadError {
    /// The error code of AWS, or `DeadlineExceeded`.
    pub code: String,
    /// The same in words.
    pub message: String,
}

/// Where one account and Region stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LocationStatus {
    /// The account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The Region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The step, where it tells neither account nor Region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The service's own word, or `NotStarted` where the execution ended before it came here.
    pub status: Status,
    /// The execution in that account and Region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child_execution_id: Option<String>,
    /// Why it did not come to a good end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The same in the service's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What became of each execution that was to be stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StopAnswer {
    /// Always `Stop`.
    pub action: &'static str,
    /// `Cancel` or `Complete`.
    #[serde(rename = "Type")]
    pub stop_type: &'static str,
    /// True where nothing failed.
    pub complete: bool,
    /// What was stopped, or had ended before.
    pub executions: Vec<StoppedExecution>,
    /// What was not.
    pub failed: Vec<Failure>,
}

/// An execution that is being stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StoppedExecution {
    /// Its id.
    pub automation_execution_id: String,
    /// What became of it.
    pub outcome: StopOutcome,
}

/// What became of an execution that was to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopOutcome {
    /// The service took the order; `Status` shows when it is done.
    StopRequested,
    /// There was nothing left to stop.
    AlreadyEnded,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &usize) -> bool {
    *value == 0
}
