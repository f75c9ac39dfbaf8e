//! `taghub doctor`: walks link by link and does not guess beyond a broken one.

mod hub_links;
mod node_links;

use clap::Args;

use crate::app::App;
use crate::aws::agencies::{find, granted, session};
use crate::aws::function::{self, try_invoke};
use crate::aws::hub::{Hub, collector as collector_of};
use crate::aws::standings;
use crate::command::explain::Id;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::view::agencies::Agency;
use crate::view::agencies::Standing;
use crate::view::doctor::{Chain, Link};
use crate::view::time::{counted, rough, span};

const EXAMPLES: &str = "\
Examples:
  taghub doctor                                  the hub itself
  taghub doctor --agency Parks                   from an agency's grant to its nodes
  taghub doctor --agency Parks --agency-profile parks
                                                 also the collector in the agency's account
  taghub doctor --node mi-0123456789abcdef0      from a node to its instance
  taghub doctor --instance i-0123456789abcdef0   from an instance to its node";

/// Check every link, and say how to fix what is broken
///
/// Ends with 1 if a link is broken. What may not be read is named and not guessed at.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct Doctor {
    /// An agency: its account id or its name
    #[arg(long, value_name = "AGENCY", conflicts_with_all = ["node", "instance"])]
    agency: Option<String>,
    /// A managed node
    #[arg(long, value_name = "mi-…", value_parser = str::parse::<Id>, conflicts_with = "instance")]
    node: Option<Id>,
    /// An EC2 instance
    #[arg(long, value_name = "i-…", value_parser = str::parse::<Id>)]
    instance: Option<Id>,
}

impl Doctor {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is no hub, or no such agency or node.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("doctor")?;
        let progress = Progress::new(app, "Looking for the hub");
        let hub = Hub::find(app).await?;
        let (chain, again) = if let Some(wanted) = &self.agency {
            progress.set("Checking the links from the grant to the nodes");
            (agency(app, &hub, wanted).await?, format!("taghub doctor --agency {wanted}"))
        } else if let Some(id) = &self.node {
            progress.set("Checking the links from the node to its instance");
            (node_links::node(app, &hub, id).await?, format!("taghub doctor --node {id}"))
        } else if let Some(id) = &self.instance {
            progress.set("Checking the links from the instance to its node");
            (node_links::instance(app, &hub, id).await?, format!("taghub doctor --instance {id}"))
        } else {
            progress.set("Looking at the parts of the hub");
            (hub_links::hub(app, &hub).await?, "taghub doctor".to_owned())
        };
        drop(progress);
        print(app, &chain, &again)?;
        Ok(Exit::wrong_if(chain.broken() > 0))
    }
}

/// Prints a chain in whichever form was asked for; `again` is the command that walks it once more.
///
/// # Errors
/// If nobody reads.
pub(super) fn print(app: &App, chain: &Chain, again: &str) -> Result<(), Failure> {
    if app.is_json() {
        app.print_json(&chain.json())
    } else if app.out.is_terminal {
        app.print(&chain.text(again, &app.out))
    } else {
        app.print(&chain.tabs())
    }
}

/// From an agency's grant to the manager and back, which `taghub agency test` proves.
///
/// # Errors
/// If the grants cannot be listed, and for a name that no agency has.
pub(super) async fn way(app: &App, hub: &Hub, wanted: &str) -> Result<(Chain, Option<Agency>), Failure> {
    let mut chain = Chain::default();
    let agencies = granted(hub).await?;
    let agency = match find(&agencies, wanted, hub) {
        Ok(agency) => agency,
        // An account that is not granted is what a doctor is asked about.
        Err(failure) if wanted.parse::<hub::AccountId>().is_ok() => {
            chain.add(Link::broken("grant", failure.message, failure.help.unwrap_or_default()));
            return Ok((chain, None));
        }
        Err(failure) => return Err(failure),
    };
    chain.add(Link::fine("grant", format!("alias agency-{} of {}", agency.account, hub.about.names.manager)));
    collector(app, hub, agency, &mut chain).await;
    Ok((chain, Some(agency.clone())))
}

/// From an agency's grant to its nodes.
async fn agency(app: &App, hub: &Hub, wanted: &str) -> Result<Chain, Failure> {
    let (mut chain, agency) = way(app, hub, wanted).await?;
    let Some(agency) = agency else { return Ok(chain) };
    let (standings, warnings) = standings::read(hub, std::slice::from_ref(&agency), app.now()).await?;
    for standing in &standings {
        reports(app, standing, &mut chain);
        activation(app, hub, standing, &mut chain);
        nodes(standing, &mut chain);
    }
    for warning in warnings {
        chain.add(Link::not_checked("permission", format!("not read: {warning}")));
    }
    Ok(chain)
}

/// The collector in the agency's account, and its way to the manager: a dry run of everything that it reads.
async fn collector(app: &App, hub: &Hub, agency: &Agency, chain: &mut Chain) {
    let name = collector_of(app);
    let session = match session(app, &agency.account, &hub.about.region).await {
        Ok(session) => session,
        Err(failure) => {
            let help = failure.help.map(|help| format!("; {help}")).unwrap_or_default();
            chain.add(Link::not_checked("collector", format!("{}{help}", failure.message)));
            return;
        }
    };
    let variables = match function::variables(&session, &name).await {
        Ok(variables) => variables,
        Err(error) if error.code == "ResourceNotFoundException" => {
            let words = format!("no {name} in {}, {}", agency.account, session.region);
            chain.add(Link::broken("collector", words, "Deploy cfn/agency.yaml there."));
            return;
        }
        Err(error) => {
            chain.add(Link::not_checked("collector", format!("not read: {}", error.code)));
            return;
        }
    };
    let manager = variables.get("MANAGER_FUNCTION_ARN").cloned().unwrap_or_default();
    let expected = format!(
        "arn:{}:lambda:{}:{}:function:{}:agency-{}",
        hub.about.partition, hub.about.region, hub.about.account, hub.about.names.manager, agency.account
    );
    if manager != expected {
        let words = format!("it reports to {manager}, not to {expected}");
        chain.add(Link::broken("collector", words, "Deploy cfn/agency.yaml there with the right ManagerFunctionArn."));
        return;
    }
    chain.add(Link::fine("collector", format!("reports to {}", hub.about.names.manager)));
    let link = match try_invoke(&session, &name, &serde_json::json!({"dryRun": true})).await {
        Ok(Ok(_)) => Link::fine("way", "a dry run reached the manager and came back"),
        Ok(Err(error)) => {
            let first = error.message.split("; answer: ").next().unwrap_or_default().to_owned();
            Link::broken(
                "way",
                format!("a dry run failed: {}: {first}", error.kind),
                "taghub plan --agency shows every Region.",
            )
        }
        Err(error) => Link::not_checked("way", format!("not invoked: {}", error.code)),
    };
    chain.add(link);
}

fn reports(app: &App, standing: &Standing, chain: &mut Chain) {
    let ago = |at: hub::Timestamp| rough(app.now().unix_seconds() - at.unix_seconds());
    let state = standing.state(app.now());
    chain.add(match standing.last_report {
        None => Link::not_checked("reports", "the log and the metrics of the manager were not read"),
        Some(Some(at)) if !state.is_silent() => Link::fine("reports", format!("last {} ago", ago(at))),
        Some(last) => {
            let words = last.map_or_else(|| "none in 24 h".to_owned(), |at| format!("last {} ago", ago(at)));
            Link::broken("reports", words, "Check the schedule and the log of tags-collector in the agency's account.")
        }
    });
}

fn activation(app: &App, hub: &Hub, standing: &Standing, chain: &mut Chain) {
    let left = |at: hub::Timestamp| at.unix_seconds() - app.now().unix_seconds();
    chain.add(match standing.activation_ends {
        None => Link::not_checked("activation", "activations were not read"),
        Some(Some(at)) if left(at) > 0 => Link::fine("activation", format!("valid for {}", span(left(at)))),
        Some(_) => {
            let words = "none is valid with registrations left, so nothing can register";
            Link::broken(
                "activation",
                words,
                format!("Check the log of {}; cfn/agency.yaml creates its role in the agency.", hub.about.names.issuer),
            )
        }
    });
}

fn nodes(standing: &Standing, chain: &mut Chain) {
    chain.add(if standing.nodes == 0 {
        Link::look("nodes", "none is registered", "On an instance: register-instance doctor")
    } else {
        Link::fine("nodes", counted(standing.nodes, "node"))
    });
}
