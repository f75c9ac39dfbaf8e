//! The reads of EC2.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{Builder, Region as SdkRegion};
use aws_sdk_ec2::operation::describe_instances::{DescribeInstancesInput, DescribeInstancesOutput};
use aws_sdk_ec2::types::{
    Instance as Ec2Instance, InstanceState as Ec2State, InstanceStateName, Reservation, Tag as Ec2Tag,
};
use aws_smithy_mocks::{Rule, create_mock_http_client, mock};
use hub::{Region, Tag};
use tags_collector::aws::Instances;
use tags_collector::plan::{InstanceState, SeenInstance};
use tags_collector::ports::Page;

use crate::{Seen, credentials, http_response, in_order};

const THROTTLED: &str = "<Response><Errors><Error><Code>RequestLimitExceeded</Code>\
    <Message>Request limit exceeded.</Message></Error></Errors><RequestID>req-1</RequestID></Response>";
const DENIED: &str = "<Response><Errors><Error><Code>UnauthorizedOperation</Code>\
    <Message>You are not authorized to perform this operation.</Message></Error></Errors>\
    <RequestID>req-2</RequestID></Response>";
const EMPTY: &str = r#"<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
    <requestId>req-3</requestId><reservationSet/><nextToken></nextToken></DescribeInstancesResponse>"#;

/// The real settings; the tests that wait have a clock that is paused.
fn instances_seen_by(rules: &[&Rule], seen: Seen) -> Instances {
    Instances::new(
        Builder::new()
            .behavior_version_latest()
            .region(SdkRegion::new("us-east-1"))
            .credentials_provider(credentials())
            .http_client(create_mock_http_client())
            .interceptor(in_order(rules))
            .interceptor(seen),
    )
}

fn instances(rules: &[&Rule]) -> Instances {
    instances_seen_by(rules, Seen::default())
}

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

fn filters(request: &DescribeInstancesInput) -> Vec<(&str, &[String])> {
    request.filters().iter().map(|filter| (filter.name().unwrap(), filter.values())).collect()
}

fn ec2_instance(id: &str, tags: &[(&str, Option<&str>)]) -> Ec2Instance {
    let tags = tags.iter().map(|(key, value)| Ec2Tag::builder().key(*key).set_value(value.map(str::to_owned)).build());
    Ec2Instance::builder().instance_id(id).set_tags(Some(tags.collect())).build()
}

fn output(token: Option<&str>, instances: Vec<Ec2Instance>) -> DescribeInstancesOutput {
    DescribeInstancesOutput::builder()
        .reservations(Reservation::builder().set_instances(Some(instances)).build())
        .set_next_token(token.map(str::to_owned))
        .build()
}

fn tag(key: &str, value: &str) -> Tag {
    Tag { key: key.to_owned(), value: value.to_owned() }
}

fn seen(id: &str, state: InstanceState) -> SeenInstance {
    SeenInstance { ec2_instance_id: id.to_owned(), state, managed_instance_id: None, tags: Vec::new() }
}

#[tokio::test]
async fn all_instances_are_asked_for_whatever_their_state_and_tags() {
    let rule = mock!(Client::describe_instances)
        .match_requests(|request| {
            request.filters().is_empty()
                && request.max_results() == Some(1000)
                && request.instance_ids().is_empty()
                && request.next_token().is_none()
        })
        .then_output(|| output(None, vec![ec2_instance("i-01234567", &[("Env", Some("PROD"))])]));
    let page = instances(&[&rule]).page(&region("us-east-1"), &[], None).await.unwrap();
    let expected = SeenInstance { tags: vec![tag("Env", "PROD")], ..seen("i-01234567", InstanceState::Stopped) };
    assert_eq!(page.instances, [expected], "also without a node");
}

#[tokio::test]
async fn all_tags_are_carried_but_the_join_key() {
    let rule = mock!(Client::describe_instances).then_output(|| {
        let tags = [
            ("Env", Some("PROD")),
            ("managedinstanceid", Some("mi-0123456789abcdef0")),
            ("aws:cloudformation:stack-name", Some("web")),
            ("Empty", None),
        ];
        output(Some("token-2"), vec![ec2_instance("i-0abcdef0123456789", &tags)])
    });
    let page = instances(&[&rule]).page(&region("us-east-1"), &[], None).await.unwrap();
    let expected = SeenInstance {
        ec2_instance_id: "i-0abcdef0123456789".to_owned(),
        state: InstanceState::Stopped,
        managed_instance_id: Some("mi-0123456789abcdef0".to_owned()),
        tags: vec![tag("Env", "PROD"), tag("aws:cloudformation:stack-name", "web"), tag("Empty", "")],
    };
    assert_eq!(page, Page { instances: vec![expected], next_token: Some("token-2".to_owned()) });
}

#[tokio::test]
async fn every_state_of_ec2_has_its_meaning() {
    use InstanceStateName as Name;
    for (name, expected) in [
        (Name::Pending, InstanceState::Running),
        (Name::Running, InstanceState::Running),
        (Name::Stopping, InstanceState::Stopped),
        (Name::Stopped, InstanceState::Stopped),
        (Name::ShuttingDown, InstanceState::ShuttingDown),
        (Name::Terminated, InstanceState::Terminated),
        (Name::from("dreaming"), InstanceState::Stopped),
    ] {
        let mut instance = ec2_instance("i-01234567", &[]);
        instance.state = Some(Ec2State::builder().name(name).build());
        let rule = mock!(Client::describe_instances).then_output(move || output(None, vec![instance.clone()]));
        let page = instances(&[&rule]).page(&region("us-east-1"), &[], None).await.unwrap();
        assert_eq!(page.instances, [seen("i-01234567", expected)]);
    }
}

#[tokio::test]
async fn the_next_page_is_asked_for_by_its_token() {
    let rule = mock!(Client::describe_instances)
        .match_requests(|request| request.next_token() == Some("token-2") && request.filters().is_empty())
        .then_output(|| output(Some(""), Vec::new()));
    let page = instances(&[&rule]).page(&region("us-east-1"), &[], Some("token-2".to_owned())).await.unwrap();
    assert_eq!(page.next_token, None);
}

#[tokio::test]
async fn ids_are_a_filter_and_nothing_else_gets_through() {
    let rule = mock!(Client::describe_instances)
        .match_requests(|request| {
            filters(request) == [("instance-id", &["i-01234567".to_owned(), "i-89abcdef".to_owned()][..])]
                && request.instance_ids().is_empty()
                && request.next_token() == Some("token-2")
        })
        // Whatever the service makes of the filter, nobody else's life or end is reported.
        .then_output(|| output(None, ["i-01234567", "i-00000000"].map(|id| ec2_instance(id, &[])).to_vec()));
    let ids = ["i-01234567", "i-89abcdef"].map(|id| id.parse().unwrap());
    let page = instances(&[&rule]).page(&region("us-east-1"), &ids, Some("token-2".to_owned())).await.unwrap();
    assert_eq!(page.instances, [seen("i-01234567", InstanceState::Stopped)]);
}

#[tokio::test]
async fn each_region_is_called_in_its_place() {
    let empty = || mock!(Client::describe_instances).then_output(|| output(None, Vec::new()));
    let seen = Seen::default();
    let instances = instances_seen_by(&[&empty(), &empty()], seen.clone());
    for name in ["eu-west-1", "us-gov-west-1"] {
        instances.page(&region(name), &[], None).await.unwrap();
    }
    assert_eq!(
        seen.requests(),
        ["ec2.eu-west-1.amazonaws.com eu-west-1/ec2", "ec2.us-gov-west-1.amazonaws.com us-gov-west-1/ec2"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_is_repeated() {
    let rule = mock!(Client::describe_instances)
        .sequence()
        .http_response(|| http_response(503, THROTTLED))
        .times(2)
        .http_response(|| http_response(200, EMPTY))
        .build();
    assert_eq!(instances(&[&rule]).page(&region("us-east-1"), &[], None).await, Ok(Page::default()));
    assert_eq!(rule.num_calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_stays_throttled_fails_after_five_attempts() {
    let rule = mock!(Client::describe_instances)
        .sequence()
        .http_response(|| http_response(503, THROTTLED))
        .repeatedly()
        .build();
    let error = instances(&[&rule]).page(&region("us-east-1"), &[], None).await.unwrap_err();
    assert!(error.is_throttling() && error.retryable, "{error}");
    assert_eq!(rule.num_calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_denied_call_is_told_at_once() {
    let denied = || {
        let mut response = http_response(403, DENIED);
        response.headers_mut().insert("x-amzn-requestid", "req-2");
        response
    };
    let rule = mock!(Client::describe_instances).sequence().http_response(denied).repeatedly().build();
    let error = instances(&[&rule]).page(&region("us-east-1"), &[], None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "ec2:DescribeInstances failed: UnauthorizedOperation: You are not authorized to perform this operation. \
         (request id req-2)"
    );
    assert!(error.is_access_denied());
    assert_eq!(rule.num_calls(), 1);
}
