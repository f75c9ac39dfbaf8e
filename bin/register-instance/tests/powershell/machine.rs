//! A made-up Windows: files, the agent's service, metadata, AWS, and a clock. It behaves, until it is told to fail.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::shell::Flow;
use crate::time::Time;

pub(crate) const CODE: &str = "xUNf+/SecretSecret12";
pub(crate) const RENEWED_CODE: &str = "renewed+/Secret12345";
pub(crate) const INSTANCE: &str = "i-0123456789abcdef0";
pub(crate) const ACCOUNT: &str = "222222222222";
pub(crate) const NODE: &str = "mi-11111111111111111";
pub(crate) const FIRST_NODE: &str = "mi-00000000000000001";
pub(crate) const PARAMETER: &str = "/tag-hub/activation";

pub(crate) const AGENT: &str = r"C:\Program Files\Amazon\SSM\amazon-ssm-agent.exe";
pub(crate) const CLI: &str = r"C:\Program Files\Amazon\SSM\ssm-cli.exe";
pub(crate) const VAULT: &str = r"C:\ProgramData\Amazon\SSM\InstanceData\Vault\Store\RegistrationKey";
pub(crate) const OLD_VAULT: &str = r"C:\ProgramData\Amazon\SSM\Vault\Store\RegistrationKey";
pub(crate) const NOTED: &str = r"C:\ProgramData\Amazon\SSM\InstanceData\registration";
pub(crate) const LOG: &str = r"C:\ProgramData\Amazon\SSM\Logs\amazon-ssm-agent.log";
pub(crate) const ERRORS: &str = r"C:\ProgramData\Amazon\SSM\Logs\errors.log";
pub(crate) const RUNTIME: &str = r"C:\ProgramData\Amazon\SSM\runtimeconfig\identity_config.json";
pub(crate) const FOLDER: &str = r"C:\ProgramData\TagHub";
pub(crate) const MARKER: &str = r"C:\ProgramData\TagHub\registration.json";
pub(crate) const LOCK: &str = r"C:\ProgramData\TagHub\register-instance.lock";
pub(crate) const STOPPED: &str = r"C:\ProgramData\TagHub\agent-stopped";

/// When every run begins: 2026-11-22T02:00:00Z.
pub(crate) const BEGIN: i64 = 1_795_312_800_000;

/// The groups of administrators, and everybody's.
pub(crate) const ADMINISTRATORS: &str = "S-1-5-32-544";
pub(crate) const SOMEBODY: &str = "S-1-5-21-1-2-3-1001";

/// What goes wrong at one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does nothing and fails.
    Fail,
    /// It does its work, and says that it failed.
    HalfDone,
    /// The process is killed before it.
    KillBefore,
    /// The process is killed after it.
    KillAfter,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) text: String,
    pub(crate) modified: i64,
    pub(crate) owner: String,
    pub(crate) is_folder: bool,
    pub(crate) is_link: bool,
    /// Why it cannot be read.
    pub(crate) problem: Option<&'static str>,
    /// Administrators alone may write there.
    pub(crate) is_protected: bool,
}

/// What the metadata service answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Text(String),
    Status(u16),
    /// To another place, which would answer as this service does.
    Redirect,
    Nothing,
}

/// How a call of AWS fails. Without a code no answer came.
#[derive(Clone, Debug)]
pub(crate) struct AwsTrouble {
    pub(crate) code: &'static str,
    pub(crate) message: &'static str,
    pub(crate) status: u16,
}

/// What a program printed, and how it ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ran {
    pub(crate) code: i64,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) hangs: bool,
    /// Something that it started goes on, and holds its pipes.
    pub(crate) holds_pipes: bool,
}

/// All that is remembered.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a circumstance of its own")]
pub(crate) struct Machine {
    /// By path in lower case.
    pub(crate) files: BTreeMap<String, File>,
    /// `Running`, `Stopped` or another word of Windows; none if there is no such service.
    pub(crate) service: Option<&'static str>,
    pub(crate) start_mode: &'static str,
    pub(crate) cannot_set_service: bool,
    /// When the agent's process started; none if Windows does not tell.
    pub(crate) agent_started: Option<i64>,
    pub(crate) boot: i64,
    /// Starting fails so many times; starting or stopping never ends.
    pub(crate) starts_failing: usize,
    pub(crate) start_hangs: bool,
    pub(crate) stop_hangs: bool,
    pub(crate) cannot_stop: bool,
    /// An upgrade of the package starts the agent while it registers.
    pub(crate) is_started_meanwhile: bool,
    /// What the running agent took for its identity when it started: ID and Region.
    pub(crate) identity: Option<(String, String)>,
    /// It starts as an EC2 instance, whatever its vault holds.
    pub(crate) ignores_vault: bool,
    /// Whether it notes its identity, and how many seconds ago its credentials are got at a start and until when they last.
    pub(crate) notes_identity: bool,
    pub(crate) credentials: Option<(i64, i64)>,
    /// Where this version of the agent keeps its vault.
    pub(crate) vault: &'static str,
    /// What the agent logs when it starts, and what so many seconds after the begin of the run.
    pub(crate) logs_at_start: Vec<String>,
    pub(crate) logs_later: Vec<(i64, String)>,
    /// What `ssm-cli` does instead of answering, each used up by one call; the last one stays.
    pub(crate) cli_does: Vec<Ran>,
    /// What the agent does when it is to register, instead of registering; each is used up by one call.
    pub(crate) agent_does: Vec<Ran>,
    /// What it names in its output, instead of the node.
    pub(crate) agent_names: Option<&'static str>,
    pub(crate) has_runnable_agent: bool,
    /// The variables of the machine, and of the agent's service; the arguments and variables of the last registration.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) service_environment: Vec<String>,
    pub(crate) registered_with: Option<(String, BTreeMap<String, String>)>,
    /// Answers of the metadata service by a part of the path, and how often each is given.
    pub(crate) imds: Vec<(&'static str, Answer, usize)>,
    pub(crate) followed: usize,
    pub(crate) parameters: BTreeMap<String, String>,
    /// What the parameter becomes after it was read once.
    pub(crate) renewed: Option<String>,
    pub(crate) aws_says: Vec<(&'static str, AwsTrouble)>,
    pub(crate) tag: Option<String>,
    pub(crate) lacks_tools: bool,
    pub(crate) is_administrator: bool,
    pub(crate) is_locked: bool,
    pub(crate) holds_lock: bool,
    pub(crate) is_full: bool,
    /// Somebody puts a file into each folder that is made.
    pub(crate) has_intruder: bool,
    pub(crate) nodes_made: usize,
    pub(crate) faults: BTreeMap<usize, Fault>,
    pub(crate) steps: usize,
    pub(crate) now: i64,
    /// Everything that was done, in order, and everything that was said.
    pub(crate) calls: Vec<String>,
    pub(crate) said: String,
}

/// A line of the agent's log, with the local time.
pub(crate) fn stamped(at: i64, words: &str) -> String {
    format!("{}.0000 {words}\n", Time::utc(at).to_local().sortable(' '))
}

pub(crate) const START: &str = "INFO [amazon-ssm-agent] Starting Core Agent";
pub(crate) const READY: &str = "INFO [CredentialRefresher] Credentials ready";
pub(crate) const MISMATCH: &str =
    "ERROR [CredentialRefresher] Retrieve credentials produced error: MachineFingerprintDoesNotMatch: x";

/// The parameter of the hub, with some fields changed.
pub(crate) fn activation(changes: &[(&str, Json)]) -> String {
    let mut fields = json!({
        "ActivationId": "bcf6faa8-83fd-419e-9534-96ad14131eb7", "ActivationCode": CODE, "Region": "us-east-1",
        "ExpirationDate": "2026-12-01T00:00:00Z", "Account": ACCOUNT, "HubAccount": "111111111111",
    });
    for (name, value) in changes {
        fields[name] = value.clone();
    }
    fields.to_string()
}

impl Machine {
    /// An instance that was just launched, with a working agent and a live activation.
    pub(crate) fn fresh() -> Self {
        let mut machine = Self {
            files: BTreeMap::new(),
            service: Some("Running"),
            start_mode: "Auto",
            cannot_set_service: false,
            agent_started: Some(BEGIN - 8_000_000),
            boot: BEGIN - 9_000_000,
            starts_failing: 0,
            start_hangs: false,
            stop_hangs: false,
            cannot_stop: false,
            is_started_meanwhile: false,
            identity: None,
            ignores_vault: false,
            notes_identity: true,
            credentials: None,
            vault: VAULT,
            logs_at_start: vec![START.to_owned(), READY.to_owned()],
            logs_later: vec![],
            cli_does: vec![],
            agent_does: vec![],
            agent_names: None,
            has_runnable_agent: true,
            variables: [("Path".to_owned(), r"C:\Windows\system32".to_owned())].into(),
            service_environment: vec![],
            registered_with: None,
            imds: vec![],
            followed: 0,
            parameters: [(PARAMETER.to_owned(), activation(&[]))].into(),
            renewed: None,
            aws_says: vec![],
            tag: None,
            lacks_tools: false,
            is_administrator: true,
            is_locked: false,
            holds_lock: false,
            is_full: false,
            has_intruder: false,
            nodes_made: 0,
            faults: BTreeMap::new(),
            steps: 0,
            now: BEGIN,
            calls: vec![],
            said: String::new(),
        };
        for program in [AGENT, CLI] {
            machine.put(program, "");
        }
        machine.put(LOG, &stamped(BEGIN - 8_000_000, START));
        machine
    }

    /// An instance that is registered, by whatever means, and whose agent has been accepted since it started.
    pub(crate) fn registered() -> Self {
        Self::registered_in("us-east-1")
    }

    pub(crate) fn registered_in(region: &str) -> Self {
        let mut machine = Self::fresh();
        machine.put(VAULT, &json!({"instanceID": NODE, "region": region, "privateKey": "k"}).to_string());
        machine.put(NOTED, &json!({"ManagedInstanceID": NODE, "Region": region}).to_string());
        machine.identity = Some((NODE.to_owned(), region.to_owned()));
        machine.note_identity();
        machine.put(LOG, &(stamped(BEGIN - 8_000_000, START) + &stamped(BEGIN - 7_900_000, READY)));
        machine
    }

    /// The same, with the note of the script for the instance named.
    pub(crate) fn marked(instance: &str) -> Self {
        let mut machine = Self::registered();
        let note = json!({
            "managedInstanceId": NODE, "ec2InstanceId": instance, "account": ACCOUNT, "region": "us-west-2",
            "registeredAt": "2026-11-01T00:00:00Z",
        });
        machine.protected_folder();
        machine.put(MARKER, &note.to_string());
        machine
    }

    /// The folder of the script, as an earlier run has left it.
    pub(crate) fn protected_folder(&mut self) {
        self.put(FOLDER, "");
        let folder = self.files.get_mut(&FOLDER.to_lowercase()).unwrap();
        (folder.is_folder, folder.is_protected) = (true, true);
    }

    pub(crate) fn put(&mut self, path: &str, text: &str) {
        let file = File {
            text: text.to_owned(),
            modified: self.now,
            owner: ADMINISTRATORS.to_owned(),
            is_folder: false,
            is_link: false,
            problem: None,
            is_protected: false,
        };
        self.files.insert(path.to_lowercase(), file);
    }

    pub(crate) fn remove(&mut self, path: &str) {
        self.files.remove(&path.to_lowercase());
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.get(&path.to_lowercase())
    }

    pub(crate) fn file_mut(&mut self, path: &str) -> &mut File {
        self.files.get_mut(&path.to_lowercase()).unwrap()
    }

    pub(crate) fn text(&self, path: &str) -> String {
        self.file(path).map(|file| file.text.clone()).unwrap_or_default()
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        let path = path.to_lowercase();
        let inside = format!("{path}\\");
        self.files.contains_key(&path) || self.files.keys().any(|known| known.starts_with(&inside))
    }

    /// Writes a file of the script. Nothing is written before the folder is the administrators' alone.
    pub(crate) fn write(&mut self, path: &str, text: &str) -> Result<(), Trouble> {
        let is_protected = self.file(FOLDER).is_some_and(|folder| folder.is_protected);
        assert!(is_protected && self.holds_lock, "{path} is written where others may write");
        if self.is_full {
            return Err(Trouble::Full);
        }
        if self.file(path).is_some_and(|file| file.is_folder) {
            return Err(Trouble::Denied);
        }
        self.put(path, text);
        Ok(())
    }

    pub(crate) fn count(&self, call: &str) -> usize {
        self.calls.iter().filter(|made| made.starts_with(call)).count()
    }

    /// The ID in the vault.
    pub(crate) fn registered_as(&self) -> Option<String> {
        let record: Json = serde_json::from_str(&self.text(self.vault)).ok()?;
        record["instanceID"].as_str().filter(|id| !id.is_empty()).map(str::to_owned)
    }

    /// The node and the instance in the note of the script.
    pub(crate) fn marker(&self) -> Option<(String, String)> {
        let note: Json = serde_json::from_str(&self.text(MARKER)).ok()?;
        Some((note["managedInstanceId"].as_str()?.to_owned(), note["ec2InstanceId"].as_str()?.to_owned()))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.service == Some("Running")
    }

    /// One step: something outside of the script is asked or changed.
    pub(crate) fn step<T>(
        &mut self,
        call: String,
        work: impl FnOnce(&mut Self) -> Result<T, Trouble>,
    ) -> Result<Result<T, Trouble>, Flow> {
        let fault = self.faults.get(&self.steps).copied();
        self.calls.push(call);
        self.steps += 1;
        match fault {
            None => Ok(work(self)),
            Some(Fault::Fail) => Ok(Err(Trouble::Told)),
            Some(Fault::HalfDone) => {
                let _ = work(self);
                Ok(Err(Trouble::Told))
            }
            Some(Fault::KillBefore) => Err(Flow::Killed),
            Some(Fault::KillAfter) => {
                let _ = work(self);
                Err(Flow::Killed)
            }
        }
    }

    pub(crate) fn sleep(&mut self, milliseconds: i64) {
        self.now += milliseconds;
        let due = |(after, _): &(i64, String)| BEGIN + after * 1000 <= self.now;
        let (due, later): (Vec<_>, Vec<_>) = self.logs_later.clone().into_iter().partition(due);
        self.logs_later = later;
        for (_, words) in due {
            self.log(&words);
        }
    }

    pub(crate) fn log(&mut self, words: &str) {
        let text = self.text(LOG) + &stamped(self.now, words);
        self.put(LOG, &text);
    }
}

/// Why a step failed, for the exception that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Told,
    Full,
    /// Another has the file open.
    Shared,
    Denied,
    Io(&'static str),
    /// Starting or stopping the service.
    Service(&'static str),
    Late,
}
