//! The real machine, with small programs in place of the agent and systemd.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use register_instance::machine::{Local, stop_on_signal_or_after};
use register_instance::outcome::{Done, Success};
use register_instance::{Failure, Reason, run};

use crate::fake::{CODE, NODE, State, World, settings, stat};

/// Keeps the agent's state in files beside the programs, as the real ones do under `/var/lib/amazon/ssm`.
const SYSTEMCTL: &str = r#"#!/bin/sh
case "$1" in is-* | show) ;; *) echo "$1 $2" >> "$ROOT/log";; esac
case "$1" in show) echo MainPID=7;; is-active) if [ -e "$ROOT/running" ]; then echo active; else echo inactive; fi;; start) touch "$ROOT/running"; mkdir -p "$ROOT/var/log/amazon/ssm"; echo "2026-11-22 02:00:00 INFO Credentials ready" >> "$ROOT/var/log/amazon/ssm/amazon-ssm-agent.log";; stop) rm -f "$ROOT/running";; esac
"#;
const SSM_CLI: &str = r#"#!/bin/sh
if [ -e "$ROOT/var/lib/amazon/ssm/registration" ]; then id=NODE; else id=i-0123456789abcdef0; fi
echo "{\"instance-id\":\"$id\",\"region\":\"us-east-1\",\"release-version\":\"3.3.0.0\"}"
"#;
const AGENT: &str = r#"#!/bin/sh
if [ -e "$ROOT/running" ]; then echo "registered while running"; exit 1; fi
if read answer; then echo "somebody answers"; exit 1; fi
echo "$@" > "$ROOT/arguments"
mkdir -p "$ROOT/var/lib/amazon/ssm/Vault/Store"
REGISTER
"#;
const REGISTERS: &str = r#"
echo '{"instanceID":"NODE","region":"us-east-1","privateKey":"k"}' > "$ROOT/var/lib/amazon/ssm/Vault/Store/RegistrationKey"
echo '{"ManagedInstanceID":"NODE","Region":"us-east-1"}' > "$ROOT/var/lib/amazon/ssm/registration"
echo "INFO Successfully registered the instance with AWS SSM using Managed instance-id: NODE"
"#;
const IS_TERMINATED: &str = "kill -TERM $PPID; echo 'RequestError: send request failed' >&2; exit 1";

/// A signal goes to the whole process, and so to every run in it.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(register: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folder.path().join("bin")).unwrap();
        fs::write(folder.path().join("running"), "").unwrap();
        fs::create_dir_all(folder.path().join("proc/7")).unwrap();
        for (file, text) in [("proc/uptime", "9000.00 1.00\n".to_owned()), ("proc/7/stat", stat(7, 1000))] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let root = folder.path().to_str().unwrap();
        for (name, script) in [("systemctl", SYSTEMCTL), ("ssm-cli", SSM_CLI), ("amazon-ssm-agent", AGENT)] {
            let script = script.replace("REGISTER\n", register).replace("$ROOT", root).replace("NODE", NODE);
            let file = folder.path().join("bin").join(name);
            fs::write(&file, script).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path().join(file)).unwrap()
    }

    fn run(&self, aws: &World) -> Result<Success, Failure> {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let stop = stop_on_signal_or_after(Duration::from_mins(5)).unwrap();
            let path = self.path().join("bin").to_str().unwrap().to_owned();
            let environment = [("PATH".to_owned(), path)].into();
            let clock = || SystemTime::UNIX_EPOCH;
            let machine = Local::new(self.path().to_owned(), environment, true, clock, stop);
            run(&settings(), &machine, aws).await
        })
    }
}

#[test]
fn the_agent_is_stopped_registered_and_started() {
    let (folder, aws) = (Folder::new(REGISTERS), World::new(State::fresh()));
    assert_eq!(folder.run(&aws).unwrap().done, Done::Registered(NODE.parse().unwrap()));
    assert_eq!(folder.read("log"), "stop amazon-ssm-agent.service\nstart amazon-ssm-agent.service\n");
    let arguments = format!("-register -code {CODE} -id bcf6faa8-83fd-419e-9534-96ad14131eb7 -region us-east-1\n");
    assert_eq!(folder.read("arguments"), arguments);
    assert!(folder.path().join("running").exists());
    assert!(folder.read("var/lib/tag-hub/registration.json").contains(NODE));
    assert_eq!(aws.state().tag.as_deref(), Some(NODE));

    // A second run finds it registered and does not call the agent.
    fs::remove_file(folder.path().join("arguments")).unwrap();
    assert_eq!(folder.run(&aws).unwrap().done, Done::TagWritten(NODE.parse().unwrap()));
    assert!(!folder.path().join("arguments").exists());
}

#[test]
fn an_agent_that_fails_runs_again() {
    let folder = Folder::new("echo \"ERROR ActivationExpired $4\"; exit 1");
    let failure = folder.run(&World::new(State::fresh())).unwrap_err();
    assert_eq!(failure.reason, Reason::ActivationExpired, "{failure}");
    assert!(folder.path().join("running").exists());
}

#[test]
fn a_signal_while_the_agent_registers_leaves_it_running() {
    let folder = Folder::new(IS_TERMINATED);
    let failure = folder.run(&World::new(State::fresh())).unwrap_err();
    assert_eq!(failure.reason, Reason::Interrupted, "{failure}");
    assert_eq!(folder.read("log"), "stop amazon-ssm-agent.service\nstart amazon-ssm-agent.service\n");
    assert!(folder.path().join("running").exists());
}
