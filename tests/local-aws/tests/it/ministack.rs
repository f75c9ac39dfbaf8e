//! The deal with a real `MiniStack`: signatures, policies, invocations across accounts, faults.

use crate::support::{AGENCY, CENTRAL, NODE, REGION, deploy_central, start};
use http::Method;
use local_aws::{Fault, InvocationType, Moment, NewNode, stacks};
use serde_json::json;

fn node() -> NewNode {
    let tags = [("tag-hub:agency".to_owned(), AGENCY.to_owned())].into();
    NewNode { id: Some(NODE.to_owned()), tags, ..NewNode::default() }
}

#[tokio::test]
async fn policies_and_signatures_decide_who_may_tag() {
    let aws = start();
    deploy_central(&aws).await;
    aws.nodes().register(CENTRAL, REGION, node());
    aws.nodes().register(CENTRAL, REGION, NewNode::default());
    let root = aws.client(CENTRAL, REGION);
    let manager = root.assume_role(&format!("arn:aws:iam::{CENTRAL}:role/manager"), "test").await.unwrap();
    let add = json!({"ResourceType": "ManagedInstance", "ResourceId": NODE, "Tags": [{"Key": "Env", "Value": "PROD"}]});

    manager.json("ssm", "AddTagsToResource", &add).await.unwrap();
    assert_eq!(aws.nodes().tags(CENTRAL, REGION, NODE).unwrap()["Env"], "PROD");

    // The condition on the node's own tag holds for one node only.
    let remove = |id: &str| json!({"ResourceType": "ManagedInstance", "ResourceId": id, "TagKeys": ["Env"]});
    manager.json("ssm", "RemoveTagsFromResource", &remove(NODE)).await.unwrap();
    let nodes = aws.nodes().list(CENTRAL, REGION);
    let other = nodes.iter().find(|node| node.instance_id != NODE).unwrap();
    let denied = manager.json("ssm", "RemoveTagsFromResource", &remove(&other.instance_id)).await.unwrap_err();
    assert_eq!(denied.code, "AccessDeniedException");
    let expected = format!(
        "User: arn:aws:sts::{CENTRAL}:assumed-role/manager/test is not authorized to perform: \
         ssm:RemoveTagsFromResource on resource: arn:aws:ssm:{REGION}:{CENTRAL}:managed-instance/{} \
         because no identity-based policy allows the ssm:RemoveTagsFromResource action",
        other.instance_id
    );
    assert_eq!(denied.message, expected);
    let denied = manager.json("ssm", "DescribeInstanceInformation", &json!({})).await.unwrap_err();
    assert_eq!(denied.code, "AccessDeniedException");

    // A policy that changes counts at once.
    let policy = json!({"Statement": [{"Effect": "Deny", "Action": "ssm:AddTagsToResource", "Resource": "*"}]});
    let params = [("RoleName", "manager"), ("PolicyName", "deny"), ("PolicyDocument", &policy.to_string())];
    root.query("iam", "PutRolePolicy", &params).await.unwrap();
    let denied = manager.json("ssm", "AddTagsToResource", &add).await.unwrap_err();
    assert!(denied.message.ends_with("with an explicit deny in an identity-based policy"), "{denied}");

    let forged = root.with_credentials("ASIAAAAAAAAAAAAAAAAA", "wrong", Some("token"));
    let refused = forged.json("ssm", "AddTagsToResource", &add).await.unwrap_err();
    assert_eq!(refused.code, "UnrecognizedClientException");
    assert!(!aws.nodes().tags(CENTRAL, REGION, NODE).unwrap().contains_key("Env"));
}

#[tokio::test]
async fn a_session_with_a_wrong_secret_is_refused() {
    let aws = start();
    let root = aws.client(CENTRAL, REGION);
    let user = [("UserName", "ana")];
    root.query("iam", "CreateUser", &user).await.unwrap();
    let key = root.query("iam", "CreateAccessKey", &user).await.unwrap();
    let id = key["AccessKey"]["AccessKeyId"].as_str().unwrap();
    let secret = key["AccessKey"]["SecretAccessKey"].as_str().unwrap();
    let list = json!({"ResourceType": "ManagedInstance", "ResourceId": NODE});

    let forged = root.clone().with_credentials(id, "wrong", None);
    let refused = forged.json("ssm", "ListTagsForResource", &list).await.unwrap_err();
    assert_eq!(refused.code, "InvalidSignatureException");

    let ana = root.clone().with_credentials(id, secret, None);
    let refused = ana.json("ssm", "ListTagsForResource", &list).await.unwrap_err();
    assert_eq!(refused.code, "AccessDeniedException");
    let policy = json!({"Statement": [{"Effect": "Allow", "Action": "ssm:List*", "Resource": "*"}]}).to_string();
    let params = [("UserName", "ana"), ("PolicyName", "list"), ("PolicyDocument", &policy)];
    root.query("iam", "PutUserPolicy", &params).await.unwrap();
    let refused = ana.json("ssm", "ListTagsForResource", &list).await.unwrap_err();
    assert_eq!(refused.code, "InvalidResourceId", "now it is the node that is missing");
}

#[tokio::test]
async fn an_alias_is_invoked_across_accounts_where_both_sides_allow_it() {
    let aws = start();
    let alias = deploy_central(&aws).await;
    let agency = aws.client(AGENCY, REGION);
    stacks::deploy(&agency, "agency", include_str!("support/agency.yaml"), &[("Manager", &alias)]).await.unwrap();
    let collector = agency.assume_role(&format!("arn:aws:iam::{AGENCY}:role/collector"), "test").await.unwrap();
    let nobody = agency.assume_role(&format!("arn:aws:iam::{AGENCY}:role/nobody"), "test").await.unwrap();
    let event = json!({"hello": "there"});

    for client in [&collector, &agency] {
        let answer = client.invoke(&alias, InvocationType::RequestResponse, &event).await.unwrap();
        assert_eq!((answer.status, answer.function_error), (200, None));
        assert_eq!(answer.payload["arn"], alias.as_str());
        assert_eq!(answer.payload["event"], event);
    }
    let dry = collector.invoke(&alias, InvocationType::DryRun, &event).await.unwrap();
    assert_eq!(dry.status, 204);
    let asynchronous = collector.invoke(&alias, InvocationType::Event, &event).await.unwrap();
    assert_eq!(asynchronous.status, 202);
    let failed = collector.invoke(&alias, InvocationType::RequestResponse, &json!({"fail": true})).await.unwrap();
    assert_eq!((failed.status, failed.function_error.as_deref()), (200, Some("Unhandled")));
    assert_eq!(failed.payload["errorMessage"], "as asked");
    assert!(failed.log.contains("failing as asked"), "{}", failed.log);

    let function = alias.rsplit_once(':').unwrap().0;
    let others = format!("{function}:agency-333333333333");
    let rows = [
        (&nobody, alias.as_str(), "no identity-based policy"),
        (&collector, others.as_str(), "no identity-based policy"),
        (&agency, others.as_str(), "no resource-based policy"),
        (&agency, function, "no resource-based policy"),
    ];
    for (client, target, reason) in rows {
        let denied = client.invoke(target, InvocationType::RequestResponse, &event).await.unwrap_err();
        assert_eq!((denied.status, denied.code.as_str()), (403, "AccessDeniedException"), "{target}");
        assert!(denied.message.contains(reason), "{target}: {denied}");
        assert!(denied.message.contains(&format!("lambda:InvokeFunction on resource: {target} ")), "{denied}");
    }
}

#[tokio::test]
async fn a_function_acts_with_its_role_through_the_edge() {
    let aws = start();
    deploy_central(&aws).await;
    aws.nodes().register(CENTRAL, REGION, node());
    let root = aws.client(CENTRAL, REGION);
    let call =
        |operation: &str, input| json!({"service": "resourcegroupstaggingapi", "operation": operation, "input": input});
    let event = call("GetResources", json!({"ResourceTypeFilters": ["ssm:managed-instance"]}));

    let answer = root.invoke("manager", InvocationType::RequestResponse, &event).await.unwrap();
    let arn = format!("arn:aws:ssm:{REGION}:{CENTRAL}:managed-instance/{NODE}");
    assert_eq!(answer.payload["ResourceTagMappingList"][0]["ResourceARN"], arn, "{answer:?}");
    assert_eq!(aws.calls().snapshot().of_account(CENTRAL, "tagging:GetResources").answered, 1);

    let bad = json!({"ResourceType": "ManagedInstance", "ResourceId": NODE, "Tags": [{"Key": "a#b", "Value": ""}]});
    let event = json!({"service": "ssm", "operation": "AddTagsToResource", "input": bad});
    let answer = root.invoke("manager", InvocationType::RequestResponse, &event).await.unwrap();
    assert_eq!(answer.payload["Code"], "ValidationException", "{answer:?}");
    let message = answer.payload["Message"].as_str().unwrap();
    assert!(message.starts_with("1 validation error detected: Value 'a#b' at 'tags.1.member.key'"), "{message}");
}

#[tokio::test]
async fn a_killed_function_is_a_function_error_and_is_replaced() {
    let aws = start();
    deploy_central(&aws).await;
    let root = aws.client(CENTRAL, REGION);
    let event = json!({});
    let first = root.invoke("manager", InvocationType::RequestResponse, &event).await.unwrap();
    aws.faults().add(Fault::kill("tagging:GetResources", "manager", Moment::BeforeTheCall).times(1));
    let get = json!({"service": "resourcegroupstaggingapi", "operation": "GetResources",
                     "input": {"ResourceTypeFilters": ["ssm:managed-instance"]}});

    let killed = root.invoke("manager", InvocationType::RequestResponse, &get).await.unwrap();
    assert_eq!(killed.function_error.as_deref(), Some("Unhandled"), "{killed:?}");
    assert_eq!(killed.payload["errorType"], "Runtime.ExitError");

    let second = root.invoke("manager", InvocationType::RequestResponse, &event).await.unwrap();
    assert_eq!(second.function_error, None);
    assert_ne!(first.payload["process"], second.payload["process"]);
}

#[tokio::test]
async fn faults_reach_what_passes_through_in_its_own_protocol() {
    let aws = start();
    let root = aws.client(CENTRAL, REGION);
    aws.faults().add(Fault::throttle("ec2:DescribeInstances").times(1));
    let throttled = root.query("ec2", "DescribeInstances", &[]).await.unwrap_err();
    assert_eq!((throttled.status, throttled.code.as_str()), (503, "RequestLimitExceeded"));
    root.query("ec2", "DescribeInstances", &[]).await.unwrap();
    let count = aws.calls().snapshot().of_account(CENTRAL, "ec2:DescribeInstances");
    assert_eq!((count.throttled, count.answered), (1, 1));

    aws.faults().add(Fault::throttle("lambda:Invoke"));
    let throttled = root.invoke("manager", InvocationType::RequestResponse, &json!({})).await.unwrap_err();
    assert_eq!((throttled.status, throttled.code.as_str()), (429, "TooManyRequestsException"));
    let path = "/2015-03-31/functions";
    assert_eq!(root.rest("lambda", Method::GET, path, &[], "").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_stack_that_fails_tells_why() {
    let aws = start();
    let template = r#"{"Resources": {"Thing": {"Type": "AWS::IAM::Policy", "Properties": {
        "PolicyName": "p", "Roles": ["absent"], "PolicyDocument": {"Version": "2012-10-17", "Statement": []}}}}}"#;
    let error = stacks::deploy(&aws.client(CENTRAL, REGION), "broken", template, &[]).await.unwrap_err();
    assert!(
        matches!(&error, stacks::StackError::Failed { reasons, .. } if reasons[0].starts_with("Thing ")),
        "{error}"
    );
}
