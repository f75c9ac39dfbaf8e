//! The hub's memory on a node: the tag `tag-hub:applied`.
//!
//! Its value is the instant of the last applied report in unix seconds, a dot, and four characters for each
//! key that the hub set, sorted: the first 24 bits of the key's SHA-256 in base64url. 47 keys take 188 of
//! the 256 characters that a value may have.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hub::Timestamp;
use sha2::{Digest, Sha256};

const HASH_CHARS: usize = 4;

/// What the hub did to a node so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    /// When the last applied report was observed.
    pub(super) observed_at: Timestamp,
    owned: BTreeSet<String>,
}

impl Applied {
    pub(super) fn new<'a>(observed_at: Timestamp, owned: impl IntoIterator<Item = &'a str>) -> Self {
        Self { observed_at, owned: owned.into_iter().map(hash).collect() }
    }

    /// Reads the tag's value; nothing where it is not one that the hub wrote.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let (seconds, hashes) = value.split_once('.')?;
        if !hashes.is_ascii() || hashes.len() % HASH_CHARS != 0 {
            return None;
        }
        let owned = (0..hashes.len()).step_by(HASH_CHARS).map(|at| hashes[at..at + HASH_CHARS].to_owned()).collect();
        Some(Self { observed_at: Timestamp::from_unix_seconds(seconds.parse().ok()?), owned })
    }

    /// The tag's value.
    pub(super) fn to_tag_value(&self) -> String {
        let hashes: String = self.owned.iter().map(String::as_str).collect();
        format!("{}.{hashes}", self.observed_at.unix_seconds())
    }

    /// True where the hub set the key.
    pub(super) fn owns(&self, key: &str) -> bool {
        self.owned.contains(&hash(key))
    }

    /// True where both remember the same keys.
    pub(super) fn owns_the_same_as(&self, other: &Self) -> bool {
        self.owned == other.owned
    }
}

fn hash(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(key)[..3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_has_the_documented_form() {
        let applied = Applied::new(Timestamp::from_unix_seconds(1_795_312_800), ["Env", "Role"]);
        let value = applied.to_tag_value();
        assert!(value.starts_with("1795312800.") && value.len() == "1795312800.".len() + 2 * 4, "{value}");
        assert_eq!(hash("abc"), "ungW", "the first three bytes of SHA-256(abc), ba 78 16, in base64url");
        assert!(applied.owns("Env") && applied.owns("Role") && !applied.owns("env"));
        assert_eq!(Applied::parse(&value), Some(applied));
    }

    #[test]
    fn the_most_that_a_node_can_hold_fits_a_tag_value() {
        let keys: Vec<String> = (0..47).map(|n| format!("key-{n}")).collect();
        let applied = Applied::new(Timestamp::from_unix_seconds(99_999_999_999), keys.iter().map(String::as_str));
        assert!(applied.to_tag_value().len() <= 256);
    }

    #[test]
    fn what_the_hub_did_not_write_is_no_memory() {
        for value in ["", "yes", "1795312800", ".", "x.abcd", "1795312800.abc", "1795312800.äöü1"] {
            assert_eq!(Applied::parse(value), None, "{value}");
        }
        assert!(Applied::parse("1795312800.").is_some());
    }
}
