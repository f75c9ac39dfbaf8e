//! The time that an invocation has.

use std::time::Duration;

use lambda_kit::{DEADLINE_EXCEEDED, Deadline, Margins, Stopped};
use tokio::time::Instant;

use crate::ports::Failure;

/// Work ends this long before the function is stopped: enough to write the answer, even on a slow core, and little
/// beside the minutes that a sweep may take.
pub const MARGINS: Margins = Margins { begin: Duration::from_secs(5), answer: Duration::from_secs(5) };

/// The time that is left to begin work in.
pub(super) fn remaining(deadline: &Deadline) -> Duration {
    deadline.begin_until().saturating_duration_since(Instant::now())
}

/// Starts nothing after the time is up, and waits no longer than until then.
pub(super) async fn in_time<T>(
    deadline: &Deadline,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    deadline.call(work).await.map_err(|stopped| match stopped {
        Stopped::Failed(failure) => failure,
        Stopped::NotBegun | Stopped::CutOff => {
            Failure::new(DEADLINE_EXCEEDED, "the function's time was up before this was done")
        }
    })
}
