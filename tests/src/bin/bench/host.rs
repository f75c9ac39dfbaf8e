//! Runs a function's binary over the Lambda Runtime API, in any number of processes.
//!
//! Unlike the Runtime Interface Emulator it takes several invocations at once and says through which ARN a function
//! is invoked: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc, oneshot};

/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(crate) const ANSWER_BYTES_MAX: usize = 6 * 1_024 * 1_024;

type Answer = Result<Bytes, String>;

struct Job {
    arn: String,
    payload: Bytes,
    answer: oneshot::Sender<Answer>,
}

struct Queue {
    jobs: Mutex<mpsc::UnboundedReceiver<Job>>,
    open: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
    timeout: Duration,
}

/// A function that can be invoked.
pub(crate) struct Host {
    invoker: Invoker,
    processes: Vec<Child>,
}

/// Invokes a function; can be given away.
#[derive(Clone)]
pub(crate) struct Invoker(mpsc::UnboundedSender<Job>);

impl Invoker {
    pub(crate) async fn invoke(&self, arn: &str, payload: Bytes) -> Answer {
        let (answer, answered) = oneshot::channel();
        let job = Job { arn: arn.to_owned(), payload, answer };
        self.0.send(job).map_err(|_| "the function's host is gone".to_owned())?;
        answered.await.map_err(|_| "the function's host is gone".to_owned())?
    }
}

impl Host {
    /// Starts `count` processes of a binary that share one queue of invocations.
    pub(crate) async fn start(
        bootstrap: &Path,
        count: usize,
        timeout: Duration,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let (sender, jobs) = mpsc::unbounded_channel();
        let queue = Arc::new(Queue { jobs: Mutex::new(jobs), open: Mutex::default(), timeout });
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(respond))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(fail))
            .layer(DefaultBodyLimit::max(ANSWER_BYTES_MAX))
            .with_state(queue);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let start = || {
            Command::new(bootstrap)
                // What a function logs is nothing of the bench's; the metrics are a line for each invocation.
                .stdout(Stdio::null())
                .env_clear()
                .envs(environment.iter().copied())
                .env("AWS_LAMBDA_RUNTIME_API", &address)
                .env("AWS_LAMBDA_FUNCTION_NAME", "function")
                .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
                .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
                .env("AWS_LAMBDA_LOG_LEVEL", "ERROR")
                .kill_on_drop(true)
                .spawn()
                .with_context(|| format!("start {}", bootstrap.display()))
        };
        let processes = (0..count).map(|_| start()).collect::<anyhow::Result<_>>()?;
        Ok(Self { invoker: Invoker(sender), processes })
    }

    pub(crate) fn invoker(&self) -> Invoker {
        self.invoker.clone()
    }

    /// The most memory that any of the processes ever held, in MB.
    pub(crate) fn peak_memory_mb(&self) -> anyhow::Result<f64> {
        let mut peak_kb: f64 = 0.0;
        for process in &self.processes {
            let id = process.id().context("a process of the function has ended")?;
            let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
            peak_kb = peak_kb.max(line.trim().trim_end_matches(" kB").parse()?);
        }
        Ok(peak_kb * 1.024 / 1_000.0)
    }
}

async fn next(State(queue): State<Arc<Queue>>) -> Response {
    let Some(job) = queue.jobs.lock().await.recv().await else {
        // The host is gone, and this process is about to be killed.
        return std::future::pending().await;
    };
    let id = uuid::Uuid::new_v4().to_string();
    queue.open.lock().await.insert(id.clone(), job.answer);
    let mut response = plain(200, Body::from(job.payload));
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline_ms(queue.timeout).to_string()),
        ("lambda-runtime-invoked-function-arn", job.arn),
    ];
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

async fn respond(State(queue): State<Arc<Queue>>, UrlPath(id): UrlPath<String>, body: Bytes) -> Response {
    finish(&queue, &id, Ok(body)).await
}

async fn fail(State(queue): State<Arc<Queue>>, UrlPath(id): UrlPath<String>, body: Bytes) -> Response {
    finish(&queue, &id, Err(String::from_utf8_lossy(&body).into_owned())).await
}

async fn finish(queue: &Queue, id: &str, answer: Answer) -> Response {
    if let Some(waiting) = queue.open.lock().await.remove(id) {
        let _ = waiting.send(answer);
    }
    plain(202, Body::empty())
}

fn plain(status: u16, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response
}

#[expect(clippy::disallowed_methods, reason = "a deadline is a time of day")]
fn deadline_ms(timeout: Duration) -> u128 {
    (SystemTime::now() + timeout).duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}
