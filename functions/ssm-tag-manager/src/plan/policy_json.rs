//! Reading the policy from JSON, strictly, with every problem at once.

use std::collections::BTreeMap;

use hub::is_reserved;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::charset;
use super::glob::KeyGlob;
use super::policy::{Derived, InvalidCharacters, Policy};

const FIELDS: [&str; 9] =
    ["include", "exclude", "rename", "set", "derive", "invalidCharacters", "maxTags", "removeStale", "overwrite"];
/// 50 tags on a node without the three that are reserved.
const MAX_TAGS_LIMIT: u64 = 47;
const DEFAULT_MAX_TAGS: u64 = 10;
const DIGEST_BYTES: usize = 6;
/// What people target by comes first, so that it is not what falls off a node with more than `maxTags`.
const DEFAULT_INCLUDE: &[&str] = &["Name", "Patch Group", "PatchGroup", "Env*", "*"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DerivedJson {
    key: String,
    value: String,
    when: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum InvalidCharactersJson {
    Drop,
    Replace,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// Lists every problem, each with the field that it is in.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let fields = match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return Err(vec!["expected a JSON object".to_owned()]),
            Err(error) => return Err(vec![format!("expected a JSON object: {error}")]),
        };
        let mut reader = Reader { fields, problems: Vec::new() };
        let policy = reader.policy();
        if reader.problems.is_empty() { Ok(policy) } else { Err(reader.problems) }
    }
}

struct Reader {
    fields: Map<String, Value>,
    problems: Vec<String>,
}

impl Reader {
    fn policy(&mut self) -> Policy {
        self.unknown_fields();
        let include = self.globs("include", DEFAULT_INCLUDE);
        let exclude = self.globs("exclude", &[]);
        let rename = self.rename();
        let set = self.set();
        let derive = self.derive(&set);
        let invalid_characters = match self.field("invalidCharacters").unwrap_or(InvalidCharactersJson::Drop) {
            InvalidCharactersJson::Drop => InvalidCharacters::Drop,
            InvalidCharactersJson::Replace => InvalidCharacters::Replace,
        };
        let max_tags = self.max_tags();
        if set.len() > max_tags {
            self.problem("set", format_args!("holds {} tags, more than maxTags {max_tags}", set.len()));
        }
        Policy {
            include,
            exclude,
            rename,
            set,
            derive,
            invalid_characters,
            max_tags,
            remove_stale: self.field("removeStale").unwrap_or(true),
            overwrite: self.field("overwrite").unwrap_or(true),
            digest: self.digest(),
        }
    }

    /// Over all fields, with the defaults of those that are left out: a release with other defaults has other policies.
    fn digest(&self) -> String {
        let mut all = json!({
            "include": DEFAULT_INCLUDE, "exclude": [], "rename": {}, "set": {}, "derive": [],
            "invalidCharacters": "drop", "maxTags": DEFAULT_MAX_TAGS, "removeStale": true, "overwrite": true,
        });
        for (name, value) in &self.fields {
            all[name] = value.clone();
        }
        // Whether a map keeps its order depends on the features that other crates ask for.
        all.sort_all_objects();
        let hash = Sha256::digest(all.to_string());
        let first = hash.iter().take(DIGEST_BYTES).fold(0_u64, |first, byte| (first << 8) | u64::from(*byte));
        format!("{first:012x}")
    }

    fn problem(&mut self, path: &str, problem: impl std::fmt::Display) {
        self.problems.push(format!("{path}: {problem}"));
    }

    fn unknown_fields(&mut self) {
        let unknown: Vec<String> =
            self.fields.keys().filter(|name| !FIELDS.contains(&name.as_str())).cloned().collect();
        for name in unknown {
            self.problem(&name, format_args!("unknown field, expected one of {}", FIELDS.join(", ")));
        }
    }

    /// A field's value, or nothing where it is absent or (noted as a problem) not of its type.
    fn field<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let value = self.fields.get(name)?;
        match serde_path_to_error::deserialize(value) {
            Ok(value) => Some(value),
            Err(error) => {
                let inner = error.path().to_string();
                let path = match inner.strip_prefix('.').unwrap_or(&inner) {
                    "" => name.to_owned(),
                    index if index.starts_with('[') => format!("{name}{index}"),
                    key => format!("{name}.{key}"),
                };
                self.problem(&path, error.into_inner());
                None
            }
        }
    }

    fn globs(&mut self, name: &str, default: &[&str]) -> Vec<KeyGlob> {
        let patterns: Vec<String> =
            self.field(name).unwrap_or_else(|| default.iter().map(|pattern| (*pattern).to_owned()).collect());
        let mut globs = Vec::with_capacity(patterns.len());
        for (index, pattern) in patterns.iter().enumerate() {
            match KeyGlob::new(pattern) {
                Ok(glob) => globs.push(glob),
                Err(error) => self.problem(&format!("{name}[{index}]"), error),
            }
        }
        globs
    }

    fn rename(&mut self) -> BTreeMap<String, String> {
        let rename: BTreeMap<String, String> = self.field("rename").unwrap_or_default();
        for (from, to) in &rename {
            self.check_tag(&format!("rename.{from}"), to, "");
        }
        rename
    }

    fn set(&mut self) -> BTreeMap<String, String> {
        let set: BTreeMap<String, String> = self.field("set").unwrap_or_default();
        for (key, value) in &set {
            self.check_tag(&format!("set.{key}"), key, value);
        }
        set
    }

    fn derive(&mut self, set: &BTreeMap<String, String>) -> Vec<Derived> {
        let derive: Vec<DerivedJson> = self.field("derive").unwrap_or_default();
        let mut derived = Vec::with_capacity(derive.len());
        for (index, DerivedJson { key, value, when }) in derive.into_iter().enumerate() {
            let path = format!("derive[{index}]");
            self.check_tag(&path, &key, &value);
            if when.is_empty() {
                self.problem(&path, "when: expected at least one tag; use set for a tag on every node");
            }
            if set.contains_key(&key) {
                self.problem(&path, format_args!("the key {key:?} is already in set"));
            }
            derived.push(Derived { key, value, when });
        }
        derived
    }

    fn max_tags(&mut self) -> usize {
        let max_tags = self.field("maxTags").unwrap_or(DEFAULT_MAX_TAGS);
        if !(1..=MAX_TAGS_LIMIT).contains(&max_tags) {
            self.problem("maxTags", format_args!("expected 1 to {MAX_TAGS_LIMIT}, got {max_tags}"));
        }
        usize::try_from(max_tags).unwrap_or(usize::MAX)
    }

    /// Notes what would keep Systems Manager from taking a tag that the policy itself names.
    fn check_tag(&mut self, path: &str, key: &str, value: &str) {
        if is_reserved(key) {
            self.problem(path, format_args!("the key {key:?} is reserved"));
        }
        if !charset::fits_characters(key, value) {
            self.problem(path, "has a character that Systems Manager does not allow in tags");
        }
        if !charset::fits_length(key, value) {
            self.problem(path, "expected a key of 1 to 128 and a value of at most 256 characters");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let problems = Policy::parse(text).err().unwrap_or_default();
        assert_eq!(problems.len(), expected.len(), "{text}: {problems:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.contains(expected), "{text}: {problem:?} lacks {expected:?}");
        }
    }

    #[test]
    fn the_documented_policy_is_accepted() {
        check(
            r#"{ "include": ["Env", "Patch Group", "app:*", "*"],   "exclude": ["secret*"],
                 "rename": {"environment": "Env"},                  "set": {"Fleet": "agency"},
                 "derive": [{"key": "Cohort", "value": "prod-web", "when": {"Env": "PROD", "Role": "web"}}],
                 "invalidCharacters": "drop",                       "maxTags": 10,
                 "removeStale": true,                               "overwrite": true }"#,
            &[],
        );
        check(r#"{"maxTags": 1}"#, &[]);
        check(r#"{"maxTags": 47}"#, &[]);
    }

    #[test]
    fn the_digest_is_of_what_a_policy_says_and_not_of_how() {
        let digest = |text: &str| Policy::parse(text).unwrap().digest;
        let all = r#"{"exclude": [], "maxTags": 10, "include": ["Name", "Patch Group", "PatchGroup", "Env*", "*"]}"#;
        assert_eq!(digest("{}"), digest(all));
        assert_eq!(
            digest(r#"{"set": {"a": "1", "b": "2"}, "maxTags": 9}"#),
            digest("{ \"maxTags\": 9,\n\"set\": {\"b\": \"2\", \"a\": \"1\"}}")
        );
        assert_ne!(digest(r#"{"include": ["a", "b"]}"#), digest(r#"{"include": ["b", "a"]}"#));
        assert!(digest("{}").len() == 12 && digest("{}").bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        check("", &["expected a JSON object"]);
        check("[]", &["expected a JSON object"]);
        check("{", &["expected a JSON object"]);
    }

    #[test]
    fn every_field_is_checked() {
        check(r#"{"maxTags": 0}"#, &["maxTags: expected 1 to 47, got 0"]);
        check(r#"{"maxTags": 48}"#, &["maxTags: expected 1 to 47, got 48"]);
        check(r#"{"maxTags": "10"}"#, &["maxTags: invalid type: string"]);
        check(r#"{"maxTags": 1, "set": {"a": "1", "b": "2"}}"#, &["set: holds 2 tags, more than maxTags 1"]);
        check(r#"{"include": [1]}"#, &["include[0]: invalid type: integer"]);
        check(r#"{"exclude": [""]}"#, &["exclude[0]: expected a key or a pattern"]);
        check(r#"{"rename": {"a": "aws:b"}}"#, &["rename.a: the key \"aws:b\" is reserved"]);
        check(r#"{"rename": {"a": ""}}"#, &["rename.a: expected a key of 1 to 128"]);
        check(r#"{"set": {"tag-hub:agency": "1"}}"#, &["set.tag-hub:agency: the key \"tag-hub:agency\" is reserved"]);
        check(r#"{"set": {"a": "x,y"}}"#, &["set.a: has a character"]);
        check(r#"{"set": {"a": 1}}"#, &["set.a: invalid type: integer"]);
        check(r#"{"derive": [{"key": "a", "value": "b"}]}"#, &["derive[0]: missing field `when`"]);
        check(
            r#"{"derive": [{"key": "a", "value": "b", "when": {}}]}"#,
            &["derive[0]: when: expected at least one tag"],
        );
        check(
            r#"{"set": {"a": "1"}, "derive": [{"key": "a", "value": "b", "when": {"c": "d"}}]}"#,
            &["derive[0]: the key \"a\" is already in set"],
        );
        check(
            r#"{"invalidCharacters": "keep"}"#,
            &["invalidCharacters: unknown variant `keep`, expected `drop` or `replace`"],
        );
        check(r#"{"removeStale": "yes"}"#, &["removeStale: invalid type: string"]);
    }

    #[test]
    fn all_problems_are_listed_at_once() {
        check(
            r#"{"maxtags": 3, "maxTags": 0, "overwrite": 1, "derive": [{"key": "aws:a", "value": "x,", "when": {}}]}"#,
            &[
                "maxtags: unknown field",
                "derive[0]: the key",
                "derive[0]: has a character",
                "derive[0]: when",
                "maxTags: expected",
                "overwrite: invalid",
            ],
        );
    }
}
