//! The core: what becomes of a node, computed from values alone.
//!
//! [`Policy`] turns the tags of an EC2 instance into the tags that its node should carry ([`Desired`]);
//! [`reconcile()`] compares these with what the node carries and what the hub set before, and yields a
//! [`Plan`] or a rejection. No clock, no AWS, no logging in here.

mod charset;
mod coverage;
mod desired;
mod fold;
mod glob;
mod intent;
mod last_applied;
mod policy;
mod policy_json;
mod reconcile;
mod source;
mod tags;
mod termination_marker;
mod validate;

pub use coverage::{CoverageRecord, KeptCoverage, REGIONS_KEPT, UNMANAGED_KEPT};
pub use desired::{Desired, DesiredTag};
pub use intent::{Intent, NodeIntent};
pub use last_applied::{LastApplied, Salt};
pub use policy::{Derived, InvalidCharacters, Policy};
pub use reconcile::{Decision, Plan, ReportContext, contested, reconcile, release, settled_memory};
pub use source::Source;
pub use tags::{MAX_TAGS_PER_NODE, Tags};
pub use termination_marker::TerminationMarker;

pub(crate) use validate::{Candidate, validate};
