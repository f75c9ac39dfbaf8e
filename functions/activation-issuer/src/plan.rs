//! What has to be done for one agency: decided from what its parameters hold, what the service lists, and the time.
//!
//! # Concurrent and interrupted runs
//! There is no lock. Nothing is deleted before it, and every parameter, is an hour old ([`GRACE_SECONDS`]), which is
//! longer than any run.
//!
//! - Two runs create: each Region holds the last write. All codes work; the next run copies one activation, and a later
//!   run deletes the other.
//! - Two runs create near a limit: neither counts what the other is about to create. Each makes at most one activation for
//!   an agency, and gives away at most what was left of a limit when it began. A function that runs once at a time does
//!   not exceed it.
//! - One run deletes what another stores or copies: impossible. A new activation is younger than an hour. A copied one
//!   was in a parameter within 15 minutes, so if no parameter holds it now, one changed within the hour, which forbids
//!   deletion.
//! - Two runs copy, differently: the next run settles it.
//! - An activation is newer than the list: the issuer asks for it before it counts as deleted.
//! - A new grant: activations are listed before grants, so it is not mistaken for a revoked one.
//!
//! | interrupted after | leaves | next run |
//! |---|---|---|
//! | creating | an orphan | creates another; a later run deletes the orphan |
//! | storing in some Regions | Regions that differ | copies |
//! | storing everywhere | a replaced activation | deletes it after an hour |
//! | a call without an answer | one of these | as above |
//!
//! `CreateActivation` has no client token, so a retry after a lost answer leaves an orphan. If a write may have failed,
//! the handler reads the parameter; it deletes the new activation only if it is certainly stored nowhere.
//!
//! Of several good parameters, the one whose activation expires last is copied, then the greatest ID.

pub mod ceiling;
pub mod census;

use std::collections::{BTreeMap, BTreeSet};

use hub::{AccountId, Region, Timestamp};
use serde::Serialize;

use crate::activation::{Activation, ActivationId, NewActivation, Parameter, StoredActivation};
use crate::config::Config;

pub(crate) const SECONDS_PER_DAY: i64 = 86_400;

/// An activation lives at most 30 days; an hour less leaves room for clocks that differ and calls that wait
/// (<https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_CreateActivation.html>).
const LONGEST_LIFE_SECONDS: i64 = 30 * SECONDS_PER_DAY - 3600;

/// How long an activation that nobody refers to is left alone, and how long a parameter has to stand unchanged
/// before anything is deleted. It is longer than any invocation lasts (15 minutes), so that no run deletes what
/// another is about to store, and than any registration takes that began with the value before.
pub const GRACE_SECONDS: i64 = 3600;

/// Everything that is known about one agency.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The agency.
    pub agency: &'a AccountId,
    /// The central account.
    pub hub_account: &'a AccountId,
    /// The start of the run.
    pub now: Timestamp,
    /// Its parameters, by Region: those that could be read.
    pub parameters: &'a BTreeMap<Region, Parameter>,
    /// True where those are all.
    pub is_complete: bool,
    /// Its activations, and those that its parameters name.
    pub activations: &'a BTreeMap<ActivationId, Activation>,
}

/// What to do for one agency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What makes the parameters good.
    pub repair: Repair,
    /// The agency's activations to delete: no parameter holds them, nor did for a while.
    pub orphans: Vec<ActivationId>,
}

/// What makes an agency's parameters good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// They are: all hold this activation.
    Keep(StoredActivation),
    /// One of them is: it goes to the Regions that hold something else.
    Copy {
        /// What is wrong there.
        reason: Reason,
        /// What to store.
        stored: StoredActivation,
        /// Where.
        regions: Vec<Region>,
    },
    /// None is: all get a new activation.
    Create {
        /// What is wrong with the first.
        reason: Reason,
        /// Where to store it.
        regions: Vec<Region>,
    },
}

/// What is wrong with a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// There is none.
    Missing,
    /// It holds no activation, or not in secret.
    Malformed,
    /// It names another account or Region, or an activation that the hub did not make for this agency.
    Foreign,
    /// It holds an activation that is no more.
    Deleted,
    /// Its activation has ended.
    Expired,
    /// Its activation has fewer than `RENEW_BELOW` registrations left.
    UsedUp,
    /// Its activation ends within `RENEW_BEFORE_DAYS`.
    Expiring,
    /// Its activation gives nodes another role than `NODE_ROLE`.
    NodeRole,
    /// It holds another activation than the other Regions, or the right one with another code or date, or without the hub.
    Differs,
    /// The agency has no grant any more.
    NotGranted,
}

/// Decides. The same view always gives the same plan, whoever asks, so that two runs agree.
pub fn plan(config: &Config, view: &View<'_>) -> Plan {
    Plan { repair: repair(config, view), orphans: orphans(view) }
}

/// True where a parameter holds an activation that registers nodes now, even if it is to be renewed.
pub fn is_alive(config: &Config, view: &View<'_>, parameter: &Parameter) -> bool {
    living(config, view, parameter).is_ok()
}

/// The activation to make for an agency.
pub fn new_activation(config: &Config, agency: &AccountId, registration_limit: u32, now: Timestamp) -> NewActivation {
    let life = (i64::from(config.valid_days) * SECONDS_PER_DAY).min(LONGEST_LIFE_SECONDS);
    NewActivation {
        agency: agency.clone(),
        node_role: config.node_role.clone(),
        registration_limit,
        expiration_date: Timestamp::from_unix_seconds(now.unix_seconds() + life),
    }
}

/// The activations of agencies that are not granted: all of them, but for those made just now, whose grant may be
/// just as young.
///
/// Where nobody at all is granted, nothing is deleted: a wrong `MANAGER_FUNCTION_NAME` looks the same.
pub fn revoked<'a>(
    activations: &'a BTreeMap<ActivationId, Activation>,
    granted: &BTreeSet<AccountId>,
    now: Timestamp,
) -> BTreeMap<&'a AccountId, Vec<ActivationId>> {
    let mut revoked: BTreeMap<_, Vec<_>> = BTreeMap::new();
    if granted.is_empty() {
        return revoked;
    }
    for activation in activations.values().filter(|activation| is_before_grace(activation.created_date, now)) {
        if let Some(agency) = activation.agency.as_ref().filter(|agency| !granted.contains(agency)) {
            revoked.entry(agency).or_default().push(activation.id.clone());
        }
    }
    revoked
}

fn repair(config: &Config, view: &View<'_>) -> Repair {
    let judged =
        || view.parameters.iter().map(|(region, parameter)| (region, parameter, judge(config, view, parameter)));
    let good = judged().filter_map(|(_, _, judgement)| judgement.ok());
    // Of several the one that ends last: a rule that every run follows.
    let best = good.max_by(|(a, _), (b, _)| (a.expiration_date, &a.id).cmp(&(b.expiration_date, &b.id)));
    let all = || view.parameters.keys().cloned().collect();
    let Some((activation, stored)) = best else {
        let reason = judged().find_map(|(_, _, judgement)| judgement.err()).unwrap_or(Reason::Missing);
        return Repair::Create { reason, regions: all() };
    };
    let mut all_stored = view.parameters.values().filter_map(Parameter::stored);
    if all_stored.any(|other| other.activation_id == activation.id && other.activation_code != stored.activation_code) {
        // Nobody can tell which of two codes is the right one.
        return Repair::Create { reason: Reason::Differs, regions: all() };
    }
    let wanted = StoredActivation {
        activation_id: activation.id.clone(),
        activation_code: stored.activation_code.clone(),
        region: config.region.clone(),
        expiration_date: activation.expiration_date,
        account: view.agency.clone(),
        hub_account: Some(view.hub_account.clone()),
    };
    // One that an older hub wrote registers nodes, and does not name the hub, which instances may ask for.
    let others: Vec<_> = judged().filter(|(_, parameter, _)| parameter.stored() != Some(&wanted)).collect();
    match others.first() {
        None => Repair::Keep(wanted),
        Some((_, _, judgement)) => Repair::Copy {
            reason: judgement.as_ref().err().copied().unwrap_or(Reason::Differs),
            stored: wanted,
            regions: others.iter().map(|(region, _, _)| (*region).clone()).collect(),
        },
    }
}

/// The activation that a parameter holds, where there is nothing wrong with it.
fn judge<'a>(
    config: &Config,
    view: &View<'a>,
    parameter: &'a Parameter,
) -> Result<(&'a Activation, &'a StoredActivation), Reason> {
    let (activation, stored) = living(config, view, parameter)?;
    let renew_from = activation.expiration_date.unix_seconds() - i64::from(config.renew_before_days) * SECONDS_PER_DAY;
    if activation.node_role.as_deref().is_some_and(|role| role_name(role) != role_name(&config.node_role)) {
        Err(Reason::NodeRole)
    } else if view.now.unix_seconds() >= renew_from {
        Err(Reason::Expiring)
    } else if activation.registrations_left() < config.renew_below {
        Err(Reason::UsedUp)
    } else {
        Ok((activation, stored))
    }
}

/// The activation that a parameter holds, where it registers nodes of the agency now.
fn living<'a>(
    config: &Config,
    view: &View<'a>,
    parameter: &'a Parameter,
) -> Result<(&'a Activation, &'a StoredActivation), Reason> {
    let stored = match parameter {
        Parameter::Missing => return Err(Reason::Missing),
        Parameter::Malformed => return Err(Reason::Malformed),
        Parameter::Holds { stored, .. } => stored,
    };
    let is_other_hub = stored.hub_account.as_ref().is_some_and(|hub| hub != view.hub_account);
    if stored.account != *view.agency || stored.region != config.region || is_other_hub {
        return Err(Reason::Foreign);
    }
    let activation = view.activations.get(&stored.activation_id).ok_or(Reason::Deleted)?;
    if activation.agency.as_ref() != Some(view.agency) {
        Err(Reason::Foreign)
    } else if activation.is_expired || activation.expiration_date <= view.now {
        Err(Reason::Expired)
    } else if activation.registrations_left() == 0 {
        Err(Reason::UsedUp)
    } else {
        Ok((activation, stored))
    }
}

/// The agency's own activations that no parameter holds. None while a parameter is unread, because it may hold any;
/// while one is new, because somebody may still register with what it held before; or while one holds nothing,
/// because another run may be about to fill it.
fn orphans(view: &View<'_>) -> Vec<ActivationId> {
    let is_settled = |parameter: &Parameter| match parameter {
        Parameter::Holds { modified, .. } => is_before_grace(*modified, view.now),
        Parameter::Missing | Parameter::Malformed => false,
    };
    if !view.is_complete || !view.parameters.values().all(is_settled) {
        return Vec::new();
    }
    let stored = view.parameters.values().filter_map(Parameter::stored);
    let held: BTreeSet<&ActivationId> = stored.map(|stored| &stored.activation_id).collect();
    let own = view.activations.values().filter(|activation| activation.agency.as_ref() == Some(view.agency));
    own.filter(|activation| !held.contains(&activation.id))
        .filter(|activation| is_before_grace(activation.created_date, view.now))
        .filter(|activation| activation.registrations_count == 0 || is_of_yesterday(activation, view.now))
        .map(|activation| activation.id.clone())
        .collect()
}

/// An activation that registered nodes counts towards `RENEWALS_PER_DAY` for as long as it is listed.
fn is_of_yesterday(activation: &Activation, now: Timestamp) -> bool {
    activation.created_date.is_some_and(|made| made.unix_seconds() <= now.unix_seconds() - SECONDS_PER_DAY)
}

fn is_before_grace(time: Option<Timestamp>, now: Timestamp) -> bool {
    time.is_some_and(|time| time.unix_seconds() <= now.unix_seconds() - GRACE_SECONDS)
}

/// The last part of a role's name or ARN: the service may list it with its path or without.
fn role_name(role: &str) -> &str {
    role.rsplit('/').next().unwrap_or(role)
}

#[cfg(test)]
mod tests;
