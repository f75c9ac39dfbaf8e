//! Where executions stand, as it is answered.

use std::collections::BTreeMap;

use hub::Timestamp;
use serde::Serialize;

use crate::plan::cause::Cause;
use crate::plan::execution::{Progress, Status};

/// How many accounts of one cause are listed, and how many steps that wait, so that an answer about all accounts fits.
pub(super) const LISTED_MAX: usize = 200;

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
    /// How many more there are than an answer shows.
    #[serde(skip_serializing_if = "is_zero")]
    pub waiting_omitted: usize,
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
    /// How many more locations or steps there are than an answer can hold. Those in trouble are listed first of all.
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

impl FailureGroup {
    /// Leaves out all accounts but so many.
    pub fn keep_accounts(&mut self, count: usize) {
        if let Some(first_omitted) = self.accounts.keys().nth(count).cloned() {
            self.accounts_omitted += self.accounts.split_off(&first_omitted).len();
        }
    }
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

impl ExecutionStatus {
    /// Leaves out all accounts of a cause, and all that waits, but so many.
    pub fn keep(&mut self, count: usize) {
        for group in &mut self.failures {
            group.keep_accounts(count);
        }
        self.waiting_omitted += self.waiting.len().saturating_sub(count);
        self.waiting.truncate(count);
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &usize) -> bool {
    *value == 0
}
