//! Activations, registration and Run Command, with and without `MiniStack`.

use std::time::Duration;

use crate::support::{AGENCY, CENTRAL, REGION, python, role, start};
use local_aws::machine::{Fault, Kind, Machine, launch};
use local_aws::{Client, Ec2Instance, ImdsState, LocalAws, NewNode, Options};
use serde_json::{Value, json};

fn alone() -> LocalAws {
    LocalAws::start(Options { ministack: false, ..Options::new(python()) }).unwrap()
}

fn machine(aws: &LocalAws, kind: Kind) -> Machine {
    let instance_id = "i-0123456789abcdef0".to_owned();
    let instance = Ec2Instance { account: AGENCY.to_owned(), region: REGION.to_owned(), instance_id };
    Machine::new(aws, kind, instance).unwrap()
}

async fn activation(client: &Client, more: Value) -> (String, String) {
    let mut body = json!({"IamRole": "node"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = client.json("ssm", "CreateActivation", &body).await.unwrap();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("ActivationId"), text("ActivationCode"))
}

/// Registers the machine: exit code and what was printed.
async fn register(machine: &Machine, (id, code): &(String, String), more: &[&str]) -> (i32, String) {
    let mut command = machine.command(machine.agent());
    command.args(["-register", "-id", id, "-code", code, "-region", REGION]).args(more);
    command.stdin(std::process::Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

async fn run(machine: &Machine, program: &str, arguments: &[&str]) -> (i32, String) {
    let mut command = machine.command(machine.root().join("usr/bin").join(program));
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn a_machine_registers_and_is_found_by_its_activation_until_it_is_deregistered() {
    let aws = alone();
    let central = aws.client(CENTRAL, REGION);
    let tags = json!([{"Key": "tag-hub:agency", "Value": AGENCY}]);
    let made =
        activation(&central, json!({"Tags": tags, "DefaultInstanceName": "agency", "RegistrationLimit": 5})).await;
    let machine = machine(&aws, Kind::AmazonLinux);
    assert_eq!(machine.registration(), None);
    let (code, text) = register(&machine, &made, &[]).await;
    let node = machine.registration().unwrap().instance_id;
    assert_eq!(code, 0, "{text}");
    let line = format!("INFO Successfully registered the instance with AWS SSM using Managed instance-id: {node}\n");
    assert!(text.ends_with(&line), "{text}");
    assert_eq!(machine.registration_file(), machine.registration());
    assert_eq!(aws.calls().snapshot().of_account(CENTRAL, "ssm:RegisterManagedInstance").answered, 1);

    let filters = json!({"Filters": [{"Key": "ActivationIds", "Values": [made.0]}]});
    aws.nodes().set_ping(CENTRAL, REGION, &node, "ConnectionLost", Duration::from_hours(2));
    aws.nodes().update(CENTRAL, REGION, &node, |node| node.computer_name = "ip-10-0-0-1".to_owned());
    let described = central.json("ssm", "DescribeInstanceInformation", &filters).await.unwrap();
    let described = &described["InstanceInformationList"][0];
    let expected = [
        ("InstanceId", node.as_str()),
        ("Name", "agency"),
        ("PingStatus", "ConnectionLost"),
        ("ComputerName", "ip-10-0-0-1"),
        ("IamRole", "node"),
    ];
    for (name, value) in expected {
        assert_eq!(described[name], value, "{described}");
    }
    let seconds = |name: &str| described[name].as_f64().unwrap();
    assert!(seconds("LastPingDateTime") < seconds("RegistrationDate") - 7000.0);
    let found = central.json("ssm", "DescribeActivations", &json!({})).await.unwrap();
    assert_eq!(found["ActivationList"][0]["RegistrationsCount"], 1);

    let arn = format!("arn:aws:ssm:{REGION}:{CENTRAL}:managed-instance/{node}");
    let get = json!({"ResourceARNList": [arn]});
    let tagged = central.json("tagging", "GetResources", &get).await.unwrap();
    assert_eq!(tagged["ResourceTagMappingList"][0]["Tags"], tags);
    central.json("ssm", "DeregisterManagedInstance", &json!({"InstanceId": node})).await.unwrap();
    let tagged = central.json("tagging", "GetResources", &get).await.unwrap();
    assert_eq!(tagged["ResourceTagMappingList"], json!([]));
    let again = central.json("ssm", "DeregisterManagedInstance", &json!({"InstanceId": node})).await.unwrap_err();
    assert_eq!(again.code, "InvalidInstanceId");
    let bad = central.json("ssm", "DeregisterManagedInstance", &json!({"InstanceId": "i-0123456789abcdef0"})).await;
    assert_eq!(bad.unwrap_err().code, "ValidationException");
}

#[tokio::test]
async fn an_override_that_fails_destroys_the_registration() {
    let aws = alone();
    let central = aws.client(CENTRAL, REGION);
    let made = activation(&central, json!({"RegistrationLimit": 2})).await;
    let machine = machine(&aws, Kind::UbuntuSnap);
    assert_eq!(register(&machine, &made, &[]).await.0, 0);
    let before = machine.registration().unwrap();

    let (code, text) = register(&machine, &made, &[]).await;
    assert!(code == 1 && text.contains("Would you like to override existing"), "{text}");
    assert_eq!(machine.registration().as_ref(), Some(&before), "nobody answered, nothing changed");

    let wrong = (made.0.clone(), "x".repeat(20));
    let (code, text) = register(&machine, &wrong, &["-y"]).await;
    assert_eq!(code, 1);
    let cause = "ERROR Registration failed due to error registering the instance with AWS SSM. InvalidActivation: ";
    assert!(text.contains(cause), "{text}");
    assert_eq!(machine.registration().unwrap().instance_id, "");
    assert_eq!(machine.registration_file(), Some(before), "the readable copy is stale");

    assert_eq!(register(&machine, &made, &[]).await.0, 0);
    let (code, text) = register(&machine, &made, &["-y"]).await;
    assert!(code == 1 && text.contains("RegistrationLimitExceeded"), "{text}");
}

#[tokio::test]
async fn the_programs_of_a_machine_and_their_faults() {
    let aws = alone();
    let made = activation(&aws.client(CENTRAL, REGION), json!({"RegistrationLimit": 9})).await;
    let machine = machine(&aws, Kind::AmazonLinux);
    let information = || run(&machine, "ssm-cli", &["get-instance-information"]);
    let id = async |text: String| serde_json::from_str::<Value>(&text).unwrap()["instance-id"].clone();
    assert_eq!(id(information().await.1).await, "i-0123456789abcdef0");

    machine.set_fault("amazon-ssm-agent", Fault::Fail, Some(1)).unwrap();
    machine.set_fault("systemctl", Fault::FailStart, Some(1)).unwrap();
    assert_eq!(run(&machine, "systemctl", &["stop", "amazon-ssm-agent"]).await.0, 0);
    assert_eq!(run(&machine, "systemctl", &["is-active", "amazon-ssm-agent"]).await, (3, "inactive\n".to_owned()));
    assert_eq!(register(&machine, &made, &[]).await.0, 1);
    assert!(aws.nodes().list(CENTRAL, REGION).is_empty());
    machine.set_fault("amazon-ssm-agent", Fault::NoId, Some(1)).unwrap();
    assert_eq!(register(&machine, &made, &[]).await, (0, String::new()));
    assert_eq!(id(information().await.1).await, machine.registration().unwrap().instance_id);
    assert_eq!(run(&machine, "systemctl", &["start", "amazon-ssm-agent"]).await.0, 1);
    assert_eq!(run(&machine, "systemctl", &["start", "amazon-ssm-agent"]).await.0, 0);
    assert!(machine.is_active());
    let log =
        ["stop amazon-ssm-agent.service", "start amazon-ssm-agent.service (failed)", "start amazon-ssm-agent.service"];
    assert_eq!(machine.service_log(), log);

    let unknown = run(&machine, "systemctl", &["list-unit-files", "snap.amazon-ssm-agent*"]).await;
    assert!(unknown.0 == 0 && unknown.1.ends_with("0 unit files listed.\n"), "{unknown:?}");
    machine.uninstall_agent().unwrap();
    assert_eq!(run(&machine, "systemctl", &["is-active", "amazon-ssm-agent"]).await.0, 4);
    let machine = self::machine(&aws, Kind::RedHat);
    let information = || run(&machine, "ssm-cli", &["get-instance-information"]);
    machine.set_fault("ssm-cli", Fault::Garbage, None).unwrap();
    assert!(serde_json::from_str::<Value>(&information().await.1).is_err());
}

#[tokio::test]
async fn a_command_reaches_the_nodes_that_carry_the_tag_when_it_is_sent() {
    let aws = alone();
    let central = aws.client(CENTRAL, REGION);
    let node = |os: &str| NewNode { tags: [("OS".to_owned(), os.to_owned())].into(), ..NewNode::default() };
    let linux = aws.nodes().register(CENTRAL, REGION, node("Linux"));
    aws.nodes().register(CENTRAL, REGION, node("Windows"));
    let body = json!({"DocumentName": "AWS-RunShellScript", "Targets": [{"Key": "tag:OS", "Values": ["Linux"]}],
        "Parameters": {"commands": ["uptime"]}, "MaxConcurrency": "50%", "MaxErrors": "1"});
    let sent = central.json("ssm", "SendCommand", &body).await.unwrap();
    let later = aws.nodes().register(CENTRAL, REGION, node("Linux"));
    let id = &sent["Command"]["CommandId"];
    let reached = central.json("ssm", "ListCommandInvocations", &json!({"CommandId": id})).await.unwrap();
    let reached: Vec<&Value> =
        reached["CommandInvocations"].as_array().unwrap().iter().map(|one| &one["InstanceId"]).collect();
    assert_eq!(reached, [&json!(linux)]);
    let get = async |node: &str| {
        central.json("ssm", "GetCommandInvocation", &json!({"CommandId": id, "InstanceId": node})).await
    };
    assert_eq!(get(&linux).await.unwrap()["Status"], "Success");
    assert_eq!(get(&later).await.unwrap_err().code, "InvocationDoesNotExist");
    let listed = central.json("ssm", "ListCommands", &json!({"InstanceId": linux})).await.unwrap();
    assert_eq!(listed["Commands"][0]["TargetCount"], 1);

    let mut bad = body.clone();
    bad["MaxConcurrency"] = json!("half");
    assert_eq!(central.json("ssm", "SendCommand", &bad).await.unwrap_err().code, "ValidationException");
    assert_eq!(aws.commands().list(CENTRAL, REGION).len(), 1);
}

#[tokio::test]
async fn a_metadata_service_that_is_off_late_or_too_far_away() {
    let aws = alone();
    let machine = machine(&aws, Kind::UbuntuDeb);
    let status = |path: &str| {
        let (head, _) = ask(machine.imds().endpoint(), path, "x-aws-ec2-metadata-token-ttl-seconds: 60");
        head.split(' ').nth(1).unwrap().to_owned()
    };
    let token = "PUT /latest/api/token";
    machine.imds().set_state(ImdsState::Starting(2));
    assert_eq!([status(token), status(token), status(token)], ["503", "503", "200"]);
    machine.imds().set_state(ImdsState::Off);
    assert_eq!(status(token), "403");
    machine.imds().set_state(ImdsState::NoTokens);
    assert_eq!(status("GET /latest/meta-data/instance-id"), "401");
    assert_eq!(machine.imds().refused(), 1);
    machine.imds().set_state(ImdsState::On);
    let (_, document, credentials) = metadata(machine.imds().endpoint());
    assert_eq!((&document["region"], &credentials["AccessKeyId"]), (&json!(REGION), &json!(AGENCY)));
}

#[tokio::test]
async fn policies_decide_who_activates_and_the_role_has_to_trust_systems_manager() {
    let aws = start();
    let central = aws.client(CENTRAL, REGION);
    let source = json!({"StringEquals": {"aws:SourceAccount": CENTRAL},
        "ArnLike": {"aws:SourceArn": format!("arn:aws:ssm:{REGION}:{CENTRAL}:*")}});
    let service = json!({"Statement": {"Effect": "Allow", "Principal": {"Service": "ssm.amazonaws.com"},
        "Action": "sts:AssumeRole", "Condition": source}});
    let account = json!({"Statement": {"Effect": "Allow", "Principal": {"AWS": CENTRAL}, "Action": "sts:AssumeRole"}});
    let node_role = format!("arn:aws:iam::{CENTRAL}:role/node");
    let tagged = json!({"ForAllValues:StringEquals": {"aws:TagKeys": ["tag-hub:agency"]}});
    let pass = json!({"StringEquals": {"iam:PassedToService": "ssm.amazonaws.com"}});
    let policy = json!({"Statement": [
        {"Effect": "Allow", "Action": "ssm:CreateActivation", "Resource": "*", "Condition": tagged},
        {"Effect": "Allow", "Action": "ssm:AddTagsToResource", "Resource": format!("arn:aws:iam::{CENTRAL}:role/*")},
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": node_role, "Condition": pass}]});
    let nothing = json!({"Statement": {"Effect": "Allow", "Action": "ssm:Nothing", "Resource": "*"}});
    role(&central, "node", &service, &nothing).await;
    role(&central, "unlike", &account, &nothing).await;
    role(&central, "issuer", &account, &policy).await;
    let issuer = central.assume_role(&format!("arn:aws:iam::{CENTRAL}:role/issuer"), "test").await.unwrap();
    let create = async |client: &Client, role: &str, key: &str| {
        let body = json!({"IamRole": role, "Tags": [{"Key": key, "Value": AGENCY}]});
        client.json("ssm", "CreateActivation", &body).await.map(drop)
    };
    create(&issuer, "node", "tag-hub:agency").await.unwrap();
    let denied = create(&issuer, "node", "Env").await.unwrap_err();
    assert!(denied.message.contains("ssm:CreateActivation on resource: *"), "{denied}");
    let denied = create(&issuer, "unlike", "tag-hub:agency").await.unwrap_err();
    assert!(denied.message.contains("iam:PassRole on resource"), "{denied}");
    for bad in ["unlike", "absent", node_role.as_str()] {
        let refused = create(&central, bad, "a").await.unwrap_err();
        assert_eq!(refused.code, "ValidationException");
        assert!(refused.message.starts_with("Nonexistent role or missing ssm service principal"), "{refused}");
    }
    let denied = issuer.json("ssm", "DescribeActivations", &json!({})).await.unwrap_err();
    assert_eq!(denied.code, "AccessDeniedException");
    assert_eq!(aws.activations().list(CENTRAL, REGION).len(), 1);
}

#[tokio::test]
async fn an_instance_acts_as_the_role_of_its_profile_and_tags_itself_alone() {
    let aws = start();
    let agency = aws.client(AGENCY, REGION);
    let ec2 = json!({"Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}});
    let policy = json!({"Statement": [
        {"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": format!("arn:aws:ec2:*:{AGENCY}:instance/*"),
         "Condition": {"ArnLike": {"ec2:SourceInstanceARN": format!("arn:aws:ec2:*:{AGENCY}:instance/${{ec2:InstanceID}}")},
                       "ForAllValues:StringEquals": {"aws:TagKeys": ["Name", "managedinstanceid"]}}}]});
    role(&agency, "TagHubInstance", &ec2, &policy).await;
    let profile = [("InstanceProfileName", "TagHubInstance")];
    agency.query("iam", "CreateInstanceProfile", &profile).await.unwrap();
    let both = [profile[0], ("RoleName", "TagHubInstance")];
    agency.query("iam", "AddRoleToInstanceProfile", &both).await.unwrap();
    let own = launch(&agency, Some("TagHubInstance")).await.unwrap();
    let other = launch(&agency, None).await.unwrap();
    let imds = aws.imds(own.clone()).unwrap();

    let (token, document, credentials) = metadata(imds.endpoint());
    assert!(!token.is_empty());
    assert_eq!((&document["accountId"], &document["instanceId"]), (&json!(AGENCY), &json!(own.instance_id)));
    let text = |name: &str| credentials[name].as_str().unwrap();
    let instance = agency.clone().with_credentials(text("AccessKeyId"), text("SecretAccessKey"), Some(text("Token")));
    let caller = instance.query("sts", "GetCallerIdentity", &[]).await.unwrap();
    let arn = format!("arn:aws:sts::{AGENCY}:assumed-role/TagHubInstance/{}", own.instance_id);
    assert_eq!(caller["Arn"], arn.as_str());

    let tag = async |id: &str, key: &str| {
        let params = [("ResourceId.1", id), ("Tag.1.Key", key), ("Tag.1.Value", "mi-0123456789abcdef0")];
        instance.query("ec2", "CreateTags", &params).await.map(drop)
    };
    tag(&own.instance_id, "managedinstanceid").await.unwrap();
    tag(&own.instance_id, "Name").await.unwrap();
    let others = [(&own.instance_id, "Env"), (&other.instance_id, "managedinstanceid"), (&other.instance_id, "Name")];
    for (id, key) in others {
        let denied = tag(id, key).await.unwrap_err();
        assert_eq!(denied.code, "UnauthorizedOperation", "{denied}");
        assert!(
            denied
                .message
                .contains(&format!("ec2:CreateTags on resource: arn:aws:ec2:{REGION}:{AGENCY}:instance/{id}"))
        );
    }
    let shown = agency.query("ec2", "DescribeTags", &[]).await.unwrap();
    assert_eq!(shown["tagSet"].as_array().unwrap().len(), 2, "{shown}");
    let forged = agency.clone().with_credentials(text("AccessKeyId"), "wrong", Some(text("Token")));
    let params = [("ResourceId.1", own.instance_id.as_str()), ("Tag.1.Key", "managedinstanceid"), ("Tag.1.Value", "x")];
    assert_eq!(forged.query("ec2", "CreateTags", &params).await.unwrap_err().code, "AuthFailure");
}

/// As an SDK does it: a token, the identity document, the name of the role, its credentials.
fn metadata(endpoint: &str) -> (String, Value, Value) {
    let (head, _) = ask(endpoint, "GET /latest/meta-data/instance-id", "x: y");
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let (_, token) = ask(endpoint, "PUT /latest/api/token", "x-aws-ec2-metadata-token-ttl-seconds: 60");
    let header = format!("x-aws-ec2-metadata-token: {token}");
    let (_, document) = ask(endpoint, "GET /latest/dynamic/instance-identity/document", &header);
    let roles = "GET /latest/meta-data/iam/security-credentials/";
    let (_, role) = ask(endpoint, roles, &header);
    let (_, credentials) = ask(endpoint, &format!("{roles}{role}"), &header);
    (token, serde_json::from_str(&document).unwrap(), serde_json::from_str(&credentials).unwrap())
}

/// Head and body of an answer.
fn ask(endpoint: &str, line: &str, header: &str) -> (String, String) {
    use std::io::{Read as _, Write as _};
    let authority = endpoint.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(authority).unwrap();
    let request =
        format!("{line} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nContent-Length: 0\r\n{header}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").map(|(head, body)| (head.to_owned(), body.to_owned())).unwrap()
}
