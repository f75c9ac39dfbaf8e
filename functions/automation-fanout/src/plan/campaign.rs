//! Campaigns: one request in waves, each behind a gate.
//!
//! A wave takes whole accounts or whole Regions of the request, and no wave takes what another took: so no location is
//! started twice. A ring by percentage is a stable choice by a hash of the account id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::digest::digest;
use super::overlap::{Reach, Shared, overlaps, through_units, work};
use super::problem::{Path, Problem};
use super::request::{StartRequest, TargetLocation, is_unit};

/// How fine a percentage is told apart.
const HASH_STEPS: u64 = 10_000;
const STEPS_PER_PERCENT: u64 = HASH_STEPS / 100;

/// How many accounts and Regions a wave or a preflight may have: what it came to is read within one invocation, at 50 steps
/// a call and three calls a second, and once more if it is resumed.
const PAIRS_MAX: usize = 100_000;

/// A campaign as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Campaign {
    /// Its name, which its waves' keys begin with.
    pub name: String,
    /// What is run.
    pub request: StartRequest,
    /// The caller's word that the runbook is meant for everything.
    pub all_targets: bool,
    /// In this order.
    pub waves: Vec<Wave>,
    /// Between two waves.
    pub gate: Gate,
    /// Whether accounts, roles and the runbook are tried first.
    pub preflight: bool,
    /// The wave that it goes on with.
    pub from: Option<String>,
    /// Whether a wave that ended badly in an earlier run is resumed.
    pub resume: bool,
}

/// A wave as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// Its name.
    pub name: String,
    /// Which part of the request it takes.
    pub choice: Choice,
}

/// Which part of a request a wave takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// These accounts, in all their Regions.
    Accounts(Vec<String>),
    /// These organizational units, in all their Regions.
    OrganizationalUnits(Vec<String>),
    /// All accounts, in these Regions.
    Regions(Vec<String>),
    /// The accounts up to this percentage that no earlier wave took.
    Percent(u8),
}

/// What has to be so before the next wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// How many of a hundred locations may have failed or have never begun.
    pub max_failed_percent: u8,
    /// How long to wait after a wave.
    pub soak: Duration,
    /// Whether somebody has to approve the next wave.
    pub approval: bool,
    /// How long an approval may take.
    pub approval_timeout: Duration,
    /// A wave begins only while all of these Change Calendars are open.
    pub calendars: Vec<String>,
}

/// A wave with its part of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedWave {
    /// Its name.
    pub name: String,
    /// Its part of the request.
    pub request: StartRequest,
    /// The idempotency key that it is started under.
    pub key: String,
}

impl PlannedWave {
    /// Accounts times Regions, where no unit hides it.
    pub fn pairs(&self) -> Option<usize> {
        self.request.target_locations.iter().map(TargetLocation::pair_count).sum()
    }
}

/// A digest of all that the waves of a campaign start. What is between the waves, such as the gate, may change.
pub fn campaign_digest(waves: &[PlannedWave]) -> String {
    digest(&waves)
}

/// The waves of a campaign with what they start, and notes.
///
/// # Errors
/// All problems: waves that are empty, take what is not in the request, or take what another took.
pub fn waves(campaign: &Campaign) -> Result<(Vec<PlannedWave>, Vec<String>), Vec<Problem>> {
    let mut problems = Vec::new();
    let all = Path::Root.field("Waves");
    let by_region = campaign.waves.iter().filter(|wave| matches!(wave.choice, Choice::Regions(_))).count();
    if by_region > 0 && by_region < campaign.waves.len() {
        let text = "expected Regions in every wave or in none: a wave by Regions takes all accounts there";
        problems.push(Problem::new(all, text));
    }
    let mut names = BTreeSet::new();
    let mut taken = BTreeMap::new();
    let mut planned = Vec::new();
    for (index, wave) in campaign.waves.iter().enumerate() {
        let path = all.index(index);
        if !names.insert(wave.name.as_str()) {
            let text = format!("expected each name once, got {:?} again", wave.name);
            problems.push(Problem::new(path.field("Name"), text));
        }
        let chosen = chosen(campaign, wave, &path, &taken, &mut problems);
        for item in &chosen {
            if let Some(earlier) = taken.insert(item.clone(), wave.name.clone()) {
                let text = format!("expected what no other wave takes, got {item}, which {earlier:?} takes");
                problems.push(Problem::new(path, text));
            }
        }
        let request = restricted(&campaign.request, &wave.choice, &chosen);
        if request.target_locations.is_empty() && problems.is_empty() {
            problems.push(Problem::new(path, "expected at least one account and Region, got an empty wave"));
        }
        let wave = PlannedWave { name: wave.name.clone(), request, key: format!("{}/{}", campaign.name, wave.name) };
        if let Some(pairs) = wave.pairs().filter(|pairs| *pairs > PAIRS_MAX) {
            let text = format!(
                "expected at most {PAIRS_MAX} accounts and Regions in a wave, since more cannot be read in one \
                 invocation, got {pairs}; make several waves of it"
            );
            problems.push(Problem::new(path, text));
        }
        planned.push(wave);
    }
    // What differs in its targets alone is tried once.
    let tried: BTreeMap<_, _> = campaign
        .request
        .target_locations
        .iter()
        .map(|one| ((one.execution_role(), &one.accounts, &one.regions, &one.exclude_accounts), one.pair_count()))
        .collect();
    let too_many = tried.into_values().sum::<Option<usize>>().filter(|pairs| *pairs > PAIRS_MAX);
    if let Some(pairs) = too_many.filter(|_| campaign.preflight && campaign.from.is_none()) {
        let text = format!(
            "expected at most {PAIRS_MAX} accounts and Regions, since more cannot be read in one invocation, got {pairs}; \
             set it to false, and try parts of the request with the action Preflight"
        );
        problems.push(Problem::new(Path::Root.field("Preflight"), text));
    }
    if let Some(from) = campaign.from.as_ref().filter(|from| !names.contains(from.as_str())) {
        let known: Vec<&str> = campaign.waves.iter().map(|wave| wave.name.as_str()).collect();
        let text = format!("expected the name of a wave, got {from:?}; the waves are {}", known.join(", "));
        problems.push(Problem::new(Path::Root.field("From"), text));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let left: Vec<&str> = items(&campaign.request, by_region > 0).filter(|item| !taken.contains_key(*item)).collect();
    let mut notes = Vec::new();
    if let Some(first) = left.first() {
        notes.push(format!("{} of the request is in no wave and is not reached, such as {first}", left.len()));
    }
    let (_, overlaps) = overlaps(&campaign.request.target_locations, &campaign.request.targets);
    notes.extend(overlaps.into_iter().map(|note| format!("Request.{note}")));
    let hidden = hidden_by_units(&planned);
    if !hidden.problems.is_empty() {
        return Err(hidden.problems);
    }
    notes.extend(hidden.notes);
    Ok((planned, notes))
}

#[derive(Default)]
struct Hidden {
    problems: Vec<Problem>,
    notes: Vec<String>,
}

/// What one wave takes by a unit, and another by its id or by another unit: the two starts know nothing of each other.
fn hidden_by_units(planned: &[PlannedWave]) -> Hidden {
    const NOTES_MAX: usize = 20;
    let mut waves = Vec::new();
    let mut locations = Vec::new();
    for (index, wave) in planned.iter().enumerate() {
        for location in &wave.request.target_locations {
            waves.push(index);
            let targets = if location.targets.is_empty() { &wave.request.targets } else { &location.targets };
            locations.push((location, work(targets)));
        }
    }
    let reaches: Vec<Reach<'_>> = locations.iter().map(|(location, work)| Reach { location, work }).collect();
    let found = through_units(&reaches, |one, other| waves[one] != waves[other]);
    let mut hidden = Hidden::default();
    let mut told = BTreeSet::new();
    for Shared { unit, item, of, with, region, is_certain } in found.shared {
        let (earlier, later) = (waves[of].min(waves[with]), waves[of].max(waves[with]));
        if !told.insert((earlier, later)) {
            continue;
        }
        let (name, other) = (&planned[waves[of]].name, &planned[waves[with]].name);
        if is_certain && locations[of].1 == locations[with].1 {
            let text = format!(
                "expected accounts that no other wave takes, got {item} in {other:?}, which is in {unit} in {name:?}"
            );
            hidden.problems.push(Problem::new(Path::Root.field("Waves").index(later), text));
        } else {
            hidden.notes.push(format!(
                "wave {name:?} takes {unit}, and wave {other:?} takes {item}: an account that both reach in {region} is started \
                 twice in this campaign; name it in ExcludeAccounts of the location with {unit} if it may be in it"
            ));
        }
    }
    if hidden.notes.len() > NOTES_MAX || !found.is_complete {
        hidden.notes.truncate(NOTES_MAX);
        hidden.notes.push("more waves may take the same accounts through units".to_owned());
    }
    hidden
}

/// The accounts, units or Regions that a wave takes.
fn chosen(
    campaign: &Campaign,
    wave: &Wave,
    path: &Path<'_>,
    taken: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let request = &campaign.request;
    let mut among = |list: &[String], field: &str, by_region: bool| {
        let known: BTreeSet<&str> = items(request, by_region).collect();
        // An account may be in a unit that the request names.
        let has_units = !by_region && known.iter().any(|item| is_unit(item));
        for (index, item) in list.iter().enumerate().filter(|(_, item)| !known.contains(item.as_str())) {
            let advice = if has_units { "; a wave takes a unit as a whole" } else { "" };
            let text = format!("expected one of the request's, got {item}{advice}");
            problems.push(Problem::new(path.field(field).index(index), text));
        }
        let mut seen = BTreeSet::new();
        for (index, item) in list.iter().enumerate().filter(|(_, item)| !seen.insert(item.as_str())) {
            let text = format!("expected each once, got {item} again");
            problems.push(Problem::new(path.field(field).index(index), text));
        }
        seen.into_iter().map(str::to_owned).collect()
    };
    match &wave.choice {
        Choice::Accounts(list) => among(list, "Accounts", false),
        Choice::OrganizationalUnits(list) => among(list, "OrganizationalUnits", false),
        Choice::Regions(list) => among(list, "Regions", true),
        Choice::Percent(percent) => {
            if let Some(unit) = items(request, false).find(|account| is_unit(account)) {
                let text = format!(
                    "expected accounts by their ids in the request, got {unit}: which accounts a unit holds is known to \
                     the service alone; take waves by OrganizationalUnits"
                );
                problems.push(Problem::new(path.field("Percent"), text));
                return Vec::new();
            }
            ring(items(request, false), *percent, taken)
        }
    }
}

/// The accounts below a percentage that no earlier wave took: at least one where any is left.
fn ring<'a>(accounts: impl Iterator<Item = &'a str>, percent: u8, taken: &BTreeMap<String, String>) -> Vec<String> {
    let mut left: Vec<(u64, &str)> =
        accounts.filter(|account| !taken.contains_key(*account)).map(|account| (hash(account), account)).collect();
    left.sort_unstable();
    left.dedup();
    let below = |(hash, _): &&(u64, &str)| hash % HASH_STEPS < u64::from(percent) * STEPS_PER_PERCENT;
    let mut chosen: Vec<String> = left.iter().filter(below).map(|(_, account)| (*account).to_owned()).collect();
    if chosen.is_empty() {
        let lowest = left.iter().min_by_key(|(hash, account)| (hash % HASH_STEPS, *account));
        chosen.extend(lowest.map(|(_, account)| (*account).to_owned()));
    }
    chosen
}

fn hash(account: &str) -> u64 {
    let sum = Sha256::digest(account.as_bytes());
    sum.iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
}

/// What waves are made of: the accounts and units of a request, or its Regions.
fn items(request: &StartRequest, by_region: bool) -> impl Iterator<Item = &str> {
    let mut seen = BTreeSet::new();
    request
        .target_locations
        .iter()
        .flat_map(move |location| -> Vec<&String> {
            if by_region { location.regions.iter().collect() } else { location.reached().collect() }
        })
        .map(String::as_str)
        .filter(move |item| seen.insert(*item))
}

fn restricted(request: &StartRequest, choice: &Choice, chosen: &[String]) -> StartRequest {
    let chosen: BTreeSet<&str> = chosen.iter().map(String::as_str).collect();
    let is_by_region = matches!(choice, Choice::Regions(_));
    let is_chosen = |item: &&String| chosen.contains(item.as_str());
    let locations = request.target_locations.iter().map(|location| {
        let (accounts, regions) = if is_by_region {
            (location.reached().cloned().collect(), location.regions.iter().filter(is_chosen).cloned().collect())
        } else {
            (location.reached().filter(is_chosen).cloned().collect(), location.regions.clone())
        };
        TargetLocation { accounts, regions, ..location.clone() }
    });
    let target_locations = locations.filter(|l| !l.accounts.is_empty() && !l.regions.is_empty()).collect();
    StartRequest { target_locations, ..request.clone() }
}

/// What became of the locations of a wave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub locations: usize,
    /// Those that succeeded, at once or when they were resumed.
    pub succeeded: usize,
}

impl Tally {
    /// Of a hundred locations, how many failed or never began.
    pub fn failed_percent(self) -> f64 {
        let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let failed = self.locations.saturating_sub(self.succeeded);
        if self.locations == 0 { 0.0 } else { 100.0 * number(failed) / number(self.locations) }
    }

    /// Whether the next wave may begin.
    pub fn passes(self, gate: &Gate) -> bool {
        let failed = self.locations.saturating_sub(self.succeeded);
        failed * 100 <= usize::from(gate.max_failed_percent) * self.locations
    }
}

#[cfg(test)]
mod tests;
