//! How well the manager uses a service that takes only so many calls a second.

use local_aws::Fault;
use tests::Paths;

use crate::package::Packages;
use crate::scale::Hub;

/// Enough that the learning at the start does not count for much.
const INSTANCES: usize = 6_000;
const WRITE: &str = "ssm:AddTagsToResource";

pub(crate) async fn measure(paths: &Paths, packages: &Packages, rate: f64) -> anyhow::Result<()> {
    println!("### Throughput under a service rate\n");
    println!("Target: at least 95 % of the rate, under 2 % of the calls throttled.\n");
    println!("| service rate | instances | wall time | share of the rate | throttled |\n|---|---|---|---|---|");
    let hub = Hub::start(paths, packages, INSTANCES).await?;
    hub.aws.faults().add(Fault::rate(WRITE, rate, rate));
    let sweep = hub.sweep().await?;
    let writes = sweep.calls.of(WRITE);
    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let (answered, throttled) = (writes.answered as f64, writes.throttled as f64);
    let share = answered / sweep.wall.as_secs_f64() / rate * 100.0;
    let throttled_share = throttled / (answered + throttled) * 100.0;
    println!(
        "| {rate} calls/s | {INSTANCES} | {:.1} s | {share:.0} % | {throttled_share:.1} % |",
        sweep.wall.as_secs_f64()
    );
    let counts = &sweep.answer["counts"];
    let nodes = &sweep.answer["nodes"];
    anyhow::ensure!(counts["updated"] == INSTANCES, "every node is updated: {counts}, {nodes}");
    Ok(())
}
