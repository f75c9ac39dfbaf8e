//! What an enemy, an accident or a broken neighbor does to the built program.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::built::{FIRST_NODE, PROGRAM, Site, fifo, metadata};
use crate::fake::{INSTANCE, LOG, MANIFEST, MARKER, NODE, NOTED, VAULT};

const LOCK: &str = "run/tag-hub-register-instance.lock";
const STOPPED: &str = "run/tag-hub-agent-stopped";
const RUNTIME: &str = "var/lib/amazon/ssm/runtimeconfig/identity_config.json";
const CONFIGURATION: &str = "etc/amazon/ssm/amazon-ssm-agent.json";

#[test]
fn a_run_that_is_killed_at_any_call_is_made_good_by_the_next() {
    let calls = {
        let site = Site::registered();
        site.calls().len()
    };
    assert!(calls >= 7, "so few calls of programs say little: {calls}");
    for when in ["before", "after"] {
        for at in 1..=calls {
            let site = Site::new();
            site.write("kill", &format!("{when} {at}\n"));
            let killed = site.run(&[]);
            assert_eq!(killed.code, 128 + 9, "{when} {at}: {}", killed.said);
            assert!(site.is_running() || site.at(STOPPED).exists(), "{when} {at}: no run would start the agent");
            assert!(site.tag().is_none(), "{when} {at}");
            fs::remove_file(site.at("kill")).unwrap();
            site.run(&[]).is(0, "");
            site.is_node(FIRST_NODE);
            assert_eq!(site.nodes(), 1, "{when} {at}");
        }
    }
}

#[test]
fn a_replacement_that_is_killed_at_any_call_is_made_good_by_the_next() {
    let foreign = || {
        let site = Site::new();
        site.write(VAULT, &format!(r#"{{"instanceID":"{NODE}","region":"eu-west-1","privateKey":"k"}}"#));
        site.write(MANIFEST, &format!(r#"{{"RegistrationKey":"{VAULT}"}}"#));
        site
    };
    let site = foreign();
    site.run(&[]).is(18, "foreign-registration");
    site.write("calls", "");
    site.run(&["heal", "--replace"]).is(0, &format!("deregister-managed-instance --instance-id {NODE}"));
    site.is_node(FIRST_NODE);
    for at in 1..=site.calls().len() {
        let site = foreign();
        site.write("kill", &format!("after {at}\n"));
        assert_eq!(site.run(&["heal", "--replace"]).code, 128 + 9);
        fs::remove_file(site.at("kill")).unwrap();
        site.run(&["heal", "--replace"]).is(0, "");
        site.is_node(FIRST_NODE);
        assert_eq!(site.nodes(), 1, "{at}");
    }
}

#[test]
fn two_runs_at_once_and_an_agent_that_outlives_its_run() {
    let site = Site::new();
    site.write("agent-waits", "");
    let mut first = site.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !site.at("agent-began").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the agent never began");
        thread::sleep(Duration::from_millis(20));
    }
    let second = site.run(&[]);
    second.is(14, &format!("process {}", first.id()));
    assert_eq!(site.run(&["doctor"]).code, 11, "doctor waits for nobody");
    // Killed outright, while the agent that it called goes on.
    first.kill().unwrap();
    first.wait().unwrap();
    site.run(&[]).is(14, "another run");
    fs::remove_file(site.at("agent-waits")).unwrap();
    let ran = loop {
        let ran = site.run(&[]);
        if ran.code != 14 {
            break ran;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "the lock stays");
        thread::sleep(Duration::from_millis(50));
    };
    ran.is(0, "tag-written");
    site.is_node(FIRST_NODE);
    assert_eq!(site.nodes(), 1);
}

#[test]
fn a_lock_that_is_held_for_ever_is_named_and_keeps_nobody_waiting() {
    let site = Site::registered();
    let held = File::options().write(true).open(site.at(LOCK)).unwrap();
    held.lock().unwrap();
    let begun = Instant::now();
    site.run(&[]).is(14, "end the process that holds /run/tag-hub-register-instance.lock");
    assert!(begun.elapsed() < Duration::from_secs(5));
    site.run(&["--dry-run"]).is(0, "would-write-tag");
    site.run(&["doctor"]).is(0, "");
}

/// Whatever stands in the place of a file: the run ends, the agent runs, nobody is tagged as somebody else, and nothing
/// behind a link is read, written or shown.
#[test]
fn links_pipes_and_folders_in_the_place_of_files() {
    let paths = [VAULT, MANIFEST, NOTED, MARKER, LOG, LOCK, STOPPED, RUNTIME, CONFIGURATION, "proc/uptime"];
    thread::scope(|scope| {
        for path in paths {
            scope.spawn(move || ["link", "dangling link", "pipe", "folder"].map(|kind| in_the_place_of(path, kind)));
        }
    });
}

fn in_the_place_of(path: &str, kind: &str) {
    const SECRET: &str = "precious secret";
    let context = format!("a {kind} at {path}");
    let site = Site::registered();
    site.write("root/secret", SECRET);
    let place = site.at(path);
    let _ = fs::remove_file(&place);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    match kind {
        "link" => symlink(site.at("root/secret"), &place).unwrap(),
        "dangling link" => symlink(site.at("root/new"), &place).unwrap(),
        "pipe" => fifo(&place),
        _ => fs::create_dir(&place).unwrap(),
    }
    for arguments in [&["doctor"][..], &[], &["heal"]] {
        let begun = Instant::now();
        let ran = site.run(arguments);
        assert!(begun.elapsed() < Duration::from_mins(1), "{context}");
        assert!(ran.code < 101 && ran.line.is_object(), "{context}: {ran:#?}");
        assert!(!ran.said.contains(SECRET), "{context}: {}", ran.said);
        assert!(site.is_running() && site.nodes() == 1, "{context}: {}", ran.said);
        assert_eq!(site.tag().as_deref(), Some(FIRST_NODE), "{context}");
        assert!(ran.code != 1 || ran.said.contains(path.trim_start_matches("var/")), "{context}: {}", ran.said);
    }
    assert_eq!(site.read("root/secret"), SECRET, "{context}");
    assert!(!site.at("root/new").exists(), "{context}");
}

#[test]
fn a_log_that_cannot_be_read_is_said_to_be() {
    let site = Site::registered();
    fs::rename(site.at(LOG), site.at("root/log")).unwrap();
    fs::create_dir(site.at(LOG)).unwrap();
    let ran = site.run(&[]);
    ran.is(0, "tag-written");
    assert!(ran.line["notes"].to_string().contains("a refusal in it would not be seen"), "{}", ran.said);
    site.run(&["doctor"]).is(1, "a refusal in it would not be seen");
    // Behind a link of root it is read.
    fs::remove_dir(site.at(LOG)).unwrap();
    site.write(
        "root/log",
        "2026-11-22 02:00:00 ERROR [CredentialRefresher] Retrieve credentials produced error: AccessDeniedException: x\n",
    );
    symlink(site.at("root/log"), site.at(LOG)).unwrap();
    for arguments in [&[][..], &["doctor"]] {
        site.run(arguments).is(17, "was deregistered");
    }
}

#[test]
fn nothing_is_run_from_a_folder_of_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    for folder in ["open", "here"] {
        for name in ["systemctl", "ssm-cli", "amazon-ssm-agent", "ls"] {
            site.program(&format!("{folder}/{name}"), ": > ROOT/trapped");
        }
    }
    fs::set_permissions(site.at("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = site.command(&[]);
    let path = format!(".:here::{}:{}:/usr/bin:/bin", site.at("open").display(), site.at("usr/bin").display());
    command.env("PATH", path).current_dir(site.at("here"));
    Site::run_command(command).is(0, "registered");
    site.is_node(FIRST_NODE);
    assert!(!site.at("trapped").exists());
    let environment = site.read("agent-environment");
    let path = environment.lines().find(|line| line.starts_with("PATH=")).unwrap();
    let (first, rest) = path.trim_start_matches("PATH=").split_once(':').unwrap();
    assert_eq!(first, site.at("usr/bin").to_str().unwrap());
    assert!(
        rest.split(':').all(|folder| folder.starts_with("/usr") || folder == "/bin" || folder == "/sbin"),
        "{path}"
    );
}

#[test]
fn an_agent_that_answers_nonsense_is_not_believed() {
    let answers = [
        "",
        "<html>",
        "{",
        "[]",
        "null",
        "\u{0}\u{0}\u{0}",
        r#"{"instance-id":null}"#,
        r#"{"instance-id":"mi-XXXXXXXXXXXXXXXXX","region":"us-east-1"}"#,
        r#"{"instance-id":"mi-00000000000000001"}"#,
        r#"{"instance-id":"mi-00000000000000001","region":7}"#,
        r#"{"instance-id":"mi-00000000000000001","region":"us-east-1""#,
        r#"{"instance-id":"mi-00000000000000002","region":"us-east-1"}"#,
        r#"{"instance-id":"mi-00000000000000001","region":"eu-west-1"}"#,
        &"x".repeat(3_000_000),
    ];
    // Each waits until its time is up.
    thread::scope(|scope| {
        for answer in answers {
            scope.spawn(move || {
                let site = Site::registered();
                site.forget_tag();
                site.write("cli-says", answer);
                let ran = site.run(&[]);
                ran.is(17, "not-in-use");
                assert!(site.tag().is_none() && site.is_running() && site.nodes() == 1, "{answer}");
                assert!(ran.said.len() < 20_000, "it is not repeated");
            });
        }
    });
}

#[test]
fn a_vault_that_is_none_is_left_alone() {
    for contents in [
        "not json",
        "{",
        r#"{"instanceID":"mi-1111"#,
        r#"{"instanceID":"mi-11111111111111111","region":"us-east-1","private"#,
        r#"{"instanceID":7}"#,
        r#"{"instanceID":null}"#,
        r#"{"id":"mi-11111111111111111"}"#,
        "[]",
        "null",
        "<html>",
        "\u{0}\u{0}\u{0}\u{0}",
    ] {
        let site = Site::new();
        site.write(VAULT, contents);
        // It is not what the stand-in could answer from.
        site.write("cli-says", "error: failed to find agent identity");
        site.run(&[]).is(17, "heal --replace");
        assert_eq!(site.read(VAULT), contents);
        assert!(site.tag().is_none() && site.calls().iter().all(|call| call.starts_with("ssm-cli")), "{contents}");
    }
    // What a failed try left is no registration, however short it was cut.
    for contents in ["", "\n", r#"{"instanceID":"","region":"","instanceTy"#] {
        let site = Site::new();
        site.write(VAULT, contents);
        site.run(&[]).is(0, "registered");
        site.is_node(FIRST_NODE);
    }
}

#[test]
fn a_note_or_a_file_that_is_half_written() {
    let paths = [MARKER, NOTED, MANIFEST, CONFIGURATION, "var/lib/tag-hub/registration.new", STOPPED, LOCK];
    thread::scope(|scope| {
        for path in paths {
            scope.spawn(move || {
                for contents in ["", "{", r#"{"managedInstanceId":"mi-0000"#, "\u{0}\u{0}", "<html>"] {
                    let site = Site::registered();
                    site.write(path, contents);
                    site.run(&[]).is(0, "tag-written");
                    site.is_node(FIRST_NODE);
                    assert_eq!(site.nodes(), 1, "{path} {contents}");
                }
            });
        }
    });
}

#[test]
fn no_space_on_the_disk() {
    // A limit on the size of files stands for a full disk: the write fails, and a signal says so too.
    let site = Site::new();
    let ran = Site::run_command(site.command_of(&["sh", "-c", "ulimit -f 0; exec \"$@\"", "sh"], &[]));
    assert!(ran.code < 128, "it died: {ran:#?}");
    assert!(site.is_running() && site.tag().is_none(), "{}", ran.said);
    site.run(&[]).is(0, "");
    site.is_node(FIRST_NODE);
    // A small tmpfs, which needs root.
    if !rustix_is_root() {
        return;
    }
    for (folder, options, code) in [("var", "size=64k", 10), ("run", "nr_inodes=2", 1), ("run", "nr_inodes=3", 1)] {
        let site = Site::new();
        // With few inodes not even an empty file has room.
        let full = "mount -t tmpfs -o OPTIONS,mode=755 none \"$1\" && shift && { mkdir -p \"$1\"; shift; \
                     head -c 100000 /dev/zero > \"$1\" 2>/dev/null; shift; exec \"$@\"; }";
        let place = site.at(folder);
        let (place, vault) = (place.to_str().unwrap(), site.at("var/lib/amazon/ssm/Vault/Store"));
        let ballast = format!("{place}/ballast");
        let full = full.replace("OPTIONS", options);
        let launcher = ["unshare", "--mount", "sh", "-c", &full, "sh", place, vault.to_str().unwrap(), &ballast];
        let ran = Site::run_command(site.command_of(&launcher, &[]));
        assert_eq!(ran.code, code, "{folder} {options}: {ran:#?}");
        assert!(ran.said.to_lowercase().contains("no space left on device"), "{folder}: {}", ran.said);
        assert!(site.is_running() && site.tag().is_none(), "{folder}");
        site.run(&[]).is(0, "");
        site.is_node(FIRST_NODE);
    }
}

fn rustix_is_root() -> bool {
    std::process::Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

#[test]
fn a_clock_that_is_hours_off_is_no_reason_to_register_anew() {
    let skewed = |code: &'static str, message: &'static str| {
        Site::with(metadata, move |_, _| (400, vec![], json!({"__type": code, "message": message}).to_string()))
    };
    for (code, message) in [
        ("InvalidSignatureException", "Signature expired: 20261122T020000Z is now earlier than 20261122T045500Z"),
        ("InvalidSignatureException", "Signature not yet current: 20261122T090000Z is still later than …"),
        ("RequestExpired", "Request has expired."),
    ] {
        let site = skewed(code, message);
        site.run(&[]).is(19, "the time of this machine");
        assert!(site.calls().iter().all(|call| !call.contains("stop")));
        assert_eq!(site.run(&["doctor"]).code, 19);
    }
    // The agent is refused for it.
    let site = Site::registered();
    let line = "2026-11-22 02:00:00 ERROR [CredentialRefresher] Retrieve credentials produced error: InvalidSignatureException: Signature expired: x is now earlier than y\n";
    site.write("agent-logs", line);
    site.write(LOG, line);
    for arguments in [&[][..], &["heal"], &["heal", "--replace"], &["--dry-run"]] {
        site.run(arguments).is(19, "the time of this machine");
    }
    site.run(&["doctor"]).is(19, "set the clock");
    assert_eq!(site.nodes(), 1, "the registration is good");
    site.write("agent-logs", "2026-11-22 02:00:00 INFO Credentials ready\n");
    site.run(&["heal"]).is(0, "tag-written");
}

#[test]
fn an_image_with_the_registration_of_another_machine() {
    let original = Site::registered();
    let copy = |site: &Site, files: &[&str]| {
        for file in files {
            site.write(file, &original.read(file));
        }
    };
    // With its note: known at once.
    let clone = Site::new();
    copy(&clone, &[VAULT, MANIFEST, NOTED, RUNTIME, LOG]);
    clone.write(MARKER, &original.read(MARKER).replace(INSTANCE, "i-0fedcba9876543210"));
    clone.run(&[]).is(12, "i-0fedcba9876543210");
    assert!(clone.tag().is_none() && clone.calls().iter().all(|call| !call.contains("stop")));
    clone.run(&["heal"]).is(12, "heal --replace");
    clone.run(&["heal", "--replace"]).is(0, "do not deregister");
    // Without: the agent is refused, since the hardware is another.
    let clone = Site::new();
    copy(&clone, &[VAULT, MANIFEST, NOTED, RUNTIME]);
    let line = "2026-11-22 02:00:00 ERROR [CredentialRefresher] Retrieve credentials produced error: MachineFingerprintDoesNotMatch: \n";
    clone.write(LOG, line);
    clone.run(&[]).is(17, "resized, restored, or copied");
    assert_eq!(clone.tag(), None);
    // Whoever deregisters its node now puts the original out of use.
    clone.write("agent-logs", line);
    let ran = clone.run(&["heal", "--replace"]);
    ran.is(17, &format!("If no other machine uses {FIRST_NODE} (this may be a copy of it), deregister it"));
    assert!(clone.nodes() == 1 && !ran.said.contains("is no longer in use"), "{}", ran.said);
    // The manifest alone: nothing is registered.
    let clone = Site::new();
    copy(&clone, &[MANIFEST]);
    clone.run(&[]).is(0, "registered");
    // The vault alone: the agent does not see it.
    let clone = Site::new();
    copy(&clone, &[VAULT]);
    clone.write("cli-says", &format!(r#"{{"instance-id":"{INSTANCE}","region":"us-west-2"}}"#));
    clone.run(&[]).is(17, "the agent's vault has no manifest");
}

#[test]
fn a_node_that_the_running_agent_is_not_yet() {
    // Registered again by hand, with the agent left running: ssm-cli reads the vault, and so names the new node.
    let site = Site::registered();
    site.write(VAULT, &site.read(VAULT).replace(FIRST_NODE, NODE));
    site.write(NOTED, &site.read(NOTED).replace(FIRST_NODE, NODE));
    site.run(&[]).is(17, &format!("the agent was started as {FIRST_NODE}"));
    site.run(&["heal"]).is(0, "tag-written");
    site.is_node(NODE);
}

#[test]
fn an_agent_that_is_told_to_be_an_ec2_instance() {
    let site = Site::registered();
    site.write(CONFIGURATION, r#"{"Identity":{"ConsumptionOrder":["EC2"]}}"#);
    site.write("cli-says", &format!(r#"{{"instance-id":"{INSTANCE}","region":"us-west-2"}}"#));
    site.run(&[]).is(17, "Identity.ConsumptionOrder");
}

#[test]
fn the_program_does_without_an_environment() {
    let site = Site::new();
    let mut command = site.command(&[]);
    command.env_remove("HOME").env_remove("LANG");
    Site::run_command(command).is(0, "registered");
    assert!(std::path::Path::new(PROGRAM).exists());
}
