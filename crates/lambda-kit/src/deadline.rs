//! The time that an invocation has.

use std::fmt;
use std::time::Duration;

use hub::AwsError;
use tokio::time::{Instant, timeout_at};

/// The code of what was not begun, or cut off, because the invocation was about to end.
pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";

/// How long before the end of an invocation its work ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Margins {
    /// With less time left than this, nothing further is begun.
    pub begin: Duration,
    /// With less time left than this, work under way is cut off so that the answer still gets out.
    pub answer: Duration,
}

impl Default for Margins {
    /// Enough for a single call of AWS with its retries, and for an answer on a slow core.
    fn default() -> Self {
        Self { begin: Duration::from_secs(10), answer: Duration::from_secs(2) }
    }
}

/// When to begin nothing more, and when to cut off what is under way.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    begin_until: Instant,
    answer_until: Instant,
}

/// Why a piece of work brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped<E = AwsError> {
    /// It was not begun: there was no time for it.
    NotBegun,
    /// It was cut off. AWS may have done what it asked for.
    CutOff,
    /// It failed by itself.
    Failed(E),
}

impl Stopped {
    /// The error code of AWS, or [`DEADLINE_EXCEEDED`].
    pub fn code(&self) -> &str {
        match self {
            Self::NotBegun | Self::CutOff => DEADLINE_EXCEEDED,
            Self::Failed(error) => &error.code,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Stopped<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBegun => f.write_str("time ran out before it started"),
            Self::CutOff => f.write_str("time ran out before it ended"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl Deadline {
    /// The deadline of an invocation that Lambda ends after `budget`, with the default margins.
    pub fn new(budget: Duration) -> Self {
        Self::with_margins(budget, Margins::default())
    }

    /// The same with other margins.
    pub fn with_margins(budget: Duration, margins: Margins) -> Self {
        let now = Instant::now();
        Self {
            begin_until: now + budget.saturating_sub(margins.begin),
            answer_until: now + budget.saturating_sub(margins.answer),
        }
    }

    /// Whichever of the two ends earlier.
    #[must_use]
    pub fn or_earlier(self, other: Self) -> Self {
        Self {
            begin_until: self.begin_until.min(other.begin_until),
            answer_until: self.answer_until.min(other.answer_until),
        }
    }

    /// For how long something may still begin.
    pub fn time_left(&self) -> Duration {
        self.begin_until.saturating_duration_since(Instant::now())
    }

    /// True if nothing further may begin.
    pub fn is_late(&self) -> bool {
        Instant::now() >= self.begin_until
    }

    /// When nothing further may begin.
    pub fn begin_until(&self) -> Instant {
        self.begin_until
    }

    /// When work under way is cut off.
    pub fn answer_until(&self) -> Instant {
        self.answer_until
    }

    /// Does a piece of work, and cuts it off when its result would come too late. Then there is none.
    pub async fn cut_off<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.answer_until, work).await.ok()
    }

    /// Does a piece of work if there is time to begin it, and cuts it off when its result would come too late.
    ///
    /// # Errors
    /// Why there is no result.
    pub async fn call<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, Stopped<E>> {
        if self.is_late() {
            return Err(Stopped::NotBegun);
        }
        self.cut_off(work).await.map_or(Err(Stopped::CutOff), |result| result.map_err(Stopped::Failed))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    /// Work that takes this long and succeeds.
    async fn work(seconds: u64) -> Result<u64, &'static str> {
        sleep(Duration::from_secs(seconds)).await;
        Ok(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn work_begins_in_time_and_is_cut_off_before_the_end() {
        let deadline = Deadline::new(Duration::from_mins(1));
        assert_eq!(deadline.call(work(49)).await, Ok(49));
        assert_eq!(deadline.call(async { Err::<(), _>("refused") }).await, Err(Stopped::Failed("refused")));
        assert!(!deadline.is_late());
        let before = Instant::now();
        assert_eq!(deadline.call(work(30)).await, Err(Stopped::CutOff));
        assert_eq!(before.elapsed(), Duration::from_secs(9));
        assert_eq!(deadline.call(work(0)).await, Err(Stopped::NotBegun));
    }

    #[tokio::test(start_paused = true)]
    async fn the_margins_are_those_of_the_caller() {
        let margins = Margins { begin: Duration::from_secs(45), answer: Duration::from_secs(3) };
        let deadline = Deadline::with_margins(Duration::from_mins(1), margins);
        advance(Duration::from_secs(14)).await;
        assert_eq!(deadline.time_left(), Duration::from_secs(1));
        assert!(!deadline.is_late());
        advance(Duration::from_secs(1)).await;
        assert!(deadline.is_late() && deadline.time_left().is_zero());
        assert_eq!(deadline.answer_until() - deadline.begin_until(), Duration::from_secs(42));
    }

    #[tokio::test(start_paused = true)]
    async fn with_less_than_a_margin_nothing_begins() {
        let deadline = Deadline::new(Duration::from_secs(9));
        assert_eq!(deadline.call(work(0)).await, Err(Stopped::NotBegun));
    }
}
