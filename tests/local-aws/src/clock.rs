//! The one place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, for signatures and for the times that a node shows.
#[expect(clippy::disallowed_methods, reason = "an emulator's answers carry the time of day")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// A time as the JSON protocols write it: seconds since 1970.
pub(crate) fn epoch_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
