//! Accounts and Regions that two locations both reach.

use std::collections::{BTreeSet, HashMap};

use crate::problem::{Path, Problem};
use crate::request::{Target, TargetLocation};

/// Refuses locations that would run the same thing in the same account and Region twice. Locations with
/// different targets may share accounts: they work on different resources there.
///
/// `targets` are the request's, for locations without any of their own.
pub(super) fn overlaps(locations: &[TargetLocation], targets: &[Target]) -> Vec<Problem> {
    type Reach<'a> = (&'a str, &'a str, &'a [Target]);
    let mut first: HashMap<Reach<'_>, usize> = HashMap::new();
    let mut told = BTreeSet::new();
    let mut problems = Vec::new();
    if locations.len() < 2 {
        return problems;
    }
    for (index, location) in locations.iter().enumerate() {
        let targets = if location.targets.is_empty() { targets } else { &location.targets };
        for account in &location.accounts {
            for region in &location.regions {
                let earlier = *first.entry((account, region, targets)).or_insert(index);
                if earlier != index && told.insert((earlier, index)) {
                    let member = Path::Root.field("TargetLocations");
                    problems.push(Problem::new(
                        member.index(index),
                        format!(
                            "expected accounts and Regions that no other location has, got {account} in {region}, \
                             which is in {} too",
                            member.index(earlier)
                        ),
                    ));
                }
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(accounts: &[&str], regions: &[&str], tag: &str) -> TargetLocation {
        let strings = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        let target = Target { key: tag.to_owned(), values: vec!["x".to_owned()] };
        TargetLocation {
            accounts: strings(accounts),
            regions: strings(regions),
            targets: vec![target],
            ..TargetLocation::default()
        }
    }

    #[test]
    fn two_locations_may_not_do_the_same_work() {
        let a = location(&["111111111111", "222222222222"], &["us-east-1"], "tag:Env");
        let b = location(&["222222222222", "111111111111"], &["us-west-2", "us-east-1"], "tag:Env");
        let problems: Vec<String> = overlaps(&[a.clone(), b], &[]).iter().map(Problem::to_string).collect();
        assert_eq!(
            problems,
            ["TargetLocations[1]: expected accounts and Regions that no other location has, got 222222222222 in \
              us-east-1, which is in TargetLocations[0] too"]
        );
        let elsewhere = location(&["111111111111"], &["us-west-2"], "tag:Env");
        let other_work = location(&["111111111111"], &["us-east-1"], "tag:Role");
        assert_eq!(overlaps(&[a.clone(), elsewhere, other_work], &[]), []);
        let same_by_default = TargetLocation { targets: Vec::new(), ..a.clone() };
        assert_eq!(overlaps(&[a.clone(), same_by_default], &a.targets).len(), 1);
    }
}
