//! What counts as proof that Systems Manager accepts the agent, and what a replacement leaves behind when it is cut short.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::built::{AGENT, FIRST_NODE, MANAGER, Ran, SSM_CLI, Site};
use crate::fake::{INSTANCE, LOG, MANIFEST, MARKER, NODE, NOTED, READY, START, VAULT, stat};

const FINGERPRINT: &str = "var/lib/amazon/ssm/Vault/Store/InstanceFingerprint";
const RUNTIME: &str = "var/lib/amazon/ssm/runtimeconfig/identity_config.json";
const PREVIOUS: &str = "var/lib/tag-hub/previous-registration.json";
const ERRORS: &str = "var/log/amazon/ssm/errors.log";
const REFUSED: &str = "2026-11-22 02:00:02 ERROR [CredentialRefresher] Retrieve credentials produced error: MachineFingerprintDoesNotMatch: x\n";
const OLD_KEY: &str = r#"{"instanceID":"mi-11111111111111111","region":"eu-west-1","privateKey":"the old key"}"#;
const OLD_FINGERPRINT: &str = r#"{"fingerprint":"the old one","hardwareHash":null,"similarityThreshold":40}"#;

/// A machine that is registered with a hub in another Region.
fn foreign() -> Site {
    let site = Site::new();
    site.write(VAULT, OLD_KEY);
    site.write(FINGERPRINT, OLD_FINGERPRINT);
    site.write(MANIFEST, &format!(r#"{{"RegistrationKey":"{VAULT}","InstanceFingerprint":"/{FINGERPRINT}"}}"#));
    site.write(NOTED, &format!(r#"{{"ManagedInstanceID":"{NODE}","Region":"eu-west-1"}}"#));
    site.write(RUNTIME, &format!(r#"{{"InstanceId":"{NODE}"}}"#));
    site
}

fn is_as_it_was(site: &Site, context: &str) {
    assert_eq!((site.read(VAULT).as_str(), site.read(FINGERPRINT).as_str()), (OLD_KEY, OLD_FINGERPRINT), "{context}");
    assert!(site.read(MANIFEST).contains(VAULT) && site.read(NOTED).contains(NODE), "{context}");
    assert!(site.is_running() && site.read(RUNTIME).contains(NODE), "{context}: {}", site.read(RUNTIME));
}

/// The agent, and before it a line that is run for `-clear`, once.
fn clears_once(line: &str) -> String {
    format!(
        "[ \"$1 $2\" = \"-register -clear\" ] && [ ! -e ROOT/once ] && {{ : > ROOT/once; trap - EXIT; {line}; }}\n{AGENT}"
    )
}

#[test]
fn a_registration_survives_a_run_that_is_killed_between_clearing_and_registering() {
    let cleared = "fingerprint \"\" null 0; save \"\" \"\"; rm -f $lib/registration";
    for (name, line) in [
        ("before it clears", "kill -9 $PPID; exit 0".to_owned()),
        ("the fingerprint alone", "fingerprint \"\" null 0; kill -9 $PPID; exit 0".to_owned()),
        ("all", format!("{cleared}; kill -9 $PPID; exit 0")),
        ("a power failure: nothing is left of the vault", format!("{cleared}; : > $vault; kill -9 $PPID; exit 0")),
    ] {
        for starts in [false, true] {
            let site = foreign();
            site.program("usr/bin/amazon-ssm-agent", &clears_once(&line));
            let killed = site.run(&["heal", "--replace"]);
            assert_eq!(killed.code, 128 + 9, "{name}: {}", killed.said);
            let mode = fs::metadata(site.at(PREVIOUS)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}: it holds a private key");
            if starts {
                // A boot starts the agent before this program runs.
                assert!(Command::new(site.at("usr/bin/systemctl")).args(["start", "x"]).status().unwrap().success());
            }
            // Nothing is left to register with.
            site.write("agent-says", &"2026-11-22 02:00:00 ERROR RegistrationLimitExceeded: x\n".repeat(9));
            let before = (site.read(VAULT), site.read(FINGERPRINT));
            site.run(&["--dry-run"]).line["outcome"].as_str().unwrap();
            assert_eq!((site.read(VAULT), site.read(FINGERPRINT)), before, "a dry run changes nothing");
            site.run(&[]).is(18, "foreign-registration");
            is_as_it_was(&site, name);
            assert_eq!(site.tag(), None);
            // And once there is something to register with, it is replaced, and no old key stays.
            site.write("agent-says", "");
            site.run(&["heal", "--replace"]).is(0, "replaced");
            site.is_node(FIRST_NODE);
            assert!(!site.at(PREVIOUS).exists(), "{name}");
        }
    }
}

#[test]
fn a_registration_survives_a_kill_at_any_call_of_its_replacement() {
    let calls = {
        let site = foreign();
        site.run(&["heal", "--replace"]).is(0, "replaced");
        assert!(!site.at(PREVIOUS).exists());
        site.calls().len()
    };
    thread::scope(|scope| {
        for when in ["before", "after"] {
            scope.spawn(move || {
                for at in 1..=calls {
                    let site = foreign();
                    site.write("kill", &format!("{when} {at}\n"));
                    assert_eq!(site.run(&["heal", "--replace"]).code, 128 + 9);
                    fs::remove_file(site.at("kill")).unwrap();
                    let context = format!("{when} {at}");
                    let ran = site.run(&[]);
                    if site.nodes() == 0 {
                        ran.is(18, "foreign-registration");
                        is_as_it_was(&site, &context);
                    } else {
                        ran.is(0, "tag-written");
                        site.is_node(FIRST_NODE);
                        assert!(!site.at(PREVIOUS).exists(), "{context}");
                    }
                }
            });
        }
    });
}

/// Where the system's calls can be watched: what is kept aside is on the disk, name and all, before anything is cleared.
#[test]
fn what_is_kept_aside_is_on_the_disk_before_anything_is_cleared() {
    let site = foreign();
    let trace = site.at("trace");
    let launcher = ["strace", "-f", "-y", "-e", "trace=fsync,rename,execve", "-o", trace.to_str().unwrap()];
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        return;
    }
    Site::run_command(site.command_of(&launcher, &["heal", "--replace"])).is(0, "replaced");
    let trace = site.read("trace");
    let mut rest = trace.as_str();
    for step in [
        "previous-registration.new>) = 0",
        "previous-registration.json\") = 0",
        "var/lib/tag-hub>) = 0",
        "\"-clear\"",
        "Vault/Store/RegistrationKey>) = 0",
    ] {
        let at = rest.find(step).unwrap_or_else(|| panic!("no {step} in its place in:\n{trace}"));
        rest = &rest[at + step.len()..];
    }
}

#[test]
fn what_was_kept_aside_is_put_back_on_its_own_machine_alone() {
    let kept = |instance: &str| {
        let files = json!({(VAULT): OLD_KEY, "/etc/passwd": "evil"});
        json!({"ec2InstanceId": instance, "managedInstanceId": NODE, "files": files}).to_string()
    };
    // An image of the machine.
    let site = Site::new();
    site.write(PREVIOUS, &kept("i-0fedcba9876543210"));
    site.run(&[]).is(0, "registered");
    site.is_node(FIRST_NODE);
    assert!(!site.at(PREVIOUS).exists());
    for contents in ["", "{", "null"] {
        let site = Site::new();
        site.write(PREVIOUS, contents);
        site.run(&[]).is(0, "it was ignored");
    }
    // Nor is a key left behind by a run that was killed while it wrote it aside.
    let site = Site::new();
    let half_written = PREVIOUS.replace(".json", ".new");
    site.write(&half_written, OLD_KEY);
    site.run(&[]).is(0, "registered");
    assert!(!site.at(&half_written).exists());
    // Only what makes a node is written. A registration that was made since stays.
    let site = Site::new();
    site.write(PREVIOUS, &kept(INSTANCE));
    site.run(&[]).is(18, "foreign-registration");
    assert!(site.read(VAULT).contains("the old key") && !site.at("etc/passwd").exists());
    let site = Site::registered();
    site.write(PREVIOUS, &kept(INSTANCE));
    site.run(&[]).is(0, "tag-written");
    site.is_node(FIRST_NODE);
    assert!(!site.at(PREVIOUS).exists());
    // Also if what the agent keeps of it cannot be read here.
    let site = Site::new();
    site.write(PREVIOUS, &kept(INSTANCE));
    site.write(VAULT, "a form of next year");
    site.write(NOTED, &format!(r#"{{"ManagedInstanceID":"{FIRST_NODE}","Region":"us-east-1"}}"#));
    site.run(&[]).is(17, "");
    assert_eq!(site.read(VAULT), "a form of next year");
    // Without room for it nothing is cleared.
    let site = foreign();
    fs::create_dir_all(site.at(PREVIOUS).join("x")).unwrap();
    site.run(&["heal", "--replace"]).is(1, "previous-registration.json");
    is_as_it_was(&site, "a folder in its place");
}

#[test]
fn what_was_never_cleared_is_not_put_back() {
    // The operator does what the message of another failure says.
    let clears = |site: &Site| {
        for (program, arguments) in [
            ("systemctl", &["stop", "x"][..]),
            ("amazon-ssm-agent", &["-register", "-clear"]),
            ("systemctl", &["start", "x"]),
        ] {
            assert!(Command::new(site.at("usr/bin").join(program)).args(arguments).status().unwrap().success());
        }
    };
    let site = foreign();
    site.program("usr/bin/systemctl", &format!("[ \"$1\" = stop ] && exit 1\n{MANAGER}"));
    let ran = site.run(&["heal", "--replace"]);
    ran.is(11, "so its registration was not touched");
    assert!(ran.said.contains("The registration is unchanged") && !ran.said.contains("cleared"), "{}", ran.said);
    is_as_it_was(&site, "the agent could not be stopped");
    assert!(!site.at(PREVIOUS).exists());
    site.program("usr/bin/systemctl", MANAGER);
    clears(&site);
    site.run(&[]).is(0, "registered");
    site.is_node(FIRST_NODE);

    // A run that was killed before it cleared anything, and one that found that.
    let site = foreign();
    site.program("usr/bin/amazon-ssm-agent", &clears_once("kill -9 $PPID; exit 0"));
    assert_eq!(site.run(&["heal", "--replace"]).code, 128 + 9);
    site.run(&["--dry-run"]).is(18, "foreign-registration");
    assert!(site.at(PREVIOUS).exists(), "a dry run changes nothing");
    site.run(&[]).is(18, "foreign-registration");
    assert!(!site.at(PREVIOUS).exists());
    clears(&site);
    site.run(&[]).is(0, "registered");

    // What cannot be read is not known by name, and is compared all the same.
    let site = foreign();
    site.write(VAULT, "half wri");
    fs::remove_file(site.at(NOTED)).unwrap();
    site.write("cli-says", "error: failed to find agent identity");
    site.program("usr/bin/systemctl", &format!("[ \"$1\" = stop ] && exit 1\n{MANAGER}"));
    site.run(&["heal", "--replace"]).is(11, "The registration is unchanged");
}

#[test]
fn what_is_put_back_is_what_systems_manager_knows() {
    // Systems Manager knows the node by the fingerprint that it was registered with.
    let checks = MANAGER.replace(
        "note=$lib/runtimeconfig",
        "[ -n \"$id\" ] && { grep -q 'the old one' \"$lib_fp\" && cp ROOT/ready ROOT/agent-logs || cp ROOT/refused ROOT/agent-logs; }\n    note=$lib/runtimeconfig",
    );
    assert_ne!(checks, MANAGER);
    let site = foreign();
    site.program("usr/bin/systemctl", &checks);
    site.write("ready", READY);
    site.write("refused", REFUSED);
    site.write("agent-says", &"ERROR RegistrationLimitExceeded: x\n".repeat(3));
    site.run(&["heal", "--replace"]).is(8, "The old registration was put back");
    is_as_it_was(&site, "put back");
    assert!(!site.at(PREVIOUS).exists());
    site.run(&["--region", "eu-west-1"]).is(0, "tag-written");
}

#[test]
fn a_half_written_vault_beside_a_readable_file_is_replaced() {
    thread::scope(|scope| {
        for answer in
            [&format!(r#"{{"instance-id":"{INSTANCE}","region":"us-west-2"}}"#), "error: failed to find agent identity"]
        {
            let answer = answer.to_owned();
            scope.spawn(move || {
                let site = Site::registered();
                site.program(
                    "usr/bin/ssm-cli",
                    &format!(
                        "kept instanceID | grep -q ^mi-.................$ || {{ cat ROOT/nobody; exit 0; }}\n{SSM_CLI}"
                    ),
                );
                site.write("nobody", &answer);
                site.write(VAULT, r#"{"instanceID":"mi-0000000000000000"#);
                site.run(&[]).is(17, "heal --replace");
                let ran = site.run(&["heal", "--replace", "--timeout", "90s"]);
                ran.is(0, "replaced");
                assert!(site.nodes() == 2 && ran.line["replacedInstanceId"] == FIRST_NODE, "{}", ran.said);
                site.is_node("mi-00000000000000002");
            });
        }
    });
}

/// A registered machine without any other sign of what Systems Manager thinks of it.
fn silent() -> Site {
    let site = Site::registered();
    site.forget_tag();
    site.write(RUNTIME, &format!(r#"{{"InstanceId":"{FIRST_NODE}","IdentityType":"OnPrem"}}"#));
    site
}

fn is_unproven(ran: &Ran, why: &str) {
    ran.is(0, "tag-written");
    assert_eq!(ran.line["inUse"], "unproven", "{}", ran.said);
    let notes = ran.line["notes"].to_string();
    assert!(notes.contains("nothing here proves") && notes.contains(why), "{notes}");
}

#[test]
fn words_for_a_network_that_is_gone() {
    thread::scope(|scope| {
        for words in [
            "WARN [CredentialRefresher] Status code %!s(int=400) returned from AWS API. RequestId: x Message: ",
            "INFO [CredentialRefresher] Sleeping for 24h31m before retrying retrieve credentials",
            "ERROR [CredentialRefresher] Retrieve credentials produced aws error: RequestError: send request failed",
            "ERROR [CredentialRefresher] failed to refresh credentials: EOF",
        ] {
            scope.spawn(move || {
                let site = silent();
                site.write(LOG, &format!("{START}2026-11-22 02:00:02 {words}\n"));
                let begun = Instant::now();
                site.run(&["--dry-run"]).is(17, "does not reach Systems Manager");
                site.run(&[]).is(17, "does not reach Systems Manager");
                assert!(site.tag().is_none() && begun.elapsed() < Duration::from_mins(1));
            });
        }
    });
}

#[test]
fn a_log_that_says_nothing_is_no_proof() {
    type Spoil = fn(&Site);
    let cases: [(&str, Spoil, &str); 5] = [
        ("empty", |site| site.write(LOG, ""), "does not say it"),
        ("gone", |site| fs::remove_file(site.at(LOG)).unwrap(), "there is no /var/log/amazon/ssm/amazon-ssm-agent.log"),
        (
            "a folder",
            |site| {
                fs::remove_file(site.at(LOG)).unwrap();
                fs::create_dir(site.at(LOG)).unwrap();
            },
            "cannot be read (not a file)",
        ),
        (
            "compressed",
            |site| {
                site.write(&format!("{LOG}.1.gz"), REFUSED);
                site.write(LOG, "2026-11-22 02:00:00 INFO [HealthCheck] HealthCheck reporting agent health.\n");
            },
            "does not say it",
        ),
        (
            "of another form",
            |site| site.write(LOG, "{\"level\":\"INFO\",\"msg\":\"Credentials ready\"}\n"),
            "does not say it",
        ),
    ];
    for (name, spoil, why) in cases {
        let site = silent();
        spoil(&site);
        let dry = site.run(&["--dry-run"]);
        assert_eq!(dry.line["inUse"], "unproven", "{name}: {}", dry.said);
        assert!(dry.said.contains(why), "{name}: {}", dry.said);
        is_unproven(&site.run(&[]), why);
        let report = site.run(&["doctor"]);
        let checks = report.line["checks"].as_array().unwrap();
        let in_use = checks.iter().find(|check| check["check"] == "in-use").unwrap();
        assert!(in_use["status"] == "unknown" && in_use["cause"].as_str().unwrap().contains(why), "{name}: {in_use}");
        // The credentials that the agent notes prove it, whatever becomes of its log.
        let site = Site::registered();
        spoil(&site);
        let ran = site.run(&[]);
        ran.is(0, "tag-written");
        assert_eq!(ran.line["inUse"], "proven", "{name}: {}", ran.said);
    }
}

#[test]
fn a_refusal_is_found_wherever_the_log_went() {
    for suffix in ["-20261127", ".2026-11-27", ".old", ".1"] {
        let site = silent();
        site.write(LOG, &format!("{START}{REFUSED}"));
        fs::rename(site.at(LOG), site.at(&format!("{LOG}{suffix}"))).unwrap();
        site.run(&[]).is(17, "MachineFingerprintDoesNotMatch");
        site.write(LOG, "");
        site.run(&[]).is(17, "MachineFingerprintDoesNotMatch");
    }
    let site = silent();
    let noise =
        "2026-11-22 02:00:03 DEBUG [amazon-ssm-agent] [LongRunningWorkerContainer] polling worker\n".repeat(50_000);
    site.write(LOG, &format!("{START}{REFUSED}{noise}"));
    site.run(&[]).is(17, "MachineFingerprintDoesNotMatch");
    // Credentials of before that do not outweigh it.
    let site = Site::registered();
    site.write(LOG, &REFUSED.replace("2026-11-22 02:00:02 ERROR", "[ERROR]"));
    site.run(&[]).is(17, "MachineFingerprintDoesNotMatch");
    // The log of errors, or a log of another form, may be about another process: no proof, and no reason to replace.
    for (file, line) in [(ERRORS, REFUSED.to_owned()), (LOG, REFUSED.replace("2026-11-22 02:00:02 ERROR", "[ERROR]"))] {
        let site = silent();
        site.write(LOG, "");
        site.write(file, &line);
        site.run(&[]).is(17, "MachineFingerprintDoesNotMatch");
        assert_eq!(site.tag(), None);
        site.run(&["heal", "--replace"]).is(0, "tag-written");
        site.is_node(FIRST_NODE);
    }
}

#[test]
fn credentials_of_before_the_start_are_no_proof() {
    let times = |retrieved: &str, expires: &str| {
        let time = |ago: &str| {
            let output = Command::new("date").args(["-u", "+%FT%TZ", "-d", ago]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let [retrieved, expires] = [retrieved, expires].map(time);
        json!({"InstanceId": FIRST_NODE, "CredentialsRetrievedAt": retrieved, "CredentialsExpiresAt": expires})
            .to_string()
    };
    let asking = "2026-11-22 02:00:02 INFO [CredentialRefresher] Starting credentials refresher loop\n";
    let from_before = format!(
        "{START}{READY}{asking}\
         2026-11-22 02:00:02 INFO [CredentialRefresher] Next credential rotation will be in 29 minutes\n"
    );
    let connected = format!(
        "{from_before}2026-11-22 02:00:04 INFO [ssm-agent-worker] [MessageService] Set up control channel successfully\n"
    );
    let asked = "did not ask Systems Manager since";
    thread::scope(|scope| {
        for (log, runtime, code, words) in [
            // 40 seconds old.
            (from_before.clone(), format!(r#"{{"InstanceId":"{FIRST_NODE}"}}"#), 17, asked),
            (from_before.clone(), times("-10 minutes", "+50 minutes"), 17, asked),
            (String::new(), times("-10 minutes", "+50 minutes"), 17, asked),
            (from_before.clone(), times("-20 seconds", "+50 minutes"), 0, "proven"),
            (connected.clone(), times("-10 minutes", "+50 minutes"), 0, "proven"),
            (
                connected.clone(),
                times("-10 minutes", "-1 minute"),
                17,
                "no credentials of Systems Manager that are still good",
            ),
            (format!("{START}{READY}"), times("-2 hours", "-1 hour"), 17, "no credentials"),
            // It says that it did not ask only just after it called itself ready.
            (format!("{START}{READY}"), times("-10 minutes", "+50 minutes"), 17, asked),
            (format!("{START}{READY}"), times("-40 minutes", "+20 minutes"), 17, asked),
            (format!("{START}{READY}"), times("-20 seconds", "+50 minutes"), 0, "proven"),
            (format!("{START}{asking}{READY}"), times("-10 minutes", "+50 minutes"), 0, "proven"),
        ] {
            scope.spawn(move || {
                let site = silent();
                site.up(140, 100);
                site.write(LOG, &log);
                site.write(RUNTIME, &runtime);
                site.run(&[]).is(code, words);
                assert_eq!(site.tag().is_some(), code == 0, "{runtime}");
            });
        }
    });
}

#[test]
fn an_error_from_before_the_credentials_of_an_agent_that_logs_errors_alone() {
    let is_tried = |line: &str| {
        let site = Site::registered();
        site.forget_tag();
        let written = |file: &str, when: &str| {
            site.write(file, line);
            assert!(Command::new("touch").args(["-d", when]).arg(site.at(file)).status().unwrap().success());
        };
        for file in [LOG, ERRORS] {
            written(file, "1 hour ago");
        }
        let ran = site.run(&[]);
        ran.is(0, "tag-written");
        assert_eq!((&ran.line["inUse"], site.tag().as_deref()), (&json!("proven"), Some(FIRST_NODE)), "{line}");
        let report = site.run(&["doctor"]);
        let checks = report.line["checks"].as_array().unwrap();
        let in_use = checks.iter().find(|check| check["check"] == "in-use").unwrap();
        assert_eq!(in_use["status"], "ok", "{}", report.said);
        // One that was logged since counts, also if the log was rotated.
        written(LOG, "now");
        site.run(&[]).is(17, "log says");
        fs::rename(site.at(LOG), site.at(&format!("{LOG}.1"))).unwrap();
        site.run(&[]).is(17, "log says");
    };
    let unreachable = REFUSED.replace("MachineFingerprintDoesNotMatch", "RequestError: send request failed");
    let of_another_form = REFUSED.replace("2026-11-22 02:00:02 ERROR", "[ERROR]");
    thread::scope(|scope| {
        for line in [REFUSED, &unreachable, &of_another_form] {
            scope.spawn(|| is_tried(line));
        }
    });
}

#[test]
fn what_the_agent_noted_is_half_written() {
    thread::scope(|scope| {
        for contents in ["", "{", "{\"InstanceId\":\"i-01234567", "\u{0}\u{0}", "<html>", "{\"InstanceId\":\"\"}"] {
            scope.spawn(move || {
                let site = Site::registered();
                site.forget_tag();
                site.write(RUNTIME, contents);
                site.run(&[]).is(17, "does not say as which node the agent was started");
                assert_eq!(site.tag(), None);
                // An agent that starts writes it anew.
                site.run(&["heal"]).is(0, "tag-written");
                site.is_node(FIRST_NODE);
            });
        }
    });
}

#[test]
fn only_what_the_agent_logged_after_its_own_start_counts() {
    // The agent of the try before was an EC2 instance, and is Ready; the one that is the node is refused.
    let late = MANAGER
        .replace("[ -f \"$log\" ] &&", "[ -n \"$id\" ] && { ( sleep 3; cat ROOT/refused >> \"$log\" ) > /dev/null 2>&1 & }\n    [ -z \"$id\" ] && [ -f \"$log\" ] &&")
        .replace("grep -q ready", "grep -q ready && [ -z \"$id\" ]");
    assert_ne!(late, MANAGER);
    let site = Site::new();
    site.program("usr/bin/systemctl", &late);
    site.write("refused", &format!("{START}{REFUSED}"));
    site.write("agent-says", "ERROR Throttling: x\n");
    site.run(&["--timeout", "60s"]).is(17, "MachineFingerprintDoesNotMatch");
    assert_eq!(site.tag(), None);
    // The last words of the process that is stopped are not those of the one that is started, which writes later.
    let site = Site::registered();
    site.write(LOG, REFUSED);
    site.program("usr/bin/systemctl", &late.replace("stop) rm", "stop) cat ROOT/last >> \"$log\"; rm"));
    site.write("last", READY);
    site.write("refused", &format!("{START}{REFUSED}"));
    site.forget_tag();
    site.run(&["heal", "--timeout", "60s"]).is(17, "MachineFingerprintDoesNotMatch");
    assert_eq!(site.tag(), None);
}

#[test]
fn an_agent_that_somebody_else_starts_meanwhile_is_started_again() {
    // An upgrade of the package starts the agent before the registration is written, and a start does nothing then.
    let registers = AGENT.replace(
        "[ -e ROOT/running ] && { echo \"ERROR registered while it runs\"; exit 1; }\n",
        "ROOT/usr/bin/systemctl start x\n",
    );
    assert_ne!(registers, AGENT);
    let site = Site::new();
    site.program("usr/bin/amazon-ssm-agent", &registers);
    site.program("usr/bin/systemctl", &format!("[ \"$1\" = start ] && [ -e ROOT/running ] && exit 0\n{MANAGER}"));
    site.run(&["--timeout", "60s"]).is(0, "registered");
    site.is_node(FIRST_NODE);
}

#[test]
fn how_old_the_agent_is_does_not_depend_on_sleep_or_on_its_manager() {
    let late = MANAGER
        .replace("[ -f \"$log\" ] &&", "( sleep 3; [ -f \"$log\" ] &&")
        .replace(">> \"$log\" ;;", ">> \"$log\" ) > /dev/null 2>&1 & ;;")
        .replace("grep -q ready", "false");
    thread::scope(|scope| {
        // The machine hibernated for two hours; what systemd tells of its own clock leaves that out.
        scope.spawn(|| {
            let site = silent();
            site.up(7300, 7299);
            let told = "show) echo \"MainPID=7\"; echo \"ActiveEnterTimestampMonotonic=99000000\" ;;\n  show)";
            site.program("usr/bin/systemctl", &MANAGER.replace("show)", told));
            site.write(LOG, START);
            site.run(&[]).is(17, "has just started");
        });
        // A script does not tell which process it started. The kernel does, or nobody.
        for knows in [true, false] {
            let late = late.clone();
            scope.spawn(move || {
                let site = Site::new();
                fs::remove_file(site.at("usr/bin/systemctl")).unwrap();
                let script = |manager: &str| {
                    format!("shift\n[ \"$1\" = status ] && {{ [ -e ROOT/running ]; exit $?; }}\n{manager}")
                };
                site.program("usr/bin/service", &script(MANAGER));
                site.run(&[]).is(0, "registered");
                site.forget_tag();
                site.program("usr/bin/service", &script(&late));
                site.write("agent-logs", REFUSED);
                site.write(RUNTIME, &format!(r#"{{"InstanceId":"{FIRST_NODE}"}}"#));
                site.up(9000, 1000);
                if knows {
                    site.write("proc/8/stat", &stat(8, 8999));
                } else {
                    fs::remove_file(site.at("proc/7/stat")).unwrap();
                }
                let started = Command::new(site.at("usr/bin/service")).args(["amazon-ssm-agent", "start"]).status();
                assert!(started.unwrap().success());
                site.run(&["--timeout", "45s"]).is(17, "MachineFingerprintDoesNotMatch");
                assert_eq!(site.tag(), None);
            });
        }
    });
}

#[test]
fn loose_words_replace_nothing() {
    thread::scope(|scope| {
        for line in [
            "ERROR [ssm-agent-worker] git clone failed: host key fingerprint does not match",
            "WARN [ssm-agent-worker] health: docker registry AccessDenied",
            "INFO [ssm-document-worker] [a1] [aws:runShellScript] output: backup log:\n2026-11-27 ERROR s3 upload: credential AccessDenied for role Backup\n2026-11-27 22:00 ERROR [HealthCheck] AccessDenied",
        ] {
            scope.spawn(move || {
                let site = Site::registered();
                let line = format!("{READY}2026-11-22 02:00:03 {line}\n");
                site.write(LOG, &format!("{START}{line}"));
                site.write("agent-logs", &line);
                site.run(&[]).is(0, "tag-written");
                site.run(&["heal", "--replace"]).is(0, "tag-written");
                assert_eq!(site.nodes(), 1);
            });
        }
    });
}

#[test]
fn the_account_of_a_registration_by_other_means_is_not_claimed() {
    let site = Site::registered();
    fs::remove_file(site.at(MARKER)).unwrap();
    let ran = site.run(&["--hub-account", "111111111111"]);
    ran.is(0, "nothing here says that it is in account 111111111111");
    let note: serde_json::Value = serde_json::from_str(&site.read(MARKER)).unwrap();
    assert_eq!((&note["hubRegion"], note.get("hubAccount")), (&json!("us-east-1"), None));
    site.run(&["--hub-account", "111111111111"]).is(0, "nothing here says that it is in account 111111111111");
    let ran = Site::registered().run(&["--hub-account", "111111111111"]);
    assert!(!ran.said.contains("nothing here says"), "{}", ran.said);
}

#[test]
fn names_in_the_configuration_count_in_any_case() {
    let file = "etc/amazon/ssm/amazon-ssm-agent.json";
    let site = Site::registered();
    site.write(file, r#"{"identity":{"consumptionOrder":["EC2","OnPrem"]}}"#);
    site.run(&["doctor"]).is(17, "Identity.ConsumptionOrder");
    for (before, after) in [
        (
            r#"{"profile":{"shareCreds":true,"shareProfile":"x"}}"#,
            json!({"profile": {"ShareCreds": false, "shareProfile": "x"}}),
        ),
        (
            r#"{"Profile":{"ShareCreds":false},"PROFILE":{"sharecreds":true}}"#,
            json!({"Profile": {"ShareCreds": false}, "PROFILE": {"ShareCreds": false}}),
        ),
        (r#"{"profile":{"shareCreds":false}}"#, json!({"profile": {"shareCreds": false}})),
    ] {
        let site = Site::new();
        site.write(file, before);
        site.run(&["--keep-default-profile"]).is(0, "registered");
        let written: serde_json::Value = serde_json::from_str(&site.read(file)).unwrap();
        assert_eq!(written, after, "{before}");
    }
}

#[test]
fn stopping_registering_and_starting_share_the_time_of_the_run() {
    let hangs = |name: &str, script: String| {
        let site = Site::new();
        site.program(&format!("usr/bin/{name}"), &script);
        let begun = Instant::now();
        let ran = site.run(&["--timeout", "10s"]);
        (ran.code, begun.elapsed())
    };
    thread::scope(|scope| {
        for (verb, expected) in [("stop", 11), ("start", 11)] {
            scope.spawn(move || {
                let (code, took) = hangs("systemctl", format!("[ \"$1\" = {verb} ] && exec sleep 300\n{MANAGER}"));
                assert!(code == expected && took < Duration::from_secs(35), "{verb}: {code} {took:?}");
            });
        }
        scope.spawn(move || {
            let (code, took) = hangs("amazon-ssm-agent", format!("exec sleep 300\n{AGENT}"));
            assert!(code == 10 && took < Duration::from_secs(35), "{code} {took:?}");
        });
    });
}
