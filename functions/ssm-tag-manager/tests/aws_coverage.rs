//! The coverage in Parameter Store, over a real client whose answers are made up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::time::Duration;

use aws_sdk_ssm::Client as SsmClient;
use aws_sdk_ssm::operation::get_parameter::GetParameterOutput;
use aws_sdk_ssm::operation::get_parameters_by_path::GetParametersByPathOutput;
use aws_sdk_ssm::operation::put_parameter::PutParameterOutput;
use aws_sdk_ssm::types::{Parameter, ParameterType};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::DateTime;
use aws_smithy_types::retry::RetryConfig;
use hub::Timestamp;
use ssm_tag_manager::aws::{CoverageParameters, Kept};
use ssm_tag_manager::plan::{CoverageRecord, REGIONS_KEPT};

const NAME: &str = "/tag-hub/coverage/222222222222/us-west-2";
const TEXT: &str = r#"{"running":4}"#;

fn record() -> CoverageRecord {
    CoverageRecord {
        agency: "222222222222".parse().unwrap(),
        region: "us-west-2".parse().unwrap(),
        observed_at: Timestamp::from_unix_seconds(100),
        has_instances: true,
        text: TEXT.to_owned(),
    }
}

fn coverage(rules: &[&Rule]) -> CoverageParameters {
    let client =
        mock_client!(aws_sdk_ssm, RuleMode::Sequential, rules, |config| config.retry_config(RetryConfig::disabled()));
    CoverageParameters::over(client, "/tag-hub/coverage")
}

fn refusal(code: &str) -> HttpResponse {
    let body = format!(r#"{{"__type": "{code}", "message": "no"}}"#);
    HttpResponse::new(400.try_into().unwrap(), body.into())
}

fn missing() -> Rule {
    mock!(SsmClient::get_parameter).then_http_response(|| refusal("ParameterNotFound"))
}

fn holds(value: &'static str, written_at: i64) -> Rule {
    mock!(SsmClient::get_parameter).match_requests(|request| request.name() == Some(NAME)).then_output(move || {
        let parameter = Parameter::builder().value(value).last_modified_date(DateTime::from_secs(written_at));
        GetParameterOutput::builder().parameter(parameter.build()).build()
    })
}

/// A page of the agency's other Regions.
fn lists(count: usize, token: Option<&'static str>) -> Rule {
    let asked = mock!(SsmClient::get_parameters_by_path)
        .match_requests(|request| request.path() == Some("/tag-hub/coverage/222222222222"));
    asked.then_output(move || {
        let parameters = (0..count).map(|_| Parameter::builder().build()).collect();
        GetParametersByPathOutput::builder()
            .set_parameters(Some(parameters))
            .set_next_token(token.map(str::to_owned))
            .build()
    })
}

fn writes() -> Rule {
    let asked = mock!(SsmClient::put_parameter).match_requests(|request| {
        request.name() == Some(NAME)
            && request.value() == Some(TEXT)
            && request.overwrite() == Some(true)
            && request.r#type() == Some(&ParameterType::String)
    });
    asked.then_output(|| PutParameterOutput::builder().build())
}

#[tokio::test]
async fn what_changed_is_written_and_what_did_not_is_only_read() {
    let same = coverage(&[&holds(TEXT, 50)]);
    assert_eq!(same.try_keep(&record()).await, Ok(Kept::Unchanged));
    assert_eq!(same.take_counts().calls, 1);
    assert_eq!(coverage(&[&holds("{}", 50), &writes()]).try_keep(&record()).await, Ok(Kept::Written));
    assert_eq!(coverage(&[&holds("{}", 101)]).try_keep(&record()).await, Ok(Kept::Unchanged), "what is later stays");
}

#[tokio::test]
async fn an_empty_region_has_a_parameter_only_if_it_is_the_hubs_or_had_instances() {
    let empty = |region: &str| CoverageRecord { region: region.parse().unwrap(), has_instances: false, ..record() };
    let elsewhere = coverage(&[&missing()]);
    assert_eq!(elsewhere.try_keep(&empty("us-west-2")).await, Ok(Kept::Empty));
    assert_eq!(elsewhere.take_counts().calls, 1);
    assert_eq!(coverage(&[&holds("{}", 50), &writes()]).try_keep(&empty("us-west-2")).await, Ok(Kept::Written));
    let home = mock!(SsmClient::put_parameter).then_output(|| PutParameterOutput::builder().build());
    let home = coverage(&[&missing(), &lists(0, None), &home]);
    assert_eq!(home.try_keep(&empty("us-east-1")).await, Ok(Kept::Written));
}

#[tokio::test]
async fn an_agency_has_no_more_regions_than_there_are() {
    let first = coverage(&[&missing(), &lists(10, Some("next")), &lists(3, None), &writes()]);
    assert_eq!(first.try_keep(&record()).await, Ok(Kept::Written));
    let pages: Vec<Rule> = (0..REGIONS_KEPT / 10).map(|_| lists(10, Some("next"))).collect();
    let absent = missing();
    let rules: Vec<&Rule> = [&absent].into_iter().chain(&pages).collect();
    let full = coverage(&rules);
    assert_eq!(full.try_keep(&record()).await, Ok(Kept::TooManyRegions));
    assert_eq!(full.take_counts().calls, 1 + REGIONS_KEPT / 10, "nothing was written");
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_fails_nothing_and_takes_no_longer_than_it_may() {
    let refused = coverage(&[&mock!(SsmClient::get_parameter).then_http_response(|| refusal("AccessDeniedException"))]);
    assert_eq!(refused.try_keep(&record()).await.unwrap_err().code, "AccessDeniedException");
    let throttled: Vec<Rule> = (0..50)
        .map(|_| mock!(SsmClient::get_parameter).then_http_response(|| refusal("ThrottlingException")))
        .collect();
    let throttled = coverage(&throttled.iter().collect::<Vec<_>>());
    let start = tokio::time::Instant::now();
    throttled.keep(&record(), Duration::from_secs(2)).await;
    assert!(start.elapsed() <= Duration::from_secs(2), "{:?}", start.elapsed());
}
