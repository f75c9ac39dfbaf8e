//! The list of agencies in step with an organization: cfn/grants-from-organization.yaml.

use std::time::{Duration, Instant};

use local_aws::{Client, Fault, stacks};
use serde_json::{Value, json};
use tests::{CENTRAL, HOME_REGION, World};

use crate::mutation::decoded;

const WITHIN: Duration = Duration::from_mins(1);
const GRANTS: &str = "tag-hub-agencies";
const MACHINE: &str = "tag-hub-grants";
const CHANGE: &str = "from-organization";
const CONTROLLER: &str = "tag-hub-grants-from-organization";
/// What CloudFormation carries the change out with, where it may.
const DEPLOYMENT: &str = r"
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: GrantsDeployment
      AssumeRolePolicyDocument:
        Statement: {Effect: Allow, Principal: {Service: cloudformation.amazonaws.com}, Action: sts:AssumeRole}
";

/// A hub, and an organization with a unit and a unit within it.
struct Site {
    world: World,
    root: String,
    unit: String,
    inner: String,
}

impl Site {
    /// The accounts are in the grants already.
    async fn new(accounts: usize, parameters: &[(&str, &str)]) -> (Self, Vec<String>) {
        let world = World::start(tests::Paths::from_env().unwrap(), 0, None).unwrap();
        world.deploy_central(&[("Fanout", "No")]).await.unwrap();
        let client = world.central();
        let root = list(&client, "ListRoots", &json!({}), "Roots").await.remove(0);
        let unit = unit(&client, &root, "agencies").await;
        let inner = self::unit(&client, &unit, "north").await;
        let site = Self { world, root, unit, inner };
        let mut first = Vec::new();
        for number in 0..accounts {
            first.push(site.account(&format!("first-{number}"), &site.unit).await);
        }
        let text = site.world.paths().text("cfn/agency-grants.yaml").unwrap();
        let listed = [("AgencyAccountIds", first.join(",")), ("SilentAfterMinutes", "0".to_owned())];
        let listed = listed.each_ref().map(|(name, value)| (*name, value.as_str()));
        stacks::deploy(&client, GRANTS, &text, &listed).await.unwrap();
        site.deploy(parameters).await;
        (site, first)
    }

    async fn deploy(&self, parameters: &[(&str, &str)]) {
        let client = self.world.central();
        stacks::deploy(&client, "deployment", DEPLOYMENT, &[]).await.unwrap();
        let text = self.world.paths().text("cfn/grants-from-organization.yaml").unwrap();
        let mut all = vec![("OrganizationalUnitIds", self.unit.as_str()), ("GrantsScheduleExpression", "rate(7 days)")];
        all.extend(parameters);
        stacks::deploy(&client, CONTROLLER, &text, &all).await.unwrap();
    }

    /// A new account in a unit.
    async fn account(&self, name: &str, unit: &str) -> String {
        let body = json!({"AccountName": name, "Email": format!("{name}@example.com")});
        let made = self.world.central().json("organizations", "CreateAccount", &body).await.unwrap();
        let id = made["CreateAccountStatus"]["AccountId"].as_str().unwrap().to_owned();
        self.move_account(&id, &self.root, unit).await;
        id
    }

    async fn move_account(&self, account: &str, from: &str, to: &str) {
        let body = json!({"AccountId": account, "SourceParentId": from, "DestinationParentId": to});
        self.world.central().json("organizations", "MoveAccount", &body).await.unwrap();
    }

    /// One comparison: how it ended, and what it said.
    async fn compare(&self) -> (String, Value) {
        self.compare_with(MACHINE).await
    }

    async fn compare_with(&self, machine: &str) -> (String, Value) {
        let which = self.begin(machine).await;
        self.ended(&which).await
    }

    async fn begin(&self, machine: &str) -> Value {
        let machine = format!("arn:aws:states:{HOME_REGION}:{CENTRAL}:stateMachine:{machine}");
        let start = json!({"stateMachineArn": machine});
        let started = self.world.central().json("states", "StartExecution", &start).await.unwrap();
        json!({"executionArn": started["executionArn"]})
    }

    async fn ended(&self, which: &Value) -> (String, Value) {
        let client = self.world.central();
        let deadline = Instant::now() + WITHIN;
        loop {
            let run = client.json("states", "DescribeExecution", which).await.unwrap();
            match run["status"].as_str() {
                Some("RUNNING") => assert!(Instant::now() < deadline, "still running: {run}"),
                Some("SUCCEEDED") => {
                    let output: Value = serde_json::from_str(run["output"].as_str().unwrap()).unwrap();
                    return (output["State"].as_str().unwrap().to_owned(), output);
                }
                _ => return (run["error"].as_str().unwrap_or_default().to_owned(), run),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The change sets that wait, as their ids.
    async fn waiting(&self) -> Vec<String> {
        let answer = self.world.central().query("cloudformation", "ListChangeSets", &[("StackName", GRANTS)]).await;
        let answer = answer.unwrap();
        let summaries = answer["Summaries"].as_array().into_iter().flatten();
        summaries.map(|summary| summary["ChangeSetId"].as_str().unwrap().to_owned()).collect()
    }

    /// What an operator does with the one that waits, after a look.
    async fn execute(&self) {
        let waiting = self.waiting().await;
        let which = [("StackName", GRANTS), ("ChangeSetName", waiting[0].as_str())];
        self.world.central().query("cloudformation", "ExecuteChangeSet", &which).await.unwrap();
    }

    /// What somebody does who may make change sets, and nothing else: one with the right accounts and another template.
    async fn plant(&self, accounts: &str) {
        let alias = "\nResources:\n  AliasPlanted:\n    Type: AWS::Lambda::Alias\n    Properties:\n      \
                     FunctionName: ssm-tag-manager\n      FunctionVersion: $LATEST\n      \
                     Name: agency-999999999999\n";
        let text = self.world.paths().text("cfn/agency-grants.yaml").unwrap();
        let planted = text.replace("\nResources:\n", alias);
        assert_ne!(planted, text);
        let form = [
            ("StackName", GRANTS),
            ("ChangeSetName", CHANGE),
            ("TemplateBody", planted.as_str()),
            ("Capabilities.member.1", "CAPABILITY_AUTO_EXPAND"),
            ("Parameters.member.1.ParameterKey", "AgencyAccountIds"),
            ("Parameters.member.1.ParameterValue", accounts),
            ("Parameters.member.2.ParameterKey", "SilentAfterMinutes"),
            ("Parameters.member.2.ParameterValue", "0"),
        ];
        self.world.central().query("cloudformation", "CreateChangeSet", &form).await.unwrap();
    }

    /// The accounts that may invoke the manager, once there are so many.
    async fn granted(&self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let path = "/2015-03-31/functions/ssm-tag-manager/aliases";
            let answer = self.world.central().rest("lambda", http::Method::GET, path, &[], "").await.unwrap().json();
            let names = answer["Aliases"].as_array().unwrap().iter().map(|alias| alias["Name"].as_str().unwrap());
            let mut names: Vec<String> = names.map(|name| name.trim_start_matches("agency-").to_owned()).collect();
            names.sort();
            if names.len() == count {
                return names;
            }
            assert!(Instant::now() < deadline, "{count} grants, and not {names:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn unit(client: &Client, parent: &str, name: &str) -> String {
    let body = json!({"ParentId": parent, "Name": name});
    let made = client.json("organizations", "CreateOrganizationalUnit", &body).await.unwrap();
    made["OrganizationalUnit"]["Id"].as_str().unwrap().to_owned()
}

async fn list(client: &Client, operation: &str, body: &Value, of: &str) -> Vec<String> {
    let answer = client.json("organizations", operation, body).await.unwrap();
    answer[of].as_array().unwrap().iter().map(|entry| entry["Id"].as_str().unwrap().to_owned()).collect()
}

fn sorted(mut accounts: Vec<String>) -> Vec<String> {
    accounts.sort();
    accounts
}

#[tokio::test]
async fn grants_follow_the_organization_by_a_change_set_that_somebody_reviews() {
    let (site, first) = Site::new(1, &[]).await;
    assert_eq!(site.compare().await.0, "InStep");

    // One more in the unit within, which nobody has to name.
    let second = site.account("second", &site.inner).await;
    let (state, said) = site.compare().await;
    assert_eq!((state.as_str(), &said["Add"], &said["Remove"]), ("Waiting", &json!([second]), &json!([])), "{said}");
    assert_eq!(site.granted(1).await, first, "nothing happens by itself");
    // Whoever is reading it finds the same one after the next run.
    let waiting = site.waiting().await;
    assert_eq!(site.compare().await.0, "Waiting");
    assert_eq!((site.waiting().await, waiting.len()), (waiting.clone(), 1));

    // What the organization says by then takes its place.
    let third = site.account("third", &site.unit).await;
    let (state, said) = site.compare().await;
    assert_eq!((state.as_str(), said["Add"].as_array().unwrap().len()), ("Waiting", 2), "{said}");
    assert_ne!(site.waiting().await, waiting);
    site.execute().await;
    let all = sorted(vec![first[0].clone(), second.clone(), third.clone()]);
    assert_eq!(site.granted(3).await, all);
    assert_eq!(site.compare().await.0, "InStep");

    // One leaves, and comes back before anybody looked: there is nothing left to execute.
    site.move_account(&third, &site.unit, &site.root).await;
    let (state, said) = site.compare().await;
    assert_eq!((state.as_str(), &said["Remove"]), ("Waiting", &json!([third])), "{said}");
    site.move_account(&third, &site.root, &site.unit).await;
    assert_eq!(site.compare().await.0, "InStep");
    assert!(site.waiting().await.is_empty(), "an outdated change set still waits");
    assert_eq!(site.granted(3).await, all);
}

#[tokio::test]
async fn an_empty_organization_takes_no_grant_away_and_an_excluded_account_gets_none() {
    let (site, first) = Site::new(2, &[]).await;
    site.deploy(&[("ExcludedAccountIds", &first[0])]).await;
    let (state, said) = site.compare().await;
    assert_eq!((state.as_str(), &said["Remove"]), ("Waiting", &json!([first[0]])), "{said}");
    for account in &first {
        site.move_account(account, &site.unit, &site.root).await;
    }
    let (state, said) = site.compare().await;
    assert_eq!(state, "NoAccounts", "{said}");
    assert_eq!(site.granted(2).await, sorted(first));
}

#[tokio::test]
async fn switched_on_additions_are_carried_out_and_removals_wait() {
    let role = format!("arn:aws:iam::{CENTRAL}:role/GrantsDeployment");
    let (site, first) = Site::new(1, &[("ApplyChanges", "Additions"), ("DeploymentRoleArn", &role)]).await;
    let second = site.account("second", &site.unit).await;
    let (state, said) = site.compare().await;
    assert_eq!(state, "InStep", "{said}");
    assert_eq!(site.granted(2).await, sorted(vec![first[0].clone(), second.clone()]));

    site.move_account(&second, &site.unit, &site.root).await;
    assert_eq!(site.compare().await.0, "Waiting");
    assert_eq!(site.granted(2).await.len(), 2);
    site.deploy(&[("ApplyChanges", "All"), ("DeploymentRoleArn", &role)]).await;
    let (state, said) = site.compare().await;
    assert_eq!(state, "InStep", "{said}");
    assert_eq!(site.granted(1).await, first);
}

#[tokio::test]
async fn only_a_change_set_of_its_own_making_is_executed() {
    let role = format!("arn:aws:iam::{CENTRAL}:role/GrantsDeployment");
    let (site, first) = Site::new(1, &[("ApplyChanges", "All"), ("DeploymentRoleArn", &role)]).await;
    let client = site.world.central();
    let second = site.account("second", &site.unit).await;
    let wanted = sorted(vec![first[0].clone(), second.clone()]);
    // Before the comparison.
    site.plant(&wanted.join(",")).await;
    let (state, said) = site.compare().await;
    assert_eq!(state, "InStep", "{said}");
    assert_eq!(site.granted(2).await, wanted, "what was planted was executed");

    // Between the making and the execution: the one that was made is gone, and what has its name is another.
    let third = site.account("third", &site.unit).await;
    let all = sorted(vec![first[0].clone(), second, third]);
    let slowly = Fault::latency("cloudformation:DescribeChangeSet", Duration::from_secs(3)).times(1);
    site.world.aws.faults().add(slowly);
    // What was executed is still listed.
    let before = site.waiting().await;
    let run = site.begin(MACHINE).await;
    let deadline = Instant::now() + WITHIN;
    while site.waiting().await.iter().all(|one| before.contains(one)) {
        assert!(Instant::now() < deadline, "no change set is made");
    }
    client
        .query("cloudformation", "DeleteChangeSet", &[("StackName", GRANTS), ("ChangeSetName", CHANGE)])
        .await
        .unwrap();
    site.plant(&all.join(",")).await;
    let (state, said) = site.ended(&run).await;
    assert_eq!(state, "StackIsBusy", "{said}");
    assert_eq!(site.granted(2).await, wanted, "what was planted was executed");
    assert_eq!(site.compare().await.0, "InStep");
    assert_eq!(site.granted(3).await, all);
}

/// A stack of grants takes 125 agencies.
#[tokio::test]
async fn two_controllers_each_keep_a_stack_of_grants() {
    let (site, first) = Site::new(1, &[]).await;
    let client = site.world.central();
    let south = unit(&client, &site.root, "south").await;
    let other = site.account("southern", &south).await;
    let text = site.world.paths().text("cfn/agency-grants.yaml").unwrap();
    let listed = [("AgencyAccountIds", other.as_str()), ("SilentAfterMinutes", "0")];
    stacks::deploy(&client, "tag-hub-agencies-south", &text, &listed).await.unwrap();
    let text = site.world.paths().text("cfn/grants-from-organization.yaml").unwrap();
    let parameters = [
        ("ControllerName", "tag-hub-grants-south"),
        ("GrantsStackName", "tag-hub-agencies-south"),
        ("OrganizationalUnitIds", south.as_str()),
    ];
    stacks::deploy(&client, "tag-hub-grants-from-organization-south", &text, &parameters).await.unwrap();
    for machine in [MACHINE, "tag-hub-grants-south"] {
        assert_eq!(site.compare_with(machine).await.0, "InStep", "{machine}");
    }
    site.move_account(&other, &south, &site.unit).await;
    let (state, said) = site.compare().await;
    assert_eq!((state.as_str(), &said["Add"]), ("Waiting", &json!([other])), "{said}");
    assert_eq!(site.compare_with("tag-hub-grants-south").await.0, "NoAccounts");
    assert_eq!(site.granted(2).await, sorted(vec![first[0].clone(), other]));
}

/// The local AWS performs each task as the role of the state machine. Without a statement the comparison fails.
#[tokio::test]
async fn without_any_one_statement_grants_do_not_follow() {
    let role = format!("arn:aws:iam::{CENTRAL}:role/GrantsDeployment");
    let (site, first) = Site::new(1, &[("ApplyChanges", "All"), ("DeploymentRoleArn", &role)]).await;
    let client = site.world.central();
    let resources = client.query(
        "cloudformation",
        "DescribeStackResource",
        &[("StackName", CONTROLLER), ("LogicalResourceId", "GrantsRole")],
    );
    let name = resources.await.unwrap()["StackResourceDetail"]["PhysicalResourceId"].as_str().unwrap().to_owned();
    let mut tried = 0;
    for policy in ["grants", "apply"] {
        let which = [("RoleName", name.as_str()), ("PolicyName", policy)];
        let read = client.query("iam", "GetRolePolicy", &which).await.unwrap();
        let text = decoded(read["PolicyDocument"].as_str().unwrap());
        let document: Value = serde_json::from_str(&text).unwrap();
        let statements = document["Statement"].as_array().unwrap();
        for at in 0..statements.len() {
            // Each time there is something to do, with a change set that is outdated.
            let account = site.account(&format!("more-{policy}-{at}"), &site.unit).await;
            let mut fewer = document.clone();
            let gone = fewer["Statement"].as_array_mut().unwrap().remove(at);
            if fewer["Statement"].as_array().unwrap().is_empty() {
                fewer["Statement"] = json!([{"Effect": "Deny", "Action": "sqs:*", "Resource": "*"}]);
            }
            put(&client, &which, &fewer).await;
            let (state, said) = site.compare().await;
            put(&client, &which, &document).await;
            // No change set waits where every one is executed.
            let is_for_waiting = ["ReplaceChange"].contains(&gone["Sid"].as_str().unwrap());
            assert_eq!(state.ends_with("AccessDeniedException"), !is_for_waiting, "without {}: {said}", gone["Sid"]);
            site.move_account(&account, &site.unit, &site.root).await;
            assert_eq!(site.compare().await.0, "InStep");
            tried += 1;
        }
    }
    assert!(tried > 8, "only {tried} statements were tried");
    assert_eq!(site.granted(1).await, first);
}

async fn put(client: &Client, which: &[(&str, &str); 2], document: &Value) {
    let text = document.to_string();
    let all = [which[0], which[1], ("PolicyDocument", text.as_str())];
    client.query("iam", "PutRolePolicy", &all).await.unwrap();
}
