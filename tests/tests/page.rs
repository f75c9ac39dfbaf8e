//! The fleet page in a headless Chromium: `make test-page` installs it, from the npm registry, and runs this.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::{Path, PathBuf};
use std::process::Command;

use fleet::{Fleet, csv, page};
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, HOME_REGION, Paths, World, made_up};

/// The folder with check.mjs and what it needs.
fn tools() -> PathBuf {
    let folder = std::env::var_os("PAGE_TOOLS").unwrap_or_else(|| panic!("PAGE_TOOLS: run make test-page"));
    PathBuf::from(folder)
}

/// Opens a page and uses it; what was printed.
fn check(page: &str, expected: &Value, screenshots: Option<&Path>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (file, wanted) = (folder.path().join("index.html"), folder.path().join("expected.json"));
    std::fs::write(&file, page).unwrap();
    std::fs::write(&wanted, expected.to_string()).unwrap();
    let mut command = Command::new("node");
    command.current_dir(tools()).arg("check.mjs").args([&file, &wanted]).args(screenshots);
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out.into_owned()
}

/// What the rows of the agencies show: instances managed, online, in step and patched.
fn agencies(summary: &Value) -> Value {
    let agencies = summary["agencies"].as_array().unwrap().iter();
    agencies
        .map(|agency| {
            let mut row = vec![agency["account"].clone()];
            let is_known = agency["coverageChanged"].is_string();
            row.extend(is_known.then(|| agency["managed"].clone()));
            row.extend(["online", "inStep", "patched"].map(|field| agency[field].clone()));
            Value::Array(row)
        })
        .collect()
}

#[tokio::test]
async fn the_page_shows_what_is_on_the_local_aws_and_loads_nothing() {
    let world = World::deployed().await.unwrap();
    world.issue_activations().await.unwrap();
    for (agency, name, env) in
        [(AGENCY_A, "web-01", "PROD"), (AGENCY_A, "web-02", "TEST"), (AGENCY_B, "gis-01", "PROD")]
    {
        world.enroll(agency, HOME_REGION, &[("Name", name), ("Env", env)]).await.unwrap();
    }
    world.launch(AGENCY_A, HOME_REGION, &[("Env", "TEST")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    world.report_fleet(&json!({})).await.unwrap();
    let summary: Value = serde_json::from_str(&world.fleet_file("fleet.json").await.unwrap().unwrap()).unwrap();
    assert_eq!((&summary["agencies"][0]["managed"], &summary["agencies"][0]["nodes"]), (&json!(2), &json!(2)));
    let expected = json!({
        "nodes": 3, "agencies": agencies(&summary),
        "searches": {"web": 2, "env=prod web": 1, AGENCY_B: 1, "no report": 1, "nothing at all": 0},
        // Nothing was scanned, and the second agency never reported.
        "filters": {"all": 3, "look": 1, "off": 0, "tags": 1, "patch": 3},
    });
    check(&world.fleet_file("index.html").await.unwrap().unwrap(), &expected, None);
}

fn small() -> Fleet {
    made_up::fleet(6, 42, "2026-11-23T06:00:00Z".parse().unwrap()).unwrap()
}

/// `UPDATE_DOCS=1` writes the pictures in docs/.
#[test]
fn the_page_is_readable_for_everybody() {
    let fleet = small();
    let csv = csv::render(&fleet);
    let count = |word: &str| csv.lines().filter(|line| line.contains(word)).count();
    let summary = serde_json::to_value(&fleet.summary).unwrap();
    let expected = json!({
        "nodes": 42, "agencies": agencies(&summary),
        "searches": {"parks": count(",Parks,"), "kiosk": count("kiosk-"), "conflict": count(",conflict,")},
        "filters": {"all": 42, "off": count(",offline,"), "patch": 42 - count(",patched,")},
    });
    let pictures = tempfile::tempdir().unwrap();
    check(&page::render(&fleet).unwrap(), &expected, Some(pictures.path()));
    let updates = std::env::var_os("UPDATE_DOCS").is_some();
    if updates {
        let docs = Paths::from_env().unwrap().repository.join("docs");
        for name in ["fleet-light.png", "fleet-dark.png"] {
            std::fs::copy(pictures.path().join(name), docs.join(name)).unwrap();
        }
    }
}

#[test]
fn what_agencies_write_does_nothing_in_a_browser() {
    let hostile = [
        "</script><script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "\" onmouseover=\"alert(1)",
        "=HYPERLINK(\"http://x\")",
        "{{7*7}} ${7*7}",
    ];
    let fleet = made_up::hostile(&hostile).unwrap();
    let searches: serde_json::Map<String, Value> = hostile.iter().map(|text| ((*text).to_owned(), json!(1))).collect();
    let expected = json!({"nodes": hostile.len(), "searches": searches, "filters": {"all": hostile.len()}});
    check(&page::render(&fleet).unwrap(), &expected, None);
}

#[test]
fn an_empty_hub_has_a_page_too() {
    let fleet = made_up::fleet(1, 0, "2026-11-23T06:00:00Z".parse().unwrap()).unwrap();
    check(&page::render(&fleet).unwrap(), &json!({"nodes": 0, "searches": {"x": 0}, "filters": {"all": 0}}), None);
}

#[test]
fn a_thousand_agencies_and_a_hundred_thousand_nodes_are_one_page() {
    let fleet = made_up::fleet(1_000, 100_000, "2026-11-23T06:00:00Z".parse().unwrap()).unwrap();
    let page = page::render(&fleet).unwrap();
    assert!(page.len() < 10_000_000, "{} bytes", page.len());
    let csv = csv::render(&fleet);
    let offline = csv.lines().filter(|line| line.contains(",offline,")).count();
    let expected = json!({
        "nodes": 100_000, "searches": {"web-00": 0, "weekly-3 kiosk test": 0, "333222222111": 100},
        "filters": {"all": 100_000, "off": offline},
    });
    let printed = check(&page, &expected, None);
    println!("{:.1} MB, {printed}", f64::from(u32::try_from(page.len()).unwrap()) / 1e6);
}
