//! `ssm-cli get-instance-information`.

use serde_json::json;

use super::{AGENT_VERSION, Files, hang};

/// The managed node where the vault has one, else the EC2 instance.
pub(crate) fn run(machine: &Files, arguments: &[String]) -> u8 {
    if arguments.first().map(String::as_str) != Some("get-instance-information") {
        eprintln!("ssm-cli: the stand-in knows get-instance-information only");
        return 1;
    }
    match machine.fault("ssm-cli", &["fail", "hang", "garbage", "html"]).as_deref() {
        Some("hang") => {
            hang();
            return 1;
        }
        Some("garbage") => {
            println!("Error: unexpected end of {{\"instance-id\":");
            return 0;
        }
        Some("html") => {
            println!("<html>");
            return 0;
        }
        Some(_) => {
            eprintln!("failed to connect to the agent");
            return 1;
        }
        None => {}
    }
    // As in agent/cli/cliutil of the real one: what the agent noted when it started, if that is still so; else what an
    // agent would take that starts now.
    let runtime: serde_json::Value =
        serde_json::from_str(&Files::read(&machine.path(Files::RUNTIME))).unwrap_or_default();
    let is_ec2 = runtime["IdentityType"] == "EC2";
    let registered =
        machine.registration(Files::VAULT).filter(|registered| !registered.instance_id.is_empty() && !is_ec2);
    let found = match registered {
        Some(registered) => Some((registered.instance_id, registered.region)),
        None => machine.identity().map(|identity| (identity.instance_id, identity.region)),
    };
    let Some((id, region)) = found else {
        println!("usage: ssm-cli [options] <command>\n\nerror: failed to find agent identity");
        return 255;
    };
    println!("{}", json!({"instance-id": id, "region": region, "release-version": AGENT_VERSION}));
    0
}
