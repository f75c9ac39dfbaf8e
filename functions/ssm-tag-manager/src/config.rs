//! The configuration, parsed once at start-up.

use crate::plan::Policy;
use crate::retire::Settings;

/// Everything that the environment decides.
#[derive(Debug)]
pub struct Config {
    /// Which tags are carried over, and how.
    pub policy: Policy,
    /// Whether a node must belong to the agency that reports it.
    pub ownership: OwnershipCheck,
    /// What becomes of nodes whose EC2 instance is gone.
    pub retire: Settings,
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
        let retire = Settings::from_lookup(lookup);
        match (policy, ownership, retire) {
            (Ok(policy), Ok(ownership), Ok(retire)) => Ok(Self { policy, ownership, retire }),
            (policy, ownership, retire) => {
                let policy_problems = policy.err().unwrap_or_default();
                let mut problems: Vec<String> =
                    policy_problems.into_iter().map(|problem| format!("TAG_POLICY: {problem}")).collect();
                problems.extend(ownership.err());
                problems.extend(retire.err().unwrap_or_default());
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
    use crate::retire::Mode;

    fn parse(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_lookup(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn an_empty_environment_is_the_default() {
        let config = parse(&[]).unwrap();
        assert_eq!((config.ownership, config.retire.mode), (OwnershipCheck::Enforce, Mode::Off));
        let config = parse(&[("TAG_POLICY", "{}"), ("OWNERSHIP_CHECK", "off"), ("RETIRE_NODES", "on")]).unwrap();
        assert_eq!((config.ownership, config.retire.mode), (OwnershipCheck::Off, Mode::On));
    }

    #[test]
    fn every_problem_is_listed() {
        let variables = [
            ("TAG_POLICY", r#"{"maxTags": 48, "includes": []}"#),
            ("OWNERSHIP_CHECK", "no"),
            ("RETIRE_NODES", "yes"),
            ("RETIRE_LIMIT", "0"),
        ];
        assert_eq!(
            parse(&variables).unwrap_err().to_string(),
            "the configuration is refused: \
             TAG_POLICY: includes: unknown field, expected one of include, exclude, rename, set, derive, \
             invalidCharacters, maxTags, removeStale, overwrite; \
             TAG_POLICY: maxTags: expected 1 to 47, got 48; \
             OWNERSHIP_CHECK: expected enforce or off, got \"no\"; \
             RETIRE_NODES: expected off, dry-run or on, got \"yes\"; \
             RETIRE_LIMIT: expected 1 to 1000, got \"0\""
        );
    }
}
