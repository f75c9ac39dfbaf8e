//! What ends an invocation in an error.

use std::fmt;

use hub::AwsError;
use lambda_runtime::Diagnostic;

use crate::answer::{Failure, StartAnswer, StatusAnswer, StopAnswer};
use crate::plan::problem::{Problem, listed};

/// An invocation that failed as a whole.
#[derive(thiserror::Error)]
pub enum FanoutError {
    /// The event asks for nothing that can be done. Nothing was called that changes anything.
    #[error("the request is refused: {}", listed(.0))]
    InvalidRequest(Vec<Problem>),
    /// Not one execution was started.
    #[error("nothing was started: {}", first(&.0.failed))]
    NothingStarted(Box<StartAnswer>),
    /// Not one execution was stopped.
    #[error("nothing was stopped: {}", first(&.0.failed))]
    NothingStopped(Box<StopAnswer>),
    /// Not one execution could be read.
    #[error("no execution could be read: {}", .0.executions.iter().find_map(|execution| execution.error.as_ref())
        .map_or_else(String::new, |error| format!("{}: {}", error.code, error.message)))]
    NothingRead(Box<StatusAnswer>),
    /// The executions could not be listed.
    #[error("nothing could be listed: {0}")]
    NotListed(AwsError),
    /// It is not known whether the Change Calendars of a campaign are open.
    #[error("the Change Calendars could not be read: {0}")]
    CalendarsNotRead(AwsError),
    /// It is not known now whether the runbook needs targets, which the request lacks.
    #[error("the runbook could not be read ({0}), and the request says nothing about what it works on; try again")]
    RunbookNotRead(String),
    /// The execution was not answered.
    #[error("the signal was not sent: {0}")]
    NotSignalled(AwsError),
}

/// The answer of an invocation that did nothing is told in its error up to so many bytes: Lambda returns at most 6 MB.
const ANSWER_BYTES_MAX: usize = 1_000_000;

/// The runtime logs errors in this form.
impl fmt::Debug for FanoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.error_type())
    }
}

impl FanoutError {
    /// The name that alarms and callers see.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "InvalidRequest",
            Self::NothingStarted(_) => "NothingStarted",
            Self::NothingStopped(_) => "NothingStopped",
            Self::NothingRead(_) => "NothingRead",
            Self::NotListed(_) => "NotListed",
            Self::CalendarsNotRead(_) => "CalendarsNotRead",
            Self::RunbookNotRead(_) => "RunbookNotRead",
            Self::NotSignalled(_) => "NotSignalled",
        }
    }

    /// The answer of an invocation that did nothing, with an outcome for each part.
    fn answer(&self) -> Option<String> {
        let json = match self {
            Self::NothingStarted(answer) => serde_json::to_string(answer),
            Self::NothingStopped(answer) => serde_json::to_string(answer),
            Self::NothingRead(answer) => serde_json::to_string(answer),
            _ => return None,
        };
        json.ok()
    }
}

impl From<FanoutError> for Diagnostic {
    fn from(error: FanoutError) -> Self {
        let error_message = match error.answer() {
            Some(answer) if answer.len() > ANSWER_BYTES_MAX => {
                format!("{error}; the answer has {} bytes, and is left out", answer.len())
            }
            Some(answer) => format!("{error}; answer: {answer}"),
            None => error.to_string(),
        };
        Self { error_type: error.error_type().to_owned(), error_message }
    }
}

/// The first of what was not done, and how many more.
pub(crate) fn first(failed: &[Failure]) -> String {
    let Some(failure) = failed.first() else {
        return "no reason is known".to_owned();
    };
    let others = match failed.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    format!("{}: {}{others}", failure.code, failure.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::StartAnswer;

    #[test]
    fn an_answer_that_is_too_long_for_an_error_is_left_out() {
        let with = |count: usize| {
            let failure = Failure { code: "NotTried".to_owned(), message: "x".repeat(500), ..Failure::default() };
            let answer = StartAnswer { failed: vec![failure; count], ..StartAnswer::default() };
            Diagnostic::from(FanoutError::NothingStarted(Box::new(answer))).error_message
        };
        assert!(with(2).contains("; answer: {"));
        let long = with(10_000);
        assert!(long.len() < 1_000 && long.ends_with("bytes, and is left out"), "{long}");
    }
}
