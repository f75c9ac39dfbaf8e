//! Instances that become managed nodes the way they do it in an agency: with the activation of the hub, the instance
//! profile and the real `register-instance`, on machines that are made up.

use anyhow::{Context as _, ensure};
use local_aws::Ec2Instance;
use local_aws::machine::{Kind, Machine};
use serde_json::Value;

use crate::instances::Enrolled;
use crate::paths::program;
use crate::world::World;

/// The name of the instance profile in `cfn/instance-profile.yaml`.
pub const INSTANCE_PROFILE: &str = "TagHubInstance";

/// An instance that has registered itself.
#[derive(Debug)]
pub struct Onboarded {
    /// The instance and its node.
    pub enrolled: Enrolled,
    /// The machine that it is.
    pub machine: Machine,
    /// What `register-instance` printed, to standard error first.
    pub printed: String,
}

impl World {
    /// Invokes activation-issuer for all agencies, and answers with its answer.
    pub async fn issue_activations(&self) -> anyhow::Result<Value> {
        let answer = self.issue(&Value::Object(serde_json::Map::new())).await?;
        ensure!(answer.function_error.is_none(), "activation-issuer failed: {}", answer.payload);
        Ok(answer.payload)
    }

    /// Launches an instance with the profile and lets it register itself. The agency needs its activation and the
    /// profile before.
    pub async fn onboard(
        &self,
        agency: &str,
        region: &str,
        kind: Kind,
        tags: &[(&str, &str)],
    ) -> anyhow::Result<Onboarded> {
        let profile = [("IamInstanceProfile.Name", INSTANCE_PROFILE)];
        let instance = self.launch_with(agency, region, &profile, tags).await?;
        let (account, region) = (agency.to_owned(), region.to_owned());
        let machine = Machine::new(&self.aws, kind, Ec2Instance { account, region, instance_id: instance })?;
        self.register(machine).await
    }

    /// Runs `register-instance` on a machine, where it has to succeed.
    pub async fn register(&self, machine: Machine) -> anyhow::Result<Onboarded> {
        let mut command = machine.command(program("register-instance")?);
        command.arg("--root").arg(machine.root());
        // The agent and the services are processes that are waited for, so this has a thread of its own.
        let output = tokio::task::spawn_blocking(move || command.output()).await?.context("run register-instance")?;
        let [errors, words] = [output.stderr, output.stdout].map(|text| String::from_utf8_lossy(&text).into_owned());
        let Ec2Instance { account, region, instance_id } = machine.instance().clone();
        let printed = format!("{errors}{words}");
        ensure!(output.status.success(), "register-instance on {instance_id}: {}\n{printed}", output.status);
        let registration = machine.registration().context("register-instance left no registration")?;
        let enrolled = Enrolled { agency: account, region, instance: instance_id, node: registration.instance_id };
        Ok(Onboarded { enrolled, machine, printed })
    }
}
