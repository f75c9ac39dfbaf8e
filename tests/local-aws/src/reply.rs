//! Answers in the shape that each protocol gives them.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::aws_error::AwsError;
use crate::xml;

pub(crate) type Reply = Response<Bytes>;

/// How a request's protocol writes errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// JSON 1.0 and 1.1, with the operation in `X-Amz-Target`.
    Json,
    RestJson,
    Query,
    Ec2,
    S3,
}

impl Protocol {
    pub(crate) fn of(service: &str, headers: &HeaderMap) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if headers.contains_key("x-amz-target") {
            Self::Json
        } else if service == "s3" {
            Self::S3
        } else if content_type.starts_with("application/x-www-form-urlencoded") {
            if service == "ec2" { Self::Ec2 } else { Self::Query }
        } else {
            Self::RestJson
        }
    }
}

/// The error with which a service throttles.
pub(crate) fn throttled(service: &str) -> AwsError {
    let (status, code) = match service {
        "tagging" => (400, "ThrottledException"),
        "ec2" => (503, "RequestLimitExceeded"),
        "lambda" => (429, "TooManyRequestsException"),
        "scheduler" => (429, "ThrottlingException"),
        "s3" => (503, "SlowDown"),
        "iam" | "sts" | "cloudformation" => (400, "Throttling"),
        _ => (400, "ThrottlingException"),
    };
    AwsError::new(status, code, if service == "ec2" { "Request limit exceeded." } else { "Rate exceeded" })
}

/// 200 with a JSON body.
pub(crate) fn json_body(body: &Value) -> Reply {
    reply(200, "application/x-amz-json-1.1", body.to_string())
}

/// 200 with an XML body.
pub(crate) fn xml_body(body: String) -> Reply {
    reply(200, "text/xml;charset=UTF-8", body)
}

/// An error as the protocol writes it.
pub(crate) fn error(protocol: Protocol, error: &AwsError) -> Reply {
    error_with(protocol, error, None)
}

/// An error with one more member, which only the JSON protocols write.
pub(crate) fn error_with(protocol: Protocol, error: &AwsError, member: Option<(&str, Value)>) -> Reply {
    let (code, message) = (xml::escape(&error.code), xml::escape(&error.message));
    let mut answer = match protocol {
        Protocol::Json | Protocol::RestJson => {
            let mut body = json!({"__type": error.code});
            if !error.message.is_empty() {
                body["message"] = Value::String(error.message.clone());
            }
            if let Some((name, value)) = member {
                body[name] = value;
            }
            let kind = if protocol == Protocol::Json { "application/x-amz-json-1.1" } else { "application/json" };
            reply(error.status, kind, body.to_string())
        }
        Protocol::Ec2 => reply(
            error.status,
            "text/xml;charset=UTF-8",
            format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
                 <RequestID>{}</RequestID></Response>",
                request_id()
            ),
        ),
        Protocol::Query => reply(
            error.status,
            "text/xml",
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                 <RequestId>{}</RequestId></ErrorResponse>",
                request_id()
            ),
        ),
        Protocol::S3 => reply(
            error.status,
            "application/xml",
            format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>"),
        ),
    };
    if matches!(protocol, Protocol::Json | Protocol::RestJson)
        && let Ok(kind) = HeaderValue::from_str(&error.code)
    {
        answer.headers_mut().insert("x-amzn-errortype", kind);
    }
    answer
}

fn reply(status: u16, content_type: &'static str, body: String) -> Reply {
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(&request_id()) {
        answer.headers_mut().insert("x-amzn-requestid", id);
    }
    answer
}

fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(protocol: Protocol, error_in: &AwsError) -> String {
        String::from_utf8(error(protocol, error_in).into_body().to_vec()).unwrap()
    }

    #[test]
    fn each_protocol_has_its_shape() {
        let throttle = throttled("ssm");
        assert_eq!(body(Protocol::Json, &throttle), r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#);
        let ec2 = throttled("ec2");
        assert_eq!(ec2.status, 503);
        assert!(body(Protocol::Ec2, &ec2).starts_with("<Response><Errors><Error><Code>RequestLimitExceeded</Code>"));
        assert!(body(Protocol::Query, &throttled("iam")).contains("<Code>Throttling</Code>"));
        let lambda = error(Protocol::RestJson, &throttled("lambda"));
        assert_eq!(lambda.status(), 429);
        assert_eq!(lambda.headers()["x-amzn-errortype"], "TooManyRequestsException");
    }
}
