//! One invocation: decode, list, then read, plan and repair agency by agency, and summarise.
//!
//! Only an event that cannot be read, an agency without a grant, or a list that cannot be had, fails the invocation
//! before anything is done. From then on every failure is the outcome of one agency and stops no other; once all are
//! through, the invocation ends in `PartialIssue` where there was any. Before the deadline no further agency is begun
//! and no further activation made: what is left is `deferred`.

mod agency;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use hub::{AccountId, AwsError, Region, Timestamp};
use lambda_kit::{DEADLINE_EXCEEDED, Deadline, Margins};
use serde_json::Value;

use crate::activation::{Activation, ActivationCode, ActivationId, NewActivation, Parameter, StoredActivation};
use crate::answer::{AgencyAnswer, Answer, Counts, Failure, Outcome};
use crate::config::Config;
use crate::error::IssueError;
use crate::event::Request;
use crate::log::log;
use crate::plan::{Reason, revoked};

/// Agencies that are worked on at the same time. Systems Manager publishes no rate for activations, so they are few.
const AGENCY_CONCURRENCY: usize = 4;
/// No agency is begun and no activation made without the time for all calls of one agency.
const MARGINS: Margins = Margins { begin: Duration::from_secs(45), answer: Duration::from_secs(3) };

/// The calls on the central account.
#[expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]
pub trait Hub {
    /// The agencies that have a grant: the aliases of the manager.
    async fn granted(&self) -> Result<BTreeSet<AccountId>, AwsError>;
    /// All activations, or the one asked for where there is such a one.
    async fn activations(&self, only: Option<&ActivationId>) -> Result<Vec<Activation>, AwsError>;
    /// Makes an activation. The code is told here and never again.
    async fn create(&self, new: &NewActivation) -> Result<(ActivationId, ActivationCode), AwsError>;
    /// Deletes an activation. That it is already gone is no error.
    async fn delete(&self, id: &ActivationId) -> Result<(), AwsError>;
}

/// The way into the agencies' accounts.
#[expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]
pub trait Agencies {
    /// An agency's parameters.
    type Store: Store;
    /// Takes the writer role in an agency.
    async fn open(&self, agency: &AccountId) -> Result<Self::Store, AwsError>;
}

/// The parameter of one agency, in each Region.
#[expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]
pub trait Store {
    /// What it holds.
    async fn read(&self, region: &Region) -> Result<Parameter, AwsError>;
    /// Writes it, whatever it held. No error quotes the code.
    async fn write(&self, region: &Region, stored: &StoredActivation) -> Result<(), AwsError>;
}

/// What the runtime knows about an invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The time of the invocation.
    pub now: Timestamp,
    /// The time until Lambda ends the invocation.
    pub budget: Duration,
}

/// Answers one invocation.
///
/// # Errors
/// See [`IssueError`]. `PartialIssue` comes after the work was done, with the whole answer.
pub async fn handle(
    config: &Config,
    hub: &impl Hub,
    agencies: &impl Agencies,
    invocation: &Invocation,
    event: &Value,
) -> Result<Answer, IssueError> {
    let request = Request::from_event(event)?;
    let run = Round::new(config, hub, agencies, invocation, request.dry_run);
    let answer = run.serve(request.agency).await?;
    log(&answer);
    if answer.is_complete() { Ok(answer) } else { Err(IssueError::PartialIssue(Box::new(answer))) }
}

/// One invocation on its way through.
struct Round<'a, H, A> {
    config: &'a Config,
    hub: &'a H,
    agencies: &'a A,
    now: Timestamp,
    dry_run: bool,
    deadline: Deadline,
    /// Counted where it happens, so that an agency which is cut off loses nothing.
    live_count: Cell<usize>,
    created_count: Cell<usize>,
    deleted_count: Cell<usize>,
}

impl<'a, H: Hub, A: Agencies> Round<'a, H, A> {
    fn new(config: &'a Config, hub: &'a H, agencies: &'a A, invocation: &Invocation, dry_run: bool) -> Self {
        Self {
            config,
            hub,
            agencies,
            now: invocation.now,
            dry_run,
            deadline: Deadline::with_margins(invocation.budget, MARGINS),
            live_count: Cell::new(0),
            created_count: Cell::new(0),
            deleted_count: Cell::new(0),
        }
    }

    async fn serve(&self, only: Option<AccountId>) -> Result<Answer, IssueError> {
        // The activations first: the grant of one that is listed was there before it.
        let listed = self.hub.activations(None).await.map_err(IssueError::NothingRead)?;
        let granted = self.hub.granted().await.map_err(IssueError::NothingRead)?;
        let listed: BTreeMap<_, _> = listed.into_iter().map(|activation| (activation.id.clone(), activation)).collect();
        let is_everyone = only.is_none();
        let wanted = match only {
            Some(agency) if granted.contains(&agency) => vec![agency],
            Some(agency) => {
                let function = self.config.manager_function_name.clone();
                return Err(IssueError::UnknownAgency { agency, function });
            }
            None => granted.iter().cloned().collect(),
        };
        let mut agencies: Vec<AgencyAnswer> = stream::iter(&wanted)
            .map(async |agency| self.agency(agency, &listed).await)
            .buffer_unordered(AGENCY_CONCURRENCY)
            .collect()
            .await;
        if is_everyone {
            for (agency, orphans) in revoked(&listed, &granted, self.now) {
                agencies.push(self.revoke(agency, orphans).await);
            }
        }
        agencies.sort_by(|a, b| a.agency.cmp(&b.agency));
        let with = |outcome| agencies.iter().filter(|agency| agency.outcome == outcome).count();
        let counts = Counts {
            agencies: wanted.len(),
            live: self.live_count.get(),
            created: self.created_count.get(),
            deleted: self.deleted_count.get(),
            failed: with(Outcome::Failed),
            deferred: with(Outcome::Deferred),
        };
        Ok(Answer { dry_run: self.dry_run, counts, agencies })
    }

    /// Serves one agency, in the time there is.
    async fn agency(&self, agency: &AccountId, listed: &BTreeMap<ActivationId, Activation>) -> AgencyAnswer {
        if self.deadline.is_late() {
            return AgencyAnswer::new(agency, Outcome::Deferred);
        }
        self.deadline.cut_off(self.tend(agency, listed)).await.unwrap_or_else(|| {
            let mut answer = AgencyAnswer::new(agency, Outcome::Failed);
            answer.fail(Failure {
                error_code: DEADLINE_EXCEEDED.to_owned(),
                message: "cut off by the end of the invocation; the next run takes it up".to_owned(),
            });
            answer
        })
    }

    /// Deletes what an agency without a grant has left.
    async fn revoke(&self, agency: &AccountId, orphans: Vec<ActivationId>) -> AgencyAnswer {
        let mut answer = AgencyAnswer::new(agency, Outcome::Revoked);
        answer.reason = Some(Reason::NotGranted);
        if self.dry_run {
            answer.outcome = Outcome::WouldRevoke;
            answer.would_delete = orphans;
        } else if self.deadline.is_late() {
            answer.outcome = Outcome::Deferred;
        } else {
            self.delete_all(orphans, &mut answer).await;
        }
        answer
    }

    async fn delete_all(&self, orphans: Vec<ActivationId>, answer: &mut AgencyAnswer) {
        for id in orphans {
            if self.deadline.is_late() {
                // The next run finds it again.
                tracing::warn!(agency = answer.agency.as_str(), activation_id = id.as_str(), "deletion deferred");
                continue;
            }
            match self.hub.delete(&id).await {
                Ok(()) => {
                    increment(&self.deleted_count);
                    answer.deleted.push(id);
                }
                Err(error) => answer.fail(self.failure(&answer.agency, &error)),
            }
        }
    }

    fn failure(&self, agency: &AccountId, error: &AwsError) -> Failure {
        Failure::new(error, crate::advice::advice(self.config, agency, error).as_deref())
    }
}

fn increment(count: &Cell<usize>) {
    count.set(count.get() + 1);
}
