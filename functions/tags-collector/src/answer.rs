//! What a sweep came to.

use std::fmt::{self, Write as _};

use hub::{AccountId, Counts, Coverage, Ec2InstanceId, NodeAnswer, Outcome, Region, TerminatedCounts};
use serde::Serialize;

use crate::plan::{RegionResult, RetrySet};
use crate::ports::Failure;

/// How many nodes the answer lists.
const NODES_MAX: usize = 100;

/// What a sweep came to.
#[derive(Debug)]
pub struct SweepOutcome {
    /// What the caller is told.
    pub answer: SweepAnswer,
    /// Regions that were not read to their end.
    pub unread_region_count: usize,
    /// Tags that nodes lost, without the reserved ones.
    pub tags_dropped: usize,
    /// What has to be tried again if instances were asked for by ID.
    pub retry: RetrySet,
}

/// The answer to everything that did not come through a queue.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepAnswer {
    /// The agency's account.
    pub account: AccountId,
    /// True if nothing was written.
    pub dry_run: bool,
    /// One entry for each Region that was to be read.
    pub regions: Vec<RegionAnswer>,
    /// The manager's counts added up, over the batches that it answered; absent if no answer was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// At most 100 nodes that need a look: those that were rejected, failed, deferred, adopted, superseded or
    /// unlinked before those that lost tags other than reserved ones or, in a dry run, would be updated.
    pub nodes: Vec<NodeAnswer>,
    /// How many more there are.
    pub nodes_omitted: usize,
    /// What became of the nodes of terminated instances, added up in the same way; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated: Option<TerminatedCounts>,
    /// The instances asked for that no Region showed: they are gone, or carry no tag `managedinstanceid`. If a Region
    /// has an error they may also be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_found: Vec<Ec2InstanceId>,
    /// Those of them that EC2 shows, and that carry no tag `managedinstanceid`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub untagged: Vec<Ec2InstanceId>,
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
    /// Terminated instances that were reported beside them. Absent if there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub terminated: usize,
    /// Instances without the tag `managedinstanceid` that were reported beside them. Absent if there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub untagged: usize,
    /// How many of the Region's instances have a node. Absent unless all were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageCounts>,
    /// Batches that they made. A Region of which all instances were read has one even without an instance.
    pub batches: usize,
    /// Batches that the manager did not take.
    pub failed_batches: usize,
    /// Instances in those.
    pub failed_instances: usize,
    /// Why reading stopped before the end, or else why the first failed batch was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// How many instances of a Region there are that are not terminated, and how many of them have a managed node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CoverageCounts {
    /// Instances that are pending or running.
    pub running: usize,
    /// Instances that are stopping, stopped or shutting down.
    pub stopped: usize,
    /// Instances that name a managed node.
    pub managed: usize,
    /// Running instances that name none.
    pub unmanaged: usize,
}

impl From<&Coverage> for CoverageCounts {
    fn from(coverage: &Coverage) -> Self {
        let Coverage { running, stopped, managed, unmanaged, unmanaged_omitted } = coverage;
        let unmanaged = unmanaged.len() + unmanaged_omitted;
        Self { running: *running, stopped: *stopped, managed: *managed, unmanaged }
    }
}

/// The answer to an event of SQS: the messages that have to come again.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueAnswer {
    /// One entry for each of them.
    pub batch_item_failures: Vec<ItemFailure>,
}

/// A message that has to come again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    /// The ID of the message.
    pub item_identifier: String,
}

impl<'a> FromIterator<&'a str> for QueueAnswer {
    fn from_iter<I: IntoIterator<Item = &'a str>>(message_ids: I) -> Self {
        let failures = message_ids.into_iter().map(|id| ItemFailure { item_identifier: id.to_owned() });
        Self { batch_item_failures: failures.collect() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference to the field over")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl SweepAnswer {
    /// True if every Region was read to its end and every batch taken.
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
    /// A Region of which nothing is known yet.
    pub fn new(region: Region) -> Self {
        Self {
            region,
            instances: 0,
            terminated: 0,
            untagged: 0,
            coverage: None,
            batches: 0,
            failed_batches: 0,
            failed_instances: 0,
            error: None,
        }
    }

    /// Adds what was read.
    pub fn add(&mut self, read: &RegionResult) {
        self.instances = read.instance_count;
        self.terminated = read.terminated_count;
        self.untagged = read.untagged_count;
        self.coverage = read.coverage.as_ref().map(CoverageCounts::from);
    }

    /// True if the Region was read to its end and every batch taken.
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

/// True if somebody may have to do something about the node.
pub fn is_trouble(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Updated | Outcome::WouldUpdate | Outcome::Unchanged => false,
        Outcome::Rejected { .. }
        | Outcome::Failed { .. }
        | Outcome::Deferred
        | Outcome::Adopted
        | Outcome::Superseded
        | Outcome::Unlinked => true,
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
    /// Keeps a node if it needs a look and there is room.
    pub fn push(&mut self, node: NodeAnswer) {
        let list = match &node.outcome {
            outcome if is_trouble(outcome) => &mut self.trouble,
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
            (Outcome::Adopted, 0, true),
            (Outcome::Superseded, 0, true),
            (Outcome::Unlinked, 0, true),
        ] {
            let (nodes, omitted) = attention([node(outcome.clone(), dropped)]);
            assert_eq!((nodes.len(), omitted), (usize::from(is_listed), 0), "{outcome:?} {dropped}");
        }
    }

    #[test]
    fn a_node_that_lost_its_link_comes_before_one_that_lost_a_tag() {
        let (listed, _) = attention([node(Outcome::Updated, 1), node(Outcome::Unlinked, 0)]);
        assert_eq!(listed.iter().map(|node| node.outcome.into_str()).collect::<Vec<_>>(), ["unlinked", "updated"]);
    }

    #[test]
    fn nodes_in_trouble_come_first_and_the_rest_is_counted() {
        let notes = (0..150).map(|_| node(Outcome::Updated, 1));
        let (listed, omitted) = attention(notes.chain([node(Outcome::Deferred, 0)]));
        assert_eq!((listed.len(), omitted), (100, 51));
        assert_eq!(listed[0].outcome, Outcome::Deferred);
    }
}
