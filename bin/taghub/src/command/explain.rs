//! `taghub explain`.

use clap::Args;
use hub::{Ec2InstanceId, ManagedInstanceId, Tag, Timestamp};
use ssm_tag_manager::plan::{LastApplied, Source};

use crate::app::App;
use crate::aws::agencies::session;
use crate::aws::hub::Hub;
use crate::aws::policies::Policies;
use crate::aws::{instances, news, nodes};
use crate::failure::{Exit, Failure};
use crate::flags::Format;
use crate::progress::Progress;
use crate::terminal::harmless;
use crate::view::explain::{Explained, explain};
use crate::view::nodes::{Node, Tagging};

const EXAMPLES: &str = "\
Examples:
  taghub explain mi-0123456789abcdef0            each tag, from the instance to the node
  taghub explain i-0123456789abcdef0             the same, by the EC2 instance
  taghub explain mi-0123456789abcdef0 Owner      one tag, and what to do about it
  taghub explain mi-0123456789abcdef0 --agency-profile parks
                                                 with a profile of the agency's account";

/// Show why a node carries its tags
///
/// The tags of the instance are read in the agency's account: with --agency-profile, or with the only profile of the AWS
/// configuration that names the account. Without one, only the node is shown.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct Explain {
    /// A managed node, mi-…, or an EC2 instance, i-…
    #[arg(value_parser = str::parse::<Id>)]
    id: Id,
    /// Only one tag, by its key on the instance or on the node
    key: Option<String>,
    /// Exit with 1 if a tag was dropped or is not in step
    #[arg(long)]
    exit_code: bool,
}

/// A node, or an instance.
#[derive(Debug, Clone)]
pub enum Id {
    /// A node.
    Node(ManagedInstanceId),
    /// An instance.
    Instance(Ec2InstanceId),
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(id) => id.fmt(f),
            Self::Instance(id) => id.fmt(f),
        }
    }
}

impl std::str::FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let node = text.parse().map(Self::Node);
        let id = if text.starts_with("mi-") { node } else { text.parse().map(Self::Instance) };
        id.map_err(|_| "expected mi- and 17, or i- and 8 or 17 lowercase hexadecimal digits".to_owned())
    }
}

impl Explain {
    /// Runs the command.
    ///
    /// # Errors
    /// If there is no such node, or what the central account knows cannot be read.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        let progress = Progress::new(app, "Looking for the node");
        let hub = Hub::find(app).await?;
        let node = find(app, &hub, &self.id).await?;
        let policy = Policies::of_node(&hub, &node.tags).await?;
        progress.set("Reading the instance");
        let tags = match Source::of(&node.tags) {
            Some(source) => instance_tags(app, &source).await,
            None => Err("no report named the node, so its instance is not known".to_owned()),
        };
        let news = news::lately(&hub, app.now()).await;
        let news =
            news.inspect_err(|error| app.say(&format!("warning: not read: the manager's log: {}", error.code))).ok();
        let tagging = Tagging::of(&node, news.as_ref().and_then(|news| news.of(&node.id, &node.tags)));
        let explained = explain(node, &policy, tags.as_deref().map_err(Clone::clone));
        let explained = explained.map_err(|problems| {
            let failure =
                Failure::new(Exit::Aws, "policy", format!("the policy of {} is invalid", hub.about.names.manager));
            problems.into_iter().fold(failure, Failure::detail)
        })?;
        drop(progress);
        let explained = explained.after(tagging);
        let explained = match &self.key {
            Some(key) => explained.only(key).map_err(|keys| {
                Failure::missing("no-tag", format!("no tag {key} on the instance or its node"))
                    .detail(format!("There are: {}", keys.join(", ")))
            })?,
            None => explained,
        };
        show(app, &explained)?;
        if app.global.output == Format::Table && (app.out.is_terminal || self.key.is_some()) {
            for remedy in explained.remedies() {
                app.say(&remedy);
            }
        }
        let is_wrong = explained.left_behind() > 0 || explained.is_out_of_step() || explained.is_in_trouble();
        Ok(Exit::wrong_if(self.exit_code && is_wrong))
    }
}

fn show(app: &App, explained: &Explained) -> Result<(), Failure> {
    if app.global.output == Format::Table && app.out.is_terminal {
        return app.print(&explained.text(&app.out));
    }
    app.print_table(Explained::columns(), &explained.rows(), &explained.json())
}

/// The node of an id.
///
/// # Errors
/// If there is none in this account and Region.
pub async fn find(app: &App, hub: &Hub, id: &Id) -> Result<Node, Failure> {
    match id {
        Id::Node(id) => nodes::one(hub, id).await?.ok_or_else(|| {
            Failure::missing("no-node", format!("no node {id} in {}", hub.place()))
                .help("taghub nodes lists the nodes; a node of another account or Region is not among them")
        }),
        Id::Instance(instance) => {
            let mut superseded = None;
            for id in nodes::of_instance(hub, instance).await? {
                match nodes::one(hub, &id).await? {
                    Some(node) if is_superseded(&node) => superseded = Some(node),
                    Some(node) => return Ok(node),
                    None => {}
                }
            }
            match superseded {
                Some(node) => Ok(node),
                None => Err(no_node_of(instance, hub, rejection(app, hub, instance).await)),
            }
        }
    }
}

fn no_node_of(instance: &Ec2InstanceId, hub: &Hub, rejection: Option<Rejected>) -> Failure {
    let failure = Failure::missing("no-node", format!("no node of {instance} in {}", hub.place()));
    match rejection {
        Some(rejected) => failure
            .detail(format!("Its last report was rejected: {rejected}."))
            .help(format!("taghub doctor --node {}", rejected.node)),
        None => failure
            .detail("No report said that a node belongs to this instance.")
            .help("on the instance: register-instance doctor"),
    }
}

/// A report of an instance that the manager rejected.
#[derive(Debug, Clone)]
pub struct Rejected {
    node: String,
    reason: String,
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it names {}, reason {}", harmless(&self.node), harmless(&self.reason))
    }
}

/// The last rejection of an instance that the log has, of the last hour.
pub async fn rejection(app: &App, hub: &Hub, instance: &Ec2InstanceId) -> Option<Rejected> {
    let window = i64::try_from(news::WINDOW.as_secs()).unwrap_or_default();
    let from = Timestamp::from_unix_seconds(app.now().unix_seconds() - window);
    let mut last = None;
    let id = instance.to_string();
    news::with(hub, from, ("ec2_instance_id", &id), |_, fields| {
        let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        last = (fields["message"] == "node rejected")
            .then(|| Rejected { node: text("instance_id"), reason: text("reason") });
    })
    .await
    .ok()?;
    last
}

/// True for a node whose instance registered again, and is another one now.
fn is_superseded(node: &Node) -> bool {
    LastApplied::of(&node.tags).is_some_and(|applied| applied.is_superseded)
}

/// The tags of an instance, read in its account; or why not.
///
/// # Errors
/// In words.
pub async fn instance_tags(app: &App, source: &Source) -> Result<Vec<Tag>, String> {
    let session = session(app, &source.account, &source.region).await.map_err(|failure| {
        let help = failure.help.map(|help| format!("; {help}")).unwrap_or_default();
        format!("{}{help}", failure.message)
    })?;
    let id = source.ec2_instance_id.to_string();
    let mut tags = instances::tags(&session, &source.region, std::slice::from_ref(&id))
        .await
        .map_err(|failure| failure.message)?;
    tags.remove(&id).ok_or_else(|| format!("EC2 does not show {id}"))
}
