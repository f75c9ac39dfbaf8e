//! The one reading of an AWS SDK error.

use std::fmt::Write as _;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// A failed call of an AWS API, in words that can be logged and answered.
///
/// Throttling and access denial are modelled for no operation of Systems Manager, so the code of the error's
/// metadata is what counts, not the SDK's own variants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} failed: {code}: {message}{}", self.request_id_suffix())]
pub struct AwsError {
    /// Service and operation, such as `ssm:AddTagsToResource`.
    pub operation: &'static str,
    /// The error code of AWS, or `Timeout`, `DispatchFailure` and such where none came.
    pub code: String,
    /// The error message of AWS, or what went wrong on the way.
    pub message: String,
    /// The id that AWS support asks for.
    pub request_id: Option<String>,
    /// True where the same call may succeed later.
    pub retryable: bool,
}

impl AwsError {
    /// Reads what the SDK reports, after its own retries.
    pub fn from_sdk<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let metadata = error.meta();
        let is_server_error = error.raw_response().is_some_and(|response| response.status().is_server_error());
        let (code, message) = match metadata.code() {
            Some(code) => (code.to_owned(), metadata.message().unwrap_or("no message").to_owned()),
            None => (transport_code(error).to_owned(), chain(error)),
        };
        Self {
            operation,
            retryable: is_server_error || is_transport(error) || is_retryable(&code),
            code,
            message,
            request_id: metadata.extra("aws_request_id").map(str::to_owned),
        }
    }

    /// True where AWS refused the call for the caller's permissions.
    pub fn is_access_denied(&self) -> bool {
        matches!(self.code.as_str(), "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation")
    }

    /// True where AWS asked for fewer calls.
    pub fn is_throttling(&self) -> bool {
        is_throttling(&self.code)
    }

    /// True for an error code by which AWS asks for fewer calls.
    pub fn is_throttling_code(code: &str) -> bool {
        is_throttling(code)
    }

    fn request_id_suffix(&self) -> String {
        self.request_id.as_ref().map(|id| format!(" (request id {id})")).unwrap_or_default()
    }
}

fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "ThrottlingException"
            | "ThrottledException"
            | "Throttling"
            | "RequestLimitExceeded"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "ProvisionedThroughputExceededException"
            | "TooManyRequestsException"
    )
}

fn is_retryable(code: &str) -> bool {
    is_throttling(code)
        || matches!(
            code,
            "TooManyUpdates"
                | "InternalServerError"
                | "InternalServiceException"
                | "InternalFailure"
                | "ServiceUnavailable"
                | "RequestTimeout"
        )
}

fn is_transport<E>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(error, SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_))
}

fn transport_code<E>(error: &SdkError<E, HttpResponse>) -> &'static str {
    match error {
        SdkError::ConstructionFailure(_) => "ConstructionFailure",
        SdkError::TimeoutError(_) => "Timeout",
        SdkError::DispatchFailure(_) => "DispatchFailure",
        SdkError::ResponseError(_) => "ResponseError",
        _ => "Unknown",
    }
}

/// The error and its causes: the SDK's own text alone says only that something failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("service error")]
    struct Modelled(ErrorMetadata);

    impl ProvideErrorMetadata for Modelled {
        fn meta(&self) -> &ErrorMetadata {
            &self.0
        }
    }

    fn service_error(code: Option<&str>, status: u16) -> AwsError {
        let mut metadata = ErrorMetadata::builder().message("Rate exceeded").custom("aws_request_id", "req-1");
        if let Some(code) = code {
            metadata = metadata.code(code);
        }
        let response = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::empty());
        let error = SdkError::service_error(Modelled(metadata.build()), response);
        AwsError::from_sdk("ssm:AddTagsToResource", &error)
    }

    #[test]
    fn a_service_error_keeps_code_message_and_request_id() {
        let error = service_error(Some("ThrottlingException"), 400);
        assert_eq!(
            error.to_string(),
            "ssm:AddTagsToResource failed: ThrottlingException: Rate exceeded (request id req-1)"
        );
        assert!(error.retryable && error.is_throttling());
    }

    #[test]
    fn what_may_succeed_later_is_retryable() {
        for (code, status, retryable) in [
            (Some("TooManyUpdates"), 400, true),
            (Some("InternalServerError"), 500, true),
            (Some("SomethingNew"), 503, true),
            (None, 500, true),
            (Some("AccessDeniedException"), 400, false),
            (Some("InvalidResourceId"), 400, false),
            (Some("ValidationException"), 400, false),
        ] {
            assert_eq!(service_error(code, status).retryable, retryable, "{code:?} {status}");
        }
        assert!(service_error(Some("AccessDeniedException"), 400).is_access_denied());
    }

    #[test]
    fn a_timeout_is_retryable_and_says_so() {
        let error: SdkError<Modelled, HttpResponse> = SdkError::timeout_error("no answer within 5 s");
        let error = AwsError::from_sdk("tag:GetResources", &error);
        assert_eq!(error.code, "Timeout");
        assert!(error.message.contains("no answer within 5 s"), "{error}");
        assert!(error.retryable);
    }
}
