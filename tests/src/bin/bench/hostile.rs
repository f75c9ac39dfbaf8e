//! How much memory the manager takes for reports that an agency made up to hurt.

use bytes::Bytes;
use serde_json::{Value, json};
use tests::{AGENCY_A, CENTRAL, HOME_REGION, Paths};

use crate::package::Packages;
use crate::scale::{Hub, node_id};

/// The most that a synchronous invocation takes:
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const PAYLOAD_BYTES: usize = 6_000_000;
const NODES: usize = 1_000;
const TARGET_MB: f64 = 128.0;

pub(crate) async fn measure(paths: &Paths, packages: &Packages) -> anyhow::Result<()> {
    println!("### Memory for a hostile report\n");
    println!("Target: at most {TARGET_MB} MB.\n");
    println!("| report of {} MB | answer | peak memory |\n|---|---|---|", PAYLOAD_BYTES / 1_000_000);
    let arn = format!("arn:aws:lambda:{HOME_REGION}:{CENTRAL}:function:ssm-tag-manager:agency-{AGENCY_A}");
    let mut worst: f64 = 0.0;
    for (name, payload) in reports() {
        // A process of its own for each: what it gives back to the allocator is not given back to the system.
        let hub = Hub::start(paths, packages, NODES).await?;
        let answer = match hub.manager.invoker().invoke(&arn, Bytes::from(payload)).await {
            Ok(answer) => {
                anyhow::ensure!(
                    answer.len() < PAYLOAD_BYTES,
                    "{name}: Lambda takes no answer of {} bytes",
                    answer.len()
                );
                let answer: Value = serde_json::from_slice(&answer)?;
                format!("{} of {} nodes updated", answer["counts"]["updated"], answer["counts"]["received"])
            }
            Err(error) => {
                let error: Value = serde_json::from_str(&error)?;
                error["errorMessage"].as_str().unwrap_or_default().chars().take(80).collect()
            }
        };
        let memory = hub.manager.peak_memory_mb()?;
        worst = worst.max(memory);
        println!("| {name} | {answer} | {memory:.0} MB |");
    }
    println!();
    anyhow::ensure!(worst <= TARGET_MB, "{worst:.0} MB are more than {TARGET_MB} MB");
    Ok(())
}

fn reports() -> Vec<(&'static str, String)> {
    let tags = |count: usize, value: &str| -> Vec<Value> {
        (0..count).map(|n| json!({"Key": format!("k{n}"), "Value": value})).collect()
    };
    let instances = |count: usize, tags: &[Value]| -> Vec<Value> {
        (0..count)
            .map(|n| json!({"instanceId": node_id(n), "ec2InstanceId": format!("i-{n:017x}"), "tags": tags}))
            .collect()
    };
    let report = |instances: Vec<Value>| json!({"region": HOME_REGION, "instances": instances}).to_string();
    let bad = "#".repeat(190);
    vec![
        ("1,000 nodes with 200 tags each", report(instances(NODES, &tags(200, "")))),
        ("1,000 nodes with 27 long tags that are dropped", report(instances(NODES, &tags(27, &bad)))),
        (
            "one instance with as many tags as fit",
            filled(r#"{"instances":[{"instanceId":"x","tags":["#, r#"{"Key":"","Value":""}"#, "]}]}"),
        ),
        ("as many instances as fit", filled(r#"{"instances":["#, r#"{"instanceId":"","tags":[]}"#, "]}")),
        ("as many unlinked instances as fit", filled(r#"{"instances":[],"unlinked":["#, r#""i-0""#, "]}")),
        (
            "lists in lists",
            format!(r#"{{"instances":{}{}}}"#, "[".repeat(PAYLOAD_BYTES / 2), "]".repeat(PAYLOAD_BYTES / 2)),
        ),
        ("an unknown field with a long list", filled(r#"{"what":["#, "0", "]}")),
        ("no object: a list of objects", filled("[", r#"{"":0}"#, "]")),
        (
            "a long account of characters that are escaped",
            format!(r#"{{"account":"{}"}}"#, "\u{7f}".repeat(PAYLOAD_BYTES)),
        ),
        ("one long key", format!(r#"{{"{}":0}}"#, "a".repeat(PAYLOAD_BYTES))),
        ("one long word", format!(r#"{{"instances":[],"region":"{}"}}"#, "a".repeat(PAYLOAD_BYTES))),
    ]
}

/// As many items as there is room for.
fn filled(start: &str, item: &str, end: &str) -> String {
    let count = PAYLOAD_BYTES / (item.len() + 1);
    format!("{start}{}{end}", vec![item; count].join(","))
}
