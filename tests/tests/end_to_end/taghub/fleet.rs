//! Nodes, agencies, and what a sweep changes.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, World};

use super::Operator;

pub(super) const PROFILES: &str = "[parks]\naws_access_key_id = 222222222222\naws_secret_access_key = any\n";

#[tokio::test]
async fn nodes_are_listed_filtered_and_explained() {
    let policy = r#"{"include": ["Env", "Role", "Name"]}"#;
    let world = World::deployed_with(&[("TagPolicy", policy), ("PolicyParameters", "Yes")], &[]).await.unwrap();
    let web = [("Name", "web-01"), ("Env", "PROD"), ("Role", "R,D"), ("Owner", "nobody")];
    let web = world.enroll(AGENCY_A, HOME_REGION, &web).await.unwrap();
    let db = world.enroll(AGENCY_B, HOME_REGION, &[("Name", "db-01"), ("Env", "TEST")]).await.unwrap();
    for agency in [AGENCY_A, AGENCY_B] {
        world.sweep_well(agency).await.unwrap();
    }
    world.aws.nodes().set_ping(CENTRAL, HOME_REGION, &db.node, "ConnectionLost", Duration::from_hours(1));
    let operator = Operator::central(&world);

    // In a pipe: full ids, words, no header, nothing on the other stream.
    let printed = operator.run_well("nodes --sort name").await;
    let expected = format!(
        "{}\tdb-01\t{AGENCY_B}\t{}\toffline\tin-step\n{}\tweb-01\t{AGENCY_A}\t{}\tonline\tleft-behind\n",
        db.node, db.instance, web.node, web.instance
    );
    assert_eq!((printed.out, printed.err), (expected, String::new()));
    for (arguments, expected) in [
        ("nodes --ids --agency 222222222222", format!("{}\n", web.node)),
        ("nodes --ids --offline", format!("{}\n", db.node)),
        ("nodes --ids --tag Env=TEST --tag Name=db-01", format!("{}\n", db.node)),
        ("nodes --ids --tag Env=TEST --agency 222222222222", String::new()),
        ("nodes --ids --conflict", String::new()),
    ] {
        assert_eq!(operator.run_well(arguments).await.out, expected, "{arguments}");
    }
    let lines = operator.run_well("nodes -o json --sort name").await.out;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["id"], &lines[0]["schema"]), (&json!(db.node), &json!("taghub.nodes/1")));
    let csv = operator.run_well("nodes -o csv").await.out;
    assert!(csv.starts_with("id,name,agency,ec2InstanceId,online,tagging\r\n") && csv.lines().count() == 3, "{csv}");
    assert_eq!(operator.run("nodes --exit-code").await.code, 1);

    // Nothing found is no error, and says what there is.
    let printed = operator.run_well("nodes --tag Env=STAGE").await;
    assert_eq!(printed.out, "");
    assert_eq!(printed.err, "no node has the tag Env=STAGE; values in use: PROD 1, TEST 1\n");

    // Without the agency's account only the node is known; with it, each tag from the instance to the node.
    let explained = operator.run_well(&format!("explain {}", web.instance)).await;
    assert_eq!(explained.out, "-\t-\tnone\tEnv\tPROD\thub\n-\t-\tnone\tName\tweb-01\thub\n");
    let operator = operator.with_profiles("", PROFILES);
    let explained = operator.run_well(&format!("explain {} --agency-profile parks", web.node)).await;
    let expected = "Env\tPROD\tinclude\tEnv\tPROD\thub\nName\tweb-01\tinclude\tName\tweb-01\thub\n\
                    Owner\tnobody\tnot-included\t-\t-\t-\nRole\tR,D\tcharacter\t-\t-\t-\n";
    assert_eq!(explained.out, expected);
    let one = operator.run(&format!("explain {} Role --agency-profile parks --exit-code", web.node)).await;
    assert_eq!(one.code, 1);
    assert!(one.err.contains("Role: the value holds ',' (U+002C)"), "{one:?}");
    let document = operator.json(&format!("explain {} --agency-profile parks", web.node)).await;
    assert_eq!((&document["leftBehind"], &document["inStep"]), (&json!(1), &json!(true)), "{document}");
    let missing = operator.run(&format!("explain {} Nope --agency-profile parks", web.node)).await;
    assert_eq!(missing.code, 5, "{missing:?}");
    assert!(missing.err.contains("There are: Env, Name, Owner, Role"), "{missing:?}");

    // By the policy of its own agency, where it has one.
    world.deploy_policy(AGENCY_A, r#"{"include": ["Owner"]}"#).await.unwrap();
    let explained = operator.run_well(&format!("explain {} Owner --agency-profile parks", web.node)).await;
    assert!(explained.out.starts_with("Owner\tnobody\tinclude\t"), "{explained:?}");

    // What happened to it, and what ran on it.
    let history = operator.run_well(&format!("history {}", web.node)).await.out;
    let lines: Vec<Vec<&str>> = history.lines().map(|line| line.split('\t').skip(1).take(3).collect()).collect();
    assert_eq!(lines[0], ["node updated", "2 set", AGENCY_A], "{history}");
    let by_instance = operator.json(&format!("history {} --no-runs", web.instance)).await;
    assert_eq!(by_instance["history"].as_array().unwrap().len(), lines.len(), "{by_instance}");
    assert_eq!(by_instance["history"][0]["instanceId"], json!(web.node));
    let nothing = operator.run_well("history mi-0fedcba9876543210 --since 12h").await;
    assert_eq!(nothing.out, "");
    assert!(
        nothing.err.contains("nothing about mi-0fedcba9876543210 in 111111111111, us-east-1, looking back 12 h"),
        "{nothing:?}"
    );

    // Two instances that name one node, and one that lost its node.
    let clone = [("managedinstanceid", web.node.as_str()), ("Env", "PROD")];
    let copy = world.launch(AGENCY_A, HOME_REGION, &clone).await.unwrap();
    world.untag(&db, "managedinstanceid").await.unwrap();
    for agency in [AGENCY_A, AGENCY_B] {
        world.sweep(agency, &json!({})).await.unwrap();
    }
    assert_eq!(operator.run_well("nodes --ids --conflict").await.out, format!("{}\n", web.node));
    assert_eq!(operator.run_well("nodes --ids --unlinked").await.out, format!("{}\n", db.node));
    let document = operator.json(&format!("explain {} --agency-profile parks", web.node)).await;
    assert_eq!(document["tagging"], "conflict", "its tags alone show nothing wrong: {document}");
    assert_eq!(operator.run(&format!("explain {} --exit-code --agency-profile parks", web.node)).await.code, 1);
    let named = format!("it names {}, reason conflict", web.node);
    let explained = operator.run(&format!("explain {copy}")).await;
    assert_eq!(explained.code, 5, "{explained:?}");
    assert!(explained.err.contains(&named), "{explained:?}");
    let doctor = operator.run(&format!("doctor --instance {copy}")).await;
    assert!(doctor.out.contains(&named), "{doctor:?}");

    // Once that is mended, the next whole sweep says so by silence; what still is so, it says again.
    let client = world.aws.client(AGENCY_A, HOME_REGION);
    client.query("ec2", "TerminateInstances", &[("InstanceId.1", copy.as_str())]).await.unwrap();
    for agency in [AGENCY_A, AGENCY_B, AGENCY_A, AGENCY_B] {
        world.sweep(agency, &json!({})).await.unwrap();
    }
    assert_eq!(operator.run_well("nodes --ids --conflict").await.out, "");
    assert_eq!(operator.run_well("nodes --ids --unlinked").await.out, format!("{}\n", db.node));
}

#[tokio::test]
async fn an_instance_is_the_node_that_it_registered_last() {
    let world = World::deployed().await.unwrap();
    let operator = Operator::central(&world);
    let first = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    let second = world.register_node(AGENCY_A, None);
    for node in [&second, &first.node] {
        world.tag(&first, "managedinstanceid", node).await.unwrap();
        world.sweep_well(AGENCY_A).await.unwrap();
        let document = operator.json(&format!("explain {}", first.instance)).await;
        assert_eq!(&document["id"], node, "{document}");
        let doctor = operator.run(&format!("doctor --instance {}", first.instance)).await;
        assert!(doctor.out.contains("source\tfine\t") && !doctor.out.contains("superseded\t"), "{doctor:?}");
    }
}

#[tokio::test]
async fn instances_without_a_node_are_listed() {
    let world = World::deployed().await.unwrap();
    let operator = Operator::central(&world);
    let none = operator.run_well("instances").await;
    assert_eq!(none.out, "");
    assert!(none.err.starts_with("no coverage is known yet"), "{none:?}");

    world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    let bare = world.launch(AGENCY_A, HOME_REGION, &[("Env", "TEST")]).await.unwrap();
    world.enroll(AGENCY_B, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    for agency in [AGENCY_A, AGENCY_B] {
        world.sweep_well(agency).await.unwrap();
    }
    let printed = operator.run_well("instances").await;
    let lines: Vec<&str> = printed.out.lines().map(|line| line.rsplit_once('\t').unwrap().0).collect();
    let expected = [(AGENCY_A, 2, 1), (AGENCY_B, 1, 0)]
        .map(|(agency, running, without)| format!("{agency}\t-\t{HOME_REGION}\t{running}\t0\t1\t{without}"));
    assert_eq!((lines, printed.err), (expected.iter().map(String::as_str).collect(), String::new()));
    let unmanaged = format!("{bare}\t{AGENCY_A}\t-\t{HOME_REGION}\n");
    assert_eq!(operator.run_well("instances --unmanaged").await.out, unmanaged);
    assert_eq!(operator.run_well(&format!("instances --agency {AGENCY_B} --unmanaged --exit-code")).await.out, "");
    assert_eq!(operator.run("instances --exit-code").await.code, 1);
    let document = operator.json(&format!("instances --agency {AGENCY_A}")).await;
    assert_eq!(document["schema"], "taghub.instances/1");
    assert_eq!((&document["regions"][0]["managed"], &document["regions"][0]["unmanaged"]), (&json!(1), &json!([bare])));
    let csv = operator.run_well("instances -o csv --unmanaged").await.out;
    assert!(csv.starts_with("ec2InstanceId,account,name,region\r\n"), "{csv}");

    // What the manager did not name is told in a pipe, too.
    let more = json!({"running": 5, "stopped": 0, "managed": 0, "unmanaged": [], "unmanagedOmitted": 5}).to_string();
    let name = format!("/tag-hub/coverage/{AGENCY_B}/us-west-2");
    let body = json!({"Name": name, "Value": more, "Type": "String"});
    world.central().json("ssm", "PutParameter", &body).await.unwrap();
    let printed = operator.run_well("instances --unmanaged").await;
    assert_eq!(printed.err, "5 more instances run without a node; the manager keeps the first ones of a Region\n");
    world.central().json("ssm", "DeleteParameter", &json!({"Name": name})).await.unwrap();

    // Somebody else's text in the path is named and left out.
    let body =
        json!({"Name": format!("/tag-hub/coverage/{AGENCY_A}/us-west-1"), "Value": "nonsense", "Type": "String"});
    world.central().json("ssm", "PutParameter", &body).await.unwrap();
    let printed = operator.run_well("instances").await;
    assert_eq!(printed.out.lines().count(), 2);
    assert!(printed.err.contains("us-west-1 holds no coverage"), "{printed:?}");
}

#[tokio::test]
async fn the_fleet_is_reported_as_the_function_reports_it() {
    let world = World::deployed().await.unwrap();
    world.enroll(AGENCY_A, HOME_REGION, &[("Name", "web-01"), ("Env", "PROD")]).await.unwrap();
    world.launch(AGENCY_A, HOME_REGION, &[("Env", "TEST")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    world.report_fleet(&json!({})).await.unwrap();
    let operator = Operator::central(&world);
    let printed = operator.run_well("report --dir here").await;
    assert_eq!(printed.out, "here/index.html\nhere/fleet.csv\nhere/fleet.json\n");
    let read = |name: &str| std::fs::read_to_string(operator.home.path().join("here").join(name)).unwrap();
    let without_times = |text: &str| {
        let mut summary: Value = serde_json::from_str(text).unwrap();
        summary["generated"].take();
        summary["trend"][0]["at"].take();
        summary
    };
    let own = world.fleet_file("fleet.json").await.unwrap().unwrap();
    assert_eq!(without_times(&read("fleet.json")), without_times(&own));
    assert_eq!(Some(read("fleet.csv")), world.fleet_file("fleet.csv").await.unwrap());
    assert!(read("index.html").starts_with("<!DOCTYPE html>"));
    let document = operator.json("report").await;
    assert_eq!((&document["nodes"], &document["files"][0]), (&json!(1), &json!("fleet/index.html")), "{document}");
    assert_eq!(operator.run("report --exit-code").await.code, 1, "an agency without an activation");
    operator.write("taken", &json!({}));
    let refused = operator.run("report --dir taken").await;
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("cannot write to taken"), "{refused:?}");
}

#[tokio::test]
async fn a_plan_writes_nothing_and_a_sweep_does() {
    let world = World::deployed().await.unwrap();
    let web = world.enroll(AGENCY_A, HOME_REGION, &[("a#b", "1")]).await.unwrap();
    let stranger = world.register_node(AGENCY_B, None);
    world.launch(AGENCY_A, HOME_REGION, &[("managedinstanceid", &stranger)]).await.unwrap();
    world.aws.set_tag_events(false).unwrap();
    world.tag(&web, "Env", "PROD").await.unwrap();
    let operator = Operator::central(&world).with_profiles("", PROFILES);

    let arguments = format!("plan --agency {AGENCY_A} --agency-profile parks --instance {}", web.instance);
    let plan = operator.run_well(&arguments).await;
    assert_eq!(plan.out, format!("{}\t{}\twould-update\tcharacter\n", web.node, web.instance));
    assert!(world.plain_tags(&web.node).is_empty());
    assert_eq!(operator.run(&format!("{arguments} --exit-code")).await.code, 1);

    let sweep = operator.run(&format!("sweep --agency {AGENCY_A} --agency-profile parks")).await;
    assert_eq!(sweep.code, 1, "one node is refused: {sweep:?}");
    assert!(sweep.out.contains(&format!("{stranger}\t")) && sweep.out.contains("\trejected\tnot-owned\n"), "{sweep:?}");
    assert_eq!(world.plain_tags(&web.node), crate::tags(&[("Env", "PROD")]));

    // In the agency itself, without the hub; and through the only profile that names its account.
    let document = Operator::of(&world, AGENCY_A).json("plan").await;
    assert_eq!((&document["account"], &document["dryRun"]), (&json!(AGENCY_A), &json!(true)), "{document}");
    operator_role(&world, AGENCY_A, &["lambda:InvokeFunction", "ec2:DescribeInstances"]).await;
    let by_role =
        format!("[profile parks-role]\nrole_arn = arn:aws:iam::{AGENCY_A}:role/operator\nsource_profile = central\n");
    let central = "[central]\naws_access_key_id = 111111111111\naws_secret_access_key = any\n";
    let operator = Operator::central(&world).with_profiles(&by_role, central);
    let plan = operator.run_well(&format!("plan --agency {AGENCY_A} --instance {}", web.instance)).await;
    assert_eq!(plan.out, format!("{}\t{}\tunchanged\tcharacter\n", web.node, web.instance));

    // What was asked for and is not there is no success.
    let missing = operator.run(&format!("sweep --agency {AGENCY_A} --instance i-0123456789abcdef0")).await;
    assert_eq!((missing.code, missing.out.as_str()), (1, "-\ti-0123456789abcdef0\tnot-found\t-\n"), "{missing:?}");
}

#[tokio::test]
async fn a_role_is_assumed_in_the_region_of_its_profile_and_once() {
    let world = World::deployed().await.unwrap();
    operator_role(&world, CENTRAL, &["*"]).await;
    let role = format!("[profile ops]\nrole_arn = arn:aws:iam::{CENTRAL}:role/operator\nsource_profile = central\n");
    let central = "[central]\naws_access_key_id = 111111111111\naws_secret_access_key = any\n";
    let operator = Operator::central(&world).with("AWS_REGION", None);
    let operator = operator.with_profiles(&format!("{role}region = {HOME_REGION}\n"), central);
    let before = world.aws.calls().snapshot();
    let status = operator.run_well("status --profile ops").await;
    assert!(status.out.contains("agencies.granted\t2\n"), "{status:?}");
    let calls = world.aws.calls().snapshot().since(&before);
    assert_eq!(calls.of("sts:AssumeRole").total(), 1, "{calls:?}");

    // The code of a device is nothing that the SDK asks for.
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{AGENCY_B}:root")}, "Action": "sts:AssumeRole"}]});
    let role = format!("{role}region = {HOME_REGION}\nmfa_serial = arn:aws:iam::{CENTRAL}:mfa/me\n");
    let operator = operator.with_profiles(&role, central);
    let policy = [("RoleName", "operator"), ("PolicyDocument", &trust.to_string())];
    world.central().query("iam", "UpdateAssumeRolePolicy", &policy).await.unwrap();
    let refused = operator.run("status --profile ops").await;
    assert_eq!(refused.code, 4, "{refused:?}");
    let help = r#"help: eval "$(aws configure export-credentials --profile ops --format env)""#;
    assert!(refused.err.contains(help), "{refused:?}");
}

/// A role of an account that central IT may assume, with these permissions.
async fn operator_role(world: &World, account: &str, actions: &[&str]) {
    let client = world.aws.client(account, HOME_REGION);
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{CENTRAL}:root")}, "Action": "sts:AssumeRole"}]});
    let allowed = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": actions, "Resource": "*"}]});
    let role = [("RoleName", "operator"), ("AssumeRolePolicyDocument", &trust.to_string())];
    client.query("iam", "CreateRole", &role).await.unwrap();
    let policy = [("RoleName", "operator"), ("PolicyName", "operate"), ("PolicyDocument", &allowed.to_string())];
    client.query("iam", "PutRolePolicy", &policy).await.unwrap();
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a metric of two hours ago is two hours before now")]
async fn agencies_stand_as_their_reports_and_activations_do() {
    let world = World::deployed().await.unwrap();
    let operator = Operator::central(&world);
    world.issue_activations().await.unwrap();
    world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();

    let document = operator.json("agencies").await;
    let all = document["agencies"].as_array().unwrap();
    let of = |account: &str| all.iter().find(|agency| agency["account"] == account).unwrap();
    assert_eq!((&of(AGENCY_A)["nodes"], &of(AGENCY_A)["state"]), (&json!(1), &json!("fine")), "{document}");
    assert_eq!(of(AGENCY_A)["nodeLimit"], 1_000, "{document}");
    assert!(of(AGENCY_A)["lastReport"].is_string() && of(AGENCY_A)["activationEnds"].is_string(), "{document}");
    assert_eq!(of(AGENCY_B)["state"], "no-report", "{document}");
    let silent = operator.run("agencies --silent --exit-code").await;
    assert_eq!(silent.code, 1);
    assert!(silent.out.starts_with(&format!("{AGENCY_B}\t{AGENCY_B}\t0\t-\t")), "{silent:?}");

    // By its name, and by what CloudWatch counted more than an hour ago.
    let text = world.paths().text("cfn/agency-grant.yaml").unwrap();
    let parameters = [("AgencyAccountId", AGENCY_B), ("AgencyName", "Parks & Recreation")];
    let stack = format!("tag-hub-agency-{AGENCY_B}");
    local_aws::stacks::deploy(&world.central(), &stack, &text, &parameters).await.unwrap();
    let two_hours_ago = hub::Timestamp::from(SystemTime::now() - Duration::from_hours(2)).to_string();
    let datum = [
        ("Namespace", "TagHub"),
        ("MetricData.member.1.MetricName", "Reports"),
        ("MetricData.member.1.Value", "1"),
        ("MetricData.member.1.Timestamp", &two_hours_ago),
        ("MetricData.member.1.Dimensions.member.1.Name", "Agency"),
        ("MetricData.member.1.Dimensions.member.1.Value", AGENCY_B),
    ];
    world.central().query("monitoring", "PutMetricData", &datum).await.unwrap();
    let silent = operator.run_well("agencies --silent").await.out;
    let fields: Vec<&str> = silent.trim_end().split('\t').collect();
    assert_eq!((fields[1], fields[6]), ("Parks & Recreation", "silent"), "{silent}");
    let by_name = operator.run_well("nodes --ids --agency \"parks & recreation\"").await;
    assert!(by_name.err.contains("no such node of Parks & Recreation"), "{by_name:?}");
    let typed = operator.run("nodes --agency \"Parks and Recreation\"").await;
    assert_eq!(typed.code, 5);
    assert!(typed.err.contains("help: did you mean Parks & Recreation?"), "{typed:?}");
}

#[tokio::test]
async fn a_hub_with_a_prefix_is_found_by_it() {
    let world = World::start(tests::Paths::from_env().unwrap(), 0, None).unwrap();
    world.deploy_central(&[("NamePrefix", "test-")]).await.unwrap();
    let operator = Operator::central(&world);
    assert_eq!(operator.run("status").await.code, 5, "the hub without a prefix is not there");
    let status = operator.run_well("status --hub test-").await;
    assert_eq!(status.err, "");
    assert!(status.out.contains("test-ssm-tag-manager.failures\t0\n"), "{status:?}");
    assert_eq!(operator.json("campaign list --hub test").await["campaigns"], json!([]));
    assert!(operator.run_well("run list --hub test-").await.err.starts_with("no such run"));
}
