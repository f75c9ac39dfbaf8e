//! From what became of the nodes to the answer.

use std::collections::BTreeMap;
use std::time::Duration;

use hub::{Answer, Counts, DropReason, Instance, NodeAnswer, Outcome, Report, shortened};

/// Lambda answers with at most 6 MB; the collector and its log want some room beside the nodes:
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const DETAIL_BYTES_MAX: usize = 4_000_000;
/// What JSON puts around a key or a value.
const JSON_OVERHEAD_BYTES: usize = 8;

/// What waiting for leases came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseUse {
    /// How long the invocation waited for leases and slots.
    pub wait: Duration,
    /// How often it held a lease.
    pub slice_count: usize,
    /// Nodes that were deferred because the lease was not to be had.
    pub deferred_count: usize,
    /// Why, if any were.
    pub problem: Option<String>,
}

/// How much of an id is answered and logged: what is longer is none.
const ID_CHARS: usize = 40;

/// An instance that nothing happened to so far.
pub(crate) fn node_answer(instance: &Instance, outcome: Outcome) -> NodeAnswer {
    NodeAnswer {
        instance_id: shown_id(&instance.instance_id),
        ec2_instance_id: instance.ec2_instance_id.as_deref().map(shown_id),
        outcome,
        set: BTreeMap::new(),
        removed: Vec::new(),
        dropped: Vec::new(),
    }
}

/// An id as a report has it, which may be anything.
pub(crate) fn shown_id(id: &str) -> String {
    shortened(id, ID_CHARS).into_owned()
}

/// An answer in the making: counts every node, lists those worth a word, and stays within what Lambda can answer.
#[derive(Debug)]
pub(crate) struct AnswerBuilder {
    answer: Answer,
    detail_bytes: usize,
    is_for_old_collector: bool,
}

impl AnswerBuilder {
    pub(crate) fn new(report: &Report) -> Self {
        let answer = Answer {
            agency: None,
            dry_run: report.dry_run,
            counts: Counts::default(),
            nodes: Vec::new(),
            terminated: None,
            deferred_because: None,
            details_omitted: 0,
        };
        Self { answer, detail_bytes: 0, is_for_old_collector: report.is_from_old_collector() }
    }

    /// Counts instances that are word-for-word repetitions of another one.
    pub(crate) fn add_repeated(&mut self, count: usize) {
        self.answer.counts.received += count;
        self.answer.counts.unchanged += count;
    }

    /// Counts a node, and lists it unless there is nothing to say about it.
    pub(crate) fn add(&mut self, mut node: NodeAnswer) {
        let counts = &mut self.answer.counts;
        counts.tags_set += node.set.len();
        counts.tags_removed += node.removed.len();
        counts.tags_dropped += node.dropped.len();
        let is_of_the_report = match node.outcome {
            Outcome::Updated | Outcome::WouldUpdate => {
                counts.updated += 1;
                true
            }
            Outcome::Adopted => {
                counts.updated += 1;
                counts.adopted += 1;
                true
            }
            Outcome::Unchanged => {
                counts.unchanged += 1;
                true
            }
            Outcome::Rejected { .. } => {
                counts.rejected += 1;
                true
            }
            Outcome::Failed { .. } => {
                counts.failed += 1;
                true
            }
            Outcome::Deferred => {
                counts.deferred += 1;
                true
            }
            Outcome::Superseded => {
                counts.superseded += 1;
                false
            }
            Outcome::Unlinked => {
                counts.unlinked += 1;
                false
            }
        };
        counts.received += usize::from(is_of_the_report);
        if self.is_for_old_collector {
            if !is_of_the_report {
                return;
            }
            if node.outcome == Outcome::Adopted {
                node.outcome = Outcome::Updated;
            }
            // The nearest word that those collectors know.
            for tag in node.dropped.iter_mut().filter(|tag| tag.reason == DropReason::Refused) {
                tag.reason = DropReason::Character;
            }
        }
        if node.outcome == Outcome::Unchanged && node.dropped.is_empty() {
            return;
        }
        let detail_bytes = detail_bytes(&node);
        if detail_bytes > 0 && self.detail_bytes + detail_bytes > DETAIL_BYTES_MAX {
            self.answer.details_omitted += 1;
            (node.set, node.removed, node.dropped) = (BTreeMap::new(), Vec::new(), Vec::new());
        } else {
            self.detail_bytes += detail_bytes;
        }
        self.answer.nodes.push(node);
    }

    pub(crate) fn finish(self) -> Answer {
        let mut answer = self.answer;
        answer.nodes.sort_by(|a, b| (&a.instance_id, &a.ec2_instance_id).cmp(&(&b.instance_id, &b.ec2_instance_id)));
        answer
    }
}

/// About how much JSON a node's tags take. A character of a key can take six bytes, as `\u0001` does.
fn detail_bytes(node: &NodeAnswer) -> usize {
    let text = |text: &String| {
        text.len()
            + 5 * text.bytes().filter(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\')).count()
            + JSON_OVERHEAD_BYTES
    };
    let set = node.set.iter().map(|(key, value)| text(key) + text(value));
    let dropped = node.dropped.iter().map(|tag| text(&tag.key) + tag.reason.into_str().len() + 20);
    set.sum::<usize>() + node.removed.iter().map(text).sum::<usize>() + dropped.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use hub::DroppedTag;

    use super::*;

    fn report(event: &str) -> Report {
        Report::from_event(event).unwrap()
    }

    fn node(outcome: Outcome) -> NodeAnswer {
        let instance = Instance { instance_id: "mi-0123456789abcdef0".into(), ec2_instance_id: None, tags: vec![] };
        node_answer(&instance, outcome)
    }

    #[test]
    fn a_collector_of_an_earlier_release_is_answered_in_words_that_it_knows() {
        let outcomes = |event: &str| {
            let mut builder = AnswerBuilder::new(&report(event));
            for outcome in [Outcome::Updated, Outcome::Adopted, Outcome::Superseded, Outcome::Unlinked] {
                builder.add(node(outcome));
            }
            let answer = builder.finish();
            let counts = answer.counts;
            assert_eq!((counts.received, counts.updated, counts.adopted), (2, 2, 1));
            assert_eq!((counts.superseded, counts.unlinked), (1, 1));
            answer.nodes.iter().map(|node| node.outcome.into_str()).collect::<Vec<_>>()
        };
        let reason = |event: &str| {
            let mut builder = AnswerBuilder::new(&report(event));
            let mut node = node(Outcome::Unchanged);
            node.dropped.push(DroppedTag { key: "a".to_owned(), reason: DropReason::Refused });
            builder.add(node);
            builder.finish().nodes[0].dropped[0].reason
        };
        assert_eq!(reason(r#"{"instances": []}"#), DropReason::Refused);
        assert_eq!(reason(r#"{"instances": [], "reply": false}"#), DropReason::Character);
        assert_eq!(outcomes(r#"{"instances": []}"#), ["updated", "adopted", "superseded", "unlinked"]);
        assert_eq!(outcomes(r#"{"instances": [], "reply": true}"#), ["updated", "updated"]);
    }

    #[test]
    fn an_answer_stays_within_what_lambda_takes() {
        let mut builder = AnswerBuilder::new(&report(r#"{"instances": []}"#));
        for _ in 0..1_000 {
            let mut node = node(Outcome::Updated);
            let drop = |n: usize| DroppedTag { key: format!("\u{1}\u{1}\u{1}\u{1}{n}"), reason: DropReason::Limit };
            node.dropped = (0..200).map(drop).collect();
            builder.add(node);
        }
        let answer = builder.finish();
        let bytes = serde_json::to_vec(&answer).unwrap().len();
        assert!((3_000_000..6_000_000).contains(&bytes), "{bytes}");
        assert_eq!(answer.counts.tags_dropped, 200_000);
        assert_eq!(answer.nodes.len(), 1_000);
        assert_eq!(answer.details_omitted, answer.nodes.iter().filter(|node| node.dropped.is_empty()).count());
        assert!(answer.details_omitted > 0);
    }
}
