//! The manager's answer: an outcome for every node, a reason for every tag left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::AccountId;

/// What became of one report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The agency that the invoked alias names; absent for the central account's own operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<AccountId>,
    /// True where nothing was written.
    pub dry_run: bool,
    /// Sums over all instances of the report.
    pub counts: Counts,
    /// One entry for each instance, without those that were unchanged and lost no tag.
    pub nodes: Vec<NodeAnswer>,
    /// What became of the terminated instances; absent if the report names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminated: Option<TerminatedCounts>,
    /// Why nodes were deferred, if it was not for want of time alone: the lease of the agency was not to be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred_because: Option<String>,
    /// Nodes whose `set`, `removed` and `dropped` were left out because the answer would have been too large for
    /// Lambda. The counts include them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub details_omitted: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference to the field over")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// How many instances had which outcome, and how many tags moved.
///
/// `received` is the sum of `updated`, `unchanged`, `rejected`, `failed` and `deferred`. In a dry run
/// `updated` counts the nodes that would be. `adopted` counts some of those in `updated`; `superseded` and `unlinked`
/// count nodes that no instance of the report names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is named for the outcome that it counts")]
pub struct Counts {
    pub received: usize,
    pub updated: usize,
    pub unchanged: usize,
    pub rejected: usize,
    pub failed: usize,
    pub deferred: usize,
    pub tags_set: usize,
    pub tags_removed: usize,
    pub tags_dropped: usize,
    #[serde(default)]
    pub adopted: usize,
    #[serde(default)]
    pub superseded: usize,
    #[serde(default)]
    pub unlinked: usize,
    /// Tags that a changed policy would take away, and keeps until it is approved.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tags_held: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.deferred += other.deferred;
        self.tags_set += other.tags_set;
        self.tags_removed += other.tags_removed;
        self.tags_dropped += other.tags_dropped;
        self.adopted += other.adopted;
        self.superseded += other.superseded;
        self.unlinked += other.unlinked;
        self.tags_held += other.tags_held;
    }
}

/// How many terminated instances were reported, and what became of their nodes.
///
/// `received`, `ignored` and `unknown` count instances; the others count nodes, of which an instance that was
/// registered more than once has several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminatedCounts {
    /// Instances in the report.
    pub received: usize,
    /// Not looked at, because retirement is off.
    pub ignored: usize,
    /// Without a node: never registered, or deregistered already.
    pub unknown: usize,
    /// Nodes that got the mark, or would get it in a dry run.
    pub marked: usize,
    /// Nodes that carried it already.
    pub unchanged: usize,
    /// Instances with an id that is none, and nodes that may not or cannot be marked.
    pub rejected: usize,
    /// AWS refused a call.
    pub failed: usize,
    /// The time was up before.
    pub deferred: usize,
}

impl AddAssign for TerminatedCounts {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.ignored += other.ignored;
        self.unknown += other.unknown;
        self.marked += other.marked;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.deferred += other.deferred;
    }
}

/// What became of one instance of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeAnswer {
    /// The node as the report named it.
    pub instance_id: String,
    /// The EC2 instance as the report named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ec2_instance_id: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Tags that were set, or would be. Reserved tags are not listed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Keys that were removed, or would be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// Tags of the EC2 instance that were left behind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<DroppedTag>,
}

/// The outcome of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum Outcome {
    /// The node now carries what the policy asks for.
    Updated,
    /// The node would be updated, were this not a dry run.
    WouldUpdate,
    /// The node carried it already.
    Unchanged,
    /// The report may not, or cannot, change this node. Trying again does not help.
    Rejected {
        /// Why.
        reason: Rejection,
    },
    /// AWS refused a call.
    Failed {
        /// The error code of AWS.
        code: String,
        /// The error message of AWS.
        message: String,
        /// True where the same report may succeed later.
        retryable: bool,
    },
    /// Nothing was written because the time was up, or because the agency's lease was not to be had. The next report
    /// brings the node again.
    Deferred,
    /// The node's own EC2 instance is terminated, and the instance that names the node now took it over.
    Adopted,
    /// The EC2 instance registered again and names another node now. The hub took its tags off this one, so that no
    /// target reaches it.
    Superseded,
    /// The EC2 instance behind this node no longer carries the tag `managedinstanceid`. The node keeps its tags.
    Unlinked,
}

impl Outcome {
    /// True where the same report may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Deferred | Self::Failed { retryable: true, .. })
    }
}

/// Why a report may not change a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum Rejection {
    /// The node id is not `mi-` and 17 hexadecimal digits, or the EC2 instance id is none.
    InvalidId,
    /// Systems Manager knows no such node.
    UnknownNode,
    /// The node belongs to another agency, or to none.
    NotOwned,
    /// Another EC2 instance stands behind the node: a cloned image carries its parent's identity.
    Conflict,
    /// A later report was applied already.
    Stale,
}

/// A tag of the EC2 instance that did not reach the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DroppedTag {
    /// The key as the EC2 instance carries it.
    pub key: String,
    /// Why it was left behind.
    pub reason: DropReason,
}

/// Why a tag was left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum DropReason {
    /// The key starts with `tag-hub:` or `aws:`.
    Reserved,
    /// A character that Systems Manager does not take.
    Character,
    /// A key over 128 or a value over 256 characters.
    Length,
    /// More tags than the policy's `maxTags`.
    Limit,
    /// The node would carry more than 50 tags with the operator's own.
    NodeFull,
    /// Another tag of the same instance takes this key.
    Collision,
    /// An operator's tag stands under this key, and the policy says not to overwrite.
    OperatorOwned,
    /// Systems Manager refuses the tag for a reason that the hub does not know.
    Refused,
}

impl DropReason {
    /// True where nobody has to do anything about it: AWS itself puts `aws:` tags on instances, so that every run
    /// drops some.
    pub fn is_normal(self) -> bool {
        self == Self::Reserved
    }
}

impl NodeAnswer {
    /// The tags that were left behind and that somebody may want to know of.
    pub fn notable_drops(&self) -> impl Iterator<Item = &DroppedTag> {
        self.dropped.iter().filter(|tag| !tag.reason.is_normal())
    }

    /// Why tags were left behind, each reason once and without the normal one; nothing where none was.
    pub fn notable_drop_reasons(&self) -> Option<String> {
        let reasons: BTreeSet<&str> = self.notable_drops().map(|tag| tag.reason.into_str()).collect();
        (!reasons.is_empty()).then(|| reasons.into_iter().collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(outcome: Outcome) -> NodeAnswer {
        NodeAnswer {
            instance_id: "mi-0123456789abcdef0".to_owned(),
            ec2_instance_id: None,
            outcome,
            set: BTreeMap::new(),
            removed: Vec::new(),
            dropped: Vec::new(),
        }
    }

    #[test]
    fn outcomes_have_the_documented_form() {
        for (outcome, expected) in [
            (Outcome::Updated, json!({"outcome": "updated"})),
            (Outcome::WouldUpdate, json!({"outcome": "would-update"})),
            (Outcome::Rejected { reason: Rejection::NotOwned }, json!({"outcome": "rejected", "reason": "not-owned"})),
            (
                Outcome::Failed {
                    code: "ThrottlingException".into(),
                    message: "Rate exceeded".into(),
                    retryable: true,
                },
                json!({"outcome": "failed", "code": "ThrottlingException", "message": "Rate exceeded", "retryable": true}),
            ),
            (Outcome::Deferred, json!({"outcome": "deferred"})),
        ] {
            let mut expected = expected;
            expected["instanceId"] = json!("mi-0123456789abcdef0");
            let value = serde_json::to_value(node(outcome.clone())).unwrap();
            assert_eq!(value, expected);
            assert_eq!(serde_json::from_value::<NodeAnswer>(value).unwrap(), node(outcome));
        }
    }

    #[test]
    fn an_answer_without_terminated_instances_says_nothing_about_them() {
        let counts = TerminatedCounts { received: 1, marked: 1, ..TerminatedCounts::default() };
        let mut answer = Answer {
            agency: None,
            dry_run: false,
            counts: Counts::default(),
            nodes: vec![],
            terminated: Some(counts),
            deferred_because: None,
            details_omitted: 0,
        };
        let value = serde_json::to_value(&answer).unwrap();
        assert_eq!((&value["terminated"]["marked"], &value["terminated"]["ignored"]), (&json!(1), &json!(0)));
        assert_eq!(serde_json::from_value::<Answer>(value).unwrap(), answer);
        answer.terminated = None;
        assert_eq!(serde_json::to_value(&answer).unwrap().get("terminated"), None);
    }

    #[test]
    fn words_are_those_of_the_wire() {
        let word = |value: Result<serde_json::Value, serde_json::Error>| value.unwrap().as_str().unwrap().to_owned();
        for outcome in [
            Outcome::Updated,
            Outcome::WouldUpdate,
            Outcome::Unchanged,
            Outcome::Deferred,
            Outcome::Adopted,
            Outcome::Superseded,
            Outcome::Unlinked,
        ] {
            assert_eq!(serde_json::to_value(&outcome).unwrap()["outcome"], outcome.into_str());
        }
        for reason in
            [Rejection::InvalidId, Rejection::UnknownNode, Rejection::NotOwned, Rejection::Conflict, Rejection::Stale]
        {
            assert_eq!(word(serde_json::to_value(reason)), reason.into_str());
            let outcome = Outcome::Rejected { reason };
            assert_eq!(serde_json::to_value(&outcome).unwrap()["outcome"], outcome.into_str());
        }
        for reason in [
            DropReason::Reserved,
            DropReason::Character,
            DropReason::Length,
            DropReason::Limit,
            DropReason::NodeFull,
            DropReason::Collision,
            DropReason::OperatorOwned,
            DropReason::Refused,
        ] {
            assert_eq!(word(serde_json::to_value(reason)), reason.into_str());
        }
    }

    #[test]
    fn what_may_succeed_later() {
        let failed = |retryable| Outcome::Failed { code: "X".into(), message: String::new(), retryable };
        assert!(failed(true).is_retryable() && Outcome::Deferred.is_retryable());
        assert!(!failed(false).is_retryable() && !Outcome::Updated.is_retryable());
        assert_eq!(failed(true).into_str(), "failed");
    }

    #[test]
    fn reserved_tags_are_no_news() {
        let mut node = node(Outcome::Unchanged);
        let mut drop = |key: &str, reason| node.dropped.push(DroppedTag { key: key.to_owned(), reason });
        drop("aws:cloudformation:stack-name", DropReason::Reserved);
        drop("b", DropReason::Limit);
        drop("a#b", DropReason::Character);
        drop("c", DropReason::Limit);
        assert_eq!(node.notable_drops().count(), 3);
        assert_eq!(node.notable_drop_reasons().as_deref(), Some("character,limit"));
        node.dropped.truncate(1);
        assert_eq!(node.notable_drop_reasons(), None);
    }

    #[test]
    fn counts_add_up() {
        let mut sum = Counts { received: 1, updated: 1, tags_set: 3, ..Counts::default() };
        sum += Counts { received: 2, unchanged: 1, deferred: 1, tags_dropped: 1, ..Counts::default() };
        let expected = Counts {
            received: 3,
            updated: 1,
            unchanged: 1,
            deferred: 1,
            tags_set: 3,
            tags_dropped: 1,
            ..Counts::default()
        };
        assert_eq!(sum, expected);
    }
}
