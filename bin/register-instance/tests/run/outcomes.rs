//! Whole runs, each with its outcome.

use std::collections::BTreeSet;
use std::time::Duration;

use register_instance::outcome::{Done, json};
use register_instance::{Failure, Reason, Repair, Settings, Source};
use serde_json::Value;

use crate::fake::{
    ACCOUNT, CODE, INSTANCE, NODE, PARAMETER, RENEWED_CODE, State, World, activation, aws_error, settings,
};

pub(crate) const FIRST_NODE: &str = "mi-00000000000000001";

pub(crate) fn fails(state: State, settings: &Settings, reason: Reason, words: &[&str]) -> (State, Failure) {
    let world = World::new(state);
    let failure = world.run(settings).unwrap_err();
    assert_eq!(failure.reason, reason, "{failure}");
    for word in words {
        assert!(failure.message.contains(word), "no {word:?} in: {failure}");
    }
    (world.state(), failure)
}

/// Nothing of the agent and nothing of the tag has changed.
pub(crate) fn is_untouched(state: &State) {
    assert_eq!(
        (
            state.count("systemctl st"),
            state.count("systemctl enable"),
            state.count("amazon-ssm-agent"),
            state.count("write")
        ),
        (0, 0, 0, 0),
        "{:?}",
        state.calls
    );
}

pub(crate) fn refusing(says: &[&str]) -> State {
    State {
        agent_says: says
            .iter()
            .map(|cause| {
                format!("ERROR Registration failed due to error registering the instance with AWS SSM. {cause}")
            })
            .collect(),
        ..State::fresh()
    }
}

fn pair() -> Settings {
    let source = Source::Pair { id: "ActivationID".to_owned(), code: "ActivationCode".to_owned() };
    Settings { source, ..settings() }
}

#[test]
fn a_fresh_instance_is_registered_and_tagged() {
    let world = World::new(State::fresh());
    let success = world.run(&settings()).unwrap();
    let state = world.state();
    assert_eq!(success.done, Done::Registered(FIRST_NODE.parse().unwrap()));
    assert_eq!(success.hub_region, Some("us-east-1".parse().unwrap()));
    assert_eq!(
        (state.tag.as_deref(), state.marker()),
        (Some(FIRST_NODE), Some((FIRST_NODE.to_owned(), INSTANCE.to_owned())))
    );
    insta::assert_snapshot!(state.calls.join("\n"), @r"
    lock
    identity
    read /var/lib/tag-hub/previous-registration.json
    ssm-cli get-instance-information
    read /var/lib/amazon/ssm/Vault/Store/RegistrationKey
    read /var/lib/amazon/ssm/Vault/Manifest
    read /var/lib/amazon/ssm/registration
    read /var/lib/amazon/ssm/Vault/Store/InstanceFingerprint
    read /var/lib/tag-hub/registration.json
    parameter
    systemctl is-enabled
    write /run/tag-hub-agent-stopped
    systemctl stop
    amazon-ssm-agent -register
    read /var/lib/amazon/ssm/Vault/Store/RegistrationKey
    read /var/lib/amazon/ssm/registration
    systemctl is-active
    systemctl start
    remove /run/tag-hub-agent-stopped
    write /var/lib/tag-hub/registration.json
    systemctl is-enabled
    read /var/lib/amazon/ssm/runtimeconfig/identity_config.json
    ssm-cli get-instance-information
    systemctl is-active
    write_tag
    ");
}

#[test]
fn a_registered_instance_is_left_alone_and_tagged() {
    let world = World::new(State::registered());
    assert_eq!(world.run(&settings()).unwrap().done, Done::TagWritten(NODE.parse().unwrap()));
    let state = world.state();
    assert_eq!((state.tag.as_deref(), state.count("systemctl st")), (Some(NODE), 0));
    assert_eq!(state.marker(), Some((NODE.to_owned(), INSTANCE.to_owned())), "a clone of it will be recognised");
}

#[test]
fn the_tag_is_written_whatever_the_metadata_shows() {
    // EC2 no longer has it, or has another one: nothing on the machine can tell.
    for shown in [NODE, FIRST_NODE] {
        let world = World::new(State { tag: Some(shown.to_owned()), shows_tags: true, ..State::marked(INSTANCE) });
        assert_eq!(world.run(&settings()).unwrap().done, Done::TagWritten(NODE.parse().unwrap()));
        assert_eq!((world.state().tag.as_deref(), world.state().count("write_tag")), (Some(NODE), 1));
    }
}

#[test]
fn a_registered_instance_needs_no_activation() {
    let world = World::new(State::fresh());
    world.run(&settings()).unwrap();
    let registered = world.state();
    let bare = State { parameters: [].into(), tag: None, ..registered.clone() };
    let denied = State { aws_says: vec![("parameter", aws_error("AccessDeniedException", false))], ..registered };
    for state in [bare, denied] {
        let world = World::new(state);
        assert_eq!(world.run(&settings()).unwrap().done, Done::TagWritten(FIRST_NODE.parse().unwrap()));
    }
    // One that was registered by other means may be another hub's node.
    let unknown = State { parameters: [].into(), ..State::registered() };
    let words = ["nothing says whether that is the hub's", "--region"];
    let (state, _) = fails(unknown.clone(), &settings(), Reason::ActivationUnreadable, &words);
    assert_eq!(state.tag, None);
    is_untouched(&state);
    let named = Settings { region: "us-east-1".parse().ok(), ..settings() };
    assert_eq!(World::new(unknown).run(&named).unwrap().done, Done::TagWritten(NODE.parse().unwrap()));
}

#[test]
fn a_clone_is_told_how_to_become_itself() {
    let words = [NODE, "i-0fedcba9876543210", INSTANCE, "register-instance heal --replace", "Nothing was changed"];
    let (state, failure) = fails(State::marked("i-0fedcba9876543210"), &settings(), Reason::Clone, &words);
    is_untouched(&state);
    assert_eq!(failure.node, Some(NODE.parse().unwrap()));

    // What the message says.
    let world = World::new(state);
    let success = world.run(&Settings { repair: Repair::Replace, ..settings() }).unwrap();
    assert_eq!(success.done, Done::Replaced { node: FIRST_NODE.parse().unwrap(), old: NODE.parse().ok() });
    assert!(success.notes[0].contains("do not deregister"), "{:?}", success.notes);
    assert_eq!(world.state().marker(), Some((FIRST_NODE.to_owned(), INSTANCE.to_owned())));
}

#[test]
fn an_activation_that_is_not_for_this_instance_is_refused_before_anything_is_done() {
    for (field, value, reason, words) in [
        ("Account", "333333333333", Reason::ActivationWrong, "made for account 333333333333"),
        (
            "ExpirationDate",
            "2026-11-22T02:00:00Z",
            Reason::ActivationExpired,
            r#"invoke activation-issuer with {"agency": "222222222222"}"#,
        ),
        ("ActivationCode", "short", Reason::ActivationUnreadable, "ActivationCode: expected 20 to 250"),
    ] {
        let mut state = State::fresh();
        state.parameters.insert(PARAMETER.to_owned(), activation(&[(field, value)]));
        is_untouched(&fails(state, &settings(), reason, &[words]).0);
    }
    let elsewhere = Settings { region: Some("eu-west-1".parse().unwrap()), ..settings() };
    let words = ["it is for Region us-east-1, and --region asks for eu-west-1", "Nothing was changed"];
    is_untouched(&fails(State::fresh(), &elsewhere, Reason::ActivationWrong, &words).0);
    let hub = |account: &str| account.parse().ok();
    let other_hub = Settings { hub_account: hub("444444444444"), ..settings() };
    let words =
        ["it registers in account 111111111111, and --hub-account asks for 444444444444", "Nothing was changed"];
    is_untouched(&fails(State::fresh(), &other_hub, Reason::ActivationWrong, &words).0);
    let region = Some("us-east-1".parse().unwrap());
    let agreeing = Settings { region, hub_account: hub("111111111111"), ..settings() };
    assert!(World::new(State::fresh()).run(&agreeing).is_ok());
}

#[test]
fn a_parameter_that_cannot_be_read() {
    let state = State { parameters: [].into(), ..State::fresh() };
    is_untouched(
        &fails(state, &settings(), Reason::ActivationUnreadable, &["no parameter /tag-hub/activation", "us-west-2"]).0,
    );
    let denied = State { aws_says: vec![("parameter", aws_error("AccessDeniedException", false))], ..State::fresh() };
    let (state, _) = fails(denied, &settings(), Reason::ActivationUnreadable, &["needs ssm:GetParameter"]);
    assert_eq!(state.count("parameter"), 1, "a refusal stays a refusal");
    let bare = State { aws_says: vec![("parameter", aws_error("NoCredentials", false))], ..State::fresh() };
    is_untouched(&fails(bare, &settings(), Reason::ActivationUnreadable, &["TagHubInstance"]).0);
}

#[test]
fn shortly_after_boot_a_refusal_is_tried_again() {
    let denied = |times| vec![("parameter", aws_error("AccessDeniedException", false)); times];
    let mut state = State { aws_says: denied(3), grows_older: true, ..State::fresh() };
    state.files.insert("/proc/uptime".to_owned(), "42.17 80.01\n".to_owned());
    let world = World::new(state.clone());
    assert!(world.run(&settings()).is_ok());
    assert_eq!((world.state().count("parameter"), world.state().paused), (4, Duration::from_secs(7)));

    state.files.insert("/proc/uptime".to_owned(), "290.17 80.01\n".to_owned());
    state.aws_says = denied(30);
    let (ended, _) = fails(state.clone(), &settings(), Reason::ActivationUnreadable, &[]);
    assert_eq!(ended.count("parameter"), 5, "the boot is over");

    // The network is there only when the boot is over.
    state.aws_says = vec![("identity", aws_error("ImdsUnavailable", true)); 5];
    state.aws_says.extend(denied(30));
    let waiting = Settings { wait_for_network: true, ..settings() };
    let (ended, _) = fails(state, &waiting, Reason::ActivationUnreadable, &[]);
    assert_eq!(ended.count("parameter"), 1, "the boot was over when it was refused");
}

#[test]
fn what_was_refused_until_the_time_was_up_is_a_refusal() {
    let refused = |operation, code: &str| {
        let aws_says = vec![(operation, aws_error(code, false)); 99];
        State { aws_says, time_limit: Some(Duration::from_mins(1)), ..State::fresh() }.up(42, 10)
    };
    let time = "until the time that --timeout allows was up";
    let waiting = Settings { wait_for_network: true, ..settings() };
    let silent = State { aws_says: vec![("identity", aws_error("ImdsUnavailable", true)); 999], ..State::fresh() };
    fails(silent, &waiting, Reason::NotEc2, &["ImdsUnavailable", "IMDSv2", time]);
    let busy = State { aws_says: vec![("identity", aws_error("ImdsRefused", true)); 999], ..State::fresh() };
    fails(busy, &settings(), Reason::NotEc2, &["ImdsRefused", "IMDSv2", "--timeout"]);
    let state = refused("parameter", "AccessDeniedException");
    fails(state, &settings(), Reason::ActivationUnreadable, &["needs ssm:GetParameter", time]);
    fails(refused("parameter", "NoCredentials"), &settings(), Reason::ActivationUnreadable, &["TagHubInstance", time]);
    let state = refused("write_tag", "UnauthorizedOperation");
    let (state, failure) = fails(state, &settings(), Reason::TagNotWritten, &["ec2:CreateTags", FIRST_NODE, time]);
    assert_eq!((failure.node, state.nodes_made), (FIRST_NODE.parse().ok(), 1));
    assert!(state.paused >= Duration::from_mins(1) && state.count("write_tag") > 5, "it might have passed");
    // Whether AWS takes the time of the machine is known at once.
    let state = State { aws_says: vec![("write_tag", aws_error("RequestExpired", false)); 9], ..State::fresh() };
    fails(state, &settings(), Reason::Clock, &["the time of this machine"]);
}

#[test]
fn the_network_may_come_late() {
    let unreachable =
        |times| State { aws_says: vec![("parameter", aws_error("DispatchFailure", true)); times], ..State::fresh() };
    assert!(World::new(unreachable(20)).run(&settings()).is_ok());
    let busy = State { aws_says: vec![("parameter", aws_error("ThrottlingException", true)); 12], ..State::fresh() };
    assert!(World::new(busy).run(&settings()).is_ok());
    let state = State { time_limit: Some(Duration::from_mins(2)), ..unreachable(1000) };
    let (state, _) = fails(state, &settings(), Reason::Network, &["--timeout", "DispatchFailure"]);
    is_untouched(&state);
    assert!(state.paused < Duration::from_mins(3), "{:?}", state.paused);
}

#[test]
fn not_on_ec2() {
    let state = State { aws_says: vec![("identity", aws_error("ImdsUnavailable", true)); 9], ..State::fresh() };
    let (state, _) = fails(state, &settings(), Reason::NotEc2, &["IMDSv2"]);
    is_untouched(&state);
    assert_eq!(state.count("identity"), 5);
    // At boot it may come up late.
    let late = State { aws_says: vec![("identity", aws_error("ImdsUnavailable", true)); 15], ..State::fresh() };
    assert!(World::new(late).run(&Settings { wait_for_network: true, ..settings() }).is_ok());
    let html = State { aws_says: vec![("identity", aws_error("BadDocument", false))], ..State::fresh() };
    let (state, _) = fails(html, &settings(), Reason::NotEc2, &["BadDocument"]);
    assert_eq!(state.count("identity"), 1, "what answers nonsense is not asked again");
}

#[test]
fn refused_before_aws_is_asked() {
    let cases = [
        (State { is_not_root: true, ..State::fresh() }, Reason::NotRoot, "as root"),
        (State { is_locked: true, ..State::fresh() }, Reason::Locked, "(process 7)"),
        (State { programs: vec!["systemctl"], ..State::fresh() }, Reason::AgentMissing, "not installed"),
        (State { programs: vec!["amazon-ssm-agent"], ..State::fresh() }, Reason::AgentMissing, "systemctl"),
    ];
    for (state, reason, words) in cases {
        let (state, _) = fails(state, &settings(), reason, &[words]);
        assert_eq!(state.count("identity"), 0);
        is_untouched(&state);
    }
}

#[test]
fn a_renewed_activation_is_tried_once() {
    for cause in ["ActivationExpired: over", "RegistrationLimitExceeded: 1000", "InvalidActivation: "] {
        let renewed = activation(&[("ActivationCode", RENEWED_CODE)]);
        let world = World::new(State { renewed: Some(renewed), ..refusing(&[cause]) });
        assert!(world.run(&settings()).is_ok(), "{cause}");
        let state = world.state();
        assert_eq!((state.count("parameter"), state.count("amazon-ssm-agent"), state.nodes_made), (2, 2, 1), "{cause}");
    }
}

#[test]
fn an_activation_that_is_not_renewed_is_not_tried_again() {
    for (cause, reason, words) in [
        ("ActivationExpired: over", Reason::ActivationExpired, "expired"),
        ("RegistrationLimitExceeded: 1000", Reason::ActivationExhausted, "no registrations left"),
        ("InvalidActivation: ", Reason::ActivationWrong, "does not know the activation"),
        ("InvalidPublicKey: ", Reason::RegistrationFailed, "InvalidPublicKey"),
    ] {
        let (state, _) = fails(refusing(&[cause; 5]), &settings(), reason, &[words]);
        assert_eq!(state.count("amazon-ssm-agent"), 1, "{cause}");
        assert!(state.is_agent_running && state.tag.is_none(), "{cause}");
    }
    let renewed = activation(&[("ActivationCode", RENEWED_CODE)]);
    let state = State { renewed: Some(renewed), ..refusing(&["ActivationExpired: over"; 5]) };
    let (state, _) = fails(state, &settings(), Reason::ActivationExpired, &[]);
    assert_eq!(state.count("amazon-ssm-agent"), 2, "once is enough");
}

#[test]
fn a_registration_that_may_succeed_later_is_tried_until_the_time_is_up() {
    for cause in [
        "RequestError: send request failed",
        "ThrottlingException: Rate exceeded",
        "Throttling",
        "503 Service Unavailable",
        "SomethingNew: nobody knows this yet",
    ] {
        let world = World::new(refusing(&[cause; 7]));
        assert_eq!(world.run(&settings()).unwrap().done, Done::Registered(FIRST_NODE.parse().unwrap()), "{cause}");
        assert_eq!(world.state().count("amazon-ssm-agent"), 8, "{cause}");
    }
    for (cause, reason) in [("dial tcp: i/o timeout", Reason::Network), ("SomethingNew", Reason::RegistrationFailed)] {
        let words = [cause, "--timeout", "tries"];
        let (state, _) = fails(refusing(&[cause; 99]), &settings(), reason, &words);
        assert!(state.paused >= Duration::from_mins(5) && state.count("amazon-ssm-agent") > 15, "{:?}", state.paused);
        assert_eq!(state.count("systemctl stop"), state.count("systemctl start"));
    }
}

#[test]
fn what_the_agent_prints_is_shown_without_the_code() {
    let said = format!("Request {{\"ActivationCode\":\"{CODE}\"}} InvalidPublicKey");
    let (state, failure) = fails(refusing(&[&said]), &settings(), Reason::RegistrationFailed, &["ActivationCode"]);
    assert!(failure.message.contains("***") && state.said.contains("***"), "{failure}");
}

#[test]
fn a_tag_that_is_denied_is_repaired_by_the_next_run() {
    let full = State { aws_says: vec![("write_tag", aws_error("TagLimitExceeded", false))], ..State::fresh() };
    let (_, failure) = fails(full, &settings(), Reason::TagNotWritten, &["50 tags", "remove one"]);
    assert!(!failure.message.contains("profile") && !failure.message.contains("ec2:CreateTags failed"), "{failure}");
    let state = State { aws_says: vec![("write_tag", aws_error("UnauthorizedOperation", false))], ..State::fresh() };
    let (state, failure) = fails(state, &settings(), Reason::TagNotWritten, &["ec2:CreateTags", FIRST_NODE]);
    assert_eq!((failure.node, state.nodes_made), (Some(FIRST_NODE.parse().unwrap()), 1));
    let world = World::new(state);
    assert_eq!(world.run(&settings()).unwrap().done, Done::TagWritten(FIRST_NODE.parse().unwrap()));
    assert_eq!((world.state().nodes_made, world.state().tag.as_deref()), (1, Some(FIRST_NODE)));
}

#[test]
fn what_is_known_of_a_failure_is_in_its_line() {
    let line = |state: State, settings: &Settings| -> Value {
        serde_json::from_str(&json(&World::new(state).run(settings))).unwrap()
    };
    let denied = |state| State { aws_says: vec![("write_tag", aws_error("UnauthorizedOperation", false))], ..state };
    let found = line(denied(State { enabled: "disabled".to_owned(), ..State::fresh() }), &settings());
    let instance =
        ["ec2InstanceId", "account", "region", "hubRegion"].map(|name| found[name].as_str().unwrap_or("none"));
    assert_eq!(instance, [INSTANCE, ACCOUNT, "us-west-2", "us-east-1"], "{found}");
    assert_eq!((&found["managedInstanceId"], &found["inUse"]), (&FIRST_NODE.into(), &"proven".into()), "{found}");
    assert!(found["notes"].to_string().contains("was disabled; it is enabled now"), "{found}");
    // Nothing is said that is not so.
    let nowhere =
        line(State { aws_says: vec![("identity", aws_error("BadDocument", false))], ..State::fresh() }, &settings());
    let fields: BTreeSet<&str> = nowhere.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, BTreeSet::from(["exitCode", "message", "outcome", "reason"]));
    let foreign = line(State::registered_in("eu-west-1"), &settings());
    assert_eq!((&foreign["hubRegion"], &foreign["managedInstanceId"]), (&"us-east-1".into(), &NODE.into()));
    assert!(foreign.get("inUse").is_none() && foreign.get("replacedInstanceId").is_none(), "{foreign}");
    // The old registration is gone, and the new one is not tagged.
    let replace = Settings { repair: Repair::Replace, ..settings() };
    let replaced = line(denied(State::registered_in("eu-west-1")), &replace);
    assert_eq!((&replaced["replacedInstanceId"], &replaced["managedInstanceId"]), (&NODE.into(), &FIRST_NODE.into()));
    // It was put back.
    let refused =
        State { agent_says: vec!["RegistrationLimitExceeded".to_owned(); 3], ..State::registered_in("eu-west-1") };
    let put_back = line(refused, &replace);
    assert!(put_back["exitCode"] == 8 && put_back.get("replacedInstanceId").is_none(), "{put_back}");
}

#[test]
fn the_pair_of_the_write_up() {
    let mut state = State::fresh();
    state.parameters = [
        ("ActivationID".to_owned(), "bcf6faa8-83fd-419e-9534-96ad14131eb7".to_owned()),
        ("ActivationCode".to_owned(), CODE.to_owned()),
    ]
    .into();
    let region_of = |settings: &Settings| World::new(state.clone()).run(settings).unwrap().hub_region.unwrap();
    assert_eq!(region_of(&pair()).as_str(), "us-west-2", "the instance's own, as in the write-up");
    assert_eq!(region_of(&Settings { region: Some("us-east-1".parse().unwrap()), ..pair() }).as_str(), "us-east-1");
    is_untouched(&fails(State::fresh(), &pair(), Reason::ActivationUnreadable, &["no parameter ActivationCode"]).0);
}

#[test]
fn a_dry_run_changes_nothing() {
    let dry = Settings { dry_run: true, ..settings() };
    let stopped_by_a_run_before = State { is_agent_running: false, ..State::fresh() };
    for (state, expected) in [
        (State::fresh(), Done::WouldRegister),
        (stopped_by_a_run_before, Done::WouldRegister),
        (State::registered(), Done::WouldWriteTag(NODE.parse().unwrap())),
    ] {
        let world = World::new(state);
        assert_eq!(world.run(&dry).unwrap().done, expected);
        is_untouched(&world.state());
        assert_eq!(world.state().count("lock"), 0);
    }
    let mut expired = State::fresh();
    expired.parameters.insert(PARAMETER.to_owned(), activation(&[("ExpirationDate", "2026-01-01T00:00:00Z")]));
    is_untouched(&fails(expired, &dry, Reason::ActivationExpired, &[]).0);
}
