//! Throttling, failing Regions, and a manager that dies.

use local_aws::{Fault, Moment};
use serde_json::json;
use tests::{AGENCY_A, Enrolled, HOME_REGION, SECOND_REGION, World};

use crate::tags;

async fn fleet(world: &World, count: usize) -> Vec<Enrolled> {
    let mut fleet = Vec::new();
    for index in 0..count {
        let name = format!("server-{index}");
        fleet.push(world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("Name", &name)]).await.unwrap());
    }
    fleet
}

fn all_are_right(world: &World, fleet: &[Enrolled]) -> bool {
    let expected = |index: usize| tags(&[("Env", "PROD"), ("Name", &format!("server-{index}"))]);
    fleet.iter().enumerate().all(|(index, enrolled)| world.plain_tags(&enrolled.node) == expected(index))
}

#[tokio::test]
async fn in_a_throttling_storm_every_node_is_right_in_the_end() {
    let world = World::deployed().await.unwrap();
    let fleet = fleet(&world, 30).await;
    for (seed, operation) in (1..).zip([
        "ec2:DescribeInstances",
        "lambda:Invoke",
        "tagging:GetResources",
        "ssm:AddTagsToResource",
        "ssm:ListTagsForResource",
    ]) {
        // Invocations by this test itself have nobody who would try again.
        let fault = Fault::throttle(operation).probability(0.3, seed);
        let fault = if operation == "lambda:Invoke" { fault.resource("agency-") } else { fault };
        world.aws.faults().add(fault);
    }
    let mut sweeps = 0;
    while !all_are_right(&world, &fleet) {
        assert!(sweeps < 5, "five sweeps did not suffice");
        world.sweep(AGENCY_A, &json!({})).await.unwrap();
        sweeps += 1;
    }
    let throttled = world.aws.calls().snapshot().of("ssm:AddTagsToResource").throttled;
    assert!(throttled > 0, "the storm did not reach the manager");
}

#[tokio::test]
async fn a_manager_that_dies_is_reported_and_the_next_run_finishes_its_work() {
    let world = World::deployed().await.unwrap();
    let fleet = fleet(&world, 20).await;
    for moment in [Moment::BeforeTheCall, Moment::AfterTheCall] {
        let kill = Fault::kill("ssm:AddTagsToResource", "ssm-tag-manager", moment).skip(5).times(1);
        world.aws.faults().add(kill);
        let answer = world.sweep(AGENCY_A, &json!({})).await.unwrap();
        assert_eq!(answer.payload["errorType"], "PartialSweep", "{}", answer.payload);
        assert!(!all_are_right(&world, &fleet), "it died in the middle");
        world.end_leases().await.unwrap();
    }
    world.sweep_well(AGENCY_A).await.unwrap();
    assert!(all_are_right(&world, &fleet));
    let again = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(again["counts"]["unchanged"], 20, "{again}");
}

#[tokio::test]
async fn a_region_that_fails_does_not_stop_the_others() {
    let regions = format!("{HOME_REGION},{SECOND_REGION}");
    let world = World::deployed_with(&[], &[("CollectRegions", &regions)]).await.unwrap();
    let fleet = fleet(&world, 2).await;
    // Either Region may be the one that fails; the answer lists the node of the other, which loses a tag.
    for region in [HOME_REGION, SECOND_REGION] {
        world.enroll(AGENCY_A, region, &[("Env", "PROD"), ("not#taken", "x")]).await.unwrap();
    }
    let refusal = "You are not authorized to perform this operation.";
    let fault = Fault::error("ec2:DescribeInstances", 403, "UnauthorizedOperation", refusal).times(1);
    world.aws.faults().add(fault);
    let answer = world.sweep(AGENCY_A, &json!({})).await.unwrap();
    assert_eq!(answer.payload["errorType"], "PartialSweep", "{}", answer.payload);
    let message = answer.payload["errorMessage"].as_str().unwrap();
    assert!(message.contains("UnauthorizedOperation") && message.contains("PROD"), "{message}");
    // The answer is for whoever asked. The log, where the runtime puts the error too, holds no value of a tag.
    let log = world.log(AGENCY_A, "tags-collector").await.unwrap();
    assert!(log.contains("PartialSweep") || log.contains("failed to read entire Region"), "these are its logs: {log}");
    assert!(!log.contains("PROD"), "{log}");
    world.sweep_well(AGENCY_A).await.unwrap();
    assert!(all_are_right(&world, &fleet));
}

#[tokio::test]
async fn one_node_that_fails_does_not_stop_the_others() {
    let world = World::deployed().await.unwrap();
    let fleet = fleet(&world, 3).await;
    let denied = Fault::error("ssm:AddTagsToResource", 400, "AccessDeniedException", "no").resource(&fleet[1].node);
    world.aws.faults().add(denied);
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!((&answer["counts"]["updated"], &answer["counts"]["failed"]), (&json!(2), &json!(1)), "{answer}");
    assert_eq!(answer["nodes"][0]["code"], "AccessDeniedException");
    world.aws.faults().clear();
    world.sweep_well(AGENCY_A).await.unwrap();
    assert!(all_are_right(&world, &fleet));
}
