//! Campaigns: the deployed state machine, from the preflight to the last wave.

use std::time::Duration;

use local_aws::{Fault, Outcome};
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, Campaigns, HOME_REGION, World};

use crate::fanout::{STARTS, executions, fan_out_well, with};

/// Long enough to be seen under way, short enough for the waits of the machine.
const RUN: Duration = Duration::from_millis(200);

/// A world with the fan-out, whose runs are over soon.
async fn deployed(agencies: &[&str]) -> World {
    let world = World::deployed_for_fanout(agencies).await.unwrap();
    world.aws.automation().register_document("TagHub-Preflight", &["Runbook"]);
    world.aws.automation().set_duration(RUN);
    world
}

fn campaign(name: &str) -> Value {
    json!({
        "Name": name,
        "Request": {
            "DocumentName": "AWS-RestartEC2Instance", "TargetParameterName": "InstanceId",
            "Targets": [{"Key": "tag:Env", "Values": ["PROD"]}],
            "TargetLocations": [{
                "Accounts": [AGENCY_A, AGENCY_B], "Regions": [HOME_REGION],
                "TargetLocationMaxConcurrency": "10", "TargetLocationMaxErrors": "100%"
            }]
        },
        "Waves": [{"Name": "ring-1", "Accounts": [AGENCY_A]}, {"Name": "ring-2", "Accounts": [AGENCY_B]}]
    })
}

/// Starts a campaign and waits for its end.
async fn run(campaigns: &Campaigns<'_>, campaign: &Value) -> Value {
    let execution = campaigns.start(campaign).await.unwrap();
    campaigns.ended(&execution).await.unwrap()
}

fn runs(world: &World) -> Vec<Value> {
    let of_the_campaign = |execution: &Value| execution["DocumentName"] == "AWS-RestartEC2Instance";
    executions(world).into_iter().filter(of_the_campaign).collect()
}

#[tokio::test]
async fn a_campaign_is_tried_first_asks_stops_and_goes_on() {
    let world = &deployed(&[AGENCY_A]).await;
    let campaigns = Campaigns::of(world).await.unwrap();
    // Nothing is compared with the time of Step Functions.
    world.aws.automation().advance(Duration::from_hours(1));
    let first = with(campaign("restart"), json!({"Preflight": true, "Gate": {"Approval": true}}));

    // The preflight waits until there is room, finds the account without a role, and nothing is run.
    let full = Fault::error(STARTS, 400, "AutomationExecutionLimitExceededException", "too many").times(1);
    let full = world.aws.faults().add(full);
    let refused = run(&campaigns, &first).await;
    assert_eq!(world.aws.faults().fired(full), 1);
    assert_eq!((&refused["status"], &refused["error"]), (&json!("FAILED"), &json!("NotReady")), "{refused}");
    let told = campaigns.told().await.unwrap();
    assert_eq!((&told["State"], &told["Causes"]), (&json!("NotReady"), &json!(["execution-role"])), "{told}");
    assert!(runs(world).is_empty());

    // With the role: the first wave, then a question.
    world.deploy_execution_role(AGENCY_B).await.unwrap();
    world.aws.automation().script(AGENCY_B, "*", Outcome::TargetFailure { resources: 2, failed: 1 });
    world.aws.automation().script(AGENCY_A, "*", Outcome::Success { resources: 2 });
    let running = campaigns.start(&with(first.clone(), json!({"Preflight": false}))).await.unwrap();
    let asked = campaigns.told().await.unwrap();
    assert_eq!(
        (&asked["State"], &asked["Wave"], &asked["Next"]),
        (&json!("WaitsForApproval"), &json!("ring-1"), &json!("ring-2"))
    );
    assert_eq!(runs(world).len(), 1);
    campaigns.answer(&asked, true).await.unwrap();

    // The second wave fails, and the campaign stops.
    let stopped = campaigns.ended(&running).await.unwrap();
    assert_eq!((&stopped["status"], &stopped["error"]), (&json!("FAILED"), &json!("WaveStopped")), "{stopped}");
    assert!(stopped["cause"].as_str().unwrap().starts_with("ring-2: 1 of 1 locations did not succeed"), "{stopped}");
    assert_eq!(campaigns.told().await.unwrap()["State"], "Stopped");
    assert_eq!(runs(world).len(), 2);
    assert!(campaigns.answer(&asked, true).await.is_err(), "an answer that comes late");

    // The same campaign again starts nothing twice.
    let again = with(first.clone(), json!({"Preflight": false, "Gate": {}}));
    assert_eq!(run(&campaigns, &again).await["error"], "WaveStopped");
    assert_eq!(runs(world).len(), 2);

    // It goes on where it stopped, on what failed and on nothing else.
    campaigns.told().await.unwrap();
    world.aws.automation().script(AGENCY_B, "*", Outcome::Success { resources: 2 });
    let go_on = with(again, json!({"From": "ring-2", "Resume": true}));
    let done = run(&campaigns, &go_on).await;
    assert_eq!(done["status"], "SUCCEEDED", "{done}");
    let started = runs(world);
    assert_eq!(started.len(), 3);
    assert_eq!(started[2]["TargetLocations"][0]["Accounts"], json!([AGENCY_B]));
    let listed = fan_out_well(world, &json!({"Action": "List", "IdempotencyKey": "restart/ring-2"})).await;
    assert_eq!(listed["Executions"].as_array().unwrap().len(), 1, "{listed}");
}

#[tokio::test]
async fn a_campaign_that_makes_no_sense_is_refused_in_words() {
    let world = &deployed(&[AGENCY_A, AGENCY_B]).await;
    let campaigns = Campaigns::of(world).await.unwrap();
    for (change, words) in [
        (json!({"From": "ring-9"}), "From: expected the name of a wave"),
        (json!({"Waves": [{"Name": "a", "Percent": 0}]}), "Waves[0].Percent: expected a whole number from 1 to 100"),
        (json!({"Waves": [{"Name": "a", "Accounts": []}]}), "Waves[0].Accounts: expected at least one item"),
        (json!({"Gate": {"Calendars": ["nowhere"]}}), "Gate.Calendars: expected Change Calendars"),
    ] {
        let ended = run(&campaigns, &with(campaign("bad"), change)).await;
        assert_eq!((&ended["status"], &ended["error"]), (&json!("FAILED"), &json!("InvalidRequest")), "{ended}");
        assert!(ended["cause"].as_str().unwrap().contains(words), "{words}: {ended}");
        let told = campaigns.told().await.unwrap();
        assert_eq!((&told["State"], &told["Campaign"]), (&json!("Refused"), &json!("bad")), "{told}");
        assert!(told["Summary"].as_str().unwrap().contains(words), "{words}: {told}");
    }
    // One without a name is told too.
    assert_eq!(run(&campaigns, &json!({"Waves": []})).await["error"], "InvalidRequest");
    assert_eq!(campaigns.told().await.unwrap()["Campaign"], "");
    assert!(runs(world).is_empty());

    // Another campaign of a name that is taken, before anything is tried or run.
    assert_eq!(run(&campaigns, &campaign("taken")).await["status"], "SUCCEEDED");
    let renamed = json!({"Preflight": true, "Waves": [{"Name": "all", "Accounts": [AGENCY_A, AGENCY_B]}]});
    let ended = run(&campaigns, &with(campaign("taken"), renamed)).await;
    assert_eq!(ended["error"], "InvalidRequest", "{ended}");
    assert!(ended["cause"].as_str().unwrap().contains("Name: expected a name that no other campaign has"), "{ended}");
    assert_eq!(executions(world).len(), 2);
}

#[tokio::test]
async fn a_campaign_that_nobody_approves_in_time_ends_and_so_does_one_that_is_rejected() {
    let world = &deployed(&[AGENCY_A, AGENCY_B]).await;
    let campaigns = Campaigns::of(world).await.unwrap();
    for (name, gate, cause) in [
        ("rejected", json!({"Approval": true}), "ring-1: the next wave was rejected"),
        ("late", json!({"Approval": true, "ApprovalMinutes": 1}), "ring-1: nobody approved the next wave in time"),
    ] {
        let running = campaigns.start(&with(campaign(name), json!({"Gate": gate}))).await.unwrap();
        let asked = campaigns.told().await.unwrap();
        if name == "rejected" {
            campaigns.answer(&asked, false).await.unwrap();
        }
        let ended = campaigns.ended(&running).await.unwrap();
        assert_eq!((&ended["error"], &ended["cause"]), (&json!("WaveStopped"), &json!(cause)), "{ended}");
        assert_eq!(campaigns.told().await.unwrap()["State"], "Stopped");
        assert!(campaigns.answer(&asked, true).await.is_err(), "an approval that comes too late");
    }
    assert_eq!(runs(world).len(), 2, "the first wave of each");

    // Whoever was too late goes on from there: nothing is asked about a last wave.
    let go_on = with(campaign("late"), json!({"Gate": {"Approval": true}, "From": "ring-2"}));
    assert_eq!(run(&campaigns, &go_on).await["status"], "SUCCEEDED");
    assert_eq!(runs(world).len(), 3);
}
