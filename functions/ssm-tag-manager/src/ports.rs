//! What the handler needs of the world: nodes with their tags, and leases on agencies.

use std::collections::BTreeMap;
use std::fmt;

use hub::{AccountId, AwsError, ManagedInstanceId, Timestamp};

use crate::plan::{Intent, Tags};

/// A filter of `GetResources` takes at most 20 values:
/// <https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_TagFilter.html>.
pub(crate) const SOURCES_PER_FIND: usize = 20;

/// The calls on managed nodes.
#[expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]
pub trait Nodes {
    /// The tags of many nodes in one call, possibly some seconds old. Nodes that never had a tag are absent.
    async fn read_many(&self, nodes: &[ManagedInstanceId]) -> Result<BTreeMap<ManagedInstanceId, Tags>, AwsError>;
    /// The tags of one node as they are now; nothing if there is no such node.
    async fn read(&self, node: &ManagedInstanceId) -> Result<Option<Tags>, AwsError>;
    /// Removes tags by key.
    async fn remove(&self, node: &ManagedInstanceId, keys: &[String]) -> Result<(), AwsError>;
    /// Adds or overwrites tags.
    async fn set(&self, node: &ManagedInstanceId, tags: &Tags) -> Result<(), AwsError>;
    /// The nodes that carry a tag with this key and one of at most `SOURCES_PER_FIND` values, or with any value if none is named.
    /// Possibly some seconds old.
    async fn find(&self, key: &str, values: &[String]) -> Result<BTreeMap<ManagedInstanceId, Tags>, AwsError>;
    /// The rates at which the service took calls of late, to hand over to the next writer.
    fn rates(&self) -> Rates;
    /// Starts from the rates that the last holder of a slot found.
    fn start_from(&self, rates: &Rates);
    /// True if an attempt of a call got no answer since this was last asked, so that AWS may still carry it out.
    fn may_land_late(&self) -> bool;
}

/// The further calls that retirement needs.
#[expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]
pub trait Retirable: Nodes {
    /// What Systems Manager knows about at most 50 nodes. A node alone that it does not know is absent; among
    /// others, it fails the call with `InvalidInstanceId`.
    async fn information(
        &self,
        nodes: &[ManagedInstanceId],
    ) -> Result<BTreeMap<ManagedInstanceId, Information>, AwsError>;
    /// Deregisters a node. There is no way back: its inventory and history go, and the machine must be registered
    /// again.
    async fn deregister(&self, node: &ManagedInstanceId) -> Result<(), AwsError>;
}

/// What Systems Manager knows about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Information {
    /// True for a node of a hybrid activation; false for an EC2 instance that is managed in its own account.
    pub is_managed_instance: bool,
    /// True if the status says that the agent does not answer (`ConnectionLost`, or the older `Inactive`), or if there
    /// is neither a status nor a ping.
    pub is_connection_lost: bool,
    /// When the agent was last heard of; if never, when the node was registered.
    pub last_seen: Option<Timestamp>,
}

/// Leases in a table that all managers share. Each call is atomic.
#[expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]
pub trait Leases {
    /// Takes a lease unless somebody holds it.
    async fn take(&self, lease: &Lease<'_>, intent: &Intent) -> Result<Taken, AwsError>;
    /// Replaces what the holder of a lease says that it is about to do.
    async fn declare(&self, lease: &Lease<'_>, intent: &Intent) -> Result<(), AwsError>;
    /// Gives a lease back, or lets it end at `until_ms` if that is ahead. What remains unsettled is for the next holder to
    /// look after.
    async fn release(&self, lease: &Lease<'_>, unsettled: &Intent) -> Result<(), AwsError>;
    /// What holders that are gone did not finish; nothing while somebody holds the lease.
    async fn left_behind(&self, lease: &LeaseName, now_ms: i64) -> Result<Intent, AwsError>;
    /// Records that a node is about to be linked to a source, and tells which other nodes were of late. Bulk reads may
    /// not show those yet.
    async fn arrive(
        &self,
        source: &str,
        node: &ManagedInstanceId,
        now_ms: i64,
    ) -> Result<Vec<ManagedInstanceId>, AwsError>;
    /// The nodes that were linked to a source of late, or were about to be.
    async fn arrived(&self, source: &str) -> Result<Vec<ManagedInstanceId>, AwsError>;
    /// Takes one of the slots for bulk writers unless somebody holds it: the rates that its last holder found.
    async fn take_slot(&self, slot: &Lease<'_>) -> Result<Option<Rates>, AwsError>;
    /// Gives a slot back with the rates that were found.
    async fn release_slot(&self, slot: &Lease<'_>, rates: &Rates) -> Result<(), AwsError>;
}

/// A lease as one holder wants or has it.
#[derive(Debug, Clone, Copy)]
pub struct Lease<'a> {
    /// What it is for.
    pub name: &'a LeaseName,
    /// Who holds it: different for every attempt to take one.
    pub holder: &'a str,
    /// The time, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// When it ends, if it is not given back before. The holder cannot live longer than that.
    pub until_ms: i64,
}

/// What came of trying to take a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is ours. Earlier holders did not finish what is in here.
    Ours(Intent),
    /// Somebody else holds it.
    Busy,
}

/// What a lease is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaseName {
    /// The nodes of one agency.
    Agency(AccountId),
    /// All nodes, if ownership is not checked.
    AllAgencies,
    /// One of the slots for bulk writers.
    Bulk(u8),
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agency(account) => write!(f, "agency#{account}"),
            Self::AllAgencies => f.write_str("agency#all"),
            Self::Bulk(number) => write!(f, "bulk#{number}"),
        }
    }
}

/// Calls a second by operation, such as `ssm:AddTagsToResource`.
pub type Rates = BTreeMap<String, f64>;
