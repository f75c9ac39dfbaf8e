//! Whether a node may be deregistered, from values alone.
//!
//! Deregistering cannot be undone, so every piece of evidence is needed and what is absent, unknown or unreadable
//! speaks for the node.

use hub::{AGENCY_TAG_KEY, Timestamp};
use serde::Serialize;

use crate::config::OwnershipCheck;
use crate::plan::{Source, Tags, TerminationMarker};
use crate::ports::Information;

const SECONDS_PER_HOUR: i64 = 3600;

/// What a node has to show to be retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How old the marker and the last ping have to be; for a node that never pinged, its registration.
    pub grace_hours: u16,
    /// Whether the node has to name the agency whose instance is gone.
    pub ownership: OwnershipCheck,
}

/// What becomes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Deregister it.
    Retire,
    /// Leave it as it is.
    Keep(Reason),
}

/// Why a node is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It does not carry the mark, or one that cannot be read.
    NotMarked,
    /// It does not say which EC2 instance was behind it.
    NoSource,
    /// It does not belong to the agency of that instance.
    NotOwned,
    /// The mark is not older than the grace.
    TooEarly,
    /// Systems Manager does not say that the connection is lost.
    Online,
    /// The agent was heard of within the grace, or nobody knows when.
    PingedLately,
    /// Systems Manager knows no such node of a hybrid activation.
    UnknownNode,
    /// The run has deregistered as many as it may. The node waits for the next one.
    Limit,
    /// The time of the run was up. The node waits for the next one.
    Deferred,
}

/// Decides about a node that carries these tags, or does not exist where there are none.
///
/// `left` is how many nodes the run may still deregister.
pub fn verdict(
    tags: Option<&Tags>,
    information: Option<&Information>,
    now: Timestamp,
    rules: Rules,
    left: usize,
) -> Verdict {
    match obstacle(tags, information, now, rules) {
        Some(reason) => Verdict::Keep(reason),
        None if left == 0 => Verdict::Keep(Reason::Limit),
        None => Verdict::Retire,
    }
}

/// What the tags alone say against it.
pub fn obstacle_in_tags(tags: &Tags, now: Timestamp, rules: Rules) -> Option<Reason> {
    let Some(marker) = TerminationMarker::of(tags) else { return Some(Reason::NotMarked) };
    let Some(source) = Source::of(tags) else { return Some(Reason::NoSource) };
    let owner = tags.get(AGENCY_TAG_KEY).map(String::as_str);
    if rules.ownership == OwnershipCheck::Enforce && owner != Some(source.account.as_str()) {
        return Some(Reason::NotOwned);
    }
    (!is_older_than_grace(marker.0, now, rules)).then_some(Reason::TooEarly)
}

fn obstacle(tags: Option<&Tags>, information: Option<&Information>, now: Timestamp, rules: Rules) -> Option<Reason> {
    let Some(tags) = tags else { return Some(Reason::UnknownNode) };
    if let Some(reason) = obstacle_in_tags(tags, now, rules) {
        return Some(reason);
    }
    let Some(information) = information.filter(|information| information.is_managed_instance) else {
        return Some(Reason::UnknownNode);
    };
    if !information.is_connection_lost {
        return Some(Reason::Online);
    }
    let is_silent = information.last_seen.is_some_and(|last_seen| is_older_than_grace(last_seen, now, rules));
    (!is_silent).then_some(Reason::PingedLately)
}

fn is_older_than_grace(time: Timestamp, now: Timestamp, rules: Rules) -> bool {
    let age_seconds = now.unix_seconds().saturating_sub(time.unix_seconds());
    age_seconds > i64::from(rules.grace_hours) * SECONDS_PER_HOUR
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_795_312_800;
    const GRACE: i64 = 24 * SECONDS_PER_HOUR;
    const RULES: Rules = Rules { grace_hours: 24, ownership: OwnershipCheck::Enforce };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    /// The tags of a node that everything speaks against.
    fn tags() -> Tags {
        let mark = (NOW - GRACE - 1).to_string();
        [
            ("tag-hub:agency", "222222222222"),
            ("tag-hub:source", "222222222222/us-east-1/i-0abcdef0123456789"),
            ("tag-hub:terminated", &mark),
            ("Env", "PROD"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    fn information() -> Information {
        Information { is_managed_instance: true, is_connection_lost: true, last_seen: Some(at(NOW - GRACE - 1)) }
    }

    fn with(key: &str, value: &str) -> Tags {
        let mut tags = tags();
        tags.insert(key.to_owned(), value.to_owned());
        tags
    }

    fn without(key: &str) -> Tags {
        let mut tags = tags();
        tags.remove(key).unwrap();
        tags
    }

    fn check_tags(tags: &Tags, expected: Reason) {
        assert_eq!(verdict(Some(tags), Some(&information()), at(NOW), RULES, 1), Verdict::Keep(expected), "{tags:?}");
        assert_eq!(obstacle_in_tags(tags, at(NOW), RULES), Some(expected), "{tags:?}");
    }

    #[test]
    fn with_all_the_evidence_a_node_is_retired() {
        assert_eq!(verdict(Some(&tags()), Some(&information()), at(NOW), RULES, 1), Verdict::Retire);
        assert_eq!(obstacle_in_tags(&tags(), at(NOW), RULES), None);
    }

    #[test]
    fn each_piece_of_the_tags_is_needed() {
        check_tags(&without("tag-hub:terminated"), Reason::NotMarked);
        check_tags(&with("tag-hub:terminated", "yes"), Reason::NotMarked);
        check_tags(&without("tag-hub:source"), Reason::NoSource);
        check_tags(&with("tag-hub:source", "i-0abcdef0123456789"), Reason::NoSource);
        check_tags(&without("tag-hub:agency"), Reason::NotOwned);
        check_tags(&with("tag-hub:agency", ""), Reason::NotOwned);
        check_tags(&with("tag-hub:agency", "333333333333"), Reason::NotOwned);
        check_tags(&with("tag-hub:source", "333333333333/us-east-1/i-0abcdef0123456789"), Reason::NotOwned);
        check_tags(&with("tag-hub:terminated", &(NOW - GRACE).to_string()), Reason::TooEarly);
        check_tags(&with("tag-hub:terminated", &(NOW + GRACE).to_string()), Reason::TooEarly);
    }

    #[test]
    fn each_piece_of_what_systems_manager_says_is_needed() {
        let lost = information();
        for (information, expected) in [
            (None, Reason::UnknownNode),
            (Some(Information { is_managed_instance: false, ..lost }), Reason::UnknownNode),
            (Some(Information { is_connection_lost: false, ..lost }), Reason::Online),
            (Some(Information { last_seen: None, ..lost }), Reason::PingedLately),
            (Some(Information { last_seen: Some(at(NOW - GRACE)), ..lost }), Reason::PingedLately),
            (Some(Information { last_seen: Some(at(NOW + 1)), ..lost }), Reason::PingedLately),
        ] {
            let verdict = verdict(Some(&tags()), information.as_ref(), at(NOW), RULES, 1);
            assert_eq!(verdict, Verdict::Keep(expected), "{information:?}");
        }
        assert_eq!(verdict(None, Some(&lost), at(NOW), RULES, 1), Verdict::Keep(Reason::UnknownNode));
    }

    #[test]
    fn the_limit_comes_last() {
        let keep = |tags: &Tags| verdict(Some(tags), Some(&information()), at(NOW), RULES, 0);
        assert_eq!(keep(&tags()), Verdict::Keep(Reason::Limit));
        assert_eq!(keep(&without("tag-hub:source")), Verdict::Keep(Reason::NoSource));
    }

    #[test]
    fn without_the_ownership_check_no_owner_is_needed() {
        let rules = Rules { ownership: OwnershipCheck::Off, ..RULES };
        for tags in [without("tag-hub:agency"), with("tag-hub:agency", "333333333333")] {
            assert_eq!(verdict(Some(&tags), Some(&information()), at(NOW), rules, 1), Verdict::Retire);
        }
    }

    #[test]
    fn reasons_have_the_documented_names() {
        for (reason, name) in [
            (Reason::NotMarked, "not-marked"),
            (Reason::NoSource, "no-source"),
            (Reason::NotOwned, "not-owned"),
            (Reason::TooEarly, "too-early"),
            (Reason::Online, "online"),
            (Reason::PingedLately, "pinged-lately"),
            (Reason::UnknownNode, "unknown-node"),
            (Reason::Limit, "limit"),
            (Reason::Deferred, "deferred"),
        ] {
            assert_eq!(serde_json::to_value(reason).unwrap(), name);
        }
    }

    /// A value as often right as wrong.
    fn value(right: &'static str, wrong: &'static str) -> impl Strategy<Value = Option<String>> {
        let some = |text: &'static str| Just(Some(text.to_owned()));
        prop_oneof![3 => some(right), 1 => some(wrong), 1 => Just(None)]
    }

    /// An instant around the grace.
    fn time() -> impl Strategy<Value = i64> {
        prop_oneof![-2..=GRACE + 3, GRACE..10 * GRACE].prop_map(|age_seconds| NOW - age_seconds)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        /// The rule written another way: a node goes only where each piece is there.
        #[test]
        fn a_node_is_retired_with_every_piece_and_only_then(
            agency in value("222222222222", "333333333333"),
            source in value("222222222222/us-east-1/i-0abcdef0123456789", "somewhere"),
            mark in proptest::option::weighted(0.8, time()),
            information in proptest::option::weighted(0.9, (prop::bool::weighted(0.9), prop::bool::weighted(0.8),
                                                             proptest::option::weighted(0.9, time()))),
            is_enforced in any::<bool>(),
            left in 0..2_usize,
        ) {
            let mut tags = Tags::new();
            for (key, value) in [("tag-hub:agency", agency.clone()), ("tag-hub:source", source.clone()),
                                 ("tag-hub:terminated", mark.map(|mark| mark.to_string()))] {
                tags.extend(value.map(|value| (key.to_owned(), value)));
            }
            let information = information.map(|(is_managed_instance, is_connection_lost, last_ping)| {
                Information { is_managed_instance, is_connection_lost, last_seen: last_ping.map(at) }
            });
            let ownership = if is_enforced { OwnershipCheck::Enforce } else { OwnershipCheck::Off };
            let expected = mark.is_some_and(|mark| NOW - mark > GRACE)
                && source.is_some_and(|source| source.starts_with("222222222222/"))
                && (!is_enforced || agency.as_deref() == Some("222222222222"))
                && information.is_some_and(|information| {
                    information.is_managed_instance
                        && information.is_connection_lost
                        && information.last_seen.is_some_and(|ping| NOW - ping.unix_seconds() > GRACE)
                })
                && left > 0;
            let rules = Rules { grace_hours: 24, ownership };
            let verdict = verdict(Some(&tags), information.as_ref(), at(NOW), rules, left);
            prop_assert_eq!(verdict == Verdict::Retire, expected, "{:?}", verdict);
            // What the tags say alone is what they say with the rest.
            if let Some(reason) = obstacle_in_tags(&tags, at(NOW), rules) {
                prop_assert_eq!(verdict, Verdict::Keep(reason));
            }
        }

        /// Waiting longer, or asking for less patience, never saves a node that is due.
        #[test]
        fn what_is_due_stays_due(mark in time(), ping in time(), later in 0_i64..GRACE, grace_hours in 1_u16..=24) {
            let mut tags = tags();
            tags.extend(TerminationMarker(at(mark)).to_tags());
            let information = Information { last_seen: Some(at(ping)), ..information() };
            if verdict(Some(&tags), Some(&information), at(NOW), RULES, 1) == Verdict::Retire {
                let rules = Rules { grace_hours, ..RULES };
                prop_assert_eq!(verdict(Some(&tags), Some(&information), at(NOW + later), rules, 1), Verdict::Retire);
            }
        }
    }
}
