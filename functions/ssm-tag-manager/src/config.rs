//! The configuration, parsed once at start-up.

mod retirement;

use std::collections::BTreeSet;

use lambda_kit::{ConfigError, Reader};

pub use self::retirement::{Mode, Settings};
use crate::plan::Policy;

const TAG_POLICY: &str = "TAG_POLICY";
const POLICY_PARAMETERS: &str = "POLICY_PARAMETERS";
const COVERAGE_PARAMETERS: &str = "COVERAGE_PARAMETERS";
const POLICY_HOLD_PERCENT: &str = "POLICY_HOLD_PERCENT";
const HOLD_PERCENT: std::ops::RangeInclusive<u8> = 0..=100;
const DEFAULT_HOLD_PERCENT: u8 = 5;
const APPROVED_POLICIES: &str = "APPROVED_POLICIES";
const OWNERSHIP_CHECK: &str = "OWNERSHIP_CHECK";
const LEASE_TABLE: &str = "LEASE_TABLE";
const DEFAULT_LEASE_TABLE: &str = "tag-hub-leases";
const BULK_WRITERS: std::ops::RangeInclusive<u8> = 1..=8;
const DEFAULT_BULK_WRITERS: u8 = 2;

/// Everything that the environment decides.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the names of this hub begin with.
    pub name_prefix: String,
    /// Which tags are carried over, and how.
    pub policy: Policy,
    /// Where in Parameter Store there may be other policies, such as `/tag-hub/policy`.
    pub policy_parameters: Option<String>,
    /// Where in Parameter Store the coverage of agencies is kept, such as `/tag-hub/coverage`.
    pub coverage_parameters: Option<String>,
    /// What percentage of the hub's tags on a report's nodes a policy may take away without an approval, 0 to 100.
    pub policy_hold_percent: u8,
    /// The digests of the policies that an operator approved.
    pub approved_policies: BTreeSet<String>,
    /// Whether a node must belong to the agency that reports it.
    pub ownership: OwnershipCheck,
    /// What becomes of nodes whose EC2 instance is gone.
    pub retire: Settings,
    /// The DynamoDB table of leases.
    pub lease_table: String,
    /// How many invocations may write many nodes at the same time, 1 to 8.
    pub bulk_writers: u8,
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
        let name_prefix = read.name_prefix();
        let policy = Policy::parse(read.value(TAG_POLICY).as_deref().unwrap_or("{}"));
        let policy = policy.map_err(|problems| problems.iter().for_each(|problem| read.problem(TAG_POLICY, problem)));
        let mut path = |name: &str, example: &str| {
            let value = read.value(name);
            if let Some(path) = value.as_ref().filter(|path| !is_path(path)) {
                read.problem(name, format_args!("expected a path such as {example}, got {path:?}"));
            }
            value
        };
        let policy_parameters = path(POLICY_PARAMETERS, "/tag-hub/policy");
        let coverage_parameters = path(COVERAGE_PARAMETERS, "/tag-hub/coverage");
        let policy_hold_percent = read.number(POLICY_HOLD_PERCENT, HOLD_PERCENT, DEFAULT_HOLD_PERCENT);
        let approved = read.value(APPROVED_POLICIES).unwrap_or_default();
        let approved_policies: BTreeSet<String> =
            approved.split(',').filter(|digest| !digest.is_empty()).map(str::to_owned).collect();
        for digest in approved_policies.iter().filter(|digest| !is_digest(digest)) {
            read.problem(APPROVED_POLICIES, format_args!("expected digests of 12 hexadecimal digits, got {digest:?}"));
        }
        let ownership =
            read.word(OWNERSHIP_CHECK, &[("enforce", OwnershipCheck::Enforce), ("off", OwnershipCheck::Off)]);
        let lease_table = read.value(LEASE_TABLE).unwrap_or_else(|| DEFAULT_LEASE_TABLE.to_owned());
        if !is_table_name(&lease_table) {
            read.problem(LEASE_TABLE, format_args!("expected the name of a table, got {lease_table:?}"));
        }
        let bulk_writers = read.number("BULK_WRITERS", BULK_WRITERS, DEFAULT_BULK_WRITERS);
        let retire = Settings::read(&mut read);
        read.finish(|| {
            Some(Self {
                name_prefix: name_prefix?,
                policy: policy.ok()?,
                policy_parameters,
                coverage_parameters,
                policy_hold_percent: policy_hold_percent?,
                approved_policies,
                ownership: ownership?,
                retire: retire?,
                lease_table,
                bulk_writers: bulk_writers?,
            })
        })
    }
}

/// As `taghub policy diff` prints it.
fn is_digest(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Names of parameters: <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html>.
fn is_path(path: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_part))
}

/// Names of DynamoDB tables:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html>.
fn is_table_name(name: &str) -> bool {
    (3..=255).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("POLICY_PARAMETERS", "tag-hub/"),
            ("COVERAGE_PARAMETERS", "/"),
            ("POLICY_HOLD_PERCENT", "101"),
            ("APPROVED_POLICIES", "0123456789ab,0123456789AB"),
            ("OWNERSHIP_CHECK", "no"),
            ("LEASE_TABLE", "a b"),
            ("BULK_WRITERS", "9"),
            ("RETIRE_NODES", "yes"),
            ("RETIRE_LIMIT", "0"),
        ];
        assert_eq!(
            parse(&variables).unwrap_err().to_string(),
            "invalid configuration: \
             TAG_POLICY: includes: unknown field, expected one of include, exclude, rename, set, derive, \
             invalidCharacters, maxTags, removeStale, overwrite; \
             TAG_POLICY: maxTags: expected 1 to 47, got 48; \
             POLICY_PARAMETERS: expected a path such as /tag-hub/policy, got \"tag-hub/\"; \
             COVERAGE_PARAMETERS: expected a path such as /tag-hub/coverage, got \"/\"; \
             POLICY_HOLD_PERCENT: expected a number from 0 to 100, got \"101\"; \
             APPROVED_POLICIES: expected digests of 12 hexadecimal digits, got \"0123456789AB\"; \
             OWNERSHIP_CHECK: expected enforce or off, got \"no\"; \
             LEASE_TABLE: expected the name of a table, got \"a b\"; \
             BULK_WRITERS: expected a number from 1 to 8, got \"9\"; \
             RETIRE_NODES: expected off, dry-run or on, got \"yes\"; \
             RETIRE_LIMIT: expected a number from 1 to 1000, got \"0\""
        );
    }
}
