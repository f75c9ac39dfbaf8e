//! `taghub campaign watch`, `status` and `list`.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::find;
use crate::app::App;
use crate::aws::campaigns;
use crate::aws::hub::Hub;
use crate::command::patience::Patience;
use crate::failure::{Exit, Failure};
use crate::flags::duration;
use crate::progress::{Progress, Screen};
use crate::view::campaign::{COLUMNS, Campaign, State};

/// Campaigns take hours: the looks are this far from each other.
const INTERVAL: Duration = Duration::from_secs(10);
/// Campaigns in a list.
const LISTED: usize = 20;

/// Follow a campaign until it ends
///
/// Ctrl-C stops watching, not the campaign. The live view is on standard error, the end on standard output.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub campaign watch kernel-restart
  taghub campaign watch kernel-restart -o json   one JSON object for each change")]
pub struct Watch {
    /// The name of the campaign
    name: String,
    /// Look at this interval
    #[arg(long, value_name = "TIME", value_parser = duration)]
    interval: Option<Duration>,
}

/// Show how a campaign stands
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub campaign status kernel-restart
  taghub campaign status kernel-restart --exit-code
                                                 ends with 1 if it stopped")]
pub struct Status {
    /// The name of the campaign
    name: String,
    /// Exit with 1 if it stopped
    #[arg(long)]
    exit_code: bool,
}

/// List campaigns
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub campaign list                           the last ones, the latest first
  taghub campaign list --waiting                 those that wait for approval")]
pub struct List {
    /// Only those that wait for approval
    #[arg(long)]
    waiting: bool,
}

impl Watch {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is no such campaign, or it cannot be read.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("campaign watch")?;
        let progress = Progress::new(app, "Looking for the campaign");
        let hub = Hub::find(app).await?;
        let execution = find(&hub, &self.name).await?;
        drop(progress);
        follow(app, &hub, &execution.arn, self.interval).await
    }
}

/// Follows an execution until it ends.
///
/// # Errors
/// If it cannot be read.
pub async fn follow(app: &App, hub: &Hub, arn: &str, interval: Option<Duration>) -> Result<Exit, Failure> {
    let mut screen = Screen::default();
    let mut before = String::new();
    let mut patience = Patience::default();
    let wait = interval.unwrap_or(INTERVAL);
    loop {
        let campaign = match look(hub, arn).await {
            Ok(campaign) => campaign,
            Err(failure) => {
                patience.wait(app, failure, wait).await?;
                // What was said stands below the view.
                screen = Screen::default();
                continue;
            }
        };
        patience = Patience::default();
        let line = campaign.piped();
        let has_changed = line != before;
        if app.is_json() {
            if has_changed {
                app.print(&format!("{}\n", campaign.json()))?;
            }
        } else if app.err.redraws && !app.global.quiet {
            let text = campaign.text(app.now(), &app.err);
            screen.draw(text.lines(), &app.err);
        } else if has_changed && !app.global.quiet {
            app.say(&format!("{}  {line}", app.now()));
        }
        before = line;
        if campaign.is_over() {
            if !app.is_json() {
                app.print(&campaign.text(app.now(), &app.out))?;
            }
            return Ok(exit(&campaign));
        }
        tokio::time::sleep(wait).await;
    }
}

async fn look(hub: &Hub, arn: &str) -> Result<Campaign, Failure> {
    let execution = campaigns::describe(hub, arn).await?;
    campaigns::read(hub, &execution).await
}

impl Status {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is no such campaign, or it cannot be read.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("campaign status")?;
        let progress = Progress::new(app, "Looking for the campaign");
        let hub = Hub::find(app).await?;
        let execution = find(&hub, &self.name).await?;
        let campaign = campaigns::read(&hub, &execution).await?;
        drop(progress);
        if app.is_json() {
            app.print_json(&campaign.json())?;
        } else {
            app.print(&campaign.text(app.now(), &app.out))?;
        }
        Ok(if self.exit_code { exit(&campaign) } else { Exit::Done })
    }
}

impl List {
    /// Runs the command.
    ///
    /// # Errors
    /// If campaigns cannot be listed.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        let progress = Progress::new(app, "Looking for campaigns");
        let hub = Hub::find(app).await?;
        let mut all = Vec::new();
        for execution in campaigns::latest(&hub, LISTED).await? {
            all.push(campaigns::read(&hub, &execution).await?);
        }
        drop(progress);
        if self.waiting {
            all.retain(|campaign| campaign.state() == State::WaitsForApproval);
        }
        let rows: Vec<_> = all.iter().map(Campaign::row).collect();
        let documents: Vec<_> = all.iter().map(Campaign::json).collect();
        app.print_table(&COLUMNS, &rows, &json!({"schema": "taghub.campaigns/1", "campaigns": documents}))?;
        if all.is_empty() {
            app.say(if self.waiting {
                "no campaign waits for approval"
            } else {
                "no campaign was started in the last 90 days"
            });
        }
        Ok(Exit::Done)
    }
}

fn exit(campaign: &Campaign) -> Exit {
    Exit::wrong_if(matches!(campaign.state(), State::Stopped | State::Aborted))
}
