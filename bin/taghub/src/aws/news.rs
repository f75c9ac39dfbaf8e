//! What the manager logged about nodes lately.

use std::collections::HashMap;
use std::time::Duration;

use fleet_reporter::aws::{NODES, REPORTS, each_line, logged};
use fleet_reporter::ports::Logged;
use hub::{AccountId, AwsError, Timestamp};
use serde_json::Value;

use crate::aws::hub::Hub;
use crate::aws::json::caller;
use crate::view::nodes::Latest;

/// How far back the log is read: several sweeps of the usual schedule.
pub const WINDOW: Duration = Duration::from_hours(1);

/// The last word on each node that the log has a line about. A node that was found in order has none.
///
/// # Errors
/// If the log cannot be read.
pub async fn lately(hub: &Hub, now: Timestamp) -> Result<Latest, AwsError> {
    last_hour(hub, now, NODES).await.map(|logged| logged.latest)
}

/// When each agency last sent a report.
///
/// # Errors
/// If the log cannot be read.
pub async fn reports(hub: &Hub, now: Timestamp) -> Result<HashMap<AccountId, Timestamp>, AwsError> {
    last_hour(hub, now, REPORTS).await.map(|logged| logged.reports)
}

async fn last_hour(hub: &Hub, now: Timestamp, pattern: &str) -> Result<Logged, AwsError> {
    let window = i64::try_from(WINDOW.as_secs()).unwrap_or_default();
    let from = Timestamp::from_unix_seconds(now.unix_seconds() - window);
    logged(&caller(&hub.session), &hub.about.names.manager, (from, None), pattern).await
}

/// What the log says since a time in lines with this value of a field, line by line.
///
/// # Errors
/// If the log cannot be read.
pub async fn with(
    hub: &Hub,
    from: Timestamp,
    (field, value): (&str, &str),
    mut see: impl FnMut(Timestamp, &Value),
) -> Result<(), AwsError> {
    // The pattern spares reading; the line itself decides.
    let pattern = format!("{{ $.fields.{field} = \"{value}\" }}");
    each_line(&caller(&hub.session), &hub.about.names.manager, (from, None), &pattern, |at, fields| {
        if fields[field] == value {
            see(at, fields);
        }
    })
    .await
}
