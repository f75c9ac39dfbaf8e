//! A tag that changes, with nothing but the event of it: through rule, queue and event source mapping.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use local_aws::stacks;
use tests::{AGENCY_A, AGENCY_B, HOME_REGION, SECOND_REGION, World};

use crate::fleet::Fleet;
use crate::show;
use crate::story::{CHANGE_WINDOW_SECONDS, deploy_agency};

const WITHIN: Duration = Duration::from_mins(1);

pub(crate) async fn tell(world: &World, fleet: &Fleet) -> anyhow::Result<()> {
    show::step("Tags change, and this time the events of it carry them: the schedule is a day away");
    for agency in [AGENCY_A, AGENCY_B] {
        deploy_agency(world, agency, "rate(1 day)").await?;
    }
    let text = world.paths().text("cfn/agency-region.yaml")?;
    let elsewhere = world.aws.client(AGENCY_A, SECOND_REGION);
    let forwarded = stacks::deploy(&elsewhere, "tag-hub-region", &text, &[("HomeRegion", HOME_REGION)]).await;
    forwarded.context("deploy cfn/agency-region.yaml")?;
    show::note(&format!("rule, queue and event source mapping, which waits {CHANGE_WINDOW_SECONDS} s for more"));
    show::note(&format!("{SECOND_REGION} forwards its events to {HOME_REGION}: cfn/agency-region.yaml"));
    world.aws.set_tag_events(true)?;

    let watched = [("web", &fleet.web), ("cache", &fleet.cache)];
    let before = watched.map(|(_, enrolled)| world.plain_tags(&enrolled.node));
    let start = Instant::now();
    world.tag(&fleet.web, "Env", "STAGE").await?;
    world.tag(&fleet.cache, "Role", "queue").await?;
    let is_carried_over = |world: &World| {
        let has = |node: &str, key: &str, value: &str| world.plain_tags(node).get(key).is_some_and(|is| is == value);
        has(&fleet.web.node, "Env", "STAGE") && has(&fleet.cache.node, "Role", "queue")
    };
    show::wait(world, "the events have carried them over", WITHIN, is_carried_over).await?;
    show::note(&format!("after {:.1} s:", start.elapsed().as_secs_f64()));
    for ((name, enrolled), before) in watched.iter().zip(&before) {
        let after = world.plain_tags(&enrolled.node);
        show::difference(name, before, &after);
        let changed = after.iter().filter(|(key, value)| before.get(*key) != Some(value)).count();
        ensure!(changed == 1 && after.len() == before.len(), "nothing else has changed on {name}");
    }
    Ok(())
}
