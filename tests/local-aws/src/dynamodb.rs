//! DynamoDB without `MiniStack`: tables with one key, and single items that are read, put and deleted.
//!
//! Shapes: `CreateTableInput`, `GetItemInput`, `PutItemInput`, `DeleteItemInput`. What the service model says about
//! them is checked first. What is not known here is refused in words and never guessed.
#![expect(clippy::result_large_err, reason = "a refusal carries the item, and there is one in a request")]

mod condition;
mod value;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::aws_error::AwsError;
use crate::call::Call;
use crate::model::Model;
use crate::reply::{self, Protocol, Reply};
use crate::validate;
use condition::Condition;

pub(crate) type Item = Map<String, Value>;

/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>: names and values count.
const MAX_ITEM_BYTES: usize = 400 * 1024;

/// The tables of every account and Region.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    tables: Mutex<HashMap<(String, String, String), Table>>,
}

#[derive(Debug)]
struct Table {
    key: String,
    /// `S`, `N` or `B`.
    key_type: String,
    items: BTreeMap<String, Item>,
}

/// Why a request is refused, and the item that stood in its way if that was asked for.
#[derive(Debug)]
struct Refusal {
    error: AwsError,
    item: Option<Item>,
}

impl From<AwsError> for Refusal {
    fn from(error: AwsError) -> Self {
        Self { error, item: None }
    }
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "ValidationException", message)
}

fn unknown(what: &str) -> AwsError {
    AwsError::new(400, "UnknownOperationException", format!("{what} is not known to DynamoDB without MiniStack"))
}

/// Performs a request.
pub(crate) fn serve(tables: &Tables, model: &Model, call: &Call, body: &Value) -> Reply {
    let done =
        validate::input(model, call.operation(), body).map_err(Refusal::from).and_then(|()| tables.perform(call, body));
    match done {
        Ok(answer) => reply::json_body(&answer),
        Err(Refusal { error, item }) => {
            reply::error_with(Protocol::Json, &error, item.map(|item| ("Item", json!(item))))
        }
    }
}

impl Tables {
    fn perform(&self, call: &Call, body: &Value) -> Result<Value, Refusal> {
        let name = body["TableName"].as_str().unwrap_or_default().to_owned();
        let at = (call.account.clone(), call.region.clone(), name);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if call.operation() == "CreateTable" {
            if tables.contains_key(&at) {
                let message = format!("Table already exists: {}", at.2);
                return Err(AwsError::new(400, "ResourceInUseException", message).into());
            }
            let table = Table::create(body)?;
            let answer = json!({"TableDescription": {"TableName": at.2, "TableStatus": "ACTIVE"}});
            tables.insert(at, table);
            return Ok(answer);
        }
        let table = tables.get_mut(&at);
        let missing = || AwsError::new(400, "ResourceNotFoundException", "Requested resource not found");
        let table = table.ok_or_else(missing)?;
        match call.operation() {
            "GetItem" => Ok(table.get(body)?),
            "PutItem" => table.put(body),
            "DeleteItem" => table.delete(body),
            other => Err(unknown(other).into()),
        }
    }
}

impl Table {
    fn create(body: &Value) -> Result<Self, AwsError> {
        known_only(
            body,
            &["TableName", "KeySchema", "AttributeDefinitions", "BillingMode", "SSESpecification", "Tags"],
        )?;
        let (schema, definitions) = (list(&body["KeySchema"]), list(&body["AttributeDefinitions"]));
        let ([key], [definition]) = (schema, definitions) else {
            return Err(unknown("a table with more than one key"));
        };
        if key["KeyType"] != "HASH" || key["AttributeName"] != definition["AttributeName"] {
            return Err(invalid("Invalid KeySchema: Some index key attribute have no definition"));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (key, key_type) = (text(&key["AttributeName"]), text(&definition["AttributeType"]));
        Ok(Self { key, key_type, items: BTreeMap::new() })
    }

    fn get(&self, body: &Value) -> Result<Value, AwsError> {
        known_only(body, &["TableName", "Key", "ConsistentRead", "ReturnConsumedCapacity"])?;
        let found = self.items.get(&self.key_of_request(body)?);
        Ok(found.map_or_else(|| json!({}), |item| json!({"Item": item})))
    }

    fn put(&mut self, body: &Value) -> Result<Value, Refusal> {
        known_only(body, &[&WRITE_MEMBERS[..], &["Item"]].concat())?;
        let item = object(&body["Item"]);
        for attribute in item.values() {
            value::check(attribute)?;
        }
        let Some(key) = item.get(&self.key) else {
            let message =
                format!("One or more parameter values were invalid: Missing the key {} in the item", self.key);
            return Err(invalid(message).into());
        };
        let key = self.key_text(key).map_err(|actual| {
            let Self { key, key_type, .. } = self;
            invalid(format!(
                "One or more parameter values were invalid: Type mismatch for key {key} expected: {key_type} actual: {actual}"
            ))
        })?;
        if item.iter().map(|(name, attribute)| name.len() + value::size(attribute)).sum::<usize>() > MAX_ITEM_BYTES {
            return Err(invalid("Item size has exceeded the maximum allowed size").into());
        }
        self.write(body, key, Some(item))
    }

    fn delete(&mut self, body: &Value) -> Result<Value, Refusal> {
        known_only(body, &[&WRITE_MEMBERS[..], &["Key"]].concat())?;
        let key = self.key_of_request(body)?;
        self.write(body, key, None)
    }

    /// Puts or deletes an item, if its condition holds for what is there.
    fn write(&mut self, body: &Value, key: String, item: Option<Item>) -> Result<Value, Refusal> {
        let wants_old = match body["ReturnValues"].as_str() {
            None | Some("NONE") => false,
            Some("ALL_OLD") => true,
            Some(_) => return Err(invalid("ReturnValues can only be ALL_OLD or NONE").into()),
        };
        let there = self.items.get(&key);
        if let Some(condition) = Condition::of_request(body)?
            && !condition.holds(there)?
        {
            let item = there.filter(|_| body["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD").cloned();
            let error = AwsError::new(400, "ConditionalCheckFailedException", "The conditional request failed");
            return Err(Refusal { error, item });
        }
        let before = match item {
            Some(item) => self.items.insert(key, item),
            None => self.items.remove(&key),
        };
        Ok(before.filter(|_| wants_old).map_or_else(|| json!({}), |before| json!({"Attributes": before})))
    }

    fn key_of_request(&self, body: &Value) -> Result<String, AwsError> {
        let key = object(&body["Key"]);
        for attribute in key.values() {
            value::check(attribute)?;
        }
        let mismatch = || invalid("The provided key element does not match the schema");
        match key.get(&self.key) {
            Some(attribute) if key.len() == 1 => self.key_text(attribute).map_err(|_| mismatch()),
            _ => Err(mismatch()),
        }
        .and_then(|text| {
            let empty = format!(
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an \
                 empty string value. Key: {}",
                self.key
            );
            if text.is_empty() { Err(invalid(empty)) } else { Ok(text) }
        })
    }

    /// A key as text, or the type that it has instead of the right one.
    fn key_text(&self, attribute: &Value) -> Result<String, String> {
        let (kind, content) = value::parts(attribute).unwrap_or_default();
        if kind == self.key_type { Ok(content.as_str().unwrap_or_default().to_owned()) } else { Err(kind.to_owned()) }
    }
}

/// What a conditional write may have here.
const WRITE_MEMBERS: [&str; 7] = [
    "TableName",
    "ConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnValues",
    "ReturnValuesOnConditionCheckFailure",
    "ReturnConsumedCapacity",
];

fn known_only(body: &Value, known: &[&str]) -> Result<(), AwsError> {
    let stranger = body.as_object().into_iter().flatten().find(|(name, _)| !known.contains(&name.as_str()));
    stranger.map_or(Ok(()), |(name, _)| Err(unknown(name)))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn object(value: &Value) -> Item {
    value.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests;
