//! The core: what becomes of a node, computed from values alone.
//!
//! [`Policy`] turns the tags of an EC2 instance into the tags that its node should carry ([`Desired`]);
//! [`reconcile()`] compares these with what the node carries and what the hub set before, and yields a
//! [`Plan`] or a rejection. No clock, no AWS, no logging in here.

mod applied;
mod charset;
mod desired;
mod glob;
mod mark;
mod policy;
mod policy_json;
mod reconcile;

pub use desired::{Desired, DesiredTag};
pub use mark::Mark;
pub use policy::{Derived, InvalidCharacters, Policy};
pub use reconcile::{Decision, MAX_TAGS_PER_NODE, Plan, Subject, Tags, reconcile};
