//! The ARN of a Lambda function, with the alias that names an agency.

use std::fmt;
use std::str::FromStr;

use crate::{AccountId, Invalid, Region};

/// What the alias of an agency starts with; its account id follows.
pub const AGENCY_ALIAS_PREFIX: &str = "agency-";

const EXPECTED: &str = "a function ARN: arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME[:ALIAS]";

/// `arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]`, in any partition.
///
/// ```
/// let arn = "arn:aws-us-gov:lambda:us-gov-west-1:111111111111:function:ssm-tag-manager:agency-222222222222";
/// let arn: hub::FunctionArn = arn.parse()?;
/// assert_eq!(arn.agency().as_ref().map(hub::AccountId::as_str), Some("222222222222"));
/// # Ok::<(), hub::Invalid>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionArn {
    /// `aws`, `aws-us-gov`, `aws-cn` or another that starts with `aws-`.
    pub partition: String,
    /// Where the function runs.
    pub region: Region,
    /// Who owns the function.
    pub account: AccountId,
    /// The function's name, without a qualifier.
    pub name: String,
    /// Alias or version, where the ARN carries one.
    pub qualifier: Option<String>,
}

impl FunctionArn {
    /// The account named by an alias `agency-<account id>`, if the qualifier is one.
    pub fn agency(&self) -> Option<AccountId> {
        self.qualifier.as_deref()?.strip_prefix(AGENCY_ALIAS_PREFIX)?.parse().ok()
    }
}

impl FromStr for FunctionArn {
    type Err = Invalid;

    fn from_str(value: &str) -> Result<Self, Invalid> {
        parse(value).ok_or_else(|| Invalid::new(EXPECTED, value))
    }
}

impl fmt::Display for FunctionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, region, account, name, qualifier } = self;
        write!(f, "arn:{partition}:lambda:{region}:{account}:function:{name}")?;
        match qualifier {
            Some(qualifier) => write!(f, ":{qualifier}"),
            None => Ok(()),
        }
    }
}

fn parse(value: &str) -> Option<FunctionArn> {
    let parts: Vec<&str> = value.split(':').collect();
    let (partition, region, account, name, qualifier) = match parts.as_slice() {
        ["arn", partition, "lambda", region, account, "function", name] => (partition, region, account, name, None),
        ["arn", partition, "lambda", region, account, "function", name, qualifier] => {
            (partition, region, account, name, Some(*qualifier))
        }
        _ => return None,
    };
    let is_partition = *partition == "aws" || partition.strip_prefix("aws-").is_some_and(|rest| !rest.is_empty());
    let is_name =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let is_qualifier = |part: &str| part == "$LATEST" || is_name(part);
    if !is_partition || !is_name(name) || !qualifier.is_none_or(is_qualifier) {
        return None;
    }
    Some(FunctionArn {
        partition: (*partition).to_owned(),
        region: region.parse().ok()?,
        account: account.parse().ok()?,
        name: (*name).to_owned(),
        qualifier: qualifier.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agency(arn: &str) -> Option<String> {
        arn.parse::<FunctionArn>().ok()?.agency().map(String::from)
    }

    #[test]
    fn the_agency_is_read_from_its_alias_alone() {
        let base = "arn:aws-us-gov:lambda:us-gov-west-1:111111111111:function:ssm-tag-manager";
        assert_eq!(agency(&format!("{base}:agency-222222222222")).as_deref(), Some("222222222222"));
        for other in ["", ":1", ":$LATEST", ":agency-22222222222", ":agency-", ":xagency-222222222222", ":live"] {
            assert_eq!(agency(&format!("{base}{other}")), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_function_arn_is_refused() {
        for value in [
            "",
            "ssm-tag-manager",
            "arn:aws:lambda:us-east-1:111111111111:function",
            "arn:aws:lambda:us-east-1:111111111111:function:",
            "arn:aws:lambda:us-east-1:1111:function:f",
            "arn:aws:lambda::111111111111:function:f",
            "arn:gcp:lambda:us-east-1:111111111111:function:f",
            "arn:aws-:lambda:us-east-1:111111111111:function:f",
            "arn:aws:iam:us-east-1:111111111111:function:f",
            "arn:aws:lambda:us-east-1:111111111111:function:f:a:b",
            "arn:aws:lambda:us-east-1:111111111111:function:f:",
            "arn:aws:lambda:us-east-1:111111111111:function:f f",
        ] {
            let error = value.parse::<FunctionArn>().unwrap_err();
            assert!(error.to_string().contains("expected a function ARN"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_partition_round_trips(
            partition in prop_oneof!["aws", "aws-us-gov", "aws-cn", "aws-iso-b"],
            region in prop_oneof!["us-east-1", "us-gov-west-1", "cn-north-1", "us-isob-east-1"],
            account in "[0-9]{12}",
            name in "[a-zA-Z0-9_-]{1,20}",
            qualifier in proptest::option::of("[a-zA-Z0-9_-]{1,20}"),
        ) {
            let tail = qualifier.as_ref().map(|q| format!(":{q}")).unwrap_or_default();
            let text = format!("arn:{partition}:lambda:{region}:{account}:function:{name}{tail}");
            let arn: FunctionArn = text.parse().unwrap();
            prop_assert_eq!(arn.to_string(), text);
        }
    }
}
