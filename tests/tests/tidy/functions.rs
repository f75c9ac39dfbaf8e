//! What every function in a template has: a description, its own role and log group, a place for failures, an alarm.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use crate::function::{FUNCTIONS, crate_folder};
use crate::template::{Resource, Template, templates};

#[test]
fn every_function_is_in_exactly_one_template() {
    let templates = templates();
    let names: Vec<String> =
        templates.iter().flat_map(Template::functions).map(|function| function.function_name().to_owned()).collect();
    assert_eq!(names.iter().cloned().collect::<BTreeSet<_>>(), FUNCTIONS.map(str::to_owned).into());
    assert_eq!(names.len(), FUNCTIONS.len(), "{names:?}");
}

#[test]
fn every_function_is_described_and_bounded() {
    for template in templates() {
        for function in template.functions() {
            let place = function.place();
            let description = &function.properties["Description"];
            // With or without the name of a change.
            let variants = description["Fn::If"].as_array().map_or(vec![description], |all| all[1..].iter().collect());
            let is_described = variants.iter().all(|one| is_text(one) || is_text(&one["Fn::Sub"]));
            assert!(is_described, "{place}: no description");
            assert!(function.properties["Timeout"].is_u64(), "{place}: no timeout of its own");
        }
    }
}

#[test]
fn every_function_has_a_role_of_its_own() {
    let mut roles = BTreeSet::new();
    for template in templates() {
        for function in template.functions() {
            let role = template.referenced(&function.properties["Role"]);
            let role = role.unwrap_or_else(|| panic!("{}: no explicit role", function.place()));
            assert_eq!(role.kind, "AWS::IAM::Role", "{}", role.place());
            assert!(roles.insert(role.place()), "{}: the role of two functions", role.place());
        }
    }
}

#[test]
fn every_function_has_a_log_group_with_retention() {
    for template in templates() {
        for function in template.functions() {
            let group = template.referenced(&function.properties["LoggingConfig"]["LogGroup"]);
            let group = group.unwrap_or_else(|| panic!("{}: no log group", function.place()));
            assert_eq!(group.kind, "AWS::Logs::LogGroup", "{}", group.place());
            assert!(!group.properties["RetentionInDays"].is_null(), "{}: no retention", group.place());
            let name = format!("/aws/lambda/{}", function.function_name());
            assert_eq!(group.properties["LogGroupName"], name.as_str(), "{}", group.place());
        }
    }
}

#[test]
fn every_function_has_a_place_for_failures() {
    for template in templates() {
        for function in template.functions() {
            let settings = asynchronous_settings(&template, &function);
            let settings = settings.unwrap_or_else(|| panic!("{}: no asynchronous settings", function.place()));
            let destination = template.referenced(&settings["DestinationConfig"]["OnFailure"]["Destination"]);
            let destination = destination.unwrap_or_else(|| panic!("{}: no failure destination", function.place()));
            assert_eq!(destination.kind, "AWS::SQS::Queue", "{}", destination.place());
            for limit in ["MaximumRetryAttempts", "MaximumEventAgeInSeconds"] {
                assert!(settings[limit].is_u64(), "{}: no {limit}", function.place());
            }
        }
    }
}

#[test]
fn every_function_has_its_alarms() {
    for template in templates() {
        for function in template.functions() {
            let settings = asynchronous_settings(&template, &function).unwrap();
            let failures = template.referenced(&settings["DestinationConfig"]["OnFailure"]["Destination"]).unwrap();
            let queue = format!("{}.QueueName", failures.id);
            for (namespace, metric, dimension, value) in [
                ("AWS/Lambda", "Errors", "FunctionName", serde_json::json!({"Ref": function.id})),
                ("AWS/Lambda", "Throttles", "FunctionName", serde_json::json!({"Ref": function.id})),
                (
                    "AWS/SQS",
                    "ApproximateNumberOfMessagesVisible",
                    "QueueName",
                    serde_json::json!({"Fn::GetAtt": queue}),
                ),
            ] {
                let expected = serde_json::json!([{"Name": dimension, "Value": value}]);
                let is_it = |alarm: &&Resource<'_>| {
                    let properties = alarm.properties;
                    properties["Namespace"] == namespace
                        && properties["MetricName"] == metric
                        && properties["Dimensions"] == expected
                };
                let alarms = template.of_kind("AWS::CloudWatch::Alarm");
                assert_eq!(alarms.iter().filter(is_it).count(), 1, "{}: alarms on {metric}", function.place());
            }
        }
    }
}

/// A message is out of sight for as long as it may wait in a batch and its function may take. Lambda advises six times
/// the function's time, for functions that are throttled
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>); but EC2 shows an instance that has ended
/// for an hour, and every attempt has to fall into it.
#[test]
fn every_queue_that_feeds_a_function_waits_for_it() {
    for template in templates() {
        for mapping in template.of_kind("AWS::Lambda::EventSourceMapping") {
            let function = template.referenced(&mapping.properties["FunctionName"]).unwrap();
            let queue = template.referenced(&mapping.properties["EventSourceArn"]).unwrap();
            let waits = queue.properties["VisibilityTimeout"].as_u64().unwrap();
            let window = mapping.properties["MaximumBatchingWindowInSeconds"]["Ref"].as_str().unwrap();
            let window = template.section("Parameters")[window]["MaxValue"].as_u64().unwrap();
            assert_eq!(waits, function.properties["Timeout"].as_u64().unwrap() + window, "{}", queue.place());
            let attempts = queue.properties["RedrivePolicy"]["maxReceiveCount"].as_u64().unwrap();
            assert!((attempts - 1) * waits < 3600, "{}: the last attempt is too late", queue.place());
            let keeps = queue.properties["MessageRetentionPeriod"].as_u64().unwrap();
            assert!(keeps > attempts * waits, "{}: a message is gone before its last attempt", queue.place());
            let failures = template.referenced(&queue.properties["RedrivePolicy"]["deadLetterTargetArn"]).unwrap();
            assert_eq!(failures.kind, "AWS::SQS::Queue", "{}", failures.place());
            let answers = mapping.properties["FunctionResponseTypes"].to_string();
            assert!(answers.contains("ReportBatchItemFailures"), "{}: one bad message fails all", mapping.place());
        }
    }
}

/// Lambda keeps asynchronous settings for each alias, so those of the function do not hold for an agency's.
#[test]
fn every_alias_repeats_the_asynchronous_settings_of_its_function() {
    let templates = templates();
    let central = templates.iter().find(|template| template.file == "template.yaml").unwrap();
    let manager = central.functions().into_iter().find(|function| function.function_name() == "ssm-tag-manager");
    let expected = asynchronous_settings(central, &manager.unwrap()).unwrap();
    for template in &templates {
        for alias in template.of_kind("AWS::Lambda::Alias") {
            let all = template.of_kind("AWS::Lambda::EventInvokeConfig");
            // The name itself, or that part of the alias's ARN.
            let of_arn = serde_json::json!({"Fn::Select": [7, {"Fn::Split": [":", {"Ref": alias.id}]}]});
            let is_own = |qualifier: &Value| *qualifier == alias.properties["Name"] || *qualifier == of_arn;
            let settings = all.iter().find(|settings| is_own(&settings.properties["Qualifier"]));
            let settings = settings.unwrap_or_else(|| panic!("{}: no asynchronous settings", alias.place()));
            for limit in ["MaximumRetryAttempts", "MaximumEventAgeInSeconds"] {
                assert_eq!(settings.properties[limit], expected[limit], "{}: {limit}", settings.place());
            }
            let destination = &settings.properties["DestinationConfig"]["OnFailure"]["Destination"];
            assert!(!destination.is_null(), "{}: no failure destination", settings.place());
        }
    }
}

#[test]
fn the_collector_waits_longer_than_the_manager_may_take() {
    let text = std::fs::read_to_string(crate_folder("tags-collector").join("src/aws/manager.rs")).unwrap();
    let constant = Regex::new(r"const TIMEOUT: Duration = Duration::from_secs\((\d+)\);").unwrap();
    let waits: u64 = constant.captures(&text).expect("the constant TIMEOUT in seconds")[1].parse().unwrap();
    let timeout = |name: &str| {
        let templates = templates();
        let mut functions = templates.iter().flat_map(Template::functions);
        functions.find(|function| function.function_name() == name).unwrap().properties["Timeout"].as_u64().unwrap()
    };
    let (manager, collector) = (timeout("ssm-tag-manager"), timeout("tags-collector"));
    assert!(manager < waits, "the manager may take {manager} s, but the collector gives up after {waits} s");
    assert!(waits < collector, "a collector with {collector} s cannot wait {waits} s");
}

#[test]
fn conditions_are_named_for_a_state() {
    for template in templates() {
        for name in template.section("Conditions").keys() {
            let rest = name.strip_prefix("Has").or_else(|| name.strip_prefix("Is"));
            let is_good = rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_uppercase()));
            assert!(is_good, "{}: the condition {name} should be named Has… or Is…", template.file);
        }
    }
}

/// `EventInvokeConfig` of a SAM function, or the resource of that kind that names the function.
fn asynchronous_settings(template: &Template, function: &Resource<'_>) -> Option<Value> {
    let own = &function.properties["EventInvokeConfig"];
    if own.is_object() {
        return Some(own.clone());
    }
    let mut all = template.of_kind("AWS::Lambda::EventInvokeConfig").into_iter();
    let settings = all.find(|settings| settings.properties["FunctionName"]["Ref"] == function.id)?;
    Some(settings.properties.clone())
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.trim().is_empty())
}
