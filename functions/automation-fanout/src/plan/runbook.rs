//! A runbook as the service describes it.

use super::request::ASSUME_ROLE_PARAMETER;

/// Words in the names of parameters that take what a run works on.
const RESOURCE_WORDS: [&str; 9] =
    ["instance", "node", "machine", "host", "target", "resource", "volume", "cluster", "database"];
/// What may follow such a word. `InstanceType` or `TargetRegion` name no resource.
const RESOURCE_ENDS: [&str; 9] = ["", "s", "id", "ids", "identifier", "identifiers", "arn", "arns", "name"];

/// What is known about a runbook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runbook {
    /// Its name, as it was asked for.
    pub name: String,
    /// What it takes.
    pub parameters: Vec<Parameter>,
    /// `Automation`, or what it is instead.
    pub document_type: Option<String>,
    /// How many steps it has, where its content could be read.
    pub steps: Option<usize>,
}

/// A parameter of a runbook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Whether it may be left out.
    pub has_default: bool,
}

impl Runbook {
    /// Whether it has this parameter.
    pub fn declares(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| parameter.name == name)
    }

    /// The parameters that take what a run works on, by their names: the service does not tell.
    pub fn target_parameters(&self) -> Vec<&str> {
        let names = self.parameters.iter().map(|parameter| parameter.name.as_str());
        names.filter(|name| *name != ASSUME_ROLE_PARAMETER && takes_targets(name)).collect()
    }

    /// Parameters that seem to take a role, other than the one that is filled in.
    pub fn role_parameters(&self) -> Vec<&str> {
        let names = self.parameters.iter().map(|parameter| parameter.name.as_str());
        names.filter(|name| *name != ASSUME_ROLE_PARAMETER && name.to_lowercase().contains("assumerole")).collect()
    }
}

/// Whether a parameter seems to take what a run works on.
pub(super) fn takes_targets(name: &str) -> bool {
    let lower = name.to_lowercase();
    RESOURCE_WORDS
        .iter()
        .any(|word| lower.rfind(word).is_some_and(|at| RESOURCE_ENDS.contains(&&lower[at + word.len()..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_take_targets_are_known_by_their_names() {
        for name in ["InstanceId", "InstanceIds", "instanceId", "TargetInstances", "VolumeId", "DbInstanceIdentifier"] {
            assert!(takes_targets(name), "{name}");
        }
        for name in ["InstanceType", "TagKey", "TagValues", "Operation", "TargetRegion", "NoReboot", "Comment", ""] {
            assert!(!takes_targets(name), "{name}");
        }
    }
}
