//! What the manager's log says about nodes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hub::{AGENCY_TAG_KEY, AccountId, ManagedInstanceId, Timestamp};
use serde_json::Value;
use ssm_tag_manager::plan::Tags;

/// What the manager last logged about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    at: Timestamp,
    /// The Region of the report.
    region: String,
    /// How many sweeps of the agency and Region had ended before.
    sweep: usize,
    pub(crate) what: What,
    /// Tags of the instance that are not on the node.
    pub(crate) left_behind: usize,
    /// Why, each reason once, with commas.
    pub(crate) reasons: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
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
        let message = fields["message"].as_str()?;
        let what = match message {
            "node updated" | "node adopted" | "tags left behind" => What::Fine,
            "node unlinked" => What::Unlinked,
            "node superseded" => What::Superseded,
            "node deferred" => What::Deferred,
            "node rejected" => What::Rejected(text("reason")),
            "node failed" => What::Failed(text("code")),
            _ => return None,
        };
        let dropped = fields["tags_dropped"].as_u64().and_then(|count| usize::try_from(count).ok());
        let reasons = if message == "tags left behind" { text("reason") } else { String::new() };
        let left_behind = dropped.unwrap_or_default();
        Some(Self { at, region: text("region"), sweep: 0, what, left_behind, reasons })
    }

    /// The later word counts. Lines of one second and sweep belong to one report.
    pub fn merge(&mut self, other: &Self) {
        let (known, new) = ((self.at, self.sweep), (other.at, other.sweep));
        if new > known {
            *self = other.clone();
        } else if new == known {
            if other.left_behind > self.left_behind {
                self.left_behind = other.left_behind;
                self.reasons.clone_from(&other.reasons);
            }
            if self.what == What::Fine {
                self.what = other.what.clone();
            }
        }
    }
}

/// The sweeps of an agency and Region, told apart by the line that ends each.
#[derive(Debug, Clone, Default)]
struct Sweeps {
    ended: usize,
    /// What was said in so many of them is settled: a later one that had a line for every node with news is through.
    settled: usize,
    /// Nodes with news for which the last one had no line.
    unnamed: usize,
    /// The same of reports after it.
    open: usize,
    /// Why the coverage of the last one was not kept.
    not_kept: Option<String>,
}

impl Sweeps {
    fn end(&mut self) {
        // The lines of a sweep stand around its end, so that the one before the last is the first to be through.
        if self.open == 0 {
            self.settled = self.ended;
        }
        self.ended += 1;
        self.unnamed = std::mem::take(&mut self.open);
        self.not_kept = None;
    }
}

/// The last word on each node, by whoever reported it.
#[derive(Debug, Clone, Default)]
pub struct Latest {
    by_reporter: HashMap<(String, ManagedInstanceId), News>,
    /// By agency and Region.
    sweeps: HashMap<(String, String), Sweeps>,
}

impl Latest {
    /// Takes in a line of the manager's log, by its fields. Lines come in their order.
    pub fn add(&mut self, at: Timestamp, fields: &Value) {
        let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        let place = (text("agency"), text("region"));
        match fields["message"].as_str() {
            Some("report applied") if fields["dry_run"] != true => {
                let sweeps = self.sweeps.entry(place).or_default();
                let unnamed = fields["nodes_not_logged"].as_u64().and_then(|count| usize::try_from(count).ok());
                sweeps.open = sweeps.open.saturating_add(unnamed.unwrap_or_default());
                if fields["whole"] == true {
                    sweeps.end();
                }
            }
            Some("coverage not kept") => self.sweeps.entry(place).or_default().not_kept = Some(text("code")),
            _ => self.add_news(at, fields),
        }
    }

    fn add_news(&mut self, at: Timestamp, fields: &Value) {
        let node = fields["instance_id"].as_str().and_then(|id| id.parse().ok());
        let (Some(node), Some(mut news)) = (node, News::of(at, fields)) else { return };
        // An agency may name as many of those as it likes, and none of them is a node of its own.
        if matches!(&news.what, What::Rejected(reason) if ["unknown-node", "not-owned"].contains(&reason.as_str())) {
            return;
        }
        let reporter = fields["agency"].as_str().unwrap_or_default().to_owned();
        news.sweep = self.sweeps.get(&(reporter.clone(), news.region.clone())).map_or(0, |sweeps| sweeps.ended);
        let known = self.by_reporter.entry((reporter, node));
        known.and_modify(|known| known.merge(&news)).or_insert(news);
    }

    /// What the reports of a node's own agency said last, unless a whole sweep since then found the node in order, for which
    /// there is no line. What another agency claims about it is not about the node; without an agency it was an operator of
    /// the central account.
    pub fn of(&self, id: &ManagedInstanceId, tags: &Tags) -> Option<&News> {
        let owner = tags.get(AGENCY_TAG_KEY).cloned().unwrap_or_default();
        let by = |reporter: String| {
            let news = self.by_reporter.get(&(reporter.clone(), id.clone()))?;
            let sweeps = self.sweeps.get(&(reporter, news.region.clone()));
            sweeps.is_none_or(|sweeps| news.sweep >= sweeps.settled).then_some(news)
        };
        by(owner).or_else(|| by(String::new()))
    }

    /// How many nodes of each agency had news in the last sweeps, but no line.
    pub fn unnamed(&self) -> HashMap<AccountId, usize> {
        let mut all: HashMap<AccountId, usize> = HashMap::new();
        for ((agency, _), sweeps) in &self.sweeps {
            if let (count @ 1.., Ok(agency)) = (sweeps.unnamed.max(sweeps.open), agency.parse()) {
                *all.entry(agency).or_default() += count;
            }
        }
        all
    }

    /// Of how many agencies coverage was not kept in the last sweeps, by the code of what went wrong.
    pub fn coverage_not_kept(&self) -> BTreeMap<&str, usize> {
        let mut agencies: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for ((agency, _), sweeps) in &self.sweeps {
            if let Some(code) = &sweeps.not_kept {
                agencies.entry(code).or_default().insert(agency);
            }
        }
        agencies.into_iter().map(|(code, agencies)| (code, agencies.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_word_on_a_node_counts() {
        let at = |time: &str, fields: &Value| News::of(time.parse().unwrap(), fields).unwrap();
        let conflict = at("2026-11-23T06:00:00Z", &json!({"message": "node rejected", "reason": "conflict"}));
        let mut merged = conflict.clone();
        merged.merge(&at("2026-11-23T06:15:00Z", &json!({"message": "node updated"})));
        assert_eq!(merged.what, What::Fine);
        merged.merge(&conflict);
        assert_eq!(merged.what, What::Fine);
        let mut same = at("2026-11-23T06:00:00Z", &json!({"message": "node updated"}));
        same.merge(&at(
            "2026-11-23T06:00:00Z",
            &json!({"message": "tags left behind", "tags_dropped": 3, "reason": "character,limit"}),
        ));
        assert_eq!((same.what, same.left_behind, same.reasons.as_str()), (What::Fine, 3, "character,limit"));
    }

    const PARKS: &str = "555555555555";
    const NODE: &str = "mi-0fdaf2f8939c665c3";

    /// Takes in lines of one agency and Region, a second apart.
    fn latest(lines: &[Value]) -> Latest {
        let mut latest = Latest::default();
        for (line, seconds) in lines.iter().zip(1_795_000_000..) {
            let mut line = line.clone();
            (line["agency"], line["region"]) = (json!(PARKS), json!("us-west-2"));
            latest.add(Timestamp::from_unix_seconds(seconds), &line);
        }
        latest
    }

    #[test]
    fn what_a_whole_sweep_does_not_repeat_is_settled() {
        let conflict = || json!({"message": "node rejected", "reason": "conflict", "instance_id": NODE});
        let ended = |whole: bool, unnamed: usize, dry_run: bool| json!({"message": "report applied", "whole": whole, "nodes_not_logged": unnamed, "dry_run": dry_run});
        let (whole, part) = (|| ended(true, 0, false), || ended(false, 0, false));
        let id: ManagedInstanceId = NODE.parse().unwrap();
        let owned = Tags::from([(AGENCY_TAG_KEY.to_owned(), PARKS.to_owned())]);
        for (lines, is_known) in [
            (vec![conflict()], true),
            (vec![conflict(), whole()], true),
            (vec![conflict(), whole(), whole()], false),
            (vec![conflict(), part(), part(), part()], true),
            (vec![conflict(), whole(), ended(true, 0, true)], true),
            (vec![conflict(), whole(), ended(true, 3, false)], true),
            (vec![conflict(), whole(), ended(false, 3, false), whole()], true),
            (vec![conflict(), whole(), ended(true, 3, false), whole()], false),
            (vec![whole(), conflict(), whole()], true),
            (vec![conflict(), whole(), conflict(), whole()], true),
            (vec![conflict(), whole(), whole(), conflict()], true),
            (vec![json!({"message": "report applied"}), conflict(), json!({"message": "report applied"})], true),
        ] {
            assert_eq!(latest(&lines).of(&id, &owned).is_some(), is_known, "{lines:#?}");
        }
        // Another Region's sweeps say nothing about it.
        let mut elsewhere = latest(&[conflict(), whole()]);
        let mut other = whole();
        (other["agency"], other["region"]) = (json!(PARKS), json!("us-east-1"));
        elsewhere.add("2026-11-23T06:15:00Z".parse().unwrap(), &other);
        assert!(elsewhere.of(&id, &owned).is_some());
    }

    #[test]
    fn what_the_log_has_no_line_for_is_counted() {
        let ended = |whole: bool, unnamed: usize| json!({"message": "report applied", "whole": whole, "nodes_not_logged": unnamed});
        let parks: AccountId = PARKS.parse().unwrap();
        for (lines, expected) in [
            (vec![ended(false, 3), ended(true, 4)], Some(7)),
            (vec![ended(true, 7), ended(true, 2)], Some(2)),
            (vec![ended(true, 7), ended(true, 0)], None),
            (vec![ended(true, 2), ended(false, 5)], Some(5)),
        ] {
            assert_eq!(latest(&lines).unnamed().get(&parks).copied(), expected, "{lines:?}");
        }
    }

    #[test]
    fn coverage_that_was_not_kept_is_known_until_it_is() {
        let whole = || json!({"message": "report applied", "whole": true});
        let failed = || json!({"message": "coverage not kept", "code": "AccessDeniedException"});
        assert_eq!(latest(&[whole(), failed()]).coverage_not_kept(), BTreeMap::from([("AccessDeniedException", 1)]));
        assert_eq!(latest(&[whole(), failed(), whole()]).coverage_not_kept(), BTreeMap::new());
    }

    #[test]
    fn what_another_agency_claims_is_not_about_the_node() {
        let mut latest = Latest::default();
        let id: ManagedInstanceId = "mi-0fdaf2f8939c665c3".parse().unwrap();
        let owned = Tags::from([(AGENCY_TAG_KEY.to_owned(), "555555555555".to_owned())]);
        let at = "2026-11-23T06:00:00Z".parse().unwrap();
        let line = |agency: &str| json!({"message": "node rejected", "reason": "conflict", "instance_id": "mi-0fdaf2f8939c665c3", "agency": agency});
        latest.add(at, &line("222222222222"));
        assert_eq!(latest.of(&id, &owned), None);
        for reason in ["not-owned", "unknown-node"] {
            let mut noise = line("555555555555");
            noise["reason"] = json!(reason);
            latest.add(at, &noise);
        }
        assert_eq!(latest.by_reporter.len(), 1, "what names no node of its own takes no room");
        latest.add(at, &line("555555555555"));
        assert!(latest.of(&id, &owned).is_some());
        assert_eq!(latest.of(&id, &Tags::new()), None);
    }
}
