//! `StartAutomationExecution`, once it is allowed and checked.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Value, json};

use super::execution::{Execution, Home, Location, NewExecution, Planned, milliseconds};
use super::ids::Id;
use super::outcome::{Outcome, Script};
use super::{State, request};
use crate::aws_error::AwsError;
use crate::clock;
use crate::xml::items;

const DEFAULT_ROLE: &str = "AWS-SystemsManager-AutomationExecutionRole";
/// How much longer `Outcome::Slow` takes.
const SLOW: u64 = 10;

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

/// Starts it. `unassumable` are the accounts whose execution role cannot be assumed, by place of the location.
pub(super) fn start(
    state: &mut State,
    start: Start<'_>,
    expansion: Expansion,
    unassumable: &HashSet<(usize, String)>,
) -> Result<Value, AwsError> {
    if let Some(answer) = earlier(state, &start.home, start.body)? {
        return Ok(answer);
    }
    let Expansion { locations, problem } = expansion;
    let is_local = request::locations(start.body).is_empty();
    let mut plan = Vec::new();
    for (place, location) in locations.iter().enumerate() {
        for account in &location.accounts {
            let unassumable = !is_local && unassumable.contains(&(place, account.clone()));
            plan.extend(location.regions.iter().map(|region| planned(state, account, region, unassumable)));
        }
    }
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

/// What was scripted, else what the role check says.
fn planned(state: &State, account: &str, region: &str, unassumable: bool) -> Planned {
    let scripted = state.scripts.get(account).and_then(|regions| regions.get(region).or_else(|| regions.get("*")));
    let Script { outcome, takes } = match scripted {
        Some(script) => *script,
        None if unassumable => Outcome::ExecutionRoleMissing.into(),
        None => state.usual,
    };
    let usual = milliseconds(state.takes);
    let usual = if outcome == Outcome::Slow { usual.saturating_mul(SLOW) } else { usual };
    Planned { outcome, takes: takes.map_or(usual, milliseconds) }
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
