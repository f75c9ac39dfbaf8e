//! Sweeps, and reads of single instances.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use hub::{Answer, Counts, Outcome, Region, Report};
use lambda_runtime::Diagnostic;
use serde_json::json;
use tags_collector::config::InvocationType;
use tags_collector::handler::{CollectError, Collector, MARGINS};
use tags_collector::ports::Failure;
use tokio::sync::Semaphore;

use super::world::*;

#[tokio::test(start_paused = true)]
#[expect(clippy::too_many_lines, reason = "most of it is the snapshot")]
async fn a_scheduled_sweep_reads_every_region() {
    let west = vec![
        instance(4, &[("outcome", "rejected")]),
        instance(5, &[("a#b", "x")]),
        instance(6, &[("outcome", "failed")]),
    ];
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(0..1)), ("us-west-2", west), ("eu-west-1", fleet(7..9))]),
        ..FakeAws::default()
    };
    let answer = handle(&aws, file("schedule")).await.unwrap();
    insta::assert_json_snapshot!(answer, @r#"
    {
      "account": "222222222222",
      "dryRun": false,
      "regions": [
        {
          "region": "us-east-1",
          "instances": 1,
          "coverage": {
            "running": 1,
            "stopped": 0,
            "managed": 1,
            "unmanaged": 0
          },
          "batches": 1,
          "failedBatches": 0,
          "failedInstances": 0
        },
        {
          "region": "us-west-2",
          "instances": 3,
          "coverage": {
            "running": 3,
            "stopped": 0,
            "managed": 3,
            "unmanaged": 0
          },
          "batches": 1,
          "failedBatches": 0,
          "failedInstances": 0
        }
      ],
      "counts": {
        "received": 4,
        "updated": 2,
        "unchanged": 0,
        "rejected": 1,
        "failed": 1,
        "deferred": 0,
        "tagsSet": 0,
        "tagsRemoved": 0,
        "tagsDropped": 0,
        "adopted": 0,
        "superseded": 0,
        "unlinked": 0
      },
      "nodes": [
        {
          "instanceId": "mi-00000000000000004",
          "ec2InstanceId": "i-00000000000000004",
          "outcome": "rejected",
          "reason": "not-owned"
        },
        {
          "instanceId": "mi-00000000000000006",
          "ec2InstanceId": "i-00000000000000006",
          "outcome": "failed",
          "code": "ValidationException",
          "message": "Value 'secret' is bad",
          "retryable": false
        },
        {
          "instanceId": "mi-00000000000000005",
          "ec2InstanceId": "i-00000000000000005",
          "outcome": "updated",
          "set": {
            "Env": "PROD"
          },
          "dropped": [
            {
              "key": "a#b",
              "reason": "character"
            }
          ]
        }
      ],
      "nodesOmitted": 0
    }
    "#);
    let reports = aws.reports.borrow();
    let east = reports.iter().find(|report| report.region == Some("us-east-1".parse().unwrap())).unwrap();
    insta::assert_json_snapshot!(east, @r#"
    {
      "version": 1,
      "account": "222222222222",
      "region": "us-east-1",
      "observedAt": "2026-11-22T02:00:00Z",
      "dryRun": false,
      "instances": [
        {
          "instanceId": "mi-00000000000000000",
          "ec2InstanceId": "i-00000000000000000",
          "tags": [
            {
              "Key": "Env",
              "Value": "PROD"
            }
          ]
        }
      ],
      "unlinked": [],
      "coverage": {
        "running": 1,
        "stopped": 0,
        "managed": 1,
        "unmanaged": [],
        "unmanagedOmitted": 0
      }
    }
    "#);
}

#[tokio::test(start_paused = true)]
async fn reserved_tags_need_no_look() {
    let stack = ("aws:cloudformation:stack-name", "web");
    let fleet = vec![instance(1, &[stack]), instance(2, &[stack, ("a#b", "x")])];
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet)]), ..FakeAws::default() };
    let answer = handle(&aws, json!({})).await.unwrap();
    assert_eq!(answer.nodes.iter().map(|node| node.instance_id.as_str()).collect::<Vec<_>>(), ["mi-00000000000000002"]);
    assert_eq!((answer.nodes[0].dropped.len(), answer.nodes_omitted), (2, 0), "the answer leaves out no reason");
}

#[tokio::test(start_paused = true)]
async fn a_tag_change_reads_one_instance_in_one_region() {
    let own = 0xabcd_ef01_2345_6789;
    let aws = FakeAws {
        instances: BTreeMap::from([
            ("us-east-1", vec![instance(own, &[("Env", "PROD")]), instance(1, &[])]),
            ("us-west-2", fleet(2..4)),
        ]),
        ..FakeAws::default()
    };
    let answer = handle(&aws, file("tag-change")).await.unwrap();
    assert_eq!(*aws.reads.borrow(), [Read { region: "us-east-1".to_owned(), ids: 1, token: None }]);
    assert_eq!(reported(&aws), ["mi-0abcdef0123456789"]);
    assert!(answer.not_found.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_tag_change_outside_the_collected_regions_reads_nothing() {
    let mut payload = file("tag-change");
    payload["resources"][0] = json!("arn:aws:ec2:eu-west-1:222222222222:instance/i-0abcdef0123456789");
    let aws = FakeAws::default();
    let answer = handle(&aws, payload).await.unwrap();
    assert!(aws.reads.borrow().is_empty());
    assert_eq!(answer.ignored_regions, ["eu-west-1".parse().unwrap()]);
    assert!(answer.not_found.is_empty() && answer.regions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn instances_that_are_nowhere_are_named() {
    let known = 0xabcd_ef01_2345_6789;
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", vec![instance(known, &[])])]), ..FakeAws::default() };
    let answer = handle(&aws, file("manual")).await.unwrap();
    assert_eq!(answer.not_found, ["i-0fedcba9876543210".parse().unwrap()]);
    assert_eq!(answer.counts.unwrap().received, 1);
}

#[tokio::test(start_paused = true)]
async fn many_ids_are_read_200_at_a_time() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..450))]), ..FakeAws::default() };
    let ids: Vec<_> = (0..451).map(|id| format!("i-{id:017x}")).collect();
    let answer = handle(&aws, json!({"instanceIds": ids, "regions": ["us-east-1"]})).await.unwrap();
    let sizes: Vec<_> = aws.reads.borrow().iter().map(|read| read.ids).collect();
    assert_eq!(sizes, [200, 200, 51]);
    assert_eq!(reported(&aws), ids_of(&fleet(0..450)));
    assert_eq!(aws.reports.borrow().len(), 1);
    assert_eq!(answer.not_found.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn batches_run_over_pages_and_keep_the_earliest_time() {
    let aws =
        FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1201))]), page_size: 400, ..FakeAws::default() };
    let answer = handle(&aws, json!({"regions": ["us-east-1"]})).await.unwrap();
    assert_eq!(reported(&aws), ids_of(&fleet(0..1201)));
    let reports = aws.reports.borrow();
    let sizes: Vec<_> = reports.iter().map(|report| report.instances.len()).collect();
    let times: Vec<_> =
        reports.iter().map(|report| report.observed_at.unwrap().unix_seconds() - i64::try_from(NOW).unwrap()).collect();
    assert_eq!(sizes, [500, 500, 201]);
    // A page takes a second: the first 500 are of the pages at 0 and 1, the next of those at 1 and 2.
    assert_eq!(times, [0, 1, 2]);
    assert_eq!((answer.regions[0].batches, answer.counts.unwrap().received), (3, 1201));
}

#[tokio::test(start_paused = true)]
async fn reading_waits_while_a_report_is_on_its_way() {
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(0..10_000))]),
        page_size: 500,
        gate: Semaphore::new(0),
        ..FakeAws::default()
    };
    let mut run = pin!(handle(&aws, json!({"regions": ["us-east-1"]})));
    tokio::select! {
        biased;
        _ = &mut run => panic!("nothing was let through"),
        () = async { for _ in 0..1000 { tokio::task::yield_now().await } } => {}
    }
    // One is on its way, one is in the queue, the reader has one that is full, and one page for the next.
    assert_eq!((aws.reporting.now.get(), aws.reads.borrow().len()), (1, 4));
    aws.gate.add_permits(Semaphore::MAX_PERMITS);
    let answer = run.await.unwrap();
    assert_eq!(answer.counts.unwrap().received, 10_000);
    assert_eq!(aws.reporting.most.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn regions_are_read_four_at_a_time_and_answered_in_their_order() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-9", fleet(0..1))]), ..FakeAws::default() };
    let regions: Vec<_> = (1..10).rev().map(|number| format!("us-east-{number}")).collect();
    let answer = handle(&aws, json!({"regions": regions})).await.unwrap();
    assert_eq!(aws.reading.most.get(), 4);
    assert_eq!(answer.regions.iter().map(|answer| answer.region.as_str()).collect::<Vec<_>>(), regions);
    assert_eq!(answer.regions[0].instances, 1);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_waits_for_its_answer_even_where_reports_are_queued() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1))]), ..FakeAws::default() };
    let collector = Collector::new(config(InvocationType::Event), &aws, || aws.now.get());
    let payload = file("dry-run");
    let answer = sweep(&collector, payload, MINUTES_15).await.unwrap();
    assert!(answer.dry_run && aws.reports.borrow()[0].dry_run);
    assert_eq!(answer.nodes[0].outcome, Outcome::WouldUpdate);
    assert_eq!(answer.counts.unwrap().updated, 1);
}

#[tokio::test(start_paused = true)]
async fn queued_reports_have_no_counts() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1))]), ..FakeAws::default() };
    let collector = Collector::new(config(InvocationType::Event), &aws, || aws.now.get());
    let answer = sweep(&collector, json!({}), MINUTES_15).await.unwrap();
    assert_eq!(aws.reports.borrow()[0].reply, Some(false));
    insta::assert_json_snapshot!(answer, @r#"
    {
      "account": "222222222222",
      "dryRun": false,
      "regions": [
        {
          "region": "us-east-1",
          "instances": 1,
          "coverage": {
            "running": 1,
            "stopped": 0,
            "managed": 1,
            "unmanaged": 0
          },
          "batches": 1,
          "failedBatches": 0,
          "failedInstances": 0
        },
        {
          "region": "us-west-2",
          "instances": 0,
          "coverage": {
            "running": 0,
            "stopped": 0,
            "managed": 0,
            "unmanaged": 0
          },
          "batches": 1,
          "failedBatches": 0,
          "failedInstances": 0
        }
      ],
      "nodes": [],
      "nodesOmitted": 0
    }
    "#);
}

#[tokio::test(start_paused = true)]
async fn a_region_that_cannot_be_read_stops_no_other() {
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(0..3)), ("us-west-2", fleet(3..6))]),
        page_size: 2,
        ..FakeAws::default()
    };
    let page = |region: &Region, token: Option<&str>| (region.as_str() == "us-west-2" && token.is_some()).then(denied);
    let answer = handle_failing(&aws, page, |_| None).await;
    // The page of the failing Region that was read is reported all the same.
    assert_eq!(reported(&aws), ids_of(&fleet(0..5)));
    assert_eq!(
        answer.problems(),
        "1 of 2 Regions not collected in full: us-west-2, ec2:DescribeInstances failed: UnauthorizedOperation: \
         You are not authorized"
    );
    let error: Diagnostic = CollectError::PartialSweep(Box::new(answer)).into();
    assert_eq!(error.error_type, "PartialSweep");
    insta::assert_snapshot!(error.error_message, @r#"1 of 2 Regions not collected in full: us-west-2, ec2:DescribeInstances failed: UnauthorizedOperation: You are not authorized; answer: {"account":"222222222222","dryRun":false,"regions":[{"region":"us-east-1","instances":3,"coverage":{"running":3,"stopped":0,"managed":3,"unmanaged":0},"batches":1,"failedBatches":0,"failedInstances":0},{"region":"us-west-2","instances":2,"batches":1,"failedBatches":0,"failedInstances":0,"error":{"code":"UnauthorizedOperation","message":"ec2:DescribeInstances failed: UnauthorizedOperation: You are not authorized"}}],"counts":{"received":5,"updated":5,"unchanged":0,"rejected":0,"failed":0,"deferred":0,"tagsSet":0,"tagsRemoved":0,"tagsDropped":0,"adopted":0,"superseded":0,"unlinked":0},"nodes":[],"nodesOmitted":0}"#);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_taken_stops_no_other() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1200))]), ..FakeAws::default() };
    let report = |report: &Report| {
        let failure = Failure::new("ServiceException", "Service error.");
        (report.instances.len() == 200).then_some(Err(failure))
    };
    let answer = handle_failing(&aws, |_, _| None, report).await;
    assert_eq!(reported(&aws), ids_of(&fleet(0..1000)));
    assert_eq!(
        answer.problems(),
        "1 of 2 Regions not collected in full: us-east-1, 1 of 3 batches with 200 of 1200 instances failed, \
         ServiceException: Service error."
    );
    assert_eq!(answer.counts.unwrap().received, 1000);
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_something_else_is_a_failure() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..2))]), ..FakeAws::default() };
    for (received, dry_run) in [(1, false), (2, true)] {
        let report = |report: &Report| {
            let counts = Counts { received, ..Counts::default() };
            let nodes = Vec::new();
            let (agency, terminated, deferred_because) = (None, None, None);
            let answer = Answer { agency, dry_run, counts, nodes, terminated, deferred_because, details_omitted: 0 };
            (!report.instances.is_empty()).then_some(Ok(Some(answer)))
        };
        let answer = handle_failing(&aws, |_, _| None, report).await;
        let region = &answer.regions[0];
        assert_eq!((region.failed_batches, region.failed_instances), (1, 2));
        assert_eq!(region.error.as_ref().unwrap().code, "UnexpectedAnswer");
        assert_eq!(answer.counts, Some(Counts::default()));
    }
}

#[tokio::test(start_paused = true)]
async fn no_page_and_no_report_is_begun_when_the_time_is_up() {
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(0..100))]),
        page_size: 10,
        page_takes: Duration::from_mins(1),
        ..FakeAws::default()
    };
    let collector = Collector::new(config(InvocationType::RequestResponse), &aws, || aws.now.get());
    let error =
        sweep(&collector, json!({"regions": ["us-east-1"]}), Duration::from_secs(3 * 60 + 5)).await.unwrap_err();
    let CollectError::PartialSweep(answer) = error else { panic!("{error:?}") };
    assert_eq!(aws.reads.borrow().len(), 3);
    assert!(aws.reports.borrow().is_empty());
    let region = &answer.regions[0];
    assert_eq!((region.instances, region.batches, region.failed_batches, region.failed_instances), (30, 1, 1, 30));
    assert_eq!(region.error.as_ref().unwrap().code, "DeadlineExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_report_without_an_answer_is_given_up_before_the_function_is_stopped() {
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(0..1))]),
        page_takes: Duration::ZERO,
        gate: Semaphore::new(0),
        ..FakeAws::default()
    };
    let collector = Collector::new(config(InvocationType::RequestResponse), &aws, || aws.now.get());
    let time = MARGINS.answer + Duration::from_millis(20);
    let error = sweep(&collector, json!({}), time).await.unwrap_err();
    let CollectError::PartialSweep(answer) = error else { panic!("{error:?}") };
    assert_eq!(answer.regions[0].error.as_ref().unwrap().code, "DeadlineExceeded");
    assert_eq!(answer.regions[0].failed_instances, 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_does_not_fit_reads_nothing() {
    let aws = FakeAws::default();
    let error: Diagnostic = handle(&aws, json!({"regions": ["mars"]})).await.unwrap_err().into();
    assert_eq!(error.error_type, "InvalidEvent");
    assert_eq!(error.error_message, "regions[0]: expected a Region code such as us-east-1, got \"mars\"");

    let mut foreign = file("tag-change");
    foreign["resources"][0] = json!("arn:aws:ec2:us-east-1:333333333333:instance/i-0abcdef0123456789");
    let error: Diagnostic = handle(&aws, foreign).await.unwrap_err().into();
    assert_eq!(error.error_type, "InvalidEvent");
    assert!(aws.reads.borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_error_is_logged_without_the_answer() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1))]), ..FakeAws::default() };
    let page = |region: &Region, _: Option<&str>| (region.as_str() == "us-west-2").then(denied);
    let failing = Failing { aws: &aws, page, report: |_: &Report| None };
    let collector = Collector::new(config(InvocationType::RequestResponse), failing, || aws.now.get());
    let error = sweep(&collector, json!({"dryRun": true}), MINUTES_15).await.unwrap_err();
    assert!(!format!("{error:?}").contains("PROD"), "{error:?}");
    assert!(Diagnostic::from(error).error_message.contains("PROD"));
}
