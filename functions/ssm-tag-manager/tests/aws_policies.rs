//! The policies in Parameter Store, over a real client whose answers are made up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use aws_sdk_ssm::Client as SsmClient;
use aws_sdk_ssm::operation::get_parameter::GetParameterOutput;
use aws_sdk_ssm::types::Parameter;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::retry::RetryConfig;
use hub::{AccountId, Tag};
use ssm_tag_manager::aws::PolicyParameters;
use ssm_tag_manager::{Config, ManagerError};

const OWN: &str = "/tag-hub/policy/222222222222";
const DEFAULT: &str = "/tag-hub/policy/default";

fn agency() -> AccountId {
    "222222222222".parse().unwrap()
}

fn config() -> Config {
    let lookup = |name: &str| (name == "TAG_POLICY").then(|| r#"{"include": ["Env"]}"#.to_owned());
    Config::from_lookup(lookup).unwrap()
}

/// Answers for one parameter, with what it holds or that it is not there.
fn holds(name: &'static str, value: Option<&'static str>) -> Rule {
    let asked = mock!(SsmClient::get_parameter).match_requests(move |request| request.name() == Some(name));
    match value {
        Some(value) => asked.then_output(move || {
            GetParameterOutput::builder().parameter(Parameter::builder().name(name).value(value).build()).build()
        }),
        None => asked.then_http_response(|| refusal("ParameterNotFound")),
    }
}

/// Answers whether any policy is approved.
fn approved(is_approved: bool) -> Rule {
    let is_asked = |name: &str| name.starts_with("/tag-hub/policy/approved/");
    let asked = mock!(SsmClient::get_parameter).match_requests(move |request| request.name().is_some_and(is_asked));
    if is_approved {
        asked.then_output(|| GetParameterOutput::builder().parameter(Parameter::builder().build()).build())
    } else {
        asked.then_http_response(|| refusal("ParameterNotFound"))
    }
}

fn refuses() -> Rule {
    mock!(SsmClient::get_parameter).then_http_response(|| refusal("AccessDeniedException"))
}

fn refusal(code: &str) -> HttpResponse {
    let body = format!(r#"{{"__type": "{code}", "message": "not authorized"}}"#);
    HttpResponse::new(400.try_into().unwrap(), body.into())
}

fn policies(rules: &[&Rule]) -> PolicyParameters {
    mode(RuleMode::Sequential, rules)
}

fn mode(mode: RuleMode, rules: &[&Rule]) -> PolicyParameters {
    let client = mock_client!(aws_sdk_ssm, mode, rules, |config| config.retry_config(RetryConfig::disabled()));
    PolicyParameters::over(client, "/tag-hub/policy")
}

/// The keys that a policy carries of an instance with all of these.
fn carried(config: &Config) -> Vec<String> {
    let tags = ["Env", "Name", "Role"].map(|key| Tag { key: key.to_owned(), value: "x".to_owned() });
    config.policy.desired(&tags).tags.into_iter().map(|tag| tag.key).collect()
}

#[tokio::test]
async fn an_agencys_own_policy_goes_before_the_default_and_that_before_the_configuration() {
    let (own, default) = (r#"{"include": ["Role"]}"#, r#"{"include": ["Name"]}"#);
    for (own, default, expected) in
        [(Some(own), Some(default), "Role"), (None, Some(default), "Name"), (None, None, "Env")]
    {
        let rules = [holds(OWN, own), holds(DEFAULT, default), approved(false)];
        let policies = mode(RuleMode::MatchAny, &rules.iter().collect::<Vec<_>>());
        let found = policies.config_of(&config(), &agency()).await.unwrap();
        assert_eq!(carried(&found), [expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_is_read_once_a_minute_and_holds_where_it_cannot_be_read() {
    let (first, approval, second) = (holds(OWN, Some(r#"{"include": ["Role"]}"#)), approved(false), refuses());
    let policies = policies(&[&first, &approval, &second]);
    for _ in 0..3 {
        assert_eq!(carried(&policies.config_of(&config(), &agency()).await.unwrap()), ["Role"]);
    }
    assert_eq!(policies.take_counts().calls, 2);
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    assert_eq!(carried(&policies.config_of(&config(), &agency()).await.unwrap()), ["Role"]);
    assert_eq!(policies.take_counts().calls, 1, "it was tried, and the last one holds");
}

#[tokio::test]
async fn a_policy_is_approved_by_a_parameter_of_its_digest() {
    for (answer, is_approved) in [(approved(true), true), (approved(false), false), (refuses(), false)] {
        let (own, answer) = (holds(OWN, Some(r#"{"include": ["Role"]}"#)), answer);
        let found = policies(&[&own, &answer]).config_of(&config(), &agency()).await.unwrap();
        assert_eq!(found.approved_policies.contains(&found.policy.digest), is_approved);
    }
}

#[tokio::test]
async fn an_approval_is_for_one_agencys_policy_or_for_that_of_all() {
    let text = r#"{"include": ["Role"]}"#;
    let digest = ssm_tag_manager::plan::Policy::parse(text).unwrap().digest;
    for (own, default, approved_for, is_approved) in [
        (Some(text), None, "222222222222", true),
        (Some(text), None, "default", false),
        (Some(text), None, "333333333333", false),
        (None, Some(text), "default", true),
        (None, Some(text), "222222222222", false),
    ] {
        let name = format!("/tag-hub/policy/approved/{approved_for}/{digest}");
        let approval = mock!(SsmClient::get_parameter)
            .match_requests(move |request| request.name() == Some(&name))
            .then_output(|| GetParameterOutput::builder().parameter(Parameter::builder().build()).build());
        let rules = [holds(OWN, own), holds(DEFAULT, default), approval, approved(false)];
        let policies = mode(RuleMode::MatchAny, &rules.iter().collect::<Vec<_>>());
        let found = policies.config_of(&config(), &agency()).await.unwrap();
        let is_found = found.approved_policies.contains(&found.policy.digest);
        assert_eq!(is_found, is_approved, "approved for {approved_for}, policy of {own:?} or {default:?}");
    }
}

#[tokio::test]
async fn a_policy_that_is_not_understood_stops_the_agency_with_all_its_mistakes() {
    let rule = holds(OWN, Some(r#"{"inlcude": ["Env"], "maxTags": 99, "overwrite": "no"}"#));
    let error = policies(&[&rule]).config_of(&config(), &agency()).await.unwrap_err();
    let told = error.to_string();
    for mistake in [OWN, "inlcude: unknown field", "maxTags: expected 1 to 47, got 99", "overwrite: invalid type"] {
        assert!(told.contains(mistake), "{mistake} is not in {told}");
    }
    let error = policies(&[&refuses()]).config_of(&config(), &agency()).await.unwrap_err();
    assert!(
        matches!(&error, ManagerError::PolicyInvalid { .. }) && error.to_string().contains("not authorized"),
        "{error}"
    );
}
