//! A success is true, and nothing good is thrown away: agents that are refused late, logs of another start, registrations
//! that cannot be judged, and environments that lie.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::built::{AGENT, Answer, FIRST_NODE, MANAGER, Ran, Request, SSM_CLI, Server, Site, aws, metadata, says};
use crate::fake::{CODE, INSTANCE, LOG, MANIFEST, MARKER, NOTED, VAULT, activation};

const REFUSED: &str = "2026-11-22 02:00:00 ERROR [CredentialRefresher] Retrieve credentials produced error: MachineFingerprintDoesNotMatch: x\n";
const FINGERPRINT: &str = "var/lib/amazon/ssm/Vault/Store/InstanceFingerprint";
const CONFIGURATION: &str = "etc/amazon/ssm/amazon-ssm-agent.json";
const RUNTIME: &str = "var/lib/amazon/ssm/runtimeconfig/identity_config.json";
const DROPIN: &str = "etc/systemd/system/amazon-ssm-agent.service.d/p.conf";
const UNIT: &str = "etc/systemd/system/amazon-ssm-agent.service";

/// How a machine comes to be what it is.
type Before = fn(Site) -> Site;

/// What is wrong with a machine, by name.
type Spoilt = (&'static str, fn(&Site));

/// A service manager whose agent writes to its log two seconds after it started.
fn late() -> String {
    let late = MANAGER
        .replace("[ -f \"$log\" ] &&", "( sleep 2; [ -f \"$log\" ] &&")
        .replace(">> \"$log\" ;;", ">> \"$log\" ) > /dev/null 2>&1 & ;;");
    assert_ne!(late, MANAGER);
    late
}

/// A service manager of an agent that notes no credentials, as old ones do.
fn without_times() -> String {
    let old = MANAGER.replace(",$times}", "}").replace("[ -n \"$times\" ] && rm", "rm");
    assert_ne!(old, MANAGER);
    old
}

fn append(site: &Site, line: &str) {
    site.write(LOG, &(site.read(LOG) + line));
}

fn register_calls(site: &Site) -> usize {
    site.calls().iter().filter(|call| call.contains("-register -code")).count()
}

/// The status of each check of a report, by its name.
fn status(report: &Ran, check: &str) -> Value {
    let checks = report.line["checks"].as_array().unwrap();
    checks.iter().find(|found| found["check"] == check).map_or(Value::Null, |found| found["status"].clone())
}

#[test]
fn an_agent_that_is_refused_late_is_not_in_use() {
    let fresh = |site: Site| site;
    let stopped = |site: Site| {
        site.run(&[]).is(0, "");
        fs::remove_file(site.at("running")).unwrap();
        site
    };
    let killed = |site: Site| {
        site.run(&[]).is(0, "");
        fs::remove_file(site.at("running")).unwrap();
        site.write("run/tag-hub-agent-stopped", "");
        site
    };
    let refused = |site: Site| {
        site.run(&[]).is(0, "");
        site.write(LOG, REFUSED);
        site
    };
    let cases: [(Before, &[&str]); 5] =
        [(fresh, &[]), (stopped, &[]), (killed, &[]), (refused, &["heal"]), (refused, &["heal", "--replace"])];
    thread::scope(|scope| {
        for (before, arguments) in cases {
            scope.spawn(move || {
                let site = before(Site::new());
                site.forget_tag();
                site.program("usr/bin/systemctl", &late());
                site.write("agent-logs", REFUSED);
                let ran = site.run(&[arguments, &["--timeout", "90s"]].concat());
                ran.is(17, "MachineFingerprintDoesNotMatch");
                assert_eq!(site.tag(), None, "{arguments:?}");
            });
        }
    });
}

#[test]
fn what_the_log_said_before_the_service_started_is_about_another_process() {
    let site = Site::registered();
    site.forget_tag();
    // A boot: systemd calls the agent started, and it has not written anything yet.
    site.up(100, 95);
    site.write(RUNTIME, &format!(r#"{{"InstanceId":"{FIRST_NODE}"}}"#));
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_secs(2));
            append(&site, &format!("2026-11-22 02:00:00 INFO Starting Core Agent\n{REFUSED}"));
        });
        site.run(&["--timeout", "60s"]).is(17, "MachineFingerprintDoesNotMatch");
    });
    assert_eq!(site.tag(), None);
    // The agent has run for long, and was taken again.
    append(&site, "2026-11-22 02:00:00 INFO Credentials ready\n");
    site.up(200, 95);
    site.run(&[]).is(0, "tag-written");
}

#[test]
fn a_refusal_in_a_log_that_was_rotated_is_seen() {
    let site = Site::registered();
    append(&site, REFUSED);
    fs::rename(site.at(LOG), site.at(&format!("{LOG}.1"))).unwrap();
    site.write(LOG, "2026-11-22 02:00:00 INFO [HealthCheck] x\n");
    site.run(&[]).is(17, "MachineFingerprintDoesNotMatch");
}

#[test]
fn a_copy_without_its_note_is_told_by_its_fingerprint() {
    let site = Site::registered();
    site.forget_tag();
    fs::remove_file(site.at(MARKER)).unwrap();
    site.write(FINGERPRINT, r#"{"fingerprint":"x","hardwareHash":{"machine-id":"aaaa"},"similarityThreshold":40}"#);
    site.write("etc/machine-id", "bbbb\n");
    for arguments in [&[][..], &["--dry-run"], &["doctor"]] {
        site.run(arguments).is(17, "this is another machine, or a copy");
    }
    assert_eq!(site.tag(), None);
    site.write("agent-logs", REFUSED);
    site.run(&["heal"]).is(17, "MachineFingerprintDoesNotMatch");
}

#[test]
fn a_registration_is_replaced_only_if_systems_manager_refuses_it() {
    let cases: [Spoilt; 4] = [
        ("no ssm-cli", |site| fs::remove_file(site.at("usr/bin/ssm-cli")).unwrap()),
        ("nonsense", |site| site.write("cli-says", "panic: cannot reach IPC\n")),
        ("an EC2 instance", |site| {
            site.write(CONFIGURATION, r#"{"Identity":{"ConsumptionOrder":["EC2","OnPrem"]}}"#);
            site.write("cli-says", &format!(r#"{{"instance-id":"{INSTANCE}","region":"us-west-2"}}"#));
        }),
        ("a crash loop", |site| {
            site.program(
                "usr/bin/systemctl",
                &MANAGER.replace("[ -e ROOT/running ] && echo active || echo inactive", "echo failed"),
            );
        }),
    ];
    thread::scope(|scope| {
        for (name, spoil) in cases {
            scope.spawn(move || {
                let site = Site::registered();
                spoil(&site);
                let ran = site.run(&["heal", "--replace"]);
                ran.is(17, "The registration was kept");
                assert!(site.nodes() == 1 && site.read(VAULT).contains(FIRST_NODE), "{name}: {}", ran.said);
            });
        }
    });
}

#[test]
fn a_service_whose_state_is_not_known_does_not_run() {
    let cases = ["exit 0", "echo unknown; exit 3", "echo maintenance; exit 3", "echo deactivating; exit 3"];
    thread::scope(|scope| {
        for says in cases {
            scope.spawn(move || {
                let site = Site::registered();
                site.forget_tag();
                site.program("usr/bin/systemctl", &format!("[ \"$1\" = is-active ] && {{ {says}; }}\nexit 0"));
                site.run(&[]).is(17, "");
                assert_eq!(site.tag(), None, "{says}");
            });
        }
        for code in [1, 2, 4, 69] {
            scope.spawn(move || {
                let site = with_script();
                site.run(&[]).is(0, "registered");
                site.forget_tag();
                let script = format!("[ \"$2\" = status ] && exit {code}\nexit 0");
                site.program("usr/bin/service", &script);
                site.run(&[]).is(17, "");
                assert_eq!(site.tag(), None, "{code}");
            });
        }
    });
}

/// A machine with the scripts of old. Its `service` clears the environment, as those of Debian and Red Hat do.
fn with_script() -> Site {
    let site = Site::new();
    fs::remove_file(site.at("usr/bin/systemctl")).unwrap();
    site.program(
        "usr/bin/service",
        &format!("umask > ROOT/umask\nshift\n[ \"$1\" = status ] && {{ [ -e ROOT/running ]; exit $?; }}\n{MANAGER}"),
    );
    site
}

type Parameter = Arc<Mutex<Option<String>>>;

fn live(changes: &[(&str, &str)]) -> String {
    activation(&[&[("ExpirationDate", "2099-01-01T00:00:00Z")], changes].concat())
}

/// A machine whose parameter can be changed.
fn with_parameter(changes: &[(&str, &str)]) -> (Site, Parameter) {
    let parameter: Parameter = Arc::new(Mutex::new(Some(live(changes))));
    let kept = Arc::clone(&parameter);
    let site = Site::with(metadata, move |tag, request: &Request| -> Answer {
        if !request.headers.contains_key("x-amz-target") {
            return aws(tag, request);
        }
        match kept.lock().unwrap().as_ref() {
            Some(value) => says(json!({"Parameter": {"Value": value}}).to_string()),
            None => (400, vec![], json!({"__type": "ParameterNotFound"}).to_string()),
        }
    });
    site.run(&[]).is(0, "registered");
    site.forget_tag();
    (site, parameter)
}

#[test]
fn a_registration_is_not_tagged_while_nothing_says_that_it_is_the_hub_s() {
    let (site, parameter) = with_parameter(&[("Region", "eu-west-1")]);
    fs::remove_file(site.at(MARKER)).unwrap();
    *parameter.lock().unwrap() = Some(live(&[("Account", "333333333333")]));
    site.run(&[]).is(9, "nothing says whether that is the hub's");
    *parameter.lock().unwrap() = None;
    site.run(&[]).is(6, "nothing says whether that is the hub's");
    site.run(&["doctor"]).is(6, "name the hub's Region with --region");
    assert_eq!(site.tag(), None);
    site.run(&["--region", "us-east-1"]).is(18, "foreign-registration");
    site.run(&["--region", "eu-west-1"]).is(0, "tag-written");
    // The note of the registration knows.
    site.forget_tag();
    site.run(&[]).is(0, "tag-written");

    // Another hub in the same Region.
    let (site, parameter) = with_parameter(&[]);
    site.run(&["--hub-account", "111111111111"]).is(0, "tag-written");
    site.forget_tag();
    for arguments in
        [&["--hub-account", "999999999999"][..], &["--hub-account", "999999999999", "--region", "us-east-1"]]
    {
        site.run(arguments).is(9, "--hub-account asks for 999999999999");
        let report = site.run(&[&["doctor"], arguments].concat());
        report.is(9, "--hub-account asks for");
    }
    *parameter.lock().unwrap() = Some(live(&[("HubAccount", "999999999999")]));
    site.run(&["--hub-account", "111111111111"]).is(9, "registers in account 999999999999");
    site.run(&[]).is(18, "of account 999999999999");
    assert_eq!(site.tag(), None);

    // One that an older hub wrote: each remedy works.
    let mut older: Value = serde_json::from_str(&live(&[])).unwrap();
    older.as_object_mut().unwrap().remove("HubAccount");
    let (site, parameter) = with_parameter(&[]);
    fs::remove_file(site.at(MARKER)).unwrap();
    *parameter.lock().unwrap() = Some(older.to_string());
    let ran = site.run(&["--hub-account", "111111111111"]);
    ran.is(9, "leave --hub-account out, and name the hub's Region with --region");
    assert!(ran.said.contains("invoke activation-issuer"), "{}", ran.said);
    site.run(&["--region", "us-east-1"]).is(0, "tag-written");
}

#[test]
fn a_bad_environment_is_named_in_the_one_line() {
    let with = |variables: &[(&str, &str)], arguments: &[&str]| {
        let site = Site::new();
        let mut command = site.command(arguments);
        command.envs(variables.iter().copied());
        (Site::run_command(command), site)
    };
    for (name, value) in [
        ("SSL_CERT_FILE", "/nonexistent.pem"),
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/nonexistent"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "not a url"),
        ("AWS_ENDPOINT_URL", "not a url"),
        ("AWS_ENDPOINT_URL_SSM", "localhost:4566"),
    ] {
        for arguments in [&[][..], &["doctor"]] {
            let (ran, _) = with(&[(name, value)], arguments);
            ran.is(1, name);
            assert_eq!((&ran.line["exitCode"], &ran.line["reason"]), (&json!(1), &json!("unexpected")), "{}", ran.said);
        }
    }
    for arguments in [&[][..], &["doctor"]] {
        let (ran, site) = with(&[("AWS_EC2_METADATA_DISABLED", "true")], arguments);
        ran.is(4, "AWS_EC2_METADATA_DISABLED");
        assert!(!ran.said.contains("TagHubInstance") && site.imds.lines().is_empty(), "{}", ran.said);
    }
    // The agent's service has none of this.
    let (ran, site) = with(
        &[
            ("AWS_CA_BUNDLE", "/x"),
            ("GODEBUG", "x"),
            ("AWS_ACCESS_KEY_ID", "x"),
            ("LC_ALL", "de_DE"),
            ("ALL_PROXY", "x"),
        ],
        &[],
    );
    ran.is(0, "registered");
    let environment = site.read("agent-environment");
    let names: Vec<&str> = environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert!(names.iter().all(|name| ["PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(name)), "{environment}");
}

#[test]
fn a_role_that_ec2_cannot_assume_is_not_a_missing_profile() {
    let site = Site::with(
        |request| {
            if request.line.contains("/security-credentials/TagHubInstance") {
                return says(json!({"Code": "AssumeRoleUnauthorizedAccess", "Message": "x", "LastUpdated": "2026-01-01T00:00:00Z"}).to_string());
            }
            metadata(request)
        },
        aws,
    );
    for arguments in [&[][..], &["doctor"]] {
        let ran = site.run(arguments);
        ran.is(6, "trust policy");
        assert!(!ran.said.contains("Attach the instance profile"), "{}", ran.said);
    }
}

#[test]
fn doctor_ends_when_it_is_told_to() {
    let hangs = || {
        Site::with(metadata, |_, _| {
            thread::sleep(Duration::from_mins(2));
            says("")
        })
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let site = hangs();
            let begun = Instant::now();
            let ran = site.run(&["doctor"]);
            assert!(begun.elapsed() < Duration::from_secs(14), "{:?}", begun.elapsed());
            ran.is(15, "--timeout");
            assert_eq!((status(&ran, "service"), status(&ran, "registration")), (json!("ok"), json!("failed")));
        });
        for (hangs_in, signal) in [("AWS", "INT"), ("ssm-cli", "TERM")] {
            scope.spawn(move || {
                let site = if hangs_in == "AWS" { hangs() } else { Site::new() };
                if hangs_in != "AWS" {
                    site.program("usr/bin/ssm-cli", "exec sleep 100");
                }
                let mut command = site.command(&["doctor", "--timeout", "5m"]);
                let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
                thread::sleep(Duration::from_secs(2));
                let begun = Instant::now();
                Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
                let output = child.wait_with_output().unwrap();
                assert!(begun.elapsed() < Duration::from_secs(5), "{hangs_in}");
                assert_eq!(output.status.code(), Some(16), "{hangs_in}: {output:?}");
                let line: Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!(line["reason"], "interrupted");
            });
        }
        scope.spawn(|| {
            let site = Site::registered();
            site.program("usr/bin/ssm-cli", "exec sleep 100");
            let begun = Instant::now();
            site.run(&[]).is(15, "--timeout");
            assert!(begun.elapsed() < Duration::from_secs(14), "{:?}", begun.elapsed());
        });
    });
}

#[test]
fn what_the_next_start_would_not_see_is_not_healthy() {
    for contents in [None, Some("half wri"), Some("{}")] {
        let site = Site::registered();
        match contents {
            None => fs::remove_file(site.at(MANIFEST)).unwrap(),
            Some(contents) => site.write(MANIFEST, contents),
        }
        let report = site.run(&["doctor"]);
        report.is(17, "register-instance heal");
        assert_eq!((status(&report, "registration"), status(&report, "in-use")), (json!("failed"), json!("ok")));
        site.run(&[]).is(0, "manifest");
        site.run(&["heal"]).is(0, "did not list the registration; it does now");
        assert!(site.read(MANIFEST).contains(VAULT) && site.nodes() == 1);
        site.run(&["doctor"]).is(0, "");
    }
    // A vault that lacks what an agent needs: the advice does what it says.
    for contents in ["\u{feff}not json", r#"{"instanceID":"mi-00000000000000001","region":"","privateKey":"k"}"#] {
        let site = Site::registered();
        site.write("cli-says", &format!(r#"{{"instance-id":"{FIRST_NODE}","region":"us-east-1"}}"#));
        site.write(VAULT, contents);
        site.run(&["doctor"]).is(17, "restart the agent, and run `register-instance heal --replace`");
        site.write("cli-says", &format!(r#"{{"instance-id":"{INSTANCE}","region":"us-west-2"}}"#));
        fs::remove_file(site.at(NOTED)).unwrap();
        let ran = site.run(&["heal", "--replace", "--timeout", "75s"]);
        assert!(ran.said.contains("clearing the registration") && site.nodes() == 2, "{contents}: {}", ran.said);
    }
    let site = Site::registered();
    site.write("cli-says", &format!(r#"{{"instance-id":"{FIRST_NODE}","region":"us-east-1"}}"#));
    fs::remove_file(site.at(VAULT)).unwrap();
    site.run(&["doctor"]).is(17, "the agent's vault is empty");
    site.run(&["heal", "--replace"]).is(0, "tag-written");
    assert_eq!(site.nodes(), 1, "the running agent is the node still");
    // The advice does what it says.
    for file in ["cli-says", NOTED] {
        fs::remove_file(site.at(file)).unwrap();
    }
    site.run(&[]).is(0, "registered");
    site.run(&["doctor"]).is(0, "");
}

#[test]
fn proxies_as_the_agent_knows_them() {
    let proxied = |variables: &str, endpoint: Option<&str>| {
        let site = Site::new();
        let proxy = Server::start(|_| (403, vec![], String::new()));
        site.write(DROPIN, &format!("[Service]\nEnvironment={}\n", variables.replace("PROXY_URL", &proxy.url)));
        let mut command = site.command(&[]);
        if let Some(endpoint) = endpoint {
            command.env("AWS_ENDPOINT_URL", endpoint);
        }
        (Site::run_command(command), proxy.lines().len())
    };
    let endpoint = Some("http://ssm.us-west-2.amazonaws.test");
    thread::scope(|scope| {
        for (none, is_direct) in [
            ("*.amazonaws.test", true),
            (".amazonaws.test", true),
            ("ssm.us-west-2.amazonaws.test:80", true),
            ("ssm.us-west-2.amazonaws.test:443", false),
            ("*.other.test", false),
        ] {
            scope.spawn(move || {
                let (ran, seen) = proxied(&format!("HTTP_PROXY=PROXY_URL NO_PROXY={none}"), endpoint);
                assert_eq!(seen == 0, is_direct, "{none}: {}", ran.said);
            });
        }
    });
    let (ran, _) = proxied("HTTP_PROXY=socks5://me:secret@127.0.0.1:9", None);
    ran.is(0, "registered");
    let (ran, _) = proxied("HTTP_PROXY=socks5://me:secret@127.0.0.1:9", Some("http://127.0.0.1:1"));
    ran.is(15, "socks5://127.0.0.1:9");
    assert!(ran.said.contains("which only the agent can") && !ran.said.contains("secret"), "{}", ran.said);
}

#[test]
fn the_scripts_of_old_start_with_an_empty_environment() {
    let site = with_script();
    site.write(
        "etc/sysconfig/amazon-ssm-agent",
        "HTTP_PROXY=http://not-exported:1\nexport HTTPS_PROXY=\"http://proxy:1\"\n",
    );
    let mut command = site.command(&[]);
    command.env("HTTP_PROXY", &site.aws.url);
    Site::run_command(command).is(0, "registered");
    let environment = site.read("agent-environment");
    assert!(
        environment.contains("HTTPS_PROXY=http://proxy:1") && !environment.contains("HTTP_PROXY="),
        "{environment}"
    );
    assert_eq!(site.read("umask").trim(), "0022");
    site.is_node(FIRST_NODE);
}

#[test]
fn an_agent_that_could_not_be_started_again_is_not_stopped() {
    let masks: [Spoilt; 3] = [
        ("empty", |site| site.write(UNIT, "")),
        ("relative", |site| {
            fs::remove_file(site.at(UNIT)).unwrap();
            let depth = site.at(UNIT).parent().unwrap().components().count() - 1;
            symlink(format!("{}dev/null", "../".repeat(depth)), site.at(UNIT)).unwrap();
        }),
        ("otherwise", |site| site.write("enabled", "masked-runtime\n")),
    ];
    for (name, mask) in masks {
        let site = Site::new();
        mask(&site);
        let ran = site.run(&[]);
        assert!([5, 11].contains(&ran.code) && ran.said.contains("systemctl unmask"), "{name}: {}", ran.said);
        assert!(site.is_running() && site.calls().iter().all(|call| !call.contains("stop")), "{name}");
    }
    // systemctl is there, and another manager runs the machine.
    let site = Site::new();
    site.program("usr/bin/initctl", MANAGER);
    site.program(
        "usr/bin/systemctl",
        "echo 'System has not been booted with systemd as init system (PID 1).' >&2; exit 1",
    );
    site.run(&[]).is(0, "registered");
    site.is_node(FIRST_NODE);
}

#[test]
fn a_known_refusal_ends_the_run_at_once() {
    for words in [
        "AccessDeniedException: x",
        "UnrecognizedClientException: x",
        "UnsupportedPlatformType: x",
        "RequestError: send request failed caused by: x509: certificate signed by unknown authority",
    ] {
        let site = Site::new();
        site.write("agent-says", &format!("ERROR Registration failed due to {words}\n").repeat(9));
        site.run(&["--timeout", "5m"]).is(10, words);
        assert_eq!(register_calls(&site), 1, "{words}");
    }
}

#[test]
fn a_signal_during_a_replacement_leaves_no_machine_that_is_nobody_s() {
    let site = Site::registered();
    site.write("agent-logs", REFUSED);
    site.write(LOG, REFUSED);
    let clears = "[ \"$1 $2\" = \"-register -clear\" ] && { : > ROOT/clearing; sleep 2; }\n";
    site.program("usr/bin/amazon-ssm-agent", &format!("{clears}{AGENT}"));
    let mut command = site.command(&["heal", "--replace", "--timeout", "60s"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !site.at("clearing").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it never clears");
        thread::sleep(Duration::from_millis(20));
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains(CODE));
    assert!(site.is_running() && site.nodes() == 2 && site.read(VAULT).contains("mi-00000000000000002"), "{output:?}");
    site.write("agent-logs", "2026-11-22 02:00:00 INFO Credentials ready\n");
    site.run(&["heal"]).is(0, "tag-written");
    site.is_node("mi-00000000000000002");
}

#[test]
fn what_was_cleared_is_put_back_if_nothing_takes_its_place() {
    let site = Site::new();
    let record = r#"{"instanceID":"mi-11111111111111111","region":"eu-west-1","privateKey":"k"}"#;
    site.write(VAULT, record);
    site.write(MANIFEST, &format!(r#"{{"RegistrationKey":"{VAULT}"}}"#));
    site.write("agent-says", &"ERROR RegistrationLimitExceeded: x\n".repeat(3));
    let ran = site.run(&["heal", "--replace"]);
    ran.is(8, "The old registration was put back");
    assert!(!ran.said.contains("Deregister"), "{}", ran.said);
    assert_eq!((site.read(VAULT).as_str(), site.is_running(), site.nodes()), (record, true, 0));
    site.run(&["heal", "--replace"]).is(8, "");
    site.write("agent-says", "");
    site.run(&["heal", "--replace"]).is(0, "replaced");
    site.is_node(FIRST_NODE);
}

#[test]
fn files_of_the_system_keep_their_kind() {
    let site = Site::new();
    fs::remove_dir(site.at("run")).unwrap();
    site.write("cfg.json", r#"{"Agent":{"Region":"x"}}"#);
    fs::set_permissions(site.at("cfg.json"), fs::Permissions::from_mode(0o644)).unwrap();
    symlink(site.at("cfg.json"), site.at(CONFIGURATION)).unwrap();
    site.run(&["--keep-default-profile"]).is(0, "registered");
    assert!(site.at(CONFIGURATION).is_symlink() && site.read("cfg.json").contains("ShareCreds"));
    let mode = |path: &str| fs::metadata(site.at(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("cfg.json"), mode("run"), mode(MARKER)), (0o644, 0o755, 0o600));
}

#[test]
fn nothing_is_run_that_others_may_write() {
    if Command::new("id").arg("-u").output().unwrap().stdout != b"0\n" {
        return;
    }
    let spoils: [Spoilt; 4] = [
        ("a folder of a group", |site| {
            chown(site.at("usr/bin"), None, Some(1000)).unwrap();
            fs::set_permissions(site.at("usr/bin"), fs::Permissions::from_mode(0o775)).unwrap();
        }),
        ("a folder above", |site| fs::set_permissions(site.at("usr"), fs::Permissions::from_mode(0o777)).unwrap()),
        ("another's agent", |site| chown(site.at("usr/bin/amazon-ssm-agent"), Some(1000), None).unwrap()),
        ("a link to another's", |site| {
            fs::create_dir(site.at("opt")).unwrap();
            fs::rename(site.at("usr/bin/amazon-ssm-agent"), site.at("opt/agent")).unwrap();
            chown(site.at("opt"), Some(1000), None).unwrap();
            symlink(site.at("opt/agent"), site.at("usr/bin/amazon-ssm-agent")).unwrap();
        }),
    ];
    for (name, spoil) in spoils {
        let site = Site::new();
        spoil(&site);
        let ran = site.run(&[]);
        ran.is(5, "not installed");
        assert!(site.calls().is_empty(), "{name}: {:?}", site.calls());
    }
    // An empty search path is none.
    let mut command = Site::new().command(&[]);
    command.env("PATH", "");
    Site::run_command(command).is(5, "");
}

#[test]
fn an_agent_that_stays_silent_after_its_start_is_given_time() {
    let site = Site::new();
    site.write("agent-logs", "2026-11-22 02:00:00 INFO [HealthCheck] x\n");
    site.program(
        "usr/bin/systemctl",
        &without_times().replace("echo \"2026-11-22 02:00:00 INFO Starting Core Agent\";", ""),
    );
    let begun = Instant::now();
    let ran = site.run(&["--timeout", "60s"]);
    ran.is(0, "nothing here proves that Systems Manager accepts it");
    assert_eq!((&ran.line["outcome"], &ran.line["inUse"]), (&json!("registered"), &json!("unproven")), "{}", ran.said);
    assert!(begun.elapsed() >= Duration::from_secs(30), "{:?}", begun.elapsed());
    // And with no time to give, it is not called in use.
    let site = Site::new();
    site.write("agent-logs", "");
    site.program("usr/bin/ssm-cli", SSM_CLI);
    site.run(&[]).is(17, "the agent has just started");
    assert_eq!(site.tag(), None);
}
