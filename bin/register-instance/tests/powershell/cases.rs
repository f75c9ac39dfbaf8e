//! Whole runs, each with its outcome: the cases of `tests/run/outcomes.rs`, as far as they apply.

use serde_json::{Value as Json, json};

use crate::machine::{
    AGENT, AwsTrouble, BEGIN, CODE, FIRST_NODE, FOLDER, INSTANCE, MARKER, Machine, NODE, PARAMETER, RENEWED_CODE, Ran,
    SOMEBODY, activation,
};
use crate::run::{Done, run};

/// Fails unless the script ends with this code, and says these words.
pub(crate) fn ends(machine: Machine, arguments: &[(&str, &str)], code: i64, words: &[&str]) -> Machine {
    let Done { machine, code: found } = run(machine, arguments);
    assert_eq!(found, Some(code), "{}\n{:#?}", machine.said, machine.calls);
    for word in words {
        assert!(machine.said.contains(word), "no {word:?} in:\n{}", machine.said);
    }
    machine
}

/// Neither the agent nor the note nor the tag has changed.
pub(crate) fn is_untouched(machine: &Machine) {
    let changes = ["stop", "start", "register", "write", "move", "set service", "new-ec2tag"];
    let made: Vec<_> =
        machine.calls.iter().filter(|call| changes.iter().any(|change| call.starts_with(change))).collect();
    assert!(made.is_empty(), "{made:?}\n{}", machine.said);
}

pub(crate) fn says(words: &str) -> Ran {
    let out = format!("ERROR Registration failed due to error registering the instance with AWS SSM. {words}");
    Ran { code: 1, out, ..Ran::default() }
}

pub(crate) fn refusing(words: &[&str]) -> Machine {
    Machine { agent_does: words.iter().map(|words| says(words)).collect(), ..Machine::fresh() }
}

pub(crate) fn trouble(operation: &'static str, code: &'static str, times: usize) -> Vec<(&'static str, AwsTrouble)> {
    vec![(operation, AwsTrouble { code, message: "no", status: 400 }); times]
}

fn with_activation(changes: &[(&str, Json)]) -> Machine {
    Machine { parameters: [(PARAMETER.to_owned(), activation(changes))].into(), ..Machine::fresh() }
}

pub(crate) const READ: &str = "get-ssmparameter";
pub(crate) const TAG: &str = "new-ec2tag";

#[test]
fn a_fresh_instance_is_registered_and_tagged() {
    let machine = ends(Machine::fresh(), &[], 0, &["is now registered as", FIRST_NODE]);
    assert_eq!(machine.tag.as_deref(), Some(FIRST_NODE));
    assert_eq!(machine.marker(), Some((FIRST_NODE.to_owned(), INSTANCE.to_owned())));
    let note: Json = serde_json::from_str(&machine.text(MARKER)).unwrap();
    assert_eq!((&note["hubAccount"], &note["hubRegion"]), (&json!("111111111111"), &json!("us-east-1")));
    let calls: Vec<&str> = machine
        .calls
        .iter()
        .map(String::as_str)
        .filter(|call| !call.starts_with("metadata meta-data") && *call != "metadata api/token")
        .collect();
    insta::assert_snapshot!(calls.join("\n"), @r"
    make C:\ProgramData\TagHub
    protect C:\ProgramData\TagHub
    lock
    ask Win32_Service
    metadata dynamic/instance-identity/document
    ask the agent
    get-ssmparameter
    write C:\ProgramData\TagHub\agent-stopped
    stop
    register
    read C:\ProgramData\Amazon\SSM\InstanceData\Vault\Store\RegistrationKey
    read C:\ProgramData\Amazon\SSM\InstanceData\registration
    start
    remove C:\ProgramData\TagHub\agent-stopped
    write C:\ProgramData\TagHub\registration.json.new
    move C:\ProgramData\TagHub\registration.json
    ask Win32_Service
    ask Win32_Service
    read C:\ProgramData\Amazon\SSM\runtimeconfig\identity_config.json
    read C:\ProgramData\Amazon\SSM\Logs\amazon-ssm-agent.log
    ask the agent
    new-ec2tag
    ");
    let (arguments, variables) = machine.registered_with.unwrap();
    let expected = format!("-register -code \"{CODE}\" -id bcf6faa8-83fd-419e-9534-96ad14131eb7 -region us-east-1");
    assert_eq!(arguments, expected);
    assert!(!variables.contains_key("AWS_ACCESS_KEY_ID"), "the variables of the shell: {variables:?}");
}

#[test]
fn a_registered_instance_is_left_alone_and_tagged() {
    let machine = ends(Machine::registered(), &[], 0, &["was registered as", NODE]);
    assert_eq!((machine.tag.as_deref(), machine.count("stop"), machine.count("start")), (Some(NODE), 0, 0));
    assert_eq!(machine.marker(), Some((NODE.to_owned(), INSTANCE.to_owned())), "a clone of it will be recognised");
    // No account is claimed for a node that was registered by other means.
    let note: Json = serde_json::from_str(&machine.text(MARKER)).unwrap();
    assert_eq!((&note["hubRegion"], note.get("hubAccount")), (&json!("us-east-1"), None));
    ends(machine, &[("HubAccount", "111111111111")], 0, &["nothing here says that it is in account 111111111111"]);
}

#[test]
fn a_registered_instance_needs_no_activation() {
    let registered = ends(Machine::fresh(), &[], 0, &[]);
    let bare = Machine { parameters: [].into(), tag: None, ..registered.clone() };
    let denied = Machine { aws_says: trouble(READ, "AccessDeniedException", 1), tag: None, ..registered };
    for machine in [bare, denied] {
        assert_eq!(ends(machine, &[], 0, &[]).tag.as_deref(), Some(FIRST_NODE));
    }
    // One that was registered by other means may be another hub's node.
    let unknown = Machine { parameters: [].into(), ..Machine::registered() };
    is_untouched(&ends(unknown.clone(), &[], 6, &["nothing says whether that is the hub's", "-Region"]));
    assert_eq!(ends(unknown, &[("Region", "us-east-1")], 0, &[]).tag.as_deref(), Some(NODE));
    let mut other = Machine::registered();
    other.parameters.insert(PARAMETER.to_owned(), activation(&[("Account", "333333333333".into())]));
    is_untouched(&ends(other, &[], 9, &["nothing says whether that is the hub's"]));
    // What keeps the parameter from being read for a while is no answer.
    let busy = Machine { aws_says: trouble(READ, "ThrottlingException", 999), ..Machine::marked(INSTANCE) };
    is_untouched(&ends(busy, &[], 15, &["ThrottlingException"]));
}

#[test]
fn a_hub_in_another_account_is_told_apart() {
    let registered = Machine { tag: None, ..ends(Machine::fresh(), &[], 0, &[]) };
    ends(registered.clone(), &[("HubAccount", "111111111111")], 0, &[]);
    for arguments in [&[("HubAccount", "999999999999")][..], &[("HubAccount", "999999999999"), ("Region", "us-east-1")]]
    {
        let machine = ends(registered.clone(), arguments, 9, &["-HubAccount asks for 999999999999"]);
        assert_eq!(machine.tag, None);
    }
    let mut other = registered.clone();
    other.parameters.insert(PARAMETER.to_owned(), activation(&[("HubAccount", "999999999999".into())]));
    ends(other.clone(), &[("HubAccount", "111111111111")], 9, &["registers in account 999999999999"]);
    assert_eq!(ends(other, &[], 18, &["of account 999999999999"]).tag, None);
    // The note alone says it.
    let bare = Machine { parameters: [].into(), ..registered.clone() };
    ends(bare, &[("HubAccount", "111111111111")], 0, &[]);
    // One that an older hub wrote: the remedy works.
    let mut older = Machine::registered();
    older.parameters.insert(PARAMETER.to_owned(), activation(&[("HubAccount", Json::Null)]));
    let words = ["leave -HubAccount out, and name the hub's Region with -Region"];
    is_untouched(&ends(older.clone(), &[("HubAccount", "111111111111")], 9, &words));
    ends(older, &[("Region", "us-east-1")], 0, &[]);
}

#[test]
fn a_clone_is_told_how_to_become_itself() {
    let words = [NODE, "i-0fedcba9876543210", INSTANCE, "-register -clear", "Nothing was changed"];
    let machine = ends(Machine::marked("i-0fedcba9876543210"), &[], 12, &words);
    is_untouched(&machine);
    // What the message says.
    let mut cleared = machine;
    for path in [crate::machine::NOTED, MARKER] {
        cleared.remove(path);
    }
    cleared.put(crate::machine::VAULT, r#"{"instanceID":"","region":"","privateKey":""}"#);
    (cleared.identity, cleared.agent_started) = (None, Some(BEGIN));
    let machine = ends(cleared, &[], 0, &["is now registered as"]);
    assert_eq!(machine.marker(), Some((FIRST_NODE.to_owned(), INSTANCE.to_owned())));
    // A note that cannot be read may be that of the original.
    let mut held = Machine::marked("i-0fedcba9876543210");
    held.file_mut(MARKER).problem = Some("The process cannot access the file");
    is_untouched(&ends(held, &[], 1, &["cannot read", "registration.json"]));
    // One that is no note is none.
    for contents in ["", "{", "<html>", "[]", "null", r#"{"managedInstanceId":"mi-0000"#] {
        let mut half = Machine::marked(INSTANCE);
        half.put(MARKER, contents);
        assert_eq!(ends(half, &[], 0, &[]).marker(), Some((NODE.to_owned(), INSTANCE.to_owned())));
    }
}

#[test]
fn an_activation_that_is_not_for_this_instance_is_refused_before_anything_is_done() {
    for (field, value, code, words) in [
        ("Account", "333333333333", 9, "made for account 333333333333"),
        ("ExpirationDate", "2026-11-22T02:00:00Z", 7, "expired"),
        ("ExpirationDate", "2026-11-22T03:59:00+02:00", 7, "expired"),
    ] {
        is_untouched(&ends(with_activation(&[(field, value.into())]), &[], code, &[words]));
    }
    let words = ["is for Region us-east-1, and -Region asks for eu-west-1", "Nothing was changed"];
    is_untouched(&ends(Machine::fresh(), &[("Region", "eu-west-1")], 9, &words));
    let words = ["registers in account 111111111111, and -HubAccount asks for 444444444444", "Nothing was changed"];
    is_untouched(&ends(Machine::fresh(), &[("HubAccount", "444444444444")], 9, &words));
    is_untouched(&ends(
        with_activation(&[("HubAccount", Json::Null)]),
        &[("HubAccount", "111111111111")],
        9,
        &["does not say in which account"],
    ));
    ends(Machine::fresh(), &[("Region", "us-east-1"), ("HubAccount", "111111111111")], 0, &[]);
    ends(with_activation(&[("HubAccount", Json::Null)]), &[], 0, &[]);
}

#[test]
fn a_parameter_that_holds_no_activation() {
    let mut texts: Vec<String> =
        ["", "not json", "[]", "null", "{}", "7", "\"x\"", "<html>", "{\"ActivationId\":\"bcf6"]
            .map(str::to_owned)
            .to_vec();
    for field in ["ActivationId", "ActivationCode", "Region", "ExpirationDate", "Account"] {
        for value in [Json::Null, json!(""), json!(7), json!([]), json!("<html>")] {
            texts.push(activation(&[(field, value)]));
        }
    }
    for (field, value) in [
        ("ActivationCode", "short"),
        ("ActivationCode", "has a blank in it and is long"),
        ("ActivationCode", "has\"a\"quote\"in\"it\"and"),
        ("ActivationId", "bcf6faa8-83fd-419e-9534-96ad14131eb7\n"),
        ("ExpirationDate", "tomorrow"),
        ("ExpirationDate", "12/01/2026"),
        ("ActivationId", "BCF6FAA8-83fd-419e-9534-96ad14131eb7"),
        // What follows would be words of the agent's command line.
        ("Region", "us-east-1 -y"),
        ("Region", "us-east-1\n"),
        ("Region", "US-EAST-1"),
        ("Account", "22222222222"),
        ("HubAccount", "1"),
    ] {
        texts.push(activation(&[(field, value.into())]));
    }
    for text in texts {
        let machine = Machine { parameters: [(PARAMETER.to_owned(), text.clone())].into(), ..Machine::fresh() };
        let machine = ends(machine, &[], 6, &["there is no activation in parameter /tag-hub/activation"]);
        is_untouched(&machine);
        assert!(!machine.said.contains("a blank in it") && !machine.said.contains("html"), "{}", machine.said);
    }
}

#[test]
fn refused_before_aws_is_asked() {
    let mut no_agent = Machine::fresh();
    no_agent.remove(AGENT);
    for (machine, code, words) in [
        (Machine { is_administrator: false, ..Machine::fresh() }, 3, "administrator"),
        (Machine { is_locked: true, ..Machine::fresh() }, 14, "another run"),
        (no_agent, 5, "not installed"),
        (Machine { service: None, ..Machine::fresh() }, 5, "no service AmazonSSMAgent"),
        (Machine { start_mode: "Disabled", ..Machine::fresh() }, 5, "Set-Service"),
        (Machine { lacks_tools: true, ..Machine::fresh() }, 5, "New-AWSCredential"),
    ] {
        let machine = ends(machine, &[], code, &[words]);
        assert_eq!(machine.count("metadata"), 0);
        is_untouched(&machine);
    }
    for arguments in [
        &[("Region", "US-EAST-1")][..],
        &[("Region", "us-east-1 -y")],
        &[("HubAccount", "1")],
        &[("TimeoutSeconds", "5")],
        &[("ActivationIdParameter", "x")],
        &[("HubAccount", "111111111111"), ("ActivationIdParameter", "x"), ("ActivationCodeParameter", "y")],
        &[("Parameter", "x"), ("ActivationIdParameter", "x"), ("ActivationCodeParameter", "y")],
    ] {
        assert!(ends(Machine::fresh(), arguments, 1, &[]).calls.is_empty(), "{arguments:?}");
    }
}

/// What is wrong with a machine.
type Spoil = fn(&mut Machine);

#[test]
fn the_folder_is_the_administrators_alone() {
    let machine = ends(Machine::fresh(), &[], 0, &[]);
    assert_eq!(machine.calls[..3], [format!("make {FOLDER}"), format!("protect {FOLDER}"), "lock".to_owned()]);
    let spoils: [(Spoil, &str); 4] = [
        (|machine| machine.file_mut(FOLDER).owner = SOMEBODY.to_owned(), "belongs to S-1-5-21-1-2-3-1001"),
        (|machine| machine.file_mut(FOLDER).is_link = true, "is a link"),
        (|machine| machine.file_mut(FOLDER).is_folder = false, "is not a folder"),
        (
            |machine| {
                machine.remove(FOLDER);
                machine.has_intruder = true;
            },
            "something was put into",
        ),
    ];
    for (spoil, words) in spoils {
        let mut machine = Machine::fresh();
        machine.protected_folder();
        spoil(&mut machine);
        let machine = ends(machine, &[], 1, &[words]);
        assert_eq!(machine.count("lock"), 0);
        is_untouched(&machine);
    }
}

#[test]
fn a_renewed_activation_is_tried_once() {
    let renewed = activation(&[("ActivationCode", RENEWED_CODE.into())]);
    for cause in ["ActivationExpired: over", "RegistrationLimitExceeded: 1000", "InvalidActivation: "] {
        let machine = ends(Machine { renewed: Some(renewed.clone()), ..refusing(&[cause]) }, &[], 0, &[]);
        assert_eq!((machine.count(READ), machine.count("register"), machine.nodes_made), (2, 2, 1), "{cause}");
    }
    let machine = ends(Machine { renewed: Some(renewed), ..refusing(&["ActivationExpired: over"; 5]) }, &[], 7, &[]);
    assert_eq!(machine.count("register"), 2, "once is enough");
    // If it cannot be read again, the first failure is the one to know.
    let gone = Machine { renewed: Some("{}".to_owned()), ..refusing(&["RegistrationLimitExceeded"; 5]) };
    ends(gone, &[], 8, &["RegistrationLimitExceeded"]);
}

#[test]
fn an_activation_that_is_not_renewed_is_not_tried_again() {
    for (cause, code) in [
        ("ActivationExpired: over", 7),
        ("RegistrationLimitExceeded: 1000", 8),
        ("InvalidActivation: ", 9),
        ("InvalidActivationId: ", 9),
        ("InvalidPublicKey: ", 10),
        ("AccessDeniedException: no", 10),
        ("UnrecognizedClientException: The security token", 10),
        ("Unable to save registration information", 10),
        ("RequestError: send request failed\ncaused by: x509: certificate signed by unknown authority", 10),
        ("RequestError: send request failed\ncaused by: x509: certificate has expired or is not yet valid", 19),
    ] {
        let machine = ends(refusing(&[cause; 5]), &[], code, &[cause.trim()]);
        assert_eq!(machine.count("register"), 1, "{cause}");
        assert!(machine.is_running() && machine.tag.is_none(), "{cause}");
    }
}

#[test]
fn a_registration_that_may_succeed_later_is_tried_until_the_time_is_up() {
    for cause in [
        "RequestError: send request failed",
        "ThrottlingException: Rate exceeded",
        "Throttling",
        "503 Service Unavailable",
        "SomethingNew: nobody knows this yet",
        "throttl",
        "invalidactivation",
    ] {
        let machine = ends(refusing(&[cause; 7]), &[], 0, &[FIRST_NODE]);
        assert_eq!(machine.count("register"), 8, "{cause}");
    }
    for (cause, code) in
        [("dial tcp: i/o timeout", 15), ("Throttling", 15), ("status code: 503", 15), ("SomethingNew", 10)]
    {
        let machine = ends(refusing(&[cause; 99]), &[], code, &[cause, "300 seconds", "tries"]);
        assert!(machine.now - BEGIN >= 300_000 && machine.count("register") > 15, "{}", machine.now - BEGIN);
        assert_eq!(machine.count("stop"), machine.count("start"));
        assert!(machine.is_running() && machine.tag.is_none());
    }
}

#[test]
fn what_the_agent_prints_is_shown_without_the_code() {
    let said = format!("Request {{\"ActivationCode\":\"{CODE}\"}} InvalidPublicKey");
    ends(refusing(&[&said]), &[], 10, &["ActivationCode", "***"]);
}

#[test]
fn a_tag_that_is_denied_is_repaired_by_the_next_run() {
    let full = Machine { aws_says: trouble(TAG, "TagLimitExceeded", 1), ..Machine::fresh() };
    let machine = ends(full, &[], 13, &["50 tags", "remove one"]);
    assert!(!machine.said.contains("profile"), "{}", machine.said);
    let denied = Machine { aws_says: trouble(TAG, "UnauthorizedOperation", 1), ..Machine::fresh() };
    let machine = ends(denied, &[], 13, &["ec2:CreateTags", FIRST_NODE]);
    assert_eq!(machine.nodes_made, 1);
    let machine = ends(machine, &[], 0, &[]);
    assert_eq!((machine.nodes_made, machine.tag.as_deref()), (1, Some(FIRST_NODE)));
}

#[test]
fn a_clock_that_is_off_is_named() {
    for start in [Machine::fresh(), Machine::registered()] {
        for (code, message) in [
            ("InvalidSignatureException", "Signature expired: 20261122T020000Z is now earlier than 20261122T045500Z"),
            ("InvalidSignatureException", "Signature not yet current: 20261122T090000Z"),
            ("RequestExpired", "Request has expired."),
        ] {
            let trouble = AwsTrouble { code, message, status: 400 };
            let machine = Machine { aws_says: vec![(READ, trouble.clone())], ..start.clone() };
            let machine = ends(machine, &[], 19, &["the time of this machine", "w32tm"]);
            is_untouched(&machine);
            assert_eq!(machine.now, BEGIN);
            ends(Machine { aws_says: vec![(TAG, trouble)], ..start.clone() }, &[], 19, &["the time of this machine"]);
        }
    }
}

#[test]
fn the_pair_of_the_write_up() {
    let mut machine = Machine::fresh();
    machine.parameters = [
        ("ActivationID".to_owned(), " bcf6faa8-83fd-419e-9534-96ad14131eb7\n".to_owned()),
        ("ActivationCode".to_owned(), CODE.to_owned()),
    ]
    .into();
    let pair = [("ActivationIdParameter", "ActivationID"), ("ActivationCodeParameter", "ActivationCode")];
    let region_of = |more: &[(&str, &str)]| {
        let done = ends(machine.clone(), &[&pair[..], more].concat(), 0, &[]);
        done.registered_with.unwrap().0.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(region_of(&[]), "us-west-2", "the instance's own, as in the write-up");
    assert_eq!(region_of(&[("Region", "us-east-1")]), "us-east-1");
    is_untouched(&ends(Machine::fresh(), &pair, 6, &["cannot read parameter ActivationCode"]));
}

#[test]
fn a_dry_run_changes_nothing() {
    let dry = [("DryRun", "")];
    let mut stopped = Machine { service: Some("Stopped"), ..Machine::fresh() };
    stopped.protected_folder();
    stopped.put(crate::machine::STOPPED, "");
    for (machine, words) in [
        (Machine::fresh(), "would stop the agent"),
        (stopped, "would stop the agent"),
        (Machine::registered(), "would write the tag"),
    ] {
        let machine = ends(machine, &dry, 0, &[words]);
        is_untouched(&machine);
        assert!(machine.tag.is_none() && machine.count("lock") == 0 && machine.count("protect") == 0);
    }
    let expired = with_activation(&[("ExpirationDate", "2026-01-01T00:00:00Z".into())]);
    is_untouched(&ends(expired, &dry, 7, &[]));
    let unused = Machine { identity: None, ..Machine::registered() };
    let machine = ends(unused, &dry, 17, &["EC2 instance"]);
    assert_eq!(machine.now, BEGIN, "a dry run waits for nothing");
}
