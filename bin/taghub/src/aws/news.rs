//! What the manager logged about nodes lately.

use std::collections::HashMap;
use std::time::Duration;

use fleet_reporter::aws::each_line;
use hub::{AwsError, Timestamp};
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
    let mut latest = Latest::default();
    for_each(hub, an_hour_before(now), r#"{ $.fields.instance_id = "mi-*" }"#, |at, fields| latest.add(at, fields))
        .await?;
    Ok(latest)
}

/// When each agency last sent a report, by account.
///
/// # Errors
/// If the log cannot be read.
pub async fn reports(hub: &Hub, now: Timestamp) -> Result<HashMap<String, Timestamp>, AwsError> {
    let mut reports = HashMap::new();
    with(hub, an_hour_before(now), ("message", "report applied"), |at, fields| {
        if let Some(agency) = fields["agency"].as_str() {
            let last = reports.entry(agency.to_owned()).or_insert(at);
            *last = at.max(*last);
        }
    })
    .await?;
    Ok(reports)
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
    for_each(hub, from, &format!("{{ $.fields.{field} = \"{value}\" }}"), |at, fields| {
        if fields[field] == value {
            see(at, fields);
        }
    })
    .await
}

fn an_hour_before(now: Timestamp) -> Timestamp {
    let window = i64::try_from(WINDOW.as_secs()).unwrap_or_default();
    Timestamp::from_unix_seconds(now.unix_seconds() - window)
}

async fn for_each(
    hub: &Hub,
    from: Timestamp,
    pattern: &str,
    see: impl FnMut(Timestamp, &Value),
) -> Result<(), AwsError> {
    each_line(&caller(&hub.session), &hub.about.names.manager, (from, None), pattern, see).await
}
