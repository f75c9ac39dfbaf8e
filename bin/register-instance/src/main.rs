//! The tool `register-instance`.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;
use register_instance::aws::Clients;
use register_instance::cli::Cli;
use register_instance::machine::{Local, stop_on_signal_or_after};
use register_instance::{doctor, outcome};
use rustix::fs::Mode;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "this is where the environment and the clock are read")]
async fn main() -> std::io::Result<ExitCode> {
    let cli = Cli::parse();
    // What root writes here is for root.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let stop = stop_on_signal_or_after(cli.timeout())?;
    let text = |variable: std::ffi::OsString| variable.into_string().ok();
    let environment = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
    let clients = Clients::new(&environment).map_err(std::io::Error::other)?;
    let machine = Local::new(cli.root(), environment, cli.is_verbose(), SystemTime::now, stop);
    let settings = cli.settings();
    if cli.is_doctor() {
        let report = Box::pin(doctor::examine(&settings, &machine, &clients)).await;
        return Ok(ExitCode::from(doctor::print(&report, cli.is_json())));
    }
    let result = Box::pin(register_instance::run(&settings, &machine, &clients)).await;
    outcome::print(&result, cli.is_json());
    Ok(ExitCode::from(outcome::exit_code(&result)))
}
