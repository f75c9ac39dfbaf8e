//! `Status`: reading executions, once or until they end.

use std::collections::HashSet;
use std::time::Duration;

use hub::AwsError;
use tokio::time::{Instant, sleep};

use super::{NOT_FOUND, Run, too_late};
use crate::answer::{ExecutionStatus, ReadError, StatusAnswer, fit, status_answer, view};
use crate::error::FanoutError;
use crate::event::Asked;
use crate::log;
use crate::plan::execution::{Execution, Step};
use crate::plan::problem::Problem;
use crate::ports::World;

pub(super) const GET: &str = "ssm:GetAutomationExecution";
const DESCRIBE: &str = "ssm:DescribeAutomationStepExecutions";

/// Between two looks at the same executions; it grows to the maximum.
const FIRST_DELAY: Duration = Duration::from_secs(2);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// The code of an execution that was started a moment ago and that the service does not show yet.
const NOT_VISIBLE_YET: &str = "NotVisibleYet";
/// `MaxResults` of a page of steps.
const STEPS_PER_PAGE: usize = 50;
/// Beyond so many steps of an execution, no more of each is kept than an answer needs.
const STEPS_IN_FULL: usize = 5_000;
/// Lambda returns at most 6 MB; this leaves room for what a start tells beside it.
const STATUS_BYTES_MAX: usize = 5_000_000;

/// What is known about an execution before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The caller named it.
    Asked,
    /// It was started a moment ago, so that the service may not show it yet.
    Started,
}

/// What was read of an execution.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) id: String,
    pub(super) execution: Option<Execution>,
    pub(super) all_steps_read: bool,
    pub(super) error: Option<AwsError>,
}

impl Reading {
    /// True where another look can show something new.
    fn may_change(&self) -> bool {
        match &self.execution {
            Some(execution) => !execution.status.is_terminal(),
            None => !self.is_unknown(),
        }
    }

    /// True for an id that the service does not know.
    pub(super) fn is_unknown(&self) -> bool {
        self.execution.is_none() && self.error.as_ref().is_some_and(|error| error.code == NOT_FOUND)
    }

    /// True where somebody stopped it, and it has ended.
    pub(super) fn was_stopped(&self) -> bool {
        self.execution.as_ref().is_some_and(|execution| execution.status.is_cancelled())
    }

    /// About how many calls its steps take.
    fn page_count(&self) -> usize {
        let Some(execution) = self.execution.as_ref().filter(|execution| execution.steps_truncated) else {
            return 0;
        };
        let locations = execution.request.target_locations.iter();
        let pairs: usize = locations.map(|location| location.accounts.len() * location.regions.len()).sum();
        pairs.max(execution.steps.len()).div_ceil(STEPS_PER_PAGE)
    }
}

impl<W: World> Run<'_, W> {
    pub(super) async fn status(&mut self, asked: &[Asked], wait: Duration) -> Result<StatusAnswer, FanoutError> {
        let readings = self.read_asked(asked, wait).await?;
        let is_nothing_read = readings.iter().all(|reading| reading.execution.is_none());
        let answer = answer(readings);
        if is_nothing_read {
            return Err(FanoutError::NothingRead(Box::new(answer)));
        }
        Ok(answer)
    }

    /// Reads what a caller named. One that is not known does not spoil the others; none that is known is a
    /// mistake of the caller's.
    pub(super) async fn read_asked(&mut self, asked: &[Asked], wait: Duration) -> Result<Vec<Reading>, FanoutError> {
        let ids: Vec<&str> = asked.iter().map(|asked| asked.id.as_str()).collect();
        let mut readings = self.read(&ids, Origin::Asked, wait).await;
        let mut seen = HashSet::new();
        readings.retain(|reading| seen.insert(reading.id.clone()));
        if readings.iter().all(Reading::is_unknown) {
            return Err(FanoutError::InvalidRequest(asked.iter().map(unknown_execution).collect()));
        }
        Ok(readings)
    }

    /// Reads executions until all have ended or the wait is over, then all their steps.
    ///
    /// While it waits it only looks at the executions themselves: one call each, whatever their size.
    pub(super) async fn read(&mut self, ids: &[&str], origin: Origin, wait: Duration) -> Vec<Reading> {
        let mut readings = unread(ids);
        let start = Instant::now();
        let mut delay = FIRST_DELAY;
        loop {
            for reading in &mut readings {
                if reading.may_change() {
                    self.look(reading, origin).await;
                }
            }
            let page_count = readings.iter().map(Reading::page_count).sum();
            let pages_begin = self.begin_until.checked_sub(self.pages.time_for(page_count)).unwrap_or(start);
            let wait_until = pages_begin.min(start + wait);
            let left = wait_until.saturating_duration_since(Instant::now());
            if left.is_zero() || !readings.iter().any(Reading::may_change) {
                break;
            }
            sleep(delay.min(left)).await;
            delay = (delay * 3 / 2).min(DELAY_MAX);
        }
        for reading in &mut readings {
            self.read_steps(reading, None).await;
        }
        readings
    }

    /// One look at executions, and at their steps only once all have ended: while they run, the service's own counts do.
    pub(super) async fn read_ended(&mut self, ids: &[&str]) -> Vec<Reading> {
        let mut readings = unread(ids);
        for reading in &mut readings {
            self.look(reading, Origin::Started).await;
        }
        if !readings.iter().any(Reading::may_change) {
            for reading in &mut readings {
                self.read_steps(reading, None).await;
            }
        }
        readings
    }

    /// One look. What was seen before stays where this one fails.
    async fn look(&mut self, reading: &mut Reading, origin: Origin) {
        let result = if self.reads.turn(self.begin_until).await {
            self.in_time(GET, self.world.execution(&reading.id)).await
        } else {
            Err(too_late(GET, "not read, because the function's time is up"))
        };
        match result {
            Ok(execution) => {
                reading.all_steps_read = !execution.steps_truncated;
                // As the service spells it, whatever the caller wrote.
                reading.id.clone_from(&execution.id);
                reading.execution = Some(execution);
                reading.error = None;
            }
            Err(mut error) if reading.execution.is_none() => {
                if error.code == NOT_FOUND && origin == Origin::Started {
                    NOT_VISIBLE_YET.clone_into(&mut error.code);
                }
                reading.error = Some(error);
            }
            Err(_) => {}
        }
    }

    /// Reads the steps page by page where the execution did not bring them all: with an instance only those that name it, but
    /// with all that they say.
    pub(super) async fn read_steps(&mut self, reading: &mut Reading, instance: Option<&str>) {
        let Some(execution) = reading.execution.as_mut().filter(|execution| execution.steps_truncated) else {
            return;
        };
        let mut steps = Vec::new();
        let mut seen_tokens = HashSet::new();
        let mut page_token = None;
        loop {
            // What was read has to be worked up too.
            let result = if self.pages.turn(self.begin_until).await {
                self.in_time(DESCRIBE, self.world.steps(&reading.id, page_token.clone())).await
            } else {
                Err(too_late(DESCRIBE, "not all steps were read, because the function's time is up"))
            };
            match result {
                Ok(mut page) => {
                    if let Some(instance) = instance {
                        page.steps.retain(|step| step.names(instance));
                    } else {
                        page.steps.iter_mut().for_each(Step::drop_request);
                        if steps.len() >= STEPS_IN_FULL {
                            page.steps.iter_mut().for_each(Step::slim);
                        }
                    }
                    steps.extend(page.steps);
                    page_token = page.next_token.filter(|token| seen_tokens.insert(token.clone()));
                    reading.all_steps_read = page_token.is_none();
                }
                Err(error) => {
                    reading.error = Some(error);
                    page_token = None;
                }
            }
            if page_token.is_none() {
                break;
            }
        }
        // The steps that came with the execution are the first of all.
        if reading.all_steps_read || steps.len() > execution.steps.len() || (instance.is_some() && !steps.is_empty()) {
            execution.steps = steps;
        }
    }
}

fn unread(ids: &[&str]) -> Vec<Reading> {
    ids.iter().map(|id| Reading { id: (*id).to_owned(), ..Reading::default() }).collect()
}

/// A refusal that names an execution.
pub(super) fn unknown_execution(asked: &Asked) -> Problem {
    let text =
        format!("expected an execution that Systems Manager knows in this account and Region, got {:?}", asked.id);
    Problem::new(&asked.path, text)
}

/// All readings in one answer of a size that Lambda returns, and one line of log for each location in trouble.
pub(super) fn answer(readings: Vec<Reading>) -> StatusAnswer {
    // One reading after the other is given up: each may be as large as the answer.
    let executions: Vec<ExecutionStatus> = readings.into_iter().map(|reading| status(&reading)).collect();
    executions.iter().for_each(log::failed_locations);
    let mut answer = status_answer(executions);
    fit(&mut answer.executions, STATUS_BYTES_MAX);
    log::status(&answer);
    answer
}

fn status(reading: &Reading) -> ExecutionStatus {
    let status = match &reading.execution {
        Some(execution) => view(execution, reading.all_steps_read),
        None => ExecutionStatus::default(),
    };
    let error = reading.error.as_ref();
    ExecutionStatus {
        automation_execution_id: reading.id.clone(),
        error: error.map(|error| ReadError { code: error.code.clone(), message: error.message.clone() }),
        ..status
    }
}
