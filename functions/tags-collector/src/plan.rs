//! The core: what to read for an event, what to report of what was read, and what has to be tried again. Pure.

mod backoff;
mod batch;
mod coverage;
mod instance;
mod region;
mod retry;
mod scope;

pub use backoff::busy_wait;
pub use batch::{Batch, Batcher, Limits, ReportContext};
pub use coverage::CoverageTally;
pub use instance::{InstanceState, SeenInstance};
pub use region::{RegionReading, RegionResult};
pub use retry::RetrySet;
pub use scope::{InstanceArn, RegionScope, Scope, unique};
