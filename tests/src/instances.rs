//! EC2 instances of the agencies and the managed nodes that belong to them.

use std::collections::BTreeMap;

use anyhow::Context as _;
use local_aws::NewNode;

use crate::world::{CENTRAL, HOME_REGION, World};

/// An instance that is registered as a managed node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Whose it is.
    pub agency: String,
    /// Where it runs.
    pub region: String,
    /// The EC2 instance, `i-…`.
    pub instance: String,
    /// The managed node, `mi-…`.
    pub node: String,
}

impl World {
    /// Registers a node as an activation of the agency would: with the tag that names it.
    pub fn register_node(&self, agency: &str, id: Option<&str>) -> String {
        let node = NewNode {
            id: id.map(str::to_owned),
            // That of cfn/managed-node-role.yaml: without it the node is offline.
            iam_role: "tag-hub-managed-node".to_owned(),
            tags: BTreeMap::from([(hub::AGENCY_TAG_KEY.to_owned(), agency.to_owned())]),
            ..NewNode::default()
        };
        self.aws.nodes().register(CENTRAL, HOME_REGION, node)
    }

    /// Launches an instance with tags.
    pub async fn launch(&self, agency: &str, region: &str, tags: &[(&str, &str)]) -> anyhow::Result<String> {
        self.launch_with(agency, region, &[], tags).await
    }

    /// The same with more parameters of `RunInstances`, such as an instance profile.
    pub(crate) async fn launch_with(
        &self,
        agency: &str,
        region: &str,
        parameters: &[(&str, &str)],
        tags: &[(&str, &str)],
    ) -> anyhow::Result<String> {
        let mut form = vec![
            ("ImageId".to_owned(), "ami-0123456789abcdef0"),
            ("InstanceType".to_owned(), "t3.micro"),
            ("MinCount".to_owned(), "1"),
            ("MaxCount".to_owned(), "1"),
            ("TagSpecification.1.ResourceType".to_owned(), "instance"),
        ];
        form.extend(parameters.iter().map(|(name, value)| ((*name).to_owned(), *value)));
        for (index, (key, value)) in (1..).zip(tags) {
            form.push((format!("TagSpecification.1.Tag.{index}.Key"), key));
            form.push((format!("TagSpecification.1.Tag.{index}.Value"), value));
        }
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let answer = self.aws.client(agency, region).query("ec2", "RunInstances", &form).await?;
        let id = answer.pointer("/instancesSet/0/instanceId").or(answer.pointer("/instancesSet/item/instanceId"));
        let id = id.and_then(serde_json::Value::as_str).with_context(|| format!("no instance id in {answer}"))?;
        Ok(id.to_owned())
    }

    /// Launches an instance with its node already made, which is quicker than [`World::onboard`].
    pub async fn enroll(&self, agency: &str, region: &str, tags: &[(&str, &str)]) -> anyhow::Result<Enrolled> {
        let node = self.register_node(agency, None);
        let mut all = vec![(hub::MANAGED_INSTANCE_ID_TAG_KEY, node.as_str())];
        all.extend(tags);
        let instance = self.launch(agency, region, &all).await?;
        Ok(Enrolled { agency: agency.to_owned(), region: region.to_owned(), instance, node })
    }

    /// Sets a tag of an instance.
    pub async fn tag(&self, of: &Enrolled, key: &str, value: &str) -> anyhow::Result<()> {
        let form = [("ResourceId.1", of.instance.as_str()), ("Tag.1.Key", key), ("Tag.1.Value", value)];
        self.aws.client(&of.agency, &of.region).query("ec2", "CreateTags", &form).await?;
        Ok(())
    }

    /// Deletes a tag of an instance.
    pub async fn untag(&self, of: &Enrolled, key: &str) -> anyhow::Result<()> {
        let form = [("ResourceId.1", of.instance.as_str()), ("Tag.1.Key", key)];
        self.aws.client(&of.agency, &of.region).query("ec2", "DeleteTags", &form).await?;
        Ok(())
    }

    /// Terminates an instance. Its node stays behind.
    pub async fn terminate(&self, of: &Enrolled) -> anyhow::Result<()> {
        let form = [("InstanceId.1", of.instance.as_str())];
        self.aws.client(&of.agency, &of.region).query("ec2", "TerminateInstances", &form).await?;
        Ok(())
    }
}
