//! Instances that are terminated.

use super::*;

const GONE: &str = "i-0abcdef0123456789";

fn gone(id: &str, has_tags: bool) -> Ended {
    Ended { id: id.to_owned(), has_tags }
}

/// What the reports name as terminated, with the living beside them.
fn named(aws: &FakeAws) -> Vec<(usize, Vec<String>)> {
    let ids = |report: &Report| report.terminated.iter().map(|instance| instance.ec2_instance_id.clone()).collect();
    aws.reports.borrow().iter().map(|report| (report.instances.len(), ids(report))).collect()
}

fn sample() -> Value {
    file(include_str!("../../../../../events/tags-collector/terminated.json"))
}

#[tokio::test(start_paused = true)]
async fn a_sweep_reports_the_terminated_from_the_same_pages() {
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(0..3))]),
        ended: BTreeMap::from([("us-east-1", vec![gone(GONE, true), gone("i-01234567", false)])]),
        page_size: 2,
        ..FakeAws::default()
    };
    let answer = handle(&aws, json!({"regions": ["us-east-1"]})).await.unwrap();
    assert_eq!(named(&aws), [(3, vec![GONE.to_owned()])]);
    assert_eq!(aws.reads.borrow().len(), 2, "no read beside the pages");
    let answer = serde_json::to_value(answer).unwrap();
    assert_eq!((&answer["regions"][0]["instances"], &answer["regions"][0]["terminated"]), (&json!(3), &json!(1)));
    assert_eq!((&answer["counts"]["received"], &answer["terminated"]["marked"]), (&json!(3), &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_ended_nothing_is_said_about_it() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1))]), ..FakeAws::default() };
    let answer = serde_json::to_value(handle(&aws, json!({})).await.unwrap()).unwrap();
    assert_eq!((answer.get("terminated"), answer["regions"][0].get("terminated")), (None, None));
    let report = serde_json::to_value(&aws.reports.borrow()[0]).unwrap();
    assert_eq!(report.get("terminated"), None);
}

#[tokio::test(start_paused = true)]
async fn the_terminated_fill_batches_too() {
    let all = (0..1_100).map(|id| gone(&format!("i-{id:017x}"), true)).collect();
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(0..200))]),
        ended: BTreeMap::from([("us-east-1", all)]),
        ..FakeAws::default()
    };
    handle(&aws, json!({"regions": ["us-east-1"]})).await.unwrap();
    let sizes: Vec<_> = named(&aws).iter().map(|(living, ended)| (*living, ended.len())).collect();
    assert_eq!(sizes, [(200, 300), (0, 500), (0, 300)]);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_believed_only_where_ec2_says_the_same() {
    let aws = FakeAws { ended: BTreeMap::from([("us-east-1", vec![gone(GONE, false)])]), ..FakeAws::default() };
    let answer = handle(&aws, sample()).await.unwrap();
    assert_eq!(*aws.reads.borrow(), [Read { region: "us-east-1, ends".to_owned(), ids: 1, token: None }]);
    assert_eq!(named(&aws), [(0, vec![GONE.to_owned()])]);
    assert!(answer.not_found.is_empty());

    let living = FakeAws {
        instances: BTreeMap::from([("us-east-1", vec![instance(0xabcd_ef01_2345_6789, &[])])]),
        ..FakeAws::default()
    };
    let answer = handle(&living, sample()).await.unwrap();
    assert!(living.reports.borrow().is_empty(), "neither its end nor anything else is reported");
    assert_eq!(answer.not_found, [GONE.parse().unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn other_states_cost_no_call() {
    let aws = FakeAws { ended: BTreeMap::from([("us-east-1", vec![gone(GONE, false)])]), ..FakeAws::default() };
    let mut event = sample();
    for state in ["pending", "running", "stopping", "stopped", "shutting-down"] {
        event["detail"]["state"] = json!(state);
        let answer = handle(&aws, event.clone()).await.unwrap();
        assert!(answer.regions.is_empty() && answer.not_found.is_empty(), "{state}");
    }
    assert!(aws.reads.borrow().is_empty());
}

/// A message for each of these events.
fn messages(events: &[&Value]) -> Value {
    let record = |(index, event): (usize, &&Value)| json!({"messageId": format!("m{index}"), "eventSource": "aws:sqs", "body": event.to_string()});
    json!({"Records": events.iter().enumerate().map(record).collect::<Vec<_>>()})
}

async fn failed<A: Aws>(aws: A, clock: &FakeAws, payload: Value) -> Vec<String> {
    let collector = Collector::new(config(InvocationType::RequestResponse), aws, || clock.now.get());
    match collector.handle(event(payload, MINUTES_15)).await.result.unwrap() {
        Response::Queue(answer) => {
            answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
        }
        Response::Sweep(answer) => panic!("expected the answer to a queue, got {answer:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn ends_come_through_the_queue_too() {
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(1..2))]),
        ended: BTreeMap::from([("us-east-1", vec![gone(GONE, false)])]),
        ..FakeAws::default()
    };
    let mut change = file(include_str!("../../../../../events/tags-collector/tag-change.json"));
    change["resources"] = json!(["arn:aws:ec2:us-east-1:222222222222:instance/i-00000000000000001"]);
    let mut stopped = sample();
    stopped["detail"]["state"] = json!("stopped");
    let mut foreign = sample();
    foreign["account"] = json!("333333333333");
    let payload = messages(&[&sample(), &change, &sample(), &stopped, &foreign]);
    assert_eq!(failed(&aws, &aws, payload).await, ["m4"]);
    let reads = [
        Read { region: "us-east-1".to_owned(), ids: 1, token: None },
        Read { region: "us-east-1, ends".to_owned(), ids: 1, token: None },
    ];
    assert_eq!(*aws.reads.borrow(), reads);
    assert_eq!(named(&aws), [(1, vec![GONE.to_owned()])]);
}

#[tokio::test(start_paused = true)]
async fn the_sample_of_the_queue_is_one_end() {
    let aws = FakeAws { ended: BTreeMap::from([("us-east-1", vec![gone(GONE, false)])]), ..FakeAws::default() };
    let payload = file(include_str!("../../../../../events/tags-collector/terminated-queue.json"));
    assert!(failed(&aws, &aws, payload).await.is_empty());
    assert_eq!(named(&aws), [(0, vec![GONE.to_owned()])]);
}

#[tokio::test(start_paused = true)]
async fn an_end_comes_again_where_it_could_not_be_read_reported_or_marked() {
    let aws = FakeAws { ended: BTreeMap::from([("us-east-1", vec![gone(GONE, false)])]), ..FakeAws::default() };
    let page = |_: &Region, _: Option<&str>| Some(denied());
    let unread = Failing { aws: &aws, page, report: |_: &Report| None };
    assert_eq!(failed(unread, &aws, messages(&[&sample()])).await, ["m0"]);

    let no_page = |_: &Region, _: Option<&str>| None;
    let refuse = |_: &Report| Some(Err(Failure::new("TooManyRequestsException", "Rate Exceeded.")));
    let refused = Failing { aws: &aws, page: no_page, report: refuse };
    assert_eq!(failed(refused, &aws, messages(&[&sample()])).await, ["m0"]);

    let unmarked = |report: &Report| {
        let mut answer = answer(report);
        answer.terminated = Some(TerminatedCounts { received: 1, failed: 1, ..TerminatedCounts::default() });
        Some(Ok(Some(answer)))
    };
    let unmarked = Failing { aws: &aws, page: no_page, report: unmarked };
    let mut change = file(include_str!("../../../../../events/tags-collector/tag-change.json"));
    change["resources"] = json!(["arn:aws:ec2:us-east-1:222222222222:instance/i-00000000000000001"]);
    let payload = messages(&[&sample(), &change]);
    assert_eq!(failed(unmarked, &aws, payload).await, ["m0"], "a change beside it is done");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_ec2_does_not_show_yet_comes_again() {
    let aws = FakeAws { ending: vec![GONE.to_owned()], ..FakeAws::default() };
    assert_eq!(failed(&aws, &aws, messages(&[&sample()])).await, ["m0"]);
    assert!(aws.reports.borrow().is_empty());
}
