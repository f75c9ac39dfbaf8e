//! The Lambda function `tags-collector`.

use std::time::SystemTime;

use hub::WireError;
use lambda_kit::{init_log, sdk_loader};
use lambda_runtime::{LambdaEvent, run, service_fn};
use serde_json::Value;
use tags_collector::aws::Clients;
use tags_collector::config::Config;
use tags_collector::handler::{Collector, Handled, Invocation};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "this is where the environment and the clock are read")]
async fn main() -> anyhow::Result<()> {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok();
    init_log(env!("CARGO_PKG_NAME"), level.as_deref());
    let lookup = |name: &str| std::env::var(name).ok();
    let config = Config::from_lookup(lookup).inspect_err(|error| tracing::error!("{error}"))?;
    let loader = sdk_loader(lookup).inspect_err(|error| tracing::error!("{error}"))?;
    let sdk = loader.load().await;
    let clients = Clients::new(&sdk, &config);
    let name_prefix = config.name_prefix.clone();
    let collector = Collector::new(config, clients, SystemTime::now);
    run(service_fn(async |event: LambdaEvent<Value>| {
        let arn = event.context.invoked_function_arn.parse().map_err(|error: hub::Invalid| WireError {
            path: "context.invokedFunctionArn".to_owned(),
            problem: error.to_string(),
        })?;
        let budget = event.context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
        let Handled { result, metrics } = collector.handle(&Invocation { arn, budget }, &event.payload).await;
        // Where there is no standard output there is no log to complain in either.
        let _ = metrics.write_as(&name_prefix, SystemTime::now(), level.as_deref(), std::io::stdout());
        // Not as a `Diagnostic`, whose message has the whole answer: the runtime logs the error in its `Debug` form.
        result
    }))
    .await
    .map_err(anyhow::Error::from_boxed)
}
