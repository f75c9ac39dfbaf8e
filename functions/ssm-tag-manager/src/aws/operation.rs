//! One operation of AWS: when it is called, how often again, and how often it was.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use hub::AwsError;
use lambda_kit::CallCounts;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::rate_limiter::RateLimiter;

/// How often one call may fail. Throttling is not a failure: the call goes again at the rate that it taught us, and the
/// whole call is bounded by the invocation's budget.
const MAX_FAILURES: u32 = 8;
/// The wait after the first failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// An operation, with its rate as the service has taught it so far.
#[derive(Debug)]
pub(super) struct Operation {
    /// Service and operation, such as `ssm:AddTagsToResource`.
    pub(super) name: &'static str,
    limiter: RefCell<RateLimiter>,
    /// Calls wait in a row, and only the first one holds a slot: when the rate changes, the others follow at once.
    turn: Mutex<()>,
    counts: Cell<CallCounts>,
    has_unanswered: Cell<bool>,
}

impl Operation {
    pub(super) fn new(name: &'static str) -> Self {
        let limiter = RefCell::new(RateLimiter::new(Instant::now()));
        Self { name, limiter, turn: Mutex::default(), counts: Cell::default(), has_unanswered: Cell::default() }
    }

    /// Calls a second that the service takes, as far as is known.
    pub(super) fn rate(&self) -> Option<f64> {
        self.limiter.borrow().rate()
    }

    /// Starts from the rate that the last holder of a slot found.
    pub(super) fn start_from(&self, rate: f64) {
        self.limiter.borrow_mut().start_from(Instant::now(), rate);
    }

    /// Makes a call at the operation's rate, and again where that can help.
    pub(super) async fn call<T, E>(
        &self,
        send: impl AsyncFn() -> Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<T, AwsError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let mut wait = FIRST_WAIT;
        let mut failures = 0;
        loop {
            let went_out = self.wait_for_turn().await;
            self.counts.update(|counts| CallCounts { calls: counts.calls + 1, ..counts });
            let error = match send().await {
                Ok(output) => {
                    self.limiter.borrow_mut().answered(Instant::now(), went_out);
                    return Ok(output);
                }
                Err(error) => AwsError::from_sdk(self.name, &error),
            };
            if error.is_throttling() {
                self.counts.update(|counts| CallCounts { throttles: counts.throttles + 1, ..counts });
                self.limiter.borrow_mut().throttled(Instant::now(), went_out);
                continue;
            }
            if is_from_service(&error) {
                self.limiter.borrow_mut().answered(Instant::now(), went_out);
            } else {
                self.has_unanswered.set(true);
            }
            failures += 1;
            if !error.retryable || failures == MAX_FAILURES {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    async fn wait_for_turn(&self) -> Instant {
        let _turn = self.turn.lock().await;
        let slot = self.limiter.borrow_mut().slot(Instant::now());
        tokio::time::sleep_until(slot).await;
        Instant::now()
    }

    /// True if an attempt got no answer since this was last asked for.
    pub(super) fn take_unanswered(&self) -> bool {
        self.has_unanswered.take()
    }

    /// What was called since this was last asked for. Where AWS throttled, the log says so: the metrics do not tell
    /// one operation from another.
    pub(super) fn take_counts(&self) -> CallCounts {
        let counts = self.counts.take();
        let CallCounts { calls, throttles } = counts;
        if throttles > 0 {
            tracing::info!(operation = self.name, calls, throttles, "calls throttled");
        }
        counts
    }
}

/// Whether the service answered: a call that was lost on its way says nothing about the rate.
fn is_from_service(error: &AwsError) -> bool {
    !matches!(error.code.as_str(), "Timeout" | "DispatchFailure" | "ResponseError" | "ConstructionFailure")
}
