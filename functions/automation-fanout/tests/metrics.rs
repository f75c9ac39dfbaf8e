//! The metrics of an invocation.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::time::{Duration, UNIX_EPOCH};

use automation_fanout::answer::{Answer, Failure, StartAnswer, StartedExecution, StopAnswer};
use automation_fanout::{FanoutError, metrics};
use lambda_kit::{CallCounts, Unit};

const CALLS: CallCounts = CallCounts { calls: 5, throttles: 1 };

fn started(target_locations: Option<usize>) -> StartedExecution {
    StartedExecution {
        automation_execution_id: "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE".to_owned(),
        client_token: "8f1d6f0a-0000-4000-8000-000000000000".to_owned(),
        target_locations,
        account_region_pairs: None,
        resumes: None,
    }
}

fn answer(action: &'static str) -> StartAnswer {
    StartAnswer {
        action,
        executions: vec![started(Some(100)), started(Some(1)), started(None)],
        failed: vec![Failure::default(); 2],
        ..StartAnswer::default()
    }
}

fn of(result: &Result<Answer, FanoutError>) -> Vec<(&'static str, Unit, u64)> {
    let metrics = metrics(result, CALLS);
    assert_eq!(metrics.breakdowns, []);
    metrics.metrics.iter().map(|metric| (metric.name, metric.unit, metric.value)).collect()
}

fn calls() -> [(&'static str, Unit, u64); 2] {
    [("ServiceCalls", Unit::Count, 5), ("ServiceThrottles", Unit::Count, 1)]
}

#[test]
fn a_start_in_one_line() {
    let mut line = Vec::new();
    let at = UNIX_EPOCH + Duration::from_millis(1_795_312_800_123);
    metrics(&Ok(Answer::Start(answer("Start"))), CALLS).write(at, Some("INFO"), &mut line).unwrap();
    insta::assert_snapshot!(String::from_utf8(line).unwrap(), @r#"{"_aws":{"Timestamp":1795312800123,"CloudWatchMetrics":[{"Namespace":"TagHub","Dimensions":[[]],"Metrics":[{"Name":"ExecutionsStarted","Unit":"Count"},{"Name":"StartsFailed","Unit":"Count"},{"Name":"TargetLocations","Unit":"Count"},{"Name":"ServiceCalls","Unit":"Count"},{"Name":"ServiceThrottles","Unit":"Count"}]}]},"level":"INFO","timestamp":"2026-11-22T02:00:00Z","ExecutionsStarted":3,"ServiceCalls":5,"ServiceThrottles":1,"StartsFailed":2,"TargetLocations":101}"#);
}

#[test]
fn a_start_and_a_resumption_count_their_starts_even_where_there_was_none() {
    let count = |name, value| (name, Unit::Count, value);
    for action in ["Start", "Resume"] {
        let starts = [count("ExecutionsStarted", 3), count("StartsFailed", 2), count("TargetLocations", 101)];
        assert_eq!(of(&Ok(Answer::Start(answer(action)))), [&starts[..], &calls()].concat());
        let none = [count("ExecutionsStarted", 0), count("StartsFailed", 0), count("TargetLocations", 0)];
        let empty = StartAnswer { action, ..StartAnswer::default() };
        assert_eq!(of(&Ok(Answer::Start(empty.clone()))), [&none[..], &calls()].concat());
        let failed = StartAnswer { failed: vec![Failure::default()], ..empty };
        let all_failed = [none[0], count("StartsFailed", 1), none[2]];
        let error = FanoutError::NothingStarted(Box::new(failed));
        assert_eq!(of(&Err(error)), [&all_failed[..], &calls()].concat());
    }
}

#[test]
fn everything_else_counts_its_calls() {
    let stop =
        StopAnswer { action: "Stop", stop_type: "Cancel", complete: true, executions: Vec::new(), failed: Vec::new() };
    for result in [
        Ok(Answer::Start(answer("Preview"))),
        Ok(Answer::Stop(stop.clone())),
        Err(FanoutError::NothingStopped(Box::new(stop))),
        Err(FanoutError::InvalidRequest(Vec::new())),
    ] {
        assert_eq!(of(&result), calls());
    }
}
