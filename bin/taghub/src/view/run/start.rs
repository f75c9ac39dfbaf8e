//! A run before it begins: what a request would do, and what was started.

use std::collections::BTreeSet;

use serde_json::Value;

use super::answers::{NotDone, Preflight, StartAnswer};
use super::failure;
use crate::terminal::{Sign, Stream, Tone, harmless};
use crate::view::time::{counted, grouped};

/// Nodes of a `Match` that are named.
const MACHINES_SHOWN: usize = 10;

/// How many locations a preview came to; absent if a unit or a file hides it.
pub fn locations(preview: &StartAnswer) -> Option<usize> {
    preview.planned.iter().map(|planned| planned.account_region_pairs).sum()
}

/// What a request would do.
pub fn preview(preview: &StartAnswer, stream: &Stream) -> String {
    let first = preview.requests.first().unwrap_or(&Value::Null);
    let runbook = first["DocumentName"].as_str().unwrap_or("-");
    let place = match locations(preview) {
        Some(0) => "in the central account alone".to_owned(),
        Some(count) => format!("in {}{}", counted(count, "location"), shape(preview)),
        None => "in locations that an organizational unit or a file names".to_owned(),
    };
    let head = format!(
        "{} {place}, {}",
        stream.toned(Tone::Strong, &harmless(runbook)),
        counted(preview.planned.len(), "start")
    );
    let mut lines = vec![head];
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            lines.push(format!("  {name:<9} {}", harmless(&value)));
        }
    };
    fact("targets", targets(first));
    fact("at once", at_once(first));
    fact("role", first["Parameters"]["AutomationAssumeRole"][0].as_str().map(str::to_owned));
    fact("nodes", machines(preview));
    lines.extend(preview.notes.iter().map(|note| format!("  {}", stream.mark(Sign::Look, &harmless(note)))));
    lines.iter().fold(String::new(), |text, line| text + line + "\n")
}

/// `(6 accounts × 4 Regions)`, if every account runs in every Region.
fn shape(preview: &StartAnswer) -> String {
    let (mut accounts, mut regions) = (BTreeSet::new(), BTreeSet::new());
    for location in
        preview.requests.iter().flat_map(|request| request["TargetLocations"].as_array().into_iter().flatten())
    {
        let texts =
            |name: &str| location[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
        accounts.extend(texts("Accounts"));
        regions.extend(texts("Regions"));
    }
    if locations(preview) != Some(accounts.len() * regions.len()) {
        return String::new();
    }
    format!(" ({} × {})", counted(accounts.len(), "account"), counted(regions.len(), "Region"))
}

fn targets(request: &Value) -> Option<String> {
    let target = request["Targets"].as_array()?.first()?;
    let values = target["Values"].as_array()?;
    let shown: Vec<&str> = values.iter().take(MACHINES_SHOWN).filter_map(Value::as_str).collect();
    let more =
        if values.len() > shown.len() { format!(" and {} more", values.len() - shown.len()) } else { String::new() };
    let parameter = request["TargetParameterName"].as_str().map(|name| format!(" as {name}")).unwrap_or_default();
    Some(format!("{}={}{more}{parameter}", target["Key"].as_str()?, shown.join(",")))
}

fn at_once(request: &Value) -> Option<String> {
    let location = request["TargetLocations"].as_array()?.first()?;
    let concurrency = location["TargetLocationMaxConcurrency"].as_str()?;
    let errors = location["TargetLocationMaxErrors"].as_str().unwrap_or("0");
    let errors = if errors.ends_with('%') { format!("{errors} failed") } else { format!("more than {errors} failed") };
    Some(format!("{concurrency}; stops after {errors}"))
}

fn machines(preview: &StartAnswer) -> Option<String> {
    if preview.machines.is_empty() {
        return None;
    }
    let names = preview.machines.iter().take(MACHINES_SHOWN);
    let names: Vec<&str> = names.map(|machine| machine.name.as_deref().unwrap_or(&machine.node_id)).collect();
    let more = preview.machines.len().saturating_sub(MACHINES_SHOWN);
    let more = if more > 0 { format!(" and {} more", grouped(more)) } else { String::new() };
    Some(format!("{}{more}", names.join(", ")))
}

/// What was started, and what was not.
pub fn started(answer: &StartAnswer, stream: &Stream) -> String {
    let count = counted(answer.executions.len(), "execution");
    let line = if answer.complete {
        stream.mark(Sign::Good, &format!("{count} started. taghub run watch {}", answer.idempotency_key))
    } else {
        stream.mark(Sign::Bad, &format!("{count} started, {} not", answer.failed.len()))
    };
    let failed = answer.failed.iter().map(|failed| not_done(failed, stream));
    failed.fold(format!("{line}\n"), |text, line| text + &line)
}

/// Something that was not done, in a line.
pub fn not_done(failed: &NotDone, stream: &Stream) -> String {
    let id = failed.automation_execution_id.as_ref().map(|id| format!("{id} ")).unwrap_or_default();
    format!("  {}\n", stream.mark(Sign::Bad, &format!("{id}{}: {}", failed.code, harmless(&failed.message))))
}

/// Whether accounts, Regions, roles and the runbook are in order.
pub fn preflight(answer: &Preflight, stream: &Stream) -> String {
    let sign = if answer.ready { Sign::Good } else { Sign::Bad };
    let mut text = format!("{}\n", stream.mark(sign, &harmless(&answer.summary)));
    for problem in &answer.problems {
        text.push_str(&failure(problem, stream));
    }
    for failed in &answer.failed {
        text.push_str(&not_done(failed, stream));
    }
    for note in &answer.notes {
        text.push_str(&format!("  {}\n", stream.mark(Sign::Look, &harmless(note))));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::stream;
    use super::*;

    fn answer() -> StartAnswer {
        serde_json::from_value(json!({
            "Action": "Preview", "Complete": true, "IdempotencyKey": "k", "Executions": [], "Failed": [],
            "Planned": [{"ClientToken": "…", "TargetLocations": 1, "AccountRegionPairs": 4}],
            "Requests": [{
                "DocumentName": "AWS-RestartEC2Instance", "TargetParameterName": "InstanceId",
                "Targets": [{"Key": "tag:Env", "Values": ["TEST"]}],
                "Parameters": {"AutomationAssumeRole": ["arn:aws:iam::111111111111:role/Administration"]},
                "TargetLocations": [{"Accounts": ["222222222222", "333333333333"], "Regions": ["us-east-1", "us-west-2"],
                                     "TargetLocationMaxConcurrency": "4", "TargetLocationMaxErrors": "10%"}]
            }],
            "Notes": ["about 12 steps"]
        }))
        .unwrap()
    }

    #[test]
    fn what_a_request_would_do() {
        insta::assert_snapshot!(preview(&answer(), &stream(100)), @r"
        AWS-RestartEC2Instance in 4 locations (2 accounts × 2 Regions), 1 start
          targets   tag:Env=TEST as InstanceId
          at once   4; stops after 10% failed
          role      arn:aws:iam::111111111111:role/Administration
          ! about 12 steps
        ");
        assert_eq!(locations(&answer()), Some(4));
        let mut hidden = answer();
        hidden.planned[0].account_region_pairs = None;
        assert_eq!(locations(&hidden), None);
        assert!(preview(&hidden, &stream(100)).contains("an organizational unit or a file names"));
    }

    #[test]
    fn what_was_started() {
        let mut answer = answer();
        answer.executions = serde_json::from_value(json!([{"AutomationExecutionId": "4f7ca192"}])).unwrap();
        assert_eq!(started(&answer, &stream(100)), "✓ 1 execution started. taghub run watch k\n");
        answer.complete = false;
        answer.failed = serde_json::from_value(json!([{"Code": "NotTried", "Message": "because"}])).unwrap();
        assert_eq!(started(&answer, &stream(100)), "✗ 1 execution started, 1 not\n  ✗ NotTried: because\n");
    }
}
