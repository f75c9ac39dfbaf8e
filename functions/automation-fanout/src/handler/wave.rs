//! `Wave`: one step of a campaign's wave, as the state machine asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hub::AwsError;

use super::Run;
use super::campaign::{order, within};
use super::history::value;
use super::read::Reading;
use super::start::{Due, LIMIT_EXCEEDED, Prepared};
use super::stop::STOPPED_TAG_KEY;
use super::verdict::{judged, waiting};
use crate::answer::{Failure, StartAnswer, WaveAnswer, WaveState};
use crate::error::{FanoutError, first};
use crate::event::WaveOrder;
use crate::log;
use crate::plan::campaign::{Campaign, PlannedWave, waves};
use crate::plan::problem::{Path, Problem};
use crate::plan::{RESUMES_TAG_KEY, STILL_RUNNING, Terms, TokenSource, matrix, plan};
use crate::ports::{CalendarState, World};

/// How often a wave is looked at first.
const LOOK_SECONDS: u64 = 60;
/// How often a closed calendar, or a start that did not get through, is tried again first.
const TRY_SECONDS: u64 = 300;
/// Both double after so many looks of a campaign with few waves, and after fewer in each of many.
const LOOKS_MAX: usize = 30;
const LOOKS_OF_ALL_WAVES: usize = 150;
const PAUSE_SECONDS_MAX: u64 = 3_600;

impl<W: World> Run<'_, W> {
    /// Starts a wave, unless it was started before, or looks at it.
    pub(super) async fn wave(&mut self, order: WaveOrder) -> Result<WaveAnswer, FanoutError> {
        let (looks, wave_count) = (order.looks, order.campaign.waves.len());
        let mut answer = self.wave_step(order).await?;
        // A calendar may be open for a shorter time than a long pause.
        let opens_in = self.seen.opens_in.unwrap_or(u64::MAX).max(LOOK_SECONDS);
        answer.retry_after_seconds = pause(answer.state, looks, wave_count).min(opens_in);
        log::wave(&answer);
        Ok(answer)
    }

    async fn wave_step(&mut self, order: WaveOrder) -> Result<WaveAnswer, FanoutError> {
        let WaveOrder { campaign, wave: name, earlier, executions: mut ids, .. } = order;
        let (planned, _) = waves(&campaign).map_err(FanoutError::InvalidRequest)?;
        let Some(index) = planned.iter().position(|wave| wave.name == name) else {
            let known: Vec<&str> = planned.iter().map(|wave| wave.name.as_str()).collect();
            let text = format!("expected the name of a wave, got {name:?}; the waves are {}", known.join(", "));
            return Err(FanoutError::InvalidRequest(vec![Problem::new(Path::Root.field("Wave"), text)]));
        };
        if ids.is_empty() {
            match self.begin(&campaign, &planned, index).await.map_err(|error| within(error, "Campaign"))? {
                Begun::Started(started) => ids = started,
                Begun::Waits(reason) => return Ok(later(waiting(&campaign, &name, Vec::new()), reason)),
                Begun::Broken(ids, reason) => {
                    return Ok(WaveAnswer { state: WaveState::Stopped, reason, ..waiting(&campaign, &name, ids) });
                }
            }
        }
        let names: Vec<&str> = ids.iter().map(String::as_str).collect();
        let readings = self.read_ended(&names).await;
        let (resumed, marked) = match self.tagged_as(&readings).await {
            Ok(told) => told,
            Err(error) => return Ok(later(waiting(&campaign, &name, ids), unknown_resumptions(&error))),
        };
        let mut stopped: Vec<&str> = readings.iter().map(|one| one.id.as_str()).collect();
        stopped.retain(|id| marked.contains(*id));
        if !stopped.is_empty() {
            match self.resumptions().await {
                // What was resumed counts by its resumption.
                Ok(resumptions) => stopped.retain(|id| !resumptions.has_resumed(id)),
                Err(error) => return Ok(later(waiting(&campaign, &name, ids), unknown_resumptions(&error))),
            }
        }
        let answer = judged(&campaign, &name, &readings, stopped.first().copied(), &resumed);
        if answer.state == WaveState::Stopped && campaign.resume {
            return self.go_on(&campaign, &earlier, &readings, answer).await;
        }
        Ok(answer)
    }

    /// Which of these executions resumes which, and which were stopped, once all have ended: by their own tags, because a
    /// list may not have them yet.
    async fn tagged_as(
        &mut self,
        readings: &[Reading],
    ) -> Result<(BTreeMap<String, String>, BTreeSet<String>), AwsError> {
        let (mut resumed, mut stopped) = (BTreeMap::new(), BTreeSet::new());
        let have_ended = readings
            .iter()
            .all(|reading| reading.execution.as_ref().is_some_and(|execution| execution.status.is_terminal()));
        for reading in readings.iter().filter(|_| have_ended) {
            let tags = self.tags(&reading.id).await?;
            if let Some(earlier) = value(&tags, RESUMES_TAG_KEY) {
                resumed.insert(reading.id.clone(), earlier.to_owned());
            }
            let was_stopped = reading.was_stopped() || value(&tags, STOPPED_TAG_KEY).is_some();
            stopped.extend((was_stopped && has_left_out(reading)).then(|| reading.id.clone()));
        }
        Ok((resumed, stopped))
    }

    /// Starts the wave under its key. What was started under it before, however long ago, is not started again.
    async fn begin(
        &mut self,
        campaign: &Campaign,
        planned: &[PlannedWave],
        index: usize,
    ) -> Result<Begun, FanoutError> {
        let unknown = |error: AwsError| Begun::Waits(format!("it is not known what was started before: {error}"));
        let begun = match self.begun(campaign, planned).await {
            Ok(begun) => begun,
            Err(FanoutError::NotListed(error)) => return Ok(unknown(error)),
            Err(error) => return Err(error),
        };
        let order = order(campaign, planned, index, &begun)?;
        let of_the_wave = begun.into_iter().filter(|(_, tag)| tag.is_of_key(&planned[index].key));
        let known: BTreeMap<usize, String> =
            of_the_wave.filter_map(|(listed, tag)| Some((tag.part?, listed.id))).collect();
        let mut ids: Vec<String> = known.values().cloned().collect();
        // What is started of it runs, whatever becomes of the rest.
        let broken = |ids: Vec<String>, error: FanoutError| match passing(error) {
            Ok(words) if ids.is_empty() => Ok(Begun::Waits(format!("nothing is started: {words}"))),
            Ok(words) => Ok(Begun::Waits(format!("not all of it is started: {words}"))),
            Err(FanoutError::NothingStarted(answer)) if !ids.is_empty() => {
                let words =
                    format!("not all of it is started: {}; started are {}", first(&answer.failed), ids.join(", "));
                Ok(Begun::Broken(ids, words))
            }
            Err(error) => Err(error),
        };
        let tokens = TokenSource { wave: order.wave.clone(), ..TokenSource::of(&planned[index].key) };
        let all = plan(&order.request, &order.split, None, &tokens).map_err(FanoutError::InvalidRequest)?.parts.len();
        if (0..all).any(|part| !known.contains_key(&part)) {
            if let Some(reason) = self.closed(campaign).await? {
                return Ok(Begun::Waits(reason));
            }
            let Prepared { plan, key, .. } = match self.prepare(order, false).await {
                Err(error @ FanoutError::RunbookNotRead(_)) => return Ok(Begun::Waits(error.to_string())),
                prepared => prepared.map_err(|error| within(error, "Request"))?,
            };
            let parts = plan.parts.into_iter().enumerate().filter(|(part, _)| !known.contains_key(part));
            let due =
                Due { parts: parts.map(|(_, part)| part).collect(), resumes: None, begun: known.get(&0).cloned() };
            let answer = StartAnswer { action: "Start", idempotency_key: key, ..StartAnswer::default() };
            let answer = match self.start_all(vec![due], answer, Duration::ZERO).await {
                Ok(answer) => answer,
                Err(error) => return broken(ids, error),
            };
            ids.extend(answer.executions.iter().map(|started| started.automation_execution_id.clone()));
            if !answer.failed.is_empty() {
                return broken(ids, FanoutError::NothingStarted(Box::new(answer)));
            }
        }
        if known.is_empty() {
            return Ok(Begun::Started(ids));
        }
        Ok(self.resumptions().await.map_or_else(unknown, |resumptions| Begun::Started(resumptions.family(&ids))))
    }

    /// Why nothing may be started now, by the calendars of a campaign.
    async fn closed(&mut self, campaign: &Campaign) -> Result<Option<String>, FanoutError> {
        match self.calendars(campaign).await {
            Ok(CalendarState { is_open: true, .. }) => Ok(None),
            Ok(CalendarState { changes_at, changes_in, .. }) => {
                self.seen.opens_in = changes_in;
                let until = changes_at.map(|time| format!(" until {time}")).unwrap_or_default();
                Ok(Some(format!("a Change Calendar is closed{until}")))
            }
            Err(error @ FanoutError::CalendarsNotRead(AwsError { retryable: true, .. })) => Ok(Some(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Resumes what ended badly in an earlier run of the campaign and was not resumed since. What this run started itself
    /// is not resumed again in it.
    async fn go_on(
        &mut self,
        campaign: &Campaign,
        earlier: &[String],
        readings: &[Reading],
        mut answer: WaveAnswer,
    ) -> Result<WaveAnswer, FanoutError> {
        let resumptions = match self.resumptions().await {
            Ok(resumptions) => resumptions,
            Err(error) => return Ok(later(answer, unknown_resumptions(&error))),
        };
        let mut ids = resumptions.family(&answer.automation_execution_ids);
        if ids.len() == answer.automation_execution_ids.len() {
            let key = super::resume::DEFAULT_KEY;
            // One that was resumed in part is resumed in the rest too.
            let is_due = |reading: &&Reading| {
                let is_open = !resumptions.has_resumed(&reading.id) || !resumptions.parts(&reading.id, key).is_empty();
                earlier.contains(&reading.id) && is_open
            };
            let due: Vec<Reading> = readings.iter().filter(is_due).cloned().collect();
            let (due, resumed) = self.plan_resumptions(&due, &resumptions, &Terms::default(), key.to_owned()).await;
            if due.iter().any(|due| !due.parts.is_empty())
                && let Some(reason) = self.closed(campaign).await?
            {
                return Ok(later(answer, format!("it is not resumed yet: {reason}")));
            }
            match self.start_all(due, resumed, Duration::ZERO).await {
                Ok(resumed) => {
                    let started = resumed.executions.into_iter().map(|one| one.automation_execution_id);
                    let new: Vec<String> = started.filter(|id| !ids.contains(id)).collect();
                    if new.is_empty() {
                        return Ok(answer);
                    }
                    ids.extend(new);
                }
                Err(error) => {
                    return passing(error).map(|words| later(answer, format!("it is not resumed yet: {words}")));
                }
            }
        }
        answer.state = WaveState::Running;
        answer.reason = format!("{} goes on where it failed", answer.wave);
        answer.automation_execution_ids = ids;
        answer.failures = Vec::new();
        Ok(answer)
    }
}

enum Begun {
    /// These executions, resumptions included.
    Started(Vec<String>),
    /// Not yet, for this reason.
    Waits(String),
    /// These executions alone, and the rest never will be, for this reason.
    Broken(Vec<String>, String),
}

/// Whether an execution that was stopped may have left something out. What it did not come to in a unit, nothing lists.
fn has_left_out(reading: &Reading) -> bool {
    reading.execution.as_ref().is_some_and(|execution| {
        let cells = matrix(execution, reading.all_steps_read);
        execution.request.hides_accounts() || cells.iter().any(|cell| !cell.status.is_success())
    })
}

fn unknown_resumptions(error: &AwsError) -> String {
    format!("it is not known what was resumed before: {error}")
}

/// The same step is to be tried again later.
fn later(answer: WaveAnswer, reason: String) -> WaveAnswer {
    WaveAnswer { state: WaveState::Waiting, reason, ..answer }
}

/// How long until the next look, after so many in this wave: a look is nine events of the state machine's execution, which
/// may have 25,000 in all: <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>.
fn pause(state: WaveState, looks: u64, wave_count: usize) -> u64 {
    let first = if state == WaveState::Waiting { TRY_SECONDS } else { LOOK_SECONDS };
    let looks_each = LOOKS_MAX.min(LOOKS_OF_ALL_WAVES / wave_count.max(1)).max(1);
    let doublings = u32::try_from(looks).unwrap_or(u32::MAX) / u32::try_from(looks_each).unwrap_or(1);
    first.saturating_mul(2_u64.saturating_pow(doublings)).min(PAUSE_SECONDS_MAX)
}

/// Why starts failed that may go through later; all else is the campaign's end.
pub(super) fn passing(error: FanoutError) -> Result<String, FanoutError> {
    match error {
        FanoutError::NothingStarted(answer) if answer.failed.iter().all(may_pass) => {
            let words = answer.failed.first().map(|failure| format!("{}: {}", failure.code, failure.message));
            Ok(words.unwrap_or_default())
        }
        error => Err(error),
    }
}

fn may_pass(failure: &Failure) -> bool {
    failure.retryable
        || matches!(failure.code.as_str(), super::NOT_TRIED | super::DEADLINE_EXCEEDED | STILL_RUNNING | LIMIT_EXCEEDED)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    /// The events of a wave that is looked at until it has taken so long.
    fn events(state: WaveState, seconds: u64, wave_count: usize) -> u64 {
        let (mut waited, mut looks) = (0, 0);
        while waited < seconds {
            waited += pause(state, looks, wave_count);
            looks += 1;
        }
        9 * looks
    }

    #[test]
    fn a_campaign_does_not_run_out_of_events() {
        for state in [WaveState::Running, WaveState::Waiting] {
            assert_eq!(pause(state, u64::MAX, 0), PAUSE_SECONDS_MAX);
            assert!(events(state, 30 * DAY, 1) < 12_000);
            for wave_count in 1..=50_u32 {
                // A preflight, soak time, a question and what is told come on top.
                let of_each = 60 + events(state, 60 * DAY / u64::from(wave_count), wave_count as usize);
                assert!(u64::from(wave_count) * of_each < 25_000, "{wave_count} waves");
            }
        }
        // A wave that is soon over is seen at once, also in a campaign of many.
        assert_eq!((pause(WaveState::Running, 29, 5), pause(WaveState::Running, 2, 50)), (60, 60));
    }
}
