//! How the agent is installed, decided from what is on the machine and not from the name of the system.

use std::path::PathBuf;

/// Where the snap has its programs. They are on nobody's path.
pub(crate) const SNAP_FOLDER: &str = "/snap/amazon-ssm-agent/current";

/// Where a package has the agent's unit.
pub(crate) const PACKAGED_UNITS: [&str; 3] = [
    "/etc/systemd/system/amazon-ssm-agent.service",
    "/usr/lib/systemd/system/amazon-ssm-agent.service",
    "/lib/systemd/system/amazon-ssm-agent.service",
];

const PACKAGED_SERVICE: &str = "amazon-ssm-agent";
const PACKAGED_UNIT: &str = "amazon-ssm-agent.service";
const SNAP_UNIT: &str = "snap.amazon-ssm-agent.amazon-ssm-agent.service";

/// Which programs and files are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// `amazon-ssm-agent` and `ssm-cli` on the path.
    pub(crate) agent: Option<PathBuf>,
    pub(crate) cli: Option<PathBuf>,
    /// The same in the snap.
    pub(crate) snap_agent: Option<PathBuf>,
    pub(crate) snap_cli: Option<PathBuf>,
    /// A package's unit.
    pub(crate) packaged_unit: bool,
    /// The programs that start and stop services.
    pub(crate) systemctl: Option<PathBuf>,
    pub(crate) initctl: Option<PathBuf>,
    pub(crate) stop: Option<PathBuf>,
    pub(crate) start: Option<PathBuf>,
    pub(crate) service: Option<PathBuf>,
}

/// How to talk to the agent and how to stop and start it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installation {
    pub(crate) agent: PathBuf,
    pub(crate) cli: Option<PathBuf>,
    pub(crate) stop: Control,
    pub(crate) start: Control,
}

/// A command that stops or starts the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<&'static str>,
}

impl Control {
    fn new<const N: usize>(program: &std::path::Path, args: [&'static str; N]) -> Self {
        Self { program: program.to_owned(), args: args.to_vec() }
    }

    /// The command as one types it.
    pub(crate) fn words(&self) -> String {
        let program = self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy().into_owned();
        [vec![program.as_str()], self.args.clone()].concat().join(" ")
    }
}

/// Why there is no agent to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Missing {
    #[error(
        "the agent is not installed: there is no amazon-ssm-agent on the path and none in the snap. Install it (Amazon \
         Linux: `yum install -y amazon-ssm-agent`; Ubuntu: `snap install amazon-ssm-agent --classic`; others: \
         https://docs.aws.amazon.com/systems-manager/latest/userguide/manually-install-ssm-agent-linux.html) and run this again"
    )]
    Agent,
    #[error(
        "two agents are installed, one from a package and one from the snap, and both would use the same registration. \
         Remove one of them (`snap remove amazon-ssm-agent`, or the package) and run this again"
    )]
    Two,
    #[error(
        "the agent is installed, but none of systemctl, initctl, start and stop, and service is here to stop and start it"
    )]
    Control,
}

/// Finds how to work with the agent.
pub(crate) fn detect(found: &Found) -> Result<Installation, Missing> {
    match (&found.agent, &found.snap_agent) {
        (_, Some(_)) if found.packaged_unit => Err(Missing::Two),
        (_, Some(agent)) => {
            let systemctl = found.systemctl.as_ref().ok_or(Missing::Control)?;
            Ok(Installation {
                agent: agent.clone(),
                cli: found.snap_cli.clone().or_else(|| found.cli.clone()),
                stop: Control::new(systemctl, ["stop", SNAP_UNIT]),
                start: Control::new(systemctl, ["start", SNAP_UNIT]),
            })
        }
        (Some(agent), None) => {
            let (stop, start) = packaged_controls(found).ok_or(Missing::Control)?;
            Ok(Installation { agent: agent.clone(), cli: found.cli.clone(), stop, start })
        }
        (None, None) => Err(Missing::Agent),
    }
}

/// systemd before upstart before the old scripts: a system that has one keeps the later ones for compatibility.
fn packaged_controls(found: &Found) -> Option<(Control, Control)> {
    if let Some(systemctl) = &found.systemctl {
        return Some((
            Control::new(systemctl, ["stop", PACKAGED_UNIT]),
            Control::new(systemctl, ["start", PACKAGED_UNIT]),
        ));
    }
    if let Some(initctl) = &found.initctl {
        return Some((
            Control::new(initctl, ["stop", PACKAGED_SERVICE]),
            Control::new(initctl, ["start", PACKAGED_SERVICE]),
        ));
    }
    if let (Some(stop), Some(start)) = (&found.stop, &found.start) {
        return Some((Control::new(stop, [PACKAGED_SERVICE]), Control::new(start, [PACKAGED_SERVICE])));
    }
    let service = found.service.as_ref()?;
    Some((Control::new(service, [PACKAGED_SERVICE, "stop"]), Control::new(service, [PACKAGED_SERVICE, "start"])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: &Found, agent: &str, stop: &str, start: &str) {
        let installation = detect(found).unwrap();
        assert_eq!(
            (installation.agent.to_str().unwrap(), installation.stop.words(), installation.start.words()),
            (agent, stop.to_owned(), start.to_owned())
        );
    }

    #[test]
    fn each_kind_of_installation() {
        let package = Found {
            agent: Some(PathBuf::from("/usr/bin/amazon-ssm-agent")),
            cli: Some(PathBuf::from("/usr/bin/ssm-cli")),
            ..Found::default()
        };
        let systemd = Found {
            systemctl: Some(PathBuf::from("/usr/bin/systemctl")),
            service: Some(PathBuf::from("/usr/sbin/service")),
            packaged_unit: true,
            ..package.clone()
        };
        check(
            &systemd,
            "/usr/bin/amazon-ssm-agent",
            "systemctl stop amazon-ssm-agent.service",
            "systemctl start amazon-ssm-agent.service",
        );
        let upstart = Found {
            initctl: Some(PathBuf::from("/sbin/initctl")),
            service: Some(PathBuf::from("/sbin/service")),
            ..package.clone()
        };
        check(&upstart, "/usr/bin/amazon-ssm-agent", "initctl stop amazon-ssm-agent", "initctl start amazon-ssm-agent");
        let write_up = Found {
            stop: Some(PathBuf::from("/sbin/stop")),
            start: Some(PathBuf::from("/sbin/start")),
            ..package.clone()
        };
        check(&write_up, "/usr/bin/amazon-ssm-agent", "stop amazon-ssm-agent", "start amazon-ssm-agent");
        let scripts = Found { service: Some(PathBuf::from("/sbin/service")), ..package.clone() };
        check(&scripts, "/usr/bin/amazon-ssm-agent", "service amazon-ssm-agent stop", "service amazon-ssm-agent start");
        assert_eq!(detect(&package), Err(Missing::Control));
    }

    #[test]
    fn the_snap_has_programs_and_a_unit_of_its_own() {
        let snap = Found {
            snap_agent: Some(PathBuf::from("/snap/amazon-ssm-agent/current/amazon-ssm-agent")),
            snap_cli: Some(PathBuf::from("/snap/amazon-ssm-agent/current/ssm-cli")),
            systemctl: Some(PathBuf::from("/usr/bin/systemctl")),
            ..Found::default()
        };
        let unit = "snap.amazon-ssm-agent.amazon-ssm-agent.service";
        check(
            &snap,
            "/snap/amazon-ssm-agent/current/amazon-ssm-agent",
            &format!("systemctl stop {unit}"),
            &format!("systemctl start {unit}"),
        );
        assert_eq!(detect(&snap).unwrap().cli, Some(PathBuf::from("/snap/amazon-ssm-agent/current/ssm-cli")));
        assert_eq!(detect(&Found { packaged_unit: true, ..snap.clone() }), Err(Missing::Two));
        assert_eq!(detect(&Found { systemctl: None, ..snap }), Err(Missing::Control));
    }

    #[test]
    fn no_agent_says_how_to_get_one() {
        let message = detect(&Found { systemctl: Some(PathBuf::from("/usr/bin/systemctl")), ..Found::default() })
            .unwrap_err()
            .to_string();
        assert!(message.contains("yum install -y amazon-ssm-agent"), "{message}");
    }
}
