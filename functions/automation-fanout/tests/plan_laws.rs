//! What planning promises, for requests of any size.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::{BTreeMap, BTreeSet};

use automation_fanout::plan::limit::Limit;
use automation_fanout::plan::problem::Problem;
use automation_fanout::plan::request::{StartRequest, Target, TargetLocation};
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

const OWN: &str = "tag:Env";
const LISTED: &str = "ParameterValues";

fn target(key: &str, values: impl IntoIterator<Item = usize>) -> Target {
    Target { key: key.to_owned(), values: values.into_iter().map(|n| format!("mi-{n:017x}")).collect() }
}

/// What is run: account, Region, and a value of what it is run on.
fn work(request: &StartRequest) -> Vec<(String, String, String)> {
    let mut work = Vec::new();
    for location in &request.target_locations {
        let targets = if location.targets.is_empty() { &request.targets } else { &location.targets };
        let values: Vec<&String> = targets.iter().flat_map(|target| &target.values).collect();
        for account in location.accounts.iter().filter(|account| !location.exclude_accounts.contains(account)) {
            for region in &location.regions {
                work.extend(values.iter().map(|value| (account.clone(), region.clone(), (*value).clone())));
            }
        }
    }
    work
}

/// A location with what may be said about it: accounts twice, accounts left out, targets of its own, limits.
fn any_location(at: usize) -> impl Strategy<Value = TargetLocation> {
    let limits = [(); 4].map(|()| proptest::option::of(0u32..40));
    (1usize..=70, 1usize..=3, 0usize..=2, any::<bool>(), proptest::collection::vec(0usize..70, 0..5), limits).prop_map(
        move |(accounts, regions, twice, has_own, left_out, [concurrency, errors, of_targets, errors_of_targets])| {
            let mut one = location(at * 1_000, accounts, regions);
            one.accounts.extend(one.accounts.clone().into_iter().take(twice));
            one.exclude_accounts = left_out.into_iter().map(|n| format!("{:012}", at * 1_000 + n)).collect();
            one.targets = if has_own { vec![target(OWN, [1_000 + at])] } else { Vec::new() };
            one.target_location_max_concurrency = concurrency.filter(|count| *count > 0).map(Limit::Count);
            one.target_location_max_errors = errors.map(Limit::Count);
            one.targets_max_concurrency = of_targets.filter(|count| *count > 0).map(Limit::Count);
            one.targets_max_errors = errors_of_targets.map(Limit::Count);
            one
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever a request says, nothing is planned twice, nothing that is left out, and all else; or it is refused.
    #[test]
    fn nothing_is_planned_twice(
        locations in (any_location(0), any_location(1), any_location(2)),
        values in proptest::collection::vec(0usize..200, 1..180),
        shares_a_place in any::<bool>(),
    ) {
        let mut request = request(vec![locations.0, locations.1, locations.2]);
        request.targets = vec![target(LISTED, values)];
        if shares_a_place {
            // Two locations with different targets in the same places.
            let mut same = request.target_locations[0].clone();
            same.targets = vec![target(OWN, [1_099])];
            request.target_locations.push(same);
        }
        let Ok(plan) = plan_with(&request, "key") else {
            let may_run_out = request.target_locations.iter().any(|location| {
                location.target_location_max_concurrency.is_some()
                    || location.targets_max_concurrency.is_some()
                    || location.pair_count() == Some(0)
            });
            let is_unused = request.target_locations.iter().all(|location| !location.targets.is_empty());
            prop_assert!(may_run_out || is_unused, "refused for no reason");
            return Ok(());
        };
        let started: Vec<_> = plan.parts.iter().flat_map(|part| work(&part.request)).collect();
        let distinct: BTreeSet<_> = started.iter().cloned().collect();
        prop_assert_eq!(distinct.len(), started.len(), "something is planned twice");
        prop_assert_eq!(distinct, work(&request).into_iter().collect::<BTreeSet<_>>());
        for part in &plan.parts {
            prop_assert!(!part.request.target_locations.is_empty(), "it would run in the central account");
            prop_assert!(part.request.targets.iter().all(|target| target.values.len() <= 50));
            prop_assert_eq!(part.pairs, Some(pairs(&part.request.target_locations).len()));
        }
        // The limits of a location hold over all that is started for it.
        for (at, location) in request.target_locations.iter().enumerate() {
            let first = &location.accounts[0][..9];
            let of_it = |part: &&TargetLocation| {
                part.accounts[0].starts_with(first) && part.targets == location.targets
            };
            let all: Vec<&TargetLocation> = parts(&plan).into_iter().filter(of_it).collect();
            let total = |limit: fn(&TargetLocation) -> Option<Limit>| -> u32 {
                all.iter().map(|part| if let Some(Limit::Count(count)) = limit(part) { count } else { 0 }).sum()
            };
            if let Some(Limit::Count(count)) = location.target_location_max_concurrency {
                prop_assert_eq!(total(|part| part.target_location_max_concurrency), count, "location {}", at);
            }
            if let Some(Limit::Count(count)) = location.target_location_max_errors {
                prop_assert_eq!(total(|part| part.target_location_max_errors), count, "location {}", at);
            }
            // Those on targets hold in each account and Region, whatever is started there.
            let count = |limit: Option<Limit>| if let Some(Limit::Count(count)) = limit { count } else { 0 };
            let limits = |part: &TargetLocation| [count(part.targets_max_concurrency), count(part.targets_max_errors)];
            let mut totals: BTreeMap<Pair, [u32; 2]> = BTreeMap::new();
            for part in all {
                for place in pairs([part]) {
                    let total = totals.entry(place).or_default();
                    let [concurrency, errors] = limits(part);
                    *total = [total[0] + concurrency, total[1] + errors];
                }
            }
            prop_assert!(totals.values().all(|total| *total == limits(location)), "location {}: {:?}", at, totals);
        }
    }
}

#[test]
fn a_location_with_targets_of_its_own_is_started_once_beside_a_long_list() {
    let mut whole = request(vec![location(0, 2, 1), location(1_000, 2, 1)]);
    whole.targets = vec![target(LISTED, 0..120)];
    whole.max_concurrency = Some(Limit::Count(9));
    whole.target_locations[1].targets = vec![target(OWN, [0])];
    let plan = planned(&whole);
    let counts: Vec<usize> = plan.parts.iter().map(|part| part.request.target_locations.len()).collect();
    assert_eq!(counts, [2, 1, 1]);
    assert_eq!(plan.parts[0].request.max_concurrency, Some(Limit::Count(3)));
    assert_eq!(plan.parts[0].request.target_locations[1].targets_max_concurrency, Some(Limit::Count(9)));
    let expected = "TargetLocations[0]: it is started for each of the 3 groups of values, which makes 3 parts that run at the \
                    same time";
    assert!(plan.notes.iter().any(|note| note == expected), "{:#?}", plan.notes);
    let words = "TargetLocations[0]: no TargetLocationMaxConcurrency is given, so that each of the 3 parts works on 1";
    assert!(plan.notes.iter().any(|note| note.starts_with(words)), "{:#?}", plan.notes);
    let by_file = StartRequest {
        target_locations_url: Some("https://…".to_owned()),
        targets: whole.targets.clone(),
        ..request(Vec::new())
    };
    assert!(
        plan_with(&by_file, "key").unwrap_err()[0].to_string().contains("the locations in the file may have Targets")
    );
}

#[test]
fn a_map_that_is_given_twice_is_sent_once() {
    let map = |id: &str| [("InstanceId".to_owned(), vec![id.to_owned()])].into();
    let twice =
        StartRequest { target_maps: vec![map("i-1"), map("i-2"), map("i-1")], ..request(vec![location(0, 1, 1)]) };
    let plan = planned(&twice);
    assert_eq!(plan.parts[0].request.target_maps, [map("i-1"), map("i-2")]);
    assert!(plan.notes.contains(&"TargetMaps: 1 repeated maps are left out".to_owned()), "{:#?}", plan.notes);
}

#[test]
fn a_limit_on_targets_is_shared_over_the_groups_of_values() {
    let mut whole = request(vec![location(0, 2, 1)]);
    whole.targets = vec![target(LISTED, 0..60)];
    whole.target_locations[0].targets_max_concurrency = Some(Limit::Count(1));
    whole.target_locations[0].targets_max_errors = Some(Limit::Percent(10));
    assert_eq!(
        plan_with(&whole, "key").unwrap_err()[0].to_string(),
        "TargetLocations[0].TargetsMaxConcurrency: 1 cannot be shared over the 2 groups that the values are split into; \
         expected at least 2, a percentage, or at most 50 values"
    );
    whole.target_locations[0].targets_max_concurrency = Some(Limit::Count(5));
    let plan = planned(&whole);
    let limits = parts(&plan).into_iter().map(|part| (part.targets_max_concurrency, part.targets_max_errors));
    let percent = Some(Limit::Percent(10));
    assert_eq!(limits.collect::<Vec<_>>(), [(Some(Limit::Count(3)), percent), (Some(Limit::Count(2)), percent)]);
    for expected in [
        "TargetLocations[0].TargetsMaxConcurrency is shared over the groups as 3, 2",
        "TargetLocations[0].TargetsMaxErrors of 10% holds for each of the 2 groups of values by itself",
    ] {
        assert!(plan.notes.iter().any(|note| note == expected), "{:#?}", plan.notes);
    }
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
