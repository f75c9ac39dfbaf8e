//! A central and two agency accounts, deployed by the real templates.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use local_aws::stacks::{self, Outputs};
use local_aws::{Client, Invocation, InvocationType, LocalAws, Options};
use serde_json::Value;

use crate::paths::Paths;
use crate::template;

/// Central IT's account.
pub const CENTRAL: &str = "111111111111";
/// An agency with instances in two Regions.
pub const AGENCY_A: &str = "222222222222";
/// An agency with instances in one Region.
pub const AGENCY_B: &str = "333333333333";
/// Where the hub runs.
pub const HOME_REGION: &str = "us-east-1";
/// Where the first agency runs instances too.
pub const SECOND_REGION: &str = "us-west-2";

/// Where each agency holds its activation.
pub const ACTIVATION_PARAMETER: &str = "/tag-hub/activation";

/// The local AWS with Tag Hub on it.
#[derive(Debug)]
pub struct World {
    /// The local AWS itself: nodes, faults, counters.
    pub aws: LocalAws,
    paths: Paths,
}

impl World {
    /// Starts the local AWS; nothing is deployed yet.
    pub fn start(paths: Paths, port: u16, keep_logs: Option<PathBuf>) -> anyhow::Result<Self> {
        let aws = LocalAws::start(Options { port, keep_logs, ..Options::new(&paths.python) })?;
        Ok(Self { aws, paths })
    }

    /// Starts and deploys the hub and both agencies, with the templates' defaults but for a schedule that stays out
    /// of a test's way.
    pub async fn deployed() -> anyhow::Result<Self> {
        Self::deployed_with(&[], &[]).await
    }

    /// The same with parameters for `template.yaml` and for `cfn/agency.yaml`.
    pub async fn deployed_with(central: &[(&str, &str)], agency: &[(&str, &str)]) -> anyhow::Result<Self> {
        let world = Self::start(Paths::from_env()?, 0, None)?;
        world.deploy_central(central).await?;
        for account in [AGENCY_A, AGENCY_B] {
            world.grant(account).await?;
            let mut parameters = vec![("ScheduleExpression", "rate(1 day)")];
            parameters.extend(agency);
            world.deploy_agency(account, &parameters).await?;
        }
        Ok(world)
    }

    /// Where the repository and the packages are.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Deploys `cfn/policies.yaml` for an agency, or for all with `default`.
    pub async fn deploy_policy(&self, agency: &str, policy: &str) -> anyhow::Result<Outputs> {
        let text = self.paths.text("cfn/policies.yaml")?;
        let parameters = [("PolicyFor", agency), ("TagPolicy", policy)];
        let deployed = stacks::deploy(&self.central(), &format!("tag-hub-policy-{agency}"), &text, &parameters).await;
        deployed.context("deploy cfn/policies.yaml")
    }

    /// Deploys `cfn/managed-node-role.yaml`, which comes before everything else in the central account.
    pub async fn deploy_managed_node_role(&self, parameters: &[(&str, &str)]) -> anyhow::Result<Outputs> {
        let text = self.paths.text("cfn/managed-node-role.yaml")?;
        let deployed = stacks::deploy(&self.central(), "tag-hub-managed-node-role", &text, parameters).await;
        deployed.context("deploy cfn/managed-node-role.yaml")
    }

    /// Deploys `template.yaml`, and before it the role of the nodes.
    pub async fn deploy_central(&self, parameters: &[(&str, &str)]) -> anyhow::Result<Outputs> {
        self.deploy_managed_node_role(&[]).await?;
        self.deploy_hub(&self.paths.text("template.yaml")?, parameters).await
    }

    /// Deploys a text of `template.yaml`, such as that of an older release, and nothing before it.
    pub async fn deploy_hub(&self, template: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Outputs> {
        let fanout = self.packaged("fanout.yaml", &self.paths.text("fanout.yaml")?, "").await?;
        let url = self.packaged("template.yaml", template, &fanout).await?;
        stacks::deploy_from(&self.central(), "tag-hub", &url, parameters).await.context("deploy template.yaml")
    }

    /// Deploys `fanout.yaml` by itself.
    pub async fn deploy_fanout(&self, parameters: &[(&str, &str)]) -> anyhow::Result<Outputs> {
        let url = self.packaged("fanout.yaml", &self.paths.text("fanout.yaml")?, "").await?;
        stacks::deploy_from(&self.central(), "tag-hub-fanout", &url, parameters).await.context("deploy fanout.yaml")
    }

    /// Uploads a template of the central account with its packages, as the SAM CLI does; its address. `nested` is the
    /// address of the nested application's template.
    async fn packaged(&self, name: &str, text: &str, nested: &str) -> anyhow::Result<String> {
        let (text, binaries) = template::packaged(text, "tag-hub-code");
        let text = text.replace("Location: fanout.yaml", &format!("Location: {nested}"));
        let client = self.central();
        for binary in binaries {
            stacks::upload(&client, "tag-hub-code", &template::key(&binary), self.paths.package(&binary)?).await?;
        }
        stacks::upload(&client, "tag-hub-code", name, text.into_bytes()).await?;
        Ok(format!("{}/tag-hub-code/{name}", self.aws.endpoint()))
    }

    /// Deploys `cfn/automation-administration-role.yaml`, which automation-fanout hands to its runs.
    pub async fn deploy_administration_role(&self) -> anyhow::Result<Outputs> {
        let text = self.paths.text("cfn/automation-administration-role.yaml")?;
        let deployed = stacks::deploy(&self.central(), "tag-hub-automation-administration", &text, &[]).await;
        deployed.context("deploy cfn/automation-administration-role.yaml")
    }

    /// Deploys `cfn/automation-execution-role.yaml` in an agency, with the right to restart instances.
    pub async fn deploy_execution_role(&self, agency: &str) -> anyhow::Result<Outputs> {
        let text = self.paths.text("cfn/automation-execution-role.yaml")?;
        let client = self.aws.client(agency, HOME_REGION);
        let parameters = [("AdminAccountId", CENTRAL), ("AllowRestart", "Yes")];
        let deployed = stacks::deploy(&client, "tag-hub-automation-execution", &text, &parameters).await;
        deployed.context("deploy cfn/automation-execution-role.yaml")
    }

    /// Deploys the central account with both automation roles in place for a fan-out over the agencies.
    pub async fn deployed_for_fanout(agencies: &[&str]) -> anyhow::Result<Self> {
        let world = Self::start(Paths::from_env()?, 0, None)?;
        world.deploy_fanout(&[]).await?;
        world.deploy_administration_role().await?;
        for agency in agencies {
            world.deploy_execution_role(agency).await?;
        }
        Ok(world)
    }

    /// Deploys all that a first agency's instances need to register, with activations in both Regions.
    pub async fn deployed_for_registration() -> anyhow::Result<Self> {
        let world = Self::start(Paths::from_env()?, 0, None)?;
        let regions = format!("{HOME_REGION},{SECOND_REGION}");
        world.deploy_central(&[("ActivationRegions", &regions)]).await?;
        world.grant(AGENCY_A).await?;
        world.deploy_agency(AGENCY_A, &[("ScheduleExpression", "rate(1 day)"), ("CollectRegions", &regions)]).await?;
        world.deploy_instance_profile(AGENCY_A).await?;
        let issued = world.issue(&serde_json::json!({})).await?;
        anyhow::ensure!(issued.function_error.is_none(), "no activation was issued: {}", issued.payload);
        Ok(world)
    }

    /// Deploys `cfn/instance-profile.yaml` in an agency.
    pub async fn deploy_instance_profile(&self, agency: &str) -> anyhow::Result<Outputs> {
        let text = self.paths.text("cfn/instance-profile.yaml")?;
        let client = self.aws.client(agency, HOME_REGION);
        let deployed = stacks::deploy(&client, "tag-hub-instance-profile", &text, &[]).await;
        deployed.context("deploy cfn/instance-profile.yaml")
    }

    /// Invokes activation-issuer as central IT and waits for its answer.
    pub async fn issue(&self, event: &Value) -> anyhow::Result<Invocation> {
        Ok(self.central().invoke("activation-issuer", InvocationType::RequestResponse, event).await?)
    }

    /// Invokes fleet-reporter as central IT and waits for its answer.
    pub async fn report_fleet(&self, event: &Value) -> anyhow::Result<Invocation> {
        Ok(self.central().invoke("fleet-reporter", InvocationType::RequestResponse, event).await?)
    }

    /// A file of the last fleet report; `None` where there is none.
    pub async fn fleet_file(&self, name: &str) -> anyhow::Result<Option<String>> {
        let path = format!("/{}/{name}", fleet_bucket());
        match self.central().rest("s3", http::Method::GET, &path, &[], "").await {
            Ok(reply) => Ok(Some(String::from_utf8(reply.body.to_vec())?)),
            Err(error) if error.code == "NoSuchKey" => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All that a function has logged in an account, a line for each event.
    pub async fn log(&self, account: &str, function: &str) -> anyhow::Result<String> {
        let events = self.log_events(account, &format!("/aws/lambda/{function}")).await?;
        let lines = events.iter().map(|event| event["message"].as_str().unwrap_or_default());
        Ok(lines.flat_map(|line| [line, "\n"]).collect())
    }

    /// All events of a log group of an account, none where it is not there.
    pub async fn log_events(&self, account: &str, group: &str) -> anyhow::Result<Vec<Value>> {
        let client = self.aws.client(account, HOME_REGION);
        let mut ask = serde_json::json!({"logGroupName": group});
        let mut events = Vec::new();
        loop {
            let mut page = match client.json("logs", "FilterLogEvents", &ask).await {
                Err(error) if error.code == "ResourceNotFoundException" => return Ok(events),
                page => page?,
            };
            if let Some(more) = page["events"].as_array_mut() {
                events.append(more);
            }
            match page["nextToken"].as_str() {
                Some(token) => ask["nextToken"] = serde_json::json!(token),
                None => return Ok(events),
            }
        }
    }

    /// The instances of an account and Region for which the filters hold, as `DescribeInstances` shows them.
    pub async fn instances(&self, account: &str, region: &str, filters: &[(&str, &str)]) -> anyhow::Result<Vec<Value>> {
        let answer = self.aws.client(account, region).query("ec2", "DescribeInstances", filters).await?;
        let reservations = answer["reservationSet"].as_array().into_iter().flatten();
        let instances = reservations.filter_map(|reservation| reservation["instancesSet"].as_array()).flatten();
        Ok(instances.cloned().collect())
    }

    /// What an agency's parameter holds in a Region, read as its root; `None` where it is not there.
    pub async fn activation_parameter(&self, agency: &str, region: &str) -> anyhow::Result<Option<Value>> {
        let ask = serde_json::json!({"Name": ACTIVATION_PARAMETER, "WithDecryption": true});
        match self.aws.client(agency, region).json("ssm", "GetParameter", &ask).await {
            Ok(answer) => Ok(Some(answer["Parameter"].clone())),
            Err(error) if error.code == "ParameterNotFound" => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes something into an agency's parameter, as its root would.
    pub async fn set_activation_parameter(&self, agency: &str, region: &str, value: &str) -> anyhow::Result<()> {
        let body = serde_json::json!({
            "Name": ACTIVATION_PARAMETER, "Value": value, "Type": "SecureString", "Overwrite": true
        });
        self.aws.client(agency, region).json("ssm", "PutParameter", &body).await?;
        Ok(())
    }

    /// Deletes an agency's parameter, as its root would.
    pub async fn delete_activation_parameter(&self, agency: &str, region: &str) -> anyhow::Result<()> {
        let body = serde_json::json!({"Name": ACTIVATION_PARAMETER});
        self.aws.client(agency, region).json("ssm", "DeleteParameter", &body).await?;
        Ok(())
    }

    /// Invokes automation-fanout as central IT and waits for its answer.
    pub async fn fan_out(&self, request: &Value) -> anyhow::Result<Invocation> {
        Ok(self.central().invoke("automation-fanout", InvocationType::RequestResponse, request).await?)
    }

    /// Deploys `cfn/agency-grant.yaml` for an agency.
    pub async fn grant(&self, agency: &str) -> anyhow::Result<Outputs> {
        let text = self.paths.text("cfn/agency-grant.yaml")?;
        let stack = format!("tag-hub-agency-{agency}");
        let parameters = [("AgencyAccountId", agency)];
        stacks::deploy(&self.central(), &stack, &text, &parameters).await.context("deploy cfn/agency-grant.yaml")
    }

    /// Deploys `cfn/agency.yaml` in an agency; these parameters go before those that it would have.
    pub async fn deploy_agency(&self, agency: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Outputs> {
        let client = self.aws.client(agency, HOME_REGION);
        let bucket = format!("tag-hub-code-{agency}");
        stacks::upload(&client, &bucket, "tags-collector.zip", self.paths.package("tags-collector")?).await?;
        let manager = format!("arn:aws:lambda:{HOME_REGION}:{CENTRAL}:function:ssm-tag-manager");
        let mut all = BTreeMap::from([
            ("CodeBucket", bucket.as_str()),
            ("CodeKey", "tags-collector.zip"),
            ("ManagerFunctionArn", manager.as_str()),
        ]);
        all.extend(parameters.iter().copied());
        let all: Vec<(&str, &str)> = all.into_iter().collect();
        let text = self.paths.text("cfn/agency.yaml")?;
        stacks::deploy(&client, "tag-hub-agency", &text, &all).await.context("deploy cfn/agency.yaml")
    }

    /// Central IT.
    pub fn central(&self) -> Client {
        self.aws.client(CENTRAL, HOME_REGION)
    }

    /// Invokes an agency's collector and waits for its answer.
    pub async fn sweep(&self, agency: &str, event: &Value) -> anyhow::Result<Invocation> {
        let client = self.aws.client(agency, HOME_REGION);
        Ok(client.invoke("tags-collector", InvocationType::RequestResponse, event).await?)
    }

    /// The same, where the sweep has to succeed.
    pub async fn sweep_well(&self, agency: &str) -> anyhow::Result<Value> {
        let answer = self.sweep(agency, &Value::Object(serde_json::Map::new())).await?;
        anyhow::ensure!(answer.function_error.is_none(), "the sweep of {agency} failed: {}", answer.payload);
        Ok(answer.payload)
    }

    /// Invokes an agency's alias of the manager as the agency's root would.
    pub async fn report(&self, agency: &str, report: &Value) -> anyhow::Result<Invocation> {
        let client = self.aws.client(agency, HOME_REGION);
        Ok(client.invoke(&manager_arn(agency), InvocationType::RequestResponse, report).await?)
    }

    /// The tags of a node, none where there is no such node.
    pub fn tags(&self, node: &str) -> BTreeMap<String, String> {
        self.aws.nodes().tags(CENTRAL, HOME_REGION, node).unwrap_or_default()
    }

    /// The tags of a node without the hub's own.
    pub fn plain_tags(&self, node: &str) -> BTreeMap<String, String> {
        self.tags(node).into_iter().filter(|(key, _)| !hub::is_reserved(key)).collect()
    }

    /// Polls until something is so.
    pub async fn eventually(&self, what: &str, within: Duration, is_so: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        while !is_so(self) {
            anyhow::ensure!(Instant::now() < deadline, "within {} s it did not come to this: {what}", within.as_secs());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

/// The bucket of fleet reports.
pub(crate) fn fleet_bucket() -> String {
    format!("tag-hub-fleet-{CENTRAL}-{HOME_REGION}")
}

/// The ARN that an agency invokes.
pub(crate) fn manager_arn(agency: &str) -> String {
    format!("arn:aws:lambda:{HOME_REGION}:{CENTRAL}:function:ssm-tag-manager:agency-{agency}")
}
