//! `taghub campaign approve` and `reject`.

use clap::Args;
use serde_json::json;

use super::find;
use crate::app::App;
use crate::aws::campaigns;
use crate::aws::hub::Hub;
use crate::failure::{Exit, Failure};
use crate::terminal::Sign;

/// What Step Functions says to an answer that nobody waits for any more.
const TOO_LATE: [&str; 3] = ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"];

/// Let the next wave begin
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub campaign approve kernel-restart --wave ring-1
  taghub campaign approve kernel-restart --wave ring-1 --comment \"checked by the service desk\"")]
pub struct Approve {
    /// The name of the campaign
    name: String,
    /// The wave that is through its gate, so that a late answer never meets the next one
    #[arg(long, value_name = "WAVE")]
    wave: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

/// End a campaign that waits for approval
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub campaign reject kernel-restart --wave ring-1 --comment \"two services did not come back\"")]
pub struct Reject {
    /// The name of the campaign
    name: String,
    /// The wave that is through its gate
    #[arg(long, value_name = "WAVE")]
    wave: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    comment: String,
}

impl Approve {
    /// Runs the command.
    ///
    /// # Errors
    /// If the campaign does not wait behind this wave.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        answer(app, &self.name, &self.wave, true, self.comment.as_deref()).await
    }
}

impl Reject {
    /// Runs the command.
    ///
    /// # Errors
    /// If the campaign does not wait behind this wave.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        answer(app, &self.name, &self.wave, false, Some(&self.comment)).await
    }
}

async fn answer(app: &App, name: &str, wave: &str, approved: bool, comment: Option<&str>) -> Result<Exit, Failure> {
    app.no_csv(if approved { "campaign approve" } else { "campaign reject" })?;
    let hub = Hub::find(app).await?;
    let execution = find(&hub, name).await?;
    let campaign = campaigns::read(&hub, &execution).await?;
    let status = format!("taghub campaign status {name}");
    let Some(approval) = campaign.approval() else {
        return Err(Failure::usage(format!("the campaign {name} does not wait for approval")).help(status));
    };
    if approval.wave != wave {
        return Err(Failure::usage(format!("the campaign {name} waits behind {}, not behind {wave}", approval.wave))
            .help(status));
    }
    let by = hub.session.caller().await?.arn;
    let output = json!({"Approved": approved, "By": by, "Comment": comment});
    campaigns::answer(&hub, &approval.token, &output).await.map_err(|failure| {
        if TOO_LATE.contains(&failure.code.as_str()) {
            return Failure::usage(format!("the answer came too late: {name} no longer waits behind {wave}"))
                .help(status.clone());
        }
        failure
    })?;
    let next = approval.next.as_deref().unwrap_or("the next wave");
    let words =
        if approved { format!("approved: {next} begins") } else { format!("rejected: {name} ends before {next}") };
    if app.is_json() {
        app.print_json(&json!({"schema": "taghub.campaign/1", "name": name, "wave": wave, "approved": approved}))?;
    } else {
        app.print(&format!("{}\n", app.out.mark(Sign::Good, &words)))?;
    }
    Ok(Exit::Done)
}
