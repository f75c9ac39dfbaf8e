//! `taghub run`: the function automation-fanout, with flags or a file.

pub mod begin;
pub mod past;
pub mod request;
pub mod watch;

use clap::Subcommand;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::app::App;
use crate::aws::function::{self, Answered};
use crate::aws::hub::Hub;
use crate::failure::{Exit, Failure};
use crate::state::{self, LastRun};
use crate::view::run::answers::List;

/// Executions of one key that are looked for.
pub const EXECUTIONS_MAX: usize = 200;
/// The length of an execution's id.
const ID_LENGTH: usize = 36;

/// Run a runbook in many accounts and Regions.
#[derive(Debug, Subcommand)]
pub enum Run {
    /// Show what a request would do, and start nothing
    Preview(begin::Preview),
    /// Try accounts, Regions, roles, and the runbook, and change nothing
    Preflight(begin::Preflight),
    /// Start a runbook
    Start(begin::Start),
    /// Follow a run until it ends
    Watch(watch::Watch),
    /// Show how a run stands
    Status(watch::Status),
    /// Start failed and never-started locations again
    Resume(past::Resume),
    /// Stop a run
    Stop(past::Stop),
    /// List past runs
    List(past::List),
}

impl Run {
    /// Runs the command.
    ///
    /// # Errors
    /// What is shown as an error.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        match self {
            Self::Preview(command) => command.run(app).await,
            Self::Preflight(command) => command.run(app).await,
            Self::Start(command) => command.run(app).await,
            Self::Watch(command) => command.run(app).await,
            Self::Status(command) => command.run(app).await,
            Self::Resume(command) => command.run(app).await,
            Self::Stop(command) => command.run(app).await,
            Self::List(command) => command.run(app).await,
        }
    }
}

/// Invokes automation-fanout.
///
/// # Errors
/// What Lambda or the function answers.
pub async fn ask<T: DeserializeOwned>(hub: &Hub, event: &Value) -> Result<Answered<T>, Failure> {
    let answered = function::invoke(&hub.session, &hub.about.names.fanout, event).await;
    answered.map_err(|failure| match failure.code.as_str() {
        "ResourceNotFoundException" => {
            Failure::missing("no-fanout", format!("no automation-fanout in {}", hub.place()))
                .help("deploy template.yaml with Fanout=Yes, or fanout.yaml by itself")
        }
        _ => failure,
    })
}

/// The executions of a run: `last`, an id, or a key; with what it is called.
///
/// # Errors
/// If there is no such run.
pub async fn executions(app: &App, hub: &Hub, run: &str) -> Result<(String, Vec<String>), Failure> {
    let remembered = state::load(app, &hub.about);
    let name = if run == "last" { remembered.clone()?.key } else { run.to_owned() };
    // What this machine knows need not be looked for among all runs of 30 days.
    if let Ok(last) = remembered.as_ref()
        && last.key == name
        && !last.executions.is_empty()
    {
        return Ok((name, last.executions.clone()));
    }
    if is_id(&name) {
        return Ok((name.clone(), vec![name]));
    }
    let list =
        ask::<List>(hub, &json!({"Action": "List", "IdempotencyKey": name, "MaxResults": EXECUTIONS_MAX})).await?;
    let ids: Vec<String> = list.value.executions.into_iter().map(|listed| listed.automation_execution_id).collect();
    if ids.is_empty() {
        return Err(Failure::missing("no-run", format!("no run {name} in {}", hub.place()))
            .detail("Systems Manager shows runs for 30 days.")
            .help("taghub run list shows them"));
    }
    Ok((name, ids))
}

/// Remembers what a run started, if it is the last one from this machine.
fn remember(app: &App, hub: &Hub, key: &str, executions: &[String]) -> Result<(), Failure> {
    match state::load(app, &hub.about) {
        Ok(last) if last.key == key && !executions.is_empty() => {
            state::save(app, &hub.about, &LastRun { executions: executions.to_vec(), ..last })
        }
        _ => Ok(()),
    }
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_keys() {
        assert!(is_id("4f7ca192-7e9a-40fe-9192-5cb150000000"));
        for key in ["restart-1123-k7qd", "patch-2026-11", "last", "4f7ca192-7e9a-40fe-91925-cb150000000"] {
            assert!(!is_id(key), "{key}");
        }
    }
}
