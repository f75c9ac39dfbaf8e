//! From an execution that did not succeed everywhere to a request for the rest.

use std::collections::{BTreeMap, BTreeSet};

use hub::Tag;

use super::execution::{Execution, Status};
use super::limit::Limit;
use super::matrix::{Cell, Pair, matrix};
use super::origin::{self, Origin, without_limits};
use super::request::{StartRequest, TargetLocation, is_unit};
use super::share::{evenly, share};
use super::split::{ACCOUNTS_MAX, REGIONS_MAX};

/// On an execution: the id of the one that it resumes.
pub const RESUMES_TAG_KEY: &str = "tag-hub:resumes";

/// The code of what cannot be resumed yet.
pub const STILL_RUNNING: &str = "StillRunning";

/// What a location runs with where its request does not say: the service's own default.
const DEFAULT_CONCURRENCY: u32 = 1;

/// What a caller may change in a resumption.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Tags of the new execution. The service does not tell those of the old one.
    pub tags: Vec<Tag>,
    /// Instead of the limit that each location had.
    pub max_concurrency: Option<Limit>,
    /// Instead of the limit that each location had.
    pub max_errors: Option<Limit>,
}

/// A request for what did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumption {
    /// The old request with the accounts and Regions that are left.
    pub request: StartRequest,
    /// How it was made.
    pub notes: Vec<String>,
    /// What of the execution is not in it.
    pub left_behind: Option<Unresumable>,
}

/// Why an execution cannot be resumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresumable {
    /// It has not ended.
    #[error("the execution is still {0}; wait until it has ended, or stop it")]
    StillRunning(Status),
    /// It has ended, and some of its children have not.
    #[error("{0} of its locations have not ended yet; wait until they have")]
    LocationsRunning(usize),
    /// It has no accounts and Regions.
    #[error("the execution does not show in which accounts and Regions to start again")]
    NoLocations,
    /// It succeeded everywhere.
    #[error("every location succeeded")]
    NothingLeft,
    /// So many accounts and Regions were never begun, none where nothing tells how many.
    #[error(
        "{} of its units or file never began and cannot be resumed, because AWS does not name them; start the units again \
         with another IdempotencyKey, and list the accounts that it reached in ExcludeAccounts",
        unlisted(*.0)
    )]
    Unlisted(usize),
    /// Several locations reach an account and Region, and it is not known which of them failed.
    #[error(
        "{account} in {region} is in {} of the execution, whose settings differ, and AWS does not show which of them \
         failed there; send a new Start for that account and Region",
        places(locations)
    )]
    Ambiguous {
        /// The account.
        account: String,
        /// The Region.
        region: String,
        /// The locations.
        locations: Vec<usize>,
    },
    /// Where it failed it ran with settings that nobody knows.
    #[error(
        "AWS does not show which role or targets it used for {account} in {region}, which no location of its request names; \
         send a new Start with its TargetLocationsURL, or with TargetLocations"
    )]
    NoSettings {
        /// The account.
        account: String,
        /// The Region.
        region: String,
    },
    /// The old limit cannot be kept.
    #[error(
        "TargetLocationMaxConcurrency {limit} cannot be shared out over the {parts} groups of accounts and Regions that \
         are left and that run at the same time; give TargetLocationMaxConcurrency of at least {parts}, or a percentage"
    )]
    InvalidLimit {
        /// The limit of the old location, or the one given.
        limit: u32,
        /// How many groups there are.
        parts: usize,
    },
}

impl Unresumable {
    /// The code in the answer.
    pub fn code(&self) -> &'static str {
        match self {
            Self::StillRunning(_) | Self::LocationsRunning(_) => STILL_RUNNING,
            Self::NoLocations
            | Self::NothingLeft
            | Self::Unlisted(_)
            | Self::Ambiguous { .. }
            | Self::NoSettings { .. } => "NotResumable",
            Self::InvalidLimit { .. } => "InvalidLimit",
        }
    }
}

/// Plans to start again wherever an ended execution did not succeed: where it failed, timed out or was
/// cancelled, and where it never came because it ended before. What succeeded is left alone.
///
/// All of the old request stays: runbook, version, parameters, targets, limits. The same execution makes the
/// same request every time.
///
/// # Errors
/// See [`Unresumable`].
pub fn resumption(execution: &Execution, terms: &Terms) -> Result<Resumption, Unresumable> {
    if !execution.status.is_terminal() {
        return Err(Unresumable::StillRunning(execution.status.clone()));
    }
    let cells = matrix(execution, true);
    let unlisted_count = cells.iter().filter(|cell| cell.is_unlisted()).count();
    let left_behind =
        (unlisted_count > 0 || execution.may_hide_more()).then_some(Unresumable::Unlisted(unlisted_count));
    if unlisted_count == 0 && cells.iter().all(|cell| cell.pair.is_none()) {
        return Err(Unresumable::NoLocations);
    }
    let running_count = cells.iter().filter(|cell| !cell.status.is_terminal() && !cell.status.is_pending()).count();
    if running_count > 0 {
        return Err(Unresumable::LocationsRunning(running_count));
    }
    // By the settings that the pairs ran with.
    let mut groups: Vec<(TargetLocation, BTreeSet<Pair>)> = Vec::new();
    for of_pair in cells.chunk_by(|one, other| one.pair == other.pair) {
        let Some(pair) = of_pair[0].pair.clone() else { continue };
        for mut settings in due(execution, &pair, of_pair)? {
            // A limit that is given anew is shared over all that had shares of the old one.
            settings.target_location_max_concurrency.take_if(|_| terms.max_concurrency.is_some());
            settings.target_location_max_errors.take_if(|_| terms.max_errors.is_some());
            match groups.iter_mut().find(|(other, _)| *other == settings) {
                Some((_, pairs)) => drop(pairs.insert(pair.clone())),
                None => groups.push((settings, BTreeSet::from([pair.clone()]))),
            }
        }
    }
    if groups.is_empty() {
        return Err(left_behind.unwrap_or(Unresumable::NothingLeft));
    }
    let mut notes = Vec::new();
    let target_locations = locations(&groups, terms, &mut notes)?;
    let link = Tag { key: RESUMES_TAG_KEY.to_owned(), value: execution.id.clone() };
    let request = StartRequest {
        target_locations,
        target_locations_url: None,
        client_token: None,
        tags: terms.tags.iter().cloned().chain([link]).collect(),
        parameters: given(&execution.request.parameters),
        ..execution.request.clone()
    };
    Ok(Resumption { request, notes, left_behind })
}

/// The parameters that have a value. The service tells those too that an execution, begun elsewhere, had none for, and
/// takes no empty one back.
fn given(parameters: &BTreeMap<String, Vec<String>>) -> BTreeMap<String, Vec<String>> {
    let values = |values: &[String]| values.iter().filter(|value| !value.is_empty()).cloned().collect::<Vec<_>>();
    let all = parameters.iter().map(|(name, list)| (name.clone(), values(list)));
    all.filter(|(_, values)| !values.is_empty()).collect()
}

/// The settings of the locations that did not do well in an account and Region. `cells` are all of this pair.
fn due(execution: &Execution, pair: &Pair, cells: &[Cell<'_>]) -> Result<Vec<TargetLocation>, Unresumable> {
    let is_due = |cell: &&Cell<'_>| cell.status.is_failure() || cell.status.is_pending();
    let mut found = BTreeSet::new();
    let mut all = Vec::new();
    for cell in cells.iter().filter(is_due) {
        match &cell.origin {
            Origin::Location(index) => drop(found.insert(*index)),
            Origin::Unknown => {
                // Of a file nothing is known but what the step tells. What tells its role tells all settings.
                let told = cell.step.and_then(|step| step.target_location.as_ref());
                let told = told.filter(|location| location.execution_role_name.is_some());
                let request = &execution.request;
                let has_lost = |told: &&TargetLocation| {
                    request.target_parameter_name.is_some()
                        && request.target_maps.is_empty()
                        && request.targets.is_empty()
                        && told.targets.is_empty()
                };
                let Some(told) = told.filter(|told| !has_lost(told)) else {
                    let (account, region) = pair.clone();
                    return Err(Unresumable::NoSettings { account, region });
                };
                all.push(settings(told));
            }
            Origin::OneOf(_) => {
                let reaching = cells.iter().flat_map(|cell| match &cell.origin {
                    Origin::Location(index) => std::slice::from_ref(index),
                    Origin::OneOf(indices) => indices,
                    Origin::Unknown => &[],
                });
                let reaching: BTreeSet<usize> = reaching.copied().collect();
                // Where none of them did well it does not matter which is which.
                if !cells.iter().all(|cell| is_due(&cell)) || cells.len() != reaching.len() {
                    let (account, region) = pair.clone();
                    return Err(Unresumable::Ambiguous { account, region, locations: reaching.into_iter().collect() });
                }
                found.extend(reaching);
            }
        }
    }
    all.extend(found.into_iter().filter_map(|index| execution.request.target_locations.get(index)).map(settings));
    Ok(all)
}

/// What a location runs with, for accounts that are named one by one. Units that it left out stay so, where an account that
/// it names may be in one of them: which accounts they hold is known to the service alone.
fn settings(location: &TargetLocation) -> TargetLocation {
    let names_accounts = location.reached().any(|account| !is_unit(account));
    let units = location.exclude_accounts.iter().filter(|account| names_accounts && is_unit(account));
    TargetLocation { exclude_accounts: units.cloned().collect(), ..origin::settings(location) }
}

fn unlisted(count: usize) -> String {
    if count == 0 { "an unknown number of accounts".to_owned() } else { format!("{count} accounts and Regions") }
}

fn places(locations: &[usize]) -> String {
    let places: Vec<String> = locations.iter().map(|index| format!("TargetLocations[{index}]")).collect();
    places.join(" and ")
}

/// Locations that reach these pairs and no others, with the limits kept over them.
fn locations(
    groups: &[(TargetLocation, BTreeSet<Pair>)],
    terms: &Terms,
    notes: &mut Vec<String>,
) -> Result<Vec<TargetLocation>, Unresumable> {
    let mut parts = Vec::new();
    let mut settings = Vec::new();
    for (of_group, pairs) in groups {
        for (accounts, regions) in rectangles(pairs) {
            for accounts in evenly(&accounts, ACCOUNTS_MAX) {
                for regions in evenly(&regions, REGIONS_MAX) {
                    let (accounts, regions) = (accounts.to_vec(), regions.to_vec());
                    parts.push(TargetLocation { accounts, regions, ..of_group.clone() });
                    settings.push(of_group);
                }
            }
        }
    }
    let weight = |part: &TargetLocation| part.accounts.len() * part.regions.len();
    for family in families(&settings, terms.max_concurrency.is_some()) {
        let weights: Vec<usize> = family.iter().map(|index| weight(&parts[*index])).collect();
        if let Some(limit) = terms.max_concurrency.or(settings[family[0]].target_location_max_concurrency) {
            for (index, limit) in family.iter().zip(concurrency(limit, &weights, terms, notes)?) {
                parts[*index].target_location_max_concurrency = Some(limit);
            }
        }
    }
    for family in families(&settings, terms.max_errors.is_some()) {
        let weights: Vec<usize> = family.iter().map(|index| weight(&parts[*index])).collect();
        let shares = match terms.max_errors.or(settings[family[0]].target_location_max_errors) {
            Some(Limit::Count(total)) => {
                share(total, &weights, 0).unwrap_or_default().into_iter().map(|one| Some(Limit::Count(one))).collect()
            }
            other => vec![other; family.len()],
        };
        for (index, limit) in family.iter().zip(shares) {
            parts[*index].target_location_max_errors = limit;
        }
    }
    Ok(parts)
}

/// The parts that share a limit: those with the same settings, or where it is given anew, all that differ in nothing but
/// their shares of the old limits.
fn families(settings: &[&TargetLocation], is_new: bool) -> Vec<Vec<usize>> {
    let mut families: Vec<(TargetLocation, Vec<usize>)> = Vec::new();
    for (index, settings) in settings.iter().enumerate() {
        let kind = if is_new { without_limits((*settings).clone()) } else { (*settings).clone() };
        match families.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, family)) => family.push(index),
            None => families.push((kind, vec![index])),
        }
    }
    families.into_iter().map(|(_, family)| family).collect()
}

fn concurrency(
    limit: Limit,
    weights: &[usize],
    terms: &Terms,
    notes: &mut Vec<String>,
) -> Result<Vec<Limit>, Unresumable> {
    let Limit::Count(total) = limit else {
        return Ok(vec![limit; weights.len()]);
    };
    match share(total, weights, 1) {
        Some(shares) => Ok(shares.into_iter().map(Limit::Count).collect()),
        // The service's default is meant for each location: what was left is no reason to refuse it.
        None if total == DEFAULT_CONCURRENCY && terms.max_concurrency.is_none() => {
            notes.push(format!(
                "what is left makes {} groups of accounts and Regions; each works on 1 account and Region at a time",
                weights.len()
            ));
            Ok(vec![limit; weights.len()])
        }
        None => Err(Unresumable::InvalidLimit { limit: total, parts: weights.len() }),
    }
}

/// Accounts with the same Regions together, or Regions with the same accounts, whichever makes fewer.
pub fn rectangles(pairs: &BTreeSet<Pair>) -> Vec<(Vec<String>, Vec<String>)> {
    let by_account = grouped(pairs.iter().map(|(account, region)| (account, region)));
    let by_region = grouped(pairs.iter().map(|(account, region)| (region, account)));
    if by_account.len() <= by_region.len() {
        by_account
    } else {
        by_region.into_iter().map(|(regions, accounts)| (accounts, regions)).collect()
    }
}

/// Those on the left that go with the same ones on the right.
fn grouped<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> Vec<(Vec<String>, Vec<String>)> {
    let mut rights: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for (left, right) in pairs {
        rights.entry(left).or_default().insert(right);
    }
    let mut lefts: BTreeMap<BTreeSet<&String>, Vec<&String>> = BTreeMap::new();
    for (left, rights) in rights {
        lefts.entry(rights).or_default().push(left);
    }
    let owned = |items: Vec<&String>| items.into_iter().cloned().collect();
    lefts.into_iter().map(|(rights, lefts)| (owned(lefts), owned(rights.into_iter().collect()))).collect()
}

#[cfg(test)]
mod tests;
