//! Why an account and Region went wrong, from the service's own texts.
//!
//! The texts are those of the service's troubleshooting page and of failures that others have published:
//! <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-troubleshooting.html>. The kinds
//! and stages of a failure are those of
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_FailureDetails.html>.

use serde::Serialize;
use strum::IntoStaticStr;

use super::execution::{Execution, Step};
use super::request::DEFAULT_EXECUTION_ROLE;

/// A class of causes: who has to do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum Cause {
    /// The execution role in the target account is missing or does not trust the central account. The service
    /// says the same where a runbook of the central account is not shared with the target account.
    ExecutionRole,
    /// A role was taken on, but may not do what the runbook does.
    AccessDenied,
    /// The runbook, its version or its parameters do not fit.
    Runbook,
    /// The Region is not enabled in the account.
    RegionDisabled,
    /// The accounts of an organizational unit could not be listed.
    OrganizationalUnit,
    /// There were too many calls or executions.
    Throttled,
    /// Nothing fits the target.
    NoTargets,
    /// The runbook ran, and failed on its targets.
    TargetFailed,
    /// It took too long.
    TimedOut,
    /// Somebody, or an alarm, stopped it.
    Cancelled,
}

/// Fragments of messages in lower case. The first line that fits decides: a denied `sts:AssumeRole` is a
/// matter of the role, and a denied call may be spelled with the role's name in it.
const BY_TEXT: [(Cause, &[&str]); 8] = [
    // EC2 has this beside the `AuthFailure` of a Region that is off.
    (Cause::AccessDenied, &["authfailure.servicelinkedrole"]),
    (
        Cause::ExecutionRole,
        &[
            "unable to be assumed",
            "can't be assumed",
            "cannot be assumed",
            "can not be assumed",
            "could not be assumed",
            "unable to assume",
            "cannot assume",
            "failed to assume",
            "sts:assumerole",
            "assumerole operation",
            "supplied assume role",
            "assume role arn",
        ],
    ),
    // A Region that an account has not enabled knows no credentials of it.
    (
        Cause::RegionDisabled,
        &[
            "authfailure",
            "unrecognizedclient",
            "optinrequired",
            "invalidclienttokenid",
            "security token included in the request is invalid",
            "not able to validate the provided access credentials",
            "region is disabled",
            "region is not enabled",
            "not opted in",
        ],
    ),
    (
        Cause::AccessDenied,
        &[
            "not authorized to perform",
            "isn't authorized to perform",
            "aren't authorized to perform",
            "accessdenied",
            "access denied",
            "access is denied",
            "unauthorizedoperation",
            "explicit deny",
        ],
    ),
    (
        Cause::Throttled,
        &[
            "throttl",
            "rate exceeded",
            "requestlimitexceeded",
            "request limit exceeded",
            "toomanyrequests",
            "too many requests",
            "executionlimitexceeded",
        ],
    ),
    (
        Cause::NoTargets,
        &[
            "invalidtarget",
            "no target",
            "zero targets",
            "no resources",
            "no instances",
            "no matching target",
            "no matching instance",
            "no matching resource",
            "no matching node",
            "empty target",
            "did not resolve to any",
            "group not found",
            "group does not exist",
        ],
    ),
    (
        Cause::Runbook,
        &[
            "automationdefinition",
            "invaliddocument",
            "invalidautomationexecutionparameters",
            "missing required parameter",
            "parameter is missing",
            "document does not exist",
            "document doesn't exist",
            "document version",
            "not defined in the document",
            "runbook does not exist",
            "not found in [",
            "allowed value",
            "allowedvalue",
            "allowed pattern",
            "allowedpattern",
            "invalid parameter",
        ],
    ),
    (Cause::TimedOut, &["timed out", "timeout"]),
];

/// What an execution says that came to no location at all, because it could not find out which accounts there are.
const UNIT_NOT_LISTED: [&str; 6] = [
    "listaccountsforparent",
    "organizations:",
    "organizational unit",
    "parentnotfound",
    "awsorganizationsnotinuse",
    "accounts of ",
];

/// How a run that ended well says that it had nothing to do. An output may say anything else beside it, such as
/// that a package was not found, so that these are whole phrases about what a run works on.
const NOTHING_FOUND: [&str; 15] = [
    "no targets found",
    "no targets were",
    "no targets resolved",
    "no targets match",
    "no resources found",
    "no resources match",
    "no instances found",
    "no instances match",
    "no matching target",
    "no matching resource",
    "no matching instance",
    "no matching node",
    "no nodes found",
    "no nodes match",
    "zero targets",
];

/// Why a step did not come to a good end; nothing where it may still, or did. `role` is the name of the execution role
/// that its location has.
pub(super) fn cause(step: &Step, role: &str) -> Option<Cause> {
    let status = &step.status;
    if status.is_success() {
        // The child found nothing to do: it says so in its output or in a warning, and ends well.
        return says_no_targets(step).then_some(Cause::NoTargets);
    }
    if !status.is_failure() {
        return None;
    }
    if status.is_cancelled() {
        return Some(Cause::Cancelled);
    }
    if status.as_str() == "TimedOut" {
        return Some(Cause::TimedOut);
    }
    Some(
        by_text(step.failure_message.as_deref().unwrap_or_default(), role)
            .or_else(|| by_kind(step))
            .unwrap_or(Cause::TargetFailed),
    )
}

/// Why an execution ended in failure that came to no location, by its own message.
pub fn cause_of_execution(execution: &Execution) -> Option<Cause> {
    if !execution.status.is_failure() {
        return None;
    }
    if execution.status.is_cancelled() {
        return Some(Cause::Cancelled);
    }
    let message = execution.failure_message.as_deref()?.to_lowercase();
    if UNIT_NOT_LISTED.iter().any(|fragment| message.contains(fragment)) {
        return Some(Cause::OrganizationalUnit);
    }
    by_text(&message, DEFAULT_EXECUTION_ROLE)
}

fn by_text(message: &str, role: &str) -> Option<Cause> {
    let message = message.to_lowercase();
    let fits = |fragments: &[&str]| fragments.iter().any(|fragment| message.contains(fragment));
    let cause = BY_TEXT.iter().find(|(_, fragments)| fits(fragments)).map(|(cause, _)| *cause)?;
    // A runbook may assume roles of its own: whose is denied says whether it is the execution role's matter.
    match (cause, assumed_role(&message)) {
        (Cause::ExecutionRole, Some(denied)) if denied != role.to_lowercase() => Some(Cause::AccessDenied),
        (cause, _) => Some(cause),
    }
}

/// The name of the role that nobody was allowed to assume, from a message in lower case.
fn assumed_role(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("sts:assumerole")?;
    let (_, arn) = rest.split_once("on resource: ")?;
    let arn = arn.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ')' | ',')).next()?;
    let (_, name) = arn.split_once(":role/")?;
    name.rsplit('/').next().map(|name| name.trim_end_matches('.'))
}

fn by_kind(step: &Step) -> Option<Cause> {
    match (step.failure_type.as_deref(), step.failure_stage.as_deref()) {
        (Some("Permission"), _) => Some(Cause::AccessDenied),
        (Some("Throttling"), _) => Some(Cause::Throttled),
        (_, Some("InputValidation")) => Some(Cause::Runbook),
        _ => None,
    }
}

fn says_no_targets(step: &Step) -> bool {
    let texts = step
        .warning_message
        .iter()
        .chain(&step.failure_message)
        .chain(step.outputs.iter().flat_map(|(_, values)| values));
    texts.map(|text| text.to_lowercase()).any(|text| NOTHING_FOUND.iter().any(|phrase| text.contains(phrase)))
}

#[cfg(test)]
mod tests;
