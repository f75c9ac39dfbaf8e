//! A policy for one agency, in Parameter Store.

use serde_json::json;
use tests::{AGENCY_A, AGENCY_B, HOME_REGION, World};

use crate::tags;

const OWN: &str = "/tag-hub/policy/222222222222";

#[tokio::test]
async fn an_agency_has_a_policy_of_its_own_and_its_mistakes_stop_nobody_else() {
    // Nothing is held: this is about where a policy is.
    let parameters =
        [("PolicyParameters", "Yes"), ("TagPolicy", r#"{"include": ["Env"]}"#), ("PolicyHoldPercent", "100")];
    let world = World::deployed_with(&parameters, &[]).await.unwrap();
    let pairs = [("Env", "PROD"), ("Role", "web"), ("Team", "red")];
    let ours = world.enroll(AGENCY_A, HOME_REGION, &pairs).await.unwrap();
    let theirs = world.enroll(AGENCY_B, HOME_REGION, &pairs).await.unwrap();
    world.deploy_policy(AGENCY_A, r#"{"include": ["Role"]}"#).await.unwrap();
    for agency in [AGENCY_A, AGENCY_B] {
        world.sweep_well(agency).await.unwrap();
    }
    assert_eq!(world.plain_tags(&ours.node), tags(&[("Role", "web")]));
    assert_eq!(world.plain_tags(&theirs.node), tags(&[("Env", "PROD")]), "that of the hub");

    // A policy that is not understood cannot be deployed, and the good one stays.
    let bad = r#"{"inlcude": ["Env"], "maxTags": 99, "overwrite": "no"}"#;
    let error = world.deploy_policy(AGENCY_A, bad).await.expect_err("it was deployed");
    assert!(format!("{error:#}").contains("maxTags (1 to 47)"), "{error:#}");
    let client = world.central();
    let found = client.json("ssm", "GetParameter", &json!({"Name": OWN})).await.unwrap();
    assert_eq!(found["Parameter"]["Value"], r#"{"include": ["Role"]}"#);

    // Whoever writes it past CloudFormation stops that agency, with all mistakes in words, and nobody else. The other one
    // has the policy of all now. Sandboxes remember a policy for a minute, so each change takes new ones here.
    let written = json!({"Name": OWN, "Value": bad, "Type": "String", "Overwrite": true});
    client.json("ssm", "PutParameter", &written).await.unwrap();
    world.deploy_policy("default", r#"{"include": ["Team"]}"#).await.unwrap();
    let new_sandboxes = [parameters[0], parameters[1], parameters[2], ("LogLevel", "DEBUG")];
    world.deploy_central(&new_sandboxes).await.unwrap();
    let answer = world.sweep(AGENCY_A, &json!({})).await.unwrap();
    let told = answer.payload["errorMessage"].as_str().unwrap_or_default();
    for mistake in [OWN, "inlcude: unknown field", "maxTags: expected 1 to 47, got 99", "overwrite: invalid type"] {
        assert!(told.contains(mistake), "{mistake} is not in {}", answer.payload);
    }
    assert_eq!(world.plain_tags(&ours.node), tags(&[("Role", "web")]), "its nodes keep their tags");
    world.sweep_well(AGENCY_B).await.unwrap();
    assert_eq!(world.plain_tags(&theirs.node), tags(&[("Team", "red")]));
}
