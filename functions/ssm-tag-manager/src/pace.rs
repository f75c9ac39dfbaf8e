//! How fast to call an operation whose rate the service does not publish. Pure: the time is passed in.
//!
//! Nothing is held back until the service throttles. From then on calls are spaced evenly. The service is taken to
//! keep a token bucket, as AWS does where it describes its throttling. It has none left when it throttles, so what it
//! answered from one throttling to the next is what it refilled in that time, whatever the pace was. A little less
//! than that is the next pace; windows without throttling raise it in growing steps. Where the pace turns out to be far
//! off, as when the service answered nothing for some seconds, the rate is learned anew, in large steps.

use std::time::Duration;

use tokio::time::Instant;

/// Calls a second below which we do not go: at this rate a call that is throttled costs nobody anything.
const SLOWEST: f64 = 0.5;
/// Where the first throttling comes early, before it tells anything about the rate, it is where we begin.
const FIRST_RATE: f64 = 5.0;
/// How much of the rate that was found is asked for.
const BACK_OFF: f64 = 0.97;
/// So many answers tell a rate.
const TELLING_ANSWERS: f64 = 20.0;
/// So many refusals before that tell that the pace is far off.
const TELLING_REFUSALS: f64 = 16.0;
/// How much of the share that was answered is believed at least. A pause longer than the service saves tokens for
/// looks like a low rate.
const LEAST_OF_ANSWERED: f64 = 0.9;
/// How much of the pace is kept at least where it is far off.
const LEAST_KEPT: f64 = 0.25;
/// Below this share of the pace, what was found is no rate to settle on: it may be a short trouble of the service.
const FAR_OFF: f64 = 0.35;
/// The first step upwards after throttling; each window without doubles it.
const FIRST_STEP: f64 = 0.005;
/// Larger steps would run far past the rate on what the service saved up in the meantime.
const LARGEST_STEP: f64 = 0.1;
/// The steps while the rate is learned.
const LEARNING_STEP: f64 = 0.5;
/// A window is a second long, or longer where calls are few: it takes some to tell a rate.
const WINDOW: Duration = Duration::from_secs(1);
const CALLS_PER_WINDOW: f64 = 50.0;
/// A pause is made up for as far as that: the service saved tokens meanwhile.
const CATCH_UP: Duration = Duration::from_millis(500);

/// The pace of one operation.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Calls a second; absent until the service throttled for the first time.
    rate: Option<f64>,
    /// True until the rate was found, and again where it turned out to be far off.
    is_learning: bool,
    step: f64,
    next_slot: Instant,
    /// Since the service had no token left and the pace was set.
    stretch: Tally,
    /// Since the pace was last looked at.
    window: Tally,
}

/// What came of the calls since some time.
#[derive(Debug)]
struct Tally {
    start: Instant,
    answered: f64,
    refused: f64,
}

impl Tally {
    fn new(start: Instant) -> Self {
        Self { start, answered: 0.0, refused: 0.0 }
    }

    fn answered_rate(&self, now: Instant) -> f64 {
        self.answered / now.saturating_duration_since(self.start).as_secs_f64()
    }

    fn answered_share(&self) -> f64 {
        self.answered / (self.answered + self.refused)
    }
}

impl Pace {
    /// A pace that does not hold back yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            rate: None,
            is_learning: true,
            step: LEARNING_STEP,
            next_slot: now,
            stretch: Tally::new(now),
            window: Tally::new(now),
        }
    }

    /// A pace that starts from a rate that was found before.
    pub(crate) fn resuming(now: Instant, rate: f64) -> Self {
        let mut pace = Self::new(now);
        pace.is_learning = false;
        pace.set(rate, now);
        pace
    }

    /// Calls a second, once the service has throttled.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// When the next call may go. Each slot is given to one call.
    pub(crate) fn slot(&mut self, now: Instant) -> Instant {
        self.turn_window(now);
        let Some(rate) = self.rate else { return now };
        let slot = self.next_slot.max(now.checked_sub(CATCH_UP).unwrap_or(now));
        self.next_slot = slot + Duration::from_secs_f64(1.0 / rate);
        slot.max(now)
    }

    /// The service answered a call, with whatever but throttling.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.turn_window(now);
        self.stretch.answered += 1.0;
        self.window.answered += 1.0;
    }

    /// The service refused a call, sent at `sent`, for its rate.
    pub(crate) fn throttled(&mut self, now: Instant, sent: Instant) {
        self.turn_window(now);
        let Some(rate) = self.rate else {
            // Much of what went through so far was a burst that the service had saved up for us.
            self.set((self.stretch.answered / 2.0).max(FIRST_RATE), now);
            return;
        };
        if sent <= self.stretch.start {
            // It went out at an earlier pace and says nothing about this one.
            return;
        }
        self.stretch.refused += 1.0;
        self.window.refused += 1.0;
        let of_pace = rate * self.stretch.answered_share();
        let found = if self.stretch.answered >= TELLING_ANSWERS {
            self.stretch.answered_rate(now).min(rate).max(of_pace * LEAST_OF_ANSWERED)
        } else if self.stretch.refused >= TELLING_REFUSALS {
            of_pace.max(rate * LEAST_KEPT)
        } else {
            return;
        };
        self.is_learning = found < rate * FAR_OFF;
        self.step = if self.is_learning { LEARNING_STEP } else { FIRST_STEP };
        self.set((found * BACK_OFF).max(SLOWEST), now);
    }

    fn set(&mut self, rate: f64, now: Instant) {
        self.rate = Some(rate);
        self.count_anew(now);
        // There is nothing left to catch up on.
        self.next_slot = self.next_slot.max(now);
    }

    fn count_anew(&mut self, now: Instant) {
        self.stretch = Tally::new(now);
        self.window = Tally::new(now);
    }

    fn turn_window(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.window.start);
        let Some(rate) = self.rate else {
            if elapsed >= WINDOW {
                self.count_anew(now);
            }
            return;
        };
        let length =
            if self.is_learning { WINDOW } else { WINDOW.max(Duration::from_secs_f64(CALLS_PER_WINDOW / rate)) };
        if elapsed < length {
            return;
        }
        // Without calls enough, silence says nothing about the service.
        if self.window.refused == 0.0 && self.window.answered_rate(now) > rate / 2.0 {
            self.rate = Some(rate * (1.0 + self.step));
            if !self.is_learning {
                self.step = (self.step * 2.0).min(LARGEST_STEP);
            }
        }
        self.window = Tally::new(now);
    }
}

#[cfg(test)]
mod tests;
