//! What is reported of a Region.

use std::collections::HashSet;

use hub::{Coverage, Terminated, Timestamp};

use super::batch::{Batch, Batcher, Limits};
use super::coverage::CoverageTally;
use super::instance::{Finding, InstanceState, SeenInstance};
use super::scope::RegionScope;

/// Sorts the instances of a Region into reports, as they are read.
///
/// | the instance… | if all are read | if it was asked for |
/// |---|---|---|
/// | lives and carries `managedinstanceid` | `instances` | `instances` |
/// | lives without that tag | `unlinked` | `unlinked` |
/// | is shutting down | counted only | nothing |
/// | is terminated | `terminated` if it still carries the tag | `terminated` |
///
/// An instance whose end was asked for and that is not terminated has to be read again: EC2 never takes such an event
/// back, and a read may be behind it.
#[derive(Debug)]
pub struct RegionReading<'a> {
    scope: &'a RegionScope,
    batcher: Batcher,
    tally: CoverageTally,
    result: RegionResult,
    last_observed_at: Option<Timestamp>,
}

/// What was read in a Region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegionResult {
    /// Instances that name a managed node.
    pub instance_count: usize,
    /// Instances that name none.
    pub untagged_count: usize,
    /// Instances that are terminated.
    pub terminated_count: usize,
    /// How many of the Region's instances have a node, if all were read.
    pub coverage: Option<Coverage>,
    /// Instances whose end was asked for and that EC2 does not show as terminated yet.
    pub ending: Vec<String>,
    /// Instances asked for by ID of which something was reported, other than that they name no node.
    pub found: HashSet<String>,
    /// Instances asked for by ID that name no node.
    pub untagged: HashSet<String>,
}

impl<'a> RegionReading<'a> {
    /// Starts a Region.
    pub fn new(scope: &'a RegionScope, limits: Limits) -> Self {
        Self {
            scope,
            batcher: Batcher::new(limits),
            tally: CoverageTally::default(),
            result: RegionResult::default(),
            last_observed_at: None,
        }
    }

    /// Notes that a page was read, even if it was empty.
    pub fn add_page(&mut self, observed_at: Timestamp) {
        self.last_observed_at = Some(observed_at);
    }

    /// Adds an instance, and gives a batch if there is no room for the instance in it.
    ///
    /// # Errors
    /// None in practice: an instance has nothing that JSON could not say.
    pub fn add(&mut self, instance: SeenInstance, observed_at: Timestamp) -> serde_json::Result<Option<Batch>> {
        let is_everything = self.scope.is_everything();
        if is_everything {
            self.tally.add(&instance);
        }
        let is_end = self.scope.ended_ids.iter().any(|id| id.as_str() == instance.ec2_instance_id);
        if is_end && instance.state != InstanceState::Terminated {
            self.result.ending.push(instance.ec2_instance_id);
            return Ok(None);
        }
        let has_join_key = instance.managed_instance_id.is_some();
        match instance.finding() {
            Finding::Managed(instance) => {
                self.result.instance_count += 1;
                if let (false, Some(id)) = (is_everything, &instance.ec2_instance_id) {
                    self.result.found.insert(id.clone());
                }
                self.batcher.push(&instance, observed_at)
            }
            Finding::Untagged(id) => {
                self.result.untagged_count += 1;
                let batch = self.batcher.push_unlinked(&id, observed_at);
                if !is_everything {
                    self.result.untagged.insert(id);
                }
                batch
            }
            // Every instance that ends is shown for an hour, and most of a fleet that comes and goes never had a node.
            Finding::Terminated(ec2_instance_id) if has_join_key || !is_everything => {
                self.result.terminated_count += 1;
                if !is_everything {
                    self.result.found.insert(ec2_instance_id.clone());
                }
                self.batcher.push_terminated(&Terminated { ec2_instance_id }, observed_at)
            }
            Finding::Terminated(_) | Finding::Ending => Ok(None),
        }
    }

    /// Ends the Region: the instances that filled no batch, and what was read. `is_complete` says that every page was.
    ///
    /// The last report of a Region whose instances were all read carries the coverage. There is one also if the
    /// Region has no instance.
    pub fn finish(self, is_complete: bool) -> (Option<Batch>, RegionResult) {
        let Self { scope, batcher, tally, mut result, last_observed_at } = self;
        let mut last = batcher.finish();
        if let (true, true, Some(observed_at)) = (is_complete, scope.is_everything(), last_observed_at) {
            let coverage = tally.coverage();
            last.get_or_insert_with(|| Batch::new(observed_at)).set_coverage(coverage.clone());
            result.coverage = Some(coverage);
        }
        (last, result)
    }
}
