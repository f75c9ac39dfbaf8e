//! The fleet as `fleet-reporter` reads it, with this program's credentials.

use fleet::{Fleet, HubFacts};
use fleet_reporter::aws::{CentralAccount, Clients, ReportBucket};
use fleet_reporter::gather::gather;
use fleet_reporter::handler::{Earlier, earlier};
use fleet_reporter::ports::Names;
use hub::{FunctionArn, Timestamp};

use crate::aws::hub::Hub;
use crate::aws::json::caller;
use crate::failure::Failure;

/// The central account as `fleet-reporter` reads it.
pub fn central(hub: &Hub) -> CentralAccount {
    let (session, about) = (&hub.session, &hub.about);
    let clients =
        Clients { lambda: session.lambda(), ssm: session.ssm(), tagging: session.tagging(), caller: caller(session) };
    let part = FunctionArn {
        partition: about.partition.clone(),
        region: about.region.clone(),
        account: about.account.clone(),
        name: about.names.manager.clone(),
        qualifier: None,
    };
    let names = Names { prefix: about.name_prefix.clone(), manager: about.names.manager.clone() };
    CentralAccount::new(clients, names, &part)
}

/// Reads the fleet. The trend is that of the bucket, where there is one.
///
/// # Errors
/// If agencies, coverage or nodes cannot be read.
pub async fn read(hub: &Hub, now: Timestamp) -> Result<Fleet, Failure> {
    let (session, about) = (&hub.session, &hub.about);
    let central = central(hub);
    let Earlier { summary, unread, .. } = match &about.names.reports {
        Some(bucket) => earlier(&ReportBucket::new(caller(session), bucket)).await,
        None => Earlier::default(),
    };
    let facts = HubFacts {
        version: about.version.clone(),
        account: about.account.clone(),
        region: about.region.clone(),
        node_limit: about.node_limit,
    };
    gather(&central, facts, summary, unread, now).await.map_err(|error| Failure::aws(&error, ""))
}
