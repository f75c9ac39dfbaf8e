//! What is kept of an agency's coverage: one small parameter for each Region.

use hub::{AccountId, Coverage, Ec2InstanceId, Region, Report, Timestamp};

/// Instances that the parameter names: a parameter of the standard tier holds 4,096 bytes
/// (<https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html>).
pub const UNMANAGED_KEPT: usize = 150;
/// More instances than an account has in a Region.
const INSTANCES_MAX: usize = 1_000_000;
/// The Regions of one agency that have a parameter. An agency says which Region it reports, and AWS has fewer.
pub const REGIONS_KEPT: usize = 50;

/// The coverage of one agency and Region as a report says it, bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoverageRecord {
    /// Who reported it.
    pub agency: AccountId,
    /// Where the instances are.
    pub region: Region,
    /// When it was so.
    pub observed_at: Timestamp,
    /// False if the Region has no instance.
    pub has_instances: bool,
    /// The value of the parameter: a [`Coverage`] as JSON.
    pub text: String,
}

/// What a parameter holds, and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCoverage {
    /// Its value.
    pub text: String,
    /// By the clock of Parameter Store; absent if it does not say.
    pub written_at: Option<Timestamp>,
}

impl CoverageRecord {
    /// What is to be kept of a report. Nothing of a dry run, of one without an authenticated sender or without a Region,
    /// and of one that does not say.
    pub fn of(agency: Option<&AccountId>, report: &Report, observed_at: Timestamp) -> Option<Self> {
        if report.dry_run {
            return None;
        }
        let (agency, region, coverage) = (agency?, report.region.as_ref()?, report.coverage.as_ref()?);
        let coverage = bounded(coverage);
        let text = serde_json::to_string(&coverage).ok()?;
        let has_instances = coverage.running + coverage.stopped > 0;
        Some(Self { agency: agency.clone(), region: region.clone(), observed_at, has_instances, text })
    }

    /// The last two parts of the parameter's name.
    pub fn place(&self) -> String {
        format!("{}/{}", self.agency, self.region)
    }

    /// True if the parameter has to be written: it says something else, and not of a later time than this report.
    pub fn differs_from(&self, kept: &KeptCoverage) -> bool {
        kept.text != self.text && kept.written_at.is_none_or(|written_at| self.observed_at >= written_at)
    }
}

/// The same with what fits into a parameter: IDs that are none are left out, and those that are too many are counted. The
/// numbers fit each other, because they are added to those of other agencies.
fn bounded(coverage: &Coverage) -> Coverage {
    let mut unmanaged: Vec<&String> =
        coverage.unmanaged.iter().filter(|id| id.parse::<Ec2InstanceId>().is_ok()).collect();
    unmanaged.sort();
    unmanaged.dedup();
    let (running, stopped) = (coverage.running.min(INSTANCES_MAX), coverage.stopped.min(INSTANCES_MAX));
    unmanaged.truncate(running);
    let omitted = unmanaged.len().saturating_sub(UNMANAGED_KEPT).saturating_add(coverage.unmanaged_omitted);
    unmanaged.truncate(UNMANAGED_KEPT);
    Coverage {
        running,
        stopped,
        managed: coverage.managed.min(running + stopped),
        unmanaged_omitted: omitted.min(running - unmanaged.len()),
        unmanaged: unmanaged.into_iter().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agency() -> AccountId {
        "222222222222".parse().unwrap()
    }

    fn report(coverage: Option<Coverage>) -> Report {
        let text = r#"{"region": "us-west-2", "instances": [], "unlinked": []}"#;
        Report { coverage, ..Report::from_event(text).unwrap() }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn the_record_is_the_coverage_of_its_agency_and_region() {
        let coverage = Coverage {
            running: 41,
            stopped: 3,
            managed: 38,
            unmanaged: vec!["i-0bbbbbbbbbbbbbbbb".to_owned(), "i-0aaaaaaaaaaaaaaaa".to_owned()],
            unmanaged_omitted: 1,
        };
        let record = CoverageRecord::of(Some(&agency()), &report(Some(coverage)), at(7)).unwrap();
        assert_eq!(record.place(), "222222222222/us-west-2");
        assert!(record.has_instances);
        assert!(!CoverageRecord::of(Some(&agency()), &report(Some(Coverage::default())), at(7)).unwrap().has_instances);
        assert_eq!(
            record.text,
            r#"{"running":41,"stopped":3,"managed":38,"unmanaged":["i-0aaaaaaaaaaaaaaaa","i-0bbbbbbbbbbbbbbbb"],"unmanagedOmitted":1}"#
        );
    }

    #[test]
    fn nothing_is_kept_of_a_report_that_proves_nothing() {
        let whole = report(Some(Coverage::default()));
        assert!(CoverageRecord::of(Some(&agency()), &whole, at(7)).is_some());
        for (agency, report) in [
            (None, whole.clone()),
            (Some(agency()), report(None)),
            (Some(agency()), Report { dry_run: true, ..whole.clone() }),
            (Some(agency()), Report { region: None, ..whole }),
        ] {
            assert_eq!(CoverageRecord::of(agency.as_ref(), &report, at(7)), None, "{report:?}");
        }
    }

    #[test]
    fn whatever_an_agency_sends_fits_into_a_parameter() {
        let ids = (0..1_000).map(|index| format!("i-{index:017x}"));
        let hostile = ["", "<script>", "i-0aaaaaaaaaaaaaaaa\u{0}"].map(str::to_owned);
        let coverage = Coverage {
            running: usize::MAX,
            stopped: usize::MAX,
            managed: usize::MAX,
            unmanaged: ids.chain(hostile).collect(),
            unmanaged_omitted: usize::MAX,
        };
        let record = CoverageRecord::of(Some(&agency()), &report(Some(coverage)), at(7)).unwrap();
        assert!(record.text.len() <= 4_096, "{} bytes", record.text.len());
        let kept: Coverage = serde_json::from_str(&record.text).unwrap();
        assert_eq!((kept.unmanaged.len(), kept.unmanaged_omitted), (UNMANAGED_KEPT, INSTANCES_MAX - UNMANAGED_KEPT));
        assert_eq!((kept.running, kept.stopped, kept.managed), (INSTANCES_MAX, INSTANCES_MAX, 2 * INSTANCES_MAX));
        assert!(!record.text.contains("script"));
        let ids = (0..160).map(|index| format!("i-{index:017x}")).collect();
        let few = Coverage { running: 200, unmanaged: ids, ..Coverage::default() };
        assert_eq!(bounded(&few).unmanaged_omitted, 10);
        // Nobody's instances without a node hide behind figures that cannot be.
        let more =
            Coverage { managed: 10_000, unmanaged: vec!["i-0aaaaaaaaaaaaaaaa".to_owned()], ..Coverage::default() };
        assert_eq!(bounded(&more), Coverage::default());
    }

    #[test]
    fn it_is_written_where_it_says_something_else_and_nothing_later_was_written() {
        let record = CoverageRecord::of(Some(&agency()), &report(Some(Coverage::default())), at(100)).unwrap();
        let kept = |text: &str, written_at| KeptCoverage { text: text.to_owned(), written_at };
        assert!(!record.differs_from(&kept(&record.text, Some(at(50)))));
        assert!(record.differs_from(&kept("{}", Some(at(100)))));
        assert!(record.differs_from(&kept("{}", None)));
        assert!(!record.differs_from(&kept("{}", Some(at(101)))), "an old report that was delivered late");
    }
}
