//! One execution: over target locations, with a child for each account-Region pair, or local.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::Unbegun;
use super::ids::{Id, Part};
use super::limit::Limits;
use super::outcome::{Facts, Outcome};
use super::timeline::{End, Run, Section, Stop, Timeline, Work, section};

/// An account and a Region.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Home {
    pub(super) account: String,
    pub(super) region: String,
}

/// A target location with its organizational units resolved.
#[derive(Debug, Clone)]
pub(super) struct Location {
    pub(super) accounts: Vec<String>,
    pub(super) regions: Vec<String>,
    /// The name of the execution role.
    pub(super) role: String,
    /// As it was asked for. Shape: `TargetLocation`.
    pub(super) asked: Value,
}

impl Location {
    pub(super) fn pairs(&self) -> usize {
        self.accounts.len() * self.regions.len()
    }
}

/// What a pair is going to do.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) outcome: Outcome,
    /// Its resources, where they were looked up.
    pub(super) found: Option<Vec<String>>,
    pub(super) takes: u64,
}

/// One account-Region pair of an execution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) index: usize,
    pub(super) account: &'a str,
    pub(super) region: &'a str,
    pub(super) location: &'a Location,
    pub(super) outcome: Outcome,
    /// Its resources, where they are not made up.
    pub(super) found: Option<&'a [String]>,
    pub(super) run: Run,
}

/// What a start has come to.
#[derive(Debug)]
pub(super) struct NewExecution {
    pub(super) id: Id,
    pub(super) home: Home,
    /// Shape: `StartAutomationExecutionRequest`.
    pub(super) request: Value,
    pub(super) version: String,
    pub(super) executed_by: String,
    /// Without target locations this is the caller's own account and Region.
    pub(super) locations: Vec<Location>,
    /// In the order of the locations, their accounts and their Regions.
    pub(super) plan: Vec<Planned>,
    /// Why it fails before anything begins.
    pub(super) problem: Option<String>,
    pub(super) unbegun: Unbegun,
    pub(super) started: SystemTime,
    pub(super) started_at: Duration,
}

/// An execution that was started.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) new: NewExecution,
    stop: Option<Stop>,
    stops: BTreeMap<usize, Stop>,
    timeline: Timeline,
}

impl Execution {
    pub(super) fn new(new: NewExecution) -> Self {
        let mut execution = Self { new, stop: None, stops: BTreeMap::new(), timeline: Timeline::default() };
        execution.compute();
        execution
    }

    pub(super) fn id(&self) -> Id {
        self.new.id
    }

    /// Whether it has no target locations: its one pair is then itself.
    pub(super) fn is_local(&self) -> bool {
        super::request::locations(&self.new.request).is_empty()
    }

    pub(super) fn document(&self) -> &str {
        self.new.request["DocumentName"].as_str().unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.timeline.len()
    }

    pub(super) fn pair(&self, index: usize) -> Option<Pair<'_>> {
        let run = *self.timeline.run(index)?;
        let Planned { outcome, found, .. } = self.new.plan.get(index)?;
        let (outcome, found) = (*outcome, found.as_deref());
        let mut within = index;
        for location in &self.new.locations {
            if within < location.pairs() {
                let account = location.accounts.get(within / location.regions.len())?;
                let region = location.regions.get(within % location.regions.len())?;
                return Some(Pair { index, account, region, location, outcome, found, run });
            }
            within -= location.pairs();
        }
        None
    }

    /// The status of a pair's step, without the rest of the pair.
    pub(super) fn pair_status(&self, index: usize, now: u64) -> &'static str {
        self.timeline.run(index).map_or("Pending", |run| run.status(now))
    }

    /// Whether a pair has a step by now.
    pub(super) fn has_step(&self, index: usize, now: u64) -> bool {
        self.new.unbegun != Unbegun::Absent || self.timeline.run(index).is_some_and(|run| run.has_begun(now))
    }

    /// The pairs in an account and Region.
    pub(super) fn pairs_in(&self, home: &Home) -> Vec<usize> {
        let mut first = 0;
        let mut found = Vec::new();
        for location in &self.new.locations {
            let account = location.accounts.iter().position(|account| *account == home.account);
            let region = location.regions.iter().position(|region| *region == home.region);
            if let (Some(account), Some(region)) = (account, region) {
                found.push(first + account * location.regions.len() + region);
            }
            first += location.pairs();
        }
        found
    }

    /// What of this execution an id of its family names in an account and Region, if it is there by now.
    pub(super) fn find(&self, id: Id, home: &Home, now: u64) -> Option<Part> {
        match self.new.id.part(id) {
            Part::Whole => (self.new.home == *home).then_some(Part::Whole),
            Part::Child(index) if !self.is_local() => {
                let pair = self.pair(index)?;
                let is_there = pair.account == home.account && pair.region == home.region;
                (is_there && pair.has_child(now)).then_some(Part::Child(index))
            }
            _ => None,
        }
    }

    /// Milliseconds since the start.
    pub(super) fn elapsed(&self, now: Duration) -> u64 {
        milliseconds(now.saturating_sub(self.new.started_at))
    }

    /// The time of day, in seconds since 1970.
    pub(super) fn time(&self, at: u64) -> f64 {
        crate::clock::epoch_seconds(self.new.started + Duration::from_millis(at))
    }

    pub(super) fn ends(&self) -> u64 {
        self.timeline.ends()
    }

    pub(super) fn has_ended(&self, now: u64) -> bool {
        self.new.problem.is_some() || now >= self.ends()
    }

    pub(super) fn ended(&self, end: End, now: u64) -> usize {
        self.timeline.ended(end, now)
    }

    /// As `AutomationExecutionStatus`. More failures than a location allows make the whole fail; fewer do not.
    pub(super) fn status(&self, now: u64) -> &'static str {
        if self.new.problem.is_some() {
            return "Failed";
        }
        if !self.has_ended(now) {
            let cancelling = self.stop.is_some_and(|stop| stop.cancel_takes.is_some() && now >= stop.at);
            return if cancelling { "Cancelling" } else { "InProgress" };
        }
        if self.stop.is_some() && self.timeline.cancelled() {
            return "Cancelled";
        }
        if self.timeline.failed() { "Failed" } else { "Success" }
    }

    /// Stops the whole, or the child of one pair; whether that was still possible.
    pub(super) fn stop(&mut self, part: Part, stop: Stop) -> bool {
        match part {
            Part::Whole if self.has_ended(stop.at) => return false,
            // The first request counts.
            Part::Whole => {
                self.stop.get_or_insert(stop);
            }
            Part::Child(index) => {
                if self.timeline.run(index).is_none_or(|run| run.has_ended(stop.at)) {
                    return false;
                }
                self.stops.entry(index).or_insert(stop);
            }
            Part::Step(_) => return false,
        }
        self.compute();
        true
    }

    /// Approves or rejects a run that waits for it; whether one did.
    pub(super) fn answer(&mut self, part: Part, is_approved: bool, now: u64, takes: u64) -> bool {
        let index = match part {
            Part::Whole if self.is_local() => 0,
            Part::Child(index) => index,
            _ => return false,
        };
        let Some(run) = self.timeline.run(index).copied().filter(|run| run.has_begun(now) && !run.has_ended(now))
        else {
            return false;
        };
        let Some(planned) = self.new.plan.get_mut(index).filter(|planned| planned.outcome == Outcome::Approval) else {
            return false;
        };
        planned.takes = now.saturating_sub(run.begins.unwrap_or(now)) + takes;
        planned.outcome = if is_approved {
            Outcome::Success { resources: 1 }
        } else {
            Outcome::TargetFailure { resources: 1, failed: 1 }
        };
        self.compute();
        true
    }

    fn compute(&mut self) {
        let mut first = 0;
        let mut sections: Vec<Section> = Vec::with_capacity(self.new.locations.len());
        for location in &self.new.locations {
            let end = first + location.pairs();
            let planned = self.new.plan.get(first..end).unwrap_or_default();
            let work: Vec<Work> =
                planned.iter().map(|pair| Work { takes: pair.takes, end: pair.outcome.end() }).collect();
            let limits = Limits::read(&location.asked, work.len());
            sections.push(section(&work, limits, self.stop, &self.stops, first));
            first = end;
        }
        self.timeline = Timeline::new(sections, self.new.unbegun != Unbegun::Cancelled);
    }
}

impl Pair<'_> {
    /// The status of its run, which may wait for somebody.
    pub(super) fn status(&self, now: u64) -> &'static str {
        match self.run.status(now) {
            "InProgress" if self.outcome == Outcome::Approval => "Waiting",
            status => status,
        }
    }

    /// Whether its child exists by now.
    pub(super) fn has_child(&self, now: u64) -> bool {
        self.outcome.has_child() && self.run.has_begun(now)
    }

    /// What its messages name.
    pub(super) fn facts<'a>(&'a self, document: &'a str, run: &'a str) -> Facts<'a> {
        Facts { account: self.account, region: self.region, role: &self.location.role, document, run }
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
