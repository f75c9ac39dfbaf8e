//! One invocation: decode, gather, plan, apply, summarise.
//!
//! Only a report that cannot be read, or whose sender is not who it claims to be, fails the invocation; all
//! else is the outcome of one node. Once the time budget is spent no further node is begun: the rest is
//! `deferred`, and the next report brings it again.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use hub::{
    AccountId, Answer, AwsError, Counts, FunctionArn, Instance, ManagedInstanceId, NodeAnswer, Outcome, Rejection,
    Report, TERMINATED_TAG_KEY, Timestamp,
};
use serde_json::Value;

use crate::config::{Config, OwnershipCheck};
use crate::deadline::{Deadline, Stopped};
use crate::error::ManagerError;
use crate::log::log;
use crate::plan::{Decision, Plan, Subject, Tags, reconcile};
use crate::retire::{Marking, Retirable, mark};
use crate::triage::{Candidate, triage};

/// Nodes that are worked on at the same time. SSM publishes no rate for tagging; calls slow down from here where it
/// throttles.
const NODE_CONCURRENCY: usize = 8;
/// Bulk reads that are under way at the same time. `GetResources` takes 15 calls a second.
const READ_CONCURRENCY: usize = 2;
/// `ResourceARNList` takes at most 100 ARNs:
/// <https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html>.
const NODES_PER_READ: usize = 100;
/// How far ahead of our clock a report may say it was observed.
const CLOCK_SKEW_SECONDS: i64 = 300;

/// The calls on managed nodes that an invocation needs.
#[expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]
pub trait Nodes {
    /// The tags of many nodes in one call, possibly some seconds old. Nodes that never had a tag are absent.
    async fn read_many(&self, nodes: &[ManagedInstanceId]) -> Result<BTreeMap<ManagedInstanceId, Tags>, AwsError>;
    /// The tags of one node as they are now; nothing where there is no such node.
    async fn read(&self, node: &ManagedInstanceId) -> Result<Option<Tags>, AwsError>;
    /// Removes tags by key.
    async fn remove(&self, node: &ManagedInstanceId, keys: &[String]) -> Result<(), AwsError>;
    /// Adds or overwrites tags.
    async fn set(&self, node: &ManagedInstanceId, tags: &Tags) -> Result<(), AwsError>;
}

/// What the runtime knows about an invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The function ARN as the caller spelled it, with its alias.
    pub arn: FunctionArn,
    /// The time of the invocation.
    pub now: Timestamp,
    /// The time until Lambda ends the invocation.
    pub budget: Duration,
}

/// What came of an invocation.
#[derive(Debug)]
pub struct Handled {
    /// What the caller is told.
    pub result: Result<Answer, ManagerError>,
    /// When the report counts as observed; absent where it was refused.
    pub observed_at: Option<Timestamp>,
}

impl Handled {
    /// What became of the report, also where the invocation then ends in an error; absent where it was refused.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.result {
            Ok(answer) => Some(answer),
            Err(ManagerError::Incomplete { answer, .. }) => Some(answer),
            Err(_) => None,
        }
    }
}

/// Applies one report, or refuses it: see [`ManagerError`].
pub async fn handle(config: &Config, nodes: &impl Retirable, invocation: &Invocation, event: &Value) -> Handled {
    let (agency, report) = match admit(config, invocation, event) {
        Ok(admitted) => admitted,
        Err(error) => return Handled { result: Err(error), observed_at: None },
    };
    let run = Run::new(config, invocation, &report, agency);
    let mut answer = run.apply(nodes).await;
    let mut retryable_count = answer.nodes.iter().filter(|node| node.outcome.is_retryable()).count();
    if !report.terminated.is_empty() {
        let marked = mark(&run.marking(), nodes).await;
        answer.terminated = Some(marked.counts);
        retryable_count += marked.retryable_count;
    }
    log(report.region.as_ref(), &answer);
    Handled { observed_at: Some(run.observed_at), result: conclude(&report, answer, retryable_count) }
}

/// Who sent which report.
fn admit(config: &Config, invocation: &Invocation, event: &Value) -> Result<(Option<AccountId>, Report), ManagerError> {
    let agency = authenticate(config.ownership, &invocation.arn)?;
    let report = Report::from_event(event)?;
    if let (Some(claimed), Some(agency)) = (&report.account, &agency)
        && claimed != agency
    {
        return Err(ManagerError::AccountMismatch { claimed: claimed.clone(), agency: agency.clone() });
    }
    Ok((agency, report))
}

/// Where nobody reads the answer, an error makes Lambda bring the report again.
fn conclude(report: &Report, answer: Answer, retryable_count: usize) -> Result<Answer, ManagerError> {
    if !report.reply && retryable_count > 0 {
        return Err(ManagerError::Incomplete { retryable_count, answer: Box::new(answer) });
    }
    Ok(answer)
}

/// Who calls: the account that the invoked alias names.
fn authenticate(ownership: OwnershipCheck, arn: &FunctionArn) -> Result<Option<AccountId>, ManagerError> {
    match (arn.agency(), ownership) {
        (None, OwnershipCheck::Enforce) => Err(ManagerError::Unauthenticated { invoked_arn: arn.to_string() }),
        (agency, _) => Ok(agency),
    }
}

/// One report on its way through.
struct Run<'a> {
    config: &'a Config,
    report: &'a Report,
    agency: Option<AccountId>,
    observed_at: Timestamp,
    deadline: Deadline,
}

impl<'a> Run<'a> {
    fn new(config: &'a Config, invocation: &Invocation, report: &'a Report, agency: Option<AccountId>) -> Self {
        let latest = invocation.now.unix_seconds() + CLOCK_SKEW_SECONDS;
        let observed_at = report.observed_at.filter(|time| time.unix_seconds() <= latest).unwrap_or(invocation.now);
        Self { config, report, agency, observed_at, deadline: Deadline::new(invocation.budget) }
    }

    fn marking(&self) -> Marking<'_> {
        Marking {
            config: self.config,
            report: self.report,
            agency: self.agency.as_ref(),
            observed_at: self.observed_at,
            deadline: self.deadline,
        }
    }

    async fn apply(&self, nodes: &impl Nodes) -> Answer {
        let triage = triage(&self.report.instances);
        let mut answer = Answer {
            agency: self.agency.clone(),
            dry_run: self.report.dry_run,
            counts: Counts { received: triage.repeated_count, unchanged: triage.repeated_count, ..Counts::default() },
            nodes: Vec::new(),
            terminated: None,
        };
        for (instance, reason) in &triage.rejected {
            add(&mut answer, finished(instance, Outcome::Rejected { reason: *reason }));
        }
        let chunks = triage.candidates.chunks(NODES_PER_READ);
        let looked_up = stream::iter(chunks)
            .map(async |chunk| self.look_up(nodes, chunk).await)
            .buffer_unordered(READ_CONCURRENCY)
            .flat_map(stream::iter);
        let mut finished_nodes = std::pin::pin!(
            looked_up
                .map(async |(candidate, live)| self.finish(nodes, candidate, live).await)
                .buffer_unordered(NODE_CONCURRENCY)
        );
        while let Some(node) = finished_nodes.next().await {
            add(&mut answer, node);
        }
        answer.nodes.sort_by(|a, b| (&a.instance_id, &a.ec2_instance_id).cmp(&(&b.instance_id, &b.ec2_instance_id)));
        answer
    }

    /// The nodes of one bulk read, each with its tags where the read names it.
    async fn look_up<'c>(
        &self,
        nodes: &impl Nodes,
        chunk: &'c [Candidate<'a>],
    ) -> Vec<(&'c Candidate<'a>, Result<Option<Tags>, Outcome>)> {
        let ids: Vec<ManagedInstanceId> = chunk.iter().map(|candidate| candidate.node.clone()).collect();
        let mut read = match self.before_deadline(nodes.read_many(&ids)).await {
            Ok(read) => read,
            Err(outcome) => return chunk.iter().map(|candidate| (candidate, Err(outcome.clone()))).collect(),
        };
        chunk.iter().map(|candidate| (candidate, Ok(read.remove(&candidate.node)))).collect()
    }

    async fn finish(
        &self,
        nodes: &impl Nodes,
        candidate: &Candidate<'_>,
        live: Result<Option<Tags>, Outcome>,
    ) -> NodeAnswer {
        let mut node = finished(candidate.instance, Outcome::Unchanged);
        let plan = match live {
            Ok(live) => self.before_deadline(self.confirmed_plan(nodes, candidate, live)).await,
            Err(outcome) => Err(outcome),
        };
        node.outcome = match plan {
            Ok(Decision::Rejected(reason)) => Outcome::Rejected { reason },
            Ok(Decision::Unmarked(reason)) => self.unmark(nodes, &candidate.node, reason).await,
            Ok(Decision::Planned(plan)) => {
                node.dropped.clone_from(&plan.dropped);
                self.carry_out(nodes, &candidate.node, plan, &mut node).await
            }
            Err(outcome) => outcome,
        };
        node
    }

    /// Decides on what the bulk read said, and once more on a read of the node itself where a decision on
    /// old tags could do harm.
    async fn confirmed_plan(
        &self,
        nodes: &impl Nodes,
        candidate: &Candidate<'_>,
        seen: Option<Tags>,
    ) -> Result<Decision, AwsError> {
        if let Some(seen) = &seen {
            let decision = self.decide(candidate, seen);
            if !needs_confirmation(&decision, seen) {
                return Ok(decision);
            }
        }
        Ok(match nodes.read(&candidate.node).await? {
            Some(live) => self.decide(candidate, &live),
            None => Decision::Rejected(Rejection::UnknownNode),
        })
    }

    fn decide(&self, candidate: &Candidate<'_>, live: &Tags) -> Decision {
        let source = self.source(candidate.instance);
        let subject = Subject {
            owner: match self.config.ownership {
                OwnershipCheck::Enforce => self.agency.as_ref(),
                OwnershipCheck::Off => None,
            },
            source: source.as_deref(),
            observed_at: self.observed_at,
        };
        let policy = &self.config.policy;
        reconcile(policy, policy.desired(&candidate.instance.tags), live, subject)
    }

    /// `<account>/<region>/<EC2 instance id>`, where the report says all three. The account is the
    /// authenticated one where there is one.
    fn source(&self, instance: &Instance) -> Option<String> {
        let account = self.agency.as_ref().or(self.report.account.as_ref())?;
        let region = self.report.region.as_ref()?;
        let ec2_instance_id = instance.ec2_instance_id.as_ref()?;
        Some(format!("{account}/{region}/{ec2_instance_id}"))
    }

    /// Spares a node that lives the retirement, although the report may not change it.
    async fn unmark(&self, nodes: &impl Nodes, id: &ManagedInstanceId, reason: Rejection) -> Outcome {
        if !self.report.dry_run
            && let Err(outcome) = self.before_deadline(nodes.remove(id, &[TERMINATED_TAG_KEY.to_owned()])).await
        {
            return outcome;
        }
        Outcome::Rejected { reason }
    }

    async fn carry_out(
        &self,
        nodes: &impl Nodes,
        id: &ManagedInstanceId,
        plan: Plan,
        node: &mut NodeAnswer,
    ) -> Outcome {
        if plan.is_empty() {
            return Outcome::Unchanged;
        }
        if self.report.dry_run {
            node.removed = without_reserved(plan.remove);
            node.set = plan.set;
            return Outcome::WouldUpdate;
        }
        if !plan.remove.is_empty() {
            if let Err(outcome) = self.before_deadline(nodes.remove(id, &plan.remove)).await {
                return outcome;
            }
            node.removed = without_reserved(plan.remove);
        }
        if plan.set.is_empty() && plan.stamp.is_empty() {
            return Outcome::Updated;
        }
        let tags: Tags = plan.set.iter().chain(&plan.stamp).map(|(key, value)| (key.clone(), value.clone())).collect();
        if let Err(outcome) = self.before_deadline(nodes.set(id, &tags)).await {
            return outcome;
        }
        node.set = plan.set;
        Outcome::Updated
    }

    /// Begins a call only while there is time, and turns what goes wrong into an outcome.
    async fn before_deadline<T>(&self, call: impl Future<Output = Result<T, AwsError>>) -> Result<T, Outcome> {
        match self.deadline.call(call).await {
            Ok(value) => Ok(value),
            // The node went away since it was read.
            Err(Stopped::Failed(error)) if error.code == "InvalidResourceId" => {
                Err(Outcome::Rejected { reason: Rejection::UnknownNode })
            }
            Err(Stopped::Failed(error)) => {
                // Without the message: AWS quotes the value that it does not take.
                tracing::warn!(
                    operation = error.operation,
                    code = error.code,
                    request_id = error.request_id,
                    "call failed"
                );
                Err(Outcome::Failed { code: error.code, message: error.message, retryable: error.retryable })
            }
            Err(Stopped::NotBegun | Stopped::CutOff) => Err(Outcome::Deferred),
        }
    }
}

/// True where old tags could lead to harm: a bulk read may be some seconds old.
///
/// A node that the hub changed before may have been changed again since, by a later report than ours; a tag
/// must not be removed on hearsay; and a node that was registered just now may not show its owner yet.
fn needs_confirmation(decision: &Decision, seen: &Tags) -> bool {
    match decision {
        Decision::Rejected(Rejection::NotOwned) => !seen.contains_key(hub::AGENCY_TAG_KEY),
        Decision::Rejected(_) => false,
        Decision::Unmarked(_) => true,
        Decision::Planned(plan) => {
            !plan.is_empty() && (!plan.remove.is_empty() || seen.contains_key(hub::APPLIED_TAG_KEY))
        }
    }
}

/// The keys that an answer lists: those of the hub's own are no tags of anybody's.
fn without_reserved(mut keys: Vec<String>) -> Vec<String> {
    keys.retain(|key| !hub::is_reserved(key));
    keys
}

fn finished(instance: &Instance, outcome: Outcome) -> NodeAnswer {
    NodeAnswer {
        instance_id: instance.instance_id.clone(),
        ec2_instance_id: instance.ec2_instance_id.clone(),
        outcome,
        set: Tags::new(),
        removed: Vec::new(),
        dropped: Vec::new(),
    }
}

/// Counts a node, and lists it unless there is nothing to say about it.
fn add(answer: &mut Answer, node: NodeAnswer) {
    let counts = &mut answer.counts;
    counts.received += 1;
    match node.outcome {
        Outcome::Updated | Outcome::WouldUpdate => counts.updated += 1,
        Outcome::Unchanged => counts.unchanged += 1,
        Outcome::Rejected { .. } => counts.rejected += 1,
        Outcome::Failed { .. } => counts.failed += 1,
        Outcome::Deferred => counts.deferred += 1,
    }
    counts.tags_set += node.set.len();
    counts.tags_removed += node.removed.len();
    counts.tags_dropped += node.dropped.len();
    if node.outcome != Outcome::Unchanged || !node.dropped.is_empty() {
        answer.nodes.push(node);
    }
}
