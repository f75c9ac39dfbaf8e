use proptest::prelude::*;

use super::*;
use crate::activation::ActivationCode;

const NOW: i64 = 1_795_312_800;
const HUB: &str = "111111111111";
const AGENCY: &str = "222222222222";
const OTHER: &str = "333333333333";

fn config() -> Config {
    Config {
        name_prefix: String::new(),
        manager_function_name: "ssm-tag-manager".to_owned(),
        writer_role_name: "TagHubActivationWriter".to_owned(),
        node_role: "node".to_owned(),
        parameter_name: "/tag-hub/activation".to_owned(),
        parameter_regions: vec![region(0), region(1), region(2)],
        region: region(0),
        registration_limit: 1000,
        valid_days: 30,
        renew_before_days: 7,
        renew_below: 100,
        renewals_per_day: 100,
        agency_node_limit: 100_000,
        node_limit: 100_000,
    }
}

fn region(number: usize) -> Region {
    format!("us-east-{}", number + 1).parse().unwrap()
}

fn account(id: &str) -> AccountId {
    id.parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(NOW + seconds)
}

fn id(number: usize) -> ActivationId {
    format!("00000000-0000-4000-8000-{number:012x}").parse().unwrap()
}

fn code(number: usize) -> ActivationCode {
    format!("code-of-{number:020}").try_into().unwrap()
}

/// An activation that may have anything wrong with it.
fn activation() -> impl Strategy<Value = Activation> {
    (
        0..6_usize,
        prop_oneof![4 => Just(Some(AGENCY)), 1 => Just(Some(OTHER)), 1 => Just(None)],
        prop_oneof![3 => Just("node"), 1 => Just("other")],
        prop_oneof![Just(0), 890..910_u32, Just(1000)],
        prop_oneof![-HOUR..HOUR, 6 * DAY..8 * DAY, 20 * DAY..30 * DAY],
        prop_oneof![Just(None), (-3 * HOUR..=0).prop_map(Some)],
    )
        .prop_map(|(number, agency, role, count, ends, made)| Activation {
            id: id(number),
            agency: agency.map(account),
            node_role: Some(role.to_owned()),
            registration_limit: 1000,
            registrations_count: count,
            expiration_date: at(ends),
            is_expired: false,
            created_date: made.map(at),
        })
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn parameter() -> impl Strategy<Value = Parameter> {
    let holds = (
        0..6_usize,
        0..7_usize,
        prop_oneof![5 => Just(0), 1 => Just(1)],
        prop_oneof![Just(NOW), Just(NOW + 25 * DAY)],
        prop_oneof![5 => Just(AGENCY), 1 => Just(OTHER)],
        prop_oneof![Just(None), (-3 * HOUR..=0).prop_map(Some)],
        prop_oneof![1 => Just(None), 5 => Just(Some(HUB)), 1 => Just(Some(OTHER))],
    )
        .prop_map(|(number, other, home, ends, agency, modified, hub)| Parameter::Holds {
            stored: StoredActivation {
                activation_id: id(number),
                // Now and then the code of another one.
                activation_code: code(if other == 6 { 99 } else { number }),
                region: region(home),
                expiration_date: Timestamp::from_unix_seconds(ends),
                account: account(agency),
                hub_account: hub.map(account),
            },
            modified: modified.map(at),
        });
    prop_oneof![6 => holds, 1 => Just(Parameter::Missing), 1 => Just(Parameter::Malformed)]
}

type Situation = (BTreeMap<Region, Parameter>, BTreeMap<ActivationId, Activation>);

fn situation() -> impl Strategy<Value = Situation> {
    (proptest::collection::vec(parameter(), 1..=3), proptest::collection::vec(activation(), 0..6)).prop_map(
        |(parameters, activations)| {
            let activations = activations.into_iter().map(|activation| (activation.id.clone(), activation));
            let parameters = parameters.into_iter().enumerate().map(|(number, parameter)| (region(number), parameter));
            (parameters.collect(), activations.collect())
        },
    )
}

fn plan_of((parameters, activations): &Situation, is_complete: bool) -> Plan {
    let (agency, hub_account) = (account(AGENCY), account(HUB));
    let view = View { agency: &agency, hub_account: &hub_account, now: at(0), parameters, is_complete, activations };
    plan(&config(), &view)
}

/// The situation after the repair, with a new activation where one is to be made.
fn repaired((parameters, activations): &Situation, repair: &Repair) -> Situation {
    let (mut parameters, mut activations) = (parameters.clone(), activations.clone());
    let (stored, regions) = match repair {
        Repair::Keep(_) => return (parameters, activations),
        Repair::Copy { stored, regions, .. } => (stored.clone(), regions),
        Repair::Create { regions, .. } => {
            let new = new_activation(&config(), &account(AGENCY), 1000, at(0));
            let made = Activation {
                id: id(7),
                agency: Some(new.agency.clone()),
                node_role: Some(new.node_role),
                registration_limit: new.registration_limit,
                registrations_count: 0,
                expiration_date: new.expiration_date,
                is_expired: false,
                created_date: Some(at(0)),
            };
            activations.insert(id(7), made);
            let stored = StoredActivation {
                activation_id: id(7),
                activation_code: code(7),
                region: region(0),
                expiration_date: new.expiration_date,
                account: new.agency,
                hub_account: Some(account(HUB)),
            };
            (stored, regions)
        }
    };
    for region in regions {
        let written = Parameter::Holds { stored: stored.clone(), modified: Some(at(0)) };
        parameters.insert(region.clone(), written);
    }
    (parameters, activations)
}

proptest! {
    #[test]
    fn after_a_repair_there_is_nothing_to_do(situation in situation()) {
        let first = plan_of(&situation, true);
        let second = plan_of(&repaired(&situation, &first.repair), true);
        prop_assert!(matches!(second.repair, Repair::Keep(_)), "{first:?}, {second:?}");
        if !matches!(first.repair, Repair::Keep(_)) {
            prop_assert_eq!(second.orphans, [], "what was replaced lives on for a while");
        }
    }

    #[test]
    fn what_a_parameter_holds_or_another_owns_is_never_deleted(situation in situation(), is_complete: bool) {
        let orphans = plan_of(&situation, is_complete).orphans;
        let held: Vec<_> = situation.0.values().filter_map(Parameter::stored).map(|stored| &stored.activation_id).collect();
        for orphan in &orphans {
            prop_assert!(!held.contains(&orphan));
            let activation = &situation.1[orphan];
            prop_assert_eq!(activation.agency.as_ref(), Some(&account(AGENCY)));
            prop_assert!(activation.created_date.unwrap() <= at(-HOUR));
        }
        prop_assert!(is_complete || orphans.is_empty());
    }

    #[test]
    fn what_is_kept_or_copied_is_good_and_nothing_new_is_made_beside_it(situation in situation()) {
        let (agency, hub_account) = (account(AGENCY), account(HUB));
        let (parameters, activations) = &situation;
        let view = View {
            agency: &agency, hub_account: &hub_account, now: at(0), parameters, is_complete: true, activations,
        };
        match plan_of(&situation, true).repair {
            Repair::Keep(stored) | Repair::Copy { stored, .. } => {
                let activation = &activations[&stored.activation_id];
                prop_assert_eq!(activation.agency.as_ref(), Some(&agency));
                prop_assert!(activation.expiration_date > at(7 * DAY) && activation.registrations_left() >= 100);
                prop_assert!(parameters.values().any(|parameter| is_alive(&config(), &view, parameter)));
            }
            Repair::Create { regions, .. } => prop_assert_eq!(regions.len(), parameters.len()),
        }
    }

    #[test]
    fn only_who_has_no_grant_is_revoked(situation in situation(), is_granted: bool) {
        let granted: BTreeSet<_> = [account(if is_granted { AGENCY } else { "444444444444" })].into();
        for (agency, ids) in revoked(&situation.1, &granted, at(0)) {
            prop_assert!(!granted.contains(agency));
            prop_assert!(ids.iter().all(|id| situation.1[id].agency.as_ref() == Some(agency)));
        }
        prop_assert!(revoked(&situation.1, &BTreeSet::new(), at(0)).is_empty());
    }
}

#[test]
fn a_parameter_that_does_not_name_the_hub_is_written_again() {
    let live = Activation {
        id: id(1),
        agency: Some(account(AGENCY)),
        node_role: Some("node".to_owned()),
        registration_limit: 1000,
        registrations_count: 0,
        expiration_date: at(25 * DAY),
        is_expired: false,
        created_date: Some(at(-2 * DAY)),
    };
    let wanted = StoredActivation {
        activation_id: id(1),
        activation_code: code(1),
        region: region(0),
        expiration_date: live.expiration_date,
        account: account(AGENCY),
        hub_account: Some(account(HUB)),
    };
    let older = StoredActivation { hub_account: None, ..wanted.clone() };
    let plan_of_all = |all: [&StoredActivation; 3]| {
        let holds =
            |stored: &StoredActivation| Parameter::Holds { stored: stored.clone(), modified: Some(at(-2 * DAY)) };
        let parameters = all.iter().enumerate().map(|(number, stored)| (region(number), holds(stored))).collect();
        plan_of(&(parameters, [(id(1), live.clone())].into()), true).repair
    };
    let copied = |regions: &[usize]| Repair::Copy {
        reason: Reason::Differs,
        stored: wanted.clone(),
        regions: regions.iter().map(|number| region(*number)).collect(),
    };
    assert_eq!(plan_of_all([&older, &older, &older]), copied(&[0, 1, 2]));
    assert_eq!(plan_of_all([&wanted, &older, &wanted]), copied(&[1]));
    assert_eq!(plan_of_all([&wanted, &wanted, &wanted]), Repair::Keep(wanted.clone()));
}

#[test]
fn a_new_activation_stays_below_the_longest_life() {
    let new = |valid_days| new_activation(&Config { valid_days, ..config() }, &account(AGENCY), 100, at(0));
    assert_eq!(new(30).expiration_date, at(30 * DAY - HOUR));
    assert_eq!(new(29).expiration_date, at(29 * DAY));
}
