//! What has to be tried again.

use std::collections::BTreeSet;

use hub::Region;

use super::scope::InstanceArn;

/// What a read of single instances left open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetrySet {
    /// Regions that were not read to their end, or of which a report was not taken.
    pub regions: BTreeSet<Region>,
    /// Instances whose node may fare better the next time, and those whose end EC2 does not show yet.
    pub instance_ids: BTreeSet<String>,
    /// Regions with a node that should carry the mark of a terminated instance and may not.
    pub unmarked_regions: BTreeSet<Region>,
}

impl RetrySet {
    /// True if something about the instance was left open.
    pub fn has(&self, instance: &InstanceArn) -> bool {
        self.regions.contains(&instance.region) || self.instance_ids.contains(instance.id.as_str())
    }

    /// True if something about the end of the instance was left open.
    pub fn has_end_of(&self, instance: &InstanceArn) -> bool {
        self.has(instance) || self.unmarked_regions.contains(&instance.region)
    }
}
