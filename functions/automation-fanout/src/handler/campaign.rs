//! `Campaign`, and the step of a `Wave` that the state machine asks for.

use std::collections::BTreeSet;
use std::time::Duration;

use hub::AwsError;

use super::Run;
use super::read::{Origin, Reading};
use crate::answer::{CampaignAnswer, FailureGroup, WaveAnswer, WavePlan, WaveState, failure_groups};
use crate::error::FanoutError;
use crate::event::{Order, WaveOrder};
use crate::log;
use crate::plan::campaign::{Campaign, PlannedWave, Tally, waves};
use crate::plan::execution::Execution;
use crate::plan::problem::{Path, Problem};
use crate::plan::{Split, Terms, TokenSource, matrix, plan, request_tag, split};
use crate::ports::World;

const CALENDARS: &str = "ssm:GetCalendarState";
/// How often a wave is looked at.
const LOOK_SECONDS: u64 = 60;
/// How often a closed calendar, or a start that did not get through, is tried again.
const TRY_SECONDS: u64 = 300;
const SUCH_AS_MAX: usize = 5;
/// How often a resumption of a resumption is followed.
const GENERATIONS_MAX: usize = 20;

impl<W: World> Run<'_, W> {
    /// Refuses what could not be carried out, before anything is.
    pub(super) async fn campaign(&mut self, campaign: &Campaign) -> Result<CampaignAnswer, FanoutError> {
        let (planned, notes) = waves(campaign).map_err(FanoutError::InvalidRequest)?;
        self.calendars(campaign).await?;
        let order = order(campaign.request.clone(), campaign, None).map_err(FanoutError::InvalidRequest)?;
        // Regions, targets and the runbook are those of a start.
        self.prepare(order, false).await.map_err(|error| match error {
            FanoutError::InvalidRequest(problems) => FanoutError::InvalidRequest(
                problems.into_iter().map(|one| Problem { path: format!("Request.{}", one.path), ..one }).collect(),
            ),
            error => error,
        })?;
        let skipped = campaign.from.as_ref().and_then(|from| planned.iter().position(|wave| wave.name == *from));
        let left = &planned[skipped.unwrap_or_default()..];
        let next = left.iter().skip(1).map(|wave| Some(wave.name.clone())).chain([None]);
        let plan = |(wave, next): (&PlannedWave, Option<String>)| {
            let accounts: BTreeSet<&String> =
                wave.request.target_locations.iter().flat_map(|location| &location.accounts).collect();
            WavePlan {
                name: wave.name.clone(),
                accounts: accounts.len(),
                account_region_pairs: wave.pairs(),
                such_as: accounts.into_iter().take(SUCH_AS_MAX).cloned().collect(),
                soak_seconds: if next.is_some() { campaign.gate.soak.as_secs() } else { 0 },
                approval: next.is_some() && campaign.gate.approval,
                approval_seconds: campaign.gate.approval_timeout.as_secs(),
                next,
            }
        };
        Ok(CampaignAnswer {
            action: "Campaign",
            name: campaign.name.clone(),
            // What goes on was tried when it began.
            preflight: campaign.preflight && skipped.is_none(),
            waves: left.iter().zip(next).map(plan).collect(),
            notes,
        })
    }

    /// Whether the calendars of a campaign are open.
    async fn calendars(&mut self, campaign: &Campaign) -> Result<crate::ports::CalendarState, FanoutError> {
        let names = &campaign.gate.calendars;
        if names.is_empty() {
            return Ok(crate::ports::CalendarState { is_open: true, changes_at: None });
        }
        let gate = Path::Root.field("Gate");
        let refuse = |text: String| FanoutError::InvalidRequest(vec![Problem::new(gate.field("Calendars"), text)]);
        match self.in_time(CALENDARS, self.world.calendars(names)).await {
            Ok(Some(state)) => Ok(state),
            Ok(None) => Err(refuse(format!(
                "expected Change Calendars of this account and Region, got {}, of which one does not exist",
                names.join(", ")
            ))),
            Err(error) => Err(refuse(format!("the calendars could not be read: {error}"))),
        }
    }

    /// Starts a wave, unless it was started before, or looks at it.
    pub(super) async fn wave(&mut self, order: WaveOrder) -> Result<WaveAnswer, FanoutError> {
        let WaveOrder { campaign, wave: name, since, executions } = order;
        let (planned, _) = waves(&campaign).map_err(FanoutError::InvalidRequest)?;
        let Some(wave) = planned.into_iter().find(|wave| wave.name == name) else {
            let text = format!("expected the name of a wave, got {name:?}");
            return Err(FanoutError::InvalidRequest(vec![Problem::new(Path::Root.field("Wave"), text)]));
        };
        let mut ids: Vec<String> = executions.into_iter().map(|asked| asked.id).collect();
        if ids.is_empty() {
            match self.begin(&campaign, wave).await? {
                Begun::Started(started) => ids = started,
                Begun::Waits(reason) => {
                    let answer = WaveAnswer { reason, retry_after_seconds: TRY_SECONDS, ..waiting(&campaign, &name) };
                    log::wave(&answer);
                    return Ok(answer);
                }
            }
        }
        let names: Vec<&str> = ids.iter().map(String::as_str).collect();
        let readings = self.read(&names, Origin::Started, Duration::ZERO).await;
        let mut answer = judged(&campaign, &name, &readings);
        let is_old = |reading: &Reading| {
            let started_at = reading.execution.as_ref().and_then(|execution| execution.started_at);
            since.is_some_and(|since| started_at.is_some_and(|at| at < since))
        };
        // What this run of the campaign resumed itself is not resumed again in it.
        if answer.state == WaveState::Stopped && campaign.resume && readings.iter().all(is_old) {
            self.go_on(&campaign, &name, &readings, &mut answer).await?;
        }
        log::wave(&answer);
        Ok(answer)
    }

    /// Starts the wave under its key. What was started under it before, however long ago, is not started again.
    async fn begin(&mut self, campaign: &Campaign, wave: PlannedWave) -> Result<Begun, FanoutError> {
        let order = order(wave.request, campaign, Some(&wave.key)).map_err(FanoutError::InvalidRequest)?;
        let document = order.request.document_name.clone();
        let tag = request_tag(&wave.key, &order.request).value;
        let known = match self.started_under(&wave.key, &document).await {
            Ok(known) => known,
            Err(error) => return Ok(Begun::Waits(format!("it is not known what was started before: {error}"))),
        };
        if known.iter().any(|(_, other)| *other != tag) {
            let text = format!(
                "another request was started as {} before; give the same campaign as then, or another Name",
                wave.key
            );
            return Err(FanoutError::InvalidRequest(vec![Problem::new(Path::Root.field("Campaign"), text)]));
        }
        let tokens = TokenSource { key: wave.key.clone(), resumes: None };
        let planned = plan(&order.request, &order.split, None, &tokens).map_err(FanoutError::InvalidRequest)?;
        if known.len() >= planned.parts.len() {
            let ids: Vec<String> = known.into_iter().map(|(listed, _)| listed.id).collect();
            return Ok(self.family(ids, &document).await.map_or_else(
                |error| Begun::Waits(format!("it is not known what was resumed before: {error}")),
                Begun::Started,
            ));
        }
        let calendars = self.calendars(campaign).await?;
        if !calendars.is_open {
            let until = calendars.changes_at.map(|time| format!(" until {time}")).unwrap_or_default();
            return Ok(Begun::Waits(format!("a Change Calendar is closed{until}")));
        }
        let answer = match self.start(order).await {
            Ok(answer) => answer,
            // Nothing was started: what may go through later is tried again, all else is the campaign's end.
            Err(FanoutError::NothingStarted(answer)) if answer.failed.iter().all(|failure| may_pass(&failure.code)) => {
                *answer
            }
            Err(error) => return Err(error),
        };
        match answer.failed.first() {
            None => Ok(Begun::Started(
                answer.executions.into_iter().map(|started| started.automation_execution_id).collect(),
            )),
            Some(failure) if may_pass(&failure.code) => {
                Ok(Begun::Waits(format!("not all of it is started: {}: {}", failure.code, failure.message)))
            }
            Some(_) => Err(FanoutError::NothingStarted(Box::new(answer))),
        }
    }

    /// Executions with all that resumed them, and what resumed that.
    async fn family(&mut self, mut ids: Vec<String>, document: &str) -> Result<Vec<String>, AwsError> {
        let mut newest = ids.clone();
        for _ in 0..GENERATIONS_MAX {
            let mut found = Vec::new();
            for id in &newest {
                found.extend(self.resumptions_of(id, document).await?.into_iter().map(|listed| listed.id));
            }
            found.retain(|id| !ids.contains(id));
            if found.is_empty() {
                break;
            }
            ids.extend(found.iter().cloned());
            newest = found;
        }
        Ok(ids)
    }

    /// Resumes what ended badly and was not resumed yet.
    async fn go_on(
        &mut self,
        campaign: &Campaign,
        wave: &str,
        readings: &[Reading],
        answer: &mut WaveAnswer,
    ) -> Result<(), FanoutError> {
        let ids: Vec<String> = readings.iter().map(|reading| reading.id.clone()).collect();
        let document = campaign.request.document_name.clone();
        let mut last = Vec::new();
        for reading in readings {
            let resumed = self.resumptions_of(&reading.id, &document).await;
            match resumed {
                Ok(resumed) if resumed.is_empty() => last.push(reading.clone()),
                Ok(_) => {}
                Err(error) => {
                    answer.state = WaveState::Waiting;
                    answer.reason = format!("it is not known what was resumed before: {error}");
                    answer.retry_after_seconds = TRY_SECONDS;
                    return Ok(());
                }
            }
        }
        let key = super::resume::DEFAULT_KEY.to_owned();
        let resumed = self.resume_readings(&last, &Terms::default(), key, Duration::ZERO).await?;
        let started: Vec<String> =
            resumed.executions.into_iter().map(|started| started.automation_execution_id).collect();
        if started.is_empty() {
            return Ok(());
        }
        answer.state = WaveState::Running;
        answer.reason = format!("{wave} goes on where it failed");
        answer.retry_after_seconds = LOOK_SECONDS;
        answer.automation_execution_ids = ids.into_iter().chain(started).collect();
        Ok(())
    }
}

enum Begun {
    /// These executions, resumptions included.
    Started(Vec<String>),
    /// Not yet, for this reason.
    Waits(String),
}

fn may_pass(code: &str) -> bool {
    matches!(
        code,
        super::NOT_TRIED
            | super::DEADLINE_EXCEEDED
            | "AutomationExecutionLimitExceededException"
            | "InternalServerError"
    ) || AwsError::is_throttling_code(code)
}

fn order(
    request: crate::plan::request::StartRequest,
    campaign: &Campaign,
    key: Option<&str>,
) -> Result<Order, Vec<Problem>> {
    let split: Split = split(&request)?;
    Ok(Order {
        request,
        split,
        matching: Vec::new(),
        all_targets: campaign.all_targets,
        idempotency_key: key.map(str::to_owned),
        wait: Duration::ZERO,
    })
}

fn waiting(campaign: &Campaign, wave: &str) -> WaveAnswer {
    WaveAnswer {
        action: "Wave",
        campaign: campaign.name.clone(),
        wave: wave.to_owned(),
        state: WaveState::Waiting,
        reason: String::new(),
        retry_after_seconds: LOOK_SECONDS,
        automation_execution_ids: Vec::new(),
        locations: 0,
        succeeded: 0,
        failed_percent: 0.0,
        failures: Vec::new(),
    }
}

/// Where a wave stands by its executions.
fn judged(campaign: &Campaign, wave: &str, readings: &[Reading]) -> WaveAnswer {
    let mut answer = waiting(campaign, wave);
    answer.automation_execution_ids = readings.iter().map(|reading| reading.id.clone()).collect();
    let executions: Vec<(&Execution, bool)> =
        readings.iter().filter_map(|reading| Some((reading.execution.as_ref()?, reading.all_steps_read))).collect();
    let is_known = executions.len() == readings.len() && executions.iter().all(|(_, all_steps_read)| *all_steps_read);
    let tally = tally(&executions);
    answer.locations = tally.locations;
    answer.succeeded = tally.succeeded;
    answer.failed_percent = tally.failed_percent();
    if !is_known || !executions.iter().all(|(execution, _)| execution.status.is_terminal()) {
        answer.state = WaveState::Running;
        answer.reason = format!("{} of {} locations succeeded so far", tally.succeeded, tally.locations);
        return answer;
    }
    answer.failures = failures(&executions);
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

fn failures(executions: &[(&Execution, bool)]) -> Vec<FailureGroup> {
    const GROUPS_MAX: usize = 20;
    let mut groups = failure_groups(executions);
    // The state machine carries the answer on, which may have 256 KB.
    groups.truncate(GROUPS_MAX);
    for group in &mut groups {
        let kept: Vec<String> = group.accounts.keys().take(SUCH_AS_MAX).cloned().collect();
        group.accounts_omitted += group.accounts.len() - kept.len();
        group.accounts.retain(|account, _| kept.contains(account));
    }
    groups
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
