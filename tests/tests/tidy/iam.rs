//! Permissions: what a function may do is what it says and what it calls, and no statement is wider than it must be.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use crate::function::{CALLED_AS_ANOTHER, FUNCTIONS, actions_documented, operations_called};
use crate::template::{Resource, templates};

/// What every function needs beside its own work: to write its log and to keep its failures.
const INFRASTRUCTURE: [&str; 3] = ["logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage"];

/// What a function needs without calling it, because AWS asks for it in the course of another call.
const NEEDED_WITH_A_CALL: [NeededWithACall; 4] = [
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
        function: "automation-fanout",
        action: "ssm:AddTagsToResource",
        call: "ssm:StartAutomationExecution",
        reason: "the tags come with the start, and AWS's examples of policies allow it for that: \
                 https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-setup-identity-based-policies.html",
    },
];

struct NeededWithACall {
    function: &'static str,
    action: &'static str,
    /// The call that makes AWS ask for the action.
    call: &'static str,
    reason: &'static str,
}

/// What a function calls, and what AWS asks for along with these calls.
fn actions_needed(function: &str) -> BTreeSet<String> {
    let with_a_call = NEEDED_WITH_A_CALL.iter().filter(|needed| needed.function == function);
    let mut actions = operations_called(function);
    actions.extend(with_a_call.map(|needed| needed.action.to_owned()));
    actions
}

#[test]
fn what_is_needed_is_documented_and_the_other_way_round() {
    for function in FUNCTIONS {
        assert_eq!(actions_documented(function), actions_needed(function), "{function}: documented, needed");
    }
}

#[test]
fn what_is_needed_with_a_call_is_no_call_and_the_call_is_one() {
    for NeededWithACall { function, action, call, reason } in NEEDED_WITH_A_CALL {
        let called = operations_called(function);
        assert!(!called.contains(action), "{function} calls {action}, so it is no exception: {reason}");
        assert!(called.contains(call), "{function} does not call {call}, so it does not need {action}: {reason}");
    }
}

#[test]
fn a_role_allows_what_its_function_needs_and_nothing_else() {
    for template in templates() {
        for function in template.functions() {
            let role = template.referenced(&function.properties["Role"]).unwrap();
            assert!(role.properties["ManagedPolicyArns"].is_null(), "{}: policies of others", role.place());
            let allowed: BTreeSet<String> = statements(&role.properties["Policies"])
                .into_iter()
                .map(|statement| statement["Action"].as_str().unwrap_or_default().to_owned())
                .collect();
            let mut expected = actions_needed(function.function_name());
            expected.extend(INFRASTRUCTURE.map(str::to_owned));
            assert_eq!(allowed, expected, "{}: allowed, needed", role.place());
        }
    }
}

#[test]
fn a_role_taken_elsewhere_allows_what_is_called_with_it_and_nothing_else() {
    let templates = templates();
    for called in CALLED_AS_ANOTHER {
        let roles = templates.iter().flat_map(|template| template.of_kind("AWS::IAM::Role"));
        let named: Vec<_> = roles.filter(|role| role.properties["RoleName"] == called.role).collect();
        let [role] = named.as_slice() else { panic!("{} templates make the role {}", named.len(), called.role) };
        let statements = statements(&role.properties["Policies"]);
        let allowed: BTreeSet<&str> = statements.iter().filter_map(|statement| statement["Action"].as_str()).collect();
        let with_it = CALLED_AS_ANOTHER.iter().filter(|other| other.role == called.role);
        assert_eq!(allowed, with_it.map(|other| other.operation).collect(), "{}: allowed, called", role.place());
    }
}

#[test]
fn every_statement_has_a_name_and_one_action() {
    for template in templates() {
        for resource in template.resources() {
            for document in documents(resource.properties) {
                let mut names = BTreeSet::new();
                for statement in statements(document) {
                    let place = format!("{}: {statement}", resource.place());
                    let name = statement["Sid"].as_str().unwrap_or_else(|| panic!("no Sid, {place}"));
                    assert!(names.insert(name), "the Sid {name} twice, {place}");
                    let action = statement["Action"].as_str().unwrap_or_else(|| panic!("not one action, {place}"));
                    assert!(!action.contains(['*', '?']), "a pattern of actions, {place}");
                    assert_eq!(statement["Effect"], "Allow", "{place}");
                    for negation in ["NotAction", "NotResource", "NotPrincipal"] {
                        assert!(statement[negation].is_null(), "{negation}, {place}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_wildcard_resource_is_explained() {
    let wildcard = Regex::new(r#"^\s*(- )?(Resource: )?\[?["']?\*["']?\]?\s*$"#).unwrap();
    let mut found = 0;
    for template in templates() {
        let lines: Vec<&str> = template.text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| wildcard.is_match(line)) {
            found += 1;
            let is_explained = lines[at - 1].trim_start().starts_with('#');
            assert!(is_explained, "{}:{}: {} without a comment above", template.file, at + 1, line.trim());
        }
        let in_policies = template.resources().iter().flat_map(|resource| statements(resource.properties)).count();
        assert!(in_policies > 0 || template.of_kind("AWS::IAM::Role").is_empty(), "{}: no statements", template.file);
    }
    assert!(found > 0, "there are wildcards in the templates, but this test sees none");
}

#[test]
fn no_partition_or_region_is_written_out() {
    let region = Regex::new(r"\b[a-z]{2}(-gov|-iso[a-z]?)?-(north|south|east|west|central)[a-z]*-[0-9]\b").unwrap();
    for template in templates() {
        for (path, text) in template.texts() {
            let field = path.rsplit('/').next().unwrap_or_default();
            if field.ends_with("Description") || field == "AllowedPattern" {
                continue;
            }
            let place = format!("{} {path}: {text}", template.file);
            for arn in text.match_indices("arn:").map(|(at, _)| &text[at..]) {
                assert!(arn.starts_with("arn:${AWS::Partition}:"), "a partition written out in {place}");
            }
            assert!(!region.is_match(&text), "a Region written out in {place}");
        }
    }
}

/// A role of a service is for that service alone, and a resource that others may use names whom.
#[test]
fn nobody_in_general_is_trusted() {
    for template in templates() {
        for resource in template.resources() {
            for statement in statements(resource.properties) {
                let principal = statement["Principal"].to_string();
                assert!(!principal.contains('*'), "{}: everybody is trusted: {statement}", resource.place());
            }
            if resource.kind == "AWS::Lambda::Permission" {
                let principal = &resource.properties["Principal"];
                assert!(*principal != "*" && !principal.is_null(), "{}: everybody may invoke", resource.place());
                assert_alias(&resource);
            }
        }
    }
}

/// An agency is known by the alias that it invokes, so no permission may be on anything else.
fn assert_alias(permission: &Resource<'_>) {
    let target = permission.template.referenced(&permission.properties["FunctionName"]);
    let is_alias = target.is_some_and(|target| target.kind == "AWS::Lambda::Alias");
    let is_service = permission.properties["Principal"].as_str().is_some_and(|name| name.ends_with(".amazonaws.com"));
    assert!(is_alias || is_service, "{}: a permission for an account has to be on its alias", permission.place());
}

/// All statements anywhere below a value.
fn statements(value: &Value) -> Vec<&Value> {
    documents(value).into_iter().flat_map(|document| document["Statement"].as_array().unwrap()).collect()
}

/// All policy documents anywhere below a value.
fn documents(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(fields) if fields.get("Statement").is_some_and(Value::is_array) => vec![value],
        Value::Object(fields) => fields.values().flat_map(documents).collect(),
        Value::Array(items) => items.iter().flat_map(documents).collect(),
        _ => Vec::new(),
    }
}

/// A role has one trust policy and any number of its own, some only under a condition.
#[test]
fn every_document_is_found() {
    for template in templates() {
        let mut of_roles = 0;
        for role in template.of_kind("AWS::IAM::Role") {
            let policies = role.properties["Policies"].as_array().cloned().unwrap_or_default();
            assert!(!policies.is_empty(), "{}: no policy of its own", role.place());
            for holder in policies.iter().chain([&role.properties["AssumeRolePolicyDocument"]]) {
                assert_eq!(documents(holder).len(), 1, "{}: not one document: {holder}", role.place());
            }
            of_roles += policies.len() + 1;
        }
        let found: usize = template.resources().iter().map(|resource| documents(resource.properties).len()).sum();
        assert_eq!(found, of_roles, "{}: documents, those of roles", template.file);
    }
}
