//! What to do, decided from what is known. Pure.

use hub::{AccountId, Ec2InstanceId, Region};

use crate::agent_log::Kind;
use crate::evidence::{Evidence, Node, Registration};
use crate::marker::Marker;

/// What is known before anything is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) evidence: Evidence,
    pub(crate) marker: Option<Marker>,
    /// The instance that the metadata service says this is.
    pub(crate) instance: Ec2InstanceId,
}

impl Facts {
    /// True if the note of this tool says in which account the node is.
    pub(crate) fn knows_account(&self, node: &Node) -> bool {
        self.marker.as_ref().is_some_and(|marker| marker.managed_instance_id == node.id && marker.hub_account.is_some())
    }
}

/// The hub that this machine is to be a node of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hub {
    pub(crate) region: Region,
    /// The central account, if it is known.
    pub(crate) account: Option<AccountId>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Not registered.
    Register,
    /// Registered, as far as the disk tells: unless the hub is another, ask the agent, then write the tag.
    Confirm { node: Node, marker: MarkerState },
    /// Registered by another instance, from which this one was made.
    Clone { node: Node, original: Ec2InstanceId },
    /// There may be a registration, and it cannot be read.
    Unreadable,
}

/// Whether another machine uses the node that this one gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    Nobody,
    /// This machine may be a copy, with nothing to say so.
    Perhaps,
    Certainly,
}

impl Others {
    /// Only the note of this tool says that it was this instance that was registered. Not even that counts if the machine
    /// is no longer as it was then: the note may have been made on a copy that passed for the original at first.
    pub(crate) fn of(facts: &Facts, node: &Node, refusal: Option<Kind>) -> Self {
        let is_noted = facts
            .marker
            .as_ref()
            .is_some_and(|marker| marker.managed_instance_id == node.id && marker.ec2_instance_id == facts.instance);
        let is_changed = refusal == Some(Kind::Fingerprint) || facts.evidence.other_machine().is_some();
        if is_noted && !is_changed { Self::Nobody } else { Self::Perhaps }
    }
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
        Registration::Unreadable => return Decision::Unreadable,
        Registration::As(node) => node,
    };
    // A note about another node is older than this registration and says nothing about it.
    let marker = facts.marker.as_ref().filter(|marker| marker.managed_instance_id == node.id);
    if let Some(marker) = marker.filter(|marker| marker.ec2_instance_id != facts.instance) {
        return Decision::Clone { node, original: marker.ec2_instance_id.clone() };
    }
    Decision::Confirm { node, marker: if marker.is_some() { MarkerState::Right } else { MarkerState::Missing } }
}

/// Whether a node is one of another hub. What is not known does not differ.
pub(crate) fn is_foreign(node: &Node, marker: Option<&Marker>, hub: &Hub) -> bool {
    let registered_with = marker.filter(|marker| marker.managed_instance_id == node.id);
    let account = registered_with.and_then(|marker| marker.hub_account.as_ref());
    node.region.as_ref().is_some_and(|region| *region != hub.region)
        || account.zip(hub.account.as_ref()).is_some_and(|(registered, wanted)| registered != wanted)
}

#[cfg(test)]
mod tests {
    use hub::ManagedInstanceId;
    use proptest::prelude::*;

    use super::*;
    use crate::evidence::{Cli, Manifest, Vault};

    fn id(digit: char) -> ManagedInstanceId {
        format!("mi-{}", digit.to_string().repeat(17)).parse().unwrap()
    }

    fn node(digit: char, region: &str) -> Node {
        Node { id: id(digit), region: region.parse().ok() }
    }

    fn instance(digit: char) -> Ec2InstanceId {
        format!("i-{}", digit.to_string().repeat(17)).parse().unwrap()
    }

    fn marker(node_digit: char, instance_digit: char) -> Marker {
        Marker {
            managed_instance_id: id(node_digit),
            ec2_instance_id: instance(instance_digit),
            account: "222222222222".parse().unwrap(),
            region: "us-west-2".parse().unwrap(),
            hub_region: None,
            hub_account: None,
            registered_at: "2026-11-22T02:00:00Z".parse().unwrap(),
        }
    }

    fn check(registered: Option<Node>, marker: Option<Marker>, expected: &Decision) {
        let evidence = Evidence { vault: registered.map_or(Vault::Absent, Vault::Node), ..Evidence::default() };
        let facts = Facts { evidence, marker, instance: instance('1') };
        assert_eq!(decide(&facts), *expected, "{facts:?}");
    }

    #[test]
    fn decisions() {
        let registered = || Some(node('a', "us-east-1"));
        let confirm = |marker| Decision::Confirm { node: node('a', "us-east-1"), marker };
        let (right, missing) = (MarkerState::Right, MarkerState::Missing);
        check(None, None, &Decision::Register);
        // The image was cleared of its registration, but not of the note.
        check(None, Some(marker('a', '2')), &Decision::Register);
        check(registered(), Some(marker('a', '1')), &confirm(right));
        check(registered(), None, &confirm(missing));
        // An operator registered it again, here or on the machine that the image was made from and then here.
        check(registered(), Some(marker('b', '1')), &confirm(missing));
        check(registered(), Some(marker('b', '2')), &confirm(missing));
        let clone = Decision::Clone { node: node('a', "us-east-1"), original: instance('2') };
        check(registered(), Some(marker('a', '2')), &clone);
    }

    #[test]
    fn a_node_of_another_hub() {
        let account = |digit: char| digit.to_string().repeat(12).parse::<AccountId>().ok();
        let noted = |digit| Some(Marker { hub_account: account(digit), ..marker('a', '1') });
        let of_other_node = Some(Marker { hub_account: account('8'), ..marker('b', '1') });
        for (region, marker, hub_account, expected) in [
            ("us-east-1", None, None, false),
            ("eu-west-1", None, None, true),
            // A vault without a Region that can be read: the agent has to say which.
            ("mars", None, account('9'), false),
            ("us-east-1", noted('9'), account('9'), false),
            ("us-east-1", noted('8'), account('9'), true),
            ("us-east-1", noted('8'), None, false),
            ("us-east-1", of_other_node, account('9'), false),
        ] {
            let hub = Hub { region: "us-east-1".parse().unwrap(), account: hub_account };
            assert_eq!(is_foreign(&node('a', region), marker.as_ref(), &hub), expected, "{region} {marker:?} {hub:?}");
        }
    }

    fn digit() -> impl Strategy<Value = char> {
        prop_oneof![Just('a'), Just('b')]
    }

    fn any_node() -> impl Strategy<Value = Node> {
        (digit(), prop_oneof![Just("us-east-1"), Just("eu-west-1"), Just("mars")])
            .prop_map(|(digit, region)| node(digit, region))
    }

    proptest! {
        #[test]
        fn a_registration_is_never_overwritten_and_no_clone_is_confirmed(
            cli in prop_oneof![
                Just(Cli::Missing), Just(Cli::Silent(String::new())), Just(Cli::Ec2), any_node().prop_map(Cli::Node)
            ],
            vault in prop_oneof![
                Just(Vault::Absent), Just(Vault::Cleared), Just(Vault::Unreadable), any_node().prop_map(Vault::Node)
            ],
            manifest in prop_oneof![
                Just(Manifest::Absent), Just(Manifest::Unreadable), Just(Manifest::WithRegistration)
            ],
            file in proptest::option::of(any_node()),
            noted in proptest::option::of((digit(), prop_oneof![Just('1'), Just('2')])),
        ) {
            let evidence = Evidence { cli, vault, manifest, file, ..Evidence::default() };
            let marker = noted.map(|(node_digit, instance_digit)| marker(node_digit, instance_digit));
            let facts = Facts { evidence: evidence.clone(), marker: marker.clone(), instance: instance('1') };
            match decide(&facts) {
                Decision::Register => {
                    prop_assert!(!matches!(evidence.vault, Vault::Node(_) | Vault::Unreadable));
                    prop_assert!(!matches!(evidence.cli, Cli::Node(_)));
                }
                Decision::Confirm { node, .. } => {
                    prop_assert_eq!(evidence.registration(), Registration::As(node.clone()));
                    let is_clone =
                        marker.is_some_and(|m| m.managed_instance_id == node.id && m.ec2_instance_id != instance('1'));
                    prop_assert!(!is_clone);
                }
                Decision::Clone { original, .. } => prop_assert_ne!(original, instance('1')),
                Decision::Unreadable => prop_assert_eq!(evidence.vault, Vault::Unreadable),
            }
        }
    }
}
