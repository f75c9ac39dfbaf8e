//! The laws of the reconcile core, over generated policies, instances and nodes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod half_done;

use std::collections::BTreeSet;

use hub::{AccountId, DropReason, Tag, Timestamp};
use proptest::prelude::*;
use ssm_tag_manager::plan::{
    Decision, MAX_TAGS_PER_NODE, NodeIntent, Plan, Policy, ReportContext, Salt, Tags, reconcile, release,
};

const AGENCY: &str = "222222222222";
const SOURCE: &str = "222222222222/us-east-1/i-0abcdef0123456789";
const NOW: i64 = 1_795_312_800;

/// Few keys and values, so that the source, the node and the policy meet often.
fn key() -> impl Strategy<Value = String> {
    "[abcA]|app:[ab]|secret|b#"
}

fn value() -> impl Strategy<Value = String> {
    "[xy]?|z,"
}

fn instance() -> impl Strategy<Value = Vec<Tag>> {
    prop::collection::btree_map(key(), value(), 0..8)
        .prop_map(|tags| tags.into_iter().map(|(key, value)| Tag { key, value }).collect())
}

fn policy() -> impl Strategy<Value = String> {
    (1..6_usize, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(max_tags, remove_stale, overwrite, replace, rich)| {
            let characters = if replace { "replace" } else { "drop" };
            let rich = if rich {
                r#""include": ["a", "app:*", "*"], "exclude": ["secret"], "rename": {"c": "a"}, "set": {"s": "1"},
                   "derive": [{"key": "d", "value": "1", "when": {"a": "x"}}],"#
            } else {
                ""
            };
            format!(
                r#"{{{rich} "maxTags": {max_tags}, "removeStale": {remove_stale}, "overwrite": {overwrite},
                    "invalidCharacters": "{characters}"}}"#
            )
        },
    )
}

/// A node of the agency: an operator's tags, then what earlier runs of the hub left on it.
fn node() -> impl Strategy<Value = Tags> {
    let operators = prop_oneof![
        prop::collection::btree_map("[abcds]|ops", "[xy1]", 0..5),
        (44..50_usize).prop_map(|count| (0..count).map(|n| (format!("ops-{n}"), "x".to_owned())).collect()),
    ];
    let mark = proptest::option::of(prop_oneof![NOW - 1..=NOW, NOW + 10..=NOW + 11]);
    (operators, prop::collection::vec((policy(), instance()), 0..3), mark).prop_map(|(operators, runs, mark)| {
        let mut live = operators;
        live.insert("tag-hub:agency".to_owned(), AGENCY.to_owned());
        for (policy, tags) in runs {
            apply(&planned(&policy, &tags, &live, NOW - 10), &mut live);
        }
        // Its instance was taken for dead before this report, or only after it; on a full node there is no room for a
        // mark.
        if let (Some(mark), true) = (mark, live.len() < MAX_TAGS_PER_NODE) {
            live.insert("tag-hub:terminated".to_owned(), mark.to_string());
        }
        live
    })
}

/// A salt that differs from report to report, as in the function.
fn salt(at: i64) -> Salt {
    let mut salt = [0; 12];
    salt[..8].copy_from_slice(&at.to_be_bytes());
    salt
}

/// A report of the agency at a time, which leaves nothing open and holds nothing.
fn context(owner: &AccountId, at: i64) -> ReportContext<'_> {
    static NOBODY: BTreeSet<String> = BTreeSet::new();
    ReportContext {
        owner: Some(owner),
        source: Some(SOURCE),
        observed_at: Timestamp::from_unix_seconds(at),
        terminated: &NOBODY,
        unsettled: None,
        salt: salt(at),
        is_held: false,
    }
}

fn decide_after(policy: &str, tags: &[Tag], live: &Tags, at: i64, unsettled: Option<&NodeIntent>) -> Decision {
    let policy = Policy::parse(policy).unwrap();
    let owner = AGENCY.parse().unwrap();
    let context = ReportContext { unsettled, ..context(&owner, at) };
    reconcile(&policy, policy.desired(tags), live, context)
}

fn planned_after(policy: &str, tags: &[Tag], live: &Tags, at: i64, unsettled: Option<&NodeIntent>) -> Plan {
    match decide_after(policy, tags, live, at, unsettled) {
        Decision::Planned(plan) => plan,
        Decision::Rejected(reason) | Decision::Unmarked(reason, _) => panic!("rejected: {reason:?}"),
    }
}

fn released(live: &Tags, at: i64) -> Plan {
    release(live, context(&AGENCY.parse().unwrap(), at))
}

/// The plan of a policy that may not take away what another one set.
fn held(policy: &str, tags: &[Tag], live: &Tags, at: i64) -> Plan {
    let policy = Policy::parse(policy).unwrap();
    let owner = AGENCY.parse().unwrap();
    let context = ReportContext { is_held: true, ..context(&owner, at) };
    match reconcile(&policy, policy.desired(tags), live, context) {
        Decision::Planned(plan) => plan,
        Decision::Rejected(reason) | Decision::Unmarked(reason, _) => panic!("rejected: {reason:?}"),
    }
}

fn decide(policy: &str, tags: &[Tag], live: &Tags, at: i64) -> Decision {
    decide_after(policy, tags, live, at, None)
}

fn planned(policy: &str, tags: &[Tag], live: &Tags, at: i64) -> Plan {
    planned_after(policy, tags, live, at, None)
}

fn remove(plan: &Plan, live: &mut Tags) {
    for key in &plan.remove {
        assert!(live.remove(key).is_some(), "{key} was not there");
    }
}

fn set(plan: &Plan, live: &mut Tags) {
    live.extend(plan.set.clone());
    live.extend(plan.stamp.clone());
    assert!(live.len() <= MAX_TAGS_PER_NODE, "{} tags", live.len());
}

fn unmark(plan: &Plan, live: &mut Tags) {
    if plan.unmark_last {
        assert!(live.remove("tag-hub:terminated").is_some(), "there was no marker");
    }
}

fn apply(plan: &Plan, live: &mut Tags) {
    remove(plan, live);
    set(plan, live);
    unmark(plan, live);
}

/// What a node carries beside the hub's memory, and what the next report would do that carries nothing over: it tells
/// which tags the hub takes for its own.
fn seen(live: &Tags) -> (Tags, Vec<String>) {
    let mut tags = live.clone();
    tags.remove("tag-hub:applied");
    let nothing = planned(r#"{"include": []}"#, &[], live, NOW + 100);
    (tags, nothing.remove)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn planning_again_yields_nothing(policy in policy(), tags in instance(), mut live in node()) {
        let first = planned(&policy, &tags, &live, NOW);
        apply(&first, &mut live);
        let second = planned(&policy, &tags, &live, NOW + 1);
        prop_assert!(second.is_empty(), "{second:?}");
        prop_assert_eq!(second.dropped, first.dropped);
    }

    #[test]
    fn a_held_policy_takes_nothing_away_and_its_approval_makes_up_for_it(
        policy in policy(), tags in instance(), live in node(),
    ) {
        let (mut direct, mut kept) = (live.clone(), live.clone());
        apply(&planned(&policy, &tags, &live, NOW), &mut direct);
        let plan = held(&policy, &tags, &live, NOW);
        apply(&plan, &mut kept);
        let is_lost = |key: &&String| !kept.contains_key(*key) && *key != "tag-hub:terminated";
        prop_assert!(plan.withdrawn == 0 || live.keys().find(is_lost).is_none(), "{plan:?}");
        prop_assert!(held(&policy, &tags, &kept, NOW + 1).is_empty());
        apply(&planned(&policy, &tags, &kept, NOW + 2), &mut kept);
        prop_assert_eq!(seen(&kept), seen(&direct));
    }

    #[test]
    fn what_is_neither_ours_nor_the_sources_never_changes(policy in policy(), tags in instance(), history in instance(),
                                                          operators in prop::collection::btree_map("[abcds]|ops", "[xy1]", 0..6)) {
        let mut live = Tags::from([("tag-hub:agency".to_owned(), AGENCY.to_owned())]);
        apply(&planned(&policy, &history, &live, NOW - 1), &mut live);
        let ours: BTreeSet<String> = live.keys().cloned().collect();
        live.extend(operators.into_iter().filter(|(key, _)| !ours.contains(key)));
        let before = live.clone();
        apply(&planned(&policy, &tags, &live, NOW), &mut live);
        let wanted = Policy::parse(&policy).unwrap().desired(&tags).tags;
        for (key, value) in before.iter().filter(|(key, _)| !ours.contains(*key) && wanted.iter().all(|tag| tag.key != **key)) {
            prop_assert_eq!(live.get(key), Some(value), "{}", key);
        }
        prop_assert_eq!(live.get("tag-hub:agency").map(String::as_str), Some(AGENCY));
    }

    #[test]
    fn the_order_of_tags_does_not_matter(policy in policy(), tags in instance().prop_shuffle(), live in node()) {
        let mut sorted = tags.clone();
        sorted.sort();
        prop_assert_eq!(decide(&policy, &tags, &live, NOW), decide(&policy, &sorted, &live, NOW));
    }

    #[test]
    fn a_node_never_carries_more_than_fifty_tags(policy in policy(), tags in instance(), mut live in node()) {
        prop_assume!(live.len() <= MAX_TAGS_PER_NODE);
        apply(&planned(&policy, &tags, &live, NOW), &mut live);
        prop_assert!(live.len() <= MAX_TAGS_PER_NODE);
    }

    #[test]
    fn a_stale_report_changes_nothing(policy in policy(), tags in instance(), late in instance(), mut live in node()) {
        apply(&planned(&policy, &tags, &live, NOW), &mut live);
        let applied_at = live.get("tag-hub:applied").and_then(|value| value.split('.').nth(1)?.parse::<i64>().ok());
        prop_assume!(applied_at.is_some());
        let decision = decide(&policy, &late, &live, applied_at.unwrap() - 1);
        prop_assert_eq!(decision, Decision::Rejected(hub::Rejection::Stale));
    }

    #[test]
    fn a_mark_goes_exactly_where_the_node_was_seen_alive_later(policy in policy(), tags in instance(), mut live in node()) {
        let mark = live.get("tag-hub:terminated").map(|mark| mark.parse::<i64>().unwrap());
        apply(&planned(&policy, &tags, &live, NOW), &mut live);
        prop_assert_eq!(live.contains_key("tag-hub:terminated"), mark.is_some_and(|mark| mark > NOW));
    }

    #[test]
    fn an_interrupted_apply_converges(policy in policy(), tags in instance(), live in node()) {
        let plan = planned(&policy, &tags, &live, NOW);
        let mut whole = live.clone();
        apply(&plan, &mut whole);
        for calls in 0..=2 {
            let mut part = live.clone();
            if calls > 0 { remove(&plan, &mut part); }
            if calls > 1 { set(&plan, &mut part); }
            apply(&planned(&policy, &tags, &part, NOW + 1), &mut part);
            prop_assert_eq!(seen(&part), seen(&whole), "after {} calls", calls);
        }
    }

    #[test]
    fn whatever_the_salt_the_memory_says_the_same(policy in policy(), tags in instance(), live in node()) {
        // Two invocations at the same time, with other random bits.
        let first = planned(&policy, &tags, &live, NOW);
        prop_assume!(first.stamp.contains_key("tag-hub:applied"));
        let (mut one, mut other) = (live.clone(), live.clone());
        apply(&first, &mut one);
        apply(&planned(&policy, &tags, &live, NOW + 1), &mut other);
        prop_assert_ne!(&one["tag-hub:applied"], &other["tag-hub:applied"]);
        let salt = |tags: &Tags| tags["tag-hub:applied"].split('.').nth(2).map(str::to_owned);
        prop_assert_ne!(salt(&one), salt(&other));
        prop_assert_eq!(seen(&one).1, seen(&other).1);
        prop_assert!(planned(&policy, &tags, &one, NOW + 2).is_empty());
    }

    #[test]
    fn what_is_refused_is_left_behind_and_the_rest_is_as_ever(
        policy in policy(), tags in instance(), live in node(), mask in any::<u64>()
    ) {
        let mut plan = planned(&policy, &tags, &live, NOW);
        // On a full node, what is refused makes room for another tag.
        prop_assume!(!plan.set.is_empty() && plan.dropped.iter().all(|tag| tag.reason != DropReason::NodeFull));
        let is_refused = |n: usize| n == 0 || mask >> n & 1 == 1;
        let keys = plan.set.keys().enumerate().filter(|(n, _)| is_refused(*n));
        let refused: BTreeSet<String> = keys.map(|(_, key)| key.clone()).collect();
        let whole = plan.clone();
        plan.refuse(&refused);
        prop_assert_eq!(plan.dropped.len(), whole.dropped.len() + refused.len());
        prop_assert_eq!(&plan.remove, &whole.remove);
        let mut after = live.clone();
        apply(&plan, &mut after);
        for key in &refused {
            prop_assert_eq!(after.get(key), live.get(key), "{}", key);
        }
        // What the hub has set, and nothing else, is the hub's.
        let ours: BTreeSet<String> = seen(&after).1.into_iter().collect();
        let before: BTreeSet<String> = seen(&live).1.into_iter().collect();
        for key in &refused {
            prop_assert_eq!(ours.contains(key), before.contains(key) && after.contains_key(key), "{}", key);
        }
        prop_assert!(plan.set.keys().all(|key| ours.contains(key)));
        // Nothing is tried again, and the same is told. An old value of ours goes.
        let again = planned(&policy, &tags, &after, NOW + 1);
        prop_assert!(again.set.is_empty() && again.remove.iter().all(|key| refused.contains(key)), "{again:?}");
        prop_assert_eq!(&again.dropped, &plan.dropped);
        apply(&again, &mut after);
        prop_assert!(planned(&policy, &tags, &after, NOW + 2).is_empty());
    }

    #[test]
    fn a_node_that_is_adopted_is_as_if_it_had_always_been_the_survivors(
        policy in policy(), tags in instance(), live in node(), done in 0..3_usize
    ) {
        let mut orphan = live.clone();
        orphan.insert("tag-hub:source".to_owned(), "222222222222/us-east-1/i-00000000".to_owned());
        orphan.insert("tag-hub:terminated".to_owned(), NOW.to_string());
        prop_assume!(orphan.len() < MAX_TAGS_PER_NODE);
        let mut plan = planned(&policy, &tags, &orphan, NOW);
        prop_assert!(plan.adopts);
        // Whoever dies after each call leaves a node that can be adopted, or was.
        let steps: [fn(&Plan, &mut Tags); 3] = [remove, set, unmark];
        for step in &steps[..done] {
            step(&plan, &mut orphan);
        }
        plan = planned(&policy, &tags, &orphan, NOW + 1);
        apply(&plan, &mut orphan);
        prop_assert_eq!(&orphan["tag-hub:source"], SOURCE);
        // The marker makes room for a tag more.
        apply(&planned(&policy, &tags, &orphan, NOW + 2), &mut orphan);
        prop_assert!(planned(&policy, &tags, &orphan, NOW + 3).is_empty());
        let mut own = live;
        own.remove("tag-hub:terminated");
        own.insert("tag-hub:source".to_owned(), SOURCE.to_owned());
        apply(&planned(&policy, &tags, &own, NOW), &mut own);
        prop_assert_eq!(seen(&orphan), seen(&own));
    }

    #[test]
    fn a_node_that_is_released_keeps_what_is_not_the_hubs(policy in policy(), tags in instance(), mut live in node()) {
        apply(&planned(&policy, &tags, &live, NOW), &mut live);
        prop_assume!(live.len() < MAX_TAGS_PER_NODE);
        let ours: BTreeSet<String> = seen(&live).1.into_iter().filter(|key| !hub::is_reserved(key)).collect();
        let mut kept = live.clone();
        kept.retain(|key, _| !ours.contains(key) && key != "tag-hub:applied");
        apply(&released(&live, NOW + 1), &mut live);
        prop_assert!(live.remove("tag-hub:applied").unwrap().starts_with("2s."));
        prop_assert_eq!(&live, &kept);
    }

    #[test]
    fn releasing_again_yields_nothing_and_a_report_brings_all_back(
        policy in policy(), tags in instance(), mut live in node()
    ) {
        prop_assume!(live.len() < MAX_TAGS_PER_NODE - 3);
        apply(&planned(&policy, &tags, &live, NOW), &mut live);
        let before = seen(&live);
        apply(&released(&live, NOW + 1), &mut live);
        prop_assert!(released(&live, NOW + 2).is_empty());
        apply(&planned(&policy, &tags, &live, NOW + 3), &mut live);
        if !policy.contains(r#""removeStale": false"#) {
            prop_assert_eq!(seen(&live).0, before.0);
        }
    }
}
