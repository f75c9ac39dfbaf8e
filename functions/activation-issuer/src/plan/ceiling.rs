//! How many nodes a new activation may register: what an agency and the account may have, less what they have and what
//! can still register without asking.

use std::collections::BTreeMap;
use std::fmt;

use hub::{AccountId, Timestamp};
use strum::IntoStaticStr;

use crate::activation::{Activation, ActivationId};
use crate::config::Config;

use super::SECONDS_PER_DAY;
use super::census::{Tier, limit};

/// What an agency and the account have by now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The nodes of the account.
    pub nodes: u32,
    /// Their tier, if it could be read.
    pub tier: Option<Tier>,
    /// The registrations that activations of the account have left, all of them, whoever made them.
    pub open: u32,
    /// The nodes of the agency.
    pub agency_nodes: u32,
    /// The registrations that the agency's activations have left.
    pub agency_open: u32,
    /// The activations made for the agency in the last 24 hours.
    pub made_today: u32,
    /// The agencies that have a grant.
    pub agencies: u32,
}

/// Why no activation is made. The names are the error codes in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
pub enum Ceiling {
    /// The agency had its activations for today.
    RenewalsPerDay,
    /// The agency has its nodes.
    AgencyNodeLimit,
    /// The account has its nodes.
    NodeLimit,
    /// The account has the nodes of the standard tier, and `NODE_LIMIT` is higher.
    StandardTier,
}

/// A refusal, with its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What is reached.
    pub ceiling: Ceiling,
    /// How high it is.
    pub limit: u32,
    /// What there is.
    pub usage: Usage,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ceiling, limit, usage } = self;
        match ceiling {
            Ceiling::RenewalsPerDay => write!(
                f,
                "the agency got {} activations in the last 24 hours, and RENEWALS_PER_DAY is {limit}: find out what registers \
                 there, or raise the limit",
                usage.made_today
            ),
            Ceiling::AgencyNodeLimit => write!(
                f,
                "the agency has {} nodes and {} open registrations, and AGENCY_NODE_LIMIT is {limit}: deregister nodes that \
                 are gone, or raise the limit",
                usage.agency_nodes, usage.agency_open
            ),
            Ceiling::StandardTier => write!(
                f,
                "the account has {} hybrid nodes and {} open registrations, and the standard-instances tier allows \
                 {limit} nodes, whatever NODE_LIMIT says: deregister nodes that are gone, lower \
                 REGISTRATION_LIMIT, or turn on the advanced-instances tier, which charges by the hour for every node \
                 (docs/cost.md)",
                usage.nodes, usage.open
            ),
            Ceiling::NodeLimit => write!(
                f,
                "the account has {} hybrid nodes and {} open registrations, and NODE_LIMIT is {limit}: deregister nodes that \
                 are gone, delete activations, lower REGISTRATION_LIMIT, or raise the limit (more than 1,000 nodes need \
                 the advanced-instances tier, which charges by the hour for every node: docs/cost.md)",
                usage.nodes, usage.open
            ),
        }
    }
}

/// How many nodes the next activation of an agency registers. No more than a fair share of what the account may still
/// have, so that every agency gets one and another beside it when it is renewed, however many agencies there are. With `is_spare` the agency still has one that registers
/// nodes: one that would have to be renewed at once is not worth making then.
///
/// # Errors
/// The ceiling that is reached.
pub fn registrations(config: &Config, usage: Usage, is_spare: bool) -> Result<u32, Refusal> {
    let refuse = |ceiling, limit| Err(Refusal { ceiling, limit, usage });
    if usage.made_today >= config.renewals_per_day {
        return refuse(Ceiling::RenewalsPerDay, config.renewals_per_day);
    }
    let least = if is_spare { config.renew_below } else { 1 };
    let agency_room = config.agency_node_limit.saturating_sub(usage.agency_nodes).saturating_sub(usage.agency_open);
    if agency_room < least {
        return refuse(Ceiling::AgencyNodeLimit, config.agency_node_limit);
    }
    let limit = limit(config.node_limit, usage.tier);
    let room = limit.saturating_sub(usage.nodes).saturating_sub(usage.open);
    if room < least {
        let ceiling = if limit < config.node_limit { Ceiling::StandardTier } else { Ceiling::NodeLimit };
        return refuse(ceiling, limit);
    }
    let share = limit.saturating_sub(usage.nodes) / usage.agencies.max(1).saturating_mul(2);
    Ok(config.registration_limit.min(share.max(config.renew_below)).min(agency_room).min(room))
}

/// The registrations that activations have left: all together, and by agency.
pub fn open(activations: &BTreeMap<ActivationId, Activation>, now: Timestamp) -> (u32, BTreeMap<AccountId, u32>) {
    let (mut all, mut by_agency) = (0_u32, BTreeMap::new());
    let living = activations.values().filter(|activation| !activation.is_expired && activation.expiration_date > now);
    for activation in living {
        let left = activation.registrations_left();
        all = all.saturating_add(left);
        if let Some(agency) = &activation.agency {
            let sum: &mut u32 = by_agency.entry(agency.clone()).or_default();
            *sum = sum.saturating_add(left);
        }
    }
    (all, by_agency)
}

/// The activations made for an agency in the last 24 hours that are still there. One that was used stays for as long.
pub fn made_today(activations: &BTreeMap<ActivationId, Activation>, agency: &AccountId, now: Timestamp) -> u32 {
    let own = activations.values().filter(|activation| activation.agency.as_ref() == Some(agency));
    let since = now.unix_seconds() - SECONDS_PER_DAY;
    let today = own.filter(|activation| activation.created_date.is_some_and(|made| made.unix_seconds() > since));
    u32::try_from(today.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config(variables: &[(&str, &str)]) -> Config {
        let required = [
            ("MANAGER_FUNCTION_NAME", "f"),
            ("WRITER_ROLE_NAME", "r"),
            ("NODE_ROLE", "n"),
            ("PARAMETER_NAME", "/p"),
            ("AWS_REGION", "us-east-1"),
        ];
        let find = |name: &str| variables.iter().chain(&required).find(|(key, _)| *key == name);
        Config::from_lookup(|name| find(name).map(|(_, value)| (*value).to_owned())).unwrap()
    }

    fn check(usage: Usage, is_spare: bool, expected: Result<u32, Ceiling>) {
        let found = registrations(&config(&[]), usage, is_spare);
        assert_eq!(found.map_err(|refusal| refusal.ceiling), expected, "{usage:?}");
    }

    #[test]
    fn a_limit_fits_what_is_left() {
        let usage =
            Usage { nodes: 300, open: 200, agency_nodes: 100, agency_open: 20, agencies: 2, ..Usage::default() };
        check(usage, true, Ok(100));
        check(Usage { made_today: 24, ..usage }, false, Err(Ceiling::RenewalsPerDay));
        check(Usage { agency_nodes: 950, ..usage }, true, Ok(30));
        check(Usage { agency_nodes: 970, ..usage }, true, Err(Ceiling::AgencyNodeLimit));
        check(Usage { agency_nodes: 970, ..usage }, false, Ok(10));
        check(Usage { agency_nodes: 980, ..usage }, false, Err(Ceiling::AgencyNodeLimit));
        check(Usage { nodes: 750, ..usage }, true, Ok(50));
        check(Usage { nodes: 790, ..usage }, true, Err(Ceiling::NodeLimit));
        check(Usage { nodes: 790, ..usage }, false, Ok(10));
        check(Usage { nodes: u32::MAX, ..usage }, false, Err(Ceiling::NodeLimit));
    }

    #[test]
    fn an_agency_gets_a_fair_share_and_never_one_that_is_renewed_at_once() {
        let share = |agencies, nodes| registrations(&config(&[]), Usage { nodes, agencies, ..Usage::default() }, false);
        for (agencies, nodes, expected) in [
            (1, 0, 100),
            (5, 0, 100),
            (6, 0, 83),
            (11, 0, 45),
            (11, 500, 22),
            (11, 900, 20),
            (200, 0, 20),
            (11, 990, 10),
        ] {
            assert_eq!(share(agencies, nodes).ok(), Some(expected), "{agencies} agencies, {nodes} nodes");
        }
        let few = Usage { agencies: 6, tier: Some(Tier::Standard), ..Usage::default() };
        assert_eq!(registrations(&config(&[("NODE_LIMIT", "5000")]), few, false).ok(), Some(83), "the tier's limit");
    }

    #[test]
    fn the_standard_tier_is_a_limit_of_its_own() {
        let config = config(&[("NODE_LIMIT", "5000")]);
        let usage = |nodes, tier| Usage { nodes, tier: Some(tier), ..Usage::default() };
        let refused =
            |nodes, tier| registrations(&config, usage(nodes, tier), false).map_err(|refusal| refusal.ceiling);
        assert_eq!(refused(990, Tier::Standard), Ok(10));
        assert_eq!(refused(1000, Tier::Standard), Err(Ceiling::StandardTier));
        assert_eq!(refused(1000, Tier::Advanced), Ok(100));
        assert_eq!(refused(5000, Tier::Advanced), Err(Ceiling::NodeLimit));
    }

    proptest! {
        #[test]
        fn nothing_takes_agency_or_account_past_its_limit(
            nodes in 0..1500_u32, open in 0..1500_u32, agency_nodes in 0..1500_u32, agency_open in 0..1500_u32,
            made_today in 0..30_u32, agencies in 0..300_u32, is_spare: bool, limit in 20..=1000_u32,
        ) {
            let config = config(&[("REGISTRATION_LIMIT", &limit.to_string())]);
            let usage = Usage { nodes, tier: None, open, agency_nodes, agency_open, made_today, agencies };
            if let Ok(granted) = registrations(&config, usage, is_spare) {
                prop_assert!((1..=limit).contains(&granted));
                prop_assert!(granted <= config.renew_below || 2 * agencies * granted <= config.node_limit - nodes);
                prop_assert!(nodes + open + granted <= config.node_limit);
                prop_assert!(agency_nodes + agency_open + granted <= config.agency_node_limit);
            }
        }
    }
}
