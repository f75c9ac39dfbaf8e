//! The edge without `MiniStack`: nodes, tags and a made-up fleet for measurements.

use std::sync::Arc;

use crate::support::{AGENCY, CENTRAL, NODE, REGION, python};
use bytes::Bytes;
use local_aws::{Fleet, Functions, Instance, InvocationType, Invoked, LocalAws, NewNode, Options};
use serde_json::{Value, json};

fn start(options: impl FnOnce(&mut Options)) -> LocalAws {
    let mut all = Options { ministack: false, ..Options::new(python()) };
    options(&mut all);
    LocalAws::start(all).unwrap()
}

#[tokio::test]
async fn nodes_and_tags_by_the_real_service_model() {
    let aws = start(|_| {});
    aws.nodes().register(CENTRAL, REGION, NewNode { id: Some(NODE.to_owned()), ..NewNode::default() });
    let client = aws.client(CENTRAL, REGION);
    let of_node = |more: Value| {
        let mut body = json!({"ResourceType": "ManagedInstance", "ResourceId": NODE});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };

    let bad = of_node(json!({"Tags": [{"Key": "Env", "Value": "PROD"}, {"Key": "a#b", "Value": "x".repeat(257)}]}));
    let refused = client.json("ssm", "AddTagsToResource", &bad).await.unwrap_err();
    assert_eq!(refused.code, "ValidationException");
    assert!(refused.message.starts_with("2 validation errors detected: "), "{refused}");
    assert!(aws.nodes().tags(CENTRAL, REGION, NODE).unwrap().is_empty());

    let good = of_node(json!({"Tags": [{"Key": "Env", "Value": "PROD"}]}));
    client.json("ssm", "AddTagsToResource", &good).await.unwrap();
    let list = client.json("ssm", "ListTagsForResource", &of_node(json!({}))).await.unwrap();
    assert_eq!(list, json!({"TagList": [{"Key": "Env", "Value": "PROD"}]}));
    let filters = json!({"Filters": [{"Key": "tag:Env", "Values": ["PROD"]}]});
    let described = client.json("ssm", "DescribeInstanceInformation", &filters).await.unwrap();
    assert_eq!(described["InstanceInformationList"][0]["SourceId"], NODE);

    let arns = json!({"ResourceARNList": (0..101).map(|n| format!("arn:aws:ssm:{REGION}:{CENTRAL}:managed-instance/mi-{n:017x}")).collect::<Vec<_>>()});
    let refused = client.json("tagging", "GetResources", &arns).await.unwrap_err();
    assert_eq!(refused.code, "InvalidParameterException");
    assert!(refused.message.contains("length less than or equal to 100"), "{refused}");
}

#[tokio::test]
async fn a_made_up_fleet_and_functions() {
    let reply = |invoked: Invoked| async move {
        let payload: Value = serde_json::from_slice(&invoked.payload).unwrap();
        Ok(Bytes::from(json!({"caller": invoked.caller, "payload": payload}).to_string()))
    };
    let aws = start(|options| {
        options.fleet = Some(Fleet::new(2500, |index| Instance {
            id: format!("i-{index:017x}"),
            state: "running".to_owned(),
            tags: vec![("managedinstanceid".to_owned(), format!("mi-{index:017x}"))],
        }));
        options.functions = Some(Functions::Call(Arc::new(move |invoked| Box::pin(reply(invoked)))));
    });
    let client = aws.client(AGENCY, REGION);
    let (mut found, mut token) = (0, String::new());
    loop {
        let mut params =
            vec![("MaxResults", "1000"), ("Filter.1.Name", "tag-key"), ("Filter.1.Value.1", "managedinstanceid")];
        if !token.is_empty() {
            params.push(("NextToken", &token));
        }
        let page = client.query("ec2", "DescribeInstances", &params).await.unwrap();
        found += page["reservationSet"].as_array().unwrap().len();
        match page["nextToken"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(found, 2500);
    assert_eq!(aws.calls().snapshot().of("ec2:DescribeInstances").answered, 3);

    let arn = format!("arn:aws:lambda:{REGION}:{CENTRAL}:function:manager:agency-{AGENCY}");
    let answer = client.invoke(&arn, InvocationType::RequestResponse, &json!(1)).await.unwrap();
    assert_eq!(answer.payload, json!({"caller": AGENCY, "payload": 1}));
}

#[tokio::test]
async fn patch_states_of_nodes_that_were_scanned() {
    let aws = start(|_| {});
    let id = |index: usize| format!("mi-{index:017x}");
    for index in 0..12 {
        aws.nodes().register(CENTRAL, REGION, NewNode { id: Some(id(index)), ..NewNode::default() });
    }
    let scanned = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(498_698);
    for index in 1..12 {
        let state = local_aws::PatchState {
            missing_count: 3,
            failed_count: 1,
            installed_pending_reboot_count: 0,
            critical_non_compliant_count: 2,
            operation_end_time: scanned,
        };
        assert!(aws.nodes().update(CENTRAL, REGION, &id(index), |node| node.patch_state = Some(state)));
    }
    let client = aws.client(CENTRAL, REGION);
    let ask = async |body: Value| client.json("ssm", "DescribeInstancePatchStates", &body).await;
    let two = ask(json!({"InstanceIds": [id(0), id(1), "mi-ffffffffffffffff0"]})).await.unwrap();
    let [state] = two["InstancePatchStates"].as_array().unwrap().as_slice() else { panic!("{two}") };
    let shown = ["InstanceId", "MissingCount", "FailedCount", "CriticalNonCompliantCount", "OperationEndTime"];
    assert_eq!(
        shown.map(|name| state[name].clone()),
        [json!(id(1)), json!(3), json!(1), json!(2), json!(1_795_312_800.0)]
    );

    let all: Vec<String> = (0..12).map(id).collect();
    let first = ask(json!({"InstanceIds": all, "MaxResults": 10})).await.unwrap();
    assert_eq!(first["InstancePatchStates"].as_array().unwrap().len(), 10);
    let rest = ask(json!({"InstanceIds": all, "MaxResults": 10, "NextToken": first["NextToken"]})).await.unwrap();
    assert_eq!((rest["InstancePatchStates"].as_array().unwrap().len(), &rest["NextToken"]), (1, &Value::Null));
    for refused in [json!({}), json!({"InstanceIds": (0..51).map(id).collect::<Vec<_>>()})] {
        assert_eq!(ask(refused).await.unwrap_err().code, "ValidationException");
    }
}
