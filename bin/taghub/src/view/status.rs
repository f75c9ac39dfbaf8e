//! The whole hub on one screen.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use hub::Timestamp;
use serde_json::{Value, json};

use super::agencies::{Standing, reporting};
use super::table::{Cell, Columns, Row, render};
use super::time::{counted, grouped, rough, span};
use crate::terminal::{Sign, Stream, Tone};

const FUNCTIONS: Columns = Columns {
    headers: &["FUNCTION", "ERRORS 24 H", "FAILURE QUEUE", "DEPLOYED"],
    kept: 3,
    keys: &["function", "errors", "failures", "deployed"],
};
/// Percent of the node limit from which it is worth a look.
const NEAR_LIMIT_PERCENT: usize = 90;
/// An activation that ends within so long is named.
const SOON_SECONDS: i64 = 7 * 24 * 60 * 60;

/// A figure, or why it is not here.
pub type Read<T> = Result<T, String>;

/// A function of the hub.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// When it was last changed; nothing if it is not there.
    pub deployed: Read<Option<Timestamp>>,
    /// Errors within a day.
    pub errors: Read<u64>,
    /// Messages in its failure queue; nothing if there is no such queue.
    pub failures: Read<Option<usize>>,
    /// How long the oldest of them has been there, in seconds; nothing if that is not known.
    pub oldest: Option<i64>,
}

/// All that is shown.
#[derive(Debug, Clone)]
pub struct Status {
    /// The version of the hub.
    pub version: String,
    /// The central account and the Region.
    pub place: String,
    /// Its functions.
    pub functions: Vec<Function>,
    /// Its agencies.
    pub agencies: Vec<Standing>,
    /// What of them was not read, and why.
    pub agencies_unread: Vec<String>,
    /// Nodes that are heard of, and all.
    pub nodes: (usize, usize),
    /// How many nodes there may be.
    pub limit: usize,
    /// Alarms that ring.
    pub alarms: Read<Vec<String>>,
    /// Runs under way, and whether these are all.
    pub runs: Read<(usize, bool)>,
    /// When all of this was so.
    pub now: Timestamp,
}

impl Status {
    /// True if something is broken.
    pub fn is_wrong(&self) -> bool {
        self.facts().iter().any(|fact| fact.sign == Some(Sign::Bad)) || self.functions.iter().any(Function::is_wrong)
    }

    /// For people.
    pub fn text(&self, stream: &Stream) -> String {
        let head = format!(
            "Tag Hub {}   {}   {} UTC",
            self.version,
            self.place,
            self.now.to_string().replace(['T', 'Z'], " ").trim_end()
        );
        let rows: Vec<Row> = self.functions.iter().map(|function| function.row(self.now)).collect();
        let mut text = format!("{}\n\n{}\n", stream.toned(Tone::Strong, &head), render(&FUNCTIONS, &rows, stream));
        for fact in self.facts() {
            let words = match fact.sign {
                Some(sign) => stream.mark(sign, &fact.words),
                None => fact.words.clone(),
            };
            text.push_str(&format!("{:<12} {words}\n", fact.title));
        }
        text
    }

    fn facts(&self) -> Vec<Fact> {
        let mut facts = vec![self.agencies_fact()];
        facts.extend(self.manager_fact());
        facts.extend([self.nodes_fact(), self.limit_fact()]);
        facts.extend(self.activations_fact());
        facts.push(match &self.alarms {
            Ok(alarms) if alarms.is_empty() => Fact::new("Alarms", Some(Sign::Good), "none fires"),
            Ok(alarms) => Fact::new("Alarms", Some(Sign::Bad), alarms.join(", ")),
            Err(why) => Fact::unread("Alarms", why),
        });
        facts.push(match &self.runs {
            Ok((0, true)) => Fact::new("Runs", None, "none now"),
            Ok((count, is_all)) => {
                let least = if *is_all { "" } else { "at least " };
                Fact::new("Runs", Some(Sign::Running), format!("{least}{count} under way: taghub run list"))
            }
            Err(why) => Fact::unread("Runs", why),
        });
        facts
    }

    fn agencies_fact(&self) -> Fact {
        if self.agencies.is_empty() {
            return Fact::new("Agencies", Some(Sign::Waiting), "none granted");
        }
        let (sign, words) = reporting(&self.agencies, self.now);
        Fact::new("Agencies", Some(sign), format!("{} granted{words}", self.agencies.len()))
    }

    /// How many agencies report to each version of the manager, the version of most of them first.
    fn versions(&self) -> Vec<(&str, usize)> {
        let mut counts = BTreeMap::new();
        for one in &self.agencies {
            *counts.entry(one.agency.manager_version.as_str()).or_default() += 1;
        }
        let mut counts = Vec::from_iter(counts);
        counts.sort_by_key(|(_, count)| Reverse(*count));
        counts
    }

    fn manager_fact(&self) -> Option<Fact> {
        match self.versions().as_slice() {
            [] => None,
            [(version, _)] => Some(Fact::new("Manager", None, format!("version {version} for all"))),
            several => {
                let of_version =
                    |(version, count): &(&str, usize)| format!("{version} for {}", counted_agencies(*count));
                let words = several.iter().map(of_version).collect::<Vec<_>>().join(", ");
                Some(Fact::new("Manager", Some(Sign::Running), format!("versions {words}")))
            }
        }
    }

    fn nodes_fact(&self) -> Fact {
        let (online, all) = self.nodes;
        let sign = if online == all { Sign::Good } else { Sign::Look };
        Fact::new("Nodes", Some(sign), format!("{} of {} online", grouped(online), grouped(all)))
    }

    fn limit_fact(&self) -> Fact {
        let (_, all) = self.nodes;
        let percent = (all * 100).checked_div(self.limit).unwrap_or_default();
        let words = format!("{} of {} nodes, {percent}%", grouped(all), grouped(self.limit));
        Fact::new("Limit", Some(if percent >= NEAR_LIMIT_PERCENT { Sign::Look } else { Sign::Good }), words)
    }

    fn activations_fact(&self) -> Option<Fact> {
        let left = |at: Timestamp| at.unix_seconds() - self.now.unix_seconds();
        let known: Vec<(&str, Option<i64>)> =
            self.agencies.iter().filter_map(|one| Some((one.agency.label(), one.activation_ends?.map(left)))).collect();
        if known.is_empty() {
            return None;
        }
        let valid = known.iter().filter(|(_, left)| left.is_some_and(|left| left > 0)).count();
        let ends = known.iter().filter_map(|(label, left)| Some((*label, (*left)?)));
        let soonest = ends.filter(|(_, left)| (1..SOON_SECONDS).contains(left)).min_by_key(|(_, left)| *left);
        let mut words = format!("{valid} valid");
        let mut sign = Sign::Good;
        if let Some((label, left)) = soonest {
            words.push_str(&format!(", {label}'s ends in {}", span(left)));
            sign = Sign::Look;
        }
        if valid < known.len() {
            words.push_str(&format!(", {} without one", counted_agencies(known.len() - valid)));
            sign = Sign::Look;
        }
        Some(Fact::new("Activations", Some(sign), words))
    }

    /// In a pipe: one figure a line, separated from its name by a tab.
    pub fn tabs(&self) -> String {
        let figure = |read: Option<String>| read.unwrap_or_else(|| "-".to_owned());
        let mut lines = vec![format!("hub.version\t{}", self.version)];
        for function in &self.functions {
            let failures = function.failures.as_ref().ok().copied().flatten().map(|count| count.to_string());
            lines.push(format!(
                "{}.errors\t{}",
                function.name,
                figure(function.errors.as_ref().ok().map(u64::to_string))
            ));
            lines.push(format!("{}.failures\t{}", function.name, figure(failures)));
            let oldest = function.oldest.map(|seconds| seconds.to_string());
            lines.push(format!("{}.failures.oldest-seconds\t{}", function.name, figure(oldest)));
        }
        let is_read = self.agencies.iter().all(|one| one.last_report.is_some());
        let silent = self.agencies.iter().filter(|one| one.state(self.now).is_silent()).count();
        lines.push(format!("agencies.granted\t{}", self.agencies.len()));
        lines.push(format!("agencies.silent\t{}", figure(is_read.then(|| silent.to_string()))));
        lines.extend(self.versions().iter().map(|(version, count)| format!("manager.version.{version}\t{count}")));
        lines.push(format!("nodes.all\t{}", self.nodes.1));
        lines.push(format!("nodes.online\t{}", self.nodes.0));
        lines.push(format!("nodes.limit\t{}", self.limit));
        lines.push(format!(
            "alarms.ringing\t{}",
            figure(self.alarms.as_ref().ok().map(|alarms| alarms.len().to_string()))
        ));
        lines.push(format!("runs.running\t{}", figure(self.runs.as_ref().ok().map(|(count, _)| count.to_string()))));
        lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let functions: Vec<Value> = self
            .functions
            .iter()
            .map(|function| {
                json!({
                    "name": function.name, "errors24h": function.errors.as_ref().ok(),
                    "failures": function.failures.as_ref().ok(), "oldestFailureSeconds": function.oldest,
                    "deployed": function.deployed.as_ref().ok(),
                })
            })
            .collect();
        let agencies: Vec<_> = self.agencies.iter().map(|one| one.json(self.now)).collect();
        json!({
            "schema": "taghub.status/1", "version": self.version, "at": self.now, "wrong": self.is_wrong(),
            "functions": functions, "agencies": agencies,
            "nodes": {"all": self.nodes.1, "online": self.nodes.0, "limit": self.limit},
            "alarms": self.alarms.as_ref().ok(), "runsRunning": self.runs.as_ref().ok().map(|(count, _)| count),
            "runsComplete": self.runs.as_ref().ok().map(|(_, is_all)| is_all),
            "notRead": self.unread(),
        })
    }

    /// What was not read, and why.
    pub fn unread(&self) -> Vec<String> {
        let mut all = self.agencies_unread.clone();
        for function in &self.functions {
            all.extend(function.deployed.as_ref().err().map(|why| format!("{}: {why}", function.name)));
            all.extend(function.errors.as_ref().err().map(|why| format!("errors of {}: {why}", function.name)));
            all.extend(function.failures.as_ref().err().map(|why| format!("failures of {}: {why}", function.name)));
        }
        all.extend(self.alarms.as_ref().err().map(|why| format!("alarms: {why}")));
        all.extend(self.runs.as_ref().err().map(|why| format!("runs: {why}")));
        all
    }
}

fn counted_agencies(count: usize) -> String {
    if count == 1 { "1 agency".to_owned() } else { format!("{count} agencies") }
}

impl Function {
    fn is_wrong(&self) -> bool {
        matches!(self.failures, Ok(Some(1..)))
    }

    fn row(&self, now: Timestamp) -> Row {
        let errors = match &self.errors {
            Ok(0) => Cell::text("0"),
            Ok(count) => Cell::mark(Sign::Look, count.to_string()),
            Err(_) => Cell::text("not read"),
        };
        let failures = match &self.failures {
            Ok(Some(0)) => Cell::mark(Sign::Good, "empty"),
            Ok(Some(count)) => {
                let oldest = self.oldest.map(|seconds| format!(", oldest {}", rough(seconds))).unwrap_or_default();
                Cell::mark(Sign::Bad, counted(*count, "message") + &oldest)
            }
            Ok(None) => Cell::text("-"),
            Err(_) => Cell::text("not read"),
        };
        let deployed = match &self.deployed {
            Ok(Some(at)) => Cell::text(format!("{} ago", rough(now.unix_seconds() - at.unix_seconds()))),
            Ok(None) => Cell::mark(Sign::Waiting, "not deployed"),
            Err(_) => Cell::text("not read"),
        };
        Row { cells: vec![Cell::text(&self.name), errors, failures, deployed], piped: Vec::new() }
    }
}

struct Fact {
    title: &'static str,
    sign: Option<Sign>,
    words: String,
}

impl Fact {
    fn new(title: &'static str, sign: Option<Sign>, words: impl Into<String>) -> Self {
        Self { title, sign, words: words.into() }
    }

    fn unread(title: &'static str, why: &str) -> Self {
        Self::new(title, Some(Sign::Waiting), format!("not read: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::tests::stream;
    use super::*;
    use crate::view::agencies::Agency;

    fn status() -> Status {
        let now: Timestamp = "2026-11-23T06:00:12Z".parse().unwrap();
        let standing = |account: &str, name: &str, report: Option<&str>, ends: &str| Standing {
            agency: Agency {
                account: account.parse().unwrap(),
                name: Some(name.to_owned()),
                manager_version: if name == "Parks" { "8" } else { "7" }.to_owned(),
            },
            nodes: 4,
            last_report: Some(report.map(|at| at.parse().unwrap())),
            activation_ends: Some(Some(ends.parse().unwrap())),
            node_limit: None,
        };
        let function = |name: &str, errors: Read<u64>, failures: Read<Option<usize>>| Function {
            name: name.to_owned(),
            deployed: Ok(Some("2026-11-20T06:00:00Z".parse().unwrap())),
            errors,
            oldest: if matches!(failures, Ok(Some(1..))) { Some(18_300) } else { None },
            failures,
        };
        Status {
            version: "0.2.0".to_owned(),
            place: "111111111111, us-east-1".to_owned(),
            functions: vec![
                function("ssm-tag-manager", Ok(0), Ok(Some(0))),
                function("activation-issuer", Ok(2), Ok(Some(3))),
                function("automation-fanout", Err("AccessDenied".to_owned()), Ok(None)),
            ],
            agencies: vec![
                standing("555555555555", "Parks", Some("2026-11-23T05:59:00Z"), "2026-11-25T06:00:12Z"),
                standing("666666666666", "Libraries", None, "2026-12-12T06:00:00Z"),
            ],
            agencies_unread: Vec::new(),
            nodes: (38, 42),
            limit: 1_000,
            alarms: Ok(vec!["activation-issuer-errors".to_owned()]),
            runs: Err("AccessDenied".to_owned()),
            now,
        }
    }

    #[test]
    fn one_screen_one_glance() {
        insta::assert_snapshot!(status().text(&stream(100)), @r"
        Tag Hub 0.2.0   111111111111, us-east-1   2026-11-23 06:00:12 UTC

        FUNCTION           ERRORS 24 H  FAILURE QUEUE             DEPLOYED
        ssm-tag-manager    0            ✓ empty                   3 days ago
        activation-issuer  ! 2          ✗ 3 messages, oldest 5 h  3 days ago
        automation-fanout  not read     -                         3 days ago

        Agencies     ✗ 2 granted; no reports from Libraries
        Manager      ● versions 7 for 1 agency, 8 for 1 agency
        Nodes        ! 38 of 42 online
        Limit        ✓ 42 of 1,000 nodes, 4%
        Activations  ! 2 valid, Parks's ends in 2 days
        Alarms       ✗ activation-issuer-errors
        Runs         · not read: AccessDenied
        ");
        assert!(status().is_wrong());
        assert_eq!(status().unread(), ["errors of automation-fanout: AccessDenied", "runs: AccessDenied"]);
    }

    #[test]
    fn runs_that_were_not_all_counted_are_at_least_so_many() {
        let of = |runs| Status { runs: Ok(runs), ..status() };
        assert!(of((0, true)).text(&stream(100)).contains("Runs         none now\n"));
        assert!(of((20, true)).text(&stream(100)).contains("● 20 under way: taghub run list\n"));
        assert!(of((200, false)).text(&stream(100)).contains("● at least 200 under way: taghub run list\n"));
        assert_eq!(of((200, false)).json()["runsComplete"], false);
    }

    #[test]
    fn reports_that_were_not_read_are_not_told_as_sent() {
        let mut status = status();
        status.agencies.iter_mut().for_each(|one| one.last_report = None);
        status.agencies_unread = vec!["last reports: AccessDenied".to_owned()];
        assert!(status.text(&stream(100)).contains("Agencies     · 2 granted; reports not read\n"));
        assert!(status.tabs().contains("agencies.silent\t-\n"));
        assert_eq!(status.json()["agencies"][1]["state"], "unread");
        assert_eq!(status.json()["notRead"][0], "last reports: AccessDenied");
    }

    #[test]
    fn one_figure_a_line() {
        let tabs = status().tabs();
        assert!(tabs.contains("agencies.silent\t1\n") && tabs.contains("automation-fanout.errors\t-\n"), "{tabs}");
        assert_eq!(status().json()["nodes"]["online"], 38);
        assert!(tabs.contains("manager.version.7\t1\nmanager.version.8\t1\n"), "{tabs}");
        let mut same = status();
        same.agencies.remove(0);
        assert!(same.text(&stream(100)).contains("Manager      version 7 for all\n"));
    }
}
