//! What people ran into on their instances, each tried on the built program.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::built::{Answer, FIRST_NODE, Request, Site, aws, metadata, says};
use crate::fake::{INSTANCE, LOG, MANIFEST, NODE, VAULT};

const UNIT: &str = "etc/systemd/system/amazon-ssm-agent.service";
const START: &str = "2026-11-22 02:00:00 INFO [amazon-ssm-agent] Starting Core Agent\n";

fn refused(error: &str) -> String {
    format!("2026-11-22 02:00:00 ERROR [CredentialRefresher] Retrieve credentials produced error: {error}\n")
}

fn is_untouched(site: &Site) {
    let touched =
        site.calls().into_iter().find(|call| ["stop", "start", "-register"].iter().any(|word| call.contains(word)));
    assert_eq!((touched, site.tag()), (None, None));
}

#[test]
fn foreign_registration() {
    let site = Site::new();
    site.write(VAULT, &format!(r#"{{"instanceID":"{NODE}","region":"eu-west-1","privateKey":"k"}}"#));
    site.write(MANIFEST, &format!(r#"{{"RegistrationKey":"{VAULT}"}}"#));
    for arguments in [&[][..], &["--region", "us-east-1"], &["heal"]] {
        let ran = site.run(arguments);
        ran.is(18, &format!("{NODE} in eu-west-1, and the hub is in us-east-1"));
        assert_eq!(ran.line["reason"], "foreign-registration");
        is_untouched(&site);
    }
}

#[test]
fn identity_not_in_use() {
    for (error, words) in [
        ("MachineFingerprintDoesNotMatch: Fingerprint doesn't match", "resized, restored, or copied"),
        ("AccessDeniedException: ", "was deregistered"),
    ] {
        let site = Site::registered();
        site.forget_tag();
        site.write(LOG, &format!("{START}{}", refused(error)));
        let ran = site.run(&[]);
        ran.is(17, words);
        assert!(
            ran.said.contains("register-instance heal") && ran.line["managedInstanceId"] == FIRST_NODE,
            "{}",
            ran.said
        );
        assert_eq!(site.tag(), None);
        // Just registered, and refused at once.
        let site = Site::new();
        site.write("agent-logs", &refused(error));
        site.run(&[]).is(17, words);
        assert_eq!(site.tag(), None);
    }
}

#[test]
fn proxy_of_the_unit() {
    let dropin = "[Service]\nEnvironment=\"HTTPS_PROXY=http://me:secret@127.0.0.1:9\" NO_PROXY=169.254.169.254\n";
    for (file, contents) in [
        ("etc/systemd/system/amazon-ssm-agent.service.d/proxy.conf", dropin),
        ("run/systemd/system/amazon-ssm-agent.service.d/proxy.conf", dropin),
        ("usr/lib/systemd/system/amazon-ssm-agent.service.d/proxy.conf", dropin),
        ("etc/systemd/system/service.d/proxy.conf", dropin),
        (UNIT, dropin),
    ] {
        let site = Site::new();
        site.write(file, contents);
        let mut command = site.command(&[]);
        command.env("HTTPS_PROXY", "http://shell:1").env("https_proxy", "http://shell:1");
        Site::run_command(command).is(0, "registered");
        let environment = site.read("agent-environment");
        assert!(environment.contains("HTTPS_PROXY=http://me:secret@127.0.0.1:9"), "{file}: {environment}");
        assert!(environment.contains("NO_PROXY=169.254.169.254") && !environment.contains("shell:1"), "{file}");
        // The failure names the proxy, without its password.
        let site = Site::new();
        site.write(file, contents);
        site.write("agent-says", &"ERROR RequestError: send request failed\n".repeat(9));
        let ran = site.run(&[]);
        ran.is(15, "through the proxy http://127.0.0.1:9");
        assert!(!ran.said.contains("secret"), "{}", ran.said);
    }
}

#[test]
fn throttled_registration_and_words_of_the_agent() {
    let words = ["Throttling", "ThrottlingException: Rate exceeded", "status code: 503", "SomethingNew", "i/o timeout"];
    let site = Site::new();
    let lines = words
        .map(|word| format!("ERROR Registration failed due to error registering the instance with AWS SSM. {word}\n"));
    site.write("agent-says", &lines.concat());
    let ran = site.run(&["--timeout", "5m"]);
    ran.is(0, "registered");
    site.is_node(FIRST_NODE);
    let tries = site.calls().iter().filter(|call| call.contains("-register")).count();
    assert_eq!(tries, words.len() + 1);
    // A known refusal ends the run at once.
    let site = Site::new();
    site.write("agent-says", &"ERROR InvalidPublicKey: \n".repeat(9));
    site.run(&["--timeout", "5m"]).is(10, "InvalidPublicKey");
    assert_eq!(site.calls().iter().filter(|call| call.contains("-register")).count(), 1);
}

#[test]
fn stale_tag_in_metadata() {
    let shows_tag = |request: &Request| {
        if request.line.contains("/latest/meta-data/tags/instance/managedinstanceid") {
            says(FIRST_NODE)
        } else {
            metadata(request)
        }
    };
    let site = Site::with(shows_tag, aws);
    site.run(&[]).is(0, "registered");
    // EC2 has lost it since, and nothing on the machine tells.
    site.forget_tag();
    site.run(&[]).is(0, "tag-written");
    site.is_node(FIRST_NODE);
}

#[test]
fn tag_limit() {
    let site = Site::with(metadata, |tag, request| -> Answer {
        if request.body.starts_with("Action=CreateTags") {
            let error = "<Response><Errors><Error><Code>TagLimitExceeded</Code><Message>The maximum number of Tags for a \
                         resource has been reached.</Message></Error></Errors><RequestID>r</RequestID></Response>";
            return (400, vec![], error.to_owned());
        }
        aws(tag, request)
    });
    let ran = site.run(&[]);
    ran.is(13, "has 50 tags");
    assert!(!ran.line["message"].as_str().unwrap().contains("profile"), "{}", ran.said);
}

#[test]
fn agent_appears_later() {
    let site = Site::new();
    site.move_agent("later");
    site.run(&[]).is(5, "not installed");
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_secs(4));
            for name in ["ssm-cli", "amazon-ssm-agent"] {
                fs::rename(site.at("later").join(name), site.at("usr/bin").join(name)).unwrap();
            }
        });
        site.run(&["--wait-for-network", "--timeout", "60s"]).is(0, "registered");
    });
    site.is_node(FIRST_NODE);
}

#[test]
fn masked_unit_beside_a_snap() {
    let site = Site::new();
    site.move_agent("snap/amazon-ssm-agent/current");
    // The package's program is still there, and would fail.
    site.program("usr/bin/amazon-ssm-agent", "exit 1");
    fs::remove_file(site.at(UNIT)).unwrap();
    symlink("/dev/null", site.at(UNIT)).unwrap();
    site.run(&[]).is(0, "registered");
    site.is_node(FIRST_NODE);
    assert!(site.calls().contains(&"systemctl start snap.amazon-ssm-agent.amazon-ssm-agent.service".to_owned()));
    // Masked, and no snap.
    let site = Site::new();
    fs::remove_file(site.at(UNIT)).unwrap();
    symlink("/dev/null", site.at(UNIT)).unwrap();
    site.run(&[]).is(5, "systemctl unmask");
    is_untouched(&site);
}

#[test]
fn unit_not_enabled() {
    for is_registered in [false, true] {
        let site = if is_registered { Site::registered() } else { Site::new() };
        site.write("enabled", "disabled\n");
        site.run(&[]).is(0, "was disabled; it is enabled now");
        assert_eq!(site.read("enabled"), "enabled\n");
        site.write("enabled", "disabled\n");
        site.write("cannot-enable", "");
        site.run(&[]).is(0, "gone after a reboot");
    }
}

#[test]
fn old_c_library_and_upstart() {
    let site = Site::with_upstart();
    site.run(&[]).is(0, "registered");
    site.is_node(FIRST_NODE);
    assert!(site.calls().contains(&"initctl start amazon-ssm-agent".to_owned()), "{:?}", site.calls());
    // ssm-cli names a node for an agent that has ended, too.
    fs::remove_file(site.at("running")).unwrap();
    site.run(&[]).is(0, "starting it");
    assert!(site.is_running());
    // It would be gone after a boot.
    site.write("etc/init/amazon-ssm-agent.override", "manual\n");
    site.run(&[]).is(0, "gone after a reboot");
}

#[test]
fn root_s_profile() {
    let file = "etc/amazon/ssm/amazon-ssm-agent.json";
    let site = Site::new();
    site.write(file, r#"{"Mds":{"CommandWorkersLimit":5}}"#);
    site.run(&["--keep-default-profile"]).is(0, "registered");
    let written: serde_json::Value = serde_json::from_str(&site.read(file)).unwrap();
    assert_eq!(written, json!({"Mds": {"CommandWorkersLimit": 5}, "Profile": {"ShareCreds": false}}));
    // What an agent wrote there is never used.
    let site = Site::registered();
    site.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    site.write(
        "root/.aws/credentials",
        "[default]\naws_access_key_id = ASIACENTRAL\naws_secret_access_key = central\n",
    );
    site.run(&[]).is(0, "tag-written");
    let report = site.run(&["doctor"]);
    report.is(0, "without patching, run `register-instance heal --keep-default-profile`");
}

#[test]
fn hardware_changed() {
    let site = Site::registered();
    let fingerprint = r#"{"fingerprint":"f","hardwareHash":{"machine-id":"old"},"similarityThreshold":40}"#;
    site.write("var/lib/amazon/ssm/Vault/Store/InstanceFingerprint", fingerprint);
    site.write("etc/machine-id", "new\n");
    site.run(&["doctor"]).is(17, "this is another machine, or a copy");
    // The agent has started since: it took the new hardware for the old, and was refused.
    site.write("var/lib/amazon/ssm/Vault/Store/InstanceFingerprint", &fingerprint.replace("old", "new"));
    let line = refused("MachineFingerprintDoesNotMatch: ");
    site.write("agent-logs", &line);
    site.write(LOG, &format!("{START}{line}"));
    let report = site.run(&["doctor"]);
    report.is(17, "MachineFingerprintDoesNotMatch");
    let checks = report.line["checks"].as_array().unwrap();
    let fingerprint = checks.iter().find(|check| check["check"] == "fingerprint").unwrap();
    assert!(fingerprint["status"] == "failed" && fingerprint["remedy"].as_str().unwrap().contains("heal --replace"));
    site.run(&["heal"]).is(17, "heal --replace");
    site.write("agent-logs", "2026-11-22 02:00:00 INFO [CredentialRefresher] Credentials ready\n");
    site.write(LOG, &format!("{START}{line}"));
    site.run(&["heal"]).is(0, "the agent was restarted");
    // For good.
    site.write(LOG, &format!("{START}{line}"));
    site.write("agent-logs", &line);
    let ran = site.run(&["heal", "--replace"]);
    assert!(ran.said.contains(&format!("deregister {FIRST_NODE}")) && site.nodes() == 2, "{}", ran.said);
    assert_eq!(ran.code, 17, "the new one is refused as well: {}", ran.said);
    site.write("agent-logs", "2026-11-22 02:00:00 INFO [CredentialRefresher] Credentials ready\n");
    site.run(&["heal"]).is(0, "");
    assert!(site.read(VAULT).contains("mi-00000000000000002") && site.tag().as_deref() == Some("mi-00000000000000002"));
    assert!(!site.read(VAULT).contains(INSTANCE));
}
