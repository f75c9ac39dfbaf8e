//! Runs seeds for as long as it is told, and prints what was tried.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use simulation::{Rules, run};

/// Run the simulation over many seeds
#[derive(Debug, Parser)]
struct Options {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How many seeds to run
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Stop after so many minutes, however many seeds are left
    #[arg(long)]
    minutes: Option<u64>,
    /// Switch off a rule of the hub, to see what it is for
    #[arg(long)]
    without: Vec<Rule>,
    /// Stop after so many seeds that failed
    #[arg(long, default_value_t = 10)]
    failures: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rule {
    Leases,
    FreshReads,
    Intents,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let has = |rule| !options.without.contains(&rule);
    let rules = Rules { leases: has(Rule::Leases), fresh_reads: has(Rule::FreshReads), intents: has(Rule::Intents) };
    let begin = Instant::now();
    let (mut counts, mut simulated, mut seed_count) = (BTreeMap::<&str, u64>::new(), Duration::ZERO, 0_u64);
    let mut failed = Vec::new();
    for seed in options.first..options.first.saturating_add(options.seeds) {
        if options.minutes.is_some_and(|minutes| begin.elapsed() >= Duration::from_mins(minutes)) {
            break;
        }
        seed_count += 1;
        match run(seed, rules) {
            Ok(run) => {
                simulated += run.simulated;
                for (name, count) in run.counts {
                    *counts.entry(name).or_default() += count;
                }
            }
            Err(violation) => {
                println!("{violation}");
                failed.push(seed);
                if failed.len() >= options.failures {
                    break;
                }
            }
        }
    }
    let steps: u64 = counts.values().sum();
    println!(
        "{seed_count} seeds, {steps} steps, {:.0} simulated hours in {:.0} s; {} seeds failed",
        simulated.as_secs_f64() / 3600.0,
        begin.elapsed().as_secs_f64(),
        failed.len()
    );
    for (name, count) in counts {
        println!("  {name}: {count}");
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
