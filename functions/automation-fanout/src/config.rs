//! The configuration, parsed once at start-up.

use lambda_kit::{ConfigError, Reader, text};

const ADMINISTRATION_ROLE_ARN: &str = "AUTOMATION_ADMINISTRATION_ROLE_ARN";
const AWS_RUNBOOKS: &str = "ALLOWED_AWS_RUNBOOKS";
const OWN_RUNBOOKS: &str = "ALLOWED_OWN_RUNBOOKS";
const STEP_PRICE: &str = "STEP_PRICE_USD";
const REGION: &str = "AWS_REGION";

/// The name of the runbook that `Preflight` starts, for a hub whose names have no prefix.
pub const PREFLIGHT_RUNBOOK: &str = "TagHub-Preflight";

/// Everything that the environment decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The role that a run takes in the central account where its parameters name none.
    pub administration_role_arn: String,
    /// Which of AWS's runbooks the function may start, where it is told; a name may end in `*`.
    pub aws_runbooks: Option<Vec<String>>,
    /// Which runbooks of its own account it may start.
    pub own_runbooks: Option<Vec<String>>,
    /// What a step of a runbook costs, in US dollars.
    pub step_price: Option<f64>,
    /// What the names of this hub begin with.
    pub name_prefix: String,
    /// The Region that the function runs in.
    pub region: Option<String>,
}

impl Config {
    /// Reads the configuration through a lookup of environment variables.
    ///
    /// # Errors
    /// Names each variable, what was expected and what came.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        // An empty list allows nothing, and one that is absent says nothing.
        let list = |name: &str| {
            let text = lookup(name)?;
            Some(text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect::<Vec<_>>())
        };
        let (aws_runbooks, own_runbooks, region) = (list(AWS_RUNBOOKS), list(OWN_RUNBOOKS), lookup(REGION));
        let mut read = Reader::new(lookup);
        let name_prefix = read.name_prefix();
        let expected = "a role ARN: arn:PARTITION:iam::ACCOUNT:role/NAME";
        let administration_role_arn = read.required(ADMINISTRATION_ROLE_ARN, expected, text(is_role_arn));
        let step_price = read.value(STEP_PRICE).and_then(|text| {
            let price = text.parse::<f64>().ok().filter(|price| price.is_finite() && *price >= 0.0);
            if price.is_none() {
                let problem = format_args!("expected a price in US dollars such as 0.002, got {text:?}");
                read.problem(STEP_PRICE, problem);
            }
            price
        });
        read.finish(|| {
            Some(Self {
                administration_role_arn: administration_role_arn?,
                aws_runbooks,
                own_runbooks,
                step_price,
                name_prefix: name_prefix?,
                region,
            })
        })
    }

    /// The account of the function.
    pub fn account(&self) -> &str {
        self.administration_role_arn.split(':').nth(4).unwrap_or_default()
    }

    /// The runbook of a preflight, as other accounts know it.
    pub fn preflight_runbook(&self) -> String {
        let partition = self.administration_role_arn.split(':').nth(1).unwrap_or("aws");
        // As cfn/preflight-runbook.yaml puts the name together: so `TagHub-*` takes it in, whatever the prefix is.
        let name = format!("TagHub-{}Preflight", self.name_prefix);
        match &self.region {
            Some(region) => format!("arn:{partition}:ssm:{region}:{}:document/{name}", self.account()),
            None => name,
        }
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
        Config::from_lookup(|name| value.filter(|_| name == ADMINISTRATION_ROLE_ARN).map(str::to_owned))
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

    #[test]
    fn lists_and_the_price_are_optional_and_every_problem_is_told() {
        let with = |price: &'static str| {
            Config::from_lookup(move |name| match name {
                ADMINISTRATION_ROLE_ARN => Some("arn:aws:iam::111111111111:role/Administration".to_owned()),
                AWS_RUNBOOKS => Some("AWS-StopEC2Instance,AWS-Start*".to_owned()),
                OWN_RUNBOOKS => Some(String::new()),
                STEP_PRICE => Some(price.to_owned()),
                REGION => Some("us-east-1".to_owned()),
                _ => None,
            })
        };
        let config = with("0.002").unwrap();
        assert_eq!(config.aws_runbooks.as_deref().map(<[String]>::len), Some(2));
        assert_eq!(config.own_runbooks, Some(Vec::new()));
        assert_eq!(config.preflight_runbook(), "arn:aws:ssm:us-east-1:111111111111:document/TagHub-Preflight");
        for price in ["much", "-1", "NaN"] {
            assert!(with(price).unwrap_err().to_string().contains("STEP_PRICE_USD: expected a price"), "{price}");
        }
        let both = Config::from_lookup(|name| (name == STEP_PRICE).then(|| "x".to_owned())).unwrap_err();
        assert!(
            both.to_string().contains("AUTOMATION_ADMINISTRATION_ROLE_ARN: ")
                && both.to_string().contains("STEP_PRICE_USD: ")
        );
    }
}
