//! Nodes whose EC2 instance no longer carries the tag `managedinstanceid`.
//!
//! Nothing is written: the node keeps its tags, and somebody is told. An infrastructure tool that owns all tags of an
//! instance may have removed the one that it did not know.

use std::collections::{BTreeMap, BTreeSet};

use hub::{AGENCY_TAG_KEY, AccountId, ManagedInstanceId, NodeAnswer, Outcome, SOURCE_TAG_KEY};

use super::Run;
use crate::config::OwnershipCheck;
use crate::plan::{LastApplied, Source, Tags};
use crate::ports::{Leases, Nodes, SOURCES_PER_FIND};
use lambda_kit::Stopped;

/// For more instances than this it takes fewer calls to list all nodes of the agency, 100 a call.
const FIND_BY_SOURCE_MAX: usize = 5 * SOURCES_PER_FIND;

impl<P: Nodes + Leases> Run<'_, P> {
    /// The nodes of the report's unlinked instances.
    pub(super) async fn unlinked(&self) -> Vec<NodeAnswer> {
        let instances = self.report.unlinked.iter().flat_map(|unlinked| &unlinked.0);
        let sources: BTreeSet<String> =
            instances.filter_map(|id| self.source(id)).map(|source| source.to_string()).collect();
        if sources.is_empty() {
            return Vec::new();
        }
        let found = match self.find_by_source(&sources).await {
            Ok(found) => found,
            Err(stopped) => {
                let code = stopped.code();
                tracing::warn!(instances = sources.len(), code, "failed to look up unlinked instances' nodes");
                return Vec::new();
            }
        };
        let is_left = |tags: &Tags| LastApplied::of(tags).is_some_and(|applied| applied.is_superseded);
        let is_named = |node: &ManagedInstanceId| {
            self.report.instances.iter().any(|instance| instance.instance_id == node.as_str())
        };
        found
            .into_iter()
            .filter(|(node, tags)| self.owns(tags) && !is_left(tags) && !is_named(node))
            .map(|(node, tags)| NodeAnswer {
                instance_id: node.to_string(),
                ec2_instance_id: Source::of(&tags).map(|source| source.ec2_instance_id.to_string()),
                outcome: Outcome::Unlinked,
                set: Tags::new(),
                removed: Vec::new(),
                dropped: Vec::new(),
            })
            .collect()
    }

    async fn find_by_source(&self, sources: &BTreeSet<String>) -> Result<BTreeMap<ManagedInstanceId, Tags>, Stopped> {
        let mut found = BTreeMap::new();
        match &self.agency {
            Some(agency) if sources.len() > FIND_BY_SOURCE_MAX => {
                let nodes = self.deadline.call(self.ports.find(AGENCY_TAG_KEY, &[agency.to_string()])).await?;
                found.extend(
                    nodes
                        .into_iter()
                        .filter(|(_, tags)| tags.get(SOURCE_TAG_KEY).is_some_and(|source| sources.contains(source))),
                );
            }
            _ => {
                let sources: Vec<String> = sources.iter().cloned().collect();
                for chunk in sources.chunks(SOURCES_PER_FIND) {
                    found.extend(self.deadline.call(self.ports.find(SOURCE_TAG_KEY, chunk)).await?);
                }
            }
        }
        Ok(found)
    }

    pub(super) fn owner_is_unchecked(&self) -> bool {
        self.config.ownership == OwnershipCheck::Off
    }

    /// True for a node that the sender may change.
    pub(super) fn owns(&self, tags: &Tags) -> bool {
        let owner = tags.get(AGENCY_TAG_KEY).map(String::as_str);
        self.owner_is_unchecked() || owner.is_some() && owner == self.agency.as_ref().map(AccountId::as_str)
    }
}
