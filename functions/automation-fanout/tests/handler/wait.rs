//! `WaitSeconds`: following what runs.

use std::time::Duration;

use serde_json::json;

use crate::account::{Account, Call};
use crate::{B, NO_ROLE, fleet, ids, send, send_with, small};

#[tokio::test(start_paused = true)]
async fn a_start_is_followed_until_it_ends() {
    let account = Account::new().with_end(B, "us-east-1", ("Failed", NO_ROLE));
    let mut event = small();
    event["WaitSeconds"] = json!(600);
    let begin = tokio::time::Instant::now();
    let answer = send(&account, &event).await.unwrap();
    assert!(begin.elapsed() < Duration::from_mins(1), "{:?}", begin.elapsed());
    assert_eq!((answer["Action"].clone(), answer["Complete"].clone()), (json!("Start"), json!(true)));
    assert_eq!(answer["Status"]["Terminal"], true);
    assert_eq!(
        answer["Status"]["Summary"],
        "1 execution: 1 Failed; 4 locations: 1 Failed, 3 Success (causes: 1 execution-role)"
    );
    let looks = account.times(&Call::Get);
    let apart: Vec<u64> = looks.windows(2).map(|two| (two[1] - two[0]) / 100).collect();
    assert_eq!(apart, [20, 30, 45, 67, 101, 151], "further and further apart");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_outlives_the_wait_is_shown_as_it_stands() {
    let account = Account::new().with_run_of(Duration::from_hours(1));
    let mut event = small();
    event["WaitSeconds"] = json!(60);
    let answer = send(&account, &event).await.unwrap();
    assert_eq!(answer["Status"]["Terminal"], false);
    assert_eq!(answer["Status"]["Executions"][0]["Counts"], json!({"InProgress": 4}));
    assert_eq!(account.times(&Call::Get).last(), Some(&60_000));

    let begin = tokio::time::Instant::now();
    let wait = json!({"Action": "Status", "AutomationExecutionIds": ids(&answer), "WaitSeconds": 900});
    let answer = send_with(&account, 120, "request-2", &wait).await.unwrap();
    assert_eq!(answer["Terminal"], false);
    assert_eq!(begin.elapsed(), Duration::from_secs(110), "the function's own deadline comes first");
}

#[tokio::test(start_paused = true)]
async fn many_executions_are_looked_at_three_times_a_second() {
    let account = Account::new();
    let answer = send(&account, &fleet(8)).await.unwrap();
    let wait = json!({"Action": "Status", "AutomationExecutionIds": ids(&answer), "WaitSeconds": 300});
    let answer = send(&account, &wait).await.unwrap();
    assert_eq!(answer["Terminal"], true);
    let looks = account.times(&Call::Get);
    assert!(looks.windows(4).all(|four| four[3] - four[0] >= 999), "{looks:?}");
    let describes = account.times(&Call::Describe);
    assert_eq!(describes.len(), 7 * 2, "the steps are read once, in the end");
}
