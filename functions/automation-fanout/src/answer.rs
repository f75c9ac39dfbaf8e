//! What an invocation answers.

mod campaign;
mod execution;
mod fit;
mod status;

use hub::Timestamp;
use serde::Serialize;

use crate::plan::execution::Status;
use crate::plan::request::StartRequest;

pub use campaign::{CampaignAnswer, PreflightAnswer, WaveAnswer, WavePlan, WaveState};
pub use execution::{ExecutionStatus, FailureGroup, LocationStatus, ReadError, StatusAnswer, WaitingStep};
pub use fit::fit;
pub use status::{cut, failure_groups, status_answer, view};

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
    /// Of `Preflight`.
    Preflight(Box<PreflightAnswer>),
    /// Of `List`.
    List(ListAnswer),
    /// Of `Signal`.
    Signal(SignalAnswer),
    /// Of `Campaign`.
    Campaign(CampaignAnswer),
    /// Of `Wave`.
    Wave(WaveAnswer),
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
    /// The nodes that fit `Match`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<Machine>,
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

/// A node that a run reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Machine {
    /// The node, `mi-…`.
    pub node_id: String,
    /// Its tag `Name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The instance behind it: account, Region and id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
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
    /// The error code of AWS, or one of ours: `DeadlineExceeded`, `NotTried`, `Stopped`, `StillRunning`, `NotResumable`,
    /// `InvalidLimit`.
    pub code: String,
    /// The same in words.
    pub message: String,
    /// Whether the same call may go through later.
    #[serde(skip)]
    pub retryable: bool,
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

/// Past runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListAnswer {
    /// Always `List`.
    pub action: &'static str,
    /// True where nothing was left out.
    pub complete: bool,
    /// Those started last first.
    pub executions: Vec<ListedExecution>,
    /// Why something was left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A past run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListedExecution {
    /// Its id.
    pub automation_execution_id: String,
    /// The runbook.
    pub document_name: String,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_version: Option<String>,
    /// The service's own word.
    pub status: Status,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The ARN of whoever started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executed_by: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where the instance that was asked for turned up in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub touched: Vec<String>,
}

/// An execution that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SignalAnswer {
    /// Always `Signal`.
    pub action: &'static str,
    /// The execution.
    pub automation_execution_id: String,
    /// What was sent.
    pub signal_type: &'static str,
}
