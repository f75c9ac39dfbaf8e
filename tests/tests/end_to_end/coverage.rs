//! Which instances of an agency have a node: from its collector to a parameter of the central account.

use std::time::Duration;

use local_aws::Fault;
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, SECOND_REGION, World};

async fn kept(world: &World, agency: &str, region: &str) -> Option<Value> {
    let name = json!({"Name": format!("/tag-hub/coverage/{agency}/{region}")});
    let answer = world.central().json("ssm", "GetParameter", &name).await.ok()?;
    serde_json::from_str(answer["Parameter"]["Value"].as_str()?).ok()
}

#[tokio::test]
async fn an_agencys_coverage_is_kept_by_region_and_written_when_it_changes() {
    let regions = format!("{HOME_REGION},{SECOND_REGION}");
    let world = World::deployed_with(&[], &[("CollectRegions", &regions)]).await.unwrap();
    let web = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    let bare = world.launch(AGENCY_A, HOME_REGION, &[("Env", "TEST")]).await.unwrap();

    // A dry run writes nothing, and neither does another agency's sweep.
    world.sweep(AGENCY_A, &json!({"dryRun": true})).await.unwrap();
    world.sweep_well(AGENCY_B).await.unwrap();
    assert_eq!(kept(&world, AGENCY_A, HOME_REGION).await, None);

    world.sweep_well(AGENCY_A).await.unwrap();
    let expected = json!({"running": 2, "stopped": 0, "managed": 1, "unmanaged": [bare], "unmanagedOmitted": 0});
    assert_eq!(kept(&world, AGENCY_A, HOME_REGION).await, Some(expected));
    assert_eq!(kept(&world, AGENCY_A, SECOND_REGION).await, None, "an empty Region that is not the hub's");
    let nothing = json!({"running": 0, "stopped": 0, "managed": 0, "unmanaged": [], "unmanagedOmitted": 0});
    assert_eq!(kept(&world, AGENCY_B, HOME_REGION).await, Some(nothing));

    // The steady state: a read for each Region, and no write.
    let before = world.aws.calls().snapshot();
    world.sweep_well(AGENCY_A).await.unwrap();
    let calls = world.aws.calls().snapshot().since(&before);
    assert_eq!(["ssm:GetParameter", "ssm:PutParameter"].map(|name| calls.of(name).total()), [2, 0]);

    // What changes is seen with the next sweep. Parameter Store counts in whole seconds, and so do reports.
    world.untag(&web, "managedinstanceid").await.unwrap();
    let mut now = None;
    for _ in 0..50 {
        world.sweep_well(AGENCY_A).await.unwrap();
        now = kept(&world, AGENCY_A, HOME_REGION).await;
        if now.as_ref().is_some_and(|now| now["managed"] == 0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let now = now.unwrap();
    assert_eq!((&now["managed"], now["unmanaged"].as_array().unwrap().len()), (&json!(0), 2), "{now}");
}

#[tokio::test]
async fn coverage_that_cannot_be_kept_fails_no_report() {
    let world = World::deployed().await.unwrap();
    let web = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.aws.faults().add(Fault::error("ssm:PutParameter", 400, "ParameterLimitExceeded", "no more parameters"));
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(answer["counts"]["updated"], 1, "{answer}");
    assert_eq!(world.plain_tags(&web.node), crate::tags(&[("Env", "PROD")]));
    let log = world.log(CENTRAL, "ssm-tag-manager").await.unwrap();
    assert!(log.contains("coverage not kept") && log.contains("ParameterLimitExceeded"), "{log}");
}
