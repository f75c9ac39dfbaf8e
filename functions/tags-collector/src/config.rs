//! The configuration, read from environment variables.

use hub::{AGENCY_ALIAS_PREFIX, FunctionArn, Region};
use lambda_kit::{ConfigError, Reader};

const MANAGER_FUNCTION_ARN: &str = "MANAGER_FUNCTION_ARN";
const COLLECT_REGIONS: &str = "COLLECT_REGIONS";
const INVOCATION_TYPE: &str = "INVOCATION_TYPE";
const AWS_REGION: &str = "AWS_REGION";

/// What the function is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What the names of this hub begin with.
    pub name_prefix: String,
    /// The manager's function, under the alias of this agency.
    pub manager: FunctionArn,
    /// The Regions that a sweep reads: at least one, none twice.
    pub collect_regions: Vec<Region>,
    /// How the manager is invoked.
    pub invocation_type: InvocationType,
}

/// How a report is handed to the manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvocationType {
    /// Wait for the answer.
    RequestResponse,
    /// Queue the report: Lambda answers at once, and what becomes of it is seen in the central account.
    Event,
}

impl Config {
    /// Reads the configuration through `lookup`, which gives the value of an environment variable.
    ///
    /// # Errors
    /// Lists all problems at once, each with its variable, what was expected and what came.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut read = Reader::new(lookup);
        let name_prefix = read.name_prefix();
        let expected = format!(
            "a function ARN with the alias of this agency, \
             arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME:{AGENCY_ALIAS_PREFIX}<12 digits>"
        );
        let manager = read.required(MANAGER_FUNCTION_ARN, &expected, |value| {
            value.parse().ok().filter(|arn: &FunctionArn| arn.agency().is_some())
        });
        let collect_regions = read.list(COLLECT_REGIONS).or_else(|| read.list(AWS_REGION));
        if collect_regions.is_none() {
            read.problem(
                COLLECT_REGIONS,
                format_args!("expected comma-separated Regions, because {AWS_REGION} is not set"),
            );
        }
        let invocation_type = read.word(
            INVOCATION_TYPE,
            &[("RequestResponse", InvocationType::RequestResponse), ("Event", InvocationType::Event)],
        );
        read.finish(|| {
            Some(Self {
                name_prefix: name_prefix?,
                manager: manager?,
                collect_regions: collect_regions?,
                invocation_type: invocation_type?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager:agency-222222222222";

    fn parse(variables: &[(&str, &str)]) -> Result<Config, String> {
        let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Config::from_lookup(lookup).map_err(|error| error.to_string())
    }

    fn regions(variables: &[(&str, &str)]) -> Vec<String> {
        let variables = [&[(MANAGER_FUNCTION_ARN, ARN)], variables].concat();
        parse(&variables).unwrap().collect_regions.into_iter().map(String::from).collect()
    }

    #[test]
    fn the_manager_alone_is_enough_on_lambda() {
        let config = parse(&[(MANAGER_FUNCTION_ARN, ARN), (AWS_REGION, "eu-west-1")]).unwrap();
        assert_eq!(config.manager.to_string(), ARN);
        assert_eq!(config.collect_regions, ["eu-west-1".parse().unwrap()]);
        assert_eq!(config.invocation_type, InvocationType::RequestResponse);
    }

    #[test]
    fn regions_are_trimmed_and_read_once_in_their_order() {
        assert_eq!(
            regions(&[(COLLECT_REGIONS, " us-west-2,us-east-1 , us-west-2"), (AWS_REGION, "eu-west-1")]),
            ["us-west-2", "us-east-1"]
        );
        assert_eq!(regions(&[(COLLECT_REGIONS, "us-gov-west-1")]), ["us-gov-west-1"]);
        assert_eq!(regions(&[(COLLECT_REGIONS, "  "), (AWS_REGION, "eu-west-1")]), ["eu-west-1"]);
    }

    #[test]
    fn each_invocation_type_has_its_name() {
        for (name, expected) in [
            ("RequestResponse", InvocationType::RequestResponse),
            ("Event", InvocationType::Event),
            ("", InvocationType::RequestResponse),
        ] {
            let variables = [(MANAGER_FUNCTION_ARN, ARN), (AWS_REGION, "us-east-1"), (INVOCATION_TYPE, name)];
            assert_eq!(parse(&variables).unwrap().invocation_type, expected, "{name}");
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let error = parse(&[
            (MANAGER_FUNCTION_ARN, "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager:live"),
            (COLLECT_REGIONS, "us-east-1,mars,,us-east-1a"),
            (INVOCATION_TYPE, "event"),
        ])
        .unwrap_err();
        insta::assert_snapshot!(error.replace("; ", "\n"), @r#"
        invalid configuration: MANAGER_FUNCTION_ARN: expected a function ARN with the alias of this agency, arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME:agency-<12 digits>, got "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager:live"
        COLLECT_REGIONS: expected a Region code such as us-east-1, got "mars"
        COLLECT_REGIONS: expected a Region code such as us-east-1, got ""
        COLLECT_REGIONS: expected a Region code such as us-east-1, got "us-east-1a"
        INVOCATION_TYPE: expected RequestResponse or Event, got "event"
        "#);
    }

    #[test]
    fn what_is_missing_is_told() {
        insta::assert_snapshot!(parse(&[]).unwrap_err().replace("; ", "\n"), @r"
        invalid configuration: MANAGER_FUNCTION_ARN: expected a function ARN with the alias of this agency, arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME:agency-<12 digits>, got nothing
        COLLECT_REGIONS: expected comma-separated Regions, because AWS_REGION is not set
        ");
    }

    #[test]
    fn a_manager_without_the_alias_of_an_agency_is_refused() {
        let base = "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager";
        for arn in [base.to_owned(), format!("{base}:$LATEST"), format!("{base}:agency-2222"), "f".to_owned()] {
            let error = parse(&[(MANAGER_FUNCTION_ARN, &arn), (AWS_REGION, "us-east-1")]).unwrap_err();
            assert!(error.ends_with(&format!("got {arn:?}")), "{error}");
        }
    }
}
