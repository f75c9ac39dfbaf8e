//! The transcripts of docs/taghub.md: each command runs on a terminal, in the order of the page, and prints what stands
//! there. `UPDATE_DOCS=1` writes what it prints instead of comparing.

use std::time::Duration;

use regex::Regex;
use serde_json::json;
use tests::{AGENCY_A, AGENCY_B, HOME_REGION, World};

use super::Operator;
use super::campaigns::asks;
use super::fleet::PROFILES;

const PAGE: &str = "docs/taghub.md";
const COLUMNS: usize = 120;
/// What differs between two runs, and what stands for it.
const CHANGING: [(&str, &str); 8] = [
    (r"\b(mi|i)-[0-9a-f]{17}\b", "$1-…"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?Z?", "TIME"),
    (r"\b\d+ (s|min|h|days?)\b", "DURATION"),
    (r"\brestart-\d{4}-[0-9a-z]{4}\b", "KEY"),
    // CloudFormation makes up the end of this name.
    (r"\brole/tag-hub-FanoutApplication-\S+", "ROLE"),
    // Columns are as wide as what is in them.
    (r" {2,}", "  "),
    (r"(?m) +$", ""),
];

/// A command of the page and what it prints there, each with the bytes that it takes up.
struct Transcript {
    command: String,
    output: std::ops::Range<usize>,
}

/// The blocks of the page that begin with a command.
fn transcripts(page: &str) -> Vec<Transcript> {
    let mut found: Vec<Transcript> = Vec::new();
    let (mut at, mut is_inside, mut is_transcript) = (0, false, false);
    for line in page.split_inclusive('\n') {
        let end = at + line.len();
        if line.starts_with("```") {
            (is_inside, is_transcript) = (!is_inside, false);
        } else if let (true, Some(command)) = (is_inside, line.strip_prefix("$ ")) {
            is_transcript = true;
            found.push(Transcript { command: command.trim_end().to_owned(), output: end..end });
        } else if let (true, Some(last)) = (is_transcript, found.last_mut()) {
            last.output.end = end;
        }
        at = end;
    }
    found
}

fn without_what_changes(text: &str) -> String {
    let replaced = |text: String, (pattern, with): &(&str, &str)| {
        Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned()
    };
    CHANGING.iter().fold(text.to_owned(), replaced)
}

/// Two agencies, of which one is prepared for runbooks and has an instance without a node.
async fn fleet() -> (World, String) {
    let world = World::deployed().await.unwrap();
    world.deploy_administration_role().await.unwrap();
    world.deploy_execution_role(AGENCY_A).await.unwrap();
    world.issue_activations().await.unwrap();
    let grant = world.paths().text("cfn/agency-grant.yaml").unwrap();
    for (agency, name) in [(AGENCY_A, "Parks"), (AGENCY_B, "Courts")] {
        let parameters = [("AgencyAccountId", agency), ("AgencyName", name)];
        let stack = format!("tag-hub-agency-{agency}");
        local_aws::stacks::deploy(&world.central(), &stack, &grant, &parameters).await.unwrap();
    }
    world.aws.automation().set_duration(Duration::from_millis(200));
    let web = [("Name", "web-01"), ("Env", "PROD"), ("Patch Group", "web")];
    let gis = [("Name", "gis-worker-7"), ("Env", "TEST"), ("Owner", "R&D"), ("cost#centre", "4711")];
    world.enroll(AGENCY_A, HOME_REGION, &web).await.unwrap();
    let gis = world.enroll(AGENCY_A, HOME_REGION, &gis).await.unwrap();
    world.enroll(AGENCY_B, HOME_REGION, &[("Name", "court-01"), ("Env", "PROD")]).await.unwrap();
    world.launch(AGENCY_A, HOME_REGION, &[("Name", "batch-3")]).await.unwrap();
    for agency in [AGENCY_A, AGENCY_B] {
        world.sweep_well(agency).await.unwrap();
    }
    (world, gis.node)
}

/// What a command of the page finds.
async fn prepare(operator: &Operator, command: &str) {
    let policy = match command {
        _ if command.starts_with("taghub policy check") => {
            r#"{"include": ["Env", "Name"], "inlcude": ["Role"], "maxTags": 60}"#
        }
        _ if command.starts_with("taghub policy preview") => r#"{"include": ["Env"]}"#,
        _ if command.starts_with("taghub run watch nightly-1") => {
            let request = "AWS-RestartEC2Instance --all-agencies --regions us-east-1,us-west-2 --target tag:Env=PROD \
                           --max-concurrency 4 --max-errors 100%";
            operator.run_well(&format!("run start {request} --yes --key nightly-1")).await;
            assert_eq!(operator.run("run watch nightly-1 --interval 1s").await.code, 1);
            return;
        }
        _ if command.starts_with("taghub campaign status") => {
            let location = json!({"Accounts": [AGENCY_A], "Regions": ["us-east-1", "us-west-2"]});
            let campaign = json!({
                "Name": "restart-2026-11", "Gate": {"Approval": true},
                "Request": {"DocumentName": "AWS-RestartEC2Instance", "TargetParameterName": "InstanceId",
                            "Targets": [{"Key": "tag:Env", "Values": ["PROD"]}], "TargetLocations": [location]},
                "Waves": [{"Name": "canary", "Regions": ["us-east-1"]}, {"Name": "rest", "Regions": ["us-west-2"]}]
            });
            operator.write("campaign.json", &campaign);
            operator.run_well("campaign start campaign.json --yes").await;
            return asks(operator, "restart-2026-11").await;
        }
        _ => return,
    };
    std::fs::write(operator.home.path().join("policy.json"), policy).unwrap();
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the one way to tell a test to write instead of compare")]
async fn every_transcript_is_what_taghub_prints() {
    let (world, node) = fleet().await;
    let operator = Operator::central(&world).with("NO_COLOR", Some("1")).with("TERM", Some("dumb"));
    let operator = operator.with_profiles("", PROFILES);
    let is_update = std::env::var("UPDATE_DOCS").is_ok_and(|value| value == "1");
    let page = world.paths().text(PAGE).unwrap();
    let of_the_page = Regex::new(r"\bmi-[0-9a-f]{17}\b").unwrap();
    let (mut written, mut at, mut wrong) = (String::new(), 0, Vec::new());
    let all = transcripts(&page);
    assert!(all.len() > 15, "{} transcripts", all.len());
    for transcript in all {
        let Transcript { command, output } = transcript;
        prepare(&operator, &command).await;
        // Every command that names a node means the same one, which has another id each time.
        let line = of_the_page.replace_all(&command, &node);
        // What is typed where a question is asked: the number that it names.
        let typed = if command.starts_with("taghub run start") { "4\n" } else { "" };
        // The terminal shows what is typed at once, and here all of it is there from the beginning.
        let printed = operator.types(COLUMNS, &line, typed).await.out;
        let printed = printed.strip_prefix(typed).unwrap_or(&printed);
        let printed = if typed.is_empty() {
            printed.to_owned()
        } else {
            printed.replace(" to go on: ", &format!(" to go on: {typed}"))
        };
        let (here, there) = (without_what_changes(&printed), without_what_changes(&page[output.clone()]));
        if here != there {
            wrong.push(format!("$ {command}\nprints:\n{printed}\nthe page says:\n{}", &page[output.clone()]));
        }
        let before = page[at..output.start].trim_end().strip_suffix(command.as_str()).unwrap();
        written.extend([before, &line, "\n", &printed]);
        at = output.end;
    }
    written.push_str(&page[at..]);
    if is_update {
        return std::fs::write(world.paths().repository.join(PAGE), written).unwrap();
    }
    assert!(wrong.is_empty(), "UPDATE_DOCS=1 writes these:\n{}", wrong.join("\n"));
}

/// What the page has no transcript of, on a terminal, in this order.
#[tokio::test]
async fn every_other_command_speaks_on_a_terminal_too() {
    let (world, _) = fleet().await;
    let operator = Operator::central(&world).with("NO_COLOR", Some("1")).with("TERM", Some("dumb"));
    let operator = operator.with_profiles("", PROFILES);
    std::fs::write(operator.home.path().join("policy.json"), r#"{"include": ["Env"]}"#).unwrap();
    let request = "AWS-RestartEC2Instance --accounts 222222222222 --regions us-east-1 --target tag:Env=PROD";
    let campaign = |name: &str| {
        json!({
            "Name": name, "Gate": {"Approval": true},
            "Request": {"DocumentName": "AWS-RestartEC2Instance", "TargetParameterName": "InstanceId",
                        "Targets": [{"Key": "tag:Env", "Values": ["PROD"]}],
                        "TargetLocations": [{"Accounts": [AGENCY_A], "Regions": ["us-east-1", "us-west-2"]}]},
            "Waves": [{"Name": "canary", "Regions": ["us-east-1"]}, {"Name": "rest", "Regions": ["us-west-2"]}]
        })
    };
    operator.write("one.json", &campaign("one"));
    operator.write("two.json", &campaign("two"));
    let mut wrong = Vec::new();
    for (arguments, typed, expected) in [
        ("sweep --agency 222222222222 --agency-profile parks", "", "2 unchanged"),
        ("policy diff policy.json", "", "include"),
        ("policy apply policy.json", "y\n", "help: deploy template.yaml with ApprovedPolicies="),
        (&format!("run preview {request}"), "", "Nothing was started."),
        (&format!("run preflight {request}"), "", "TagHub-Preflight"),
        (&format!("run start {request} --key nightly-2"), "1\n", "taghub run watch nightly-2"),
        ("run status nightly-2", "", "nightly-2"),
        ("run list", "", "✓ Success  AWS-RestartEC2Instance"),
        ("run stop nightly-2", "nightly-2\n", "already"),
        ("run resume nightly-2", "nightly-2\n", "every location succeeded"),
        ("campaign start one.json", "one\n", "started. taghub campaign watch one"),
        ("campaign start two.json", "two\n", "started. taghub campaign watch two"),
        ("campaign list", "", "two"),
        ("campaign reject two --wave canary --comment no", "", "rejected"),
        ("campaign approve one --wave canary", "", "approved"),
        ("campaign watch one", "", "rest"),
        ("campaign stop one", "one\n", "one"),
        ("campaign resume one", "one\n", "one"),
    ] {
        if arguments.starts_with("campaign reject") {
            assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
            asks(&operator, "two").await;
            asks(&operator, "one").await;
        }
        let printed = operator.on_terminal(COLUMNS, arguments, typed).await;
        if !printed.out.contains(expected) || printed.out.contains('\u{1b}') {
            wrong.push(format!("$ taghub {arguments}\n{}and not {expected:?}", printed.out));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
