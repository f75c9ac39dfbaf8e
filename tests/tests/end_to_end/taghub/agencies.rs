//! An agency is proved connected, or not, and its plans are printed.

use serde_json::json;
use tests::{AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, World};

use super::Operator;

const PROFILES: &str = "[parks]\naws_access_key_id = 222222222222\naws_secret_access_key = any\n";

#[tokio::test]
async fn an_agency_is_proved_connected_and_what_is_missing_shows_at_once() {
    let world = World::deployed().await.unwrap();
    let operator = Operator::central(&world).with_profiles("", PROFILES);
    let test = format!("agency test {AGENCY_A} --agency-profile parks");
    // There is no instance, and the manager is called all the same.
    let proved = operator.run_well(&test).await;
    for line in ["grant\tfine\t", "collector\tfine\t", "way\tfine\ta dry run reached the manager and came back"] {
        assert!(proved.out.contains(line), "{line}: {proved:?}");
    }
    let swept = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(swept["counts"]["received"], 0, "{swept}");
    let log = world.log(CENTRAL, "ssm-tag-manager").await.unwrap();
    assert_eq!(log.matches("report applied").count(), 2, "the test and the sweep: {log}");

    // What could not be looked at is not proved.
    let unseen = operator.run(&format!("agency test {AGENCY_B}")).await;
    assert_eq!(unseen.code, 1);
    assert!(unseen.out.contains("collector\tnot-checked\tno profile for the agency's account"), "{unseen:?}");
    let unknown = operator.run("agency test 444444444444").await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.out.starts_with("grant\tbroken\tno agency 444444444444"), "{unknown:?}");

    // Without the permission that comes with the grant, sweeps fail at once, also without an instance.
    let client = world.central();
    local_aws::stacks::delete(&client, &format!("tag-hub-agency-{AGENCY_A}")).await.unwrap();
    let silent = world.sweep(AGENCY_A, &json!({})).await.unwrap();
    assert!(
        silent.payload["errorMessage"].as_str().unwrap_or_default().contains("lambda:Invoke"),
        "{}",
        silent.payload
    );
    let ended = operator.run(&test).await;
    assert_eq!(ended.code, 1);
    assert!(ended.out.starts_with("grant\tbroken\t"), "{ended:?}");
}

#[tokio::test]
async fn plans_are_printed_and_nothing_is_done() {
    let world = World::deployed().await.unwrap();
    let operator = Operator::central(&world);
    world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();

    let add = operator.run_well("agency add 444444444444 --name Parks").await;
    for part in [
        "# 1. 111111111111, us-east-1: the grant",
        "--parameter-overrides AgencyAccountId=444444444444 AgencyName=Parks 'ManagerVersion=$LATEST' SilentAfterMinutes=0\n",
        "# 2. 444444444444, us-east-1: the collector",
        "ManagerFunctionArn=arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager\n",
        "taghub agency test 444444444444\n",
    ] {
        assert!(add.out.contains(part), "{part}: {add:?}");
    }
    let again = operator.run_well(&format!("agency add {AGENCY_A}")).await;
    assert!(again.err.contains("222222222222 already has a grant"), "{again:?}");
    let bad = operator.run("agency add 4444").await;
    assert_eq!(bad.code, 2, "{bad:?}");

    let plan = operator.run_well(&format!("agency remove {AGENCY_A} --plan")).await;
    for part in ["--stack-name tag-hub-agency-222222222222\n", "1 node (1 online) stay", "/tag-hub/activation\n"] {
        assert!(plan.out.contains(part), "{part}: {plan:?}");
    }
    let refused = operator.run(&format!("agency remove {AGENCY_A}")).await;
    assert!(refused.code == 2 && refused.err.contains("add --plan"), "{refused:?}");
    let unknown = operator.run("agency remove 444444444444 --plan").await;
    assert_eq!(unknown.code, 5, "{unknown:?}");
    assert!(operator.run_well("agencies").await.out.contains(AGENCY_A), "it is there as before");
}
