//! Runbooks over many accounts and Regions: what a start makes, what becomes of it, and starting it again.

use std::time::Duration;

use local_aws::{Fault, InvocationType, Moment};
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, SECOND_REGION, World};

const WITHIN: Duration = Duration::from_mins(1);
pub(crate) const STARTS: &str = "ssm:StartAutomationExecution";

/// A request to restart by tag, over one location.
pub(crate) fn restart(location: &Value) -> Value {
    json!({
        "DocumentName": "AWS-RestartEC2Instance",
        "TargetParameterName": "InstanceId",
        "Targets": [{"Key": "tag:Env", "Values": ["PROD"]}],
        "TargetLocations": [location]
    })
}

/// The same request with more in it.
pub(crate) fn with(mut request: Value, more: Value) -> Value {
    let (Some(members), Value::Object(more)) = (request.as_object_mut(), more) else {
        panic!("both are objects");
    };
    members.extend(more);
    request
}

/// The answer to a request that is met.
pub(crate) async fn fan_out_well(world: &World, request: &Value) -> Value {
    let answer = world.fan_out(request).await.unwrap();
    assert_eq!(answer.function_error, None, "{request}: {}", answer.payload);
    answer.payload
}

/// The type and the message of the error that a request ends in.
pub(crate) async fn refusal(world: &World, request: &Value) -> (String, String) {
    let answer = world.fan_out(request).await.unwrap();
    assert!(answer.function_error.is_some(), "{request}: {}", answer.payload);
    let text = |name: &str| answer.payload[name].as_str().unwrap().to_owned();
    (text("errorType"), text("errorMessage"))
}

/// The id of the only execution that an answer names.
pub(crate) fn only_id(answer: &Value) -> String {
    let executions = answer["Executions"].as_array().unwrap();
    assert_eq!((executions.len(), &answer["Complete"]), (1, &json!(true)), "{answer}");
    executions[0]["AutomationExecutionId"].as_str().unwrap().to_owned()
}

/// Starts one execution and gives its id.
pub(crate) async fn start(world: &World, request: &Value) -> String {
    only_id(&fan_out_well(world, request).await)
}

/// Where an execution stands, as `Status` answers.
pub(crate) async fn status(world: &World, id: &str) -> Value {
    fan_out_well(world, &json!({"Action": "Status", "AutomationExecutionId": id})).await
}

/// The same once everything has had the time to end.
pub(crate) async fn final_status(world: &World, id: &str) -> Value {
    world.aws.automation().advance(Duration::from_hours(24));
    let answer = status(world, id).await;
    assert_eq!(answer["Terminal"], true, "{answer}");
    answer["Executions"][0].clone()
}

/// Account, Region, status and cause of each location.
pub(crate) fn matrix(execution: &Value) -> Vec<[&str; 4]> {
    let locations = execution["Locations"].as_array().unwrap().iter();
    locations
        .map(|location| {
            ["Account", "Region", "Status", "Cause"].map(|name| location[name].as_str().unwrap_or_default())
        })
        .collect()
}

/// What was started in the central account, oldest first.
pub(crate) fn executions(world: &World) -> Vec<Value> {
    world.aws.automation().executions(CENTRAL, HOME_REGION)
}

fn everywhere() -> Value {
    json!({
        "Accounts": [AGENCY_A, AGENCY_B],
        "Regions": [HOME_REGION, SECOND_REGION],
        "TargetLocationMaxConcurrency": "4",
        "TargetLocationMaxErrors": "100%"
    })
}

#[tokio::test]
async fn where_the_execution_role_was_missing_the_run_is_resumed_once() {
    let world = World::deployed_for_fanout(&[AGENCY_A]).await.unwrap();
    let answer = fan_out_well(&world, &restart(&everywhere())).await;
    assert_eq!(answer["Executions"][0]["AccountRegionPairs"], 4, "{answer}");
    let first = only_id(&answer);
    let execution = final_status(&world, &first).await;
    assert_eq!(
        matrix(&execution),
        [
            [AGENCY_A, HOME_REGION, "Success", ""],
            [AGENCY_A, SECOND_REGION, "Success", ""],
            [AGENCY_B, HOME_REGION, "Failed", "execution-role"],
            [AGENCY_B, SECOND_REGION, "Failed", "execution-role"],
        ]
    );
    let message = execution["Locations"][2]["Message"].as_str().unwrap();
    assert!(message.contains(&format!("arn:aws:iam::{AGENCY_B}:role/")), "{message}");
    let started = executions(&world).remove(0);
    let administration = format!("arn:aws:iam::{CENTRAL}:role/AWS-SystemsManager-AutomationAdministrationRole");
    assert_eq!(started["Parameters"]["AutomationAssumeRole"], json!([administration]));

    world.deploy_execution_role(AGENCY_B).await.unwrap();
    allow_only_resumptions_of(&world, &started, &first).await;
    let resume = json!({"Action": "Resume", "AutomationExecutionId": first});
    let answer = fan_out_well(&world, &resume).await;
    assert_eq!(answer["Executions"][0]["Resumes"], *first, "{answer}");
    let second = only_id(&answer);
    assert_ne!(second, first);
    let location = executions(&world)[1]["TargetLocations"].clone();
    assert_eq!(location[0]["Accounts"], json!([AGENCY_B]), "{location}");
    assert_eq!(location[0]["Regions"], json!([HOME_REGION, SECOND_REGION]), "{location}");
    let green = [[AGENCY_B, HOME_REGION, "Success", ""], [AGENCY_B, SECOND_REGION, "Success", ""]];
    assert_eq!(matrix(&final_status(&world, &second).await), green);

    assert_eq!(start(&world, &resume).await, second, "an execution is resumed once");
    let answer = fan_out_well(&world, &json!({"Action": "Resume", "AutomationExecutionId": second})).await;
    assert_eq!((&answer["Complete"], &answer["Executions"]), (&json!(true), &json!([])), "{answer}");
    assert_eq!(answer["Notes"], json!([format!("{second}: every location succeeded")]));
    assert_eq!(executions(&world).len(), 2);
}

/// From now on a start goes through with this tag alone, which shows that it was sent.
async fn allow_only_resumptions_of(world: &World, started: &Value, id: &str) {
    let session = started["ExecutedBy"].as_str().unwrap();
    let role = session.split('/').nth(1).unwrap();
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Action": STARTS, "Resource": "*",
        "Condition": {"StringNotEquals": {"aws:RequestTag/tag-hub:resumes": id}}
    }]});
    let params = [("RoleName", role), ("PolicyName", "only-resumptions"), ("PolicyDocument", &policy.to_string())];
    world.central().query("iam", "PutRolePolicy", &params).await.unwrap();
    let (kind, message) = refusal(world, &restart(&everywhere())).await;
    assert_eq!(kind, "NothingStarted", "{message}");
    assert!(message.contains("AccessDeniedException"), "{message}");
}

#[tokio::test]
async fn whatever_tries_again_starts_one_execution() {
    let world = World::deployed_for_fanout(&[AGENCY_A, AGENCY_B]).await.unwrap();
    let keyed = |key: &str| with(restart(&everywhere()), json!({"IdempotencyKey": key}));
    world.aws.automation().set_duration(Duration::ZERO);

    // The caller, after an answer and without one.
    let id = start(&world, &keyed("again")).await;
    assert_eq!(start(&world, &keyed("again")).await, id);
    let request = keyed("together");
    let (one, other) = tokio::join!(start(&world, &request), start(&world, &request));
    assert_eq!(one, other);
    assert_eq!(executions(&world).len(), 2);
    let kills = [
        (STARTS, Moment::BeforeTheCall, 2),
        (STARTS, Moment::AfterTheCall, 3),
        ("ssm:GetAutomationExecution", Moment::BeforeTheCall, 4),
    ];
    for (operation, moment, already) in kills {
        let request = with(keyed(&format!("{operation} {moment:?}")), json!({"WaitSeconds": 5}));
        world.aws.faults().add(Fault::kill(operation, "automation-fanout", moment).times(1));
        let lost = world.fan_out(&request).await.unwrap();
        assert!(lost.function_error.is_some(), "{operation} {moment:?}: {}", lost.payload);
        let started = executions(&world).len();
        assert_eq!(started, already + usize::from(operation != STARTS || moment == Moment::AfterTheCall));
        start(&world, &request).await;
        assert_eq!(executions(&world).len(), already + 1, "{operation} {moment:?}");
    }

    // Another request under a key that was used.
    let other = with(keyed("again"), json!({"DocumentName": "AWS-StopEC2Instance"}));
    let (kind, message) = refusal(&world, &other).await;
    assert_eq!(kind, "NothingStarted");
    assert!(message.contains("IdempotentParameterMismatch"), "{message}");
    assert!(message.contains("or use another IdempotencyKey"), "{message}");
    assert_eq!(executions(&world).len(), 5);

    // The function itself, after a start that was refused and one that was performed without its hearing of it. It takes
    // its time after a call that failed, so this comes last.
    let before = world.aws.calls().snapshot();
    world.aws.faults().add(Fault::throttle(STARTS).times(1));
    let lost = world.aws.faults().add(Fault::lost_answer(STARTS).times(1));
    let id = start(&world, &restart(&everywhere())).await;
    assert_eq!(world.aws.faults().fired(lost), 1);
    assert_eq!((world.aws.calls().snapshot().since(&before).of(STARTS).total(), executions(&world).len()), (3, 6));
    assert_eq!(executions(&world)[5]["AutomationExecutionId"], *id);
}

#[tokio::test]
async fn an_asynchronous_request_that_was_lost_can_be_sent_again() {
    let world = World::deployed_for_fanout(&[AGENCY_A, AGENCY_B]).await.unwrap();
    let request = with(restart(&everywhere()), json!({"IdempotencyKey": "weekly"}));
    let client = world.central();
    world.aws.faults().add(Fault::kill(STARTS, "automation-fanout", Moment::AfterTheCall).times(1));
    client.invoke("automation-fanout", InvocationType::Event, &request).await.unwrap();

    let name = json!({"QueueName": "automation-fanout-failures"});
    let queue = client.json("sqs", "GetQueueUrl", &name).await.unwrap()["QueueUrl"].clone();
    let receive = json!({"QueueUrl": queue, "WaitTimeSeconds": 20});
    let message = client.json("sqs", "ReceiveMessage", &receive).await.unwrap()["Messages"][0].clone();
    let body: Value = serde_json::from_str(message["Body"].as_str().unwrap_or_default()).unwrap();
    assert_eq!(body["requestPayload"], request, "{body}");
    let calls = |world: &World| world.aws.calls().snapshot().of(STARTS).total();
    assert_eq!((calls(&world), executions(&world).len()), (1, 1), "Lambda tried it once, and it had started");

    client.invoke("automation-fanout", InvocationType::Event, &body["requestPayload"]).await.unwrap();
    world.eventually("the request is sent again", WITHIN, |world| calls(world) == 2).await.unwrap();
    let again = fan_out_well(&world, &request).await;
    assert_eq!((calls(&world), executions(&world).len()), (3, 1));
    assert_eq!(executions(&world)[0]["AutomationExecutionId"], *only_id(&again));
}
