//! A run over many accounts and Regions: how it stands.

pub mod answers;
pub mod matrix;
pub mod start;

use std::collections::BTreeMap;

use hub::Timestamp;

use super::time::{counted, minute, span};
use crate::terminal::{Sign, Stream, harmless};
use answers::{ExecutionStatus, FailureGroup, Status};

/// How many accounts of one cause are named.
const ACCOUNTS_SHOWN: usize = 5;

/// How many locations stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Ended well.
    pub ok: usize,
    /// Ended badly.
    pub failed: usize,
    /// Under way.
    pub running: usize,
    /// Not begun yet.
    pub waiting: usize,
    /// Never to be begun.
    pub not_started: usize,
}

/// Where a location stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// Ended well.
    Ok,
    /// Ended badly.
    Failed,
    /// Under way.
    Running,
    /// Not begun yet.
    Waiting,
    /// Never to be begun: the execution ended before it came there.
    NotStarted,
}

impl Stand {
    /// By the service's own word. A word that is not known counts as running, as the function has it.
    pub fn of(status: &str) -> Self {
        match status {
            "Success" | "CompletedWithSuccess" => Self::Ok,
            "Failed" | "TimedOut" | "Cancelled" | "Rejected" | "CompletedWithFailure" | "Exited" => Self::Failed,
            "NotStarted" => Self::NotStarted,
            "Pending" | "Scheduled" => Self::Waiting,
            _ => Self::Running,
        }
    }

    /// Its symbol.
    pub fn sign(self) -> Sign {
        match self {
            Self::Ok => Sign::Good,
            Self::Failed => Sign::Bad,
            Self::Running => Sign::Running,
            Self::Waiting | Self::NotStarted => Sign::Waiting,
        }
    }
}

impl Tally {
    /// By the counts of all executions. A run without locations counts its steps.
    pub fn of(executions: &[ExecutionStatus]) -> Self {
        let mut tally = Self::default();
        for (status, count) in executions.iter().flat_map(|execution| &execution.counts) {
            match Stand::of(status) {
                Stand::Ok => tally.ok += count,
                Stand::Failed => tally.failed += count,
                Stand::Running => tally.running += count,
                Stand::Waiting => tally.waiting += count,
                Stand::NotStarted => tally.not_started += count,
            }
        }
        tally
    }

    /// All.
    pub fn total(&self) -> usize {
        self.ok + self.failed + self.running + self.waiting + self.not_started
    }

    /// Those to which nothing more will happen.
    pub fn done(&self) -> usize {
        self.ok + self.failed + self.not_started
    }

    /// For people.
    pub fn words(&self, stream: &Stream) -> String {
        let all = [
            (Sign::Good, self.ok, "ok"),
            (Sign::Bad, self.failed, "failed"),
            (Sign::Running, self.running, "running"),
            (Sign::Waiting, self.waiting, "waiting"),
            (Sign::Waiting, self.not_started, "not started"),
        ];
        let words = all.iter().filter(|(_, count, _)| *count > 0);
        let words: Vec<String> =
            words.map(|(sign, count, word)| stream.mark(*sign, &format!("{count} {word}"))).collect();
        words.join("   ")
    }

    /// For a log.
    pub fn piped(&self) -> String {
        let Self { ok, failed, running, waiting, not_started } = self;
        let not_started = if *not_started > 0 { format!(" not-started={not_started}") } else { String::new() };
        format!(
            "{}/{}  ok={ok} failed={failed} running={running} waiting={waiting}{not_started}",
            self.done(),
            self.total()
        )
    }
}

/// A run, as it is looked at: one or several executions under one name.
#[derive(Debug, Clone)]
pub struct Run<'a> {
    /// The key, or an id.
    pub name: &'a str,
    /// How it stands.
    pub status: &'a Status,
}

impl Run<'_> {
    /// How many locations stand how.
    pub fn tally(&self) -> Tally {
        Tally::of(&self.status.executions)
    }

    /// True if it ended, and not everywhere well.
    pub fn is_wrong(&self) -> bool {
        let tally = self.tally();
        let failed = |execution: &ExecutionStatus| {
            let status = execution.status.as_deref().map(Stand::of);
            status == Some(Stand::Failed) || execution.error.is_some()
        };
        tally.failed + tally.not_started > 0 || self.status.executions.iter().any(failed)
    }

    /// When its first execution began.
    pub fn started(&self) -> Option<Timestamp> {
        self.status.executions.iter().filter_map(|execution| execution.started_at).min()
    }

    /// How long it took, or has taken so far.
    pub fn seconds(&self, now: Timestamp) -> Option<i64> {
        let ends = self.status.executions.iter().filter_map(|execution| execution.ended_at).max();
        let end = if self.status.terminal { ends.unwrap_or(now) } else { now };
        Some((end.unix_seconds() - self.started()?.unix_seconds()).max(0))
    }

    /// The state in words: what `run status` prints, and what a watch ends with.
    pub fn text(&self, now: Timestamp, all: bool, stream: &Stream) -> String {
        let tally = self.tally();
        let took = self.seconds(now).map(|seconds| format!(", {}", span(seconds))).unwrap_or_default();
        let name = harmless(self.name);
        let total = counted(tally.total(), "location");
        let head = if !self.status.terminal {
            stream.mark(Sign::Running, &format!("{name}: {} of {total} done{took}", tally.done()))
        } else if self.is_wrong() {
            let bad = tally.failed + tally.not_started;
            stream.mark(Sign::Bad, &format!("{name}: {bad} of {total} failed{took}"))
        } else {
            stream.mark(Sign::Good, &format!("{name}: {total} ok{took}"))
        };
        let mut text = format!("{head}\n  {}\n", self.facts());
        if tally.total() > 0 {
            text.push_str(&format!("  {}\n", tally.words(stream)));
        }
        for execution in &self.status.executions {
            problems(execution, stream, &mut text);
        }
        if all {
            text.push_str(&self.locations(stream));
        }
        if self.status.terminal && tally.failed + tally.not_started > 0 {
            text.push_str(&format!("  taghub run resume {name}\n"));
        }
        text
    }

    /// What, when, and by whom.
    fn facts(&self) -> String {
        let first = self.status.executions.first();
        let runbook = first.and_then(|execution| execution.document_name.as_deref()).unwrap_or("-");
        let started = self.started().map(|at| format!(", started {} UTC", minute(at))).unwrap_or_default();
        let by = first.and_then(|execution| execution.executed_by.as_deref());
        let by = by.map(|arn| format!(", by {}", principal(arn))).unwrap_or_default();
        harmless(&format!("{runbook}{started}{by}"))
    }

    /// Each location in a line.
    fn locations(&self, stream: &Stream) -> String {
        let all = self.status.executions.iter().flat_map(|execution| &execution.locations);
        let lines = all.map(|location| {
            let stand = Stand::of(&location.status);
            let words = [
                location.account.as_deref(),
                location.region.as_deref(),
                Some(&location.status),
                location.cause.as_deref(),
            ];
            let words: Vec<&str> = words.into_iter().flatten().collect();
            format!("  {}\n", stream.mark(stand.sign(), &words.join(" ")))
        });
        lines.collect()
    }

    /// In a pipe: a line for each location, separated by tabs.
    pub fn tabs(&self) -> String {
        let all = self.status.executions.iter().flat_map(|execution| {
            execution
                .locations
                .iter()
                .chain(&execution.steps)
                .map(|location| (&execution.automation_execution_id, location))
        });
        let or_dash = |text: &Option<String>| text.as_deref().unwrap_or("-").to_owned();
        let lines = all.map(|(id, location)| {
            let account = location.account.as_deref().or(location.step.as_deref()).unwrap_or("-");
            let fields = [
                account.to_owned(),
                or_dash(&location.region),
                location.status.clone(),
                or_dash(&location.cause),
                or_dash(&location.child_execution_id),
                id.clone(),
            ];
            fields.map(|field| harmless(&field)).join("\t") + "\n"
        });
        lines.collect()
    }
}

/// What went wrong with an execution, and what waits for somebody.
fn problems(execution: &ExecutionStatus, stream: &Stream, text: &mut String) {
    if let Some(error) = &execution.error {
        let words = format!("{} not read in full: {}", execution.automation_execution_id, error.code);
        text.push_str(&format!("  {}\n", stream.mark(Sign::Look, &words)));
    }
    if let Some(cause) = &execution.cause {
        let message = execution.message.as_deref().unwrap_or("no reason is known");
        text.push_str(&format!("  {}\n", stream.mark(Sign::Bad, &format!("{cause}: {}", harmless(message)))));
    }
    for group in &execution.failures {
        text.push_str(&failure(group, stream));
    }
    for alarm in &execution.alarms {
        text.push_str(&format!("  {}\n", stream.mark(Sign::Bad, &format!("the alarm {} fired", harmless(alarm)))));
    }
    for step in &execution.waiting {
        let place = [step.account.as_deref(), step.region.as_deref()].into_iter().flatten();
        let place = place.collect::<Vec<_>>().join(" ");
        text.push_str(&format!(
            "  {}\n",
            stream.mark(Sign::Look, &format!("{} waits for somebody  {place}", step.step))
        ));
    }
    for warning in &execution.warnings {
        text.push_str(&format!("  {}\n", stream.mark(Sign::Look, &harmless(warning))));
    }
}

/// Locations that went wrong for one cause, with what to do.
pub fn failure(group: &FailureGroup, stream: &Stream) -> String {
    let cause = group.cause.as_deref().unwrap_or("not started");
    let permission = group.permission.as_ref().map(|action| format!(" {action}")).unwrap_or_default();
    let places = places(&group.accounts, group.accounts_omitted);
    let mut text =
        format!("  {}  {}\n", stream.mark(Sign::Bad, &format!("{cause}{permission}  {}", group.count)), places);
    if let Some(message) = &group.message {
        text.push_str(&format!("    {}\n", harmless(message)));
    }
    if let Some(remedy) = remedy(cause) {
        text.push_str(&format!("    {remedy}\n"));
    }
    text
}

fn places(accounts: &BTreeMap<String, Vec<String>>, omitted: usize) -> String {
    let shown: Vec<String> = accounts
        .iter()
        .take(ACCOUNTS_SHOWN)
        .map(|(account, regions)| format!("{account} {}", regions.join(",")))
        .collect();
    let more = accounts.len().saturating_sub(ACCOUNTS_SHOWN) + omitted;
    let more = if more > 0 { format!("; and {more} more accounts") } else { String::new() };
    format!("{}{more}", shown.join("; "))
}

/// What to do about a cause, as docs/fanout-reference.md has it.
pub fn remedy(cause: &str) -> Option<&'static str> {
    Some(match cause {
        "execution-role" => "Deploy cfn/automation-execution-role.yaml there, or share the runbook; then resume.",
        "access-denied" => {
            "Widen the execution role there: AllowRestart, AllowPatching, or ManagedPolicyArns; then resume."
        }
        "runbook" => "Correct the runbook or its parameters, and start again under another key.",
        "region-disabled" => "Enable the Region in the account, or leave it out of --regions.",
        "organizational-unit" => {
            "Give OrganizationId to the administration role; make this account a delegated administrator."
        }
        "throttled" => "Lower --max-concurrency, and resume.",
        "no-targets" => "Look for the tag in that account and Region.",
        "target-failed" => "Look at the child execution in that account.",
        "timed-out" => "Look at the child execution: it may still have done its work.",
        "cancelled" => "Find out who stopped it, then resume.",
        _ => return None,
    })
}

/// The part of an ARN that tells who somebody is: `role/TagHubOperator` of a session, `user/ann` of a user.
pub fn principal(arn: &str) -> String {
    let last = arn.rsplit(':').next().unwrap_or(arn);
    match last.strip_prefix("assumed-role/") {
        Some(session) => format!("role/{}", session.split('/').next().unwrap_or(session)),
        None => last.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::terminal::Color;

    pub(crate) fn stream(width: usize) -> Stream {
        Stream::new(Some((width, 24)), Color::Never, |name| (name == "LANG").then(|| "C.UTF-8".to_owned()))
    }

    pub(crate) fn status(terminal: bool) -> Status {
        let location = |account: &str, region: &str, status: &str, cause: Option<&str>| json!({"Account": account, "Region": region, "Status": status, "Cause": cause});
        let (running, waiting) = if terminal { ("Success", "NotStarted") } else { ("InProgress", "Pending") };
        let mut counts = json!({"Success": 1, "Failed": 1});
        for status in [running, waiting] {
            counts[status] = json!(counts[status].as_u64().unwrap_or_default() + 1);
        }
        serde_json::from_value(json!({
            "Action": "Status", "Terminal": terminal, "Summary": "…",
            "Executions": [{
                "AutomationExecutionId": "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE", "Terminal": terminal,
                "Status": if terminal { "CompletedWithFailure" } else { "InProgress" },
                "DocumentName": "AWS-RestartEC2Instance", "StartedAt": "2026-11-23T06:02:11Z",
                "EndedAt": if terminal { json!("2026-11-23T06:08:13Z") } else { json!(null) },
                "ExecutedBy": "arn:aws:sts::111111111111:assumed-role/TagHubOperator/ann",
                "Counts": counts, "Causes": {"region-disabled": 1},
                "Failures": [{"Cause": "region-disabled", "Status": "Failed", "Count": 1,
                              "Message": "the Region is off", "Accounts": {"222222222222": ["us-west-1"]}}],
                "Locations": [
                    location("222222222222", "us-west-1", "Failed", Some("region-disabled")),
                    location("222222222222", "us-east-1", "Success", None),
                    location("333333333333", "us-east-1", running, None),
                    location("333333333333", "us-west-1", waiting, None)]
            }]
        }))
        .unwrap()
    }

    #[test]
    fn the_end_of_a_run() {
        let status = status(true);
        let run = Run { name: "restart-1123-k7qd", status: &status };
        let now = "2026-11-23T07:00:00Z".parse().unwrap();
        insta::assert_snapshot!(run.text(now, false, &stream(100)), @r"
        ✗ restart-1123-k7qd: 2 of 4 locations failed, 6 min 2 s
          AWS-RestartEC2Instance, started 2026-11-23 06:02 UTC, by role/TagHubOperator
          ✓ 2 ok   ✗ 1 failed   · 1 not started
          ✗ region-disabled  1  222222222222 us-west-1
            the Region is off
            Enable the Region in the account, or leave it out of --regions.
          taghub run resume restart-1123-k7qd
        ");
        assert!(run.is_wrong());
        insta::assert_snapshot!(run.tabs().replace('\t', "|"), @r"
        222222222222|us-west-1|Failed|region-disabled|-|4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE
        222222222222|us-east-1|Success|-|-|4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE
        333333333333|us-east-1|Success|-|-|4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE
        333333333333|us-west-1|NotStarted|-|-|4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE
        ");
    }

    #[test]
    fn a_run_that_is_under_way() {
        let status = status(false);
        let run = Run { name: "k", status: &status };
        let now = "2026-11-23T06:03:11Z".parse().unwrap();
        assert!(run.text(now, true, &stream(100)).starts_with("● k: 2 of 4 locations done, 1 min\n"));
        assert_eq!(run.tally().piped(), "2/4  ok=1 failed=1 running=1 waiting=1");
    }

    #[test]
    fn every_cause_has_a_remedy() {
        // The causes of docs/fanout-reference.md.
        let page = include_str!("../../../../docs/fanout-reference.md");
        let table = page.split("## Causes").nth(1).unwrap().split("\n## ").next().unwrap();
        let causes: Vec<&str> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .map(|line| line.split('`').next().unwrap())
            .collect();
        assert!(causes.len() > 5, "{table}");
        for cause in causes {
            assert!(remedy(cause).is_some(), "{cause}");
        }
    }

    #[test]
    fn who_it_was() {
        assert_eq!(principal("arn:aws:sts::111111111111:assumed-role/TagHubOperator/ann"), "role/TagHubOperator");
        assert_eq!(principal("arn:aws:iam::111111111111:user/ann"), "user/ann");
        assert_eq!(principal("arn:aws:iam::111111111111:root"), "root");
    }
}
