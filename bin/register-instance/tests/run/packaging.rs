//! What brings the program to an instance: the unit, the script and the document, as `make package` lays them out.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

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
        site.render();
        site.program("systemctl", &format!("echo \"$@\" >> {}", site.at("systemctl.log").display()));
        site
    }

    /// Lays dist/ out around what is in it.
    fn render(&self) {
        let render = "import sys, pathlib; sys.path.insert(0, 'scripts'); import dist; dist.packaging(pathlib.Path(sys.argv[1]))";
        let mut python = Command::new("python3");
        python.current_dir(REPOSITORY).args(["-B", "-c", render]).arg(self.at("dist"));
        let output = python.output().unwrap();
        assert!(output.status.success(), "{output:?}");
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
        self.bash(script, artifacts).output().unwrap()
    }

    fn bash(&self, script: &Path, artifacts: Option<&str>) -> Command {
        let mut bash = Command::new("bash");
        bash.arg(script).env_clear().env("INSTALL_ROOT", self.at("root"));
        bash.env("PATH", format!("{}:/usr/bin:/bin", self.at("bin").display()));
        if let Some(artifacts) = artifacts {
            bash.env("ARTIFACTS", artifacts);
        }
        bash
    }

    fn install(&self) -> Output {
        self.run(&self.at("dist/install.sh"), Some(&format!("file://{}", self.at("dist").display())))
    }

    fn install_with(&self, options: &str) -> Output {
        let mut bash = self.bash(&self.at("dist/install.sh"), Some(&format!("file://{}", self.at("dist").display())));
        bash.env("OPTIONS", options).output().unwrap()
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
fn options_of_every_run_are_kept_until_others_are_given() {
    let site = Site::new(&["x86_64"]);
    site.program("uname", "echo x86_64");
    for bad in
        ["--region 'x'", "--region $(reboot)", "--region x; reboot", "--region `x`", "--json\n--dry-run", "\"", "\\"]
    {
        site.assert_refused(&site.install_with(bad), "OPTIONS may have");
        assert!(!site.at("root/etc/default/register-instance").exists(), "{bad}");
    }
    let kept = || fs::read_to_string(site.at("root/etc/default/register-instance")).ok();
    assert!(site.install().status.success());
    assert_eq!(kept().as_deref(), Some("OPTIONS=''\n"));
    for (given, expected) in [
        ("--hub-account 111111111111 --region=us-east-1", "--hub-account 111111111111 --region=us-east-1"),
        ("", "--hub-account 111111111111 --region=us-east-1"),
        ("--parameter /tag-hub/test.1_x/activation", "--parameter /tag-hub/test.1_x/activation"),
    ] {
        let output = site.install_with(given);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(kept(), Some(format!("OPTIONS='{expected}'\n")));
    }
}

#[test]
fn without_systemd_the_script_of_a_boot_runs_it_with_the_same_options() {
    let site = Site::new(&["x86_64"]);
    // Only these, as systemd may be here.
    fs::remove_file(site.at("bin/systemctl")).unwrap();
    for tool in ["bash", "mktemp", "rm", "curl", "sha256sum", "install", "mv", "sed", "cat", "nohup", "sh"] {
        let found =
            ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool)).into_iter().find(|path| path.exists());
        std::os::unix::fs::symlink(found.unwrap(), site.at("bin").join(tool)).unwrap();
    }
    site.program("uname", "echo x86_64");
    let installed = site.at("root/usr/local/sbin/register-instance");
    let program = format!("#!/bin/sh\necho \"$@\" > {}\n", site.at("ran").display());
    fs::write(site.at("dist/register-instance-x86_64"), program).unwrap();
    site.render();
    fs::create_dir_all(site.at("root/var/log")).unwrap();
    let rc = site.at("root/etc/rc.local");
    let earlier = "/usr/local/sbin/register-instance --wait-for-network &";
    fs::write(&rc, format!("#!/bin/sh\ntouch /var/lock/subsys/local\n{earlier}\n")).unwrap();
    let fixed = "--wait-for-network --timeout 15m --json";
    for (given, expected) in [
        ("", fixed.to_owned()),
        ("--region us-east-1", format!("{fixed} --region us-east-1")),
        ("", format!("{fixed} --region us-east-1")),
    ] {
        let mut bash = site.bash(&site.at("dist/install.sh"), Some(&format!("file://{}", site.at("dist").display())));
        let output = bash.env("PATH", site.at("bin")).env("OPTIONS", given).output().unwrap();
        assert!(output.status.success() && installed.exists(), "{output:?}");
        let begun = Instant::now();
        let mut ran = String::new();
        while !ran.ends_with('\n') {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never ran: {output:?}");
            ran = fs::read_to_string(site.at("ran")).unwrap_or_default();
        }
        assert_eq!(ran.trim_end(), expected);
        fs::remove_file(site.at("ran")).unwrap();
        // And at every boot.
        let lines = fs::read_to_string(&rc).unwrap();
        let lines: Vec<&str> = lines.lines().collect();
        assert!(lines.len() == 3 && lines[1].contains("subsys"), "{lines:?}");
        let root = site.at("root").display().to_string();
        let boot = ["/etc/default", "/usr/local", "/var/log"]
            .iter()
            .fold(lines[2].to_owned(), |boot, folder| boot.replace(folder, &format!("{root}{folder}")));
        let boot = boot.strip_suffix(" &").unwrap();
        assert!(Command::new("sh").args(["-c", boot]).status().unwrap().success(), "{boot}");
        assert_eq!(fs::read_to_string(site.at("ran")).unwrap().trim_end(), expected);
        fs::remove_file(site.at("ran")).unwrap();
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

/// A server for `https`, with a certificate of its own; it ends with this.
struct Server {
    process: Child,
    url: String,
    certificate: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start(site: &Site) -> Self {
        const SERVE: &str = "import http.server, ssl, sys, os\n\
            os.chdir(sys.argv[1])\n\
            server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n\
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
            context.load_cert_chain(sys.argv[2], sys.argv[3])\n\
            server.socket = context.wrap_socket(server.socket, server_side=True)\n\
            print(server.server_address[1], flush=True)\n\
            server.serve_forever()";
        let (certificate, key) = (site.at("certificate.pem"), site.at("key.pem"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]);
        openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-out"]).arg(&certificate).arg("-keyout").arg(&key);
        let output = openssl.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut python = Command::new("python3");
        python.args(["-c", SERVE]).args([&site.at("dist"), &certificate, &key]);
        let mut process = python.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { process, url: format!("https://127.0.0.1:{}", port.trim()), certificate }
    }
}

#[test]
fn a_web_server_is_asked_and_believed_by_its_certificate_and_the_checksums() {
    let site = Site::new(&["x86_64"]);
    site.program("uname", "echo x86_64");
    let server = Server::start(&site);
    let install = |certificate: Option<&Path>, artifacts: &str| {
        let mut bash = site.bash(&site.at("dist/install.sh"), Some(artifacts));
        bash.envs(certificate.map(|certificate| ("CURL_CA_BUNDLE", certificate)));
        bash.output().unwrap()
    };
    site.assert_refused(&install(None, &server.url), "cannot fetch");
    site.assert_refused(&install(Some(&server.certificate), &format!("{}/nowhere", server.url)), "cannot fetch");
    // What is served is not what was built.
    let program = site.at("dist/register-instance-x86_64");
    let built = fs::read(&program).unwrap();
    for served in [&b"#!/bin/sh\nevil\n"[..], b"", &built[..built.len() - 1]] {
        fs::write(&program, served).unwrap();
        site.assert_refused(&install(Some(&server.certificate), &server.url), "another checksum");
    }
    fs::write(&program, &built).unwrap();
    // The unit has a checksum too, and nothing runs without it.
    let unit = site.at("dist/register-instance.service");
    let right = fs::read(&unit).unwrap();
    fs::write(&unit, "[Service]\nExecStart=/bin/evil\n").unwrap();
    let output = install(Some(&server.certificate), &server.url);
    assert!(!output.status.success() && !site.at("systemctl.log").exists(), "{output:?}");
    assert!(!site.at("root/etc/systemd/system/register-instance.service").exists());
    fs::write(&unit, right).unwrap();
    let output = install(Some(&server.certificate), &server.url);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(site.at("root/usr/local/sbin/register-instance")).unwrap(), built);
}

#[test]
fn a_bucket_is_read_with_the_instance_s_own_credentials() {
    let site = Site::new(&["aarch64"]);
    site.program("uname", "echo aarch64");
    let dist = site.at("dist");
    let log = site.at("aws.log");
    let copies = format!(
        "echo \"$AWS_SHARED_CREDENTIALS_FILE $AWS_CONFIG_FILE $*\" >> {}\n\
         [ \"$1 $2 $3\" = \"s3 cp --only-show-errors\" ] && cp {}/\"${{4#s3://bucket/folder/}}\" \"$5\"",
        log.display(),
        dist.display()
    );
    site.program("aws", &copies);
    let output = site.run(&site.at("dist/install.sh"), Some("s3://bucket/folder"));
    assert!(output.status.success(), "{output:?}");
    let calls = fs::read_to_string(log).unwrap();
    assert_eq!(calls.lines().count(), 2, "{calls}");
    assert!(calls.lines().all(|call| call.starts_with("/dev/null /dev/null s3 cp ")), "{calls}");
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
    let export = export.replace("{{ Artifacts }}", &artifacts).replace("{{ Options }}", "--region us-east-1");
    let mut script = format!("#!/bin/bash\n{export}\n");
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
    let options = fs::read_to_string(site.at("root/etc/default/register-instance")).unwrap();
    assert_eq!(options, "OPTIONS='--region us-east-1'\n");
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
        "After=network-online.target snapd.seeded.service",
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
