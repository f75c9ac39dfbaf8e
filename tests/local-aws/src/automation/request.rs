//! What the service checks in a start beyond its model.
//!
//! Shapes: `StartAutomationExecutionRequest`, `TargetLocation`. The texts of these refusals are not
//! published by AWS, except where a comment says so.

use serde_json::Value;

use super::documents::{self, Runbook};
use crate::aws_error::AwsError;
use crate::call::is_account;
use crate::xml::items;

pub(super) const MAX_TAGS: usize = 5;

/// Checks a request that the model accepts, and resolves the version of the runbook.
///
/// # Errors
/// `ValidationException` for members that exclude or need each other, `InvalidTarget`,
/// `InvalidAutomationExecutionParametersException` and `AutomationDefinitionVersionNotFoundException`.
pub(super) fn check(body: &Value, runbook: &Runbook) -> Result<String, AwsError> {
    targets(body)?;
    for location in locations(body) {
        target_location(body, location)?;
    }
    if items(&body["Tags"]).len() > MAX_TAGS {
        return Err(refused(&format!("An automation can have at most {MAX_TAGS} tags.")));
    }
    if body["TargetLocationsURL"].is_string() {
        return Err(refused("TargetLocationsURL is not supported by the local AWS."));
    }
    parameters(body, runbook)?;
    documents::version(runbook, body["DocumentVersion"].as_str())
}

/// The target locations of a start.
pub(super) fn locations(body: &Value) -> &[Value] {
    items(&body["TargetLocations"])
}

/// The role that `Parameters.AutomationAssumeRole` names.
pub(super) fn assume_role(body: &Value) -> Option<&str> {
    body["Parameters"]["AutomationAssumeRole"][0].as_str().filter(|role| !role.is_empty())
}

fn targets(body: &Value) -> Result<(), AwsError> {
    let has_targets = !items(&body["Targets"]).is_empty();
    let has_maps = !items(&body["TargetMaps"]).is_empty();
    if has_targets && has_maps {
        return Err(refused("Targets and TargetMaps can't be used in the same request."));
    }
    if has_targets {
        one_target(body, &body["Targets"])?;
    }
    Ok(())
}

/// API page: at most one item; keys for automations are these.
fn one_target(body: &Value, targets: &Value) -> Result<(), AwsError> {
    const KEYS: [&str; 4] = ["ParameterValues", "ResourceGroup", "InstanceIds", "AWS::EC2::Instance"];
    let [target] = items(targets) else {
        return Err(refused("Targets can have at most one item."));
    };
    if !body["TargetParameterName"].is_string() {
        return Err(refused("Targets need TargetParameterName."));
    }
    let key = target["Key"].as_str().unwrap_or_default();
    let is_tag = key.strip_prefix("tag:").is_some_and(|name| !name.is_empty());
    if !is_tag && key != "tag-key" && !KEYS.contains(&key) {
        return Err(AwsError::new(400, "InvalidTarget", format!("{key} is not a valid target key.")));
    }
    let values = items(&target["Values"]);
    if values.is_empty() {
        return Err(AwsError::new(400, "InvalidTarget", "A target needs values."));
    }
    if key == "AWS::EC2::Instance" && values.iter().any(|value| value != "*") {
        return Err(AwsError::new(400, "InvalidTarget", format!("{key} takes the value * only.")));
    }
    Ok(())
}

fn target_location(body: &Value, location: &Value) -> Result<(), AwsError> {
    for name in ["Accounts", "Regions"] {
        if items(&location[name]).is_empty() {
            return Err(refused(&format!("A target location needs {name}.")));
        }
    }
    for account in items(&location["Accounts"]).iter().filter_map(Value::as_str) {
        if !is_account(account) && !is_unit(account) {
            return Err(refused(&format!("{account} is not an account, an organizational unit or a root.")));
        }
    }
    if !items(&location["Targets"]).is_empty() {
        if !items(&body["TargetMaps"]).is_empty() {
            return Err(refused("Targets and TargetMaps can't be used in the same request."));
        }
        one_target(body, &location["Targets"])?;
    }
    Ok(())
}

/// An organizational unit or the root of an organization.
pub(super) fn is_unit(id: &str) -> bool {
    id.starts_with("ou-") || id.starts_with("r-")
}

fn parameters(body: &Value, runbook: &Runbook) -> Result<(), AwsError> {
    let given = body["Parameters"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let target = body["TargetParameterName"].as_str();
    for name in given.chain(target) {
        if !runbook.takes(name) {
            return Err(wrong_parameters(&format!("Parameter {name} is not defined in the Automation document.")));
        }
    }
    if target == Some("AutomationAssumeRole") {
        return Err(wrong_parameters("AutomationAssumeRole can't be the target parameter."));
    }
    Ok(())
}

/// UG, automation troubleshooting: an invalid assume role is found at the start. IAM refuses to pass a
/// role of another account.
///
/// # Errors
/// `InvalidAutomationExecutionParametersException` and `AccessDeniedException`.
pub(super) fn check_assume_role(body: &Value, account: &str) -> Result<(), AwsError> {
    let Some(role) = assume_role(body) else { return Ok(()) };
    let parts: Vec<&str> = role.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", _, "iam", "", owner, name] if name.starts_with("role/") => {
            if *owner == account {
                return Ok(());
            }
            Err(AwsError::new(400, "AccessDeniedException", "Cross-account pass role is not allowed."))
        }
        _ => Err(wrong_parameters("The format of the supplied assume role ARN is invalid.")),
    }
}

/// `InvalidAutomationExecutionParametersException`.
pub(super) fn wrong_parameters(message: &str) -> AwsError {
    AwsError::new(400, "InvalidAutomationExecutionParametersException", message)
}

fn refused(message: &str) -> AwsError {
    AwsError::new(400, "ValidationException", message)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
