//! What was read about a hub, without its nodes.

use std::collections::HashMap;

use hub::{AccountId, Region, Timestamp};
use serde::{Deserialize, Serialize};

use crate::coverage::RegionCoverage;

/// What was read about a hub, without its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// When it was read.
    pub generated: Timestamp,
    /// The hub.
    pub hub: HubFacts,
    /// The agencies that were granted.
    pub agencies: Vec<AgencyFacts>,
    /// What the manager keeps of their instances.
    pub coverage: Vec<RegionCoverage>,
    /// The activations of the hub that have not ended.
    pub activations: Vec<ActivationFacts>,
    /// Nodes of each agency that had news, but no line in the manager's log.
    pub unnamed: HashMap<AccountId, usize>,
    /// What could not be read, in words.
    pub unread: Vec<String>,
}

/// The hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HubFacts {
    /// The version of its functions.
    pub version: String,
    /// The central account.
    pub account: AccountId,
    /// Where its nodes are.
    pub region: Region,
    /// How many hybrid nodes the account may have.
    pub node_limit: usize,
}

/// An agency that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgencyFacts {
    /// Its account.
    pub account: AccountId,
    /// What its grant calls it.
    pub name: Option<String>,
    /// When it last sent a report, as far as that was looked for.
    pub last_report: Option<Timestamp>,
}

/// An activation that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivationFacts {
    /// Whose instances it registers.
    pub account: AccountId,
    /// When it ends.
    pub ends: Timestamp,
    /// How many registrations are left.
    pub registrations_left: usize,
    /// Of how many.
    pub registration_limit: usize,
}
