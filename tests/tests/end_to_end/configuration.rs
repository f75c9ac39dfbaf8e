//! A configuration that is wrong is refused in words, and never taken for success.

use serde_json::json;
use tests::{AGENCY_A, HOME_REGION, World};

use crate::tags;

#[tokio::test]
async fn a_policy_that_is_refused_stops_the_manager_and_the_sweep_says_so() {
    let world = World::deployed_with(&[("TagPolicy", r#"{"set": {"tag-hub:x": "1"}, "rename": {"a": "aws:b"}}"#)], &[])
        .await
        .unwrap();
    let enrolled = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    let answer = world.sweep(AGENCY_A, &json!({})).await.unwrap();
    assert_eq!(answer.payload["errorType"], "PartialSweep", "{}", answer.payload);
    let message = answer.payload["errorMessage"].as_str().unwrap();
    for problem in ["set.tag-hub:x: the key", "rename.a: the key"] {
        assert!(message.contains(problem), "{problem} is not in {message}");
    }
    assert_eq!(world.plain_tags(&enrolled.node), tags(&[]));

    let policy = r#"{"include": ["Env"], "rename": {"Env": "Stage"}, "set": {"Fleet": "agency"}}"#;
    world.deploy_central(&[("TagPolicy", policy)]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(world.plain_tags(&enrolled.node), tags(&[("Fleet", "agency"), ("Stage", "PROD")]));
}

#[tokio::test]
async fn an_unusable_template_parameter_is_refused() {
    let world = World::deployed().await.unwrap();
    for (name, value) in [
        ("ManagerFunctionArn", "ssm-tag-manager"),
        ("ManagerFunctionArn", "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager:agency-222222222222"),
        ("CollectRegions", "us-east-1, us-west-2"),
        ("ScheduleExpression", "every minute"),
        ("InvocationType", "DryRun"),
    ] {
        let error = world.deploy_agency(AGENCY_A, &[(name, value)]).await.expect_err("the stack was deployed");
        assert!(format!("{error:#}").contains(name), "{name}={value}: {error:#}");
    }
}

#[tokio::test]
async fn an_event_that_is_none_is_refused() {
    let world = World::deployed().await.unwrap();
    for (event, place) in [
        (json!("sweep"), "event"),
        (json!({"instanceIds": []}), "instanceIds"),
        (json!({"instanceIds": ["mi-0123456789abcdef0"]}), "instanceIds[0]"),
        (json!({"dryrun": true}), "dryrun"),
        (json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {}}), "aws.s3"),
    ] {
        let answer = world.sweep(AGENCY_A, &event).await.unwrap();
        assert_eq!(answer.payload["errorType"], "InvalidEvent", "{event}: {}", answer.payload);
        let message = answer.payload["errorMessage"].as_str().unwrap();
        assert!(message.contains(place), "{event}: {message}");
    }
}
