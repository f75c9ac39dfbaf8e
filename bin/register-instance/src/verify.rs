//! Asking the running agent which node it is.
//!
//! `ssm-cli` answers with the identity that the agent noted when it started, also for an agent that has ended since and
//! for one that Systems Manager refuses. If the vault holds another node than the agent noted, it answers with the
//! vault's. So four things have to agree: the service runs, the agent noted the node, `ssm-cli` names the node and its
//! Region, and the agent's log does not end in a refusal.

use std::time::Duration;

use hub::Region;

use crate::agent_log::{self, Kind, LOG_FILE, Standing, TAIL_BYTES};
use crate::detect::{Installation, Manager, SNAP_FOLDER};
use crate::evidence::{Cli, Node, RUNTIME_FILE, running_as};
use crate::machine::{Command, Ended, Machine};

/// How long `ssm-cli` may take.
const CLI_LIMIT: Duration = Duration::from_secs(20);

/// How long `systemctl` may take to answer a question.
const QUESTION_LIMIT: Duration = Duration::from_secs(20);

/// What the running agent shows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) cli: Cli,
    pub(crate) service: Service,
    /// The identity that the agent noted when it started. Old agents note none.
    pub(crate) running_as: Option<String>,
    pub(crate) standing: Standing,
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

/// Looks at the agent. Of the log counts what stands behind `log_from`.
pub(crate) fn look<M: Machine>(machine: &M, installation: &Installation, log_from: u64) -> Seen {
    let log = machine.tail(LOG_FILE, log_from, TAIL_BYTES).ok().flatten().unwrap_or_default();
    Seen {
        cli: ask(machine),
        service: service(machine, installation),
        running_as: machine.read(RUNTIME_FILE).ok().flatten().as_deref().and_then(running_as),
        standing: agent_log::standing(&log.text),
    }
}

/// Why the agent's log cannot be read, if it is there: refusals in it are not seen then.
pub(crate) fn unreadable_log<M: Machine>(machine: &M) -> Option<String> {
    let error = machine.tail(LOG_FILE, u64::MAX, 0).err()?;
    Some(format!("{LOG_FILE} cannot be read ({error}), so a refusal in it would not be seen"))
}

/// How long the agent's log is now.
pub(crate) fn log_length<M: Machine>(machine: &M) -> u64 {
    machine.tail(LOG_FILE, u64::MAX, 0).ok().flatten().map_or(0, |log| log.length)
}

/// What `ssm-cli` answers.
pub(crate) fn ask<M: Machine>(machine: &M) -> Cli {
    // It may be installed while this runs. That of the snap knows where the snap's agent keeps its files.
    let in_snap = machine.file(&format!("{SNAP_FOLDER}/ssm-cli"));
    let Some(cli) = in_snap.or_else(|| machine.program("ssm-cli")) else { return Cli::Missing };
    match machine.run(&Command::new(&cli, &["get-instance-information"]), CLI_LIMIT) {
        Ok(output) if output.is_success() => Cli::parse(&output.stdout),
        Ok(output) => Cli::Silent(format!("{}: {}", output.ending(), crate::agent::tail(&output.text()))),
        Err(error) => Cli::Silent(error.to_string()),
    }
}

/// Whether the service runs, as far as its manager says.
pub(crate) fn service<M: Machine>(machine: &M, installation: &Installation) -> Service {
    let status = &installation.status;
    let Ok(output) = machine.run(&Command::new(&status.program, &status.args), QUESTION_LIMIT) else {
        return Service::Unknown;
    };
    let said = output.stdout.trim();
    match (&installation.manager, said) {
        (Manager::Systemd { .. }, "active" | "reloading") => Service::Running,
        (Manager::Systemd { .. }, "inactive" | "failed" | "activating" | "deactivating") => {
            Service::NotRunning(said.to_owned())
        }
        // Such as `amazon-ssm-agent start/running, process 2817`.
        (Manager::Upstart { .. }, _) if said.contains("start/running") => Service::Running,
        (Manager::Upstart { .. }, _) if said.contains("stop/") => Service::NotRunning("stopped".to_owned()),
        // What the Linux Standard Base says about such scripts.
        (Manager::Script { .. }, _) if output.ended == Ended::Exit(0) => Service::Running,
        (Manager::Script { .. }, _) if output.ended == Ended::Exit(3) => Service::NotRunning("stopped".to_owned()),
        _ => Service::Unknown,
    }
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
        (_, Standing::Unreachable(line)) => {
            Verdict::NotYet(format!("the agent does not reach Systems Manager; its log says: {line}"))
        }
        (_, Standing::Starting) => Verdict::Settling(answer.clone()),
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
        let seen = Seen { cli, service, running_as: None, standing };
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
        check(right(), Service::Unknown, None, None);
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
            };
            let verdict = judge(&seen, &answer, None);
            assert_eq!(verdict == Verdict::InUse(answer.clone()), is_in_use, "{verdict:?}");
        }
    }
}
