//! Runs that are cut off anywhere, meet each other, fail at any call, and find that others changed what they left.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use activation_issuer::activation::{ActivationId, Parameter};
use activation_issuer::answer::Answer;
use activation_issuer::{Config, IssueError};
use proptest::prelude::*;
use serde_json::json;

use crate::world::{Fault, State, World};
use crate::{
    A, B, DAY, EAST, HOUR, WEST, assert_silent, config, config_with, invoke, invoke_with, run, runtime, told, writes,
};

/// Something that others do between two runs.
#[derive(Debug, Clone)]
enum Event {
    DeleteParameter {
        agency: &'static str,
        region: &'static str,
    },
    Garble {
        agency: &'static str,
        region: &'static str,
    },
    /// A parameter gets the activation of the other agency.
    Confuse {
        agency: &'static str,
        region: &'static str,
    },
    DeleteActivation(usize),
    UseUp {
        which: usize,
        count: u32,
    },
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Answer, IssueError>> + 'a>>;

#[derive(Debug, Clone)]
struct Issuer {
    faults: Vec<Fault>,
    /// After so many steps Lambda stops it, in the middle of whatever it does.
    crash_after: Option<usize>,
    only: Option<&'static str>,
}

#[derive(Debug, Clone)]
struct Round {
    hours: i64,
    events: Vec<Event>,
    issuers: Vec<Issuer>,
    /// Who takes the next step.
    order: Vec<prop::sample::Index>,
}

fn place() -> impl Strategy<Value = (&'static str, &'static str)> {
    (prop_oneof![Just(A), Just(B)], prop_oneof![Just(EAST), Just(WEST)])
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        place().prop_map(|(agency, region)| Event::DeleteParameter { agency, region }),
        place().prop_map(|(agency, region)| Event::Garble { agency, region }),
        place().prop_map(|(agency, region)| Event::Confuse { agency, region }),
        any::<usize>().prop_map(Event::DeleteActivation),
        (any::<usize>(), 1..1100_u32).prop_map(|(which, count)| Event::UseUp { which, count }),
    ]
}

fn issuer() -> impl Strategy<Value = Issuer> {
    let fault = prop_oneof![
        6 => Just(Fault::None), 1 => Just(Fault::Refused), 1 => Just(Fault::Failed), 2 => Just(Fault::Lost),
    ];
    (
        proptest::collection::vec(fault, 0..20),
        proptest::option::of(0..40_usize),
        prop_oneof![3 => Just(None), 1 => Just(Some(A))],
    )
        .prop_map(|(faults, crash_after, only)| Issuer { faults, crash_after, only })
}

fn round() -> impl Strategy<Value = Round> {
    (
        prop_oneof![Just(0), 0..3_i64, 0..48_i64, 0..800_i64],
        proptest::collection::vec(event(), 0..4),
        proptest::collection::vec(issuer(), 1..=2),
        proptest::collection::vec(any::<prop::sample::Index>(), 0..80),
    )
        .prop_map(|(hours, events, issuers, order)| Round { hours, events, issuers, order })
}

impl Event {
    fn happen(&self, state: &mut State) {
        let key = |agency: &str, region: &str| (agency.parse().unwrap(), region.parse().unwrap());
        let nth = |state: &State, which: usize| -> Option<ActivationId> {
            let ids: Vec<_> = state.activations.keys().cloned().collect();
            (!ids.is_empty()).then(|| ids[which % ids.len()].clone())
        };
        match self {
            Self::DeleteParameter { agency, region } => drop(state.parameters.remove(&key(agency, region))),
            Self::Garble { agency, region } => {
                state.parameters.insert(key(agency, region), Parameter::Malformed);
            }
            Self::Confuse { agency, region } => {
                let other = if *agency == A { B } else { A };
                if let Some(parameter) = state.parameters.get(&key(other, region)).cloned() {
                    state.parameters.insert(key(agency, region), parameter);
                }
            }
            Self::DeleteActivation(which) => {
                if let Some(id) = nth(state, *which) {
                    state.activations.remove(&id);
                }
            }
            Self::UseUp { which, count } => {
                if let Some(id) = nth(state, *which) {
                    let activation = state.activation(&id);
                    let count = activation.registrations_count + count;
                    activation.registrations_count = count.min(activation.registration_limit);
                }
            }
        }
    }
}

impl Round {
    fn play(&self, world: &World) {
        world.with(|state| {
            state.now += self.hours * HOUR;
            self.events.iter().for_each(|event| event.happen(state));
        });
        let runtime = runtime();
        let _context = runtime.enter();
        let accesses: Vec<_> = self.issuers.iter().map(|issuer| world.access(issuer.faults.clone())).collect();
        let requests: Vec<_> = self
            .issuers
            .iter()
            .map(|issuer| issuer.only.map_or_else(|| json!({}), |agency| json!({"agency": agency})))
            .collect();
        let mut running: Vec<Option<Running<'_>>> = Vec::new();
        for (access, request) in accesses.iter().zip(&requests) {
            running.push(Some(Box::pin(invoke(world, access, 900, request))));
        }
        let mut steps = vec![0; running.len()];
        let mut order = self.order.iter();
        let mut turn = 0;
        while running.iter().any(Option::is_some) {
            turn = order.next().map_or(turn + 1, |choice| choice.index(running.len())) % running.len();
            let Some(future) = &mut running[turn] else { continue };
            if self.issuers[turn].crash_after.is_some_and(|limit| steps[turn] >= limit) {
                running[turn] = None;
                continue;
            }
            steps[turn] += 1;
            if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                assert_silent(&told(&result));
                running[turn] = None;
            }
        }
    }
}

/// Every agency's parameters hold one live activation, with its code.
fn assert_served(state: &State) {
    for agency in &state.granted {
        let regions = [EAST, WEST].map(|region| region.parse().unwrap());
        let stored = regions.map(|region| state.parameters[&(agency.clone(), region)].stored().unwrap().clone());
        assert_eq!(stored[0], stored[1]);
        assert_eq!(stored[0], state.stored(&stored[0].activation_id), "the code or something else is another");
        let activation = &state.activations[&stored[0].activation_id].0;
        assert_eq!(activation.agency.as_ref(), Some(agency));
        assert!(activation.expiration_date.unix_seconds() > state.now + 6 * 24 * HOUR);
        assert!(activation.registrations_left() >= 100);
    }
}

/// What was written to the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Plays the rounds, then lets an undisturbed issuer run a few times, and checks the laws.
fn check(rounds: &[Round]) {
    let world = World::new(&[A, B]);
    for round in rounds {
        round.play(&world);
    }
    world.with(|state| {
        assert_eq!(state.violations, [""; 0]);
        state.now += 2 * HOUR;
    });

    let answer = run(&world).unwrap();
    world.with(|state| assert_served(state));
    assert_eq!((answer.counts.live, answer.counts.failed), (2, 0));

    let orphans: BTreeSet<ActivationId> = world.with(|state| state.orphans());
    world.with(|state| state.now += 2 * HOUR);
    run(&world).unwrap();
    // One that registered nodes counts for a day.
    world.with(|state| {
        let left = orphans.iter().filter(|id| state.activations.contains_key(id));
        let unused: Vec<_> = left.filter(|id| state.activations[id].0.registrations_count == 0).collect();
        assert!(unused.is_empty(), "orphaned after two runs: {unused:?}");
        state.now += DAY;
    });
    run(&world).unwrap();
    world.with(|state| {
        let left: Vec<_> = orphans.iter().filter(|id| state.activations.contains_key(id)).collect();
        assert!(left.is_empty(), "orphaned after two runs: {left:?}");
        state.calls.clear();
    });

    let answer = run(&world).unwrap();
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for call in world.with(|state| state.calls.clone()) {
        *calls.entry(call.split(' ').next().unwrap().to_owned()).or_default() += 1;
    }
    let expected = [
        ("lambda:ListAliases", 1),
        ("ssm:DescribeActivations", 1),
        ("ssm:DescribeInstanceInformation", 1),
        ("ssm:GetParameter", 4),
        ("ssm:GetServiceSetting", 1),
        ("sts:AssumeRole", 2),
    ];
    assert_eq!(calls, expected.map(|(name, count)| (name.to_owned(), count)).into(), "a steady state is only read");
    assert_eq!(writes(&world), [""; 0]);
    assert_eq!((answer.counts.live, answer.counts.created, answer.counts.deleted), (2, 0, 0));
    world.with(|state| assert_eq!(state.violations, [""; 0]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happened_the_next_runs_make_it_good(rounds in proptest::collection::vec(round(), 0..6)) {
        let lines = Lines::default();
        let written = lines.clone();
        let log = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || written.clone())
            .finish();
        tracing::subscriber::with_default(log, || check(&rounds));
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        prop_assert!(text.contains("activations checked"), "the log was not seen");
        assert_silent(&text);
    }
}

/// Two issuers work on the same agency at the same time: from several situations, with a lead of the one over the
/// other, and then in every order of their steps that is a pattern of five.
#[test]
fn two_issuers_at_once_do_no_harm() {
    let situations: [fn(&mut State); 3] = [
        |_| (),
        // It is to be renewed.
        |state| {
            let id = state.make(A, 5 * DAY, 25 * DAY);
            for region in [EAST, WEST] {
                state.put(A, region, state.stored(&id), 25 * DAY);
            }
        },
        // Each Region holds another one, since just more than an hour, and there is an orphan.
        |state| {
            for region in [EAST, WEST] {
                let id = state.make(A, 20 * DAY, 2 * DAY);
                state.put(A, region, state.stored(&id), HOUR + 1);
            }
            state.make(A, 25 * DAY, 2 * DAY);
        },
    ];
    for (number, situation) in situations.iter().enumerate() {
        for lead in (0..24).step_by(2) {
            for pattern in 0..32_usize {
                let world = World::new(&[A]);
                world.with(situation);
                let turns = (0..200).map(|step| usize::from(pattern >> (step % 5) & 1 == 1));
                let results = interleave(&world, &config(), std::iter::repeat_n(0, lead).chain(turns));
                assert!(results.iter().all(Result::is_ok), "{results:?}");
                let place = format!("situation {number}, lead {lead}, pattern {pattern:#07b}");
                world.with(|state| {
                    assert_eq!(state.violations, [""; 0], "{place}");
                    let is_late = |call: &String| call.starts_with("(stored");
                    assert!(!state.calls.iter().any(is_late), "{place}: {:?}", state.calls);
                    state.now += 2 * HOUR;
                });
                run(&world).unwrap();
                world.with(|state| state.now += 2 * HOUR);
                run(&world).unwrap();
                world.with(|state| {
                    assert_served(state);
                    assert_eq!(state.activations.len(), 1, "{place}");
                });
            }
        }
    }
}

/// Neither of two runs sees what the other is about to make, so each may give away all that is left.
#[test]
fn two_issuers_at_once_exceed_a_limit_by_at_most_an_activation_for_each_agency() {
    const NODE_LIMIT: u32 = 150;
    let limit = NODE_LIMIT.to_string();
    // An activation registers no fewer than this, whatever the fair share of an agency.
    let config = config_with(&[("REGISTRATION_LIMIT", "100"), ("RENEW_BELOW", "75"), ("NODE_LIMIT", &limit)]);
    let given = |lead, pattern: usize| -> u32 {
        let world = World::new(&[A, B]);
        let turns = (0..200).map(|step| usize::from(pattern >> (step % 5) & 1 == 1));
        for result in interleave(&world, &config, std::iter::repeat_n(0, lead).chain(turns)) {
            assert!(matches!(result, Ok(_) | Err(IssueError::PartialIssue(_))), "{result:?}");
        }
        let mut limits: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        world.with(|state| {
            assert_eq!(state.violations, [""; 0]);
            for (activation, _) in state.activations.values() {
                limits.entry(activation.agency.clone()).or_default().push(activation.registration_limit);
            }
        });
        assert!(limits.values().all(|made| made.len() <= 2), "lead {lead}, pattern {pattern:#07b}: {limits:?}");
        limits.into_values().flatten().sum()
    };
    let given: Vec<u32> = (0..24)
        .step_by(2)
        .flat_map(|lead| (0..32).map(move |pattern| (lead, pattern)))
        .map(|(lead, pattern)| given(lead, pattern))
        .chain([given(usize::from(u16::MAX), 0)])
        .collect();
    assert_eq!(given.iter().max(), Some(&(2 * NODE_LIMIT)), "what was left is given away twice, and not more often");
    assert_eq!(given.last(), Some(&NODE_LIMIT), "one after the other exceeds nothing");
}

fn interleave(world: &World, config: &Config, order: impl Iterator<Item = usize>) -> Vec<Result<Answer, IssueError>> {
    let runtime = runtime();
    let _context = runtime.enter();
    let accesses = [world.access([]), world.access([])];
    let request = json!({});
    let mut running: Vec<_> =
        accesses.iter().map(|access| Some(Box::pin(invoke_with(config, world, access, 900, &request)))).collect();
    let mut results = Vec::new();
    for turn in order.chain((0..).map(|step| step % 2)) {
        if running.iter().all(Option::is_none) {
            break;
        }
        let Some(future) = &mut running[turn] else { continue };
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            results.push(result);
            running[turn] = None;
        }
    }
    results
}
