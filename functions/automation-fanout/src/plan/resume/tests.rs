use proptest::prelude::*;

use super::*;
use crate::plan::execution::{Progress, Step};
use crate::plan::request::Target;

const OLD: &str = "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE";
const A: &str = "111111111111";
const B: &str = "222222222222";
const C: &str = "333333333333";

fn location(accounts: &[&str], regions: &[&str]) -> TargetLocation {
    let strings = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    TargetLocation {
        accounts: strings(accounts),
        regions: strings(regions),
        target_location_max_concurrency: Some(Limit::Count(1)),
        target_location_max_errors: Some(Limit::Count(0)),
        execution_role_name: Some("Execution".to_owned()),
        ..TargetLocation::default()
    }
}

fn step(account: &str, region: &str, status: &str) -> Step {
    Step {
        name: format!("{account}_{region}"),
        status: status.into(),
        target_location: Some(location(&[account], &[region])),
        ..Step::default()
    }
}

fn execution(locations: Vec<TargetLocation>, steps: Vec<Step>) -> Execution {
    Execution {
        id: OLD.to_owned(),
        status: "Failed".into(),
        request: StartRequest {
            document_name: "Patch".to_owned(),
            document_version: Some("7".to_owned()),
            target_locations: locations,
            ..StartRequest::default()
        },
        steps,
        ..Execution::default()
    }
}

/// The groups as `accounts x Regions, at the same time, errors`.
fn groups(request: &StartRequest) -> Vec<String> {
    let limit = |limit: Option<Limit>| limit.map(|limit| limit.to_string()).unwrap_or_default();
    let group = |location: &TargetLocation| {
        format!(
            "{} x {}, {}, {}",
            location.accounts.join(" "),
            location.regions.join(" "),
            limit(location.target_location_max_concurrency),
            limit(location.target_location_max_errors)
        )
    };
    request.target_locations.iter().map(group).collect()
}

#[test]
fn only_what_did_not_succeed_is_started_again() {
    let steps = vec![
        step(A, "us-east-1", "Success"),
        step(A, "us-west-2", "Failed"),
        step(B, "us-east-1", "TimedOut"),
        step(B, "us-west-2", "Cancelled"),
        step(C, "us-east-1", "Canceled"),
    ];
    let old = execution(vec![location(&[A, B, C], &["us-east-1", "us-west-2"])], steps);
    let Resumption { request, notes, .. } = resumption(&old, &Terms::default()).unwrap();
    assert_eq!(groups(&request), [format!("{B} {C} x us-east-1 us-west-2, 1, 0"), format!("{A} x us-west-2, 1, 0")]);
    assert_eq!((request.document_name.as_str(), request.document_version.as_deref()), ("Patch", Some("7")));
    assert_eq!(request.target_locations[0].execution_role_name.as_deref(), Some("Execution"));
    assert_eq!(request.tags, [Tag { key: RESUMES_TAG_KEY.to_owned(), value: OLD.to_owned() }]);
    assert_eq!(notes.len(), 1, "the default of one at a time holds for each group: {notes:?}");
}

#[test]
fn a_number_of_the_callers_is_kept_over_the_groups_or_refused() {
    let steps = vec![step(A, "us-east-1", "Failed"), step(B, "us-west-2", "Failed"), step(C, "us-east-1", "Success")];
    let mut whole = location(&[A, B], &["us-east-1", "us-west-2"]);
    whole.target_location_max_concurrency = Some(Limit::Count(5));
    whole.target_location_max_errors = Some(Limit::Count(3));
    let old = |whole: &TargetLocation| {
        let mut steps = steps.clone();
        steps.extend([step(A, "us-west-2", "Success"), step(B, "us-east-1", "Success")]);
        execution(vec![whole.clone()], steps)
    };
    let resumed = resumption(&old(&whole), &Terms::default()).unwrap();
    assert_eq!(groups(&resumed.request), [format!("{A} x us-east-1, 3, 2"), format!("{B} x us-west-2, 2, 1")]);

    let given = |limit| Terms { max_concurrency: Some(limit), ..Terms::default() };
    assert_eq!(
        resumption(&old(&whole), &given(Limit::Count(1))).unwrap_err().to_string(),
        "TargetLocationMaxConcurrency 1 cannot be shared out over the 2 groups of accounts and Regions that are left \
         and that run at the same time; give TargetLocationMaxConcurrency of at least 2, or a percentage"
    );
    let resumed = resumption(&old(&whole), &given(Limit::Percent(50))).unwrap();
    assert_eq!(groups(&resumed.request)[1], format!("{B} x us-west-2, 50%, 1"));
}

#[test]
fn what_was_never_begun_counts_as_left() {
    let old = execution(vec![location(&[A, B], &["us-east-1"])], vec![step(A, "us-east-1", "Failed")]);
    let resumed = resumption(&old, &Terms::default()).unwrap();
    assert_eq!(groups(&resumed.request), [format!("{A} {B} x us-east-1, 1, 0")]);
}

#[test]
fn units_are_resolved_to_the_accounts_that_failed() {
    let mut unit = location(&["ou-1a2b3c-4d5e6c"], &["us-east-1"]);
    unit.exclude_accounts = vec![C.to_owned()];
    unit.include_child_organization_units = true;
    let old = execution(vec![unit], vec![step(A, "us-east-1", "Failed"), step(B, "us-east-1", "Success")]);
    let resumed = resumption(&old, &Terms::default()).unwrap();
    assert_eq!(groups(&resumed.request), [format!("{A} x us-east-1, 1, 0")]);
    let location = &resumed.request.target_locations[0];
    assert!(location.exclude_accounts.is_empty() && !location.include_child_organization_units);
}

#[test]
fn locations_keep_their_own_settings() {
    let other = TargetLocation { execution_role_name: Some("Other".to_owned()), ..location(&[B], &["us-east-1"]) };
    let old = execution(
        vec![location(&[A], &["us-east-1"]), other],
        vec![step(A, "us-east-1", "Failed"), step(B, "us-east-1", "Failed")],
    );
    let resumed = resumption(&old, &Terms::default()).unwrap();
    let roles: Vec<_> = resumed.request.target_locations.iter().map(|l| l.execution_role_name.as_deref()).collect();
    assert_eq!(roles, [Some("Execution"), Some("Other")]);
}

#[test]
fn what_the_request_leaves_out_is_not_started_by_a_resumption() {
    let mut whole = location(&[A, B, C], &["us-east-1"]);
    whole.exclude_accounts = vec![C.to_owned()];
    let old = execution(vec![whole.clone()], vec![step(A, "us-east-1", "Success"), step(B, "us-east-1", "Failed")]);
    let resumed = resumption(&old, &Terms::default()).unwrap();
    assert_eq!(groups(&resumed.request), [format!("{B} x us-east-1, 1, 0")]);
    let done = execution(vec![whole.clone()], vec![step(A, "us-east-1", "Success"), step(B, "us-east-1", "Success")]);
    assert_eq!(resumption(&done, &Terms::default()).unwrap_err(), Unresumable::NothingLeft);
    // Another location may name it.
    let other = TargetLocation { execution_role_name: Some("Other".to_owned()), ..location(&[C], &["us-east-1"]) };
    let old =
        execution(vec![whole.clone(), other], vec![step(A, "us-east-1", "Success"), step(B, "us-east-1", "Success")]);
    let resumed = resumption(&old, &Terms::default()).unwrap();
    assert_eq!(groups(&resumed.request), [format!("{C} x us-east-1, 1, 0")]);
    assert_eq!(resumed.request.target_locations[0].execution_role_name.as_deref(), Some("Other"));
    // Which accounts a unit holds is known to the service alone: it leaves them out again.
    whole.exclude_accounts.push("ou-ab12-cdefghij".to_owned());
    let resumed =
        resumption(&execution(vec![whole], vec![step(A, "us-east-1", "Success")]), &Terms::default()).unwrap();
    assert_eq!(groups(&resumed.request), [format!("{B} x us-east-1, 1, 0")]);
    assert_eq!(resumed.request.target_locations[0].exclude_accounts, ["ou-ab12-cdefghij"]);
    assert_eq!(resumed.request.target_locations[0].pair_count(), None);
}

#[test]
fn of_two_locations_in_one_place_the_one_that_failed_is_resumed() {
    let with = |role: Option<&str>, value: &str| TargetLocation {
        execution_role_name: role.map(str::to_owned),
        targets: vec![Target { key: "tag:Env".to_owned(), values: vec![value.to_owned()] }],
        ..location(&[A], &["us-east-1"])
    };
    let two = || vec![with(Some("One"), "x"), with(Some("Two"), "y")];
    let told = |location: &TargetLocation, status: &str| Step {
        target_location: Some(location.clone()),
        ..step(A, "us-east-1", status)
    };
    let bare = |status: &str| Step {
        target_location: Some(TargetLocation {
            accounts: vec![A.to_owned()],
            regions: vec!["us-east-1".to_owned()],
            ..TargetLocation::default()
        }),
        ..step(A, "us-east-1", status)
    };
    let roles = |steps: Vec<Step>| {
        let resumed = resumption(&execution(two(), steps), &Terms::default())?;
        let role = |location: &TargetLocation| location.execution_role_name.clone().unwrap_or_default();
        Ok::<_, Unresumable>(resumed.request.target_locations.iter().map(role).collect::<Vec<_>>())
    };
    let [one, other] = [&two()[0], &two()[1]];
    assert_eq!(roles(vec![told(one, "Success"), told(other, "Failed")]).unwrap(), ["Two"]);
    assert_eq!(roles(vec![told(other, "Failed"), told(one, "Success")]).unwrap(), ["Two"]);
    assert_eq!(roles(vec![told(other, "Success")]).unwrap(), ["One"], "the one that was never begun");
    // All of them are due, whichever is which.
    assert_eq!(roles(vec![bare("Failed"), bare("TimedOut")]).unwrap(), ["One", "Two"]);
    assert_eq!(roles(vec![bare("Failed")]).unwrap(), ["One", "Two"]);
    assert_eq!(roles(vec![]).unwrap(), ["One", "Two"]);
    for steps in [vec![bare("Success"), bare("Failed")], vec![bare("Success")]] {
        let refusal = roles(steps).unwrap_err();
        assert_eq!(
            (refusal.code(), refusal.to_string()),
            (
                "NotResumable",
                format!(
                    "{A} in us-east-1 is in TargetLocations[0] and TargetLocations[1] of the execution, whose settings \
                     differ, and AWS does not show which of them failed there; send a new Start for that account and Region"
                )
            )
        );
    }
    assert_eq!(roles(vec![bare("Success"), bare("Success")]).unwrap_err(), Unresumable::NothingLeft);
}

#[test]
fn what_cannot_be_resumed_says_why() {
    let whole = || vec![location(&[A], &["us-east-1", "us-west-2"])];
    let running = Execution { status: "InProgress".into(), ..execution(whole(), vec![]) };
    let child_running = vec![step(A, "us-east-1", "Failed"), step(A, "us-west-2", "Cancelling")];
    let done = vec![step(A, "us-east-1", "Success"), step(A, "us-west-2", "Success")];
    let named = vec![Step { name: "stop".to_owned(), status: "Failed".into(), ..Step::default() }];
    for (old, code, words) in [
        (running, "StillRunning", "the execution is still InProgress; wait until it has ended, or stop it"),
        (
            execution(whole(), child_running),
            "StillRunning",
            "1 of its locations have not ended yet; wait until they have",
        ),
        (execution(whole(), done), "NotResumable", "every location succeeded"),
        (
            execution(vec![], named),
            "NotResumable",
            "the execution does not show in which accounts and Regions to start again",
        ),
    ] {
        let refusal = resumption(&old, &Terms::default()).unwrap_err();
        assert_eq!((refusal.code(), refusal.to_string().as_str()), (code, words));
    }
}

proptest! {
    #[test]
    fn the_groups_are_the_pairs_that_are_left_and_no_others(
        left in proptest::collection::btree_set((0usize..60, 0usize..4), 1..=120),
        concurrency in 1u32..=300,
    ) {
        let accounts: Vec<String> = (0..60).map(|n| format!("{n:012}")).collect();
        let regions = ["us-east-1", "us-west-2", "eu-west-1", "eu-central-1"];
        let all = || (0..60).flat_map(|account| (0..4).map(move |region| (account, region)));
        let status = |pair: &(usize, usize)| if left.contains(pair) { "Failed" } else { "Success" };
        let steps = all().map(|pair| step(&accounts[pair.0], regions[pair.1], status(&pair))).collect();
        let mut whole = location(&accounts.iter().map(String::as_str).collect::<Vec<_>>(), &regions);
        whole.target_location_max_concurrency = Some(Limit::Count(concurrency));
        let Ok(Resumption { request, .. }) = resumption(&execution(vec![whole], steps), &Terms::default()) else {
            // More groups than may run at the same time.
            prop_assert!(concurrency > 1 && left.len() > concurrency as usize);
            return Ok(());
        };
        let mut got = Vec::new();
        for location in &request.target_locations {
            prop_assert!(location.accounts.len() <= ACCOUNTS_MAX);
            for account in &location.accounts {
                got.extend(location.regions.iter().map(|region| (account.clone(), region.clone())));
            }
        }
        let wanted: BTreeSet<Pair> =
            left.iter().map(|pair| (accounts[pair.0].clone(), regions[pair.1].to_owned())).collect();
        prop_assert_eq!(got.len(), wanted.len(), "no pair twice");
        prop_assert_eq!(got.into_iter().collect::<BTreeSet<_>>(), wanted);
        let limits: Vec<_> = request.target_locations.iter().map(|l| l.target_location_max_concurrency).collect();
        let sum: u32 = limits.iter().map(|limit| if let Some(Limit::Count(count)) = limit { *count } else { 0 }).sum();
        prop_assert!(sum == concurrency || concurrency == 1);
    }
}

const UNIT: &str = "ou-ab12-cdefghij";

#[expect(clippy::unnecessary_wraps, reason = "beside what is not counted")]
fn counted(total: i32, success: i32) -> Option<Progress> {
    Some(Progress { total, success, ..Progress::default() })
}

#[test]
fn what_a_unit_never_came_to_is_told_and_not_called_a_success() {
    let old = |status: &str, progress| Execution {
        progress,
        ..execution(vec![location(&[UNIT], &["us-east-1"])], vec![step(A, "us-east-1", status)])
    };
    let done = |progress| resumption(&old("Success", progress), &Terms::default()).unwrap_err();
    assert_eq!(done(counted(50, 1)), Unresumable::Unlisted(49));
    assert_eq!(done(None), Unresumable::Unlisted(0), "it failed, and nothing tells where");
    assert_eq!(done(counted(1, 1)), Unresumable::NothingLeft);
    let well = Execution { status: "Success".into(), ..old("Success", None) };
    assert_eq!(resumption(&well, &Terms::default()).unwrap_err(), Unresumable::NothingLeft);
    let refusal = done(counted(50, 1));
    assert_eq!(
        (refusal.code(), refusal.to_string().as_str()),
        (
            "NotResumable",
            "49 accounts and Regions of its units or file never began and cannot be resumed, because AWS does not name \
             them; start the units again with another IdempotencyKey, and list the accounts that it reached in \
             ExcludeAccounts"
        )
    );
    for (progress, left_behind) in [
        (counted(100, 0), Some(Unresumable::Unlisted(99))),
        (None, Some(Unresumable::Unlisted(0))),
        (counted(1, 0), None),
    ] {
        let resumed = resumption(&old("Failed", progress), &Terms::default()).unwrap();
        assert_eq!(
            (groups(&resumed.request), resumed.left_behind),
            (vec![format!("{A} x us-east-1, 1, 0")], left_behind)
        );
    }
    let nowhere = |progress| Execution { progress, ..execution(vec![location(&[UNIT], &["us-east-1"])], vec![]) };
    let refused = |progress| resumption(&nowhere(progress), &Terms::default()).unwrap_err();
    assert_eq!((refused(counted(5, 0)), refused(None)), (Unresumable::Unlisted(5), Unresumable::NoLocations));
}

#[test]
fn what_ended_in_no_known_way_is_left_too() {
    let steps = vec![step(A, "us-east-1", "Success"), step(B, "us-east-1", "Exited")];
    let old = execution(vec![location(&[A, B], &["us-east-1"])], steps);
    let resumed = resumption(&old, &Terms::default()).unwrap();
    assert_eq!(groups(&resumed.request), [format!("{B} x us-east-1, 1, 0")]);
}

#[test]
fn a_limit_given_anew_is_shared_over_all_that_had_shares_of_the_old_one() {
    let share = |account: &str, limit| TargetLocation {
        target_location_max_concurrency: Some(Limit::Count(limit)),
        target_location_max_errors: Some(Limit::Count(limit)),
        ..location(&[account], &["us-east-1"])
    };
    let steps = [A, B, C].map(|account| step(account, "us-east-1", "Failed")).to_vec();
    let steps: Vec<Step> = steps.into_iter().map(|step| Step { target_location: None, ..step }).collect();
    let old = execution(vec![share(A, 4), share(B, 3), share(C, 3)], steps);
    let given =
        Terms { max_concurrency: Some(Limit::Count(10)), max_errors: Some(Limit::Count(5)), ..Terms::default() };
    let resumed = resumption(&old, &given).unwrap();
    assert_eq!(groups(&resumed.request), [format!("{A} {B} {C} x us-east-1, 10, 5")]);
    let one = Terms { max_errors: None, ..given };
    let resumed = resumption(&old, &one).unwrap();
    assert_eq!(groups(&resumed.request)[0], format!("{A} x us-east-1, 4, 4"), "with its own errors still");
    assert_eq!(groups(&resumed.request)[1], format!("{B} {C} x us-east-1, 6, 3"));
    let sum: u32 = resumed
        .request
        .target_locations
        .iter()
        .map(|location| {
            let Some(Limit::Count(count)) = location.target_location_max_concurrency else { panic!("a number") };
            count
        })
        .sum();
    assert_eq!(sum, 10);
}

#[test]
fn what_a_file_gave_is_kept_or_missed_aloud() {
    let role = |told: TargetLocation| told.execution_role_name.unwrap_or_default();
    let told = |change: fn(&mut TargetLocation)| {
        let mut told = location(&[A], &["us-east-1"]);
        change(&mut told);
        let mut old = execution(vec![], vec![Step { target_location: Some(told), ..step(A, "us-east-1", "Failed") }]);
        old.request.target_locations_url = Some("https://bucket.s3.amazonaws.com/x".to_owned());
        old.progress = counted(1, 0);
        old
    };
    let resumed =
        |old: &Execution| resumption(old, &Terms::default()).map(|one| one.request.target_locations[0].clone());
    assert_eq!(resumed(&told(|_| {})).map(role).unwrap(), "Execution");
    let refusal = resumed(&told(|told| told.execution_role_name = None)).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.to_string()),
        (
            "NotResumable",
            format!(
                "AWS does not show which role or targets it used for {A} in us-east-1, which no location of its request \
                 names; send a new Start with its TargetLocationsURL, or with TargetLocations"
            )
        )
    );
    // The file had targets, which the step does not tell.
    let mut targeted = told(|_| {});
    targeted.request.target_parameter_name = Some("InstanceId".to_owned());
    assert!(matches!(resumed(&targeted).unwrap_err(), Unresumable::NoSettings { .. }));
    let target = Target { key: "tag:Env".to_owned(), values: vec!["x".to_owned()] };
    let mut by_step = targeted.clone();
    by_step.steps[0].target_location.as_mut().unwrap().targets = vec![target.clone()];
    assert_eq!(resumed(&by_step).unwrap().targets, vec![target.clone()]);
    targeted.request.targets = vec![target];
    assert!(resumed(&targeted).is_ok());
    let mut bare = told(|_| {});
    bare.steps[0].target_location = None;
    assert!(matches!(resumed(&bare).unwrap_err(), Unresumable::NoSettings { .. }));
}
