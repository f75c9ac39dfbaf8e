//! The metrics of an invocation. Pure: what happened comes in, a list goes out.

use lambda_kit::{Metric, Metrics};

use crate::answer::Answer;
use crate::error::ReportError;

/// The metrics of an invocation: all of them each time, none if there is no report.
pub fn metrics(result: &Result<Answer, ReportError>) -> Metrics {
    let answer = match result {
        Ok(answer) => Some(answer),
        Err(ReportError::PartialReport(answer)) => Some(&**answer),
        Err(_) => None,
    };
    let mut metrics = Vec::new();
    if let Some(answer) = answer {
        metrics.push(Metric::count("InstancesUnmanaged", answer.unmanaged));
        metrics.push(Metric::count("FindingsBroken", answer.broken));
        metrics.push(Metric::count("FindingsToWatch", answer.to_watch));
    }
    Metrics { metrics, breakdowns: Vec::new() }
}
