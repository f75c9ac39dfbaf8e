//! The binary: reads the environment and the clock, makes the clients, runs the handler.
#![expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment and the clock")]

use std::time::{Duration, SystemTime};

use lambda_kit::{init_log, sdk_loader};
use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};
use serde_json::value::RawValue;
use ssm_tag_manager::aws::{Calls, CoverageParameters, LeaseTable, ManagedNodes, PolicyParameters, sdk_config};
use ssm_tag_manager::{Config, Invocation, ManagerError, Responded, metrics, respond};
use tokio::time::Instant;

/// What the answer and the metrics of an invocation take.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok();
    let version = std::env::var("AWS_LAMBDA_FUNCTION_VERSION").ok();
    init_log(env!("CARGO_PKG_NAME"), level.as_deref());
    let lookup = |name: &str| std::env::var(name).ok();
    let config = Config::from_lookup(lookup).inspect_err(|error| tracing::error!("{error}"))?;
    let loader = sdk_loader(lookup).inspect_err(|error| tracing::error!("{error}"))?;
    let sdk = sdk_config(loader).await;
    let leases = LeaseTable::new(&sdk, &config.lease_table);
    let policies = config.policy_parameters.as_deref().map(|path| PolicyParameters::new(&sdk, path));
    let coverage = config.coverage_parameters.as_deref().map(|path| CoverageParameters::new(&sdk, path));
    let calls = Calls::new(aws_sdk_ssm::Client::new(&sdk), aws_sdk_resourcegroupstagging::Client::new(&sdk), leases);
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let arn =
            event.context.invoked_function_arn.parse().map_err(|_| ManagerError::Unauthenticated {
                invoked_arn: event.context.invoked_function_arn.clone(),
            })?;
        let (now, begun) = (SystemTime::now(), Instant::now());
        let budget = event.context.deadline().duration_since(now).unwrap_or_default();
        let nodes = ManagedNodes::new(&calls, &arn);
        let invocation = Invocation { arn, now, begun, budget, entropy: uuid::Uuid::new_v4().into_bytes() };
        let agency = invocation.arn.agency();
        let own = match (&policies, &agency) {
            // Boxed, because a future that holds this one too is too deep for the compiler.
            (Some(policies), Some(agency)) => Box::pin(policies.config_of(&config, agency)).await.map(Some),
            // An operator's own call, or retirement.
            _ => Ok(None),
        };
        let responded = match own {
            Ok(own) => respond(own.as_deref().unwrap_or(&config), &nodes, &invocation, event.payload.get()).await,
            Err(error) => Responded::refused(error),
        };
        if let (Some(coverage), Some(record)) = (&coverage, responded.coverage()) {
            let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
            coverage.keep(record, left.saturating_sub(ANSWER_MARGIN)).await;
        }
        let kept = coverage.as_ref().map(CoverageParameters::take_counts).unwrap_or_default();
        let read = policies.as_ref().map(PolicyParameters::take_counts).unwrap_or_default();
        let ended = SystemTime::now();
        // Where there is no standard output there is no log to complain in either.
        let measured = metrics(&responded, calls.take_counts() + read + kept, ended, version.as_deref());
        let _ = measured.write_as(&config.name_prefix, ended, level.as_deref(), std::io::stdout());
        responded.into_result().map_err(Diagnostic::from)
    }))
    .await
}
