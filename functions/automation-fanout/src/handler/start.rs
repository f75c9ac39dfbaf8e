//! `Start` and `Preview`.

use std::time::Duration;

use hub::AwsError;

use super::read::Origin;
use super::{Automation, DEADLINE_EXCEEDED, NO_ANSWER_IN_TIME, Run};
use crate::answer::{Failure, PlannedStart, StartAnswer, StartedExecution, StatusAnswer};
use crate::error::FanoutError;
use crate::event::Order;
use crate::plan::{Part, Plan, TokenSource, plan};

/// A start, and what it belongs to.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) part: Part,
    /// The execution that it resumes.
    pub(super) resumes: Option<String>,
}

impl<A: Automation> Run<'_, A> {
    pub(super) async fn start(&mut self, order: Order) -> Result<StartAnswer, FanoutError> {
        let key = self.idempotency_key(&order);
        let Plan { parts, notes } = self.plan(&order, &key)?;
        let due = parts.into_iter().map(|part| Due { part, resumes: None }).collect();
        let answer = StartAnswer { action: "Start", idempotency_key: key, notes, ..StartAnswer::default() };
        self.start_all(due, answer, order.wait).await
    }

    pub(super) fn preview(&self, order: &Order) -> Result<StartAnswer, FanoutError> {
        let key = self.idempotency_key(order);
        let Plan { parts, mut notes } = self.plan(order, &key)?;
        if order.idempotency_key.is_none() && order.request.client_token.is_none() {
            notes.push(
                "without an IdempotencyKey the tokens come from the invocation's id, so that a Start will have others"
                    .to_owned(),
            );
        }
        let planned = |part: &Part| PlannedStart {
            client_token: token(part),
            target_locations: part.target_locations,
            account_region_pairs: part.pairs,
        };
        Ok(StartAnswer {
            action: "Preview",
            complete: true,
            idempotency_key: key,
            planned: parts.iter().map(planned).collect(),
            requests: parts.into_iter().map(|part| part.request).collect(),
            notes,
            ..StartAnswer::default()
        })
    }

    /// The caller's key, or the token that a file for the command line carries, or the id of the invocation.
    fn idempotency_key(&self, order: &Order) -> String {
        let key = order.idempotency_key.as_ref().or(order.request.client_token.as_ref());
        key.cloned().unwrap_or_else(|| self.request_id.to_owned())
    }

    fn plan(&self, order: &Order, key: &str) -> Result<Plan, FanoutError> {
        let tokens = TokenSource { key: key.to_owned(), resumes: None };
        plan(&order.request, &self.config.administration_role_arn, &tokens).map_err(FanoutError::InvalidRequest)
    }

    /// Starts one after the other, then follows what was started for as long as the caller waits.
    pub(super) async fn start_all(
        &mut self,
        due: Vec<Due>,
        mut answer: StartAnswer,
        wait: Duration,
    ) -> Result<StartAnswer, FanoutError> {
        for due in due {
            match self.start_one(due).await {
                Ok(started) => answer.executions.push(started),
                Err(failure) => answer.failed.push(failure),
            }
        }
        answer.complete = answer.failed.is_empty();
        tracing::info!(
            action = answer.action,
            complete = answer.complete,
            executions_started = answer.executions.len(),
            starts_failed = answer.failed.len(),
            target_locations = answer.executions.iter().filter_map(|started| started.target_locations).sum::<usize>(),
            "starts worked off"
        );
        if answer.executions.is_empty() && !answer.complete {
            return Err(FanoutError::NothingStarted(Box::new(answer)));
        }
        answer.status = self.follow(&answer.executions, wait).await;
        Ok(answer)
    }

    async fn start_one(&mut self, Due { part, resumes }: Due) -> Result<StartedExecution, Failure> {
        let client_token = token(&part);
        let result = self.attempt_start(&part.request).await;
        match result.map_err(|error| explained(&error)) {
            Ok(automation_execution_id) => {
                tracing::info!(
                    execution = automation_execution_id,
                    token = client_token,
                    document = part.request.document_name,
                    locations = part.target_locations,
                    pairs = part.pairs,
                    resumes,
                    "execution started"
                );
                Ok(StartedExecution {
                    automation_execution_id,
                    client_token,
                    target_locations: part.target_locations,
                    account_region_pairs: part.pairs,
                    resumes,
                })
            }
            Err(failure) => {
                tracing::warn!(token = client_token, code = failure.code, resumes, "execution not started");
                Err(Failure { client_token: Some(client_token), automation_execution_id: resumes, ..failure })
            }
        }
    }

    async fn follow(&mut self, started: &[StartedExecution], wait: Duration) -> Option<StatusAnswer> {
        if wait.is_zero() || started.is_empty() {
            return None;
        }
        let ids: Vec<&str> = started.iter().map(|started| started.automation_execution_id.as_str()).collect();
        let readings = self.read(&ids, Origin::Started, wait).await;
        Some(super::read::answer(&readings))
    }
}

fn token(part: &Part) -> String {
    part.request.client_token.clone().unwrap_or_default()
}

/// The service's words, and what they mean here.
fn explained(error: &AwsError) -> Failure {
    let message = match error.code.as_str() {
        "IdempotentParameterMismatch" => format!(
            "another request was started under this token before, and nothing was started now; give the same request \
             as then, or another IdempotencyKey ({})",
            error.message
        ),
        DEADLINE_EXCEEDED if error.message == NO_ANSWER_IN_TIME => {
            format!("{}; it may have started: invoke the function again with the same IdempotencyKey", error.message)
        }
        _ => error.message.clone(),
    };
    Failure { code: error.code.clone(), message, ..Failure::default() }
}
