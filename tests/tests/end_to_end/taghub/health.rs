//! Status, doctor, and the policy before it is deployed.

use std::time::{Duration, SystemTime};

use local_aws::{Fault, NewNode};
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, World};

use super::Operator;

const PROFILES: &str = "[parks]\naws_access_key_id = 222222222222\naws_secret_access_key = any\n";

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a metric of two minutes ago is two minutes before now")]
async fn the_hub_is_shown_on_one_screen_and_looked_through() {
    let world = World::deployed().await.unwrap();
    let operator = Operator::central(&world);
    world.issue_activations().await.unwrap();
    world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    for agency in [AGENCY_A, AGENCY_B] {
        world.sweep_well(agency).await.unwrap();
    }
    let status = operator.run_well("status --exit-code").await;
    assert_eq!(status.err, "");
    for line in [
        "agencies.granted\t2\n",
        "agencies.silent\t0\n",
        "nodes.all\t1\n",
        "nodes.online\t1\n",
        "nodes.limit\t1000\n",
        "alarms.ringing\t0\n",
        "runs.running\t0\n",
        "ssm-tag-manager.failures\t0\n",
    ] {
        assert!(status.out.contains(line), "{line}: {status:?}");
    }
    let doctor = operator.run_well("doctor").await;
    assert!(doctor.out.contains("agencies\tfine\t2 granted, all report\t-\n"), "{doctor:?}");
    // A node that was registered another way takes its place in the limit, too.
    world.aws.nodes().register(CENTRAL, HOME_REGION, NewNode::default());
    assert!(operator.run_well("status").await.out.contains("nodes.all\t2\n"));
    let doctor = operator.run_well("doctor").await;
    assert!(doctor.out.contains("limit\tfine\t2 of 1,000 nodes\t-\n"), "{doctor:?}");

    // Something in a queue of failures, and an alarm.
    let client = world.central();
    let url = client.json("sqs", "GetQueueUrl", &json!({"QueueName": "ssm-tag-manager-failures"})).await.unwrap();
    let message = json!({"QueueUrl": url["QueueUrl"], "MessageBody": "{}"});
    client.json("sqs", "SendMessage", &message).await.unwrap();
    let two_minutes_ago = hub::Timestamp::from(SystemTime::now() - Duration::from_mins(2)).to_string();
    let datum = [
        ("Namespace", "AWS/SQS"),
        ("MetricData.member.1.MetricName", "ApproximateAgeOfOldestMessage"),
        ("MetricData.member.1.Value", "120"),
        ("MetricData.member.1.Timestamp", &two_minutes_ago),
        ("MetricData.member.1.Dimensions.member.1.Name", "QueueName"),
        ("MetricData.member.1.Dimensions.member.1.Value", "ssm-tag-manager-failures"),
    ];
    client.query("monitoring", "PutMetricData", &datum).await.unwrap();
    let alarm = [("AlarmName", "activation-issuer-errors"), ("StateValue", "ALARM"), ("StateReason", "a test")];
    client.query("monitoring", "SetAlarmState", &alarm).await.unwrap();
    let status = operator.run("status --exit-code").await;
    assert_eq!(status.code, 1);
    assert!(
        status.out.contains("ssm-tag-manager.failures\t1\nssm-tag-manager.failures.oldest-seconds\t120\n")
            && status.out.contains("alarms.ringing\t1\n"),
        "{status:?}"
    );
    let doctor = operator.run("doctor").await;
    assert_eq!(doctor.code, 1);
    assert!(doctor.out.contains("queue\tbroken\tssm-tag-manager-failures holds 1 message\t"), "{doctor:?}");
    assert!(doctor.out.contains("alarm\tbroken\tactivation-issuer-errors\t"), "{doctor:?}");
    let screen = operator.with("TERM", Some("xterm")).on_terminal(100, "status --color never", "").await.out;
    assert!(
        screen.contains("Alarms       ✗ activation-issuer-errors\n") && screen.contains("next: taghub doctor"),
        "{screen}"
    );
}

#[tokio::test]
async fn what_may_not_be_read_is_told_as_not_read() {
    let world = World::deployed().await.unwrap();
    let operator = Operator::central(&world);
    world.issue_activations().await.unwrap();
    world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    for agency in [AGENCY_A, AGENCY_B] {
        world.sweep_well(agency).await.unwrap();
    }
    world.aws.faults().add(Fault::error("logs:FilterLogEvents", 400, "AccessDeniedException", "not you"));
    let status = operator.run_well("status --exit-code").await;
    assert!(status.out.contains("agencies.silent\t-\n"), "{status:?}");
    assert!(status.err.contains("not read: last reports: AccessDeniedException"), "{status:?}");
    let document = operator.json("status").await;
    assert_eq!(document["agencies"][0]["state"], "unread", "{document}");
    assert_eq!(document["notRead"], json!(["last reports: AccessDeniedException"]), "{document}");
    let agencies = operator.run_well("agencies").await;
    assert!(agencies.out.lines().all(|line| line.ends_with("\tunread")), "{agencies:?}");
    let nodes = operator.run_well("nodes").await;
    assert!(nodes.out.ends_with("\tunread\n") && nodes.err.contains("TAGS says less"), "{nodes:?}");
    let doctor = operator.run_well("doctor").await;
    assert!(doctor.out.contains("agencies\tnot-checked\t2 granted; reports not read\t-\n"), "{doctor:?}");
    assert!(doctor.out.contains("permission\tnot-checked\tnot read: last reports: AccessDenied"), "{doctor:?}");
    let screen = operator.with("TERM", Some("xterm")).on_terminal(100, "doctor --color never", "").await.out;
    assert!(screen.contains("· 2 links not checked; nothing else is broken\n"), "{screen}");
}

#[tokio::test]
async fn a_dry_run_is_no_report() {
    let world = World::deployed().await.unwrap();
    let operator = Operator::central(&world).with_profiles("", PROFILES);
    // The doctor itself makes a dry run of the collector.
    for _ in 0..2 {
        let doctor = operator.run(&format!("doctor --agency {AGENCY_A} --agency-profile parks")).await;
        assert_eq!(doctor.code, 1);
        assert!(doctor.out.contains("way\tfine\t"), "{doctor:?}");
        assert!(doctor.out.contains("reports\tbroken\tnone in 24 h\t"), "{doctor:?}");
    }
    world.report_fleet(&json!({})).await.unwrap();
    let fleet: Value = serde_json::from_str(&world.fleet_file("fleet.json").await.unwrap().unwrap()).unwrap();
    assert_eq!(fleet["agencies"][0]["lastReport"], Value::Null, "{fleet}");
    world.sweep_well(AGENCY_A).await.unwrap();
    let doctor = operator.run(&format!("doctor --agency {AGENCY_A} --agency-profile parks")).await;
    assert!(doctor.out.contains("reports\tfine\t"), "{doctor:?}");
}

#[tokio::test]
async fn a_doctor_walks_from_the_grant_to_the_tags() {
    let world = World::deployed().await.unwrap();
    let operator = Operator::central(&world).with_profiles("", PROFILES);
    let web = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("Owner", "R&D")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();

    let unknown = operator.run("doctor --agency 444444444444").await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.out.starts_with("grant\tbroken\tno agency 444444444444"), "{unknown:?}");
    let silent = operator.run(&format!("doctor --agency {AGENCY_B}")).await;
    assert!(silent.out.contains("collector\tnot-checked\tno profile for the agency's account"), "{silent:?}");
    assert!(silent.out.contains("reports\tbroken\tnone in 24 h\t"), "{silent:?}");

    let arguments = format!("doctor --agency {AGENCY_A} --agency-profile parks");
    let agency = operator.run(&arguments).await;
    assert_eq!(agency.code, 1);
    for line in ["way\tfine\t", "reports\tfine\t", "activation\tbroken\tnone is valid", "nodes\tfine\t1 node\t"] {
        assert!(agency.out.contains(line), "{line}: {agency:?}");
    }
    world.issue_activations().await.unwrap();
    assert_eq!(operator.run(&arguments).await.code, 0);

    let node = operator.run_well(&format!("doctor --node {} --agency-profile parks", web.node)).await;
    assert!(node.out.contains("tags\tlook\t1 left behind\tOwner: the value holds '&' (U+0026)"), "{node:?}");
    let instance = operator.run_well(&format!("doctor --instance {}", web.instance)).await;
    assert!(
        instance.out.starts_with(&format!("registration\tfine\t{} is {}\t-\n", web.instance, web.node)),
        "{instance:?}"
    );
    let unknown = operator.run("doctor --instance i-0123456789abcdef0").await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.out.contains("registration\tbroken\tno report named a node of i-0123456789abcdef0"), "{unknown:?}");

    world.untag(&web, "managedinstanceid").await.unwrap();
    world.sweep(AGENCY_A, &json!({})).await.unwrap();
    world.aws.nodes().set_ping(CENTRAL, HOME_REGION, &web.node, "ConnectionLost", Duration::from_hours(2));
    let broken = operator.run(&format!("doctor --node {} --agency-profile parks", web.node)).await;
    assert_eq!(broken.code, 1);
    for line in [
        "agent\tbroken\toffline",
        "report\tbroken\tunlinked",
        "tags\tbroken\tthe instance carries no tag managedinstanceid",
    ] {
        assert!(broken.out.contains(line), "{line}: {broken:?}");
    }
}

#[tokio::test]
async fn a_policy_is_tried_before_it_is_deployed() {
    let policy = r#"{"include": ["Env", "Patch Group"], "maxTags": 10}"#;
    let world = World::deployed_with(&[("TagPolicy", policy)], &[]).await.unwrap();
    let operator = Operator::central(&world).with_profiles("", PROFILES);
    for name in ["a", "b"] {
        let tags = [("Name", name), ("Env", "PROD"), ("Patch Group", "weekly"), ("Role", "web")];
        world.enroll(AGENCY_A, HOME_REGION, &tags).await.unwrap();
    }
    world.enroll(AGENCY_B, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    for agency in [AGENCY_A, AGENCY_B] {
        world.sweep_well(agency).await.unwrap();
    }
    operator.write("bad.json", &json!({"inlcude": ["Env"], "maxTags": 60}));
    let bad = operator.run("policy check bad.json").await;
    assert_eq!(bad.code, 1);
    assert!(bad.err.contains("inlcude: unknown field") && bad.err.contains("did you mean include?"), "{bad:?}");
    assert!(bad.err.contains("maxTags: expected 1 to 47, got 60"), "{bad:?}");
    assert_eq!(operator.run("policy preview bad.json").await.code, 2);

    operator.write("new.json", &json!({"include": ["Env", "Role"], "maxTags": 12}));
    assert_eq!(operator.run_well("policy check new.json").await.out, "✓ the policy is valid\n");
    let diff = operator.run("policy diff new.json --exit-code").await;
    let digest = ssm_tag_manager::plan::Policy::parse(r#"{"include": ["Env", "Role"], "maxTags": 12}"#).unwrap().digest;
    let expected = format!(
        "  ~ include[1]: \"Patch Group\" → \"Role\"\n  ~ maxTags: 10 → 12\n\
         digest {digest}, not approved to remove tags\n"
    );
    assert_eq!((diff.code, diff.out), (1, expected));
    // This hub takes approvals with a deployment alone.
    let refused = operator.run("policy apply new.json --yes").await;
    assert!(refused.code == 2 && refused.err.contains(&format!("ApprovedPolicies={digest}")), "{refused:?}");
    let preview =
        operator.run_well(&format!("policy preview new.json --agency {AGENCY_A} --agency-profile parks")).await;
    let expected = format!(
        "  + Role         2 nodes: {AGENCY_A} 2\n  - Patch Group  2 nodes: {AGENCY_A} 2\n\
         2 of 2 nodes would change: 2 tags set, 2 removed. Nothing was written.\n"
    );
    assert_eq!(preview.out, expected);
    let all = operator.run_well("policy preview new.json").await;
    assert!(all.out.contains("! 3 nodes not compared") && all.err.contains("warning: "), "{all:?}");
}
