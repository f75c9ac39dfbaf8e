//! The metrics of an invocation. Pure: what happened comes in, a list goes out.

use std::time::Duration;

use lambda_kit::{Metric, Metrics};

use crate::answer::RegionAnswer;
use crate::event::Event;
use crate::sweep::Swept;

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

/// The metrics of an invocation: all of them each time, at zero where there was nothing, and where nothing was read
/// at all.
///
/// `SweepDuration` alone is left out where it was no sweep over everything.
pub fn metrics(asked: Asked, swept: Option<&Swept>, duration: Duration) -> Metrics {
    let regions = swept.map(|swept| swept.answer.regions.as_slice()).unwrap_or_default();
    let sum = |field: fn(&RegionAnswer) -> usize| regions.iter().map(field).sum::<usize>();
    let counts = swept.and_then(|swept| swept.answer.counts).unwrap_or_default();
    let is_complete = swept.is_some_and(|swept| swept.answer.is_complete());
    let mut metrics = vec![
        Metric::count("Sweeps", usize::from(asked.is_full_sweep && is_complete)),
        Metric::count("InstancesSeen", sum(|region| region.instances)),
        Metric::count("ReportsSent", sum(|region| region.batches)),
        Metric::count("ReportsFailed", sum(|region| region.failed_batches)),
        Metric::count("RegionsFailed", swept.map_or(0, |swept| swept.unread_region_count)),
        Metric::count("NodesRejected", counts.rejected),
        Metric::count("NodesFailed", counts.failed),
        Metric::count("TagsDropped", swept.map_or(0, |swept| swept.tags_dropped)),
        Metric::count("ChangesReceived", asked.change_count),
    ];
    if asked.is_full_sweep {
        metrics.push(Metric::duration("SweepDuration", duration));
    }
    Metrics { metrics, breakdown: None }
}
