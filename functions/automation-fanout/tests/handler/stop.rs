//! `Stop`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::account::{Account, Call};
use crate::{A, B, ID, ID_2, NO_ROLE, codes, execution, fleet, ids, sample, send, send_with, small};

#[tokio::test(start_paused = true)]
async fn executions_are_stopped_one_a_second() {
    let account = Account::new().with_execution(execution(ID, "Failed", vec![]));
    let started = send(&account, &fleet(2)).await.unwrap();
    let mut all = ids(&started);
    all.extend([ID, ID_2]);
    let answer =
        send(&account, &json!({"Action": "Stop", "AutomationExecutionIds": all, "Type": "Complete"})).await.unwrap();
    insta::assert_json_snapshot!(answer, @r###"
    {
      "Action": "Stop",
      "Type": "Complete",
      "Complete": false,
      "Executions": [
        {
          "AutomationExecutionId": "00000000-0000-4000-8000-000000000001",
          "Outcome": "stop-requested"
        },
        {
          "AutomationExecutionId": "00000000-0000-4000-8000-000000000002",
          "Outcome": "stop-requested"
        },
        {
          "AutomationExecutionId": "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE",
          "Outcome": "already-ended"
        }
      ],
      "Failed": [
        {
          "AutomationExecutionId": "a4a3c0e9-7efd-462a-8594-01234EXAMPLE",
          "Code": "AutomationExecutionNotFoundException",
          "Message": "on demand"
        }
      ]
    }
    "###);
    let times = account.times(&Call::Stop);
    assert!(times.windows(2).all(|two| two[1] - two[0] >= 1_000), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_nothing_is_an_error() {
    let account = Account::new();
    let error = send(&account, &sample("stop")).await.unwrap_err();
    assert_eq!(error.error_type(), "InvalidRequest");
    assert!(
        error.to_string().contains("AutomationExecutionId: expected an execution that Systems Manager knows"),
        "{error}"
    );
    let error = send_with(&account, 5, "request-1", &sample("stop")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "nothing was stopped: DeadlineExceeded: not stopped, because the function's time is up"
    );
    assert_eq!(error.error_type(), "NothingStopped");
}

#[tokio::test(start_paused = true)]
async fn what_is_to_complete_keeps_the_remaining_parts_from_starting() {
    // The first part may also have ended by itself when somebody stops it.
    for (stop_type, minutes, fault, expected) in [
        (Some("Complete"), 5, None, vec!["Stopped", "Stopped"]),
        (None, 5, None, vec!["Stopped", "Stopped"]),
        (Some("Complete"), 0, None, vec!["Stopped", "Stopped"]),
        (None, 0, None, vec!["Stopped", "Stopped"]),
        (Some("Complete"), 5, Some("AccessDeniedException"), vec![]),
    ] {
        let account = Account::new().with_run_of(Duration::from_mins(minutes));
        let account = if let Some(code) = fault { account.with_mark_fault(code) } else { account };
        // Time for one start.
        let begun = send_with(&account, 11, "request-1", &fleet(3)).await.unwrap();
        assert_eq!(ids(&begun).len(), 1);
        let mut stop = json!({"Action": "Stop", "AutomationExecutionIds": ids(&begun)});
        if let Some(stop_type) = stop_type {
            stop["Type"] = json!(stop_type);
        }
        let stopped = send(&account, &stop).await.unwrap();
        assert_eq!((ids(&stopped), stopped["Complete"].as_bool()), (ids(&begun), Some(fault.is_none())));
        if fault.is_some() {
            let message = stopped["Failed"][0]["Message"].as_str().unwrap();
            assert!(message.starts_with("it could not be marked as stopped, so that"), "{message}");
        }
        let again = send_with(&account, 900, "request-2", &fleet(3)).await.unwrap();
        assert_eq!(codes(&again["Failed"]), expected);
        assert_eq!(account.started().len(), 3 - expected.len());
    }
}

#[tokio::test(start_paused = true)]
async fn the_mark_of_a_stop_has_room_beside_the_most_tags() {
    /// Sends an event with as many tags as it may have, and gives it back with its answer.
    async fn with_the_most_tags(account: &Account, budget: u64, mut event: Value) -> (Value, Value) {
        for count in (0..=5).rev() {
            let tags: Vec<Value> = (0..count).map(|n| json!({"Key": format!("k{n}"), "Value": "v"})).collect();
            event["Tags"] = json!(tags);
            if let Ok(answer) = send_with(account, budget, "request-1", &event).await {
                return (event, answer);
            }
        }
        panic!("refused without tags: {event:#}")
    }
    let stop = |answer: &Value| json!({"Action": "Stop", "Type": "Complete", "AutomationExecutionIds": ids(answer)});
    let account = Account::new().with_run_of(Duration::from_mins(5));
    // Time for one start.
    let (event, begun) = with_the_most_tags(&account, 11, fleet(3)).await;
    assert_eq!(send(&account, &stop(&begun)).await.unwrap()["Complete"], true);
    let again = send_with(&account, 900, "request-2", &event).await.unwrap();
    assert_eq!((codes(&again["Failed"]), account.started().len()), (vec!["Stopped", "Stopped"], 1));

    // A resumption has one tag more of its own.
    let account = Account::new().with_end(B, "us-east-1", ("Failed", NO_ROLE));
    let begun = send(&account, &small()).await.unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
    let resume = json!({"Action": "Resume", "AutomationExecutionIds": ids(&begun)});
    let (_, resumed) = with_the_most_tags(&account, 900, resume).await;
    assert_eq!(send(&account, &stop(&resumed)).await.unwrap()["Complete"], true);
}

#[tokio::test(start_paused = true)]
async fn a_wave_that_was_told_to_complete_ends_the_campaign_where_something_is_left() {
    let campaign = json!({"Name": "c", "Gate": {"MaxFailedPercent": 100},
        "Request": {"DocumentName": "Patch", "TargetLocations": [{"Accounts": [A, B], "Regions": ["us-east-1"]}]},
        "Waves": [{"Name": "all", "Percent": 100}]});
    let wave = |campaign: &Value, earlier: &Value, ids: &Value| json!({"Action": "Wave", "Campaign": campaign, "Wave": "all", "EarlierExecutions": earlier, "AutomationExecutionIds": ids});
    for (end, state) in [(("Failed", NO_ROLE), "Stopped"), (("Success", ""), "Passed")] {
        let account = Account::new().with_end(B, "us-east-1", end);
        let ids =
            send(&account, &wave(&campaign, &json!([]), &json!([]))).await.unwrap()["AutomationExecutionIds"].clone();
        send(&account, &json!({"Action": "Stop", "Type": "Complete", "AutomationExecutionIds": ids})).await.unwrap();
        tokio::time::sleep(Duration::from_mins(1)).await;
        let answer = send(&account, &wave(&campaign, &json!([]), &ids)).await.unwrap();
        assert_eq!(answer["State"], state, "{answer:#}");
        if state == "Stopped" {
            assert_eq!(answer["Reason"], format!("its execution {} was stopped", ids[0].as_str().unwrap()));
            // It goes on when it is told to.
            let account = account.with_end(B, "us-east-1", ("Success", ""));
            let mut go_on = campaign.clone();
            go_on["Resume"] = json!(true);
            let resumed = send(&account, &wave(&go_on, &ids, &ids)).await.unwrap();
            tokio::time::sleep(Duration::from_mins(1)).await;
            let ids = &resumed["AutomationExecutionIds"];
            assert_eq!(send(&account, &wave(&go_on, ids, ids)).await.unwrap()["State"], "Passed");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_throttled_is_not_tried_again_once_the_first_part_is_stopped() {
    let throttled = Some("ThrottlingException");
    let mut faults = vec![None];
    faults.extend([throttled; 5]);
    let account = Account::new().with_run_of(Duration::from_mins(5)).with_start_faults(&faults);
    let event = fleet(3);
    let start = send(&account, &event);
    let stop = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let first = account.history()[0].0.clone();
        send(&account, &json!({"Action": "Stop", "AutomationExecutionId": first})).await.unwrap();
    };
    let (answer, ()) = tokio::join!(start, stop);
    assert_eq!(codes(&answer.unwrap()["Failed"]), ["Stopped", "NotTried"]);
    assert_eq!((account.started().len(), account.times(&Call::Start).len()), (1, 3));
}
