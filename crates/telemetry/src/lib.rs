//! The form of what the functions of Tag Hub log and measure.
//!
//! Which lines and which metrics there are is each function's own. Nothing in here reads the clock or the environment.

mod log;
mod metrics;

pub use log::init_log;
pub use metrics::{Breakdown, CallCounts, METRIC_NAMESPACE, Metric, Metrics, Unit};
