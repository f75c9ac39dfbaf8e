//! What people who do this job ran into, each as a machine and the right outcome.

use std::time::Duration;

use register_instance::outcome::Done;
use register_instance::{Reason, Repair, Settings};

use crate::fake::{
    INSTANCE, LOG, MANIFEST, MARKER, NODE, NOTED, READY, START, State, UNIT, VAULT, World, aws_error, settings,
};
use crate::outcomes::{FIRST_NODE, fails, is_untouched, refusing};

const MISMATCH: &str = "2026-11-22 02:00:01.0000 ERROR [CredentialRefresher] Retrieve credentials produced error: MachineFingerprintDoesNotMatch: Fingerprint doesn't match\n";
const DENIED: &str = "2026-11-22 02:00:01.0000 ERROR [CredentialRefresher] Retrieve credentials produced error: AccessDeniedException: \n";
fn heal() -> Settings {
    Settings { repair: Repair::Heal, ..settings() }
}

fn replace() -> Settings {
    Settings { repair: Repair::Replace, ..settings() }
}

fn with_log(mut state: State, log: &str) -> State {
    state.files.insert(LOG.to_owned(), log.to_owned());
    state
}

fn node() -> Done {
    Done::TagWritten(NODE.parse().unwrap())
}

#[test]
fn a_registration_in_another_region_is_refused() {
    let words = [NODE, "registered as", "eu-west-1", "the hub is in us-east-1", "heal --replace"];
    let (state, failure) = fails(State::registered_in("eu-west-1"), &settings(), Reason::ForeignRegistration, &words);
    is_untouched(&state);
    assert_eq!((state.tag, failure.node), (None, NODE.parse().ok()));
    // Also if the command line says where the hub is.
    let asked = Settings { region: "ap-southeast-2".parse().ok(), ..settings() };
    let words = ["us-east-1", "the hub is in ap-southeast-2"];
    let (state, _) = fails(State::registered(), &asked, Reason::ForeignRegistration, &words);
    is_untouched(&state);
    assert_eq!(state.tag, None);
    // And if only the agent knows.
    let mut state = State::registered();
    state.files.insert(VAULT.to_owned(), format!(r#"{{"instanceID":"{NODE}"}}"#));
    state.identity = Some((NODE.to_owned(), "eu-west-1".to_owned()));
    let (state, _) =
        fails(state, &settings(), Reason::ForeignRegistration, &["in eu-west-1, and the hub is in us-east-1"]);
    assert_eq!(state.tag, None);

    let world = World::new(State::registered_in("eu-west-1"));
    let success = world.run(&replace()).unwrap();
    assert_eq!(success.done, Done::Replaced { node: FIRST_NODE.parse().unwrap(), old: NODE.parse().ok() });
    let command = format!("aws ssm deregister-managed-instance --instance-id {NODE} --region eu-west-1");
    let advised = |notes: &[String]| notes.iter().find(|note| note.contains(&command)).cloned().unwrap();
    assert!(advised(&success.notes).contains("If no other machine uses"), "nothing says which machine was registered");
    assert_eq!(world.state().tag.as_deref(), Some(FIRST_NODE));
    let marker = State::marked(INSTANCE).files[MARKER].clone();
    let mut noted = State::registered_in("eu-west-1");
    noted.files.insert(MARKER.to_owned(), marker);
    let success = World::new(noted).run(&replace()).unwrap();
    assert!(advised(&success.notes).contains(&format!("{NODE} is no longer in use")), "{:?}", success.notes);
}

#[test]
fn an_agent_that_is_refused_does_not_use_its_registration() {
    for (log, words) in [(MISMATCH, "resized, restored, or copied"), (DENIED, "was deregistered")] {
        let state = with_log(State::registered(), &format!("{START}{READY}{log}"));
        let (state, failure) =
            fails(state, &settings(), Reason::NotInUse, &[words, NODE, "heal --replace", "deregister"]);
        assert_eq!((&state.tag, failure.node), (&None, NODE.parse().ok()));
        assert!(state.paused < Duration::from_secs(1), "a refusal is known at once");
        assert_eq!(state.count("systemctl st"), 0);
    }
    // It was refused once, and is not any more.
    let recovered = with_log(State::registered(), &format!("{MISMATCH}{START}{READY}"));
    assert_eq!(World::new(recovered).run(&settings()).unwrap().done, node());
}

#[test]
fn an_agent_that_has_just_started_is_given_time_to_be_refused() {
    // When it started is not known.
    let mut unknown = with_log(State::registered(), START);
    unknown.files.remove("/proc/uptime");
    let world = World::new(unknown);
    let success = world.run(&settings()).unwrap();
    assert_eq!((&success.done, success.is_proven), (&node(), Some(false)), "{success:?}");
    assert!(success.notes[0].contains("nothing here proves"), "{:?}", success.notes);
    assert!(world.state().paused >= Duration::from_secs(30), "{:?}", world.state().paused);
    let registering = State { logs_at_start: format!("{START}{MISMATCH}"), ..State::fresh() };
    let (state, failure) = fails(registering, &settings(), Reason::NotInUse, &["MachineFingerprintDoesNotMatch"]);
    assert_eq!((state.tag, failure.node), (None, FIRST_NODE.parse().ok()));
    let registering = State { logs_at_start: format!("{START}{READY}"), ..State::fresh() };
    let world = World::new(registering);
    assert!(world.run(&settings()).is_ok());
    assert_eq!(world.state().paused, Duration::ZERO);
}

#[test]
fn an_agent_that_starts_again_and_again_never_settles() {
    let state = with_log(State::registered(), START).up(100, 95);
    let (state, _) = fails(state, &settings(), Reason::NotInUse, &["has just started", "--timeout"]);
    assert_eq!(state.tag, None);
    // One that is refused after a while.
    let refused =
        State { logs_later: Some((3, MISMATCH.to_owned())), logs_at_start: START.to_owned(), ..State::fresh() };
    let (state, _) = fails(refused, &settings(), Reason::NotInUse, &["MachineFingerprintDoesNotMatch"]);
    assert_eq!(state.tag, None);
    // One whose process upstart tells.
    let programs = vec!["amazon-ssm-agent", "ssm-cli", "initctl"];
    let upstart = State { programs, ..with_log(State::registered(), READY) };
    fails(upstart.clone().up(100, 95), &settings(), Reason::NotInUse, &["has just started"]);
    assert_eq!(World::new(upstart.up(100, 5)).run(&settings()).unwrap().done, node());
}

#[test]
fn what_is_on_the_disk_is_not_what_the_agent_uses() {
    // The configuration lacks OnPrem: the agent stays an EC2 instance.
    let mut ec2 = State { ignores_vault: true, ..State::registered() };
    ec2.identity = None;
    let words = ["answers that it is an EC2 instance", "--timeout", "register-instance heal"];
    let (state, _) = fails(ec2, &settings(), Reason::NotInUse, &words);
    assert_eq!((&state.tag, state.count("systemctl st")), (&None, 0));
    let fresh = State { ignores_vault: true, ..State::fresh() };
    let (state, failure) = fails(fresh, &settings(), Reason::NotInUse, &["is an EC2 instance"]);
    assert_eq!((state.tag, failure.node, state.nodes_made), (None, FIRST_NODE.parse().ok(), 1));
    // Another node, or nonsense.
    let mut other = State::registered();
    other.identity = Some((FIRST_NODE.to_owned(), "us-east-1".to_owned()));
    fails(other, &settings(), Reason::NotInUse, &[NODE, "answers that it is mi-00000000000000001"]);
    let nonsense = State { cli_says: vec!["Error: <html>".to_owned()], ..State::registered() };
    fails(nonsense, &settings(), Reason::NotInUse, &["does not say which node it is (Error: <html>)"]);
    let old = State { programs: vec!["amazon-ssm-agent", "systemctl"], ..State::registered() };
    fails(old, &settings(), Reason::NotInUse, &["no ssm-cli"]);
    // It needs a while to say so.
    let slow = State {
        cli_says: vec![
            String::new(),
            "starting".to_owned(),
            format!(r#"{{"instance-id":"{NODE}","region":"us-east-1"}}"#),
        ],
        ..State::registered()
    };
    assert_eq!(World::new(slow).run(&settings()).unwrap().done, node());
}

#[test]
fn an_agent_that_does_not_reach_systems_manager_is_waited_for() {
    let log = format!(
        "{START}2026-11-22 02:00:00 ERROR [CredentialRefresher] Retrieve credentials produced error: RequestError: send request failed\n"
    );
    let (state, _) =
        fails(with_log(State::registered(), &log), &settings(), Reason::NotInUse, &["does not reach Systems Manager"]);
    assert_eq!(state.tag, None);
}

#[test]
fn a_registration_is_not_replaced_for_want_of_a_network() {
    let cut_off = "2026-11-22 02:00:00 ERROR [CredentialRefresher] Retrieve credentials produced error: RequestError: send request failed\n";
    let start = State { logs_at_start: format!("{START}{cut_off}"), ..with_log(State::registered(), cut_off) };
    let (state, _) = fails(start, &replace(), Reason::NotInUse, &["does not reach Systems Manager"]);
    assert_eq!((state.registered_as().as_deref(), state.nodes_made), (Some(NODE), 0));
}

#[test]
fn an_agent_that_was_stopped_is_started() {
    for manager in ["systemctl", "initctl", "service"] {
        let programs = vec!["amazon-ssm-agent", "ssm-cli", manager];
        let world = World::new(State { is_agent_running: false, programs, ..State::registered() });
        assert_eq!(world.run(&settings()).unwrap().done, node(), "{manager}");
        assert!(world.state().is_agent_running, "{manager}: the answer of ssm-cli is that of an agent that has ended");
    }
}

#[test]
fn heal_restarts_and_replaces_only_what_is_dead() {
    // Registered by hand and not restarted since.
    let mut outdated = State::registered();
    outdated.identity = None;
    let world = World::new(outdated);
    assert_eq!(world.run(&heal()).unwrap().done, node());
    assert_eq!((world.state().count("systemctl stop"), world.state().tag.as_deref()), (1, Some(NODE)));
    // Healthy: nothing is restarted or replaced.
    for settings in [heal(), replace()] {
        let world = World::new(State::registered());
        assert_eq!(world.run(&settings).unwrap().done, node());
        assert_eq!((world.state().count("systemctl st"), world.state().nodes_made), (0, 0));
    }
    // The machine changed: a restart does not help.
    let changed = || State { logs_at_start: format!("{START}{MISMATCH}"), ..with_log(State::registered(), MISMATCH) };
    let (state, _) = fails(changed(), &heal(), Reason::NotInUse, &["resized", "heal --replace"]);
    assert_eq!((state.nodes_made, state.tag), (0, None));
    let world = World::new(changed());
    let failure = world.run(&replace()).unwrap_err();
    assert_eq!(failure.reason, Reason::NotInUse, "the new node is asked for too: {failure}");
    assert!(failure.message.contains("The old registration was cleared") && failure.message.contains("deregister"));
    // Nothing is cleared without an activation to register with.
    let bare = State { parameters: [].into(), ..State::registered_in("eu-west-1") };
    let elsewhere = Settings { region: "us-east-1".parse().ok(), ..replace() };
    let (state, _) = fails(bare, &elsewhere, Reason::ActivationUnreadable, &["there is no parameter"]);
    is_untouched(&state);
}

#[test]
fn a_vault_that_cannot_be_read_is_not_overwritten() {
    for contents in ["not json", r#"{"instanceID":"mi-1111"#, "[]", "<html>"] {
        let mut state = State::fresh();
        state.files.insert(VAULT.to_owned(), contents.to_owned());
        let (state, _) = fails(state, &settings(), Reason::NotInUse, &[VAULT, "heal --replace"]);
        is_untouched(&state);
        let mut broken = state;
        broken.files.insert(MANIFEST.to_owned(), "half wri".to_owned());
        let world = World::new(broken);
        let done = Done::Replaced { node: FIRST_NODE.parse().unwrap(), old: None };
        assert_eq!(world.run(&replace()).unwrap().done, done, "{contents}");
    }
    // The agent knows who it is: that counts.
    let mut state = State::registered();
    state.files.insert(VAULT.to_owned(), "future form".to_owned());
    assert_eq!(World::new(state).run(&settings()).unwrap().done, node());
    // An agent that does not see its registration says why.
    let mut state = State { ignores_vault: true, identity: None, ..State::registered() };
    state.files.remove(MANIFEST);
    fails(state, &settings(), Reason::NotInUse, &["the agent's vault has no manifest"]);
}

#[test]
fn the_file_beside_the_vault_is_compared_and_mended() {
    let mut state = State::registered();
    state.files.insert(NOTED.to_owned(), format!(r#"{{"ManagedInstanceID":"{FIRST_NODE}","Region":"us-east-1"}}"#));
    let world = World::new(state.clone());
    let success = world.run(&settings()).unwrap();
    assert!(success.notes[0].contains("run `register-instance heal`"), "{:?}", success.notes);
    let world = World::new(state);
    assert!(world.run(&heal()).unwrap().notes[0].contains("is corrected"));
    assert!(world.state().files[NOTED].contains(NODE));
}

#[test]
fn the_agent_registers_with_the_environment_of_its_service() {
    let proxied = |file: &str, contents: &str| {
        let mut state = State::fresh();
        state.files.insert(file.to_owned(), contents.to_owned());
        state.environment = [("HTTPS_PROXY".to_owned(), "http://shell:1".to_owned())].into();
        state
    };
    let dropin = "/etc/systemd/system/amazon-ssm-agent.service.d/proxy.conf";
    let dropin = proxied(
        dropin,
        "[Service]\nEnvironment=\"HTTPS_PROXY=http://me:secret@proxy:3128\" NO_PROXY=169.254.169.254\n",
    );
    let world = World::new(dropin.clone());
    assert!(world.run(&settings()).is_ok());
    let with = world.state().registered_with.unwrap();
    assert_eq!(with["HTTPS_PROXY"], "http://me:secret@proxy:3128");
    assert_eq!(world.state().proxies.unwrap().https.as_deref(), Some("http://me:secret@proxy:3128"));
    let refused = State { agent_says: refusing(&["proxyconnect tcp: EOF"; 99]).agent_says, ..dropin };
    let words = ["through the proxy http://proxy:3128, as in the environment of amazon-ssm-agent.service"];
    let (_, failure) = fails(refused, &settings(), Reason::Network, &words);
    assert!(!failure.message.contains("secret"), "{failure}");

    // The shell's proxy is not the agent's.
    let shell_only = proxied("/none", "");
    let world = World::new(shell_only.clone());
    assert!(world.run(&settings()).is_ok());
    assert_eq!(world.state().registered_with.unwrap().get("HTTPS_PROXY"), None);
    assert_eq!(world.state().proxies.unwrap().https.as_deref(), Some("http://shell:1"));
    let refused = State { agent_says: refusing(&["i/o timeout"; 99]).agent_says, ..shell_only };
    let words = ["this run has the proxy http://shell:1, and the agent's amazon-ssm-agent.service has none"];
    fails(refused, &settings(), Reason::Network, &words);

    // Other places.
    for (file, contents) in [
        (UNIT, "[Service]\nEnvironment=HTTPS_PROXY=http://unit:1\n"),
        ("/etc/systemd/system/amazon-.service.d/p.conf", "[Service]\nEnvironment='HTTPS_PROXY=http://unit:1'\n"),
        (
            "/run/systemd/system/amazon-ssm-agent.service.d/p.conf",
            "[Service]\nEnvironment=A=1 \\\n  HTTPS_PROXY=http://unit:1\n",
        ),
        ("/etc/systemd/system.conf.d/p.conf", "[Manager]\nDefaultEnvironment=HTTPS_PROXY=http://unit:1\n"),
    ] {
        let world = World::new(proxied(file, contents));
        assert!(world.run(&settings()).is_ok());
        assert_eq!(world.state().registered_with.unwrap()["HTTPS_PROXY"], "http://unit:1", "{file}");
    }
    let mut by_file = proxied(UNIT, "[Service]\nEnvironmentFile=-/etc/environment\n");
    by_file.files.insert("/etc/environment".to_owned(), "HTTPS_PROXY=\"http://unit:1\"\n".to_owned());
    let world = World::new(by_file);
    assert!(world.run(&settings()).is_ok());
    assert_eq!(world.state().registered_with.unwrap()["HTTPS_PROXY"], "http://unit:1");
    let mut upstart = proxied("/etc/init/amazon-ssm-agent.override", "env HTTPS_PROXY=http://unit:1\nmanual\n");
    upstart.programs = vec!["amazon-ssm-agent", "ssm-cli", "initctl"];
    let world = World::new(upstart);
    let success = world.run(&settings()).unwrap();
    assert_eq!(world.state().registered_with.unwrap()["HTTPS_PROXY"], "http://unit:1");
    assert!(success.notes[0].contains("gone after a reboot"), "{:?}", success.notes);
}

#[test]
fn an_agent_that_is_installed_late_is_waited_for() {
    let late = State { agent_comes_after: 5, ..State::fresh() };
    let at_boot = Settings { wait_for_network: true, ..settings() };
    assert!(World::new(late.clone()).run(&at_boot).is_ok());
    let (state, _) = fails(late, &settings(), Reason::AgentMissing, &["not installed"]);
    assert_eq!(state.paused, Duration::ZERO, "whoever does not wait is told at once");
    let never = State { agent_comes_after: usize::MAX, ..State::fresh() };
    let (state, _) = fails(never, &at_boot, Reason::AgentMissing, &["--timeout", "not installed"]);
    is_untouched(&state);
    // snapd has not come to it yet.
    let mut seeding = State { agent_comes_after: 5, ..State::fresh() };
    seeding.files.insert("/var/lib/snapd/seed/seed.yaml".to_owned(), "snaps:\n- name: amazon-ssm-agent\n".to_owned());
    assert!(World::new(seeding.clone()).run(&settings()).is_ok());
    seeding.files.insert("/var/lib/snapd/state.json".to_owned(), r#"{"data":{"seeded":true}}"#.to_owned());
    fails(seeding, &settings(), Reason::AgentMissing, &["not installed"]);
}

#[test]
fn a_masked_unit_beside_the_snap_is_not_the_agent() {
    let unit = "/etc/systemd/system/amazon-ssm-agent.service";
    let mut both = State { masked: vec![unit.to_owned()], ..State::fresh() };
    for program in ["amazon-ssm-agent", "ssm-cli"] {
        both.files.insert(format!("/snap/amazon-ssm-agent/current/{program}"), String::new());
    }
    let world = World::new(both.clone());
    assert!(world.run(&settings()).is_ok(), "{}", world.state().said);
    both.masked.clear();
    fails(both, &settings(), Reason::AgentMissing, &["two agents", "mask its unit"]);
    let masked = State { masked: vec![unit.to_owned()], ..State::fresh() };
    is_untouched(&fails(masked, &settings(), Reason::AgentMissing, &["masked", "systemctl unmask"]).0);
}

#[test]
fn the_agent_runs_after_the_next_boot_or_it_is_said() {
    for start in [State::fresh(), State::registered()] {
        let world = World::new(State { enabled: "disabled".to_owned(), ..start.clone() });
        let success = world.run(&settings()).unwrap();
        assert_eq!((world.state().enabled.as_str(), world.state().count("systemctl enable")), ("enabled", 1));
        assert!(success.notes[0].contains("was disabled; it is enabled now"), "{:?}", success.notes);
        let world = World::new(State { enabled: "disabled".to_owned(), cannot_enable: true, ..start });
        let success = world.run(&settings()).unwrap();
        assert!(success.notes[0].contains("gone after a reboot"), "{:?}", success.notes);
    }
}

#[test]
fn the_default_profile_is_kept_if_asked_for() {
    let file = "/etc/amazon/ssm/amazon-ssm-agent.json";
    let keep = Settings { keep_default_profile: true, ..settings() };
    let mut state = State::fresh();
    state.files.insert(file.to_owned(), r#"{"Mds":{"CommandWorkersLimit":5}}"#.to_owned());
    let world = World::new(state.clone());
    assert!(world.run(&keep).is_ok());
    let written: serde_json::Value = serde_json::from_str(&world.state().files[file]).unwrap();
    assert_eq!(written, serde_json::json!({"Mds": {"CommandWorkersLimit": 5}, "Profile": {"ShareCreds": false}}));
    state.files.insert(file.to_owned(), "{broken".to_owned());
    let (state, _) = fails(state, &keep, Reason::Unexpected, &["cannot change /etc/amazon/ssm/amazon-ssm-agent.json"]);
    assert_eq!((state.files[file].as_str(), state.nodes_made), ("{broken", 0));
    // Of an agent that runs it needs a restart.
    let world = World::new(State::registered());
    assert!(world.run(&keep).unwrap().notes[0].contains("register-instance heal"));
    let world = World::new(State::registered());
    assert!(world.run(&Settings { repair: Repair::Heal, ..keep }).is_ok());
    assert_eq!(world.state().count("systemctl stop"), 1);
}

#[test]
fn a_clock_that_is_off_is_named() {
    for start in [State::fresh(), State::registered()] {
        let mut error = aws_error("InvalidSignatureException", false);
        error.message = "Signature expired: 20261122T020000Z is now earlier than 20261122T045500Z".to_owned();
        let state = State { aws_says: vec![("parameter", error)], ..start };
        let (state, _) = fails(state, &settings(), Reason::Clock, &["the time of this machine", "chronyc makestep"]);
        is_untouched(&state);
        assert_eq!(state.paused, Duration::ZERO);
    }
}

#[test]
fn a_disk_without_space_is_named() {
    let said = "2026-11-22 ERROR Registration failed due to Unable to save registration information. write /var/lib/amazon/ssm/Vault/Store/RegistrationKey: no space left on device";
    let state = State { agent_says: vec![said.to_owned()], ..State::fresh() };
    let (state, _) = fails(state, &settings(), Reason::RegistrationFailed, &["no space left on device"]);
    assert_eq!((state.count("amazon-ssm-agent"), state.is_agent_running), (1, true));
}

#[test]
fn a_doctor_sees_what_is_wrong_and_says_what_to_do() {
    let failed = |report: &register_instance::doctor::Report| -> Vec<&'static str> {
        let failed = report.checks.iter().filter(|check| check.status == register_instance::doctor::Status::Failed);
        failed.map(|check| check.check).collect()
    };
    let healthy = World::new(State { tag: Some(NODE.to_owned()), shows_tags: true, ..State::marked(INSTANCE) });
    let report = healthy.examine(&settings());
    assert!(report.is_healthy && report.exit_code == 0, "{}", report.words());
    let mut changed = with_log(State::registered(), MISMATCH);
    changed.files.insert("/etc/machine-id".to_owned(), "new\n".to_owned());
    let fingerprint = r#"{"fingerprint":"f","hardwareHash":{"machine-id":"old"},"similarityThreshold":40}"#;
    changed.files.insert("/var/lib/amazon/ssm/Vault/Store/InstanceFingerprint".to_owned(), fingerprint.to_owned());
    for (state, expected, code) in [
        (State::fresh(), vec!["registration"], 10),
        (State::registered_in("eu-west-1"), vec!["registration", "in-use"], 18),
        (State::marked("i-0fedcba9876543210"), vec!["registration"], 12),
        (with_log(State::registered(), DENIED), vec!["in-use"], 17),
        (changed, vec!["fingerprint", "in-use"], 17),
        (State { is_agent_running: false, ..State::registered() }, vec!["service", "in-use"], 11),
        (State { programs: vec!["systemctl"], ..State::fresh() }, vec!["agent", "registration"], 5),
        (State { parameters: [].into(), ..State::fresh() }, vec!["activation", "registration"], 6),
        (State { parameters: [].into(), ..State::registered() }, vec!["registration"], 6),
        (State { free_bytes: Some(4096), ..State::registered() }, vec!["disk"], 1),
        (
            State { aws_says: vec![("identity", aws_error("ImdsUnavailable", true))], ..State::registered() },
            vec!["identity"],
            4,
        ),
        (
            State { aws_says: vec![("parameter", aws_error("RequestExpired", false))], ..State::registered() },
            vec!["clock"],
            19,
        ),
    ] {
        let world = World::new(state);
        let report = world.examine(&settings());
        assert_eq!((failed(&report), report.exit_code), (expected, code), "{}", report.words());
        let line: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        for check in line["checks"].as_array().unwrap() {
            let needs_remedy = check["status"] == "failed" || check["status"] == "warning";
            assert!(!needs_remedy || check["remedy"].is_string(), "{check}");
        }
    }
}
