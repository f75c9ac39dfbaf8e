//! `DescribeAutomationExecutions` and `DescribeAutomationStepExecutions`.

use serde_json::{Value, json};

use super::execution::{Execution, Home};
use super::filter::{Filter, limit, read, token};
use super::ids::{Id, Part};
use super::{State, view};
use crate::aws_error::AwsError;

/// The executions of an account and Region, those started last first, each before its children.
///
/// # Errors
/// `InvalidFilterValue` and `InvalidNextToken`.
pub(super) fn executions(state: &State, home: &Home, body: &Value) -> Result<Value, AwsError> {
    let filters = read(body)?;
    let after = token(body, place)?;
    let limit = limit(body);
    let of_parent = filters.iter().find(|filter| filter.key == "ParentExecutionId");
    let mut shown = Vec::new();
    let mut last = None;
    for (number, execution) in state.executions.range(..=after.map_or(u64::MAX, |(number, _)| number)).rev() {
        let id = execution.id().to_string();
        if of_parent.is_some_and(|filter| !filter.any(&id)) {
            continue;
        }
        let now = execution.elapsed(state.now());
        for (within, part) in (0..).zip(parts(execution, home, now)) {
            if after.is_some_and(|after| *number == after.0 && within <= after.1) {
                continue;
            }
            let metadata = view::metadata(execution, part, now);
            if !filters.iter().all(|filter| takes_execution(filter, execution, &metadata)) {
                continue;
            }
            if shown.len() == limit {
                return Ok(json!({"AutomationExecutionMetadataList": shown, "NextToken": last}));
            }
            last = Some(format!("{number}-{within}"));
            shown.push(metadata);
        }
    }
    Ok(json!({"AutomationExecutionMetadataList": shown}))
}

/// What of an execution is there in an account and Region.
fn parts(execution: &Execution, home: &Home, now: u64) -> Vec<Part> {
    let whole = (execution.new.home == *home).then_some(Part::Whole);
    let children = if execution.is_local() { Vec::new() } else { execution.pairs_in(home) };
    let there = |index: &usize| execution.pair(*index).is_some_and(|pair| pair.has_child(now));
    whole.into_iter().chain(children.into_iter().filter(there).map(Part::Child)).collect()
}

fn place(token: &str) -> Option<(u64, usize)> {
    let (number, within) = token.split_once('-')?;
    Some((number.parse().ok()?, within.parse().ok()?))
}

fn takes_execution(filter: &Filter<'_>, execution: &Execution, shown: &Value) -> bool {
    let is = |name: &str| shown[name].as_str().is_some_and(|text| filter.any(text));
    match filter.key {
        "ExecutionStatus" => is("AutomationExecutionStatus"),
        "ExecutionId" => is("AutomationExecutionId"),
        "ParentExecutionId" => is("ParentAutomationExecutionId"),
        "AutomationType" => is("AutomationType"),
        "CurrentAction" => is("CurrentAction"),
        "DocumentNamePrefix" => filter.values.iter().any(|prefix| execution.document().starts_with(prefix)),
        "StartTimeBefore" | "StartTimeAfter" => filter.takes_start(shown),
        "TagKey" => {
            let tags = crate::xml::items(&execution.new.request["Tags"]);
            shown.get("ParentAutomationExecutionId").is_none()
                && tags.iter().filter_map(|tag| tag["Key"].as_str()).any(|key| filter.any(key))
        }
        // Change requests, OpsItems and resource groups are not there.
        _ => false,
    }
}

/// The steps of an execution, in their order or the other way round.
///
/// # Errors
/// `AutomationExecutionNotFoundException`, `InvalidFilterValue` and `InvalidNextToken`.
pub(super) fn steps(state: &State, home: &Home, body: &Value) -> Result<Value, AwsError> {
    let (execution, part, now) = state.find(home, body)?;
    let filters = read(body)?;
    let start = token(body, |token| token.parse::<usize>().ok())?.unwrap_or(0);
    let limit = limit(body);
    let own = view::run_of(execution, part).map(|pair| view::run_steps(execution, &pair, now));
    let total = own.as_ref().map_or(execution.len(), Vec::len);
    let reverse = body["ReverseOrder"] == true;
    let status = filters.iter().find(|filter| filter.key == "StepExecutionStatus");
    let mut shown = Vec::new();
    for place in positions(&filters, execution, own.is_some(), total, reverse).skip_while(|place| *place < start) {
        let index = if reverse { total - 1 - place } else { place };
        let step = match &own {
            Some(steps) => steps.get(index).cloned(),
            None if status.is_some_and(|filter| !filter.any(execution.pair_status(index, now))) => None,
            None => view::step(execution, index, now),
        };
        let Some(step) = step.filter(|step| filters.iter().all(|filter| takes_step(filter, step))) else { continue };
        if shown.len() == limit {
            return Ok(json!({"StepExecutions": shown, "NextToken": place.to_string()}));
        }
        shown.push(step);
    }
    Ok(json!({"StepExecutions": shown}))
}

/// The places in the listing to look at: all, or those that the filter on the id leaves.
fn positions(
    filters: &[Filter<'_>],
    execution: &Execution,
    own: bool,
    total: usize,
    reverse: bool,
) -> Box<dyn Iterator<Item = usize>> {
    let Some(filter) = filters.iter().find(|filter| filter.key == "StepExecutionId" && !own) else {
        return Box::new(0..total);
    };
    let index = |text: &&str| match execution.id().part(Id::parse(text)?) {
        Part::Step(index) if index < total => Some(if reverse { total - 1 - index } else { index }),
        _ => None,
    };
    let mut places: Vec<usize> = filter.values.iter().filter_map(index).collect();
    places.sort_unstable();
    places.dedup();
    Box::new(places.into_iter())
}

fn takes_step(filter: &Filter<'_>, shown: &Value) -> bool {
    let is = |name: &str| shown[name].as_str().is_some_and(|text| filter.any(text));
    match filter.key {
        "StepExecutionStatus" => is("StepStatus"),
        "StepExecutionId" | "StepName" | "Action" => is(filter.key),
        "StartTimeBefore" | "StartTimeAfter" => filter.takes_start(shown),
        // Loops are not there.
        _ => false,
    }
}
