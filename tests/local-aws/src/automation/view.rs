//! Executions as the service shows them.
//!
//! Shapes: `AutomationExecution`, `AutomationExecutionMetadata`, `StepExecution`. A member without a
//! value is left out. The names of the steps of a run over target locations, and the steps of a child,
//! are not documented by AWS.

use serde_json::{Map, Value, json};

use super::execution::{Execution, Pair};
use super::ids::Part;
use super::outcome::NO_TARGETS;
use super::timeline::End;
use crate::xml::items;

/// `GetAutomationExecution` shows no more steps than this.
pub(super) const STEPS_SHOWN: usize = 50;

/// Members of the request that an execution repeats.
const REPEATED: [&str; 6] =
    ["TargetParameterName", "Targets", "TargetMaps", "MaxConcurrency", "MaxErrors", "AlarmConfiguration"];

/// Shape: `AutomationExecution`.
pub(super) fn execution(execution: &Execution, part: Part, now: u64) -> Value {
    let mut shown = summary(execution, part, now);
    let run = run_of(execution, part);
    let mut steps = match &run {
        Some(pair) => run_steps(execution, pair, now),
        // One more than is shown tells that there are more.
        None => (0..execution.len()).filter_map(|pair| step(execution, pair, now)).take(STEPS_SHOWN + 1).collect(),
    };
    let counters = if run.is_some() { count(&steps) } else { counters(execution, now) };
    put(&mut shown, "StepExecutionsTruncated", json!(steps.len() > STEPS_SHOWN));
    steps.truncate(STEPS_SHOWN);
    put(&mut shown, "StepExecutions", json!(steps));
    put(&mut shown, "ProgressCounters", counters);
    put(&mut shown, "Parameters", parameters(execution, part));
    if part == Part::Whole {
        put(&mut shown, "TargetLocations", execution.new.request["TargetLocations"].clone());
    }
    Value::Object(shown)
}

/// Shape: `AutomationExecutionMetadata`.
pub(super) fn metadata(execution: &Execution, part: Part, now: u64) -> Value {
    let mut shown = summary(execution, part, now);
    let over_locations = run_of(execution, part).is_none();
    put(&mut shown, "AutomationType", json!(if over_locations { "CrossAccount" } else { "Local" }));
    Value::Object(shown)
}

/// What both shapes have.
fn summary(execution: &Execution, part: Part, now: u64) -> Map<String, Value> {
    let new = &execution.new;
    let mut shown = Map::new();
    put(&mut shown, "DocumentName", json!(execution.document()));
    put(&mut shown, "DocumentVersion", json!(new.version));
    put(&mut shown, "Mode", json!(new.request["Mode"].as_str().unwrap_or("Auto")));
    put(&mut shown, "Outputs", json!({}));
    for name in REPEATED {
        put(&mut shown, name, new.request[name].clone());
    }
    let Some(pair) = run_of(execution, part) else {
        put(&mut shown, "AutomationExecutionId", json!(execution.id().to_string()));
        put(&mut shown, "AutomationExecutionStatus", json!(execution.status(now)));
        put(&mut shown, "ExecutedBy", json!(new.executed_by));
        put(&mut shown, "ExecutionStartTime", json!(execution.time(0)));
        put(&mut shown, "FailureMessage", json!(failure(execution, now)));
        put(&mut shown, "ResolvedTargets", json!({"ParameterValues": [], "Truncated": false}));
        if execution.has_ended(now) {
            put(&mut shown, "ExecutionEndTime", json!(execution.time(execution.ends())));
        } else {
            put(&mut shown, "CurrentAction", json!("aws:executeAutomation"));
        }
        return shown;
    };
    run_summary(&mut shown, execution, &pair, now);
    shown
}

fn run_summary(shown: &mut Map<String, Value>, execution: &Execution, pair: &Pair<'_>, now: u64) {
    let id = run_id(execution, pair);
    put(shown, "AutomationExecutionId", json!(id));
    put(shown, "AutomationExecutionStatus", json!(pair.status(now)));
    put(shown, "ExecutionStartTime", json!(pair.run.begins.map(|at| execution.time(at))));
    let own = &pair.location.asked;
    let rates =
        [("Targets", "Targets"), ("TargetsMaxConcurrency", "MaxConcurrency"), ("TargetsMaxErrors", "MaxErrors")];
    for (name, shown_as) in rates {
        put(shown, shown_as, own[name].clone());
    }
    if execution.is_local() {
        put(shown, "ExecutedBy", json!(execution.new.executed_by));
    } else {
        let session =
            format!("arn:aws:sts::{}:assumed-role/{}/Automation-{}", pair.account, pair.location.role, execution.id());
        put(shown, "ParentAutomationExecutionId", json!(execution.id().to_string()));
        put(shown, "ExecutedBy", json!(session));
    }
    let resources = resources(pair);
    put(shown, "ResolvedTargets", json!({"ParameterValues": resources, "Truncated": false}));
    if pair.run.has_ended(now) {
        put(shown, "ExecutionEndTime", json!(execution.time(pair.run.ends)));
        put(shown, "WarningMessage", json!(warning(execution, pair)));
        if pair.run.end != End::Cancelled {
            put(shown, "FailureMessage", json!(pair.outcome.run_message(pair.facts(execution.document(), &id))));
        }
    }
}

/// The step of a pair in an execution over target locations; `None` where it has none yet. Shape: `StepExecution`.
pub(super) fn step(execution: &Execution, index: usize, now: u64) -> Option<Value> {
    let pair = execution.has_step(index, now).then(|| execution.pair(index)).flatten()?;
    let child = run_id(execution, &pair);
    let mut shown = Map::new();
    put(&mut shown, "StepName", json!(format!("{}_{}", pair.account, pair.region)));
    put(&mut shown, "Action", json!("aws:executeAutomation"));
    put(&mut shown, "StepExecutionId", json!(execution.id().step(index).to_string()));
    put(&mut shown, "StepStatus", json!(pair.status(now)));
    let mut location =
        json!({"Accounts": [pair.account], "Regions": [pair.region], "ExecutionRoleName": pair.location.role});
    for name in ["TargetLocationMaxConcurrency", "TargetLocationMaxErrors"] {
        if let Some(limit) = pair.location.asked.get(name) {
            location[name] = limit.clone();
        }
    }
    put(&mut shown, "TargetLocation", location);
    put(&mut shown, "Inputs", inputs(execution));
    put(&mut shown, "Outputs", json!({}));
    if pair.run.has_begun(now) {
        put(&mut shown, "ExecutionStartTime", json!(pair.run.begins.map(|at| execution.time(at))));
        if pair.has_child(now) {
            put(&mut shown, "Outputs", json!({"ExecutionId": [child], "Status": [pair.status(now)]}));
        }
        if pair.run.has_ended(now) {
            put(&mut shown, "ExecutionEndTime", json!(execution.time(pair.run.ends)));
            put(&mut shown, "WarningMessage", json!(warning(execution, &pair)));
            failed_step(&mut shown, execution, &pair, &child);
        }
    }
    Some(Value::Object(shown))
}

fn failed_step(shown: &mut Map<String, Value>, execution: &Execution, pair: &Pair<'_>, child: &str) {
    let message = pair.outcome.step_message(pair.facts(execution.document(), child));
    if let Some(message) = message.filter(|_| pair.run.end != End::Cancelled) {
        let (stage, kind) = pair.outcome.failure();
        put(shown, "FailureMessage", json!(message));
        put(shown, "FailureDetails", json!({"FailureStage": stage, "FailureType": kind, "Details": {}}));
    }
}

/// A run that was given targets and found none.
fn warning(execution: &Execution, pair: &Pair<'_>) -> Option<&'static str> {
    let has_targets =
        [&execution.new.request, &pair.location.asked].iter().any(|body| !items(&body["Targets"]).is_empty());
    let found_none = pair.run.end == End::Success && pair.outcome.resources() == (0, 0);
    (has_targets && found_none).then_some(NO_TARGETS)
}

/// The steps of a run in one account and Region: one for each resource.
pub(super) fn run_steps(execution: &Execution, pair: &Pair<'_>, now: u64) -> Vec<Value> {
    let (_, failed) = pair.outcome.resources();
    let status = pair.status(now);
    let message = pair.outcome.run_message(pair.facts(execution.document(), &run_id(execution, pair)));
    let steps = (0..).zip(resources(pair)).map(|(number, resource)| {
        let fails = status == "Failed" && number < failed;
        let mut shown = Map::new();
        let waits = status == "Waiting";
        put(&mut shown, "StepName", json!(if waits { "approve" } else { resource.as_str() }));
        put(&mut shown, "Action", json!(if waits { "aws:approve" } else { "aws:executeAutomation" }));
        let id = uuid::Uuid::from_u128(pair_seed(execution, pair) ^ (u128::from(number + 1) << 64));
        put(&mut shown, "StepExecutionId", json!(id.to_string()));
        put(&mut shown, "StepStatus", json!(if status == "Failed" && !fails { "Success" } else { status }));
        let approvers = json!([format!("arn:aws:iam::{}:role/Approvers", pair.account)]).to_string();
        put(&mut shown, "Inputs", if waits { json!({"Approvers": approvers}) } else { json!({}) });
        put(&mut shown, "Outputs", json!({}));
        put(&mut shown, "ExecutionStartTime", json!(pair.run.begins.map(|at| execution.time(at))));
        if pair.run.has_ended(now) {
            put(&mut shown, "ExecutionEndTime", json!(execution.time(pair.run.ends)));
        }
        if fails || status == "TimedOut" {
            put(&mut shown, "FailureMessage", json!(message));
        }
        Value::Object(shown)
    });
    steps.collect()
}

/// The pair whose run an id names; `None` for an execution over target locations.
pub(super) fn run_of(execution: &Execution, part: Part) -> Option<Pair<'_>> {
    match part {
        Part::Child(index) => execution.pair(index),
        Part::Whole if execution.is_local() => execution.pair(0),
        _ => None,
    }
}

fn run_id(execution: &Execution, pair: &Pair<'_>) -> String {
    if execution.is_local() { execution.id() } else { execution.id().child(pair.index) }.to_string()
}

fn pair_seed(execution: &Execution, pair: &Pair<'_>) -> u128 {
    uuid::Uuid::parse_str(&execution.id().step(pair.index).to_string()).map_or(0, |id| id.as_u128())
}

/// What was found, else made up and the same for the same pair.
fn resources(pair: &Pair<'_>) -> Vec<String> {
    if let Some(found) = pair.found {
        return found.to_vec();
    }
    let (resources, _) = pair.outcome.resources();
    let account: u64 = pair.account.parse().unwrap_or_default();
    (0..resources).map(|number| format!("i-{account:012}{number:05x}")).collect()
}

/// A child runs under the execution role of its account.
fn parameters(execution: &Execution, part: Part) -> Value {
    let mut parameters = execution.new.request["Parameters"].clone();
    if let (Part::Child(index), Some(map)) = (part, parameters.as_object_mut())
        && let Some(pair) = execution.pair(index)
    {
        let role = format!("arn:aws:iam::{}:role/{}", pair.account, pair.location.role);
        map.insert("AutomationAssumeRole".to_owned(), json!([role]));
    }
    if parameters.is_null() { json!({}) } else { parameters }
}

/// Shape: `NormalStringMap`, so a list is one text.
fn inputs(execution: &Execution) -> Value {
    let mut inputs = Map::new();
    put(&mut inputs, "DocumentName", json!(execution.document()));
    put(&mut inputs, "DocumentVersion", json!(execution.new.version));
    for name in ["TargetParameterName", "MaxConcurrency", "MaxErrors"] {
        put(&mut inputs, name, execution.new.request[name].clone());
    }
    for name in ["RuntimeParameters", "Targets"] {
        let member = if name == "Targets" { "Targets" } else { "Parameters" };
        if let Some(value) = execution.new.request.get(member).filter(|value| !value.is_null()) {
            put(&mut inputs, name, json!(value.to_string()));
        }
    }
    Value::Object(inputs)
}

fn failure(execution: &Execution, now: u64) -> Option<String> {
    if let Some(problem) = &execution.new.problem {
        return Some(problem.clone());
    }
    let failed = execution.ended(End::Failed, now) + execution.ended(End::TimedOut, now);
    (execution.status(now) == "Failed").then(|| {
        format!(
            "Step fails when it is Execute/Cancelling action. {failed} of {} target locations failed, which is more \
             than TargetLocationMaxErrors allows. Please refer to Automation Service Troubleshooting Guide for more \
             diagnosis details.",
            execution.len()
        )
    })
}

fn counters(execution: &Execution, now: u64) -> Value {
    let ended = |end| execution.ended(end, now);
    json!({
        "TotalSteps": execution.len(),
        "SuccessSteps": ended(End::Success),
        "FailedSteps": ended(End::Failed),
        "CancelledSteps": ended(End::Cancelled),
        "TimedOutSteps": ended(End::TimedOut),
    })
}

fn count(steps: &[Value]) -> Value {
    let of = |status: &str| steps.iter().filter(|step| step["StepStatus"] == status).count();
    json!({
        "TotalSteps": steps.len(),
        "SuccessSteps": of("Success"),
        "FailedSteps": of("Failed"),
        "CancelledSteps": of("Cancelled"),
        "TimedOutSteps": of("TimedOut"),
    })
}

fn put(shown: &mut Map<String, Value>, name: &str, value: Value) {
    if !value.is_null() {
        shown.insert(name.to_owned(), value);
    }
}
