//! The binary: reads the environment and the clock, makes the client, runs the handler.
#![expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment and the clock")]

use std::time::SystemTime;

use automation_fanout::{Config, Invocation, aws, handle, metrics};
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
    let sdk = aws::sdk_config(loader).await;
    let calls = aws::Calls::new(
        aws_sdk_ssm::Client::new(&sdk),
        aws_sdk_ec2::Client::new(&sdk),
        aws_sdk_resourcegroupstagging::Client::new(&sdk),
    );
    run(service_fn(async |event: LambdaEvent<Value>| {
        let budget = event.context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
        let invocation = Invocation { request_id: event.context.request_id.clone(), budget };
        let result = handle(&config, &calls, &invocation, &event.payload).await;
        let line = metrics(&result, calls.take_counts());
        // Where there is no standard output there is no log to complain in either.
        let _ = line.write_as(&config.name_prefix, SystemTime::now(), level.as_deref(), std::io::stdout());
        // Not as a `Diagnostic`, whose message has the whole answer: the runtime logs the error in its `Debug` form.
        result
    }))
    .await
}
