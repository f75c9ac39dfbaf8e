//! What a holder of a lease is about to change, so that whoever comes after it knows what it may have done.
//!
//! A tag that is exactly what was about to be set is the hub's, although the node's memory may not say so yet. On the
//! other hand the memory may name a key that is an operator's by now: one that was removed before the memory was
//! written, or one that was not set although the memory was. So the intent says which memory is to be doubted about
//! which key, and what it is right about all the same. Another memory than that was written before or after, and is
//! believed: what was declared on an old view of the node does no harm.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hub::{APPLIED_TAG_KEY, ManagedInstanceId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Tags;

/// 96 bits of SHA-256, in base64url: neither keys nor values are kept in the table.
const HASH_BYTES: usize = 12;

/// What is about to change on some nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Intent(pub BTreeMap<ManagedInstanceId, NodeIntent>);

/// What is about to change on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeIntent {
    /// Hashes of key and value of tags that may be set.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    set: BTreeSet<String>,
    /// By the hash of a memory: hashes of memory and key of tags that this memory may be wrong about, each with those of
    /// key and value for which it is right.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    doubt: BTreeMap<String, Doubts>,
}

type Doubts = BTreeMap<String, BTreeSet<String>>;

/// A change of a node that may be left half-done.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) live: &'a Tags,
    pub(super) set: &'a Tags,
    pub(super) remove: &'a [String],
    /// The node's new memory, if it gets one.
    pub(super) memory: Option<&'a str>,
    /// The keys of `set` that the hub owned before.
    pub(super) owned_before: &'a BTreeSet<String>,
}

impl Intent {
    /// An item of DynamoDB has at most 400 KB, and sizes are estimates. What is about to change is not declared with what
    /// others left unsettled if both are larger than this together.
    pub const BYTES_MAX: usize = 250_000;

    /// True if it names no node.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// About how many bytes it takes in the table.
    pub fn size_bytes(&self) -> usize {
        self.0.values().map(NodeIntent::size_bytes).sum()
    }

    /// Adds what another holder meant to do.
    pub fn merge(&mut self, other: Self) {
        for (node, intent) in other.0 {
            self.0.entry(node).or_default().merge(intent);
        }
    }
}

impl NodeIntent {
    /// To change a node.
    pub(super) fn new(change: &Change<'_>) -> Self {
        let old_memory = memory(change.live);
        let removed = change.remove.iter().filter(|key| !hub::is_reserved(key)).filter_map(|key| {
            let tag = hash_tag(key, change.live.get(key)?);
            Some((hash_doubt(old_memory, key), BTreeSet::from([tag])))
        });
        let mut doubt = BTreeMap::from([(hash(old_memory), removed.collect::<Doubts>())]);
        if let Some(new_memory) = change.memory {
            let claimed = change.set.keys().filter(|key| !change.owned_before.contains(*key));
            let claimed = claimed.map(|key| (hash_doubt(new_memory, key), BTreeSet::new()));
            doubt.entry(hash(new_memory)).or_default().extend(claimed);
        }
        doubt.retain(|_, doubts| !doubts.is_empty());
        Self { set: change.set.iter().map(|(key, value)| hash_tag(key, value)).collect(), doubt }
    }

    /// About how many bytes it takes in the table.
    pub fn size_bytes(&self) -> usize {
        const NODE_BYTES: usize = 50;
        let hash_bytes = HASH_BYTES.div_ceil(3) * 4 + 3;
        let doubts = self.doubt.values().flatten();
        let doubts_count: usize = doubts.map(|(_, right)| 1 + right.len()).sum();
        NODE_BYTES + hash_bytes * (self.set.len() + self.doubt.len() + doubts_count)
    }

    /// Adds what another holder meant to do. What either doubts is doubted: the other may not have known of the first.
    pub fn merge(&mut self, other: Self) {
        self.set.extend(other.set);
        for (memory, doubts) in other.doubt {
            let ours = self.doubt.entry(memory).or_default();
            for (key, right) in doubts {
                match ours.get_mut(&key) {
                    Some(tags) => tags.retain(|tag| right.contains(tag)),
                    None => drop(ours.insert(key, right)),
                }
            }
        }
    }

    /// Forgets what did not happen: the node carries these tags now, and no call of an earlier holder is under way any
    /// more. So an intent does not grow, however often a change of the node fails.
    pub fn prune(&mut self, live: &Tags) {
        let tags: BTreeSet<String> = live.iter().map(|(key, value)| hash_tag(key, value)).collect();
        self.set.retain(|tag| tags.contains(tag));
        let memory = hash(memory(live));
        self.doubt.retain(|doubted, _| *doubted == memory);
    }

    /// Whether a tag on the node is the hub's, if this says anything about it beyond the node's memory.
    pub(super) fn ownership(&self, key: &str, live: &Tags) -> Option<bool> {
        let tag = hash_tag(key, live.get(key)?);
        if self.set.contains(&tag) {
            return Some(true);
        }
        let memory = memory(live);
        match self.doubt.get(&hash(memory)).and_then(|doubts| doubts.get(&hash_doubt(memory, key))) {
            Some(right) if !right.contains(&tag) => Some(false),
            _ => None,
        }
    }
}

/// The memory that a node carries.
fn memory(live: &Tags) -> &str {
    live.get(APPLIED_TAG_KEY).map(String::as_str).unwrap_or_default()
}

fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..HASH_BYTES])
}

fn hash_tag(key: &str, value: &str) -> String {
    hash(&format!("{key}\n{value}"))
}

fn hash_doubt(memory: &str, key: &str) -> String {
    hash(&format!("{memory}\n{key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// From `Env=TEST` and `Role=web` to `Env=PROD`, under the memories `old` and `new`, where `Role` was the hub's.
    fn intent() -> NodeIntent {
        NodeIntent::new(&Change {
            live: &tags(&[("Role", "web"), ("Env", "TEST"), ("tag-hub:applied", "old")]),
            set: &tags(&[("Env", "PROD")]),
            remove: &["Role".to_owned(), "absent".to_owned(), "tag-hub:terminated".to_owned()],
            memory: Some("new"),
            owned_before: &BTreeSet::new(),
        })
    }

    fn check(intent: &NodeIntent, memory: &str, rows: &[(&str, &str, Option<bool>)]) {
        for &(key, value, expected) in rows {
            let live = tags(&[(key, value), ("tag-hub:applied", memory)]);
            assert_eq!(intent.ownership(key, &live), expected, "{key}={value} under {memory}");
        }
    }

    #[test]
    fn values_decide_whose_a_tag_is() {
        let always = [("Env", "PROD", Some(true)), ("Role", "web", None), ("Owner", "ops", None)];
        for memory in ["", "old", "new", "other"] {
            check(&intent(), memory, &always);
        }
        // Removed, and set again by somebody else before the memory was written.
        check(&intent(), "old", &[("Role", "db", Some(false)), ("Env", "TEST", None)]);
        // The memory was written, and the tag was not.
        check(&intent(), "new", &[("Role", "db", None), ("Env", "TEST", Some(false))]);
        // Not the memory that the change began with: the hub may have set this tag since that view of the node.
        check(&intent(), "other", &[("Role", "db", None), ("Env", "TEST", None)]);
    }

    #[test]
    fn what_was_the_hubs_before_stays_so() {
        let intent = NodeIntent::new(&Change {
            live: &tags(&[("Env", "TEST"), ("tag-hub:applied", "old")]),
            set: &tags(&[("Env", "PROD")]),
            remove: &[],
            memory: Some("new"),
            owned_before: &BTreeSet::from(["Env".to_owned()]),
        });
        check(&intent, "new", &[("Env", "PROD", Some(true)), ("Env", "TEST", None), ("Env", "x", None)]);
    }

    #[test]
    fn intents_add_up() {
        let mut sum = intent();
        let other = NodeIntent::new(&Change {
            live: &tags(&[("Role", "db"), ("tag-hub:applied", "old")]),
            set: &tags(&[("a", "1")]),
            remove: &["Role".to_owned()],
            memory: None,
            owned_before: &BTreeSet::new(),
        });
        sum.merge(other);
        check(&sum, "old", &[("Env", "PROD", Some(true)), ("a", "1", Some(true)), ("a", "2", None)]);
        check(&sum, "old", &[("Role", "web", Some(false)), ("Role", "db", Some(false))]);
        sum = intent();
        sum.merge(intent());
        assert_eq!(sum, intent());
    }

    #[test]
    fn what_did_not_happen_is_forgotten() {
        let mut pruned = intent();
        pruned.prune(&tags(&[("Role", "web"), ("tag-hub:applied", "old")]));
        check(&pruned, "old", &[("Env", "PROD", None), ("Role", "db", Some(false)), ("Role", "web", None)]);
        check(&pruned, "new", &[("Env", "TEST", None)]);
        let mut pruned = intent();
        pruned.prune(&tags(&[("Env", "PROD"), ("tag-hub:applied", "new")]));
        check(&pruned, "new", &[("Env", "PROD", Some(true)), ("Env", "TEST", Some(false))]);
        pruned.prune(&tags(&[("tag-hub:applied", "other")]));
        assert_eq!(pruned, NodeIntent::default());
    }

    #[test]
    fn nothing_readable_is_in_it() {
        let node: ManagedInstanceId = "mi-0123456789abcdef0".parse().unwrap();
        let json = serde_json::to_string(&Intent(BTreeMap::from([(node, intent())]))).unwrap();
        assert!(json.contains("mi-0123456789abcdef0"));
        for secret in ["Env", "PROD", "Role", "web"] {
            assert!(!json.contains(secret), "{json}");
        }
        assert_eq!(serde_json::from_str::<Intent>(&json).unwrap().0.len(), 1);
        let estimate = intent().size_bytes();
        assert!((json.len() * 3 / 4..json.len() * 3 / 2).contains(&estimate), "{estimate} bytes for {json}");
    }
}
