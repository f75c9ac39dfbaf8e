//! Stacks come, change and go.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use local_aws::{Client, InvocationType, stacks};
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, Paths, SECOND_REGION, World};

use crate::tags;

const ACCOUNTS: [&str; 3] = [CENTRAL, AGENCY_A, AGENCY_B];

/// How a template is deployed here, beside `template.yaml`.
enum Step {
    /// A stack in each of these accounts and Regions, with these parameters.
    Stack {
        accounts: &'static [&'static str],
        region: &'static str,
        parameters: &'static [(&'static str, &'static str)],
    },
    /// The grant of every account, the central one among them.
    Grants,
    /// The collector in every account, beside the hub in the central one.
    Collectors,
    /// Not here.
    Not { because: &'static str },
}

/// The templates in the order in which they are deployed. They are deleted in the other.
const STEPS: [(&str, Step); 15] = [
    ("cfn/managed-node-role.yaml", Step::Not { because: "it is deployed before the hub" }),
    ("cfn/agency-grant.yaml", Step::Grants),
    ("cfn/agency.yaml", Step::Collectors),
    (
        "cfn/automation-administration-role.yaml",
        Step::Stack { accounts: &[CENTRAL], region: HOME_REGION, parameters: &[] },
    ),
    (
        "cfn/automation-execution-role.yaml",
        Step::Stack {
            accounts: &ACCOUNTS,
            region: HOME_REGION,
            parameters: &[("AdminAccountId", CENTRAL), ("AllowRestart", "Yes"), ("AllowPatching", "Yes")],
        },
    ),
    ("cfn/preflight-runbook.yaml", Step::Stack { accounts: &[CENTRAL], region: HOME_REGION, parameters: &[] }),
    ("cfn/patching-runbook.yaml", Step::Stack { accounts: &[CENTRAL], region: HOME_REGION, parameters: &[] }),
    (
        "cfn/agency-region.yaml",
        Step::Stack {
            accounts: &[AGENCY_A, AGENCY_B],
            region: SECOND_REGION,
            parameters: &[("HomeRegion", HOME_REGION)],
        },
    ),
    ("cfn/policies.yaml", Step::Stack { accounts: &[CENTRAL], region: HOME_REGION, parameters: &[] }),
    ("cfn/operator-roles.yaml", Step::Stack { accounts: &[CENTRAL], region: HOME_REGION, parameters: &[] }),
    ("cfn/operations.yaml", Step::Stack { accounts: &[CENTRAL], region: HOME_REGION, parameters: &[] }),
    (
        "cfn/instance-profile.yaml",
        Step::Stack { accounts: &[AGENCY_A, AGENCY_B], region: HOME_REGION, parameters: &[] },
    ),
    (
        "cfn/agency-grants.yaml",
        Step::Stack {
            accounts: &[CENTRAL],
            region: HOME_REGION,
            // No account may have a grant twice.
            parameters: &[("AgencyAccountIds", "444444444444,555555555555")],
        },
    ),
    (
        "cfn/grants-from-organization.yaml",
        Step::Stack {
            accounts: &[CENTRAL],
            region: HOME_REGION,
            // MiniStack makes no policy of an event bus, so there is no ManagementAccountId.
            parameters: &[("OrganizationalUnitIds", "ou-ab12-cdefghij")],
        },
    ),
    ("cfn/agencies-stackset.yaml", Step::Not { because: "MiniStack has no stack sets" }),
];

#[tokio::test]
async fn every_stack_comes_and_goes_without_a_trace() {
    let world = World::start(Paths::from_env().unwrap(), 0, None).unwrap();
    let before = everything(&world).await;
    world.deploy_central(&[]).await.unwrap();
    let mut deployed: Vec<(Client, String)> = Vec::new();
    assert_all_templates_are_known(&world);
    for (file, step) in &STEPS {
        deployed.extend(take(&world, file, step).await);
    }
    let full = everything(&world).await;
    for (place, expected) in [
        (CENTRAL, "function ssm-tag-manager"),
        (CENTRAL, "function tags-collector"),
        (AGENCY_B, "schedule tags-collector"),
    ] {
        assert!(full[&key(place, HOME_REGION)].contains(expected), "{place} has no {expected}: {full:#?}");
    }

    for (client, stack) in deployed.iter().rev() {
        stacks::delete(client, stack).await.unwrap_or_else(|error| panic!("delete {stack}: {error}"));
    }
    for stack in ["tag-hub", "tag-hub-managed-node-role"] {
        stacks::delete(&world.central(), stack).await.unwrap();
    }
    let after = everything(&world).await;
    // Without it every node is offline, so it outlives its stack.
    let role = "role tag-hub-managed-node";
    assert!(after.values().any(|found| found.contains(role)), "the nodes' role is gone: {after:#?}");
    for (place, found) in &after {
        // The last figures of each agency are data: docs/operations.md says how to delete them.
        let is_data = |name: &str| name.starts_with("parameter /tag-hub/coverage/");
        let is_left = |name: &&String| !name.starts_with("bucket tag-hub-code") && *name != role && !is_data(name);
        let left: Vec<_> = found.difference(&before[place]).filter(is_left).collect();
        assert!(left.is_empty(), "{place} still has {left:#?}");
    }
}

/// Every template but the first has its step, and every step its template.
fn assert_all_templates_are_known(world: &World) {
    let folder = std::fs::read_dir(world.paths().repository.join("cfn")).unwrap();
    let there: BTreeSet<String> =
        folder.map(|entry| format!("cfn/{}", entry.unwrap().file_name().into_string().unwrap())).collect();
    assert_eq!(there, STEPS.iter().map(|(file, _)| (*file).to_owned()).collect(), "templates, steps");
}

/// Deploys a template wherever it belongs, and says what to delete.
async fn take(world: &World, file: &str, step: &Step) -> Vec<(Client, String)> {
    let mut stacks = Vec::new();
    match step {
        Step::Grants => {
            for account in ACCOUNTS {
                world.grant(account).await.unwrap();
                stacks.push((world.central(), format!("tag-hub-agency-{account}")));
            }
        }
        Step::Collectors => {
            for account in ACCOUNTS {
                world.deploy_agency(account, &[]).await.unwrap();
                stacks.push((world.aws.client(account, HOME_REGION), "tag-hub-agency".to_owned()));
                world.sweep_well(account).await.unwrap();
            }
        }
        Step::Stack { accounts, region, parameters } => {
            let text = world.paths().text(file).unwrap();
            let stack = file.trim_start_matches("cfn/").trim_end_matches(".yaml");
            for account in *accounts {
                let client = world.aws.client(account, region);
                let deployed = stacks::deploy(&client, stack, &text, parameters).await;
                deployed.unwrap_or_else(|error| panic!("deploy {file} in {account}: {error}"));
                stacks.push((client, stack.to_owned()));
            }
        }
        Step::Not { because } => assert!(!because.is_empty(), "{file}"),
    }
    stacks
}

/// What there is in every account, in both Regions.
async fn everything(world: &World) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    for account in ACCOUNTS {
        for region in [HOME_REGION, SECOND_REGION] {
            let client = world.aws.client(account, region);
            found.insert(key(account, region), stacks::inventory(&client).await.unwrap());
        }
    }
    found
}

fn key(account: &str, region: &str) -> String {
    format!("{account} in {region}")
}

#[tokio::test]
async fn an_update_brings_new_code_and_new_behaviour_and_goes_back() {
    let world = World::deployed().await.unwrap();
    let enrolled = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("Role", "web")]).await.unwrap();
    let client = world.aws.client(AGENCY_A, HOME_REGION);
    let first = code_sum(&client).await;

    let package = with_comment(world.paths().package("tags-collector").unwrap());
    stacks::upload(&client, "tag-hub-code-222222222222", "second.zip", package).await.unwrap();
    let changes =
        [("CodeKey", "second.zip"), ("ScheduleExpression", "cron(0 3 * * ? *)"), ("FlexibleWindowMinutes", "45")];
    world.deploy_agency(AGENCY_A, &changes).await.unwrap();
    assert_ne!(code_sum(&client).await, first, "the function still has its first package");
    // A parameter is text in CloudFormation. The service makes a number of it, MiniStack does not.
    let flexible = json!({"Mode": "FLEXIBLE", "MaximumWindowInMinutes": "45"});
    assert_eq!(schedule(&client).await, ("cron(0 3 * * ? *)".to_owned(), flexible));
    world.sweep_well(AGENCY_A).await.unwrap();
    let policy = r#"{"include": ["Role"]}"#;
    world.deploy_central(&[("TagPolicy", policy)]).await.unwrap();
    let held = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(held["counts"]["tagsHeld"], 1, "{held}");
    assert_eq!(world.plain_tags(&enrolled.node), tags(&[("Env", "PROD"), ("Role", "web")]));
    let digest = ssm_tag_manager::plan::Policy::parse(policy).unwrap().digest;
    world.deploy_central(&[("TagPolicy", policy), ("ApprovedPolicies", &digest)]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(world.plain_tags(&enrolled.node), tags(&[("Role", "web")]));

    world.deploy_agency(AGENCY_A, &[("ScheduleExpression", "rate(1 day)")]).await.unwrap();
    assert_eq!(code_sum(&client).await, first);
    assert_eq!(schedule(&client).await, ("rate(1 day)".to_owned(), json!({"Mode": "OFF"})));
    world.deploy_central(&[("TagPolicy", "{}")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(world.plain_tags(&enrolled.node), tags(&[("Env", "PROD"), ("Role", "web")]));
}

/// Another package with the same program: its archive has a comment, where it had none.
fn with_comment(mut package: Vec<u8>) -> Vec<u8> {
    // An archive ends with the length of its comment, in two bytes, and the comment.
    assert_eq!(package.split_off(package.len() - 2), [0, 0]);
    package.extend(b"\x03\x00new");
    package
}

async fn code_sum(client: &Client) -> String {
    let path = "/2015-03-31/functions/tags-collector/configuration";
    let answer = client.rest("lambda", Method::GET, path, &[], "").await.unwrap().json();
    answer["CodeSha256"].as_str().unwrap().to_owned()
}

/// When the collector runs, and how late it may.
async fn schedule(client: &Client) -> (String, Value) {
    let answer = client.rest("scheduler", Method::GET, "/schedules/tags-collector", &[], "").await.unwrap().json();
    (answer["ScheduleExpression"].as_str().unwrap().to_owned(), answer["FlexibleTimeWindow"].clone())
}

#[tokio::test]
async fn a_policy_that_the_function_refuses_is_told_by_every_invocation_and_rings_the_alarm() {
    let world = World::deployed().await.unwrap();
    // The pattern of the parameter sees the form of a policy, and not which keys are reserved.
    world.deploy_central(&[("TagPolicy", r#"{"set": {"tag-hub:agency": "1"}}"#)]).await.unwrap();
    for _ in 0..2 {
        let report = json!({"instances": []});
        let answer = world.report(AGENCY_A, &report).await.unwrap();
        // What is answered with this is what Lambda counts as an error.
        assert!(answer.function_error.is_some(), "{}", answer.payload);
        let told = answer.payload["errorMessage"].as_str().unwrap_or_default();
        assert!(told.contains("set.tag-hub:agency: the key"), "{}", answer.payload);
    }
    let asked = [("StackName", "tag-hub"), ("LogicalResourceId", "SsmTagManagerErrorAlarm")];
    let found = world.central().query("cloudformation", "DescribeStackResource", &asked).await.unwrap();
    let alarm = found["StackResourceDetail"]["PhysicalResourceId"].as_str().unwrap();
    let form = format!("Action=DescribeAlarms&Version=2010-08-01&AlarmNames.member.1={alarm}");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let alarms = world.central().rest("monitoring", Method::POST, "/", &headers, form).await.unwrap();
    let alarms = String::from_utf8_lossy(&alarms.body).into_owned();
    // MiniStack does not tell the dimensions; that they name the function is a tidy test.
    for part in [alarm, "<MetricName>Errors</MetricName>", "<Namespace>AWS/Lambda</Namespace>"] {
        assert!(alarms.contains(part), "{part} is not in {alarms}");
    }
}

#[tokio::test]
async fn what_is_no_policy_at_all_cannot_be_deployed() {
    let world = World::start(Paths::from_env().unwrap(), 0, None).unwrap();
    for policy in ["", "[]", "maxTags: 5", r#""{}""#] {
        let error = world.deploy_central(&[("TagPolicy", policy)]).await.expect_err("the stack was deployed");
        assert!(format!("{error:#}").contains("TagPolicy"), "{policy}: {error:#}");
    }
    let functions = world.central().invoke("ssm-tag-manager", InvocationType::RequestResponse, &Value::Null).await;
    assert_eq!(functions.unwrap_err().code, "ResourceNotFoundException");
}

/// What a policy's own form says is wrong never reaches the function: the last good one stays in force.
#[tokio::test]
async fn a_policy_that_is_not_understood_changes_nothing() {
    let good = r#"{"include": ["Env"]}"#;
    let world = World::deployed_with(&[("TagPolicy", good)], &[]).await.unwrap();
    let enrolled = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("Role", "web")]).await.unwrap();
    for bad in [
        r#"{"inlcude": ["Env"]}"#,
        r#"{"include": ["Env", "Role",]}"#,
        r#"{"include": "Env", "maxTags": 99, "overwrite": "no"}"#,
        r#"{"derive": [{"key": "Cohort", "value": "web"}]}"#,
    ] {
        let error = world.deploy_central(&[("TagPolicy", bad)]).await.expect_err("the stack was deployed");
        let told = format!("{error:#}");
        assert!(told.contains("TagPolicy") && told.contains("maxTags (1 to 47)"), "{bad}: {told}");
    }
    world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(world.plain_tags(&enrolled.node), tags(&[("Env", "PROD")]));
}
