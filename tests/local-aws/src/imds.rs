//! The metadata service of one EC2 instance, version 2 alone, on a port of its own.
//!
//! `MiniStack` has one for a single made-up instance, with credentials that open nothing. Here each instance
//! has its own, and hands out a session of the role in its instance profile: `MiniStack`'s evaluator holds it
//! to the role's policies and knows `ec2:SourceInstanceARN` of it. Tags are not in the metadata, as on AWS
//! unless somebody turns them on.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::edge::Edge;
use crate::server::Server;

/// How a metadata service behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImdsState {
    #[default]
    On,
    /// Turned off: 403.
    Off,
    /// So many requests are answered 503, then it is on.
    Starting(u32),
    /// It gives no token, as through one network hop too many: a `PUT` is never answered.
    NoTokens,
    /// Something else answers at its address, such as a portal, with a page of HTML to everything.
    Html,
}

/// An EC2 instance of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ec2Instance {
    pub account: String,
    pub region: String,
    /// `i-` and 17 hexadecimal digits. With `MiniStack` its profile is looked up there.
    pub instance_id: String,
}

/// A running metadata service; it stops when it is dropped.
#[derive(Debug)]
pub struct Imds {
    endpoint: String,
    service: Arc<Service>,
    _server: Server,
}

#[derive(Debug)]
struct Service {
    edge: Arc<Edge>,
    instance: Ec2Instance,
    state: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    behaviour: ImdsState,
    tokens: HashSet<String>,
    credentials: Option<Value>,
    refused_without_token: u64,
}

#[derive(Debug, Default, Deserialize)]
struct Known {
    exists: bool,
    address: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    profile: Option<String>,
    role: Option<String>,
    credentials: Option<Value>,
}

impl Imds {
    pub(crate) fn start(edge: Arc<Edge>, instance: Ec2Instance) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("bind a metadata service")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let service = Arc::new(Service { edge, instance, state: Mutex::default() });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&service));
        Ok(Self { endpoint, service, _server: Server::start(listener, router, 1)? })
    }

    /// `http://127.0.0.1:PORT`, for `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How it behaves from now on.
    pub fn set_state(&self, state: ImdsState) {
        self.service.lock().behaviour = state;
    }

    /// How many requests were refused for want of a token, as those of version 1 are.
    pub fn refused(&self) -> u64 {
        self.service.lock().refused_without_token
    }
}

async fn serve(State(service): State<Arc<Service>>, request: Request<Body>) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let path = parts.uri.path().trim_end_matches('/');
    match service.before(&parts, path) {
        Before::Answer(answer) => return answer,
        Before::Silence => return std::future::pending().await,
        Before::Metadata => {}
    }
    match service.metadata(path).await {
        Ok(Some(found)) => text(StatusCode::OK, &found),
        Ok(None) => text(StatusCode::NOT_FOUND, "Not Found"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
    }
}

/// What comes before any metadata.
enum Before {
    Answer(Response<Body>),
    /// The caller waits until it gives up.
    Silence,
    Metadata,
}

fn token(seen: &mut Seen, method: &Method, lifetime: &str) -> Response<Body> {
    if *method != Method::PUT {
        return text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    }
    if !lifetime.parse().is_ok_and(|seconds: u32| (1..=21_600).contains(&seconds)) {
        return text(StatusCode::BAD_REQUEST, "Bad Request");
    }
    let token = uuid::Uuid::new_v4().simple().to_string();
    seen.tokens.insert(token.clone());
    let mut answer = text(StatusCode::OK, &token);
    if let Ok(value) = lifetime.parse() {
        answer.headers_mut().insert("x-aws-ec2-metadata-token-ttl-seconds", value);
    }
    answer
}

impl Service {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn before(&self, parts: &Parts, path: &str) -> Before {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut seen = self.lock();
        match seen.behaviour {
            ImdsState::Off => return Before::Answer(text(StatusCode::FORBIDDEN, "Forbidden")),
            ImdsState::Starting(0) => seen.behaviour = ImdsState::On,
            ImdsState::Starting(left) => {
                seen.behaviour = ImdsState::Starting(left - 1);
                return Before::Answer(text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"));
            }
            ImdsState::Html => return Before::Answer(text(StatusCode::OK, "<html><body>Please sign in</body></html>")),
            ImdsState::NoTokens if parts.method == Method::PUT => return Before::Silence,
            ImdsState::NoTokens | ImdsState::On => {}
        }
        if path == "/latest/api/token" {
            let lifetime = header("x-aws-ec2-metadata-token-ttl-seconds");
            return Before::Answer(token(&mut seen, &parts.method, lifetime));
        }
        if !seen.tokens.contains(header("x-aws-ec2-metadata-token")) {
            seen.refused_without_token += 1;
            return Before::Answer(text(StatusCode::UNAUTHORIZED, "Unauthorized"));
        }
        Before::Metadata
    }

    async fn metadata(&self, path: &str) -> anyhow::Result<Option<String>> {
        let Ec2Instance { account, region, instance_id } = &self.instance;
        let roles = "/latest/meta-data/iam/security-credentials";
        Ok(match path {
            "/latest/meta-data/instance-id" => Some(instance_id.clone()),
            "/latest/meta-data/placement/region" => Some(region.clone()),
            "/latest/meta-data/placement/availability-zone" => Some(format!("{region}a")),
            "/latest/meta-data/local-ipv4" => Some(self.known(false).await?.address.unwrap_or_default()),
            "/latest/dynamic/instance-identity/document" => {
                let known = self.known(false).await?;
                let document = json!({
                    "accountId": account,
                    "architecture": "x86_64",
                    "availabilityZone": format!("{region}a"),
                    "imageId": "ami-0123456789abcdef0",
                    "instanceId": instance_id,
                    "instanceType": known.kind.as_deref().unwrap_or("t3.micro"),
                    "pendingTime": "2026-11-22T02:00:00Z",
                    "privateIp": known.address.as_deref().unwrap_or("10.0.0.1"),
                    "region": region,
                    "version": "2017-09-30",
                });
                Some(format!("{document:#}"))
            }
            "/latest/meta-data/iam/info" => {
                let profile = self.known(false).await?.profile;
                profile.map(|arn| json!({"Code": "Success", "InstanceProfileArn": arn}).to_string())
            }
            path if path == roles => self.known(false).await?.role,
            path => match path.strip_prefix(roles).and_then(|rest| rest.strip_prefix('/')) {
                Some(role) => self.credentials(role).await?,
                None => None,
            },
        })
    }

    /// The same session until the metadata service ends.
    async fn credentials(&self, role: &str) -> anyhow::Result<Option<String>> {
        if let Some(credentials) = &self.lock().credentials {
            return Ok(Some(credentials.to_string()));
        }
        let known = self.known(true).await?;
        let Some(credentials) = known.credentials.filter(|_| known.role.as_deref() == Some(role)) else {
            return Ok(None);
        };
        self.lock().credentials = Some(credentials.clone());
        Ok(Some(credentials.to_string()))
    }

    /// What `MiniStack` knows of the instance. Without it the role is made up, with an account's root.
    async fn known(&self, credentials: bool) -> anyhow::Result<Known> {
        let Ec2Instance { account, region, instance_id } = &self.instance;
        let Some(upstream) = self.edge.upstream() else {
            let root = json!({
                "Code": "Success", "LastUpdated": "2026-11-22T02:00:00Z", "Type": "AWS-HMAC", "AccessKeyId": account,
                "SecretAccessKey": "secret", "Token": "token", "Expiration": "2099-01-01T00:00:00Z",
            });
            let role = Some("TagHubInstance".to_owned());
            return Ok(Known { exists: true, role, credentials: Some(root), ..Known::default() });
        };
        let question =
            json!({"instance": instance_id, "account": account, "region": region, "credentials": credentials});
        let known: Known = upstream.access.ask(&question).await?;
        anyhow::ensure!(known.exists, "{instance_id} is not an instance of {account} in {region}");
        Ok(known)
    }
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut answer = Response::new(Body::from(text.to_owned()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    answer
}
