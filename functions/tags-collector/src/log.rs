//! The log: lines for nodes with news, up to a number for each report, and one for the invocation. No tag's value is in
//! it, and no message about a node either, because AWS quotes values in those.

use std::time::Duration;

use hub::{AccountId, NodeAnswer, Outcome, Region};

use crate::answer::{RegionAnswer, SweepOutcome, is_trouble};
use crate::event::Queue;

/// How many nodes of a report have lines of their own, at most two each.
const NODES_MAX: usize = 50;
/// How many refused messages of an invocation have a line of their own.
const MESSAGES_MAX: usize = 20;

/// What became of the nodes of a report: those in trouble first, and the rest as numbers.
pub(crate) fn log_nodes(account: &AccountId, region: &Region, nodes: &[NodeAnswer]) {
    let has_news = |node: &&NodeAnswer| match node.outcome {
        Outcome::WouldUpdate | Outcome::Unchanged => node.notable_drops().next().is_some(),
        _ => true,
    };
    let (trouble, news): (Vec<_>, Vec<_>) = nodes.iter().filter(has_news).partition(|node| is_trouble(&node.outcome));
    let mut nodes = trouble.into_iter().chain(news);
    nodes.by_ref().take(NODES_MAX).for_each(|node| log_node(account, region, node));
    let rest: Vec<_> = nodes.collect();
    if rest.is_empty() {
        return;
    }
    let count = |outcome: &str| rest.iter().filter(|node| node.outcome.into_str() == outcome).count();
    tracing::warn!(
        agency = account.as_str(),
        region = region.as_str(),
        nodes = rest.len(),
        rejected = count("rejected"),
        failed = count("failed"),
        deferred = count("deferred"),
        adopted = count("adopted"),
        superseded = count("superseded"),
        unlinked = count("unlinked"),
        updated = count("updated"),
        "further nodes not listed"
    );
}

fn log_node(account: &AccountId, region: &Region, node: &NodeAnswer) {
    let (agency, region) = (account.as_str(), region.as_str());
    let (instance_id, ec2_instance_id) = (&node.instance_id, node.ec2_instance_id.as_deref());
    let outcome = node.outcome.into_str();
    let (tags_set, tags_removed) = (node.set.len(), node.removed.len());
    /// A line about the node.
    macro_rules! news {
        ($level:ident, $message:literal $(, $field:ident)*) => {
            tracing::$level!(agency, region, instance_id, ec2_instance_id, outcome $(, $field)*, $message)
        };
    }
    match &node.outcome {
        Outcome::Updated => news!(info, "node updated", tags_set, tags_removed),
        Outcome::Rejected { reason } => {
            let reason = reason.into_str();
            news!(warn, "node rejected", reason);
        }
        Outcome::Failed { code, retryable, .. } => news!(warn, "node failed", code, retryable),
        Outcome::Deferred => news!(warn, "node deferred"),
        Outcome::Adopted => news!(warn, "node adopted", tags_set, tags_removed),
        Outcome::Superseded => news!(warn, "node superseded"),
        Outcome::Unlinked => news!(warn, "node unlinked"),
        Outcome::WouldUpdate | Outcome::Unchanged => {}
    }
    if let Some(reason) = node.notable_drop_reasons() {
        let tags_dropped = node.notable_drops().count();
        news!(warn, "tags left behind", reason, tags_dropped);
    }
}

/// A report that had to wait for the manager.
pub(crate) fn log_waited(region: &Region, refusals: u32, waited: Duration, is_taken: bool) {
    let wait_seconds = waited.as_secs_f64();
    tracing::info!(region = region.as_str(), refusals, wait_seconds, taken = is_taken, "manager busy");
}

/// The messages that are not changes. What they hold stays out of the log.
pub(crate) fn log_refused(account: &AccountId, queue: &Queue) {
    let mut refused = queue.refused();
    for (message_id, problem) in refused.by_ref().take(MESSAGES_MAX) {
        tracing::warn!(agency = account.as_str(), message_id, %problem, "message refused");
    }
    let messages = refused.count();
    if messages > 0 {
        tracing::warn!(agency = account.as_str(), messages, "further messages refused");
    }
}

/// The invocation in one line. For messages of a queue: how many there were, and how many have to come again.
pub(crate) fn log_swept(outcome: &SweepOutcome, messages: Option<(usize, usize)>, duration: Duration) {
    let answer = &outcome.answer;
    let sum = |field: fn(&RegionAnswer) -> usize| answer.regions.iter().map(field).sum::<usize>();
    let counts = answer.counts.unwrap_or_default();
    tracing::info!(
        agency = answer.account.as_str(),
        dry_run = answer.dry_run,
        complete = answer.is_complete(),
        messages = messages.map(|(all, _)| all),
        failed_messages = messages.map(|(_, failed)| failed),
        regions = answer.regions.len(),
        ignored_regions = answer.ignored_regions.len(),
        instances = sum(|region| region.instances),
        untagged = sum(|region| region.untagged),
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
        adopted = counts.adopted,
        superseded = counts.superseded,
        unlinked = counts.unlinked,
        tags_set = counts.tags_set,
        tags_removed = counts.tags_removed,
        tags_dropped = counts.tags_dropped,
        duration_seconds = duration.as_secs_f64(),
        "swept"
    );
}
