//! The law that no writer that dies at any point makes the hub forget what it set, or take what an operator set.

use std::collections::BTreeSet;

use hub::{Tag, Timestamp};
use proptest::prelude::*;
use ssm_tag_manager::plan::{Decision, NodeIntent, Plan, Tags, settled_memory};

use super::{AGENCY, NOW, decide, instance, key, planned_after, policy, salt};

/// What happens to a node.
#[derive(Debug, Clone)]
enum Event {
    /// A report is applied, by a writer that looked at the node as it was so many events before.
    Write { policy: String, tags: Vec<Tag>, look_age: usize, death: Option<Death> },
    /// A writer of other nodes settles what those before it left half-done.
    Settle,
    /// An operator sets a tag of its own.
    Set(String),
    /// An operator removes a tag of its own.
    Remove(String),
}

/// Where a writer dies.
#[derive(Debug, Clone)]
enum Death {
    /// After it took the lease.
    BeforeRead,
    /// After it declared what it is about to do.
    BeforeRemove,
    BeforeSet,
    /// The last call was carried out in part: the tags whose bit is set.
    WhileSetting(u64),
    /// After all was done, before the lease was given back.
    BeforeRelease,
}

fn event() -> impl Strategy<Value = Event> {
    let death = prop_oneof![
        Just(Death::BeforeRead),
        Just(Death::BeforeRemove),
        Just(Death::BeforeSet),
        any::<u64>().prop_map(Death::WhileSetting),
        Just(Death::BeforeRelease),
    ];
    prop_oneof![
        4 => (policy(), instance(), 0..3_usize, proptest::option::weighted(0.6, death)).prop_map(
            |(policy, tags, look_age, death)| Event::Write { policy, tags, look_age, death }
        ),
        1 => Just(Event::Settle),
        2 => key().prop_map(Event::Set),
        1 => key().prop_map(Event::Remove),
    ]
}

/// A node, and what only somebody who sees everything knows: who set which tag.
struct World {
    live: Tags,
    /// What the node carried after each event.
    history: Vec<Tags>,
    operators: BTreeSet<String>,
    /// What the table says about the node.
    intent: NodeIntent,
}

impl World {
    fn new() -> Self {
        let live = Tags::from([("tag-hub:agency".to_owned(), AGENCY.to_owned())]);
        Self { history: vec![live.clone()], live, operators: BTreeSet::new(), intent: NodeIntent::default() }
    }

    fn happen(&mut self, event: &Event, at: i64) {
        match event {
            Event::Write { policy, tags, look_age, death } => {
                let seen = &self.history[self.history.len().saturating_sub(1 + look_age)];
                let looked = match decide(policy, tags, seen, at) {
                    Decision::Planned(plan) => plan.intent(seen),
                    Decision::Rejected(_) | Decision::Unmarked(..) => NodeIntent::default(),
                };
                self.write(policy, tags, looked, death.as_ref(), at);
            }
            Event::Settle => {
                let now = Timestamp::from_unix_seconds(at);
                self.live.extend(settled_memory(&self.live, &self.intent, now, salt(at)).into_iter().flatten());
                self.intent = NodeIntent::default();
            }
            // What the hub set is not an operator's, whoever edits it.
            Event::Set(key) if !self.live.contains_key(key) || self.operators.contains(key) => {
                self.live.insert(key.clone(), format!("op-{at}"));
                self.operators.insert(key.clone());
            }
            Event::Remove(key) if self.operators.remove(key) => drop(self.live.remove(key)),
            Event::Set(_) | Event::Remove(_) => {}
        }
        self.history.push(self.live.clone());
    }

    fn write(&mut self, policy: &str, tags: &[Tag], looked: NodeIntent, death: Option<&Death>, at: i64) {
        let mut inherited = self.intent.clone();
        self.intent.merge(looked);
        if matches!(death, Some(Death::BeforeRead)) {
            return;
        }
        inherited.prune(&self.live);
        let plan = planned_after(policy, tags, &self.live, at, Some(&inherited));
        self.intent = inherited;
        self.intent.merge(plan.intent(&self.live));
        self.apply(&plan, death);
        if death.is_none() {
            self.intent = NodeIntent::default();
        }
    }

    fn apply(&mut self, plan: &Plan, death: Option<&Death>) {
        if matches!(death, Some(Death::BeforeRemove)) {
            return;
        }
        for key in &plan.remove {
            assert!(!self.operators.contains(key), "{key} is an operator's");
            self.live.remove(key);
        }
        if matches!(death, Some(Death::BeforeSet)) {
            return;
        }
        let is_set = |index: usize| match death {
            Some(Death::WhileSetting(mask)) => mask >> (index % 64) & 1 == 1,
            _ => true,
        };
        let all = plan.set.iter().chain(&plan.stamp).enumerate();
        for (_, (key, value)) in all.filter(|(index, _)| is_set(*index)) {
            self.live.insert(key.clone(), value.clone());
            self.operators.remove(key);
        }
    }
}

/// What is left on a node, after a report of an instance without tags, that no operator set, and the other way round.
fn rest(mut world: World, at: i64) -> (BTreeSet<String>, BTreeSet<String>) {
    world.write(r#"{"include": []}"#, &[], NodeIntent::default(), None, at);
    let left = world.live.keys().filter(|key| !hub::is_reserved(key)).cloned().collect();
    (left, world.operators)
}

#[test]
fn a_look_that_knows_nothing_of_what_is_half_done_vouches_for_nothing() {
    let tags = [Tag { key: "a".to_owned(), value: "x".to_owned() }];
    let write = |tags: &[Tag], death| Event::Write { policy: "{}".to_owned(), tags: tags.to_vec(), look_age: 0, death };
    let mut world = World::new();
    // The memory is written without its tag. The next writer takes what an operator sets for the hub's, and dies, too.
    world.happen(&write(&tags, Some(Death::WhileSetting(0b10))), NOW);
    world.happen(&Event::Set("a".to_owned()), NOW + 1);
    world.happen(&write(&[], Some(Death::BeforeRead)), NOW + 2);
    let (left, operators) = rest(world, NOW + 3);
    assert_eq!((left, operators), (BTreeSet::from(["a".to_owned()]), BTreeSet::from(["a".to_owned()])));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn whoever_dies_where_nothing_is_forgotten_and_nothing_is_taken(
        events in prop::collection::vec(event(), 1..9), policy in policy(), tags in instance()
    ) {
        let mut world = World::new();
        for (at, event) in (NOW..).zip(&events) {
            world.happen(event, at);
        }
        // A report that gets through; the next one takes away all that is the hub's.
        world.write(&policy, &tags, NodeIntent::default(), None, NOW + 50);
        let (left, operators) = rest(world, NOW + 51);
        prop_assert_eq!(left, operators);
    }
}
