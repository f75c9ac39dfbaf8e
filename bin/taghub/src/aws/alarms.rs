//! Alarms of the hub, and what its functions counted.

use hub::{AwsError, Timestamp};
use serde_json::{Value, json};

use crate::aws::hub::Hub;
use crate::aws::json::{CLOUDWATCH, call};
use crate::aws::session::Session;

/// What the names of the hub's alarms begin with, behind its prefix.
const PREFIXES: [&str; 6] =
    ["ssm-tag-manager", "activation-issuer", "automation-", "fleet-reporter", "tag-hub", "tags-collector"];
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// SQS measures the age of messages each minute, and some minutes late.
const AGE_PERIOD_SECONDS: i64 = 300;
const AGE_WINDOW_SECONDS: i64 = 15 * 60;

/// An alarm that rings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Its name.
    pub name: String,
    /// What to do about it.
    pub description: String,
}

/// The hub's alarms that ring.
///
/// # Errors
/// What CloudWatch answers.
pub async fn ringing(hub: &Hub) -> Result<Vec<Alarm>, AwsError> {
    let is_ours = |alarm: &Alarm| {
        let name = alarm.name.strip_prefix(hub.about.name_prefix.as_str());
        name.is_some_and(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
    };
    let mut alarms = Vec::new();
    let mut ask = json!({"StateValue": "ALARM", "AlarmTypes": ["MetricAlarm"], "MaxRecords": 100});
    loop {
        let page = call(&hub.session, CLOUDWATCH, "cloudwatch:DescribeAlarms", &ask).await?;
        let text = |alarm: &Value, name: &str| alarm[name].as_str().unwrap_or_default().to_owned();
        let found = page["MetricAlarms"].as_array().into_iter().flatten();
        let found =
            found.map(|alarm| Alarm { name: text(alarm, "AlarmName"), description: text(alarm, "AlarmDescription") });
        alarms.extend(found.filter(is_ours));
        match page["NextToken"].as_str() {
            Some(token) => ask["NextToken"] = json!(token),
            None => return Ok(alarms),
        }
    }
}

/// How many invocations of functions ended in an error within a day, in the order of the functions.
///
/// # Errors
/// What CloudWatch answers.
pub async fn errors(session: &Session, functions: &[&str], now: Timestamp) -> Result<Vec<u64>, AwsError> {
    let metrics = functions.iter().map(|function| {
        let metric = metric("AWS/Lambda", "Errors", "FunctionName", function);
        json!({"Metric": metric, "Period": DAY_SECONDS, "Stat": "Sum"})
    });
    let all = values(session, metrics, (DAY_SECONDS, now)).await?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of errors")]
    Ok(all.iter().map(|values| values.iter().sum::<f64>().max(0.0) as u64).collect())
}

/// How many seconds ago the oldest message of each queue came, in the order of the queues; nothing if that is not known.
///
/// # Errors
/// What CloudWatch answers.
pub async fn oldest(session: &Session, queues: &[String], now: Timestamp) -> Result<Vec<Option<i64>>, AwsError> {
    let metrics = queues.iter().map(|queue| {
        let metric = metric("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue);
        json!({"Metric": metric, "Period": AGE_PERIOD_SECONDS, "Stat": "Maximum"})
    });
    let all = values(session, metrics, (AGE_WINDOW_SECONDS, now)).await?;
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
    Ok(all.iter().map(|values| values.first().map(|seconds| *seconds as i64)).collect())
}

fn metric(namespace: &str, name: &str, dimension: &str, value: &str) -> Value {
    json!({"Namespace": namespace, "MetricName": name, "Dimensions": [{"Name": dimension, "Value": value}]})
}

/// The values of metrics over the last seconds, in the order of the metrics and each with the latest first.
async fn values(
    session: &Session,
    metrics: impl Iterator<Item = Value>,
    (seconds, now): (i64, Timestamp),
) -> Result<Vec<Vec<f64>>, AwsError> {
    let queries: Vec<Value> =
        metrics.enumerate().map(|(at, metric)| json!({"Id": format!("m{at}"), "MetricStat": metric})).collect();
    let mut all = vec![Vec::new(); queries.len()];
    let ask = json!({"MetricDataQueries": queries, "StartTime": now.unix_seconds() - seconds, "EndTime": now.unix_seconds(),
                     "ScanBy": "TimestampDescending"});
    let answer = call(session, CLOUDWATCH, "cloudwatch:GetMetricData", &ask).await?;
    for result in answer["MetricDataResults"].as_array().into_iter().flatten() {
        let at = result["Id"].as_str().and_then(|id| id.strip_prefix('m')).and_then(|at| at.parse::<usize>().ok());
        if let Some(known) = at.and_then(|at| all.get_mut(at)) {
            known.extend(result["Values"].as_array().into_iter().flatten().filter_map(Value::as_f64));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alarm_of_the_templates_is_one_of_the_hubs() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let files = [root.to_owned(), format!("{root}/cfn")].into_iter().flat_map(|folder| {
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        });
        let mut count = 0;
        for file in files.filter(|file| file.extension().is_some_and(|end| end == "yaml")) {
            let text = std::fs::read_to_string(&file).unwrap();
            for line in text.lines().filter(|line| line.trim_start().starts_with("AlarmName:")) {
                // A controller's name begins with tag-hub-: the parameter's pattern says so.
                let name = line.split_once("${NamePrefix}").unwrap().1.replace("${ControllerName}", "tag-hub-");
                assert!(PREFIXES.iter().any(|prefix| name.starts_with(prefix)), "{}: {name}", file.display());
                count += 1;
            }
        }
        assert!(count > 30, "{count} alarms");
    }
}
