//! `index.html`: one file that loads nothing.
//!
//! Agencies write names and tags, so the page holds them as escaped text, or as data that its script puts into the page as
//! text. Its security policy lets no other script and no other style act, and nothing be loaded or sent.

mod chart;
mod finding;
mod section;
mod symbol;

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use crate::build::Fleet;
use crate::data::packed;
use crate::summary::Summary;
use crate::words::{day, minute};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M1 2h7l7 7-6 6-8-8z' fill='%231f6fb5'/%3E%3Ccircle cx='5' cy='6' r='1.5' fill='%23fff'/%3E%3C/svg%3E";

/// The whole page.
///
/// # Errors
/// If the nodes cannot be compressed, which nothing in memory brings about.
pub fn render(fleet: &Fleet) -> io::Result<String> {
    let data = packed(fleet)?;
    let summary = &fleet.summary;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(summary))
            body {
                (symbol::sprite())
                a .skip.np href="#nodes" { "Skip to the nodes" }
                (header(summary))
                main {
                    (section::unread(summary))
                    (section::numbers(summary))
                    .two.wide {
                        (finding::section(summary))
                        .side {
                            (section::coverage(summary))
                            (section::dropped_tags(summary))
                            (section::agents(summary))
                        }
                    }
                    (section::agencies(summary))
                    .two {
                        (section::unmanaged(summary))
                        (section::activations(summary))
                    }
                    (section::patches(summary))
                    (section::limit(summary))
                    (section::nodes())
                }
                (section::footer())
                script type="application/gzip" id="data" { (PreEscaped(&data)) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    Ok(page.into_string())
}

fn head(summary: &Summary) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="robots" content="noindex";
            meta http-equiv="Content-Security-Policy" content=(policy());
            title { "Tag Hub: fleet of " (summary.hub.account) ", " (day(summary.generated)) }
            link rel="icon" href=(ICON);
            style { (PreEscaped(STYLE)) }
        }
    }
}

/// Only this very style and script may act, and nothing is loaded from anywhere.
fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; \
         form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn header(summary: &Summary) -> Markup {
    let links = [
        ("#first", "Look first"),
        ("#agencies", "Agencies"),
        ("#patches", "Patches"),
        ("#activations", "Activations"),
        ("#limit", "Limit"),
        ("#nodes", "Nodes"),
    ];
    html! {
        header {
            .top {
                p .brand { (symbol::tag()) "Tag Hub" }
                nav .np aria-label="On this page" {
                    @for (target, words) in links { a href=(target) { (words) } }
                }
                button .np type="button" id="theme" { "Theme: auto" }
            }
            h1 { "Fleet report" }
            p .meta {
                span { "Central account " b { (summary.hub.account) } }
                span { b { (summary.hub.region) } }
                span { "As of " time id="generated" datetime=(summary.generated) { (minute(summary.generated)) } }
                span id="age" {}
                span { "Tag Hub " (summary.hub.version) }
            }
        }
    }
}
