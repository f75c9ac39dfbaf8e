//! Links and source files in the documents: what they point at is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use regex::Regex;

use crate::repository::{files, text};
use crate::template::repository;

/// A link within the repository.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    line: usize,
    /// Empty where the link stays on its page.
    path: String,
    anchor: Option<String>,
}

/// The lines of a page outside of blocks, with their numbers.
fn prose(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_block = false;
    page.lines().enumerate().filter_map(move |(at, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_block ^= is_fence;
        (!is_block && !is_fence).then_some((at + 1, line))
    })
}

fn is_markdown(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "md")
}

/// The links of a page that stay within the repository.
fn links(page: &str) -> Vec<Link> {
    let link = Regex::new(r"\]\(([^()\s]+)\)").unwrap();
    let mut links = Vec::new();
    for (line, text) in prose(page) {
        for target in link.captures_iter(text).map(|found| found.get(1).unwrap().as_str()) {
            if !target.contains("://") {
                let (path, anchor) = target.split_once('#').map_or((target, None), |(path, to)| (path, Some(to)));
                links.push(Link { line, path: path.to_owned(), anchor: anchor.map(str::to_owned) });
            }
        }
    }
    links
}

/// The anchors that GitHub gives the headings of a page.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose(page)
        .filter_map(|(_, line)| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let anchors = headings.map(|heading| {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let seen = count.entry(anchor.clone()).or_default();
        *seen += 1;
        if *seen == 1 { anchor } else { format!("{anchor}-{}", *seen - 1) }
    });
    anchors.collect()
}

/// A path from the top of the repository, for one that is relative to a page.
fn resolved(page: &str, path: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in Path::new(page).parent().unwrap().join(path).components() {
        match part {
            Component::ParentDir => drop(resolved.pop()),
            other => resolved.push(other),
        }
    }
    resolved
}

#[test]
fn every_link_points_at_something() {
    let pages: Vec<String> = files().into_iter().filter(|path| is_markdown(path)).collect();
    let mut broken = Vec::new();
    let mut count = 0;
    for page in &pages {
        for link in links(&text(page).unwrap()) {
            count += 1;
            let target = if link.path.is_empty() { PathBuf::from(page) } else { resolved(page, &link.path) };
            let is_there = repository().join(&target).exists();
            let has_anchor =
                |anchor: &String| text(target.to_str().unwrap()).is_some_and(|page| anchors(&page).contains(anchor));
            if !is_there || !link.anchor.as_ref().is_none_or(has_anchor) {
                broken.push(format!("{page}:{}: {}#{}", link.line, link.path, link.anchor.unwrap_or_default()));
            }
        }
    }
    assert!(count > 50, "only {count} links");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The source files that a page names, whole or by the end of their path.
fn sources(page: &str) -> Vec<(usize, String)> {
    let source = Regex::new(r"`([\w/-]+\.rs)`").unwrap();
    let found = prose(page).flat_map(|(line, text)| source.captures_iter(text).map(move |found| (line, found)));
    found.map(|(line, found)| (line, found[1].to_owned())).collect()
}

/// The changelog names what is gone, too.
#[test]
fn every_source_file_that_a_page_names_is_there() {
    let files = files();
    let is_page = |path: &&String| is_markdown(path) && *path != "CHANGELOG.md";
    let mut missing = Vec::new();
    let mut count = 0;
    for page in files.iter().filter(is_page) {
        for (line, source) in sources(&text(page).unwrap()) {
            count += 1;
            if !files.iter().any(|file| Path::new(file).ends_with(&source)) {
                missing.push(format!("{page}:{line}: {source}"));
            }
        }
    }
    assert!(count > 50, "only {count} source files");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// An alarm says which page to read.
#[test]
fn every_page_that_a_template_names_is_there() {
    let page = Regex::new(r"(docs/[\w-]+\.md)(?:#([\w-]+))?").unwrap();
    let is_template = |path: &&String| Path::new(path).extension().is_some_and(|extension| extension == "yaml");
    let mut broken = Vec::new();
    let mut count = 0;
    for file in files().iter().filter(is_template) {
        for found in page.captures_iter(&text(file).unwrap()) {
            count += 1;
            let target = repository().join(&found[1]).is_file().then(|| text(&found[1]).unwrap());
            let has_anchor = |page: String| found.get(2).is_none_or(|anchor| anchors(&page).contains(anchor.as_str()));
            if !target.is_some_and(has_anchor) {
                broken.push(format!("{file}: {}", &found[0]));
            }
        }
    }
    assert!(count > 30, "only {count} pages");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn source_files_are_read_from_code_spans() {
    let page = "`a/b.rs` and `c.rs`, not d.rs, `e.yaml` or `f.rs::g`\n";
    assert_eq!(sources(page), [(1, "a/b.rs".to_owned()), (1, "c.rs".to_owned())]);
}

#[test]
fn links_and_anchors_are_read_as_github_reads_them() {
    let page = "# A page\n[a](b.md#c) and ![d](https://example.com/#x) [e](#f-g)\n```\n[no](link)\n# no heading\n```\n## A page\n\
                ## `code`, and: more_words\n";
    let link = |line, path: &str, anchor: &str| Link { line, path: path.to_owned(), anchor: Some(anchor.to_owned()) };
    assert_eq!(links(page), [link(2, "b.md", "c"), link(2, "", "f-g")]);
    let expected = ["a-page", "a-page-1", "code-and-more_words"];
    assert_eq!(anchors(page), expected.map(str::to_owned).into());
    assert_eq!(resolved("docs/a.md", "../README.md"), Path::new("README.md"));
    assert_eq!(resolved("docs/a.md", "b.md"), Path::new("docs/b.md"));
}
