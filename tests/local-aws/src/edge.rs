//! The edge: names each request, lets the faults have their say, and answers it or passes it on.

use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Map, Value};

use crate::access::{self, Question};
use crate::automation::{self, Automation};
use crate::aws_error::AwsError;
use crate::call::Call;
use crate::calls::Calls;
use crate::dynamodb::{self, Tables};
use crate::faults::{Effect, Faults, Moment};
use crate::hybrid::{self, Hybrid, Need};
use crate::invoke::{self, Target};
use crate::kill::kill_function;
use crate::model::Models;
use crate::nodes::{Nodes, node_arn};
use crate::reply::{self, Protocol, Reply};
use crate::ssm_tags::Operation;
use crate::synthetic::Synthetic;
use crate::upstream::Upstream;
use crate::{ec2_tags, ssm_describe, ssm_patches, ssm_tags, tagging, validate};

/// How a failed signature is called. Everything else that `MiniStack` says about an operation of the
/// edge's is its own idea of that operation.
const SIGNATURE_ERRORS: [&str; 8] = [
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// Everything that a request can meet.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) endpoint: String,
    pub(crate) nodes: Nodes,
    pub(crate) automation: Automation,
    pub(crate) hybrid: Hybrid,
    tables: Tables,
    pub(crate) faults: Faults,
    pub(crate) calls: Calls,
    models: Models,
    upstream: Option<Upstream>,
    synthetic: Synthetic,
}

/// An operation that the edge performs itself.
enum Owned {
    Tags(Operation, Value),
    Describe(Value),
    PatchStates(Value),
    Automation(automation::Operation, Value),
    Hybrid(hybrid::Operation, Value),
    Register(Value),
    TagInstances(Vec<String>),
    GetResources(Value),
    Table(Value),
    Invoke(Target),
}

impl Edge {
    pub(crate) fn new(endpoint: String, ministack: Option<String>, data: PathBuf, synthetic: Synthetic) -> Self {
        let upstream = ministack.map(Upstream::new);
        Self {
            endpoint,
            nodes: Nodes::default(),
            automation: Automation::default(),
            hybrid: Hybrid::default(),
            tables: Tables::default(),
            faults: Faults::default(),
            calls: Calls::default(),
            models: Models::new(data),
            upstream,
            synthetic,
        }
    }

    /// `MiniStack`, where it runs.
    pub(crate) fn upstream(&self) -> Option<&Upstream> {
        self.upstream.as_ref()
    }

    pub(crate) async fn answer(&self, request: Request<Bytes>) -> Reply {
        let mut call = Call::read(&request);
        self.find_account(&mut call, &request).await;
        let protocol = Protocol::of(&call.service, request.headers());
        let verdict = self.faults.judge(&call, |id| names(&request, id), Instant::now());
        if !verdict.wait.is_zero() {
            tokio::time::sleep(verdict.wait).await;
        }
        // Whoever died first has not called. Its connection breaks at some time, and that must not decide.
        if self.kill(&verdict.kill, Moment::BeforeTheCall) {
            return reply::error(protocol, &AwsError::new(500, "CallerGone", "The caller was killed by a fault."));
        }
        let reply = match verdict.end {
            Some(Effect::Throttle) => reply::error(protocol, &reply::throttled(&call.service)),
            Some(Effect::Error { status, code, message }) => {
                reply::error(protocol, &AwsError { status, code, message })
            }
            Some(Effect::LostAnswer) => {
                let lost = self.perform(&call, request, protocol).await;
                tracing::debug!(operation = %call.name, status = lost.status().as_u16(), "answer lost by a fault");
                reply::error(protocol, &AwsError::new(500, "InternalServerError", "The answer was lost."))
            }
            _ => self.perform(&call, request, protocol).await,
        };
        self.kill(&verdict.kill, Moment::AfterTheCall);
        self.calls.record(&call.account, &call.name, is_throttled(&reply));
        reply
    }

    /// The account of a key that is not an account id, which only `MiniStack` knows, or of the activation
    /// that an agent registers with.
    async fn find_account(&self, call: &mut Call, request: &Request<Bytes>) {
        if call.operation() == hybrid::REGISTER
            && let Some(account) = self.owner(request)
        {
            call.account = account;
        } else if call.account.is_empty()
            && !call.access_key.is_empty()
            && let Some(upstream) = &self.upstream
        {
            call.account = upstream.access.account(&call.access_key).await.unwrap_or_default();
        }
    }

    fn owner(&self, request: &Request<Bytes>) -> Option<String> {
        let body: Value = serde_json::from_slice(request.body()).ok()?;
        self.hybrid.activations.owner(body["ActivationId"].as_str()?).map(|(account, _)| account)
    }

    /// Whether anybody was to be killed at this moment.
    fn kill(&self, functions: &[(String, Moment)], moment: Moment) -> bool {
        let due = functions.iter().filter(|(_, when)| *when == moment);
        due.map(|(function, _)| {
            let killed = kill_function(function, &self.endpoint);
            tracing::debug!(%function, killed, "killed by a fault");
        })
        .count()
            > 0
    }

    async fn perform(&self, call: &Call, request: Request<Bytes>, protocol: Protocol) -> Reply {
        let result = match self.owned(call, &request) {
            Ok(Some(owned)) => self.perform_owned(call, request, owned).await,
            Ok(None) => self.pass_on(call, request).await,
            Err(error) => Ok(Err(error)),
        };
        match result {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => reply::error(protocol, &error),
            Err(error) => {
                tracing::error!(operation = %call.name, error = format!("{error:#}"), "the edge failed");
                reply::error(protocol, &AwsError::new(502, "LocalAwsFailure", format!("{error:#}")))
            }
        }
    }

    async fn pass_on(&self, call: &Call, request: Request<Bytes>) -> anyhow::Result<Result<Reply, AwsError>> {
        let Some(upstream) = &self.upstream else {
            return Ok(self.synthetic.answer(call, &request).await);
        };
        let reply = upstream.forward.send(request).await?;
        if may_change_policies(call) {
            upstream.access.forget();
        }
        Ok(Ok(reply))
    }

    /// What the edge performs itself; `None` for everything else.
    fn owned(&self, call: &Call, request: &Request<Bytes>) -> Result<Option<Owned>, AwsError> {
        let body = || serde_json::from_slice::<Value>(request.body()).unwrap_or_default();
        let owned = match (call.service.as_str(), call.operation()) {
            ("ssm", "DescribeInstanceInformation") => {
                let body = body();
                (!wants_only_ec2(&body)).then_some(Owned::Describe(body))
            }
            ("ssm", "DescribeInstancePatchStates") => Some(Owned::PatchStates(body())),
            ("ssm", hybrid::REGISTER) => Some(Owned::Register(body())),
            ("ssm", name) => {
                let tags = |operation| {
                    let body = body();
                    ssm_tags::is_about_a_node(&body).then_some(Owned::Tags(operation, body))
                };
                let hybrid = |operation| Owned::Hybrid(operation, body());
                automation::Operation::parse(name, &body())
                    .map(|operation| Owned::Automation(operation, body()))
                    .or_else(|| hybrid::Operation::parse(name, &body()).map(hybrid))
                    .or_else(|| Operation::parse(name).and_then(tags))
            }
            ("ec2", operation) if self.upstream.is_some() && !call.is_root() => {
                let form = String::from_utf8_lossy(request.body());
                ec2_tags::instances(operation, &form).map(Owned::TagInstances)
            }
            ("tagging", "GetResources") => {
                let body = body();
                tagging::is_about_nodes(&body).then_some(Owned::GetResources(body))
            }
            ("dynamodb", _) if self.upstream.is_none() => Some(Owned::Table(body())),
            ("lambda", "Invoke") if self.upstream.is_some() => {
                let target = Target::read(request)?;
                target.filter(|target| target.account != call.account).map(Owned::Invoke)
            }
            _ => None,
        };
        Ok(owned)
    }

    async fn perform_owned(
        &self,
        call: &Call,
        request: Request<Bytes>,
        owned: Owned,
    ) -> anyhow::Result<Result<Reply, AwsError>> {
        let nodes = &self.nodes;
        let owned = match (owned, &self.upstream) {
            (Owned::Register(body), _) => {
                let registered = hybrid::register(&self.hybrid.activations, nodes, &call.region, &body)?;
                return Ok(registered.map(|answer| reply::json_body(&answer)));
            }
            (Owned::TagInstances(ids), Some(upstream)) => {
                return ec2_tags::perform(upstream, call, &ids, request).await;
            }
            (owned, _) => owned,
        };
        if let Some(refusal) = self.check_signature(call, &request).await? {
            return Ok(Ok(refusal));
        }
        let (account, region) = (call.account.as_str(), call.region.as_str());
        match owned {
            Owned::Invoke(target) => match &self.upstream {
                Some(upstream) => invoke::perform(upstream, call, &target, &request).await,
                None => anyhow::bail!("an invocation of another account needs MiniStack"),
            },
            Owned::Tags(operation, body) => {
                let id = ssm_tags::node_id(&body);
                let tags = nodes.tags(account, region, id).unwrap_or_default();
                let context = ssm_tags::condition_keys(operation, &body, &tags);
                let action = format!("ssm:{}", call.operation());
                let allowed = self.authorize(call, &action, &node_arn(account, region, id), context).await?;
                self.finish(call, allowed, "ssm", &body, || ssm_tags::perform(operation, nodes, account, region, &body))
            }
            Owned::Describe(body) => {
                let allowed = self.authorize(call, "ssm:DescribeInstanceInformation", "*", Map::new()).await?;
                hybrid::look_at_roles(self.upstream.as_ref(), nodes, account, region).await?;
                self.finish(call, allowed, "ssm", &body, || ssm_describe::perform(nodes, account, region, &body))
            }
            Owned::PatchStates(body) => {
                let allowed = self.authorize(call, "ssm:DescribeInstancePatchStates", "*", Map::new()).await?;
                self.finish(call, allowed, "ssm", &body, || ssm_patches::perform(nodes, account, region, &body))
            }
            Owned::Automation(operation, body) => {
                let model = self.models.get("ssm")?;
                automation::serve(&self.automation, self.upstream.as_ref(), &model, call, operation, &body).await
            }
            Owned::Hybrid(operation, body) => {
                for need in hybrid::needs(call, operation, nodes, &body) {
                    if let Err(denial) = self.decide(call, need).await? {
                        return Ok(Err(denial));
                    }
                }
                let (model, upstream) = (self.models.get("ssm")?, self.upstream.as_ref());
                let done = hybrid::perform(&self.hybrid, nodes, upstream, &model, call, operation, &body).await?;
                Ok(done.map(|answer| reply::json_body(&answer)))
            }
            Owned::Table(body) => {
                let model = self.models.get("dynamodb")?;
                Ok(Ok(dynamodb::serve(&self.tables, &model, call, &body)))
            }
            Owned::Register(_) | Owned::TagInstances(_) => anyhow::bail!("answered before the signature is checked"),
            Owned::GetResources(body) => {
                let allowed = self.authorize(call, "tag:GetResources", "*", Map::new()).await?;
                self.finish(call, allowed, "resourcegroupstaggingapi", &body, || {
                    tagging::perform(nodes, account, region, &body)
                })
            }
        }
    }

    /// Checks the body against the service's model and performs the operation.
    fn finish(
        &self,
        call: &Call,
        allowed: Result<(), AwsError>,
        model: &str,
        body: &Value,
        perform: impl FnOnce() -> Result<Value, AwsError>,
    ) -> anyhow::Result<Result<Reply, AwsError>> {
        let model = self.models.get(model)?;
        let result = allowed
            .and_then(|()| validate::input(&model, call.operation(), body))
            .map_err(|error| in_service_words(call, error))
            .and_then(|()| perform());
        Ok(result.map(|answer| reply::json_body(&answer)))
    }

    /// `MiniStack` has the last word on signatures. It takes any secret of an account's root, and what
    /// it makes of the operation itself touches nothing that the edge shows.
    async fn check_signature(&self, call: &Call, request: &Request<Bytes>) -> anyhow::Result<Option<Reply>> {
        let Some(upstream) = self.upstream.as_ref().filter(|_| !call.is_root()) else { return Ok(None) };
        let reply = upstream.forward.send(request.clone()).await?;
        let code = error_code(&reply);
        Ok(code.filter(|code| SIGNATURE_ERRORS.contains(&code.as_str())).map(|_| reply))
    }

    async fn decide(&self, call: &Call, need: Need) -> anyhow::Result<Result<(), AwsError>> {
        self.authorize(call, need.action, &need.resource, need.context).await
    }

    /// Without `MiniStack` everybody may do everything.
    async fn authorize(
        &self,
        call: &Call,
        action: &str,
        resource: &str,
        context: Map<String, Value>,
    ) -> anyhow::Result<Result<(), AwsError>> {
        let Some(upstream) = self.upstream.as_ref().filter(|_| !call.is_root()) else { return Ok(Ok(())) };
        let question = Question {
            access_key: call.access_key.clone(),
            region: call.region.clone(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            context,
            policy: None,
        };
        let decision = upstream.access.decide(&question).await?;
        Ok(match access::denial(&decision, action, resource) {
            Some(denial) => Err(AwsError::new(400, "AccessDeniedException", denial)),
            None => Ok(()),
        })
    }
}

/// The Tagging API has no `ValidationException` among its errors.
fn in_service_words(call: &Call, mut error: AwsError) -> AwsError {
    if call.service == "tagging" && error.code == "ValidationException" {
        "InvalidParameterException".clone_into(&mut error.code);
    }
    error
}

fn wants_only_ec2(body: &Value) -> bool {
    let filters = body["Filters"].as_array().into_iter().flatten();
    filters
        .filter(|filter| filter["Key"] == "ResourceType")
        .any(|filter| filter["Values"] == serde_json::json!(["EC2Instance"]))
}

/// A stack deploys in the background, so every look at it may be the first one after a change.
fn may_change_policies(call: &Call) -> bool {
    let reads = ["Get", "List", "Describe", "Simulate"];
    call.service == "cloudformation"
        || (call.service == "iam" && !reads.iter().any(|read| call.operation().starts_with(read)))
}

fn names(request: &Request<Bytes>, id: &str) -> bool {
    let contains = |bytes: &[u8]| bytes.windows(id.len().max(1)).any(|window| window == id.as_bytes());
    contains(request.uri().path().as_bytes()) || contains(request.body())
}

/// The code of a JSON error.
fn error_code(reply: &Reply) -> Option<String> {
    if !reply.status().is_client_error() {
        return None;
    }
    let body: Value = serde_json::from_slice(reply.body()).ok()?;
    let kind = body["__type"].as_str()?;
    Some(kind.rsplit('#').next().unwrap_or(kind).to_owned())
}

fn is_throttled(reply: &Reply) -> bool {
    if reply.status() == StatusCode::TOO_MANY_REQUESTS {
        return true;
    }
    let is_error = reply.status().is_client_error() || reply.status() == StatusCode::SERVICE_UNAVAILABLE;
    let codes = ["ThrottlingException", "ThrottledException", "RequestLimitExceeded", "SlowDown", ">Throttling<"];
    let says = |code: &&str| reply.body().windows(code.len()).any(|window| window == code.as_bytes());
    is_error && reply.body().len() < 4096 && codes.iter().any(says)
}
