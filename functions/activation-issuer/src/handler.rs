//! One invocation: decode, list, then read, plan and repair agency by agency, and summarise.
//!
//! Only an event that cannot be read, an agency without a grant, or a list that cannot be had, fails the invocation
//! before anything is done. From then on every failure is the outcome of one agency and stops no other; once all are
//! through, the invocation ends in `PartialIssue` where there was any. Before the deadline no further agency is begun
//! and no further activation made: what is left is `deferred`.

mod agency;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use hub::{AccountId, AwsError, Timestamp};
use lambda_kit::{DEADLINE_EXCEEDED, Deadline, Margins};
use serde_json::Value;

use crate::activation::{Activation, ActivationId};
use crate::answer::{AgencyAnswer, Answer, Counts, Failure, Outcome};
use crate::config::Config;
use crate::error::IssueError;
use crate::event::Request;
use crate::log::log;
use crate::plan::ceiling::{self, Usage};
use crate::plan::census::{NodeCounts, Tier, census, new_since};
use crate::plan::{Reason, revoked};
use crate::ports::{Agencies, Hub};

/// Agencies that are worked on at the same time. Systems Manager publishes no rate for activations, so they are few.
const AGENCY_CONCURRENCY: usize = 4;
/// No agency is begun and no activation made without the time for all calls of one agency.
const MARGINS: Margins = Margins { begin: Duration::from_secs(45), answer: Duration::from_secs(3) };

/// What the runtime knows about an invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The account that the function runs in.
    pub hub_account: AccountId,
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
    hub_account: &'a AccountId,
    now: Timestamp,
    dry_run: bool,
    deadline: Deadline,
    /// Counted where it happens, so that an agency which is cut off loses nothing.
    live_count: Cell<usize>,
    created_count: Cell<usize>,
    deleted_count: Cell<usize>,
}

impl<'a, H: Hub, A: Agencies> Round<'a, H, A> {
    fn new(config: &'a Config, hub: &'a H, agencies: &'a A, invocation: &'a Invocation, dry_run: bool) -> Self {
        Self {
            config,
            hub,
            agencies,
            hub_account: &invocation.hub_account,
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
        // Without them nothing new is made; what is good stays.
        let nodes = self.hub.nodes(new_since(self.now)).await;
        // Without it nothing is known of the standard tier's limit; NODE_LIMIT holds in any case.
        let tier =
            self.hub.tier().await.inspect_err(|error| tracing::warn!(%error, "failed to read the instance tier"));
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
        let budget = Budget::new(nodes, tier.ok(), &listed, granted.len(), self.now);
        let mut agencies: Vec<AgencyAnswer> = stream::iter(&wanted)
            .map(async |agency| self.agency(agency, &listed, &budget).await)
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
        let counted = budget.nodes.as_ref().ok();
        let census = counted.map(|counted| census(counted, self.config.node_limit, budget.tier));
        Ok(Answer { dry_run: self.dry_run, counts, nodes: counted.map(|counted| counted.total), census, agencies })
    }

    /// Serves one agency, in the time there is.
    async fn agency(
        &self,
        agency: &AccountId,
        listed: &BTreeMap<ActivationId, Activation>,
        budget: &Budget,
    ) -> AgencyAnswer {
        if self.deadline.is_late() {
            return AgencyAnswer::new(agency, Outcome::Deferred);
        }
        self.deadline.cut_off(self.tend(agency, listed, budget)).await.unwrap_or_else(|| {
            let mut answer = AgencyAnswer::new(agency, Outcome::Failed);
            answer.fail(Failure {
                error_code: DEADLINE_EXCEEDED.to_owned(),
                message: "the invocation ended before this call; the next run continues".to_owned(),
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

/// What the account has, and what this run has made of it.
struct Budget {
    nodes: Result<NodeCounts, AwsError>,
    tier: Option<Tier>,
    /// Registrations left, those of this run included.
    open: Cell<u32>,
    open_by_agency: BTreeMap<AccountId, u32>,
    made_today: BTreeMap<AccountId, u32>,
    /// Those with a grant.
    agencies: u32,
}

impl Budget {
    fn new(
        nodes: Result<NodeCounts, AwsError>,
        tier: Option<Tier>,
        listed: &BTreeMap<ActivationId, Activation>,
        agencies: usize,
        now: Timestamp,
    ) -> Self {
        let (open, open_by_agency) = ceiling::open(listed, now);
        let owners = listed.values().filter_map(|activation| activation.agency.clone());
        let made_today = owners.map(|agency| (agency.clone(), ceiling::made_today(listed, &agency, now))).collect();
        let agencies = u32::try_from(agencies).unwrap_or(u32::MAX);
        Self { nodes, tier, open: Cell::new(open), open_by_agency, made_today, agencies }
    }

    /// What an agency and the account have by now.
    fn usage(&self, agency: &AccountId) -> Result<Usage, AwsError> {
        let nodes = self.nodes.as_ref().map_err(Clone::clone)?;
        let of = |counts: &BTreeMap<AccountId, u32>| counts.get(agency).copied().unwrap_or_default();
        Ok(Usage {
            nodes: nodes.total,
            tier: self.tier,
            open: self.open.get(),
            agency_nodes: of(&nodes.by_agency),
            agency_open: of(&self.open_by_agency),
            made_today: of(&self.made_today),
            agencies: self.agencies,
        })
    }

    /// Sets registrations aside for an activation that is about to be made: other agencies are served at the same time.
    fn take(&self, registrations: u32) {
        self.open.set(self.open.get().saturating_add(registrations));
    }
}

fn increment(count: &Cell<usize>) {
    count.set(count.get() + 1);
}
