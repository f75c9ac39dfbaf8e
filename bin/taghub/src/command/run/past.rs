//! `taghub run resume`, `stop` and `list`.

use std::time::Duration;

use clap::Args;
use hub::{ManagedInstanceId, Timestamp};
use serde_json::{Value, json};

use super::{ask, executions, remember, watch};
use crate::app::App;
use crate::aws::hub::Hub;
use crate::failure::{Exit, Failure};
use crate::flags::duration;
use crate::progress::Progress;
use crate::terminal::Sign;
use crate::view::run::answers::{self, StartAnswer};
use crate::view::run::{Run, Stand, Tally, principal, start};
use crate::view::table::{Cell, Columns, Row};
use crate::view::time::minute;

const COLUMNS: Columns = Columns {
    headers: &["EXECUTION", "OUTCOME", "RUNBOOK", "STARTED", "BY"],
    kept: 2,
    keys: &["automationExecutionId", "status", "runbook", "startedAt", "executedBy", "touched"],
};

/// Start failed and never-started locations again
///
/// What succeeded is left alone. An execution is resumed once: to go on from a resumption that failed, resume that one.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub run resume last --watch
  taghub run resume restart-1123-k7qd --max-concurrency 2 --yes")]
pub struct Resume {
    /// A key, an execution's id, or last
    run: String,
    /// Locations at the same time, instead of what each had
    #[arg(long, value_name = "N|%")]
    max_concurrency: Option<String>,
    /// Follow the run until it ends
    #[arg(long)]
    watch: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Stop a run
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub run stop restart-1123-k7qd
  taghub run stop last --complete --yes          let what runs come to its end, and begin nothing more")]
pub struct Stop {
    /// A key, an execution's id, or last
    run: String,
    /// Let running locations finish
    #[arg(long)]
    complete: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// List past runs
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub run list                                the last runs, the latest first
  taghub run list --runbook AWS-Restart --since 7d --failed
  taghub run list --node mi-0123456789abcdef0    runs that name a node or an instance
  taghub run list --key restart-1123-k7qd        what was started under a key")]
pub struct List {
    /// Runs of runbooks whose names begin with this
    #[arg(long, value_name = "NAME")]
    runbook: Option<String>,
    /// Runs that were started within this time, such as 12h or 7d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<Duration>,
    /// Runs that failed
    #[arg(long)]
    failed: bool,
    /// Runs that name a node in their parameters, targets, or steps
    #[arg(long, value_name = "mi-…", value_parser = str::parse::<ManagedInstanceId>)]
    node: Option<ManagedInstanceId>,
    /// Runs that were started under a key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

impl Resume {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is no such run, or nothing could be started.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("run resume")?;
        if !self.yes && !app.can_ask {
            return Err(Failure::usage("no terminal to ask on").help("add --yes; resuming again starts nothing twice"));
        }
        let progress = Progress::new(app, "Looking for the run");
        let hub = Hub::find(app).await?;
        let (name, ids) = executions(app, &hub, &self.run).await?;
        let status = ask::<answers::Status>(&hub, &json!({"Action": "Status", "AutomationExecutionIds": ids})).await?;
        drop(progress);
        if !self.yes {
            let tally = Tally::of(&status.value.executions);
            let run = Run { name: &name, status: &status.value };
            app.say(run.text(app.now(), false, &app.err).trim_end());
            let question =
                format!("Start {} failed and {} never-started locations again?", tally.failed, tally.not_started);
            app.confirm(&question, &name, "add --yes").await?;
        }
        let mut request = json!({"Action": "Resume", "AutomationExecutionIds": ids});
        if let Some(limit) = &self.max_concurrency {
            request["TargetLocationMaxConcurrency"] = json!(limit);
        }
        let progress = Progress::new(app, &format!("Resuming {name}"));
        let answer = ask::<StartAnswer>(&hub, &request).await?;
        drop(progress);
        let started: Vec<String> =
            answer.value.executions.iter().map(|started| started.automation_execution_id.clone()).collect();
        if app.is_json() {
            app.print_json(&answer.raw)?;
        } else if started.is_empty() && answer.value.complete {
            app.print(&format!("{}\n", app.out.mark(Sign::Good, "nothing to resume: every location succeeded")))?;
        } else {
            app.print(&resumed(&answer.value, app))?;
        }
        if !answer.value.complete {
            return Ok(Exit::Wrong);
        }
        remember(app, &hub, &name, &started)?;
        if self.watch && !started.is_empty() {
            return watch::follow_new(app, &hub, &name, started).await;
        }
        Ok(Exit::Done)
    }
}

/// What was started, with the ids to watch: a resumption has a key of its own making.
fn resumed(answer: &StartAnswer, app: &App) -> String {
    let lines = answer.executions.iter().map(|started| {
        let words = format!("resumed. taghub run watch {}", started.automation_execution_id);
        format!("{}\n", app.out.mark(Sign::Good, &words))
    });
    let failed = answer.failed.iter().map(|failed| start::not_done(failed, &app.out));
    lines.chain(failed).collect()
}

impl Stop {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is no such run, or nothing could be stopped.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("run stop")?;
        if !self.yes && !app.can_ask {
            return Err(Failure::usage("no terminal to ask on").help("add --yes"));
        }
        let progress = Progress::new(app, "Looking for the run");
        let hub = Hub::find(app).await?;
        let (name, ids) = executions(app, &hub, &self.run).await?;
        let status = ask::<answers::Status>(&hub, &json!({"Action": "Status", "AutomationExecutionIds": ids})).await?;
        drop(progress);
        let tally = Tally::of(&status.value.executions);
        if !self.yes {
            let question = if self.complete {
                format!(
                    "Let {} running locations finish, and start none of {} waiting ones?",
                    tally.running, tally.waiting
                )
            } else {
                format!("Cancel {} running and {} waiting locations?", tally.running, tally.waiting)
            };
            app.confirm(&question, &name, "add --yes").await?;
        }
        let kind = if self.complete { "Complete" } else { "Cancel" };
        let answer =
            ask::<answers::Stop>(&hub, &json!({"Action": "Stop", "AutomationExecutionIds": ids, "Type": kind})).await?;
        if app.is_json() {
            app.print_json(&answer.raw)?;
        } else {
            app.print(&stopped(&answer.value, &tally, self.complete, app))?;
        }
        Ok(Exit::wrong_if(!answer.value.failed.is_empty()))
    }
}

fn stopped(answer: &answers::Stop, tally: &Tally, complete: bool, app: &App) -> String {
    let asked = answer.executions.iter().filter(|stopped| stopped.outcome == "stop-requested").count();
    let line = match (asked, complete) {
        (0, _) => app.out.mark(Sign::Good, "already ended: there was nothing to stop"),
        (_, false) => {
            let words = format!("stop requested: {} being canceled, {} will not start", tally.running, tally.waiting);
            app.out.mark(Sign::Good, &words)
        }
        (_, true) => {
            let words = format!("stop requested: {} will finish, {} will not start", tally.running, tally.waiting);
            app.out.mark(Sign::Good, &words)
        }
    };
    let failed = answer.failed.iter().map(|failed| start::not_done(failed, &app.out));
    failed.fold(format!("{line}\n"), |text, line| text + &line)
}

impl List {
    /// Runs the command.
    ///
    /// # Errors
    /// If past runs cannot be listed.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        let progress = Progress::new(app, "Looking for runs");
        let hub = Hub::find(app).await?;
        let answer = ask::<answers::List>(&hub, &self.request(app.now())).await?;
        drop(progress);
        let rows: Vec<Row> = answer.value.executions.iter().map(row).collect();
        app.print_table(&COLUMNS, &rows, &answer.raw)?;
        for note in &answer.value.notes {
            app.say(&format!("note: {note}"));
        }
        if rows.is_empty() {
            app.say("no such run; Systems Manager shows runs for 30 days");
        }
        Ok(Exit::Done)
    }

    fn request(&self, now: Timestamp) -> Value {
        let mut request = json!({"Action": "List"});
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                request[name] = value;
            }
        };
        let since = self.since.and_then(|since| i64::try_from(since.as_secs()).ok());
        put("DocumentName", self.runbook.as_ref().map(|name| json!(name)));
        put("StartedAfter", since.map(|since| json!(Timestamp::from_unix_seconds(now.unix_seconds() - since))));
        put("Outcome", self.failed.then(|| json!("Failed")));
        put("InstanceId", self.node.as_ref().map(|node| json!(node)));
        put("IdempotencyKey", self.key.as_ref().map(|key| json!(key)));
        request
    }
}

fn row(listed: &answers::Listed) -> Row {
    let by = listed.executed_by.as_deref().map_or_else(|| "-".to_owned(), principal);
    let started = listed.started_at.map_or_else(|| "-".to_owned(), minute);
    Row {
        cells: vec![
            Cell::text(&listed.automation_execution_id),
            Cell::mark(Stand::of(&listed.status).sign(), &listed.status),
            Cell::text(listed.document_name.rsplit("document/").next().unwrap_or_default()),
            Cell::text(started),
            Cell::text(by),
        ],
        piped: vec![
            listed.automation_execution_id.clone(),
            listed.status.clone(),
            listed.document_name.clone(),
            listed.started_at.map_or_else(|| "-".to_owned(), |at| at.to_string()),
            listed.executed_by.clone().unwrap_or_else(|| "-".to_owned()),
            listed.touched.join("; "),
        ],
    }
}
