//! Reads a hub: agencies, coverage and nodes have to be there, and what else cannot be read is named.

use std::collections::HashMap;
use std::time::Duration;

use fleet::{AgencyFacts, Facts, Fleet, FleetBuilder, HubFacts, PatchReading, Summary};
use futures_util::future::{join, try_join};
use hub::{AccountId, AwsError, Timestamp};
use lambda_kit::DEADLINE_EXCEEDED;
use tokio::time::timeout;

use crate::ports::{Granted, Hub, Logged, NodePage};

/// How far back the log is read: several sweeps of the usual schedule.
const LOG_SECONDS: i64 = 60 * 60;
/// How long that may take. Agencies cause the lines, and the nodes are read after it.
const LOG_TIME: Duration = Duration::from_mins(3);

/// Reads a fleet. `earlier` is the summary of the report before, and `unread` what could not be read by now.
///
/// At most a page of nodes is read ahead; the fleet keeps them compact.
///
/// # Errors
/// If agencies, coverage or nodes cannot be read.
pub async fn gather(
    hub: &impl Hub,
    facts: HubFacts,
    earlier: Option<Summary>,
    mut unread: Vec<String>,
    now: Timestamp,
) -> Result<Fleet, AwsError> {
    let (granted, coverage) = try_join(hub.granted(), hub.coverage()).await?;
    let since = Timestamp::from_unix_seconds(now.unix_seconds() - LOG_SECONDS);
    // The lines of this very second are among them.
    let until = Timestamp::from_unix_seconds(now.unix_seconds() + 1);
    let logged = async { timeout(LOG_TIME, hub.logged(since, until)).await.unwrap_or_else(|_| Err(too_much())) };
    let (logged, activations) = join(logged, hub.activations()).await;
    let Logged { latest, mut reports } = note(logged, &mut unread);
    let activations = note(activations, &mut unread);
    for (code, count) in latest.coverage_not_kept() {
        let agencies = if count == 1 { "1 agency".to_owned() } else { format!("{count} agencies") };
        unread.push(format!("coverage of {agencies} not kept: {code}"));
    }
    let quiet: Vec<AccountId> =
        granted.iter().map(|agency| agency.account.clone()).filter(|account| !reports.contains_key(account)).collect();
    if !quiet.is_empty() {
        reports.extend(note(hub.last_reports(&quiet, now).await, &mut unread));
    }
    let agency = |Granted { account, name }| AgencyFacts { last_report: reports.get(&account).copied(), account, name };
    let agencies = granted.into_iter().map(agency).collect();
    let unnamed = latest.unnamed();
    let facts = Facts { generated: now, hub: facts, agencies, coverage, activations, unnamed, unread };
    let mut builder = FleetBuilder::new(facts, earlier);
    let mut page = hub.nodes(None).await?;
    let mut patches_failed = None;
    loop {
        let NodePage { nodes, next } = page;
        let ids: Vec<_> = nodes.iter().map(|node| node.id.clone()).collect();
        let following = async {
            match next {
                Some(next) => hub.nodes(Some(next)).await.map(Some),
                None => Ok(None),
            }
        };
        let patching = async {
            if ids.is_empty() || patches_failed.is_some() { Ok(HashMap::new()) } else { hub.patches(&ids).await }
        };
        let (patches, following) = join(patching, following).await;
        let patches = patches.unwrap_or_else(|error| {
            patches_failed = Some(error);
            HashMap::new()
        });
        for node in nodes {
            let reading: Option<PatchReading> = patches.get(&node.id).copied();
            let news = latest.of(&node.id, &node.tags);
            builder.add(node, news, reading);
        }
        match following? {
            Some(following) => page = following,
            None => break,
        }
    }
    if let Some(error) = patches_failed {
        builder.unread(error.to_string());
    }
    Ok(builder.finish())
}

fn too_much() -> AwsError {
    AwsError {
        operation: "logs:FilterLogEvents",
        code: DEADLINE_EXCEEDED.to_owned(),
        message: "the last hour of the manager's log is too much to read in 3 minutes".to_owned(),
        request_id: None,
        retryable: true,
    }
}

/// What was read, or nothing, with what went wrong.
fn note<T: Default>(read: Result<T, AwsError>, unread: &mut Vec<String>) -> T {
    read.unwrap_or_else(|error| {
        unread.push(error.to_string());
        T::default()
    })
}
