//! What is to be read for an event.

use std::collections::HashSet;
use std::hash::Hash;

use hub::{AccountId, Ec2InstanceId, Region, WireError};

/// How many instance IDs one read names.
const INSTANCE_IDS_MAX: usize = 200;

/// `arn:PARTITION:ec2:REGION:ACCOUNT:instance/ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceArn {
    /// Where the instance is.
    pub region: Region,
    /// Whose it is.
    pub account: AccountId,
    /// The instance.
    pub id: Ec2InstanceId,
}

/// What is to be read for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The Regions to read, none twice.
    pub regions: Vec<RegionScope>,
    /// The Regions of a tag change that are not to be read.
    pub ignored_regions: Vec<Region>,
    /// Plan and answer, write nothing.
    pub dry_run: bool,
}

/// What is to be read in a Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionScope {
    /// The Region.
    pub region: Region,
    /// The instances to read, none twice.
    pub instance_ids: Vec<Ec2InstanceId>,
    /// The instances of which an event says that they are terminated, none twice and none of them above: an instance
    /// that is gone is not read as one that lives. If both lists are empty, all instances are read.
    pub ended_ids: Vec<Ec2InstanceId>,
}

impl InstanceArn {
    /// Reads an ARN. Anything else than the ARN of an EC2 instance is nothing.
    pub fn parse(value: &str) -> Option<Self> {
        let parts: Vec<&str> = value.split(':').collect();
        let ["arn", _partition, "ec2", region, account, resource] = parts.as_slice() else {
            return None;
        };
        Some(Self {
            region: region.parse().ok()?,
            account: account.parse().ok()?,
            id: resource.strip_prefix("instance/")?.parse().ok()?,
        })
    }

    /// What is wrong if one of the instances is in another account.
    pub fn foreign(instances: &[Self], account: &AccountId) -> Option<WireError> {
        let (index, instance) = instances.iter().enumerate().find(|(_, instance)| instance.account != *account)?;
        let problem = format!("expected an instance of account {account}, got one of {}", instance.account);
        Some(WireError { path: format!("resources[{index}]"), problem })
    }
}

impl Scope {
    /// These instances, or all if there are none, in each of these Regions.
    pub fn selected(regions: Vec<Region>, instance_ids: Vec<Ec2InstanceId>, dry_run: bool) -> Self {
        let instance_ids = unique(instance_ids);
        let regions = unique(regions).into_iter();
        let regions =
            regions.map(|region| RegionScope { region, instance_ids: instance_ids.clone(), ended_ids: Vec::new() });
        Self { regions: regions.collect(), ignored_regions: Vec::new(), dry_run }
    }

    /// Instances that changed or ended: each once, in its own Region, if that is one of `collect_regions`.
    pub fn named<'a>(
        changed: impl IntoIterator<Item = &'a InstanceArn>,
        ended: impl IntoIterator<Item = &'a InstanceArn>,
        collect_regions: &[Region],
    ) -> Self {
        let mut scope = Self { regions: Vec::new(), ignored_regions: Vec::new(), dry_run: false };
        let mut seen = HashSet::new();
        let mut add = |InstanceArn { region, id, .. }: &'a InstanceArn, ids: fn(&mut RegionScope) -> &mut Vec<_>| {
            if !collect_regions.contains(region) {
                scope.ignored_regions.push(region.clone());
            } else if seen.insert((region, id)) {
                ids(scope.region(region)).push(id.clone());
            }
        };
        // The ended come first, because the end of an instance changes its tags too.
        ended.into_iter().for_each(|instance| add(instance, |region| &mut region.ended_ids));
        changed.into_iter().for_each(|instance| add(instance, |region| &mut region.instance_ids));
        scope.ignored_regions = unique(scope.ignored_regions);
        scope
    }

    /// What is to be read in a Region, so far nothing if it is new.
    fn region(&mut self, region: &Region) -> &mut RegionScope {
        let known = self.regions.iter().position(|known| known.region == *region);
        let index = known.unwrap_or_else(|| {
            self.regions.push(RegionScope { region: region.clone(), instance_ids: Vec::new(), ended_ids: Vec::new() });
            self.regions.len() - 1
        });
        &mut self.regions[index]
    }
}

impl RegionScope {
    /// True if all instances of the Region are to be read.
    pub fn is_everything(&self) -> bool {
        self.instance_ids.is_empty() && self.ended_ids.is_empty()
    }

    /// The instances that each read names. All instances are one read that names none.
    pub fn reads(&self) -> Vec<Vec<Ec2InstanceId>> {
        if self.is_everything() {
            return vec![Vec::new()];
        }
        let ids: Vec<_> = self.instance_ids.iter().chain(&self.ended_ids).cloned().collect();
        ids.chunks(INSTANCE_IDS_MAX).map(<[_]>::to_vec).collect()
    }

    /// All instances that are named.
    pub fn into_ids(self) -> impl Iterator<Item = Ec2InstanceId> {
        self.instance_ids.into_iter().chain(self.ended_ids)
    }
}

/// The items in their order, each once.
pub fn unique<T: Clone + Eq + Hash>(items: Vec<T>) -> Vec<T> {
    let mut seen = HashSet::new();
    items.into_iter().filter(|item| seen.insert(item.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> Vec<Ec2InstanceId> {
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    #[test]
    fn an_instance_that_ended_is_not_read_as_one_that_changed() {
        let instance = |id: &str| InstanceArn {
            region: "us-east-1".parse().unwrap(),
            account: "222222222222".parse().unwrap(),
            id: id.parse().unwrap(),
        };
        let changed = ["i-00000001", "i-00000002"].map(instance);
        let ended = ["i-00000002", "i-00000002"].map(instance);
        let scope = Scope::named(&changed, &ended, &["us-east-1".parse().unwrap()]);
        assert_eq!(
            (&scope.regions[0].instance_ids, &scope.regions[0].ended_ids),
            (&ids(&["i-00000001"]), &ids(&["i-00000002"]))
        );
    }

    #[test]
    fn a_read_names_200_instances_at_the_most() {
        let scope = |changed: usize, ended: usize| RegionScope {
            region: "us-east-1".parse().unwrap(),
            instance_ids: (0..changed).map(|id| format!("i-{id:08x}").parse().unwrap()).collect(),
            ended_ids: (0..ended).map(|id| format!("i-{id:017x}").parse().unwrap()).collect(),
        };
        let sizes = |scope: RegionScope| scope.reads().iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(scope(0, 0)), [0], "all instances");
        assert_eq!(sizes(scope(1, 1)), [2]);
        assert_eq!(sizes(scope(300, 150)), [200, 200, 50]);
    }
}
