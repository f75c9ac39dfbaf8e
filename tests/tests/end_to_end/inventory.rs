//! What there is in an account, by kind and name.

use std::collections::BTreeSet;

use http::Method;
use local_aws::Client;
use regex::Regex;
use serde_json::{Value, json};

/// Everything that the templates of this repository make, and what may come of it by itself.
pub(crate) async fn inventory(client: &Client) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut add = |kind: &str, names: Vec<String>| found.extend(names.into_iter().map(|name| format!("{kind} {name}")));

    let stacks = client.query("cloudformation", "DescribeStacks", &[]).await.unwrap();
    add("stack", names(&stacks, "StackName"));
    for (kind, operation, name) in [
        ("role", "ListRoles", "RoleName"),
        ("policy", "ListPolicies", "PolicyName"),
        ("instance profile", "ListInstanceProfiles", "InstanceProfileName"),
    ] {
        // AWS's own policies are always there.
        let answer = client.query("iam", operation, &[("Scope", "Local")]).await.unwrap();
        add(kind, names(&answer, name));
    }
    add("topic", names(&client.query("sns", "ListTopics", &[]).await.unwrap(), "TopicArn"));
    for (kind, service, operation, name) in [
        ("queue", "sqs", "ListQueues", "QueueUrls"),
        ("log group", "logs", "DescribeLogGroups", "logGroupName"),
        ("rule", "events", "ListRules", "Name"),
        ("parameter", "ssm", "DescribeParameters", "Name"),
    ] {
        let answer = client.json(service, operation, &json!({})).await.unwrap();
        add(kind, names(&answer, name));
    }
    for (kind, service, path, name) in [
        ("function", "lambda", "/2015-03-31/functions/", "FunctionName"),
        ("event source mapping", "lambda", "/2015-03-31/event-source-mappings/", "UUID"),
        ("schedule", "scheduler", "/schedules", "Name"),
    ] {
        let answer = client.rest(service, Method::GET, path, &[], "").await.unwrap();
        add(kind, names(&answer.json(), name));
    }
    for (kind, operation, element) in
        [("alarm", "DescribeAlarms", "AlarmName"), ("dashboard", "ListDashboards", "DashboardName")]
    {
        let form = format!("Action={operation}&Version=2010-08-01");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = client.rest("monitoring", Method::POST, "/", &headers, form).await.unwrap();
        add(kind, elements(&String::from_utf8_lossy(&answer.body), element));
    }
    let buckets = client.rest("s3", Method::GET, "/", &[], "").await.unwrap();
    add("bucket", elements(&String::from_utf8_lossy(&buckets.body), "Name"));
    found
}

/// Every text under a name, anywhere in an answer.
fn names(answer: &Value, name: &str) -> Vec<String> {
    match answer {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match value {
                Value::String(text) if key == name => vec![text.clone()],
                Value::Array(items) if key == name => {
                    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
                }
                _ => names(value, name),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(|item| names(item, name)).collect(),
        _ => Vec::new(),
    }
}

/// The texts of all elements of a name in an XML document.
fn elements(xml: &str, name: &str) -> Vec<String> {
    let pattern = Regex::new(&format!("<{name}>([^<]*)</{name}>")).unwrap();
    pattern.captures_iter(xml).map(|found| found[1].to_owned()).collect()
}
