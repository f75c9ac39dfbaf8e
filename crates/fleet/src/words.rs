//! Numbers, times and shares in words.

use hub::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A number with commas.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 node`, `2 nodes`, `1,000 nodes`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// The verb that goes with so many.
pub(crate) fn verb(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// A length of time, roughly: `3 min`, `7 h`, `19 days`.
pub(crate) fn rough(seconds: i64) -> String {
    let count = |seconds: i64, unit: i64| usize::try_from(seconds.max(0) / unit).unwrap_or_default();
    match seconds {
        ..HOUR => format!("{} min", count(seconds, MINUTE)),
        HOUR..DAY => format!("{} h", count(seconds, HOUR)),
        _ => counted(count(seconds, DAY), "day"),
    }
}

/// How long before `now` a time was.
pub(crate) fn age(at: Timestamp, now: Timestamp) -> String {
    rough(now.unix_seconds() - at.unix_seconds())
}

/// `Nov 23, 2026`.
pub(crate) fn day(at: Timestamp) -> String {
    let text = at.to_string();
    let part = |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse::<usize>().ok());
    match (part(0..4), part(5..7).and_then(|month| MONTHS.get(month.wrapping_sub(1))), part(8..10)) {
        (Some(year), Some(month), Some(day)) => format!("{month} {day}, {year}"),
        _ => text,
    }
}

/// `Nov 23, 2026, 06:00 UTC`.
pub(crate) fn minute(at: Timestamp) -> String {
    format!("{}, {} UTC", day(at), at.to_string().get(11..16).unwrap_or_default())
}

/// The share of a part in whole percent. All of it alone is 100, and none of it alone is 0.
pub(crate) fn percent(part: usize, of: usize) -> usize {
    match part.min(of).saturating_mul(100).checked_div(of) {
        None => 100,
        Some(0) if part > 0 => 1,
        Some(percent) => percent,
    }
}

/// The share in thousandths, for a bar.
pub(crate) fn mille(part: usize, of: usize) -> usize {
    part.min(of).saturating_mul(1_000).checked_div(of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_as_people_write_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((counted(1, "node"), counted(2_000, "node")), ("1 node".to_owned(), "2,000 nodes".to_owned()));
        assert_eq!(
            [-5, 59, 3_600, 86_399, 86_400, 900_000].map(rough),
            ["0 min", "0 min", "1 h", "23 h", "1 day", "10 days"]
        );
        let at: Timestamp = "2026-11-03T06:07:59Z".parse().unwrap();
        assert_eq!((day(at), minute(at)), ("Nov 3, 2026".to_owned(), "Nov 3, 2026, 06:07 UTC".to_owned()));
    }

    #[test]
    fn a_share_never_hides_the_last_one() {
        assert_eq!([percent(999, 1_000), percent(1_000, 1_000), percent(0, 1_000), percent(1, 1_000)], [99, 100, 0, 1]);
        assert_eq!((percent(0, 0), mille(0, 0), mille(5, 4)), (100, 0, 1_000));
    }
}
