//! The agencies: who is granted, who reports, who is silent.

use fleet::SILENT_AFTER_SECONDS;
use hub::{AccountId, Timestamp};
use serde::Serialize;

use super::table::{Cell, Columns, Row};
use super::time::{counted, rough, span};
use crate::terminal::Sign;

/// The columns of the table.
pub const COLUMNS: Columns = Columns {
    headers: &["AGENCY", "ACCOUNT", "NODES", "LAST REPORT", "ACTIVATION", "MANAGER", "STATE"],
    kept: 2,
    keys: &["account", "name", "nodes", "lastReport", "activationEnds", "managerVersion", "state"],
};

/// An activation that ends within so many days needs a look.
const ENDS_SOON_SECONDS: i64 = 3 * 24 * 60 * 60;

/// An agency that may report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agency {
    /// Its account.
    pub account: AccountId,
    /// What its grant calls it.
    pub name: Option<String>,
    /// The version of the manager that its reports go to, such as `7` or `$LATEST`.
    pub manager_version: String,
}

impl Agency {
    /// Its name, or its account.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(self.account.as_str())
    }
}

/// What is known of an agency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The agency.
    pub agency: Agency,
    /// Its managed nodes.
    pub nodes: usize,
    /// When it last sent a report; the outer value is absent if that could not be read.
    pub last_report: Option<Option<Timestamp>>,
    /// When its last activation ends; the outer value is absent if that could not be read.
    pub activation_ends: Option<Option<Timestamp>>,
    /// How many nodes it may have; absent if that could not be read.
    pub node_limit: Option<usize>,
}

/// How an agency stands, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It reported, and does not any more.
    Silent,
    /// It never reported, as far as can be known.
    NoReport,
    /// No valid activation: nothing can register.
    NoActivation,
    /// It has as many nodes as it may have: no activation is issued.
    AtLimit,
    /// Its activation ends soon.
    ActivationEnds,
    /// Its reports or its activations were not read.
    Unread,
    /// Nothing is registered.
    NoNodes,
    /// In order.
    Fine,
}

impl State {
    fn words(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::NoReport => "no report in 24 h",
            Self::NoActivation => "no valid activation",
            Self::AtLimit => "node limit reached",
            Self::ActivationEnds => "activation ends soon",
            Self::Unread => "not read",
            Self::NoNodes => "no nodes",
            Self::Fine => "",
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::NoReport => "no-report",
            Self::NoActivation => "no-activation",
            Self::AtLimit => "at-limit",
            Self::ActivationEnds => "activation-ends",
            Self::Unread => "unread",
            Self::NoNodes => "no-nodes",
            Self::Fine => "fine",
        }
    }

    fn sign(self) -> Sign {
        match self {
            Self::Silent | Self::NoReport => Sign::Bad,
            Self::NoActivation | Self::AtLimit | Self::ActivationEnds => Sign::Look,
            Self::Unread | Self::NoNodes => Sign::Waiting,
            Self::Fine => Sign::Good,
        }
    }

    /// True for an agency whose reports are missing.
    pub fn is_silent(self) -> bool {
        matches!(self, Self::Silent | Self::NoReport)
    }

    /// True if somebody has to do something.
    pub fn is_wrong(self) -> bool {
        !matches!(self, Self::Unread | Self::NoNodes | Self::Fine)
    }
}

impl Standing {
    /// How it stands at a time.
    pub fn state(&self, now: Timestamp) -> State {
        let age = |at: Timestamp| now.unix_seconds() - at.unix_seconds();
        match self.last_report {
            Some(None) => return State::NoReport,
            Some(Some(at)) if age(at) > SILENT_AFTER_SECONDS => return State::Silent,
            _ => {}
        }
        match self.activation_ends {
            Some(None) => State::NoActivation,
            Some(Some(at)) if -age(at) < 0 => State::NoActivation,
            _ if self.node_limit.is_some_and(|limit| self.nodes >= limit) => State::AtLimit,
            Some(Some(at)) if -age(at) < ENDS_SOON_SECONDS => State::ActivationEnds,
            _ if self.last_report.is_none() || self.activation_ends.is_none() => State::Unread,
            _ if self.nodes == 0 => State::NoNodes,
            _ => State::Fine,
        }
    }

    /// Its row.
    pub fn row(&self, now: Timestamp) -> Row {
        let state = self.state(now);
        let age = |at: Timestamp| now.unix_seconds() - at.unix_seconds();
        let report = match self.last_report {
            None => "not read".to_owned(),
            Some(None) => "none in 24 h".to_owned(),
            Some(Some(at)) => format!("{} ago", rough(age(at))),
        };
        let activation = match self.activation_ends {
            None => "not read".to_owned(),
            Some(Some(at)) if age(at) <= 0 => format!("{} left", span(-age(at))),
            Some(_) => "none".to_owned(),
        };
        let instant = |at: Option<Option<Timestamp>>| at.flatten().map_or_else(|| "-".to_owned(), |at| at.to_string());
        Row {
            cells: vec![
                Cell::mark(state.sign(), self.agency.label()),
                Cell::text(self.agency.account.as_str()),
                Cell::text(self.nodes.to_string()),
                Cell::text(report),
                Cell::text(activation),
                Cell::text(&self.agency.manager_version),
                Cell::text(state.words()),
            ],
            piped: vec![
                self.agency.account.to_string(),
                self.agency.label().to_owned(),
                self.nodes.to_string(),
                instant(self.last_report),
                instant(self.activation_ends),
                self.agency.manager_version.clone(),
                state.as_str().to_owned(),
            ],
        }
    }

    /// Its object of JSON.
    pub fn json(&self, now: Timestamp) -> Line<'_> {
        Line {
            account: self.agency.account.as_str(),
            name: self.agency.name.as_deref(),
            nodes: self.nodes,
            last_report: self.last_report.flatten(),
            activation_ends: self.activation_ends.flatten(),
            manager_version: &self.agency.manager_version,
            node_limit: self.node_limit,
            state: self.state(now),
        }
    }
}

/// An agency for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line<'a> {
    account: &'a str,
    name: Option<&'a str>,
    nodes: usize,
    last_report: Option<Timestamp>,
    activation_ends: Option<Timestamp>,
    manager_version: &'a str,
    node_limit: Option<usize>,
    state: State,
}

/// Whether all of them report, in words that continue a line.
pub fn reporting(all: &[Standing], now: Timestamp) -> (Sign, String) {
    let silent: Vec<&str> = all.iter().filter(|one| one.state(now).is_silent()).map(|one| one.agency.label()).collect();
    match silent.as_slice() {
        [] if all.iter().any(|one| one.last_report.is_none()) => (Sign::Waiting, "; reports not read".to_owned()),
        [] => (Sign::Good, ", all report".to_owned()),
        silent => (Sign::Bad, format!("; no reports from {}", silent.join(", "))),
    }
}

/// All of them in a line.
pub fn summary(all: &[Standing], now: Timestamp) -> String {
    let granted = match all.len() {
        1 => "1 agency granted".to_owned(),
        count => format!("{count} agencies granted"),
    };
    let nodes = counted(all.iter().map(|one| one.nodes).sum(), "node");
    format!("{granted}, {nodes}{}", reporting(all, now).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::{Color, Stream};
    use crate::view::table::{render, tabs};

    fn now() -> Timestamp {
        "2026-11-23T06:00:00Z".parse().unwrap()
    }

    fn standing(name: Option<&str>, nodes: usize, report: Option<&str>, ends: Option<&str>) -> Standing {
        let instant = |text: &str| text.parse().unwrap();
        let agency = Agency {
            account: "222222222222".parse().unwrap(),
            name: name.map(str::to_owned),
            manager_version: "7".to_owned(),
        };
        Standing {
            agency,
            nodes,
            last_report: Some(report.map(instant)),
            activation_ends: Some(ends.map(instant)),
            node_limit: Some(10),
        }
    }

    #[test]
    fn agencies_as_they_stand() {
        let all = [
            standing(Some("Libraries"), 4, Some("2026-11-22T22:14:00Z"), Some("2026-12-12T06:00:00Z")),
            standing(Some("Parks"), 4, Some("2026-11-23T05:49:00Z"), Some("2026-11-25T06:00:00Z")),
            standing(None, 0, Some("2026-11-23T05:59:20Z"), Some("2026-12-22T06:00:00Z")),
            standing(Some("Water"), 5, Some("2026-11-23T05:55:00Z"), None),
            standing(Some("Revenue"), 9, None, Some("2026-12-22T06:00:00Z")),
            standing(Some("Health"), 10, Some("2026-11-23T05:55:00Z"), Some("2026-12-22T06:00:00Z")),
        ];
        let stream = Stream::new(Some((120, 24)), Color::Never, |name| (name == "LANG").then(|| "C.UTF-8".to_owned()));
        let rows: Vec<Row> = all.iter().map(|one| one.row(now())).collect();
        insta::assert_snapshot!(render(&COLUMNS, &rows, &stream), @r"
        AGENCY          ACCOUNT       NODES  LAST REPORT   ACTIVATION    MANAGER  STATE
        ✗ Libraries     222222222222  4      7 h ago       19 days left  7        silent
        ! Parks         222222222222  4      11 min ago    2 days left   7        activation ends soon
        · 222222222222  222222222222  0      40 s ago      29 days left  7        no nodes
        ! Water         222222222222  5      5 min ago     none          7        no valid activation
        ✗ Revenue       222222222222  9      none in 24 h  29 days left  7        no report in 24 h
        ! Health        222222222222  10     5 min ago     29 days left  7        node limit reached
        ");
        assert_eq!(
            tabs(&rows[0]),
            "222222222222\tLibraries\t4\t2026-11-22T22:14:00Z\t2026-12-12T06:00:00Z\t7\tsilent\n"
        );
        assert_eq!(summary(&all, now()), "6 agencies granted, 32 nodes; no reports from Libraries, Revenue");
    }

    #[test]
    fn what_was_not_read_is_neither_wrong_nor_fine() {
        let known = standing(None, 1, Some("2026-11-23T05:59:20Z"), Some("2026-12-22T06:00:00Z"));
        let no_reports = Standing { last_report: None, ..known.clone() };
        let no_activations = Standing { activation_ends: None, ..known.clone() };
        for unread in [&no_reports, &no_activations] {
            let state = unread.state(now());
            assert_eq!((state, state.sign(), state.is_wrong()), (State::Unread, Sign::Waiting, false));
            assert!(unread.row(now()).cells.contains(&Cell::text("not read")));
        }
        assert_eq!(summary(&[known.clone(), no_reports], now()), "2 agencies granted, 2 nodes; reports not read");
        assert_eq!(summary(&[known, no_activations], now()), "2 agencies granted, 2 nodes, all report");
    }
}
