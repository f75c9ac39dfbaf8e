//! The statements of policies, wherever they are in a template, with the conditions under which they are there.

use serde_json::Value;

use crate::template::Resource;

/// A statement of a policy.
#[derive(Debug, Clone)]
pub(crate) struct Statement<'a> {
    /// Where it is below the properties of its resource, `/`-separated.
    pub(crate) path: String,
    /// The conditions of `Fn::If` around it, and those of its resource.
    pub(crate) conditions: Vec<String>,
    pub(crate) value: &'a Value,
}

/// All statements of a resource: trust, permissions or the policy of a queue or bucket.
pub(crate) fn statements<'a>(resource: &Resource<'a>) -> Vec<Statement<'a>> {
    let conditions: Vec<String> = resource.condition.iter().map(|name| (*name).to_owned()).collect();
    below(resource.properties, "", &conditions)
}

/// The statements of a part of a resource.
pub(crate) fn statements_of<'a>(resource: &Resource<'a>, property: &str) -> Vec<Statement<'a>> {
    let own = format!("/{property}/");
    statements(resource).into_iter().filter(|statement| statement.path.starts_with(&own)).collect()
}

impl Statement<'_> {
    pub(crate) fn sid(&self) -> &str {
        self.value["Sid"].as_str().unwrap_or_default()
    }

    pub(crate) fn action(&self) -> &str {
        self.value["Action"].as_str().unwrap_or_default()
    }

    pub(crate) fn is_deny(&self) -> bool {
        self.value["Effect"] == "Deny"
    }

    /// The resources, also where there is one alone.
    pub(crate) fn resources(&self) -> Vec<&Value> {
        match &self.value["Resource"] {
            Value::Null => Vec::new(),
            Value::Array(items) => items.iter().collect(),
            one => vec![one],
        }
    }
}

fn below<'a>(value: &'a Value, path: &str, conditions: &[String]) -> Vec<Statement<'a>> {
    match value {
        Value::Object(fields) if fields.contains_key("Effect") => {
            vec![Statement { path: path.to_owned(), conditions: conditions.to_vec(), value }]
        }
        Value::Object(fields) => match fields.get("Fn::If").and_then(Value::as_array) {
            Some(branches) => {
                let condition = branches[0].as_str().unwrap();
                let under = [condition.to_owned(), format!("not {condition}")];
                let branches = branches.iter().enumerate().skip(1).zip(under);
                let each = branches.map(|((at, branch), condition)| {
                    below(branch, &format!("{path}/Fn::If/{at}"), &[conditions, &[condition]].concat())
                });
                each.flatten().collect()
            }
            None => fields.iter().flat_map(|(key, item)| below(item, &format!("{path}/{key}"), conditions)).collect(),
        },
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.flat_map(|(at, item)| below(item, &format!("{path}/{at}"), conditions)).collect()
        }
        _ => Vec::new(),
    }
}

/// A value as somebody would say it: `{"Fn::GetAtt": "Queue.Arn"}` is `Queue`, `{"Fn::Sub": "a/${B}"}` is `a/B`.
pub(crate) fn said(value: &Value) -> String {
    let plain = |text: &str| text.replace("${AWS::", "${").replace("${", "").replace('}', "");
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(said).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let Some((function, argument)) = fields.iter().next() else { return String::new() };
            match function.as_str() {
                "Ref" => argument.as_str().unwrap().trim_start_matches("AWS::").to_owned(),
                "Fn::GetAtt" => argument.as_str().unwrap().split('.').next().unwrap().to_owned(),
                "Fn::Sub" if argument.is_array() => plain(argument[0].as_str().unwrap()),
                "Fn::Sub" => plain(argument.as_str().unwrap()).replace(".Arn", ""),
                "Fn::If" => format!("{} if {}", said(&argument[1]), said(&argument[0])),
                _ => fields.iter().map(|(key, item)| format!("{key} {}", said(item))).collect::<Vec<_>>().join(" and "),
            }
        }
        other => other.to_string(),
    }
}
