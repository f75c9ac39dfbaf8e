//! Whether a changed policy may take tags away.
//!
//! A policy that would take away more than a few percent of the hub's tags on a report's nodes is held until an operator
//! approves it: until then it only adds. So no mistake in a policy empties a fleet, however the policy came to be there.
//!
//! A node's memory has the digest of the policy under which it was last updated. The tags that another policy no longer
//! carries are withdrawn: they count, and a node that has some loses nothing while the policy is held. From other
//! nodes, tags that their instances lost are removed as always.

use super::Run;
use super::look::LookedAt;
use crate::ports::{Leases, Nodes};

impl<P: Nodes + Leases> Run<'_, P> {
    /// Decides for this report, on what the looks at its nodes found; how many tags are held.
    pub(super) fn hold(&self, looked: &[LookedAt<'_, '_>]) -> usize {
        let withdrawn: usize = looked.iter().map(|one| one.withdrawn).sum();
        let owned: usize = looked.iter().map(|one| one.owned_count).sum();
        let policy = &self.config.policy;
        let is_approved = self.config.approved_policies.contains(&policy.digest);
        let is_small = withdrawn > 0 && withdrawn * 100 <= owned * usize::from(self.config.policy_hold_percent);
        // Looks may be some seconds old: what none of them saw to be taken away is not taken away by a write either.
        self.is_held.set(!is_approved && !is_small);
        if !self.is_held.get() || withdrawn == 0 {
            return 0;
        }
        let nodes = looked.iter().filter(|one| one.withdrawn > 0).count();
        let agency = self.agency.as_ref().map(hub::AccountId::as_str);
        tracing::warn!(agency, policy = policy.digest, nodes, tags = withdrawn, of = owned, "policy held");
        withdrawn
    }
}
