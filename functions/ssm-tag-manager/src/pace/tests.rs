//! The pace against a service that keeps a token bucket.

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
