//! `Resume`.

use std::cmp::Reverse;
use std::time::Duration;

use super::history::{Branch, Resumptions};
use super::read::Reading;
use super::start::{Due, MISMATCH, started};
use super::{DEADLINE_EXCEEDED, Run};
use crate::answer::{Failure, StartAnswer, StartedExecution};
use crate::error::FanoutError;
use crate::event::ResumeOrder;
use crate::plan::problem::listed;
use crate::plan::{Part, Plan, Terms, TokenSource, Unresumable, advice, plan, resumption, split};
use crate::ports::World;

/// Stands in for a key of the caller's: an execution is resumed once, unless the caller says otherwise.
pub(super) const DEFAULT_KEY: &str = "resume";

impl<W: World> Run<'_, W> {
    pub(super) async fn resume(&mut self, order: ResumeOrder) -> Result<StartAnswer, FanoutError> {
        self.belongs_to_no_campaign(order.idempotency_key.as_deref()).await?;
        let key = order.idempotency_key.unwrap_or_else(|| DEFAULT_KEY.to_owned());
        let readings = self.read_asked(&order.executions, Duration::ZERO).await?;
        let resumptions = self.resumptions().await.map_err(FanoutError::NotListed)?;
        let (due, answer) = self.plan_resumptions(&readings, &resumptions, &order.terms, key).await;
        self.start_all(due, answer, order.wait).await
    }

    /// What is to be started again of what these executions did not do well, and what was before: what was started for that
    /// under this key, however long ago, is not started again.
    pub(super) async fn plan_resumptions(
        &mut self,
        readings: &[Reading],
        resumptions: &Resumptions,
        terms: &Terms,
        key: String,
    ) -> (Vec<Due>, StartAnswer) {
        let mut answer = StartAnswer { action: "Resume", idempotency_key: key.clone(), ..StartAnswer::default() };
        let mut planned = Vec::new();
        for reading in readings {
            let plan = self.plan_resumption(reading, terms, &key).await.map(|(plan, left_behind)| {
                answer.failed.extend(left_behind.map(|reason| failure(&reading.id, reason.code(), reason.to_string())));
                plan
            });
            planned.push((reading.id.clone(), plan.and_then(|plan| left(plan, &reading.id, resumptions, &key))));
        }
        refuse_shared(&mut planned, resumptions, &key);
        let mut due = Vec::new();
        for (id, planned) in planned {
            match planned {
                Ok((Plan { parts, notes }, known)) => {
                    let begun = known.first().map(|known| known.automation_execution_id.clone());
                    due.push(Due { parts, resumes: Some(id.clone()), begun });
                    answer.executions.extend(known);
                    answer.notes.extend(notes.into_iter().map(|note| format!("{id}: {note}")));
                }
                Err(Refusal::NothingLeft(words)) => answer.notes.push(format!("{id}: {words}")),
                Err(Refusal::Failed { code, message }) => {
                    tracing::warn!(execution = id, code, "execution not resumed");
                    answer.failed.push(failure(&id, &code, message));
                }
            }
        }
        (due, answer)
    }

    /// What is to be started, and what cannot be although it is left too.
    async fn plan_resumption(
        &mut self,
        reading: &Reading,
        terms: &Terms,
        key: &str,
    ) -> Result<(Plan, Option<Unresumable>), Refusal> {
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
        Ok((plan, resumption.left_behind))
    }
}

fn failure(id: &str, code: &str, message: String) -> Failure {
    Failure { automation_execution_id: Some(id.to_owned()), code: code.to_owned(), message, ..Failure::default() }
}

/// What of a plan is still to be started, and what was started of it before.
fn left(
    mut plan: Plan,
    id: &str,
    resumptions: &Resumptions,
    key: &str,
) -> Result<(Plan, Vec<StartedExecution>), Refusal> {
    let known = resumptions.parts(id, key);
    let digest = plan.parts.first().and_then(Part::digest);
    if let Some((_, other)) = known.values().find(|(known, _)| digest.as_deref() != Some(*known)) {
        let message = format!(
            "another request was started under this key before, as {other}, and nothing was started now; give the same \
             request as then, or another IdempotencyKey"
        );
        return Err(Refusal::Failed { code: MISMATCH.to_owned(), message });
    }
    let mut begun = Vec::new();
    let mut part = 0;
    plan.parts.retain(|planned| {
        let execution = known.get(&part);
        part += 1;
        begun.extend(execution.map(|(_, execution)| started((*execution).to_owned(), planned, Some(id))));
        execution.is_none()
    });
    Ok((plan, begun))
}

type Planned = (String, Result<(Plan, Vec<StartedExecution>), Refusal>);

/// Resumptions of one execution under two keys have places in common, and so have those that go back to them: under one key
/// one of them is resumed. That is the one that was before, or else the one that came last and knows best what is left.
fn refuse_shared(planned: &mut [Planned], resumptions: &Resumptions, key: &str) {
    let mut taken: Vec<(String, Vec<Branch>)> =
        resumptions.under(key).into_iter().map(|id| (id.to_owned(), resumptions.branches(id, key))).collect();
    let mut due: Vec<(usize, Vec<Branch>)> = Vec::new();
    for (index, (id, plan)) in planned.iter().enumerate() {
        if plan.as_ref().is_ok_and(|(plan, _)| !plan.parts.is_empty()) {
            due.push((index, resumptions.branches(id, key)));
        }
    }
    due.sort_by_key(|(_, branches)| Reverse(branches.len()));
    for (index, branches) in due {
        let (id, plan) = &mut planned[index];
        if let Some((other, _)) = taken.iter().find(|(other, theirs)| other != id && part_ways(&branches, theirs)) {
            let message = format!(
                "it and {other}, which is resumed under this key, go back to the same execution and have accounts and Regions \
                 in common; name the one that is to be resumed, or give another IdempotencyKey"
            );
            *plan = Err(Refusal::Failed { code: "NotResumable".to_owned(), message });
        } else {
            taken.push((id.clone(), branches));
        }
    }
}

/// Whether two resumptions go back to one execution that was resumed under two keys. What was resumed under one has parts
/// without anything in common.
fn part_ways(one: &[Branch], other: &[Branch]) -> bool {
    let parting = one.iter().zip(other).find(|(one, other)| one != other);
    parting.is_some_and(|(one, other)| one.resumed == other.resumed)
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
