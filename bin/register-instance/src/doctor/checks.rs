//! The checks. Pure: what was found comes in, what is wrong and what to do goes out.

use hub::{ManagedInstanceId, Timestamp};

use super::{ActivationProblem, Check, Findings, Status};
use crate::activation::{Activation, Unusable, Wanted};
use crate::agent_log::{Kind as Refused, Standing};
use crate::decide::is_foreign;
use crate::evidence::{Flaw, REGISTRATION_FILE, Registration};
use crate::failure::Reason;
use crate::proxy::Proxies;
use crate::retry::{self, Kind, METADATA_DISABLED};
use crate::steps::{Settings, Source, words};
use crate::verify::{self, Service, Verdict};

/// With less room than this the agent cannot write a registration and its logs.
const FREE_MIN_BYTES: u64 = 10 * 1024 * 1024;

const HEAL: &str = "run `register-instance heal`";

pub(super) fn all(settings: &Settings, findings: &Findings, now: Timestamp) -> Vec<Check> {
    [
        Some(identity(findings)),
        Some(clock(findings)),
        Some(activation(settings, findings, now)),
        Some(agent(findings)),
        service(findings),
        boot(findings),
        Some(proxy(findings)),
        Some(disk(findings)),
        Some(registration(settings, findings)),
        fingerprint(findings),
        in_use(settings, findings),
        log(findings),
        stale_file(findings),
        Some(profile(findings)),
        tag(findings),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn identity(findings: &Findings) -> Check {
    match &findings.identity {
        Ok(identity) => {
            let words = format!("{} in account {}, {}", identity.instance, identity.account, identity.region);
            Check::new("identity", Status::Ok, words)
        }
        Err(error) => {
            let remedy = match error.code.as_str() {
                METADATA_DISABLED => "unset AWS_EC2_METADATA_DISABLED",
                _ => "turn on the instance metadata service (IMDSv2); in a container, set its hop limit to 2",
            };
            Check::failed("identity", Reason::NotEc2, error.to_string(), remedy)
        }
    }
}

fn clock(findings: &Findings) -> Check {
    match &findings.activation {
        Some(Err(ActivationProblem::Aws(error))) if retry::kind(error) == Kind::Clock => Check::failed(
            "clock",
            Reason::Clock,
            format!("AWS refuses the time of this machine: {error}"),
            "set the clock: `chronyc makestep`",
        ),
        Some(Ok(_) | Err(ActivationProblem::Malformed(_))) => Check::new("clock", Status::Ok, "AWS takes its time"),
        _ => Check::new("clock", Status::Unknown, "AWS could not be asked"),
    }
}

fn activation(settings: &Settings, findings: &Findings, now: Timestamp) -> Check {
    const NAME: &str = "activation";
    let (Some(read), Ok(identity)) = (&findings.activation, &findings.identity) else {
        return Check::new(NAME, Status::Unknown, "without an identity there is nothing to read it with");
    };
    let renew = format!("have central IT invoke activation-issuer with {{\"agency\": \"{}\"}}", identity.account);
    let parameter = match &settings.source {
        Source::Json { parameter } => parameter.as_str(),
        Source::Pair { code, .. } => code.as_str(),
    };
    // A machine that is registered lives without one.
    let needed = |check: Check| match findings.node() {
        Some(_) => Check { status: Status::Warning, reason: None, ..check },
        None => check,
    };
    match read {
        Ok(activation) => {
            let wanted = Wanted {
                account: &identity.account,
                region: settings.region.as_ref(),
                hub_account: settings.hub_account.as_ref(),
                now,
            };
            match activation.check(&wanted) {
                Ok(()) => Check::new(NAME, Status::Ok, shown(activation)),
                Err(problem @ Unusable::Expired(_)) => {
                    needed(Check::failed(NAME, Reason::ActivationExpired, problem.to_string(), renew))
                }
                Err(problem @ (Unusable::OtherHub(..) | Unusable::UnknownHub(_))) => Check::failed(
                    NAME,
                    Reason::ActivationWrong,
                    problem.to_string(),
                    "check --hub-account and the parameter",
                ),
                Err(problem) => needed(Check::failed(NAME, Reason::ActivationWrong, problem.to_string(), renew)),
            }
        }
        Err(ActivationProblem::Malformed(problem)) => {
            needed(Check::failed(NAME, Reason::ActivationUnreadable, problem.clone(), renew))
        }
        Err(ActivationProblem::Aws(error)) => match retry::kind(error) {
            Kind::Network | Kind::Busy | Kind::Metadata => Check::failed(
                NAME,
                Reason::Network,
                error.to_string(),
                "open HTTPS to ssm and ec2 in this Region, or set the proxy in the agent's unit: docs/proxies.md",
            ),
            Kind::Clock => Check::new(NAME, Status::Unknown, "AWS refuses the time of this machine"),
            _ => {
                let words = words::no_parameter(parameter, identity, error);
                let (cause, remedy) = words.split_once(". ").unwrap_or((&words, &renew));
                needed(Check::failed(NAME, Reason::ActivationUnreadable, cause, remedy))
            }
        },
    }
}

fn shown(activation: &Activation) -> String {
    let expires = activation.terms.as_ref().map(|terms| format!(", until {}", terms.expires)).unwrap_or_default();
    format!("{} for Region {}{expires}", activation.id, activation.region)
}

fn agent(findings: &Findings) -> Check {
    match &findings.installation {
        Ok(installed) => {
            let words = format!("{} under {}", installed.agent.display(), installed.manager.service());
            Check::new("agent", Status::Ok, words)
        }
        Err(missing) => {
            let (cause, remedy) = missing.split_once(". ").unwrap_or((missing, "install the agent"));
            Check::failed("agent", Reason::AgentMissing, cause, remedy)
        }
    }
}

fn service(findings: &Findings) -> Option<Check> {
    let seen = findings.seen.as_ref()?;
    Some(match &seen.service {
        Service::Running => Check::new("service", Status::Ok, "it runs"),
        Service::Unknown => Check::new("service", Status::Unknown, "its service manager does not say whether it runs"),
        Service::NotRunning(word) if findings.is_left_stopped => {
            let cause = format!("it is {word}: a run of register-instance was killed while the agent was stopped");
            Check::failed("service", Reason::AgentControl, cause, HEAL)
        }
        Service::NotRunning(word) => Check::failed("service", Reason::AgentControl, format!("it is {word}"), HEAL),
    })
}

fn boot(findings: &Findings) -> Option<Check> {
    Some(match findings.enabled.as_deref()? {
        "enabled" | "static" | "generated" | "indirect" | "alias" => {
            Check::new("boot", Status::Ok, "the agent starts at boot")
        }
        word => {
            let cause = format!("the agent's unit is {word}: the agent is gone after a reboot");
            Check::new("boot", Status::Warning, cause).remedy(HEAL)
        }
    })
}

fn proxy(findings: &Findings) -> Check {
    let shell = &findings.shell_proxies;
    match &findings.unit_proxies {
        Some(unit) if unit.is_for_agent_alone() => {
            let cause =
                format!("the agent goes through {}, which this tool cannot: it calls AWS directly", unit.shown());
            Check::new("proxy", Status::Warning, cause)
                .remedy("let the machine reach ssm and ec2 in its Region directly, or give the agent an HTTP proxy")
        }
        Some(unit) if !unit.is_empty() => {
            Check::new("proxy", Status::Ok, format!("the agent goes through {}", unit.shown()))
        }
        Some(_) if !shell.is_empty() => {
            let cause = format!("this shell goes through {}, and the agent goes through none", shell.shown());
            Check::new("proxy", Status::Warning, cause)
                .remedy("set it in a drop-in of the agent's unit: docs/proxies.md")
        }
        None if !shell.is_empty() => Check::new("proxy", Status::Ok, proxied(shell)),
        _ => Check::new("proxy", Status::Ok, "none"),
    }
}

fn proxied(shell: &Proxies) -> String {
    format!("this run goes through {}", shell.shown())
}

fn disk(findings: &Findings) -> Check {
    match findings.free_bytes {
        Some(free) if free < FREE_MIN_BYTES => Check::failed(
            "disk",
            Reason::Unexpected,
            format!("{} KB are free where the agent keeps its registration", free / 1024),
            "make room under /var/lib/amazon/ssm",
        ),
        Some(free) => Check::new("disk", Status::Ok, format!("{} MB are free", free / (1024 * 1024))),
        None => Check::new("disk", Status::Unknown, "failed to read how much is free"),
    }
}

fn registration(settings: &Settings, findings: &Findings) -> Check {
    const NAME: &str = "registration";
    let replace = format!("run `{}`", words::REPLACE);
    let evidence = match &findings.evidence {
        Ok(evidence) => evidence,
        Err(failure) => {
            return Check::failed(NAME, failure.reason, failure.message.clone(), "make the file readable for root");
        }
    };
    let node = match evidence.registration() {
        Registration::As(node) => node,
        Registration::None => {
            return Check::failed(
                NAME,
                Reason::RegistrationFailed,
                "the machine is not registered",
                "run `register-instance`",
            );
        }
        Registration::Unreadable => return Check::failed(NAME, Reason::NotInUse, words::unreadable(), replace),
    };
    let original = findings.marker.as_ref().filter(|marker| marker.managed_instance_id == node.id);
    if let (Some(marker), Ok(identity)) = (original, &findings.identity)
        && marker.ec2_instance_id != identity.instance
    {
        let cause = words::clone(&node.id, &marker.ec2_instance_id, &identity.instance);
        return Check::failed(NAME, Reason::Clone, cause, replace);
    }
    match findings.hub(settings) {
        Some(hub) if is_foreign(&node, findings.marker.as_ref(), &hub) => {
            return Check::failed(NAME, Reason::ForeignRegistration, words::foreign(&node, &hub), replace);
        }
        None if is_answered(findings.activation.as_ref()) => {
            let cause = format!("{}, and nothing says whether that is a node of the hub", node.id);
            return Check::failed(NAME, Reason::ActivationUnreadable, cause, "name the hub's Region with --region");
        }
        _ => {}
    }
    if let Some(Flaw { what, remedy }) = evidence.flaw() {
        return Check::failed(NAME, Reason::NotInUse, format!("{}, but {what}", node.id), remedy);
    }
    let region = node.region.as_ref().map(|region| format!(" in {region}")).unwrap_or_default();
    Check::new(NAME, Status::Ok, format!("{}{region}", node.id))
}

/// True if AWS had its say about the activation.
fn is_answered(activation: Option<&Result<Activation, ActivationProblem>>) -> bool {
    match activation {
        None => false,
        Some(Err(ActivationProblem::Aws(error))) => matches!(retry::kind(error), Kind::Denied | Kind::Permanent),
        Some(Ok(_) | Err(ActivationProblem::Malformed(_))) => true,
    }
}

fn fingerprint(findings: &Findings) -> Option<Check> {
    let node = findings.node()?;
    // An agent that finds other hardware notes that instead, so only its log still tells.
    if let Some(Standing::Refused(Refused::Fingerprint, line)) = findings.seen.as_ref().map(|seen| &seen.standing) {
        let cause = format!("the hardware is not what was registered; the agent's log says: {line}");
        return Some(Check::failed("fingerprint", Reason::NotInUse, cause, replaced(&node.id)));
    }
    let evidence = findings.evidence.as_ref().ok()?;
    evidence.machine_ids.as_ref()?;
    Some(match evidence.other_machine() {
        Some(cause) => Check::failed("fingerprint", Reason::NotInUse, cause, replaced(&node.id)),
        None => Check::new("fingerprint", Status::Ok, "the machine ID is the one that was registered"),
    })
}

fn in_use(settings: &Settings, findings: &Findings) -> Option<Check> {
    let (node, seen) = (findings.node()?, findings.seen.as_ref()?);
    Some(match verify::judge(seen, &node, findings.hub(settings).as_ref().map(|hub| &hub.region)) {
        Verdict::InUse(found) => Check::new("in-use", Status::Ok, format!("the agent says that it is {}", found.id)),
        Verdict::Unproven(found, why) => {
            let cause = format!("the agent says that it is {}, and nothing proves it: {why}", found.id);
            Check::new("in-use", Status::Unknown, cause).remedy("look in the central account whether it is Online")
        }
        Verdict::Settling(found) => Check::new(
            "in-use",
            Status::Unknown,
            format!("the agent says that it is {}, and has just started", found.id),
        ),
        Verdict::NotYet(why) => {
            Check::failed("in-use", Reason::NotInUse, why, format!("{HEAL}, which restarts the agent"))
        }
        Verdict::Refused(Refused::Clock, why) => {
            Check::failed("in-use", Reason::Clock, why, "set the clock: `chronyc makestep`")
        }
        Verdict::Refused(_, why) => Check::failed("in-use", Reason::NotInUse, why, replaced(&node.id)),
    })
}

fn log(findings: &Findings) -> Option<Check> {
    let problem = findings.unreadable_log.as_ref()?;
    let remedy = "let the agent log into a regular file there, and restart it";
    Some(Check::failed("log", Reason::Unexpected, problem, remedy))
}

fn replaced(node: &ManagedInstanceId) -> String {
    format!("run `{}`, and deregister {node} in the central account if no other machine uses it", words::REPLACE)
}

fn stale_file(findings: &Findings) -> Option<Check> {
    let evidence = findings.evidence.as_ref().ok()?;
    let stale = evidence.stale_file()?;
    let cause = format!("{REGISTRATION_FILE} names {}, which is not the registration of the vault", stale.id);
    Some(Check::new("registration-file", Status::Warning, cause).remedy(HEAL))
}

fn profile(findings: &Findings) -> Check {
    if findings.is_profile_shared {
        let cause = "root's default profile (`~root/.aws/credentials`) may hold the central role's credentials";
        return Check::new("default-profile", Status::Warning, cause).remedy(
            "programs that run as root must name their credentials; without patching, run `register-instance heal \
             --keep-default-profile`",
        );
    }
    Check::new("default-profile", Status::Ok, "the agent leaves root's default profile alone")
}

fn tag(findings: &Findings) -> Option<Check> {
    let node = findings.node()?;
    Some(match &findings.own_tag {
        Some(tag) if *tag == node.id.as_str() => {
            Check::new("tag", Status::Ok, "the metadata shows it, maybe hours late")
        }
        Some(tag) => {
            let cause = format!("the metadata shows managedinstanceid={tag}, maybe hours late");
            Check::failed("tag", Reason::TagNotWritten, cause, "run `register-instance`, which writes it")
        }
        None => {
            let cause = "it cannot be seen from the instance";
            Check::new("tag", Status::Unknown, cause).remedy("run `register-instance`, which always writes it")
        }
    })
}
