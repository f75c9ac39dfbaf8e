//! The estimate in docs/cost.md: made from the prices and assumptions on that page, and from the templates.
//!
//! `UPDATE_DOCS=1` writes it anew, instead of comparing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use regex::Regex;

use crate::function::FUNCTIONS;
use crate::generated;
use crate::metrics::metrics_documented;
use crate::repository::text;
use crate::template::templates;

const FILE: &str = "docs/cost.md";

/// Nodes and the agencies that they are in.
const FLEETS: [(u32, u32); 3] = [(100, 2), (1_000, 10), (10_000, 50)];
/// What Systems Manager includes in an account and Region.
const NODES_INCLUDED: u32 = 1_000;
/// What SQS includes in an account.
const REQUESTS_INCLUDED: f64 = 1_000_000.0;

/// The inputs on the page, by name.
struct Inputs(BTreeMap<String, f64>);

impl Inputs {
    fn read(page: &str) -> Self {
        let row = Regex::new(r"(?m)^\| `([a-z-]+)` \| ([0-9.]+) \|").unwrap();
        Self(row.captures_iter(page).map(|found| (found[1].to_owned(), found[2].parse().unwrap())).collect())
    }

    fn get(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("{FILE} has no row `{name}`"))
    }
}

fn alarms(files: &[&str]) -> f64 {
    let templates = templates();
    let counted = templates.iter().filter(|template| files.contains(&template.file.as_str()));
    number(counted.map(|template| template.of_kind("AWS::CloudWatch::Alarm").len()).sum())
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// What each line of the estimate comes to, for a fleet.
fn estimate(inputs: &Inputs, nodes: u32, agencies: u32) -> Vec<(&'static str, f64)> {
    let price = |name: &str| inputs.get(name);
    let of = |functions: &[&str]| -> usize {
        functions.iter().map(|function| metrics_documented().iter().filter(|(of, _)| of == function).count()).sum()
    };
    let central: Vec<&str> = FUNCTIONS.into_iter().filter(|function| *function != "tags-collector").collect();
    let (central_metrics, agency_metrics) = (number(of(&central)), number(of(&["tags-collector"])));
    // Reports, by agency, and the alarm of silence in the central account.
    let per_agency = 1.0;
    let (nodes_f, agencies) = (f64::from(nodes), f64::from(agencies));
    let changed = nodes_f * price("changes");
    let invocations = agencies * price("sweeps") * 2.0 + changed * 2.0;
    let swept = agencies * price("sweeps") * (price("sweep-seconds") + price("report-seconds"));
    let seconds = swept + changed * price("change-seconds");
    let paid_for = if nodes > NODES_INCLUDED { nodes_f } else { 0.0 };
    let requests = (price("polls") + changed / agencies * 3.0 - REQUESTS_INCLUDED).max(0.0) * agencies;
    let lambda =
        invocations * price("lambda-request") + seconds * price("memory-gigabytes") * price("lambda-gigabyte-second");
    let reports = price("fleet-reports") * price("fleet-report-seconds") * nodes_f / 1_000.0;
    let lambda = lambda + reports * price("lambda-gigabyte-second");
    vec![
        ("Hybrid nodes", paid_for * price("hours") * price("node-hour")),
        ("Metrics", (central_metrics + agencies * (agency_metrics + per_agency)) * price("metric")),
        (
            "Alarms",
            (alarms(&["template.yaml", "fanout.yaml", "cfn/operations.yaml"])
                + agencies * (alarms(&["cfn/agency.yaml"]) + per_agency))
                * price("alarm"),
        ),
        ("Dashboard", price("dashboard")),
        ("Lambda", lambda),
        ("Logs", invocations * price("invocation-bytes") / 1e9 * price("log-gigabyte")),
        ("Table of leases", changed * 2.0 * price("table-write")),
        ("Queues", requests * price("queue-request")),
    ]
}

/// The rows by line, the columns by fleet.
fn table(inputs: &Inputs) -> String {
    let columns = FLEETS.map(|(nodes, agencies)| estimate(inputs, nodes, agencies));
    let mut out = String::from(
        "| | 100 nodes, 2 agencies | 1,000 nodes, 10 agencies | 10,000 nodes, 50 agencies |\n|---|---|---|---|\n",
    );
    for (at, (name, _)) in columns[0].iter().enumerate() {
        let cells = columns.iter().map(|column| format!("{:.2}", column[at].1));
        writeln!(out, "| {name} | {} |", cells.collect::<Vec<_>>().join(" | ")).unwrap();
    }
    let totals = columns.map(|column| column.iter().map(|(_, cost)| cost).sum::<f64>());
    let cells = totals.map(|total| format!("**{total:.0}**"));
    writeln!(out, "| **Total** | {} |", cells.join(" | ")).unwrap();
    let each = totals.iter().zip(FLEETS).map(|(total, (nodes, _))| format!("{:.2}", total / f64::from(nodes)));
    writeln!(out, "| For each node | {} |", each.collect::<Vec<_>>().join(" | ")).unwrap();
    out
}

#[test]
fn the_estimate_of_the_cost_is_that_of_the_prices_and_the_templates() {
    generated::check(FILE, "the prices and the templates", |page| table(&Inputs::read(page)));
}

#[test]
fn the_thousand_and_first_node_makes_all_of_them_cost() {
    let inputs = Inputs::read(&text(FILE).unwrap());
    let nodes = |count| estimate(&inputs, count, 1)[0].1;
    assert!(nodes(1_000) < 0.01, "{}", nodes(1_000));
    // The figure that the page is about: some five dollars a month for each.
    assert!((5_000.0..5_200.0).contains(&nodes(1_001)), "{}", nodes(1_001));
}
