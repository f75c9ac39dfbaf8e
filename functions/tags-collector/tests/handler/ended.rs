//! Instances that are terminated.

use std::collections::BTreeMap;

use hub::{Region, Report, TerminatedCounts};
use serde_json::{Value, json};
use tags_collector::config::InvocationType;
use tags_collector::plan::{InstanceState, SeenInstance};
use tags_collector::ports::{Aws, Failure};

use super::world::{self, *};

const GONE: &str = "i-0abcdef0123456789";

fn gone(id: &str, has_join_key: bool) -> SeenInstance {
    in_state(id, InstanceState::Terminated, has_join_key)
}

/// What the reports name as terminated, with the living beside them.
fn named(aws: &FakeAws) -> Vec<(usize, Vec<String>)> {
    let ids = |report: &Report| report.terminated.iter().map(|instance| instance.ec2_instance_id.clone()).collect();
    aws.reports.borrow().iter().map(|report| (report.instances.len(), ids(report))).collect()
}

fn sample() -> Value {
    file("terminated")
}

#[tokio::test(start_paused = true)]
async fn a_sweep_reports_the_terminated_from_the_same_pages() {
    let aws = FakeAws {
        instances: BTreeMap::from([(
            "us-east-1",
            [fleet(0..3), vec![gone(GONE, true), gone("i-01234567", false)]].concat(),
        )]),
        page_size: 3,
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
    let all: Vec<_> = (0..1_100).map(|id| gone(&format!("i-{id:017x}"), true)).collect();
    let aws = FakeAws::east([fleet(0..200), all].concat());
    handle(&aws, json!({"regions": ["us-east-1"]})).await.unwrap();
    let sizes: Vec<_> = named(&aws).iter().map(|(living, ended)| (*living, ended.len())).collect();
    assert_eq!(sizes, [(200, 300), (0, 500), (0, 300)]);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_believed_only_where_ec2_says_the_same() {
    let aws = FakeAws::east(vec![gone(GONE, false)]);
    let answer = handle(&aws, sample()).await.unwrap();
    assert_eq!(*aws.reads.borrow(), [Read { region: "us-east-1".to_owned(), ids: 1, token: None }]);
    assert_eq!(named(&aws), [(0, vec![GONE.to_owned()])]);
    assert!(answer.not_found.is_empty());

    for has_join_key in [true, false] {
        let living = FakeAws::east(vec![in_state(GONE, InstanceState::Running, has_join_key)]);
        let answer = handle(&living, sample()).await.unwrap();
        assert!(living.reports.borrow().is_empty(), "neither its end nor anything else is reported");
        assert_eq!(answer.not_found, [GONE.parse().unwrap()]);
        assert!(answer.untagged.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn other_states_cost_no_call() {
    let aws = FakeAws::east(vec![gone(GONE, false)]);
    let mut event = sample();
    for state in ["pending", "running", "stopping", "stopped", "shutting-down"] {
        event["detail"]["state"] = json!(state);
        let answer = handle(&aws, event.clone()).await.unwrap();
        assert!(answer.regions.is_empty() && answer.not_found.is_empty(), "{state}");
    }
    assert!(aws.reads.borrow().is_empty());
}

async fn failed<A: Aws>(aws: A, clock: &FakeAws, payload: Value) -> Vec<String> {
    world::failed(aws, clock, InvocationType::RequestResponse, payload).await
}

#[tokio::test(start_paused = true)]
async fn ends_come_through_the_queue_too() {
    let aws = FakeAws::east([fleet(1..2), vec![gone(GONE, false)]].concat());
    let mut change = file("tag-change");
    change["resources"] = json!(["arn:aws:ec2:us-east-1:222222222222:instance/i-00000000000000001"]);
    let mut stopped = sample();
    stopped["detail"]["state"] = json!("stopped");
    let mut foreign = sample();
    foreign["account"] = json!("333333333333");
    let payload = messages(&[&sample(), &change, &sample(), &stopped, &foreign]);
    assert_eq!(failed(&aws, &aws, payload).await, ["m4"]);
    let reads = [Read { region: "us-east-1".to_owned(), ids: 2, token: None }];
    assert_eq!(*aws.reads.borrow(), reads);
    assert_eq!(named(&aws), [(1, vec![GONE.to_owned()])]);
}

#[tokio::test(start_paused = true)]
async fn the_sample_of_the_queue_is_one_end() {
    let aws = FakeAws::east(vec![gone(GONE, false)]);
    let payload = file("terminated-queue");
    assert!(failed(&aws, &aws, payload).await.is_empty());
    assert_eq!(named(&aws), [(0, vec![GONE.to_owned()])]);
}

#[tokio::test(start_paused = true)]
async fn an_end_comes_again_where_it_could_not_be_read_reported_or_marked() {
    let aws = FakeAws::east(vec![gone(GONE, false)]);
    let page = |_: &Region, _: Option<&str>| Some(denied());
    let unread = Failing { aws: &aws, page, report: |_: &Report| None };
    assert_eq!(failed(unread, &aws, messages(&[&sample()])).await, ["m0"]);

    let no_page = |_: &Region, _: Option<&str>| None;
    let refuse = |_: &Report| Some(Err(Failure::new("ServiceException", "Service error.")));
    let refused = Failing { aws: &aws, page: no_page, report: refuse };
    assert_eq!(failed(refused, &aws, messages(&[&sample()])).await, ["m0"]);

    let unmarked = |report: &Report| {
        let mut answer = answer(report, &[]);
        answer.terminated = Some(TerminatedCounts { received: 1, failed: 1, ..TerminatedCounts::default() });
        Some(Ok(Some(answer)))
    };
    let unmarked = Failing { aws: &aws, page: no_page, report: unmarked };
    let mut change = file("tag-change");
    change["resources"] = json!(["arn:aws:ec2:us-east-1:222222222222:instance/i-00000000000000001"]);
    let payload = messages(&[&sample(), &change]);
    assert_eq!(failed(unmarked, &aws, payload).await, ["m0"], "a change beside it is done");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_ec2_does_not_show_yet_comes_again() {
    for state in [InstanceState::ShuttingDown, InstanceState::Running, InstanceState::Stopped] {
        for has_join_key in [true, false] {
            let aws = FakeAws::east(vec![in_state(GONE, state, has_join_key)]);
            assert_eq!(failed(&aws, &aws, messages(&[&sample()])).await, ["m0"], "{state:?}");
            assert!(aws.reports.borrow().is_empty(), "{state:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_was_asked_for_and_is_terminated_is_reported_as_that() {
    let mut change = file("tag-change");
    for has_join_key in [true, false] {
        let aws = FakeAws::east(vec![gone(GONE, has_join_key)]);
        change["resources"] = json!([format!("arn:aws:ec2:us-east-1:222222222222:instance/{GONE}")]);
        let answer = handle(&aws, change.clone()).await.unwrap();
        assert_eq!(named(&aws), [(0, vec![GONE.to_owned()])]);
        assert!(answer.not_found.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_shutting_down_is_neither_alive_nor_gone() {
    for has_join_key in [true, false] {
        let aws = FakeAws::east(vec![in_state(GONE, InstanceState::ShuttingDown, has_join_key)]);
        let answer = handle(&aws, file("tag-change")).await.unwrap();
        assert!(aws.reports.borrow().is_empty(), "it is not unlinked either");
        assert_eq!((answer.not_found, answer.untagged), (vec![GONE.parse().unwrap()], Vec::new()));
        let answer = handle(&aws, json!({"regions": ["us-east-1"]})).await.unwrap();
        assert_eq!((answer.regions[0].instances, answer.regions[0].untagged), (0, 0));
        assert_eq!(answer.regions[0].coverage.unwrap().stopped, 1);
    }
}
