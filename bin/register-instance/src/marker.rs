//! The note that this tool leaves: which instance was registered as which node.
//!
//! The agent's own files do not name the EC2 instance, so an image that was made from a registered instance carries
//! them to every instance made from it. This note tells the clone from the original.

use hub::{AccountId, Ec2InstanceId, ManagedInstanceId, Region, Timestamp};
use serde::{Deserialize, Serialize};

/// Where the note is.
pub(crate) const MARKER_FILE: &str = "/var/lib/tag-hub/registration.json";

/// The note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Marker {
    pub(crate) managed_instance_id: ManagedInstanceId,
    pub(crate) ec2_instance_id: Ec2InstanceId,
    pub(crate) account: AccountId,
    /// Where the instance runs.
    pub(crate) region: Region,
    /// Where the node is. A note of an older version does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hub_region: Option<Region>,
    /// The central account, if the activation named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hub_account: Option<AccountId>,
    pub(crate) registered_at: Timestamp,
}

impl Marker {
    /// Reads a note. One that cannot be read counts as missing: it is written again.
    pub(crate) fn parse(contents: &str) -> Option<Self> {
        serde_json::from_str(contents).ok()
    }
}
