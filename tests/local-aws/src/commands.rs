//! Run Command over managed nodes: which nodes a command reached.
//!
//! Shapes: `SendCommandRequest`, `Command`, `CommandInvocation`. Nothing is run. Targets are resolved when
//! the command is sent: the values of one target are alternatives, several targets all have to hold.
//! A node that is `Online` succeeds at once, unless the test says otherwise; any other stays `Pending`.
//! EC2 instances are not there, nor are resource groups, document versions, outputs and cancellation.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::aws_error::AwsError;
use crate::clock;
use crate::nodes::{Node, Nodes};
use crate::xml::items;

const DEFAULT_PAGE: u64 = 50;

/// A command that was sent, with the status of each node that it reached.
#[derive(Debug, Clone)]
pub struct Command {
    pub command_id: String,
    pub document: String,
    /// By node id: `Success`, `Failed`, `Pending` and so on. Shape: `CommandInvocationStatus`.
    pub nodes: BTreeMap<String, String>,
    account: String,
    region: String,
    request: Value,
    names: BTreeMap<String, String>,
    requested: SystemTime,
}

/// The commands of every account and Region.
#[derive(Debug, Default)]
pub struct Commands {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which they were sent.
    commands: Vec<Command>,
    statuses: HashMap<String, String>,
}

impl Commands {
    /// The commands of an account in a Region, the oldest first.
    pub fn list(&self, account: &str, region: &str) -> Vec<Command> {
        self.lock().commands.iter().filter(|command| command.is_in(account, region)).cloned().collect()
    }

    /// What becomes of later commands on a node, such as `Failed` or `TimedOut`.
    pub fn set_status(&self, node: &str, status: &str) {
        self.lock().statuses.insert(node.to_owned(), status.to_owned());
    }

    /// `SendCommand` for a request that the model accepts.
    ///
    /// # Errors
    /// `InvalidInstanceId` for an id of no node or of one that is not online, `DuplicateInstanceId`,
    /// `InvalidTarget` for a key that is not taken here, `InvalidParameters` where nothing or both ways are named.
    pub(crate) fn send(&self, nodes: &Nodes, account: &str, region: &str, body: &Value) -> Result<Value, AwsError> {
        let all = nodes.list(account, region);
        let reached = reached(&all, body)?;
        let mut state = self.lock();
        let status = |node: &&Node| match state.statuses.get(&node.instance_id) {
            Some(status) => status.clone(),
            None if node.shown_ping_status() == "Online" => "Success".to_owned(),
            None => "Pending".to_owned(),
        };
        let name = |node: &&Node| node.name.clone().unwrap_or_default();
        let command = Command {
            command_id: uuid::Uuid::new_v4().to_string(),
            document: document_name(body).to_owned(),
            nodes: reached.iter().map(|node| (node.instance_id.clone(), status(node))).collect(),
            account: account.to_owned(),
            region: region.to_owned(),
            request: body.clone(),
            names: reached.iter().map(|node| (node.instance_id.clone(), name(node))).collect(),
            requested: clock::now(),
        };
        let answer = json!({"Command": command.view()});
        state.commands.push(command);
        Ok(answer)
    }

    /// `ListCommands`, the newest first.
    ///
    /// # Errors
    /// `InvalidCommandId`, `InvalidFilterKey`, `InvalidNextToken`.
    pub(crate) fn commands(&self, account: &str, region: &str, body: &Value) -> Result<Value, AwsError> {
        let found = self.chosen(account, region, body)?;
        let node = body["InstanceId"].as_str();
        let found = found.iter().filter(|command| node.is_none_or(|node| command.nodes.contains_key(node)));
        let views = found.map(Command::view).filter(|view| filters_take(body, view)).collect();
        page(body, "Commands", views)
    }

    /// `ListCommandInvocations`, those of the newest command first.
    ///
    /// # Errors
    /// `InvalidCommandId`, `InvalidFilterKey`, `InvalidNextToken`.
    pub(crate) fn invocations(&self, account: &str, region: &str, body: &Value) -> Result<Value, AwsError> {
        let found = self.chosen(account, region, body)?;
        let details = body["Details"] == true;
        let wanted = body["InstanceId"].as_str();
        let views = found.iter().flat_map(|command| {
            let nodes = command.nodes.keys().filter(|node| wanted.is_none_or(|wanted| wanted == *node));
            nodes.map(|node| command.invocation(node, details))
        });
        page(body, "CommandInvocations", views.filter(|view| filters_take(body, view)).collect())
    }

    /// `GetCommandInvocation`.
    ///
    /// # Errors
    /// `InvalidCommandId`, `InvocationDoesNotExist`.
    pub(crate) fn invocation(&self, account: &str, region: &str, body: &Value) -> Result<Value, AwsError> {
        let found = self.chosen(account, region, body)?;
        let node = body["InstanceId"].as_str().unwrap_or_default();
        let command = found.first().filter(|command| command.nodes.contains_key(node));
        let Some(command) = command else { return Err(AwsError::new(400, "InvocationDoesNotExist", "")) };
        let mut answer = command.invocation(node, false);
        let code = response_code(answer["Status"].as_str().unwrap_or_default());
        if let Some(answer) = answer.as_object_mut() {
            answer.retain(|name, _| !["InstanceName", "RequestedDateTime"].contains(&name.as_str()));
            answer.insert("ResponseCode".to_owned(), json!(code));
            for empty in ["StandardOutputContent", "StandardErrorContent"] {
                answer.insert(empty.to_owned(), json!(""));
            }
        }
        Ok(answer)
    }

    /// The newest first; one where an id is named.
    fn chosen(&self, account: &str, region: &str, body: &Value) -> Result<Vec<Command>, AwsError> {
        let id = body["CommandId"].as_str();
        let mut found = self.list(account, region);
        found.retain(|command| id.is_none_or(|id| command.command_id == id));
        if id.is_some() && found.is_empty() {
            return Err(AwsError::new(400, "InvalidCommandId", ""));
        }
        found.reverse();
        Ok(found)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Command {
    fn is_in(&self, account: &str, region: &str) -> bool {
        self.account == account && self.region == region
    }

    fn view(&self) -> Value {
        let count = |wanted: &[&str]| self.nodes.values().filter(|status| wanted.contains(&status.as_str())).count();
        let (succeeded, pending) = (count(&["Success"]), count(&["Pending", "InProgress", "Delayed"]));
        let status = match self.nodes.len() {
            0 => "Success",
            _ if pending > 0 => "InProgress",
            all if succeeded == all => "Success",
            _ => "Failed",
        };
        let details = if self.nodes.is_empty() { "NoInstancesInTag" } else { status };
        json!({
            "CommandId": self.command_id,
            "DocumentName": self.document,
            "DocumentVersion": self.request["DocumentVersion"].as_str().unwrap_or("$DEFAULT"),
            "Comment": self.request["Comment"].as_str().unwrap_or_default(),
            "Parameters": self.request.get("Parameters").cloned().unwrap_or_else(|| json!({})),
            "InstanceIds": self.request.get("InstanceIds").cloned().unwrap_or_else(|| json!([])),
            "Targets": self.request.get("Targets").cloned().unwrap_or_else(|| json!([])),
            "RequestedDateTime": clock::epoch_seconds(self.requested),
            "Status": status,
            "StatusDetails": details,
            "MaxConcurrency": self.request["MaxConcurrency"].as_str().unwrap_or("50"),
            "MaxErrors": self.request["MaxErrors"].as_str().unwrap_or("0"),
            "TargetCount": self.nodes.len(),
            "CompletedCount": self.nodes.len() - pending,
            "ErrorCount": self.nodes.len() - pending - succeeded,
            "DeliveryTimedOutCount": 0,
        })
    }

    fn invocation(&self, node: &str, details: bool) -> Value {
        let status = self.nodes.get(node).map_or("Pending", String::as_str);
        let mut view = json!({
            "CommandId": self.command_id,
            "InstanceId": node,
            "InstanceName": self.names.get(node).map_or("", String::as_str),
            "Comment": self.request["Comment"].as_str().unwrap_or_default(),
            "DocumentName": self.document,
            "DocumentVersion": self.request["DocumentVersion"].as_str().unwrap_or("$DEFAULT"),
            "RequestedDateTime": clock::epoch_seconds(self.requested),
            "Status": status,
            "StatusDetails": status,
        });
        if details {
            let plugin = json!({"Name": "aws:runShellScript", "Status": status, "ResponseCode": response_code(status), "Output": ""});
            view["CommandPlugins"] = json!([plugin]);
        }
        view
    }
}

/// The document of a request, without what stands before it in an ARN.
pub(crate) fn document_name(body: &Value) -> &str {
    let name = body["DocumentName"].as_str().unwrap_or_default();
    name.rsplit('/').next().unwrap_or(name)
}

fn reached<'a>(all: &'a [Node], body: &Value) -> Result<Vec<&'a Node>, AwsError> {
    let (ids, targets) = (texts(&body["InstanceIds"]), items(&body["Targets"]));
    match (ids.is_empty(), targets.is_empty()) {
        (true, true) => Err(invalid_parameters("InstanceIds or Targets have to be given.")),
        (false, false) => Err(invalid_parameters("InstanceIds and Targets can't be given together.")),
        (false, true) => {
            let online = all.iter().filter(|node| node.shown_ping_status() == "Online");
            let online: BTreeSet<&str> = online.map(|node| node.instance_id.as_str()).collect();
            if ids.len() > ids.iter().collect::<BTreeSet<_>>().len() {
                return Err(AwsError::new(400, "DuplicateInstanceId", ""));
            }
            if let Some(bad) = ids.iter().find(|id| !online.contains(*id)) {
                let message = format!("Instances [[{bad}]] not in a valid state for account");
                return Err(AwsError::new(400, "InvalidInstanceId", message));
            }
            Ok(all.iter().filter(|node| ids.contains(&node.instance_id.as_str())).collect())
        }
        (true, false) => {
            for key in targets.iter().map(|target| target["Key"].as_str().unwrap_or_default()) {
                if !key.starts_with("tag:") && key != "tag-key" && key != "InstanceIds" {
                    return Err(AwsError::new(400, "InvalidTarget", format!("{key} is not a target here.")));
                }
            }
            Ok(all.iter().filter(|node| targets.iter().all(|target| takes(target, node))).collect())
        }
    }
}

fn takes(target: &Value, node: &Node) -> bool {
    let values = texts(&target["Values"]);
    match target["Key"].as_str().unwrap_or_default() {
        "InstanceIds" => values.contains(&node.instance_id.as_str()),
        "tag-key" => node.tags().keys().any(|key| values.contains(&key.as_str())),
        key => {
            let value = key.strip_prefix("tag:").and_then(|key| node.tags().get(key));
            value.is_some_and(|value| values.contains(&value.as_str()))
        }
    }
}

fn filters_take(body: &Value, view: &Value) -> bool {
    items(&body["Filters"]).iter().all(|filter| match filter["key"].as_str() {
        Some(name @ ("Status" | "DocumentName")) => view[name] == filter["value"],
        // Times and stages are not told apart: everything here is done at once.
        _ => true,
    })
}

fn page(body: &Value, list: &str, views: Vec<Value>) -> Result<Value, AwsError> {
    let start = match body["NextToken"].as_str().filter(|token| !token.is_empty()) {
        None => 0,
        Some(token) => token
            .parse::<usize>()
            .map_err(|_| AwsError::new(400, "InvalidNextToken", "The specified token is not valid."))?,
    };
    let limit = usize::try_from(body["MaxResults"].as_u64().unwrap_or(DEFAULT_PAGE)).unwrap_or(usize::MAX);
    let end = start.saturating_add(limit);
    let more = views.len() > end;
    let shown: Vec<Value> = views.into_iter().skip(start).take(limit).collect();
    let mut answer = json!({list: shown});
    if more {
        answer["NextToken"] = json!(end.to_string());
    }
    Ok(answer)
}

fn texts(value: &Value) -> Vec<&str> {
    items(value).iter().filter_map(Value::as_str).collect()
}

fn response_code(status: &str) -> i64 {
    match status {
        "Success" => 0,
        "Failed" => 1,
        _ => -1,
    }
}

fn invalid_parameters(message: &str) -> AwsError {
    AwsError::new(400, "InvalidParameters", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::NewNode;

    const ACCOUNT: &str = "111111111111";
    const REGION: &str = "us-east-1";

    fn fleet() -> Nodes {
        let nodes = Nodes::default();
        for (index, (os, env)) in [("Linux", "PROD"), ("Linux", "DEV"), ("Windows", "PROD")].iter().enumerate() {
            let tags = [("OS".to_owned(), (*os).to_owned()), ("Env".to_owned(), (*env).to_owned())].into();
            nodes.register(
                ACCOUNT,
                REGION,
                NewNode { id: Some(format!("mi-{index:017x}")), tags, ..NewNode::default() },
            );
        }
        nodes
    }

    fn check(targets: &Value, expected: Result<&[usize], &str>) {
        let commands = Commands::default();
        let body = json!({"DocumentName": "AWS-RunShellScript", "Targets": targets});
        let sent = commands.send(&fleet(), ACCOUNT, REGION, &body).map_err(|error| error.code);
        let ids = |indexes: &[usize]| indexes.iter().map(|index| format!("mi-{index:017x}")).collect::<Vec<_>>();
        let reached = sent.map(|_| commands.list(ACCOUNT, REGION)[0].nodes.keys().cloned().collect::<Vec<_>>());
        assert_eq!(reached, expected.map(ids).map_err(str::to_owned), "{targets}");
    }

    #[test]
    fn targets_are_alternatives_within_and_conditions_among_each_other() {
        check(&json!([{"Key": "tag:OS", "Values": ["Linux"]}]), Ok(&[0, 1]));
        check(&json!([{"Key": "tag:OS", "Values": ["Linux", "Windows"]}]), Ok(&[0, 1, 2]));
        check(&json!([{"Key": "tag:OS", "Values": ["Linux"]}, {"Key": "tag:Env", "Values": ["PROD"]}]), Ok(&[0]));
        check(&json!([{"Key": "tag-key", "Values": ["OS"]}]), Ok(&[0, 1, 2]));
        check(&json!([{"Key": "InstanceIds", "Values": ["mi-00000000000000002"]}]), Ok(&[2]));
        check(&json!([{"Key": "tag:OS", "Values": ["BeOS"]}]), Ok(&[]));
        check(&json!([{"Key": "resource-groups:Name", "Values": ["g"]}]), Err("InvalidTarget"));
        check(&json!([]), Err("InvalidParameters"));
    }

    #[test]
    fn ids_have_to_be_online() {
        let (commands, nodes) = (Commands::default(), fleet());
        let send =
            |ids: Value| commands.send(&nodes, ACCOUNT, REGION, &json!({"DocumentName": "d", "InstanceIds": ids}));
        assert!(send(json!(["mi-00000000000000000"])).is_ok());
        nodes.set_ping_status(ACCOUNT, REGION, "mi-00000000000000000", "ConnectionLost");
        assert_eq!(send(json!(["mi-00000000000000000"])).unwrap_err().code, "InvalidInstanceId");
        assert_eq!(send(json!(["mi-fffffffffffffffff"])).unwrap_err().code, "InvalidInstanceId");
        let twice = json!(["mi-00000000000000001", "mi-00000000000000001"]);
        assert_eq!(send(twice).unwrap_err().code, "DuplicateInstanceId");
    }

    #[test]
    fn the_views() {
        let (commands, nodes) = (Commands::default(), fleet());
        commands.set_status("mi-00000000000000001", "Failed");
        let body = json!({"DocumentName": "AWS-RunShellScript", "Targets": [{"Key": "tag:OS", "Values": ["Linux"]}]});
        let sent = commands.send(&nodes, ACCOUNT, REGION, &body).unwrap();
        let command = &sent["Command"];
        assert_eq!(
            (&command["Status"], &command["TargetCount"], &command["ErrorCount"]),
            (&json!("Failed"), &json!(2), &json!(1))
        );
        let id = &command["CommandId"];
        let one = json!({"CommandId": id, "MaxResults": 1, "Details": true});
        let first = commands.invocations(ACCOUNT, REGION, &one).unwrap();
        assert_eq!(first["CommandInvocations"][0]["CommandPlugins"][0]["Status"], "Success");
        let rest = json!({"CommandId": id, "NextToken": first["NextToken"]});
        let rest = commands.invocations(ACCOUNT, REGION, &rest).unwrap();
        assert_eq!(items(&rest["CommandInvocations"]).len(), 1);
        let failed = json!({"Filters": [{"key": "Status", "value": "Failed"}]});
        assert_eq!(items(&commands.invocations(ACCOUNT, REGION, &failed).unwrap()["CommandInvocations"]).len(), 1);
        let get = |node: &str| commands.invocation(ACCOUNT, REGION, &json!({"CommandId": id, "InstanceId": node}));
        assert_eq!(get("mi-00000000000000001").unwrap()["ResponseCode"], 1);
        assert_eq!(get("mi-00000000000000002").unwrap_err().code, "InvocationDoesNotExist");
        assert_eq!(
            commands.commands(ACCOUNT, REGION, &json!({"CommandId": "x"})).unwrap_err().code,
            "InvalidCommandId"
        );
    }
}
