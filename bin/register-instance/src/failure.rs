//! Why a run ended without what it was for.

use std::collections::BTreeMap;

use hub::{ManagedInstanceId, Region};
use strum::{EnumIter, EnumMessage, IntoEnumIterator as _, IntoStaticStr};

use crate::aws::Identity;

/// The closed list of reasons. Each has its own exit code, so that a script can tell them apart; 0 is success, and 2 a
/// usage error. The messages are what it means and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, EnumMessage, IntoStaticStr)]
#[strum(serialize_all = "kebab-case", const_into_str)]
#[repr(u8)]
pub enum Reason {
    /// Something that this tool has no word for, such as a full disk.
    #[strum(
        message = "an error without a code of its own, such as an unreadable file or a bad environment variable",
        detailed_message = "see the message"
    )]
    Unexpected = 1,
    /// Not run as root.
    #[strum(message = "not running as root", detailed_message = "use `sudo`")]
    NotRoot = 3,
    /// The instance metadata service does not answer: this is not an EC2 instance, or the service is off.
    #[strum(
        message = "instance metadata is not available",
        detailed_message = "turn on IMDSv2; in a container, set the hop limit to 2"
    )]
    NotEc2 = 4,
    /// The agent is not installed, or nothing is known that could stop and start it.
    #[strum(
        message = "no usable agent: not installed, installed twice, or masked",
        detailed_message = "install, remove, or unmask it"
    )]
    AgentMissing = 5,
    /// The activation's parameter is missing, may not be read, or does not hold an activation.
    #[strum(
        message = "the activation cannot be read",
        detailed_message = "run `activation-issuer`, or attach the instance profile"
    )]
    ActivationUnreadable = 6,
    /// The activation expired.
    #[strum(message = "the activation expired", detailed_message = "run `activation-issuer`")]
    ActivationExpired = 7,
    /// The activation has registered as many instances as it may.
    #[strum(message = "the activation has no registrations left", detailed_message = "run `activation-issuer`")]
    ActivationExhausted = 8,
    /// The activation is for another account, Region or hub, or Systems Manager does not know it.
    #[strum(
        message = "the activation is unknown, or for another account, Region, or hub",
        detailed_message = "check the parameter"
    )]
    ActivationWrong = 9,
    /// The agent could not register.
    #[strum(message = "the agent failed to register", detailed_message = "see what the agent said in the message")]
    RegistrationFailed = 10,
    /// The agent could not be stopped or started.
    #[strum(message = "the agent could not be stopped or started", detailed_message = "run the command in the message")]
    AgentControl = 11,
    /// The registration on this machine belongs to another instance.
    #[strum(
        message = "the registration is another instance's; left alone",
        detailed_message = "run `heal --replace`, and clear the image"
    )]
    Clone = 12,
    /// Registered, but the EC2 tag could not be written.
    #[strum(
        message = "registered, but the tag could not be written",
        detailed_message = "see the message, then run it again"
    )]
    TagNotWritten = 13,
    /// Another run holds the lock.
    #[strum(message = "another run is in progress", detailed_message = "wait, or end that run")]
    Locked = 14,
    /// The network or AWS did not answer in time.
    #[strum(
        message = "AWS did not answer in time",
        detailed_message = "check the network and the proxy, then run it again"
    )]
    Network = 15,
    /// A signal asked to stop.
    #[strum(message = "a signal ended the run", detailed_message = "run it again")]
    Interrupted = 16,
    /// The machine is registered, and the running agent does not use the registration.
    #[strum(
        message = "registered, but the running agent does not use it; not tagged",
        detailed_message = "run `heal`; if Systems Manager refuses the agent, `heal --replace`"
    )]
    NotInUse = 17,
    /// The machine is registered with another hub.
    #[strum(
        message = "registered with another hub; left alone",
        detailed_message = "if that registration is not needed, run `heal --replace`"
    )]
    ForeignRegistration = 18,
    /// AWS refuses the time of this machine.
    #[strum(message = "AWS rejects the machine's clock", detailed_message = "set the clock, then run it again")]
    Clock = 19,
}

impl Reason {
    /// All reasons, in the order of their exit codes.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// The exit code.
    pub fn exit_code(self) -> u8 {
        self as u8
    }

    /// The word in the JSON line.
    pub fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// What it means, for the help.
    pub fn meaning(self) -> &'static str {
        self.get_message().unwrap_or_default()
    }

    fn remedy(self) -> &'static str {
        self.get_detailed_message().unwrap_or_default()
    }
}

/// The table of exit codes for the documentation, in Markdown.
pub fn exit_codes() -> String {
    let mut rows: BTreeMap<u8, String> = Reason::all()
        .map(|reason| {
            let cells = [reason.as_str(), reason.meaning(), reason.remedy()];
            (reason.exit_code(), format!("`{}` | {} | {} |", cells[0], cells[1], cells[2]))
        })
        .collect();
    rows.insert(0, "| registered, in use, and tagged | |".to_owned());
    rows.insert(2, "| invalid arguments | see `--help` |".to_owned());
    let rows: Vec<String> = rows.iter().map(|(code, row)| format!("| {code} | {row}\n")).collect();
    format!("| code | reason | meaning | what to do |\n|---|---|---|---|\n{}", rows.concat())
}

/// A run that did not reach its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind, and so the exit code.
    pub reason: Reason,
    /// What happened and what to do about it.
    pub message: String,
    /// The node that this machine is registered as, if that is known.
    pub node: Option<ManagedInstanceId>,
    /// What else the run knew by then; none before it knew which instance this is.
    pub known: Option<Box<Known>>,
}

/// What a run knows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// This instance.
    pub identity: Identity,
    /// The Region of the hub, if it is known.
    pub hub_region: Option<Region>,
    /// The node that was cleared off the machine, if the machine was to be registered in its place.
    pub replaced: Option<ManagedInstanceId>,
    /// Whether something besides the agent's word shows that Systems Manager accepts it; none if that was not found out.
    pub is_proven: Option<bool>,
    /// What an operator should know besides.
    pub notes: Vec<String>,
}

impl Failure {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), node: None, known: None }
    }

    /// A failure that this tool has no other word for.
    pub fn unexpected(message: impl Into<String>) -> Self {
        Self::new(Reason::Unexpected, message)
    }

    pub(crate) fn of(self, node: &ManagedInstanceId) -> Self {
        Self { node: Some(node.clone()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_meaning_a_remedy_and_a_code_that_is_free() {
        for reason in Reason::all() {
            assert!(!reason.meaning().is_empty() && !reason.remedy().is_empty(), "{reason:?}");
            assert!(![0, 2].contains(&reason.exit_code()), "0 is success, and 2 is usage");
        }
        assert!(Reason::all().is_sorted_by_key(Reason::exit_code), "the help lists them in this order");
        assert_eq!(Reason::NotEc2.as_str(), "not-ec2");
    }

    #[test]
    fn the_documentation_has_this_table() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/register-instance.md"));
        let page = page.unwrap();
        assert!(page.contains(&exit_codes()), "docs/register-instance.md needs this table:\n{}", exit_codes());
    }
}
