//! `Start` and `Preview`.

use std::time::Duration;

use hub::AwsError;

use super::attempts::{NO_TIME_TO_START, first_was_stopped};
use super::history::value;
use super::read::{GET, Origin};
use super::stop::STOPPED_TAG_KEY;
use super::{DEADLINE_EXCEEDED, NO_ANSWER_IN_TIME, NOT_FOUND, NOT_TRIED, Run, STOPPED, too_late};
use crate::answer::{Failure, Machine, PlannedStart, StartAnswer, StartedExecution, StatusAnswer};
use crate::error::FanoutError;
use crate::event::Order;
use crate::log;
use crate::plan::advice::{self, Facts, Unread};
use crate::plan::problem::{Path, Problem};
use crate::plan::request::{PARAMETER_VALUES, StartRequest, Target, TargetLocation};
use crate::plan::{Part, Plan, TokenSource, plan};
use crate::ports::{Node, World};

/// What the service says where another request has this token.
pub(super) const MISMATCH: &str = "IdempotentParameterMismatch";
/// Lambda returns at most 6 MB; this leaves room for what a preview tells beside the requests.
const REQUESTS_BYTES_MAX: usize = 4_000_000;
/// What the service says of the tags of an execution that it does not know.
const NO_RESOURCE: &str = "InvalidResourceId";
/// There may be room later.
pub(super) const LIMIT_EXCEEDED: &str = "AutomationExecutionLimitExceededException";

/// The starts of one plan, in their order.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) parts: Vec<Part>,
    /// The execution that they resume.
    pub(super) resumes: Option<String>,
    /// The execution of the first start, where it was started before.
    pub(super) begun: Option<String>,
}

/// A request that is ready to be sent.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) key: String,
    pub(super) facts: Facts,
    pub(super) request: StartRequest,
    pub(super) machines: Vec<Machine>,
}

impl<W: World> Run<'_, W> {
    pub(super) async fn start(&mut self, order: Order) -> Result<StartAnswer, FanoutError> {
        let wait = order.wait;
        let Prepared { plan: Plan { parts, notes }, key, machines, .. } = self.prepare(order, false).await?;
        let answer = StartAnswer { action: "Start", idempotency_key: key, notes, machines, ..StartAnswer::default() };
        self.start_all(vec![Due { parts, resumes: None, begun: None }], answer, wait).await
    }

    /// A wave is started under the key `<campaign>/<wave>`, and under that key nothing else is.
    pub(super) async fn belongs_to_no_campaign(&mut self, key: Option<&str>) -> Result<(), FanoutError> {
        let Some(key) = key.filter(|key| key.contains('/')) else { return Ok(()) };
        let waves = self.started(|tag| tag.is_of_a_campaign() && tag.is_of_key(key)).await;
        let waves = waves.map_err(FanoutError::NotListed)?;
        let Some((wave, _)) = waves.first() else { return Ok(()) };
        let text =
            format!("expected a key that no wave of a campaign has, got {key:?}, under which {} was started", wave.id);
        Err(FanoutError::InvalidRequest(vec![Problem::new(Path::Root.field("IdempotencyKey"), text)]))
    }

    pub(super) async fn preview(&mut self, order: Order) -> Result<StartAnswer, FanoutError> {
        let has_key = order.idempotency_key.is_some() || order.request.client_token.is_some();
        let Prepared { plan, key, facts, request, machines } = self.prepare(order, true).await?;
        let advice = advice::notes(&request, &plan, &facts, self.allowed());
        let Plan { parts, mut notes } = plan;
        notes.extend(advice);
        if !has_key {
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
        let planned = parts.iter().map(planned).collect();
        let (requests, omitted) = shown(parts, REQUESTS_BYTES_MAX);
        if omitted > 0 {
            notes.push(format!(
                "Requests: the first {} of {}, since an answer has no room for more",
                requests.len(),
                requests.len() + omitted
            ));
        }
        Ok(StartAnswer {
            action: "Preview",
            complete: true,
            idempotency_key: key,
            planned,
            requests,
            machines,
            notes,
            ..StartAnswer::default()
        })
    }

    /// Checks a request against what is known, and plans it.
    pub(super) async fn prepare(&mut self, order: Order, with_steps: bool) -> Result<Prepared, FanoutError> {
        if order.wave.is_none() {
            self.belongs_to_no_campaign(order.idempotency_key.as_deref()).await?;
        }
        let key = self.idempotency_key(&order);
        let Order { mut request, mut split, matching, all_targets, wave, .. } = order;
        let mut machines = Vec::new();
        let mut notes = Vec::new();
        if !matching.is_empty() {
            let found = self.matched(&request, &matching).await?;
            notes.push(format!("Match: {} managed nodes fit", found.len()));
            if request.target_locations.is_empty() {
                let location = self.home()?;
                notes.push(format!(
                    "TargetLocations: {} in {} is added, where the nodes are",
                    location.accounts.join(""),
                    location.regions.join("")
                ));
                request.target_locations = vec![location];
            }
            let values = found.iter().map(|node| node.id.clone()).collect();
            request.targets = vec![Target { key: PARAMETER_VALUES.to_owned(), values }];
            split = crate::plan::split(&request).map_err(FanoutError::InvalidRequest)?;
            let machine = |node: Node| Machine { node_id: node.id, name: node.name, source: node.source };
            machines = found.into_iter().map(machine).collect();
        }
        let facts = self.facts(&request, with_steps).await;
        refuse(&request, all_targets, &facts)?;
        let (role, words) = advice::role(&request, &facts.runbook, &self.config.administration_role_arn);
        notes.extend(Some(words).filter(|words| !words.is_empty()));
        notes.extend(advice::without_targets(&request));
        let tokens = TokenSource { wave, ..TokenSource::of(&key) };
        let mut plan = plan(&request, &split, role, &tokens).map_err(FanoutError::InvalidRequest)?;
        plan.notes.splice(0..0, notes);
        Ok(Prepared { plan, key, facts, request, machines })
    }

    /// The nodes of the central account that fit all tags.
    async fn matched(&self, request: &StartRequest, matching: &[Target]) -> Result<Vec<Node>, FanoutError> {
        let path = Path::Root.field("Match");
        let refuse = |text: String| FanoutError::InvalidRequest(vec![Problem::new(path, text)]);
        let (account, region) = (self.config.account(), self.config.region.as_deref().unwrap_or_default());
        let elsewhere = |location: &TargetLocation| {
            location.accounts.iter().any(|one| one != account) || location.regions.iter().any(|one| one != region)
        };
        if request.target_locations.iter().any(elsewhere) {
            return Err(refuse(format!(
                "expected {account} in {region} as the only account and Region, because managed nodes of others cannot be \
                 looked up from here; name a resource group that has all the tags there, as {{\"Key\": \"ResourceGroup\"}}"
            )));
        }
        let nodes = self.in_time("tag:GetResources", self.world.nodes(matching)).await;
        let nodes = nodes.map_err(FanoutError::NotListed)?;
        if nodes.is_empty() {
            let tags: Vec<String> =
                matching.iter().map(|target| format!("{}={}", target.key, target.values.join("|"))).collect();
            return Err(refuse(format!("expected tags that managed nodes have, got none with {}", tags.join(" and "))));
        }
        Ok(nodes)
    }

    /// The account and Region of the function as a location.
    fn home(&self) -> Result<TargetLocation, FanoutError> {
        let Some(region) = self.config.region.clone() else {
            let text = "expected the central account as a location, got nothing";
            return Err(FanoutError::InvalidRequest(vec![Problem::new(Path::Root.field("TargetLocations"), text)]));
        };
        Ok(TargetLocation {
            accounts: vec![self.config.account().to_owned()],
            regions: vec![region],
            ..TargetLocation::default()
        })
    }

    /// The caller's key, or the token that a file for the command line carries, or the id of the invocation.
    fn idempotency_key(&self, order: &Order) -> String {
        let given = order.idempotency_key.as_ref().or(order.request.client_token.as_ref());
        given.cloned().unwrap_or_else(|| self.request_id.to_owned())
    }

    /// Starts one after the other, then follows what was started for as long as the caller waits.
    pub(super) async fn start_all(
        &mut self,
        due: Vec<Due>,
        mut answer: StartAnswer,
        wait: Duration,
    ) -> Result<StartAnswer, FanoutError> {
        for due in due {
            self.start_in_order(due, &mut answer).await;
        }
        answer.complete = answer.failed.is_empty();
        log::starts(&answer);
        if answer.executions.is_empty() && !answer.complete {
            return Err(FanoutError::NothingStarted(Box::new(answer)));
        }
        answer.status = self.follow(&answer.executions, wait).await;
        Ok(answer)
    }

    /// The first part first: with it the request takes its key. While it is not known to be started, or once a part is
    /// refused for good, nothing that follows is tried, so that no location is started by two requests under one key.
    /// Nor is anything once the execution of the first start was stopped.
    async fn start_in_order(&mut self, due: Due, answer: &mut StartAnswer) {
        let Due { parts, resumes, mut begun } = due;
        let resumes = resumes.as_deref();
        let mut halted: Option<Failure> = None;
        for part in parts {
            if let Some(first) = begun.as_deref().filter(|_| halted.is_none()) {
                halted = self.halted(first).await;
            }
            if let Some(failure) = &halted {
                answer.failed.push(Failure {
                    client_token: Some(token(&part)),
                    automation_execution_id: resumes.map(str::to_owned),
                    ..failure.clone()
                });
                continue;
            }
            match self.start_one(part, resumes, begun.as_deref()).await {
                Ok(started) => {
                    begun.get_or_insert_with(|| started.automation_execution_id.clone());
                    answer.executions.push(started);
                }
                Err((failure, is_final)) => {
                    if is_final || begun.is_none() {
                        halted = Some(Failure {
                            code: NOT_TRIED.to_owned(),
                            message: format!("not tried, because of the {} of an earlier start", failure.code),
                            ..Failure::default()
                        });
                    }
                    answer.failed.push(failure);
                }
            }
        }
    }

    /// Why nothing is started after a first part that somebody stopped, or may have stopped.
    async fn halted(&mut self, first: &str) -> Option<Failure> {
        let halted =
            |code: &str, message: String| Some(Failure { code: code.to_owned(), message, ..Failure::default() });
        match self.was_stopped(first).await {
            Ok(true) => halted(STOPPED, first_was_stopped(first)),
            // It was started a moment ago, and what is not shown yet nobody can stop.
            Err(error) if [NOT_FOUND, NO_RESOURCE].contains(&error.code.as_str()) => None,
            Ok(false) => None,
            Err(error) if error.code == DEADLINE_EXCEEDED && error.message != NO_ANSWER_IN_TIME => {
                halted(DEADLINE_EXCEEDED, NO_TIME_TO_START.to_owned())
            }
            Err(error) => halted(
                NOT_TRIED,
                format!(
                    "not tried, because it is not known whether the execution {first} of the first start was stopped: {error}"
                ),
            ),
        }
    }

    pub(super) async fn was_stopped(&mut self, id: &str) -> Result<bool, AwsError> {
        if !self.reads.turn(self.begin_until).await {
            return Err(too_late(GET, NO_TIME_TO_START));
        }
        let execution = self.in_time(GET, self.world.execution(id)).await?;
        // One that is to complete what runs says nothing about it.
        Ok(execution.status.is_stopped() || value(&self.tags(id).await?, STOPPED_TAG_KEY).is_some())
    }

    /// A start, or why not, and whether trying again cannot help.
    async fn start_one(
        &mut self,
        part: Part,
        resumes: Option<&str>,
        first: Option<&str>,
    ) -> Result<StartedExecution, (Failure, bool)> {
        let client_token = token(&part);
        match self.attempt_start(&part.request, first).await {
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
                Ok(started(automation_execution_id, &part, resumes))
            }
            Err(error) => {
                tracing::warn!(token = client_token, code = error.code, resumes, "execution not started");
                let is_final = !error.retryable && error.code != LIMIT_EXCEEDED;
                let failure = Failure {
                    client_token: Some(client_token),
                    automation_execution_id: resumes.map(str::to_owned),
                    retryable: error.retryable,
                    ..explained(&error)
                };
                Err((failure, is_final))
            }
        }
    }

    async fn follow(&mut self, started: &[StartedExecution], wait: Duration) -> Option<StatusAnswer> {
        if wait.is_zero() || started.is_empty() {
            return None;
        }
        let ids: Vec<&str> = started.iter().map(|started| started.automation_execution_id.as_str()).collect();
        let readings = self.read(&ids, Origin::Started, wait).await;
        Some(super::read::answer(readings))
    }
}

/// Refuses a request by what is known about it.
pub(super) fn refuse(request: &StartRequest, all_targets: bool, facts: &Facts) -> Result<(), FanoutError> {
    let refusals = advice::refusals(request, all_targets, facts);
    let whatever_the_runbook = Facts { runbook: Err(Unread::NotThere), ..facts.clone() };
    match &facts.runbook {
        _ if refusals.is_empty() => Ok(()),
        Err(Unread::Failed { reason, may_pass: true })
            if advice::refusals(request, all_targets, &whatever_the_runbook).is_empty() =>
        {
            Err(FanoutError::RunbookNotRead(reason.clone()))
        }
        _ => Err(FanoutError::InvalidRequest(refusals)),
    }
}

/// The requests that fit into so many bytes of JSON, and how many do not.
fn shown(parts: Vec<Part>, bytes_max: usize) -> (Vec<StartRequest>, usize) {
    let (count, mut room) = (parts.len(), bytes_max);
    let fits = |request: &StartRequest| {
        let size = serde_json::to_vec(request).map_or(usize::MAX, |json| json.len());
        room.checked_sub(size).inspect(|left| room = *left).is_some()
    };
    let requests: Vec<StartRequest> = parts.into_iter().map(|part| part.request).take_while(fits).collect();
    let omitted = count - requests.len();
    (requests, omitted)
}

/// The execution of a part.
pub(super) fn started(automation_execution_id: String, part: &Part, resumes: Option<&str>) -> StartedExecution {
    StartedExecution {
        automation_execution_id,
        client_token: token(part),
        target_locations: part.target_locations,
        account_region_pairs: part.pairs,
        resumes: resumes.map(str::to_owned),
    }
}

fn token(part: &Part) -> String {
    part.request.client_token.clone().unwrap_or_default()
}

/// The service's words, and what they mean here.
fn explained(error: &AwsError) -> Failure {
    let message = match error.code.as_str() {
        MISMATCH => format!(
            "this token already started another request, so nothing was started; send the original request again, or use \
             another IdempotencyKey ({})",
            error.message
        ),
        DEADLINE_EXCEEDED if error.message == NO_ANSWER_IN_TIME => {
            format!("{}; it may have started: invoke the function again with the same IdempotencyKey", error.message)
        }
        "AccessDeniedException" => format!(
            "{}; automation-fanout may start what AwsRunbooks and OwnRunbooks of fanout.yaml name, and pass the \
             administration role alone",
            error.message
        ),
        _ => error.message.clone(),
    };
    Failure { code: error.code.clone(), message, ..Failure::default() }
}
