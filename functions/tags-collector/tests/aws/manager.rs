//! The invocations of the manager.

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::{Builder, Region};
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_smithy_mocks::{Rule, create_mock_http_client, mock};
use hub::{Answer, Counts};
use tags_collector::aws::Manager;
use tags_collector::config::InvocationType;
use tags_collector::ports::Failure;

use crate::{Seen, credentials, http_response, in_order};

const ARN: &str = "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager:agency-222222222222";
const ANSWER: &str = r#"{"agency": "222222222222", "dryRun": false,
    "counts": {"received": 1, "updated": 1, "unchanged": 0, "rejected": 0, "failed": 0, "deferred": 0,
               "tagsSet": 2, "tagsRemoved": 0, "tagsDropped": 0},
    "nodes": [{"instanceId": "mi-0123456789abcdef0", "outcome": "updated"}]}"#;

/// The real settings; the tests that wait have a clock that is paused. The Region is the collector's own.
fn manager_seen_by(rules: &[&Rule], seen: Seen) -> Manager {
    let builder = Builder::new()
        .behavior_version_latest()
        .region(Region::new("eu-west-1"))
        .credentials_provider(credentials())
        .http_client(create_mock_http_client())
        .interceptor(in_order(rules))
        .interceptor(seen);
    Manager::new(builder, &ARN.parse().unwrap())
}

async fn invoke(rule: &Rule, invocation_type: InvocationType) -> Result<Option<Answer>, Failure> {
    manager_seen_by(&[rule], Seen::default()).invoke(b"{}", invocation_type).await
}

/// The failure that an answer of the service comes to.
async fn failure(status: i32, function_error: Option<&'static str>, payload: &'static str) -> (String, String) {
    let rule = mock!(Client::invoke).then_output(move || {
        InvokeOutput::builder()
            .status_code(status)
            .set_function_error(function_error.map(str::to_owned))
            .payload(Blob::new(payload))
            .build()
    });
    let Failure { code, message } = invoke(&rule, InvocationType::RequestResponse).await.unwrap_err();
    (code, message)
}

fn owned(code: &str, message: &str) -> (String, String) {
    (code.to_owned(), message.to_owned())
}

#[tokio::test]
async fn the_alias_is_invoked_with_the_report_and_answers() {
    let rule = mock!(Client::invoke)
        .match_requests(|request| {
            request.function_name() == Some(ARN)
                && request.qualifier().is_none()
                && request.invocation_type() == Some(&aws_sdk_lambda::types::InvocationType::RequestResponse)
                && request.payload().is_some_and(|payload| payload.as_ref() == b"{}")
        })
        .then_output(|| InvokeOutput::builder().status_code(200).payload(Blob::new(ANSWER)).build());
    let answer = invoke(&rule, InvocationType::RequestResponse).await.unwrap().unwrap();
    assert_eq!(answer.counts, Counts { received: 1, updated: 1, tags_set: 2, ..Counts::default() });
    assert_eq!(answer.nodes.len(), 1);
}

#[tokio::test]
async fn an_event_is_queued_and_has_no_answer() {
    let rule = mock!(Client::invoke)
        .match_requests(|request| request.invocation_type() == Some(&aws_sdk_lambda::types::InvocationType::Event))
        .then_output(|| InvokeOutput::builder().status_code(202).build());
    assert_eq!(invoke(&rule, InvocationType::Event).await, Ok(None));
}

#[tokio::test]
async fn the_region_of_the_manager_is_the_one_called() {
    let rule = mock!(Client::invoke).then_output(|| InvokeOutput::builder().status_code(202).build());
    let seen = Seen::default();
    manager_seen_by(&[&rule], seen.clone()).invoke(b"{}", InvocationType::Event).await.unwrap();
    assert_eq!(seen.requests(), ["lambda.us-east-1.amazonaws.com us-east-1/lambda"]);
}

#[tokio::test]
async fn an_error_of_the_function_is_no_success() {
    assert_eq!(
        failure(200, Some("Unhandled"), r#"{"errorType": "Unauthenticated", "errorMessage": "no alias"}"#).await,
        owned("Unauthenticated", "the manager failed: no alias")
    );
    assert_eq!(
        failure(200, Some("Unhandled"), r#"{"errorMessage": "Task timed out after 300.00 seconds"}"#).await,
        owned(
            "FunctionError",
            r#"the manager failed (Unhandled): {"errorMessage": "Task timed out after 300.00 seconds"}"#
        )
    );
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_no_success() {
    for (payload, problem) in [
        ("", "event: EOF while parsing a value"),
        ("null", "event: expected an object, got null"),
        (r#"{"dryRun": false}"#, "event: missing field `counts`"),
        (&ANSWER.replace("\"updated\": 1", "\"updated\": -1").leak()[..], "counts.updated: invalid value"),
    ] {
        let (code, message) = failure(200, None, payload).await;
        assert_eq!(code, "UnreadableAnswer");
        assert!(message.starts_with(&format!("the manager's answer is invalid: {problem}")), "{message}");
    }
}

#[tokio::test]
async fn another_status_is_no_success() {
    assert_eq!(
        failure(202, None, ANSWER).await,
        owned("UnexpectedStatus", "lambda:InvokeFunction: expected status 200, got 202")
    );
    let rule = mock!(Client::invoke).then_output(|| InvokeOutput::builder().status_code(200).build());
    assert_eq!(invoke(&rule, InvocationType::Event).await.unwrap_err().code, "UnexpectedStatus");
}

fn refused(status: u16, error: &'static str) -> aws_smithy_runtime_api::client::orchestrator::HttpResponse {
    let body = r#"{"Reason": "CallerRateLimitExceeded", "Type": "User", "message": "Rate Exceeded."}"#;
    let mut response = http_response(status, body);
    response.headers_mut().insert("x-amzn-errortype", error);
    response
}

#[tokio::test(start_paused = true)]
async fn a_busy_manager_is_told_at_once_for_the_handler_to_wait() {
    for invocation_type in [InvocationType::RequestResponse, InvocationType::Event] {
        let busy = || refused(429, "TooManyRequestsException");
        let rule = mock!(Client::invoke).sequence().http_response(busy).repeatedly().build();
        let failure = invoke(&rule, invocation_type).await.unwrap_err();
        assert_eq!(failure.code, "TooManyRequestsException");
        assert!(failure.is_busy() && failure.message.contains("Rate Exceeded."), "{failure}");
        assert_eq!(rule.num_calls(), 1, "the SDK does not try again by itself");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_in_trouble_is_tried_again_and_told_in_the_end() {
    let trouble = || refused(500, "ServiceException");
    let rule =
        mock!(Client::invoke).sequence().http_response(trouble).http_response(|| http_response(200, ANSWER)).build();
    assert!(invoke(&rule, InvocationType::RequestResponse).await.unwrap().is_some());
    assert_eq!(rule.num_calls(), 2);

    let rule = mock!(Client::invoke).sequence().http_response(trouble).repeatedly().build();
    let failure = invoke(&rule, InvocationType::RequestResponse).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.is_busy()), ("ServiceException", false));
    assert_eq!(rule.num_calls(), 5);
}

#[tokio::test]
async fn a_denied_invocation_is_told_at_once() {
    let rule = mock!(Client::invoke)
        .sequence()
        .http_response(|| {
            let message = r#"{"Message": "User is not authorized to perform: lambda:InvokeFunction"}"#;
            let mut response = http_response(403, message);
            response.headers_mut().insert("x-amzn-errortype", "AccessDeniedException");
            response
        })
        .repeatedly()
        .build();
    let failure = invoke(&rule, InvocationType::RequestResponse).await.unwrap_err();
    assert_eq!(failure.code, "AccessDeniedException");
    assert!(failure.message.contains("not authorized to perform: lambda:InvokeFunction"), "{failure}");
    assert_eq!(rule.num_calls(), 1);
}
