//! The built program on a machine of shell scripts, with a metadata service and an AWS of a few lines.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::fake::{ACCOUNT, CODE, INSTANCE, MARKER, PARAMETER, READY, VAULT, activation, stat};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_register-instance");
pub(crate) const FIRST_NODE: &str = "mi-00000000000000001";

/// What each program begins with: it notes its call, and ends the run that called it where it is told to: `before N` or
/// `after N`, for the Nth call.
const PROLOG: &str = r#"#!/bin/sh
echo "${0##*/} $*" >> ROOT/calls
count=$(wc -l < ROOT/calls)
end() { read when at < ROOT/kill && [ "$when" = "$1" ] && [ "$at" = "$count" ] && kill -9 $PPID && exit 1; }
[ -e ROOT/kill ] && end before
trap '[ -e ROOT/kill ] && end after' EXIT
lib=ROOT/var/lib/amazon/ssm log=ROOT/var/log/amazon/ssm/amazon-ssm-agent.log vault=$lib/Vault/Store/RegistrationKey
kept() { [ -f "$vault" ] && [ ! -L "$vault" ] && sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$vault" 2> /dev/null; }
lib_fp=$lib/Vault/Store/InstanceFingerprint
fingerprint() { mkdir -p "${lib_fp%/*}"; echo "{\"fingerprint\":\"$1\",\"hardwareHash\":$2,\"similarityThreshold\":$3}" > "$lib_fp"; }
save() { echo "{\"instanceID\":\"$1\",\"region\":\"$2\",\"privateKey\":\"k\"}" > "$vault"; }
"#;
/// `systemctl`, and `initctl` with the one verb more.
pub(crate) const MANAGER: &str = r#"
case "$1" in
  is-active) [ -e ROOT/running ] && echo active || echo inactive ;;
  status) [ -e ROOT/running ] && echo "amazon-ssm-agent start/running, process 7" || echo "amazon-ssm-agent stop/waiting" ;;
  is-enabled) cat ROOT/enabled ;;
  show) echo "MainPID=$(cat ROOT/pid 2> /dev/null || echo 7)" ;;
  enable) [ -e ROOT/cannot-enable ] && exit 1; echo enabled > ROOT/enabled ;;
  stop) rm -f ROOT/running ;;
  start)
    : > ROOT/running
    id=$(kept instanceID)
    mkdir -p "$lib/runtimeconfig"
    note=$lib/runtimeconfig/identity_config.json
    [ -n "$id" ] && [ -f "$lib_fp" ] && grep -q '"fingerprint":""' "$lib_fp" && fingerprint "made-at-start" null 40
    # An agent that is accepted notes its credentials; one that is not keeps those that it had as the same node.
    if grep -E 'Credentials ready|Starting credentials|Retrieve credentials' ROOT/agent-logs | tail -n 1 | grep -q ready; then
      times="\"CredentialsExpiresAt\":\"$(date -u -d '+1 hour' +%FT%TZ)\",\"CredentialsRetrievedAt\":\"$(date -u +%FT%TZ)\""
    else
      times='"CredentialsExpiresAt":"0001-01-01T00:00:00Z","CredentialsRetrievedAt":"0001-01-01T00:00:00Z"'
      grep -q "\"InstanceId\":\"$id\".*}" "$note" 2> /dev/null && times=
    fi
    [ -n "$times" ] && rm -f "$note" && echo "{\"SchemaVersion\":\"1.1\",\"InstanceId\":\"${id:-INSTANCE}\",\"IdentityType\":\"x\",$times}" > "$note"
    [ -f "$log" ] && [ ! -L "$log" ] && { echo "2026-11-22 02:00:00 INFO Starting Core Agent"; cat ROOT/agent-logs; } >> "$log" ;;
esac
exit 0
"#;
pub(crate) const SSM_CLI: &str = r#"
[ -e ROOT/cli-says ] && { cat ROOT/cli-says; exit 0; }
id=$(kept instanceID) region=$(kept region)
echo "{\"instance-id\":\"${id:-INSTANCE}\",\"region\":\"${region:-us-west-2}\",\"release-version\":\"3.3.0.0\"}"
"#;
pub(crate) const AGENT: &str = r#"
env > ROOT/agent-environment
[ "$1 $2" = "-register -clear" ] && fingerprint "" null 0
[ "$1 $2" = "-register -clear" ] && { save "" ""; rm -f "$lib/registration"; exit 0; }
[ -e ROOT/running ] && { echo "ERROR registered while it runs"; exit 1; }
[ -n "$(kept instanceID)" ] && { echo "Instance already registered. Would you like to override existing"; exit 1; }
[ -s ROOT/agent-says ] && { head -n 1 ROOT/agent-says; sed -i 1d ROOT/agent-says; exit 1; }
mkdir -p "$lib/Vault/Store" && save "" "" || { echo "Unable to save registration information. no space left on device"; exit 1; }
[ -e ROOT/agent-waits ] && { : > ROOT/agent-began; while [ -e ROOT/agent-waits ]; do sleep 0.05; done; }
echo >> ROOT/nodes
node=$(printf 'mi-%017x' "$(wc -l < ROOT/nodes)")
save "$node" "${7}"
[ -f "$lib_fp" ] && ! grep -q '"fingerprint":""' "$lib_fp" || fingerprint "of-$node" null 40
echo "{\"RegistrationKey\":\"VAULT\",\"InstanceFingerprint\":\"/var/lib/amazon/ssm/Vault/Store/InstanceFingerprint\"}" > "$lib/Vault/Manifest"
echo "{\"ManagedInstanceID\":\"$node\",\"Region\":\"${7}\"}" > "$lib/registration"
echo "INFO Successfully registered the instance with AWS SSM using Managed instance-id: $node"
"#;

/// A request, as far as anybody here looks at it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// An answer: the status, headers, the body.
pub(crate) type Answer = (u16, Vec<(&'static str, String)>, String);

pub(crate) fn says(body: impl Into<String>) -> Answer {
    (200, vec![], body.into())
}

/// A server that answers each connection once; it remembers the first line of each request.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) lines: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (lines, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let seen = Arc::clone(&lines);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                // Whoever asks may go away at any time.
                thread::spawn(move || drop(serve(&stream, &seen, &*answer)));
            }
        });
        Self { url, lines }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: &TcpStream,
    seen: &Mutex<Vec<String>>,
    answer: &dyn Fn(&Request) -> Answer,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut next = || -> std::io::Result<String> {
        let mut line = String::new();
        reader.read_line(&mut line).map(|_| line.trim_end().to_owned())
    };
    let line = next()?;
    let mut headers = BTreeMap::new();
    while let Some((name, value)) = next()?.split_once(": ") {
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    seen.lock().unwrap().push(line.clone());
    let (status, more, text) = answer(&Request { line, headers, body: String::from_utf8_lossy(&body).into_owned() });
    let more: Vec<String> = more.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let more = more.concat();
    write!(stream, "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n{more}\r\n{text}", text.len())
}

/// What a metadata service answers that works.
pub(crate) fn metadata(request: &Request) -> Answer {
    let path = request.line.split(' ').nth(1).unwrap_or_default();
    if request.line.starts_with("PUT /latest/api/token ") {
        return (200, vec![("x-aws-ec2-metadata-token-ttl-seconds", "21600".to_owned())], "token".to_owned());
    }
    if request.headers.get("x-aws-ec2-metadata-token").map(String::as_str) != Some("token") {
        return (401, vec![], String::new());
    }
    let role = "/latest/meta-data/iam/security-credentials/";
    match path {
        "/latest/dynamic/instance-identity/document" => {
            says(json!({"accountId": ACCOUNT, "region": "us-west-2", "instanceId": INSTANCE}).to_string())
        }
        path if path == role || path == role.trim_end_matches('/') => says("TagHubInstance"),
        path if path.starts_with(role) => says(
            json!({"Code": "Success", "AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "t",
                   "Expiration": "2099-01-01T00:00:00Z", "LastUpdated": "2026-01-01T00:00:00Z", "Type": "AWS-HMAC"})
            .to_string(),
        ),
        _ => (404, vec![], String::new()),
    }
}

/// What AWS answers: the one parameter, and yes to the tag, which it keeps.
pub(crate) fn aws(tag: &Mutex<Option<String>>, request: &Request) -> Answer {
    if request.headers.get("x-amz-target").is_some_and(|target| target == "AmazonSSM.GetParameter") {
        assert!(request.body.contains(PARAMETER), "{}", request.body);
        return says(
            json!({"Parameter": {"Value": activation(&[("ExpirationDate", "2099-01-01T00:00:00Z")])}}).to_string(),
        );
    }
    let form: BTreeMap<&str, &str> = request.body.split('&').filter_map(|pair| pair.split_once('=')).collect();
    assert_eq!(
        (form["Action"], form["ResourceId.1"], form["Tag.1.Key"]),
        ("CreateTags", INSTANCE, "managedinstanceid")
    );
    *tag.lock().unwrap() = Some(form["Tag.1.Value"].to_owned());
    says("<CreateTagsResponse><return>true</return></CreateTagsResponse>")
}

/// A machine, its metadata service, and AWS.
pub(crate) struct Site {
    folder: tempfile::TempDir,
    pub(crate) imds: Server,
    pub(crate) aws: Server,
    tag: Arc<Mutex<Option<String>>>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code, or what a signal makes of it.
    pub(crate) code: i32,
    pub(crate) line: Value,
    pub(crate) said: String,
}

impl Ran {
    fn new(output: &Output) -> Self {
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = out.clone() + &String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains(CODE), "the code shows: {said}");
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap());
        Self { code, line: serde_json::from_str(&out).unwrap_or_default(), said }
    }

    pub(crate) fn is(&self, code: i32, words: &str) {
        assert!(self.code == code && self.said.contains(words), "not {code} with {words:?}: {self:#?}");
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(metadata, aws)
    }

    pub(crate) fn with(
        imds: impl Fn(&Request) -> Answer + Send + Sync + 'static,
        aws: impl Fn(&Mutex<Option<String>>, &Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let tag = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&tag);
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
            imds: Server::start(imds),
            aws: Server::start(move |request| aws(&kept, request)),
            tag,
        };
        for folder in [
            "usr/bin",
            "root/.aws",
            "run",
            "proc",
            "var/lib/amazon/ssm/Vault/Store",
            "var/log/amazon/ssm",
            "etc/amazon/ssm",
        ] {
            fs::create_dir_all(site.at(folder)).unwrap();
        }
        for (name, script) in [("systemctl", MANAGER), ("ssm-cli", SSM_CLI), ("amazon-ssm-agent", AGENT)] {
            site.program(&format!("usr/bin/{name}"), script);
        }
        site.write("etc/systemd/system/amazon-ssm-agent.service", "[Service]\nExecStart=/usr/bin/amazon-ssm-agent\n");
        for (name, text) in [
            ("running", ""),
            ("enabled", "enabled\n"),
            ("agent-logs", READY),
            ("var/log/amazon/ssm/amazon-ssm-agent.log", ""),
        ] {
            site.write(name, text);
        }
        // Everything has run for long.
        site.up(9000, 1000);
        site
    }

    /// How long the machine has been up, and when the agent started, in seconds since the boot.
    pub(crate) fn up(&self, uptime: u32, started: u32) {
        self.write("proc/uptime", &format!("{uptime}.00 1.00\n"));
        self.write("proc/7/stat", &stat(7, started));
    }

    /// Installs the agent, somewhere else than it is.
    pub(crate) fn move_agent(&self, folder: &str) {
        fs::create_dir_all(self.at(folder)).unwrap();
        for name in ["ssm-cli", "amazon-ssm-agent"] {
            fs::rename(self.at("usr/bin").join(name), self.at(folder).join(name)).unwrap();
        }
    }

    /// A machine with upstart.
    pub(crate) fn with_upstart() -> Self {
        let site = Self::new();
        fs::remove_file(site.at("usr/bin/systemctl")).unwrap();
        site.program("usr/bin/initctl", MANAGER);
        site
    }

    /// One whose machine was registered by the program.
    pub(crate) fn registered() -> Self {
        let site = Self::new();
        site.run(&[]).is(0, "registered");
        site
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_default()
    }

    pub(crate) fn program(&self, path: &str, script: &str) {
        let root = self.folder.path().to_str().unwrap();
        let text =
            format!("{PROLOG}{script}").replace("ROOT", root).replace("INSTANCE", INSTANCE).replace("VAULT", VAULT);
        self.write(path, &text);
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The program, and before it what runs it.
    pub(crate) fn command_of(&self, launcher: &[&str], arguments: &[&str]) -> Command {
        let words = [launcher, &[PROGRAM]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_clear();
        // The systemctl of this machine is not to be found in the place of one that is taken away.
        let system = if self.at("usr/bin/systemctl").exists() { ":/usr/bin:/bin" } else { "" };
        command.env("PATH", format!("{}{system}", self.at("usr/bin").display()));
        command.env("HOME", self.at("root")).env("AWS_ENDPOINT_URL", &self.aws.url);
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &self.imds.url);
        command.arg("--root").arg(self.folder.path()).args(["--json", "--verbose"]).args(arguments);
        if !arguments.contains(&"--timeout") {
            command.args(["--timeout", "10s"]);
        }
        command
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&[], arguments)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::new(&self.command(arguments).output().unwrap())
    }

    pub(crate) fn run_command(mut command: Command) -> Ran {
        Ran::new(&command.output().unwrap())
    }

    pub(crate) fn tag(&self) -> Option<String> {
        self.tag.lock().unwrap().clone()
    }

    pub(crate) fn forget_tag(&self) {
        *self.tag.lock().unwrap() = None;
    }

    pub(crate) fn is_running(&self) -> bool {
        self.at("running").exists()
    }

    pub(crate) fn nodes(&self) -> usize {
        self.read("nodes").lines().count()
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.read("calls").lines().map(str::to_owned).collect()
    }

    /// The machine is this node, by everything that says so.
    pub(crate) fn is_node(&self, node: &str) {
        assert_eq!(self.tag().as_deref(), Some(node));
        assert!(self.is_running() && self.read(VAULT).contains(node) && self.read(MARKER).contains(node));
        assert!(!self.at("run/tag-hub-agent-stopped").exists());
    }
}

pub(crate) fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn the_machine_of_scripts_works() {
    let site = Site::registered();
    site.is_node(FIRST_NODE);
    let again = site.run(&[]);
    assert_eq!((again.code, &again.line["outcome"]), (0, &json!("tag-written")), "{}", again.said);
    assert_eq!(site.nodes(), 1);
}
