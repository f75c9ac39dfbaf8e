//! A made-up machine: an EC2 instance with an agent, a service manager and a metadata service.
//!
//! A folder stands for `/`, laid out as on Amazon Linux, RHEL or Ubuntu. Its programs are the stand-ins of
//! [`crate::stand_in`], its metadata service is one of [`crate::Imds`].
//!
//! ```text
//! let instance = machine::launch(&agency, Some("TagHubInstance")).await?;   // RunInstances, with an instance profile
//! let machine = Machine::new(&aws, machine::Kind::UbuntuSnap, instance)?;
//! let output = machine.command(path_of_the_tool).args(["--root".as_ref(), machine.root()]).output()?;
//! assert_eq!(machine.service_log(), ["stop snap.amazon-ssm-agent.amazon-ssm-agent.service", …]);
//! let node = machine.registration().unwrap().instance_id;
//! ```
//!
//! [`Machine::command`] sets only `PATH` (the folder's `usr/bin`), `HOME` (its `root`), `AWS_ENDPOINT_URL`,
//! `AWS_EC2_METADATA_SERVICE_ENDPOINT`, and `SSM_AGENT_ROOT` (the folder). Under the folder,
//! `var/lib/amazon/ssm/Vault/Store/RegistrationKey` is the registration that counts and
//! `var/lib/amazon/ssm/registration` the readable copy; the log is `var/log/amazon/ssm/amazon-ssm-agent.log`, and
//! `.stand-in` holds the stand-ins' state. `cargo build --workspace --bins` builds the stand-ins.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::LocalAws;
use crate::aws_error::AwsError;
use crate::client::Client;
use crate::imds::{Ec2Instance, Imds};
pub use crate::stand_in::Registration;
use crate::stand_in::{Files, Identity};
use crate::xml::items;

/// The name of the executable that is every program of a machine.
const STAND_IN: &str = "amazon-ssm-agent-stand-in";

/// What runs on a machine, and so where its agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `/usr/bin/amazon-ssm-agent`, `amazon-ssm-agent.service`, an older systemd.
    AmazonLinux,
    /// The same with a newer systemd.
    RedHat,
    /// The package for Debian: as `RedHat`.
    UbuntuDeb,
    /// Amazon Linux of 2018: the same under upstart.
    AmazonLinuxUpstart,
    /// `/snap/amazon-ssm-agent/current/amazon-ssm-agent`, not on the `PATH`, and
    /// `snap.amazon-ssm-agent.amazon-ssm-agent.service`.
    UbuntuSnap,
}

/// What goes wrong with a program of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails; the agent before it calls Systems Manager, after it has emptied the vault.
    Fail,
    /// The agent registers the node, writes it down and then fails.
    FailAfterWrite,
    /// It does not come back.
    Hang,
    /// It prints nonsense and ends with 0.
    Garbage,
    /// The agent registers the node and ends with 0, and says nothing.
    NoId,
    /// Systems Manager throttles the agent.
    Throttled,
    /// The agent fails with words that nobody knows.
    Unknown,
    /// The agent finds no space on the disk.
    Full,
    /// `ssm-cli` prints a page.
    Html,
    /// For `service`: the agent that starts is refused, since the hardware is not what was registered.
    Fingerprint,
    /// For `service`: the agent that starts is refused, since the node was deregistered.
    Denied,
    /// For `service`: the agent that starts does not reach Systems Manager.
    Unreachable,
    /// `systemctl enable` fails.
    FailEnable,
    /// `systemctl stop` fails.
    FailStop,
    /// `systemctl start` fails.
    FailStart,
}

/// A machine; its folder goes when it is dropped.
#[derive(Debug)]
pub struct Machine {
    folder: TempDir,
    files: Files,
    kind: Kind,
    instance: Ec2Instance,
    imds: Imds,
    endpoint: String,
}

impl Machine {
    /// Lays the machine out, with its agent installed, running and not registered.
    ///
    /// # Errors
    /// Where the folder can not be made, or the stand-in has not been built.
    pub fn new(aws: &LocalAws, kind: Kind, instance: Ec2Instance) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("make a folder for a machine")?;
        let files = Files { root: folder.path().to_owned() };
        let imds = aws.imds(instance.clone())?;
        let machine = Self { folder, files, kind, instance, imds, endpoint: aws.endpoint().to_owned() };
        machine.lay_out().context("lay a machine out")?;
        Ok(machine)
    }

    fn lay_out(&self) -> anyhow::Result<()> {
        let stand_in = stand_in()?;
        for folder in [
            "usr/bin",
            "root",
            "etc/init",
            ".stand-in/disabled",
            "var/lib/amazon/ssm",
            "var/log/amazon/ssm",
            "etc/amazon/ssm",
            ".stand-in/units",
        ] {
            std::fs::create_dir_all(self.files.path(folder))?;
        }
        let (id, version) = match self.kind {
            Kind::AmazonLinux => ("amzn", "2"),
            Kind::AmazonLinuxUpstart => ("amzn", "2018.03"),
            Kind::RedHat => ("rhel", "9.6"),
            Kind::UbuntuDeb | Kind::UbuntuSnap => ("ubuntu", "24.04"),
        };
        Files::write(&self.files.path("etc/os-release"), &format!("ID={id}\nVERSION_ID=\"{version}\"\n"))?;
        let programs = match self.kind {
            Kind::UbuntuSnap => "snap/amazon-ssm-agent/current",
            _ => "usr/bin",
        };
        std::fs::create_dir_all(self.files.path(programs))?;
        for (folder, program) in [(programs, "amazon-ssm-agent"), (programs, "ssm-cli"), ("usr/bin", self.manager())] {
            symlink(&stand_in, self.files.path(folder).join(program))?;
        }
        Files::write(&self.files.path(Files::MACHINE_ID), &format!("{}\n", self.instance.instance_id))?;
        if self.kind == Kind::AmazonLinuxUpstart {
            let job = "start on (runlevel [345] and started network)\nrespawn\nexec /usr/bin/amazon-ssm-agent\n";
            Files::write(&self.files.path("etc/init/amazon-ssm-agent.conf"), job)?;
        }
        let unit_folder = if self.kind == Kind::UbuntuDeb { "lib/systemd/system" } else { "etc/systemd/system" };
        let unit_file = self.files.path(unit_folder).join(self.unit());
        if self.kind != Kind::AmazonLinuxUpstart {
            Files::write(&unit_file, "[Service]\nExecStart=amazon-ssm-agent\n")?;
        }
        Files::write(&self.files.own("units").join(self.unit()), "active")?;
        Files::write(&self.files.own("endpoint"), &self.endpoint)?;
        let Ec2Instance { account, region, instance_id } = self.instance.clone();
        let identity = Identity { account, region, instance_id, strict_systemd: self.kind != Kind::AmazonLinux };
        Files::write(&self.files.own("identity"), &serde_json::to_string(&identity)?)?;
        Ok(())
    }

    fn manager(&self) -> &'static str {
        if self.kind == Kind::AmazonLinuxUpstart { "initctl" } else { "systemctl" }
    }

    /// What stands for `/`.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The EC2 instance that it is.
    pub fn instance(&self) -> &Ec2Instance {
        &self.instance
    }

    /// Its metadata service.
    pub fn imds(&self) -> &Imds {
        &self.imds
    }

    /// The unit of its agent.
    pub fn unit(&self) -> &'static str {
        match self.kind {
            Kind::UbuntuSnap => "snap.amazon-ssm-agent.amazon-ssm-agent.service",
            _ => "amazon-ssm-agent.service",
        }
    }

    /// Its agent.
    pub fn agent(&self) -> PathBuf {
        let folder = if self.kind == Kind::UbuntuSnap { "snap/amazon-ssm-agent/current" } else { "usr/bin" };
        self.files.path(folder).join("amazon-ssm-agent")
    }

    /// A program in the environment of the machine and nothing else: the programs of the machine on the
    /// `PATH`, its root, its metadata service, and this local AWS.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", self.files.path("usr/bin"))
            .env("HOME", self.files.path("root"))
            .env("LANG", "C.UTF-8")
            .env("SSM_AGENT_ROOT", self.root())
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.imds.endpoint());
        command
    }

    /// The registration in the agent's vault, which is the one that counts; its id is empty where a
    /// registration was begun and not completed.
    pub fn registration(&self) -> Option<Registration> {
        self.files.registration(Files::VAULT)
    }

    /// The readable copy, which may be stale.
    pub fn registration_file(&self) -> Option<Registration> {
        self.files.registration(Files::REGISTRATION)
    }

    /// Registers the machine by hand, with both copies, as an image that was made from a registered machine
    /// would have them.
    ///
    /// # Errors
    /// Where the files can not be written.
    pub fn set_registration(&self, node: &str, region: &str) -> anyhow::Result<()> {
        self.files.save_readable(node, region)?;
        self.files.save(node, region)?;
        self.files.start_agent();
        Ok(())
    }

    /// Stops the agent's service and starts it, as a boot does.
    ///
    /// # Errors
    /// Where the service manager's file can not be written.
    pub fn reboot(&self) -> anyhow::Result<()> {
        self.files.start_agent();
        Ok(Files::write(&self.files.own("units").join(self.unit()), "active")?)
    }

    /// Makes it another machine, as one that was restored from a backup of this one.
    ///
    /// # Errors
    /// Where the file can not be written.
    pub fn change_hardware(&self) -> anyhow::Result<()> {
        Ok(Files::write(&self.files.path(Files::MACHINE_ID), "another\n")?)
    }

    /// Lets the agent's unit be disabled, so that it is gone after a boot.
    ///
    /// # Errors
    /// Where the file can not be written.
    pub fn disable_unit(&self) -> anyhow::Result<()> {
        Ok(Files::write(&self.files.own("disabled").join(self.unit()), "")?)
    }

    /// Whether the unit is enabled.
    pub fn is_enabled(&self) -> bool {
        !self.files.own("disabled").join(self.unit()).exists()
    }

    /// Writes a file of the machine, with its folders.
    ///
    /// # Errors
    /// Where that can not be done.
    pub fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        Ok(Files::write(&self.files.path(path.trim_start_matches('/')), text)?)
    }

    /// What the service manager was told, such as `stop amazon-ssm-agent.service`, in order.
    pub fn service_log(&self) -> Vec<String> {
        self.lines("service.log")
    }

    /// Every call of a program of the machine, with its arguments, in order.
    pub fn calls(&self) -> Vec<String> {
        self.lines("calls.log")
    }

    /// Whether the agent's service runs.
    pub fn is_active(&self) -> bool {
        Files::read(&self.files.own("units").join(self.unit())) == "active"
    }

    /// Takes the agent away, with its service.
    ///
    /// # Errors
    /// Where its files can not be removed.
    pub fn uninstall_agent(&self) -> anyhow::Result<()> {
        std::fs::remove_file(self.agent())?;
        std::fs::remove_file(self.agent().with_file_name("ssm-cli"))?;
        std::fs::remove_file(self.files.own("units").join(self.unit()))?;
        Ok(())
    }

    /// Brings back an agent that was taken away.
    ///
    /// # Errors
    /// Where its files can not be made.
    pub fn install_agent(&self) -> anyhow::Result<()> {
        let stand_in = stand_in()?;
        symlink(&stand_in, self.agent().with_file_name("ssm-cli"))?;
        symlink(&stand_in, self.agent())?;
        Ok(Files::write(&self.files.own("units").join(self.unit()), "active")?)
    }

    /// Lets `amazon-ssm-agent`, `ssm-cli` or `systemctl` go wrong from now on, `times` times or for good.
    ///
    /// # Errors
    /// Where the file of the faults can not be written.
    pub fn set_fault(&self, program: &str, fault: Fault, times: Option<u32>) -> anyhow::Result<()> {
        let word = match fault {
            Fault::Fail => "fail",
            Fault::FailAfterWrite => "fail-after-write",
            Fault::Hang => "hang",
            Fault::Garbage => "garbage",
            Fault::NoId => "no-id",
            Fault::Throttled => "throttled",
            Fault::Unknown => "unknown",
            Fault::Full => "full",
            Fault::Html => "html",
            Fault::Fingerprint => "fingerprint",
            Fault::Denied => "denied",
            Fault::Unreachable => "unreachable",
            Fault::FailEnable => "fail-enable",
            Fault::FailStop => "fail-stop",
            Fault::FailStart => "fail-start",
        };
        let path = self.files.own("faults");
        let times = times.map(|times| format!(" {times}")).unwrap_or_default();
        Files::write(&path, &format!("{}{program} {word}{times}\n", Files::read(&path)))?;
        Ok(())
    }

    /// Lets everything work again.
    ///
    /// # Errors
    /// Where the file of the faults can not be written.
    pub fn clear_faults(&self) -> anyhow::Result<()> {
        Ok(Files::write(&self.files.own("faults"), "")?)
    }

    fn lines(&self, name: &str) -> Vec<String> {
        Files::read(&self.files.own(name)).lines().map(str::to_owned).collect()
    }
}

/// Launches an EC2 instance as the root of an account, with an instance profile where one is named.
///
/// # Errors
/// What EC2 answers.
pub async fn launch(client: &Client, profile: Option<&str>) -> Result<Ec2Instance, AwsError> {
    let mut params = vec![("ImageId", "ami-0123456789abcdef0"), ("MinCount", "1"), ("MaxCount", "1")];
    params.extend(profile.map(|name| ("IamInstanceProfile.Name", name)));
    let answer = client.query("ec2", "RunInstances", &params).await?;
    let instance = items(&answer["instancesSet"]).first().cloned().unwrap_or_default();
    let instance_id = instance["instanceId"].as_str().unwrap_or_default().to_owned();
    Ok(Ec2Instance { account: client.access_key().to_owned(), region: client.region().to_owned(), instance_id })
}

/// The executable, where cargo puts it: beside the folder that holds the tests.
fn stand_in() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("find the running program")?;
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(STAND_IN)).find(|path| path.is_file());
    found.with_context(|| format!("{STAND_IN} is not beside {}: build the workspace's binaries first", own.display()))
}
