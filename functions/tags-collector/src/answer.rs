//! What a sweep came to.

use std::fmt::{self, Write as _};

use hub::{AccountId, AwsError, Counts, Ec2InstanceId, NodeAnswer, Outcome, Region, TerminatedCounts};
use serde::Serialize;

/// How many nodes the answer lists.
const NODES_MAX: usize = 100;

/// The answer of an invocation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepAnswer {
    /// The agency's account.
    pub account: AccountId,
    /// True where nothing was written.
    pub dry_run: bool,
    /// One entry for each Region that was to be read.
    pub regions: Vec<RegionAnswer>,
    /// The manager's counts added up, over the batches that it answered; absent where no answer was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// At most 100 nodes that need a look: those that were rejected, failed or deferred before those that lost
    /// tags other than reserved ones or, in a dry run, would be updated.
    pub nodes: Vec<NodeAnswer>,
    /// How many more there are.
    pub nodes_omitted: usize,
    /// What became of the nodes of terminated instances, added up in the same way; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated: Option<TerminatedCounts>,
    /// The instances asked for that no Region showed: they are not there, or carry no tag `managedinstanceid`. Where a Region has an error they may also be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_found: Vec<Ec2InstanceId>,
    /// The Regions of a tag change that are not in `COLLECT_REGIONS`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored_regions: Vec<Region>,
}

/// What was read in a Region and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionAnswer {
    /// The Region.
    pub region: Region,
    /// Instances read that name a managed node.
    pub instances: usize,
    /// Terminated instances that were reported beside them. Absent where there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub terminated: usize,
    /// Batches that they made.
    pub batches: usize,
    /// Batches that the manager did not take.
    pub failed_batches: usize,
    /// Instances in those.
    pub failed_instances: usize,
    /// Why reading stopped before the end, or else why the first failed batch was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// Why a Region was not read, or a batch not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The error code of AWS, the error type of the manager, or one of the collector's own:
    /// `DeadlineExceeded`, `FunctionError`, `UnexpectedStatus`, `UnreadableAnswer`, `UnexpectedAnswer`.
    pub code: String,
    /// The same in words.
    pub message: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference to the field over")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Failure {
    /// A failure with a code of the collector's own.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

impl From<AwsError> for Failure {
    fn from(error: AwsError) -> Self {
        Self { message: error.to_string(), code: error.code }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new("EncodingFailed", error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Most messages name their code already.
        if !self.message.contains(&self.code) {
            write!(f, "{}: ", self.code)?;
        }
        f.write_str(&self.message)
    }
}

impl SweepAnswer {
    /// True where every Region was read to its end and every batch taken.
    pub fn is_complete(&self) -> bool {
        self.regions.iter().all(RegionAnswer::is_complete)
    }

    /// What failed, Region by Region, in words.
    pub fn problems(&self) -> String {
        let partial: Vec<_> = self.regions.iter().filter(|region| !region.is_complete()).collect();
        let mut text = format!("{} of {} Regions not collected in full", partial.len(), self.regions.len());
        for (index, region) in partial.iter().enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            // Writing to a string does not fail.
            let _ = write!(text, "{separator}{region}");
        }
        text
    }
}

impl RegionAnswer {
    /// True where the Region was read to its end and every batch taken.
    pub fn is_complete(&self) -> bool {
        self.error.is_none() && self.failed_batches == 0
    }
}

impl fmt::Display for RegionAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, instances, batches, failed_batches, failed_instances, error, .. } = self;
        write!(f, "{region}")?;
        if *failed_batches > 0 {
            write!(
                f,
                ", {failed_batches} of {batches} batches with {failed_instances} of {instances} instances failed"
            )?;
        }
        match error {
            Some(error) => write!(f, ", {error}"),
            None => Ok(()),
        }
    }
}

/// The nodes that need a look, as they come in: those in trouble first.
#[derive(Debug, Default)]
pub struct Attention {
    trouble: Vec<NodeAnswer>,
    notes: Vec<NodeAnswer>,
    count: usize,
}

impl Attention {
    /// Keeps a node where it needs a look and there is room.
    pub fn push(&mut self, node: NodeAnswer) {
        let list = match node.outcome {
            Outcome::Rejected { .. } | Outcome::Failed { .. } | Outcome::Deferred => &mut self.trouble,
            Outcome::WouldUpdate => &mut self.notes,
            _ if node.notable_drops().next().is_some() => &mut self.notes,
            _ => return,
        };
        self.count += 1;
        if list.len() < NODES_MAX {
            list.push(node);
        }
    }

    /// The nodes to list, and how many there are beside them.
    pub fn finish(self) -> (Vec<NodeAnswer>, usize) {
        let mut nodes = self.trouble;
        nodes.extend(self.notes);
        nodes.truncate(NODES_MAX);
        let omitted = self.count - nodes.len();
        (nodes, omitted)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hub::{DropReason, DroppedTag, Rejection};

    use super::*;

    fn node(outcome: Outcome, dropped: usize) -> NodeAnswer {
        let reserved = DroppedTag { key: "aws:autoscaling:groupName".to_owned(), reason: DropReason::Reserved };
        let tag = DroppedTag { key: "a#b".to_owned(), reason: DropReason::Character };
        NodeAnswer {
            instance_id: "mi-0123456789abcdef0".to_owned(),
            ec2_instance_id: None,
            outcome,
            set: BTreeMap::new(),
            removed: Vec::new(),
            dropped: [vec![reserved], vec![tag; dropped]].concat(),
        }
    }

    fn attention(nodes: impl IntoIterator<Item = NodeAnswer>) -> (Vec<NodeAnswer>, usize) {
        let mut attention = Attention::default();
        nodes.into_iter().for_each(|node| attention.push(node));
        attention.finish()
    }

    #[test]
    fn only_nodes_that_need_a_look_are_listed() {
        let rejected = Outcome::Rejected { reason: Rejection::NotOwned };
        let failed = Outcome::Failed { code: "Throttling".into(), message: "slow down".into(), retryable: true };
        for (outcome, dropped, is_listed) in [
            (Outcome::Updated, 0, false),
            (Outcome::Unchanged, 0, false),
            (Outcome::Updated, 1, true),
            (Outcome::Unchanged, 1, true),
            (Outcome::WouldUpdate, 0, true),
            (rejected, 0, true),
            (failed, 0, true),
            (Outcome::Deferred, 0, true),
        ] {
            let (nodes, omitted) = attention([node(outcome.clone(), dropped)]);
            assert_eq!((nodes.len(), omitted), (usize::from(is_listed), 0), "{outcome:?} {dropped}");
        }
    }

    #[test]
    fn nodes_in_trouble_come_first_and_the_rest_is_counted() {
        let notes = (0..150).map(|_| node(Outcome::Updated, 1));
        let (listed, omitted) = attention(notes.chain([node(Outcome::Deferred, 0)]));
        assert_eq!((listed.len(), omitted), (100, 51));
        assert_eq!(listed[0].outcome, Outcome::Deferred);
    }
}
