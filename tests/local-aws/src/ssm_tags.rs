//! Systems Manager's tags on a managed node.
//!
//! Shapes: `AddTagsToResourceRequest`, `RemoveTagsFromResourceRequest`, `ListTagsForResourceRequest`.
//! What the service model says about them has been checked before; here is what only the service knows.

use serde_json::{Map, Value, json};

use crate::aws_error::AwsError;
use crate::nodes::{Nodes, Tags, is_node_id};

/// `AddTagsToResource`: at most 50 tags for each resource.
const MAX_TAGS: usize = 50;

/// An operation on the tags of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Remove,
    List,
}

impl Operation {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "AddTagsToResource" => Some(Self::Add),
            "RemoveTagsFromResource" => Some(Self::Remove),
            "ListTagsForResource" => Some(Self::List),
            _ => None,
        }
    }
}

/// Whether a request is about a managed node.
pub(crate) fn is_about_a_node(body: &Value) -> bool {
    body["ResourceType"] == "ManagedInstance"
}

/// The node that a request names; empty where it names none.
pub(crate) fn node_id(body: &Value) -> &str {
    body["ResourceId"].as_str().unwrap_or_default()
}

/// Performs a request that the model accepts. All or nothing.
///
/// # Errors
/// `InvalidResourceId` for an id of another form or of no node, `ValidationException` for a reserved
/// key, `TooManyTagsError` where the node would have more than 50.
pub(crate) fn perform(
    operation: Operation,
    nodes: &Nodes,
    account: &str,
    region: &str,
    body: &Value,
) -> Result<Value, AwsError> {
    let id = node_id(body);
    let unknown = || AwsError::new(400, "InvalidResourceId", "");
    if !is_node_id(id) {
        return Err(unknown());
    }
    match operation {
        Operation::List => {
            let tags = nodes.tags(account, region, id).ok_or_else(unknown)?;
            Ok(json!({"TagList": tag_list(&tags)}))
        }
        Operation::Add => {
            let wanted = requested(body);
            nodes.change_tags(account, region, id, |tags| add(tags, &wanted)).ok_or_else(unknown)??;
            Ok(json!({}))
        }
        Operation::Remove => {
            let keys = removed(body);
            let remove = |tags: &Tags| {
                let mut tags = tags.clone();
                tags.retain(|key, _| !keys.contains(&key.as_str()));
                Ok::<_, AwsError>(tags)
            };
            nodes.change_tags(account, region, id, remove).ok_or_else(unknown)??;
            Ok(json!({}))
        }
    }
}

/// Adds or overwrites by key; of a key that comes twice the last counts.
fn add(tags: &Tags, wanted: &[(&str, &str)]) -> Result<Tags, AwsError> {
    if wanted.iter().any(|(key, _)| key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"))) {
        let message = "aws: prefixed tag key names are not allowed for external use.";
        return Err(AwsError::new(400, "ValidationException", message));
    }
    let mut tags = tags.clone();
    tags.extend(wanted.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    if tags.len() > MAX_TAGS {
        return Err(AwsError::new(400, "TooManyTagsError", ""));
    }
    Ok(tags)
}

/// The condition keys of a request. Service authorization reference: `aws:RequestTag/…`,
/// `aws:TagKeys`, `aws:ResourceTag/…`.
pub(crate) fn condition_keys(operation: Operation, body: &Value, current: &Tags) -> Map<String, Value> {
    let mut context: Map<String, Value> =
        current.iter().map(|(key, value)| (format!("aws:ResourceTag/{key}"), json!(value))).collect();
    let keys = match operation {
        Operation::Add => {
            let wanted = requested(body);
            context.extend(wanted.iter().map(|(key, value)| (format!("aws:RequestTag/{key}"), json!(value))));
            wanted.into_iter().map(|(key, _)| key).collect()
        }
        Operation::Remove => removed(body),
        Operation::List => Vec::new(),
    };
    if !keys.is_empty() {
        context.insert("aws:TagKeys".to_owned(), json!(keys));
    }
    context
}

/// Tags as the service lists them.
pub(crate) fn tag_list(tags: &Tags) -> Value {
    tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

/// The tags of a request.
pub(crate) fn requested(body: &Value) -> Vec<(&str, &str)> {
    let tags = body["Tags"].as_array().into_iter().flatten();
    tags.filter_map(|tag| Some((tag["Key"].as_str()?, tag["Value"].as_str()?))).collect()
}

fn removed(body: &Value) -> Vec<&str> {
    body["TagKeys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::NewNode;

    const ACCOUNT: &str = "111111111111";
    const REGION: &str = "us-east-1";
    const ID: &str = "mi-0123456789abcdef0";

    fn nodes(tags: usize) -> Nodes {
        let nodes = Nodes::default();
        let tags = (0..tags).map(|index| (format!("k{index}"), String::new())).collect();
        nodes.register(ACCOUNT, REGION, NewNode { id: Some(ID.to_owned()), tags, ..NewNode::default() });
        nodes
    }

    fn run(nodes: &Nodes, operation: Operation, body: &Value) -> Result<Value, String> {
        perform(operation, nodes, ACCOUNT, REGION, body).map_err(|error| error.code)
    }

    fn tags(pairs: &[(&str, &str)]) -> Value {
        let tags: Vec<Value> = pairs.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        json!({"ResourceType": "ManagedInstance", "ResourceId": ID, "Tags": tags})
    }

    #[test]
    fn add_overwrites_and_keeps_the_rest() {
        let nodes = nodes(1);
        run(&nodes, Operation::Add, &tags(&[("k0", "new"), ("Env", "PROD")])).unwrap();
        let list = run(&nodes, Operation::List, &json!({"ResourceId": ID})).unwrap();
        let expected = json!({"TagList": [{"Key": "Env", "Value": "PROD"}, {"Key": "k0", "Value": "new"}]});
        assert_eq!(list, expected);
        run(&nodes, Operation::Remove, &json!({"ResourceId": ID, "TagKeys": ["k0", "absent"]})).unwrap();
        assert_eq!(nodes.tags(ACCOUNT, REGION, ID).unwrap().len(), 1);
    }

    #[test]
    fn an_id_of_no_node_is_refused() {
        for id in ["mi-0123456789abcdef1", "i-0123456789abcdef0", "mi-short", ""] {
            for operation in [Operation::Add, Operation::Remove, Operation::List] {
                let body = json!({"ResourceId": id, "Tags": [], "TagKeys": []});
                assert_eq!(run(&nodes(0), operation, &body), Err("InvalidResourceId".to_owned()), "{id}");
            }
        }
    }

    #[test]
    fn a_refused_request_changes_nothing() {
        let full = nodes(50);
        assert_eq!(run(&full, Operation::Add, &tags(&[("k0", "x"), ("more", "")])), Err("TooManyTagsError".to_owned()));
        assert_eq!(full.tags(ACCOUNT, REGION, ID).unwrap()["k0"], "");
        assert_eq!(run(&full, Operation::Add, &tags(&[("k0", "x")])), Ok(json!({})), "overwriting needs no room");

        let nodes = nodes(0);
        let refused = run(&nodes, Operation::Add, &tags(&[("ok", ""), ("AWS:x", "")]));
        assert_eq!(refused, Err("ValidationException".to_owned()));
        assert!(nodes.tags(ACCOUNT, REGION, ID).unwrap().is_empty());
    }

    #[test]
    fn condition_keys_name_the_tags() {
        let current = Tags::from([("Owner".to_owned(), "1".to_owned())]);
        let context = condition_keys(Operation::Add, &tags(&[("Env", "PROD")]), &current);
        let expected = json!({"aws:ResourceTag/Owner": "1", "aws:RequestTag/Env": "PROD", "aws:TagKeys": ["Env"]});
        assert_eq!(Value::Object(context), expected);
        let context = condition_keys(Operation::Remove, &json!({"TagKeys": ["Env"]}), &Tags::new());
        assert_eq!(Value::Object(context), json!({"aws:TagKeys": ["Env"]}));
    }
}
