//! `Resume`.

use std::time::Duration;

use super::read::Reading;
use super::start::Due;
use super::{DEADLINE_EXCEEDED, Run};
use crate::answer::{Failure, StartAnswer};
use crate::error::FanoutError;
use crate::event::ResumeOrder;
use crate::plan::problem::listed;
use crate::plan::{Plan, Terms, TokenSource, Unresumable, advice, plan, resumption, split};
use crate::ports::World;

/// Stands in for a key of the caller's: an execution is resumed once, unless the caller says otherwise.
pub(super) const DEFAULT_KEY: &str = "resume";

impl<W: World> Run<'_, W> {
    pub(super) async fn resume(&mut self, order: ResumeOrder) -> Result<StartAnswer, FanoutError> {
        let key = order.idempotency_key.unwrap_or_else(|| DEFAULT_KEY.to_owned());
        let readings = self.read_asked(&order.executions, Duration::ZERO).await?;
        self.resume_readings(&readings, &order.terms, key, order.wait).await
    }

    /// Starts again what these executions did not do well.
    pub(super) async fn resume_readings(
        &mut self,
        readings: &[Reading],
        terms: &Terms,
        key: String,
        wait: Duration,
    ) -> Result<StartAnswer, FanoutError> {
        let mut answer = StartAnswer { action: "Resume", idempotency_key: key.clone(), ..StartAnswer::default() };
        let mut due = Vec::new();
        for reading in readings {
            let id = reading.id.clone();
            match self.plan_resumption(reading, terms, &key).await {
                Ok(Plan { parts, notes }) => {
                    due.push(Due { parts, resumes: Some(id.clone()), begun: None });
                    answer.notes.extend(notes.into_iter().map(|note| format!("{id}: {note}")));
                }
                Err(Refusal::NothingLeft(words)) => answer.notes.push(format!("{id}: {words}")),
                Err(Refusal::Failed { code, message }) => {
                    tracing::warn!(execution = id, code, "execution not resumed");
                    answer.failed.push(Failure {
                        automation_execution_id: Some(id),
                        code,
                        message,
                        ..Failure::default()
                    });
                }
            }
        }
        self.start_all(due, answer, wait).await
    }

    async fn plan_resumption(&mut self, reading: &Reading, terms: &Terms, key: &str) -> Result<Plan, Refusal> {
        let Reading { id, execution: Some(execution), all_steps_read, error } = reading else {
            return Err(Refusal::unread(reading));
        };
        // What an execution that still runs lacks is not known yet, whether or not its steps were all read.
        if execution.status.is_terminal() && (!all_steps_read || error.is_some()) {
            return Err(Refusal::unread(reading));
        }
        let resumption = resumption(execution, terms).map_err(|reason| match reason {
            Unresumable::NothingLeft => Refusal::NothingLeft(reason.to_string()),
            reason => Refusal::Failed { code: reason.code().to_owned(), message: reason.to_string() },
        })?;
        let tokens = TokenSource { resumes: Some(id.clone()), ..TokenSource::of(key) };
        let runbook = self.runbook(&resumption.request).await;
        let (role, words) = advice::role(&resumption.request, &runbook, &self.config.administration_role_arn);
        let mut plan = split(&resumption.request)
            .and_then(|split| plan(&resumption.request, &split, role, &tokens))
            .map_err(|problems| Refusal::Failed { code: "NotResumable".to_owned(), message: listed(&problems) })?;
        let words = Some(words).filter(|words| !words.is_empty());
        plan.notes.splice(0..0, resumption.notes.into_iter().chain(words));
        Ok(plan)
    }
}

/// Why an execution is not resumed.
enum Refusal {
    /// It needs no resumption.
    NothingLeft(String),
    /// It cannot be.
    Failed { code: String, message: String },
}

impl Refusal {
    fn unread(reading: &Reading) -> Self {
        let (code, message) = match &reading.error {
            Some(error) => (error.code.clone(), error.message.clone()),
            None => (DEADLINE_EXCEEDED.to_owned(), "not all steps were read".to_owned()),
        };
        Self::Failed { code, message }
    }
}
