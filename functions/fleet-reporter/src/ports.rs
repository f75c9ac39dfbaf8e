//! What the handler needs of the world: a hub to read, and the files of the report.

use std::collections::HashMap;

use fleet::{ActivationFacts, Latest, Node, PatchReading, RegionCoverage};
use hub::{AccountId, AwsError, ManagedInstanceId, Timestamp};

/// What the parts of a hub are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// What all of its names begin with; mostly empty.
    pub prefix: String,
    /// The manager.
    pub manager: String,
}

/// An agency that has a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Its account.
    pub account: AccountId,
    /// What its grant calls it.
    pub name: Option<String>,
}

/// What the log of the manager says.
#[derive(Debug, Clone, Default)]
pub struct Logged {
    /// The last word on each node.
    pub latest: Latest,
    /// When each agency last reported.
    pub reports: HashMap<AccountId, Timestamp>,
}

/// A page of nodes, without their patch states.
#[derive(Debug, Clone, Default)]
pub struct NodePage {
    /// The nodes with their tags, at most 50.
    pub nodes: Vec<Node>,
    /// Where the next page begins; none after the last one.
    pub next: Option<String>,
}

/// The calls on the central account.
#[expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]
pub trait Hub {
    /// The agencies that have a grant.
    async fn granted(&self) -> Result<Vec<Granted>, AwsError>;
    /// What the manager keeps of their instances.
    async fn coverage(&self) -> Result<Vec<RegionCoverage>, AwsError>;
    /// The activations of the hub that have not ended.
    async fn activations(&self) -> Result<Vec<ActivationFacts>, AwsError>;
    /// What the manager logged since a time.
    async fn logged(&self, since: Timestamp, until: Timestamp) -> Result<Logged, AwsError>;
    /// When these agencies last reported within the day before `now`, as `CloudWatch` counted.
    async fn last_reports(
        &self,
        agencies: &[AccountId],
        now: Timestamp,
    ) -> Result<HashMap<AccountId, Timestamp>, AwsError>;
    /// A page of hybrid nodes.
    async fn nodes(&self, next: Option<String>) -> Result<NodePage, AwsError>;
    /// The patch states of at most 50 nodes; those that were never scanned are absent.
    async fn patches(&self, nodes: &[ManagedInstanceId]) -> Result<HashMap<ManagedInstanceId, PatchReading>, AwsError>;
}

/// A file of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// The page.
    Page,
    /// The nodes.
    Nodes,
    /// All but the nodes.
    Summary,
}

impl File {
    /// Its name, as an object and on a disk.
    pub fn name(self) -> &'static str {
        match self {
            Self::Page => "index.html",
            Self::Nodes => "fleet.csv",
            Self::Summary => "fleet.json",
        }
    }

    /// What it is to a browser.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Page => "text/html; charset=utf-8",
            Self::Nodes => "text/csv; charset=utf-8",
            Self::Summary => "application/json",
        }
    }
}

/// Where reports are kept.
#[expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]
pub trait Store {
    /// The summary of the report before, as it is; nothing if there is none.
    async fn earlier(&self) -> Result<Option<Vec<u8>>, AwsError>;
    /// Writes a file, over the one of the report before.
    async fn write(&self, file: File, content: Vec<u8>) -> Result<(), AwsError>;
}
