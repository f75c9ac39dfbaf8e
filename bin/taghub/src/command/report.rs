//! `taghub report`.

use std::path::PathBuf;

use clap::Args;
use fleet_reporter::handler::files;
use serde_json::json;

use crate::app::App;
use crate::aws::hub::Hub;
use crate::aws::report;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::view::time::counted;

const EXAMPLES: &str = "\
Examples:
  taghub report                                  into the folder fleet
  taghub report --dir /tmp/fleet
  taghub report -o json | jq .files";

/// Write the fleet on one page, with its files
///
/// Reads what fleet-reporter reads, and writes the same three files: index.html, which needs no network, fleet.csv with
/// the nodes, and fleet.json with all else. The trend is that of the daily reports.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct Report {
    /// Where to write the files
    #[arg(long, value_name = "DIR", default_value = "fleet")]
    dir: PathBuf,
    /// End with 1 if something is broken
    #[arg(long)]
    exit_code: bool,
}

impl Report {
    /// Runs the command.
    ///
    /// # Errors
    /// If the fleet cannot be read, or the files cannot be written.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("report")?;
        let progress = Progress::new(app, "Reading the fleet");
        let hub = Hub::find(app).await?;
        let fleet = report::read(&hub, app.now()).await?;
        let files = files(&fleet).map_err(|error| Failure::new(Exit::Aws, "unwritable", error.to_string()))?;
        std::fs::create_dir_all(&self.dir).map_err(|error| self.unwritable(&error))?;
        let mut paths = Vec::new();
        for (file, content) in files {
            let path = self.dir.join(file.name());
            std::fs::write(&path, content).map_err(|error| self.unwritable(&error))?;
            paths.push(path.display().to_string());
        }
        drop(progress);
        let summary = &fleet.summary;
        let broken = summary.findings.iter().filter(|finding| finding.severity == fleet::Severity::Broken).count();
        if app.is_json() {
            let document = json!({
                "schema": "taghub.report/1", "files": paths, "generated": summary.generated,
                "nodes": summary.limit.nodes, "broken": broken, "unread": summary.unread,
            });
            app.print_json(&document)?;
        } else {
            app.print(&(paths.join("\n") + "\n"))?;
        }
        for unread in &summary.unread {
            app.say(&format!("warning: not read: {unread}"));
        }
        let nodes = counted(summary.limit.nodes, "node");
        app.hint(&format!("{nodes}, {} findings, {broken} of them broken", summary.findings.len()));
        Ok(Exit::wrong_if(self.exit_code && broken > 0))
    }

    fn unwritable(&self, error: &std::io::Error) -> Failure {
        Failure::usage(format!("cannot write to {}: {error}", self.dir.display()))
            .help("choose another folder with --dir")
    }
}
