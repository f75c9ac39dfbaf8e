//! The only part that changes the registration: stop the agent, register, start the agent.

use std::path::Path;
use std::time::Duration;

use hub::ManagedInstanceId;

use crate::activation::Activation;
use crate::agent::{self, Refusal};
use crate::detect::{Control, Installation, Manager};
use crate::evidence::{MANIFEST_FILE, REGISTRATION_FILE, VAULT_FILE, Vault, node_in_file};
use crate::machine::{Command, Machine};
use crate::marker::MARKER_FILE;
use crate::proxy::Variables;
use crate::verify::QUESTION_LIMIT;

/// There from before the agent is stopped until it runs again. If a run is killed in between, the next one finds it and
/// starts the agent. It is gone after a boot, which starts the agent too.
pub(crate) const STOPPED_FILE: &str = "/run/tag-hub-agent-stopped";

/// How long stopping or starting may take. systemd itself gives a service 90 seconds to stop.
const CONTROL_LIMIT: Duration = Duration::from_secs(100);

/// How long a registration may take: that of AWS's own set-up tool.
const REGISTER_LIMIT: Duration = Duration::from_mins(1);

/// How often starting is tried.
const START_TRIES: usize = 3;

/// A try that ended in a registration.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) node: ManagedInstanceId,
    /// Why the agent does not run, if it does not.
    pub(crate) not_started: Option<String>,
}

/// A try that did not. No message holds the code.
#[derive(Debug)]
pub(crate) enum NotRegistered {
    /// The agent could not be stopped, or does not run now.
    Control(String),
    /// The agent did not register.
    Refused(Refusal, String),
    /// Nothing was changed, because the machine did not let it be prepared.
    Unprepared(String),
}

/// Stops the agent, registers it and starts it again: in every case, also if something in between panics.
pub(crate) fn attempt<M: Machine>(
    machine: &M,
    installation: &Installation,
    environment: &Variables,
    activation: &Activation,
) -> Result<Registered, NotRegistered> {
    let (result, not_started) =
        while_stopped(machine, installation, || register(machine, installation, environment, activation))?;
    match (result, not_started) {
        (Ok(node), not_started) => Ok(Registered { node, not_started }),
        (Err((refusal, said)), None) => Err(NotRegistered::Refused(refusal, said)),
        (Err((_, said)), not_started) => Err(NotRegistered::Control(and_not_started(said, not_started))),
    }
}

/// Takes a registration off the machine: the vault by the agent's own `-clear`, and the two files that outlive it.
pub(crate) fn clear<M: Machine>(machine: &M, installation: &Installation) -> Result<(), NotRegistered> {
    let clear = || -> Result<(), String> {
        let args = ["-register", "-clear"];
        let run = || machine.run(&Command::new(&installation.agent, &args), REGISTER_LIMIT);
        let mut output = run().map_err(|error| format!("cannot run {}: {error}", installation.agent.display()))?;
        if !output.is_success() {
            // An agent that cannot read the list of its vault cannot clear it either. It writes a new list.
            machine.remove(MANIFEST_FILE).map_err(|error| format!("cannot remove {MANIFEST_FILE}: {error}"))?;
            output = run().map_err(|error| format!("cannot run {}: {error}", installation.agent.display()))?;
        }
        if !output.is_success() {
            return Err(format!("the agent could not clear its registration: {}", agent::tail(&output.text())));
        }
        [REGISTRATION_FILE, MARKER_FILE]
            .iter()
            .try_for_each(|path| machine.remove(path).map_err(|error| format!("cannot remove {path}: {error}")))
    };
    let (result, not_started) = while_stopped(machine, installation, clear)?;
    match (result, not_started) {
        (Ok(()), None) => Ok(()),
        (Ok(()), Some(problem)) => Err(NotRegistered::Control(problem)),
        (Err(problem), not_started) => Err(NotRegistered::Unprepared(and_not_started(problem, not_started))),
    }
}

/// Puts files back as they were before [`clear`].
pub(crate) fn put_back<M: Machine>(
    machine: &M,
    installation: &Installation,
    files: &[(&'static str, Option<String>)],
) -> Result<(), NotRegistered> {
    let write = || {
        files.iter().try_for_each(|(path, contents)| {
            let written = match contents {
                Some(contents) => machine.write(path, contents),
                None => machine.remove(path),
            };
            written.map_err(|error| NotRegistered::Unprepared(format!("cannot restore {path}: {error}")))
        })
    };
    let (result, not_started) = while_stopped(machine, installation, write)?;
    result.and(not_started.map_or(Ok(()), |problem| Err(NotRegistered::Control(problem))))
}

/// Stops the agent and starts it, so that it reads its registration and its configuration.
pub(crate) fn restart<M: Machine>(machine: &M, installation: &Installation) -> Result<(), NotRegistered> {
    let ((), not_started) = while_stopped(machine, installation, || ())?;
    not_started.map_or(Ok(()), |problem| Err(NotRegistered::Control(problem)))
}

/// Starts an agent.
pub(crate) fn start_agent<M: Machine>(machine: &M, installation: &Installation) -> Result<(), String> {
    start(machine, &installation.start)
}

/// Does something while the agent is stopped. Also tells why the agent could not be started again, if so.
fn while_stopped<M: Machine, T>(
    machine: &M,
    installation: &Installation,
    work: impl FnOnce() -> T,
) -> Result<(T, Option<String>), NotRegistered> {
    if let Manager::Systemd { systemctl, unit } = &installation.manager
        && is_masked(machine, systemctl, unit)
    {
        let problem = format!("{unit} is masked, so it could not be started again; run `systemctl unmask {unit}`");
        return Err(NotRegistered::Control(format!("the agent was not stopped: {problem}")));
    }
    machine
        .write(STOPPED_FILE, "")
        .map_err(|error| NotRegistered::Unprepared(format!("cannot write {STOPPED_FILE}: {error}")))?;
    let restart = Restart { machine, installation, is_due: true };
    if let Err(problem) = stop(machine, &installation.stop) {
        let problem = format!("the agent could not be stopped ({problem}), so its registration was not touched");
        return Err(NotRegistered::Control(and_not_started(problem, restart.now().err())));
    }
    let result = work();
    Ok((result, restart.now().err()))
}

/// True if systemd says so. It knows more ways to mask a unit than can be seen in its file.
fn is_masked<M: Machine>(machine: &M, systemctl: &Path, unit: &str) -> bool {
    let output = machine.run(&Command::question(systemctl, &["is-enabled", unit]), QUESTION_LIMIT);
    output.is_ok_and(|output| output.stdout.trim().starts_with("masked"))
}

/// Starts the agent that an earlier run stopped and was killed before it could start it. True if there was one.
pub(crate) fn start_left_over<M: Machine>(machine: &M, installation: &Installation) -> Result<bool, String> {
    if !machine.exists(STOPPED_FILE) {
        return Ok(false);
    }
    machine.say("an earlier run was killed while the agent was stopped; starting the agent");
    start(machine, &installation.start).map(|()| true)
}

/// Owes the agent a start.
struct Restart<'a, M: Machine> {
    machine: &'a M,
    installation: &'a Installation,
    is_due: bool,
}

impl<M: Machine> Restart<'_, M> {
    fn now(mut self) -> Result<(), String> {
        self.is_due = false;
        start(self.machine, &self.installation.start)
    }
}

impl<M: Machine> Drop for Restart<'_, M> {
    fn drop(&mut self) {
        if self.is_due
            && let Err(problem) = start(self.machine, &self.installation.start)
        {
            self.machine.say(&problem);
        }
    }
}

fn register<M: Machine>(
    machine: &M,
    installation: &Installation,
    environment: &Variables,
    activation: &Activation,
) -> Result<ManagedInstanceId, (Refusal, String)> {
    let Activation { id, code, region, .. } = activation;
    // Never -y and never -clear: an agent that does hold a registration asks, gets no answer and leaves it alone.
    let args = ["-register", "-code", code.expose(), "-id", id.as_str(), "-region", region.as_str()];
    let command =
        Command { environment: Some(environment), keeps_lock: true, ..Command::new(&installation.agent, &args) };
    let output = machine
        .run(&command, REGISTER_LIMIT)
        .map_err(|error| (Refusal::Permanent, format!("cannot run {}: {error}", installation.agent.display())))?;
    let text = code.scrub(&output.text());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        machine.explain(&format!("agent: {line}"));
    }
    if output.is_success() {
        return confirm(agent::registered_node(&text), machine)
            .map_err(|problem| (Refusal::Unknown, format!("{problem} The agent said: {}", agent::tail(&text))));
    }
    Err((agent::refusal(&text), format!("the agent did not register ({}): {}", output.ending(), agent::tail(&text))))
}

/// The node, if everything that names one names the same.
fn confirm<M: Machine>(printed: Option<ManagedInstanceId>, machine: &M) -> Result<ManagedInstanceId, String> {
    let read = |path| machine.read(path).ok().flatten();
    let kept = match Vault::parse(read(VAULT_FILE).as_deref()) {
        Vault::Node(node) => Some(node.id),
        _ => None,
    };
    let noted = read(REGISTRATION_FILE).as_deref().and_then(node_in_file).map(|node| node.id);
    let named: Vec<_> = [("printed", printed), ("keeps", kept), ("noted", noted)]
        .into_iter()
        .filter_map(|(how, node)| Some((how, node?)))
        .collect();
    match named.as_slice() {
        [] => Err("the agent reports success, but names no managed instance id anywhere.".to_owned()),
        [(_, node), rest @ ..] if rest.iter().all(|(_, other)| other == node) => Ok(node.clone()),
        all => {
            let all: Vec<String> = all.iter().map(|(how, node)| format!("{how} {node}")).collect();
            Err(format!("the agent contradicts itself: it {}. Run this again.", all.join(" and ")))
        }
    }
}

fn stop<M: Machine>(machine: &M, control: &Control) -> Result<(), String> {
    // upstart calls it an error to stop what does not run.
    run_control(machine, control, &["Unknown instance", "not running"])
}

/// Starts the agent, and then takes back the note that it is stopped.
fn start<M: Machine>(machine: &M, control: &Control) -> Result<(), String> {
    let mut result = Ok(());
    for _ in 0..START_TRIES {
        result = run_control(machine, control, &["already running"]);
        if result.is_ok() {
            // If it stays, the next run starts an agent that runs, which does no harm.
            let _ = machine.remove(STOPPED_FILE);
            return Ok(());
        }
    }
    result.map_err(|problem| format!("the agent could not be started ({problem}); start it with `{}`", control.words()))
}

fn run_control<M: Machine>(machine: &M, control: &Control, harmless: &[&str]) -> Result<(), String> {
    machine.explain(&control.words());
    let output = machine
        .run(&Command::new(&control.program, &control.args), CONTROL_LIMIT)
        .map_err(|error| format!("cannot run `{}`: {error}", control.words()))?;
    let text = output.text();
    if output.is_success() || harmless.iter().any(|word| text.contains(word)) {
        return Ok(());
    }
    Err(format!("`{}`: {}: {}", control.words(), output.ending(), agent::tail(&text)))
}

fn and_not_started(problem: String, not_started: Option<String>) -> String {
    match not_started {
        Some(also) => format!("{problem}; and {also}"),
        None => problem,
    }
}
