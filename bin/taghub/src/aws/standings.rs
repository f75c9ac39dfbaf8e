//! What is known of every agency.

use std::collections::HashMap;

use hub::{AGENCY_TAG_KEY, AwsError, Timestamp};
use serde_json::{Value, json};

use crate::aws::hub::Hub;
use crate::aws::json::{CLOUDWATCH, call};
use crate::aws::{news, nodes};
use crate::failure::Failure;
use crate::view::agencies::Agency;
use crate::view::agencies::Standing;
use crate::view::time::instant;

/// Metrics in one call of GetMetricData:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>.
const METRICS: usize = 500;
const DAY_SECONDS: i64 = 24 * 60 * 60;
const PERIOD_SECONDS: i64 = 300;

/// Reads how agencies stand. What may not be read is left out, with a warning each.
///
/// # Errors
/// If the nodes cannot be counted.
pub async fn read(hub: &Hub, agencies: &[Agency], now: Timestamp) -> Result<(Vec<Standing>, Vec<String>), Failure> {
    let mut warnings = Vec::new();
    let mut warn = |what: &str, error: &AwsError| warnings.push(format!("{what} not read: {}", error.code));
    let counts = nodes::count_by(hub, AGENCY_TAG_KEY).await?;
    let reports = reports(hub, agencies, now).await.inspect_err(|error| warn("last reports", error)).ok();
    let ends = activations(hub).await.inspect_err(|error| warn("activations", error)).ok();
    let standing = |agency: &Agency| {
        let account = agency.account.as_str();
        Standing {
            nodes: counts.get(account).copied().unwrap_or_default(),
            last_report: reports.as_ref().map(|reports| reports.get(account).copied()),
            activation_ends: ends.as_ref().map(|ends| ends.get(account).copied()),
            agency: agency.clone(),
        }
    };
    Ok((agencies.iter().map(standing).collect(), warnings))
}

/// When each agency last reported: by the last hour of the log, and by the metrics of a day for the others.
async fn reports(hub: &Hub, agencies: &[Agency], now: Timestamp) -> Result<HashMap<String, Timestamp>, AwsError> {
    let mut reports = news::reports(hub, now).await?;
    let missing: Vec<&str> = agencies
        .iter()
        .map(|agency| agency.account.as_str())
        .filter(|account| !reports.contains_key(*account))
        .collect();
    for some in missing.chunks(METRICS) {
        let queries: Vec<Value> = some
            .iter()
            .map(|account| {
                let metric = json!({"Namespace": format!("{}TagHub", hub.about.name_prefix), "MetricName": "Reports",
                                    "Dimensions": [{"Name": "Agency", "Value": account}]});
                json!({"Id": format!("a{account}"), "MetricStat": {"Metric": metric, "Period": PERIOD_SECONDS, "Stat": "Sum"}})
            })
            .collect();
        let mut ask = json!({
            "MetricDataQueries": queries, "StartTime": now.unix_seconds() - DAY_SECONDS, "EndTime": now.unix_seconds(),
            "ScanBy": "TimestampDescending",
        });
        loop {
            let page = call(&hub.session, CLOUDWATCH, "cloudwatch:GetMetricData", &ask).await?;
            for result in page["MetricDataResults"].as_array().into_iter().flatten() {
                let account = result["Id"].as_str().and_then(|id| id.strip_prefix('a'));
                let last = latest(result);
                if let (Some(account), Some(last)) = (account, last) {
                    let known = reports.entry(account.to_owned()).or_insert(last);
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

/// The last period in which a metric counted something.
fn latest(result: &Value) -> Option<Timestamp> {
    let times = result["Timestamps"].as_array()?.iter();
    let values = result["Values"].as_array()?.iter().map(|value| value.as_f64().unwrap_or_default());
    let counted = times.zip(values).filter(|(_, value)| *value > 0.0).filter_map(|(time, _)| instant(time));
    counted.max()
}

/// When the last valid activation of each agency ends.
async fn activations(hub: &Hub) -> Result<HashMap<String, Timestamp>, AwsError> {
    let mut ends: HashMap<String, Timestamp> = HashMap::new();
    let mut pages = hub.session.ssm().describe_activations().max_results(50).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| AwsError::from_sdk("ssm:DescribeActivations", &error))?;
        for activation in page.activation_list.unwrap_or_default().into_iter().filter(|activation| !activation.expired)
        {
            let tags = activation.tags.unwrap_or_default();
            let owner = tags.into_iter().find(|tag| tag.key == AGENCY_TAG_KEY).map(|tag| tag.value);
            let end = activation.expiration_date.map(|end| Timestamp::from_unix_seconds(end.secs()));
            if let (Some(owner), Some(end)) = (owner, end) {
                let known = ends.entry(owner).or_insert(end);
                *known = end.max(*known);
            }
        }
    }
    Ok(ends)
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
}
