use super::*;
use crate::plan::request::{Target, TargetLocation};
use crate::plan::runbook::Parameter;
use crate::plan::{TokenSource, plan, split};

const ROLE: &str = "arn:aws:iam::111111111111:role/Administration";

fn runbook(parameters: &[(&str, bool)]) -> Runbook {
    let parameter =
        |(name, has_default): &(&str, bool)| Parameter { name: (*name).to_owned(), has_default: *has_default };
    Runbook {
        name: "AWS-StopEC2Instance".to_owned(),
        parameters: parameters.iter().map(parameter).collect(),
        document_type: Some("Automation".to_owned()),
        steps: Some(2),
    }
}

fn facts(runbook: Runbook) -> Facts {
    let region = |name: &str| KnownRegion { name: name.to_owned(), is_enabled: name != "af-south-1" };
    Facts { runbook: Ok(runbook), regions: Ok(["us-east-1", "us-west-2", "af-south-1"].map(region).to_vec()) }
}

fn allowed<'a>(aws: &'a [String], own: &'a [String]) -> Allowed<'a> {
    Allowed {
        role_arn: ROLE,
        account: "111111111111",
        aws_runbooks: Some(aws),
        own_runbooks: Some(own),
        step_price: Some(0.002),
    }
}

fn request(regions: &[&str]) -> StartRequest {
    let location = TargetLocation {
        accounts: vec!["222222222222".to_owned()],
        regions: regions.iter().map(|region| (*region).to_owned()).collect(),
        ..TargetLocation::default()
    };
    StartRequest {
        document_name: "AWS-StopEC2Instance".to_owned(),
        target_locations: vec![location],
        ..StartRequest::default()
    }
}

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

#[test]
fn a_runbook_with_a_target_parameter_starts_without_targets_only_on_request() {
    let facts = facts(runbook(&[("InstanceId", false), ("AutomationAssumeRole", true)]));
    let request = request(&["us-east-1"]);
    assert_eq!(
        texts(&refusals(&request, false, &facts)),
        [
            "Targets: expected a target, got nothing: the runbook AWS-StopEC2Instance takes what it works on as InstanceId; \
          give Targets, or \"AllTargets\": true if it is meant to run without them"
        ]
    );
    assert_eq!(refusals(&request, true, &facts), []);
    let mut given = request.clone();
    given.parameters.insert("InstanceId".to_owned(), vec!["i-1".to_owned()]);
    assert_eq!(refusals(&given, false, &facts), []);
    let mut targeted = request.clone();
    targeted.targets = vec![Target { key: "tag:Env".to_owned(), values: vec!["x".to_owned()] }];
    assert_eq!(refusals(&targeted, false, &facts), []);
    assert_eq!(texts(&refusals(&targeted, true, &facts)), ["AllTargets: expected only without Targets, got both"]);
    let unread =
        Facts { runbook: Err(Unread::Failed { reason: "denied".to_owned(), may_pass: false }), ..facts.clone() };
    assert_eq!(refusals(&request, false, &unread).len(), 1);
    assert_eq!(refusals(&given, false, &unread), []);
    let missing = Facts { runbook: Err(Unread::NotThere), ..facts };
    assert_eq!(refusals(&request, false, &missing), [], "the start says so itself");
}

#[test]
fn what_selects_nothing_counts_as_not_given() {
    let facts = facts(runbook(&[("InstanceId", false), ("AutomationAssumeRole", true)]));
    let target = |key: &str, values: &[&str]| Target {
        key: key.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let map = |values: &[&str]| {
        [("InstanceId".to_owned(), values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>())].into()
    };
    let plain = request(&["us-east-1"]);
    let targeted = |target: Target| StartRequest { targets: vec![target], ..plain.clone() };
    let in_location = |target: Target| {
        let mut request = plain.clone();
        request.target_locations[0].targets = vec![target];
        request
    };
    let good = || target("tag:Env", &["PROD"]);
    for (request, place) in [
        (targeted(target("tag:Env", &[])), "Targets"),
        (targeted(target("tag:Env", &[""])), "Targets"),
        (targeted(target("tag:Env", &["PROD", " "])), "Targets"),
        (targeted(target("TAG:Env", &["PROD"])), "Targets"),
        (targeted(target(" tag:Env", &["PROD"])), "Targets"),
        (targeted(target("tag: ", &["PROD"])), "Targets"),
        (targeted(target("resourcegroup ", &["x"])), "Targets"),
        (targeted(target("CloudConnector", &[""])), "Targets"),
        (targeted(target("ParameterValues", &[""])), "Targets"),
        (in_location(target("tag:Env", &[""])), "TargetLocations[0].Targets"),
        (StartRequest { target_maps: vec![map(&[])], ..plain.clone() }, "TargetMaps[0]"),
        (StartRequest { target_maps: vec![map(&["i-1"]), map(&[" "])], ..plain.clone() }, "TargetMaps[1]"),
    ] {
        let told = texts(&refusals(&request, false, &facts));
        assert!(told.len() == 1 && told[0].contains(&format!("got {place}, which selects nothing")), "{told:?}");
        assert_eq!(refusals(&request, true, &facts), [], "the caller's word opens it: {request:?}");
        let unread =
            Facts { runbook: Err(Unread::Failed { reason: "denied".to_owned(), may_pass: false }), ..facts.clone() };
        assert_eq!(refusals(&request, false, &unread).len(), 1, "{request:?}");
        let harmless = Facts { runbook: Ok(runbook(&[("Operation", true)])), ..facts.clone() };
        assert_eq!(refusals(&request, false, &harmless), [], "it takes no targets");
    }
    for request in [
        targeted(good()),
        in_location(good()),
        targeted(target("InstanceIds", &["*"])),
        targeted(target("CloudConnector", &["x"])),
        StartRequest { target_maps: vec![map(&["i-1"])], ..plain.clone() },
    ] {
        assert_eq!(refusals(&request, false, &facts), [], "{request:?}");
    }
    // A parameter that says nothing about what it works on is no word about it.
    let mut with_comment = plain.clone();
    with_comment.parameters.insert("Comment".to_owned(), vec!["x".to_owned()]);
    with_comment.parameters.insert("InstanceId".to_owned(), vec![" ".to_owned()]);
    let unread =
        Facts { runbook: Err(Unread::Failed { reason: "denied".to_owned(), may_pass: false }), ..facts.clone() };
    for facts in [&facts, &unread] {
        assert_eq!(refusals(&with_comment, false, facts).len(), 1);
    }
}

#[test]
fn a_region_that_nobody_knows_is_refused_with_the_nearest() {
    let facts = facts(runbook(&[]));
    assert_eq!(
        texts(&refusals(&request(&["us-east-1", "us-eats-1", "xx-nowhere-9"]), false, &facts)),
        [
            "TargetLocations[0].Regions[1]: expected a Region that this account knows, got \"us-eats-1\"; did you mean \
             us-east-1?",
            "TargetLocations[0].Regions[2]: expected a Region that this account knows, got \"xx-nowhere-9\"; this account \
             knows us-east-1, us-west-2, af-south-1"
        ]
    );
    let unread = Facts { regions: Err(Unread::Failed { reason: "denied".to_owned(), may_pass: false }), ..facts };
    assert_eq!(refusals(&request(&["us-eats-1"]), false, &unread), []);
}

#[test]
fn the_role_is_added_where_the_runbook_declares_it() {
    let declared = Ok(runbook(&[("AutomationAssumeRole", true)]));
    let (added, words) = role(&request(&[]), &declared, ROLE);
    assert_eq!((added, words), (Some(ROLE), format!("Parameters.AutomationAssumeRole is added: {ROLE}")));
    let (added, words) = role(&request(&[]), &Ok(runbook(&[("assumeRole", true)])), ROLE);
    assert_eq!(added, None);
    assert!(words.contains("declares no AutomationAssumeRole") && words.contains("it declares assumeRole"), "{words}");
    let mut own = request(&[]);
    own.parameters.insert(ASSUME_ROLE_PARAMETER.to_owned(), vec!["arn:aws:iam::111111111111:role/Own".to_owned()]);
    let (added, words) = role(&own, &declared, ROLE);
    assert!(added.is_none() && words.contains("may pass"), "{words}");
    own.parameters.insert(ASSUME_ROLE_PARAMETER.to_owned(), vec![ROLE.to_owned()]);
    assert_eq!(role(&own, &declared, ROLE), (None, String::new()));
    assert_eq!(role(&request(&[]), &Err(Unread::NotThere), ROLE).0, Some(ROLE));
}

fn noted(request: &StartRequest, facts: &Facts, aws: &[&str], own: &[&str]) -> Vec<String> {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let tokens = TokenSource::of("key");
    let plan = plan(request, &split(request).unwrap(), None, &tokens).unwrap();
    notes(request, &plan, facts, allowed(&list(aws), &list(own)))
}

#[test]
fn notes_tell_what_a_start_would_run_into() {
    let facts = facts(runbook(&[("InstanceId", false), ("AutomationAssumeRole", true)]));
    let mut request = request(&["us-east-1", "af-south-1"]);
    request.parameters.insert("InstanceID".to_owned(), vec!["i-1".to_owned()]);
    request.parameters.insert("Comment".to_owned(), vec!["x".repeat(643)]);
    let notes = noted(&request, &facts, &["AWS-StartEC2Instance", "AWS-Restart*"], &[]);
    for expected in [
        "may not start AWS-StopEC2Instance, and AWS would refuse it; add it to the parameter AwsRunbooks",
        "Parameters.InstanceID: the runbook declares no such parameter; did you mean InstanceId?",
        "Parameters.InstanceId: the runbook needs it",
        "Parameters.Comment: a value has 643 characters",
        "the central account has not enabled af-south-1",
        "TargetLocationMaxErrors is 0",
        "about 0.01 US dollars for each target: 2 accounts and Regions × 2 steps × 0.002 a step",
    ] {
        assert!(notes.iter().any(|note| note.contains(expected)), "{expected}: {notes:#?}");
    }
    assert!(!noted(&request, &facts, &["AWS-Stop*"], &[]).iter().any(|note| note.contains("may not start")));
}

#[test]
fn runbooks_of_others_and_names_of_ones_own_are_told() {
    let facts = facts(runbook(&[]));
    let named = |name: &str| StartRequest { document_name: name.to_owned(), ..request(&["us-east-1"]) };
    let of_other = noted(&named("arn:aws:ssm:us-east-1:999999999999:document/Patch"), &facts, &[], &["*"]);
    assert!(of_other[0].contains("starts no runbook that another account shares"), "{of_other:?}");
    let own = noted(&named("TagHub-PatchByTag"), &facts, &[], &["TagHub-*"]);
    assert!(own[0].contains("by its ARN alone"), "{own:?}");
    let by_arn = noted(&named("arn:aws:ssm:us-east-1:111111111111:document/TagHub-X"), &facts, &[], &["TagHub-*"]);
    assert!(!by_arn.iter().any(|note| note.starts_with("DocumentName")), "{by_arn:?}");
}

#[test]
fn a_location_without_targets_beside_one_with_them_is_told() {
    let facts = facts(runbook(&[]));
    let mut two = request(&["us-east-1"]);
    let mut other = two.target_locations[0].clone();
    other.accounts = vec!["333333333333".to_owned()];
    other.targets = vec![Target { key: "CloudConnector".to_owned(), values: vec!["x".to_owned()] }];
    two.target_locations.push(other);
    let notes = noted(&two, &facts, &["AWS-*"], &[]);
    let told = without_targets(&two);
    assert!(told.len() == 1 && told[0].starts_with("TargetLocations[0]: it has no Targets, unlike"), "{told:?}");
    assert!(notes.iter().any(|note| note.contains("the key CloudConnector is newer")), "{notes:?}");
}

#[test]
fn a_location_without_targets_beside_others_is_refused_or_told() {
    let facts = facts(runbook(&[("InstanceId", false), ("AutomationAssumeRole", true)]));
    let target = || vec![Target { key: "tag:Env".to_owned(), values: vec!["x".to_owned()] }];
    let mut mixed = request(&["us-east-1"]);
    let bare = mixed.target_locations[0].clone();
    mixed.target_locations.extend([TargetLocation { targets: target(), ..bare.clone() }, bare]);
    let told = texts(&refusals(&mixed, false, &facts));
    let words = "TargetLocations[0].Targets: expected a target, got nothing, unlike another location: the runbook";
    assert!(told.len() == 1 && told[0].starts_with(words), "{told:?}");
    assert_eq!(without_targets(&mixed).len(), 2);
    assert!(!is_targeted(&mixed));
    // The caller's word, or a parameter, or a runbook that takes no targets.
    assert_eq!(refusals(&mixed, true, &facts), []);
    let mut given = mixed.clone();
    given.parameters.insert("InstanceId".to_owned(), vec!["i-1".to_owned()]);
    assert_eq!(refusals(&given, false, &facts), []);
    let harmless = Facts { runbook: Ok(runbook(&[("Operation", true)])), ..facts.clone() };
    assert_eq!(refusals(&mixed, false, &harmless), []);
    // With targets for all of them.
    let whole = StartRequest { targets: target(), ..mixed.clone() };
    assert_eq!((refusals(&whole, false, &facts), without_targets(&whole)), (vec![], vec![]));
    assert!(is_targeted(&whole));
    for location in &mut mixed.target_locations {
        location.targets = target();
    }
    assert_eq!((refusals(&mixed, false, &facts), refusals(&mixed, true, &facts).len()), (vec![], 1));
}
