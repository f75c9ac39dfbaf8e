//! Automation in memory: executions, their children, the calls made, and failures on demand.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use automation_fanout::event::StopType;
use automation_fanout::execution::{Execution, Step};
use automation_fanout::handler::{Automation, StepPage};
use automation_fanout::request::{StartRequest, TargetLocation};
use hub::AwsError;
use tokio::time::Instant;

const STEPS_PER_PAGE: usize = 50;

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

struct Known {
    request: StartRequest,
    started: Instant,
    stopped: bool,
}

/// The account that the function runs in. What is started in it runs for `run_takes` and ends as `ends` says,
/// or well.
pub(crate) struct Account {
    zero: Instant,
    fixed: RefCell<BTreeMap<String, Execution>>,
    known: RefCell<BTreeMap<String, Known>>,
    tokens: RefCell<BTreeMap<String, (StartRequest, String)>>,
    calls: RefCell<Vec<(Call, u64)>>,
    start_faults: RefCell<VecDeque<Option<&'static str>>>,
    read_fault: Option<&'static str>,
    ends: BTreeMap<(String, String), End>,
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
            calls: RefCell::default(),
            start_faults: RefCell::default(),
            read_fault: None,
            ends: BTreeMap::new(),
            run_takes: Duration::from_secs(30),
            latency: Duration::ZERO,
        }
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

    /// Every read of an execution fails.
    pub(crate) fn with_read_fault(self, code: &'static str) -> Self {
        Self { read_fault: Some(code), ..self }
    }

    /// What is started ends like this there.
    pub(crate) fn with_end(mut self, account: &str, region: &str, end: End) -> Self {
        self.ends.insert((account.to_owned(), region.to_owned()), end);
        self
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
            return Err(error("ssm:GetAutomationExecution", code));
        }
        if let Some(execution) = self.fixed.borrow().get(id) {
            return Ok(execution.clone());
        }
        let known = self.known.borrow();
        let known = known.get(id).ok_or_else(|| not_found("ssm:GetAutomationExecution"))?;
        let has_ended = known.started.elapsed() >= self.run_takes;
        let mut steps = Vec::new();
        for location in &known.request.target_locations {
            for account in &location.accounts {
                for region in &location.regions {
                    let end = self.ends.get(&(account.clone(), region.clone())).copied().unwrap_or(("Success", ""));
                    steps.push(match (known.stopped, has_ended) {
                        (true, _) => step(account, region, "Cancelled", ""),
                        (_, true) => step(account, region, end.0, end.1),
                        _ => step(account, region, "InProgress", ""),
                    });
                }
            }
        }
        let all_succeeded = steps.iter().all(|step| step.status.is_success());
        let status = match (known.stopped, has_ended) {
            (true, _) => "Cancelled",
            (_, false) => "InProgress",
            (_, true) if all_succeeded => "Success",
            (_, true) => "Failed",
        };
        let request = StartRequest { client_token: None, tags: Vec::new(), ..known.request.clone() };
        Ok(Execution { id: id.to_owned(), status: status.into(), request, steps, ..Execution::default() })
    }
}

impl Automation for Account {
    async fn start(&self, request: &StartRequest) -> Result<String, AwsError> {
        self.call(Call::Start).await;
        if let Some(Some(code)) = self.start_faults.borrow_mut().pop_front() {
            return Err(error("ssm:StartAutomationExecution", code));
        }
        let token = request.client_token.clone().unwrap();
        let mut tokens = self.tokens.borrow_mut();
        if let Some((earlier, id)) = tokens.get(&token) {
            let mismatch = || error("ssm:StartAutomationExecution", "IdempotentParameterMismatch");
            return if earlier == request { Ok(id.clone()) } else { Err(mismatch()) };
        }
        let id = format!("00000000-0000-4000-8000-{:012}", tokens.len() + 1);
        tokens.insert(token, (request.clone(), id.clone()));
        let known = Known { request: request.clone(), started: Instant::now(), stopped: false };
        self.known.borrow_mut().insert(id.clone(), known);
        Ok(id)
    }

    async fn execution(&self, id: &str) -> Result<Execution, AwsError> {
        self.call(Call::Get).await;
        let mut execution = self.now(id)?;
        execution.steps_truncated = execution.steps.len() > STEPS_PER_PAGE;
        execution.steps.truncate(STEPS_PER_PAGE);
        Ok(execution)
    }

    async fn steps(&self, id: &str, page_token: Option<String>) -> Result<StepPage, AwsError> {
        self.call(Call::Describe).await;
        let steps = self.now(id)?.steps;
        let start: usize = page_token.map_or(0, |token| token.parse().unwrap());
        let end = steps.len().min(start + STEPS_PER_PAGE);
        let next_token = (end < steps.len()).then(|| end.to_string());
        Ok(StepPage { steps: steps[start..end].to_vec(), next_token })
    }

    async fn stop(&self, id: &str, _: StopType) -> Result<(), AwsError> {
        self.call(Call::Stop).await;
        let fixed = self.fixed.borrow().get(id).map(|execution| execution.status.is_terminal());
        let ended = || error("ssm:StopAutomationExecution", "InvalidAutomationStatusUpdateException");
        match (fixed, self.known.borrow_mut().get_mut(id)) {
            (Some(true), _) => Err(ended()),
            (_, Some(known)) if known.stopped || known.started.elapsed() >= self.run_takes => Err(ended()),
            (_, Some(known)) => {
                known.stopped = true;
                Ok(())
            }
            (Some(false), None) => Ok(()),
            (None, None) => Err(not_found("ssm:StopAutomationExecution")),
        }
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
    let retryable = code == "ThrottlingException";
    AwsError { operation, code: code.to_owned(), message: "on demand".to_owned(), request_id: None, retryable }
}

fn not_found(operation: &'static str) -> AwsError {
    error(operation, "AutomationExecutionNotFoundException")
}
