//! The fleet report: deployed, run, and compared with what is there.

use std::time::{Duration, SystemTime};

use local_aws::{Fault, PatchState};
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, World};

async fn summary(world: &World) -> Value {
    serde_json::from_str(&world.fleet_file("fleet.json").await.unwrap().unwrap()).unwrap()
}

fn scanned(world: &World, node: &str, missing_count: u32, failed_count: u32) {
    #[expect(clippy::disallowed_methods, reason = "a scan of an hour ago is an hour before now")]
    let operation_end_time = SystemTime::now() - Duration::from_hours(1);
    let state = PatchState {
        missing_count,
        failed_count,
        installed_pending_reboot_count: 0,
        critical_non_compliant_count: missing_count,
        operation_end_time,
    };
    assert!(world.aws.nodes().update(CENTRAL, HOME_REGION, node, |node| node.patch_state = Some(state)));
}

#[tokio::test]
async fn the_report_says_what_is_there_and_continues_the_one_before() {
    let world = World::deployed().await.unwrap();
    world.issue_activations().await.unwrap();
    let web = world.enroll(AGENCY_A, HOME_REGION, &[("Name", "web-01"), ("Env", "PROD")]).await.unwrap();
    let db = world.enroll(AGENCY_A, HOME_REGION, &[("Name", "db-01"), ("Owner", "R&D")]).await.unwrap();
    let bare = world.launch(AGENCY_A, HOME_REGION, &[("Env", "TEST")]).await.unwrap();
    world.enroll(AGENCY_B, HOME_REGION, &[("Name", "gis-01")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    world.aws.nodes().set_ping(CENTRAL, HOME_REGION, &db.node, "ConnectionLost", Duration::from_hours(1));
    scanned(&world, &web.node, 0, 0);
    scanned(&world, &db.node, 4, 1);

    // A dry run reads and writes nothing.
    let dry = world.report_fleet(&json!({"dryRun": true})).await.unwrap();
    assert_eq!((dry.function_error, &dry.payload["nodes"]), (None, &json!(3)), "{}", dry.payload);
    assert_eq!(world.fleet_file("fleet.json").await.unwrap(), None);

    let before = world.aws.calls().snapshot();
    let answer = world.report_fleet(&json!({})).await.unwrap();
    assert_eq!(answer.function_error, None, "{}", answer.payload);
    let calls = world.aws.calls().snapshot().since(&before);
    let counted = ["ssm:DescribeInstanceInformation", "tagging:GetResources", "ssm:DescribeInstancePatchStates"];
    assert_eq!(counted.map(|name| calls.of(name).total()), [1, 1, 1]);
    let first = summary(&world).await;
    let [a, b] = first["agencies"].as_array().unwrap().as_slice() else { panic!("{first}") };
    assert_eq!((&a["account"], &b["account"]), (&json!(AGENCY_A), &json!(AGENCY_B)));
    for (field, expected) in [
        ("running", 3),
        ("managed", 2),
        ("unmanaged", 1),
        ("nodes", 2),
        ("online", 1),
        ("offline", 1),
        ("inStep", 1),
        ("leftBehind", 1),
        ("patched", 1),
        ("patchesFailed", 1),
        ("critical", 1),
    ] {
        assert_eq!(a[field], expected, "{field}: {a}");
    }
    assert_eq!(a["unmanagedInstances"][0]["instance"], json!(bare));
    assert!(a["activation"]["registrationsLeft"].is_u64() && a["lastReport"].is_string(), "{a}");
    assert_eq!((&b["silent"], &b["noReport"], &b["lastReport"]), (&json!(true), &json!(1), &Value::Null), "{b}");
    assert_eq!(first["droppedTags"], json!([{"reason": "character", "nodes": 1}]));
    assert_eq!(first["limit"]["nodes"], 3);
    let kinds: Vec<&str> =
        first["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["offline", "patches-failed", "critical-patches", "unmanaged", "left-behind", "no-report"],
        "{first}"
    );
    let csv = world.fleet_file("fleet.csv").await.unwrap().unwrap();
    assert!(csv.contains(&format!("{},db-01,,{AGENCY_A},{HOME_REGION},{},", db.node, db.instance)), "{csv}");
    assert_eq!(csv.lines().count(), 4);
    let page = world.fleet_file("index.html").await.unwrap().unwrap();
    assert!(page.contains("Fleet report") && page.contains(&bare), "the page names what has no node");
    assert!(!page.contains("R&D") && !page.contains("db-01"), "names and tags of nodes are data");

    // The next report knows since when.
    world.sweep_well(AGENCY_B).await.unwrap();
    world.report_fleet(&json!({})).await.unwrap();
    let second = summary(&world).await;
    let since = |summary: &Value, kind: &str| {
        let findings = summary["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["kind"] == kind).map(|finding| finding["since"].clone())
    };
    assert_eq!(since(&second, "left-behind"), since(&first, "left-behind"));
    assert_eq!(since(&second, "no-report"), None, "it has reported: {second}");
    assert_eq!(second["trend"].as_array().unwrap().len(), 1, "one point for each day");
    assert_eq!(second["agencies"][0]["unmanagedInstances"], first["agencies"][0]["unmanagedInstances"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_rest_is_written() {
    let world = World::deployed().await.unwrap();
    world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    world.report_fleet(&json!({})).await.unwrap();
    let trend = summary(&world).await["trend"].clone();

    let fault = world.aws.faults().add(Fault::error(
        "ssm:DescribeInstancePatchStates",
        400,
        "AccessDeniedException",
        "not today",
    ));
    let answer = world.report_fleet(&json!({})).await.unwrap();
    assert!(answer.function_error.is_some() && answer.payload["errorType"] == "PartialReport", "{}", answer.payload);
    let partly = summary(&world).await;
    assert!(partly["unread"][0].as_str().unwrap().contains("not today"), "{partly}");
    assert_eq!((&partly["limit"]["nodes"], &partly["trend"]), (&json!(1), &trend));
    assert!(world.fleet_file("index.html").await.unwrap().unwrap().contains("Not everything could be read"));
    world.aws.faults().remove(fault);

    // Without nodes there is no report, and the last one stays.
    let fault = Fault::error("ssm:DescribeInstanceInformation", 400, "AccessDeniedException", "not today");
    let fault = world.aws.faults().add(fault);
    let answer = world.report_fleet(&json!({})).await.unwrap();
    assert_eq!(answer.payload["errorType"], "NothingRead", "{}", answer.payload);
    assert_eq!(summary(&world).await, partly);
    world.aws.faults().remove(fault);

    // Whatever lies where the report before should be: it is told, and the next one continues.
    world.central().put_object("tag-hub-fleet-111111111111-us-east-1", "fleet.json", "nonsense").await.unwrap();
    let answer = world.report_fleet(&json!({})).await.unwrap();
    let told = answer.payload["errorMessage"].as_str().unwrap();
    assert!(told.contains("the report before is not understood"), "{told}");
    let answer = world.report_fleet(&json!({})).await.unwrap();
    assert_eq!(answer.function_error, None, "{}", answer.payload);
    let refused = world.report_fleet(&json!({"agency": AGENCY_A})).await.unwrap();
    assert_eq!(refused.payload["errorType"], "InvalidEvent", "{}", refused.payload);
}
