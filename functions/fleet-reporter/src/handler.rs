//! One invocation: decode, read, decide, write, summarize.
//!
//! The summary is written last: it is what the next report continues, so a report that was cut off is no part of the
//! trend.

use std::time::Duration;

use fleet::{FLEET_SCHEMA, HubFacts, Severity, Summary, csv, page};
use hub::{AccountId, AwsError, Timestamp};
use lambda_kit::{DEADLINE_EXCEEDED, Deadline, Margins};
use serde_json::Value;

use crate::answer::Answer;
use crate::config::Config;
use crate::error::ReportError;
use crate::event::Request;
use crate::gather::gather;
use crate::log::log;
use crate::ports::{File, Hub, Store};

/// What putting the report into words and writing three files takes, at the most.
const WRITE: Duration = Duration::from_secs(30);
const MARGINS: Margins = Margins { begin: WRITE, answer: WRITE };

/// What the runtime knows about an invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The account that the function runs in.
    pub hub_account: AccountId,
    /// The time of the invocation.
    pub now: Timestamp,
    /// The time until Lambda ends the invocation.
    pub budget: Duration,
}

/// Answers one invocation.
///
/// # Errors
/// See [`ReportError`]. `PartialReport` comes after the work was done, with the whole answer.
pub async fn handle(
    config: &Config,
    hub: &impl Hub,
    store: &impl Store,
    invocation: &Invocation,
    event: &Value,
) -> Result<Answer, ReportError> {
    let request = Request::from_event(event)?;
    let deadline = Deadline::with_margins(invocation.budget, MARGINS);
    let Earlier { summary: earlier, unread, is_hidden } = earlier(store).await;
    let facts = HubFacts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        account: invocation.hub_account.clone(),
        region: config.region.clone(),
        node_limit: config.node_limit,
    };
    let read = deadline.cut_off(gather(hub, facts, earlier, unread, invocation.now)).await;
    let fleet = read.unwrap_or_else(|| Err(too_late())).map_err(ReportError::NothingRead)?;
    let files = files(&fleet)?;
    let summary = &fleet.summary;
    let count = |severity| summary.findings.iter().filter(|finding| finding.severity == severity).count();
    let answer = Answer {
        dry_run: request.dry_run,
        generated: summary.generated,
        agencies: summary.agencies.len(),
        nodes: summary.limit.nodes,
        unmanaged: summary.total.unmanaged,
        broken: count(Severity::Broken),
        to_watch: count(Severity::Watch),
        page_bytes: files[0].1.len(),
        unread: summary.unread.clone(),
    };
    if !request.dry_run {
        // A summary that could not be read may be whole, and the next report continues it.
        for (file, content) in files.into_iter().filter(|(file, _)| !is_hidden || *file != File::Summary) {
            store.write(file, content).await.map_err(ReportError::NotWritten)?;
        }
    }
    log(&answer);
    if answer.unread.is_empty() { Ok(answer) } else { Err(ReportError::PartialReport(Box::new(answer))) }
}

/// The files of a report, in the order in which they are written.
///
/// # Errors
/// What cannot be put into words.
pub fn files(fleet: &fleet::Fleet) -> Result<[(File, Vec<u8>); 3], ReportError> {
    let page = page::render(fleet).map_err(|error| ReportError::Unwritable(error.to_string()))?;
    let summary = serde_json::to_vec(&fleet.summary).map_err(|error| ReportError::Unwritable(error.to_string()))?;
    Ok([(File::Page, page.into_bytes()), (File::Nodes, csv::render(fleet).into_bytes()), (File::Summary, summary)])
}

/// The report before.
#[derive(Debug, Default)]
pub struct Earlier {
    /// Its summary.
    pub summary: Option<Summary>,
    /// Why that is not there where it should be.
    pub unread: Vec<String>,
    /// True if there may be one that could not be read this time.
    pub is_hidden: bool,
}

/// Reads the report before.
pub async fn earlier(store: &impl Store) -> Earlier {
    let without = |problem: String| Earlier { unread: vec![problem], ..Earlier::default() };
    match store.earlier().await {
        Ok(None) => Earlier::default(),
        Ok(Some(text)) => match read_summary(&text) {
            Ok(summary) => Earlier { summary: Some(summary), ..Earlier::default() },
            Err(problem) => without(format!("the report before is not understood: {problem}")),
        },
        Err(error) => Earlier { is_hidden: true, ..without(format!("the report before: {error}")) },
    }
}

fn read_summary(text: &[u8]) -> Result<Summary, String> {
    let summary: Summary = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if summary.schema == FLEET_SCHEMA {
        return Ok(summary);
    }
    Err(format!("expected schema {FLEET_SCHEMA}, got {:?}", summary.schema))
}

fn too_late() -> AwsError {
    AwsError {
        operation: "the fleet",
        code: DEADLINE_EXCEEDED.to_owned(),
        message: "it was not read within the time of the function".to_owned(),
        request_id: None,
        retryable: true,
    }
}
