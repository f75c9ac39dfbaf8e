//! Retirement over an account in memory: what is marked, what is deregistered, and what each costs.

mod fair;
mod marks;
mod run;

use std::time::{Duration, UNIX_EPOCH};

use hub::Timestamp;
use serde_json::{Value, json};
use ssm_tag_manager::ports::Information;
use ssm_tag_manager::{Config, Invocation};
use tokio::time::Instant;

use super::account::Account;
use super::{AGENCY_ARN, LEASE, NODE, NODE_2, OWN_ARN, account, invocation, written};

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

/// When the sample reports arrive, by the manager's own clock.
const ARRIVED: i64 = OBSERVED + 120;

/// An invocation of the function itself, so many hours after the sample reports were observed.
fn later(hours: u64) -> Invocation {
    let now = UNIX_EPOCH + Duration::from_secs(1_795_312_800 + hours * 3600);
    Invocation {
        arn: OWN_ARN.parse().unwrap(),
        now,
        begun: Instant::now(),
        budget: Duration::from_mins(5),
        entropy: [9; 16],
    }
}

/// A report of terminated instances alone.
fn gone(ec2_instance_ids: &[&str]) -> Value {
    let terminated: Vec<Value> = ec2_instance_ids.iter().map(|id| json!({"ec2InstanceId": id})).collect();
    json!({"region": "us-east-1", "observedAt": "2026-11-22T02:00:00Z", "instances": [], "terminated": terminated})
}

/// A node that was heard of for the last time so many hours after the sample reports were observed.
fn lost(last_seen_hours: i64) -> Information {
    Information {
        is_managed_instance: true,
        is_connection_lost: true,
        last_seen: Some(Timestamp::from_unix_seconds(OBSERVED + last_seen_hours * 3600)),
    }
}
