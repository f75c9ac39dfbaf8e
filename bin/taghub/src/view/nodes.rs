//! Managed nodes: how each stands.

pub use fleet::{Latest, Node, Ping, Tagging};

use hub::{AGENCY_TAG_KEY, APPLIED_TAG_KEY, AccountId, Timestamp};
use serde::Serialize;
use ssm_tag_manager::plan::{Source, Tags};

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

/// How a node's tags stand, with its sign.
pub(super) fn tagging_words(tagging: &Tagging) -> (Sign, String) {
    let (sign, words) = match tagging {
        Tagging::InStep => (Sign::Good, "in step"),
        Tagging::LeftBehind(count) => return (Sign::Look, format!("{count} left behind")),
        Tagging::Conflict => (Sign::Bad, "conflict"),
        Tagging::Unlinked => (Sign::Look, "unlinked"),
        Tagging::Superseded => (Sign::Look, "superseded"),
        Tagging::InstanceGone => (Sign::Look, "instance gone"),
        Tagging::Rejected(reason) => (Sign::Bad, &**reason),
        Tagging::Failed(code) => (Sign::Bad, &**code),
        Tagging::Deferred => (Sign::Running, "deferred"),
        Tagging::NoOwner => (Sign::Bad, "no owner"),
        Tagging::NotReported => (Sign::Waiting, "not reported yet"),
        Tagging::Unread => (Sign::Waiting, "not read"),
    };
    (sign, words.to_owned())
}

fn tagging_cell(tagging: &Tagging) -> Cell {
    let (sign, words) = tagging_words(tagging);
    Cell::mark(sign, words)
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
    /// A node beside what is known from elsewhere; without `latest` the log was not read.
    pub fn new(node: Node, latest: Option<&Latest>, agencies: &[Agency]) -> Self {
        let owner = node.tags.get(AGENCY_TAG_KEY);
        let known = owner.and_then(|owner| agencies.iter().find(|agency| agency.account.as_str() == owner));
        let agency = known.map(|agency| agency.label().to_owned()).or_else(|| owner.cloned());
        let tagging = match latest {
            Some(latest) => Tagging::of(&node, latest.of(&node.id, &node.tags)),
            None => Tagging::of(&node, None).without_log(),
        };
        Self { node, tagging, agency }
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
                tagging_cell(&self.tagging),
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
        self.out_of_step += usize::from(!matches!(listed.tagging, Tagging::InStep | Tagging::Unread));
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

    #[test]
    fn a_row_for_people_and_for_programs() {
        let agencies = [Agency {
            account: "555555555555".parse().unwrap(),
            name: Some("Parks".to_owned()),
            manager_version: "7".to_owned(),
        }];
        let listed = Listed::new(node("booking-db-01", &[PARKS, SOURCE]), Some(&Latest::default()), &agencies);
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
    fn without_the_log_no_node_is_told_as_in_step() {
        let listed = Listed::new(node("a", &[PARKS, SOURCE]), None, &[]);
        assert_eq!(listed.row().piped[5], "unread");
        assert_eq!(Listed::new(node("a", &[SOURCE]), None, &[]).row().piped[5], "no-owner");
    }

    #[test]
    fn a_summary_counts_what_needs_a_look() {
        let mut summary = Summary::default();
        summary.add(&Listed::new(node("a", &[PARKS, SOURCE]), Some(&Latest::default()), &[]));
        assert_eq!(summary.words(), "1 node");
        summary.add(&Listed::new(Node { ping: Ping::Lost, ..node("b", &[SOURCE]) }, Some(&Latest::default()), &[]));
        assert_eq!(summary.words(), "2 nodes, 1 offline, 1 not in step: taghub explain ID says why");
    }
}
