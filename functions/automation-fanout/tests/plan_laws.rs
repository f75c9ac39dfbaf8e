//! What planning promises, for requests of any size.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;

use automation_fanout::plan::limit::Limit;
use automation_fanout::plan::problem::Problem;
use automation_fanout::plan::request::{StartRequest, TargetLocation};
use automation_fanout::plan::{ACCOUNTS_MAX, LOCATIONS_MAX, Plan, REGIONS_MAX, TokenSource, plan, split};
use proptest::prelude::*;

const ROLE: &str = "arn:aws:iam::111111111111:role/Administration";

type Pair = (String, String);

fn location(first_account: usize, accounts: usize, regions: usize) -> TargetLocation {
    TargetLocation {
        accounts: (first_account..first_account + accounts).map(|n| format!("{n:012}")).collect(),
        regions: (0..regions).map(|n| format!("xx-region-{n}")).collect(),
        ..TargetLocation::default()
    }
}

fn request(target_locations: Vec<TargetLocation>) -> StartRequest {
    StartRequest { document_name: "Patch".to_owned(), target_locations, ..StartRequest::default() }
}

fn planned(request: &StartRequest) -> Plan {
    plan_with(request, "key").unwrap()
}

fn plan_with(request: &StartRequest, key: &str) -> Result<Plan, Vec<Problem>> {
    plan(request, &split(request)?, Some(ROLE), &TokenSource::of(key))
}

fn pairs<'a>(locations: impl IntoIterator<Item = &'a TargetLocation>) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for location in locations {
        for account in &location.accounts {
            pairs.extend(location.regions.iter().map(|region| (account.clone(), region.clone())));
        }
    }
    pairs
}

fn parts(plan: &Plan) -> Vec<&TargetLocation> {
    plan.parts.iter().flat_map(|part| &part.request.target_locations).collect()
}

fn tokens(plan: &Plan) -> Vec<String> {
    plan.parts.iter().map(|part| part.request.client_token.clone().unwrap()).collect()
}

/// The parts' pairs are the request's, none twice, and no start is larger than the API takes.
fn check(request: &StartRequest) -> Plan {
    let plan = planned(request);
    let wanted: BTreeSet<Pair> = pairs(&request.target_locations).into_iter().collect();
    let got = pairs(parts(&plan));
    assert_eq!(got.len(), wanted.len(), "no pair twice");
    assert_eq!(got.into_iter().collect::<BTreeSet<_>>(), wanted);
    for part in &plan.parts {
        let locations = &part.request.target_locations;
        assert!((1..=LOCATIONS_MAX).contains(&locations.len()));
        assert!(locations.iter().all(|location| (1..=ACCOUNTS_MAX).contains(&location.accounts.len())));
        assert!(locations.iter().all(|location| (1..=REGIONS_MAX).contains(&location.regions.len())));
        assert_eq!(part.target_locations, Some(locations.len()));
        assert_eq!(part.pairs, Some(pairs(locations).len()));
    }
    let distinct: BTreeSet<String> = tokens(&plan).into_iter().collect();
    assert_eq!(distinct.len(), plan.parts.len(), "each start has a token of its own");
    plan
}

fn sum(plan: &Plan, limit: fn(&TargetLocation) -> Option<Limit>) -> u32 {
    let number = |location: &TargetLocation| match limit(location) {
        Some(Limit::Count(count)) => count,
        other => panic!("{other:?}"),
    };
    parts(plan).into_iter().map(number).sum()
}

#[test]
fn the_whole_fleet_is_reached_with_few_starts() {
    for (accounts, regions, locations, starts) in [
        (1, 1, 1, 1),
        (50, 50, 1, 1),
        (51, 50, 2, 1),
        (51, 51, 4, 1),
        (5_000, 30, 100, 1),
        (5_001, 30, 101, 2),
        (6_000, 30, 120, 2),
    ] {
        let plan = check(&request(vec![location(0, accounts, regions)]));
        assert_eq!((parts(&plan).len(), plan.parts.len()), (locations, starts), "{accounts} x {regions}");
        assert_eq!(plan.parts.iter().map(|part| part.pairs.unwrap()).sum::<usize>(), accounts * regions);
    }
}

#[test]
fn what_the_caller_repeats_is_left_out_and_told() {
    let mut twice = location(0, 3, 2);
    twice.accounts.extend(twice.accounts.clone());
    twice.regions.push(twice.regions[0].clone());
    let plan = check(&request(vec![twice]));
    assert_eq!(
        plan.notes,
        [
            "TargetLocations[0].Accounts: 3 repeated entries are left out",
            "TargetLocations[0].Regions: 1 repeated entries are left out"
        ]
    );
    assert_eq!(
        plan.parts[0].request.target_locations,
        planned(&request(vec![location(0, 3, 2)])).parts[0].request.target_locations
    );
}

#[test]
fn notes_say_how_limits_were_read() {
    let mut numbers = location(0, 120, 1);
    numbers.target_location_max_concurrency = Some(Limit::Count(10));
    numbers.target_location_max_errors = Some(Limit::Count(4));
    let defaults = location(1_000, 51, 1);
    let mut percent = location(2_000, 51, 1);
    percent.target_location_max_concurrency = Some(Limit::Percent(10));
    percent.target_location_max_errors = Some(Limit::Percent(5));
    let plan = check(&request(vec![numbers, defaults, percent]));
    assert_eq!(
        plan.notes,
        [
            "TargetLocations[0]: 120 accounts or units and 1 Regions are split into 3 parts that run at the same time",
            "TargetLocations[0]: TargetLocationMaxConcurrency is shared out over the parts as 4, 3, 3",
            "TargetLocations[0]: TargetLocationMaxErrors is shared out over the parts as 2, 1, 1",
            "TargetLocations[1]: 51 accounts or units and 1 Regions are split into 2 parts that run at the same time",
            "TargetLocations[1]: no TargetLocationMaxConcurrency is given, so that each of the 2 parts works on 1 \
             account and Region at a time",
            "TargetLocations[1]: TargetLocationMaxErrors is 0, so that each of the 2 parts stops at its own first error",
            "TargetLocations[2]: 51 accounts or units and 1 Regions are split into 2 parts that run at the same time",
        ]
    );
    let last = parts(&plan).pop().unwrap().clone();
    assert_eq!(last.target_location_max_concurrency, Some(Limit::Percent(10)));
    assert_eq!(last.target_location_max_errors, Some(Limit::Percent(5)));
}

#[test]
fn a_request_without_locations_is_one_start() {
    let plan = planned(&request(Vec::new()));
    assert_eq!((plan.parts.len(), plan.parts[0].target_locations, plan.parts[0].pairs), (1, Some(0), Some(0)));
    let url = StartRequest { target_locations_url: Some("https://…".to_owned()), ..request(Vec::new()) };
    let plan = planned(&url);
    assert_eq!((plan.parts.len(), plan.parts[0].target_locations, plan.parts[0].pairs), (1, None, None));
}

#[test]
fn the_callers_own_role_stays() {
    let mut request = request(vec![location(0, 1, 1)]);
    assert_eq!(planned(&request).parts[0].request.parameters["AutomationAssumeRole"], [ROLE]);
    request.parameters.insert("AutomationAssumeRole".to_owned(), vec!["own".to_owned()]);
    assert_eq!(planned(&request).parts[0].request.parameters["AutomationAssumeRole"], ["own"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn every_pair_is_reached_once(sizes in proptest::collection::vec((1usize..=150, 1usize..=60), 1..=6)) {
        let locations = sizes.iter().enumerate().map(|(n, (accounts, regions))| location(n * 1_000, *accounts, *regions));
        check(&request(locations.collect()));
    }

    #[test]
    fn absolute_limits_are_kept_over_the_parts(
        accounts in 1usize..=6_000,
        regions in 1usize..=60,
        concurrency in 1u32..=500,
        errors in 0u32..=500,
    ) {
        let mut whole = location(0, accounts, regions);
        whole.target_location_max_concurrency = Some(Limit::Count(concurrency));
        whole.target_location_max_errors = Some(Limit::Count(errors));
        let request = request(vec![whole]);
        let part_count = accounts.div_ceil(ACCOUNTS_MAX) * regions.div_ceil(REGIONS_MAX);
        let result = plan_with(&request, "key");
        match result {
            Ok(plan) => {
                prop_assert_eq!(sum(&plan, |part| part.target_location_max_concurrency), concurrency);
                prop_assert_eq!(sum(&plan, |part| part.target_location_max_errors), errors);
                prop_assert!(parts(&plan).iter().all(|p| p.target_location_max_concurrency != Some(Limit::Count(0))));
            }
            Err(problems) => {
                prop_assert!((concurrency as usize) < part_count, "{:?}", problems);
            }
        }
    }

    #[test]
    fn the_order_of_accounts_changes_no_pair_and_no_token(
        accounts in Just((0..130).map(|n| format!("{n:012}")).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let ordered = check(&request(vec![location(0, 130, 3)]));
        let shuffled = check(&request(vec![TargetLocation { accounts, ..location(0, 130, 3) }]));
        prop_assert_eq!(tokens(&ordered), tokens(&shuffled));
    }

    #[test]
    fn the_same_input_makes_the_same_plan(key in ".{1,40}", accounts in 1usize..=6_000) {
        let request = request(vec![location(0, accounts, 2)]);
        let with = |key: &str| plan_with(&request, key).unwrap();
        prop_assert_eq!(with(&key), with(&key));
        let others: BTreeSet<String> = tokens(&with(&format!("{key}!"))).into_iter().collect();
        prop_assert!(tokens(&with(&key)).iter().all(|token| !others.contains(token)));
    }
}
