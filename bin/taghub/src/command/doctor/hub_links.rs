//! The parts of the hub itself.

use crate::app::App;
use crate::aws::agencies::granted;
use crate::aws::hub::Hub;
use crate::aws::{alarms, function, nodes, queues, standings};
use crate::failure::Failure;
use crate::terminal::Sign;
use crate::view::agencies::reporting;
use crate::view::doctor::{Chain, Link};
use crate::view::policy::problems;
use crate::view::time::{counted, grouped};

/// Percent of the node limit from which it is worth a look.
const NEAR_LIMIT_PERCENT: usize = 90;

/// Walks over the parts.
pub(super) async fn hub(app: &App, hub: &Hub) -> Result<Chain, Failure> {
    let mut chain = Chain::default();
    chain.add(Link::fine("hub", format!("version {} in {}", hub.about.version, hub.place())));
    let names = &hub.about.names;
    for name in names.functions() {
        chain.add(match function::variables(&hub.session, name).await {
            Ok(variables) => {
                let policy =
                    variables.get("TAG_POLICY").map(|policy| problems("TAG_POLICY", policy)).unwrap_or_default();
                match policy.first() {
                    None => Link::fine("function", name.to_owned()),
                    Some(problem) => Link::broken(
                        "policy",
                        problem.clone(),
                        "Deploy template.yaml with a TagPolicy that taghub policy check takes.",
                    ),
                }
            }
            Err(error) if error.code == "ResourceNotFoundException" && name == names.fanout => Link::look(
                "function",
                format!("{name} is not there"),
                "Deploy template.yaml with Fanout=Yes to run runbooks.",
            ),
            Err(error) if error.code == "ResourceNotFoundException" => {
                Link::broken("function", format!("{name} is not there"), "Deploy template.yaml again.")
            }
            Err(error) => Link::not_checked("function", format!("{name} was not read: {}", error.code)),
        });
    }
    for queue in queues::names(&hub.about) {
        chain.add(match queues::depth(&hub.session, &queue).await {
            Ok(Some(0)) => Link::fine("queue", format!("{queue} is empty")),
            Ok(Some(count)) => Link::broken(
                "queue",
                format!("{queue} holds {}", counted(count, "message")),
                "docs/operations.md says what to do with them.",
            ),
            Ok(None) => continue,
            Err(error) => Link::not_checked("queue", format!("{queue} was not read: {}", error.code)),
        });
    }
    match alarms::ringing(hub).await {
        Ok(ringing) if ringing.is_empty() => {
            chain.add(Link::fine("alarms", "none fires"));
        }
        Ok(ringing) => {
            for alarm in ringing {
                chain.add(Link::broken("alarm", alarm.name, alarm.description));
            }
        }
        Err(error) => {
            chain.add(Link::not_checked("alarms", format!("not read: {}", error.code)));
        }
    }
    let (_, count) = nodes::count(hub, None).await?;
    let words = format!("{} of {} nodes", grouped(count), grouped(hub.about.node_limit));
    chain.add(if count * 100 >= hub.about.node_limit * NEAR_LIMIT_PERCENT {
        Link::look(
            "limit",
            words,
            "Deregister nodes that are gone, or raise NodeLimit of template.yaml: docs/cost.md says what that costs.",
        )
    } else {
        Link::fine("limit", words)
    });
    let agencies = granted(hub).await?;
    if agencies.is_empty() {
        chain.add(Link::look("agencies", "none is granted", "Deploy cfn/agency-grant.yaml for one."));
        return Ok(chain);
    }
    let (standings, unread) = standings::read(hub, &agencies, app.now()).await?;
    let (sign, words) = reporting(&standings, app.now());
    let words = format!("{} granted{words}", agencies.len());
    let silent = standings.iter().find(|one| one.state(app.now()).is_silent());
    chain.add(match silent {
        Some(first) => Link::broken("agencies", words, format!("taghub doctor --agency {}", first.agency.label())),
        None if sign == Sign::Good => Link::fine("agencies", words),
        None => Link::not_checked("agencies", words),
    });
    for what in unread {
        chain.add(Link::not_checked("permission", format!("not read: {what}")));
    }
    Ok(chain)
}
