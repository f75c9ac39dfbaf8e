//! Filters of the two listings.
//!
//! Shapes: `AutomationExecutionFilter`, `StepExecutionFilter`. The values of one filter are
//! alternatives, the filters of a request all have to hold. Times are ISO 8601 in UTC.

use serde_json::Value;

use crate::aws_error::AwsError;
use crate::xml::items;

/// One filter of a request.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    pub(super) key: &'a str,
    pub(super) values: Vec<&'a str>,
}

impl Filter<'_> {
    pub(super) fn any(&self, text: &str) -> bool {
        self.values.contains(&text)
    }

    /// Whether `shown`, with its start under `ExecutionStartTime`, began before or after a value.
    pub(super) fn takes_start(&self, shown: &Value) -> bool {
        let Some(start) = shown["ExecutionStartTime"].as_f64() else { return false };
        self.values
            .iter()
            .filter_map(|value| seconds(value))
            .any(|limit| if self.key == "StartTimeBefore" { start < limit } else { start > limit })
    }
}

/// The filters of a request that the model accepts.
///
/// # Errors
/// `InvalidFilterValue` for a time or a status that is none.
pub(super) fn read(body: &Value) -> Result<Vec<Filter<'_>>, AwsError> {
    let filters = items(&body["Filters"]).iter().filter_map(|filter| {
        let values = items(&filter["Values"]).iter().filter_map(Value::as_str).collect();
        Some(Filter { key: filter["Key"].as_str()?, values })
    });
    let filters: Vec<Filter<'_>> = filters.collect();
    for filter in &filters {
        let good: fn(&str) -> bool = match filter.key {
            "StartTimeBefore" | "StartTimeAfter" => |value| seconds(value).is_some(),
            "AutomationType" => |value| matches!(value, "CrossAccount" | "Local"),
            "ExecutionStatus" | "StepExecutionStatus" => |value| STATUSES.contains(&value),
            _ => |_| true,
        };
        if let Some(bad) = filter.values.iter().find(|value| !good(value)) {
            let message = format!("{bad} is not a valid value of the filter {}", filter.key);
            return Err(AwsError::new(400, "InvalidFilterValue", message));
        }
    }
    Ok(filters)
}

/// The page size of a request.
pub(super) fn limit(body: &Value) -> usize {
    const DEFAULT: u64 = 10;
    usize::try_from(body["MaxResults"].as_u64().unwrap_or(DEFAULT)).unwrap_or(usize::MAX)
}

/// A token that an earlier answer gave.
///
/// # Errors
/// `InvalidNextToken` where `parse` makes nothing of it.
pub(super) fn token<T>(body: &Value, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, AwsError> {
    match body["NextToken"].as_str().filter(|token| !token.is_empty()) {
        None => Ok(None),
        Some(token) => match parse(token) {
            Some(token) => Ok(Some(token)),
            None => Err(AwsError::new(400, "InvalidNextToken", "The specified token is not valid.")),
        },
    }
}

/// Shape: `AutomationExecutionStatus`.
const STATUSES: [&str; 19] = [
    "Pending",
    "InProgress",
    "Waiting",
    "Success",
    "TimedOut",
    "Cancelling",
    "Cancelled",
    "Failed",
    "PendingApproval",
    "Approved",
    "Rejected",
    "Scheduled",
    "RunbookInProgress",
    "PendingChangeCalendarOverride",
    "ChangeCalendarOverrideApproved",
    "ChangeCalendarOverrideRejected",
    "CompletedWithSuccess",
    "CompletedWithFailure",
    "Exited",
];

/// `2026-11-22T02:00:00Z`, with any fraction of a second, as seconds since 1970.
fn seconds(text: &str) -> Option<f64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let whole = time.split_once('.').map_or(time, |(whole, _)| whole);
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(whole, ':')?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970 of the proleptic Gregorian calendar, with March as the first month of the year.
    let year_from_march = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let leap_days = year_from_march / 4 - year_from_march / 100 + year_from_march / 400;
    let days = 365 * year_from_march + leap_days + (153 * month_from_march + 2) / 5 + day - 1 - 719_468;
    let seconds = i32::try_from(days).ok().map(|days| f64::from(days) * 86_400.0)?;
    let in_day = i32::try_from(hour * 3600 + minute * 60 + second).ok()?;
    Some(seconds + f64::from(in_day))
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(seconds("2000-02-29T12:00:00Z"), Some(951_825_600.0));
        assert_eq!(seconds("2026-11-22T02:00:00.5Z"), Some(1_795_312_800.0));
        for bad in ["2026-11-22", "2026-13-22T02:00:00Z", "yesterday", "2026-11-22T02:00:00+01:00"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
