//! The binary: reads the environment and the clock, makes the clients, runs the handler.
#![expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment and the clock")]

use std::time::SystemTime;

use fleet_reporter::aws::{CentralAccount, Clients, ReportBucket, caller, sdk_config};
use fleet_reporter::{Config, Invocation, ReportError, handle, metrics};
use hub::{FunctionArn, Timestamp, WireError};
use lambda_kit::{init_log, sdk_loader};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok();
    init_log(env!("CARGO_PKG_NAME"), level.as_deref());
    let lookup = |name: &str| std::env::var(name).ok();
    let config = Config::from_lookup(lookup).inspect_err(|error| tracing::error!("{error}"))?;
    let loader = sdk_loader(lookup).inspect_err(|error| tracing::error!("{error}"))?;
    let sdk = sdk_config(loader).await;
    let bucket = ReportBucket::new(caller(&sdk), &config.report_bucket);
    run(service_fn(async |event: LambdaEvent<Value>| {
        let now = SystemTime::now();
        let budget = event.context.deadline().duration_since(now).unwrap_or_default();
        let function: Result<FunctionArn, _> = event.context.invoked_function_arn.parse();
        let result = match function {
            Ok(function) => {
                let hub = CentralAccount::new(Clients::new(&sdk), config.names(), &function);
                let invocation = Invocation { hub_account: function.account, now: Timestamp::from(now), budget };
                // Boxed, because the future holds all pages under way.
                Box::pin(handle(&config, &hub, &bucket, &invocation, &event.payload)).await
            }
            Err(error) => Err(ReportError::InvalidEvent(WireError {
                path: "context.invokedFunctionArn".to_owned(),
                problem: error.to_string(),
            })),
        };
        // Where there is no standard output there is no log to complain in either.
        let _ = metrics(&result).write_as(&config.name_prefix, SystemTime::now(), level.as_deref(), std::io::stdout());
        // Not as a `Diagnostic`, whose message has the whole answer: the runtime logs the error in its `Debug` form.
        result
    }))
    .await
}
