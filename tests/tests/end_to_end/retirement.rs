//! The nodes of terminated instances, on the deployed templates.

use std::time::Duration;

use local_aws::InvocationType;
use serde_json::{Value, json};
use tests::{AGENCY_A, CENTRAL, Enrolled, HOME_REGION, World};

const WRITES: [&str; 3] = ["ssm:AddTagsToResource", "ssm:RemoveTagsFromResource", "ssm:DeregisterManagedInstance"];
const LONG_AGO: Duration = Duration::from_hours(3);

async fn retire(world: &World, event: Value) -> Value {
    let answer = world.central().invoke("ssm-tag-manager", InvocationType::RequestResponse, &event).await.unwrap();
    assert!(answer.function_error.is_none(), "{}", answer.payload);
    answer.payload
}

/// Instances with a node that knows them, which then are terminated and fall silent.
async fn ended(world: &World, count: usize) -> Vec<Enrolled> {
    let mut fleet = Vec::new();
    for _ in 0..count {
        fleet.push(world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap());
    }
    world.sweep_well(AGENCY_A).await.unwrap();
    for one in &fleet {
        world.terminate(one).await.unwrap();
        assert!(world.aws.nodes().set_ping(CENTRAL, HOME_REGION, &one.node, "ConnectionLost", LONG_AGO));
    }
    world.sweep_well(AGENCY_A).await.unwrap();
    fleet
}

/// Lets the mark of a node be as old as the grace asks for; where it has none, it gets a very old one.
async fn age(world: &World, one: &Enrolled) {
    let marked = world.tags(&one.node).get(hub::TERMINATED_TAG_KEY).map_or(0, |mark| mark.parse().unwrap());
    let then = u64::saturating_sub(marked, LONG_AGO.as_secs()).max(1);
    let tags = json!([{"Key": hub::TERMINATED_TAG_KEY, "Value": then.to_string()}]);
    let request = json!({"ResourceType": "ManagedInstance", "ResourceId": one.node, "Tags": tags});
    world.central().json("ssm", "AddTagsToResource", &request).await.unwrap();
}

fn is_there(world: &World, one: &Enrolled) -> bool {
    world.aws.nodes().tags(CENTRAL, HOME_REGION, &one.node).is_some()
}

#[tokio::test]
async fn a_node_goes_with_its_instance_once_all_the_evidence_is_there() {
    let parameters = [("RetireNodes", "on"), ("RetireGraceHours", "1"), ("RetireLimit", "1")];
    let world = World::deployed_with(&parameters, &[]).await.unwrap();
    let fleet = ended(&world, 3).await;
    let [first, second, heard] = fleet.as_slice() else { panic!("three were launched") };
    let alive = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    for one in &fleet {
        assert!(world.tags(&one.node).contains_key(hub::TERMINATED_TAG_KEY), "{} is not marked", one.node);
    }
    assert!(!world.tags(&alive.node).contains_key(hub::TERMINATED_TAG_KEY));

    let answer = retire(&world, json!({"action": "retire"})).await;
    assert_eq!(answer["counts"]["retired"], 0, "the marks are new: {answer}");

    for one in &fleet {
        age(&world, one).await;
    }
    assert!(world.aws.nodes().set_ping(CENTRAL, HOME_REGION, &heard.node, "Online", Duration::ZERO));
    let answer = retire(&world, json!({"action": "retire", "dryRun": true})).await;
    assert!(fleet.iter().all(|one| is_there(&world, one)), "a dry run took one: {answer}");

    let answer = retire(&world, json!({"action": "retire"})).await;
    assert_eq!(answer["counts"]["retired"], 1, "RetireLimit is 1: {answer}");
    let answer = retire(&world, json!({"action": "retire"})).await;
    assert_eq!(answer["counts"]["retired"], 1, "{answer}");
    assert!(!is_there(&world, first) && !is_there(&world, second));
    assert!(is_there(&world, heard) && is_there(&world, &alive));

    let refused = world.report(AGENCY_A, &json!({"action": "retire"})).await.unwrap();
    assert!(refused.function_error.is_some(), "an agency asked for it: {}", refused.payload);
}

#[tokio::test]
async fn off_means_no_call_and_dry_run_means_no_write() {
    for (mode, is_read) in [("off", false), ("dry-run", true)] {
        let world = World::deployed_with(&[("RetireNodes", mode), ("RetireGraceHours", "1")], &[]).await.unwrap();
        let one = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
        world.sweep_well(AGENCY_A).await.unwrap();
        world.terminate(&one).await.unwrap();
        assert!(world.aws.nodes().set_ping(CENTRAL, HOME_REGION, &one.node, "ConnectionLost", LONG_AGO));
        let before = world.aws.calls().snapshot();
        world.sweep_well(AGENCY_A).await.unwrap();
        age(&world, &one).await;
        let aged = world.aws.calls().snapshot().since(&before);
        retire(&world, json!({"action": "retire"})).await;
        let calls = world.aws.calls().snapshot().since(&before);
        let reads = calls.of("tagging:GetResources").total();
        assert_eq!(reads > 0, is_read, "{mode}: {reads} reads");
        for write in WRITES {
            let own = u64::from(write == "ssm:AddTagsToResource");
            assert_eq!(aged.of(write).total(), own, "{mode}: {write} by the sweep");
            assert_eq!(calls.of(write).total(), own, "{mode}: {write} by the run");
        }
        assert!(is_there(&world, &one), "{mode}");
    }
}
