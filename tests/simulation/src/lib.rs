//! A deterministic simulation of Tag Hub: one seed decides everything that happens.
//!
//! The real handlers of the collector and the manager run over a simulated Systems Manager, tagging API, lease table and EC2, in many
//! sandboxes at the same time. Every call takes a random time, and at every `await` another sandbox may run. Calls are
//! throttled, fail, are carried out although their answer is lost, or are carried out by half; `GetResources` and EC2
//! show what was true some seconds ago; sandboxes are killed at any moment; clocks differ; events come twice, late or
//! never; operators tag nodes meanwhile; and one agency is hostile.
//!
//! Then everything is quiet, two sweeps run, and every node must be exactly right.
//!
//! ```
//! let run = simulation::run(1, simulation::Rules::default()).unwrap();
//! assert!(run.steps > 0);
//! ```

mod agency;
mod aws;
mod check;
mod collector;
mod sandbox;
mod story;
mod world;

pub use check::Violation;
pub use story::{Run, run};
pub use world::{Faults, Rules};
