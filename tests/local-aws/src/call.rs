//! What a request asks for: service, operation, account, Region. Read from the signature's scope
//! and from where each protocol puts its operation.

use http::{Method, Request, Uri};

/// One request, named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The signing name: `ssm`, `tagging`, `lambda`, `ec2` and so on; `unsigned` where there is none.
    pub(crate) service: String,
    /// `service:Operation`, as faults and counters name it.
    pub(crate) name: String,
    pub(crate) access_key: String,
    pub(crate) region: String,
    /// The caller's account; empty until it is known.
    pub(crate) account: String,
}

impl Call {
    pub(crate) fn read(request: &Request<bytes::Bytes>) -> Self {
        let scope = scope(request).or_else(|| agents_scope(request)).unwrap_or_default();
        let operation = operation(&scope.service, request);
        let account = if is_account(&scope.access_key) { scope.access_key.clone() } else { String::new() };
        Self {
            name: format!("{}:{operation}", scope.service),
            service: scope.service,
            access_key: scope.access_key,
            region: scope.region,
            account,
        }
    }

    /// The operation without its service.
    pub(crate) fn operation(&self) -> &str {
        self.name.split_once(':').map_or("", |(_, operation)| operation)
    }

    /// Whether the caller is an account's root: `MiniStack` takes 12 digits for that.
    pub(crate) fn is_root(&self) -> bool {
        is_account(&self.access_key)
    }

    #[cfg(test)]
    pub(crate) fn named(service: &str, operation: &str, account: &str, region: &str) -> Self {
        Self {
            service: service.to_owned(),
            name: format!("{service}:{operation}"),
            access_key: account.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
        }
    }
}

/// Whether a text is an account id.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[derive(Debug)]
struct Scope {
    access_key: String,
    region: String,
    service: String,
}

impl Default for Scope {
    fn default() -> Self {
        Self { access_key: String::new(), region: String::new(), service: "unsigned".to_owned() }
    }
}

/// The credential scope `KEY/date/region/service/aws4_request`, in the header or a presigned query.
fn scope(request: &Request<bytes::Bytes>) -> Option<Scope> {
    let header = request.headers().get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credential = match header {
        Some(header) => {
            let (_, rest) = header.split_once("Credential=")?;
            rest.split([',', ' ']).next()?.to_owned()
        }
        None => query_value(request.uri(), "X-Amz-Credential")?,
    };
    let mut parts = credential.split('/');
    let access_key = parts.next()?.to_owned();
    let region = parts.nth(1)?.to_owned();
    let service = parts.next()?.to_owned();
    Some(Scope { access_key, region, service })
}

/// The agent signs nothing when it registers a node: its Region is in the name of the host, as in
/// `ssm.us-east-1.amazonaws.com`, and empty where it is not.
fn agents_scope(request: &Request<bytes::Bytes>) -> Option<Scope> {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if text("x-amz-target")? != "AmazonSSM.RegisterManagedInstance" {
        return None;
    }
    let region = text("host").and_then(|host| host.strip_prefix("ssm.")?.split_once(".amazonaws.com"));
    let region = region.map(|(region, _)| region.to_owned()).unwrap_or_default();
    Some(Scope { access_key: String::new(), region, service: "ssm".to_owned() })
}

fn operation(service: &str, request: &Request<bytes::Bytes>) -> String {
    if let Some(target) = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()) {
        return target.rsplit('.').next().unwrap_or(target).to_owned();
    }
    let path = request.uri().path();
    match service {
        "lambda" => lambda_operation(request.method(), path),
        "scheduler" => scheduler_operation(request.method(), path),
        "s3" => s3_operation(request.method(), path).to_owned(),
        _ => form_action(request).unwrap_or_else(|| format!("{} {path}", request.method())),
    }
}

/// `Action=` of the query protocols, in the form body or the query string.
fn form_action(request: &Request<bytes::Bytes>) -> Option<String> {
    let body = std::str::from_utf8(request.body()).unwrap_or_default();
    form_value(body, "Action").or_else(|| query_value(request.uri(), "Action"))
}

fn lambda_operation(method: &Method, path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).skip(1).collect();
    let known = match (method.as_str(), parts.as_slice()) {
        ("POST", ["functions", _, "invocations"]) => "Invoke",
        ("POST", ["functions", _, "invoke-async"]) => "InvokeAsync",
        ("POST", ["functions"]) => "CreateFunction",
        ("GET", ["functions"]) => "ListFunctions",
        ("GET", ["functions", _]) => "GetFunction",
        ("DELETE", ["functions", _]) => "DeleteFunction",
        ("PUT", ["functions", _, "code"]) => "UpdateFunctionCode",
        ("GET", ["functions", _, "configuration"]) => "GetFunctionConfiguration",
        ("PUT", ["functions", _, "configuration"]) => "UpdateFunctionConfiguration",
        ("POST", ["functions", _, "aliases"]) => "CreateAlias",
        ("GET", ["functions", _, "aliases"]) => "ListAliases",
        ("GET", ["functions", _, "aliases", _]) => "GetAlias",
        ("PUT", ["functions", _, "aliases", _]) => "UpdateAlias",
        ("DELETE", ["functions", _, "aliases", _]) => "DeleteAlias",
        ("POST", ["functions", _, "policy"]) => "AddPermission",
        ("GET", ["functions", _, "policy"]) => "GetPolicy",
        ("DELETE", ["functions", _, "policy", _]) => "RemovePermission",
        ("POST", ["functions", _, "versions"]) => "PublishVersion",
        ("PUT", ["functions", _, "event-invoke-config"]) => "PutFunctionEventInvokeConfig",
        _ => return format!("{method} {path}"),
    };
    known.to_owned()
}

fn scheduler_operation(method: &Method, path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let known = match (method.as_str(), parts.as_slice()) {
        ("GET", ["schedules"]) => "ListSchedules",
        ("POST", ["schedules", _]) => "CreateSchedule",
        ("GET", ["schedules", _]) => "GetSchedule",
        ("PUT", ["schedules", _]) => "UpdateSchedule",
        ("DELETE", ["schedules", _]) => "DeleteSchedule",
        ("GET", ["schedule-groups"]) => "ListScheduleGroups",
        ("POST", ["schedule-groups", _]) => "CreateScheduleGroup",
        ("GET", ["schedule-groups", _]) => "GetScheduleGroup",
        ("DELETE", ["schedule-groups", _]) => "DeleteScheduleGroup",
        _ => return format!("{method} {path}"),
    };
    known.to_owned()
}

/// Path style only, and without the sub-resources that share a path.
fn s3_operation(method: &Method, path: &str) -> &'static str {
    let has_key = path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    match (method.as_str(), has_key, path == "/") {
        ("GET", _, true) => "ListBuckets",
        ("PUT", true, _) => "PutObject",
        ("GET", true, _) => "GetObject",
        ("HEAD", true, _) => "HeadObject",
        ("DELETE", true, _) => "DeleteObject",
        ("PUT", false, _) => "CreateBucket",
        ("GET", false, _) => "ListObjectsV2",
        ("HEAD", false, _) => "HeadBucket",
        ("DELETE", false, _) => "DeleteBucket",
        _ => "Other",
    }
}

/// One value of a query string.
pub(crate) fn query_value(uri: &Uri, name: &str) -> Option<String> {
    form_value(uri.query()?, name)
}

/// One value of a form body or a query string.
pub(crate) fn form_value(form: &str, name: &str) -> Option<String> {
    form_pairs(form).find_map(|(key, value)| (key == name).then_some(value))
}

/// The names and values of a form body or a query string.
pub(crate) fn form_pairs(form: &str) -> impl Iterator<Item = (String, String)> {
    form.split('&').map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decode(key), percent_decode(value))
    })
}

/// Undoes percent-encoding and `+`.
pub(crate) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        rest = tail;
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                rest = tail.get(2..).unwrap_or_default();
            }
            (b'+', _, _) => bytes.push(b' '),
            _ => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub(crate) fn percent_encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, uri: &str, service: &str, target: Option<&str>, body: &str) -> Call {
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=111111111111/20261122/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let mut request = Request::builder().method(method).uri(uri).header("authorization", scope);
        if let Some(target) = target {
            request = request.header("x-amz-target", target);
        }
        Call::read(&request.body(bytes::Bytes::copy_from_slice(body.as_bytes())).unwrap())
    }

    #[test]
    fn every_protocol_names_its_operation() {
        let name = |method, uri, service, target, body| read(method, uri, service, target, body).name;
        assert_eq!(name("POST", "/", "ssm", Some("AmazonSSM.AddTagsToResource"), "{}"), "ssm:AddTagsToResource");
        let form = "Version=2016-11-15&Action=DescribeInstances";
        assert_eq!(name("POST", "/", "ec2", None, form), "ec2:DescribeInstances");
        let invoke = "/2015-03-31/functions/arn%3Aaws%3Alambda/invocations?Qualifier=a";
        assert_eq!(name("POST", invoke, "lambda", None, "{}"), "lambda:Invoke");
        assert_eq!(name("PUT", "/schedules/tick", "scheduler", None, "{}"), "scheduler:UpdateSchedule");
        assert_eq!(name("PUT", "/bucket/a/key", "s3", None, ""), "s3:PutObject");
        assert_eq!(name("PUT", "/bucket", "s3", None, ""), "s3:CreateBucket");
    }

    #[test]
    fn the_scope_gives_account_and_region() {
        let call = read("POST", "/", "ssm", None, "");
        assert_eq!((call.account.as_str(), call.region.as_str()), ("111111111111", "eu-west-1"));
        assert!(call.is_root());
    }

    #[test]
    fn a_request_without_a_signature_has_no_caller() {
        let call = Call::read(&Request::builder().uri("/x").body(bytes::Bytes::new()).unwrap());
        assert_eq!((call.service.as_str(), call.account.as_str()), ("unsigned", ""));
    }

    #[test]
    fn the_agent_names_its_region_by_the_host() {
        let register = |host: &str| {
            let request = Request::post("/").header("x-amz-target", "AmazonSSM.RegisterManagedInstance");
            Call::read(&request.header("host", host).body(bytes::Bytes::new()).unwrap())
        };
        let call = register("ssm.eu-west-1.amazonaws.com");
        assert_eq!((call.name.as_str(), call.region.as_str()), ("ssm:RegisterManagedInstance", "eu-west-1"));
        assert_eq!(register("127.0.0.1:4566").region, "");
    }

    #[test]
    fn percent_round_trip() {
        let text = "arn:aws:lambda:us-east-1:1:function:f é%";
        assert_eq!(percent_decode(&percent_encode(text)), text);
        assert_eq!(percent_decode("a+b%2"), "a b%2");
    }
}
