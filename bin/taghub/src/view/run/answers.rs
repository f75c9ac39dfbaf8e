//! The answers of `automation-fanout`, as far as they are shown. docs/fanout-reference.md describes them.

use std::collections::BTreeMap;

use hub::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// Of `Start`, `Preview` and `Resume`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StartAnswer {
    /// Whether nothing failed.
    pub complete: bool,
    /// The key that was used.
    pub idempotency_key: String,
    /// What was started.
    #[serde(default)]
    pub executions: Vec<Started>,
    /// What was not.
    #[serde(default)]
    pub failed: Vec<NotDone>,
    /// What would be started.
    #[serde(default)]
    pub planned: Vec<Planned>,
    /// The requests that would be sent.
    #[serde(default)]
    pub requests: Vec<Value>,
    /// The nodes that fit all tags.
    #[serde(default)]
    pub machines: Vec<Machine>,
    /// How the request was read.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// An execution that was started.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Started {
    /// Its id.
    pub automation_execution_id: String,
}

/// A start in a preview.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Planned {
    /// Accounts times Regions, if they are known.
    pub account_region_pairs: Option<usize>,
}

/// A node that a run reaches.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Machine {
    /// The node.
    pub node_id: String,
    /// Its tag `Name`.
    pub name: Option<String>,
}

/// Something that was not done.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NotDone {
    /// The execution that was to be stopped or resumed.
    pub automation_execution_id: Option<String>,
    /// A code.
    pub code: String,
    /// In words.
    pub message: String,
}

/// Of `Status`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Status {
    /// Whether nothing more will happen.
    pub terminal: bool,
    /// One entry for each execution.
    pub executions: Vec<ExecutionStatus>,
}

/// Where an execution stands.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExecutionStatus {
    /// Its id.
    pub automation_execution_id: String,
    /// The service's word; absent if it could not be read.
    pub status: Option<String>,
    /// The runbook.
    pub document_name: Option<String>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Whoever started it.
    pub executed_by: Option<String>,
    /// Why it failed before it came to any location.
    pub cause: Option<String>,
    /// Why it failed.
    pub message: Option<String>,
    /// The alarms that stopped it.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// What waits for somebody.
    #[serde(default)]
    pub waiting: Vec<WaitingStep>,
    /// What went wrong, by cause.
    #[serde(default)]
    pub failures: Vec<FailureGroup>,
    /// How many locations have which status.
    #[serde(default)]
    pub counts: BTreeMap<String, usize>,
    /// Account by account, Region by Region.
    #[serde(default)]
    pub locations: Vec<Location>,
    /// Step by step, in a run without locations.
    #[serde(default)]
    pub steps: Vec<Location>,
    /// What ended well and still needs a look.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Why it could not be read in full.
    pub error: Option<ReadError>,
}

/// Why an execution could not be read in full.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReadError {
    /// A code.
    pub code: String,
}

/// A step that waits for somebody.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct WaitingStep {
    /// Its name.
    pub step: String,
    /// The account, if it waits in one.
    pub account: Option<String>,
    /// The Region.
    pub region: Option<String>,
}

/// Locations that went wrong for one cause.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FailureGroup {
    /// The cause; absent for what was never begun.
    pub cause: Option<String>,
    /// How many.
    pub count: usize,
    /// The permission that was denied.
    pub permission: Option<String>,
    /// The message of the first of them.
    pub message: Option<String>,
    /// The Regions of each account.
    #[serde(default)]
    pub accounts: BTreeMap<String, Vec<String>>,
    /// How many more accounts there are.
    #[serde(default)]
    pub accounts_omitted: usize,
}

/// Where one account and Region stands.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Location {
    /// The account.
    pub account: Option<String>,
    /// The Region.
    pub region: Option<String>,
    /// The step, if it tells neither.
    pub step: Option<String>,
    /// The service's word.
    pub status: String,
    /// Why it went wrong.
    pub cause: Option<String>,
    /// The execution in that account and Region.
    pub child_execution_id: Option<String>,
}

/// Of `Preflight`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Preflight {
    /// Whether everything is in order.
    pub ready: bool,
    /// Whether nothing more will come of it.
    pub complete: bool,
    /// In one line.
    pub summary: String,
    /// What is not in order.
    #[serde(default)]
    pub problems: Vec<FailureGroup>,
    /// What was started for it.
    pub automation_execution_ids: Vec<String>,
    /// What was not started.
    #[serde(default)]
    pub failed: Vec<NotDone>,
    /// What else a caller should know.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Of `List`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct List {
    /// Whether these are all.
    #[serde(default)]
    pub complete: bool,
    /// Those started last first.
    pub executions: Vec<Listed>,
    /// Why something was left out.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A past run.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    /// Its id.
    pub automation_execution_id: String,
    /// The runbook.
    pub document_name: String,
    /// The service's word.
    pub status: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// Whoever started it.
    pub executed_by: Option<String>,
    /// Where the instance that was asked for turned up in it.
    #[serde(default)]
    pub touched: Vec<String>,
}

/// Of `Stop`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Stop {
    /// What was stopped, or had ended before.
    pub executions: Vec<Stopped>,
    /// What was not.
    #[serde(default)]
    pub failed: Vec<NotDone>,
}

/// An execution that is being stopped.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Stopped {
    /// `stop-requested` or `already-ended`.
    pub outcome: String,
}
