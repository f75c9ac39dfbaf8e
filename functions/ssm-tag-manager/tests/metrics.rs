//! The metrics of an invocation.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hub::{Answer, Counts, DropReason, DroppedTag, NodeAnswer, Outcome, Rejection, Timestamp, WireError};
use lambda_kit::{Breakdown, CallCounts, Metrics, Unit};
use ssm_tag_manager::config::Mode;
use ssm_tag_manager::retire::{RetireAnswer, RetireCounts};
use ssm_tag_manager::{Handled, LeaseUse, ManagerError, Responded, metrics};

/// 2026-11-22T02:00:00Z, when the report was observed.
const OBSERVED: i64 = 1_795_312_800;
const CALLS: CallCounts = CallCounts { calls: 7, throttles: 2 };
/// In the order of the line. All count, but for the one that is a time.
const NAMES: [&str; 25] = [
    "Reports",
    "ReportsFailed",
    "NodesReceived",
    "NodesUpdated",
    "NodesUnchanged",
    "NodesFailed",
    "NodesDeferred",
    "RejectedInvalidId",
    "RejectedUnknownNode",
    "RejectedNotOwned",
    "RejectedConflict",
    "RejectedStale",
    "TagsSet",
    "TagsRemoved",
    "TagsHeld",
    "TagsDropped",
    "NodesAdopted",
    "NodesSuperseded",
    "NodesUnlinked",
    "NodesRetired",
    "LeaseWait",
    "Slices",
    "NodesDeferredForLease",
    "ServiceCalls",
    "ServiceThrottles",
];

/// A minute and a half second after the report was observed.
fn ended() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_795_312_860_500)
}

fn node(outcome: Outcome, dropped: &[DropReason]) -> NodeAnswer {
    let dropped = dropped.iter().map(|reason| DroppedTag { key: "k".to_owned(), reason: *reason });
    NodeAnswer {
        instance_id: "mi-0123456789abcdef0".to_owned(),
        ec2_instance_id: None,
        outcome,
        set: BTreeMap::new(),
        removed: Vec::new(),
        dropped: dropped.collect(),
    }
}

/// An invocation that waited for its lease, and had to defer a node for want of it.
fn lease_use() -> LeaseUse {
    LeaseUse { wait: Duration::from_millis(350), slice_count: 2, deferred_count: 1, problem: Some("busy".to_owned()) }
}

/// A report with a node for every outcome.
fn answer() -> Answer {
    let rejected = |reason| node(Outcome::Rejected { reason }, &[]);
    let failed = Outcome::Failed { code: "TooManyUpdates".into(), message: "no".into(), retryable: true };
    Answer {
        agency: Some("222222222222".parse().unwrap()),
        dry_run: false,
        counts: Counts {
            received: 13,
            updated: 3,
            unchanged: 3,
            rejected: 5,
            failed: 1,
            deferred: 1,
            tags_set: 9,
            tags_removed: 4,
            tags_dropped: 3,
            adopted: 1,
            superseded: 1,
            unlinked: 1,
            tags_held: 11,
        },
        nodes: vec![
            node(Outcome::Updated, &[DropReason::Reserved, DropReason::Limit]),
            node(Outcome::Updated, &[]),
            node(Outcome::Unchanged, &[DropReason::Reserved]),
            rejected(Rejection::InvalidId),
            rejected(Rejection::UnknownNode),
            rejected(Rejection::NotOwned),
            rejected(Rejection::Conflict),
            rejected(Rejection::Stale),
            node(failed, &[]),
            node(Outcome::Deferred, &[]),
            node(Outcome::Adopted, &[]),
            node(Outcome::Superseded, &[]),
            node(Outcome::Unlinked, &[]),
        ],
        terminated: None,
        deferred_because: None,
        details_omitted: 0,
    }
}

fn of(result: Result<Answer, ManagerError>) -> Metrics {
    let observed_at = Timestamp::from_unix_seconds(OBSERVED);
    let is_report = !matches!(result, Err(ManagerError::InvalidReport(_)));
    let lease_use = if is_report { lease_use() } else { LeaseUse::default() };
    let handled = Handled { result, observed_at: is_report.then_some(observed_at), lease_use, coverage: None };
    metrics(&Responded::Report(handled), CALLS, ended(), Some("7"))
}

fn value(metrics: &Metrics, name: &str) -> Option<u64> {
    metrics.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
}

#[test]
fn a_report_in_one_line() {
    let mut line = Vec::new();
    of(Ok(answer())).write(ended(), Some("INFO"), &mut line).unwrap();
    insta::assert_snapshot!(String::from_utf8(line).unwrap(), @r#"{"_aws":{"Timestamp":1795312860500,"CloudWatchMetrics":[{"Namespace":"TagHub","Dimensions":[[]],"Metrics":[{"Name":"Reports","Unit":"Count"},{"Name":"ReportsFailed","Unit":"Count"},{"Name":"NodesReceived","Unit":"Count"},{"Name":"NodesUpdated","Unit":"Count"},{"Name":"NodesUnchanged","Unit":"Count"},{"Name":"NodesFailed","Unit":"Count"},{"Name":"NodesDeferred","Unit":"Count"},{"Name":"RejectedInvalidId","Unit":"Count"},{"Name":"RejectedUnknownNode","Unit":"Count"},{"Name":"RejectedNotOwned","Unit":"Count"},{"Name":"RejectedConflict","Unit":"Count"},{"Name":"RejectedStale","Unit":"Count"},{"Name":"TagsSet","Unit":"Count"},{"Name":"TagsRemoved","Unit":"Count"},{"Name":"TagsHeld","Unit":"Count"},{"Name":"TagsDropped","Unit":"Count"},{"Name":"NodesAdopted","Unit":"Count"},{"Name":"NodesSuperseded","Unit":"Count"},{"Name":"NodesUnlinked","Unit":"Count"},{"Name":"NodesRetired","Unit":"Count"},{"Name":"LeaseWait","Unit":"Milliseconds"},{"Name":"Slices","Unit":"Count"},{"Name":"NodesDeferredForLease","Unit":"Count"},{"Name":"ServiceCalls","Unit":"Count"},{"Name":"ServiceThrottles","Unit":"Count"},{"Name":"PropagationLag","Unit":"Milliseconds"}]},{"Namespace":"TagHub","Dimensions":[["Agency"]],"Metrics":[{"Name":"Reports","Unit":"Count"}]},{"Namespace":"TagHub","Dimensions":[["Version"]],"Metrics":[{"Name":"ReportsFailed","Unit":"Count"}]}]},"level":"INFO","timestamp":"2026-11-22T02:01:00Z","Agency":"222222222222","Version":"7","LeaseWait":350,"NodesAdopted":1,"NodesDeferred":1,"NodesDeferredForLease":1,"NodesFailed":1,"NodesReceived":13,"NodesRetired":0,"NodesSuperseded":1,"NodesUnchanged":3,"NodesUnlinked":1,"NodesUpdated":3,"PropagationLag":60500,"RejectedConflict":1,"RejectedInvalidId":1,"RejectedNotOwned":1,"RejectedStale":1,"RejectedUnknownNode":1,"Reports":1,"ReportsFailed":1,"ServiceCalls":7,"ServiceThrottles":2,"Slices":2,"TagsDropped":1,"TagsHeld":11,"TagsRemoved":4,"TagsSet":9}"#);
}

#[test]
fn every_metric_is_there_even_where_nothing_happened() {
    let empty = Answer {
        agency: None,
        dry_run: false,
        counts: Counts::default(),
        nodes: Vec::new(),
        terminated: None,
        deferred_because: None,
        details_omitted: 0,
    };
    let observed_at = Some(Timestamp::from_unix_seconds(OBSERVED));
    let handled = Handled { result: Ok(empty), observed_at, lease_use: LeaseUse::default(), coverage: None };
    let metrics = metrics(&Responded::Report(handled), CallCounts::default(), ended(), None);
    let found: Vec<_> = metrics.metrics.iter().map(|metric| (metric.name, metric.unit, metric.value)).collect();
    let unit = |name| if name == "LeaseWait" { Unit::Milliseconds } else { Unit::Count };
    assert_eq!(found, NAMES.map(|name| (name, unit(name), u64::from(name == "Reports"))));
    assert_eq!(metrics.breakdowns, [], "there is no agency to tell");
}

#[test]
fn waiting_for_leases_is_measured() {
    let metrics = of(Ok(answer()));
    for (name, expected) in [("LeaseWait", 350), ("Slices", 2), ("NodesDeferredForLease", 1)] {
        assert_eq!(value(&metrics, name), Some(expected), "{name}");
    }
}

#[test]
fn a_report_that_has_to_come_again_counts_all_the_same() {
    let error = ManagerError::Incomplete { retryable_count: 2, answer: Box::new(answer()) };
    assert_eq!(of(Err(error)), of(Ok(answer())));
}

#[test]
fn a_refused_report_is_none() {
    let wrong = WireError { path: "event".to_owned(), problem: "expected an object, got null".to_owned() };
    let metrics = of(Err(ManagerError::InvalidReport(wrong)));
    let found: Vec<_> = metrics.metrics.iter().map(|metric| (metric.name, metric.value)).collect();
    let expected = NAMES.map(|name| match name {
        "ServiceCalls" => (name, 7),
        "ServiceThrottles" => (name, 2),
        "ReportsFailed" => (name, 1),
        _ => (name, 0),
    });
    assert_eq!(found, expected);
    // A version that refuses every report shows.
    let by_version = Breakdown { dimension: "Version", value: "7".to_owned(), name: "ReportsFailed" };
    assert_eq!(metrics.breakdowns, [by_version]);
}

#[test]
fn a_dry_run_is_a_report_that_writes_nothing() {
    let mut answer = answer();
    answer.dry_run = true;
    answer.nodes.retain(|node| !matches!(node.outcome, Outcome::Adopted | Outcome::Superseded));
    answer.nodes.iter_mut().filter(|node| node.outcome == Outcome::Updated).for_each(|node| {
        node.outcome = Outcome::WouldUpdate;
    });
    let metrics = of(Ok(answer));
    for (name, expected) in
        [("Reports", 1), ("NodesReceived", 13), ("NodesUpdated", 0), ("TagsSet", 0), ("TagsRemoved", 0)]
    {
        assert_eq!(value(&metrics, name), Some(expected), "{name}");
    }
    assert_eq!(value(&metrics, "PropagationLag"), None);
    assert!(metrics.breakdowns.iter().all(|one| one.dimension != "Agency"), "a plan ends no agency's silence");
}

#[test]
fn without_an_update_there_is_no_lag_and_a_clock_ahead_makes_none() {
    let mut answer = answer();
    let late = Timestamp::from_unix_seconds(OBSERVED + 200);
    let handled =
        Handled { result: Ok(answer.clone()), observed_at: Some(late), lease_use: LeaseUse::default(), coverage: None };
    assert_eq!(value(&metrics(&Responded::Report(handled), CALLS, ended(), Some("7")), "PropagationLag"), Some(0));
    answer.nodes.retain(|node| !matches!(node.outcome, Outcome::Updated | Outcome::Adopted));
    assert_eq!(value(&of(Ok(answer)), "PropagationLag"), None);
}

#[test]
fn a_run_of_retirement_counts_the_nodes_that_are_gone() {
    let retired = |mode, retired| {
        let mut answer = RetireAnswer::off();
        answer.mode = mode;
        answer.counts = RetireCounts { marked: 5, retired, kept: 5 - retired, failed: 0 };
        metrics(&Responded::Retire(Ok(answer)), CALLS, ended(), Some("7"))
    };
    for (mode, expected) in [(Mode::On, 3), (Mode::DryRun, 0)] {
        let metrics = retired(mode, 3);
        assert_eq!(value(&metrics, "NodesRetired"), Some(expected), "{mode}");
        assert_eq!((value(&metrics, "Reports"), value(&metrics, "ServiceCalls")), (Some(0), Some(7)));
    }
    let refused = ManagerError::RetireThroughAlias { invoked_arn: String::new() };
    assert_eq!(value(&metrics(&Responded::Retire(Err(refused)), CALLS, ended(), Some("7")), "NodesRetired"), Some(0));
}
