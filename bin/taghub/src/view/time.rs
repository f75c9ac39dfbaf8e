//! Times and counts in words.

pub use fleet::{counted, grouped};

use hub::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// How long something took or takes: `14 s`, `3 min 12 s`, `7 h 46 min`, `19 days`.
pub fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let two = |whole: i64, unit: &str, rest: i64, of: i64, small: &str| match rest / of {
        0 => format!("{whole} {unit}"),
        rest => format!("{whole} {unit} {rest} {small}"),
    };
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => two(seconds / MINUTE, "min", seconds % MINUTE, 1, "s"),
        HOUR..DAY => two(seconds / HOUR, "h", seconds % HOUR, MINUTE, "min"),
        _ => counted(usize::try_from(seconds / DAY).unwrap_or_default(), "day"),
    }
}

/// How long ago something was, roughly: `14 s`, `3 min`, `7 h`, `19 days`.
pub fn rough(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..MINUTE => span(seconds),
        MINUTE..HOUR => span(seconds / MINUTE * MINUTE),
        HOUR..DAY => span(seconds / HOUR * HOUR),
        _ => span(seconds),
    }
}

/// A day and a time, to the minute: `2026-11-23 06:02`.
pub fn minute(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(..16).unwrap_or(&text).replace('T', " ")
}

/// The time of day: `06:05:23`.
pub fn clock(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(11..19).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (seconds, exact, about) in [
            (-5, "0 s", "0 s"),
            (14, "14 s", "14 s"),
            (60, "1 min", "1 min"),
            (192, "3 min 12 s", "3 min"),
            (27_960, "7 h 46 min", "7 h"),
            (3_600, "1 h", "1 h"),
            (90_000, "1 day", "1 day"),
            (1_700_000, "19 days", "19 days"),
        ] {
            assert_eq!((span(seconds).as_str(), rough(seconds).as_str()), (exact, about), "{seconds}");
        }
    }

    #[test]
    fn instants_and_counts() {
        let time: Timestamp = "2026-11-23T06:02:31Z".parse().unwrap();
        assert_eq!((minute(time).as_str(), clock(time).as_str()), ("2026-11-23 06:02", "06:02:31"));
        assert_eq!(
            [counted(1, "node"), counted(0, "node"), counted(12_345, "node")],
            ["1 node", "0 nodes", "12,345 nodes"]
        );
        assert_eq!([grouped(999), grouped(1_000), grouped(1_234_567)], ["999", "1,000", "1,234,567"]);
    }
}
