//! Counting requests, those that the SDK tries again by itself included.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_ssm::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_ssm::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ssm::error::BoxError;
use hub::AwsError;
use lambda_kit::CallCounts;

/// What was sent, and what of it was throttled. Clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicUsize,
    throttles: AtomicUsize,
}

impl Tally {
    /// The counts so far, and back to zero.
    pub(super) fn take(&self) -> CallCounts {
        let Counters { calls, throttles } = &*self.0;
        CallCounts { calls: calls.swap(0, Ordering::Relaxed), throttles: throttles.swap(0, Ordering::Relaxed) }
    }
}

impl Intercept for Tally {
    fn name(&self) -> &'static str {
        "Tally"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Each operation has an error type of its own, so the code is read from the answer.
        let response = context.response();
        let body = response.body().bytes().filter(|_| !response.status().is_success());
        if body.and_then(code).as_deref().is_some_and(AwsError::is_throttling_code) {
            self.0.throttles.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The error code in an answer of Systems Manager or of the Tagging API, which are JSON, or of EC2, which is XML.
fn code(body: &[u8]) -> Option<String> {
    if let Ok(error) = serde_json::from_slice::<serde_json::Value>(body) {
        let code = error["__type"].as_str()?;
        return Some(code.rsplit('#').next().unwrap_or(code).to_owned());
    }
    let (_, rest) = std::str::from_utf8(body).ok()?.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_in_both_forms() {
        for (body, expected) in [
            (r#"{"__type":"ThrottlingException","message":"x"}"#, Some("ThrottlingException")),
            (r#"{"message": "x", "__type": "com.amazonaws.ssm#ThrottlingException"}"#, Some("ThrottlingException")),
            ("<Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors>", Some("RequestLimitExceeded")),
            ("nothing", None),
        ] {
            assert_eq!(code(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
