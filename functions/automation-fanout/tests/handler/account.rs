//! Automation in memory: executions, their children, the calls made, and failures on demand.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use automation_fanout::event::{Query, Signal, StopType};
use automation_fanout::plan::advice::KnownRegion;
use automation_fanout::plan::execution::{Execution, Listed, Step};
use automation_fanout::plan::request::{StartRequest, Target, TargetLocation};
use automation_fanout::plan::runbook::{Parameter, Runbook};
use automation_fanout::ports::{Automation, CalendarState, ExecutionPage, Facts, History, Node, StepPage};
use hub::{AwsError, Tag, Timestamp};
use tokio::time::Instant;

const STEPS_PER_PAGE: usize = 50;
/// The service takes no more on an execution.
const TAGS_MAX: usize = 5;

/// A call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Start,
    Get,
    Describe,
    Stop,
}

/// What becomes of an account and Region: a status and a failure message.
pub(crate) type End = (&'static str, &'static str);

#[derive(Debug, Clone)]
struct Known {
    request: StartRequest,
    started: Instant,
    stopped: Option<Instant>,
    /// What runs comes to its end, and nothing shows that it was stopped.
    completes: Option<Instant>,
    ends: BTreeMap<(String, String), End>,
    value_ends: BTreeMap<String, End>,
}

impl Known {
    fn was_stopped(&self) -> bool {
        self.stopped.is_some()
    }
}

/// The account that the function runs in. What is started in it runs for `run_takes` and ends as `ends` says,
/// or well.
pub(crate) struct Account {
    zero: Instant,
    fixed: RefCell<BTreeMap<String, Execution>>,
    known: RefCell<BTreeMap<String, Known>>,
    tokens: RefCell<BTreeMap<String, (StartRequest, String, Instant)>>,
    token_life: Duration,
    list_lag: Duration,
    calls: RefCell<Vec<(Call, u64)>>,
    start_faults: RefCell<VecDeque<Option<&'static str>>>,
    dice: RefCell<Option<Dice>>,
    read_fault: Option<&'static str>,
    words: Option<String>,
    runbook: Result<Option<Runbook>, &'static str>,
    regions: Result<Vec<String>, &'static str>,
    nodes: Vec<Node>,
    calendars: RefCell<BTreeMap<String, bool>>,
    calendar_fault: Option<&'static str>,
    opens_in: Option<u64>,
    signals: RefCell<Vec<Signal>>,
    marks: RefCell<Vec<(String, String)>>,
    mark_fault: Option<&'static str>,
    read_tags: RefCell<BTreeMap<String, Vec<Tag>>>,
    looks: RefCell<usize>,
    ends: BTreeMap<(String, String), End>,
    value_ends: BTreeMap<String, End>,
    tells_settings: bool,
    empty_units: bool,
    page_of: usize,
    run_takes: Duration,
    latency: Duration,
}

impl Account {
    pub(crate) fn new() -> Self {
        Self {
            zero: Instant::now(),
            fixed: RefCell::default(),
            known: RefCell::default(),
            tokens: RefCell::default(),
            token_life: Duration::MAX,
            list_lag: Duration::ZERO,
            calls: RefCell::default(),
            start_faults: RefCell::default(),
            dice: RefCell::default(),
            read_fault: None,
            words: None,
            runbook: Ok(Some(runbook(&[("AutomationAssumeRole", true)]))),
            regions: Ok(["us-east-1", "us-east-2", "us-west-1", "us-west-2", "eu-central-1"]
                .map(str::to_owned)
                .to_vec()),
            nodes: Vec::new(),
            calendars: RefCell::default(),
            calendar_fault: None,
            opens_in: None,
            signals: RefCell::default(),
            marks: RefCell::default(),
            mark_fault: None,
            read_tags: RefCell::default(),
            looks: RefCell::default(),
            ends: BTreeMap::new(),
            value_ends: BTreeMap::new(),
            tells_settings: true,
            empty_units: false,
            page_of: 0,
            run_takes: Duration::from_secs(30),
            latency: Duration::ZERO,
        }
    }

    /// What the service says of every runbook.
    pub(crate) fn with_runbook(self, runbook: Result<Option<Runbook>, &'static str>) -> Self {
        Self { runbook, ..self }
    }

    pub(crate) fn with_regions(self, regions: &[String]) -> Self {
        Self { regions: Ok(regions.to_vec()), ..self }
    }

    pub(crate) fn with_nodes(self, nodes: Vec<Node>) -> Self {
        Self { nodes, ..self }
    }

    pub(crate) fn set_calendar(&self, name: &str, is_open: bool) {
        self.calendars.borrow_mut().insert(name.to_owned(), is_open);
    }

    pub(crate) fn signals(&self) -> Vec<Signal> {
        self.signals.borrow().clone()
    }

    /// How often something was read before a start.
    pub(crate) fn looks(&self) -> usize {
        *self.looks.borrow()
    }

    /// An execution that stays as it is.
    pub(crate) fn with_execution(self, execution: Execution) -> Self {
        self.fixed.borrow_mut().insert(execution.id.clone(), execution);
        self
    }

    /// One for each start in turn: an error code, or nothing.
    pub(crate) fn with_start_faults(self, codes: &[Option<&'static str>]) -> Self {
        self.start_faults.borrow_mut().extend(codes);
        self
    }

    /// Starts are throttled, refused, late or lost as the dice fall.
    pub(crate) fn with_dice(self, seed: u64) -> Self {
        Self { dice: RefCell::new(Some(Dice::new(seed))), ..self }
    }

    /// From now on every call goes well.
    pub(crate) fn calm(&self) {
        *self.dice.borrow_mut() = None;
    }

    /// What is known by a token is forgotten after this time, and what is started shows in lists after that one.
    pub(crate) fn with_memory(self, token_life: Duration, list_lag: Duration) -> Self {
        Self { token_life, list_lag, ..self }
    }

    fn roll(&self, sides: usize) -> usize {
        self.dice.borrow_mut().as_mut().map_or(usize::MAX, |dice| dice.below(sides))
    }

    /// Every read of an execution fails.
    pub(crate) fn with_read_fault(self, code: &'static str) -> Self {
        Self { read_fault: Some(code), ..self }
    }

    /// What a read that fails says.
    pub(crate) fn with_words(self, words: &str) -> Self {
        Self { words: Some(words.to_owned()), ..self }
    }

    /// What is started ends like this there.
    pub(crate) fn with_end(mut self, account: &str, region: &str, end: End) -> Self {
        self.ends.insert((account.to_owned(), region.to_owned()), end);
        self
    }

    /// What is started for a target with this value ends like this everywhere.
    pub(crate) fn with_end_for(mut self, value: &str, end: End) -> Self {
        self.value_ends.insert(value.to_owned(), end);
        self
    }

    /// No unit holds an account.
    pub(crate) fn with_empty_units(self) -> Self {
        Self { empty_units: true, ..self }
    }

    /// Each page of steps has so many, and there is always another.
    pub(crate) fn with_pages_of(self, page_of: usize) -> Self {
        Self { page_of, ..self }
    }

    /// A step tells where it ran, and nothing else of its location.
    pub(crate) fn with_bare_steps(self) -> Self {
        Self { tells_settings: false, ..self }
    }

    /// No execution can be marked as stopped.
    pub(crate) fn with_mark_fault(self, code: &'static str) -> Self {
        Self { mark_fault: Some(code), ..self }
    }

    /// What the service says of when a closed calendar opens, in seconds.
    pub(crate) fn with_opening_in(self, seconds: u64) -> Self {
        Self { opens_in: Some(seconds), ..self }
    }

    /// No calendar can be read.
    pub(crate) fn with_calendar_fault(self, code: &'static str) -> Self {
        Self { calendar_fault: Some(code), ..self }
    }

    pub(crate) fn with_run_of(self, run_takes: Duration) -> Self {
        Self { run_takes, ..self }
    }

    pub(crate) fn with_latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }

    /// What really runs, each execution once.
    pub(crate) fn started(&self) -> Vec<StartRequest> {
        self.known.borrow().values().map(|known| known.request.clone()).collect()
    }

    /// The id of each execution with its request, when it was started, and when it was stopped.
    pub(crate) fn history(&self) -> Vec<(String, StartRequest, Instant, Option<Instant>)> {
        let known = self.known.borrow();
        known
            .iter()
            .map(|(id, one)| (id.clone(), one.request.clone(), one.started, one.stopped.or(one.completes)))
            .collect()
    }

    /// The milliseconds at which calls of a kind were made.
    pub(crate) fn times(&self, call: &Call) -> Vec<u64> {
        self.calls.borrow().iter().filter(|(made, _)| made == call).map(|(_, at)| *at).collect()
    }

    pub(crate) fn call_count(&self) -> usize {
        self.calls.borrow().len()
    }

    async fn call(&self, call: Call) {
        let at = u64::try_from(self.zero.elapsed().as_millis()).unwrap();
        self.calls.borrow_mut().push((call, at));
        tokio::time::sleep(self.latency).await;
    }

    /// An execution with all its steps, as it stands now.
    fn now(&self, id: &str) -> Result<Execution, AwsError> {
        if let Some(code) = self.read_fault {
            let error = error("ssm:GetAutomationExecution", code);
            return Err(AwsError { message: self.words.clone().unwrap_or_else(|| error.message.clone()), ..error });
        }
        let is_it = |known: &&String| known.eq_ignore_ascii_case(id);
        let fixed = self.fixed.borrow();
        if let Some(execution) = fixed.keys().find(is_it).and_then(|id| fixed.get(id)) {
            return Ok(execution.clone());
        }
        let known = self.known.borrow();
        let known = known.get(id).ok_or_else(|| not_found("ssm:GetAutomationExecution"))?;
        let has_ended = known.started.elapsed() >= self.run_takes;
        let mut steps = Vec::new();
        for location in &known.request.target_locations {
            let targets = if location.targets.is_empty() { &known.request.targets } else { &location.targets };
            let by_value =
                targets.iter().flat_map(|target| &target.values).find_map(|value| known.value_ends.get(value));
            let is_empty_unit = |account: &&String| self.empty_units && account.starts_with("ou-");
            for account in location.reached().filter(|account| !is_empty_unit(account)) {
                for region in &location.regions {
                    let by_place = known.ends.get(&(account.clone(), region.clone()));
                    let end = by_value.or(by_place).copied().unwrap_or(("Success", ""));
                    let mut step = match (known.was_stopped(), has_ended) {
                        (true, _) => step(account, region, "Cancelled", ""),
                        (_, true) => step(account, region, end.0, end.1),
                        _ => step(account, region, "InProgress", ""),
                    };
                    if self.tells_settings {
                        step.target_location = Some(TargetLocation {
                            accounts: vec![account.clone()],
                            regions: vec![region.clone()],
                            ..location.clone()
                        });
                    }
                    steps.push(step);
                }
            }
        }
        let all_succeeded = steps.iter().all(|step| step.status.is_success());
        let status = match (known.was_stopped(), has_ended) {
            (true, _) => "Cancelled",
            (_, false) => "InProgress",
            (_, true) if all_succeeded => "Success",
            (_, true) => "Failed",
        };
        let request = StartRequest { client_token: None, tags: Vec::new(), ..known.request.clone() };
        let started_at = Some(self.time(known.started));
        Ok(Execution { id: id.to_owned(), status: status.into(), request, steps, started_at, ..Execution::default() })
    }

    fn time(&self, at: Instant) -> Timestamp {
        let seconds = i64::try_from((at - self.zero).as_secs()).unwrap();
        Timestamp::from_unix_seconds(1_795_312_800 + seconds)
    }
}

/// Chance that a seed repeats.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % sides
    }
}

/// A runbook with these parameters, and whether each may be left out.
pub(crate) fn runbook(parameters: &[(&str, bool)]) -> Runbook {
    let parameter =
        |(name, has_default): &(&str, bool)| Parameter { name: (*name).to_owned(), has_default: *has_default };
    Runbook {
        name: "Patch".to_owned(),
        parameters: parameters.iter().map(parameter).collect(),
        document_type: Some("Automation".to_owned()),
        steps: None,
    }
}

impl History for Account {
    async fn executions(
        &self,
        query: &Query,
        tag_key: Option<&str>,
        page_token: Option<String>,
    ) -> Result<ExecutionPage, AwsError> {
        let known = self.known.borrow().clone();
        let fits = |(_, known): &(&String, &Known)| {
            let tags = &known.request.tags;
            known.started.elapsed() >= self.list_lag
                && tag_key.is_none_or(|key| tags.iter().any(|tag| tag.key == key))
                && query
                    .document_name
                    .as_ref()
                    .is_none_or(|name| known.request.document_name.starts_with(name.as_str()))
        };
        let all: Vec<Listed> = known
            .iter()
            .rev()
            .filter(fits)
            .map(|(id, known)| Listed {
                id: id.clone(),
                document_name: known.request.document_name.clone(),
                status: self.now(id).unwrap().status,
                started_at: Some(self.time(known.started)),
                ..Listed::default()
            })
            .chain(self.fixed.borrow().values().filter(|_| tag_key.is_none()).map(|fixed| Listed {
                id: fixed.id.clone(),
                status: fixed.status.clone(),
                ..Listed::default()
            }))
            .filter(|listed| query.outcome.is_none_or(|outcome| outcome.statuses().contains(&listed.status.as_str())))
            .collect();
        // A page has two, so that there are several.
        let start: usize = page_token.map_or(0, |token| token.parse().unwrap());
        let end = all.len().min(start + 2);
        let next_token = (end < all.len()).then(|| end.to_string());
        Ok(ExecutionPage { executions: all[start..end].to_vec(), next_token })
    }

    async fn tags(&self, id: &str) -> Result<Vec<Tag>, AwsError> {
        let tags = self.known.borrow().get(id).map(|known| known.request.tags.clone());
        let tags = tags.or_else(|| self.fixed.borrow().contains_key(id).then(Vec::new));
        let mut tags = tags.ok_or_else(|| error("ssm:ListTagsForResource", "InvalidResourceId"))?;
        self.read_tags.borrow_mut().insert(id.to_owned(), tags.clone());
        let marks = self.marks.borrow();
        let marks = marks.iter().filter(|(marked, _)| marked == id);
        tags.extend(marks.map(|(_, key)| Tag { key: key.clone(), value: String::new() }));
        Ok(tags)
    }

    fn known_tags(&self, id: &str) -> Option<Vec<Tag>> {
        self.read_tags.borrow().get(id).cloned()
    }
}

impl Facts for Account {
    async fn runbook(&self, _: &str, _: Option<&str>) -> Result<Option<Runbook>, AwsError> {
        *self.looks.borrow_mut() += 1;
        self.runbook.clone().map_err(|code| error("ssm:DescribeDocument", code))
    }

    async fn step_count(&self, _: &str, _: Option<&str>) -> Result<usize, AwsError> {
        Ok(2)
    }

    async fn regions(&self) -> Result<Vec<KnownRegion>, AwsError> {
        *self.looks.borrow_mut() += 1;
        let regions = self.regions.clone().map_err(|code| error("ec2:DescribeRegions", code))?;
        Ok(regions.into_iter().map(|name| KnownRegion { name, is_enabled: true }).collect())
    }

    async fn nodes(&self, _: &[Target]) -> Result<Vec<Node>, AwsError> {
        Ok(self.nodes.clone())
    }

    async fn calendars(&self, names: &[String]) -> Result<Option<CalendarState>, AwsError> {
        if let Some(code) = self.calendar_fault {
            return Err(error("ssm:GetCalendarState", code));
        }
        let calendars = self.calendars.borrow();
        let open: Option<Vec<bool>> = names.iter().map(|name| calendars.get(name).copied()).collect();
        Ok(open.map(|open| CalendarState {
            is_open: open.iter().all(|open| *open),
            changes_at: None,
            changes_in: self.opens_in,
        }))
    }
}

impl Automation for Account {
    async fn start(&self, request: &StartRequest) -> Result<String, AwsError> {
        self.call(Call::Start).await;
        let fate = self.roll(100);
        if fate != usize::MAX {
            tokio::time::sleep(Duration::from_millis(self.roll(1_500) as u64)).await;
        }
        let refused = match fate {
            0..25 => Some("ThrottlingException"),
            25..30 => Some("AccessDeniedException"),
            30..35 => Some("InternalServerError"),
            _ => None,
        };
        if let Some(code) = refused {
            return Err(error("ssm:StartAutomationExecution", code));
        }
        let is_lost = (35..50).contains(&fate);
        if let Some(Some(code)) = self.start_faults.borrow_mut().pop_front() {
            return Err(error("ssm:StartAutomationExecution", code));
        }
        let token = request.client_token.clone().unwrap().to_ascii_lowercase();
        let mut tokens = self.tokens.borrow_mut();
        tokens.retain(|_, (_, _, at)| at.elapsed() <= self.token_life);
        if let Some((earlier, id, _)) = tokens.get(&token) {
            let mismatch = || error("ssm:StartAutomationExecution", "IdempotentParameterMismatch");
            return if earlier != request {
                Err(mismatch())
            } else if is_lost {
                Err(error("ssm:StartAutomationExecution", "InternalServerError"))
            } else {
                Ok(id.clone())
            };
        }
        let id = format!("00000000-0000-4000-8000-{:012}", self.known.borrow().len() + 1);
        tokens.insert(token, (request.clone(), id.clone(), Instant::now()));
        let (ends, value_ends) = (self.ends.clone(), self.value_ends.clone());
        let known = Known {
            request: request.clone(),
            started: Instant::now(),
            stopped: None,
            completes: None,
            ends,
            value_ends,
        };
        self.known.borrow_mut().insert(id.clone(), known);
        if is_lost {
            return Err(error("ssm:StartAutomationExecution", "InternalServerError"));
        }
        Ok(id)
    }

    async fn execution(&self, id: &str) -> Result<Execution, AwsError> {
        self.call(Call::Get).await;
        let mut execution = self.now(id)?;
        execution.steps_truncated = execution.steps.len() > STEPS_PER_PAGE || self.page_of > 0;
        execution.steps.truncate(STEPS_PER_PAGE);
        Ok(execution)
    }

    async fn steps(&self, id: &str, page_token: Option<String>) -> Result<StepPage, AwsError> {
        self.call(Call::Describe).await;
        let start: usize = page_token.map_or(0, |token| token.parse().unwrap());
        if self.page_of > 0 {
            let end = start + self.page_of;
            let steps = (start..end).map(|n| step(&format!("{n:012}"), "us-east-1", "Success", "")).collect();
            return Ok(StepPage { steps, next_token: Some(end.to_string()) });
        }
        let steps = self.now(id)?.steps;
        let end = steps.len().min(start + STEPS_PER_PAGE);
        let next_token = (end < steps.len()).then(|| end.to_string());
        Ok(StepPage { steps: steps[start..end].to_vec(), next_token })
    }

    async fn mark(&self, id: &str, tag_key: &str) -> Result<(), AwsError> {
        if let Some(code) = self.mark_fault {
            return Err(error("ssm:AddTagsToResource", code));
        }
        let tags = self.tags(id).await.map_err(|_| error("ssm:AddTagsToResource", "InvalidResourceId"))?;
        if tags.iter().filter(|tag| tag.key != tag_key).count() >= TAGS_MAX {
            return Err(error("ssm:AddTagsToResource", "TooManyTagsError"));
        }
        self.marks.borrow_mut().push((id.to_owned(), tag_key.to_owned()));
        Ok(())
    }

    async fn stop(&self, id: &str, stop_type: StopType) -> Result<(), AwsError> {
        self.call(Call::Stop).await;
        let fixed = self.fixed.borrow().get(id).map(|execution| execution.status.is_terminal());
        let ended = || error("ssm:StopAutomationExecution", "InvalidAutomationStatusUpdateException");
        match (fixed, self.known.borrow_mut().get_mut(id)) {
            (Some(true), _) => Err(ended()),
            (_, Some(known)) if known.was_stopped() || known.started.elapsed() >= self.run_takes => Err(ended()),
            (_, Some(known)) if stop_type == StopType::Complete => {
                known.completes.get_or_insert_with(Instant::now);
                Ok(())
            }
            (_, Some(known)) => {
                known.stopped = Some(Instant::now());
                Ok(())
            }
            (Some(false), None) => Ok(()),
            (None, None) => Err(not_found("ssm:StopAutomationExecution")),
        }
    }

    async fn signal(&self, signal: &Signal) -> Result<(), AwsError> {
        self.now(&signal.execution.id)?;
        self.signals.borrow_mut().push(signal.clone());
        Ok(())
    }
}

/// A step for one account and Region.
pub(crate) fn step(account: &str, region: &str, status: &str, message: &str) -> Step {
    let location = TargetLocation {
        accounts: vec![account.to_owned()],
        regions: vec![region.to_owned()],
        ..TargetLocation::default()
    };
    Step {
        name: format!("{account}-{region}"),
        status: status.into(),
        outputs: [("ExecutionId".to_owned(), vec![format!("child-of-{account}-{region}")])].into(),
        failure_message: Some(message.to_owned()).filter(|message| !message.is_empty()),
        target_location: Some(location),
        ..Step::default()
    }
}

fn error(operation: &'static str, code: &str) -> AwsError {
    let retryable = matches!(code, "ThrottlingException" | "InternalServerError" | "Timeout");
    AwsError { operation, code: code.to_owned(), message: "on demand".to_owned(), request_id: None, retryable }
}

fn not_found(operation: &'static str) -> AwsError {
    error(operation, "AutomationExecutionNotFoundException")
}
