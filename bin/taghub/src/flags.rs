//! What is given on the command line beside the command, and how it is read.

use std::time::Duration;

use clap::{Args, ValueEnum};
use hub::Region;

use crate::terminal::Color;

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The profile of the AWS configuration to use
    #[arg(long, value_name = "NAME", global = true)]
    pub profile: Option<String>,

    /// The Region of the hub
    #[arg(long, value_name = "REGION", value_parser = str::parse::<Region>, global = true)]
    pub region: Option<Region>,

    /// Where to send all calls, such as <http://127.0.0.1:4566>
    #[arg(long, value_name = "URL", global = true)]
    pub endpoint_url: Option<String>,

    /// The profile for an agency's account
    #[arg(long, value_name = "NAME", global = true)]
    pub agency_profile: Option<String>,

    /// The NamePrefix of the hub, such as test-, if the account has several
    #[arg(long = "hub", value_name = "PREFIX", default_value = "", hide_default_value = true, value_parser = name_prefix, global = true)]
    pub name_prefix: String,

    /// How to print the result
    #[arg(short, long, value_enum, default_value_t = Format::Table, hide_possible_values = true, value_name = "table|json|csv", global = true)]
    pub output: Format,

    /// When to use color
    #[arg(long, value_enum, default_value_t = Color::Auto, hide_possible_values = true, value_name = "auto|always|never", global = true)]
    pub color: Color,

    /// No progress and no hints
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Show each AWS call with its time, attempts, and request id
    #[arg(short, long, conflicts_with = "quiet", global = true)]
    pub verbose: bool,

    /// Never ask
    #[arg(long, global = true)]
    pub no_input: bool,

    /// Stop waiting after this time, such as 90s, 10m, or 2h. The work in AWS continues
    #[arg(long, value_name = "TIME", value_parser = duration, global = true)]
    pub timeout: Option<Duration>,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
    Csv,
}

/// Reads a length of time: a number with `s`, `m`, `h` or `d`.
///
/// # Errors
/// In words.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 0,
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(|| "expected a time such as 90s, 10m, 2h, or 7d".to_owned())
}

/// A prefix as the templates take it; the hyphen at its end may be left out.
fn name_prefix(text: &str) -> Result<String, String> {
    let prefix = if text.is_empty() || text.ends_with('-') { text.to_owned() } else { format!("{text}-") };
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_prefix =
        prefix.len() <= 16 && prefix.starts_with(|c: char| c.is_ascii_lowercase()) && prefix.bytes().all(is_word);
    if prefix.is_empty() || is_prefix {
        return Ok(prefix);
    }
    Err("expected at most 16 lowercase letters, digits, and hyphens, beginning with a letter".to_owned())
}

/// Reads `K=V`.
///
/// # Errors
/// In words.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds) in
            [("90s", Some(90)), ("45", Some(45)), ("10m", Some(600)), ("2h", Some(7_200)), ("7d", Some(604_800))]
        {
            assert_eq!(duration(text).ok().map(|time| time.as_secs()), seconds, "{text}");
        }
        for text in ["", "0s", "m", "5w", "-1s", "1.5h", "99999999999999999999s", "9999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prefixes() {
        for (text, prefix) in [
            ("", Some("")),
            ("test-", Some("test-")),
            ("test", Some("test-")),
            ("Test", None),
            ("1-", None),
            ("a_b", None),
        ] {
            assert_eq!(name_prefix(text).ok().as_deref(), prefix, "{text}");
        }
    }

    #[test]
    fn pairs() {
        assert_eq!(pair("Patch Group=a=b"), Ok(("Patch Group".to_owned(), "a=b".to_owned())));
        assert_eq!(pair("Env="), Ok(("Env".to_owned(), String::new())));
        assert!(pair("Env").is_err() && pair("=x").is_err());
    }
}
