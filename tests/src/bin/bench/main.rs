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
mod reporter;
mod scale;
mod throughput;

use clap::{Parser, ValueEnum};
use tests::{Emulator, Paths};

/// Measures calls, time, memory, cold starts, throughput and package sizes.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// What to measure; everything by default.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Part>,
    /// Fleet sizes.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000])]
    sizes: Vec<usize>,
    /// Calls a second that the service takes in the runs about throughput and contention.
    #[arg(long, default_value_t = 40.0, value_parser = rate)]
    rate: f64,
}

/// What can be measured, in the order in which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Packages,
    ColdStart,
    /// Calls, time and memory of sweeps.
    Sweeps,
    /// Memory for reports that are made up to hurt.
    Hostile,
    Fanout,
    /// The fleet report.
    Reporter,
    Throughput,
    /// Many agencies at once, and recovery after trouble.
    Contention,
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
    for part in Part::value_variants() {
        if !arguments.only.is_empty() && !arguments.only.contains(part) {
            continue;
        }
        match part {
            Part::Packages => package::print(&packages),
            Part::ColdStart => cold_start::measure(&emulator, &packages)?,
            Part::Sweeps => scale::measure(&paths, &packages, &arguments.sizes).await?,
            Part::Hostile => hostile::measure(&paths, &packages).await?,
            Part::Fanout => fanout::measure(&paths, &packages).await?,
            Part::Reporter => reporter::measure(&paths, &packages).await?,
            Part::Throughput => throughput::measure(&paths, &packages, arguments.rate).await?,
            Part::Contention => contention::measure(&paths, &packages, arguments.rate).await?,
        }
    }
    Ok(())
}
