//! A fleet from facts and nodes to its files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::HashMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet::{
    ActivationFacts, AgencyFacts, Facts, Fleet, FleetBuilder, HubFacts, Kind, News, Node, PatchReading, Ping,
    RegionCoverage, Summary, csv, page,
};
use hub::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const NOW: &str = "2026-11-23T06:00:00Z";
const DAY: i64 = 24 * 60 * 60;

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(now().unix_seconds() - seconds)
}

fn node(index: usize, agency: &str, more: &[(&str, &str)]) -> Node {
    let mut tags: Vec<(String, String)> = vec![
        ("tag-hub:agency".to_owned(), agency.to_owned()),
        ("tag-hub:source".to_owned(), format!("{agency}/us-west-2/i-{index:017x}")),
    ];
    tags.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let tags: std::collections::BTreeMap<String, String> = tags.into_iter().collect();
    Node {
        id: format!("mi-{index:017x}").parse().unwrap(),
        name: tags.get("Name").cloned(),
        ping: Ping::Online,
        last_ping: Some(ago(60)),
        agent: "3.3.3050.0".to_owned(),
        platform: "Amazon Linux".to_owned(),
        tags,
    }
}

const PARKS: &str = "555555555555";
const WATER: &str = "777777777777";

fn facts() -> Facts {
    let agency = |account: &str, name: &str, last_report| AgencyFacts {
        account: account.parse().unwrap(),
        name: Some(name.to_owned()),
        last_report,
    };
    let coverage = r#"{"running":4,"stopped":1,"managed":3,"unmanaged":["i-0bbbbbbbbbbbbbbbb","i-00000000000000003"],"unmanagedOmitted":0}"#;
    Facts {
        generated: now(),
        hub: HubFacts {
            version: "0.2.0".to_owned(),
            account: "111111111111".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            node_limit: 1_000,
        },
        agencies: vec![agency(WATER, "Water", Some(ago(3 * 60 * 60))), agency(PARKS, "Parks", Some(ago(300)))],
        coverage: vec![
            RegionCoverage::of(&format!("/tag-hub/coverage/{PARKS}/us-west-2"), coverage, Some(ago(60))).unwrap(),
        ],
        activations: vec![ActivationFacts {
            account: PARKS.parse().unwrap(),
            ends: ago(-2 * DAY),
            registrations_left: 96,
            registration_limit: 100,
        }],
        unnamed: HashMap::new(),
        unread: Vec::new(),
    }
}

fn news(fields: &Value) -> Option<News> {
    News::of(ago(120), fields)
}

/// Five nodes of two agencies, and one of nobody.
fn small(facts: Facts, earlier: Option<Summary>) -> Fleet {
    let mut fleet = FleetBuilder::new(facts, earlier);
    let scanned = |missing, failed| {
        Some(PatchReading { missing, failed, critical: missing, pending_reboot: 0, scanned_at: Some(ago(DAY)) })
    };
    fleet.add(node(1, PARKS, &[("Name", "web-01"), ("Env", "PROD")]), None, scanned(0, 0));
    let dropped = news(&json!({"message": "tags left behind", "tags_dropped": 2, "reason": "character,limit"}));
    fleet.add(node(2, PARKS, &[("Env", "PROD")]), dropped.as_ref(), scanned(3, 0));
    fleet.add(node(3, PARKS, &[]), news(&json!({"message": "node unlinked"})).as_ref(), None);
    let conflict = news(&json!({"message": "node rejected", "reason": "conflict"}));
    fleet.add(Node { ping: Ping::Lost, ..node(4, PARKS, &[]) }, conflict.as_ref(), scanned(0, 1));
    fleet.add(node(5, WATER, &[]), None, scanned(0, 0));
    let stranger = Node { tags: std::collections::BTreeMap::new(), ..node(6, PARKS, &[]) };
    fleet.add(stranger, None, None);
    fleet.finish()
}

fn kinds(summary: &Summary) -> Vec<(Kind, Option<String>, usize)> {
    let of =
        |finding: &fleet::Finding| (finding.kind, finding.account.as_ref().map(ToString::to_string), finding.count);
    summary.findings.iter().map(of).collect()
}

#[test]
fn each_agency_stands_as_its_instances_and_nodes_do() {
    let summary = small(facts(), None).summary;
    let [parks, water] = summary.agencies.as_slice() else { panic!("{:?}", summary.agencies) };
    let figures = &parks.figures;
    assert_eq!((figures.running, figures.stopped, figures.managed, figures.unmanaged), (4, 1, 3, 2));
    assert_eq!((figures.nodes, figures.online, figures.offline), (4, 3, 1));
    assert_eq!((figures.in_step, figures.left_behind, figures.unlinked, figures.conflict), (1, 1, 1, 1));
    assert_eq!((figures.patched, figures.patches_missing, figures.patches_failed, figures.no_scan), (1, 1, 1, 1));
    assert!(!parks.silent && water.silent);
    assert_eq!((water.figures.no_report, water.figures.in_step), (1, 0), "a silent agency proves nothing");
    assert_eq!((summary.limit.nodes, summary.limit.others), (6, 1));
    assert_eq!((summary.total.nodes, summary.total.tags_dropped), (5, 2));
    let dropped: Vec<(&str, usize)> =
        summary.dropped_tags.iter().map(|dropped| (dropped.reason.as_str(), dropped.nodes)).collect();
    assert_eq!(dropped, [("character", 1), ("limit", 1)]);
    assert_eq!((&parks.dropped_tags, &water.dropped_tags), (&summary.dropped_tags, &Vec::new()));
    let lost = &parks.unmanaged_instances[1];
    assert_eq!(
        (lost.instance.as_str(), lost.node.as_ref().unwrap().as_str()),
        ("i-00000000000000003", "mi-00000000000000003")
    );

    let of = |kind, agency: &str, count| (kind, Some(agency.to_owned()), count);
    assert_eq!(
        kinds(&summary),
        [
            of(Kind::Silent, WATER, 1),
            of(Kind::NoActivation, WATER, 1),
            of(Kind::ActivationEnds, PARKS, 1),
            of(Kind::Conflict, PARKS, 1),
            of(Kind::PatchesFailed, PARKS, 1),
            of(Kind::CriticalPatches, PARKS, 1),
            of(Kind::Unmanaged, PARKS, 2),
            of(Kind::Unlinked, PARKS, 1),
            of(Kind::LeftBehind, PARKS, 1),
        ]
    );
    assert_eq!(summary.findings[0].since, Some(ago(3 * 60 * 60)));
}

#[test]
fn an_activation_that_is_used_up_registers_nobody() {
    let used_up = |mut facts: Facts| {
        facts.activations.iter_mut().for_each(|one| one.registrations_left = 0);
        facts
    };
    let fleet = small(used_up(facts()), None);
    let found = kinds(&fleet.summary);
    assert!(found.contains(&(Kind::NoActivation, Some(PARKS.to_owned()), 1)), "{found:?}");
    let page = page::render(&fleet).unwrap();
    assert!(page.contains("Used up") && !page.contains("Not renewed"));
}

#[test]
fn what_was_refused_is_found_by_what_the_page_offers() {
    let mut fleet = FleetBuilder::new(facts(), None);
    fleet.add(node(1, PARKS, &[]), news(&json!({"message": "node failed", "code": "X"})).as_ref(), None);
    let page = page::render(&fleet.finish()).unwrap();
    assert!(page.contains(&format!("<kbd>taghub nodes --agency {PARKS}</kbd>")), "doctor looks at no node");
}

#[test]
fn stopped_instances_without_a_node_explain_no_node_that_is_offline() {
    let of = |stopped: usize, managed: usize| {
        let mut facts = facts();
        let coverage =
            format!(r#"{{"running":3,"stopped":{stopped},"managed":{managed},"unmanaged":[],"unmanagedOmitted":0}}"#);
        let kept = RegionCoverage::of(&format!("/tag-hub/coverage/{PARKS}/us-west-2"), &coverage, None);
        facts.coverage = kept.into_iter().collect();
        kinds(&small(facts, None).summary).into_iter().find(|(kind, ..)| *kind == Kind::Offline)
    };
    assert_eq!(of(40, 3), Some((Kind::Offline, Some(PARKS.to_owned()), 1)), "the three that run have the nodes");
    assert_eq!(of(40, 4), None, "one of the stopped has one");
}

#[test]
fn a_report_continues_the_one_before() {
    let yesterday = Facts { generated: ago(DAY), ..facts() };
    let first = small(yesterday, None).summary;
    let text = serde_json::to_string(&first).unwrap();
    let read: Summary = serde_json::from_str(&text).unwrap();
    assert_eq!(read, first, "what is written is what is read");
    // Today nobody can say when Water last reported, and another instance has no node.
    let mut today = facts();
    today.agencies[0].last_report = None;
    today.coverage[0].coverage.unmanaged.push("i-0cccccccccccccccc".to_owned());
    let second = small(today, Some(read)).summary;
    assert_eq!(second.trend.len(), 2);
    let since = |kind| second.findings.iter().find(|finding| finding.kind == kind).and_then(|finding| finding.since);
    assert_eq!(since(Kind::Conflict), Some(ago(DAY)));
    assert_eq!(since(Kind::Silent), Some(ago(3 * 60 * 60)), "the last report is remembered");
    let unmanaged: Vec<Timestamp> = second.agencies[0].unmanaged_instances.iter().map(|one| one.since).collect();
    assert_eq!(unmanaged, [ago(DAY), ago(DAY), now()]);
    // The same day once more is the same point; a day of which something is not known is none.
    let again = small(facts(), Some(second.clone())).summary;
    assert_eq!(again.trend.len(), 2);
    let partly = Facts { unread: vec!["ssm:DescribeActivations failed".to_owned()], ..facts() };
    let partly = small(partly, Some(first)).summary;
    assert_eq!(partly.trend.len(), 1);
    assert!(!kinds(&partly).iter().any(|(kind, ..)| *kind == Kind::NoActivation), "what was not read is not missing");
}

#[test]
fn an_agency_whose_grant_is_gone_is_shown_while_it_has_nodes() {
    let mut ended = facts();
    ended.agencies.clear();
    ended.coverage[0].coverage.unmanaged.clear();
    let mut fleet = FleetBuilder::new(ended, None);
    fleet.add(node(1, PARKS, &[]), None, None);
    let summary = fleet.finish().summary;
    assert!(!summary.agencies[0].granted);
    assert_eq!(kinds(&summary), [], "nobody has to grant it again");
}

#[test]
fn the_nodes_of_another_hub_count_as_registered_another_way() {
    let mut fleet = FleetBuilder::new(facts(), None);
    fleet.add(node(1, PARKS, &[]), None, None);
    let foreign = Node { agent: "2.0.0.0".to_owned(), ..node(2, "999999999999", &[]) };
    fleet.add(foreign, None, None);
    let summary = fleet.finish().summary;
    assert_eq!(summary.agencies.len(), 2, "{:?}", summary.agencies);
    assert_eq!((summary.limit.nodes, summary.limit.others, summary.total.nodes), (2, 1, 1));
    let agents: Vec<&str> = summary.agents.iter().map(|agent| agent.version.as_str()).collect();
    assert_eq!(agents, ["3.3.3050.0"], "whose agents they are is not the hub's business");
}

#[test]
fn nodes_that_the_log_has_no_line_for_are_not_told_as_in_step() {
    let fleet = |count| {
        let unnamed = HashMap::from([(PARKS.parse().unwrap(), count), ("999999999999".parse().unwrap(), 5)]);
        let mut fleet = FleetBuilder::new(Facts { unnamed, ..facts() }, None);
        (1..=3).for_each(|index| fleet.add(node(index, PARKS, &[]), None, None));
        fleet.finish()
    };
    for (count, in_step) in [(0, 3), (2, 1), (200, 0)] {
        let fleet = fleet(count);
        let figures = fleet.summary.total;
        assert_eq!((figures.in_step, figures.no_report, fleet.summary.unnamed), (in_step, 3 - in_step, 3 - in_step));
        let page = page::render(&fleet).unwrap();
        assert_eq!(page.contains("that may not be in step count as without a report"), in_step < 3);
    }
}

#[test]
fn without_the_log_no_node_is_told_as_in_step() {
    let unread = vec!["logs:FilterLogEvents failed: AccessDeniedException".to_owned()];
    let fleet = small(Facts { unread, ..facts() }, None);
    let figures = fleet.summary.agencies[0].figures;
    assert_eq!((figures.in_step, figures.no_report), (0, 1));
    assert!(csv::render(&fleet).contains(",unread,"));
}

#[test]
fn a_node_whose_instance_is_gone_explains_no_other_that_is_offline() {
    let gone = ("tag-hub:terminated", "1795312800");
    let count = |ping: Ping| {
        let mut facts = facts();
        facts.coverage.clear();
        let mut fleet = FleetBuilder::new(facts, None);
        fleet.add(Node { ping, ..node(1, PARKS, &[gone]) }, None, None);
        fleet.add(Node { ping: Ping::Lost, ..node(2, PARKS, &[]) }, None, None);
        let found = kinds(&fleet.finish().summary).into_iter().find(|(kind, ..)| *kind == Kind::Offline);
        found.map_or(0, |(.., count)| count)
    };
    assert_eq!((count(Ping::Online), count(Ping::Lost)), (1, 1));
}

/// The columns of a page.
fn unpacked(page: &str) -> Value {
    let (_, rest) = page.split_once(r#"id="data">"#).unwrap();
    let packed = STANDARD.decode(rest.split_once('<').unwrap().0).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_page_holds_every_node_and_lets_only_its_own_script_act() {
    let page = page::render(&small(facts(), None)).unwrap();
    assert!(page.contains(" Nodes: Parks 1.</td>"), "an agency beside the reason for which it lost tags");
    let data = unpacked(&page);
    assert_eq!(data["node"].as_str().unwrap().len(), 6 * 17);
    for column in ["name", "agency", "ping", "tagging", "patching", "tagCount"] {
        assert_eq!(data[column].as_array().unwrap().len(), 6, "{column}");
    }
    assert_eq!(data["tags"], json!(["Env=PROD"]));
    assert!(!data["name"][0].as_str().unwrap().contains("web-01"), "what needs a look comes first");
    for (element, directive) in [("style", "style-src"), ("script", "script-src")] {
        let (_, rest) = page.split_once(&format!("<{element}>")).unwrap();
        let text = rest.split_once(&format!("</{element}>")).unwrap().0;
        let allowed = format!("{directive} 'sha256-{}';", STANDARD.encode(Sha256::digest(text)));
        assert!(page.contains(&allowed.replace('\'', "&#39;")) || page.contains(&allowed), "{allowed}");
    }
    assert!(page.contains("default-src 'none'") || page.contains("default-src &#39;none&#39;"));
    for loaded in ["src=\"http", "href=\"http", "url(http", "@import", "fetch(", "XMLHttpRequest", "style=\""] {
        assert!(!page.contains(loaded), "{loaded}");
    }
}

#[test]
fn what_agencies_write_stays_text() {
    let hostile = [
        "</script><script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "\" autofocus onfocus=alert(1) x=\"",
        "=HYPERLINK(\"http://x\")",
        "\u{2028}]]>-->",
    ];
    for text in hostile {
        let mut facts = facts();
        facts.agencies[1].name = Some(text.to_owned());
        facts.unread.push(text.to_owned());
        let mut fleet = FleetBuilder::new(facts, None);
        let dropped = news(&json!({"message": "tags left behind", "tags_dropped": 1, "reason": text}));
        let agent = Node { agent: text.to_owned(), ..node(1, PARKS, &[("Name", text), ("Env", text)]) };
        fleet.add(agent, dropped.as_ref(), None);
        let fleet = fleet.finish();
        let page = page::render(&fleet).unwrap();
        assert_eq!(page.matches("<script").count(), 2, "{text}");
        assert!(!page.contains("<img") && !page.contains("\" autofocus"), "{text}");
        assert_eq!(unpacked(&page)["name"], json!([text]));
        let csv = csv::render(&fleet);
        assert!(!csv.contains(",=") && !csv.contains("\"="), "{csv}");
    }
}

#[test]
fn a_table_has_a_row_for_each_node() {
    let csv = csv::render(&small(facts(), None));
    let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 7);
    let columns = lines[0].split(',').count();
    let web = lines.iter().find(|line| line.contains("web-01")).unwrap();
    assert_eq!(web.split(',').count(), columns);
    assert!(web.starts_with("mi-00000000000000001,web-01,Parks,555555555555,us-west-2,i-00000000000000001,"), "{web}");
}

#[test]
fn an_empty_hub_has_a_page() {
    let empty = Facts { agencies: Vec::new(), coverage: Vec::new(), activations: Vec::new(), ..facts() };
    let fleet = FleetBuilder::new(empty, None).finish();
    assert_eq!(fleet.summary.findings, []);
    let page = page::render(&fleet).unwrap();
    assert!(page.contains("Nothing needs a look"), "{page}");
    assert_eq!(unpacked(&page)["name"], json!([]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever the nodes are: each is in one state of every kind, and the sums are those of the agencies.
    #[test]
    fn every_node_counts_once(nodes in prop::collection::vec((0_usize..4, 0_usize..6, 0_usize..5, any::<bool>()), 0..40)) {
        let mut fleet = FleetBuilder::new(facts(), None);
        let mut owned = 0;
        for (index, (agency, tagging, patching, online)) in nodes.iter().enumerate() {
            let accounts = [PARKS, WATER, "999999999999"];
            let mut node = node(index, accounts.get(*agency).copied().unwrap_or(PARKS), &[]);
            if *agency == 3 { node.tags.clear() }
            owned += usize::from(*agency < 2);
            if !online { node.ping = Ping::Lost }
            let fields = [
                json!({"message": "node updated"}),
                json!({"message": "tags left behind", "tags_dropped": 1, "reason": "limit"}),
                json!({"message": "node rejected", "reason": "conflict"}),
                json!({"message": "node failed", "code": "X"}),
                json!({"message": "node superseded"}),
            ];
            let reading = PatchReading {
                missing: u32::from(*patching == 1), failed: u32::from(*patching == 2),
                pending_reboot: u32::from(*patching == 3), critical: 0, scanned_at: Some(ago(60)),
            };
            fleet.add(node, fields.get(*tagging).and_then(news).as_ref(), (*patching < 4).then_some(reading));
        }
        let fleet = fleet.finish();
        let total = &fleet.summary.total;
        prop_assert_eq!(total.nodes, owned);
        prop_assert_eq!(fleet.summary.limit.nodes, nodes.len());
        prop_assert_eq!(total.online + total.offline, owned);
        let tagging = total.in_step + total.left_behind + total.conflict + total.unlinked + total.refused + total.no_report + total.gone;
        prop_assert_eq!(tagging, owned);
        let patching = total.patched + total.patches_missing + total.patches_failed + total.reboot_pending + total.no_scan;
        prop_assert_eq!(patching, owned);
        let by_agency: usize = fleet.summary.agencies.iter().map(|agency| agency.figures.nodes).sum();
        prop_assert_eq!(by_agency, owned);
        prop_assert!(page::render(&fleet).is_ok());
        prop_assert_eq!(csv::render(&fleet).matches("\r\n").count(), nodes.len() + 1);
    }
}
