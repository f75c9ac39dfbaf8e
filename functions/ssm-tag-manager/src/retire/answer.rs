//! The event that asks for retirement, and what a run came to.

use hub::ManagedInstanceId;
use serde::{Deserialize, Serialize};

use super::evidence::Reason;
use crate::config::Mode;
use crate::plan::{Source, Tags};

/// How many nodes the answer lists.
const NODES_MAX: usize = 500;

/// `{"action": "retire"}`, with `"dryRun": true` to write nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetireEvent {
    /// What to do.
    pub action: Action,
    /// Answer what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// The only action there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Deregister the nodes that are dead.
    Retire,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetireAnswer {
    /// As in the event.
    pub action: Action,
    /// What the run was allowed to do.
    pub mode: Mode,
    /// Sums over all marked nodes.
    pub counts: RetireCounts,
    /// At most 500 nodes: those that were retired first, then those that failed, each by the age of their marks.
    pub nodes: Vec<RetiredNode>,
}

/// How many nodes had which outcome. `marked` is the sum of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetireCounts {
    /// Nodes with the tag `tag-hub:terminated`.
    pub marked: usize,
    /// Deregistered; in a dry run, those that would be.
    pub retired: usize,
    /// Left as they are.
    pub kept: usize,
    /// AWS refused a call.
    pub failed: usize,
}

/// What became of a marked node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetiredNode {
    /// The node.
    pub instance_id: ManagedInstanceId,
    /// The EC2 instance behind it, where its tags name one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub source: Option<Source>,
    /// What happened.
    #[serde(flatten)]
    pub outcome: RetireOutcome,
}

/// The outcome of a marked node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum RetireOutcome {
    /// It was deregistered.
    Retired,
    /// It would be, were this not a dry run.
    WouldRetire,
    /// It stays.
    Kept {
        /// Why.
        reason: Reason,
    },
    /// AWS refused a call, or gave no answer in time.
    Failed {
        /// The error code of AWS, or `DeadlineExceeded`.
        reason: String,
        /// The same in words.
        message: String,
    },
}

impl RetireAnswer {
    /// The answer where retirement is off.
    pub fn off() -> Self {
        Self::new(Mode::Off)
    }

    /// An answer about no node yet.
    pub(super) fn new(mode: Mode) -> Self {
        Self { action: Action::Retire, mode, counts: RetireCounts::default(), nodes: Vec::new() }
    }

    /// Counts a node.
    pub(super) fn add(&mut self, node: ManagedInstanceId, tags: &Tags, outcome: RetireOutcome) {
        self.counts.marked += 1;
        match outcome {
            RetireOutcome::Retired | RetireOutcome::WouldRetire => self.counts.retired += 1,
            RetireOutcome::Kept { .. } => self.counts.kept += 1,
            RetireOutcome::Failed { .. } => self.counts.failed += 1,
        }
        self.nodes.push(RetiredNode { instance_id: node, source: Source::of(tags), outcome });
    }

    /// Lists what matters most, and no more than an answer holds.
    pub(super) fn finish(mut self) -> Self {
        self.nodes.sort_by_key(|node| match node.outcome {
            RetireOutcome::Retired | RetireOutcome::WouldRetire => 0,
            RetireOutcome::Failed { .. } => 1,
            RetireOutcome::Kept { .. } => 2,
        });
        self.nodes.truncate(NODES_MAX);
        self
    }
}

#[expect(clippy::ref_option, reason = "serde hands a reference to the field over")]
fn as_text<S: serde::Serializer>(source: &Option<Source>, serializer: S) -> Result<S::Ok, S::Error> {
    match source {
        Some(source) => serializer.collect_str(source),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_event_is_read_strictly() {
        for (event, expected) in [
            (json!({"action": "retire"}), Ok(false)),
            (json!({"action": "retire", "dryRun": true}), Ok(true)),
            (json!({"action": "Retire"}), Err("action: unknown word `Retire`, expected `retire`")),
            (
                json!({"action": "retire", "dryrun": true}),
                Err("dryrun: unknown field `dryrun`, expected `action` or `dryRun`"),
            ),
            (
                json!({"action": "retire", "instances": []}),
                Err("instances: unknown field `instances`, expected `action` or `dryRun`"),
            ),
        ] {
            let read = hub::decode::<RetireEvent>(&event).map(|event| event.dry_run).map_err(|error| error.to_string());
            assert_eq!(read, expected.map_err(str::to_owned), "{event}");
        }
    }

    #[test]
    fn an_answer_lists_500_nodes_the_retired_first() {
        let mut answer = RetireAnswer::new(Mode::On);
        let node = |number: usize| format!("mi-{number:017x}").parse().unwrap();
        for number in 0..600 {
            answer.add(node(number), &Tags::new(), RetireOutcome::Kept { reason: Reason::TooEarly });
        }
        let failed = RetireOutcome::Failed { reason: "AccessDeniedException".into(), message: "in words".into() };
        answer.add(node(600), &Tags::new(), failed);
        let source = Tags::from([("tag-hub:source".into(), "222222222222/us-east-1/i-0abcdef0123456789".into())]);
        answer.add(node(601), &source, RetireOutcome::Retired);
        let answer = serde_json::to_value(answer.finish()).unwrap();
        assert_eq!(answer["nodes"].as_array().unwrap().len(), 500);
        assert_eq!(answer["counts"], json!({"marked": 602, "retired": 1, "kept": 600, "failed": 1}));
        let first = json!({"instanceId": "mi-00000000000000259", "outcome": "retired",
                           "source": "222222222222/us-east-1/i-0abcdef0123456789"});
        assert_eq!(answer["nodes"][0], first);
        assert_eq!(answer["nodes"][1]["outcome"], "failed");
        assert_eq!(answer["nodes"][1]["reason"], "AccessDeniedException");
        let kept = json!({"instanceId": "mi-00000000000000000", "outcome": "kept", "reason": "too-early"});
        assert_eq!(answer["nodes"][2], kept);
    }
}
