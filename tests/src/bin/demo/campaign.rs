//! The last part of the story: a campaign in two waves, with a preflight, a gate and an approval.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use local_aws::Outcome;
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, CENTRAL, Campaigns, HOME_REGION, World};

use crate::show;

/// An account that nobody has prepared.
const UNPREPARED: &str = "444444444444";

pub(crate) async fn tell(world: &World) -> anyhow::Result<()> {
    show::step(
        "A campaign restarts agency after agency: a preflight first, then a wave, an approval, and the next wave",
    );
    let runbook = world.paths().text("cfn/preflight-runbook.yaml")?;
    local_aws::stacks::deploy(&world.central(), "tag-hub-preflight-runbook", &runbook, &[]).await?;
    world.aws.automation().set_duration(Duration::from_millis(200));
    show::note("the state machine tag-hub-campaign runs on the local AWS, where its waits are fifty times shorter");
    let campaigns = Campaigns::of(world).await?;
    let before = runs(world).len();

    let refused = run(&campaigns, &campaign(&[AGENCY_A, AGENCY_B, UNPREPARED], json!({"Preflight": true}))).await?;
    ensure!(refused["error"] == "NotReady", "the preflight finds the account without a role: {refused}");
    ensure!(runs(world).len() == before, "nothing is run");
    let told = campaigns.told().await?;
    show::note(&format!("preflight: {} ({})", text(&told, "Summary")?, told["Causes"][0].as_str().unwrap_or_default()));

    show::step(&format!("Without {UNPREPARED}: ring-1 is run, and somebody is asked about ring-2"));
    let both = [AGENCY_A, AGENCY_B];
    let gate = json!({"Approval": true, "SoakMinutes": 1});
    let execution = campaigns.start(&campaign(&both, json!({"Preflight": true, "Gate": gate}))).await?;
    let asked = campaigns.told().await?;
    ensure!(asked["State"] == "WaitsForApproval" && asked["Next"] == "ring-2", "somebody is asked: {asked}");
    ensure!(runs(world).len() == before + 1, "ring-1 alone was run");
    show::taghub(world, CENTRAL, "campaign status restart-by-rings").await?;
    // The preflight went well; what the runbook does there will not.
    world.aws.automation().script(AGENCY_B, "*", Outcome::TargetFailure { resources: 2, failed: 1 });
    show::taghub(world, CENTRAL, "campaign approve restart-by-rings --wave ring-1").await?;
    let stopped = campaigns.ended(&execution).await?;
    ensure!(stopped["error"] == "WaveStopped", "ring-2 fails, and the campaign stops: {stopped}");
    show::taghub(world, CENTRAL, "campaign status restart-by-rings").await?;
    let told = campaigns.told().await?;
    ensure!(told["State"] == "Stopped" && told["Wave"] == "ring-2", "somebody is told: {told}");
    ensure!(runs(world).len() == before + 2, "two waves, nothing twice");

    show::step("What failed in ring-2 is put right, and the campaign goes on from there");
    world.aws.automation().clear_scripts();
    let go_on = json!({"Preflight": true, "Gate": gate, "From": "ring-2", "Resume": true});
    let done = run(&campaigns, &campaign(&both, go_on)).await?;
    ensure!(done["status"] == "SUCCEEDED", "ring-2 is resumed, and the campaign is done: {done}");
    let runs = runs(world);
    ensure!(runs.len() == before + 3, "one resumption: {runs:?}");
    let reached = &runs[before + 2]["TargetLocations"];
    ensure!(reached[0]["Accounts"] == json!([AGENCY_B]) && reached[1].is_null(), "what failed alone: {reached}");
    let output: Value = serde_json::from_str(text(&done, "output")?)?;
    show::note(&format!("done: {output}"));
    Ok(())
}

fn campaign(accounts: &[&str], more: Value) -> Value {
    let mut campaign = json!({
        "Name": "restart-by-rings",
        "Request": {
            "DocumentName": "AWS-RestartEC2Instance",
            "TargetParameterName": "InstanceId",
            "Targets": [{"Key": "tag:Env", "Values": ["PROD"]}],
            "TargetLocations": [{
                "Accounts": accounts, "Regions": [HOME_REGION],
                "TargetLocationMaxConcurrency": "10", "TargetLocationMaxErrors": "100%"
            }]
        },
        "Waves": [{"Name": "ring-1", "Accounts": [AGENCY_A]}, {"Name": "ring-2", "Accounts": &accounts[1..]}]
    });
    if let (Some(campaign), Value::Object(more)) = (campaign.as_object_mut(), more) {
        campaign.extend(more);
    }
    campaign
}

/// The restarts that were started, in their order.
fn runs(world: &World) -> Vec<Value> {
    let all = world.aws.automation().executions(CENTRAL, HOME_REGION);
    all.into_iter().filter(|execution| execution["DocumentName"] == "AWS-RestartEC2Instance").collect()
}

async fn run(campaigns: &Campaigns<'_>, campaign: &Value) -> anyhow::Result<Value> {
    let execution = campaigns.start(campaign).await?;
    campaigns.ended(&execution).await
}

fn text<'a>(value: &'a Value, name: &str) -> anyhow::Result<&'a str> {
    value[name].as_str().with_context(|| format!("no {name} in {value}"))
}
