//! The form of what the functions of Tag Hub log and measure.
//!
//! Which lines and which metrics there are is each function's own. Nothing in here reads the environment, and only a
//! log line reads the clock, for the time that it bears.

mod log;
mod metrics;

pub use log::init_log;
pub use metrics::{Breakdown, CallCounts, METRIC_NAMESPACE, Metric, Metrics, Unit};
