//! The log: what is written to it, and what may reach it.

use lambda_runtime::tracing::subscriber;
use lambda_runtime::tracing::subscriber::filter::{LevelFilter, Targets};
use lambda_runtime::tracing::subscriber::layer::SubscriberExt as _;
use lambda_runtime::tracing::subscriber::util::SubscriberInitExt as _;

use crate::activation::ActivationId;
use crate::answer::{AgencyAnswer, Answer, Failure, Outcome};

/// One line for each agency that something was done for or that is in trouble, one for the whole.
pub(crate) fn log(answer: &Answer) {
    answer.agencies.iter().for_each(log_agency);
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

/// Sets the log up: JSON on standard output, for a function whose log level Lambda says is `level`.
///
/// The runtime's own set-up lets every crate speak at that level, which is not safe here: see [`filter`].
pub fn init_log(level: Option<&str>) {
    let lines = subscriber::fmt().json().with_target(false).without_time().with_max_level(LevelFilter::TRACE);
    lines.finish().with(filter(level)).init();
}

/// Lets through what this function says at `level` (`INFO` where it is absent or no level), and what the crates
/// below it say at `INFO` at the most.
///
/// At `DEBUG` and `TRACE` the AWS SDK writes requests and answers down as they are, and the answer of
/// `CreateActivation` holds the code.
pub(crate) fn filter(level: Option<&str>) -> Targets {
    let level = level.and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    Targets::new()
        .with_default(level.min(LevelFilter::INFO))
        .with_target("activation_issuer", level)
        .with_target("lambda_runtime", level.min(LevelFilter::DEBUG))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_sdk_never_writes_what_it_sends_and_gets() {
        for level in [None, Some("TRACE"), Some("debug"), Some("INFO"), Some("WARN"), Some("nonsense")] {
            let filter = filter(level);
            for target in ["aws_smithy_runtime::client::orchestrator", "aws_sdk_ssm", "hyper_util", "rustls"] {
                assert!(!filter.would_enable(target, &Level::DEBUG), "{level:?} {target}");
                assert!(!filter.would_enable(target, &Level::TRACE), "{level:?} {target}");
            }
        }
    }

    #[test]
    fn the_function_itself_is_heard_as_asked() {
        assert!(filter(Some("TRACE")).would_enable("activation_issuer::handler", &Level::TRACE));
        assert!(filter(None).would_enable("activation_issuer::handler", &Level::INFO));
        assert!(!filter(None).would_enable("activation_issuer::handler", &Level::DEBUG));
        assert!(!filter(Some("ERROR")).would_enable("aws_sdk_ssm", &Level::WARN));
    }
}
