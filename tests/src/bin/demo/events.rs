//! A tag that changes, with nothing but the event of it: through rule, queue and event source mapping.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use local_aws::stacks;
use tests::{AGENCY_A, AGENCY_B, HOME_REGION, SECOND_REGION, World};

use crate::fleet::Fleet;
use crate::story::{CHANGE_WINDOW_SECONDS, deploy_agency};
use crate::{expected, show};

const WITHIN: Duration = Duration::from_mins(1);

pub(crate) async fn tell(world: &World, fleet: &mut Fleet) -> anyhow::Result<()> {
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

    let mut before = Vec::new();
    let start = Instant::now();
    for (name, key, value) in [("web", "Env", "STAGE"), ("cache", "Role", "queue")] {
        let member = fleet.member_mut(name)?;
        before.push((name, expected::plain_tags(world, &member.enrolled.node)));
        world.tag(&member.enrolled, key, value).await?;
        member.carried.insert(key.to_owned(), value.to_owned());
    }
    expected::arrive(world, fleet, "the events have carried them over, and nothing else", WITHIN).await?;
    show::note(&format!("after {:.1} s:", start.elapsed().as_secs_f64()));
    for (name, before) in &before {
        show::difference(name, before, &expected::plain_tags(world, &fleet.member(name)?.enrolled.node));
    }
    Ok(())
}
