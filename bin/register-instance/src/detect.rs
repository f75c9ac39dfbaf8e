//! How the agent is installed, decided from what is on the machine and not from the name of the system.

use std::path::{Path, PathBuf};

/// Where the snap has its programs. They are not on the search path.
pub(crate) const SNAP_FOLDER: &str = "/snap/amazon-ssm-agent/current";

pub(crate) const PACKAGED_SERVICE: &str = "amazon-ssm-agent";
pub(crate) const PACKAGED_UNIT: &str = "amazon-ssm-agent.service";
pub(crate) const SNAP_UNIT: &str = "snap.amazon-ssm-agent.amazon-ssm-agent.service";

/// The file of a unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum UnitFile {
    #[default]
    Absent,
    /// It is empty or links to `/dev/null`: the unit cannot be started.
    Masked,
    There,
}

/// Which programs and files are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// `amazon-ssm-agent` and `ssm-cli` on the search path.
    pub(crate) agent: Option<PathBuf>,
    pub(crate) cli: Option<PathBuf>,
    /// The same in the snap.
    pub(crate) snap_agent: Option<PathBuf>,
    pub(crate) snap_cli: Option<PathBuf>,
    pub(crate) packaged_unit: UnitFile,
    pub(crate) snap_unit: UnitFile,
    /// The image brings the snap, and snapd has not installed it yet.
    pub(crate) is_seeding: bool,
    /// Whether systemd runs this machine. Where it does not, its `systemctl` may be there all the same.
    pub(crate) has_systemd: bool,
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
    pub(crate) manager: Manager,
    pub(crate) stop: Control,
    pub(crate) start: Control,
    /// Says whether it runs.
    pub(crate) status: Control,
}

/// Who runs the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Manager {
    Systemd {
        systemctl: PathBuf,
        unit: &'static str,
    },
    Upstart {
        job: &'static str,
    },
    /// `service` and a script, which starts with an empty environment.
    Script {
        name: &'static str,
    },
}

impl Manager {
    /// The service, as its manager names it.
    pub(crate) fn service(&self) -> &'static str {
        match self {
            Self::Systemd { unit, .. } => unit,
            Self::Upstart { job } => job,
            Self::Script { name } => name,
        }
    }
}

/// A command that stops or starts the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<&'static str>,
}

impl Control {
    pub(crate) fn new<const N: usize>(program: &Path, args: [&'static str; N]) -> Self {
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
        "the agent is not installed: there is no amazon-ssm-agent on the search path and none in the snap. Install it \
         (Amazon Linux: `yum install -y amazon-ssm-agent`; Ubuntu: `snap install amazon-ssm-agent --classic`; others: \
         https://docs.aws.amazon.com/systems-manager/latest/userguide/manually-install-ssm-agent-linux.html) and run this again"
    )]
    Agent,
    #[error(
        "snapd has not installed the agent yet, which the image brings as a snap. Wait for `snap wait system seed.loaded` \
         and run this again, or run it with a longer --timeout"
    )]
    Seeding,
    #[error(
        "two agents are installed, one from a package and one from the snap, and both would use the same registration. \
         Remove one of them (`snap remove amazon-ssm-agent`, or the package), or mask its unit, and run this again"
    )]
    Two,
    #[error("the agent's unit {0} is masked, so the agent cannot run. Run `systemctl unmask {0}`, and run this again")]
    Masked(&'static str),
    #[error(
        "the agent is installed, but none of systemctl, initctl, start and stop, and service is here to stop and start it"
    )]
    Control,
}

/// Finds how to work with the agent.
pub(crate) fn detect(found: &Found) -> Result<Installation, Missing> {
    let usable = |agent: &Option<PathBuf>, unit| agent.is_some() && unit != UnitFile::Masked;
    let has_package = usable(&found.agent, found.packaged_unit);
    match (&found.agent, &found.snap_agent) {
        (_, Some(_))
            if has_package && found.packaged_unit == UnitFile::There && usable(&found.snap_agent, found.snap_unit) =>
        {
            Err(Missing::Two)
        }
        (_, Some(agent)) if found.snap_unit != UnitFile::Masked => {
            let systemctl = found.systemctl.as_ref().ok_or(Missing::Control)?;
            Ok(systemd(agent, systemctl, SNAP_UNIT))
        }
        (Some(agent), _) if has_package => packaged(agent, found).ok_or(Missing::Control),
        (Some(_), _) => Err(Missing::Masked(PACKAGED_UNIT)),
        (None, Some(_)) => Err(Missing::Masked(SNAP_UNIT)),
        (None, None) if found.is_seeding => Err(Missing::Seeding),
        (None, None) => Err(Missing::Agent),
    }
}

fn systemd(agent: &Path, systemctl: &Path, unit: &'static str) -> Installation {
    let control = |verb| Control::new(systemctl, [verb, unit]);
    Installation {
        agent: agent.to_owned(),
        manager: Manager::Systemd { systemctl: systemctl.to_owned(), unit },
        stop: control("stop"),
        start: control("start"),
        status: control("is-active"),
    }
}

/// systemd before upstart before the old scripts: a system that has one keeps the later ones for compatibility.
fn packaged(agent: &Path, found: &Found) -> Option<Installation> {
    let has_other = found.initctl.is_some() || found.stop.is_some() || found.service.is_some();
    if let Some(systemctl) = found.systemctl.as_ref().filter(|_| found.has_systemd || !has_other) {
        return Some(systemd(agent, systemctl, PACKAGED_UNIT));
    }
    let with = |manager, [stop, start, status]: [Control; 3]| {
        Some(Installation { agent: agent.to_owned(), manager, stop, start, status })
    };
    let upstart = Manager::Upstart { job: PACKAGED_SERVICE };
    if let Some(initctl) = &found.initctl {
        return with(upstart, ["stop", "start", "status"].map(|verb| Control::new(initctl, [verb, PACKAGED_SERVICE])));
    }
    if let (Some(stop), Some(start)) = (&found.stop, &found.start) {
        let programs = [stop.clone(), start.clone(), start.with_file_name("status")];
        return with(upstart, programs.map(|program| Control::new(&program, [PACKAGED_SERVICE])));
    }
    let service = found.service.as_ref()?;
    let verbs = ["stop", "start", "status"];
    with(Manager::Script { name: PACKAGED_SERVICE }, verbs.map(|verb| Control::new(service, [PACKAGED_SERVICE, verb])))
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

    fn package() -> Found {
        Found {
            agent: Some(PathBuf::from("/usr/bin/amazon-ssm-agent")),
            cli: Some(PathBuf::from("/usr/bin/ssm-cli")),
            ..Found::default()
        }
    }

    fn snap() -> Found {
        Found {
            snap_agent: Some(PathBuf::from("/snap/amazon-ssm-agent/current/amazon-ssm-agent")),
            snap_cli: Some(PathBuf::from("/snap/amazon-ssm-agent/current/ssm-cli")),
            snap_unit: UnitFile::There,
            systemctl: Some(PathBuf::from("/usr/bin/systemctl")),
            ..Found::default()
        }
    }

    #[test]
    fn each_kind_of_installation() {
        let systemd = Found {
            systemctl: Some(PathBuf::from("/usr/bin/systemctl")),
            service: Some(PathBuf::from("/usr/sbin/service")),
            packaged_unit: UnitFile::There,
            has_systemd: true,
            ..package()
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
            ..package()
        };
        check(&upstart, "/usr/bin/amazon-ssm-agent", "initctl stop amazon-ssm-agent", "initctl start amazon-ssm-agent");
        let write_up =
            Found { stop: Some(PathBuf::from("/sbin/stop")), start: Some(PathBuf::from("/sbin/start")), ..package() };
        check(&write_up, "/usr/bin/amazon-ssm-agent", "stop amazon-ssm-agent", "start amazon-ssm-agent");
        let scripts = Found { service: Some(PathBuf::from("/sbin/service")), ..package() };
        check(&scripts, "/usr/bin/amazon-ssm-agent", "service amazon-ssm-agent stop", "service amazon-ssm-agent start");
        assert_eq!(detect(&package()), Err(Missing::Control));
        // systemctl is there, and systemd is not what runs the machine.
        let container = Found { has_systemd: false, ..systemd.clone() };
        check(
            &container,
            "/usr/bin/amazon-ssm-agent",
            "service amazon-ssm-agent stop",
            "service amazon-ssm-agent start",
        );
        let alone = Found { service: None, ..container };
        assert_eq!(detect(&alone).unwrap().manager.service(), PACKAGED_UNIT);
    }

    #[test]
    fn the_snap_has_programs_and_a_unit_of_its_own() {
        let agent = "/snap/amazon-ssm-agent/current/amazon-ssm-agent";
        let (stop, start) = (format!("systemctl stop {SNAP_UNIT}"), format!("systemctl start {SNAP_UNIT}"));
        check(&snap(), agent, &stop, &start);
        assert_eq!(detect(&Found { systemctl: None, ..snap() }), Err(Missing::Control));
        // The package's unit is masked or has no program: the snap is the agent.
        let beside = |packaged_unit| Found { agent: package().agent, packaged_unit, ..snap() };
        assert_eq!(detect(&beside(UnitFile::There)), Err(Missing::Two));
        check(&beside(UnitFile::Masked), agent, &stop, &start);
        check(&Found { agent: None, ..beside(UnitFile::There) }, agent, &stop, &start);
        check(&Found { agent: None, ..beside(UnitFile::Masked) }, agent, &stop, &start);
        // The other way round.
        let package_is_it = Found { snap_unit: UnitFile::Masked, ..beside(UnitFile::There) };
        check(
            &package_is_it,
            "/usr/bin/amazon-ssm-agent",
            "systemctl stop amazon-ssm-agent.service",
            "systemctl start amazon-ssm-agent.service",
        );
    }

    #[test]
    fn what_cannot_run_says_how_to_change_that() {
        let systemctl = Some(PathBuf::from("/usr/bin/systemctl"));
        let none = Found { systemctl, ..Found::default() };
        let message = detect(&none).unwrap_err().to_string();
        assert!(message.contains("yum install -y amazon-ssm-agent"), "{message}");
        let seeding = Found { is_seeding: true, ..none.clone() };
        assert_eq!(detect(&seeding), Err(Missing::Seeding));
        let masked = Found { agent: package().agent, packaged_unit: UnitFile::Masked, ..none.clone() };
        let message = detect(&masked).unwrap_err().to_string();
        assert!(message.contains("systemctl unmask amazon-ssm-agent.service"), "{message}");
        let masked = Found { snap_unit: UnitFile::Masked, ..snap() };
        assert_eq!(detect(&masked), Err(Missing::Masked(SNAP_UNIT)));
    }
}
