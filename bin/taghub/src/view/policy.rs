//! A tag policy: what is wrong with it, what it would change, and how two of them differ.

use std::collections::{BTreeMap, BTreeSet};

use hub::{Tag, Timestamp};
use serde::Serialize;
use serde_json::Value;
use ssm_tag_manager::plan::{Decision, Policy, ReportContext, Tags, reconcile};

use unicode_width::UnicodeWidthStr;

use super::time::counted;
use crate::terminal::{Sign, Stream, harmless};
use crate::view::agencies::Agency;

const FIELDS: [&str; 9] =
    ["include", "exclude", "rename", "set", "derive", "invalidCharacters", "maxTags", "removeStale", "overwrite"];
/// Below this likeness a word is no slip of another.
const LIKE: f64 = 0.8;

/// Everything that is wrong with a policy, each with its place in the file.
pub fn problems(file: &str, text: &str) -> Vec<String> {
    if let Err(error) = serde_json::from_str::<Value>(text) {
        return vec![format!("{file}:{}:{} not JSON: {error}", error.line(), error.column())];
    }
    let problems = Policy::parse(text).err().unwrap_or_default();
    let place = |problem: &String| {
        let path = problem.split(':').next().unwrap_or_default();
        let field = path.split(['.', '[']).next().unwrap_or_default();
        let (line, column) = position(text, field);
        let meant = if problem.contains("unknown field") { meant(field) } else { String::new() };
        (line, column, format!("{file}:{line}:{column} {problem}{meant}"))
    };
    let mut problems: Vec<(usize, usize, String)> = problems.iter().map(place).collect();
    problems.sort();
    problems.into_iter().map(|(_, _, problem)| problem).collect()
}

/// Line and column of a field of the outermost object; the beginning, if it is not written there.
fn position(text: &str, field: &str) -> (usize, usize) {
    let quoted = serde_json::to_string(field).unwrap_or_default();
    let is_key = |at: &usize| text[at + quoted.len()..].trim_start().starts_with(':');
    let found = text.match_indices(&quoted).map(|(at, _)| at).find(is_key);
    let before = &text[..found.unwrap_or_default()];
    let line = before.matches('\n').count() + 1;
    (line, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
}

fn meant(field: &str) -> String {
    let near = |known: &&&str| strsim::jaro_winkler(known, field);
    let best = FIELDS.iter().filter(|known| near(known) > LIKE).max_by(|a, b| near(a).total_cmp(&near(b)));
    best.map(|known| format!("; did you mean {known}?")).unwrap_or_default()
}

/// A difference between two policies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Such as `include[1]`.
    pub path: String,
    /// Absent if it is new.
    pub before: Option<Value>,
    /// Absent if it is gone.
    pub after: Option<Value>,
}

/// What differs between two policies, by what they mean and not by how they are written.
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut all = Vec::new();
    differ("", Some(before), Some(after), &mut all);
    all
}

fn differ(path: &str, before: Option<&Value>, after: Option<&Value>, all: &mut Vec<Difference>) {
    let child = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (before, after) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                differ(&child(key), a.get(key), b.get(key), all);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for at in 0..a.len().max(b.len()) {
                differ(&format!("{path}[{at}]"), a.get(at), b.get(at), all);
            }
        }
        (before, after) if before != after => {
            all.push(Difference { path: path.to_owned(), before: before.cloned(), after: after.cloned() });
        }
        _ => {}
    }
}

/// Differences for people and for pipes: a line each.
pub fn differences_text(differences: &[Difference], stream: &Stream) -> String {
    let arrow = if stream.utf8 { "→" } else { "->" };
    let line = |difference: &Difference| {
        let path = harmless(&difference.path);
        match (&difference.before, &difference.after) {
            (Some(before), Some(after)) => format!("  ~ {path}: {before} {arrow} {after}\n"),
            (None, Some(after)) => format!("  + {path}: {after}\n"),
            (Some(before), None) => format!("  - {path}: {before}\n"),
            (None, None) => String::new(),
        }
    };
    differences.iter().map(line).collect()
}

/// What a policy would change on nodes, key by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Nodes that were looked at.
    pub nodes: usize,
    /// Nodes that would change.
    pub changed: usize,
    /// Nodes whose instance was not read.
    pub unread: usize,
    /// For each key, the agencies with how many of their nodes would get or change the tag.
    pub set: BTreeMap<String, BTreeMap<String, usize>>,
    /// For each key, the agencies with how many of their nodes would lose the tag.
    pub removed: BTreeMap<String, BTreeMap<String, usize>>,
}

impl Change {
    /// Adds what the policy would do to a node of an agency.
    pub fn add(&mut self, policy: &Policy, agency: &Agency, source: &str, tags: &[Tag], live: &Tags, now: Timestamp) {
        let label = agency.label();
        self.nodes += 1;
        let none = BTreeSet::new();
        let context = ReportContext {
            owner: Some(&agency.account),
            source: Some(source),
            observed_at: now,
            terminated: &none,
            unsettled: None,
            salt: [0; 12],
            is_held: false,
        };
        // A node that no report may change is not changed by a policy either.
        let Decision::Planned(plan) = reconcile(policy, policy.desired(tags), live, context) else { return };
        let removed: Vec<&String> = plan.remove.iter().filter(|key| !hub::is_reserved(key)).collect();
        if plan.set.is_empty() && removed.is_empty() {
            return;
        }
        self.changed += 1;
        for key in plan.set.keys() {
            *self.set.entry(key.clone()).or_default().entry(label.to_owned()).or_default() += 1;
        }
        for key in removed {
            *self.removed.entry(key.clone()).or_default().entry(label.to_owned()).or_default() += 1;
        }
    }

    /// For people and for pipes.
    pub fn text(&self, stream: &Stream) -> String {
        let width = self.set.keys().chain(self.removed.keys()).map(|key| key.width()).max().unwrap_or_default();
        let lines = |sign: char, all: &BTreeMap<String, BTreeMap<String, usize>>| -> String {
            let line = |(key, agencies): (&String, &BTreeMap<String, usize>)| {
                let nodes = counted(agencies.values().sum(), "node");
                let agencies: Vec<String> =
                    agencies.iter().map(|(agency, count)| format!("{agency} {count}")).collect();
                let spaces = " ".repeat(width.saturating_sub(key.width()));
                format!("  {sign} {}{spaces}  {nodes}: {}\n", harmless(key), agencies.join(", "))
            };
            all.iter().map(line).collect()
        };
        let sum =
            |all: &BTreeMap<String, BTreeMap<String, usize>>| all.values().flat_map(BTreeMap::values).sum::<usize>();
        let mut text = lines('+', &self.set) + &lines('-', &self.removed);
        if self.unread > 0 {
            let words = format!("{} not compared: the instance was not read", counted(self.unread, "node"));
            text.push_str(&format!("{}\n", stream.mark(Sign::Look, &words)));
        }
        if self.unread > 0 && self.unread == self.nodes {
            return text + "No node was compared, so what would change is not known. Nothing was written.\n";
        }
        let (set, removed) = (counted(sum(&self.set), "tag"), sum(&self.removed));
        let nodes = counted(self.nodes, "node");
        text + &format!(
            "{} of {nodes} would change: {set} set, {removed} removed. Nothing was written.\n",
            self.changed
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::run::tests::stream;
    use super::*;

    #[test]
    fn every_problem_has_its_place() {
        let text = "{\n  \"include\": [\"Env\"],\n  \"maxTags\": 60,\n  \"exlude\": [\"x\"]\n}";
        insta::assert_snapshot!(problems("default.json", text).join("\n"), @r"
        default.json:3:3 maxTags: expected 1 to 47, got 60
        default.json:4:3 exlude: unknown field, expected one of include, exclude, rename, set, derive, invalidCharacters, maxTags, removeStale, overwrite; did you mean exclude?
        ");
        assert!(problems("x", "{\n  \"include\": [\n")[0].starts_with("x:3:0 not JSON: EOF"));
        assert_eq!(problems("x", "[]"), ["x:1:1 expected a JSON object"]);
        assert!(problems("x", "{}").is_empty());
    }

    #[test]
    fn two_policies_differ_in_what_they_mean() {
        let before = json!({"include": ["Env", "Patch Group"], "maxTags": 10, "set": {"Fleet": "x"}});
        let after = json!({"include": ["Env", "Role", "Name"], "maxTags": 12});
        insta::assert_snapshot!(differences_text(&differences(&before, &after), &stream(80)), @r#"
          ~ include[1]: "Patch Group" → "Role"
          + include[2]: "Name"
          ~ maxTags: 10 → 12
          - set: {"Fleet":"x"}
        "#);
        assert!(differences(&before, &before).is_empty());
    }

    #[test]
    fn a_policy_is_tried_on_nodes() {
        let tags = |pairs: &[(&str, &str)]| -> Vec<Tag> {
            pairs.iter().map(|(key, value)| Tag { key: (*key).to_owned(), value: (*value).to_owned() }).collect()
        };
        let owner: hub::AccountId = "222222222222".parse().unwrap();
        let parks = Agency { account: owner.clone(), name: Some("Parks".to_owned()), manager_version: "7".to_owned() };
        let now: Timestamp = "2026-11-23T06:00:00Z".parse().unwrap();
        let source = "222222222222/us-east-1/i-0abcdef0123456789";
        let mut live =
            Tags::from([("tag-hub:agency".to_owned(), owner.to_string()), ("Own".to_owned(), "operator".to_owned())]);
        let on_instance = tags(&[("Env", "PROD"), ("Role", "web")]);
        let old = Policy::parse(r#"{"include": ["Env"]}"#).unwrap();
        let mut change = Change::default();
        change.add(&old, &parks, source, &on_instance, &live, now);
        assert_eq!(change.set["Env"]["Parks"], 1);
        // As the manager leaves the node.
        let context = ReportContext {
            owner: Some(&owner),
            source: Some(source),
            observed_at: now,
            terminated: &BTreeSet::new(),
            unsettled: None,
            salt: [0; 12],
            is_held: false,
        };
        let Decision::Planned(plan) = reconcile(&old, old.desired(&on_instance), &live, context) else { panic!() };
        live.extend(plan.set.clone());
        live.extend(plan.stamp.clone());
        let new = Policy::parse(r#"{"include": ["Role"]}"#).unwrap();
        let mut change = Change { nodes: 1, unread: 1, ..Change::default() };
        assert!(change.text(&stream(80)).contains("No node was compared"));
        change.add(&new, &parks, source, &on_instance, &live, now);
        insta::assert_snapshot!(change.text(&stream(80)), @r"
          + Role  1 node: Parks 1
          - Env   1 node: Parks 1
        ! 1 node not compared: the instance was not read
        1 of 2 nodes would change: 1 tag set, 1 removed. Nothing was written.
        ");
    }
}
