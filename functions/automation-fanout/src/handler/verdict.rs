//! What the executions of a wave say about it.

use std::collections::BTreeSet;

use super::campaign::SUCH_AS_MAX;
use super::read::Reading;
use crate::answer::{FailureGroup, WaveAnswer, WaveState, failure_groups};
use crate::plan::campaign::{Campaign, Tally};
use crate::plan::execution::Execution;
use crate::plan::matrix;

/// How often a wave is looked at.
pub(super) const LOOK_SECONDS: u64 = 60;
/// Who has read so many steps, and not all, will not read all the next time either.
const STEPS_MAX: usize = 100_000;

/// A wave of which nothing is known yet.
pub(super) fn waiting(campaign: &Campaign, wave: &str, ids: Vec<String>) -> WaveAnswer {
    WaveAnswer {
        action: "Wave",
        campaign: campaign.name.clone(),
        wave: wave.to_owned(),
        state: WaveState::Waiting,
        reason: String::new(),
        retry_after_seconds: LOOK_SECONDS,
        automation_execution_ids: ids,
        locations: 0,
        succeeded: 0,
        failed_percent: 0.0,
        failures: Vec::new(),
    }
}

/// Where a wave stands by its executions. One that was `stopped` for good ends the campaign.
pub(super) fn judged(campaign: &Campaign, wave: &str, readings: &[Reading], stopped: Option<&str>) -> WaveAnswer {
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
    let tally = tally(&executions);
    answer.locations = tally.locations;
    answer.succeeded = tally.succeeded;
    answer.failed_percent = tally.failed_percent();
    if executions.iter().any(|(_, all_steps_read)| !all_steps_read) {
        let step_count: usize = executions.iter().map(|(execution, _)| execution.steps.len()).sum();
        if step_count > STEPS_MAX {
            answer.state = WaveState::Stopped;
            answer.reason = format!("it has more steps than one invocation can read; {step_count} were read");
            return answer;
        }
        answer.state = WaveState::Running;
        "it has ended, and its steps could not all be read yet".clone_into(&mut answer.reason);
        return answer;
    }
    answer.failures = brief(failure_groups(&executions));
    if let Some(id) = stopped.filter(|_| tally.succeeded < tally.locations) {
        answer.state = WaveState::Stopped;
        answer.reason = format!("its execution {id} was stopped");
        return answer;
    }
    let came_nowhere = tally.locations == 0 && executions.iter().any(|(execution, _)| execution.status.is_failure());
    let (state, verdict) = if tally.passes(&campaign.gate) && !came_nowhere {
        (WaveState::Passed, "within")
    } else {
        (WaveState::Stopped, "more than")
    };
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
            None => tally(std::slice::from_ref(one)),
        };
        all.locations += tally.locations;
        all.succeeded += tally.succeeded;
    }
    all
}

/// Each location once: it succeeded where any of the executions did it well.
fn tally(executions: &[(&Execution, bool)]) -> Tally {
    let mut all = BTreeSet::new();
    let mut well = BTreeSet::new();
    let mut unnamed = Tally::default();
    for (execution, all_steps_read) in executions {
        for cell in matrix(execution, *all_steps_read) {
            let is_well = cell.status.is_success();
            if let Some(pair) = cell.pair {
                if is_well {
                    well.insert(pair.clone());
                }
                all.insert(pair);
            } else {
                unnamed.locations += 1;
                unnamed.succeeded += usize::from(is_well);
            }
        }
    }
    Tally { locations: all.len() + unnamed.locations, succeeded: well.len() + unnamed.succeeded }
}
