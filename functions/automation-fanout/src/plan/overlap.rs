//! Accounts and Regions that two locations both reach.

use std::collections::{BTreeSet, HashMap};

use super::problem::{Path, Problem};
use super::request::{Target, TargetLocation, is_unit};

/// Keys whose only value is `*`: every resource, whatever it carries.
const EVERYTHING: [&str; 2] = ["InstanceIds", "AWS::EC2::Instance"];

/// With how many others a location is compared for a note, where nothing is refused.
const COMPARED_MAX: usize = 8;
const NOTES_MAX: usize = 20;

/// What a location works on, with values as sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Work {
    /// The runbook runs once, without a target.
    Untargeted,
    Everything,
    Targets(Vec<(String, BTreeSet<String>)>),
}

/// Refuses locations that would run the same thing in the same account and Region twice, and notes those of which it
/// cannot be known. Locations with different targets may share accounts: they work on different resources there, unless
/// a resource fits both.
///
/// `targets` are the request's, for locations without any of their own.
pub(super) fn overlaps(locations: &[TargetLocation], targets: &[Target]) -> (Vec<Problem>, Vec<String>) {
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    if locations.len() < 2 {
        return (problems, notes);
    }
    let works: Vec<Work> = locations
        .iter()
        .map(|location| work(if location.targets.is_empty() { targets } else { &location.targets }))
        .collect();
    let place = |at| Path::Root.field("TargetLocations").index(at).to_string();
    let mut told: BTreeSet<(usize, usize)> = BTreeSet::new();
    for (account, indices) in shared_accounts(locations) {
        let mut same: HashMap<(&str, &Work), usize> = HashMap::new();
        let mut others: HashMap<&str, Vec<usize>> = HashMap::new();
        for index in indices {
            let regions: BTreeSet<&str> = locations[index].regions.iter().map(String::as_str).collect();
            for region in regions {
                let earlier = *same.entry((region, &works[index])).or_insert(index);
                if earlier != index {
                    if told.insert((earlier, index)) {
                        let text = format!(
                            "expected accounts and Regions that no other location has, got {account} in {region}, \
                             which is in {} too",
                            place(earlier)
                        );
                        problems.push(Problem::new(place(index), text));
                    }
                    continue;
                }
                let others = others.entry(region).or_default();
                for earlier in others.iter().copied() {
                    if may_share(&works[earlier], &works[index]) && told.insert((earlier, index)) {
                        notes.push(format!(
                            "{} and {} both reach {account} in {region}: a resource that fits the targets of both gets \
                             the runbook twice",
                            place(earlier),
                            place(index)
                        ));
                    }
                }
                if others.len() < COMPARED_MAX {
                    others.push(index);
                }
            }
        }
    }
    notes.extend(hidden_by_units(locations, &works));
    if let Some(more_count) = notes.len().checked_sub(NOTES_MAX).filter(|count| *count > 0) {
        notes.truncate(NOTES_MAX);
        notes.push(format!("{more_count} more pairs of locations may reach the same resources"));
    }
    (problems, notes)
}

/// An account that is named may also be in a unit that is named, which the service alone knows.
fn hidden_by_units(locations: &[TargetLocation], works: &[Work]) -> Vec<String> {
    let mut notes = Vec::new();
    for (index, location) in locations.iter().enumerate().take(COMPARED_MAX) {
        let Some(unit) = location.accounts.iter().find(|account| is_unit(account)) else { continue };
        for (other, with) in locations.iter().enumerate().filter(|(other, _)| *other != index).take(COMPARED_MAX) {
            let region = location.regions.iter().find(|region| with.regions.contains(region));
            let is_told_already = other < index && with.accounts.iter().any(|account| is_unit(account));
            let Some(region) = region.filter(|_| !is_told_already) else { continue };
            if works[index] == works[other] || may_share(&works[index], &works[other]) {
                notes.push(format!(
                    "TargetLocations[{index}] names {unit}: an account in it that TargetLocations[{other}] reaches in \
                     {region} too gets the runbook twice"
                ));
            }
        }
    }
    notes
}

/// Accounts that several locations name, each set of locations once, with one account that stands for all of them.
fn shared_accounts(locations: &[TargetLocation]) -> Vec<(&str, Vec<usize>)> {
    let mut by_account: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, location) in locations.iter().enumerate() {
        for account in &location.accounts {
            let indices = by_account.entry(account).or_default();
            if indices.last() != Some(&index) {
                indices.push(index);
            }
        }
    }
    let order: HashMap<&str, usize> =
        locations.iter().flat_map(|location| &location.accounts).zip(0..).map(|(a, at)| (a.as_str(), at)).collect();
    let mut shared: Vec<(&str, Vec<usize>)> = by_account.into_iter().filter(|(_, indices)| indices.len() > 1).collect();
    shared.sort_by_key(|(account, _)| order.get(account));
    let mut seen = BTreeSet::new();
    shared.retain(|(_, indices)| seen.insert(indices.clone()));
    shared
}

fn work(targets: &[Target]) -> Work {
    let set = |target: &Target| (target.key.clone(), target.values.iter().cloned().collect::<BTreeSet<_>>());
    match targets {
        [] => Work::Untargeted,
        targets if targets.iter().any(is_everything) => Work::Everything,
        targets => {
            let mut sets: Vec<_> = targets.iter().map(set).collect();
            sets.sort();
            Work::Targets(sets)
        }
    }
}

fn is_everything(target: &Target) -> bool {
    EVERYTHING.contains(&target.key.as_str()) && target.values.iter().any(|value| value == "*")
}

/// Whether the same resource may fit both. Values of one key that have nothing in common never do, for a resource has
/// one value of a tag.
fn may_share(one: &Work, other: &Work) -> bool {
    match (one, other) {
        (Work::Untargeted, Work::Untargeted) => true,
        (Work::Untargeted, _) | (_, Work::Untargeted) => false,
        (Work::Everything, _) | (_, Work::Everything) => true,
        (Work::Targets(one), Work::Targets(other)) => one.iter().all(|(key, values)| {
            other.iter().all(|(other_key, other_values)| key != other_key || !values.is_disjoint(other_values))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(accounts: &[&str], regions: &[&str], key: &str, values: &[&str]) -> TargetLocation {
        let strings = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        let target = Target { key: key.to_owned(), values: strings(values) };
        TargetLocation {
            accounts: strings(accounts),
            regions: strings(regions),
            targets: vec![target],
            ..TargetLocation::default()
        }
    }

    #[test]
    fn two_locations_may_not_do_the_same_work() {
        let a = location(&["111111111111", "222222222222"], &["us-east-1"], "tag:Env", &["x"]);
        let b = location(&["222222222222", "111111111111"], &["us-west-2", "us-east-1"], "tag:Env", &["x"]);
        let problems: Vec<String> = overlaps(&[a.clone(), b], &[]).0.iter().map(Problem::to_string).collect();
        assert_eq!(
            problems,
            ["TargetLocations[1]: expected accounts and Regions that no other location has, got 222222222222 in \
              us-east-1, which is in TargetLocations[0] too"]
        );
        let elsewhere = location(&["111111111111"], &["us-west-2"], "tag:Env", &["x"]);
        assert_eq!(overlaps(&[a.clone(), elsewhere], &[]), (vec![], vec![]));
        let same_by_default = TargetLocation { targets: Vec::new(), ..a.clone() };
        assert_eq!(overlaps(&[a.clone(), same_by_default], &a.targets).0.len(), 1);
    }

    #[test]
    fn what_is_the_same_work_follows_from_the_meaning_of_the_targets() {
        let check = |one: (&str, &[&str]), other: (&str, &[&str]), problems: usize, notes: usize| {
            let of = |(key, values)| location(&["111111111111"], &["us-east-1"], key, values);
            let got = overlaps(&[of(one), of(other)], &[]);
            assert_eq!((got.0.len(), got.1.len()), (problems, notes), "{one:?} {other:?}: {got:?}");
        };
        check(("tag:Env", &["a", "b"]), ("tag:Env", &["b", "a"]), 1, 0);
        check(("tag:Env", &["a", "a"]), ("tag:Env", &["a"]), 1, 0);
        check(("tag:Env", &["a", "b"]), ("tag:Env", &["b", "c"]), 0, 1);
        check(("tag:Env", &["a"]), ("tag:Env", &["b"]), 0, 0);
        check(("tag:Env", &["a"]), ("tag:Role", &["a"]), 0, 1);
        check(("InstanceIds", &["*"]), ("AWS::EC2::Instance", &["*"]), 1, 0);
        check(("InstanceIds", &["*"]), ("tag:Env", &["a"]), 0, 1);
        check(("ParameterValues", &["i-1", "i-2"]), ("ParameterValues", &["i-3"]), 0, 0);
        check(("ParameterValues", &["i-1", "i-2"]), ("ParameterValues", &["i-2"]), 0, 1);
    }
}
