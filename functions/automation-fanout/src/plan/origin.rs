//! Which location of its request an account and Region of an execution belongs to.
//!
//! Locations with different targets may share accounts and Regions. A location reaches each of them once, so that each step
//! there belongs to a location of its own. The service may tell the settings of a step's location, or only where it is.

use std::collections::{HashMap, HashSet};

use super::execution::Step;
use super::limit::Limit;
use super::request::TargetLocation;
use super::split::{DEFAULT_CONCURRENCY, DEFAULT_ERRORS};

/// The location of a request that an account and Region belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This one.
    Location(usize),
    /// One of these, which differ in their settings.
    OneOf(Vec<usize>),
    /// None that the request names.
    Unknown,
}

impl Origin {
    /// The location, where it is known.
    pub fn location(&self) -> Option<usize> {
        match self {
            Self::Location(index) => Some(*index),
            Self::OneOf(_) | Self::Unknown => None,
        }
    }
}

/// The locations of a request, by what they reach.
pub(super) struct Origins<'a> {
    locations: &'a [TargetLocation],
    by_account: HashMap<&'a str, Vec<usize>>,
    /// Those with organizational units, and the accounts that each leaves out.
    with_units: Vec<(usize, HashSet<&'a str>)>,
}

impl<'a> Origins<'a> {
    pub(super) fn new(locations: &'a [TargetLocation]) -> Self {
        let mut by_account: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut with_units = Vec::new();
        for (index, location) in locations.iter().enumerate() {
            for account in location.reached() {
                let indices = by_account.entry(account).or_default();
                if indices.last() != Some(&index) {
                    indices.push(index);
                }
            }
            if location.reaches_unit() {
                with_units.push((index, location.exclude_accounts.iter().map(String::as_str).collect()));
            }
        }
        Self { locations, by_account, with_units }
    }

    /// Where each step of an account and Region belongs to, and what was named there and has no step.
    pub(super) fn of_steps(&self, account: &str, region: &str, steps: &[&Step]) -> (Vec<Origin>, Vec<Origin>) {
        let has_region = |index: &usize| self.locations[*index].regions.iter().any(|one| one == region);
        let by_account = self.by_account.get(account).map(Vec::as_slice).unwrap_or_default();
        let named: Vec<usize> = by_account.iter().copied().filter(has_region).collect();
        let held = self.with_units.iter().filter(|(_, left_out)| !left_out.contains(account)).map(|(index, _)| *index);
        let held: Vec<usize> = held.filter(|index| has_region(index) && !named.contains(index)).collect();
        let all: Vec<usize> = named.iter().chain(&held).copied().collect();
        let mut options: Vec<Vec<usize>> = steps.iter().map(|step| self.told(step, &all)).collect();
        tell_apart(&mut options);
        let mut taken: HashSet<usize> = HashSet::new();
        let mut origins: Vec<Origin> = Vec::new();
        for options in options {
            let free: Vec<usize> = options.iter().copied().filter(|index| !taken.contains(index)).collect();
            let options = if free.is_empty() { options } else { free };
            let origin = self.one(&options, &named);
            taken.extend(origin.location());
            origins.push(origin);
        }
        let left: Vec<usize> = named.iter().copied().filter(|index| !taken.contains(index)).collect();
        let unsure: Vec<&Vec<usize>> = origins
            .iter()
            .filter_map(|origin| match origin {
                Origin::OneOf(indices) => Some(indices),
                _ => None,
            })
            .collect();
        if unsure.is_empty() {
            return (origins, left.into_iter().map(Origin::Location).collect());
        }
        // A step that may be of a unit's location is not known to be of one that is named.
        let of_named = unsure.iter().filter(|indices| indices.iter().all(|index| named.contains(index))).count();
        let left = vec![Origin::OneOf(left.clone()); left.len().saturating_sub(of_named)];
        (origins, left)
    }

    /// Those of these locations that fit what a step tells of its own; all where it tells nothing that decides.
    fn told(&self, step: &Step, all: &[usize]) -> Vec<usize> {
        let Some(told) = step.target_location.as_ref().filter(|_| all.len() > 1) else { return all.to_vec() };
        let fits = |index: &usize| fits(told, &self.locations[*index]);
        let fitting: Vec<usize> = all.iter().copied().filter(fits).collect();
        if fitting.is_empty() { all.to_vec() } else { fitting }
    }

    /// One location where the settings of all are the same. Accounts of units may be of several parts of one location,
    /// which share its limits: the least of them is on the safe side.
    fn one(&self, options: &[usize], named: &[usize]) -> Origin {
        let Some(first) = options.first() else { return Origin::Unknown };
        let same = |settings: fn(&TargetLocation) -> TargetLocation| {
            options.iter().all(|index| settings(&self.locations[*index]) == settings(&self.locations[*first]))
        };
        if same(settings) {
            return Origin::Location(*first);
        }
        let is_held = options.iter().all(|index| !named.contains(index));
        if is_held && same(|location| without_limits(settings(location))) {
            let least = |index: &&usize| limit_size(self.locations[**index].target_location_max_concurrency);
            return Origin::Location(*options.iter().min_by_key(least).unwrap_or(first));
        }
        Origin::OneOf(options.to_vec())
    }
}

/// A location that one step alone can be of is no other step's.
fn tell_apart(options: &mut [Vec<usize>]) {
    let mut settled: HashSet<usize> = HashSet::new();
    while let Some(step) = (0..options.len()).find(|step| options[*step].len() == 1 && !settled.contains(step)) {
        settled.insert(step);
        let location = options[step][0];
        for other in options.iter_mut().filter(|other| other.len() > 1) {
            other.retain(|index| *index != location);
        }
    }
}

/// What a location runs with, without where.
pub(super) fn settings(location: &TargetLocation) -> TargetLocation {
    TargetLocation {
        accounts: Vec::new(),
        regions: Vec::new(),
        include_child_organization_units: false,
        exclude_accounts: Vec::new(),
        ..location.clone()
    }
}

pub(super) fn without_limits(location: TargetLocation) -> TargetLocation {
    TargetLocation { target_location_max_concurrency: None, target_location_max_errors: None, ..location }
}

fn limit_size(limit: Option<Limit>) -> u32 {
    match limit.unwrap_or(DEFAULT_CONCURRENCY) {
        Limit::Count(count) => count,
        Limit::Percent(percent) => u32::from(percent),
    }
}

/// Whether what a step tells of its location fits one of the request. What it does not tell fits all: the service may leave
/// out anything.
fn fits(told: &TargetLocation, location: &TargetLocation) -> bool {
    fn same<T: PartialEq>(told: Option<T>, given: Option<T>, default: Option<T>) -> bool {
        told.is_none_or(|told| given.or(default) == Some(told))
    }
    let role = |location: &TargetLocation| location.execution_role_name.clone();
    let default_role = Some(TargetLocation::default().execution_role().to_owned());
    same(role(told), role(location), default_role)
        && (told.targets.is_empty() || told.targets == location.targets)
        && same(
            told.target_location_max_concurrency,
            location.target_location_max_concurrency,
            Some(DEFAULT_CONCURRENCY),
        )
        && same(told.target_location_max_errors, location.target_location_max_errors, Some(DEFAULT_ERRORS))
        && same(told.targets_max_concurrency, location.targets_max_concurrency, None)
        && same(told.targets_max_errors, location.targets_max_errors, None)
        && same(
            told.target_location_alarm_configuration.as_ref(),
            location.target_location_alarm_configuration.as_ref(),
            None,
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::request::Target;

    const ACCOUNT: &str = "111111111111";
    const REGION: &str = "us-east-1";

    fn location(account: &str, role: Option<&str>, value: Option<&str>) -> TargetLocation {
        let target = |value: &str| Target { key: "tag:Env".to_owned(), values: vec![value.to_owned()] };
        TargetLocation {
            accounts: vec![account.to_owned()],
            regions: vec![REGION.to_owned()],
            execution_role_name: role.map(str::to_owned),
            targets: value.map(target).into_iter().collect(),
            ..TargetLocation::default()
        }
    }

    fn named(role: Option<&str>, value: Option<&str>) -> TargetLocation {
        location(ACCOUNT, role, value)
    }

    fn unit(concurrency: u32) -> TargetLocation {
        let limit = Some(Limit::Count(concurrency));
        TargetLocation { target_location_max_concurrency: limit, ..location("ou-ab12-cdefghij", None, None) }
    }

    /// The origins of steps that tell these locations, and of what has no step.
    fn check(locations: &[TargetLocation], told: &[&TargetLocation], steps: &[Origin], left: &[Origin]) {
        let step = |told: &&TargetLocation| Step { target_location: Some((*told).clone()), ..Step::default() };
        let all: Vec<Step> = told.iter().map(step).collect();
        let got = Origins::new(locations).of_steps(ACCOUNT, REGION, &all.iter().collect::<Vec<_>>());
        assert_eq!(got, (steps.to_vec(), left.to_vec()), "{locations:#?} {told:#?}");
    }

    #[test]
    fn a_step_is_of_the_location_whose_settings_it_tells() {
        let nothing = named(None, None);
        let one = Origin::Location;
        let either = || Origin::OneOf(vec![0, 1]);
        // One location needs no telling.
        check(&[named(Some("A"), None)], &[&nothing], &[one(0)], &[]);
        check(&[named(Some("A"), None)], &[], &[], &[one(0)]);
        // By the role, by the targets, and by what one has and the other has not.
        let roles = [named(Some("A"), None), named(Some("B"), None)];
        check(&roles, &[&named(Some("B"), None)], &[one(1)], &[one(0)]);
        check(&roles, &[&named(Some("B"), None), &nothing], &[one(1), one(0)], &[]);
        check(&roles, &[&nothing], &[either()], &[Origin::OneOf(vec![0, 1])]);
        check(&roles, &[&nothing, &nothing], &[either(), either()], &[]);
        let values = [named(Some("A"), Some("x")), named(Some("A"), Some("y"))];
        check(&values, &[&named(None, Some("y"))], &[one(1)], &[one(0)]);
        check(&values, &[&named(Some("A"), None)], &[either()], &[Origin::OneOf(vec![0, 1])]);
        let by_lack = [named(None, Some("x")), named(Some("A"), None)];
        check(&by_lack, &[&named(Some("A"), None)], &[one(1)], &[one(0)]);
        let not_by_lack = [named(Some("A"), None), named(Some("A"), Some("x"))];
        check(&not_by_lack, &[&named(Some("A"), None)], &[either()], &[Origin::OneOf(vec![0, 1])]);
        check(&not_by_lack, &[&named(None, Some("x")), &named(Some("A"), None)], &[one(1), one(0)], &[]);
        // The same settings twice are the same work twice.
        let twice = [named(Some("A"), None), named(Some("A"), None)];
        check(&twice, &[&nothing], &[one(0)], &[one(1)]);
    }

    #[test]
    fn an_account_may_be_in_a_unit() {
        let nothing = named(None, None);
        let one = Origin::Location;
        check(&[unit(3)], &[&nothing], &[one(0)], &[]);
        check(&[unit(4), unit(3)], &[&nothing], &[one(1)], &[]);
        check(&[unit(4), unit(3)], &[&unit(4)], &[one(0)], &[]);
        let both = [named(Some("A"), None), unit(3)];
        check(&both, &[&named(Some("A"), None)], &[one(0)], &[]);
        check(&both, &[&unit(3)], &[one(1)], &[one(0)]);
        check(&both, &[&nothing], &[Origin::OneOf(vec![0, 1])], &[Origin::OneOf(vec![0])]);
        let left_out = TargetLocation { exclude_accounts: vec![ACCOUNT.to_owned()], ..unit(3) };
        check(&[named(Some("A"), None), left_out], &[&nothing], &[one(0)], &[]);
        check(&[], &[&nothing], &[Origin::Unknown], &[]);
    }
}
