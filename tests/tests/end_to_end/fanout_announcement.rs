//! The announcement of ended automations: which events the deployed rule takes, whom they reach, and who may publish.

use local_aws::stacks::{self, Outputs};
use serde_json::{Value, json};
use tests::{AGENCY_A, CENTRAL, HOME_REGION, Paths, World};

use crate::fanout::{final_status, restart, start};

const RULE: &str = "automation-ended";
const TOPIC: &str = "topic tag-hub-automations";

async fn deployed(parameters: &[(&str, &str)]) -> (World, Outputs) {
    let world = World::start(Paths::from_env().unwrap(), 0, None).unwrap();
    let outputs = world.deploy_fanout(parameters).await.unwrap();
    (world, outputs)
}

/// What Systems Manager tells of an execution, in the form of
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/reference-eventbridge-events.html>.
fn event(kind: &str, id: &str, status: &str) -> Value {
    json!({
        "version": "0",
        "id": "d290ece9-1088-4383-9df6-cd5b4ac42b99",
        "detail-type": kind,
        "source": "aws.ssm",
        "account": CENTRAL,
        "time": "2026-11-22T02:00:00Z",
        "region": HOME_REGION,
        "resources": [
            format!("arn:aws:ssm:{HOME_REGION}:{CENTRAL}:automation-execution/{id}"),
            format!("arn:aws:ssm:{HOME_REGION}:{CENTRAL}:automation-definition/AWS-RestartEC2Instance:1")
        ],
        "detail": {
            "ExecutionId": id,
            "Definition": "AWS-RestartEC2Instance",
            "DefinitionVersion": 1.0,
            "Status": status,
            "StartTime": "Nov 22, 2026 2:00:00 AM",
            "EndTime": "Nov 22, 2026 2:00:26 AM",
            "Time": 5753.0,
            "ExecutedBy": format!("arn:aws:sts::{CENTRAL}:assumed-role/automation-fanout/automation-fanout")
        }
    })
}

const EXECUTION: &str = "EC2 Automation Execution Status-change Notification";
const STEP: &str = "EC2 Automation Step Status-change Notification";

/// A queue that gets what is published to a topic, as its subscriber would make it; its URL.
async fn subscribed(world: &World, topic: &str) -> String {
    let client = world.central();
    let queue = format!("arn:aws:sqs:{HOME_REGION}:{CENTRAL}:ended");
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
        "Resource": queue, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}
    }]});
    let made = json!({"QueueName": "ended", "Attributes": {"Policy": policy.to_string()}});
    let url = client.json("sqs", "CreateQueue", &made).await.unwrap()["QueueUrl"].as_str().unwrap().to_owned();
    let subscription = [("TopicArn", topic), ("Protocol", "sqs"), ("Endpoint", queue.as_str())];
    client.query("sns", "Subscribe", &subscription).await.unwrap();
    url
}

/// The one target of the rule.
async fn target(world: &World) -> Value {
    let answer = world.central().json("events", "ListTargetsByRule", &json!({"Rule": RULE})).await.unwrap();
    let targets = answer["Targets"].as_array().unwrap();
    assert_eq!(targets.len(), 1, "{answer}");
    targets[0].clone()
}

#[tokio::test]
async fn an_automation_that_ended_is_announced_to_the_subscribers_of_the_topic() {
    let (world, outputs) = deployed(&[("AnnounceAutomations", "Yes")]).await;
    world.deploy_administration_role().await.unwrap();
    let client = world.central();
    let topic = &outputs["AutomationAnnouncementsArn"];
    assert_eq!(target(&world).await["Arn"], **topic);
    let queue = subscribed(&world, topic).await;

    let location = json!({"Accounts": [AGENCY_A], "Regions": [HOME_REGION]});
    let id = start(&world, &restart(&location)).await;
    // Without the execution role it fails, which is an end too.
    let execution = final_status(&world, &id).await;
    let status = execution["Status"].as_str().unwrap();

    let rule = client.json("events", "DescribeRule", &json!({"Name": RULE})).await.unwrap();
    assert_eq!((&rule["State"], &rule["Arn"]), (&json!("ENABLED"), &json!(outputs["AutomationEndedRuleArn"])));
    let pattern = rule["EventPattern"].as_str().unwrap();
    for (kind, status, is_told) in [
        (EXECUTION, status, true),
        (EXECUTION, "Success", true),
        (EXECUTION, "TimedOut", true),
        (EXECUTION, "Cancelled", true),
        (EXECUTION, "Canceled", true),
        (EXECUTION, "InProgress", false),
        (EXECUTION, "Waiting", false),
        (STEP, "Success", false),
    ] {
        let ask = json!({"EventPattern": pattern, "Event": event(kind, &id, status).to_string()});
        let answer = client.json("events", "TestEventPattern", &ask).await.unwrap();
        assert_eq!(answer["Result"], is_told, "{kind} {status}: {answer}");
    }

    // Nobody but AWS may send an event of AWS's own, and the local AWS sends none for automations. So the rule takes the
    // same event from another source for a moment.
    let ended = event(EXECUTION, &id, status);
    let from = |source: &str| {
        json!({"Entries": [{
            "Source": source, "DetailType": EXECUTION, "Detail": ended["detail"].to_string(),
            "Resources": ended["resources"]
        }]})
    };
    let refused = client.json("events", "PutEvents", &from("aws.ssm")).await.unwrap();
    assert_eq!(refused["Entries"][0]["ErrorCode"], "NotAuthorizedForSourceException", "{refused}");
    let mut pattern: Value = serde_json::from_str(pattern).unwrap();
    assert_eq!(pattern["source"], json!(["aws.ssm"]));
    pattern["source"] = json!(["test"]);
    let rule = json!({"Name": RULE, "EventPattern": pattern.to_string(), "State": "ENABLED"});
    client.json("events", "PutRule", &rule).await.unwrap();
    let sent = client.json("events", "PutEvents", &from("test")).await.unwrap();
    assert_eq!(sent["FailedEntryCount"], 0, "{sent}");

    let receive = json!({"QueueUrl": queue, "WaitTimeSeconds": 20});
    let message = client.json("sqs", "ReceiveMessage", &receive).await.unwrap()["Messages"][0].clone();
    let notification: Value = serde_json::from_str(message["Body"].as_str().unwrap_or_default()).unwrap();
    assert_eq!(notification["TopicArn"], **topic, "{notification}");
    let announced: Value = serde_json::from_str(notification["Message"].as_str().unwrap()).unwrap();
    assert_eq!((&announced["detail"], &announced["detail-type"]), (&ended["detail"], &json!(EXECUTION)));
}

#[tokio::test]
async fn the_rule_alone_may_publish_and_to_the_topic_alone() {
    let (world, outputs) = deployed(&[("AnnounceAutomations", "Yes")]).await;
    let client = world.central();
    let topic = outputs["AutomationAnnouncementsArn"].as_str();
    let role = target(&world).await["RoleArn"].as_str().unwrap().to_owned();

    // Nobody in the account takes the role, not even its root; EventBridge does for this one rule.
    let refused = client.assume_role(&role, "test").await.unwrap_err();
    assert_eq!(refused.code, "AccessDenied", "{refused}");
    let name = role.rsplit('/').next().unwrap();
    let found = client.query("iam", "GetRole", &[("RoleName", name)]).await.unwrap();
    // IAM answers with a document in percent-encoding.
    let trust = found["Role"]["AssumeRolePolicyDocument"].as_str().unwrap().replace("%3A", ":").replace("%2F", "/");
    for part in ["events.amazonaws.com", "ArnEquals", "aws:SourceArn", outputs["AutomationEndedRuleArn"].as_str()] {
        assert!(trust.contains(part), "{part} is not in {trust}");
    }

    // What EventBridge can do as the role, shown by root in its place.
    let opened = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": format!("arn:aws:iam::{CENTRAL}:root")}
    }]});
    let opened = [("RoleName", name), ("PolicyDocument", &opened.to_string())];
    client.query("iam", "UpdateAssumeRolePolicy", &opened).await.unwrap();
    let session = client.assume_role(&role, "test").await.unwrap();
    client.query("sns", "CreateTopic", &[("Name", "another")]).await.unwrap();
    let another = format!("arn:aws:sns:{HOME_REGION}:{CENTRAL}:another");
    session.query("sns", "Publish", &[("TopicArn", topic), ("Message", "it ended")]).await.unwrap();
    let refused = session.query("sns", "Publish", &[("TopicArn", &another), ("Message", "no")]).await.unwrap_err();
    assert!(refused.code.starts_with("AuthorizationError") || refused.code.starts_with("AccessDenied"), "{refused}");

    // The policy of the topic lets nobody in; it only refuses.
    let attributes = client.query("sns", "GetTopicAttributes", &[("TopicArn", topic)]).await.unwrap();
    let text = attributes.to_string();
    assert!(text.contains("RefuseWithoutTls") && !text.contains("Allow"), "{text}");
}

#[tokio::test]
async fn a_topic_that_exists_is_used_in_place_of_one_of_its_own() {
    let existing = format!("arn:aws:sns:{HOME_REGION}:{CENTRAL}:existing");
    let both = [("AnnounceAutomations", "Yes"), ("AutomationTopicArn", existing.as_str())];
    let world = World::start(Paths::from_env().unwrap(), 0, None).unwrap();
    let error = world.deploy_fanout(&both).await.expect_err("it was deployed");
    assert!(format!("{error:#}").contains("Ended automations go to one topic"), "{error:#}");

    world.deploy_fanout(&[("AnnounceAutomations", "Yes")]).await.unwrap();
    assert!(stacks::inventory(&world.central()).await.unwrap().contains(TOPIC));
    let outputs = world.deploy_fanout(&both[1..]).await.unwrap();
    assert!(!outputs.contains_key("AutomationAnnouncementsArn"), "{outputs:?}");
    let target = target(&world).await;
    assert_eq!((&target["Arn"], &target["RoleArn"]), (&json!(existing), &Value::Null), "{target}");
    assert!(!stacks::inventory(&world.central()).await.unwrap().contains(TOPIC));

    let outputs = world.deploy_fanout(&[]).await.unwrap();
    assert!(!outputs.contains_key("AutomationEndedRuleArn"), "{outputs:?}");
    let rule = format!("rule {RULE}");
    assert!(!stacks::inventory(&world.central()).await.unwrap().contains(&rule));
}
