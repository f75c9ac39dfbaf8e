//! `fleet.csv`: one row for each node.

use std::fmt::Write as _;

use hub::Timestamp;

use crate::build::{Fleet, Row};

const HEADER: &str = "node,name,agency,account,region,instance,platform,agent,online,lastPing,tagging,tagsLeftBehind,\
                      reasons,lastChange,patches,patchesMissing,patchesFailed,criticalPatches,lastScan\r\n";

/// The whole file.
pub fn render(fleet: &Fleet) -> String {
    let mut text = String::with_capacity(HEADER.len() + fleet.rows.len() * 200);
    text.push_str(HEADER);
    for row in &fleet.rows {
        write_row(&mut text, fleet, row);
    }
    text
}

fn write_row(text: &mut String, fleet: &Fleet, row: &Row) {
    let agency = row.agency.and_then(|at| fleet.summary.agencies.get(at));
    let words = &fleet.words;
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let fields = [
        row.id.as_str(),
        row.name.as_deref().unwrap_or_default(),
        agency.and_then(|agency| agency.name.as_deref()).unwrap_or_default(),
        agency.map_or("", |agency| agency.account.as_str()),
        words.regions.word(row.region),
        row.instance.as_ref().map_or("", |instance| instance.as_str()),
        words.platforms.word(row.platform),
        words.agents.word(row.agent),
        row.ping.as_str(),
        &time(row.last_ping),
        row.tagging.as_str(),
        &row.left_behind.to_string(),
        words.reasons.word(row.reasons),
        &time(row.changed),
        row.patching.as_str(),
        &row.patches.missing.to_string(),
        &row.patches.failed.to_string(),
        &row.patches.critical.to_string(),
        &time(row.patches.scanned_at),
    ];
    for (at, field) in fields.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        write_field(text, field);
    }
    text.push_str("\r\n");
}

/// Agencies write names: what a spreadsheet would take for a formula gets an apostrophe.
fn write_field(text: &mut String, field: &str) {
    let apostrophe = if field.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if field.contains(['"', ',', '\n', '\r']) {
        // Writing to a string does not fail.
        let _ = write!(text, "\"{apostrophe}{}\"", field.replace('"', "\"\""));
    } else {
        text.push_str(apostrophe);
        text.push_str(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_calls_nothing_and_stays_in_its_place() {
        for (field, expected) in [
            ("web-01", "web-01"),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("-1", "'-1"),
            ("a,b\r\nc", "\"a,b\r\nc\""),
            ("", ""),
        ] {
            let mut text = String::new();
            write_field(&mut text, field);
            assert_eq!(text, expected);
        }
    }
}
