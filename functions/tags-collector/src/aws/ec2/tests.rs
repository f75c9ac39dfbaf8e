use aws_sdk_ec2::operation::describe_instances::DescribeInstancesInput;
use aws_sdk_ec2::types::{Instance as Ec2Instance, InstanceState, Reservation, Tag as Ec2Tag};
use aws_smithy_mocks::{Rule, create_mock_http_client, mock};

use super::*;
use crate::aws::mocks::{Seen, credentials, http_response, in_order};

const THROTTLED: &str = "<Response><Errors><Error><Code>RequestLimitExceeded</Code>\
    <Message>Request limit exceeded.</Message></Error></Errors><RequestID>req-1</RequestID></Response>";
const DENIED: &str = "<Response><Errors><Error><Code>UnauthorizedOperation</Code>\
    <Message>You are not authorized to perform this operation.</Message></Error></Errors>\
    <RequestID>req-2</RequestID></Response>";
const EMPTY: &str = r#"<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
    <requestId>req-3</requestId><reservationSet/><nextToken></nextToken></DescribeInstancesResponse>"#;

fn instances_seen_by(rules: &[&Rule], seen: Seen) -> Instances {
    let builder = Builder::new()
        .behavior_version_latest()
        .region(aws_sdk_ec2::config::Region::new("us-east-1"))
        .credentials_provider(credentials())
        .http_client(create_mock_http_client())
        .interceptor(in_order(rules))
        .interceptor(seen);
    let config = settings(builder);
    // The real settings, but for the wait.
    let retries = config.retry_config().unwrap().clone().with_initial_backoff(Duration::from_millis(1));
    Instances { client: Client::from_conf(config.to_builder().retry_config(retries).build()) }
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

#[tokio::test]
async fn only_instances_that_name_a_node_are_asked_for() {
    let rule = mock!(Client::describe_instances)
        .match_requests(|request| {
            let states = STATES.map(str::to_owned);
            filters(request)
                == [("tag-key", &["managedinstanceid".to_owned()][..]), ("instance-state-name", &states[..])]
                && request.max_results() == Some(1000)
                && request.instance_ids().is_empty()
                && request.next_token().is_none()
        })
        .then_output(|| output(None, vec![ec2_instance("i-01234567", &[("Env", Some("PROD"))])]));
    // Should EC2 show an instance without the tag all the same, it stays out.
    assert_eq!(instances(&[&rule]).page(&region("us-east-1"), &[], None).await, Ok(Page::default()));
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
    let expected = Instance {
        instance_id: "mi-0123456789abcdef0".to_owned(),
        ec2_instance_id: Some("i-0abcdef0123456789".to_owned()),
        tags: vec![tag("Env", "PROD"), tag("aws:cloudformation:stack-name", "web"), tag("Empty", "")],
    };
    let next_token = Some("token-2".to_owned());
    assert_eq!(page, Page { instances: vec![expected], next_token, ..Page::default() });
}

fn terminated_instance(id: &str, tags: &[(&str, Option<&str>)]) -> Ec2Instance {
    let mut instance = ec2_instance(id, tags);
    instance.state = Some(InstanceState::builder().name(InstanceStateName::Terminated).build());
    instance
}

fn gone(ids: &[&str]) -> Page {
    let terminated = ids.iter().map(|id| Terminated { ec2_instance_id: (*id).to_owned() }).collect();
    Page { terminated, ..Page::default() }
}

#[tokio::test]
async fn the_terminated_are_told_from_the_living() {
    let rule = mock!(Client::describe_instances).then_output(|| {
        let node = [("managedinstanceid", Some("mi-0123456789abcdef0"))];
        output(None, vec![ec2_instance("i-01234567", &node), terminated_instance("i-89abcdef", &node)])
    });
    let page = instances(&[&rule]).page(&region("us-east-1"), &[], None).await.unwrap();
    assert_eq!(page.instances.len(), 1);
    assert_eq!(Page { instances: Vec::new(), ..page }, gone(&["i-89abcdef"]));
}

#[tokio::test]
async fn whether_instances_are_terminated_is_asked_without_their_tags() {
    let rule = mock!(Client::describe_instances)
        .match_requests(|request| {
            filters(request)
                == [
                    ("instance-state-name", &["terminated".to_owned(), "shutting-down".to_owned()][..]),
                    ("instance-id", &["i-01234567", "i-89abcdef", "i-fedcba98"].map(str::to_owned)[..]),
                ]
                && request.next_token() == Some("token-2")
        })
        .then_output(|| {
            // Whatever the service makes of the filters, nobody else's end is reported, and no life.
            let node = [("managedinstanceid", Some("mi-0123456789abcdef0"))];
            let mut ending = ec2_instance("i-fedcba98", &[]);
            ending.state = Some(InstanceState::builder().name(InstanceStateName::ShuttingDown).build());
            let others = [ec2_instance("i-01234567", &node), ending];
            output(
                None,
                [&others[..], &[terminated_instance("i-89abcdef", &[]), terminated_instance("i-00000000", &[])]]
                    .concat(),
            )
        });
    let ids = ["i-01234567", "i-89abcdef", "i-fedcba98"].map(|id| id.parse().unwrap());
    let page = instances(&[&rule]).terminated(&region("us-east-1"), &ids, Some("token-2".to_owned())).await;
    assert_eq!(page, Ok(Page { ending: vec!["i-fedcba98".to_owned()], ..gone(&["i-89abcdef"]) }));
}

#[tokio::test]
async fn the_next_page_is_asked_for_by_its_token() {
    let rule = mock!(Client::describe_instances)
        .match_requests(|request| request.next_token() == Some("token-2") && request.filters().len() == 2)
        .then_output(|| output(Some(""), Vec::new()));
    let page = instances(&[&rule]).page(&region("us-east-1"), &[], Some("token-2".to_owned())).await.unwrap();
    assert_eq!(page.next_token, None);
}

#[tokio::test]
async fn ids_are_a_filter() {
    let rule = mock!(Client::describe_instances)
        .match_requests(|request| {
            filters(request)[2..] == [("instance-id", &["i-01234567".to_owned(), "i-89abcdef".to_owned()][..])]
                && request.instance_ids().is_empty()
        })
        .then_output(|| output(None, Vec::new()));
    let ids = ["i-01234567", "i-89abcdef"].map(|id| id.parse().unwrap());
    assert_eq!(instances(&[&rule]).page(&region("us-east-1"), &ids, None).await, Ok(Page::default()));
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

#[tokio::test]
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

#[tokio::test]
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

#[tokio::test]
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
