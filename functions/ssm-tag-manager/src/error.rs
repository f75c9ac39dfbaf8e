//! What ends an invocation in an error.

use hub::{AccountId, Answer, WireError};
use lambda_runtime::Diagnostic;

/// An invocation that failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The event is no report.
    #[error("the report is refused: {0}")]
    InvalidReport(#[from] WireError),
    /// The invoked ARN names no agency.
    #[error("expected an invocation through an alias agency-<account id>, got {invoked_arn:?}")]
    Unauthenticated {
        /// The ARN as Lambda reports it.
        invoked_arn: String,
    },
    /// The report claims an account that is not the sender's.
    #[error("the report claims account {claimed}, but the invoked alias belongs to {agency}")]
    AccountMismatch {
        /// The account in the report.
        claimed: AccountId,
        /// The account of the alias.
        agency: AccountId,
    },
    /// Some nodes have to be tried again, and nobody reads the answer that says so.
    #[error("{retryable_count} of {} nodes have to be tried again: {}", .answer.counts.received, summary(.answer))]
    Incomplete {
        /// Failed with a chance, or deferred.
        retryable_count: usize,
        /// What became of the report.
        answer: Box<Answer>,
    },
}

impl From<ManagerError> for Diagnostic {
    fn from(error: ManagerError) -> Self {
        let error_type = match error {
            ManagerError::InvalidReport(_) => "InvalidReport",
            ManagerError::Unauthenticated { .. } => "Unauthenticated",
            ManagerError::AccountMismatch { .. } => "AccountMismatch",
            ManagerError::Incomplete { .. } => "Incomplete",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

fn summary(answer: &Answer) -> String {
    serde_json::to_string(&answer.counts).unwrap_or_default()
}
