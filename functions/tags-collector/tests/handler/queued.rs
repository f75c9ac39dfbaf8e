//! Tag changes that come through a queue.

use std::collections::BTreeMap;
use std::time::Duration;

use hub::{Region, Report};
use serde_json::{Value, json};
use tags_collector::config::InvocationType;
use tags_collector::handler::Collector;
use tags_collector::ports::Failure;

use super::world::*;

/// A message for each of these: Region and number of the instance.
fn changes(instances: impl IntoIterator<Item = (&'static str, usize)>) -> Value {
    let records: Vec<Value> = instances
        .into_iter()
        .enumerate()
        .map(|(index, (region, id))| {
            let body = json!({
                "version": "0", "detail-type": "Tag Change on Resource", "source": "aws.tag", "account": "222222222222",
                "region": region, "resources": [format!("arn:aws:ec2:{region}:222222222222:instance/i-{id:017x}")],
                "detail": {"service": "ec2", "resource-type": "instance", "tags": {}},
            });
            json!({"messageId": format!("m{index}"), "eventSource": "aws:sqs", "body": body.to_string()})
        })
        .collect();
    json!({"Records": records})
}

async fn drain(aws: &FakeAws, payload: Value) -> Vec<String> {
    failed(aws, aws, InvocationType::RequestResponse, payload).await
}

#[tokio::test(start_paused = true)]
async fn the_sample_is_read_with_one_call_and_answered_with_its_one_bad_message() {
    let (a, b) = (0xabcd_ef01_2345_6789, 0xfedc_ba98_7654_3210);
    let aws = FakeAws {
        instances: BTreeMap::from([(
            "us-east-1",
            vec![instance(a, &[("Env", "PROD")]), instance(b, &[]), instance(7, &[])],
        )]),
        ..FakeAws::default()
    };
    let collector = Collector::new(config(InvocationType::RequestResponse), &aws, || aws.now.get());
    let payload = file("tag-changes-queue");
    let response = collector.handle(&invocation(MINUTES_15), &payload).await.result.unwrap();
    assert_eq!(
        serde_json::to_value(response).unwrap(),
        json!({"batchItemFailures": [{"itemIdentifier": "059f36b4-87a3-44ab-83d2-000000000004"}]})
    );
    assert_eq!(*aws.reads.borrow(), [Read { region: "us-east-1".to_owned(), ids: 2, token: None }]);
    assert_eq!(reported(&aws), [format!("mi-{a:017x}"), format!("mi-{b:017x}")]);
}

#[tokio::test(start_paused = true)]
async fn where_all_is_well_the_answer_is_empty() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1))]), ..FakeAws::default() };
    let collector = Collector::new(config(InvocationType::RequestResponse), &aws, || aws.now.get());
    let response = collector.handle(&invocation(MINUTES_15), &changes([("us-east-1", 0)])).await.result.unwrap();
    assert_eq!(serde_json::to_string(&response).unwrap(), r#"{"batchItemFailures":[]}"#);
}

#[tokio::test(start_paused = true)]
async fn five_hundred_changes_of_one_instance_cost_one_read_and_one_report() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..9))]), ..FakeAws::default() };
    assert!(drain(&aws, changes((0..500).map(|_| ("us-east-1", 3)))).await.is_empty());
    assert_eq!(*aws.reads.borrow(), [Read { region: "us-east-1".to_owned(), ids: 1, token: None }]);
    assert_eq!(aws.reports.borrow().len(), 1);
    assert_eq!(reported(&aws), ["mi-00000000000000003"]);
}

#[tokio::test(start_paused = true)]
async fn five_hundred_changed_instances_cost_three_reads_and_one_report() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..600))]), ..FakeAws::default() };
    assert!(drain(&aws, changes((0..500).map(|id| ("us-east-1", id)))).await.is_empty());
    let sizes: Vec<_> = aws.reads.borrow().iter().map(|read| read.ids).collect();
    assert_eq!(sizes, [200, 200, 100]);
    assert_eq!(aws.reports.borrow().len(), 1);
    assert_eq!(reported(&aws), ids_of(&fleet(0..500)));
}

#[tokio::test(start_paused = true)]
async fn each_region_is_asked_for_its_own_instances() {
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(0..2)), ("us-west-2", fleet(2..5)), ("eu-west-1", fleet(5..6))]),
        ..FakeAws::default()
    };
    let instances = [("us-east-1", 0), ("us-west-2", 2), ("us-west-2", 3), ("eu-west-1", 5)];
    assert!(drain(&aws, changes(instances)).await.is_empty(), "a Region that is not collected is done");
    let reads: Vec<_> = aws.reads.borrow().iter().map(|read| (read.region.clone(), read.ids)).collect();
    assert_eq!(reads, [("us-east-1".to_owned(), 1), ("us-west-2".to_owned(), 2)]);
    assert_eq!(reported(&aws), [0, 2, 3].map(|id| format!("mi-{id:017x}")));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_gone_is_done() {
    let aws = FakeAws::default();
    assert!(drain(&aws, changes([("us-east-1", 1)])).await.is_empty());
    assert_eq!((aws.reads.borrow().len(), aws.reports.borrow().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_node_may_fare_better_with_comes_again_and_what_not_does_not() {
    let outcomes = ["rejected", "failed", "throttled", "deferred", "updated"];
    let fleet = outcomes.iter().enumerate().map(|(id, outcome)| instance(id, &[("outcome", outcome)])).collect();
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet)]), ..FakeAws::default() };
    let twice = (0..outcomes.len()).chain(0..outcomes.len());
    assert_eq!(drain(&aws, changes(twice.map(|id| ("us-east-1", id)))).await, ["m2", "m3", "m7", "m8"]);
}

#[tokio::test(start_paused = true)]
async fn a_region_that_cannot_be_read_brings_back_its_own_messages_alone() {
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(0..2)), ("us-west-2", fleet(2..4))]),
        ..FakeAws::default()
    };
    let page = |region: &Region, _: Option<&str>| (region.as_str() == "us-west-2").then(denied);
    let failing = Failing { aws: &aws, page, report: |_: &Report| None };
    let payload = changes([("us-west-2", 2), ("us-east-1", 0), ("us-west-2", 3)]);
    assert_eq!(failed(failing, &aws, InvocationType::RequestResponse, payload).await, ["m0", "m2"]);
    assert_eq!(reported(&aws), ["mi-00000000000000000"]);
}

#[tokio::test(start_paused = true)]
async fn a_report_that_is_not_taken_brings_back_its_changes() {
    for invocation_type in [InvocationType::RequestResponse, InvocationType::Event] {
        let aws = FakeAws {
            instances: BTreeMap::from([("us-east-1", fleet(0..2)), ("us-west-2", fleet(2..4))]),
            ..FakeAws::default()
        };
        let report = |report: &Report| {
            let is_east = report.region == Some("us-east-1".parse().unwrap());
            is_east.then(|| Err(Failure::new("ServiceException", "Service error.")))
        };
        let failing = Failing { aws: &aws, page: |_: &Region, _: Option<&str>| None, report };
        let payload = changes([("us-east-1", 0), ("us-west-2", 2)]);
        assert_eq!(failed(failing, &aws, invocation_type, payload).await, ["m0"]);
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_answer_is_asked_for_a_report_that_is_taken_is_enough() {
    let throttled = vec![instance(0, &[("outcome", "throttled")])];
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", throttled)]), ..FakeAws::default() };
    assert!(failed(&aws, &aws, InvocationType::Event, changes([("us-east-1", 0)])).await.is_empty());
    assert_eq!(aws.reports.borrow()[0].reply, Some(false));
}

#[tokio::test(start_paused = true)]
async fn what_there_was_no_time_for_comes_again() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1))]), ..FakeAws::default() };
    let collector = Collector::new(config(InvocationType::RequestResponse), &aws, || aws.now.get());
    let handled = collector.handle(&invocation(Duration::from_secs(1)), &changes([("us-east-1", 0)])).await;
    let response = serde_json::to_value(handled.result.unwrap()).unwrap();
    assert_eq!(response, json!({"batchItemFailures": [{"itemIdentifier": "m0"}]}));
    assert!(aws.reads.borrow().is_empty());
}
