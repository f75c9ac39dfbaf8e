//! Waves that are started in part, one name in two runs, and what is known before the first wave.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::account::{Account, runbook};
use crate::{A, B, NO_ROLE, send, send_with};

const C: &str = "333333333333";
const FULL: Option<&str> = Some("AutomationExecutionLimitExceededException");
const REFUSED: Option<&str> = Some("InvalidAutomationExecutionParametersException");

/// A campaign whose only wave takes two starts.
fn wide() -> Value {
    let accounts: Vec<String> = (0..101).map(|n| format!("{n:012}")).collect();
    let location =
        |account: &String| json!({"Accounts": [account], "Regions": ["us-east-1"], "TargetLocationMaxErrors": "100%"});
    let locations: Vec<Value> = accounts.iter().map(location).collect();
    json!({"Name": "wide", "Request": {"DocumentName": "Patch", "TargetLocations": locations},
           "Waves": [{"Name": "all", "Accounts": accounts}]})
}

fn wave(campaign: &Value, name: &str, executions: &Value) -> Value {
    json!({"Action": "Wave", "Campaign": campaign, "Wave": name, "AutomationExecutionIds": executions})
}

fn first(campaign: &Value, name: &str) -> Value {
    wave(campaign, name, &json!([]))
}

fn with(event: &Value, more: Value) -> Value {
    let mut event = event.clone();
    let Value::Object(more) = more else { panic!("an object") };
    event.as_object_mut().unwrap().extend(more);
    event
}

fn plan(campaign: &Value) -> Value {
    with(campaign, json!({"Action": "Campaign"}))
}

#[tokio::test(start_paused = true)]
async fn a_wave_of_which_a_part_is_refused_names_what_runs() {
    let account = Account::new().with_start_faults(&[None, REFUSED]);
    let answer = send(&account, &first(&wide(), "all")).await.unwrap();
    assert_eq!((&answer["State"], account.started().len()), (&json!("Stopped"), 1), "{answer:#}");
    assert_eq!(answer["AutomationExecutionIds"], json!(["00000000-0000-4000-8000-000000000001"]));
    let words = "not all of it is started: InvalidAutomationExecutionParametersException: on demand; started are \
                 00000000-0000-4000-8000-000000000001";
    assert_eq!(answer["Reason"], words);

    // The first part was started by an earlier step.
    let account = Account::new().with_start_faults(&[None, FULL, FULL, REFUSED]);
    let waits = send(&account, &first(&wide(), "all")).await.unwrap();
    assert_eq!(waits["State"], "Waiting");
    let again = send(&account, &first(&wide(), "all")).await.unwrap();
    let words = "not all of it is started: AutomationExecutionLimitExceededException";
    assert!(again["Reason"].as_str().unwrap().starts_with(words), "{again:#}");
    let answer = send(&account, &first(&wide(), "all")).await.unwrap();
    assert_eq!((&answer["State"], answer["AutomationExecutionIds"].as_array().unwrap().len()), (&json!("Stopped"), 1));

    // Nothing at all is another matter.
    let account = Account::new().with_start_faults(&[REFUSED]);
    assert_eq!(send(&account, &first(&wide(), "all")).await.unwrap_err().error_type(), "NothingStarted");
}

#[tokio::test(start_paused = true)]
async fn a_resumption_that_was_started_in_part_is_completed_by_the_campaign() {
    // What is left of each of 60 locations makes two groups, which are two starts.
    let account = |n: usize| format!("{n:012}");
    let location = |n: usize| {
        json!({"Accounts": [account(2 * n), account(2 * n + 1)], "Regions": ["us-east-1", "us-west-2"],
               "ExecutionRoleName": format!("Role{n}"), "TargetLocationMaxErrors": "100%"})
    };
    let locations: Vec<Value> = (0..60).map(location).collect();
    let campaign = json!({"Name": "c", "Request": {"DocumentName": "Patch", "TargetLocations": locations},
                          "Waves": [{"Name": "all", "Percent": 100}]});
    let ends = |end: crate::account::End, world: Account| {
        (0..60).fold(world, |world, n| {
            world.with_end(&account(2 * n), "us-east-1", end).with_end(&account(2 * n + 1), "us-west-2", end)
        })
    };
    let world = ends(("Failed", NO_ROLE), Account::new());
    let begun = send(&world, &first(&campaign, "all")).await.unwrap()["AutomationExecutionIds"].clone();
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(send(&world, &wave(&campaign, "all", &begun)).await.unwrap()["State"], "Stopped");

    let world = ends(("Success", ""), world).with_start_faults(&[None, FULL, FULL]);
    let go_on = with(&campaign, json!({"Resume": true}));
    let mut ids = begun.clone();
    let mut states = Vec::new();
    for _ in 0..6 {
        let step = with(&wave(&go_on, "all", &ids), json!({"EarlierExecutions": begun}));
        let answer = send(&world, &step).await.unwrap();
        ids = answer["AutomationExecutionIds"].clone();
        states.push((answer["State"].as_str().unwrap().to_owned(), world.started().len()));
        tokio::time::sleep(Duration::from_mins(2)).await;
    }
    let expected = [("Running", 2), ("Stopped", 2), ("Running", 3), ("Passed", 3), ("Passed", 3), ("Passed", 3)];
    assert_eq!(states, expected.map(|(state, count)| (state.to_owned(), count)));
}

#[tokio::test(start_paused = true)]
async fn one_name_is_one_campaign_wherever_its_runs_begin() {
    let request = |comment: &str| {
        json!({"DocumentName": "Patch", "Parameters": {"Comment": [comment]},
        "TargetLocations": [{"Accounts": [A, B, C], "Regions": ["us-east-1"], "TargetLocationMaxErrors": "100%"}]})
    };
    let waves = |names: [&str; 3]| json!([{"Name": names[0], "Accounts": [A]}, {"Name": names[1], "Accounts": [B]}, {"Name": names[2], "Accounts": [C]}]);
    let one = json!({"Name": "n", "Request": request("1"), "Waves": waves(["a", "b", "c"])});
    let other = json!({"Name": "n", "Request": request("2"), "Waves": waves(["a", "d", "e"])});
    let from = |campaign: &Value, wave: &str| {
        let campaign = if wave == "a" { campaign.clone() } else { with(campaign, json!({"From": wave})) };
        first(&campaign, wave)
    };
    for (mine, theirs) in [("b", "d"), ("a", "d"), ("c", "a"), ("a", "a"), ("c", "e")] {
        // At once, before the service lists anything.
        let account = Account::new().with_memory(Duration::MAX, Duration::from_hours(1));
        let events = [from(&one, mine), from(&other, theirs)];
        let sent = events.iter().map(|event| send(&account, event));
        let answers = join_all(sent).await;
        assert_eq!(
            (account.started().len(), answers.iter().filter(|one| one.is_ok()).count()),
            (1, 1),
            "{mine} {theirs}"
        );
        let error = answers.into_iter().find_map(Result::err).unwrap().to_string();
        assert!(error.contains("this token already started another request"), "{error}");
    }
    // One campaign may be begun anywhere, and gone on with anywhere.
    for order in [["a", "b", "c"], ["b", "a", "c"], ["c", "b", "a"], ["c", "a", "b"]] {
        let account = Account::new();
        for (index, wave) in order.into_iter().enumerate() {
            let begun = send_with(&account, 900, &format!("request-{index}"), &from(&one, wave)).await.unwrap();
            let again = send_with(&account, 900, &format!("again-{index}"), &from(&one, wave)).await.unwrap();
            assert_eq!(begun["AutomationExecutionIds"], again["AutomationExecutionIds"]);
            assert_eq!(account.started().len(), index + 1, "{order:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_later_wave_lacks_is_refused_before_the_first() {
    let takes =
        || Account::new().with_runbook(Ok(Some(runbook(&[("InstanceId", false), ("AutomationAssumeRole", true)]))));
    let target = json!([{"Key": "tag:Env", "Values": ["x"]}]);
    let location = |account: &str| json!({"Accounts": [account], "Regions": ["us-east-1"]});
    let targeted = with(&location(A), json!({"Targets": target}));
    let campaign = |request: Value| json!({"Name": format!("m{}", request["Targets"].is_null()), "Request": request, "Waves": [{"Name": "one", "Accounts": [A]}, {"Name": "two", "Accounts": [B]}]});
    let mixed = campaign(json!({"DocumentName": "Patch", "TargetParameterName": "InstanceId",
                                "TargetLocations": [targeted, location(B)]}));
    let account = takes();
    let error = send(&account, &plan(&mixed)).await.unwrap_err().to_string();
    assert!(error.contains("Request.TargetLocations[1].Targets: expected a target, got nothing"), "{error}");
    // The caller's word for the whole is one for each wave.
    let mut meant = mixed.clone();
    meant["Request"]["AllTargets"] = json!(true);
    let told = send(&account, &plan(&meant)).await.unwrap();
    assert!(told["Notes"].to_string().contains("Request.TargetLocations[1]: it has no Targets, unlike"), "{told:#}");
    for wave in ["one", "two"] {
        assert_eq!(send(&account, &first(&meant, wave)).await.unwrap()["State"], "Running");
    }

    // A list of nodes is for the locations without targets: the wave of the others would take it for nothing.
    let nodes: Vec<String> = (0..60).map(|n| format!("mi-{n:017x}")).collect();
    let listed = campaign(json!({"DocumentName": "Patch", "TargetParameterName": "InstanceId",
        "Targets": [{"Key": "ParameterValues", "Values": nodes}], "TargetLocations": [location(A), with(&location(B), json!({"Targets": target}))]}));
    let error = send(&account, &plan(&listed)).await.unwrap_err().to_string();
    assert!(error.contains("Waves[1].Request.Targets: expected at most 50 values of ParameterValues"), "{error}");
    // A wave that is left out is not looked at.
    let from = |wave: &str| plan(&with(&listed, json!({"From": wave})));
    assert!(send(&account, &from("two")).await.is_err());
    let mut turned = listed.clone();
    turned["Waves"].as_array_mut().unwrap().reverse();
    let error = send(&account, &plan(&turned)).await.unwrap_err().to_string();
    assert!(error.contains("Waves[0].Request.Targets"), "{error}");
    send(&account, &plan(&with(&turned, json!({"From": "one"})))).await.unwrap();
    // What is the same for all is read once.
    let looks = takes();
    send(
        &looks,
        &plan(&campaign(
            json!({"DocumentName": "Patch", "AllTargets": true, "TargetLocations": [location(A), location(B)]}),
        )),
    )
    .await
    .unwrap();
    assert_eq!(looks.looks(), 2);
}

#[tokio::test(start_paused = true)]
async fn more_runs_than_an_invocation_can_look_at_are_looked_at_in_several() {
    let account = Account::new();
    for index in 0..220 {
        let event = json!({"DocumentName": "Patch", "IdempotencyKey": format!("key {index}"),
                           "TargetLocations": [{"Accounts": [A], "Regions": ["us-east-1"]}]});
        send(&account, &event).await.unwrap();
    }
    let campaign = json!({"Name": "c", "Waves": [{"Name": "all", "Percent": 100}],
        "Request": {"DocumentName": "Patch", "TargetLocations": [{"Accounts": [B], "Regions": ["us-east-1"]}]}});
    // Forty seconds, for five reads of tags a second.
    let step = async |name: &str| send_with(&account, 50, name, &first(&campaign, "all")).await.unwrap();
    let waits = step("one").await;
    assert_eq!((&waits["State"], account.started().len()), (&json!("Waiting"), 220), "{waits:#}");
    assert!(waits["Reason"].as_str().unwrap().contains("it is not known what was started before"), "{waits:#}");
    let begun = step("two").await;
    assert_eq!((&begun["State"], account.started().len()), (&json!("Running"), 221), "{begun:#}");
}
