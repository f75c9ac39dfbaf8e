//! Keeping an answer within what Lambda returns.

use std::cmp::Reverse;

use super::{ExecutionStatus, LocationStatus};

/// Leaves out locations until the rest takes at most `bytes_max` as JSON: first those that went well, then
/// those that have not begun, then those under way. The counts stay whole.
pub fn fit(executions: &mut [ExecutionStatus], bytes_max: usize) {
    let mut sizes: Vec<(u8, usize, usize, usize)> = Vec::new();
    for (execution_index, execution) in executions.iter().enumerate() {
        for (index, location) in execution.locations.iter().enumerate() {
            // What cannot be written does not get into the answer either.
            let size = serde_json::to_vec(location).map_or(usize::MAX, |json| json.len() + 1);
            sizes.push((rank(location), execution_index, index, size));
        }
    }
    let mut total: usize = sizes.iter().fold(0, |sum, (_, _, _, size)| sum.saturating_add(*size));
    sizes.sort_by_key(|(rank, execution, index, _)| Reverse((*rank, *execution, *index)));
    let mut omitted: Vec<(usize, usize)> = Vec::new();
    for (_, execution, index, size) in sizes {
        if total <= bytes_max {
            break;
        }
        total = total.saturating_sub(size);
        omitted.push((execution, index));
    }
    for (execution_index, execution) in executions.iter_mut().enumerate() {
        let gone: std::collections::HashSet<usize> =
            omitted.iter().filter(|(execution, _)| *execution == execution_index).map(|(_, index)| *index).collect();
        execution.locations_omitted += gone.len();
        let mut index = 0;
        execution.locations.retain(|_| {
            index += 1;
            !gone.contains(&(index - 1))
        });
    }
}

/// The higher, the sooner it is left out.
fn rank(location: &LocationStatus) -> u8 {
    match location {
        location if location.cause.is_some() || location.status.is_failure() => 0,
        location if location.status.is_success() => 3,
        location if location.status.is_pending() => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for (room, expected) in [
            (5, vec!["Success", "Failed", "Pending", "InProgress", "Success"]),
            (4, vec!["Success", "Failed", "Pending", "InProgress"]),
            (2, vec!["Failed", "InProgress"]),
            (0, vec![]),
        ] {
            let mut executions = [execution.clone()];
            fit(&mut executions, room * size);
            let left: Vec<&str> = executions[0].locations.iter().map(|location| location.status.as_str()).collect();
            assert_eq!(left, expected, "{room}");
            assert_eq!(executions[0].locations_omitted, 5 - expected.len());
        }
    }
}
