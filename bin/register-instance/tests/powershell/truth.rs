//! What counts as proof that Systems Manager accepts the agent: the rows of the program's own tests of `verify` and
//! `agent_log`, and the cases of `tests/run/proof.rs`, as whole runs.

use std::thread;

use crate::cases::ends;
use crate::machine::{BEGIN, ERRORS, LOG, MISMATCH, Machine, NODE, READY, RUNTIME, START, stamped};

const RETRIEVE: &str = "ERROR [CredentialRefresher] Retrieve credentials produced error:";
const LOOP: &str = "INFO [CredentialRefresher] Starting credentials refresher loop";
const NOT_SHARED: &str = "INFO [CredentialRefresher] Identity does not want core agent to rotate credentials";
const UNREACHED: &str = "ERROR [CredentialRefresher] failed to refresh credentials: EOF";
const CONNECTED: &str = "INFO [ssm-agent-worker] [MessageService] [MGSInteractor] Set up control channel successfully";

/// Longer than an agent is given that has just started.
const SHORT: &[(&str, &str)] = &[("TimeoutSeconds", "60")];

/// A registered machine whose agent started so many seconds ago and has logged this since.
fn logged(ago: i64, lines: &[&str]) -> Machine {
    let start = BEGIN - ago * 1000;
    let text: String = lines.iter().map(|line| stamped(start, line)).collect();
    let mut machine = Machine { agent_started: Some(start), ..Machine::registered() };
    machine.put(LOG, &text);
    machine
}

/// How a run ends: `proven` at once, `unproven`, or the words of why it is not in use.
fn check(machine: Machine, expected: &str) {
    match expected {
        "proven" => {
            let machine = ends(machine, &[], 0, &[]);
            assert!(machine.now == BEGIN && !machine.said.contains("nothing here proves"), "{}", machine.said);
        }
        "unproven" => drop(ends(machine, SHORT, 0, &["nothing here proves"])),
        "clock" => drop(ends(machine, &[], 19, &["the time of this machine"])),
        words => assert_eq!(ends(machine, SHORT, 17, &[words]).tag, None),
    }
}

#[test]
fn the_last_word_of_the_log_counts() {
    let rotation = "INFO [CredentialRefresher] Next credential rotation will be in 29.9 minutes";
    let not_expired = "INFO [CredentialRefresher] Credentials exist and have not expired, sending ready message";
    let retrying = "INFO [CredentialRefresher] Sleeping for 27m before retrying retrieve credentials";
    let returned = "WARN [CredentialRefresher] Status code %!s(int=400) returned from AWS API. RequestId: x Message: ";
    let (refused, unasked, unreached) = ("Systems Manager refuses", "did not ask Systems Manager", "does not reach");
    let ec2 = format!("{RETRIEVE} no valid credentials could be retrieved for ec2 identity");
    let cases: &[(&[&str], &str)] = &[
        (&[], "unproven"),
        (&[START], "unproven"),
        (&[rotation], "unproven"),
        (&[START, READY], "proven"),
        (&[MISMATCH], refused),
        (&[MISMATCH, READY], "proven"),
        (&[READY, MISMATCH], refused),
        (&[READY, MISMATCH, retrying], refused),
        (&[MISMATCH, START, "INFO noise"], "unproven"),
        (&[START, NOT_SHARED, READY], "unproven"),
        (&[START, NOT_SHARED, READY, MISMATCH], refused),
        (&[START, READY, LOOP, rotation], unasked),
        (&[START, LOOP, READY, rotation], "proven"),
        (&[START, READY, LOOP, rotation, READY, rotation], "proven"),
        (&[START, not_expired, LOOP], unasked),
        (&[START, READY, LOOP, CONNECTED], "proven"),
        (&[START, NOT_SHARED, READY, CONNECTED], "proven"),
        (&[START, MISMATCH, CONNECTED], refused),
        (&[READY, retrying], unreached),
        (&[START, returned], unreached),
        (&[MISMATCH, returned, retrying], refused),
        (&[&ec2, retrying], "unproven"),
        (&[&ec2, returned, READY], "proven"),
    ];
    thread::scope(|scope| {
        for (lines, expected) in cases {
            scope.spawn(move || check(logged(1000, lines), expected));
        }
    });
}

#[test]
fn refusals_in_the_log_of_windows_are_told_from_others() {
    let (refused, unreached) = ("Systems Manager refuses", "does not reach");
    let denied = "AccessDeniedException: User: arn:aws:sts::1:assumed-role/x is not authorized to perform: logs:PutLogEvents (credential scope)";
    let cases = [
        ("ERROR Cannot connect to AWS Systems Manager.  The hardware ID (a) has changed from the registered value (b).".to_owned(), refused),
        ("ERROR Cannot connect to AWS Systems Manager.  Machine configuration has changed more than the allowed threshold.".to_owned(), refused),
        (format!("{RETRIEVE} AccessDeniedException: "), refused),
        // The error of AWS stands on the next line.
        (format!("{RETRIEVE} \n\tAccessDeniedException: no"), refused),
        (format!("{RETRIEVE} x is not authorized to perform: ssm:y"), refused),
        (format!("{RETRIEVE} The security token included in the request is invalid"), refused),
        (format!("{RETRIEVE} Instance mi-1 is not registered"), refused),
        (RETRIEVE.replace("error:", "unrecoverable aws error: AccessDeniedException: x"), refused),
        ("ERROR [HealthCheck] error when calling AWS APIs. error details - InvalidInstanceId: ".to_owned(), refused),
        ("ERROR [OnPremIdentity] InvalidInstanceId: ".to_owned(), refused),
        ("ERROR [TokenRequestService] MachineFingerprintDoesNotMatch".to_owned(), refused),
        ("ERROR error calling RequestManagedInstanceRoleToken: UnrecognizedClientException: ".to_owned(), refused),
        ("WARNING [CredentialRefresher] Retrieve credentials produced error: InvalidInstanceId".to_owned(), refused),
        (format!("{RETRIEVE} InvalidSignatureException: Signature expired: 2026 is now earlier than"), "clock"),
        (format!("{RETRIEVE} RequestError: x509: certificate has expired or is not yet valid"), "clock"),
        (format!("{RETRIEVE} RequestError: send request failed"), unreached),
        (RETRIEVE.replace("error:", "aws error: InternalServerError: x"), unreached),
        ("ERROR [CredentialRefresher] failed to refresh credentials: EOF".to_owned(), unreached),
        // Loose words are no identity, and a session of the node's own role has a good registration.
        ("ERROR [ssm-agent-worker] git clone failed: host key fingerprint does not match".to_owned(), "unproven"),
        ("WARN [ssm-agent-worker] health: docker registry AccessDenied".to_owned(), "unproven"),
        ("ERROR [ssm-agent-worker] s3 credential AccessDenied for role Backup".to_owned(), "unproven"),
        ("ERROR [ssm-agent-worker] the volume has changed from the registered value".to_owned(), "unproven"),
        ("WARN [ssm-document-worker] curl: certificate has expired or is not yet valid".to_owned(), "unproven"),
        ("ERROR [ssm-agent-worker] [HealthCheck] AccessDeniedException: User: arn:aws:sts::1:assumed-role/TagHubNode/mi-0123456789abcdef0 is not authorized".to_owned(), "unproven"),
        ("ERROR [EC2Identity] failed to get credentials: AccessDeniedException: not configured for account".to_owned(), "unproven"),
        ("ERROR [ssm-document-worker] failed to upload output to S3: AccessDenied: Access Denied".to_owned(), "unproven"),
        // What plugins print, and lines without a time.
        (format!("ERROR [ssm-session-worker] error uploading to CloudWatch: {denied}"), "unproven"),
        (format!("ERROR [ssm-agent-worker] [LongRunningPluginsManager] [aws:cloudWatch] {denied}"), "unproven"),
        (format!("INFO [ssm-document-worker] output:\n2026-11-22 ERROR {RETRIEVE} {denied}\nERROR [HealthCheck] {denied}\nCredentials ready"), "unproven"),
        (format!("INFO [ssm-agent-worker] it said:\n[HealthCheck] {denied}\nCredentials ready"), "unproven"),
        (format!("INFO [ssm-agent-worker] it said:\n{RETRIEVE} {denied}\nPluginName x"), "unproven"),
    ];
    thread::scope(|scope| {
        for (line, expected) in &cases {
            scope.spawn(move || {
                check(logged(1000, &[line]), expected);
                if *expected == "unproven" {
                    check(logged(1000, &[READY, line]), "proven");
                    check(logged(1000, &[MISMATCH, line]), refused);
                }
            });
        }
    });
}

#[test]
fn credentials_of_before_the_start_are_no_proof() {
    // When they were got, until when they are good, both in seconds; the agent started 1000 ago, or 10.
    let noted = |ago: i64, lines: &[&str], retrieved: i64, still: i64| {
        let mut machine = Machine { credentials: Some((retrieved, still)), ..logged(ago, lines) };
        machine.note_identity();
        machine
    };
    let (unasked, none) = ("did not ask Systems Manager since", "no credentials of Systems Manager");
    let cases: &[(i64, &[&str], i64, i64, &str)] = &[
        (1000, &[], 900, 2000, "proven"),
        (10, &[START], 9, 2000, "proven"),
        (1000, &[START, READY, LOOP], 900, 2000, "proven"),
        // Half of their time is over, and the agent has none that are newer.
        (1000, &[], 990, 700, "unproven"),
        (1000, &[READY], 990, 700, "proven"),
        (1000, &[START, READY], 999, 2000, "proven"),
        (1000, &[], 1500, 2000, unasked),
        (1000, &[START], 1500, 2000, unasked),
        (1000, &[START, READY, LOOP], 1500, 2000, unasked),
        // An agent calls itself ready with those too, and only just afterwards says that it did not ask.
        (1000, &[READY], 1500, 2000, unasked),
        (1000, &[READY], 2500, 100, unasked),
        (10, &[START, READY], 1500, 2000, unasked),
        (1000, &[START, LOOP, READY], 1500, 2000, "proven"),
        (1000, &[START, READY, LOOP, CONNECTED], 1500, 2000, "proven"),
        (1000, &[START, LOOP, READY], 900, -1, none),
        (1000, &[], 900, -1, none),
        (1000, &[READY], 900, -1, none),
        (1000, &[START, NOT_SHARED, READY], 1500, 2000, "unproven"),
        (1000, &[START, NOT_SHARED, READY], 1500, -1, "unproven"),
        // Errors of before they were got are over; those that came later, or at a time that is yet to come, are not.
        (1000, &[START, READY, MISMATCH], 900, 2000, "proven"),
        (1000, &[START, UNREACHED], 900, 2000, "proven"),
        (1000, &[START, READY, MISMATCH], 1500, 2000, "Systems Manager refuses"),
        (1000, &[START, UNREACHED], 1500, 2000, "does not reach"),
        (1000, &[START, READY, MISMATCH], -60, 2000, "Systems Manager refuses"),
        // It never had any.
        (1000, &[], 1_795_312_800, -1_795_312_800, none),
    ];
    thread::scope(|scope| {
        for (ago, lines, retrieved, still, expected) in cases {
            scope.spawn(move || check(noted(*ago, lines, *retrieved, *still), expected));
        }
    });
}

#[test]
fn an_agent_that_has_just_started_is_given_time_to_be_refused() {
    let machine = ends(logged(5, &[START]), &[], 0, &["it has just started", "nothing here proves"]);
    assert!((25_000..40_000).contains(&(machine.now - BEGIN)), "{}", machine.now - BEGIN);
    let short = ends(logged(5, &[START]), &[("TimeoutSeconds", "10")], 17, &["it has just started"]);
    assert_eq!(short.tag, None);
    let refused = Machine { logs_later: vec![(20, MISMATCH.to_owned())], ..logged(5, &[START]) };
    check(refused, "Systems Manager refuses");
    // Windows does not tell when it started.
    let unknown = Machine { agent_started: None, ..Machine::registered() };
    let machine = ends(unknown, &[], 0, &[]);
    assert!(machine.now - BEGIN >= 25_000, "{}", machine.now - BEGIN);
    let refused = Machine { agent_started: None, ..logged(1000, &[MISMATCH]) };
    check(refused, "Systems Manager refuses");
}

#[test]
fn only_what_the_agent_logged_since_it_started_counts() {
    for (line, expected) in [(MISMATCH, "unproven"), (READY, "unproven")] {
        let mut machine = logged(1000, &[]);
        machine.put(LOG, &(stamped(BEGIN - 1_100_000, line) + "\tgoes on: MachineFingerprintDoesNotMatch\n"));
        check(machine, expected);
    }
    // Within the second in which it started.
    let mut machine = logged(1000, &[]);
    machine.put(LOG, &stamped(BEGIN - 1_000_900, READY));
    check(machine, "proven");
}

#[test]
fn a_refusal_is_found_wherever_the_log_went() {
    for suffix in ["-20261127", ".2026-11-27", ".old", ".1"] {
        let mut machine = logged(1000, &[START, MISMATCH]);
        let text = machine.text(LOG);
        machine.put(&format!("{LOG}{suffix}"), &text);
        machine.put(LOG, &stamped(BEGIN - 10_000, "INFO [HealthCheck] x"));
        check(machine.clone(), "Systems Manager refuses");
        machine.remove(LOG);
        check(machine, "Systems Manager refuses");
    }
    // The younger of two, and none that is compressed.
    let mut machine = logged(1000, &[START]);
    machine.put(&format!("{LOG}.1"), &stamped(BEGIN - 900_000, READY));
    machine.put(&format!("{LOG}.2"), &stamped(BEGIN - 950_000, MISMATCH));
    machine.put(&format!("{LOG}.3.gz"), &stamped(BEGIN - 900_000, MISMATCH));
    machine.file_mut(&format!("{LOG}.2")).modified = BEGIN - 1_000_000;
    machine.put(LOG, "");
    check(machine, "proven");
    let noise = stamped(BEGIN - 900_000, "DEBUG [LongRunningWorkerContainer] polling worker").repeat(3_000);
    let mut machine = logged(1000, &[START, MISMATCH]);
    let text = machine.text(LOG) + &noise;
    machine.put(LOG, &text);
    check(machine, "Systems Manager refuses");
    // The log of errors has it, where the log has nothing.
    let mut machine = logged(1000, &[]);
    machine.put(ERRORS, &stamped(BEGIN - 900_000, MISMATCH));
    check(machine, "its log says");
}

#[test]
fn a_log_that_says_nothing_is_no_proof() {
    let mut gone = logged(1000, &[]);
    gone.remove(LOG);
    check(gone, "unproven");
    let mut held = logged(1000, &[READY]);
    held.file_mut(LOG).problem = Some("The process cannot access the file");
    let machine = ends(held, &[], 0, &["a refusal in it would not be seen", "nothing here proves"]);
    assert_eq!(machine.tag.as_deref(), Some(NODE));
    // Somebody gave the log another form: whose its lines are cannot be told.
    for line in [
        format!("2026-11-22T01:50:00Z [ERROR] {}", &MISMATCH[6..]),
        format!("{{\"level\":\"ERROR\",\"msg\":\"{}\"}}", &MISMATCH[6..]),
        format!("2026-11-22 01:50:00 error {}", &MISMATCH[6..]),
        format!("Nov 27 22:00:00 ip-10-0-0-1 {MISMATCH}"),
    ] {
        let mut machine = logged(1000, &[]);
        machine.put(LOG, &format!("{line}\n"));
        check(machine.clone(), "its log says");
        machine.put(LOG, &format!("{line}\n{line} Credentials ready\n"));
        check(machine, "unproven");
    }
}

#[test]
fn an_agent_that_notes_nothing_is_an_old_one() {
    for lines in [&[READY][..], &[START, READY]] {
        let mut machine = logged(1000, lines);
        machine.remove(RUNTIME);
        check(machine, "proven");
    }
    let mut machine = logged(1000, &[START]);
    machine.remove(RUNTIME);
    check(machine, "unproven");
}
