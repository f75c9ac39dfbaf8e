//! `taghub instances`.

use clap::Args;
use serde_json::json;

use crate::app::App;
use crate::aws::agencies::{find, granted};
use crate::aws::coverage;
use crate::aws::hub::Hub;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::view::instances::{COLUMNS, Json, Line, UNMANAGED_COLUMNS, summary};
use crate::view::table::Row;
use crate::view::time::counted;

const EXAMPLES: &str = "\
Examples:
  taghub instances                               each agency and Region
  taghub instances --agency Parks --unmanaged    which instances of an agency have no node?
  taghub instances --exit-code                   ends with 1 if an instance runs without a node
  taghub instances -o csv > coverage.csv";

/// Show how many instances of each agency have a node, and which have none
///
/// As each agency's collector last reported it, for all instances of a Region. LAST CHANGE is when a figure was last
/// another one. At most 150 instances of a Region are named.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct Instances {
    /// One agency: its account id or its name
    #[arg(long, value_name = "AGENCY")]
    agency: Option<String>,
    /// List the running instances without a node
    #[arg(long)]
    unmanaged: bool,
    /// End with 1 if an instance runs without a node
    #[arg(long)]
    exit_code: bool,
}

impl Instances {
    /// Runs the command.
    ///
    /// # Errors
    /// If the hub, its agencies or their coverage cannot be read.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        let progress = Progress::new(app, "Reading the coverage");
        let hub = Hub::find(app).await?;
        let agencies = granted(&hub).await?;
        let agency = self.agency.as_deref().map(|wanted| find(&agencies, wanted, &hub)).transpose()?;
        let (mut kept, warnings) = coverage::read(&hub).await?;
        drop(progress);
        kept.retain(|one| agency.is_none_or(|agency| agency.account == one.account));
        let lines: Vec<Line<'_>> = kept.iter().map(|one| Line::new(one, &agencies)).collect();
        let document: Vec<Json<'_>> = lines.iter().map(Line::json).collect();
        let document = json!({"schema": "taghub.instances/1", "regions": document});
        if self.unmanaged {
            let rows: Vec<Row> = lines.iter().flat_map(Line::unmanaged_rows).collect();
            app.print_table(&UNMANAGED_COLUMNS, &rows, &document)?;
            let omitted: usize = kept.iter().map(|one| one.coverage.unmanaged_omitted).sum();
            if omitted > 0 {
                let more = counted(omitted, "more instance");
                let verb = if omitted == 1 { "runs" } else { "run" };
                app.say(&format!("{more} {verb} without a node; the manager keeps the first ones of a Region"));
            }
        } else {
            let now = app.now();
            let rows: Vec<Row> = lines.iter().map(|line| line.row(now)).collect();
            app.print_table(&COLUMNS, &rows, &document)?;
        }
        for warning in &warnings {
            app.say(&format!("warning: {warning}"));
        }
        if lines.is_empty() {
            app.say("no coverage is known yet; a sweep of a collector since release 0.2 brings it");
        } else {
            app.hint(&summary(&lines));
        }
        Ok(Exit::wrong_if(self.exit_code && kept.iter().any(|one| one.unmanaged() > 0)))
    }
}
