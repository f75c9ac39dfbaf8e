//! What a test lets happen in one account and Region, and the words the service has for it.
//!
//! The wording that is known from AWS: the frame `Step fails when it is … Please refer to Automation
//! Service Troubleshooting Guide for more diagnosis details.`, `The execution role … in the target
//! location is unable to be assumed.`, IAM's `is not authorized to perform`, and `Rate exceeded`. The
//! rest is made up in the same style: nobody should depend on it.

use std::time::Duration;

use super::timeline::End;

/// How a run ends in one account and Region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The runbook worked on this many resources. With 0 and targets it found none, which is a success with a warning.
    Success { resources: u32 },
    /// The runbook worked on the EC2 instances that the targets name in that account and Region when it is started,
    /// which may be none. Without `MiniStack`, or without targets that it can look up, the same as a success on one
    /// resource.
    TargetedInstances,
    /// Nobody may assume the execution role there, or there is none. There is no child. AWS is
    /// reported to say the same of a runbook that is not shared with the account.
    ExecutionRoleMissing,
    /// The account does not know the runbook. There is no child.
    DocumentMissing,
    /// The execution role lacks a permission that the runbook needs.
    AccessDenied,
    /// No resource there fits the targets, and the run fails for it.
    NoTargets,
    /// `failed` of the `resources` end in failure.
    TargetFailure { resources: u32, failed: u32 },
    /// The run takes longer than it may.
    TimedOut,
    /// The account's call rate is used up. There is no child.
    Throttled,
    /// A success on one resource that takes ten times as long.
    Slow,
    /// The run waits until somebody approves it, and ends well then; one that is rejected fails.
    Approval,
    /// The account has not enabled the Region. There is no child.
    RegionDisabled,
}

/// An outcome and how long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    pub(super) outcome: Outcome,
    pub(super) takes: Option<Duration>,
}

impl Script {
    /// This outcome, after this time instead of the usual one.
    #[must_use]
    pub fn taking(outcome: Outcome, takes: Duration) -> Self {
        Self { outcome, takes: Some(takes) }
    }
}

impl From<Outcome> for Script {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, takes: None }
    }
}

/// What a failure message names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) account: &'a str,
    pub(super) region: &'a str,
    /// The name of the execution role.
    pub(super) role: &'a str,
    pub(super) document: &'a str,
    /// The id of the run.
    pub(super) run: &'a str,
}

impl Outcome {
    /// Whether a run is created there at all.
    pub(super) fn has_child(self) -> bool {
        !matches!(self, Self::ExecutionRoleMissing | Self::DocumentMissing | Self::Throttled | Self::RegionDisabled)
    }

    pub(super) fn end(self) -> End {
        match self {
            Self::Success { .. } | Self::TargetedInstances | Self::Slow | Self::Approval => End::Success,
            Self::TimedOut => End::TimedOut,
            _ => End::Failed,
        }
    }

    /// Resources, and how many of them fail.
    pub(super) fn resources(self) -> (u32, u32) {
        match self {
            Self::Success { resources } => (resources, 0),
            Self::TargetFailure { resources, failed } => (resources, failed.clamp(1, resources.max(1))),
            Self::TargetedInstances | Self::TimedOut | Self::Slow | Self::Approval => (1, 0),
            _ => (0, 0),
        }
    }

    /// `FailureStage` and `FailureType` of a failure. Shape: `FailureDetails`. Which one comes with which
    /// failure is not documented by AWS.
    pub(super) fn failure(self) -> (&'static str, &'static str) {
        match self {
            Self::ExecutionRoleMissing | Self::AccessDenied | Self::RegionDisabled => ("Invocation", "Permission"),
            Self::DocumentMissing => ("InputValidation", "Action"),
            Self::Throttled => ("Invocation", "Throttling"),
            Self::NoTargets => ("PreVerification", "Verification"),
            _ => ("PostVerification", "Action"),
        }
    }

    /// The failure message of the parent's step; `None` for a success.
    pub(super) fn step_message(self, facts: Facts<'_>) -> Option<String> {
        let Facts { account, region, role, document, run } = facts;
        let cause = match self {
            Self::Success { .. } | Self::TargetedInstances | Self::Slow | Self::Approval => return None,
            Self::ExecutionRoleMissing => format!(
                "The execution role arn:aws:iam::{account}:role/{role} in the target location is unable to be assumed"
            ),
            Self::DocumentMissing => format!(
                "Document with name {document} does not exist in account {account} and Region {region}. (Service: \
                 AWSSimpleSystemsManagement; Status Code: 400; Error Code: AutomationDefinitionNotFoundException)"
            ),
            Self::Throttled => "Rate exceeded (Service: AWSSimpleSystemsManagement; Status Code: 400; Error Code: \
                                ThrottlingException)"
                .to_owned(),
            Self::RegionDisabled => "The security token included in the request is invalid. (Service: \
                                     AWSSimpleSystemsManagement; Status Code: 400; Error Code: \
                                     UnrecognizedClientException)"
                .to_owned(),
            Self::TimedOut => {
                return Some(framed("Step timed out while step is", POLL, &format!("Automation execution {run}")));
            }
            Self::AccessDenied | Self::NoTargets | Self::TargetFailure { .. } => {
                let inner = self.run_cause(facts).unwrap_or_default();
                let cause = format!("Automation execution {run} ended with status Failed. {inner}");
                return Some(framed(FAILS, POLL, &cause));
            }
        };
        Some(framed(FAILS, EXECUTE, &cause))
    }

    /// The failure message of the run itself.
    pub(super) fn run_message(self, facts: Facts<'_>) -> Option<String> {
        if self == Self::TimedOut {
            return Some(framed("Step timed out while step is", POLL, "The command did not complete in time"));
        }
        Some(framed(FAILS, EXECUTE, &self.run_cause(facts)?))
    }

    fn run_cause(self, facts: Facts<'_>) -> Option<String> {
        let Facts { account, role, run, .. } = facts;
        match self {
            Self::AccessDenied => Some(format!(
                "User: arn:aws:sts::{account}:assumed-role/{role}/Automation-{run} is not authorized to perform: \
                 ec2:DescribeInstanceStatus because no identity-based policy allows the ec2:DescribeInstanceStatus \
                 action (Service: AmazonEC2; Status Code: 403; Error Code: UnauthorizedOperation)"
            )),
            Self::NoTargets => Some(NO_TARGETS.to_owned()),
            Self::TargetFailure { .. } => {
                let (resources, failed) = self.resources();
                Some(format!("{failed} of {resources} targets failed"))
            }
            _ => None,
        }
    }
}

pub(super) const NO_TARGETS: &str = "No targets were found for the specified target key and values";
const FAILS: &str = "Step fails when it is";
const EXECUTE: &str = "Execute/Cancelling action";
const POLL: &str = "Poll action status for completion";

fn framed(frame: &str, what: &str, cause: &str) -> String {
    let cause = cause.trim_end_matches('.');
    format!(
        "{frame} {what}. {cause}. Please refer to Automation Service Troubleshooting Guide for more diagnosis details."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts<'_> = Facts {
        account: "222222222222",
        region: "us-east-1",
        role: "AWS-SystemsManager-AutomationExecutionRole",
        document: "AWS-RestartEC2Instance",
        run: "0",
    };

    #[test]
    fn the_role_message_is_the_one_aws_is_known_for() {
        let message = Outcome::ExecutionRoleMissing.step_message(FACTS).unwrap();
        let expected = "The execution role arn:aws:iam::222222222222:role/AWS-SystemsManager-AutomationExecutionRole \
                        in the target location is unable to be assumed.";
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn every_failure_has_a_message_and_no_success_has() {
        let failures = [
            Outcome::ExecutionRoleMissing,
            Outcome::DocumentMissing,
            Outcome::AccessDenied,
            Outcome::NoTargets,
            Outcome::TargetFailure { resources: 3, failed: 1 },
            Outcome::TimedOut,
            Outcome::Throttled,
        ];
        for outcome in failures {
            assert!(outcome.step_message(FACTS).is_some(), "{outcome:?}");
            assert_eq!(outcome.run_message(FACTS).is_some(), outcome.has_child(), "{outcome:?}");
        }
        for outcome in [Outcome::Success { resources: 1 }, Outcome::TargetedInstances, Outcome::Slow] {
            assert_eq!((outcome.step_message(FACTS), outcome.run_message(FACTS)), (None, None));
        }
    }
}
