//! Keeping an answer within what Lambda returns.

use std::cmp::Reverse;
use std::collections::HashSet;

use serde::Serialize;

use super::execution::LISTED_MAX;
use super::{ExecutionStatus, LocationStatus};
use crate::plan::cause::Cause;
use crate::plan::execution::Status;

/// Leaves out locations until the answer takes at most `bytes_max` as JSON: first those that went well, then
/// those that have not begun, then those under way. The counts stay whole. Where what is told beside them takes more than
/// half of the room, fewer accounts of each cause are named.
pub fn fit(executions: &mut [ExecutionStatus], bytes_max: usize) {
    let mut listed = LISTED_MAX;
    while listed > 0 && rest(executions) > bytes_max / 2 {
        listed /= 2;
        for execution in executions.iter_mut() {
            execution.keep(listed);
        }
    }
    let room = bytes_max.saturating_sub(rest(executions));
    let mut sizes: Vec<(u8, usize, usize, usize)> = Vec::new();
    for (execution_index, execution) in executions.iter_mut().enumerate() {
        for (index, location) in locations(execution).iter().enumerate() {
            sizes.push((rank(&location.status, location.cause), execution_index, index, size(location) + 1));
        }
    }
    let mut total: usize = sizes.iter().fold(0, |sum, (_, _, _, size)| sum.saturating_add(*size));
    sizes.sort_by_key(|(rank, execution, index, _)| Reverse((*rank, *execution, *index)));
    let mut omitted: HashSet<(usize, usize)> = HashSet::new();
    for (_, execution, index, size) in sizes {
        if total <= room {
            break;
        }
        total = total.saturating_sub(size);
        omitted.insert((execution, index));
    }
    for (execution_index, execution) in executions.iter_mut().enumerate() {
        let all = locations(execution);
        let before = all.len();
        let mut index = 0;
        all.retain(|_| {
            index += 1;
            !omitted.contains(&(execution_index, index - 1))
        });
        let gone = before - all.len();
        execution.locations_omitted += gone;
    }
}

/// Its locations, or what stands in their place.
fn locations(execution: &mut ExecutionStatus) -> &mut Vec<LocationStatus> {
    if execution.steps.is_empty() { &mut execution.locations } else { &mut execution.steps }
}

/// How much all takes that is no location.
fn rest(executions: &mut [ExecutionStatus]) -> usize {
    let mut total = 0;
    for execution in executions {
        let (locations, steps) = (std::mem::take(&mut execution.locations), std::mem::take(&mut execution.steps));
        total += size(execution) + 1;
        (execution.locations, execution.steps) = (locations, steps);
    }
    total
}

/// What cannot be written does not get into an answer either.
fn size(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

/// The higher, the sooner a location is left out.
pub(super) fn rank(status: &Status, cause: Option<Cause>) -> u8 {
    match status {
        status if cause.is_some() || status.is_failure() => 0,
        status if status.is_success() => 3,
        status if status.is_pending() => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{FailureGroup, WaitingStep};

    fn location(status: &str) -> LocationStatus {
        LocationStatus {
            account: Some("222222222222".to_owned()),
            region: Some("us-east-1".to_owned()),
            step: None,
            status: status.into(),
            child_execution_id: None,
            progress: None,
            cause: None,
            message: None,
        }
    }

    #[test]
    fn what_went_well_makes_room_for_what_did_not() {
        let words = ["Success", "Failed", "Pending", "InProgress", "Success"];
        let execution = ExecutionStatus { locations: words.map(location).to_vec(), ..ExecutionStatus::default() };
        let size = serde_json::to_vec(&location("Success")).unwrap().len() + 4;
        let rest = serde_json::to_vec(&ExecutionStatus::default()).unwrap().len() + 1;
        for (room, expected) in [
            (5, vec!["Success", "Failed", "Pending", "InProgress", "Success"]),
            (4, vec!["Success", "Failed", "Pending", "InProgress"]),
            (2, vec!["Failed", "InProgress"]),
            (0, vec![]),
        ] {
            let mut executions = [execution.clone()];
            fit(&mut executions, rest + room * size);
            let left: Vec<&str> = executions[0].locations.iter().map(|location| location.status.as_str()).collect();
            assert_eq!(left, expected, "{room}");
            assert_eq!(executions[0].locations_omitted, 5 - expected.len());
        }
    }

    #[test]
    fn what_is_told_beside_the_locations_makes_room_too() {
        let regions = || (0..50).map(|number| format!("us-region-{number}")).collect::<Vec<_>>();
        let group = || FailureGroup {
            cause: None,
            status: "Failed".into(),
            count: 10_000,
            permission: None,
            message: None,
            accounts: (0..200).map(|number| (format!("{number:012}"), regions())).collect(),
            accounts_omitted: 7,
        };
        let waiting = WaitingStep {
            step: "approve".to_owned(),
            action: "aws:approve".to_owned(),
            account: None,
            region: None,
            approvers: Some("a".repeat(500)),
        };
        let execution = ExecutionStatus {
            failures: (0..10).map(|_| group()).collect(),
            waiting: vec![waiting; 200],
            steps: vec![location("Failed"); 1_000],
            ..ExecutionStatus::default()
        };
        let mut executions = vec![execution; 3];
        fit(&mut executions, 200_000);
        let size = serde_json::to_vec(&executions).unwrap().len();
        assert!((150_000..=200_500).contains(&size), "{size}");
        for execution in &executions {
            let group = &execution.failures[9];
            assert_eq!(group.accounts.len() + group.accounts_omitted, 207);
            assert_eq!(execution.waiting.len() + execution.waiting_omitted, 200);
            assert_eq!(execution.steps.len() + execution.locations_omitted, 1_000);
        }
    }
}
