//! The accounts and Regions of an execution, each with where it stands.

use std::collections::BTreeMap;

use hub::{AccountId, Region};
use serde_json::Value;

use super::cause::{Cause, cause};
use super::execution::{Execution, Status, Step};
use super::origin::{Origin, Origins};
use super::request::{DEFAULT_EXECUTION_ROLE, TargetLocation, is_unit};

/// One account and Region of an execution, or one step that names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell<'a> {
    /// Account and Region, where the step tells them.
    pub pair: Option<(String, String)>,
    /// Where it stands.
    pub status: Status,
    /// Why it did not come to a good end.
    pub cause: Option<Cause>,
    /// The step, where there is one.
    pub step: Option<&'a Step>,
    /// The location of the request that it belongs to.
    pub origin: Origin,
}

impl Cell<'_> {
    /// True for one that the service counts and does not name.
    pub fn is_unlisted(&self) -> bool {
        self.pair.is_none() && self.step.is_none()
    }
}

/// An account and a Region.
pub type Pair = (String, String);

/// So many that nobody names are told apart at most.
const UNLISTED_MAX: usize = 200_000;

/// All accounts and Regions: those with a step, and with `all_steps_read` also those that the request names
/// and that have none yet, and those that the service counts and does not name.
pub fn matrix(execution: &Execution, all_steps_read: bool) -> Vec<Cell<'_>> {
    let has_ended = execution.status.is_terminal();
    let locations = &execution.request.target_locations;
    let origins = Origins::new(locations);
    let mut by_pair: BTreeMap<Option<Pair>, Vec<&Step>> = BTreeMap::new();
    for step in &execution.steps {
        by_pair.entry(pair(step)).or_default().push(step);
    }
    let without_step = Status::from(if has_ended { Status::NOT_STARTED } else { Status::PENDING });
    let missing =
        |pair: Option<Pair>, origin| Cell { pair, status: without_step.clone(), cause: None, step: None, origin };
    let mut cells = Vec::with_capacity(execution.steps.len());
    for (pair, steps) in &by_pair {
        let (of_steps, left) = match pair {
            Some((account, region)) => origins.of_steps(account, region, steps),
            None => (vec![Origin::Unknown; steps.len()], Vec::new()),
        };
        for (step, origin) in steps.iter().zip(of_steps) {
            let of_location = origin.location().and_then(|index| locations.get(index));
            let told = step.target_location.as_ref().filter(|location| location.execution_role_name.is_some());
            let role = told.or(of_location).or(locations.first()).map(TargetLocation::execution_role);
            cells.push(Cell {
                pair: pair.clone(),
                status: match &step.status {
                    // It waits for ever: the execution is over.
                    status if has_ended && status.is_pending() => Status::from(Status::NOT_STARTED),
                    status => status.clone(),
                },
                cause: cause(step, role.unwrap_or(DEFAULT_EXECUTION_ROLE)),
                step: Some(step),
                origin,
            });
        }
        if let Some(pair) = pair.as_ref().filter(|_| all_steps_read) {
            cells.extend(left.into_iter().map(|origin| missing(Some(pair.clone()), origin)));
        }
    }
    // What organizational units hold is not known here.
    for (index, location) in locations.iter().enumerate().filter(|_| all_steps_read) {
        for account in location.reached().filter(|account| !is_unit(account)) {
            let pairs = location.regions.iter().map(|region| Some((account.clone(), region.clone())));
            let new = pairs.filter(|pair| !by_pair.contains_key(pair));
            cells.extend(new.map(|pair| missing(pair, Origin::Location(index))));
        }
    }
    if all_steps_read {
        let count = unlisted(execution, &cells);
        cells.extend((0..count).map(|_| missing(None, Origin::Unknown)));
    }
    cells.sort_by(|a, b| (&a.pair, name(a)).cmp(&(&b.pair, name(b))));
    cells
}

/// How many accounts of units and files the service counts beside these, without those that it counts as successes.
fn unlisted(execution: &Execution, cells: &[Cell<'_>]) -> usize {
    let Some(progress) = execution.progress.filter(|_| execution.request.hides_accounts()) else { return 0 };
    let number = |count: i32| usize::try_from(count).unwrap_or_default();
    let not_well = cells.iter().filter(|cell| !cell.status.is_success()).count();
    let more = number(progress.total).saturating_sub(cells.len());
    more.min(number(progress.total.saturating_sub(progress.success)).saturating_sub(not_well)).min(UNLISTED_MAX)
}

fn name<'a>(cell: &Cell<'a>) -> Option<&'a str> {
    cell.step.map(|step| step.name.as_str())
}

/// The id of the child that a step started.
pub fn child_execution_id(step: &Step) -> Option<&str> {
    let is_id_key = |key: &str| key == "ExecutionId" || key == "AutomationExecutionId" || key.ends_with(".ExecutionId");
    let from_outputs = step.outputs.iter().find(|(key, _)| is_id_key(key)).and_then(|(_, values)| values.first());
    let from_inputs = || step.inputs.iter().find(|(key, _)| is_id_key(key)).map(|(_, value)| value);
    from_outputs.or_else(from_inputs).map(|id| id.trim_matches('"')).filter(|id| !id.is_empty())
}

/// Account and Region: from the step's target location, or else from its inputs, or else from its name.
fn pair(step: &Step) -> Option<(String, String)> {
    from_location(step).or_else(|| from_inputs(step)).or_else(|| from_text(&step.name))
}

fn from_location(step: &Step) -> Option<(String, String)> {
    let location = step.target_location.as_ref()?;
    match (location.accounts.as_slice(), location.regions.as_slice()) {
        ([account], [region]) => Some((account.clone(), region.clone())),
        _ => None,
    }
}

/// Inputs are JSON texts, such as `TargetLocation` with the fields of one.
fn from_inputs(step: &Step) -> Option<(String, String)> {
    step.inputs.iter().filter(|(key, _)| key.starts_with("TargetLocation")).find_map(|(_, text)| {
        let value: Value = serde_json::from_str(text).ok()?;
        let location = value.get(0).unwrap_or(&value);
        let only = |names: [&str; 2]| {
            let list = names.iter().find_map(|name| location.get(*name))?.as_array()?;
            match list.as_slice() {
                [one] => one.as_str().map(str::to_owned),
                _ => None,
            }
        };
        Some((only(["Accounts", "accounts"])?, only(["Regions", "regions"])?))
    })
}

/// An account id and a Region code as words of a text, such as `Patch_222222222222_us-east-1`.
fn from_text(text: &str) -> Option<(String, String)> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let words: Vec<&str> = words
        .flat_map(|word| match word.split_once('-') {
            // Hyphens may also stand between the two.
            Some((account, rest)) if account.parse::<AccountId>().is_ok() => vec![account, rest],
            _ => vec![word],
        })
        .collect();
    let account = words.iter().find_map(|word| word.parse::<AccountId>().ok())?;
    let region = words.iter().find_map(|word| word.parse::<Region>().ok())?;
    Some((account.into(), region.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::execution::Progress;
    use crate::plan::request::StartRequest;

    fn location(accounts: &[&str], regions: &[&str]) -> TargetLocation {
        let strings = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        TargetLocation { accounts: strings(accounts), regions: strings(regions), ..TargetLocation::default() }
    }

    fn named(name: &str) -> Step {
        Step { name: name.to_owned(), status: "Success".into(), ..Step::default() }
    }

    #[test]
    fn the_place_is_read_from_what_tells_it() {
        let expected = Some(("222222222222".to_owned(), "us-east-1".to_owned()));
        let in_location = Step { target_location: Some(location(&["222222222222"], &["us-east-1"])), ..named("Step1") };
        assert_eq!(pair(&in_location), expected);
        for input in [
            r#"{"Accounts": ["222222222222"], "Regions": ["us-east-1"]}"#,
            r#"[{"accounts": ["222222222222"], "regions": ["us-east-1"]}]"#,
        ] {
            let in_inputs =
                Step { inputs: [("TargetLocations".to_owned(), input.to_owned())].into(), ..named("Step1") };
            assert_eq!(pair(&in_inputs), expected, "{input}");
        }
        for name in ["Patch_222222222222_us-east-1", "222222222222-us-east-1", "us-east-1/222222222222"] {
            assert_eq!(pair(&named(name)), expected, "{name}");
        }
        for name in ["", "stopInstances", "Patch_2222_us-east-1", "222222222222"] {
            assert_eq!(pair(&named(name)), None, "{name}");
        }
    }

    #[test]
    fn the_child_is_found_in_outputs_and_inputs() {
        let id = "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE";
        let step = Step { outputs: [("ExecutionId".to_owned(), vec![id.to_owned()])].into(), ..Step::default() };
        assert_eq!(child_execution_id(&step), Some(id));
        let step = Step { inputs: [("AutomationExecutionId".to_owned(), format!("{id:?}"))].into(), ..Step::default() };
        assert_eq!(child_execution_id(&step), Some(id));
        assert_eq!(child_execution_id(&Step::default()), None);
    }

    fn execution(status: &str) -> Execution {
        Execution {
            status: status.into(),
            request: StartRequest {
                target_locations: vec![
                    location(&["222222222222", "111111111111"], &["us-west-2", "us-east-1"]),
                    location(&["ou-1a2b3c-4d5e6c"], &["us-east-1"]),
                ],
                ..StartRequest::default()
            },
            steps: vec![named("222222222222_us-east-1"), named("333333333333_us-east-1"), named("notify")],
            ..Execution::default()
        }
    }

    fn statuses(cells: &[Cell<'_>]) -> Vec<String> {
        let place = |cell: &Cell<'_>| match &cell.pair {
            Some((account, region)) => format!("{account} {region}"),
            None => cell.step.map(|step| step.name.clone()).unwrap_or_default(),
        };
        cells.iter().map(|cell| format!("{} {}", place(cell), cell.status)).collect()
    }

    #[test]
    fn what_still_waits_when_the_run_is_over_was_never_started() {
        let mut execution = execution("Failed");
        execution.steps.push(Step { status: "Pending".into(), ..named("444444444444_us-east-1") });
        assert!(statuses(&matrix(&execution, true)).contains(&"444444444444 us-east-1 NotStarted".to_owned()));
        execution.status = "InProgress".into();
        assert!(statuses(&matrix(&execution, true)).contains(&"444444444444 us-east-1 Pending".to_owned()));
    }

    #[test]
    fn what_the_service_counts_and_does_not_name_is_there_too() {
        let progress = |total, success| Some(Progress { total, success, ..Progress::default() });
        let unlisted = |execution: &Execution, all| -> Vec<String> {
            matrix(execution, all)
                .iter()
                .filter(|cell| cell.is_unlisted())
                .map(|cell| cell.status.to_string())
                .collect()
        };
        let none: Vec<String> = Vec::new();
        // Six cells are known, of which three did well.
        for (total, success, expected) in [
            (10, 3, 4),
            (10, 5, 2),
            (10, 10, 0),
            (6, 3, 0),
            (3, 3, 0),
            (0, 0, 0),
            (-1, 0, 0),
            (i32::MAX, -5, UNLISTED_MAX),
        ] {
            let ended = Execution { progress: progress(total, success), ..execution("Failed") };
            assert_eq!(unlisted(&ended, true), vec!["NotStarted".to_owned(); expected], "{total} {success}");
            assert_eq!(unlisted(&ended, false), none, "what was not read may be it");
        }
        let running = Execution { progress: progress(10, 3), ..execution("InProgress") };
        assert_eq!(unlisted(&running, true), vec!["Pending".to_owned(); 4]);
        // All is named.
        let mut named = Execution { progress: progress(10, 3), ..execution("Failed") };
        named.request.target_locations.pop();
        assert_eq!(unlisted(&named, true), none);
        named.request.target_locations_url = Some("https://bucket.s3.amazonaws.com/x".to_owned());
        assert_eq!(unlisted(&named, true).len(), 4);
    }

    #[test]
    fn pairs_without_a_step_are_shown_where_the_request_names_them() {
        assert_eq!(
            statuses(&matrix(&execution("InProgress"), true)),
            [
                "notify Success",
                "111111111111 us-east-1 Pending",
                "111111111111 us-west-2 Pending",
                "222222222222 us-east-1 Success",
                "222222222222 us-west-2 Pending",
                "333333333333 us-east-1 Success",
            ]
        );
        assert_eq!(statuses(&matrix(&execution("Failed"), true))[1], "111111111111 us-east-1 NotStarted");
        assert_eq!(matrix(&execution("Failed"), false).len(), 3, "what was not read may well be there");
    }
}
