//! Several agencies in one run: turns, and a lease for each.

use ssm_tag_manager::retire::RetireAnswer;
use ssm_tag_manager::{Response, respond};

use super::super::account::{Call, Held};
use super::*;

const AGENCIES: [&str; 3] = ["222222222222", "333333333333", "444444444444"];

fn id(agency: usize, number: usize) -> String {
    format!("mi-{agency}{number:016x}")
}

/// Dead nodes of each agency, so many, the oldest markers on those of the first one.
fn fleet(counts: [usize; 3]) -> Account {
    let mut account = Account::default();
    for (agency, count) in counts.into_iter().enumerate() {
        for number in 0..count {
            let id = id(agency, number);
            let source = format!("{}/us-east-1/i-{number:017x}", AGENCIES[agency]);
            let mark = (OBSERVED + i64::try_from(agency).unwrap() * 60).to_string();
            let tags =
                [("tag-hub:agency", AGENCIES[agency]), ("tag-hub:source", &source), ("tag-hub:terminated", &mark)];
            account = account.with_node(&id, &tags).with_information(&id, lost(0));
        }
    }
    account
}

async fn retire(account: &Account, variables: &[(&str, &str)]) -> RetireAnswer {
    let mut all = vec![("RETIRE_NODES", "on")];
    all.extend_from_slice(variables);
    let event = r#"{"action": "retire"}"#;
    match respond(&config(&all), account, &later(48), event).await.into_result().unwrap() {
        Response::Retire(answer) => answer,
        Response::Report(answer) => panic!("{answer:?}"),
    }
}

fn left(account: &Account) -> [usize; 3] {
    let left = account.ids();
    [0, 1, 2].map(|agency| left.iter().filter(|id| id.starts_with(&format!("mi-{agency}"))).count())
}

#[tokio::test]
async fn one_agency_does_not_use_up_the_limit_of_all() {
    let account = fleet([100, 3, 1]);
    let answer = retire(&account, &[("RETIRE_LIMIT", "6")]).await;
    assert_eq!((answer.counts.retired, answer.counts.kept), (6, 98));
    assert_eq!(left(&account), [97, 1, 0], "they take turns");
    retire(&account, &[("RETIRE_LIMIT", "6")]).await;
    assert_eq!(left(&account), [92, 0, 0], "what the others do not need goes to the one that does");
}

#[tokio::test]
async fn the_nodes_of_each_agency_go_under_its_own_lease() {
    let account = fleet([2, 1, 0]);
    assert_eq!(retire(&account, &[]).await.counts.retired, 3);
    let lease = |agency: usize| format!("agency#{}", AGENCIES[agency]);
    let expected = [Call::Take(lease(0)), Call::Release(lease(0)), Call::Take(lease(1)), Call::Release(lease(1))];
    assert_eq!(account.table_calls(), expected);
    let account = fleet([1, 1, 0]);
    retire(&account, &[("OWNERSHIP_CHECK", "off")]).await;
    assert_eq!(account.table_calls(), [Call::Take("agency#all".into()), Call::Release("agency#all".into())]);
}

#[tokio::test(start_paused = true)]
async fn an_agency_whose_lease_is_not_to_be_had_waits_for_the_next_run() {
    let held = Held { holder: "somebody".to_owned(), until_ms: i64::MAX, ..Held::default() };
    for (busy, agency) in AGENCIES.iter().enumerate() {
        let account = fleet([60, 60, 60]).with_lease(&format!("agency#{agency}"), held.clone());
        let answer = retire(&account, &[("RETIRE_LIMIT", "1000")]).await;
        assert_eq!((answer.counts.retired, answer.counts.kept), (120, 60), "{agency}");
        let mut expected = [0; 3];
        expected[busy] = 60;
        assert_eq!(left(&account), expected, "nobody else waits for longer than a share of the time");
        let kept = answer.nodes.iter().map(|node| serde_json::to_value(node).unwrap());
        let kept = kept.filter(|node| node["outcome"] == "kept" && node["reason"] == "deferred");
        assert_eq!(kept.count(), 60);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_while_its_lease_is_waited_for_stays() {
    let until_ms = (OBSERVED + 48 * 3600 + 30) * 1000;
    let held = Held { holder: "somebody".to_owned(), until_ms, ..Held::default() };
    let account = fleet([1, 0, 0]).with_lease("agency#222222222222", held);
    let back = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        account.inform(&id(0, 0), Information { is_connection_lost: false, ..lost(48) });
    };
    let (answer, ()) = tokio::join!(retire(&account, &[]), back);
    assert_eq!((answer.counts.retired, answer.counts.kept), (0, 1));
    assert_eq!(left(&account), [1, 0, 0]);
}

#[tokio::test]
async fn a_node_that_never_pinged_counts_from_its_registration() {
    let account = fleet([3, 0, 0]);
    let never = Information { last_seen: None, ..lost(0) };
    // Registered 25 hours ago, an hour ago, and nobody knows when.
    let account = account
        .with_information(&id(0, 0), lost(23))
        .with_information(&id(0, 1), lost(47))
        .with_information(&id(0, 2), never);
    assert_eq!(retire(&account, &[]).await.counts.retired, 1);
    assert_eq!(account.ids(), [id(0, 1), id(0, 2)]);
}
