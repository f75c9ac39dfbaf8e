//! `ssm-tag-manager`: applies the EC2 tags that agencies report to their managed nodes.
//!
//! Runs in the central account. Every agency invokes it through an alias of its own,
//! `agency-<account id>`, and may invoke nothing else: the alias in the invoked ARN is what says who calls.
//!
//! # Input and output
//! A [`hub::Report`]; the answer is a [`hub::Answer`] with an outcome for every node and a reason for every
//! tag that was left behind.
//!
//! # Configuration
//! | variable | meaning | default |
//! |---|---|---|
//! | `TAG_POLICY` | which tags are carried over, and how: see [`plan::Policy`] | `{}` |
//! | `OWNERSHIP_CHECK` | `enforce`: a node belongs to the agency in its tag `tag-hub:agency`; `off`: no check | `enforce` |
//!
//! # IAM actions
//! `tag:GetResources`, `ssm:ListTagsForResource`, `ssm:AddTagsToResource`, `ssm:RemoveTagsFromResource`.
//!
//! # Metrics
//! One line in the embedded metric format for each invocation: see [`metrics()`].
//!
//! # Failure policy
//! A report that cannot be read or whose sender is not who it claims to be fails the invocation before the
//! first call. From then on every failure is the outcome of one node. Only a report without a reader
//! (`"reply": false`) ends in the error `Incomplete` where trying again can help, so that Lambda tries again.

pub mod config;
pub mod plan;

mod error;
mod log;
mod pace;
mod triage;

pub mod handler;
pub mod metrics;

pub mod aws;

pub use config::Config;
pub use error::ManagerError;
pub use handler::{Handled, Invocation, handle};
pub use metrics::metrics;
