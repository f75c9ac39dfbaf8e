//! The table of all permissions in docs/permissions.md, which is made from the templates.
//!
//! `UPDATE_DOCS=1` writes it anew, instead of comparing.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use crate::generated;
use crate::policy::{Statement, said, statements};
use crate::template::{Resource, templates};

const FILE: &str = "docs/permissions.md";

/// A heading and a table for each template with policies.
fn table() -> String {
    let mut out = String::new();
    for template in templates() {
        let resources = template.resources();
        let rows: Vec<String> = resources.iter().flat_map(rows).collect();
        if rows.is_empty() {
            continue;
        }
        write!(out, "\n### {}\n", template.file).unwrap();
        out.push_str("| of | statement | action | on | for | only where |\n|---|---|---|---|---|---|\n");
        out.push_str(&rows.concat());
    }
    out.push('\n');
    out
}

fn rows(resource: &Resource<'_>) -> Vec<String> {
    if resource.kind == "AWS::Lambda::Permission" {
        let properties = resource.properties;
        let (action, on, whom) = (&properties["Action"], &properties["FunctionName"], &properties["Principal"]);
        let cells = [
            resource.id.to_owned(),
            String::new(),
            code(&said(action)),
            code(&said(on)),
            code(&said(whom)),
            String::new(),
        ];
        return vec![row(&cells)];
    }
    statements(resource).iter().map(|statement| row(&cells(resource, statement))).collect()
}

fn cells(resource: &Resource<'_>, statement: &Statement<'_>) -> [String; 6] {
    let value = statement.value;
    let refusal = if statement.is_deny() { "never " } else { "" };
    let on: BTreeSet<String> = statement.resources().into_iter().map(|on| code(&said(on))).collect();
    let whom = match &value["Principal"] {
        Value::Null => String::new(),
        Value::String(everybody) => code(everybody),
        principal => principal.as_object().unwrap().values().map(|whom| code(&said(whom))).collect(),
    };
    let mut only: Vec<String> = statement.conditions.iter().map(|condition| code(condition)).collect();
    only.extend(conditions(&value["Condition"]));
    [
        resource.id.to_owned(),
        statement.sid().to_owned(),
        format!("{refusal}{}", code(statement.action())),
        on.into_iter().collect::<Vec<_>>().join("<br>"),
        whom,
        only.join("<br>"),
    ]
}

/// The conditions of a statement, one by one; with `Fn::If` those of its first branch, said as such.
fn conditions(value: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for (operator, keys) in value.as_object().into_iter().flatten() {
        if operator == "Fn::If" {
            let branch = conditions(&keys[1]);
            all.extend(branch.into_iter().map(|condition| format!("{condition} ({})", code(&said(&keys[0])))));
            continue;
        }
        if keys["Fn::If"].is_array() {
            let branch = serde_json::json!({ operator.as_str(): keys["Fn::If"][1] });
            let condition = code(&said(&keys["Fn::If"][0]));
            all.extend(conditions(&branch).into_iter().map(|text| format!("{text} ({condition})")));
            continue;
        }
        for (key, expected) in keys.as_object().into_iter().flatten() {
            all.push(code(&format!("{key} {operator} {}", said(expected))));
        }
    }
    all
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[test]
fn the_table_of_permissions_is_that_of_the_templates() {
    generated::check(FILE, "the templates", |_| table());
}
