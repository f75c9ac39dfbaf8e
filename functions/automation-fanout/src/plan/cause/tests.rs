use super::*;

fn failed(message: &str) -> Step {
    Step { status: "Failed".into(), failure_message: Some(message.to_owned()), ..Step::default() }
}

#[test]
fn messages_tell_the_cause() {
    for (message, expected) in [
        (
            "The execution role arn:aws:iam::222222222222:role/AWS-SystemsManager-AutomationExecutionRole in the \
             target location is unable to be assumed.",
            Cause::ExecutionRole,
        ),
        (
            "The provided role: arn:aws:iam::222222222222:role/X can't be assumed. (Service: null; Status Code: 0)",
            Cause::ExecutionRole,
        ),
        (
            "The defined assume role is unable to be assumed. (Service: AWSSimpleSystemsManagement; Status Code: \
             400; Error Code: InvalidAutomationExecutionParametersException)",
            Cause::ExecutionRole,
        ),
        (
            "User: arn:aws:sts::111111111111:assumed-role/Administration/x is not authorized to perform: \
             sts:AssumeRole on resource: arn:aws:iam::222222222222:role/Execution",
            Cause::ExecutionRole,
        ),
        (
            "An error occurred (AccessDenied) when calling the AssumeRole operation: User: \
             arn:aws:sts::222222222222:assumed-role/Execution/x is not authorized to perform: sts:AssumeRole on \
             resource: arn:aws:iam::222222222222:role/service/Backup",
            Cause::AccessDenied,
        ),
        (
            "AWS was not able to validate the provided access credentials (Service: AmazonEC2; Status Code: 401; \
             Error Code: AuthFailure)",
            Cause::RegionDisabled,
        ),
        ("UnrecognizedClientException: The security token included in the request is invalid", Cause::RegionDisabled),
        ("AuthFailure.ServiceLinkedRoleCreationNotPermitted: no permission", Cause::AccessDenied),
        ("Parameter \"Action\" has value \"install\" not found in [Install, Uninstall].", Cause::Runbook),
        ("No matching package found", Cause::TargetFailed),
        ("The format of the supplied assume role ARN isn't valid.", Cause::ExecutionRole),
        (
            "User: arn:aws:sts::222222222222:assumed-role/AWS-SystemsManager-AutomationExecutionRole/x is not \
             authorized to perform: ec2:StopInstances on resource: arn:aws:ec2:us-east-1:222222222222:instance/i-1",
            Cause::AccessDenied,
        ),
        (
            "Exception Message from RunInstances API: [You aren't authorized to perform this operation. (Service: \
             AmazonEC2; Status Code: 403; Error Code: UnauthorizedOperation)]",
            Cause::AccessDenied,
        ),
        ("Rate exceeded (Service: AmazonEC2; Error Code: RequestLimitExceeded)", Cause::Throttled),
        ("ThrottlingException: slow down", Cause::Throttled),
        ("AutomationExecutionLimitExceededException: too many", Cause::Throttled),
        ("AutomationDefinitionNotFoundException: Patch", Cause::Runbook),
        ("Missing required parameter: InstanceIds in user inputs.", Cause::Runbook),
        ("Document does not exist in this Region", Cause::Runbook),
        ("InvalidTarget: the target isn't valid", Cause::NoTargets),
        ("No targets found for tag:Env", Cause::NoTargets),
        ("Step timed out while step is verifying launched instance(s) are ready to be used.", Cause::TimedOut),
        (
            "Step fails when it is Poll action status for completion. failed to run commands: exit status 1. \
             Please refer to Automation Service Troubleshooting Guide for more diagnosis details.",
            Cause::TargetFailed,
        ),
        ("", Cause::TargetFailed),
    ] {
        assert_eq!(cause(&failed(message), "Execution"), Some(expected), "{message}");
    }
}

#[test]
fn the_status_or_the_kind_of_failure_tells_it_where_no_message_does() {
    for (status, failure_type, stage, expected) in [
        ("TimedOut", None, None, Some(Cause::TimedOut)),
        ("Cancelled", None, None, Some(Cause::Cancelled)),
        ("Canceled", None, None, Some(Cause::Cancelled)),
        ("Failed", Some("Permission"), None, Some(Cause::AccessDenied)),
        ("Failed", Some("Throttling"), None, Some(Cause::Throttled)),
        ("Failed", Some("Action"), Some("InputValidation"), Some(Cause::Runbook)),
        ("Failed", Some("Action"), Some("Invocation"), Some(Cause::TargetFailed)),
        ("Rejected", None, None, Some(Cause::TargetFailed)),
        ("InProgress", Some("Action"), None, None),
        ("SomethingNew", None, None, None),
        ("Success", None, None, None),
    ] {
        let step = Step {
            status: status.into(),
            failure_type: failure_type.map(str::to_owned),
            failure_stage: stage.map(str::to_owned),
            ..Step::default()
        };
        assert_eq!(cause(&step, "Execution"), expected, "{status} {failure_type:?} {stage:?}");
    }
}

#[test]
fn a_success_that_found_nothing_is_told() {
    let step = Step {
        status: "Success".into(),
        warning_message: Some("No targets were found in this location".to_owned()),
        ..Step::default()
    };
    assert_eq!(cause(&step, "Execution"), Some(Cause::NoTargets));
    let step = Step {
        status: "Success".into(),
        outputs: [("Output".to_owned(), vec!["No instances matched".to_owned()])].into(),
        ..Step::default()
    };
    assert_eq!(cause(&step, "Execution"), Some(Cause::NoTargets));
    let step = Step {
        status: "Success".into(),
        outputs: [("Output".to_owned(), vec!["10 targets, no target failed".to_owned()])].into(),
        ..Step::default()
    };
    assert_eq!(cause(&step, "Execution"), None);
    let step = Step {
        status: "Success".into(),
        outputs: [("Output".to_owned(), vec!["No matching package found".to_owned()])].into(),
        ..Step::default()
    };
    assert_eq!(cause(&step, "Execution"), None, "nothing to do is fine");
}

#[test]
fn an_execution_that_came_nowhere_tells_it_itself() {
    let execution = |status: &str, message: &str| Execution {
        status: status.into(),
        failure_message: Some(message.to_owned()),
        ..Execution::default()
    };
    for (status, message, expected) in [
        ("Failed", "The accounts of ou-ab12-cdefghij can't be listed.", Some(Cause::OrganizationalUnit)),
        (
            "Failed",
            "User: x is not authorized to perform: organizations:ListAccountsForParent on resource: *",
            Some(Cause::OrganizationalUnit),
        ),
        ("Failed", "The defined assume role is unable to be assumed.", Some(Cause::ExecutionRole)),
        ("Failed", "something else", None),
        ("Cancelled", "", Some(Cause::Cancelled)),
        ("Success", "", None),
    ] {
        assert_eq!(cause_of_execution(&execution(status, message)), expected, "{status} {message}");
    }
}

#[test]
fn the_words_are_those_on_the_wire() {
    for cause in BY_TEXT.map(|(cause, _)| cause) {
        assert_eq!(serde_json::to_value(cause).unwrap(), cause.into_str());
    }
}
