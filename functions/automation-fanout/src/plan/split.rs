//! Splitting locations to what the API takes, with the caller's limits kept over the parts.

use std::collections::HashSet;

use super::limit::Limit;
use super::nodes::{VALUES_MAX, each_once, group_sizes, limits};
use super::overlap::overlaps;
use super::problem::{Path, Problem};
use super::request::{PARAMETER_VALUES, StartRequest, TargetLocation};
use super::share::{evenly, share};

/// `Accounts` takes at most 50 items:
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_TargetLocation.html>.
pub const ACCOUNTS_MAX: usize = 50;
/// `Regions` takes at most 50 items.
pub const REGIONS_MAX: usize = 50;

/// The service's own defaults, written out so that what runs is what is seen.
pub(super) const DEFAULT_CONCURRENCY: Limit = Limit::Count(1);
pub(super) const DEFAULT_ERRORS: Limit = Limit::Count(0);

/// How many parts of locations there may be: a hundred starts, which take a hundred seconds.
const PARTS_MAX: usize = 100 * super::LOCATIONS_MAX;

/// The locations of a request, split to what the API takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// The parts of all locations, for each group of values that the targets are split into. Locations with targets of
    /// their own are in the first group alone.
    pub groups: Vec<Vec<TargetLocation>>,
    /// How the locations were read.
    pub notes: Vec<String>,
}

/// Splits all locations of a request.
///
/// # Errors
/// All problems: too many parts, limits that cannot be shared over them, locations that leave out all that they name,
/// values that no location uses, and accounts and Regions that come twice.
pub fn split(request: &StartRequest) -> Result<Split, Vec<Problem>> {
    let (overlaps, notes) = overlaps(&request.target_locations, &request.targets);
    match split_alone(request) {
        Ok(split) if overlaps.is_empty() => {
            Ok(Split { notes: split.notes.into_iter().chain(notes).collect(), ..split })
        }
        Ok(_) => Err(overlaps),
        Err(problems) => Err(problems.into_iter().chain(overlaps).collect()),
    }
}

/// Splits all locations of a request, whatever they have in common.
///
/// # Errors
/// See [`split`].
pub fn split_alone(request: &StartRequest) -> Result<Split, Vec<Problem>> {
    let member = Path::Root.field("TargetLocations");
    let group_sizes = group_sizes(request);
    let group_count = group_sizes.len();
    let copies = |location: &TargetLocation| if location.targets.is_empty() { group_count } else { 1 };
    let counts = request.target_locations.iter().map(|location| {
        let areas =
            location.accounts.len().div_ceil(ACCOUNTS_MAX).saturating_mul(location.regions.len().div_ceil(REGIONS_MAX));
        areas.saturating_mul(copies(location))
    });
    let part_count = counts.fold(0, usize::saturating_add);
    if part_count > PARTS_MAX {
        let text = format!(
            "expected at most {PARTS_MAX} groups of {ACCOUNTS_MAX} accounts and {REGIONS_MAX} Regions, got {part_count}; \
             give the accounts in several requests, each with a key of its own"
        );
        return Err(vec![Problem::new(member, text)]);
    }
    let mut problems: Vec<Problem> = unused_values(request, group_count).into_iter().collect();
    let mut all = Split::default();
    if !request.target_locations.is_empty() {
        all.groups.resize(group_count, Vec::new());
    }
    for (index, location) in request.target_locations.iter().enumerate() {
        let mut location = location.clone();
        if group_count > 1 && !location.targets.is_empty() {
            // The request's are shared over the groups, which this location is not.
            location.targets_max_concurrency = location.targets_max_concurrency.or(request.max_concurrency);
            location.targets_max_errors = location.targets_max_errors.or(request.max_errors);
        }
        let copies = copies(&location);
        let one = split_one(&location, &member.index(index), &group_sizes[..copies]);
        let of_copy = one.parts.len().div_euclid(copies).max(1);
        for (group, parts) in all.groups.iter_mut().zip(one.parts.chunks(of_copy)) {
            group.extend_from_slice(parts);
        }
        all.notes.extend(one.notes);
        problems.extend(one.problems);
    }
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

/// A list of values that makes several starts, where nobody uses it, or a file may say so.
fn unused_values(request: &StartRequest, group_count: usize) -> Option<Problem> {
    let has_own = |location: &TargetLocation| !location.targets.is_empty();
    let why = match &request.target_locations {
        _ if group_count < 2 => return None,
        _ if request.target_locations_url.is_some() => {
            "the locations in the file may have Targets of their own, and would run once for each group of values"
        }
        locations if !locations.is_empty() && locations.iter().all(has_own) => {
            "every location has Targets of its own, so that these are used nowhere"
        }
        _ => return None,
    };
    let text = format!("expected at most {VALUES_MAX} values of {PARAMETER_VALUES}, got more: {why}");
    Some(Problem::new(Path::Root.field("Targets"), text))
}

/// What became of one location.
#[derive(Debug, Default)]
struct OneSplit {
    /// All parts for the first group of values, then all for the next.
    parts: Vec<TargetLocation>,
    notes: Vec<String>,
    problems: Vec<Problem>,
}

/// Splits one location into as few parts as the API allows, of about the same size, for each group of values of these sizes.
fn split_one(location: &TargetLocation, path: &Path<'_>, group_sizes: &[usize]) -> OneSplit {
    let mut split = OneSplit::default();
    let copies = group_sizes.len();
    let reached: Vec<String> = location.reached().cloned().collect();
    let left_out_count = location.accounts.len() - reached.len();
    if left_out_count > 0 {
        split
            .notes
            .push(format!("{}: {left_out_count} are in ExcludeAccounts and not reached", path.field("Accounts")));
    }
    if reached.is_empty() && left_out_count > 0 {
        let text = "expected an account or unit of Accounts that is not left out, got all of them";
        split.problems.push(Problem::new(path.field("ExcludeAccounts"), text));
    }
    let accounts = unique(&reached, &path.field("Accounts"), &mut split.notes);
    let regions = unique(&location.regions, &path.field("Regions"), &mut split.notes);
    let targets = each_once(&location.targets, path, &mut split.notes);
    for accounts in evenly(&accounts, ACCOUNTS_MAX) {
        for regions in evenly(&regions, REGIONS_MAX) {
            split.parts.push(TargetLocation {
                accounts: accounts.to_vec(),
                regions: regions.to_vec(),
                targets: targets.clone(),
                ..location.clone()
            });
        }
    }
    if split.parts.len() > 1 {
        split.notes.push(format!(
            "{path}: {} accounts or units and {} Regions are split into {} parts that run at the same time",
            accounts.len(),
            regions.len(),
            split.parts.len()
        ));
    }
    if copies > 1 {
        let mut shared = |member, limit, floor| {
            limits(&path.field(member), limit, group_sizes, floor, &mut split.notes).unwrap_or_else(|problem| {
                split.problems.push(problem);
                vec![limit; copies]
            })
        };
        let concurrency = shared("TargetsMaxConcurrency", location.targets_max_concurrency, 1);
        let errors = shared("TargetsMaxErrors", location.targets_max_errors, 0);
        let of_group = |(targets_max_concurrency, targets_max_errors): (Option<Limit>, Option<Limit>)| {
            let parts = split.parts.iter().cloned();
            parts.map(move |part| TargetLocation { targets_max_concurrency, targets_max_errors, ..part })
        };
        split.parts = concurrency.into_iter().zip(errors).flat_map(of_group).collect();
        split.notes.push(format!(
            "{path}: it is started for each of the {copies} groups of values, which makes {} parts that run at the same time",
            split.parts.len()
        ));
    }
    for (member, limit) in [
        ("TargetLocationMaxConcurrency", location.target_location_max_concurrency),
        ("TargetLocationMaxErrors", location.target_location_max_errors),
    ] {
        if let Some(Limit::Percent(percent)) = limit.filter(|_| copies > 1) {
            let text =
                format!("{path}: {member} of {percent}% holds for each of the {copies} groups of values by itself");
            split.notes.push(text);
        }
    }
    limit_concurrency(&mut split, location.target_location_max_concurrency, path, copies);
    limit_errors(&mut split, location.target_location_max_errors, path);
    split
}

/// Keeps a number of the caller's over the parts. Without one, the service's default holds for each part.
fn limit_concurrency(split: &mut OneSplit, limit: Option<Limit>, path: &Path<'_>, copies: usize) {
    let part_count = split.parts.len();
    let limits = match limit {
        Some(Limit::Count(total)) => share(total, &weights(&split.parts), 1).map_or_else(
            || {
                split.problems.push(not_enough(path, total, part_count, copies));
                vec![DEFAULT_CONCURRENCY; part_count]
            },
            |shares| shares.into_iter().map(Limit::Count).collect(),
        ),
        Some(percent) => vec![percent; part_count],
        None => {
            if part_count > 1 {
                split.notes.push(format!(
                    "{path}: no TargetLocationMaxConcurrency is given, so that each of the {part_count} parts works \
                     on {DEFAULT_CONCURRENCY} account and Region at a time"
                ));
            }
            vec![DEFAULT_CONCURRENCY; part_count]
        }
    };
    if part_count > 1 && matches!(limit, Some(Limit::Count(_))) {
        split.notes.push(shared_note(path, "TargetLocationMaxConcurrency", &limits));
    }
    for (part, limit) in split.parts.iter_mut().zip(limits) {
        part.target_location_max_concurrency = Some(limit);
    }
}

fn not_enough(path: &Path<'_>, total: u32, part_count: usize, copies: usize) -> Problem {
    let values = if copies > 1 { format!(" with {VALUES_MAX} values in Targets") } else { String::new() };
    let text = format!(
        "{total} cannot be shared out over the {part_count} parts that the location is split into and that run at the \
         same time; expected at least {part_count}, a percentage, or at most {ACCOUNTS_MAX} accounts and {REGIONS_MAX} \
         Regions{values}"
    );
    Problem::new(path.field("TargetLocationMaxConcurrency"), text)
}

/// An absolute number of errors can always be shared out: a part with none stops at its first error.
fn limit_errors(split: &mut OneSplit, limit: Option<Limit>, path: &Path<'_>) {
    let part_count = split.parts.len();
    let limits = match limit {
        Some(Limit::Count(total)) => match share(total, &weights(&split.parts), 0) {
            Some(shares) => shares.into_iter().map(Limit::Count).collect(),
            None => vec![DEFAULT_ERRORS; part_count],
        },
        Some(percent) => vec![percent; part_count],
        None => vec![DEFAULT_ERRORS; part_count],
    };
    if part_count > 1 {
        match limit {
            Some(Limit::Count(1..)) => {
                split.notes.push(shared_note(path, "TargetLocationMaxErrors", &limits));
            }
            Some(Limit::Percent(_)) => {}
            _ => split.notes.push(format!(
                "{path}: TargetLocationMaxErrors is 0, so that each of the {part_count} parts stops at its own first error"
            )),
        }
    }
    for (part, limit) in split.parts.iter_mut().zip(limits) {
        part.target_location_max_errors = Some(limit);
    }
}

fn shared_note(path: &Path<'_>, member: &str, limits: &[Limit]) -> String {
    let numbers: Vec<String> = limits.iter().map(Limit::to_string).collect();
    format!("{path}: {member} is shared out over the parts as {}", numbers.join(", "))
}

/// How much a part weighs: its accounts and units times its Regions.
fn weights(parts: &[TargetLocation]) -> Vec<usize> {
    parts.iter().map(|part| part.accounts.len() * part.regions.len()).collect()
}

/// The items in their order, each once.
fn unique(items: &[String], path: &Path<'_>, notes: &mut Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let unique: Vec<String> = items.iter().filter(|item| seen.insert(item.as_str())).cloned().collect();
    let repeated_count = items.len() - unique.len();
    if repeated_count > 0 {
        notes.push(format!("{path}: {repeated_count} repeated entries are left out"));
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: usize) -> Vec<String> {
        (0..count).map(|n| n.to_string()).collect()
    }

    #[test]
    fn limits_of_a_location_that_fits_stay_as_they_are() {
        for (limit, expected) in [
            (None, Limit::Count(1)),
            (Some(Limit::Count(7)), Limit::Count(7)),
            (Some(Limit::Percent(10)), Limit::Percent(10)),
        ] {
            let location = TargetLocation {
                accounts: numbered(50),
                regions: numbered(2),
                target_location_max_concurrency: limit,
                ..TargetLocation::default()
            };
            let split = split_one(&location, &Path::Root, &[1]);
            assert_eq!(split.parts.len(), 1);
            assert_eq!(split.parts[0].target_location_max_concurrency, Some(expected));
            assert_eq!(split.parts[0].target_location_max_errors, Some(Limit::Count(0)));
            assert!(split.notes.is_empty() && split.problems.is_empty());
        }
    }

    #[test]
    fn a_limit_that_does_not_go_round_is_refused_with_what_would_work() {
        let location = TargetLocation {
            accounts: numbered(120),
            regions: numbered(1),
            target_location_max_concurrency: Some(Limit::Count(2)),
            ..TargetLocation::default()
        };
        let locations = Path::Root.field("TargetLocations");
        let split = split_one(&location, &locations.index(1), &[1]);
        assert_eq!(
            split.problems[0].to_string(),
            "TargetLocations[1].TargetLocationMaxConcurrency: 2 cannot be shared out over the 3 parts that the \
             location is split into and that run at the same time; expected at least 3, a percentage, or at most 50 \
             accounts and 50 Regions"
        );
    }
}
