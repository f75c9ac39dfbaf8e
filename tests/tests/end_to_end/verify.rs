//! `make verify-aws` on the local AWS: every probe runs, and says so where AWS does otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use local_aws::machine::{Kind, Machine};
use local_aws::{Ec2Instance, Fault, stacks};
use serde_json::Value;
use tests::{AGENCY_A, CENTRAL, HOME_REGION, Paths, World, program};

const WITHIN: Duration = Duration::from_mins(5);
/// What the documents of the local AWS have to know: it runs no runbook, and so it does not read them either.
const RUNBOOK: &str = "TagHub-verify-Preflight";

/// Two accounts with nothing in them, and somebody who runs the script.
struct Verification {
    world: World,
    folder: tempfile::TempDir,
    machines: Vec<Machine>,
}

/// A run that has ended.
struct Ended {
    code: Option<i32>,
    results: Value,
    said: String,
}

impl Ended {
    /// The verdict on each assumption.
    fn verdicts(&self) -> BTreeMap<&str, &str> {
        let text = |entry: &'_ Value, field: &str| entry[field].as_str().unwrap().to_owned().leak() as &str;
        let entries = self.results["assumptions"].as_array().unwrap_or_else(|| panic!("no results: {}", self.said));
        entries.iter().map(|entry| (text(entry, "id"), text(entry, "verdict"))).collect()
    }

    fn refuted(&self) -> BTreeSet<&str> {
        self.verdicts().into_iter().filter(|(_, verdict)| *verdict == "refuted").map(|(id, _)| id).collect()
    }
}

impl Verification {
    fn new() -> Self {
        let paths = Paths::from_env().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let script = paths.repository.join("scripts/dist.py");
        let dist = folder.path().join("dist");
        assert!(Command::new(&paths.python).args([&script, &paths.packages, &dist]).status().unwrap().success());
        // The machines below have the program; nobody fetches this.
        std::fs::write(dist.join("register-instance-x86_64"), "").unwrap();
        let profile = |name: &str, account: &str| {
            format!("[profile {name}]\naws_access_key_id = {account}\naws_secret_access_key = any\n")
        };
        let profiles = [profile("central", CENTRAL), profile("agency", AGENCY_A)].concat();
        std::fs::write(folder.path().join("config"), profiles).unwrap();
        let world = World::start(paths, 0, None).unwrap();
        world.aws.automation().register_document(RUNBOOK, &["Runbook"]);
        world.aws.automation().set_duration(Duration::from_millis(200));
        Self { world, folder, machines: Vec::new() }
    }

    fn start(&self, more: &[&str]) -> Child {
        let paths = self.world.paths();
        let mut command = Command::new(&paths.python);
        command
            .arg(paths.repository.join("scripts/verify_aws.py"))
            .args(["--endpoint-url", self.world.aws.endpoint(), "--region", HOME_REGION])
            .arg("--dist")
            .arg(self.folder.path().join("dist"))
            .arg("--results")
            .arg(self.results())
            .args(more)
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("AWS_EC2_METADATA_DISABLED", "true")])
            .env("HOME", self.folder.path())
            .env("AWS_CONFIG_FILE", self.folder.path().join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.said()).unwrap());
        command.spawn().unwrap()
    }

    fn results(&self) -> PathBuf {
        self.folder.path().join("results.json")
    }

    fn said(&self) -> PathBuf {
        self.folder.path().join("said")
    }

    /// Until the script ends, its instances boot, and something may be done at each look.
    async fn end(&mut self, mut run: Child, mut meanwhile: impl FnMut(&Self, &str, &Child)) -> Ended {
        let deadline = Instant::now() + WITHIN;
        let status = loop {
            let said = std::fs::read_to_string(self.said()).unwrap();
            if let Some(status) = run.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "not done after {} s: {said}", WITHIN.as_secs());
            self.boot().await;
            meanwhile(self, &said, &run);
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let results = std::fs::read_to_string(self.results()).unwrap_or_default();
        let said = std::fs::read_to_string(self.said()).unwrap();
        Ended { code: status.code(), results: serde_json::from_str(&results).unwrap_or_default(), said }
    }

    async fn run(&mut self, more: &[&str]) -> Ended {
        let run = self.start(more);
        self.end(run, |_, _, _| {}).await
    }

    /// What the user data of a new instance does there: the local AWS starts no machine.
    async fn boot(&mut self) {
        let own = [("Filter.1.Name", "tag-key"), ("Filter.1.Value.1", "tag-hub-verify")];
        for found in self.world.instances(AGENCY_A, HOME_REGION, &own).await.unwrap() {
            let instance_id = found["instanceId"].as_str().unwrap().to_owned();
            let is_running = found["instanceState"]["name"] == "running";
            if !is_running || self.machines.iter().any(|machine| machine.instance().instance_id == instance_id) {
                continue;
            }
            let instance = Ec2Instance { account: AGENCY_A.to_owned(), region: HOME_REGION.to_owned(), instance_id };
            let machine = Machine::new(&self.world.aws, Kind::AmazonLinux, instance).unwrap();
            let mut command = machine.command(program("register-instance").unwrap());
            command.arg("--root").arg(machine.root()).args(["--parameter", "/tag-hub/verify-activation"]);
            let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            self.machines.push(machine);
        }
    }

    /// What both accounts have.
    async fn everything(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for account in [CENTRAL, AGENCY_A] {
            let client = self.world.aws.client(account, HOME_REGION);
            found
                .extend(stacks::inventory(&client).await.unwrap().into_iter().map(|what| format!("{account}: {what}")));
        }
        found.extend(self.world.aws.nodes().list(CENTRAL, HOME_REGION).iter().map(|node| format!("{node:?}")));
        found
    }
}

fn signal(run: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &run.id().to_string()]).status().unwrap().success());
}

/// The assumptions that the local AWS cannot know.
fn unknown(world: &World) -> BTreeSet<String> {
    let listed: Value = serde_json::from_str(&world.paths().text("scripts/verify/assumptions.json").unwrap()).unwrap();
    let entries = listed["assumptions"].as_array().unwrap().iter().filter(|entry| entry["standIn"].is_string());
    entries.map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_probe_runs_and_nothing_is_left() {
    let mut verification = Verification::new();
    let before = verification.everything().await;
    let ended = verification.run(&["--yes"]).await;
    let unknown = unknown(&verification.world);
    for (id, verdict) in ended.verdicts() {
        let expected = if unknown.contains(id) { "not known here" } else { "confirmed" };
        assert_eq!(verdict, expected, "{id}: {:#}\n{}", ended.results, ended.said);
    }
    for step in ended.results["steps"].as_array().unwrap() {
        assert_eq!(step["verdict"], "shown", "{step:#}");
    }
    assert_eq!((ended.code, &ended.results["where"]), (Some(0), &"stand-in".into()), "{}", ended.said);
    let written = ended.results.to_string();
    assert!(!written.contains(CENTRAL) && !written.contains(AGENCY_A), "an account's id is in the results: {written}");
    assert_eq!(verification.everything().await, before);
    assert_eq!(verification.run(&["--clean"]).await.code, Some(0), "there is nothing to clean up");
}

/// AWS is made to do otherwise, in each way that the local AWS knows of. Everything is removed all the same.
#[tokio::test]
async fn what_is_otherwise_is_refuted() {
    let mut verification = Verification::new();
    let before = verification.everything().await;
    let aws = &verification.world.aws;
    aws.set_tag_events(false).unwrap();
    let faults = aws.faults();
    // Each meets what its probe alone asks for, so that the story goes on.
    faults.add(Fault::error("lambda:Invoke", 404, "ResourceNotFoundException", "made").resource("agency-000000000000"));
    faults.add(Fault::error("tagging:GetResources", 400, "InvalidParameterException", "made").resource("verify-probe"));
    faults.add(Fault::error("ssm:AddTagsToResource", 400, "InvalidResourceId", "made").resource("verify-pattern"));
    faults.add(Fault::error("ssm:DeregisterManagedInstance", 400, "InvalidInstanceId", "made").times(1));
    let run = verification.start(&["--yes"]);
    let ended = verification
        .end(run, |verification, said, _| {
            let nodes = verification.world.aws.nodes().list(CENTRAL, HOME_REGION);
            for node in nodes.iter().filter(|_| said.contains("sweep: shown")) {
                verification.world.aws.commands().set_status(&node.instance_id, "Failed");
            }
        })
        .await;
    let expected = [
        "alias-is-who",
        "command-by-tag",
        "deregister-by-tag",
        "nodes-by-type",
        "nodes-outlive-hub",
        "tag-change-event",
        "tag-pattern",
    ];
    assert_eq!(ended.refuted(), BTreeSet::from(expected), "{:#}\n{}", ended.results, ended.said);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert_eq!(verification.everything().await, before, "{}", ended.said);
}

#[tokio::test]
async fn an_interrupted_run_removes_everything_and_a_killed_one_is_removed_later() {
    let mut verification = Verification::new();
    let before = verification.everything().await;
    let mut is_sent = false;
    let run = verification.start(&["--yes"]);
    let ended = verification
        .end(run, |_, said, run| {
            if !is_sent && said.contains("launched") {
                signal(run, "-INT");
                is_sent = true;
            }
        })
        .await;
    assert_eq!(ended.code, Some(130), "{}", ended.said);
    assert_eq!(verification.everything().await, before, "{}", ended.said);

    let run = verification.start(&["--yes"]);
    let killed = verification.end(run, |_, said, run| {
        if said.contains("stack verify-tag-hub-grant") {
            signal(run, "-KILL");
        }
    });
    assert_eq!(killed.await.code, None);
    let refused = verification.run(&["--yes"]).await;
    assert!(refused.said.contains("CLEAN=1"), "{}", refused.said);
    let cleaned = verification.run(&["--clean"]).await;
    assert_eq!(cleaned.code, Some(0), "{}", cleaned.said);
    assert_eq!(verification.everything().await, before, "{}", cleaned.said);
}

#[tokio::test]
async fn it_does_not_begin_where_it_would_do_harm_or_cost_unasked() {
    let mut verification = Verification::new();
    let enrolled = verification.world.enroll(AGENCY_A, HOME_REGION, &[]).await.unwrap();
    let before = verification.everything().await;
    for (more, complaint) in [
        (&["--yes", "--agency-profile", "central"][..], "must differ"),
        (&["--yes", "--prefix", "Verify"], "letters, digits, and hyphens"),
        (&["--yes", "--prefix", "a-prefix-too-long-"], "at most 16"),
        (&["--yes", "--by", "somebody"], "this is a stand-in"),
        (&["--yes"], &format!("registered instances, such as {}", enrolled.instance)),
    ] {
        let refused = verification.run(more).await;
        assert!(refused.code != Some(0) && refused.said.contains(complaint), "{more:?}: {}", refused.said);
    }
    verification.world.terminate(&enrolled).await.unwrap();
    let unasked = verification.run(&[]).await;
    assert!(unasked.said.contains("about 0.") && unasked.said.contains("YES=1"), "{}", unasked.said);
    assert_eq!(verification.everything().await, before);
    assert_eq!(verification.world.aws.calls().snapshot().of("cloudformation:CreateStack").total(), 0);
}
