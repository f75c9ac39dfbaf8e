//! What automation-fanout does not do: by its own reading of a request, and by its role.

use std::collections::BTreeSet;

use local_aws::{AwsError, Client};
use serde_json::{Value, json};
use tests::{AGENCY_A, CENTRAL, HOME_REGION, SECOND_REGION, World};

use crate::fanout::{executions, fan_out_well, refusal, restart, start, with};

const UNKNOWN: &str = "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE";

fn here() -> Value {
    restart(&json!({"Accounts": [AGENCY_A], "Regions": [HOME_REGION]}))
}

#[tokio::test]
async fn a_preview_changes_nothing_and_a_bad_request_is_refused_in_words() {
    let world = World::deployed_for_fanout(&[AGENCY_A]).await.unwrap();
    let before = world.aws.calls().snapshot();
    let preview = with(here(), json!({"Action": "Preview", "IdempotencyKey": "key"}));
    let preview = fan_out_well(&world, &preview).await;
    assert_eq!((&preview["Complete"], &preview["Executions"]), (&json!(true), &json!([])), "{preview}");

    let bad = json!({
        "DocumentName": "AWS-RestartEC2Instance",
        "Targetlocation": [],
        "Parameters": {"InstanceId": "i-0123456789abcdef0"},
        "TargetLocations": [{
            "Accounts": ["2222"],
            "Regions": [HOME_REGION, "mars"],
            "TargetLocationMaxConcurency": "5",
            "TargetLocationMaxErrors": "101%"
        }],
        "Type": "Cancel",
        "WaitSeconds": -1
    });
    for (request, problems) in [
        (
            bad,
            &[
                "Targetlocation: unknown field; did you mean TargetLocations?",
                "Parameters.InstanceId: expected a list, got a string",
                "TargetLocations[0].Accounts[0]: expected an account id",
                "TargetLocations[0].Regions[1]: expected a Region code",
                "TargetLocations[0].TargetLocationMaxConcurency: unknown field; did you mean \
                 TargetLocationMaxConcurrency?",
                "TargetLocations[0].TargetLocationMaxErrors: expected",
                "Type: expected only with Stop, got it with Start",
                "WaitSeconds: expected a whole number from 0 to 900, got -1",
            ][..],
        ),
        (with(here(), json!({"Action": "Strat"})), &["Action: unknown action \"Strat\"; did you mean Start?"]),
        (json!({"Action": "Status"}), &["AutomationExecutionIds: expected at least one execution id, got nothing"]),
        (json!([]), &["event: expected an object, got a list"]),
    ] {
        let (kind, message) = refusal(&world, &request).await;
        assert_eq!(kind, "InvalidRequest");
        for problem in problems {
            assert!(message.contains(problem), "{problem} is not in {message}");
        }
        assert_eq!(message.split("; ").filter(|line| line.contains(": ")).count(), problems.len(), "{message}");
    }
    let calls = world.aws.calls().snapshot().since(&before);
    let called: BTreeSet<&str> = calls.iter().map(|(_, operation, _)| operation).collect();
    let reads = ["ec2:DescribeRegions", "lambda:Invoke", "ssm:DescribeDocument", "ssm:GetDocument"];
    assert_eq!(called, BTreeSet::from(reads));

    // A start sends what the preview showed.
    start(&world, &with(here(), json!({"IdempotencyKey": "key"}))).await;
    let mut started = executions(&world).remove(0);
    // The SDK writes out a false that the request does not have.
    let written_out = started["TargetLocations"][0].as_object_mut().unwrap().remove("IncludeChildOrganizationUnits");
    assert_eq!(written_out, Some(json!(false)));
    for name in ["DocumentName", "Parameters", "TargetParameterName", "Targets", "TargetLocations"] {
        assert_eq!(preview["Requests"][0][name], started[name], "{name}");
    }
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_told_and_not_done() {
    let world = World::deployed_for_fanout(&[AGENCY_A]).await.unwrap();
    let automation = world.aws.automation();
    automation.register_document("TagHub-Anything", &[]);
    automation.register_document("Somebody-Elses", &[]);
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ssm.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]});
    let powerful = [("RoleName", "powerful"), ("AssumeRolePolicyDocument", &trust.to_string())];
    world.central().query("iam", "CreateRole", &powerful).await.unwrap();
    let role = format!("arn:aws:iam::{CENTRAL}:role/powerful");
    let runbook = |name: &str| with(here(), json!({"DocumentName": name}));
    for (request, denied) in [
        (runbook("AWS-TerminateEC2Instance"), "document/AWS-TerminateEC2Instance"),
        (runbook("Somebody-Elses"), "document/Somebody-Elses"),
        (
            runbook(&format!("arn:aws:ssm:{HOME_REGION}:{AGENCY_A}:document/TagHub-Anything")),
            "document/TagHub-Anything",
        ),
        (with(here(), json!({"Parameters": {"AutomationAssumeRole": [role]}})), "iam:PassRole on resource"),
    ] {
        let (kind, message) = refusal(&world, &request).await;
        assert_eq!(kind, "NothingStarted", "{message}");
        assert!(message.starts_with("nothing was started: AccessDeniedException: User: "), "{message}");
        assert!(message.contains("is not authorized to perform") && message.contains(denied), "{message}");
    }
    assert_eq!(executions(&world), Vec::<Value>::new());
    let id = start(&world, &runbook("TagHub-Anything")).await;

    for action in ["Status", "Stop", "Resume"] {
        let (kind, message) = refusal(&world, &json!({"Action": action, "AutomationExecutionId": UNKNOWN})).await;
        assert_eq!(kind, "InvalidRequest", "{action}: {message}");
        let told = format!(
            "AutomationExecutionId: expected an execution that Systems Manager knows in this account and Region, got \
             {UNKNOWN:?}"
        );
        assert!(message.contains(&told), "{action}: {message}");
    }
    let both = fan_out_well(&world, &json!({"Action": "Status", "AutomationExecutionIds": [UNKNOWN, id]})).await;
    assert_eq!(both["Executions"][0]["Error"]["Code"], "AutomationExecutionNotFoundException", "{both}");
    assert_eq!(both["Executions"][1]["AutomationExecutionId"], *id, "{both}");

    let function = in_the_place_of_the_function(&world).await;
    let execution = json!({"AutomationExecutionId": id});
    function.json("ssm", "GetAutomationExecution", &execution).await.unwrap();
    let elsewhere = function.clone().in_region(SECOND_REGION);
    let node = "mi-0123456789abcdef0";
    let command = json!({"DocumentName": "AWS-RunShellScript", "InstanceIds": [node]});
    let tags = [json!({"Key": "Env", "Value": "PROD"})];
    let tag = json!({"ResourceType": "ManagedInstance", "ResourceId": node, "Tags": tags});
    is_denied(function.json("ssm", "SendCommand", &command).await);
    is_denied(function.json("ssm", "AddTagsToResource", &tag).await);
    is_denied(elsewhere.json("ssm", "GetAutomationExecution", &execution).await);
    is_denied(elsewhere.json("ssm", "StartAutomationExecution", &here()).await);
    is_denied(
        elsewhere.json("ssm", "SendAutomationSignal", &with(execution.clone(), json!({"SignalType": "Approve"}))).await,
    );
    is_denied(function.query("iam", "ListRoles", &[]).await);
    is_denied(function.query("ec2", "DescribeInstances", &[]).await);
    let execution_role = format!("arn:aws:iam::{AGENCY_A}:role/AWS-SystemsManager-AutomationExecutionRole");
    is_denied(function.assume_role(&execution_role, "past-the-run").await.map(drop));
}

/// A session of the function's role, once the test has opened its trust policy.
async fn in_the_place_of_the_function(world: &World) -> Client {
    let started = executions(world).remove(0);
    let role = started["ExecutedBy"].as_str().unwrap().split('/').nth(1).unwrap().to_owned();
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": CENTRAL}, "Action": "sts:AssumeRole"}
    ]});
    let params = [("RoleName", role.as_str()), ("PolicyDocument", &trust.to_string())];
    world.central().query("iam", "UpdateAssumeRolePolicy", &params).await.unwrap();
    world.central().assume_role(&format!("arn:aws:iam::{CENTRAL}:role/{role}"), "test").await.unwrap()
}

#[track_caller]
fn is_denied<T: std::fmt::Debug>(answer: Result<T, AwsError>) {
    let error = answer.unwrap_err();
    let is_denial = ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"].contains(&error.code.as_str());
    assert!(is_denial, "{error:?}");
}
