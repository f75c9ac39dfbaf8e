//! What an invocation came to.

use hub::Timestamp;
use serde::Serialize;

/// The answer of an invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// True where nothing was written.
    pub dry_run: bool,
    /// When the fleet was read.
    pub generated: Timestamp,
    /// The agencies on the page.
    pub agencies: usize,
    /// All hybrid nodes.
    pub nodes: usize,
    /// Running instances without a node.
    pub unmanaged: usize,
    /// What is broken.
    pub broken: usize,
    /// What should be looked at.
    pub to_watch: usize,
    /// How large the page is.
    pub page_bytes: usize,
    /// What could not be read, in words.
    pub unread: Vec<String>,
}
