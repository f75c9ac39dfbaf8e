//! The metrics of an invocation.

use super::*;

async fn measure<A: Aws>(aws: A, clock: &FakeAws, payload: Value) -> Metrics {
    let collector = Collector::new(config(InvocationType::RequestResponse), aws, || clock.now.get());
    collector.handle(event(payload, MINUTES_15)).await.metrics
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
    insta::assert_snapshot!(String::from_utf8(line).unwrap(), @r#"{"_aws":{"Timestamp":1795312800000,"CloudWatchMetrics":[{"Namespace":"TagHub","Dimensions":[[]],"Metrics":[{"Name":"Sweeps","Unit":"Count"},{"Name":"InstancesSeen","Unit":"Count"},{"Name":"ReportsSent","Unit":"Count"},{"Name":"ReportsFailed","Unit":"Count"},{"Name":"RegionsFailed","Unit":"Count"},{"Name":"NodesRejected","Unit":"Count"},{"Name":"NodesFailed","Unit":"Count"},{"Name":"TagsDropped","Unit":"Count"},{"Name":"ChangesReceived","Unit":"Count"},{"Name":"SweepDuration","Unit":"Milliseconds"}]}]},"level":"INFO","timestamp":"2026-11-22T02:00:00Z","ChangesReceived":0,"InstancesSeen":4,"NodesFailed":1,"NodesRejected":1,"RegionsFailed":0,"ReportsFailed":0,"ReportsSent":2,"SweepDuration":2000,"Sweeps":1,"TagsDropped":1}"#);
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
        "TagsDropped",
        "ChangesReceived",
    ];
    for payload in [json!({"dryRun": true}), json!({"regions": ["mars"]}), json!({"Records": []})] {
        let metrics = measure(&aws, &aws, payload).await;
        let found: Vec<_> = metrics.metrics.iter().map(|metric| (metric.name, metric.unit, metric.value)).collect();
        assert_eq!(found, names.map(|name| (name, lambda_kit::Unit::Count, 0)));
        assert_eq!(metrics.breakdown, None);
    }
    let metrics = measure(&aws, &aws, json!({})).await;
    let last = metrics.metrics.last().unwrap();
    assert_eq!(
        (last.name, last.unit, value(&metrics, "Sweeps")),
        ("SweepDuration", lambda_kit::Unit::Milliseconds, Some(1))
    );
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_counted_also_where_the_invocation_ends_in_an_error() {
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(0..700)), ("us-west-2", fleet(700..703))]),
        ..FakeAws::default()
    };
    let page = |region: &Region, _: Option<&str>| (region.as_str() == "us-west-2").then(denied);
    let report = |report: &Report| {
        (report.instances.len() == 200).then(|| Err(Failure::new("TooManyRequestsException", "Rate Exceeded.")))
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
}

#[tokio::test(start_paused = true)]
async fn changes_are_counted_and_are_no_sweep() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1))]), ..FakeAws::default() };
    for (name, changes) in [("tag-change", 1), ("tag-changes-queue", 3)] {
        let path = format!("{}/../../events/tags-collector/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let metrics = measure(&aws, &aws, file(&std::fs::read_to_string(path).unwrap())).await;
        assert_eq!(value(&metrics, "ChangesReceived"), Some(changes));
        assert_eq!((value(&metrics, "Sweeps"), value(&metrics, "SweepDuration")), (Some(0), None));
    }
}
