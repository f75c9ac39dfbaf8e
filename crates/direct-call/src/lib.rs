//! Calls of AWS operations without an SDK crate of their service.
//!
//! A few operations of `CloudWatch`, `CloudWatch` Logs, SQS and Step Functions, which speak JSON, and the objects of S3. One
//! caller stands for five SDK crates, each of which would be larger than all that uses it. The calls go through the SDK's own
//! orchestrator, which retries and times out as for any other service.

mod answer;
mod object;

use std::time::Duration;

use answer::{AnswerError, Throttling};
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::{Intercept, SharedInterceptor};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use bytes::Bytes;
use hub::{AwsError, Timestamp};
use serde_json::Value;

/// How often a call is tried.
const MAX_ATTEMPTS: u32 = 5;

/// A service that speaks JSON.
#[derive(Debug, Clone, Copy)]
pub struct JsonService {
    /// The first part of its host name, and the name in its signatures.
    host: &'static str,
    target: &'static str,
    version: &'static str,
}

/// Step Functions.
pub const STATES: JsonService = JsonService { host: "states", target: "AWSStepFunctions", version: "1.0" };
/// SQS.
pub const SQS: JsonService = JsonService { host: "sqs", target: "AmazonSQS", version: "1.0" };
/// `CloudWatch` Logs.
pub const LOGS: JsonService = JsonService { host: "logs", target: "Logs_20140328", version: "1.1" };
/// `CloudWatch`.
pub const CLOUDWATCH: JsonService =
    JsonService { host: "monitoring", target: "GraniteServiceVersion20100801", version: "1.0" };

/// Calls operations with the credentials, the Region and the endpoint of an SDK configuration.
#[derive(Debug, Clone)]
pub struct Caller {
    config: SdkConfig,
    timeout: Duration,
    interceptor: Option<SharedInterceptor>,
}

/// A request before it is signed.
struct Unsigned {
    service: &'static str,
    operation: &'static str,
    /// Scheme and host.
    base: String,
    method: http::Method,
    /// Encoded, with its leading slash.
    path: String,
    headers: Vec<(&'static str, String)>,
}

impl Caller {
    /// A caller whose attempts take no longer than `timeout`.
    pub fn new(config: &SdkConfig, timeout: Duration) -> Self {
        Self { config: config.clone(), timeout, interceptor: None }
    }

    /// The same with something that watches each call.
    #[must_use]
    pub fn with_interceptor(self, interceptor: impl Intercept + 'static) -> Self {
        Self { interceptor: Some(SharedInterceptor::new(interceptor)), ..self }
    }

    /// Calls an operation of a service that speaks JSON. `name` is the service and the operation as IAM spells them, such as
    /// `states:StartExecution`.
    ///
    /// # Errors
    /// What the service answers, after the SDK's retries.
    pub async fn json(&self, service: JsonService, name: &'static str, body: &Value) -> Result<Value, AwsError> {
        let operation = name.split_once(':').map_or(name, |(_, operation)| operation);
        let request = Unsigned {
            service: service.host,
            operation,
            base: self.base(service.host),
            method: http::Method::POST,
            path: "/".to_owned(),
            headers: vec![
                ("content-type", format!("application/x-amz-json-{}", service.version)),
                ("x-amz-target", format!("{}.{operation}", service.target)),
            ],
        };
        let answer = self.send(name, request, Bytes::from(body.to_string())).await?;
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    async fn send(&self, name: &'static str, unsigned: Unsigned, body: Bytes) -> Result<Bytes, AwsError> {
        let unusable = |problem: BoxError| AwsError {
            operation: name,
            code: "ConstructionFailure".to_owned(),
            message: problem.to_string(),
            request_id: None,
            retryable: false,
        };
        let identity = match self.config.credentials_provider() {
            Some(provider) => provider.provide_credentials().await.map_err(|error| unusable(error.into()))?,
            None => return Err(unusable("no credentials".into())),
        };
        let region = self.region();
        let time = self.config.time_source().map(|source| source.now());
        let Unsigned { service, operation, base, method, path, headers } = unsigned;
        let url = format!("{base}{path}");
        let build = move |body: Bytes| -> Result<HttpRequest, BoxError> {
            let mut request = http::Request::builder().method(&method).uri(&url);
            for (name, value) in &headers {
                request = request.header(*name, value);
            }
            let mut request = request.body(SdkBody::from(body.clone()))?;
            let identity = identity.clone().into();
            let params = v4::SigningParams::builder()
                .identity(&identity)
                .region(&region)
                .name(service)
                .time(time.ok_or("no clock")?)
                .settings(settings(service))
                .build()?
                .into();
            let headers = request.headers().iter();
            let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
            let signable = SignableRequest::new(method.as_str(), url.as_str(), headers, SignableBody::Bytes(&body))?;
            let (instructions, _) = sign(signable, &params)?.into_parts();
            instructions.apply_to_request_http1x(&mut request);
            Ok(request.try_into()?)
        };
        let mut call = Operation::builder()
            .service_name(service)
            .operation_name(operation)
            .endpoint_url(&base)
            .no_auth()
            .standard_retry(&RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
            .retry_classifier(HttpStatusCodeClassifier::default())
            .retry_classifier(TransientErrorClassifier::<AnswerError>::new())
            .retry_classifier(Throttling)
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(self.timeout).build())
            .serializer(build)
            .deserializer(answer::read);
        if let Some(interceptor) = &self.interceptor {
            call = call.interceptor(interceptor.clone());
        }
        if let Some(client) = self.config.http_client() {
            call = call.http_client(client);
        }
        call.build().invoke(body).await.map_err(|error| AwsError::from_sdk(name, &error))
    }

    fn region(&self) -> String {
        self.config.region().map(|region| region.as_ref().to_owned()).unwrap_or_default()
    }

    /// Scheme and host of a service.
    fn base(&self, host: &str) -> String {
        if let Some(url) = self.config.endpoint_url() {
            return url.trim_end_matches('/').to_owned();
        }
        let region = self.region();
        let fips = if self.config.use_fips() == Some(true) && !is_fips_already(host, &region) { "-fips" } else { "" };
        format!("https://{host}{fips}.{region}.{}", suffix(&region))
    }
}

/// A time as JSON protocols write it: seconds since the epoch, or RFC 3339.
pub fn instant(time: &Value) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "a time in seconds, whose fraction does not matter")]
    let seconds = time.as_i64().or_else(|| time.as_f64().map(|seconds| seconds as i64));
    seconds.map(Timestamp::from_unix_seconds).or_else(|| time.as_str()?.parse().ok())
}

/// True where the usual host is the one with FIPS 140, and there is no other:
/// <https://aws.amazon.com/compliance/fips/>.
fn is_fips_already(host: &str, region: &str) -> bool {
    let in_both = ["logs", "monitoring", "sqs"].contains(&host) && region.starts_with("us-gov-");
    in_both || host == "states" && region == "us-gov-west-1"
}

/// S3 signs the path as it is sent, and wants the digest of the body beside it.
fn settings(service: &str) -> SigningSettings {
    let mut settings = SigningSettings::default();
    if service == object::S3 {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    settings
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

    #[test]
    fn govcloud_has_no_second_host_where_the_first_is_fips_already() {
        for (host, region, expected) in [
            ("logs", "us-gov-east-1", true),
            ("monitoring", "us-gov-west-1", true),
            ("states", "us-gov-west-1", true),
            ("states", "us-gov-east-1", false),
            ("s3", "us-gov-west-1", false),
            ("logs", "us-east-1", false),
        ] {
            assert_eq!(is_fips_already(host, region), expected, "{host} {region}");
        }
    }
}
