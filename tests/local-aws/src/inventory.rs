//! What an account has, so that a test can say that nothing is left.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::aws_error::AwsError;
use crate::client::Client;
use crate::xml::items;

/// Lists of JSON services: what an entry is called here, service, operation, the list and the name in it.
const JSON: [(&str, &str, &str, &str, &str); 7] = [
    ("rule", "events", "ListRules", "Rules", "Name"),
    ("queue", "sqs", "ListQueues", "QueueUrls", ""),
    ("log group", "logs", "DescribeLogGroups", "logGroups", "logGroupName"),
    ("parameter", "ssm", "DescribeParameters", "Parameters", "Name"),
    ("table", "dynamodb", "ListTables", "TableNames", ""),
    ("activation", "ssm", "DescribeActivations", "ActivationList", "ActivationId"),
    ("state machine", "states", "ListStateMachines", "stateMachines", "name"),
];

/// Lists of query services, likewise.
const QUERY: [(&str, &str, &str, &str, &str); 6] = [
    ("role", "iam", "ListRoles", "Roles", "RoleName"),
    ("instance profile", "iam", "ListInstanceProfiles", "InstanceProfiles", "InstanceProfileName"),
    ("alarm", "monitoring", "DescribeAlarms", "MetricAlarms", "AlarmName"),
    ("dashboard", "monitoring", "ListDashboards", "DashboardEntries", "DashboardName"),
    ("topic", "sns", "ListTopics", "Topics", "TopicArn"),
    ("stack", "cloudformation", "DescribeStacks", "Stacks", "StackName"),
];

/// Lists of REST services: what an entry is called, service, path, the list and the name in it.
const REST: [(&str, &str, &str, &str, &str); 3] = [
    ("function", "lambda", "/2015-03-31/functions", "Functions", "FunctionName"),
    ("event source mapping", "lambda", "/2015-03-31/event-source-mappings", "EventSourceMappings", "FunctionArn"),
    ("schedule", "scheduler", "/schedules", "Schedules", "Name"),
];

/// Functions, roles, instance profiles, queues, log groups, rules, schedules, alarms, dashboards, topics,
/// buckets, parameters, tables, activations, event source mappings and stacks of the client's account and Region, each as
/// `kind name`. The first page of each list.
pub async fn inventory(client: &Client) -> Result<BTreeSet<String>, AwsError> {
    let mut found = BTreeSet::new();
    let mut add = |kind: &str, list: &Value, name: &str| {
        for entry in items(list) {
            let text = if name.is_empty() { entry } else { &entry[name] }.as_str().unwrap_or_default();
            // Of a URL or an ARN the last part.
            let last = if kind == "log group" || kind == "parameter" { text } else { short(text) };
            found.insert(format!("{kind} {last}"));
        }
    };
    for (kind, service, operation, list, name) in JSON {
        add(kind, &client.json(service, operation, &json!({})).await?[list], name);
    }
    for (kind, service, operation, list, name) in QUERY {
        add(kind, &client.query(service, operation, &[]).await?[list], name);
    }
    for (kind, service, path, list, name) in REST {
        add(kind, &client.rest(service, Method::GET, path, &[], "").await?.json()[list], name);
    }
    let buckets = client.rest("s3", Method::GET, "/", &[], "").await?;
    let text = String::from_utf8_lossy(&buckets.body);
    for name in text.split("<Name>").skip(1).filter_map(|rest| rest.split("</Name>").next()) {
        found.insert(format!("bucket {name}"));
    }
    Ok(found)
}

fn short(text: &str) -> &str {
    text.rsplit(['/', ':']).next().unwrap_or(text)
}
