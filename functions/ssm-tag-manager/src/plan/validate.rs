//! Sorting a report's instances into those that can be looked at and those that cannot. Pure.

use std::collections::BTreeMap;

use hub::{Ec2InstanceId, Instance, ManagedInstanceId};

/// An instance whose ids are sound.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) node: ManagedInstanceId,
    pub(crate) instance: &'a Instance,
    /// Other instances of the report that name the same node: which of them carries the identity of the other, nobody
    /// here can tell.
    pub(crate) rivals: Vec<&'a Instance>,
}

/// The instances of a report, sorted.
#[derive(Debug)]
pub(crate) struct Validated<'a> {
    /// Whose node no other instance of the report names.
    pub(crate) candidates: Vec<Candidate<'a>>,
    /// Whose node others name, too.
    pub(crate) contested: Vec<Candidate<'a>>,
    /// Whose ids are malformed.
    pub(crate) invalid: Vec<&'a Instance>,
    /// Word-for-word repetitions of a candidate: it speaks for them.
    pub(crate) repeated_count: usize,
}

/// Sorts.
pub(crate) fn validate(instances: &[Instance]) -> Validated<'_> {
    let mut validated =
        Validated { candidates: Vec::new(), contested: Vec::new(), invalid: Vec::new(), repeated_count: 0 };
    let mut by_node: BTreeMap<ManagedInstanceId, Vec<&Instance>> = BTreeMap::new();
    for instance in instances {
        let is_ec2_id_sound = instance.ec2_instance_id.as_ref().is_none_or(|id| id.parse::<Ec2InstanceId>().is_ok());
        match instance.instance_id.parse() {
            Ok(node) if is_ec2_id_sound => by_node.entry(node).or_default().push(instance),
            _ => validated.invalid.push(instance),
        }
    }
    for (node, named_by) in by_node {
        let Some((first, others)) = named_by.split_first() else { continue };
        if others.iter().all(|other| is_repetition(first, other)) {
            validated.repeated_count += others.len();
            validated.candidates.push(Candidate { node, instance: first, rivals: Vec::new() });
        } else {
            validated.contested.push(Candidate { node, instance: first, rivals: others.to_vec() });
        }
    }
    validated
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

    /// Candidates, contested instances, invalid ones, and repetitions.
    fn check(instances: &[Instance], expected: [usize; 4]) {
        let Validated { candidates, contested, invalid, repeated_count } = validate(instances);
        let contested = contested.iter().map(|candidate| 1 + candidate.rivals.len()).sum();
        assert_eq!([candidates.len(), contested, invalid.len(), repeated_count], expected);
    }

    #[test]
    fn bad_ids_spoil_only_themselves() {
        let instances = [
            instance("mi-0123456789ABCDEF0", None, &[]),
            instance("i-0abcdef0123456789", None, &[]),
            instance("mi-00000000000000001", Some("x"), &[]),
            instance(NODE, Some("i-0abcdef0123456789"), &[]),
        ];
        check(&instances, [1, 0, 3, 0]);
    }

    #[test]
    fn two_instances_with_one_node_are_both_contested() {
        let one = instance(NODE, Some("i-0abcdef0123456789"), &[("a", "1")]);
        let two = instance(NODE, Some("i-0abcdef0123456780"), &[("a", "1")]);
        check(&[one.clone(), two.clone()], [0, 2, 0, 0]);
        check(&[two, one], [0, 2, 0, 0]);
    }

    #[test]
    fn a_repetition_is_not_contested() {
        let one = instance(NODE, Some("i-0abcdef0123456789"), &[("a", "1"), ("b", "2")]);
        let two = instance(NODE, Some("i-0abcdef0123456789"), &[("b", "2"), ("a", "1")]);
        let changed = instance(NODE, Some("i-0abcdef0123456789"), &[("a", "2")]);
        check(&[one.clone(), two], [1, 0, 0, 1]);
        check(&[one, changed], [0, 2, 0, 0]);
    }
}
