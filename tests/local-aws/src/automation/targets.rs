//! The EC2 instances that the targets of a run name, as `MiniStack` has them.
//!
//! `tag:<key>`, `ParameterValues` and `AWS::EC2::Instance` are looked up among the instances of the account and Region
//! that are neither terminated nor about to be. Values are compared as they are; `*` stands for every instance under
//! `AWS::EC2::Instance`. Resource groups and target maps are not looked up.

use serde_json::Value;

use super::execution::Home;
use crate::client::Client;
use crate::upstream::Upstream;
use crate::xml::items;

/// States of instances that are gone.
const GONE: [&str; 2] = ["shutting-down", "terminated"];

/// The target of a run. Shape: `Target`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    key: String,
    values: Vec<String>,
}

impl Target {
    /// The target of a request, or a location's own; `None` where there is none, or none that is looked up.
    pub(super) fn read(body: &Value, location: &Value) -> Option<Self> {
        let target = items(&location["Targets"]).first().or(items(&body["Targets"]).first())?;
        let key = target["Key"].as_str().filter(|key| *key != "ResourceGroup")?.to_owned();
        let values = items(&target["Values"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Some(Self { key, values })
    }

    /// Whether it names this instance, as `DescribeInstances` shows it.
    fn names(&self, instance: &Value) -> bool {
        let is_value = |text: &Value| self.values.iter().any(|value| text == value);
        let mut tags = items(&instance["tagSet"]).iter();
        match self.key.strip_prefix("tag:") {
            Some(key) => tags.any(|tag| tag["key"] == key && is_value(&tag["value"])),
            None if self.key == "AWS::EC2::Instance" && self.values.iter().any(|value| value == "*") => true,
            None => is_value(&instance["instanceId"]),
        }
    }
}

/// The ids of the instances that a target names in an account and Region, sorted.
///
/// # Errors
/// Where `MiniStack` does not answer.
pub(super) async fn find(upstream: &Upstream, home: &Home, target: &Target) -> anyhow::Result<Vec<String>> {
    let client = Client::new(&format!("http://{}", upstream.host()), &home.account, &home.region);
    let answer = client.query("ec2", "DescribeInstances", &[]).await?;
    let instances = items(&answer["reservationSet"]).iter().flat_map(|reservation| items(&reservation["instancesSet"]));
    Ok(named(instances, target))
}

fn named<'a>(instances: impl Iterator<Item = &'a Value>, target: &Target) -> Vec<String> {
    let is_gone =
        |instance: &Value| instance["instanceState"]["name"].as_str().is_none_or(|state| GONE.contains(&state));
    let named = instances.filter(|instance| !is_gone(instance) && target.names(instance));
    let mut ids: Vec<String> =
        named.filter_map(|instance| instance["instanceId"].as_str().map(str::to_owned)).collect();
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(key: &str, values: &[&str], expected: &[&str]) {
        let instance = |id: &str, state: &str, env: &str| {
            let tags = json!([{"key": "Env", "value": env}]);
            json!({"instanceId": id, "instanceState": {"name": state}, "tagSet": tags})
        };
        let instances = [
            instance("i-3", "running", "PROD"),
            instance("i-1", "stopped", "PROD"),
            instance("i-2", "terminated", "PROD"),
            instance("i-4", "running", "prod"),
            // What has no tags comes as an empty text.
            json!({"instanceId": "i-5", "instanceState": {"name": "running"}, "tagSet": ""}),
        ];
        let target = Target::read(&json!({"Targets": [{"Key": key, "Values": values}]}), &json!({})).unwrap();
        assert_eq!(named(instances.iter(), &target), expected, "{key} {values:?}");
    }

    #[test]
    fn by_tag_by_id_and_all() {
        check("tag:Env", &["PROD"], &["i-1", "i-3"]);
        check("tag:Env", &["PROD", "prod"], &["i-1", "i-3", "i-4"]);
        check("tag:Env", &["*"], &[]);
        check("tag:env", &["PROD"], &[]);
        check("ParameterValues", &["i-4", "i-2", "i-9"], &["i-4"]);
        check("AWS::EC2::Instance", &["*"], &["i-1", "i-3", "i-4", "i-5"]);
    }

    #[test]
    fn a_locations_own_target_goes_before_that_of_the_request() {
        let of = |value: &str| json!({"Targets": [{"Key": "tag:Env", "Values": [value]}]});
        let target = |value: &str| Some(Target { key: "tag:Env".to_owned(), values: vec![value.to_owned()] });
        assert_eq!(Target::read(&of("PROD"), &of("TEST")), target("TEST"));
        assert_eq!(Target::read(&of("PROD"), &json!({})), target("PROD"));
        assert_eq!(Target::read(&json!({}), &json!({})), None);
        let group = json!({"Targets": [{"Key": "ResourceGroup", "Values": ["web"]}]});
        assert_eq!(Target::read(&group, &json!({})), None);
    }
}
