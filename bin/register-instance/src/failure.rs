//! Why a run ended without what it was for.

use hub::ManagedInstanceId;

/// The closed list of reasons. Each has its own exit code, so that a script can tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Something that this tool has no word for, such as a full disk.
    Unexpected,
    /// Not run as root.
    NotRoot,
    /// The instance metadata service does not answer, so this is no EC2 instance, or the service is off.
    NotEc2,
    /// The agent is not installed, or nothing is known that could stop and start it.
    AgentMissing,
    /// The activation's parameter is missing, may not be read, or does not hold an activation.
    ActivationUnreadable,
    /// The activation is over.
    ActivationExpired,
    /// The activation has registered as many instances as it may.
    ActivationExhausted,
    /// The activation is for another account or Region, or Systems Manager does not know it.
    ActivationWrong,
    /// The agent could not register.
    RegistrationFailed,
    /// The agent could not be stopped or started.
    AgentControl,
    /// The registration on this machine belongs to another instance.
    Clone,
    /// Registered, but the EC2 tag could not be written.
    TagNotWritten,
    /// Another run holds the lock.
    Locked,
    /// The network or AWS did not answer in time.
    Network,
    /// A signal asked to stop.
    Interrupted,
}

impl Reason {
    /// All reasons, in the order of their exit codes.
    pub const ALL: [Self; 15] = [
        Self::Unexpected,
        Self::NotRoot,
        Self::NotEc2,
        Self::AgentMissing,
        Self::ActivationUnreadable,
        Self::ActivationExpired,
        Self::ActivationExhausted,
        Self::ActivationWrong,
        Self::RegistrationFailed,
        Self::AgentControl,
        Self::Clone,
        Self::TagNotWritten,
        Self::Locked,
        Self::Network,
        Self::Interrupted,
    ];

    /// The exit code. 0 is success and 2 a usage error, which are not in this list.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Unexpected => 1,
            Self::NotRoot => 3,
            Self::NotEc2 => 4,
            Self::AgentMissing => 5,
            Self::ActivationUnreadable => 6,
            Self::ActivationExpired => 7,
            Self::ActivationExhausted => 8,
            Self::ActivationWrong => 9,
            Self::RegistrationFailed => 10,
            Self::AgentControl => 11,
            Self::Clone => 12,
            Self::TagNotWritten => 13,
            Self::Locked => 14,
            Self::Network => 15,
            Self::Interrupted => 16,
        }
    }

    /// The word in the JSON line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unexpected => "unexpected",
            Self::NotRoot => "not-root",
            Self::NotEc2 => "not-ec2",
            Self::AgentMissing => "agent-missing",
            Self::ActivationUnreadable => "activation-unreadable",
            Self::ActivationExpired => "activation-expired",
            Self::ActivationExhausted => "activation-exhausted",
            Self::ActivationWrong => "activation-wrong",
            Self::RegistrationFailed => "registration-failed",
            Self::AgentControl => "agent-control",
            Self::Clone => "clone",
            Self::TagNotWritten => "tag-not-written",
            Self::Locked => "locked",
            Self::Network => "network",
            Self::Interrupted => "interrupted",
        }
    }

    /// What it means, for the help.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Unexpected => "something unexpected, such as a file that cannot be written",
            Self::NotRoot => "not run as root",
            Self::NotEc2 => "not an EC2 instance, or its metadata service does not answer",
            Self::AgentMissing => "the agent is not installed, or cannot be stopped and started by any known means",
            Self::ActivationUnreadable => "the activation's parameter is missing, unreadable, or not an activation",
            Self::ActivationExpired => "the activation is over",
            Self::ActivationExhausted => "the activation has registered as many instances as it may",
            Self::ActivationWrong => "the activation is for another account or Region, or is not known",
            Self::RegistrationFailed => "the agent could not register",
            Self::AgentControl => "the agent could not be stopped or started",
            Self::Clone => "the registration on this machine belongs to another instance; nothing was changed",
            Self::TagNotWritten => "registered, but the EC2 tag could not be written; run again",
            Self::Locked => "another run is at work",
            Self::Network => "the network or AWS did not answer in time; run again",
            Self::Interrupted => "stopped by a signal; run again",
        }
    }
}

/// A run that did not reach its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind, and so the exit code.
    pub reason: Reason,
    /// What happened and what to do about it.
    pub message: String,
    /// The node that this machine is registered as, where that is known.
    pub node: Option<ManagedInstanceId>,
}

impl Failure {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), node: None }
    }

    pub(crate) fn of(self, node: &ManagedInstanceId) -> Self {
        Self { node: Some(node.clone()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_code_and_a_word_of_its_own() {
        let codes: BTreeSet<u8> = Reason::ALL.into_iter().map(Reason::exit_code).collect();
        let words: BTreeSet<&str> = Reason::ALL.into_iter().map(Reason::as_str).collect();
        assert_eq!((codes.len(), words.len()), (Reason::ALL.len(), Reason::ALL.len()));
        assert!(!codes.contains(&0) && !codes.contains(&2), "0 is success, and 2 is usage");
    }
}
