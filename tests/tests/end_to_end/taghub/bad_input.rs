//! What an operator gets wrong, and what is said about it.

use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, SECOND_REGION, World};

use super::{Operator, Printed};

fn begins(printed: &Printed, code: i32, words: &str) {
    assert_eq!(printed.code, code, "{printed:?}");
    assert!(printed.out.is_empty() && printed.err.starts_with(words), "{words}: {printed:?}");
}

#[tokio::test]
async fn every_mistake_says_what_to_do() {
    let world = World::deployed().await.unwrap();
    let central = || Operator::central(&world);

    let no_keys = central().with("AWS_ACCESS_KEY_ID", None).with("AWS_SECRET_ACCESS_KEY", None).run("nodes").await;
    begins(&no_keys, 4, "error: no AWS credentials\n  tried the environment and the default profile: ");
    assert!(no_keys.err.contains("\n  help: set AWS_PROFILE or add --profile"), "{no_keys:?}");

    let expected = format!(
        "error: {AGENCY_A} is not the central account\n  It is an agency of the hub in {CENTRAL}, {HOME_REGION}.\n  \
         help: add --profile with a profile of {CENTRAL}, and --region {HOME_REGION}\n"
    );
    begins(&Operator::of(&world, AGENCY_A).run("nodes").await, 5, &expected);

    let expected = format!(
        "error: no hub \"tag-hub\" in {CENTRAL}, {SECOND_REGION}\n  The parameter /tag-hub/about is not there; a hub of a \
         release before 0.2 has none.\n  help: "
    );
    begins(&central().run(&format!("nodes --region {SECOND_REGION}")).await, 5, &expected);
    let other = central().run("nodes --hub other- -o json").await;
    let error: Value = serde_json::from_str(&other.err).unwrap();
    assert_eq!((&error["error"]["code"], other.code), (&json!("no-hub"), 5), "{error}");

    let no_region = central().with("AWS_REGION", None).run("nodes").await;
    begins(&no_region, 2, "error: no AWS Region\n  help: add --region, or set AWS_REGION\n");

    let not_granted = central().run("plan --agency 444444444444").await;
    begins(&not_granted, 5, "error: no agency 444444444444 in the hub of ");
    let help = "help: grant it: deploy cfn/agency-grant.yaml with AgencyAccountId=444444444444";
    assert!(not_granted.err.contains(help), "{not_granted:?}");

    let foreign = world.aws.nodes().register(AGENCY_B, HOME_REGION, local_aws::NewNode::default());
    let expected = format!("error: no node {foreign} in {CENTRAL}, {HOME_REGION}\n  help: ");
    begins(&central().run(&format!("explain {foreign}")).await, 5, &expected);

    let no_profile = central().run(&format!("sweep --agency {AGENCY_A}")).await;
    begins(&no_profile, 2, &format!("error: no profile for the agency's account {AGENCY_A}\n"));
    let credentials = format!("[other]\naws_access_key_id = {AGENCY_B}\naws_secret_access_key = any\n");
    let wrong = central().with_profiles("", &credentials);
    let wrong = wrong.run(&format!("sweep --agency {AGENCY_A} --agency-profile other")).await;
    begins(&wrong, 2, &format!("error: profile \"other\" is of {AGENCY_B}, not of {AGENCY_A}\n"));

    for (arguments, code, words) in [
        ("nodes --tag Env", 2, "expected KEY=VALUE"),
        ("nodez", 2, "a similar subcommand exists: 'nodes'"),
        ("explain web-01", 2, "expected mi- and 17, or i- and 8 or 17"),
        ("run start AWS-RestartEC2Instance --accounts 222222222222 --regions us-east-1", 2, "no terminal to ask on"),
        ("run preview AWS-RestartEC2Instance --regions us-east-1", 2, "no account to run in"),
        ("run watch last", 5, "no run was started from this machine"),
        ("run status nightly-1", 5, "no run nightly-1 in"),
        ("campaign status nothing", 5, "no campaign nothing in"),
        ("campaign start nowhere.json --yes", 2, "cannot read nowhere.json"),
        ("plan -o csv", 2, "taghub plan prints no table"),
        ("nodes --timeout 0s", 2, "expected a time such as"),
        ("nodes --timeout 5 --quiet --verbose", 2, "cannot be used with"),
    ] {
        let printed = central().run(arguments).await;
        assert_eq!(printed.code, code, "{arguments}: {printed:?}");
        assert!(printed.out.is_empty() && printed.err.contains(words), "{arguments}: {printed:?}");
    }

    // A hub of another version; last, because nothing works with it.
    let about = json!({
        "version": "0.1.4", "account": CENTRAL, "region": HOME_REGION, "partition": "aws", "nodeLimit": 1000,
        "names": {"manager": "m", "issuer": "i", "fanout": "f", "campaign": "c"}
    });
    let put = json!({"Name": "/tag-hub/about", "Overwrite": true, "Type": "String", "Value": about.to_string()});
    world.central().json("ssm", "PutParameter", &put).await.unwrap();
    let old = central().run("nodes").await;
    begins(&old, 6, "error: taghub ");
    assert!(
        old.err.contains("cannot talk to hub 0.1.4") && old.err.contains("\n  help: install taghub 0.1.4"),
        "{old:?}"
    );
}

#[tokio::test]
async fn the_policies_of_operators_are_enough_and_no_more() {
    let world = World::deployed().await.unwrap();
    let web = world.enroll(AGENCY_A, HOME_REGION, &[("Name", "web-01"), ("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    let text = world.paths().text("cfn/operator-roles.yaml").unwrap();
    local_aws::stacks::deploy(&world.central(), "tag-hub-operator-roles", &text, &[]).await.unwrap();
    let nobody = user(&world, "nobody", &[]).await;
    let reader = user(&world, "reader", &["TagHubReader"]).await;
    let operator = user(&world, "operator", &["TagHubReader", "TagHubOperator"]).await;
    let approver = user(&world, "approver", &["TagHubReader", "TagHubApprover"]).await;

    begins(&nobody.run("nodes").await, 4, "error: not allowed: ssm:GetParameter on /tag-hub/about\n");
    let explain = format!("explain {}", web.node);
    let by_instance = format!("explain {}", web.instance);
    for arguments in
        ["nodes", "nodes --conflict", "nodes --tag Env=none", "agencies", &explain, &by_instance, "campaign list"]
    {
        let printed = reader.run_well(arguments).await;
        assert!(!printed.err.contains("not read"), "{arguments}: {printed:?}");
    }
    let status = reader.run_well("status").await;
    assert!(status.err.starts_with("warning: not read: runs: AccessDenied"), "{status:?}");
    assert_eq!(status.err.lines().count(), 1, "only what an operator may: {status:?}");
    assert!(status.out.contains("nodes.all\t1\n"), "{status:?}");
    let doctor = reader.run("doctor").await;
    assert!(!doctor.out.contains("not-checked"), "{doctor:?}");

    let refused = "error: not allowed: lambda:InvokeFunction on automation-fanout\n";
    begins(&reader.run("run list").await, 4, refused);
    begins(&approver.run("run list").await, 4, refused);
    assert_eq!(operator.run("run list").await.code, 0);
    assert_eq!(operator.run_well("status").await.err, "");

    // Whoever starts a campaign does not approve it.
    world.deploy_administration_role().await.unwrap();
    world.deploy_execution_role(AGENCY_A).await.unwrap();
    world.aws.automation().set_duration(std::time::Duration::from_millis(200));
    let campaign = super::campaigns::by_region("ring", &[AGENCY_A]);
    operator.write("campaign.json", &campaign);
    operator.run_well("campaign start campaign.json --yes").await;
    super::campaigns::asks(&operator, "ring").await;
    begins(
        &operator.run("campaign approve ring --wave east").await,
        4,
        "error: not allowed: states:SendTaskSuccess on tag-hub-campaign\n",
    );
    approver.run_well("campaign approve ring --wave east").await;
    begins(
        &approver.run("campaign stop ring --yes").await,
        4,
        "error: not allowed: states:StopExecution on tag-hub-campaign\n",
    );
}

/// A user of the central account with managed policies.
async fn user(world: &World, name: &str, policies: &[&str]) -> Operator {
    let client = world.central();
    client.query("iam", "CreateUser", &[("UserName", name)]).await.unwrap();
    for policy in policies {
        let arn = format!("arn:aws:iam::{CENTRAL}:policy/{policy}");
        client.query("iam", "AttachUserPolicy", &[("UserName", name), ("PolicyArn", &arn)]).await.unwrap();
    }
    let key = client.query("iam", "CreateAccessKey", &[("UserName", name)]).await.unwrap();
    let text = |name: &str| key["AccessKey"][name].as_str().unwrap().to_owned();
    Operator::central(world)
        .with("AWS_ACCESS_KEY_ID", Some(&text("AccessKeyId")))
        .with("AWS_SECRET_ACCESS_KEY", Some(&text("SecretAccessKey")))
}
