//! A manager that is busy.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hub::{Answer, AwsError, Ec2InstanceId, Region};
use serde_json::json;
use tags_collector::config::InvocationType;
use tags_collector::handler::{CollectError, Collector, MARGINS};
use tags_collector::plan::{InstanceState, SeenInstance};
use tags_collector::ports::{Aws, Failure, Page};
use tokio::time::Instant;

use super::logged::Lines;
use super::world::*;

/// A manager that refuses reports until a time, and counts the attempts.
struct Busy<'a> {
    aws: &'a FakeAws,
    started: Instant,
    until: Duration,
    code: &'static str,
    attempts: Cell<usize>,
}

impl<'a> Busy<'a> {
    fn new(aws: &'a FakeAws, until: Duration) -> Self {
        Self { aws, started: Instant::now(), until, code: "TooManyRequestsException", attempts: Cell::new(0) }
    }

    /// The clock of the function goes with that of the runtime.
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW) + self.started.elapsed()
    }

    async fn sweep(&self, time: Duration) -> Result<tags_collector::answer::SweepAnswer, CollectError> {
        let collector = Collector::new(config(InvocationType::RequestResponse), self, || self.now());
        sweep(&collector, json!({"regions": ["us-east-1"]}), time).await
    }
}

impl Aws for &Busy<'_> {
    async fn instances(
        &self,
        region: &Region,
        instance_ids: &[Ec2InstanceId],
        page_token: Option<String>,
    ) -> Result<Page, AwsError> {
        self.aws.instances(region, instance_ids, page_token).await
    }

    async fn report(&self, report: &[u8], invocation_type: InvocationType) -> Result<Option<Answer>, Failure> {
        self.attempts.update(|attempts| attempts + 1);
        if self.started.elapsed() < self.until {
            return Err(Failure::new(
                self.code,
                "lambda:InvokeFunction failed: TooManyRequestsException: Rate Exceeded.",
            ));
        }
        self.aws.report(report, invocation_type).await
    }
}

/// One Region with these instances, which takes no time to read: what passes is what was waited.
fn read_at_once(instances: Vec<SeenInstance>) -> FakeAws {
    FakeAws { page_takes: Duration::ZERO, ..FakeAws::east(instances) }
}

#[tokio::test(start_paused = true)]
async fn a_busy_manager_is_waited_for_and_every_report_gets_through() {
    let aws = FakeAws { page_size: 500, ..read_at_once(fleet(0..1_100)) };
    let busy = Busy::new(&aws, Duration::from_mins(10));
    let answer = busy.sweep(MINUTES_15).await.unwrap();
    assert_eq!(answer.counts.unwrap().received, 1_100);
    assert_eq!(aws.reports.borrow().len(), 3, "none twice");
    assert_eq!((answer.regions[0].batches, answer.regions[0].failed_batches), (3, 0));
    // Waits of 10 to 20 seconds, after shorter ones at first.
    assert!((33..=66).contains(&busy.attempts.get()), "{}", busy.attempts.get());
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_stays_busy_is_told_in_time() {
    let aws = read_at_once(fleet(0..2));
    let busy = Busy::new(&aws, Duration::from_hours(1));
    let CollectError::PartialSweep(answer) = busy.sweep(MINUTES_15).await.unwrap_err() else { panic!("not partial") };
    let elapsed = busy.started.elapsed();
    let end = MINUTES_15.checked_sub(MARGINS.begin).unwrap();
    assert!(elapsed < end, "{elapsed:?}: it ends before Lambda ends it");
    assert!(elapsed + Duration::from_secs(20) > end, "{elapsed:?}: it does not give up before");
    let error = answer.regions[0].error.clone().unwrap();
    assert_eq!(error.code, "TooManyRequestsException", "not that the time was up: {error}");
    assert_eq!((answer.regions[0].failed_batches, answer.regions[0].failed_instances), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_short_shortage_costs_a_short_wait() {
    let aws = read_at_once(fleet(0..2));
    let busy = Busy::new(&aws, Duration::from_millis(400));
    let (lines, _guard) = Lines::capture();
    busy.sweep(MINUTES_15).await.unwrap();
    let lines = lines.fields();
    let waited: Vec<_> = lines.iter().filter(|line| line["message"] == "manager busy").collect();
    assert_eq!((waited.len(), &waited[0]["refusals"], &waited[0]["taken"]), (1, &json!(1), &json!(true)));
    assert!(busy.started.elapsed() <= Duration::from_secs(1), "{:?}", busy.started.elapsed());
    assert_eq!(busy.attempts.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn other_refusals_are_not_waited_out() {
    for code in ["AccessDeniedException", "InvalidReport", "FunctionError", "ServiceException"] {
        let aws = read_at_once(fleet(0..2));
        let busy = Busy { code, ..Busy::new(&aws, Duration::from_hours(1)) };
        busy.sweep(MINUTES_15).await.unwrap_err();
        assert_eq!((busy.attempts.get(), busy.started.elapsed()), (1, Duration::ZERO), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_queue_wait_too_and_come_again_if_it_lasts() {
    let change = file("tag-change");
    let own = || read_at_once(vec![in_state("i-0abcdef0123456789", InstanceState::Running, true)]);
    for (until, expected) in [(Duration::from_mins(5), Vec::new()), (Duration::from_hours(1), vec!["m0"])] {
        let aws = own();
        let busy = Busy::new(&aws, until);
        let collector = Collector::new(config(InvocationType::RequestResponse), &busy, || busy.now());
        let response = collector.handle(&invocation(MINUTES_15), &messages(&[&change])).await.result.unwrap();
        let items: Vec<_> = expected.iter().map(|id| json!({"itemIdentifier": id})).collect();
        assert_eq!(serde_json::to_value(response).unwrap(), json!({"batchItemFailures": items}));
    }
}
