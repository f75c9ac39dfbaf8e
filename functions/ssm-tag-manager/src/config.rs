//! The configuration, parsed once at start-up.

use crate::plan::Policy;

/// Everything that the environment decides.
#[derive(Debug)]
pub struct Config {
    /// Which tags are carried over, and how.
    pub policy: Policy,
    /// Whether a node must belong to the agency that reports it.
    pub ownership: OwnershipCheck,
}

/// Whether the tag `tag-hub:agency` decides who may change a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnershipCheck {
    /// A node may only be changed through the alias of the agency that its tag names.
    Enforce,
    /// Any caller may change any node: for one activation shared by all agencies.
    Off,
}

/// What is wrong with the configuration: every problem, not just the first.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is refused: {}", .0.join("; "))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Reads the configuration through a lookup of environment variables.
    ///
    /// # Errors
    /// Lists all problems at once.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let policy = Policy::parse(lookup("TAG_POLICY").as_deref().unwrap_or("{}"));
        let ownership = parse_ownership(lookup("OWNERSHIP_CHECK").as_deref());
        match (policy, ownership) {
            (Ok(policy), Ok(ownership)) => Ok(Self { policy, ownership }),
            (policy, ownership) => {
                let policy_problems = policy.err().unwrap_or_default();
                let mut problems: Vec<String> =
                    policy_problems.into_iter().map(|problem| format!("TAG_POLICY: {problem}")).collect();
                problems.extend(ownership.err());
                Err(ConfigError(problems))
            }
        }
    }
}

fn parse_ownership(value: Option<&str>) -> Result<OwnershipCheck, String> {
    match value {
        None | Some("enforce") => Ok(OwnershipCheck::Enforce),
        Some("off") => Ok(OwnershipCheck::Off),
        Some(other) => Err(format!("OWNERSHIP_CHECK: expected enforce or off, got {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(policy: Option<&str>, ownership: Option<&str>) -> Result<Config, ConfigError> {
        Config::from_lookup(|name| match name {
            "TAG_POLICY" => policy.map(str::to_owned),
            "OWNERSHIP_CHECK" => ownership.map(str::to_owned),
            other => panic!("read {other}"),
        })
    }

    #[test]
    fn an_empty_environment_is_the_default() {
        assert_eq!(parse(None, None).unwrap().ownership, OwnershipCheck::Enforce);
        assert_eq!(parse(Some("{}"), Some("off")).unwrap().ownership, OwnershipCheck::Off);
    }

    #[test]
    fn every_problem_is_listed() {
        let error = parse(Some(r#"{"maxTags": 48, "includes": []}"#), Some("no")).unwrap_err().to_string();
        assert_eq!(
            error,
            "the configuration is refused: \
             TAG_POLICY: includes: unknown field, expected one of include, exclude, rename, set, derive, \
             invalidCharacters, maxTags, removeStale, overwrite; \
             TAG_POLICY: maxTags: expected 1 to 47, got 48; \
             OWNERSHIP_CHECK: expected enforce or off, got \"no\""
        );
    }
}
