//! What the story expects of nodes and answers, compared with what is so.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::{CENTRAL, HOME_REGION, World};

use crate::fleet::Fleet;
use crate::{answers, show};

/// How the keys of the hub's own tags begin.
const OWN: &str = "tag-hub:";

/// The tags of a node without the hub's own. Others that nobody may copy would show here.
pub(crate) fn plain_tags(world: &World, node: &str) -> BTreeMap<String, String> {
    world.tags(node).into_iter().filter(|(key, _)| !key.starts_with(OWN)).collect()
}

/// Waits until every node carries exactly what it should.
pub(crate) async fn arrive(world: &World, fleet: &Fleet, what: &str, within: Duration) -> anyhow::Result<()> {
    let arrived = show::wait(world, what, within, |world| differences(world, fleet).is_empty()).await;
    arrived.with_context(|| differences(world, fleet).join("\n"))
}

/// Every node carries exactly what it should, those of terminated instances too, and there are no others.
pub(crate) fn tags(world: &World, fleet: &Fleet) -> anyhow::Result<()> {
    let differences = differences(world, fleet);
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    let count = world.aws.nodes().list(CENTRAL, HOME_REGION).len();
    ensure!(count == fleet.members.len(), "{count} nodes instead of {}", fleet.members.len());
    Ok(())
}

/// Exactly the right tags of the right instances were left behind, and the right instances refused.
pub(crate) fn left_behind(fleet: &Fleet, all: &[Value]) -> anyhow::Result<()> {
    let leaving = fleet.members.iter().filter(|member| !member.left_behind.is_empty());
    let expected = leaving.map(|member| (member.enrolled.instance.clone(), member.left_behind.clone())).collect();
    let left_behind = answers::left_behind(all);
    ensure!(left_behind == expected, "left behind is {left_behind:?} instead of {expected:?}");
    let theirs = fleet.member("court")?.enrolled.node.clone();
    let expected = BTreeMap::from([(fleet.thief.clone(), (theirs, "not-owned".to_owned()))]);
    let refused = answers::refused(all);
    ensure!(refused == expected, "refused is {refused:?} instead of {expected:?}");
    Ok(())
}

/// An agency's report has named the instances that live, no more and no fewer, and there was nothing to do about them.
pub(crate) fn counts(fleet: &Fleet, agency: &str, answer: &Value) -> anyhow::Result<()> {
    let (living, refused) = (fleet.living(agency), fleet.refused(agency));
    let expected =
        [("received", living + refused), ("unchanged", living), ("rejected", refused), ("updated", 0), ("failed", 0)];
    for (name, expected) in expected {
        let count = answers::count(answer, name)?;
        ensure!(count == expected, "{agency}: {count} {name} instead of {expected}: {answer}");
    }
    Ok(())
}

/// A line for each node that carries something else than it should.
fn differences(world: &World, fleet: &Fleet) -> Vec<String> {
    let mut differences = Vec::new();
    for member in &fleet.members {
        let enrolled = &member.enrolled;
        let of = format!("{}, {} of {}", member.name, enrolled.node, enrolled.instance);
        let plain = plain_tags(world, &enrolled.node);
        if plain != member.carried {
            differences.push(format!("{of}: {plain:?} instead of {:?}", member.carried));
        }
        // With retirement switched off no node is marked, whatever became of its instance.
        let mut own = world.tags(&enrolled.node);
        own.retain(|key, _| key.starts_with(OWN));
        let remembers = own.remove(hub::APPLIED_TAG_KEY).is_some();
        let source = format!("{}/{}/{}", enrolled.agency, enrolled.region, enrolled.instance);
        let expected = [(hub::AGENCY_TAG_KEY, enrolled.agency.clone()), (hub::SOURCE_TAG_KEY, source)];
        let expected = BTreeMap::from(expected.map(|(key, value)| (key.to_owned(), value)));
        if !remembers || own != expected {
            differences.push(format!("{of}: {own:?} instead of {expected:?} and {}", hub::APPLIED_TAG_KEY));
        }
    }
    differences
}
