//! From a node to its instance, and back.

use hub::AGENCY_TAG_KEY;
use ssm_tag_manager::plan::Source;

use crate::app::App;
use crate::aws::agencies::granted;
use crate::aws::hub::Hub;
use crate::aws::policies::Policies;
use crate::aws::{news, nodes};
use crate::command::explain::{Id, find, instance_tags, rejection};
use crate::failure::Failure;
use crate::view::doctor::{Chain, Link};
use crate::view::explain::explain;
use crate::view::nodes::{Node, Ping, Tagging};
use crate::view::time::rough;

/// From an instance to its node: the node is found by what reports said.
///
/// # Errors
/// If the nodes cannot be read.
pub(super) async fn instance(app: &App, hub: &Hub, id: &Id) -> Result<Chain, Failure> {
    let mut chain = Chain::default();
    let Id::Instance(instance) = id else { return node(app, hub, id).await };
    let found = nodes::of_instance(hub, instance).await?;
    let Some(first) = found.first() else {
        let remedy = "On the instance: register-instance doctor. In its account: the tag managedinstanceid has to name its node.";
        let words = match rejection(app, hub, instance).await {
            Some(rejected) => format!("{instance} has no node of its own: {rejected}"),
            None => format!("no report named a node of {instance}"),
        };
        chain.add(Link::broken("registration", words, remedy));
        return Ok(chain);
    };
    chain.add(if found.len() == 1 {
        Link::fine("registration", format!("{instance} is {first}"))
    } else {
        let ids: Vec<String> = found.iter().map(ToString::to_string).collect();
        Link::look(
            "registration",
            format!("{instance} has several nodes: {}", ids.join(", ")),
            "Deregister those that are superseded.",
        )
    });
    let node = find(app, hub, id).await?;
    walk(app, hub, node, &mut chain).await?;
    Ok(chain)
}

/// From a node to its instance.
///
/// # Errors
/// If there is no such node.
pub(super) async fn node(app: &App, hub: &Hub, id: &Id) -> Result<Chain, Failure> {
    let node = find(app, hub, id).await?;
    let mut chain = Chain::default();
    chain.add(Link::fine("registration", format!("{} is a node of {}", node.id, hub.place())));
    walk(app, hub, node, &mut chain).await?;
    Ok(chain)
}

async fn walk(app: &App, hub: &Hub, node: Node, chain: &mut Chain) -> Result<(), Failure> {
    if !chain.add(owner(hub, &node).await?) {
        return Ok(());
    }
    chain.add(agent(app, &node));
    let source = Source::of(&node.tags);
    chain.add(if let Some(source) = &source {
        Link::fine("source", source.to_string())
    } else {
        let remedy = "The instance needs the tag managedinstanceid with this node's id; then taghub sweep.";
        Link::broken("source", "no report named this node yet", remedy)
    });
    chain.add(report(app, hub, &node).await);
    let Some(source) = source else { return Ok(()) };
    chain.add(match instance_tags(app, &source).await {
        Ok(tags) => {
            let policy = Policies::of_node(hub, &node.tags).await?;
            compared(node, &policy, &tags)
        }
        Err(why) => Link::not_checked("tags", why),
    });
    Ok(())
}

fn compared(node: Node, policy: &str, tags: &[hub::Tag]) -> Link {
    let id = node.id.clone();
    let joined = tags.iter().find(|tag| tag.key == hub::MANAGED_INSTANCE_ID_TAG_KEY).map(|tag| tag.value.clone());
    if joined.as_deref() != Some(id.as_str()) {
        let words = joined.map_or_else(
            || "the instance carries no tag managedinstanceid".to_owned(),
            |other| format!("the instance's tag managedinstanceid names {other}"),
        );
        return Link::broken(
            "tags",
            words,
            "On the instance: register-instance writes the tag. docs/join-key.md says who may take it away.",
        );
    }
    match explain(node, policy, Ok(tags)) {
        Ok(explained) if explained.is_out_of_step() => {
            Link::look("tags", "the node does not carry what the policy wants yet", format!("taghub explain {id}"))
        }
        Ok(explained) if explained.left_behind() > 0 => {
            Link::look("tags", format!("{} left behind", explained.left_behind()), explained.remedies().join("\n"))
        }
        Ok(_) => Link::fine("tags", "as the policy wants them"),
        Err(problems) => Link::broken("tags", problems.join("; "), "taghub policy check"),
    }
}

async fn owner(hub: &Hub, node: &Node) -> Result<Link, Failure> {
    let Some(owner) = node.tags.get(AGENCY_TAG_KEY) else {
        let remedy = "It was not registered with an activation of the hub: deregister it, and register it with one.";
        return Ok(Link::broken("owner", "no tag tag-hub:agency says whose it is", remedy));
    };
    let agencies = granted(hub).await?;
    Ok(match agencies.iter().find(|agency| agency.account.as_str() == owner) {
        Some(agency) => Link::fine("owner", agency.label()),
        None => Link::broken("owner", format!("{owner} is not granted"), "Deploy cfn/agency-grant.yaml for it."),
    })
}

fn agent(app: &App, node: &Node) -> Link {
    let heard =
        node.last_ping.map(|at| format!("last heard from {} ago", rough(app.now().unix_seconds() - at.unix_seconds())));
    let words = format!(
        "{}, agent {}, {}",
        node.ping.as_str(),
        node.agent,
        heard.unwrap_or_else(|| "never heard from".to_owned())
    );
    match node.ping {
        Ping::Online => Link::fine("agent", words),
        Ping::Lost | Ping::Inactive => Link::broken("agent", words, "On the instance: register-instance doctor"),
    }
}

/// What the last reports said about the node.
async fn report(app: &App, hub: &Hub, node: &Node) -> Link {
    let news = match news::lately(hub, app.now()).await {
        Ok(news) => news,
        Err(error) => {
            return Link::not_checked("report", format!("the log of the manager was not read: {}", error.code));
        }
    };
    let tagging = Tagging::of(node, news.of(&node.id, &node.tags));
    let remedy = match &tagging {
        Tagging::InStep | Tagging::LeftBehind(_) => return Link::fine("report", "the last one found nothing wrong"),
        Tagging::NotReported | Tagging::Unread => return Link::not_checked("report", "none named it yet"),
        Tagging::Conflict => {
            "Two instances name this node: remove the tag managedinstanceid from the copy, and register the copy again."
        }
        Tagging::Unlinked => "Restore the tag managedinstanceid: run register-instance on the instance.",
        Tagging::Superseded => "The instance is another node now: deregister this one.",
        Tagging::InstanceGone => "The instance is terminated: docs/retirement.md says when the node goes.",
        Tagging::Deferred => "Nothing: the next report includes it again.",
        Tagging::NoOwner => "Register it with an activation of the hub.",
        Tagging::Rejected(_) | Tagging::Failed(_) => "docs/semantics.md says what to do about it.",
    };
    match tagging {
        Tagging::Deferred | Tagging::Superseded | Tagging::InstanceGone => {
            Link::look("report", tagging.as_str(), remedy)
        }
        Tagging::Rejected(ref what) | Tagging::Failed(ref what) => {
            Link::broken("report", format!("{}: {what}", tagging.as_str()), remedy)
        }
        _ => Link::broken("report", tagging.as_str(), remedy),
    }
}
