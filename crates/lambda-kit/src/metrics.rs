//! Metrics in the embedded metric format of CloudWatch: a line of JSON in the log that becomes metrics.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.
//! An invocation writes one line. Names are the functions' own; what they share is the format.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hub::Timestamp;
use serde::Serialize;

/// The namespace of all metrics of a hub whose names have no prefix.
pub const METRIC_NAMESPACE: &str = "TagHub";

/// The level of a line where Lambda does not tell the function's own.
const DEFAULT_LEVEL: &str = "INFO";

/// What a metric is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// How many.
    Count,
    /// How long.
    Milliseconds,
}

/// A metric with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// `PascalCase`, at most once in an invocation.
    pub name: &'static str,
    /// What it is measured in.
    pub unit: Unit,
    /// The value of this invocation.
    pub value: u64,
}

impl Metric {
    /// How many there were.
    pub fn count(name: &'static str, value: usize) -> Self {
        Self { name, unit: Unit::Count, value: u64::try_from(value).unwrap_or(u64::MAX) }
    }

    /// How long it took, in whole milliseconds.
    pub fn duration(name: &'static str, value: Duration) -> Self {
        Self { name, unit: Unit::Milliseconds, value: u64::try_from(value.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// The calls of AWS that an invocation made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Requests that were sent. One that is tried again counts again.
    pub calls: usize,
    /// Those of them that AWS refused for their rate.
    pub throttles: usize,
}

impl std::ops::Add for CallCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { calls: self.calls + other.calls, throttles: self.throttles + other.throttles }
    }
}

impl CallCounts {
    /// `ServiceCalls` and `ServiceThrottles`.
    pub fn metrics(self) -> [Metric; 2] {
        [Metric::count("ServiceCalls", self.calls), Metric::count("ServiceThrottles", self.throttles)]
    }
}

/// The metrics of one invocation, each without dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// In the order in which they are declared.
    pub metrics: Vec<Metric>,
    /// Some of them once more under a dimension.
    pub breakdowns: Vec<Breakdown>,
}

/// Metrics under one dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakdown {
    /// The name of the dimension.
    pub dimension: &'static str,
    /// Its value in this invocation: few different ones, because each makes a metric of its own.
    pub value: String,
    /// The metric.
    pub name: &'static str,
}

impl Metrics {
    /// Writes the line in the namespace of a hub without a prefix.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(&self, at: SystemTime, level: Option<&str>, out: impl Write) -> io::Result<()> {
        self.write_as("", at, level, out)
    }

    /// Writes the line, with a line break, in the namespace of the hub whose names have this prefix.
    ///
    /// `level` is the level of the function's log. Lambda drops lines below it, takes one without a level or a
    /// time for `INFO`, and these are no log lines that somebody may want less of:
    /// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write_as(&self, prefix: &str, at: SystemTime, level: Option<&str>, mut out: impl Write) -> io::Result<()> {
        let namespace = format!("{prefix}{METRIC_NAMESPACE}");
        let mut line = serde_json::to_vec(&self.document(&namespace, at, level.unwrap_or(DEFAULT_LEVEL)))?;
        line.push(b'\n');
        // In one piece, so that no line of the log gets in between.
        out.write_all(&line)?;
        out.flush()
    }

    fn document<'a>(&'a self, namespace: &'a str, at: SystemTime, level: &'a str) -> Document<'a> {
        let mut directives = vec![Directive::new(namespace, [Vec::new()], &self.metrics)];
        directives.extend(self.breakdowns.iter().map(|Breakdown { dimension, name, .. }| {
            let broken_down = self.metrics.iter().filter(|metric| metric.name == *name);
            Directive::new(namespace, [vec![*dimension]], broken_down)
        }));
        Document {
            aws: Header {
                timestamp: at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis(),
                cloud_watch_metrics: directives,
            },
            level,
            timestamp: Timestamp::from(at),
            dimensions: self.breakdowns.iter().map(|breakdown| (breakdown.dimension, &*breakdown.value)).collect(),
            values: self.metrics.iter().map(|metric| (metric.name, metric.value)).collect(),
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "_aws")]
    aws: Header<'a>,
    level: &'a str,
    timestamp: Timestamp,
    #[serde(flatten)]
    dimensions: BTreeMap<&'a str, &'a str>,
    #[serde(flatten)]
    values: BTreeMap<&'a str, u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Header<'a> {
    timestamp: u128,
    cloud_watch_metrics: Vec<Directive<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'a str,
    dimensions: [Vec<&'a str>; 1],
    metrics: Vec<Definition<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition<'a> {
    name: &'a str,
    unit: Unit,
}

impl<'a> Directive<'a> {
    fn new(namespace: &'a str, dimensions: [Vec<&'a str>; 1], metrics: impl IntoIterator<Item = &'a Metric>) -> Self {
        let definitions = metrics.into_iter().map(|metric| Definition { name: metric.name, unit: metric.unit });
        Self { namespace, dimensions, metrics: definitions.collect() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(metrics: &Metrics, level: Option<&str>) -> String {
        let mut line = Vec::new();
        let at = UNIX_EPOCH + Duration::from_millis(1_795_312_800_123);
        metrics.write(at, level, &mut line).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn the_line_has_the_form_of_the_specification() {
        let metrics = Metrics {
            metrics: vec![Metric::count("Reports", 1), Metric::duration("Lag", Duration::from_micros(1_999))],
            breakdowns: vec![Breakdown { dimension: "Agency", value: "222222222222".to_owned(), name: "Reports" }],
        };
        let line = line(&metrics, Some("ERROR"));
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.ends_with("}\n"), "{line}");
        let expected = json!({
            "_aws": {
                "Timestamp": 1_795_312_800_123_u64,
                "CloudWatchMetrics": [
                    {"Namespace": "TagHub", "Dimensions": [[]],
                     "Metrics": [{"Name": "Reports", "Unit": "Count"}, {"Name": "Lag", "Unit": "Milliseconds"}]},
                    {"Namespace": "TagHub", "Dimensions": [["Agency"]],
                     "Metrics": [{"Name": "Reports", "Unit": "Count"}]},
                ]
            },
            "level": "ERROR", "timestamp": "2026-11-22T02:00:00Z",
            "Agency": "222222222222", "Reports": 1, "Lag": 1,
        });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
    }

    #[test]
    fn a_hub_with_a_prefix_has_a_namespace_of_its_own() {
        let metrics = Metrics { metrics: vec![Metric::count("Reports", 1)], breakdowns: Vec::new() };
        let mut line = Vec::new();
        metrics.write_as("test-", UNIX_EPOCH, None, &mut line).unwrap();
        let value: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["_aws"]["CloudWatchMetrics"][0]["Namespace"], "test-TagHub");
    }

    #[test]
    fn without_a_dimension_there_is_one_directive() {
        let calls = CallCounts { calls: 3, throttles: 0 };
        let metrics = Metrics { metrics: calls.metrics().to_vec(), breakdowns: Vec::new() };
        let value: Value = serde_json::from_str(&line(&metrics, None)).unwrap();
        assert_eq!(value["_aws"]["CloudWatchMetrics"].as_array().unwrap().len(), 1);
        assert_eq!((&value["ServiceCalls"], &value["ServiceThrottles"]), (&json!(3), &json!(0)));
        assert_eq!(value["level"], "INFO");
    }
}
