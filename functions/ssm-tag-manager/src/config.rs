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
    /// The DynamoDB table of leases.
    pub lease_table: String,
    /// How many invocations may write many nodes at the same time, 1 to 8.
    pub bulk_writers: u8,
}

const DEFAULT_LEASE_TABLE: &str = "tag-hub-leases";
const DEFAULT_BULK_WRITERS: u8 = 2;
const BULK_WRITERS: std::ops::RangeInclusive<u8> = 1..=8;

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
        let lease_table = parse_lease_table(lookup("LEASE_TABLE").as_deref());
        let bulk_writers = parse_bulk_writers(lookup("BULK_WRITERS").as_deref());
        let retire = Settings::from_lookup(lookup);
        match (policy, ownership, lease_table, bulk_writers, retire) {
            (Ok(policy), Ok(ownership), Ok(lease_table), Ok(bulk_writers), Ok(retire)) => {
                Ok(Self { policy, ownership, retire, lease_table, bulk_writers })
            }
            (policy, ownership, lease_table, bulk_writers, retire) => {
                let policy_problems = policy.err().unwrap_or_default();
                let mut problems: Vec<String> =
                    policy_problems.into_iter().map(|problem| format!("TAG_POLICY: {problem}")).collect();
                problems.extend(ownership.err());
                problems.extend(lease_table.err());
                problems.extend(bulk_writers.err());
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

/// Names of DynamoDB tables:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html>.
fn parse_lease_table(value: Option<&str>) -> Result<String, String> {
    let name = value.unwrap_or(DEFAULT_LEASE_TABLE);
    let is_name = (3..=255).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if is_name { Ok(name.to_owned()) } else { Err(format!("LEASE_TABLE: expected the name of a table, got {name:?}")) }
}

fn parse_bulk_writers(value: Option<&str>) -> Result<u8, String> {
    let Some(text) = value else { return Ok(DEFAULT_BULK_WRITERS) };
    text.parse().ok().filter(|count| BULK_WRITERS.contains(count)).ok_or_else(|| {
        format!("BULK_WRITERS: expected {} to {}, got {text:?}", BULK_WRITERS.start(), BULK_WRITERS.end())
    })
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
        assert_eq!((config.lease_table.as_str(), config.bulk_writers), ("tag-hub-leases", 2));
        let config = parse(&[("TAG_POLICY", "{}"), ("OWNERSHIP_CHECK", "off"), ("RETIRE_NODES", "on")]).unwrap();
        assert_eq!((config.ownership, config.retire.mode), (OwnershipCheck::Off, Mode::On));
    }

    #[test]
    fn every_problem_is_listed() {
        let variables = [
            ("TAG_POLICY", r#"{"maxTags": 48, "includes": []}"#),
            ("OWNERSHIP_CHECK", "no"),
            ("LEASE_TABLE", "a b"),
            ("BULK_WRITERS", "9"),
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
             LEASE_TABLE: expected the name of a table, got \"a b\"; \
             BULK_WRITERS: expected 1 to 8, got \"9\"; \
             RETIRE_NODES: expected off, dry-run or on, got \"yes\"; \
             RETIRE_LIMIT: expected 1 to 1000, got \"0\""
        );
    }
}
