//! The metrics of an invocation. Pure: what happened comes in, a list goes out.

use lambda_kit::{Metric, Metrics};

use crate::answer::Answer;
use crate::error::IssueError;
use crate::plan::census::Tier;

/// The metrics of an invocation: all of them each time, at zero if there was nothing. An account whose nodes could not be
/// counted has none about nodes, and one whose nodes do not become more has no `DaysToNodeLimit`.
pub fn metrics(result: &Result<Answer, IssueError>) -> Metrics {
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
    if let Some(census) = answer.and_then(|answer| answer.census.as_ref()) {
        let count = |name, value: u32| Metric::count(name, usize::try_from(value).unwrap_or(usize::MAX));
        let charged = if census.tier == Some(Tier::Advanced) { census.nodes } else { 0 };
        metrics.push(count("HybridNodes", census.nodes));
        metrics.push(count("AdvancedTierNodes", charged));
        metrics.push(count("NodeLimitPercent", census.percent));
        metrics.extend(census.days_to_limit.map(|days| count("DaysToNodeLimit", days)));
    }
    Metrics { metrics, breakdowns: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Counts;
    use crate::plan::census::NodeCounts;
    use crate::plan::census::census;

    fn values(result: &Result<Answer, IssueError>) -> Vec<(&'static str, u64)> {
        metrics(result).metrics.into_iter().map(|metric| (metric.name, metric.value)).collect()
    }

    #[test]
    fn a_partial_run_has_the_same_metrics_as_a_whole_one() {
        let counts = Counts { agencies: 6, live: 5, created: 2, deleted: 3, failed: 1, deferred: 0 };
        let nodes = NodeCounts { total: 905, new: 57, ..NodeCounts::default() };
        let census = Some(census(&nodes, 1000, Some(Tier::Standard)));
        let answer = Answer { dry_run: false, counts, nodes: Some(905), census, agencies: Vec::new() };
        let without_nodes =
            [("ActivationsLive", 5), ("ActivationsCreated", 2), ("ActivationsDeleted", 3), ("AgenciesFailed", 1)];
        let of_nodes =
            [("HybridNodes", 905), ("AdvancedTierNodes", 0), ("NodeLimitPercent", 90), ("DaysToNodeLimit", 50)];
        let expected = [&without_nodes[..], &of_nodes[..]].concat();
        assert_eq!(values(&Ok(answer.clone())), expected);
        assert_eq!(values(&Err(IssueError::PartialIssue(Box::new(answer)))), expected);
        let refused = IssueError::UnknownAgency { agency: "222222222222".parse().unwrap(), function: "f".to_owned() };
        assert_eq!(values(&Err(refused)), without_nodes.map(|(name, _)| (name, 0)));
    }
}
