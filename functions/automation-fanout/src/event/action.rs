//! Actions, and the fields that belong to them.

use serde_json::{Map, Value};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::reader::{Expected, Reader, shown};
use super::start;
use super::suggest::did_you_mean;
use crate::plan::problem::Path;

/// What an event asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantArray, IntoStaticStr)]
#[strum(const_into_str)]
pub(super) enum Action {
    Start,
    Preview,
    Preflight,
    Status,
    List,
    Stop,
    Resume,
    Signal,
    Campaign,
    Wave,
}

/// Our own fields.
const OWN_FIELDS: [&str; 28] = [
    "Action",
    "IdempotencyKey",
    "WaitSeconds",
    "AutomationExecutionIds",
    "AutomationExecutionId",
    "Type",
    "TargetLocationMaxConcurrency",
    "TargetLocationMaxErrors",
    "AllTargets",
    "Match",
    "SignalType",
    "Payload",
    "Outcome",
    "StartedAfter",
    "StartedBefore",
    "InstanceId",
    "MaxResults",
    "Name",
    "Request",
    "Waves",
    "Gate",
    "Preflight",
    "From",
    "Resume",
    "Campaign",
    "Wave",
    "EarlierExecutions",
    "Looks",
];

/// The actions that a field belongs to.
fn actions_of(field: &str) -> &'static [Action] {
    use Action::{Campaign, List, Preflight, Preview, Resume, Signal, Start, Status, Stop, Wave};
    match field {
        "Action" => Action::VARIANTS,
        "IdempotencyKey" => &[Start, Preview, Preflight, List, Resume],
        "Tags" => &[Start, Preview, Preflight, Resume],
        "DocumentName" => &[Start, Preview, Preflight, List],
        // A preview takes it too, so that one file serves both.
        "WaitSeconds" => &[Start, Preview, Preflight, Status, Resume],
        "AutomationExecutionIds" => &[Preflight, Status, Stop, Resume, Wave],
        "AutomationExecutionId" => &[Preflight, Status, Stop, Resume, Signal],
        "Type" => &[Stop],
        "TargetLocationMaxConcurrency" | "TargetLocationMaxErrors" => &[Resume],
        "SignalType" | "Payload" => &[Signal],
        "Outcome" | "StartedAfter" | "StartedBefore" | "InstanceId" | "MaxResults" => &[List],
        "Name" | "Request" | "Waves" | "Gate" | "Preflight" | "From" | "Resume" => &[Campaign],
        "Campaign" => &[Preflight, Wave],
        "Wave" | "EarlierExecutions" | "Looks" => &[Wave],
        _ => &[Start, Preview, Preflight],
    }
}

/// The action of an event; a start where it names none.
pub(super) fn action(reader: &mut Reader, fields: &Map<String, Value>) -> Option<Action> {
    let Some(value) = fields.get("Action") else {
        return Some(Action::Start);
    };
    let path = Path::Root.field("Action");
    let words = Expected::Open("Start, Preview, Preflight, Status, List, Stop, Resume, Signal or Campaign");
    let text = reader.string(value, &path, &words, |_| true)?;
    let action = text.parse().ok();
    if action.is_none() {
        let for_callers = Action::VARIANTS.iter().filter(|action| **action != Action::Wave);
        let names: Vec<&str> = for_callers.map(Action::into_str).collect();
        reader.refuse(&path, format!("unknown action {}; {}", shown(&text), did_you_mean(&text, &names)));
    }
    action
}

/// What an event with an unknown action most likely wants, so that its other problems are told too.
pub(super) fn likely_action(fields: &Map<String, Value>) -> Action {
    let names_executions =
        ["AutomationExecutionIds", "AutomationExecutionId"].iter().any(|name| fields.contains_key(*name));
    match () {
        () if fields.contains_key("Waves") => Action::Campaign,
        () if names_executions => Action::Status,
        () => Action::Start,
    }
}

/// Refuses what is no field of the action.
pub(super) fn known_fields(reader: &mut Reader, fields: &Map<String, Value>, action: Option<Action>) {
    let known: Vec<&str> = OWN_FIELDS.iter().chain(&start::MEMBERS).copied().collect();
    for name in fields.keys() {
        let path = Path::Root.field(name);
        if !known.contains(&name.as_str()) {
            reader.refuse(&path, format!("unknown field; {}", did_you_mean(name, &known)));
        } else if let Some(action) = action.filter(|action| !actions_of(name).contains(action)) {
            let of_field = Action::VARIANTS.iter().filter(|action| actions_of(name).contains(action));
            let names: Vec<&str> = of_field.map(Action::into_str).collect();
            reader.refuse(&path, format!("expected only with {}, got it with {action:?}", names.join(", ")));
        }
    }
}
