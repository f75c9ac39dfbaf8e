//! Reading Regions and handing reports to the manager, both at once.
//!
//! Readers, one for each Region, put batches into a channel; senders take them out. The channel holds one
//! batch, so that readers wait while the senders are busy and memory does not grow with the fleet.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join;
use futures_util::stream::{self, StreamExt};
use hub::{
    AccountId, AwsError, Counts, Ec2InstanceId, Instance, Outcome, Region, Terminated, TerminatedCounts, Timestamp,
};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::answer::{Attention, Failure, RegionAnswer, SweepAnswer};
use crate::batch::{Batch, Batcher, Head, Limits};
use crate::config::InvocationType;
use crate::event::Scope;

/// Work ends this long before the function is stopped: enough to write the answer, even on a slow core, and
/// little beside the minutes that a sweep may take.
pub const DEADLINE_MARGIN: Duration = Duration::from_secs(5);

/// Regions that are read at the same time.
const REGIONS_AT_ONCE: usize = 4;

/// Reports on their way to the manager at the same time, over all Regions. One manager works on several nodes at
/// once and keeps to the pace that Systems Manager allows; a second would only take its share of that from the first.
const REPORTS_AT_ONCE: usize = 1;

/// How many instance ids one read names.
const INSTANCE_IDS_MAX: usize = 200;

/// The two things that a sweep does with AWS.
#[expect(async_fn_in_trait, reason = "one thread runs the function: no future has to be sent")]
pub trait Aws {
    /// Reads a page of the instances of a Region that name a managed node: of all, or of at most 200 by id.
    async fn instances(
        &self,
        region: &Region,
        instance_ids: &[Ec2InstanceId],
        page_token: Option<String>,
    ) -> Result<Page, AwsError>;

    /// Hands a report to the manager. `RequestResponse` brings its answer, `Event` none.
    async fn report(&self, report: Vec<u8>, invocation_type: InvocationType) -> Result<Option<hub::Answer>, Failure>;
}

/// A page of instances.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The instances that are not gone, with all their tags but the join key.
    pub instances: Vec<Instance>,
    /// The instances that are terminated.
    pub terminated: Vec<Terminated>,
    /// What asks for the next page, if there is one.
    pub next_token: Option<String>,
}

/// One sweep.
#[derive(Debug)]
pub struct Sweep<'a, A, N> {
    /// Where instances come from and reports go.
    pub aws: &'a A,
    /// The clock.
    pub now: &'a N,
    /// When the function is stopped.
    pub deadline: SystemTime,
    /// The agency's account.
    pub account: AccountId,
    /// How reports are handed over.
    pub invocation_type: InvocationType,
}

/// What reading a Region brought.
struct Reading {
    region_index: usize,
    instance_count: usize,
    terminated_count: usize,
    found: HashSet<String>,
    result: Result<(), Failure>,
}

/// A batch on its way to the manager.
struct Filled {
    region_index: usize,
    batch: Batch,
}

/// What became of a batch.
struct Delivery {
    region_index: usize,
    instance_count: usize,
    result: Result<Option<hub::Answer>, Failure>,
}

impl<A: Aws, N: Fn() -> SystemTime> Sweep<'_, A, N> {
    /// Reads what `scope` names and reports it. What fails is in the answer.
    pub async fn run(self, scope: Scope) -> SweepAnswer {
        let (sender, receiver) = mpsc::channel(1);
        let (readings, deliveries) = join(self.read_all(&scope, sender), self.deliver_all(&scope, receiver)).await;
        self.summarise(scope, readings, deliveries)
    }

    async fn read_all(&self, scope: &Scope, queue: Sender<Filled>) -> Vec<Reading> {
        // The queue is closed when the last Region is read: nothing else holds its sender.
        stream::iter(0..scope.regions.len())
            .map(|region_index| self.read(scope, region_index, &queue))
            .buffer_unordered(REGIONS_AT_ONCE)
            .collect()
            .await
    }

    async fn read(&self, scope: &Scope, region_index: usize, queue: &Sender<Filled>) -> Reading {
        let mut reading =
            Reading { region_index, instance_count: 0, terminated_count: 0, found: HashSet::new(), result: Ok(()) };
        let mut batcher = Batcher::new(Limits::of(self.invocation_type));
        reading.result = self.read_pages(scope, &mut reading, &mut batcher, queue).await;
        // What was read before an error is as true as ever.
        if let Some(batch) = batcher.finish() {
            send(queue, Filled { region_index, batch }).await;
        }
        if let Err(error) = &reading.result {
            let region = &scope.regions[region_index];
            tracing::warn!(%region, code = error.code, error = error.message, "region not read to its end");
        }
        reading
    }

    async fn read_pages(
        &self,
        scope: &Scope,
        reading: &mut Reading,
        batcher: &mut Batcher,
        queue: &Sender<Filled>,
    ) -> Result<(), Failure> {
        let region_index = reading.region_index;
        let region = &scope.regions[region_index];
        for instance_ids in id_chunks(&scope.instance_ids) {
            let mut page_token = None;
            loop {
                let observed_at = timestamp((self.now)());
                let page = self
                    .before_deadline(async {
                        self.aws.instances(region, instance_ids, page_token).await.map_err(Failure::from)
                    })
                    .await?;
                for instance in page.instances {
                    if let Some(batch) = batcher.push(&instance, observed_at)? {
                        send(queue, Filled { region_index, batch }).await;
                    }
                    reading.instance_count += 1;
                    if !scope.instance_ids.is_empty() {
                        reading.found.extend(instance.ec2_instance_id);
                    }
                }
                for instance in page.terminated {
                    if let Some(batch) = batcher.push_terminated(&instance, observed_at)? {
                        send(queue, Filled { region_index, batch }).await;
                    }
                    reading.terminated_count += 1;
                    if !scope.instance_ids.is_empty() {
                        reading.found.insert(instance.ec2_instance_id);
                    }
                }
                page_token = page.next_token;
                if page_token.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn deliver_all(&self, scope: &Scope, queue: Receiver<Filled>) -> Deliveries {
        let mut deliveries = Deliveries::new(scope);
        let mut delivered = std::pin::pin!(
            stream::unfold(queue, async |mut queue| queue.recv().await.map(|filled| (filled, queue)))
                .map(|filled| self.deliver(scope, filled))
                .buffer_unordered(REPORTS_AT_ONCE)
        );
        while let Some(delivery) = delivered.next().await {
            deliveries.add(scope, delivery);
        }
        deliveries
    }

    async fn deliver(&self, scope: &Scope, Filled { region_index, batch }: Filled) -> Delivery {
        let instance_count = batch.instance_count();
        let head = Head {
            account: self.account.clone(),
            region: scope.regions[region_index].clone(),
            dry_run: scope.dry_run,
            reply: self.invocation_type == InvocationType::RequestResponse,
        };
        let result = self
            .before_deadline(async {
                let answer = self.aws.report(batch.into_report(head)?, self.invocation_type).await?;
                if let Some(answer) = &answer {
                    check(answer, instance_count, scope.dry_run)?;
                }
                Ok(answer)
            })
            .await;
        Delivery { region_index, instance_count, result }
    }

    /// Starts nothing after the time is up, and waits no longer than until then.
    async fn before_deadline<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let rest = self.deadline.duration_since((self.now)()).unwrap_or_default().saturating_sub(DEADLINE_MARGIN);
        let exceeded = || Failure::new("DeadlineExceeded", "the function's time was up before this was done");
        if rest.is_zero() {
            return Err(exceeded());
        }
        tokio::time::timeout(rest, work).await.unwrap_or_else(|_| Err(exceeded()))
    }

    fn summarise(self, scope: Scope, readings: Vec<Reading>, deliveries: Deliveries) -> SweepAnswer {
        let Deliveries { mut regions, counts, terminated, attention } = deliveries;
        let mut not_found = scope.instance_ids;
        for reading in readings {
            let region = &mut regions[reading.region_index];
            region.instances = reading.instance_count;
            region.terminated = reading.terminated_count;
            if let Err(error) = reading.result {
                region.error = Some(error);
            }
            not_found.retain(|id| !reading.found.contains(id.as_str()));
        }
        let (nodes, nodes_omitted) = attention.finish();
        SweepAnswer {
            account: self.account,
            dry_run: scope.dry_run,
            regions,
            counts: (self.invocation_type == InvocationType::RequestResponse).then_some(counts),
            nodes,
            nodes_omitted,
            terminated,
            not_found,
            ignored_regions: scope.ignored_regions,
        }
    }
}

/// What became of all batches so far.
struct Deliveries {
    regions: Vec<RegionAnswer>,
    counts: Counts,
    terminated: Option<TerminatedCounts>,
    attention: Attention,
}

impl Deliveries {
    fn new(scope: &Scope) -> Self {
        let regions = scope.regions.iter().map(|region| RegionAnswer {
            region: region.clone(),
            instances: 0,
            terminated: 0,
            batches: 0,
            failed_batches: 0,
            failed_instances: 0,
            error: None,
        });
        Self {
            regions: regions.collect(),
            counts: Counts::default(),
            terminated: None,
            attention: Attention::default(),
        }
    }

    fn add(&mut self, scope: &Scope, Delivery { region_index, instance_count, result }: Delivery) {
        let region = &mut self.regions[region_index];
        region.batches += 1;
        match result {
            Ok(None) => {}
            Ok(Some(answer)) => {
                self.counts += answer.counts;
                if let Some(terminated) = answer.terminated {
                    *self.terminated.get_or_insert_default() += terminated;
                }
                for node in answer.nodes {
                    warn_of(&scope.regions[region_index], &node);
                    self.attention.push(node);
                }
            }
            Err(error) => {
                tracing::warn!(
                    region = %region.region,
                    instance_count,
                    code = error.code,
                    error = error.message,
                    "batch not taken"
                );
                region.failed_batches += 1;
                region.failed_instances += instance_count;
                region.error.get_or_insert(error);
            }
        }
    }
}

/// All instances are one read without ids.
fn id_chunks(instance_ids: &[Ec2InstanceId]) -> impl Iterator<Item = &[Ec2InstanceId]> {
    let all = instance_ids.is_empty().then_some(instance_ids);
    all.into_iter().chain(instance_ids.chunks(INSTANCE_IDS_MAX))
}

async fn send(queue: &Sender<Filled>, filled: Filled) {
    // The receiver outlives every sender: it ends when they do.
    let _ = queue.send(filled).await;
}

/// An answer that is about something else is no success.
fn check(answer: &hub::Answer, instance_count: usize, dry_run: bool) -> Result<(), Failure> {
    let received = answer.counts.received;
    if received == instance_count && answer.dry_run == dry_run {
        return Ok(());
    }
    let message = format!(
        "{instance_count} instances were reported with dryRun {dry_run}, the answer counts {received} with dryRun {}",
        answer.dry_run
    );
    Err(Failure::new("UnexpectedAnswer", message))
}

/// Says what happened to a node in trouble, without the message: it may quote a tag's value.
fn warn_of(region: &Region, node: &hub::NodeAnswer) {
    let (node_id, ec2_instance_id) = (&node.instance_id, node.ec2_instance_id.as_deref());
    match &node.outcome {
        Outcome::Rejected { reason } => {
            tracing::warn!(%region, node_id, ec2_instance_id, ?reason, "node rejected");
        }
        Outcome::Failed { code, retryable, .. } => {
            tracing::warn!(%region, node_id, ec2_instance_id, code, retryable, "node failed");
        }
        _ => {}
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_seconds(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
}
