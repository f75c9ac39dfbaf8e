//! The first part of the story: instances become managed nodes, and their tags reach them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::ensure;
use local_aws::InvocationType;
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, SECOND_REGION, World};

use crate::fleet::Fleet;
use crate::{answers, events, expected, registration, secrecy, show, together};

/// The schedule fires every minute here, and the first time up to a minute after it was made.
const SCHEDULE_WITHIN: Duration = Duration::from_secs(150);
/// How long changes are collected before they are carried over, at most.
pub(crate) const CHANGE_WINDOW_SECONDS: &str = "2";
/// Between the two calls that change a node.
const REMEMBERED_WITHIN: Duration = Duration::from_secs(30);
const WRITES: [&str; 2] = ["ssm:AddTagsToResource", "ssm:RemoveTagsFromResource"];

/// Answers with the fleet, because the machines go with it.
pub(crate) async fn tell(world: &World) -> anyhow::Result<Fleet> {
    deploy(world).await?;
    let answers = registration::issue(world).await?;
    let mut fleet = registration::register(world).await?;
    first_run(world, &fleet).await?;
    command(world).await?;
    changes(world, &mut fleet).await?;
    steady_state(world, &fleet).await?;
    events::tell(world, &mut fleet).await?;
    together::tell(world, &mut fleet).await?;
    trespass(world, &fleet).await?;
    secrecy::tell(world, &fleet, &answers).await?;
    Ok(fleet)
}

/// The agency's stack. A tag-change event waits for others so long, which is short here, and the schedule is given.
pub(crate) async fn deploy_agency(world: &World, agency: &str, schedule: &str) -> anyhow::Result<String> {
    let regions = if agency == AGENCY_A { format!("{HOME_REGION},{SECOND_REGION}") } else { HOME_REGION.to_owned() };
    let parameters = [
        ("ScheduleExpression", schedule),
        ("CollectRegions", regions.as_str()),
        ("ChangeWindowSeconds", CHANGE_WINDOW_SECONDS),
    ];
    world.deploy_agency(agency, &parameters).await?;
    Ok(regions)
}

async fn deploy(world: &World) -> anyhow::Result<()> {
    show::step(
        "Deploying: the hub in the central account; in each of two agencies the collector and the instance profile",
    );
    let start = Instant::now();
    let regions = format!("{HOME_REGION},{SECOND_REGION}");
    world.deploy_central(&[("ActivationRegions", regions.as_str())]).await?;
    show::note(&format!("central account {CENTRAL}: ssm-tag-manager, activation-issuer, automation-fanout"));
    for agency in [AGENCY_A, AGENCY_B] {
        world.grant(agency).await?;
        let regions = deploy_agency(world, agency, "rate(1 minute)").await?;
        world.deploy_instance_profile(agency).await?;
        show::note(&format!("agency {agency}: tags-collector, every minute over {regions}; profile TagHubInstance"));
    }
    // Until its turn comes, so that the schedule shows what it does by itself.
    world.aws.set_tag_events(false)?;
    show::note(&format!("done in {:.1} s", start.elapsed().as_secs_f64()));
    Ok(())
}

async fn first_run(world: &World, fleet: &Fleet) -> anyhow::Result<()> {
    show::step("The schedule fires, and the tags reach the nodes");
    expected::arrive(world, fleet, "every node has its tags", SCHEDULE_WITHIN).await?;
    let answers = [dry_run(world, AGENCY_A).await?, dry_run(world, AGENCY_B).await?];
    show::taghub(world, CENTRAL, "nodes --sort agency").await?;
    show::taghub(world, CENTRAL, "instances").await?;
    show::taghub(world, AGENCY_A, "plan").await?;
    expected::left_behind(fleet, &answers)?;
    for (agency, answer) in [AGENCY_A, AGENCY_B].into_iter().zip(&answers) {
        expected::counts(fleet, agency, answer)?;
    }
    expected::tags(world, fleet)
}

async fn command(world: &World) -> anyhow::Result<()> {
    show::step("Central IT runs a command on OS=Linux, wherever it is");
    let request = json!({
        "DocumentName": "AWS-RunShellScript",
        "Parameters": {"commands": ["uptime"]},
        "Targets": [{"Key": "tag:OS", "Values": ["Linux"]}],
    });
    world.central().json("ssm", "SendCommand", &request).await?;
    let commands = world.aws.commands().list(CENTRAL, HOME_REGION);
    ensure!(commands.len() == 1, "one command was sent");
    let mut agencies = BTreeSet::new();
    for (node, status) in &commands[0].nodes {
        let tags = world.tags(node);
        ensure!(tags["OS"] == "Linux", "{node} was reached, with OS={}", tags["OS"]);
        show::note(&format!("{node} of {}: {status}", tags[hub::AGENCY_TAG_KEY]));
        agencies.insert(tags[hub::AGENCY_TAG_KEY].clone());
    }
    let linux = world.aws.nodes().list(CENTRAL, HOME_REGION);
    let linux = linux.iter().filter(|node| node.tags().get("OS").is_some_and(|os| os == "Linux")).count();
    ensure!(commands[0].nodes.len() == linux, "all {linux} of them were reached");
    ensure!(agencies.len() == 2, "nodes of both agencies were reached");
    Ok(())
}

async fn changes(world: &World, fleet: &mut Fleet) -> anyhow::Result<()> {
    show::step("On the first agency's instances a tag is changed, one is deleted, and an instance is terminated");
    let reported = answers::count(&dry_run(world, AGENCY_A).await?, "received")?;
    let mut before = Vec::new();
    for name in ["web", "database", "batch"] {
        before.push((name, world.tags(&fleet.member(name)?.enrolled.node)));
    }
    let web = fleet.member_mut("web")?;
    world.tag(&web.enrolled, "Env", "TEST").await?;
    web.carried.insert("Env".to_owned(), "TEST".to_owned());
    let database = fleet.member_mut("database")?;
    world.untag(&database.enrolled, "Role").await?;
    database.carried.remove("Role");
    let database = database.enrolled.node.clone();
    let memory = world.tags(&database).remove(hub::APPLIED_TAG_KEY);
    let batch = fleet.member_mut("batch")?;
    world.terminate(&batch.enrolled).await?;
    batch.is_terminated = true;

    expected::arrive(world, fleet, "the next run has carried it over, and nothing else", SCHEDULE_WITHIN).await?;
    // The hub's memory is written last, with the removal behind it.
    let is_remembered = |world: &World| world.tags(&database).get(hub::APPLIED_TAG_KEY) != memory.as_ref();
    world.eventually("the hub remembers what it removed", REMEMBERED_WITHIN, is_remembered).await?;
    let answer = dry_run(world, AGENCY_A).await?;
    expected::counts(fleet, AGENCY_A, &answer)?;
    for (name, mut before) in before {
        let node = &fleet.member(name)?.enrolled.node;
        // What is removed from the node of the terminated instance, or marked on it, would show here too.
        ensure!(name != "batch" || world.tags(node) == before, "the terminated instance's node is as it was");
        before.retain(|key, _| !key.starts_with("tag-hub:"));
        show::difference(name, &before, &expected::plain_tags(world, node));
    }
    let left = answers::count(&answer, "received")?;
    ensure!(left + 1 == reported, "{left} instances are reported, and {reported} were before one was terminated");
    show::note(&format!("{left} instances of {AGENCY_A} are reported, and {reported} were before"));
    show::note("the node of a terminated instance keeps its last tags until it is deregistered");
    Ok(())
}

async fn steady_state(world: &World, fleet: &Fleet) -> anyhow::Result<()> {
    show::step("A run where nothing has changed");
    let before = world.aws.calls().snapshot();
    for agency in [AGENCY_A, AGENCY_B] {
        let answer = world.sweep_well(agency).await?;
        expected::counts(fleet, agency, &answer)?;
    }
    let calls = world.aws.calls().snapshot().since(&before);
    for operation in ["ec2:DescribeInstances", "tagging:GetResources", "ssm:ListTagsForResource", WRITES[0], WRITES[1]]
    {
        show::note(&format!("{operation}: {}", calls.of(operation).total()));
    }
    ensure!(WRITES.iter().all(|operation| calls.of(operation).total() == 0), "nothing was written");
    ensure!(calls.of("tagging:GetResources").total() > 0, "the nodes were read");
    expected::tags(world, fleet)
}

async fn trespass(world: &World, fleet: &Fleet) -> anyhow::Result<()> {
    show::step("The first agency names the second one's node");
    let court = &fleet.member("court")?.enrolled.node;
    let before = world.tags(court);
    let answer = world.sweep_well(AGENCY_A).await?;
    let nodes = answer["nodes"].as_array().into_iter().flatten();
    let refused: Vec<&Value> = nodes.filter(|node| node["ec2InstanceId"] == *fleet.thief).collect();
    ensure!(refused.len() == 1 && refused[0]["reason"] == "not-owned", "the node is refused: {answer}");
    show::note(&format!("{} for {}: rejected, not-owned", fleet.thief, court));

    let report = json!({"account": AGENCY_B, "instances": [{"instanceId": court, "tags": []}]});
    let forged = world.report(AGENCY_A, &report).await?;
    ensure!(forged.function_error.is_some(), "a report in another's name is refused: {}", forged.payload);
    show::note(&format!(
        "a report in the other's name: {}",
        forged.payload["errorMessage"].as_str().unwrap_or_default()
    ));

    let client = world.aws.client(AGENCY_A, HOME_REGION);
    let function = format!("arn:aws:lambda:{HOME_REGION}:{CENTRAL}:function:ssm-tag-manager");
    for target in [format!("{function}:agency-{AGENCY_B}"), function] {
        let Err(refusal) = client.invoke(&target, InvocationType::RequestResponse, &report).await else {
            anyhow::bail!("{target} could be invoked");
        };
        ensure!(refusal.status == 403, "{target}: {refusal}");
        show::note(&format!("invoking {target}: {}", refusal.code));
    }
    ensure!(world.tags(court) == before, "the node is as it was");
    expected::tags(world, fleet)
}

/// What a run would do: it names what is left behind without writing anything.
async fn dry_run(world: &World, agency: &str) -> anyhow::Result<Value> {
    let answer = world.sweep(agency, &json!({"dryRun": true})).await?;
    ensure!(answer.function_error.is_none(), "the dry run of {agency} failed: {}", answer.payload);
    Ok(answer.payload)
}
