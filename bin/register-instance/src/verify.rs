//! Asking the running agent which node it is.
//!
//! `ssm-cli` answers with the identity that the agent noted when it started, also for an agent that has ended since and
//! for one that Systems Manager refuses. If the vault holds another node than the agent noted, it answers with the
//! vault's. So four things have to agree: the service runs, the agent noted the node, `ssm-cli` names the node and its
//! Region, and the agent's log does not end in a refusal. An agent that has just started has not asked Systems Manager
//! yet, and what its log said before it started is about another process: it is given [`SETTLE`].

use std::time::Duration;

use hub::Region;

use crate::agent_log::{self, Kind, LOG_FILE, Standing, TAIL_BYTES};
use crate::detect::{Installation, Manager, SNAP_FOLDER};
use crate::evidence::{Cli, Node, RUNTIME_FILE, running_as};
use crate::machine::{Command, Ended, Machine, Position};

/// How long an agent that has just started is given to say that it is refused. Comparing its fingerprint takes it up to
/// 15 seconds, and the answer of Systems Manager a few more.
pub(crate) const SETTLE: Duration = Duration::from_secs(30);

/// How long `ssm-cli` may take.
const CLI_LIMIT: Duration = Duration::from_secs(20);

/// How long `systemctl` may take to answer a question.
pub(crate) const QUESTION_LIMIT: Duration = Duration::from_secs(20);

/// What the running agent shows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) cli: Cli,
    pub(crate) service: Service,
    /// The identity that the agent noted when it started. Old agents note none.
    pub(crate) running_as: Option<String>,
    pub(crate) standing: Standing,
    /// How long ago the agent started; none if nothing tells.
    pub(crate) age: Option<Duration>,
}

/// Whether the agent's service runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Service {
    Running,
    /// Its manager's word for it.
    NotRunning(String),
    /// Its manager does not say.
    Unknown,
}

/// What that says about a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The agent is that node.
    InUse(Node),
    /// The agent says that it is that node, and started just now: its log may yet say otherwise.
    Settling(Node),
    /// Not yet, in words.
    NotYet(String),
    /// Waiting is of no use, in words.
    Refused(Kind, String),
}

/// The start of the agent that runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Start {
    /// What of the agent's log counts.
    log_from: Position,
    /// The same once the agent has settled.
    log_from_later: Position,
    /// How long ago it was; none if nothing tells.
    age: Option<Duration>,
}

impl Start {
    /// A start that comes now. What the log says before it is about another process.
    pub(crate) fn now<M: Machine>(machine: &M) -> Self {
        let end = log_end(machine);
        Self { log_from: end, log_from_later: end, age: Some(Duration::ZERO) }
    }

    /// The start of an agent that was found running. Where in the log it was is not known, so until the agent has
    /// settled only what comes now counts.
    pub(crate) fn found<M: Machine>(machine: &M, installation: &Installation) -> Self {
        let age = age(machine, installation);
        let is_young = age.is_some_and(|age| age < SETTLE);
        let log_from = if is_young { log_end(machine) } else { Position::default() };
        Self { log_from, log_from_later: Position::default(), age }
    }

    /// The same start, some time later.
    pub(crate) fn after(self, waited: Duration) -> Self {
        let age = self.age.map(|age| age + waited);
        let log_from = if age.is_some_and(|age| age >= SETTLE) { self.log_from_later } else { self.log_from };
        Self { log_from, age, ..self }
    }
}

/// Looks at the agent.
pub(crate) fn look<M: Machine>(machine: &M, installation: &Installation, start: Start) -> Seen {
    let log = machine.log(LOG_FILE, start.log_from, TAIL_BYTES).unwrap_or_default();
    Seen {
        cli: ask(machine),
        service: service(machine, installation),
        running_as: machine.read(RUNTIME_FILE).ok().flatten().as_deref().and_then(running_as),
        standing: agent_log::standing(&log),
        age: start.age,
    }
}

/// Why the agent's log cannot be read, if it is there: refusals in it are not seen then.
pub(crate) fn unreadable_log<M: Machine>(machine: &M) -> Option<String> {
    let error = machine.log_end(LOG_FILE).err()?;
    Some(format!("{LOG_FILE} cannot be read ({error}), so a refusal in it would not be seen"))
}

fn log_end<M: Machine>(machine: &M) -> Position {
    machine.log_end(LOG_FILE).unwrap_or_default()
}

/// How long the agent's service has run, as far as its manager says. It cannot be longer than the machine has.
fn age<M: Machine>(machine: &M, installation: &Installation) -> Option<Duration> {
    let uptime = uptime(machine)?;
    let since_boot = match &installation.manager {
        Manager::Systemd { systemctl, unit } => {
            let args = ["show", unit, "--property=ActiveEnterTimestampMonotonic"];
            let output = machine.run(&Command::question(systemctl, &args), QUESTION_LIMIT).ok()?;
            let number = output.stdout.trim().split_once('=').and_then(|(_, number)| number.parse().ok());
            number.filter(|number| *number > 0).map(Duration::from_micros)
        }
        Manager::Upstart { .. } => {
            let status = &installation.status;
            let output = machine.run(&Command::question(&status.program, &status.args), QUESTION_LIMIT).ok()?;
            let process = output.stdout.trim().rsplit_once("process ").map(|(_, process)| process.to_owned());
            process.and_then(|process| process_start(machine, &process))
        }
        Manager::Script { .. } => None,
    };
    match since_boot {
        Some(since_boot) => Some(uptime.saturating_sub(since_boot)),
        None => Some(uptime).filter(|uptime| *uptime < SETTLE),
    }
}

/// True if the agent is known to have started less than [`SETTLE`] ago.
pub(crate) fn has_just_started<M: Machine>(machine: &M, installation: &Installation) -> bool {
    age(machine, installation).is_some_and(|age| age < SETTLE)
}

/// How long the machine has been up: the first number in `/proc/uptime`, in seconds.
pub(crate) fn uptime<M: Machine>(machine: &M) -> Option<Duration> {
    let contents = machine.read("/proc/uptime").ok().flatten()?;
    let seconds = contents.split(' ').next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// When a process started, since the boot: the field `starttime` of `proc(5)`, in hundredths of a second.
fn process_start<M: Machine>(machine: &M, process: &str) -> Option<Duration> {
    let process: u32 = process.parse().ok()?;
    let stat = machine.read(&format!("/proc/{process}/stat")).ok().flatten()?;
    // The name of the program may have blanks and brackets.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: u64 = fields.split(' ').nth(19)?.parse().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// What `ssm-cli` answers.
pub(crate) fn ask<M: Machine>(machine: &M) -> Cli {
    // It may be installed while this runs. That of the snap knows where the snap's agent keeps its files.
    let in_snap = machine.program_at(&format!("{SNAP_FOLDER}/ssm-cli"));
    let Some(cli) = in_snap.or_else(|| machine.program("ssm-cli")) else { return Cli::Missing };
    match machine.run(&Command::question(&cli, &["get-instance-information"]), CLI_LIMIT) {
        Ok(output) if output.is_success() => Cli::parse(&output.stdout),
        Ok(output) => Cli::Silent(format!("{}: {}", output.ending(), crate::agent::tail(&output.text()))),
        Err(error) => Cli::Silent(error.to_string()),
    }
}

/// Whether the service runs, as far as its manager says.
pub(crate) fn service<M: Machine>(machine: &M, installation: &Installation) -> Service {
    let status = &installation.status;
    let Ok(output) = machine.run(&Command::question(&status.program, &status.args), QUESTION_LIMIT) else {
        return Service::Unknown;
    };
    let said = output.stdout.trim();
    match (&installation.manager, said) {
        (_, _) if !matches!(output.ended, Ended::Exit(_)) => Service::Unknown,
        (Manager::Systemd { .. }, "active" | "reloading" | "refreshing") => Service::Running,
        (Manager::Systemd { .. }, word) if is_word(word) => Service::NotRunning(word.to_owned()),
        // Such as `amazon-ssm-agent start/running, process 2817`.
        (Manager::Upstart { .. }, _) if said.contains("start/running") => Service::Running,
        (Manager::Upstart { .. }, _) if said.contains("stop/") => Service::NotRunning("stopped".to_owned()),
        // What the Linux Standard Base says about such scripts: 1 and 2 are of a service that died.
        (Manager::Script { .. }, _) => match output.ended {
            Ended::Exit(0) => Service::Running,
            Ended::Exit(1 | 2) => Service::NotRunning("dead".to_owned()),
            Ended::Exit(3) => Service::NotRunning("stopped".to_owned()),
            _ => Service::Unknown,
        },
        _ => Service::Unknown,
    }
}

/// True for one word of a service manager, such as `inactive`.
pub(crate) fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// Judges what was seen. `region` is where the node has to be, if that is known.
pub(crate) fn judge(seen: &Seen, expected: &Node, region: Option<&Region>) -> Verdict {
    let node = &expected.id;
    if let Standing::Refused(kind, line) = &seen.standing {
        let why = match kind {
            Kind::Fingerprint => {
                "the machine is no longer the one that was registered: it was resized, restored, or copied"
            }
            Kind::Denied => "Systems Manager refuses the agent: the node was deregistered, or has another key",
            Kind::Clock => "Systems Manager refuses the time of this machine",
        };
        return Verdict::Refused(*kind, format!("{why}. The agent's log says: {line}"));
    }
    let answer = match &seen.cli {
        Cli::Node(found) => found,
        Cli::Ec2 => return Verdict::NotYet("the agent answers that it is an EC2 instance, and not a node".to_owned()),
        Cli::Missing => {
            return Verdict::NotYet("there is no ssm-cli to ask the agent with; update the agent".to_owned());
        }
        Cli::Silent(said) => return Verdict::NotYet(format!("the agent does not say which node it is ({said})")),
    };
    if answer.id != *node {
        return Verdict::NotYet(format!("the agent answers that it is {}", answer.id));
    }
    if let Some(other) = seen.running_as.as_deref().filter(|noted| *noted != node.as_str()) {
        return Verdict::NotYet(format!("the agent was started as {other}, and not again since"));
    }
    let regions = [region, expected.region.as_ref()];
    match (&answer.region, regions.into_iter().flatten().find(|wanted| answer.region.as_ref() != Some(wanted))) {
        (Some(found), Some(wanted)) => {
            return Verdict::NotYet(format!("the agent is {node} in {found}, and not in {wanted}"));
        }
        (None, _) => return Verdict::NotYet(format!("the agent does not say in which Region it is {node}")),
        (Some(_), None) => {}
    }
    match (&seen.service, &seen.standing) {
        (Service::NotRunning(word), _) => Verdict::NotYet(format!("the agent's service is {word}")),
        (Service::Unknown, _) => Verdict::NotYet("the service manager does not say whether the agent runs".to_owned()),
        (Service::Running, Standing::Unreachable(line)) => {
            Verdict::NotYet(format!("the agent does not reach Systems Manager; its log says: {line}"))
        }
        (Service::Running, Standing::Starting) if seen.age.is_none_or(|age| age < SETTLE) => {
            Verdict::Settling(answer.clone())
        }
        (Service::Running, Standing::Silent) if seen.age.is_some_and(|age| age < SETTLE) => {
            Verdict::Settling(answer.clone())
        }
        _ => Verdict::InUse(answer.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(digit: char, region: Option<&str>) -> Node {
        let id = format!("mi-{}", digit.to_string().repeat(17)).parse().unwrap();
        Node { id, region: region.map(|region| region.parse().unwrap()) }
    }

    fn check(cli: Cli, service: Service, log: Option<&str>, expected: Option<&str>) {
        let home: Region = "us-east-1".parse().unwrap();
        let standing = agent_log::standing(log.unwrap_or_default());
        let seen = Seen { cli, service, running_as: None, standing, age: None };
        match (judge(&seen, &node('a', Some("us-east-1")), Some(&home)), expected) {
            (Verdict::InUse(found), None) => assert_eq!(found, node('a', Some("us-east-1"))),
            (Verdict::NotYet(words) | Verdict::Refused(_, words), Some(expected)) => {
                assert!(words.contains(expected), "{words}");
            }
            (Verdict::Settling(_), Some("settling")) => {}
            (verdict, expected) => panic!("{verdict:?} and not {expected:?}"),
        }
    }

    #[test]
    fn only_a_running_agent_that_names_node_and_region_and_is_not_refused_uses_it() {
        let right = || Cli::Node(node('a', Some("us-east-1")));
        check(right(), Service::Running, None, None);
        check(right(), Service::Unknown, None, Some("does not say whether the agent runs"));
        check(right(), Service::NotRunning("failed".to_owned()), None, Some("service is failed"));
        check(Cli::Ec2, Service::Running, None, Some("is an EC2 instance"));
        check(Cli::Missing, Service::Running, None, Some("update the agent"));
        check(Cli::Silent("exit code 255".to_owned()), Service::Running, None, Some("exit code 255"));
        check(Cli::Node(node('b', Some("us-east-1"))), Service::Running, None, Some("it is mi-bbbbbbbbbbbbbbbbb"));
        check(
            Cli::Node(node('a', Some("eu-west-1"))),
            Service::Running,
            None,
            Some("in eu-west-1, and not in us-east-1"),
        );
        check(Cli::Node(node('a', None)), Service::Running, None, Some("does not say in which Region"));
        let fingerprint = "ERROR MachineFingerprintDoesNotMatch";
        check(right(), Service::Running, Some(fingerprint), Some("resized, restored, or copied"));
        check(right(), Service::Running, Some("INFO Starting Core Agent"), Some("settling"));
        let unreachable = "ERROR Retrieve credentials produced error: RequestError: send request failed";
        check(right(), Service::Running, Some(unreachable), Some("does not reach Systems Manager"));
        let denied = "ERROR Retrieve credentials produced error: AccessDeniedException";
        check(right(), Service::Running, Some(denied), Some("was deregistered"));
        let clock = "ERROR Retrieve credentials produced error: InvalidSignatureException: Signature expired";
        check(right(), Service::Running, Some(clock), Some("the time of this machine"));
    }

    #[test]
    fn an_agent_that_was_started_as_another_does_not_use_the_registration() {
        let answer = node('a', Some("us-east-1"));
        for (noted, is_in_use) in [(None, true), (Some(answer.id.as_str()), true), (Some("mi-0"), false)] {
            let seen = Seen {
                cli: Cli::Node(answer.clone()),
                service: Service::Running,
                running_as: noted.map(str::to_owned),
                standing: Standing::Ready,
                age: None,
            };
            let verdict = judge(&seen, &answer, None);
            assert_eq!(verdict == Verdict::InUse(answer.clone()), is_in_use, "{verdict:?}");
        }
    }

    #[test]
    fn an_agent_that_has_just_started_is_believed_only_when_systems_manager_took_it() {
        let answer = node('a', Some("us-east-1"));
        let (young, old) = (Some(SETTLE / 2), Some(SETTLE));
        for (standing, age, is_in_use) in [
            (Standing::Silent, young, false),
            (Standing::Silent, old, true),
            (Standing::Silent, None, true),
            (Standing::Starting, young, false),
            (Standing::Starting, old, true),
            (Standing::Starting, None, false),
            (Standing::Ready, young, true),
        ] {
            let cli = Cli::Node(answer.clone());
            let seen = Seen { cli, service: Service::Running, running_as: None, standing, age };
            let expected = if is_in_use { Verdict::InUse(answer.clone()) } else { Verdict::Settling(answer.clone()) };
            assert_eq!(judge(&seen, &answer, None), expected, "{seen:?}");
        }
    }
}
