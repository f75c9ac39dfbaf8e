//! `taghub agency`: how one comes, whether it is connected, and how it leaves.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use hub::{AGENCY_TAG_KEY, AccountId};
use serde_json::json;

use super::doctor;
use crate::app::App;
use crate::aws::agencies::{find, granted};
use crate::aws::hub::{About, Hub};
use crate::aws::nodes;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::terminal::Sign;
use crate::view::agency::{Arrival, Leave, Place};

/// Connect an agency, test its connection, or plan its removal.
#[derive(Debug, Subcommand)]
pub enum Agency {
    /// Test the path from an agency's collector to the manager
    Test(Test),
    /// Print what to deploy for an agency
    Add(Add),
    /// Print the steps to remove an agency; its nodes stay connected
    Remove(Remove),
}

/// Test the path from an agency's collector to the manager
///
/// It invokes the collector for a dry run: the collector calls the manager in every sweep, also if the account has no
/// instances. Ends with 1 unless the whole way was walked. It needs a profile of the agency's account.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub agency test Parks --agency-profile parks
  taghub agency test 555555555555                with the only profile that names the account")]
pub struct Test {
    /// The agency: its account id or its name
    agency: String,
}

/// Print what to deploy for an agency
///
/// It deploys nothing. The commands are for a folder with dist and cfn in it, each under the name of the account that it is for.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub agency add 555555555555
  taghub agency add 555555555555 --name Parks")]
pub struct Add {
    /// The account of the agency
    #[arg(value_name = "ACCOUNT", value_parser = str::parse::<AccountId>)]
    account: AccountId,
    /// What taghub calls the agency
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Print the steps to remove an agency; its nodes stay connected
///
/// It removes nothing, so --plan is required.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub agency remove Parks --plan
  taghub agency remove 555555555555 --plan > leave.sh")]
pub struct Remove {
    /// The agency: its account id or its name
    agency: String,
    /// Show the plan
    #[arg(long)]
    plan: bool,
}

impl Agency {
    /// Runs the command.
    ///
    /// # Errors
    /// What is shown as an error.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("agency")?;
        match self {
            Self::Test(command) => command.run(app).await,
            Self::Add(command) => command.run(app).await,
            Self::Remove(command) => command.run(app).await,
        }
    }
}

impl Test {
    async fn run(self, app: &App) -> Result<Exit, Failure> {
        let progress = Progress::new(app, "Checking the path from the grant to the manager");
        let hub = Hub::find(app).await?;
        let (chain, _) = doctor::way(app, &hub, &self.agency).await?;
        drop(progress);
        doctor::print(app, &chain, &format!("taghub agency test {}", self.agency))?;
        Ok(Exit::wrong_if(!chain.is_proved()))
    }
}

impl Add {
    async fn run(self, app: &App) -> Result<Exit, Failure> {
        let progress = Progress::new(app, "Looking for the hub");
        let hub = Hub::find(app).await?;
        let granted = granted(&hub).await?;
        drop(progress);
        if granted.iter().any(|agency| agency.account == self.account) {
            app.say(&app.err.mark(Sign::Look, &format!("{} already has a grant", self.account)));
        }
        let arrival = Arrival {
            hub: &place(&hub.about),
            account: &self.account,
            name: self.name.as_deref(),
            manager_version: most_used(granted.into_iter().map(|agency| agency.manager_version)),
        };
        if app.is_json() {
            app.print_json(
                &json!({"schema": "taghub.agency-add/1", "account": self.account, "steps": arrival.steps()}),
            )?;
        } else {
            app.print(&arrival.text())?;
        }
        Ok(Exit::Done)
    }
}

impl Remove {
    async fn run(self, app: &App) -> Result<Exit, Failure> {
        if !self.plan {
            return Err(Failure::usage("taghub does not remove agencies").help("add --plan to print the steps"));
        }
        let progress = Progress::new(app, "Looking at the agency");
        let hub = Hub::find(app).await?;
        let agencies = granted(&hub).await?;
        let agency = find(&agencies, &self.agency, &hub)?;
        let owner = (AGENCY_TAG_KEY.to_owned(), agency.account.to_string());
        let (online, node_count) = nodes::count(&hub, Some(owner)).await?;
        drop(progress);
        let leave = Leave { hub: &place(&hub.about), account: &agency.account, nodes: node_count, online };
        if app.is_json() {
            app.print_json(&json!({
                "schema": "taghub.agency-remove/1", "account": agency.account, "nodes": node_count, "online": online,
                "steps": leave.steps(),
            }))?;
        } else {
            app.print(&leave.text())?;
        }
        Ok(Exit::Done)
    }
}

fn place(about: &About) -> Place<'_> {
    let About { partition, account, region, name_prefix, region_in_role_names, names, .. } = about;
    let has_region_in_role_names = region_in_role_names == "Yes";
    Place { partition, account, region, name_prefix, has_region_in_role_names, manager: &names.manager }
}

/// The version that most agencies have.
fn most_used(versions: impl Iterator<Item = String>) -> Option<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    versions.for_each(|version| *counts.entry(version).or_default() += 1);
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(version, _)| version)
}
