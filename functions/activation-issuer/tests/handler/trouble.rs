//! What becomes of an agency when something fails, and of the others then.

use activation_issuer::IssueError;
use lambda_runtime::Diagnostic;
use serde_json::{Value, json};

use crate::world::{Denial, Fault, World};
use crate::{A, B, DAY, EAST, HOUR, WEST, answer, invoke, run, run_within, runtime, writes};

fn deny(world: &World, operation: &'static str, about: &str, code: &'static str, message: &'static str) {
    world.with(|state| state.denials.push(Denial { operation, about: about.to_owned(), code, message }));
}

fn allow(world: &World) {
    world.with(|state| state.denials.clear());
}

fn agency(answer: &Value) -> &Value {
    &answer["agencies"][0]
}

/// One run in which the calls meet these faults, in their order.
fn run_with(world: &World, faults: &[Fault]) -> Value {
    let runtime = runtime();
    let access = world.access(faults.iter().copied());
    answer(runtime.block_on(invoke(world, &access, 900, &json!({}))))
}

#[test]
fn one_agency_that_fails_does_not_stop_the_others() {
    let world = World::new(&[A, B]);
    deny(&world, "sts:AssumeRole", A, "AccessDenied", "not authorized to perform: sts:AssumeRole");
    let error = run(&world).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 2 agencies failed or were deferred: 222222222222, sts:AssumeRole failed: AccessDenied: not authorized to \
         perform: sts:AssumeRole; account 222222222222 has no role TagHubActivationWriter that trusts this function: \
         deploy cfn/agency.yaml there, with this account's ManagerFunctionArn"
    );
    let IssueError::PartialIssue(whole) = &error else { panic!("{error:?}") };
    assert_eq!((whole.counts.live, whole.counts.failed, whole.counts.created), (1, 1, 1));
    let diagnostic = Diagnostic::from(error);
    assert_eq!(diagnostic.error_type, "PartialIssue");
    let (_, facts) = diagnostic.error_message.split_once("; answer: ").unwrap();
    let facts: Value = serde_json::from_str(facts).unwrap();
    assert_eq!(
        (&facts["agencies"][0]["errorCode"], &facts["agencies"][1]["outcome"]),
        (&json!("AccessDenied"), &json!("renewed"))
    );
}

#[test]
fn every_refusal_says_what_to_do() {
    for (operation, code, message, advice) in [
        ("sts:AssumeRole", "AccessDenied", "no", "deploy cfn/agency.yaml there"),
        ("ssm:GetParameter", "AccessDeniedException", "no", "may not use the parameter /tag-hub/activation"),
        ("ssm:GetParameter", "AccessDeniedException", "to perform: kms:Decrypt", "the key of the parameter"),
        ("ssm:PutParameter", "AccessDeniedException", "no", "may not use the parameter"),
        ("ssm:PutParameter", "InvalidKeyId", "no such key", "the key of the parameter"),
        ("ssm:CreateActivation", "ValidationException", "Not existing role", "needs a role node"),
        ("ssm:CreateActivation", "AccessDeniedException", "iam:PassRole", "iam:PassRole on node"),
    ] {
        let world = World::new(&[A]);
        deny(&world, operation, "", code, message);
        let failed = answer(run(&world));
        assert_eq!((&agency(&failed)["outcome"], &agency(&failed)["errorCode"]), (&json!("failed"), &json!(code)));
        let told = agency(&failed)["message"].as_str().unwrap();
        assert!(told.contains(message) && told.contains(advice), "{operation} {code}: {told}");
        // Nothing is left behind, and as soon as it is allowed, all is well.
        assert_eq!(world.with(|state| state.activations.len()), 0, "{operation}");
        allow(&world);
        assert_eq!(agency(&answer(run(&world)))["outcome"], "renewed", "{operation}");
    }
}

#[test]
fn a_code_that_is_stored_nowhere_is_deleted_at_once() {
    let world = World::new(&[A]);
    deny(&world, "ssm:PutParameter", "", "AccessDeniedException", "no");
    let failed = answer(run(&world));
    assert_eq!((&failed["counts"]["created"], &failed["counts"]["deleted"]), (&json!(1), &json!(1)));
    assert_eq!(agency(&failed)["reason"], "missing");
    assert_eq!(agency(&failed)["activationId"], Value::Null);
    let message = agency(&failed)["message"].as_str().unwrap();
    assert!(message.starts_with("ssm:PutParameter failed: AccessDeniedException: in us-east-1: no"), "{message}");
    assert!(message.ends_with("; the activation created for it was deleted"), "{message}");
    // Not even that may work: then a later run does it.
    deny(&world, "ssm:DeleteActivation", "", "InternalServerError", "broken");
    let failed = answer(run(&world));
    let message = agency(&failed)["message"].as_str().unwrap();
    assert!(
        message.contains("a later run deletes the activation")
            && message.contains("because ssm:DeleteActivation failed"),
        "{message}"
    );
    allow(&world);
    for _ in 0..2 {
        world.with(|state| state.now += 2 * HOUR);
        run(&world).unwrap();
    }
    world.with(|state| assert!(state.orphans().is_empty()));
}

#[test]
fn what_is_stored_in_one_region_is_kept_and_copied_later() {
    let world = World::new(&[A]);
    deny(&world, "ssm:PutParameter", WEST, "AccessDeniedException", "no");
    let failed = answer(run(&world));
    assert_eq!((&failed["counts"]["created"], &failed["counts"]["live"]), (&json!(1), &json!(0)));
    assert_eq!(agency(&failed)["activationId"], "00000000-0000-4000-8000-000000000001");
    // As long as it stays so, nothing more is made.
    assert_eq!(answer(run(&world))["counts"]["created"], 0);
    allow(&world);
    writes(&world);
    assert_eq!(agency(&answer(run(&world)))["outcome"], "renewed");
    assert_eq!(writes(&world), ["ssm:PutParameter 222222222222 us-west-2"]);
}

#[test]
fn a_write_whose_answer_is_lost_is_read_back() {
    // Three lists, a role, two reads, the activation.
    let before = [Fault::None; 7];
    let with = |after: &[Fault]| [&before[..], after].concat();
    let world = World::new(&[A]);
    let done = run_with(&world, &with(&[Fault::Lost, Fault::None, Fault::Lost, Fault::None]));
    assert_eq!((&agency(&done)["outcome"], &done["counts"]["live"]), (&json!("renewed"), &json!(1)));
    // Where reading back fails too, it may be there: it is not deleted, and the next run finds out.
    let world = World::new(&[A]);
    let faults = [Fault::Lost, Fault::Failed, Fault::Failed, Fault::Failed];
    let failed = run_with(&world, &with(&faults));
    assert_eq!((&agency(&failed)["outcome"], &failed["counts"]["deleted"]), (&json!("failed"), &json!(0)));
    assert_eq!(answer(run(&world))["counts"]["created"], 0);
    // Where it certainly is not, it is deleted.
    let world = World::new(&[A]);
    let failed = run_with(&world, &with(&[Fault::Failed, Fault::None, Fault::Failed, Fault::None]));
    assert_eq!(
        (&agency(&failed)["errorCode"], &failed["counts"]["deleted"]),
        (&json!("InternalServerError"), &json!(1))
    );
}

#[test]
fn a_lost_activation_is_deleted_two_runs_later_at_the_latest() {
    let world = World::new(&[A]);
    let failed = run_with(&world, &[&[Fault::None; 6][..], &[Fault::Lost]].concat());
    assert_eq!((&agency(&failed)["errorCode"], &failed["counts"]["created"]), (&json!("Timeout"), &json!(0)));
    world.with(|state| assert_eq!(state.activations.len(), 1));
    for _ in 0..2 {
        world.with(|state| state.now += DAY);
        run(&world).unwrap();
    }
    world.with(|state| assert_eq!((state.activations.len(), state.orphans().len()), (1, 0)));
}

#[test]
fn while_a_region_is_unread_nothing_is_deleted() {
    let world = World::new(&[A]);
    run(&world).unwrap();
    world.with(|state| {
        state.now += DAY;
        state.make(A, 20 * DAY, DAY);
    });
    deny(&world, "ssm:GetParameter", WEST, "ThrottlingException", "slow down");
    let failed = answer(run(&world));
    assert_eq!(
        (&agency(&failed)["errorCode"], &failed["counts"]["deleted"]),
        (&json!("ThrottlingException"), &json!(0))
    );
    assert_eq!(agency(&failed)["activationId"], "00000000-0000-4000-8000-000000000001");
    // The other Region is served all the same.
    world.with(|state| drop(state.parameters.remove(&(A.parse().unwrap(), EAST.parse().unwrap()))));
    let failed = answer(run(&world));
    assert_eq!((&agency(&failed)["outcome"], &failed["counts"]["created"]), (&json!("failed"), &json!(1)));
    allow(&world);
    world.with(|state| state.now += 2 * HOUR);
    run(&world).unwrap();
    world.with(|state| state.now += 2 * HOUR);
    run(&world).unwrap();
    world.with(|state| assert!(state.orphans().is_empty()));
}

#[test]
fn a_renewal_that_fails_leaves_the_old_one_in_force() {
    let world = World::new(&[A]);
    run(&world).unwrap();
    world.with(|state| state.now += 25 * DAY);
    deny(&world, "ssm:CreateActivation", "", "ServiceUnavailable", "later");
    let failed = answer(run(&world));
    assert_eq!((&agency(&failed)["outcome"], &agency(&failed)["reason"]), (&json!("failed"), &json!("expiring")));
    assert_eq!((&failed["counts"]["live"], &failed["counts"]["failed"]), (&json!(1), &json!(1)));
}

#[test]
fn what_cannot_be_deleted_is_told() {
    let world = World::new(&[A]);
    run(&world).unwrap();
    world.with(|state| {
        state.now += DAY;
        state.make(A, 20 * DAY, DAY);
    });
    deny(&world, "ssm:DeleteActivation", "", "TooManyUpdates", "later");
    let failed = answer(run(&world));
    assert_eq!((&agency(&failed)["errorCode"], &failed["counts"]["live"]), (&json!("TooManyUpdates"), &json!(1)));
}

#[test]
fn without_a_list_nothing_is_done() {
    for operation in ["ssm:DescribeActivations", "lambda:ListAliases"] {
        let world = World::new(&[A]);
        deny(&world, operation, "", "AccessDeniedException", "no");
        let error = run(&world).unwrap_err();
        let expected = format!(
            "NothingRead: failed to list agencies or activations: {operation} failed: AccessDeniedException: no"
        );
        assert_eq!(format!("{error:?}"), expected);
        assert_eq!(writes(&world), [""; 0]);
    }
}

#[test]
fn without_time_agencies_are_deferred() {
    let world = World::new(&[A, B]);
    let error = run_within(&world, 44, &json!({})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 of 2 agencies failed or were deferred: 222222222222, deferred because time ran out; 333333333333, deferred \
         because time ran out"
    );
    let deferred = answer(Err(error));
    assert_eq!((&deferred["counts"]["deferred"], &deferred["counts"]["failed"]), (&json!(2), &json!(0)));
    assert_eq!(writes(&world), [""; 0]);
}
