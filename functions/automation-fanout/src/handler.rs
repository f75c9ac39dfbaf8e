//! One invocation: decode, plan, act, summarise.
//!
//! A request that cannot be read fails the invocation before the first call. From then on a failure is the
//! outcome of one start, one execution or one location, and the invocation fails only where nothing at all
//! could be done. Once the time budget is spent nothing further is begun: the rest is `DeadlineExceeded`, and
//! an invocation with the same idempotency key takes it up.

mod attempts;
mod campaign;
mod facts;
mod history;
mod pace;
mod preflight;
mod read;
mod resume;
mod signal;
mod start;
mod stop;
mod verdict;
mod wave;

use std::time::Duration;

use hub::AwsError;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use self::pace::Pace;
use crate::answer::{Answer, cut};
use crate::config::Config;
use crate::error::FanoutError;
use crate::event::Event;
use crate::ports::World;

/// With less time left than this, nothing further is begun.
const BEGIN_MARGIN: Duration = Duration::from_secs(10);
/// With less time left than this, work under way is cut off so that the answer still gets out.
const ANSWER_MARGIN: Duration = Duration::from_secs(2);

/// The published rates, in calls a second: <https://docs.aws.amazon.com/general/latest/gr/ssm.html>.
const STARTS_PER_SECOND: u32 = 1;
const STOPS_PER_SECOND: u32 = 1;
const READS_PER_SECOND: u32 = 3;
const PAGES_PER_SECOND: u32 = 3;
const LISTS_PER_SECOND: u32 = 3;
/// No rate is published for it.
const TAG_READS_PER_SECOND: u32 = 5;

/// What was not done because something before it went wrong.
const NOT_TRIED: &str = "NotTried";
/// What was not done because the execution of the first start was stopped.
const STOPPED: &str = "Stopped";
/// What was not done because the time was up.
pub(crate) const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
const NO_ANSWER_IN_TIME: &str = "the answer did not come in time";
/// What the service says of an execution that it does not know.
pub(crate) const NOT_FOUND: &str = "AutomationExecutionNotFoundException";

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
    world: &impl World,
    invocation: &Invocation,
    event: &Value,
) -> Result<Answer, FanoutError> {
    let event = Event::from_json(event).map_err(FanoutError::InvalidRequest)?;
    let mut run = Run::new(config, world, invocation);
    // Boxed, because futures within futures of the SDK's depth are more than the compiler lays out.
    match event {
        Event::Start(order) => Box::pin(run.start(order)).await.map(Answer::Start),
        Event::Preview(order) => Box::pin(run.preview(order)).await.map(Answer::Start),
        Event::Preflight(preflight) => {
            Box::pin(run.preflight(preflight)).await.map(|answer| Answer::Preflight(Box::new(answer)))
        }
        Event::Status { executions, wait } => Box::pin(run.status(&executions, wait)).await.map(Answer::Status),
        Event::Stop { executions, stop_type } => Box::pin(run.stop(&executions, stop_type)).await.map(Answer::Stop),
        Event::List(query) => Box::pin(run.list(&query)).await.map(Answer::List),
        Event::Resume(order) => Box::pin(run.resume(order)).await.map(Answer::Start),
        Event::Signal(signal) => Box::pin(run.signal(&signal)).await.map(Answer::Signal),
        Event::Campaign(campaign) => Box::pin(run.campaign(&campaign)).await.map(Answer::Campaign),
        Event::Wave(order) => Box::pin(run.wave(order)).await.map(Answer::Wave),
    }
}

/// One invocation on its way.
struct Run<'a, W> {
    config: &'a Config,
    world: &'a W,
    request_id: &'a str,
    begin_until: Instant,
    answer_until: Instant,
    starts: Pace,
    stops: Pace,
    reads: Pace,
    pages: Pace,
    lists: Pace,
    tag_reads: Pace,
    seen: facts::Seen,
}

impl<'a, W: World> Run<'a, W> {
    fn new(config: &'a Config, world: &'a W, invocation: &'a Invocation) -> Self {
        let now = Instant::now();
        Self {
            config,
            world,
            request_id: &invocation.request_id,
            begin_until: now + invocation.budget.saturating_sub(BEGIN_MARGIN),
            answer_until: now + invocation.budget.saturating_sub(ANSWER_MARGIN),
            starts: Pace::per_second(STARTS_PER_SECOND),
            stops: Pace::per_second(STOPS_PER_SECOND),
            reads: Pace::per_second(READS_PER_SECOND),
            pages: Pace::per_second(PAGES_PER_SECOND),
            lists: Pace::per_second(LISTS_PER_SECOND),
            tag_reads: Pace::per_second(TAG_READS_PER_SECOND),
            seen: facts::Seen::default(),
        }
    }

    /// Cuts a call off where its answer would come too late, and a message of the service where it is long.
    async fn in_time<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, AwsError>>,
    ) -> Result<T, AwsError> {
        let result = timeout_at(self.answer_until, call).await;
        let result = result.unwrap_or_else(|_| Err(too_late(operation, NO_ANSWER_IN_TIME)));
        let result = result.map_err(|error| AwsError { message: cut(&error.message), ..error });
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
