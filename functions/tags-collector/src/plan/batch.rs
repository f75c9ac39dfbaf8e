//! Instances on their way into reports that the manager can take.

use hub::{AccountId, Coverage, Instance, REPORT_VERSION, Region, Report, Terminated, Timestamp};

/// Room for what a report says beside its lists: version, account, Region, time, two booleans and the names of lists.
const HEAD_BYTES: usize = 512;
/// Room for the coverage: five counts, and 500 IDs of 19 characters with quotes and comma.
const COVERAGE_BYTES: usize = 200 + 500 * 22;

/// How large a report may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Instances in one report, terminated ones among them. The instances without a node are as many at the most, and
    /// do not count here: they cost the manager no look at a node.
    pub instance_count: usize,
    /// Bytes of one report as JSON. An instance that is larger goes alone: AWS then refuses the report, which is
    /// told as that batch's failure. No instance of EC2 is: its 50 tags make some 115 kB at the very most.
    pub report_bytes: usize,
}

impl Limits {
    /// For reports whose answer is waited for: Lambda takes 6 MB.
    ///
    /// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>. 500 instances keep a report within
    /// what the manager can write before its time is up.
    pub const SYNCHRONOUS: Self = Self { instance_count: 500, report_bytes: 5_000_000 };
    /// For reports that are queued: Lambda takes 1 MB.
    pub const ASYNCHRONOUS: Self = Self { instance_count: 500, report_bytes: 900_000 };
}

/// What all reports about a Region have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportContext {
    /// The agency's account.
    pub account: AccountId,
    /// Where the instances are.
    pub region: Region,
    /// Plan and answer, write nothing.
    pub dry_run: bool,
    /// False if nobody waits for the answer.
    pub is_awaited: bool,
}

/// Instances of one Region, already in the JSON of the wire: each is serialized once, when it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    instances: Items,
    terminated: Items,
    unlinked: Items,
    coverage: Option<Coverage>,
    observed_at: Timestamp,
}

/// The items of a list, with commas between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Items {
    json: Vec<u8>,
    count: usize,
}

impl Items {
    fn push(&mut self, item: &[u8]) {
        if self.count > 0 {
            self.json.push(b',');
        }
        self.json.extend_from_slice(item);
        self.count += 1;
    }
}

impl Batch {
    /// A batch without instances.
    pub fn new(observed_at: Timestamp) -> Self {
        let [instances, terminated, unlinked] = [Items::default(), Items::default(), Items::default()];
        Self { instances, terminated, unlinked, coverage: None, observed_at }
    }

    /// Says how many instances of the Region have a node.
    pub fn set_coverage(&mut self, coverage: Coverage) {
        self.coverage = Some(coverage);
    }

    /// How many instances it holds that name a node and live.
    pub fn instance_count(&self) -> usize {
        self.instances.count
    }

    /// How many instances the manager looks for a node of.
    fn looked_at_count(&self) -> usize {
        self.instances.count + self.terminated.count
    }

    fn json_bytes(&self) -> usize {
        self.instances.json.len() + self.terminated.json.len() + self.unlinked.json.len()
    }

    /// The report as JSON, observed when the earliest of its instances was.
    ///
    /// # Errors
    /// None in practice: a report has nothing that JSON could not say.
    pub fn into_report(self, context: ReportContext) -> serde_json::Result<Vec<u8>> {
        let ReportContext { account, region, dry_run, is_awaited } = context;
        let mut report = serde_json::to_vec(&Report {
            version: REPORT_VERSION,
            account: Some(account),
            region: Some(region),
            observed_at: Some(self.observed_at),
            dry_run,
            reply: (!is_awaited).then_some(false),
            instances: Vec::new(),
            terminated: Vec::new(),
            unlinked: None,
            coverage: None,
        })?;
        // The lists are the last fields of a report: this one ends with `"instances":[]}`.
        report.truncate(report.len() - "]}".len());
        report.reserve_exact(self.json_bytes() + HEAD_BYTES + COVERAGE_BYTES);
        report.extend_from_slice(&self.instances.json);
        if self.terminated.count > 0 {
            report.extend_from_slice(br#"],"terminated":["#);
            report.extend_from_slice(&self.terminated.json);
        }
        report.extend_from_slice(br#"],"unlinked":["#);
        report.extend_from_slice(&self.unlinked.json);
        report.push(b']');
        if let Some(coverage) = &self.coverage {
            report.extend_from_slice(br#","coverage":"#);
            serde_json::to_writer(&mut report, coverage)?;
        }
        report.push(b'}');
        Ok(report)
    }
}

/// Fills batches, in the order in which instances come.
#[derive(Debug)]
pub struct Batcher {
    limits: Limits,
    open: Option<Batch>,
}

impl Batcher {
    /// Starts with an empty batch.
    pub fn new(limits: Limits) -> Self {
        Self { limits, open: None }
    }

    /// Adds an instance, and gives a batch if that has no room for it.
    ///
    /// # Errors
    /// None in practice: an instance has nothing that JSON could not say.
    pub fn push(&mut self, instance: &Instance, observed_at: Timestamp) -> serde_json::Result<Option<Batch>> {
        Ok(self.add(&serde_json::to_vec(instance)?, observed_at, Batch::looked_at_count, |batch| &mut batch.instances))
    }

    /// Adds a terminated instance, and gives a batch if that has no room for it.
    ///
    /// # Errors
    /// As with [`push`](Self::push).
    pub fn push_terminated(
        &mut self,
        instance: &Terminated,
        observed_at: Timestamp,
    ) -> serde_json::Result<Option<Batch>> {
        Ok(self.add(&serde_json::to_vec(instance)?, observed_at, Batch::looked_at_count, |batch| &mut batch.terminated))
    }

    /// Adds an instance without a node, and gives a batch if that has no room for it.
    ///
    /// # Errors
    /// As with [`push`](Self::push).
    pub fn push_unlinked(
        &mut self,
        ec2_instance_id: &str,
        observed_at: Timestamp,
    ) -> serde_json::Result<Option<Batch>> {
        let json = serde_json::to_vec(ec2_instance_id)?;
        Ok(self.add(&json, observed_at, |open| open.unlinked.count, |batch| &mut batch.unlinked))
    }

    /// A full batch stays until the next item comes: the last one of a Region has yet to get the coverage.
    fn add(
        &mut self,
        json: &[u8],
        observed_at: Timestamp,
        count: fn(&Batch) -> usize,
        list: fn(&mut Batch) -> &mut Items,
    ) -> Option<Batch> {
        let Limits { instance_count, report_bytes } = self.limits;
        let full = self.open.take_if(|open| {
            let bytes = HEAD_BYTES + COVERAGE_BYTES + open.json_bytes() + 1 + json.len();
            count(open) >= instance_count || bytes > report_bytes
        });
        let open = self.open.get_or_insert_with(|| Batch::new(observed_at));
        list(open).push(json);
        open.observed_at = open.observed_at.min(observed_at);
        full
    }

    /// The instances of the last batch.
    pub fn finish(self) -> Option<Batch> {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use hub::{Tag, Unlinked};
    use proptest::prelude::*;

    use super::*;

    fn context() -> ReportContext {
        ReportContext {
            account: "222222222222".parse().unwrap(),
            region: "ap-southeast-2".parse().unwrap(),
            dry_run: false,
            is_awaited: true,
        }
    }

    fn instance(id: usize, tags: &[(String, String)]) -> Instance {
        Instance {
            instance_id: format!("mi-{id:017x}"),
            ec2_instance_id: Some(format!("i-{id:017x}")),
            tags: tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect(),
        }
    }

    fn ec2_id(id: usize) -> String {
        format!("i-{id:017x}")
    }

    fn terminated(id: usize) -> Terminated {
        Terminated { ec2_instance_id: ec2_id(id) }
    }

    fn counts(limits: Limits, items: &[Instance]) -> Vec<usize> {
        let mut batcher = Batcher::new(limits);
        let mut full = Vec::new();
        for instance in items {
            full.extend(batcher.push(instance, at(0)).unwrap());
        }
        full.extend(batcher.finish());
        full.iter().map(Batch::instance_count).collect()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    fn json(batch: Batch) -> String {
        String::from_utf8(batch.into_report(context()).unwrap()).unwrap()
    }

    const TWO: Limits = Limits { instance_count: 2, report_bytes: 5_000_000 };

    #[test]
    fn a_full_batch_leaves_when_the_next_instance_comes() {
        let mut batcher = Batcher::new(TWO);
        assert_eq!(batcher.push(&instance(1, &[]), at(0)).unwrap(), None);
        assert_eq!(batcher.push(&instance(2, &[]), at(0)).unwrap(), None);
        assert_eq!(batcher.push(&instance(3, &[]), at(0)).unwrap().unwrap().instance_count(), 2);
        assert_eq!(batcher.finish().unwrap().instance_count(), 1);
    }

    #[test]
    fn terminated_instances_count_and_have_a_report_of_their_own_if_nothing_lives() {
        let mut batcher = Batcher::new(TWO);
        assert_eq!(batcher.push_terminated(&terminated(1), at(3)).unwrap(), None);
        assert_eq!(batcher.push_terminated(&terminated(2), at(4)).unwrap(), None);
        let full = batcher.push(&instance(3, &[]), at(5)).unwrap().unwrap();
        let report = json(full);
        let end = r#""instances":[],"terminated":[{"ec2InstanceId":"i-00000000000000001"},{"ec2InstanceId":"i-00000000000000002"}],"unlinked":[]}"#;
        assert!(report.contains(r#""observedAt":"1970-01-01T00:00:03Z""#) && report.ends_with(end), "{report}");
    }

    #[test]
    fn instances_without_a_node_have_a_limit_of_their_own() {
        let mut batcher = Batcher::new(TWO);
        for id in 0..2 {
            assert_eq!(batcher.push(&instance(id, &[]), at(9)).unwrap(), None);
            assert_eq!(batcher.push_unlinked(&ec2_id(10 + id), at(8)).unwrap(), None);
        }
        let full = batcher.push_unlinked(&ec2_id(12), at(9)).unwrap().unwrap();
        assert_eq!(full.instance_count(), 2);
        let report = json(full);
        assert!(report.ends_with(r#"],"unlinked":["i-0000000000000000a","i-0000000000000000b"]}"#), "{report}");
        assert!(report.contains(r#""observedAt":"1970-01-01T00:00:08Z""#), "{report}");
        assert_eq!(batcher.finish().unwrap().instance_count(), 0);
    }

    #[test]
    fn only_a_report_that_nobody_waits_for_says_so() {
        let report = |is_awaited| {
            let report = Batch::new(at(0)).into_report(ReportContext { is_awaited, ..context() }).unwrap();
            serde_json::from_slice::<serde_json::Value>(&report).unwrap()
        };
        assert_eq!(report(true).get("reply"), None);
        assert_eq!(report(false)["reply"], false);
    }

    #[test]
    fn no_instances_make_no_batch() {
        assert_eq!(counts(Limits::SYNCHRONOUS, &[]), [0; 0]);
    }

    #[test]
    fn an_instance_that_is_too_large_goes_alone() {
        let large = instance(2, &[("k".repeat(900), String::new())]);
        let items = [instance(1, &[]), large, instance(3, &[]), instance(4, &[])];
        let report_bytes = 1_000 + COVERAGE_BYTES;
        assert_eq!(counts(Limits { instance_count: 500, report_bytes }, &items), [1, 1, 2]);
    }

    #[test]
    fn the_largest_instance_of_ec2_fits_into_any_report() {
        // Each character a control character: six bytes of JSON.
        let tags: Vec<_> = (0..50).map(|_| ("\u{1}".repeat(128), "\u{1}".repeat(256))).collect();
        let size = serde_json::to_vec(&instance(1, &tags)).unwrap().len();
        assert!(size + HEAD_BYTES + COVERAGE_BYTES < Limits::ASYNCHRONOUS.report_bytes, "{size}");
    }

    #[test]
    fn the_largest_coverage_has_its_room() {
        let coverage = Coverage {
            running: usize::MAX,
            stopped: usize::MAX,
            managed: usize::MAX,
            unmanaged: (0..500).map(ec2_id).collect(),
            unmanaged_omitted: usize::MAX,
        };
        let size = serde_json::to_vec(&coverage).unwrap().len();
        assert!(size <= COVERAGE_BYTES, "{size}");
    }

    /// What an item of the property test is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Kind {
        Managed,
        Terminated,
        Unlinked,
    }

    proptest! {
        #[test]
        fn reports_keep_every_instance_once_in_order_and_within_the_limits(
            tag_lists in proptest::collection::vec(
                proptest::collection::vec(("[a-zé\"\u{1}\u{1f600}]{0,12}", "\\PC{0,12}"), 0..6), 0..40),
            times in proptest::collection::vec(0_i64..100, 40),
            kinds in proptest::collection::vec(
                proptest::sample::select(vec![Kind::Managed, Kind::Managed, Kind::Terminated, Kind::Unlinked]), 40),
            instance_count in 1_usize..12,
            body_bytes in 700_usize..2_500,
        ) {
            let report_bytes = body_bytes + HEAD_BYTES + COVERAGE_BYTES;
            let mut batcher = Batcher::new(Limits { instance_count, report_bytes });
            let mut batches = Vec::new();
            for (id, tags) in tag_lists.iter().enumerate() {
                let observed_at = at(times[id]);
                batches.extend(match kinds[id] {
                    Kind::Managed => batcher.push(&instance(id, tags), observed_at).unwrap(),
                    Kind::Terminated => batcher.push_terminated(&terminated(id), observed_at).unwrap(),
                    Kind::Unlinked => batcher.push_unlinked(&ec2_id(id), observed_at).unwrap(),
                });
            }
            batches.extend(batcher.finish().map(|mut last| {
                last.set_coverage(Coverage { running: 7, unmanaged: vec![ec2_id(1)], ..Coverage::default() });
                last
            }));
            let kinds = &kinds;
            let mut next = 0;
            let last_index = batches.len().saturating_sub(1);
            for (index, batch) in batches.into_iter().enumerate() {
                let counts = [batch.instances.count, batch.terminated.count, batch.unlinked.count];
                prop_assert!(counts[0] + counts[1] <= instance_count && counts[2] <= instance_count, "{counts:?}");
                let ids = next..next + counts.iter().sum::<usize>();
                prop_assert!(!ids.is_empty());
                next = ids.end;
                let of = |kind| ids.clone().filter(move |id| kinds[*id] == kind);
                let json = batch.into_report(context()).unwrap();
                prop_assert!(json.len() <= report_bytes, "{} > {report_bytes}", json.len());
                let report = Report {
                    version: REPORT_VERSION,
                    account: Some(context().account),
                    region: Some(context().region),
                    observed_at: ids.clone().map(|id| at(times[id])).min(),
                    dry_run: false,
                    reply: None,
                    instances: of(Kind::Managed).map(|id| instance(id, &tag_lists[id])).collect(),
                    terminated: of(Kind::Terminated).map(terminated).collect(),
                    unlinked: Some(Unlinked(of(Kind::Unlinked).map(ec2_id).collect())),
                    coverage: (index == last_index)
                        .then(|| Coverage { running: 7, unmanaged: vec![ec2_id(1)], ..Coverage::default() }),
                };
                let json = String::from_utf8(json).unwrap();
                prop_assert_eq!(&json, &serde_json::to_string(&report).unwrap());
                prop_assert_eq!(Report::from_event(&json).unwrap(), report);
            }
            prop_assert_eq!(next, tag_lists.len());
        }
    }
}
