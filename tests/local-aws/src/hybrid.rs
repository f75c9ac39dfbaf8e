//! What Systems Manager does with hybrid nodes: activations, registration and its end, Run Command.
//!
//! Each operation says what has to be allowed, as in the service authorization reference; then it is
//! checked against the model and performed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::activations::{self, Activations};
use crate::aws_error::AwsError;
use crate::call::Call;
use crate::commands::{Commands, document_name};
use crate::model::Model;
use crate::nodes::{Nodes, node_arn};
use crate::ssm_tags::{self, requested};
use crate::upstream::Upstream;
use crate::validate;

/// An operation that a principal signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    CreateActivation,
    DescribeActivations,
    DeleteActivation,
    Deregister,
    UpdateRole,
    SendCommand,
    ListCommands,
    ListInvocations,
    GetInvocation,
    GetTier,
    SetTier,
}

impl Operation {
    pub(crate) fn parse(name: &str, body: &Value) -> Option<Self> {
        match name {
            "GetServiceSetting" if is_tier(body) => Some(Self::GetTier),
            "UpdateServiceSetting" if is_tier(body) => Some(Self::SetTier),
            "CreateActivation" => Some(Self::CreateActivation),
            "DescribeActivations" => Some(Self::DescribeActivations),
            "DeleteActivation" => Some(Self::DeleteActivation),
            "DeregisterManagedInstance" => Some(Self::Deregister),
            "UpdateManagedInstanceRole" => Some(Self::UpdateRole),
            "SendCommand" => Some(Self::SendCommand),
            "ListCommands" => Some(Self::ListCommands),
            "ListCommandInvocations" => Some(Self::ListInvocations),
            "GetCommandInvocation" => Some(Self::GetInvocation),
            _ => None,
        }
    }
}

/// The operation of the agent, which nobody signs.
pub(crate) const REGISTER: &str = "RegisterManagedInstance";

/// The setting that says in which tier the hybrid nodes of an account and Region are.
const TIER_SETTING: &str = "/ssm/managed-instance/activation-tier";

fn is_tier(body: &Value) -> bool {
    body["SettingId"].as_str().is_some_and(|id| id.ends_with(TIER_SETTING))
}

/// What the operations work on.
#[derive(Debug, Default)]
pub(crate) struct Hybrid {
    /// The accounts and Regions in the advanced tier.
    advanced: Mutex<BTreeSet<(String, String)>>,
    pub(crate) activations: Activations,
    pub(crate) commands: Commands,
}

/// An action that has to be allowed on a resource.
#[derive(Debug, PartialEq)]
pub(crate) struct Need {
    pub(crate) action: &'static str,
    pub(crate) resource: String,
    pub(crate) context: Map<String, Value>,
}

/// What has to be allowed, all of it. With tags as targets, `ssm:SendCommand` is asked for on
/// `managed-instance/*`.
pub(crate) fn needs(call: &Call, operation: Operation, nodes: &Nodes, body: &Value) -> Vec<Need> {
    let (account, region) = (call.account.as_str(), call.region.as_str());
    let on = |action, resource: String| Need { action, resource, context: Map::new() };
    let everything = |action| vec![on(action, "*".to_owned())];
    match operation {
        Operation::CreateActivation => {
            let pairs = requested(body);
            let mut context: Map<String, Value> =
                pairs.iter().map(|(key, value)| (format!("aws:RequestTag/{key}"), json!(value))).collect();
            if !pairs.is_empty() {
                context.insert("aws:TagKeys".to_owned(), pairs.iter().map(|(key, _)| json!(key)).collect());
            }
            let create = Need { action: "ssm:CreateActivation", resource: "*".to_owned(), context };
            let pass = pass_role(account, body);
            // Tags are checked on the role of the activation, which has no name yet, and with no condition that is known.
            let tag = (!pairs.is_empty()).then(|| on("ssm:AddTagsToResource", role_arn(account, body)));
            [create, pass].into_iter().chain(tag).collect()
        }
        Operation::DescribeActivations => everything("ssm:DescribeActivations"),
        Operation::DeleteActivation => everything("ssm:DeleteActivation"),
        Operation::Deregister => {
            let id = body["InstanceId"].as_str().unwrap_or_default();
            let tags = nodes.tags(account, region, id).unwrap_or_default();
            let mut context = ssm_tags::condition_keys(ssm_tags::Operation::List, body, &tags);
            context.extend(tags.iter().map(|(key, value)| (format!("ssm:resourceTag/{key}"), json!(value))));
            vec![Need { action: "ssm:DeregisterManagedInstance", resource: node_arn(account, region, id), context }]
        }
        Operation::UpdateRole => {
            let id = body["InstanceId"].as_str().unwrap_or_default();
            vec![on("ssm:UpdateManagedInstanceRole", node_arn(account, region, id)), pass_role(account, body)]
        }
        Operation::SendCommand => {
            let name = document_name(body);
            let owner = if name.starts_with("AWS-") { "" } else { account };
            let document = on("ssm:SendCommand", format!("arn:aws:ssm:{region}:{owner}:document/{name}"));
            let ids: Vec<&str> = match crate::xml::items(&body["InstanceIds"]) {
                [] => vec!["*"],
                ids => ids.iter().filter_map(Value::as_str).collect(),
            };
            let nodes = ids.into_iter().map(|id| on("ssm:SendCommand", node_arn(account, region, id)));
            [document].into_iter().chain(nodes).collect()
        }
        Operation::ListCommands => everything("ssm:ListCommands"),
        Operation::ListInvocations => everything("ssm:ListCommandInvocations"),
        Operation::GetInvocation => everything("ssm:GetCommandInvocation"),
        Operation::GetTier => vec![on("ssm:GetServiceSetting", setting_arn(account, region))],
        Operation::SetTier => vec![on("ssm:UpdateServiceSetting", setting_arn(account, region))],
    }
}

/// Performs a request that is allowed.
pub(crate) async fn perform(
    hybrid: &Hybrid,
    nodes: &Nodes,
    upstream: Option<&Upstream>,
    model: &Model,
    call: &Call,
    operation: Operation,
    body: &Value,
) -> anyhow::Result<Result<Value, AwsError>> {
    if let Err(error) = validate::input(model, call.operation(), body) {
        return Ok(Err(error));
    }
    let (account, region) = (call.account.as_str(), call.region.as_str());
    let Hybrid { activations, commands, advanced } = hybrid;
    Ok(match operation {
        Operation::CreateActivation => match check_role(upstream, account, region, body).await? {
            Ok(()) => activations.create(account, region, body),
            Err(error) => Err(error),
        },
        Operation::DescribeActivations => activations.describe(account, region, body),
        Operation::DeleteActivation => activations.delete(account, region, body),
        Operation::Deregister => deregister(nodes, account, region, body),
        Operation::UpdateRole => match check_role(upstream, account, region, body).await? {
            Ok(()) => update_role(nodes, account, region, body),
            Err(error) => Err(error),
        },
        Operation::SendCommand => {
            look_at_roles(upstream, nodes, account, region).await?;
            commands.send(nodes, account, region, body)
        }
        Operation::ListCommands => commands.commands(account, region, body),
        Operation::ListInvocations => commands.invocations(account, region, body),
        Operation::GetInvocation => commands.invocation(account, region, body),
        Operation::GetTier => {
            let home = (account.to_owned(), region.to_owned());
            let is_advanced = advanced.lock().unwrap_or_else(PoisonError::into_inner).contains(&home);
            let (value, status) = if is_advanced { ("advanced", "Customized") } else { ("standard", "Default") };
            Ok(json!({"ServiceSetting": {
                "SettingId": TIER_SETTING, "SettingValue": value, "Status": status, "ARN": setting_arn(account, region)
            }}))
        }
        Operation::SetTier => set_tier(advanced, account, region, body),
    })
}

/// `RegisterManagedInstance`, for which the activation is all that is asked.
pub(crate) fn register(
    activations: &Activations,
    nodes: &Nodes,
    region: &str,
    body: &Value,
) -> anyhow::Result<Result<Value, AwsError>> {
    let model: Model = serde_json::from_value(activations::agent_model())?;
    let region = Some(region).filter(|region| !region.is_empty());
    Ok(validate::input(&model, REGISTER, body).and_then(|()| activations.register(nodes, region, body)))
}

fn set_tier(
    advanced: &Mutex<BTreeSet<(String, String)>>,
    account: &str,
    region: &str,
    body: &Value,
) -> Result<Value, AwsError> {
    let home = (account.to_owned(), region.to_owned());
    let mut advanced = advanced.lock().unwrap_or_else(PoisonError::into_inner);
    match body["SettingValue"].as_str() {
        Some("advanced") => drop(advanced.insert(home)),
        Some("standard") => drop(advanced.remove(&home)),
        _ => return Err(AwsError::new(400, "ValidationException", "The tier is standard or advanced.")),
    }
    Ok(json!({}))
}

fn setting_arn(account: &str, region: &str) -> String {
    format!("arn:aws:ssm:{region}:{account}:servicesetting{TIER_SETTING}")
}

fn deregister(nodes: &Nodes, account: &str, region: &str, body: &Value) -> Result<Value, AwsError> {
    if nodes.deregister(account, region, body["InstanceId"].as_str().unwrap_or_default()) {
        return Ok(json!({}));
    }
    Err(AwsError::new(400, "InvalidInstanceId", ""))
}

fn update_role(nodes: &Nodes, account: &str, region: &str, body: &Value) -> Result<Value, AwsError> {
    let role = body["IamRole"].as_str().unwrap_or_default().to_owned();
    if nodes.update(account, region, body["InstanceId"].as_str().unwrap_or_default(), |node| node.iam_role = role) {
        return Ok(json!({}));
    }
    Err(AwsError::new(400, "InvalidInstanceId", ""))
}

fn pass_role(account: &str, body: &Value) -> Need {
    let context = Map::from_iter([("iam:PassedToService".to_owned(), json!("ssm.amazonaws.com"))]);
    Need { action: "iam:PassRole", resource: role_arn(account, body), context }
}

fn role_arn(account: &str, body: &Value) -> String {
    role_named(account, body["IamRole"].as_str().unwrap_or_default())
}

fn role_named(account: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:role/{name}")
}

#[derive(Debug, Serialize)]
struct RoleQuestion<'a> {
    account: &'a str,
    region: &'a str,
    role: &'a str,
}

#[derive(Debug, Deserialize)]
struct RoleAnswer {
    assumable: bool,
}

/// The role has to be there and to trust Systems Manager for nodes of this account and Region. Without
/// `MiniStack` every role will do.
async fn check_role(
    upstream: Option<&Upstream>,
    account: &str,
    region: &str,
    body: &Value,
) -> anyhow::Result<Result<(), AwsError>> {
    let Some(upstream) = upstream else { return Ok(Ok(())) };
    let role = role_arn(account, body);
    if is_assumable(upstream, account, region, &role).await? {
        return Ok(Ok(()));
    }
    let message = format!("Nonexistent role or missing ssm service principal in trust policy: {role}");
    Ok(Err(AwsError::new(400, "ValidationException", message)))
}

/// Finds out which nodes have lost their role, before somebody reaches for them.
pub(crate) async fn look_at_roles(
    upstream: Option<&Upstream>,
    nodes: &Nodes,
    account: &str,
    region: &str,
) -> anyhow::Result<()> {
    let Some(upstream) = upstream else { return Ok(()) };
    let mut assumable = BTreeMap::new();
    for name in nodes.roles(account, region) {
        let is_there = is_assumable(upstream, account, region, &role_named(account, &name)).await?;
        assumable.insert(name, is_there);
    }
    nodes.set_roles(account, region, &assumable);
    Ok(())
}

async fn is_assumable(upstream: &Upstream, account: &str, region: &str, role: &str) -> anyhow::Result<bool> {
    let question = json!({"node": RoleQuestion { account, region, role }});
    let answer: RoleAnswer = upstream.access.ask(&question).await?;
    Ok(answer.assumable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::NewNode;

    const NODE: &str = "mi-0123456789abcdef0";

    fn needed(operation: Operation, body: &Value) -> Vec<(&'static str, String, Value)> {
        let nodes = Nodes::default();
        let tags = [("Env".to_owned(), "PROD".to_owned())].into();
        nodes.register("111111111111", "us-east-1", NewNode { id: Some(NODE.to_owned()), tags, ..NewNode::default() });
        let call = Call::named("ssm", "Any", "111111111111", "us-east-1");
        let needs = needs(&call, operation, &nodes, body).into_iter();
        needs.map(|need| (need.action, need.resource, Value::Object(need.context))).collect()
    }

    #[test]
    fn an_activation_passes_its_role_on() {
        let body = json!({"IamRole": "service-role/node", "Tags": [{"Key": "a", "Value": "1"}]});
        let expected = vec![
            ("ssm:CreateActivation", "*".to_owned(), json!({"aws:RequestTag/a": "1", "aws:TagKeys": ["a"]})),
            (
                "iam:PassRole",
                "arn:aws:iam::111111111111:role/service-role/node".to_owned(),
                json!({"iam:PassedToService": "ssm.amazonaws.com"}),
            ),
            ("ssm:AddTagsToResource", "arn:aws:iam::111111111111:role/service-role/node".to_owned(), json!({})),
        ];
        assert_eq!(needed(Operation::CreateActivation, &body), expected);
    }

    #[test]
    fn a_command_needs_its_document_and_its_nodes() {
        let body = json!({"DocumentName": "AWS-RunShellScript", "InstanceIds": [NODE]});
        let resources: Vec<String> = needed(Operation::SendCommand, &body).into_iter().map(|need| need.1).collect();
        let node = format!("arn:aws:ssm:us-east-1:111111111111:managed-instance/{NODE}");
        assert_eq!(resources, ["arn:aws:ssm:us-east-1::document/AWS-RunShellScript".to_owned(), node]);
    }

    #[test]
    fn deregistration_knows_the_tags_of_the_node() {
        let needs = needed(Operation::Deregister, &json!({"InstanceId": NODE}));
        assert_eq!(needs[0].2, json!({"aws:ResourceTag/Env": "PROD", "ssm:resourceTag/Env": "PROD"}));
    }
}
