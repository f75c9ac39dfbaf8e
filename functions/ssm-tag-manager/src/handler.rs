//! One invocation: decode, look, plan, write, summarise.
//!
//! Only a report that cannot be read, or whose sender is not who it claims to be, fails the invocation; all
//! else is the outcome of one node. Once the time budget is spent no further node is begun: the rest is
//! `deferred`, and the next report brings it again.
//!
//! Nodes are looked at many at a time, on what `GetResources` shows, which may be some seconds old. Only those that
//! differ are written, under the lease of their agency, each after a read of its own: see `writer`.

mod clock;
mod hold;
mod look;
mod mark;
mod unlinked;
mod write;
mod writer;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use hub::{
    AccountId, Answer, AwsError, FunctionArn, Instance, ManagedInstanceId, NodeAnswer, Outcome, Rejection, Report,
    Timestamp,
};

pub(crate) use clock::Clock;
pub(crate) use writer::{Job, Slice, Writer};

use crate::answer::{AnswerBuilder, LeaseUse, node_answer};
use crate::config::{Config, Mode, OwnershipCheck};
use crate::error::ManagerError;
use crate::log::{LineBudget, log};
use crate::plan::{
    Candidate, CoverageRecord, Decision, NodeIntent, ReportContext, Source, Tags, contested, reconcile, validate,
};
use crate::ports::{LeaseName, Leases, Nodes};
use lambda_kit::{Deadline, Stopped};
use look::Looked;
use tokio::time::Instant;

/// How far ahead of our clock a report may say it was observed.
const CLOCK_SKEW_SECONDS: i64 = 300;

/// What the runtime knows about an invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The function ARN as the caller spelled it, with its alias.
    pub arn: FunctionArn,
    /// The time of the invocation.
    pub now: SystemTime,
    /// When that was read: the agency's policy may have to be read since, and a lease must not last longer for that.
    pub begun: Instant,
    /// The time from then until Lambda ends the invocation.
    pub budget: Duration,
    /// Random bits: whoever holds a lease is named after them, and so is what the memory of a node is salted with.
    pub entropy: [u8; 16],
}

impl Invocation {
    /// The deadline, with the default margins.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::new(self.budget.saturating_sub(self.begun.elapsed()))
    }
}

/// What came of an invocation.
#[derive(Debug)]
pub struct Handled {
    /// What the caller is told.
    pub result: Result<Answer, ManagerError>,
    /// When the report counts as observed; absent if it was refused.
    pub observed_at: Option<Timestamp>,
    /// What waiting for leases came to.
    pub lease_use: LeaseUse,
    /// What is to be kept of the agency's coverage, if the report says something about it.
    pub coverage: Option<CoverageRecord>,
}

impl Handled {
    /// A report that is refused before it is looked at.
    pub(crate) fn refused(error: ManagerError) -> Self {
        Self { result: Err(error), observed_at: None, lease_use: LeaseUse::default(), coverage: None }
    }

    /// What became of the report, also if the invocation then ends in an error; absent if it was refused.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.result {
            Ok(answer) => Some(answer),
            Err(ManagerError::Incomplete { answer, .. }) => Some(answer),
            Err(_) => None,
        }
    }
}

/// Applies one report, or refuses it: see [`ManagerError`].
pub async fn handle(config: &Config, ports: &(impl Nodes + Leases), invocation: &Invocation, event: &str) -> Handled {
    let (agency, report) = match admit(config, invocation, event) {
        Ok(admitted) => admitted,
        Err(error) => return Handled::refused(error),
    };
    let mut lease_use = LeaseUse::default();
    let run = Run::new(config, ports, invocation, &report, agency);
    let mut answer = run.apply(&mut lease_use).await;
    let mut retryable_count = answer.nodes.iter().filter(|node| node.outcome.is_retryable()).count();
    if !report.terminated.is_empty() {
        let marked = mark::mark(&run, &mut lease_use).await;
        answer.terminated = Some(marked.counts);
        retryable_count += marked.retryable_count;
    }
    answer.deferred_because.clone_from(&lease_use.problem);
    log(&report, &answer, &lease_use);
    let coverage = CoverageRecord::of(run.agency.as_ref(), &report, run.observed_at);
    let observed_at = Some(run.observed_at);
    Handled { observed_at, result: conclude(&report, answer, retryable_count), lease_use, coverage }
}

/// Who sent which report.
fn admit(config: &Config, invocation: &Invocation, event: &str) -> Result<(Option<AccountId>, Report), ManagerError> {
    let agency = authenticate(config.ownership, &invocation.arn)?;
    let report = Report::from_event(event)?;
    if let (Some(claimed), Some(agency)) = (&report.account, &agency)
        && claimed != agency
    {
        return Err(ManagerError::AccountMismatch { claimed: claimed.clone(), agency: agency.clone() });
    }
    Ok((agency, report))
}

/// If nobody reads the answer, an error makes Lambda bring the report again.
fn conclude(report: &Report, answer: Answer, retryable_count: usize) -> Result<Answer, ManagerError> {
    if !report.wants_reply() && retryable_count > 0 {
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
struct Run<'a, P> {
    config: &'a Config,
    ports: &'a P,
    report: &'a Report,
    agency: Option<AccountId>,
    observed_at: Timestamp,
    /// The manager's own time.
    now: Timestamp,
    deadline: Deadline,
    clock: Clock,
    lines: LineBudget,
    /// The sources that the report says are terminated.
    terminated: BTreeSet<String>,
    /// True if the policy only adds: what an earlier one set stays.
    is_held: Cell<bool>,
}

impl<'a, P: Nodes + Leases> Run<'a, P> {
    fn new(
        config: &'a Config,
        ports: &'a P,
        invocation: &Invocation,
        report: &'a Report,
        agency: Option<AccountId>,
    ) -> Self {
        let now = Timestamp::from(invocation.now);
        let latest = now.unix_seconds() + CLOCK_SKEW_SECONDS;
        let mut run = Self {
            config,
            ports,
            report,
            agency,
            observed_at: report.observed_at.filter(|time| time.unix_seconds() <= latest).unwrap_or(now),
            now,
            deadline: invocation.deadline(),
            clock: Clock::new(invocation),
            lines: LineBudget::new(),
            terminated: BTreeSet::new(),
            is_held: Cell::default(),
        };
        let terminated = report.terminated.iter().filter_map(|instance| run.source(&instance.ec2_instance_id));
        run.terminated = terminated.map(|source| source.to_string()).collect();
        run
    }

    async fn apply(&self, lease_use: &mut LeaseUse) -> Answer {
        let validated = validate(&self.report.instances);
        let mut answer = AnswerBuilder::new(self.report);
        answer.add_repeated(validated.repeated_count);
        for instance in &validated.invalid {
            answer.add(node_answer(instance, Outcome::Rejected { reason: Rejection::InvalidId }));
        }
        let mut candidates = validated.candidates;
        if self.config.retire.mode == Mode::Off && self.terminated.is_empty() {
            let conflict = Outcome::Rejected { reason: Rejection::Conflict };
            let nodes = validated.contested.iter().flat_map(|candidate| candidate.all_have(&conflict));
            nodes.for_each(|node| answer.add(node));
        } else {
            // They show that the node lives, so that it must not be retired and does not stay with an instance that is
            // terminated.
            candidates.extend(validated.contested);
        }
        let mut jobs = Vec::new();
        let looked = self.look(&candidates).await;
        let held_count = self.hold(&looked);
        let left_behind = self.left_behind(&looked).await;
        for looked in looked {
            let half_done = looked.ambiguous.filter(|candidate| left_behind.0.contains_key(&candidate.node));
            match (half_done, looked.with(held_count > 0)) {
                (Some(candidate), _) => jobs.push(look::job(candidate, NodeIntent::default(), None)),
                (None, Looked::Finished(nodes)) => nodes.into_iter().for_each(|node| answer.add(node)),
                (None, Looked::Differs(job)) => jobs.push(job),
            }
        }
        jobs.sort_by(|a, b| a.node.cmp(&b.node));
        let writer = self.writer();
        let work = async |slice: &Slice<'_, P>, candidate: &&Candidate<'_>| self.write(&writer, slice, candidate).await;
        let (written, deferred) = writer.run(jobs, lease_use, work).await;
        written.into_iter().flat_map(|(_, nodes)| nodes).for_each(|node| answer.add(node));
        let deferred = deferred.iter().flat_map(|candidate| candidate.all_have(&Outcome::Deferred));
        deferred.for_each(|node| answer.add(node));
        self.unlinked().await.into_iter().for_each(|node| answer.add(node));
        let mut answer = Answer { agency: self.agency.clone(), ..answer.finish() };
        answer.counts.tags_held = held_count;
        answer
    }

    /// The lease of the sender.
    fn lease(&self) -> LeaseName {
        match (&self.agency, self.config.ownership) {
            (Some(agency), OwnershipCheck::Enforce) => LeaseName::Agency(agency.clone()),
            _ => LeaseName::AllAgencies,
        }
    }

    /// Writes under the lease of the sender.
    fn writer(&self) -> Writer<'_, P> {
        Writer {
            ports: self.ports,
            lease: self.lease(),
            clock: &self.clock,
            deadline: self.deadline,
            patience: Duration::MAX,
            bulk_writers: self.config.bulk_writers,
        }
    }

    fn decide(
        &self,
        candidate: &Candidate<'_>,
        live: &Tags,
        unsettled: Option<&NodeIntent>,
        is_held: bool,
    ) -> Decision {
        let source = self.source_of(candidate.instance);
        let policy = &self.config.policy;
        let context = ReportContext { is_held, ..self.context(source.as_deref(), &candidate.node, unsettled) };
        if !candidate.rivals.is_empty() {
            return contested(live, context);
        }
        reconcile(policy, policy.desired(&candidate.instance.tags), live, context)
    }

    fn context<'c>(
        &'c self,
        source: Option<&'c str>,
        node: &ManagedInstanceId,
        unsettled: Option<&'c NodeIntent>,
    ) -> ReportContext<'c> {
        ReportContext {
            owner: match self.config.ownership {
                OwnershipCheck::Enforce => self.agency.as_ref(),
                OwnershipCheck::Off => None,
            },
            source,
            observed_at: self.observed_at,
            terminated: &self.terminated,
            unsettled,
            salt: self.clock.salt(node),
            is_held: false,
        }
    }

    /// `<account>/<region>/<EC2 instance id>`, if the report says all three. The account is the
    /// authenticated one if there is one.
    fn source_of(&self, instance: &Instance) -> Option<String> {
        Some(self.source(instance.ec2_instance_id.as_ref()?)?.to_string())
    }

    fn source(&self, ec2_instance_id: &str) -> Option<Source> {
        let account = self.agency.as_ref().or(self.report.account.as_ref())?.clone();
        let region = self.report.region.clone()?;
        Some(Source { account, region, ec2_instance_id: ec2_instance_id.parse().ok()? })
    }

    /// Begins a call only while there is time, and turns what goes wrong into an outcome.
    async fn before_deadline<T>(&self, call: impl Future<Output = Result<T, AwsError>>) -> Result<T, Outcome> {
        self.deadline.call(call).await.map_err(|stopped| self.outcome_of(stopped))
    }

    /// The same, and only while the lease lasts.
    async fn under_lease<T>(
        &self,
        slice: &Slice<'_, P>,
        call: impl Future<Output = Result<T, AwsError>>,
    ) -> Result<T, Outcome> {
        slice.call(call).await.map_err(|stopped| self.outcome_of(stopped))
    }

    fn outcome_of(&self, stopped: Stopped) -> Outcome {
        match stopped {
            // The node went away since it was read.
            Stopped::Failed(error) if error.code == "InvalidResourceId" => {
                Outcome::Rejected { reason: Rejection::UnknownNode }
            }
            Stopped::Failed(error) => {
                if self.lines.spend() {
                    // Without the message: AWS quotes the value that it does not take.
                    tracing::warn!(
                        operation = error.operation,
                        code = error.code,
                        request_id = error.request_id,
                        "call failed"
                    );
                }
                Outcome::Failed { code: error.code, message: error.message, retryable: error.retryable }
            }
            Stopped::NotBegun | Stopped::CutOff => Outcome::Deferred,
        }
    }
}

/// The keys that an answer lists: those of the hub's own are no tags of anybody's.
fn without_reserved(mut keys: Vec<String>) -> Vec<String> {
    keys.retain(|key| !hub::is_reserved(key));
    keys
}

impl<'a> Candidate<'a> {
    /// The instances of the report that name the node.
    fn instances(&self) -> impl Iterator<Item = &'a Instance> {
        std::iter::once(self.instance).chain(self.rivals.iter().copied())
    }

    /// The same outcome for every instance that names the node.
    fn all_have(&self, outcome: &Outcome) -> Vec<NodeAnswer> {
        self.instances().map(|instance| node_answer(instance, outcome.clone())).collect()
    }
}
