//! What the executions of a wave say about it.

use std::collections::{BTreeMap, HashMap};

use super::campaign::SUCH_AS_MAX;
use super::read::Reading;
use crate::answer::{FailureGroup, WaveAnswer, WaveState, failure_groups};
use crate::plan::campaign::{Campaign, Tally};
use crate::plan::execution::Execution;
use crate::plan::request::{DEFAULT_EXECUTION_ROLE, Target, TargetLocation};
use crate::plan::{Cell, Origin, matrix};

/// Who has read so many steps, and not all, will not read all the next time either.
const STEPS_MAX: usize = 100_000;

/// How many steps were read, where that is as many as one invocation can read, and not all.
pub(super) fn too_many_steps(executions: &[(&Execution, bool)]) -> Option<usize> {
    let step_count: usize = executions.iter().map(|(execution, _)| execution.steps.len()).sum();
    let is_all_read = executions.iter().all(|(_, all_steps_read)| *all_steps_read);
    (!is_all_read && step_count > STEPS_MAX).then_some(step_count)
}

/// A wave of which nothing is known yet.
pub(super) fn waiting(campaign: &Campaign, wave: &str, ids: Vec<String>) -> WaveAnswer {
    WaveAnswer {
        action: "Wave",
        campaign: campaign.name.clone(),
        wave: wave.to_owned(),
        state: WaveState::Waiting,
        reason: String::new(),
        retry_after_seconds: 0,
        automation_execution_ids: ids,
        locations: 0,
        succeeded: 0,
        failed_percent: 0.0,
        failures: Vec::new(),
    }
}

/// Where a wave stands by its executions. One that was `stopped` and left something out ends the campaign. `resumed` has the execution that
/// each resumption among them goes on with.
pub(super) fn judged(
    campaign: &Campaign,
    wave: &str,
    readings: &[Reading],
    stopped: Option<&str>,
    resumed: &BTreeMap<String, String>,
) -> WaveAnswer {
    let mut answer = waiting(campaign, wave, readings.iter().map(|reading| reading.id.clone()).collect());
    let executions: Vec<(&Execution, bool)> =
        readings.iter().filter_map(|reading| Some((reading.execution.as_ref()?, reading.all_steps_read))).collect();
    let is_known = executions.len() == readings.len();
    if !is_known || !executions.iter().all(|(execution, _)| execution.status.is_terminal()) {
        let tally = so_far(&executions);
        (answer.locations, answer.succeeded) = (tally.locations, tally.succeeded);
        answer.state = WaveState::Running;
        answer.reason = format!("{} of {} locations succeeded so far", tally.succeeded, tally.locations);
        return answer;
    }
    let (tally, came_nowhere) = tally(&executions, resumed);
    answer.locations = tally.locations;
    answer.succeeded = tally.succeeded;
    answer.failed_percent = tally.failed_percent();
    if let Some(step_count) = too_many_steps(&executions) {
        answer.state = WaveState::Stopped;
        answer.reason = format!("it has more steps than one invocation can read; {step_count} were read");
        return answer;
    }
    if executions.iter().any(|(_, all_steps_read)| !all_steps_read) {
        answer.state = WaveState::Running;
        "it has ended, and its steps could not all be read yet".clone_into(&mut answer.reason);
        return answer;
    }
    answer.failures = brief(failure_groups(&executions));
    if let Some(id) = stopped {
        answer.state = WaveState::Stopped;
        answer.reason = format!("its execution {id} was stopped");
        return answer;
    }
    if campaign.gate.max_failed_percent < 100 && executions.iter().any(|(execution, _)| execution.may_hide_more()) {
        answer.state = WaveState::Stopped;
        answer.reason = format!(
            "{} of {} locations succeeded, and how many accounts of its units were never begun is not known",
            tally.succeeded, tally.locations
        );
        return answer;
    }
    let passes = tally.passes(&campaign.gate);
    if passes && came_nowhere {
        answer.state = WaveState::Stopped;
        "it failed before it reached any account, which no MaxFailedPercent allows".clone_into(&mut answer.reason);
        return answer;
    }
    let (state, verdict) = if passes { (WaveState::Passed, "within") } else { (WaveState::Stopped, "more than") };
    answer.state = state;
    answer.reason = format!(
        "{} of {} locations did not succeed, which is {verdict} MaxFailedPercent {}",
        tally.locations - tally.succeeded,
        tally.locations,
        campaign.gate.max_failed_percent
    );
    answer
}

/// What of these groups the state machine carries on, whose states may have 256 KB:
/// <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>.
pub(super) fn brief(mut groups: Vec<FailureGroup>) -> Vec<FailureGroup> {
    const GROUPS_MAX: usize = 20;
    groups.truncate(GROUPS_MAX);
    for group in &mut groups {
        group.keep_accounts(SUCH_AS_MAX);
    }
    groups
}

/// How far executions are that still run, by the service's own counts.
fn so_far(executions: &[(&Execution, bool)]) -> Tally {
    let number = |count: i32| usize::try_from(count).unwrap_or_default();
    let mut all = Tally::default();
    for one in executions {
        let tally = match one.0.progress {
            Some(progress) => Tally { locations: number(progress.total), succeeded: number(progress.success) },
            None => tally(std::slice::from_ref(one), &BTreeMap::new()).0,
        };
        all.locations += tally.locations;
        all.succeeded += tally.succeeded;
    }
    all
}

/// Each location once: it succeeded if it did at once, or when it was resumed. Two locations in one account and Region are
/// two, and so are two groups of values. Whether nothing is known but what no step names is told too: an execution that
/// failed before it knew which accounts there are counts as one location that failed.
fn tally(executions: &[(&Execution, bool)], resumed: &BTreeMap<String, String>) -> (Tally, bool) {
    let known: HashMap<&str, &Execution> =
        executions.iter().map(|(execution, _)| (execution.id.as_str(), *execution)).collect();
    let mut unnamed = Tally::default();
    let mut unlisted_count = 0;
    let mut locations: HashMap<Work, Counts> = HashMap::new();
    for (execution, all_steps_read) in executions {
        let cells = matrix(execution, *all_steps_read);
        let is_listed =
            cells.iter().any(|cell| cell.step.is_some()) || !(cells.is_empty() || execution.request.hides_accounts());
        if execution.status.is_failure() && !is_listed {
            let counted = cells.iter().filter(|cell| cell.is_unlisted()).count();
            unnamed.locations += usize::from(counted == 0);
            unlisted_count += counted.max(1);
        }
        let first = first_of(&execution.id, resumed, &known);
        let mut counts: HashMap<Work, Counts> = HashMap::new();
        for cell in &cells {
            let is_well = cell.status.is_success();
            let Some(work) = work(first, execution, cell) else {
                unnamed.locations += 1;
                unnamed.succeeded += usize::from(is_well);
                continue;
            };
            let counts = counts.entry(work).or_default();
            counts.all += 1;
            counts.well += usize::from(is_well);
        }
        let is_resumption = first != execution.id;
        for (work, Counts { all, well, .. }) in counts {
            let counts = locations.entry(work).or_default();
            if is_resumption {
                counts.was_put_right |= all == well;
            } else {
                counts.all += all;
                counts.well += well;
            }
        }
    }
    let total = |count: fn(&Counts) -> usize| locations.values().map(count).sum::<usize>();
    let tally = Tally {
        locations: total(|counts| counts.all.max(1)) + unnamed.locations,
        succeeded: total(|counts| if counts.was_put_right { counts.all.max(1) } else { counts.well })
            + unnamed.succeeded,
    };
    (tally, unlisted_count > 0 && tally.locations == unlisted_count)
}

/// What is done in one place for one start of the wave.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Work<'a> {
    /// The execution that it began with.
    first: &'a str,
    place: (String, String),
    role: &'a str,
    targets: &'a [Target],
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    all: usize,
    well: usize,
    was_put_right: bool,
}

/// The work of a cell that has a place. Where it is not known which location it is of, it is that of all that are not known.
fn work<'a>(first: &'a str, execution: &'a Execution, cell: &Cell<'a>) -> Option<Work<'a>> {
    let location = match cell.origin {
        Origin::Location(index) => execution.request.target_locations.get(index),
        Origin::Unknown => cell.step.and_then(|step| step.target_location.as_ref()),
        Origin::OneOf(_) => return Some(Work { first, place: cell.pair.clone()?, role: "", targets: &[] }),
    };
    let own = location.map(|location| location.targets.as_slice()).filter(|targets| !targets.is_empty());
    Some(Work {
        first,
        place: cell.pair.clone()?,
        role: location.map_or(DEFAULT_EXECUTION_ROLE, TargetLocation::execution_role),
        targets: own.unwrap_or(&execution.request.targets),
    })
}

/// The execution that an execution goes back to, among those that are known.
fn first_of<'a>(
    id: &'a str,
    resumed: &'a BTreeMap<String, String>,
    known: &HashMap<&'a str, &'a Execution>,
) -> &'a str {
    let mut first = id;
    // Tags that go in a circle are nobody's resumptions.
    for _ in 0..resumed.len() {
        match resumed.get(first).filter(|earlier| known.contains_key(earlier.as_str())) {
            Some(earlier) => first = earlier,
            None => break,
        }
    }
    first
}
