//! What the manager logged, and what `CloudWatch` counted.

use std::collections::HashMap;

use direct_call::{CLOUDWATCH, Caller, LOGS, instant};
use hub::{AccountId, AwsError, Timestamp};
use serde_json::{Value, json};

use crate::ports::{Logged, Names};

/// Metrics in one call of `GetMetricData`:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>.
const METRICS: usize = 500;
const DAY_SECONDS: i64 = 24 * 60 * 60;
const PERIOD_SECONDS: i64 = 300;

/// The lines with which an invocation ends.
pub const REPORTS: &str = r#"{ $.fields.message = "report applied" }"#;
/// Those, the lines about nodes, and those about coverage.
pub const NODES: &str = r#"{ $.fields.instance_id = "mi-*" || $.fields.message = "report applied" || $.fields.message = "coverage not kept" }"#;

/// Reads what the lines of a pattern say of agencies and nodes, as [`each_line`] does.
///
/// # Errors
/// What `CloudWatch` answers.
pub async fn logged(
    caller: &Caller,
    manager: &str,
    period: (Timestamp, Option<Timestamp>),
    pattern: &str,
) -> Result<Logged, AwsError> {
    let mut logged = Logged::default();
    each_line(caller, manager, period, pattern, |at, fields| take(&mut logged, at, fields)).await?;
    Ok(logged)
}

/// Reads what the manager logged from one time until another, line by line: its time and its fields.
///
/// # Errors
/// What `CloudWatch` answers.
pub async fn each_line(
    caller: &Caller,
    manager: &str,
    (since, until): (Timestamp, Option<Timestamp>),
    pattern: &str,
    mut see: impl FnMut(Timestamp, &Value),
) -> Result<(), AwsError> {
    let mut ask = json!({
        "logGroupName": format!("/aws/lambda/{manager}"),
        "startTime": since.unix_seconds() * 1_000,
        "filterPattern": pattern,
    });
    if let Some(until) = until {
        ask["endTime"] = json!(until.unix_seconds() * 1_000);
    }
    loop {
        let page = caller.json(LOGS, "logs:FilterLogEvents", &ask).await?;
        for event in page["events"].as_array().into_iter().flatten() {
            let line = event["message"].as_str().and_then(|line| serde_json::from_str::<Value>(line).ok());
            let at = event["timestamp"].as_i64().map(|at| Timestamp::from_unix_seconds(at / 1_000));
            if let (Some(line), Some(at)) = (line, at) {
                see(at, &line["fields"]);
            }
        }
        match page["nextToken"].as_str() {
            Some(token) => ask["nextToken"] = json!(token),
            None => return Ok(()),
        }
    }
}

fn take(logged: &mut Logged, at: Timestamp, fields: &Value) {
    logged.latest.add(at, fields);
    // What was only tried is no report.
    if fields["message"] == "report applied"
        && fields["dry_run"] != true
        && let Some(agency) = fields["agency"].as_str().and_then(|agency| agency.parse().ok())
    {
        let last = logged.reports.entry(agency).or_insert(at);
        *last = at.max(*last);
    }
}

/// When agencies last reported within a day. A metric tells it to five minutes.
pub(super) async fn last_reports(
    caller: &Caller,
    names: &Names,
    agencies: &[AccountId],
    now: Timestamp,
) -> Result<HashMap<AccountId, Timestamp>, AwsError> {
    let mut reports = HashMap::new();
    for some in agencies.chunks(METRICS) {
        let queries: Vec<Value> = some.iter().map(|account| query(names, account)).collect();
        let mut ask = json!({
            "MetricDataQueries": queries, "StartTime": now.unix_seconds() - DAY_SECONDS, "EndTime": now.unix_seconds(),
            "ScanBy": "TimestampDescending",
        });
        loop {
            let page = caller.json(CLOUDWATCH, "cloudwatch:GetMetricData", &ask).await?;
            for result in page["MetricDataResults"].as_array().into_iter().flatten() {
                let account = result["Id"].as_str().and_then(|id| id.strip_prefix('a')?.parse().ok());
                if let (Some(account), Some(last)) = (account, latest(result)) {
                    let known = reports.entry(account).or_insert(last);
                    *known = last.max(*known);
                }
            }
            match page["NextToken"].as_str() {
                Some(token) => ask["NextToken"] = json!(token),
                None => break,
            }
        }
    }
    Ok(reports)
}

fn query(names: &Names, account: &AccountId) -> Value {
    let metric = json!({"Namespace": format!("{}TagHub", names.prefix), "MetricName": "Reports",
                        "Dimensions": [{"Name": "Agency", "Value": account}]});
    json!({"Id": format!("a{account}"), "MetricStat": {"Metric": metric, "Period": PERIOD_SECONDS, "Stat": "Sum"}})
}

/// The last period in which a metric counted something.
fn latest(result: &Value) -> Option<Timestamp> {
    let times = result["Timestamps"].as_array()?.iter();
    let values = result["Values"].as_array()?.iter().map(|value| value.as_f64().unwrap_or_default());
    times.zip(values).filter(|(_, value)| *value > 0.0).filter_map(|(time, _)| instant(time)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_period_that_counted_something() {
        let result =
            json!({"Timestamps": [1_795_400_000, 1_795_312_800.5, "2026-11-20T02:00:00Z"], "Values": [0.0, 2.0, 1.0]});
        assert_eq!(latest(&result), Some(Timestamp::from_unix_seconds(1_795_312_800)));
        assert_eq!(latest(&json!({"Timestamps": [], "Values": []})), None);
        assert_eq!(latest(&json!({})), None);
    }

    #[test]
    fn the_last_report_of_each_agency_and_the_last_word_on_each_node() {
        let mut logged = Logged::default();
        let at = Timestamp::from_unix_seconds;
        for (seconds, agency) in [(100, "222222222222"), (50, "222222222222"), (70, "nobody")] {
            take(&mut logged, at(seconds), &json!({"message": "report applied", "agency": agency, "dry_run": false}));
        }
        let plan = json!({"message": "report applied", "agency": "222222222222", "dry_run": true});
        take(&mut logged, at(200), &plan);
        assert_eq!(logged.reports, HashMap::from([("222222222222".parse().unwrap(), at(100))]));
    }
}
