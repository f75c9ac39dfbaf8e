//! The Lambda function `tags-collector`.

use std::time::SystemTime;

use aws_config::BehaviorVersion;
use lambda_runtime::{run, service_fn, tracing};
use tags_collector::aws::Clients;
use tags_collector::config::Config;
use tags_collector::handler::Collector;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "this is where the environment and the clock are read")]
async fn main() -> anyhow::Result<()> {
    tracing::init_default_subscriber();
    let config = Config::from_lookup(|name| std::env::var(name).ok())?;
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let clients = Clients::new(&sdk, &config);
    let collector = Collector::new(config, clients, SystemTime::now);
    run(service_fn(|event| collector.handle(event))).await.map_err(anyhow::Error::from_boxed)
}
