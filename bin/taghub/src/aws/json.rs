//! Services of which this program calls a few operations: `CloudWatch`, `CloudWatch` Logs, SQS and Step Functions.
//!
//! All of them speak JSON, so one caller stands for four SDK crates. The calls go through the SDK's own orchestrator,
//! which retries and times out as for any other service.

use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::metadata::{ErrorMetadata, ProvideErrorMetadata};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use hub::AwsError;
use serde_json::Value;

use crate::aws::session::{CALL_TIMEOUT, Session};

/// A service that speaks JSON.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// The first part of its host name, and the name in its signatures.
    host: &'static str,
    target: &'static str,
    version: &'static str,
}

/// Step Functions.
pub const STATES: Service = Service { host: "states", target: "AWSStepFunctions", version: "1.0" };
/// SQS.
pub const SQS: Service = Service { host: "sqs", target: "AmazonSQS", version: "1.0" };
/// `CloudWatch` Logs.
pub const LOGS: Service = Service { host: "logs", target: "Logs_20140328", version: "1.1" };
/// `CloudWatch`.
pub const CLOUDWATCH: Service = Service { host: "monitoring", target: "GraniteServiceVersion20100801", version: "1.0" };

/// Calls an operation. `name` is the service and the operation as IAM spells them, such as `states:StartExecution`.
///
/// # Errors
/// What the service answers, after the SDK's retries.
pub async fn call(session: &Session, service: Service, name: &'static str, body: &Value) -> Result<Value, AwsError> {
    let operation = name.split_once(':').map_or(name, |(_, operation)| operation);
    let unusable = |problem: BoxError| AwsError {
        operation: name,
        code: "ConstructionFailure".to_owned(),
        message: problem.to_string(),
        request_id: None,
        retryable: false,
    };
    let url = endpoint(session, service);
    let identity = match session.config.credentials_provider() {
        Some(provider) => provider.provide_credentials().await.map_err(|error| unusable(error.into()))?,
        None => return Err(unusable("no credentials".into())),
    };
    let region = session.region.as_str().to_owned();
    let time = session.config.time_source().map(|source| source.now());
    let request_url = url.clone();
    let build = move |body: String| -> Result<HttpRequest, BoxError> {
        let mut request = http::Request::post(&request_url)
            .header("content-type", format!("application/x-amz-json-{}", service.version))
            .header("x-amz-target", format!("{}.{operation}", service.target))
            .body(SdkBody::from(body.as_str()))?;
        let identity = identity.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&region)
            .name(service.host)
            .time(time.ok_or("no clock")?)
            .settings(SigningSettings::default())
            .build()?
            .into();
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
        let body = SignableBody::Bytes(body.as_bytes());
        let signable = SignableRequest::new("POST", request_url.as_str(), headers, body)?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(request.try_into()?)
    };
    let mut operation = Operation::builder()
        .service_name(service.host)
        .operation_name(operation)
        .endpoint_url(&url)
        .no_auth()
        .standard_retry(&RetryConfig::standard().with_max_attempts(5))
        .retry_classifier(HttpStatusCodeClassifier::default())
        .retry_classifier(TransientErrorClassifier::<JsonError>::new())
        .retry_classifier(Throttling)
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(CALL_TIMEOUT).build())
        .serializer(build)
        .deserializer(read);
    if let Some(tracer) = session.tracer() {
        operation = operation.interceptor(tracer);
    }
    if let Some(client) = session.config.http_client() {
        operation = operation.http_client(client);
    }
    let answer = operation.build().invoke(body.to_string()).await;
    answer.map_err(|error| AwsError::from_sdk(name, &error))
}

fn endpoint(session: &Session, service: Service) -> String {
    if let Some(url) = session.config.endpoint_url() {
        return format!("{}/", url.trim_end_matches('/'));
    }
    let fips = if session.config.use_fips() == Some(true) { "-fips" } else { "" };
    format!("https://{}{fips}.{}.{}/", service.host, session.region, suffix(session.region.as_str()))
}

/// The end of the host names in the partition of a Region. The local AWS apart, this is the SDK's own table, which it
/// keeps to itself.
fn suffix(region: &str) -> &'static str {
    const SUFFIXES: [(&str, &str); 6] = [
        ("cn-", "amazonaws.com.cn"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("us-iso-", "c2s.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("eusc-", "amazonaws.eu"),
    ];
    SUFFIXES.iter().find(|(start, _)| region.starts_with(start)).map_or("amazonaws.com", |(_, suffix)| suffix)
}

fn read(response: &HttpResponse) -> Result<Value, OrchestratorError<JsonError>> {
    let body = response.body().bytes().unwrap_or_default();
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    if response.status().is_success() {
        return Ok(value);
    }
    let header = |name: &str| response.headers().get(name).map(str::to_owned);
    let code = value["__type"].as_str().map(str::to_owned).or_else(|| header("x-amzn-errortype"));
    let message = value["message"].as_str().or_else(|| value["Message"].as_str());
    let mut metadata = ErrorMetadata::builder();
    if let Some(code) = &code {
        // Such as com.amazonaws.sqs#QueueDoesNotExist, or with a colon and more behind it.
        let code = code.rsplit('#').next().unwrap_or(code);
        metadata = metadata.code(code.split(':').next().unwrap_or(code));
    }
    metadata = metadata.message(message.unwrap_or("no message"));
    if let Some(id) = header("x-amzn-requestid") {
        metadata = metadata.custom("aws_request_id", id);
    }
    Err(OrchestratorError::operation(JsonError(metadata.build())))
}

/// An error as the service answers it.
#[derive(Debug)]
struct JsonError(ErrorMetadata);

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for JsonError {}

impl ProvideErrorMetadata for JsonError {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}

/// Tries again what was refused for its rate.
#[derive(Debug)]
struct Throttling;

impl ClassifyRetry for Throttling {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(Result::err).and_then(OrchestratorError::as_operation_error);
        let code = error.and_then(|error| error.downcast_ref::<JsonError>()).and_then(|error| error.0.code());
        if code.is_some_and(AwsError::is_throttling_code) {
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
    use super::*;

    #[test]
    fn each_partition_has_its_hosts() {
        for (region, expected) in [
            ("us-east-1", "amazonaws.com"),
            ("us-gov-west-1", "amazonaws.com"),
            ("cn-north-1", "amazonaws.com.cn"),
            ("us-iso-east-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
            ("eusc-de-east-1", "amazonaws.eu"),
        ] {
            assert_eq!(suffix(region), expected, "{region}");
        }
    }

    fn response(status: u16, body: &str) -> HttpResponse {
        let response = http::Response::builder().status(status).header("x-amzn-requestid", "req-1");
        response.body(SdkBody::from(body)).unwrap().try_into().unwrap()
    }

    #[test]
    fn an_error_keeps_code_message_and_request_id() {
        let body = r#"{"__type":"com.amazonaws.states#ExecutionDoesNotExist","message":"it is not there"}"#;
        let error = read(&response(400, body)).unwrap_err();
        let error = error.as_operation_error().unwrap();
        assert_eq!(error.0.code(), Some("ExecutionDoesNotExist"));
        assert_eq!((error.0.message(), error.0.extra("aws_request_id")), (Some("it is not there"), Some("req-1")));
        assert_eq!(read(&response(200, r#"{"a":1}"#)).unwrap()["a"], 1);
    }
}
