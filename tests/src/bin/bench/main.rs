//! Measures what Tag Hub promises, and prints it as Markdown.
//!
//! The packages that are released run against the local AWS without `MiniStack`: the nodes, their tags and `GetResources` as
//! everywhere else, but no signatures and policies, and a fleet that is made up while it is read. Wall times are
//! those of this machine and say something only beside each other; call counts hold everywhere.

mod cold_start;
mod contention;
mod fanout;
mod host;
mod hostile;
mod package;
mod scale;
mod throughput;

use clap::Parser;
use tests::{Emulator, Paths};

/// Measures calls, time, memory, cold starts, throughput and package sizes.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Fleet sizes.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000])]
    sizes: Vec<usize>,
    /// Calls a second that the service takes in the runs about throughput and contention.
    #[arg(long, default_value_t = 40.0, value_parser = rate)]
    rate: f64,
    /// Only throughput, contention and recovery.
    #[arg(long)]
    rates_only: bool,
    /// Only the fan-out.
    #[arg(long, conflicts_with = "rates_only")]
    fanout_only: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "expected a number above 0".to_owned())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let paths = Paths::released()?;
    let folder = tempfile::tempdir()?;
    let emulator = Emulator::new(&paths, folder.path())?;
    let packages = package::unpack(&paths, &emulator)?;
    if arguments.rates_only {
        throughput::measure(&paths, &packages, arguments.rate).await?;
        return contention::measure(&paths, &packages, arguments.rate).await;
    }
    if arguments.fanout_only {
        return fanout::measure(&paths, &packages).await;
    }
    package::print(&packages);
    cold_start::measure(&emulator, &packages)?;
    scale::measure(&paths, &packages, &arguments.sizes).await?;
    hostile::measure(&paths, &packages).await?;
    fanout::measure(&paths, &packages).await?;
    throughput::measure(&paths, &packages, arguments.rate).await?;
    contention::measure(&paths, &packages, arguments.rate).await
}
