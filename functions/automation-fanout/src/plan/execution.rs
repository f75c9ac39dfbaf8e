//! An execution as the service tells it.

use std::fmt;

use hub::Timestamp;
use serde::Serialize;

use super::request::{StartRequest, Target, TargetLocation};

/// What is kept of long texts where there are many.
const SHORT_BYTES: usize = 600;

/// A run in the central account, which starts one child in each account and Region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Execution {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub status: Status,
    /// What it was started with, without token and tags: the service does not tell these.
    pub request: StartRequest,
    /// Why it failed.
    pub failure_message: Option<String>,
    /// What is odd about it.
    pub warning_message: Option<String>,
    /// Its steps; not all of them where `steps_truncated` is set.
    pub steps: Vec<Step>,
    /// Whether there are more steps to be read.
    pub steps_truncated: bool,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The ARN of whoever started it.
    pub executed_by: Option<String>,
    /// The alarms that fired.
    pub triggered_alarms: Vec<String>,
    /// How far its steps are.
    pub progress: Option<Progress>,
    /// The resources that its targets stand for, in a run without locations.
    pub resolved_targets: Vec<String>,
}

impl Execution {
    /// Where it and its steps tell an instance or node.
    pub fn places(&self, instance: &str) -> Vec<String> {
        let request = &self.request;
        let has = |text: &String| has_word(text, instance);
        let in_targets = |targets: &[Target]| targets.iter().flat_map(|target| &target.values).any(has);
        let parameters = request.parameters.iter().filter(|(_, values)| values.iter().any(has));
        let mut places: Vec<String> = parameters.map(|(name, _)| format!("Parameters.{name}")).collect();
        if in_targets(&request.targets) || self.resolved_targets.iter().any(has) {
            places.push("Targets".to_owned());
        }
        let maps = request.target_maps.iter().enumerate();
        let maps = maps.filter(|(_, map)| map.values().flatten().any(has));
        places.extend(maps.map(|(index, _)| format!("TargetMaps[{index}]")));
        let locations = request.target_locations.iter().enumerate();
        let locations = locations.filter(|(_, location)| in_targets(&location.targets));
        places.extend(locations.map(|(index, _)| format!("TargetLocations[{index}].Targets")));
        let steps = self.steps.iter().filter(|step| step.names(instance));
        places.extend(steps.map(|step| format!("step {}", step.name)));
        places
    }

    /// True where it ended early, and nothing tells how many accounts of its units or of its file it never came to.
    pub fn may_hide_more(&self) -> bool {
        self.status.is_failure() && self.progress.is_none() && self.request.hides_accounts()
    }
}

/// How far the steps of an execution are, by the service's own count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Progress {
    /// All of them.
    pub total: i32,
    /// Those that succeeded.
    pub success: i32,
    /// Those that failed.
    pub failed: i32,
    /// Those that were cancelled.
    pub cancelled: i32,
    /// Those that took too long.
    pub timed_out: i32,
}

/// An execution as a list of executions tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// The runbook.
    pub document_name: String,
    /// Its version.
    pub document_version: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The ARN of whoever started it.
    pub executed_by: Option<String>,
    /// Why it failed.
    pub failure_message: Option<String>,
}

/// A step of an execution. With target locations, each step stands for one account and Region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// What it does, such as `aws:approve`.
    pub action: String,
    /// Where it stands.
    pub status: Status,
    /// What it was given, by name. A list, since a map takes half a kilobyte, and there may be a hundred thousand steps.
    pub inputs: Vec<(String, String)>,
    /// What came of it, among it the child's execution id.
    pub outputs: Vec<(String, Vec<String>)>,
    /// Why it failed.
    pub failure_message: Option<String>,
    /// What is odd about it.
    pub warning_message: Option<String>,
    /// The kind of failure: Action, Permission, Throttling, Verification or Internal.
    pub failure_type: Option<String>,
    /// Where it failed: `InputValidation`, `PreVerification`, Invocation or `PostVerification`.
    pub failure_stage: Option<String>,
    /// The account and the Region.
    pub target_location: Option<TargetLocation>,
}

/// Whether a text has an instance or node as one of its words.
fn has_word(text: &str, instance: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| word == instance)
}

impl Step {
    /// Whether it tells an instance or node anywhere.
    pub fn names(&self, instance: &str) -> bool {
        let has = |text: &String| has_word(text, instance);
        let targets = self.target_location.iter().flat_map(|location| &location.targets);
        has(&self.name)
            || self.inputs.iter().any(|(_, value)| has(value))
            || self.outputs.iter().flat_map(|(_, values)| values).any(has)
            || targets.flat_map(|target| &target.values).any(has)
    }

    /// Leaves out inputs that repeat the whole request, in each of what may be a hundred thousand steps. The others say where
    /// it is and how far.
    pub fn drop_request(&mut self) {
        self.inputs.retain(|(name, _)| {
            name.starts_with("TargetLocation")
                || name.ends_with("ExecutionId")
                || name.ends_with("TargetsSummary")
                || name == "Approvers"
        });
    }

    /// Leaves out what its place, its cause and its child do not need: for executions of many steps.
    pub fn slim(&mut self) {
        if self.target_location.as_ref().is_some_and(|location| location.accounts.len() == 1) {
            self.inputs.retain(|(name, _)| !name.starts_with("TargetLocation"));
        }
        self.inputs.shrink_to_fit();
        if !self.status.is_waiting() {
            self.action = String::new();
        }
        self.outputs.retain(|(name, values)| {
            name.ends_with("ExecutionId")
                || name.ends_with("TargetsSummary")
                || values.iter().map(String::len).sum::<usize>() <= SHORT_BYTES
        });
        for message in [&mut self.failure_message, &mut self.warning_message].into_iter().flatten() {
            if let Some((end, _)) = message.char_indices().nth(SHORT_BYTES) {
                message.truncate(end);
            }
            message.shrink_to_fit();
        }
    }
}

/// Where an execution or a step stands, in the service's own word. New words are shown as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Status(String);

impl Status {
    /// Has not begun, and may still.
    pub const PENDING: &'static str = "Pending";
    /// Our own word for an account and Region that an execution never came to before it ended.
    pub const NOT_STARTED: &'static str = "NotStarted";

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True where nothing more will happen. A word that is not known may still change.
    pub fn is_terminal(&self) -> bool {
        self.is_success() || self.is_failure() || self.as_str() == Self::NOT_STARTED
    }

    /// True where all went well.
    pub fn is_success(&self) -> bool {
        matches!(self.as_str(), "Success" | "CompletedWithSuccess")
    }

    /// True for an end that is no success. The API writes `Cancelled`, its events `Canceled`.
    pub fn is_failure(&self) -> bool {
        self.is_cancelled()
            || matches!(
                self.as_str(),
                "Failed"
                    | "TimedOut"
                    | "Rejected"
                    | "CompletedWithFailure"
                    | "ChangeCalendarOverrideRejected"
                    | "Exited"
            )
    }

    /// True where somebody stopped it, and it has ended.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.as_str(), "Cancelled" | "Canceled")
    }

    /// True where somebody stopped it, or is about to.
    pub fn is_stopped(&self) -> bool {
        self.is_cancelled() || self.as_str() == "Cancelling"
    }

    /// True where it goes on only once somebody says so.
    pub fn is_waiting(&self) -> bool {
        matches!(self.as_str(), "Waiting" | "PendingApproval" | "PendingChangeCalendarOverride")
    }

    /// True where nothing has begun yet.
    pub fn is_pending(&self) -> bool {
        matches!(self.as_str(), Self::PENDING | Self::NOT_STARTED)
    }
}

impl From<&str> for Status {
    fn from(word: &str) -> Self {
        Self(word.to_owned())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_slim_step_keeps_what_tells_its_place_its_cause_and_its_child() {
        let output = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
        let mut step = Step {
            action: "aws:executeAutomation".to_owned(),
            status: "Failed".into(),
            failure_message: Some("ä".repeat(1_000)),
            inputs: vec![("TargetLocations".to_owned(), "[]".to_owned())],
            target_location: Some(TargetLocation {
                accounts: vec!["222222222222".to_owned()],
                ..TargetLocation::default()
            }),
            outputs: vec![
                output("ExecutionId", "child"),
                output("Output", "No targets found"),
                output("Log", &"x".repeat(601)),
            ],
            ..Step::default()
        };
        step.slim();
        assert!(step.inputs.is_empty());
        assert_eq!((step.action.as_str(), step.failure_message.map(|text| text.chars().count())), ("", Some(600)));
        assert_eq!(step.outputs, [output("ExecutionId", "child"), output("Output", "No targets found")]);
    }

    #[test]
    fn an_instance_is_found_wherever_it_is_told() {
        const ID: &str = "i-0123456789abcdef0";
        let target = || vec![Target { key: "ParameterValues".to_owned(), values: vec![format!("x {ID}")] }];
        let text = format!("[\"{ID}\"]");
        let location = || TargetLocation { targets: target(), ..TargetLocation::default() };
        let map = || BTreeMap::from([("Id".to_owned(), vec![ID.to_owned()])]);
        let of = |request| Execution { request, ..Execution::default() };
        let step =
            |step: Step| Execution { steps: vec![Step { name: "s".to_owned(), ..step }], ..Execution::default() };
        let plain = StartRequest::default;
        for (execution, expected) in [
            (of(StartRequest { parameters: map(), ..plain() }), "Parameters.Id"),
            (of(StartRequest { targets: target(), ..plain() }), "Targets"),
            (Execution { resolved_targets: vec![ID.to_owned()], ..Execution::default() }, "Targets"),
            (of(StartRequest { target_maps: vec![BTreeMap::new(), map()], ..plain() }), "TargetMaps[1]"),
            (of(StartRequest { target_locations: vec![location()], ..plain() }), "TargetLocations[0].Targets"),
            (step(Step { inputs: vec![("InstanceIds".to_owned(), text.clone())], ..Step::default() }), "step s"),
            (step(Step { outputs: vec![("Out".to_owned(), vec![text])], ..Step::default() }), "step s"),
            (step(Step { target_location: Some(location()), ..Step::default() }), "step s"),
        ] {
            assert_eq!(execution.places(ID), [expected], "{execution:#?}");
            assert!(execution.places("i-0123456789abcdef").is_empty(), "a part of a word is none");
        }
    }

    #[test]
    fn inputs_that_repeat_the_request_are_dropped() {
        let input = |name: &str| (name.to_owned(), "x".to_owned());
        let names =
            ["Approvers", "DocumentName", "RuntimeParameters", "TargetLocations", "ExecutionId", "TargetsSummary"];
        let mut step = Step { inputs: names.map(input).to_vec(), ..Step::default() };
        step.drop_request();
        assert_eq!(step.inputs, ["Approvers", "TargetLocations", "ExecutionId", "TargetsSummary"].map(input));
    }

    #[test]
    fn every_documented_status_has_a_meaning() {
        for (word, is_terminal, is_success, is_failure) in [
            ("Pending", false, false, false),
            ("InProgress", false, false, false),
            ("Waiting", false, false, false),
            ("Success", true, true, false),
            ("TimedOut", true, false, true),
            ("Cancelling", false, false, false),
            ("Cancelled", true, false, true),
            ("Canceled", true, false, true),
            ("Failed", true, false, true),
            ("PendingApproval", false, false, false),
            ("Approved", false, false, false),
            ("Rejected", true, false, true),
            ("Scheduled", false, false, false),
            ("RunbookInProgress", false, false, false),
            ("PendingChangeCalendarOverride", false, false, false),
            ("ChangeCalendarOverrideApproved", false, false, false),
            ("ChangeCalendarOverrideRejected", true, false, true),
            ("CompletedWithSuccess", true, true, false),
            ("CompletedWithFailure", true, false, true),
            ("Exited", true, false, true),
            ("NotStarted", true, false, false),
            ("SomethingNew", false, false, false),
            ("", false, false, false),
        ] {
            let status = Status::from(word);
            let got = (status.is_terminal(), status.is_success(), status.is_failure());
            assert_eq!(got, (is_terminal, is_success, is_failure), "{word}");
        }
    }
}
