//! What a run may cost, in calls.

use tests::{AGENCY_A, HOME_REGION, World};

const READS: [&str; 2] = ["tagging:GetResources", "ssm:ListTagsForResource"];
const WRITES: [&str; 2] = ["ssm:AddTagsToResource", "ssm:RemoveTagsFromResource"];

#[tokio::test]
async fn a_run_costs_what_was_promised() {
    let world = World::deployed().await.unwrap();
    let mut fleet = Vec::new();
    for _ in 0..120 {
        fleet.push(world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("Role", "web")]).await.unwrap());
    }
    let sweep = async || {
        let before = world.aws.calls().snapshot();
        let answer = world.sweep_well(AGENCY_A).await.unwrap();
        let calls = world.aws.calls().snapshot().since(&before);
        let cost =
            [READS, WRITES].concat().into_iter().map(|operation| calls.of(operation).total()).collect::<Vec<_>>();
        (answer, cost, calls.of("ec2:DescribeInstances").total())
    };

    let (answer, cost, pages) = sweep().await;
    assert_eq!(answer["counts"]["updated"], 120, "{answer}");
    assert_eq!((cost, pages), (vec![2, 0, 120, 0], 1), "the first run: one write a node");

    let (answer, cost, pages) = sweep().await;
    assert_eq!(answer["counts"]["unchanged"], 120, "{answer}");
    assert_eq!((cost, pages), (vec![2, 0, 0, 0], 1), "nothing changed: two bulk reads for 120 nodes and no write");

    world.tag(&fleet[7], "Env", "TEST").await.unwrap();
    assert_eq!(sweep().await.1, [2, 1, 1, 0], "a changed tag: one confirming read, one write");

    world.untag(&fleet[7], "Role").await.unwrap();
    assert_eq!(sweep().await.1, [2, 1, 1, 1], "a deleted tag: one confirming read, two writes");
}
