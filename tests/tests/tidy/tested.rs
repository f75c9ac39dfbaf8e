//! The page that says where each feature was shown, docs/tested.md: made from the tests that show it.
//!
//! A test that is renamed or taken away is noticed here. `UPDATE_DOCS=1` writes the page anew, instead of comparing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use regex::Regex;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::generated;
use crate::repository::{files, text};

const FILE: &str = "docs/tested.md";

/// A feature, the page that promises it, and the tests that show it.
const FEATURES: [(&str, &str, &[&str]); 32] = [
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
        "Concurrent writers leave every node right",
        "architecture.md",
        &[
            "every_node_is_exactly_right_in_the_end",
            "without_leases_a_deleted_tag_stays",
            "a_sweep_and_many_changes_at_once_leave_no_node_wrong",
            "a_lease_is_not_taken_from_a_holder_that_may_live",
        ],
    ),
    (
        "Crashes and lost answers leave nothing half-done",
        "architecture.md",
        &[
            "a_holder_that_dies_at_any_call_leaves_nothing_that_nobody_owns",
            "whoever_dies_where_nothing_is_forgotten_and_nothing_is_taken",
            "an_interrupted_apply_converges",
        ],
    ),
    (
        "Throttling delays changes but loses none",
        "operations.md",
        &["in_a_throttling_storm_every_node_is_right_in_the_end", "throttling_never_uses_up_the_attempts"],
    ),
    (
        "An agency reaches only its own nodes",
        "security.md",
        &[
            "another_agencys_node_stays_untouched",
            "past_its_own_alias_an_agency_is_refused",
            "who_calls_is_read_from_the_alias_and_nowhere_else",
        ],
    ),
    (
        "Operators' tags stay",
        "semantics.md",
        &["an_operators_own_tags_stay", "what_is_neither_ours_nor_the_sources_never_changes"],
    ),
    (
        "If nothing changed, nothing is written",
        "performance.md",
        &["a_run_costs_what_was_promised", "the_steady_state_costs_one_read_per_hundred_nodes"],
    ),
    (
        "An invalid policy changes nothing",
        "deploy.md",
        &["a_policy_that_is_not_understood_changes_nothing", "a_policy_is_the_same_to_template_and_code"],
    ),
    (
        "A changed policy removes few tags before its approval",
        "policy-change.md",
        &[
            "a_policy_is_looked_at_held_and_approved",
            "every_node_is_exactly_right_in_the_end",
            "an_approved_digest_removes_and_that_of_another_change_does_not",
            "no_field_of_a_policy_gets_past_the_hold",
        ],
    ),
    (
        "Staged rollout, and rollback with one parameter",
        "rollout.md",
        &["a_release_reaches_the_first_ring_then_all_and_goes_back"],
    ),
    (
        "An agency is added, tested, and removed",
        "taghub.md",
        &[
            "an_agency_is_proved_connected_and_what_is_missing_shows_at_once",
            "an_agency_comes_and_leaves_by_the_plans_that_taghub_prints",
        ],
    ),
    (
        "Instances registered twice, restored, unlinked, or with look-alike keys",
        "semantics.md",
        &[
            "an_instance_that_registers_again_leaves_its_first_node_without_the_hubs_tags",
            "a_restored_copy_adopts_the_node_once_the_original_is_terminated",
            "an_instance_whose_join_key_was_taken_away_is_told_and_its_node_keeps_its_tags",
            "keys_that_look_alike_are_one_key_and_the_more_important_one_stays",
        ],
    ),
    (
        "Retirement deregisters only terminated instances' nodes",
        "retirement.md",
        &["a_node_goes_with_its_instance_once_all_the_evidence_is_there", "the_dead_go_and_the_living_stay"],
    ),
    (
        "Activations are created, renewed, and deleted",
        "activations.md",
        &[
            "an_activation_is_made_once_renewed_in_time_and_deleted_when_nobody_needs_it",
            "two_issuers_at_once_do_no_harm",
            "whatever_happened_the_next_runs_make_it_good",
        ],
    ),
    (
        "Node limits and the tier",
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
    // By an evaluator of our own, which is not PowerShell: the page says what that cannot show.
    (
        "The script for Windows, in an evaluator that is not PowerShell",
        "register-instance.md#windows",
        &[
            "one_fault_at_each_step_of_the_script",
            "both_vaults_are_looked_at_and_the_present_one_first",
            "refusals_in_the_log_of_windows_are_told_from_others",
        ],
    ),
    (
        "Instances without a node are known",
        "messages.md",
        &[
            "whatever_an_agency_sends_fits_into_a_parameter",
            "an_agencys_coverage_is_kept_by_region_and_written_when_it_changes",
            "instances_without_a_node_are_listed",
        ],
    ),
    (
        "The fleet page",
        "fleet-page.md",
        &[
            "every_node_counts_once",
            "what_agencies_write_stays_text",
            "the_report_says_what_is_there_and_continues_the_one_before",
            "the_page_shows_what_is_on_the_local_aws_and_loads_nothing",
            "a_thousand_agencies_and_a_hundred_thousand_nodes_are_one_page",
        ],
    ),
    (
        "A run starts once",
        "fanout.md",
        &["whatever_tries_again_starts_one_execution", "no_location_is_started_twice_under_one_key"],
    ),
    (
        "Runs are tracked, stopped, and resumed",
        "fanout.md",
        &[
            "every_cause_of_trouble_is_told",
            "a_run_is_stopped_at_once_or_after_what_has_begun",
            "where_the_execution_role_was_missing_the_run_is_resumed_once",
        ],
    ),
    (
        "Campaigns run in waves",
        "fanout.md",
        &["a_campaign_is_tried_first_asks_stops_and_goes_on", "no_location_is_started_twice_in_one_campaign"],
    ),
    (
        "Least privilege: every statement is needed",
        "security.md",
        &["without_any_one_statement_something_no_longer_works", "no_statement_can_go_unnoticed"],
    ),
    (
        "Nodes stay connected without the hub",
        "deploy.md",
        &["nodes_stay_connected_when_every_stack_is_gone", "the_nodes_role_outlives_its_stack_and_is_of_no_other"],
    ),
    ("Upgrades keep the node role", "upgrade.md", &["the_upgrade_from_one_stack_keeps_the_nodes_role"]),
    (
        "Two hubs in one account",
        "second-hub.md",
        &["a_second_hub_stands_beside_the_first", "every_fixed_name_carries_the_prefix_and_fits"],
    ),
    (
        "Deployment, upgrade, rollback, and removal",
        "deploy.md",
        &[
            "the_walk_through_of_a_deployment_works_as_it_is_written",
            "every_stack_comes_and_goes_without_a_trace",
            "an_update_brings_new_code_and_new_behaviour_and_goes_back",
        ],
    ),
    ("From nothing to a command", "getting-started.md", &["the_original_six_steps_work_as_they_are_written_today"]),
    (
        "Grants follow the organization",
        "grants.md",
        &[
            "grants_follow_the_organization_by_a_change_set_that_somebody_reviews",
            "an_empty_organization_takes_no_grant_away_and_an_excluded_account_gets_none",
            "switched_on_additions_are_carried_out_and_removals_wait",
        ],
    ),
    (
        "Verification on AWS",
        "verify.md",
        &[
            "every_probe_runs_and_nothing_is_left",
            "what_is_otherwise_is_refuted",
            "an_interrupted_run_removes_everything_and_a_killed_one_is_removed_later",
        ],
    ),
    (
        "A new manager serves older collectors",
        "deploy.md",
        &["a_collector_of_the_last_release_is_served_and_reads_every_answer"],
    ),
];

/// What `make verify-aws` has recorded of its runs on AWS.
const VERIFIED: &str = "docs/verified.json";

/// What the pages assume of AWS, each with its probe or the reason for having none.
const ASSUMPTIONS: &str = "scripts/verify/assumptions.json";

/// A run on AWS.
#[derive(Debug, Deserialize)]
struct Run {
    by: String,
    when: String,
    /// `aws`, or `stand-in`, which shows nothing here.
    #[serde(rename = "where")]
    place: String,
    steps: Vec<Seen>,
    assumptions: Vec<Seen>,
}

/// What a run saw of a step or an assumption.
#[derive(Debug, Deserialize)]
struct Seen {
    id: String,
    feature: Option<String>,
    verdict: String,
}

impl Run {
    /// The verdict on a feature or an assumption, with who gave it; none where the run did not come to it.
    fn says(&self, is_about: impl Fn(&Seen) -> bool) -> Option<String> {
        let verdicts = self.steps.iter().chain(&self.assumptions).filter(|seen| is_about(seen));
        let verdicts: Vec<&str> = verdicts.map(|seen| seen.verdict.as_str()).collect();
        let verdict = match verdicts.as_slice() {
            [] => return None,
            all if all.iter().any(|verdict| ["refuted", "not shown"].contains(verdict)) => "**refuted**",
            all if all.iter().all(|verdict| ["confirmed", "shown"].contains(verdict)) => "confirmed",
            _ => return None,
        };
        Some(format!("{verdict} by {}, {}", self.by, self.when))
    }
}

fn read<T: DeserializeOwned>(text: &str, file: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The runs that were recorded, the last one first.
fn runs(recorded: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = read(recorded, VERIFIED);
    for run in &runs {
        assert!(run.place == "aws", "{VERIFIED} has a run on a {}, which shows nothing about AWS", run.place);
        assert!(!run.by.is_empty(), "{VERIFIED} has a run by nobody");
    }
    runs.reverse();
    runs
}

fn says(runs: &[Run], is_about: impl Fn(&Seen) -> bool) -> String {
    runs.iter().find_map(|run| run.says(&is_about)).unwrap_or_else(|| "not yet".to_owned())
}

/// The list of assumptions.
#[derive(Debug, Deserialize)]
struct Listed {
    assumptions: Vec<Assumption>,
    #[serde(rename = "withoutProbe")]
    without_probe: Vec<Assumption>,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Assumption {
    id: String,
    #[serde(rename = "assumption")]
    says: String,
    page: String,
    /// Why it has no probe.
    reason: Option<String>,
    feature: Option<String>,
}

/// A step of the story that shows a feature.
#[derive(Debug, Deserialize)]
struct Step {
    feature: Option<String>,
}

fn listed() -> Listed {
    read(&text(ASSUMPTIONS).unwrap(), ASSUMPTIONS)
}

fn assumptions(runs: &[Run]) -> String {
    let listed = listed();
    let mut out = String::from("| assumption | probe | AWS |\n|---|---|---|\n");
    for Assumption { id, says: what, page, reason, .. } in listed.assumptions.iter().chain(&listed.without_probe) {
        let (probe, on_aws) = match reason {
            Some(reason) => (format!("none for `{id}`: {reason}"), "not yet".to_owned()),
            None => (format!("`{id}`"), says(runs, |seen| seen.id == *id)),
        };
        writeln!(out, "| [{what}]({page}) | {probe} | {on_aws} |").unwrap();
    }
    out
}

/// Where a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Unit,
    Simulation,
    LocalAws,
}

impl Place {
    fn of(path: &str) -> Self {
        // Everything under this runs real programs on the local AWS; a simulation has its world in memory.
        if path.starts_with("tests/tests/end_to_end/") || path == "tests/tests/page.rs" {
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
pub(crate) fn tests() -> BTreeMap<String, Vec<Place>> {
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

fn table(runs: &[Run]) -> String {
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
        let on_aws = says(runs, |seen| seen.feature.as_deref() == Some(feature));
        let [unit, simulation, local] = [Place::Unit, Place::Simulation, Place::LocalAws].map(at);
        writeln!(out, "| [{feature}]({page}) | {unit} | {simulation} | {local} | {on_aws} |").unwrap();
    }
    out
}

#[test]
fn the_page_of_what_was_tested_where_is_that_of_the_tests() {
    let runs = runs(&text(VERIFIED).unwrap());
    // One after the other, because both may write the page.
    generated::check(FILE, "the tests", |_| table(&runs));
    generated::check(FILE, "the assumptions", |_| assumptions(&runs));
}

#[test]
fn every_mark_names_an_assumption_and_every_assumption_is_marked_until_it_is_confirmed() {
    let mark = Regex::new(r"UNCONFIRMED: ((?:`[a-z0-9-]+`(?:, )?)+)").unwrap();
    let mut marked = BTreeSet::new();
    for file in files().iter().filter(|file| Path::new(file).extension().is_some_and(|ending| ending == "md")) {
        for found in mark.captures_iter(&text(file).unwrap()) {
            marked.extend(found[1].split(", ").map(|id| (id.trim_matches('`').to_owned(), file.clone())));
        }
    }
    let (listed, runs) = (listed(), runs(&text(VERIFIED).unwrap()));
    let open = listed.assumptions.iter().chain(&listed.without_probe);
    let open = open.filter(|entry| !says(&runs, |seen| seen.id == entry.id).starts_with("confirmed"));
    let open: BTreeSet<_> = open.map(|entry| (entry.id.clone(), format!("docs/{}", entry.page))).collect();
    assert_eq!(marked, open, "marked, to be marked: {ASSUMPTIONS} says which page, and {VERIFIED} what was confirmed");
}

#[test]
fn what_is_shown_on_aws_is_a_feature_of_the_page() {
    let listed = listed();
    let of_assumptions = listed.assumptions.iter().filter_map(|entry| entry.feature.as_deref());
    for feature in of_assumptions.chain(listed.steps.iter().filter_map(|step| step.feature.as_deref())) {
        assert!(FEATURES.iter().any(|(known, ..)| *known == feature), "{ASSUMPTIONS}: {feature} is not in {FILE}");
    }
}

#[test]
fn a_run_says_confirmed_where_all_of_it_was_shown_and_the_last_one_counts() {
    let run = |by: &str, sweep: &str, change: &str| {
        format!(
            r#"{{"by": "{by}", "when": "2027-01-02", "where": "aws",
                 "steps": [{{"id": "sweep", "feature": "F", "verdict": "{sweep}"}}],
                 "assumptions": [{{"id": "a", "feature": "F", "verdict": "{change}"}}]}}"#
        )
    };
    let about_f = |recorded: &[String]| {
        says(&runs(&format!("[{}]", recorded.join(","))), |seen| seen.feature.as_deref() == Some("F"))
    };
    let (good, bad) = (run("A", "shown", "confirmed"), run("B", "shown", "refuted"));
    let interrupted = run("C", "shown", "not reached");
    assert_eq!(about_f(&[]), "not yet");
    assert_eq!(about_f(std::slice::from_ref(&interrupted)), "not yet");
    assert_eq!(about_f(&[good.clone(), interrupted]), "confirmed by A, 2027-01-02");
    assert_eq!(about_f(&[good.clone(), bad.clone()]), "**refuted** by B, 2027-01-02");
    assert_eq!(about_f(&[bad, good.clone()]), "confirmed by A, 2027-01-02");
    let stand_in = good.replace("\"aws\"", "\"stand-in\"");
    assert!(std::panic::catch_unwind(|| runs(&format!("[{stand_in}]"))).is_err(), "a stand-in shows nothing about AWS");
}
