//! What on the machine says that it is registered.
//!
//! The vault is what the agent itself goes by. `ssm-cli` is the supported way to ask, but it answers `i-…` for an
//! agent that lives on its EC2 identity, which is no registration. The file `registration` is written at a
//! registration and by nothing else: it outlives `amazon-ssm-agent -register -clear` and a failed attempt to
//! register anew, and so it counts only where nothing better is there.

use hub::{Ec2InstanceId, ManagedInstanceId};
use serde_json::Value;

/// Where the agent notes its registration, for others to read.
pub(crate) const REGISTRATION_FILE: &str = "/var/lib/amazon/ssm/registration";

/// Where the agent keeps its registration, along with its private key.
pub(crate) const VAULT_FILE: &str = "/var/lib/amazon/ssm/Vault/Store/RegistrationKey";

/// All evidence that is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    pub(crate) cli: Cli,
    pub(crate) vault: Vault,
    pub(crate) file: Option<ManagedInstanceId>,
}

/// What `ssm-cli get-instance-information` answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Cli {
    /// Nothing of use: it is not there, failed, or is too old to know.
    #[default]
    Silent,
    /// The agent is an EC2 instance to itself.
    Ec2,
    /// The agent is a managed node.
    Node(ManagedInstanceId),
}

/// What is in the vault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Vault {
    /// No such file: nothing was ever registered.
    #[default]
    Absent,
    /// A record without an id, as it is after clearing, and after an attempt that failed.
    Cleared,
    /// A form that this tool does not know.
    Unknown,
    /// A registration.
    Node(ManagedInstanceId),
}

/// What the evidence comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Registration {
    None,
    As(ManagedInstanceId),
    /// The agent answers one id and keeps another.
    Contradiction {
        answered: ManagedInstanceId,
        kept: ManagedInstanceId,
    },
}

impl Evidence {
    /// Weighs the evidence. Where it is in doubt, the machine counts as registered: a registration that is
    /// overwritten is lost.
    pub(crate) fn registration(&self) -> Registration {
        match (&self.cli, &self.vault) {
            (Cli::Node(answered), Vault::Node(kept)) if answered != kept => {
                Registration::Contradiction { answered: answered.clone(), kept: kept.clone() }
            }
            (Cli::Node(node), _) | (_, Vault::Node(node)) => Registration::As(node.clone()),
            (_, Vault::Cleared) | (Cli::Ec2, Vault::Absent) => Registration::None,
            (Cli::Silent, Vault::Absent) | (_, Vault::Unknown) => {
                self.file.clone().map_or(Registration::None, Registration::As)
            }
        }
    }
}

impl Cli {
    /// Reads `{"instance-id":"…","region":"…","release-version":"…"}`.
    pub(crate) fn parse(output: &str) -> Self {
        let answer: Option<Value> = output.find('{').and_then(|start| {
            // An agent may print a line of its log before or after the answer.
            serde_json::Deserializer::from_str(&output[start..]).into_iter().next()?.ok()
        });
        let id = answer.as_ref().and_then(|answer| answer.get("instance-id")).and_then(Value::as_str);
        match id {
            Some(id) if id.parse::<Ec2InstanceId>().is_ok() => Self::Ec2,
            Some(id) => id.parse().map_or(Self::Silent, Self::Node),
            None => Self::Silent,
        }
    }
}

impl Vault {
    /// Reads the id in the record, and nothing else: the private key stands beside it.
    pub(crate) fn parse(record: Option<&str>) -> Self {
        let Some(record) = record else {
            return Self::Absent;
        };
        if record.trim().is_empty() {
            return Self::Cleared;
        }
        match serde_json::from_str::<Value>(record).ok().as_ref().and_then(|record| record.get("instanceID")) {
            Some(Value::String(id)) if id.is_empty() => Self::Cleared,
            Some(Value::String(id)) => id.parse().map_or(Self::Unknown, Self::Node),
            _ => Self::Unknown,
        }
    }
}

/// Reads `{"ManagedInstanceID":"mi-…","Region":"…"}`.
pub(crate) fn node_in_file(contents: &str) -> Option<ManagedInstanceId> {
    let value: Value = serde_json::from_str(contents).ok()?;
    value.get("ManagedInstanceID")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(digit: char) -> ManagedInstanceId {
        format!("mi-{}", digit.to_string().repeat(17)).parse().unwrap()
    }

    #[test]
    fn only_a_managed_node_counts_as_registered() {
        let (a, b) = (node('a'), node('b'));
        let registered = Registration::As(a.clone());
        for (cli, vault, file, expected) in [
            (Cli::Silent, Vault::Absent, None, Registration::None),
            (Cli::Ec2, Vault::Absent, None, Registration::None),
            (Cli::Node(a.clone()), Vault::Node(a.clone()), Some(a.clone()), registered.clone()),
            (Cli::Node(a.clone()), Vault::Absent, None, registered.clone()),
            (Cli::Node(a.clone()), Vault::Unknown, None, registered.clone()),
            // A private key of a node is there, so overwriting would lose it, whatever the agent uses now.
            (Cli::Ec2, Vault::Node(a.clone()), None, registered.clone()),
            (Cli::Silent, Vault::Node(a.clone()), Some(b.clone()), registered.clone()),
            // Cleared, or left by an attempt that failed: the file is all that remains of the old registration.
            (Cli::Ec2, Vault::Cleared, Some(a.clone()), Registration::None),
            (Cli::Silent, Vault::Cleared, Some(a.clone()), Registration::None),
            (Cli::Ec2, Vault::Absent, Some(a.clone()), Registration::None),
            // Nothing better than the file.
            (Cli::Silent, Vault::Absent, Some(a.clone()), registered.clone()),
            (Cli::Silent, Vault::Unknown, Some(a.clone()), registered.clone()),
            (Cli::Ec2, Vault::Unknown, Some(a.clone()), registered),
            (
                Cli::Node(a.clone()),
                Vault::Node(b.clone()),
                None,
                Registration::Contradiction { answered: a.clone(), kept: b.clone() },
            ),
        ] {
            let evidence = Evidence { cli, vault, file };
            assert_eq!(evidence.registration(), expected, "{evidence:?}");
        }
    }

    #[test]
    fn answers_of_ssm_cli() {
        for (output, expected) in [
            (
                r#"{"instance-id":"mi-aaaaaaaaaaaaaaaaa","region":"us-east-1","release-version":"3.3.0.0"}"#,
                Cli::Node(node('a')),
            ),
            ("INFO noise\n{\"instance-id\":\"mi-aaaaaaaaaaaaaaaaa\"}\ntrailing", Cli::Node(node('a'))),
            (r#"{"instance-id":"i-0123456789abcdef0"}"#, Cli::Ec2),
            (r#"{"instance-id":""}"#, Cli::Silent),
            (r#"{"instance-id":7}"#, Cli::Silent),
            ("{broken", Cli::Silent),
            ("", Cli::Silent),
        ] {
            assert_eq!(Cli::parse(output), expected, "{output}");
        }
    }

    #[test]
    fn records_of_the_vault() {
        for (record, expected) in [
            (None, Vault::Absent),
            (Some(""), Vault::Cleared),
            (Some(r#"{"instanceID":"","region":"","privateKey":"k"}"#), Vault::Cleared),
            (Some(r#"{"instanceID":"mi-aaaaaaaaaaaaaaaaa","privateKey":"k"}"#), Vault::Node(node('a'))),
            (Some(r#"{"instanceID":"something-new"}"#), Vault::Unknown),
            (Some("not json"), Vault::Unknown),
        ] {
            assert_eq!(Vault::parse(record), expected, "{record:?}");
        }
        assert_eq!(
            node_in_file(r#"{"ManagedInstanceID":"mi-aaaaaaaaaaaaaaaaa","Region":"us-east-1"}"#),
            Some(node('a'))
        );
        assert_eq!(node_in_file("{}"), None);
    }
}
