//! What ends an invocation in an error.

use hub::{AccountId, Answer, AwsError, WireError};
use lambda_runtime::Diagnostic;

/// An invocation that failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The event is not a report.
    #[error("invalid report: {0}")]
    InvalidReport(#[from] WireError),
    /// The invoked ARN names no agency.
    #[error("expected an invocation through an alias agency-<account id>, got {invoked_arn:?}")]
    Unauthenticated {
        /// The ARN as Lambda reports it.
        invoked_arn: String,
    },
    /// The event asks for an action that there is not.
    #[error("invalid event: {0}")]
    InvalidEvent(WireError),
    /// The action was asked for through an alias. Agencies have nothing else, and it is not for them.
    #[error(
        "the action retire works only through the function itself or $LATEST, which only the central account may invoke, got {invoked_arn:?}"
    )]
    RetireThroughAlias {
        /// The ARN that was invoked.
        invoked_arn: String,
    },
    /// Which nodes are marked could not be read, so that none was looked at.
    #[error("failed to list nodes tagged tag-hub:terminated: {0}")]
    MarksUnread(AwsError),
    /// The policy of the agency is not understood, or could not be read. The reports of other agencies go on.
    #[error("the policy in {parameter} cannot be used: {problem}")]
    PolicyInvalid {
        /// Where it is.
        parameter: String,
        /// All that is wrong with it, or why it was not read.
        problem: String,
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
    #[error("{retryable_count} of {} nodes must be retried: {}", reported_count(.answer), summary(.answer))]
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
            ManagerError::InvalidEvent(_) => "InvalidEvent",
            ManagerError::Unauthenticated { .. } | ManagerError::RetireThroughAlias { .. } => "Unauthenticated",
            ManagerError::MarksUnread(_) => "MarksUnread",
            ManagerError::AccountMismatch { .. } => "AccountMismatch",
            ManagerError::PolicyInvalid { .. } => "PolicyInvalid",
            ManagerError::Incomplete { .. } => "Incomplete",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

fn reported_count(answer: &Answer) -> usize {
    answer.counts.received + answer.terminated.map_or(0, |counts| counts.received)
}

fn summary(answer: &Answer) -> String {
    let counts = serde_json::to_string(&answer.counts).unwrap_or_default();
    match answer.terminated {
        Some(terminated) => {
            format!("{counts}, terminated: {}", serde_json::to_string(&terminated).unwrap_or_default())
        }
        None => counts,
    }
}
