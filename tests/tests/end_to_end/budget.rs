//! What a run may cost, in calls.

use tests::{AGENCY_A, HOME_REGION, World};

const READS: [&str; 2] = ["tagging:GetResources", "ssm:ListTagsForResource"];
const WRITES: [&str; 2] = ["ssm:AddTagsToResource", "ssm:RemoveTagsFromResource"];
const LEASES: [&str; 2] = ["dynamodb:PutItem", "dynamodb:DeleteItem"];

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
        let totals = |operations: [&str; 2]| operations.map(|operation| calls.of(operation).total());
        (answer, [totals(READS), totals(WRITES)].concat(), totals(LEASES), calls.of("ec2:DescribeInstances").total())
    };

    let (answer, cost, leases, pages) = sweep().await;
    assert_eq!(answer["counts"]["updated"], 120, "{answer}");
    let looked_for = 120 / 20;
    assert_eq!(
        cost,
        [2 + looked_for, 120, 120, 0],
        "the first run: one read and one write a node, and who had them before"
    );
    assert_eq!(pages, 1);
    // Each node is noted once; the rest is for the lease and the slot, for each five seconds of writing.
    assert!((122..150).contains(&leases[0]) && leases[1] >= 1, "{leases:?}");

    let (answer, cost, leases, pages) = sweep().await;
    assert_eq!(answer["counts"]["unchanged"], 120, "{answer}");
    assert_eq!((cost, leases, pages), (vec![2, 0, 0, 0], [0, 0], 1), "nothing changed: two bulk reads for 120 nodes");

    world.tag(&fleet[7], "Env", "TEST").await.unwrap();
    let (_, cost, leases, _) = sweep().await;
    assert_eq!((cost, leases), (vec![2, 1, 1, 0], [1, 1]), "a changed tag: one read, one write, one lease");

    world.untag(&fleet[7], "Role").await.unwrap();
    let (_, cost, leases, _) = sweep().await;
    assert_eq!((cost, leases), (vec![2, 1, 1, 1], [1, 1]), "a deleted tag: one read, two writes, one lease");
}
