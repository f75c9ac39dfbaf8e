//! The configuration, parsed once at start-up.

use lambda_kit::{ConfigError, Reader, text};

const ADMINISTRATION_ROLE_ARN: &str = "AUTOMATION_ADMINISTRATION_ROLE_ARN";

/// Everything that the environment decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The role that a run takes in the central account where its parameters name none.
    pub administration_role_arn: String,
}

impl Config {
    /// Reads the configuration through a lookup of environment variables.
    ///
    /// # Errors
    /// Names the variable, what was expected and what came.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut read = Reader::new(lookup);
        let expected = "a role ARN: arn:PARTITION:iam::ACCOUNT:role/NAME";
        let administration_role_arn = read.required(ADMINISTRATION_ROLE_ARN, expected, text(is_role_arn));
        read.finish(|| Some(Self { administration_role_arn: administration_role_arn? }))
    }
}

/// True for `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME` in any partition.
pub(crate) fn is_role_arn(value: &str) -> bool {
    let parts: Vec<&str> = value.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts.as_slice() else {
        return false;
    };
    let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_/-".contains(&b);
    is_partition(partition)
        && account.parse::<hub::AccountId>().is_ok()
        && resource.strip_prefix("role/").is_some_and(|name| {
            !name.is_empty() && !name.starts_with('/') && !name.ends_with('/') && name.bytes().all(is_name_byte)
        })
}

/// True for `aws` and everything of the form `aws-…`.
pub(crate) fn is_partition(value: &str) -> bool {
    value == "aws" || value.strip_prefix("aws-").is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: Option<&str>) -> Result<Config, ConfigError> {
        Config::from_lookup(|name| {
            assert_eq!(name, ADMINISTRATION_ROLE_ARN);
            value.map(str::to_owned)
        })
    }

    #[test]
    fn a_role_is_taken_in_every_partition_and_with_a_path() {
        for arn in [
            "arn:aws:iam::111111111111:role/AWS-SystemsManager-AutomationAdministrationRole",
            "arn:aws-us-gov:iam::111111111111:role/AWS-SystemsManager-AutomationAdministrationRole",
            "arn:aws-cn:iam::111111111111:role/ops/automation/Administration",
        ] {
            assert_eq!(parse(Some(arn)).unwrap().administration_role_arn, arn);
        }
    }

    #[test]
    fn what_is_no_role_arn_is_refused_in_words() {
        for value in [
            "AWS-SystemsManager-AutomationAdministrationRole",
            "arn:aws:iam::111111111111:user/admin",
            "arn:aws:iam::111111111111:role/",
            "arn:aws:iam::1111:role/R",
            "arn:aws:iam:us-east-1:111111111111:role/R",
            "arn:aws:sts::111111111111:role/R",
            "arn:gcp:iam::111111111111:role/R",
            "arn:aws:iam::111111111111:role/R R",
            "arn:aws:iam::111111111111:role/R:x",
        ] {
            let error = parse(Some(value)).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "invalid configuration: AUTOMATION_ADMINISTRATION_ROLE_ARN: expected a role ARN: \
                     arn:PARTITION:iam::ACCOUNT:role/NAME, got {value:?}"
                )
            );
        }
        for absent in [None, Some("")] {
            assert!(parse(absent).unwrap_err().to_string().ends_with("got nothing"));
        }
    }
}
