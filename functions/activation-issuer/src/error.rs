//! What ends an invocation in an error.

use std::fmt;

use hub::{AGENCY_ALIAS_PREFIX, AccountId, AwsError, WireError};
use lambda_kit::diagnostic;
use lambda_runtime::Diagnostic;

use crate::answer::Answer;

/// An invocation that ends in an error.
#[derive(thiserror::Error)]
pub enum IssueError {
    /// The event asks for nothing that the function knows. Nothing was read.
    #[error(transparent)]
    InvalidEvent(#[from] WireError),
    /// The agency asked for has no grant. Nothing was written.
    #[error(
        "the function {function} has no alias {AGENCY_ALIAS_PREFIX}{agency}: grant the agency with cfn/agency-grant.yaml \
         in the central account, or correct the account id"
    )]
    UnknownAgency {
        /// Who was asked for.
        agency: AccountId,
        /// The function whose aliases are the grants.
        function: String,
    },
    /// It could not be read which agencies or activations there are. Nothing was written.
    #[error("failed to list agencies or activations: {0}")]
    NothingRead(AwsError),
    /// Something failed for an agency, or there was no time for it. Everything else was done.
    #[error("{}", .0.problems())]
    PartialIssue(Box<Answer>),
}

/// The runtime logs errors in this form: words only.
impl fmt::Debug for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.error_type())
    }
}

impl IssueError {
    /// The name that alarms and callers see.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::InvalidEvent(_) => "InvalidEvent",
            Self::UnknownAgency { .. } => "UnknownAgency",
            Self::NothingRead(_) => "NothingRead",
            Self::PartialIssue(_) => "PartialIssue",
        }
    }
}

impl From<IssueError> for Diagnostic {
    fn from(error: IssueError) -> Self {
        let answer = match &error {
            IssueError::PartialIssue(answer) => Some(serde_json::to_string(answer)),
            IssueError::InvalidEvent(_) | IssueError::UnknownAgency { .. } | IssueError::NothingRead(_) => None,
        };
        diagnostic(error.error_type(), &error, answer)
    }
}
