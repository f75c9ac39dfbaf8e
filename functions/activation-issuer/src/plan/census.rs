//! The nodes of the account: how many there are, whose they are, in which tier, and when they will be too many.

use std::collections::BTreeMap;

use hub::{AccountId, Timestamp};
use serde::Serialize;

use super::SECONDS_PER_DAY;

/// The hybrid nodes of the central account and Region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// All of them, also those that no agency's activation registered.
    pub total: u32,
    /// Those that registered since the time that was asked about.
    pub new: u32,
    /// Those that an activation of a hub registered, by agency.
    pub by_agency: BTreeMap<AccountId, u32>,
}

/// The hybrid nodes that the standard-instances tier includes, in each account and Region:
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/fleet-manager-configure-instance-tiers.html>.
pub const STANDARD_TIER_NODES: u32 = 1000;

/// The days that a forecast looks back over.
pub const FORECAST_DAYS: u32 = 30;

/// The instance tier of an account and Region. It is one for all nodes: with the advanced tier each of them is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Up to 1,000 hybrid nodes, without a charge.
    Standard,
    /// Any number, charged by the hour and node.
    Advanced,
}

/// The count of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Census {
    /// The hybrid nodes of the account and Region.
    pub nodes: u32,
    /// Their tier, if it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// How many there may be: `NODE_LIMIT`, or what the tier takes if that is less.
    pub limit: u32,
    /// The share of the limit, in whole percent. It may be over 100, if the limit was lowered.
    pub percent: u32,
    /// The nodes that registered in the last 30 days and are still there.
    pub new_in_30_days: u32,
    /// In how many days the limit is reached at the earliest, if nodes keep coming at that pace and none goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_to_limit: Option<u32>,
    /// The nodes of each agency.
    pub by_agency: BTreeMap<AccountId, u32>,
    /// The nodes that no activation of a hub registered.
    pub others: u32,
}

/// How many nodes the account may have: in the standard tier Systems Manager takes no more than 1,000.
pub fn limit(node_limit: u32, tier: Option<Tier>) -> u32 {
    match tier {
        Some(Tier::Standard) => node_limit.min(STANDARD_TIER_NODES),
        Some(Tier::Advanced) | None => node_limit,
    }
}

/// Since when a node counts as new.
pub fn new_since(now: Timestamp) -> Timestamp {
    Timestamp::from_unix_seconds(now.unix_seconds() - i64::from(FORECAST_DAYS) * SECONDS_PER_DAY)
}

/// Counts.
pub fn census(counts: &NodeCounts, node_limit: u32, tier: Option<Tier>) -> Census {
    let limit = limit(node_limit, tier);
    let room = u64::from(limit.saturating_sub(counts.total));
    let days_to_limit =
        (room * u64::from(FORECAST_DAYS)).checked_div(u64::from(counts.new)).or((room == 0).then_some(0));
    let percent = u64::from(counts.total) * 100 / u64::from(limit.max(1));
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Census {
        nodes: counts.total,
        tier,
        limit,
        percent: narrow(percent),
        new_in_30_days: counts.new,
        days_to_limit: days_to_limit.map(narrow),
        by_agency: counts.by_agency.clone(),
        others: counts.total.saturating_sub(counts.by_agency.values().sum()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(total: u32, new: u32) -> NodeCounts {
        NodeCounts { total, new, by_agency: BTreeMap::new() }
    }

    fn check(total: u32, new: u32, limit: u32, tier: Option<Tier>, expected: (u32, u32, Option<u32>)) {
        let found = census(&counts(total, new), limit, tier);
        let what = format!("{total} nodes, {new} of them new, limit {limit}, {tier:?}");
        assert_eq!((found.limit, found.percent, found.days_to_limit), expected, "{what}");
    }

    #[test]
    fn the_forecast_is_the_earliest_day() {
        let standard = Some(Tier::Standard);
        check(400, 60, 1000, standard, (1000, 40, Some(300)));
        check(400, 0, 1000, standard, (1000, 40, None));
        check(0, 0, 1000, None, (1000, 0, None));
        // It was lowered below what is there.
        check(400, 1, 100, standard, (100, 400, Some(0)));
        check(400, 0, 400, standard, (400, 100, Some(0)));
        check(999, 3000, 1000, None, (1000, 99, Some(0)));
    }

    #[test]
    fn in_the_standard_tier_a_higher_limit_means_nothing() {
        check(950, 100, 5000, Some(Tier::Standard), (1000, 95, Some(15)));
        check(950, 100, 5000, Some(Tier::Advanced), (5000, 19, Some(1215)));
        // What cannot be read stops nobody.
        check(950, 100, 5000, None, (5000, 19, Some(1215)));
    }

    #[test]
    fn nodes_of_nobody_are_counted_too() {
        let by_agency = BTreeMap::from([("222222222222".parse().unwrap(), 3), ("333333333333".parse().unwrap(), 4)]);
        let found = census(&NodeCounts { total: 9, new: 0, by_agency }, 1000, None);
        assert_eq!((found.others, found.by_agency.len()), (2, 2));
    }

    proptest! {
        #[test]
        fn more_nodes_are_never_less_urgent(total in 0..3000_u32, more in 0..100_u32, new in 1..1000_u32, limit in 1..3000_u32) {
            let [few, many] = [total, total + more].map(|total| census(&counts(total, new), limit, None));
            prop_assert!(few.percent <= many.percent);
            prop_assert!(few.days_to_limit >= many.days_to_limit);
        }
    }
}
