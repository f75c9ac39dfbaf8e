//! The sample events: each is a real payload of its function, and what the repository says about them is true.

use activation_issuer::event::Request as IssuerRequest;
use automation_fanout::event::Event as FanoutEvent;
use fleet_reporter::event::Request as ReporterRequest;
use hub::Report;
use regex::Regex;
use serde_json::Value;
use ssm_tag_manager::retire::RetireEvent;
use tags_collector::event::Event as CollectorEvent;

use crate::function::FUNCTIONS;
use crate::repository::{files, text};
use crate::template::repository;

/// The samples of a function: path and content.
fn samples(function: &str) -> Vec<(String, Value)> {
    let folder = format!("events/{function}/");
    let paths = files().into_iter().filter(|path| path.starts_with(&folder));
    paths.map(|path| (path.clone(), serde_json::from_str(&text(&path).unwrap()).unwrap())).collect()
}

#[test]
fn every_sample_belongs_to_a_function_and_every_function_has_some() {
    for path in files().into_iter().filter(|path| path.starts_with("events/")) {
        let function = path.split('/').nth(1).unwrap();
        // A campaign is what the state machine tag-hub-campaign takes.
        let is_known = FUNCTIONS.contains(&function) || function == "campaign";
        assert!(is_known, "{path}: there is no function {function}");
    }
    for function in FUNCTIONS {
        assert!(!samples(function).is_empty(), "events/{function} holds nothing");
    }
}

#[test]
fn the_managers_samples_are_its_events_and_round_trip() {
    for (path, event) in samples("ssm-tag-manager") {
        if event.get("action").is_some() {
            let decoded: RetireEvent = hub::decode(&event).unwrap_or_else(|error| panic!("{path}: {error}"));
            let again = serde_json::to_value(decoded).unwrap();
            assert_eq!(hub::decode::<RetireEvent>(&again).unwrap(), decoded, "{path}");
            continue;
        }
        let report = Report::from_event(&event.to_string()).unwrap_or_else(|error| panic!("{path}: {error}"));
        let again = serde_json::to_value(&report).unwrap();
        assert_eq!(Report::from_event(&again.to_string()).unwrap(), report, "{path}");
    }
}

#[test]
fn the_collectors_samples_are_its_events() {
    for (path, event) in samples("tags-collector") {
        let event = CollectorEvent::from_json(&event).unwrap_or_else(|error| panic!("{path}: {error}"));
        let account = "222222222222".parse().unwrap();
        let scope = event.scope(&account, &["us-east-1".parse().unwrap()]);
        let scope = scope.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(!scope.regions.is_empty(), "{path} asks for nothing");
    }
}

#[test]
fn the_fanouts_samples_are_its_events() {
    for (path, event) in samples("automation-fanout") {
        FanoutEvent::from_json(&event).unwrap_or_else(|problems| panic!("{path}: {problems:#?}"));
    }
}

/// The state machine adds the action to a campaign.
#[test]
fn the_campaigns_are_events_of_the_fanout() {
    let mut count = 0;
    for (path, mut event) in samples("campaign") {
        event["Action"] = "Campaign".into();
        FanoutEvent::from_json(&event).unwrap_or_else(|problems| panic!("{path}: {problems:#?}"));
        count += 1;
    }
    assert!(count >= 3, "{count} campaigns");
}

#[test]
fn the_issuers_samples_are_its_events() {
    for (path, event) in samples("activation-issuer") {
        IssuerRequest::from_event(&event).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

#[test]
fn the_reporters_samples_are_its_events() {
    for (path, event) in samples("fleet-reporter") {
        ReporterRequest::from_event(&event).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

#[test]
fn every_sample_that_is_named_is_there() {
    let mention = Regex::new(r"events/[a-z-]+/[a-z-]+\.json").unwrap();
    for path in files() {
        let Some(text) = text(&path) else { continue };
        for named in mention.find_iter(&text).map(|found| found.as_str()) {
            assert!(repository().join(named).exists(), "{path} names {named}, which is not there");
        }
    }
}
