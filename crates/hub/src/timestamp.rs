//! An instant in whole seconds, on the wire in RFC 3339.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Seconds since 1970-01-01T00:00:00Z. Written as `2026-11-22T02:00:00Z`; an offset is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `seconds` after the epoch.
    pub fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the epoch.
    pub fn unix_seconds(self) -> i64 {
        self.0
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(DateTime::from(time).secs())
    }
}

impl FromStr for Timestamp {
    type Err = Invalid;

    fn from_str(value: &str) -> Result<Self, Invalid> {
        DateTime::from_str(value, Format::DateTimeWithOffset)
            .map(|time| Self(time.secs()))
            .map_err(|_| Invalid::new("a time such as 2026-11-22T02:00:00Z", value))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = Invalid;

    fn try_from(value: String) -> Result<Self, Invalid> {
        value.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_secs(self.0).fmt(Format::DateTime) {
            Ok(text) => f.write_str(&text),
            // Only a year past 9999 has no such form.
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_rfc_3339() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-22T02:00:00Z", 1_795_312_800),
            ("2026-11-22T02:00:00.999Z", 1_795_312_800),
            ("2026-11-22T04:00:00+02:00", 1_795_312_800),
        ] {
            assert_eq!(text.parse(), Ok(Timestamp::from_unix_seconds(seconds)), "{text}");
        }
        assert_eq!(Timestamp::from_unix_seconds(1_795_312_800).to_string(), "2026-11-22T02:00:00Z");
        for text in ["", "yesterday", "2026-11-22", "2026-13-22T02:00:00Z", "1795312800"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }
}
