//! The operations, as the edge performs them: who may, is the request right, what comes of it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::execution::{Home, milliseconds};
use super::ids::Id;
use super::start::{Expansion, Known, Start};
use super::timeline::Stop;
use super::{Automation, documents, list, request, start, targets, view};
use crate::access::{self, Question};
use crate::aws_error::AwsError;
use crate::call::Call;
use crate::model::Model;
use crate::reply::{self, Reply};
use crate::upstream::Upstream;
use crate::validate;

/// An operation on automations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Start,
    Get,
    List,
    ListSteps,
    Stop,
    Signal,
    ListTags,
    AddTags,
    DescribeDocument,
    GetDocument,
    CalendarState,
}

impl Operation {
    pub(crate) fn parse(name: &str, body: &Value) -> Option<Self> {
        match name {
            "StartAutomationExecution" => Some(Self::Start),
            "GetAutomationExecution" => Some(Self::Get),
            "DescribeAutomationExecutions" => Some(Self::List),
            "DescribeAutomationStepExecutions" => Some(Self::ListSteps),
            "StopAutomationExecution" => Some(Self::Stop),
            "SendAutomationSignal" => Some(Self::Signal),
            "ListTagsForResource" => (body["ResourceType"] == "Automation").then_some(Self::ListTags),
            "AddTagsToResource" => (body["ResourceType"] == "Automation").then_some(Self::AddTags),
            "DescribeDocument" => Some(Self::DescribeDocument),
            "GetDocument" => Some(Self::GetDocument),
            "GetCalendarState" => Some(Self::CalendarState),
            _ => None,
        }
    }
}

/// What `MiniStack` is asked before a start.
#[derive(Debug, Serialize)]
struct RolesQuestion<'a> {
    account: &'a str,
    region: &'a str,
    /// The runbook, where the edge does not know it.
    document: Option<&'a str>,
    /// The role that assumes the execution roles; the caller where none is named.
    by: &'a str,
    /// Whether `by` is a role that Systems Manager has to be able to assume itself.
    #[serde(rename = "byService")]
    by_service: bool,
    roles: Vec<String>,
}

/// Its answer.
#[derive(Debug, Default, Deserialize)]
struct Roles {
    /// Whether Systems Manager can assume `by`.
    service: bool,
    /// The content of the runbook.
    document: Option<Value>,
    /// Whether `by` can assume each of the roles.
    assumable: Vec<bool>,
}

/// Performs an operation whose signature has been checked. Without `MiniStack` everybody may do everything.
pub(crate) async fn serve(
    automation: &Automation,
    upstream: Option<&Upstream>,
    model: &Model,
    call: &Call,
    operation: Operation,
    body: &Value,
) -> anyhow::Result<Result<Reply, AwsError>> {
    let id = Id::fresh();
    let caller = match caller(upstream, call, operation, body, id).await? {
        Ok(caller) => caller,
        Err(denial) => return Ok(Err(denial)),
    };
    if let Err(error) = validate::input(model, call.operation(), &as_modelled(operation, body)) {
        return Ok(Err(error));
    }
    let home = Home { account: call.account.clone(), region: call.region.clone() };
    let answer = match operation {
        Operation::Start => begin(automation, upstream, home, body, caller, id).await?,
        Operation::Get => get(automation, &home, body),
        Operation::List => list::executions(&automation.lock(), &home, body),
        Operation::ListSteps => list::steps(&automation.lock(), &home, body),
        Operation::Stop => stop(automation, &home, body),
        Operation::Signal => signal(automation, &home, body),
        Operation::ListTags => tags_of(automation, &home, body),
        Operation::AddTags => add_tags(automation, &home, body),
        Operation::DescribeDocument | Operation::GetDocument => {
            document(automation, upstream, &home, operation, body, &caller).await?
        }
        Operation::CalendarState => calendar_state(automation, body),
    };
    Ok(answer.map(|answer| reply::json_body(&answer)))
}

/// The request as the service holds it against its model: longer values of parameters than that says are reported to be
/// taken.
fn as_modelled(operation: Operation, body: &Value) -> Value {
    const VALUE_LENGTH: usize = 512;
    let mut body = body.clone();
    let parameters = body["Parameters"].as_object_mut().filter(|_| operation == Operation::Start);
    for value in parameters.into_iter().flatten().filter_map(|(_, values)| values.as_array_mut()).flatten() {
        if let Some(text) = value.as_str().filter(|text| text.chars().count() > VALUE_LENGTH) {
            *value = json!(text.chars().take(VALUE_LENGTH).collect::<String>());
        }
    }
    body
}

fn signal(automation: &Automation, home: &Home, body: &Value) -> Result<Value, AwsError> {
    let mut state = automation.lock();
    let (_, part, now) = state.find(home, body)?;
    let number = state.number(body)?;
    let takes = milliseconds(state.takes);
    let is_approved = body["SignalType"] == "Approve";
    let is_answer = is_approved || body["SignalType"] == "Reject";
    let execution = state.executions.get_mut(&number).filter(|_| is_answer);
    if execution.is_some_and(|execution| execution.answer(part, is_approved, now, takes)) {
        return Ok(json!({}));
    }
    let message = "The signal isn't valid for the current Automation execution.";
    Err(AwsError::new(400, "InvalidAutomationSignalException", message))
}

fn tags_of(automation: &Automation, home: &Home, body: &Value) -> Result<Value, AwsError> {
    let state = automation.lock();
    let named = json!({"AutomationExecutionId": body["ResourceId"]});
    let unknown = |_| AwsError::new(400, "InvalidResourceId", "The resource ID isn't valid.");
    let (execution, _, _) = state.find(home, &named).map_err(unknown)?;
    Ok(json!({"TagList": crate::xml::items(&execution.new.request["Tags"])}))
}

fn add_tags(automation: &Automation, home: &Home, body: &Value) -> Result<Value, AwsError> {
    tags_of(automation, home, body)?;
    let mut state = automation.lock();
    let number = state.number(&json!({"AutomationExecutionId": body["ResourceId"]}))?;
    if let Some(execution) = state.executions.get_mut(&number) {
        let new = crate::xml::items(&body["Tags"]);
        let mut tags = crate::xml::items(&execution.new.request["Tags"]).to_vec();
        tags.retain(|tag| new.iter().all(|new| new["Key"] != tag["Key"]));
        tags.extend_from_slice(new);
        if tags.len() > request::MAX_TAGS {
            let message =
                "The Targets parameter includes too many tags. Remove one or more tags and try the command again.";
            return Err(AwsError::new(400, "TooManyTagsError", message));
        }
        execution.new.request["Tags"] = json!(tags);
    }
    Ok(json!({}))
}

fn calendar_state(automation: &Automation, body: &Value) -> Result<Value, AwsError> {
    let state = automation.lock();
    let mut is_open = true;
    for name in crate::xml::items(&body["CalendarNames"]).iter().filter_map(Value::as_str) {
        let Some(open) = state.calendars.get(documents::short_name(name)) else {
            let message = format!("Document with name {name} does not exist.");
            return Err(AwsError::new(400, "InvalidDocument", message));
        };
        is_open &= open;
    }
    Ok(json!({"State": if is_open { "OPEN" } else { "CLOSED" }}))
}

/// `DescribeDocument` and `GetDocument` of a runbook that can be started.
async fn document(
    automation: &Automation,
    upstream: Option<&Upstream>,
    home: &Home,
    operation: Operation,
    body: &Value,
    caller: &str,
) -> anyhow::Result<Result<Value, AwsError>> {
    let name = body["Name"].as_str().unwrap_or_default();
    let known = automation.lock().runbooks.find(name);
    let expansion = Expansion { locations: Vec::new(), problem: None };
    let asked = known.is_none().then_some(name);
    let roles = roles(upstream, home, &json!({}), asked, caller, &expansion).await?;
    let runbook = known.or_else(|| roles.as_ref()?.document.as_ref().map(documents::Runbook::from_content));
    let Some(runbook) = runbook else {
        let message = format!("Document with name {name} does not exist.");
        return Ok(Err(AwsError::new(400, "InvalidDocument", message)));
    };
    if let Err(error) = documents::version(&runbook, body["DocumentVersion"].as_str()) {
        return Ok(Err(AwsError::new(400, "InvalidDocumentVersion", error.message)));
    }
    let content = runbook.content(name);
    let short = documents::short_name(name);
    if operation == Operation::GetDocument {
        return Ok(Ok(json!({
            "Name": short, "DocumentVersion": "1", "Status": "Active", "DocumentType": "Automation",
            "DocumentFormat": "JSON", "Content": content.to_string()
        })));
    }
    let parameters = content["parameters"].as_object().into_iter().flatten().map(|(name, declared)| {
        let mut shown =
            json!({"Name": name, "Type": if declared["type"] == "StringList" { "StringList" } else { "String" }});
        if let Some(default) = declared.get("default") {
            shown["DefaultValue"] = json!(default.as_str().map_or_else(|| default.to_string(), str::to_owned));
        }
        shown
    });
    Ok(Ok(json!({"Document": {
        "Name": short, "DocumentVersion": "1", "DefaultVersion": "1", "LatestVersion": "1", "Status": "Active",
        "DocumentType": "Automation", "DocumentFormat": "JSON", "SchemaVersion": "0.3",
        "Parameters": parameters.collect::<Vec<_>>()
    }})))
}

fn get(automation: &Automation, home: &Home, body: &Value) -> Result<Value, AwsError> {
    let state = automation.lock();
    let (execution, part, now) = state.find(home, body)?;
    Ok(json!({"AutomationExecution": view::execution(execution, part, now)}))
}

fn stop(automation: &Automation, home: &Home, body: &Value) -> Result<Value, AwsError> {
    let mut state = automation.lock();
    let (_, part, at) = state.find(home, body)?;
    let number = state.number(body)?;
    let cancel_takes = (body["Type"] != "Complete").then(|| milliseconds(state.takes));
    let stopped = state.executions.get_mut(&number).is_some_and(|found| found.stop(part, Stop { at, cancel_takes }));
    if stopped {
        return Ok(json!({}));
    }
    let message = "The specified update status operation isn't valid.";
    Err(AwsError::new(400, "InvalidAutomationStatusUpdateException", message))
}

async fn begin(
    automation: &Automation,
    upstream: Option<&Upstream>,
    home: Home,
    body: &Value,
    executed_by: String,
    id: Id,
) -> anyhow::Result<Result<Value, AwsError>> {
    if let Err(error) = request::check_assume_role(body, &home.account) {
        return Ok(Err(error));
    }
    let name = body["DocumentName"].as_str().unwrap_or_default();
    let (known, expansion) = {
        let state = automation.lock();
        (state.runbooks.find(name), start::expand(&state, &home, body))
    };
    let roles = roles(upstream, &home, body, known.is_none().then_some(name), &executed_by, &expansion).await?;
    let runbook = known.or_else(|| roles.as_ref()?.document.as_ref().map(documents::Runbook::from_content));
    let Some(runbook) = runbook else {
        let message = format!("Document with name {name} does not exist.");
        return Ok(Err(AwsError::new(400, "AutomationDefinitionNotFoundException", message)));
    };
    let version = match request::check(body, &runbook) {
        Ok(version) => version,
        Err(error) => return Ok(Err(error)),
    };
    if roles.as_ref().is_some_and(|roles| !roles.service) {
        // UG, automation troubleshooting.
        return Ok(Err(request::wrong_parameters("The defined assume role is unable to be assumed.")));
    }
    let known = look_up(automation, upstream, body, &expansion, roles).await?;
    let start = Start { id, home, body, version, executed_by };
    Ok(start::start(&mut automation.lock(), start, expansion, known))
}

/// What `MiniStack` knows of the accounts and Regions of a start.
async fn look_up(
    automation: &Automation,
    upstream: Option<&Upstream>,
    body: &Value,
    expansion: &Expansion,
    roles: Option<Roles>,
) -> anyhow::Result<Known> {
    let mut known = Known::default();
    let (Some(upstream), Some(roles)) = (upstream, roles) else { return Ok(known) };
    known.unassumable = unassumable(expansion, &roles);
    let lookups = start::lookups(&automation.lock(), body, expansion, &known);
    for lookup in lookups {
        known.found.insert(lookup.pair, targets::find(upstream, &lookup.home, &lookup.target).await?);
    }
    Ok(known)
}

/// What `MiniStack` knows of the roles and the runbook; `None` without it.
async fn roles(
    upstream: Option<&Upstream>,
    home: &Home,
    body: &Value,
    document: Option<&str>,
    caller: &str,
    expansion: &Expansion,
) -> anyhow::Result<Option<Roles>> {
    let Some(upstream) = upstream else { return Ok(None) };
    let assume_role = request::assume_role(body);
    let is_local = request::locations(body).is_empty();
    let all = expansion.locations.iter().flat_map(|location| {
        location.accounts.iter().map(|account| format!("arn:aws:iam::{account}:role/{}", location.role))
    });
    let question = RolesQuestion {
        account: &home.account,
        region: &home.region,
        document: document.map(documents::short_name),
        by: assume_role.unwrap_or(caller),
        by_service: assume_role.is_some(),
        roles: if is_local { Vec::new() } else { all.collect() },
    };
    Ok(Some(upstream.access.ask(&json!({"automation": question})).await?))
}

fn unassumable(expansion: &Expansion, roles: &Roles) -> HashSet<(usize, String)> {
    let accounts = expansion.locations.iter().enumerate();
    let accounts = accounts.flat_map(|(place, location)| location.accounts.iter().map(move |account| (place, account)));
    let refused = accounts.zip(&roles.assumable).filter(|(_, assumable)| !**assumable);
    refused.map(|((place, account), _)| (place, account.clone())).collect()
}

/// The caller's ARN, where its policies allow the operation.
async fn caller(
    upstream: Option<&Upstream>,
    call: &Call,
    operation: Operation,
    body: &Value,
    id: Id,
) -> anyhow::Result<Result<String, AwsError>> {
    let root = format!("arn:aws:iam::{}:root", call.account);
    let Some(upstream) = upstream.filter(|_| !call.is_root()) else { return Ok(Ok(root)) };
    let mut caller = root;
    for need in needs(call, operation, body, id) {
        let mut denial = None;
        for resource in &need.resources {
            let question = Question {
                access_key: call.access_key.clone(),
                region: call.region.clone(),
                action: need.action.clone(),
                resource: resource.clone(),
                context: need.context.clone(),
                policy: None,
            };
            let decision = upstream.access.decide(&question).await?;
            let Some(text) = access::denial(&decision, &need.action, resource) else {
                denial = None;
                caller = decision.principal;
                break;
            };
            // A denial is told of the first resource.
            denial.get_or_insert(text);
        }
        if let Some(denial) = denial {
            return Ok(Err(AwsError::new(400, "AccessDeniedException", denial)));
        }
    }
    Ok(Ok(caller))
}

/// An action that has to be allowed on one of the resources.
#[derive(Debug)]
struct Need {
    action: String,
    resources: Vec<String>,
    context: Map<String, Value>,
}

/// Service authorization reference: `ssm`, and `iam:PassRole` for the role that is handed over.
fn needs(call: &Call, operation: Operation, body: &Value, id: Id) -> Vec<Need> {
    let action = format!("ssm:{}", call.operation());
    let execution = |id: &str| format!("arn:aws:ssm:{}:{}:automation-execution/{id}", call.region, call.account);
    let on = |resource: String| Need { action: action.clone(), resources: vec![resource], context: Map::new() };
    match operation {
        Operation::List => vec![on("*".to_owned())],
        Operation::Get | Operation::ListSteps | Operation::Stop | Operation::Signal => {
            vec![on(execution(body["AutomationExecutionId"].as_str().unwrap_or_default()))]
        }
        Operation::ListTags | Operation::AddTags => {
            let id = body["ResourceId"].as_str().unwrap_or_default();
            vec![Need { context: tags(body), ..on(execution(id)) }]
        }
        Operation::DescribeDocument | Operation::GetDocument => {
            let name = body["Name"].as_str().unwrap_or_default();
            let [document, _] = documents::arns(&call.account, &call.region, name, "$DEFAULT");
            vec![on(document)]
        }
        Operation::CalendarState => {
            let names = crate::xml::items(&body["CalendarNames"]).iter().filter_map(Value::as_str);
            let [document, _] = names
                .map(|name| documents::arns(&call.account, &call.region, name, "$DEFAULT"))
                .next()
                .unwrap_or_default();
            vec![on(document)]
        }
        Operation::Start => {
            let name = body["DocumentName"].as_str().unwrap_or_default();
            let version = body["DocumentVersion"].as_str().unwrap_or("$DEFAULT");
            let runbook = Need {
                action: action.clone(),
                resources: documents::arns(&call.account, &call.region, name, version).to_vec(),
                context: tags(body),
            };
            let pass_role = request::assume_role(body).map(|role| Need {
                action: "iam:PassRole".to_owned(),
                resources: vec![role.to_owned()],
                context: Map::from_iter([("iam:PassedToService".to_owned(), json!("ssm.amazonaws.com"))]),
            });
            let own = Need { context: tags(body), ..on(execution(&id.to_string())) };
            [runbook, own].into_iter().chain(pass_role).collect()
        }
    }
}

fn tags(body: &Value) -> Map<String, Value> {
    let tags = crate::xml::items(&body["Tags"]).iter();
    let tags: Vec<(&str, &Value)> = tags.filter_map(|tag| Some((tag["Key"].as_str()?, &tag["Value"]))).collect();
    let mut context: Map<String, Value> =
        tags.iter().map(|(key, value)| (format!("aws:RequestTag/{key}"), (*value).clone())).collect();
    if !tags.is_empty() {
        context.insert("aws:TagKeys".to_owned(), tags.iter().map(|(key, _)| json!(key)).collect());
    }
    context
}
