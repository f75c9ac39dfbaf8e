//! A collector whose EC2 and whose manager are in memory.

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
mod sweeps;

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
        tokio::time::advance(self.page_takes).await;
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
