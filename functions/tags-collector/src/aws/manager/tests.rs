use aws_smithy_mocks::{Rule, create_mock_http_client, mock};
use hub::Counts;

use super::*;
use crate::aws::mocks::{Seen, credentials, http_response, in_order};

const ARN: &str = "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager:agency-222222222222";
const ANSWER: &str = r#"{"agency": "222222222222", "dryRun": false,
    "counts": {"received": 1, "updated": 1, "unchanged": 0, "rejected": 0, "failed": 0, "deferred": 0,
               "tagsSet": 2, "tagsRemoved": 0, "tagsDropped": 0},
    "nodes": [{"instanceId": "mi-0123456789abcdef0", "outcome": "updated"}]}"#;

fn manager_seen_by(rules: &[&Rule], seen: Seen) -> Manager {
    let builder = Builder::new()
        .behavior_version_latest()
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials())
        .http_client(create_mock_http_client())
        .interceptor(in_order(rules))
        .interceptor(seen);
    let config = settings(builder);
    // The real settings, but for the wait.
    let retries = config.retry_config().unwrap().clone().with_initial_backoff(Duration::from_millis(1));
    let client = Client::from_conf(config.to_builder().retry_config(retries).build());
    Manager { client, function_arn: ARN.to_owned() }
}

async fn invoke(rule: &Rule, invocation_type: InvocationType) -> Result<Option<Answer>, Failure> {
    manager_seen_by(&[rule], Seen::default()).invoke(b"{}".to_vec(), invocation_type).await
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
    let sdk = SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .build();
    let manager = Manager::new(&sdk, &ARN.parse().unwrap());
    assert_eq!(manager.client.config().region(), Some(&Region::new("us-east-1")));
    assert_eq!(manager.function_arn, ARN);

    let rule = mock!(Client::invoke).then_output(|| InvokeOutput::builder().status_code(202).build());
    let seen = Seen::default();
    manager_seen_by(&[&rule], seen.clone()).invoke(b"{}".to_vec(), InvocationType::Event).await.unwrap();
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
        ("", "EOF while parsing a value"),
        ("null", "event: expected an object, got null"),
        (r#"{"dryRun": false}"#, "event: missing field `counts`"),
        (&ANSWER.replace("\"updated\": 1", "\"updated\": -1").leak()[..], "counts.updated: invalid value"),
    ] {
        let (code, message) = failure(200, None, payload).await;
        assert_eq!(code, "UnreadableAnswer");
        assert!(message.starts_with(&format!("the manager's answer: {problem}")), "{message}");
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

#[tokio::test]
async fn a_throttled_invocation_is_repeated_and_told_in_the_end() {
    let throttled = || {
        let body = r#"{"Reason": "CallerRateLimitExceeded", "Type": "User", "message": "Rate Exceeded."}"#;
        let mut response = http_response(429, body);
        response.headers_mut().insert("x-amzn-errortype", "TooManyRequestsException");
        response
    };
    let rule =
        mock!(Client::invoke).sequence().http_response(throttled).http_response(|| http_response(200, ANSWER)).build();
    assert!(invoke(&rule, InvocationType::RequestResponse).await.unwrap().is_some());
    assert_eq!(rule.num_calls(), 2);

    let rule = mock!(Client::invoke).sequence().http_response(throttled).repeatedly().build();
    let failure = invoke(&rule, InvocationType::RequestResponse).await.unwrap_err();
    assert_eq!(failure.code, "TooManyRequestsException");
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
