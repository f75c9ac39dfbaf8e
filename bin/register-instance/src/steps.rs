//! The run, step by step.

mod calls;
mod words;

use std::time::Duration;

use hub::{ManagedInstanceId, Region};

use crate::activation::Activation;
use crate::agent::Refusal;
use crate::aws::{Aws, Identity};
use crate::decide::{Decision, Facts, MarkerState, decide};
use crate::detect::{Found, Installation, PACKAGED_UNITS, SNAP_FOLDER, detect};
use crate::evidence::{Cli, Evidence, REGISTRATION_FILE, Registration, VAULT_FILE, Vault, node_in_file};
use crate::failure::{Failure, Reason};
use crate::machine::{Machine, Output};
use crate::marker::{MARKER_FILE, Marker};
use crate::outcome::{Done, Success};
use crate::register::{self, NotRegistered, Registered};
use crate::retry;

use calls::Calls;

/// How long `ssm-cli` may take.
const CLI_LIMIT: Duration = Duration::from_secs(20);

/// How often a registration is tried that fails for the network or the service.
const TRANSIENT_TRIES: u32 = 3;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the activation is.
    pub source: Source,
    /// The Region of the hub. Has to agree with the activation's own, where it names one.
    pub region: Option<Region>,
    /// Say what would be done, and change nothing.
    pub dry_run: bool,
    /// Let the network take as long as the whole run may.
    pub wait_for_network: bool,
}

/// Where the activation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In one parameter, as the hub writes it.
    Json {
        /// Its name.
        parameter: String,
    },
    /// In two parameters, as the original write-up has it.
    Pair {
        /// The name of the one with the id.
        id: String,
        /// The name of the one with the code.
        code: String,
    },
}

/// Registers this machine, or sees to it that a registered one is tagged.
///
/// # Errors
/// Whatever keeps the machine from being registered and tagged. The agent runs again where it was stopped, or the
/// reason is [`Reason::AgentControl`].
pub async fn run<M: Machine, A: Aws>(settings: &Settings, machine: &M, aws: &A) -> Result<Success, Failure> {
    if !machine.is_root() {
        return Err(Failure::new(Reason::NotRoot, "run this as root: it stops the agent and reads its files"));
    }
    if !settings.dry_run {
        lock(machine)?;
    }
    let installation =
        detect(&found(machine)).map_err(|missing| Failure::new(Reason::AgentMissing, missing.to_string()))?;
    if !settings.dry_run {
        register::start_left_over(machine, &installation)
            .map_err(|problem| Failure::new(Reason::AgentControl, problem))?;
    }
    let calls = Calls::new(machine, aws, settings.wait_for_network);
    let identity = calls.identity().await?;
    machine.say(&format!("this is {} in account {}, {}", identity.instance, identity.account, identity.region));
    let run = Run { settings, machine, calls, installation, identity };
    run.decided().await
}

/// A run on a machine that is known.
struct Run<'a, M, A> {
    settings: &'a Settings,
    machine: &'a M,
    calls: Calls<'a, M, A>,
    installation: Installation,
    identity: Identity,
}

impl<M: Machine, A: Aws> Run<'_, M, A> {
    async fn decided(&self) -> Result<Success, Failure> {
        let facts = Facts {
            evidence: self.evidence()?,
            marker: self.read(MARKER_FILE)?.as_deref().and_then(Marker::parse),
            instance: self.identity.instance.clone(),
            tag: self.calls.own_tag().await?,
        };
        self.machine.explain(&format!("{:?}", facts.evidence));
        match decide(&facts) {
            Decision::Register => self.register().await,
            Decision::RepairTag { node, .. } if self.settings.dry_run => {
                Ok(self.success(Done::WouldWriteTag(node), None))
            }
            Decision::Done { node, .. } if self.settings.dry_run => {
                Ok(self.success(Done::AlreadyRegistered(node), None))
            }
            Decision::RepairTag { node, marker } => {
                self.machine.say(&format!("already registered as {node}; writing the tag"));
                let marked = self.mark(&node, marker);
                self.calls.write_tag(&self.identity, &node).await.map_err(|failure| failure.of(&node))?;
                marked.map_err(|failure| failure.of(&node))?;
                Ok(self.success(Done::TagWritten(node), None))
            }
            Decision::Done { node, marker } => {
                self.mark(&node, marker).map_err(|failure| failure.of(&node))?;
                Ok(self.success(Done::AlreadyRegistered(node), None))
            }
            Decision::Clone { node, original } => {
                let message = words::clone(&node, &original, &self.identity.instance, &self.installation);
                Err(Failure::new(Reason::Clone, message).of(&node))
            }
            Decision::Contradiction { answered, kept } => Err(Failure::new(
                Reason::RegistrationFailed,
                words::contradiction(&answered, &kept, &self.installation),
            )),
        }
    }

    async fn register(&self) -> Result<Success, Failure> {
        let activation = self.activation().await?;
        let region = activation.region.clone();
        self.machine.say(&format!("activation {} for Region {region}", activation.id));
        if self.settings.dry_run {
            let Installation { agent, stop, start, .. } = &self.installation;
            let (agent, stop, start) = (agent.display(), stop.words(), start.words());
            self.machine.say(&format!("would run `{stop}`"));
            self.machine
                .say(&format!("would run `{agent} -register -code *** -id {} -region {region}`", activation.id));
            self.machine.say(&format!("would run `{start}`, and write the tag managedinstanceid"));
            return Ok(self.success(Done::WouldRegister, Some(region)));
        }
        let Registered { node, not_started } = self.registered(activation).await?;
        self.machine.say(&format!("registered as {node}"));
        let rest = async {
            let marked = self.mark(&node, MarkerState::Missing);
            self.calls.write_tag(&self.identity, &node).await?;
            marked
        };
        let rest = rest.await;
        // The worst comes first: without its agent the node is of no use, whatever its tag.
        if let Some(problem) = not_started {
            return Err(Failure::new(Reason::AgentControl, format!("registered, but {problem}")).of(&node));
        }
        rest.map_err(|failure| failure.of(&node))?;
        Ok(self.success(Done::Registered(node), Some(region)))
    }

    /// Tries until the agent is registered, or another try is of no use.
    async fn registered(&self, mut activation: Activation) -> Result<Registered, Failure> {
        let (mut transient_tries, mut is_read_again) = (0, false);
        loop {
            self.calls.go_on().await?;
            self.machine.say("stopping the agent, registering it, and starting it again");
            let (refusal, said) = match register::attempt(self.machine, &self.installation, &activation) {
                Ok(registered) => return Ok(registered),
                Err(NotRegistered::Refused(refusal, said)) => (refusal, said),
                Err(NotRegistered::Control(problem)) => return Err(Failure::new(Reason::AgentControl, problem)),
                Err(NotRegistered::Unprepared(problem)) => return Err(Failure::new(Reason::Unexpected, problem)),
            };
            let failure = words::refused(refusal, &said, self.settings, &self.identity);
            match refusal {
                Refusal::Expired | Refusal::Exhausted | Refusal::Invalid if !is_read_again => {
                    is_read_again = true;
                    self.machine.say(&format!("{failure}; reading the activation again"));
                    // The hub may have renewed it since. Where it cannot be read, the first failure is the one to know.
                    match self.activation().await {
                        Ok(renewed) if !renewed.is_same(&activation) => activation = renewed,
                        _ => return Err(failure),
                    }
                }
                Refusal::Transient => {
                    transient_tries += 1;
                    if transient_tries == TRANSIENT_TRIES {
                        return Err(failure);
                    }
                    self.machine.say(&format!("{said}; trying again"));
                    self.calls.pause(retry::backoff(transient_tries)).await?;
                    // A try that got no answer may have reached its end all the same.
                    if let Registration::As(node) = self.evidence()?.registration() {
                        return Ok(Registered { node, not_started: None });
                    }
                }
                _ => return Err(failure),
            }
        }
    }

    /// Reads the activation, and looks whether this instance may use it.
    async fn activation(&self) -> Result<Activation, Failure> {
        let unreadable = |problem: String| {
            Failure::new(Reason::ActivationUnreadable, words::no_activation(&self.settings.source, &problem))
        };
        let activation = match &self.settings.source {
            Source::Json { parameter } => {
                Activation::from_json(&self.calls.parameter(&self.identity, parameter).await?).map_err(unreadable)?
            }
            Source::Pair { id, code } => {
                let code = self.calls.parameter(&self.identity, code).await?;
                let id = self.calls.parameter(&self.identity, id).await?;
                let region = self.settings.region.clone().unwrap_or_else(|| self.identity.region.clone());
                Activation::from_pair(&id, &code, region).map_err(unreadable)?
            }
        };
        activation
            .check(&self.identity.account, self.settings.region.as_ref(), self.machine.now())
            .map_err(|problem| words::unusable(&problem, self.settings, &self.identity))?;
        Ok(activation)
    }

    fn evidence(&self) -> Result<Evidence, Failure> {
        let cli = self.installation.cli.as_ref();
        let answer = cli.and_then(|cli| self.machine.run(cli, &["get-instance-information"], CLI_LIMIT).ok());
        Ok(Evidence {
            cli: answer.filter(Output::is_success).map(|output| Cli::parse(&output.stdout)).unwrap_or_default(),
            vault: Vault::parse(self.read(VAULT_FILE)?.as_deref()),
            file: self.read(REGISTRATION_FILE)?.as_deref().and_then(node_in_file),
        })
    }

    fn read(&self, path: &str) -> Result<Option<String>, Failure> {
        self.machine
            .read(path)
            .map_err(|error| Failure::new(Reason::Unexpected, format!("cannot read {path}: {error}")))
    }

    fn mark(&self, node: &ManagedInstanceId, state: MarkerState) -> Result<(), Failure> {
        if state == MarkerState::Right {
            return Ok(());
        }
        let marker = Marker::new(&self.identity, node.clone(), self.machine.now());
        let contents = serde_json::to_string(&marker).unwrap_or_default();
        self.machine.write(MARKER_FILE, &contents).map_err(|error| {
            Failure::new(Reason::Unexpected, format!("registered as {node}, but cannot write {MARKER_FILE}: {error}"))
        })
    }

    fn success(&self, done: Done, hub_region: Option<Region>) -> Success {
        Success { done, identity: self.identity.clone(), hub_region }
    }
}

fn lock<M: Machine>(machine: &M) -> Result<(), Failure> {
    match machine.lock() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(Reason::Locked, "another run of register-instance is at work on this machine")),
        Err(error) => Err(Failure::new(Reason::Unexpected, format!("cannot take the lock: {error}"))),
    }
}

fn found<M: Machine>(machine: &M) -> Found {
    let in_snap = |program: &str| machine.file(&format!("{SNAP_FOLDER}/{program}"));
    Found {
        agent: machine.program("amazon-ssm-agent"),
        cli: machine.program("ssm-cli"),
        snap_agent: in_snap("amazon-ssm-agent"),
        snap_cli: in_snap("ssm-cli"),
        packaged_unit: PACKAGED_UNITS.iter().any(|unit| machine.file(unit).is_some()),
        systemctl: machine.program("systemctl"),
        initctl: machine.program("initctl"),
        stop: machine.program("stop"),
        start: machine.program("start"),
        service: machine.program("service"),
    }
}
