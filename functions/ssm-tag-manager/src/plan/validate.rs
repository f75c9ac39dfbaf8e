//! Sorting a report's instances into those that can be looked at and those that cannot. Pure.

use std::collections::BTreeMap;

use hub::{Ec2InstanceId, Instance, ManagedInstanceId, Rejection};

/// An instance whose ids are sound and whose node no other instance of the report names.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) node: ManagedInstanceId,
    pub(crate) instance: &'a Instance,
}

/// The instances of a report, sorted.
#[derive(Debug)]
pub(crate) struct Validated<'a> {
    pub(crate) candidates: Vec<Candidate<'a>>,
    pub(crate) rejected: Vec<(&'a Instance, Rejection)>,
    /// Word-for-word repetitions of a candidate: it speaks for them.
    pub(crate) repeated_count: usize,
}

/// Sorts. Two different instances that name one node are both a conflict: which of them carries the identity
/// of the other, nobody here can tell.
pub(crate) fn validate(instances: &[Instance]) -> Validated<'_> {
    let mut rejected = Vec::new();
    let mut by_node: BTreeMap<ManagedInstanceId, Vec<&Instance>> = BTreeMap::new();
    for instance in instances {
        let is_ec2_id_sound = instance.ec2_instance_id.as_ref().is_none_or(|id| id.parse::<Ec2InstanceId>().is_ok());
        match instance.instance_id.parse() {
            Ok(node) if is_ec2_id_sound => by_node.entry(node).or_default().push(instance),
            _ => rejected.push((instance, Rejection::InvalidId)),
        }
    }
    let mut candidates = Vec::with_capacity(by_node.len());
    let mut repeated_count = 0;
    for (node, named_by) in by_node {
        let Some((first, others)) = named_by.split_first() else { continue };
        if others.iter().all(|other| is_repetition(first, other)) {
            repeated_count += others.len();
            candidates.push(Candidate { node, instance: first });
        } else {
            rejected.extend(named_by.into_iter().map(|instance| (instance, Rejection::Conflict)));
        }
    }
    Validated { candidates, rejected, repeated_count }
}

fn is_repetition(first: &Instance, other: &Instance) -> bool {
    let sorted = |instance: &Instance| {
        let mut tags = instance.tags.clone();
        tags.sort();
        tags
    };
    first.ec2_instance_id == other.ec2_instance_id && sorted(first) == sorted(other)
}

#[cfg(test)]
mod tests {
    use hub::Tag;

    use super::*;

    fn instance(node: &str, ec2: Option<&str>, tags: &[(&str, &str)]) -> Instance {
        Instance {
            instance_id: node.to_owned(),
            ec2_instance_id: ec2.map(str::to_owned),
            tags: tags.iter().map(|(key, value)| Tag { key: (*key).into(), value: (*value).into() }).collect(),
        }
    }

    const NODE: &str = "mi-0123456789abcdef0";

    fn check(instances: &[Instance], candidates: usize, rejected: &[Rejection], repeated: usize) {
        let validated = validate(instances);
        assert_eq!(validated.candidates.len(), candidates);
        assert_eq!(validated.rejected.iter().map(|(_, reason)| *reason).collect::<Vec<_>>(), rejected);
        assert_eq!(validated.repeated_count, repeated);
    }

    #[test]
    fn bad_ids_spoil_only_themselves() {
        check(
            &[
                instance("mi-0123456789ABCDEF0", None, &[]),
                instance("i-0abcdef0123456789", None, &[]),
                instance("mi-00000000000000001", Some("x"), &[]),
                instance(NODE, Some("i-0abcdef0123456789"), &[]),
            ],
            1,
            &[Rejection::InvalidId; 3],
            0,
        );
    }

    #[test]
    fn two_instances_with_one_node_are_both_a_conflict() {
        let one = instance(NODE, Some("i-0abcdef0123456789"), &[("a", "1")]);
        let two = instance(NODE, Some("i-0abcdef0123456780"), &[("a", "1")]);
        check(&[one.clone(), two.clone()], 0, &[Rejection::Conflict; 2], 0);
        check(&[two, one], 0, &[Rejection::Conflict; 2], 0);
    }

    #[test]
    fn a_repetition_is_no_conflict() {
        let one = instance(NODE, Some("i-0abcdef0123456789"), &[("a", "1"), ("b", "2")]);
        let two = instance(NODE, Some("i-0abcdef0123456789"), &[("b", "2"), ("a", "1")]);
        let changed = instance(NODE, Some("i-0abcdef0123456789"), &[("a", "2")]);
        check(&[one.clone(), two], 1, &[], 1);
        check(&[one, changed], 0, &[Rejection::Conflict; 2], 0);
    }
}
