//! The configuration, read from environment variables.

use hub::Region;
use lambda_kit::{ConfigError, Reader, text};

use crate::ports::Names;

const MANAGER_FUNCTION_NAME: &str = "MANAGER_FUNCTION_NAME";
const REPORT_BUCKET: &str = "REPORT_BUCKET";
const NODE_LIMIT: &str = "NODE_LIMIT";
const AWS_REGION: &str = "AWS_REGION";

/// What the function is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What the names of this hub begin with.
    pub name_prefix: String,
    /// The manager, whose aliases say which agencies there are.
    pub manager_function_name: String,
    /// The bucket of the report.
    pub report_bucket: String,
    /// How many hybrid nodes the account may have.
    pub node_limit: usize,
    /// The function's own Region, where the nodes are.
    pub region: Region,
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
        let report_bucket = read.required(REPORT_BUCKET, "the name of a bucket", text(is_bucket_name));
        let node_limit = read.number(NODE_LIMIT, 1..=100_000, 1_000);
        read.finish(|| {
            Some(Self {
                name_prefix: name_prefix?,
                manager_function_name: manager_function_name?,
                report_bucket: report_bucket?,
                node_limit: node_limit?,
                region: region?,
            })
        })
    }

    /// What the hub's parts are called.
    pub fn names(&self) -> Names {
        Names { prefix: self.name_prefix.clone(), manager: self.manager_function_name.clone() }
    }
}

fn is_function_name(value: &str) -> bool {
    value.len() <= 64 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>, without dots, which TLS does not take.
fn is_bucket_name(value: &str) -> bool {
    (3..=63).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Config, String> {
        let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Config::from_lookup(lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_required_is_enough() {
        let config = parse(&[
            (AWS_REGION, "us-east-1"),
            (MANAGER_FUNCTION_NAME, "ssm-tag-manager"),
            (REPORT_BUCKET, "tag-hub-fleet-111111111111-us-east-1"),
        ]);
        let config = config.unwrap();
        assert_eq!((config.node_limit, config.name_prefix.as_str()), (1_000, ""));
        assert_eq!(config.names().manager, "ssm-tag-manager");
    }

    #[test]
    fn every_problem_is_listed() {
        let variables =
            [(AWS_REGION, "mars"), (MANAGER_FUNCTION_NAME, "a b"), (REPORT_BUCKET, "A.b"), (NODE_LIMIT, "0")];
        assert_eq!(
            parse(&variables).unwrap_err(),
            "invalid configuration: AWS_REGION: expected a Region code such as us-east-1, got \"mars\"; \
             MANAGER_FUNCTION_NAME: expected the name of a function, got \"a b\"; \
             REPORT_BUCKET: expected the name of a bucket, got \"A.b\"; \
             NODE_LIMIT: expected a number from 1 to 100000, got \"0\""
        );
    }
}
