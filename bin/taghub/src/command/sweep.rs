//! `taghub plan` and `taghub sweep`: both invoke an agency's collector.

use clap::Args;
use hub::{Ec2InstanceId, Region};
use serde_json::{Value, json};

use crate::app::App;
use crate::aws::agencies::{find, granted, session};
use crate::aws::function::{decoded, failed, try_invoke};
use crate::aws::hub::{Hub, collector};
use crate::aws::session::Session;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::view::sweep::Answer;

const EXAMPLES: &str = "\
Examples:
  taghub plan --agency Parks                     what would a sweep change?
  taghub sweep --agency Parks                    do it now
  taghub sweep --agency 555555555555 --agency-profile parks
                                                 with a profile of the agency's account
  taghub plan                                    in an agency's account itself, without the hub
  taghub plan --instance i-0123456789abcdef0 --exit-code
                                                 one instance; ends with 1 if something would change";

/// How the collector ends if a Region was not read or reported to its end; its message has the whole answer.
const PARTIAL: &str = "PartialSweep";
const ANSWER: &str = "; answer: ";

/// Read an agency's instances, through its collector
///
/// taghub plan writes nothing. With --agency the hub is asked which account that is, and the collector is invoked with a
/// profile of that account; without it, the collector of the account of your own credentials is.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct Sweep {
    /// The agency: its account id or its name
    #[arg(long, value_name = "AGENCY")]
    agency: Option<String>,
    /// Only this instance; may be repeated
    #[arg(long, value_name = "ID", value_parser = str::parse::<Ec2InstanceId>)]
    instance: Vec<Ec2InstanceId>,
    /// Only these Regions
    #[arg(long, value_name = "REGION,…", value_delimiter = ',', value_parser = str::parse::<Region>)]
    regions: Vec<Region>,
    /// Exit with 1 also if a plan would change something
    #[arg(long)]
    exit_code: bool,
}

impl Sweep {
    /// Runs the command.
    ///
    /// # Errors
    /// If the collector cannot be invoked, or refuses.
    pub async fn run(self, app: &App, dry_run: bool) -> Result<Exit, Failure> {
        app.no_csv(if dry_run { "plan" } else { "sweep" })?;
        let progress = Progress::new(app, "Looking for the agency");
        let (session, label) = self.session(app).await?;
        let label = label.unwrap_or_else(|| "this account".to_owned());
        progress.set(&format!("Reading the instances of {label}"));
        let began = app.now();
        let (raw, answer) = invoke(&session, &collector(app), &self.event(dry_run)).await?;
        drop(progress);
        let seconds = app.now().unix_seconds() - began.unix_seconds();
        if app.is_json() {
            app.print_json(&raw)?;
        } else if app.out.is_terminal {
            app.print(&answer.text(&label, seconds, &app.out))?;
        } else {
            app.print(&answer.tabs())?;
        }
        let would_change = dry_run && self.exit_code && answer.has_changes();
        Ok(Exit::wrong_if(
            (!dry_run && answer.has_trouble()) || would_change || (self.exit_code && answer.has_trouble()),
        ))
    }

    /// A session in the agency's account, and what the agency is called.
    async fn session(&self, app: &App) -> Result<(Session, Option<String>), Failure> {
        let Some(wanted) = &self.agency else {
            let profile = app.global.agency_profile.as_deref().or(app.global.profile.as_deref());
            return Ok((Session::open(app, profile, app.global.region.as_ref()).await?, None));
        };
        let hub = Hub::find(app).await?;
        let agencies = granted(&hub).await?;
        let agency = find(&agencies, wanted, &hub)?;
        let session = session(app, &agency.account, &hub.about.region).await?;
        Ok((session, Some(agency.label().to_owned())))
    }

    fn event(&self, dry_run: bool) -> Value {
        let mut event = json!({"dryRun": dry_run});
        if !self.instance.is_empty() {
            event["instanceIds"] = json!(self.instance);
        }
        if !self.regions.is_empty() {
            event["regions"] = json!(self.regions);
        }
        event
    }
}

/// Invokes the collector. A sweep that did not come to its end everywhere is an answer, too.
async fn invoke(session: &Session, collector: &str, event: &Value) -> Result<(Value, Answer), Failure> {
    let answer = try_invoke(session, collector, event).await.map_err(|error| {
        let failure = Failure::aws(&error, collector);
        if error.code == "ResourceNotFoundException" {
            let place = format!("no {collector} in this account, {}", session.region);
            return Failure::missing("no-collector", place)
                .help("deploy cfn/agency.yaml there, or name its Region with --region");
        }
        failure
    })?;
    let raw = match answer {
        Ok(raw) => raw,
        Err(error) if error.kind == PARTIAL => {
            let answer = error.message.split_once(ANSWER).and_then(|(_, answer)| serde_json::from_str(answer).ok());
            answer.ok_or_else(|| failed(collector, &error))?
        }
        Err(error) => return Err(failed(collector, &error)),
    };
    let answered = decoded::<Answer>(collector, raw)?;
    Ok((answered.raw, answered.value))
}
