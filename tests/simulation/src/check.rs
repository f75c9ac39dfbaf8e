//! What must be true when everything is quiet.

use std::collections::BTreeMap;
use std::fmt;

use hub::{AGENCY_TAG_KEY, AccountId, ManagedInstanceId, SOURCE_TAG_KEY, is_reserved};
use ssm_tag_manager::plan::Tags;

use crate::sandbox::Manager;
use crate::world::{Counts, Instance, Node, World};

/// A promise that did not hold.
#[derive(Debug)]
pub struct Violation {
    /// The seed that shows it, every time.
    pub seed: u64,
    /// What is wrong.
    pub problem: String,
    /// What happened on the way.
    pub counts: Counts,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.problem)
    }
}

impl std::error::Error for Violation {}

/// Every node carries what its instance says and what its operators set, and nothing else.
pub(crate) fn every_node_is_right(world: &World, manager: &Manager, accounts: &[AccountId]) -> Result<(), String> {
    if world.counted("violation: a node that lives was deregistered") > 0 {
        return Err("a node that lives was deregistered".to_owned());
    }
    let intrusions = world.counted("violation: a write without the lease");
    if intrusions > 0 {
        return Err(format!("{intrusions} writes while their sender did not hold the lease"));
    }
    let instances = world.instances.borrow();
    let mut named: BTreeMap<&ManagedInstanceId, Vec<(&String, &Instance)>> = BTreeMap::new();
    for (id, instance) in instances.iter().filter(|(_, instance)| !instance.state.is_terminated) {
        if let Some(node) = &instance.state.node {
            named.entry(node).or_default().push((id, instance));
        }
    }
    let nodes = world.nodes.borrow();
    // True for an instance that is linked to the node that it names.
    let is_linked = |id: &str, instance: &Instance| {
        let node = instance.state.node.as_ref().and_then(|node| nodes.get(node));
        let source = node.and_then(|node| node.tags.get(SOURCE_TAG_KEY)).and_then(|source| source.rsplit('/').next());
        !instance.state.is_terminated && source == Some(id)
    };
    for (id, node) in nodes.iter() {
        let owner = node.tags.get(AGENCY_TAG_KEY).map(String::as_str);
        // The hostile agency's instances carry an operator's key, and what an instance carries wins.
        let is_in_order = accounts.iter().any(|account| Some(account.as_str()) == owner);
        for (key, value) in node.operators.iter().filter(|(key, _)| is_in_order || *key != "op-1") {
            if node.tags.get(key) != Some(value) {
                return Err(format!("{id}: the operator's tag {key}={value} is {:?}", node.tags.get(key)));
            }
        }
        if !is_in_order {
            continue;
        }
        let source = node.tags.get(SOURCE_TAG_KEY).and_then(|source| source.rsplit('/').next());
        let behind = source.and_then(|source| Some((source, instances.get(source)?)));
        let desired = match named.get(id).map(Vec::as_slice) {
            Some([(_, instance)]) if Some(instance.account.as_str()) == owner => {
                // A clone whose original lives, and is linked elsewhere or nowhere, is a conflict. So is one whose original
                // ended without anybody being told.
                let is_clone = behind.is_some_and(|(id, original)| {
                    let lives = !original.state.is_terminated || world.lost_ends.borrow().contains(id);
                    lives && !std::ptr::eq(original, *instance)
                });
                if is_clone {
                    continue;
                }
                desired(manager, &instance.state.tags)
            }
            // Its instance registered again: no target may reach this node.
            None if behind.is_some_and(|(id, instance)| is_linked(id, instance)) => Tags::new(),
            _ => continue,
        };
        let expected: Tags =
            node.operators.iter().chain(&desired).map(|(key, value)| (key.clone(), value.clone())).collect();
        let carried: Tags = node
            .tags
            .iter()
            .filter(|(key, _)| !is_reserved(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if carried != expected {
            return Err(format!("{id}: carries {carried:?}, expected {expected:?}; all: {:?}", node.tags));
        }
    }
    Ok(())
}

fn desired(manager: &Manager, tags: &Tags) -> Tags {
    let tags: Vec<hub::Tag> =
        tags.iter().map(|(key, value)| hub::Tag { key: key.clone(), value: value.clone() }).collect();
    manager.config().policy.desired(&tags).tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

/// Each node that an agency's instance names carries all that it carried, whatever else it carries now.
pub(crate) fn nothing_was_taken_away(
    world: &World,
    before: &BTreeMap<ManagedInstanceId, Node>,
    accounts: &[AccountId],
) -> Result<(), String> {
    let nodes = world.nodes.borrow();
    for (id, node) in before {
        let owner = node.tags.get(AGENCY_TAG_KEY).map(String::as_str);
        if !accounts.iter().any(|account| Some(account.as_str()) == owner) {
            continue;
        }
        let now = nodes.get(id).map(|node| &node.tags);
        let is_gone = |key: &&String| !is_reserved(key) && !now.is_some_and(|now| now.contains_key(*key));
        if let Some(key) = node.tags.keys().find(is_gone) {
            return Err(format!("{id}: lost {key} to a policy that nobody approved; before: {:?}", node.tags));
        }
    }
    Ok(())
}

/// Writes and calls of the table so far.
pub(crate) fn writes(world: &World) -> u64 {
    ["ssm:AddTagsToResource", "ssm:RemoveTagsFromResource", "dynamodb"].map(|name| world.counted(name)).iter().sum()
}

/// The steady state costs no write and no call of the table.
pub(crate) fn nothing_was_written(world: &World, before: u64) -> Result<(), String> {
    let further = writes(world) - before;
    if further > 0 { Err(format!("{further} writes where nothing changed")) } else { Ok(()) }
}

/// A node is there as long as an instance names it.
pub(crate) fn only_the_dead_are_retired(world: &World, accounts: &[AccountId]) -> Result<(), String> {
    let nodes = world.nodes.borrow();
    for (id, instance) in world.instances.borrow().iter() {
        if let Some(node) = &instance.state.node
            && !instance.state.is_terminated
            && accounts.contains(&instance.account)
            && !nodes.contains_key(node)
        {
            return Err(format!("{node} was retired, and {id} lives"));
        }
    }
    Ok(())
}
