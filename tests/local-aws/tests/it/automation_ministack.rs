//! Automation with a real `MiniStack`: the roles that the templates deploy decide who starts what, and where it runs.

use std::time::Duration;

use crate::support::{AGENCY, CENTRAL, REGION, start};
use local_aws::{AwsError, Client, LocalAws, Outcome, machine, stacks};
use serde_json::{Value, json};

const OTHER: &str = "333333333333";
const ADMINISTRATION: &str = include_str!("../../../../cfn/automation-administration-role.yaml");
const EXECUTION: &str = include_str!("../../../../cfn/automation-execution-role.yaml");
const RUNBOOK: &str = include_str!("../../../../cfn/patching-runbook.yaml");

fn administration_role() -> String {
    format!("arn:aws:iam::{CENTRAL}:role/AWS-SystemsManager-AutomationAdministrationRole")
}

fn restart(accounts: &[&str]) -> Value {
    json!({
        "DocumentName": "AWS-RestartEC2Instance",
        "Parameters": {"AutomationAssumeRole": [administration_role()]},
        "TargetParameterName": "InstanceId",
        "Targets": [{"Key": "tag:Env", "Values": ["PROD"]}],
        "TargetLocations": [{"Accounts": accounts, "Regions": [REGION], "TargetLocationMaxErrors": "100%"}]
    })
}

async fn deploy_administration(aws: &LocalAws) {
    stacks::deploy(&aws.client(CENTRAL, REGION), "administration", ADMINISTRATION, &[]).await.unwrap();
}

async fn deploy_execution(aws: &LocalAws, account: &str, parameters: &[(&str, &str)]) {
    let parameters = [&[("AdminAccountId", CENTRAL)], parameters].concat();
    stacks::deploy(&aws.client(account, REGION), "execution", EXECUTION, &parameters).await.unwrap();
}

async fn begin(client: &Client, body: &Value) -> Result<String, AwsError> {
    let answer = client.json("ssm", "StartAutomationExecution", body).await?;
    Ok(answer["AutomationExecutionId"].as_str().unwrap().to_owned())
}

/// The failure messages of the steps, empty for a success.
async fn messages(aws: &LocalAws, id: &str) -> Vec<String> {
    aws.automation().advance(Duration::from_hours(1));
    let body = json!({"AutomationExecutionId": id});
    let answer = aws.client(CENTRAL, REGION).json("ssm", "DescribeAutomationStepExecutions", &body).await.unwrap();
    let steps = answer["StepExecutions"].as_array().unwrap();
    steps.iter().map(|step| step["FailureMessage"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn an_account_takes_part_once_it_has_the_execution_role() {
    let aws = start();
    deploy_administration(&aws).await;
    deploy_execution(&aws, AGENCY, &[("AllowRestart", "Yes"), ("AllowPatching", "Yes")]).await;
    let central = aws.client(CENTRAL, REGION);

    let id = begin(&central, &restart(&[AGENCY, OTHER])).await.unwrap();
    let told = messages(&aws, &id).await;
    let expected = format!(
        "The execution role arn:aws:iam::{OTHER}:role/AWS-SystemsManager-AutomationExecutionRole in the target \
         location is unable to be assumed"
    );
    assert_eq!(told[0], "");
    assert!(told[1].contains(&expected), "{told:?}");

    deploy_execution(&aws, OTHER, &[]).await;
    let id = begin(&central, &restart(&[OTHER])).await.unwrap();
    assert_eq!(messages(&aws, &id).await, [""]);
}

/// The instances that a run came to in each of its accounts, and the warning that is shown there.
async fn resources(aws: &LocalAws, body: &Value) -> Vec<(Value, Value)> {
    let central = aws.client(CENTRAL, REGION);
    let id = begin(&central, body).await.unwrap();
    aws.automation().advance(Duration::from_hours(1));
    let get = async |client: &Client, id: &Value| {
        let answer = client.json("ssm", "GetAutomationExecution", &json!({"AutomationExecutionId": id})).await.unwrap();
        answer["AutomationExecution"].clone()
    };
    let whole = get(&central, &json!(id)).await;
    let mut found = Vec::new();
    for step in whole["StepExecutions"].as_array().unwrap() {
        assert_eq!(step["StepStatus"], "Success", "{step}");
        let account = step["TargetLocation"]["Accounts"][0].as_str().unwrap();
        let child = get(&aws.client(account, REGION), &step["Outputs"]["ExecutionId"][0]).await;
        let resources = child["ResolvedTargets"]["ParameterValues"].clone();
        let steps: Vec<Value> =
            child["StepExecutions"].as_array().unwrap().iter().map(|step| step["StepName"].clone()).collect();
        assert_eq!(resources, json!(steps), "{child}");
        found.push((resources, step["WarningMessage"].clone()));
    }
    found
}

#[tokio::test]
async fn a_run_works_on_the_instances_that_are_there() {
    let aws = start();
    deploy_administration(&aws).await;
    deploy_execution(&aws, AGENCY, &[]).await;
    deploy_execution(&aws, OTHER, &[]).await;
    let agency = aws.client(AGENCY, REGION);
    let launch = async |client: &Client, env: &str| {
        let id = machine::launch(client, None).await.unwrap().instance_id;
        let tag = [("ResourceId.1", id.as_str()), ("Tag.1.Key", "Env"), ("Tag.1.Value", env)];
        client.query("ec2", "CreateTags", &tag).await.unwrap();
        id
    };
    let mut there = [launch(&agency, "PROD").await, launch(&agency, "PROD").await];
    let gone = launch(&agency, "PROD").await;
    let test = launch(&agency, "TEST").await;
    launch(&agency.clone().in_region("us-west-2"), "PROD").await;
    agency.query("ec2", "StopInstances", &[("InstanceId.1", &there[0])]).await.unwrap();
    agency.query("ec2", "TerminateInstances", &[("InstanceId.1", &gone)]).await.unwrap();
    there.sort_unstable();
    let nothing = json!("No targets were found for the specified target key and values");
    let body = restart(&[AGENCY, OTHER]);

    let made_up = resources(&aws, &body).await;
    assert_eq!(made_up[1].0.as_array().unwrap().len(), 1, "nobody has asked for real ones: {made_up:?}");
    aws.automation().set_default(Outcome::TargetedInstances);
    assert_eq!(resources(&aws, &body).await, [(json!(there), Value::Null), (json!([]), nothing)]);
    let mut by_id = body.clone();
    by_id["Targets"] = json!([{"Key": "ParameterValues", "Values": [test, gone]}]);
    assert_eq!(resources(&aws, &by_id).await[0], (json!([test]), Value::Null));

    aws.automation().script(AGENCY, REGION, Outcome::Success { resources: 3 });
    let scripted = resources(&aws, &body).await;
    assert_eq!(scripted[0].0.as_array().unwrap().len(), 3, "what is scripted goes first: {scripted:?}");
}

#[tokio::test]
async fn an_execution_role_trusts_one_account_and_in_it_one_role() {
    let aws = start();
    deploy_administration(&aws).await;
    let parameters = [("AdminAccountId", "444444444444")];
    stacks::deploy(&aws.client(AGENCY, REGION), "execution", EXECUTION, &parameters).await.unwrap();
    deploy_execution(&aws, OTHER, &[]).await;
    let central = aws.client(CENTRAL, REGION);
    let trust = r#"{"Statement": [{"Effect": "Allow", "Principal": {"Service": "ssm.amazonaws.com"}, "Action": "sts:AssumeRole"}]}"#;
    let role = [("RoleName", "impostor"), ("AssumeRolePolicyDocument", trust)];
    central.query("iam", "CreateRole", &role).await.unwrap();
    let policy = r#"{"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]}"#;
    let policy = [("RoleName", "impostor"), ("PolicyName", "all"), ("PolicyDocument", policy)];
    central.query("iam", "PutRolePolicy", &policy).await.unwrap();

    let mut body = restart(&[AGENCY, OTHER]);
    let id = begin(&central, &body).await.unwrap();
    let told = messages(&aws, &id).await;
    assert!(told[0].contains("unable to be assumed") && told[1].is_empty(), "{told:?}");

    body["Parameters"]["AutomationAssumeRole"] = json!([format!("arn:aws:iam::{CENTRAL}:role/impostor")]);
    let id = begin(&central, &body).await.unwrap();
    let told = messages(&aws, &id).await;
    assert!(told.iter().all(|message| message.contains("unable to be assumed")), "{told:?}");
}

#[tokio::test]
async fn starting_needs_the_runbook_the_execution_and_the_role_to_pass() {
    let aws = start();
    deploy_administration(&aws).await;
    deploy_execution(&aws, AGENCY, &[]).await;
    let root = aws.client(CENTRAL, REGION);
    let trust = json!({"Statement": [{"Effect": "Allow", "Principal": {"AWS": CENTRAL}, "Action": "sts:AssumeRole"}]});
    let role = [("RoleName", "fanout"), ("AssumeRolePolicyDocument", &trust.to_string())];
    root.query("iam", "CreateRole", &role).await.unwrap();
    let fanout = root.assume_role(&format!("arn:aws:iam::{CENTRAL}:role/fanout"), "test").await.unwrap();
    let allow = async |statements: Value| {
        let policy = json!({"Statement": statements}).to_string();
        let params = [("RoleName", "fanout"), ("PolicyName", "start"), ("PolicyDocument", policy.as_str())];
        root.query("iam", "PutRolePolicy", &params).await.unwrap();
    };
    let denied = async |expected: &str| {
        let error = begin(&fanout, &restart(&[AGENCY])).await.unwrap_err();
        assert_eq!(error.code, "AccessDeniedException");
        assert!(error.message.contains(expected), "{error}");
    };

    let runbook = json!({"Effect": "Allow", "Action": "ssm:StartAutomationExecution",
                         "Resource": "arn:aws:ssm:*::document/AWS-RestartEC2Instance"});
    let own = json!({"Effect": "Allow", "Action": "ssm:*AutomationExecution",
                     "Resource": format!("arn:aws:ssm:*:{CENTRAL}:automation-execution/*")});
    let pass = |service: &str| {
        json!({"Effect": "Allow", "Action": "iam:PassRole", "Resource": administration_role(),
               "Condition": {"StringEquals": {"iam:PassedToService": service}}})
    };
    denied("on resource: arn:aws:ssm:us-east-1::document/AWS-RestartEC2Instance").await;
    allow(json!([runbook])).await;
    denied(&format!("on resource: arn:aws:ssm:{REGION}:{CENTRAL}:automation-execution/")).await;
    allow(json!([runbook, own])).await;
    denied(&format!("is not authorized to perform: iam:PassRole on resource: {}", administration_role())).await;
    allow(json!([runbook, own, pass("ec2.amazonaws.com")])).await;
    denied("iam:PassRole").await;
    allow(json!([runbook, own, pass("ssm.amazonaws.com")])).await;
    let id = begin(&fanout, &restart(&[AGENCY])).await.unwrap();
    let execution = aws.automation().executions(CENTRAL, REGION).pop().unwrap();
    assert_eq!(execution["ExecutedBy"], format!("arn:aws:sts::{CENTRAL}:assumed-role/fanout/test"));

    let body = json!({"AutomationExecutionId": id});
    fanout.json("ssm", "GetAutomationExecution", &body).await.unwrap();
    for operation in ["DescribeAutomationStepExecutions", "DescribeAutomationExecutions"] {
        let body = if operation == "DescribeAutomationExecutions" { json!({}) } else { body.clone() };
        assert_eq!(
            fanout.json("ssm", operation, &body).await.unwrap_err().code,
            "AccessDeniedException",
            "{operation}"
        );
    }
}

#[tokio::test]
async fn an_assume_role_that_systems_manager_cannot_assume_is_refused() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    let mut body = restart(&[AGENCY]);
    let refused = begin(&central, &body).await.unwrap_err();
    assert_eq!(refused.code, "InvalidAutomationExecutionParametersException");
    assert_eq!(refused.message, "The defined assume role is unable to be assumed.");
    body["Parameters"]["AutomationAssumeRole"] = json!(["administration"]);
    let refused = begin(&central, &body).await.unwrap_err();
    assert_eq!(refused.message, "The format of the supplied assume role ARN is invalid.");
}

#[tokio::test]
async fn the_patching_runbook_is_deployed_and_started_by_its_arn() {
    let aws = start();
    deploy_administration(&aws).await;
    deploy_execution(&aws, AGENCY, &[("AllowPatching", "Yes")]).await;
    let central = aws.client(CENTRAL, REGION);
    let outputs = stacks::deploy(&central, "runbook", RUNBOOK, &[]).await.unwrap();
    let mut body = json!({
        "DocumentName": outputs["PatchingRunbookArn"],
        "Parameters": {"AutomationAssumeRole": [administration_role()], "TagKey": ["Env"], "TagValues": ["PROD"]},
        "TargetLocations": [{"Accounts": [AGENCY], "Regions": [REGION]}]
    });
    let id = begin(&central, &body).await.unwrap();
    assert_eq!(messages(&aws, &id).await, [""]);

    body["Parameters"]["Colour"] = json!(["red"]);
    let refused = begin(&central, &body).await.unwrap_err();
    assert_eq!(refused.code, "InvalidAutomationExecutionParametersException");
    stacks::delete(&central, "runbook").await.unwrap();
    assert_eq!(begin(&central, &body).await.unwrap_err().code, "AutomationDefinitionNotFoundException");
}

#[tokio::test]
async fn inside_an_organization_both_roles_name_it() {
    let aws = start();
    let organization = ("OrganizationId", "o-0123456789");
    let central = aws.client(CENTRAL, REGION);
    stacks::deploy(&central, "administration", ADMINISTRATION, &[organization]).await.unwrap();
    deploy_execution(&aws, AGENCY, &[organization]).await;
    let document = async |client: &Client, role: &str| {
        let role = client.query("iam", "GetRole", &[("RoleName", role)]).await.unwrap();
        role["Role"]["AssumeRolePolicyDocument"].as_str().unwrap().to_owned()
    };
    let trust = document(&aws.client(AGENCY, REGION), "AWS-SystemsManager-AutomationExecutionRole").await;
    assert!(trust.contains("PrincipalOrgID") && trust.contains("o-0123456789"), "{trust}");
    let policies = [("automation-administration", "ResourceOrgID"), ("list-accounts", "ListAccountsForParent")];
    for (policy, expected) in policies {
        let of_role = [("RoleName", "AWS-SystemsManager-AutomationAdministrationRole"), ("PolicyName", policy)];
        let policy = central.query("iam", "GetRolePolicy", &of_role).await.unwrap();
        assert!(policy["PolicyDocument"].as_str().unwrap().contains(expected), "{policy}");
    }
}

#[tokio::test]
async fn an_execution_role_may_do_what_was_chosen() {
    let aws = start();
    let policies = async |account: &str| {
        let role = [("RoleName", "AWS-SystemsManager-AutomationExecutionRole")];
        let root = aws.client(account, REGION);
        let inline = root.query("iam", "ListRolePolicies", &role).await.unwrap();
        let managed = root.query("iam", "ListAttachedRolePolicies", &role).await.unwrap();
        (inline["PolicyNames"].clone(), managed["AttachedPolicies"].as_array().map_or(0, Vec::len))
    };
    deploy_execution(&aws, AGENCY, &[]).await;
    assert_eq!(policies(AGENCY).await, (json!(["run-automations"]), 0));
    let managed = ("ManagedPolicyArns", "arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess");
    deploy_execution(&aws, OTHER, &[("AllowRestart", "Yes"), ("AllowPatching", "Yes"), managed]).await;
    let (mut inline, attached) = policies(OTHER).await;
    inline.as_array_mut().unwrap().sort_by_key(ToString::to_string);
    assert_eq!((inline, attached), (json!(["patch-instances", "restart-instances", "run-automations"]), 1));
}
