//! Reading Regions and handing reports to the manager, both at once.
//!
//! Readers, one for each Region, put batches into a channel; senders take them out. The channel holds one
//! batch, so that readers wait while the senders are busy and memory does not grow with the fleet.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join;
use futures_util::stream::{self, StreamExt};
use hub::{AccountId, AwsError, Counts, Ec2InstanceId, Instance, Region, Terminated, TerminatedCounts, Timestamp};
use lambda_kit::{DEADLINE_EXCEEDED, Deadline, Margins, Stopped};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::answer::{Attention, Failure, RegionAnswer, SweepAnswer};
use crate::batch::{Batch, Batcher, Head, Limits};
use crate::config::InvocationType;
use crate::event::{RegionScope, Scope, unique};
use crate::log::log_node;
use crate::queue::Unsettled;

/// Work ends this long before the function is stopped: enough to write the answer, even on a slow core, and
/// little beside the minutes that a sweep may take.
pub const MARGINS: Margins = Margins { begin: Duration::from_secs(5), answer: Duration::from_secs(5) };

/// Regions that are read at the same time.
const REGIONS_AT_ONCE: usize = 4;

/// Reports on their way to the manager at the same time, over all Regions. One manager works on several nodes at
/// once and keeps to the pace that Systems Manager allows; a second would only take its share of that from the first.
const REPORTS_AT_ONCE: usize = 1;

/// How many instance ids one read names.
const INSTANCE_IDS_MAX: usize = 200;

/// What a sweep does with AWS.
#[expect(async_fn_in_trait, reason = "one thread runs the function: no future has to be sent")]
pub trait Aws {
    /// Reads a page of the instances of a Region that name a managed node: of all, or of at most 200 by id.
    async fn instances(
        &self,
        region: &Region,
        instance_ids: &[Ec2InstanceId],
        page_token: Option<String>,
    ) -> Result<Page, AwsError>;

    /// Reads a page of those among at most 200 instances that are terminated, whatever tags they have left.
    async fn terminated(
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
    /// The instances that are about to end, where the ends of instances were asked for. EC2 may be behind its own
    /// event, so they have to be looked at again.
    pub ending: Vec<String>,
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
    /// When the work has to end.
    pub deadline: Deadline,
    /// The agency's account.
    pub account: AccountId,
    /// How reports are handed over.
    pub invocation_type: InvocationType,
}

/// What came of a sweep.
#[derive(Debug)]
pub struct Swept {
    /// What the caller is told.
    pub answer: SweepAnswer,
    /// Regions that were not read to their end.
    pub unread_region_count: usize,
    /// Tags that nodes lost, without the reserved ones.
    pub tags_dropped: usize,
    /// What has to be tried again where instances were asked for by id.
    pub unsettled: Unsettled,
}

/// What reading a Region brought.
struct Reading {
    region_index: usize,
    instance_count: usize,
    terminated_count: usize,
    ending: Vec<String>,
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
    pub async fn run(self, scope: Scope) -> Swept {
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
        let mut reading = Reading {
            region_index,
            instance_count: 0,
            terminated_count: 0,
            ending: Vec::new(),
            found: HashSet::new(),
            result: Ok(()),
        };
        let mut batcher = Batcher::new(Limits::of(self.invocation_type));
        reading.result = self.read_pages(scope, &mut reading, &mut batcher, queue).await;
        // What was read before an error is as true as ever.
        if let Some(batch) = batcher.finish() {
            send(queue, Filled { region_index, batch }).await;
        }
        if let Err(error) = &reading.result {
            let region = scope.regions[region_index].region.as_str();
            tracing::warn!(region, code = error.code, error = error.message, "region not read to its end");
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
        let region_scope = &scope.regions[region_index];
        for ask in asks(region_scope) {
            let mut page_token = None;
            loop {
                let observed_at = timestamp((self.now)());
                let page = self
                    .before_deadline(async {
                        let page = match ask {
                            Ask::Nodes(ids) => self.aws.instances(&region_scope.region, ids, page_token).await,
                            Ask::Ends(ids) => self.aws.terminated(&region_scope.region, ids, page_token).await,
                        };
                        page.map_err(Failure::from)
                    })
                    .await?;
                for instance in page.instances {
                    if let Some(batch) = batcher.push(&instance, observed_at)? {
                        send(queue, Filled { region_index, batch }).await;
                    }
                    reading.instance_count += 1;
                    if !region_scope.is_everything() {
                        reading.found.extend(instance.ec2_instance_id);
                    }
                }
                reading.ending.extend(page.ending);
                for instance in page.terminated {
                    if let Some(batch) = batcher.push_terminated(&instance, observed_at)? {
                        send(queue, Filled { region_index, batch }).await;
                    }
                    reading.terminated_count += 1;
                    if !region_scope.is_everything() {
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
            deliveries.add(&self.account, scope, delivery);
        }
        deliveries
    }

    async fn deliver(&self, scope: &Scope, Filled { region_index, batch }: Filled) -> Delivery {
        let instance_count = batch.instance_count();
        let head = Head {
            account: self.account.clone(),
            region: scope.regions[region_index].region.clone(),
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
        self.deadline.call(work).await.map_err(|stopped| match stopped {
            Stopped::Failed(failure) => failure,
            Stopped::NotBegun | Stopped::CutOff => {
                Failure::new(DEADLINE_EXCEEDED, "the function's time was up before this was done")
            }
        })
    }

    fn summarise(self, scope: Scope, readings: Vec<Reading>, deliveries: Deliveries) -> Swept {
        let Deliveries { mut regions, counts, terminated, attention, tags_dropped, mut retryable, unmarked } =
            deliveries;
        let mut not_found = unique(scope.regions.into_iter().flat_map(RegionScope::into_ids).collect());
        let mut unread_region_count = 0;
        for reading in readings {
            let region = &mut regions[reading.region_index];
            region.instances = reading.instance_count;
            region.terminated = reading.terminated_count;
            retryable.extend(reading.ending);
            if let Err(error) = reading.result {
                region.error = Some(error);
                unread_region_count += 1;
            }
            not_found.retain(|id| !reading.found.contains(id.as_str()));
        }
        let incomplete = regions.iter().filter(|region| !region.is_complete());
        let open = incomplete.map(|region| region.region.clone()).collect();
        let unsettled = Unsettled { regions: open, instance_ids: retryable, unmarked };
        let (nodes, nodes_omitted) = attention.finish();
        let answer = SweepAnswer {
            account: self.account,
            dry_run: scope.dry_run,
            regions,
            counts: (self.invocation_type == InvocationType::RequestResponse).then_some(counts),
            nodes,
            nodes_omitted,
            terminated,
            not_found,
            ignored_regions: scope.ignored_regions,
        };
        Swept { answer, unread_region_count, tags_dropped, unsettled }
    }
}

/// What became of all batches so far.
struct Deliveries {
    regions: Vec<RegionAnswer>,
    counts: Counts,
    terminated: Option<TerminatedCounts>,
    attention: Attention,
    tags_dropped: usize,
    /// Instances that are worth another try.
    retryable: BTreeSet<String>,
    /// Regions with a node that should carry the mark of a terminated instance and may not.
    unmarked: BTreeSet<Region>,
}

impl Deliveries {
    fn new(scope: &Scope) -> Self {
        let regions = scope.regions.iter().map(|region| RegionAnswer {
            region: region.region.clone(),
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
            tags_dropped: 0,
            retryable: BTreeSet::new(),
            unmarked: BTreeSet::new(),
        }
    }

    fn add(&mut self, account: &AccountId, scope: &Scope, delivery: Delivery) {
        let Delivery { region_index, instance_count, result } = delivery;
        let is_by_id = !scope.regions[region_index].is_everything();
        let region = &mut self.regions[region_index];
        region.batches += 1;
        match result {
            Ok(None) => {}
            Ok(Some(answer)) => {
                self.counts += answer.counts;
                if let Some(terminated) = answer.terminated {
                    *self.terminated.get_or_insert_default() += terminated;
                    if is_by_id && terminated.failed + terminated.deferred > 0 {
                        self.unmarked.insert(region.region.clone());
                    }
                }
                for node in answer.nodes {
                    log_node(account, &region.region, &node);
                    self.tags_dropped += node.notable_drops().count();
                    // Of a whole fleet nobody asks again for single instances: the next sweep does.
                    if is_by_id && node.outcome.is_retryable() {
                        self.retryable.extend(node.ec2_instance_id.clone());
                    }
                    self.attention.push(node);
                }
            }
            Err(error) => {
                tracing::warn!(
                    region = region.region.as_str(),
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

/// What one read asks for.
#[derive(Debug, Clone, Copy)]
enum Ask<'a> {
    /// Instances that name a managed node: all, or these.
    Nodes(&'a [Ec2InstanceId]),
    /// Which of these are terminated.
    Ends(&'a [Ec2InstanceId]),
}

/// The reads of a Region. All instances are one read without ids.
fn asks(scope: &RegionScope) -> impl Iterator<Item = Ask<'_>> {
    let all = scope.is_everything().then_some(Ask::Nodes(&[]));
    let nodes = scope.instance_ids.chunks(INSTANCE_IDS_MAX).map(Ask::Nodes);
    all.into_iter().chain(nodes).chain(scope.ended_ids.chunks(INSTANCE_IDS_MAX).map(Ask::Ends))
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

fn timestamp(time: SystemTime) -> Timestamp {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_seconds(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
}
