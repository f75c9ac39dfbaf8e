//! Instances on their way into reports that the manager can take.

use hub::{AccountId, Instance, REPORT_VERSION, Region, Report, Timestamp};

use crate::config::InvocationType;

/// Room for what a report says beside its instances: two booleans, version, account, Region and time.
const HEAD_BYTES: usize = 512;

/// How large a report may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Instances in one report.
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
    json: Vec<u8>,
    instance_count: usize,
    observed_at: Timestamp,
}

impl Batch {
    /// How many instances it holds: at least one.
    pub fn instance_count(&self) -> usize {
        self.instance_count
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
        })?;
        // The instances are the last field of a report: this one ends with `"instances":[]}`.
        report.truncate(report.len() - 2);
        report.reserve_exact(self.json.len() + 2);
        report.extend_from_slice(&self.json);
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
        let full = match &mut self.open {
            Some(open) if HEAD_BYTES + open.json.len() + 1 + json.len() <= self.limits.report_bytes => {
                open.json.push(b',');
                open.json.extend_from_slice(&json);
                open.instance_count += 1;
                open.observed_at = open.observed_at.min(observed_at);
                None
            }
            open => open.replace(Batch { json, instance_count: 1, observed_at }),
        };
        match full {
            Some(full) => Ok(Some(full)),
            None => Ok(self.open.take_if(|open| open.instance_count >= self.limits.instance_count)),
        }
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
            instance_count in 1_usize..12,
            report_bytes in 1_200_usize..3_000,
        ) {
            let items: Vec<_> = tag_lists
                .iter()
                .enumerate()
                .map(|(id, tags)| (instance(id, tags), at(times[id])))
                .collect();
            let mut rest = items.as_slice();
            for batch in fill(Limits { instance_count, report_bytes }, &items) {
                let count = batch.instance_count();
                prop_assert!((1..=instance_count).contains(&count));
                let (expected, others) = rest.split_at(count);
                rest = others;

                let json = batch.into_report(head()).unwrap();
                prop_assert!(json.len() <= report_bytes, "{} > {report_bytes}", json.len());
                let report = Report {
                    version: REPORT_VERSION,
                    account: Some(head().account),
                    region: Some(head().region),
                    observed_at: expected.iter().map(|(_, observed_at)| *observed_at).min(),
                    dry_run: false,
                    reply: true,
                    instances: expected.iter().map(|(instance, _)| instance.clone()).collect(),
                };
                prop_assert_eq!(String::from_utf8(json).unwrap(), serde_json::to_string(&report).unwrap());
            }
            prop_assert!(rest.is_empty());
        }
    }
}
