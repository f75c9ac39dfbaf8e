//! Tags appear, change and disappear.

use serde_json::json;
use tests::{AGENCY_A, AGENCY_B, HOME_REGION, SECOND_REGION, World};

use crate::tags;

#[tokio::test]
async fn tags_follow_their_instances() {
    let regions = format!("{HOME_REGION},{SECOND_REGION}");
    let world = World::deployed_with(&[], &[("CollectRegions", &regions)]).await.unwrap();
    let web = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("Role", "web")]).await.unwrap();
    let west = world.enroll(AGENCY_A, SECOND_REGION, &[("Env", "TEST")]).await.unwrap();
    let other = world.enroll(AGENCY_B, HOME_REGION, &[("Env", "DEV")]).await.unwrap();
    world.launch(AGENCY_A, HOME_REGION, &[("Env", "not managed")]).await.unwrap();

    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!((&answer["counts"]["received"], &answer["counts"]["updated"]), (&json!(2), &json!(2)), "{answer}");
    assert_eq!(world.plain_tags(&web.node), tags(&[("Env", "PROD"), ("Role", "web")]));
    assert_eq!(world.plain_tags(&west.node), tags(&[("Env", "TEST")]));
    assert_eq!(world.tags(&west.node)["tag-hub:source"], format!("{AGENCY_A}/{SECOND_REGION}/{}", west.instance));
    assert_eq!(world.plain_tags(&other.node), tags(&[]), "the other agency has not reported yet");

    world.tag(&web, "Env", "TEST").await.unwrap();
    world.untag(&web, "Role").await.unwrap();
    world.terminate(&west).await.unwrap();
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(answer["counts"]["received"], 1, "a terminated instance is not reported: {answer}");
    assert_eq!(world.plain_tags(&web.node), tags(&[("Env", "TEST")]));
    assert_eq!(world.plain_tags(&west.node), tags(&[("Env", "TEST")]), "its node is left as it was");
}

#[tokio::test]
async fn one_instance_can_be_asked_for_and_a_dry_run_writes_nothing() {
    let world = World::deployed().await.unwrap();
    let one = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("a#b", "1")]).await.unwrap();
    let other = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();

    let event = json!({"instanceIds": [one.instance, "i-00000000000000000"], "dryRun": true});
    let answer = world.sweep(AGENCY_A, &event).await.unwrap().payload;
    assert_eq!(answer["nodes"][0]["outcome"], "would-update", "{answer}");
    assert_eq!(answer["nodes"][0]["dropped"], json!([{"key": "a#b", "reason": "character"}]), "{answer}");
    assert_eq!(answer["notFound"], json!(["i-00000000000000000"]));
    assert_eq!(world.plain_tags(&one.node), tags(&[]));

    let answer = world.sweep(AGENCY_A, &json!({"instanceIds": [one.instance]})).await.unwrap();
    assert_eq!(answer.function_error, None, "{}", answer.payload);
    assert_eq!(world.plain_tags(&one.node), tags(&[("Env", "PROD")]));
    assert_eq!(world.plain_tags(&other.node), tags(&[]));
}
