//! Campaigns: started once, approved, stopped at a gate, and resumed.

use std::time::{Duration, Instant};

use local_aws::Outcome;
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, HOME_REGION, SECOND_REGION, World};

use super::Operator;

/// A campaign that asks between one Region and the next.
pub(super) fn by_region(name: &str, accounts: &[&str]) -> Value {
    let location =
        json!({"Accounts": accounts, "Regions": [HOME_REGION, SECOND_REGION], "TargetLocationMaxErrors": "100%"});
    json!({
        "Name": name, "Gate": {"Approval": true},
        "Request": {"DocumentName": "AWS-RestartEC2Instance", "TargetParameterName": "InstanceId",
                    "Targets": [{"Key": "tag:Env", "Values": ["PROD"]}], "TargetLocations": [location]},
        "Waves": [{"Name": "east", "Regions": [HOME_REGION]}, {"Name": "west", "Regions": [SECOND_REGION]}]
    })
}

/// Waits until a campaign waits for approval.
pub(super) async fn asks(operator: &Operator, name: &str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while operator.json(&format!("campaign status \"{name}\"")).await["state"] != "waits-for-approval" {
        assert!(Instant::now() < deadline, "{name} does not ask");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_campaign_from_its_start_to_its_resumption() {
    let world = World::deployed().await.unwrap();
    world.deploy_administration_role().await.unwrap();
    for agency in [AGENCY_A, AGENCY_B] {
        world.deploy_execution_role(agency).await.unwrap();
    }
    world.aws.automation().set_duration(Duration::from_millis(200));
    world.aws.automation().script(AGENCY_A, "*", Outcome::Success { resources: 2 });
    world.aws.automation().script(AGENCY_B, "*", Outcome::TargetFailure { resources: 2, failed: 1 });
    let operator = Operator::central(&world);
    let location = json!({"Accounts": [AGENCY_A, AGENCY_B], "Regions": [HOME_REGION],
                          "TargetLocationMaxConcurrency": "10", "TargetLocationMaxErrors": "100%"});
    let campaign = json!({
        "Name": "kernel restart", "Gate": {"Approval": true},
        "Request": {"DocumentName": "AWS-RestartEC2Instance", "TargetParameterName": "InstanceId",
                    "Targets": [{"Key": "tag:Env", "Values": ["PROD"]}], "TargetLocations": [location]},
        "Waves": [{"Name": "ring-1", "Accounts": [AGENCY_A]}, {"Name": "ring-2", "Accounts": [AGENCY_B]}]
    });
    operator.write("campaign.json", &campaign);

    let started = operator.run_well("campaign start campaign.json --yes").await.out;
    assert_eq!(started, "✓ started. taghub campaign watch kernel restart\n");
    let twice = operator.run("campaign start campaign.json --yes").await;
    assert_eq!(twice.code, 2, "{twice:?}");
    assert!(twice.err.contains("the campaign kernel restart was started before"), "{twice:?}");

    // It waits for approval, behind its first wave and behind no other.
    asks(&operator, "kernel restart").await;
    let waiting = operator.run_well("campaign list --waiting").await.out;
    assert!(waiting.starts_with("kernel restart\twaits-for-approval\tring-1\t"), "{waiting}");
    let status = operator.run_well("campaign status \"kernel restart\"").await.out;
    assert!(status.contains("! ring-1 is through its gate; ring-2 waits for approval\n"), "{status}");
    let early = operator.run("campaign approve \"kernel restart\" --wave ring-2").await;
    assert_eq!(early.code, 2, "{early:?}");
    assert!(early.err.contains("waits behind ring-1, not behind ring-2"), "{early:?}");
    let unresumable = operator.run("campaign resume \"kernel restart\" --yes").await;
    assert!(unresumable.err.contains("is running; only a stopped campaign can be resumed"), "{unresumable:?}");
    let approved = operator.run_well("campaign approve \"kernel restart\" --wave ring-1 --comment checked").await.out;
    assert_eq!(approved, "✓ approved: ring-2 begins\n");

    // The second wave fails, and the watch ends with 1.
    let watched = operator.run("campaign watch \"kernel restart\" --interval 1s").await;
    assert_eq!(watched.code, 1, "{watched:?}");
    assert!(
        watched.out.contains("✗ ring-2") && watched.out.contains("WaveStopped: ring-2: 1 of 1 locations"),
        "{watched:?}"
    );
    assert!(watched.out.ends_with("  taghub campaign resume kernel restart\n"), "{watched:?}");
    let late = operator.run("campaign approve \"kernel restart\" --wave ring-1").await;
    assert!(late.err.contains("does not wait for approval"), "{late:?}");

    world.aws.automation().script(AGENCY_B, "*", Outcome::Success { resources: 2 });
    // Times of executions are in whole seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let resumed = operator.run_well("campaign resume \"kernel restart\" --yes --watch").await;
    assert!(resumed.out.contains("✓ ring-2"), "{resumed:?}");
    assert_eq!(operator.json("campaign list").await["campaigns"][0]["state"], "done");
}

#[tokio::test]
async fn a_campaign_is_rejected_and_another_is_stopped() {
    let world = World::deployed().await.unwrap();
    world.deploy_administration_role().await.unwrap();
    world.deploy_execution_role(AGENCY_A).await.unwrap();
    world.aws.automation().set_duration(Duration::from_millis(200));
    let operator = Operator::central(&world);
    for (name, end) in [("a", "campaign reject a --wave east --comment \"not now\""), ("b", "campaign stop b --yes")] {
        operator.write("campaign.json", &by_region(name, &[AGENCY_A]));
        operator.run_well("campaign start campaign.json --yes").await;
        asks(&operator, name).await;
        operator.run_well(end).await;
        let ended = operator.run(&format!("campaign watch {name} --interval 1s")).await;
        assert_eq!(ended.code, 1, "{ended:?}");
    }
    let rejected = operator.json("campaign status a").await;
    assert_eq!(rejected["cause"], "east: the next wave was rejected", "{rejected}");
    assert_eq!(operator.json("campaign status b").await["state"], "stopped-by-hand");
    let bad = operator.run("campaign start campaign.json --yes").await;
    assert_eq!(bad.code, 2, "{bad:?}");
    operator.write("campaign.json", &json!({"Name": "c", "Waves": []}));
    let bad = operator.run("campaign start campaign.json --yes").await;
    assert!(bad.err.contains("Waves: expected"), "{bad:?}");
}
