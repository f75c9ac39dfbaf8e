//! What the manager's log says about nodes.

use std::collections::HashMap;

use hub::{AGENCY_TAG_KEY, ManagedInstanceId, Timestamp};
use serde_json::Value;
use ssm_tag_manager::plan::Tags;

/// What the manager last logged about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    at: Timestamp,
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
        Some(Self { at, what, left_behind: dropped.unwrap_or_default(), reasons })
    }

    /// The later word counts. Lines of one second belong to one report.
    pub fn merge(&mut self, other: &Self) {
        if other.at > self.at {
            *self = other.clone();
        } else if other.at == self.at {
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
        // An agency may name as many of those as it likes, and none of them is a node of its own.
        if matches!(&news.what, What::Rejected(reason) if ["unknown-node", "not-owned"].contains(&reason.as_str())) {
            return;
        }
        let reporter = fields["agency"].as_str().unwrap_or_default().to_owned();
        let known = self.by_reporter.entry((reporter, node));
        known.and_modify(|known| known.merge(&news)).or_insert(news);
    }

    /// What the reports of a node's own agency said last. What another agency claims about it is not about the node;
    /// without an agency it was an operator of the central account.
    pub fn of(&self, id: &ManagedInstanceId, tags: &Tags) -> Option<&News> {
        let owner = tags.get(AGENCY_TAG_KEY).cloned().unwrap_or_default();
        let by = |reporter: String| self.by_reporter.get(&(reporter, id.clone()));
        by(owner).or_else(|| by(String::new()))
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
