//! What there is in the simulated world, and what can go wrong in it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use hub::{AccountId, ManagedInstanceId};
use ssm_tag_manager::plan::{Intent, Tags};
use tokio::time::{Instant, sleep};

/// When every simulation starts, in milliseconds since the Unix epoch.
const START_MS: i64 = 1_795_312_800_000;

/// Which of the hub's rules are in force. Without one of them, the simulation shows what the rule is for.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// A lease keeps other writers away.
    pub leases: bool,
    /// A node is read itself before it is written, and not taken for what the bulk read showed.
    pub fresh_reads: bool,
    /// Whoever takes over a lease learns what its last holder was about to do.
    pub intents: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { leases: true, fresh_reads: true, intents: true }
    }
}

/// How much goes wrong: probabilities for each call or invocation, drawn from the seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub(crate) throttle: f64,
    pub(crate) error: f64,
    pub(crate) lost_answer: f64,
    pub(crate) half_done: f64,
    pub(crate) crash: f64,
    pub(crate) table: f64,
    /// A call of the table that takes many attempts.
    pub(crate) slow_table: f64,
    /// An agency's policy that takes long to read.
    pub(crate) slow_policy: f64,
    pub(crate) lost_event: f64,
    pub(crate) duplicate_event: f64,
    /// The longest that `GetResources` is behind.
    pub(crate) lag_ms: u64,
    /// The longest that EC2 is behind.
    pub(crate) ec2_lag_ms: u64,
    /// The longest that a call takes.
    pub(crate) latency_ms: u64,
    /// The most that two clocks differ.
    pub(crate) skew_ms: i64,
}

/// What happened, by name.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    /// In some stories, calls without an answer are carried out late, and calls are done by half in any order.
    pub(crate) is_harder: bool,
    start: Instant,
    random: RefCell<fastrand::Rng>,
    pub(crate) rules: Rules,
    pub(crate) faults: Cell<Faults>,
    pub(crate) nodes: RefCell<BTreeMap<ManagedInstanceId, Node>>,
    /// Instances of which nobody was told that they ended.
    pub(crate) lost_ends: RefCell<BTreeSet<String>>,
    pub(crate) instances: RefCell<BTreeMap<String, Instance>>,
    pub(crate) leases: RefCell<BTreeMap<String, Held>>,
    /// Which nodes were linked to which source.
    pub(crate) arrivals: RefCell<BTreeMap<String, BTreeSet<ManagedInstanceId>>>,
    pub(crate) counts: RefCell<Counts>,
}

/// A managed node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    pub(crate) tags: Tags,
    /// What it carried since when.
    history: Vec<(i64, Tags)>,
    /// What operators put on it, under keys that no instance carries.
    pub(crate) operators: Tags,
    pub(crate) is_online: bool,
    pub(crate) registered_ms: i64,
}

/// An EC2 instance.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) account: AccountId,
    pub(crate) state: InstanceState,
    history: Vec<(i64, InstanceState)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InstanceState {
    pub(crate) tags: Tags,
    /// The tag `managedinstanceid`.
    pub(crate) node: Option<ManagedInstanceId>,
    pub(crate) is_terminated: bool,
}

/// An item of the lease table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    pub(crate) holder: String,
    pub(crate) until_ms: i64,
    pub(crate) intent: Intent,
}

impl World {
    pub(crate) fn new(seed: u64, rules: Rules) -> Rc<Self> {
        Rc::new(Self {
            seed,
            is_harder: seed % 7 == 3,
            start: Instant::now(),
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
            rules,
            faults: Cell::default(),
            nodes: RefCell::default(),
            instances: RefCell::default(),
            leases: RefCell::default(),
            arrivals: RefCell::default(),
            lost_ends: RefCell::default(),
            counts: RefCell::default(),
        })
    }

    /// The true time, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        START_MS + i64::try_from(self.start.elapsed().as_millis()).unwrap_or_default()
    }

    pub(crate) fn chance(&self, probability: f64) -> bool {
        probability > 0.0 && self.random.borrow_mut().f64() < probability
    }

    pub(crate) fn pick(&self, range: Range<u64>) -> u64 {
        if range.is_empty() { range.start } else { self.random.borrow_mut().u64(range) }
    }

    pub(crate) fn pick_index(&self, count: usize) -> usize {
        self.random.borrow_mut().usize(0..count)
    }

    pub(crate) fn real(&self, most: f64) -> f64 {
        self.random.borrow_mut().f64() * most
    }

    /// How much a clock is wrong.
    pub(crate) fn skew_ms(&self) -> i64 {
        let most = self.faults.get().skew_ms;
        i64::try_from(self.pick(0..u64::try_from(2 * most + 1).unwrap_or(1))).unwrap_or_default() - most
    }

    pub(crate) fn bytes(&self) -> [u8; 16] {
        let mut random = self.random.borrow_mut();
        std::array::from_fn(|_| random.u8(..))
    }

    pub(crate) async fn pause(&self, range_ms: Range<u64>) {
        sleep(Duration::from_millis(self.pick(range_ms))).await;
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.counts.borrow_mut().entry(what).or_default() += 1;
    }

    pub(crate) fn counted(&self, what: &str) -> u64 {
        self.counts.borrow().get(what).copied().unwrap_or_default()
    }

    /// Changes a node's tags, if there is such a node.
    pub(crate) fn change_node(&self, id: &ManagedInstanceId, change: impl FnOnce(&mut Node)) -> bool {
        let now = self.now_ms();
        let mut nodes = self.nodes.borrow_mut();
        let Some(node) = nodes.get_mut(id) else { return false };
        change(node);
        let tags = node.tags.clone();
        node.history.push((now, tags));
        true
    }

    pub(crate) fn change_instance(&self, id: &str, change: impl FnOnce(&mut InstanceState)) {
        let now = self.now_ms();
        if let Some(instance) = self.instances.borrow_mut().get_mut(id) {
            change(&mut instance.state);
            let state = instance.state.clone();
            instance.history.push((now, state));
        }
    }

    /// Remembers an end that no event tells of. If the instance has no join key left, no sweep reports it either, and
    /// nobody will ever know.
    pub(crate) fn note_lost_end(&self, id: &str) {
        let state = self.instances.borrow().get(id).map(|instance| instance.state.clone());
        if state.is_some_and(|state| state.is_terminated && state.node.is_none()) {
            self.count("fault: end lost");
            self.lost_ends.borrow_mut().insert(id.to_owned());
        }
    }

    /// Registers a machine: a new node of the account.
    pub(crate) fn register(&self, number: u64, account: &AccountId) -> ManagedInstanceId {
        let id: ManagedInstanceId = match format!("mi-{number:017x}").parse() {
            Ok(id) => id,
            Err(error) => unreachable!("{error}"),
        };
        let tags = Tags::from([(hub::AGENCY_TAG_KEY.to_owned(), account.to_string())]);
        let now = self.now_ms();
        let node = Node {
            history: vec![(now, tags.clone())],
            tags,
            operators: Tags::new(),
            is_online: true,
            registered_ms: now,
        };
        self.nodes.borrow_mut().insert(id.clone(), node);
        id
    }

    pub(crate) fn launch(&self, id: &str, account: &AccountId, state: InstanceState) {
        let instance = Instance { account: account.clone(), history: vec![(self.now_ms(), state.clone())], state };
        self.instances.borrow_mut().insert(id.to_owned(), instance);
    }
}

impl Node {
    /// The tags as they were some time ago; nothing if the node was not there yet.
    pub(crate) fn seen_at(&self, ms: i64) -> Option<&Tags> {
        self.history.iter().rev().find(|(since, _)| *since <= ms).map(|(_, tags)| tags)
    }
}

impl Instance {
    pub(crate) fn seen_at(&self, ms: i64) -> Option<&InstanceState> {
        self.history.iter().rev().find(|(since, _)| *since <= ms).map(|(_, state)| state)
    }
}
