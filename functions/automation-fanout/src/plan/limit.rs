//! A concurrency or an error threshold: a number or a percentage.

use std::fmt;

use serde::Serialize;

/// A limit as the API spells it: `10` or `10%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum Limit {
    /// So many, whatever the size of the set.
    Count(u32),
    /// So many of a hundred.
    Percent(u8),
}

/// The limits are strings of at most seven characters.
const LENGTH_MAX: usize = 7;

impl Limit {
    /// Reads a limit on what may run at the same time: `1` and more, or `1%` to `100%`.
    pub fn concurrency(text: &str) -> Option<Self> {
        parse(text).filter(|limit| !matches!(limit, Self::Count(0) | Self::Percent(0)))
    }

    /// Reads a limit on errors: `0` and more, or `0%` to `100%`.
    pub fn errors(text: &str) -> Option<Self> {
        parse(text)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl From<Limit> for String {
    fn from(limit: Limit) -> Self {
        limit.to_string()
    }
}

fn parse(text: &str) -> Option<Limit> {
    let (digits, is_percent) = match text.strip_suffix('%') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let is_number = !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'))
        && text.len() <= LENGTH_MAX;
    if !is_number {
        return None;
    }
    let number: u32 = digits.parse().ok()?;
    if !is_percent {
        return Some(Limit::Count(number));
    }
    u8::try_from(number).ok().filter(|percent| *percent <= 100).map(Limit::Percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_percentages_are_read_as_the_api_spells_them() {
        for (text, expected) in [
            ("1", Some(Limit::Count(1))),
            ("9999999", Some(Limit::Count(9_999_999))),
            ("1%", Some(Limit::Percent(1))),
            ("100%", Some(Limit::Percent(100))),
            ("0", None),
            ("0%", None),
            ("101%", None),
            ("999%", None),
            ("10000000", None),
            ("01", None),
            ("05%", None),
            ("1.5", None),
            ("-1", None),
            ("+1", None),
            (" 1", None),
            ("%", None),
            ("1%%", None),
            ("", None),
            ("all", None),
        ] {
            assert_eq!(Limit::concurrency(text), expected, "{text:?}");
        }
    }

    #[test]
    fn errors_may_be_none_at_all() {
        assert_eq!(Limit::errors("0"), Some(Limit::Count(0)));
        assert_eq!(Limit::errors("0%"), Some(Limit::Percent(0)));
        assert_eq!(Limit::errors("00"), None);
        assert_eq!(Limit::errors("101%"), None);
    }

    #[test]
    fn a_limit_is_written_as_it_was_read() {
        for text in ["0", "7", "0%", "7%", "100%"] {
            assert_eq!(Limit::errors(text).map(String::from).as_deref(), Some(text));
        }
    }
}
