//! The repository as a whole: nothing in it ties it to one machine, one network or one tracker.

use std::process::Command;

use regex::{Regex, RegexSet};

use crate::template::repository;

/// All files that are committed, or would be.
pub(crate) fn files() -> Vec<String> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout).unwrap();
    let mut files: Vec<String> = paths.split_terminator('\0').map(str::to_owned).collect();
    files.retain(|path| repository().join(path).is_file());
    files.sort();
    files.dedup();
    files
}

/// The text of a file, nothing where it is none.
pub(crate) fn text(path: &str) -> Option<String> {
    String::from_utf8(std::fs::read(repository().join(path)).unwrap()).ok()
}

/// What no file may hold. A class such as `[y]` keeps a pattern from finding itself.
fn forbidden() -> RegexSet {
    RegexSet::new([
        // A package index, or a setting that names one: each of us has a different one, if any.
        r"(?i)\b(index|static)\.crates\.io\b|\bpypi\.(org|io)\b|\bfiles\.pythonhosted\.org\b|\bregistry\.npmjs\.org\b",
        r"(?i)\bproxy\.golang\.org\b|\bartifactor[y]\b|\bdevp[i]\b|--(extra-)?index-ur[l]\b|--find-link[s]\b",
        r#"(?i)\breplace-with\s*=|(^|[^\w-])registry\s*=\s*["']|^\s*\[source\."#,
        // A number that means something in one tracker alone.
        r"(?i)\b(issue|ticket|pull request|bug)s?[ -]?(no\.? ?)?#?[0-9]",
        // An anchor such as `#2-the-agencies` is none.
        r#"(^|[\s(\["'])#[0-9]+([^\w-]|$)"#,
        // A folder of one machine.
        r"(^|[^\w.~-])/(home|Users|work|root|mnt)/[\w.-]",
        r"(?i)\b[a-z]:\\+users\\",
    ])
    .unwrap()
}

#[test]
fn nothing_names_a_machine_a_registry_or_an_issue() {
    let forbidden = forbidden();
    let mut found = Vec::new();
    for path in files() {
        let Some(text) = text(&path) else { continue };
        let lines = text.lines().enumerate().filter(|(_, line)| forbidden.is_match(line));
        found.extend(lines.map(|(at, line)| format!("{path}:{}: {}", at + 1, line.trim())));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_locked_package_comes_from_the_public_index() {
    let lock = text("Cargo.lock").unwrap();
    let sources: Vec<&str> = lock.lines().filter(|line| line.starts_with("source = ")).collect();
    assert!(!sources.is_empty());
    for source in sources {
        assert_eq!(source, r#"source = "registry+https://github.com/rust-lang/crates.io-index""#);
    }
}

/// An action by its tag is whatever its owner makes of the tag.
#[test]
fn every_action_of_a_workflow_is_pinned() {
    let pinned = Regex::new(r"^uses: [\w./-]+@[0-9a-f]{40} # v[0-9.]+$").unwrap();
    let mut count = 0;
    for path in files().into_iter().filter(|path| path.starts_with(".github/workflows/")) {
        let text = text(&path).unwrap();
        for line in
            text.lines().map(|line| line.trim().trim_start_matches("- ")).filter(|line| line.starts_with("uses:"))
        {
            assert!(pinned.is_match(line), "{path}: {line}");
            count += 1;
        }
    }
    assert!(count > 0, "no workflow uses an action");
}

#[test]
fn the_patterns_find_what_they_are_for() {
    let forbidden = forbidden();
    // Put together here, so that this file does not hold them.
    for bad in [
        concat!("https://py", "pi.org/simple"),
        concat!("url = \"sparse+https://index.cra", "tes.io/\""),
        concat!("pip install --index", "-url x"),
        concat!("[sou", "rce.mirror]"),
        concat!("replace", "-with = \"mirror\""),
        concat!("{ version = \"1\", regis", "try = \"mirror\" }"),
        concat!("see iss", "ue 2"),
        concat!("Iss", "ue #", "17"),
        concat!("fixes #", "2"),
        concat!("(#", "2)"),
        concat!("cd /ho", "me/someone/tag-hub"),
        concat!("\"/wo", "rk/main\""),
        concat!("/Us", "ers/someone"),
        concat!("C:\\Us", "ers\\someone"),
    ] {
        assert!(forbidden.is_match(bad), "{bad}");
    }
    for good in [
        "unknown-registry = \"deny\"",
        "r#\"{}\"#",
        "cost#centre",
        "/aws/lambda/tags-collector",
        "target/work/x",
        "# 2. Central account",
    ] {
        assert!(!forbidden.is_match(good), "{good}");
    }
}
