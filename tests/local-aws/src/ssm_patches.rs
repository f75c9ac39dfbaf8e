//! Systems Manager `DescribeInstancePatchStates` for hybrid nodes.
//!
//! Shapes: `DescribeInstancePatchStatesRequest`, `InstancePatchState`. A node that was never scanned, or is not known, is
//! not among the answers: the operation has no error for it.

use serde_json::{Value, json};

use crate::aws_error::AwsError;
use crate::clock;
use crate::nodes::{Node, Nodes, is_node_id};
use crate::xml;

const DEFAULT_PAGE: usize = 100;

/// Performs a request that the model accepts.
///
/// # Errors
/// `InvalidNextToken`.
pub(crate) fn perform(nodes: &Nodes, account: &str, region: &str, body: &Value) -> Result<Value, AwsError> {
    let after = body["NextToken"].as_str().filter(|token| !token.is_empty());
    if after.is_some_and(|token| !is_node_id(token)) {
        return Err(AwsError::new(400, "InvalidNextToken", "The specified token is not valid."));
    }
    let limit = body["MaxResults"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(DEFAULT_PAGE);
    let mut asked: Vec<&str> = xml::items(&body["InstanceIds"]).iter().filter_map(Value::as_str).collect();
    asked.sort_unstable();
    asked.dedup();
    let asked = asked.into_iter().filter(|id| after.is_none_or(|after| *id > after));
    let mut states: Vec<(&str, Value)> =
        asked.filter_map(|id| Some((id, nodes.look(account, region, id, state)??))).collect();
    let more = states.len() > limit;
    states.truncate(limit);
    let next = states.last().filter(|_| more).map(|(id, _)| json!(id));
    let mut answer = json!({"InstancePatchStates": states.into_iter().map(|(_, state)| state).collect::<Vec<_>>()});
    if let Some(next) = next {
        answer["NextToken"] = next;
    }
    Ok(answer)
}

fn state(node: &Node) -> Option<Value> {
    let state = node.patch_state.as_ref()?;
    let ended = clock::epoch_seconds(state.operation_end_time);
    Some(json!({
        "InstanceId": node.instance_id,
        "PatchGroup": node.tags().get("Patch Group").map_or("", String::as_str),
        "BaselineId": "pb-0123456789abcdef0",
        "MissingCount": state.missing_count,
        "FailedCount": state.failed_count,
        "InstalledPendingRebootCount": state.installed_pending_reboot_count,
        "CriticalNonCompliantCount": state.critical_non_compliant_count,
        "OperationStartTime": ended,
        "OperationEndTime": ended,
        "Operation": "Scan",
    }))
}
