//! What a preflight and a campaign answer.

use serde::Serialize;

use super::{Failure, FailureGroup};

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
