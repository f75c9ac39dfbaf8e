//! Events of EventBridge and its Scheduler.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use hub::{WireError, decode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::state_change::{STATE_CHANGE, ended};
use crate::plan::InstanceArn;

const TAG_CHANGE: &str = "Tag Change on Resource";
const SCHEDULED: &str = "Scheduled Event";

/// What an event of EventBridge says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A schedule is due.
    Schedule,
    /// The tags of these EC2 instances changed.
    TagChange(Vec<InstanceArn>),
    /// An EC2 instance changed its state: the instance if it is terminated now, nothing for other states.
    Ended(Option<InstanceArn>),
}

impl Notice {
    /// The instances that the event names.
    pub(crate) fn instances(&self) -> &[InstanceArn] {
        match self {
            Self::Schedule => &[],
            Self::TagChange(instances) => instances,
            Self::Ended(instance) => instance.as_slice(),
        }
    }
}

/// The two fields that tell the events of EventBridge apart.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Envelope {
    source: String,
    detail_type: Option<String>,
}

/// The part of a tag change that says what kind of resource it is about.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct TagChangeDetail {
    service: String,
    resource_type: String,
}

/// Reads an event of EventBridge or its Scheduler.
///
/// # Errors
/// Names the place that does not fit, such as `detail.service`.
pub(crate) fn notice(event: &Value) -> Result<Notice, WireError> {
    let Envelope { source, detail_type } = decode(event)?;
    match (source.as_str(), detail_type.as_deref()) {
        // The Scheduler fills this in if a schedule has no input of its own.
        ("aws.scheduler", _) | ("aws.events", Some(SCHEDULED)) => Ok(Notice::Schedule),
        ("aws.tag", Some(TAG_CHANGE)) => tag_change(event).map(Notice::TagChange),
        ("aws.ec2", Some(STATE_CHANGE)) => ended(event).map(Notice::Ended),
        ("aws.events", other) => Err(unexpected("detail-type", SCHEDULED, other)),
        ("aws.tag", other) => Err(unexpected("detail-type", TAG_CHANGE, other)),
        ("aws.ec2", other) => Err(unexpected("detail-type", STATE_CHANGE, other)),
        (other, _) => Err(WireError {
            path: "source".to_owned(),
            problem: format!("expected aws.events, aws.scheduler, aws.tag or aws.ec2, got {other:?}"),
        }),
    }
}

fn tag_change(event: &Value) -> Result<Vec<InstanceArn>, WireError> {
    let event: EventBridgeEvent<TagChangeDetail> = decode(event)?;
    let TagChangeDetail { service, resource_type } = &event.detail;
    if service != "ec2" {
        return Err(unexpected("detail.service", "ec2", Some(service)));
    }
    if resource_type != "instance" {
        return Err(unexpected("detail.resource-type", "instance", Some(resource_type)));
    }
    let resources = event.resources.unwrap_or_default();
    if resources.is_empty() {
        return Err(WireError { path: "resources".to_owned(), problem: "expected at least one, got none".to_owned() });
    }
    let instances = resources.iter().enumerate().map(|(index, resource)| {
        InstanceArn::parse(resource).ok_or_else(|| WireError {
            path: format!("resources[{index}]"),
            problem: format!("expected arn:PARTITION:ec2:REGION:ACCOUNT:instance/ID, got {resource:?}"),
        })
    });
    instances.collect()
}

fn unexpected(path: &str, expected: &str, got: Option<&str>) -> WireError {
    let got = got.map_or_else(|| "nothing".to_owned(), |got| format!("{got:?}"));
    WireError { path: path.to_owned(), problem: format!("expected {expected:?}, got {got}") }
}
