//! The time that an invocation has for its calls.

use std::time::Duration;

use hub::AwsError;
use tokio::time::{Instant, timeout_at};

/// With less time left than this, nothing further is begun.
const BEGIN_MARGIN: Duration = Duration::from_secs(10);
/// With less time left than this, work under way is cut off so that the answer still gets out.
const ANSWER_MARGIN: Duration = Duration::from_secs(2);

/// When to begin nothing more, and when to cut off what is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    begin_until: Instant,
    answer_until: Instant,
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// It was not begun: there was no time for it.
    NotBegun,
    /// It was cut off. AWS may have done what it asked for.
    CutOff,
    /// AWS refused it, or did not answer.
    Failed(AwsError),
}

impl Stopped {
    /// The error code of AWS, or `DeadlineExceeded`.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::NotBegun | Self::CutOff => "DeadlineExceeded",
            Self::Failed(error) => &error.code,
        }
    }
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotBegun => f.write_str("the time was up before the call"),
            Self::CutOff => f.write_str("the time was up before the answer"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl Deadline {
    /// The deadline of an invocation that Lambda ends after `budget`.
    pub(crate) fn new(budget: Duration) -> Self {
        let start = Instant::now();
        Self {
            begin_until: start + budget.saturating_sub(BEGIN_MARGIN),
            answer_until: start + budget.saturating_sub(ANSWER_MARGIN),
        }
    }

    /// True if nothing further may be begun.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.begin_until
    }

    /// Makes a call, if there is time for it.
    pub(crate) async fn call<T>(&self, call: impl Future<Output = Result<T, AwsError>>) -> Result<T, Stopped> {
        if Instant::now() >= self.begin_until {
            return Err(Stopped::NotBegun);
        }
        match timeout_at(self.answer_until, call).await {
            Ok(result) => result.map_err(Stopped::Failed),
            Err(_) => Err(Stopped::CutOff),
        }
    }
}
