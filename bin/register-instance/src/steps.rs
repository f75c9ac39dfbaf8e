//! The run, step by step.

mod calls;
mod confirm;
mod heal;
mod register;
pub(crate) mod words;

use std::cell::RefCell;
use std::time::Duration;

use hub::{AccountId, ManagedInstanceId, Region};

use crate::activation::{Activation, Wanted};
use crate::aws::{Aws, Identity};
use crate::decide::{Decision, Facts, MarkerState, decide};
use crate::detect::{Installation, Missing, detect};
use crate::evidence::{
    CONFIGURATION_FILE, Evidence, MANIFEST_FILE, Manifest, REGISTRATION_FILE, Registration, VAULT_FILE, Vault,
    node_in_file, prefers_ec2,
};
use crate::failure::{Failure, Reason};
use crate::find::found;
use crate::machine::{LOCK_FILE, Lock, Machine, Stop};
use crate::marker::{MARKER_FILE, Marker};
use crate::outcome::{Done, Success};
use crate::proxy::{Proxies, Variables};
use crate::register as agent_control;
use crate::unit;
use crate::{retry, verify};

use calls::{Calls, stopped};
pub(crate) use confirm::boot_word;

/// The longest pause while the machine itself is waited for.
const MACHINE_PAUSE_MAX: Duration = Duration::from_secs(4);

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the activation is.
    pub source: Source,
    /// The Region of the hub. Has to agree with the activation's own, if it names one.
    pub region: Option<Region>,
    /// The central account. Has to agree with the activation's own.
    pub hub_account: Option<AccountId>,
    /// Say what would be done, and change nothing.
    pub dry_run: bool,
    /// Let what belongs to a boot take as long as the whole run may: the metadata service, the agent.
    pub wait_for_network: bool,
    /// Tell the agent not to write its credentials into root's default profile.
    pub keep_default_profile: bool,
    /// What to do about a registration that is of no use.
    pub repair: Repair,
}

/// What to do about a registration that is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Say so.
    Nothing,
    /// Restart the agent, mend what is no registration.
    Heal,
    /// Besides, take it off the machine and register again.
    Replace,
}

/// Where the activation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In one parameter, as the hub writes it.
    Json {
        /// Its name.
        parameter: String,
    },
    /// In two parameters.
    Pair {
        /// The name of the one with the ID.
        id: String,
        /// The name of the one with the code.
        code: String,
    },
}

/// Registers this machine, or sees to it that a registered one is tagged.
///
/// # Errors
/// Whatever keeps the machine from being registered and tagged. The agent runs again if it was stopped, or the reason is
/// [`Reason::AgentControl`].
pub async fn run<M: Machine, A: Aws>(settings: &Settings, machine: &M, aws: &A) -> Result<Success, Failure> {
    check_root(machine)?;
    if !settings.dry_run {
        lock(machine)?;
    }
    let calls = Calls::new(machine, aws, settings.wait_for_network);
    let installation = installation(settings, machine, &calls).await?;
    if !settings.dry_run {
        agent_control::start_left_over(machine, &installation)
            .map_err(|problem| Failure::new(Reason::AgentControl, problem))?;
    }
    let environment = unit::environment(machine, &installation.manager);
    let (proxies, route) = proxies(machine, &installation, environment.as_ref());
    calls.use_proxies(&proxies, route.clone());
    let identity = calls.identity().await?;
    machine.say(&format!("this is {} in account {}, {}", identity.instance, identity.account, identity.region));
    let run = Run { settings, machine, calls, installation, environment, route, identity, notes: RefCell::default() };
    run.decided().await
}

/// A run on a machine that is known.
struct Run<'a, M, A> {
    settings: &'a Settings,
    machine: &'a M,
    calls: Calls<'a, M, A>,
    installation: Installation,
    /// The environment of the agent's service, if it has one of its own.
    environment: Option<Variables>,
    /// Which proxy the agent has, for a message.
    route: String,
    identity: Identity,
    notes: RefCell<Vec<String>>,
}

impl<M: Machine, A: Aws> Run<'_, M, A> {
    async fn decided(&self) -> Result<Success, Failure> {
        let evidence = evidence(self.machine)?;
        self.machine.explain(&format!("{evidence:?}"));
        let hub_region = match evidence.registration() {
            Registration::None => None,
            Registration::As(_) | Registration::Unreadable => self.hub_region().await?,
        };
        let facts = Facts {
            marker: read(self.machine, MARKER_FILE)?.as_deref().and_then(Marker::parse),
            instance: self.identity.instance.clone(),
            hub_region: hub_region.clone(),
            evidence,
        };
        match decide(&facts) {
            Decision::Register => self.register().await,
            Decision::Confirm { node, marker } => self.confirm(&facts, &node, marker).await,
            Decision::Foreign { node, hub_region } => {
                let failure =
                    Failure::new(Reason::ForeignRegistration, words::foreign(&node, &hub_region)).of(&node.id);
                self.or_replace(failure, Some(&node), true).await
            }
            Decision::Clone { node, original } => {
                let message = words::clone(&node.id, &original, &self.identity.instance);
                // The node is in use, by the other machine.
                self.or_replace(Failure::new(Reason::Clone, message).of(&node.id), Some(&node), false).await
            }
            Decision::Unreadable => {
                self.or_replace(Failure::new(Reason::NotInUse, words::unreadable()), None, false).await
            }
        }
    }

    /// The Region of the hub, as far as it is known without registering.
    async fn hub_region(&self) -> Result<Option<Region>, Failure> {
        if self.settings.region.is_some() {
            return Ok(self.settings.region.clone());
        }
        match self.read_activation().await {
            Ok(activation) => {
                let is_ours = activation.terms.is_none_or(|terms| terms.account == self.identity.account);
                Ok(is_ours.then_some(activation.region))
            }
            Err(failure) if matches!(failure.reason, Reason::Network | Reason::Interrupted | Reason::Clock) => {
                Err(failure)
            }
            Err(failure) => {
                self.machine.say(&format!("the Region of the hub is not known: {failure}"));
                Ok(None)
            }
        }
    }

    /// Reads the activation, and looks whether this instance may use it.
    async fn activation(&self) -> Result<Activation, Failure> {
        let activation = self.read_activation().await?;
        let wanted = Wanted {
            account: &self.identity.account,
            region: self.settings.region.as_ref(),
            hub_account: self.settings.hub_account.as_ref(),
            now: self.machine.now(),
        };
        activation.check(&wanted).map_err(|problem| words::unusable(&problem, self.settings, &self.identity))?;
        Ok(activation)
    }

    async fn read_activation(&self) -> Result<Activation, Failure> {
        let activation = match &self.settings.source {
            Source::Json { parameter } => {
                Activation::from_json(&self.calls.parameter(&self.identity, parameter).await?)
            }
            Source::Pair { id, code } => {
                let code = self.calls.parameter(&self.identity, code).await?;
                let id = self.calls.parameter(&self.identity, id).await?;
                let region = self.settings.region.clone().unwrap_or_else(|| self.identity.region.clone());
                Activation::from_pair(&id, &code, region)
            }
        };
        activation.map_err(|problem| {
            Failure::new(Reason::ActivationUnreadable, words::no_activation(&self.settings.source, &problem))
        })
    }

    /// Writes down which instance was registered as which node.
    fn mark(&self, node: &ManagedInstanceId, hub_region: Option<&Region>, state: MarkerState) -> Result<(), Failure> {
        if state == MarkerState::Right {
            return Ok(());
        }
        let marker = Marker {
            managed_instance_id: node.clone(),
            ec2_instance_id: self.identity.instance.clone(),
            account: self.identity.account.clone(),
            region: self.identity.region.clone(),
            hub_region: hub_region.cloned(),
            registered_at: self.machine.now(),
        };
        let contents = serde_json::to_string(&marker).unwrap_or_default();
        self.machine.write(MARKER_FILE, &contents).map_err(|error| {
            Failure::new(Reason::Unexpected, format!("registered as {node}, but cannot write {MARKER_FILE}: {error}"))
        })
    }

    fn note(&self, note: String) {
        self.machine.say(&note);
        self.notes.borrow_mut().push(note);
    }

    fn success(&self, done: Done, hub_region: Option<Region>) -> Success {
        Success { done, identity: self.identity.clone(), hub_region, notes: self.notes.take() }
    }
}

pub(crate) fn check_root<M: Machine>(machine: &M) -> Result<(), Failure> {
    if machine.is_root() {
        return Ok(());
    }
    Err(Failure::new(Reason::NotRoot, "run this as root: it stops the agent and reads its files"))
}

fn lock<M: Machine>(machine: &M) -> Result<(), Failure> {
    match machine.lock() {
        Ok(Lock::Taken) => Ok(()),
        Ok(Lock::Held(holder)) => {
            let holder = if holder.is_empty() { String::new() } else { format!(" ({holder})") };
            let message = format!(
                "another run of register-instance is at work on this machine{holder}. If it never ends, end the process that \
                 holds {LOCK_FILE}: it, or the agent that it called"
            );
            Err(Failure::new(Reason::Locked, message))
        }
        Err(error) => Err(Failure::new(Reason::Unexpected, format!("cannot take the lock {LOCK_FILE}: {error}"))),
    }
}

/// Finds the agent, and waits for one that is about to be installed.
async fn installation<M: Machine, A: Aws>(
    settings: &Settings,
    machine: &M,
    calls: &Calls<'_, M, A>,
) -> Result<Installation, Failure> {
    let mut tries = 0;
    loop {
        let missing = match detect(&found(machine)) {
            Ok(installation) => return Ok(installation),
            Err(missing) => missing,
        };
        let comes_later = match missing {
            Missing::Seeding => true,
            Missing::Agent | Missing::Control => settings.wait_for_network,
            Missing::Two | Missing::Masked(_) => false,
        };
        if !comes_later || settings.dry_run {
            return Err(Failure::new(Reason::AgentMissing, missing.to_string()));
        }
        if tries == 0 {
            machine.say("the agent is not installed yet; waiting for it");
        }
        tries += 1;
        match calls.wait(retry::backoff(tries, machine.random()).min(MACHINE_PAUSE_MAX)).await {
            Ok(()) => {}
            Err(Stop::Deadline) => {
                let message = format!("not there within the time that --timeout allows: {missing}");
                return Err(Failure::new(Reason::AgentMissing, message));
            }
            Err(stop) => return Err(stopped(stop, None)),
        }
    }
}

/// The proxies to call AWS through, and what to say about them. The agent's own come first: this program then sees the
/// network as the agent does.
pub(crate) fn proxies<M: Machine>(
    machine: &M,
    installation: &Installation,
    environment: Option<&Variables>,
) -> (Proxies, String) {
    let shell = Proxies::from_variables(machine.environment());
    let service = installation.manager.service();
    let unit = match environment {
        Some(variables) => Proxies::from_variables(variables),
        None => shell.clone(),
    };
    if !unit.is_empty() {
        let route = format!(" (through the proxy {}, as in the environment of {service})", unit.shown());
        return (unit, route);
    }
    if shell.is_empty() {
        return (shell, String::new());
    }
    let route = format!(
        " (this run has the proxy {}, and the agent's {service} has none: set it there, see docs/proxies.md)",
        shell.shown()
    );
    (shell, route)
}

/// Everything on the machine that says whether it is registered, and as what.
pub(crate) fn evidence<M: Machine>(machine: &M) -> Result<Evidence, Failure> {
    Ok(Evidence {
        cli: verify::ask(machine),
        vault: Vault::parse(read(machine, VAULT_FILE)?.as_deref()),
        manifest: Manifest::parse(read(machine, MANIFEST_FILE)?.as_deref()),
        file: read(machine, REGISTRATION_FILE)?.as_deref().and_then(node_in_file),
        prefers_ec2: machine.read_configuration(CONFIGURATION_FILE).ok().flatten().as_deref().is_some_and(prefers_ec2),
    })
}

pub(crate) fn read<M: Machine>(machine: &M, path: &str) -> Result<Option<String>, Failure> {
    machine.read(path).map_err(|error| Failure::new(Reason::Unexpected, format!("cannot read {path}: {error}")))
}
