//! The handler over a world in memory: outcomes, failures, and runs that meet each other.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod ceilings;
mod outcomes;
mod simulation;
mod trouble;
mod world;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use activation_issuer::answer::Answer;
use activation_issuer::{Config, Invocation, IssueError, handle};
use hub::Timestamp;
use lambda_runtime::Diagnostic;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use world::{Access, SECRET, World};

const HUB: &str = "111111111111";
const A: &str = "222222222222";
const B: &str = "333333333333";
const EAST: &str = "us-east-1";
const WEST: &str = "us-west-2";
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn config() -> Config {
    config_with(&[])
}

/// The configuration, with some variables changed.
fn config_with(changes: &[(&str, &str)]) -> Config {
    let variables = [
        ("MANAGER_FUNCTION_NAME", "ssm-tag-manager"),
        ("WRITER_ROLE_NAME", "TagHubActivationWriter"),
        ("NODE_ROLE", "node"),
        ("PARAMETER_NAME", "/tag-hub/activation"),
        ("PARAMETER_REGIONS", "us-east-1,us-west-2"),
        ("AWS_REGION", EAST),
        // Ceilings have tests of their own.
        ("REGISTRATION_LIMIT", "1000"),
        ("RENEW_BELOW", "100"),
        ("RENEWALS_PER_DAY", "100"),
        ("AGENCY_NODE_LIMIT", "100000"),
        ("NODE_LIMIT", "100000"),
    ];
    let find = |name: &str| changes.iter().chain(&variables).find(|(key, _)| *key == name);
    let lookup = |name: &str| find(name).map(|(_, value)| (*value).to_owned());
    Config::from_lookup(lookup).unwrap()
}

/// A clock that stands still: whoever waits for it waits for ever.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn invocation(world: &World, budget: u64) -> Invocation {
    Invocation {
        hub_account: HUB.parse().unwrap(),
        now: Timestamp::from_unix_seconds(world.with(|state| state.now)),
        budget: Duration::from_secs(budget),
    }
}

async fn invoke(world: &World, access: &Access<'_>, budget: u64, event: &Value) -> Result<Answer, IssueError> {
    invoke_with(&config(), world, access, budget, event).await
}

async fn invoke_with(
    config: &Config,
    world: &World,
    access: &Access<'_>,
    budget: u64,
    event: &Value,
) -> Result<Answer, IssueError> {
    handle(config, &access, &access, &invocation(world, budget), event).await
}

/// One run by itself, without injected faults.
fn run_within(world: &World, budget: u64, event: &Value) -> Result<Answer, IssueError> {
    let runtime = runtime();
    let _context = runtime.enter();
    let access = world.access([]);
    let mut run = pin!(invoke(world, &access, budget, event));
    loop {
        if let Poll::Ready(result) = run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            assert_silent(&told(&result));
            return result;
        }
    }
}

fn run(world: &World) -> Result<Answer, IssueError> {
    run_within(world, 900, &json!({}))
}

/// Everything that an invocation says.
fn told(result: &Result<Answer, IssueError>) -> String {
    match result {
        Ok(answer) => format!("{answer:?} {}", serde_json::to_string(answer).unwrap()),
        Err(IssueError::PartialIssue(answer)) => {
            let error = IssueError::PartialIssue(answer.clone());
            let text = format!("{error} {error:?} {answer:?}");
            format!("{text} {:?}", Diagnostic::from(error))
        }
        Err(error) => format!("{error} {error:?}"),
    }
}

fn assert_silent(text: &str) {
    assert!(!text.contains(SECRET), "a code got out: {text}");
}

/// The answer, also of a run that ended in `PartialIssue`.
fn answer(result: Result<Answer, IssueError>) -> Value {
    match result {
        Ok(answer) => serde_json::to_value(answer).unwrap(),
        Err(IssueError::PartialIssue(answer)) => serde_json::to_value(answer).unwrap(),
        Err(error) => panic!("{error}"),
    }
}

/// The calls that were made by now, but for those that only read; they are forgotten then.
fn writes(world: &World) -> Vec<String> {
    let is_write = |call: &String| ["Create", "Put", "Delete"].iter().any(|verb| call.contains(verb));
    world.with(|state| std::mem::take(&mut state.calls)).into_iter().filter(is_write).collect()
}
