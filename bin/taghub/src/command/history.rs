//! `taghub history`.

use std::time::Duration;

use clap::Args;
use hub::Timestamp;
use serde_json::json;

use super::explain::Id;
use super::run::ask;
use crate::app::App;
use crate::aws::hub::Hub;
use crate::aws::news;
use crate::failure::{Exit, Failure};
use crate::flags::duration;
use crate::progress::Progress;
use crate::view::history::{COLUMNS, Happening};
use crate::view::run::answers::List;
use crate::view::time::span;

const EXAMPLES: &str = "\
Examples:
  taghub history mi-0123456789abcdef0              what happened to a node in the last seven days
  taghub history i-0123456789abcdef0 --since 30d   the same by the EC2 instance
  taghub history mi-0123456789abcdef0 --no-runs    tags alone: the steps of runs take time to read";

/// Show what the hub did with a node's tags, and which runs touched it
///
/// Reads the log of ssm-tag-manager, as far back as its retention goes, and the runs of the last 30 days. A node that was
/// deregistered has its history all the same.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct History {
    /// A managed node, mi-…, or an EC2 instance, i-…
    #[arg(value_parser = str::parse::<Id>)]
    id: Id,
    /// How far back to look, such as 12h or 30d
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "7d")]
    since: Duration,
    /// Leave out runs
    #[arg(long)]
    no_runs: bool,
}

impl History {
    /// Runs the command.
    ///
    /// # Errors
    /// If the hub or the log of its manager cannot be read. Runs that cannot be listed are a warning.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        let progress = Progress::new(app, "Looking for the hub");
        let hub = Hub::find(app).await?;
        progress.set("Reading the log");
        let seconds = i64::try_from(self.since.as_secs()).unwrap_or(i64::MAX);
        let from = Timestamp::from_unix_seconds(app.now().unix_seconds().saturating_sub(seconds).max(0));
        let mut happenings = Vec::new();
        let id = self.id.to_string();
        let field = match self.id {
            Id::Node(_) => ("instance_id", id.as_str()),
            Id::Instance(_) => ("ec2_instance_id", id.as_str()),
        };
        news::with(&hub, from, field, |at, fields| happenings.extend(Happening::logged(at, fields)))
            .await
            .map_err(|error| Failure::aws(&error, "the log of the manager"))?;
        let mut notes = Vec::new();
        if !self.no_runs {
            progress.set("Reading the runs");
            let query = json!({"Action": "List", "InstanceId": id, "StartedAfter": from});
            match ask::<List>(&hub, &query).await {
                Ok(list) => {
                    happenings.extend(list.value.executions.into_iter().filter_map(Happening::run));
                    notes.extend(list.value.notes.into_iter().map(|note| format!("note: {note}")));
                }
                Err(failure) => notes.push(format!("warning: the runs were not read: {}", failure.message)),
            }
        }
        drop(progress);
        happenings.sort_by_key(|happening| happening.at);
        let rows: Vec<_> = happenings.iter().map(Happening::row).collect();
        app.print_table(&COLUMNS, &rows, &json!({"schema": "taghub.history/1", "history": happenings}))?;
        for note in notes {
            app.say(&note);
        }
        if happenings.is_empty() {
            app.say(&format!("nothing about {id} in {}, looking back {}", hub.place(), span(seconds)));
        }
        Ok(Exit::Done)
    }
}
