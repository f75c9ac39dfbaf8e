//! The engines of `MiniStack` that templates rely on: nested stacks, change sets, saved queries, state machines.

use std::time::{Duration, Instant};

use crate::support::{BUCKET, CENTRAL, REGION, role, start};
use local_aws::{Client, LocalAws, stacks};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(30);

async fn deploy(client: &Client, name: &str, template: &Value, parameters: &[(&str, &str)]) -> stacks::Outputs {
    stacks::deploy(client, name, &template.to_string(), parameters).await.unwrap()
}

fn trust(service: &str) -> Value {
    json!({"Statement": {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}})
}

/// What the poll finds, once it finds anything.
async fn eventually<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(found) = poll().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_nested_stack_may_be_a_sam_template_and_keeps_its_attributes() {
    let aws = start();
    let client = aws.client(CENTRAL, REGION);
    let policy = json!({"Statement": {"Effect": "Allow", "Action": "states:ListStateMachines", "Resource": "*"}});
    role(&client, "machine", &trust("states.amazonaws.com"), &policy).await;
    let inner = json!({
        "Transform": "AWS::Serverless-2016-10-31",
        "Parameters": {"Result": {"Type": "String"}},
        "Resources": {
            "Table": {"Type": "AWS::Serverless::SimpleTable"},
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "inner"}},
            "Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": {
                "RoleArn": format!("arn:aws:iam::{CENTRAL}:role/machine"),
                "DefinitionString": {"Fn::Sub": r#"{"StartAt": "End", "States": {"End": {"Type": "Pass", "Result": "${Result}", "End": true}}}"#}}}},
        "Outputs": {"Machine": {"Value": {"Fn::Sub": "${Machine.Name} beside ${Queue.QueueName}"}}}});
    stacks::upload(&client, BUCKET, "inner.json", inner.to_string().into_bytes()).await.unwrap();
    let outer = json!({
        "Parameters": {"Result": {"Type": "String"}},
        "Resources": {"Inner": {"Type": "AWS::CloudFormation::Stack", "Properties": {
            "TemplateURL": format!("{}/{BUCKET}/inner.json", aws.endpoint()),
            "Parameters": {"Result": {"Ref": "Result"}}}}},
        "Outputs": {"Machine": {"Value": {"Fn::GetAtt": ["Inner", "Outputs.Machine"]}}}});
    let first = deploy(&client, "outer", &outer, &[("Result", "one")]).await;
    let found = stacks::inventory(&client).await.unwrap();
    assert!(found.iter().any(|one| one.starts_with("table ")), "{found:?}");
    let second = deploy(&client, "outer", &outer, &[("Result", "two")]).await;
    assert!(!first["Machine"].is_empty());
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_change_set_shows_what_a_condition_adds() {
    let aws = start();
    let client = aws.client(CENTRAL, REGION);
    let template = json!({
        "Parameters": {"Both": {"Type": "String"}},
        "Conditions": {"HasBoth": {"Fn::Equals": [{"Ref": "Both"}, "true"]}},
        "Resources": {
            "One": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "one"}},
            "Two": {"Type": "AWS::SQS::Queue", "Condition": "HasBoth", "Properties": {"QueueName": "two"}}}});
    deploy(&client, "queues", &template, &[("Both", "false")]).await;
    let body = template.to_string();
    let form = [
        ("StackName", "queues"),
        ("ChangeSetName", "both"),
        ("TemplateBody", body.as_str()),
        ("Parameters.member.1.ParameterKey", "Both"),
        ("Parameters.member.1.ParameterValue", "true"),
    ];
    client.query("cloudformation", "CreateChangeSet", &form).await.unwrap();
    let shown = client.query("cloudformation", "DescribeChangeSet", &form[..2]).await.unwrap().to_string();
    assert!(shown.contains(r#""LogicalResourceId":"Two""#) && shown.contains(r#""Action":"Add""#), "{shown}");
    assert!(!shown.contains(r#""LogicalResourceId":"One""#), "{shown}");
}

#[tokio::test]
async fn a_name_that_is_taken_fails_the_stack() {
    let aws = start();
    let client = aws.client(CENTRAL, REGION);
    role(
        &client,
        "by-hand",
        &trust("ec2.amazonaws.com"),
        &json!({"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}),
    )
    .await;
    let queue = json!({"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "only"}}}});
    deploy(&client, "first", &queue, &[]).await;
    deploy(&client, "first", &queue, &[]).await;
    let own = json!({"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": {
        "RoleName": "by-hand", "AssumeRolePolicyDocument": trust("ec2.amazonaws.com")}}}});
    for (stack, template, name) in [("second", &queue, "only"), ("third", &own, "by-hand")] {
        let taken = stacks::deploy(&client, stack, &template.to_string(), &[]).await.unwrap_err().to_string();
        assert!(taken.contains(&format!("identifier '{name}' already exists")), "{taken}");
    }
}

#[tokio::test]
async fn a_name_that_cloudformation_chooses_is_another_one_in_each_region() {
    let aws = start();
    let template = json!({
        "Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": {
            "AssumeRolePolicyDocument": trust("ec2.amazonaws.com")}}},
        "Outputs": {"Role": {"Value": {"Ref": "Role"}}}});
    let mut names = Vec::new();
    for region in [REGION, "eu-west-1"] {
        names.push(deploy(&aws.client(CENTRAL, region), "roles", &template, &[]).await["Role"].clone());
    }
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn a_saved_query_is_deployed_if_it_has_what_it_needs() {
    let aws = start();
    let client = aws.client(CENTRAL, REGION);
    let template = |query: Value| {
        json!({"Resources": {"Query": {"Type": "AWS::Logs::QueryDefinition", "Properties": {
        "Name": "errors", "QueryString": query}}}, "Outputs": {"Id": {"Value": {"Ref": "Query"}}}})
    };
    let outputs = deploy(&client, "query", &template(json!("fields @message")), &[]).await;
    assert_eq!(outputs["Id"].len(), 36, "{outputs:?}");
    let refused = stacks::deploy(&client, "none", &template(json!("")).to_string(), &[]).await.unwrap_err().to_string();
    assert!(refused.contains("QueryString is required"), "{refused}");
}

#[tokio::test]
async fn an_alarm_may_be_on_an_expression() {
    let aws = start();
    let client = aws.client(CENTRAL, REGION);
    let metric = |id: &str, name: &str| {
        json!({"Id": id, "ReturnData": false, "MetricStat": {"Stat": "Sum", "Period": 300, "Metric": {
            "Namespace": "AWS/States", "MetricName": name}}})
    };
    let metrics = json!([{"Id": "all", "Expression": "SUM([a, b])"}, metric("a", "First"), metric("b", "Second")]);
    let template = json!({"Resources": {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {
        "AlarmName": "ends", "Metrics": metrics, "EvaluationPeriods": 1, "Threshold": 1,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold"}}}});
    deploy(&client, "alarm", &template, &[]).await;
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let form = "Action=DescribeAlarms&Version=2010-08-01";
    let found = client.rest("monitoring", http::Method::POST, "/", &headers, form).await.unwrap();
    let found = String::from_utf8_lossy(&found.body).into_owned();
    assert!(found.contains("<MetricName>First</MetricName>"), "{found}");
}

/// Starts a state machine; how to ask for its execution.
async fn begin(client: &Client, definition: &Value) -> Value {
    let policy = json!({"Statement": {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}});
    role(client, "machine", &trust("states.amazonaws.com"), &policy).await;
    let machine = json!({"name": "machine", "definition": definition.to_string(),
        "roleArn": format!("arn:aws:iam::{CENTRAL}:role/machine")});
    let machine = client.json("states", "CreateStateMachine", &machine).await.unwrap();
    let start = json!({"stateMachineArn": machine["stateMachineArn"], "input": "{\"seconds\": 1}"});
    let execution = client.json("states", "StartExecution", &start).await.unwrap();
    json!({"executionArn": execution["executionArn"]})
}

/// Runs a state machine to its end.
async fn run(aws: &LocalAws, definition: &Value) -> Value {
    let client = aws.client(CENTRAL, REGION);
    let which = begin(&client, definition).await;
    ended(&client, &which).await
}

async fn ended(client: &Client, which: &Value) -> Value {
    eventually("the execution did not end", async || {
        let found = client.json("states", "DescribeExecution", which).await.unwrap();
        (found["status"] != "RUNNING").then_some(found)
    })
    .await
}

async fn queue(client: &Client, name: &str) -> String {
    let made = client.json("sqs", "CreateQueue", &json!({"QueueName": name})).await.unwrap();
    made["QueueUrl"].as_str().unwrap().to_owned()
}

async fn depth(client: &Client, url: &str) -> String {
    let asked = json!({"QueueUrl": url, "AttributeNames": ["ApproximateNumberOfMessages"]});
    let found = client.json("sqs", "GetQueueAttributes", &asked).await.unwrap();
    found["Attributes"]["ApproximateNumberOfMessages"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_task_may_have_its_time_out_in_an_expression() {
    let aws = start();
    let url = queue(&aws.client(CENTRAL, REGION), "asked").await;
    let ended = run(
        &aws,
        &json!({"QueryLanguage": "JSONata", "StartAt": "Ask", "States": {"Ask": {
        "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Arguments": {"QueueUrl": url, "MessageBody": "{% $states.context.Task.Token %}"},
        "TimeoutSeconds": "{% $states.input.seconds %}", "End": true}}}),
    )
    .await;
    assert_eq!((&ended["status"], &ended["error"]), (&json!("FAILED"), &json!("States.Timeout")), "{ended}");
}

#[tokio::test]
async fn a_token_is_in_the_history_and_answered_on_the_machine_that_waits_for_it() {
    let aws = start();
    let client = aws.client(CENTRAL, REGION);
    let url = queue(&client, "asked").await;
    let definition = json!({"QueryLanguage": "JSONata", "StartAt": "Ask", "States": {"Ask": {
        "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "TimeoutSeconds": 30,
        "Arguments": {"QueueUrl": url, "MessageBody": "{% $states.context.Task.Token %}"}, "End": true}}});
    let which = begin(&client, &definition).await;
    let token = eventually("no task was scheduled", async || {
        let history = client.json("states", "GetExecutionHistory", &which).await.unwrap();
        let mut events = history["events"].as_array().unwrap().iter();
        let parameters = events.find_map(|event| event["taskScheduledEventDetails"]["parameters"].as_str());
        let parameters: Value = serde_json::from_str(parameters?).unwrap();
        Some(parameters["MessageBody"].clone())
    })
    .await;
    let trust = json!({"Statement": {"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{CENTRAL}:root")},
                                     "Action": "sts:AssumeRole"}});
    let answer = json!({"taskToken": token, "output": "{}"});
    for (name, machine) in [("other", "another"), ("approver", "machine")] {
        let policy = json!({"Statement": {"Effect": "Allow", "Action": "states:SendTaskSuccess",
            "Resource": format!("arn:aws:states:{REGION}:{CENTRAL}:stateMachine:{machine}")}});
        role(&client, name, &trust, &policy).await;
        let approver = client.assume_role(&format!("arn:aws:iam::{CENTRAL}:role/{name}"), "test").await.unwrap();
        let answered = approver.json("states", "SendTaskSuccess", &answer).await;
        assert_eq!(answered.is_ok(), machine == "machine", "{name}: {answered:?}");
    }
    assert_eq!(ended(&client, &which).await["status"], "SUCCEEDED");
}

#[tokio::test]
async fn a_map_begins_nothing_more_once_an_item_has_failed() {
    let aws = start();
    let client = aws.client(CENTRAL, REGION);
    let url = queue(&client, "begun").await;
    let definition = json!({"QueryLanguage": "JSONata", "StartAt": "Each", "States": {"Each": {
        "Type": "Map", "Items": [1, 2, 3], "MaxConcurrency": 1, "End": true,
        "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "Tell", "States": {
            "Tell": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "Next": "Stop",
                     "Arguments": {"QueueUrl": url, "MessageBody": "begun"}},
            "Stop": {"Type": "Fail", "Error": "Stop"}}}}}});
    let ended = run(&aws, &definition).await;
    assert_eq!(ended["status"], "FAILED", "{ended}");
    assert_eq!(depth(&client, &url).await, "1");
}

#[tokio::test]
async fn a_task_calls_a_service_as_the_role_of_its_machine() {
    let aws = start();
    let client = aws.client(CENTRAL, REGION);
    let roots = client.json("organizations", "ListRoots", &json!({})).await.unwrap();
    let (root, arn) = (roots["Roots"][0]["Id"].clone(), roots["Roots"][0]["Arn"].clone());
    let definition = json!({"QueryLanguage": "JSONata", "StartAt": "List", "States": {"List": {
        "Type": "Task", "Resource": "arn:aws:states:::aws-sdk:organizations:listAccountsForParent",
        "Arguments": {"ParentId": root}, "Output": "{% $count($states.result.Accounts) %}", "End": true}}});
    for (on, status) in [(json!("arn:aws:organizations::*:ou/*"), "FAILED"), (arn, "SUCCEEDED")] {
        let statement = json!({"Effect": "Allow", "Action": "organizations:ListAccountsForParent", "Resource": on});
        let name = format!("lists-{}", status.to_lowercase());
        role(&client, &name, &trust("states.amazonaws.com"), &json!({"Statement": statement})).await;
        let machine = json!({"name": name, "roleArn": format!("arn:aws:iam::{CENTRAL}:role/{name}"),
                             "definition": definition.to_string()});
        let machine = client.json("states", "CreateStateMachine", &machine).await.unwrap();
        let start = json!({"stateMachineArn": machine["stateMachineArn"]});
        let started = client.json("states", "StartExecution", &start).await.unwrap();
        let ended = ended(&client, &json!({"executionArn": started["executionArn"]})).await;
        assert_eq!(ended["status"], status, "{ended}");
        assert_eq!(ended["error"].is_null(), status == "SUCCEEDED", "{ended}");
        if status == "FAILED" {
            assert_eq!(ended["error"], "Organizations.AccessDeniedException", "{ended}");
        }
    }
}
