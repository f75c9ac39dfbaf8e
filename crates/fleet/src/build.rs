//! From facts and nodes to a fleet.

use std::collections::{BTreeMap, HashMap, HashSet};

use hub::{AccountId, Ec2InstanceId, ManagedInstanceId, Timestamp, is_reserved};
use ssm_tag_manager::plan::{LastApplied, Source};

use crate::facts::{AgencyFacts, Facts};
use crate::finding::{Finding, Kind};
use crate::news::News;
use crate::node::{Node, Ping, SILENT_AFTER_SECONDS, Tagging, owner};
use crate::patch::{PatchReading, Patching};
use crate::pool::Pool;
use crate::summary::{
    Activation, AgencySummary, AgentVersion, DroppedTags, FLEET_SCHEMA, Figures, Limit, Point, Summary, Unmanaged,
};
use crate::trend;

/// Instances without a node that are named for each agency.
const UNMANAGED_NAMED: usize = 150;
/// An activation that ends within so many days needs somebody, because it should have been renewed by then.
const ENDS_SOON_SECONDS: i64 = 3 * 24 * 60 * 60;
/// The shares of the limit at which somebody should look, in percent.
const NEAR_PERCENT: usize = 95;
const AHEAD_PERCENT: usize = 80;

/// A fleet, from which a report is made.
#[derive(Debug)]
pub struct Fleet {
    /// All but the nodes.
    pub summary: Summary,
    pub(crate) rows: Vec<Row>,
    pub(crate) words: Words,
}

/// Words that nodes share.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub(crate) regions: Pool,
    pub(crate) platforms: Pool,
    pub(crate) agents: Pool,
    pub(crate) reasons: Pool,
    /// `Key=value`.
    pub(crate) tags: Pool,
}

/// A node.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: ManagedInstanceId,
    pub(crate) name: Option<Box<str>>,
    pub(crate) instance: Option<Ec2InstanceId>,
    /// Which of the agencies it belongs to; none for a node that was registered another way.
    pub(crate) agency: Option<usize>,
    pub(crate) region: u32,
    pub(crate) platform: u32,
    pub(crate) agent: u32,
    pub(crate) ping: Ping,
    pub(crate) last_ping: Option<Timestamp>,
    pub(crate) tagging: Tagging,
    pub(crate) left_behind: usize,
    pub(crate) reasons: u32,
    pub(crate) changed: Option<Timestamp>,
    pub(crate) patching: Patching,
    pub(crate) patches: PatchReading,
    pub(crate) tags: Box<[u32]>,
}

impl Row {
    /// How much it needs a look. A node that belongs to no agency is none of the hub's.
    fn rank(&self) -> u8 {
        if self.agency.is_none() {
            return 0;
        }
        let ping = u8::from(self.ping != Ping::Online) * 2;
        let tagging = match self.tagging {
            Tagging::Conflict | Tagging::Rejected(_) | Tagging::Failed(_) => 4,
            Tagging::Unlinked | Tagging::NotReported | Tagging::Superseded | Tagging::NoOwner => 2,
            Tagging::InstanceGone | Tagging::Deferred | Tagging::Unread => 1,
            Tagging::InStep | Tagging::LeftBehind(_) => 0,
        };
        let patching = match self.patching {
            Patching::Failed => 3,
            Patching::Missing | Patching::RebootPending => 2,
            Patching::NoScan => 1,
            Patching::Patched => 0,
        };
        ping.max(tagging).max(patching) * 10
            + if self.patches.critical > 0 { 5 } else { 0 }
            + u8::from(self.left_behind > 0)
    }
}

/// Takes in nodes one by one.
#[derive(Debug)]
pub struct FleetBuilder {
    facts: Facts,
    earlier: Option<Summary>,
    agencies: Vec<AgencySummary>,
    by_account: HashMap<AccountId, usize>,
    /// The accounts of which this hub knows something, also such whose grant is gone. Another hub's nodes carry the same tag.
    known: HashSet<AccountId>,
    others: usize,
    agents: BTreeMap<String, usize>,
    rows: Vec<Row>,
    words: Words,
}

impl FleetBuilder {
    /// Begins a fleet. `earlier` is the summary of the report before.
    pub fn new(facts: Facts, earlier: Option<Summary>) -> Self {
        let granted = facts.agencies.iter().map(|agency| &agency.account);
        let known = granted.chain(facts.coverage.iter().map(|kept| &kept.account)).cloned().collect();
        let mut builder = Self {
            known,
            agencies: Vec::new(),
            by_account: HashMap::new(),
            others: 0,
            agents: BTreeMap::new(),
            rows: Vec::new(),
            words: Words::default(),
            facts,
            earlier,
        };
        for agency in std::mem::take(&mut builder.facts.agencies) {
            builder.begin(agency, true);
        }
        builder
    }

    /// Takes in a node.
    pub fn add(&mut self, node: Node, news: Option<&News>, patches: Option<PatchReading>) {
        let owner = owner(&node.tags).filter(|account| self.known.contains(account));
        let agency = owner.map(|account| self.agency_of(account));
        let now = self.facts.generated;
        let row = self.row(node, agency, news, patches, now);
        match agency.and_then(|at| self.agencies.get_mut(at)) {
            Some(agency) => {
                count(&mut agency.figures, &row);
                *self.agents.entry(self.words.agents.word(row.agent).to_owned()).or_default() += 1;
                agency.oldest_scan = [agency.oldest_scan, row.patches.scanned_at].into_iter().flatten().min();
                let reasons = self.words.reasons.word(row.reasons).split(',').filter(|reason| !reason.is_empty());
                for reason in reasons.filter(|_| row.left_behind > 0) {
                    match agency.dropped_tags.iter_mut().find(|dropped| dropped.reason == reason) {
                        Some(dropped) => dropped.nodes += 1,
                        None => agency.dropped_tags.push(DroppedTags { reason: reason.to_owned(), nodes: 1 }),
                    }
                }
            }
            None => self.others += 1,
        }
        self.rows.push(row);
    }

    /// Names something that could not be read.
    pub fn unread(&mut self, problem: String) {
        self.facts.unread.push(problem);
    }

    /// The fleet of all nodes that were taken in.
    pub fn finish(mut self) -> Fleet {
        self.cover();
        self.activate();
        let unnamed = self.doubt();
        let mut order: Vec<usize> = (0..self.agencies.len()).collect();
        order.sort_by(|a, b| self.agencies[*a].account.cmp(&self.agencies[*b].account));
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(to, from)| place[*from] = to);
        self.agencies.sort_by(|a, b| a.account.cmp(&b.account));
        for row in &mut self.rows {
            row.agency = row.agency.map(|agency| place[agency]);
        }
        let name = |row: &Row| row.name.clone().unwrap_or_default();
        self.rows.sort_by_cached_key(|row| (u8::MAX - row.rank(), name(row), row.id.to_string()));
        let mut total = Figures::default();
        let mut dropped: BTreeMap<String, usize> = BTreeMap::new();
        for agency in &mut self.agencies {
            add(&mut total, &agency.figures);
            agency.dropped_tags.sort_by(|a, b| b.nodes.cmp(&a.nodes).then_with(|| a.reason.cmp(&b.reason)));
            for one in &agency.dropped_tags {
                *dropped.entry(one.reason.clone()).or_default() += one.nodes;
            }
        }
        let hybrid_nodes = self.rows.len();
        let earlier = self.earlier.as_ref().map(|earlier| earlier.trend.as_slice()).unwrap_or_default();
        let points = trend::continued(earlier, Point::new(self.facts.generated, &total, hybrid_nodes));
        let limit = self.limit(&points);
        let findings = self.findings(&limit);
        // A day of which something is not known shows no trend.
        let trend = if self.facts.unread.is_empty() { points } else { earlier.to_vec() };
        let summary = Summary {
            schema: FLEET_SCHEMA.to_owned(),
            generated: self.facts.generated,
            hub: self.facts.hub,
            total,
            agencies: self.agencies,
            findings,
            dropped_tags: most(dropped).map(|(reason, nodes)| DroppedTags { reason, nodes }).collect(),
            agents: most(self.agents).map(|(version, nodes)| AgentVersion { version, nodes }).collect(),
            limit,
            trend,
            unnamed,
            unread: self.facts.unread,
        };
        Fleet { summary, rows: self.rows, words: self.words }
    }

    fn begin(&mut self, facts: AgencyFacts, granted: bool) -> usize {
        let AgencyFacts { account, name, last_report } = facts;
        let known = self.earlier.iter().flat_map(|earlier| &earlier.agencies).find(|known| known.account == account);
        let last_report = last_report.max(known.and_then(|known| known.last_report));
        let age = |at: Timestamp| self.facts.generated.unix_seconds() - at.unix_seconds();
        let silent = last_report.is_none_or(|at| age(at) > SILENT_AFTER_SECONDS);
        let at = self.agencies.len();
        self.by_account.insert(account.clone(), at);
        self.agencies.push(AgencySummary {
            account,
            name,
            granted,
            last_report,
            silent,
            figures: Figures::default(),
            coverage_changed: None,
            oldest_scan: None,
            unmanaged_instances: Vec::new(),
            dropped_tags: Vec::new(),
            activation: None,
        });
        at
    }

    /// An agency of which this hub knows something, also one whose grant is gone.
    fn agency_of(&mut self, account: AccountId) -> usize {
        match self.by_account.get(&account) {
            Some(at) => *at,
            None => self.begin(AgencyFacts { account, name: None, last_report: None }, false),
        }
    }

    fn row(
        &mut self,
        node: Node,
        agency: Option<usize>,
        news: Option<&News>,
        patches: Option<PatchReading>,
        now: Timestamp,
    ) -> Row {
        let is_silent = agency.and_then(|at| self.agencies.get(at)).is_none_or(|agency| agency.silent);
        let mut tagging = Tagging::of(&node, news);
        if is_silent && tagging == Tagging::InStep {
            tagging = Tagging::NotReported;
        } else if self.facts.unread.iter().any(|unread| unread.contains("FilterLogEvents")) {
            tagging = tagging.without_log();
        }
        let left_behind = news.map_or(0, |news| news.left_behind);
        let source = Source::of(&node.tags);
        let words = &mut self.words;
        // The hub's own tags are told in other words, and the name stands beside them.
        let plain = node.tags.iter().filter(|(key, _)| !is_reserved(key) && *key != "Name");
        let tags = plain.map(|(key, value)| words.tags.number(&format!("{key}={value}"))).collect();
        Row {
            name: node.name.map(String::into_boxed_str),
            region: words.regions.number(source.as_ref().map_or("", |source| source.region.as_str())),
            instance: source.map(|source| source.ec2_instance_id),
            agency,
            platform: words.platforms.number(&node.platform),
            agent: words.agents.number(&node.agent),
            ping: node.ping,
            last_ping: node.last_ping,
            tagging,
            left_behind,
            reasons: words.reasons.number(news.map_or("", |news| news.reasons.as_str())),
            changed: LastApplied::of(&node.tags).map(|applied| applied.observed_at),
            patching: Patching::of(patches.as_ref(), now),
            patches: patches.unwrap_or_default(),
            tags,
            id: node.id,
        }
    }

    /// Adds what is known of the agencies' instances.
    fn cover(&mut self) {
        let mut lost: HashMap<(usize, String), ManagedInstanceId> = HashMap::new();
        for row in self.rows.iter().filter(|row| row.tagging == Tagging::Unlinked) {
            if let (Some(agency), Some(instance)) = (row.agency, &row.instance) {
                lost.insert((agency, instance.to_string()), row.id.clone());
            }
        }
        let earlier: HashMap<(String, String), Timestamp> = self
            .earlier
            .iter()
            .flat_map(|earlier| &earlier.agencies)
            .flat_map(|agency| agency.unmanaged_instances.iter().map(|one| (agency.account.to_string(), one)))
            .map(|(account, one)| ((account, one.instance.clone()), one.since))
            .collect();
        for kept in std::mem::take(&mut self.facts.coverage) {
            let at = self.agency_of(kept.account.clone());
            let now = self.facts.generated;
            let Some(agency) = self.agencies.get_mut(at) else { continue };
            agency.figures.running = agency.figures.running.saturating_add(kept.coverage.running);
            agency.figures.stopped = agency.figures.stopped.saturating_add(kept.coverage.stopped);
            agency.figures.managed = agency.figures.managed.saturating_add(kept.coverage.managed);
            agency.figures.unmanaged = agency.figures.unmanaged.saturating_add(kept.unmanaged());
            agency.coverage_changed = agency.coverage_changed.max(kept.changed_at);
            let room = UNMANAGED_NAMED.saturating_sub(agency.unmanaged_instances.len());
            for instance in kept.coverage.unmanaged.into_iter().take(room) {
                let since = earlier.get(&(kept.account.to_string(), instance.clone())).copied().unwrap_or(now);
                let node = lost.get(&(at, instance.clone())).cloned();
                agency.unmanaged_instances.push(Unmanaged { region: kept.region.clone(), since, node, instance });
            }
        }
    }

    /// Adds each agency's activation that lasts longest.
    fn activate(&mut self) {
        for one in std::mem::take(&mut self.facts.activations) {
            let Some(agency) = self.by_account.get(&one.account).and_then(|at| self.agencies.get_mut(*at)) else {
                continue;
            };
            // One that is used up registers nobody, however long it lasts.
            let worth = |left: usize, ends: Timestamp| (left > 0, ends);
            let known = agency.activation.map(|known| worth(known.registrations_left, known.ends));
            if known.is_none_or(|known| worth(one.registrations_left, one.ends) > known) {
                agency.activation = Some(Activation {
                    ends: one.ends,
                    registrations_left: one.registrations_left,
                    registration_limit: one.registration_limit,
                });
            }
        }
    }

    /// Takes as many nodes that seem in step for such without a report as had news that the log does not tell.
    fn doubt(&mut self) -> usize {
        let mut all = 0;
        for (account, count) in std::mem::take(&mut self.facts.unnamed) {
            let Some(agency) = self.by_account.get(&account).and_then(|at| self.agencies.get_mut(*at)) else {
                continue;
            };
            let count = count.min(agency.figures.in_step);
            agency.figures.in_step -= count;
            agency.figures.no_report += count;
            all += count;
        }
        all
    }

    fn limit(&self, points: &[Point]) -> Limit {
        let limit = self.facts.hub.node_limit;
        let near = limit.saturating_mul(NEAR_PERCENT).div_ceil(100);
        Limit {
            nodes: self.rows.len(),
            others: self.others,
            limit,
            per_thousand_days: trend::pace(points).map(|(pace, _)| pace),
            near_at: trend::reached(points, near),
            full_at: trend::reached(points, limit),
        }
    }

    fn findings(&self, limit: &Limit) -> Vec<Finding> {
        let now = self.facts.generated;
        let earlier: HashMap<(Kind, Option<&AccountId>), Option<Timestamp>> = self
            .earlier
            .iter()
            .flat_map(|earlier| &earlier.findings)
            .map(|finding| ((finding.kind, finding.account.as_ref()), finding.since))
            .collect();
        let mut found = Vec::new();
        let mut find = |kind: Kind, agency: Option<&AgencySummary>, count: usize, since: Option<Timestamp>| {
            if count > 0 {
                let account = agency.map(|agency| agency.account.clone());
                let known = earlier.get(&(kind, account.as_ref())).copied().flatten();
                let since = since.or(known).or(Some(now));
                found.push(Finding { kind, severity: kind.severity(), account, count, since });
            }
        };
        let knows_activations = !self.facts.unread.iter().any(|unread| unread.contains("DescribeActivations"));
        for agency in &self.agencies {
            let figures = &agency.figures;
            let mut of_agency = |kind, count, since| find(kind, Some(agency), count, since);
            if agency.granted && agency.silent {
                match agency.last_report {
                    Some(at) => of_agency(Kind::Silent, 1, Some(at)),
                    None => of_agency(Kind::NoReport, 1, None),
                }
            }
            if agency.granted && knows_activations {
                match agency.activation {
                    None => of_agency(Kind::NoActivation, 1, None),
                    Some(one) if one.registrations_left == 0 => of_agency(Kind::NoActivation, 1, None),
                    Some(one) if one.ends.unix_seconds() - now.unix_seconds() <= ENDS_SOON_SECONDS => {
                        of_agency(Kind::ActivationEnds, 1, None);
                    }
                    Some(_) => {}
                }
            }
            of_agency(Kind::Conflict, figures.conflict, None);
            of_agency(Kind::Refused, figures.refused, None);
            // The node of a stopped instance is offline, which is as it should be. Not every stopped instance has one.
            let running_managed = figures.running.saturating_sub(figures.unmanaged);
            let stopped_nodes = figures.managed.saturating_sub(running_managed).min(figures.stopped);
            let unexplained = figures.offline.saturating_sub(stopped_nodes.saturating_add(figures.gone_offline));
            of_agency(Kind::Offline, unexplained, None);
            of_agency(Kind::PatchesFailed, figures.patches_failed, None);
            of_agency(Kind::CriticalPatches, figures.critical, None);
            let oldest = agency.unmanaged_instances.iter().map(|one| one.since).min();
            of_agency(Kind::Unmanaged, figures.unmanaged, oldest);
            of_agency(Kind::Unlinked, figures.unlinked, None);
            of_agency(Kind::LeftBehind, figures.left_behind, None);
        }
        if limit.percent() >= NEAR_PERCENT {
            find(Kind::LimitNear, None, limit.nodes, None);
        } else if limit.percent() >= AHEAD_PERCENT {
            find(Kind::LimitAhead, None, limit.nodes, None);
        }
        found.sort_by(|a, b| (a.severity, a.kind, b.count, &a.account).cmp(&(b.severity, b.kind, a.count, &b.account)));
        found
    }
}

fn count(figures: &mut Figures, row: &Row) {
    figures.nodes += 1;
    *(if row.ping == Ping::Online { &mut figures.online } else { &mut figures.offline }) += 1;
    let tagging = match row.tagging {
        Tagging::InStep => &mut figures.in_step,
        Tagging::LeftBehind(_) => &mut figures.left_behind,
        Tagging::Conflict => &mut figures.conflict,
        Tagging::Unlinked => &mut figures.unlinked,
        Tagging::Rejected(_) | Tagging::Failed(_) => &mut figures.refused,
        Tagging::InstanceGone | Tagging::Superseded => &mut figures.gone,
        Tagging::NotReported | Tagging::Deferred | Tagging::NoOwner | Tagging::Unread => &mut figures.no_report,
    };
    *tagging += 1;
    let is_gone = matches!(row.tagging, Tagging::InstanceGone | Tagging::Superseded);
    figures.gone_offline += usize::from(is_gone && row.ping != Ping::Online);
    figures.tags_dropped += row.left_behind;
    let patching = match row.patching {
        Patching::Patched => &mut figures.patched,
        Patching::NoScan => &mut figures.no_scan,
        Patching::RebootPending => &mut figures.reboot_pending,
        Patching::Missing => &mut figures.patches_missing,
        Patching::Failed => &mut figures.patches_failed,
    };
    *patching += 1;
    figures.critical += usize::from(row.patches.critical > 0);
}

fn add(total: &mut Figures, one: &Figures) {
    let Figures {
        running,
        stopped,
        managed,
        unmanaged,
        nodes,
        online,
        offline,
        in_step,
        left_behind,
        tags_dropped,
        conflict,
        unlinked,
        refused,
        no_report,
        gone,
        gone_offline,
        patched,
        patches_missing,
        patches_failed,
        reboot_pending,
        no_scan,
        critical,
    } = one;
    for (sum, one) in [
        (&mut total.running, running),
        (&mut total.stopped, stopped),
        (&mut total.managed, managed),
        (&mut total.unmanaged, unmanaged),
        (&mut total.nodes, nodes),
        (&mut total.online, online),
        (&mut total.offline, offline),
        (&mut total.in_step, in_step),
        (&mut total.left_behind, left_behind),
        (&mut total.tags_dropped, tags_dropped),
        (&mut total.conflict, conflict),
        (&mut total.unlinked, unlinked),
        (&mut total.refused, refused),
        (&mut total.no_report, no_report),
        (&mut total.gone, gone),
        (&mut total.gone_offline, gone_offline),
        (&mut total.patched, patched),
        (&mut total.patches_missing, patches_missing),
        (&mut total.patches_failed, patches_failed),
        (&mut total.reboot_pending, reboot_pending),
        (&mut total.no_scan, no_scan),
        (&mut total.critical, critical),
    ] {
        *sum = sum.saturating_add(*one);
    }
}

/// Words with their counts, the most frequent first.
fn most(counts: BTreeMap<String, usize>) -> impl Iterator<Item = (String, usize)> {
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|(a, many), (b, more)| more.cmp(many).then(a.cmp(b)));
    counts.into_iter()
}
