//! Instances on their way into reports that the manager can take.

use hub::{AccountId, Instance, REPORT_VERSION, Region, Report, Terminated, Timestamp};

use crate::config::InvocationType;

/// Room for what a report says beside its instances: two booleans, version, account, Region, time, and two lists.
const HEAD_BYTES: usize = 512;
/// What stands between the living and the terminated instances.
const TERMINATED: &str = r#"],"terminated":["#;
/// What may follow the first instances.
const END_BYTES: usize = TERMINATED.len() + "]}".len();

/// How large a report may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Instances in one report, terminated ones among them.
    pub instance_count: usize,
    /// Bytes of one report as JSON. An instance that is larger goes alone: AWS then refuses the report, which is
    /// told as that batch's failure. No instance of EC2 is: its 50 tags make some 115 kB
    /// at the very most.
    pub report_bytes: usize,
}

impl Limits {
    /// The limits of a report.
    ///
    /// Lambda takes 6 MB and, asynchronously, 1 MB:
    /// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>. 500 instances keep a report
    /// within what the manager can write before its time is up.
    pub fn of(invocation_type: InvocationType) -> Self {
        let report_bytes = match invocation_type {
            InvocationType::RequestResponse => 5_000_000,
            InvocationType::Event => 900_000,
        };
        Self { instance_count: 500, report_bytes }
    }
}

/// What all reports about a Region have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The agency's account.
    pub account: AccountId,
    /// Where the instances are.
    pub region: Region,
    /// Plan and answer, write nothing.
    pub dry_run: bool,
    /// True where the answer is waited for.
    pub reply: bool,
}

/// Instances of one Region, already in the JSON of the wire: each is serialized once, when it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    instances: Items,
    terminated: Items,
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
    fn new(observed_at: Timestamp) -> Self {
        Self { instances: Items::default(), terminated: Items::default(), observed_at }
    }

    /// How many instances it holds that live.
    pub fn instance_count(&self) -> usize {
        self.instances.count
    }

    /// How many terminated instances it holds. With the living ones there is at least one.
    pub fn terminated_count(&self) -> usize {
        self.terminated.count
    }

    fn count(&self) -> usize {
        self.instances.count + self.terminated.count
    }

    fn json_bytes(&self) -> usize {
        self.instances.json.len() + self.terminated.json.len()
    }

    /// The report as JSON, observed when the earliest of its instances was.
    ///
    /// # Errors
    /// None in practice: a report has nothing that JSON could not say.
    pub fn into_report(self, head: Head) -> serde_json::Result<Vec<u8>> {
        let Head { account, region, dry_run, reply } = head;
        let mut report = serde_json::to_vec(&Report {
            version: REPORT_VERSION,
            account: Some(account),
            region: Some(region),
            observed_at: Some(self.observed_at),
            dry_run,
            reply,
            instances: Vec::new(),
            terminated: Vec::new(),
        })?;
        // Without terminated ones the instances are the last field of a report: this one ends with `"instances":[]}`.
        report.truncate(report.len() - 2);
        report.reserve_exact(self.json_bytes() + END_BYTES);
        report.extend_from_slice(&self.instances.json);
        if self.terminated.count > 0 {
            report.extend_from_slice(TERMINATED.as_bytes());
            report.extend_from_slice(&self.terminated.json);
        }
        report.extend_from_slice(b"]}");
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

    /// Adds an instance, and gives a batch where that fills one.
    ///
    /// # Errors
    /// None in practice: an instance has nothing that JSON could not say.
    pub fn push(&mut self, instance: &Instance, observed_at: Timestamp) -> serde_json::Result<Option<Batch>> {
        let json = serde_json::to_vec(instance)?;
        Ok(self.add(&json, observed_at, |batch| &mut batch.instances))
    }

    /// Adds a terminated instance, and gives a batch where that fills one.
    ///
    /// # Errors
    /// As with [`push`](Self::push).
    pub fn push_terminated(
        &mut self,
        instance: &Terminated,
        observed_at: Timestamp,
    ) -> serde_json::Result<Option<Batch>> {
        let json = serde_json::to_vec(instance)?;
        Ok(self.add(&json, observed_at, |batch| &mut batch.terminated))
    }

    fn add(&mut self, json: &[u8], observed_at: Timestamp, list: fn(&mut Batch) -> &mut Items) -> Option<Batch> {
        let report_bytes = self.limits.report_bytes;
        let full = self.open.take_if(|open| HEAD_BYTES + open.json_bytes() + 1 + json.len() > report_bytes);
        let open = self.open.get_or_insert_with(|| Batch::new(observed_at));
        list(open).push(json);
        open.observed_at = open.observed_at.min(observed_at);
        full.or_else(|| self.open.take_if(|open| open.count() >= self.limits.instance_count))
    }

    /// The instances that filled no batch.
    pub fn finish(self) -> Option<Batch> {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use hub::Tag;
    use proptest::prelude::*;

    use super::*;

    fn head() -> Head {
        Head {
            account: "222222222222".parse().unwrap(),
            region: "ap-southeast-2".parse().unwrap(),
            dry_run: false,
            reply: true,
        }
    }

    fn instance(id: usize, tags: &[(String, String)]) -> Instance {
        Instance {
            instance_id: format!("mi-{id:017x}"),
            ec2_instance_id: Some(format!("i-{id:017x}")),
            tags: tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect(),
        }
    }

    fn fill(limits: Limits, items: &[(Instance, Timestamp)]) -> Vec<Batch> {
        let mut batcher = Batcher::new(limits);
        let mut full = Vec::new();
        for (instance, observed_at) in items {
            full.extend(batcher.push(instance, *observed_at).unwrap());
        }
        full.extend(batcher.finish());
        full
    }

    fn terminated(id: usize) -> Terminated {
        Terminated { ec2_instance_id: format!("i-{id:017x}") }
    }

    fn counts(limits: Limits, items: &[(Instance, Timestamp)]) -> Vec<usize> {
        fill(limits, items).iter().map(Batch::instance_count).collect()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn a_batch_leaves_as_soon_as_it_is_full() {
        let mut batcher = Batcher::new(Limits { instance_count: 2, report_bytes: 5_000_000 });
        assert_eq!(batcher.push(&instance(1, &[]), at(0)).unwrap(), None);
        assert_eq!(batcher.push(&instance(2, &[]), at(0)).unwrap().unwrap().instance_count(), 2);
        assert_eq!(batcher.finish(), None);
    }

    #[test]
    fn terminated_instances_count_and_have_a_report_of_their_own_where_nothing_lives() {
        let mut batcher = Batcher::new(Limits { instance_count: 2, report_bytes: 5_000_000 });
        assert_eq!(batcher.push_terminated(&terminated(1), at(3)).unwrap(), None);
        let full = batcher.push_terminated(&terminated(2), at(4)).unwrap().unwrap();
        assert_eq!((full.instance_count(), full.terminated_count()), (0, 2));
        let report = String::from_utf8(full.into_report(head()).unwrap()).unwrap();
        let end = r#""instances":[],"terminated":[{"ec2InstanceId":"i-00000000000000001"},{"ec2InstanceId":"i-00000000000000002"}]}"#;
        assert!(report.contains(r#""observedAt":"1970-01-01T00:00:03Z""#) && report.ends_with(end), "{report}");
        batcher.push(&instance(3, &[]), at(0)).unwrap();
        let full = batcher.push_terminated(&terminated(4), at(0)).unwrap().unwrap();
        assert_eq!((full.instance_count(), full.terminated_count()), (1, 1));
    }

    #[test]
    fn no_instances_make_no_batch() {
        assert_eq!(counts(Limits::of(InvocationType::RequestResponse), &[]), [0; 0]);
    }

    #[test]
    fn an_instance_that_is_too_large_goes_alone() {
        let large = instance(2, &[("k".repeat(900), String::new())]);
        let items = [(instance(1, &[]), at(0)), (large, at(0)), (instance(3, &[]), at(0)), (instance(4, &[]), at(0))];
        assert_eq!(counts(Limits { instance_count: 500, report_bytes: 1_000 }, &items), [1, 1, 2]);
    }

    #[test]
    fn the_largest_instance_of_ec2_fits_into_any_report() {
        // Each character a control character: six bytes of JSON.
        let tags: Vec<_> = (0..50).map(|_| ("\u{1}".repeat(128), "\u{1}".repeat(256))).collect();
        let size = serde_json::to_vec(&instance(1, &tags)).unwrap().len();
        assert!(size + HEAD_BYTES < Limits::of(InvocationType::Event).report_bytes, "{size}");
    }

    proptest! {
        #[test]
        fn reports_keep_every_instance_once_in_order_and_within_the_limits(
            tag_lists in proptest::collection::vec(
                proptest::collection::vec(("[a-zé\"\u{1}\u{1f600}]{0,12}", "\\PC{0,12}"), 0..6), 0..40),
            times in proptest::collection::vec(0_i64..100, 40),
            gone in proptest::collection::vec(proptest::bool::weighted(0.3), 40),
            instance_count in 1_usize..12,
            report_bytes in 1_200_usize..3_000,
        ) {
            let mut batcher = Batcher::new(Limits { instance_count, report_bytes });
            let mut batches = Vec::new();
            let (mut living, mut dead) = (Vec::new(), Vec::new());
            for (id, tags) in tag_lists.iter().enumerate() {
                if gone[id] {
                    dead.push((terminated(id), at(times[id])));
                    batches.extend(batcher.push_terminated(&terminated(id), at(times[id])).unwrap());
                } else {
                    living.push((instance(id, tags), at(times[id])));
                    batches.extend(batcher.push(&instance(id, tags), at(times[id])).unwrap());
                }
            }
            batches.extend(batcher.finish());
            let (mut living, mut dead) = (living.as_slice(), dead.as_slice());
            for batch in batches {
                prop_assert!((1..=instance_count).contains(&batch.count()));
                let (instances, others) = living.split_at(batch.instance_count());
                living = others;
                let (terminated, others) = dead.split_at(batch.terminated_count());
                dead = others;

                let json = batch.into_report(head()).unwrap();
                prop_assert!(json.len() <= report_bytes, "{} > {report_bytes}", json.len());
                let times = instances.iter().map(|(_, at)| *at).chain(terminated.iter().map(|(_, at)| *at));
                let report = Report {
                    version: REPORT_VERSION,
                    account: Some(head().account),
                    region: Some(head().region),
                    observed_at: times.min(),
                    dry_run: false,
                    reply: true,
                    instances: instances.iter().map(|(instance, _)| instance.clone()).collect(),
                    terminated: terminated.iter().map(|(instance, _)| instance.clone()).collect(),
                };
                prop_assert_eq!(String::from_utf8(json).unwrap(), serde_json::to_string(&report).unwrap());
            }
            prop_assert!(living.is_empty() && dead.is_empty());
        }
    }
}
