//! What to do with this machine, decided from facts alone.

use hub::{Ec2InstanceId, ManagedInstanceId};

use crate::evidence::{Evidence, Registration};
use crate::marker::Marker;

/// What is known before anything is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) evidence: Evidence,
    pub(crate) marker: Option<Marker>,
    /// The instance that the metadata service says this is.
    pub(crate) instance: Ec2InstanceId,
    /// The EC2 tag `managedinstanceid`, where the metadata service shows tags and the instance has it.
    pub(crate) tag: Option<String>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Not registered.
    Register,
    /// Registered; the tag is missing, different, or cannot be seen from here, and writing it again does no harm.
    RepairTag { node: ManagedInstanceId, marker: MarkerState },
    /// Registered and tagged.
    Done { node: ManagedInstanceId, marker: MarkerState },
    /// Registered by another instance, from which this one was made.
    Clone { node: ManagedInstanceId, original: Ec2InstanceId },
    /// The agent answers one id and keeps another; no tag can be right.
    Contradiction { answered: ManagedInstanceId, kept: ManagedInstanceId },
}

/// Whether the note is there for this registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkerState {
    Right,
    /// The machine was registered by other means, or the run ended before it was written.
    Missing,
}

/// Decides.
pub(crate) fn decide(facts: &Facts) -> Decision {
    let node = match facts.evidence.registration() {
        Registration::None => return Decision::Register,
        Registration::Contradiction { answered, kept } => return Decision::Contradiction { answered, kept },
        Registration::As(node) => node,
    };
    // A note about another node is older than this registration and says nothing about it.
    let marker = facts.marker.as_ref().filter(|marker| marker.managed_instance_id == node);
    let marker = match marker {
        Some(marker) if marker.ec2_instance_id != facts.instance => {
            return Decision::Clone { node, original: marker.ec2_instance_id.clone() };
        }
        Some(_) => MarkerState::Right,
        None => MarkerState::Missing,
    };
    if facts.tag.as_deref() == Some(node.as_str()) {
        Decision::Done { node, marker }
    } else {
        Decision::RepairTag { node, marker }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evidence::{Cli, Vault};

    fn node(digit: char) -> ManagedInstanceId {
        format!("mi-{}", digit.to_string().repeat(17)).parse().unwrap()
    }

    fn instance(digit: char) -> Ec2InstanceId {
        format!("i-{}", digit.to_string().repeat(17)).parse().unwrap()
    }

    fn marker(node_digit: char, instance_digit: char) -> Marker {
        Marker {
            managed_instance_id: node(node_digit),
            ec2_instance_id: instance(instance_digit),
            account: "222222222222".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            registered_at: "2026-11-22T02:00:00Z".parse().unwrap(),
        }
    }

    fn check(registered: Option<char>, marker: Option<Marker>, tag: Option<char>, expected: &Decision) {
        let evidence = Evidence {
            vault: registered.map_or(Vault::Absent, |digit| Vault::Node(node(digit))),
            ..Evidence::default()
        };
        let facts = Facts { evidence, marker, instance: instance('1'), tag: tag.map(|digit| node(digit).to_string()) };
        assert_eq!(decide(&facts), *expected, "{facts:?}");
    }

    #[test]
    fn decisions() {
        let (right, missing) = (MarkerState::Right, MarkerState::Missing);
        check(None, None, None, &Decision::Register);
        // The image was cleared of its registration, but not of the note and the tag.
        check(None, Some(marker('a', '2')), Some('a'), &Decision::Register);
        check(Some('a'), Some(marker('a', '1')), Some('a'), &Decision::Done { node: node('a'), marker: right });
        check(Some('a'), Some(marker('a', '1')), None, &Decision::RepairTag { node: node('a'), marker: right });
        check(Some('a'), Some(marker('a', '1')), Some('b'), &Decision::RepairTag { node: node('a'), marker: right });
        check(Some('a'), None, None, &Decision::RepairTag { node: node('a'), marker: missing });
        check(Some('a'), None, Some('a'), &Decision::Done { node: node('a'), marker: missing });
        // An operator registered anew, here or on the machine that the image was made from and then here.
        check(Some('a'), Some(marker('b', '1')), Some('b'), &Decision::RepairTag { node: node('a'), marker: missing });
        check(Some('a'), Some(marker('b', '2')), None, &Decision::RepairTag { node: node('a'), marker: missing });
        let clone = Decision::Clone { node: node('a'), original: instance('2') };
        check(Some('a'), Some(marker('a', '2')), None, &clone);
        check(Some('a'), Some(marker('a', '2')), Some('a'), &clone);
    }

    fn digit() -> impl Strategy<Value = char> {
        prop_oneof![Just('a'), Just('b')]
    }

    proptest! {
        #[test]
        fn a_registration_is_never_overwritten_and_a_clone_never_tagged(
            cli in prop_oneof![Just(Cli::Silent), Just(Cli::Ec2), digit().prop_map(|d| Cli::Node(node(d)))],
            vault in prop_oneof![
                Just(Vault::Absent), Just(Vault::Cleared), Just(Vault::Unknown), digit().prop_map(|d| Vault::Node(node(d)))
            ],
            file in proptest::option::of(digit().prop_map(node)),
            noted in proptest::option::of((digit(), prop_oneof![Just('1'), Just('2')])),
            tag in proptest::option::of(digit().prop_map(|d| node(d).to_string())),
        ) {
            let evidence = Evidence { cli, vault, file };
            let marker = noted.map(|(node_digit, instance_digit)| marker(node_digit, instance_digit));
            let facts = Facts { evidence: evidence.clone(), marker: marker.clone(), instance: instance('1'), tag };
            match decide(&facts) {
                Decision::Register => {
                    prop_assert!(!matches!(evidence.vault, Vault::Node(_)) && !matches!(evidence.cli, Cli::Node(_)));
                }
                Decision::RepairTag { node, .. } | Decision::Done { node, .. } => {
                    prop_assert_eq!(evidence.registration(), Registration::As(node.clone()));
                    prop_assert!(!marker.is_some_and(|m| m.managed_instance_id == node && m.ec2_instance_id != instance('1')));
                }
                Decision::Clone { original, .. } => prop_assert_ne!(original, instance('1')),
                Decision::Contradiction { answered, kept } => prop_assert_ne!(answered, kept),
            }
        }
    }
}
