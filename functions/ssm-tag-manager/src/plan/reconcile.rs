//! The three-way comparison: what a node should carry, what it carries, and what the hub set before.
//!
//! The steps, in order: the owner (`not-owned`), the time (`stale`), the source (`conflict`, unless that instance is
//! terminated), what the policy makes of the instance's tags, keys that operators own, unwanted tags of the hub's to
//! remove, and the room on the node.

use std::collections::{BTreeMap, BTreeSet};

use hub::{
    AGENCY_TAG_KEY, APPLIED_TAG_KEY, AccountId, DropReason, DroppedTag, Rejection, SOURCE_TAG_KEY, TERMINATED_TAG_KEY,
    Timestamp,
};

use super::desired::{Desired, DesiredTag};
use super::fold::looks;
use super::intent::{Change, NodeIntent};
use super::last_applied::{LastApplied, Record, Salt};
use super::policy::Policy;
use super::tags::{MAX_TAGS_PER_NODE, Tags};
use super::termination_marker::TerminationMarker;

/// Who reports on a node, when, and what is known beside its tags.
#[derive(Debug, Clone, Copy)]
pub struct ReportContext<'a> {
    /// The agency that the node must belong to; absent if ownership is not checked.
    pub owner: Option<&'a AccountId>,
    /// The EC2 instance behind the node, `<account>/<region>/<EC2 instance id>`, if the report names it.
    pub source: Option<&'a str>,
    /// When the tags were read.
    pub observed_at: Timestamp,
    /// Sources that the same report says are terminated.
    pub terminated: &'a BTreeSet<String>,
    /// What an earlier writer that did not finish may have changed on the node.
    pub unsettled: Option<&'a NodeIntent>,
    /// Random bits for the node's memory.
    pub salt: Salt,
    /// True if the policy may add tags and may not take any away: see [`Plan::withdrawn`].
    pub is_held: bool,
}

/// What is to be done about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "most decisions are plans, and each lives for a moment")]
pub enum Decision {
    /// The report may not change the node.
    Rejected(Rejection),
    /// The report may not change the node either, but shows that an instance of its owner lives behind it: these
    /// reserved tags are removed, and nothing else. Without the termination marker the node is not retired; without its
    /// link to an instance that is terminated, the one instance that names it in the end takes it over.
    Unmarked(Rejection, &'static [&'static str]),
    /// The changes, possibly none.
    Planned(Plan),
}

/// The changes to a node: first remove, then set and stamp in one call, then unmark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Keys to remove. Each was set by the hub, the termination marker of a node that lives among them.
    pub remove: Vec<String>,
    /// True if the termination marker is to be removed last: until the node is linked to the instance that adopts it,
    /// only the marker says that the instance before is terminated.
    pub unmark_last: bool,
    /// Tags to set because they are missing or different.
    pub set: Tags,
    /// Reserved tags to set beside them: the hub's memory.
    pub stamp: Tags,
    /// Tags of the EC2 instance that are left behind, sorted by key.
    pub dropped: Vec<DroppedTag>,
    /// True if the node was linked to an instance that is terminated, and is linked to this one now.
    pub adopts: bool,
    /// How many tags the hub has on the node.
    pub owned_count: usize,
    /// How many of these are not wanted any more, on a node that was last brought in line with another policy. They are
    /// removed or, if the policy is held, kept until it is approved.
    pub withdrawn: usize,
    memory: Option<Memory>,
}

/// What the stamp says, in a form that can still change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Memory {
    observed_at: Timestamp,
    salt: Salt,
    record: Record,
    /// The keys of `set` that the hub owned before.
    owned_before: BTreeSet<String>,
    source_keys: BTreeMap<String, String>,
}

impl Plan {
    /// True if no call is needed.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.stamp.is_empty() && !self.unmark_last
    }

    /// What a crash half-way through may leave behind, on a node that carries these tags.
    pub fn intent(&self, live: &Tags) -> NodeIntent {
        let none = BTreeSet::new();
        NodeIntent::new(&Change {
            live,
            set: &self.set,
            remove: &self.remove,
            memory: self.stamp.get(APPLIED_TAG_KEY).map(String::as_str),
            owned_before: self.memory.as_ref().map_or(&none, |memory| &memory.owned_before),
        })
    }

    /// The plan without tags that Systems Manager refused: they are dropped, and remembered so that they are not sent
    /// again until they change.
    pub fn refuse(&mut self, keys: &BTreeSet<String>) {
        let Some(memory) = &mut self.memory else { return };
        for key in keys {
            let Some(value) = self.set.remove(key) else { continue };
            let source_key = memory.source_keys.get(key).unwrap_or(key).clone();
            self.dropped.push(DroppedTag { key: source_key, reason: DropReason::Refused });
            if !memory.owned_before.contains(key) {
                memory.record.owned.remove(key);
            }
            memory.record.refused.insert((key.clone(), value));
        }
        self.dropped.sort();
        self.stamp.insert(APPLIED_TAG_KEY.to_owned(), memory.to_tag_value());
    }
}

impl Memory {
    fn to_tag_value(&self) -> String {
        LastApplied::new(self.observed_at, self.salt, &self.record).to_tag_value()
    }
}

/// Compares and decides.
///
/// A key that the source does not carry and the hub did not set is never touched. Applying the plan and
/// deciding again yields an empty plan, and so does applying any part of it, removals first, and then the
/// plan that is decided next.
pub fn reconcile(policy: &Policy, desired: Desired, live: &Tags, context: ReportContext<'_>) -> Decision {
    let applied = LastApplied::of(live);
    let adopts = match rejection(live, applied.as_ref(), context) {
        None => false,
        Some(Rejection::Conflict) if is_abandoned(live, context) => true,
        Some(Rejection::Conflict) if is_alive_again(live, context.observed_at) => {
            return Decision::Unmarked(Rejection::Conflict, &[TERMINATED_TAG_KEY]);
        }
        Some(reason) => return Decision::Rejected(reason),
    };
    let owned = Owned { applied: applied.as_ref(), unsettled: context.unsettled, live };
    Decision::Planned(plan(policy, desired, &owned, context, adopts))
}

/// Decides about a node that several instances of one report name: it is left as it is, but it lives.
///
/// If the instance that it is linked to is terminated, the link goes with the marker: later, nothing would say any more
/// that this instance is terminated, and whoever is left could not adopt the node.
pub fn contested(live: &Tags, context: ReportContext<'_>) -> Decision {
    match rejection(live, LastApplied::of(live).as_ref(), context) {
        Some(Rejection::NotOwned | Rejection::Stale) => Decision::Rejected(Rejection::Conflict),
        _ if is_abandoned(live, context) => {
            Decision::Unmarked(Rejection::Conflict, &[SOURCE_TAG_KEY, TERMINATED_TAG_KEY])
        }
        _ if is_alive_again(live, context.observed_at) => {
            Decision::Unmarked(Rejection::Conflict, &[TERMINATED_TAG_KEY])
        }
        _ => Decision::Rejected(Rejection::Conflict),
    }
}

/// Takes the hub's tags off a node that its instance left for another one.
pub fn release(live: &Tags, context: ReportContext<'_>) -> Plan {
    let applied = LastApplied::of(live);
    let owned = Owned { applied: applied.as_ref(), unsettled: context.unsettled, live };
    let record = Record { is_superseded: true, ..Record::default() };
    let remove: Vec<String> = owned.keys().map(str::to_owned).collect();
    let mut plan = Plan { remove, ..Plan::default() };
    if !plan.remove.is_empty() || applied.is_none_or(|applied| !applied.says(&record)) {
        let value = LastApplied::new(context.observed_at, context.salt, &record).to_tag_value();
        plan.stamp.insert(APPLIED_TAG_KEY.to_owned(), value);
    }
    plan
}

/// The node's memory with what an earlier writer that did not finish may have changed; nothing if the node's memory
/// says it all.
pub fn settled_memory(live: &Tags, unsettled: &NodeIntent, now: Timestamp, salt: Salt) -> Option<Tags> {
    let applied = LastApplied::of(live);
    let owned = Owned { applied: applied.as_ref(), unsettled: Some(unsettled), live };
    let record = Record {
        owned: owned.keys().map(str::to_owned).collect(),
        refused: BTreeSet::new(),
        is_superseded: applied.as_ref().is_some_and(|applied| applied.is_superseded),
        policy: applied.as_ref().map(|applied| applied.policy().to_owned()).unwrap_or_default(),
    };
    // A key that is gone from the node is forgotten, too: somebody else may set it before the next report.
    let says_all = applied.as_ref().map_or(record.owned.is_empty(), |applied| applied.says_owned(&record));
    // Not later than what was applied, so that no report is taken for an old one.
    let observed_at = applied.map_or(Timestamp::from_unix_seconds(0), |applied| applied.observed_at).min(now);
    (!says_all).then(|| {
        let value = LastApplied::new(observed_at, salt, &record).to_tag_value();
        Tags::from([(APPLIED_TAG_KEY.to_owned(), value)])
    })
}

/// Which of a node's tags are the hub's.
struct Owned<'a> {
    applied: Option<&'a LastApplied>,
    unsettled: Option<&'a NodeIntent>,
    live: &'a Tags,
}

impl Owned<'_> {
    /// True for a tag on the node that the hub set. Reserved keys are not asked for.
    fn has(&self, key: &str) -> bool {
        let unsettled = self.unsettled.and_then(|intent| intent.ownership(key, self.live));
        self.live.contains_key(key)
            && unsettled.unwrap_or_else(|| self.applied.is_some_and(|applied| applied.owns(key, self.live)))
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        self.live.keys().map(String::as_str).filter(|key| !hub::is_reserved(key) && self.has(key))
    }
}

fn rejection(live: &Tags, applied: Option<&LastApplied>, context: ReportContext<'_>) -> Option<Rejection> {
    let live_source = live.get(SOURCE_TAG_KEY).map(String::as_str);
    if context.owner.is_some_and(|owner| live.get(AGENCY_TAG_KEY).map(String::as_str) != Some(owner.as_str())) {
        Some(Rejection::NotOwned)
    } else if applied.is_some_and(|applied| context.observed_at < applied.observed_at) {
        Some(Rejection::Stale)
    } else if context.source.is_some() && live_source.is_some() && context.source != live_source {
        Some(Rejection::Conflict)
    } else {
        None
    }
}

/// True if the instance that the node is linked to is known to be terminated: the same report says so, or a marker
/// that is not younger than the report.
fn is_abandoned(live: &Tags, context: ReportContext<'_>) -> bool {
    live.get(SOURCE_TAG_KEY).is_some_and(|source| {
        context.terminated.contains(source)
            || TerminationMarker::of(live).is_some_and(|marker| marker.0 <= context.observed_at)
    })
}

/// True for a node with a marker that is older than the report, which shows that it lives. The marker of a node whose
/// instance was reported as terminated later than that stays.
fn is_alive_again(live: &Tags, observed_at: Timestamp) -> bool {
    live.contains_key(TERMINATED_TAG_KEY) && TerminationMarker::of(live).is_none_or(|marker| marker.0 <= observed_at)
}

fn plan(policy: &Policy, desired: Desired, owned: &Owned<'_>, context: ReportContext<'_>, adopts: bool) -> Plan {
    let Desired { tags: wanted, mut dropped } = desired;
    let live = owned.live;
    let mut record = Record::default();
    let mut kept = Vec::with_capacity(wanted.len());
    let operators: BTreeSet<String> = if policy.overwrite {
        BTreeSet::new()
    } else {
        let keys = live.keys().filter(|key| !hub::is_reserved(key) && !owned.has(key));
        keys.flat_map(|key| looks(key)).collect()
    };
    for tag in wanted {
        if owned.applied.is_some_and(|applied| applied.is_refused(&tag.key, &tag.value)) {
            dropped.push(tag.dropped(DropReason::Refused));
            record.refused.insert((tag.key, tag.value));
        } else if !operators.is_empty() && looks(&tag.key).iter().any(|look| operators.contains(look)) {
            dropped.push(tag.dropped(DropReason::OperatorOwned));
        } else {
            kept.push(tag);
        }
    }

    let wanted_keys: BTreeSet<&str> = kept.iter().map(|tag| tag.key.as_str()).collect();
    let stale: BTreeSet<String> = owned.keys().filter(|key| !wanted_keys.contains(key)).map(str::to_owned).collect();
    let earlier =
        owned.applied.map(LastApplied::policy).filter(|digest| !digest.is_empty() && *digest != policy.digest);
    let withdrawn = if policy.remove_stale && earlier.is_some() { stale.len() } else { 0 };
    let is_held = context.is_held && withdrawn > 0;
    // A node that keeps tags of an earlier policy goes on naming that one.
    earlier.filter(|_| is_held).unwrap_or(&policy.digest).clone_into(&mut record.policy);
    let removed = if policy.remove_stale && !is_held { &stale } else { &BTreeSet::new() };
    let is_marked = is_alive_again(live, context.observed_at);
    let (marker, unmark_last) = (is_marked && !adopts, is_marked && adopts);
    let marker = marker.then(|| TERMINATED_TAG_KEY.to_owned());

    let (kept, full) = fit(kept, live, removed.len() + usize::from(marker.is_some()), context);
    dropped.extend(full);
    dropped.sort();
    let Some(kept) = kept else {
        // There is no room to remember what the hub set, so nothing is set that it would have to remember.
        return Plan { remove: marker.into_iter().collect(), dropped, ..Plan::default() };
    };

    record.owned = kept.iter().map(|tag| tag.key.clone()).chain(stale.difference(removed).cloned()).collect();
    let set: Tags = kept
        .iter()
        .filter(|tag| live.get(&tag.key) != Some(&tag.value))
        .map(|tag| (tag.key.clone(), tag.value.clone()))
        .collect();
    let says_the_same = match owned.applied {
        Some(applied) => applied.says(&record),
        None => record == Record { policy: record.policy.clone(), ..Record::default() },
    };
    let memory = Memory {
        observed_at: context.observed_at,
        salt: context.salt,
        owned_before: set.keys().filter(|key| owned.has(key)).cloned().collect(),
        source_keys: kept.into_iter().map(|tag| (tag.key, tag.source_key)).collect(),
        record,
    };
    let mut stamp = Tags::new();
    if !says_the_same || !set.is_empty() || !removed.is_empty() || adopts {
        stamp.insert(APPLIED_TAG_KEY.to_owned(), memory.to_tag_value());
    }
    if let Some(source) = context.source.filter(|_| adopts || !live.contains_key(SOURCE_TAG_KEY)) {
        stamp.insert(SOURCE_TAG_KEY.to_owned(), source.to_owned());
    }
    let remove = removed.iter().cloned().chain(marker).collect();
    let owned_count = owned.keys().count();
    Plan { remove, unmark_last, set, stamp, dropped, adopts, owned_count, withdrawn, memory: Some(memory) }
}

/// Leaves behind, the least important first, what the node has no room for.
///
/// The first value is absent if there is not even room for the hub's own memory.
fn fit(
    kept: Vec<DesiredTag>,
    live: &Tags,
    removed_count: usize,
    context: ReportContext<'_>,
) -> (Option<Vec<DesiredTag>>, Vec<DroppedTag>) {
    let missing_memory = usize::from(!live.contains_key(APPLIED_TAG_KEY))
        + usize::from(context.source.is_some() && !live.contains_key(SOURCE_TAG_KEY));
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
mod tests;
