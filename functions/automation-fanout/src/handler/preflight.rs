//! `Preflight`: a harmless runbook over the locations of a request, and what it came to.

use std::time::Duration;

use super::Run;
use super::read::{Origin, Reading};
use super::start::Prepared;
use crate::answer::{Failure, PreflightAnswer, StartAnswer, failure_groups};
use crate::config::PREFLIGHT_RUNBOOK;
use crate::error::FanoutError;
use crate::event::{Order, Preflight};
use crate::plan::limit::Limit;
use crate::plan::problem::{Path, Problem};
use crate::plan::request::{StartRequest, TargetLocation};
use crate::plan::{TokenSource, advice, plan, split};
use crate::ports::World;

/// The parameter that takes the runbook which is to be run later.
const RUNBOOK_PARAMETER: &str = "Runbook";
/// How long it is waited for where the caller does not say.
const USUAL_WAIT: Duration = Duration::from_mins(10);
const NO_SUCH_RUNBOOK: &str = "AutomationDefinitionNotFoundException";

impl<W: World> Run<'_, W> {
    pub(super) async fn preflight(&mut self, preflight: Preflight) -> Result<PreflightAnswer, FanoutError> {
        match preflight {
            Preflight::Begin { order, is_brief } => {
                self.try_out(order).await.map(|answer| if is_brief { brief(answer) } else { answer })
            }
            Preflight::Look { executions, wait, is_brief } => {
                let readings = self.read_asked(&executions, wait).await?;
                let answer = answer(&readings, Vec::new(), Vec::new());
                Ok(if is_brief { brief(answer) } else { answer })
            }
        }
    }

    /// Runs the harmless runbook, and waits for it.
    async fn try_out(&mut self, order: Order) -> Result<PreflightAnswer, FanoutError> {
        let wait = if order.wait.is_zero() { USUAL_WAIT } else { order.wait };
        let request = order.request.clone();
        let notes = self.advice(order).await?;
        let trial = trial(&request, &self.config.preflight_runbook()).map_err(FanoutError::InvalidRequest)?;
        let runbook = self.runbook(&trial).await;
        let (role, _) = advice::role(&trial, &runbook, &self.config.administration_role_arn);
        // Another preflight is another try, whatever was found before.
        let tokens = TokenSource::of(format!("preflight/{}", self.request_id));
        let parts = split(&trial)
            .and_then(|split| plan(&trial, &split, role, &tokens))
            .map_err(FanoutError::InvalidRequest)?
            .parts;
        let started = StartAnswer { action: "Preflight", idempotency_key: tokens.key, ..StartAnswer::default() };
        let due = super::start::Due { parts, resumes: None, begun: None };
        let started = self.start_all(vec![due], started, Duration::ZERO).await.map_err(|error| match error {
            FanoutError::NothingStarted(mut answer) => {
                for failure in answer.failed.iter_mut().filter(|failure| failure.code == NO_SUCH_RUNBOOK) {
                    failure.message.push_str("; deploy cfn/preflight-runbook.yaml and share it with the accounts");
                }
                FanoutError::NothingStarted(answer)
            }
            error => error,
        })?;
        let ids: Vec<&str> =
            started.executions.iter().map(|started| started.automation_execution_id.as_str()).collect();
        let readings = self.read(&ids, Origin::Started, wait).await;
        Ok(answer(&readings, started.failed, notes))
    }

    /// What is known about the request itself without any try.
    async fn advice(&mut self, mut order: Order) -> Result<Vec<String>, FanoutError> {
        let targets = order.request.targets.is_empty()
            && order.request.target_maps.is_empty()
            && order.request.target_locations.iter().all(|location| location.targets.is_empty());
        // Nothing that the request would do is done, so that it needs no word about its targets.
        order.all_targets = targets && order.matching.is_empty();
        let Prepared { plan, facts, request, .. } = self.prepare(order, false).await?;
        let mut notes = plan.notes.clone();
        notes.extend(advice::notes(&request, &plan, &facts, self.allowed()));
        Ok(notes)
    }
}

/// The runbook of a preflight over the locations of a request.
fn trial(request: &StartRequest, runbook: &str) -> Result<StartRequest, Vec<Problem>> {
    if request.target_locations.is_empty() {
        let text = format!("expected locations to try {PREFLIGHT_RUNBOOK} in, got nothing");
        return Err(vec![Problem::new(Path::Root.field("TargetLocations"), text)]);
    }
    let mut locations: Vec<TargetLocation> = Vec::new();
    for location in &request.target_locations {
        let tried = TargetLocation {
            targets: Vec::new(),
            targets_max_concurrency: None,
            targets_max_errors: None,
            target_location_alarm_configuration: None,
            // One failure is no reason not to try the others.
            target_location_max_concurrency: Some(Limit::Percent(100)),
            target_location_max_errors: Some(Limit::Percent(100)),
            ..location.clone()
        };
        // Locations that differ in their targets alone are tried once.
        if !locations.contains(&tried) {
            locations.push(tried);
        }
    }
    Ok(StartRequest {
        document_name: runbook.to_owned(),
        parameters: [(RUNBOOK_PARAMETER.to_owned(), vec![request.document_name.clone()])].into(),
        target_locations: locations,
        ..StartRequest::default()
    })
}

/// What the state machine of a campaign needs of an answer.
fn brief(answer: PreflightAnswer) -> PreflightAnswer {
    PreflightAnswer { problems: super::verdict::brief(answer.problems), notes: Vec::new(), ..answer }
}

fn answer(readings: &[Reading], failed: Vec<Failure>, notes: Vec<String>) -> PreflightAnswer {
    let executions: Vec<_> =
        readings.iter().filter_map(|reading| Some((reading.execution.as_ref()?, reading.all_steps_read))).collect();
    let problems = failure_groups(&executions);
    let complete = executions.len() == readings.len()
        && executions.iter().all(|(execution, all_steps_read)| execution.status.is_terminal() && *all_steps_read);
    let is_well = executions.iter().all(|(execution, _)| execution.status.is_success());
    let ready = complete && is_well && problems.is_empty() && failed.is_empty();
    let count: usize = problems.iter().map(|problem| problem.count).sum();
    let summary = match (ready, complete) {
        (true, _) => "ready: every account and Region answered".to_owned(),
        (false, false) => "not known yet: look again with the same AutomationExecutionIds".to_owned(),
        (false, true) if count == 1 => "not ready: 1 account and Region did not answer well".to_owned(),
        (false, true) => format!("not ready: {count} accounts and Regions did not answer well"),
    };
    tracing::info!(ready, complete, problems = count, "preflight done");
    PreflightAnswer {
        action: "Preflight",
        ready,
        complete,
        summary,
        problems,
        automation_execution_ids: readings.iter().map(|reading| reading.id.clone()).collect(),
        failed,
        notes,
    }
}
