//! The pace against a service that keeps a token bucket.

use super::*;

/// A service that takes `rate` calls a second and saves up at most `burst`.
struct Service {
    rate: f64,
    burst: f64,
    changes: &'static [(f64, f64)],
    tokens: f64,
    start: Instant,
    last: Instant,
    /// All that could have been answered.
    offered: f64,
}

impl Service {
    fn new(load: &Load, start: Instant) -> Self {
        let Load { rate, burst, changes, .. } = *load;
        Self { rate, burst, changes, tokens: burst, start, last: start, offered: burst }
    }

    fn takes(&mut self, now: Instant) -> bool {
        let seconds = (now - self.start).as_secs_f64();
        let rate = self.changes.iter().rev().find(|(from, _)| *from <= seconds).map_or(self.rate, |(_, rate)| *rate);
        let refilled = (now - self.last).as_secs_f64() * rate;
        self.last = now;
        self.offered += refilled;
        // A service in trouble does not answer from what it saved up before.
        self.tokens = if rate == 0.0 { 0.0 } else { (self.tokens + refilled).min(self.burst) };
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
    /// From which second on there is another rate.
    changes: &'static [(f64, f64)],
    clients: usize,
    /// All calls of one manager; it pauses after each report.
    calls: usize,
    calls_per_report: usize,
    pause: Duration,
    latency: Duration,
    length: Duration,
}

const STEADY: Load = Load {
    rate: 40.0,
    burst: 40.0,
    changes: &[],
    clients: 1,
    calls: usize::MAX,
    calls_per_report: usize::MAX,
    pause: Duration::ZERO,
    latency: Duration::from_millis(20),
    length: Duration::from_mins(10),
};

struct Run {
    share: f64,
    throttled_share: f64,
    wall: Duration,
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

/// Makes the calls, as far as the time goes.
fn run(load: Load) -> Run {
    let start = Instant::now();
    let mut service = Service::new(&load, start);
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
        if acts_at > start + load.length {
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
    Run { share: answered / service.offered, throttled_share: throttled / (answered + throttled), wall: now - start }
}

fn holds(load: Load, least: f64, what: &str) {
    let run = run(load);
    let what = format!("{what}: rate {}, burst {}, {} clients", load.rate, load.burst, load.clients);
    assert!(run.share >= least, "{what}: only {:.3} of the rate", run.share);
    assert!(run.throttled_share < 0.02, "{what}: {:.4} throttled", run.throttled_share);
}

#[test]
fn the_rate_of_the_service_is_used_and_seldom_exceeded() {
    for (rate, clients) in [(5.0, 1), (10.0, 1), (40.0, 1), (40.0, 4), (100.0, 1), (100.0, 4), (300.0, 4)] {
        for burst in [rate, 5.0 * rate] {
            holds(Load { rate, burst, clients, ..STEADY }, 0.97, "ten minutes");
        }
    }
}

#[test]
fn so_it_is_in_a_short_run_with_pauses() {
    for rate in [5.0, 10.0, 40.0, 100.0] {
        for pause in [20, 50, 100, 200, 400, 900] {
            let pause = Duration::from_millis(pause);
            let load = Load { rate, burst: rate, calls: 3_000, calls_per_report: 500, pause, ..STEADY };
            holds(load, 0.95, &format!("3,000 calls, pauses of {pause:?}"));
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
fn after_a_trouble_of_the_service_the_rate_is_soon_used_again() {
    for changes in [&[(100.0, 0.0), (103.0, 40.0)], &[(100.0, 0.0), (110.0, 40.0)], &[(100.0, 0.0), (160.0, 40.0)]] {
        let run = run(Load { changes, ..STEADY });
        assert!(run.share >= 0.92, "{changes:?}: only {:.3} of the rate", run.share);
    }
}

#[test]
fn short_reports_an_hour_apart_recover_too() {
    let hour = Duration::from_hours(1);
    let run = run(Load {
        rate: 10.0,
        burst: 10.0,
        changes: &[(0.0, 0.0), (60.0, 10.0)],
        calls: 400,
        calls_per_report: 40,
        pause: hour,
        length: hour * 24,
        ..STEADY
    });
    let at_work = run.wall.checked_sub(hour * 9).unwrap();
    assert!(at_work < Duration::from_secs(60 + 10 * 8), "ten reports of some seconds: {at_work:?}");
}

#[test]
fn the_pace_follows_a_rate_that_changes() {
    for (changes, least, most) in [
        (&[(120.0, 10.0)], 0.95, 0.03),
        (&[(120.0, 2.0)], 0.95, 0.05),
        (&[(120.0, 80.0)], 0.95, 0.02),
        (&[(120.0, 160.0)], 0.85, 0.02),
    ] {
        let run = run(Load { changes, ..STEADY });
        assert!(run.share >= least, "{changes:?}: only {:.3} of the rate", run.share);
        assert!(run.throttled_share < most, "{changes:?}: {:.4} throttled", run.throttled_share);
    }
}

#[test]
fn a_slow_answer_to_an_earlier_pace_is_not_held_against_the_next() {
    let run = run(Load { rate: 3.0, burst: 3.0, latency: Duration::from_secs(1), ..STEADY });
    assert!(run.share > 0.9 && run.throttled_share < 0.02, "{:.3}, {:.4} throttled", run.share, run.throttled_share);
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

/// A pace that was throttled for the first time after so many answers, a hundred a second.
fn throttled_after(answers: u32) -> (Pace, Instant) {
    let mut now = Instant::now();
    let mut pace = Pace::new(now);
    for _ in 0..answers {
        now += Duration::from_millis(10);
        pace.answered(now);
    }
    pace.throttled(now, now);
    (pace, now)
}

#[test]
fn the_first_throttling_tells_of_the_last_second_alone() {
    let (pace, _) = throttled_after(6_050);
    assert!(pace.rate.is_some_and(|rate| rate <= 50.0), "{pace:?}");
}

#[test]
fn refusals_of_calls_that_went_out_before_are_nobodys_fault() {
    let (mut pace, now) = throttled_after(90);
    let rate = pace.rate;
    for _ in 0..100 {
        pace.throttled(now + Duration::from_millis(500), now);
    }
    assert_eq!(pace.rate, rate);
}

#[test]
fn a_few_refusals_at_once_do_not_end_the_pace() {
    let (mut pace, now) = throttled_after(90);
    let later = now + Duration::from_millis(500);
    for _ in 0..16 {
        pace.throttled(later, later);
    }
    assert!(pace.rate.is_some_and(|rate| rate > 10.0), "{pace:?}");
}

#[test]
fn without_calls_enough_silence_raises_nothing() {
    let (mut pace, mut now) = throttled_after(90);
    let rate = pace.rate;
    for _ in 0..100 {
        now += Duration::from_secs(10);
        let slot = pace.slot(now);
        pace.answered(slot);
    }
    assert_eq!(pace.rate, rate);
}
