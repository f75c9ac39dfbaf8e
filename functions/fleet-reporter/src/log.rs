//! The log: a line for the report, and one for each part of it that could not be read. No tag's value is in it.

use crate::answer::Answer;

/// Writes the lines of a report.
pub(crate) fn log(answer: &Answer) {
    for problem in &answer.unread {
        tracing::warn!(problem, "failed to read part of the fleet");
    }
    tracing::info!(
        dry_run = answer.dry_run,
        agencies = answer.agencies,
        nodes = answer.nodes,
        unmanaged = answer.unmanaged,
        broken = answer.broken,
        to_watch = answer.to_watch,
        page_bytes = answer.page_bytes,
        "fleet reported"
    );
}
