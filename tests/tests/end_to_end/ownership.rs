//! An agency can only ever tag its own nodes.

use local_aws::InvocationType;
use serde_json::json;
use tests::{AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, World};

use crate::tags;

#[tokio::test]
async fn another_agencys_node_stays_untouched() {
    let world = World::deployed().await.unwrap();
    let theirs = world.enroll(AGENCY_B, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_B).await.unwrap();
    let before = world.tags(&theirs.node);
    let own = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    let thief = [("managedinstanceid", theirs.node.as_str()), ("Env", "STOLEN")];
    world.launch(AGENCY_A, HOME_REGION, &thief).await.unwrap();

    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(answer["counts"]["rejected"], 1, "{answer}");
    assert_eq!(answer["nodes"][0]["reason"], "not-owned");
    assert_eq!(world.plain_tags(&own.node), tags(&[("Env", "PROD")]), "the agency's own node gets its tags");
    assert_eq!(world.tags(&theirs.node), before);

    let forged = json!({"account": AGENCY_B, "instances": [{"instanceId": theirs.node, "tags": []}]});
    let answer = world.report(AGENCY_A, &forged).await.unwrap();
    assert_eq!(answer.payload["errorType"], "AccountMismatch", "{}", answer.payload);
    assert_eq!(world.tags(&theirs.node), before);
}

#[tokio::test]
async fn past_its_own_alias_an_agency_is_refused() {
    let world = World::deployed().await.unwrap();
    let theirs = world.enroll(AGENCY_B, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    let report = json!({"instances": [{"instanceId": theirs.node, "tags": [{"Key": "Env", "Value": "STOLEN"}]}]});
    let function = format!("arn:aws:lambda:{HOME_REGION}:{CENTRAL}:function:ssm-tag-manager");
    let client = world.aws.client(AGENCY_A, HOME_REGION);
    for qualifier in ["", ":$LATEST", ":1", ":agency-333333333333"] {
        let refusal = client
            .invoke(&format!("{function}{qualifier}"), InvocationType::RequestResponse, &report)
            .await
            .expect_err("the agency got past its alias");
        assert_eq!((refusal.status, refusal.code.as_str()), (403, "AccessDeniedException"), "{qualifier}");
    }
    // Central IT may invoke its own function, but without an alias it speaks for nobody.
    let answer = world.central().invoke(&function, InvocationType::RequestResponse, &report).await.unwrap();
    assert_eq!(answer.payload["errorType"], "Unauthenticated", "{}", answer.payload);
    assert_eq!(world.plain_tags(&theirs.node), tags(&[]));
}

#[tokio::test]
async fn a_node_that_belongs_to_nobody_is_refused_unless_the_check_is_off() {
    let world = World::deployed().await.unwrap();
    let enrolled = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.aws.nodes().set_tags(CENTRAL, HOME_REGION, &enrolled.node, [("Owner", "ops")]);
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(answer["nodes"][0]["reason"], "not-owned", "{answer}");

    world.deploy_central(&[("OwnershipCheck", "off")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(world.plain_tags(&enrolled.node), tags(&[("Env", "PROD"), ("Owner", "ops")]));
}
