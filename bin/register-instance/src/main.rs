//! The tool `register-instance`.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;
use register_instance::aws::Clients;
use register_instance::cli::Cli;
use register_instance::machine::{Local, stop_on_signal_or_after};
use register_instance::outcome;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "this is where the environment and the clock are read")]
async fn main() -> std::io::Result<ExitCode> {
    let cli = Cli::parse();
    let stop = stop_on_signal_or_after(cli.timeout())?;
    let path = std::env::var_os("PATH");
    let machine = Local::new(cli.root(), path.as_deref(), cli.is_verbose(), SystemTime::now, stop);
    let result = Box::pin(register_instance::run(&cli.settings(), &machine, &Clients::new())).await;
    outcome::print(&result, cli.is_json());
    Ok(ExitCode::from(outcome::exit_code(&result)))
}
