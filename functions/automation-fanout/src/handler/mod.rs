//! One invocation: decode, plan, act, summarise.
//!
//! A request that cannot be read fails the invocation before the first call. From then on a failure is the
//! outcome of one start, one execution or one location, and the invocation fails only where nothing at all
//! could be done. Once the time budget is spent nothing further is begun: the rest is `DeadlineExceeded`, and
//! an invocation with the same idempotency key takes it up.

mod attempts;
mod pace;
mod read;
mod resume;
mod start;
mod stop;

use std::time::Duration;

use hub::AwsError;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use self::pace::Pace;
use crate::answer::Answer;
use crate::config::Config;
use crate::error::FanoutError;
use crate::event::{Event, StopType};
use crate::execution::{Execution, Step};
use crate::request::StartRequest;

/// With less time left than this, nothing further is begun.
const BEGIN_MARGIN: Duration = Duration::from_secs(10);
/// With less time left than this, work under way is cut off so that the answer still gets out.
const ANSWER_MARGIN: Duration = Duration::from_secs(2);

/// The published rates, in calls a second: <https://docs.aws.amazon.com/general/latest/gr/ssm.html>.
const STARTS_PER_SECOND: u32 = 1;
const STOPS_PER_SECOND: u32 = 1;
const READS_PER_SECOND: u32 = 3;
const PAGES_PER_SECOND: u32 = 3;

/// What was not done because the time was up.
pub(crate) const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
const NO_ANSWER_IN_TIME: &str = "the answer did not come in time";
/// What the service says of an execution that it does not know.
pub(crate) const NOT_FOUND: &str = "AutomationExecutionNotFoundException";

/// The calls of Systems Manager that an invocation needs.
#[expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]
pub trait Automation {
    /// Starts an execution and gives its id, with one attempt.
    async fn start(&self, request: &StartRequest) -> Result<String, AwsError>;
    /// An execution, with its steps where they are few.
    async fn execution(&self, id: &str) -> Result<Execution, AwsError>;
    /// A page of an execution's steps.
    async fn steps(&self, id: &str, page_token: Option<String>) -> Result<StepPage, AwsError>;
    /// Ends an execution.
    async fn stop(&self, id: &str, stop_type: StopType) -> Result<(), AwsError>;
}

/// A page of steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepPage {
    /// The steps.
    pub steps: Vec<Step>,
    /// Where the next page is, if there is one.
    pub next_token: Option<String>,
}

/// What the runtime knows about an invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Its id, which stays the same where Lambda tries an asynchronous invocation again.
    pub request_id: String,
    /// The time until Lambda ends the invocation.
    pub budget: Duration,
}

/// Answers one invocation.
///
/// # Errors
/// See [`FanoutError`]: a request that is refused, or one of which nothing could be done.
pub async fn handle(
    config: &Config,
    automation: &impl Automation,
    invocation: &Invocation,
    event: &Value,
) -> Result<Answer, FanoutError> {
    let event = Event::from_json(event).map_err(FanoutError::InvalidRequest)?;
    let mut run = Run::new(config, automation, invocation);
    // Boxed, because futures within futures of the SDK's depth are more than the compiler lays out.
    match event {
        Event::Start(order) => Box::pin(run.start(order)).await.map(Answer::Start),
        Event::Preview(order) => run.preview(&order).map(Answer::Start),
        Event::Status { executions, wait } => Box::pin(run.status(&executions, wait)).await.map(Answer::Status),
        Event::Stop { executions, stop_type } => Box::pin(run.stop(&executions, stop_type)).await.map(Answer::Stop),
        Event::Resume(order) => Box::pin(run.resume(order)).await.map(Answer::Start),
    }
}

/// One invocation on its way.
struct Run<'a, A> {
    config: &'a Config,
    automation: &'a A,
    request_id: &'a str,
    begin_until: Instant,
    answer_until: Instant,
    starts: Pace,
    stops: Pace,
    reads: Pace,
    pages: Pace,
}

impl<'a, A: Automation> Run<'a, A> {
    fn new(config: &'a Config, automation: &'a A, invocation: &'a Invocation) -> Self {
        let now = Instant::now();
        Self {
            config,
            automation,
            request_id: &invocation.request_id,
            begin_until: now + invocation.budget.saturating_sub(BEGIN_MARGIN),
            answer_until: now + invocation.budget.saturating_sub(ANSWER_MARGIN),
            starts: Pace::per_second(STARTS_PER_SECOND),
            stops: Pace::per_second(STOPS_PER_SECOND),
            reads: Pace::per_second(READS_PER_SECOND),
            pages: Pace::per_second(PAGES_PER_SECOND),
        }
    }

    /// Cuts a call off where its answer would come too late.
    async fn in_time<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, AwsError>>,
    ) -> Result<T, AwsError> {
        let result = timeout_at(self.answer_until, call).await;
        let result = result.unwrap_or_else(|_| Err(too_late(operation, NO_ANSWER_IN_TIME)));
        if let Err(error) = &result {
            tracing::warn!(operation, code = error.code, request_id = error.request_id, "call failed");
        }
        result
    }
}

/// The error of a call that was not made, or not waited for.
fn too_late(operation: &'static str, message: &str) -> AwsError {
    AwsError {
        operation,
        code: DEADLINE_EXCEEDED.to_owned(),
        message: message.to_owned(),
        request_id: None,
        retryable: true,
    }
}
