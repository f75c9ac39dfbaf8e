//! Which past runs a caller asks for.

use hub::Timestamp;
use serde_json::{Map, Value};
use strum::EnumString;

use super::reader::{Expected, Reader};
use super::{checks, idempotency_key, start};
use crate::plan::problem::Path;

const RESULTS_DEFAULT: usize = 20;
const RESULTS_MAX: u64 = 200;

/// Which past runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Started under this key.
    pub idempotency_key: Option<String>,
    /// Of runbooks whose names begin so.
    pub document_name: Option<String>,
    /// How they ended, or that they have not.
    pub outcome: Option<Outcome>,
    /// Started at this time or later.
    pub started_after: Option<Timestamp>,
    /// Started before this time.
    pub started_before: Option<Timestamp>,
    /// That touched this instance or node.
    pub instance_id: Option<String>,
    /// At most so many.
    pub max_results: usize,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString)]
pub enum Outcome {
    /// It has not.
    Running,
    /// Well.
    Success,
    /// Not well.
    Failed,
    /// It took too long.
    TimedOut,
    /// Somebody or an alarm stopped it.
    Cancelled,
}

impl Outcome {
    /// The service's words for it.
    pub fn statuses(self) -> &'static [&'static str] {
        match self {
            Self::Running => &[
                "Pending",
                "InProgress",
                "Waiting",
                "Cancelling",
                "PendingApproval",
                "Approved",
                "Scheduled",
                "RunbookInProgress",
                "PendingChangeCalendarOverride",
                "ChangeCalendarOverrideApproved",
            ],
            Self::Success => &["Success", "CompletedWithSuccess"],
            Self::Failed => &["Failed", "Rejected", "CompletedWithFailure", "ChangeCalendarOverrideRejected", "Exited"],
            Self::TimedOut => &["TimedOut"],
            Self::Cancelled => &["Cancelled"],
        }
    }
}

pub(super) fn query(reader: &mut Reader, fields: &Map<String, Value>) -> Query {
    let root = Path::Root;
    let name = Expected::Open("the beginning of a runbook's name");
    let outcome = Expected::Open("Running, Success, Failed, TimedOut or Cancelled");
    let instance = Expected::Open("an instance id i-… or a node id mi-…");
    let text = |reader: &mut Reader, field: &str, words: &Expected, is_valid: fn(&str) -> bool| {
        fields.get(field).and_then(|value| reader.string(value, &root.field(field), words, is_valid))
    };
    let document_name = text(reader, "DocumentName", &name, |text| checks::is_length(text, 1, 128));
    let instance_id = text(reader, "InstanceId", &instance, is_instance);
    let outcome = start::member(fields, &root, "Outcome", |value, path| {
        reader.parsed(value, path, &outcome, |text| text.parse().ok())
    });
    let max_results = start::member(fields, &root, "MaxResults", |value, path| {
        reader.number(value, path, (1, RESULTS_MAX)).and_then(|number| usize::try_from(number).ok())
    });
    let (after, before) = (time(reader, fields, "StartedAfter"), time(reader, fields, "StartedBefore"));
    if let (Some(after), Some(before)) = (after, before)
        && after >= before
    {
        reader.refuse(&root.field("StartedBefore"), format!("expected a time after StartedAfter, which is {after}"));
    }
    Query {
        idempotency_key: idempotency_key(reader, fields),
        document_name,
        outcome,
        started_after: after,
        started_before: before,
        instance_id,
        max_results: max_results.unwrap_or(RESULTS_DEFAULT),
    }
}

fn time(reader: &mut Reader, fields: &Map<String, Value>, name: &str) -> Option<Timestamp> {
    let words = Expected::Open("a time such as 2026-11-22T02:00:00Z");
    start::member(fields, &Path::Root, name, |value, path| reader.parsed(value, path, &words, |text| text.parse().ok()))
}

fn is_instance(text: &str) -> bool {
    let digits = text.strip_prefix("mi-").or_else(|| text.strip_prefix("i-"));
    digits.is_some_and(|digits| {
        (8..=17).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::execution::Status;

    /// The service's own words: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_AutomationExecution.html>.
    const WORDS: [&str; 19] = [
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

    #[test]
    fn every_status_is_one_outcome() {
        let all = [Outcome::Running, Outcome::Success, Outcome::Failed, Outcome::TimedOut, Outcome::Cancelled];
        for word in WORDS {
            let fitting: Vec<Outcome> = all.into_iter().filter(|one| one.statuses().contains(&word)).collect();
            assert_eq!(fitting.len(), 1, "{word}: {fitting:?}");
            let status = Status::from(word);
            assert_eq!(
                (status.is_terminal(), status.is_success()),
                (fitting[0] != Outcome::Running, fitting[0] == Outcome::Success),
                "{word}"
            );
        }
        assert!(all.iter().all(|one| one.statuses().len() <= 10), "a filter takes no more");
    }
}
