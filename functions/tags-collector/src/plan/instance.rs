//! An EC2 instance as it was read.

use hub::{Instance, Tag};

/// An EC2 instance as EC2 shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenInstance {
    /// The EC2 instance.
    pub ec2_instance_id: String,
    /// Whether it lives.
    pub state: InstanceState,
    /// The managed node, as the tag `managedinstanceid` names it. Not checked.
    pub managed_instance_id: Option<String>,
    /// All tags but that one.
    pub tags: Vec<Tag>,
}

/// The state of an instance, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// `pending` or `running`.
    Running,
    /// `stopping` or `stopped`, or a state that is not known here. A stopped instance comes back as the same node.
    Stopped,
    /// `shutting-down`: it has no agent any more, and is not gone yet.
    ShuttingDown,
    /// `terminated`: there is no way back.
    Terminated,
}

/// What a report says about an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// It names a node that its tags belong to.
    Managed(Instance),
    /// It lives and names no node.
    Untagged(String),
    /// It is gone for good.
    Terminated(String),
    /// It is about to be.
    Ending,
}

impl SeenInstance {
    pub(super) fn finding(self) -> Finding {
        let Self { ec2_instance_id, state, managed_instance_id, tags } = self;
        match (state, managed_instance_id) {
            (InstanceState::Terminated, _) => Finding::Terminated(ec2_instance_id),
            (InstanceState::ShuttingDown, _) => Finding::Ending,
            (_, Some(instance_id)) => {
                Finding::Managed(Instance { instance_id, ec2_instance_id: Some(ec2_instance_id), tags })
            }
            (_, None) => Finding::Untagged(ec2_instance_id),
        }
    }
}
