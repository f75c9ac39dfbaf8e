//! `StartAutomationExecution`, once it is allowed and checked.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use super::execution::{Execution, Home, Location, NewExecution, Planned, milliseconds};
use super::ids::Id;
use super::outcome::{Outcome, Script};
use super::targets::Target;
use super::{State, request};
use crate::aws_error::AwsError;
use crate::clock;
use crate::xml::items;

const DEFAULT_ROLE: &str = "AWS-SystemsManager-AutomationExecutionRole";
/// How much longer `Outcome::Slow` takes.
const SLOW: u64 = 10;
/// A run that waits for somebody ends when it is answered.
const FOR_EVER: u64 = u64::MAX / 4;

/// A start that may go ahead.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) id: Id,
    pub(super) home: Home,
    pub(super) body: &'a Value,
    pub(super) version: String,
    pub(super) executed_by: String,
}

/// The locations of a start with their accounts.
#[derive(Debug)]
pub(super) struct Expansion {
    pub(super) locations: Vec<Location>,
    pub(super) problem: Option<String>,
}

/// What `MiniStack` knows of the places of a start; without it nothing.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The accounts whose execution role cannot be assumed, by place of the location.
    pub(super) unassumable: HashSet<(usize, String)>,
    /// The instances that the targets name, by pair.
    pub(super) found: HashMap<usize, Vec<String>>,
}

/// A pair whose instances have to be looked up.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) pair: usize,
    pub(super) home: Home,
    pub(super) target: Target,
}

/// The answer to an earlier start with the same token.
///
/// # Errors
/// `IdempotentParameterMismatch` where that was another request.
pub(super) fn earlier(state: &State, home: &Home, body: &Value) -> Result<Option<Value>, AwsError> {
    let Some(key) = token(home, body) else { return Ok(None) };
    match state.tokens.get(&key) {
        None => Ok(None),
        Some((request, id)) if *request == without_token(body) => Ok(Some(answer(*id))),
        Some(_) => {
            let message = "The request uses the same client token as a previous, but non-identical request.";
            Err(AwsError::new(400, "IdempotentParameterMismatch", message))
        }
    }
}

/// The pairs of a start that are to run on instances that are really there.
pub(super) fn lookups(state: &State, body: &Value, expansion: &Expansion, known: &Known) -> Vec<Lookup> {
    let mut lookups = Vec::new();
    for (pair, (place, account, region)) in pairs(&expansion.locations).enumerate() {
        if script(state, known, place, account, region).outcome == Outcome::TargetedInstances
            && let Some(target) = Target::read(body, &expansion.locations[place].asked)
        {
            let home = Home { account: account.to_owned(), region: region.to_owned() };
            lookups.push(Lookup { pair, home, target });
        }
    }
    lookups
}

/// Starts it.
pub(super) fn start(
    state: &mut State,
    start: Start<'_>,
    expansion: Expansion,
    mut known: Known,
) -> Result<Value, AwsError> {
    if let Some(answer) = earlier(state, &start.home, start.body)? {
        return Ok(answer);
    }
    let Expansion { locations, problem } = expansion;
    let planned = pairs(&locations).enumerate().map(|(pair, (place, account, region))| {
        let script = script(state, &known, place, account, region);
        planned(state, script, known.found.remove(&pair))
    });
    let plan = planned.collect();
    let id = start.id;
    let execution = Execution::new(NewExecution {
        id,
        home: start.home.clone(),
        request: start.body.clone(),
        version: start.version,
        executed_by: start.executed_by,
        locations,
        plan,
        problem,
        unbegun: state.unbegun,
        started: clock::now() + state.ahead,
        started_at: state.now(),
    });
    if let Some(key) = token(&start.home, start.body) {
        state.tokens.insert(key, (without_token(start.body), id));
    }
    state.last += 1;
    state.families.insert(id.family(), state.last);
    state.executions.insert(state.last, execution);
    Ok(answer(id))
}

/// The pairs in their order: place of the location, account, Region.
fn pairs(locations: &[Location]) -> impl Iterator<Item = (usize, &str, &str)> {
    locations.iter().enumerate().flat_map(|(place, location)| {
        let accounts = location.accounts.iter();
        accounts.flat_map(move |account| location.regions.iter().map(move |region| (place, &**account, &**region)))
    })
}

/// What was scripted, else what the role check says.
fn script(state: &State, known: &Known, place: usize, account: &str, region: &str) -> Script {
    let scripted = state.scripts.get(account).and_then(|regions| regions.get(region).or_else(|| regions.get("*")));
    match scripted {
        Some(script) => *script,
        None if known.unassumable.contains(&(place, account.to_owned())) => Outcome::ExecutionRoleMissing.into(),
        None => state.usual,
    }
}

fn planned(state: &State, script: Script, found: Option<Vec<String>>) -> Planned {
    let Script { outcome, takes } = script;
    let outcome = match &found {
        Some(found) => Outcome::Success { resources: u32::try_from(found.len()).unwrap_or(u32::MAX) },
        None => outcome,
    };
    let usual = milliseconds(state.takes);
    let usual = match outcome {
        Outcome::Slow => usual.saturating_mul(SLOW),
        Outcome::Approval => FOR_EVER,
        _ => usual,
    };
    Planned { outcome, found, takes: takes.map_or(usual, milliseconds) }
}

/// Resolves the organizational units of the target locations.
pub(super) fn expand(state: &State, home: &Home, body: &Value) -> Expansion {
    let mut problem = None;
    let locations = request::locations(body).iter().map(|asked| {
        let include_children = asked["IncludeChildOrganizationUnits"] == true;
        let mut accounts = Accounts::default();
        for id in texts(&asked["Accounts"]) {
            if !accounts.add(state, id, include_children) {
                problem.get_or_insert(format!(
                    "Step fails when it is Execute/Cancelling action. The accounts of {id} can't be listed. Please refer \
                     to Automation Service Troubleshooting Guide for more diagnosis details."
                ));
            }
        }
        let mut excluded = Accounts::default();
        for id in texts(&asked["ExcludeAccounts"]) {
            excluded.add(state, id, true);
        }
        accounts.list.retain(|account| !excluded.seen.contains(account));
        let mut seen = BTreeSet::new();
        Location {
            accounts: accounts.list,
            regions: texts(&asked["Regions"]).filter(|region| seen.insert(*region)).map(str::to_owned).collect(),
            role: asked["ExecutionRoleName"].as_str().unwrap_or(DEFAULT_ROLE).to_owned(),
            asked: asked.clone(),
        }
    });
    let mut locations: Vec<Location> = locations.collect();
    if locations.is_empty() {
        locations.push(Location {
            accounts: vec![home.account.clone()],
            regions: vec![home.region.clone()],
            role: request::assume_role(body).and_then(|role| role.rsplit('/').next()).unwrap_or_default().to_owned(),
            asked: json!({}),
        });
    }
    Expansion { locations, problem }
}

/// Account ids without repetition, in their order.
#[derive(Debug, Default)]
struct Accounts {
    list: Vec<String>,
    seen: BTreeSet<String>,
}

impl Accounts {
    /// Adds an account, or those of a unit; whether that is known.
    fn add(&mut self, state: &State, id: &str, include_children: bool) -> bool {
        if !request::is_unit(id) {
            if self.seen.insert(id.to_owned()) {
                self.list.push(id.to_owned());
            }
            return true;
        }
        let Some(members) = state.units.get(id) else { return false };
        for member in members {
            if include_children || !request::is_unit(member) {
                self.add(state, member, include_children);
            }
        }
        true
    }
}

type TokenKey = (Home, String);

/// Tokens are case-insensitive.
fn token(home: &Home, body: &Value) -> Option<TokenKey> {
    Some((home.clone(), body["ClientToken"].as_str()?.to_ascii_lowercase()))
}

fn without_token(body: &Value) -> Value {
    let mut request = body.clone();
    if let Some(members) = request.as_object_mut() {
        members.retain(|name, value| name != "ClientToken" && !value.is_null());
    }
    request
}

fn answer(id: Id) -> Value {
    json!({"AutomationExecutionId": id.to_string()})
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    items(value).iter().filter_map(Value::as_str)
}
