//! Leases in a DynamoDB table.
//!
//! Beside the leases, an item `source#<source>` says for an hour which nodes were linked to an EC2 instance.
//!
//! One item for each lease: `name`, `holder`, `until` (milliseconds since the Unix epoch), `intent` (JSON), `rates`
//! (JSON, on slots alone) and `expires` (seconds since the Unix epoch, for the table's time to live). An item counts as
//! free once its `until` is past, whether DynamoDB has deleted it or not. Time to live only clears up after agencies
//! that never report again.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use hub::{AwsError, ManagedInstanceId};
use lambda_kit::CallCounts;
use tokio::time::sleep;

use super::ManagedNodes;
use crate::plan::Intent;
use crate::ports::{Lease, LeaseName, Leases, Rates, Taken};

const GET: &str = "dynamodb:GetItem";
const PUT: &str = "dynamodb:PutItem";
const DELETE: &str = "dynamodb:DeleteItem";
const CONDITION_FAILED: &str = "ConditionalCheckFailedException";
/// DynamoDB answers within milliseconds: what takes longer is lost.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a call is tried. Nodes are deferred after that: the next report brings them again.
const MAX_ATTEMPTS: u32 = 7;
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// No function of Lambda runs longer than 15 minutes, so that an `until` further away is none that the hub wrote.
const LONGEST_MS: i64 = 16 * 60 * 1000;
/// How long after its end DynamoDB may delete an item. It may hold what a writer that died left half-done.
const KEEP_SECONDS: i64 = 30 * 24 * 3600;

/// How long it is kept which nodes were linked to a source: longer than any bulk read is behind.
const KEEP_ARRIVAL_SECONDS: i64 = 3600;
/// How many nodes of one source are kept, the latest ones. Nobody registers an instance more often within the hour.
const ARRIVALS_MAX: usize = 20;

type Item = HashMap<String, AttributeValue>;

/// The table of leases.
#[derive(Debug)]
pub struct LeaseTable {
    client: Client,
    name: String,
    counts: Cell<CallCounts>,
}

/// What came of a conditional put.
enum Put {
    /// It is written; the item that was there before, if it was asked for.
    Done(Option<Item>),
    /// The condition did not hold; the item that is there.
    Refused(Item),
}

/// A condition with the names and values that it mentions.
struct Condition {
    expression: String,
    values: Vec<(&'static str, AttributeValue)>,
}

impl LeaseTable {
    /// The table of this name.
    pub fn new(sdk: &aws_config::SdkConfig, name: &str) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let config = aws_sdk_dynamodb::config::Builder::from(sdk).timeout_config(timeouts).build();
        Self::over(Client::from_conf(config), name)
    }

    /// The table of this name, over a client that is there already.
    pub fn over(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned(), counts: Cell::default() }
    }

    pub(super) fn take_counts(&self) -> CallCounts {
        self.counts.take()
    }

    /// Takes a lease: the item that was there before if it is ours now, or nothing if somebody else holds it.
    async fn acquire(&self, lease: &Lease<'_>, item: &Item, condition: Condition) -> Result<Option<Item>, AwsError> {
        let there = match self.put(item.clone(), condition).await? {
            Put::Done(before) => return Ok(Some(before.unwrap_or_default())),
            Put::Refused(there) => there,
        };
        if text(&there, "holder") == Some(lease.holder) {
            // An attempt whose answer was lost.
            return Ok(Some(Item::new()));
        }
        if there.is_empty() || is_held(&there, lease.now_ms) {
            return Ok(None);
        }
        if number(&there, "until").is_none() {
            tracing::warn!(lease = %lease.name, "lease without a readable end taken over");
        }
        let mut item = item.clone();
        if let Some(intent) = item.get("intent").and_then(|intent| intent.as_s().ok()) {
            // The holder finds out by the same sizes whether it was declared.
            let mut all = intent_of(&there);
            let ours: Intent = serde_json::from_str(intent).unwrap_or_default();
            if all.size_bytes() + ours.size_bytes() <= Intent::BYTES_MAX {
                all.merge(ours);
            }
            item.insert("intent".to_owned(), json(&all));
        }
        match self.put(item, Condition::is_still(&there)).await? {
            Put::Done(_) => Ok(Some(there)),
            // An attempt of ours whose answer was lost, or somebody who was faster.
            Put::Refused(now_there) => Ok((text(&now_there, "holder") == Some(lease.holder)).then_some(there)),
        }
    }

    async fn put(&self, item: Item, condition: Condition) -> Result<Put, AwsError> {
        let mut request = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .condition_expression(&condition.expression);
        for name in ["name", "holder", "until"].into_iter().filter(|name| condition.mentions(name)) {
            request = request.expression_attribute_names(format!("#{name}"), name);
        }
        for (name, value) in condition.values {
            request = request.expression_attribute_values(format!(":{name}"), value);
        }
        self.retrying(async || match request.clone().send().await {
            Ok(output) => Ok(Put::Done(output.attributes)),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Put::Refused(failed.item.clone().unwrap_or_default()))
                }
                _ => Err(AwsError::from_sdk(PUT, &error)),
            },
        })
        .await
    }

    /// An item as it is now; without attributes if it is not there.
    async fn get(&self, name: &str) -> Result<Item, AwsError> {
        let request = self.client.get_item().table_name(&self.name).key("name", string(name)).consistent_read(true);
        self.retrying(async || match request.clone().send().await {
            Ok(output) => Ok(output.item.unwrap_or_default()),
            Err(error) => Err(AwsError::from_sdk(GET, &error)),
        })
        .await
    }

    async fn delete(&self, lease: &Lease<'_>) -> Result<(), AwsError> {
        let request = self
            .client
            .delete_item()
            .table_name(&self.name)
            .key("name", string(&lease.name.to_string()))
            .condition_expression("#holder = :holder")
            .expression_attribute_names("#holder", "holder")
            .expression_attribute_values(":holder", string(lease.holder));
        self.retrying(async || match request.clone().send().await {
            Ok(_) => Ok(()),
            Err(error) => match AwsError::from_sdk(DELETE, &error) {
                // An attempt whose answer was lost did it.
                error if error.code == CONDITION_FAILED => Ok(()),
                error => Err(error),
            },
        })
        .await
    }

    async fn retrying<T>(&self, call: impl AsyncFn() -> Result<T, AwsError>) -> Result<T, AwsError> {
        let mut wait = FIRST_WAIT;
        let mut attempts = 1;
        loop {
            self.counts.update(|counts| CallCounts { calls: counts.calls + 1, ..counts });
            let error = match call().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if error.is_throttling() {
                self.counts.update(|counts| CallCounts { throttles: counts.throttles + 1, ..counts });
            }
            if !error.retryable || attempts == MAX_ATTEMPTS {
                return Err(error);
            }
            attempts += 1;
            sleep(wait).await;
            wait *= 2;
        }
    }
}

impl Leases for ManagedNodes<'_> {
    async fn take(&self, lease: &Lease<'_>, intent: &Intent) -> Result<Taken, AwsError> {
        let item = item(lease, lease.until_ms, Some(intent));
        let before = self.calls.leases.acquire(lease, &item, Condition::is_absent()).await?;
        Ok(before.map_or(Taken::Busy, |before| Taken::Ours(intent_of(&before))))
    }

    async fn declare(&self, lease: &Lease<'_>, intent: &Intent) -> Result<(), AwsError> {
        let item = item(lease, lease.until_ms, Some(intent));
        self.calls.leases.put(item, Condition::is_held_by(lease)).await.and_then(held)
    }

    async fn release(&self, lease: &Lease<'_>, unsettled: &Intent) -> Result<(), AwsError> {
        let ends_now = lease.until_ms < lease.now_ms;
        if unsettled.is_empty() && ends_now {
            return self.calls.leases.delete(lease).await;
        }
        let item = item(lease, if ends_now { 0 } else { lease.until_ms }, Some(unsettled));
        self.calls.leases.put(item, Condition::is_held_by(lease)).await.and_then(held)
    }

    async fn left_behind(&self, lease: &LeaseName, now_ms: i64) -> Result<Intent, AwsError> {
        let there = self.calls.leases.get(&lease.to_string()).await?;
        Ok(if is_held(&there, now_ms) { Intent::default() } else { intent_of(&there) })
    }

    async fn arrive(
        &self,
        source: &str,
        node: &ManagedInstanceId,
        now_ms: i64,
    ) -> Result<Vec<ManagedInstanceId>, AwsError> {
        let item = |nodes: &[ManagedInstanceId]| {
            let expires = now_ms / 1000 + KEEP_ARRIVAL_SECONDS;
            Item::from([
                ("name".to_owned(), string(&format!("source#{source}"))),
                ("nodes".to_owned(), json(&nodes)),
                ("expires".to_owned(), AttributeValue::N(expires.to_string())),
            ])
        };
        let mut nodes = vec![node.clone()];
        let Put::Refused(there) = self.calls.leases.put(item(&nodes), Condition::is_absent()).await? else {
            return Ok(Vec::new());
        };
        let others: Vec<ManagedInstanceId> = nodes_of(&there).into_iter().filter(|other| other != node).collect();
        if text(&there, "nodes").is_none_or(|nodes| !nodes.contains(node.as_str())) {
            nodes.extend(others.iter().cloned());
            nodes.truncate(ARRIVALS_MAX);
            // The lease keeps others away, so nobody changed the item meanwhile.
            self.calls.leases.put(item(&nodes), Condition::is_present()).await?;
        }
        Ok(others)
    }

    async fn arrived(&self, source: &str) -> Result<Vec<ManagedInstanceId>, AwsError> {
        Ok(nodes_of(&self.calls.leases.get(&format!("source#{source}")).await?))
    }

    async fn take_slot(&self, slot: &Lease<'_>) -> Result<Option<Rates>, AwsError> {
        let item = item(slot, slot.until_ms, None);
        let before = self.calls.leases.acquire(slot, &item, Condition::is_free(slot)).await?;
        Ok(before.map(|before| {
            text(&before, "rates").and_then(|rates| serde_json::from_str(rates).ok()).unwrap_or_default()
        }))
    }

    async fn release_slot(&self, slot: &Lease<'_>, rates: &Rates) -> Result<(), AwsError> {
        let mut item = item(slot, 0, None);
        item.insert("rates".to_owned(), json(rates));
        self.calls.leases.put(item, Condition::is_held_by(slot)).await.and_then(held)
    }
}

impl Condition {
    /// Nobody holds the lease, or ever did since it was last given back.
    fn is_absent() -> Self {
        Self { expression: "attribute_not_exists(#name)".to_owned(), values: Vec::new() }
    }

    /// As above, or the lease has ended.
    fn is_free(lease: &Lease<'_>) -> Self {
        Self {
            expression: "attribute_not_exists(#name) OR #until < :until".to_owned(),
            values: vec![("until", AttributeValue::N(lease.now_ms.to_string()))],
        }
    }

    fn is_present() -> Self {
        Self { expression: "attribute_exists(#name)".to_owned(), values: Vec::new() }
    }

    fn is_held_by(lease: &Lease<'_>) -> Self {
        Self { expression: "#holder = :holder".to_owned(), values: vec![("holder", string(lease.holder))] }
    }

    /// Nobody changed the item since it was read, whatever is in it.
    fn is_still(item: &Item) -> Self {
        let mut terms = Vec::new();
        let mut values = Vec::new();
        for name in ["holder", "until"] {
            match item.get(name) {
                Some(value) => {
                    terms.push(format!("#{name} = :{name}"));
                    values.push((name, value.clone()));
                }
                None => terms.push(format!("attribute_not_exists(#{name})")),
            }
        }
        Self { expression: terms.join(" AND "), values }
    }

    fn mentions(&self, name: &str) -> bool {
        self.expression.contains(&format!("#{name}"))
    }
}

fn item(lease: &Lease<'_>, until_ms: i64, intent: Option<&Intent>) -> Item {
    let expires = lease.until_ms / 1000 + KEEP_SECONDS;
    let mut item = Item::from([
        ("name".to_owned(), string(&lease.name.to_string())),
        ("holder".to_owned(), string(lease.holder)),
        ("until".to_owned(), AttributeValue::N(until_ms.to_string())),
        ("expires".to_owned(), AttributeValue::N(expires.to_string())),
    ]);
    if let Some(intent) = intent {
        item.insert("intent".to_owned(), json(intent));
    }
    item
}

/// True for the item of a lease that has not ended.
fn is_held(item: &Item, now_ms: i64) -> bool {
    number(item, "until").is_some_and(|until| (now_ms..=now_ms + LONGEST_MS).contains(&until))
}

/// The nodes of an item about a source.
fn nodes_of(item: &Item) -> Vec<ManagedInstanceId> {
    text(item, "nodes").and_then(|nodes| serde_json::from_str(nodes).ok()).unwrap_or_default()
}

/// What a holder was about to do. What cannot be read was not written by the hub.
fn intent_of(item: &Item) -> Intent {
    let Some(intent) = text(item, "intent") else { return Intent::default() };
    serde_json::from_str(intent).unwrap_or_else(|_| {
        tracing::warn!(lease = text(item, "name"), "intent of a lease cannot be read");
        Intent::default()
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it ends a chain of calls")]
fn held(put: Put) -> Result<(), AwsError> {
    match put {
        Put::Done(_) => Ok(()),
        Put::Refused(_) => Err(AwsError {
            operation: PUT,
            code: CONDITION_FAILED.to_owned(),
            message: "the lease is not held any more".to_owned(),
            request_id: None,
            retryable: true,
        }),
    }
}

fn string(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn json(value: &impl serde::Serialize) -> AttributeValue {
    // Maps with keys of text always have a JSON form.
    AttributeValue::S(serde_json::to_string(value).unwrap_or_default())
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}
