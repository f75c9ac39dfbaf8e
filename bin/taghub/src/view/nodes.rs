//! Managed nodes: how each stands.

use std::collections::HashMap;

use hub::{AGENCY_TAG_KEY, APPLIED_TAG_KEY, AccountId, ManagedInstanceId, Timestamp};
use serde::Serialize;
use serde_json::Value;
use ssm_tag_manager::plan::{LastApplied, Source, Tags, TerminationMarker};

use super::table::{Cell, Columns, Row};
use super::time::counted;
use crate::terminal::Sign;
use crate::view::agencies::Agency;

/// The columns of the table.
pub const COLUMNS: Columns = Columns {
    headers: &["NODE", "ID", "AGENCY", "INSTANCE", "ONLINE", "TAGS"],
    kept: 2,
    keys: &["id", "name", "agency", "ec2InstanceId", "online", "tagging"],
};

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

/// What the manager last logged about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    at: Timestamp,
    what: What,
    left_behind: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Fine,
    Unlinked,
    Superseded,
    Deferred,
    Rejected(String),
    Failed(String),
}

impl News {
    /// What a line of the manager's log says, by its fields.
    pub fn of(at: Timestamp, fields: &Value) -> Option<Self> {
        let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        let what = match fields["message"].as_str()? {
            "node updated" | "node adopted" | "tags left behind" => What::Fine,
            "node unlinked" => What::Unlinked,
            "node superseded" => What::Superseded,
            "node deferred" => What::Deferred,
            "node rejected" => What::Rejected(text("reason")),
            "node failed" => What::Failed(text("code")),
            _ => return None,
        };
        let dropped = fields["tags_dropped"].as_u64().and_then(|count| usize::try_from(count).ok());
        Some(Self { at, what, left_behind: dropped.unwrap_or_default() })
    }

    /// The later word counts. Lines of one second belong to one report.
    pub fn merge(&mut self, other: &Self) {
        if other.at > self.at {
            *self = other.clone();
        } else if other.at == self.at {
            self.left_behind = self.left_behind.max(other.left_behind);
            if self.what == What::Fine {
                self.what = other.what.clone();
            }
        }
    }
}

/// The last word on each node, by whoever reported it.
#[derive(Debug, Clone, Default)]
pub struct Latest {
    by_reporter: HashMap<(String, ManagedInstanceId), News>,
}

impl Latest {
    /// Takes in a line of the manager's log, by its fields.
    pub fn add(&mut self, at: Timestamp, fields: &Value) {
        let node = fields["instance_id"].as_str().and_then(|id| id.parse().ok());
        let (Some(node), Some(news)) = (node, News::of(at, fields)) else { return };
        let reporter = fields["agency"].as_str().unwrap_or_default().to_owned();
        let known = self.by_reporter.entry((reporter, node));
        known.and_modify(|known| known.merge(&news)).or_insert(news);
    }

    /// What the reports of a node's own agency said last. What another agency claims about it is not about the node;
    /// without an agency it was an operator of the central account.
    pub fn of(&self, node: &Node) -> Option<&News> {
        let owner = node.tags.get(AGENCY_TAG_KEY).cloned().unwrap_or_default();
        let by = |reporter: String| self.by_reporter.get(&(reporter, node.id.clone()));
        by(owner).or_else(|| by(String::new()))
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
        }
    }

    fn cell(&self) -> Cell {
        match self {
            Self::InStep => Cell::mark(Sign::Good, "in step"),
            Self::LeftBehind(count) => Cell::mark(Sign::Look, format!("{count} left behind")),
            Self::Conflict => Cell::mark(Sign::Bad, "conflict"),
            Self::Unlinked => Cell::mark(Sign::Look, "unlinked"),
            Self::Superseded => Cell::mark(Sign::Look, "superseded"),
            Self::InstanceGone => Cell::mark(Sign::Look, "instance gone"),
            Self::Rejected(reason) => Cell::mark(Sign::Bad, reason),
            Self::Failed(code) => Cell::mark(Sign::Bad, code),
            Self::Deferred => Cell::mark(Sign::Running, "deferred"),
            Self::NoOwner => Cell::mark(Sign::Bad, "no owner"),
            Self::NotReported => Cell::mark(Sign::Waiting, "not reported yet"),
        }
    }
}

/// A node in a list of nodes.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The node.
    pub node: Node,
    /// How its tags stand.
    pub tagging: Tagging,
    /// What its agency is called, or its account.
    pub agency: Option<String>,
}

impl Listed {
    /// A node beside what is known from elsewhere.
    pub fn new(node: Node, news: Option<&News>, agencies: &[Agency]) -> Self {
        let owner = node.tags.get(AGENCY_TAG_KEY);
        let known = owner.and_then(|owner| agencies.iter().find(|agency| agency.account.as_str() == owner));
        let agency = known.map(|agency| agency.label().to_owned()).or_else(|| owner.cloned());
        Self { tagging: Tagging::of(&node, news), agency, node }
    }

    /// The account of its agency, as its tag says.
    pub fn account(&self) -> Option<AccountId> {
        self.node.tags.get(AGENCY_TAG_KEY)?.parse().ok()
    }

    fn instance(&self) -> Option<String> {
        Source::of(&self.node.tags).map(|source| source.ec2_instance_id.to_string())
    }

    /// Its row.
    pub fn row(&self) -> Row {
        let node = &self.node;
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let online = match node.ping {
            Ping::Online => Cell::mark(Sign::Good, "online"),
            Ping::Lost => Cell::mark(Sign::Bad, "offline"),
            Ping::Inactive => Cell::mark(Sign::Bad, "inactive"),
        };
        Row {
            cells: vec![
                Cell::text(or_dash(node.name.clone())),
                Cell::text(node.id.as_str()),
                Cell::text(or_dash(self.agency.clone())),
                Cell::text(or_dash(self.instance())),
                online,
                self.tagging.cell(),
            ],
            piped: vec![
                node.id.to_string(),
                or_dash(node.name.clone()),
                or_dash(self.account().map(String::from)),
                or_dash(self.instance()),
                node.ping.as_str().to_owned(),
                self.tagging.as_str().to_owned(),
            ],
        }
    }

    /// Its line of JSON.
    pub fn json(&self) -> Line<'_> {
        let source = Source::of(&self.node.tags);
        Line {
            schema: "taghub.nodes/1",
            id: self.node.id.as_str(),
            name: self.node.name.as_deref(),
            agency: self.account(),
            agency_name: self.agency.as_deref(),
            region: source.as_ref().map(|source| source.region.to_string()),
            ec2_instance_id: source.map(|source| source.ec2_instance_id.to_string()),
            online: self.node.ping,
            last_ping: self.node.last_ping,
            agent_version: &self.node.agent,
            platform: &self.node.platform,
            tagging: self.tagging.as_str(),
            tags: &self.node.tags,
        }
    }
}

/// A node for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line<'a> {
    schema: &'static str,
    id: &'a str,
    name: Option<&'a str>,
    agency: Option<AccountId>,
    agency_name: Option<&'a str>,
    region: Option<String>,
    ec2_instance_id: Option<String>,
    online: Ping,
    last_ping: Option<Timestamp>,
    agent_version: &'a str,
    platform: &'a str,
    tagging: &'static str,
    tags: &'a Tags,
}

/// How many nodes there are, and how many of them need a look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// All.
    pub nodes: usize,
    offline: usize,
    out_of_step: usize,
}

impl Summary {
    /// Counts one more.
    pub fn add(&mut self, listed: &Listed) {
        self.nodes += 1;
        self.offline += usize::from(listed.node.ping != Ping::Online);
        self.out_of_step += usize::from(listed.tagging != Tagging::InStep);
    }

    /// True if one of them is offline or not in step.
    pub fn needs_a_look(&self) -> bool {
        self.offline + self.out_of_step > 0
    }

    /// In a line.
    pub fn words(&self) -> String {
        let mut words = vec![counted(self.nodes, "node")];
        if self.offline > 0 {
            words.push(format!("{} offline", self.offline));
        }
        if self.out_of_step > 0 {
            words.push(format!("{} not in step: taghub explain ID says why", self.out_of_step));
        }
        words.join(", ")
    }
}

/// True if the node carries the key, and under it the value.
pub fn has_tag(tags: &Tags, (key, value): &(String, String)) -> bool {
    tags.get(key) == Some(value)
}

/// Keys that a person sees: the hub's memory is not among them.
pub fn is_memory(key: &str) -> bool {
    key == APPLIED_TAG_KEY
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terminal::{Color, Stream};
    use crate::view::table::{render, tabs};

    fn node(name: &str, tags: &[(&str, &str)]) -> Node {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Node {
            id: "mi-0fdaf2f8939c665c3".parse().unwrap(),
            name: Some(name.to_owned()),
            ping: Ping::Online,
            last_ping: Some("2026-11-23T06:00:00Z".parse().unwrap()),
            agent: "3.3.3050.0".to_owned(),
            platform: "Amazon Linux".to_owned(),
            tags,
        }
    }

    const PARKS: (&str, &str) = ("tag-hub:agency", "555555555555");
    const SOURCE: (&str, &str) = ("tag-hub:source", "555555555555/us-east-1/i-0c5da2708f9a950e8");

    fn news(fields: &Value) -> Option<News> {
        News::of("2026-11-23T06:00:00Z".parse().unwrap(), fields)
    }

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
            let tagging = Tagging::of(&node("x", tags), news(&fields).as_ref());
            assert_eq!(tagging.as_str(), expected, "{tags:?} {fields}");
        }
    }

    #[test]
    fn the_last_word_on_a_node_counts() {
        let at = |time: &str, fields: &Value| News::of(time.parse().unwrap(), fields).unwrap();
        let conflict = at("2026-11-23T06:00:00Z", &json!({"message": "node rejected", "reason": "conflict"}));
        let mut merged = conflict.clone();
        merged.merge(&at("2026-11-23T06:15:00Z", &json!({"message": "node updated"})));
        assert_eq!(Tagging::of(&node("x", &[PARKS, SOURCE]), Some(&merged)), Tagging::InStep);
        merged.merge(&conflict);
        assert_eq!(Tagging::of(&node("x", &[PARKS, SOURCE]), Some(&merged)), Tagging::InStep);
        let mut same = at("2026-11-23T06:00:00Z", &json!({"message": "node updated"}));
        same.merge(&at("2026-11-23T06:00:00Z", &json!({"message": "tags left behind", "tags_dropped": 3})));
        assert_eq!(Tagging::of(&node("x", &[PARKS, SOURCE]), Some(&same)), Tagging::LeftBehind(3));
    }

    #[test]
    fn what_another_agency_claims_is_not_about_the_node() {
        let mut latest = Latest::default();
        let at = "2026-11-23T06:00:00Z".parse().unwrap();
        let line = |agency: &str| json!({"message": "node rejected", "reason": "not-owned", "instance_id": "mi-0fdaf2f8939c665c3", "agency": agency});
        latest.add(at, &line("222222222222"));
        assert_eq!(latest.of(&node("x", &[PARKS, SOURCE])), None);
        latest.add(at, &line("555555555555"));
        assert!(latest.of(&node("x", &[PARKS, SOURCE])).is_some());
        assert_eq!(latest.of(&node("x", &[SOURCE])), None);
    }

    #[test]
    fn a_row_for_people_and_for_programs() {
        let agencies = [Agency { account: "555555555555".parse().unwrap(), name: Some("Parks".to_owned()) }];
        let listed = Listed::new(node("booking-db-01", &[PARKS, SOURCE]), None, &agencies);
        let stream = Stream::new(Some((120, 24)), Color::Never, |name| (name == "LANG").then(|| "C.UTF-8".to_owned()));
        insta::assert_snapshot!(render(&COLUMNS, &[listed.row()], &stream), @r"
        NODE           ID                    AGENCY  INSTANCE             ONLINE    TAGS
        booking-db-01  mi-0fdaf2f8939c665c3  Parks   i-0c5da2708f9a950e8  ✓ online  ✓ in step
        ");
        let expected = "mi-0fdaf2f8939c665c3\tbooking-db-01\t555555555555\ti-0c5da2708f9a950e8\tonline\tin-step\n";
        assert_eq!(tabs(&listed.row()), expected);
        let json = serde_json::to_value(listed.json()).unwrap();
        assert_eq!((&json["schema"], &json["region"]), (&json!("taghub.nodes/1"), &json!("us-east-1")));
    }

    #[test]
    fn a_summary_counts_what_needs_a_look() {
        let mut summary = Summary::default();
        summary.add(&Listed::new(node("a", &[PARKS, SOURCE]), None, &[]));
        assert_eq!(summary.words(), "1 node");
        summary.add(&Listed::new(Node { ping: Ping::Lost, ..node("b", &[SOURCE]) }, None, &[]));
        assert_eq!(summary.words(), "2 nodes, 1 offline, 1 not in step: taghub explain ID says why");
    }
}
