//! Operators' tags, conflicts, late reports, full nodes, and a view that lags behind.

use std::time::Duration;

use serde_json::json;
use tests::{AGENCY_A, CENTRAL, HOME_REGION, World};

use crate::tags;

#[tokio::test]
async fn an_operators_own_tags_stay() {
    let world = World::deployed().await.unwrap();
    let enrolled = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    let mut live = world.tags(&enrolled.node);
    live.insert("Maintenance".to_owned(), "sunday".to_owned());
    live.insert("Env".to_owned(), "edited by hand".to_owned());
    world.aws.nodes().set_tags(CENTRAL, HOME_REGION, &enrolled.node, live);
    world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(world.plain_tags(&enrolled.node), tags(&[("Env", "PROD"), ("Maintenance", "sunday")]));
}

#[tokio::test]
async fn a_cloned_image_is_a_conflict_until_an_operator_decides() {
    let world = World::deployed().await.unwrap();
    let original = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    let before = world.tags(&original.node);
    let clone = [("managedinstanceid", original.node.as_str()), ("Env", "CLONE")];
    world.launch(AGENCY_A, HOME_REGION, &clone).await.unwrap();

    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(answer["counts"]["rejected"], 2, "which of the two is the node cannot be told: {answer}");
    assert!(answer["nodes"].as_array().unwrap().iter().all(|node| node["reason"] == "conflict"), "{answer}");
    assert_eq!(world.tags(&original.node), before);
}

#[tokio::test]
async fn a_late_report_changes_nothing_even_where_the_view_lags() {
    let world = World::deployed().await.unwrap();
    let enrolled = world.enroll(AGENCY_A, HOME_REGION, &[]).await.unwrap();
    let report = async |observed_at: &str, value: &str| {
        let report = json!({"region": HOME_REGION, "observedAt": observed_at, "instances": [
            {"instanceId": enrolled.node, "ec2InstanceId": enrolled.instance, "tags": [{"Key": "Env", "Value": value}]}]});
        world.report(AGENCY_A, &report).await.unwrap().payload
    };
    report("2026-01-01T00:00:00Z", "first").await;
    world.aws.set_lag(Duration::from_hours(1));
    let answer = report("2026-01-01T00:02:00Z", "third").await;
    assert_eq!(answer["counts"]["updated"], 1, "{answer}");
    let late = report("2026-01-01T00:01:00Z", "second").await;
    assert_eq!(late["nodes"][0]["reason"], "stale", "{late}");
    assert_eq!(world.plain_tags(&enrolled.node), tags(&[("Env", "third")]));
}

#[tokio::test]
async fn a_full_node_takes_what_fits() {
    let world = World::deployed().await.unwrap();
    let enrolled = world.enroll(AGENCY_A, HOME_REGION, &[("A", "1"), ("B", "2"), ("C", "3")]).await.unwrap();
    let mut live = world.tags(&enrolled.node);
    live.extend((0..45).map(|n| (format!("ops-{n}"), "x".to_owned())));
    world.aws.nodes().set_tags(CENTRAL, HOME_REGION, &enrolled.node, live);

    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    let expected = json!([{"key": "C", "reason": "node-full"}]);
    // 46 tags, the hub's memory takes two, so two fit.
    assert_eq!(answer["nodes"][0]["dropped"], expected, "{answer}");
    assert_eq!(world.tags(&enrolled.node).len(), 50);
    let again = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!((&again["counts"]["unchanged"], &again["nodes"][0]["dropped"]), (&json!(1), &expected), "{again}");
}
