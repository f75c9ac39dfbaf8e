//! `Resume`.

use std::time::Duration;

use super::read::Reading;
use super::start::Due;
use super::{Automation, DEADLINE_EXCEEDED, Run};
use crate::answer::{Failure, StartAnswer};
use crate::error::FanoutError;
use crate::event::ResumeOrder;
use crate::plan::{Plan, Terms, TokenSource, Unresumable, plan, resumption};
use crate::problem::listed;

/// Stands in for a key of the caller's: an execution is resumed once, unless the caller says otherwise.
const DEFAULT_KEY: &str = "resume";

impl<A: Automation> Run<'_, A> {
    pub(super) async fn resume(&mut self, order: ResumeOrder) -> Result<StartAnswer, FanoutError> {
        let key = order.idempotency_key.unwrap_or_else(|| DEFAULT_KEY.to_owned());
        let readings = self.read_asked(&order.executions, Duration::ZERO).await?;
        let mut answer = StartAnswer { action: "Resume", idempotency_key: key.clone(), ..StartAnswer::default() };
        let mut due = Vec::new();
        for reading in readings {
            let id = reading.id.clone();
            match self.plan_resumption(&reading, &order.terms, &key) {
                Ok(Plan { parts, notes }) => {
                    due.extend(parts.into_iter().map(|part| Due { part, resumes: Some(id.clone()) }));
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
        self.start_all(due, answer, order.wait).await
    }

    fn plan_resumption(&self, reading: &Reading, terms: &Terms, key: &str) -> Result<Plan, Refusal> {
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
        let tokens = TokenSource { key: key.to_owned(), resumes: Some(id.clone()) };
        let mut plan = plan(&resumption.request, &self.config.administration_role_arn, &tokens)
            .map_err(|problems| Refusal::Failed { code: "NotResumable".to_owned(), message: listed(&problems) })?;
        plan.notes.splice(0..0, resumption.notes);
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
