//! The three-way comparison: what a node should carry, what it carries, and what the hub set before.

use std::collections::{BTreeMap, BTreeSet};

use hub::{
    AGENCY_TAG_KEY, APPLIED_TAG_KEY, AccountId, DropReason, DroppedTag, Rejection, SOURCE_TAG_KEY, TERMINATED_TAG_KEY,
    Timestamp,
};

use super::applied::Applied;
use super::desired::{Desired, DesiredTag};
use super::mark::Mark;
use super::policy::Policy;

/// The tags of a node, by key.
pub type Tags = BTreeMap<String, String>;

/// How many tags a managed node may carry:
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_AddTagsToResource.html>.
pub const MAX_TAGS_PER_NODE: usize = 50;

/// Who reports on a node, and when.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The agency that the node must belong to; absent where ownership is not checked.
    pub owner: Option<&'a AccountId>,
    /// The EC2 instance behind the node, `<account>/<region>/<EC2 instance id>`, where the report names it.
    pub source: Option<&'a str>,
    /// When the tags were read.
    pub observed_at: Timestamp,
}

/// What is to be done about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The report may not change the node.
    Rejected(Rejection),
    /// The report may not change the node either, but shows that an instance of its owner lives behind it: the mark
    /// is removed, so that the node is not retired, and nothing else.
    Unmarked(Rejection),
    /// The changes, possibly none.
    Planned(Plan),
}

/// The changes to a node: first remove, then set and stamp in one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Keys to remove. Each was set by the hub, the mark of a node that was taken for dead among them.
    pub remove: Vec<String>,
    /// Tags to set because they are missing or different.
    pub set: Tags,
    /// Reserved tags to set beside them: the hub's memory.
    pub stamp: Tags,
    /// Tags of the EC2 instance that are left behind, sorted by key.
    pub dropped: Vec<DroppedTag>,
}

impl Plan {
    /// True where no call is needed.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.stamp.is_empty()
    }
}

/// Compares and decides.
///
/// A key that the source does not carry and the hub did not set is never touched. Applying the plan and
/// deciding again yields an empty plan, and so does applying any part of it, removals first, and then the
/// plan that is decided next.
pub fn reconcile(policy: &Policy, desired: Desired, live: &Tags, subject: Subject<'_>) -> Decision {
    let applied = live.get(APPLIED_TAG_KEY).and_then(|value| Applied::parse(value));
    match rejection(live, applied.as_ref(), subject) {
        Some(Rejection::Conflict) if is_alive_again(live, subject.observed_at) => {
            Decision::Unmarked(Rejection::Conflict)
        }
        Some(reason) => Decision::Rejected(reason),
        None => Decision::Planned(plan(policy, desired, live, applied.as_ref(), subject)),
    }
}

fn rejection(live: &Tags, applied: Option<&Applied>, subject: Subject<'_>) -> Option<Rejection> {
    let live_source = live.get(SOURCE_TAG_KEY).map(String::as_str);
    if subject.owner.is_some_and(|owner| live.get(AGENCY_TAG_KEY).map(String::as_str) != Some(owner.as_str())) {
        Some(Rejection::NotOwned)
    } else if subject.source.is_some() && live_source.is_some() && subject.source != live_source {
        Some(Rejection::Conflict)
    } else if applied.is_some_and(|applied| subject.observed_at < applied.observed_at) {
        Some(Rejection::Stale)
    } else {
        None
    }
}

/// True for a node with a mark that is older than the report, which shows that it lives. The mark of a node whose
/// instance was reported as gone later than that stays.
fn is_alive_again(live: &Tags, observed_at: Timestamp) -> bool {
    live.contains_key(TERMINATED_TAG_KEY) && Mark::of(live).is_none_or(|mark| mark.0 <= observed_at)
}

fn plan(policy: &Policy, desired: Desired, live: &Tags, applied: Option<&Applied>, subject: Subject<'_>) -> Plan {
    let Desired { tags: wanted, mut dropped } = desired;
    let owns = |key: &str| applied.is_some_and(|applied| applied.owns(key));
    let is_operators =
        |tag: &DesiredTag| live.get(&tag.key).is_some_and(|value| *value != tag.value) && !owns(&tag.key);
    let (kept, operators): (Vec<DesiredTag>, Vec<DesiredTag>) =
        wanted.into_iter().partition(|tag| policy.overwrite || !is_operators(tag));
    dropped.extend(operators.iter().map(|tag| tag.dropped(DropReason::OperatorOwned)));

    let wanted_keys: BTreeSet<&str> = kept.iter().map(|tag| tag.key.as_str()).collect();
    let stale: BTreeSet<String> = live
        .keys()
        .filter(|key| !hub::is_reserved(key) && owns(key) && !wanted_keys.contains(key.as_str()))
        .cloned()
        .collect();
    let removed = if policy.remove_stale { &stale } else { &BTreeSet::new() };
    let mark = is_alive_again(live, subject.observed_at).then(|| TERMINATED_TAG_KEY.to_owned());

    let (kept, full) = fit(kept, live, removed.len() + usize::from(mark.is_some()), subject);
    dropped.extend(full);
    dropped.sort();
    let Some(kept) = kept else {
        // There is no room to remember what the hub set, so nothing is set that it would have to remember.
        return Plan { remove: mark.into_iter().collect(), dropped, ..Plan::default() };
    };

    let owned = kept.iter().map(|tag| tag.key.as_str());
    let still_owned = stale.iter().map(String::as_str).filter(|key| !removed.contains(*key));
    let next = Applied::new(subject.observed_at, owned.chain(still_owned));
    let set: Tags = kept
        .iter()
        .filter(|tag| live.get(&tag.key) != Some(&tag.value))
        .map(|tag| (tag.key.clone(), tag.value.clone()))
        .collect();
    let remembers = match applied {
        Some(applied) => applied.owns_the_same_as(&next),
        None => kept.is_empty(),
    };
    let mut stamp = Tags::new();
    if !remembers || !set.is_empty() || !removed.is_empty() {
        stamp.insert(APPLIED_TAG_KEY.to_owned(), next.to_tag_value());
        if let (Some(source), false) = (subject.source, live.contains_key(SOURCE_TAG_KEY)) {
            stamp.insert(SOURCE_TAG_KEY.to_owned(), source.to_owned());
        }
    }
    Plan { remove: removed.iter().cloned().chain(mark).collect(), set, stamp, dropped }
}

/// Leaves behind, the least important first, what the node has no room for.
///
/// The first value is absent where there is not even room for the hub's own memory.
fn fit(
    kept: Vec<DesiredTag>,
    live: &Tags,
    removed_count: usize,
    subject: Subject<'_>,
) -> (Option<Vec<DesiredTag>>, Vec<DroppedTag>) {
    let missing_memory = usize::from(!live.contains_key(APPLIED_TAG_KEY))
        + usize::from(subject.source.is_some() && !live.contains_key(SOURCE_TAG_KEY));
    let Some(mut room) = (MAX_TAGS_PER_NODE + removed_count).checked_sub(live.len() + missing_memory) else {
        let full = kept.iter().filter(|tag| live.get(&tag.key) != Some(&tag.value));
        return (None, full.map(|tag| tag.dropped(DropReason::NodeFull)).collect());
    };
    let mut fitting = Vec::with_capacity(kept.len());
    let mut full = Vec::new();
    for tag in kept {
        if live.contains_key(&tag.key) {
            fitting.push(tag);
        } else if room > 0 {
            room -= 1;
            fitting.push(tag);
        } else {
            full.push(tag.dropped(DropReason::NodeFull));
        }
    }
    (Some(fitting), full)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_795_312_800;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn source(pairs: &[(&str, &str)]) -> Vec<hub::Tag> {
        pairs.iter().map(|(key, value)| hub::Tag { key: (*key).to_owned(), value: (*value).to_owned() }).collect()
    }

    fn decide(policy: &str, instance: &[(&str, &str)], live: &Tags, at: i64) -> Decision {
        let policy = Policy::parse(policy).unwrap();
        let owner = "222222222222".parse().unwrap();
        let subject = Subject {
            owner: Some(&owner),
            source: Some("222222222222/us-east-1/i-0abcdef0123456789"),
            observed_at: Timestamp::from_unix_seconds(at),
        };
        reconcile(&policy, policy.desired(&source(instance)), live, subject)
    }

    fn planned(policy: &str, instance: &[(&str, &str)], live: &Tags) -> Plan {
        match decide(policy, instance, live, T) {
            Decision::Planned(plan) => plan,
            Decision::Rejected(reason) | Decision::Unmarked(reason) => panic!("rejected: {reason:?}"),
        }
    }

    fn apply(plan: &Plan, live: &mut Tags) {
        live.retain(|key, _| !plan.remove.contains(key));
        live.extend(plan.set.clone());
        live.extend(plan.stamp.clone());
    }

    /// A node of the agency after the hub applied these tags to it.
    fn node(applied: &[(&str, &str)]) -> Tags {
        let mut live = tags(&[("tag-hub:agency", "222222222222")]);
        let plan = planned("{}", applied, &live);
        apply(&plan, &mut live);
        live
    }

    #[test]
    fn the_first_run_sets_tags_and_memory() {
        let plan = planned("{}", &[("Env", "PROD")], &tags(&[("tag-hub:agency", "222222222222")]));
        assert_eq!(plan.set, tags(&[("Env", "PROD")]));
        assert_eq!(plan.stamp["tag-hub:source"], "222222222222/us-east-1/i-0abcdef0123456789");
        assert!(plan.stamp["tag-hub:applied"].starts_with("1795312800."));
        assert!(plan.remove.is_empty() && plan.dropped.is_empty());
    }

    #[test]
    fn the_steady_state_needs_no_call() {
        assert!(planned("{}", &[("Env", "PROD")], &node(&[("Env", "PROD")])).is_empty());
        assert!(planned("{}", &[], &tags(&[("tag-hub:agency", "222222222222")])).is_empty());
    }

    #[test]
    fn a_change_and_a_deletion() {
        let live = node(&[("Env", "PROD"), ("Role", "web")]);
        let plan = planned("{}", &[("Env", "TEST")], &live);
        assert_eq!(plan.set, tags(&[("Env", "TEST")]));
        assert_eq!(plan.remove, ["Role"]);
        assert_eq!(plan.stamp.keys().collect::<Vec<_>>(), ["tag-hub:applied"]);
    }

    #[test]
    fn an_operators_own_tag_stays() {
        let mut live = node(&[("Env", "PROD")]);
        live.insert("Owner".to_owned(), "ops".to_owned());
        assert!(planned("{}", &[("Env", "PROD")], &live).is_empty());
        assert_eq!(planned("{}", &[], &live).remove, ["Env"]);
    }

    #[test]
    fn under_a_key_of_the_source_the_source_wins_unless_the_policy_says_not() {
        let mut live = node(&[]);
        live.insert("Env".to_owned(), "ops".to_owned());
        assert_eq!(planned("{}", &[("Env", "PROD")], &live).set, tags(&[("Env", "PROD")]));
        let kept = planned(r#"{"overwrite": false}"#, &[("Env", "PROD")], &live);
        assert!(kept.is_empty());
        assert_eq!(kept.dropped, [DroppedTag { key: "Env".to_owned(), reason: DropReason::OperatorOwned }]);
    }

    #[test]
    fn an_equal_tag_becomes_the_hubs() {
        let mut live = node(&[]);
        live.insert("Env".to_owned(), "PROD".to_owned());
        let plan = planned(r#"{"overwrite": false}"#, &[("Env", "PROD")], &live);
        assert!(plan.set.is_empty() && !plan.stamp.is_empty());
        apply(&plan, &mut live);
        assert_eq!(planned("{}", &[], &live).remove, ["Env"]);
    }

    #[test]
    fn without_remove_stale_a_tag_stays_and_stays_the_hubs() {
        let mut live = node(&[("Env", "PROD"), ("Role", "web")]);
        let plan = planned(r#"{"removeStale": false}"#, &[("Env", "TEST")], &live);
        assert!(plan.remove.is_empty());
        apply(&plan, &mut live);
        assert_eq!(planned("{}", &[("Env", "TEST")], &live).remove, ["Role"]);
    }

    #[test]
    fn who_may_not_change_a_node_is_told_why() {
        let rejected = |live: &Tags, at: i64| match decide("{}", &[("Env", "X")], live, at) {
            Decision::Rejected(reason) => Some(reason),
            Decision::Unmarked(_) | Decision::Planned(_) => None,
        };
        assert_eq!(rejected(&Tags::new(), T), Some(Rejection::NotOwned));
        assert_eq!(rejected(&tags(&[("tag-hub:agency", "333333333333")]), T), Some(Rejection::NotOwned));
        let mut clone = node(&[("Env", "PROD")]);
        clone.insert("tag-hub:source".to_owned(), "222222222222/us-east-1/i-00000000".to_owned());
        assert_eq!(rejected(&clone, T), Some(Rejection::Conflict));
        assert_eq!(rejected(&node(&[("Env", "PROD")]), T - 1), Some(Rejection::Stale));
        assert_eq!(rejected(&node(&[("Env", "PROD")]), T), None);
    }

    #[test]
    fn a_node_that_lives_loses_its_mark_and_nothing_else() {
        let mut live = node(&[("Env", "PROD")]);
        for mark in [(T - 1).to_string(), T.to_string(), "edited by hand".to_owned()] {
            live.insert("tag-hub:terminated".to_owned(), mark);
            let plan = planned("{}", &[("Env", "PROD")], &live);
            assert_eq!(plan, Plan { remove: vec!["tag-hub:terminated".to_owned()], ..Plan::default() });
        }
        live.insert("tag-hub:terminated".to_owned(), (T + 1).to_string());
        assert!(planned("{}", &[("Env", "PROD")], &live).is_empty(), "the instance was gone later than that");
        assert_eq!(planned("{}", &[], &live).remove, ["Env"]);
    }

    #[test]
    fn a_conflict_shows_life_too_where_the_node_is_the_agencys() {
        let mut live = node(&[("Env", "PROD")]);
        live.insert("tag-hub:terminated".to_owned(), T.to_string());
        live.insert("tag-hub:source".to_owned(), "222222222222/us-east-1/i-00000000".to_owned());
        assert_eq!(decide("{}", &[], &live, T), Decision::Unmarked(Rejection::Conflict));
        assert_eq!(decide("{}", &[], &live, T - 1), Decision::Rejected(Rejection::Conflict));
        live.insert("tag-hub:agency".to_owned(), "333333333333".to_owned());
        assert_eq!(decide("{}", &[], &live, T), Decision::Rejected(Rejection::NotOwned));
    }

    #[test]
    fn the_mark_makes_room_and_goes_even_where_there_is_none() {
        let mut live = node(&[]);
        live.extend((0..46).map(|n| (format!("ops-{n}"), "x".to_owned())));
        live.insert("tag-hub:terminated".to_owned(), T.to_string());
        let mut plan = planned("{}", &[("a", "1"), ("b", "2")], &live);
        assert_eq!((plan.set.len(), plan.remove.len(), plan.dropped.len()), (1, 1, 1), "46, the agency, two of memory");
        live.extend((0..2).map(|n| (format!("more-{n}"), "x".to_owned())));
        assert_eq!(live.len(), MAX_TAGS_PER_NODE);
        plan = planned("{}", &[("a", "1")], &live);
        assert_eq!((plan.set.len(), plan.stamp.len(), plan.remove.len()), (0, 0, 1));
        assert_eq!(plan.dropped, [DroppedTag { key: "a".to_owned(), reason: DropReason::NodeFull }]);
    }

    #[test]
    fn a_spoilt_memory_counts_as_none() {
        let mut live = node(&[("Env", "PROD")]);
        live.insert("tag-hub:applied".to_owned(), "edited by hand".to_owned());
        let plan = planned("{}", &[("Env", "PROD")], &live);
        assert!(plan.set.is_empty() && plan.stamp.contains_key("tag-hub:applied"));
    }

    #[test]
    fn a_full_node_takes_what_fits() {
        let mut live = node(&[]);
        live.extend((0..47).map(|n| (format!("ops-{n}"), "x".to_owned())));
        assert_eq!(live.len(), 48, "the agency and the operator's own");
        let plan = planned("{}", &[("a", "1"), ("ops-1", "y")], &live);
        assert_eq!(plan.dropped, [DroppedTag { key: "a".to_owned(), reason: DropReason::NodeFull }]);
        assert_eq!(plan.set, tags(&[("ops-1", "y")]));
        live.insert("one-more".to_owned(), "x".to_owned());
        let plan = planned("{}", &[("a", "1"), ("ops-1", "y"), ("ops-2", "x")], &live);
        assert!(plan.is_empty(), "there is no room for the memory");
        assert_eq!(plan.dropped.iter().map(|tag| tag.key.as_str()).collect::<Vec<_>>(), ["a", "ops-1"]);
    }
}
