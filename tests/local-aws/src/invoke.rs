//! Lambda `Invoke` of another account's function.
//!
//! AWS allows it where both sides do: the caller's identity policies and the resource policy of what
//! is called, a function, a version or an alias, each for the exact ARN with its qualifier. The call
//! then runs in the owner's account. <https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html>

use bytes::Bytes;
use http::{HeaderName, Request, header};
use serde_json::{Map, Value};

use crate::access::{self, Question};
use crate::aws_error::AwsError;
use crate::call::{Call, percent_decode, percent_encode, query_value};
use crate::reply::Reply;
use crate::sign::{Credentials, signed};
use crate::upstream::Upstream;

const ACTION: &str = "lambda:InvokeFunction";

/// What an invocation is passed on with, beside its payload. Shape: `InvocationRequest`.
const PASSED_ON: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    HeaderName::from_static("x-amz-invocation-type"),
    HeaderName::from_static("x-amz-log-type"),
    HeaderName::from_static("x-amz-client-context"),
];

/// A function, version or alias of some account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) function: String,
    pub(crate) qualifier: Option<String>,
}

impl Target {
    /// What an Invoke names by a full ARN; `None` where it names something else.
    ///
    /// # Errors
    /// `InvalidParameterValueException` where the ARN and the `Qualifier` parameter differ.
    pub(crate) fn read<B>(request: &Request<B>) -> Result<Option<Self>, AwsError> {
        let mut parts = request.uri().path().split('/').skip_while(|part| *part != "functions").skip(1);
        let name = percent_decode(parts.next().unwrap_or_default());
        let Some(mut target) = Self::parse(&name) else { return Ok(None) };
        let asked = query_value(request.uri(), "Qualifier");
        if let (Some(named), Some(asked)) = (&target.qualifier, &asked)
            && named != asked
        {
            let message = "The derived qualifier from the function name does not match the specified qualifier.";
            return Err(AwsError::new(400, "InvalidParameterValueException", message));
        }
        target.qualifier = target.qualifier.or(asked);
        Ok(Some(target))
    }

    fn parse(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.split(':').collect();
        let (region, account, function, qualifier) = match parts.as_slice() {
            ["arn", _, "lambda", region, account, "function", function] => (region, account, function, None),
            ["arn", _, "lambda", region, account, "function", function, qualifier] => {
                (region, account, function, Some((*qualifier).to_owned()))
            }
            _ => return None,
        };
        Some(Self {
            account: (*account).to_owned(),
            region: (*region).to_owned(),
            function: (*function).to_owned(),
            qualifier,
        })
    }

    /// The exact ARN.
    pub(crate) fn arn(&self) -> String {
        let Self { account, region, function, .. } = self;
        let qualifier = self.qualifier.as_ref().map(|qualifier| format!(":{qualifier}")).unwrap_or_default();
        format!("arn:aws:lambda:{region}:{account}:function:{function}{qualifier}")
    }

    fn path(&self, what: &str) -> String {
        let function = percent_encode(&self.function);
        let query = self.qualifier.as_ref().map(|qualifier| format!("?Qualifier={}", percent_encode(qualifier)));
        format!("/2015-03-31/functions/{function}/{what}{}", query.unwrap_or_default())
    }
}

/// Performs an invocation whose signature has been checked.
///
/// # Errors
/// 403 `AccessDeniedException` where one side does not allow it; a function or alias that does not
/// exist has no policy that would.
pub(crate) async fn perform(
    upstream: &Upstream,
    call: &Call,
    target: &Target,
    request: &Request<Bytes>,
) -> anyhow::Result<Result<Reply, AwsError>> {
    let owner = Credentials::root(&target.account);
    let ask = Request::builder().method("GET").uri(target.path("policy")).body(Bytes::new())?;
    let answer = upstream.forward.send(signed(ask, upstream.host(), "lambda", &target.region, &owner)?).await?;
    let question = Question {
        access_key: call.access_key.clone(),
        region: call.region.clone(),
        action: ACTION.to_owned(),
        resource: target.arn(),
        context: Map::new(),
        policy: Some(policy(&answer)),
    };
    let decision = upstream.access.decide(&question).await?;
    if let Some(denial) = access::denial(&decision, ACTION, &target.arn()) {
        return Ok(Err(AwsError::new(403, "AccessDeniedException", denial)));
    }
    let mut passed_on = Request::builder().method("POST").uri(target.path("invocations"));
    for name in PASSED_ON {
        if let Some(value) = request.headers().get(&name) {
            passed_on = passed_on.header(name, value);
        }
    }
    let passed_on = passed_on.body(request.body().clone())?;
    let passed_on = signed(passed_on, upstream.host(), "lambda", &target.region, &owner)?;
    Ok(Ok(upstream.forward.send(passed_on).await?))
}

/// The document in a `GetPolicy` answer; one without statements where there is none.
fn policy(answer: &Reply) -> Value {
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let document = body["Policy"].as_str().and_then(|text| serde_json::from_str(text).ok());
    document.unwrap_or_else(|| serde_json::json!({"Version": "2012-10-17", "Statement": []}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str) -> Result<Option<String>, String> {
        let request = Request::builder().uri(uri).body(()).unwrap();
        Target::read(&request).map(|target| target.map(|target| target.arn())).map_err(|error| error.code)
    }

    #[test]
    fn the_arn_is_exact() {
        let arn = "arn:aws:lambda:us-east-1:111111111111:function:manager";
        let path = format!("/2015-03-31/functions/{}/invocations", percent_encode(arn));
        assert_eq!(read(&path), Ok(Some(arn.to_owned())));
        assert_eq!(read(&format!("{path}?Qualifier=live")), Ok(Some(format!("{arn}:live"))));
        let qualified = format!("/2015-03-31/functions/{arn}:live/invocations");
        assert_eq!(read(&qualified), Ok(Some(format!("{arn}:live"))));
        assert_eq!(read(&format!("{qualified}?Qualifier=live")), Ok(Some(format!("{arn}:live"))));
        assert_eq!(read(&format!("{qualified}?Qualifier=x")), Err("InvalidParameterValueException".to_owned()));
        assert_eq!(read("/2015-03-31/functions/manager/invocations"), Ok(None));
    }
}
