//! What ends an invocation in an error.

use std::fmt;

use hub::{AwsError, WireError};
use lambda_kit::diagnostic;
use lambda_runtime::Diagnostic;

use crate::answer::Answer;

/// An invocation that ends in an error.
#[derive(thiserror::Error)]
pub enum ReportError {
    /// The event asks for nothing that the function knows. Nothing was read.
    #[error(transparent)]
    InvalidEvent(#[from] WireError),
    /// Agencies, coverage or nodes could not be read. Nothing was written.
    #[error("no report was made: {0}")]
    NothingRead(AwsError),
    /// The report cannot be put into words.
    #[error("no report was made: {0}")]
    Unwritable(String),
    /// The bucket did not take a file.
    #[error("the report was not written: {0}")]
    NotWritten(AwsError),
    /// The report was made, and says what could not be read.
    #[error("not everything was read: {}", .0.unread.join("; "))]
    PartialReport(Box<Answer>),
}

/// The runtime logs errors in this form: words only.
impl fmt::Debug for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.error_type())
    }
}

impl ReportError {
    /// The name that alarms and callers see.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::InvalidEvent(_) => "InvalidEvent",
            Self::NothingRead(_) => "NothingRead",
            Self::Unwritable(_) => "Unwritable",
            Self::NotWritten(_) => "NotWritten",
            Self::PartialReport(_) => "PartialReport",
        }
    }
}

impl From<ReportError> for Diagnostic {
    fn from(error: ReportError) -> Self {
        let answer = match &error {
            ReportError::PartialReport(answer) => Some(serde_json::to_string(answer)),
            _ => None,
        };
        diagnostic(error.error_type(), &error, answer)
    }
}
