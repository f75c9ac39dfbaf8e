//! What needs somebody: one finding for each kind and agency.

use hub::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};

/// Something that needs somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Whether it is broken, or only to be watched.
    pub severity: Severity,
    /// The agency; absent if it is about the hub.
    pub account: Option<AccountId>,
    /// How many nodes or instances it is about.
    pub count: usize,
    /// Since when it has been so, or the first report that had it.
    pub since: Option<Timestamp>,
}

/// What a finding is about, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An agency that reported does not any more.
    Silent,
    /// No activation registers an agency's instances.
    NoActivation,
    /// Its activation ends soon and was not renewed.
    ActivationEnds,
    /// The account has nearly as many nodes as it may have.
    LimitNear,
    /// Two instances name one node.
    Conflict,
    /// Reports about nodes are refused, or calls fail.
    Refused,
    /// More nodes are offline than instances are stopped.
    Offline,
    /// Patches failed.
    PatchesFailed,
    /// Critical patches are missing.
    CriticalPatches,
    /// Running instances have no node.
    Unmanaged,
    /// Instances lost their tag `managedinstanceid`.
    Unlinked,
    /// Tags do not reach nodes.
    LeftBehind,
    /// A granted agency never reported.
    NoReport,
    /// At the present pace the limit is near.
    LimitAhead,
}

/// Whether something is broken, or only to be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Somebody has to act.
    Broken,
    /// Somebody should look.
    Watch,
}

impl Kind {
    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::Silent
            | Self::NoActivation
            | Self::ActivationEnds
            | Self::LimitNear
            | Self::Conflict
            | Self::Refused
            | Self::Offline
            | Self::PatchesFailed => Severity::Broken,
            Self::CriticalPatches
            | Self::Unmanaged
            | Self::Unlinked
            | Self::LeftBehind
            | Self::NoReport
            | Self::LimitAhead => Severity::Watch,
        }
    }
}
