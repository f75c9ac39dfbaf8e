//! Resource Groups Tagging API `GetResources` for managed nodes.
//!
//! Shapes: `GetResourcesInput`, `GetResourcesOutput`. Only what is or was tagged is shown, as of the
//! lag ago; an ARN of no such node, or of another account or Region, is silently missing. Resources
//! of other types in the same request are not looked for.

use serde_json::{Value, json};

use crate::aws_error::AwsError;
use crate::nodes::{Nodes, Tags, is_node_id, node_arn};
use crate::ssm_tags::tag_list;
use crate::xml;

const TYPE: &str = "ssm:managed-instance";
const DEFAULT_PAGE: u64 = 50;

/// Whether a request is about managed nodes: by type, or by at least one ARN.
pub(crate) fn is_about_nodes(body: &Value) -> bool {
    let names_type = xml::items(&body["ResourceTypeFilters"]).iter().any(|kind| kind == TYPE);
    let names_node = |arn: &Value| arn.as_str().is_some_and(|arn| arn.contains(":managed-instance/"));
    names_type || xml::items(&body["ResourceARNList"]).iter().any(names_node)
}

/// Performs a request that the model accepts.
///
/// # Errors
/// `InvalidParameterException` for ARNs together with filters or paging, a page size outside 1 to
/// 100, a malformed ARN, or a token that is none.
pub(crate) fn perform(nodes: &Nodes, account: &str, region: &str, body: &Value) -> Result<Value, AwsError> {
    let arns = xml::items(&body["ResourceARNList"]);
    if !arns.is_empty() {
        return by_arn(nodes, account, region, body, arns);
    }
    let limit = in_range(body, "ResourcesPerPage", 1, 100)?.unwrap_or(DEFAULT_PAGE);
    in_range(body, "TagsPerPage", 100, 500)?;
    let after = body["PaginationToken"].as_str().filter(|token| !token.is_empty());
    if after.is_some_and(|token| !is_node_id(token)) {
        return Err(invalid("The PaginationToken is not valid."));
    }
    let filters = tag_filters(body)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = nodes.tagged_page(account, region, after, limit, &filters);
    let mappings: Vec<Value> =
        page.items.iter().map(|(id, tags)| mapping(&node_arn(account, region, id), tags)).collect();
    Ok(json!({"PaginationToken": page.next.unwrap_or_default(), "ResourceTagMappingList": mappings}))
}

fn by_arn(nodes: &Nodes, account: &str, region: &str, body: &Value, arns: &[Value]) -> Result<Value, AwsError> {
    for excluded in ["ResourceTypeFilters", "TagFilters", "ResourcesPerPage", "TagsPerPage", "PaginationToken"] {
        let absent = match &body[excluded] {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        if !absent {
            return Err(invalid(&format!("ResourceARNList can't be combined with {excluded}.")));
        }
    }
    let mut mappings = Vec::new();
    for arn in arns.iter().filter_map(Value::as_str) {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", _, service, its_region, its_account, resource] = parts.as_slice() else {
            return Err(invalid(&format!("{arn} is not a valid ARN.")));
        };
        let id = resource.strip_prefix("managed-instance/");
        if *service == "ssm"
            && (*its_account, *its_region) == (account, region)
            && let Some(tags) = id.and_then(|id| nodes.tagged(account, region, id))
        {
            mappings.push(mapping(arn, &tags));
        }
    }
    Ok(json!({"PaginationToken": "", "ResourceTagMappingList": mappings}))
}

fn tag_filters(body: &Value) -> Result<Vec<(&str, Vec<&str>)>, AwsError> {
    let filters = xml::items(&body["TagFilters"]);
    filters.iter().map(|filter| tag_filter(filter).ok_or_else(|| invalid("A TagFilter needs a Key."))).collect()
}

fn tag_filter(filter: &Value) -> Option<(&str, Vec<&str>)> {
    Some((filter["Key"].as_str()?, xml::items(&filter["Values"]).iter().filter_map(Value::as_str).collect()))
}

fn in_range(body: &Value, name: &str, min: u64, max: u64) -> Result<Option<u64>, AwsError> {
    match &body[name] {
        Value::Null => Ok(None),
        value => match value.as_u64().filter(|number| (min..=max).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(invalid(&format!("{name} must be between {min} and {max}."))),
        },
    }
}

fn mapping(arn: &str, tags: &Tags) -> Value {
    json!({"ResourceARN": arn, "Tags": tag_list(tags)})
}

fn invalid(message: &str) -> AwsError {
    AwsError::new(400, "InvalidParameterException", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::NewNode;

    const ACCOUNT: &str = "111111111111";
    const REGION: &str = "us-east-1";

    fn fleet(size: usize) -> Nodes {
        let nodes = Nodes::default();
        for index in 0..size {
            let env = if index % 2 == 0 { "PROD" } else { "DEV" };
            let tags = [("Env".to_owned(), env.to_owned())].into();
            let id = Some(format!("mi-{index:017x}"));
            nodes.register(ACCOUNT, REGION, NewNode { id, tags, ..NewNode::default() });
        }
        nodes
    }

    fn get(nodes: &Nodes, body: &Value) -> Result<(usize, String), String> {
        let answer = perform(nodes, ACCOUNT, REGION, body).map_err(|error| error.code)?;
        let token = answer["PaginationToken"].as_str().unwrap().to_owned();
        Ok((xml::items(&answer["ResourceTagMappingList"]).len(), token))
    }

    fn arn(index: usize) -> String {
        node_arn(ACCOUNT, REGION, &format!("mi-{index:017x}"))
    }

    #[test]
    fn owned_by_type_or_by_an_arn() {
        assert!(is_about_nodes(&json!({"ResourceTypeFilters": ["ec2:instance", TYPE]})));
        assert!(is_about_nodes(&json!({"ResourceARNList": ["arn:aws:s3:::b", arn(0)]})));
        assert!(!is_about_nodes(&json!({"ResourceTypeFilters": ["ec2:instance"]})));
    }

    #[test]
    fn pages_are_50_unless_asked_for() {
        let nodes = fleet(120);
        let body = |size: Value, token: &str| json!({"ResourceTypeFilters": [TYPE], "ResourcesPerPage": size, "PaginationToken": token});
        let (count, token) = get(&nodes, &body(Value::Null, "")).unwrap();
        assert_eq!(count, 50);
        assert_eq!(get(&nodes, &body(json!(100), &token)).unwrap(), (70, String::new()));
        for size in [0, 101] {
            assert_eq!(get(&nodes, &body(json!(size), "")), Err("InvalidParameterException".to_owned()));
        }
        assert_eq!(get(&nodes, &body(Value::Null, "x")), Err("InvalidParameterException".to_owned()));
    }

    #[test]
    fn tag_filters_are_and_over_keys_and_or_over_values() {
        let nodes = fleet(4);
        let count =
            |filters: Value| get(&nodes, &json!({"ResourceTypeFilters": [TYPE], "TagFilters": filters})).unwrap().0;
        assert_eq!(count(json!([{"Key": "Env", "Values": ["PROD"]}])), 2);
        assert_eq!(count(json!([{"Key": "Env", "Values": ["PROD", "DEV"]}])), 4);
        assert_eq!(count(json!([{"Key": "Env"}])), 4);
        assert_eq!(count(json!([{"Key": "Env"}, {"Key": "Other"}])), 0);
    }

    #[test]
    fn unknown_and_foreign_arns_are_missing_and_malformed_ones_refused() {
        let nodes = fleet(2);
        nodes.register(ACCOUNT, REGION, NewNode { id: Some("mi-0000000000000000a".to_owned()), ..NewNode::default() });
        let foreign = arn(0).replace(ACCOUNT, "222222222222");
        let elsewhere = arn(0).replace(REGION, "eu-west-1");
        let body = json!({"ResourceARNList": [arn(0), arn(1), arn(9), arn(10), foreign, elsewhere]});
        assert_eq!(get(&nodes, &body), Ok((2, String::new())));
        assert_eq!(get(&nodes, &json!({"ResourceARNList": ["mi-1"]})), Err("InvalidParameterException".to_owned()));
    }

    #[test]
    fn arns_exclude_filters_and_paging() {
        let nodes = fleet(1);
        for (name, value) in [
            ("ResourceTypeFilters", json!([TYPE])),
            ("ResourcesPerPage", json!(10)),
            ("PaginationToken", json!("mi-00000000000000000")),
        ] {
            let body = json!({"ResourceARNList": [arn(0)], name: value});
            assert_eq!(get(&nodes, &body), Err("InvalidParameterException".to_owned()), "{name}");
        }
    }
}
