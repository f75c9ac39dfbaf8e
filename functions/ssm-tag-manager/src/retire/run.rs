//! One run of retirement: find the marked nodes, weigh the evidence, deregister.
//!
//! Agencies take turns, and within an agency the oldest markers come first, so that one agency does not use up the
//! limit of all. Nodes that their tags alone speak for cost no call, and so do those beyond the limit. A node is
//! deregistered under the lease of its agency, after a last look at its tags. What goes wrong with one node is its
//! outcome; only if the marked nodes cannot be found at all does the run end in an error.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use hub::{AccountId, AwsError, ManagedInstanceId, TERMINATED_TAG_KEY, Timestamp, decode_str};

use super::evidence::{Reason, Rules, Verdict, obstacle_in_tags, verdict};
use super::share::take_turns;
use super::{RetireAnswer, RetireEvent, RetireOutcome};
use crate::answer::LeaseUse;
use crate::config::{Config, Mode, OwnershipCheck};
use crate::error::ManagerError;
use crate::handler::{Clock, Invocation, Job, Slice, Writer};
use crate::plan::{NodeIntent, Source, Tags, TerminationMarker};
use crate::ports::{Information, LeaseName, Leases, Retirable};
use lambda_kit::{Deadline, Stopped};

/// `DescribeInstanceInformation` gives at most 50 nodes a page:
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeInstanceInformation.html>.
const NODES_PER_READ: usize = 50;
/// A lease whose holder died has ended by then.
const LEASE_PATIENCE: Duration = Duration::from_secs(45);
/// Nodes that are read by themselves at the same time in a dry run.
const NODE_CONCURRENCY: usize = 8;

/// Carries out the event `{"action": "retire"}`.
///
/// # Errors
/// `Unauthenticated` for whoever comes through an alias: an agency may mark its nodes, and not deregister any.
/// `InvalidEvent`, and `MarksUnread` if the marked nodes could not be found.
pub async fn retire(
    config: &Config,
    ports: &(impl Retirable + Leases),
    invocation: &Invocation,
    event: &str,
) -> Result<RetireAnswer, ManagerError> {
    if !matches!(invocation.arn.qualifier.as_deref(), None | Some("$LATEST")) {
        return Err(ManagerError::RetireThroughAlias { invoked_arn: invocation.arn.to_string() });
    }
    let RetireEvent { dry_run, .. } = decode_str(event).map_err(ManagerError::InvalidEvent)?;
    let mode = config.retire.mode.with_dry_run(dry_run);
    if mode == Mode::Off {
        tracing::info!(%mode, "retirement is off; nothing to do");
        return Ok(RetireAnswer::off());
    }
    let run = Run {
        ports,
        rules: Rules { grace_hours: config.retire.grace_hours, ownership: config.ownership },
        bulk_writers: config.bulk_writers,
        now: invocation.now.into(),
        left: config.retire.limit.into(),
        deadline: invocation.deadline(),
        clock: Clock::new(invocation),
        answer: RetireAnswer::new(mode),
        busy: BTreeSet::new(),
    };
    let answer = run.retire().await?;
    let counts = answer.counts;
    tracing::info!(
        %mode,
        marked = counts.marked,
        retired = counts.retired,
        kept = counts.kept,
        failed = counts.failed,
        "checked marked nodes"
    );
    Ok(answer)
}

/// A run on its way.
struct Run<'a, P> {
    ports: &'a P,
    rules: Rules,
    bulk_writers: u8,
    now: Timestamp,
    /// How many nodes may still be deregistered.
    left: usize,
    deadline: Deadline,
    clock: Clock,
    answer: RetireAnswer,
    /// Leases that were not to be had in this run: nobody waits for them twice.
    busy: BTreeSet<LeaseName>,
}

/// A node that its tags, as they were found, do not speak for.
#[derive(Clone)]
struct Due {
    node: ManagedInstanceId,
    tags: Tags,
    information: Option<Information>,
}

/// What came of trying to deregister a node, and how many places of the limit that took.
struct Deregistered {
    outcome: RetireOutcome,
    places: usize,
}

/// What Systems Manager says about some nodes at once.
enum Read {
    Together(BTreeMap<ManagedInstanceId, Information>),
    /// One of them is unknown, and nobody says which: each has to be asked for by itself.
    OneByOne,
    Stopped(RetireOutcome),
}

impl Due {
    fn agency(&self) -> Option<AccountId> {
        Source::of(&self.tags).map(|source| source.account)
    }
}

impl<P: Retirable + Leases> Run<'_, P> {
    async fn retire(mut self) -> Result<RetireAnswer, ManagerError> {
        let found = self.deadline.call(self.ports.find(TERMINATED_TAG_KEY, &[])).await;
        let mut due = Vec::new();
        for (node, tags) in found.map_err(unread)? {
            match obstacle_in_tags(&tags, self.now, self.rules) {
                Some(reason) => self.answer.add(node, &tags, RetireOutcome::Kept { reason }),
                None => due.push(Due { node, tags, information: None }),
            }
        }
        due.sort_by_key(|due| TerminationMarker::of(&due.tags));
        let due = take_turns(due, Due::agency);
        for chunk in due.chunks(NODES_PER_READ) {
            let mut proven = Vec::new();
            let read = self.read(chunk).await;
            for due in chunk {
                match self.weigh(due, &read).await {
                    Ok(due) => proven.push(due),
                    Err(outcome) => self.add(due, outcome),
                }
            }
            self.retire_proven(proven).await;
        }
        Ok(self.answer.finish())
    }

    async fn read(&self, chunk: &[Due]) -> Read {
        if self.left == 0 {
            return Read::Stopped(RetireOutcome::Kept { reason: Reason::Limit });
        }
        let ids: Vec<ManagedInstanceId> = chunk.iter().map(|due| due.node.clone()).collect();
        match self.deadline.call(self.ports.information(&ids)).await {
            Ok(read) => Read::Together(read),
            Err(Stopped::Failed(error)) if error.code == "InvalidInstanceId" => Read::OneByOne,
            Err(stopped) => Read::Stopped(outcome_of(stopped)),
        }
    }

    /// Weighs the evidence on the tags as they were found: the node with what speaks against it, or why it stays.
    async fn weigh(&self, due: &Due, read: &Read) -> Result<Due, RetireOutcome> {
        let information = match read {
            Read::Together(read) => read.get(&due.node).copied(),
            Read::OneByOne => {
                let alone = self.deadline.call(self.ports.information(std::slice::from_ref(&due.node))).await;
                alone.map_err(outcome_of)?.remove(&due.node)
            }
            Read::Stopped(outcome) => return Err(outcome.clone()),
        };
        match verdict(Some(&due.tags), information.as_ref(), self.now, self.rules, self.left) {
            Verdict::Retire => Ok(Due { information, ..due.clone() }),
            Verdict::Keep(reason) => Err(RetireOutcome::Kept { reason }),
        }
    }

    /// Retires as many as the limit allows. A node that turns out to live leaves its place to the next one.
    async fn retire_proven(&mut self, mut proven: Vec<Due>) {
        while !proven.is_empty() {
            if self.left == 0 {
                for due in proven {
                    self.add(&due, RetireOutcome::Kept { reason: Reason::Limit });
                }
                return;
            }
            let rest = proven.split_off(self.left.min(proven.len()));
            for (due, Deregistered { outcome, places }) in self.retire_some(proven).await {
                self.left = self.left.saturating_sub(places);
                self.add(&due, outcome);
            }
            proven = rest;
        }
    }

    async fn retire_some(&mut self, proven: Vec<Due>) -> Vec<(Due, Deregistered)> {
        if self.answer.mode != Mode::On {
            let looked = stream::iter(proven).map(async |due| {
                let outcome = match self.last_look(self.deadline, &due).await {
                    Ok(()) => Deregistered { outcome: RetireOutcome::WouldRetire, places: 1 },
                    Err(outcome) => Deregistered { outcome, places: 0 },
                };
                (due, outcome)
            });
            return looked.buffer_unordered(NODE_CONCURRENCY).collect().await;
        }
        let mut by_lease: BTreeMap<LeaseName, Vec<Job<Due>>> = BTreeMap::new();
        for due in proven {
            let lease = match (due.agency(), self.rules.ownership) {
                (Some(agency), OwnershipCheck::Enforce) => LeaseName::Agency(agency),
                _ => LeaseName::AllAgencies,
            };
            let job = Job { node: due.node.clone(), intent: NodeIntent::default(), arrival: None, item: due };
            by_lease.entry(lease).or_default().push(job);
        }
        let mut done = Vec::new();
        let mut agencies_left = u32::try_from(by_lease.len()).unwrap_or(u32::MAX);
        for (lease, jobs) in by_lease {
            let (finished, deferred) = if self.busy.contains(&lease) {
                (Vec::new(), jobs.into_iter().map(|job| job.item).collect())
            } else {
                let writer = Writer {
                    ports: self.ports,
                    lease: lease.clone(),
                    clock: &self.clock,
                    deadline: self.deadline,
                    // An agency whose lease is never free leaves time for everybody else.
                    patience: LEASE_PATIENCE.min(self.deadline.time_left() / (agencies_left + 1)),
                    bulk_writers: self.bulk_writers,
                };
                let work = async |slice: &Slice<'_, P>, due: &Due| self.deregister(slice, due).await;
                writer.run(jobs, &mut LeaseUse::default(), work).await
            };
            agencies_left -= 1;
            if !deferred.is_empty() {
                self.busy.insert(lease);
            }
            done.extend(finished);
            let outcome = RetireOutcome::Kept { reason: Reason::Deferred };
            done.extend(deferred.into_iter().map(|due| (due, Deregistered { outcome: outcome.clone(), places: 0 })));
        }
        done
    }

    /// Weighs the evidence once more, on the tags that the node carries right now.
    async fn last_look(&self, deadline: Deadline, due: &Due) -> Result<(), RetireOutcome> {
        let live = deadline.call(self.ports.read(&due.node)).await.map_err(outcome_of)?;
        match verdict(live.as_ref(), due.information.as_ref(), self.now, self.rules, 1) {
            Verdict::Retire => Ok(()),
            Verdict::Keep(reason) => Err(RetireOutcome::Kept { reason }),
        }
    }

    /// Deregisters a node under the lease. The wait for that may have been long, and the agent may be back.
    async fn deregister(&self, slice: &Slice<'_, P>, due: &Due) -> Deregistered {
        let kept = |outcome| Deregistered { outcome, places: 0 };
        let due = match slice.call(self.ports.information(std::slice::from_ref(&due.node))).await {
            Ok(mut known) => Due { information: known.remove(&due.node), ..due.clone() },
            Err(stopped) => return kept(outcome_of(stopped)),
        };
        if let Err(outcome) = self.last_look(slice.deadline, &due).await {
            return kept(outcome);
        }
        let stopped = match slice.call(self.ports.deregister(&due.node)).await {
            Ok(()) => return Deregistered { outcome: RetireOutcome::Retired, places: 1 },
            Err(stopped) => stopped,
        };
        // What AWS plainly refused takes nobody's place. Of all else nobody knows whether it was done.
        let may_be_done = match &stopped {
            Stopped::NotBegun => false,
            Stopped::CutOff => true,
            Stopped::Failed(error) => error.retryable,
        };
        Deregistered { outcome: outcome_of(stopped), places: usize::from(may_be_done) }
    }

    fn add(&mut self, due: &Due, outcome: RetireOutcome) {
        log(due, &outcome);
        self.answer.add(due.node.clone(), &due.tags, outcome);
    }
}

fn outcome_of(stopped: Stopped) -> RetireOutcome {
    match stopped {
        Stopped::NotBegun => RetireOutcome::Kept { reason: Reason::Deferred },
        Stopped::CutOff => failed("DeadlineExceeded", "time ran out before AWS answered".to_owned()),
        // The node went away in between.
        Stopped::Failed(error) if matches!(error.code.as_str(), "InvalidInstanceId" | "InvalidResourceId") => {
            RetireOutcome::Kept { reason: Reason::UnknownNode }
        }
        Stopped::Failed(error) => {
            let message = error.to_string();
            failed(&error.code, message)
        }
    }
}

fn failed(reason: &str, message: String) -> RetireOutcome {
    RetireOutcome::Failed { reason: reason.to_owned(), message }
}

fn unread(stopped: Stopped) -> ManagerError {
    ManagerError::MarksUnread(match stopped {
        Stopped::Failed(error) => error,
        Stopped::NotBegun | Stopped::CutOff => AwsError {
            operation: "tag:GetResources",
            code: "DeadlineExceeded".to_owned(),
            message: "time ran out before all pages were read".to_owned(),
            request_id: None,
            retryable: true,
        },
    })
}

/// A line for each node that is gone now, or that could not be dealt with.
fn log(due: &Due, outcome: &RetireOutcome) {
    let source = Source::of(&due.tags);
    let agency = source.as_ref().map(|source| source.account.as_str());
    let region = source.as_ref().map(|source| source.region.as_str());
    let ec2_instance_id = source.as_ref().map(|source| source.ec2_instance_id.as_str());
    let instance_id = due.node.as_str();
    match outcome {
        RetireOutcome::Retired => {
            tracing::info!(agency, region, instance_id, ec2_instance_id, outcome = "retired", "node retired");
        }
        RetireOutcome::WouldRetire => {
            tracing::info!(agency, region, instance_id, ec2_instance_id, outcome = "would-retire", "node not retired");
        }
        RetireOutcome::Failed { reason: code, .. } => {
            tracing::warn!(agency, region, instance_id, ec2_instance_id, outcome = "failed", code, "node not retired");
        }
        RetireOutcome::Kept { .. } => {}
    }
}
