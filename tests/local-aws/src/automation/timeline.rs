//! When each account-Region pair begins and ends: a pure function of the plan, the limits and the stops.
//!
//! Times are milliseconds after the start of the execution. The target locations run side by side; in
//! each, pairs begin in their order as soon as one of the `TargetLocationMaxConcurrency` places is free.
//! Once more than `TargetLocationMaxErrors` pairs have failed, no further one begins: what runs goes on
//! to its end. The order and the independence of locations are not documented by AWS.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::limit::Limits;

/// How a pair ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Success,
    Failed,
    TimedOut,
    Cancelled,
}

impl End {
    pub(super) const ALL: [Self; 4] = [Self::Success, Self::Failed, Self::TimedOut, Self::Cancelled];

    /// As `AutomationExecutionStatus`.
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Failed => "Failed",
            Self::TimedOut => "TimedOut",
            Self::Cancelled => "Cancelled",
        }
    }
}

/// What a pair would do if nothing stopped it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub(super) takes: u64,
    pub(super) end: End,
}

/// `StopAutomationExecution`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) at: u64,
    /// How long a running pair takes to be cancelled; `None` (`Complete`) lets it finish.
    pub(super) cancel_takes: Option<u64>,
}

/// One pair's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// `None` for a pair that never began; it then counts as cancelled at `ends`.
    pub(super) begins: Option<u64>,
    pub(super) ends: u64,
    pub(super) end: End,
    /// When it was asked to stop.
    pub(super) stopped: Option<u64>,
}

impl Run {
    /// As `AutomationExecutionStatus`, at a time.
    pub(super) fn status(&self, now: u64) -> &'static str {
        match self.begins {
            _ if now >= self.ends => self.end.status(),
            Some(begins) if now >= begins => {
                if self.stopped.is_some_and(|stopped| now >= stopped) {
                    "Cancelling"
                } else {
                    "InProgress"
                }
            }
            _ => "Pending",
        }
    }

    pub(super) fn has_begun(&self, now: u64) -> bool {
        self.begins.is_some_and(|begins| now >= begins)
    }

    pub(super) fn has_ended(&self, now: u64) -> bool {
        now >= self.ends
    }
}

/// The runs of one target location.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) runs: Vec<Run>,
    /// Whether more pairs failed than the location allows.
    pub(super) failed: bool,
}

/// `stops` are those of single children, by pair.
pub(super) fn section(
    work: &[Work],
    limits: Limits,
    stop: Option<Stop>,
    stops: &BTreeMap<usize, Stop>,
    first: usize,
) -> Section {
    let mut places: BinaryHeap<Reverse<u64>> = (0..limits.concurrency.min(work.len())).map(|_| Reverse(0)).collect();
    let mut failing: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    let mut failures = 0;
    let mut halted = None;
    let mut runs = Vec::with_capacity(work.len());
    for (index, work) in work.iter().enumerate() {
        let begins = places.peek().map_or(0, |Reverse(free)| *free);
        while failures <= limits.errors
            && let Some(Reverse(at)) = failing.peek().copied().filter(|Reverse(at)| *at <= begins)
        {
            failing.pop();
            failures += 1;
            if failures > limits.errors {
                halted = Some(at);
            }
        }
        let stopped = stop.map(|stop| stop.at).filter(|at| *at < begins);
        if let Some(ends) = halted.into_iter().chain(stopped).min() {
            runs.push(Run { begins: None, ends, end: End::Cancelled, stopped: None });
            continue;
        }
        places.pop();
        let own = stops.get(&(first + index)).copied();
        let run = run(begins, *work, [stop, own]);
        places.push(Reverse(run.ends));
        if run.end != End::Success {
            failing.push(Reverse(run.ends));
        }
        runs.push(run);
    }
    let failed = failures + failing.len() > limits.errors;
    Section { runs, failed }
}

fn run(begins: u64, work: Work, stops: [Option<Stop>; 2]) -> Run {
    let ends = begins + work.takes;
    let cancelled = stops.into_iter().flatten().filter_map(|stop| Some((stop.at + stop.cancel_takes?, stop.at)));
    match cancelled.min() {
        Some((gone, at)) if gone < ends => {
            Run { begins: Some(begins), ends: gone.max(begins), end: End::Cancelled, stopped: Some(at) }
        }
        _ => Run { begins: Some(begins), ends, end: work.end, stopped: None },
    }
}

/// All runs of an execution, counted so that no question takes a look at each of them.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    runs: Vec<Run>,
    /// By `End::ALL`, ascending.
    ended: [Vec<u64>; 4],
    ends: u64,
    failed: bool,
    cancelled: bool,
}

impl Timeline {
    /// With `leave_pending` a pair that never begins stays `Pending` for ever.
    pub(super) fn new(sections: impl IntoIterator<Item = Section>, leave_pending: bool) -> Self {
        let mut timeline = Self::default();
        for section in sections {
            timeline.failed |= section.failed;
            timeline.runs.extend(section.runs);
        }
        for run in &mut timeline.runs {
            timeline.ends = timeline.ends.max(run.ends);
            timeline.cancelled |= run.end == End::Cancelled;
            if leave_pending && run.begins.is_none() {
                run.ends = u64::MAX;
                continue;
            }
            for (list, end) in timeline.ended.iter_mut().zip(End::ALL) {
                if run.end == end {
                    list.push(run.ends);
                }
            }
        }
        timeline.ended.iter_mut().for_each(|list| list.sort_unstable());
        timeline
    }

    pub(super) fn run(&self, pair: usize) -> Option<&Run> {
        self.runs.get(pair)
    }

    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// When the last pair has ended.
    pub(super) fn ends(&self) -> u64 {
        self.ends
    }

    /// Whether some location had more failures than it allows.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    /// Whether some pair is cancelled in the end.
    pub(super) fn cancelled(&self) -> bool {
        self.cancelled
    }

    /// How many pairs have ended in one way.
    pub(super) fn ended(&self, end: End, now: u64) -> usize {
        let place = End::ALL.iter().position(|other| *other == end).unwrap_or_default();
        self.ended[place].partition_point(|at| *at <= now)
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
