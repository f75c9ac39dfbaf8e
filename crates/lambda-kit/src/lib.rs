//! What every function of Tag Hub does the same way.
//!
//! The reader of a configuration, the deadline of an invocation, the AWS clients' connection and certificates, the
//! error that the runtime reports, and the form of log lines and metrics. Which variables, lines and metrics there are
//! is each function's own. Nothing in here reads the environment, and only a log line reads the clock, for its own
//! time.

mod config;
mod deadline;
mod error;
mod log;
mod metrics;
mod sdk;
mod trust;

pub use config::{ConfigError, Reader, text};
pub use deadline::{DEADLINE_EXCEEDED, Deadline, Margins, Stopped};
pub use error::diagnostic;
pub use log::init_log;
pub use metrics::{Breakdown, CallCounts, METRIC_NAMESPACE, Metric, Metrics, Unit};
pub use sdk::sdk_loader;
pub use trust::TrustError;
