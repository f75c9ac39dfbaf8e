//! Managed nodes: how each stands, as far as the central account knows.

use hub::{AGENCY_TAG_KEY, AccountId, ManagedInstanceId, Timestamp};
use serde::Serialize;
use ssm_tag_manager::plan::{LastApplied, Source, Tags, TerminationMarker};

use crate::news::{News, What};

/// An agency is silent after so long: two of the collector's usual sweeps, and half an hour.
pub const SILENT_AFTER_SECONDS: i64 = 60 * 60;

/// A managed node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: ManagedInstanceId,
    /// Its tag `Name`, or the name of the computer.
    pub name: Option<String>,
    /// Whether its agent is heard of.
    pub ping: Ping,
    /// When it was last heard of.
    pub last_ping: Option<Timestamp>,
    /// The version of its agent.
    pub agent: String,
    /// Its operating system.
    pub platform: String,
    /// All of its tags.
    pub tags: Tags,
}

/// Whether a node's agent is heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ping {
    /// Lately.
    Online,
    /// Not lately.
    #[serde(rename = "offline")]
    Lost,
    /// Not for 30 days.
    Inactive,
}

impl Ping {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Lost => "offline",
            Self::Inactive => "inactive",
        }
    }
}

/// How the tags of a node stand, as far as the central account knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tagging {
    /// The last report that named it found nothing wrong.
    InStep,
    /// So many tags of the instance are not on the node.
    LeftBehind(usize),
    /// Another instance names the node.
    Conflict,
    /// The instance lost its tag `managedinstanceid`.
    Unlinked,
    /// The instance registered again: it is another node now.
    Superseded,
    /// The instance is terminated.
    InstanceGone,
    /// A report about it was refused.
    Rejected(String),
    /// AWS refused a call.
    Failed(String),
    /// The next report brings it again.
    Deferred,
    /// No tag says whose it is.
    NoOwner,
    /// No report named it yet.
    NotReported,
    /// The log was not read, and the node's own tags show nothing wrong.
    Unread,
}

impl Tagging {
    /// By the node's own tags, and what was logged lately.
    pub fn of(node: &Node, news: Option<&News>) -> Self {
        let applied = LastApplied::of(&node.tags);
        if applied.as_ref().is_some_and(|applied| applied.is_superseded) {
            return Self::Superseded;
        }
        if TerminationMarker::of(&node.tags).is_some() {
            return Self::InstanceGone;
        }
        match news.map(|news| (&news.what, news.left_behind)) {
            Some((What::Unlinked, _)) => return Self::Unlinked,
            Some((What::Superseded, _)) => return Self::Superseded,
            Some((What::Deferred, _)) => return Self::Deferred,
            Some((What::Rejected(reason), _)) if reason == "conflict" => return Self::Conflict,
            Some((What::Rejected(reason), _)) => return Self::Rejected(reason.clone()),
            Some((What::Failed(code), _)) => return Self::Failed(code.clone()),
            Some((What::Fine, 1..)) => return Self::LeftBehind(news.map_or(0, |news| news.left_behind)),
            Some((What::Fine, 0)) | None => {}
        }
        if !node.tags.contains_key(AGENCY_TAG_KEY) {
            Self::NoOwner
        } else if applied.is_none() && Source::of(&node.tags).is_none() {
            Self::NotReported
        } else {
            Self::InStep
        }
    }

    /// The same where the log was not read: what seems in step may not be.
    #[must_use]
    pub fn without_log(self) -> Self {
        if self == Self::InStep { Self::Unread } else { self }
    }

    /// The word for programs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::InStep => "in-step",
            Self::LeftBehind(_) => "left-behind",
            Self::Conflict => "conflict",
            Self::Unlinked => "unlinked",
            Self::Superseded => "superseded",
            Self::InstanceGone => "instance-gone",
            Self::Rejected(_) => "rejected",
            Self::Failed(_) => "failed",
            Self::Deferred => "deferred",
            Self::NoOwner => "no-owner",
            Self::NotReported => "not-reported",
            Self::Unread => "unread",
        }
    }
}

/// Whose a node is: by the tag that only an activation writes, or else by its instance, for a hub that checks no ownership.
pub fn owner(tags: &Tags) -> Option<AccountId> {
    let tagged = tags.get(AGENCY_TAG_KEY).and_then(|account| account.parse().ok());
    tagged.or_else(|| Source::of(tags).map(|source| source.account))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(tags: &[(&str, &str)]) -> Node {
        Node {
            id: "mi-0fdaf2f8939c665c3".parse().unwrap(),
            name: None,
            ping: Ping::Online,
            last_ping: None,
            agent: String::new(),
            platform: String::new(),
            tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        }
    }

    const PARKS: (&str, &str) = ("tag-hub:agency", "555555555555");
    const SOURCE: (&str, &str) = ("tag-hub:source", "555555555555/us-east-1/i-0c5da2708f9a950e8");

    #[test]
    fn how_tags_stand() {
        let gone = ("tag-hub:terminated", "1795312800");
        let superseded = ("tag-hub:applied", "2s.1795312800.c2FsdA.g..");
        let rejected = json!({"message": "node rejected", "reason": "conflict"});
        let stale = json!({"message": "node rejected", "reason": "stale"});
        let left = json!({"message": "tags left behind", "tags_dropped": 2});
        for (tags, fields, expected) in [
            (&[PARKS, SOURCE][..], json!({}), "in-step"),
            (&[PARKS], json!({}), "not-reported"),
            (&[SOURCE], json!({}), "no-owner"),
            (&[PARKS, SOURCE, gone], json!({}), "instance-gone"),
            (&[PARKS, SOURCE, superseded], json!({}), "superseded"),
            (&[PARKS, SOURCE], rejected, "conflict"),
            (&[PARKS, SOURCE], stale, "rejected"),
            (&[PARKS, SOURCE], left, "left-behind"),
            (&[PARKS, SOURCE], json!({"message": "node unlinked"}), "unlinked"),
            (&[PARKS, SOURCE], json!({"message": "node failed", "code": "TooManyUpdates"}), "failed"),
            (&[PARKS, SOURCE], json!({"message": "node updated"}), "in-step"),
        ] {
            let tagging = Tagging::of(&node(tags), News::of("2026-11-23T06:00:00Z".parse().unwrap(), &fields).as_ref());
            assert_eq!(tagging.as_str(), expected, "{tags:?} {fields}");
        }
    }

    #[test]
    fn a_node_belongs_to_the_agency_of_its_tag_or_else_of_its_instance() {
        let other = ("tag-hub:agency", "222222222222");
        for (tags, expected) in [
            (&[other, SOURCE][..], Some("222222222222")),
            (&[SOURCE], Some("555555555555")),
            (&[("tag-hub:agency", "nobody"), SOURCE], Some("555555555555")),
            (&[], None),
        ] {
            let tags = node(tags).tags;
            assert_eq!(owner(&tags).as_ref().map(AccountId::as_str), expected, "{tags:?}");
        }
    }
}
