//! The metrics of an invocation. Pure: what happened comes in, a list goes out.

use lambda_kit::{Metric, Metrics};

use crate::answer::Answer;
use crate::error::IssueError;

/// The metrics of an invocation: all of them each time, at zero where there was nothing.
pub fn metrics(result: &Result<Answer, IssueError>) -> Metrics {
    let answer = match result {
        Ok(answer) => Some(answer),
        Err(IssueError::PartialIssue(answer)) => Some(&**answer),
        Err(IssueError::InvalidEvent(_) | IssueError::UnknownAgency { .. } | IssueError::NothingRead(_)) => None,
    };
    let counts = answer.map(|answer| answer.counts).unwrap_or_default();
    let metrics = vec![
        Metric::count("ActivationsLive", counts.live),
        Metric::count("ActivationsCreated", counts.created),
        Metric::count("ActivationsDeleted", counts.deleted),
        Metric::count("AgenciesFailed", counts.failed),
    ];
    Metrics { metrics, breakdown: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Counts;

    fn values(result: &Result<Answer, IssueError>) -> Vec<(&'static str, u64)> {
        metrics(result).metrics.into_iter().map(|metric| (metric.name, metric.value)).collect()
    }

    #[test]
    fn a_partial_run_has_the_same_metrics_as_a_whole_one() {
        let counts = Counts { agencies: 6, live: 5, created: 2, deleted: 3, failed: 1, deferred: 0 };
        let answer = Answer { dry_run: false, counts, agencies: Vec::new() };
        let expected =
            [("ActivationsLive", 5), ("ActivationsCreated", 2), ("ActivationsDeleted", 3), ("AgenciesFailed", 1)];
        assert_eq!(values(&Ok(answer.clone())), expected);
        assert_eq!(values(&Err(IssueError::PartialIssue(Box::new(answer)))), expected);
        let refused = IssueError::UnknownAgency { agency: "222222222222".parse().unwrap(), function: "f".to_owned() };
        assert_eq!(values(&Err(refused)), expected.map(|(name, _)| (name, 0)));
    }
}
