//! Marking the nodes of terminated instances.
//!
//! The marker alone does nothing. It is a tag that says when the manager was told that the EC2 instance behind a node is
//! terminated; what becomes of the node is decided later, and on more evidence.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt as _};
use hub::{ManagedInstanceId, SOURCE_TAG_KEY, TerminatedCounts};

use super::{Job, Run, Slice};
use crate::answer::{LeaseUse, shown_id};
use crate::config::Mode;
use crate::plan::{MAX_TAGS_PER_NODE, NodeIntent, Source, Tags, TerminationMarker};
use crate::ports::{Leases, Nodes, SOURCES_PER_FIND};
use lambda_kit::Stopped;

/// Nodes that are worked on at the same time, as with reports.
const NODE_CONCURRENCY: usize = 8;

/// What became of the terminated instances of a report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) counts: TerminatedCounts,
    /// Failed with a chance, or deferred.
    pub(super) retryable_count: usize,
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
    /// The EC2 instance ID is malformed.
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

/// Marks the nodes of the report's terminated instances. Makes no call if retirement is off.
pub(super) async fn mark<P: Nodes + Leases>(run: &Run<'_, P>, lease_use: &mut LeaseUse) -> Marked {
    let terminated = &run.report.terminated;
    let mut marked = Marked::default();
    marked.counts.received = terminated.len();
    let mode = run.config.retire.mode.with_dry_run(run.report.dry_run);
    if mode == Mode::Off {
        marked.counts.ignored = terminated.len();
        return marked;
    }
    let mut sources = BTreeSet::new();
    for instance in terminated {
        match source(run, &instance.ec2_instance_id) {
            Ok(source) => drop(sources.insert(source.to_string())),
            Err(refusal) => {
                if run.lines.spend() {
                    let ec2_instance_id = shown_id(&instance.ec2_instance_id);
                    tracing::warn!(ec2_instance_id, reason = refusal.name(), "node not marked");
                }
                marked.counts.rejected += 1;
            }
        }
    }
    let marking = Marking { run, mode, sources: &sources };
    let mut jobs = Vec::new();
    let all: Vec<String> = sources.iter().cloned().collect();
    for chunk in all.chunks(SOURCES_PER_FIND) {
        marking.look(chunk, &mut marked, &mut jobs).await;
    }
    let work = async |slice: &Slice<'_, P>, node: &Found| marking.mark(slice, node).await;
    let (done, deferred) = run.writer().run(jobs, lease_use, work).await;
    for (node, outcome) in done {
        marking.count(&node, outcome, &mut marked);
    }
    marked.counts.deferred += deferred.len();
    marked.retryable_count += deferred.len();
    marked
}

/// The instance of the report as the tag of its node spells it.
fn source<P: Nodes + Leases>(run: &Run<'_, P>, ec2_instance_id: &str) -> Result<Source, Refusal> {
    if run.agency.is_none() && run.report.account.is_none() || run.report.region.is_none() {
        return Err(Refusal::NoPlace);
    }
    run.source(ec2_instance_id).ok_or(Refusal::InvalidId)
}

/// A node that carries the source of a terminated instance.
struct Found {
    node: ManagedInstanceId,
    seen: Tags,
}

struct Marking<'a, P> {
    run: &'a Run<'a, P>,
    mode: Mode,
    sources: &'a BTreeSet<String>,
}

impl<P: Nodes + Leases> Marking<'_, P> {
    /// Finds nodes, settles what needs no write, and leaves the others to be written.
    async fn look(&self, sources: &[String], marked: &mut Marked, jobs: &mut Vec<Job<Found>>) {
        let found = match self.run.deadline.call(self.run.ports.find(SOURCE_TAG_KEY, sources)).await {
            Ok(found) => found,
            Err(stopped) => {
                let code = stopped.code();
                tracing::warn!(instances = sources.len(), code, "failed to look up terminated instances' nodes");
                return marked.add_stopped(&stopped, sources.len());
            }
        };
        let (found, failed_count) = self.with_arrivals(found, sources, marked).await;
        let named: BTreeSet<&String> = found.values().filter_map(|tags| tags.get(SOURCE_TAG_KEY)).collect();
        let unnamed_count = sources.iter().filter(|source| !named.contains(source)).count();
        marked.counts.unknown += unnamed_count - failed_count.min(unnamed_count);
        let looked: Vec<(Found, Result<Option<Outcome>, Stopped>)> = stream::iter(found)
            .map(async |(node, seen)| {
                let outcome = self.outcome_without_write(&node, &seen).await;
                (Found { node, seen }, outcome)
            })
            .buffer_unordered(NODE_CONCURRENCY)
            .collect()
            .await;
        for (found, outcome) in looked {
            match outcome {
                Ok(None) => jobs.push(Job {
                    node: found.node.clone(),
                    intent: NodeIntent::default(),
                    arrival: None,
                    item: found,
                }),
                Ok(Some(outcome)) => self.count(&found, Ok(outcome), marked),
                Err(stopped) => self.count(&found, Err(stopped), marked),
            }
        }
    }

    /// Adds the nodes that were linked to the instances so shortly before that the bulk read does not show them: nobody
    /// may report these instances again. Also gives how many could not be looked up.
    async fn with_arrivals(
        &self,
        mut found: BTreeMap<ManagedInstanceId, Tags>,
        sources: &[String],
        marked: &mut Marked,
    ) -> (BTreeMap<ManagedInstanceId, Tags>, usize) {
        let settled = found.values().filter(|tags| TerminationMarker::of(tags).is_some());
        let settled: BTreeSet<&String> = settled.filter_map(|tags| tags.get(SOURCE_TAG_KEY)).collect();
        let open: Vec<&String> = sources.iter().filter(|source| !settled.contains(source)).collect();
        let known = &found;
        let arrived: Vec<Result<_, Stopped>> = stream::iter(open)
            .map(async |source| {
                let mut arrived = Vec::new();
                for node in self.run.deadline.call(self.run.ports.arrived(source)).await? {
                    if !known.contains_key(&node)
                        && let Some(live) = self.run.deadline.call(self.run.ports.read(&node)).await?
                        && live.get(SOURCE_TAG_KEY) == Some(source)
                    {
                        arrived.push((node, live));
                    }
                }
                Ok(arrived)
            })
            .buffer_unordered(NODE_CONCURRENCY)
            .collect()
            .await;
        let mut failures = Vec::new();
        for arrived in arrived {
            match arrived {
                Ok(arrived) => found.extend(arrived),
                Err(stopped) => failures.push(stopped),
            }
        }
        if let Some(first) = failures.first() {
            let (instances, code) = (failures.len(), first.code());
            tracing::warn!(instances, code, "failed to look up terminated instances' latest nodes");
        }
        for stopped in &failures {
            marked.add_stopped(stopped, 1);
        }
        (found, failures.len())
    }

    /// What becomes of a node that is not written; nothing if it is to be.
    async fn outcome_without_write(&self, node: &ManagedInstanceId, seen: &Tags) -> Result<Option<Outcome>, Stopped> {
        if TerminationMarker::of(seen).is_some() {
            return Ok(Some(Outcome::Unchanged));
        }
        if self.run.report.instances.iter().any(|instance| instance.instance_id == node.as_str()) {
            return Ok(Some(Outcome::Rejected(Refusal::Alive)));
        }
        if self.mode == Mode::On {
            return Ok(None);
        }
        Ok(Some(match self.run.deadline.call(self.run.ports.read(node)).await? {
            None => Outcome::Unknown,
            Some(live) => self.obstacle(&live).unwrap_or(Outcome::Marked),
        }))
    }

    /// Marks a node, under the lease. What was found may be old: the node itself says whose it is, and whether there
    /// is room.
    async fn mark(&self, slice: &Slice<'_, P>, Found { node, .. }: &Found) -> Result<Outcome, Stopped> {
        let run = self.run;
        let Some(live) = slice.call(run.ports.read(node)).await? else { return Ok(Outcome::Unknown) };
        if let Some(outcome) = self.obstacle(&live) {
            return Ok(outcome);
        }
        // By the manager's own clock: an agency cannot make a node look dead for longer than it was told of.
        slice.call(run.ports.set(node, &TerminationMarker(run.now).to_tags())).await?;
        Ok(Outcome::Marked)
    }

    /// Why a node with these tags is not marked.
    fn obstacle(&self, live: &Tags) -> Option<Outcome> {
        if TerminationMarker::of(live).is_some() {
            return Some(Outcome::Unchanged);
        }
        let is_source = live.get(SOURCE_TAG_KEY).is_some_and(|source| self.sources.contains(source));
        if !is_source || !self.run.owns(live) {
            return Some(Outcome::Rejected(Refusal::NotOwned));
        }
        let has_room = live.len() < MAX_TAGS_PER_NODE || live.contains_key(hub::TERMINATED_TAG_KEY);
        (!has_room).then_some(Outcome::Rejected(Refusal::NodeFull))
    }

    fn count(&self, found: &Found, outcome: Result<Outcome, Stopped>, marked: &mut Marked) {
        match outcome {
            Ok(outcome) => {
                self.log(&found.node, &found.seen, &outcome);
                marked.add(&outcome);
            }
            Err(stopped) => {
                self.log_stopped(&found.node, &stopped);
                marked.add_stopped(&stopped, 1);
            }
        }
    }

    fn log(&self, node: &ManagedInstanceId, seen: &Tags, outcome: &Outcome) {
        let source = Source::of(seen);
        let agency = source.as_ref().map(|source| source.account.as_str());
        let ec2_instance_id = source.as_ref().map(|source| source.ec2_instance_id.as_str());
        let instance_id = node.as_str();
        let is_news = matches!(outcome, Outcome::Marked | Outcome::Rejected(_));
        if !is_news || !self.run.lines.spend() {
            return;
        }
        match outcome {
            Outcome::Marked => {
                let outcome = if self.mode == Mode::On { "marked" } else { "would-mark" };
                tracing::info!(agency, instance_id, ec2_instance_id, outcome, "node of a terminated instance");
            }
            Outcome::Rejected(refusal) => {
                tracing::warn!(agency, instance_id, ec2_instance_id, reason = refusal.name(), "node not marked");
            }
            Outcome::Unchanged | Outcome::Unknown => {}
        }
    }

    fn log_stopped(&self, node: &ManagedInstanceId, stopped: &Stopped) {
        if let Stopped::Failed(error) = stopped
            && self.run.lines.spend()
        {
            tracing::warn!(instance_id = node.as_str(), code = error.code, "node not marked");
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
