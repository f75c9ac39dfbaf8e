//! `taghub policy`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hub::{AGENCY_TAG_KEY, AccountId, Region, Tag};
use serde_json::{Value, json};
use ssm_tag_manager::plan::{Policy as TagPolicy, Source};

use crate::app::App;
use crate::aws::agencies::{find, granted, session};
use crate::aws::hub::Hub;
use crate::aws::policies::{Policies, approve};
use crate::aws::{instances, nodes};
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::terminal::Sign;
use crate::view::agencies::Agency;
use crate::view::nodes::Node;
use crate::view::policy::{Change, Difference, differences, differences_text, problems};

/// Check, preview, compare, and approve the tag policy.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Say what is wrong with policies, without AWS
    Check(Check),
    /// Show what a policy would change on every node, and write nothing
    Preview(Preview),
    /// Compare a policy with the one that is deployed
    Diff(Diff),
    /// Approve a policy that takes tags away
    Apply(Apply),
}

/// Say what is wrong with policies, without AWS
///
/// Ends with 1 if one of them is not in order.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub policy check policy.json
  taghub policy check policies/*.json")]
pub struct Check {
    /// Policies in JSON, as docs/semantics.md has them
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Show what a policy would change on every node, and write nothing
///
/// The tags of the instances are read in the agencies' accounts: with --agency-profile, or with the only profile of the AWS
/// configuration that names each account. Agencies without one are counted as not compared.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub policy preview policy.json
  taghub policy preview policy.json --agency Parks --agency-profile parks")]
pub struct Preview {
    /// A policy in JSON
    file: PathBuf,
    /// Only the nodes of one agency: its account id or its name
    #[arg(long, value_name = "AGENCY")]
    agency: Option<String>,
}

/// Compare a policy with the one that is deployed
///
/// The last line has the digest of the policy and whether it is approved. A policy that is not may only add tags, if it would
/// take away more than a few percent of them.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub policy diff policy.json
  taghub policy diff policy.json --agency Parks  with the one that is deployed for an agency
  taghub policy diff policy.json --exit-code     ends with 1 if they differ")]
pub struct Diff {
    /// A policy in JSON
    file: PathBuf,
    /// With the policy of one agency: its account id or its name
    #[arg(long, value_name = "AGENCY")]
    agency: Option<String>,
    /// Exit with 1 if they differ
    #[arg(long)]
    exit_code: bool,
}

/// Approve a policy that takes tags away
///
/// It shows what differs from the policy that is deployed, and asks. Deploy the policy before or afterwards: this approves it,
/// and deploys nothing. The approval is for the policy of one agency, or without --agency for that of all without one of their
/// own. The hub has to read policies from Parameter Store (PolicyParameters of template.yaml).
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub policy apply policy.json
  taghub policy apply policies/222222222222.json --agency 222222222222 --yes")]
pub struct Apply {
    /// A policy in JSON
    file: PathBuf,
    /// As the policy of one agency: its account id or its name
    #[arg(long, value_name = "AGENCY")]
    agency: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Policy {
    /// Runs the command.
    ///
    /// # Errors
    /// What is shown as an error.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("policy")?;
        match self {
            Self::Check(command) => command.run(app),
            Self::Preview(command) => Box::pin(command.run(app)).await,
            Self::Diff(command) => command.run(app).await,
            Self::Apply(command) => command.run(app).await,
        }
    }
}

impl Check {
    fn run(self, app: &App) -> Result<Exit, Failure> {
        let mut all = Vec::new();
        for file in &self.files {
            all.extend(problems(&file.display().to_string(), &text(file)?));
        }
        if app.is_json() {
            app.print_json(&json!({"schema": "taghub.policy-check/1", "problems": all}))?;
        } else if all.is_empty() {
            let words = if self.files.len() == 1 { "the policy is valid" } else { "all policies are valid" };
            app.print(&format!("{}\n", app.out.mark(Sign::Good, words)))?;
        } else {
            for problem in &all {
                app.say(&format!("error: {problem}"));
            }
        }
        Ok(Exit::wrong_if(!all.is_empty()))
    }
}

/// A policy beside the one that is deployed.
struct Compared {
    hub: Hub,
    policies: Policies,
    agency: Option<AccountId>,
    digest: String,
    differences: Vec<Difference>,
}

impl Compared {
    async fn read(app: &App, file: &Path, agency: Option<&str>) -> Result<Self, Failure> {
        let new = checked(file)?;
        let digest = TagPolicy::parse(&new).map(|policy| policy.digest).unwrap_or_default();
        let hub = Hub::find(app).await?;
        let policies = Policies::read(&hub).await?;
        let agency = match agency {
            Some(wanted) => Some(find(&granted(&hub).await?, wanted, &hub)?.account.clone()),
            None => None,
        };
        let deployed = policies.deployed(&hub, agency.as_ref()).await?;
        let before: Value = serde_json::from_str(&deployed).unwrap_or_default();
        let after: Value = serde_json::from_str(&new).unwrap_or_default();
        let differences = differences(&before, &after);
        Ok(Self { hub, policies, agency, digest, differences })
    }

    async fn is_approved(&self) -> Result<bool, Failure> {
        self.policies.is_approved(&self.hub, self.agency.as_ref(), &self.digest).await
    }
}

impl Diff {
    async fn run(self, app: &App) -> Result<Exit, Failure> {
        let compared = Compared::read(app, &self.file, self.agency.as_deref()).await?;
        let Compared { agency, digest, differences: all, .. } = &compared;
        let is_approved = compared.is_approved().await?;
        if app.is_json() {
            let schema = "taghub.policy-diff/1";
            app.print_json(&json!({"schema": schema, "differences": all, "digest": digest, "approved": is_approved}))?;
        } else if all.is_empty() {
            app.print(&format!("{}\n", app.out.mark(Sign::Good, "the same policy is deployed")))?;
        } else {
            let state = if is_approved { "approved" } else { "not approved to remove tags" };
            app.print(&format!("{}digest {digest}, {state}\n", differences_text(all, &app.out)))?;
            if !is_approved {
                let of = agency.as_ref().map(|agency| format!(" --agency {agency}")).unwrap_or_default();
                app.hint(&format!("once it is looked at: taghub policy apply {}{of}", self.file.display()));
            }
        }
        Ok(Exit::wrong_if(self.exit_code && !all.is_empty()))
    }
}

impl Apply {
    async fn run(self, app: &App) -> Result<Exit, Failure> {
        let compared = Compared::read(app, &self.file, self.agency.as_deref()).await?;
        let Compared { hub, policies, agency, digest, differences } = &compared;
        let of = match agency {
            Some(agency) => format!(" of agency {agency}"),
            None => " of all agencies without a policy of their own".to_owned(),
        };
        let Some(path) = &policies.path else {
            return Err(Failure::usage("this hub does not look in Parameter Store for approvals").help(format!(
                "deploy template.yaml with ApprovedPolicies={digest}, or with PolicyParameters=Yes and try again"
            )));
        };
        if !compared.is_approved().await? {
            if !self.yes {
                app.say(differences_text(differences, &app.err).trim_end());
                app.confirm(&format!("Let policy {digest} remove tags{of}?"), digest, "add --yes").await?;
            }
            let by = hub.session.caller().await?.arn;
            approve(hub, path, agency.as_ref(), digest, &by, &app.now().to_string()).await?;
        }
        if app.is_json() {
            app.print_json(&json!({"schema": "taghub.policy-apply/1", "digest": digest, "approved": true}))?;
        } else {
            let words = format!("{digest} is approved{of}: where it is deployed, the next sweep removes tags");
            app.print(&format!("{}\n", app.out.mark(Sign::Good, &words)))?;
        }
        Ok(Exit::Done)
    }
}

impl Preview {
    async fn run(self, app: &App) -> Result<Exit, Failure> {
        let text = checked(&self.file)?;
        let policy = TagPolicy::parse(&text).map_err(|problems| Failure::usage(problems.join("; ")))?;
        let progress = Progress::new(app, "Looking for the agencies");
        let hub = Hub::find(app).await?;
        let agencies = granted(&hub).await?;
        let agencies: Vec<&Agency> = match &self.agency {
            Some(wanted) => vec![find(&agencies, wanted, &hub)?],
            None => agencies.iter().collect(),
        };
        let mut change = Change::default();
        for (at, agency) in agencies.iter().enumerate() {
            progress.set(&format!("Reading {} agencies, {at} done", agencies.len()));
            let nodes = nodes_of(&hub, agency).await?;
            if let Err(failure) = compare(app, &policy, agency, &nodes, &mut change).await {
                if self.agency.is_some() {
                    return Err(failure);
                }
                change.nodes += nodes.len();
                change.unread += nodes.len();
                progress.make_room();
                app.say(&format!("warning: {} not read: {}", agency.label(), failure.message));
            }
        }
        drop(progress);
        if app.is_json() {
            let mut document = json!(change);
            document["schema"] = json!("taghub.policy-preview/1");
            app.print_json(&document)?;
        } else {
            app.print(&change.text(&app.out))?;
        }
        Ok(Exit::Done)
    }
}

async fn nodes_of(hub: &Hub, agency: &Agency) -> Result<Vec<Node>, Failure> {
    let mut pages = nodes::Pages::new(hub, Some((AGENCY_TAG_KEY.to_owned(), agency.account.to_string())));
    let mut all = Vec::new();
    while let Some(mut page) = pages.next().await? {
        all.append(&mut page);
    }
    Ok(all)
}

/// Adds what a policy would change on the nodes of an agency.
async fn compare(
    app: &App,
    policy: &TagPolicy,
    agency: &Agency,
    nodes: &[Node],
    change: &mut Change,
) -> Result<(), Failure> {
    let sources: Vec<(&Node, Source)> = nodes
        .iter()
        .filter_map(|node| Some((node, Source::of(&node.tags)?)))
        .filter(|(_, source)| source.account == agency.account)
        .collect();
    let mut by_region: BTreeMap<Region, Vec<String>> = BTreeMap::new();
    for (_, source) in &sources {
        by_region.entry(source.region.clone()).or_default().push(source.ec2_instance_id.to_string());
    }
    let mut tags: HashMap<String, Vec<Tag>> = HashMap::new();
    for (region, ids) in &by_region {
        let session = session(app, &agency.account, region).await?;
        tags.extend(instances::tags(&session, region, ids).await?);
    }
    for (node, source) in &sources {
        if let Some(tags) = tags.get(source.ec2_instance_id.as_str()) {
            change.add(policy, agency, &source.to_string(), tags, &node.tags, app.now());
        } else {
            (change.nodes, change.unread) = (change.nodes + 1, change.unread + 1);
        }
    }
    // A node that no report named yet has no instance to compare with.
    let unknown = nodes.len() - sources.len();
    (change.nodes, change.unread) = (change.nodes + unknown, change.unread + unknown);
    Ok(())
}

fn text(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))
}

/// The text of a policy that is in order.
fn checked(file: &Path) -> Result<String, Failure> {
    let text = text(file)?;
    let problems = problems(&file.display().to_string(), &text);
    if problems.is_empty() {
        return Ok(text);
    }
    let failure = Failure::usage(format!("the policy in {} is invalid", file.display()));
    Err(problems.into_iter().fold(failure, Failure::detail))
}
