//! What the machine is, and how it stands with the network and its metadata service.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use local_aws::ImdsState;
use local_aws::machine::{Fault, Kind, Machine};
use serde_json::{Value, json};
use tests::{ACTIVATION_PARAMETER, AGENCY_A, HOME_REGION, SECOND_REGION};

use super::site::{Site, blocking};

#[tokio::test]
async fn every_kind_of_machine_becomes_a_tagged_node_and_stays_that_one() {
    let site = Site::new().await;
    let amazon = site.machine(Kind::AmazonLinux).await;
    let red_hat = site.machine_in(Kind::RedHat, SECOND_REGION, Some("TagHubInstance")).await;
    let deb = site.machine(Kind::UbuntuDeb).await;
    let snap = site.machine(Kind::UbuntuSnap).await;
    let upstart = site.machine(Kind::AmazonLinuxUpstart).await;
    let dry = site.run(&amazon, &["--dry-run"]).await;
    assert_eq!((dry.code, &dry.line["outcome"]), (0, &json!("would-register")), "{}", dry.said);
    site.assert_untouched(&amazon).await;
    assert_eq!(site.nodes(), 0);

    let plainly: &[&str] = &[];
    let (a, r, d, s) = tokio::join!(
        site.run(&amazon, plainly),
        site.run(&red_hat, plainly),
        site.run(&deb, plainly),
        site.run(&snap, plainly)
    );
    let ran = site.run(&upstart, &[]).await;
    assert_eq!(ran.code, 0, "{}", ran.said);
    site.node(&upstart).await;
    assert!(upstart.calls().iter().any(|call| call == "initctl stop amazon-ssm-agent"), "{:?}", upstart.calls());
    let machines = [amazon, red_hat, deb, snap];
    let activation = site.activation().await;
    for (machine, ran) in machines.iter().zip([a, r, d, s]) {
        assert_eq!(ran.code, 0, "{}", ran.said);
        let node = site.node(machine).await;
        let instance = machine.instance();
        let expected = json!({
            "outcome": "registered", "exitCode": 0, "managedInstanceId": node, "ec2InstanceId": instance.instance_id,
            "account": AGENCY_A, "region": instance.region, "hubRegion": HOME_REGION, "inUse": "proven",
        });
        assert_eq!(ran.line, expected);
        assert_eq!(machine.service_log(), [format!("stop {}", machine.unit()), format!("start {}", machine.unit())]);
        let nodes = site.world.aws.nodes().list(tests::CENTRAL, HOME_REGION);
        let found = nodes.iter().find(|found| found.instance_id == node).unwrap();
        assert_eq!(
            (activation["ActivationId"].as_str(), found.iam_role.as_str()),
            (Some(found.activation_id.as_str()), "tag-hub-managed-node")
        );
        assert_eq!(found.name.as_deref(), Some("agency-222222222222"));
    }
    assert_eq!(site.nodes(), 5);

    // Again: nothing but the tag, which is not in the metadata.
    for machine in &machines[..2] {
        let (node, calls) = (site.node(machine).await, machine.service_log());
        let again = site.run(machine, &[]).await;
        assert_eq!((again.code, &again.line["outcome"]), (0, &json!("tag-written")), "{}", again.said);
        assert_eq!((site.node(machine).await, machine.service_log()), (node, calls));
    }
    // Registered by other means: it is left alone, and tagged.
    let known = site.machine(Kind::RedHat).await;
    known.set_registration(&site.world.register_node(AGENCY_A, None), HOME_REGION).unwrap();
    let ran = site.run(&known, &[]).await;
    assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("tag-written")), "{}", ran.said);
    site.node(&known).await;
    assert!(known.service_log().is_empty());
    assert_eq!(site.nodes(), 6);
    site.set_tag(&machines[1], "Env", "PROD").await;
    assert!(machines.iter().all(|machine| machine.imds().refused() == 0), "version 1 was never asked");
    the_profile_is_for_registering_alone(&site, &machines[0], &machines[2]).await;
    a_clone_is_found_out(&site, &machines[3]).await;
}

/// What an instance may do with the credentials of its profile, and what not.
async fn the_profile_is_for_registering_alone(site: &Site, machine: &Machine, other: &Machine) {
    let endpoint = machine.imds().endpoint().to_owned();
    let credentials = blocking(move || credentials(&endpoint)).await;
    let text = |name: &str| credentials[name].as_str().unwrap();
    let root = site.world.aws.client(AGENCY_A, HOME_REGION);
    let own = root.clone().with_credentials(text("AccessKeyId"), text("SecretAccessKey"), Some(text("Token")));
    let name = "/tag-hub/activation/other";
    root.json("ssm", "PutParameter", &json!({"Name": name, "Value": "x", "Type": "String"})).await.unwrap();
    let read = async |name: &str| own.json("ssm", "GetParameter", &json!({"Name": name})).await;
    read(ACTIVATION_PARAMETER).await.unwrap();
    assert_eq!(read(name).await.unwrap_err().code, "AccessDeniedException");
    let write = json!({"Name": ACTIVATION_PARAMETER, "Value": "x", "Type": "SecureString", "Overwrite": true});
    for (operation, body) in [
        ("PutParameter", write),
        ("DeleteParameter", json!({"Name": ACTIVATION_PARAMETER})),
        ("GetParametersByPath", json!({"Path": "/tag-hub"})),
        ("DescribeActivations", json!({})),
    ] {
        assert_eq!(own.json("ssm", operation, &body).await.unwrap_err().code, "AccessDeniedException", "{operation}");
    }

    let (mine, theirs) = (machine.instance().instance_id.as_str(), other.instance().instance_id.as_str());
    let node = site.node(machine).await;
    let tag = [("Tag.1.Key", "managedinstanceid"), ("Tag.1.Value", node.as_str())];
    let more = [("Tag.2.Key", "Env"), ("Tag.2.Value", "x")];
    own.query("ec2", "CreateTags", &[("ResourceId.1", mine), tag[0], tag[1]]).await.unwrap();
    for (operation, form) in [
        ("CreateTags", vec![("ResourceId.1", theirs), tag[0], tag[1]]),
        ("CreateTags", vec![("ResourceId.1", mine), ("ResourceId.2", theirs), tag[0], tag[1]]),
        ("CreateTags", vec![("ResourceId.1", mine), ("Tag.1.Key", "Env"), ("Tag.1.Value", "x")]),
        ("CreateTags", vec![("ResourceId.1", mine), tag[0], tag[1], more[0], more[1]]),
        ("DeleteTags", vec![("ResourceId.1", mine), tag[0]]),
        ("DescribeInstances", vec![]),
    ] {
        let refused = own.query("ec2", operation, &form).await.unwrap_err();
        assert_eq!(refused.code, "UnauthorizedOperation", "{operation} {form:?}: {refused}");
    }
    site.node(machine).await;
    site.node(other).await;
}

/// The same registration on another instance.
async fn a_clone_is_found_out(site: &Site, original: &Machine) {
    let node = site.node(original).await;
    let clone = site.machine(Kind::UbuntuSnap).await;
    clone.set_registration(&node, HOME_REGION).unwrap();
    let marker = Path::new("var/lib/tag-hub/registration.json");
    std::fs::create_dir_all(clone.root().join(marker).parent().unwrap()).unwrap();
    std::fs::copy(original.root().join(marker), clone.root().join(marker)).unwrap();
    let ran = site.run(&clone, &[]).await;
    ran.assert_failed(12, "clone", &original.instance().instance_id);
    assert_eq!(ran.line["managedInstanceId"], *node);
    assert!(clone.service_log().is_empty());
    assert_eq!((site.tag(&clone).await, clone.registration().unwrap().instance_id), (None, node.clone()));

    // What it says to do.
    assert!(ran.message().contains("register-instance heal --replace"), "{}", ran.message());
    let ran = site.run(&clone, &["heal", "--replace"]).await;
    assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("replaced")), "{}", ran.said);
    assert_eq!(ran.line["replacedInstanceId"], *node);
    assert!(ran.line["notes"][0].as_str().unwrap().contains("do not deregister"), "{}", ran.said);
    assert_ne!(site.node(&clone).await, node);
    assert_eq!(site.node(original).await, node);
}

#[tokio::test]
async fn what_is_not_there_is_waited_for_or_named() {
    let site = Site::new().await;
    let bare = async {
        let machine = site.machine(Kind::AmazonLinux).await;
        machine.uninstall_agent().unwrap();
        site.run(&machine, &[]).await.assert_failed(5, "agent-missing", "yum install -y amazon-ssm-agent");
        assert!(machine.service_log().is_empty());
    };
    let alone = async {
        let machine = site.machine_in(Kind::RedHat, HOME_REGION, None).await;
        site.run(&machine, &[]).await.assert_failed(6, "activation-unreadable", "TagHubInstance");
        site.assert_untouched(&machine).await;
    };
    let metadata = async |state: ImdsState, arguments: &[&str], expected: Option<(i32, &str, &str)>| {
        let machine = site.machine(Kind::UbuntuDeb).await;
        machine.imds().set_state(state);
        let ran = site.run(&machine, arguments).await;
        if let Some((code, reason, words)) = expected {
            ran.assert_failed(code, reason, words);
            site.assert_untouched(&machine).await;
        } else {
            assert_eq!(ran.code, 0, "{}", ran.said);
            site.node(&machine).await;
        }
    };
    let garbled = async {
        let machine = site.machine(Kind::UbuntuSnap).await;
        machine.set_fault("ssm-cli", Fault::Garbage, None).unwrap();
        let ran = site.run(&machine, &["--timeout", "10s"]).await;
        ran.assert_failed(17, "not-in-use", "does not say which node it is");
        assert_eq!(site.tag(&machine).await, None, "what the disk says is not enough");
        machine.clear_faults().unwrap();
        let ran = site.run(&machine, &[]).await;
        assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("tag-written")), "{}", ran.said);
        site.node(&machine).await;
    };
    tokio::join!(
        bare,
        alone,
        metadata(ImdsState::Off, &[], Some((4, "not-ec2", "metadata service on (IMDSv2)"))),
        // One network hop too many: every try takes seconds, and the run no longer than it may.
        metadata(ImdsState::NoTokens, &["--timeout", "10s"], Some((4, "not-ec2", "time that --timeout allows"))),
        metadata(ImdsState::Starting(3), &[], None),
        metadata(ImdsState::Html, &[], Some((4, "not-ec2", "IMDSv2"))),
        garbled,
        without_network(&site)
    );
}

/// The network is up only after the first try; the agent needs it too.
async fn without_network(site: &Site) {
    let machine = site.machine(Kind::AmazonLinux).await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = site.command(&machine, &["--wait-for-network"]);
    command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"));
    let begun = site.begin(command, "trying again").await;
    let (listener, to) = (TcpListener::bind(("127.0.0.1", port)).unwrap(), site.world.aws.endpoint().to_owned());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            forward(&stream.unwrap(), &TcpStream::connect(to.trim_start_matches("http://")).unwrap());
        }
    });
    let ran = site.end(begun).await;
    assert_eq!(ran.code, 0, "{}", ran.said);
    site.node(&machine).await;
}

/// Passes bytes on, both ways, in the background.
pub(super) fn forward(one: &TcpStream, other: &TcpStream) {
    for (from, to) in [(one, other), (other, one)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        std::thread::spawn(move || {
            // Either side may go away in the middle.
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
    }
}

/// The credentials of the instance's role, as an SDK fetches them.
fn credentials(endpoint: &str) -> Value {
    let token = ask(endpoint, "PUT /latest/api/token", "x-aws-ec2-metadata-token-ttl-seconds: 60");
    let header = format!("x-aws-ec2-metadata-token: {token}");
    let roles = "GET /latest/meta-data/iam/security-credentials/";
    let role = ask(endpoint, roles, &header);
    serde_json::from_str(&ask(endpoint, &format!("{roles}{role}"), &header)).unwrap()
}

/// The body of an answer of a metadata service.
fn ask(endpoint: &str, line: &str, header: &str) -> String {
    let authority = endpoint.trim_start_matches("http://");
    let mut stream = TcpStream::connect(authority).unwrap();
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nContent-Length: 0\r\n{header}\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
