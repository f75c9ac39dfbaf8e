//! The note that this tool leaves: which instance was registered as which node.
//!
//! The agent's own files say nothing of the EC2 instance, so an image that was made from a registered instance
//! carries them to every instance made from it. This note tells the clone from the original.

use hub::{AccountId, Ec2InstanceId, ManagedInstanceId, Region, Timestamp};
use serde::{Deserialize, Serialize};

use crate::aws::Identity;

/// Where the note is.
pub(crate) const MARKER_FILE: &str = "/var/lib/tag-hub/registration.json";

/// The note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Marker {
    pub(crate) managed_instance_id: ManagedInstanceId,
    pub(crate) ec2_instance_id: Ec2InstanceId,
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) registered_at: Timestamp,
}

impl Marker {
    pub(crate) fn new(identity: &Identity, node: ManagedInstanceId, now: Timestamp) -> Self {
        Self {
            managed_instance_id: node,
            ec2_instance_id: identity.instance.clone(),
            account: identity.account.clone(),
            region: identity.region.clone(),
            registered_at: now,
        }
    }

    /// Reads a note. One that cannot be read is none: it is written anew.
    pub(crate) fn parse(contents: &str) -> Option<Self> {
        serde_json::from_str(contents).ok()
    }
}
