//! What an invocation answers.

mod fit;
mod status;

use std::collections::BTreeMap;

use hub::Timestamp;
use serde::Serialize;

use crate::plan::cause::Cause;
use crate::plan::execution::{Progress, Status};
use crate::plan::request::StartRequest;

pub use fit::fit;
pub use status::{failure_groups, status_answer, view};

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
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The ARN of whoever started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executed_by: Option<String>,
    /// Why it failed before it came to any location.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The alarms that stopped it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
    /// What waits for somebody, to be answered with `Signal`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<WaitingStep>,
    /// How far its steps are, by the service's own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What went wrong, by cause: the most frequent first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailureGroup>,
    /// How many locations have which status.
    pub counts: BTreeMap<String, usize>,
    /// How many locations went wrong for which cause.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub causes: BTreeMap<&'static str, usize>,
    /// Account by account, Region by Region.
    pub locations: Vec<LocationStatus>,
    /// Step by step, in a run without locations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<LocationStatus>,
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

/// Locations that went wrong for one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FailureGroup {
    /// The cause; absent for what was never begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The status that they have in common.
    pub status: Status,
    /// How many.
    pub count: usize,
    /// The permission that was denied, where the message names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission: Option<String>,
    /// The message of the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The Regions of each account.
    pub accounts: BTreeMap<String, Vec<String>>,
    /// How many more accounts there are than an answer shows.
    #[serde(skip_serializing_if = "is_zero")]
    pub accounts_omitted: usize,
}

/// A step that waits for somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WaitingStep {
    /// Its name.
    pub step: String,
    /// What it does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// The account, where it waits in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The Region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Who may approve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<String>,
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
    /// How far its targets are, in the service's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
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

/// Whether accounts, Regions, roles and the runbook are in order.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PreflightAnswer {
    /// Always `Preflight`.
    pub action: &'static str,
    /// True where every account and Region answered well.
    pub ready: bool,
    /// True where nothing more will come of it.
    pub complete: bool,
    /// In one line.
    pub summary: String,
    /// What is not in order, by cause with accounts and Regions.
    pub problems: Vec<FailureGroup>,
    /// What was started for it.
    pub automation_execution_ids: Vec<String>,
    /// What was not started, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failure>,
    /// What else a caller should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
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

/// The waves of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CampaignAnswer {
    /// Always `Campaign`.
    pub action: &'static str,
    /// Its name.
    pub name: String,
    /// Whether it begins with a preflight.
    pub preflight: bool,
    /// Those that are still to be run, in their order.
    pub waves: Vec<WavePlan>,
    /// What a reader should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A wave of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WavePlan {
    /// Its name.
    pub name: String,
    /// The name of the next one.
    pub next: Option<String>,
    /// How many accounts and units.
    pub accounts: usize,
    /// Accounts times Regions; null where a unit hides it.
    pub account_region_pairs: Option<usize>,
    /// The first accounts.
    pub such_as: Vec<String>,
    /// How long to wait after it.
    pub soak_seconds: u64,
    /// Whether somebody has to approve what follows it.
    pub approval: bool,
    /// How long that may take.
    pub approval_seconds: u64,
    /// What was started for it in earlier runs of the campaign. A run that resumes goes on from these, and from nothing
    /// that it starts itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier_executions: Vec<String>,
}

/// Where a wave stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WaveAnswer {
    /// Always `Wave`.
    pub action: &'static str,
    /// The campaign.
    pub campaign: String,
    /// The wave.
    pub wave: String,
    /// What to do next.
    pub state: WaveState,
    /// Why, in words.
    pub reason: String,
    /// When to look again.
    pub retry_after_seconds: u64,
    /// What it started, resumptions included.
    pub automation_execution_ids: Vec<String>,
    /// Its accounts and Regions.
    pub locations: usize,
    /// Those that succeeded.
    pub succeeded: usize,
    /// Of a hundred, how many did not.
    pub failed_percent: f64,
    /// What went wrong, by cause.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailureGroup>,
}

/// What to do next about a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum WaveState {
    /// Wait: a calendar is closed, or not all of it is started.
    Waiting,
    /// Look again later.
    Running,
    /// The next wave may begin.
    Passed,
    /// The campaign ends here.
    Stopped,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &usize) -> bool {
    *value == 0
}
