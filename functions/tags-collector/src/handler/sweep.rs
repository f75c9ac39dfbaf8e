//! Reading Regions and handing reports to the manager, both at once.
//!
//! Readers, one for each Region, put batches into a channel; the deliverer takes them out. The channel holds one batch,
//! so that readers wait while the manager works and memory does not grow with the fleet.

use std::time::SystemTime;

use futures_util::future::join;
use hub::AccountId;
use lambda_kit::Deadline;
use tokio::sync::mpsc;

use super::deliver::{Deliverer, Deliveries};
use super::read::{ReadRegion, Reader};
use crate::answer::{SweepAnswer, SweepOutcome};
use crate::config::InvocationType;
use crate::plan::{Limits, RegionScope, RetrySet, Scope, unique};
use crate::ports::Aws;

/// One sweep, or one read of single instances.
#[derive(Debug)]
pub(super) struct Sweep<'a, A, N> {
    pub(super) aws: &'a A,
    /// The clock.
    pub(super) now: &'a N,
    /// When the work has to end.
    pub(super) deadline: Deadline,
    /// The agency's account.
    pub(super) account: AccountId,
    /// How reports are handed over.
    pub(super) invocation_type: InvocationType,
}

impl<A: Aws, N: Fn() -> SystemTime> Sweep<'_, A, N> {
    /// Reads what `scope` names and reports it. What fails is in the answer.
    pub(super) async fn run(self, scope: Scope) -> SweepOutcome {
        let Self { aws, now, deadline, ref account, invocation_type } = self;
        let limits = match invocation_type {
            InvocationType::RequestResponse => Limits::SYNCHRONOUS,
            InvocationType::Event => Limits::ASYNCHRONOUS,
        };
        let reader = Reader { aws, now, deadline, limits };
        let deliverer = Deliverer { aws, now, deadline, account, invocation_type };
        let (sender, receiver) = mpsc::channel(1);
        let (read, deliveries) = join(reader.read_all(&scope, sender), deliverer.deliver_all(&scope, receiver)).await;
        self.summarize(scope, &read, deliveries)
    }

    fn summarize(self, scope: Scope, read: &[ReadRegion], deliveries: Deliveries) -> SweepOutcome {
        let Deliveries { mut regions, counts, terminated, attention, tags_dropped, mut retryable, unmarked_regions } =
            deliveries;
        let mut not_found = unique(scope.regions.into_iter().flat_map(RegionScope::into_ids).collect());
        let mut untagged = not_found.clone();
        let mut unread_region_count = 0;
        for ReadRegion { region_index, found, result } in read {
            let region = &mut regions[*region_index];
            region.add(found);
            retryable.extend(found.ending.iter().cloned());
            if let Err(error) = result {
                region.error = Some(error.clone());
                unread_region_count += 1;
            }
            not_found.retain(|id| !found.found.contains(id.as_str()));
        }
        untagged.retain(|id| read.iter().any(|region| region.found.untagged.contains(id.as_str())));
        let incomplete = regions.iter().filter(|region| !region.is_complete());
        let retry = RetrySet {
            regions: incomplete.map(|region| region.region.clone()).collect(),
            instance_ids: retryable,
            unmarked_regions,
        };
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
            untagged,
            ignored_regions: scope.ignored_regions,
        };
        SweepOutcome { answer, unread_region_count, tags_dropped, retry }
    }
}
