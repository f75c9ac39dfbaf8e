//! From an event to an answer.

mod deliver;
mod read;
mod sweep;

use std::fmt;
use std::time::{Duration, SystemTime};

use hub::{AccountId, FunctionArn, WireError};
use lambda_kit::{Deadline, Margins, Metrics, diagnostic};
use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde_json::Value;

use self::sweep::Sweep;
use crate::answer::{QueueAnswer, SweepAnswer, SweepOutcome};
use crate::config::{Config, InvocationType};
use crate::event::{Event, Queue};
use crate::log::{log_refused, log_swept};
use crate::metrics::{Asked, metrics};
use crate::plan::Scope;
use crate::ports::Aws;

/// Work ends this long before the function is stopped: enough to write the answer, even on a slow core, and little
/// beside the minutes that a sweep may take.
pub const MARGINS: Margins = Margins { begin: Duration::from_secs(5), answer: Duration::from_secs(5) };

/// The function.
#[derive(Debug)]
pub struct Collector<A, N> {
    config: Config,
    aws: A,
    now: N,
}

/// What the runtime knows about an invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The ARN of the function, in the account of the agency.
    pub arn: FunctionArn,
    /// The time until Lambda ends the invocation.
    pub budget: Duration,
}

/// What came of an invocation.
#[derive(Debug)]
pub struct Handled {
    /// What the caller is told.
    ///
    /// It is `InvalidEvent` before anything was read, and `PartialSweep`, with the whole answer in its message, if a
    /// Region or a batch failed. Trouble with a single node is an outcome in the answer. What came through a queue
    /// has its failures in the answer.
    pub result: Result<Response, CollectError>,
    /// What goes into the metrics.
    pub metrics: Metrics,
}

/// The answer of an invocation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// To everything that did not come through a queue.
    Sweep(Box<SweepAnswer>),
    /// To tag changes that came through a queue.
    Queue(QueueAnswer),
}

/// What an event asks for.
struct Order {
    asked: Asked,
    scope: Scope,
    queue: Option<Queue>,
    account: AccountId,
    deadline: Deadline,
}

/// Why an invocation ends in an error.
#[derive(thiserror::Error)]
pub enum CollectError {
    /// The event asks for nothing that the function knows. Nothing was read.
    #[error(transparent)]
    InvalidEvent(#[from] WireError),
    /// A Region was not read to its end, or a batch not taken. Everything else was done.
    #[error("{}", .0.problems())]
    PartialSweep(Box<SweepAnswer>),
}

/// The runtime logs errors in this form, and the answer of a dry run holds tag values: words only.
impl fmt::Debug for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.error_type())
    }
}

impl CollectError {
    /// The name that alarms and callers see.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::InvalidEvent(_) => "InvalidEvent",
            Self::PartialSweep(_) => "PartialSweep",
        }
    }
}

impl From<CollectError> for Diagnostic {
    fn from(error: CollectError) -> Self {
        let answer = match &error {
            CollectError::InvalidEvent(_) => None,
            CollectError::PartialSweep(answer) => Some(serde_json::to_string(answer)),
        };
        diagnostic(error.error_type(), &error, answer)
    }
}

impl<A: Aws, N: Fn() -> SystemTime> Collector<A, N> {
    /// A function that reads and reports through `aws` and takes the time from `now`.
    pub fn new(config: Config, aws: A, now: N) -> Self {
        Self { config, aws, now }
    }

    /// Answers one invocation.
    pub async fn handle(&self, invocation: &Invocation, event: &Value) -> Handled {
        let started = (self.now)();
        let (asked, outcome, result) = match self.admit(invocation, event) {
            Ok(order) => {
                let asked = order.asked;
                let (outcome, result) = self.carry_out(order, started).await;
                (asked, Some(outcome), result)
            }
            Err(error) => (Asked::default(), None, Err(error.into())),
        };
        Handled { metrics: metrics(asked, outcome.as_ref(), self.since(started)), result }
    }

    /// What is to be done, unless the event asks for nothing that the function knows.
    fn admit(&self, invocation: &Invocation, event: &Value) -> Result<Order, WireError> {
        let deadline = Deadline::with_margins(invocation.budget, MARGINS);
        let account = invocation.arn.account.clone();
        let event = match Event::from_json(event)? {
            Event::Queue(queue) => Event::Queue(queue.in_account(&account)),
            event => event,
        };
        let asked = Asked::from(&event);
        let regions = &self.config.collect_regions;
        let (scope, queue) = match event {
            Event::Queue(queue) => (queue.scope(regions), Some(queue)),
            event => (event.scope(&account, regions)?, None),
        };
        Ok(Order { asked, scope, queue, account, deadline })
    }

    async fn carry_out(&self, order: Order, started: SystemTime) -> (SweepOutcome, Result<Response, CollectError>) {
        let Order { scope, queue, account, deadline, .. } = order;
        // A dry run is asked for the sake of its answer.
        let invocation_type = if scope.dry_run { InvocationType::RequestResponse } else { self.config.invocation_type };
        let sweep = Sweep { aws: &self.aws, now: &self.now, deadline, account: account.clone(), invocation_type };
        let outcome = sweep.run(scope).await;
        let Some(queue) = queue else {
            log_swept(&outcome, None, self.since(started));
            let answer = Box::new(outcome.answer.clone());
            let result = if answer.is_complete() {
                Ok(Response::Sweep(answer))
            } else {
                Err(CollectError::PartialSweep(answer))
            };
            return (outcome, result);
        };
        let answer: QueueAnswer = queue.unfinished(&outcome.retry).collect();
        log_refused(&account, &queue);
        let messages = (queue.message_count(), answer.batch_item_failures.len());
        log_swept(&outcome, Some(messages), self.since(started));
        (outcome, Ok(Response::Queue(answer)))
    }

    fn since(&self, started: SystemTime) -> Duration {
        (self.now)().duration_since(started).unwrap_or_default()
    }
}
