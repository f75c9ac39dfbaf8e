//! The handler over a made-up hub and store.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use fleet::{ActivationFacts, Node, PatchReading, Ping, RegionCoverage, Summary};
use fleet_reporter::ports::{File, Granted, Hub, Logged, NodePage, Store};
use fleet_reporter::{Config, Invocation, ReportError, handle, metrics};
use hub::{AccountId, AwsError, ManagedInstanceId, Timestamp};
use serde_json::{Value, json};

const AGENCY: &str = "222222222222";

/// A hub with so many nodes, of which some operation fails, or takes its time.
#[derive(Default)]
struct FakeHub {
    nodes: usize,
    logged: Logged,
    fails: Option<&'static str>,
    delay: Duration,
    patch_calls: Cell<usize>,
    asked_about: RefCell<Vec<AccountId>>,
}

impl FakeHub {
    async fn answer<T>(&self, operation: &'static str, value: T) -> Result<T, AwsError> {
        tokio::time::sleep(self.delay).await;
        if self.fails == Some(operation) { Err(refusal(operation)) } else { Ok(value) }
    }
}

fn refusal(operation: &'static str) -> AwsError {
    AwsError {
        operation,
        code: "AccessDeniedException".to_owned(),
        message: "not authorized".to_owned(),
        request_id: None,
        retryable: false,
    }
}

fn id(index: usize) -> ManagedInstanceId {
    format!("mi-{index:017x}").parse().unwrap()
}

impl Hub for FakeHub {
    async fn granted(&self) -> Result<Vec<Granted>, AwsError> {
        self.answer("granted", vec![Granted { account: AGENCY.parse().unwrap(), name: None }]).await
    }

    async fn coverage(&self) -> Result<Vec<RegionCoverage>, AwsError> {
        self.answer("coverage", Vec::new()).await
    }

    async fn activations(&self) -> Result<Vec<ActivationFacts>, AwsError> {
        self.answer("ssm:DescribeActivations", Vec::new()).await
    }

    async fn logged(&self, _: Timestamp, _: Timestamp) -> Result<Logged, AwsError> {
        self.answer("logged", self.logged.clone()).await
    }

    async fn last_reports(
        &self,
        agencies: &[AccountId],
        now: Timestamp,
    ) -> Result<HashMap<AccountId, Timestamp>, AwsError> {
        self.asked_about.borrow_mut().extend(agencies.iter().cloned());
        self.answer("last_reports", HashMap::from([(AGENCY.parse().unwrap(), now)])).await
    }

    async fn nodes(&self, next: Option<String>) -> Result<NodePage, AwsError> {
        let start: usize = next.map_or(0, |next| next.parse().unwrap());
        let end = self.nodes.min(start + 50);
        let node = |index: usize| Node {
            id: id(index),
            name: None,
            ping: Ping::Online,
            last_ping: None,
            agent: String::new(),
            platform: String::new(),
            tags: BTreeMap::from([("tag-hub:agency".to_owned(), AGENCY.to_owned())]),
        };
        let page =
            NodePage { nodes: (start..end).map(node).collect(), next: (end < self.nodes).then(|| end.to_string()) };
        self.answer(if start == 0 { "nodes" } else { "more nodes" }, page).await
    }

    async fn patches(&self, nodes: &[ManagedInstanceId]) -> Result<HashMap<ManagedInstanceId, PatchReading>, AwsError> {
        assert!(nodes.len() <= 50, "{} nodes in one call", nodes.len());
        self.patch_calls.set(self.patch_calls.get() + 1);
        let reading = PatchReading { failed: 1, ..PatchReading::default() };
        self.answer("patches", nodes.iter().map(|node| (node.clone(), reading)).collect()).await
    }
}

/// What was written, in its order.
#[derive(Default)]
struct FakeStore {
    earlier: Option<Vec<u8>>,
    hides: bool,
    written: RefCell<Vec<(File, Vec<u8>)>>,
    refuses: Option<File>,
}

impl Store for FakeStore {
    async fn earlier(&self) -> Result<Option<Vec<u8>>, AwsError> {
        if self.hides { Err(refusal("s3:GetObject")) } else { Ok(self.earlier.clone()) }
    }

    async fn write(&self, file: File, content: Vec<u8>) -> Result<(), AwsError> {
        if self.refuses == Some(file) {
            return Err(refusal("s3:PutObject"));
        }
        self.written.borrow_mut().push((file, content));
        Ok(())
    }
}

impl FakeStore {
    fn files(&self) -> Vec<File> {
        self.written.borrow().iter().map(|(file, _)| *file).collect()
    }

    fn summary(&self) -> Summary {
        let written = self.written.borrow();
        let (_, text) = written.iter().find(|(file, _)| *file == File::Summary).unwrap();
        serde_json::from_slice(text).unwrap()
    }
}

async fn report(
    hub: &FakeHub,
    store: &FakeStore,
    event: &Value,
) -> Result<fleet_reporter::answer::Answer, ReportError> {
    let variables = [("AWS_REGION", "us-east-1"), ("MANAGER_FUNCTION_NAME", "m"), ("REPORT_BUCKET", "bucket")];
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let invocation = Invocation {
        hub_account: "111111111111".parse().unwrap(),
        now: Timestamp::from_unix_seconds(1_795_312_800),
        budget: Duration::from_mins(15),
    };
    handle(&Config::from_lookup(lookup).unwrap(), hub, store, &invocation, event).await
}

#[tokio::test]
async fn all_pages_are_read_and_the_summary_is_written_last() {
    let (hub, store) = (FakeHub { nodes: 120, ..FakeHub::default() }, FakeStore::default());
    let answer = report(&hub, &store, &json!({})).await.unwrap();
    assert_eq!((answer.nodes, answer.agencies, hub.patch_calls.get()), (120, 1, 3));
    assert_eq!(store.files(), [File::Page, File::Nodes, File::Summary]);
    assert_eq!(store.summary().total.patches_failed, 120);
    assert_eq!(hub.asked_about.borrow().len(), 1, "who is not in the log is asked about");
    let values: Vec<_> = metrics(&Ok(answer)).metrics.iter().map(|metric| (metric.name, metric.value)).collect();
    assert_eq!(values, [("InstancesUnmanaged", 0), ("FindingsBroken", 2), ("FindingsToWatch", 0)]);
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let (hub, store) = (FakeHub { nodes: 1, ..FakeHub::default() }, FakeStore::default());
    assert!(report(&hub, &store, &json!({"dryRun": true})).await.unwrap().dry_run);
    assert_eq!(store.files(), []);
}

#[tokio::test]
async fn what_has_to_be_read_fails_the_report_and_the_rest_is_named() {
    for operation in ["granted", "coverage", "nodes", "more nodes"] {
        let hub = FakeHub { nodes: 60, fails: Some(operation), ..FakeHub::default() };
        let store = FakeStore::default();
        let error = report(&hub, &store, &json!({})).await.unwrap_err();
        assert_eq!(error.error_type(), "NothingRead", "{operation}");
        assert!(metrics(&Err(error)).metrics.is_empty() && store.files().is_empty(), "{operation}");
    }
    for operation in ["ssm:DescribeActivations", "logged", "last_reports", "patches"] {
        let hub = FakeHub { nodes: 120, fails: Some(operation), ..FakeHub::default() };
        let store = FakeStore::default();
        let Err(ReportError::PartialReport(answer)) = report(&hub, &store, &json!({})).await else {
            panic!("{operation}")
        };
        assert_eq!(answer.unread.len(), 1, "{operation}: {:?}", answer.unread);
        assert!(answer.unread[0].contains(operation), "{:?}", answer.unread);
        assert_eq!(store.files().len(), 3, "{operation}");
        assert!(store.summary().trend.is_empty(), "{operation}: such a day is no part of the trend");
        assert!(hub.patch_calls.get() == if operation == "patches" { 1 } else { 3 }, "{operation}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_taken_leaves_the_summary_of_before() {
    let hub = FakeHub::default();
    let store = FakeStore { refuses: Some(File::Nodes), ..FakeStore::default() };
    let error = report(&hub, &store, &json!({})).await.unwrap_err();
    assert_eq!((error.error_type(), store.files()), ("NotWritten", vec![File::Page]));
}

#[tokio::test]
async fn whatever_the_report_before_holds_this_one_is_made() {
    for text in ["", "nonsense", "{}", "[]", r#"{"schema": "tag-hub.fleet/2"}"#, "\u{0}"] {
        let store = FakeStore { earlier: Some(text.into()), ..FakeStore::default() };
        let result = report(&FakeHub::default(), &store, &json!({})).await;
        let Err(ReportError::PartialReport(answer)) = result else { panic!("{text:?}: {result:?}") };
        assert!(answer.unread[0].starts_with("the report before is not understood: "), "{:?}", answer.unread);
        assert_eq!(store.files().len(), 3);
    }
}

#[tokio::test]
async fn a_report_before_that_cannot_be_read_this_time_stays() {
    let store = FakeStore { hides: true, ..FakeStore::default() };
    let result = report(&FakeHub::default(), &store, &json!({})).await;
    let Err(ReportError::PartialReport(answer)) = result else { panic!("{result:?}") };
    assert!(answer.unread[0].starts_with("the report before: s3:GetObject"), "{:?}", answer.unread);
    assert_eq!(store.files(), [File::Page, File::Nodes]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_too_much_to_read_keeps_no_page_back() {
    let hub = FakeHub { nodes: 1, delay: Duration::from_mins(4), ..FakeHub::default() };
    let store = FakeStore::default();
    let Err(ReportError::NothingRead(error)) = report(&hub, &store, &json!({})).await else { panic!("it was in time") };
    // Every read takes this long here, so that the nodes are too late; the log was given up before.
    assert!(error.to_string().contains("not read within the time"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_too_slow_leaves_the_report_of_before() {
    let hub = FakeHub { nodes: 100_000, delay: Duration::from_secs(1), ..FakeHub::default() };
    let begin = tokio::time::Instant::now();
    let store = FakeStore::default();
    let error = report(&hub, &store, &json!({})).await.unwrap_err();
    assert_eq!((error.error_type(), store.files().len()), ("NothingRead", 0));
    assert!(error.to_string().contains("DeadlineExceeded"), "{error}");
    assert!(begin.elapsed() <= Duration::from_mins(15) - Duration::from_secs(30), "there is time left to write");
}

#[tokio::test]
async fn coverage_that_was_not_kept_is_named() {
    let mut logged = Logged::default();
    let line = |message: &str| json!({"message": message, "agency": AGENCY, "region": "us-east-1", "code": "X"});
    logged.latest.add(Timestamp::from_unix_seconds(1_795_000_000), &line("coverage not kept"));
    let hub = FakeHub { nodes: 1, logged, ..FakeHub::default() };
    let error = report(&hub, &FakeStore::default(), &json!({})).await.unwrap_err();
    let ReportError::PartialReport(answer) = error else { panic!("{error}") };
    assert_eq!(answer.unread, ["coverage of 1 agency not kept: X"]);
}
