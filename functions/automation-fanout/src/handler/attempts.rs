//! The attempts of one start.
//!
//! They are made here and not by the SDK. Its waits are random and may be short, so that an attempt and the next start
//! would come right after each other, just when the service has asked for fewer calls.

use std::time::Duration;

use hub::AwsError;

use super::{NO_ANSWER_IN_TIME, Run, STOPPED, too_late};
use crate::plan::request::StartRequest;
use crate::ports::World;

/// What is said of a start that was not begun.
pub(super) const NO_TIME_TO_START: &str =
    "not started, because the function's time is up; invoke it again with the same IdempotencyKey";
const START: &str = "ssm:StartAutomationExecution";
const ALWAYS_THROTTLED: &str = "not started, because AWS throttled every attempt until the function's time was up; \
                                invoke it again with the same IdempotencyKey";
/// As many as the SDK makes of every other call.
const ATTEMPTS_MAX: u32 = 8;
/// After an attempt that failed; it doubles up to the maximum. All of them together are 39 seconds.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(8);

/// What is said of a start once the execution of the first start is stopped.
pub(super) fn first_was_stopped(first: &str) -> String {
    format!("not tried, because the execution {first} of the first start was stopped")
}

impl<W: World> Run<'_, W> {
    /// Starts an execution and gives its id. Each attempt takes a turn of the pace, and all have the request's token. None is
    /// made once the execution of the `first` part is stopped, but where one before it may have gone through.
    pub(super) async fn attempt_start(
        &mut self,
        request: &StartRequest,
        first: Option<&str>,
    ) -> Result<String, AwsError> {
        if !self.starts.turn(self.begin_until).await {
            return Err(too_late(START, NO_TIME_TO_START));
        }
        let mut wait = FIRST_WAIT;
        let mut may_have_started = false;
        let mut attempt = 1;
        loop {
            match self.in_time(START, self.world.start(request)).await {
                // What was throttled was not done; of all else nobody knows.
                Err(error) if error.retryable && attempt < ATTEMPTS_MAX => may_have_started |= !error.is_throttling(),
                result => return result,
            }
            attempt += 1;
            self.starts.hold_back(wait);
            wait = (wait * 2).min(WAIT_MAX);
            // What is under way goes on until the answer has to get out.
            if !self.starts.turn(self.answer_until).await {
                return Err(too_late(START, if may_have_started { NO_ANSWER_IN_TIME } else { ALWAYS_THROTTLED }));
            }
            if let Some(first) = first.filter(|_| !may_have_started)
                && matches!(self.was_stopped(first).await, Ok(true))
            {
                let (code, message) = (STOPPED.to_owned(), first_was_stopped(first));
                return Err(AwsError { operation: START, code, message, request_id: None, retryable: false });
            }
        }
    }
}
