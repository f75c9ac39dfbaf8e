//! Metrics and log fields: what alarms, dashboard and saved queries ask for is what the functions write.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

use crate::alarms;
use crate::dashboard::dashboard;
use crate::repository::{files, text};
use crate::template::templates;

const NAMESPACE: &str = "TagHub";

/// The names in quotes in the files that make metrics.
fn metrics_written() -> BTreeSet<String> {
    let name = Regex::new(r#""([A-Z][A-Za-z]+)""#).unwrap();
    let of_metrics = Regex::new(r"^(functions/[a-z-]+|crates/lambda-kit)/src/metrics(\.rs|/[a-z_/]+\.rs)$").unwrap();
    let mut names = BTreeSet::new();
    for path in files().into_iter().filter(|path| of_metrics.is_match(path)) {
        let text = text(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        names.extend(name.captures_iter(code).map(|found| found[1].to_owned()));
    }
    assert!(!names.is_empty(), "no function has metrics");
    names
}

#[test]
fn every_metric_that_is_asked_for_is_written() {
    let mut written = metrics_written();
    let by_a_task = Regex::new(r#""MetricName":"([A-Za-z]+)""#).unwrap();
    for machine in templates().iter().flat_map(|template| template.of_kind("AWS::StepFunctions::StateMachine")) {
        let definition = machine.properties["Definition"].to_string();
        written.extend(by_a_task.captures_iter(&definition).map(|found| found[1].to_owned()));
    }
    for template in templates() {
        for alarm in template.of_kind("AWS::CloudWatch::Alarm") {
            for (metric, _) in alarms::metrics(alarm.properties).iter().filter(|(one, _)| one["Namespace"] == NAMESPACE)
            {
                let metric = metric["MetricName"].as_str().unwrap();
                assert!(written.contains(metric), "{}: no function or state machine writes {metric}", alarm.place());
            }
        }
    }
    let in_search = Regex::new(r#"MetricName="([A-Za-z]+)""#).unwrap();
    let mut shown = BTreeSet::new();
    for widget in dashboard()["widgets"].as_array().unwrap() {
        for metric in widget["properties"]["metrics"].as_array().into_iter().flatten() {
            if metric[0] == NAMESPACE {
                shown.insert(metric[1].as_str().unwrap().to_owned());
            }
            let expression = metric[0]["expression"].as_str().unwrap_or_default();
            shown.extend(in_search.captures_iter(expression).map(|found| found[1].to_owned()));
        }
    }
    let unknown: Vec<&String> = shown.difference(&written).collect();
    assert!(unknown.is_empty(), "on the dashboard, but no function writes them: {unknown:?}");
}

#[test]
fn every_log_field_that_is_asked_for_is_written() {
    let sources: String = files()
        .iter()
        .filter(|path| {
            path.starts_with("functions/") && Path::new(path).extension().is_some_and(|ending| ending == "rs")
        })
        .filter_map(|path| text(path))
        .collect();
    let field = Regex::new(r"\bfields\.([a-z_0-9]+)").unwrap();
    let message = Regex::new(r#"fields\.message = "([^"]+)""#).unwrap();
    let mut queries = 0;
    for template in templates() {
        for query in template.of_kind("AWS::Logs::QueryDefinition") {
            let text = query.properties["QueryString"].as_str().unwrap();
            for name in field.captures_iter(text).map(|found| found[1].to_owned()).filter(|name| name != "message") {
                // Either the name of a variable, or one that is given a value.
                let written = Regex::new(&format!(r"(?m)(^|[\s(%?]){name}(,| =|$)")).unwrap();
                assert!(written.is_match(&sources), "{}: no function writes the field {name}", query.place());
            }
            for words in message.captures_iter(text).map(|found| found[1].to_owned()) {
                let written = format!("\"{words}\"");
                assert!(sources.contains(&written), "{}: no function says {written}", query.place());
            }
            queries += 1;
        }
    }
    assert!(queries > 0);
}

#[test]
fn every_saved_query_is_of_a_log_group_that_a_function_has() {
    let mut groups = Vec::new();
    for template in templates() {
        groups.extend(
            template.of_kind("AWS::Logs::LogGroup").iter().map(|group| group.properties["LogGroupName"].clone()),
        );
    }
    for template in templates() {
        for query in template.of_kind("AWS::Logs::QueryDefinition") {
            for group in query.properties["LogGroupNames"].as_array().unwrap() {
                assert!(groups.contains(group), "{}: {group}", query.place());
            }
        }
    }
}

/// A section of a document, from its heading to the next one of the same or a higher rank.
fn section(document: &str, heading: &str) -> String {
    let text = text(document).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with(&format!("{heading}\n")));
    section.unwrap_or_else(|| panic!("{document} has no section {heading}")).to_owned()
}

/// The metrics in docs/messages.md, each with its function.
pub(crate) fn metrics_documented() -> BTreeSet<(String, String)> {
    let row = Regex::new(r"^\| (?:`([a-z-]+)`)? ?\| (`.*?`) \| .+ \|$").unwrap();
    let mut named: BTreeSet<(String, String)> = BTreeSet::new();
    let mut function = String::new();
    for line in section("docs/messages.md", "Metrics").lines() {
        let Some(found) = row.captures(line) else { continue };
        function = found.get(1).map_or(function, |name| name.as_str().to_owned());
        for name in found[2].split(", ") {
            let is_new = named.insert((function.clone(), name.trim_matches('`').to_owned()));
            assert!(is_new, "docs/messages.md names {name} of {function} twice");
        }
    }
    named
}

#[test]
fn the_table_of_metrics_has_every_metric_of_every_function() {
    let (named, written) = (metrics_documented(), metrics_written());
    let unknown: Vec<_> = named.iter().filter(|(_, name)| !written.contains(name)).collect();
    assert!(unknown.is_empty(), "in docs/messages.md, but no function writes them: {unknown:?}");
    let made = Regex::new(r#"Metric::(?:count|duration)\(\s*"([A-Za-z]+)""#).unwrap();
    for path in files().into_iter().filter(|path| path.starts_with("functions/") && path.contains("/src/metrics")) {
        let function = path.split('/').nth(1).unwrap().to_owned();
        for found in made.captures_iter(&text(&path).unwrap()) {
            let is_named = named.contains(&(function.clone(), found[1].to_owned()));
            assert!(is_named, "{path} writes {}, which docs/messages.md does not name", &found[1]);
        }
    }
}

#[test]
fn the_handbook_has_every_saved_query() {
    let row = Regex::new(r"(?m)^\| ([A-Z][A-Za-z ]+) \| ").unwrap();
    let section = section("docs/operations.md", "Saved queries");
    let named: BTreeSet<String> = row.captures_iter(&section).map(|found| found[1].to_owned()).collect();
    let mut saved = BTreeSet::new();
    for template in templates() {
        for query in template.of_kind("AWS::Logs::QueryDefinition") {
            let name = query.properties["Name"].as_str().unwrap();
            saved.insert(name.strip_prefix("Tag Hub/").unwrap().to_owned());
        }
    }
    assert_eq!(named, saved, "docs/operations.md, templates");
}
