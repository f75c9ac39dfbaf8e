//! The page that sets the invariants against the controls of NIST SP 800-53, docs/controls.md: made from the tests.

use std::fmt::Write as _;

use crate::generated;
use crate::tested;

const FILE: &str = "docs/controls.md";

/// A control of Revision 5 with its title, what holds here, the page that says so, and the tests that show it.
const CONTROLS: [(&str, &str, &str, &str, &[&str]); 27] = [
    (
        "AC-3",
        "Access Enforcement",
        "An agency reaches its own nodes, and no report changes another's",
        "security.md",
        &["another_agencys_node_stays_untouched", "past_its_own_alias_an_agency_is_refused"],
    ),
    (
        "AC-4",
        "Information Flow Enforcement",
        "Between accounts there is one alias each, and one parameter each; an answer says nothing of another agency",
        "security.md",
        &["nobody_in_general_is_trusted", "only_the_central_account_exports"],
    ),
    (
        "AC-5",
        "Separation of Duties",
        "Who starts a campaign does not approve it, unless that is switched on",
        "taghub.md",
        &["whoever_acts_is_allowed_what_it_needs_and_nothing_else", "a_campaign_is_tried_first_asks_stops_and_goes_on"],
    ),
    (
        "AC-6",
        "Least Privilege",
        "One action in a statement, each needed, none too wide, each known to AWS",
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
        "Every function logs, and every field that somebody searches for is written",
        "operations.md",
        &["every_function_has_a_log_group_with_retention", "every_log_field_that_is_asked_for_is_written"],
    ),
    (
        "AU-3",
        "Content of Audit Records",
        "Each change of a node has a line, without a tag's value and without a code",
        "operations.md",
        &["a_log_has_a_line_for_each_change", "an_error_is_logged_without_the_answer"],
    ),
    (
        "AU-5",
        "Response to Audit Logging Process Failures",
        "What is given up ends in a queue with an alarm, and so does silence",
        "operations.md",
        &["every_function_has_a_place_for_failures", "every_function_has_its_alarms"],
    ),
    (
        "AU-11",
        "Audit Record Retention",
        "Logs are kept for as long as a parameter says",
        "operations.md",
        &["log_groups_are_encrypted_and_end"],
    ),
    (
        "CM-3",
        "Configuration Change Control",
        "A policy that is not understood changes nothing; grants follow the organization by a reviewed change set",
        "grants.md",
        &[
            "a_policy_that_is_not_understood_changes_nothing",
            "grants_follow_the_organization_by_a_change_set_that_somebody_reviews",
        ],
    ),
    (
        "CM-6",
        "Configuration Settings",
        "Every parameter is bounded by a pattern that the code agrees with",
        "deploy.md",
        &["every_parameter_is_explained_and_bounded", "every_pattern_takes_the_good_and_refuses_the_bad"],
    ),
    (
        "CM-8",
        "System Component Inventory",
        "Every instance of an agency is known to be managed or not, and counted once",
        "semantics.md",
        &[
            "every_instance_that_is_not_terminated_counts_once",
            "a_sweep_names_every_instance_without_a_node_and_the_manager_says_which_had_one",
        ],
    ),
    (
        "CP-10",
        "System Recovery and Reconstitution",
        "A crash at any call leaves nothing that the next run does not set right; nodes stay without the hub",
        "architecture.md",
        &[
            "a_holder_that_dies_at_any_call_leaves_nothing_that_nobody_owns",
            "nodes_stay_connected_when_every_stack_is_gone",
        ],
    ),
    (
        "IA-3",
        "Device Identification and Authentication",
        "An instance registers with its agency's activation and names itself alone",
        "register-instance.md",
        &[
            "an_activation_that_is_not_for_this_instance_is_refused_before_anything_is_done",
            "a_registration_is_never_overwritten_and_no_clone_is_confirmed",
        ],
    ),
    (
        "IA-5",
        "Authenticator Management",
        "An activation's code is renewed in time, deleted when nobody needs it, and kept out of logs and answers",
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
        "Who calls is read from the alias that AWS let in, and from nothing in the message",
        "architecture.md",
        &["who_calls_is_read_from_the_alias_and_nowhere_else"],
    ),
    (
        "SA-10",
        "Developer Configuration Management",
        "Dependencies are pinned, and come from the public index",
        "releasing.md",
        &["every_locked_package_comes_from_the_public_index", "every_action_of_a_workflow_is_pinned"],
    ),
    (
        "SA-11",
        "Developer Testing and Evaluation",
        "What is promised is tested, and the tests are named where it is promised",
        "tested.md",
        &["the_page_of_what_was_tested_where_is_that_of_the_tests", "every_node_is_exactly_right_in_the_end"],
    ),
    (
        "SC-5",
        "Denial-of-Service Protection",
        "A report is bounded, and no agency's bulk keeps another's change waiting",
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
        "SC-12",
        "Cryptographic Key Establishment and Management",
        "One customer managed key can encrypt all that is stored",
        "security.md",
        &["queues_are_encrypted_with_a_key_of_sqs_or_ones_own", "topics_are_encrypted_with_ones_own_key"],
    ),
    (
        "SC-28",
        "Protection of Information at Rest",
        "What is stored is encrypted",
        "security.md",
        &["buckets_are_encrypted_versioned_and_closed", "every_table_is_encrypted_with_the_key_that_is_given"],
    ),
    (
        "SI-4",
        "System Monitoring",
        "Every alarm has its row in the handbook, and watches what its own hub has",
        "operations.md",
        &["every_alarm_has_a_row_in_the_handbook_and_the_other_way_round", "alarms_name_what_they_watch_by_reference"],
    ),
    (
        "SI-7",
        "Software, Firmware, and Information Integrity",
        "What is fetched and run has a checksum or an object version",
        "security.md",
        &["a_web_server_is_asked_and_believed_by_its_certificate_and_the_checksums"],
    ),
    (
        "SI-10",
        "Information Input Validation",
        "A report, a request and a policy are parsed strictly, with every problem told at once",
        "messages.md",
        &["all_problems_are_told_at_once", "a_refused_request_changes_nothing"],
    ),
    (
        "SI-11",
        "Error Handling",
        "A message names the place and not the contents",
        "messages.md",
        &["a_problem_names_the_field_and_shows_no_contents"],
    ),
    (
        "SI-12",
        "Information Management and Retention",
        "A node is deregistered with all the evidence against it, and not before",
        "retirement.md",
        &["a_node_is_retired_with_every_piece_and_only_then", "an_agency_cannot_make_a_mark_look_older_than_it_is"],
    ),
    (
        "SI-17",
        "Fail-safe Procedures",
        "Without a lease nothing is written; an organization that says nothing takes no grant away",
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
