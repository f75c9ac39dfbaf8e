//! What the hub remembers about a node: the tag `tag-hub:applied`.
//!
//! Its value is `2.<time>.<salt>.<length>.<owned>.<refused>`:
//! - `2`, or `2s` on a node that its instance left for another one;
//! - when the last applied report was observed, in Unix seconds;
//! - 96 random bits, drawn anew with every change. Nobody who cannot read the node's tags knows them, so nobody can
//!   prepare a key that is taken for an operator's. Behind them stands the digest of the policy that the node was last
//!   brought in line with: to a release that knows of none it is more salt;
//! - how many characters each hash has, as one digit in base 36;
//! - a hash of each key that the hub set, and of each key and value that Systems Manager refused, sorted: the first bits
//!   of SHA-256 over the salt and the text, in base64url.
//!
//! A value has at most 256 characters, so the more hashes there are, the shorter they are: 96 bits each for up to 13,
//! 24 bits each for 52.
//!
//! Releases before 0.2 wrote `<time>.<hashes>`, with 24 bits of SHA-256 over the key alone. That form is read, and
//! written in the new form with the next change.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hub::{APPLIED_TAG_KEY, Timestamp};
use sha2::{Digest, Sha256};

use super::Tags;

/// Characters of base64url, 6 bits each.
const MOST_HASH_CHARS: usize = 16;
const LEAST_HASH_CHARS: usize = 4;
/// What the two lists of hashes share of the 256 characters of a value.
const ROOM_FOR_HASHES: usize = 208;
/// How many characters the random bits have.
const SALT_CHARS: usize = 16;

/// Random bits that only readers of the node's tags know.
pub type Salt = [u8; 12];

/// What the hub did to a node so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastApplied {
    /// When the last applied report was observed.
    pub observed_at: Timestamp,
    /// True if the instance behind the node names another node now.
    pub is_superseded: bool,
    form: Form,
    owned: BTreeSet<String>,
    refused: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Unsalted,
    Salted { salt: String, hash_chars: usize },
}

/// What is to be remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Keys on the node that the hub set.
    pub(super) owned: BTreeSet<String>,
    /// Keys and values that Systems Manager refused.
    pub(super) refused: BTreeSet<(String, String)>,
    pub(super) is_superseded: bool,
    /// The digest of the policy.
    pub(super) policy: String,
}

impl LastApplied {
    /// What a node's tags say; nothing if there is no such tag, or one that the hub did not write.
    pub fn of(tags: &Tags) -> Option<Self> {
        Self::parse(tags.get(APPLIED_TAG_KEY)?)
    }

    pub(super) fn new(observed_at: Timestamp, salt: Salt, record: &Record) -> Self {
        let hash_count = (record.owned.len() + record.refused_with_room().count()).max(1);
        let form = Form::Salted {
            salt: URL_SAFE_NO_PAD.encode(salt) + &record.policy,
            hash_chars: (ROOM_FOR_HASHES / hash_count).clamp(LEAST_HASH_CHARS, MOST_HASH_CHARS),
        };
        Self {
            observed_at,
            is_superseded: record.is_superseded,
            owned: form.hashes_of_owned(record),
            refused: form.hashes_of_refused(record),
            form,
        }
    }

    pub(super) fn parse(value: &str) -> Option<Self> {
        if !value.is_ascii() {
            return None;
        }
        let parts: Vec<&str> = value.split('.').collect();
        match parts.as_slice() {
            [seconds, hashes] => Some(Self {
                observed_at: time(seconds)?,
                is_superseded: false,
                form: Form::Unsalted,
                owned: hashes_in(hashes, LEAST_HASH_CHARS)?,
                refused: BTreeSet::new(),
            }),
            [form @ ("2" | "2s"), seconds, salt, hash_chars, owned, refused] if !salt.is_empty() => {
                let hash_chars = usize::from_str_radix(hash_chars, 36).ok()?;
                if !(LEAST_HASH_CHARS..=MOST_HASH_CHARS).contains(&hash_chars) {
                    return None;
                }
                Some(Self {
                    observed_at: time(seconds)?,
                    is_superseded: *form == "2s",
                    form: Form::Salted { salt: (*salt).to_owned(), hash_chars },
                    owned: hashes_in(owned, hash_chars)?,
                    refused: hashes_in(refused, hash_chars)?,
                })
            }
            _ => None,
        }
    }

    /// The tag's value.
    pub(super) fn to_tag_value(&self) -> String {
        let join = |hashes: &BTreeSet<String>| hashes.iter().map(String::as_str).collect::<String>();
        let seconds = self.observed_at.unix_seconds();
        match &self.form {
            Form::Unsalted => format!("{seconds}.{}", join(&self.owned)),
            Form::Salted { salt, hash_chars } => {
                let form = if self.is_superseded { "2s" } else { "2" };
                let hash_chars = char::from_digit(u32::try_from(*hash_chars).unwrap_or_default(), 36).unwrap_or('0');
                format!("{form}.{seconds}.{salt}.{hash_chars}.{}.{}", join(&self.owned), join(&self.refused))
            }
        }
    }

    /// True if the hub set the key on the node.
    ///
    /// A hash of the old form proves nothing if two keys on the node have it: one of them may have been made for
    /// that. Then neither is the hub's.
    pub fn owns(&self, key: &str, live: &Tags) -> bool {
        let hash = self.form.hash(key);
        self.owned.contains(&hash)
            && (self.form != Form::Unsalted
                || live.keys().filter(|other| *other != key).all(|other| self.form.hash(other) != hash))
    }

    /// The digest of the policy that the node was last brought in line with; empty if that was before policies had one.
    pub fn policy(&self) -> &str {
        match &self.form {
            Form::Salted { salt, .. } => salt.get(SALT_CHARS..).unwrap_or_default(),
            Form::Unsalted => "",
        }
    }

    /// True if Systems Manager refused this tag.
    pub(super) fn is_refused(&self, key: &str, value: &str) -> bool {
        !self.refused.is_empty() && self.refused.contains(&self.form.hash(&pair(key, value)))
    }

    /// True if it names the same keys as the record.
    pub(super) fn says_owned(&self, record: &Record) -> bool {
        self.owned == self.form.hashes_of_owned(record)
    }

    /// True if there is nothing to write for it to say the same as the record.
    pub(super) fn says(&self, record: &Record) -> bool {
        self.is_superseded == record.is_superseded
            // Where the hub owns nothing, no policy can take anything away.
            && (self.owned.is_empty() || self.policy() == record.policy)
            && self.says_owned(record)
            && self.refused == self.form.hashes_of_refused(record)
    }
}

impl Record {
    /// What was refused is only remembered to save calls, so it makes room for what is owned.
    fn refused_with_room(&self) -> impl Iterator<Item = &(String, String)> {
        let room = ROOM_FOR_HASHES / LEAST_HASH_CHARS;
        self.refused.iter().take(room.saturating_sub(self.owned.len()))
    }
}

impl Form {
    fn hashes_of_owned(&self, record: &Record) -> BTreeSet<String> {
        record.owned.iter().map(|key| self.hash(key)).collect()
    }

    fn hashes_of_refused(&self, record: &Record) -> BTreeSet<String> {
        record.refused_with_room().map(|(key, value)| self.hash(&pair(key, value))).collect()
    }

    fn hash(&self, text: &str) -> String {
        let (salt, hash_chars) = match self {
            Self::Unsalted => ("", LEAST_HASH_CHARS),
            Self::Salted { salt, hash_chars } => (salt.as_str(), *hash_chars),
        };
        let digest = Sha256::new().chain_update(salt).chain_update(text).finalize();
        let mut hash = URL_SAFE_NO_PAD.encode(digest);
        hash.truncate(hash_chars);
        hash
    }
}

/// No key holds a line feed on a node, so no two pairs are the same text.
fn pair(key: &str, value: &str) -> String {
    format!("{key}\n{value}")
}

fn time(seconds: &str) -> Option<Timestamp> {
    Some(Timestamp::from_unix_seconds(seconds.parse().ok()?))
}

fn hashes_in(text: &str, hash_chars: usize) -> Option<BTreeSet<String>> {
    if !text.len().is_multiple_of(hash_chars) {
        return None;
    }
    Some((0..text.len()).step_by(hash_chars).map(|at| text[at..at + hash_chars].to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_795_312_800;
    const SALT: Salt = *b"twelve bytes";

    fn record(owned: &[&str], refused: &[(&str, &str)]) -> Record {
        Record {
            owned: owned.iter().map(|key| (*key).to_owned()).collect(),
            refused: refused.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..Record::default()
        }
    }

    fn new(record: &Record) -> LastApplied {
        LastApplied::new(Timestamp::from_unix_seconds(T), SALT, record)
    }

    #[test]
    fn the_value_has_the_documented_form() {
        let record = record(&["Env", "Role"], &[("odd", "x")]);
        let applied = new(&record);
        let value = applied.to_tag_value();
        let start = format!("2.{T}.{}.g.", URL_SAFE_NO_PAD.encode(SALT));
        assert!(value.starts_with(&start) && value.len() == start.len() + 2 * 16 + 1 + 16, "{value}");
        let none = Tags::new();
        assert!(applied.owns("Env", &none) && applied.owns("Role", &none) && !applied.owns("env", &none));
        assert!(applied.is_refused("odd", "x") && !applied.is_refused("odd", "y") && !applied.is_refused("Env", ""));
        assert!(applied.says(&record));
        assert_eq!(LastApplied::parse(&value), Some(applied));
        let superseded = new(&Record { is_superseded: true, ..Record::default() });
        assert!(superseded.to_tag_value().starts_with("2s.") && !superseded.says(&Record::default()));
        assert_eq!(LastApplied::parse(&superseded.to_tag_value()), Some(superseded));
    }

    #[test]
    fn hashes_are_as_long_as_the_room_allows() {
        let chars = |owned: usize, refused: usize| {
            let keys: Vec<String> = (0..owned).map(|n| format!("key-{n}")).collect();
            let record = Record {
                owned: keys.into_iter().collect(),
                refused: (0..refused).map(|n| (format!("refused-{n}"), String::new())).collect(),
                is_superseded: true,
                policy: "0123456789ab".to_owned(),
            };
            let applied = LastApplied::new(Timestamp::from_unix_seconds(99_999_999_999), SALT, &record);
            let value = applied.to_tag_value();
            assert!(value.len() <= 256, "{owned} {refused}: {}", value.len());
            assert_eq!(applied.owned.len(), owned, "no key is forgotten");
            assert_eq!(LastApplied::parse(&value).as_ref(), Some(&applied));
            match applied.form {
                Form::Salted { hash_chars, .. } => hash_chars,
                Form::Unsalted => 0,
            }
        };
        assert_eq!(chars(0, 0), 16);
        assert_eq!(chars(10, 0) * 6, 96);
        assert_eq!(chars(13, 0) * 6, 96);
        assert!(chars(47, 0) * 6 >= 24);
        assert!(chars(47, 47) * 6 >= 24);
    }

    #[test]
    fn the_policy_stands_behind_the_salt() {
        let by_digest = |policy: &str| Record { policy: policy.to_owned(), ..record(&["Env"], &[]) };
        let applied = new(&by_digest("0123456789ab"));
        let read = LastApplied::parse(&applied.to_tag_value()).unwrap();
        assert_eq!((read.policy(), new(&by_digest("")).policy()), ("0123456789ab", ""));
        assert!(read.says(&by_digest("0123456789ab")) && !read.says(&by_digest("ba9876543210")));
        assert!(read.owns("Env", &Tags::new()), "{read:?}");
        let nothing = new(&Record::default());
        assert!(nothing.says(&Record { policy: "0123456789ab".to_owned(), ..Record::default() }));
        assert_eq!(LastApplied::parse("1795312800.ungW").unwrap().policy(), "");
    }

    #[test]
    fn another_salt_is_another_hash() {
        let keys = record(&["Env"], &[]);
        let other = LastApplied::new(Timestamp::from_unix_seconds(T), *b"other bytes!", &keys);
        assert_ne!(new(&keys).owned, other.owned);
        assert!(other.says(&keys) && new(&keys).says(&keys));
    }

    #[test]
    fn the_old_form_is_read() {
        let applied = LastApplied::parse("1795312800.ungW").unwrap();
        assert!(applied.owns("abc", &Tags::new()), "the first three bytes of SHA-256(abc), ba 78 16, in base64url");
        assert!(!applied.owns("abd", &Tags::new()) && !applied.is_refused("abc", ""));
        assert!(applied.says(&record(&["abc"], &[])) && !applied.says(&record(&["abd"], &[])));
        assert_eq!(applied.to_tag_value(), "1795312800.ungW");
    }

    #[test]
    fn a_collision_in_the_old_form_owns_nothing() {
        // Both keys have the same first 24 bits of SHA-256.
        let (ours, theirs) = colliding();
        let applied = LastApplied {
            observed_at: Timestamp::from_unix_seconds(T),
            is_superseded: false,
            owned: BTreeSet::from([Form::Unsalted.hash(&ours)]),
            form: Form::Unsalted,
            refused: BTreeSet::new(),
        };
        let mut live = Tags::from([(ours.clone(), String::new())]);
        assert!(applied.owns(&ours, &live));
        live.insert(theirs.clone(), String::new());
        assert!(!applied.owns(&ours, &live) && !applied.owns(&theirs, &live));
        let salted = new(&record(&[&ours], &[]));
        assert!(salted.owns(&ours, &live) && !salted.owns(&theirs, &live));
    }

    /// The first two of the texts `k0`, `k1`, … whose old hashes are the same.
    fn colliding() -> (String, String) {
        let mut seen = std::collections::HashMap::new();
        for n in 0.. {
            let key = format!("k{n}");
            if let Some(other) = seen.insert(Form::Unsalted.hash(&key), key.clone()) {
                return (other, key);
            }
        }
        unreachable!("24 bits collide")
    }

    #[test]
    fn what_the_hub_did_not_write_is_no_memory() {
        for value in [
            "",
            "yes",
            "1795312800",
            ".",
            "x.abcd",
            "1795312800.abc",
            "1795312800.äöü1",
            "2.1795312800.c2FsdA.g..x",
            "2.1795312800.c2FsdA.3.abc.",
            "2.1795312800..4.abcd.",
            "3.1795312800.c2FsdA.4.abcd.",
            "2.x.c2FsdA.4.abcd.",
            "2.1795312800.c2FsdA.4.abcd",
        ] {
            assert_eq!(LastApplied::parse(value), None, "{value}");
        }
        assert!(LastApplied::parse("1795312800.").is_some());
        assert!(LastApplied::parse("2.1795312800.c2FsdA.4.abcd.").is_some());
    }
}
