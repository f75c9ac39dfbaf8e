//! Every statement of every function's role is needed: without it, what it is for no longer works.
//!
//! One world is deployed. Each statement in turn is taken out of the role's policy, as it is deployed, and put back.

use std::cell::Cell;
use std::time::Duration;

use local_aws::{Client, Invocation, InvocationType};
use serde_json::{Value, json};
use tests::{AGENCY_A, CENTRAL, HOME_REGION, World};

use crate::fanout::restart;

/// The stacks whose roles are looked at, with the account of each: those with a function, and that of the nodes' role.
const STACKS: [(&str, &str); 3] =
    [(CENTRAL, "tag-hub"), (CENTRAL, "tag-hub-managed-node-role"), (AGENCY_A, "tag-hub-agency")];

/// What shows that a statement is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    /// A report about a node that has lost a tag and has got another.
    Report,
    /// A report about a node that there is not, which takes a look at the node itself.
    ReportUnknown,
    /// A sweep of the agency.
    Sweep,
    /// The same, with figures that the hub does not have yet.
    Cover,
    /// The fleet on one page.
    ReportFleet,
    /// A runbook is started, with a tag.
    Start,
    /// A run is followed.
    Follow,
    /// A run is followed that has more steps than come with it.
    FollowMany,
    /// A run is stopped.
    Stop,
    /// An activation is made for an agency that has none.
    Issue,
    /// IAM's own simulation of the action. For what AWS's services do in the name of a role outside of any call of the
    /// function: the local AWS does it without asking.
    Simulation,
    /// The same for what is denied.
    Denial,
}

/// By role and statement. An action of [`IN_THE_BACKGROUND`] needs no row.
const SCENARIOS: [(&str, &str, Scenario); 56] = [
    ("SsmTagManagerRole", "ReadTagsInBulk", Scenario::Report),
    ("SsmTagManagerRole", "SetTagsOfNode", Scenario::Report),
    ("SsmTagManagerRole", "RemoveTagsOfNode", Scenario::Report),
    ("SsmTagManagerRole", "ReadTagsOfNode", Scenario::ReportUnknown),
    ("SsmTagManagerRole", "TakeLease", Scenario::Report),
    // Without it a lease ends by itself, five minutes later.
    ("SsmTagManagerRole", "ReleaseLease", Scenario::Simulation),
    ("SsmTagManagerRole", "ReadCoverage", Scenario::Cover),
    ("SsmTagManagerRole", "CountRegionsOfAgency", Scenario::Cover),
    ("SsmTagManagerRole", "KeepCoverage", Scenario::Cover),
    // Nothing was left half-done here, and no node is retired.
    ("SsmTagManagerRole", "ReadLease", Scenario::Simulation),
    // Here no policy is in Parameter Store. A version from when one was needs it: releases.rs.
    ("SsmTagManagerRole", "ReadPolicies", Scenario::Simulation),
    ("FleetReporterRole", "ReadGrants", Scenario::ReportFleet),
    ("FleetReporterRole", "ReadCoverage", Scenario::ReportFleet),
    ("FleetReporterRole", "ReadActivations", Scenario::ReportFleet),
    ("FleetReporterRole", "ListNodes", Scenario::ReportFleet),
    ("FleetReporterRole", "ReadPatchStates", Scenario::ReportFleet),
    ("FleetReporterRole", "ReadTagsInBulk", Scenario::ReportFleet),
    ("FleetReporterRole", "ReadMetrics", Scenario::ReportFleet),
    ("FleetReporterRole", "ReadManagerLog", Scenario::ReportFleet),
    ("FleetReporterRole", "ReadEarlierReport", Scenario::ReportFleet),
    // Without it a first report takes the earlier one for one that may not be read.
    ("FleetReporterRole", "SeeWhetherThereIsOne", Scenario::Simulation),
    ("FleetReporterRole", "WriteReport", Scenario::ReportFleet),
    ("TagsCollectorRole", "ReadInstances", Scenario::Sweep),
    ("TagsCollectorRole", "ReportToManager", Scenario::Sweep),
    ("AutomationFanoutRole", "UseRunbooks", Scenario::Start),
    ("AutomationFanoutRole", "StartRun", Scenario::Start),
    // The local AWS takes the tags of a start, as those and the role of an activation, without asking for this.
    ("AutomationFanoutRole", "TagRun", Scenario::Simulation),
    ("AutomationFanoutRole", "RunUnderAdministrationRole", Scenario::Start),
    ("AutomationFanoutRole", "FollowRun", Scenario::Follow),
    ("AutomationFanoutRole", "FollowSteps", Scenario::FollowMany),
    ("AutomationFanoutRole", "StopRun", Scenario::Stop),
    ("AutomationFanoutRole", "AnswerRun", Scenario::Simulation),
    ("AutomationFanoutRole", "ReadTagsOfRun", Scenario::Simulation),
    ("AutomationFanoutRole", "ListRuns", Scenario::Simulation),
    // What a start is checked against; a start goes ahead without it.
    ("AutomationFanoutRole", "DescribeRunbook", Scenario::Simulation),
    ("AutomationFanoutRole", "ReadRunbook", Scenario::Simulation),
    ("AutomationFanoutRole", "ReadCalendar", Scenario::Simulation),
    ("AutomationFanoutRole", "ReadRegions", Scenario::Simulation),
    ("AutomationFanoutRole", "FindNodes", Scenario::Simulation),
    ("AutomationFanoutRole", "WatchAlarms", Scenario::Simulation),
    // The local AWS runs a state machine without asking what its role may do.
    ("CampaignRole", "RunWaves", Scenario::Simulation),
    ("CampaignRole", "AskAndTell", Scenario::Simulation),
    ("ActivationIssuerRole", "ReadGrants", Scenario::Issue),
    ("ActivationIssuerRole", "ReadActivations", Scenario::Issue),
    ("ActivationIssuerRole", "IssueActivation", Scenario::Issue),
    ("ActivationIssuerRole", "TagActivation", Scenario::Simulation),
    ("ActivationIssuerRole", "RegisterUnderNodeRole", Scenario::Simulation),
    ("ActivationIssuerRole", "WriteInAgencies", Scenario::Issue),
    // An activation is deleted an hour after it was replaced, and not before.
    ("ActivationIssuerRole", "DeleteActivation", Scenario::Simulation),
    ("ActivationWriterRole", "ReadActivation", Scenario::Issue),
    // Where a parameter is overwritten, and where there may be too many nodes: not in every run.
    ("ActivationWriterRole", "ReadActivationKey", Scenario::Simulation),
    ("ActivationIssuerRole", "CountNodes", Scenario::Simulation),
    // Without the tier NODE_LIMIT alone holds.
    ("ActivationIssuerRole", "ReadTier", Scenario::Simulation),
    ("ActivationWriterRole", "WriteActivation", Scenario::Issue),
    ("ManagedNodeRole", "KeepFromParameter", Scenario::Denial),
    ("ManagedNodeRole", "KeepFromParameters", Scenario::Denial),
];

/// Roles that a service takes to begin an invocation, and services that a function's own role is used for by Lambda.
const BY_SCHEDULERS: [&str; 6] = [
    "SweepScheduleRole",
    "FanoutScheduleRole",
    "CampaignScheduleRole",
    "ActivationScheduleRole",
    "RetireScheduleRole",
    "ReportScheduleRole",
];
const IN_THE_BACKGROUND: [&str; 4] = ["logs:", "sqs:", "xray:", "kms:"];

/// A policy of a role, as it is deployed.
struct Policy {
    client: Client,
    account: String,
    /// The logical id of the role.
    resource: String,
    role: String,
    name: String,
    document: Value,
}

/// What the scenarios need.
struct Stage {
    world: World,
    node: String,
    /// The tag that the node has, so that each report brings another.
    turn: Cell<usize>,
}

#[tokio::test]
async fn without_any_one_statement_something_no_longer_works() {
    let world = World::deployed().await.unwrap();
    world.deploy_administration_role().await.unwrap();
    world.deploy_execution_role(AGENCY_A).await.unwrap();
    let node = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap().node;
    let stage = Stage { world, node, turn: Cell::new(0) };

    let mut seen = Vec::new();
    for policy in policies(&stage.world).await {
        for statement in policy.document["Statement"].as_array().unwrap() {
            let id = statement["Sid"].as_str().unwrap();
            let scenario = scenario(&policy.resource, statement);
            let place = format!("{} {id}, by {scenario:?}", policy.resource);
            // The simulation here knows no condition keys, so it is asked about the statements without conditions.
            let conditions = scenario != Scenario::Simulation;
            policy.put(None, conditions).await;
            stage.works(scenario, &policy, statement).await.unwrap_or_else(|told| panic!("{place}, with it: {told}"));
            policy.put(Some(id), conditions).await;
            let without = stage.works(scenario, &policy, statement).await;
            policy.put(None, true).await;
            let told = without.expect_err(&place);
            if scenario == Scenario::Denial {
                continue;
            }
            let is_denial = ["not authorized", "AccessDenied", "UnauthorizedOperation", "implicitDeny"];
            assert!(is_denial.iter().any(|word| told.contains(word)), "{place}, without it: {told}");
            seen.push((policy.resource.clone(), id.to_owned(), scenario));
        }
    }
    for (role, statement, _) in SCENARIOS {
        if !seen.iter().any(|(seen, ..)| seen == role) {
            continue;
        }
        assert!(seen.iter().any(|(seen, id, _)| seen == role && id == statement), "{role} has no {statement}");
    }
    assert!(seen.iter().filter(|(.., scenario)| *scenario == Scenario::Simulation).count() >= 9, "{seen:?}");
}

fn scenario(role: &str, statement: &Value) -> Scenario {
    let row = SCENARIOS.iter().find(|(of, id, _)| *of == role && statement["Sid"] == *id);
    let action = statement["Action"].as_str().unwrap();
    let is_in_the_background = IN_THE_BACKGROUND.iter().any(|service| action.starts_with(service));
    match row {
        Some((.., scenario)) => *scenario,
        None if is_in_the_background || BY_SCHEDULERS.contains(&role) => Scenario::Simulation,
        None => panic!("no scenario shows what {role} needs this for: {statement}"),
    }
}

impl Stage {
    /// Whether a scenario goes as it should, with what went wrong otherwise.
    async fn works(&self, scenario: Scenario, policy: &Policy, statement: &Value) -> Result<(), String> {
        match scenario {
            Scenario::Report => self.report(&self.node, "updated").await,
            Scenario::ReportUnknown => self.report("mi-00000000000000000", "unknown-node").await,
            Scenario::Sweep => well(&self.world.sweep(AGENCY_A, &json!({})).await.unwrap()),
            Scenario::Cover => self.cover().await,
            Scenario::ReportFleet => {
                // The page also tells of coverage that the last sweep could not keep.
                well(&self.world.sweep(AGENCY_A, &json!({})).await.unwrap())?;
                well(&self.world.report_fleet(&json!({})).await.unwrap())
            }
            Scenario::Start => self.start(1).await.map(drop),
            Scenario::Follow => self.follow(1).await,
            Scenario::FollowMany => self.follow(120).await,
            Scenario::Stop => self.stop().await,
            Scenario::Issue => self.issue().await,
            Scenario::Simulation => policy.simulate(statement).await,
            Scenario::Denial => match policy.simulate(statement).await {
                Ok(()) => Err("it is allowed".to_owned()),
                Err(_) => Ok(()),
            },
        }
    }

    /// Each report brings a tag that the one before did not, and no longer has that one's.
    async fn report(&self, node: &str, expected: &str) -> Result<(), String> {
        self.turn.set(self.turn.get() + 1);
        let key = format!("Turn-{}", self.turn.get());
        // The source goes with the alias; without an instance nothing compares it.
        // Two nodes are looked at in bulk; one alone would be read by itself.
        let tags = json!([{"Key": key, "Value": "x"}]);
        let instances = [node, "mi-fffffffffffffffff"].map(|node| json!({"instanceId": node, "tags": tags}));
        let report = json!({"instances": instances});
        let answer = self.world.report(AGENCY_A, &report).await.unwrap();
        well(&answer)?;
        let nodes = answer.payload["nodes"].as_array().cloned().unwrap_or_default();
        let of_node = nodes.iter().find(|of_node| of_node["instanceId"] == node).cloned().unwrap_or_default();
        let is_so = of_node["outcome"] == expected || of_node["reason"] == expected;
        // Why a node was deferred stands beside the nodes.
        if is_so { Ok(()) } else { Err(format!("{of_node} {}", answer.payload["deferredBecause"])) }
    }

    /// What went wrong stands in the log alone, because no report fails for it.
    async fn cover(&self) -> Result<(), String> {
        let client = self.world.central();
        let name = format!("/tag-hub/coverage/{AGENCY_A}/{HOME_REGION}");
        client.json("ssm", "DeleteParameters", &json!({"Names": [name]})).await.unwrap();
        well(&self.world.sweep(AGENCY_A, &json!({})).await.unwrap())?;
        if client.json("ssm", "GetParameter", &json!({"Name": name})).await.is_ok() {
            return Ok(());
        }
        let log = self.world.log(CENTRAL, "ssm-tag-manager").await.unwrap();
        let line = log.lines().rev().find(|line| line.contains("coverage not kept"));
        Err(line.unwrap_or("nothing was said about it").to_owned())
    }

    /// Starts a run in this many accounts, of which all but the first do not know of it.
    async fn start(&self, accounts: usize) -> Result<Value, String> {
        let others = (1..accounts).map(|index| format!("9{index:011}"));
        let accounts: Vec<String> = std::iter::once(AGENCY_A.to_owned()).chain(others).collect();
        let mut request = restart(&json!({
            "Accounts": accounts, "Regions": [HOME_REGION], "TargetLocationMaxConcurrency": "100%",
            "TargetLocationMaxErrors": "100%"
        }));
        request["Tags"] = json!([{"Key": "Campaign", "Value": "x"}]);
        let answer = self.world.fan_out(&request).await.unwrap();
        well(&answer)?;
        Ok(answer.payload["Executions"][0]["AutomationExecutionId"].clone())
    }

    async fn follow(&self, accounts: usize) -> Result<(), String> {
        let id = self.start(accounts).await?;
        self.world.aws.automation().advance(Duration::from_hours(1));
        let status = json!({"Action": "Status", "AutomationExecutionId": id});
        well(&self.world.fan_out(&status).await.unwrap())
    }

    async fn issue(&self) -> Result<(), String> {
        let held = json!({"Names": ["/tag-hub/activation"]});
        self.world.aws.client(AGENCY_A, HOME_REGION).json("ssm", "DeleteParameters", &held).await.unwrap();
        let request = json!({"agency": AGENCY_A});
        let client = self.world.central();
        well(&client.invoke("activation-issuer", InvocationType::RequestResponse, &request).await.unwrap())
    }

    async fn stop(&self) -> Result<(), String> {
        let id = self.start(1).await?;
        let stop = json!({"Action": "Stop", "AutomationExecutionId": id});
        well(&self.world.fan_out(&stop).await.unwrap())
    }
}

/// No error, and nothing denied on the way: what is denied for one target is told in an answer that is none.
fn well(answer: &Invocation) -> Result<(), String> {
    let told = answer.payload.to_string();
    if answer.function_error.is_none() && !told.contains("AccessDenied") { Ok(()) } else { Err(told) }
}

impl Policy {
    /// Puts the policy back, or all of it but one statement, with its conditions or without.
    async fn put(&self, without: Option<&str>, conditions: bool) {
        let mut document = self.document.clone();
        let statements = document["Statement"].as_array_mut().unwrap();
        statements.retain(|statement| without.is_none() || statement["Sid"].as_str() != without);
        if !conditions {
            for statement in statements {
                statement.as_object_mut().unwrap().remove("Condition");
            }
        }
        let document = document.to_string();
        let names = [("RoleName", self.role.as_str()), ("PolicyName", &self.name), ("PolicyDocument", &document)];
        self.client.query("iam", "PutRolePolicy", &names).await.unwrap();
    }

    /// What IAM says about an action on the first resource of its statement.
    async fn simulate(&self, statement: &Value) -> Result<(), String> {
        let resource = &statement["Resource"];
        let resource = resource.as_str().or(resource[0].as_str()).unwrap();
        let principal = format!("arn:aws:iam::{}:role/{}", self.account, self.role);
        let action = statement["Action"].as_str().unwrap();
        let asked = [
            ("PolicySourceArn", principal.as_str()),
            ("ActionNames.member.1", action),
            ("ResourceArns.member.1", resource),
        ];
        let answer = self.client.query("iam", "SimulatePrincipalPolicy", &asked).await.unwrap().to_string();
        if answer.contains("\"allowed\"") { Ok(()) } else { Err(answer) }
    }
}

/// The policies of all roles in the stacks with functions.
async fn policies(world: &World) -> Vec<Policy> {
    let mut policies = Vec::new();
    let mut stacks = STACKS.map(|(account, stack)| (account.to_owned(), stack.to_owned())).to_vec();
    while let Some((account, stack)) = stacks.pop() {
        let client = world.aws.client(&account, HOME_REGION);
        let answer = client.query("cloudformation", "DescribeStackResources", &[("StackName", &stack)]).await.unwrap();
        for resource in answer["StackResources"].as_array().unwrap() {
            let text = |name: &str| resource[name].as_str().unwrap().to_owned();
            if resource["ResourceType"] == "AWS::CloudFormation::Stack" {
                stacks.push((account.clone(), text("PhysicalResourceId")));
            }
            if resource["ResourceType"] != "AWS::IAM::Role" {
                continue;
            }
            let role = text("PhysicalResourceId");
            let listed = client.query("iam", "ListRolePolicies", &[("RoleName", &role)]).await.unwrap();
            for name in names(&listed["PolicyNames"]) {
                let asked = [("RoleName", role.as_str()), ("PolicyName", &name)];
                let found = client.query("iam", "GetRolePolicy", &asked).await.unwrap();
                let document = decoded(found["PolicyDocument"].as_str().unwrap());
                policies.push(Policy {
                    client: client.clone(),
                    account: account.clone(),
                    resource: text("LogicalResourceId"),
                    role: role.clone(),
                    name,
                    document: serde_json::from_str(&document).unwrap(),
                });
            }
        }
    }
    assert!(policies.len() >= 4, "only {} policies", policies.len());
    policies
}

/// A list with one element may come as that element.
fn names(list: &Value) -> Vec<String> {
    let items = match list {
        Value::Array(items) => items.clone(),
        Value::Object(fields) => fields.values().cloned().collect(),
        one => vec![one.clone()],
    };
    items.iter().flat_map(|item| item.as_str().map_or_else(|| names(item), |name| vec![name.to_owned()])).collect()
}

/// IAM answers with a document in percent-encoding.
pub(crate) fn decoded(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2).unwrap_or((piece, ""));
        bytes.push(u8::from_str_radix(code, 16).unwrap_or_else(|_| panic!("no percent-encoding: {text}")));
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).unwrap()
}
