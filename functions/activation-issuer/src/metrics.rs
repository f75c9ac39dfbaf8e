//! The metrics of an invocation. Pure: what happened comes in, a list goes out.

use lambda_kit::{Metric, Metrics};

use crate::answer::Answer;
use crate::error::IssueError;

/// The metrics of an invocation: all of them each time, at zero if there was nothing. An account whose nodes could not be
/// counted has neither `HybridNodes` nor `NodeLimitPercent`.
pub fn metrics(result: &Result<Answer, IssueError>, node_limit: u32) -> Metrics {
    let answer = match result {
        Ok(answer) => Some(answer),
        Err(IssueError::PartialIssue(answer)) => Some(&**answer),
        Err(IssueError::InvalidEvent(_) | IssueError::UnknownAgency { .. } | IssueError::NothingRead(_)) => None,
    };
    let counts = answer.map(|answer| answer.counts).unwrap_or_default();
    let mut metrics = vec![
        Metric::count("ActivationsLive", counts.live),
        Metric::count("ActivationsCreated", counts.created),
        Metric::count("ActivationsDeleted", counts.deleted),
        Metric::count("AgenciesFailed", counts.failed),
    ];
    if let Some(nodes) = answer.and_then(|answer| answer.nodes) {
        let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        metrics.push(Metric::count("HybridNodes", count(u64::from(nodes))));
        metrics.push(Metric::count("NodeLimitPercent", count(u64::from(nodes) * 100 / u64::from(node_limit.max(1)))));
    }
    Metrics { metrics, breakdown: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Counts;

    fn values(result: &Result<Answer, IssueError>) -> Vec<(&'static str, u64)> {
        metrics(result, 1000).metrics.into_iter().map(|metric| (metric.name, metric.value)).collect()
    }

    #[test]
    fn a_partial_run_has_the_same_metrics_as_a_whole_one() {
        let counts = Counts { agencies: 6, live: 5, created: 2, deleted: 3, failed: 1, deferred: 0 };
        let answer = Answer { dry_run: false, counts, nodes: Some(905), agencies: Vec::new() };
        let without_nodes =
            [("ActivationsLive", 5), ("ActivationsCreated", 2), ("ActivationsDeleted", 3), ("AgenciesFailed", 1)];
        let expected = [&without_nodes[..], &[("HybridNodes", 905), ("NodeLimitPercent", 90)]].concat();
        assert_eq!(values(&Ok(answer.clone())), expected);
        assert_eq!(values(&Err(IssueError::PartialIssue(Box::new(answer)))), expected);
        let refused = IssueError::UnknownAgency { agency: "222222222222".parse().unwrap(), function: "f".to_owned() };
        assert_eq!(values(&Err(refused)), without_nodes.map(|(name, _)| (name, 0)));
    }
}
