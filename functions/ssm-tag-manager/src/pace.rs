//! How fast to call an operation whose rate the service does not publish. Pure: the time is passed in.
//!
//! Nothing is held back until the service throttles. From then on calls are spaced evenly. The service is taken to
//! keep a token bucket, as AWS does where it describes its throttling. It has none left when it throttles, so what it
//! answered from one throttling to the next is what it refilled in that time, whatever the pace was. A little less
//! than that is the next pace; windows without throttling raise it in growing steps.

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
/// The first step upwards after throttling; each window without doubles it.
const FIRST_STEP: f64 = 0.005;
/// Larger steps would run far past the rate on what the service saved up in the meantime.
const LARGEST_STEP: f64 = 0.1;
/// The steps before the rate was found for the first time.
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
    /// True until the rate was found for the first time.
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
        let share = rate * self.stretch.answered_share();
        let found = if self.stretch.answered >= TELLING_ANSWERS {
            self.stretch.answered_rate(now).min(rate).max(share * LEAST_OF_ANSWERED)
        } else if self.stretch.refused >= TELLING_REFUSALS {
            share.max(rate * LEAST_KEPT)
        } else {
            return;
        };
        self.is_learning = false;
        self.step = FIRST_STEP;
        self.set((found * BACK_OFF).max(SLOWEST), now);
    }

    fn set(&mut self, rate: f64, now: Instant) {
        self.rate = Some(rate);
        self.stretch = Tally::new(now);
        self.window = Tally::new(now);
        // There is nothing left to catch up on.
        self.next_slot = self.next_slot.max(now);
    }

    fn turn_window(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.window.start);
        let Some(rate) = self.rate else {
            if elapsed >= WINDOW {
                self.stretch = Tally::new(now);
                self.window = Tally::new(now);
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

    /// What managers ask of a service, each with eight calls under way at most.
    #[derive(Clone, Copy)]
    struct Load {
        rate: f64,
        burst: f64,
        clients: usize,
        /// All calls of one manager; it pauses after each report.
        calls: usize,
        calls_per_report: usize,
        pause: Duration,
        latency: Duration,
    }

    const STEADY: Load = Load {
        rate: 40.0,
        burst: 40.0,
        clients: 1,
        calls: usize::MAX,
        calls_per_report: usize::MAX,
        pause: Duration::ZERO,
        latency: Duration::from_millis(20),
    };

    struct Run {
        share: f64,
        throttled_share: f64,
    }

    /// One of the eight callers of a manager.
    #[derive(Clone, Copy)]
    struct Caller {
        client: usize,
        acts_at: Instant,
        step: Step,
    }

    #[derive(Clone, Copy)]
    enum Step {
        Begin,
        Send,
        Receive { sent: Instant, is_answered: bool },
        Rest,
    }

    struct Client {
        pace: Pace,
        calls_left: usize,
        report_left: usize,
        working: usize,
    }

    /// Makes the calls, or ten minutes of them.
    fn run(load: Load) -> Run {
        let start = Instant::now();
        let mut service = Service { rate: load.rate, burst: load.burst, tokens: load.burst, last: start };
        let client =
            || Client { pace: Pace::new(start), calls_left: load.calls, report_left: load.calls_per_report, working: 8 };
        let mut clients: Vec<Client> = (0..load.clients).map(|_| client()).collect();
        let mut callers: Vec<Caller> = (0..load.clients * 8)
            .map(|index| Caller { client: index % load.clients, acts_at: start, step: Step::Begin })
            .collect();
        let (mut answered, mut throttled) = (0.0, 0.0);
        let mut now = start;
        let resting = |caller: &Caller| matches!(caller.step, Step::Rest);
        while let Some(index) =
            (0..callers.len()).filter(|index| !resting(&callers[*index])).min_by_key(|index| callers[*index].acts_at)
        {
            let Caller { client: of, acts_at, step } = callers[index];
            if acts_at > start + Duration::from_mins(10) {
                break;
            }
            now = acts_at;
            let client = &mut clients[of];
            let (step, acts_at) = match step {
                Step::Begin if client.calls_left > 0 && client.report_left > 0 => {
                    client.calls_left -= 1;
                    client.report_left -= 1;
                    (Step::Send, client.pace.slot(now))
                }
                Step::Begin => {
                    client.working -= 1;
                    (Step::Rest, now)
                }
                Step::Send => {
                    // Answers overtake each other.
                    let latency = load.latency.mul_f64(1.0 + f64::from(u32::try_from(index % 8).unwrap()) / 8.0);
                    (Step::Receive { sent: now, is_answered: service.takes(now) }, now + latency)
                }
                Step::Receive { is_answered: true, .. } => {
                    answered += 1.0;
                    client.pace.answered(now);
                    (Step::Begin, now)
                }
                Step::Receive { sent, .. } => {
                    throttled += 1.0;
                    client.pace.throttled(now, sent);
                    (Step::Send, client.pace.slot(now))
                }
                Step::Rest => unreachable!("it does not act"),
            };
            callers[index] = Caller { client: of, acts_at, step };
            if client.working == 0 && client.calls_left > 0 {
                client.working = 8;
                client.report_left = load.calls_per_report;
                for caller in callers.iter_mut().filter(|caller| caller.client == of) {
                    *caller = Caller { client: of, acts_at: now + load.pause, step: Step::Begin };
                }
            }
        }
        Run {
            share: answered / (load.rate * (now - start).as_secs_f64() + load.burst),
            throttled_share: throttled / (answered + throttled),
        }
    }

    fn holds(load: Load, what: &str) {
        let run = run(load);
        let what = format!("{what}: rate {}, burst {}, {} clients", load.rate, load.burst, load.clients);
        assert!(run.share >= 0.95, "{what}: only {:.3} of the rate", run.share);
        assert!(run.throttled_share < 0.02, "{what}: {:.4} throttled", run.throttled_share);
    }

    #[test]
    fn the_rate_of_the_service_is_used_and_seldom_exceeded() {
        for (rate, clients) in [(5.0, 1), (10.0, 1), (40.0, 1), (40.0, 4), (100.0, 1), (100.0, 4), (300.0, 4)] {
            for burst in [rate, 5.0 * rate] {
                holds(Load { rate, burst, clients, ..STEADY }, "ten minutes");
            }
        }
    }

    #[test]
    fn so_it_is_in_a_short_run_with_pauses() {
        for rate in [5.0, 10.0, 40.0, 100.0] {
            for pause in [20, 50, 100, 200, 300, 400] {
                let pause = Duration::from_millis(pause);
                let load = Load { rate, burst: rate, calls: 3_000, calls_per_report: 500, pause, ..STEADY };
                holds(load, &format!("3,000 calls, pauses of {pause:?}"));
            }
        }
    }

    #[test]
    fn nothing_is_held_back_until_the_service_throttles() {
        let latency = Duration::from_millis(8);
        let run = run(Load { rate: 10_000.0, burst: 10_000.0, latency, ..STEADY });
        assert!(run.throttled_share == 0.0 && run.share > 0.06, "eight at a time, 8 to 15 ms each: {:.3}", run.share);
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
