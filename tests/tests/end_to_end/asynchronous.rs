//! Reports without a reader: Lambda tries again, and hands over what it gives up on.

use std::time::Duration;

use local_aws::{Fault, Moment};
use serde_json::{Value, json};
use tests::{AGENCY_A, CENTRAL, HOME_REGION, World};

use crate::tags;

const WITHIN: Duration = Duration::from_mins(2);

#[tokio::test]
async fn a_report_that_was_not_finished_is_tried_again() {
    let world = World::deployed_with(&[], &[("InvocationType", "Event")]).await.unwrap();
    let enrolled = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    let is_tagged = |value: &'static str| {
        let node = enrolled.node.clone();
        move |world: &World| world.plain_tags(&node) == tags(&[("Env", value)])
    };
    // Eight failures are all that a call takes.
    let busy = Fault::error("ssm:AddTagsToResource", 400, "TooManyUpdates", "busy").times(8);
    world.aws.faults().add(busy);
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(answer["counts"], Value::Null, "nobody waited for the manager: {answer}");
    world.eventually("the retried report is applied", WITHIN, is_tagged("PROD")).await.unwrap();

    // A lease lasts as long as the invocation that died could have, and some seconds.
    world.set_timeout("ssm-tag-manager", 30).await.unwrap();
    world.tag(&enrolled, "Env", "TEST").await.unwrap();
    world.aws.faults().add(Fault::kill("ssm:AddTagsToResource", "ssm-tag-manager", Moment::BeforeTheCall).times(1));
    world.sweep_well(AGENCY_A).await.unwrap();
    world.eventually("the report outlives the manager", WITHIN, is_tagged("TEST")).await.unwrap();
}

#[tokio::test]
async fn a_report_that_is_given_up_on_ends_in_the_failure_queue() {
    let world = World::deployed_with(&[], &[("InvocationType", "Event")]).await.unwrap();
    let enrolled = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.aws.faults().add(Fault::error("ssm:AddTagsToResource", 400, "TooManyUpdates", "busy"));
    world.sweep_well(AGENCY_A).await.unwrap();

    let client = world.central();
    let name = json!({"QueueName": "ssm-tag-manager-failures"});
    let queue = client.json("sqs", "GetQueueUrl", &name).await.unwrap()["QueueUrl"].clone();
    let receive = json!({"QueueUrl": queue, "WaitTimeSeconds": 20});
    let mut message = Value::Null;
    // Three invocations of eight failures each come before.
    for _ in 0..4 {
        message = client.json("sqs", "ReceiveMessage", &receive).await.unwrap()["Messages"][0].clone();
        if !message.is_null() {
            break;
        }
    }
    let body: Value = serde_json::from_str(message["Body"].as_str().unwrap_or_default()).unwrap();
    let request = &body["requestPayload"];
    assert_eq!(request["instances"][0]["instanceId"], *enrolled.node, "the whole report can be replayed: {body}");
    assert_eq!(body["responsePayload"]["errorType"], "Incomplete", "{body}");
    assert!(body["requestContext"]["functionArn"].as_str().unwrap().contains(CENTRAL), "{body}");
}
