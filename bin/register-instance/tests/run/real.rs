//! The files and answers of the real agent, in the form that its public source gives them.
//!
//! Source: `github.com/aws/amazon-ssm-agent`, commit `1c217c8` (October 15, 2024), whose own version is 3.3.0.0, the
//! one after 3.3.987.0: `agent/managedInstances` (vault, manifest, fingerprint), `agent/agent_parser.go` (`registration`,
//! `-clear`), `common/runtimeconfig`, `agent/cli/clicommand`, and `core/app/credentialrefresher` (the log).

use std::fs;

use crate::built::{FIRST_NODE, Site};
use crate::fake::{INSTANCE, LOG, MANIFEST, NODE, NOTED, VAULT};

/// A registration. Go writes the fields in this order.
const RECORD: &str = r#"{"instanceID":"mi-11111111111111111","region":"us-east-1","instanceType":"","availabilityZone":"","privateKey":"MIIEowIBAAKCAQEA","publicKey":"","privateKeyType":"Rsa","privateKeyCreatedDate":"2024-10-16 08:00:00.123456789 +0000 UTC"}"#;
/// What `-clear` leaves, and in a similar form each try to register before it calls Systems Manager.
const CLEARED: &str = r#"{"instanceID":"","region":"","instanceType":"","availabilityZone":"","privateKey":"","publicKey":"","privateKeyType":"","privateKeyCreatedDate":"2024-10-16 08:00:00.123456789 +0000 UTC"}"#;
const LISTED: &str = r#"{"InstanceFingerprint":"/var/lib/amazon/ssm/Vault/Store/InstanceFingerprint","RegistrationKey":"/var/lib/amazon/ssm/Vault/Store/RegistrationKey"}"#;
const REGISTERED: &str = r#"{"ManagedInstanceID":"mi-11111111111111111","Region":"us-east-1"}"#;
const FINGERPRINT: &str = r#"{"fingerprint":"0e8c7f6a-3b57-4c3e-9d2f-7f6f1f9b2a10","hardwareHash":{"bios-hash":"x","disk-info":"x","hostname-info":"h","ipaddress-info":"10.0.0.1","macaddr-info":"m","machine-id":"0123456789abcdef0123456789abcdef\n","memory-hash":"x","processor-hash":"x","system-hash":"x"},"similarityThreshold":40}"#;
const RUNNING: &str = r#"{"SchemaVersion":"1.1","InstanceId":"mi-11111111111111111","IdentityType":"OnPrem","ShareFile":"","ShareProfile":"","CredentialsExpiresAt":"2099-10-16T09:00:00Z","CredentialsRetrievedAt":"2099-10-16T08:00:00Z","CredentialSource":"SSM"}"#;
/// One line, with the keys in the order of the alphabet.
const ANSWER: &str = r#"{"instance-id":"mi-11111111111111111","region":"us-east-1","release-version":"3.3.0.0"}"#;
/// An answer of `ssm-cli` that found no identity: its usage, and the error last.
const NO_IDENTITY: &str = "usage: ssm-cli [options] <command> <subcommand> [<subcommand> ...] [parameters]\n\nerror: failed to find agent identity\n";
/// A start with credentials of Systems Manager.
const STARTED: &str = "2024-10-16 08:00:00.1234 INFO [amazon-ssm-agent] Agent will take identity from OnPrem\n\
    2024-10-16 08:00:00.2345 INFO [amazon-ssm-agent] Starting Core Agent\n\
    2024-10-16 08:00:01.1234 INFO [CredentialRefresher] credentialRefresher has started\n\
    2024-10-16 08:00:01.1235 INFO [CredentialRefresher] Starting credentials refresher loop\n\
    2024-10-16 08:00:02.1234 INFO [CredentialRefresher] Credentials ready\n\
    2024-10-16 08:00:02.1235 INFO [CredentialRefresher] Next credential rotation will be in 29.9999 minutes\n";
/// What a machine writes that was restored elsewhere: it makes a fingerprint anew, and is refused for it.
const RESTORED: &str = "2024-10-16 09:00:00.2345 INFO [amazon-ssm-agent] Starting Core Agent\n\
    2024-10-16 09:00:01.1235 INFO [CredentialRefresher] Starting credentials refresher loop\n\
    2024-10-16 09:00:16.1234 ERROR [CredentialRefresher] Cannot connect to AWS Systems Manager.  The hardware ID (a) has changed from the registered value (b).\n\
    2024-10-16 09:00:16.1235 INFO [CredentialRefresher] Calculated hardware difference, regenerating fingerprint...\n\
    2024-10-16 09:00:17.1234 ERROR [CredentialRefresher] Retrieve credentials produced error: MachineFingerprintDoesNotMatch: Fingerprint doesn't match\n\
    \tstatus code: 400, request id: 0e8c7f6a\n\
    2024-10-16 09:00:17.1235 INFO [CredentialRefresher] Sleeping for 28m12s before retrying retrieve credentials\n";

fn site() -> Site {
    let site = Site::new();
    for (path, contents) in [
        (VAULT, RECORD),
        (MANIFEST, LISTED),
        (NOTED, REGISTERED),
        ("var/lib/amazon/ssm/Vault/Store/InstanceFingerprint", FINGERPRINT),
        ("var/lib/amazon/ssm/runtimeconfig/identity_config.json", RUNNING),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        (LOG, STARTED),
        ("cli-says", ANSWER),
    ] {
        site.write(path, contents);
    }
    site
}

#[test]
fn a_registered_agent_is_recognized_and_left_alone() {
    let site = site();
    let ran = site.run(&[]);
    ran.is(0, "tag-written");
    assert_eq!((site.tag().as_deref(), site.read(VAULT).as_str()), (Some(NODE), RECORD));
    let report = site.run(&["doctor"]);
    report.is(0, "");
    assert_eq!(ran.line["inUse"], "proven", "{}", ran.said);
    for check in report.line["checks"].as_array().unwrap() {
        let is_about_the_agent =
            ["registration", "fingerprint", "in-use", "service"].contains(&check["check"].as_str().unwrap());
        assert!(!is_about_the_agent || check["status"] == "ok", "{check}");
    }
}

#[test]
fn an_agent_that_was_cleared_is_registered() {
    let site = site();
    site.write(VAULT, CLEARED);
    fs::remove_file(site.at(NOTED)).unwrap();
    fs::remove_file(site.at("cli-says")).unwrap();
    site.run(&[]).is(0, "registered");
    site.is_node(FIRST_NODE);
}

#[test]
fn an_agent_on_restored_hardware_is_refused() {
    let site = site();
    site.write(LOG, &format!("{STARTED}{RESTORED}"));
    site.run(&[]).is(17, "resized, restored, or copied");
    assert_eq!(site.tag(), None);
}

#[test]
fn an_agent_without_an_identity_says_so() {
    let site = site();
    site.program("usr/bin/ssm-cli", "cat ROOT/cli-says; exit 255");
    site.write("cli-says", NO_IDENTITY);
    site.run(&[]).is(17, "failed to find agent identity");
    assert_eq!(site.tag(), None);
}

/// Default Host Management keeps an identity of its own beside that of a managed node.
#[test]
fn the_vault_of_the_ec2_identity_is_no_registration() {
    let site = Site::new();
    site.write("var/lib/amazon/ssm/Vault/EC2Manifest", &LISTED.replace("RegistrationKey", "EC2RegistrationKey"));
    site.write("var/lib/amazon/ssm/Vault/Store/EC2RegistrationKey", &RECORD.replace(NODE, INSTANCE));
    site.run(&[]).is(0, "registered");
    site.is_node(FIRST_NODE);
}
