//! Why a run ended without what it was for.

use std::fmt::Write as _;

use hub::ManagedInstanceId;

/// The closed list of reasons. Each has its own exit code, so that a script can tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Something that this tool has no word for, such as a full disk.
    Unexpected,
    /// Not run as root.
    NotRoot,
    /// The instance metadata service does not answer: this is not an EC2 instance, or the service is off.
    NotEc2,
    /// The agent is not installed, or nothing is known that could stop and start it.
    AgentMissing,
    /// The activation's parameter is missing, may not be read, or does not hold an activation.
    ActivationUnreadable,
    /// The activation expired.
    ActivationExpired,
    /// The activation has registered as many instances as it may.
    ActivationExhausted,
    /// The activation is for another account, Region or hub, or Systems Manager does not know it.
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
    /// The machine is registered, and the running agent does not use the registration.
    NotInUse,
    /// The machine is registered in another Region than the hub's.
    ForeignRegistration,
    /// AWS refuses the time of this machine.
    Clock,
}

/// One row of the table of exit codes.
struct Row {
    reason: Reason,
    code: u8,
    word: &'static str,
    meaning: &'static str,
    remedy: &'static str,
}

const fn row(reason: Reason, code: u8, word: &'static str, meaning: &'static str, remedy: &'static str) -> Row {
    Row { reason, code, word, meaning, remedy }
}

/// In the order of the exit codes, and of [`Reason`]. 0 is success and 2 a usage error.
const TABLE: [Row; 18] = [
    row(Reason::Unexpected, 1, "unexpected", "a file cannot be read or written", "see the message"),
    row(Reason::NotRoot, 3, "not-root", "not run as root", "use `sudo`"),
    row(Reason::NotEc2, 4, "not-ec2", "no instance metadata", "turn on IMDSv2; in a container, hop limit 2"),
    row(Reason::AgentMissing, 5, "agent-missing", "no agent, two, or a masked one", "install, remove, or unmask it"),
    row(
        Reason::ActivationUnreadable,
        6,
        "activation-unreadable",
        "no readable activation",
        "run `activation-issuer`, or attach the instance profile",
    ),
    row(Reason::ActivationExpired, 7, "activation-expired", "activation expired", "run `activation-issuer`"),
    row(Reason::ActivationExhausted, 8, "activation-exhausted", "activation used up", "run `activation-issuer`"),
    row(
        Reason::ActivationWrong,
        9,
        "activation-wrong",
        "another account's, Region's, or hub's activation, or an unknown one",
        "check the parameter",
    ),
    row(Reason::RegistrationFailed, 10, "registration-failed", "the agent could not register", "see what it said"),
    row(
        Reason::AgentControl,
        11,
        "agent-control",
        "the agent could not be stopped or started",
        "start it, as the message says",
    ),
    row(
        Reason::Clone,
        12,
        "clone",
        "another instance's registration; left alone",
        "`heal --replace`, and clear the image",
    ),
    row(Reason::TagNotWritten, 13, "tag-not-written", "registered, but not tagged", "see the message; run it again"),
    row(Reason::Locked, 14, "locked", "another run is at work", "wait, or end it"),
    row(Reason::Network, 15, "network", "no answer in time", "run it again; check the proxy"),
    row(Reason::Interrupted, 16, "interrupted", "stopped by a signal", "run it again"),
    row(Reason::NotInUse, 17, "not-in-use", "registered, but not in use; not tagged", "`heal`, then `heal --replace`"),
    row(
        Reason::ForeignRegistration,
        18,
        "foreign-registration",
        "registered in another Region; left alone",
        "`heal --replace`, if that may go",
    ),
    row(Reason::Clock, 19, "clock", "AWS refuses the machine's time", "set the clock; run it again"),
];

impl Reason {
    /// All reasons, in the order of their exit codes.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.reason)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The exit code.
    pub fn exit_code(self) -> u8 {
        self.row().code
    }

    /// The word in the JSON line.
    pub fn as_str(self) -> &'static str {
        self.row().word
    }

    /// What it means, for the help.
    pub fn meaning(self) -> &'static str {
        self.row().meaning
    }
}

/// The table of exit codes for the documentation, in Markdown.
pub fn exit_codes() -> String {
    let mut table = "| code | reason | meaning | what to do |\n|---|---|---|---|\n".to_owned();
    table.push_str("| 0 | | registered, in use, and tagged | |\n");
    for (index, Row { code, word, meaning, remedy, .. }) in TABLE.iter().enumerate() {
        if index == 1 {
            table.push_str("| 2 | | wrong usage | see `--help` |\n");
        }
        // Writing to a string does not fail.
        let _ = writeln!(table, "| {code} | `{word}` | {meaning} | {remedy} |");
    }
    table
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
}

impl Failure {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), node: None }
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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_its_row_a_code_and_a_word_of_its_own() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.reason as usize, index, "the table has another order than the reasons");
        }
        let codes: BTreeSet<u8> = Reason::all().map(Reason::exit_code).collect();
        let words: BTreeSet<&str> = Reason::all().map(Reason::as_str).collect();
        assert_eq!((codes.len(), words.len()), (TABLE.len(), TABLE.len()));
        assert!(!codes.contains(&0) && !codes.contains(&2), "0 is success, and 2 is usage");
    }

    #[test]
    fn the_documentation_has_this_table() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/register-instance.md"));
        let page = page.unwrap();
        assert!(page.contains(&exit_codes()), "docs/register-instance.md needs this table:\n{}", exit_codes());
    }
}
