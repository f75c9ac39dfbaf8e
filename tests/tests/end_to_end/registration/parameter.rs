//! What is wrong with the activation, or with the instance's rights, is told; once it is right, the machine registers.

use std::time::Duration;

use local_aws::Fault;
use local_aws::machine::{Kind, Machine};
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, INSTANCE_PROFILE, World};

use super::site::Site;

#[tokio::test]
async fn an_activation_that_is_none_is_told_and_the_next_run_with_a_better_one_registers() {
    let site = Site::new().await;
    refused_by_systems_manager(&site).await;
    renewed_in_the_meantime(&site).await;
    refused_before_the_agent_is_touched(&site).await;
    the_tag_is_denied(&site).await;
}

/// The parameter looks well, but the service knows better.
async fn refused_by_systems_manager(site: &Site) {
    type Spoil = fn(&Site, &str) -> bool;
    let cases: [(Spoil, i32, &str, &str, &str); 3] = [
        (
            |site, id| site.world.aws.activations().expire(CENTRAL, HOME_REGION, id, Duration::ZERO),
            7,
            "activation-expired",
            "ActivationExpired",
            "expired",
        ),
        (
            |site, id| site.world.aws.activations().set_registrations(CENTRAL, HOME_REGION, id, 1000),
            8,
            "activation-exhausted",
            "RegistrationLimitExceeded",
            "used-up",
        ),
        (|_, _| true, 9, "activation-wrong", "InvalidActivation", "deleted"),
    ];
    for (spoil, code, reason, words, renewed) in cases {
        let machine = site.machine(Kind::AmazonLinux).await;
        let id = site.activation().await["ActivationId"].as_str().unwrap().to_owned();
        assert!(spoil(site, &id));
        if renewed == "deleted" {
            site.world.central().json("ssm", "DeleteActivation", &json!({"ActivationId": id})).await.unwrap();
        }
        let ran = site.run(&machine, &[]).await;
        ran.assert_failed(code, reason, words);
        assert!(ran.message().contains(r#"activation-issuer with {"agency": "222222222222"}"#), "{}", ran.message());
        assert!(machine.is_active());
        assert_eq!(site.renewed().await, renewed);
        registers(site, &machine).await;
    }
    // The right id with another code: the issuer cannot see that.
    let machine = site.machine(Kind::UbuntuSnap).await;
    let right = site.activation().await;
    put(site, &with(&right, "ActivationCode", "another+code/of20char")).await;
    site.run(&machine, &[]).await.assert_failed(9, "activation-wrong", "InvalidActivation");
    assert!(machine.is_active());
    put(site, &right).await;
    registers(site, &machine).await;
}

/// The hub renews the activation between the refusal and the second look at the parameter.
async fn renewed_in_the_meantime(site: &Site) {
    let old = site.activation().await;
    let id = old["ActivationId"].as_str().unwrap();
    assert!(site.world.aws.activations().expire(CENTRAL, HOME_REGION, id, Duration::ZERO));
    assert_eq!(site.renewed().await, "expired");
    let new = site.activation().await;
    put(site, &old).await;

    let machine = site.machine(Kind::AmazonLinux).await;
    let late = Fault::latency("ssm:GetParameter", Duration::from_secs(3)).account(AGENCY_A).skip(1).times(1);
    let late = site.world.aws.faults().add(late);
    let renewal = async {
        let looks_again = |world: &World| world.aws.faults().fired(late) == 1;
        site.world.eventually("it looks again", Duration::from_mins(1), looks_again).await.unwrap();
        put(site, &new).await;
    };
    let (ran, ()) = tokio::join!(site.run(&machine, &[]), renewal);
    assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("registered")), "{}", ran.said);
    assert!(ran.said.contains("reading the activation again"), "{}", ran.said);
    site.node(&machine).await;
    site.world.aws.faults().clear();
}

/// The parameter itself says that it is of no use; nothing is changed then.
async fn refused_before_the_agent_is_touched(site: &Site) {
    let right = site.activation().await;
    let machine = site.machine(Kind::UbuntuDeb).await;
    let cases: [(Value, &[&str], i32, &str, &str); 8] = [
        (json!("nonsense"), &[], 6, "activation-unreadable", "expected a JSON object, got a string"),
        (with(&right, "ActivationId", "7"), &[], 6, "activation-unreadable", "ActivationId: expected a UUID"),
        (
            with(&right, "ActivationCode", "short"),
            &[],
            6,
            "activation-unreadable",
            "ActivationCode: expected 20 to 250",
        ),
        (with(&right, "Region", "Virginia"), &[], 6, "activation-unreadable", "Region: expected a Region code"),
        (with(&right, "ExpirationDate", "2020-01-01T00:00:00Z"), &[], 7, "activation-expired", "it expired at 2020"),
        (with(&right, "Account", AGENCY_B), &[], 9, "activation-wrong", "made for account 333333333333"),
        (right.clone(), &["--region", "eu-west-1"], 9, "activation-wrong", "--region asks for eu-west-1"),
        (Value::Null, &[], 6, "activation-unreadable", "there is no parameter /tag-hub/activation"),
    ];
    for (value, arguments, code, reason, words) in cases {
        if value.is_null() {
            site.world.delete_activation_parameter(AGENCY_A, HOME_REGION).await.unwrap();
        } else {
            put(site, &value).await;
        }
        let ran = site.run(&machine, arguments).await;
        ran.assert_failed(code, reason, words);
        site.assert_untouched(&machine).await;
    }
    assert_eq!(site.renewed().await, "missing", "the other Region has a good one");
    // For a Region in which nobody knows it, the agent finds out.
    put(site, &with(&right, "Region", "eu-west-1")).await;
    site.run(&machine, &[]).await.assert_failed(9, "activation-wrong", "in that Region");
    assert!(machine.is_active());
    assert_eq!(site.renewed().await, "foreign");
    registers(site, &machine).await;
}

/// Registered, but the profile lacks a right: the next run writes the tag alone.
async fn the_tag_is_denied(site: &Site) {
    let agency = site.world.aws.client(AGENCY_A, HOME_REGION);
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Action": ["ec2:CreateTags"], "Resource": "*"}]});
    let (role, name) = (("RoleName", INSTANCE_PROFILE), ("PolicyName", "test"));
    agency.query("iam", "PutRolePolicy", &[role, name, ("PolicyDocument", &policy.to_string())]).await.unwrap();
    let (machine, before) = (site.machine(Kind::RedHat).await, site.nodes());
    let ran = site.run(&machine, &[]).await;
    ran.assert_failed(13, "tag-not-written", "The instance profile needs ec2:CreateTags");
    let node = machine.registration().unwrap().instance_id;
    assert_eq!((&ran.line["managedInstanceId"], site.tag(&machine).await), (&json!(node), None));
    assert!(machine.is_active());
    agency.query("iam", "DeleteRolePolicy", &[role, name]).await.unwrap();
    let ran = site.run(&machine, &[]).await;
    assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("tag-written")), "{}", ran.said);
    assert_eq!((site.node(&machine).await, site.nodes()), (node, before + 1));

    let policy = policy.to_string().replace("ec2:CreateTags", "ssm:GetParameter");
    agency.query("iam", "PutRolePolicy", &[role, name, ("PolicyDocument", &policy)]).await.unwrap();
    let machine = site.machine(Kind::RedHat).await;
    let words = "The instance profile needs ssm:GetParameter on /tag-hub/activation";
    site.run(&machine, &[]).await.assert_failed(6, "activation-unreadable", words);
    site.assert_untouched(&machine).await;
    agency.query("iam", "DeleteRolePolicy", &[role, name]).await.unwrap();
    registers(site, &machine).await;
}

async fn registers(site: &Site, machine: &Machine) {
    let ran = site.run(machine, &[]).await;
    assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("registered")), "{}", ran.said);
    site.node(machine).await;
}

fn with(activation: &Value, field: &str, value: &str) -> Value {
    let mut changed = activation.clone();
    changed[field] = json!(value);
    changed
}

async fn put(site: &Site, value: &Value) {
    site.world.set_activation_parameter(AGENCY_A, HOME_REGION, &value.to_string()).await.unwrap();
}
