//! The adapter over real clients whose answers are made up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use aws_sdk_resourcegroupstagging::Client as TaggingClient;
use aws_sdk_resourcegroupstagging::operation::get_resources::GetResourcesOutput;
use aws_sdk_resourcegroupstagging::types::{ResourceTagMapping, Tag as TaggingTag};
use aws_sdk_ssm::Client as SsmClient;
use aws_sdk_ssm::operation::add_tags_to_resource::AddTagsToResourceOutput;
use aws_sdk_ssm::operation::list_tags_for_resource::ListTagsForResourceOutput;
use aws_sdk_ssm::operation::remove_tags_from_resource::RemoveTagsFromResourceOutput;
use aws_sdk_ssm::types::{ResourceTypeForTagging, Tag};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_types::retry::RetryConfig;
use hub::ManagedInstanceId;
use lambda_kit::CallCounts;
use ssm_tag_manager::aws::{Calls, LeaseTable, ManagedNodes};
use ssm_tag_manager::plan::Tags;
use ssm_tag_manager::ports::Nodes as _;

const FUNCTION: &str = "arn:aws-us-gov:lambda:us-gov-west-1:111111111111:function:ssm-tag-manager:agency-222222222222";
const NODE: &str = "mi-0123456789abcdef0";
const NODE_ARN: &str = "arn:aws-us-gov:ssm:us-gov-west-1:111111111111:managed-instance/mi-0123456789abcdef0";

fn node() -> ManagedInstanceId {
    NODE.parse().unwrap()
}

/// As in production, the client does not try again by itself.
fn ssm(rule: &Rule) -> SsmClient {
    mock_client!(aws_sdk_ssm, RuleMode::MatchAny, [rule], |config| config.retry_config(RetryConfig::disabled()))
}

fn tagging(rules: &[Rule]) -> TaggingClient {
    mock_client!(aws_sdk_resourcegroupstagging, RuleMode::MatchAny, rules)
}

/// The calls over these clients. The table of leases is not part of it.
fn calls(ssm: SsmClient, tagging: TaggingClient) -> Calls {
    let leases = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, &[] as &[Rule]);
    Calls::new(ssm, tagging, LeaseTable::over(leases, "tag-hub-leases"))
}

fn error_body(code: &str) -> String {
    format!(r#"{{"__type": "{code}", "message": "in words"}}"#)
}

#[tokio::test]
async fn bulk_reads_ask_for_arns_of_the_own_partition_account_and_region() {
    let rule = mock!(TaggingClient::get_resources)
        .match_requests(|request| request.resource_arn_list() == [NODE_ARN])
        .then_output(|| {
            let mapping = |arn: &str| {
                let tag = TaggingTag::builder().key("Env").value("PROD").build().unwrap();
                ResourceTagMapping::builder().resource_arn(arn).tags(tag).build()
            };
            let elsewhere = NODE_ARN.replace("us-gov-west-1", "us-gov-east-1");
            GetResourcesOutput::builder()
                .resource_tag_mapping_list(mapping(NODE_ARN))
                .resource_tag_mapping_list(mapping(&elsewhere))
                .build()
        });
    let calls = calls(ssm(&list(ListTagsForResourceOutput::builder().build())), tagging(&[rule]));
    let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
    let read = nodes.read_many(&[node()]).await.unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read[&node()]["Env"], "PROD");
}

fn list(output: ListTagsForResourceOutput) -> Rule {
    mock!(SsmClient::list_tags_for_resource)
        .match_requests(|request| {
            request.resource_type() == Some(&ResourceTypeForTagging::ManagedInstance)
                && request.resource_id() == Some(NODE)
        })
        .then_output(move || output.clone())
}

#[tokio::test]
async fn one_node_is_read_by_its_id() {
    let tag = Tag::builder().key("Env").value("").build().unwrap();
    let calls = calls(ssm(&list(ListTagsForResourceOutput::builder().tag_list(tag).build())), tagging(&[]));
    let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
    let tags = nodes.read(&node()).await.unwrap().unwrap();
    assert_eq!(tags, Tags::from([("Env".to_owned(), String::new())]));
}

#[tokio::test]
async fn an_unknown_node_is_no_error() {
    let rule = mock!(SsmClient::list_tags_for_resource)
        .sequence()
        .http_status(400, Some(error_body("InvalidResourceId")))
        .build();
    let calls = calls(ssm(&rule), tagging(&[]));
    let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
    assert_eq!(nodes.read(&node()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_is_tried_again() {
    let rule = mock!(SsmClient::add_tags_to_resource)
        .match_requests(|request| {
            let tags: Vec<(&str, &str)> = request.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
            request.resource_type() == Some(&ResourceTypeForTagging::ManagedInstance) && tags == [("Env", "PROD")]
        })
        .sequence()
        .http_status(400, Some(error_body("ThrottlingException")))
        .http_status(500, Some(error_body("InternalServerError")))
        .output(|| AddTagsToResourceOutput::builder().build())
        .build();
    let calls = calls(ssm(&rule), tagging(&[]));
    let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
    nodes.set(&node(), &Tags::from([("Env".to_owned(), "PROD".to_owned())])).await.unwrap();
    assert_eq!(rule.num_calls(), 3);
    assert_eq!(calls.take_counts(), CallCounts { calls: 3, throttles: 1 });
    assert_eq!(calls.take_counts(), CallCounts::default(), "each invocation counts its own");
}

#[tokio::test(start_paused = true)]
async fn throttling_never_uses_up_the_attempts() {
    let rule = mock!(SsmClient::add_tags_to_resource)
        .sequence()
        .http_status(400, Some(error_body("ThrottlingException")))
        .times(50)
        .output(|| AddTagsToResourceOutput::builder().build())
        .build();
    let calls = calls(ssm(&rule), tagging(&[]));
    let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
    nodes.set(&node(), &Tags::new()).await.unwrap();
    assert_eq!(calls.take_counts(), CallCounts { calls: 51, throttles: 50 });
}

#[tokio::test(start_paused = true)]
async fn a_call_that_keeps_failing_is_given_up_after_eight_failures() {
    let rule = mock!(SsmClient::add_tags_to_resource)
        .sequence()
        .http_status(400, Some(error_body("ThrottlingException")))
        .times(3)
        .http_status(400, Some(error_body("TooManyUpdates")))
        .times(20)
        .build();
    let calls = calls(ssm(&rule), tagging(&[]));
    let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
    let error = nodes.set(&node(), &Tags::new()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("TooManyUpdates", true));
    assert_eq!(calls.take_counts(), CallCounts { calls: 11, throttles: 3 });
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_is_not_tried_again() {
    for (code, retryable) in
        [("AccessDeniedException", false), ("ValidationException", false), ("TooManyTagsError", false)]
    {
        let rule = mock!(SsmClient::add_tags_to_resource).sequence().http_status(400, Some(error_body(code))).build();
        let calls = calls(ssm(&rule), tagging(&[]));
        let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
        let error = nodes.set(&node(), &Tags::new()).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), (code, retryable));
        assert_eq!((error.operation, error.message.as_str()), ("ssm:AddTagsToResource", "in words"));
        assert_eq!(rule.num_calls(), 1);
    }
}

#[tokio::test]
async fn tags_are_removed_by_key() {
    let rule = mock!(SsmClient::remove_tags_from_resource)
        .match_requests(|request| request.resource_id() == Some(NODE) && request.tag_keys() == ["Env", "Role"])
        .then_output(|| RemoveTagsFromResourceOutput::builder().build());
    let calls = calls(ssm(&rule), tagging(&[]));
    let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
    nodes.remove(&node(), &["Env".to_owned(), "Role".to_owned()]).await.unwrap();
    assert_eq!(rule.num_calls(), 1);
}

#[tokio::test]
async fn a_bulk_read_that_is_denied_says_so() {
    let rule = mock!(TaggingClient::get_resources)
        .sequence()
        .http_status(400, Some(error_body("AccessDeniedException")))
        .build();
    let calls = calls(ssm(&list(ListTagsForResourceOutput::builder().build())), tagging(&[rule]));
    let nodes = ManagedNodes::new(&calls, &FUNCTION.parse().unwrap());
    let error = nodes.read_many(&[node()]).await.unwrap_err();
    assert!(error.is_access_denied() && error.operation == "tag:GetResources");
}
