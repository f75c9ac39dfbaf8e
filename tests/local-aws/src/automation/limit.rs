//! How many pairs of a target location run at once, and how many of them may fail.
//!
//! Shapes: `MaxConcurrency`, `MaxErrors`. A number, or a percentage of the pairs of the location.

use serde_json::Value;

/// The limits of one target location, as numbers of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) concurrency: usize,
    /// The location begins no further pair once more than this have failed.
    pub(super) errors: usize,
}

impl Limits {
    /// Defaults: `TargetLocationMaxConcurrency` 1, `TargetLocationMaxErrors` 0.
    pub(super) fn read(location: &Value, pairs: usize) -> Self {
        let number = |name: &str, default| amount(location[name].as_str(), pairs).unwrap_or(default);
        Self {
            concurrency: number("TargetLocationMaxConcurrency", 1).max(1),
            errors: number("TargetLocationMaxErrors", 0),
        }
    }
}

/// A percentage is rounded down: with 10 % of 50 the sixth error stops.
fn amount(text: Option<&str>, of: usize) -> Option<usize> {
    let text = text?;
    match text.strip_suffix('%') {
        Some(percent) => Some(of.saturating_mul(percent.parse().ok()?) / 100),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(concurrency: Option<&str>, errors: Option<&str>, pairs: usize, expected: (usize, usize)) {
        let location = json!({"TargetLocationMaxConcurrency": concurrency, "TargetLocationMaxErrors": errors});
        let limits = Limits::read(&location, pairs);
        assert_eq!((limits.concurrency, limits.errors), expected, "{location} of {pairs}");
    }

    #[test]
    fn numbers_percentages_and_defaults() {
        check(None, None, 50, (1, 0));
        check(Some("7"), Some("3"), 50, (7, 3));
        check(Some("10%"), Some("10%"), 50, (5, 5));
        check(Some("10%"), Some("10%"), 9, (1, 0));
        check(Some("100%"), Some("100%"), 9, (9, 9));
    }
}
