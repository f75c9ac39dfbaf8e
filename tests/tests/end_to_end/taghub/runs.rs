//! Runs: previewed, tried, started once, followed, resumed, and stopped.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use local_aws::{Fault, Outcome};
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, HOME_REGION, SECOND_REGION, World};

use super::Operator;
use crate::fanout::executions;

/// A hub with two agencies, of which the first has the execution role.
async fn deployed() -> World {
    let world = World::deployed().await.unwrap();
    world.deploy_administration_role().await.unwrap();
    world.deploy_execution_role(AGENCY_A).await.unwrap();
    world.aws.automation().register_document("TagHub-Preflight", &["Runbook"]);
    world.aws.automation().set_duration(Duration::from_millis(200));
    world
}

const REQUEST: &str = "AWS-RestartEC2Instance --all-agencies --regions us-east-1,us-west-2 --target tag:Env=PROD \
                       --max-concurrency 4 --max-errors 100%";

#[tokio::test]
async fn a_run_from_its_preview_to_its_resumption() {
    let world = deployed().await;
    let operator = Operator::central(&world);

    let preview = operator.run_well(&format!("run preview {REQUEST}")).await.out;
    assert!(
        preview.starts_with("AWS-RestartEC2Instance in 4 locations (2 accounts × 2 Regions), 1 start\n"),
        "{preview}"
    );
    assert!(
        preview.contains("targets   tag:Env=PROD as InstanceId\n") && preview.ends_with("Nothing was started.\n"),
        "{preview}"
    );
    let preflight = operator.run(&format!("run preflight {REQUEST}")).await;
    assert_eq!(preflight.code, 1, "{preflight:?}");
    let expected = format!("  ✗ execution-role  2  {AGENCY_B} {HOME_REGION},{SECOND_REGION}\n");
    assert!(preflight.out.contains(&expected), "{preflight:?}");
    let of_the_runbook = |execution: &Value| execution["DocumentName"] == "AWS-RestartEC2Instance";
    let started = || executions(&world).into_iter().filter(of_the_runbook).count();
    assert_eq!(started(), 0);

    // A job: under a key, and nothing twice. Another number of locations than expected is refused.
    let refused = operator.run(&format!("run start {REQUEST} --yes --key nightly-1 --expect 24")).await;
    assert_eq!((refused.code, started()), (2, 0), "{refused:?}");
    assert!(refused.err.contains("--expect 24, but the request comes to 4 locations"), "{refused:?}");
    let run = operator.run_well(&format!("run start {REQUEST} --yes --key nightly-1 --expect 4")).await;
    assert_eq!(run.out, "✓ 1 execution started. taghub run watch nightly-1\n");
    for again in ["run start --again --yes".to_owned(), format!("run start {REQUEST} --yes --key nightly-1")] {
        assert_eq!(operator.run_well(&again).await.out, run.out, "{again}");
    }
    assert_eq!(started(), 1);

    // Followed to its end: changes on standard error, the end on standard output.
    let watched = operator.run("run watch last --interval 1s").await;
    assert_eq!(watched.code, 1, "{watched:?}");
    assert!(watched.err.contains(&format!("  failed  {AGENCY_B}  {HOME_REGION}  execution-role\n")), "{watched:?}");
    assert!(watched.err.contains("  4/4  ok=2 failed=2 running=0 waiting=0\n"), "{watched:?}");
    assert!(watched.out.starts_with("✗ nightly-1: 2 of 4 locations failed"), "{watched:?}");
    assert!(watched.out.ends_with("  taghub run resume nightly-1\n"), "{watched:?}");
    let lines = operator.run("run watch nightly-1 -o json").await.out;
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&line["schema"], &line["Terminal"]), (&json!("taghub.run/1"), &json!(true)));
    let all = operator.run_well("run status nightly-1 --all").await.out;
    assert!(all.contains(&format!("{AGENCY_A}\t{SECOND_REGION}\tSuccess\t-\t")), "{all}");
    assert_eq!(operator.run("run status last --exit-code").await.code, 1);

    // Resumed where it failed.
    world.deploy_execution_role(AGENCY_B).await.unwrap();
    let resumed = operator.run("run resume nightly-1 --yes --watch").await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert!(
        resumed.out.starts_with("✓ resumed. taghub run watch ") && resumed.out.contains("2 locations ok"),
        "{resumed:?}"
    );
    assert_eq!(started(), 2);
    // From now on the run is what was resumed.
    assert!(operator.run_well("run status nightly-1").await.out.starts_with("✓ nightly-1: 2 locations ok"));
    let listed = operator.run_well("run list --runbook AWS-Restart --since 1h").await.out;
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert_eq!(operator.run_well("run list --key nightly-1 -o csv").await.out.lines().count(), 2);
}

#[tokio::test]
async fn a_watch_outlives_a_look_that_fails() {
    let world = deployed().await;
    world.aws.automation().set_duration(Duration::from_secs(4));
    let operator = Operator::central(&world);
    let request = "AWS-RestartEC2Instance --accounts 222222222222 --regions us-east-1 --target tag:Env=PROD";
    operator.run_well(&format!("run start {request} --yes --key a")).await;
    // The SDK does not try such an error again by itself.
    let broken = || Fault::error("lambda:Invoke", 400, "InvalidRuntimeException", "for a moment");
    let once = world.aws.faults().add(broken().skip(1).times(1));
    let watched = operator.run_well("run watch a --interval 1s").await;
    let said = "not read: lambda:InvokeFunction on automation-fanout failed: InvalidRuntimeException; again in 1 s\n";
    assert!(watched.err.contains(said), "{watched:?}");
    assert!(watched.out.starts_with("✓ a: 1 location ok"), "{watched:?}");
    world.aws.faults().remove(once);
    // Not for ever.
    world.aws.faults().add(broken());
    let ended = operator.run("run watch a --interval 1s").await;
    assert_eq!((ended.code, ended.err.matches("again in 1 s").count()), (3, 5), "{ended:?}");
}

#[tokio::test]
async fn on_a_terminal_a_start_asks_and_a_watch_moves() {
    let world = deployed().await;
    let operator = Operator::central(&world).with("TERM", Some("xterm"));
    let request = "AWS-RestartEC2Instance --accounts 222222222222 --regions us-east-1,us-west-2 --target tag:Env=PROD";
    let no = operator.on_terminal(100, &format!("run start {request}"), "1\n").await;
    assert_eq!(no.code, 2, "{no:?}");
    assert!(no.out.contains("Start in 2 locations? Type 2 to go on: "), "{no:?}");
    assert!(no.out.contains("not confirmed; nothing was started"), "{no:?}");
    assert_eq!(operator.interrupted_at("to go on: ", &format!("run start {request}")).await, Some(130));
    assert!(executions(&world).is_empty());

    let yes = operator.on_terminal(100, &format!("run start {request} --watch"), "2\n").await;
    assert_eq!(yes.code, 0, "{yes:?}");
    assert!(yes.out.contains("If you are cut off: taghub run start --again"), "{yes:?}");
    assert!(yes.out.contains("Ctrl-C stops watching, not the run.") && yes.out.contains("2 of 2"), "{yes:?}");
    assert!(yes.out.contains("2 locations ok"), "{yes:?}");

    // A line that the terminal wrapped would stay there when the view is drawn again.
    let narrow = operator.on_terminal(40, "run watch last --color never", "").await.out;
    let drawn: Vec<&str> =
        narrow.lines().filter_map(|line| line.rsplit_once("\u{1b}[K")).map(|(_, shown)| shown).collect();
    assert!(drawn.len() >= 4 && drawn.iter().all(|line| line.chars().count() <= 40), "{drawn:#?}");
}

#[tokio::test]
async fn a_run_is_stopped_and_a_refusal_is_told_in_full() {
    let world = deployed().await;
    world.aws.automation().set_duration(Duration::from_hours(1));
    world.aws.automation().script(AGENCY_A, "*", Outcome::Success { resources: 1 });
    let operator = Operator::central(&world);
    operator.write(
        "request.json",
        &json!({"DocumentName": "AWS-RestartEC2Instance", "TargetParameterName": "InstanceId",
                "Targets": [{"Key": "tag:Env", "Values": ["PROD"]}],
                "TargetLocations": [{"Accounts": [AGENCY_A], "Regions": [HOME_REGION]}]}),
    );
    operator.run_well("run start --file request.json --yes --key long-1").await;
    let over = operator.run("run watch long-1 --timeout 1s").await;
    assert_eq!(over.code, 7, "{over:?}");
    assert!(over.err.contains("--timeout is over"), "{over:?}");
    // Ctrl-C ends the watching, and not the run.
    let mut watch = operator.command(tests::program("taghub").unwrap());
    watch.args(["run", "watch", "long-1"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let ended = tokio::task::spawn_blocking(move || {
        let mut watch = watch.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(watch.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("running=1"), "{line}");
        let interrupted = Command::new("kill").args(["-INT", &watch.id().to_string()]).status().unwrap();
        assert!(interrupted.success());
        watch.wait().unwrap().code()
    });
    assert_eq!(ended.await.unwrap(), Some(130));

    let calls = operator.run_well("run status long-1 --verbose").await;
    assert!(calls.err.contains("AWSLambda Invoke  200") || calls.err.contains("Invoke  200"), "{calls:?}");
    assert!(calls.out.starts_with("● long-1: 0 of 1 location done"), "{calls:?}");
    let stopped = operator.run_well("run stop long-1 --yes").await.out;
    assert!(stopped.starts_with("✓ stop requested: "), "{stopped}");

    operator
        .write("bad.json", &json!({"DocumentName": "AWS-RestartEC2Instance", "TargetLocation": [], "Parameters": 1}));
    let refused = operator.run("run preview --file bad.json").await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.starts_with("error: automation-fanout refused the request\n"), "{refused:?}");
    assert!(
        refused.err.contains("TargetLocation: unknown field") && refused.err.contains("\n  Parameters: "),
        "{refused:?}"
    );
    operator.write("key.json", &json!({"DocumentName": "X", "IdempotencyKey": "k"}));
    let keyed = operator.run("run preview --file key.json").await;
    assert!(keyed.err.contains("help: remove it, and pass it as --key"), "{keyed:?}");
}
