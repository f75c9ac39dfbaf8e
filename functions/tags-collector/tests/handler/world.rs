//! A collector whose EC2 and whose manager are in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hub::{
    Answer, AwsError, Counts, DropReason, DroppedTag, Ec2InstanceId, NodeAnswer, Outcome, Region, Rejection, Report,
    Tag, TerminatedCounts,
};
use serde_json::{Value, json};
use tags_collector::answer::SweepAnswer;
use tags_collector::config::{Config, InvocationType};
use tags_collector::handler::{CollectError, Collector, Invocation, Response};
use tags_collector::plan::{InstanceState, SeenInstance};
use tags_collector::ports::{Aws, Failure, Page};
use tokio::sync::Semaphore;

/// 2026-11-22T02:00:00Z
pub(crate) const NOW: u64 = 1_795_312_800;

/// Instances by Region and a manager that takes them. Its clock moves with each page.
pub(crate) struct FakeAws {
    pub(crate) instances: BTreeMap<&'static str, Vec<SeenInstance>>,
    /// EC2 instances that the manager knows a node of, although they do not name it any more.
    pub(crate) lost: Vec<String>,
    pub(crate) page_size: usize,
    pub(crate) page_takes: Duration,
    pub(crate) now: Cell<SystemTime>,
    pub(crate) reads: RefCell<Vec<Read>>,
    pub(crate) reports: RefCell<Vec<Report>>,
    /// Lets reports through.
    pub(crate) gate: Semaphore,
    pub(crate) reading: Level,
    pub(crate) reporting: Level,
}

/// How many calls are under way, and how many were at the most.
#[derive(Default)]
pub(crate) struct Level {
    pub(crate) now: Cell<usize>,
    pub(crate) most: Cell<usize>,
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
pub(crate) struct Read {
    pub(crate) region: String,
    pub(crate) ids: usize,
    pub(crate) token: Option<String>,
}

impl Default for FakeAws {
    fn default() -> Self {
        Self {
            instances: BTreeMap::new(),
            lost: Vec::new(),
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

impl FakeAws {
    /// One Region with these instances.
    pub(crate) fn east(instances: Vec<SeenInstance>) -> Self {
        Self { instances: BTreeMap::from([("us-east-1", instances)]), ..Self::default() }
    }
}

pub(crate) fn report_of(json: &[u8]) -> Report {
    Report::from_event(std::str::from_utf8(json).unwrap()).unwrap()
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
        tokio::time::advance(self.page_takes).await;
        let start: usize = page_token.map_or(0, |token| token.parse().unwrap());
        let is_asked_for = |instance: &&SeenInstance| {
            instance_ids.is_empty() || instance_ids.iter().any(|id| id.as_str() == instance.ec2_instance_id)
        };
        let all: Vec<_> = self.instances.get(region.as_str()).into_iter().flatten().filter(is_asked_for).collect();
        let end = all.len().min(start + self.page_size);
        Ok(Page {
            instances: all[start..end].iter().map(|instance| (*instance).clone()).collect(),
            next_token: (end < all.len()).then(|| end.to_string()),
        })
    }

    async fn report(&self, report: &[u8], invocation_type: InvocationType) -> Result<Option<Answer>, Failure> {
        self.reporting.rise();
        self.gate.acquire().await.unwrap().forget();
        self.reporting.fall();
        let report = report_of(report);
        assert_eq!(report.wants_reply(), invocation_type == InvocationType::RequestResponse);
        assert!(!report.is_from_old_collector());
        let answer = report.wants_reply().then(|| answer(&report, &self.lost));
        self.reports.borrow_mut().push(report);
        Ok(answer)
    }
}

/// An instance's tag `outcome` says what becomes of it, and a key with `#` or of AWS is dropped.
pub(crate) fn answer(report: &Report, lost: &[String]) -> Answer {
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
            Some("adopted") => {
                counts.adopted += 1;
                (Outcome::Adopted, &mut counts.updated)
            }
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
    let mut nodes: Vec<_> = nodes.collect();
    counts.received = nodes.len();
    let unlinked = report.unlinked.iter().flat_map(|unlinked| &unlinked.0).filter(|id| lost.contains(id));
    nodes.extend(unlinked.map(|id| NodeAnswer {
        instance_id: id.replace("i-", "mi-"),
        ec2_instance_id: Some(id.clone()),
        outcome: Outcome::Unlinked,
        set: BTreeMap::new(),
        removed: Vec::new(),
        dropped: Vec::new(),
    }));
    counts.unlinked = nodes.len() - counts.received;
    let received = report.terminated.len();
    let terminated = TerminatedCounts { received, marked: received, ..TerminatedCounts::default() };
    Answer {
        agency: report.account.clone(),
        dry_run: report.dry_run,
        counts,
        nodes,
        terminated: (received > 0).then_some(terminated),
        deferred_because: None,
        details_omitted: 0,
    }
}

/// Fails some calls and passes the others on.
pub(crate) struct Failing<A, P, R> {
    pub(crate) aws: A,
    pub(crate) page: P,
    pub(crate) report: R,
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

    async fn report(&self, report: &[u8], invocation_type: InvocationType) -> Result<Option<Answer>, Failure> {
        match (self.report)(&report_of(report)) {
            Some(result) => result,
            None => self.aws.report(report, invocation_type).await,
        }
    }
}

pub(crate) fn denied() -> AwsError {
    AwsError {
        operation: "ec2:DescribeInstances",
        code: "UnauthorizedOperation".to_owned(),
        message: "You are not authorized".to_owned(),
        request_id: None,
        retryable: false,
    }
}

pub(crate) fn instance(id: usize, tags: &[(&str, &str)]) -> SeenInstance {
    SeenInstance {
        ec2_instance_id: format!("i-{id:017x}"),
        state: InstanceState::Running,
        managed_instance_id: Some(format!("mi-{id:017x}")),
        tags: tags.iter().map(|(key, value)| Tag { key: (*key).to_owned(), value: (*value).to_owned() }).collect(),
    }
}

/// An instance without the tag `managedinstanceid`.
pub(crate) fn untagged(id: usize) -> SeenInstance {
    SeenInstance { managed_instance_id: None, ..instance(id, &[("Env", "PROD")]) }
}

/// An instance in another state, and whether it still has the tag `managedinstanceid`.
pub(crate) fn in_state(id: &str, state: InstanceState, has_join_key: bool) -> SeenInstance {
    let managed_instance_id = has_join_key.then(|| "mi-0123456789abcdef0".to_owned());
    SeenInstance { ec2_instance_id: id.to_owned(), state, managed_instance_id, tags: Vec::new() }
}

pub(crate) fn fleet(ids: Range<usize>) -> Vec<SeenInstance> {
    ids.map(|id| instance(id, &[("Env", "PROD")])).collect()
}

pub(crate) fn config(invocation_type: InvocationType) -> Config {
    Config {
        name_prefix: String::new(),
        manager: "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager:agency-222222222222".parse().unwrap(),
        collect_regions: ["us-east-1", "us-west-2"].map(|region| region.parse().unwrap()).to_vec(),
        invocation_type,
    }
}

pub(crate) fn invocation(budget: Duration) -> Invocation {
    Invocation { arn: "arn:aws:lambda:us-east-1:222222222222:function:tags-collector".parse().unwrap(), budget }
}

pub(crate) const MINUTES_15: Duration = Duration::from_mins(15);

pub(crate) async fn handle(aws: &FakeAws, payload: Value) -> Result<SweepAnswer, CollectError> {
    let collector = Collector::new(config(InvocationType::RequestResponse), aws, || aws.now.get());
    sweep(&collector, payload, MINUTES_15).await
}

pub(crate) async fn sweep<A: Aws, N: Fn() -> SystemTime>(
    collector: &Collector<A, N>,
    payload: Value,
    budget: Duration,
) -> Result<SweepAnswer, CollectError> {
    collector.handle(&invocation(budget), &payload).await.result.map(|response| match response {
        Response::Sweep(answer) => *answer,
        Response::Queue(answer) => panic!("expected the answer of a sweep, got {answer:?}"),
    })
}

pub(crate) async fn handle_failing(
    aws: &FakeAws,
    page: impl Fn(&Region, Option<&str>) -> Option<AwsError>,
    report: impl Fn(&Report) -> Option<Result<Option<Answer>, Failure>>,
) -> SweepAnswer {
    let failing = Failing { aws, page, report };
    let collector = Collector::new(config(InvocationType::RequestResponse), failing, || aws.now.get());
    match sweep(&collector, json!({}), MINUTES_15).await {
        Err(CollectError::PartialSweep(answer)) => *answer,
        other => panic!("expected a partial sweep, got {other:?}"),
    }
}

/// A sample event.
pub(crate) fn file(name: &str) -> Value {
    let path = format!("{}/../../events/tags-collector/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub(crate) fn reported(aws: &FakeAws) -> Vec<String> {
    let reports = aws.reports.borrow();
    let mut ids: Vec<_> =
        reports.iter().flat_map(|report| &report.instances).map(|instance| instance.instance_id.clone()).collect();
    ids.sort();
    ids
}

pub(crate) fn ids_of(fleet: &[SeenInstance]) -> Vec<String> {
    fleet.iter().filter_map(|instance| instance.managed_instance_id.clone()).collect()
}

/// The messages that have to come again, of those in a queue.
pub(crate) async fn failed<A: Aws>(
    aws: A,
    clock: &FakeAws,
    invocation_type: InvocationType,
    payload: Value,
) -> Vec<String> {
    let collector = Collector::new(config(invocation_type), aws, || clock.now.get());
    match collector.handle(&invocation(MINUTES_15), &payload).await.result.unwrap() {
        Response::Queue(answer) => {
            answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
        }
        Response::Sweep(answer) => panic!("expected the answer to a queue, got {answer:?}"),
    }
}

/// A message for each of these events.
pub(crate) fn messages(events: &[&Value]) -> Value {
    let record = |(index, event): (usize, &&Value)| json!({"messageId": format!("m{index}"), "eventSource": "aws:sqs", "body": event.to_string()});
    json!({"Records": events.iter().enumerate().map(record).collect::<Vec<_>>()})
}
