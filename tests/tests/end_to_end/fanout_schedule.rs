//! The schedule of the fan-out: what the template makes of its parameters starts the request once for each tick.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tests::{AGENCY_A, CENTRAL, HOME_REGION, Paths, World};

use crate::fanout::{STARTS, executions, only_id, restart, with};

const WITHIN: Duration = Duration::from_mins(1);
const WEEKLY: &str = "cron(0 2 ? * SUN *)";
/// What Scheduler replaces by the time that a tick was due. The local AWS leaves it as it is.
const DUE: &str = "<aws.scheduler.scheduled-time>";

fn request() -> Value {
    restart(&json!({"Accounts": [AGENCY_A], "Regions": [HOME_REGION]}))
}

/// The central account with the schedule of a request, and all that the request needs.
async fn scheduled(request: &str) -> World {
    let world = World::start(Paths::from_env().unwrap(), 0, None).unwrap();
    let parameters = [("FanoutScheduleExpression", WEEKLY), ("FanoutScheduleInput", request)];
    world.deploy_fanout(&parameters).await.unwrap();
    world.deploy_administration_role().await.unwrap();
    world.deploy_execution_role(AGENCY_A).await.unwrap();
    world
}

async fn deployed_schedule(world: &World) -> Value {
    let path = "/schedules/automation-fanout";
    world.central().rest("scheduler", Method::GET, path, &[], "").await.unwrap().json()
}

/// A schedule of its own that is due now, with the target of the deployed one.
async fn fire(world: &World, schedule: &Value, name: &str) {
    let due = json!({
        "ScheduleExpression": "at(2026-01-01T00:00:00)",
        "FlexibleTimeWindow": schedule["FlexibleTimeWindow"],
        "Target": schedule["Target"]
    });
    let path = format!("/schedules/{name}");
    world.central().rest("scheduler", Method::POST, &path, &[], due.to_string()).await.unwrap();
}

/// Invokes the function with a text as it is, as Scheduler does.
async fn invoke(world: &World, payload: &str) -> Value {
    let path = "/2015-03-31/functions/automation-fanout/invocations";
    let reply = world.central().rest("lambda", Method::POST, path, &[], payload.to_owned()).await.unwrap();
    assert!(reply.headers.get("x-amz-function-error").is_none(), "{payload}: {}", reply.json());
    reply.json()
}

#[tokio::test]
async fn each_tick_starts_the_request_once() {
    // With a key of its own, which gives way, and with braces at its end.
    let request = with(request(), json!({"WaitSeconds": 0, "IdempotencyKey": "mine", "Tags": []}));
    let text = serde_json::to_string_pretty(&request).unwrap();
    let world = scheduled(&text).await;
    let schedule = deployed_schedule(&world).await;
    assert_eq!((&schedule["State"], &schedule["ScheduleExpression"]), (&json!("ENABLED"), &json!(WEEKLY)));
    let function = format!("arn:aws:lambda:{HOME_REGION}:{CENTRAL}:function:automation-fanout");
    assert_eq!(schedule["Target"]["Arn"], function);
    let input = schedule["Target"]["Input"].as_str().unwrap();
    assert_eq!(input.matches(DUE).count(), 1, "{input}");

    // Scheduler hands the same tick over twice.
    let calls = |world: &World| world.aws.calls().snapshot().of(STARTS).total();
    for (name, count) in [("due", 1), ("due-again", 2)] {
        fire(&world, &schedule, name).await;
        world.eventually("the schedule has fired", WITHIN, |world| calls(world) == count).await.unwrap();
        assert_eq!(executions(&world).len(), 1, "{name}");
    }
    let started = executions(&world).remove(0);
    assert_eq!(started["DocumentName"], request["DocumentName"], "{started}");
    assert_eq!(started["Targets"], request["Targets"], "{started}");
    assert_eq!(started["TargetLocations"][0]["Accounts"], json!([AGENCY_A]), "{started}");

    // With the time in its place, as on AWS.
    let tick = |time: &str| input.replace(DUE, time);
    let mut ids = Vec::new();
    for (time, count) in [("2026-11-22T02:00:00Z", 2), ("2026-11-22T02:00:00Z", 2), ("2026-11-29T02:00:00Z", 3)] {
        let answer = invoke(&world, &tick(time)).await;
        assert_eq!(answer["IdempotencyKey"], format!("automation-fanout {time}"), "{answer}");
        ids.push(only_id(&answer));
        assert_eq!(executions(&world).len(), count, "{time}");
    }
    assert_eq!(ids[0], ids[1], "the same tick gives the same execution");
    assert_ne!(ids[1], ids[2], "the next tick is another run");
}

#[tokio::test]
async fn a_schedule_comes_with_a_request_and_goes_with_its_expression() {
    let world = World::start(Paths::from_env().unwrap(), 0, None).unwrap();
    let error = world.deploy_fanout(&[("FanoutScheduleExpression", WEEKLY)]).await.expect_err("it was deployed");
    assert!(format!("{error:#}").contains("A schedule needs a request"), "{error:#}");

    let text = request().to_string();
    world.deploy_fanout(&[("FanoutScheduleExpression", WEEKLY), ("FanoutScheduleInput", &text)]).await.unwrap();
    let schedule = deployed_schedule(&world).await;
    let input: Value = serde_json::from_str(schedule["Target"]["Input"].as_str().unwrap()).unwrap();
    assert_eq!(input, with(request(), json!({"IdempotencyKey": format!("automation-fanout {DUE}")})));
    world.deploy_fanout(&[]).await.unwrap();
    let path = "/schedules/automation-fanout";
    let gone = world.central().rest("scheduler", Method::GET, path, &[], "").await.unwrap_err();
    assert_eq!(gone.code, "ResourceNotFoundException");
}
