//! The metrics of an invocation.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use hub::{Region, Report};
use lambda_kit::Metrics;
use serde_json::{Value, json};
use tags_collector::config::InvocationType;
use tags_collector::handler::Collector;
use tags_collector::ports::{Aws, Failure};

use super::world::*;

async fn measure<A: Aws>(aws: A, clock: &FakeAws, payload: Value) -> Metrics {
    let collector = Collector::new(config(InvocationType::RequestResponse), aws, || clock.now.get());
    collector.handle(&invocation(MINUTES_15), &payload).await.metrics
}

fn value(metrics: &Metrics, name: &str) -> Option<u64> {
    metrics.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
}

#[tokio::test(start_paused = true)]
async fn a_sweep_in_one_line() {
    let west = vec![
        instance(4, &[("outcome", "rejected")]),
        instance(5, &[("a#b", "x"), ("aws:autoscaling:groupName", "web")]),
        instance(6, &[("outcome", "failed")]),
    ];
    let aws =
        FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1)), ("us-west-2", west)]), ..FakeAws::default() };
    let metrics = measure(&aws, &aws, json!({})).await;
    let mut line = Vec::new();
    metrics.write(UNIX_EPOCH + Duration::from_secs(NOW), Some("INFO"), &mut line).unwrap();
    insta::assert_snapshot!(String::from_utf8(line).unwrap(), @r#"{"_aws":{"Timestamp":1795312800000,"CloudWatchMetrics":[{"Namespace":"TagHub","Dimensions":[[]],"Metrics":[{"Name":"Sweeps","Unit":"Count"},{"Name":"InstancesSeen","Unit":"Count"},{"Name":"ReportsSent","Unit":"Count"},{"Name":"ReportsFailed","Unit":"Count"},{"Name":"RegionsFailed","Unit":"Count"},{"Name":"NodesRejected","Unit":"Count"},{"Name":"NodesFailed","Unit":"Count"},{"Name":"NodesAdopted","Unit":"Count"},{"Name":"NodesSuperseded","Unit":"Count"},{"Name":"NodesUnlinked","Unit":"Count"},{"Name":"TagsDropped","Unit":"Count"},{"Name":"ChangesReceived","Unit":"Count"},{"Name":"SweepDuration","Unit":"Milliseconds"},{"Name":"InstancesManaged","Unit":"Count"},{"Name":"InstancesUnmanaged","Unit":"Count"}]}]},"level":"INFO","timestamp":"2026-11-22T02:00:00Z","ChangesReceived":0,"InstancesManaged":4,"InstancesSeen":4,"InstancesUnmanaged":0,"NodesAdopted":0,"NodesFailed":1,"NodesRejected":1,"NodesSuperseded":0,"NodesUnlinked":0,"RegionsFailed":0,"ReportsFailed":0,"ReportsSent":2,"SweepDuration":2000,"Sweeps":1,"TagsDropped":1}"#);
}

#[tokio::test(start_paused = true)]
async fn every_metric_is_there_even_where_nothing_happened() {
    let aws = FakeAws::default();
    let names = [
        "Sweeps",
        "InstancesSeen",
        "ReportsSent",
        "ReportsFailed",
        "RegionsFailed",
        "NodesRejected",
        "NodesFailed",
        "NodesAdopted",
        "NodesSuperseded",
        "NodesUnlinked",
        "TagsDropped",
        "ChangesReceived",
    ];
    for payload in [json!({"regions": ["mars"]}), json!({"Records": []})] {
        let metrics = measure(&aws, &aws, payload).await;
        let found: Vec<_> = metrics.metrics.iter().map(|metric| (metric.name, metric.unit, metric.value)).collect();
        assert_eq!(found, names.map(|name| (name, lambda_kit::Unit::Count, 0)));
        assert_eq!(metrics.breakdowns, []);
    }
    let metrics = measure(&aws, &aws, json!({})).await;
    let names: Vec<_> = metrics.metrics[names.len()..].iter().map(|metric| (metric.name, metric.unit)).collect();
    let expected = [
        ("SweepDuration", lambda_kit::Unit::Milliseconds),
        ("InstancesManaged", lambda_kit::Unit::Count),
        ("InstancesUnmanaged", lambda_kit::Unit::Count),
    ];
    assert_eq!((names.as_slice(), value(&metrics, "Sweeps")), (&expected[..], Some(1)));
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_counted_also_where_the_invocation_ends_in_an_error() {
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(0..700)), ("us-west-2", fleet(700..703))]),
        ..FakeAws::default()
    };
    let page = |region: &Region, _: Option<&str>| (region.as_str() == "us-west-2").then(denied);
    let report = |report: &Report| {
        (report.instances.len() == 200).then(|| Err(Failure::new("ServiceException", "Service error.")))
    };
    let metrics = measure(Failing { aws: &aws, page, report }, &aws, json!({})).await;
    for (name, expected) in [
        ("Sweeps", 0),
        ("InstancesSeen", 700),
        ("ReportsSent", 2),
        ("ReportsFailed", 1),
        ("RegionsFailed", 1),
        ("SweepDuration", 1_000),
    ] {
        assert_eq!(value(&metrics, name), Some(expected), "{name}");
    }
    assert_eq!(value(&metrics, "InstancesManaged"), None, "a Region is missing from the number");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_counts_what_is_managed_and_what_is_not() {
    let fleet = [fleet(0..5), (5..8).map(untagged).collect()].concat();
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet), ("us-west-2", vec![untagged(9)])]),
        lost: vec!["i-00000000000000005".to_owned()],
        ..FakeAws::default()
    };
    let metrics = measure(&aws, &aws, json!({})).await;
    let values = ["InstancesSeen", "InstancesManaged", "InstancesUnmanaged", "NodesUnlinked"];
    assert_eq!(values.map(|name| value(&metrics, name)), [Some(5), Some(5), Some(4), Some(1)]);
    for payload in [json!({"dryRun": true}), json!({"regions": ["us-east-1"]}), json!({"instanceIds": ["i-01234567"]})]
    {
        let metrics = measure(&aws, &aws, payload).await;
        assert_eq!(value(&metrics, "InstancesManaged"), None, "only a sweep over everything tells the whole number");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_with_the_newer_outcomes_are_counted() {
    let aws = FakeAws::east(vec![instance(1, &[("outcome", "adopted")])]);
    let metrics = measure(&aws, &aws, json!({})).await;
    assert_eq!((value(&metrics, "NodesAdopted"), value(&metrics, "NodesSuperseded")), (Some(1), Some(0)));
}

#[tokio::test(start_paused = true)]
async fn changes_are_counted_and_are_no_sweep() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1))]), ..FakeAws::default() };
    for (name, changes) in [("tag-change", 1), ("tag-changes-queue", 3)] {
        let metrics = measure(&aws, &aws, file(name)).await;
        assert_eq!(value(&metrics, "ChangesReceived"), Some(changes));
        assert_eq!((value(&metrics, "Sweeps"), value(&metrics, "SweepDuration")), (Some(0), None));
    }
}
