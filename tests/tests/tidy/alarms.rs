//! Alarms: each tells somebody, can be set as it is written, and has a row in docs/operations.md.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use crate::repository::text;
use crate::template::{Resource, SAMPLE_ACCOUNT, Template, templates};

/// The longest time that an alarm may look back over:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html>.
const LOOKS_BACK_SECONDS: u64 = 86400;

fn alarms(template: &Template) -> Vec<Resource<'_>> {
    template.of_kind("AWS::CloudWatch::Alarm")
}

/// The name of an alarm, with words in place of what differs.
pub(crate) fn name(alarm: &Resource<'_>) -> String {
    let name = &alarm.properties["AlarmName"];
    let name = name.as_str().or(name["Fn::Sub"].as_str()).unwrap_or_else(|| panic!("{}: no name", alarm.place()));
    name.replace(SAMPLE_ACCOUNT, "<account id>").replace("${AgencyAccountId}", "<account id>")
}

/// What an alarm is on: one metric, or each that its expression takes. The part with namespace, name, and dimensions, and
/// the period.
pub(crate) fn metrics(alarm: &Value) -> Vec<(&Value, &Value)> {
    let Some(several) = alarm["Metrics"].as_array() else { return vec![(alarm, &alarm["Period"])] };
    let stats = several.iter().map(|metric| &metric["MetricStat"]).filter(|stat| stat.is_object());
    stats.map(|stat| (&stat["Metric"], &stat["Period"])).collect()
}

#[test]
fn every_alarm_has_a_row_in_the_handbook_and_the_other_way_round() {
    let handbook = text("docs/operations.md").unwrap();
    let row = Regex::new(r"(?m)^\| `([a-z0-9 <>-]+)` \|").unwrap();
    let section = handbook.split("\n## ").find(|section| section.starts_with("Alarms\n")).expect("a section Alarms");
    let rows: Vec<String> = row.captures_iter(section).map(|found| found[1].to_owned()).collect();
    let names: BTreeSet<String> =
        templates().iter().flat_map(|template| alarms(template).iter().map(name).collect::<Vec<_>>()).collect();
    assert_eq!(rows.iter().cloned().collect::<BTreeSet<_>>(), names, "docs/operations.md, templates");
    assert_eq!(rows.len(), names.len(), "a row twice: {rows:?}");
}

/// What AWS's own metrics call the resource that they are of.
const RESOURCE_DIMENSIONS: [&str; 4] = ["FunctionName", "QueueName", "RuleName", "StateMachineArn"];

/// A name that is spelled out would be that of another hub's resource where this one's has a prefix.
#[test]
fn alarms_name_what_they_watch_by_reference() {
    let mut seen = BTreeSet::new();
    for template in templates() {
        for alarm in alarms(&template) {
            let written = template.written("Resources", alarm.id);
            let watched = metrics(&written["Properties"]);
            assert!(!watched.is_empty(), "{}: no metric", alarm.place());
            for dimension in watched.iter().filter_map(|(metric, _)| metric["Dimensions"].as_array()).flatten() {
                let name = dimension["Name"].as_str().unwrap();
                if let Some(resource) = RESOURCE_DIMENSIONS.iter().find(|resource| **resource == name) {
                    seen.insert(*resource);
                    assert!(!dimension["Value"].is_string(), "{}: {dimension}", alarm.place());
                }
            }
        }
    }
    assert_eq!(seen, BTreeSet::from(RESOURCE_DIMENSIONS));
}

/// A state machine that was stopped, or ran out of time, did not do its work either.
#[test]
fn the_controller_of_grants_tells_of_every_end_that_is_no_success() {
    let templates = templates();
    let template = templates.iter().find(|template| template.file == "cfn/grants-from-organization.yaml").unwrap();
    let alarm = template.resource("GrantsFailuresAlarm").unwrap();
    let names: Vec<&str> = metrics(alarm.properties).iter().filter_map(|(one, _)| one["MetricName"].as_str()).collect();
    assert_eq!(names, ["ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"]);
    let ids = |only: bool| {
        let all = alarm.properties["Metrics"].as_array().unwrap().iter();
        let ids = all.filter(move |metric| metric["MetricStat"].is_object() == only);
        ids.map(|metric| metric["Id"].as_str().unwrap()).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(alarm.properties["Metrics"][0]["Expression"], format!("SUM([{}])", ids(true)));
    assert_eq!(ids(false), "all");
}

#[test]
fn no_two_alarms_of_an_account_share_a_name() {
    let mut names = BTreeSet::new();
    // The grant for one agency and the one for many are for different agencies.
    for template in templates().iter().filter(|template| template.file != "cfn/agency-grants.yaml") {
        for alarm in alarms(template) {
            assert!(names.insert(name(&alarm)), "{}: another alarm has its name", alarm.place());
        }
    }
}

#[test]
fn every_alarm_tells_somebody_what() {
    for template in templates() {
        for alarm in alarms(&template) {
            let properties = alarm.properties;
            let description = &properties["AlarmDescription"];
            let description = description.as_str().or(description["Fn::Sub"].as_str()).unwrap_or_default();
            assert!(!description.is_empty(), "{}: no description", alarm.place());
            let topic =
                serde_json::json!({"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]});
            for actions in ["AlarmActions", "OKActions"] {
                assert_eq!(properties[actions], topic, "{}: {actions}", alarm.place());
            }
        }
    }
}

/// Without data nothing happened, except where that is what the alarm is about.
#[test]
fn missing_data_is_taken_for_what_it_is() {
    for template in templates() {
        for alarm in alarms(&template) {
            let is_about_silence = alarm.properties["ComparisonOperator"] == "LessThanThreshold";
            let expected = if is_about_silence { "breaching" } else { "notBreaching" };
            assert_eq!(alarm.properties["TreatMissingData"], expected, "{}", alarm.place());
        }
    }
}

#[test]
fn no_alarm_looks_back_further_than_it_may() {
    for template in templates() {
        let parameters = template.section("Parameters");
        for alarm in alarms(&template) {
            let most = |value: &Value| match value["Ref"].as_str() {
                Some(parameter) => parameters[parameter]["MaxValue"].as_u64().unwrap(),
                None => value.as_u64().unwrap(),
            };
            for (_, period) in metrics(alarm.properties) {
                let period = most(period);
                let seconds = period * most(&alarm.properties["EvaluationPeriods"]);
                assert!(seconds <= LOOKS_BACK_SECONDS, "{}: {seconds} s", alarm.place());
                assert_eq!(period % 60, 0, "{}: a metric has one value a minute", alarm.place());
            }
        }
    }
}
