//! The figures that CloudWatch would show, from what the functions have logged in the embedded metric format.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What was logged, by the period that it falls into.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    values: BTreeMap<Metric, BTreeMap<usize, Vec<f64>>>,
}

/// A metric with its dimensions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Metric {
    namespace: String,
    name: String,
    dimensions: BTreeMap<String, String>,
}

/// A line in a widget.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    pub(crate) label: String,
    /// One for each period; none where nothing was logged.
    pub(crate) values: Vec<Option<f64>>,
}

impl Figures {
    /// Takes in a line of a log, where it is one with metrics.
    pub(crate) fn add(&mut self, period: usize, line: &str) {
        let Ok(line) = serde_json::from_str::<Value>(line) else { return };
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
            for metric in directive["Metrics"].as_array().into_iter().flatten() {
                let name = metric["Name"].as_str().unwrap_or_default();
                let logged: Vec<f64> = match &line[name] {
                    Value::Array(values) => values.iter().filter_map(Value::as_f64).collect(),
                    value => value.as_f64().into_iter().collect(),
                };
                for set in directive["Dimensions"].as_array().into_iter().flatten() {
                    let keys = set.as_array().into_iter().flatten().filter_map(Value::as_str);
                    let dimensions =
                        keys.map(|key| (key.to_owned(), line[key].as_str().unwrap_or_default().to_owned()));
                    let metric = Metric {
                        namespace: directive["Namespace"].as_str().unwrap_or_default().to_owned(),
                        name: name.to_owned(),
                        dimensions: dimensions.collect(),
                    };
                    self.values.entry(metric).or_default().entry(period).or_default().extend(&logged);
                }
            }
        }
    }

    /// The lines of a widget of type `metric`, over this many periods.
    pub(crate) fn series(&self, properties: &Value, periods: usize) -> Vec<Series> {
        let default = properties["stat"].as_str().unwrap_or("Average");
        let rows = properties["metrics"].as_array().into_iter().flatten();
        rows.flat_map(|row| self.row(row, default, periods)).collect()
    }

    /// One row of `metrics`: a metric, or a search for several.
    fn row(&self, row: &Value, default: &str, periods: usize) -> Vec<Series> {
        let parts = row.as_array().map(Vec::as_slice).unwrap_or_default();
        let options = parts.last().filter(|last| last.is_object()).unwrap_or(&Value::Null);
        if let Some(expression) = options["expression"].as_str() {
            return self.search(expression, periods);
        }
        let words: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
        let [namespace, name, dimensions @ ..] = words.as_slice() else { return Vec::new() };
        let pairs = dimensions.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned()));
        let metric =
            Metric { namespace: (*namespace).to_owned(), name: (*name).to_owned(), dimensions: pairs.collect() };
        let label = options["label"].as_str().or(dimensions.last().copied()).unwrap_or(name);
        vec![self.line(label, &metric, options["stat"].as_str().unwrap_or(default), periods)]
    }

    /// `SEARCH('{Namespace,Dimension} MetricName="Name"', 'Sum', …)`, the one form that the dashboard has.
    fn search(&self, expression: &str, periods: usize) -> Vec<Series> {
        let between = |before: &str, after: &str| {
            let (_, rest) = expression.split_once(before)?;
            Some(rest.split_once(after)?.0.to_owned())
        };
        let (Some(schema), Some(name)) = (between("{", "}"), between("MetricName=\"", "\"")) else { return Vec::new() };
        let (namespace, dimension) = schema.split_once(',').unwrap_or((schema.as_str(), ""));
        let found = self.values.keys().filter(|metric| metric.namespace == namespace && metric.name == name);
        found.filter_map(|metric| Some(self.line(metric.dimensions.get(dimension)?, metric, "Sum", periods))).collect()
    }

    fn line(&self, label: &str, metric: &Metric, statistic: &str, periods: usize) -> Series {
        let logged = self.values.get(metric);
        let at = |period| logged.and_then(|values| values.get(&period)).and_then(|values| of(statistic, values));
        Series { label: label.to_owned(), values: (0..periods).map(at).collect() }
    }

    /// The metrics of a namespace that widgets ask for and that nothing was logged of.
    pub(crate) fn missing(&self, body: &Value, namespace: &str) -> BTreeSet<String> {
        let widgets = body["widgets"].as_array().into_iter().flatten();
        let rows = widgets.flat_map(|widget| widget["properties"]["metrics"].as_array().into_iter().flatten());
        let asked = rows.filter(|row| row[0] == namespace).filter_map(|row| row[1].as_str());
        let is_logged = |name: &&str| self.values.keys().any(|metric| metric.name == **name);
        asked.filter(|name| !is_logged(name)).map(str::to_owned).collect()
    }
}

/// A statistic of CloudWatch over the values of a period.
fn of(statistic: &str, values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match statistic {
        _ if sorted.is_empty() => None,
        "Sum" => Some(sorted.iter().sum()),
        "Maximum" => sorted.last().copied(),
        "Minimum" => sorted.first().copied(),
        "p50" => sorted.get((sorted.len() - 1) / 2).copied(),
        "p99" => sorted.get((sorted.len() * 99).div_ceil(100).saturating_sub(1)).copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn logged(reports: u32, lag: &[u32], agency: &str) -> String {
        json!({
            "_aws": {"Timestamp": 1, "CloudWatchMetrics": [
                {"Namespace": "TagHub", "Dimensions": [[]], "Metrics": [{"Name": "Reports"}, {"Name": "Lag"}]},
                {"Namespace": "TagHub", "Dimensions": [["Agency"]], "Metrics": [{"Name": "Reports"}]}
            ]},
            "Reports": reports, "Lag": lag, "Agency": agency
        })
        .to_string()
    }

    fn figures() -> Figures {
        let mut figures = Figures::default();
        figures.add(0, &logged(1, &[10, 20, 30], "a"));
        figures.add(0, &logged(1, &[], "b"));
        figures.add(2, &logged(3, &[7], "a"));
        figures.add(2, "no metrics");
        figures.add(2, r#"{"message": "none either"}"#);
        figures
    }

    fn check(metrics: &Value, expected: &[(&str, [Option<f64>; 3])]) {
        let found = figures().series(&json!({"stat": "Sum", "metrics": metrics}), 3);
        let expected: Vec<Series> = expected
            .iter()
            .map(|(label, values)| Series { label: (*label).to_owned(), values: values.to_vec() })
            .collect();
        assert_eq!(found, expected, "{metrics}");
    }

    #[test]
    fn statistics_are_taken_over_each_period() {
        check(&json!([["TagHub", "Reports"]]), &[("Reports", [Some(2.0), None, Some(3.0)])]);
        check(
            &json!([["TagHub", "Lag", {"stat": "p50", "label": "half"}], ["TagHub", "Lag", {"stat": "p99"}]]),
            &[("half", [Some(20.0), None, Some(7.0)]), ("Lag", [Some(30.0), None, Some(7.0)])],
        );
        check(&json!([["TagHub", "Reports", "Agency", "b"]]), &[("b", [Some(1.0), None, None])]);
    }

    #[test]
    fn a_search_finds_every_agency() {
        let expression = "SORT(SEARCH('{TagHub,Agency} MetricName=\"Reports\"', 'Sum', 3600), SUM, ASC, 25)";
        check(
            &json!([[{"expression": expression, "id": "q"}]]),
            &[("a", [Some(1.0), None, Some(3.0)]), ("b", [Some(1.0), None, None])],
        );
    }

    #[test]
    fn what_nothing_was_logged_of_is_missing() {
        let metrics = json!([["TagHub", "Reports"], ["TagHub", "Misspelt"], ["AWS/Lambda", "Errors"]]);
        let body = json!({"widgets": [{"properties": {"metrics": metrics}}, {"properties": {"markdown": "x"}}]});
        assert_eq!(figures().missing(&body, "TagHub"), ["Misspelt".to_owned()].into());
    }
}
