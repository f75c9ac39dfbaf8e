//! Patch states of nodes, as Patch Manager keeps them.

use hub::Timestamp;

/// A scan or an installation counts for so long.
const SCAN_COUNTS_SECONDS: i64 = 7 * 24 * 60 * 60;

/// What `DescribeInstancePatchStates` says of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PatchReading {
    /// Approved patches that are not installed.
    pub missing: u32,
    /// Patches that could not be installed.
    pub failed: u32,
    /// Patches of critical importance that are missing, failed or waiting for a reboot.
    pub critical: u32,
    /// Patches that wait for a reboot.
    pub pending_reboot: u32,
    /// When the last scan or installation ended.
    pub scanned_at: Option<Timestamp>,
}

/// How the patches of a node stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patching {
    /// Scanned lately, and nothing is missing.
    Patched,
    /// Not scanned lately.
    NoScan,
    /// Installed, but not in force.
    RebootPending,
    /// Patches are missing.
    Missing,
    /// Patches could not be installed.
    Failed,
}

impl Patching {
    /// By what was read, at a time. What is known to be wrong counts however old it is.
    pub fn of(reading: Option<&PatchReading>, now: Timestamp) -> Self {
        let Some(reading) = reading else { return Self::NoScan };
        let is_recent =
            reading.scanned_at.is_some_and(|at| now.unix_seconds() - at.unix_seconds() <= SCAN_COUNTS_SECONDS);
        match reading {
            PatchReading { failed: 1.., .. } => Self::Failed,
            PatchReading { missing: 1.., .. } => Self::Missing,
            PatchReading { pending_reboot: 1.., .. } => Self::RebootPending,
            _ if is_recent => Self::Patched,
            _ => Self::NoScan,
        }
    }

    /// The word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Patched => "patched",
            Self::NoScan => "no-scan",
            Self::RebootPending => "reboot-pending",
            Self::Missing => "missing",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_and_silence_is_not_good() {
        let now = Timestamp::from_unix_seconds(10_000_000);
        let at = |age: i64| Some(Timestamp::from_unix_seconds(10_000_000 - age));
        let reading = |missing, failed, pending_reboot, scanned_at| PatchReading {
            missing,
            failed,
            pending_reboot,
            critical: 0,
            scanned_at,
        };
        let week = SCAN_COUNTS_SECONDS;
        for (reading, expected) in [
            (None, Patching::NoScan),
            (Some(reading(0, 0, 0, at(week))), Patching::Patched),
            (Some(reading(0, 0, 0, at(week + 1))), Patching::NoScan),
            (Some(reading(0, 0, 0, None)), Patching::NoScan),
            (Some(reading(0, 0, 1, at(1))), Patching::RebootPending),
            (Some(reading(2, 0, 1, at(week + 1))), Patching::Missing),
            (Some(reading(2, 1, 1, at(1))), Patching::Failed),
        ] {
            assert_eq!(Patching::of(reading.as_ref(), now), expected, "{reading:?}");
        }
    }
}
