//! The run, step by step.

mod calls;
mod confirm;
mod heal;
mod previous;
mod register;
pub(crate) mod words;

use std::cell::RefCell;
use std::time::Duration;

use hub::{AccountId, ManagedInstanceId, Region};

use crate::activation::{Activation, Unusable, Wanted};
use crate::aws::{Aws, Identity};
use crate::decide::{Decision, Facts, Hub, Others, decide, is_foreign};
use crate::detect::{Installation, Missing, detect};
use crate::evidence::{
    CONFIGURATION_FILE, Evidence, FINGERPRINT_FILE, MANIFEST_FILE, Manifest, Node, REGISTRATION_FILE, VAULT_FILE,
    Vault, fingerprinted_machine, node_in_file, prefers_ec2,
};
use crate::failure::{Failure, Known, Reason};
use crate::find::found;
use crate::machine::{LOCK_FILE, Lock, Machine, Stop};
use crate::marker::{MARKER_FILE, Marker};
use crate::outcome::{Done, Success};
use crate::proxy::{Proxies, Variables};
use crate::register as agent_control;
use crate::start::Start;
use crate::unit;
use crate::{retry, verify};

use calls::Calls;
pub(crate) use calls::stopped;
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
    let started = if settings.dry_run {
        None
    } else {
        agent_control::start_left_over(machine, &installation)
            .map_err(|problem| Failure::new(Reason::AgentControl, problem))?
    };
    let environment = unit::environment(machine, &installation.manager);
    let (proxies, route) = proxies(machine, &installation, &environment);
    calls.use_proxies(&proxies, route.clone());
    let identity = calls.identity().await?;
    machine.say(&format!("this is {} in account {}, {}", identity.instance, identity.account, identity.region));
    let known = Known { identity: identity.clone(), hub_region: None, replaced: None, is_proven: None, notes: vec![] };
    let known = RefCell::new(known);
    let run = Run { settings, machine, calls, installation, started, environment, route, identity, known };
    let decided = run.decided().await;
    decided.map_err(|failure| Failure { known: Some(Box::new(run.known.into_inner())), ..failure })
}

/// A run on a machine that is known.
struct Run<'a, M, A> {
    settings: &'a Settings,
    machine: &'a M,
    calls: Calls<'a, M, A>,
    installation: Installation,
    /// The start of the agent, if it was this run that started it.
    started: Option<Start>,
    /// The environment of the agent's service.
    environment: Variables,
    /// Which proxy the agent has, for a message.
    route: String,
    identity: Identity,
    /// What there is to tell by now, whether the run succeeds or fails.
    known: RefCell<Known>,
}

impl<M: Machine, A: Aws> Run<'_, M, A> {
    async fn decided(&self) -> Result<Success, Failure> {
        self.put_left_over_back()?;
        let evidence = evidence(self.machine)?;
        self.machine.explain(&format!("{evidence:?}"));
        let facts = Facts {
            marker: read(self.machine, MARKER_FILE)?.as_deref().and_then(Marker::parse),
            instance: self.identity.instance.clone(),
            evidence,
        };
        match decide(&facts) {
            Decision::Register => self.register().await,
            Decision::Confirm { node, marker } => {
                let hub = self.hub(&node, facts.marker.as_ref()).await?;
                if is_foreign(&node, facts.marker.as_ref(), &hub) {
                    let failure = Failure::new(Reason::ForeignRegistration, words::foreign(&node, &hub)).of(&node.id);
                    return self.or_replace(failure, Some(&node), Others::of(&facts, &node, None)).await;
                }
                self.confirm(&facts, &node, &hub, marker).await
            }
            Decision::Clone { node, original } => {
                let message = words::clone(&node.id, &original, &self.identity.instance);
                let failure = Failure::new(Reason::Clone, message).of(&node.id);
                self.or_replace(failure, Some(&node), Others::Certainly).await
            }
            Decision::Unreadable => {
                self.or_replace(Failure::new(Reason::NotInUse, words::unreadable()), None, Others::Perhaps).await
            }
        }
    }

    /// The hub that a registered machine is to be a node of, as far as it is known without registering: from the command
    /// line, from the activation if that is for this account, and otherwise from the note of the registration.
    async fn hub(&self, node: &Node, marker: Option<&Marker>) -> Result<Hub, Failure> {
        let hub = self.find_hub(node, marker).await?;
        self.known.borrow_mut().hub_region = Some(hub.region.clone());
        Ok(hub)
    }

    async fn find_hub(&self, node: &Node, marker: Option<&Marker>) -> Result<Hub, Failure> {
        let Settings { region, hub_account, .. } = self.settings;
        let (region, wanted) = match (&self.settings.source, region) {
            (Source::Pair { .. }, None) => (Some(self.identity.region.clone()), hub_account.as_ref()),
            (_, region) => (region.clone(), hub_account.as_ref()),
        };
        if let (Some(region), None) = (&region, wanted) {
            return Ok(Hub { region: region.clone(), account: None });
        }
        let problem = match self.read_activation().await {
            Ok(activation) => match activation.check_hub(&self.identity.account, wanted) {
                Ok(account) => return Ok(Hub { region: region.unwrap_or(activation.region), account }),
                Err(problem @ Unusable::OtherHub(..)) => {
                    return Err(words::unusable(&problem, self.settings, &self.identity).of(&node.id));
                }
                Err(problem) => words::unusable(&problem, self.settings, &self.identity),
            },
            Err(failure) if matches!(failure.reason, Reason::Network | Reason::Interrupted | Reason::Clock) => {
                return Err(failure);
            }
            Err(failure) => failure,
        };
        let noted = marker.filter(|marker| marker.managed_instance_id == node.id);
        let region = region.or_else(|| noted.and_then(|marker| marker.hub_region.clone()));
        let account = noted.and_then(|marker| marker.hub_account.clone());
        match region.filter(|_| wanted.is_none() || wanted == account.as_ref()) {
            Some(region) => {
                self.machine.say(&format!("the hub is known from the registration alone: {problem}"));
                Ok(Hub { region, account })
            }
            None => Err(Failure { message: words::unknown_hub(node, &problem, self.settings), ..problem }.of(&node.id)),
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
        self.known.borrow_mut().hub_region = Some(activation.region.clone());
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
    fn mark(&self, node: &ManagedInstanceId, hub: &Hub) -> Result<(), Failure> {
        let marker = Marker {
            managed_instance_id: node.clone(),
            ec2_instance_id: self.identity.instance.clone(),
            account: self.identity.account.clone(),
            region: self.identity.region.clone(),
            hub_region: Some(hub.region.clone()),
            hub_account: hub.account.clone(),
            registered_at: self.machine.now(),
        };
        let contents = serde_json::to_string(&marker).unwrap_or_default();
        self.machine.write(MARKER_FILE, &contents).map_err(|error| {
            Failure::new(Reason::Unexpected, format!("registered as {node}, but cannot write {MARKER_FILE}: {error}"))
        })
    }

    fn note(&self, note: String) {
        self.machine.say(&note);
        self.known.borrow_mut().notes.push(note);
    }

    fn success(&self, done: Done, hub_region: Option<Region>) -> Success {
        let Known { is_proven, notes, .. } = self.known.borrow().clone();
        Success { done, identity: self.identity.clone(), hub_region, is_proven, notes }
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
    environment: &Variables,
) -> (Proxies, String) {
    let shell = Proxies::from_variables(machine.environment());
    let service = installation.manager.service();
    let unit = Proxies::from_variables(environment);
    if unit.is_for_agent_alone() {
        let route = format!(
            " (called directly: the agent goes through {}, as in the environment of {service}, which only the agent can)",
            unit.shown()
        );
        return (Proxies::default(), route);
    }
    if !unit.is_empty() {
        let route = format!(" (through the proxy {}, as in the environment of {service})", unit.shown());
        return (unit, route);
    }
    if shell.is_empty() || shell.is_for_agent_alone() {
        return (Proxies::default(), String::new());
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
        machine_ids: machine_ids(machine),
    })
}

/// The machine ID that the agent's fingerprint was made with, and the one of now.
fn machine_ids<M: Machine>(machine: &M) -> Option<(String, String)> {
    let registered = machine.read(FINGERPRINT_FILE).ok().flatten().as_deref().and_then(fingerprinted_machine)?;
    // Where the agent looks, in its order.
    let current = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
    let current = current.iter().find_map(|path| machine.read_configuration(path).ok().flatten())?;
    Some((registered, current.trim().to_owned()))
}

pub(crate) fn read<M: Machine>(machine: &M, path: &str) -> Result<Option<String>, Failure> {
    machine.read(path).map_err(|error| Failure::new(Reason::Unexpected, format!("cannot read {path}: {error}")))
}
