//! The page that sets the invariants against the controls of NIST SP 800-53, docs/controls.md: made from the tests.

use std::fmt::Write as _;

use crate::generated;
use crate::tested;

const FILE: &str = "docs/controls.md";

/// A control of Revision 5 with its title, what holds here, the page that says so, and the tests that show it.
const CONTROLS: [(&str, &str, &str, &str, &[&str]); 24] = [
    (
        "AC-3",
        "Access Enforcement",
        "An agency reaches and changes only its own nodes",
        "security.md",
        &["another_agencys_node_stays_untouched", "past_its_own_alias_an_agency_is_refused"],
    ),
    (
        "AC-4",
        "Information Flow Enforcement",
        "Each agency has one alias and one parameter across accounts; answers say nothing about other agencies",
        "security.md",
        &["nobody_in_general_is_trusted", "only_the_central_account_exports"],
    ),
    (
        "AC-5",
        "Separation of Duties",
        "`TagHubOperator` starts campaigns but cannot approve them, unless `OperatorsApprove` is `Yes`",
        "taghub.md",
        &["whoever_acts_is_allowed_what_it_needs_and_nothing_else", "a_campaign_is_tried_first_asks_stops_and_goes_on"],
    ),
    (
        "AC-6",
        "Least Privilege",
        "Every statement has one action, is no wider than its reason, and is known to AWS. Each is needed; for `logs:`, \
         `sqs:`, `xray:`, and `kms:`, the test only simulates the permission",
        "security.md",
        &[
            "without_any_one_statement_something_no_longer_works",
            "without_any_one_statement_grants_do_not_follow",
            "a_statement_too_many_is_noticed",
            "every_wildcard_resource_is_explained",
            "a_mistake_in_any_part_of_a_policy_is_named",
        ],
    ),
    (
        "AU-2",
        "Event Logging",
        "Every function logs, and writes every field that queries use",
        "operations.md",
        &["every_function_has_a_log_group_with_retention", "every_log_field_that_is_asked_for_is_written"],
    ),
    (
        "AU-3",
        "Content of Audit Records",
        "Each change of a node has a log line, without tag values or activation codes",
        "operations.md",
        &["a_log_has_a_line_for_each_change", "an_error_is_logged_without_the_answer"],
    ),
    (
        "AU-11",
        "Audit Record Retention",
        "A parameter sets how long logs are kept",
        "operations.md",
        &["log_groups_are_encrypted_and_end"],
    ),
    (
        "CM-3",
        "Configuration Change Control",
        "An invalid policy changes nothing; grants follow the organization through reviewed change sets",
        "grants.md",
        &[
            "a_policy_that_is_not_understood_changes_nothing",
            "grants_follow_the_organization_by_a_change_set_that_somebody_reviews",
        ],
    ),
    (
        "CM-6",
        "Configuration Settings",
        "Every parameter has a pattern that agrees with the code",
        "deploy.md",
        &["every_parameter_is_explained_and_bounded", "every_pattern_takes_the_good_and_refuses_the_bad"],
    ),
    (
        "CM-8",
        "System Component Inventory",
        "Every instance of an agency is counted once, as managed or unmanaged; a node leaves the inventory only with all \
         the evidence that its instance is gone",
        "semantics.md",
        &[
            "every_instance_that_is_not_terminated_counts_once",
            "a_sweep_names_every_instance_without_a_node_and_the_manager_says_which_had_one",
            "a_node_is_retired_with_every_piece_and_only_then",
            "an_agency_cannot_make_a_mark_look_older_than_it_is",
        ],
    ),
    (
        "CP-10",
        "System Recovery and Reconstitution",
        "After a crash at any call, the next run restores order; nodes stay connected without the hub",
        "architecture.md",
        &[
            "a_holder_that_dies_at_any_call_leaves_nothing_that_nobody_owns",
            "nodes_stay_connected_when_every_stack_is_gone",
        ],
    ),
    (
        "IA-3",
        "Device Identification and Authentication",
        "An instance registers with its agency's activation and can tag only itself",
        "register-instance.md",
        &[
            "an_activation_that_is_not_for_this_instance_is_refused_before_anything_is_done",
            "a_registration_is_never_overwritten_and_no_clone_is_confirmed",
        ],
    ),
    (
        "IA-5",
        "Authenticator Management",
        "Activation codes are renewed in time, deleted when not needed, and kept out of logs and answers",
        "activations.md",
        &[
            "an_activation_is_made_once_renewed_in_time_and_deleted_when_nobody_needs_it",
            "a_code_that_is_stored_nowhere_is_deleted_at_once",
            "an_error_that_quotes_the_value_hides_the_code",
        ],
    ),
    (
        "IA-9",
        "Service Identification and Authentication",
        "The caller's identity comes from the alias that AWS authorized, never from the message",
        "architecture.md",
        &["who_calls_is_read_from_the_alias_and_nowhere_else"],
    ),
    (
        "SA-10",
        "Developer Configuration Management",
        "Dependencies are pinned and come from the public index",
        "releasing.md",
        &["every_locked_package_comes_from_the_public_index", "every_action_of_a_workflow_is_pinned"],
    ),
    (
        "SA-11",
        "Developer Testing and Evaluation",
        "Promises are tested, and pages name the tests",
        "tested.md",
        &["the_page_of_what_was_tested_where_is_that_of_the_tests", "every_node_is_exactly_right_in_the_end"],
    ),
    (
        "SC-5",
        "Denial-of-Service Protection",
        "Reports are bounded, and one agency's bulk work does not delay another's changes",
        "semantics.md",
        &[
            "a_report_of_more_than_a_thousand_instances_is_refused_in_words",
            "in_a_throttling_storm_every_node_is_right_in_the_end",
        ],
    ),
    (
        "SC-8",
        "Transmission Confidentiality and Integrity",
        "Buckets and topics refuse requests without TLS",
        "security.md",
        &["whoever_acts_is_allowed_what_it_needs_and_nothing_else", "no_statement_can_go_unnoticed"],
    ),
    (
        "SC-28",
        "Protection of Information at Rest",
        "AWS encrypts stored data; a key of your own can encrypt queues, log groups, topics, and the table",
        "security.md",
        &[
            "buckets_are_encrypted_versioned_and_closed",
            "every_table_is_encrypted_with_the_key_that_is_given",
            "log_groups_are_encrypted_and_end",
            "queues_are_encrypted_with_a_key_of_sqs_or_ones_own",
            "topics_are_encrypted_with_ones_own_key",
        ],
    ),
    (
        "SI-4",
        "System Monitoring",
        "Failed, throttled, and lost requests fire an alarm, as does an agency's silence; every alarm watches its own hub \
         and has a row in the operations guide",
        "operations.md",
        &[
            "every_function_has_a_place_for_failures",
            "every_function_has_its_alarms",
            "every_alarm_has_a_row_in_the_handbook_and_the_other_way_round",
            "alarms_name_what_they_watch_by_reference",
        ],
    ),
    (
        "SI-7",
        "Software, Firmware, and Information Integrity",
        "`register-instance` has a checksum; packages and templates can be pinned to an object version",
        "security.md",
        &["a_web_server_is_asked_and_believed_by_its_certificate_and_the_checksums"],
    ),
    (
        "SI-10",
        "Information Input Validation",
        "Reports, requests, and policies are parsed strictly, and all problems are reported at once",
        "messages.md",
        &["all_problems_are_told_at_once", "a_refused_request_changes_nothing"],
    ),
    (
        "SI-11",
        "Error Handling",
        "Messages name the place, not the contents",
        "messages.md",
        &["a_problem_names_the_field_and_shows_no_contents"],
    ),
    (
        "SI-17",
        "Fail-safe Procedures",
        "Without a lease, nothing is written; an empty list of accounts removes no grant",
        "architecture.md",
        &[
            "an_agency_whose_lease_is_not_to_be_had_waits_for_the_next_run",
            "an_empty_organization_takes_no_grant_away_and_an_excluded_account_gets_none",
        ],
    ),
];

fn table() -> String {
    let tests = tested::tests();
    let mut out = String::from("| control | what holds here | shown by |\n|---|---|---|\n");
    for (control, title, invariant, page, names) in CONTROLS {
        for name in names {
            assert!(tests.contains_key(*name), "{control}: there is no test {name}");
        }
        let shown: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        writeln!(out, "| {control} {title} | [{invariant}]({page}) | {} |", shown.join("<br>")).unwrap();
    }
    out
}

#[test]
fn the_table_of_controls_names_tests_that_there_are() {
    generated::check(FILE, "the tests", |_| table());
}

#[test]
fn controls_are_in_order_and_each_is_there_once() {
    let order = |control: &str| {
        let (family, number) = control.split_once('-').unwrap();
        (family.to_owned(), number.parse::<u8>().unwrap())
    };
    let all: Vec<_> = CONTROLS.iter().map(|(control, ..)| order(control)).collect();
    assert!(all.is_sorted_by(|one, next| one < next), "{all:?}");
}
