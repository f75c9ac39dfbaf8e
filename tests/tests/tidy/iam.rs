//! Permissions: what a function needs is what it says and what it calls, and no statement is wider than it must be.

use std::collections::BTreeSet;

use regex::Regex;

use crate::function::{CALLED_AS_ANOTHER, FUNCTIONS, actions_documented, operations_called};
use crate::policy::{Statement, statements, statements_of};
use crate::roles::{NEEDED_WITH_A_CALL, NeededWithACall, actions_needed};
use crate::template::{Resource, templates};

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
fn a_role_taken_elsewhere_allows_what_is_called_with_it_and_nothing_else() {
    let templates = templates();
    for called in CALLED_AS_ANOTHER {
        let roles = templates.iter().flat_map(|template| template.of_kind("AWS::IAM::Role"));
        let named: Vec<_> = roles.filter(|role| role.properties["RoleName"] == called.role).collect();
        let [role] = named.as_slice() else { panic!("{} templates make the role {}", named.len(), called.role) };
        let statements = statements_of(role, "Policies");
        let allowed: BTreeSet<&str> = statements.iter().map(Statement::action).collect();
        let with_it = CALLED_AS_ANOTHER.iter().filter(|other| other.role == called.role);
        assert_eq!(allowed, with_it.map(|other| other.operation).collect(), "{}: allowed, called", role.place());
    }
}

#[test]
fn every_statement_has_a_name_and_one_action() {
    for template in templates() {
        for resource in template.resources() {
            let mut names = BTreeSet::new();
            for statement in statements(&resource) {
                let place = format!("{} {}", resource.place(), statement.value);
                // Trust and permissions of a role are two documents.
                let document = statement.path.split("/Statement/").next().unwrap().to_owned();
                assert!(!statement.sid().is_empty(), "no Sid, {place}");
                assert!(names.insert((document, statement.sid().to_owned())), "a Sid twice, {place}");
                assert!(!statement.action().is_empty(), "not one action, {place}");
                // What is refused may be refused as a whole.
                assert!(
                    statement.is_deny() || !statement.action().contains(['*', '?']),
                    "a pattern of actions, {place}"
                );
                for negation in ["NotAction", "NotResource", "NotPrincipal"] {
                    assert!(statement.value[negation].is_null(), "{negation}, {place}");
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
        let in_policies = template.resources().iter().flat_map(statements).count();
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
            for statement in statements(&resource) {
                let is_everybody = statement.value["Principal"].to_string().contains('*');
                // Everybody is nobody in general where the organization is asked for, or where it is refused.
                let organization = &statement.value["Condition"]["StringEquals"]["aws:PrincipalOrgID"];
                let is_bounded = statement.is_deny() || organization["Ref"] == "OrganizationId";
                assert!(!is_everybody || is_bounded, "{}: everybody is trusted: {}", resource.place(), statement.value);
            }
            if resource.kind == "AWS::Lambda::Permission" {
                let principal = &resource.properties["Principal"];
                assert!(*principal != "*" && !principal.is_null(), "{}: everybody may invoke", resource.place());
                assert_alias(&resource);
            }
        }
    }
}

/// A service that acts for others says for whom: without that, a resource in another account could have it use this one.
#[test]
fn a_service_is_trusted_for_this_account_alone() {
    for template in templates() {
        for resource in template.resources() {
            for statement in statements(&resource) {
                let service = statement.value["Principal"]["Service"].as_str().unwrap_or_default();
                // Lambda assumes a role only for the function that names it, and who may name it is iam:PassRole's.
                if service.is_empty() || service == "lambda.amazonaws.com" {
                    continue;
                }
                let conditions = statement.value["Condition"].to_string();
                let is_bounded = conditions.contains("aws:SourceAccount") || conditions.contains("aws:SourceArn");
                assert!(is_bounded, "{}: {service} may come from any account", resource.place());
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

/// A role has one trust policy and any number of its own, a policy of a resource has one document.
#[test]
fn every_document_is_found() {
    for template in templates() {
        for resource in template.resources() {
            let in_text = resource.properties.to_string().matches("\"Effect\":").count();
            let found = statements(&resource);
            assert_eq!(found.len(), in_text, "{}: found, written", resource.place());
            if resource.kind == "AWS::IAM::Role" {
                let has = |property: &str| found.iter().any(|one| one.path.starts_with(&format!("/{property}/")));
                assert!(has("AssumeRolePolicyDocument"), "{}: no trust", resource.place());
                assert!(has("Policies"), "{}: no policy of its own", resource.place());
            }
        }
    }
}
