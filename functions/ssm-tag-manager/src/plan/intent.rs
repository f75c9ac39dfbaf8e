//! What a holder of a lease is about to change, so that whoever comes after it knows what it may have done.
//!
//! A key that was about to be set may be the hub's although the node's memory does not say so yet, and a key that was
//! about to be removed may be an operator's by now although the memory still names it. The values decide: a tag that
//! is exactly what was about to be set is ours, and one that differs from what was about to be removed is not.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hub::ManagedInstanceId;
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
    /// Hashes of keys that may be removed, each with those of key and value at the time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    remove: BTreeMap<String, BTreeSet<String>>,
}

impl Intent {
    /// True if it names no node.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what another holder meant to do.
    pub fn merge(&mut self, other: Self) {
        for (node, intent) in other.0 {
            self.0.entry(node).or_default().merge(intent);
        }
    }
}

impl NodeIntent {
    /// To set these tags and remove these keys of the tags that the node carries.
    pub(super) fn new(set: &Tags, remove: &[String], live: &Tags) -> Self {
        let removed = remove.iter().filter_map(|key| Some((key, live.get(key)?)));
        Self {
            set: set.iter().map(|(key, value)| hash_tag(key, value)).collect(),
            remove: removed.map(|(key, value)| (hash(key), BTreeSet::from([hash_tag(key, value)]))).collect(),
        }
    }

    /// True if all of `other` is part of it.
    pub fn covers(&self, other: &Self) -> bool {
        other.set.is_subset(&self.set)
            && other.remove.iter().all(|(key, tags)| self.remove.get(key).is_some_and(|mine| tags.is_subset(mine)))
    }

    /// About how many bytes it takes in the table.
    pub fn size_bytes(&self) -> usize {
        const NODE_BYTES: usize = 50;
        let hash_bytes = HASH_BYTES.div_ceil(3) * 4 + 3;
        NODE_BYTES + hash_bytes * (self.set.len() + 2 * self.remove.len())
    }

    /// Adds what another holder meant to do.
    pub fn merge(&mut self, other: Self) {
        self.set.extend(other.set);
        for (key, tags) in other.remove {
            self.remove.entry(key).or_default().extend(tags);
        }
    }

    /// Whether a tag on the node is the hub's, if this says anything about it beyond the node's memory.
    pub(super) fn ownership(&self, key: &str, value: &str) -> Option<bool> {
        let tag = hash_tag(key, value);
        if self.set.contains(&tag) {
            return Some(true);
        }
        match self.remove.get(&hash(key)) {
            Some(removed) if !removed.contains(&tag) => Some(false),
            _ => None,
        }
    }
}

fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..HASH_BYTES])
}

fn hash_tag(key: &str, value: &str) -> String {
    hash(&format!("{key}\n{value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn intent() -> NodeIntent {
        NodeIntent::new(
            &tags(&[("Env", "PROD")]),
            &["Role".to_owned(), "absent".to_owned()],
            &tags(&[("Role", "web"), ("Env", "TEST")]),
        )
    }

    #[test]
    fn values_decide_whose_a_tag_is() {
        for (key, value, expected) in [
            ("Env", "PROD", Some(true)),
            ("Env", "TEST", None),
            ("Role", "web", None),
            ("Role", "db", Some(false)),
            ("Owner", "ops", None),
        ] {
            assert_eq!(intent().ownership(key, value), expected, "{key}={value}");
        }
    }

    #[test]
    fn intents_add_up() {
        let mut sum = intent();
        let other = NodeIntent::new(&tags(&[("a", "1")]), &["Role".to_owned()], &tags(&[("Role", "db")]));
        assert!(!sum.covers(&other));
        sum.merge(other.clone());
        assert!(sum.covers(&other) && sum.covers(&intent()) && !other.covers(&sum));
        assert_eq!((sum.ownership("Role", "web"), sum.ownership("Role", "x")), (None, Some(false)));
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
    }
}
