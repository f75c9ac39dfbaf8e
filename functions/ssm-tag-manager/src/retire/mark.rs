//! Marking the nodes of terminated instances.
//!
//! A mark alone does nothing. It is a tag that says when an agency reported the EC2 instance behind a node as
//! terminated; what becomes of the node is decided later, and on more evidence.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _};
use hub::{AGENCY_TAG_KEY, AccountId, ManagedInstanceId, Report, SOURCE_TAG_KEY, TerminatedCounts, Timestamp};

use super::{Mode, Retirable, Source};
use crate::config::{Config, OwnershipCheck};
use crate::deadline::{Deadline, Stopped};
use crate::plan::{MAX_TAGS_PER_NODE, Mark, Tags};

/// A filter of `GetResources` takes at most 20 values:
/// <https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_TagFilter.html>.
const SOURCES_PER_FIND: usize = 20;
/// Nodes that are worked on at the same time, as with reports.
const NODE_CONCURRENCY: usize = 8;

/// Whose instances are gone, as of when, and what may be done about it.
#[derive(Debug)]
pub(crate) struct Marking<'a> {
    pub(crate) config: &'a Config,
    pub(crate) report: &'a Report,
    /// The account of the alias, where there is one.
    pub(crate) agency: Option<&'a AccountId>,
    pub(crate) observed_at: Timestamp,
    pub(crate) deadline: Deadline,
}

/// What became of the terminated instances of a report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) counts: TerminatedCounts,
    /// Failed with a chance, or deferred.
    pub(crate) retryable_count: usize,
}

/// What became of one node.
enum Outcome {
    Marked,
    Unchanged,
    Unknown,
    Rejected(Refusal),
}

/// Why a node is not marked.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    /// The EC2 instance id is none.
    InvalidId,
    /// The report does not say in which account and Region the instance was.
    NoPlace,
    /// The same report names the node as that of an instance that lives.
    Alive,
    /// The node belongs to another agency, or to none, or to another instance by now.
    NotOwned,
    /// The node carries as many tags as it can.
    NodeFull,
}

/// Marks the nodes of the report's terminated instances. Makes no call where retirement is off.
pub(crate) async fn mark(marking: &Marking<'_>, nodes: &impl Retirable) -> Marked {
    let terminated = &marking.report.terminated;
    let mut marked = Marked::default();
    marked.counts.received = terminated.len();
    if marking.mode() == Mode::Off {
        marked.counts.ignored = terminated.len();
        return marked;
    }
    let mut sources = BTreeSet::new();
    for instance in terminated {
        match marking.source(&instance.ec2_instance_id) {
            Ok(source) => drop(sources.insert(source.to_string())),
            Err(refusal) => {
                tracing::warn!(ec2_instance_id = instance.ec2_instance_id, reason = refusal.name(), "node not marked");
                marked.counts.rejected += 1;
            }
        }
    }
    let sources = Vec::from_iter(sources);
    for chunk in sources.chunks(SOURCES_PER_FIND) {
        marking.mark_some(nodes, chunk, &mut marked).await;
    }
    marked
}

impl Marking<'_> {
    fn mode(&self) -> Mode {
        self.config.retire.mode.with_dry_run(self.report.dry_run)
    }

    /// The tag that the node of one of the report's instances carries.
    fn source(&self, ec2_instance_id: &str) -> Result<Source, Refusal> {
        let account = self.agency.or(self.report.account.as_ref()).ok_or(Refusal::NoPlace)?;
        let region = self.report.region.as_ref().ok_or(Refusal::NoPlace)?;
        let ec2_instance_id = ec2_instance_id.parse().map_err(|_| Refusal::InvalidId)?;
        Ok(Source { account: account.clone(), region: region.clone(), ec2_instance_id })
    }

    async fn mark_some(&self, nodes: &impl Retirable, sources: &[String], marked: &mut Marked) {
        let found = match self.deadline.call(nodes.find(SOURCE_TAG_KEY, sources)).await {
            Ok(found) => found,
            Err(stopped) => {
                let code = if let Stopped::Failed(error) = &stopped { error.code.as_str() } else { "DeadlineExceeded" };
                tracing::warn!(count = sources.len(), code, "nodes of terminated instances not found");
                return marked.add_stopped(&stopped, sources.len());
            }
        };
        let named: BTreeSet<&String> = found.values().filter_map(|tags| tags.get(SOURCE_TAG_KEY)).collect();
        marked.counts.unknown += sources.iter().filter(|source| !named.contains(source)).count();
        let mut outcomes = std::pin::pin!(
            stream::iter(&found)
                .map(async |(node, seen)| (node, seen, self.mark_one(nodes, sources, node, seen).await))
                .buffer_unordered(NODE_CONCURRENCY)
        );
        while let Some((node, seen, outcome)) = outcomes.next().await {
            match outcome {
                Ok(outcome) => {
                    self.log(node, seen, &outcome);
                    marked.add(&outcome);
                }
                Err(stopped) => {
                    log_stopped(node, &stopped);
                    marked.add_stopped(&stopped, 1);
                }
            }
        }
    }

    async fn mark_one(
        &self,
        nodes: &impl Retirable,
        sources: &[String],
        node: &ManagedInstanceId,
        seen: &Tags,
    ) -> Result<Outcome, Stopped> {
        if Mark::of(seen).is_some() {
            return Ok(Outcome::Unchanged);
        }
        if self.report.instances.iter().any(|instance| instance.instance_id == node.as_str()) {
            return Ok(Outcome::Rejected(Refusal::Alive));
        }
        // What was found may be old: the node itself says whose it is, and whether there is room.
        let Some(live) = self.deadline.call(nodes.read(node)).await? else { return Ok(Outcome::Unknown) };
        if Mark::of(&live).is_some() {
            return Ok(Outcome::Unchanged);
        }
        let is_source = live.get(SOURCE_TAG_KEY).is_some_and(|source| sources.contains(source));
        if !is_source || !self.owns(&live) {
            return Ok(Outcome::Rejected(Refusal::NotOwned));
        }
        let mark = Mark(self.observed_at).to_tags();
        if live.len() >= MAX_TAGS_PER_NODE && mark.keys().any(|key| !live.contains_key(key)) {
            return Ok(Outcome::Rejected(Refusal::NodeFull));
        }
        if self.mode() == Mode::On {
            self.deadline.call(nodes.set(node, &mark)).await?;
        }
        Ok(Outcome::Marked)
    }

    fn owns(&self, live: &Tags) -> bool {
        let owner = live.get(AGENCY_TAG_KEY).map(String::as_str);
        self.config.ownership == OwnershipCheck::Off || owner.is_some() && owner == self.agency.map(AccountId::as_str)
    }

    fn log(&self, node: &ManagedInstanceId, seen: &Tags, outcome: &Outcome) {
        let source = Source::of(seen);
        let agency = source.as_ref().map(|source| source.account.as_str());
        let ec2_instance_id = source.as_ref().map(|source| source.ec2_instance_id.as_str());
        let instance_id = node.as_str();
        match outcome {
            Outcome::Marked => {
                let outcome = if self.mode() == Mode::On { "marked" } else { "would-mark" };
                tracing::info!(agency, instance_id, ec2_instance_id, outcome, "node of a terminated instance");
            }
            Outcome::Rejected(refusal) => {
                tracing::warn!(agency, instance_id, ec2_instance_id, reason = refusal.name(), "node not marked");
            }
            Outcome::Unchanged | Outcome::Unknown => {}
        }
    }
}

impl Marked {
    fn add(&mut self, outcome: &Outcome) {
        let count = match outcome {
            Outcome::Marked => &mut self.counts.marked,
            Outcome::Unchanged => &mut self.counts.unchanged,
            Outcome::Unknown => &mut self.counts.unknown,
            Outcome::Rejected(_) => &mut self.counts.rejected,
        };
        *count += 1;
    }

    fn add_stopped(&mut self, stopped: &Stopped, count: usize) {
        match stopped {
            Stopped::NotBegun | Stopped::CutOff => self.counts.deferred += count,
            // The node went away since it was found.
            Stopped::Failed(error) if error.code == "InvalidResourceId" => self.counts.unknown += count,
            Stopped::Failed(_) => self.counts.failed += count,
        }
        if !matches!(stopped, Stopped::Failed(error) if !error.retryable) {
            self.retryable_count += count;
        }
    }
}

impl Refusal {
    fn name(self) -> &'static str {
        match self {
            Self::InvalidId => "invalid-id",
            Self::NoPlace => "no-place",
            Self::Alive => "alive",
            Self::NotOwned => "not-owned",
            Self::NodeFull => "node-full",
        }
    }
}

fn log_stopped(node: &ManagedInstanceId, stopped: &Stopped) {
    if let Stopped::Failed(error) = stopped {
        tracing::warn!(instance_id = node.as_str(), code = error.code, "node not marked");
    }
}
