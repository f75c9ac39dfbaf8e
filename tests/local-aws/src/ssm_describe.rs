//! Systems Manager `DescribeInstanceInformation` for hybrid nodes.
//!
//! Shapes: `DescribeInstanceInformationRequest`, `InstanceInformation`. Both forms of filter are
//! taken, not both at once. EC2 instances are not among the answers.

use serde_json::{Value, json};

use crate::aws_error::AwsError;
use crate::clock;
use crate::nodes::{Node, Nodes, is_node_id};
use crate::xml;

const DEFAULT_PAGE: u64 = 10;
const PING_STATUSES: [&str; 3] = ["Online", "ConnectionLost", "Inactive"];

/// Performs a request that the model accepts.
///
/// # Errors
/// `InvalidInstanceId` where one id is unknown, `InvalidFilterKey`,
/// `InvalidInstanceInformationFilterValue`, `InvalidNextToken`, and `ValidationException` for a
/// combination that the service does not take.
pub(crate) fn perform(nodes: &Nodes, account: &str, region: &str, body: &Value) -> Result<Value, AwsError> {
    let filters = filters(body)?;
    for id in filters.iter().filter(|filter| filter.key == "InstanceIds").flat_map(|filter| &filter.values) {
        if !nodes.exists(account, region, id) {
            return Err(AwsError::new(400, "InvalidInstanceId", format!("Instance id {id} is not known")));
        }
    }
    let after = body["NextToken"].as_str().filter(|token| !token.is_empty());
    if after.is_some_and(|token| !is_node_id(token)) {
        return Err(AwsError::new(400, "InvalidNextToken", "The specified token is not valid."));
    }
    let limit = usize::try_from(body["MaxResults"].as_u64().unwrap_or(DEFAULT_PAGE)).unwrap_or(usize::MAX);
    let page = nodes.page(account, region, after, limit, |node| {
        filters.iter().all(|filter| filter.takes(node)).then(|| information(node))
    });
    let mut answer = json!({"InstanceInformationList": page.items});
    if let Some(next) = page.next {
        answer["NextToken"] = Value::String(next);
    }
    Ok(answer)
}

#[derive(Debug)]
struct Filter<'a> {
    key: &'a str,
    values: Vec<&'a str>,
}

impl Filter<'_> {
    fn takes(&self, node: &Node) -> bool {
        let any = |text: &str| self.values.contains(&text);
        match self.key {
            "ActivationIds" => any(&node.activation_id),
            "AgentVersion" => any(&node.agent_version),
            "IamRole" => any(&node.iam_role),
            "PingStatus" => any(node.shown_ping_status()),
            "PlatformType" | "PlatformTypes" => any(&node.platform_type),
            "ResourceType" => any("ManagedInstance"),
            "SourceTypes" => any("AWS::SSM::ManagedInstance"),
            "InstanceIds" | "SourceIds" => any(&node.instance_id),
            "tag-key" => node.tags().keys().any(|key| any(key)),
            key => key.strip_prefix("tag:").and_then(|key| node.tags().get(key)).is_some_and(|value| any(value)),
        }
    }

    fn is_about_tags(&self) -> bool {
        self.key == "tag-key" || self.key.starts_with("tag:")
    }

    fn check(&self) -> Result<(), AwsError> {
        const KEYS: [&str; 11] = [
            "ActivationIds",
            "AgentVersion",
            "IamRole",
            "InstanceIds",
            "PingStatus",
            "PlatformType",
            "PlatformTypes",
            "ResourceType",
            "SourceIds",
            "SourceTypes",
            "AssociationStatus",
        ];
        if !self.is_about_tags() && !KEYS.contains(&self.key) {
            return Err(AwsError::new(400, "InvalidFilterKey", ""));
        }
        let allowed: &[&str] = match self.key {
            "PingStatus" => &PING_STATUSES,
            "ResourceType" => &["EC2Instance", "ManagedInstance"],
            "PlatformType" | "PlatformTypes" => &["Windows", "Linux", "MacOS"],
            _ => return Ok(()),
        };
        match self.values.iter().find(|value| !allowed.contains(value)) {
            None => Ok(()),
            Some(value) => {
                let message = format!("{value} is not a value of {}", self.key);
                Err(AwsError::new(400, "InvalidInstanceInformationFilterValue", message))
            }
        }
    }
}

fn filters(body: &Value) -> Result<Vec<Filter<'_>>, AwsError> {
    let (modern, legacy) = (xml::items(&body["Filters"]), xml::items(&body["InstanceInformationFilterList"]));
    if !modern.is_empty() && !legacy.is_empty() {
        let message = "Filters and InstanceInformationFilterList can't be used in the same request.";
        return Err(AwsError::new(400, "ValidationException", message));
    }
    let read = |filter| read_filter(filter, "Key", "Values");
    let read_legacy = |filter| read_filter(filter, "key", "valueSet");
    let filters: Vec<Filter> = modern.iter().filter_map(read).chain(legacy.iter().filter_map(read_legacy)).collect();
    for filter in &filters {
        filter.check()?;
    }
    if filters.len() > 1 && filters.iter().any(Filter::is_about_tags) {
        let message = "A tag filter can't be combined with other filters.";
        return Err(AwsError::new(400, "ValidationException", message));
    }
    Ok(filters)
}

fn read_filter<'a>(filter: &'a Value, key: &str, values: &str) -> Option<Filter<'a>> {
    let values = xml::items(&filter[values]).iter().filter_map(Value::as_str).collect();
    Some(Filter { key: filter[key].as_str()?, values })
}

fn information(node: &Node) -> Value {
    let mut information = json!({
        "InstanceId": node.instance_id,
        "PingStatus": node.shown_ping_status(),
        "LastPingDateTime": clock::epoch_seconds(node.last_ping),
        "AgentVersion": node.agent_version,
        "PlatformType": node.platform_type,
        "PlatformName": node.platform_name,
        "ActivationId": node.activation_id,
        "IamRole": node.iam_role,
        "RegistrationDate": clock::epoch_seconds(node.registration_date),
        "ResourceType": "ManagedInstance",
        "IPAddress": node.ip_address,
        "ComputerName": node.computer_name,
        "SourceId": node.instance_id,
        "SourceType": "AWS::SSM::ManagedInstance",
    });
    if let Some(name) = &node.name {
        information["Name"] = json!(name);
    }
    information
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::NewNode;

    const ACCOUNT: &str = "111111111111";
    const REGION: &str = "us-east-1";

    fn fleet() -> Nodes {
        let nodes = Nodes::default();
        for index in 0..12 {
            let id = Some(format!("mi-{index:017x}"));
            let activation_id = if index < 3 { "first" } else { "second" }.to_owned();
            let tags = [("Env".to_owned(), if index % 2 == 0 { "PROD" } else { "DEV" }.to_owned())].into();
            nodes.register(ACCOUNT, REGION, NewNode { id, activation_id, tags, ..NewNode::default() });
        }
        nodes
    }

    fn check(body: &Value, expected: Result<usize, &str>) {
        let answer = perform(&fleet(), ACCOUNT, REGION, body);
        let found = answer.as_ref().map(|answer| xml::items(&answer["InstanceInformationList"]).len());
        assert_eq!(found.map_err(|error| error.code.as_str()), expected, "{body}");
    }

    fn filter(key: &str, values: &[&str]) -> Value {
        json!({"Filters": [{"Key": key, "Values": values}], "MaxResults": 50})
    }

    #[test]
    fn filters_choose() {
        check(&json!({}), Ok(10));
        check(&json!({"MaxResults": 50}), Ok(12));
        check(&filter("ActivationIds", &["first"]), Ok(3));
        check(&filter("InstanceIds", &["mi-00000000000000001", "mi-00000000000000002"]), Ok(2));
        check(&filter("PingStatus", &["ConnectionLost"]), Ok(0));
        check(&filter("ResourceType", &["ManagedInstance"]), Ok(12));
        check(&filter("ResourceType", &["EC2Instance"]), Ok(0));
        check(&filter("tag:Env", &["PROD"]), Ok(6));
        check(&filter("tag-key", &["Env"]), Ok(12));
        let legacy = json!({"InstanceInformationFilterList": [{"key": "PlatformTypes", "valueSet": ["Linux"]}]});
        check(&legacy, Ok(10));
    }

    #[test]
    fn what_the_service_refuses() {
        check(&filter("InstanceIds", &["mi-00000000000000001", "mi-fffffffffffffffff"]), Err("InvalidInstanceId"));
        check(&filter("Colour", &["red"]), Err("InvalidFilterKey"));
        check(&filter("PingStatus", &["Asleep"]), Err("InvalidInstanceInformationFilterValue"));
        check(&json!({"NextToken": "nonsense"}), Err("InvalidNextToken"));
        let both = json!({"Filters": [{"Key": "tag:Env", "Values": ["PROD"]}, {"Key": "IamRole", "Values": ["r"]}]});
        check(&both, Err("ValidationException"));
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let nodes = fleet();
        let mut seen = Vec::new();
        let mut token = Value::Null;
        loop {
            let body = json!({"MaxResults": 5, "NextToken": token});
            let answer = perform(&nodes, ACCOUNT, REGION, &body).unwrap();
            seen.extend(xml::items(&answer["InstanceInformationList"]).iter().map(|node| node["InstanceId"].clone()));
            token = answer["NextToken"].clone();
            if token.is_null() {
                break;
            }
        }
        assert_eq!(seen.len(), 12);
        assert!(seen.is_sorted_by_key(ToString::to_string));
    }
}
