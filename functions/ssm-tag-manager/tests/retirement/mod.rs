//! Retirement over an account in memory: what is marked, what is deregistered, and what each costs.

mod marks;
mod run;

use std::time::Duration;

use hub::Timestamp;
use serde_json::{Value, json};
use ssm_tag_manager::retire::evidence::Information;
use ssm_tag_manager::{Config, Invocation};

use super::account::Account;
use super::{AGENCY_ARN, NODE, NODE_2, OWN_ARN, account, invocation};

const SOURCE: &str = "222222222222/us-east-1/i-0abcdef0123456789";
/// When the sample reports were observed.
const OBSERVED: i64 = 1_795_312_800;

/// The configuration with these variables.
fn config(variables: &[(&str, &str)]) -> Config {
    let value = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Config::from_lookup(value).unwrap()
}

fn mode(mode: &str) -> Config {
    config(&[("RETIRE_NODES", mode)])
}

/// An invocation of the function itself, so many hours after the sample reports were observed.
fn later(hours: i64) -> Invocation {
    let now = Timestamp::from_unix_seconds(OBSERVED + hours * 3600);
    Invocation { arn: OWN_ARN.parse().unwrap(), now, budget: Duration::from_mins(5) }
}

/// A report of terminated instances alone.
fn gone(ec2_instance_ids: &[&str]) -> Value {
    let terminated: Vec<Value> = ec2_instance_ids.iter().map(|id| json!({"ec2InstanceId": id})).collect();
    json!({"region": "us-east-1", "observedAt": "2026-11-22T02:00:00Z", "instances": [], "terminated": terminated})
}

fn lost(hours_since_ping: i64, now: Timestamp) -> Information {
    Information {
        is_managed_instance: true,
        is_connection_lost: true,
        last_ping: Some(Timestamp::from_unix_seconds(now.unix_seconds() - hours_since_ping * 3600)),
    }
}
