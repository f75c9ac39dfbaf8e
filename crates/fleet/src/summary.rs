//! What is known of a fleet without its nodes: `fleet.json`.

use hub::{AccountId, ManagedInstanceId, Region, Timestamp};
use serde::{Deserialize, Serialize};

use crate::facts::HubFacts;
use crate::finding::Finding;

pub(crate) const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The form of the file. Fields are only ever added.
pub const FLEET_SCHEMA: &str = "tag-hub.fleet/1";

/// What is known of a fleet without its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// [`FLEET_SCHEMA`].
    pub schema: String,
    /// When it was read.
    pub generated: Timestamp,
    /// The hub.
    pub hub: HubFacts,
    /// All agencies together.
    pub total: Figures,
    /// Each agency, in the order of their accounts.
    pub agencies: Vec<AgencySummary>,
    /// What needs somebody, the worst first.
    pub findings: Vec<Finding>,
    /// Nodes that lost tags, by reason.
    pub dropped_tags: Vec<DroppedTags>,
    /// The agents of the agencies' nodes.
    pub agents: Vec<AgentVersion>,
    /// Nodes against what the account may have.
    pub limit: Limit,
    /// One point for each day, the oldest first.
    pub trend: Vec<Point>,
    /// Nodes that had news for which the manager's log had no room: they count as without a report.
    #[serde(default)]
    pub unnamed: usize,
    /// What could not be read, in words.
    pub unread: Vec<String>,
}

/// How many of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Figures {
    /// Instances that run.
    pub running: usize,
    /// Instances that are stopped.
    pub stopped: usize,
    /// Instances of either kind that have a node.
    pub managed: usize,
    /// Running instances that have none.
    pub unmanaged: usize,
    /// Nodes.
    pub nodes: usize,
    /// Nodes that are heard of.
    pub online: usize,
    /// Nodes that are not.
    pub offline: usize,
    /// Nodes whose tags are as the last report wanted them.
    pub in_step: usize,
    /// Nodes that lost tags on the way.
    pub left_behind: usize,
    /// The tags that they lost.
    pub tags_dropped: usize,
    /// Nodes that two instances name.
    pub conflict: usize,
    /// Nodes whose instance lost its tag `managedinstanceid`.
    pub unlinked: usize,
    /// Nodes about which a report was refused for another reason, or a call failed.
    pub refused: usize,
    /// Nodes of agencies that are silent, and such as were never reported.
    pub no_report: usize,
    /// Nodes whose instance is terminated, or registered again.
    pub gone: usize,
    /// Those of them that are offline.
    pub gone_offline: usize,
    /// Scanned lately, with nothing missing.
    pub patched: usize,
    /// Nodes with patches missing.
    pub patches_missing: usize,
    /// Nodes with patches that failed.
    pub patches_failed: usize,
    /// Nodes that wait for a reboot.
    pub reboot_pending: usize,
    /// Nodes that were not scanned lately.
    pub no_scan: usize,
    /// Nodes with critical patches missing.
    pub critical: usize,
}

/// What is known of an agency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgencySummary {
    /// Its account.
    pub account: AccountId,
    /// What its grant calls it.
    pub name: Option<String>,
    /// False if it has nodes or instances, but no grant any more.
    pub granted: bool,
    /// When it last reported, as far as is known.
    pub last_report: Option<Timestamp>,
    /// True if that is too long ago.
    pub silent: bool,
    /// Its instances and nodes.
    #[serde(flatten)]
    pub figures: Figures,
    /// When its instances were last another number; absent if none are known.
    pub coverage_changed: Option<Timestamp>,
    /// The oldest of its nodes' last scans; absent if none was scanned.
    pub oldest_scan: Option<Timestamp>,
    /// Its running instances without a node, the first ones.
    pub unmanaged_instances: Vec<Unmanaged>,
    /// Its nodes that lost tags, by reason.
    #[serde(default)]
    pub dropped_tags: Vec<DroppedTags>,
    /// The activation that lasts longest.
    pub activation: Option<Activation>,
}

impl AgencySummary {
    /// Its name, or its account.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(self.account.as_str())
    }

    /// Instances of either kind.
    pub fn instances(&self) -> usize {
        self.figures.running.saturating_add(self.figures.stopped)
    }
}

/// A running instance without a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unmanaged {
    /// The instance.
    pub instance: String,
    /// Where it is.
    pub region: Region,
    /// The first report that had it.
    pub since: Timestamp,
    /// The node that was its own, if it lost its tag `managedinstanceid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<ManagedInstanceId>,
}

/// An activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Activation {
    /// When it ends.
    pub ends: Timestamp,
    /// How many registrations are left.
    pub registrations_left: usize,
    /// Of how many.
    pub registration_limit: usize,
}

/// Nodes that lost tags for a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedTags {
    /// The reason.
    pub reason: String,
    /// The nodes.
    pub nodes: usize,
}

/// Nodes by the version of their agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentVersion {
    /// The version.
    pub version: String,
    /// The nodes.
    pub nodes: usize,
}

/// Nodes against what the account may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// All hybrid nodes of the account and Region.
    pub nodes: usize,
    /// Those of them that belong to no agency.
    pub others: usize,
    /// How many there may be.
    pub limit: usize,
    /// How many came in 1,000 days, at the pace of the last days; absent if there are too few days.
    pub per_thousand_days: Option<i64>,
    /// When 95 percent are reached at that pace.
    pub near_at: Option<Timestamp>,
    /// When the limit is reached at that pace.
    pub full_at: Option<Timestamp>,
}

impl Limit {
    /// The share of the limit in whole percent.
    pub fn percent(&self) -> usize {
        self.nodes.saturating_mul(100) / self.limit.max(1)
    }
}

/// The figures of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// When the last report of the day was made.
    pub at: Timestamp,
    /// Instances of the agencies, running or stopped.
    pub instances: usize,
    /// Those that have a node.
    pub managed: usize,
    /// Nodes of the agencies.
    pub nodes: usize,
    /// Those that are heard of.
    pub online: usize,
    /// Those whose tags are in step.
    pub in_step: usize,
    /// Those that are patched.
    pub patched: usize,
    /// All hybrid nodes of the account and Region.
    pub hybrid_nodes: usize,
}

impl Point {
    pub(crate) fn new(at: Timestamp, total: &Figures, hybrid_nodes: usize) -> Self {
        Self {
            at,
            instances: total.running.saturating_add(total.stopped),
            managed: total.managed,
            nodes: total.nodes,
            online: total.online,
            in_step: total.in_step,
            patched: total.patched,
            hybrid_nodes,
        }
    }

    pub(crate) fn day(&self) -> i64 {
        self.at.unix_seconds().div_euclid(DAY_SECONDS)
    }
}
