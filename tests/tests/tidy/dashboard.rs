//! The dashboard: a document that CloudWatch can draw, with every alarm, function and failure queue of the hub on it.

use regex::Regex;
use serde_json::Value;

use crate::alarms;
use crate::template::{Template, templates};

/// The dashboard as CloudWatch gets it.
pub(crate) fn dashboard() -> Value {
    let templates = templates();
    let template = file(&templates, "cfn/operations.yaml");
    let dashboards = template.of_kind("AWS::CloudWatch::Dashboard");
    let body = dashboards[0].properties["DashboardBody"]["Fn::Sub"].as_str().unwrap();
    let variable = Regex::new(r"\$\{([A-Za-z:]+)\}").unwrap();
    let body = variable.replace_all(body, |found: &regex::Captures<'_>| match &found[1] {
        "AWS::Partition" => "aws-us-gov",
        "AWS::Region" => "us-gov-west-1",
        "AWS::AccountId" => "111111111111",
        other => panic!("the dashboard asks for {other}"),
    });
    serde_json::from_str(&body).unwrap()
}

fn file<'a>(templates: &'a [Template], name: &str) -> &'a Template {
    templates.iter().find(|template| template.file == name).unwrap()
}

fn widgets() -> Vec<Value> {
    dashboard()["widgets"].as_array().unwrap().clone()
}

#[test]
fn widgets_lie_side_by_side() {
    let mut taken = std::collections::BTreeSet::new();
    for widget in widgets() {
        let number = |field: &str| widget[field].as_u64().unwrap();
        assert!(number("x") + number("width") <= 24, "{widget}");
        for x in number("x")..number("x") + number("width") {
            for y in number("y")..number("y") + number("height") {
                assert!(taken.insert((x, y)), "on top of another one: {widget}");
            }
        }
    }
}

#[test]
fn every_widget_is_of_this_region_and_has_a_title() {
    for widget in widgets() {
        let properties = &widget["properties"];
        if widget["type"] == "metric" {
            assert_eq!(properties["region"], "us-gov-west-1", "{widget}");
        }
        assert!(properties["title"].is_string() || widget["type"] == "text", "{widget}");
    }
}

#[test]
fn every_alarm_of_the_hub_is_on_it() {
    let templates = templates();
    let alarms_of = |name: &str| {
        let template = file(&templates, name);
        template.of_kind("AWS::CloudWatch::Alarm").iter().map(alarms::name).collect::<Vec<_>>()
    };
    let mut expected = ["template.yaml", "fanout.yaml", "cfn/operations.yaml"].map(alarms_of).concat();
    let widgets = widgets();
    let shown = widgets.iter().find(|widget| widget["type"] == "alarm").unwrap();
    let shown = shown["properties"]["alarms"].as_array().unwrap().iter();
    let head = "arn:aws-us-gov:cloudwatch:us-gov-west-1:111111111111:alarm:";
    let mut shown: Vec<String> =
        shown.map(|arn| arn.as_str().unwrap().strip_prefix(head).unwrap().to_owned()).collect();
    shown.sort();
    expected.sort();
    assert_eq!(shown, expected, "on the dashboard, in the templates");
}

#[test]
fn every_function_and_failure_queue_of_the_hub_is_on_it() {
    let body = dashboard().to_string();
    let templates = templates();
    let of_the_hub = ["template.yaml", "fanout.yaml"].map(|name| file(&templates, name).functions()).concat();
    for function in of_the_hub {
        let name = function.function_name();
        for metric in ["Errors", "Throttles", "Duration", "ConcurrentExecutions"] {
            let shown = format!(r#""AWS/Lambda","{metric}","FunctionName","{name}""#);
            assert!(body.contains(&shown), "{metric} of {name} is not on the dashboard");
        }
        let failures = format!(r#""QueueName","{name}-failures""#);
        assert!(body.contains(&failures), "the failure queue of {name} is not on the dashboard");
    }
}
