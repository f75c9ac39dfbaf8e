//! What is known before a start: what has to be refused, and what its caller should know.

use super::Plan;
use super::limit::Limit;
use super::problem::{Path, Problem};
use super::request::{ASSUME_ROLE_PARAMETER, StartRequest, Target, is_unit};
use super::runbook::{Runbook, takes_targets};
use super::split::{ACCOUNTS_MAX, REGIONS_MAX};

/// Keys of targets that this version knows. The service may know more.
const TARGET_KEYS: [&str; 7] = [
    "ResourceGroup",
    "ParameterValues",
    "InstanceIds",
    "AWS::EC2::Instance",
    "resource-groups:Name",
    "resource-groups:ResourceTypeFilters",
    "tag-key",
];
/// The model's limit on a value of a parameter, which the service does not enforce everywhere.
const VALUE_LENGTH: usize = 512;
/// The service puts a value in place of these.
const TEMPLATE_OPENS: &str = "{{";

/// What was read about the world of a start. What could not be read stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The runbook.
    pub runbook: Result<Runbook, Unread>,
    /// The Regions of the partition.
    pub regions: Result<Vec<KnownRegion>, Unread>,
}

/// Why something is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// The service says that it does not exist.
    NotThere,
    /// It could not be read.
    Failed {
        /// Why.
        reason: String,
        /// Whether it may be read later.
        may_pass: bool,
    },
}

/// A Region of the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRegion {
    /// Its code.
    pub name: String,
    /// Whether the central account has enabled it.
    pub is_enabled: bool,
}

/// What the function may do, by its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Allowed<'a> {
    /// The role that it may pass.
    pub role_arn: &'a str,
    /// The central account.
    pub account: &'a str,
    /// Which of AWS's runbooks it may start, where that is known; a name may end in `*`.
    pub aws_runbooks: Option<&'a [String]>,
    /// Which runbooks of its own account it may start.
    pub own_runbooks: Option<&'a [String]>,
    /// The price of a step, in US dollars.
    pub step_price: Option<f64>,
}

/// What keeps a request from being started. `all_targets` is the caller's word that the runbook is meant for everything.
pub fn refusals(request: &StartRequest, all_targets: bool, facts: &Facts) -> Vec<Problem> {
    let mut problems = regions(request, facts);
    let selected = selected(request);
    if all_targets {
        if selected == Selected::Something {
            let text = "expected only without Targets, got both";
            problems.push(Problem::new(Path::Root.field("AllTargets"), text));
        }
        return problems;
    }
    let mut path = "Targets".to_owned();
    let got = match selected {
        Selected::Something => return problems,
        Selected::Nothing => "nothing".to_owned(),
        Selected::NotIn(index) => {
            path = format!("TargetLocations[{index}].Targets");
            "nothing, unlike another location".to_owned()
        }
        Selected::NotBy(place) => {
            format!("{place}, which selects nothing: it has no value, a blank one, or a known key in another spelling")
        }
    };
    let way_out = "give Targets, or \"AllTargets\": true if it is meant to run without them";
    let is_given = |name: &str| request.parameters.get(name).is_some_and(|values| has_word(values));
    let name = &request.document_name;
    let text = match &facts.runbook {
        Ok(runbook) => {
            let parameters = runbook.target_parameters();
            let is_open = !parameters.is_empty() && !parameters.iter().any(|name| is_given(name));
            is_open.then(|| {
                let list = parameters.join(", ");
                format!("expected a target, got {got}: the runbook {name} takes what it works on as {list}; {way_out}")
            })
        }
        // Without a word about what it works on, and without a look at the runbook, nobody knows what it would do.
        Err(Unread::Failed { reason, .. }) => {
            let says_what = request.parameters.keys().any(|name| takes_targets(name) && is_given(name));
            (!says_what).then(|| {
                format!(
                    "expected a target, or a parameter that says what it works on, got {got}, and the runbook {name} could \
                     not be read ({reason}); {way_out}"
                )
            })
        }
        // The start itself says what is not there.
        Err(Unread::NotThere) => None,
    };
    problems.extend(text.map(|text| Problem::new(path, text)));
    problems
}

/// Whether every location of a request has targets.
pub fn is_targeted(request: &StartRequest) -> bool {
    selected(request) == Selected::Something
}

/// The locations without targets beside others with some, where the request has none for all.
pub fn without_targets(request: &StartRequest) -> Vec<String> {
    let locations = &request.target_locations;
    let with = locations.iter().position(|location| !location.targets.is_empty());
    let Some(with) = with.filter(|_| request.targets.is_empty()) else { return Vec::new() };
    let without = (0..locations.len()).filter(|at| locations[*at].targets.is_empty());
    let note = |without: usize| {
        format!(
            "TargetLocations[{without}]: it has no Targets, unlike TargetLocations[{with}], so that the runbook runs there \
             once, without a target"
        )
    };
    without.map(note).collect()
}

/// What a request says about what the runbook works on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Selected {
    Something,
    Nothing,
    /// This location has no target, and another has.
    NotIn(usize),
    /// What stands here selects nothing.
    NotBy(String),
}

/// Everything that is given has to select something, and what selects nothing counts as not given.
fn selected(request: &StartRequest) -> Selected {
    let of_request = request.targets.iter().map(|target| ("Targets".to_owned(), selects(target)));
    let of_maps = request.target_maps.iter().enumerate().map(|(index, map)| {
        let has_value = map.values().any(|values| has_word(values));
        (format!("TargetMaps[{index}]"), has_value)
    });
    let of_locations = request.target_locations.iter().enumerate().flat_map(|(index, location)| {
        location.targets.iter().map(move |target| (format!("TargetLocations[{index}].Targets"), selects(target)))
    });
    let mut is_given = false;
    for (place, does_select) in of_request.chain(of_maps).chain(of_locations) {
        if !does_select {
            return Selected::NotBy(place);
        }
        is_given = true;
    }
    let is_for_all = !(request.targets.is_empty() && request.target_maps.is_empty());
    let bare = request.target_locations.iter().position(|location| location.targets.is_empty());
    match bare.filter(|_| !is_for_all) {
        _ if !is_given => Selected::Nothing,
        Some(index) => Selected::NotIn(index),
        None => Selected::Something,
    }
}

/// A key that is not known here is the service's to know, but not another spelling of one that is.
fn selects(target: &Target) -> bool {
    let key = target.key.as_str();
    let plain = key.trim().to_ascii_lowercase();
    let is_key = match key.strip_prefix("tag:") {
        Some(tag) => !tag.trim().is_empty(),
        None if TARGET_KEYS.contains(&key) => true,
        None => {
            let is_known =
                plain.starts_with("tag:") || TARGET_KEYS.iter().any(|known| plain.eq_ignore_ascii_case(known));
            !plain.is_empty() && !is_known
        }
    };
    is_key && has_word(&target.values)
}

/// Whether there is a value, and none that is blank.
fn has_word(values: &[String]) -> bool {
    !values.is_empty() && values.iter().all(|value| !value.trim().is_empty())
}

fn regions(request: &StartRequest, facts: &Facts) -> Vec<Problem> {
    let Ok(known) = &facts.regions else { return Vec::new() };
    let names: Vec<&str> = known.iter().map(|region| region.name.as_str()).collect();
    let mut problems = Vec::new();
    for (at, location) in request.target_locations.iter().enumerate() {
        for (index, region) in location.regions.iter().enumerate() {
            if names.contains(&region.as_str()) {
                continue;
            }
            let all = Path::Root.field("TargetLocations");
            let (one, field) = (all.index(at), "Regions");
            let words = match nearest(region, &names) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("this account knows {}", names.join(", ")),
            };
            let text = format!("expected a Region that this account knows, got {region:?}; {words}");
            problems.push(Problem::new(one.field(field).index(index), text));
        }
    }
    problems
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |candidate: &str| strsim::damerau_levenshtein(word, candidate);
    known.iter().copied().min_by_key(|candidate| distance(candidate)).filter(|near| distance(near) <= 3)
}

/// The role that is added to the parameters, and what to say about it.
pub fn role<'a>(
    request: &StartRequest,
    runbook: &Result<Runbook, Unread>,
    role_arn: &'a str,
) -> (Option<&'a str>, String) {
    if let Some(given) = request.parameters.get(ASSUME_ROLE_PARAMETER).and_then(|values| values.first()) {
        return (
            None,
            if given == role_arn || given.contains(TEMPLATE_OPENS) {
                String::new()
            } else {
                format!(
                    "Parameters.{ASSUME_ROLE_PARAMETER}: automation-fanout may pass {role_arn} alone, so that AWS would refuse \
                 the start with {given}"
                )
            },
        );
    }
    match runbook {
        Ok(runbook) if runbook.declares(ASSUME_ROLE_PARAMETER) => {
            (Some(role_arn), format!("Parameters.{ASSUME_ROLE_PARAMETER} is added: {role_arn}"))
        }
        Ok(runbook) => {
            let others = runbook.role_parameters();
            let others = match others.as_slice() {
                [] => String::new(),
                names => format!("; it declares {}, which is yours to give", names.join(", ")),
            };
            let text = format!(
                "the runbook declares no {ASSUME_ROLE_PARAMETER}, so none is added{others}: without a role it runs with \
                 the permissions of automation-fanout, which may not assume execution roles"
            );
            (None, text)
        }
        Err(_) => (
            Some(role_arn),
            format!("Parameters.{ASSUME_ROLE_PARAMETER} is added without a look at the runbook: {role_arn}"),
        ),
    }
}

/// What the caller should know, besides how the request is split.
pub fn notes(request: &StartRequest, plan: &Plan, facts: &Facts, allowed: Allowed<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    permitted(request, allowed, &mut notes);
    match &facts.runbook {
        Ok(runbook) => parameters(request, runbook, &mut notes),
        Err(Unread::NotThere) => {
            notes.push(format!(
                "DocumentName: there is no runbook {} in this account and Region",
                request.document_name
            ));
        }
        Err(Unread::Failed { reason, .. }) => notes.push(format!("the runbook could not be read: {reason}")),
    }
    values(request, &mut notes);
    places(request, facts, &mut notes);
    cost(plan, facts, allowed, &mut notes);
    notes
}

fn permitted(request: &StartRequest, allowed: Allowed<'_>, notes: &mut Vec<String>) {
    let name = request.document_name.as_str();
    let fields: Vec<&str> = name.splitn(6, ':').collect();
    let (short, owner) = match fields.as_slice() {
        ["arn", _, _, _, owner, resource] => (resource.rsplit('/').next().unwrap_or(resource), Some(*owner)),
        _ => (name, None),
    };
    let is_of_aws = owner.map_or(short.starts_with("AWS"), str::is_empty);
    if owner.is_some_and(|owner| !owner.is_empty() && owner != allowed.account) {
        notes.push(format!(
            "DocumentName: automation-fanout starts no runbook that another account shares; make it one of {}",
            allowed.account
        ));
        return;
    }
    let (list, parameter) =
        if is_of_aws { (allowed.aws_runbooks, "AwsRunbooks") } else { (allowed.own_runbooks, "OwnRunbooks") };
    let fits = |pattern: &String| match pattern.strip_suffix('*') {
        Some(start) => short.starts_with(start),
        None => short == pattern,
    };
    if let Some(list) = list
        && !list.iter().any(fits)
    {
        let now = if list.is_empty() { "empty".to_owned() } else { list.join(",") };
        notes.push(format!(
            "DocumentName: automation-fanout may not start {short}, and AWS would refuse it; add it to the parameter \
             {parameter} of fanout.yaml, which is {now}"
        ));
    }
    let elsewhere = |account: &String| account != allowed.account;
    if !is_of_aws && owner.is_none() && request.target_locations.iter().any(|l| l.accounts.iter().any(elsewhere)) {
        notes.push(format!(
            "DocumentName: other accounts know a runbook of {} by its ARN alone, and only once it is shared with them",
            allowed.account
        ));
    }
}

fn parameters(request: &StartRequest, runbook: &Runbook, notes: &mut Vec<String>) {
    if let Some(kind) = runbook.document_type.as_ref().filter(|kind| *kind != "Automation") {
        notes.push(format!("DocumentName: {} is a document of type {kind}, and not a runbook", request.document_name));
    }
    let declared: Vec<&str> = runbook.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let known = |name: &str| match nearest(name, &declared) {
        Some(near) => format!("did you mean {near}?"),
        None if declared.is_empty() => "it declares none".to_owned(),
        None => format!("it declares {}", declared.join(", ")),
    };
    for name in request.parameters.keys().filter(|name| !runbook.declares(name)) {
        notes.push(format!("Parameters.{name}: the runbook declares no such parameter; {}", known(name)));
    }
    if let Some(name) = request.target_parameter_name.as_ref().filter(|name| !runbook.declares(name)) {
        notes.push(format!("TargetParameterName: the runbook declares no parameter {name}; {}", known(name)));
    }
    let is_given = |name: &str| {
        name == ASSUME_ROLE_PARAMETER
            || request.parameters.get(name).is_some_and(|values| !values.is_empty())
            || request.target_parameter_name.as_deref() == Some(name)
            || request.target_maps.iter().any(|map| map.contains_key(name))
    };
    for parameter in runbook.parameters.iter().filter(|p| !p.has_default && !is_given(&p.name)) {
        notes.push(format!("Parameters.{}: the runbook needs it, and it is not given", parameter.name));
    }
}

fn values(request: &StartRequest, notes: &mut Vec<String>) {
    for (name, values) in &request.parameters {
        let longest = values.iter().map(|value| value.chars().count()).max().unwrap_or_default();
        if longest > VALUE_LENGTH {
            notes.push(format!(
                "Parameters.{name}: a value has {longest} characters; the service's model says at most {VALUE_LENGTH}, \
                 which it does not enforce everywhere"
            ));
        }
    }
    let all = request.targets.iter().chain(request.target_locations.iter().flat_map(|location| &location.targets));
    let mut unknown: Vec<&str> = all
        .map(|target| target.key.as_str())
        .filter(|key| !key.starts_with("tag:") && !TARGET_KEYS.contains(key))
        .collect();
    unknown.sort_unstable();
    unknown.dedup();
    for key in unknown {
        notes.push(format!("Targets: the key {key} is newer than this version of automation-fanout, and is passed on"));
    }
}

fn places(request: &StartRequest, facts: &Facts, notes: &mut Vec<String>) {
    let locations = &request.target_locations;
    if locations.is_empty() && request.target_locations_url.is_none() {
        notes.push(
            "without TargetLocations the runbook runs in the central account alone, as the administration role".into(),
        );
    }
    match &facts.regions {
        Ok(known) => {
            let mut off: Vec<&str> = known.iter().filter(|r| !r.is_enabled).map(|r| r.name.as_str()).collect();
            off.retain(|name| locations.iter().any(|location| location.regions.iter().any(|region| region == name)));
            if !off.is_empty() {
                notes.push(format!(
                    "the central account has not enabled {}; an account that has not either fails there with the cause \
                     region-disabled",
                    off.join(", ")
                ));
            }
        }
        Err(Unread::NotThere) => {}
        Err(Unread::Failed { reason, .. }) => notes.push(format!("the Regions were not checked: {reason}")),
    }
    for (index, location) in locations.iter().enumerate() {
        let is_small = location.accounts.len() <= ACCOUNTS_MAX && location.regions.len() <= REGIONS_MAX;
        let errors = location.target_location_max_errors;
        let has_many =
            location.accounts.len() * location.regions.len() > 1 || location.accounts.iter().any(|a| is_unit(a));
        if is_small && has_many && matches!(errors, None | Some(Limit::Count(0))) {
            notes.push(format!(
                "TargetLocations[{index}]: TargetLocationMaxErrors is 0, so that the first failure keeps it from what it has \
                 not begun"
            ));
        }
    }
}

fn cost(plan: &Plan, facts: &Facts, allowed: Allowed<'_>, notes: &mut Vec<String>) {
    let pairs: Option<usize> = plan.parts.iter().map(|part| part.pairs).sum();
    let Some(steps) = facts.runbook.as_ref().ok().and_then(|runbook| runbook.steps) else { return };
    let Some(pairs) = pairs else {
        notes.push(format!("every account and Region runs {steps} steps for each target, and AWS charges each"));
        return;
    };
    let count = pairs.max(1) * steps;
    let Some(price) = allowed.step_price else {
        notes.push(format!("{count} steps for each target: {} accounts and Regions × {steps} steps", pairs.max(1)));
        return;
    };
    // Counts of steps are far below what a float holds exactly.
    let dollars = price * f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    notes.push(format!(
        "AWS charges about {dollars:.2} US dollars for each target: {} accounts and Regions × {steps} steps × {price} a step",
        pairs.max(1)
    ));
}

#[cfg(test)]
mod tests;
