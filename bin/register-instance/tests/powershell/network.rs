//! Metadata, AWS and the network, late, refusing or talking nonsense: the cases of `tests/run/network.rs` and
//! `outcomes.rs`, as far as they apply.

use crate::cases::{READ, TAG, ends, is_untouched, trouble};
use crate::machine::{Answer, BEGIN, Machine};

#[test]
fn a_parameter_that_cannot_be_read() {
    let bare = Machine { parameters: [].into(), ..Machine::fresh() };
    is_untouched(&ends(bare, &[], 6, &["cannot read parameter /tag-hub/activation", "ParameterNotFound", "us-west-2"]));
    let denied = Machine { aws_says: trouble(READ, "AccessDeniedException", 1), ..Machine::fresh() };
    let machine = ends(denied, &[], 6, &["AccessDeniedException"]);
    assert_eq!(machine.count(READ), 1, "a refusal stays a refusal");
    is_untouched(&machine);
    for answer in [
        Answer::Status(404),
        Answer::Text(String::new()),
        Answer::Text("<html>".to_owned()),
        Answer::Text("../x".to_owned()),
        Answer::Redirect,
    ] {
        let profile = Machine { imds: vec![("security-credentials", answer, 99)], ..Machine::fresh() };
        let machine = ends(profile, &[], 6, &["TagHubInstance"]);
        is_untouched(&machine);
        assert_eq!(machine.count(READ), 0);
    }
    for keys in [r#"{"Code":"Failed"}"#, "", "<html>", "[]", r#"{"AccessKeyId":7,"SecretAccessKey":"s","Token":"t"}"#] {
        let profile = Machine { imds: vec![("TagHubInstance", Answer::Text(keys.to_owned()), 99)], ..Machine::fresh() };
        is_untouched(&ends(profile, &[], 6, &["credentials"]));
    }
    let role = r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"x"}"#;
    let role = Machine { imds: vec![("TagHubInstance", Answer::Text(role.to_owned()), 99)], ..Machine::fresh() };
    let machine = ends(role, &[], 6, &["trust policy"]);
    assert!(!machine.said.contains("Attach the"), "{}", machine.said);
}

#[test]
fn shortly_after_boot_a_refusal_is_tried_again() {
    let booted = |ago: i64, times| Machine {
        boot: BEGIN - ago * 1000,
        aws_says: trouble(READ, "AccessDeniedException", times),
        ..Machine::fresh()
    };
    let machine = ends(booted(42, 3), &[], 0, &[]);
    assert_eq!(machine.count(READ), 4);
    let machine = ends(booted(290, 30), &[], 6, &[]);
    assert_eq!(machine.count(READ), 5, "the boot is over");
}

#[test]
fn the_network_may_come_late() {
    for code in ["", "ThrottlingException", "InternalServerError", "RequestLimitExceeded"] {
        let machine =
            Machine { aws_says: [trouble(READ, code, 12), trouble(TAG, code, 5)].concat(), ..Machine::fresh() };
        let machine = ends(machine, &[("TimeoutSeconds", "600")], 0, &[]);
        assert_eq!((machine.count(READ), machine.count(TAG)), (13, 6), "{code}");
        let never = Machine { aws_says: trouble(READ, code, 999), ..Machine::fresh() };
        let machine = ends(never, &[("TimeoutSeconds", "120")], 15, &["within 120 seconds", "Run this again"]);
        is_untouched(&machine);
        assert!((120_000..140_000).contains(&(machine.now - BEGIN)), "{}", machine.now - BEGIN);
        let untagged = Machine { aws_says: trouble(TAG, code, 999), ..Machine::fresh() };
        ends(untagged, &[], 15, &["registered as", "could not be written"]);
    }
    let mut server = trouble(READ, "SomethingNew", 3);
    for (_, trouble) in &mut server {
        trouble.status = 503;
    }
    ends(Machine { aws_says: server, ..Machine::fresh() }, &[], 0, &[]);
    // An instance that was just launched is not known to every part of EC2 at once.
    ends(Machine { aws_says: trouble(TAG, "InvalidInstanceID.NotFound", 3), ..Machine::fresh() }, &[], 0, &[]);
    // What is no matter of the network is told at once.
    ends(Machine { aws_says: trouble(READ, "ValidationException", 3), ..Machine::fresh() }, &[], 6, &[]);
}

#[test]
fn not_on_ec2() {
    let silent = Machine { imds: vec![("", Answer::Nothing, 999)], ..Machine::fresh() };
    let machine = ends(silent, &[], 4, &["IMDSv2"]);
    is_untouched(&machine);
    assert_eq!(machine.count("metadata"), 5);
    ends(Machine { imds: vec![("api/token", Answer::Nothing, 3)], ..Machine::fresh() }, &[], 0, &[]);
    for status in [403, 404] {
        let machine =
            ends(Machine { imds: vec![("api/token", Answer::Status(status), 9)], ..Machine::fresh() }, &[], 4, &[]);
        assert_eq!(machine.count("metadata"), 1, "what it refuses it refuses");
    }
    let huge = "x".repeat(1_000_000);
    for text in [
        "<html><body>Please log in</body></html>",
        "",
        "[]",
        "null",
        &huge,
        r#"{"accountId":"222222222222","region":"us-west-2","inst"#,
        r#"{"accountId":"222222222222","region":"us-west-2","instanceId":"i-0123/../../x"}"#,
        r#"{"accountId":222222222222,"region":"us-west-2","instanceId":"i-0123456789abcdef0"}"#,
        r#"{"accountId":"222222222222","region":"evil.example.com/","instanceId":"i-0123456789abcdef0"}"#,
        r#"{"accountId":"222222222222","region":"us-west-2","instanceId":"i-0123456789abcdef0\n"}"#,
        r#"{"accountId":"222222222222","region":"us-west-2"}"#,
    ] {
        let machine =
            Machine { imds: vec![("identity/document", Answer::Text(text.to_owned()), 99)], ..Machine::fresh() };
        let machine = ends(machine, &[], 4, &["no identity document"]);
        is_untouched(&machine);
        assert!(machine.said.len() < 1000 && machine.count(READ) == 0, "it is not repeated");
    }
    // A portal answers everything alike, and what it answers is no header.
    for text in ["<html>", "<html>\n</html>\n"] {
        ends(Machine { imds: vec![("", Answer::Text(text.to_owned()), 999)], ..Machine::fresh() }, &[], 4, &[]);
    }
}

#[test]
fn a_metadata_service_that_is_late_is_waited_for() {
    for (part, code) in [("identity/document", 4), ("security-credentials", 15), ("TagHubInstance", 15)] {
        ends(Machine { imds: vec![(part, Answer::Status(503), 6)], ..Machine::fresh() }, &[], 0, &[]);
        let never = Machine { imds: vec![(part, Answer::Status(503), 999)], ..Machine::fresh() };
        let machine = ends(never, &[("TimeoutSeconds", "60")], code, &["metadata service"]);
        is_untouched(&machine);
        assert!(machine.now - BEGIN >= 60_000, "{}", machine.now - BEGIN);
    }
}

#[test]
fn a_redirect_of_the_metadata_service_is_not_followed() {
    for (part, code) in [("api/token", 4), ("identity/document", 4), ("security-credentials", 6)] {
        let machine = ends(Machine { imds: vec![(part, Answer::Redirect, 999)], ..Machine::fresh() }, &[], code, &[]);
        assert_eq!(machine.followed, 0, "{part}");
    }
}
