//! The adapters over real clients whose answers are made up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod ec2;
mod manager;

use std::sync::{Arc, Mutex};

use aws_sdk_ec2::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_ec2::config::{ConfigBag, Credentials, Intercept, RuntimeComponents};
use aws_smithy_mocks::{MockResponseInterceptor, Rule, RuleMode};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;

/// Answers requests by these rules, one after the other.
pub(crate) fn in_order(rules: &[&Rule]) -> MockResponseInterceptor {
    let mocks = MockResponseInterceptor::new().rule_mode(RuleMode::Sequential);
    rules.iter().fold(mocks, |mocks, rule| mocks.with_rule(rule))
}

pub(crate) fn credentials() -> Credentials {
    Credentials::new("222222222222", "secret", None, None, "test")
}

pub(crate) fn http_response(status: u16, body: &str) -> HttpResponse {
    HttpResponse::new(StatusCode::try_from(status).unwrap(), body.to_owned().into())
}

/// Host and credential scope of each request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    pub(crate) fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Intercept for Seen {
    fn name(&self) -> &'static str {
        "Seen"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let host = request.uri().split('/').nth(2).unwrap_or_default();
        let authorization = request.headers().get("authorization").unwrap_or_default();
        // Credential=KEY/DATE/REGION/SERVICE/aws4_request
        let scope: Vec<_> = authorization.split('/').skip(2).take(2).collect();
        self.0.lock().unwrap().push(format!("{host} {}", scope.join("/")));
        Ok(())
    }
}
