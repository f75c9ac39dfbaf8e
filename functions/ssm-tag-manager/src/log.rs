//! The log of a report: a line for each node with news, up to a fixed number, and one for the whole. No tag's value is in
//! it, and no message of AWS either, because those quote values.

use std::cell::Cell;

use hub::{AccountId, Answer, NodeAnswer, Outcome, Region, Report};

use crate::answer::LeaseUse;

/// Nodes that have lines of their own: trouble first. A report can name 1,000, and an agency decides what is in it.
const NODES_MAX: usize = 100;

/// How many lines about single calls and terminated instances come before those.
const CALLS_MAX: usize = 100;

/// What the log still takes of such lines.
#[derive(Debug)]
pub(crate) struct LineBudget(Cell<usize>);

impl LineBudget {
    pub(crate) fn new() -> Self {
        Self(Cell::new(CALLS_MAX))
    }

    /// True if there may be another line.
    pub(crate) fn spend(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

/// Writes the lines of a report.
pub(crate) fn log(report: &Report, answer: &Answer, lease_use: &LeaseUse) {
    let region = report.region.as_ref().map(Region::as_str);
    let agency = answer.agency.as_ref().map(AccountId::as_str);
    let mut nodes: Vec<&NodeAnswer> = answer.nodes.iter().filter(|node| is_news(node)).collect();
    nodes.sort_by_key(|node| !is_trouble(node));
    for node in nodes.iter().take(NODES_MAX) {
        log_outcome(region, agency, node);
        log_drops(region, agency, node);
    }
    let counts = answer.counts;
    tracing::info!(
        agency,
        region,
        dry_run = answer.dry_run,
        whole = report.coverage.is_some(),
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
        tags_held = counts.tags_held,
        terminated = answer.terminated.map(|counts| counts.received),
        marked = answer.terminated.map(|counts| counts.marked),
        lease_wait_ms = lease_use.wait.as_millis(),
        slices = lease_use.slice_count,
        nodes_not_logged = nodes.len().saturating_sub(NODES_MAX),
        "report applied"
    );
}

fn is_news(node: &NodeAnswer) -> bool {
    !matches!(node.outcome, Outcome::WouldUpdate | Outcome::Unchanged) || node.notable_drops().next().is_some()
}

fn is_trouble(node: &NodeAnswer) -> bool {
    matches!(
        node.outcome,
        Outcome::Rejected { .. }
            | Outcome::Failed { .. }
            | Outcome::Deferred
            | Outcome::Unlinked
            | Outcome::Superseded
            | Outcome::Adopted
    )
}

fn log_outcome(region: Option<&str>, agency: Option<&str>, node: &NodeAnswer) {
    let (instance_id, ec2_instance_id) = (&node.instance_id, node.ec2_instance_id.as_deref());
    let (tags_set, tags_removed) = (node.set.len(), node.removed.len());
    let outcome = node.outcome.into_str();
    match &node.outcome {
        Outcome::Adopted => tracing::warn!(
            agency,
            region,
            instance_id,
            ec2_instance_id,
            outcome,
            tags_set,
            tags_removed,
            "node adopted"
        ),
        Outcome::Updated => tracing::info!(
            agency,
            region,
            instance_id,
            ec2_instance_id,
            outcome,
            tags_set,
            tags_removed,
            "node updated"
        ),
        Outcome::Rejected { reason } => tracing::warn!(
            agency,
            region,
            instance_id,
            ec2_instance_id,
            outcome,
            reason = reason.into_str(),
            tags_removed,
            "node rejected"
        ),
        Outcome::Failed { code, retryable, .. } => tracing::warn!(
            agency,
            region,
            instance_id,
            ec2_instance_id,
            outcome,
            code,
            retryable,
            tags_removed,
            "node failed"
        ),
        Outcome::Deferred => {
            tracing::warn!(agency, region, instance_id, ec2_instance_id, outcome, tags_removed, "node deferred");
        }
        Outcome::Superseded => {
            tracing::warn!(agency, region, instance_id, ec2_instance_id, outcome, tags_removed, "node superseded");
        }
        Outcome::Unlinked => tracing::warn!(agency, region, instance_id, ec2_instance_id, outcome, "node unlinked"),
        Outcome::WouldUpdate | Outcome::Unchanged => {}
    }
}

fn log_drops(region: Option<&str>, agency: Option<&str>, node: &NodeAnswer) {
    if let Some(reason) = node.notable_drop_reasons() {
        tracing::warn!(
            agency,
            region,
            instance_id = node.instance_id,
            ec2_instance_id = node.ec2_instance_id.as_deref(),
            outcome = node.outcome.into_str(),
            reason,
            tags_dropped = node.notable_drops().count(),
            "tags left behind"
        );
    }
}
