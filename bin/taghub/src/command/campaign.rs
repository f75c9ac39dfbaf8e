//! `taghub campaign`: the state machine tag-hub-campaign.

pub mod answer;
pub mod begin;
pub mod look;

use clap::Subcommand;

use crate::app::App;
use crate::aws::campaigns;
use crate::aws::hub::Hub;
use crate::failure::{Exit, Failure};
use crate::view::campaign::Execution;

/// Run a runbook in waves, each behind a gate.
#[derive(Debug, Subcommand)]
pub enum Campaign {
    /// Start a campaign
    Start(begin::Start),
    /// Follow a campaign until it ends
    Watch(look::Watch),
    /// Show how a campaign stands
    Status(look::Status),
    /// Let the next wave begin
    Approve(answer::Approve),
    /// End a campaign that waits for approval
    Reject(answer::Reject),
    /// Stop a campaign
    Stop(begin::Stop),
    /// Go on with a campaign that stopped
    Resume(begin::Resume),
    /// List campaigns
    List(look::List),
}

impl Campaign {
    /// Runs the command.
    ///
    /// # Errors
    /// What is shown as an error.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        match self {
            Self::Start(command) => command.run(app).await,
            Self::Watch(command) => command.run(app).await,
            Self::Status(command) => command.run(app).await,
            Self::Approve(command) => command.run(app).await,
            Self::Reject(command) => command.run(app).await,
            Self::Stop(command) => command.run(app).await,
            Self::Resume(command) => command.run(app).await,
            Self::List(command) => command.run(app).await,
        }
    }
}

/// The latest execution of a campaign.
///
/// # Errors
/// If there is none of that name.
async fn find(hub: &Hub, name: &str) -> Result<Execution, Failure> {
    campaigns::find(hub, name).await?.ok_or_else(|| {
        Failure::missing("no-campaign", format!("no campaign {name} in {}", hub.place()))
            .help("taghub campaign list shows them; Step Functions keeps executions for 90 days")
    })
}
