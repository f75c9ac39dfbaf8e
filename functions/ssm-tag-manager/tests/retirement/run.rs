//! The event `{"action": "retire"}`.

use ssm_tag_manager::retire::RetireAnswer;
use ssm_tag_manager::{ManagerError, Response, respond};

use super::super::account::{Call, Fault};
use super::*;

const RETIRE: &str = r#"{"action": "retire"}"#;
/// Two days after the sample reports.
const HOURS: u64 = 48;
const HOURS_MARKED_LATELY: i64 = 47;

async fn run(config: &Config, account: &Account, event: &Value) -> Result<RetireAnswer, ManagerError> {
    match respond(config, account, &later(HOURS), &event.to_string()).await.into_result()? {
        Response::Retire(answer) => Ok(answer),
        Response::Report(answer) => panic!("{answer:?}"),
    }
}

async fn retire(config: &Config, account: &Account) -> RetireAnswer {
    run(config, account, &json!({"action": "retire"})).await.unwrap()
}

fn id(number: usize) -> String {
    format!("mi-{number:017x}")
}

/// A node whose instance was reported as gone so many hours after the sample reports, and who has been silent since.
fn with_dead_node(account: Account, number: usize, marked_hours: i64) -> Account {
    let (id, source) = (id(number), format!("222222222222/us-east-1/i-{number:017x}"));
    let mark = (OBSERVED + marked_hours * 3600).to_string();
    account
        .with_node(
            &id,
            &[("tag-hub:agency", "222222222222"), ("tag-hub:source", &source), ("tag-hub:terminated", &mark)],
        )
        .with_information(&id, lost(0))
}

fn dead_fleet(count: usize) -> Account {
    (0..count).fold(Account::default(), |account, number| with_dead_node(account, number, 0))
}

fn find() -> Call {
    Call::Find("tag-hub:terminated".to_owned(), 0)
}

#[tokio::test]
async fn off_means_no_call_at_all() {
    let account = dead_fleet(1);
    let answer = retire(&config(&[]), &account).await;
    insta::assert_json_snapshot!(answer, @r#"
    {
      "action": "retire",
      "mode": "off",
      "counts": {
        "marked": 0,
        "retired": 0,
        "kept": 0,
        "failed": 0
      },
      "nodes": []
    }
    "#);
    let dry = run(&mode("off"), &account, &json!({"action": "retire", "dryRun": true})).await.unwrap();
    assert_eq!(dry, answer);
    assert!(account.calls().is_empty());
}

#[tokio::test]
async fn the_dead_go_and_the_living_stay() {
    let mut account = dead_fleet(1)
        .with_node("mi-0fedcba987654321f", &[("tag-hub:agency", "333333333333"), ("Env", "PROD")])
        .with_information("mi-0fedcba987654321f", lost(0));
    // Marked a moment ago; online again; registered anew a moment ago; without a source; no node any more.
    account = with_dead_node(account, 1, HOURS_MARKED_LATELY);
    account = with_dead_node(account, 2, 0);
    let online = Information { is_connection_lost: false, ..lost(0) };
    account = account.with_information(&id(2), online);
    account = with_dead_node(account, 3, 0).with_information(&id(3), lost(47));
    account = with_dead_node(account, 4, 0);
    account.change(&id(4), |tags| drop(tags.remove("tag-hub:source")));
    let answer = retire(&mode("on"), &account).await;
    insta::assert_json_snapshot!(answer, @r#"
    {
      "action": "retire",
      "mode": "on",
      "counts": {
        "marked": 5,
        "retired": 1,
        "kept": 4,
        "failed": 0
      },
      "nodes": [
        {
          "instanceId": "mi-00000000000000000",
          "source": "222222222222/us-east-1/i-00000000000000000",
          "outcome": "retired"
        },
        {
          "instanceId": "mi-00000000000000001",
          "source": "222222222222/us-east-1/i-00000000000000001",
          "outcome": "kept",
          "reason": "too-early"
        },
        {
          "instanceId": "mi-00000000000000004",
          "outcome": "kept",
          "reason": "no-source"
        },
        {
          "instanceId": "mi-00000000000000002",
          "source": "222222222222/us-east-1/i-00000000000000002",
          "outcome": "kept",
          "reason": "online"
        },
        {
          "instanceId": "mi-00000000000000003",
          "source": "222222222222/us-east-1/i-00000000000000003",
          "outcome": "kept",
          "reason": "pinged-lately"
        }
      ]
    }
    "#);
    let calls = [
        find(),
        Call::Information(3),
        Call::Take(LEASE.into()),
        Call::Information(1),
        Call::Read(id(0)),
        Call::Deregister(id(0)),
        Call::Release(LEASE.into()),
    ];
    assert_eq!(account.calls(), calls, "what speaks for a node already costs no further call");
    assert_eq!(account.ids(), [id(1), id(2), id(3), id(4), "mi-0fedcba987654321f".to_owned()]);
}

#[tokio::test]
async fn from_the_end_of_an_instance_to_the_end_of_its_node() {
    let account = account().with_information(NODE, lost(0));
    let config = mode("on");
    let agency = invocation(AGENCY_ARN);
    respond(&config, &account, &agency, &super::super::one(NODE, &[("Env", "PROD")]).to_string())
        .await
        .into_result()
        .unwrap();
    respond(&config, &account, &agency, &gone(&["i-0abcdef0123456789"]).to_string()).await.into_result().unwrap();
    let early = respond(&config, &account, &later(24), RETIRE).await.into_result().unwrap();
    let Response::Retire(early) = early else { panic!("{early:?}") };
    assert_eq!((early.counts.retired, early.counts.kept), (0, 1));
    assert_eq!(retire(&config, &account).await.counts.retired, 1);
    assert!(!account.ids().contains(&NODE.to_owned()) && account.ids().contains(&NODE_2.to_owned()));
    account.forget_calls();
    assert_eq!(retire(&config, &account).await.counts.marked, 0);
    assert_eq!(account.calls(), [find()], "the steady state costs one read");
}

#[tokio::test]
async fn an_agency_cannot_retire_anything() {
    let account = dead_fleet(1);
    for qualifier in ["agency-222222222222", "live", "7"] {
        let mut invocation = later(HOURS);
        invocation.arn = format!("{OWN_ARN}:{qualifier}").parse().unwrap();
        let error = respond(&mode("on"), &account, &invocation, RETIRE).await.into_result().unwrap_err();
        assert!(error.to_string().contains("which only the central account may invoke"), "{error}");
        assert_eq!(lambda_runtime::Diagnostic::from(error).error_type, "Unauthenticated");
    }
    assert!(account.calls().is_empty());
    let mut latest = later(HOURS);
    latest.arn = format!("{OWN_ARN}:$LATEST").parse().unwrap();
    respond(&mode("on"), &account, &latest, RETIRE).await.into_result().unwrap();
    assert!(account.ids().is_empty());
}

#[tokio::test]
async fn an_event_that_does_not_fit_is_refused() {
    let account = dead_fleet(1);
    for (event, expected) in [
        (json!({"action": "retire", "dryrun": true}), "InvalidEvent"),
        (json!({"action": "delete"}), "InvalidEvent"),
        // No action: a report, and one that comes through no alias.
        (json!({"action": null}), "Unauthenticated"),
    ] {
        let error = run(&mode("on"), &account, &event).await.unwrap_err();
        assert_eq!(lambda_runtime::Diagnostic::from(error).error_type, expected, "{event}");
    }
    assert!(account.calls().is_empty());
}

#[tokio::test]
async fn the_sample_event_asks_for_it() {
    let account = dead_fleet(1);
    run(&mode("on"), &account, &super::super::sample("retire-dry-run")).await.unwrap();
    assert_eq!(account.ids().len(), 1);
    run(&mode("on"), &account, &super::super::sample("retire")).await.unwrap();
    assert!(account.ids().is_empty());
}

#[tokio::test]
async fn a_dry_run_deregisters_nothing_and_says_what_it_would() {
    let account = dead_fleet(12);
    let dry = run(&mode("on"), &account, &json!({"action": "retire", "dryRun": true})).await.unwrap();
    assert_eq!(dry, retire(&mode("dry-run"), &account).await);
    let dry = serde_json::to_value(dry).unwrap();
    assert_eq!(
        (&dry["mode"], &dry["counts"]["retired"], &dry["counts"]["kept"]),
        (&json!("dry-run"), &json!(10), &json!(2))
    );
    assert_eq!(dry["nodes"][0]["outcome"], "would-retire");
    assert!(account.calls().iter().all(|call| matches!(call, Call::Find(..) | Call::Information(_) | Call::Read(_))));
    assert_eq!(account.ids().len(), 12);
}

#[tokio::test]
async fn the_oldest_marks_go_first_and_the_rest_waits() {
    let mut account = Account::default();
    for number in 0..120 {
        account = with_dead_node(account, number, 20 - i64::try_from(number % 20).unwrap());
    }
    let config = config(&[("RETIRE_NODES", "on"), ("RETIRE_LIMIT", "4")]);
    let answer = retire(&config, &account).await;
    assert_eq!((answer.counts.marked, answer.counts.retired, answer.counts.kept), (120, 4, 116));
    let left = account.ids();
    let retired: Vec<usize> = (0..120).filter(|number| !left.contains(&id(*number))).collect();
    assert_eq!(retired, [19, 39, 59, 79]);
    let kept = serde_json::to_value(&answer.nodes[4]).unwrap();
    assert_eq!(kept["reason"], "limit");
    assert_eq!(account.node_calls().len(), 1 + 1 + 3 * 4, "those who wait cost no call");
}

#[tokio::test]
async fn one_unknown_node_does_not_hide_the_others() {
    let mut account = dead_fleet(3);
    // Deregistered by hand a moment ago; its tags can still be found.
    account = account.with_node(
        &id(7),
        &[
            ("tag-hub:agency", "222222222222"),
            ("tag-hub:source", "222222222222/us-east-1/i-00000000000000007"),
            ("tag-hub:terminated", "1"),
        ],
    );
    let answer = retire(&mode("on"), &account).await;
    assert_eq!((answer.counts.retired, answer.counts.kept), (3, 1));
    assert_eq!(serde_json::to_value(&answer.nodes[3]).unwrap()["reason"], "unknown-node");
    let asked: Vec<Call> = account.calls().into_iter().filter(|call| matches!(call, Call::Information(_))).collect();
    assert_eq!(asked, [4, 1, 1, 1, 1, 1, 1, 1].map(Call::Information), "each by itself, and once more under the lease");
}

#[tokio::test]
async fn what_a_node_carries_right_now_decides() {
    let account = dead_fleet(2);
    account.freeze_bulk_reads();
    account.change(&id(0), |tags| drop(tags.remove("tag-hub:terminated")));
    let answer = retire(&mode("on"), &account).await;
    assert_eq!((answer.counts.retired, answer.counts.kept), (1, 1));
    assert_eq!(serde_json::to_value(&answer.nodes[1]).unwrap()["reason"], "not-marked");
    assert_eq!(account.ids(), [id(0)]);
    let answer = retire(&mode("on"), &account).await;
    assert_eq!(answer.counts.kept, 2, "the one that is gone can still be found");
}

#[tokio::test]
async fn a_failure_with_one_node_stops_no_other() {
    let limit_2 = config(&[("RETIRE_NODES", "on"), ("RETIRE_LIMIT", "2")]);
    let account = dead_fleet(3).with_fault(Fault::on_deregister(&id(0), "AccessDeniedException", false));
    let answer = retire(&limit_2, &account).await;
    assert_eq!((answer.counts.retired, answer.counts.failed), (2, 1), "a plain refusal takes nobody's place");
    let failed = serde_json::to_value(&answer.nodes[2]).unwrap();
    assert_eq!((&failed["outcome"], &failed["reason"]), (&json!("failed"), &json!("AccessDeniedException")));

    let account = dead_fleet(3).with_fault(Fault::on_deregister(&id(0), "InternalServerError", true));
    let answer = retire(&limit_2, &account).await;
    assert_eq!((answer.counts.retired, answer.counts.failed, answer.counts.kept), (1, 1, 1), "it may have been done");
}

#[tokio::test]
async fn where_the_marks_cannot_be_read_the_run_fails() {
    let account = dead_fleet(1).with_fault(Fault::on_read_many("AccessDeniedException", false));
    let error = run(&mode("on"), &account, &json!({"action": "retire"})).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to list nodes tagged tag-hub:terminated: tag:GetResources failed: AccessDeniedException: on demand"
    );
    assert_eq!(lambda_runtime::Diagnostic::from(error).error_type, "MarksUnread");
}

#[tokio::test]
async fn without_the_ownership_check_no_owner_is_needed() {
    let account = dead_fleet(1);
    account.change(&id(0), |tags| drop(tags.remove("tag-hub:agency")));
    assert_eq!(retire(&mode("on"), &account).await.counts.kept, 1);
    let config = config(&[("RETIRE_NODES", "on"), ("OWNERSHIP_CHECK", "off")]);
    assert_eq!(retire(&config, &account).await.counts.retired, 1);
}

#[tokio::test(start_paused = true)]
async fn when_time_runs_out_the_rest_waits() {
    let account = dead_fleet(10).with_latency(Duration::from_secs(1));
    let mut invocation = later(HOURS);
    // A second each to find, to read about all, for the slot and for the lease, and three for eight nodes at a time.
    invocation.budget = Duration::from_secs(17);
    let Response::Retire(answer) = respond(&mode("on"), &account, &invocation, RETIRE).await.into_result().unwrap()
    else {
        panic!()
    };
    assert_eq!((answer.counts.retired, answer.counts.kept, answer.counts.failed), (8, 2, 0));
    assert_eq!(serde_json::to_value(&answer.nodes[8]).unwrap()["reason"], "deferred");
    let account = account.with_latency(Duration::from_hours(1));
    let error = respond(&mode("on"), &account, &invocation, RETIRE).await.into_result().unwrap_err();
    assert!(error.to_string().contains("DeadlineExceeded"), "{error}");
}
