//! The table of leases over a real client whose answers are made up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::{DeleteItemInput, DeleteItemOutput};
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemInput, PutItemOutput};
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use aws_smithy_mocks::{MockResponse, Rule, RuleMode, mock, mock_client};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;
use hub::{AwsError, ManagedInstanceId};
use lambda_kit::CallCounts;
use serde_json::json;
use ssm_tag_manager::aws::{Calls, LeaseTable, ManagedNodes};
use ssm_tag_manager::plan::Intent;
use ssm_tag_manager::ports::{Lease, LeaseName, Leases as _, Rates, Taken};

const FUNCTION: &str = "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager:agency-222222222222";
const NOW: i64 = 1_000;
const SLOT: LeaseName = LeaseName::Bulk(2);

type Item = HashMap<String, AttributeValue>;

/// What the table answers.
#[derive(Clone)]
enum Reply {
    /// It is written; what was there before.
    Written(Item),
    /// The condition does not hold; what is there.
    Refused(Item),
    Failed(u16, &'static str),
}

/// A table that answers as it is told, and keeps what it is asked.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<(VecDeque<Reply>, Vec<String>)>>);

impl Table {
    fn answering(replies: &[Reply]) -> Self {
        Self(Arc::new(Mutex::new((replies.iter().cloned().collect(), Vec::new()))))
    }

    fn next(&self, request: String) -> Reply {
        let mut inner = self.0.lock().unwrap();
        inner.1.push(request);
        inner.0.pop_front().unwrap_or_else(|| panic!("a call too many"))
    }

    fn requests(&self) -> Vec<String> {
        let inner = self.0.lock().unwrap();
        assert!(inner.0.is_empty(), "a call too few");
        inner.1.clone()
    }

    fn calls(&self) -> Calls {
        let (gets, puts, deletes) = (self.clone(), self.clone(), self.clone());
        let get = mock!(Client::get_item).then_compute_response(move |input| {
            let consistently = if input.consistent_read() == Some(true) { "consistently" } else { "" };
            match gets.next(format!("get {} {consistently}", plain(&input.key().unwrap()["name"]))) {
                Reply::Written(item) => MockResponse::Output(GetItemOutput::builder().set_item(Some(item)).build()),
                Reply::Refused(_) => panic!("a read has no condition"),
                Reply::Failed(status, code) => MockResponse::Http(failed(status, code)),
            }
        });
        let put = mock!(Client::put_item).then_compute_response(move |input| match puts.next(describe_put(input)) {
            Reply::Written(before) => {
                MockResponse::Output(PutItemOutput::builder().set_attributes(Some(before)).build())
            }
            Reply::Refused(there) => MockResponse::Error(PutItemError::ConditionalCheckFailedException(refused(there))),
            Reply::Failed(status, code) => MockResponse::Http(failed(status, code)),
        });
        let delete =
            mock!(Client::delete_item).then_compute_response(move |input| match deletes.next(describe_delete(input)) {
                Reply::Written(_) => MockResponse::Output(DeleteItemOutput::builder().build()),
                // As the service answers it: an error made by hand would carry no code.
                Reply::Refused(_) => MockResponse::Http(failed(400, "ConditionalCheckFailedException")),
                Reply::Failed(status, code) => MockResponse::Http(failed(status, code)),
            });
        let none: &[Rule] = &[];
        let client = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, &[get, put, delete], |config| {
            config.retry_config(RetryConfig::disabled())
        });
        Calls::new(
            mock_client!(aws_sdk_ssm, RuleMode::MatchAny, none),
            mock_client!(aws_sdk_resourcegroupstagging, RuleMode::MatchAny, none),
            LeaseTable::over(client, "the-table"),
        )
    }
}

fn refused(there: Item) -> ConditionalCheckFailedException {
    ConditionalCheckFailedException::builder().set_item(Some(there)).build()
}

fn failed(status: u16, code: &str) -> HttpResponse {
    let body = format!(r#"{{"__type": "com.amazonaws.dynamodb.v20120810#{code}", "message": "in words"}}"#);
    HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body))
}

fn plain(value: &AttributeValue) -> String {
    match value {
        AttributeValue::S(text) => text.clone(),
        AttributeValue::N(number) => number.clone(),
        other => format!("{other:?}"),
    }
}

/// A condition with the names and values in it.
fn condition(
    expression: Option<&str>,
    names: Option<&HashMap<String, String>>,
    values: Option<&HashMap<String, AttributeValue>>,
) -> String {
    let mut text = expression.unwrap_or("always").to_owned();
    for (placeholder, name) in names.into_iter().flatten() {
        assert!(text.contains(placeholder), "DynamoDB refuses a name that is not used: {placeholder}");
        text = text.replace(placeholder, name);
    }
    for (placeholder, value) in values.into_iter().flatten() {
        assert!(text.contains(placeholder), "DynamoDB refuses a value that is not used: {placeholder}");
        text = text.replace(placeholder, &plain(value));
    }
    assert!(!text.contains(['#', ':']), "{text}");
    text
}

fn describe_put(input: &PutItemInput) -> String {
    assert_eq!(input.table_name(), Some("the-table"));
    assert_eq!(input.return_values(), Some(&ReturnValue::AllOld));
    let on_failure = Some(&ReturnValuesOnConditionCheckFailure::AllOld);
    assert_eq!(input.return_values_on_condition_check_failure(), on_failure);
    let item: BTreeMap<&str, String> =
        input.item().unwrap().iter().map(|(name, value)| (name.as_str(), plain(value))).collect();
    let item: Vec<String> = item.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let condition = condition(
        input.condition_expression(),
        input.expression_attribute_names(),
        input.expression_attribute_values(),
    );
    format!("put {} if {condition}", item.join(" "))
}

fn describe_delete(input: &DeleteItemInput) -> String {
    assert_eq!(input.table_name(), Some("the-table"));
    let condition = condition(
        input.condition_expression(),
        input.expression_attribute_names(),
        input.expression_attribute_values(),
    );
    format!("delete {} if {condition}", plain(&input.key().unwrap()["name"]))
}

fn agency() -> LeaseName {
    LeaseName::Agency("222222222222".parse().unwrap())
}

fn lease<'a>(name: &'a LeaseName, holder: &'a str) -> Lease<'a> {
    Lease { name, holder, now_ms: NOW, until_ms: 61_000 }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn item(attributes: &[(&str, AttributeValue)]) -> Item {
    let name = [("name".to_owned(), text("agency#222222222222"))];
    name.into_iter().chain(attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone()))).collect()
}

/// The item of another holder.
fn held(until_ms: i64) -> Item {
    item(&[("holder", text("other")), ("until", number(until_ms)), ("intent", text(THEIRS))])
}

const MINE: &str = r#"{"mi-00000000000000001":{"set":["aaaa"]}}"#;
const THEIRS: &str = r#"{"mi-00000000000000002":{"set":["bbbb"]}}"#;
const BOTH: &str = r#"{"mi-00000000000000001":{"set":["aaaa"]},"mi-00000000000000002":{"set":["bbbb"]}}"#;
/// 30 days after the lease ends, in seconds.
const EXPIRES: i64 = 61 + 30 * 24 * 3600;

fn intent(json: &str) -> Intent {
    serde_json::from_str(json).unwrap()
}

fn put(intent: &str, condition: &str) -> String {
    format!("put expires={EXPIRES} holder=mine intent={intent} name=agency#222222222222 until=61000 if {condition}")
}

async fn take(replies: &[Reply]) -> (Result<Taken, AwsError>, Vec<String>) {
    let table = Table::answering(replies);
    let calls = table.calls();
    let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
    let taken = nodes.take(&lease(&agency(), "mine"), &intent(MINE)).await;
    (taken, table.requests())
}

#[tokio::test]
async fn a_free_lease_is_taken_with_one_call() {
    let (taken, requests) = take(&[Reply::Written(Item::new())]).await;
    assert_eq!(taken.unwrap(), Taken::Ours(Intent::default()));
    assert_eq!(requests, [put(MINE, "attribute_not_exists(name)")]);
}

#[tokio::test]
async fn a_lease_that_somebody_holds_is_busy() {
    for until_ms in [NOW, NOW + 1, NOW + 16 * 60 * 1000] {
        let (taken, requests) = take(&[Reply::Refused(held(until_ms))]).await;
        assert_eq!((taken.unwrap(), requests.len()), (Taken::Busy, 1), "until {until_ms}");
    }
}

#[tokio::test]
async fn an_item_that_went_away_in_between_is_tried_for_again() {
    let (taken, requests) = take(&[Reply::Refused(Item::new())]).await;
    assert_eq!((taken.unwrap(), requests.len()), (Taken::Busy, 1));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_of_our_own_whose_answer_was_lost_is_ours() {
    let mine = item(&[("holder", text("mine")), ("until", number(61_000)), ("intent", text(MINE))]);
    let (taken, requests) = take(&[Reply::Failed(500, "InternalServerError"), Reply::Refused(mine.clone())]).await;
    assert_eq!(taken.unwrap(), Taken::Ours(Intent::default()));
    assert_eq!(requests, vec![put(MINE, "attribute_not_exists(name)"); 2]);
    // The same while a lease that ended is taken over: what its holder left is not lost with the answer.
    let replies = [Reply::Refused(held(NOW - 1)), Reply::Failed(500, "InternalServerError"), Reply::Refused(mine)];
    assert_eq!(take(&replies).await.0.unwrap(), Taken::Ours(intent(THEIRS)));
}

#[tokio::test]
async fn a_lease_that_ended_is_taken_over_with_what_its_holder_left() {
    let (taken, requests) = take(&[Reply::Refused(held(NOW - 1)), Reply::Written(held(NOW - 1))]).await;
    assert_eq!(taken.unwrap(), Taken::Ours(intent(THEIRS)));
    let over = put(BOTH, &format!("holder = other AND until = {}", NOW - 1));
    assert_eq!(requests, [put(MINE, "attribute_not_exists(name)"), over], "with our own intent and theirs");
    let faster = item(&[("holder", text("third")), ("until", number(61_000))]);
    let (taken, _) = take(&[Reply::Refused(held(NOW - 1)), Reply::Refused(faster)]).await;
    assert_eq!(taken.unwrap(), Taken::Busy);
}

#[tokio::test]
async fn an_item_that_somebody_edited_by_hand_stops_nobody() {
    let far = NOW + 16 * 60 * 1000 + 1;
    for (there, condition, inherited) in [
        (item(&[("holder", text("x"))]), "holder = x AND attribute_not_exists(until)", ""),
        (item(&[("holder", text("x")), ("until", text("soon"))]), "holder = x AND until = soon", ""),
        (item(&[("until", number(far))]), "attribute_not_exists(holder) AND until = 961001", ""),
        (held(far), "holder = other AND until = 961001", THEIRS),
        (item(&[]), "attribute_not_exists(holder) AND attribute_not_exists(until)", ""),
        (item(&[("until", number(0)), ("intent", text("{{"))]), "attribute_not_exists(holder) AND until = 0", ""),
        (item(&[("until", number(0)), ("intent", number(7))]), "attribute_not_exists(holder) AND until = 0", ""),
        (item(&[("until", number(0)), ("intent", text("[1]"))]), "attribute_not_exists(holder) AND until = 0", ""),
    ] {
        let (taken, requests) = take(&[Reply::Refused(there.clone()), Reply::Written(there.clone())]).await;
        let (inherited, all) = if inherited.is_empty() { ("{}", MINE) } else { (inherited, BOTH) };
        assert_eq!(taken.unwrap(), Taken::Ours(intent(inherited)), "{there:?}");
        assert_eq!(requests[1], put(all, condition), "{there:?}");
    }
}

#[tokio::test]
async fn what_the_holder_declares_replaces_what_it_said() {
    let name = agency();
    for (reply, is_held) in [(Reply::Written(Item::new()), true), (Reply::Refused(held(61_000)), false)] {
        let table = Table::answering(&[reply]);
        let calls = table.calls();
        let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
        let declared = nodes.declare(&lease(&name, "mine"), &intent(BOTH)).await;
        assert_eq!(table.requests(), [put(BOTH, "holder = mine")]);
        match declared {
            Ok(()) => assert!(is_held),
            Err(error) => {
                assert!(!is_held && error.retryable, "{error}");
                assert_eq!(error.code, "ConditionalCheckFailedException");
            }
        }
    }
}

fn ended(lease: Lease<'_>) -> Lease<'_> {
    Lease { until_ms: lease.now_ms - 1, ..lease }
}

#[tokio::test]
async fn a_lease_is_given_back_by_its_holder_alone() {
    let name = agency();
    for reply in [Reply::Written(Item::new()), Reply::Refused(held(61_000)), Reply::Refused(Item::new())] {
        let table = Table::answering(&[reply]);
        let calls = table.calls();
        let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
        nodes.release(&ended(lease(&name, "mine")), &Intent::default()).await.unwrap();
        assert_eq!(table.requests(), ["delete agency#222222222222 if holder = mine"]);
    }
    let table = Table::answering(&[Reply::Written(Item::new())]);
    let calls = table.calls();
    let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
    nodes.release(&ended(lease(&name, "mine")), &intent(THEIRS)).await.unwrap();
    let kept = put(THEIRS, "holder = mine").replace("until=61000", "until=0");
    let kept = kept.replace("expires=2592061", "expires=2592000");
    assert_eq!(table.requests(), [kept], "what is unsettled stays for the next holder, who need not wait");
}

#[tokio::test]
async fn a_lease_that_ends_later_keeps_others_away_until_then() {
    let name = agency();
    let table = Table::answering(&[Reply::Written(Item::new())]);
    let calls = table.calls();
    let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
    nodes.release(&lease(&name, "mine"), &Intent::default()).await.unwrap();
    assert_eq!(table.requests(), [put("{}", "holder = mine")]);
}

#[tokio::test]
async fn the_nodes_of_a_source_are_read_as_they_are() {
    let node = "mi-0123456789abcdef0";
    let item = Item::from([("nodes".to_owned(), AttributeValue::S(format!("[\"{node}\"]")))]);
    for (there, expected) in [(item, vec![node]), (Item::new(), vec![])] {
        let table = Table::answering(&[Reply::Failed(500, "InternalServerError"), Reply::Written(there)]);
        let calls = table.calls();
        let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
        let found = nodes.arrived("a/b/c").await.unwrap();
        assert_eq!(found.iter().map(ManagedInstanceId::as_str).collect::<Vec<_>>(), expected);
        assert_eq!(table.requests(), ["get source#a/b/c consistently"; 2]);
    }
}

async fn take_slot(replies: &[Reply]) -> (Option<Rates>, Vec<String>) {
    let table = Table::answering(replies);
    let calls = table.calls();
    let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
    let taken = nodes.take_slot(&lease(&SLOT, "mine")).await.unwrap();
    (taken, table.requests())
}

#[tokio::test]
async fn a_slot_comes_with_the_rates_of_its_last_holder() {
    let rates = |json: &str| item(&[("until", number(0)), ("rates", text(json))]);
    let request = format!(
        "put expires={EXPIRES} holder=mine name=bulk#2 until=61000 if attribute_not_exists(name) OR until < 1000"
    );
    let known = Rates::from([("ssm:AddTagsToResource".to_owned(), 12.5)]);
    for (before, expected) in [
        (Item::new(), Rates::new()),
        (rates(r#"{"ssm:AddTagsToResource":12.5}"#), known.clone()),
        (rates("fast"), Rates::new()),
    ] {
        let (taken, requests) = take_slot(&[Reply::Written(before)]).await;
        assert_eq!((taken, requests), (Some(expected), vec![request.clone()]));
    }
    assert_eq!(take_slot(&[Reply::Refused(held(61_000))]).await.0, None);
    // An end that is no number is never past for DynamoDB.
    let edited = item(&[("until", text("soon"))]);
    assert!(take_slot(&[Reply::Refused(edited.clone()), Reply::Written(edited)]).await.0.is_some());

    let table = Table::answering(&[Reply::Written(Item::new())]);
    let calls = table.calls();
    let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
    nodes.release_slot(&lease(&SLOT, "mine"), &known).await.unwrap();
    let rates = json!({"ssm:AddTagsToResource": 12.5});
    let given_back = format!("put expires={EXPIRES} holder=mine name=bulk#2 rates={rates} until=0 if holder = mine");
    assert_eq!(table.requests(), [given_back]);
}

#[tokio::test]
async fn arrivals_of_a_source_are_kept_for_an_hour() {
    const SOURCE: &str = "222222222222/us-east-1/i-0abcdef0123456789";
    let (new, old) = ("mi-00000000000000001", "mi-00000000000000002");
    let put = |nodes: &str, condition: &str| {
        let expires = NOW / 1000 + 3600;
        format!("put expires={expires} name=source#{SOURCE} nodes={nodes} if {condition}(name)")
    };
    let first = || put(r#"["mi-00000000000000001"]"#, "attribute_not_exists");
    let both = put(r#"["mi-00000000000000001","mi-00000000000000002"]"#, "attribute_exists");
    let there = |nodes: &str| Reply::Refused(item(&[("nodes", text(nodes))]));
    for (replies, others, requests) in [
        (vec![Reply::Written(Item::new())], vec![], vec![first()]),
        (vec![there(r#"["mi-00000000000000002"]"#), Reply::Written(Item::new())], vec![old], vec![first(), both]),
        (vec![there(r#"["mi-00000000000000002","mi-00000000000000001"]"#)], vec![old], vec![first()]),
        (vec![there(r#"["mi-00000000000000001"]"#)], vec![], vec![first()]),
        (
            vec![there("edited"), Reply::Written(Item::new())],
            vec![],
            vec![first(), put(r#"["mi-00000000000000001"]"#, "attribute_exists")],
        ),
    ] {
        let table = Table::answering(&replies);
        let calls = table.calls();
        let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
        let found = nodes.arrive(SOURCE, &new.parse().unwrap(), NOW).await.unwrap();
        assert_eq!(found.iter().map(ManagedInstanceId::as_str).collect::<Vec<_>>(), others);
        assert_eq!(table.requests(), requests);
    }
}

async fn counted(replies: &[Reply]) -> (Result<Taken, AwsError>, CallCounts) {
    let table = Table::answering(replies);
    let calls = table.calls();
    let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
    let taken = nodes.take(&lease(&agency(), "mine"), &intent(MINE)).await;
    table.requests();
    (taken, calls.take_counts())
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_throttled_is_called_again_and_counted() {
    for code in ["ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"] {
        let replies = [Reply::Failed(400, code), Reply::Failed(400, code), Reply::Written(Item::new())];
        let (taken, counts) = counted(&replies).await;
        assert_eq!(taken.unwrap(), Taken::Ours(Intent::default()), "{code}");
        assert_eq!(counts, CallCounts { calls: 3, throttles: 2 }, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_stays_out_of_reach_is_given_up_after_seven_attempts() {
    let (taken, counts) = counted(&vec![Reply::Failed(500, "InternalServerError"); 7]).await;
    let error = taken.unwrap_err();
    assert_eq!((error.operation, error.code.as_str()), ("dynamodb:PutItem", "InternalServerError"));
    assert_eq!(counts, CallCounts { calls: 7, throttles: 0 });
}

#[tokio::test]
async fn a_table_that_refuses_us_says_so_at_once() {
    for code in ["AccessDeniedException", "ResourceNotFoundException"] {
        let (taken, counts) = counted(&[Reply::Failed(400, code)]).await;
        let error = taken.unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable, counts.calls), (code, false, 1));
        assert_eq!(error.to_string(), format!("dynamodb:PutItem failed: {code}: in words"));
    }
}
