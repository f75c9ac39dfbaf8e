//! What the collectors' answers tell.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::Value;

/// By EC2 instance: the keys that were left behind, with the reasons.
pub(crate) fn left_behind(answers: &[Value]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut left_behind: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for node in nodes(answers) {
        for tag in node["dropped"].as_array().into_iter().flatten() {
            left_behind
                .entry(text(&node["ec2InstanceId"]))
                .or_default()
                .insert(text(&tag["key"]), text(&tag["reason"]));
        }
    }
    left_behind
}

/// By EC2 instance: the node that it names, and why it may not.
pub(crate) fn refused(answers: &[Value]) -> BTreeMap<String, (String, String)> {
    let refused = nodes(answers).filter(|node| node["outcome"] == "rejected");
    refused.map(|node| (text(&node["ec2InstanceId"]), (text(&node["instanceId"]), text(&node["reason"])))).collect()
}

/// A number among the counts of an answer.
pub(crate) fn count(answer: &Value, name: &str) -> anyhow::Result<usize> {
    let count = answer["counts"][name].as_u64().with_context(|| format!("no count {name} in {answer}"))?;
    Ok(usize::try_from(count)?)
}

fn nodes(answers: &[Value]) -> impl Iterator<Item = &Value> {
    answers.iter().flat_map(|answer| answer["nodes"].as_array().into_iter().flatten())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
