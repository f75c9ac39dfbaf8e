//! Each mend of `MiniStack` is needed: without it a test of what it mends fails. One that a newer `MiniStack` does
//! without is taken out.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::WITHOUT_MEND;

/// A mend, and a test that fails without it.
const NEEDED_BY: [(&str, &str); 24] = [
    ("alarm-expression", "engines::an_alarm_may_be_on_an_expression"),
    ("batching-window", "events::a_queue_feeds_a_function_in_batches_and_what_fails_ends_in_the_second_queue"),
    ("concurrency", "events::a_queue_feeds_a_function_in_batches_and_what_fails_ends_in_the_second_queue"),
    ("condition-keys", "events::tags_and_states_that_change_are_told_on_the_default_bus"),
    ("conditional-change", "engines::a_change_set_shows_what_a_condition_adds"),
    ("map-fails-fast", "engines::a_map_begins_nothing_more_once_an_item_has_failed"),
    ("names-by-region", "engines::a_name_that_cloudformation_chooses_is_another_one_in_each_region"),
    ("names-once", "engines::a_name_that_is_taken_fails_the_stack"),
    ("nested-attributes", "engines::a_nested_stack_may_be_a_sam_template_and_keeps_its_attributes"),
    ("nested-transform", "engines::a_nested_stack_may_be_a_sam_template_and_keeps_its_attributes"),
    ("organization", "events::a_role_of_another_account_is_assumed_where_both_sides_allow_it"),
    ("other-region", "events::tags_and_states_that_change_are_told_on_the_default_bus"),
    ("parameter-path", "events::parameters_below_a_path_are_listed_by_whoever_may_list_that_path"),
    ("parent-resource", "engines::a_task_calls_a_service_as_the_role_of_its_machine"),
    ("policy-variables", "hybrid::an_instance_acts_as_the_role_of_its_profile_and_tags_itself_alone"),
    ("queue-policy", "events::tags_and_states_that_change_are_told_on_the_default_bus"),
    ("saved-query", "engines::a_saved_query_is_deployed_if_it_has_what_it_needs"),
    ("source-instance", "hybrid::an_instance_acts_as_the_role_of_its_profile_and_tags_itself_alone"),
    ("state-events", "events::tags_and_states_that_change_are_told_on_the_default_bus"),
    ("tag-events", "events::tags_and_states_that_change_are_told_on_the_default_bus"),
    ("task-machine", "engines::a_token_is_in_the_history_and_answered_on_the_machine_that_waits_for_it"),
    ("task-parameters", "engines::a_token_is_in_the_history_and_answered_on_the_machine_that_waits_for_it"),
    ("task-sdk", "engines::a_task_calls_a_service_as_the_role_of_its_machine"),
    ("task-timeout", "engines::a_task_may_have_its_time_out_in_an_expression"),
];

#[test]
fn each_mend_is_needed() {
    let program = include_str!("../../src/ministack_mended.py");
    let table = program.split_once("\nMENDS = {\n").unwrap().1.split_once("\n}").unwrap().0;
    let mends: BTreeSet<&str> =
        table.lines().filter_map(|line| Some(line.strip_prefix("    \"")?.split_once("\": [")?.0)).collect();
    assert_eq!(mends, NEEDED_BY.iter().map(|(mend, _)| *mend).collect(), "mends, and those with a test");

    let mut needless = Vec::new();
    for (mend, test) in NEEDED_BY {
        let run = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact"])
            .env(WITHOUT_MEND, mend)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&run.stdout);
        assert!(output.contains("running 1 test"), "{mend}: no test {test}\n{output}");
        assert!(!output.contains("MiniStack ended"), "{mend}: {output}");
        if run.status.success() {
            needless.push(mend);
        }
    }
    assert!(needless.is_empty(), "without these nothing fails: {needless:?}");
}
