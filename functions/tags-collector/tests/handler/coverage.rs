//! How many instances have a node, and that the manager is called in every sweep.

use std::collections::BTreeMap;

use hub::{Coverage, Region, Report};
use serde_json::json;
use tags_collector::plan::InstanceState;

use super::world::*;

/// How many instances of each kind the reports name: with a node, without.
fn sizes(aws: &FakeAws) -> Vec<(usize, usize)> {
    let unlinked = |report: &Report| report.unlinked.as_ref().unwrap().0.len();
    aws.reports.borrow().iter().map(|report| (report.instances.len(), unlinked(report))).collect()
}

fn coverages(aws: &FakeAws) -> Vec<Option<Coverage>> {
    aws.reports.borrow().iter().map(|report| report.coverage.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_region_without_an_instance_is_reported_too() {
    for payload in [json!({}), json!({"dryRun": true})] {
        let aws = FakeAws::default();
        let answer = handle(&aws, payload.clone()).await.unwrap();
        assert_eq!((aws.reads.borrow().len(), sizes(&aws)), (2, vec![(0, 0); 2]), "{payload}");
        assert_eq!(coverages(&aws), vec![Some(Coverage::default()); 2]);
        let mut regions: Vec<_> =
            aws.reports.borrow().iter().map(|report| report.region.clone().unwrap().to_string()).collect();
        regions.sort();
        assert_eq!(regions, ["us-east-1", "us-west-2"]);
        assert_eq!(answer.regions.iter().map(|region| region.batches).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(aws.reports.borrow()[0].observed_at.unwrap().unix_seconds().unsigned_abs() / 10, NOW / 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_grant_shows_also_without_instances() {
    let aws = FakeAws::default();
    let denied = |_: &Report| Some(Err(tags_collector::ports::Failure::new("AccessDeniedException", "no grant")));
    let answer = handle_failing(&aws, |_, _| None, denied).await;
    assert_eq!(
        answer.problems(),
        "2 of 2 Regions not collected in full: us-east-1, 1 of 1 batches with 0 of 0 instances failed, \
         AccessDeniedException: no grant; us-west-2, 1 of 1 batches with 0 of 0 instances failed, \
         AccessDeniedException: no grant"
    );
}

#[tokio::test(start_paused = true)]
async fn coverage_counts_every_instance_and_is_told_once() {
    let others = vec![
        untagged(900),
        in_state("i-0000000000000aaaa", InstanceState::Stopped, false),
        in_state("i-0000000000000bbbb", InstanceState::Stopped, true),
        in_state("i-0000000000000cccc", InstanceState::Terminated, false),
    ];
    let aws = FakeAws { page_size: 100, ..FakeAws::east([fleet(0..700), others].concat()) };
    let answer = handle(&aws, json!({"regions": ["us-east-1"]})).await.unwrap();
    let expected = Coverage {
        running: 701,
        stopped: 2,
        managed: 701,
        unmanaged: vec!["i-00000000000000384".to_owned()],
        unmanaged_omitted: 0,
    };
    assert_eq!(coverages(&aws), [None, Some(expected)]);
    assert_eq!(sizes(&aws), [(500, 0), (201, 2)]);
    assert_eq!(aws.reports.borrow()[1].unlinked.as_ref().unwrap().0, ["i-00000000000000384", "i-0000000000000aaaa"]);
    let region = serde_json::to_value(&answer.regions[0]).unwrap();
    assert_eq!(region["coverage"], json!({"running": 701, "stopped": 2, "managed": 701, "unmanaged": 1}));
    assert_eq!((&region["instances"], &region["untagged"], &region["batches"]), (&json!(701), &json!(2), &json!(2)));
}

/// Reads, and reports, for so many instances with a node and without.
#[tokio::test(start_paused = true)]
async fn a_sweep_costs_a_read_for_1000_instances_and_a_report_for_500() {
    for (managed, unmanaged, reads, reports) in [
        (0, 0, 1, 1),
        (1, 0, 1, 1),
        (500, 0, 1, 1),
        (501, 0, 1, 2),
        (1_000, 0, 1, 2),
        (1_001, 0, 2, 3),
        (10_000, 0, 10, 20),
        (0, 500, 1, 1),
        (0, 501, 1, 2),
        (500, 500, 1, 1),
        (2_500, 0, 3, 5),
    ] {
        let aws = FakeAws::east([fleet(0..managed), (managed..managed + unmanaged).map(untagged).collect()].concat());
        handle(&aws, json!({"regions": ["us-east-1"]})).await.unwrap();
        let counts = (aws.reads.borrow().len(), aws.reports.borrow().len());
        assert_eq!(counts, (reads, reports), "{managed} with a node, {unmanaged} without");
        let told = coverages(&aws).iter().flatten().map(|coverage| coverage.managed).collect::<Vec<_>>();
        assert_eq!(told, [managed], "told once, whether or not the last report is full");
        assert_eq!(reported(&aws).len(), managed);
        assert_eq!(sizes(&aws).iter().map(|(_, unlinked)| unlinked).sum::<usize>(), unmanaged);
    }
}

#[tokio::test(start_paused = true)]
async fn many_instances_without_a_node_are_named_500_at_a_time_and_500_in_the_coverage() {
    let aws = FakeAws::east((0..1_300).rev().map(untagged).collect());
    handle(&aws, json!({"regions": ["us-east-1"]})).await.unwrap();
    assert_eq!(sizes(&aws), [(0, 500), (0, 500), (0, 300)]);
    let coverage = coverages(&aws).pop().unwrap().unwrap();
    let first: Vec<_> = (0..500).map(|id| format!("i-{id:017x}")).collect();
    assert_eq!((coverage.unmanaged, coverage.unmanaged_omitted), (first, 800));
}

#[tokio::test(start_paused = true)]
async fn a_region_that_was_not_read_to_its_end_has_no_coverage() {
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(0..3)), ("us-west-2", fleet(3..6))]),
        page_size: 2,
        ..FakeAws::default()
    };
    let page = |region: &Region, token: Option<&str>| (region.as_str() == "us-west-2" && token.is_some()).then(denied);
    let answer = handle_failing(&aws, page, |_| None).await;
    let told = |region: &str| {
        let reports = aws.reports.borrow();
        let report = reports.iter().find(|report| report.region == Some(region.parse().unwrap())).unwrap();
        report.coverage.as_ref().map(|coverage| coverage.managed)
    };
    assert_eq!((told("us-east-1"), told("us-west-2")), (Some(3), None));
    assert_eq!(answer.regions.iter().map(|region| region.coverage.is_some()).collect::<Vec<_>>(), [true, false]);

    let aws = FakeAws::default();
    handle_failing(&aws, |region, _| (region.as_str() == "us-west-2").then(denied), |_| None).await;
    assert_eq!(aws.reports.borrow().len(), 1, "nothing was read: there is nothing to say");
}

#[tokio::test(start_paused = true)]
async fn a_read_of_single_instances_says_nothing_about_the_region() {
    let aws = FakeAws::east(fleet(0..2));
    let answer = handle(&aws, json!({"instanceIds": ["i-00000000000000001"], "regions": ["us-east-1"]})).await.unwrap();
    assert_eq!((sizes(&aws), coverages(&aws)), (vec![(1, 0)], vec![None]));
    assert_eq!(serde_json::to_value(&answer.regions[0]).unwrap().get("coverage"), None);
    let none = handle(&aws, json!({"instanceIds": ["i-0000000000000ffff"]})).await.unwrap();
    assert_eq!((aws.reports.borrow().len(), none.not_found.len()), (1, 1), "nothing to say, no report");
}
