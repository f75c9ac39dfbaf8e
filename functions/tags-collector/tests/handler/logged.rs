//! The log of an invocation: a bounded number of lines, whatever the size of the fleet.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tags_collector::config::InvocationType;
use tags_collector::handler::Collector;
use tags_collector::plan::SeenInstance;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::world::*;

/// The lines that were written.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Lines {
    /// Takes the log of this test.
    pub(crate) fn capture() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let subscriber = tracing_subscriber::fmt().json().with_writer(lines.clone()).finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    /// The fields of each line so far.
    pub(crate) fn fields(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("PROD") && !text.contains("is bad"), "no tag's value is in the log: {text}");
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].clone()).collect()
    }
}

/// The fields of each line that an invocation writes.
async fn lines(aws: &FakeAws, payload: Value) -> Vec<Value> {
    let (lines, _guard) = Lines::capture();
    let collector = Collector::new(config(InvocationType::RequestResponse), aws, || aws.now.get());
    let handled = collector.handle(&invocation(MINUTES_15), &payload).await;
    assert!(handled.result.is_ok());
    lines.fields()
}

fn count(lines: &[Value], message: &str) -> usize {
    lines.iter().filter(|line| line["message"] == message).count()
}

fn with_outcome(ids: std::ops::Range<usize>, outcome: &str) -> Vec<SeenInstance> {
    ids.map(|id| instance(id, &[("outcome", outcome), ("Env", "PROD")])).collect()
}

#[tokio::test(start_paused = true)]
async fn each_node_of_a_small_report_has_its_line() {
    let lost = untagged(9);
    let instances = [
        with_outcome(0..1, "updated"),
        with_outcome(1..2, "rejected"),
        with_outcome(2..3, "failed"),
        with_outcome(3..4, "deferred"),
        with_outcome(4..5, "adopted"),
        vec![instance(5, &[("a#b", "PROD")]), lost.clone()],
    ];
    let aws = FakeAws { lost: vec![lost.ec2_instance_id], ..FakeAws::east(instances.concat()) };
    let lines = lines(&aws, json!({"regions": ["us-east-1"]})).await;
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    let expected = [
        "node rejected",
        "node failed",
        "node deferred",
        "node adopted",
        "node unlinked",
        "node updated",
        "node updated",
        "tags left behind",
        "swept",
    ];
    assert_eq!(messages, expected, "those in trouble first");
    assert_eq!(lines[4]["ec2_instance_id"], "i-00000000000000009");
    let swept = &lines[8];
    assert_eq!((&swept["adopted"], &swept["unlinked"], &swept["untagged"]), (&json!(1), &json!(1), &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn a_large_report_has_50_nodes_in_trouble_and_numbers_for_the_rest() {
    let instances =
        [with_outcome(0..300, "updated"), with_outcome(300..480, "rejected"), with_outcome(480..500, "failed")];
    let aws = FakeAws::east(instances.concat());
    let lines = lines(&aws, json!({"regions": ["us-east-1"]})).await;
    assert_eq!((count(&lines, "node rejected"), count(&lines, "node updated")), (50, 0));
    let rest = lines.iter().find(|line| line["message"] == "further nodes not listed").unwrap();
    assert_eq!((&rest["nodes"], &rest["rejected"]), (&json!(450), &json!(130)));
    assert_eq!((&rest["failed"], &rest["updated"], &rest["region"]), (&json!(20), &json!(300), &json!("us-east-1")));
    assert_eq!(lines.len(), 52);
}

#[tokio::test(start_paused = true)]
async fn many_messages_that_are_refused_have_20_lines() {
    let records: Vec<_> =
        (0..200).map(|id| json!({"messageId": format!("m{id}"), "eventSource": "aws:sqs", "body": "?"})).collect();
    let lines = lines(&FakeAws::default(), json!({"Records": records})).await;
    assert_eq!((count(&lines, "message refused"), lines.len()), (20, 22));
    let rest = lines.iter().find(|line| line["message"] == "further messages refused").unwrap();
    assert_eq!(rest["messages"], 180);
}
