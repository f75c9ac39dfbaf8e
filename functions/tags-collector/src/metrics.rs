//! The metrics of an invocation. Pure: what happened comes in, a list goes out.

use std::time::Duration;

use lambda_kit::{Metric, Metrics};

use crate::answer::{CoverageCounts, RegionAnswer, SweepOutcome};
use crate::event::Event;

/// What an invocation was asked for, as far as its metrics depend on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// A sweep over everything that may write: no single instances, no chosen Regions, no dry run.
    pub is_full_sweep: bool,
    /// Tag changes in it.
    pub change_count: usize,
}

impl From<&Event> for Asked {
    fn from(event: &Event) -> Self {
        let change_count = match event {
            Event::Sweep(_) | Event::Ended(_) => 0,
            Event::TagChange(_) => 1,
            Event::Queue(queue) => queue.change_count(),
        };
        Self { is_full_sweep: event.is_full_sweep(), change_count }
    }
}

/// The metrics of an invocation: all of them each time, at zero if there was nothing, and if nothing was read at all.
///
/// `SweepDuration` is left out unless the invocation was a sweep over everything, and so are `InstancesManaged` and
/// `InstancesUnmanaged`, which are also left out if a Region was not read to its end: they would be too low.
pub fn metrics(asked: Asked, outcome: Option<&SweepOutcome>, duration: Duration) -> Metrics {
    let regions = outcome.map(|outcome| outcome.answer.regions.as_slice()).unwrap_or_default();
    let sum = |field: fn(&RegionAnswer) -> usize| regions.iter().map(field).sum::<usize>();
    let counts = outcome.and_then(|outcome| outcome.answer.counts).unwrap_or_default();
    let is_complete = outcome.is_some_and(|outcome| outcome.answer.is_complete());
    let mut metrics = vec![
        Metric::count("Sweeps", usize::from(asked.is_full_sweep && is_complete)),
        Metric::count("InstancesSeen", sum(|region| region.instances)),
        Metric::count("ReportsSent", sum(|region| region.batches)),
        Metric::count("ReportsFailed", sum(|region| region.failed_batches)),
        Metric::count("RegionsFailed", outcome.map_or(0, |outcome| outcome.unread_region_count)),
        Metric::count("NodesRejected", counts.rejected),
        Metric::count("NodesFailed", counts.failed),
        Metric::count("NodesAdopted", counts.adopted),
        Metric::count("NodesSuperseded", counts.superseded),
        Metric::count("NodesUnlinked", counts.unlinked),
        Metric::count("TagsDropped", outcome.map_or(0, |outcome| outcome.tags_dropped)),
        Metric::count("ChangesReceived", asked.change_count),
    ];
    if asked.is_full_sweep {
        metrics.push(Metric::duration("SweepDuration", duration));
        let coverage: Option<Vec<CoverageCounts>> = regions.iter().map(|region| region.coverage).collect();
        if let (Some(coverage), true) = (coverage, outcome.is_some()) {
            let managed = coverage.iter().map(|region| region.managed).sum();
            let unmanaged = coverage.iter().map(|region| region.unmanaged).sum();
            metrics.push(Metric::count("InstancesManaged", managed));
            metrics.push(Metric::count("InstancesUnmanaged", unmanaged));
        }
    }
    Metrics { metrics, breakdowns: Vec::new() }
}
