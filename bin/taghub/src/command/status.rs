//! `taghub status`.

use clap::Args;
use hub::AwsError;
use serde_json::json;

use crate::app::App;
use crate::aws::agencies::granted;
use crate::aws::hub::Hub;
use crate::aws::{alarms, function, nodes, queues, standings};
use crate::command::run::{EXECUTIONS_MAX, ask};
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::view::run::answers;
use crate::view::status::{Function, Status as Shown};

const EXAMPLES: &str = "\
Examples:
  taghub status
  taghub status --exit-code                      ends with 1 if something is broken
  taghub status | grep agencies.silent           one figure a line
  taghub status -o json | jq .nodes";

/// Show the whole hub on one screen
///
/// What may not be read is named, and the rest is shown all the same.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct Status {
    /// Exit with 1 if something is broken
    #[arg(long)]
    exit_code: bool,
}

impl Status {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is no hub, or its agencies and nodes cannot be read.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("status")?;
        let progress = Progress::new(app, "Looking at the hub");
        let hub = Hub::find(app).await?;
        let status = read(app, &hub).await?;
        drop(progress);
        if app.is_json() {
            app.print_json(&status.json())?;
        } else if app.out.is_terminal {
            app.print(&status.text(&app.out))?;
        } else {
            app.print(&status.tabs())?;
        }
        for unread in status.unread() {
            app.say(&format!("warning: not read: {unread}"));
        }
        if status.is_wrong() {
            app.hint("next: taghub doctor");
        }
        Ok(Exit::wrong_if(self.exit_code && status.is_wrong()))
    }
}

async fn read(app: &App, hub: &Hub) -> Result<Shown, Failure> {
    let now = app.now();
    let why = |error: AwsError| error.code;
    let (session, names) = (&hub.session, &hub.about.names);
    let all: Vec<&str> = names.functions().collect();
    let errors = alarms::errors(session, &all, now).await.map_err(why);
    let queues: Vec<String> = queues::names(&hub.about);
    let oldest = alarms::oldest(session, &queues, now).await.map_err(why);
    let mut functions = Vec::new();
    for (at, name) in all.iter().enumerate() {
        functions.push(Function {
            name: (*name).to_owned(),
            deployed: function::deployed(session, name).await.map_err(why),
            errors: errors.as_ref().map(|errors| errors.get(at).copied().unwrap_or_default()).map_err(Clone::clone),
            failures: queues::depth(session, &queues[at]).await.map_err(why),
            oldest: oldest.as_ref().ok().and_then(|all| *all.get(at)?),
        });
    }
    let agencies = granted(hub).await?;
    let (agencies, agencies_unread) = standings::read(hub, &agencies, now).await?;
    let running =
        ask::<answers::List>(hub, &json!({"Action": "List", "Outcome": "Running", "MaxResults": EXECUTIONS_MAX})).await;
    Ok(Shown {
        version: hub.about.version.clone(),
        place: hub.place(),
        functions,
        agencies,
        agencies_unread,
        nodes: nodes::count(hub, None).await?,
        limit: hub.about.node_limit,
        alarms: alarms::ringing(hub).await.map(|all| all.into_iter().map(|alarm| alarm.name).collect()).map_err(why),
        runs: running.map(|list| (list.value.executions.len(), list.value.complete)).map_err(|failure| failure.code),
        now,
    })
}
