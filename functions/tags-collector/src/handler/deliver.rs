//! Handing reports to the manager.

use std::collections::BTreeSet;
use std::time::SystemTime;

use futures_util::stream::{self, StreamExt as _};
use hub::{AccountId, Counts, Region, TerminatedCounts};
use lambda_kit::Deadline;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep};

use super::read::Filled;
use crate::answer::{Attention, RegionAnswer};
use crate::config::InvocationType;
use crate::log::{log_nodes, log_waited};
use crate::plan::{ReportContext, Scope, busy_wait};
use crate::ports::{Aws, Failure};

/// Reports on their way to the manager at the same time, over all Regions. One manager works on several nodes at once
/// and keeps to the pace that Systems Manager allows; a second would only take its share of that from the first.
const REPORTS_AT_ONCE: usize = 1;

/// Hands the batches of a scope to the manager.
pub(super) struct Deliverer<'a, A, N> {
    pub(super) aws: &'a A,
    pub(super) now: &'a N,
    pub(super) deadline: Deadline,
    pub(super) account: &'a AccountId,
    pub(super) invocation_type: InvocationType,
}

/// What became of a batch.
struct Delivery {
    region_index: usize,
    instance_count: usize,
    result: Result<Option<hub::Answer>, Failure>,
}

/// What became of all batches so far.
pub(super) struct Deliveries {
    pub(super) regions: Vec<RegionAnswer>,
    pub(super) counts: Counts,
    pub(super) terminated: Option<TerminatedCounts>,
    pub(super) attention: Attention,
    pub(super) tags_dropped: usize,
    /// Instances that are worth another try.
    pub(super) retryable: BTreeSet<String>,
    /// Regions with a node that should carry the mark of a terminated instance and may not.
    pub(super) unmarked_regions: BTreeSet<Region>,
}

impl<A: Aws, N: Fn() -> SystemTime> Deliverer<'_, A, N> {
    pub(super) async fn deliver_all(&self, scope: &Scope, queue: Receiver<Filled>) -> Deliveries {
        let mut deliveries = Deliveries::new(scope);
        let mut delivered = std::pin::pin!(
            stream::unfold(queue, async |mut queue| queue.recv().await.map(|filled| (filled, queue)))
                .map(|filled| self.deliver(scope, filled))
                .buffer_unordered(REPORTS_AT_ONCE)
        );
        while let Some(delivery) = delivered.next().await {
            deliveries.add(self.account, scope, delivery);
        }
        deliveries
    }

    async fn deliver(&self, scope: &Scope, Filled { region_index, batch }: Filled) -> Delivery {
        let instance_count = batch.instance_count();
        let region = &scope.regions[region_index].region;
        let context = ReportContext {
            account: self.account.clone(),
            region: region.clone(),
            dry_run: scope.dry_run,
            is_awaited: self.invocation_type == InvocationType::RequestResponse,
        };
        let result = async {
            let answer = self.offer(region, &batch.into_report(context)?).await?;
            if let Some(answer) = &answer {
                check(answer, instance_count, scope.dry_run)?;
            }
            Ok(answer)
        };
        Delivery { region_index, instance_count, result: result.await }
    }

    /// Offers a report to the manager. While the manager is busy, the report waits, as long as there is time.
    async fn offer(&self, region: &Region, report: &[u8]) -> Result<Option<hub::Answer>, Failure> {
        let started = Instant::now();
        let mut attempt = 0;
        loop {
            let result = self.deadline.call(self.aws.report(report, self.invocation_type)).await.map_err(Failure::from);
            let wait = busy_wait(attempt, self.account, (self.now)());
            let is_busy = result.as_ref().is_err_and(Failure::is_busy);
            if !is_busy || Instant::now() + wait >= self.deadline.begin_until() {
                if attempt > 0 {
                    log_waited(region, attempt, started.elapsed(), result.is_ok());
                }
                return result;
            }
            attempt += 1;
            sleep(wait).await;
        }
    }
}

impl Deliveries {
    fn new(scope: &Scope) -> Self {
        Self {
            regions: scope.regions.iter().map(|region| RegionAnswer::new(region.region.clone())).collect(),
            counts: Counts::default(),
            terminated: None,
            attention: Attention::default(),
            tags_dropped: 0,
            retryable: BTreeSet::new(),
            unmarked_regions: BTreeSet::new(),
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
                        self.unmarked_regions.insert(region.region.clone());
                    }
                }
                log_nodes(account, &region.region, &answer.nodes);
                for node in answer.nodes {
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
                    "failed to report batch"
                );
                region.failed_batches += 1;
                region.failed_instances += instance_count;
                region.error.get_or_insert(error);
            }
        }
    }
}

/// An answer that is about something else is not a success.
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
