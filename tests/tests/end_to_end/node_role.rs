//! The role of the nodes: it outlives every stack, and a name that is taken is refused.

use local_aws::machine::Kind;
use local_aws::stacks;
use serde_json::{Value, json};
use tests::{AGENCY_A, CENTRAL, HOME_REGION, World};

const ROLE: &str = "tag-hub-managed-node";

/// The status that Systems Manager shows of a node, and of a command to it.
async fn reached(world: &World, node: &str) -> (String, Result<String, String>) {
    let client = world.central();
    let filter = json!({"Filters": [{"Key": "InstanceIds", "Values": [node]}]});
    let shown = client.json("ssm", "DescribeInstanceInformation", &filter).await.unwrap();
    let ping = shown["InstanceInformationList"][0]["PingStatus"].as_str().unwrap_or("no such node").to_owned();
    let command =
        json!({"DocumentName": "AWS-RunShellScript", "InstanceIds": [node], "Parameters": {"commands": ["id"]}});
    let sent = client.json("ssm", "SendCommand", &command).await;
    let status = sent.map(|sent| sent["Command"]["Status"].as_str().unwrap().to_owned());
    (ping, status.map_err(|error| error.code))
}

fn online() -> (String, Result<String, String>) {
    ("Online".to_owned(), Ok("Success".to_owned()))
}

/// What IAM calls the role, whatever its name is: a role that was made anew has another id.
async fn role_id(world: &World) -> Option<String> {
    let answer = world.central().query("iam", "GetRole", &[("RoleName", ROLE)]).await.ok()?;
    answer["Role"]["RoleId"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn nodes_stay_connected_when_every_stack_is_gone() {
    let world = World::deployed_for_registration().await.unwrap();
    let node = world.onboard(AGENCY_A, HOME_REGION, Kind::AmazonLinux, &[]).await.unwrap().enrolled.node;
    let role = role_id(&world).await.unwrap();
    let client = world.central();
    // A bucket with something in it would stay behind, and nothing here is about that.
    for stack in ["tag-hub-agency-222222222222", "tag-hub"] {
        stacks::delete(&client, stack).await.unwrap();
        assert_eq!(reached(&world, &node).await, online(), "without {stack}");
    }
    stacks::delete(&client, "tag-hub-managed-node-role").await.unwrap();
    assert_eq!(reached(&world, &node).await, online(), "the role outlives its own stack");
    assert_eq!(role_id(&world).await, Some(role.clone()));

    // The hub comes back and finds the role as it was; its stack cannot make it a second time.
    let error = world.deploy_managed_node_role(&[]).await.expect_err("it was made a second time");
    let told = format!("{error:#}");
    assert!(told.contains(ROLE) && told.contains("already exists"), "{told}");
    assert_eq!((role_id(&world).await, reached(&world, &node).await), (Some(role), online()));

    // This is what all that is for.
    let policy = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";
    for (operation, more) in [
        ("DetachRolePolicy", Some(("PolicyArn", policy))),
        ("DeleteRolePolicy", Some(("PolicyName", "no-parameters"))),
        ("DeleteRole", None),
    ] {
        let form: Vec<(&str, &str)> = [("RoleName", ROLE)].into_iter().chain(more).collect();
        client.query("iam", operation, &form).await.unwrap();
    }
    let lost = ("ConnectionLost".to_owned(), Err("InvalidInstanceId".to_owned()));
    assert_eq!(reached(&world, &node).await, lost, "without its role");
}

#[tokio::test]
async fn a_role_name_that_is_taken_is_refused_and_the_role_stays_as_it_was() {
    let world = World::start(tests::Paths::from_env().unwrap(), 0, None).unwrap();
    let client = world.central();
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"
    }]})
    .to_string();
    let form = [("RoleName", ROLE), ("AssumeRolePolicyDocument", trust.as_str()), ("Description", "of somebody else")];
    client.query("iam", "CreateRole", &form).await.unwrap();
    let error = world.deploy_managed_node_role(&[]).await.expect_err("it was deployed over a role of somebody else");
    let told = format!("{error:#}");
    assert!(told.contains(ROLE) && told.contains("already exists"), "{told}");
    let role = client.query("iam", "GetRole", &[("RoleName", ROLE)]).await.unwrap();
    assert_eq!(role["Role"]["Description"], "of somebody else");

    // Another name is as good, as long as the hub is told.
    stacks::delete(&client, "tag-hub-managed-node-role").await.unwrap();
    world.deploy_managed_node_role(&[("ManagedNodeRoleName", "tag-hub-node")]).await.unwrap();
    let error = world.deploy_managed_node_role(&[("ManagedNodeRoleName", "path/role")]).await.expect_err("a path");
    assert!(format!("{error:#}").contains("must be the name of an IAM role"), "{error:#}");
}

/// With `NodeRegions`, hubs in several Regions share the role.
#[tokio::test]
async fn the_role_is_for_one_region_or_for_all() {
    let world = World::start(tests::Paths::from_env().unwrap(), 0, None).unwrap();
    let activation = |region: &'static str| {
        let client = world.aws.client(CENTRAL, region);
        async move {
            let body = json!({"IamRole": ROLE, "RegistrationLimit": 1});
            client.json("ssm", "CreateActivation", &body).await.map(|_: Value| ()).map_err(|error| error.code)
        }
    };
    world.deploy_managed_node_role(&[]).await.unwrap();
    assert_eq!(activation(HOME_REGION).await, Ok(()));
    assert_eq!(activation("eu-west-1").await, Err("ValidationException".to_owned()));
    world.deploy_managed_node_role(&[("NodeRegions", "All")]).await.unwrap();
    assert_eq!(activation("eu-west-1").await, Ok(()));
}
