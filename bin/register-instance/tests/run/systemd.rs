//! The packaged unit under a real systemd, which runs as the first process of namespaces of its own.
//!
//! What is in a container comes from here: `/run`, `/var`, `/etc/systemd/system` and `/usr/local/sbin` are empty at
//! first, and there are no units but ours. It takes root, `unshare` and cgroups; without them nothing is tried here, and
//! the stand-in for systemd is all that is left.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::built::{Answer, FIRST_NODE, PROGRAM, Request, Site, aws, metadata};
use crate::fake::{INSTANCE, MARKER, VAULT};

const SYSTEMD: &str = "/lib/systemd/systemd";
const UNIT: &str = include_str!("../../packaging/register-instance.service");
/// Everything that a drop-in may have about variables, and what the agent's proxy is usually set with.
const DROPIN: &str = r#"[Service]
Environment=GONE=1
Environment=
Environment="HTTPS_PROXY=http://me:se%%40cret@proxy:3128" A=x\x41y 'B=c d' \
  C="e f"
Environment=D=1 D=2 QUOTED="it's"
EnvironmentFile=-/nowhere
EnvironmentFile=W/environment
UnsetEnvironment=TAKEN KEPT=other
"#;
const ENVIRONMENT: &str = "# a comment\nA2=\"from a file\"\nB2='single $X'\nC2=a\\ b\"c\"  \nexport D2=1\nE2=\"a\\$b\\c\"d\nTAKEN=1\nKEPT=1\nD=3\nPLAIN=a b\n";

const AGENT: &str = r#"#!/bin/sh
lib=/var/lib/amazon/ssm vault=/var/lib/amazon/ssm/Vault/Store/RegistrationKey
if [ "$1" = -register ]; then
  env > W/env-register
  [ -s W/agent-says ] && { head -n 1 W/agent-says; sed -i 1d W/agent-says; exit 1; }
  [ -e W/waits ] && { echo began >> W/waits; while [ ! -e W/go ]; do sleep 0.1; done; sleep 3; echo ended >> W/waits; }
  mkdir -p $lib/Vault/Store
  echo '{"instanceID":"NODE","region":"us-east-1","privateKey":"k"}' > $vault
  echo '{"RegistrationKey":"/var/lib/amazon/ssm/Vault/Store/RegistrationKey"}' > $lib/Vault/Manifest
  echo "INFO Successfully registered the instance with AWS SSM using Managed instance-id: NODE"
  exit 0
fi
env > W/env-service
mkdir -p /var/log/amazon/ssm
echo "2026-11-22 02:00:00 INFO [CredentialRefresher] Credentials ready" >> /var/log/amazon/ssm/amazon-ssm-agent.log
exec sleep 1000
"#;
const SSM_CLI: &str = r#"#!/bin/sh
if [ -e /var/lib/amazon/ssm/Vault/Manifest ]; then id=NODE region=us-east-1; else id=INSTANCE region=us-west-2; fi
echo "{\"instance-id\":\"$id\",\"region\":\"$region\",\"release-version\":\"3.3.0.0\"}"
"#;
/// Lays the container out, and becomes its systemd. The cgroup is one of its own, so that no other process is seen.
const BOOT: &str = r#"set -e
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
for folder in /run /var /etc/systemd/system /usr/local/sbin; do mount -t tmpfs -o mode=755 none $folder; done
[ -d "$1"/default ] && mount --bind "$1"/default /etc/default
mkdir -p /run/systemd /etc/systemd/system/multi-user.target.wants
cp -R "$1"/units/. /etc/systemd/system
cp "$1"/sbin/* /usr/local/sbin
ln -s ../register-instance.service /etc/systemd/system/multi-user.target.wants
exec env -i PATH="$PATH" container=tag-hub SYSTEMD_UNIT_PATH=/etc/systemd/system "$2" --system --unit=multi-user.target \
  --log-level=warning --log-target=console --show-status=no
"#;

/// How many were booted.
static CONTAINERS: AtomicUsize = AtomicUsize::new(0);

/// A systemd that runs; it and all that it started end with this.
struct Container {
    launcher: Child,
    init: u32,
    cgroup: PathBuf,
}

impl Drop for Container {
    fn drop(&mut self) {
        // The end of the first process is the end of all of them.
        let _ = Command::new("kill").args(["-9", &self.init.to_string()]).status();
        let _ = self.launcher.wait();
        let _ = until(|| {
            fs::remove_dir(self.cgroup.join("init.scope")).is_ok() || !self.cgroup.join("init.scope").exists()
        });
        remove_cgroups(&self.cgroup);
    }
}

fn remove_cgroups(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).filter(|entry| entry.path().is_dir())
    {
        remove_cgroups(&entry.path());
    }
    let _ = fs::remove_dir(folder);
}

/// Whether it came true within the time that an agent which was found running is given to settle, and a run after that.
fn until(mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(90) {
        if is_so() {
            return true;
        }
        thread::sleep(Duration::from_millis(100));
    }
    false
}

impl Container {
    /// None if this machine cannot run one.
    fn boot(folder: &Path) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let unified =
            mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|words| words[2] == "cgroup2")?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let number = CONTAINERS.fetch_add(1, Ordering::SeqCst);
        let cgroup = Path::new(unified[1]).join(own).join(format!("tag-hub-test-{}-{number}", std::process::id()));
        if !Path::new(SYSTEMD).exists() || fs::create_dir(&cgroup).is_err() {
            return None;
        }
        let log = fs::File::create(folder.join("systemd.log")).ok()?;
        let join = "echo $$ > \"$1\"/cgroup.procs && shift && exec unshare --mount --pid --fork --mount-proc --cgroup --uts --ipc \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", join, "sh"]).arg(&cgroup).args(["sh", "-c", BOOT, "sh"]).arg(folder).arg(SYSTEMD);
        command.stdin(Stdio::null()).stdout(log.try_clone().ok()?).stderr(log);
        let mut launcher = command.spawn().ok()?;
        let children = format!("/proc/{0}/task/{0}/children", launcher.id());
        let mut init = None;
        until(|| {
            init = fs::read_to_string(&children).ok().and_then(|pids| pids.split(' ').next()?.parse().ok());
            init.is_some() || launcher.try_wait().is_ok_and(|ended| ended.is_some())
        });
        let Some(init) = init else {
            remove_cgroups(&cgroup);
            return None;
        };
        let container = Self { launcher, init, cgroup };
        until(|| container.at("/run/systemd/private").exists()).then_some(container)
    }

    fn at(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    fn systemctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--mount", "--pid", "systemctl"]).args(arguments);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    /// Properties of our unit.
    fn shows(&self) -> BTreeMap<String, String> {
        let shown = self.systemctl(&["show", "register-instance.service"]);
        shown.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
    }
}

/// The packaged unit and an agent under a systemd of their own.
struct Machine {
    container: Container,
    folder: tempfile::TempDir,
    site: Site,
}

impl Machine {
    /// None if this machine cannot run one. `files` are what its folder holds besides.
    fn boot(site: Site, files: &[(&str, &str)]) -> Option<Self> {
        // A name of chance that ended in W would be taken for the W below.
        let folder = tempfile::Builder::new().suffix("-systemd").tempdir().unwrap();
        let w = folder.path().to_str().unwrap();
        let write = |path: &str, text: &str| {
            let file = folder.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            let text = text.replace("W/", &format!("{w}/")).replace("NODE", FIRST_NODE).replace("INSTANCE", INSTANCE);
            fs::write(&file, text).unwrap();
            Command::new("chmod").arg("755").arg(file).status().unwrap();
        };
        for target in ["sysinit", "basic", "shutdown", "multi-user", "network-online"] {
            write(&format!("units/{target}.target"), "[Unit]\nDefaultDependencies=no\n");
        }
        write("units/register-instance.service", UNIT);
        let ours = format!(
            "[Service]\nRestartSec=3\nStandardOutput=append:{w}/out\nStandardError=append:{w}/out\n\
             Environment=AWS_ENDPOINT_URL={} AWS_EC2_METADATA_SERVICE_ENDPOINT={}\n",
            site.aws.url, site.imds.url
        );
        write("units/register-instance.service.d/test.conf", &ours);
        let agent = "[Service]\nExecStart=/usr/local/sbin/amazon-ssm-agent\n[Install]\nWantedBy=multi-user.target\n";
        write("units/amazon-ssm-agent.service", agent);
        write("sbin/amazon-ssm-agent", AGENT);
        write("sbin/ssm-cli", SSM_CLI);
        for (path, text) in files {
            write(path, text);
        }
        fs::copy(PROGRAM, folder.path().join("sbin/register-instance")).unwrap();
        let Some(container) = Container::boot(folder.path()) else {
            eprintln!("this machine cannot run a systemd of its own; nothing was tried");
            return None;
        };
        Some(Self { container, folder, site })
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// What the program printed last.
    fn last_line(&self) -> Value {
        let out = self.read("out");
        let line = out.lines().rev().find(|line| line.starts_with('{'));
        line.map(|line| serde_json::from_str(line).unwrap()).unwrap_or_default()
    }

    fn shows(&self) -> BTreeMap<String, String> {
        self.container.shows()
    }

    fn has_restarted(&self, times: u32) -> bool {
        self.shows()["NRestarts"].parse::<u32>().is_ok_and(|restarts| restarts >= times)
    }

    fn has_registered(&self) -> bool {
        until(|| self.site.tag().is_some() && self.shows()["ActiveState"] == "inactive")
            && self.shows()["Result"] == "success"
    }

    fn context(&self) -> String {
        format!("{:#?}\n{}\n{}", self.shows(), self.read("out"), self.read("systemd.log"))
    }
}

#[test]
fn the_unit_registers_at_boot_and_tries_again_only_what_may_pass() {
    let is_missing = Arc::new(AtomicBool::new(false));
    let missing = Arc::clone(&is_missing);
    let site = Site::with(metadata, move |tag, request: &Request| -> Answer {
        if missing.load(Ordering::SeqCst) && request.headers.contains_key("x-amz-target") {
            return (400, vec![], json!({"__type": "ParameterNotFound"}).to_string());
        }
        aws(tag, request)
    });
    let files = [("units/amazon-ssm-agent.service.d/proxy.conf", DROPIN), ("environment", ENVIRONMENT)];
    let Some(machine) = Machine::boot(site, &files) else { return };
    let (container, context) = (&machine.container, || machine.context());

    // At boot, with an agent that nothing starts.
    assert!(machine.has_registered(), "{}", context());
    assert_eq!(
        (machine.site.tag().as_deref(), &machine.last_line()["outcome"]),
        (Some(FIRST_NODE), &json!("registered"))
    );
    let asked = |verb| container.systemctl(&[verb, "amazon-ssm-agent.service"]).trim().to_owned();
    assert_eq!((asked("is-active").as_str(), asked("is-enabled").as_str()), ("active", "enabled"), "{}", context());

    // The agent registers with what systemd gives its service.
    let environment = |name: &str| -> BTreeMap<String, String> {
        let text = machine.read(name);
        text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
    };
    let (service, registration) = (environment("env-service"), environment("env-register"));
    let names =
        ["HTTPS_PROXY", "A", "B", "C", "D", "QUOTED", "A2", "B2", "C2", "D2", "E2", "TAKEN", "KEPT", "PLAIN", "GONE"];
    for name in names {
        assert_eq!(registration.get(name), service.get(name), "{name}");
    }
    assert_eq!(service["HTTPS_PROXY"], "http://me:se%40cret@proxy:3128");
    assert!(service.contains_key("KEPT") && !service.contains_key("TAKEN") && !service.contains_key("GONE"));

    // A clone is nothing that passes.
    let marker = fs::read_to_string(container.at(MARKER)).unwrap();
    fs::write(container.at(MARKER), marker.replace(INSTANCE, "i-0fedcba9876543210")).unwrap();
    container.systemctl(&["restart", "register-instance.service"]);
    assert!(until(|| machine.shows()["ActiveState"] == "failed"), "{}", context());
    thread::sleep(Duration::from_secs(2));
    let shown = machine.shows();
    assert_eq!((shown["ExecMainStatus"].as_str(), shown["NRestarts"].as_str()), ("12", "0"), "{}", context());

    // A parameter that is missing may be written yet.
    for file in [MARKER, VAULT, "/var/lib/amazon/ssm/Vault/Manifest"] {
        fs::remove_file(container.at(file)).unwrap();
    }
    machine.site.forget_tag();
    is_missing.store(true, Ordering::SeqCst);
    container.systemctl(&["restart", "register-instance.service"]);
    assert!(until(|| machine.has_restarted(2)), "{}", context());
    assert_eq!(machine.last_line()["exitCode"], 6, "{}", context());
    is_missing.store(false, Ordering::SeqCst);
    assert!(machine.has_registered(), "{}", context());

    // A masked unit is not the agent.
    container.systemctl(&["stop", "amazon-ssm-agent.service"]);
    fs::remove_file(container.at("/etc/systemd/system/amazon-ssm-agent.service")).unwrap();
    container.systemctl(&["mask", "amazon-ssm-agent.service"]);
    container.systemctl(&["restart", "register-instance.service"]);
    assert!(until(|| machine.last_line()["exitCode"] == 5), "{}", context());
    assert!(machine.last_line()["message"].as_str().unwrap().contains("systemctl unmask"), "{}", context());
}

/// The hub replaces such an activation within the hour.
#[test]
fn an_activation_that_systems_manager_does_not_know_is_tried_again() {
    let unknown =
        "ERROR Registration failed due to error registering the instance with AWS SSM. InvalidActivation: x\n";
    let Some(machine) = Machine::boot(Site::new(), &[("agent-says", &unknown.repeat(2))]) else { return };
    assert!(until(|| machine.last_line()["exitCode"] == 9), "{}", machine.context());
    assert!(machine.has_registered() && machine.has_restarted(2), "{}", machine.context());
    assert_eq!(machine.site.tag().as_deref(), Some(FIRST_NODE));
}

/// As when the script that installs it is run once more: a registration that is cut short may have made a node.
#[test]
fn a_stop_of_the_unit_lets_a_registration_end() {
    let Some(machine) = Machine::boot(Site::new(), &[("waits", "")]) else { return };
    assert!(until(|| machine.read("waits") == "began\n"), "{}", machine.context());
    fs::write(machine.folder.path().join("go"), "").unwrap();
    machine.container.systemctl(&["restart", "register-instance.service"]);
    assert_eq!(machine.read("waits"), "began\nended\n", "{}", machine.context());
    assert!(machine.has_registered(), "{}", machine.context());
    let asked = machine.container.systemctl(&["is-active", "amazon-ssm-agent.service"]);
    assert_eq!((asked.trim(), &machine.last_line()["outcome"]), ("active", &json!("tag-written")));
}

#[test]
fn the_unit_runs_with_the_options_of_its_file() {
    let options = |account: &str| format!("OPTIONS='--hub-account {account} --timeout 20m'\n");
    let files = [("default/register-instance", options("999999999999"))];
    let Some(machine) = Machine::boot(Site::new(), &files.each_ref().map(|(path, text)| (*path, text.as_str()))) else {
        return;
    };
    assert!(until(|| machine.last_line()["exitCode"] == 9), "{}", machine.context());
    assert!(machine.last_line()["message"].to_string().contains("--hub-account asks for 999999999999"));
    fs::write(machine.folder.path().join(files[0].0), options("111111111111")).unwrap();
    assert!(machine.has_registered(), "{}", machine.context());
}
