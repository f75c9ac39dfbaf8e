//! `taghub campaign start`, `resume` and `stop`.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{find, look};
use crate::app::App;
use crate::aws::campaigns;
use crate::aws::hub::Hub;
use crate::command::run::ask;
use crate::command::run::request::read;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::terminal::Sign;
use crate::view::campaign::execution_name;
use crate::view::time::counted;

/// Start a campaign
///
/// It shows the waves and asks. The name is the key: one name never starts twice.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub campaign start patch-by-rings.json --watch
  taghub campaign start patch-by-rings.json --yes")]
pub struct Start {
    /// A campaign in JSON, as in docs/fanout.md; - reads standard input
    file: PathBuf,
    /// Follow the campaign until it ends
    #[arg(long)]
    watch: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Go on with a campaign that stopped
///
/// The wave that failed is resumed under its own key: what succeeded is left alone. If a wave was through its gate and the
/// next one was not approved, the next one begins.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub campaign resume kernel-restart --watch")]
pub struct Resume {
    /// The name of the campaign
    name: String,
    /// Follow the campaign until it ends
    #[arg(long)]
    watch: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Stop a campaign
///
/// No further wave begins. The wave that is under way goes on, unless --runs stops it too.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub campaign stop kernel-restart
  taghub campaign stop kernel-restart --runs --yes")]
pub struct Stop {
    /// The name of the campaign
    name: String,
    /// Also cancel what the wave under way has started
    #[arg(long)]
    runs: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// The answer of the function to a campaign that is only looked at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Plan {
    name: String,
    waves: Vec<PlannedWave>,
    #[serde(default)]
    notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PlannedWave {
    name: String,
    account_region_pairs: Option<usize>,
    #[serde(default)]
    such_as: Vec<String>,
}

impl Start {
    /// Runs the command.
    ///
    /// # Errors
    /// If the campaign is refused, was started before, or nobody confirmed.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("campaign start")?;
        if !self.yes && !app.can_ask {
            return Err(
                Failure::usage("no terminal to ask on").help("add --yes; the name keeps it from starting twice")
            );
        }
        let mut input = read(&self.file)?;
        if let Some(fields) = input.as_object_mut() {
            fields.remove("Action");
        }
        let progress = Progress::new(app, "Looking at the campaign");
        let hub = Hub::find(app).await?;
        let mut look = input.clone();
        look["Action"] = json!("Campaign");
        let plan = ask::<Plan>(&hub, &look).await?.value;
        if let Some(before) = campaigns::find(&hub, &plan.name).await? {
            return Err(Failure::usage(format!(
                "the campaign {} was started before, and is {}",
                plan.name, before.status
            ))
            .help(format!("taghub campaign resume {} continues it; for a new one, choose another Name", plan.name)));
        }
        drop(progress);
        self.confirm(app, &plan).await?;
        let arn = campaigns::start(&hub, &execution_name(&plan.name), &input).await.map_err(already)?;
        begun(app, &hub, &plan.name, &arn, self.watch).await
    }

    async fn confirm(&self, app: &App, plan: &Plan) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        for wave in &plan.waves {
            let size =
                wave.account_region_pairs.map_or("unknown locations".to_owned(), |count| counted(count, "location"));
            app.say(&format!("{}  {size}  such as {}", wave.name, wave.such_as.join(", ")));
        }
        for note in &plan.notes {
            app.say(&app.err.mark(Sign::Look, note));
        }
        let question = format!("Start {} in {}?", plan.name, counted(plan.waves.len(), "wave"));
        app.confirm(&question, &plan.name, "add --yes").await
    }
}

impl Resume {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is no such campaign, it has not stopped, or nobody confirmed.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("campaign resume")?;
        if !self.yes && !app.can_ask {
            return Err(Failure::usage("no terminal to ask on").help("add --yes"));
        }
        let progress = Progress::new(app, "Looking for the campaign");
        let hub = Hub::find(app).await?;
        let execution = find(&hub, &self.name).await?;
        let campaign = campaigns::read(&hub, &execution).await?;
        drop(progress);
        if execution.is_running() || execution.status == "SUCCEEDED" {
            let state = execution.status.to_lowercase();
            return Err(Failure::usage(format!(
                "the campaign {} is {state}; only a stopped campaign can be resumed",
                self.name
            ))
            .help(format!("taghub campaign status {}", self.name)));
        }
        let mut input = execution.input.clone();
        // A preflight comes before the first wave alone.
        let go_on = campaign.go_on();
        if let Some((wave, resume)) = &go_on {
            input["From"] = json!(wave);
            input["Resume"] = json!(resume);
            input["Preflight"] = json!(false);
        }
        if !self.yes {
            let what = match &go_on {
                Some((wave, true)) => format!("Start what failed in {wave} again, and continue from there?"),
                Some((wave, false)) => format!("Continue with {wave}, which was not approved?"),
                None => "No wave began. Start it from the beginning?".to_owned(),
            };
            app.confirm(&what, &self.name, "add --yes").await?;
        }
        let name = format!("{}-{}", execution_name(&self.name), app.now().unix_seconds());
        let arn = campaigns::start(&hub, &name, &input).await.map_err(already)?;
        begun(app, &hub, &self.name, &arn, self.watch).await
    }
}

impl Stop {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is no such campaign, or it cannot be stopped.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("campaign stop")?;
        if !self.yes && !app.can_ask {
            return Err(Failure::usage("no terminal to ask on").help("add --yes"));
        }
        let hub = Hub::find(app).await?;
        let execution = find(&hub, &self.name).await?;
        if !execution.is_running() {
            return done(app, &self.name, &execution.arn, "already ended: there was nothing to stop");
        }
        let campaign = campaigns::read(&hub, &execution).await?;
        if !self.yes {
            app.confirm("No further wave will begin. Stop the campaign?", &self.name, "add --yes").await?;
        }
        campaigns::stop(&hub, &execution.arn, "stopped with taghub campaign stop").await?;
        let running = campaign.running();
        if self.runs && !running.is_empty() {
            ask::<Value>(&hub, &json!({"Action": "Stop", "AutomationExecutionIds": running, "Type": "Cancel"})).await?;
        } else if let Some(wave) = campaign.wave().filter(|_| !running.is_empty()) {
            app.say(&format!("{wave} goes on; to stop it too: taghub run stop {}/{wave}", self.name));
        }
        done(app, &self.name, &execution.arn, "stopped")
    }
}

fn already(failure: Failure) -> Failure {
    if failure.code != "ExecutionAlreadyExists" {
        return failure;
    }
    Failure::usage("a campaign of this name was started within the last 90 days").help("choose another Name")
}

async fn begun(app: &App, hub: &Hub, name: &str, arn: &str, watch: bool) -> Result<Exit, Failure> {
    if !watch || !app.is_json() {
        done(app, name, arn, &format!("started. taghub campaign watch {name}"))?;
    }
    if watch {
        return look::follow(app, hub, arn, None).await;
    }
    Ok(Exit::Done)
}

fn done(app: &App, name: &str, arn: &str, words: &str) -> Result<Exit, Failure> {
    if app.is_json() {
        app.print_json(&json!({"schema": "taghub.campaign/1", "name": name, "executionArn": arn}))?;
    } else {
        app.print(&format!("{}\n", app.out.mark(Sign::Good, words)))?;
    }
    Ok(Exit::Done)
}
