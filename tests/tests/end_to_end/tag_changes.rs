//! Tag changes that come through a queue.

use serde_json::{Value, json};
use tests::{AGENCY_A, HOME_REGION, World};

use crate::tags;

fn message(id: usize, instance: &str) -> Value {
    let body = json!({
        "version": "0", "id": format!("ffd8a6fe-32f8-ef66-c85c-{id:012}"), "detail-type": "Tag Change on Resource",
        "source": "aws.tag", "account": AGENCY_A, "time": "2026-11-22T02:00:00Z", "region": HOME_REGION,
        "resources": [format!("arn:aws:ec2:{HOME_REGION}:{AGENCY_A}:instance/{instance}")],
        "detail": {"changed-tag-keys": ["Env"], "service": "ec2", "resource-type": "instance", "version": 1,
                   "tags": {"Env": "an older value"}}
    });
    json!({"messageId": format!("m{id}"), "eventSource": "aws:sqs", "body": body.to_string()})
}

#[tokio::test]
async fn many_changes_of_one_instance_are_one_read_and_one_write() {
    let world = World::deployed().await.unwrap();
    let changed = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    let other = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "TEST")]).await.unwrap();
    let mut records: Vec<Value> = (0..500).map(|id| message(id, &changed.instance)).collect();
    records.push(message(500, "i-00000000000000000"));
    records.push(json!({"messageId": "spoilt", "eventSource": "aws:sqs", "body": "no event"}));

    let before = world.aws.calls().snapshot();
    let answer = world.sweep(AGENCY_A, &json!({"Records": records})).await.unwrap();
    assert_eq!(answer.function_error, None, "{}", answer.payload);
    assert_eq!(answer.payload, json!({"batchItemFailures": [{"itemIdentifier": "spoilt"}]}));
    let calls = world.aws.calls().snapshot().since(&before);
    let counts = ["ec2:DescribeInstances", "tagging:GetResources", "ssm:AddTagsToResource"];
    assert_eq!(counts.map(|operation| calls.of(operation).total()), [1, 1, 1]);
    assert_eq!(world.plain_tags(&changed.node), tags(&[("Env", "PROD")]), "the instance is read, not the event");
    assert_eq!(world.plain_tags(&other.node), tags(&[]));
}
