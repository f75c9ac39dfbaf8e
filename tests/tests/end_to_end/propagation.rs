//! Tags appear, change and disappear.

use std::collections::BTreeMap;

use tests::{AGENCY_A, AGENCY_B, HOME_REGION, SECOND_REGION, World};

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn tags_follow_their_instances() {
    let regions = format!("{HOME_REGION},{SECOND_REGION}");
    let world = World::deployed_with(&[], &[("CollectRegions", &regions)]).await.unwrap();
    let web = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("Role", "web")]).await.unwrap();
    let west = world.enroll(AGENCY_A, SECOND_REGION, &[("Env", "TEST")]).await.unwrap();
    let other = world.enroll(AGENCY_B, HOME_REGION, &[("Env", "DEV")]).await.unwrap();

    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(answer["counts"]["updated"], 2, "{answer}");
    assert_eq!(world.plain_tags(&web.node), tags(&[("Env", "PROD"), ("Role", "web")]));
    assert_eq!(world.plain_tags(&west.node), tags(&[("Env", "TEST")]));
    assert_eq!(world.tags(&west.node)["tag-hub:source"], format!("{AGENCY_A}/{SECOND_REGION}/{}", west.instance));
    assert_eq!(world.plain_tags(&other.node), tags(&[]), "the other agency has not reported yet");
}
