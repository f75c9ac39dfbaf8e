//! State machines and schedules: what passes is tried again, and what two hubs start has two names.

use serde_json::{Value, json};

use crate::template::templates;

/// The states of a definition, those within a Map too, each with its name.
fn states(definition: &Value) -> Vec<(String, &Value)> {
    let mut all = Vec::new();
    for (name, state) in definition["States"].as_object().into_iter().flatten() {
        all.push((name.clone(), state));
        all.extend(states(&state["ItemProcessor"]));
    }
    all
}

#[test]
fn what_could_not_be_told_is_told_again() {
    let mut found = 0;
    for template in templates() {
        for machine in template.of_kind("AWS::StepFunctions::StateMachine") {
            for (name, state) in states(&machine.properties["Definition"]) {
                let resource = state["Resource"].to_string();
                if !resource.contains(":sns:publish") {
                    continue;
                }
                let retries = state["Retry"].as_array().unwrap_or_else(|| panic!("{} {name}", machine.place()));
                assert!(retries.last().unwrap()["MaxAttempts"].as_u64() > Some(0), "{} {name}", machine.place());
                assert_eq!(retries.last().unwrap()["ErrorEquals"], json!(["States.ALL"]), "{} {name}", machine.place());
                // Who did not answer in time is not asked again.
                let is_question = resource.contains("waitForTaskToken");
                let no_answer = json!({"ErrorEquals": ["States.Timeout"], "MaxAttempts": 0});
                assert_eq!(retries.contains(&no_answer), is_question, "{} {name}", machine.place());
                found += 1;
            }
        }
    }
    assert!(found > 3, "only {found} states");
}

/// Two hubs in one account would otherwise take each other's requests for their own.
#[test]
fn what_a_schedule_starts_has_a_name_with_the_prefix() {
    let mut found = 0;
    for template in templates() {
        for schedule in template.of_kind("AWS::Scheduler::Schedule") {
            let input = &template.written("Resources", schedule.id)["Properties"]["Target"]["Input"];
            let text = input.to_string().replace("\\\"", "\"");
            for field in ["IdempotencyKey", "Name"] {
                let Some((_, value)) = text.split_once(&format!("\"{field}\":\"")) else { continue };
                assert!(value.starts_with("${NamePrefix}"), "{} {field}: {text}", schedule.place());
                found += 1;
            }
        }
    }
    assert_eq!(found, 2);
}
