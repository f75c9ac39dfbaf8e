//! A campaign, as the history of its execution tells it.

use std::collections::BTreeMap;

use direct_call::instant;
use hub::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::run::answers::FailureGroup;
use super::run::failure;
use super::table::{Cell, Columns, Row};
use super::time::{minute, span};
use crate::terminal::{Sign, Stream, Tone, harmless};

/// The columns of a list of campaigns.
pub const COLUMNS: Columns =
    Columns { headers: &["NAME", "STATE", "WAVE", "STARTED"], kept: 2, keys: &["name", "state", "wave", "startedAt"] };

/// The longest name of an execution that is made here: some is left for what a resumption adds.
const EXECUTION_NAME_MAX: usize = 60;
/// The resource of the state that waits for an approval, as Step Functions ends it.
const WAITS: &str = "publish.waitForTaskToken";
/// The name of the state that lets a wave soak.
const SOAK: &str = "Soak";

/// An execution of the state machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// Its ARN.
    pub arn: String,
    /// `RUNNING`, `SUCCEEDED`, `FAILED`, `TIMED_OUT` or `ABORTED`.
    pub status: String,
    /// The campaign that it was started with.
    pub input: Value,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The error that it ended in, and why.
    pub error: Option<(String, String)>,
}

impl Execution {
    /// The name of the campaign.
    pub fn name(&self) -> &str {
        self.input["Name"].as_str().unwrap_or_default()
    }

    /// True if it has not ended.
    pub fn is_running(&self) -> bool {
        self.status == "RUNNING"
    }
}

/// A campaign.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// Its name.
    pub name: String,
    /// When this execution began.
    pub started: Option<Timestamp>,
    ended: Option<Timestamp>,
    status: String,
    error: Option<(String, String)>,
    waves: Vec<Wave>,
    seen: BTreeMap<String, Seen>,
    is_soaking: bool,
    approval: Option<Approval>,
    gate: Value,
}

/// A wave, as the function planned it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wave {
    name: String,
    next: Option<String>,
    account_region_pairs: Option<usize>,
}

/// A wave, as the function saw it last.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Seen {
    wave: String,
    state: String,
    reason: String,
    locations: usize,
    succeeded: usize,
    #[serde(default)]
    failures: Vec<FailureGroup>,
    #[serde(default)]
    automation_execution_ids: Vec<String>,
}

/// A question that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The wave that is through its gate.
    pub wave: String,
    /// The one that would begin.
    pub next: Option<String>,
    /// What an answer has to bring.
    pub token: String,
    /// When it was asked.
    pub asked: Option<Timestamp>,
}

/// How a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A wave is under way, or it soaks.
    Running,
    /// Somebody has to approve the next wave.
    WaitsForApproval,
    /// All waves are through.
    Done,
    /// It stopped at a gate, or was refused or rejected.
    Stopped,
    /// Somebody stopped it from outside.
    Aborted,
}

impl State {
    fn words(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::WaitsForApproval => "waits for approval",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Aborted => "stopped by hand",
        }
    }

    fn sign(self) -> Sign {
        match self {
            Self::Running => Sign::Running,
            Self::WaitsForApproval => Sign::Look,
            Self::Done => Sign::Good,
            Self::Stopped | Self::Aborted => Sign::Bad,
        }
    }
}

/// The name of a campaign's execution, by which it is found again and never started twice. Names of executions take
/// less than names of campaigns: what had to be changed is told apart by a hash.
pub fn execution_name(campaign: &str) -> String {
    let is_kept = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let kept: String = campaign.chars().map(|c| if is_kept(c) { c } else { '-' }).take(EXECUTION_NAME_MAX).collect();
    if kept == campaign {
        return kept;
    }
    let hash = Sha256::digest(campaign);
    let hash = hash.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    format!("{kept}-{hash:08x}")
}

impl Campaign {
    /// What is known without the history.
    pub fn new(execution: &Execution) -> Self {
        Self {
            name: execution.name().to_owned(),
            started: execution.started,
            ended: execution.ended,
            status: execution.status.clone(),
            error: execution.error.clone(),
            waves: Vec::new(),
            seen: BTreeMap::new(),
            is_soaking: false,
            approval: None,
            gate: execution.input["Gate"].clone(),
        }
    }

    /// Takes in one event of the history, in their order.
    pub fn see(&mut self, event: &Value) {
        match event["type"].as_str().unwrap_or_default() {
            "TaskScheduled" => {
                self.scheduled(&event["taskScheduledEventDetails"], instant(&event["timestamp"]));
            }
            "TaskSucceeded" => self.succeeded(&event["taskSucceededEventDetails"]),
            "TaskFailed" | "TaskTimedOut" => self.approval = None,
            "WaitStateEntered" => self.is_soaking = event["stateEnteredEventDetails"]["name"] == SOAK,
            "WaitStateExited" => self.is_soaking = false,
            _ => {}
        }
    }

    fn scheduled(&mut self, details: &Value, asked: Option<Timestamp>) {
        if !details["resource"].as_str().is_some_and(|resource| resource.ends_with(WAITS)) {
            return;
        }
        let parameters: Value =
            details["parameters"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let message = match &parameters["Message"] {
            Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
            message => message.clone(),
        };
        let text = |name: &str| message[name].as_str().map(str::to_owned);
        if let (Some(wave), Some(token)) = (text("Wave"), text("TaskToken")) {
            self.approval = Some(Approval { wave, next: text("Next"), token, asked });
        }
    }

    fn succeeded(&mut self, details: &Value) {
        if details["resource"].as_str().is_some_and(|resource| resource.ends_with(WAITS)) {
            self.approval = None;
            return;
        }
        let output: Value =
            details["output"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let payload = &output["Payload"];
        match payload["Action"].as_str() {
            Some("Campaign") => self.waves = serde_json::from_value(payload["Waves"].clone()).unwrap_or_default(),
            Some("Wave") => {
                if let Ok(seen) = Seen::deserialize(payload) {
                    self.seen.insert(seen.wave.clone(), seen);
                }
            }
            _ => {}
        }
    }

    /// How it stands.
    pub fn state(&self) -> State {
        match self.status.as_str() {
            "SUCCEEDED" => State::Done,
            "ABORTED" => State::Aborted,
            "RUNNING" if self.approval.is_some() => State::WaitsForApproval,
            "RUNNING" => State::Running,
            _ => State::Stopped,
        }
    }

    /// True if nothing more will happen.
    pub fn is_over(&self) -> bool {
        self.status != "RUNNING"
    }

    /// The question that is open.
    pub fn approval(&self) -> Option<&Approval> {
        self.approval.as_ref().filter(|_| !self.is_over())
    }

    /// The wave that is under way, or was last.
    pub fn wave(&self) -> Option<&str> {
        let last = self.waves.iter().rev().find(|wave| self.seen.contains_key(&wave.name));
        last.or(self.waves.first()).map(|wave| wave.name.as_str())
    }

    /// Where to go on: the wave, and whether it is to be started again where it failed. Nothing if no wave began: then
    /// the campaign is started as it was.
    pub fn go_on(&self) -> Option<(String, bool)> {
        let last = self.waves.iter().rev().find(|wave| self.seen.contains_key(&wave.name))?;
        match self.seen.get(&last.name)?.state.as_str() {
            // It was the question behind the gate that ended the campaign.
            "Passed" => Some((last.next.clone()?, false)),
            _ => Some((last.name.clone(), true)),
        }
    }

    /// What was started in the wave that is under way, to be stopped.
    pub fn running(&self) -> &[String] {
        let seen = self.wave().and_then(|wave| self.seen.get(wave));
        seen.filter(|seen| seen.state == "Running").map_or(&[], |seen| seen.automation_execution_ids.as_slice())
    }

    /// For people.
    pub fn text(&self, now: Timestamp, stream: &Stream) -> String {
        let mut text = format!(
            "{}   {}{}\n",
            stream.toned(Tone::Strong, &harmless(&self.name)),
            self.head(now),
            self.gate_words()
        );
        let width = self.waves.iter().map(|wave| wave.name.chars().count()).max().unwrap_or_default();
        for wave in &self.waves {
            text.push_str(&self.wave_line(wave, width, stream));
        }
        if let Some((error, cause)) = &self.error {
            text.push_str(&format!("  {}\n", stream.mark(Sign::Bad, &harmless(&format!("{error}: {cause}")))));
        }
        let failed = self.wave().and_then(|wave| self.seen.get(wave)).filter(|seen| seen.state != "Passed");
        for group in failed.into_iter().flat_map(|seen| &seen.failures) {
            text.push_str(&failure(group, stream));
        }
        if let Some(approval) = self.approval() {
            let next = approval.next.as_deref().unwrap_or("the next wave");
            let words = format!("{} is through its gate; {next} waits for approval", approval.wave);
            text.push_str(&format!("{}\n", stream.mark(Sign::Look, &harmless(&words))));
            text.push_str(&format!("  taghub campaign approve {} --wave {}\n", self.name, approval.wave));
        } else if self.state() == State::Stopped {
            text.push_str(&format!("  taghub campaign resume {}\n", self.name));
        }
        text
    }

    fn head(&self, now: Timestamp) -> String {
        let end = self.ended.unwrap_or(now);
        let took = self.started.map(|at| span(end.unix_seconds() - at.unix_seconds())).unwrap_or_default();
        let at = self.wave().and_then(|wave| self.waves.iter().position(|one| one.name == wave));
        let wave = match at {
            Some(at) if !self.is_over() => format!("wave {} of {}   ", at + 1, self.waves.len()),
            _ => String::new(),
        };
        format!("{wave}{}   {took}", self.state().words())
    }

    fn gate_words(&self) -> String {
        let number = |name: &str| self.gate[name].as_u64().unwrap_or_default();
        let mut words = vec![format!("{}% failed", number("MaxFailedPercent"))];
        if number("SoakMinutes") > 0 {
            words.push(format!("{} min soak", number("SoakMinutes")));
        }
        if self.gate["Approval"] == true {
            words.push("approval".to_owned());
        }
        format!("   gate: {}", words.join(", "))
    }

    fn wave_line(&self, wave: &Wave, width: usize, stream: &Stream) -> String {
        let name = format!("{:width$}", harmless(&wave.name));
        let Some(seen) = self.seen.get(&wave.name) else {
            let size = wave.account_region_pairs.map_or("-".to_owned(), |count| count.to_string());
            let words = if self.is_over() { "not started" } else { "waits for the wave before it" };
            return format!("{}  {size:>5}  {words}\n", stream.mark(Sign::Waiting, &name));
        };
        let failed: usize = seen.failures.iter().map(|group| group.count).sum();
        let sign = match seen.state.as_str() {
            "Passed" => Sign::Good,
            "Stopped" => Sign::Bad,
            "Running" => Sign::Running,
            _ => Sign::Waiting,
        };
        let mut counts = format!("{} {}", stream.symbol(Sign::Good), seen.succeeded);
        if failed > 0 {
            counts.push_str(&format!(" {} {failed}", stream.symbol(Sign::Bad)));
        }
        let open = seen.locations.saturating_sub(seen.succeeded + failed);
        if open > 0 {
            counts.push_str(&format!(" {} {open}", stream.symbol(Sign::Running)));
        }
        let soaks = self.is_soaking && self.wave() == Some(&wave.name) && !self.is_over();
        let words = if soaks { "soaks".to_owned() } else { harmless(&seen.reason) };
        format!("{}  {:>5}  {counts}   {words}\n", stream.mark(sign, &name), seen.locations)
    }

    /// A line for a log.
    pub fn piped(&self) -> String {
        let wave = self.wave().unwrap_or("-");
        let seen = self.seen.get(wave);
        let (ok, of) = seen.map_or((0, 0), |seen| (seen.succeeded, seen.locations));
        format!("{}  {wave}  ok={ok} of={of}", self.state().words().replace(' ', "-"))
    }

    /// For programs. The token of an open question is not among it: it is not for a log.
    pub fn json(&self) -> Value {
        let waves: Vec<Value> = self
            .waves
            .iter()
            .map(|wave| {
                let seen = self.seen.get(&wave.name);
                json!({
                    "name": wave.name,
                    "state": seen.map_or("NotStarted", |seen| seen.state.as_str()),
                    "locations": seen.map(|seen| seen.locations).or(wave.account_region_pairs),
                    "succeeded": seen.map(|seen| seen.succeeded),
                    "reason": seen.map(|seen| &seen.reason),
                    "automationExecutionIds": seen.map(|seen| &seen.automation_execution_ids),
                })
            })
            .collect();
        json!({
            "schema": "taghub.campaign/1",
            "name": self.name,
            "state": self.state().words().replace(' ', "-"),
            "wave": self.wave(),
            "startedAt": self.started,
            "endedAt": self.ended,
            "error": self.error.as_ref().map(|(error, _)| error),
            "cause": self.error.as_ref().map(|(_, cause)| cause),
            "waitsForApproval": self.approval().map(|approval| json!({"wave": approval.wave, "next": approval.next, "asked": approval.asked})),
            "waves": waves,
        })
    }

    /// Its row in a list.
    pub fn row(&self) -> Row {
        let (state, wave) = (self.state(), self.wave().unwrap_or("-"));
        Row {
            cells: vec![
                Cell::text(&self.name),
                Cell::mark(state.sign(), state.words()),
                Cell::text(wave),
                Cell::text(self.started.map(minute).unwrap_or_default()),
            ],
            piped: vec![
                self.name.clone(),
                state.words().replace(' ', "-"),
                wave.to_owned(),
                self.started.map_or_else(|| "-".to_owned(), |at| at.to_string()),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::tests::stream;
    use super::*;

    fn execution(status: &str) -> Execution {
        Execution {
            arn: "arn:aws:states:us-east-1:111111111111:execution:tag-hub-campaign:kernel-restart".to_owned(),
            status: status.to_owned(),
            input: json!({"Name": "kernel-restart", "Gate": {"MaxFailedPercent": 5, "SoakMinutes": 30, "Approval": true}}),
            started: Some("2026-11-23T06:00:00Z".parse().unwrap()),
            ended: None,
            error: None,
        }
    }

    fn task(payload: &Value) -> Value {
        let output = json!({"Payload": payload, "StatusCode": 200}).to_string();
        json!({"type": "TaskSucceeded", "taskSucceededEventDetails": {"resourceType": "lambda", "resource": "invoke", "output": output}})
    }

    fn plan() -> Value {
        task(&json!({"Action": "Campaign", "Name": "kernel-restart", "Preflight": false, "Waves": [
            {"Name": "canary", "Next": "ring-1", "AccountRegionPairs": 4},
            {"Name": "ring-1", "Next": "ring-2", "AccountRegionPairs": 8},
            {"Name": "ring-2", "Next": null, "AccountRegionPairs": 12}]}))
    }

    fn wave(name: &str, state: &str, locations: usize, succeeded: usize, failures: &Value) -> Value {
        task(&json!({"Action": "Wave", "Campaign": "kernel-restart", "Wave": name, "State": state,
                     "Reason": format!("{succeeded} of {locations} ok"), "RetryAfterSeconds": 10, "AutomationExecutionIds": ["id-1"],
                     "Locations": locations, "Succeeded": succeeded, "FailedPercent": 0.0, "Failures": failures}))
    }

    fn question() -> Value {
        let message = json!({"Campaign": "kernel-restart", "State": "WaitsForApproval", "Wave": "canary", "Next": "ring-1", "TaskToken": "secret"});
        let parameters = json!({"TopicArn": "…", "Message": message}).to_string();
        json!({"type": "TaskScheduled", "timestamp": 1_795_413_600.5,
               "taskScheduledEventDetails": {"resource": "publish.waitForTaskToken", "resourceType": "sns", "parameters": parameters}})
    }

    fn campaign(status: &str, events: &[Value]) -> Campaign {
        let mut campaign = Campaign::new(&execution(status));
        for event in events {
            campaign.see(event);
        }
        campaign
    }

    fn now() -> Timestamp {
        "2026-11-23T06:44:00Z".parse().unwrap()
    }

    #[test]
    fn a_campaign_under_way() {
        let none = json!([]);
        let campaign = campaign(
            "RUNNING",
            &[plan(), wave("canary", "Passed", 4, 4, &none), wave("ring-1", "Running", 8, 5, &none)],
        );
        insta::assert_snapshot!(campaign.text(now(), &stream(100)), @r"
        kernel-restart   wave 2 of 3   running   44 min   gate: 5% failed, 30 min soak, approval
        ✓ canary      4  ✓ 4   4 of 4 ok
        ● ring-1      8  ✓ 5 ● 3   5 of 8 ok
        · ring-2     12  waits for the wave before it
        ");
        assert_eq!(campaign.running(), ["id-1"]);
        assert_eq!(campaign.piped(), "running  ring-1  ok=5 of=8");
    }

    #[test]
    fn a_campaign_that_stopped_at_a_gate_says_how_to_go_on() {
        let failures = json!([{"Cause": "target-failed", "Status": "Failed", "Count": 1, "Accounts": {"333333333333": ["us-east-1"]}}]);
        let mut campaign = campaign(
            "FAILED",
            &[plan(), wave("canary", "Passed", 4, 4, &json!([])), wave("ring-1", "Stopped", 8, 7, &failures)],
        );
        campaign.error = Some(("WaveStopped".to_owned(), "ring-1: 1 of 8 locations did not succeed".to_owned()));
        insta::assert_snapshot!(campaign.text(now(), &stream(100)), @r"
        kernel-restart   stopped   44 min   gate: 5% failed, 30 min soak, approval
        ✓ canary      4  ✓ 4   4 of 4 ok
        ✗ ring-1      8  ✓ 7 ✗ 1   7 of 8 ok
        · ring-2     12  not started
          ✗ WaveStopped: ring-1: 1 of 8 locations did not succeed
          ✗ target-failed  1  333333333333 us-east-1
            Look at the child execution in that account.
          taghub campaign resume kernel-restart
        ");
        assert_eq!(campaign.go_on(), Some(("ring-1".to_owned(), true)));
    }

    #[test]
    fn a_question_is_open_until_it_is_answered() {
        let passed = wave("canary", "Passed", 4, 4, &json!([]));
        let asked = campaign("RUNNING", &[plan(), passed.clone(), question()]);
        assert_eq!(asked.state(), State::WaitsForApproval);
        assert_eq!(
            asked.approval().map(|approval| (approval.wave.as_str(), approval.token.as_str())),
            Some(("canary", "secret"))
        );
        assert!(asked.text(now(), &stream(100)).contains("taghub campaign approve kernel-restart --wave canary"));
        assert!(!asked.json().to_string().contains("secret"));
        let answer = json!({"type": "TaskSucceeded", "taskSucceededEventDetails": {"resource": "publish.waitForTaskToken", "output": "{}"}});
        assert_eq!(campaign("RUNNING", &[plan(), passed.clone(), question(), answer.clone()]).approval(), None);
        // Rejected: the next wave is where it goes on, and nothing is resumed.
        assert_eq!(
            campaign("FAILED", &[plan(), passed, question(), answer]).go_on(),
            Some(("ring-1".to_owned(), false))
        );
        assert_eq!(campaign("FAILED", &[plan()]).go_on(), None);
    }

    #[test]
    fn names_of_executions() {
        assert_eq!(execution_name("patch-2026-11"), "patch-2026-11");
        let (a, b) = (execution_name("patch 11"), execution_name("patch.11"));
        assert!(a.starts_with("patch-11-") && b.starts_with("patch-11-") && a != b, "{a} {b}");
        assert!(execution_name(&"x".repeat(150)).len() <= 70);
    }
}
