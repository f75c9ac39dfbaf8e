use super::super::request::Target;
use super::*;

fn gate(max_failed_percent: u8) -> Gate {
    Gate {
        max_failed_percent,
        soak: Duration::ZERO,
        approval: false,
        approval_timeout: Duration::ZERO,
        calendars: Vec::new(),
    }
}

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn campaign(accounts: &[String], regions: &[&str], waves: &[(&str, Choice)]) -> Campaign {
    let location =
        TargetLocation { accounts: accounts.to_vec(), regions: strings(regions), ..TargetLocation::default() };
    let wave = |(name, choice): &(&str, Choice)| Wave { name: (*name).to_owned(), choice: choice.clone() };
    Campaign {
        name: "patch".to_owned(),
        request: StartRequest { target_locations: vec![location], ..StartRequest::default() },
        all_targets: false,
        waves: waves.iter().map(wave).collect(),
        gate: gate(0),
        preflight: false,
        from: None,
        resume: false,
    }
}

fn many(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{index:012}")).collect()
}

fn accounts(wave: &PlannedWave) -> Vec<String> {
    wave.request.target_locations.iter().flat_map(|location| location.accounts.clone()).collect()
}

fn refused(campaign: &Campaign) -> Vec<String> {
    waves(campaign).unwrap_err().iter().map(Problem::to_string).collect()
}

#[test]
fn rings_are_stable_and_reach_every_account_once() {
    let rings = [("canary", Choice::Percent(5)), ("some", Choice::Percent(30)), ("all", Choice::Percent(100))];
    let (planned, notes) = waves(&campaign(&many(1_000), &["us-east-1"], &rings)).unwrap();
    let sizes: Vec<usize> = planned.iter().map(|wave| accounts(wave).len()).collect();
    assert!((30..=70).contains(&sizes[0]) && (200..=300).contains(&sizes[1]), "{sizes:?}");
    let mut all: Vec<String> = planned.iter().flat_map(accounts).collect();
    all.sort();
    assert_eq!((all, notes), (many(1_000), Vec::new()));
    assert_eq!(planned[0].key, "patch/canary");

    // An account more changes no ring of another.
    let (more, _) = waves(&campaign(&many(1_001), &["us-east-1"], &rings)).unwrap();
    for (before, after) in planned.iter().zip(&more) {
        let after: Vec<String> = accounts(after).into_iter().filter(|account| *account != many(1_001)[1_000]).collect();
        assert_eq!(accounts(before), after);
    }
}

#[test]
fn a_canary_of_a_small_fleet_is_one_account() {
    let rings = [("canary", Choice::Percent(1)), ("all", Choice::Percent(100))];
    let (planned, _) = waves(&campaign(&many(3), &["us-east-1"], &rings)).unwrap();
    assert_eq!(planned.iter().map(|wave| accounts(wave).len()).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_region_after_another_is_a_wave_after_another() {
    let by_region = [
        ("first", Choice::Regions(strings(&["us-west-2"]))),
        ("rest", Choice::Regions(strings(&["us-east-1", "eu-west-1"]))),
    ];
    let (planned, _) = waves(&campaign(&many(2), &["us-east-1", "us-west-2", "eu-west-1"], &by_region)).unwrap();
    assert_eq!(planned[0].request.target_locations[0].regions, ["us-west-2"]);
    assert_eq!(planned[1].request.target_locations[0].regions, ["us-east-1", "eu-west-1"]);
    assert_eq!((planned[0].pairs(), planned[1].pairs()), (Some(2), Some(4)));
}

#[test]
fn what_cannot_be_a_campaign_is_refused_in_words() {
    let three = many(3);
    let accounts = |list: &[&str]| Choice::Accounts(strings(list));
    let check = |waves: &[(&str, Choice)], expected: &str| {
        let told = refused(&campaign(&three, &["us-east-1"], waves));
        assert!(told.iter().any(|problem| problem.contains(expected)), "{expected}: {told:?}");
    };
    check(
        &[("a", accounts(&["999999999999"]))],
        "Waves[0].Accounts[0]: expected one of the request's, got 999999999999",
    );
    check(&[("a", accounts(&["000000000001"])), ("a", Choice::Percent(100))], "Waves[1].Name: expected each name once");
    check(
        &[("a", accounts(&["000000000001"])), ("b", accounts(&["000000000001"]))],
        "Waves[1]: expected what no other wave takes, got 000000000001, which \"a\" takes",
    );
    check(&[("a", Choice::Percent(100)), ("b", Choice::Percent(100))], "Waves[1]: expected at least one account");
    check(
        &[("a", Choice::Regions(strings(&["us-east-1"]))), ("b", Choice::Percent(100))],
        "Waves: expected Regions in every wave or in none",
    );
    check(&[("a", Choice::Regions(strings(&["us-west-9"])))], "Waves[0].Regions[0]: expected one of the request's");
    let regions: Vec<String> = (0..30).map(|number| format!("us-region-{number}")).collect();
    let regions: Vec<&str> = regions.iter().map(String::as_str).collect();
    let fleet = campaign(&many(6_000), &regions, &[("all", Choice::Percent(100))]);
    assert_eq!(
        refused(&fleet),
        [
            "Waves[0]: expected at most 100000 accounts and Regions in a wave, since more cannot be read in one invocation, \
          got 180000; make several waves of it"
        ]
    );
    let halves = [("half", Choice::Percent(50)), ("all", Choice::Percent(100))];
    assert!(waves(&campaign(&many(6_000), &regions, &halves)).is_ok());
    let unknown = Campaign {
        from: Some("ring-9".to_owned()),
        ..campaign(&three, &["us-east-1"], &[("ring-1", Choice::Percent(100))])
    };
    assert_eq!(refused(&unknown), ["From: expected the name of a wave, got \"ring-9\"; the waves are ring-1"]);
    let units = strings(&["ou-ab12-cdefghij", "000000000001"]);
    let told = refused(&campaign(&units, &["us-east-1"], &[("a", Choice::Percent(5))]));
    assert!(told[0].starts_with("Waves[0].Percent: expected accounts by their ids"), "{told:?}");
    let (planned, notes) =
        waves(&campaign(&units, &["us-east-1"], &[("a", Choice::OrganizationalUnits(strings(&units_of(&units))))]))
            .unwrap();
    assert_eq!(planned[0].pairs(), None);
    assert!(notes[0].starts_with("1 of the request is in no wave"), "{notes:?}");
}

#[test]
fn what_the_request_leaves_out_is_in_no_wave() {
    let mut left_out = campaign(&many(4), &["us-east-1"], &[("all", Choice::Percent(100))]);
    left_out.request.target_locations[0].exclude_accounts = vec!["000000000002".to_owned()];
    let (planned, notes) = waves(&left_out).unwrap();
    assert_eq!(accounts(&planned[0]), ["000000000000", "000000000001", "000000000003"]);
    assert_eq!((planned[0].pairs(), notes), (Some(3), vec![]));
    left_out.waves[0].choice = Choice::Accounts(strings(&["000000000002"]));
    assert_eq!(refused(&left_out), ["Waves[0].Accounts[0]: expected one of the request's, got 000000000002"]);
}

#[test]
fn an_account_that_may_be_in_another_waves_unit_is_told() {
    let all = strings(&["ou-ab12-cdefghij", "000000000001"]);
    let two = [
        ("canary", Choice::Accounts(strings(&["000000000001"]))),
        ("rest", Choice::OrganizationalUnits(strings(&["ou-ab12-cdefghij"]))),
    ];
    let mut hidden = campaign(&all, &["us-east-1"], &two);
    let (_, notes) = waves(&hidden).unwrap();
    assert!(notes[0].starts_with("Request.TargetLocations[0] names ou-ab12-cdefghij and 000000000001"), "{notes:?}");
    assert_eq!(
        notes[1..],
        [
            "wave \"rest\" takes ou-ab12-cdefghij, and wave \"canary\" takes 000000000001: an account that both reach in \
          us-east-1 is started twice in this campaign; name it in ExcludeAccounts of the location with ou-ab12-cdefghij if \
          it may be in it"
        ]
    );
    let unit = &mut hidden.request.target_locations[0];
    unit.accounts.pop();
    unit.exclude_accounts = strings(&["000000000001"]);
    let alone = TargetLocation {
        accounts: strings(&["000000000001"]),
        regions: strings(&["us-east-1"]),
        ..TargetLocation::default()
    };
    hidden.request.target_locations.push(alone);
    assert_eq!(waves(&hidden).unwrap().1, Vec::<String>::new());

    let all = strings(&["r-ab12", "ou-ab12-cdefghij"]);
    let units = |unit: &str| Choice::OrganizationalUnits(strings(&[unit]));
    let mut certain = campaign(&all, &["us-east-1"], &[("a", units("ou-ab12-cdefghij")), ("b", units("r-ab12"))]);
    assert_eq!(
        waves(&certain).unwrap().1,
        Vec::<String>::new(),
        "a root alone does not hold the accounts of its units"
    );
    for unit in ["r-ab12", "ou-ab12-cdefghij"] {
        certain.request.target_locations.push(TargetLocation {
            accounts: strings(&[unit]),
            regions: strings(&["us-east-1"]),
            include_child_organization_units: true,
            ..TargetLocation::default()
        });
    }
    certain.request.target_locations.remove(0);
    assert_eq!(
        refused(&certain),
        [
            "Waves[1]: expected accounts that no other wave takes, got ou-ab12-cdefghij in \"a\", which is in r-ab12 in \"b\""
        ]
    );
}

#[test]
fn one_account_twice_in_a_wave_is_told_where_it_stands() {
    let twice = Choice::Accounts(strings(&["000000000001", "000000000000", "000000000001"]));
    let twice = campaign(&many(2), &["us-east-1"], &[("a", twice)]);
    assert_eq!(refused(&twice), ["Waves[0].Accounts[2]: expected each once, got 000000000001 again"]);
}

fn units_of(accounts: &[String]) -> Vec<&str> {
    accounts.iter().map(String::as_str).filter(|account| is_unit(account)).collect()
}

#[test]
fn the_gate_counts_what_never_began_as_failed() {
    for (locations, succeeded, max_failed_percent, passes) in [
        (10, 10, 0, true),
        (10, 9, 0, false),
        (10, 9, 10, true),
        (10, 8, 10, false),
        (0, 0, 0, true),
        (3, 2, 33, false),
    ] {
        let tally = Tally { locations, succeeded };
        assert_eq!(tally.passes(&gate(max_failed_percent)), passes, "{tally:?} {max_failed_percent}");
    }
    assert!((Tally { locations: 8, succeeded: 6 }.failed_percent() - 25.0).abs() < f64::EPSILON);
}

#[test]
fn a_preflight_has_at_most_what_one_invocation_can_read() {
    let rings = [("half", Choice::Percent(50)), ("all", Choice::Percent(100))];
    let regions: Vec<String> = (0..34).map(|n| format!("us-east-{n}")).collect();
    let regions: Vec<&str> = regions.iter().map(String::as_str).collect();
    let mut large = campaign(&many(3_000), &regions, &rings);
    waves(&large).unwrap();
    large.preflight = true;
    assert_eq!(
        refused(&large),
        [
            "Preflight: expected at most 100000 accounts and Regions, since more cannot be read in one invocation, got 102000; \
             set it to false, and try parts of the request with the action Preflight"
        ]
    );
    large.from = Some("all".to_owned());
    waves(&large).unwrap();
    // What differs in its targets alone is tried once.
    let mut twice = campaign(&many(1_500), &regions, &[("first", Choice::Percent(50)), ("rest", Choice::Percent(100))]);
    let targets = vec![Target { key: "tag:Env".to_owned(), values: strings(&["x"]) }];
    let other = TargetLocation { targets, ..twice.request.target_locations[0].clone() };
    twice.request.target_locations.push(other);
    twice.preflight = true;
    waves(&twice).unwrap();
}
