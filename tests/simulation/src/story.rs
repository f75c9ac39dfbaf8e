//! One simulation from its beginning to its end.

use std::rc::Rc;
use std::time::Duration;

use hub::{AccountId, ManagedInstanceId};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::sleep;

use crate::agency;
use crate::check::{self, Violation};
use crate::collector;
use crate::sandbox::{BUDGET, Manager, retire};
use crate::world::{Counts, Faults, Rules, World};

/// The most a lease can last after its holder began.
const LEASES_END: Duration = Duration::from_secs(BUDGET.as_secs() + 10);
/// Until then events have come for the last time.
const EVENTS_END: Duration = Duration::from_mins(8);
const AGENCIES: [&str; 2] = ["222222222222", "333333333333"];
/// It sends what it likes. Its own nodes are its own affair.
const HOSTILE: &str = "666666666666";
const POLICY: &str = r#"{"exclude": ["secret*"], "set": {"Fleet": "agency"}, "maxTags": 6}"#;
/// It drops some of what the other carries, and adds a tag.
const NARROW_POLICY: &str = r#"{"include": ["Env*", "Role"], "set": {"Wave": "1"}, "maxTags": 3}"#;
/// Some policy that an operator approved for another time.
const OTHER_APPROVAL: &str = "0123456789ab";
const OPERATORS_KEYS: [&str; 4] = ["op-1", "op-2", "Owner", "Window"];

/// What a simulation came to.
#[derive(Debug)]
pub struct Run {
    /// Calls and changes of the simulated world.
    pub steps: u64,
    /// What happened, by name: calls, faults, changes.
    pub counts: Counts,
    /// How long it took in the simulated world.
    pub simulated: Duration,
}

/// Runs the simulation of a seed.
///
/// # Errors
/// What is wrong at the end.
pub fn run(seed: u64, rules: Rules) -> Result<Run, Violation> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build() {
        Ok(runtime) => runtime,
        Err(error) => unreachable!("a runtime on one thread: {error}"),
    };
    LocalSet::new().block_on(&runtime, async {
        let begin = tokio::time::Instant::now();
        let world = World::new(seed, rules);
        story(&world).await.map_err(|problem| Violation { seed, problem, counts: world.counts.borrow().clone() })?;
        let counts = world.counts.borrow().clone();
        Ok(Run { steps: counts.values().sum(), counts, simulated: begin.elapsed() })
    })
}

/// What is under way goes on, and nothing goes wrong any more.
fn calm() -> Faults {
    Faults { lag_ms: 1, ec2_lag_ms: 1, latency_ms: 20, ..Faults::default() }
}

fn faults(world: &World) -> Faults {
    // Some runs are calm, and some are all storm.
    let storm = world.real(1.0);
    Faults {
        throttle: world.real(0.5) * storm,
        error: world.real(0.1) * storm,
        lost_answer: world.real(0.1) * storm,
        half_done: world.real(0.1) * storm,
        crash: world.real(0.4) * storm,
        table: world.real(0.2) * storm,
        // In some stories alone, so that the others stay as they were.
        slow_table: if world.seed % 7 == 6 { 0.02 } else { 0.0 },
        slow_policy: if world.is_harder { 0.1 } else { 0.0 },
        lost_event: world.real(0.5) * storm,
        duplicate_event: world.real(0.5) * storm,
        lag_ms: world.pick(1..10_000),
        ec2_lag_ms: world.pick(1..4_000),
        latency_ms: world.pick(10..1_500),
        skew_ms: i64::try_from(world.pick(0..1_000)).unwrap_or_default(),
    }
}

async fn story(world: &Rc<World>) -> Result<(), String> {
    let accounts: Vec<AccountId> = AGENCIES.iter().filter_map(|account| account.parse().ok()).collect();
    let hostile: AccountId = HOSTILE.parse().map_err(|error: hub::Invalid| error.to_string())?;
    let manager = manager(POLICY, "");
    for (index, account) in accounts.iter().enumerate() {
        for number in 0..world.pick(1..9) {
            agency::launch(world, 1_000 * (index as u64 + 1) + number, account);
        }
    }
    agency::launch(world, 9_000, &hostile);
    world.faults.set(faults(world));
    busy(world, &manager, &accounts, &hostile).await;

    world.faults.set(calm());
    sleep(EVENTS_END).await;
    sleep(LEASES_END).await;
    two_sweeps(world, &manager, &accounts).await;
    check::every_node_is_right(world, &manager, &accounts)?;
    let before = check::writes(world);
    two_sweeps(world, &manager, &accounts).await;
    check::nothing_was_written(world, before)?;

    // Another policy takes nothing away, in whatever state the nodes are, until it is approved itself.
    let held = self::manager(NARROW_POLICY, OTHER_APPROVAL);
    let nodes = world.nodes.borrow().clone();
    world.faults.set(faults(world));
    two_sweeps(world, &held, &accounts).await;
    world.faults.set(calm());
    sleep(LEASES_END).await;
    two_sweeps(world, &held, &accounts).await;
    check::nothing_was_taken_away(world, &nodes, &accounts)?;
    let before = check::writes(world);
    two_sweeps(world, &held, &accounts).await;
    check::nothing_was_written(world, before)?;
    let manager = self::manager(NARROW_POLICY, &held.config().policy.digest);
    two_sweeps(world, &manager, &accounts).await;
    check::every_node_is_right(world, &manager, &accounts)?;

    // Whatever the hub set, it still knows.
    let ids: Vec<String> = world.instances.borrow().keys().cloned().collect();
    for id in ids {
        world.change_instance(&id, |state| state.tags.clear());
    }
    two_sweeps(world, &manager, &accounts).await;
    check::every_node_is_right(world, &manager, &accounts)?;

    sleep(Duration::from_hours(3)).await;
    retire(world, &manager).await;
    check::only_the_dead_are_retired(world, &accounts)
}

/// The manager as it is deployed with a policy and an approval. No change is small enough to go without one.
fn manager(policy: &str, approved: &str) -> Rc<Manager> {
    Rc::new(Manager::new(&[
        ("TAG_POLICY", policy),
        ("POLICY_HOLD_PERCENT", "0"),
        ("APPROVED_POLICIES", approved),
        ("RETIRE_NODES", "on"),
        ("RETIRE_GRACE_HOURS", "1"),
        ("BULK_WRITERS", "1"),
    ]))
}

async fn two_sweeps(world: &Rc<World>, manager: &Rc<Manager>, accounts: &[AccountId]) {
    for _ in 0..2 {
        for account in accounts {
            collector::sweep(world, manager, account).await;
        }
        sleep(Duration::from_secs(2)).await;
    }
}

/// Everything at once, for some minutes.
async fn busy(world: &Rc<World>, manager: &Rc<Manager>, accounts: &[AccountId], hostile: &AccountId) {
    let mut actors: Vec<JoinHandle<()>> = Vec::new();
    for account in accounts {
        let (there, manager_there, account_there) = (Rc::clone(world), Rc::clone(manager), account.clone());
        // Most stories are short: more of them are told in the same time.
        let changes = if world.chance(0.2) { world.pick(10..40) } else { world.pick(2..12) };
        actors.push(spawn_local(async move {
            for _ in 0..changes {
                there.pause(50..6_000).await;
                agency::change_something(&there, &manager_there, &account_there);
            }
        }));
        let (there, manager_there, account_there) = (Rc::clone(world), Rc::clone(manager), account.clone());
        let sweeps = world.pick(1..5);
        actors.push(spawn_local(async move {
            let mut under_way = Vec::new();
            for _ in 0..sweeps {
                there.pause(500..40_000).await;
                let (there, manager_there, account_there) =
                    (Rc::clone(&there), Rc::clone(&manager_there), account_there.clone());
                under_way.push(spawn_local(async move {
                    collector::sweep(&there, &manager_there, &account_there).await;
                }));
            }
            for sweep in under_way {
                let _ = sweep.await;
            }
        }));
    }
    let there = Rc::clone(world);
    actors.push(spawn_local(async move {
        for _ in 0..there.pick(0..20) {
            there.pause(100..8_000).await;
            operator_tags(&there);
        }
    }));
    let (there, manager_there, hostile) = (Rc::clone(world), Rc::clone(manager), hostile.clone());
    actors.push(spawn_local(async move {
        for _ in 0..there.pick(0..4) {
            there.pause(1_000..30_000).await;
            agency::attack(&there, &manager_there, &hostile).await;
        }
    }));
    for actor in actors {
        let _ = actor.await;
    }
}

/// An operator tags a node under a key that no instance carries, or takes such a tag away.
fn operator_tags(world: &World) {
    let ids: Vec<ManagedInstanceId> = world.nodes.borrow().keys().cloned().collect();
    if ids.is_empty() {
        return;
    }
    world.count("operator tagged");
    let id = &ids[world.pick_index(ids.len())];
    let key = OPERATORS_KEYS[world.pick_index(OPERATORS_KEYS.len())].to_owned();
    let value = world.pick(0..3).to_string();
    let removes = world.chance(0.3);
    world.change_node(id, |node| {
        if removes {
            node.tags.remove(&key);
            node.operators.remove(&key);
        } else {
            node.tags.insert(key.clone(), value.clone());
            node.operators.insert(key, value);
        }
    });
}
