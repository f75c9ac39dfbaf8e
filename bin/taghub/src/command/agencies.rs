//! `taghub agencies`.

use clap::Args;
use serde_json::json;

use crate::app::App;
use crate::aws::agencies::granted;
use crate::aws::hub::Hub;
use crate::aws::standings;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::view::agencies::{COLUMNS, Line, summary};
use crate::view::table::Row;

const EXAMPLES: &str = "\
Examples:
  taghub agencies                                every agency, those in trouble first
  taghub agencies --silent --exit-code           ends with 1 if one does not report
  taghub agencies -o csv > agencies.csv";

/// List the agencies: which have a grant, which report, and which are silent
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct Agencies {
    /// Only those that do not report
    #[arg(long)]
    silent: bool,
    /// Exit with 1 if one of those listed needs attention
    #[arg(long)]
    exit_code: bool,
}

impl Agencies {
    /// Runs the command.
    ///
    /// # Errors
    /// If the hub or its agencies cannot be read.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        let progress = Progress::new(app, "Looking for the agencies");
        let hub = Hub::find(app).await?;
        let agencies = granted(&hub).await?;
        progress.set(&format!("Reading about {} agencies", agencies.len()));
        let now = app.now();
        let (mut all, warnings) = standings::read(&hub, &agencies, now).await?;
        drop(progress);
        let words = summary(&all, now);
        if self.silent {
            all.retain(|one| one.state(now).is_silent());
        }
        all.sort_by_key(|one| (one.state(now), one.agency.label().to_lowercase()));
        let rows: Vec<Row> = all.iter().map(|one| one.row(now)).collect();
        let lines: Vec<Line<'_>> = all.iter().map(|one| one.json(now)).collect();
        app.print_table(&COLUMNS, &rows, &json!({"schema": "taghub.agencies/1", "agencies": lines}))?;
        for warning in &warnings {
            app.say(&format!("warning: not read: {warning}"));
        }
        if agencies.is_empty() {
            app.say("no agency is granted; deploy cfn/agency-grant.yaml for one");
        } else {
            app.hint(&words);
        }
        Ok(Exit::wrong_if(self.exit_code && all.iter().any(|one| one.state(now).is_wrong())))
    }
}
