//! A fleet that is made up, of any size: for the fleet page in a browser, its pictures, and its figures in the bench.

use std::collections::{BTreeMap, HashMap};

use fleet::{
    ActivationFacts, AgencyFacts, Facts, Fleet, FleetBuilder, HubFacts, News, Node, PatchReading, Ping, RegionCoverage,
    Summary,
};
use hub::{Coverage, Timestamp};
use serde_json::json;

const NAMES: [&str; 6] = ["Transportation", "Revenue", "Public Health", "Parks", "Libraries", "Water"];
const ROLES: [&str; 6] = ["web", "api", "db", "batch", "gis", "kiosk"];
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// Days of reports before the last one.
const DAYS: i64 = 40;
const NODES_PER_AGENCY_DOWN: usize = 17;

/// The fleet of `agencies` agencies and `nodes` nodes at a time, with a trend of some weeks.
pub fn fleet(agencies: usize, nodes: usize, now: Timestamp) -> anyhow::Result<Fleet> {
    let mut earlier: Option<Summary> = None;
    for day in (1..=DAYS).rev().filter(|_| nodes <= 1_000) {
        let then = Timestamp::from_unix_seconds(now.unix_seconds() - day * DAY_SECONDS);
        let fewer = nodes - nodes * usize::try_from(day)? / 200;
        earlier = Some(report(agencies, fewer, then, earlier)?.summary);
    }
    report(agencies, nodes, now, earlier)
}

/// A fleet of one agency whose names and tags are these texts, one node each.
pub fn hostile(texts: &[&str]) -> anyhow::Result<Fleet> {
    let now = "2026-11-23T06:00:00Z".parse()?;
    let mut facts = facts(1, texts.len(), now)?;
    facts.agencies[0].name = Some("<b onclick=alert(1)>agency</b>".to_owned());
    let mut builder = FleetBuilder::new(facts, None);
    for (index, text) in texts.iter().enumerate() {
        let mut node = node(index, 1, now)?;
        node.name = Some((*text).to_owned());
        node.tags.insert("Owner".to_owned(), (*text).to_owned());
        builder.add(node, None, None);
    }
    Ok(builder.finish())
}

fn report(agencies: usize, nodes: usize, now: Timestamp, earlier: Option<Summary>) -> anyhow::Result<Fleet> {
    let mut builder = FleetBuilder::new(facts(agencies, nodes, now)?, earlier);
    for index in 0..nodes {
        let news = news(index, now);
        builder.add(node(index, agencies, now)?, news.as_ref(), patches(index, now));
    }
    Ok(builder.finish())
}

fn account(index: usize) -> String {
    format!("{:012}", 222_222_222_222_u64 + 111_111_111 * u64::try_from(index).unwrap_or_default())
}

fn ago(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(now.unix_seconds() - seconds)
}

fn facts(agencies: usize, nodes: usize, now: Timestamp) -> anyhow::Result<Facts> {
    let mut facts = Facts {
        generated: now,
        hub: HubFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            account: "111111111111".parse()?,
            region: "us-east-1".parse()?,
            node_limit: if nodes <= 1_000 { 100 } else { 120_000 },
        },
        agencies: Vec::new(),
        coverage: Vec::new(),
        activations: Vec::new(),
        unnamed: HashMap::new(),
        unread: Vec::new(),
    };
    for index in 0..agencies {
        let name = NAMES.get(index).map_or_else(|| format!("Agency {index}"), |name| (*name).to_owned());
        let account = account(index);
        // One in five is silent, and one in six has an activation that ends soon.
        let silence = if index % 5 == 4 { 28_000 } else { 300 };
        facts.agencies.push(AgencyFacts {
            account: account.parse()?,
            name: Some(name),
            last_report: Some(ago(now, silence)),
        });
        let managed = nodes / agencies + usize::from(index < nodes % agencies);
        let unmanaged: Vec<String> = (0..index % 4).map(|at| format!("i-0{index:08x}{at:08x}")).collect();
        let coverage = Coverage {
            running: managed - managed / NODES_PER_AGENCY_DOWN + unmanaged.len(),
            stopped: managed / NODES_PER_AGENCY_DOWN,
            managed,
            unmanaged,
            unmanaged_omitted: 0,
        };
        let region = "us-east-1".parse()?;
        facts.coverage.push(RegionCoverage { account: account.parse()?, region, coverage, changed_at: Some(now) });
        let left = if index % 6 == 3 { 2 } else { 20 + i64::try_from(index % 9)? };
        facts.activations.push(ActivationFacts {
            account: account.parse()?,
            ends: ago(now, -left * DAY_SECONDS),
            registrations_left: 96 - index % 40,
            registration_limit: 100,
        });
    }
    Ok(facts)
}

/// A number that looks drawn by lot, and is always the same.
fn lot(index: usize, salt: u64) -> u64 {
    let mut value = u64::try_from(index).unwrap_or_default().wrapping_add(salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value ^= value >> 29;
    value.wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (value >> 32)
}

/// The name of a node.
fn name(index: usize) -> String {
    format!("{}-{:02}", ROLES[index % ROLES.len()], index / ROLES.len() + 1)
}

fn node(index: usize, agencies: usize, now: Timestamp) -> anyhow::Result<Node> {
    let account = account(index % agencies);
    let instance = format!("i-0{:016x}", lot(index, 7));
    let mut tags = BTreeMap::from([
        ("tag-hub:agency".to_owned(), account.clone()),
        ("tag-hub:source".to_owned(), format!("{account}/us-east-1/{instance}")),
    ]);
    for (key, value) in [
        ("Name", name(index)),
        ("Env", if index.is_multiple_of(3) { "TEST" } else { "PROD" }.to_owned()),
        ("Role", ROLES[index % ROLES.len()].to_owned()),
        ("Patch Group", format!("weekly-{}", index % 7)),
        ("CostCenter", format!("{}", 4_000 + index % 100)),
        ("Contact", format!("team-{}@agency.example", index % 50)),
    ] {
        tags.insert(key.to_owned(), value);
    }
    let is_down = index % NODES_PER_AGENCY_DOWN == 5;
    Ok(Node {
        id: format!("mi-0{:016x}", lot(index, 3)).parse()?,
        name: tags.get("Name").cloned(),
        ping: if is_down { Ping::Lost } else { Ping::Online },
        last_ping: Some(ago(now, if is_down { 90_000 } else { 120 })),
        agent: ["3.3.3050.0", "3.3.3050.0", "3.3.3050.0", "3.3.2299.0", "3.2.1705.0"][index % 5].to_owned(),
        platform: ["Amazon Linux", "Red Hat Enterprise Linux", "Microsoft Windows Server 2022"][index % 3].to_owned(),
        tags,
    })
}

fn news(index: usize, now: Timestamp) -> Option<News> {
    let fields = match index % 19 {
        4 => json!({"message": "tags left behind", "tags_dropped": 2, "reason": "character"}),
        11 => json!({"message": "tags left behind", "tags_dropped": 1, "reason": "limit"}),
        13 => json!({"message": "node unlinked"}),
        17 => json!({"message": "node rejected", "reason": "conflict"}),
        _ => return None,
    };
    News::of(ago(now, 200), &fields)
}

fn patches(index: usize, now: Timestamp) -> Option<PatchReading> {
    if index % 13 == 7 {
        return None;
    }
    let count = |is_so: bool, count: u32| if is_so { count } else { 0 };
    Some(PatchReading {
        missing: count(index % 5 == 2, 9),
        failed: count(index % 23 == 3, 1),
        critical: count(index % 10 == 2, 4),
        pending_reboot: count(index % 8 == 1, 1),
        scanned_at: Some(ago(now, 30_000)),
    })
}
