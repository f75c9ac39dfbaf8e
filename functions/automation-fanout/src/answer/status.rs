//! From an execution to what is answered about it.

use std::collections::BTreeMap;

use super::execution::LISTED_MAX;
use super::fit::rank;
use super::{ExecutionStatus, FailureGroup, LocationStatus, StatusAnswer, WaitingStep};
use crate::plan::cause::{Cause, cause_of_execution};
use crate::plan::execution::{Execution, Status, Step};
use crate::plan::{Cell, child_execution_id, matrix, missing_permission};

/// The code of an execution that the service does not know.
const NOT_FOUND: &str = "AutomationExecutionNotFoundException";
/// How much of a message is repeated.
const MESSAGE_MAX: usize = 500;
/// How many locations of an execution are worked up: with some 150 bytes each, no more fit into an answer.
const LOCATIONS_MAX: usize = 30_000;
/// The key of an output that tells how far the targets of a location are.
const TARGETS_SUMMARY: &str = "TargetsSummary";

/// Where an execution stands. Without `all_steps_read`, what it has no step for is left open.
pub fn view(execution: &Execution, all_steps_read: bool) -> ExecutionStatus {
    let cells = matrix(execution, all_steps_read);
    let has_locations = has_locations(execution, &cells);
    let came_nowhere = cells.iter().all(|cell| cell.step.is_none());
    let mut status = ExecutionStatus {
        automation_execution_id: execution.id.clone(),
        status: Some(execution.status.clone()),
        terminal: execution.status.is_terminal(),
        document_name: Some(execution.request.document_name.clone()).filter(|name| !name.is_empty()),
        document_version: execution.request.document_version.clone(),
        started_at: execution.started_at,
        ended_at: execution.ended_at,
        executed_by: execution.executed_by.clone(),
        cause: if came_nowhere { cause_of_execution(execution) } else { None },
        alarms: execution.triggered_alarms.clone(),
        waiting: cells.iter().filter_map(waiting).collect(),
        progress: execution.progress,
        failures: failures(&cells),
        message: execution.failure_message.as_deref().map(cut),
        ..ExecutionStatus::default()
    };
    for cell in &cells {
        *status.counts.entry(cell.status.to_string()).or_default() += 1;
        if let Some(cause) = cell.cause {
            *status.causes.entry(cause.into_str()).or_default() += 1;
        }
    }
    status.keep(LISTED_MAX);
    status.warnings = warnings(execution, &cells, all_steps_read);
    let shown = shown(&cells);
    status.locations_omitted = cells.iter().filter(|cell| !cell.is_unlisted()).count() - shown.len();
    let all = shown.into_iter().map(location).collect();
    if has_locations {
        status.locations = all;
    } else {
        status.steps = all;
    }
    status
}

/// As many as an answer could hold at all, in their order: those in trouble rather than the others.
fn shown<'c, 's>(cells: &'c [Cell<'s>]) -> Vec<&'c Cell<'s>> {
    let mut indices: Vec<usize> = (0..cells.len()).filter(|index| !cells[*index].is_unlisted()).collect();
    if indices.len() > LOCATIONS_MAX {
        indices.sort_by_key(|index| rank(&cells[*index].status, cells[*index].cause));
        indices.truncate(LOCATIONS_MAX);
        indices.sort_unstable();
    }
    indices.into_iter().map(|index| &cells[index]).collect()
}

fn has_locations(execution: &Execution, cells: &[Cell<'_>]) -> bool {
    !execution.request.target_locations.is_empty()
        || execution.request.target_locations_url.is_some()
        || cells.iter().any(|cell| cell.pair.is_some())
}

/// What went wrong or never began, by cause and message: the most frequent first.
pub(super) fn failures(cells: &[Cell<'_>]) -> Vec<FailureGroup> {
    type Kind = (Option<Cause>, Status, Option<String>);
    let mut groups: BTreeMap<Kind, FailureGroup> = BTreeMap::new();
    for cell in cells {
        let was_never_begun = cell.status.as_str() == Status::NOT_STARTED;
        let has_failed = cell.status.is_failure() && cell.cause.is_some();
        if !(was_never_begun || has_failed) {
            continue;
        }
        let message = cell.step.and_then(|step| step.failure_message.as_deref());
        let permission = message.and_then(missing_permission);
        let kind = (cell.cause, cell.status.clone(), permission.clone());
        let group = groups.entry(kind).or_insert_with(|| FailureGroup {
            cause: cell.cause,
            status: cell.status.clone(),
            count: 0,
            permission,
            message: message.map(cut),
            accounts: BTreeMap::new(),
            accounts_omitted: 0,
        });
        group.count += 1;
        if cell.is_unlisted() {
            group.message.get_or_insert_with(|| "counted by the service, which does not name them all".to_owned());
        }
        if let Some((account, region)) = &cell.pair {
            group.accounts.entry(account.clone()).or_default().push(region.clone());
        }
    }
    let mut groups: Vec<FailureGroup> = groups.into_values().collect();
    for group in &mut groups {
        group.keep_accounts(LISTED_MAX);
    }
    groups.sort_by_key(|group| (group.cause.is_none(), std::cmp::Reverse(group.count)));
    groups
}

/// What went wrong in several executions, those among it that came to no location.
pub fn failure_groups(executions: &[(&Execution, bool)]) -> Vec<FailureGroup> {
    let cells: Vec<Cell<'_>> =
        executions.iter().flat_map(|(execution, all_steps_read)| matrix(execution, *all_steps_read)).collect();
    let mut groups = failures(&cells);
    for (execution, _) in executions {
        let came_nowhere = matrix(execution, true).iter().all(|cell| cell.step.is_none());
        if let Some(cause) = cause_of_execution(execution).filter(|_| came_nowhere) {
            let message = execution.failure_message.as_deref();
            groups.insert(
                0,
                FailureGroup {
                    cause: Some(cause),
                    status: execution.status.clone(),
                    count: 1,
                    permission: message.and_then(missing_permission),
                    message: message.map(cut),
                    accounts: BTreeMap::new(),
                    accounts_omitted: 0,
                },
            );
        }
    }
    groups
}

fn waiting(cell: &Cell<'_>) -> Option<WaitingStep> {
    let step = cell.step?;
    if !cell.status.is_waiting() {
        return None;
    }
    let (account, region) = cell.pair.clone().unzip();
    let approvers = step.inputs.iter().find(|(name, _)| name.as_str() == "Approvers").map(|(_, value)| cut(value));
    Some(WaitingStep { step: step.name.clone(), action: step.action.clone(), account, region, approvers })
}

fn location(cell: &Cell<'_>) -> LocationStatus {
    let (account, region) = cell.pair.clone().unzip();
    let message = cell.step.and_then(|step| step.failure_message.as_ref().or(step.warning_message.as_ref()));
    LocationStatus {
        step: if account.is_none() { cell.step.map(|step| step.name.clone()) } else { None },
        account,
        region,
        status: cell.status.clone(),
        child_execution_id: cell.step.and_then(child_execution_id).map(str::to_owned),
        progress: cell.step.and_then(progress),
        cause: cell.cause,
        message: message.map(|message| cut(message)),
    }
}

/// How far the targets of a location are, where the service tells.
fn progress(step: &Step) -> Option<String> {
    let from_outputs = step.outputs.iter().find(|(key, _)| key.ends_with(TARGETS_SUMMARY));
    let from_outputs = from_outputs.map(|(_, values)| cut(&values.join(", ")));
    from_outputs.or_else(|| {
        let from_inputs = step.inputs.iter().find(|(key, _)| key.ends_with(TARGETS_SUMMARY));
        from_inputs.map(|(_, value)| cut(value))
    })
}

/// What ended well although nothing was done.
fn warnings(execution: &Execution, cells: &[Cell<'_>], all_steps_read: bool) -> Vec<String> {
    let mut warnings: Vec<String> = execution.warning_message.as_deref().map(cut).into_iter().collect();
    if execution.status.is_success() && all_steps_read && cells.iter().all(|cell| cell.step.is_none()) {
        warnings.push("ended well without running anywhere: nothing was targeted".to_owned());
    }
    if execution.may_hide_more() {
        warnings.push("how many accounts of its units or file it never came to is not known".to_owned());
    }
    let empty_count = cells.iter().filter(|cell| cell.status.is_success() && cell.cause.is_some()).count();
    if empty_count > 0 {
        warnings.push(format!("{} ended well with nothing targeted", counted(empty_count, "location")));
    }
    warnings
}

/// All executions together.
pub fn status_answer(executions: Vec<ExecutionStatus>) -> StatusAnswer {
    let is_done = |execution: &ExecutionStatus| match &execution.error {
        // What the service does not know will never end.
        Some(error) => execution.terminal || error.code == NOT_FOUND,
        None => execution.terminal,
    };
    StatusAnswer {
        action: "Status",
        terminal: executions.iter().all(is_done),
        summary: summary(&executions),
        executions,
    }
}

/// Such as `2 executions: 1 Success, 1 InProgress; 4 locations: 3 Success, 1 Failed (1 execution-role)`.
fn summary(executions: &[ExecutionStatus]) -> String {
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    let mut locations: BTreeMap<String, usize> = BTreeMap::new();
    let mut steps: BTreeMap<String, usize> = BTreeMap::new();
    let mut causes: BTreeMap<String, usize> = BTreeMap::new();
    let mut words = Vec::new();
    for execution in executions {
        let status = execution.status.as_ref().map_or_else(|| "not readable".to_owned(), ToString::to_string);
        *statuses.entry(status).or_default() += 1;
        let counts = if execution.steps.is_empty() { &mut locations } else { &mut steps };
        for (status, count) in &execution.counts {
            *counts.entry(status.clone()).or_default() += count;
        }
        for (cause, count) in &execution.causes {
            *causes.entry((*cause).to_owned()).or_default() += count;
        }
        if let Some(cause) = execution.cause {
            let message = execution.message.as_deref().unwrap_or("no reason is known");
            words.push(format!("came to no location ({}): {message}", cause.into_str()));
        }
        for alarm in &execution.alarms {
            words.push(format!("the alarm {alarm} fired"));
        }
        if let Some(waiting) = execution.waiting.first() {
            let count = execution.waiting.len() + execution.waiting_omitted;
            words.push(format!("{} for somebody, first {}", waits(count), waiting.step));
        }
    }
    let location_count: usize = locations.values().sum();
    let step_count: usize = steps.values().sum();
    let warning_count: usize = executions.iter().map(|execution| execution.warnings.len()).sum();
    let mut parts = vec![format!("{}: {}", counted(executions.len(), "execution"), list(&statuses))];
    if location_count > 0 {
        let count = counted(location_count, "location");
        parts.push(format!("{count}: {}{}", list(&locations), in_brackets(&causes)));
    } else if step_count == 0 {
        parts.push(counted(0, "location"));
    }
    if step_count > 0 {
        let causes = if location_count == 0 { in_brackets(&causes) } else { String::new() };
        parts.push(format!("{}: {}{causes}", counted(step_count, "step"), list(&steps)));
    }
    if warning_count > 0 {
        parts.push(counted(warning_count, "warning"));
    }
    parts.extend(words);
    parts.join("; ")
}

fn waits(count: usize) -> String {
    if count == 1 { "1 step waits".to_owned() } else { format!("{count} steps wait") }
}

fn in_brackets(causes: &BTreeMap<String, usize>) -> String {
    if causes.is_empty() { String::new() } else { format!(" (causes: {})", list(causes)) }
}

fn list(counts: &BTreeMap<String, usize>) -> String {
    let items: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    items.join(", ")
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A message as far as it is repeated.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::ReadError;

    fn step(name: &str, status: &str, message: Option<&str>) -> Step {
        Step {
            name: name.to_owned(),
            status: status.into(),
            failure_message: message.map(str::to_owned),
            ..Step::default()
        }
    }

    fn execution(status: &str, steps: Vec<Step>) -> Execution {
        Execution { id: "e".to_owned(), status: status.into(), steps, ..Execution::default() }
    }

    #[test]
    fn the_summary_says_it_in_one_line() {
        let running = execution(
            "InProgress",
            vec![
                step("222222222222_us-east-1", "Success", None),
                step("222222222222_us-west-2", "Failed", Some("The execution role is unable to be assumed")),
                step("333333333333_us-east-1", "InProgress", None),
            ],
        );
        let unknown = ExecutionStatus {
            error: Some(ReadError { code: NOT_FOUND.to_owned(), message: "no such execution".to_owned() }),
            ..ExecutionStatus::default()
        };
        let answer = status_answer(vec![view(&running, true), unknown.clone()]);
        assert_eq!(
            answer.summary,
            "2 executions: 1 InProgress, 1 not readable; 3 locations: 1 Failed, 1 InProgress, 1 Success (causes: 1 \
             execution-role)"
        );
        assert!(!answer.terminal);
        let done = view(&execution("Failed", vec![]), true);
        assert!(status_answer(vec![done.clone(), unknown]).terminal, "what is not known will never end");
        let unread = ExecutionStatus {
            error: Some(ReadError { code: "ThrottlingException".to_owned(), message: String::new() }),
            ..ExecutionStatus::default()
        };
        assert!(!status_answer(vec![done, unread]).terminal);
    }

    #[test]
    fn success_without_anything_to_do_is_a_warning() {
        let answer = status_answer(vec![view(&execution("Success", vec![]), true)]);
        assert_eq!(answer.executions[0].warnings, ["ended well without running anywhere: nothing was targeted"]);
        assert_eq!(answer.summary, "1 execution: 1 Success; 0 locations; 1 warning");
        let odd = Step {
            warning_message: Some("No targets found".to_owned()),
            ..step("222222222222_us-east-1", "Success", None)
        };
        let status = view(&execution("Success", vec![odd]), true);
        assert_eq!(status.warnings, ["1 location ended well with nothing targeted"]);
        assert_eq!(status.locations[0].message.as_deref(), Some("No targets found"));
    }

    #[test]
    fn long_messages_are_cut() {
        let status = view(&execution("Failed", vec![step("x", "Failed", Some(&"é".repeat(600)))]), true);
        assert_eq!(status.steps[0].message.as_ref().map(|message| message.chars().count()), Some(501));
        assert_eq!(status.steps[0].step.as_deref(), Some("x"));
    }

    #[test]
    fn steps_are_called_steps_where_there_are_no_locations() {
        let run = execution("Failed", vec![step("stop", "Success", None), step("start", "Failed", Some("no room"))]);
        let answer = status_answer(vec![view(&run, true)]);
        assert_eq!(answer.summary, "1 execution: 1 Failed; 2 steps: 1 Failed, 1 Success (causes: 1 target-failed)");
        assert!(answer.executions[0].locations.is_empty());
    }

    #[test]
    fn failures_are_grouped_by_cause_with_their_accounts() {
        let denied = |action: &str| format!("User: x is not authorized to perform: {action} on resource: y");
        let run = execution(
            "Failed",
            vec![
                step("222222222222_us-east-1", "Failed", Some(&denied("ec2:StopInstances"))),
                step("222222222222_us-west-2", "Failed", Some(&denied("ec2:StopInstances"))),
                step("333333333333_us-east-1", "Failed", Some("AuthFailure: not validated")),
                step("444444444444_us-east-1", "Pending", None),
                step("555555555555_us-east-1", "Success", None),
            ],
        );
        let failures = view(&run, true).failures;
        let told: Vec<_> = failures
            .iter()
            .map(|group| {
                (
                    group.cause.as_ref().map(Cause::into_str),
                    group.count,
                    group.permission.as_deref(),
                    group.status.as_str(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (Some("access-denied"), 2, Some("ec2:StopInstances"), "Failed"),
                (Some("region-disabled"), 1, None, "Failed"),
                (None, 1, None, "NotStarted"),
            ]
        );
        let regions = vec!["us-east-1".to_owned(), "us-west-2".to_owned()];
        assert_eq!(failures[0].accounts, [("222222222222".to_owned(), regions)].into());
    }

    #[test]
    fn what_came_nowhere_and_what_rang_is_in_the_summary() {
        let mut run = execution("Failed", Vec::new());
        run.failure_message = Some("The accounts of ou-ab12-cdefghij can't be listed.".to_owned());
        run.triggered_alarms = vec!["patching-breaks-things".to_owned()];
        let answer = status_answer(vec![view(&run, true)]);
        assert_eq!(answer.executions[0].cause.as_ref().map(Cause::into_str), Some("organizational-unit"));
        assert_eq!(
            answer.summary,
            "1 execution: 1 Failed; 0 locations; came to no location (organizational-unit): The accounts of \
             ou-ab12-cdefghij can't be listed.; the alarm patching-breaks-things fired"
        );
    }

    #[test]
    fn of_more_locations_than_fit_those_in_trouble_are_shown() {
        let mut steps: Vec<Step> =
            (0..LOCATIONS_MAX + 10).map(|number| step(&format!("{number:012}_us-east-1"), "Success", None)).collect();
        steps[LOCATIONS_MAX + 9] = step("999999999999_us-east-1", "Failed", Some("no"));
        let view = view(&execution("Failed", steps), true);
        assert_eq!((view.locations.len(), view.locations_omitted), (LOCATIONS_MAX, 10));
        assert_eq!(view.counts["Success"], LOCATIONS_MAX + 9);
        assert_eq!(view.locations[LOCATIONS_MAX - 1].account.as_deref(), Some("999999999999"));
    }

    #[test]
    fn what_waits_for_somebody_is_told() {
        let mut approve = step("approve", "Waiting", None);
        approve.action = "aws:approve".to_owned();
        approve.inputs.push(("Approvers".to_owned(), "[\"arn:aws:iam::111111111111:user/ops\"]".to_owned()));
        let answer = status_answer(vec![view(&execution("Waiting", vec![approve]), true)]);
        assert_eq!(answer.executions[0].waiting[0].step, "approve");
        assert!(answer.summary.ends_with("1 step waits for somebody, first approve"), "{}", answer.summary);
    }
}
