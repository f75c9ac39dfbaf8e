//! Writers that share a service with a token bucket, from one seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::time::Instant;

use super::RateLimiter;

/// Calls that a manager has under way at most.
const CALLERS: usize = 8;

/// What the service does from a second on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Weather {
    /// It takes so many calls a second.
    Rate(f64),
    /// It refuses this share of the calls, whatever their rate is, and answers the others within its rate.
    Chance(f64),
    Refusing,
    /// It does not answer, and a call ends after five seconds.
    Silent,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    /// Seconds from the start.
    pub(crate) start: f64,
    pub(crate) calls: usize,
    /// Writes one slice after the other, each with a slot.
    pub(crate) in_slices: bool,
}

/// A writer that never ends.
pub(crate) const ENDLESS: Writer = Writer { start: 0.0, calls: usize::MAX, in_slices: false };

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) rate: f64,
    pub(crate) burst: f64,
    /// Shortest and longest, in milliseconds.
    pub(crate) latency_ms: (f64, f64),
    pub(crate) weather: Vec<(f64, Weather)>,
    pub(crate) writers: Vec<Writer>,
    pub(crate) slots: usize,
    /// Calls of a report, and the pause after it in seconds.
    pub(crate) reports: Option<(usize, f64)>,
    pub(crate) seconds: f64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            rate: 40.0,
            burst: 40.0,
            latency_ms: (15.0, 40.0),
            weather: Vec::new(),
            writers: vec![ENDLESS],
            slots: 2,
            reports: None,
            seconds: 600.0,
        }
    }
}

/// One call that came back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) second: f64,
    pub(crate) writer: usize,
    pub(crate) is_answered: bool,
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) calls: Vec<Call>,
    /// When each writer had all its calls answered, in seconds.
    pub(crate) done: Vec<Option<f64>>,
    pub(crate) rates: Vec<(f64, usize, f64)>,
}

impl Run {
    pub(crate) fn answered(&self, from: f64, to: f64) -> f64 {
        self.count(from, to, |call| call.is_answered)
    }

    pub(crate) fn answered_of(&self, writer: usize, from: f64, to: f64) -> f64 {
        self.count(from, to, |call| call.is_answered && call.writer == writer)
    }

    /// The share of refused calls.
    pub(crate) fn throttled(&self, from: f64, to: f64) -> f64 {
        self.count(from, to, |call| !call.is_answered) / self.count(from, to, |_| true).max(1.0)
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of calls")]
    fn count(&self, from: f64, to: f64, is_meant: impl Fn(&Call) -> bool) -> f64 {
        let is_within = |call: &&Call| (from..to).contains(&call.second);
        self.calls.iter().filter(is_within).filter(|call| is_meant(call)).count() as f64
    }
}

/// A small generator: the same numbers for a seed everywhere.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// At least 0 and below 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap()) / (f64::from(u32::MAX) + 1.0)
    }

    pub(crate) fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.share()
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
    fn index(&mut self, count: usize) -> usize {
        (self.share() * count as f64) as usize
    }
}

struct Service {
    rate: f64,
    burst: f64,
    tokens: f64,
    last: f64,
}

impl Service {
    fn takes(&mut self, now: f64, weather: Option<Weather>, random: &mut Random) -> bool {
        if let Some(Weather::Rate(rate)) = weather {
            self.rate = rate;
        }
        self.tokens = (self.tokens + (now - self.last) * self.rate).min(self.burst);
        self.last = now;
        match weather {
            Some(Weather::Refusing | Weather::Silent) => {
                // A service in trouble does not answer from what it saved up before.
                self.tokens = 0.0;
                return false;
            }
            Some(Weather::Chance(share)) if random.share() < share => return false,
            _ => {}
        }
        let takes = self.tokens >= 1.0;
        if takes {
            self.tokens -= 1.0;
        }
        takes
    }
}

enum Event {
    Begin { writer: usize },
    Send { writer: usize },
    Arrive { writer: usize, sent: f64, way: f64 },
    Receive { writer: usize, sent: f64, outcome: Outcome },
    EndSlice { writer: usize },
    FreeSlot { rate: Option<f64> },
}

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Answered,
    Refused,
    Silence,
}

struct State {
    limiter: Option<RateLimiter>,
    left: usize,
    report_left: usize,
    is_open: bool,
    under_way: usize,
    /// Callers wait for their turn in a row; the first one holds a slot.
    in_row: usize,
}

struct Simulation<'a> {
    scenario: &'a Scenario,
    start: Instant,
    random: Random,
    now: f64,
    events: BinaryHeap<Reverse<(u64, usize)>>,
    kept: Vec<Event>,
    states: Vec<State>,
    waiting: Vec<usize>,
    service: Service,
    run: Run,
}

/// Runs a scenario. The same seed gives the same run.
pub(crate) fn run(scenario: &Scenario, seed: u64) -> Run {
    let mut simulation = Simulation::new(scenario, seed);
    while simulation.step() {}
    simulation.run
}

impl<'a> Simulation<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let states = scenario.writers.iter().map(|writer| State {
            limiter: None,
            left: writer.calls,
            report_left: scenario.reports.map_or(usize::MAX, |(calls, _)| calls),
            is_open: false,
            under_way: 0,
            in_row: 0,
        });
        let mut new = Self {
            scenario,
            start: Instant::now() + Duration::from_hours(1),
            random: Random::new(seed),
            now: 0.0,
            events: BinaryHeap::new(),
            kept: Vec::new(),
            states: states.collect(),
            waiting: Vec::new(),
            service: Service { rate: scenario.rate, burst: scenario.burst, tokens: scenario.burst, last: 0.0 },
            run: Run { calls: Vec::new(), done: vec![None; scenario.writers.len()], rates: Vec::new() },
        };
        for (index, writer) in scenario.writers.iter().enumerate() {
            if writer.in_slices {
                new.waiting.push(index);
            } else {
                new.at(writer.start, Event::Begin { writer: index });
            }
        }
        for _ in 0..scenario.slots {
            new.at(0.0, Event::FreeSlot { rate: None });
        }
        new
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "nanoseconds of a run fit")]
    fn at(&mut self, second: f64, event: Event) {
        self.kept.push(event);
        self.events.push(Reverse(((second * 1e9) as u64, self.kept.len() - 1)));
    }

    fn instant(&self, second: f64) -> Instant {
        self.start + Duration::from_secs_f64(second)
    }

    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a run fit")]
    fn step(&mut self) -> bool {
        let Some(Reverse((nanos, index))) = self.events.pop() else { return false };
        self.now = nanos as f64 / 1e9;
        if self.now > self.scenario.seconds {
            return false;
        }
        let event = std::mem::replace(&mut self.kept[index], Event::FreeSlot { rate: None });
        match event {
            Event::Begin { writer } => {
                let now = self.instant(self.now);
                self.states[writer].limiter.get_or_insert_with(|| RateLimiter::new(now));
                self.states[writer].is_open = true;
                self.begin(writer);
            }
            Event::Send { writer } => self.send(writer),
            Event::Arrive { writer, sent, way } => self.arrive(writer, sent, way),
            Event::Receive { writer, sent, outcome } => self.receive(writer, sent, outcome),
            Event::EndSlice { writer } => {
                self.states[writer].is_open = false;
                self.rest(writer);
            }
            Event::FreeSlot { rate } => self.take_slot(rate),
        }
        true
    }

    fn begin(&mut self, writer: usize) {
        while self.states[writer].under_way < CALLERS {
            let state = &mut self.states[writer];
            if !state.is_open || state.left == 0 || state.report_left == 0 {
                break;
            }
            state.left -= 1;
            state.report_left -= 1;
            state.under_way += 1;
            self.queue(writer);
        }
        self.rest(writer);
    }

    fn queue(&mut self, writer: usize) {
        self.states[writer].in_row += 1;
        if self.states[writer].in_row == 1 {
            self.take_turn(writer);
        }
    }

    fn take_turn(&mut self, writer: usize) {
        let now = self.instant(self.now);
        let Some(limiter) = &mut self.states[writer].limiter else { unreachable!("it has begun") };
        let slot = limiter.slot(now);
        self.at((slot - self.start).as_secs_f64().max(self.now), Event::Send { writer });
    }

    fn send(&mut self, writer: usize) {
        self.states[writer].in_row -= 1;
        if self.states[writer].in_row > 0 {
            self.take_turn(writer);
        }
        let (shortest, longest) = self.scenario.latency_ms;
        let way = self.random.between(shortest, longest) / 2000.0;
        self.at(self.now + way, Event::Arrive { writer, sent: self.now, way });
    }

    fn arrive(&mut self, writer: usize, sent: f64, way: f64) {
        let weather = self.scenario.weather.iter().rev().find(|(from, _)| *from <= self.now);
        let weather = weather.map(|(_, weather)| *weather);
        let (outcome, way) = if self.service.takes(self.now, weather, &mut self.random) {
            (Outcome::Answered, way)
        } else if weather == Some(Weather::Silent) {
            (Outcome::Silence, 5.0)
        } else {
            (Outcome::Refused, way)
        };
        self.at(self.now + way, Event::Receive { writer, sent, outcome });
    }

    fn receive(&mut self, writer: usize, sent: f64, outcome: Outcome) {
        let (now, sent) = (self.instant(self.now), self.instant(sent));
        let Some(limiter) = &mut self.states[writer].limiter else { unreachable!("it has begun") };
        match outcome {
            Outcome::Answered => limiter.answered(now, sent),
            Outcome::Refused => limiter.throttled(now, sent),
            Outcome::Silence => {}
        }
        if outcome != Outcome::Silence {
            self.run.calls.push(Call { second: self.now, writer, is_answered: outcome == Outcome::Answered });
        }
        if outcome != Outcome::Answered {
            return self.queue(writer);
        }
        self.states[writer].under_way -= 1;
        self.begin(writer);
    }

    /// A writer without a call under way is done, pauses, or gives its slot back.
    fn rest(&mut self, writer: usize) {
        let state = &mut self.states[writer];
        if state.under_way > 0 {
            return;
        }
        if state.left == 0 {
            self.run.done[writer].get_or_insert(self.now);
        } else if state.report_left == 0
            && let Some((calls, pause)) = self.scenario.reports
        {
            state.report_left = calls;
            self.at(self.now + pause, Event::Begin { writer });
            return;
        }
        if !self.scenario.writers[writer].in_slices {
            return;
        }
        if let Some(limiter) = state.limiter.take() {
            state.is_open = false;
            if state.left > 0 {
                self.waiting.push(writer);
            }
            let gap = self.random.between(0.1, 0.4);
            self.at(self.now + gap, Event::FreeSlot { rate: limiter.rate() });
        }
    }

    fn take_slot(&mut self, rate: Option<f64>) {
        if self.waiting.is_empty() {
            return;
        }
        let writer = self.waiting.swap_remove(self.random.index(self.waiting.len()));
        let now = self.instant(self.now);
        let limiter = rate.map_or_else(|| RateLimiter::new(now), |rate| RateLimiter::resuming(now, rate));
        self.run.rates.push((self.now, writer, rate.unwrap_or(0.0)));
        self.states[writer].limiter = Some(limiter);
        self.at(self.now + 5.0, Event::EndSlice { writer });
        self.states[writer].is_open = true;
        self.begin(writer);
    }
}
