//! The page that says where each feature was shown, docs/tested.md: made from the tests that show it.
//!
//! A test that is renamed or taken away is noticed here. `UPDATE_DOCS=1` writes the page anew, instead of comparing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use regex::Regex;

use crate::generated;
use crate::repository::{files, text};

const FILE: &str = "docs/tested.md";

/// A feature, the page that promises it, and the tests that show it.
const FEATURES: [(&str, &str, &[&str]); 27] = [
    (
        "Tags follow their instances",
        "semantics.md",
        &["tags_follow_their_instances", "a_scheduled_sweep_reads_every_region", "planning_again_yields_nothing"],
    ),
    (
        "Tag changes arrive by event",
        "semantics.md",
        &["many_changes_of_one_instance_are_one_read_and_one_write", "a_tag_change_reads_one_instance_in_one_region"],
    ),
    (
        "Concurrent writers leave no node wrong",
        "architecture.md",
        &[
            "every_node_is_exactly_right_in_the_end",
            "without_leases_a_deleted_tag_stays",
            "a_sweep_and_many_changes_at_once_leave_no_node_wrong",
            "a_lease_is_not_taken_from_a_holder_that_may_live",
        ],
    ),
    (
        "Crashes and lost answers leave nothing half done",
        "architecture.md",
        &[
            "a_holder_that_dies_at_any_call_leaves_nothing_that_nobody_owns",
            "whoever_dies_where_nothing_is_forgotten_and_nothing_is_taken",
            "an_interrupted_apply_converges",
        ],
    ),
    (
        "Throttling delays and never loses",
        "operations.md",
        &["in_a_throttling_storm_every_node_is_right_in_the_end", "throttling_never_uses_up_the_attempts"],
    ),
    (
        "An agency reaches its own nodes only",
        "security.md",
        &[
            "another_agencys_node_stays_untouched",
            "past_its_own_alias_an_agency_is_refused",
            "who_calls_is_read_from_the_alias_and_nowhere_else",
        ],
    ),
    (
        "Operators' own tags stay",
        "semantics.md",
        &["an_operators_own_tags_stay", "what_is_neither_ours_nor_the_sources_never_changes"],
    ),
    (
        "The steady state writes nothing",
        "performance.md",
        &["a_run_costs_what_was_promised", "the_steady_state_costs_one_read_per_hundred_nodes"],
    ),
    (
        "A policy that is not understood changes nothing",
        "deploy.md",
        &["a_policy_that_is_not_understood_changes_nothing", "a_policy_is_the_same_to_template_and_code"],
    ),
    (
        "A changed policy takes little away before it is approved",
        "policy-change.md",
        &[
            "a_policy_is_looked_at_held_and_approved",
            "every_node_is_exactly_right_in_the_end",
            "an_approved_digest_removes_and_that_of_another_change_does_not",
            "no_field_of_a_policy_gets_past_the_hold",
        ],
    ),
    (
        "Staged rollout, and back with one parameter",
        "rollout.md",
        &["a_release_reaches_the_first_ring_then_all_and_goes_back"],
    ),
    (
        "An agency is proved connected, comes, and leaves",
        "taghub.md",
        &[
            "an_agency_is_proved_connected_and_what_is_missing_shows_at_once",
            "an_agency_comes_and_leaves_by_the_plans_that_taghub_prints",
        ],
    ),
    (
        "Registered twice, restored, unlinked, renamed",
        "semantics.md",
        &[
            "an_instance_that_registers_again_leaves_its_first_node_without_the_hubs_tags",
            "a_restored_copy_adopts_the_node_once_the_original_is_terminated",
            "an_instance_whose_join_key_was_taken_away_is_told_and_its_node_keeps_its_tags",
            "keys_that_look_alike_are_one_key_and_the_more_important_one_stays",
        ],
    ),
    (
        "Retirement deregisters the dead and nothing else",
        "retirement.md",
        &["a_node_goes_with_its_instance_once_all_the_evidence_is_there", "the_dead_go_and_the_living_stay"],
    ),
    (
        "Activations are made, renewed, and deleted",
        "activations.md",
        &[
            "an_activation_is_made_once_renewed_in_time_and_deleted_when_nobody_needs_it",
            "two_issuers_at_once_do_no_harm",
            "whatever_happened_the_next_runs_make_it_good",
        ],
    ),
    (
        "Limits of nodes, and the tier",
        "cost.md",
        &[
            "an_agency_keeps_its_key_and_the_account_its_limit",
            "in_the_standard_tier_the_thousandth_node_is_the_last",
            "a_limit_below_what_is_there_stops_everything_new_and_says_so",
            "the_thousand_and_first_node_makes_all_of_them_cost",
        ],
    ),
    (
        "Instances register themselves",
        "register-instance.md",
        &[
            "every_kind_of_machine_becomes_a_tagged_node_and_stays_that_one",
            "a_success_means_that_the_running_agent_uses_the_node",
            "many_faults",
        ],
    ),
    (
        "A run starts once",
        "fanout.md",
        &["whatever_tries_again_starts_one_execution", "no_location_is_started_twice_under_one_key"],
    ),
    (
        "Runs are followed, stopped, and resumed",
        "fanout.md",
        &[
            "every_cause_of_trouble_is_told",
            "a_run_is_stopped_at_once_or_after_what_has_begun",
            "where_the_execution_role_was_missing_the_run_is_resumed_once",
        ],
    ),
    (
        "Campaigns in waves",
        "fanout.md",
        &["a_campaign_is_tried_first_asks_stops_and_goes_on", "no_location_is_started_twice_in_one_campaign"],
    ),
    (
        "Least privilege, each statement needed",
        "security.md",
        &["without_any_one_statement_something_no_longer_works", "no_statement_can_go_unnoticed"],
    ),
    (
        "Nodes stay connected without the hub",
        "deploy.md",
        &["nodes_stay_connected_when_every_stack_is_gone", "the_nodes_role_outlives_its_stack_and_is_of_no_other"],
    ),
    ("Upgrade that keeps the nodes' role", "upgrade.md", &["the_upgrade_from_one_stack_keeps_the_nodes_role"]),
    (
        "Two hubs in one account",
        "second-hub.md",
        &["a_second_hub_stands_beside_the_first", "every_fixed_name_carries_the_prefix_and_fits"],
    ),
    (
        "Deployment, update, roll-back, removal",
        "deploy.md",
        &[
            "the_walk_through_of_a_deployment_works_as_it_is_written",
            "every_stack_comes_and_goes_without_a_trace",
            "an_update_brings_new_code_and_new_behaviour_and_goes_back",
        ],
    ),
    ("From nothing to a command", "getting-started.md", &["the_original_six_steps_work_as_they_are_written_today"]),
    ("Older collectors are served", "deploy.md", &["a_collector_of_the_last_release_is_served_and_reads_every_answer"]),
];

/// What was run on AWS: the feature, by whom, and when. Nothing yet.
const ON_AWS: [(&str, &str, &str); 0] = [];

/// Where a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Unit,
    Simulation,
    LocalAws,
}

impl Place {
    fn of(path: &str) -> Self {
        // Everything under this runs real programs on the local AWS; a simulation has its world in memory.
        if path.starts_with("tests/tests/end_to_end/") {
            Self::LocalAws
        } else if path.starts_with("tests/simulation/")
            || path.ends_with("interleaving.rs")
            || path.ends_with("simulation.rs")
        {
            Self::Simulation
        } else {
            Self::Unit
        }
    }
}

/// Every test of the repository with where it runs; one that stands in several files runs in all of them.
fn tests() -> BTreeMap<String, Vec<Place>> {
    // A function that a macro makes tests of, each for a part of the seeds, takes the part.
    let function = Regex::new(
        r"(?m)^\s*(?:#\[(?:tokio::)?test[^\n]*\]\s*)(?:#\[[^\n]*\]\s*)*(?:async )?fn (\w+)|^fn (\w+)\(part: u64\)",
    )
    .unwrap();
    let mut tests: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for path in files().iter().filter(|path| Path::new(path).extension().is_some_and(|ending| ending == "rs")) {
        for found in function.captures_iter(&text(path).unwrap()) {
            let name = found.get(1).or(found.get(2)).unwrap().as_str();
            tests.entry(name.to_owned()).or_default().push(Place::of(path));
        }
    }
    tests
}

fn table() -> String {
    let tests = tests();
    let mut out =
        String::from("| feature | unit and property tests | simulation | local AWS | AWS |\n|---|---|---|---|---|\n");
    for (feature, page, names) in FEATURES {
        let at = |place: Place| {
            let shown = names.iter().filter(|name| {
                let places = tests.get(**name).unwrap_or_else(|| panic!("{feature}: there is no test {name}"));
                places.contains(&place)
            });
            shown.map(|name| format!("`{name}`")).collect::<Vec<_>>().join("<br>")
        };
        let on_aws = ON_AWS.iter().find(|(of, ..)| *of == feature);
        let on_aws = on_aws.map_or_else(|| "not yet".to_owned(), |(_, by, when)| format!("{by}, {when}"));
        let [unit, simulation, local] = [Place::Unit, Place::Simulation, Place::LocalAws].map(at);
        writeln!(out, "| [{feature}]({page}) | {unit} | {simulation} | {local} | {on_aws} |").unwrap();
    }
    out
}

#[test]
fn the_page_of_what_was_tested_where_is_that_of_the_tests() {
    generated::check(FILE, "the tests", |_| table());
}
