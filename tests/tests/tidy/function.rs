//! What the functions say about themselves: their crate docs, their configuration and their calls of AWS.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::template::repository;

/// The functions by the name of their package, which is the name that the templates give them.
pub(crate) const FUNCTIONS: [&str; 5] =
    ["activation-issuer", "automation-fanout", "fleet-reporter", "ssm-tag-manager", "tags-collector"];

/// The variables that a function asks for, by its own configuration.
pub(crate) fn variables_read(function: &str) -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        None
    };
    match function {
        "activation-issuer" => drop(activation_issuer::Config::from_lookup(lookup)),
        "automation-fanout" => drop(automation_fanout::Config::from_lookup(lookup)),
        "fleet-reporter" => drop(fleet_reporter::Config::from_lookup(lookup)),
        "ssm-tag-manager" => drop(ssm_tag_manager::Config::from_lookup(lookup)),
        "tags-collector" => drop(tags_collector::config::Config::from_lookup(lookup)),
        other => panic!("the tidy tests do not know the function {other}: add it to tests/tests/tidy/function.rs"),
    }
    asked.into_inner()
}

/// The variables in the table under `# Configuration` in the crate docs.
pub(crate) fn variables_documented(function: &str) -> BTreeSet<String> {
    let row = Regex::new(r"^\| `([A-Z_]+)` \|").unwrap();
    let rows = section(function, "Configuration");
    rows.iter().filter_map(|line| Some(row.captures(line)?[1].to_owned())).collect()
}

/// The actions in the section `# IAM` or `# IAM actions` of the crate docs.
pub(crate) fn actions_documented(function: &str) -> BTreeSet<String> {
    let action = Regex::new(r"`([a-z0-9]+:[A-Z][A-Za-z]+)`").unwrap();
    let text = section(function, "IAM").join("\n");
    action.captures_iter(&text).map(|found| found[1].to_owned()).collect()
}

/// What a function calls with a role that it takes in another account, so that its own needs no permission for it.
pub(crate) const CALLED_AS_ANOTHER: [CalledAsAnother; 3] = [
    CalledAsAnother { function: "activation-issuer", operation: "ssm:GetParameter", role: "TagHubActivationWriter" },
    CalledAsAnother {
        function: "activation-issuer",
        operation: "ssm:GetParameterHistory",
        role: "TagHubActivationWriter",
    },
    CalledAsAnother { function: "activation-issuer", operation: "ssm:PutParameter", role: "TagHubActivationWriter" },
];

pub(crate) struct CalledAsAnother {
    pub(crate) function: &'static str,
    pub(crate) operation: &'static str,
    /// The name that a template gives the role.
    pub(crate) role: &'static str,
}

/// The operations that the function's `aws` module calls with the function's own role.
pub(crate) fn operations_called(function: &str) -> BTreeSet<String> {
    let mut operations = operations_named(function);
    for called in CALLED_AS_ANOTHER.iter().filter(|called| called.function == function) {
        assert!(operations.remove(called.operation), "{function} does not call {} at all", called.operation);
    }
    operations
}

/// The operations that the function's `aws` module calls: each call names its own, such as `"ssm:AddTagsToResource"`.
fn operations_named(function: &str) -> BTreeSet<String> {
    let operation = Regex::new(r#""([a-z0-9]+:[A-Z][A-Za-z]+)""#).unwrap();
    let source = crate_folder(function).join("src");
    let mut files = vec![source.join("aws.rs")];
    if source.join("aws").is_dir() {
        files.extend(rust_files(&source.join("aws")));
    }
    files.retain(|file| !file.ends_with("tests.rs") && !file.ends_with("mocks.rs"));
    let mut operations = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        operations.extend(operation.captures_iter(code).map(|found| found[1].to_owned()));
    }
    operations
}

/// The folder of a function's package.
pub(crate) fn crate_folder(function: &str) -> PathBuf {
    repository().join("functions").join(function)
}

/// The lines of a section of the crate docs whose heading starts with `heading`.
fn section(function: &str, heading: &str) -> Vec<String> {
    let text = std::fs::read_to_string(crate_folder(function).join("src/lib.rs")).unwrap();
    let docs = text.lines().map_while(|line| line.strip_prefix("//!")).map(|line| line.trim().to_owned());
    let heading = format!("# {heading}");
    let lines: Vec<String> = docs
        .skip_while(|line| !line.starts_with(&heading))
        .skip(1)
        .take_while(|line| !line.starts_with("# "))
        .collect();
    assert!(!lines.is_empty(), "functions/{function}/src/lib.rs has no section {heading:?}");
    lines
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn every_function_is_known_here() {
    let entries = std::fs::read_dir(repository().join("functions")).unwrap();
    let folders: BTreeSet<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(folders, FUNCTIONS.map(str::to_owned).into());
}
