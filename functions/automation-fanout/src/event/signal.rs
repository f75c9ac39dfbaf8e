//! An answer to an execution that waits.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use strum::{EnumString, IntoStaticStr};

use super::reader::{Expected, Reader};
use super::{Asked, executions, start};
use crate::plan::problem::Path;

/// What is sent to an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The execution.
    pub execution: Asked,
    /// The kind.
    pub signal_type: SignalType,
    /// What goes with it, such as a comment or the name of a step.
    pub payload: BTreeMap<String, Vec<String>>,
}

/// The kinds of signals:
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendAutomationSignal.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(const_into_str)]
#[expect(missing_docs, reason = "the API's own words")]
pub enum SignalType {
    Approve,
    Reject,
    StartStep,
    StopStep,
    Resume,
    Revoke,
}

pub(super) fn signal(reader: &mut Reader, fields: &Map<String, Value>) -> Signal {
    let root = Path::Root;
    let path = root.field("SignalType");
    let words = Expected::Open("Approve, Reject, StartStep, StopStep, Resume or Revoke");
    let signal_type = fields
        .get("SignalType")
        .and_then(|value| reader.parsed(value, &path, &words, |text| text.parse::<SignalType>().ok()));
    if !fields.contains_key("SignalType") {
        reader.refuse(&path, "expected Approve, Reject, StartStep, StopStep, Resume or Revoke, got nothing");
    }
    let payload = start::member(fields, &root, "Payload", |value, path| payload(reader, value, path));
    // The guide names what each of these needs.
    let needed = match signal_type {
        Some(SignalType::StartStep | SignalType::Resume) => Some("StepName"),
        Some(SignalType::StopStep) => Some("StepExecutionId"),
        _ => None,
    };
    if let Some(name) = needed.filter(|name| !payload.contains_key(*name)) {
        reader.refuse(&root.field("Payload").field(name), "expected the step that the signal is for, got nothing");
    }
    let execution = executions(reader, fields).into_iter().next();
    Signal {
        execution: execution.unwrap_or(Asked { id: String::new(), path: String::new() }),
        signal_type: signal_type.unwrap_or(SignalType::Approve),
        payload,
    }
}

fn payload(reader: &mut Reader, value: &Value, path: &Path<'_>) -> BTreeMap<String, Vec<String>> {
    let words = Expected::Secret("a string of 1 to 512 characters");
    let is_value = |text: &str| super::checks::is_length(text, 1, 512);
    let fields = reader.map(value, path).into_iter().flatten();
    fields
        .map(|(name, value)| (name.clone(), reader.strings(value, &path.field(name), (1, 50), &words, is_value)))
        .collect()
}
