//! The log: a line for each node with news, and one for the invocation. No tag's value is in it, and no message
//! about a node either, because AWS quotes values in those.

use std::time::Duration;

use hub::{AccountId, NodeAnswer, Outcome, Region};

use crate::answer::RegionAnswer;
use crate::queue::{Queue, QueueAnswer};
use crate::sweep::Swept;

/// What became of a node, where there is something to tell.
pub(crate) fn log_node(account: &AccountId, region: &Region, node: &NodeAnswer) {
    let (agency, region) = (account.as_str(), region.as_str());
    let (instance_id, ec2_instance_id) = (&node.instance_id, node.ec2_instance_id.as_deref());
    let outcome = node.outcome.as_str();
    match &node.outcome {
        Outcome::Updated => {
            let (tags_set, tags_removed) = (node.set.len(), node.removed.len());
            tracing::info!(
                agency,
                region,
                instance_id,
                ec2_instance_id,
                outcome,
                tags_set,
                tags_removed,
                "node updated"
            );
        }
        Outcome::Rejected { reason } => {
            let reason = reason.as_str();
            tracing::warn!(agency, region, instance_id, ec2_instance_id, outcome, reason, "node rejected");
        }
        Outcome::Failed { code, retryable, .. } => {
            tracing::warn!(agency, region, instance_id, ec2_instance_id, outcome, code, retryable, "node failed");
        }
        Outcome::Deferred => {
            tracing::warn!(agency, region, instance_id, ec2_instance_id, outcome, "node deferred");
        }
        Outcome::WouldUpdate | Outcome::Unchanged => {}
    }
    if let Some(reason) = node.notable_drop_reasons() {
        let tags_dropped = node.notable_drops().count();
        tracing::warn!(agency, region, instance_id, ec2_instance_id, outcome, reason, tags_dropped, "tags left behind");
    }
}

/// The messages that are no tag changes. What they hold stays out of the log.
pub(crate) fn log_refused(account: &AccountId, queue: &Queue) {
    for (message_id, problem) in queue.refused() {
        tracing::warn!(agency = account.as_str(), message_id, %problem, "message refused");
    }
}

/// The invocation in one line; `queue` is what came through a queue, and the answer to it.
pub(crate) fn log_swept(swept: &Swept, queue: Option<(&Queue, &QueueAnswer)>, duration: Duration) {
    let answer = &swept.answer;
    let sum = |field: fn(&RegionAnswer) -> usize| answer.regions.iter().map(field).sum::<usize>();
    let counts = answer.counts.unwrap_or_default();
    tracing::info!(
        agency = answer.account.as_str(),
        dry_run = answer.dry_run,
        complete = answer.is_complete(),
        messages = queue.map(|(queue, _)| queue.message_count()),
        failed_messages = queue.map(|(_, answer)| answer.batch_item_failures.len()),
        regions = answer.regions.len(),
        ignored_regions = answer.ignored_regions.len(),
        instances = sum(|region| region.instances),
        terminated = sum(|region| region.terminated),
        batches = sum(|region| region.batches),
        failed_batches = sum(|region| region.failed_batches),
        not_found = answer.not_found.len(),
        received = counts.received,
        updated = counts.updated,
        unchanged = counts.unchanged,
        rejected = counts.rejected,
        failed = counts.failed,
        deferred = counts.deferred,
        tags_set = counts.tags_set,
        tags_removed = counts.tags_removed,
        tags_dropped = counts.tags_dropped,
        duration_seconds = duration.as_secs_f64(),
        "swept"
    );
}
