//! A picture of the dashboard, with the figures of a run on the local AWS.
//!
//! Deploys everything, lets two agencies go through a few quarters of an hour with changes and troubles, and draws the
//! dashboard as it was deployed from the metrics that the functions logged. Ends with an error where the dashboard asks
//! for a metric of Tag Hub that no function has logged.

mod figures;
mod picture;

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use http::Method;
use local_aws::{Fault, FaultId, InvocationType, stacks};
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, CENTRAL, Enrolled, HOME_REGION, World};

use crate::figures::Figures;

const PERIODS: usize = 16;
const LOG_GROUPS: [&str; 4] = [
    "/aws/lambda/ssm-tag-manager",
    "/aws/lambda/automation-fanout",
    "/aws/lambda/activation-issuer",
    "/aws/lambda/fleet-reporter",
];
const NOTE: &str = "Drawn by make dashboard from the metrics of a short run on the local AWS: each round of sweeps stands \
                    for a quarter of an hour.";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let world = World::deployed().await?;
    world.deploy_administration_role().await?;
    world.deploy_execution_role(AGENCY_A).await?;
    let text = world.paths().text("cfn/operations.yaml")?;
    stacks::deploy(&world.central(), "tag-hub-operations", &text, &[]).await.context("deploy cfn/operations.yaml")?;
    let body = dashboard(&world).await?;

    let mut fleet = Vec::new();
    let mut figures = Figures::default();
    let mut seen = BTreeSet::new();
    for period in 0..PERIODS {
        let fault = live(&world, &mut fleet, period).await?;
        for agency in [AGENCY_A, AGENCY_B] {
            world.sweep(agency, &json!({})).await?;
        }
        if period.is_multiple_of(4) {
            world.central().invoke("activation-issuer", InvocationType::RequestResponse, &json!({})).await?;
            world.report_fleet(&json!({})).await?;
        }
        if let Some(fault) = fault {
            world.aws.faults().remove(fault);
        }
        for line in logged(&world, &mut seen).await? {
            figures.add(period, &line);
        }
    }
    let missing = figures.missing(&body, "TagHub");
    ensure!(missing.is_empty(), "the dashboard asks for metrics that no function logged: {missing:?}");
    let path = world.paths().repository.join("docs/dashboard.svg");
    std::fs::write(&path, picture::draw(&body, &figures, PERIODS, NOTE))?;
    println!("{}", path.display());
    Ok(())
}

/// What happens in a quarter of an hour: new instances, changed tags, and now and then some trouble.
async fn live(world: &World, fleet: &mut Vec<Enrolled>, period: usize) -> anyhow::Result<Option<FaultId>> {
    for index in 0..4 {
        let agency = if index == 0 { AGENCY_B } else { AGENCY_A };
        if period.is_multiple_of(4) {
            let name = format!("server-{period}-{index}");
            fleet.push(world.enroll(agency, HOME_REGION, &[("Env", "TEST"), ("Name", &name)]).await?);
        }
    }
    for (index, instance) in fleet.iter().enumerate() {
        match (index + period) % 5 {
            0 => world.tag(instance, "Env", &format!("PROD-{period}")).await?,
            1 => world.untag(instance, "Name").await?,
            _ => {}
        }
    }
    match period {
        // A stolen id, and a node that there is not.
        5 => {
            let theirs = fleet.iter().find(|instance| instance.agency == AGENCY_B).context("no instance of B")?;
            world.launch(AGENCY_A, HOME_REGION, &[("managedinstanceid", &theirs.node)]).await?;
            world.launch(AGENCY_A, HOME_REGION, &[("managedinstanceid", "mi-00000000000000000")]).await?;
        }
        7 => return Ok(Some(world.aws.faults().add(Fault::throttle("ssm:AddTagsToResource").probability(0.3, 7)))),
        9 => {
            let denied = Fault::error("ssm:AddTagsToResource", 400, "AccessDeniedException", "no");
            return Ok(Some(world.aws.faults().add(denied)));
        }
        11 => {
            let request = json!({
                "DocumentName": "AWS-RestartEC2Instance",
                "TargetParameterName": "InstanceId",
                "Targets": [{"Key": "tag:Env", "Values": ["PROD"]}],
                "TargetLocations": [{"Accounts": [AGENCY_A], "Regions": [HOME_REGION]}]
            });
            world.central().invoke("automation-fanout", InvocationType::RequestResponse, &request).await?;
        }
        _ => {}
    }
    Ok(None)
}

/// The lines of the central account's logs that were not there before.
async fn logged(world: &World, seen: &mut BTreeSet<String>) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for group in LOG_GROUPS {
        for event in world.log_events(CENTRAL, group).await? {
            let message = event["message"].as_str().unwrap_or_default();
            // An EMF line has the time in milliseconds and the figures of one invocation.
            let id = event["eventId"].as_str().unwrap_or(message);
            if message.contains("_aws") && seen.insert(format!("{group} {id} {message}")) {
                lines.push(message.to_owned());
            }
        }
    }
    Ok(lines)
}

/// The dashboard as CloudWatch has it.
async fn dashboard(world: &World) -> anyhow::Result<Value> {
    let form = format!("Action=GetDashboard&Version=2010-08-01&DashboardName=TagHub-{HOME_REGION}");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let client = world.aws.client(CENTRAL, HOME_REGION);
    let answer = client.rest("monitoring", Method::POST, "/", &headers, form).await?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let (_, rest) = text.split_once("<DashboardBody>").with_context(|| format!("no dashboard in {text}"))?;
    let (body, _) = rest.split_once("</DashboardBody>").context("the dashboard has no end")?;
    let body = body.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&#x27;", "'");
    serde_json::from_str(&body.replace("&amp;", "&")).context("the dashboard is no JSON")
}
