//! When the agent that runs was started, and what of its logs is its own.

use std::time::Duration;

use hub::Timestamp;

use crate::agent_log::{ERROR_FILE, LOG_FILE};
use crate::detect::{Installation, Manager};
use crate::machine::{Command, Machine, Position};

/// How long an agent that has just started is given to say that it is refused. Comparing its fingerprint takes it up to
/// 15 seconds, and the answer of Systems Manager a few more.
pub(crate) const SETTLE: Duration = Duration::from_secs(30);

/// How long `systemctl` may take to answer a question.
pub(crate) const QUESTION_LIMIT: Duration = Duration::from_secs(20);

/// The name of the agent's process, which the kernel cuts to 15 characters.
const PROCESS_NAME: &str = "(amazon-ssm-agen) ";

/// The start of the agent that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// What of the logs counts.
    pub(crate) from: Ends,
    /// The same once the agent has settled.
    from_later: Ends,
    /// When it was, by the clock of now; none if nothing tells.
    pub(crate) at: Option<Timestamp>,
    /// How long ago it was. If nothing tells, how long the agent has been watched.
    pub(crate) age: Duration,
}

/// Where the agent's log and its log of errors end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) log: Position,
    pub(crate) errors: Position,
}

impl Start {
    /// A start that comes now, of an agent that does not run. What the logs say before it is about another process.
    pub(crate) fn now<M: Machine>(machine: &M) -> Self {
        let ends = ends(machine);
        Self { from: ends, from_later: ends, at: Some(machine.now()), age: Duration::ZERO }
    }

    /// The start of an agent that was found running. Where in the logs it was is not known, so until the agent has
    /// settled only what comes now counts. One that nothing tells the start of may have started just now.
    pub(crate) fn found<M: Machine>(machine: &M, installation: &Installation) -> Self {
        let age = age(machine, installation);
        let from = if age.is_some_and(|age| age >= SETTLE) { Ends::default() } else { ends(machine) };
        let at = age.map(|age| before(machine.now(), age));
        Self { from, from_later: Ends::default(), at, age: age.unwrap_or_default() }
    }

    /// The same for one look, which waits for nothing: if nothing tells the start, all that the logs say counts.
    pub(crate) fn glanced_at<M: Machine>(machine: &M, installation: &Installation) -> Self {
        let found = Self::found(machine, installation);
        if found.at.is_none() { found.after(SETTLE) } else { found }
    }

    /// The same start, some time later.
    pub(crate) fn after(self, waited: Duration) -> Self {
        let age = self.age + waited;
        Self { from: if age >= SETTLE { self.from_later } else { self.from }, age, ..self }
    }
}

fn ends<M: Machine>(machine: &M) -> Ends {
    let end = |path| machine.log_end(path).unwrap_or_default();
    Ends { log: end(LOG_FILE), errors: end(ERROR_FILE) }
}

/// `age` before a time, and up to a second earlier than that.
fn before(now: Timestamp, age: Duration) -> Timestamp {
    let seconds = i64::try_from(age.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
    Timestamp::from_unix_seconds(now.unix_seconds().saturating_sub(seconds))
}

/// True if the agent is known to have started less than [`SETTLE`] ago.
pub(crate) fn has_just_started<M: Machine>(machine: &M, installation: &Installation) -> bool {
    age(machine, installation).is_some_and(|age| age < SETTLE)
}

/// How long the machine has been up, its sleep included: the first number in `/proc/uptime`, in seconds.
pub(crate) fn uptime<M: Machine>(machine: &M) -> Option<Duration> {
    let contents = machine.read("/proc/uptime").ok().flatten()?;
    let seconds = contents.split(' ').next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// How long the agent's process has lived. The times that service managers tell leave out how long the machine slept or
/// hibernated; the kernel's times of a process and of the boot do not.
fn age<M: Machine>(machine: &M, installation: &Installation) -> Option<Duration> {
    let uptime = uptime(machine)?;
    let started = match &installation.manager {
        Manager::Systemd { systemctl, unit } => {
            let args = ["show", unit, "--property=MainPID"];
            let output = machine.run(&Command::question(systemctl, &args), QUESTION_LIMIT).ok()?;
            process_start(&stat(machine, output.stdout.trim().strip_prefix("MainPID=")?)?)?
        }
        Manager::Upstart { .. } => {
            let status = &installation.status;
            let output = machine.run(&Command::question(&status.program, &status.args), QUESTION_LIMIT).ok()?;
            process_start(&stat(machine, output.stdout.trim().rsplit_once("process ")?.1)?)?
        }
        // A script does not say. If there are several agents, as in containers, the youngest counts.
        Manager::Script { .. } => {
            let stats = machine.list("/proc").into_iter().filter_map(|process| stat(machine, &process));
            stats.filter(|stat| stat.contains(PROCESS_NAME)).filter_map(|stat| process_start(&stat)).max()?
        }
    };
    Some(uptime.saturating_sub(started))
}

fn stat<M: Machine>(machine: &M, process: &str) -> Option<String> {
    let process: u32 = process.parse().ok()?;
    machine.read(&format!("/proc/{process}/stat")).ok().flatten()
}

/// When a process started, since the boot: the field `starttime` of `proc(5)`, in hundredths of a second.
fn process_start(stat: &str) -> Option<Duration> {
    // The name of the program may have blanks and brackets.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: u64 = fields.split(' ').nth(19)?.parse().ok()?;
    Some(Duration::from_millis(ticks * 10))
}
