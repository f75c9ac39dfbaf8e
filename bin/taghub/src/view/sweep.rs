//! What a sweep did in an agency, or would do.

use std::collections::BTreeMap;

use hub::{AccountId, Counts, NodeAnswer, Outcome};
use serde::Deserialize;

use super::time::{counted, span};
use crate::terminal::{Sign, Stream, Tone, harmless};

/// The answer of `tags-collector`, as far as it is shown.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The agency.
    pub account: AccountId,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Region by Region.
    pub regions: Vec<RegionAnswer>,
    /// Absent if nobody answered the collector.
    pub counts: Option<Counts>,
    /// Nodes that need a look.
    #[serde(default)]
    pub nodes: Vec<NodeAnswer>,
    /// How many more.
    #[serde(default)]
    pub nodes_omitted: usize,
    /// Instances that were asked for and not found.
    #[serde(default)]
    pub not_found: Vec<String>,
    /// Those of them that carry no tag `managedinstanceid`.
    #[serde(default)]
    pub untagged: Vec<String>,
}

/// What was read in one Region.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionAnswer {
    /// The Region.
    pub region: String,
    /// Instances that name a node.
    pub instances: usize,
    /// Instances that were not reported.
    pub failed_instances: usize,
    /// How many instances there are, if all were read.
    pub coverage: Option<Coverage>,
    /// Why it was not read or reported to its end.
    pub error: Option<RegionError>,
}

/// How many instances a Region has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Running ones that name no node.
    pub unmanaged: usize,
}

/// Why a Region was not read or reported to its end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RegionError {
    /// A code.
    pub code: String,
    /// In words.
    pub message: String,
}

impl Answer {
    /// True if a Region or a node is in trouble, or an instance that was asked for is not there.
    pub fn has_trouble(&self) -> bool {
        let counts = self.counts.unwrap_or_default();
        let is_trouble = counts.rejected + counts.failed > 0 || !self.not_found.is_empty();
        is_trouble || self.regions.iter().any(|region| region.error.is_some())
    }

    /// True if a sweep would change something.
    pub fn has_changes(&self) -> bool {
        let counts = self.counts.unwrap_or_default();
        counts.updated + counts.superseded > 0
    }

    /// For people.
    pub fn text(&self, agency: &str, seconds: i64, stream: &Stream) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            text.push_str(&of_node(node, self.dry_run, stream));
        }
        if self.nodes_omitted > 0 {
            text.push_str(&format!("{} more need a look\n", counted(self.nodes_omitted, "node")));
        }
        for (reason, keys) in self.left_behind() {
            let words = format!("{} left behind ({reason})", keys.join(", "));
            text.push_str(&format!("{}\n", stream.mark(Sign::Look, &words)));
        }
        for region in &self.regions {
            if let Some(error) = &region.error {
                let words = format!("{}: {}: {}", region.region, error.code, error.message);
                text.push_str(&format!("{}\n", stream.mark(Sign::Bad, &harmless(&words))));
            }
        }
        for instance in &self.not_found {
            let why =
                if self.untagged.contains(instance) { "carries no tag managedinstanceid" } else { "was not found" };
            text.push_str(&format!("{}\n", stream.mark(Sign::Look, &format!("{} {why}", harmless(instance)))));
        }
        if let held @ 1.. = self.counts.unwrap_or_default().tags_held {
            let words =
                format!("{} kept until the changed policy is approved: taghub policy apply", counted(held, "tag"));
            text.push_str(&format!("{}\n", stream.mark(Sign::Look, &words)));
        }
        text.push_str(&self.last_line(agency, seconds, stream));
        text
    }

    fn last_line(&self, agency: &str, seconds: i64, stream: &Stream) -> String {
        let Some(counts) = self.counts else {
            let instances = self.regions.iter().map(|region| region.instances).sum();
            return format!(
                "{} of {agency} reported; the collector does not wait for their outcomes\n",
                counted(instances, "instance")
            );
        };
        let words = counts_in_words(&counts, self.dry_run);
        let tags = format!(
            "{} {}, {} removed",
            counted(counts.tags_set, "tag"),
            if self.dry_run { "to set" } else { "set" },
            counts.tags_removed
        );
        let unmanaged: usize =
            self.regions.iter().filter_map(|region| region.coverage.as_ref()).map(|some| some.unmanaged).sum();
        let without = match unmanaged {
            0 => String::new(),
            count => format!(" {} without a node.", counted(count, "running instance")),
        };
        if self.dry_run {
            return format!("{} {words}. {tags}.{without} Nothing was written.\n", stream.toned(Tone::Strong, "Plan:"));
        }
        let sign = if self.has_trouble() { Sign::Bad } else { Sign::Good };
        let first = format!("{} of {agency} in {}:", counted(counts.received, "node"), span(seconds));
        format!("{} {words}. {tags}.{without}\n", stream.mark(sign, &first))
    }

    /// Keys that were left behind, by reason.
    fn left_behind(&self) -> BTreeMap<&'static str, Vec<String>> {
        let mut reasons: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for dropped in self.nodes.iter().flat_map(NodeAnswer::notable_drops) {
            let keys = reasons.entry(dropped.reason.into_str()).or_default();
            let key = harmless(&dropped.key);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        reasons
    }

    /// In a pipe: a line for each node, each Region in trouble, and each instance that was not found, separated by tabs.
    pub fn tabs(&self) -> String {
        let line = |fields: [&str; 4]| format!("{}\n", fields.map(harmless).join("\t"));
        let nodes = self.nodes.iter().map(|node| {
            let instance = node.ec2_instance_id.as_deref().unwrap_or("-");
            line([&node.instance_id, instance, node.outcome.into_str(), detail(node).as_deref().unwrap_or("-")])
        });
        let omitted = self.nodes_omitted.to_string();
        let omitted = (self.nodes_omitted > 0).then(|| line(["-", "-", "omitted", &omitted]));
        let regions = self.regions.iter().filter_map(|region| {
            let error = region.error.as_ref()?;
            Some(line([&region.region, "-", "region-failed", &error.code]))
        });
        let not_found = self.not_found.iter().map(|instance| {
            let why = if self.untagged.contains(instance) { "untagged" } else { "not-found" };
            line(["-", instance, why, "-"])
        });
        let held = self.counts.unwrap_or_default().tags_held.to_string();
        let held = (held != "0").then(|| line(["-", "-", "tags-held", &held]));
        // Without an answer of the manager there are no outcomes to tell.
        let reported: usize = self.regions.iter().map(|region| region.instances).sum();
        let reported = self.counts.is_none().then(|| line(["-", "-", "reported", &reported.to_string()]));
        nodes.chain(omitted).chain(regions).chain(not_found).chain(held).chain(reported).collect()
    }
}

fn counts_in_words(counts: &Counts, dry_run: bool) -> String {
    let updated = if dry_run { "to update" } else { "updated" };
    let all = [
        (counts.updated, updated),
        (counts.unchanged, "unchanged"),
        (counts.rejected, "rejected"),
        (counts.failed, "failed"),
        (counts.deferred, "deferred"),
        (counts.adopted, "adopted"),
        (counts.superseded, "superseded"),
        (counts.unlinked, "unlinked"),
    ];
    let words: Vec<String> =
        all.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    if words.is_empty() { "no node".to_owned() } else { words.join(", ") }
}

/// What changed on a node, or why nothing did.
fn of_node(node: &NodeAnswer, dry_run: bool, stream: &Stream) -> String {
    let sign = match &node.outcome {
        Outcome::Updated | Outcome::WouldUpdate | Outcome::Unchanged => None,
        Outcome::Adopted | Outcome::Superseded | Outcome::Unlinked => Some(Sign::Look),
        Outcome::Deferred => Some(Sign::Running),
        Outcome::Rejected { .. } | Outcome::Failed { .. } => Some(Sign::Bad),
    };
    // A sweep says what is wrong, and a plan all that would be done.
    let has_changes = dry_run && !(node.set.is_empty() && node.removed.is_empty());
    if sign.is_none() && !has_changes {
        return String::new();
    }
    let id = harmless(&node.instance_id);
    let mut line = stream.toned(Tone::Strong, &id);
    if let Some(instance) = &node.ec2_instance_id {
        line.push_str(&format!(" {} {}", if stream.utf8 { "←" } else { "<-" }, harmless(instance)));
    }
    if let Some(sign) = sign {
        let why = detail(node).map(|detail| format!(": {detail}")).unwrap_or_default();
        line.push_str(&format!("   {}", stream.mark(sign, &format!("{}{why}", node.outcome.into_str()))));
    }
    line.push('\n');
    let set = node.set.iter().map(|(key, value)| format!("  + {} = {}\n", harmless(key), harmless(value)));
    let removed = node.removed.iter().map(|key| format!("  - {}\n", harmless(key)));
    line + &set.chain(removed).collect::<String>()
}

fn detail(node: &NodeAnswer) -> Option<String> {
    match &node.outcome {
        Outcome::Rejected { reason } => Some(reason.into_str().to_owned()),
        Outcome::Failed { code, .. } => Some(harmless(code)),
        _ => node.notable_drop_reasons(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terminal::Color;

    fn answer(dry_run: bool) -> Answer {
        let outcome = if dry_run { "would-update" } else { "updated" };
        serde_json::from_value(json!({
            "account": "222222222222", "dryRun": dry_run,
            "regions": [
                {"region": "us-east-1", "instances": 3, "batches": 1, "failedBatches": 0, "failedInstances": 0,
                 "coverage": {"running": 4, "stopped": 0, "managed": 3, "unmanaged": 1}},
                {"region": "us-west-2", "instances": 0, "batches": 0, "failedBatches": 0, "failedInstances": 0,
                 "error": {"code": "UnauthorizedOperation", "message": "you may not"}}],
            "counts": {"received": 3, "updated": 1, "unchanged": 1, "rejected": 1, "failed": 0, "deferred": 0,
                       "tagsSet": 2, "tagsRemoved": 1, "tagsDropped": 1, "adopted": 0, "superseded": 0, "unlinked": 1,
                       "tagsHeld": 2},
            "nodes": [
                {"instanceId": "mi-0c97187c257354d2c", "ec2InstanceId": "i-0a", "outcome": outcome,
                 "set": {"Cohort": "prod-web", "Env": "PROD"}, "removed": ["OldOwner"],
                 "dropped": [{"key": "R&D", "reason": "character"}, {"key": "aws:x", "reason": "reserved"}]},
                {"instanceId": "mi-0c97187c257354d2d", "ec2InstanceId": "i-0b", "outcome": "rejected", "reason": "not-owned"},
                {"instanceId": "mi-0c97187c257354d2e", "outcome": "unlinked"}],
            "nodesOmitted": 0, "notFound": ["i-0c"], "untagged": ["i-0c"]
        }))
        .unwrap()
    }

    fn stream() -> Stream {
        Stream::new(Some((120, 24)), Color::Never, |name| (name == "LANG").then(|| "C.UTF-8".to_owned()))
    }

    #[test]
    fn a_plan_shows_every_change() {
        insta::assert_snapshot!(answer(true).text("Transportation", 4, &stream()), @r"
        mi-0c97187c257354d2c ← i-0a
          + Cohort = prod-web
          + Env = PROD
          - OldOwner
        mi-0c97187c257354d2d ← i-0b   ✗ rejected: not-owned
        mi-0c97187c257354d2e   ! unlinked
        ! R&D left behind (character)
        ✗ us-west-2: UnauthorizedOperation: you may not
        ! i-0c carries no tag managedinstanceid
        ! 2 tags kept until the changed policy is approved: taghub policy apply
        Plan: 1 to update, 1 unchanged, 1 rejected, 1 unlinked. 2 tags to set, 1 removed. 1 running instance without a node. Nothing was written.
        ");
        assert!(answer(true).has_changes() && answer(true).has_trouble());
    }

    #[test]
    fn a_sweep_shows_trouble() {
        insta::assert_snapshot!(answer(false).text("Transportation", 4, &stream()), @r"
        mi-0c97187c257354d2d ← i-0b   ✗ rejected: not-owned
        mi-0c97187c257354d2e   ! unlinked
        ! R&D left behind (character)
        ✗ us-west-2: UnauthorizedOperation: you may not
        ! i-0c carries no tag managedinstanceid
        ! 2 tags kept until the changed policy is approved: taghub policy apply
        ✗ 3 nodes of Transportation in 4 s: 1 updated, 1 unchanged, 1 rejected, 1 unlinked. 2 tags set, 1 removed. 1 running instance without a node.
        ");
        insta::assert_snapshot!(answer(false).tabs().replace('\t', "|"), @r"
        mi-0c97187c257354d2c|i-0a|updated|character
        mi-0c97187c257354d2d|i-0b|rejected|not-owned
        mi-0c97187c257354d2e|-|unlinked|-
        us-west-2|-|region-failed|UnauthorizedOperation
        -|i-0c|untagged|-
        -|-|tags-held|2
        ");
        let unanswered = Answer { counts: None, nodes: Vec::new(), not_found: Vec::new(), ..answer(false) };
        assert!(unanswered.tabs().ends_with("\n-\t-\treported\t3\n"));
    }

    #[test]
    fn what_was_not_found_is_trouble_and_said_in_a_pipe() {
        let mut answer = answer(false);
        answer.counts = Some(Counts::default());
        answer.nodes.clear();
        answer.regions.clear();
        answer.untagged.clear();
        answer.nodes_omitted = 7;
        assert!(answer.has_trouble());
        assert_eq!(answer.tabs(), "-\t-\tomitted\t7\n-\ti-0c\tnot-found\t-\n");
        answer.not_found.clear();
        assert!(!answer.has_trouble());
    }

    #[test]
    fn what_a_collector_answers_cannot_act_on_the_terminal() {
        for hostile in ["\u{1b}[2J", "\u{1b}]0;x\u{7}", "\t\n"] {
            let mut answer = answer(false);
            let error = RegionError { code: hostile.to_owned(), message: hostile.to_owned() };
            answer.regions[1] =
                RegionAnswer { region: hostile.to_owned(), error: Some(error), ..answer.regions[1].clone() };
            answer.not_found = vec![hostile.to_owned()];
            let failed = Outcome::Failed { code: hostile.into(), message: hostile.into(), retryable: false };
            answer.nodes[1] = NodeAnswer { outcome: failed, instance_id: hostile.into(), ..answer.nodes[1].clone() };
            let text = answer.text("Parks", 4, &stream());
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
            let tabs = answer.tabs();
            assert!(!tabs.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{tabs:?}");
            assert!(tabs.lines().all(|line| line.matches('\t').count() == 3), "{tabs:?}");
        }
    }
}
