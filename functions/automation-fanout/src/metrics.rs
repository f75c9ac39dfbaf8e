//! The metrics of an invocation. Pure: what happened comes in, a list goes out.

use lambda_kit::{CallCounts, Metric, Metrics};

use crate::answer::{Answer, StartAnswer};
use crate::error::FanoutError;

/// The metrics of an invocation: of the calls of AWS each time, of the starts where the action was `Start` or
/// `Resume` and the request was not refused.
pub fn metrics(result: &Result<Answer, FanoutError>, calls: CallCounts) -> Metrics {
    let answer = match result {
        Ok(Answer::Start(answer)) if answer.action != "Preview" => Some(answer),
        Err(FanoutError::NothingStarted(answer)) => Some(&**answer),
        _ => None,
    };
    let mut metrics = answer.map(starts).unwrap_or_default();
    metrics.extend(calls.metrics());
    Metrics { metrics, breakdowns: Vec::new() }
}

/// The locations of a start that takes them from a file are not known here, and not counted.
fn starts(answer: &StartAnswer) -> Vec<Metric> {
    let locations = answer.executions.iter().filter_map(|execution| execution.target_locations).sum();
    vec![
        Metric::count("ExecutionsStarted", answer.executions.len()),
        Metric::count("StartsFailed", answer.failed.len()),
        Metric::count("TargetLocations", locations),
    ]
}
