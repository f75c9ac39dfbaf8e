//! The sections of the page.

use hub::Timestamp;
use maud::{Markup, html};

use super::chart;
use super::symbol::{Look, bar, pill};
use crate::summary::{AgencySummary, Figures, Point, Summary};
use crate::words::{counted, day, grouped, percent, rough};

/// Reports that the small charts look back over.
const REPORTS: usize = 30;
/// Rows of the tables that are not about all agencies or nodes.
const ROWS: usize = 50;
/// Agencies that are named beside a reason for which tags were left behind.
const AGENCIES_NAMED: usize = 3;
/// An activation that ends within so many days is marked.
const ENDS_SOON_SECONDS: i64 = 3 * 24 * 60 * 60;

/// What each number shows: its name, the figures now, and the same of a day.
type Share = (&'static str, fn(&Figures) -> (usize, usize), fn(&Point) -> (usize, usize), &'static str);

const SHARES: [Share; 4] = [
    (
        "Managed",
        |now| (now.managed, now.running.saturating_add(now.stopped)),
        |day| (day.managed, day.instances),
        "instance",
    ),
    ("Online", |now| (now.online, now.nodes), |day| (day.online, day.nodes), "node"),
    ("In step", |now| (now.in_step, now.nodes), |day| (day.in_step, day.nodes), "node"),
    ("Patched", |now| (now.patched, now.nodes), |day| (day.patched, day.nodes), "node"),
];

/// What could not be read, before everything else.
pub(super) fn unread(summary: &Summary) -> Markup {
    html! {
        @if !summary.unread.is_empty() {
            section role="alert" {
                h2 { (pill(Look::Bad, "Not everything could be read")) }
                ul .unread { @for unread in &summary.unread { li { (unread) } } }
                p .note { "What depends on it is missing or too good here. This report is no part of the trend." }
            }
        }
    }
}

/// Four numbers.
pub(super) fn numbers(summary: &Summary) -> Markup {
    let recent = recent(summary);
    html! {
        section .bare {
            h2 .vh { "Four numbers" }
            ul .nums {
                @for (name, now, then, noun) in SHARES {
                    @let (part, whole) = now(&summary.total);
                    li .num {
                        h3 { (name) }
                        p .big { @if whole == 0 { "–" } @else { (percent(part, whole)) small { "%" } } }
                        (chart::spark(&chart::shares(recent, then)))
                        p .of { b { (grouped(part)) } " of " (counted(whole, noun)) }
                        p .delta { (delta(recent, then)) }
                    }
                }
            }
        }
    }
}

/// How a share went over the last reports.
fn delta(recent: &[Point], of: fn(&Point) -> (usize, usize)) -> String {
    let (Some(first), Some(last)) = (recent.first(), recent.last()) else { return "no trend yet".to_owned() };
    let days = last.day() - first.day();
    if days == 0 {
        return "no trend yet".to_owned();
    }
    let share = |point: &Point| {
        let (part, whole) = of(point);
        i64::try_from(percent(part, whole)).unwrap_or_default()
    };
    let days = counted(usize::try_from(days).unwrap_or_default(), "day");
    match share(last) - share(first) {
        0 => format!("no change in {days}"),
        change if change > 0 => format!("+{change} points in {days}"),
        change => format!("−{} points in {days}", change.abs()),
    }
}

fn recent(summary: &Summary) -> &[Point] {
    &summary.trend[summary.trend.len().saturating_sub(REPORTS)..]
}

/// Coverage over the last reports.
pub(super) fn coverage(summary: &Summary) -> Markup {
    let recent = recent(summary);
    html! {
        section {
            h2 { "Coverage, last " (counted(recent.len(), "report")) }
            @if recent.len() > 1 {
                (chart::coverage(recent))
                details {
                    summary { "Figures" }
                    table .mini {
                        caption .vh { "Instances, managed instances and nodes by day" }
                        thead { tr {
                            th scope="col" { "Report of" }
                            @for name in ["Instances", "Managed", "Nodes", "Online", "In step", "Patched"] {
                                th .r scope="col" { (name) }
                            }
                        } }
                        tbody { @for point in recent { tr {
                            th scope="row" { (day(point.at)) }
                            @for count in [point.instances, point.managed, point.nodes, point.online, point.in_step, point.patched] {
                                td .r { (grouped(count)) }
                            }
                        } } }
                    }
                }
            } @else {
                p .m { "The trend begins with the second day." }
            }
        }
    }
}

/// Tags that did not reach their nodes, by reason.
pub(super) fn dropped_tags(summary: &Summary) -> Markup {
    let what_to_do = |reason: &str| match reason {
        "character" => "Systems Manager does not take a character. Change the tag, or set invalidCharacters.",
        "limit" => "More tags than maxTags. Order include by importance.",
        "node-full" => "The node has 50 tags. Remove some.",
        "collision" => "It looks the same as another key. Rename the tag.",
        "length" => "Key or value is too long. Shorten it.",
        "operator-owned" => "An operator's tag stands under the key, and overwrite is false.",
        "refused" => "Systems Manager refuses it. The manager's log has more.",
        _ => "See taghub explain for a node.",
    };
    html! {
        section {
            h2 { "Tags left behind" }
            @if summary.dropped_tags.is_empty() {
                p { (pill(Look::Good, "None in the last hour")) }
            } @else {
                p .lead { b { (counted(summary.total.tags_dropped, "tag")) } " in the last hour, without reserved ones" }
                table .mini.wrap {
                    thead { tr {
                        th scope="col" { "Reason" } th .r scope="col" { "Nodes" } th scope="col" { "What to do" }
                    } }
                    tbody { @for dropped in &summary.dropped_tags { tr {
                        th scope="row" { (dropped.reason) }
                        td .r { (grouped(dropped.nodes)) }
                        td .m { (what_to_do(&dropped.reason)) " Nodes: " (agencies_of(summary, &dropped.reason)) "." }
                    } } }
                }
            }
        }
    }
}

/// The agencies with most nodes that lost tags for a reason.
fn agencies_of(summary: &Summary, reason: &str) -> String {
    let with_it =
        |agency: &'_ AgencySummary| agency.dropped_tags.iter().find(|one| one.reason == reason).map(|one| one.nodes);
    let mut all: Vec<(&str, usize)> =
        summary.agencies.iter().filter_map(|agency| Some((agency.label(), with_it(agency)?))).collect();
    all.sort_by_key(|(_, nodes)| std::cmp::Reverse(*nodes));
    let mut words: Vec<String> =
        all.iter().take(AGENCIES_NAMED).map(|(label, nodes)| format!("{label} {}", grouped(*nodes))).collect();
    if let more @ 1.. = all.len().saturating_sub(AGENCIES_NAMED) {
        words.push(format!("{more} more"));
    }
    words.join(", ")
}

/// The agents by version.
pub(super) fn agents(summary: &Summary) -> Markup {
    let nodes: usize = summary.agents.iter().map(|agent| agent.nodes).sum();
    html! {
        section {
            h2 { "SSM Agent" }
            table .mini {
                thead .vh { tr { th scope="col" { "Version" } th scope="col" { "Share" } th scope="col" { "Nodes" } } }
                tbody { @for agent in summary.agents.iter().take(ROWS / 5) { tr {
                    th scope="row" { code { @if agent.version.is_empty() { "unknown" } @else { (agent.version) } } }
                    td .w { (bar(&[("f-ok", agent.nodes), ("f-left", nodes - agent.nodes)], nodes)) }
                    td .r { (grouped(agent.nodes)) }
                } } }
            }
            @if summary.agents.len() > ROWS / 5 {
                p .note { (counted(summary.agents.len() - ROWS / 5, "more version")) " in " code { "fleet.json" } "." }
            }
            @if summary.agents.len() > 1 { p .note { "The document " code { "AWS-UpdateSSMAgent" } " updates agents." } }
        }
    }
}

/// All agencies; the script sorts them.
pub(super) fn agencies(summary: &Summary) -> Markup {
    let columns = ["Online", "In step", "Patched"];
    html! {
        section id="agencies" {
            h2 { "Agencies" }
            table .ag.sortable role="table" {
                caption .vh { "Agencies. The buttons in the header sort." }
                thead role="rowgroup" { tr role="row" {
                    th scope="col" role="columnheader" { "Agency" }
                    th scope="col" role="columnheader" { "Instances managed" }
                    @for name in columns { th .r scope="col" role="columnheader" { (name) } }
                    th scope="col" role="columnheader" { "Last report" }
                } }
                tbody role="rowgroup" { @for agency in &summary.agencies { (agency_row(summary, agency)) } }
            }
            @if summary.unnamed > 0 {
                p .note {
                    (counted(summary.unnamed, "node")) " that may not be in step count as without a report: the manager's log \
                    names 100 nodes of a report, and more had news."
                }
            }
        }
    }
}

fn agency_row(summary: &Summary, agency: &AgencySummary) -> Markup {
    let figures = &agency.figures;
    let instances = agency.instances();
    let shares = [("Online", figures.online), ("In step", figures.in_step), ("Patched", figures.patched)];
    let silence = agency.last_report.map(|at| summary.generated.unix_seconds() - at.unix_seconds());
    html! {
        tr role="row" {
            th scope="row" role="rowheader" data-v=(agency.label()) {
                a href={ "#q=" (agency.account) } { (agency.label()) }
                // Without a name the account is there already.
                span class=(if agency.name.is_some() { "id" } else { "id vh" }) { (agency.account) }
            }
            td role="cell" data-v=(percent(figures.managed, instances)) {
                @if agency.coverage_changed.is_none() && instances == 0 {
                    span .cov { "not known" }
                } @else {
                    (bar(&[("f-ok", figures.managed), ("f-no", instances.saturating_sub(figures.managed))], instances))
                    span .cov { b { (grouped(figures.managed)) } " of " (grouped(instances)) }
                }
            }
            @for (name, count) in shares {
                td class=(if count == figures.nodes { "r full" } else { "r" }) role="cell" data-l=(name) data-v=(percent(count, figures.nodes)) {
                    b { (grouped(count)) } " of " (grouped(figures.nodes))
                }
            }
            td role="cell" data-l="Last report" data-v=(silence.unwrap_or(i64::MAX)) { (last_report(agency, silence)) }
        }
    }
}

fn last_report(agency: &AgencySummary, silence: Option<i64>) -> Markup {
    match silence {
        _ if !agency.granted => pill(Look::Idle, "No grant"),
        None => pill(Look::Watch, "Never"),
        Some(silence) if agency.silent => pill(Look::Bad, &format!("Silent for {}", rough(silence))),
        Some(silence) => pill(Look::Good, &format!("{} ago", rough(silence))),
    }
}

/// Instances without a node.
pub(super) fn unmanaged(summary: &Summary) -> Markup {
    let all =
        summary.agencies.iter().flat_map(|agency| agency.unmanaged_instances.iter().map(move |one| (agency, one)));
    let shown: Vec<_> = all.take(ROWS).collect();
    let count = summary.total.unmanaged;
    html! {
        section id="unmanaged" {
            h2 { (counted(count, "running instance")) " without a node" }
            @if shown.is_empty() {
                p { (pill(Look::Good, "Every instance that is known has one")) }
            } @else {
                table .mini.un {
                    thead { tr {
                        th scope="col" { "Instance" } th scope="col" { "Agency" } th scope="col" { "What is known" }
                        th .r scope="col" { "Since" }
                    } }
                    tbody { @for (agency, one) in &shown { tr {
                        th scope="row" { code { (one.instance) } }
                        td { (agency.label()) span .m { " · " (one.region) } }
                        td {
                            @if let Some(node) = &one.node { "Lost its tag; was " code { (node) } } @else { "Not registered" }
                        }
                        td .r.nw { (day(one.since)) }
                    } } }
                }
                @if count > shown.len() {
                    p .note { (counted(count - shown.len(), "more")) ": " code { "taghub instances --unmanaged" } " lists them." }
                }
            }
        }
    }
}

/// Activations, those first that end first.
pub(super) fn activations(summary: &Summary) -> Markup {
    let mut granted: Vec<&AgencySummary> = summary.agencies.iter().filter(|agency| agency.granted).collect();
    granted.sort_by_key(|agency| agency.activation.map(|activation| activation.ends));
    let now = summary.generated.unix_seconds();
    html! {
        section id="activations" {
            h2 { "Activations" }
            table .mini.acts {
                thead { tr {
                    th scope="col" { "Agency" } th scope="col" { "State" } th scope="col" { "Ends" }
                    th .r.in scope="col" { "In" } th .r scope="col" { "Registrations left" }
                } }
                tbody { @for agency in granted.iter().take(ROWS) { tr {
                    th scope="row" { (agency.label()) }
                    @match agency.activation {
                        Some(one) => {
                            @let left = one.ends.unix_seconds() - now;
                            td { @if one.registrations_left == 0 { (pill(Look::Bad, "Used up")) } @else if left > ENDS_SOON_SECONDS { (pill(Look::Good, "Live")) } @else { (pill(Look::Bad, "Not renewed")) } }
                            td { (day(one.ends)) }
                            td .r.in { (rough(left)) }
                            td .r { (grouped(one.registrations_left)) span .m { " of " (grouped(one.registration_limit)) } }
                        }
                        None => { td { (pill(Look::Bad, "None")) } td { "–" } td .r.in { "–" } td .r { "–" } }
                    }
                } } }
            }
            @if granted.len() > ROWS { p .note { (counted(granted.len() - ROWS, "more")) " end later." } }
        }
    }
}

/// Patch states by agency, those first with most that are not patched.
pub(super) fn patches(summary: &Summary) -> Markup {
    let mut agencies: Vec<&AgencySummary> = summary.agencies.iter().filter(|agency| agency.figures.nodes > 0).collect();
    agencies.sort_by_key(|agency| {
        let figures = &agency.figures;
        std::cmp::Reverse((figures.patches_failed, figures.patches_missing, figures.nodes - figures.patched))
    });
    let parts = |figures: &Figures| {
        [
            ("f-good", figures.patched),
            ("f-reboot", figures.reboot_pending),
            ("f-missing", figures.patches_missing),
            ("f-failed", figures.patches_failed),
            ("f-un", figures.no_scan),
        ]
    };
    let names = ["None missing", "Reboot pending", "Missing", "Failed", "No scan"];
    let row = |label: &str, figures: &Figures, oldest: Option<Timestamp>, class: &str| {
        html! {
            tr class=(class) {
                th scope="row" { (label) }
                td .w { (bar(&parts(figures), figures.nodes)) }
                @for (_, count) in parts(figures) { td class=(if count == 0 { "r z" } else { "r" }) { (grouped(count)) } }
                td .r.nw.in { @match oldest { Some(at) => (day(at)), None => "–" } }
            }
        }
    };
    let oldest = summary.agencies.iter().filter_map(|agency| agency.oldest_scan).min();
    html! {
        section id="patches" {
            h2 { "Patch state" }
            table .mini.pt {
                thead { tr {
                    th scope="col" { "Agency" } th .w scope="col" { span .vh { "Share" } }
                    @for ((class, _), name) in parts(&summary.total).iter().zip(names) {
                        th .r scope="col" { i class={ "k " (class) } {} (name) }
                    }
                    th .r.in scope="col" { "Oldest scan" }
                } }
                tbody {
                    @for agency in agencies.iter().take(ROWS) { (row(agency.label(), &agency.figures, agency.oldest_scan, "")) }
                    @if agencies.len() > 1 { (row("All agencies", &summary.total, oldest, "sum")) }
                }
            }
            p .note {
                "Nodes, by the last scan or installation in Patch Manager. No scan: none in the last 7 days."
                @if agencies.len() > ROWS { " " (counted(agencies.len() - ROWS, "more")) " in " code { "fleet.json" } "." }
            }
        }
    }
}

/// Nodes against what the account may have.
pub(super) fn limit(summary: &Summary) -> Markup {
    let limit = &summary.limit;
    let (own, free) = (limit.nodes - limit.others, limit.limit.saturating_sub(limit.nodes));
    let never = if limit.per_thousand_days.is_some() { "not at this pace" } else { "known after a week of reports" };
    let about = |at: Option<Timestamp>| at.map_or_else(|| never.to_owned(), |at| format!("about {}", day(at)));
    let pace = limit.per_thousand_days.map_or_else(
        || "known after a week of reports".to_owned(),
        |pace| format!("{}{} nodes a week", if pace < 0 { "−" } else { "+" }, tenths((pace * 7 / 100).unsigned_abs())),
    );
    html! {
        section id="limit" {
            h2 { "Nodes against the limit" }
            .lim {
                div {
                    p .lead { b .mid { (grouped(limit.nodes)) } " of " (grouped(limit.limit)) " hybrid nodes in this account and Region" }
                    (bar(&[("f-ok", own), ("f-other", limit.others), ("f-left", free)], limit.limit.max(limit.nodes)))
                    ul .key {
                        li { i .k.f-ok {} b { (grouped(own)) } " of agencies" }
                        li { i .k.f-other {} b { (grouped(limit.others)) } " registered another way" }
                        li { i .k.f-left {} b { (grouped(free)) } " free" }
                    }
                    dl .facts {
                        div { dt { "Pace" } dd { (pace) } }
                        div { dt { "95% alarm" } dd { (about(limit.near_at)) } }
                        div { dt { "Limit" } dd { (about(limit.full_at)) } }
                    }
                    p .note {
                        "At the limit no activation is issued. More than 1,000 hybrid nodes need the advanced tier, and AWS then \
                         charges for each of them. The forecast is a straight line through the last 90 days."
                    }
                }
                (chart::limit(summary))
            }
        }
    }
}

/// A number of tenths: `14` is 1.4.
fn tenths(number: u64) -> String {
    format!("{}.{}", number / 10, number % 10)
}

/// The table of nodes, which the script fills.
pub(super) fn nodes() -> Markup {
    html! {
        section id="nodes" tabindex="-1" {
            h2 { "Nodes" }
            form .tools.np id="tools" role="search" aria-label="Nodes" hidden {
                label .find {
                    span .vh { "Search the nodes" }
                    input type="search" id="q" autocomplete="off" spellcheck="false" placeholder="Name, id, agency, or a tag such as Env=PROD";
                }
                .chips role="group" aria-label="Show" id="chips" {}
                button type="button" id="csv" { "Save as CSV" }
            }
            p .count id="count" role="status" {}
            table .nodes role="table" {
                caption .vh { "Nodes. The buttons in the header sort." }
                thead role="rowgroup" { tr role="row" id="heads" { th scope="col" role="columnheader" { span .vh { "Nodes" } } } }
                tbody role="rowgroup" id="rows" {
                    tr role="row" { td role="cell" { "This table needs JavaScript. fleet.csv has the same rows." } }
                }
            }
            p .more.np { button type="button" id="more" hidden { "Show 200 more" } }
        }
    }
}

/// What the words mean.
pub(super) fn footer() -> Markup {
    let words = [
        ("Managed", "An instance, running or stopped, that names a node of the central account."),
        (
            "Online",
            "The agent on the node answers Systems Manager. A stopped instance has an offline node, which is expected.",
        ),
        (
            "In step",
            "The agency reported within an hour, and the node carries what the policy makes of the instance's tags.",
        ),
        ("Patched", "Scanned within 7 days, with no patch missing, failed or waiting for a reboot."),
        ("Conflict", "Two instances name the node. Nothing is written to it."),
        ("Unlinked", "The instance lost its tag managedinstanceid. The node keeps its tags."),
        ("No report", "The agency is silent, so nobody knows whether the tags are right."),
        ("Instance gone", "The instance was terminated. Retirement removes the node after its grace period."),
    ];
    html! {
        footer {
            h2 { "What the words mean" }
            dl { @for (word, meaning) in words { div { dt { (word) } dd { (meaning) } } } }
        }
    }
}
