//! The tags that a node should carry.

use hub::{DropReason, DroppedTag};

/// What a policy makes of the tags of one EC2 instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The most important first; keys are unique, and Systems Manager takes each.
    pub tags: Vec<DesiredTag>,
    /// What was left behind, sorted by key.
    pub dropped: Vec<DroppedTag>,
}

/// A tag that a node should carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredTag {
    /// The key on the node.
    pub key: String,
    /// The value on the node.
    pub value: String,
    /// The key on the EC2 instance, or the key itself where the policy adds the tag.
    pub source_key: String,
}

impl DesiredTag {
    pub(super) fn dropped(&self, reason: DropReason) -> DroppedTag {
        DroppedTag { key: self.source_key.clone(), reason }
    }
}
