//! Asking the running agent which node it is.
//!
//! `ssm-cli` answers with the identity that the agent noted when it started, also for an agent that has ended since and
//! for one that Systems Manager refuses. If the vault holds another node than the agent noted, it answers with the
//! vault's. So these have to agree: the service runs, the agent noted the node, `ssm-cli` names the node and its
//! Region, and Systems Manager has accepted the agent since it started. That is shown by the credentials that the agent
//! noted, or by its log. An agent that has just started has not asked Systems Manager yet: it is given [`SETTLE`]. If
//! nothing shows it afterwards, and nothing speaks against it, the answer counts, and is said to be unproven.

use std::time::Duration;

use hub::{Region, Timestamp};

use crate::agent_log::{self, ERROR_FILE, Kind, LOG_FILE, Standing, TAIL_BYTES};
use crate::detect::{Installation, Manager, SNAP_FOLDER};
use crate::evidence::{Cli, Node};
use crate::machine::{Command, Ended, Machine};
use crate::profile;
use crate::runtime::{RUNTIME_FILE, Runtime};
use crate::start::{QUESTION_LIMIT, SETTLE, Start};

/// How long `ssm-cli` may take.
const CLI_LIMIT: Duration = Duration::from_secs(20);

/// What the running agent shows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) cli: Cli,
    pub(crate) service: Service,
    pub(crate) runtime: Runtime,
    /// The agent keeps its credentials to itself, and so does not note them.
    pub(crate) is_private: bool,
    pub(crate) standing: Standing,
    /// What the log of errors says if the log is silent. It may be about an earlier process.
    pub(crate) error: Option<String>,
    /// Why the log says nothing.
    pub(crate) silence: String,
    /// When the agent started, if anything tells, and how long ago at least.
    pub(crate) started: Option<Timestamp>,
    pub(crate) age: Duration,
    pub(crate) now: Timestamp,
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
    /// The agent is that node, and Systems Manager has accepted it since it started.
    InUse(Node),
    /// The agent says that it is that node. Nothing shows that Systems Manager accepts it, for this reason, and nothing
    /// speaks against it.
    Unproven(Node, String),
    /// The agent says that it is that node, and started just now: its log may yet say otherwise.
    Settling(Node),
    /// Not yet, in words.
    NotYet(String),
    /// Waiting is of no use, in words.
    Refused(Kind, String),
}

/// Looks at the agent.
pub(crate) fn look<M: Machine>(machine: &M, installation: &Installation, start: Start) -> Seen {
    let read = machine.log(LOG_FILE, start.from.log, TAIL_BYTES);
    let silence = match &read {
        Err(error) => format!("{LOG_FILE} cannot be read ({error})"),
        Ok(_) if !machine.exists(LOG_FILE) => format!("there is no {LOG_FILE}"),
        Ok(_) => format!("{LOG_FILE} does not say it"),
    };
    let runtime = Runtime::parse(machine.read(RUNTIME_FILE));
    let standing = match agent_log::standing(&read.unwrap_or_default()) {
        trouble if trouble.is_bad() && is_over(&runtime, machine.log_time(LOG_FILE), machine.now()) => Standing::Silent,
        standing => standing,
    };
    // The log was moved away, or is too long. Which process an error is of is not known then.
    let errors = match standing {
        Standing::Silent => machine.log(ERROR_FILE, start.from.errors, TAIL_BYTES).unwrap_or_default(),
        _ => String::new(),
    };
    let error = match agent_log::standing(&errors).doubted() {
        Standing::Doubtful(line) => Some(line),
        _ => None,
    };
    Seen {
        cli: ask(machine),
        service: service(machine, installation),
        runtime,
        is_private: profile::is_kept(machine),
        standing,
        error,
        silence,
        started: start.at,
        age: start.age,
        now: machine.now(),
    }
}

/// True if the agent got credentials after it last wrote its log: an agent that logs nothing but errors does not log that.
/// A time that is yet to come is of a clock that was off, and tells nothing.
fn is_over(runtime: &Runtime, logged: Option<Timestamp>, now: Timestamp) -> bool {
    let Runtime::As { credentials: Some(credentials), .. } = runtime else { return false };
    credentials.retrieved <= now && logged.is_some_and(|logged| logged < credentials.retrieved)
}

/// Why the agent's log cannot be read, if it is there: refusals in it are not seen then.
pub(crate) fn unreadable_log<M: Machine>(machine: &M) -> Option<String> {
    let error = machine.log_end(LOG_FILE).err()?;
    Some(format!("{LOG_FILE} cannot be read ({error}), so a refusal in it would not be seen"))
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
    match &seen.runtime {
        Runtime::Unreadable(problem) => {
            return Verdict::NotYet(format!(
                "{RUNTIME_FILE} does not say as which node the agent was started ({problem})"
            ));
        }
        Runtime::As { id, .. } if id != node.as_str() => {
            return Verdict::NotYet(format!("the agent was started as {id}, and not again since"));
        }
        Runtime::Absent | Runtime::As { .. } => {}
    }
    let regions = [region, expected.region.as_ref()];
    match (&answer.region, regions.into_iter().flatten().find(|wanted| answer.region.as_ref() != Some(wanted))) {
        (Some(found), Some(wanted)) => {
            return Verdict::NotYet(format!("the agent is {node} in {found}, and not in {wanted}"));
        }
        (None, _) => return Verdict::NotYet(format!("the agent does not say in which Region it is {node}")),
        (Some(_), None) => {}
    }
    match &seen.service {
        Service::NotRunning(word) => Verdict::NotYet(format!("the agent's service is {word}")),
        Service::Unknown => Verdict::NotYet("the service manager does not say whether the agent runs".to_owned()),
        Service::Running => accepted(seen, answer),
    }
}

/// Judges whether Systems Manager has accepted the agent since it started.
fn accepted(seen: &Seen, answer: &Node) -> Verdict {
    let credentials = match (&seen.runtime, &seen.standing) {
        _ if seen.is_private => None,
        (_, Standing::NotShared) => None,
        (Runtime::As { credentials, .. }, _) => *credentials,
        _ => None,
    };
    let are_good = credentials.is_none_or(|credentials| credentials.expire > seen.now);
    // Credentials that the agent should have renewed by now prove nothing: Systems Manager may refuse it since.
    let current = credentials.filter(|credentials| seen.now < credentials.overdue());
    let are_fresh = seen.started.zip(current).map(|(started, current)| current.retrieved > started);
    let are_from_before = seen.started.zip(credentials).is_some_and(|(started, noted)| noted.retrieved < started);
    let doubt = match &seen.standing {
        Standing::Doubtful(line) => Some(line),
        _ => seen.error.as_ref(),
    };
    match &seen.standing {
        Standing::Unreachable(line) => {
            Verdict::NotYet(format!("the agent does not reach Systems Manager; its log says: {line}"))
        }
        Standing::Accepted if are_good => Verdict::InUse(answer.clone()),
        Standing::Ready if are_good && !are_from_before => Verdict::InUse(answer.clone()),
        Standing::Silent | Standing::Starting | Standing::NotAsked if are_good && are_fresh == Some(true) => {
            Verdict::InUse(answer.clone())
        }
        _ if seen.age < SETTLE => Verdict::Settling(answer.clone()),
        _ if let Some(line) = doubt => {
            Verdict::NotYet(format!("nothing shows that Systems Manager accepts the agent, and its log says: {line}"))
        }
        _ if !are_good => {
            Verdict::NotYet("the agent has no credentials of Systems Manager that are still good".to_owned())
        }
        Standing::NotAsked | Standing::Ready => Verdict::NotYet(
            "the agent uses credentials of before it started, and did not ask Systems Manager since".to_owned(),
        ),
        _ if are_fresh == Some(false) => Verdict::NotYet(
            "the agent got its credentials before it started, and did not ask Systems Manager since".to_owned(),
        ),
        _ => Verdict::Unproven(answer.clone(), seen.silence.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Credentials;

    const NOW: i64 = 1_000_000;

    fn node(digit: char, region: Option<&str>) -> Node {
        let id = format!("mi-{}", digit.to_string().repeat(17)).parse().unwrap();
        Node { id, region: region.map(|region| region.parse().unwrap()) }
    }

    fn right() -> Node {
        node('a', Some("us-east-1"))
    }

    /// An agent that started long ago and was accepted.
    fn seen() -> Seen {
        Seen {
            cli: Cli::Node(right()),
            service: Service::Running,
            runtime: Runtime::Absent,
            is_private: false,
            standing: Standing::Ready,
            error: None,
            silence: "it is silent".to_owned(),
            started: Some(Timestamp::from_unix_seconds(NOW - 1000)),
            age: Duration::from_secs(1000),
            now: Timestamp::from_unix_seconds(NOW),
        }
    }

    /// What an agent notes that got credentials so long ago, for so long.
    fn noted(ago: i64, still: i64) -> Runtime {
        let [retrieved, expire] = [NOW - ago, NOW + still].map(Timestamp::from_unix_seconds);
        Runtime::As { id: right().id.to_string(), credentials: Some(Credentials { retrieved, expire }) }
    }

    fn check(seen: &Seen, expected: &str) {
        let home: Region = "us-east-1".parse().unwrap();
        match judge(seen, &right(), Some(&home)) {
            Verdict::InUse(found) => assert_eq!((found, "in use"), (right(), expected), "{seen:?}"),
            Verdict::Unproven(found, why) => assert_eq!((found, why.as_str()), (right(), expected), "{seen:?}"),
            Verdict::Settling(found) => assert_eq!((found, "settling"), (right(), expected), "{seen:?}"),
            Verdict::NotYet(words) | Verdict::Refused(_, words) => assert!(words.contains(expected), "{words}"),
        }
    }

    #[test]
    fn only_a_running_agent_that_names_node_and_region_and_is_not_refused_uses_it() {
        check(&seen(), "in use");
        for (service, expected) in [
            (Service::Unknown, "does not say whether the agent runs"),
            (Service::NotRunning("failed".to_owned()), "service is failed"),
        ] {
            check(&Seen { service, ..seen() }, expected);
        }
        for (cli, expected) in [
            (Cli::Ec2, "is an EC2 instance"),
            (Cli::Missing, "update the agent"),
            (Cli::Silent("exit code 255".to_owned()), "exit code 255"),
            (Cli::Node(node('b', Some("us-east-1"))), "it is mi-bbbbbbbbbbbbbbbbb"),
            (Cli::Node(node('a', Some("eu-west-1"))), "in eu-west-1, and not in us-east-1"),
            (Cli::Node(node('a', None)), "does not say in which Region"),
        ] {
            check(&Seen { cli, ..seen() }, expected);
        }
        let retrieve = "2026-11-22 02:00:00 ERROR [CredentialRefresher] Retrieve credentials produced error:";
        for (error, expected) in [
            ("MachineFingerprintDoesNotMatch", "resized, restored, or copied"),
            ("RequestError: send request failed", "does not reach Systems Manager"),
            ("AccessDeniedException", "was deregistered"),
            ("InvalidSignatureException: Signature expired", "the time of this machine"),
        ] {
            // Whatever the credentials of before.
            for runtime in [Runtime::Absent, noted(10, 3000)] {
                let standing = agent_log::standing(&format!("{retrieve} {error}"));
                check(&Seen { runtime, standing, ..seen() }, expected);
            }
        }
    }

    #[test]
    fn an_agent_that_was_started_as_another_does_not_use_the_registration() {
        let identity = |id: &str| Runtime::As { id: id.to_owned(), credentials: None };
        check(&Seen { runtime: identity(right().id.as_str()), ..seen() }, "in use");
        check(&Seen { runtime: identity("mi-0"), ..seen() }, "was started as mi-0");
        let runtime = Runtime::Unreadable("EOF".to_owned());
        check(&Seen { runtime, ..seen() }, "does not say as which node the agent was started (EOF)");
    }

    #[test]
    fn what_proves_that_systems_manager_accepts_the_agent() {
        let (young, old) = (SETTLE / 2, Duration::from_secs(1000));
        let line = || "a line".to_owned();
        let (before, none) = (noted(1500, 2000), noted(NOW * 2, -NOW * 2));
        for (standing, runtime, age, expected) in [
            // Credentials that are newer than the start, and are still good.
            (Standing::Silent, noted(900, 2000), old, "in use"),
            (Standing::Starting, noted(900, 2000), young, "in use"),
            (Standing::NotAsked, noted(900, 2000), old, "in use"),
            (Standing::Doubtful(line()), noted(900, 2000), old, "its log says: a line"),
            // Half of their time is over, and the agent has none that are newer.
            (Standing::Silent, noted(990, 700), old, "it is silent"),
            (Standing::Ready, noted(990, 700), old, "in use"),
            // Older ones.
            (Standing::Silent, before.clone(), old, "did not ask Systems Manager since"),
            (Standing::Starting, before.clone(), old, "did not ask Systems Manager since"),
            (Standing::NotAsked, before.clone(), old, "did not ask Systems Manager since"),
            (Standing::NotAsked, Runtime::Absent, old, "did not ask Systems Manager since"),
            (Standing::NotAsked, Runtime::Absent, young, "settling"),
            (Standing::Starting, before.clone(), young, "settling"),
            // An agent calls itself ready with those too.
            (Standing::Ready, before.clone(), old, "did not ask Systems Manager since"),
            (Standing::Ready, before.clone(), young, "settling"),
            (Standing::Ready, noted(2500, 100), old, "did not ask Systems Manager since"),
            (Standing::Ready, noted(1000, 2000), old, "in use"),
            (Standing::Accepted, before, old, "in use"),
            (Standing::Accepted, Runtime::Absent, young, "in use"),
            (Standing::Accepted, noted(900, -1), old, "no credentials of Systems Manager"),
            // None, or none that are still good.
            (Standing::Silent, none, old, "no credentials of Systems Manager"),
            (Standing::Silent, noted(900, -1), old, "no credentials of Systems Manager"),
            (Standing::Ready, noted(900, -1), old, "no credentials of Systems Manager"),
            (Standing::Ready, noted(900, -1), young, "settling"),
            // Nothing tells.
            (Standing::Silent, Runtime::Absent, old, "it is silent"),
            (Standing::Starting, Runtime::Absent, old, "it is silent"),
            (Standing::Silent, Runtime::Absent, young, "settling"),
            (Standing::NotShared, noted(1500, 2000), old, "it is silent"),
            (Standing::NotShared, noted(1500, -1), old, "it is silent"),
            (Standing::Doubtful(line()), Runtime::Absent, old, "its log says: a line"),
            (Standing::Ready, Runtime::Absent, young, "in use"),
        ] {
            check(&Seen { runtime, standing, age, ..seen() }, expected);
        }
        for (runtime, expected) in [(Runtime::Absent, "its log says: a line"), (noted(900, 2000), "in use")] {
            let error = Some(line());
            check(&Seen { standing: Standing::Silent, error, runtime, ..seen() }, expected);
        }
        let private = Seen { is_private: true, standing: Standing::Silent, runtime: noted(900, -1), ..seen() };
        check(&private, "it is silent");
        check(&Seen { standing: Standing::Ready, ..private }, "in use");
        // When the agent started is not known.
        let unknown = Seen { started: None, standing: Standing::Silent, runtime: noted(900, 2000), ..seen() };
        check(&unknown, "it is silent");
    }
}
