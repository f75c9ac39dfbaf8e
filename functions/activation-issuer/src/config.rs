//! The configuration, read from environment variables.

use hub::Region;
use lambda_kit::{ConfigError, Reader, text};

const MANAGER_FUNCTION_NAME: &str = "MANAGER_FUNCTION_NAME";
const WRITER_ROLE_NAME: &str = "WRITER_ROLE_NAME";
const NODE_ROLE: &str = "NODE_ROLE";
const PARAMETER_NAME: &str = "PARAMETER_NAME";
const PARAMETER_REGIONS: &str = "PARAMETER_REGIONS";
const REGISTRATION_LIMIT: &str = "REGISTRATION_LIMIT";
const VALID_DAYS: &str = "VALID_DAYS";
const RENEW_BEFORE_DAYS: &str = "RENEW_BEFORE_DAYS";
const RENEW_BELOW: &str = "RENEW_BELOW";
const RENEWALS_PER_DAY: &str = "RENEWALS_PER_DAY";
const AGENCY_NODE_LIMIT: &str = "AGENCY_NODE_LIMIT";
const NODE_LIMIT: &str = "NODE_LIMIT";
const AWS_REGION: &str = "AWS_REGION";

/// More nodes than any account has: a limit is there to be a number that somebody chose.
const NODES_MAX: u32 = 100_000;

/// What the function is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What the names of this hub begin with. Its activations carry it too, because two hubs may share an account.
    pub name_prefix: String,
    /// The manager, whose aliases say which agencies there are.
    pub manager_function_name: String,
    /// The role in each agency that may write the parameter.
    pub writer_role_name: String,
    /// The service role of the managed nodes, by name and not by ARN, as `CreateActivation` takes it.
    pub node_role: String,
    /// The parameter in each agency.
    pub parameter_name: String,
    /// The Regions that hold the parameter: at least one, none twice.
    pub parameter_regions: Vec<Region>,
    /// The function's own Region, where the nodes register.
    pub region: Region,
    /// How many nodes one activation registers.
    pub registration_limit: u32,
    /// How long one activation lives.
    pub valid_days: u32,
    /// With less time left than this, an activation is renewed.
    pub renew_before_days: u32,
    /// With fewer registrations left than this, an activation is renewed.
    pub renew_below: u32,
    /// How many activations are made for one agency in 24 hours.
    pub renewals_per_day: u32,
    /// How many nodes one agency may have.
    pub agency_node_limit: u32,
    /// How many hybrid nodes the account may have.
    pub node_limit: u32,
}

impl Config {
    /// Reads the configuration through `lookup`, which gives the value of an environment variable.
    ///
    /// # Errors
    /// Lists all problems at once, each with its variable, what was expected and what came.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut read = Reader::new(lookup);
        let region: Option<Region> =
            read.required(AWS_REGION, "a Region code such as us-east-1", |value| value.parse().ok());
        let name_prefix = read.name_prefix();
        let manager_function_name =
            read.required(MANAGER_FUNCTION_NAME, "the name of a function", text(is_function_name));
        let writer_role_name =
            read.required(WRITER_ROLE_NAME, "the name of a role, without a path", text(is_role_name));
        let node_role = read.required(NODE_ROLE, "the name of a role, not an ARN", text(is_role_name_with_path));
        let parameter_name =
            read.required(PARAMETER_NAME, "the name of a parameter, such as /a/b", text(is_parameter_name));
        let parameter_regions = read.list(PARAMETER_REGIONS).or_else(|| region.clone().map(|region| vec![region]));
        let registration_limit = read.number(REGISTRATION_LIMIT, 1..=1000, 100);
        let valid_days = read.number(VALID_DAYS, 2..=30, 30);
        let renew_before_days = read.number(RENEW_BEFORE_DAYS, 1..=29, 7);
        let renew_below = read.number(RENEW_BELOW, 1..=1000, 20);
        let renewals_per_day = read.number(RENEWALS_PER_DAY, 1..=100, 24);
        let agency_node_limit = read.number(AGENCY_NODE_LIMIT, 1..=NODES_MAX, 1000);
        let node_limit = read.number(NODE_LIMIT, 1..=NODES_MAX, 1000);
        // What is new has to be good, or every run would make another one.
        if let (Some(before), Some(valid)) = (renew_before_days, valid_days)
            && before >= valid
        {
            read.problem(RENEW_BEFORE_DAYS, format_args!("expected less than {VALID_DAYS} ({valid}), got {before}"));
        }
        if let (Some(below), Some(limit)) = (renew_below, registration_limit)
            && below > limit
        {
            read.problem(RENEW_BELOW, format_args!("expected at most {REGISTRATION_LIMIT} ({limit}), got {below}"));
        }
        read.finish(|| {
            Some(Self {
                name_prefix: name_prefix?,
                manager_function_name: manager_function_name?,
                writer_role_name: writer_role_name?,
                node_role: node_role?,
                parameter_name: parameter_name?,
                parameter_regions: parameter_regions?,
                region: region?,
                registration_limit: registration_limit?,
                valid_days: valid_days?,
                renew_before_days: renew_before_days?,
                renew_below: renew_below?,
                renewals_per_day: renewals_per_day?,
                agency_node_limit: agency_node_limit?,
                node_limit: node_limit?,
            })
        })
    }
}

fn is_function_name(value: &str) -> bool {
    value.len() <= 64 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html>
fn is_role_name(value: &str) -> bool {
    value.len() <= 64 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte))
}

/// `CreateActivation` takes 64 characters, path and all, and refuses an ARN.
fn is_role_name_with_path(value: &str) -> bool {
    value.len() <= 64 && value.split('/').all(|part| !part.is_empty() && is_role_name(part))
}

/// A name with a path: an ARN would be one of another account, where nothing can be written.
fn is_parameter_name(value: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    value.strip_prefix('/').is_some_and(|path| path.split('/').all(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: [(&str, &str); 5] = [
        (MANAGER_FUNCTION_NAME, "ssm-tag-manager"),
        (WRITER_ROLE_NAME, "TagHubActivationWriter"),
        (NODE_ROLE, "tag-hub-managed-node"),
        (PARAMETER_NAME, "/tag-hub/activation"),
        (AWS_REGION, "us-east-1"),
    ];

    /// The required variables, with these instead or beside them.
    fn parse(variables: &[(&str, &str)]) -> Result<Config, String> {
        let lookup = |name: &str| {
            let mut all = variables.iter().chain(&REQUIRED);
            all.find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Config::from_lookup(lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_required_is_enough() {
        let expected = Config {
            name_prefix: String::new(),
            manager_function_name: "ssm-tag-manager".to_owned(),
            writer_role_name: "TagHubActivationWriter".to_owned(),
            node_role: "tag-hub-managed-node".to_owned(),
            parameter_name: "/tag-hub/activation".to_owned(),
            parameter_regions: vec!["us-east-1".parse().unwrap()],
            region: "us-east-1".parse().unwrap(),
            registration_limit: 100,
            valid_days: 30,
            renew_before_days: 7,
            renew_below: 20,
            renewals_per_day: 24,
            agency_node_limit: 1000,
            node_limit: 1000,
        };
        assert_eq!(parse(&[]), Ok(expected));
    }

    #[test]
    fn regions_are_trimmed_and_kept_once_in_their_order() {
        let config = parse(&[(PARAMETER_REGIONS, " us-west-2,us-east-1 , us-west-2")]).unwrap();
        let regions: Vec<&str> = config.parameter_regions.iter().map(Region::as_str).collect();
        assert_eq!(regions, ["us-west-2", "us-east-1"]);
    }

    #[test]
    fn a_role_may_have_a_path_where_nodes_take_it() {
        assert_eq!(parse(&[(NODE_ROLE, "service-role/Node")]).unwrap().node_role, "service-role/Node");
    }

    #[test]
    fn what_is_new_has_to_be_good() {
        assert!(parse(&[(VALID_DAYS, "8")]).is_ok());
        assert!(parse(&[(REGISTRATION_LIMIT, "20")]).is_ok());
        let error = parse(&[(VALID_DAYS, "7"), (REGISTRATION_LIMIT, "19")]).unwrap_err();
        insta::assert_snapshot!(error.replace("; ", "\n"), @r"
        invalid configuration: RENEW_BEFORE_DAYS: expected less than VALID_DAYS (7), got 7
        RENEW_BELOW: expected at most REGISTRATION_LIMIT (19), got 20
        ");
    }

    #[test]
    fn a_prefix_is_short_and_ends_with_a_hyphen() {
        assert_eq!(parse(&[("NAME_PREFIX", "test-")]).unwrap().name_prefix, "test-");
        for bad in ["test", "-", "Test-", "1-", "a_b-", "a23456789012345--"] {
            let told = parse(&[("NAME_PREFIX", bad)]).unwrap_err();
            assert!(told.contains("NAME_PREFIX: expected a prefix of at most 16 characters"), "{bad}: {told}");
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let error = parse(&[
            (MANAGER_FUNCTION_NAME, "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager"),
            (WRITER_ROLE_NAME, "path/TagHubActivationWriter"),
            (NODE_ROLE, "arn:aws:iam::111111111111:role/tag-hub-managed-node"),
            (PARAMETER_NAME, "tag-hub"),
            (PARAMETER_REGIONS, "us-east-1,mars"),
            (REGISTRATION_LIMIT, "1001"),
            (VALID_DAYS, "31"),
            (RENEW_BEFORE_DAYS, "0"),
            (RENEW_BELOW, "-1"),
            (RENEWALS_PER_DAY, "0"),
            (AGENCY_NODE_LIMIT, "none"),
            (NODE_LIMIT, "100001"),
            (AWS_REGION, "here"),
        ])
        .unwrap_err();
        insta::assert_snapshot!(error.replace("; ", "\n"), @r#"
        invalid configuration: AWS_REGION: expected a Region code such as us-east-1, got "here"
        MANAGER_FUNCTION_NAME: expected the name of a function, got "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager"
        WRITER_ROLE_NAME: expected the name of a role, without a path, got "path/TagHubActivationWriter"
        NODE_ROLE: expected the name of a role, not an ARN, got "arn:aws:iam::111111111111:role/tag-hub-managed-node"
        PARAMETER_NAME: expected the name of a parameter, such as /a/b, got "tag-hub"
        PARAMETER_REGIONS: expected a Region code such as us-east-1, got "mars"
        REGISTRATION_LIMIT: expected a number from 1 to 1000, got "1001"
        VALID_DAYS: expected a number from 2 to 30, got "31"
        RENEW_BEFORE_DAYS: expected a number from 1 to 29, got "0"
        RENEW_BELOW: expected a number from 1 to 1000, got "-1"
        RENEWALS_PER_DAY: expected a number from 1 to 100, got "0"
        AGENCY_NODE_LIMIT: expected a number from 1 to 100000, got "none"
        NODE_LIMIT: expected a number from 1 to 100000, got "100001"
        "#);
    }

    #[test]
    fn what_is_missing_is_told() {
        let error = Config::from_lookup(|_| None).unwrap_err().to_string();
        insta::assert_snapshot!(error.replace("; ", "\n"), @r"
        invalid configuration: AWS_REGION: expected a Region code such as us-east-1, got nothing
        MANAGER_FUNCTION_NAME: expected the name of a function, got nothing
        WRITER_ROLE_NAME: expected the name of a role, without a path, got nothing
        NODE_ROLE: expected the name of a role, not an ARN, got nothing
        PARAMETER_NAME: expected the name of a parameter, such as /a/b, got nothing
        ");
    }
}
