//! `Stop`.

use serde_json::json;

use crate::account::{Account, Call};
use crate::{ID, ID_2, execution, fleet, ids, sample, send, send_with};

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
