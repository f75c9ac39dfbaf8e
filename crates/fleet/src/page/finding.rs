//! What needs somebody, in words.

use maud::{Markup, html};

use super::symbol::{Look, icon, pill};
use crate::finding::{Finding, Kind, Severity};
use crate::summary::{AgencySummary, Summary};
use crate::words::{age, counted, day, grouped, rough, verb};

/// How many are shown. All of them are in `fleet.json`.
const SHOWN: usize = 15;

/// What is written about a finding.
struct Words {
    title: String,
    text: String,
    command: Option<String>,
    /// Where in the page there is more.
    link: Option<(String, &'static str)>,
}

/// The list of what needs somebody, the worst first.
pub(super) fn section(summary: &Summary) -> Markup {
    let count = |severity| summary.findings.iter().filter(|finding| finding.severity == severity).count();
    let (broken, watch) = (count(Severity::Broken), count(Severity::Watch));
    html! {
        section id="first" {
            h2 {
                "Look at these first "
                span .tally {
                    @if broken > 0 { (pill(Look::Bad, &format!("{} broken", grouped(broken)))) }
                    @if watch > 0 { (pill(Look::Watch, &format!("{} to watch", grouped(watch)))) }
                }
            }
            @if summary.findings.is_empty() { p { (pill(Look::Good, "Nothing needs a look")) } }
            ol .finds { @for finding in summary.findings.iter().take(SHOWN) { (item(summary, finding)) } }
            @if summary.findings.len() > SHOWN {
                p .note { (counted(summary.findings.len() - SHOWN, "more")) " in " code { "fleet.json" } "." }
            }
        }
    }
}

fn item(summary: &Summary, finding: &Finding) -> Markup {
    let agency = summary.agencies.iter().find(|agency| Some(&agency.account) == finding.account.as_ref());
    let (look, word) = match finding.severity {
        Severity::Broken => (Look::Bad, "Broken: "),
        Severity::Watch => (Look::Watch, "To watch: "),
    };
    let Words { title, text, command, link } = words(summary, finding, agency);
    let age = finding.since.filter(|since| *since < summary.generated).map(|since| age(since, summary.generated));
    html! {
        li class=(look.name()) {
            (icon(look))
            div {
                span .age { @if let Some(age) = age { span .vh { "for " } (age) } @else { "new" } }
                h3 { span .vh { (word) } (title) }
                p { (text) }
                p .do {
                    @if let Some(command) = command { kbd { (command) } " " }
                    @if let Some((target, words)) = link { a .np href=(target) { (words) } }
                }
            }
        }
    }
}

fn words(summary: &Summary, finding: &Finding, agency: Option<&AgencySummary>) -> Words {
    let (label, account) = agency.map_or(("The hub", ""), |agency| (agency.label(), agency.account.as_str()));
    let (count, nodes) = (finding.count, counted(finding.count, "node"));
    let doctor = || Some(format!("taghub doctor --agency {account}"));
    let listed = |flags: &str| Some(format!("taghub nodes --agency {account} {flags}"));
    let filtered = |filter: &str| Some((format!("#q={account}&f={filter}"), "Show the nodes"));
    let with = |title: String, text: &str, command: Option<String>, link: Option<(String, &'static str)>| Words {
        title,
        text: text.to_owned(),
        command,
        link,
    };
    match finding.kind {
        Kind::Silent => {
            let since = finding.since.map_or_else(String::new, |at| age(at, summary.generated));
            let kept = agency.map_or(0, |agency| agency.figures.nodes);
            let text =
                format!("{} {} its last tags until it reports.", counted(kept, "node"), verb(kept, "keeps", "keep"));
            with(format!("{label} has sent no report for {since}"), &text, doctor(), filtered("all"))
        }
        Kind::NoReport => with(
            format!("{label} has never reported"),
            "It is granted, but no collector has called. Deploy cfn/agency.yaml in its account.",
            doctor(),
            None,
        ),
        Kind::NoActivation => with(
            format!("{label} has no valid activation"),
            "No instance of it can register.",
            doctor(),
            Some(("#activations".to_owned(), "Activations")),
        ),
        Kind::ActivationEnds => {
            let ends = agency.and_then(|agency| agency.activation).map(|activation| activation.ends);
            let left = ends.map(|ends| rough(ends.unix_seconds() - summary.generated.unix_seconds()));
            with(
                format!("The activation of {label} ends in {} and was not renewed", left.unwrap_or_default()),
                "Then no instance of it can register. The log of activation-issuer says why it was not renewed.",
                doctor(),
                Some(("#activations".to_owned(), "Activations")),
            )
        }
        Kind::LimitNear | Kind::LimitAhead => {
            let full = summary
                .limit
                .full_at
                .map_or_else(String::new, |at| format!(" At the present pace it is full about {}.", day(at)));
            let title =
                format!("{} of {} nodes are in use", grouped(summary.limit.nodes), grouped(summary.limit.limit));
            let text = format!("At the limit no activation is issued.{full}");
            with(title, &text, Some("taghub status".to_owned()), Some(("#limit".to_owned(), "Limit")))
        }
        Kind::Conflict => with(
            format!("{nodes} of {label} {} named by two instances", verb(count, "is", "are")),
            "Nothing is written to such a node until the copy registers again or the original is terminated.",
            listed("--conflict"),
            filtered("look"),
        ),
        Kind::Refused => with(
            format!("Reports about {nodes} of {label} are refused, or calls fail"),
            "The reason stands beside each node.",
            Some(format!("taghub nodes --agency {account}")),
            filtered("look"),
        ),
        Kind::Offline => with(
            format!("{nodes} of {label} {} offline without a stopped instance", verb(count, "is", "are")),
            "More of its nodes are offline than instances are stopped: an agent or its network is down.",
            listed("--offline"),
            filtered("off"),
        ),
        Kind::PatchesFailed => with(
            format!("Patches failed on {nodes} of {label}"),
            "Patch Manager could not install them.",
            None,
            filtered("patch"),
        ),
        Kind::CriticalPatches => with(
            format!("Critical patches are missing on {nodes} of {label}"),
            "Install them with the next patch window, or sooner.",
            None,
            filtered("patch"),
        ),
        Kind::Unmanaged => with(
            format!("{} of {label} {} no node", counted(count, "running instance"), verb(count, "has", "have")),
            "They can be neither patched nor commanded.",
            Some(format!("taghub instances --agency {account} --unmanaged")),
            Some(("#unmanaged".to_owned(), "Show the instances")),
        ),
        Kind::Unlinked => with(
            format!("{} of {label} lost the tag managedinstanceid", counted(count, "instance")),
            "Their nodes keep their last tags.",
            listed("--unlinked"),
            filtered("tags"),
        ),
        Kind::LeftBehind => with(
            format!("Tags of {nodes} of {label} are left behind"),
            "They are not on the nodes, so nothing can be targeted by them.",
            None,
            filtered("tags"),
        ),
    }
}
