//! Writing one node under the lease: read it, plan anew, remove, set.

use std::collections::BTreeSet;

use hub::{AwsError, ManagedInstanceId, NodeAnswer, Outcome, Rejection, SOURCE_TAG_KEY, TERMINATED_TAG_KEY};

use super::look::is_arrival;
use super::{Run, Slice, Writer, without_reserved};
use crate::answer::node_answer;
use crate::plan::{Candidate, Decision, LastApplied, Plan, Tags, release};
use crate::ports::{Leases, Nodes};
use lambda_kit::Stopped;

impl<P: Nodes + Leases> Run<'_, P> {
    /// What became of the node, and of nodes that its instance left for it.
    pub(super) async fn write(
        &self,
        writer: &Writer<'_, P>,
        slice: &Slice<'_, P>,
        candidate: &Candidate<'_>,
    ) -> Vec<NodeAnswer> {
        let mut node = node_answer(candidate.instance, Outcome::Unchanged);
        let mut superseded = Vec::new();
        node.outcome = match self.write_node(writer, slice, candidate, &mut node, &mut superseded).await {
            Ok(outcome) | Err(outcome) => outcome,
        };
        if candidate.rivals.is_empty() {
            superseded.push(node);
        } else {
            superseded.extend(candidate.all_have(&node.outcome));
        }
        superseded
    }

    async fn write_node(
        &self,
        writer: &Writer<'_, P>,
        slice: &Slice<'_, P>,
        candidate: &Candidate<'_>,
        answer: &mut NodeAnswer,
        superseded: &mut Vec<NodeAnswer>,
    ) -> Result<Outcome, Outcome> {
        let id = &candidate.node;
        let Some(live) = self.under_lease(slice, self.ports.read(id)).await? else {
            slice.settle(id);
            return Ok(Outcome::Rejected { reason: Rejection::UnknownNode });
        };
        let unsettled = slice.unsettled_of(id, &live);
        let mut plan = match self.decide(candidate, &live, unsettled.as_ref(), self.is_held.get()) {
            Decision::Rejected(reason) => {
                if let Some(intent) = unsettled {
                    writer.settle(slice, id, &intent).await.map_err(|stopped| self.outcome_of(stopped))?;
                }
                return Ok(Outcome::Rejected { reason });
            }
            Decision::Unmarked(reason, keys) => {
                // The link before the marker, each in a call of its own: a marker alone is cleared up with the next report,
                // and a link alone to an instance that is gone would look like a living one.
                for key in keys.iter().filter(|key| live.contains_key(**key)) {
                    self.under_lease(slice, self.ports.remove(id, &[(*key).to_owned()])).await?;
                }
                return Ok(Outcome::Rejected { reason });
            }
            Decision::Planned(plan) => plan,
        };
        if let Some(source) = self.source_of(candidate.instance).filter(|_| is_arrival(&plan, &live)) {
            // First, because only an arrival looks for them.
            self.release_others(slice, id, &source, superseded).await?;
        }
        answer.dropped.clone_from(&plan.dropped);
        if plan.is_empty() {
            slice.settle(id);
            return Ok(Outcome::Unchanged);
        }
        self.under_lease(slice, slice.begin(id, plan.intent(&live))).await?;
        let applied = self.carry_out(slice, id, &mut plan, answer).await;
        if applied.is_err() {
            // The call may have been done all the same, or in part: that is looked up while somebody knows what it could
            // do. If the look-up fails as well, the intent stays in the table.
            let _ = writer.settle(slice, id, &slice.intent_of(id).await).await;
        }
        applied?;
        slice.settle(id);
        Ok(if plan.adopts { Outcome::Adopted } else { Outcome::Updated })
    }

    /// Removes and sets. The answer says what was done also if the rest fails.
    async fn carry_out(
        &self,
        slice: &Slice<'_, P>,
        id: &ManagedInstanceId,
        plan: &mut Plan,
        answer: &mut NodeAnswer,
    ) -> Result<(), Outcome> {
        if !plan.remove.is_empty() {
            self.under_lease(slice, self.ports.remove(id, &plan.remove)).await?;
            answer.removed = without_reserved(std::mem::take(&mut plan.remove));
        }
        if !(plan.set.is_empty() && plan.stamp.is_empty()) {
            self.set(slice, id, plan).await?;
            answer.dropped = std::mem::take(&mut plan.dropped);
            answer.set = std::mem::take(&mut plan.set);
        }
        if plan.unmark_last {
            self.under_lease(slice, self.ports.remove(id, &[TERMINATED_TAG_KEY.to_owned()])).await?;
        }
        Ok(())
    }

    /// Sets the plan's tags with the memory. If Systems Manager refuses them for a reason that lasts, the ones to blame
    /// are found by halves and left behind.
    async fn set(&self, slice: &Slice<'_, P>, id: &ManagedInstanceId, plan: &mut Plan) -> Result<(), Outcome> {
        let all: Tags = plan.set.iter().chain(&plan.stamp).map(|(key, value)| (key.clone(), value.clone())).collect();
        match slice.call(self.ports.set(id, &all)).await {
            Ok(()) => return Ok(()),
            Err(Stopped::Failed(error)) if is_lasting(&error) && !plan.set.is_empty() => {
                if self.lines.spend() {
                    tracing::warn!(instance_id = id.as_str(), code = error.code, "tags refused");
                }
            }
            Err(stopped) => return Err(self.outcome_of(stopped)),
        }
        // The memory alone: if that is refused, it is not for a tag.
        self.under_lease(slice, self.ports.set(id, &plan.stamp)).await?;
        let refused = self.refused(slice, id, &plan.set).await?;
        plan.refuse(&refused);
        self.under_lease(slice, self.ports.set(id, &plan.stamp)).await
    }

    /// The keys of the tags that are refused, out of some that are refused together. The others are set.
    async fn refused(
        &self,
        slice: &Slice<'_, P>,
        id: &ManagedInstanceId,
        tags: &Tags,
    ) -> Result<BTreeSet<String>, Outcome> {
        let mut refused = BTreeSet::new();
        let mut parts = halves(tags.clone());
        while let Some(part) = parts.pop() {
            match slice.call(self.ports.set(id, &part)).await {
                Ok(()) => {}
                Err(Stopped::Failed(error)) if is_lasting(&error) => {
                    if part.len() == 1 {
                        refused.extend(part.into_keys());
                    } else {
                        parts.extend(halves(part));
                    }
                }
                Err(stopped) => return Err(self.outcome_of(stopped)),
            }
        }
        Ok(refused)
    }

    /// Takes the hub's tags off the nodes that the instance left for this one.
    async fn release_others(
        &self,
        slice: &Slice<'_, P>,
        id: &ManagedInstanceId,
        source: &str,
        superseded: &mut Vec<NodeAnswer>,
    ) -> Result<(), Outcome> {
        for other in &self.under_lease(slice, slice.others_of(source, id)).await? {
            let Some(live) = self.under_lease(slice, self.ports.read(other)).await? else { continue };
            if live.get(SOURCE_TAG_KEY).map(String::as_str) != Some(source) || !self.owns(&live) {
                continue;
            }
            let applied = LastApplied::of(&live);
            if applied.is_some_and(|applied| applied.observed_at > self.observed_at) {
                // This report is from before the instance registered again.
                return Err(Outcome::Rejected { reason: Rejection::Stale });
            }
            let unsettled = slice.unsettled_of(other, &live);
            let plan = release(&live, self.context(Some(source), other, unsettled.as_ref()));
            if plan.is_empty() {
                continue;
            }
            self.under_lease(slice, slice.begin(other, plan.intent(&live))).await?;
            if !plan.remove.is_empty() {
                self.under_lease(slice, self.ports.remove(other, &plan.remove)).await?;
            }
            self.under_lease(slice, self.ports.set(other, &plan.stamp)).await?;
            slice.settle(other);
            superseded.push(NodeAnswer {
                instance_id: other.to_string(),
                ec2_instance_id: source.rsplit('/').next().map(str::to_owned),
                outcome: Outcome::Superseded,
                set: Tags::new(),
                removed: plan.remove,
                dropped: Vec::new(),
            });
        }
        Ok(())
    }
}

fn halves(tags: Tags) -> Vec<Tags> {
    let half = tags.len().div_ceil(2);
    let mut first = tags;
    let second = match first.keys().nth(half).cloned() {
        Some(key) => first.split_off(&key),
        None => Tags::new(),
    };
    [first, second].into_iter().filter(|part| !part.is_empty()).collect()
}

/// True for a refusal that the same request would meet again, and that may be for one of its tags.
fn is_lasting(error: &AwsError) -> bool {
    !error.retryable
        && !error.is_access_denied()
        && !matches!(error.code.as_str(), "InvalidResourceId" | "InvalidResourceType" | "TooManyTagsError")
}
