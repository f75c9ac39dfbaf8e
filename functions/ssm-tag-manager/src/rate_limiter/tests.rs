//! The limiter against a service that keeps a token bucket, with other writers beside it.
//!
//! The service takes 40 calls a second and saves up 40, which explains shares of the rate over 100 %. Each row is from
//! 12 to 150 seeds: the share of the rate, and the share of calls that were throttled.
//!
//! | | median | worst run |
//! |---|---|---|
//! | one writer, ten minutes | 100 %, 1.1 % | 95 % if calls take 0.1 to 0.19 s |
//! | one writer at 5 calls a second | 100 %, 2.0 % | 100 %, 2.2 % |
//! | 2, 3 or 4 writers, together or one after the other | 100 %, 1.2 to 1.6 % | 96 %, 4.1 % |
//! | 12 agencies with 100 calls each, 2 slots | 101 %, 1.1 to 1.9 % | 92 %, 2.7 % |
//! | 30 agencies with 60 calls each, 2 slots | 99 %, 1.0 to 1.4 % | 94 %, 2.0 % |
//! | three calls of another agency meanwhile | 0.2 to 0.3 s | 0.9 s |
//! | 15 seconds after an outage of 3 or 60 seconds | 96 to 100 % | 96 % |
//! | until 95 % of the rate after 40 % were refused by chance for a minute | 0 s | over 15 s in 0 to 4 of 40 runs |
//! | 1 %, 5 %, 10 %, 30 % refused by chance for an hour | 38, 32, 34, 29 calls/s | 37, 29, 33, 25 calls/s |
//!
//! If calls are refused before they reach the bucket, asking more often gets more than the remaining share.
//!
//! Known gaps:
//! - Writers that start half a minute apart can share unevenly: within 15 seconds, the smallest share's median is two
//!   thirds of the fair one, but the lowest in 150 runs was 0.3 with two writers and 0.08 with three and four. There
//!   are two bulk slots, and they pass on their rates.
//! - If the bucket saves five seconds' worth, four writers throttled each other for about a minute in 1 of 200 runs.
//! - A 2 % chance of refusal is too close to the balance of 1.1 %: one writer falls to 9 to 23 calls a second within
//!   the hour. At 3 %, most runs keep 30 and some fall to 8.
//! - If 40 % are refused from the first call on, one writer sometimes needs more than 15 seconds.
//! - If the service takes more than before (40 to 160 calls a second), using that takes about a minute.

use super::simulation::{ENDLESS, Run, Scenario, Weather, Writer, run};
use super::*;

/// Runs of a scenario, each from another seed.
fn runs(scenario: &Scenario, seeds: u64) -> Vec<Run> {
    (0..seeds).map(|seed| run(scenario, seed * 7919 + 1)).collect()
}

/// What the runs of a scenario gave, the smallest first.
struct Figures {
    what: String,
    sorted: Vec<f64>,
}

impl Figures {
    fn of(what: &str, runs: &[Run], figure: impl Fn(&Run) -> f64) -> Self {
        let mut sorted: Vec<f64> = runs.iter().map(figure).collect();
        sorted.sort_by(f64::total_cmp);
        Self { what: what.to_owned(), sorted }
    }

    fn smallest(&self) -> f64 {
        self.sorted[0]
    }

    fn median(&self) -> f64 {
        self.sorted[self.sorted.len() / 2]
    }

    fn largest(&self) -> f64 {
        self.sorted[self.sorted.len() - 1]
    }

    #[track_caller]
    fn all_at_least(&self, bound: f64) {
        assert!(self.smallest() >= bound, "{}: {:?}, expected at least {bound}", self.what, self.sorted);
    }

    #[track_caller]
    fn all_below(&self, bound: f64) {
        assert!(self.largest() < bound, "{}: {:?}, expected less than {bound}", self.what, self.sorted);
    }
}

/// The share of the rate that was used, over all of a run.
fn used(scenario: &Scenario) -> impl Fn(&Run) -> f64 {
    let Scenario { rate, seconds, .. } = *scenario;
    move |run| run.answered(0.0, seconds) / (rate * seconds)
}

fn throttled(run: &Run) -> f64 {
    run.throttled(0.0, f64::INFINITY)
}

#[test]
fn one_writer_uses_the_rate_and_seldom_exceeds_it() {
    for (rate, latency_ms) in [
        (5.0, (5.0, 15.0)),
        (15.0, (5.0, 50.0)),
        (15.0, (100.0, 200.0)),
        (40.0, (5.0, 10.0)),
        (40.0, (15.0, 60.0)),
        (40.0, (100.0, 190.0)),
        (100.0, (5.0, 60.0)),
        (100.0, (20.0, 80.0)),
    ] {
        let scenario = Scenario { rate, burst: rate, latency_ms, ..Scenario::default() };
        let what = format!("{rate} calls/s, {latency_ms:?} ms");
        let runs = runs(&scenario, 4);
        Figures::of(&what, &runs, used(&scenario)).all_at_least(0.95);
        Figures::of(&what, &runs, throttled).all_below(0.02);
    }
}

/// The least that one of the writers got in any 15 seconds, as a part of its fair share.
fn fairness(run: &Run, scenario: &Scenario, from: f64) -> f64 {
    let writers = scenario.writers.len();
    let fair = scenario.rate * 15.0 / f64::from(u32::try_from(writers).unwrap());
    let mut least = f64::INFINITY;
    let mut start = from;
    while start + 15.0 <= scenario.seconds {
        for writer in 0..writers {
            least = least.min(run.answered_of(writer, start, start + 15.0) / fair);
        }
        start += 15.0;
    }
    least
}

/// Writers that start one after the other.
fn side_by_side(writers: u32, apart: f64) -> (Scenario, f64) {
    let last = apart * f64::from(writers - 1);
    let writers = (0..writers).map(|index| Writer { start: apart * f64::from(index), ..ENDLESS }).collect();
    (Scenario { writers, seconds: last + 600.0, ..Scenario::default() }, last)
}

#[test]
fn writers_side_by_side_use_the_rate_and_come_to_a_fair_share() {
    for writers in [2, 3, 4] {
        for apart in [0.0, 3.0, 30.0] {
            // More writers than there are slots share less evenly, and throttle each other a little more.
            let (most_throttled, least_fair) = if writers == 2 { (0.02, 0.5) } else { (0.025, 0.3) };
            let (scenario, last) = side_by_side(writers, apart);
            let what = format!("{writers} writers, {apart} s apart");
            let runs = runs(&scenario, 9);
            Figures::of(&what, &runs, used(&scenario)).all_at_least(0.95);
            Figures::of(&what, &runs, throttled).all_below(most_throttled);
            let fair = Figures::of(&what, &runs, |run| fairness(run, &scenario, last + 15.0));
            assert!(fair.median() >= least_fair, "{what}: {:?}", fair.sorted);
            fair.all_at_least(0.1);
        }
    }
}

/// Once, these four writers took each other's refusals for chance, and three quarters of their calls were refused for
/// ever.
#[test]
fn writers_do_not_take_each_other_for_chance() {
    for seed in [293_004, 411_789, 490_979, 704_792, 791_901] {
        let (scenario, last) = side_by_side(4, 30.0);
        let run = run(&Scenario { burst: 200.0, ..scenario }, seed);
        let throttled = run.throttled(last + 60.0, f64::INFINITY);
        assert!(throttled < 0.03, "seed {seed}: {throttled:.3} throttled");
    }
}

#[test]
fn after_a_trouble_the_rate_is_used_again_within_15_seconds() {
    for (what, weather, end) in [
        ("40 % refused", Weather::Chance(0.4), 160.0),
        ("a short outage", Weather::Refusing, 103.0),
        ("an outage", Weather::Refusing, 160.0),
        ("no answers for a short time", Weather::Silent, 103.0),
        ("no answers", Weather::Silent, 160.0),
    ] {
        for writers in [1, 2] {
            let scenario = Scenario {
                weather: vec![(100.0, weather), (end, Weather::Rate(40.0))],
                seconds: end + 45.0,
                ..side_by_side(writers, 0.0).0
            };
            let what = format!("{what}, {writers} writers");
            let again = Figures::of(&what, &runs(&scenario, 9), |run| run.answered(end + 15.0, end + 45.0) / 1200.0);
            assert!(again.median() >= 0.95, "{what}: {:?}", again.sorted);
            again.all_at_least(0.7);
        }
    }
}

/// As one writer of reports sees it, and one without pauses, early and late.
#[test]
fn soon_after_refusals_by_chance_the_full_rate_is_used() {
    for (start, reports) in [(30.0, Some((1_000, 1.0))), (30.0, None), (100.0, None)] {
        let end = start + 60.0;
        let scenario = Scenario {
            weather: vec![(start, Weather::Chance(0.4)), (end, Weather::Rate(40.0))],
            seconds: end + 45.0,
            reports,
            ..Scenario::default()
        };
        let is_full = |run: &Run, from: f64| run.answered(from, from + 5.0) >= 0.95 * 5.0 * 40.0;
        let again = |run: &Run| (0..40).map(f64::from).find(|after| is_full(run, end + after)).unwrap_or(f64::INFINITY);
        let seconds = Figures::of("seconds until the full rate", &runs(&scenario, 40), again);
        let within = seconds.sorted.iter().filter(|seconds| **seconds <= 15.0).count();
        assert!(within >= 36, "{start} {reports:?}: {:?}", seconds.sorted);
    }
}

#[test]
fn a_trouble_at_the_very_start_is_outlived_too() {
    let scenario = Scenario {
        weather: vec![(0.0, Weather::Refusing), (60.0, Weather::Rate(40.0))],
        seconds: 105.0,
        ..Scenario::default()
    };
    let again = |run: &Run| run.answered(75.0, 105.0) / 1200.0;
    Figures::of("an outage at the start", &runs(&scenario, 5), again).all_at_least(0.95);
}

#[test]
fn chance_does_not_make_the_rate_collapse() {
    for (chance, least) in [(0.01, 0.8), (0.05, 0.7), (0.1, 0.6), (0.3, 0.5)] {
        for writers in [1, 2] {
            let scenario = Scenario {
                weather: vec![(30.0, Weather::Chance(chance))],
                seconds: 3630.0,
                ..side_by_side(writers, 0.0).0
            };
            let what = format!("{chance} of the calls, {writers} writers");
            let used = |run: &Run| run.answered(30.0, 3630.0) / (3600.0 * 40.0 * (1.0 - chance));
            let runs = runs(&scenario, 1);
            Figures::of(&what, &runs, used).all_at_least(least);
            Figures::of(&what, &runs, throttled).all_below(chance + 0.12);
        }
    }
}

/// Agencies that take turns, in two slots.
fn agencies(count: usize, calls: usize) -> Scenario {
    let mut writers = vec![Writer { start: 0.0, calls, in_slices: true }; count];
    // Single changes of other agencies, meanwhile.
    writers.extend((0..10).map(|index| Writer { start: 1.0 + 3.0 * f64::from(index), calls: 3, in_slices: false }));
    Scenario { writers, ..Scenario::default() }
}

#[test]
fn many_agencies_take_turns_without_learning_anew() {
    for (count, calls) in [(12, 100), (30, 60)] {
        let scenario = agencies(count, calls);
        let end = |run: &Run| run.done[..count].iter().map(|done| done.unwrap()).fold(0.0, f64::max);
        let what = format!("{count} agencies with {calls} calls");
        let runs = runs(&scenario, 25);
        let used = Figures::of(&what, &runs, |run| run.answered(0.0, end(run)) / (40.0 * end(run)));
        assert!(used.median() >= 0.95, "{what}: {:?}", used.sorted);
        used.all_at_least(0.85);
        let throttled = Figures::of(&what, &runs, |run| run.throttled(0.0, end(run)));
        assert!(throttled.median() < 0.02, "{what}: {:?}", throttled.sorted);
        throttled.all_below(0.027);
        let single = |run: &Run| {
            let late = |(done, writer): (&Option<f64>, &Writer)| done.unwrap() - writer.start;
            run.done.iter().zip(&scenario.writers).skip(count).map(late).fold(0.0, f64::max)
        };
        Figures::of(&what, &runs, single).all_below(5.0);
    }
}

#[test]
fn a_service_without_a_limit_is_hardly_slowed_down() {
    let writers = vec![Writer { calls: 1_000, ..ENDLESS }];
    let scenario = Scenario { rate: 1e6, burst: 1e6, latency_ms: (10.0, 10.0), writers, ..Scenario::default() };
    // Eight at a time, ten milliseconds each: 1.25 seconds without any limiter.
    Figures::of("1,000 calls", &runs(&scenario, 1), |run| run.done[0].unwrap()).all_below(4.25);
}

#[test]
fn pauses_between_reports_are_made_up_for() {
    for rate in [10.0, 40.0] {
        for pause in [0.02, 0.4, 0.9] {
            let writers = vec![Writer { calls: 3_000, ..ENDLESS }];
            let scenario = Scenario { rate, burst: rate, reports: Some((500, pause)), writers, ..Scenario::default() };
            let what = format!("{rate} calls/s, pauses of {pause} s");
            let used = |run: &Run| {
                let end = run.done[0].unwrap_or(scenario.seconds);
                run.answered(0.0, end) / (rate * end)
            };
            let runs = runs(&scenario, 3);
            Figures::of(&what, &runs, used).all_at_least(0.95);
            Figures::of(&what, &runs, throttled).all_below(0.02);
        }
    }
}

#[test]
fn the_rate_follows_the_service() {
    for (to, least, most) in [(10.0, 0.9, 0.025), (2.0, 0.9, 0.1), (80.0, 0.88, 0.02), (160.0, 0.88, 0.02)] {
        let scenario = Scenario { weather: vec![(120.0, Weather::Rate(to))], ..Scenario::default() };
        let what = format!("from 40 to {to} calls/s");
        let used = |run: &Run| run.answered(0.0, 600.0) / (120.0 * 40.0 + 480.0 * to);
        let runs = runs(&scenario, 3);
        Figures::of(&what, &runs, used).all_at_least(least);
        Figures::of(&what, &runs, throttled).all_below(most);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let scenario = Scenario { seconds: 60.0, ..Scenario::default() };
    let seconds = |seed| run(&scenario, seed).calls.iter().map(|call| call.second).collect::<Vec<_>>();
    assert_eq!(seconds(1), seconds(1));
    assert_ne!(seconds(1), seconds(2));
}

#[test]
fn even_if_every_call_is_refused_calls_go_on() {
    let start = Instant::now();
    let mut limiter = RateLimiter::new(start);
    let mut now = start;
    for _ in 0..100 {
        now = limiter.slot(now);
        limiter.throttled(now, now);
    }
    assert!(now - start < Duration::from_secs(101), "at least one call a second");
    assert_eq!(limiter.rate(), None, "an outage teaches nothing");
}

#[test]
fn nothing_is_handed_over_before_something_was_learned() {
    let now = Instant::now();
    assert_eq!(RateLimiter::new(now).rate(), None);
    assert_eq!(RateLimiter::resuming(now, 17.0).rate(), Some(17.0));
    assert_eq!(RateLimiter::resuming(now, 0.0).rate(), Some(SLOWEST), "a rate that cannot be is not taken");
}

#[test]
fn a_rate_is_taken_over_after_a_pause_and_never_from_ones_own_last_slice() {
    let start = Instant::now();
    let mut limiter = RateLimiter::new(start);
    limiter.start_from(start, 17.0);
    assert_eq!(limiter.rate(), Some(17.0), "it knew nothing");
    let slot = limiter.slot(start + Duration::from_millis(400));
    limiter.start_from(slot + Duration::from_millis(300), 30.0);
    assert_eq!(limiter.rate(), Some(17.0), "it was at work");
    limiter.start_from(slot + Duration::from_secs(3), 30.0);
    assert_eq!(limiter.rate(), Some(30.0), "others were at work meanwhile");
}

#[test]
fn a_refusal_of_a_call_from_before_a_change_is_not_counted() {
    let start = Instant::now();
    let mut limiter = RateLimiter::resuming(start, 20.0);
    let before = start.checked_sub(Duration::from_millis(10)).unwrap();
    for _ in 0..100 {
        limiter.throttled(start + Duration::from_millis(500), before);
    }
    assert_eq!(limiter.rate(), Some(20.0));
}

#[test]
fn without_calls_enough_silence_raises_nothing() {
    let mut now = Instant::now();
    let mut limiter = RateLimiter::resuming(now, 20.0);
    for _ in 0..100 {
        now += Duration::from_secs(10);
        let slot = limiter.slot(now);
        limiter.answered(slot, slot);
    }
    assert_eq!(limiter.rate(), Some(20.0));
}
