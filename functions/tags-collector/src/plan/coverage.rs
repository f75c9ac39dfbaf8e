//! How many instances of a Region have a managed node.

use std::collections::BTreeSet;

use hub::Coverage;

use super::instance::{InstanceState, SeenInstance};

/// How many instances without a node a report names.
const UNMANAGED_MAX: usize = 500;

/// Counts instances as they are read. It keeps the IDs of 500 of them at the most, however large the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoverageTally {
    running: usize,
    stopped: usize,
    managed: usize,
    unmanaged_count: usize,
    unmanaged: BTreeSet<String>,
}

impl CoverageTally {
    /// Counts an instance, unless it is terminated.
    pub fn add(&mut self, instance: &SeenInstance) {
        let is_running = match instance.state {
            InstanceState::Running => true,
            InstanceState::Stopped | InstanceState::ShuttingDown => false,
            InstanceState::Terminated => return,
        };
        *(if is_running { &mut self.running } else { &mut self.stopped }) += 1;
        if instance.managed_instance_id.is_some() {
            self.managed += 1;
        } else if is_running {
            self.unmanaged_count += 1;
            self.unmanaged.insert(instance.ec2_instance_id.clone());
            if self.unmanaged.len() > UNMANAGED_MAX {
                self.unmanaged.pop_last();
            }
        }
    }

    /// What the report says.
    pub fn coverage(self) -> Coverage {
        let Self { running, stopped, managed, unmanaged_count, unmanaged } = self;
        let unmanaged_omitted = unmanaged_count - unmanaged.len();
        Coverage { running, stopped, managed, unmanaged: unmanaged.into_iter().collect(), unmanaged_omitted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(id: usize, state: InstanceState, is_managed: bool) -> SeenInstance {
        SeenInstance {
            ec2_instance_id: format!("i-{id:017x}"),
            state,
            managed_instance_id: is_managed.then(|| format!("mi-{id:017x}")),
            tags: Vec::new(),
        }
    }

    fn coverage(instances: impl IntoIterator<Item = SeenInstance>) -> Coverage {
        let mut tally = CoverageTally::default();
        instances.into_iter().for_each(|instance| tally.add(&instance));
        tally.coverage()
    }

    #[test]
    fn every_instance_that_is_not_terminated_counts_once() {
        use InstanceState::{Running, ShuttingDown, Stopped, Terminated};
        let instances = [
            seen(1, Running, true),
            seen(2, Running, false),
            seen(3, Stopped, true),
            seen(4, Stopped, false),
            seen(5, ShuttingDown, true),
            seen(6, ShuttingDown, false),
            seen(7, Terminated, true),
            seen(8, Terminated, false),
        ];
        let expected = Coverage {
            running: 2,
            stopped: 4,
            managed: 3,
            unmanaged: vec!["i-00000000000000002".to_owned()],
            unmanaged_omitted: 0,
        };
        assert_eq!(coverage(instances), expected);
    }

    #[test]
    fn the_first_500_by_id_are_named_in_whatever_order_they_come() {
        let all = (0..1_200).map(|index| seen(index * 701 % 1_200, InstanceState::Running, false));
        let coverage = coverage(all);
        let first: Vec<_> = (0..500).map(|id| format!("i-{id:017x}")).collect();
        assert_eq!((coverage.running, coverage.unmanaged_omitted), (1_200, 700));
        assert_eq!(coverage.unmanaged, first);
    }
}
