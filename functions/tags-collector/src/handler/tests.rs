use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, UNIX_EPOCH};

use hub::{
    Answer, AwsError, Counts, DropReason, DroppedTag, Ec2InstanceId, Instance, NodeAnswer, Outcome, Region, Rejection,
    Report, Tag, Terminated, TerminatedCounts,
};
use lambda_runtime::Context;
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::answer::Failure;
use crate::sweep::Page;

mod ended;
mod measured;
mod queued;

/// 2026-11-22T02:00:00Z
const NOW: u64 = 1_795_312_800;

/// Instances by Region and a manager that takes them. Its clock moves with each page.
struct FakeAws {
    instances: BTreeMap<&'static str, Vec<Instance>>,
    /// Instances that are gone; EC2 still shows the tags of some of them.
    ended: BTreeMap<&'static str, Vec<Ended>>,
    /// Instances that are shutting down.
    ending: Vec<String>,
    page_size: usize,
    page_takes: Duration,
    now: Cell<SystemTime>,
    reads: RefCell<Vec<Read>>,
    reports: RefCell<Vec<Report>>,
    /// Lets reports through.
    gate: Semaphore,
    reading: Level,
    reporting: Level,
}

/// How many calls are under way, and how many were at the most.
#[derive(Default)]
struct Level {
    now: Cell<usize>,
    most: Cell<usize>,
}

impl Level {
    fn rise(&self) {
        self.now.update(|level| level + 1);
        self.most.set(self.most.get().max(self.now.get()));
    }

    fn fall(&self) {
        self.now.update(|level| level - 1);
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    region: String,
    ids: usize,
    token: Option<String>,
}

impl Default for FakeAws {
    fn default() -> Self {
        Self {
            instances: BTreeMap::new(),
            ended: BTreeMap::new(),
            ending: Vec::new(),
            page_size: 1000,
            page_takes: Duration::from_secs(1),
            now: Cell::new(UNIX_EPOCH + Duration::from_secs(NOW)),
            reads: RefCell::default(),
            reports: RefCell::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            reading: Level::default(),
            reporting: Level::default(),
        }
    }
}

/// A terminated instance, and whether it still has its tags.
#[derive(Clone)]
struct Ended {
    id: String,
    has_tags: bool,
}

impl FakeAws {
    fn ended(&self, region: &Region, ids: &[Ec2InstanceId], with_tags: bool) -> Vec<Terminated> {
        let all = self.ended.get(region.as_str()).into_iter().flatten();
        let is_shown = |ended: &&Ended| {
            (ended.has_tags || !with_tags) && (ids.is_empty() || ids.iter().any(|id| id.as_str() == ended.id))
        };
        all.filter(is_shown).map(|ended| Terminated { ec2_instance_id: ended.id.clone() }).collect()
    }
}

impl Aws for &FakeAws {
    async fn instances(
        &self,
        region: &Region,
        instance_ids: &[Ec2InstanceId],
        page_token: Option<String>,
    ) -> Result<Page, AwsError> {
        let read = Read { region: region.to_string(), ids: instance_ids.len(), token: page_token.clone() };
        self.reads.borrow_mut().push(read);
        self.reading.rise();
        tokio::task::yield_now().await;
        self.reading.fall();
        self.now.set(self.now.get() + self.page_takes);
        let start: usize = page_token.map_or(0, |token| token.parse().unwrap());
        let is_asked_for = |instance: &&Instance| {
            instance_ids.is_empty()
                || instance_ids.iter().any(|id| Some(id.as_str()) == instance.ec2_instance_id.as_deref())
        };
        let all: Vec<_> = self.instances.get(region.as_str()).into_iter().flatten().filter(is_asked_for).collect();
        let end = all.len().min(start + self.page_size);
        Ok(Page {
            terminated: if start == 0 { self.ended(region, instance_ids, true) } else { Vec::new() },
            ending: Vec::new(),
            instances: all[start..end].iter().map(|instance| (*instance).clone()).collect(),
            next_token: (end < all.len()).then(|| end.to_string()),
        })
    }

    async fn terminated(
        &self,
        region: &Region,
        instance_ids: &[Ec2InstanceId],
        page_token: Option<String>,
    ) -> Result<Page, AwsError> {
        let read = Read { region: format!("{region}, ends"), ids: instance_ids.len(), token: page_token };
        self.reads.borrow_mut().push(read);
        let is_asked_for = |ending: &&String| instance_ids.iter().any(|id| id.as_str() == ending.as_str());
        let ending = self.ending.iter().filter(is_asked_for).cloned().collect();
        Ok(Page { terminated: self.ended(region, instance_ids, false), ending, ..Page::default() })
    }

    async fn report(&self, report: Vec<u8>, invocation_type: InvocationType) -> Result<Option<Answer>, Failure> {
        self.reporting.rise();
        self.gate.acquire().await.unwrap().forget();
        self.reporting.fall();
        let report = Report::from_event(&serde_json::from_slice(&report).unwrap()).unwrap();
        assert_eq!(report.reply, invocation_type == InvocationType::RequestResponse);
        let answer = report.reply.then(|| answer(&report));
        self.reports.borrow_mut().push(report);
        Ok(answer)
    }
}

/// An instance's tag `outcome` says what becomes of it, and a key with `#` or of AWS is dropped.
fn answer(report: &Report) -> Answer {
    let mut counts = Counts::default();
    let nodes = report.instances.iter().map(|instance| {
        let tag = instance.tags.iter().find(|tag| tag.key == "outcome");
        let (outcome, count) = match tag.map(|tag| tag.value.as_str()) {
            Some("rejected") => (Outcome::Rejected { reason: Rejection::NotOwned }, &mut counts.rejected),
            Some("failed") => {
                let message = "Value 'secret' is bad".to_owned();
                let code = "ValidationException".to_owned();
                (Outcome::Failed { code, message, retryable: false }, &mut counts.failed)
            }
            Some("throttled") => {
                let code = "ThrottlingException".to_owned();
                let message = "Rate exceeded".to_owned();
                (Outcome::Failed { code, message, retryable: true }, &mut counts.failed)
            }
            Some("deferred") => (Outcome::Deferred, &mut counts.deferred),
            _ if report.dry_run => (Outcome::WouldUpdate, &mut counts.updated),
            _ => (Outcome::Updated, &mut counts.updated),
        };
        *count += 1;
        let dropped = instance.tags.iter().filter_map(|tag| {
            let reason = match tag.key.as_str() {
                key if key.starts_with("aws:") => DropReason::Reserved,
                key if key.contains('#') => DropReason::Character,
                _ => return None,
            };
            Some(DroppedTag { key: tag.key.clone(), reason })
        });
        NodeAnswer {
            instance_id: instance.instance_id.clone(),
            ec2_instance_id: instance.ec2_instance_id.clone(),
            set: match outcome {
                Outcome::Updated | Outcome::WouldUpdate => BTreeMap::from([("Env".to_owned(), "PROD".to_owned())]),
                _ => BTreeMap::new(),
            },
            outcome,
            removed: Vec::new(),
            dropped: dropped.collect(),
        }
    });
    let nodes: Vec<_> = nodes.collect();
    counts.received = nodes.len();
    let received = report.terminated.len();
    let terminated = TerminatedCounts { received, marked: received, ..TerminatedCounts::default() };
    Answer {
        agency: report.account.clone(),
        dry_run: report.dry_run,
        counts,
        nodes,
        terminated: (received > 0).then_some(terminated),
    }
}

/// Fails some calls and passes the others on.
struct Failing<A, P, R> {
    aws: A,
    page: P,
    report: R,
}

impl<A, P, R> Aws for Failing<A, P, R>
where
    A: Aws,
    P: Fn(&Region, Option<&str>) -> Option<AwsError>,
    R: Fn(&Report) -> Option<Result<Option<Answer>, Failure>>,
{
    async fn instances(
        &self,
        region: &Region,
        instance_ids: &[Ec2InstanceId],
        page_token: Option<String>,
    ) -> Result<Page, AwsError> {
        match (self.page)(region, page_token.as_deref()) {
            Some(error) => Err(error),
            None => self.aws.instances(region, instance_ids, page_token).await,
        }
    }

    async fn terminated(
        &self,
        region: &Region,
        instance_ids: &[Ec2InstanceId],
        page_token: Option<String>,
    ) -> Result<Page, AwsError> {
        match (self.page)(region, page_token.as_deref()) {
            Some(error) => Err(error),
            None => self.aws.terminated(region, instance_ids, page_token).await,
        }
    }

    async fn report(&self, report: Vec<u8>, invocation_type: InvocationType) -> Result<Option<Answer>, Failure> {
        let decoded = Report::from_event(&serde_json::from_slice(&report).unwrap()).unwrap();
        match (self.report)(&decoded) {
            Some(result) => result,
            None => self.aws.report(report, invocation_type).await,
        }
    }
}

fn denied() -> AwsError {
    AwsError {
        operation: "ec2:DescribeInstances",
        code: "UnauthorizedOperation".to_owned(),
        message: "You are not authorized".to_owned(),
        request_id: None,
        retryable: false,
    }
}

fn instance(id: usize, tags: &[(&str, &str)]) -> Instance {
    Instance {
        instance_id: format!("mi-{id:017x}"),
        ec2_instance_id: Some(format!("i-{id:017x}")),
        tags: tags.iter().map(|(key, value)| Tag { key: (*key).to_owned(), value: (*value).to_owned() }).collect(),
    }
}

fn fleet(ids: std::ops::Range<usize>) -> Vec<Instance> {
    ids.map(|id| instance(id, &[("Env", "PROD")])).collect()
}

fn config(invocation_type: InvocationType) -> Config {
    Config {
        manager: "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager:agency-222222222222".parse().unwrap(),
        collect_regions: ["us-east-1", "us-west-2"].map(|region| region.parse().unwrap()).to_vec(),
        invocation_type,
    }
}

fn event(payload: Value, time: Duration) -> LambdaEvent<Value> {
    let mut context = Context::default();
    context.invoked_function_arn = "arn:aws:lambda:us-east-1:222222222222:function:tags-collector".to_owned();
    context.deadline = u64::try_from((Duration::from_secs(NOW) + time).as_millis()).unwrap();
    LambdaEvent::new(payload, context)
}

const MINUTES_15: Duration = Duration::from_mins(15);

async fn handle(aws: &FakeAws, payload: Value) -> Result<SweepAnswer, CollectError> {
    let collector = Collector::new(config(InvocationType::RequestResponse), aws, || aws.now.get());
    sweep(&collector, event(payload, MINUTES_15)).await
}

async fn sweep<A: Aws, N: Fn() -> SystemTime>(
    collector: &Collector<A, N>,
    event: LambdaEvent<Value>,
) -> Result<SweepAnswer, CollectError> {
    collector.handle(event).await.result.map(|response| match response {
        Response::Sweep(answer) => *answer,
        Response::Queue(answer) => panic!("expected the answer of a sweep, got {answer:?}"),
    })
}

async fn handle_failing(
    aws: &FakeAws,
    page: impl Fn(&Region, Option<&str>) -> Option<AwsError>,
    report: impl Fn(&Report) -> Option<Result<Option<Answer>, Failure>>,
) -> SweepAnswer {
    let failing = Failing { aws, page, report };
    let collector = Collector::new(config(InvocationType::RequestResponse), failing, || aws.now.get());
    match sweep(&collector, event(json!({}), MINUTES_15)).await {
        Err(CollectError::PartialSweep(answer)) => *answer,
        other => panic!("expected a partial sweep, got {other:?}"),
    }
}

fn file(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn reported(aws: &FakeAws) -> Vec<String> {
    let reports = aws.reports.borrow();
    let mut ids: Vec<_> =
        reports.iter().flat_map(|report| &report.instances).map(|instance| instance.instance_id.clone()).collect();
    ids.sort();
    ids
}

fn ids_of(fleet: &[Instance]) -> Vec<String> {
    fleet.iter().map(|instance| instance.instance_id.clone()).collect()
}

#[tokio::test]
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
    let answer = handle(&aws, file(include_str!("../../../../events/tags-collector/schedule.json"))).await.unwrap();
    insta::assert_json_snapshot!(answer, @r#"
    {
      "account": "222222222222",
      "dryRun": false,
      "regions": [
        {
          "region": "us-east-1",
          "instances": 1,
          "batches": 1,
          "failedBatches": 0,
          "failedInstances": 0
        },
        {
          "region": "us-west-2",
          "instances": 3,
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
        "tagsDropped": 0
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
      "reply": true,
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
      ]
    }
    "#);
}

#[tokio::test]
async fn reserved_tags_need_no_look() {
    let stack = ("aws:cloudformation:stack-name", "web");
    let fleet = vec![instance(1, &[stack]), instance(2, &[stack, ("a#b", "x")])];
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet)]), ..FakeAws::default() };
    let answer = handle(&aws, json!({})).await.unwrap();
    assert_eq!(answer.nodes.iter().map(|node| node.instance_id.as_str()).collect::<Vec<_>>(), ["mi-00000000000000002"]);
    assert_eq!((answer.nodes[0].dropped.len(), answer.nodes_omitted), (2, 0), "the answer leaves out no reason");
}

#[tokio::test]
async fn a_tag_change_reads_one_instance_in_one_region() {
    let own = 0xabcd_ef01_2345_6789;
    let aws = FakeAws {
        instances: BTreeMap::from([
            ("us-east-1", vec![instance(own, &[("Env", "PROD")]), instance(1, &[])]),
            ("us-west-2", fleet(2..4)),
        ]),
        ..FakeAws::default()
    };
    let answer = handle(&aws, file(include_str!("../../../../events/tags-collector/tag-change.json"))).await.unwrap();
    assert_eq!(*aws.reads.borrow(), [Read { region: "us-east-1".to_owned(), ids: 1, token: None }]);
    assert_eq!(reported(&aws), ["mi-0abcdef0123456789"]);
    assert!(answer.not_found.is_empty());
}

#[tokio::test]
async fn a_tag_change_outside_the_collected_regions_reads_nothing() {
    let mut payload = file(include_str!("../../../../events/tags-collector/tag-change.json"));
    payload["resources"][0] = json!("arn:aws:ec2:eu-west-1:222222222222:instance/i-0abcdef0123456789");
    let aws = FakeAws::default();
    let answer = handle(&aws, payload).await.unwrap();
    assert!(aws.reads.borrow().is_empty());
    assert_eq!(answer.ignored_regions, ["eu-west-1".parse().unwrap()]);
    assert!(answer.not_found.is_empty() && answer.regions.is_empty());
}

#[tokio::test]
async fn instances_that_are_nowhere_are_named() {
    let known = 0xabcd_ef01_2345_6789;
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", vec![instance(known, &[])])]), ..FakeAws::default() };
    let answer = handle(&aws, file(include_str!("../../../../events/tags-collector/manual.json"))).await.unwrap();
    assert_eq!(answer.not_found, ["i-0fedcba9876543210".parse().unwrap()]);
    assert_eq!(answer.counts.unwrap().received, 1);
}

#[tokio::test]
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

#[tokio::test]
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

#[tokio::test]
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
    // One is on its way, one is in the queue, and the reader holds one.
    assert_eq!((aws.reporting.now.get(), aws.reads.borrow().len()), (1, 3));
    aws.gate.add_permits(Semaphore::MAX_PERMITS);
    let answer = run.await.unwrap();
    assert_eq!(answer.counts.unwrap().received, 10_000);
    assert_eq!(aws.reporting.most.get(), 1);
}

#[tokio::test]
async fn regions_are_read_four_at_a_time_and_answered_in_their_order() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-9", fleet(0..1))]), ..FakeAws::default() };
    let regions: Vec<_> = (1..10).rev().map(|number| format!("us-east-{number}")).collect();
    let answer = handle(&aws, json!({"regions": regions})).await.unwrap();
    assert_eq!(aws.reading.most.get(), 4);
    assert_eq!(answer.regions.iter().map(|answer| answer.region.as_str()).collect::<Vec<_>>(), regions);
    assert_eq!(answer.regions[0].instances, 1);
}

#[tokio::test]
async fn a_dry_run_waits_for_its_answer_even_where_reports_are_queued() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1))]), ..FakeAws::default() };
    let collector = Collector::new(config(InvocationType::Event), &aws, || aws.now.get());
    let payload = file(include_str!("../../../../events/tags-collector/dry-run.json"));
    let answer = sweep(&collector, event(payload, MINUTES_15)).await.unwrap();
    assert!(answer.dry_run && aws.reports.borrow()[0].dry_run);
    assert_eq!(answer.nodes[0].outcome, Outcome::WouldUpdate);
    assert_eq!(answer.counts.unwrap().updated, 1);
}

#[tokio::test]
async fn queued_reports_have_no_counts() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1))]), ..FakeAws::default() };
    let collector = Collector::new(config(InvocationType::Event), &aws, || aws.now.get());
    let answer = sweep(&collector, event(json!({}), MINUTES_15)).await.unwrap();
    assert!(!aws.reports.borrow()[0].reply);
    insta::assert_json_snapshot!(answer, @r#"
    {
      "account": "222222222222",
      "dryRun": false,
      "regions": [
        {
          "region": "us-east-1",
          "instances": 1,
          "batches": 1,
          "failedBatches": 0,
          "failedInstances": 0
        },
        {
          "region": "us-west-2",
          "instances": 0,
          "batches": 0,
          "failedBatches": 0,
          "failedInstances": 0
        }
      ],
      "nodes": [],
      "nodesOmitted": 0
    }
    "#);
}

#[tokio::test]
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
    insta::assert_snapshot!(error.error_message, @r#"1 of 2 Regions not collected in full: us-west-2, ec2:DescribeInstances failed: UnauthorizedOperation: You are not authorized; answer: {"account":"222222222222","dryRun":false,"regions":[{"region":"us-east-1","instances":3,"batches":1,"failedBatches":0,"failedInstances":0},{"region":"us-west-2","instances":2,"batches":1,"failedBatches":0,"failedInstances":0,"error":{"code":"UnauthorizedOperation","message":"ec2:DescribeInstances failed: UnauthorizedOperation: You are not authorized"}}],"counts":{"received":5,"updated":5,"unchanged":0,"rejected":0,"failed":0,"deferred":0,"tagsSet":0,"tagsRemoved":0,"tagsDropped":0},"nodes":[],"nodesOmitted":0}"#);
}

#[tokio::test]
async fn a_batch_that_is_not_taken_stops_no_other() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1200))]), ..FakeAws::default() };
    let report = |report: &Report| {
        let failure = Failure::new("TooManyRequestsException", "Rate Exceeded.");
        (report.instances.len() == 200).then_some(Err(failure))
    };
    let answer = handle_failing(&aws, |_, _| None, report).await;
    assert_eq!(reported(&aws), ids_of(&fleet(0..1000)));
    assert_eq!(
        answer.problems(),
        "1 of 2 Regions not collected in full: us-east-1, 1 of 3 batches with 200 of 1200 instances failed, \
         TooManyRequestsException: Rate Exceeded."
    );
    assert_eq!(answer.counts.unwrap().received, 1000);
}

#[tokio::test]
async fn an_answer_about_something_else_is_a_failure() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..2))]), ..FakeAws::default() };
    for (received, dry_run) in [(1, false), (2, true)] {
        let report = |_: &Report| {
            let counts = Counts { received, ..Counts::default() };
            Some(Ok(Some(Answer { agency: None, dry_run, counts, nodes: Vec::new(), terminated: None })))
        };
        let answer = handle_failing(&aws, |_, _| None, report).await;
        let region = &answer.regions[0];
        assert_eq!((region.failed_batches, region.failed_instances), (1, 2));
        assert_eq!(region.error.as_ref().unwrap().code, "UnexpectedAnswer");
        assert_eq!(answer.counts, Some(Counts::default()));
    }
}

#[tokio::test]
async fn no_page_and_no_report_is_begun_when_the_time_is_up() {
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(0..100))]),
        page_size: 10,
        page_takes: Duration::from_mins(1),
        ..FakeAws::default()
    };
    let collector = Collector::new(config(InvocationType::RequestResponse), &aws, || aws.now.get());
    let error =
        sweep(&collector, event(json!({"regions": ["us-east-1"]}), Duration::from_secs(3 * 60 + 5))).await.unwrap_err();
    let CollectError::PartialSweep(answer) = error else { panic!("{error:?}") };
    assert_eq!(aws.reads.borrow().len(), 3);
    assert!(aws.reports.borrow().is_empty());
    let region = &answer.regions[0];
    assert_eq!((region.instances, region.batches, region.failed_batches, region.failed_instances), (30, 1, 1, 30));
    assert_eq!(region.error.as_ref().unwrap().code, "DeadlineExceeded");
}

#[tokio::test]
async fn a_report_without_an_answer_is_given_up_before_the_function_is_stopped() {
    let aws = FakeAws {
        instances: BTreeMap::from([("us-east-1", fleet(0..1))]),
        page_takes: Duration::ZERO,
        gate: Semaphore::new(0),
        ..FakeAws::default()
    };
    let collector = Collector::new(config(InvocationType::RequestResponse), &aws, || aws.now.get());
    let time = crate::sweep::DEADLINE_MARGIN + Duration::from_millis(20);
    let error = sweep(&collector, event(json!({}), time)).await.unwrap_err();
    let CollectError::PartialSweep(answer) = error else { panic!("{error:?}") };
    assert_eq!(answer.regions[0].error.as_ref().unwrap().code, "DeadlineExceeded");
    assert_eq!(answer.regions[0].failed_instances, 1);
}

#[tokio::test]
async fn an_event_that_does_not_fit_reads_nothing() {
    let aws = FakeAws::default();
    let error: Diagnostic = handle(&aws, json!({"regions": ["mars"]})).await.unwrap_err().into();
    assert_eq!(error.error_type, "InvalidEvent");
    assert_eq!(error.error_message, "regions[0]: expected a Region code such as us-east-1, got \"mars\"");

    let mut foreign = file(include_str!("../../../../events/tags-collector/tag-change.json"));
    foreign["resources"][0] = json!("arn:aws:ec2:us-east-1:333333333333:instance/i-0abcdef0123456789");
    let error: Diagnostic = handle(&aws, foreign).await.unwrap_err().into();
    assert_eq!(error.error_type, "InvalidEvent");
    assert!(aws.reads.borrow().is_empty());
}

#[tokio::test]
async fn an_error_is_logged_without_the_answer() {
    let aws = FakeAws { instances: BTreeMap::from([("us-east-1", fleet(0..1))]), ..FakeAws::default() };
    let page = |region: &Region, _: Option<&str>| (region.as_str() == "us-west-2").then(denied);
    let failing = Failing { aws: &aws, page, report: |_: &Report| None };
    let collector = Collector::new(config(InvocationType::RequestResponse), failing, || aws.now.get());
    let error = sweep(&collector, event(json!({"dryRun": true}), MINUTES_15)).await.unwrap_err();
    assert!(!format!("{error:?}").contains("PROD"), "{error:?}");
    assert!(Diagnostic::from(error).error_message.contains("PROD"));
}
