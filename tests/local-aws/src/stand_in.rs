//! The programs of a made-up machine: `amazon-ssm-agent`, `ssm-cli`, `systemctl` and `initctl`.
//!
//! One executable is all three, by the name that it is called with. Everything that they read and write is
//! under the root that `SSM_AGENT_ROOT` names, or under that in whose `usr/bin` or snap they are called, so no test needs
//! to be root, and who calls them may clear their environment. [`crate::machine::Machine`] lays such a root out.
//!
//! # Faults
//! `.stand-in/faults` under the root has a line for each program that is to fail: its name and a word.
//! `amazon-ssm-agent` and `ssm-cli` know `fail`, `hang` and `garbage`; the agent also `fail-after-write`
//! and `no-id`, `throttled` and `unknown`; `service`, which is the agent as it starts, knows `fingerprint`, `denied` and
//! `unreachable`; `systemctl` knows `fail-enable`, `fail-stop` and `fail-start`. See [`crate::machine::Fault`].

mod agent;
mod cli;
mod service;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

/// The version that the agent tells.
pub(crate) const AGENT_VERSION: &str = "3.3.3050.0";

/// What the programs take from their environment.
#[derive(Debug, Clone)]
pub struct Setting {
    /// `HTTP_PROXY` or `http_proxy`: the endpoint here is plain.
    pub proxy: Option<String>,
    /// `SSM_AGENT_ROOT`: stands for `/`. The program's own place tells, too.
    pub root: Option<PathBuf>,
    /// `AWS_ENDPOINT_URL`. The machine's own file tells, too.
    pub endpoint: Option<String>,
}

/// The EC2 instance that a machine is, for the programs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) instance_id: String,
    /// Whether `list-unit-files` without a match is an error, as in newer versions of systemd.
    pub(crate) strict_systemd: bool,
}

/// Runs the program that the first argument names; its exit code.
pub fn run(arguments: Vec<String>, setting: &Setting) -> u8 {
    let mut arguments = arguments.into_iter();
    let program = arguments.next().unwrap_or_default();
    let Some(root) = setting.root.clone().or_else(|| root_of(Path::new(&program))) else {
        eprintln!("SSM_AGENT_ROOT has to name a folder that stands for /");
        return 1;
    };
    let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments: Vec<String> = arguments.collect();
    let machine = Files { root };
    machine.append("calls.log", &format!("{program} {}", arguments.join(" ")));
    match program.as_str() {
        "systemctl" => service::run(&machine, &arguments),
        "initctl" => service::upstart(&machine, &arguments),
        "ssm-cli" | "amazon-ssm-agent.ssm-cli" => cli::run(&machine, &arguments),
        "amazon-ssm-agent" => agent::run(&machine, setting, &arguments),
        other => {
            eprintln!("{other} is no program of a made-up machine");
            1
        }
    }
}

/// The folder that stands for `/`, by the place of one of its programs.
fn root_of(program: &Path) -> Option<PathBuf> {
    let folder = program.parent()?;
    let above = ["usr/bin", "snap/amazon-ssm-agent/current"].into_iter().find(|known| folder.ends_with(known))?;
    folder.ancestors().nth(Path::new(above).components().count()).map(Path::to_owned)
}

/// The files of a machine.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) root: PathBuf,
}

/// A registration, as the vault and the file beside it have it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Registration {
    /// Empty where a registration was begun and not completed.
    #[serde(rename = "ManagedInstanceID", alias = "instanceID")]
    pub instance_id: String,
    #[serde(rename = "Region", alias = "region")]
    pub region: String,
}

impl Files {
    /// The agent's authoritative copy.
    pub(crate) const VAULT: &str = "var/lib/amazon/ssm/Vault/Store/RegistrationKey";
    /// The readable copy.
    pub(crate) const REGISTRATION: &str = "var/lib/amazon/ssm/registration";
    /// The contents of the vault, by name.
    pub(crate) const MANIFEST: &str = "var/lib/amazon/ssm/Vault/Manifest";
    /// What the hardware was at the registration.
    pub(crate) const FINGERPRINT: &str = "var/lib/amazon/ssm/Vault/Store/InstanceFingerprint";
    /// What the running agent takes for its identity.
    pub(crate) const RUNTIME: &str = "var/lib/amazon/ssm/runtimeconfig/identity_config.json";
    pub(crate) const MACHINE_ID: &str = "etc/machine-id";
    pub(crate) const AGENT_LOG: &str = "var/log/amazon/ssm/amazon-ssm-agent.log";

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(crate) fn own(&self, name: &str) -> PathBuf {
        self.root.join(".stand-in").join(name)
    }

    pub(crate) fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// Writes a file and the folders above it.
    pub(crate) fn write(path: &Path, text: &str) -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, text)
    }

    /// Where the AWS of this machine is.
    pub(crate) fn endpoint(&self) -> Option<String> {
        Some(Self::read(&self.own("endpoint"))).filter(|endpoint| !endpoint.is_empty())
    }

    /// Adds a line to a log of the stand-in's own.
    pub(crate) fn append(&self, name: &str, line: &str) {
        use std::io::Write as _;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(self.own(name));
        // A test that reads the log will miss the line.
        let _ = file.and_then(|mut file| writeln!(file, "{line}"));
    }

    /// Writes the authoritative copy, in the agent's form.
    pub(crate) fn save(&self, id: &str, region: &str) -> std::io::Result<()> {
        // The form of amazon-ssm-agent 3.3.0.0, agent/managedInstances/registration.
        let text = json!({
            "instanceID": id, "region": region, "instanceType": "", "availabilityZone": "", "privateKey": "MIIEpAIBAAKCAQEA",
            "publicKey": "", "privateKeyType": "Rsa", "privateKeyCreatedDate": "2026-11-22 02:00:00 +0000 UTC",
        });
        Self::write(&self.path(Self::VAULT), &text.to_string())?;
        let manifest = json!({"RegistrationKey": format!("/{}", Self::VAULT), "InstanceFingerprint": format!("/{}", Self::FINGERPRINT)});
        Self::write(&self.path(Self::MANIFEST), &manifest.to_string())
    }

    /// Notes what the hardware is, as the first registration does.
    pub(crate) fn save_fingerprint(&self) -> std::io::Result<()> {
        let machine = Self::read(&self.path(Self::MACHINE_ID));
        let text = json!({"fingerprint": "f", "hardwareHash": {"machine-id": machine}, "similarityThreshold": 40});
        Self::write(&self.path(Self::FINGERPRINT), &text.to_string())
    }

    /// What an agent does that starts: it takes an identity, notes it, and tells its log how it fares with it.
    pub(crate) fn start_agent(&self) {
        let registered = self.registration(Self::VAULT).filter(|registered| {
            !registered.instance_id.is_empty() && Self::read(&self.path(Self::MANIFEST)).contains("RegistrationKey")
        });
        let (kind, id) = match (&registered, self.identity()) {
            (Some(registered), _) => ("OnPrem", registered.instance_id.clone()),
            (None, identity) => ("EC2", identity.map(|identity| identity.instance_id).unwrap_or_default()),
        };
        let runtime = json!({"SchemaVersion": "1.1", "InstanceId": id, "IdentityType": kind, "CredentialSource": ""});
        let _ = Self::write(&self.path(Self::RUNTIME), &runtime.to_string());
        self.log("INFO", "[amazon-ssm-agent] Starting Core Agent");
        self.log("INFO", &format!("[amazon-ssm-agent] Agent will take identity from {kind}"));
        if registered.is_some() {
            let fault = self.fault("service", &["fingerprint", "denied", "unreachable"]);
            let known: serde_json::Value =
                serde_json::from_str(&Self::read(&self.path(Self::FINGERPRINT))).unwrap_or_default();
            let machine = Self::read(&self.path(Self::MACHINE_ID));
            if known.pointer("/hardwareHash/machine-id").is_some_and(|id| *id != json!(machine)) {
                // Before it asks, it takes the new hardware for the registered one. Systems Manager does not.
                let _ = self.save_fingerprint().and_then(|()| Self::write(&self.own("other-hardware"), ""));
            }
            let is_other = self.own("other-hardware").exists();
            let retrieve = "[CredentialRefresher] Retrieve credentials produced error:";
            match fault.as_deref() {
                Some("denied") => self.log("ERROR", &format!("{retrieve} AccessDeniedException: ")),
                Some("unreachable") => self.log("ERROR", &format!("{retrieve} RequestError: send request failed")),
                Some(_) => self.log("ERROR", &format!("{retrieve} MachineFingerprintDoesNotMatch: ")),
                None if is_other => self.log("ERROR", &format!("{retrieve} MachineFingerprintDoesNotMatch: ")),
                None => self.log("INFO", "[CredentialRefresher] Credentials ready"),
            }
        }
    }

    /// Adds a line to the agent's log, in the agent's form.
    pub(crate) fn log(&self, level: &str, text: &str) {
        let path = self.path(Self::AGENT_LOG);
        let earlier = Self::read(&path);
        let _ = Self::write(&path, &format!("{earlier}{}.0000 {level} {text}\n", agent::timestamp()));
    }

    /// Writes the readable copy.
    pub(crate) fn save_readable(&self, id: &str, region: &str) -> std::io::Result<()> {
        let text = json!({"ManagedInstanceID": id, "Region": region}).to_string();
        Self::write(&self.path(Self::REGISTRATION), &text)
    }

    pub(crate) fn registration(&self, path: &str) -> Option<Registration> {
        serde_json::from_str(&Self::read(&self.path(path))).ok()
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        serde_json::from_str(&Self::read(&self.own("identity"))).ok()
    }

    /// The fault of a program, where it is one of these. One with a number fires that often.
    pub(crate) fn fault(&self, program: &str, among: &[&str]) -> Option<String> {
        let path = self.own("faults");
        let text = Self::read(&path);
        let line = text.lines().find(|line| {
            let mut words = line.split(' ');
            words.next() == Some(program) && words.next().is_some_and(|word| among.contains(&word))
        })?;
        let mut words = line.split(' ').skip(1);
        let fault = words.next()?.to_owned();
        if let Some(times) = words.next().and_then(|times| times.parse::<u32>().ok()) {
            let rest = text.lines().filter(|other| *other != line).map(str::to_owned);
            let again = (times > 1).then(|| format!("{program} {fault} {}", times - 1));
            let lines: String = rest.chain(again).map(|line| line + "\n").collect();
            let _ = Self::write(&path, &lines);
        }
        Some(fault)
    }
}

/// Does nothing until the caller gives up, or is gone.
pub(crate) fn hang() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    std::thread::sleep(Duration::from_mins(10));
}
