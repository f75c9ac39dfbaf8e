//! The tags of a node.

use std::collections::BTreeMap;

/// The tags of a node, by key.
pub type Tags = BTreeMap<String, String>;

/// How many tags a managed node may carry:
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_AddTagsToResource.html>.
pub const MAX_TAGS_PER_NODE: usize = 50;
