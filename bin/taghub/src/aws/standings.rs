//! What is known of every agency.

use std::collections::HashMap;

use fleet::ActivationFacts;
use fleet_reporter::aws::CentralAccount;
use fleet_reporter::ports::Hub as _;
use hub::{AGENCY_TAG_KEY, AccountId, AwsError, Timestamp};

use crate::aws::hub::Hub;
use crate::aws::report::central;
use crate::aws::{function, news, nodes};
use crate::failure::Failure;
use crate::view::agencies::Agency;
use crate::view::agencies::Standing;

/// Where the function that makes activations has the limit of each agency.
const AGENCY_NODE_LIMIT: &str = "AGENCY_NODE_LIMIT";

/// Reads how agencies stand. What may not be read is left out, and named with the reason.
///
/// # Errors
/// If the nodes cannot be counted.
pub async fn read(hub: &Hub, agencies: &[Agency], now: Timestamp) -> Result<(Vec<Standing>, Vec<String>), Failure> {
    let mut warnings = Vec::new();
    let mut warn = |what: &str, error: &AwsError| warnings.push(format!("{what}: {}", error.code));
    let counts = nodes::count_by(hub, AGENCY_TAG_KEY).await?;
    let central = central(hub);
    let reports = reports(hub, &central, agencies, now).await.inspect_err(|error| warn("last reports", error)).ok();
    let ends = central.activations().await.inspect_err(|error| warn("activations", error)).ok().map(ends);
    let limit = function::variables(&hub.session, &hub.about.names.issuer).await;
    let limit = limit.inspect_err(|error| warn("the limit of each agency", error)).ok();
    let limit = limit.and_then(|variables| variables.get(AGENCY_NODE_LIMIT)?.parse().ok());
    let standing = |agency: &Agency| {
        let account = &agency.account;
        Standing {
            nodes: counts.get(account.as_str()).copied().unwrap_or_default(),
            last_report: reports.as_ref().map(|reports| reports.get(account).copied()),
            activation_ends: ends.as_ref().map(|ends| ends.get(account).copied()),
            node_limit: limit,
            agency: agency.clone(),
        }
    };
    Ok((agencies.iter().map(standing).collect(), warnings))
}

/// When each agency last reported: by the last hour of the log, and by the metrics of a day for the others.
async fn reports(
    hub: &Hub,
    central: &CentralAccount,
    agencies: &[Agency],
    now: Timestamp,
) -> Result<HashMap<AccountId, Timestamp>, AwsError> {
    let mut reports = news::reports(hub, now).await?;
    let accounts = agencies.iter().map(|agency| &agency.account);
    let missing: Vec<AccountId> = accounts.filter(|account| !reports.contains_key(account)).cloned().collect();
    reports.extend(central.last_reports(&missing, now).await?);
    Ok(reports)
}

/// When the last activation of each agency that still registers nodes ends.
fn ends(activations: Vec<ActivationFacts>) -> HashMap<AccountId, Timestamp> {
    let mut ends: HashMap<AccountId, Timestamp> = HashMap::new();
    for activation in activations.into_iter().filter(|one| one.registrations_left > 0) {
        let known = ends.entry(activation.account).or_insert(activation.ends);
        *known = activation.ends.max(*known);
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activation_that_is_used_up_registers_nobody() {
        let account: AccountId = "222222222222".parse().unwrap();
        let one = |ends: i64, registrations_left: usize| ActivationFacts {
            account: account.clone(),
            ends: Timestamp::from_unix_seconds(ends),
            registrations_left,
            registration_limit: 100,
        };
        assert_eq!(ends(vec![one(300, 0), one(100, 7), one(200, 1)])[&account], Timestamp::from_unix_seconds(200));
        assert_eq!(ends(vec![one(300, 0)]), HashMap::new());
    }
}
