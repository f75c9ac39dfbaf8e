//! `Preflight`: a harmless runbook over the locations of a request, and what it came to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hub::Tag;

use super::Run;
use super::read::{Origin, Reading};
use super::start::Prepared;
use super::verdict::too_many_steps;
use super::wave::passing;
use crate::answer::{Failure, PreflightAnswer, StartAnswer, failure_groups};
use crate::config::PREFLIGHT_RUNBOOK;
use crate::error::FanoutError;
use crate::event::{Asked, Order, Preflight};
use crate::plan::execution::Execution;
use crate::plan::limit::Limit;
use crate::plan::problem::{Path, Problem};
use crate::plan::request::{StartRequest, TargetLocation, is_unit};
use crate::plan::{Pair, REQUEST_TAG_KEY, TokenSource, advice, plan, rectangles, split_alone};
use crate::ports::World;

/// The parameter that takes the runbook which is to be run later.
const RUNBOOK_PARAMETER: &str = "Runbook";
/// How long it is waited for where the caller does not say.
const USUAL_WAIT: Duration = Duration::from_mins(10);
/// On an execution of a preflight: `<the number of the start>/<how many there are>`.
const PREFLIGHT_TAG_KEY: &str = "tag-hub:preflight";
/// The code of a start that is missing.
const NOT_STARTED: &str = "NotStarted";
const NO_SUCH_RUNBOOK: &str = "AutomationDefinitionNotFoundException";

impl<W: World> Run<'_, W> {
    pub(super) async fn preflight(&mut self, preflight: Preflight) -> Result<PreflightAnswer, FanoutError> {
        match preflight {
            Preflight::Begin { order, is_brief } => {
                let tried = self.try_out(order).await;
                if !is_brief {
                    return tried;
                }
                tried.map(brief).or_else(|error| passing(error).map(|reason| not_yet(&reason)))
            }
            Preflight::Look { executions, wait, is_brief } => {
                let readings = self.read_asked(&executions, wait).await?;
                self.refuse_others(&executions, &readings)?;
                let failed = self.not_started(&readings).await;
                let answer = answer(&readings, failed, Vec::new());
                Ok(if is_brief { brief(answer) } else { answer })
            }
        }
    }

    /// Runs the harmless runbook, and waits for it.
    async fn try_out(&mut self, order: Order) -> Result<PreflightAnswer, FanoutError> {
        let wait = if order.wait.is_zero() { USUAL_WAIT } else { order.wait };
        let (notes, request) = self.advice(order).await?;
        let trial = trial(&request, &self.config.preflight_runbook()).map_err(FanoutError::InvalidRequest)?;
        let runbook = self.runbook(&trial).await;
        let (role, _) = advice::role(&trial, &runbook, &self.config.administration_role_arn);
        // Another preflight is another try, whatever was found before.
        let tokens = TokenSource::of(format!("preflight/{}", self.request_id));
        let mut parts = split_alone(&trial)
            .and_then(|split| plan(&trial, &split, role, &tokens))
            .map_err(FanoutError::InvalidRequest)?
            .parts;
        let count = parts.len();
        for (index, part) in parts.iter_mut().enumerate() {
            part.request.tags.push(Tag { key: PREFLIGHT_TAG_KEY.to_owned(), value: format!("{index}/{count}") });
        }
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

    /// Refuses executions that are no preflight, whose end says nothing about one.
    fn refuse_others(&self, asked: &[Asked], readings: &[Reading]) -> Result<(), FanoutError> {
        let runbook = self.config.preflight_runbook();
        let mut problems = Vec::new();
        for reading in readings {
            let Some(execution) = &reading.execution else { continue };
            let name = &execution.request.document_name;
            if short(name) != short(&runbook) {
                let asked = asked.iter().find(|asked| asked.id.eq_ignore_ascii_case(&reading.id));
                let path = asked.map_or("AutomationExecutionIds", |asked| &asked.path);
                let text =
                    format!("expected an execution of {}, got {}, which is one of {name}", short(&runbook), reading.id);
                problems.push(Problem::new(path, text));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(FanoutError::InvalidRequest(problems)) }
    }

    /// The parts of a preflight that none of these executions is. Each has a tag that says how many there are.
    async fn not_started(&mut self, readings: &[Reading]) -> Vec<Failure> {
        let mut failed = Vec::new();
        let mut found: BTreeMap<(String, usize), BTreeSet<usize>> = BTreeMap::new();
        for Reading { id, .. } in readings.iter().filter(|reading| reading.execution.is_some()) {
            let unknown = |code: &str, why: &str| Failure {
                automation_execution_id: Some(id.clone()),
                code: code.to_owned(),
                message: format!("it is not known whether all of the preflight was started: {why}"),
                ..Failure::default()
            };
            match self.tags(id).await {
                Ok(tags) => match preflight_part(&tags) {
                    Some((preflight, part, count)) => drop(found.entry((preflight, count)).or_default().insert(part)),
                    None => failed.push(unknown(NOT_STARTED, &format!("it has no tag {PREFLIGHT_TAG_KEY}"))),
                },
                Err(error) => failed.push(unknown(&error.code, &error.message)),
            }
        }
        for ((_, count), parts) in found {
            for part in (0..count).filter(|part| !parts.contains(part)) {
                let message =
                    format!("start {} of {count} of the preflight did not go through, or is not named", part + 1);
                failed.push(Failure { code: NOT_STARTED.to_owned(), message, ..Failure::default() });
            }
        }
        failed
    }

    /// What is known about the request itself without any try, and the request as it would be started.
    async fn advice(&mut self, order: Order) -> Result<(Vec<String>, StartRequest), FanoutError> {
        let Prepared { plan, facts, request, .. } = self.prepare(order, false).await?;
        let mut notes = plan.notes.clone();
        notes.extend(advice::notes(&request, &plan, &facts, self.allowed()));
        Ok((notes, request))
    }
}

/// Which preflight an execution belongs to, which of its starts it is, and how many there are.
fn preflight_part(tags: &[Tag]) -> Option<(String, usize, usize)> {
    let value = |key: &str| tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str());
    let (part, count) = value(PREFLIGHT_TAG_KEY)?.split_once('/')?;
    Some((value(REQUEST_TAG_KEY)?.to_owned(), part.parse().ok()?, count.parse().ok()?))
}

/// The name of a runbook without the rest of its ARN.
fn short(runbook: &str) -> &str {
    let name = runbook.rsplit('/').next().unwrap_or(runbook);
    name.split(':').next().unwrap_or(name)
}

fn pairs_of<'a>(account: &'a str, regions: &'a [String]) -> impl Iterator<Item = Pair> + 'a {
    regions.iter().map(move |region| (account.to_owned(), region.clone()))
}

/// The runbook of a preflight over the locations of a request.
fn trial(request: &StartRequest, runbook: &str) -> Result<StartRequest, Vec<Problem>> {
    if request.target_locations.is_empty() {
        let text = format!("expected locations to try {PREFLIGHT_RUNBOOK} in, got nothing");
        return Err(vec![Problem::new(Path::Root.field("TargetLocations"), text)]);
    }
    let mut locations: Vec<TargetLocation> = Vec::new();
    let mut seen: BTreeMap<String, BTreeSet<Pair>> = BTreeMap::new();
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
        // What differs in its targets alone is tried once.
        let seen = seen.entry(location.execution_role().to_owned()).or_default();
        let all: BTreeSet<Pair> = tried.reached().flat_map(|account| pairs_of(account, &tried.regions)).collect();
        // A unit that leaves others out reaches other accounts.
        let reach = |(account, region): &Pair| {
            let TargetLocation { include_child_organization_units, exclude_accounts, .. } = location;
            let reach = is_unit(account).then(|| format!("{include_child_organization_units} {exclude_accounts:?}"));
            (format!("{account} {}", reach.unwrap_or_default()), region.clone())
        };
        let new: BTreeSet<Pair> = all.iter().filter(|pair| !seen.contains(&reach(pair))).cloned().collect();
        if new.len() == all.len() {
            locations.push(tried);
        } else {
            let areas = rectangles(&new).into_iter();
            locations.extend(areas.map(|(accounts, regions)| TargetLocation { accounts, regions, ..tried.clone() }));
        }
        seen.extend(new.iter().map(reach));
    }
    Ok(StartRequest {
        document_name: runbook.to_owned(),
        parameters: [(RUNBOOK_PARAMETER.to_owned(), vec![request.document_name.clone()])].into(),
        target_locations: locations,
        ..StartRequest::default()
    })
}

/// What a campaign is answered whose preflight may be started later.
fn not_yet(reason: &str) -> PreflightAnswer {
    PreflightAnswer {
        action: "Preflight",
        ready: false,
        complete: false,
        summary: format!("nothing is started yet: {reason}"),
        problems: Vec::new(),
        automation_execution_ids: Vec::new(),
        failed: Vec::new(),
        notes: Vec::new(),
    }
}

/// What the state machine of a campaign needs of an answer.
fn brief(answer: PreflightAnswer) -> PreflightAnswer {
    PreflightAnswer { problems: super::verdict::brief(answer.problems), notes: Vec::new(), ..answer }
}

fn answer(readings: &[Reading], failed: Vec<Failure>, notes: Vec<String>) -> PreflightAnswer {
    let executions: Vec<_> =
        readings.iter().filter_map(|reading| Some((reading.execution.as_ref()?, reading.all_steps_read))).collect();
    let problems = failure_groups(&executions);
    let too_many_steps = too_many_steps(&executions).is_some();
    let has_ended = |(execution, all_steps_read): &(&Execution, bool)| {
        execution.status.is_terminal() && (*all_steps_read || too_many_steps)
    };
    let complete = executions.len() == readings.len() && executions.iter().all(has_ended);
    // One that came to no account says nothing about any.
    let is_well = executions.iter().all(|(execution, _)| execution.status.is_success() && !execution.steps.is_empty());
    let ready = complete && is_well && !too_many_steps && problems.is_empty() && failed.is_empty();
    let count: usize = problems.iter().map(|problem| problem.count).sum();
    let summary = match (ready, complete) {
        (true, _) => "ready: every account and Region answered".to_owned(),
        (false, false) => "not known yet: look again with the same AutomationExecutionIds".to_owned(),
        (false, true) if too_many_steps => {
            "not ready: it has more steps than one invocation can read; try fewer accounts and Regions at once"
                .to_owned()
        }
        (false, true) if count == 1 => "not ready: 1 account and Region did not answer well".to_owned(),
        (false, true) if count > 1 => format!("not ready: {count} accounts and Regions did not answer well"),
        (false, true) if !failed.is_empty() => "not ready: not all of it was started".to_owned(),
        (false, true) => "not ready: not every execution came to an account and ended well".to_owned(),
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
