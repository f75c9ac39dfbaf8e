//! Why a node carries what it carries: the tags of the instance, the policy's word on each, and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use hub::{DropReason, Tag, Timestamp, is_reserved};
use serde::Serialize;
use serde_json::{Value, json};
use ssm_tag_manager::plan::{LastApplied, Policy, Source};

use super::nodes::{Node, Tagging, tagging_words};
use super::table::{Cell, Columns, Row, render};
use super::time::{counted, minute};
use crate::terminal::{Sign, Stream, Tone, harmless};

const COLUMNS: Columns = Columns {
    headers: &["ON THE INSTANCE", "POLICY", "ON THE NODE", "WHOSE"],
    kept: 3,
    keys: &["key", "value", "rule", "nodeKey", "nodeValue", "whose"],
};

/// What the policy says about a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// It is carried over as it is.
    Include,
    /// It is carried over under another key.
    Rename,
    /// It is carried over with characters replaced.
    Replace,
    /// The policy adds it to every node.
    Set,
    /// The policy adds it where others hold.
    Derive,
    /// `exclude` names it.
    Exclude,
    /// `include` does not name it.
    NotIncluded,
    /// It cannot be carried over.
    Dropped(DropReason),
    /// The policy has no word on it.
    Nothing,
}

impl Serialize for Rule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.piped())
    }
}

impl Rule {
    /// The word for programs.
    fn piped(&self) -> String {
        let word = self.word();
        if word.is_empty() { "none".to_owned() } else { word.replace(' ', "-") }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Include => "include",
            Self::Rename => "rename",
            Self::Replace => "replace",
            Self::Set => "set",
            Self::Derive => "derive",
            Self::Exclude => "exclude",
            Self::NotIncluded => "not included",
            Self::Dropped(reason) => reason.into_str(),
            Self::Nothing => "",
        }
    }

    fn is_carried(&self) -> bool {
        matches!(self, Self::Include | Self::Rename | Self::Replace | Self::Set | Self::Derive)
    }

    /// True for a drop that somebody may want to know of.
    fn is_notable(&self) -> bool {
        matches!(self, Self::Dropped(reason) if !reason.is_normal())
    }
}

/// Who put a tag on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// The hub set it.
    Hub,
    /// Somebody else did.
    Operator,
}

/// A tag, from the instance to the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    key: Option<String>,
    value: Option<String>,
    rule: Rule,
    /// What the node should carry.
    wanted: Option<(String, String)>,
    /// What it carries, under the key that it should or does.
    node_key: Option<String>,
    node_value: Option<String>,
    whose: Option<Whose>,
}

/// All of a node.
#[derive(Debug, Clone)]
pub struct Explained {
    node: Node,
    source: Option<Source>,
    last_change: Option<Timestamp>,
    /// Why the tags of the instance are not here.
    unread: Option<String>,
    /// How the node stood in the last report, where that is worse than what its tags show.
    tagging: Option<Tagging>,
    lines: Vec<Line>,
}

/// Compares what an instance carries with its node. Without `tags`, `unread` says why they were not read.
pub fn explain(node: Node, policy: &str, tags: Result<&[Tag], String>) -> Result<Explained, Vec<String>> {
    let parsed = Policy::parse(policy)?;
    let applied = LastApplied::of(&node.tags);
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    let owns = |key: &str| applied.as_ref().is_some_and(|applied| applied.owns(key, &node.tags));
    let see_on_node = |line: &mut Line, key: &str| {
        line.node_value = node.tags.get(key).cloned();
        line.node_key = line.node_value.is_some().then(|| key.to_owned());
        line.whose = line.node_value.is_some().then(|| if owns(key) { Whose::Hub } else { Whose::Operator });
    };
    if let Ok(tags) = tags {
        for mut line in by_policy(&parsed, policy, tags) {
            if let Some((key, _)) = line.wanted.clone() {
                see_on_node(&mut line, &key);
                seen.insert(key);
            }
            all.push(line);
        }
    }
    for key in node.tags.keys().filter(|key| !is_reserved(key) && !seen.contains(*key)) {
        let mut line = Line { rule: Rule::Nothing, ..Line::none() };
        see_on_node(&mut line, key);
        all.push(line);
    }
    Ok(Explained {
        source: Source::of(&node.tags),
        last_change: applied.map(|applied| applied.observed_at),
        unread: tags.err(),
        tagging: None,
        node,
        lines: all,
    })
}

impl Line {
    fn none() -> Self {
        Self {
            key: None,
            value: None,
            rule: Rule::Nothing,
            wanted: None,
            node_key: None,
            node_value: None,
            whose: None,
        }
    }
}

/// What the policy makes of each tag of an instance, and what it adds.
fn by_policy(policy: &Policy, text: &str, tags: &[Tag]) -> Vec<Line> {
    let desired = policy.desired(tags);
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let set: BTreeSet<&String> = json["set"].as_object().map(|set| set.keys().collect()).unwrap_or_default();
    let derived: BTreeSet<&str> =
        json["derive"].as_array().into_iter().flatten().filter_map(|entry| entry["key"].as_str()).collect();
    let (mut carried, mut added) = (BTreeMap::new(), Vec::new());
    for tag in desired.tags {
        let is_copied = tags.iter().any(|source| source.key == tag.source_key);
        if set.contains(&tag.key) && tag.key == tag.source_key {
            added.push((Rule::Set, tag));
        } else if derived.contains(tag.key.as_str()) && (!is_copied || desired_by_derive(&json, &tag.key, &tag.value)) {
            added.push((Rule::Derive, tag));
        } else {
            carried.insert(tag.source_key.clone(), tag);
        }
    }
    let without_exclude = without(&json, "exclude");
    let mut sorted: Vec<&Tag> = tags.iter().filter(|tag| tag.key != hub::MANAGED_INSTANCE_ID_TAG_KEY).collect();
    sorted.sort();
    let mut lines: Vec<Line> = sorted
        .into_iter()
        .map(|tag| {
            let (rule, wanted) = match carried.get(&tag.key) {
                Some(desired) if json["rename"].get(&tag.key).is_some() => (Rule::Rename, Some(desired)),
                Some(desired) if desired.key != tag.key || desired.value != tag.value => (Rule::Replace, Some(desired)),
                Some(desired) => (Rule::Include, Some(desired)),
                None => match desired.dropped.iter().find(|dropped| dropped.key == tag.key) {
                    Some(dropped) => (Rule::Dropped(dropped.reason), None),
                    None if is_taken(without_exclude.as_ref(), tag) => (Rule::Exclude, None),
                    None => (Rule::NotIncluded, None),
                },
            };
            let wanted = wanted.map(|tag| (tag.key.clone(), tag.value.clone()));
            Line { key: Some(tag.key.clone()), value: Some(tag.value.clone()), rule, wanted, ..Line::none() }
        })
        .collect();
    // What is carried over first, then what is not.
    lines.sort_by_key(|line| !line.rule.is_carried());
    lines.extend(added.into_iter().map(|(rule, tag)| Line {
        rule,
        wanted: Some((tag.key, tag.value)),
        ..Line::none()
    }));
    lines
}

fn desired_by_derive(json: &Value, key: &str, value: &str) -> bool {
    json["derive"].as_array().into_iter().flatten().any(|entry| entry["key"] == key && entry["value"] == value)
}

fn without(json: &Value, field: &str) -> Option<Policy> {
    let mut json = json.clone();
    json.as_object_mut()?.remove(field)?;
    Policy::parse(&json.to_string()).ok()
}

/// True if a policy has a word on a tag.
fn is_taken(policy: Option<&Policy>, tag: &Tag) -> bool {
    policy.is_some_and(|policy| {
        let desired = policy.desired(std::slice::from_ref(tag));
        desired.tags.iter().any(|desired| desired.source_key == tag.key) || !desired.dropped.is_empty()
    })
}

impl Explained {
    /// The same with the lines about one key alone, by the name that it has on either side.
    ///
    /// # Errors
    /// The keys that there are, if there is no such key.
    pub fn only(mut self, key: &str) -> Result<Self, Vec<String>> {
        let is_it = |line: &Line| {
            let wanted = line.wanted.as_ref().map(|(key, _)| key);
            [line.key.as_ref(), line.node_key.as_ref(), wanted].into_iter().flatten().any(|name| name == key)
        };
        if !self.lines.iter().any(is_it) {
            let keys = self.lines.iter().filter_map(|line| line.key.as_ref().or(line.node_key.as_ref()));
            return Err(keys.map(|key| harmless(key)).collect());
        }
        self.lines.retain(is_it);
        Ok(self)
    }

    /// How many tags are left behind that somebody may want to know of.
    pub fn left_behind(&self) -> usize {
        self.lines.iter().filter(|line| line.rule.is_notable()).count()
    }

    /// True if the node carries other than the policy wants.
    pub fn is_out_of_step(&self) -> bool {
        self.lines
            .iter()
            .any(|line| line.wanted.as_ref().is_some_and(|(_, value)| line.node_value.as_ref() != Some(value)))
    }

    /// The same with what the last report came to, which the tags alone do not tell.
    #[must_use]
    pub fn after(self, tagging: Tagging) -> Self {
        let is_told_by_tags =
            matches!(tagging, Tagging::InStep | Tagging::LeftBehind(_) | Tagging::NotReported | Tagging::Unread);
        Self { tagging: (!is_told_by_tags).then_some(tagging), ..self }
    }

    /// True if the last report left the node in trouble, whatever its tags are.
    pub fn is_in_trouble(&self) -> bool {
        self.tagging.is_some()
    }

    /// For people.
    pub fn text(&self, stream: &Stream) -> String {
        let mut text = self.header(stream);
        let rows: Vec<Row> = self.lines.iter().map(Line::row).collect();
        text.push_str(&render(&COLUMNS, &rows, stream));
        if let Some(why) = &self.unread {
            text.push_str(&stream.toned(Tone::Faint, &format!("The tags of the instance were not read: {why}\n")));
        }
        text
    }

    fn header(&self, stream: &Stream) -> String {
        let name = self.node.name.as_deref().unwrap_or("-");
        let source = self.source.as_ref().map_or_else(|| "no instance".to_owned(), ToString::to_string);
        let state = if let Some(tagging) = &self.tagging {
            let (sign, words) = tagging_words(tagging);
            stream.mark(sign, &harmless(&words))
        } else if self.left_behind() > 0 {
            stream.mark(Sign::Look, &format!("{} left behind", counted(self.left_behind(), "tag")))
        } else if self.is_out_of_step() {
            stream.mark(Sign::Look, "not in step")
        } else if self.unread.is_some() {
            stream.mark(Sign::Waiting, "not compared with the instance")
        } else {
            stream.mark(Sign::Good, "in step")
        };
        let arrow = if stream.utf8 { "←" } else { "<-" };
        let change = self.last_change.map_or_else(|| "never".to_owned(), |at| format!("{} UTC", minute(at)));
        format!(
            "{}   {} {arrow} {source}   {state}\nlast change {change}\n\n",
            stream.toned(Tone::Strong, &harmless(name)),
            self.node.id
        )
    }

    /// What to do about each tag that is left behind, a line each.
    pub fn remedies(&self) -> Vec<String> {
        let trouble = self.tagging.as_ref().map(|_| format!("taghub doctor --node {} says what to do", self.node.id));
        trouble.into_iter().chain(self.lines.iter().filter_map(Line::remedy)).collect()
    }

    /// For programs, a line each.
    pub fn rows(&self) -> Vec<Row> {
        self.lines.iter().map(Line::row).collect()
    }

    /// The columns of the table.
    pub fn columns() -> &'static Columns {
        &COLUMNS
    }

    /// For programs, as one document.
    pub fn json(&self) -> Value {
        json!({
            "schema": "taghub.explain/1",
            "id": self.node.id,
            "name": self.node.name,
            "source": self.source.as_ref().map(ToString::to_string),
            "lastChange": self.last_change,
            "tagging": self.tagging.as_ref().map(Tagging::as_str),
            "instanceNotRead": self.unread,
            "leftBehind": self.left_behind(),
            "inStep": self.unread.is_none().then(|| !self.is_out_of_step()),
            "tags": self.lines,
        })
    }
}

impl Line {
    fn row(&self) -> Row {
        let pair = |key: Option<&String>, value: Option<&String>| match (key, value) {
            (Some(key), Some(value)) => format!("{key} = {value}"),
            _ => String::new(),
        };
        let on_node = match (&self.wanted, &self.node_value) {
            (Some((key, wanted)), Some(value)) if wanted != value => {
                Cell::mark(Sign::Look, format!("{key} = {value}, not {wanted}"))
            }
            (Some((key, _)), None) => Cell::mark(Sign::Look, format!("{key} is not there yet")),
            (None, None) => Cell::text("not carried over"),
            _ => Cell::text(pair(self.node_key.as_ref(), self.node_value.as_ref())),
        };
        let rule = self.rule.word();
        let rule = if self.rule.is_notable() { Cell::mark(Sign::Look, rule) } else { Cell::text(rule) };
        let whose = match self.whose {
            Some(Whose::Hub) => "hub",
            Some(Whose::Operator) => "operator",
            None => "",
        };
        let on_instance = Cell::text(pair(self.key.as_ref(), self.value.as_ref()));
        let or_dash = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".to_owned());
        Row {
            cells: vec![on_instance, rule, on_node, Cell::text(whose)],
            piped: vec![
                or_dash(self.key.as_ref()),
                or_dash(self.value.as_ref()),
                self.rule.piped(),
                or_dash(self.node_key.as_ref()),
                or_dash(self.node_value.as_ref()),
                if whose.is_empty() { "-".to_owned() } else { whose.to_owned() },
            ],
        }
    }

    fn remedy(&self) -> Option<String> {
        let Rule::Dropped(reason) = &self.rule else { return None };
        let (key, value) = (self.key.as_deref()?, self.value.as_deref()?);
        let shown = harmless(key);
        Some(match reason {
            DropReason::Reserved => return None,
            DropReason::Character => {
                let (place, character) = refused_character(key, value)?;
                let kept = replaced(key, value).map(|kept| format!(", which gives {kept}")).unwrap_or_default();
                format!(
                    "{shown}: the {place} holds {character:?} (U+{:04X}), which Systems Manager does not take. Change the \
                     tag, or set invalidCharacters to replace{kept}.",
                    u32::from(character)
                )
            }
            DropReason::Length => format!("{shown}: a key may have 128 and a value 256 characters. Shorten the tag."),
            DropReason::Limit => {
                format!("{shown}: the policy's maxTags is used up. Name the key earlier in include, or raise maxTags.")
            }
            DropReason::NodeFull => {
                format!("{shown}: the node has no room for more than 50 tags. Remove some of its own.")
            }
            DropReason::Collision => {
                format!("{shown}: another tag takes the same key on the node. Rename one of them in the policy.")
            }
            DropReason::OperatorOwned => {
                format!("{shown}: an operator's tag has this key. Remove it, or set overwrite to true.")
            }
            DropReason::Refused => {
                format!("{shown}: Systems Manager refused it for a reason of its own. Change the tag.")
            }
        })
    }
}

/// The first character that keeps a tag behind, and where it is. The policy itself is asked, character by character.
fn refused_character(key: &str, value: &str) -> Option<(&'static str, char)> {
    let policy = Policy::parse("{}").ok()?;
    let is_refused = |key: String, value: String| {
        policy.desired(&[Tag { key, value }]).dropped.iter().any(|dropped| dropped.reason == DropReason::Character)
    };
    let in_key = key.chars().find(|c| is_refused(c.to_string(), String::new())).map(|c| ("key", c));
    in_key.or_else(|| value.chars().find(|c| is_refused("a".to_owned(), c.to_string())).map(|c| ("value", c)))
}

fn replaced(key: &str, value: &str) -> Option<String> {
    let policy = Policy::parse(r#"{"invalidCharacters": "replace"}"#).ok()?;
    let desired = policy.desired(&[Tag { key: key.to_owned(), value: value.to_owned() }]);
    let tag = desired.tags.first()?;
    Some(if tag.key == key { format!("{:?}", tag.value) } else { format!("{:?}", tag.key) })
}

#[cfg(test)]
mod tests {
    use ssm_tag_manager::plan::{Decision, ReportContext, Tags, reconcile};

    use super::*;
    use crate::terminal::Color;
    use crate::view::nodes::Ping;

    const POLICY: &str = r#"{"include": ["Name", "Role", "environment", "Patch Group", "R*", "cost*"], "exclude": ["Rack"],
        "rename": {"environment": "Env"}, "set": {"Fleet": "agency"}, "maxTags": 10,
        "derive": [{"key": "Cohort", "value": "prod-gis", "when": {"environment": "PROD", "Role": "gis"}}]}"#;

    fn tags(pairs: &[(&str, &str)]) -> Vec<Tag> {
        pairs.iter().map(|(key, value)| Tag { key: (*key).to_owned(), value: (*value).to_owned() }).collect()
    }

    fn source() -> Vec<Tag> {
        tags(&[
            ("Name", "gis-01"),
            ("environment", "PROD"),
            ("Role", "gis"),
            ("Rack", "7"),
            ("R&D", "yes"),
            ("cost;center", "4711"),
            ("Owner", "nobody"),
            ("aws:autoscaling:groupName", "asg"),
            ("managedinstanceid", "mi-0b5a65c72e2976ca1"),
        ])
    }

    /// A node as the manager leaves it, with one tag of an operator.
    fn node() -> Node {
        let mut live = Tags::from([
            ("tag-hub:agency".to_owned(), "222222222222".to_owned()),
            ("Window".to_owned(), "sat-0200".to_owned()),
        ]);
        let policy = Policy::parse(POLICY).unwrap();
        let context = ReportContext {
            owner: None,
            source: Some("222222222222/us-west-2/i-08f87c57aad11420a"),
            observed_at: "2026-11-15T08:02:00Z".parse().unwrap(),
            terminated: &BTreeSet::new(),
            unsettled: None,
            salt: *b"twelve bytes",
            is_held: false,
        };
        let Decision::Planned(plan) = reconcile(&policy, policy.desired(&source()), &live, context) else { panic!() };
        live.extend(plan.set.clone());
        live.extend(plan.stamp.clone());
        Node {
            id: "mi-0b5a65c72e2976ca1".parse().unwrap(),
            name: Some("gis-01".to_owned()),
            ping: Ping::Online,
            last_ping: None,
            agent: String::new(),
            platform: String::new(),
            tags: live,
        }
    }

    fn stream() -> Stream {
        Stream::new(Some((120, 24)), Color::Never, |name| (name == "LANG").then(|| "C.UTF-8".to_owned()))
    }

    #[test]
    fn each_tag_from_the_instance_to_the_node() {
        let explained = explain(node(), POLICY, Ok(&source())).unwrap();
        insta::assert_snapshot!(explained.text(&stream()), @r"
        gis-01   mi-0b5a65c72e2976ca1 ← 222222222222/us-west-2/i-08f87c57aad11420a   ! 2 tags left behind
        last change 2026-11-15 08:02 UTC

        ON THE INSTANCE                  POLICY        ON THE NODE        WHOSE
        Name = gis-01                    include       Name = gis-01      hub
        Role = gis                       include       Role = gis         hub
        environment = PROD               rename        Env = PROD         hub
        Owner = nobody                   not included  not carried over
        R&D = yes                        ! character   not carried over
        Rack = 7                         exclude       not carried over
        aws:autoscaling:groupName = asg  reserved      not carried over
        cost;center = 4711               ! character   not carried over
                                         set           Fleet = agency     hub
                                         derive        Cohort = prod-gis  hub
                                                       Window = sat-0200  operator
        ");
        assert!(!explained.is_out_of_step());
        insta::assert_snapshot!(explained.remedies().join("\n"), @r#"
        R&D: the key holds '&' (U+0026), which Systems Manager does not take. Change the tag, or set invalidCharacters to replace, which gives "R_D".
        cost;center: the key holds ';' (U+003B), which Systems Manager does not take. Change the tag, or set invalidCharacters to replace, which gives "cost_center".
        "#);
    }

    #[test]
    fn one_key_by_either_name() {
        for key in ["environment", "Env"] {
            let explained = explain(node(), POLICY, Ok(&source())).unwrap().only(key).unwrap();
            assert_eq!(explained.rows().len(), 1, "{key}");
            assert_eq!(explained.rows()[0].piped, ["environment", "PROD", "rename", "Env", "PROD", "hub"]);
        }
        let keys = explain(node(), POLICY, Ok(&source())).unwrap().only("Nope").unwrap_err();
        assert!(keys.contains(&"Window".to_owned()) && keys.contains(&"R&D".to_owned()), "{keys:?}");
    }

    #[test]
    fn a_change_that_did_not_come_through_yet() {
        let mut source = source();
        source[0].value = "gis-02".to_owned();
        source.push(Tag { key: "Patch Group".to_owned(), value: "weekly".to_owned() });
        let explained = explain(node(), POLICY, Ok(&source)).unwrap();
        let text = explained.text(&stream());
        assert!(
            text.contains("! Name = gis-01, not gis-02") && text.contains("! Patch Group is not there yet"),
            "{text}"
        );
        assert!(explained.is_out_of_step());
    }

    #[test]
    fn without_the_agency_only_the_node_is_known() {
        let explained = explain(node(), POLICY, Err("no profile for 222222222222".to_owned())).unwrap();
        let text = explained.text(&stream());
        assert!(text.contains("· not compared with the instance"), "{text}");
        assert!(text.ends_with("The tags of the instance were not read: no profile for 222222222222\n"), "{text}");
        assert_eq!(explained.json()["inStep"], Value::Null);
    }
}
