//! The policies of operators: what the program taghub calls, and nothing else.

use std::collections::BTreeSet;

use regex::Regex;

use crate::policy::statements;
use crate::repository::{files, text};
use crate::template::{Template, templates};

const TEMPLATE: &str = "cfn/operator-roles.yaml";
/// Where the program's code is: its own, and what it reads a report with.
const CODE: [&str; 2] = ["bin/taghub/src/aws", "functions/fleet-reporter/src/aws"];

/// Calls in an agency's account, of the function alone, or that need no permission.
const ELSEWHERE: [&str; 3] = ["ec2:DescribeInstances", "s3:PutObject", "sts:GetCallerIdentity"];

/// What each policy allows beside the program's calls that read, with the condition under which it does.
const BESIDE_READERS: [(&str, Option<&str>, &str); 7] = [
    // Step Functions decrypts in the name of whoever reads an execution.
    ("Reader", Some("HasKmsKey"), "kms:Decrypt"),
    ("Operator", None, "lambda:InvokeFunction"),
    ("Operator", None, "states:StartExecution"),
    ("Operator", None, "states:StopExecution"),
    ("Operator", Some("HasApprovingOperators"), "states:SendTaskSuccess"),
    ("Approver", None, "states:SendTaskSuccess"),
    ("Approver", None, "ssm:PutParameter"),
];

/// Everything in the policies that is allowed without need, or needed and not allowed.
pub(crate) fn problems(template: &Template) -> Vec<String> {
    if template.file != TEMPLATE {
        return Vec::new();
    }
    let beside: BTreeSet<&str> = BESIDE_READERS.iter().map(|(_, _, action)| *action).collect();
    let reading = called().into_iter().filter(|action| !beside.contains(action.as_str()));
    let mut needed: BTreeSet<(String, Option<String>, String)> =
        reading.map(|action| ("Reader".to_owned(), None, action)).collect();
    needed.extend(
        BESIDE_READERS
            .map(|(policy, condition, action)| (policy.to_owned(), condition.map(str::to_owned), action.to_owned())),
    );
    let mut allowed = BTreeSet::new();
    for policy in template.of_kind("AWS::IAM::ManagedPolicy") {
        for statement in statements(&policy) {
            allowed.insert((policy.id.to_owned(), statement.conditions.last().cloned(), statement.action().to_owned()));
        }
    }
    let missing = needed.difference(&allowed).map(|one| format!("{TEMPLATE}: needed and not allowed: {one:?}"));
    missing
        .chain(allowed.difference(&needed).map(|one| format!("{TEMPLATE}: allowed and not needed: {one:?}")))
        .collect()
}

/// The actions that the program names where it calls AWS.
fn called() -> BTreeSet<String> {
    let action = Regex::new(r#""((?:cloudwatch|ec2|lambda|logs|s3|sqs|ssm|states|sts|tag):[A-Z][A-Za-z]+)""#).unwrap();
    let mut found = BTreeSet::new();
    for file in files().into_iter().filter(|file| CODE.iter().any(|code| file.starts_with(code))) {
        let text = text(&file).unwrap();
        // What stands in the tests of a file is not called.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        found.extend(action.captures_iter(code).map(|found| found[1].to_owned()));
    }
    // The parameter that describes the hub is read outside of the folder, by the same rule.
    found.insert("ssm:GetParameter".to_owned());
    // Without it S3 does not say that there is no report.
    found.insert("s3:ListBucket".to_owned());
    for elsewhere in ELSEWHERE {
        assert!(found.remove(elsewhere), "{elsewhere} is not called any more");
    }
    found
}

#[test]
fn operators_are_allowed_what_the_program_calls_and_nothing_else() {
    let problems: Vec<String> = templates().iter().flat_map(problems).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(called().len() > 12, "{:?}", called());
}
