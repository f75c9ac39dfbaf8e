//! Roles and resource policies: whoever acts is allowed what it needs, and nothing else.
//!
//! [`problems`] looks at one template, so that the last test can take a statement away and see whether it notices.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Value, json};

use crate::function::operations_called;
use crate::operators;
use crate::policy::{Statement, statements, statements_of};
use crate::template::{Resource, Template, templates};

/// What every function needs beside its own work: to write its log and to keep its failures; with tracing to send
/// traces; and with a key of one's own to send to the queue that it encrypts.
const INFRASTRUCTURE: [(Option<&str>, &str); 7] = [
    (None, "logs:CreateLogStream"),
    (None, "logs:PutLogEvents"),
    (None, "sqs:SendMessage"),
    (Some("IsTraced"), "xray:PutTraceSegments"),
    (Some("IsTraced"), "xray:PutTelemetryRecords"),
    (Some("HasKmsKey"), "kms:GenerateDataKey"),
    (Some("HasKmsKey"), "kms:Decrypt"),
];

/// What a function needs where Lambda takes messages out of a queue for it.
const TO_TAKE_MESSAGES: [&str; 3] = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];

/// What a sender to a queue or a topic with a key of one's own needs.
const TO_ENCRYPT: [&str; 2] = ["kms:GenerateDataKey", "kms:Decrypt"];

/// What a function needs without calling it, because AWS asks for it in the course of another call.
pub(crate) const NEEDED_WITH_A_CALL: [NeededWithACall; 5] = [
    NeededWithACall {
        function: "activation-issuer",
        action: "iam:PassRole",
        call: "ssm:CreateActivation",
        reason: "an activation hands the nodes' role over to Systems Manager, and whether it may is checked there",
    },
    NeededWithACall {
        function: "activation-issuer",
        action: "ssm:AddTagsToResource",
        call: "ssm:CreateActivation",
        reason: "an activation is made with its tag, and creating with tags asks for the permission to tag: \
                 https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_CreateActivation.html",
    },
    NeededWithACall {
        function: "automation-fanout",
        action: "iam:PassRole",
        call: "ssm:StartAutomationExecution",
        reason: "a start hands the administration role over to Systems Manager, and whether it may is checked there",
    },
    NeededWithACall {
        function: "fleet-reporter",
        action: "s3:ListBucket",
        call: "s3:GetObject",
        reason: "S3 says that an object is not there only to whoever may list the bucket: \
                 https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html",
    },
    NeededWithACall {
        function: "automation-fanout",
        action: "iam:CreateServiceLinkedRole",
        call: "ssm:StartAutomationExecution",
        reason: "a start with an alarm makes the role by which Systems Manager reads it, once in an account: \
                 https://docs.aws.amazon.com/systems-manager/latest/userguide/running-automations-multiple-accounts-regions.html",
    },
];

pub(crate) struct NeededWithACall {
    pub(crate) function: &'static str,
    pub(crate) action: &'static str,
    /// The call that makes AWS ask for the action.
    pub(crate) call: &'static str,
    pub(crate) reason: &'static str,
}

/// What a function calls only where a parameter asks for it.
const UNDER_A_CONDITION: [(&str, &str, &str); 2] = [
    ("ssm-tag-manager", "ssm:DescribeInstanceInformation", "IsMarking"),
    ("ssm-tag-manager", "ssm:DeregisterManagedInstance", "IsRetiring"),
];

/// Actions that AWS authorizes on resources of several types at once:
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html>.
const ON_SEVERAL_TYPES: [(&str, &[&str]); 1] =
    [("ssm:StartAutomationExecution", &[":document/", ":automation-definition/", ":automation-execution/"])];

/// What a function calls on several of its own.
const ON_SEVERAL_OWN: [(&str, &str, &[&str]); 1] = [("ssm-tag-manager", "ssm:GetParameter", &["coverage/", "policy/"])];

/// What the role of a state machine with a log has to allow:
/// <https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html>.
const TO_DELIVER_LOGS: [&str; 8] = [
    "CreateLogDelivery",
    "GetLogDelivery",
    "UpdateLogDelivery",
    "DeleteLogDelivery",
    "ListLogDeliveries",
    "PutResourcePolicy",
    "DescribeResourcePolicies",
    "DescribeLogGroups",
];

/// What a state machine without a function calls only where a parameter asks for it, and what AWS asks for with a call.
const OF_STATE_MACHINES: [(&str, Option<&str>); 2] =
    [("cloudformation:ExecuteChangeSet", Some("IsApplying")), ("iam:PassRole", Some("HasDeploymentRole"))];

/// Who assumes the roles that no resource of their template names.
const TRUSTED_BY_NAME: [(&str, &[&str]); 5] = [
    ("ActivationWriterRole", &["arn:${AWS::Partition}:iam::${CentralAccountId}:root"]),
    ("InstanceRole", &["ec2.${AWS::URLSuffix}"]),
    ("ManagedNodeRole", &["ssm.amazonaws.com"]),
    ("AdministrationRole", &["ssm.amazonaws.com"]),
    ("ExecutionRole", &["arn:${AWS::Partition}:iam::${AdminAccountId}:root", "ssm.amazonaws.com"]),
];

/// An action, with the condition under which it is there.
type Permission = (Option<&'static str>, &'static str);

/// What is done with roles that no resource of their template acts as.
const OF_OTHERS: [(&str, &[Permission]); 3] = [
    // activation-issuer, from the central account.
    (
        "ActivationWriterRole",
        &[(None, "ssm:GetParameter"), (None, "ssm:GetParameterHistory"), (None, "ssm:PutParameter")],
    ),
    // register-instance, on an instance.
    (
        "InstanceRole",
        &[
            (None, "ssm:GetParameter"),
            (None, "ec2:CreateTags"),
            (Some("HasActivationKmsKey"), "kms:Decrypt"),
            // install.sh.
            (Some("HasArtifacts"), "s3:GetObject"),
        ],
    ),
    // The agent of a managed node, under AWS's policy; these two are denied.
    (
        "ManagedNodeRole",
        &[
            (Some("IsNodeKeptFromParameters"), "ssm:GetParameter"),
            (Some("IsNodeKeptFromParameters"), "ssm:GetParameters"),
        ],
    ),
];

/// Roles whose permissions no resource of their template needs. Theirs are for runbooks, and the table in
/// docs/permissions.md holds them.
const OF_RUNBOOKS: [&str; 2] = ["AdministrationRole", "ExecutionRole"];

/// The one bucket that other accounts read.
const SHARED_BUCKET: &str = "ArtifactBucket";

/// What a function calls, and what AWS asks for along with these calls.
pub(crate) fn actions_needed(function: &str) -> BTreeSet<String> {
    let with_a_call = NEEDED_WITH_A_CALL.iter().filter(|needed| needed.function == function);
    let mut actions = operations_called(function);
    actions.extend(with_a_call.map(|needed| needed.action.to_owned()));
    actions
}

/// Everything in a template that is allowed without need, or needed and not allowed.
pub(crate) fn problems(template: &Template) -> Vec<String> {
    let mut problems = Vec::new();
    for function in template.functions() {
        problems.extend(problems_of_function(&function));
    }
    for machine in template.of_kind("AWS::StepFunctions::StateMachine") {
        problems.extend(problems_of_state_machine(&machine));
    }
    for schedule in template.of_kind("AWS::Scheduler::Schedule") {
        problems.extend(problems_of_schedule(&schedule));
    }
    for rule in template.of_kind("AWS::Events::Rule") {
        problems.extend(problems_of_rule(&rule));
    }
    for policy in template.of_kind("AWS::Events::EventBusPolicy") {
        problems.extend(problems_of_bus(&policy));
    }
    for role in template.of_kind("AWS::IAM::Role") {
        problems.extend(problems_of_trust(&role));
        for (_, done) in OF_OTHERS.iter().filter(|(id, _)| *id == role.id) {
            let done = done.iter().map(|(condition, action)| (condition.map(str::to_owned), (*action).to_owned()));
            problems.extend(compare(&role, &done.collect()));
        }
    }
    problems.extend(operators::problems(template));
    for topic in template.of_kind("AWS::SNS::Topic") {
        problems.extend(problems_of_topic(&topic));
    }
    for bucket in template.of_kind("AWS::S3::Bucket") {
        problems.extend(problems_of_bucket(&bucket));
    }
    for alias in template.of_kind("AWS::Lambda::Alias") {
        let permissions = template.of_kind("AWS::Lambda::Permission");
        let is_open = permissions.iter().any(|permission| permission.properties["FunctionName"]["Ref"] == alias.id);
        problems.extend((!is_open).then(|| format!("{}: nobody may invoke it", alias.place())));
    }
    problems
}

fn problems_of_function(function: &Resource<'_>) -> Vec<String> {
    let template = function.template;
    let Some(role) = template.referenced(&function.properties["Role"]) else {
        return vec![format!("{}: no explicit role", function.place())];
    };
    let condition_of = |action: &str| {
        let mut all = UNDER_A_CONDITION.iter();
        let found = all.find(|(name, needed, _)| *name == function.function_name() && *needed == action);
        found.map(|(_, _, condition)| (*condition).to_owned())
    };
    let mut needed: BTreeSet<(Option<String>, String)> =
        actions_needed(function.function_name()).into_iter().map(|action| (condition_of(&action), action)).collect();
    needed.extend(INFRASTRUCTURE.map(|(condition, action)| (condition.map(str::to_owned), action.to_owned())));
    for mapping in template.of_kind("AWS::Lambda::EventSourceMapping") {
        let condition = mapping.condition.map(str::to_owned);
        if mapping.properties["FunctionName"]["Ref"] == function.id {
            needed.extend(TO_TAKE_MESSAGES.map(|action| (condition.clone(), action.to_owned())));
        }
    }
    let mut problems = compare(&role, &needed);
    problems.extend(problems_of_decryption(&role, &needed));
    let own = ON_SEVERAL_OWN.iter().filter(|(name, ..)| *name == function.function_name());
    for (action, kinds) in ON_SEVERAL_TYPES.into_iter().chain(own.map(|(_, action, names)| (*action, *names))) {
        let granting = statements_of(&role, "Policies");
        let granting: Vec<_> = granting.iter().filter(|statement| statement.action() == action).collect();
        for kind in kinds.iter().filter(|_| !granting.is_empty()) {
            let is_allowed = granting.iter().flat_map(|statement| statement.resources()).any(|on| said_on(on, kind));
            problems.extend((!is_allowed).then(|| format!("{}: {action} on no {kind}", role.place())));
        }
    }
    problems
}

/// The services that decrypt in the name of a function: SQS the failure queue, and DynamoDB the tables that it uses.
fn problems_of_decryption(role: &Resource<'_>, needed: &BTreeSet<(Option<String>, String)>) -> Vec<String> {
    let uses_tables = needed.iter().any(|(_, action)| action.starts_with("dynamodb:"));
    let services: BTreeSet<&str> = ["sqs.*"].into_iter().chain(uses_tables.then_some("dynamodb.*")).collect();
    let statements = statements_of(role, "Policies");
    let decrypting = statements.iter().filter(|one| one.action() == "kms:Decrypt");
    let allowed: BTreeSet<&str> = decrypting
        .map(|one| one.value["Condition"]["StringLike"]["kms:ViaService"].as_str().unwrap_or("any service"))
        .collect();
    let is_right = allowed == services;
    (!is_right)
        .then(|| format!("{}: decrypts through {allowed:?}, needs {services:?}", role.place()))
        .into_iter()
        .collect()
}

fn problems_of_schedule(schedule: &Resource<'_>) -> Vec<String> {
    let template = schedule.template;
    let target = &schedule.properties["Target"];
    let Some(role) = template.referenced(&target["RoleArn"]) else {
        return vec![format!("{}: no role", schedule.place())];
    };
    let condition = role.condition.map(str::to_owned);
    let start =
        if is_state_machine(template, &target["Arn"]) { "states:StartExecution" } else { "lambda:InvokeFunction" };
    let mut uses = vec![(start, &target["Arn"])];
    let mut needed = BTreeSet::from([(condition.clone(), start.to_owned())]);
    if !target["DeadLetterConfig"].is_null() {
        uses.push(("sqs:SendMessage", &target["DeadLetterConfig"]["Arn"]));
        needed.insert((condition, "sqs:SendMessage".to_owned()));
        needed.extend(TO_ENCRYPT.map(|action| (Some("HasKmsKey".to_owned()), action.to_owned())));
    }
    let mut problems = compare(&role, &needed);
    for (action, on) in uses {
        let is_on =
            statements_of(&role, "Policies").iter().any(|one| one.action() == action && one.resources() == [on]);
        problems.extend((!is_on).then(|| format!("{}: {action} is not on what the schedule uses", role.place())));
    }
    problems
}

fn is_state_machine(template: &Template, arn: &Value) -> bool {
    template.referenced(arn).is_some_and(|on| on.kind == "AWS::StepFunctions::StateMachine")
}

/// The actions of the services that the tasks of a state machine call by themselves, each with its condition.
fn calls_of_state_machine(machine: &Resource<'_>) -> BTreeSet<(Option<String>, String)> {
    let call = Regex::new(r"aws-sdk:([a-z]+):([a-z])(\w+)").unwrap();
    let definition = machine.properties["Definition"].to_string();
    let mut calls: BTreeSet<String> = call
        .captures_iter(&definition)
        .map(|found| format!("{}:{}{}", &found[1], found[2].to_uppercase(), &found[3]))
        .collect();
    if definition.contains("RoleARN") {
        calls.insert("iam:PassRole".to_owned());
    }
    let condition = |call: &str| OF_STATE_MACHINES.iter().find(|(of, _)| *of == call).and_then(|(_, under)| *under);
    calls.into_iter().map(|call| (condition(&call).map(str::to_owned), call)).collect()
}

/// A state machine invokes the functions and publishes to the topics that its definition gets, and delivers its log.
fn problems_of_state_machine(machine: &Resource<'_>) -> Vec<String> {
    let template = machine.template;
    let Some(role) = template.referenced(&machine.properties["RoleArn"]) else {
        return vec![format!("{}: no role", machine.place())];
    };
    let calls = calls_of_state_machine(machine);
    if !calls.is_empty() {
        return compare(&role, &calls);
    }
    let mut needed: BTreeSet<(Option<String>, String)> =
        TO_DELIVER_LOGS.map(|action| (None, format!("logs:{action}"))).into();
    needed.extend(TO_ENCRYPT.map(|action| (Some("HasKmsKey".to_owned()), action.to_owned())));
    let traces = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"];
    needed.extend(traces.map(|action| (Some("IsTraced".to_owned()), action.to_owned())));
    let mut problems = Vec::new();
    for on in machine.properties["DefinitionSubstitutions"].as_object().into_iter().flatten().map(|(_, on)| on) {
        let action = match template.referenced(on).map(|on| on.kind) {
            Some("AWS::SNS::Topic") => "sns:Publish",
            _ => "lambda:InvokeFunction",
        };
        needed.insert((None, action.to_owned()));
        let is_on =
            statements_of(&role, "Policies").iter().any(|one| one.action() == action && one.resources() == [on]);
        problems.extend((!is_on).then(|| format!("{}: {action} is not on what the machine uses", role.place())));
    }
    problems.extend(compare(&role, &needed));
    // Of its executions and its log a machine uses the key without another service:
    // https://docs.aws.amazon.com/step-functions/latest/dg/encryption-at-rest.html
    let context = "kms:EncryptionContext:aws:states:stateMachineArn";
    let [encrypt, decrypt] = TO_ENCRYPT;
    let through = [
        (encrypt, "kms:ViaService"),
        (decrypt, "kms:ViaService"),
        (encrypt, context),
        (decrypt, context),
        (encrypt, "kms:EncryptionContext:SourceArn"),
    ];
    let own = statements_of(&role, "Policies");
    for (action, key) in through {
        let is_it = |one: &Statement<'_>| one.action() == action && one.value["Condition"].to_string().contains(key);
        problems.extend((!own.iter().any(is_it)).then(|| format!("{}: no {action} with {key}", role.place())));
    }
    problems
}

/// A rule reaches a queue by the policy of the queue; an event bus of another Region and a topic of the stack by a role.
fn problems_of_rule(rule: &Resource<'_>) -> Vec<String> {
    let template = rule.template;
    let mut problems = Vec::new();
    for target in rule.properties["Targets"].as_array().unwrap() {
        let on = resource_in(template, &target["Arn"]);
        if let Some(role) = template.referenced(resource_in(template, &target["RoleArn"])) {
            let condition = role.condition.map(str::to_owned);
            let is_topic = template.referenced(on).is_some_and(|target| target.kind == "AWS::SNS::Topic");
            let action = match is_topic {
                true => "sns:Publish",
                false if is_state_machine(template, on) => "states:StartExecution",
                false => "events:PutEvents",
            };
            let mut needed = BTreeSet::from([(condition, action.to_owned())]);
            let to_encrypt = TO_ENCRYPT.iter().filter(|_| is_topic);
            needed.extend(to_encrypt.map(|action| (Some("HasKmsKey".to_owned()), (*action).to_owned())));
            problems.extend(compare(&role, &needed));
            let own = statements_of(&role, "Policies");
            let is_on = own.iter().filter(|one| one.action() == action).all(|one| one.resources() == [on]);
            problems.extend((!is_on).then(|| format!("{}: not on the target of the rule alone", role.place())));
            continue;
        }
        let Some(queue) = template.referenced(&target["Arn"]).filter(|target| target.kind == "AWS::SQS::Queue") else {
            continue;
        };
        let policies = template.of_kind("AWS::SQS::QueuePolicy");
        let own = policies.iter().filter(|policy| policy.properties["Queues"][0]["Ref"] == queue.id);
        let is_open = own.flat_map(statements).any(|statement| {
            let source = &statement.value["Condition"]["ArnEquals"]["aws:SourceArn"];
            let sources = source.as_array().map_or_else(|| vec![source], |several| several.iter().collect());
            statement.action() == "sqs:SendMessage"
                && statement.resources() == [&target["Arn"]]
                && statement.value["Principal"]["Service"] == "events.amazonaws.com"
                && sources.iter().any(|source| source["Fn::GetAtt"] == format!("{}.Arn", rule.id))
        });
        problems.extend((!is_open).then(|| format!("{}: {} cannot send to it", queue.place(), rule.id)));
    }
    problems
}

/// Another account puts events on the bus of this one, where a rule waits for what that account says.
fn problems_of_bus(policy: &Resource<'_>) -> Vec<String> {
    let rules = policy.template.of_kind("AWS::Events::Rule");
    let is_open = statements(policy).iter().any(|one| {
        let from = json!({"Ref": "ManagementAccountId"});
        let is_heard = rules.iter().any(|rule| rule.properties["EventPattern"]["account"] == json!([from]));
        one.action() == "events:PutEvents" && principal(one).contains("${ManagementAccountId}:root") && is_heard
    });
    (!is_open).then(|| format!("{}: nobody whom a rule waits for", policy.place())).into_iter().collect()
}

/// A role is for whom its template uses it for, and for nobody else.
fn problems_of_trust(role: &Resource<'_>) -> Vec<String> {
    let template = role.template;
    let is_this = |value: &Value| template.referenced(value).is_some_and(|other| other.id == role.id);
    let mut expected = BTreeSet::new();
    for resource in template.resources() {
        match resource.kind {
            "AWS::Serverless::Function" | "AWS::Lambda::Function" if is_this(&resource.properties["Role"]) => {
                expected.insert("lambda.amazonaws.com");
            }
            "AWS::StepFunctions::StateMachine" if is_this(&resource.properties["RoleArn"]) => {
                expected.insert("states.amazonaws.com");
            }
            "AWS::Scheduler::Schedule" if is_this(&resource.properties["Target"]["RoleArn"]) => {
                expected.insert("scheduler.amazonaws.com");
            }
            "AWS::Events::Rule" => {
                let mut targets = resource.properties["Targets"].as_array().unwrap().iter();
                if targets.any(|target| is_this(resource_in(template, &target["RoleArn"]))) {
                    expected.insert("events.amazonaws.com");
                }
            }
            _ => {}
        }
    }
    for (_, principals) in TRUSTED_BY_NAME.iter().filter(|(id, _)| *id == role.id) {
        expected.extend(principals.iter());
    }
    let trust = statements_of(role, "AssumeRolePolicyDocument");
    let trusted: BTreeSet<&str> = trust.iter().map(|statement| principal(statement)).collect();
    let is_right = trusted == expected && trust.iter().all(|statement| statement.action() == "sts:AssumeRole");
    (!is_right).then(|| format!("{}: trusts {trusted:?}, is for {expected:?}", role.place())).into_iter().collect()
}

fn problems_of_topic(topic: &Resource<'_>) -> Vec<String> {
    let policies = topic.template.of_kind("AWS::SNS::TopicPolicy");
    let own = policies.iter().filter(|policy| policy.properties["Topics"][0]["Ref"] == topic.id);
    let has_tls = own.flat_map(statements).any(|one| {
        let is_for_this = one.action() == "sns:Publish" && one.resources() == [&json!({"Ref": topic.id})];
        is_for_this && refuses_without_tls(&one)
    });
    (!has_tls).then(|| format!("{}: takes messages without TLS", topic.place())).into_iter().collect()
}

fn problems_of_bucket(bucket: &Resource<'_>) -> Vec<String> {
    let policies = bucket.template.of_kind("AWS::S3::BucketPolicy");
    let own: Vec<_> = policies.iter().filter(|policy| policy.properties["Bucket"]["Ref"] == bucket.id).collect();
    let all: Vec<Statement<'_>> = own.into_iter().flat_map(statements).collect();
    let mut problems = Vec::new();
    problems.extend(
        (!all.iter().any(refuses_without_tls)).then(|| format!("{}: takes requests without TLS", bucket.place())),
    );
    if bucket.id != SHARED_BUCKET {
        let open = all.iter().filter(|one| !one.is_deny());
        problems.extend(open.map(|one| format!("{}: {} opens it to somebody", bucket.place(), one.sid())));
        return problems;
    }
    for action in ["s3:GetObject", "s3:GetObjectVersion"] {
        let releases = json!({"Fn::Sub": format!("${{{}.Arn}}/releases/*", bucket.id)});
        let is_open = all.iter().any(|one| {
            one.action() == action && one.conditions == ["HasOrganization"] && one.resources() == [&releases]
        });
        problems.extend(
            (!is_open).then(|| format!("{}: no {action} for the organization on releases alone", bucket.place())),
        );
    }
    problems
}

fn refuses_without_tls(statement: &Statement<'_>) -> bool {
    statement.is_deny() && statement.value["Condition"]["Bool"]["aws:SecureTransport"] == "false"
}

/// Of the branches of `Fn::If` the one that names a resource of the template; any other value as it is.
fn resource_in<'a>(template: &Template, value: &'a Value) -> &'a Value {
    let branches = value["Fn::If"].as_array();
    let named = branches.and_then(|branches| branches.iter().find(|branch| template.referenced(branch).is_some()));
    named.unwrap_or(value)
}

/// What a role allows, against what is needed, each with the condition that it is under.
fn compare(role: &Resource<'_>, needed: &BTreeSet<(Option<String>, String)>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut allowed = BTreeSet::new();
    for statement in statements_of(role, "Policies") {
        // A statement in a part with a condition of its own is under that one; the role's own goes without saying.
        let condition = statement.conditions.last().cloned();
        allowed.insert((condition, statement.action().to_owned()));
    }
    for (condition, action) in needed.difference(&allowed) {
        problems.push(format!("{}: {action} is needed and not allowed (condition: {condition:?})", role.place()));
    }
    for (condition, action) in allowed.difference(needed) {
        problems.push(format!("{}: {action} is allowed and not needed (condition: {condition:?})", role.place()));
    }
    // What the agent needs AWS says, and changes with the agent.
    if !role.properties["ManagedPolicyArns"].is_null() && role.id != "ManagedNodeRole" {
        problems.push(format!("{}: policies of others", role.place()));
    }
    problems
}

fn principal<'a>(statement: &Statement<'a>) -> &'a str {
    let principal = &statement.value["Principal"];
    let [service, account] = [&principal["Service"], &principal["AWS"]].map(|one| {
        let text = &one["Fn::Sub"];
        one.as_str().or(text.as_str()).or(text[0].as_str())
    });
    service.or(account).unwrap_or_default()
}

fn said_on(resource: &Value, kind: &str) -> bool {
    crate::policy::said(resource).contains(kind)
}

#[test]
fn whoever_acts_is_allowed_what_it_needs_and_nothing_else() {
    let problems: Vec<String> = templates().iter().flat_map(problems).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn no_statement_can_go_unnoticed() {
    let mut taken_away = 0;
    for template in templates() {
        for resource in template.resources() {
            for statement in statements(&resource) {
                let is_of_runbooks = OF_RUNBOOKS.contains(&resource.id) && statement.path.starts_with("/Policies/");
                if is_of_runbooks {
                    continue;
                }
                let changed = template.without(&format!("/Resources/{}/Properties{}", resource.id, statement.path));
                let place = format!("{} {}", resource.place(), statement.sid());
                assert!(!problems(&changed).is_empty(), "without {place} nothing seems to be wrong");
                taken_away += 1;
            }
        }
        for permission in template.of_kind("AWS::Lambda::Permission") {
            let changed = template.without(&format!("/Resources/{}", permission.id));
            assert!(!problems(&changed).is_empty(), "without {} nothing seems to be wrong", permission.place());
        }
    }
    assert!(taken_away > 40, "only {taken_away} statements were found");
}

#[test]
fn a_statement_too_many_is_noticed() {
    for template in templates() {
        for role in template.of_kind("AWS::IAM::Role").iter().filter(|role| !OF_RUNBOOKS.contains(&role.id)) {
            let first = statements_of(role, "Policies").remove(0);
            let path = format!("/Resources/{}/Properties{}/Action", role.id, first.path);
            let changed = template.with(&path, &Value::from("ec2:TerminateInstances"));
            assert!(problems(&changed).len() > 1, "{}: terminates instances", role.place());
        }
    }
}
