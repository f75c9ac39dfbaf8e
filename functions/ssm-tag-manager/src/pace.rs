//! How fast to call an operation whose rate the service does not publish. Pure: the time is passed in.
//!
//! Nothing is held back until the service throttles. From then on calls are spaced evenly. At the end of each
//! window the rate follows what was seen in it: after throttling, a little less than what the service answered, for
//! that is what it takes; after a window without, a little more, in growing steps. So the rate stays close to the
//! service's and touches it seldom.

use std::time::Duration;

use tokio::time::Instant;

/// Calls a second below which we do not go: at this rate a call that is throttled costs nobody anything.
const SLOWEST: f64 = 0.5;
/// How much of the answered rate is asked for after throttling.
const BACK_OFF: f64 = 0.97;
/// How much of the rate is kept at least, once it has been learned.
const LARGEST_BACK_OFF: f64 = 0.9;
/// The first step upwards after throttling; each window without doubles it.
const FIRST_STEP: f64 = 0.005;
/// Larger steps would run far past the rate on what the service saved up in the meantime.
const LARGEST_STEP: f64 = 0.02;
/// The steps before the first throttled window.
const LEARNING_STEP: f64 = 0.5;
/// Where the first throttling comes early, before it tells anything about the rate, it is where we begin.
const FIRST_RATE: f64 = 5.0;
/// A window is a second long, or longer where calls are few: it takes some to tell a rate.
const WINDOW: Duration = Duration::from_secs(1);
const CALLS_PER_WINDOW: f64 = 50.0;

/// The pace of one operation.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Calls a second; absent until the service throttled for the first time.
    rate: Option<f64>,
    step: f64,
    phase: Phase,
    next_slot: Instant,
    window: Window,
}

/// How well the service's rate is known.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// No window was throttled yet: the rate is below the service's.
    Rising,
    /// No window after that was free of throttling yet: the rate is above.
    Settling,
    /// It is about right.
    Settled,
}

#[derive(Debug)]
struct Window {
    start: Instant,
    answered_count: f64,
    is_throttled: bool,
}

impl Window {
    fn new(start: Instant) -> Self {
        Self { start, answered_count: 0.0, is_throttled: false }
    }
}

impl Pace {
    /// A pace that does not hold back yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { rate: None, step: FIRST_STEP, phase: Phase::Rising, next_slot: now, window: Window::new(now) }
    }

    /// When the next call may go. Each slot is given to one call.
    pub(crate) fn slot(&mut self, now: Instant) -> Instant {
        self.turn_window(now);
        let Some(rate) = self.rate else { return now };
        let slot = self.next_slot.max(now);
        self.next_slot = slot + Duration::from_secs_f64(1.0 / rate);
        slot
    }

    /// The service answered a call, with whatever but throttling.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.turn_window(now);
        self.window.answered_count += 1.0;
    }

    /// The service refused a call, sent at `sent`, for its rate.
    pub(crate) fn throttled(&mut self, now: Instant, sent: Instant) {
        self.turn_window(now);
        if self.rate.is_none() {
            // Much of what went through so far was a burst that the service had saved up for us.
            self.rate = Some((self.window.answered_count / 2.0).max(FIRST_RATE));
            self.window = Window::new(now);
        } else if sent > self.window.start {
            // A call that went out before says nothing about the rate of this window.
            self.window.is_throttled = true;
        }
    }

    fn turn_window(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.window.start);
        let Some(rate) = self.rate else {
            if elapsed >= WINDOW {
                self.window = Window::new(now);
            }
            return;
        };
        let length = if self.phase == Phase::Rising {
            WINDOW
        } else {
            WINDOW.max(Duration::from_secs_f64(CALLS_PER_WINDOW / rate))
        };
        if elapsed < length {
            return;
        }
        let answered_rate = self.window.answered_count / elapsed.as_secs_f64();
        if self.window.is_throttled {
            // Once settled, a low count may only mean a pause between two reports: it is not believed at once.
            let least = if self.phase == Phase::Settled { rate * LARGEST_BACK_OFF } else { SLOWEST };
            if self.phase == Phase::Rising {
                self.phase = Phase::Settling;
            }
            self.step = FIRST_STEP;
            self.rate = Some((answered_rate.min(rate) * BACK_OFF).max(least).max(SLOWEST));
        } else if answered_rate > rate / 2.0 {
            // Without calls enough, silence says nothing about the service.
            let step = if self.phase == Phase::Rising { LEARNING_STEP } else { self.step };
            if self.phase == Phase::Settling {
                self.phase = Phase::Settled;
            }
            self.rate = Some(rate * (1.0 + step));
            self.step = (self.step * 2.0).min(LARGEST_STEP);
        }
        self.window = Window::new(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that takes `rate` calls a second and saves up at most `burst`.
    struct Service {
        rate: f64,
        burst: f64,
        tokens: f64,
        last: Instant,
    }

    impl Service {
        fn takes(&mut self, now: Instant) -> bool {
            self.tokens = (self.tokens + (now - self.last).as_secs_f64() * self.rate).min(self.burst);
            self.last = now;
            let takes = self.tokens >= 1.0;
            if takes {
                self.tokens -= 1.0;
            }
            takes
        }
    }

    struct Run {
        share: f64,
        throttled_share: f64,
    }

    /// Calls for ten minutes from `clients` paces, each with eight calls under way at most.
    fn run(rate: f64, burst: f64, latency: Duration, clients: usize) -> Run {
        let start = Instant::now();
        let mut service = Service { rate, burst, tokens: burst, last: start };
        let mut paces: Vec<Pace> = (0..clients).map(|_| Pace::new(start)).collect();
        // Each entry is a caller: whose pace it follows, when it acts next, and whether it has its slot by then.
        let mut callers: Vec<(Instant, usize, bool)> =
            (0..clients * 8).map(|index| (start, index % clients, false)).collect();
        let (mut answered, mut throttled) = (0.0, 0.0);
        let length = Duration::from_mins(10);
        while let Some(caller) = callers.iter_mut().min_by_key(|(at, ..)| *at) {
            let (now, client, has_slot) = *caller;
            if now > start + length {
                break;
            }
            if !has_slot {
                *caller = (paces[client].slot(now), client, true);
                continue;
            }
            if service.takes(now) {
                answered += 1.0;
                paces[client].answered(now);
            } else {
                throttled += 1.0;
                paces[client].throttled(now, now);
            }
            *caller = (now + latency, client, false);
        }
        Run {
            share: answered / (rate * length.as_secs_f64() + burst),
            throttled_share: throttled / (answered + throttled),
        }
    }

    #[test]
    fn the_rate_of_the_service_is_used_and_seldom_exceeded() {
        for (rate, clients) in [(5.0, 1), (10.0, 1), (40.0, 1), (40.0, 4), (100.0, 1), (100.0, 4), (300.0, 4)] {
            for burst in [rate, 5.0 * rate] {
                let run = run(rate, burst, Duration::from_millis(20), clients);
                let what = format!("rate {rate}, burst {burst}, {clients} clients");
                assert!(run.share >= 0.95, "{what}: only {:.3} of the rate", run.share);
                assert!(run.throttled_share < 0.02, "{what}: {:.3} throttled", run.throttled_share);
            }
        }
    }

    #[test]
    fn nothing_is_held_back_until_the_service_throttles() {
        let run = run(10_000.0, 10_000.0, Duration::from_millis(8), 1);
        assert!(run.throttled_share == 0.0 && run.share > 0.09, "eight at a time, 8 ms each: 1,000 calls a second");
    }

    #[test]
    fn the_pace_recovers_when_the_service_takes_more() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.throttled(start, start);
        let mut now = start;
        for _ in 0..1_000 {
            now = pace.slot(now);
            pace.answered(now);
        }
        assert!(pace.rate.is_some_and(|rate| rate > 40.0), "{pace:?}");
    }

    #[test]
    fn even_where_every_call_is_throttled_calls_go_on() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut now = start;
        for _ in 0..100 {
            now = pace.slot(now);
            pace.throttled(now, now);
        }
        assert!(now - start < Duration::from_secs(201), "at least one call every two seconds");
    }
}
