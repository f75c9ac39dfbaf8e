//! What the demo prints.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table};
use serde_json::Value;
use tests::World;

use crate::fleet::Fleet;
use crate::{answers, expected};

/// A line that says what comes next.
pub(crate) fn step(text: &str) {
    println!("\n== {text}");
}

/// A line under a step.
pub(crate) fn note(text: &str) {
    println!("   {text}");
}

/// Waits until something is so, and shows that time goes by.
pub(crate) async fn wait(
    world: &World,
    what: &str,
    within: Duration,
    is_so: impl Fn(&World) -> bool,
) -> anyhow::Result<()> {
    let progress = async {
        let mut ticks = tokio::time::interval(Duration::from_secs(5));
        for seconds in (0_u64..).step_by(5) {
            ticks.tick().await;
            if std::io::stdout().is_terminal() {
                print!("\r   waiting until {what}: {seconds} s");
                let _ = std::io::stdout().flush();
            } else {
                println!("   waiting until {what}: {seconds} s");
            }
        }
    };
    let result = tokio::select! {
        result = world.eventually(what, within, is_so) => result,
        () = progress => Ok(()),
    };
    if std::io::stdout().is_terminal() {
        println!();
    }
    result
}

/// Every node with its agency, source, tags, and what was left behind and why.
pub(crate) fn nodes(world: &World, fleet: &Fleet, all: &[Value]) {
    let left_behind = answers::left_behind(all);
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_width(140);
    }
    table.set_header(["node", "agency", "source", "tags", "left behind"]);
    for enrolled in fleet.members.iter().map(|member| &member.enrolled) {
        let tags = world.tags(&enrolled.node);
        let reserved = |key: &str| tags.get(key).cloned().unwrap_or_default();
        let plain = expected::plain_tags(world, &enrolled.node);
        let plain: Vec<String> = plain.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let left_behind = left_behind.get(&enrolled.instance).into_iter().flatten();
        let left_behind: Vec<String> = left_behind.map(|(key, reason)| format!("{key}: {reason}")).collect();
        let source = reserved(hub::SOURCE_TAG_KEY).replacen(&format!("{}/", enrolled.agency), "", 1);
        table.add_row([
            enrolled.node.clone(),
            reserved(hub::AGENCY_TAG_KEY),
            source,
            plain.join("\n"),
            left_behind.join("\n"),
        ]);
    }
    println!("{table}");
    for (instance, (node, reason)) in answers::refused(all) {
        note(&format!("{instance}: {node} is refused: {reason}"));
    }
}

/// One line for each account and Region of a run, and the summary.
pub(crate) fn matrix(status: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let locations = status["Executions"].as_array().into_iter().flatten();
    let locations = locations.flat_map(|execution| execution["Locations"].as_array().into_iter().flatten());
    let cells: Vec<String> = locations
        .map(|location| {
            let cause = location["Cause"].as_str().map(|cause| format!(" ({cause})")).unwrap_or_default();
            format!(
                "{} {}: {}{cause}",
                text(&location["Account"]),
                text(&location["Region"]),
                text(&location["Status"])
            )
        })
        .collect();
    note(&cells.join(" | "));
    note(&text(&status["Summary"]));
}

/// What changed between two states of a node's tags.
pub(crate) fn difference(name: &str, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) {
    for (key, value) in after.iter().filter(|(key, value)| before.get(*key) != Some(value)) {
        let old = before.get(key).map_or_else(|| "nothing".to_owned(), |old| format!("{old:?}"));
        note(&format!("{name}: {key} was {old}, is {value:?}"));
    }
    for (key, value) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
        note(&format!("{name}: {key} was {value:?}, is gone"));
    }
    if before == after {
        note(&format!("{name}: as before"));
    }
}
