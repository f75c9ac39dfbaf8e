//! The commands of the documents, run as they are written.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use local_aws::Ec2Instance;
use local_aws::machine::{Kind, Machine};
use local_aws::stacks;
use serde_json::{Value, json};
use tests::document::{Block, How, blocks, missing};
use tests::{AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, Paths, Session, World, program};

/// The longest takes as long as two deployments with the SAM CLI.
const BLOCK_WITHIN: Duration = Duration::from_mins(3);

/// Somebody with a terminal for each account and each instance, in a folder with what a deployment takes.
struct Reader {
    sessions: BTreeMap<String, Session>,
    machines: Vec<Machine>,
    world: World,
    folder: tempfile::TempDir,
}

/// An instance that the commands have launched.
struct Launched {
    instance: Ec2Instance,
    image: String,
}

impl Reader {
    /// A world with nothing in it, and a checkout with `dist` in it.
    fn new() -> Self {
        let paths = Paths::from_env().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let checkout = folder.path().join("checkout");
        std::fs::create_dir_all(checkout.join("cfn")).unwrap();
        for entry in std::fs::read_dir(paths.repository.join("cfn")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), checkout.join("cfn").join(entry.file_name())).unwrap();
        }
        for template in ["template.yaml", "fanout.yaml"] {
            std::fs::copy(paths.repository.join(template), checkout.join(template)).unwrap();
        }
        std::os::unix::fs::symlink(paths.repository.join("events"), checkout.join("events")).unwrap();
        let script = paths.repository.join("scripts/dist.py");
        let status = Command::new(&paths.python).args([&script, &paths.packages, &checkout.join("dist")]).status();
        assert!(status.unwrap().success(), "scripts/dist.py failed");
        aws_command(&paths.python, &folder.path().join("bin"));
        taghub_command(&folder.path().join("bin"));
        let world = World::start(paths, 0, None).unwrap();
        Self { sessions: BTreeMap::new(), machines: Vec::new(), world, folder }
    }

    /// Runs every block that can be, in the order of the document. Answers with how many ran.
    async fn follow(&mut self, document: &str) -> usize {
        let text = self.world.paths().text(document).unwrap();
        let mut count = 0;
        for block in blocks(&text).unwrap_or_else(|problem| panic!("{document}, {problem}")) {
            let How::Run { sessions, output } = &block.how else {
                self.instead_of(&block).await;
                continue;
            };
            for session in sessions {
                let printed = self.session(session).await.run(block.line, &block.text, BLOCK_WITHIN);
                let printed = printed.unwrap_or_else(|failure| panic!("{document}, {failure:#}"));
                if let Some(expected) = missing(output, &printed) {
                    panic!("{document}, line {}: {:?} is not in\n{printed}", expected.line, expected.pattern);
                }
                count += 1;
            }
        }
        count
    }

    /// What the test does in the place of a block that nothing here can run.
    async fn instead_of(&mut self, block: &Block) {
        if block.text.contains("register-instance.ps1") {
            for windows in self.launched("tag:OS", "Windows").await {
                let machine = Machine::new(&self.world.aws, Kind::AmazonLinux, windows.instance).unwrap();
                self.machines.push(self.world.register(machine).await.unwrap().machine);
            }
        }
    }

    /// A terminal: `central`, `agency-<account id>` or `instance-<tag Name>`.
    async fn session(&mut self, name: &str) -> &mut Session {
        if !self.sessions.contains_key(name) {
            let session = match name.strip_prefix("instance-") {
                Some(tag) => self.start_on_instance(name, tag).await,
                None => self.start(name),
            };
            self.sessions.insert(name.to_owned(), session);
        }
        self.sessions.get_mut(name).unwrap()
    }

    fn start(&self, name: &str) -> Session {
        let account = match name.strip_prefix("agency-") {
            Some(account) => account,
            None if name == "central" => CENTRAL,
            None => panic!("there is no session {name}; name central, agency-<account id> or instance-<name>"),
        };
        let folder = self.folder.path();
        let tools = self.world.paths().python.parent().unwrap();
        let environment = [
            ("PATH", format!("{}/bin:{}:/usr/bin:/bin", folder.display(), tools.display())),
            // So that nothing of whoever runs this is read or written.
            ("HOME", folder.join(name).display().to_string()),
            ("AWS_ENDPOINT_URL", self.world.aws.endpoint().to_owned()),
            ("AWS_ACCESS_KEY_ID", account.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "any".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("SAM_CLI_TELEMETRY", "0".to_owned()),
        ];
        std::fs::create_dir_all(folder.join(name)).unwrap();
        // Each terminal has a checkout of its own, as on different machines.
        let checkout = folder.join(name).join("checkout");
        let copied = Command::new("cp").arg("-a").args([&folder.join("checkout"), &checkout]).status().unwrap();
        assert!(copied.success());
        Session::start(name, &checkout, &folder.join(name).join("blocks"), &environment).unwrap()
    }

    /// Gives a session a profile of an account in its AWS configuration.
    fn with_profile(&self, session: &str, profile: &str, account: &str) {
        let folder = self.folder.path().join(session).join(".aws");
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("[{profile}]\naws_access_key_id = {account}\naws_secret_access_key = any\n");
        std::fs::write(folder.join("credentials"), text).unwrap();
    }

    /// Runs the steps that `taghub` printed as JSON, each where it says.
    async fn carry_out(&mut self, plan: &Value, with: &[(&str, &str)]) {
        for step in plan["steps"].as_array().unwrap() {
            let account = step["account"].as_str().unwrap();
            let session = if account == CENTRAL { "central".to_owned() } else { format!("agency-{account}") };
            for command in step["commands"].as_array().unwrap() {
                let text = with
                    .iter()
                    .fold(command.as_str().unwrap().to_owned(), |text, (word, value)| text.replace(word, value));
                self.session(&session).await.run(1, &text, BLOCK_WITHIN).unwrap();
            }
        }
    }

    /// A terminal on a made-up machine, with `sudo` and `register-instance`. Nothing of an account's is in it.
    async fn start_on_instance(&mut self, name: &str, tag: &str) -> Session {
        let mut found = self.launched("tag:Name", tag).await;
        assert_eq!(found.len(), 1, "instances with the name {tag}");
        let Launched { instance, image } = found.remove(0);
        let kind = if image.contains("ubuntu") { Kind::UbuntuSnap } else { Kind::AmazonLinux };
        let machine = Machine::new(&self.world.aws, kind, instance).unwrap();
        let folder = self.folder.path().join(name);
        let (programs, register) = (machine.root().join("usr/bin"), program("register-instance").unwrap());
        // The program finds the machine's own programs and none of this computer's.
        let register = format!(
            "PATH='{}' exec '{}' --root '{}' \"$@\"",
            programs.display(),
            register.display(),
            machine.root().display()
        );
        script(&folder.join("bin/register-instance"), &register);
        script(&folder.join("bin/sudo"), "exec \"$@\"");
        let path = format!("{}:{}:/usr/bin:/bin", folder.join("bin").display(), programs.display());
        let command = machine.command("bash");
        let text = |value: &OsStr| value.to_str().unwrap().to_owned();
        let own = command.get_envs().filter_map(|(name, value)| Some((name.to_str()?, text(value?))));
        let environment: Vec<(&str, String)> =
            own.filter(|(name, _)| *name != "PATH").chain([("PATH", path)]).collect();
        let session = Session::start(name, &folder, &folder.join("blocks"), &environment).unwrap();
        self.machines.push(machine);
        session
    }

    /// The instances of both agencies with this tag.
    async fn launched(&self, tag: &str, value: &str) -> Vec<Launched> {
        let mut launched = Vec::new();
        for agency in [AGENCY_A, AGENCY_B] {
            let filter = [("Filter.1.Name", tag), ("Filter.1.Value.1", value)];
            for found in self.world.instances(agency, HOME_REGION, &filter).await.unwrap() {
                let text = |name: &str| found[name].as_str().unwrap().to_owned();
                let (account, region) = (agency.to_owned(), HOME_REGION.to_owned());
                let instance = Ec2Instance { account, region, instance_id: text("instanceId") };
                launched.push(Launched { instance, image: text("imageId") });
            }
        }
        launched
    }
}

/// Puts an `aws` into a folder that reaches SQS too: version 1 of the AWS CLI has an address of its own for that service,
/// whatever `AWS_ENDPOINT_URL` says.
fn aws_command(python: &Path, folder: &Path) {
    let aws = python.parent().unwrap().join("aws");
    script(&folder.join("aws"), &format!("exec '{}' --endpoint-url \"$AWS_ENDPOINT_URL\" \"$@\"", aws.display()));
}

/// Puts `taghub` into a folder.
fn taghub_command(folder: &Path) {
    let program = program("taghub").unwrap();
    script(&folder.join("taghub"), &format!("exec '{}' \"$@\"", program.display()));
}

/// Writes a program.
fn script(path: &Path, command: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{command}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn the_walk_through_of_a_deployment_works_as_it_is_written() {
    let mut reader = Reader::new();
    let enrolled = reader.world.enroll(AGENCY_A, HOME_REGION, &[("Role", "web")]).await.unwrap();
    let count = reader.follow("docs/deploy.md").await;
    assert!(count >= 20, "only {count} blocks ran");
    // The page shows on the way that node and tags outlive the hub. At its end it deregisters the node and deletes the role.
    assert!(reader.world.tags(&enrolled.node).is_empty(), "the node is still there");
    let role = reader.world.central().query("iam", "GetRole", &[("RoleName", "tag-hub-managed-node")]).await;
    assert_eq!(role.map(drop).map_err(|error| error.code), Err("NoSuchEntity".to_owned()));
}

/// The hub of a release before `cfn/managed-node-role.yaml`: its own template holds the role.
fn hub_with_the_role(paths: &Paths) -> String {
    let role = paths.text("cfn/managed-node-role.yaml").unwrap();
    let (_, role) = role.split_once("Resources:\n").unwrap();
    let (_, role) = role.split_once("  ManagedNodeRole:\n").unwrap();
    let kept = ["DeletionPolicy: Retain", "UpdateReplacePolicy: Retain"];
    let role = role.lines().filter(|line| !kept.contains(&line.trim())).collect::<Vec<_>>().join("\n");
    let conditions = "\nConditions:\n  HasAllRegions: !Equals [a, b]\n  IsNodeKeptFromParameters: !Equals [a, a]\n";
    let hub = paths.text("template.yaml").unwrap();
    hub.replace("\nConditions:\n", conditions)
        .replace("\nResources:\n", &format!("\nResources:\n  ManagedNodeRole:\n{role}\n"))
        .replace("NODE_ROLE: !Ref ManagedNodeRoleName", "NODE_ROLE: !Ref ManagedNodeRole")
}

#[tokio::test]
async fn the_upgrade_from_one_stack_keeps_the_nodes_role() {
    let mut reader = Reader::new();
    let world = &reader.world;
    world.deploy_hub(&hub_with_the_role(world.paths()), &[]).await.unwrap();
    world.grant(AGENCY_A).await.unwrap();
    world.deploy_agency(AGENCY_A, &[("ScheduleExpression", "rate(1 day)")]).await.unwrap();
    world.deploy_instance_profile(AGENCY_A).await.unwrap();
    world.issue_activations().await.unwrap();
    world.onboard(AGENCY_A, HOME_REGION, Kind::AmazonLinux, &[]).await.unwrap();
    let role = async |world: &World| {
        let role = world.central().query("iam", "GetRole", &[("RoleName", "tag-hub-managed-node")]).await.unwrap();
        role["Role"]["RoleId"].as_str().unwrap().to_owned()
    };
    let before = role(&reader.world).await;
    let count = reader.follow("docs/upgrade.md").await;
    assert_eq!(count, 8, "blocks that ran");
    assert_eq!(role(&reader.world).await, before, "the role was made anew");
    // The agency's next instance registers as if nothing had happened.
    reader.world.onboard(AGENCY_A, HOME_REGION, Kind::UbuntuSnap, &[]).await.unwrap();
}

#[tokio::test]
async fn a_release_reaches_the_first_ring_then_all_and_goes_back() {
    let mut reader = Reader::new();
    let world = &reader.world;
    world.deploy_central(&[("TagPolicy", r#"{"set": {"Rollout": "old"}}"#)]).await.unwrap();
    for agency in [AGENCY_A, AGENCY_B] {
        // As an earlier release left it.
        world.grant(agency).await.unwrap();
        world.deploy_agency(agency, &[("ScheduleExpression", "rate(1 day)")]).await.unwrap();
        world.enroll(agency, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
        world.sweep_well(agency).await.unwrap();
    }
    let count = reader.follow("docs/rollout.md").await;
    assert_eq!(count, 13, "blocks that ran, each as often as there are sessions in its mark");
    // The metric that the alarm watches comes from both versions, each under its number.
    let log = reader.world.log(CENTRAL, "ssm-tag-manager").await.unwrap();
    for version in ["1", "2"] {
        assert!(log.contains(&format!(r#""Version":"{version}""#)), "no report to version {version}: {log}");
    }
}

#[tokio::test]
async fn a_policy_is_looked_at_held_and_approved() {
    let mut reader = Reader::new();
    reader.with_profile("central", "parks", AGENCY_A);
    let world = &reader.world;
    let parameters = [("PolicyParameters", "Yes"), ("TagPolicy", r#"{"include": ["Env", "Role"]}"#)];
    world.deploy_central(&parameters).await.unwrap();
    world.grant(AGENCY_A).await.unwrap();
    world.deploy_agency(AGENCY_A, &[("ScheduleExpression", "rate(1 day)")]).await.unwrap();
    for _ in 0..2 {
        world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("Role", "web")]).await.unwrap();
    }
    world.sweep_well(AGENCY_A).await.unwrap();
    let count = reader.follow("docs/policy-change.md").await;
    assert_eq!(count, 8, "blocks that ran");
}

#[tokio::test]
async fn an_agency_comes_and_leaves_by_the_plans_that_taghub_prints() {
    let mut reader = Reader::new();
    reader.with_profile("central", "parks", AGENCY_A);
    reader.world.deploy_central(&[]).await.unwrap();
    let upload =
        "aws s3 mb s3://code-of-parks && aws s3 cp --only-show-errors dist/tags-collector.zip s3://code-of-parks/c.zip";
    reader.session(&format!("agency-{AGENCY_A}")).await.run(1, upload, BLOCK_WITHIN).unwrap();
    let plan = async |reader: &mut Reader, command: &str| -> Value {
        let line = format!("AWS_REGION={HOME_REGION} taghub agency {command} -o json");
        let printed = reader.session("central").await.run(1, &line, BLOCK_WITHIN).unwrap();
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    };
    let arrival = plan(&mut reader, &format!("add {AGENCY_A} --name Parks")).await;
    let prove = "AWS_REGION=us-east-1 taghub --agency-profile parks agency test";
    let words = [("BUCKET", "code-of-parks"), ("KEY", "c.zip"), ("taghub agency test", prove)];
    // It ends with the proof: an account without instances, whose collector reaches the manager.
    reader.carry_out(&arrival, &words).await;
    let world = &reader.world;
    world.issue_activations().await.unwrap();
    let web = world.onboard(AGENCY_A, HOME_REGION, Kind::AmazonLinux, &[("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();

    let leave = plan(&mut reader, "remove Parks --plan").await;
    assert_eq!((&leave["nodes"], &leave["online"]), (&json!(1), &json!(1)));
    reader.carry_out(&leave, &[]).await;
    let world = &reader.world;
    let gone = world.sweep(AGENCY_A, &json!({})).await.unwrap_err();
    assert!(format!("{gone:#}").contains("ResourceNotFound"), "{gone:#}");
    assert!(world.activation_parameter(AGENCY_A, HOME_REGION).await.unwrap().is_none());
    // The node is connected, keeps its tags, and takes commands.
    let node = &web.enrolled.node;
    assert_eq!(world.plain_tags(node)["Env"], "PROD");
    let command =
        json!({"InstanceIds": [node], "DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["uptime"]}});
    world.central().json("ssm", "SendCommand", &command).await.unwrap();
    let commands = world.aws.commands().list(CENTRAL, HOME_REGION);
    assert!(commands[0].nodes.contains_key(node), "the command reached {:?}", commands[0].nodes.keys());
    let aliases = "aws lambda list-aliases --region us-east-1 --function-name ssm-tag-manager --query 'Aliases[].Name'";
    let aliases = reader.session("central").await.run(1, aliases, BLOCK_WITHIN).unwrap();
    assert_eq!(aliases.trim(), "[]");
}

#[tokio::test]
async fn a_second_hub_stands_beside_the_first() {
    let mut reader = Reader::new();
    let world = &reader.world;
    world.deploy_central(&[]).await.unwrap();
    world.grant(AGENCY_A).await.unwrap();
    world.deploy_agency(AGENCY_A, &[("ScheduleExpression", "rate(1 day)")]).await.unwrap();
    world.deploy_instance_profile(AGENCY_A).await.unwrap();
    world.issue_activations().await.unwrap();
    let ours = world.onboard(AGENCY_A, HOME_REGION, Kind::AmazonLinux, &[("Env", "PROD")]).await.unwrap().enrolled;
    let held = world.aws.activations().list(CENTRAL, HOME_REGION).remove(0).activation_id;
    // Whatever is younger than an hour is left alone anyway.
    assert!(world.aws.activations().age(CENTRAL, HOME_REGION, &held, Duration::from_hours(2)));

    let count = reader.follow("docs/second-hub.md").await;
    assert_eq!(count, 10, "blocks that ran");
    let world = &reader.world;
    let theirs = reader.machines[0].registration().unwrap().instance_id;
    assert_eq!(world.plain_tags(&theirs)["Env"], "TEST");
    assert_eq!(world.tags(&theirs)[hub::AGENCY_TAG_KEY], AGENCY_B);

    // Production goes on: its activation is there, its issuer has nothing to do, and its sweep tags its node alone.
    let activations = world.aws.activations();
    assert!(activations.list(CENTRAL, HOME_REGION).iter().any(|one| one.activation_id == held), "it was revoked");
    for one in activations.list(CENTRAL, HOME_REGION) {
        activations.age(CENTRAL, HOME_REGION, &one.activation_id, Duration::from_hours(2));
    }
    let issued = world.issue_activations().await.unwrap();
    assert_eq!((&issued["counts"]["agencies"], &issued["counts"]["deleted"]), (&1.into(), &0.into()), "{issued}");
    let swept = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(swept["counts"]["received"], 1, "{swept}");
    assert_eq!(world.plain_tags(&ours.node).get("Env").map(String::as_str), Some("PROD"), "{swept}");
    // Nor does it notice that the test hub is gone.
    for stack in ["test-tag-hub-agency-333333333333", "test-tag-hub"] {
        stacks::delete(&world.central(), stack).await.unwrap();
    }
    world.tag(&ours, "Env", "DEV").await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(world.plain_tags(&ours.node)["Env"], "DEV");
    assert!(world.tags(&theirs).contains_key("Env"), "the node of the test hub keeps its tags");
    // Its log has its own metrics alone.
    let [ours, theirs] =
        ["tags-collector", "test-tags-collector"].map(|name| (name, name.strip_suffix("tags-collector")));
    for ((function, prefix), account) in [(ours, AGENCY_A), (theirs, AGENCY_B)] {
        let log = world.log(account, function).await.unwrap();
        let namespace = format!("\"Namespace\":\"{}TagHub\"", prefix.unwrap());
        assert!(log.contains(&namespace), "{function} writes metrics in no {namespace}: {log}");
    }
}

/// An instance with a profile of its own, and one without.
const INSTANCES_OF_OLD: &str = r"
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: LedgerRole
      AssumeRolePolicyDocument:
        Statement: {Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: sts:AssumeRole}
  Profile:
    Type: AWS::IAM::InstanceProfile
    Properties:
      InstanceProfileName: Ledger
      Roles: [!Ref Role]
";

#[tokio::test]
async fn register_instance_is_brought_to_instances_as_it_is_written() {
    let mut reader = Reader::new();
    let world = &reader.world;
    world.deploy_central(&[("OrganizationId", "o-a1b2c3d4e5")]).await.unwrap();
    world.grant(AGENCY_A).await.unwrap();
    world.deploy_agency(AGENCY_A, &[("ScheduleExpression", "rate(1 day)")]).await.unwrap();
    world.issue_activations().await.unwrap();
    let agency = world.aws.client(AGENCY_A, HOME_REGION);
    stacks::deploy(&agency, "instances-of-old", INSTANCES_OF_OLD, &[]).await.unwrap();
    let launch = |name: &str, profile: &str| {
        format!(
            "aws ec2 run-instances --region {HOME_REGION} --instance-type t3.micro {profile} \
             --image-id resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64 \
             --tag-specifications 'ResourceType=instance,Tags=[{{Key=Name,Value={name}}}]' --query Instances[0].State"
        )
    };
    let session = reader.session(&format!("agency-{AGENCY_A}")).await;
    session.run(1, &launch("ledger", "--iam-instance-profile Name=Ledger"), BLOCK_WITHIN).unwrap();
    session.run(1, &launch("bare", ""), BLOCK_WITHIN).unwrap();
    // The line that central IT sends to the agency; both checkouts are folders here.
    let folder = reader.folder.path().to_owned();
    let artifacts = folder.join(format!("agency-{AGENCY_A}/checkout/artifacts.txt"));
    std::os::unix::fs::symlink(folder.join("central/checkout/artifacts.txt"), artifacts).unwrap();
    let count = reader.follow("docs/distribute.md").await;
    assert_eq!(count, 6, "blocks that ran");

    // What an instance's role may fetch from there, and no more.
    let artifacts = std::fs::read_to_string(folder.join("central/checkout/artifacts.txt")).unwrap();
    let (bucket, release) = artifacts.trim().split_once('/').unwrap();
    for (role, key, expected) in [
        ("TagHubInstance", format!("{release}/register-instance-x86_64"), "allowed"),
        ("LedgerRole", format!("{release}/register-instance.service"), "allowed"),
        ("TagHubInstance", "releases/other/tags-collector.zip".to_owned(), "implicitDeny"),
    ] {
        let source = format!("arn:aws:iam::{AGENCY_A}:role/{role}");
        let object = format!("arn:aws:s3:::{bucket}/{key}");
        let asked = [
            ("PolicySourceArn", source.as_str()),
            ("ActionNames.member.1", "s3:GetObject"),
            ("ResourceArns.member.1", object.as_str()),
        ];
        let answer =
            reader.world.aws.client(AGENCY_A, HOME_REGION).query("iam", "SimulatePrincipalPolicy", &asked).await;
        let told = answer.unwrap().to_string();
        assert!(told.contains(&format!("\"EvalDecision\":\"{expected}\"")), "{role}, {object}: {told}");
    }
    let listed = format!("aws s3 ls --recursive s3://{bucket}/releases/");
    let listed = reader.session("central").await.run(1, &listed, BLOCK_WITHIN).unwrap();
    assert!(listed.contains("register-instance.service"), "{listed}");
    let node = reader.machines[0].registration().unwrap().instance_id;
    assert_eq!(reader.world.tags(&node)[hub::AGENCY_TAG_KEY], AGENCY_A);
}

#[tokio::test]
async fn the_original_six_steps_work_as_they_are_written_today() {
    let mut reader = Reader::new();
    let count = reader.follow("docs/getting-started.md").await;
    assert_eq!(count, 20, "blocks that ran, each as often as there are sessions in its mark");
    assert_eq!(reader.machines.len(), 5);
    let world = &reader.world;
    let mut linux = BTreeSet::new();
    for machine in &reader.machines {
        let node = machine.registration().unwrap().instance_id;
        let tags = world.tags(&node);
        let Ec2Instance { account, region, instance_id } = machine.instance();
        assert_eq!(tags[hub::AGENCY_TAG_KEY], *account, "{tags:?}");
        assert_eq!(tags[hub::SOURCE_TAG_KEY], format!("{account}/{region}/{instance_id}"), "{tags:?}");
        assert!(machine.is_active(), "the agent runs again");
        if tags["OS"] == "Linux" {
            linux.insert(node);
        }
    }
    let commands = world.aws.commands().list(CENTRAL, HOME_REGION);
    assert_eq!(commands.len(), 1);
    let reached: BTreeSet<String> = commands[0].nodes.keys().cloned().collect();
    assert_eq!((reached.len(), &reached), (3, &linux));
    let activations = world.aws.activations().list(CENTRAL, HOME_REGION);
    let used: BTreeMap<String, u64> =
        activations.iter().map(|one| (one.tags[hub::AGENCY_TAG_KEY].clone(), one.registrations_count)).collect();
    assert_eq!(used, BTreeMap::from([(AGENCY_A.to_owned(), 3), (AGENCY_B.to_owned(), 2)]));
}
