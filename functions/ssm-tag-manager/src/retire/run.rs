//! One run of retirement: find the marked nodes, weigh the evidence, deregister.
//!
//! The oldest marks come first. Nodes that their tags alone speak for cost no call, and so do those beyond the limit.
//! What goes wrong with one node is its outcome; only where the marked nodes cannot be found at all does the run end
//! in an error.

use std::collections::BTreeMap;

use hub::{AwsError, ManagedInstanceId, TERMINATED_TAG_KEY, Timestamp, decode};
use serde_json::Value;

use super::evidence::{Information, Reason, Rules, Verdict, obstacle_in_tags, verdict};
use super::{Mode, Retirable, RetireAnswer, RetireEvent, RetireOutcome, Source};
use crate::config::Config;
use crate::deadline::{Deadline, Stopped};
use crate::error::ManagerError;
use crate::handler::Invocation;
use crate::plan::{Mark, Tags};

/// `DescribeInstanceInformation` gives at most 50 nodes a page:
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeInstanceInformation.html>.
const NODES_PER_READ: usize = 50;

/// Carries out the event `{"action": "retire"}`.
///
/// # Errors
/// `Unauthenticated` for whoever comes through an alias: an agency may mark its nodes, and not deregister any.
/// `InvalidEvent`, and `MarksUnread` where the marked nodes could not be found.
pub async fn retire(
    config: &Config,
    nodes: &impl Retirable,
    invocation: &Invocation,
    event: &Value,
) -> Result<RetireAnswer, ManagerError> {
    if !matches!(invocation.arn.qualifier.as_deref(), None | Some("$LATEST")) {
        return Err(ManagerError::RetireThroughAlias { invoked_arn: invocation.arn.to_string() });
    }
    let RetireEvent { dry_run, .. } = decode(event).map_err(ManagerError::InvalidEvent)?;
    let mode = config.retire.mode.with_dry_run(dry_run);
    if mode == Mode::Off {
        tracing::info!(%mode, "nothing is retired");
        return Ok(RetireAnswer::off());
    }
    let run = Run {
        rules: Rules { grace_hours: config.retire.grace_hours, ownership: config.ownership },
        now: invocation.now,
        left: config.retire.limit.into(),
        deadline: Deadline::new(invocation.budget),
        answer: RetireAnswer::new(mode),
    };
    let answer = run.retire(nodes).await?;
    let counts = answer.counts;
    tracing::info!(
        %mode,
        marked = counts.marked,
        retired = counts.retired,
        kept = counts.kept,
        failed = counts.failed,
        "marked nodes looked at"
    );
    Ok(answer)
}

/// A run on its way.
struct Run {
    rules: Rules,
    now: Timestamp,
    /// How many nodes may still be deregistered.
    left: usize,
    deadline: Deadline,
    answer: RetireAnswer,
}

/// A node that its tags, as they were found, do not speak for.
struct Due {
    node: ManagedInstanceId,
    tags: Tags,
}

/// What Systems Manager says about some nodes at once.
enum Read {
    Together(BTreeMap<ManagedInstanceId, Information>),
    /// One of them is unknown, and nobody says which: each has to be asked for by itself.
    OneByOne,
    Stopped(RetireOutcome),
}

impl Run {
    async fn retire(mut self, nodes: &impl Retirable) -> Result<RetireAnswer, ManagerError> {
        let found = self.deadline.call(nodes.find(TERMINATED_TAG_KEY, &[])).await;
        let mut due = Vec::new();
        for (node, tags) in found.map_err(unread)? {
            match obstacle_in_tags(&tags, self.now, self.rules) {
                Some(reason) => self.answer.add(node, &tags, RetireOutcome::Kept { reason }),
                None => due.push(Due { node, tags }),
            }
        }
        due.sort_by_key(|due| Mark::of(&due.tags));
        for chunk in due.chunks(NODES_PER_READ) {
            let read = self.read(nodes, chunk).await;
            for due in chunk {
                let outcome = self.finish(nodes, due, &read).await;
                log(due, &outcome);
                self.answer.add(due.node.clone(), &due.tags, outcome);
            }
        }
        Ok(self.answer.finish())
    }

    async fn read(&self, nodes: &impl Retirable, chunk: &[Due]) -> Read {
        if self.left == 0 {
            return Read::Stopped(RetireOutcome::Kept { reason: Reason::Limit });
        }
        let ids: Vec<ManagedInstanceId> = chunk.iter().map(|due| due.node.clone()).collect();
        match self.deadline.call(nodes.information(&ids)).await {
            Ok(read) => Read::Together(read),
            Err(Stopped::Failed(error)) if error.code == "InvalidInstanceId" => Read::OneByOne,
            Err(stopped) => Read::Stopped(outcome_of(stopped)),
        }
    }

    async fn finish(&mut self, nodes: &impl Retirable, due: &Due, read: &Read) -> RetireOutcome {
        if self.left == 0 {
            return RetireOutcome::Kept { reason: Reason::Limit };
        }
        let verdict = match self.weigh(nodes, due, read).await {
            Ok(verdict) => verdict,
            Err(outcome) => return outcome,
        };
        match verdict {
            Verdict::Keep(reason) => RetireOutcome::Kept { reason },
            Verdict::Retire if self.answer.mode == Mode::On => self.deregister(nodes, &due.node).await,
            Verdict::Retire => {
                self.left -= 1;
                RetireOutcome::WouldRetire
            }
        }
    }

    /// Weighs the evidence, at last on the tags that the node carries right now.
    async fn weigh(&self, nodes: &impl Retirable, due: &Due, read: &Read) -> Result<Verdict, RetireOutcome> {
        let information = match read {
            Read::Together(read) => read.get(&due.node).copied(),
            Read::OneByOne => {
                let alone = self.deadline.call(nodes.information(std::slice::from_ref(&due.node))).await;
                alone.map_err(outcome_of)?.remove(&due.node)
            }
            Read::Stopped(outcome) => return Err(outcome.clone()),
        };
        let weigh = |tags| verdict(tags, information.as_ref(), self.now, self.rules, self.left);
        let on_old_tags = weigh(Some(&due.tags));
        if on_old_tags != Verdict::Retire {
            return Ok(on_old_tags);
        }
        let live = self.deadline.call(nodes.read(&due.node)).await.map_err(outcome_of)?;
        Ok(weigh(live.as_ref()))
    }

    async fn deregister(&mut self, nodes: &impl Retirable, node: &ManagedInstanceId) -> RetireOutcome {
        let stopped = match self.deadline.call(nodes.deregister(node)).await {
            Ok(()) => {
                self.left -= 1;
                return RetireOutcome::Retired;
            }
            Err(stopped) => stopped,
        };
        // What AWS plainly refused takes nobody's place. Of all else nobody knows whether it was done.
        let may_be_done = match &stopped {
            Stopped::NotBegun => false,
            Stopped::CutOff => true,
            Stopped::Failed(error) => error.retryable,
        };
        self.left -= usize::from(may_be_done);
        outcome_of(stopped)
    }
}

fn outcome_of(stopped: Stopped) -> RetireOutcome {
    match stopped {
        Stopped::NotBegun => RetireOutcome::Kept { reason: Reason::Deferred },
        Stopped::CutOff => failed("DeadlineExceeded", "the time was up before AWS had done it".to_owned()),
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
            message: "the time was up before all pages were read".to_owned(),
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
