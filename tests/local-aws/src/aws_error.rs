//! What an AWS service answers when it refuses.

/// A refused call, as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} (HTTP {status}): {message}")]
pub struct AwsError {
    /// HTTP status; 0 where no answer came at all.
    pub status: u16,
    /// The service's error code, such as `AccessDeniedException`.
    pub code: String,
    /// The service's message, empty where it gave none.
    pub message: String,
}

impl AwsError {
    pub(crate) fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }
}
