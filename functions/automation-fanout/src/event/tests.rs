use serde_json::json;

use super::*;

const ID: &str = "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE";
const ID_2: &str = "a4a3c0e9-7efd-462a-8594-01234EXAMPLE";

fn location() -> Value {
    json!({"Accounts": ["111111111111"], "Regions": ["us-east-1"]})
}

fn start() -> Value {
    json!({"DocumentName": "AWS-RestartEC2Instance", "TargetLocations": [location()]})
}

/// A valid start with another value in one place, or with one more.
fn start_with(pointer: &str, value: Value) -> Value {
    let mut event = start();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    event.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
    event
}

fn problems(event: &Value) -> Vec<String> {
    Event::from_json(event).err().unwrap_or_default().iter().map(Problem::to_string).collect()
}

fn check(rows: &[(Value, &str)]) {
    for (event, expected) in rows {
        assert_eq!(problems(event), [*expected], "{event}");
    }
}

#[test]
fn every_member_of_the_api_is_read() {
    let event = json!({
        "DocumentName": "arn:aws:ssm:us-east-1:111111111111:document/Patch",
        "DocumentVersion": "$LATEST",
        "Parameters": {"AutomationAssumeRole": ["arn:aws:iam::111111111111:role/R"], "Operation": ["Scan", "Install"]},
        "Mode": "Interactive",
        "TargetParameterName": "InstanceId",
        "Targets": [{"Key": "ParameterValues", "Values": ["i-1", "i-2"]}],
        "MaxConcurrency": "10%",
        "MaxErrors": "0",
        "TargetLocations": [{
            "Accounts": ["111111111111", "ou-1a2b3c-4d5e6c", "r-ab12"],
            "Regions": ["us-east-1"],
            "TargetLocationMaxConcurrency": "5",
            "TargetLocationMaxErrors": "0%",
            "ExecutionRoleName": "Execution",
            "TargetLocationAlarmConfiguration": {"IgnorePollAlarmFailure": true, "Alarms": [{"Name": "stop"}]},
            "IncludeChildOrganizationUnits": true,
            "ExcludeAccounts": ["222222222222"],
            "Targets": [{"Key": "InstanceIds", "Values": ["*"]}],
            "TargetsMaxConcurrency": "1",
            "TargetsMaxErrors": "100%",
        }],
        "Tags": [{"Key": "Env", "Value": ""}],
        "AlarmConfiguration": {"Alarms": [{"Name": "stop"}]},
    });
    let Event::Start(order) = Event::from_json(&event).unwrap() else { panic!("no start") };
    assert_eq!(serde_json::to_value(&order.request).unwrap(), event, "nothing is lost and nothing added");
    let maps = start_with("/TargetMaps", json!([{"InstanceId": ["i-1"], "Size": ["large"]}, {"InstanceId": ["i-2"]}]));
    let Event::Start(order) = Event::from_json(&maps).unwrap() else { panic!("no start") };
    assert_eq!(serde_json::to_value(&order.request).unwrap(), maps);
    let url = "https://bucket.s3.us-east-1.amazonaws.com/locations.json?X-Amz-Signature=x";
    let by_url = json!({"DocumentName": "Patch", "TargetLocationsURL": url, "ClientToken": "8f1d6f0a-0000-4000-8000-000000000000"});
    let Event::Start(order) = Event::from_json(&by_url).unwrap() else { panic!("no start") };
    assert_eq!(serde_json::to_value(&order.request).unwrap(), by_url);
}

#[test]
fn all_kinds_of_targets_are_taken() {
    for target in [
        json!({"Key": "tag:Env", "Values": ["PROD", "TEST"]}),
        json!({"Key": "tag:Env"}),
        json!({"Key": "ResourceGroup", "Values": ["prod-instances"]}),
        json!({"Key": "ParameterValues", "Values": ["i-1"]}),
        json!({"Key": "InstanceIds", "Values": ["*"]}),
        json!({"Key": "AWS::EC2::Instance", "Values": ["*"]}),
    ] {
        let mut event = start_with("/Targets", json!([target]));
        event["TargetParameterName"] = json!("InstanceId");
        assert_eq!(problems(&event), [""; 0], "{target}");
    }
    assert_eq!(problems(&start_with("/Targets", json!([]))), [""; 0], "none at all is as good as absent");
}

#[test]
fn the_other_actions_are_read() {
    let asked = |path: &str, id: &str| Asked { id: id.to_owned(), path: path.to_owned() };
    let event = json!({"Action": "Status", "AutomationExecutionIds": [ID, ID_2, ID], "WaitSeconds": 60});
    let executions = vec![asked("AutomationExecutionIds[0]", ID), asked("AutomationExecutionIds[1]", ID_2)];
    assert_eq!(Event::from_json(&event).unwrap(), Event::Status { executions, wait: Duration::from_mins(1) });
    let one = || vec![asked("AutomationExecutionId", ID)];
    for (event, stop_type) in [
        (json!({"Action": "Stop", "AutomationExecutionId": ID}), StopType::Cancel),
        (json!({"Action": "Stop", "AutomationExecutionId": ID, "Type": "Complete"}), StopType::Complete),
    ] {
        assert_eq!(Event::from_json(&event).unwrap(), Event::Stop { executions: one(), stop_type });
    }
    let event =
        json!({"Action": "Resume", "AutomationExecutionId": ID, "IdempotencyKey": "k", "TargetLocationMaxErrors": "0"});
    let expected = ResumeOrder {
        executions: one(),
        idempotency_key: Some("k".to_owned()),
        wait: Duration::ZERO,
        terms: Terms { max_errors: Some(plan::limit::Limit::Count(0)), ..Terms::default() },
    };
    assert_eq!(Event::from_json(&event).unwrap(), Event::Resume(expected));
}

#[test]
fn every_problem_is_told_at_once() {
    let event = json!({
        "Action": "Strat",
        "documentName": "x",
        "DocumentVersion": "latest",
        "Parameters": {"Secret": ["hunter2", 7]},
        "MaxConcurrency": "0%",
        "MaxErrors": 3,
        "Targets": [{"Key": "tag:a+b", "Values": ["x"]}],
        "TargetLocations": [
            {"Accounts": ["11111111111"], "Regions": ["us-east-1", "mars"], "TargetLocationMaxConcurrency": "101%"},
            {"Accounts": [], "Region": ["us-east-1"]},
        ],
        "WaitSeconds": -1,
    });
    assert_eq!(
        problems(&event),
        [
            "Action: unknown action \"Strat\"; did you mean Start?",
            "documentName: unknown field; did you mean DocumentName?",
            "DocumentName: expected the name or the ARN of a runbook, got nothing",
            "DocumentVersion: expected $LATEST, $DEFAULT or a version number, got \"latest\"",
            "Parameters.Secret[1]: expected a string of at least 1 character, got a number",
            "Targets[0].Key: expected 1 to 163 letters, numbers, spaces and _ . : / = - @ (a key with + cannot be \
             targeted), got \"tag:a+b\"",
            "MaxConcurrency: expected a string with a number from 1 or a percentage from 1% to 100%, got \"0%\"",
            "MaxErrors: expected a string with a number from 0 or a percentage from 0% to 100%, got a number",
            "TargetLocations[0].Accounts[0]: expected an account id of 12 digits, an organizational unit ou-… or a \
             root r-…, got \"11111111111\"",
            "TargetLocations[0].Regions[1]: expected a Region code such as us-east-1, got \"mars\"",
            "TargetLocations[0].TargetLocationMaxConcurrency: expected a string with a number from 1 or a percentage \
             from 1% to 100%, got \"101%\"",
            "TargetLocations[1].Region: unknown field; did you mean Regions?",
            "TargetLocations[1].Regions: expected at least one, got nothing",
            "TargetLocations[1].Accounts: expected at least one item, got an empty list",
            "TargetParameterName: expected the runbook's parameter that takes what Targets finds, got nothing",
            "WaitSeconds: expected a whole number from 0 to 900, got -1",
        ]
    );
}

#[test]
fn what_is_no_request_is_refused() {
    check(&[
        (json!(null), "event: expected an object, got null"),
        (json!("Start"), "event: expected an object, got a string"),
        (json!({}), "DocumentName: expected the name or the ARN of a runbook, got nothing"),
        (
            json!({"Action": "Frobnicate", "DocumentName": "Patch"}),
            "Action: unknown action \"Frobnicate\"; expected one of Start, Preview, Preflight, \
             Status, List, Stop, Resume, Signal, Campaign",
        ),
        (
            json!({"Action": 1, "DocumentName": "Patch"}),
            "Action: expected Start, Preview, Preflight, Status, List, Stop, Resume, Signal or Campaign, got a number",
        ),
        (start_with("/Type", json!("Cancel")), "Type: expected only with Stop, got it with Start"),
        (
            json!({"Action": "Status", "AutomationExecutionId": ID, "DocumentName": "Patch"}),
            "DocumentName: expected only with Start, Preview, Preflight, List, got it with Status",
        ),
        (start_with("/TargetLocation", json!([])), "TargetLocation: unknown field; did you mean TargetLocations?"),
    ]);
}

#[test]
fn runbooks_and_parameters() {
    let runbook = "expected the name of a runbook, or arn:PARTITION:ssm:REGION:ACCOUNT:document/NAME, got";
    let role = "a role ARN: arn:PARTITION:iam::ACCOUNT:role/NAME";
    let many: Map<String, Value> = (0..200).map(|n| (format!("P{n}"), json!(["x"]))).collect();
    check(&[
        (start_with("/DocumentName", json!("a b")), &format!("DocumentName: {runbook} \"a b\"")),
        (start_with("/DocumentName", json!("arn:aws:s3:::x")), &format!("DocumentName: {runbook} \"arn:aws:s3:::x\"")),
        (
            start_with("/Parameters", json!({"Secret": [""]})),
            "Parameters.Secret[0]: expected a string of at least 1 character, got another text of 0 characters",
        ),
        (
            start_with("/Parameters", json!({"InstanceIds": vec!["i-1"; 51]})),
            "Parameters.InstanceIds: expected at most 50 values, got 51; to run over more, give them as Targets with the \
             Key ParameterValues, which are split into several starts, or name a resource group",
        ),
        (start_with("/Parameters", json!({"Secret": "x"})), "Parameters.Secret: expected a list, got a string"),
        (
            start_with("/Parameters", json!({"AutomationAssumeRole": ["R"]})),
            &format!("Parameters.AutomationAssumeRole[0]: expected {role}, got another text of 1 characters"),
        ),
        (
            start_with("/Parameters", json!({"AutomationAssumeRole": []})),
            "Parameters.AutomationAssumeRole: expected exactly one item, got an empty list",
        ),
        (
            start_with("/Parameters", Value::Object(many)),
            "Parameters: expected at most 200 with AutomationAssumeRole, got 201",
        ),
        (start_with("/Mode", json!("auto")), "Mode: expected Auto or Interactive, got \"auto\""),
    ]);
}

#[test]
fn targets() {
    let with = |targets: Value| {
        let mut event = start_with("/Targets", targets);
        event["TargetParameterName"] = json!("InstanceId");
        event
    };
    let tag = json!({"Key": "tag:Env", "Values": ["PROD"]});
    let mut both = with(json!([tag]));
    both["TargetMaps"] = json!([{"InstanceId": ["i-1"]}]);
    let mut in_location = start_with("/TargetLocations/0/Targets", json!([tag]));
    in_location["TargetMaps"] = json!([{"InstanceId": ["i-1"]}]);
    in_location["TargetParameterName"] = json!("InstanceId");
    let mut role = with(json!([tag]));
    role["TargetParameterName"] = json!("AutomationAssumeRole");
    check(&[
        (
            start_with("/Targets", json!([tag])),
            "TargetParameterName: expected the runbook's parameter that takes what Targets finds, got nothing",
        ),
        (
            start_with("/TargetLocations/0/Targets", json!([tag])),
            "TargetParameterName: expected the runbook's parameter that takes what TargetLocations[0].Targets finds, got \
             nothing",
        ),
        (
            start_with("/TargetParameterName", json!("InstanceId")),
            "Targets: expected a target together with TargetParameterName, got nothing",
        ),
        (both, "TargetMaps: expected only one of Targets and TargetMaps, got both"),
        (in_location, "TargetMaps: expected only one of TargetLocations[0].Targets and TargetMaps, got both"),
        (role, "TargetParameterName: expected another parameter than AutomationAssumeRole, which cannot be a target"),
        (
            with(json!([tag, {"Key": "tag:Role", "Values": ["web"]}])),
            "Targets: expected one target, since the service takes one tag or group at a time, got 2; name a resource \
             group that has them all, or give Match for managed nodes of the central account",
        ),
        (
            with(json!([{"Key": "ResourceGroups", "Values": ["x"]}])),
            "Targets[0].Key: unknown key \"ResourceGroups\"; did you mean ResourceGroup?",
        ),
        (
            with(json!([{"Key": "ResourceGroup"}])),
            "Targets[0].Values: expected 1 to 50 values of ResourceGroup, got none",
        ),
        (
            with(json!([{"Key": "InstanceIds", "Values": ["i-1"]}])),
            "Targets[0].Values: expected [\"*\"], the only value of InstanceIds",
        ),
        (
            with(json!([{"Key": "tag:Env", "Values": vec!["x"; 51]}])),
            "Targets[0].Values: expected at most 50 items, got 51",
        ),
        (with(json!([{"Key": "tag:"}])), "Targets[0].Key: expected a tag key after tag:, got nothing"),
        (with(json!([{}])), "Targets[0].Key: expected tag:KEY, ResourceGroup or ParameterValues, got nothing"),
        (
            start_with("/TargetMaps", json!([{"InstanceId": ["x".repeat(51)]}])),
            "TargetMaps[0].InstanceId[0]: expected a string of 1 to 50 characters, got another text of 51 characters",
        ),
        (start_with("/TargetMaps", json!([{}])), "TargetMaps[0]: expected 1 to 20 parameters, got 0"),
    ]);
}

#[test]
fn locations() {
    let account = "expected an account id of 12 digits, an organizational unit ou-… or a root r-…, got";
    let numbered = |count: usize| (0..count).map(|n| format!("{n:012}")).collect::<Vec<_>>();
    let split = json!({"Accounts": numbered(51), "Regions": ["us-east-1"], "TargetLocationMaxConcurrency": "1"});
    let mut by_url = start();
    by_url["TargetLocationsURL"] = json!("https://bucket.s3.amazonaws.com/x");
    check(&[
        (start_with("/TargetLocations", json!([])), "TargetLocations: expected at least one item, got an empty list"),
        (start_with("/TargetLocations", json!([7])), "TargetLocations[0]: expected an object, got a number"),
        (
            start_with("/TargetLocations/0/Accounts", json!(["ou-AB"])),
            &format!("TargetLocations[0].Accounts[0]: {account} \"ou-AB\""),
        ),
        (
            start_with("/TargetLocations/0/ExcludeAccounts", json!(["r-ab12"])),
            "TargetLocations[0].ExcludeAccounts[0]: expected an account id of 12 digits or an organizational unit, by the \
             pattern ^((ou-[a-z0-9]{4,32}-[a-z0-9]{8,32})|(\\d{12}))$ (a root cannot be left out), got \"r-ab12\"",
        ),
        (
            start_with("/TargetLocations/0/Regions", json!(["us-east-1", 7])),
            "TargetLocations[0].Regions[1]: expected a Region code such as us-east-1, got a number",
        ),
        (
            start_with("/TargetLocations/0/ExecutionRoleName", json!("arn:aws:iam::111111111111:role/R")),
            "TargetLocations[0].ExecutionRoleName: expected the name of a role, not its ARN, of 1 to 64 characters, got \
             \"arn:aws:iam::111111111111:role/R\"",
        ),
        (
            start_with("/TargetLocations/0/IncludeChildOrganizationUnits", json!("yes")),
            "TargetLocations[0].IncludeChildOrganizationUnits: expected true or false, got a string",
        ),
        (
            start_with("/TargetLocations/0/TargetLocationAlarmConfiguration", json!({"Alarms": []})),
            "TargetLocations[0].TargetLocationAlarmConfiguration.Alarms: expected exactly one item, got an empty list",
        ),
        (
            start_with("/AlarmConfiguration", json!({})),
            "AlarmConfiguration.Alarms: expected exactly one alarm, got nothing",
        ),
        (
            start_with("/TargetLocations", json!([split])),
            "TargetLocations[0].TargetLocationMaxConcurrency: 1 cannot be shared out over the 2 parts that the location \
             is split into and that run at the same time; expected at least 2, a percentage, or at most 50 accounts and \
             50 Regions",
        ),
        (
            start_with("/TargetLocations", json!([location(), location()])),
            "TargetLocations[1]: expected accounts and Regions that no other location has, got 111111111111 in \
             us-east-1, which is in TargetLocations[0] too",
        ),
        (by_url, "TargetLocationsURL: expected only one of TargetLocations and TargetLocationsURL, got both"),
        (
            json!({"DocumentName": "Patch", "TargetLocationsURL": "https://example.com/secret"}),
            "TargetLocationsURL: expected https://BUCKET.s3.REGION.amazonaws.com/KEY, presigned, got another text of 26 \
             characters",
        ),
    ]);
}

#[test]
fn tags_keys_and_ids() {
    let tag = |n: usize| json!({"Key": format!("k{n}"), "Value": "v"});
    let tags = |count: usize| Value::Array((0..count).map(tag).collect());
    let mut with_token = start_with("/ClientToken", json!("8f1d6f0a-0000-4000-8000-000000000000"));
    with_token["IdempotencyKey"] = json!("k");
    let key =
        "expected 1 to 128 letters, numbers, spaces and _ . : / = + - @, not beginning with aws: or tag-hub:, got";
    let resume = |name: &str, value: Value| {
        let mut event = json!({"Action": "Resume", "AutomationExecutionId": ID});
        event[name] = value;
        event
    };
    check(&[
        (start_with("/Tags", tags(4)), "Tags: expected at most 3 items, got 4"),
        (resume("Tags", tags(3)), "Tags: expected at most 2 items, got 3"),
        (start_with("/Tags", json!([tag(1), tag(1)])), "Tags[1].Key: expected each key once, got \"k1\" again"),
        (start_with("/Tags", json!([{"Key": "k"}])), "Tags[0].Value: expected a string, got nothing"),
        (start_with("/Tags", json!([{"Key": "aws:x", "Value": ""}])), &format!("Tags[0].Key: {key} \"aws:x\"")),
        (
            start_with("/Tags", json!([{"Key": "tag-hub:resumes", "Value": ""}])),
            &format!("Tags[0].Key: {key} \"tag-hub:resumes\""),
        ),
        (with_token, "IdempotencyKey: expected only one of IdempotencyKey and ClientToken, got both"),
        (start_with("/ClientToken", json!("x")), "ClientToken: expected a UUID, got \"x\""),
        (
            start_with("/IdempotencyKey", json!("")),
            "IdempotencyKey: expected 1 to 256 characters, none of them invisible or decomposed (NFD), and no space at the ends, got \"\"",
        ),
        (start_with("/WaitSeconds", json!(901)), "WaitSeconds: expected a whole number from 0 to 900, got 901"),
        (start_with("/WaitSeconds", json!("60")), "WaitSeconds: expected a whole number from 0 to 900, got a string"),
        (json!({"Action": "Status"}), "AutomationExecutionIds: expected at least one execution id, got nothing"),
        (
            json!({"Action": "Status", "AutomationExecutionIds": []}),
            "AutomationExecutionIds: expected at least one item, got an empty list",
        ),
        (
            json!({"Action": "Stop", "AutomationExecutionIds": [ID, "x"]}),
            "AutomationExecutionIds[1]: expected an execution id of 36 characters, got \"x\"",
        ),
        (
            json!({"Action": "Stop", "AutomationExecutionIds": [ID], "AutomationExecutionId": ID}),
            "AutomationExecutionId: expected only one of AutomationExecutionIds and AutomationExecutionId, got both",
        ),
        (
            json!({"Action": "Stop", "AutomationExecutionId": ID, "Type": "cancel"}),
            "Type: expected Cancel or Complete, got \"cancel\"",
        ),
        (
            resume("TargetLocationMaxConcurrency", json!("0")),
            "TargetLocationMaxConcurrency: expected a string with a number from 1 or a percentage from 1% to 100%, got \
             \"0\"",
        ),
    ]);
}

#[test]
fn a_flood_of_problems_is_cut() {
    let event = start_with("/TargetLocations/0/Accounts", Value::Array(vec![json!("x"); 6_000]));
    let problems = Event::from_json(&event).unwrap_err();
    let text = plan::problem::listed(&problems);
    assert!(text.ends_with("; and 5900 more"), "{}", &text[text.len() - 100..]);
}
