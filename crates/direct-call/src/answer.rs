//! What a service answers: its body, or an error in JSON or in XML.

use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_types::error::metadata::{ErrorMetadata, ProvideErrorMetadata};
use bytes::Bytes;
use hub::AwsError;
use serde_json::Value;

pub(crate) fn read(response: &HttpResponse) -> Result<Bytes, OrchestratorError<AnswerError>> {
    let body = response.body().bytes().unwrap_or_default();
    if response.status().is_success() {
        return Ok(Bytes::copy_from_slice(body));
    }
    let header = |name: &str| response.headers().get(name).map(str::to_owned);
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = std::str::from_utf8(body).unwrap_or_default();
    let code = value["__type"].as_str().or_else(|| element(text, "Code")).map(str::to_owned);
    let code = code.or_else(|| header("x-amzn-errortype"));
    let message = value["message"].as_str().or_else(|| value["Message"].as_str()).or_else(|| element(text, "Message"));
    let mut metadata = ErrorMetadata::builder();
    if let Some(code) = &code {
        // Such as com.amazonaws.sqs#QueueDoesNotExist, or with a colon and more behind it.
        let code = code.rsplit('#').next().unwrap_or(code);
        metadata = metadata.code(code.split(':').next().unwrap_or(code));
    }
    metadata = metadata.message(message.unwrap_or("no message"));
    if let Some(id) = header("x-amzn-requestid").or_else(|| header("x-amz-request-id")) {
        metadata = metadata.custom("aws_request_id", id);
    }
    Err(OrchestratorError::operation(AnswerError(metadata.build())))
}

/// The text of an element of S3's errors, which have no attributes and nothing nested.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(text, _)| text)
}

/// An error as the service answers it.
#[derive(Debug)]
pub(crate) struct AnswerError(ErrorMetadata);

impl std::fmt::Display for AnswerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for AnswerError {}

impl ProvideErrorMetadata for AnswerError {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}

/// Tries again what was refused for its rate.
#[derive(Debug)]
pub(crate) struct Throttling;

impl ClassifyRetry for Throttling {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(Result::err).and_then(OrchestratorError::as_operation_error);
        let code = error.and_then(|error| error.downcast_ref::<AnswerError>()).and_then(|error| error.0.code());
        if code.is_some_and(|code| AwsError::is_throttling_code(code) || code == "SlowDown") {
            RetryAction::throttling_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "throttling"
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn response(status: u16, body: &str) -> HttpResponse {
        let response = http::Response::builder().status(status).header("x-amzn-requestid", "req-1");
        response.body(SdkBody::from(body)).unwrap().try_into().unwrap()
    }

    #[test]
    fn an_error_keeps_code_message_and_request_id() {
        let json = r#"{"__type":"com.amazonaws.states#ExecutionDoesNotExist","message":"it is not there"}"#;
        let xml = "<?xml version=\"1.0\"?>\n<Error><Code>ExecutionDoesNotExist</Code><Message>it is not there</Message></Error>";
        for body in [json, xml] {
            let error = read(&response(400, body)).unwrap_err();
            let error = error.as_operation_error().unwrap();
            assert_eq!(error.0.code(), Some("ExecutionDoesNotExist"));
            assert_eq!((error.0.message(), error.0.extra("aws_request_id")), (Some("it is not there"), Some("req-1")));
        }
        assert_eq!(read(&response(200, r#"{"a":1}"#)).unwrap(), r#"{"a":1}"#);
    }

    #[test]
    fn an_error_that_says_nothing_is_one_all_the_same() {
        for body in ["", "<Code>", "[]", "Bad Gateway"] {
            let error = read(&response(502, body)).unwrap_err();
            assert_eq!(error.as_operation_error().unwrap().0.code(), None, "{body}");
        }
    }
}
