//! A machine and an AWS that behave, until they are told to fail.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hub::{AwsError, ManagedInstanceId, Timestamp};
use register_instance::aws::{Aws, Identity};
use register_instance::doctor::{Report, examine};
use register_instance::machine::{Command, Ended, Lock, Machine, Output, Position, Stop};
use register_instance::outcome::{Success, json};
use register_instance::{Failure, Proxies, Repair, Settings, Source, run};

pub(crate) const CODE: &str = "xUNf+/SecretSecret12";
pub(crate) const RENEWED_CODE: &str = "renewed+/Secret12345";
pub(crate) const INSTANCE: &str = "i-0123456789abcdef0";
pub(crate) const ACCOUNT: &str = "222222222222";
pub(crate) const NODE: &str = "mi-11111111111111111";
pub(crate) const MANIFEST: &str = "/var/lib/amazon/ssm/Vault/Manifest";
pub(crate) const LOG: &str = "/var/log/amazon/ssm/amazon-ssm-agent.log";
pub(crate) const UNIT: &str = "/usr/lib/systemd/system/amazon-ssm-agent.service";
pub(crate) const VAULT: &str = "/var/lib/amazon/ssm/Vault/Store/RegistrationKey";
pub(crate) const NOTED: &str = "/var/lib/amazon/ssm/registration";
pub(crate) const MARKER: &str = "/var/lib/tag-hub/registration.json";
pub(crate) const STOPPED: &str = "/run/tag-hub-agent-stopped";
pub(crate) const PARAMETER: &str = "/tag-hub/activation";

/// What an agent writes to its log that starts, and once Systems Manager has taken it.
pub(crate) const START: &str = "2026-11-22 02:00:00.0000 INFO [amazon-ssm-agent] Starting Core Agent\n";
pub(crate) const READY: &str = "2026-11-22 02:00:02.0000 INFO [CredentialRefresher] Credentials ready\n";

/// What goes wrong at one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does nothing and fails.
    Fail,
    /// It does its work, and says that it failed.
    HalfDone,
    /// It panics.
    Panic,
    /// It works, and a signal arrives meanwhile.
    Signal,
}

/// All that is remembered.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a circumstance of its own")]
pub(crate) struct State {
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) is_agent_running: bool,
    /// What the agent took for its identity when it started: the ID and the Region.
    pub(crate) identity: Option<(String, String)>,
    /// Whether a start makes the agent read its vault. One whose configuration lacks `OnPrem` does not.
    pub(crate) ignores_vault: bool,
    /// What the agent writes to its log when it starts, and what it writes after so many pauses.
    pub(crate) logs_at_start: String,
    pub(crate) logs_later: Option<(usize, String)>,
    /// What `ssm-cli` prints instead of an answer, each used up by one call; the last one stays.
    pub(crate) cli_says: Vec<String>,
    /// What `systemctl is-enabled` says, and whether enabling works.
    pub(crate) enabled: String,
    pub(crate) cannot_enable: bool,
    /// The environment of the run, and that of the last registration.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) registered_with: Option<BTreeMap<String, String>>,
    pub(crate) proxies: Option<Proxies>,
    /// Links to `/dev/null`.
    pub(crate) masked: Vec<String>,
    /// The agent's program comes after so many pauses.
    pub(crate) agent_comes_after: usize,
    pub(crate) pauses: usize,
    pub(crate) free_bytes: Option<u64>,
    pub(crate) tag: Option<String>,
    pub(crate) shows_tags: bool,
    pub(crate) parameters: BTreeMap<String, String>,
    /// What the parameter becomes after it was read once.
    pub(crate) renewed: Option<String>,
    /// What the agent prints when it is to register, instead of registering.
    pub(crate) agent_says: Vec<String>,
    /// Errors of AWS by operation, each used up by one call.
    pub(crate) aws_says: Vec<(&'static str, AwsError)>,
    pub(crate) programs: Vec<&'static str>,
    pub(crate) is_locked: bool,
    pub(crate) is_not_root: bool,
    pub(crate) nodes_made: usize,
    pub(crate) faults: BTreeMap<usize, Fault>,
    pub(crate) operations: usize,
    pub(crate) stop: Option<Stop>,
    /// Everything that was done, in order.
    pub(crate) calls: Vec<String>,
    /// Everything that was said.
    pub(crate) said: String,
    pub(crate) paused: Duration,
    /// Whether a pause makes the machine older.
    pub(crate) grows_older: bool,
    pub(crate) time_limit: Option<Duration>,
}

#[derive(Debug, Default)]
pub(crate) struct World(pub(crate) RefCell<State>, BTreeMap<String, String>);

impl State {
    /// An instance that was just launched, with a working agent and a live activation.
    pub(crate) fn fresh() -> Self {
        let state = Self {
            is_agent_running: true,
            parameters: [(PARAMETER.to_owned(), activation(&[]))].into(),
            programs: vec!["amazon-ssm-agent", "ssm-cli", "systemctl"],
            files: [(UNIT.to_owned(), "[Service]\nExecStart=/usr/bin/amazon-ssm-agent\n".to_owned())].into(),
            enabled: "enabled".to_owned(),
            logs_at_start: format!("{START}{READY}"),
            ..Self::default()
        };
        // Everything has run for long.
        state.up(9000, 1000)
    }

    /// How long the machine has been up, and when the agent started, in seconds since the boot.
    pub(crate) fn up(mut self, uptime: u32, started: u32) -> Self {
        self.files.insert("/proc/uptime".to_owned(), format!("{uptime}.00 1.00\n"));
        self.files.insert("/proc/2817/stat".to_owned(), stat(2817, started));
        self
    }

    /// An instance that is registered, by whatever means.
    pub(crate) fn registered() -> Self {
        let mut state = Self::fresh();
        state
            .files
            .insert(VAULT.to_owned(), format!(r#"{{"instanceID":"{NODE}","region":"us-east-1","privateKey":"k"}}"#));
        state.files.insert(NOTED.to_owned(), format!(r#"{{"ManagedInstanceID":"{NODE}","Region":"us-east-1"}}"#));
        state.files.insert(MANIFEST.to_owned(), format!(r#"{{"RegistrationKey":"{VAULT}"}}"#));
        state.files.insert(LOG.to_owned(), format!("{START}{READY}"));
        state.identity = Some((NODE.to_owned(), "us-east-1".to_owned()));
        state
    }

    /// The same in another Region.
    pub(crate) fn registered_in(region: &str) -> Self {
        let mut state = Self::registered();
        for path in [VAULT, NOTED] {
            let moved = state.files[path].replace("us-east-1", region);
            state.files.insert(path.to_owned(), moved);
        }
        state.identity = Some((NODE.to_owned(), region.to_owned()));
        state
    }

    /// The same, with the note of this tool for the instance named.
    pub(crate) fn marked(instance: &str) -> Self {
        let mut state = Self::registered();
        let marker = format!(
            r#"{{"managedInstanceId":"{NODE}","ec2InstanceId":"{instance}","account":"{ACCOUNT}","region":"us-west-2","registeredAt":"2026-11-01T00:00:00Z"}}"#
        );
        state.files.insert(MARKER.to_owned(), marker);
        state
    }

    /// The id in the vault.
    pub(crate) fn registered_as(&self) -> Option<String> {
        let record: serde_json::Value = serde_json::from_str(self.files.get(VAULT)?).ok()?;
        record["instanceID"].as_str().filter(|id| !id.is_empty()).map(str::to_owned)
    }

    /// The node and the instance in the note of this tool.
    pub(crate) fn marker(&self) -> Option<(String, String)> {
        let marker: serde_json::Value = serde_json::from_str(self.files.get(MARKER)?).ok()?;
        Some((marker["managedInstanceId"].as_str()?.to_owned(), marker["ec2InstanceId"].as_str()?.to_owned()))
    }

    /// The agent starts: it reads its vault, and notes who it is.
    fn start_agent(&mut self) {
        self.is_agent_running = true;
        let known = self.registered_as().filter(|_| !self.ignores_vault);
        let record: Option<serde_json::Value> =
            self.files.get(VAULT).and_then(|record| serde_json::from_str(record).ok());
        let region = record.and_then(|record| record["region"].as_str().map(str::to_owned)).unwrap_or_default();
        self.identity = known.map(|id| (id, region));
        let logged = self.logs_at_start.clone();
        self.files.entry(LOG.to_owned()).or_default().push_str(&logged);
    }

    pub(crate) fn count(&self, call: &str) -> usize {
        self.calls.iter().filter(|made| made.starts_with(call)).count()
    }
}

/// What the kernel says of an agent's process that started so many seconds after the boot.
pub(crate) fn stat(process: u32, started: u32) -> String {
    format!("{process} (amazon-ssm-agen) S {}{} 0\n", "0 ".repeat(18), started * 100)
}

/// The parameter of the hub, with some fields changed.
pub(crate) fn activation(changes: &[(&str, &str)]) -> String {
    let mut fields = serde_json::json!({
        "ActivationId": "bcf6faa8-83fd-419e-9534-96ad14131eb7", "ActivationCode": CODE, "Region": "us-east-1",
        "ExpirationDate": "2026-12-01T00:00:00Z", "Account": ACCOUNT, "HubAccount": "111111111111",
    });
    for (name, value) in changes {
        fields[name] = (*value).into();
    }
    fields.to_string()
}

pub(crate) fn settings() -> Settings {
    Settings {
        source: Source::Json { parameter: PARAMETER.to_owned() },
        region: None,
        hub_account: None,
        dry_run: false,
        wait_for_network: false,
        keep_default_profile: false,
        repair: Repair::Nothing,
    }
}

pub(crate) fn aws_error(code: &str, retryable: bool) -> AwsError {
    AwsError { operation: "test", code: code.to_owned(), message: "no".to_owned(), request_id: None, retryable }
}

impl World {
    pub(crate) fn new(state: State) -> Self {
        let environment = state.environment.clone();
        Self(RefCell::new(state), environment)
    }

    /// Runs, and checks what holds for every run.
    pub(crate) fn run(&self, settings: &Settings) -> Result<Success, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(run(settings, self, self));
        let state = self.0.borrow();
        for text in [&state.said, &json(&result), &format!("{result:?}")] {
            assert!(!text.contains(CODE) && !text.contains(RENEWED_CODE), "the code shows: {text}");
        }
        result
    }

    /// Looks only.
    pub(crate) fn examine(&self, settings: &Settings) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let before = self.0.borrow().files.clone();
        let report = runtime.block_on(examine(settings, self, self)).unwrap();
        let state = self.0.borrow();
        assert_eq!(state.files, before, "doctor changes nothing");
        assert_eq!((state.count("systemctl st"), state.count("amazon-ssm-agent"), state.count("write")), (0, 0, 0));
        assert!(!report.json().contains(CODE) && !report.words().contains(CODE), "the code shows");
        report
    }

    pub(crate) fn state(&self) -> State {
        self.0.borrow().clone()
    }

    /// Counts one operation and tells what goes wrong with it.
    fn fault(&self, call: impl Into<String>) -> Option<Fault> {
        let (call, fault) = {
            let mut state = self.0.borrow_mut();
            let call = call.into();
            state.calls.push(call.clone());
            state.operations += 1;
            let index = state.operations - 1;
            let fault = state.faults.get(&index).copied();
            if fault == Some(Fault::Signal) {
                state.stop = Some(Stop::Signal);
            }
            (call, fault)
        };
        // A second panic while the first unwinds would end the whole test.
        assert!(fault != Some(Fault::Panic) || std::thread::panicking(), "told to panic at {call}");
        fault
    }

    fn io_fault(&self, call: String) -> io::Result<bool> {
        match self.fault(call) {
            Some(Fault::Fail) => Err(io::Error::other("told to fail")),
            Some(Fault::HalfDone) => Ok(true),
            _ => Ok(false),
        }
    }

    fn aws(&self, call: &'static str) -> Result<(), AwsError> {
        let fault = self.fault(call);
        let mut state = self.0.borrow_mut();
        if let Some(at) = state.aws_says.iter().position(|(operation, _)| *operation == call) {
            return Err(state.aws_says.remove(at).1);
        }
        match fault {
            Some(Fault::Fail | Fault::HalfDone) => Err(aws_error("AccessDeniedException", false)),
            _ => Ok(()),
        }
    }

    fn control(&self, args: &[&str], fault: Option<Fault>) -> Output {
        let mut state = self.0.borrow_mut();
        match args[0] {
            "is-active" => return output(0, if state.is_agent_running { "active\n" } else { "inactive\n" }),
            "status" if state.is_agent_running => return output(0, "amazon-ssm-agent start/running, process 2817\n"),
            "status" => return output(3, "amazon-ssm-agent stop/waiting\n"),
            "is-enabled" => return output(0, &format!("{}\n", state.enabled)),
            "show" => return output(0, "MainPID=2817\n"),
            "enable" if state.cannot_enable => return output(1, "Failed to enable unit"),
            "enable" => {
                "enabled".clone_into(&mut state.enabled);
                return output(0, "");
            }
            _ => {}
        }
        if fault != Some(Fault::Fail) {
            if args.contains(&"start") {
                state.start_agent();
            } else {
                state.is_agent_running = false;
            }
        }
        match fault {
            Some(Fault::Fail | Fault::HalfDone) => output(1, "Job failed. See the journal."),
            _ => output(0, ""),
        }
    }

    fn ask(&self) -> Output {
        let mut state = self.0.borrow_mut();
        if !state.cli_says.is_empty() {
            let said = if state.cli_says.len() > 1 { state.cli_says.remove(0) } else { state.cli_says[0].clone() };
            return output(0, &said);
        }
        let (id, region) = state.identity.clone().unwrap_or_else(|| (INSTANCE.to_owned(), "us-west-2".to_owned()));
        output(0, &format!(r#"{{"instance-id":"{id}","region":"{region}","release-version":"3.3"}}"#))
    }

    fn register(&self, args: &[&str], fault: Option<Fault>) -> Output {
        let mut state = self.0.borrow_mut();
        if args == ["-register", "-clear"] {
            assert!(!state.is_agent_running, "the vault is cleared while the agent runs");
            if state.files.get(MANIFEST).is_some_and(|manifest| !manifest.starts_with('{')) {
                return output(1, "failed to unmarshal vault manifest");
            }
            state.files.insert(VAULT.to_owned(), r#"{"instanceID":"","region":"","privateKey":""}"#.to_owned());
            return output(0, "Registration information has been removed from the instance.");
        }
        let ["-register", "-code", code, "-id", _, "-region", region] = args else {
            panic!("the agent is called with {args:?}");
        };
        assert!(!state.is_agent_running, "the agent is registered while it runs");
        if state.registered_as().is_some() {
            return output(1, "\nInstance already registered. Would you like to override existing …? [Yes/No]: ");
        }
        state.files.insert(VAULT.to_owned(), r#"{"instanceID":"","region":"","privateKey":"new"}"#.to_owned());
        if !state.agent_says.is_empty() {
            let said = state.agent_says.remove(0);
            return output(1, &said);
        }
        if fault == Some(Fault::Fail) {
            return output(1, &format!("ERROR Registration failed due to … RequestError: send request failed, {code}"));
        }
        state.nodes_made += 1;
        let node = format!("mi-{:017x}", state.nodes_made);
        state
            .files
            .insert(VAULT.to_owned(), format!(r#"{{"instanceID":"{node}","region":"{region}","privateKey":"k"}}"#));
        state.files.insert(NOTED.to_owned(), format!(r#"{{"ManagedInstanceID":"{node}","Region":"{region}"}}"#));
        state.files.insert(MANIFEST.to_owned(), format!(r#"{{"RegistrationKey":"{VAULT}"}}"#));
        if fault == Some(Fault::HalfDone) {
            return Output { ended: Ended::TimedOut, stdout: format!("code {code}"), stderr: String::new() };
        }
        output(
            0,
            &format!(
                "{code}\n2026-11-22 INFO Successfully registered the instance with AWS SSM using Managed instance-id: {node}"
            ),
        )
    }
}

fn output(code: i32, stdout: &str) -> Output {
    Output { ended: Ended::Exit(code), stdout: stdout.to_owned(), stderr: String::new() }
}

impl Machine for World {
    fn is_root(&self) -> bool {
        !self.0.borrow().is_not_root
    }

    fn lock(&self) -> io::Result<Lock> {
        self.io_fault("lock".to_owned())?;
        Ok(if self.0.borrow().is_locked { Lock::Held("process 7".to_owned()) } else { Lock::Taken })
    }

    fn read(&self, path: &str) -> io::Result<Option<String>> {
        self.io_fault(format!("read {path}"))?;
        let state = self.0.borrow();
        let contents = state.files.get(path).cloned();
        if path != "/proc/uptime" || !state.grows_older {
            return Ok(contents);
        }
        let uptime: f64 = contents.unwrap().split(' ').next().unwrap().parse().unwrap();
        Ok(Some(format!("{} 1.00\n", uptime + state.paused.as_secs_f64())))
    }

    fn read_configuration(&self, path: &str) -> io::Result<Option<String>> {
        Ok(self.0.borrow().files.get(path).cloned())
    }

    fn log(&self, path: &str, from: Position, _: u64) -> io::Result<String> {
        let state = self.0.borrow();
        let text = state.files.get(path).cloned().unwrap_or_default();
        let from = usize::try_from(from.offset).ok().filter(|from| *from <= text.len()).unwrap_or_default();
        Ok(text[from..].to_owned())
    }

    fn log_time(&self, path: &str) -> Option<Timestamp> {
        self.0.borrow().files.contains_key(path).then(|| self.now())
    }

    fn log_end(&self, path: &str) -> io::Result<Position> {
        let length = self.0.borrow().files.get(path).map_or(0, String::len);
        Ok(Position { file: 1, offset: length as u64 })
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let (state, start) = (self.0.borrow(), format!("{folder}/"));
        let names = state.files.keys().filter_map(|path| path.strip_prefix(&start));
        names.filter(|name| !name.contains('/')).map(str::to_owned).collect()
    }

    fn is_masked(&self, path: &str) -> bool {
        self.0.borrow().masked.iter().any(|masked| masked == path)
    }

    fn exists(&self, path: &str) -> bool {
        self.is_masked(path) || self.0.borrow().files.contains_key(path)
    }

    fn free_bytes(&self, _: &str) -> Option<u64> {
        self.0.borrow().free_bytes
    }

    fn environment(&self) -> &BTreeMap<String, String> {
        &self.1
    }

    fn remaining(&self) -> Option<Duration> {
        None
    }

    fn random(&self) -> f64 {
        0.0
    }

    fn write(&self, path: &str, contents: &str) -> io::Result<()> {
        let half_done = self.io_fault(format!("write {path}"))?;
        self.0.borrow_mut().files.insert(path.to_owned(), contents.to_owned());
        if half_done { Err(io::Error::other("told to fail")) } else { Ok(()) }
    }

    fn write_configuration(&self, path: &str, contents: &str) -> io::Result<()> {
        self.write(path, contents)
    }

    fn sync(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.io_fault(format!("remove {path}"))?;
        self.0.borrow_mut().files.remove(path);
        Ok(())
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let state = self.0.borrow();
        let is_there = name != "amazon-ssm-agent" || state.pauses >= state.agent_comes_after;
        (is_there && state.programs.contains(&name)).then(|| Path::new("/usr/bin").join(name))
    }

    fn program_at(&self, path: &str) -> Option<PathBuf> {
        self.0.borrow().files.contains_key(path).then(|| path.into())
    }

    fn run(&self, command: &Command<'_>, _: Duration) -> io::Result<Output> {
        let (name, args) = (command.program.file_name().unwrap().to_str().unwrap(), command.args);
        let fault = self.fault(format!("{name} {}", args[0]));
        match name {
            "systemctl" | "initctl" => Ok(self.control(args, fault)),
            // It takes the name first.
            "service" => Ok(self.control(&[args[1], args[0]], fault)),
            "amazon-ssm-agent" => {
                self.0.borrow_mut().registered_with = command.environment.cloned();
                Ok(self.register(args, fault))
            }
            "ssm-cli" if fault == Some(Fault::Fail) => Err(io::Error::other("told to fail")),
            "ssm-cli" => Ok(self.ask()),
            other => panic!("{other} is run"),
        }
    }

    fn now(&self) -> Timestamp {
        "2026-11-22T02:00:00Z".parse().unwrap()
    }

    fn say(&self, line: &str) {
        let mut state = self.0.borrow_mut();
        state.said.push_str(line);
        state.said.push('\n');
    }

    fn explain(&self, line: &str) {
        self.say(line);
    }

    async fn pause(&self, duration: Duration) {
        let mut state = self.0.borrow_mut();
        state.paused += duration;
        state.pauses += 1;
        let pauses = state.pauses;
        if let Some((_, logged)) = state.logs_later.take_if(|(after, _)| *after <= pauses) {
            state.files.entry(LOG.to_owned()).or_default().push_str(&logged);
        }
        if state.paused >= state.time_limit.unwrap_or(Duration::from_mins(5)) {
            state.stop = Some(Stop::Deadline);
        }
    }

    async fn stop_requested(&self) -> Stop {
        let stop = self.0.borrow().stop;
        match stop {
            Some(stop) => stop,
            None => std::future::pending().await,
        }
    }
}

impl Aws for World {
    async fn identity(&self) -> Result<Identity, AwsError> {
        self.aws("identity")?;
        Ok(Identity {
            account: ACCOUNT.parse().unwrap(),
            region: "us-west-2".parse().unwrap(),
            instance: INSTANCE.parse().unwrap(),
        })
    }

    async fn own_tag(&self) -> Option<String> {
        self.aws("own_tag").ok()?;
        let state = self.0.borrow();
        state.tag.clone().filter(|_| state.shows_tags)
    }

    async fn parameter(&self, _: &Identity, name: &str) -> Result<String, AwsError> {
        self.aws("parameter")?;
        let mut state = self.0.borrow_mut();
        let value = state.parameters.get(name).cloned().ok_or_else(|| aws_error("ParameterNotFound", false))?;
        if let Some(renewed) = state.renewed.take() {
            state.parameters.insert(name.to_owned(), renewed);
        }
        Ok(value)
    }

    async fn write_tag(&self, identity: &Identity, node: &ManagedInstanceId) -> Result<(), AwsError> {
        self.aws("write_tag")?;
        assert_eq!(identity.instance.as_str(), INSTANCE);
        self.0.borrow_mut().tag = Some(node.to_string());
        Ok(())
    }

    fn use_proxies(&self, proxies: &Proxies) {
        self.0.borrow_mut().proxies = Some(proxies.clone());
    }
}
