//! A small AWS client for tests: signed requests in, JSON values out.

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use serde_json::Value;

use crate::aws_error::AwsError;
use crate::call::percent_encode;
use crate::forward::Forward;
use crate::sign::{Credentials, signed};
use crate::xml;

/// Acts as one principal in one Region.
#[derive(Debug, Clone)]
pub struct Client {
    forward: Forward,
    host: String,
    region: String,
    credentials: Credentials,
}

/// Whether `Invoke` waits. Shape: `InvocationType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvocationType {
    RequestResponse,
    Event,
    DryRun,
}

/// What `Invoke` answered. Shape: `InvocationResponse`.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    pub status: u16,
    /// `X-Amz-Function-Error`: the payload then tells of the error.
    pub function_error: Option<String>,
    /// `null` where there is none.
    pub payload: Value,
    /// The end of the function's log.
    pub log: String,
}

/// A successful answer of a REST protocol.
#[derive(Debug, Clone)]
pub struct RestReply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl RestReply {
    /// The body as JSON; `null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Client {
    /// The root of `account`, at `endpoint` (`http://host:port`).
    pub fn new(endpoint: &str, account: &str, region: &str) -> Self {
        let host = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Self {
            forward: Forward::new(host.clone()),
            host,
            region: region.to_owned(),
            credentials: Credentials::root(account),
        }
    }

    /// The same, as another principal: an IAM user, or a session with its token.
    #[must_use]
    pub fn with_credentials(mut self, access_key: &str, secret_key: &str, session_token: Option<&str>) -> Self {
        self.credentials = Credentials {
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            session_token: session_token.map(str::to_owned),
        };
        self
    }

    /// The same principal in another Region.
    #[must_use]
    pub fn in_region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.region);
        self
    }

    pub(crate) fn access_key(&self) -> &str {
        &self.credentials.access_key
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// This principal in a session of `role_arn`.
    pub async fn assume_role(&self, role_arn: &str, session: &str) -> Result<Self, AwsError> {
        self.assume(&[("RoleArn", role_arn), ("RoleSessionName", session)]).await
    }

    /// The same with an external id.
    pub async fn assume_role_with(&self, role_arn: &str, session: &str, external_id: &str) -> Result<Self, AwsError> {
        self.assume(&[("RoleArn", role_arn), ("RoleSessionName", session), ("ExternalId", external_id)]).await
    }

    async fn assume(&self, params: &[(&str, &str)]) -> Result<Self, AwsError> {
        let answer = self.query("sts", "AssumeRole", params).await?;
        let field = |name: &str| answer["Credentials"][name].as_str().unwrap_or_default().to_owned();
        let token = field("SessionToken");
        Ok(self.clone().with_credentials(&field("AccessKeyId"), &field("SecretAccessKey"), Some(&token)))
    }

    /// An operation of a JSON protocol: `ssm`, `tagging`, `logs`, `events`, `sqs`, `states`, `dynamodb` or
    /// `organizations`.
    pub async fn json(&self, service: &str, operation: &str, body: &Value) -> Result<Value, AwsError> {
        let (prefix, version) = match service {
            "ssm" => ("AmazonSSM", "1.1"),
            "tagging" => ("ResourceGroupsTaggingAPI_20170126", "1.1"),
            "logs" => ("Logs_20140328", "1.1"),
            "events" => ("AWSEvents", "1.1"),
            "sqs" => ("AmazonSQS", "1.0"),
            "states" => ("AWSStepFunctions", "1.0"),
            "dynamodb" => ("DynamoDB_20120810", "1.0"),
            "organizations" => ("AWSOrganizationsV20161128", "1.1"),
            _ => return Err(unusable(format!("{service} has no JSON protocol here"))),
        };
        let request = Request::post("/")
            .header("content-type", format!("application/x-amz-json-{version}"))
            .header("x-amz-target", format!("{prefix}.{operation}"))
            .body(Bytes::from(body.to_string()))
            .map_err(unusable)?;
        Ok(self.send(service, request).await?.json())
    }

    /// An operation of a query protocol: `cloudformation`, `iam`, `sts`, `ec2`, `sns` or `monitoring`. Answers with
    /// what is in `<OPERATIONResult>`, where there is one; lists become arrays.
    pub async fn query(&self, service: &str, operation: &str, params: &[(&str, &str)]) -> Result<Value, AwsError> {
        let version = match service {
            "cloudformation" => "2010-05-15",
            "iam" => "2010-05-08",
            "sts" => "2011-06-15",
            "ec2" => "2016-11-15",
            "sns" => "2010-03-31",
            "monitoring" => "2010-08-01",
            _ => return Err(unusable(format!("{service} has no query protocol here"))),
        };
        let mut form = format!("Action={operation}&Version={version}");
        for (name, value) in params {
            form.extend(["&", &percent_encode(name), "=", &percent_encode(value)]);
        }
        let request = Request::post("/")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .body(Bytes::from(form))
            .map_err(unusable)?;
        let reply = self.send(service, request).await?;
        let mut answer = xml::parse(&String::from_utf8_lossy(&reply.body)).map_err(unusable)?;
        let result = answer.get_mut(format!("{operation}Result")).map(Value::take);
        Ok(result.unwrap_or(answer))
    }

    /// An operation of a REST protocol, such as `lambda`, `scheduler` or `s3`. The path is sent as it
    /// is, with its query string.
    pub async fn rest(
        &self,
        service: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<RestReply, AwsError> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(service, request.body(body.into()).map_err(unusable)?).await
    }

    /// Lambda `Invoke` by name or ARN, with its qualifier where it has one.
    pub async fn invoke(&self, function: &str, kind: InvocationType, payload: &Value) -> Result<Invocation, AwsError> {
        let kind = match kind {
            InvocationType::RequestResponse => "RequestResponse",
            InvocationType::Event => "Event",
            InvocationType::DryRun => "DryRun",
        };
        let path = format!("/2015-03-31/functions/{}/invocations", percent_encode(function));
        let headers = [("x-amz-invocation-type", kind), ("x-amz-log-type", "Tail")];
        let reply = self.rest("lambda", Method::POST, &path, &headers, payload.to_string()).await?;
        let text = |name: &str| reply.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Invocation {
            status: reply.status,
            function_error: text("x-amz-function-error"),
            log: decoded(&text("x-amz-log-result").unwrap_or_default()),
            payload: reply.json(),
        })
    }

    /// S3 `CreateBucket`.
    pub async fn create_bucket(&self, bucket: &str) -> Result<(), AwsError> {
        self.rest("s3", Method::PUT, &format!("/{bucket}"), &[], Bytes::new()).await.map(drop)
    }

    /// S3 `PutObject`.
    pub async fn put_object(&self, bucket: &str, key: &str, body: impl Into<Bytes>) -> Result<(), AwsError> {
        self.rest("s3", Method::PUT, &format!("/{bucket}/{key}"), &[], body).await.map(drop)
    }

    async fn send(&self, service: &str, request: Request<Bytes>) -> Result<RestReply, AwsError> {
        let request = signed(request, &self.host, service, &self.region, &self.credentials).map_err(unusable)?;
        let answer = self.forward.send(request).await.map_err(unusable)?;
        if !answer.status().is_success() {
            return Err(refusal(&answer));
        }
        let (parts, body) = answer.into_parts();
        Ok(RestReply { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

/// An error in whichever shape it came.
fn refusal(answer: &Response<Bytes>) -> AwsError {
    let text = String::from_utf8_lossy(answer.body());
    let body: Value = serde_json::from_str(&text).or_else(|_| xml::parse(&text)).unwrap_or_default();
    let error = [&body["Error"], &body["Errors"]["Error"], &body].into_iter().find(|value| value.is_object());
    let field = |names: &[&str]| -> Option<String> {
        names.iter().find_map(|name| Some(error?.get(*name)?.as_str()?.to_owned()))
    };
    let header = answer.headers().get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let code = header.map(str::to_owned).or_else(|| field(&["__type", "Code", "code"])).unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
    let message = field(&["message", "Message", "errorMessage"]).unwrap_or_default();
    AwsError { status: answer.status().as_u16(), code, message }
}

fn decoded(log: &str) -> String {
    let bytes = base64::engine::general_purpose::STANDARD.decode(log).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn unusable(error: impl std::fmt::Display) -> AwsError {
    AwsError::new(0, "NoAnswer", format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &'static str, header: Option<&str>, expected: (&str, &str)) {
        let mut answer = Response::builder().status(400);
        if let Some(header) = header {
            answer = answer.header("x-amzn-errortype", header);
        }
        let error = refusal(&answer.body(Bytes::from_static(body.as_bytes())).unwrap());
        assert_eq!((error.code.as_str(), error.message.as_str()), expected, "{body}");
    }

    #[test]
    fn errors_of_every_protocol() {
        check(r#"{"__type":"com.amazon#ValidationException","message":"m"}"#, None, ("ValidationException", "m"));
        check(
            r#"{"Type":"User","Message":"m"}"#,
            Some("AccessDeniedException:http://x"),
            ("AccessDeniedException", "m"),
        );
        check(
            "<ErrorResponse><Error><Type>Sender</Type><Code>C</Code><Message>m</Message></Error></ErrorResponse>",
            None,
            ("C", "m"),
        );
        check(
            "<Response><Errors><Error><Code>C</Code><Message>m</Message></Error></Errors></Response>",
            None,
            ("C", "m"),
        );
        check("<Error><Code>NoSuchBucket</Code><Message>m</Message></Error>", None, ("NoSuchBucket", "m"));
    }
}
