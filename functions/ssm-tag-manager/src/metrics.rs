//! The metrics of an invocation. Pure: what happened comes in, a list goes out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hub::{NodeAnswer, Outcome, Rejection, Timestamp};
use lambda_kit::{Breakdown, CallCounts, Metric, Metrics};

use crate::config::Mode;
use crate::handler::Handled;
use crate::respond::Responded;

const REPORTS: &str = "Reports";
const REPORTS_FAILED: &str = "ReportsFailed";

/// The metrics of an invocation that ended at `ended`: all of them each time, at zero where there was nothing.
///
/// `PropagationLag` alone is left out where no node was updated. In a dry run nothing is updated, set or removed.
///
/// `ReportsFailed` comes once more under the version of the function, so that a new one can be watched by itself.
pub fn metrics(responded: &Responded, calls: CallCounts, ended: SystemTime, version: Option<&str>) -> Metrics {
    let (handled, retired) = match responded {
        Responded::Report(handled) => (Some(handled), None),
        Responded::Retire(result) => (None, result.as_ref().ok()),
    };
    let answer = handled.and_then(Handled::answer);
    let retired_count = retired.filter(|answer| answer.mode == Mode::On).map_or(0, |answer| answer.counts.retired);
    let nodes = answer.map(|answer| answer.nodes.as_slice()).unwrap_or_default();
    let counts = answer.map(|answer| answer.counts).unwrap_or_default();
    let lease_use = handled.map(|handled| handled.lease_use.clone()).unwrap_or_default();
    let is_updated = |node: &&NodeAnswer| matches!(node.outcome, Outcome::Updated | Outcome::Adopted);
    let updated_count = nodes.iter().filter(is_updated).count();
    let rejected = |reason| nodes.iter().filter(|node| node.outcome == Outcome::Rejected { reason }).count();
    let written = |count| if answer.is_some_and(|answer| answer.dry_run) { 0 } else { count };
    let mut metrics = vec![
        Metric::count(REPORTS, usize::from(answer.is_some())),
        Metric::count(REPORTS_FAILED, usize::from(handled.is_some_and(has_failed))),
        Metric::count("NodesReceived", counts.received),
        Metric::count("NodesUpdated", updated_count),
        Metric::count("NodesUnchanged", counts.unchanged),
        Metric::count("NodesFailed", counts.failed),
        Metric::count("NodesDeferred", counts.deferred),
        Metric::count("RejectedInvalidId", rejected(Rejection::InvalidId)),
        Metric::count("RejectedUnknownNode", rejected(Rejection::UnknownNode)),
        Metric::count("RejectedNotOwned", rejected(Rejection::NotOwned)),
        Metric::count("RejectedConflict", rejected(Rejection::Conflict)),
        Metric::count("RejectedStale", rejected(Rejection::Stale)),
        Metric::count("TagsSet", written(counts.tags_set)),
        Metric::count("TagsRemoved", written(counts.tags_removed)),
        Metric::count("TagsHeld", counts.tags_held),
        Metric::count("TagsDropped", nodes.iter().flat_map(NodeAnswer::notable_drops).count()),
        Metric::count("NodesAdopted", counts.adopted),
        Metric::count("NodesSuperseded", counts.superseded),
        Metric::count("NodesUnlinked", counts.unlinked),
        Metric::count("NodesRetired", retired_count),
        Metric::duration("LeaseWait", lease_use.wait),
        Metric::count("Slices", lease_use.slice_count),
        Metric::count("NodesDeferredForLease", lease_use.deferred_count),
    ];
    metrics.extend(calls.metrics());
    if let Some(observed_at) = handled.and_then(|handled| handled.observed_at).filter(|_| updated_count > 0) {
        metrics.push(Metric::duration("PropagationLag", since(observed_at, ended)));
    }
    // The alarm of silence waits for a report that was meant: a plan does not end the silence.
    let agency = answer.filter(|answer| !answer.dry_run).and_then(|answer| answer.agency.as_ref());
    let agency = agency.map(|agency| Breakdown { dimension: "Agency", value: agency.to_string(), name: REPORTS });
    let version = version.filter(|_| handled.is_some()).map(|version| Breakdown {
        dimension: "Version",
        value: version.to_owned(),
        name: REPORTS_FAILED,
    });
    Metrics { metrics, breakdowns: agency.into_iter().chain(version).collect() }
}

/// True for a report that ended in an error, unless that only asks Lambda to bring it again, or with a node that failed.
fn has_failed(handled: &Handled) -> bool {
    handled.answer().is_none_or(|answer| answer.counts.failed > 0)
}

/// No time at all where the clocks disagree.
fn since(observed_at: Timestamp, ended: SystemTime) -> Duration {
    let observed_at = UNIX_EPOCH + Duration::from_secs(u64::try_from(observed_at.unix_seconds()).unwrap_or_default());
    ended.duration_since(observed_at).unwrap_or_default()
}
