//! The tag policy: which tags of an instance its node should carry, in which order.

use std::collections::{BTreeMap, BTreeSet};

use hub::{DropReason, DroppedTag, Tag, is_reserved};

use super::charset;
use super::desired::{Desired, DesiredTag};
use super::fold::looks;
use super::glob::KeyGlob;

/// What central IT decided about the tags that are carried over. Read from the JSON of `TAG_POLICY` by
/// [`Policy::parse`]; docs/semantics.md describes the fields.
///
/// ```
/// use ssm_tag_manager::plan::Policy;
///
/// let policy = Policy::parse(r#"{"include": ["Env"], "rename": {"Env": "Stage"}}"#)?;
/// let tag = |key: &str| hub::Tag { key: key.to_owned(), value: "PROD".to_owned() };
/// let desired = policy.desired(&[tag("Env"), tag("Role")]);
/// assert_eq!(desired.tags.len(), 1);
/// assert_eq!(desired.tags[0].key, "Stage");
/// # Ok::<(), Vec<String>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Policy {
    pub(super) include: Vec<KeyGlob>,
    pub(super) exclude: Vec<KeyGlob>,
    pub(super) rename: BTreeMap<String, String>,
    pub(super) set: BTreeMap<String, String>,
    pub(super) derive: Vec<Derived>,
    pub(super) invalid_characters: InvalidCharacters,
    pub(super) max_tags: usize,
    /// Remove a tag that the hub set and the instance no longer carries.
    pub remove_stale: bool,
    /// Let the instance's tag win over an operator's own under the same key.
    pub overwrite: bool,
    /// Twelve hexadecimal digits that are the same for policies with the same fields, however they are written.
    pub digest: String,
}

/// A tag that is added where all of `when` hold, since Systems Manager can target only one tag at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// The key that is added.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Keys and values that the instance must carry, as EC2 spells them.
    pub when: BTreeMap<String, String>,
}

/// What becomes of a tag with a character that Systems Manager does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidCharacters {
    /// The tag is left behind.
    Drop,
    /// The character becomes `_`.
    Replace,
}

impl Policy {
    /// The tags that the node of an instance with these tags should carry, the most important first.
    ///
    /// The order is: `set`, `derive`, then the instance's own by the entries of `include` and, within an
    /// entry, by key. Of several `derive` entries for one key the first that applies counts. Of keys that look alike
    /// the most important stays. The order of the input does not matter.
    pub fn desired(&self, source: &[Tag]) -> Desired {
        let mut dropped = Vec::new();
        let mut copied: Vec<(usize, &Tag, DesiredTag)> = Vec::new();
        let distinct: BTreeSet<&Tag> = source.iter().collect();
        for tag in distinct.iter().copied() {
            if tag.key == hub::MANAGED_INSTANCE_ID_TAG_KEY {
                continue;
            }
            if is_reserved(&tag.key) {
                dropped.push(DroppedTag { key: tag.key.clone(), reason: DropReason::Reserved });
                continue;
            }
            let Some(priority) = self.priority(&tag.key) else { continue };
            match self.carry_over(tag) {
                Ok(desired) => copied.push((priority, tag, desired)),
                Err(reason) => dropped.push(DroppedTag { key: tag.key.clone(), reason }),
            }
        }
        copied.sort_by(|(a_priority, a_tag, _), (b_priority, b_tag, _)| (a_priority, a_tag).cmp(&(b_priority, b_tag)));

        let mut tags: Vec<DesiredTag> = Vec::new();
        let mut taken = BTreeSet::new();
        let mut derived_keys = BTreeSet::new();
        let derived =
            self.derive.iter().filter(|derived| derived.applies_to(&distinct) && derived_keys.insert(&derived.key));
        let added = self.set.iter().chain(derived.map(|derived| (&derived.key, &derived.value)));
        let added =
            added.map(|(key, value)| DesiredTag { key: key.clone(), value: value.clone(), source_key: key.clone() });
        for tag in added.chain(copied.into_iter().map(|(_, _, desired)| desired)) {
            let looks = looks(&tag.key);
            if looks.iter().any(|look| taken.contains(look)) {
                dropped.push(tag.dropped(DropReason::Collision));
            } else if tags.len() == self.max_tags {
                dropped.push(tag.dropped(DropReason::Limit));
            } else {
                taken.extend(looks);
                tags.push(tag);
            }
        }
        dropped.sort();
        Desired { tags, dropped }
    }

    /// The position of the first entry of `include` that takes the key, if the policy carries it at all.
    fn priority(&self, key: &str) -> Option<usize> {
        if self.exclude.iter().any(|glob| glob.is_match(key)) {
            return None;
        }
        self.include.iter().position(|glob| glob.is_match(key))
    }

    /// The tag as the node should carry it, or why it cannot.
    fn carry_over(&self, tag: &Tag) -> Result<DesiredTag, DropReason> {
        let mut key = self.rename.get(&tag.key).unwrap_or(&tag.key).clone();
        let mut value = tag.value.clone();
        if !charset::fits_characters(&key, &value) {
            match self.invalid_characters {
                InvalidCharacters::Drop => return Err(DropReason::Character),
                InvalidCharacters::Replace => {
                    key = charset::replace(&key);
                    value = charset::replace(&value);
                }
            }
        }
        if !charset::fits_length(&key, &value) {
            return Err(DropReason::Length);
        }
        // Nobody may take it for one of the hub's own or of AWS's.
        if looks(&key).iter().any(|look| is_reserved(look)) {
            return Err(DropReason::Reserved);
        }
        Ok(DesiredTag { key, value, source_key: tag.key.clone() })
    }
}

impl Derived {
    fn applies_to(&self, source: &BTreeSet<&Tag>) -> bool {
        self.when.iter().all(|(key, value)| source.iter().any(|tag| tag.key == *key && tag.value == *value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Vec<Tag> {
        pairs.iter().map(|(key, value)| Tag { key: (*key).to_owned(), value: (*value).to_owned() }).collect()
    }

    /// What the policy makes of the tags: `key=value` in order, then `key!reason` for the dropped.
    fn check(policy: &str, source: &[(&str, &str)], expected: &[&str]) {
        let desired = Policy::parse(policy).unwrap().desired(&tags(source));
        let mut got: Vec<String> = desired.tags.iter().map(|tag| format!("{}={}", tag.key, tag.value)).collect();
        got.extend(
            desired
                .dropped
                .iter()
                .map(|tag| format!("{}!{}", tag.key, serde_json::to_value(tag.reason).unwrap().as_str().unwrap())),
        );
        assert_eq!(got, expected, "{policy} on {source:?}");
    }

    #[test]
    fn by_default_everything_is_carried_over_and_what_people_target_by_comes_first() {
        check("{}", &[("b", "2"), ("a", "1"), ("C", "")], &["C=", "a=1", "b=2"]);
        let thirteen = [
            "App",
            "Backup",
            "Cost",
            "Department",
            "Environment",
            "Floor",
            "Group",
            "Host",
            "Index",
            "Name",
            "Owner",
            "Patch Group",
            "Zone",
        ];
        let tags: Vec<(&str, &str)> = thirteen.iter().map(|key| (*key, "x")).collect();
        check(
            "{}",
            &tags,
            &[
                "Name=x",
                "Patch Group=x",
                "Environment=x",
                "App=x",
                "Backup=x",
                "Cost=x",
                "Department=x",
                "Floor=x",
                "Group=x",
                "Host=x",
                "Index!limit",
                "Owner!limit",
                "Zone!limit",
            ],
        );
    }

    #[test]
    fn keys_that_look_alike_are_one_key() {
        check(
            "{}",
            &[("team", "1"), ("TEAM", "2"), ("Team\u{3164}", "3")],
            &["TEAM=2", "Team\u{3164}!collision", "team!collision"],
        );
        check(
            r#"{"set": {"Env": "fixed"}, "include": ["env", "*"]}"#,
            &[("env", "1"), ("Env\u{a0}", "2"), ("Patch Group", "3"), ("PatchGroup", "4")],
            &["Env=fixed", "Patch Group=3", "PatchGroup=4", "Env\u{a0}!collision", "env!collision"],
        );
    }

    #[test]
    fn the_join_key_is_not_carried_over_and_not_reported() {
        check("{}", &[("managedinstanceid", "mi-0123456789abcdef0"), ("a", "1")], &["a=1"]);
    }

    #[test]
    fn reserved_keys_are_dropped_before_the_policy_is_asked() {
        check(
            r#"{"exclude": ["*"], "rename": {"aws:x": "x"}}"#,
            &[("aws:x", "1"), ("Tag-Hub:agency", "2")],
            &["Tag-Hub:agency!reserved", "aws:x!reserved"],
        );
    }

    #[test]
    fn what_looks_like_a_reserved_key_is_one() {
        check(
            "{}",
            &[
                ("\u{3164}tag-hub:agency", "1"),
                (" tag-hub:terminated", "2"),
                ("tag-hub\u{3164}:source", "3"),
                ("a", "4"),
            ],
            &[
                "a=4",
                " tag-hub:terminated!reserved",
                "tag-hub\u{3164}:source!reserved",
                "\u{3164}tag-hub:agency!reserved",
            ],
        );
        check(r#"{"rename": {"a": " AWS:b"}}"#, &[("a", "1")], &["a!reserved"]);
    }

    #[test]
    fn include_is_the_order_of_priority() {
        check(
            r#"{"include": ["Env", "app:*", "*"], "maxTags": 3}"#,
            &[("a", "1"), ("app:z", "2"), ("app:b", "3"), ("Env", "4")],
            &["Env=4", "app:b=3", "app:z=2", "a!limit"],
        );
        check(r#"{"include": ["Env"]}"#, &[("Env", "1"), ("other", "2")], &["Env=1"]);
    }

    #[test]
    fn exclude_wins_over_include() {
        check(r#"{"exclude": ["secret*"]}"#, &[("secret", "1"), ("secrets", "2"), ("a", "3")], &["a=3"]);
    }

    #[test]
    fn rename_set_and_derive() {
        check(
            r#"{"rename": {"environment": "Env"}, "set": {"Fleet": "agency"},
                "derive": [{"key": "Cohort", "value": "prod-web", "when": {"environment": "PROD", "Role": "web"}}]}"#,
            &[("environment", "PROD"), ("Role", "web")],
            &["Fleet=agency", "Cohort=prod-web", "Role=web", "Env=PROD"],
        );
        check(
            r#"{"derive": [{"key": "Cohort", "value": "x", "when": {"a": "1", "b": "2"}}]}"#,
            &[("a", "1"), ("b", "3")],
            &["a=1", "b=3"],
        );
        check(
            r#"{"derive": [{"key": "Tier", "value": "gold", "when": {"Env": "PROD"}},
                           {"key": "Tier", "value": "web", "when": {"Role": "web"}}]}"#,
            &[("Env", "PROD"), ("Role", "web")],
            &["Tier=gold", "Env=PROD", "Role=web"],
        );
    }

    #[test]
    fn two_tags_for_one_key_collide_and_the_more_important_stays() {
        check(
            r#"{"rename": {"environment": "Env"}, "include": ["environment", "*"]}"#,
            &[("Env", "1"), ("environment", "2")],
            &["Env=2", "Env!collision"],
        );
        check(r#"{"set": {"Env": "fixed"}}"#, &[("Env", "1")], &["Env=fixed", "Env!collision"]);
        check("{}", &[("a", "2"), ("a", "1"), ("a", "1")], &["a=1", "a!collision"]);
    }

    #[test]
    fn characters_and_lengths() {
        let long = "k".repeat(129);
        check("{}", &[("a#b", "1"), ("c", "x,y"), ("d", "ok")], &["d=ok", "a#b!character", "c!character"]);
        check("{}", &[(&long, "1"), ("", "2")], &["!length", &format!("{long}!length")]);
        check(
            r#"{"invalidCharacters": "replace"}"#,
            &[("a#b", "1"), ("a;b", "2"), ("c", "x,y")],
            &["a_b=1", "c=x_y", "a;b!collision"],
        );
        check(r#"{"rename": {"a#b": "ab"}}"#, &[("a#b", "1")], &["ab=1"]);
    }

    proptest! {
        #[test]
        fn the_order_of_tags_does_not_matter(
            mut source in prop::collection::vec(("[aAbB#]{1,2}|aws:a", "[xy,]{0,1}"), 0..12),
            limit in 1..6_usize,
        ) {
            let policy = format!(r#"{{"include": ["b*", "*"], "rename": {{"a": "b"}}, "maxTags": {limit}}}"#);
            let policy = Policy::parse(&policy).unwrap();
            let as_tags = |pairs: &[(String, String)]| -> Vec<Tag> {
                pairs.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect()
            };
            let forward = policy.desired(&as_tags(&source));
            source.reverse();
            let backward = policy.desired(&as_tags(&source));
            prop_assert!(forward.tags.len() <= limit);
            prop_assert_eq!(forward, backward);
        }
    }
}
