//! The configuration, parsed once at start-up.

use lambda_kit::{ConfigError, Reader};

use crate::plan::Policy;
use crate::retire::Settings;

const TAG_POLICY: &str = "TAG_POLICY";
const OWNERSHIP_CHECK: &str = "OWNERSHIP_CHECK";

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

impl Config {
    /// Reads the configuration through a lookup of environment variables.
    ///
    /// # Errors
    /// Lists all problems at once.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut read = Reader::new(lookup);
        let policy = Policy::parse(read.value(TAG_POLICY).as_deref().unwrap_or("{}"));
        let policy = policy.map_err(|problems| problems.iter().for_each(|problem| read.problem(TAG_POLICY, problem)));
        let ownership =
            read.word(OWNERSHIP_CHECK, &[("enforce", OwnershipCheck::Enforce), ("off", OwnershipCheck::Off)]);
        let retire = Settings::read(&mut read);
        read.finish(|| Some(Self { policy: policy.ok()?, ownership: ownership?, retire: retire? }))
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
            "invalid configuration: \
             TAG_POLICY: includes: unknown field, expected one of include, exclude, rename, set, derive, \
             invalidCharacters, maxTags, removeStale, overwrite; \
             TAG_POLICY: maxTags: expected 1 to 47, got 48; \
             OWNERSHIP_CHECK: expected enforce or off, got \"no\"; \
             RETIRE_NODES: expected off, dry-run or on, got \"yes\"; \
             RETIRE_LIMIT: expected a number from 1 to 1000, got \"0\""
        );
    }
}
