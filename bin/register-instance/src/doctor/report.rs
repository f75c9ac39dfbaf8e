//! What `doctor` answers, for people and for scripts.

use std::io::{self, Write};

use serde::Serialize;

use super::Findings;
use crate::failure::{Failure, Reason};

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, and something should be known about it.
    Warning,
    /// It keeps the instance from being a tagged node.
    Failed,
    /// It could not be found out.
    Unknown,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name.
    pub check: &'static str,
    /// How it stands with it.
    pub status: Status,
    /// What was found.
    pub cause: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// What a run would fail with because of it.
    #[serde(skip)]
    pub reason: Option<Reason>,
}

/// All that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// True if nothing failed.
    pub is_healthy: bool,
    /// The exit code: that of the first thing that failed.
    pub exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    managed_instance_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ec2_instance_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    /// The checks, in the order in which a registration depends on them.
    pub checks: Vec<Check>,
}

impl Check {
    pub(super) fn new(check: &'static str, status: Status, cause: impl Into<String>) -> Self {
        Self { check, status, cause: cause.into(), remedy: None, reason: None }
    }

    pub(super) fn failed(
        check: &'static str,
        reason: Reason,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { check, status: Status::Failed, cause: cause.into(), remedy: Some(remedy.into()), reason: Some(reason) }
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

impl Report {
    pub(super) fn new(findings: &Findings, checks: Vec<Check>) -> Self {
        let failed = checks.iter().find(|check| check.status == Status::Failed);
        let identity = findings.identity.as_ref().ok();
        Self {
            is_healthy: failed.is_none(),
            exit_code: failed.map_or(0, |check| check.reason.map_or(1, Reason::exit_code)),
            managed_instance_id: findings.node().map(|node| node.id.to_string()),
            ec2_instance_id: identity.map(|identity| identity.instance.to_string()),
            account: identity.map(|identity| identity.account.to_string()),
            region: identity.map(|identity| identity.region.to_string()),
            checks,
        }
    }

    /// The report as one line of JSON.
    pub fn json(&self) -> String {
        // Strings, a number and a boolean have no form that JSON lacks.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The report in words: a line for each check, and one more for what to do.
    pub fn words(&self) -> String {
        let lines = self.checks.iter().map(|Check { check, status, cause, remedy, .. }| {
            let status = match status {
                Status::Ok => "ok     ",
                Status::Warning => "warning",
                Status::Failed => "FAILED ",
                Status::Unknown => "unknown",
            };
            let remedy = remedy.as_ref().map(|remedy| format!("\n          -> {remedy}")).unwrap_or_default();
            format!("{status}  {check}: {cause}{remedy}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Prints a report, or why there is none.
pub fn print(result: &Result<Report, Failure>, as_json: bool) -> u8 {
    // Nobody may be reading any more, which is no reason to end with another exit code.
    match result {
        Ok(report) => {
            let text = if as_json { report.json() } else { report.words() };
            let _ = writeln!(io::stdout(), "{text}");
            report.exit_code
        }
        Err(failure) => {
            let failed = Err(failure.clone());
            crate::outcome::print(&failed, as_json);
            failure.reason.exit_code()
        }
    }
}
