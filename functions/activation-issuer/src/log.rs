//! The log: a line for each agency with news, and one for the whole. No activation code is in it.

use crate::activation::ActivationId;
use crate::answer::{AgencyAnswer, Answer, Failure, Outcome};
use crate::plan::census::Census;

/// One line for each agency that something was done for or that is in trouble, one for the whole.
pub(crate) fn log(answer: &Answer) {
    answer.agencies.iter().for_each(log_agency);
    if let Some(census) = &answer.census {
        log_census(census);
    }
    let counts = answer.counts;
    tracing::info!(
        dry_run = answer.dry_run,
        agencies = counts.agencies,
        live = counts.live,
        created = counts.created,
        deleted = counts.deleted,
        failed = counts.failed,
        deferred = counts.deferred,
        "activations checked"
    );
}

/// The count, so that it is in the log of a run that nobody waits for.
fn log_census(census: &Census) {
    let by_agency = census.by_agency.iter().map(|(agency, nodes)| format!("{agency}={nodes}"));
    tracing::info!(
        nodes = census.nodes,
        tier = census.tier.map(word).map(tracing::field::display),
        limit = census.limit,
        percent = census.percent,
        new_in_30_days = census.new_in_30_days,
        days_to_limit = census.days_to_limit,
        by_agency = by_agency.collect::<Vec<_>>().join(" "),
        others = census.others,
        "nodes counted"
    );
}

fn log_agency(answer: &AgencyAnswer) {
    let agency = answer.agency.as_str();
    let outcome = tracing::field::display(word(answer.outcome));
    let reason = answer.reason.map(word).map(tracing::field::display);
    let activation_id = answer.activation_id.as_ref().map(ActivationId::as_str);
    match (&answer.failure, answer.outcome) {
        // In the log `code` is the error code, as it is in the other functions; that of an activation is never there.
        (Some(Failure { error_code, message }), _) => tracing::warn!(
            agency,
            outcome,
            reason,
            code = error_code,
            error = message,
            activation_id,
            deleted = answer.deleted.len(),
            "agency failed"
        ),
        (None, Outcome::Deferred) => tracing::warn!(agency, outcome, reason, "agency deferred"),
        (None, Outcome::Renewed | Outcome::Revoked) => {
            tracing::info!(agency, outcome, reason, activation_id, deleted = answer.deleted.len(), "agency changed");
        }
        (None, Outcome::Live) if !answer.deleted.is_empty() => {
            tracing::info!(agency, outcome, activation_id, deleted = answer.deleted.len(), "agency changed");
        }
        (None, Outcome::Live | Outcome::WouldRenew | Outcome::WouldRevoke | Outcome::Failed) => {}
    }
}

/// A word of the answer, as the answer spells it.
fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
