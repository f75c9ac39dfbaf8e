//! Stand-ins for `MiniStack` where it does not run: an EC2 fleet of any size, and functions that the
//! caller serves.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::aws_error::AwsError;
use crate::call::{Call, form_value};
use crate::forward::Forward;
use crate::invoke::Target;
use crate::reply::{self, Reply};
use crate::xml::escape;

/// An EC2 instance as `DescribeInstances` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `i-` and 17 hexadecimal digits.
    pub id: String,
    /// `pending`, `running`, `shutting-down`, `terminated`, `stopping` or `stopped`.
    pub state: String,
    pub tags: Vec<(String, String)>,
}

/// A fleet whose instances are made when they are asked for. Every account and Region has the same one.
#[derive(Clone)]
pub struct Fleet {
    size: usize,
    instance: Arc<dyn Fn(usize) -> Instance + Send + Sync>,
}

impl Fleet {
    /// `size` instances, made from their index. The same index has to give the same instance.
    pub fn new(size: usize, instance: impl Fn(usize) -> Instance + Send + Sync + 'static) -> Self {
        Self { size, instance: Arc::new(instance) }
    }
}

impl From<Vec<Instance>> for Fleet {
    fn from(instances: Vec<Instance>) -> Self {
        let size = instances.len();
        Self::new(size, move |index| instances[index].clone())
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fleet").field("size", &self.size).finish_non_exhaustive()
    }
}

/// An invocation that a caller's function is asked to perform.
#[derive(Debug, Clone)]
pub struct Invoked {
    /// The account that called.
    pub caller: String,
    /// The ARN with its qualifier, or the name where that is what was called.
    pub function: String,
    pub payload: Bytes,
}

/// A caller's function: the payload of its answer, or the message of a function error.
pub type Invoker = Arc<dyn Fn(Invoked) -> Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>> + Send + Sync>;

/// Who performs invocations.
#[derive(Clone)]
pub enum Functions {
    Call(Invoker),
    /// `host:port` of a Lambda Runtime Interface Emulator.
    Emulator(String),
}

impl fmt::Debug for Functions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(_) => formatter.write_str("Call"),
            Self::Emulator(authority) => formatter.debug_tuple("Emulator").field(authority).finish(),
        }
    }
}

/// What there is without `MiniStack`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Synthetic {
    pub(crate) fleet: Option<Fleet>,
    pub(crate) functions: Option<Functions>,
}

impl Synthetic {
    pub(crate) async fn answer(&self, call: &Call, request: &Request<Bytes>) -> Result<Reply, AwsError> {
        match (call.name.as_str(), &self.fleet, &self.functions) {
            ("ec2:DescribeInstances", Some(fleet), _) => {
                let form = String::from_utf8_lossy(request.body());
                describe_instances(fleet, &call.account, &form)
            }
            ("lambda:Invoke", _, Some(functions)) => Ok(invoke(functions.clone(), call, request).await?),
            _ => {
                let message = format!("{} is not there without MiniStack", call.name);
                Err(AwsError::new(400, "UnknownOperationException", message))
            }
        }
    }
}

/// Shapes: `DescribeInstancesRequest`, `Reservation`. Filters: `instance-state-name`, `tag-key`, `tag:KEY`.
fn describe_instances(fleet: &Fleet, owner: &str, form: &str) -> Result<Reply, AwsError> {
    let number = |name: &str| form_value(form, name).map(|text| text.parse::<usize>()).transpose();
    let wrong = |name: &str| AwsError::new(400, "InvalidParameterValue", format!("Value for {name} is invalid."));
    let ids = values(form, "InstanceId");
    let limit = number("MaxResults").map_err(|_| wrong("MaxResults"))?;
    if limit.is_some_and(|limit| !(5..=1000).contains(&limit)) {
        return Err(wrong("MaxResults"));
    }
    if limit.is_some() && !ids.is_empty() {
        let message = "The parameter instancesSet cannot be used with the parameter maxResults";
        return Err(AwsError::new(400, "InvalidParameterCombination", message));
    }
    let start = number("NextToken").map_err(|_| wrong("NextToken"))?.unwrap_or(0);
    let filters = filters(form)?;
    let mut instances = String::new();
    let mut count = 0;
    let mut next = None;
    for index in start..fleet.size {
        let instance = (fleet.instance)(index);
        if !(ids.is_empty() || ids.contains(&instance.id)) || !filters.iter().all(|filter| takes(filter, &instance)) {
            continue;
        }
        if limit == Some(count) {
            next = Some(index);
            break;
        }
        count += 1;
        instances.push_str(&reservation(&instance, owner));
    }
    let token = next.map(|index| format!("<nextToken>{index}</nextToken>")).unwrap_or_default();
    Ok(reply::xml_body(format!(
        "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>0</requestId>\
         <reservationSet>{instances}</reservationSet>{token}</DescribeInstancesResponse>"
    )))
}

fn reservation(instance: &Instance, owner: &str) -> String {
    let code = match instance.state.as_str() {
        "pending" => 0,
        "shutting-down" => 32,
        "terminated" => 48,
        "stopping" => 64,
        "stopped" => 80,
        _ => 16,
    };
    let tags = instance.tags.iter().fold(String::new(), |mut tags, (key, value)| {
        tags.extend(["<item><key>", &escape(key), "</key><value>", &escape(value), "</value></item>"]);
        tags
    });
    let (id, state) = (escape(&instance.id), escape(&instance.state));
    let reservation = id.replacen("i-", "r-", 1);
    format!(
        "<item><reservationId>{reservation}</reservationId><ownerId>{owner}</ownerId><groupSet/><instancesSet><item>\
         <instanceId>{id}</instanceId><instanceState><code>{code}</code><name>{state}</name></instanceState>\
         <tagSet>{tags}</tagSet></item></instancesSet></item>"
    )
}

type Filter = (String, Vec<String>);

fn filters(form: &str) -> Result<Vec<Filter>, AwsError> {
    let mut filters = Vec::new();
    while let Some(name) = form_value(form, &format!("Filter.{}.Name", filters.len() + 1)) {
        if !(name == "tag-key" || name == "instance-state-name" || name.starts_with("tag:")) {
            return Err(AwsError::new(400, "InvalidParameterValue", format!("The filter '{name}' is invalid")));
        }
        let values = values(form, &format!("Filter.{}.Value", filters.len() + 1));
        filters.push((name, values));
    }
    Ok(filters)
}

fn values(form: &str, name: &str) -> Vec<String> {
    (1..).map_while(|index| form_value(form, &format!("{name}.{index}"))).collect()
}

fn takes((name, values): &Filter, instance: &Instance) -> bool {
    let any = |text: &String| values.contains(text);
    match name.strip_prefix("tag:") {
        Some(wanted) => instance.tags.iter().any(|(key, value)| key == wanted && any(value)),
        None if name == "tag-key" => instance.tags.iter().any(|(key, _)| any(key)),
        None => any(&instance.state),
    }
}

async fn invoke(functions: Functions, call: &Call, request: &Request<Bytes>) -> Result<Reply, AwsError> {
    let target = Target::read(request)?;
    let name = || request.uri().path().split('/').nth(3).unwrap_or_default().to_owned();
    let invoked = Invoked {
        caller: call.account.clone(),
        function: target.as_ref().map_or_else(name, Target::arn),
        payload: request.body().clone(),
    };
    let kind = request.headers().get("x-amz-invocation-type").map_or(&b"RequestResponse"[..], HeaderValue::as_bytes);
    match kind {
        b"DryRun" => Ok(status(StatusCode::NO_CONTENT)),
        b"Event" => {
            tokio::spawn(run(functions, invoked));
            Ok(status(StatusCode::ACCEPTED))
        }
        _ => Ok(match run(functions, invoked).await {
            Ok(payload) => answer(payload),
            Err(message) => {
                let error = json!({"errorMessage": message, "errorType": "Error"}).to_string();
                answer(Bytes::from(error))
            }
        }),
    }
}

async fn run(functions: Functions, invoked: Invoked) -> Result<Bytes, String> {
    match functions {
        Functions::Call(function) => function(invoked).await,
        Functions::Emulator(authority) => {
            let request = Request::post("/2015-03-31/functions/function/invocations")
                .header("host", &authority)
                .body(invoked.payload)
                .map_err(|error| error.to_string())?;
            let answer = Forward::new(authority).send(request).await.map_err(|error| format!("{error:#}"))?;
            Ok(answer.into_body())
        }
    }
}

/// A payload that has the form of an error is one: the emulator does not set the header.
fn answer(payload: Bytes) -> Reply {
    let failed = payload.starts_with(b"{")
        && serde_json::from_slice::<Value>(&payload)
            .is_ok_and(|value| value["errorMessage"].is_string() && value["errorType"].is_string());
    let mut reply = Response::new(payload);
    if failed {
        reply.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
    }
    reply
}

fn status(status: StatusCode) -> Reply {
    let mut reply = Response::new(Bytes::new());
    *reply.status_mut() = status;
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml;

    fn fleet() -> Fleet {
        Fleet::new(12, |index| Instance {
            id: format!("i-{index:017x}"),
            state: if index == 0 { "terminated" } else { "running" }.to_owned(),
            tags: vec![
                ("managedinstanceid".to_owned(), format!("mi-{index:017x}")),
                ("a<b".to_owned(), "&".to_owned()),
            ],
        })
    }

    fn describe(form: &str) -> Result<Value, String> {
        let reply = describe_instances(&fleet(), "111111111111", form).map_err(|error| error.code)?;
        Ok(xml::parse(std::str::from_utf8(reply.body()).unwrap()).unwrap())
    }

    #[test]
    fn pages_and_filters() {
        let form = "Filter.1.Name=instance-state-name&Filter.1.Value.1=running&Filter.2.Name=tag-key&Filter.2.Value.1=managedinstanceid&MaxResults=10";
        let first = describe(form).unwrap();
        assert_eq!(xml::items(&first["reservationSet"]).len(), 10);
        assert_eq!(first["reservationSet"][0]["ownerId"], "111111111111");
        assert_eq!(first["reservationSet"][0]["instancesSet"][0]["tagSet"][1], json!({"key": "a<b", "value": "&"}));
        let second = describe(&format!("{form}&NextToken={}", first["nextToken"].as_str().unwrap())).unwrap();
        assert_eq!(xml::items(&second["reservationSet"]).len(), 1);
        assert_eq!(second["nextToken"], Value::Null);
    }

    #[test]
    fn what_ec2_refuses() {
        assert_eq!(describe("MaxResults=1001"), Err("InvalidParameterValue".to_owned()));
        assert_eq!(describe("MaxResults=5&InstanceId.1=i-1"), Err("InvalidParameterCombination".to_owned()));
        assert_eq!(describe("Filter.1.Name=colour"), Err("InvalidParameterValue".to_owned()));
    }

    #[test]
    fn an_error_payload_is_a_function_error() {
        let failed = answer(Bytes::from_static(br#"{"errorMessage":"m","errorType":"t"}"#));
        assert_eq!(failed.headers()["x-amz-function-error"], "Unhandled");
        assert!(answer(Bytes::from_static(b"{}")).headers().is_empty());
    }
}
