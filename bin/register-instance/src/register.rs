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
use crate::start::{QUESTION_LIMIT, Start};
use crate::verify::{self, Service};

/// There from before the agent is stopped until it runs again. If a run is killed in between, the next one finds it and
/// starts the agent. It is gone after a boot, which starts the agent too.
pub(crate) const STOPPED_FILE: &str = "/run/tag-hub-agent-stopped";

/// How long stopping or starting may take. systemd itself gives a service 90 seconds to stop.
const CONTROL_LIMIT: Duration = Duration::from_secs(100);

/// How long a registration may take: that of AWS's own set-up tool.
const REGISTER_LIMIT: Duration = Duration::from_mins(1);

/// What each of them is given when the time of the run is nearly up: a registration that is cut short may have made a
/// node, and an agent that is not started is worse than a late end.
const LEAST: Duration = Duration::from_secs(10);

/// How often starting is tried.
const START_TRIES: usize = 3;

/// A try that ended in a registration.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) node: ManagedInstanceId,
    /// The agent's start, or why it does not run.
    pub(crate) started: Result<Start, String>,
}

/// A try that did not. No message holds the code.
#[derive(Debug)]
pub(crate) enum NotRegistered {
    /// The agent could not be stopped, or does not run now.
    Control(String),
    /// The agent did not register. Its start after that.
    Refused(Refusal, String, Start),
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
    let (result, started) =
        while_stopped(machine, installation, || register(machine, installation, environment, activation))?;
    match (result, started) {
        (Ok(node), started) => Ok(Registered { node, started }),
        (Err((refusal, said)), Ok(start)) => Err(NotRegistered::Refused(refusal, said, start)),
        (Err((_, said)), Err(problem)) => Err(NotRegistered::Control(format!("{said}; and {problem}"))),
    }
}

/// Takes a registration off the machine: the vault by the agent's own `-clear`, and the two files that outlive it.
pub(crate) fn clear<M: Machine>(machine: &M, installation: &Installation) -> Result<(), NotRegistered> {
    let clear = || -> Result<(), String> {
        let args = ["-register", "-clear"];
        let command = Command { keeps_lock: true, ..Command::new(&installation.agent, &args) };
        let run = || machine.run(&command, within(machine, REGISTER_LIMIT));
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
    match while_stopped(machine, installation, clear)? {
        (Ok(()), Ok(_)) => Ok(()),
        (Ok(()), Err(problem)) => Err(NotRegistered::Control(problem)),
        (Err(problem), Ok(_)) => Err(NotRegistered::Unprepared(problem)),
        (Err(problem), Err(also)) => Err(NotRegistered::Unprepared(format!("{problem}; and {also}"))),
    }
}

/// Puts files back as they were before [`clear`]. Why the agent does not run now, if so.
pub(crate) fn put_back<M: Machine>(
    machine: &M,
    installation: &Installation,
    files: &[(&'static str, Option<&str>)],
) -> Result<Option<String>, NotRegistered> {
    let write = || {
        files.iter().try_for_each(|(path, contents)| {
            let written = match contents {
                Some(contents) => machine.write(path, contents),
                None => machine.remove(path),
            };
            written.map_err(|error| NotRegistered::Unprepared(format!("cannot restore {path}: {error}")))
        })
    };
    let (result, started) = while_stopped(machine, installation, write)?;
    result.map(|()| started.err())
}

/// Stops the agent and starts it, so that it reads its registration and its configuration.
pub(crate) fn restart<M: Machine>(machine: &M, installation: &Installation) -> Result<Start, NotRegistered> {
    let ((), started) = while_stopped(machine, installation, || ())?;
    started.map_err(NotRegistered::Control)
}

/// Starts an agent.
pub(crate) fn start_agent<M: Machine>(machine: &M, installation: &Installation) -> Result<Start, String> {
    start(machine, &installation.start)
}

/// Does something while the agent is stopped. Also tells of its start after that, or why it could not be started.
fn while_stopped<M: Machine, T>(
    machine: &M,
    installation: &Installation,
    work: impl FnOnce() -> T,
) -> Result<(T, Result<Start, String>), NotRegistered> {
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
        return Err(NotRegistered::Control(match restart.now() {
            Ok(_) => problem,
            Err(also) => format!("{problem}; and {also}"),
        }));
    }
    let result = work();
    // Somebody else may have started it meanwhile, such as an upgrade of its package: with what was there before.
    if verify::service(machine, installation) == Service::Running {
        machine.say("the agent was started by somebody else meanwhile; starting it again");
        if let Err(problem) = stop(machine, &installation.stop) {
            machine.say(&problem);
        }
    }
    Ok((result, restart.now()))
}

/// True if systemd says so. It knows more ways to mask a unit than can be seen in its file.
fn is_masked<M: Machine>(machine: &M, systemctl: &Path, unit: &str) -> bool {
    let output = machine.run(&Command::question(systemctl, &["is-enabled", unit]), QUESTION_LIMIT);
    output.is_ok_and(|output| output.stdout.trim().starts_with("masked"))
}

/// Starts the agent that an earlier run stopped and was killed before it could start it. Its start, if there was one.
pub(crate) fn start_left_over<M: Machine>(machine: &M, installation: &Installation) -> Result<Option<Start>, String> {
    if !machine.exists(STOPPED_FILE) {
        return Ok(None);
    }
    // Somebody else may have started it since.
    let found =
        (verify::service(machine, installation) == Service::Running).then(|| Start::found(machine, installation));
    machine.say("an earlier run was killed while the agent was stopped; starting the agent");
    start(machine, &installation.start).map(|start| Some(found.unwrap_or(start)))
}

/// Owes the agent a start.
struct Restart<'a, M: Machine> {
    machine: &'a M,
    installation: &'a Installation,
    is_due: bool,
}

impl<M: Machine> Restart<'_, M> {
    fn now(mut self) -> Result<Start, String> {
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
        .run(&command, within(machine, REGISTER_LIMIT))
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

/// Starts the agent, and then takes back the note that it is stopped. Where the logs end right before that is where
/// those of the new process begin.
fn start<M: Machine>(machine: &M, control: &Control) -> Result<Start, String> {
    let mut last = String::new();
    for _ in 0..START_TRIES {
        let start = Start::now(machine);
        match run_control(machine, control, &["already running"]) {
            Ok(()) => {
                // If it stays, the next run starts an agent that runs, which does no harm.
                let _ = machine.remove(STOPPED_FILE);
                return Ok(start);
            }
            Err(problem) => last = problem,
        }
        if machine.remaining().is_some_and(|remaining| remaining.is_zero()) {
            break;
        }
    }
    Err(format!("the agent could not be started ({last}); start it with `{}`", control.words()))
}

/// The time that a step has: its own limit, and no more than is left of that of the run.
fn within<M: Machine>(machine: &M, limit: Duration) -> Duration {
    machine.remaining().map_or(limit, |remaining| limit.min(remaining.max(LEAST)))
}

fn run_control<M: Machine>(machine: &M, control: &Control, harmless: &[&str]) -> Result<(), String> {
    machine.explain(&control.words());
    let output = machine
        .run(&Command::new(&control.program, &control.args), within(machine, CONTROL_LIMIT))
        .map_err(|error| format!("cannot run `{}`: {error}", control.words()))?;
    let text = output.text();
    if output.is_success() || harmless.iter().any(|word| text.contains(word)) {
        return Ok(());
    }
    Err(format!("`{}`: {}: {}", control.words(), output.ending(), agent::tail(&text)))
}
