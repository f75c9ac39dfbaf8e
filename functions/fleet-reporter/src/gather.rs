//! Reads a hub: agencies, coverage and nodes have to be there, and what else cannot be read is named.

use std::collections::HashMap;

use fleet::{AgencyFacts, Facts, Fleet, FleetBuilder, HubFacts, PatchReading, Summary};
use futures_util::future::{join, try_join};
use hub::{AccountId, AwsError, Timestamp};

use crate::ports::{Granted, Hub, Logged, NodePage};

/// How far back the log is read: several sweeps of the usual schedule.
const LOG_SECONDS: i64 = 60 * 60;

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
    let (logged, activations) = join(hub.logged(since), hub.activations()).await;
    let Logged { latest, mut reports } = note(logged, &mut unread);
    let activations = note(activations, &mut unread);
    let quiet: Vec<AccountId> =
        granted.iter().map(|agency| agency.account.clone()).filter(|account| !reports.contains_key(account)).collect();
    if !quiet.is_empty() {
        reports.extend(note(hub.last_reports(&quiet, now).await, &mut unread));
    }
    let agency = |Granted { account, name }| AgencyFacts { last_report: reports.get(&account).copied(), account, name };
    let agencies = granted.into_iter().map(agency).collect();
    let mut builder =
        FleetBuilder::new(Facts { generated: now, hub: facts, agencies, coverage, activations, unread }, earlier);
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

/// What was read, or nothing, with what went wrong.
fn note<T: Default>(read: Result<T, AwsError>, unread: &mut Vec<String>) -> T {
    read.unwrap_or_else(|error| {
        unread.push(error.to_string());
        T::default()
    })
}
