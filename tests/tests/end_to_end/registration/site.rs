//! A deployed hub, machines of an agency, and the tool on them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use local_aws::machine::{Kind, Machine, launch};
use serde_json::Value;
use tests::{AGENCY_A, CENTRAL, HOME_REGION, INSTANCE_PROFILE, World};

use crate::tags;

/// A hub with one agency that can register.
pub(super) struct Site {
    pub(super) world: World,
    tool: PathBuf,
}

/// How a run of the tool ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: i32,
    /// The one line of `--json`.
    pub(super) line: Value,
    /// Everything that it printed.
    pub(super) said: String,
}

impl Ran {
    pub(super) fn message(&self) -> &str {
        self.line["message"].as_str().unwrap_or_default()
    }

    /// Fails with this code, this word, and a message that says this.
    pub(super) fn assert_failed(&self, code: i32, reason: &str, words: &str) {
        assert_eq!((self.code, &self.line["outcome"], &self.line["exitCode"]), (code, &"failed".into(), &code.into()));
        assert_eq!(self.line["reason"], reason, "{}", self.said);
        assert!(self.message().contains(words), "{words:?} is not in {}", self.message());
    }
}

/// A run that has begun.
pub(super) struct Begun {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
    read: String,
}

impl Begun {
    /// Sends it a signal, such as `TERM`.
    pub(super) fn signal(&self, signal: &str) {
        assert!(kill(signal, self.child.id()));
    }
}

impl Site {
    pub(super) async fn new() -> Self {
        let own = std::env::current_exe().unwrap();
        let tool = own.ancestors().skip(1).take(2).map(|folder| folder.join("register-instance"));
        let tool = tool
            .into_iter()
            .find(|path| path.is_file())
            .unwrap_or_else(|| panic!("build the workspace's binaries before"));
        Self { world: World::deployed_for_registration().await.unwrap(), tool }
    }

    /// A machine of the agency in its first Region, with the instance profile.
    pub(super) async fn machine(&self, kind: Kind) -> Machine {
        self.machine_in(kind, HOME_REGION, Some(INSTANCE_PROFILE)).await
    }

    pub(super) async fn machine_in(&self, kind: Kind, region: &str, profile: Option<&str>) -> Machine {
        let instance = launch(&self.world.aws.client(AGENCY_A, region), profile).await.unwrap();
        Machine::new(&self.world.aws, kind, instance).unwrap()
    }

    /// The tool as it will run there, saying all that it can.
    pub(super) fn command(&self, machine: &Machine, more: &[&str]) -> Command {
        let mut command = machine.command(&self.tool);
        command.arg("--root").arg(machine.root()).args(["--json", "--verbose"]).args(more);
        command
    }

    pub(super) async fn run(&self, machine: &Machine, more: &[&str]) -> Ran {
        self.run_command(self.command(machine, more)).await
    }

    pub(super) async fn run_command(&self, mut command: Command) -> Ran {
        let output = blocking(move || command.output().unwrap()).await;
        self.ran(&output)
    }

    /// Starts the tool, and waits until it has said something.
    pub(super) async fn begin(&self, mut command: Command, words: &'static str) -> Begun {
        blocking(move || {
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut errors = BufReader::new(child.stderr.take().unwrap());
            let mut read = String::new();
            while !read.contains(words) {
                assert!(errors.read_line(&mut read).unwrap() > 0, "it never said {words:?}: {read}");
            }
            Begun { child, errors, read }
        })
        .await
    }

    pub(super) async fn end(&self, begun: Begun) -> Ran {
        let Begun { child, mut errors, mut read } = begun;
        let output = blocking(move || {
            errors.read_to_string(&mut read).unwrap();
            Output { stderr: read.into_bytes(), ..child.wait_with_output().unwrap() }
        })
        .await;
        self.ran(&output)
    }

    /// No output ever holds a code.
    fn ran(&self, output: &Output) -> Ran {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (out, said) = (text(&output.stdout), text(&output.stdout) + &text(&output.stderr));
        self.assert_without_code(&said);
        // A signal leaves no code, and nothing was printed.
        let code = output.status.code().unwrap_or(-1);
        assert!(code == -1 || out.lines().count() == 1, "one line for scripts: {said}");
        Ran { code, line: serde_json::from_str(&out).unwrap_or_default(), said }
    }

    pub(super) fn assert_without_code(&self, text: &str) {
        assert!(!self.world.aws.activations().codes().iter().any(|code| text.contains(code)), "a code is told: {text}");
    }

    /// The EC2 tag by which the collector finds the node.
    pub(super) async fn tag(&self, machine: &Machine) -> Option<String> {
        let instance = machine.instance();
        let filters = [
            ("Filter.1.Name", "resource-id"),
            ("Filter.1.Value.1", instance.instance_id.as_str()),
            ("Filter.2.Name", "key"),
            ("Filter.2.Value.1", "managedinstanceid"),
        ];
        let client = self.world.aws.client(&instance.account, &instance.region);
        let answer = client.query("ec2", "DescribeTags", &filters).await.unwrap();
        answer.pointer("/tagSet/0/value").and_then(Value::as_str).map(str::to_owned)
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.world.aws.nodes().list(CENTRAL, HOME_REGION).len()
    }

    /// The node that a machine is, after a look at everything that makes it one.
    pub(super) async fn node(&self, machine: &Machine) -> String {
        let registration = machine.registration().unwrap();
        assert_eq!(registration.region, HOME_REGION, "nodes are in the Region of the hub");
        let node = registration.instance_id;
        assert_eq!(self.tag(machine).await.as_deref(), Some(node.as_str()), "the instance names its node");
        assert_eq!(self.world.tags(&node).get("tag-hub:agency").map(String::as_str), Some(AGENCY_A));
        assert!(machine.is_active(), "its agent runs");
        let kept = std::fs::read_to_string(machine.root().join("var/lib/tag-hub/registration.json")).unwrap();
        assert!(kept.contains(&node) && kept.contains(&machine.instance().instance_id), "{kept}");
        self.assert_nothing_keeps_a_code(machine.root());
        node
    }

    /// That nothing was done to a machine.
    pub(super) async fn assert_untouched(&self, machine: &Machine) {
        assert_eq!(machine.registration(), None);
        assert!(machine.service_log().is_empty() && machine.is_active(), "{:?}", machine.service_log());
        assert_eq!(self.tag(machine).await, None);
    }

    /// No file holds a code, but for the list of calls that the stand-ins keep.
    fn assert_nothing_keeps_a_code(&self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
            if entry.is_symlink() || name == ".stand-in" {
                continue;
            }
            if entry.is_dir() {
                self.assert_nothing_keeps_a_code(&entry);
            } else {
                self.assert_without_code(&String::from_utf8_lossy(&std::fs::read(&entry).unwrap()));
            }
        }
    }

    /// Has the issuer look after the agency: the reason for which it wrote the parameter anew.
    pub(super) async fn renewed(&self) -> String {
        let answer = self.world.issue(&serde_json::json!({"agency": AGENCY_A})).await.unwrap();
        let agency = &answer.payload["agencies"][0];
        assert_eq!(agency["outcome"], "renewed", "{}", answer.payload);
        agency["reason"].as_str().unwrap().to_owned()
    }

    /// The activation in the agency's first Region.
    pub(super) async fn activation(&self) -> Value {
        let parameter = self.world.activation_parameter(AGENCY_A, HOME_REGION).await.unwrap();
        serde_json::from_str(parameter.unwrap()["Value"].as_str().unwrap()).unwrap()
    }

    /// Sets a tag of a machine's instance as the agency would.
    pub(super) async fn set_tag(&self, machine: &Machine, key: &str, value: &str) {
        let instance = machine.instance();
        let form = [("ResourceId.1", instance.instance_id.as_str()), ("Tag.1.Key", key), ("Tag.1.Value", value)];
        let client = self.world.aws.client(&instance.account, &instance.region);
        client.query("ec2", "CreateTags", &form).await.unwrap();
        let node = machine.registration().unwrap().instance_id;
        self.world.sweep_well(AGENCY_A).await.unwrap();
        assert_eq!(self.world.plain_tags(&node), tags(&[(key, value)]));
    }
}

/// Work that waits for a process.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Sends a process a signal; whether it was there.
pub(super) fn kill(signal: &str, process: u32) -> bool {
    Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).status().unwrap().success()
}
