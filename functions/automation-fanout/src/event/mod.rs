//! What an invocation may ask for.
//!
//! The input of `Start` and `Preview` is `StartAutomationExecution`'s own JSON beside a few fields of ours. It
//! is read without serde's derive, because a caller is told every problem at once.

mod checks;
mod locations;
mod reader;
mod start;
mod suggest;

use std::time::Duration;

use hub::json_kind;
use serde_json::{Map, Value};

use self::reader::{Expected, Reader, shown};
use self::suggest::did_you_mean;
use crate::plan::{self, Terms};
use crate::problem::{Path, Problem};
use crate::request::StartRequest;

/// A Lambda function ends after 15 minutes at the latest.
const WAIT_SECONDS_MAX: u64 = 900;
const KEY_LENGTH_MAX: usize = 256;

const OWN_FIELDS: [&str; 8] = [
    "Action",
    "IdempotencyKey",
    "WaitSeconds",
    "AutomationExecutionIds",
    "AutomationExecutionId",
    "Type",
    "TargetLocationMaxConcurrency",
    "TargetLocationMaxErrors",
];

/// An event, decoded and found valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Start the runbook everywhere.
    Start(Order),
    /// Say what `Start` would do.
    Preview(Order),
    /// Say where executions stand.
    Status {
        /// The executions, none twice.
        executions: Vec<Asked>,
        /// How long to wait for them to end.
        wait: Duration,
    },
    /// End executions.
    Stop {
        /// The executions, none twice.
        executions: Vec<Asked>,
        /// How.
        stop_type: StopType,
    },
    /// Start again where executions did not succeed.
    Resume(ResumeOrder),
}

/// An execution that the caller names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its id.
    pub id: String,
    /// Where the event names it.
    pub path: String,
}

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The caller's request, whatever its size.
    pub request: StartRequest,
    /// What makes this start the same as an earlier one.
    pub idempotency_key: Option<String>,
    /// How long to wait for the executions to end.
    pub wait: Duration,
}

/// What to start again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeOrder {
    /// The executions, none twice.
    pub executions: Vec<Asked>,
    /// What makes this resumption the same as an earlier one.
    pub idempotency_key: Option<String>,
    /// How long to wait for the new executions to end.
    pub wait: Duration,
    /// What is to be different.
    pub terms: Terms,
}

/// How an execution is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopType {
    /// Stop what runs.
    Cancel,
    /// Let what runs come to its end, begin nothing more.
    Complete,
}

impl StopType {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "Cancel",
            Self::Complete => "Complete",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Start,
    Preview,
    Status,
    Stop,
    Resume,
}

const ACTIONS: [(&str, Action); 5] = [
    ("Start", Action::Start),
    ("Preview", Action::Preview),
    ("Status", Action::Status),
    ("Stop", Action::Stop),
    ("Resume", Action::Resume),
];

/// The actions that a field belongs to.
fn actions_of(field: &str) -> &'static [Action] {
    use Action::{Preview, Resume, Start, Status, Stop};
    match field {
        "Action" => &[Start, Preview, Status, Stop, Resume],
        "IdempotencyKey" | "Tags" => &[Start, Preview, Resume],
        // A preview takes it too, so that one file serves both.
        "WaitSeconds" => &[Start, Preview, Status, Resume],
        "AutomationExecutionIds" | "AutomationExecutionId" => &[Status, Stop, Resume],
        "Type" => &[Stop],
        "TargetLocationMaxConcurrency" | "TargetLocationMaxErrors" => &[Resume],
        _ => &[Start, Preview],
    }
}

impl Event {
    /// Reads the event of an invocation.
    ///
    /// # Errors
    /// All problems, each with its path and what was expected.
    pub fn from_json(event: &Value) -> Result<Self, Vec<Problem>> {
        let Some(fields) = event.as_object() else {
            return Err(vec![Problem::new(Path::Root, format!("expected an object, got {}", json_kind(event)))]);
        };
        let mut reader = Reader::default();
        let action = action(&mut reader, fields);
        known_fields(&mut reader, fields, action);
        let event = match action.unwrap_or_else(|| likely_action(fields)) {
            Action::Start => Self::Start(order(&mut reader, fields)),
            Action::Preview => Self::Preview(order(&mut reader, fields)),
            Action::Status => {
                Self::Status { executions: executions(&mut reader, fields), wait: wait(&mut reader, fields) }
            }
            Action::Stop => Self::Stop {
                executions: executions(&mut reader, fields),
                stop_type: start::read(fields, "Type", |value, path| stop_type(&mut reader, value, path))
                    .unwrap_or(StopType::Cancel),
            },
            Action::Resume => Self::Resume(resume_order(&mut reader, fields)),
        };
        if reader.problems.is_empty() { Ok(event) } else { Err(reader.problems) }
    }
}

fn action(reader: &mut Reader, fields: &Map<String, Value>) -> Option<Action> {
    let Some(value) = fields.get("Action") else {
        return Some(Action::Start);
    };
    let path = Path::Root.field("Action");
    let words = Expected::Open("Start, Preview, Status, Stop or Resume");
    let text = reader.string(value, &path, &words, |_| true)?;
    let action = ACTIONS.iter().find(|(name, _)| *name == text);
    if action.is_none() {
        let names: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
        reader.refuse(&path, format!("unknown action {}; {}", shown(&text), did_you_mean(&text, &names)));
    }
    action.map(|(_, action)| *action)
}

/// What an event with an unknown action most likely wants, so that its other problems are told too.
fn likely_action(fields: &Map<String, Value>) -> Action {
    let names_executions =
        ["AutomationExecutionIds", "AutomationExecutionId"].iter().any(|name| fields.contains_key(*name));
    if names_executions { Action::Status } else { Action::Start }
}

fn known_fields(reader: &mut Reader, fields: &Map<String, Value>, action: Option<Action>) {
    let known: Vec<&str> = OWN_FIELDS.iter().chain(&start::MEMBERS).copied().collect();
    for name in fields.keys() {
        let path = Path::Root.field(name);
        if !known.contains(&name.as_str()) {
            reader.refuse(&path, format!("unknown field; {}", did_you_mean(name, &known)));
        } else if let Some(action) = action.filter(|action| !actions_of(name).contains(action)) {
            let names: Vec<&str> =
                ACTIONS.iter().filter(|(_, a)| actions_of(name).contains(a)).map(|(name, _)| *name).collect();
            reader.refuse(&path, format!("expected only with {}, got it with {action:?}", names.join(", ")));
        }
    }
}

fn order(reader: &mut Reader, fields: &Map<String, Value>) -> Order {
    let request = start::start_request(reader, fields);
    let idempotency_key = idempotency_key(reader, fields);
    if idempotency_key.is_some() && request.client_token.is_some() {
        reader.refuse(
            &Path::Root.field("IdempotencyKey"),
            "expected only one of IdempotencyKey and ClientToken, got both",
        );
    }
    reader.problems.extend(plan::problems(&request));
    Order { request, idempotency_key, wait: wait(reader, fields) }
}

fn resume_order(reader: &mut Reader, fields: &Map<String, Value>) -> ResumeOrder {
    ResumeOrder {
        executions: executions(reader, fields),
        idempotency_key: idempotency_key(reader, fields),
        wait: wait(reader, fields),
        terms: Terms {
            // One tag is ours: it links the new execution to the old one.
            tags: start::read(fields, "Tags", |value, path| start::tags(reader, value, path, start::TAGS_MAX - 1)),
            max_concurrency: start::read(fields, "TargetLocationMaxConcurrency", |value, path| {
                locations::concurrency(reader, value, path)
            }),
            max_errors: start::read(fields, "TargetLocationMaxErrors", |value, path| {
                locations::errors(reader, value, path)
            }),
        },
    }
}

fn idempotency_key(reader: &mut Reader, fields: &Map<String, Value>) -> Option<String> {
    let words = Expected::Open("1 to 256 characters, none of them a control character");
    let is_key = |text: &str| checks::is_length(text, 1, KEY_LENGTH_MAX) && !text.chars().any(char::is_control);
    fields
        .get("IdempotencyKey")
        .and_then(|value| reader.string(value, &Path::Root.field("IdempotencyKey"), &words, is_key))
}

fn wait(reader: &mut Reader, fields: &Map<String, Value>) -> Duration {
    let Some(value) = fields.get("WaitSeconds") else {
        return Duration::ZERO;
    };
    let seconds = value.as_u64().filter(|seconds| *seconds <= WAIT_SECONDS_MAX);
    if seconds.is_none() {
        let got = if value.is_number() { value.to_string() } else { json_kind(value).to_owned() };
        let text = format!("expected a whole number from 0 to {WAIT_SECONDS_MAX}, got {got}");
        reader.refuse(&Path::Root.field("WaitSeconds"), text);
    }
    Duration::from_secs(seconds.unwrap_or_default())
}

fn stop_type(reader: &mut Reader, value: &Value, path: &Path<'_>) -> Option<StopType> {
    reader.parsed(value, path, &Expected::Open("Cancel or Complete"), |text| match text {
        "Cancel" => Some(StopType::Cancel),
        "Complete" => Some(StopType::Complete),
        _ => None,
    })
}

fn executions(reader: &mut Reader, fields: &Map<String, Value>) -> Vec<Asked> {
    let (list, one) = (fields.get("AutomationExecutionIds"), fields.get("AutomationExecutionId"));
    let (list_path, one_path) = (Path::Root.field("AutomationExecutionIds"), Path::Root.field("AutomationExecutionId"));
    match (list, one) {
        (None, None) => reader.refuse(&list_path, "expected at least one execution id, got nothing"),
        (Some(_), Some(_)) => {
            reader.refuse(&one_path, "expected only one of AutomationExecutionIds and AutomationExecutionId, got both");
        }
        _ => {}
    }
    let mut executions: Vec<Asked> = Vec::new();
    let mut ask = |reader: &mut Reader, value: &Value, path: &Path<'_>| {
        let words = Expected::Open("an execution id of 36 characters");
        let id = reader.string(value, path, &words, checks::is_execution_id);
        if let Some(id) = id.filter(|id| executions.iter().all(|asked| asked.id != *id)) {
            executions.push(Asked { id, path: path.to_string() });
        }
    };
    let items = list.and_then(|list| reader.list(list, &list_path, (1, usize::MAX))).unwrap_or_default();
    for (index, item) in items.iter().enumerate() {
        ask(reader, item, &list_path.index(index));
    }
    if let Some(one) = one {
        ask(reader, one, &one_path);
    }
    executions
}

#[cfg(test)]
mod tests;
