//! Looking at nodes without a lease: most need nothing, and that costs one read for a hundred. A node that the bulk
//! read does not name, or names without an owner, is read by itself.

use futures_util::stream::{self, StreamExt as _};
use hub::{AGENCY_TAG_KEY, AwsError, ManagedInstanceId, NodeAnswer, Outcome, Rejection, SOURCE_TAG_KEY};

use super::{Job, Run, without_reserved};
use crate::answer::node_answer;
use crate::plan::{Candidate, Decision, Intent, LastApplied, NodeIntent, Plan, Tags};
use crate::ports::{Leases, Nodes};

/// Bulk reads that are under way at the same time. `GetResources` takes 15 calls a second.
const READ_CONCURRENCY: usize = 2;
/// Nodes that are read by themselves at the same time, because a bulk read did not name them.
const NODE_CONCURRENCY: usize = 8;
/// `ResourceARNList` takes at most 100 ARNs:
/// <https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html>.
const NODES_PER_READ: usize = 100;

/// What a look at a node came to, with the policy and, if it would take tags away, also with the policy held.
#[derive(Debug)]
pub(super) struct LookedAt<'c, 'r> {
    /// How many tags the hub has on the node.
    pub(super) owned_count: usize,
    /// How many of them an earlier policy set, and the one in force does not want.
    pub(super) withdrawn: usize,
    /// Set if nothing is to be written, and the node carries tags that its memory does not name: an operator's, or
    /// those of a call that was done by half.
    pub(super) ambiguous: Option<&'c Candidate<'r>>,
    free: Looked<'c, 'r>,
    held: Option<Looked<'c, 'r>>,
}

impl<'c, 'r> LookedAt<'c, 'r> {
    /// What it came to with the policy held or not.
    pub(super) fn with(self, is_held: bool) -> Looked<'c, 'r> {
        self.held.filter(|_| is_held).unwrap_or(self.free)
    }
}

impl<'c, 'r> From<Looked<'c, 'r>> for LookedAt<'c, 'r> {
    fn from(free: Looked<'c, 'r>) -> Self {
        Self { owned_count: 0, withdrawn: 0, ambiguous: None, free, held: None }
    }
}

/// What is to be done about a node.
#[derive(Debug)]
pub(super) enum Looked<'c, 'r> {
    /// There is nothing to write.
    Finished(Vec<NodeAnswer>),
    /// Something has to be written.
    Differs(Job<&'c Candidate<'r>>),
}

impl<'a, P: Nodes + Leases> Run<'a, P> {
    pub(super) async fn look<'c>(&self, candidates: &'c [Candidate<'a>]) -> Vec<LookedAt<'c, 'a>> {
        stream::iter(candidates.chunks(NODES_PER_READ))
            .map(async |chunk| self.read_chunk(chunk).await)
            .buffer_unordered(READ_CONCURRENCY)
            .flat_map(stream::iter)
            .map(async |(candidate, seen)| self.look_at(candidate, seen).await)
            .buffer_unordered(NODE_CONCURRENCY)
            .collect()
            .await
    }

    /// The nodes of one bulk read, each with its tags if the read names it. A node alone is read by itself: that costs
    /// no more, and is never old.
    async fn read_chunk<'c>(
        &self,
        chunk: &'c [Candidate<'a>],
    ) -> Vec<(&'c Candidate<'a>, Result<Option<Tags>, Outcome>)> {
        if let [candidate] = chunk {
            return vec![(candidate, Ok(None))];
        }
        let ids: Vec<ManagedInstanceId> = chunk.iter().map(|candidate| candidate.node.clone()).collect();
        let mut read = match self.before_deadline(self.ports.read_many(&ids)).await {
            Ok(read) => read,
            Err(outcome) => return chunk.iter().map(|candidate| (candidate, Err(outcome.clone()))).collect(),
        };
        chunk.iter().map(|candidate| (candidate, Ok(read.remove(&candidate.node)))).collect()
    }

    async fn look_at<'c>(&self, candidate: &'c Candidate<'a>, seen: Result<Option<Tags>, Outcome>) -> LookedAt<'c, 'a> {
        let finished = |outcome: &Outcome| Looked::Finished(candidate.all_have(outcome)).into();
        let looked = match seen {
            Ok(seen) => self.before_deadline(self.owned_tags(candidate, seen)).await,
            Err(outcome) => Err(outcome),
        };
        let tags = match looked {
            Ok(Some(tags)) => tags,
            Ok(None) => return finished(&Outcome::Rejected { reason: Rejection::UnknownNode }),
            Err(outcome) => return finished(&outcome),
        };
        let decision = self.decide(candidate, &tags, None, false);
        let (owned_count, withdrawn) = match &decision {
            Decision::Planned(plan) => (plan.owned_count, plan.withdrawn),
            Decision::Rejected(_) | Decision::Unmarked(..) => (0, 0),
        };
        let held = (withdrawn > 0).then(|| self.looked(candidate, &tags, self.decide(candidate, &tags, None, true)));
        let has_others = matches!(&decision, Decision::Planned(plan) if plan.is_empty())
            && tags.keys().filter(|key| !hub::is_reserved(key)).count() > owned_count;
        let ambiguous = (has_others && !self.report.dry_run).then_some(candidate);
        LookedAt { owned_count, withdrawn, ambiguous, free: self.looked(candidate, &tags, decision), held }
    }

    /// What earlier holders of the lease did not finish on nodes that look finished: their memory does not tell. If the
    /// lease is taken in any case, its taker learns of it.
    pub(super) async fn left_behind(&self, looked: &[LookedAt<'_, '_>]) -> Intent {
        let differs = |one: &LookedAt<'_, '_>| {
            [Some(&one.free), one.held.as_ref()].into_iter().flatten().any(|one| matches!(one, Looked::Differs(_)))
        };
        if looked.iter().any(differs) || looked.iter().all(|one| one.ambiguous.is_none()) {
            return Intent::default();
        }
        let read = self.deadline.call(self.ports.left_behind(&self.lease(), self.clock.now_ms())).await;
        read.unwrap_or_else(|stopped| {
            tracing::warn!(lease = %self.lease(), code = stopped.code(), "half-done nodes not looked up");
            Intent::default()
        })
    }

    fn looked<'c>(&self, candidate: &'c Candidate<'a>, tags: &Tags, decision: Decision) -> Looked<'c, 'a> {
        let mut node = node_answer(candidate.instance, Outcome::Unchanged);
        match decision {
            Decision::Unmarked(..) if !self.report.dry_run => {
                return Looked::Differs(job(candidate, NodeIntent::default(), None));
            }
            Decision::Rejected(reason) | Decision::Unmarked(reason, _) => {
                return Looked::Finished(candidate.all_have(&Outcome::Rejected { reason }));
            }
            Decision::Planned(plan) if plan.is_empty() => node.dropped = plan.dropped,
            Decision::Planned(plan) if self.report.dry_run => {
                node.outcome = Outcome::WouldUpdate;
                node.removed = without_reserved(plan.remove);
                node.set = plan.set;
                node.dropped = plan.dropped;
            }
            Decision::Planned(plan) => {
                let arrival = self.source_of(candidate.instance).filter(|_| is_arrival(&plan, tags));
                return Looked::Differs(job(candidate, plan.intent(tags), arrival));
            }
        }
        Looked::Finished(vec![node])
    }

    /// A node that the bulk read does not name, or without its owner, is read by itself: it may have been registered
    /// just now.
    async fn owned_tags(&self, candidate: &Candidate<'_>, seen: Option<Tags>) -> Result<Option<Tags>, AwsError> {
        match seen {
            Some(seen) if seen.contains_key(AGENCY_TAG_KEY) || self.owner_is_unchecked() => Ok(Some(seen)),
            _ => self.ports.read(&candidate.node).await,
        }
    }
}

/// A node to write.
pub(super) fn job<'c, 'r>(
    candidate: &'c Candidate<'r>,
    intent: NodeIntent,
    arrival: Option<String>,
) -> Job<&'c Candidate<'r>> {
    Job { node: candidate.node.clone(), intent, arrival, item: candidate }
}

/// True for a node that is linked to its instance only now: the instance may have had another one before.
pub(super) fn is_arrival(plan: &Plan, tags: &Tags) -> bool {
    let is_back = || LastApplied::of(tags).is_some_and(|applied| applied.is_superseded);
    !plan.is_empty() && (plan.adopts || !tags.contains_key(SOURCE_TAG_KEY) || is_back())
}
