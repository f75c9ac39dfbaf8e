//! `taghub run watch` and `status`.

use std::time::Duration;

use clap::Args;
use hub::Timestamp;
use serde_json::{Value, json};

use super::{ask, executions};
use crate::app::App;
use crate::aws::agencies::granted;
use crate::aws::function::Answered;
use crate::aws::hub::Hub;
use crate::command::patience::Patience;
use crate::failure::{Exit, Failure};
use crate::flags::duration;
use crate::progress::{Progress, Screen};
use crate::view::agencies::Agency;
use crate::view::run::{Run, answers, matrix};

/// The first look comes so soon, and each further one later, as the function itself does it.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);
/// A log has a line at least this often.
const MINUTE_SECONDS: i64 = 60;
/// What the function says to executions that the service does not know.
const UNKNOWN: &str = "InvalidRequest";
/// How long that may be so after a start.
const VISIBLE_AFTER_SECONDS: i64 = 60;

/// Follow a run until it ends
///
/// Ctrl-C stops watching, not the run. The live view is on standard error, the end on standard output; without a terminal
/// there is one line for each change, and one a minute.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub run watch last                          the last run from this machine
  taghub run watch restart-1123-k7qd             by its key
  taghub run watch 4f7ca192-7e9a-40fe-9192-5cb150000000 > end.txt
                                                 by an execution's id; the end goes into a file")]
pub struct Watch {
    /// A key, an execution's id, or last
    run: String,
    /// Show every location in the end
    #[arg(long)]
    all: bool,
    /// Look at this interval, instead of at growing ones
    #[arg(long, value_name = "TIME", value_parser = duration)]
    interval: Option<Duration>,
}

/// Show how a run stands
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub run status last
  taghub run status restart-1123-k7qd --all      every location
  taghub run status last -o json | jq .Summary")]
pub struct Status {
    /// A key, an execution's id, or last
    run: String,
    /// Show every location
    #[arg(long)]
    all: bool,
    /// Exit with 1 if a location failed
    #[arg(long)]
    exit_code: bool,
}

impl Status {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is no such run, or it cannot be read.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("run status")?;
        let progress = Progress::new(app, "Looking for the run");
        let hub = Hub::find(app).await?;
        let (name, ids) = executions(app, &hub, &self.run).await?;
        let status = look(&hub, &ids).await?;
        drop(progress);
        let run = Run { name: &name, status: &status.value };
        show(app, &status.raw, &run, self.all)?;
        Ok(Exit::wrong_if(self.exit_code && run.is_wrong()))
    }
}

impl Watch {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is no such run, or it cannot be read.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("run watch")?;
        let progress = Progress::new(app, "Looking for the run");
        let hub = Hub::find(app).await?;
        let (name, ids) = executions(app, &hub, &self.run).await?;
        drop(progress);
        follow(app, &hub, &name, ids, (self.interval, self.all), app.now()).await
    }
}

/// Follows what was started a moment ago until it has ended.
///
/// # Errors
/// If it cannot be read.
pub async fn follow_new(app: &App, hub: &Hub, name: &str, ids: Vec<String>) -> Result<Exit, Failure> {
    let visible = Timestamp::from_unix_seconds(app.now().unix_seconds() + VISIBLE_AFTER_SECONDS);
    follow(app, hub, name, ids, (None, false), visible).await
}

/// Follows executions until all have ended. Before `visible` the service may not know them yet.
async fn follow(
    app: &App,
    hub: &Hub,
    name: &str,
    ids: Vec<String>,
    (interval, all): (Option<Duration>, bool),
    visible: Timestamp,
) -> Result<Exit, Failure> {
    // Names make the view easier to read, and it does without them.
    let agencies: Vec<Agency> = granted(hub).await.unwrap_or_default();
    let mut wait = interval.unwrap_or(FIRST);
    let mut screen = Screen::default();
    let mut patience = Patience::default();
    let mut before: Option<Answered<answers::Status>> = None;
    let mut last_line = app.now();
    loop {
        let status = match look(hub, &ids).await {
            Ok(status) => status,
            Err(failure) if failure.code == UNKNOWN && app.now() < visible => {
                tokio::time::sleep(wait).await;
                continue;
            }
            Err(failure) => {
                patience.wait(app, failure, wait).await?;
                // What was said stands below the view.
                screen = Screen::default();
                continue;
            }
        };
        patience = Patience::default();
        let now = app.now();
        let run = Run { name, status: &status.value };
        let earlier = before.as_ref().map(|status| Run { name, status: &status.value });
        let is_known = status.value.executions.iter().all(|execution| execution.error.is_none());
        let is_done = status.value.terminal && (is_known || now >= visible);
        let mut changes = matrix::changes(earlier.as_ref(), &run, now);
        if app.is_json() {
            if !changes.is_empty() {
                app.print(&format!("{}\n", with_schema(&status.raw)))?;
            }
        } else if app.global.quiet {
        } else if app.err.redraws {
            let seconds = i64::try_from(wait.as_secs()).unwrap_or_default();
            let lines = matrix::live(&run, &agencies, now, seconds, &app.err);
            screen.draw(lines.iter().map(String::as_str), &app.err);
        } else {
            if changes.is_empty() && now.unix_seconds() - last_line.unix_seconds() >= MINUTE_SECONDS {
                changes.push(format!("{now}  {}", run.tally().piped()));
            }
            if !changes.is_empty() {
                last_line = now;
                app.say(&changes.join("\n"));
            }
        }
        if is_done {
            if !app.is_json() {
                show(app, &status.raw, &run, all)?;
            }
            return Ok(Exit::wrong_if(run.is_wrong()));
        }
        before = Some(status);
        tokio::time::sleep(wait).await;
        wait = interval.unwrap_or_else(|| (wait + wait / 2).min(LONGEST));
    }
}

async fn look(hub: &Hub, ids: &[String]) -> Result<Answered<answers::Status>, Failure> {
    ask(hub, &json!({"Action": "Status", "AutomationExecutionIds": ids})).await
}

/// The function's own answer, with the name of its form.
fn with_schema(raw: &Value) -> Value {
    let mut raw = raw.clone();
    raw["schema"] = json!("taghub.run/1");
    raw
}

fn show(app: &App, raw: &Value, run: &Run<'_>, all: bool) -> Result<(), Failure> {
    if app.is_json() {
        return app.print_json(raw);
    }
    if app.out.is_terminal || !all {
        return app.print(&run.text(app.now(), all, &app.out));
    }
    app.print(&run.tabs())
}
