//! The rate of starts on the wire: the handler over a real client that is configured as the binary configures it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use automation_fanout::aws::{Calls, sdk_config};
use automation_fanout::{Config, FanoutError, Invocation, handle};
use aws_config::{BehaviorVersion, Region};
use aws_sdk_ssm::Client;
use aws_sdk_ssm::config::Credentials;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use lambda_kit::CallCounts;
use serde_json::{Value, json};
use tokio::time::Instant;

const ID: &str = "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE";
/// The runbook and the Regions are looked at before a start.
const LOOKS: usize = 2;
/// Whether the first part was stopped, its status and its tags say.
const STOP_LOOKS: usize = 2;
const THROTTLED: Answer = Answer::Error(400, "ThrottlingException");

/// What a request gets.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Good,
    Error(u16, &'static str),
    /// None at all.
    Silence,
}

/// Gives the answers one after the other, then good ones, and notes when each request came.
#[derive(Debug, Clone)]
struct Wire {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    requests: Arc<Mutex<Vec<(Instant, Value)>>>,
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // What a start is checked against does not belong to its rate.
        if is(&request, "DescribeDocument") {
            let body = json!({"Document": {"Parameters": [{"Name": "AutomationAssumeRole", "DefaultValue": ""}]}});
            let status = StatusCode::try_from(200).unwrap();
            return HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body.to_string()))));
        }
        if !request.headers().contains_key("x-amz-target") {
            let status = StatusCode::try_from(403).unwrap();
            let body = "<Response><Errors><Error><Code>UnauthorizedOperation</Code></Error></Errors></Response>";
            return HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))));
        }
        if is(&request, "ListTagsForResource") {
            let status = StatusCode::try_from(200).unwrap();
            return HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from("{}"))));
        }
        let is_read = is(&request, "GetAutomationExecution");
        if is_read && self.requests.lock().unwrap().iter().any(|(_, body)| body["ClientToken"].is_string()) {
            return HttpConnectorFuture::ready(Ok(read()));
        }
        let body = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        self.requests.lock().unwrap().push((Instant::now(), body));
        let (status, body) = match self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Good) {
            Answer::Good if is(&request, "StartAutomationExecution") => (200, json!({"AutomationExecutionId": ID})),
            Answer::Good => return HttpConnectorFuture::ready(Ok(read())),
            Answer::Error(status, code) => (status, json!({"__type": code, "message": "in words"})),
            Answer::Silence => return HttpConnectorFuture::new(std::future::pending()),
        };
        let status = StatusCode::try_from(status).unwrap();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body.to_string()))))
    }
}

/// An execution that is read.
fn read() -> HttpResponse {
    let execution = json!({"AutomationExecutionId": ID, "AutomationExecutionStatus": "Success"});
    let body = json!({"AutomationExecution": execution}).to_string();
    HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::from(body))
}

fn is(request: &HttpRequest, operation: &str) -> bool {
    request.headers().get("x-amz-target").is_some_and(|target| target.ends_with(operation))
}

impl Wire {
    fn with(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), requests: Arc::default() }
    }

    fn client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self.clone());
        http_client_fn(move |_, _| connector.clone())
    }

    async fn executions(&self) -> Calls {
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .http_client(self.client());
        let sdk = sdk_config(loader).await;
        Calls::new(Client::new(&sdk), aws_sdk_ec2::Client::new(&sdk), aws_sdk_resourcegroupstagging::Client::new(&sdk))
    }

    /// Sends a request to the handler, and gives its answer with the counts of the client.
    async fn send(&self, budget: u64, event: &Value) -> (Result<Value, FanoutError>, CallCounts) {
        let config = Config {
            administration_role_arn: "arn:aws:iam::111111111111:role/Administration".to_owned(),
            aws_runbooks: None,
            own_runbooks: None,
            step_price: None,
            name_prefix: String::new(),
            region: None,
        };
        let invocation = Invocation { request_id: "request-1".to_owned(), budget: Duration::from_secs(budget) };
        let executions = self.executions().await;
        let answer = handle(&config, &executions, &invocation, event).await;
        (answer.map(|answer| serde_json::to_value(answer).unwrap()), executions.take_counts())
    }

    /// The seconds between one request and the next.
    fn distances(&self) -> Vec<f64> {
        let requests = self.requests.lock().unwrap();
        requests.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_secs_f64()).collect()
    }

    /// The token of each request, as the number of the start that it first came with.
    fn tokens(&self) -> Vec<usize> {
        let mut seen: Vec<Value> = Vec::new();
        let requests = self.requests.lock().unwrap();
        let number = |(_, body): &(Instant, Value)| {
            let token = body["ClientToken"].clone();
            assert!(token.is_string(), "{body}");
            seen.iter().position(|earlier| *earlier == token).unwrap_or_else(|| {
                seen.push(token);
                seen.len() - 1
            })
        };
        requests.iter().map(number).collect()
    }
}

/// So many locations that they make this many starts.
fn fleet(starts: usize) -> Value {
    let location = |n: usize| json!({"Accounts": [format!("{n:012}")], "Regions": ["us-east-1"]});
    let locations: Vec<Value> = (0..=(starts - 1) * 100).map(location).collect();
    json!({"DocumentName": "Patch", "TargetLocations": locations, "IdempotencyKey": "k"})
}

#[tokio::test(start_paused = true)]
async fn attempts_and_starts_are_a_second_apart_whatever_comes_back() {
    let failed = Answer::Error(500, "InternalServerError");
    let answers = [THROTTLED, THROTTLED, Answer::Good, failed, Answer::Good, Answer::Silence, Answer::Good, THROTTLED];
    let wire = Wire::with(answers);
    let (answer, counts) = wire.send(900, &fleet(5)).await;
    let answer = answer.unwrap();
    assert_eq!((&answer["Complete"], answer["Executions"].as_array().unwrap().len()), (&json!(true), 5));
    assert_eq!(wire.tokens(), [0, 0, 0, 1, 1, 2, 2, 3, 3, 4], "every attempt of a start has its token");
    // An attempt without an answer is given up after ten seconds.
    assert_eq!(wire.distances(), [1.0, 2.0, 1.0, 1.0, 1.0, 11.0, 1.0, 1.0, 1.0]);
    // Before each part but the first, somebody may have stopped the run, and before one that was throttled is tried again.
    assert_eq!(counts, CallCounts { calls: 10 + (4 + 1) * STOP_LOOKS + LOOKS, throttles: 3 });
}

#[tokio::test(start_paused = true)]
async fn a_start_that_stays_throttled_is_given_up_after_eight_attempts() {
    let wire = Wire::with([Answer::Good].into_iter().chain([THROTTLED; 8]));
    let (answer, counts) = wire.send(900, &fleet(3)).await;
    assert_eq!(answer.unwrap()["Failed"][0]["Code"], "ThrottlingException");
    assert_eq!(wire.tokens(), [0, 1, 1, 1, 1, 1, 1, 1, 1, 2]);
    assert!(wire.distances().iter().all(|seconds| *seconds >= 1.0), "{:?}", wire.distances());
    assert_eq!(counts, CallCounts { calls: 10 + (2 + 7) * STOP_LOOKS + LOOKS, throttles: 8 });
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_invocation_bounds_the_attempts() {
    let throttled = "not started, because AWS throttled every attempt";
    for (answer, calls, told) in [(THROTTLED, 5, throttled), (Answer::Silence, 2, "it may have started")] {
        let wire = Wire::with([answer; 20]);
        let begin = Instant::now();
        let (answer, counts) = wire.send(20, &fleet(2)).await;
        let error = answer.unwrap_err().to_string();
        assert!(error.contains("DeadlineExceeded") && error.contains(told), "{error}");
        assert!(begin.elapsed() <= Duration::from_secs(18), "{:?}", begin.elapsed());
        assert_eq!(counts.calls, calls + LOOKS);
    }
}

#[tokio::test(start_paused = true)]
async fn every_other_call_is_tried_again_by_the_sdk() {
    let wire = Wire::with([THROTTLED; 7]);
    let (answer, counts) = wire.send(900, &json!({"Action": "Status", "AutomationExecutionId": ID})).await;
    assert_eq!(answer.unwrap()["Terminal"], true);
    assert_eq!(counts, CallCounts { calls: 8, throttles: 7 });
}
