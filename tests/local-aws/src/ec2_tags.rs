//! EC2 `CreateTags` and `DeleteTags` on instances, for the exact ARN of each.
//!
//! `MiniStack` evaluates both against `*`, so a policy on `instance/*`, or one that lets an instance tag
//! itself alone, would never allow them. What the edge allows is passed on as the root of the account.

use bytes::Bytes;
use http::{Request, header};
use serde_json::{Map, Value, json};

use crate::access::{self, Question};
use crate::aws_error::AwsError;
use crate::call::{Call, form_pairs};
use crate::reply::Reply;
use crate::sign::{Credentials, signed};
use crate::upstream::Upstream;

/// The instances of a request; `None` where it is about something else, or not only about instances.
pub(crate) fn instances(operation: &str, form: &str) -> Option<Vec<String>> {
    if !["CreateTags", "DeleteTags"].contains(&operation) {
        return None;
    }
    let ids: Vec<String> =
        form_pairs(form).filter(|(name, _)| name.starts_with("ResourceId")).map(|(_, value)| value).collect();
    (!ids.is_empty() && ids.iter().all(|id| id.starts_with("i-"))).then_some(ids)
}

/// Service authorization reference: `aws:RequestTag/…`, `aws:TagKeys`. The instance that is calling is a property of its
/// credentials.
fn condition_keys(form: &str) -> Map<String, Value> {
    let pairs: Vec<(String, String)> = form_pairs(form).collect();
    let mut context = Map::new();
    let mut keys = Vec::new();
    for (name, key) in &pairs {
        let Some(tag) = name.strip_prefix("Tag.").and_then(|rest| rest.strip_suffix(".Key")) else { continue };
        let value = pairs.iter().find(|(name, _)| *name == format!("Tag.{tag}.Value"));
        if let Some((_, value)) = value {
            context.insert(format!("aws:RequestTag/{key}"), json!(value));
        }
        keys.push(key);
    }
    if !keys.is_empty() {
        context.insert("aws:TagKeys".to_owned(), json!(keys));
    }
    context
}

/// The same with `ec2:InstanceID`, the instance that the call is about. With it as a variable, a policy lets an instance
/// tag itself alone.
fn context_of(condition_keys: &Map<String, Value>, instance_id: &str) -> Map<String, Value> {
    let mut context = condition_keys.clone();
    context.insert("ec2:InstanceID".to_owned(), json!(instance_id));
    context
}

/// Performs a request of a principal that is not the root.
pub(crate) async fn perform(
    upstream: &Upstream,
    call: &Call,
    ids: &[String],
    request: Request<Bytes>,
) -> anyhow::Result<Result<Reply, AwsError>> {
    let context = condition_keys(&String::from_utf8_lossy(request.body()));
    let action = format!("ec2:{}", call.operation());
    for id in ids {
        let resource = format!("arn:aws:ec2:{}:{}:instance/{id}", call.region, call.account);
        let question = Question {
            access_key: call.access_key.clone(),
            region: call.region.clone(),
            action: action.clone(),
            resource: resource.clone(),
            context: context_of(&context, id),
            policy: None,
        };
        // A key that nobody was given is for MiniStack to refuse.
        let Ok(decision) = upstream.access.decide(&question).await else {
            return Ok(Ok(upstream.forward.send(request).await?));
        };
        if let Some(denial) = access::denial(&decision, &action, &resource) {
            let message = format!("You are not authorized to perform this operation. {denial}");
            return Ok(Err(AwsError::new(403, "UnauthorizedOperation", message)));
        }
    }
    let reply = upstream.forward.send(request.clone()).await?;
    if !String::from_utf8_lossy(reply.body()).contains("<Code>UnauthorizedOperation</Code>") {
        return Ok(Ok(reply));
    }
    let again = Request::builder().method("POST").uri("/");
    let kind = header::HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
    let again = again.header(header::CONTENT_TYPE, kind).body(request.into_body())?;
    let again = signed(again, upstream.host(), "ec2", &call.region, &Credentials::root(&call.account))?;
    Ok(Ok(upstream.forward.send(again).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_alone() {
        let form = "Action=CreateTags&ResourceId.1=i-1&ResourceId.2=i-2&Tag.1.Key=k&Tag.1.Value=a%20b";
        assert_eq!(instances("CreateTags", form), Some(vec!["i-1".to_owned(), "i-2".to_owned()]));
        assert_eq!(instances("DescribeTags", form), None);
        assert_eq!(instances("CreateTags", "ResourceId.1=i-1&ResourceId.2=vol-1"), None);
        let expected = json!({"aws:RequestTag/k": "a b", "aws:TagKeys": ["k"]});
        assert_eq!(Value::Object(condition_keys(form)), expected);
    }
}
