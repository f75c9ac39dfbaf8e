//! The calls of retirement over real clients whose answers are made up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use aws_sdk_resourcegroupstagging::Client as TaggingClient;
use aws_sdk_resourcegroupstagging::operation::get_resources::GetResourcesOutput;
use aws_sdk_resourcegroupstagging::types::{ResourceTagMapping, Tag};
use aws_sdk_ssm::Client as SsmClient;
use aws_sdk_ssm::operation::deregister_managed_instance::DeregisterManagedInstanceOutput;
use aws_sdk_ssm::operation::describe_instance_information::DescribeInstanceInformationOutput;
use aws_sdk_ssm::types::{InstanceInformation, PingStatus, ResourceType};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_types::DateTime;
use aws_smithy_types::retry::RetryConfig;
use hub::{ManagedInstanceId, Timestamp};
use ssm_tag_manager::aws::{Calls, LeaseTable, ManagedNodes};
use ssm_tag_manager::ports::{Information, Nodes as _, Retirable as _};

const FUNCTION: &str = "arn:aws-us-gov:lambda:us-gov-west-1:111111111111:function:ssm-tag-manager";
const NODE: &str = "mi-0123456789abcdef0";
const NODE_2: &str = "mi-0123456789abcdef1";
const ARN_PREFIX: &str = "arn:aws-us-gov:ssm:us-gov-west-1:111111111111:managed-instance/";

fn node(id: &str) -> ManagedInstanceId {
    id.parse().unwrap()
}

/// Clients that do not try again by themselves, as in the function.
fn calls(ssm: &[Rule], tagging: &[Rule]) -> Calls {
    Calls::new(
        mock_client!(aws_sdk_ssm, RuleMode::MatchAny, ssm, |config| config.retry_config(RetryConfig::disabled())),
        mock_client!(aws_sdk_resourcegroupstagging, RuleMode::MatchAny, tagging, |config| {
            config.retry_config(RetryConfig::disabled())
        }),
        LeaseTable::over(mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, &[] as &[Rule]), "tag-hub-leases"),
    )
}

fn nodes(calls: &Calls) -> ManagedNodes<'_> {
    ManagedNodes::new(calls, &FUNCTION.parse().unwrap())
}

fn error_body(code: &str) -> String {
    format!(r#"{{"__type": "{code}", "message": "in words"}}"#)
}

fn page(ids: &[&str], token: &str) -> GetResourcesOutput {
    let mapping = |id: &&str| {
        let tag = Tag::builder().key("tag-hub:terminated").value("1").build().unwrap();
        ResourceTagMapping::builder().resource_arn(format!("{ARN_PREFIX}{id}")).tags(tag).build()
    };
    let mappings = ids.iter().map(mapping).collect();
    GetResourcesOutput::builder().set_resource_tag_mapping_list(Some(mappings)).pagination_token(token).build()
}

#[tokio::test]
async fn nodes_are_found_by_a_tag_on_every_page() {
    let has = |values: &'static [&'static str], token: Option<&'static str>| {
        mock!(TaggingClient::get_resources).match_requests(move |request| {
            let [filter] = request.tag_filters() else { return false };
            filter.key() == Some("tag-hub:terminated")
                && filter.values() == values
                && request.resource_type_filters() == ["ssm:managed-instance"]
                && request.resources_per_page() == Some(100)
                && request.resource_arn_list().is_empty()
                && request.pagination_token() == token
        })
    };
    let first = has(&[], None).then_output(|| page(&[NODE], "more"));
    let last = has(&[], Some("more")).then_output(|| page(&[NODE_2], ""));
    let named = has(&["1", "2"], None).then_output(|| page(&[], ""));
    let calls = calls(&[], &[first, last, named]);
    let found = nodes(&calls).find("tag-hub:terminated", &[]).await.unwrap();
    assert_eq!(found.keys().map(ManagedInstanceId::as_str).collect::<Vec<_>>(), [NODE, NODE_2]);
    assert_eq!(found[&node(NODE)]["tag-hub:terminated"], "1");
    let named = nodes(&calls).find("tag-hub:terminated", &["1".to_owned(), "2".to_owned()]).await.unwrap();
    assert!(named.is_empty());
}

#[tokio::test]
async fn a_search_that_is_throttled_goes_on_where_it_was() {
    let throttled = mock!(TaggingClient::get_resources)
        .sequence()
        .output(|| page(&[NODE], "more"))
        .http_status(400, Some(error_body("ThrottledException")))
        .output(|| page(&[NODE_2], ""))
        .build();
    let calls = calls(&[], std::slice::from_ref(&throttled));
    assert_eq!(nodes(&calls).find("tag-hub:terminated", &[]).await.unwrap().len(), 2);
    assert_eq!(throttled.num_calls(), 3);
}

fn instance(id: &str, status: Option<PingStatus>) -> InstanceInformation {
    InstanceInformation::builder()
        .instance_id(id)
        .set_ping_status(status)
        .last_ping_date_time(DateTime::from_secs(1_795_312_800))
        .resource_type(ResourceType::ManagedInstance)
        .build()
}

fn described(instances: Vec<InstanceInformation>) -> DescribeInstanceInformationOutput {
    DescribeInstanceInformationOutput::builder()
        .set_instance_information_list(Some(instances))
        .next_token(String::new())
        .build()
}

#[tokio::test]
async fn what_systems_manager_knows_is_asked_for_by_id() {
    let rule = mock!(SsmClient::describe_instance_information)
        .match_requests(|request| {
            let [filter] = request.filters() else { return false };
            filter.key() == "InstanceIds"
                && filter.values() == [NODE, NODE_2]
                && request.max_results() == Some(50)
                && request.instance_information_filter_list().is_empty()
        })
        .then_output(|| {
            described(vec![
                instance(NODE, Some(PingStatus::ConnectionLost)),
                instance(NODE_2, Some(PingStatus::Online)),
            ])
        });
    let calls = calls(&[rule], &[]);
    let read = nodes(&calls).information(&[node(NODE), node(NODE_2)]).await.unwrap();
    let lost = Information {
        is_managed_instance: true,
        is_connection_lost: true,
        last_seen: Some(Timestamp::from_unix_seconds(1_795_312_800)),
    };
    assert_eq!(read[&node(NODE)], lost);
    assert_eq!(read[&node(NODE_2)], Information { is_connection_lost: false, ..lost });
}

#[tokio::test]
async fn what_is_absent_or_new_speaks_for_the_node() {
    let never_pinged = InstanceInformation::builder().instance_id(NODE).resource_type(ResourceType::ManagedInstance);
    let registered = never_pinged.clone().registration_date(DateTime::from_secs(1_795_000_000));
    let time = |seconds| Some(Timestamp::from_unix_seconds(seconds));
    let pinged = time(1_795_312_800);
    for (instance, is_managed_instance, is_connection_lost, last_seen) in [
        (instance(NODE, Some(PingStatus::Inactive)), true, true, pinged),
        (instance(NODE, Some(PingStatus::from("Sleeping"))), true, false, pinged),
        (instance(NODE, None), true, false, pinged),
        (InstanceInformation::builder().instance_id(NODE).build(), false, true, None),
        // The agent was never heard of: what counts is when the node was registered, if anybody knows.
        (never_pinged.build(), true, true, None),
        (registered.clone().build(), true, true, time(1_795_000_000)),
        (registered.clone().ping_status(PingStatus::Online).build(), true, false, time(1_795_000_000)),
        (registered.last_ping_date_time(DateTime::from_secs(1_795_312_800)).build(), true, false, pinged),
    ] {
        let answer = instance.clone();
        let rule = mock!(SsmClient::describe_instance_information).then_output(move || described(vec![answer.clone()]));
        let calls = calls(&[rule], &[]);
        let read = nodes(&calls).information(&[node(NODE)]).await.unwrap()[&node(NODE)];
        assert_eq!(read, Information { is_managed_instance, is_connection_lost, last_seen }, "{instance:?}");
    }
}

#[tokio::test]
async fn an_unknown_node_alone_is_absent_and_among_others_fails_the_call() {
    let rule = mock!(SsmClient::describe_instance_information)
        .sequence()
        .http_status(400, Some(error_body("InvalidInstanceId")))
        .times(2)
        .build();
    let calls = calls(std::slice::from_ref(&rule), &[]);
    assert!(nodes(&calls).information(&[node(NODE)]).await.unwrap().is_empty());
    let error = nodes(&calls).information(&[node(NODE), node(NODE_2)]).await.unwrap_err();
    assert_eq!((error.operation, error.code.as_str()), ("ssm:DescribeInstanceInformation", "InvalidInstanceId"));
    assert_eq!(rule.num_calls(), 2);
}

#[tokio::test]
async fn a_node_is_deregistered_by_its_id() {
    let rule = mock!(SsmClient::deregister_managed_instance)
        .match_requests(|request| request.instance_id() == Some(NODE))
        .then_output(|| DeregisterManagedInstanceOutput::builder().build());
    let calls = calls(std::slice::from_ref(&rule), &[]);
    nodes(&calls).deregister(&node(NODE)).await.unwrap();
    assert_eq!(rule.num_calls(), 1);
}

#[tokio::test]
async fn an_attempt_that_went_through_after_all_is_a_success() {
    let rule = mock!(SsmClient::deregister_managed_instance)
        .sequence()
        .http_status(500, Some(error_body("InternalServerError")))
        .http_status(400, Some(error_body("InvalidInstanceId")))
        .build();
    let calls = calls(std::slice::from_ref(&rule), &[]);
    nodes(&calls).deregister(&node(NODE)).await.unwrap();
    assert_eq!(rule.num_calls(), 2);
}

#[tokio::test]
async fn a_refusal_is_told_at_once() {
    for code in ["InvalidInstanceId", "AccessDeniedException"] {
        let rule =
            mock!(SsmClient::deregister_managed_instance).sequence().http_status(400, Some(error_body(code))).build();
        let calls = calls(std::slice::from_ref(&rule), &[]);
        let error = nodes(&calls).deregister(&node(NODE)).await.unwrap_err();
        assert_eq!((error.operation, error.code.as_str()), ("ssm:DeregisterManagedInstance", code));
        assert_eq!(rule.num_calls(), 1);
    }
}
