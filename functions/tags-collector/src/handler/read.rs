//! Reading Regions.

use std::time::SystemTime;

use futures_util::stream::{self, StreamExt as _};
use hub::Timestamp;
use lambda_kit::Deadline;
use tokio::sync::mpsc::Sender;

use crate::plan::{Batch, Limits, RegionReading, RegionResult, RegionScope, Scope};
use crate::ports::{Aws, Failure};

/// Regions that are read at the same time.
const REGIONS_AT_ONCE: usize = 4;

/// Reads the Regions of a scope.
pub(super) struct Reader<'a, A, N> {
    pub(super) aws: &'a A,
    pub(super) now: &'a N,
    pub(super) deadline: Deadline,
    pub(super) limits: Limits,
}

/// A batch on its way to the manager.
pub(super) struct Filled {
    pub(super) region_index: usize,
    pub(super) batch: Batch,
}

/// What reading a Region brought, and whether it was read to its end.
pub(super) struct ReadRegion {
    pub(super) region_index: usize,
    pub(super) found: RegionResult,
    pub(super) result: Result<(), Failure>,
}

impl<A: Aws, N: Fn() -> SystemTime> Reader<'_, A, N> {
    /// Reads all Regions and puts batches into the queue, which is closed when the last Region is read.
    pub(super) async fn read_all(&self, scope: &Scope, queue: Sender<Filled>) -> Vec<ReadRegion> {
        stream::iter(scope.regions.iter().enumerate())
            .map(|(region_index, region)| self.read(region_index, region, &queue))
            .buffer_unordered(REGIONS_AT_ONCE)
            .collect()
            .await
    }

    async fn read(&self, region_index: usize, region: &RegionScope, queue: &Sender<Filled>) -> ReadRegion {
        let mut reading = RegionReading::new(region, self.limits);
        // The receiver outlives every sender: it ends when they do.
        let send = async |batch| drop(queue.send(Filled { region_index, batch }).await);
        let result = self.read_pages(region, &mut reading, send).await;
        if let Err(error) = &result {
            let region = region.region.as_str();
            tracing::warn!(region, code = error.code, error = error.message, "failed to read entire Region");
        }
        // What was read before an error is as true as ever.
        let (last, found) = reading.finish(result.is_ok());
        if let Some(batch) = last {
            send(batch).await;
        }
        ReadRegion { region_index, found, result }
    }

    async fn read_pages(
        &self,
        region: &RegionScope,
        reading: &mut RegionReading<'_>,
        send: impl AsyncFn(Batch),
    ) -> Result<(), Failure> {
        for ids in region.reads() {
            let mut page_token = None;
            loop {
                let observed_at = Timestamp::from((self.now)());
                let page = self.deadline.call(self.aws.instances(&region.region, &ids, page_token.take())).await?;
                reading.add_page(observed_at);
                for instance in page.instances {
                    if let Some(batch) = reading.add(instance, observed_at)? {
                        send(batch).await;
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
}
