//! Retirement: nodes whose EC2 instance is gone for good are marked, and later deregistered.
//!
//! A report names terminated instances, and the manager puts the tag `tag-hub:terminated` on their nodes. The event
//! `{"action": "retire"}`, which a schedule of the central account sends, makes [`retire()`] deregister those that
//! [`evidence`] says are dead. Both do nothing at all unless `RETIRE_NODES` says so.

mod answer;
pub mod evidence;
mod run;
mod share;

pub use answer::{RetireAnswer, RetireCounts, RetireEvent, RetireOutcome, RetiredNode};
pub use run::retire;
