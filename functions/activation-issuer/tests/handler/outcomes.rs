//! What becomes of an agency, when nothing fails.

use activation_issuer::IssueError;
use activation_issuer::activation::{Parameter, StoredActivation};
use hub::{AccountId, Region};
use serde_json::{Value, json};

use crate::world::{State, World};
use crate::{A, B, DAY, EAST, HOUR, WEST, answer, run, run_within, writes};

/// The agency A with a good activation in both Regions, made and stored five days ago.
fn served() -> World {
    let world = World::new(&[A]);
    world.with(|state| {
        let id = state.make(A, 20 * DAY, 5 * DAY);
        let stored = state.stored(&id);
        state.put(A, EAST, stored.clone(), 5 * DAY);
        state.put(A, WEST, stored, 5 * DAY);
    });
    world
}

fn place(region: &str) -> (AccountId, Region) {
    (A.parse().unwrap(), region.parse().unwrap())
}

fn held(state: &State, region: &str) -> StoredActivation {
    state.parameters[&place(region)].stored().unwrap().clone()
}

#[test]
fn a_new_agency_gets_an_activation_in_every_region() {
    let world = World::new(&[A]);
    insta::assert_json_snapshot!(run(&world).unwrap(), @r#"
    {
      "dryRun": false,
      "counts": {
        "agencies": 1,
        "live": 1,
        "created": 1,
        "deleted": 0,
        "failed": 0,
        "deferred": 0
      },
      "nodes": 0,
      "census": {
        "nodes": 0,
        "tier": "advanced",
        "limit": 100000,
        "percent": 0,
        "newIn30Days": 0,
        "byAgency": {},
        "others": 0
      },
      "agencies": [
        {
          "agency": "222222222222",
          "outcome": "renewed",
          "reason": "missing",
          "activationId": "00000000-0000-4000-8000-000000000001",
          "expirationDate": "2026-12-22T01:00:00Z",
          "registrationsLeft": 1000
        }
      ]
    }
    "#);
    assert_eq!(
        writes(&world),
        [
            "ssm:CreateActivation 222222222222",
            "ssm:PutParameter 222222222222 us-east-1",
            "ssm:PutParameter 222222222222 us-west-2"
        ]
    );
    world.with(|state| assert_eq!(held(state, EAST), held(state, WEST)));
}

#[test]
fn a_served_agency_is_only_read() {
    let world = served();
    let answer = answer(run(&world));
    assert_eq!(answer["agencies"][0]["outcome"], "live");
    assert_eq!(answer["agencies"][0]["registrationsLeft"], 1000);
    assert_eq!(answer["agencies"][0]["reason"], Value::Null);
    assert_eq!(answer["counts"]["live"], 1);
    assert_eq!(writes(&world), [""; 0]);
}

/// What is wrong, how many activations are made for it, and how many parameters written.
fn check(break_it: impl FnOnce(&mut State), reason: &str, created: usize, stored: usize) {
    let world = served();
    world.with(break_it);
    let dry = answer(run_within(&world, 900, &json!({"dryRun": true})));
    assert_eq!(
        (&dry["agencies"][0]["outcome"], &dry["agencies"][0]["reason"]),
        (&json!("would-renew"), &json!(reason))
    );
    assert_eq!(writes(&world), [""; 0], "{reason}");
    let done = answer(run(&world));
    assert_eq!((&done["agencies"][0]["outcome"], &done["agencies"][0]["reason"]), (&json!("renewed"), &json!(reason)));
    assert_eq!((&done["counts"]["live"], &done["counts"]["created"]), (&json!(1), &json!(created)), "{reason}");
    let writes = writes(&world);
    assert_eq!(writes.iter().filter(|call| call.contains("Put")).count(), stored, "{reason}: {writes:?}");
    assert_eq!(answer(run(&world))["agencies"][0]["outcome"], "live", "{reason}");
}

#[test]
fn what_is_wrong_with_every_region_takes_a_new_activation() {
    let both = |state: &mut State, parameter: &Parameter| {
        for region in [EAST, WEST] {
            state.parameters.insert(place(region), parameter.clone());
        }
    };
    let change = |state: &mut State, change: fn(&mut StoredActivation)| {
        for region in [EAST, WEST] {
            let mut stored = held(state, region);
            change(&mut stored);
            state.put(A, region, stored, DAY);
        }
    };
    check(|state| state.parameters.clear(), "missing", 1, 2);
    check(|state| both(state, &Parameter::Malformed), "malformed", 1, 2);
    check(|state| change(state, |stored| stored.account = B.parse().unwrap()), "foreign", 1, 2);
    check(|state| change(state, |stored| stored.region = "eu-west-1".parse().unwrap()), "foreign", 1, 2);
    check(|state| change(state, |stored| stored.hub_account = B.parse().ok()), "foreign", 1, 2);
    check(|state| state.activations.clear(), "deleted", 1, 2);
    let of = |state: &State| held(state, EAST).activation_id;
    check(|state| state.activation(&of(state)).agency = None, "foreign", 1, 2);
    check(|state| state.activation(&of(state)).agency = B.parse().ok(), "foreign", 1, 2);
    check(|state| state.now += 20 * DAY, "expired", 1, 2);
    check(|state| state.now += 13 * DAY, "expiring", 1, 2);
    check(|state| state.activation(&of(state)).registrations_count = 901, "used-up", 1, 2);
    check(|state| state.activation(&of(state)).registrations_count = 1000, "used-up", 1, 2);
    check(|state| state.activation(&of(state)).node_role = Some("other".to_owned()), "node-role", 1, 2);
}

#[test]
fn what_is_good_in_one_region_is_copied_to_the_other() {
    check(|state| drop(state.parameters.remove(&place(WEST))), "missing", 0, 1);
    check(|state| drop(state.parameters.insert(place(EAST), Parameter::Malformed)), "malformed", 0, 1);
    let renew = |state: &mut State, region| {
        let id = state.make(A, 25 * DAY, 2 * HOUR);
        let stored = state.stored(&id);
        state.put(A, region, stored, 2 * HOUR);
    };
    // The one that ends last goes to both, wherever it is.
    check(|state| renew(state, EAST), "differs", 0, 1);
    check(|state| renew(state, WEST), "differs", 0, 1);
    // A date that is not the activation's is corrected.
    let mistake = |state: &mut State| {
        let mut stored = held(state, WEST);
        stored.expiration_date = hub::Timestamp::from_unix_seconds(0);
        state.put(A, WEST, stored, DAY);
    };
    check(mistake, "differs", 0, 1);
}

#[test]
fn of_two_codes_for_one_activation_neither_is_believed() {
    let other_code = |state: &mut State| {
        let mut stored = held(state, WEST);
        stored.activation_code = "SECRET-CODE-of-somebody-else".to_owned().try_into().unwrap();
        state.put(A, WEST, stored, DAY);
    };
    check(other_code, "differs", 1, 2);
}

#[test]
fn a_role_is_the_same_with_its_path_and_without() {
    let world = served();
    let id = world.with(|state| held(state, EAST).activation_id);
    for role in [Some("service-role/node"), Some("arn:aws:iam::111111111111:role/node"), None] {
        world.with(|state| state.activation(&id).node_role = role.map(str::to_owned));
        assert_eq!(answer(run(&world))["agencies"][0]["outcome"], "live", "{role:?}");
    }
}

#[test]
fn what_is_replaced_lives_on_for_those_who_just_read_it() {
    let world = served();
    world.with(|state| state.now += 14 * DAY);
    run(&world).unwrap();
    world.with(|state| assert_eq!(state.activations.len(), 2));
    // Half an hour later somebody may still be registering with it.
    world.with(|state| state.now += HOUR / 2);
    assert_eq!(answer(run(&world))["counts"]["deleted"], 0);
    world.with(|state| state.now += HOUR / 2);
    let dry = answer(run_within(&world, 900, &json!({"dryRun": true})));
    assert_eq!(dry["agencies"][0]["wouldDelete"], json!(["00000000-0000-4000-8000-000000000001"]));
    writes(&world);
    let done = answer(run(&world));
    assert_eq!(done["agencies"][0]["deleted"], json!(["00000000-0000-4000-8000-000000000001"]));
    assert_eq!((&done["agencies"][0]["outcome"], &done["counts"]["deleted"]), (&json!("live"), &json!(1)));
    assert_eq!(writes(&world), ["ssm:DeleteActivation 00000000-0000-4000-8000-000000000001"]);
}

#[test]
fn what_others_made_is_never_deleted() {
    let world = served();
    world.with(|state| {
        let id = state.make(A, 20 * DAY, 5 * DAY);
        // A tag by hand, without the description.
        state.activation(&id).agency = None;
    });
    assert_eq!(answer(run(&world))["counts"]["deleted"], 0);
    assert_eq!(writes(&world), [""; 0]);
}

#[test]
fn an_activation_that_is_not_listed_yet_is_asked_for() {
    let world = served();
    world.with(|state| {
        let id = held(state, EAST).activation_id;
        state.unlisted.insert(id);
    });
    assert_eq!(answer(run(&world))["agencies"][0]["outcome"], "live");
    assert_eq!(writes(&world), [""; 0]);
}

#[test]
fn only_the_agency_asked_for_is_touched() {
    let world = World::new(&[A, B]);
    let done = answer(run_within(&world, 900, &json!({"agency": B})));
    assert_eq!((&done["counts"]["agencies"], &done["agencies"][0]["agency"]), (&json!(1), &json!(B)));
    assert!(world.with(|state| state.calls.iter().all(|call| !call.contains(A))));
}

#[test]
fn who_has_no_grant_any_more_loses_their_activations() {
    let world = served();
    world.with(|state| {
        state.granted = [B.parse().unwrap()].into();
        let young = state.make(A, 20 * DAY, 60);
        assert_eq!(young.as_str(), "00000000-0000-4000-8000-000000000002");
    });
    let dry = answer(run_within(&world, 900, &json!({"dryRun": true})));
    assert_eq!((&dry["agencies"][0]["agency"], &dry["agencies"][0]["outcome"]), (&json!(A), &json!("would-revoke")));
    // One agency alone is no occasion to look at others.
    assert_eq!(answer(run_within(&world, 900, &json!({"agency": B, "dryRun": true})))["agencies"][0]["agency"], B);
    let done = answer(run(&world));
    let expected = json!({"agency": A, "outcome": "revoked", "reason": "not-granted",
                          "deleted": ["00000000-0000-4000-8000-000000000001"]});
    assert_eq!(done["agencies"][0], expected);
    assert_eq!((&done["counts"]["agencies"], &done["counts"]["deleted"]), (&json!(1), &json!(1)));
}

#[test]
fn where_nobody_is_granted_nothing_is_deleted() {
    let world = served();
    world.with(|state| state.granted.clear());
    assert_eq!(answer(run(&world))["agencies"], json!([]));
    assert_eq!(writes(&world), [""; 0]);
}

#[test]
fn what_cannot_be_asked_for_is_refused_before_any_write() {
    let world = World::new(&[A]);
    let error = run_within(&world, 900, &json!({"agency": B})).unwrap_err();
    assert_eq!(
        format!("{error:?}"),
        "UnknownAgency: the function ssm-tag-manager has no alias agency-333333333333: grant the agency with \
         cfn/agency-grant.yaml in the central account, or correct the account id"
    );
    let error = run_within(&world, 900, &json!({"dryrun": true})).unwrap_err();
    assert!(matches!(&error, IssueError::InvalidEvent(error) if error.path == "dryrun"), "{error}");
    assert_eq!(writes(&world), [""; 0]);
}
