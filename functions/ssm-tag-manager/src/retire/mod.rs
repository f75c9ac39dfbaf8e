//! Retirement: nodes whose EC2 instance is gone for good are marked, and later deregistered.
//!
//! A report names terminated instances, and `mark` puts the tag `tag-hub:terminated` on their nodes. The event
//! `{"action": "retire"}`, which a schedule of the central account sends, makes [`retire()`] deregister those that
//! [`evidence`] says are dead. Both do nothing at all unless `RETIRE_NODES` says so.

use std::collections::BTreeMap;

use hub::{AwsError, ManagedInstanceId};

use crate::handler::Nodes;
use crate::plan::Tags;

mod answer;
pub mod evidence;
mod mark;
mod run;
mod settings;
mod source;

pub use answer::{RetireAnswer, RetireCounts, RetireEvent, RetireOutcome, RetiredNode};
pub use run::retire;
pub use settings::{Mode, Settings};
pub use source::Source;

pub(crate) use mark::{Marking, mark};

use evidence::Information;

/// The calls that retirement needs beside those of tagging.
#[expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]
pub trait Retirable: Nodes {
    /// The nodes that carry a tag with this key and one of at most 20 values, or with any value where none is named.
    /// Possibly some seconds old.
    async fn find(&self, key: &str, values: &[String]) -> Result<BTreeMap<ManagedInstanceId, Tags>, AwsError>;
    /// What Systems Manager knows about at most 50 nodes. A node alone that it does not know is absent; among
    /// others, it fails the call with `InvalidInstanceId`.
    async fn information(
        &self,
        nodes: &[ManagedInstanceId],
    ) -> Result<BTreeMap<ManagedInstanceId, Information>, AwsError>;
    /// Deregisters a node. There is no way back: its inventory and history go, and the machine must be registered
    /// anew.
    async fn deregister(&self, node: &ManagedInstanceId) -> Result<(), AwsError>;
}
