//! Instances that lost the tag `managedinstanceid`.

use hub::{Outcome, Unlinked};
use serde_json::json;
use tags_collector::config::InvocationType;
use tags_collector::plan::InstanceState;
use tags_collector::ports::Failure;

use super::world::*;

const LOST: usize = 0xabcd_ef01_2345_6789;
const LOST_ID: &str = "i-0abcdef0123456789";

fn unlinked(aws: &FakeAws) -> Vec<Option<Unlinked>> {
    aws.reports.borrow().iter().map(|report| report.unlinked.clone()).collect()
}

fn world(lost: &[&str]) -> FakeAws {
    let lost = lost.iter().map(|id| (*id).to_owned()).collect();
    FakeAws { lost, ..FakeAws::east(vec![untagged(LOST), instance(1, &[]), untagged(2)]) }
}

#[tokio::test(start_paused = true)]
async fn the_removal_of_the_join_key_is_told_by_the_event_alone() {
    let aws = world(&[LOST_ID]);
    let answer = handle(&aws, file("join-key-removed")).await.unwrap();
    assert_eq!(unlinked(&aws), [Some(Unlinked(vec![LOST_ID.to_owned()]))], "and no other instance");
    assert_eq!(aws.reads.borrow().len(), 1);
    assert!(reported(&aws).is_empty() && aws.reports.borrow()[0].coverage.is_none());
    assert_eq!(answer.nodes.iter().map(|node| &node.outcome).collect::<Vec<_>>(), [&Outcome::Unlinked]);
    assert_eq!((answer.counts.unwrap().unlinked, answer.counts.unwrap().received), (1, 0));
    assert_eq!(answer.regions[0].untagged, 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_told_through_the_queue_too() {
    for invocation_type in [InvocationType::RequestResponse, InvocationType::Event] {
        let aws = world(&[LOST_ID]);
        let payload = messages(&[&file("join-key-removed"), &file("join-key-removed")]);
        assert!(failed(&aws, &aws, invocation_type, payload).await.is_empty());
        assert_eq!(unlinked(&aws), [Some(Unlinked(vec![LOST_ID.to_owned()]))]);
    }
}

#[tokio::test(start_paused = true)]
async fn it_comes_again_if_it_could_not_be_told() {
    let aws = world(&[LOST_ID]);
    let refuse = |_: &hub::Report| Some(Err(Failure::new("AccessDeniedException", "no grant")));
    let failing = Failing { aws: &aws, page: |_: &hub::Region, _: Option<&str>| None, report: refuse };
    let payload = messages(&[&file("join-key-removed")]);
    assert_eq!(failed(failing, &aws, InvocationType::RequestResponse, payload).await, ["m0"]);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_names_every_instance_without_a_node_and_the_manager_says_which_had_one() {
    let aws = world(&[LOST_ID]);
    let answer = handle(&aws, json!({"regions": ["us-east-1"]})).await.unwrap();
    assert_eq!(unlinked(&aws), [Some(Unlinked(vec![LOST_ID.to_owned(), "i-00000000000000002".to_owned()]))]);
    assert_eq!(answer.nodes.len(), 1, "an instance that never had a node needs no look here");
    assert_eq!(answer.nodes[0].ec2_instance_id.as_deref(), Some(LOST_ID));
    assert!(answer.not_found.is_empty() && answer.untagged.is_empty(), "nothing was asked for by ID");
}

#[tokio::test(start_paused = true)]
async fn the_answer_tells_instances_without_the_tag_from_those_that_are_not_there() {
    let aws = world(&[]);
    let ids = [LOST_ID, "i-0fedcba9876543210", "i-00000000000000001"];
    let answer = handle(&aws, json!({"instanceIds": ids})).await.unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    assert_eq!(answer["notFound"], json!([LOST_ID, "i-0fedcba9876543210"]), "as ever: gone, or without the tag");
    assert_eq!(answer["untagged"], json!([LOST_ID]));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_stopped_is_unlinked_too() {
    let aws = FakeAws::east(vec![in_state(LOST_ID, InstanceState::Stopped, false)]);
    handle(&aws, file("join-key-removed")).await.unwrap();
    assert_eq!(unlinked(&aws), [Some(Unlinked(vec![LOST_ID.to_owned()]))]);
}
