//! Accounts and Regions that two locations both reach.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::problem::{Path, Problem};
use super::request::{PARAMETER_VALUES, Target, TargetLocation, is_unit};

/// Keys whose only value is `*`: every resource, whatever it carries.
const EVERYTHING: [&str; 2] = ["InstanceIds", "AWS::EC2::Instance"];

/// With how many others a location is compared for a note, where nothing is refused.
const COMPARED_MAX: usize = 8;
/// How many accounts and units are compared with the units of other locations.
const UNITS_COMPARED_MAX: usize = 10_000_000;
const NOTES_MAX: usize = 20;

/// What a location works on, with values as sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Work {
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
    let mut are_all_compared = true;
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
                } else {
                    are_all_compared = false;
                }
            }
        }
    }
    let reaches: Vec<Reach<'_>> =
        locations.iter().zip(&works).map(|(location, work)| Reach { location, work }).collect();
    let through_units = through_units(&reaches, |_, _| true);
    for Shared { unit, item, with, of, region, is_certain } in through_units.shared {
        let (place, other) = (place(of), place(with));
        if is_certain && works[of] == works[with] {
            let text = format!(
                "expected accounts that are in no other unit, got {item}, which is in {unit} of {place} too, both in {region}"
            );
            problems.push(Problem::new(other, text));
        } else if of == with {
            notes.push(format!(
                "{place} names {unit} and {item}: if the one holds the other, accounts get the runbook twice in {region}"
            ));
        } else {
            notes.push(format!(
                "{place} names {unit}: an account in it that {other} reaches in {region} too gets the runbook twice, such \
                 as {item}; name it in ExcludeAccounts of {place} if it may be in {unit}"
            ));
        }
    }
    if let Some(more_count) = notes.len().checked_sub(NOTES_MAX).filter(|count| *count > 0) {
        notes.truncate(NOTES_MAX);
        notes.push(format!("{more_count} more pairs of locations may reach the same resources"));
    }
    if !(are_all_compared && through_units.is_complete) {
        notes.push("TargetLocations: more locations may reach the same resources than are compared here".to_owned());
    }
    (problems, notes)
}

/// A location, or a part of one, with what is run there.
pub(super) struct Reach<'a> {
    pub(super) location: &'a TargetLocation,
    pub(super) work: &'a Work,
}

/// What a location names, and may reach through a unit of another.
pub(super) struct Shared<'a> {
    pub(super) unit: &'a str,
    pub(super) item: &'a str,
    /// The location with the unit.
    pub(super) of: usize,
    /// The location with the item.
    pub(super) with: usize,
    pub(super) region: &'a str,
    /// Whether the unit holds it for certain.
    pub(super) is_certain: bool,
}

/// What was found, each two locations once.
pub(super) struct ThroughUnits<'a> {
    pub(super) shared: Vec<Shared<'a>>,
    /// Whether all was compared.
    pub(super) is_complete: bool,
}

/// An account that is named may also be in a unit that is named, which the service alone knows. `may_meet` says whether two
/// locations are compared.
pub(super) fn through_units<'a>(reaches: &[Reach<'a>], may_meet: impl Fn(usize, usize) -> bool) -> ThroughUnits<'a> {
    let mut shared: Vec<Shared<'a>> = Vec::new();
    // Whether it is certain what was found of two locations.
    let mut told: BTreeMap<(usize, usize), bool> = BTreeMap::new();
    let mut left = UNITS_COMPARED_MAX;
    for (of, Reach { location, work }) in reaches.iter().enumerate() {
        let units: Vec<&'a str> = location.reached().map(String::as_str).filter(|item| is_unit(item)).collect();
        if units.is_empty() {
            continue;
        }
        let left_out: HashSet<&str> = location.exclude_accounts.iter().map(String::as_str).collect();
        for (with, other) in reaches.iter().enumerate().filter(|(with, _)| may_meet(of, *with)) {
            let region = location.regions.iter().find(|region| other.location.regions.contains(region));
            let is_same_place = *work == other.work || may_share(work, other.work);
            let size = if region.is_some() { 1 + units.len() * other.location.accounts.len() } else { 1 };
            let Some(rest) = left.checked_sub(size) else { return ThroughUnits { shared, is_complete: false } };
            left = rest;
            let Some(region) = region.filter(|_| is_same_place && told.get(&(with, of)) != Some(&true)) else {
                continue;
            };
            let held = |wanted: Holds| {
                let items = other.location.reached().map(String::as_str);
                let mut pairs = items.flat_map(|item| units.iter().map(move |unit| (*unit, item)));
                pairs.find(|(unit, item)| holds(location, &left_out, unit, item) == wanted)
            };
            let surely = held(Holds::Surely);
            let perhaps = || held(Holds::Perhaps).filter(|_| !told.contains_key(&(with, of)));
            if let Some((unit, item)) = surely.or_else(perhaps) {
                told.insert((of, with), surely.is_some());
                shared.push(Shared { unit, item, of, with, region, is_certain: surely.is_some() });
            }
        }
    }
    ThroughUnits { shared, is_complete: true }
}

/// Whether a unit holds what another location names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    No,
    Perhaps,
    Surely,
}

/// Whether a unit of a location holds an account, or the accounts of another unit. An account is in one unit alone, so that
/// two units share accounts only where those below them count too.
fn holds(location: &TargetLocation, left_out: &HashSet<&str>, unit: &str, item: &str) -> Holds {
    if left_out.contains(item) || unit == item {
        return Holds::No;
    }
    if !is_unit(item) {
        return Holds::Perhaps;
    }
    let is_root = |unit: &str| unit.starts_with("r-");
    if is_root(item) || !location.include_child_organization_units || root_of(unit) != root_of(item) {
        return Holds::No;
    }
    // A unit that is left out may be above this one.
    if is_root(unit) && !left_out.iter().any(|left_out| is_unit(left_out)) { Holds::Surely } else { Holds::Perhaps }
}

/// The part of a unit's id that is its root's: `r-ROOT`, `ou-ROOT-UNIT`.
fn root_of(unit: &str) -> Option<&str> {
    unit.split('-').nth(1)
}

/// Accounts that several locations name, each set of locations once, with one account that stands for all of them.
fn shared_accounts(locations: &[TargetLocation]) -> Vec<(&str, Vec<usize>)> {
    let mut by_account: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, location) in locations.iter().enumerate() {
        for account in location.reached() {
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

pub(super) fn work(targets: &[Target]) -> Work {
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

/// Whether the same resource may fit both. Other values of a tag never do, for a resource has one, and neither do other
/// resources by name; but a resource may be in several groups, and have several tags.
fn may_share(one: &Work, other: &Work) -> bool {
    match (one, other) {
        (Work::Untargeted, Work::Untargeted) => true,
        (Work::Untargeted, _) | (_, Work::Untargeted) => false,
        (Work::Everything, _) | (_, Work::Everything) => true,
        (Work::Targets(one), Work::Targets(other)) => one.iter().all(|(key, values)| {
            let is_exclusive = key.starts_with("tag:") || key == PARAMETER_VALUES;
            let mut same_key = other.iter().filter(|(other_key, _)| is_exclusive && key == other_key);
            same_key.all(|(_, other_values)| !values.is_disjoint(other_values))
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

    fn plain(accounts: &[&str]) -> TargetLocation {
        TargetLocation { targets: Vec::new(), ..location(accounts, &["us-east-1"], "tag:Env", &["x"]) }
    }

    #[test]
    fn what_a_unit_may_hold_is_told_and_what_it_holds_for_certain_is_refused() {
        const UNIT: &str = "ou-ab12-cdefghij";
        const ACCOUNT: &str = "111111111111";
        let check = |locations: &[TargetLocation], problems: usize, notes: usize| {
            let got = overlaps(locations, &[]);
            assert_eq!((got.0.len(), got.1.len()), (problems, notes), "{locations:#?}: {got:#?}");
            got
        };
        let with_children =
            |accounts: &[&str]| TargetLocation { include_child_organization_units: true, ..plain(accounts) };
        let without = |location: TargetLocation, items: &[&str]| TargetLocation {
            exclude_accounts: items.iter().map(|item| (*item).to_owned()).collect(),
            ..location
        };
        let (_, notes) = check(&[plain(&[UNIT]), plain(&[ACCOUNT])], 0, 1);
        assert_eq!(
            notes[0],
            "TargetLocations[0] names ou-ab12-cdefghij: an account in it that TargetLocations[1] reaches in us-east-1 too \
             gets the runbook twice, such as 111111111111; name it in ExcludeAccounts of TargetLocations[0] if it may be in \
             ou-ab12-cdefghij"
        );
        check(&[without(plain(&[UNIT]), &[ACCOUNT]), plain(&[ACCOUNT])], 0, 0);
        check(&[plain(&[ACCOUNT]), plain(&[UNIT])], 0, 1);
        // Within one location too.
        let (_, notes) = check(&[plain(&[UNIT, ACCOUNT])], 0, 1);
        assert_eq!(
            notes[0],
            "TargetLocations[0] names ou-ab12-cdefghij and 111111111111: if the one holds the other, accounts get the \
             runbook twice in us-east-1"
        );
        check(&[plain(&[UNIT]), plain(&["ou-ab12-zzzzzzzz"])], 0, 0);
        check(&[with_children(&[UNIT]), plain(&["ou-ab12-zzzzzzzz"])], 0, 1);
        check(&[with_children(&[UNIT]), plain(&["ou-cd34-zzzzzzzz"])], 0, 0);
        check(&[with_children(&["r-ab12"]), plain(&[UNIT])], 1, 0);
        check(&[plain(&[UNIT]), with_children(&["r-ab12"])], 1, 0);
        check(&[with_children(&["r-ab12", UNIT])], 1, 0);
        // What is certain is refused, whatever else may be.
        check(&[plain(&[UNIT]), with_children(&["r-ab12", ACCOUNT])], 1, 2);
        check(&[with_children(&["r-ab12", ACCOUNT]), plain(&[UNIT])], 1, 1);
        check(&[plain(&["r-ab12", UNIT])], 0, 0);
        check(&[without(with_children(&["r-ab12"]), &[UNIT]), plain(&[UNIT])], 0, 0);
        check(&[without(with_children(&["r-ab12"]), &["ou-ab12-zzzzzzzz"]), plain(&[UNIT])], 0, 1);
    }

    #[test]
    fn what_comes_late_in_a_long_request_is_told_too() {
        let far = |n: usize| plain(&[&format!("{n:012}")]);
        let mut locations: Vec<TargetLocation> = (0..30).map(far).collect();
        locations[29].regions = vec!["us-west-2".to_owned()];
        let unit = TargetLocation { regions: vec!["us-west-2".to_owned()], ..plain(&["ou-ab12-cdefghij"]) };
        locations.push(unit);
        let (problems, notes) = overlaps(&locations, &[]);
        assert!(
            problems.is_empty() && notes.len() == 1 && notes[0].contains("that TargetLocations[29] reaches"),
            "{notes:?}"
        );
        // Of many locations in one place with different targets, not all are compared, which is told.
        let different = |n: usize| location(&["111111111111"], &["us-east-1"], &format!("tag:K{n}"), &["x"]);
        let (_, notes) = overlaps(&(0..12).map(different).collect::<Vec<_>>(), &[]);
        assert!(notes.last().unwrap().contains("more locations may reach the same"), "{notes:?}");
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
        // A resource may be in several groups, and have several tags.
        for key in ["ResourceGroup", "resource-groups:Name", "tag-key", "a-new-key"] {
            check((key, &["a"]), (key, &["b"]), 0, 1);
        }
    }
}
