//! What brings the program to an instance: the unit, the script and the document, as `make package` lays them out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// dist/ with a small program in the place of the real one, a machine to install on, and a systemctl that notes its calls.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new(architectures: &[&str]) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["dist", "bin", "root/etc"] {
            fs::create_dir_all(site.at(folder)).unwrap();
        }
        for architecture in architectures {
            fs::write(site.at(&format!("dist/register-instance-{architecture}")), "#!/bin/sh\nexit 0\n").unwrap();
        }
        let render = "import sys, pathlib; sys.path.insert(0, 'scripts'); import dist; dist.packaging(pathlib.Path(sys.argv[1]))";
        let mut python = Command::new("python3");
        python.current_dir(REPOSITORY).args(["-B", "-c", render]).arg(site.at("dist"));
        let output = python.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        site.program("systemctl", &format!("echo \"$@\" >> {}", site.at("systemctl.log").display()));
        site
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn program(&self, name: &str, script: &str) {
        let file = self.at("bin").join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, script: &Path, artifacts: Option<&str>) -> Output {
        let mut bash = Command::new("bash");
        bash.arg(script).env_clear().env("INSTALL_ROOT", self.at("root"));
        bash.env("PATH", format!("{}:/usr/bin:/bin", self.at("bin").display()));
        if let Some(artifacts) = artifacts {
            bash.env("ARTIFACTS", artifacts);
        }
        bash.output().unwrap()
    }

    fn install(&self) -> Output {
        self.run(&self.at("dist/install.sh"), Some(&format!("file://{}", self.at("dist").display())))
    }

    fn assert_refused(&self, output: &Output, words: &str) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{said}");
        assert!(!self.at("root/usr/local/sbin/register-instance").exists(), "it was installed");
        assert!(!self.at("systemctl.log").exists(), "it was started");
    }
}

#[test]
fn the_script_installs_what_it_has_the_checksum_of() {
    let site = Site::new(&["x86_64", "aarch64"]);
    for machine in ["x86_64", "aarch64"] {
        site.program("uname", &format!("echo {machine}"));
        let output = site.install();
        assert!(output.status.success(), "{output:?}");
        let installed = site.at("root/usr/local/sbin/register-instance");
        assert_eq!(fs::metadata(&installed).unwrap().permissions().mode() & 0o777, 0o755);
        let log = fs::read_to_string(site.at("systemctl.log")).unwrap();
        let expected =
            "daemon-reload\nenable register-instance.service\nrestart --no-block register-instance.service\n";
        assert_eq!(log, expected, "{machine}");
        assert!(site.at("root/etc/systemd/system/register-instance.service").exists());
        for left in [installed, site.at("systemctl.log")] {
            fs::remove_file(left).unwrap();
        }
    }
}

#[test]
fn what_is_not_what_was_built_is_not_installed() {
    let site = Site::new(&["x86_64"]);
    site.program("uname", "echo aarch64");
    site.assert_refused(&site.install(), "there is no checksum for register-instance-aarch64");
    site.program("uname", "echo riscv64");
    site.assert_refused(&site.install(), "there is no register-instance for riscv64");
    site.program("uname", "echo x86_64");
    site.assert_refused(&site.run(&site.at("dist/install.sh"), None), "ARTIFACTS has to begin with");
    site.assert_refused(&site.run(&site.at("dist/install.sh"), Some("http://plain/x")), "ARTIFACTS has to begin with");
    site.assert_refused(&site.run(&site.at("dist/install.sh"), Some("file:///nowhere")), "cannot fetch");
    fs::write(site.at("dist/register-instance-x86_64"), "#!/bin/sh\nevil\n").unwrap();
    site.assert_refused(&site.install(), "another checksum");
}

#[test]
fn the_document_of_state_manager_runs_the_same_script() {
    let site = Site::new(&["x86_64"]);
    site.program("uname", "echo x86_64");
    let document = fs::read_to_string(site.at("dist/state-manager.yaml")).unwrap();
    assert!(document.contains("schemaVersion: \"2.2\"") && !document.contains("@INSTALL@"), "{document}");
    let (_, commands) = document.split_once("runCommand:\n").unwrap();
    let mut lines = commands.lines();
    // The agent runs it with sh, unless its first line says otherwise.
    assert_eq!(lines.next(), Some("        - \"#!/bin/bash\""));
    let export = lines.next().unwrap().trim_start().strip_prefix("- ").unwrap();
    let artifacts = format!("file://{}", site.at("dist").display());
    let mut script = format!("#!/bin/bash\n{}\n", export.replace("{{ Artifacts }}", &artifacts));
    let block = lines.skip_while(|line| line.trim_start().starts_with('#')).skip(1);
    for line in block {
        script.push_str(line.strip_prefix("          ").unwrap_or(line));
        script.push('\n');
    }
    assert!(!script.contains("{{"), "what looks like a parameter of the document: {script}");
    fs::write(site.at("script.sh"), script).unwrap();
    let output = site.run(&site.at("script.sh"), None);
    assert!(output.status.success(), "{output:?}");
    assert!(site.at("root/usr/local/sbin/register-instance").exists());
}

#[test]
fn systemd_takes_the_unit() {
    let unit =
        fs::read_to_string(Path::new(REPOSITORY).join("bin/register-instance/packaging/register-instance.service"));
    let unit = unit.unwrap();
    for line in [
        "Restart=on-failure",
        "Type=simple",
        "Wants=network-online.target",
        "After=network-online.target amazon-ssm-agent.service snap.amazon-ssm-agent.amazon-ssm-agent.service snapd.seeded.service",
        "WantedBy=multi-user.target",
    ] {
        assert!(unit.lines().any(|found| found == line), "no {line}");
    }
    // Its own checker, if this machine has it. The program is not where the unit looks for it.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("register-instance.service");
    fs::write(&file, unit.replace("/usr/local/sbin/register-instance", "/bin/true")).unwrap();
    if let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output() {
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}
