//! From an execution to what is answered about it.

use std::collections::BTreeMap;

use super::matrix::{Cell, child_execution_id, matrix};
use crate::answer::{ExecutionStatus, LocationStatus, StatusAnswer};
use crate::execution::Execution;

/// The code of an execution that the service does not know.
const NOT_FOUND: &str = "AutomationExecutionNotFoundException";
/// How much of a message is repeated.
const MESSAGE_MAX: usize = 500;

/// Where an execution stands. Without `all_steps_read`, what it has no step for is left open.
pub fn view(execution: &Execution, all_steps_read: bool) -> ExecutionStatus {
    let cells = matrix(execution, all_steps_read);
    let mut status = ExecutionStatus {
        automation_execution_id: execution.id.clone(),
        status: Some(execution.status.clone()),
        terminal: execution.status.is_terminal(),
        document_name: Some(execution.request.document_name.clone()).filter(|name| !name.is_empty()),
        document_version: execution.request.document_version.clone(),
        message: execution.failure_message.as_deref().map(cut),
        ..ExecutionStatus::default()
    };
    for cell in &cells {
        *status.counts.entry(cell.status.to_string()).or_default() += 1;
        if let Some(cause) = cell.cause {
            *status.causes.entry(cause.as_str()).or_default() += 1;
        }
    }
    status.warnings = warnings(execution, &cells, all_steps_read);
    status.locations = cells.iter().map(location).collect();
    status
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
        cause: cell.cause,
        message: message.map(|message| cut(message)),
    }
}

/// What ended well although nothing was done.
fn warnings(execution: &Execution, cells: &[Cell<'_>], all_steps_read: bool) -> Vec<String> {
    let mut warnings: Vec<String> = execution.warning_message.as_deref().map(cut).into_iter().collect();
    if execution.status.is_success() && all_steps_read && cells.iter().all(|cell| cell.step.is_none()) {
        warnings.push("ended well without running anywhere: nothing was targeted".to_owned());
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
    let mut causes: BTreeMap<String, usize> = BTreeMap::new();
    for execution in executions {
        let status = execution.status.as_ref().map_or_else(|| "not readable".to_owned(), ToString::to_string);
        *statuses.entry(status).or_default() += 1;
        for (status, count) in &execution.counts {
            *locations.entry(status.clone()).or_default() += count;
        }
        for (cause, count) in &execution.causes {
            *causes.entry((*cause).to_owned()).or_default() += count;
        }
    }
    let location_count: usize = locations.values().sum();
    let warning_count: usize = executions.iter().map(|execution| execution.warnings.len()).sum();
    let mut parts = vec![format!("{}: {}", counted(executions.len(), "execution"), list(&statuses))];
    parts.push(match location_count {
        0 => counted(0, "location"),
        count => format!("{}: {}{}", counted(count, "location"), list(&locations), in_brackets(&causes)),
    });
    if warning_count > 0 {
        parts.push(counted(warning_count, "warning"));
    }
    parts.join("; ")
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

fn cut(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::ReadError;
    use crate::execution::Step;

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
        assert_eq!(status.locations[0].message.as_ref().map(|message| message.chars().count()), Some(501));
        assert_eq!(status.locations[0].step.as_deref(), Some("x"));
    }
}
