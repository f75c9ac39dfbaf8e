//! Events of AWS's own on their way to a queue and a function, and roles of other accounts.

use std::time::{Duration, Instant};

use crate::support::{AGENCY, BUCKET, CENTRAL, REGION, role, start, upload_function};
use local_aws::machine::launch;
use local_aws::{Client, InvocationType, LocalAws, stacks};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(30);

/// A queue that takes what matches; its URL and ARN.
async fn queue(client: &Client, name: &str, attributes: Value) -> (String, String) {
    let made = client.json("sqs", "CreateQueue", &json!({"QueueName": name, "Attributes": attributes})).await.unwrap();
    let url = made["QueueUrl"].as_str().unwrap().to_owned();
    let all = json!({"QueueUrl": url, "AttributeNames": ["QueueArn"]});
    let found = client.json("sqs", "GetQueueAttributes", &all).await.unwrap();
    (url, found["Attributes"]["QueueArn"].as_str().unwrap().to_owned())
}

async fn rule(client: &Client, name: &str, source: &str, target: &Value) {
    let pattern = json!({"source": [source]}).to_string();
    client.json("events", "PutRule", &json!({"Name": name, "EventPattern": pattern})).await.unwrap();
    let targets = json!({"Rule": name, "Targets": [target]});
    client.json("events", "PutTargets", &targets).await.unwrap();
}

/// The bodies of the messages in a queue, which are taken out of it.
async fn drain(client: &Client, url: &str) -> Vec<Value> {
    let body = json!({"QueueUrl": url, "MaxNumberOfMessages": 10});
    let answer = client.json("sqs", "ReceiveMessage", &body).await.unwrap();
    let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
    for message in &messages {
        let delete = json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]});
        client.json("sqs", "DeleteMessage", &delete).await.unwrap();
    }
    messages.iter().map(|message| serde_json::from_str(message["Body"].as_str().unwrap()).unwrap()).collect()
}

async fn tag(client: &Client, operation: &str, id: &str, key: &str, value: &str) {
    let mut params = vec![("ResourceId.1", id), ("Tag.1.Key", key)];
    params.extend((operation == "CreateTags").then_some(("Tag.1.Value", value)));
    client.query("ec2", operation, &params).await.unwrap();
}

#[tokio::test]
async fn tags_and_states_that_change_are_told_on_the_default_bus() {
    let aws = start();
    let agency = aws.client(AGENCY, REGION);
    let arn = format!("arn:aws:sqs:{REGION}:{AGENCY}:changes");
    let source = json!({"ArnLike": {"aws:SourceArn": format!("arn:aws:events:*:{AGENCY}:rule/*")}});
    let policy = json!({"Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": arn,
         "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage",
         "Resource": arn, "Condition": source}]});
    let (url, _) = queue(&agency, "changes", json!({"Policy": policy.to_string()})).await;
    let (closed, closed_arn) = queue(&agency, "closed", json!({})).await;
    rule(&agency, "closed", "aws.tag", &json!({"Id": "1", "Arn": closed_arn})).await;
    rule(&agency, "tags", "aws.tag", &json!({"Id": "1", "Arn": arn})).await;
    rule(&agency, "states", "aws.ec2", &json!({"Id": "1", "Arn": arn})).await;
    let instance = launch(&agency, None).await.unwrap();
    let id = instance.instance_id.as_str();

    tag(&agency, "CreateTags", id, "Env", "PROD").await;
    tag(&agency, "CreateTags", id, "Env", "PROD").await;
    tag(&agency, "DeleteTags", id, "Env", "").await;
    let told = drain(&agency, &url).await;
    let expected = |version: u32, tags: Value| json!({"changed-tag-keys": ["Env"], "service": "ec2", "resource-type": "instance", "version": version, "tags": tags});
    assert_eq!(told.len(), 2, "the same tag again is no change: {told:?}");
    assert_eq!(told[0]["detail"], expected(1, json!({"Env": "PROD"})));
    assert_eq!(told[1]["detail"], expected(2, json!({})));
    assert_eq!(told[0]["resources"], json!([format!("arn:aws:ec2:{REGION}:{AGENCY}:instance/{id}")]));
    assert_eq!((&told[0]["detail-type"], &told[0]["account"]), (&json!("Tag Change on Resource"), &json!(AGENCY)));

    assert_eq!(drain(&agency, &closed).await, [Value::Null; 0], "its policy lets nobody send");

    aws.set_tag_events(false).unwrap();
    tag(&agency, "CreateTags", id, "Env", "DEV").await;
    agency.query("ec2", "TerminateInstances", &[("InstanceId.1", id)]).await.unwrap();
    let told = drain(&agency, &url).await;
    let states: Vec<&Value> = told.iter().map(|event| &event["detail"]["state"]).collect();
    assert_eq!(states, ["shutting-down", "terminated"]);
    assert_eq!(told[0]["detail-type"], "EC2 Instance State-change Notification");

    // From another Region they are forwarded to the bus of this one.
    aws.set_tag_events(true).unwrap();
    let elsewhere = agency.clone().in_region("eu-west-1");
    let bus = format!("arn:aws:events:{REGION}:{AGENCY}:event-bus/default");
    rule(
        &elsewhere,
        "tags",
        "aws.tag",
        &json!({"Id": "1", "Arn": bus, "RoleArn": format!("arn:aws:iam::{AGENCY}:role/forward")}),
    )
    .await;
    let instance = launch(&elsewhere, None).await.unwrap();
    tag(&elsewhere, "CreateTags", &instance.instance_id, "Env", "PROD").await;
    let told = drain(&agency, &url).await;
    assert_eq!((told.len(), &told[0]["region"]), (1, &json!("eu-west-1")));
}

/// A function that says which messages of a batch failed, with its queue.
async fn deploy_consumer(aws: &LocalAws, window: &str) {
    upload_function(aws).await;
    let parameters = [("Bucket", BUCKET), ("Window", window)];
    stacks::deploy(&aws.client(CENTRAL, REGION), "consumer", include_str!("support/consumer.yaml"), &parameters)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_queue_feeds_a_function_in_batches_and_what_fails_ends_in_the_second_queue() {
    let aws = start();
    deploy_consumer(&aws, "1").await;
    let central = aws.client(CENTRAL, REGION);
    let url = async |name: &str| {
        let answer = central.json("sqs", "GetQueueUrl", &json!({"QueueName": name})).await.unwrap();
        answer["QueueUrl"].as_str().unwrap().to_owned()
    };
    let (changes, failures, seen) = (url("changes").await, url("failures").await, url("seen").await);
    for index in 0..15 {
        let body = json!({"index": index, "fail": index == 3}).to_string();
        central.json("sqs", "SendMessage", &json!({"QueueUrl": changes, "MessageBody": body})).await.unwrap();
    }
    let deadline = Instant::now() + WITHIN;
    let mut failed = Vec::new();
    while failed.is_empty() {
        assert!(Instant::now() < deadline, "nothing failed for good");
        failed = drain(&central, &failures).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(failed, [json!({"index": 3, "fail": true})]);
    let batches = drain(&central, &seen).await;
    assert_eq!(batches[0], json!(15), "one batch, larger than a receive takes");
    assert_eq!(batches[1..], [json!(1)], "the failed one came back once");
}

fn trust(condition: &Value) -> Value {
    json!({"Statement": {"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{CENTRAL}:root")},
        "Action": "sts:AssumeRole", "Condition": condition}})
}

#[tokio::test]
async fn a_role_of_another_account_is_assumed_where_both_sides_allow_it() {
    let aws = start();
    let (central, agency) = (aws.client(CENTRAL, REGION), aws.client(AGENCY, REGION));
    let writer = format!("arn:aws:iam::{AGENCY}:role/Writer");
    let parameter = format!("arn:aws:ssm:*:{AGENCY}:parameter/tag-hub/activation");
    let issuer = format!("arn:aws:iam::{CENTRAL}:role/issuer");
    let condition = json!({"ArnEquals": {"aws:PrincipalArn": issuer}, "StringEquals": {"sts:ExternalId": AGENCY, "aws:PrincipalOrgID": "o-0123456789"}});
    let access = json!({"Statement": {"Effect": "Allow", "Action": ["ssm:GetParameter", "ssm:PutParameter"], "Resource": parameter}});
    role(&agency, "Writer", &trust(&condition), &access).await;
    let assume = json!({"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": writer}});
    let nothing = json!({"Statement": {"Effect": "Allow", "Action": "ssm:Nothing", "Resource": "*"}});
    let own = json!({"Statement": {"Effect": "Allow", "Principal": {"AWS": CENTRAL}, "Action": "sts:AssumeRole"}});
    for (name, policy) in [("issuer", &assume), ("other", &assume), ("powerless", &nothing)] {
        role(&central, name, &own, policy).await;
    }
    let session =
        async |name: &str| central.assume_role(&format!("arn:aws:iam::{CENTRAL}:role/{name}"), "test").await.unwrap();
    let issuer = session("issuer").await;
    let refused = issuer.assume_role_with(&writer, "hub", AGENCY).await.unwrap_err();
    assert_eq!(refused.code, "AccessDenied", "of no organization");
    aws.set_organization("o-0123456789").unwrap();
    let acting = issuer.assume_role_with(&writer, "hub", AGENCY).await.unwrap();
    for (client, external) in
        [(&issuer, CENTRAL), (&session("other").await, AGENCY), (&session("powerless").await, AGENCY)]
    {
        let refused = client.assume_role_with(&writer, "hub", external).await.unwrap_err();
        assert_eq!(refused.code, "AccessDenied", "{refused}");
    }
    assert_eq!(issuer.assume_role(&writer, "hub").await.unwrap_err().code, "AccessDenied");

    let put = |name: &str| json!({"Name": name, "Value": "{\"ActivationCode\": \"a+/\"}", "Type": "SecureString", "Overwrite": true});
    acting.json("ssm", "PutParameter", &put("/tag-hub/activation")).await.unwrap();
    let get = json!({"Name": "/tag-hub/activation", "WithDecryption": true});
    let read = acting.json("ssm", "GetParameter", &get).await.unwrap();
    assert_eq!(read["Parameter"]["Value"], "{\"ActivationCode\": \"a+/\"}");
    assert!(read["Parameter"]["ARN"].as_str().unwrap().contains(AGENCY), "{read}");
    assert_eq!(acting.json("ssm", "PutParameter", &put("/other")).await.unwrap_err().code, "AccessDeniedException");
    acting.in_region("eu-west-1").json("ssm", "PutParameter", &put("/tag-hub/activation")).await.unwrap();
    assert_eq!(central.json("ssm", "GetParameter", &get).await.unwrap_err().code, "ParameterNotFound");
    let sealed = agency.json("ssm", "GetParameter", &json!({"Name": "/tag-hub/activation"})).await.unwrap();
    assert_ne!(sealed["Parameter"]["Value"], read["Parameter"]["Value"]);
}

#[tokio::test]
async fn parameters_below_a_path_are_listed_by_whoever_may_list_that_path() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    let own = json!({"Statement": {"Effect": "Allow", "Principal": {"AWS": CENTRAL}, "Action": "sts:AssumeRole"}});
    let allowed = format!("arn:aws:ssm:{REGION}:{CENTRAL}:parameter/a/*");
    let policy = json!({"Statement": {"Effect": "Allow", "Action": "ssm:GetParametersByPath", "Resource": allowed}});
    role(&central, "lister", &own, &policy).await;
    let lister = central.assume_role(&format!("arn:aws:iam::{CENTRAL}:role/lister"), "test").await.unwrap();
    let put = json!({"Name": "/a/b/c", "Value": "here", "Type": "String"});
    central.json("ssm", "PutParameter", &put).await.unwrap();
    let found = lister.json("ssm", "GetParametersByPath", &json!({"Path": "/a/b"})).await.unwrap();
    assert_eq!(found["Parameters"][0]["Value"], "here");
    for path in ["/a", "/c", "/"] {
        let refused = lister.json("ssm", "GetParametersByPath", &json!({"Path": path})).await.unwrap_err();
        assert_eq!(refused.code, "AccessDeniedException", "{path}");
    }
}

#[tokio::test]
async fn a_stack_that_is_deleted_leaves_nothing_behind() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    upload_function(&aws).await;
    let before = stacks::inventory(&central).await.unwrap();
    assert!(before.contains("bucket packages"), "{before:?}");
    deploy_consumer(&aws, "0").await;
    let invoked = central.invoke("consumer", InvocationType::RequestResponse, &json!({"Records": []})).await.unwrap();
    assert_eq!(invoked.function_error, None, "{invoked:?}");
    let deployed = stacks::inventory(&central).await.unwrap();
    for expected in [
        "function consumer",
        "queue changes",
        "role consumer",
        "event source mapping consumer",
        "log group /aws/lambda/consumer",
    ] {
        assert!(deployed.contains(expected), "{expected}: {deployed:?}");
    }
    stacks::delete(&central, "consumer").await.unwrap();
    assert_eq!(stacks::inventory(&central).await.unwrap(), before);
}
