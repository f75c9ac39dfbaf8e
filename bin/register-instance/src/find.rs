//! Looks for the agent on the machine.

use serde_json::Value;

use crate::detect::{Found, PACKAGED_UNIT, SNAP_FOLDER, SNAP_UNIT, UnitFile};
use crate::machine::Machine;
use crate::unit;

/// What an image brings as snaps, and what snapd has done about it.
const SEED_FILE: &str = "/var/lib/snapd/seed/seed.yaml";
const SNAPD_STATE_FILE: &str = "/var/lib/snapd/state.json";

pub(crate) fn found<M: Machine>(machine: &M) -> Found {
    let in_snap = |program: &str| machine.program_at(&format!("{SNAP_FOLDER}/{program}"));
    let snap_agent = in_snap("amazon-ssm-agent");
    Found {
        agent: machine.program("amazon-ssm-agent"),
        cli: machine.program("ssm-cli"),
        is_seeding: snap_agent.is_none() && is_seeding(machine),
        snap_agent,
        snap_cli: in_snap("ssm-cli"),
        packaged_unit: unit_file(machine, PACKAGED_UNIT),
        snap_unit: unit_file(machine, SNAP_UNIT),
        has_systemd: machine.exists("/run/systemd/system"),
        systemctl: machine.program("systemctl"),
        initctl: machine.program("initctl"),
        stop: machine.program("stop"),
        start: machine.program("start"),
        service: machine.program("service"),
    }
}

fn unit_file<M: Machine>(machine: &M, unit: &str) -> UnitFile {
    match unit::file(machine, unit) {
        None => UnitFile::Absent,
        Some(path) if machine.is_masked(&path) => UnitFile::Masked,
        Some(_) => UnitFile::There,
    }
}

/// True if the image brings the agent's snap and snapd is not done with its first work.
fn is_seeding<M: Machine>(machine: &M) -> bool {
    let seed = machine.read_configuration(SEED_FILE).ok().flatten();
    let is_done = match machine.read_configuration(SNAPD_STATE_FILE) {
        Ok(state) => state.is_some_and(|state| is_seeded(&state)),
        // A state that is too long to read is that of a snapd that has done much.
        Err(_) => true,
    };
    !is_done && seed.is_some_and(|seed| seed.contains("amazon-ssm-agent"))
}

fn is_seeded(state: &str) -> bool {
    let state: Option<Value> = serde_json::from_str(state).ok();
    state.is_some_and(|state| state.pointer("/data/seeded") == Some(&Value::Bool(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapd_says_when_it_is_done() {
        assert!(is_seeded(r#"{"data":{"seeded":true,"x":1}}"#));
        for state in [r#"{"data":{}}"#, r#"{"data":{"seeded":false}}"#, "", "{"] {
            assert!(!is_seeded(state), "{state}");
        }
    }
}
