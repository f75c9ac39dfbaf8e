//! How instances become managed nodes: an activation for each agency, and instances that register themselves with it.

use std::time::Instant;

use anyhow::ensure;
use serde_json::{Value, json};
use tests::{ACTIVATION_PARAMETER, AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, SECOND_REGION, World};

use crate::fleet::{self, Fleet};
use crate::show;

/// Lets activation-issuer run twice. Answers with what it answered.
pub(crate) async fn issue(world: &World) -> anyhow::Result<Vec<Value>> {
    show::step("An activation for each agency, made by activation-issuer and put into the agency's Parameter Store");
    let first = world.issue_activations().await?;
    for agency in first["agencies"].as_array().into_iter().flatten() {
        let text = |name: &str| agency[name].as_str().unwrap_or_default().to_owned();
        ensure!(agency["outcome"] == "renewed" && agency["reason"] == "missing", "an activation is made: {agency}");
        show::note(&format!(
            "{}: activation {} for {} registrations, until {}",
            text("agency"),
            text("activationId"),
            agency["registrationsLeft"],
            text("expirationDate")
        ));
    }
    let get = json!({"Name": ACTIVATION_PARAMETER});
    for agency in [AGENCY_A, AGENCY_B] {
        for region in [HOME_REGION, SECOND_REGION] {
            let found = world.aws.client(agency, region).json("ssm", "GetParameter", &get).await?;
            ensure!(found["Parameter"]["Type"] == "SecureString", "the parameter is encrypted");
        }
        show::note(&format!("{agency}: {ACTIVATION_PARAMETER} is a SecureString in {HOME_REGION} and {SECOND_REGION}"));
    }
    let second = world.issue_activations().await?;
    ensure!(second["counts"]["live"] == 2 && second["counts"]["created"] == 0, "nothing is made twice: {second}");
    show::note("once more: both are live, and nothing is made");
    Ok(vec![first, second])
}

/// Launches the fleet, which registers itself.
pub(crate) async fn register(world: &World) -> anyhow::Result<Fleet> {
    show::step("Instances are launched with the profile TagHubInstance, and register-instance runs on each");
    let start = Instant::now();
    // It launches and registers all of them at once, which makes it large.
    let fleet = Box::pin(fleet::launch(world)).await?;
    for line in fleet.printed[0].lines() {
        show::note(line);
    }
    show::note(&format!(
        "{} instances, {} of them registered themselves, in {:.1} s",
        fleet.members.len() + fleet.others.len(),
        fleet.members.len(),
        start.elapsed().as_secs_f64()
    ));
    ensure!(fleet.machines.iter().all(local_aws::machine::Machine::is_active), "every agent runs again");
    for enrolled in fleet.members.iter().map(|member| &member.enrolled) {
        let tags = world.tags(&enrolled.node);
        ensure!(tags[hub::AGENCY_TAG_KEY] == enrolled.agency, "the activation says whose {} is", enrolled.node);
    }
    for activation in world.aws.activations().list(CENTRAL, HOME_REGION) {
        let agency = activation.tags[hub::AGENCY_TAG_KEY].as_str();
        let expected = fleet.members.iter().filter(|member| member.enrolled.agency == agency).count();
        let count = usize::try_from(activation.registrations_count)?;
        ensure!(count == expected, "{count} instead of {expected} nodes registered with {agency}'s activation");
        show::note(&format!("{count} nodes with the activation of {agency}"));
    }
    Ok(fleet)
}
