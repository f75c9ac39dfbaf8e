//! A KMS key of one's own: the policy that docs/security.md shows lets in everything that the templates encrypt with it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::policy::{said, statements};
use crate::repository::text;
use crate::template::templates;

/// The statements that the page shows.
fn page() -> Vec<Value> {
    let page = text("docs/security.md").unwrap();
    let (_, section) = page.split_once("## A key of your own").unwrap();
    let (_, block) = section.split_once("```json\n").unwrap();
    serde_json::from_str(block.split("```").next().unwrap()).unwrap()
}

/// What the page lets the principal do only with these values of a condition key.
fn allowed(principal: &str, key: &str) -> Vec<String> {
    let of_it = |statement: &&Value| statement["Principal"].to_string().contains(principal);
    let conditions = |statement: &Value| -> Vec<Value> {
        let operators = statement["Condition"].as_object().into_iter().flatten();
        operators.map(|(_, keys)| keys[key].clone()).collect()
    };
    let values = page().iter().filter(of_it).flat_map(conditions).collect::<Vec<_>>();
    let texts = values.iter().flat_map(|value| match value {
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    });
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether a text is what a pattern says, which may have a `*`.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
        None => pattern == text,
    }
}

#[test]
fn the_key_lets_in_every_log_group() {
    let patterns = allowed("logs.REGION", "kms:EncryptionContext:aws:logs:arn");
    let mut found = 0;
    for template in templates() {
        for group in template.of_kind("AWS::Logs::LogGroup") {
            if group.properties["KmsKeyId"].is_null() {
                continue;
            }
            let name = said(&group.properties["LogGroupName"]);
            let arn = format!("arn:PARTITION:logs:REGION:ACCOUNT:log-group:{name}");
            assert!(patterns.iter().any(|pattern| fits(pattern, &arn)), "{}: {name}: {patterns:?}", group.place());
            found += 1;
        }
    }
    assert!(found > 4, "only {found} log groups");
}

/// A role uses the key through another service, or with a context of its own.
#[test]
fn the_key_lets_in_every_role_for_what_its_own_policy_says() {
    let mut found = BTreeSet::new();
    for template in templates() {
        for resource in template.resources() {
            for statement in statements(&resource) {
                if statement.value["Resource"]["Ref"] != "KmsKeyArn" {
                    continue;
                }
                let operators = statement.value["Condition"].as_object().into_iter().flatten();
                for (key, value) in operators.flat_map(|(_, keys)| keys.as_object().unwrap()) {
                    let arn = said(value).replace("arn:Partition:", "arn:PARTITION:");
                    let value = arn.replace(":Region:AccountId:", ":REGION:ACCOUNT:");
                    let patterns = allowed(":root", key);
                    let is_let_in = patterns.iter().any(|pattern| fits(pattern, &value));
                    assert!(is_let_in, "{} {}: {key} {value}: {patterns:?}", resource.place(), statement.sid());
                    found.insert((key.clone(), value));
                }
            }
        }
    }
    assert!(found.len() > 4, "{found:?}");
}

/// <https://docs.aws.amazon.com/step-functions/latest/dg/encryption-at-rest.html>
#[test]
fn the_log_of_an_encrypted_state_machine_is_delivered() {
    let is_let_in = |statement: &Value| {
        statement["Principal"]["Service"] == "delivery.logs.amazonaws.com" && statement["Action"] == "kms:Decrypt"
    };
    assert!(page().iter().any(is_let_in));
}
