//! What an invocation may ask for.
//!
//! The input of `Start` and `Preview` is `StartAutomationExecution`'s own JSON beside a few fields of ours. It
//! is read without serde's derive, because a caller is told every problem at once.

mod action;
mod campaign;
mod checks;
mod list;
mod locations;
mod matching;
mod reader;
mod signal;
mod start;
mod suggest;

use std::time::Duration;

use hub::json_kind;
use serde_json::{Map, Value};
use strum::{EnumString, IntoStaticStr};

use self::action::{Action, action, known_fields, likely_action};
use self::reader::{Expected, Reader};
use crate::plan::campaign::Campaign;
use crate::plan::problem::{Path, Problem};
use crate::plan::request::{StartRequest, Target};
use crate::plan::{self, Split, Terms, WaveMark};

pub use list::{Outcome, Query};
pub use signal::{Signal, SignalType};

/// A Lambda function ends after 15 minutes at the latest.
const WAIT_SECONDS_MAX: u64 = 900;
const KEY_LENGTH_MAX: usize = 256;

/// An event, decoded and found valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Start the runbook everywhere.
    Start(Order),
    /// Say what `Start` would do.
    Preview(Order),
    /// Try accounts, Regions, roles and the runbook without doing anything.
    Preflight(Preflight),
    /// Say where executions stand.
    Status {
        /// The executions, none twice.
        executions: Vec<Asked>,
        /// How long to wait for them to end.
        wait: Duration,
    },
    /// Say which executions there were.
    List(Query),
    /// End executions.
    Stop {
        /// The executions, none twice.
        executions: Vec<Asked>,
        /// How.
        stop_type: StopType,
    },
    /// Start again where executions did not succeed.
    Resume(ResumeOrder),
    /// Answer an execution that waits.
    Signal(Signal),
    /// Say what the waves of a campaign are.
    Campaign(Campaign),
    /// Bring a wave of a campaign a step further.
    Wave(WaveOrder),
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
    /// Its locations as they are sent.
    pub split: Split,
    /// The tags that all of a node have to fit, instead of targets.
    pub matching: Vec<Target>,
    /// The caller's word that the runbook is meant to run without targets.
    pub all_targets: bool,
    /// What makes this start the same as an earlier one.
    pub idempotency_key: Option<String>,
    /// The wave of a campaign that it is.
    pub wave: Option<WaveMark>,
    /// How long to wait for the executions to end.
    pub wait: Duration,
}

/// A preflight, or another look at one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in an invocation")]
pub enum Preflight {
    /// Over the locations of this request.
    Begin {
        /// The request.
        order: Order,
        /// Whether a campaign asks, whose state machine carries the answer on.
        is_brief: bool,
    },
    /// These executions are a preflight that was begun before.
    Look {
        /// The executions, none twice.
        executions: Vec<Asked>,
        /// How long to wait for them to end.
        wait: Duration,
        /// Whether a campaign asks.
        is_brief: bool,
    },
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

/// A step of a campaign's wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaveOrder {
    /// The campaign.
    pub campaign: Campaign,
    /// The name of the wave.
    pub wave: String,
    /// What was started for the wave before this run of the campaign began.
    pub earlier: Vec<String>,
    /// What the wave started, where that is known already.
    pub executions: Vec<String>,
    /// How often it was looked at in this run of the campaign.
    pub looks: u64,
}

/// How an execution is ended, in the API's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(const_into_str)]
pub enum StopType {
    /// Stop what runs.
    Cancel,
    /// Let what runs come to its end, begin nothing more.
    Complete,
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
            Action::Preflight => Self::Preflight(preflight(&mut reader, fields)),
            Action::Status => {
                Self::Status { executions: executions(&mut reader, fields), wait: wait(&mut reader, fields) }
            }
            Action::List => Self::List(list::query(&mut reader, fields)),
            Action::Stop => Self::Stop {
                executions: executions(&mut reader, fields),
                stop_type: start::member(fields, &Path::Root, "Type", |value, path| {
                    stop_type(&mut reader, value, path)
                })
                .unwrap_or(StopType::Cancel),
            },
            Action::Resume => Self::Resume(resume_order(&mut reader, fields)),
            Action::Signal => Self::Signal(signal::signal(&mut reader, fields)),
            Action::Campaign => Self::Campaign(campaign::campaign(&mut reader, fields, &Path::Root)),
            Action::Wave => Self::Wave(wave_order(&mut reader, fields)),
        };
        if reader.problems.is_empty() { Ok(event) } else { Err(reader.problems) }
    }
}

fn order(reader: &mut Reader, fields: &Map<String, Value>) -> Order {
    let request = start::start_request(reader, fields, &Path::Root);
    let idempotency_key = idempotency_key(reader, fields);
    if idempotency_key.is_some() && request.client_token.is_some() {
        reader.refuse(
            &Path::Root.field("IdempotencyKey"),
            "expected only one of IdempotencyKey and ClientToken, got both",
        );
    }
    let split = match plan::split(&request) {
        Ok(split) => split,
        Err(problems) => {
            reader.problems.extend(problems);
            Split::default()
        }
    };
    Order {
        matching: matching::matching(reader, fields, &request),
        all_targets: all_targets(reader, fields, &Path::Root),
        request,
        split,
        idempotency_key,
        wave: None,
        wait: wait(reader, fields),
    }
}

fn all_targets(reader: &mut Reader, fields: &Map<String, Value>, root: &Path<'_>) -> bool {
    start::member(fields, root, "AllTargets", |value, path| reader.boolean(value, path)).unwrap_or_default()
}

fn preflight(reader: &mut Reader, fields: &Map<String, Value>) -> Preflight {
    if ["AutomationExecutionIds", "AutomationExecutionId"].iter().any(|name| fields.contains_key(*name)) {
        let is_brief = fields.contains_key("Campaign");
        return Preflight::Look { executions: executions(reader, fields), wait: wait(reader, fields), is_brief };
    }
    let Some(campaign) = fields.get("Campaign") else {
        return Preflight::Begin { order: order(reader, fields), is_brief: false };
    };
    let path = Path::Root.field("Campaign");
    let campaign = reader.map(campaign, &path).map(|fields| campaign::campaign(reader, fields, &path));
    let (request, all_targets) = campaign.map(|campaign| (campaign.request, campaign.all_targets)).unwrap_or_default();
    let split = plan::split(&request).unwrap_or_default();
    let wait = wait(reader, fields);
    let matching = Vec::new();
    let order = Order { request, split, matching, all_targets, idempotency_key: None, wave: None, wait };
    Preflight::Begin { order, is_brief: true }
}

fn wave_order(reader: &mut Reader, fields: &Map<String, Value>) -> WaveOrder {
    let path = Path::Root.field("Campaign");
    let campaign = if let Some(value) = fields.get("Campaign") {
        reader.map(value, &path).map(|fields| campaign::campaign(reader, fields, &path))
    } else {
        reader.refuse(&path, "expected a campaign, got nothing");
        None
    };
    let wave = Path::Root.field("Wave");
    let words = Expected::Open("the name of a wave");
    let name = fields.get("Wave").and_then(|value| reader.string(value, &wave, &words, |_| true));
    if !fields.contains_key("Wave") {
        reader.refuse(&wave, "expected the name of a wave, got nothing");
    }
    let mut ids = |name: &str| {
        start::member(fields, &Path::Root, name, |value, path| {
            reader.strings(value, path, (0, usize::MAX), &execution_id(), |id| checks::execution_id(id).is_some())
        })
    };
    let (executions, earlier) = (ids("AutomationExecutionIds"), ids("EarlierExecutions"));
    WaveOrder {
        campaign: campaign.unwrap_or_else(campaign::nothing),
        wave: name.unwrap_or_default(),
        earlier,
        executions,
        looks: start::member(fields, &Path::Root, "Looks", |value, path| reader.number(value, path, (0, u64::MAX)))
            .unwrap_or_default(),
    }
}

fn resume_order(reader: &mut Reader, fields: &Map<String, Value>) -> ResumeOrder {
    let root = Path::Root;
    ResumeOrder {
        executions: executions(reader, fields),
        idempotency_key: idempotency_key(reader, fields),
        wait: wait(reader, fields),
        terms: Terms {
            // Another tag is ours: it links the new execution to the old one.
            tags: start::member(fields, &root, "Tags", |value, path| {
                start::tags(reader, value, path, start::TAGS_MAX - 1)
            }),
            max_concurrency: start::member(fields, &root, "TargetLocationMaxConcurrency", |value, path| {
                locations::concurrency(reader, value, path)
            }),
            max_errors: start::member(fields, &root, "TargetLocationMaxErrors", |value, path| {
                locations::errors(reader, value, path)
            }),
        },
    }
}

fn idempotency_key(reader: &mut Reader, fields: &Map<String, Value>) -> Option<String> {
    let words =
        Expected::Open("1 to 256 characters, none of them invisible or decomposed (NFD), and no space at the ends");
    let key = |text: &str| {
        let is_key = checks::is_length(text, 1, KEY_LENGTH_MAX) && checks::is_plain(text);
        is_key.then(|| checks::token(text).unwrap_or_else(|| text.to_owned()))
    };
    let value = fields.get("IdempotencyKey")?;
    reader.parsed(value, &Path::Root.field("IdempotencyKey"), &words, key)
}

fn wait(reader: &mut Reader, fields: &Map<String, Value>) -> Duration {
    let seconds = start::member(fields, &Path::Root, "WaitSeconds", |value, path| {
        reader.number(value, path, (0, WAIT_SECONDS_MAX))
    });
    Duration::from_secs(seconds.unwrap_or_default())
}

fn stop_type(reader: &mut Reader, value: &Value, path: &Path<'_>) -> Option<StopType> {
    reader.parsed(value, path, &Expected::Open("Cancel or Complete"), |text| text.parse().ok())
}

fn execution_id() -> Expected {
    Expected::Open("an execution id of 36 characters")
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
        let id = reader.parsed(value, path, &execution_id(), checks::execution_id);
        if let Some(id) = id.filter(|id| executions.iter().all(|asked| !asked.id.eq_ignore_ascii_case(id))) {
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
