//! The tool `register-instance`.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;
use register_instance::aws::Clients;
use register_instance::cli::Cli;
use register_instance::machine::{Local, stop_on_signal_or_after};
use register_instance::{Failure, doctor, outcome};
use rustix::fs::Mode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Files for root alone say so themselves. What is started here may write files for others.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let text = |variable: std::ffi::OsString| variable.into_string().ok();
    let environment = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
    // The standard error has what a panic says.
    let code = catch_unwind(AssertUnwindSafe(|| run(&cli, environment)));
    ExitCode::from(code.unwrap_or_else(|_| Err("it panicked, which is a bug".to_owned())).unwrap_or_else(|problem| {
        let failed = Err(Failure::unexpected(problem));
        outcome::print(&failed, cli.is_json());
        outcome::exit_code(&failed)
    }))
}

#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
fn run(cli: &Cli, environment: BTreeMap<String, String>) -> Result<u8, String> {
    let clients = Clients::new(&environment)?;
    // Signals need a thread: while a program runs, it keeps the other one busy.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start a thread: {error}"))?;
    let code = runtime.block_on(async {
        let stop = stop_on_signal_or_after(cli.timeout()).map_err(|error| format!("cannot handle signals: {error}"))?;
        let machine = Local::new(cli.root(), environment, cli.is_verbose(), SystemTime::now, stop);
        let machine = machine.for_no_longer_than(cli.timeout());
        let settings = cli.settings();
        if cli.is_doctor() {
            let report = Box::pin(doctor::examine(&settings, &machine, &clients)).await;
            return Ok(doctor::print(&report, cli.is_json()));
        }
        let result = Box::pin(register_instance::run(&settings, &machine, &clients)).await;
        outcome::print(&result, cli.is_json());
        Ok(outcome::exit_code(&result))
    });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    code
}
