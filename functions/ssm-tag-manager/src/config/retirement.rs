//! What the environment says about retirement.

use std::fmt;
use std::ops::RangeInclusive;

use lambda_kit::Reader;
use serde::Serialize;
use strum::IntoStaticStr;

const GRACE_HOURS: RangeInclusive<u16> = 1..=8760;
const DEFAULT_GRACE_HOURS: u16 = 24;
const LIMIT: RangeInclusive<u16> = 1..=1000;
const DEFAULT_LIMIT: u16 = 10;

/// Whether, when and how many nodes are retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `RETIRE_NODES`.
    pub mode: Mode,
    /// `RETIRE_GRACE_HOURS`: how old a mark and a node's last ping have to be, 1 to 8760.
    pub grace_hours: u16,
    /// `RETIRE_LIMIT`: the most nodes that one run deregisters, 1 to 1000.
    pub limit: u16,
}

/// What retirement may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum Mode {
    /// Nothing, not even a read.
    Off,
    /// Read and answer, write nothing.
    DryRun,
    /// Mark nodes and deregister them.
    On,
}

impl Mode {
    /// The mode for a caller who may ask for a dry run. Nobody turns on by it what is off.
    #[must_use]
    pub fn with_dry_run(self, dry_run: bool) -> Self {
        if dry_run && self == Self::On { Self::DryRun } else { self }
    }
}

impl Settings {
    /// Reads the settings. None if there was a problem, which `read` then knows.
    pub(crate) fn read(read: &mut Reader<impl Fn(&str) -> Option<String>>) -> Option<Self> {
        let modes = [Mode::Off, Mode::DryRun, Mode::On].map(|mode| (mode.into_str(), mode));
        let mode = read.word("RETIRE_NODES", &modes);
        let grace_hours = read.number("RETIRE_GRACE_HOURS", GRACE_HOURS, DEFAULT_GRACE_HOURS);
        let limit = read.number("RETIRE_LIMIT", LIMIT, DEFAULT_LIMIT);
        Some(Self { mode: mode?, grace_hours: grace_hours?, limit: limit? })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.into_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let mut read = Reader::new(|name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        });
        let settings = Settings::read(&mut read);
        read.finish(|| settings).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_retired_by_default() {
        assert_eq!(parse(&[]), Ok(Settings { mode: Mode::Off, grace_hours: 24, limit: 10 }));
    }

    #[test]
    fn every_value_is_read() {
        for (mode, expected) in [("off", Mode::Off), ("dry-run", Mode::DryRun), ("on", Mode::On)] {
            let settings = parse(&[("RETIRE_NODES", mode), ("RETIRE_GRACE_HOURS", "8760"), ("RETIRE_LIMIT", "1")]);
            assert_eq!(settings, Ok(Settings { mode: expected, grace_hours: 8760, limit: 1 }));
            assert_eq!(expected.to_string(), mode);
            assert_eq!(serde_json::to_value(expected).unwrap(), mode);
        }
    }

    #[test]
    fn every_problem_is_listed() {
        let problems = parse(&[("RETIRE_NODES", "On"), ("RETIRE_GRACE_HOURS", "0"), ("RETIRE_LIMIT", "1001")]);
        let expected = "invalid configuration: RETIRE_NODES: expected off, dry-run or on, got \"On\"; \
                        RETIRE_GRACE_HOURS: expected a number from 1 to 8760, got \"0\"; \
                        RETIRE_LIMIT: expected a number from 1 to 1000, got \"1001\"";
        assert_eq!(problems.unwrap_err(), expected);
        for (name, value) in [("RETIRE_GRACE_HOURS", "8761"), ("RETIRE_GRACE_HOURS", "1 day"), ("RETIRE_LIMIT", "-1")] {
            assert!(parse(&[(name, value)]).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn a_dry_run_turns_nothing_on() {
        assert_eq!(Mode::On.with_dry_run(true), Mode::DryRun);
        assert_eq!(Mode::On.with_dry_run(false), Mode::On);
        for mode in [Mode::Off, Mode::DryRun] {
            assert_eq!(mode.with_dry_run(true), mode);
        }
    }
}
