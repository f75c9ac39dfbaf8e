//! What people ran into, tried on the built program.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local_aws::Fault as AwsFault;
use local_aws::machine::{Fault, Kind, Machine};
use serde_json::{Value, json};
use tests::{AGENCY_A, HOME_REGION, SECOND_REGION};

use super::site::Site;

#[tokio::test]
async fn a_success_means_that_the_running_agent_uses_the_node() {
    let site = Site::new().await;
    tokio::join!(
        foreign_registration(&site),
        identity_not_in_use(&site),
        hardware_changed(&site),
        not_reached(&site),
        not_restarted(&site),
        unreadable_vault(&site)
    );
}

#[tokio::test]
async fn a_machine_may_have_its_ways() {
    let site = Site::new().await;
    tokio::join!(
        proxy_of_the_unit(&site),
        agent_appears_later(&site),
        masked_beside_the_snap(&site),
        unit_not_enabled(&site),
        root_s_safety(&site)
    );
    // AWS answers a whole account, so these come one after the other.
    tag_limit(&site).await;
    clock_off(&site).await;
}

async fn registers(site: &Site, machine: &Machine) {
    let ran = site.run(machine, &[]).await;
    assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("registered")), "{}", ran.said);
    site.node(machine).await;
}

/// What `doctor` says about a machine: its checks by name.
async fn doctor(site: &Site, machine: &Machine) -> (i32, Value) {
    let ran = site.run(machine, &["doctor"]).await;
    let mut checks = json!({});
    for check in ran.line["checks"].as_array().unwrap() {
        checks[check["check"].as_str().unwrap()] = check["status"].clone();
    }
    (ran.code, checks)
}

async fn foreign_registration(site: &Site) {
    for arguments in [&[][..], &["--region", HOME_REGION]] {
        let machine = site.machine(Kind::AmazonLinux).await;
        machine.set_registration("mi-0fedcba9876543210", "eu-west-1").unwrap();
        let ran = site.run(&machine, arguments).await;
        ran.assert_failed(18, "foreign-registration", "mi-0fedcba9876543210 in eu-west-1, and the hub is in us-east-1");
        assert_eq!(site.tag(&machine).await, None);
        assert!(machine.service_log().is_empty());
        assert_eq!(doctor(site, &machine).await.0, 18);
        let ran = site.run(&machine, &["heal"]).await;
        ran.assert_failed(18, "foreign-registration", "heal --replace");
        let ran = site.run(&machine, &["heal", "--replace"]).await;
        assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("replaced")), "{}", ran.said);
        assert!(ran.said.contains("deregister-managed-instance --instance-id mi-0fedcba9876543210 --region eu-west-1"));
        site.node(&machine).await;
    }
}

async fn identity_not_in_use(site: &Site) {
    let machine = site.machine(Kind::RedHat).await;
    registers(site, &machine).await;
    machine.set_fault("service", Fault::Denied, None).unwrap();
    machine.reboot().unwrap();
    let ran = site.run(&machine, &[]).await;
    ran.assert_failed(17, "not-in-use", "the node was deregistered");
    assert!(ran.message().contains("AccessDeniedException") && ran.message().contains("heal"), "{}", ran.message());
    let (code, checks) = doctor(site, &machine).await;
    assert_eq!((code, &checks["in-use"]), (17, &json!("failed")), "{checks}");
    site.run(&machine, &["heal"]).await.assert_failed(17, "not-in-use", "heal --replace");
    machine.clear_faults().unwrap();
    let ran = site.run(&machine, &["heal"]).await;
    assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("tag-written")), "{}", ran.said);
    // A fresh registration that the agent is refused with is not a success either.
    let machine = site.machine(Kind::UbuntuSnap).await;
    machine.set_fault("service", Fault::Fingerprint, None).unwrap();
    site.run(&machine, &[]).await.assert_failed(17, "not-in-use", "MachineFingerprintDoesNotMatch");
    assert_eq!(site.tag(&machine).await, None);
}

async fn hardware_changed(site: &Site) {
    let machine = site.machine(Kind::AmazonLinux).await;
    registers(site, &machine).await;
    let old = site.node(&machine).await;
    machine.change_hardware().unwrap();
    machine.reboot().unwrap();
    let (code, checks) = doctor(site, &machine).await;
    assert_eq!((code, &checks["fingerprint"], &checks["in-use"]), (17, &json!("failed"), &json!("failed")), "{checks}");
    site.run(&machine, &[]).await.assert_failed(17, "not-in-use", "resized, restored, or copied");
    let ran = site.run(&machine, &["heal", "--replace"]).await;
    assert_eq!((ran.code, &ran.line["replacedInstanceId"]), (0, &json!(old)), "{}", ran.said);
    assert!(
        ran.line["notes"].to_string().contains(&format!("If no other machine uses {old} (this may be a copy of it)")),
        "{}",
        ran.said
    );
    assert_ne!(site.node(&machine).await, old);
    assert_eq!(doctor(site, &machine).await.0, 0);
}

async fn not_reached(site: &Site) {
    let machine = site.machine(Kind::UbuntuDeb).await;
    machine.set_fault("service", Fault::Unreachable, None).unwrap();
    let ran = site.run(&machine, &["--timeout", "10s"]).await;
    ran.assert_failed(17, "not-in-use", "does not reach Systems Manager");
    assert_eq!(site.tag(&machine).await, None);
}

/// Registered by hand, and the agent was not started since.
async fn not_restarted(site: &Site) {
    let machine = site.machine(Kind::AmazonLinux).await;
    let node = site.world.register_node(AGENCY_A, None);
    machine.reboot().unwrap();
    let runtime = "var/lib/amazon/ssm/runtimeconfig/identity_config.json";
    let before = std::fs::read_to_string(machine.root().join(runtime)).unwrap();
    machine.set_registration(&node, HOME_REGION).unwrap();
    machine.write(runtime, &before).unwrap();
    let ran = site.run(&machine, &["--timeout", "10s"]).await;
    ran.assert_failed(17, "not-in-use", "is an EC2 instance");
    assert_eq!((site.tag(&machine).await, machine.service_log().len()), (None, 0));
    let ran = site.run(&machine, &["heal"]).await;
    assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("tag-written")), "{}", ran.said);
    assert_eq!(site.node(&machine).await, node);
}

async fn unreadable_vault(site: &Site) {
    for contents in ["not json", r#"{"instanceID":"mi-0fedcba98"#] {
        let machine = site.machine(Kind::RedHat).await;
        machine.write("var/lib/amazon/ssm/Vault/Store/RegistrationKey", contents).unwrap();
        site.run(&machine, &[]).await.assert_failed(17, "not-in-use", "half written");
        assert!(machine.service_log().is_empty());
        let ran = site.run(&machine, &["heal", "--replace"]).await;
        assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("replaced")), "{}", ran.said);
        site.node(&machine).await;
    }
}

/// A proxy that passes everything on, and remembers the first line of each connection.
struct Proxy {
    address: String,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(to: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (address, to) = (listener.local_addr().unwrap().to_string(), to.trim_start_matches("http://").to_owned());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut client, mut server) = (stream.unwrap(), TcpStream::connect(&to).unwrap());
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || {
                    // What is written in pieces arrives in pieces.
                    let mut begun = Vec::new();
                    let mut byte = [0];
                    while !begun.ends_with(b"\r\n") && client.read(&mut byte).is_ok_and(|count| count == 1) {
                        begun.push(byte[0]);
                    }
                    seen.lock().unwrap().push(String::from_utf8_lossy(&begun).trim_end().to_owned());
                    server.write_all(&begun).unwrap();
                    super::machine::forward(&client, &server);
                });
            }
        });
        Self { address, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

async fn proxy_of_the_unit(site: &Site) {
    let proxy = Proxy::start(site.world.aws.endpoint());
    for kind in [Kind::AmazonLinux, Kind::UbuntuSnap] {
        let machine = site.machine(kind).await;
        let dropin = format!("etc/systemd/system/{}.d/proxy.conf", machine.unit());
        let url = format!("http://me:secret@{}", proxy.address);
        machine.write(&dropin, &format!("[Service]\nEnvironment=\"HTTP_PROXY={url}\" HTTPS_PROXY={url}\n")).unwrap();
        let before = proxy.lines().len();
        // What the shell has would lead nowhere, for the metadata too.
        let mut command = site.command(&machine, &[]);
        command.env("HTTP_PROXY", "http://127.0.0.1:9").env("http_proxy", "http://127.0.0.1:9");
        let ran = site.run_command(command).await;
        assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("registered")), "{}", ran.said);
        site.node(&machine).await;
        let lines = proxy.lines()[before..].to_vec();
        let endpoint = site.world.aws.endpoint();
        assert!(
            lines.len() >= 2 && lines.iter().all(|line| line.starts_with(&format!("POST {endpoint}"))),
            "{lines:?}"
        );
        assert!(!ran.said.contains("secret"), "{}", ran.said);
    }
    let machine = site.machine(Kind::RedHat).await;
    let dropin = format!("etc/systemd/system/{}.d/proxy.conf", machine.unit());
    machine.write(&dropin, "[Service]\nEnvironment=HTTP_PROXY=http://me:secret@127.0.0.1:9\n").unwrap();
    let ran = site.run(&machine, &["--timeout", "10s"]).await;
    ran.assert_failed(15, "network", "through the proxy http://127.0.0.1:9");
    assert!(!ran.said.contains("secret"), "{}", ran.said);
    // The metadata service alone, with a proxy in the shell that leads nowhere.
    let mut command = site.command(&machine, &["--dry-run", "--timeout", "10s"]);
    command.env("HTTP_PROXY", "http://127.0.0.1:9");
    assert!(site.run_command(command).await.said.contains(&machine.instance().instance_id));
}

async fn agent_appears_later(site: &Site) {
    let machine = site.machine(Kind::AmazonLinux).await;
    machine.uninstall_agent().unwrap();
    site.run(&machine, &[]).await.assert_failed(5, "agent-missing", "not installed");
    let late = async {
        tokio::time::sleep(Duration::from_secs(8)).await;
        machine.install_agent().unwrap();
    };
    let (ran, ()) = tokio::join!(site.run(&machine, &["--wait-for-network", "--timeout", "60s"]), late);
    assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("registered")), "{}", ran.said);
    site.node(&machine).await;
}

async fn masked_beside_the_snap(site: &Site) {
    let machine = site.machine(Kind::UbuntuSnap).await;
    symlink("/dev/null", machine.root().join("etc/systemd/system/amazon-ssm-agent.service")).unwrap();
    symlink(machine.agent(), machine.root().join("usr/bin/amazon-ssm-agent")).unwrap();
    registers(site, &machine).await;
    let unit = machine.unit();
    assert_eq!(machine.service_log(), [format!("stop {unit}"), format!("start {unit}")]);
}

async fn unit_not_enabled(site: &Site) {
    let machine = site.machine(Kind::RedHat).await;
    machine.disable_unit().unwrap();
    registers(site, &machine).await;
    assert!(machine.is_enabled());
    machine.disable_unit().unwrap();
    machine.set_fault("systemctl", Fault::FailEnable, None).unwrap();
    let ran = site.run(&machine, &[]).await;
    assert!(ran.line["notes"][0].as_str().unwrap().contains("gone after a reboot"), "{}", ran.said);
    assert_eq!(ran.code, 0);
    assert_eq!(doctor(site, &machine).await.1["boot"], "warning");
}

async fn tag_limit(site: &Site) {
    let machine = site.machine_in(Kind::AmazonLinux, SECOND_REGION, Some("TagHubInstance")).await;
    let message = "The maximum number of Tags for a resource has been reached.";
    let full = AwsFault::error("ec2:CreateTags", 400, "TagLimitExceeded", message).account(AGENCY_A);
    let full = site.world.aws.faults().add(full);
    let ran = site.run(&machine, &[]).await;
    ran.assert_failed(13, "tag-not-written", "50 tags");
    assert!(!ran.message().contains("profile"), "{}", ran.message());
    site.world.aws.faults().remove(full);
    let ran = site.run(&machine, &[]).await;
    assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("tag-written")), "{}", ran.said);
    site.node(&machine).await;
}

async fn clock_off(site: &Site) {
    let machine = site.machine_in(Kind::UbuntuDeb, SECOND_REGION, Some("TagHubInstance")).await;
    let message = "Signature expired: 20261122T020000Z is now earlier than 20261122T075500Z";
    let off = AwsFault::error("ssm:GetParameter", 400, "InvalidSignatureException", message).account(AGENCY_A).times(1);
    site.world.aws.faults().add(off);
    site.run(&machine, &[]).await.assert_failed(19, "clock", "chronyc makestep");
    site.assert_untouched(&machine).await;
    registers(site, &machine).await;
}

/// Links where somebody else could have put them, and a search path with folders that are not absolute.
async fn root_s_safety(site: &Site) {
    let machine = site.machine(Kind::AmazonLinux).await;
    let precious = machine.root().join("root/precious");
    std::fs::write(&precious, "precious").unwrap();
    std::fs::create_dir_all(machine.root().join("var/lib/tag-hub")).unwrap();
    symlink(&precious, machine.root().join("var/lib/tag-hub/registration.new")).unwrap();
    let mut command = site.command(&machine, &[]);
    command.env("PATH", format!(".:bin:{}", machine.root().join("usr/bin").display()));
    let ran = site.run_command(command).await;
    assert_eq!(ran.code, 0, "{}", ran.said);
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    // A registration file that is a link is not read.
    let file = machine.root().join("var/lib/amazon/ssm/registration");
    std::fs::remove_file(&file).unwrap();
    symlink(&precious, &file).unwrap();
    site.run(&machine, &[]).await.assert_failed(1, "unexpected", "cannot read /var/lib/amazon/ssm/registration");
}
