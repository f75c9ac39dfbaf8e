//! The stand-in against what the developer guide says, with requests as the manager sends them.

use std::path::Path;

use super::*;
use crate::model::Models;

const TABLE: &str = "tag-hub-leases";

/// A table with requests checked against a model as botocore's, as far as these tests need it.
struct Service {
    tables: Tables,
}

impl Service {
    fn new() -> Self {
        let service = Self { tables: Tables::default() };
        let table = json!({
            "TableName": TABLE,
            "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "name", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        });
        service.call("CreateTable", &table).unwrap();
        service
    }

    fn call(&self, operation: &str, body: &Value) -> Result<Value, (String, String, Option<Value>)> {
        let call = Call::named("dynamodb", operation, "111111111111", "us-east-1");
        self.tables
            .perform(&call, body)
            .map_err(|refusal| (refusal.error.code, refusal.error.message, refusal.item.map(Value::Object)))
    }

    fn get(&self, name: &str) -> Value {
        self.call("GetItem", &json!({"TableName": TABLE, "Key": {"name": {"S": name}}})).unwrap()
    }

    /// The code of the refusal.
    fn code(&self, operation: &str, body: &Value) -> String {
        self.call(operation, body).unwrap_err().0
    }
}

fn lease(holder: &str, until: u64) -> Value {
    json!({"name": {"S": "agency"}, "holder": {"S": holder}, "until": {"N": until.to_string()}})
}

/// A put that takes a lease which nobody has, or which ended before `now`.
fn take(holder: &str, now: u64) -> Value {
    json!({
        "TableName": TABLE,
        "Item": lease(holder, now + 100),
        "ConditionExpression": "attribute_not_exists(#name) OR #until < :now",
        "ExpressionAttributeNames": {"#name": "name", "#until": "until"},
        "ExpressionAttributeValues": {":now": {"N": now.to_string()}},
        "ReturnValues": "ALL_OLD",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    })
}

fn release(holder: &str) -> Value {
    json!({
        "TableName": TABLE,
        "Key": {"name": {"S": "agency"}},
        "ConditionExpression": "#holder = :holder",
        "ExpressionAttributeNames": {"#holder": "holder"},
        "ExpressionAttributeValues": {":holder": {"S": holder}},
    })
}

fn conditional(expression: &str) -> Value {
    let mut body = json!({
        "TableName": TABLE,
        "Item": lease("b", 1),
        "ConditionExpression": expression,
    });
    let names: Map<String, Value> = ["name", "holder", "until", "absent"]
        .into_iter()
        .filter(|name| expression.contains(&format!("#{name}")))
        .map(|name| (format!("#{name}"), json!(name)))
        .collect();
    let values =
        [("a", json!({"S": "a"})), ("b", json!({"S": "b"})), ("ten", json!({"N": "10"})), ("nine", json!({"N": "9"}))];
    let values: Map<String, Value> = values
        .into_iter()
        .filter(|(name, _)| expression.contains(&format!(":{name}")))
        .map(|(name, value)| (format!(":{name}"), value))
        .collect();
    if !names.is_empty() {
        body["ExpressionAttributeNames"] = json!(names);
    }
    if !values.is_empty() {
        body["ExpressionAttributeValues"] = json!(values);
    }
    body
}

#[test]
fn a_lease_is_taken_held_and_given_back() {
    let service = Service::new();
    assert_eq!(service.call("PutItem", &take("a", 1_000)), Ok(json!({})), "nothing was there");
    let (code, message, there) = service.call("PutItem", &take("b", 1_050)).unwrap_err();
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("ConditionalCheckFailedException", "The conditional request failed")
    );
    assert_eq!(there, Some(lease("a", 1_100)), "ALL_OLD shows who holds it");
    assert_eq!(service.call("PutItem", &take("b", 1_101)), Ok(json!({"Attributes": lease("a", 1_100)})), "it ended");
    assert_eq!(service.code("DeleteItem", &release("a")), "ConditionalCheckFailedException");
    assert_eq!(service.get("agency"), json!({"Item": lease("b", 1_201)}), "what is refused changes nothing");
    assert_eq!(service.call("DeleteItem", &release("b")), Ok(json!({})));
    assert_eq!(service.get("agency"), json!({}));
    assert_eq!(service.code("DeleteItem", &release("b")), "ConditionalCheckFailedException", "nothing has no holder");
}

#[test]
fn without_all_old_a_failed_condition_shows_nothing() {
    let service = Service::new();
    service.call("PutItem", &take("a", 1_000)).unwrap();
    let mut body = take("b", 1_050);
    body["ReturnValuesOnConditionCheckFailure"] = json!("NONE");
    assert_eq!(service.call("PutItem", &body).unwrap_err().2, None);
}

#[test]
fn what_conditions_say() {
    for (expression, holds) in [
        ("attribute_exists(#name)", true),
        ("attribute_not_exists(#name)", false),
        ("attribute_not_exists(#absent)", true),
        ("#holder = :a", true),
        ("#holder = :b", false),
        ("#holder = :ten", false),
        ("#absent = :a", false),
        ("NOT #absent = :a", true),
        ("#until > :nine", true),
        ("#until >= :ten", true),
        ("#until <= :ten", true),
        ("#until < :ten", false),
        ("#until < :a", false),
        (":nine < #until", true),
        ("#holder = :b OR #until = :ten", true),
        ("#holder = :b AND #until = :ten", false),
        ("#holder = :a OR #holder = :b AND #until < :nine", true),
        ("(#holder = :a OR #holder = :b) AND #until < :nine", false),
        ("not (#holder = :b) and attribute_exists ( #until )", true),
    ] {
        let service = Service::new();
        service.call("PutItem", &json!({"TableName": TABLE, "Item": lease("a", 10)})).unwrap();
        let done = service.call("PutItem", &conditional(expression)).map_err(|refusal| refusal.0);
        let expected = if holds { Ok(json!({})) } else { Err("ConditionalCheckFailedException".to_owned()) };
        assert_eq!(done, expected, "{expression}");
    }
}

#[test]
fn what_is_not_known_is_refused_and_changes_nothing() {
    for expression in [
        "begins_with(#holder, :a)",
        "#holder <> :a",
        "#until BETWEEN :nine AND :ten",
        "#holder IN (:a, :b)",
        "attribute_exists(name)",
        "attribute_exists(#name.holder)",
        "attribute_exists(#name[0])",
    ] {
        let service = Service::new();
        assert_eq!(service.code("PutItem", &conditional(expression)), "UnknownOperationException", "{expression}");
        assert_eq!(service.get("agency"), json!({}), "{expression}");
    }
    let service = Service::new();
    for (operation, member) in [("PutItem", "Expected"), ("GetItem", "ProjectionExpression"), ("UpdateItem", "Key")] {
        let body = json!({"TableName": TABLE, "Item": lease("a", 1), "Key": {"name": {"S": "x"}}, member: {}});
        assert_eq!(service.code(operation, &body), "UnknownOperationException", "{operation}");
    }
}

#[test]
fn what_dynamodb_refuses() {
    let service = Service::new();
    let put = |item: Value| json!({"TableName": TABLE, "Item": item});
    for (body, message) in [
        (conditional("#holder = "), "Syntax error"),
        (conditional("attribute_exists(#name"), "Syntax error"),
        (conditional("#holder = :a :b"), "Syntax error"),
        (
            conditional("#holder = :missing"),
            "attribute value used in expression is not defined; attribute value: :missing",
        ),
        (conditional("attribute_exists(#other)"), "is not defined; attribute name: #other"),
        (put(json!({"holder": {"S": "a"}})), "Missing the key name in the item"),
        (put(json!({"name": {"N": "1"}})), "Type mismatch for key name expected: S actual: N"),
        (put(json!({"name": {"S": "a"}, "x": {}})), "Supplied AttributeValue is empty"),
        (put(json!({"name": {"S": "a"}, "x": {"S": "", "N": "1"}})), "has more than one datatypes set"),
        (put(json!({"name": {"S": "a"}, "x": {"N": "ten"}})), "cannot be converted to a numeric value: ten"),
        (put(json!({"name": {"S": "a"}, "x": {"N": "NaN"}})), "cannot be converted to a numeric value: NaN"),
        (put(json!({"name": {"S": "a"}, "x": {"S": "x".repeat(MAX_ITEM_BYTES)}})), "exceeded the maximum allowed size"),
    ] {
        let (code, actual, _) = service.call("PutItem", &body).unwrap_err();
        assert_eq!(code, "ValidationException", "{actual}");
        assert!(actual.contains(message), "{actual}");
    }
    let mut unused = take("a", 1);
    unused["ExpressionAttributeNames"]["#more"] = json!("more");
    assert!(service.call("PutItem", &unused).unwrap_err().1.contains("unused in expressions: keys: {#more}"));
    let mut bare = put(lease("a", 1));
    bare["ExpressionAttributeValues"] = json!({":a": {"S": "a"}});
    assert!(service.call("PutItem", &bare).unwrap_err().1.contains("ConditionExpression is null"));
    let mut new = put(lease("a", 1));
    new["ReturnValues"] = json!("ALL_NEW");
    assert_eq!(service.call("PutItem", &new).unwrap_err().1, "ReturnValues can only be ALL_OLD or NONE");
    for key in [json!({}), json!({"other": {"S": "a"}}), json!({"name": {"N": "1"}}), json!({"name": {"S": ""}})] {
        assert_eq!(service.code("GetItem", &json!({"TableName": TABLE, "Key": key})), "ValidationException", "{key}");
    }
    assert_eq!(service.code("GetItem", &json!({"TableName": "other"})), "ResourceNotFoundException");
}

#[test]
fn tables_of_other_accounts_and_regions_are_others() {
    let service = Service::new();
    service.call("PutItem", &take("a", 1)).unwrap();
    for (account, region) in [("222222222222", "us-east-1"), ("111111111111", "eu-west-1")] {
        let call = Call::named("dynamodb", "GetItem", account, region);
        let refusal = service.tables.perform(&call, &json!({"TableName": TABLE, "Key": {"name": {"S": "agency"}}}));
        assert_eq!(refusal.unwrap_err().error.code, "ResourceNotFoundException");
    }
}

/// With botocore's own model, where the tests' interpreter is known.
#[test]
fn requests_are_checked_against_the_service_model() {
    let Some(python) = std::env::var_os("LOCAL_AWS_PYTHON") else { return };
    let model = Models::new(crate::process::botocore_data(Path::new(&python)).unwrap()).get("dynamodb").unwrap();
    let service = Service::new();
    let call = Call::named("dynamodb", "PutItem", "111111111111", "us-east-1");
    let reply = |body: &Value| {
        let reply = serve(&service.tables, &model, &call, body);
        (reply.status().as_u16(), serde_json::from_slice::<Value>(reply.body()).unwrap())
    };
    assert_eq!(reply(&take("a", 1_000)), (200, json!({})));
    let (status, body) = reply(&take("b", 1_050));
    assert_eq!((status, &body["__type"]), (400, &json!("ConditionalCheckFailedException")));
    assert_eq!(body["Item"], lease("a", 1_100));
    let (_, body) = reply(&json!({"TableName": TABLE, "Item": {"name": {"S": 1}}}));
    assert_eq!(body["__type"], "SerializationException");
    let (_, body) = reply(&json!({"TableName": TABLE}));
    assert_eq!(body["__type"], "ValidationException");
    let (_, body) = reply(&json!({"TableName": TABLE, "Item": lease("a", 1), "ReturnValues": "EVERYTHING"}));
    assert!(body["message"].as_str().unwrap().contains("enum value set"), "{body}");
}
