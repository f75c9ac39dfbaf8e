//! The news that an invocation leaves in the log. Messages of the service stay out of it: they may repeat parameters.

use crate::answer::{ExecutionStatus, StartAnswer, StatusAnswer, WaveAnswer};
use crate::plan::cause::Cause;

/// A line for each location in trouble, as far as a log should go.
pub(crate) fn failed_locations(execution: &ExecutionStatus) {
    const LINES_MAX: usize = 500;
    let failed = execution.locations.iter().chain(&execution.steps).filter(|location| location.cause.is_some());
    for location in failed.clone().take(LINES_MAX) {
        tracing::warn!(
            execution = execution.automation_execution_id,
            account = location.account,
            region = location.region,
            step = location.step,
            status = location.status.as_str(),
            cause = location.cause.as_ref().map(Cause::into_str),
            child = location.child_execution_id,
            "location failed"
        );
    }
    let more = failed.count().saturating_sub(LINES_MAX);
    if more > 0 {
        tracing::warn!(execution = execution.automation_execution_id, more, "more locations failed");
    }
}

/// What a look at executions came to.
pub(crate) fn status(answer: &StatusAnswer) {
    let counts = answer.executions.iter().map(|execution| execution.locations.len() + execution.locations_omitted);
    tracing::info!(
        terminal = answer.terminal,
        executions = answer.executions.len(),
        locations = counts.sum::<usize>(),
        "status read"
    );
}

/// What the starts of an invocation came to.
pub(crate) fn starts(answer: &StartAnswer) {
    tracing::info!(
        action = answer.action,
        complete = answer.complete,
        executions_started = answer.executions.len(),
        starts_failed = answer.failed.len(),
        target_locations = answer.executions.iter().filter_map(|started| started.target_locations).sum::<usize>(),
        "starts processed"
    );
}

/// Where a wave stands.
pub(crate) fn wave(answer: &WaveAnswer) {
    tracing::info!(
        campaign = answer.campaign,
        wave = answer.wave,
        state = ?answer.state,
        locations = answer.locations,
        succeeded = answer.succeeded,
        failed_percent = answer.failed_percent,
        "wave seen"
    );
}
