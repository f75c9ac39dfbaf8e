//! The policies of the manager, and their approvals.

use std::collections::BTreeMap;

use hub::{AGENCY_TAG_KEY, AccountId, AwsError};
use serde_json::{Value, json};

use crate::aws::function;
use crate::aws::hub::Hub;
use crate::failure::Failure;

/// The name of the policy of all agencies without one of their own.
const DEFAULT: &str = "default";

/// What the manager's configuration says about policies.
#[derive(Debug, Clone)]
pub struct Policies {
    /// The policy of the configuration.
    pub text: String,
    /// Where in Parameter Store others are, such as `/tag-hub/policy`, if the hub looks there.
    pub path: Option<String>,
    /// The digests that the configuration approves.
    approved: Vec<String>,
}

impl Policies {
    /// Reads them.
    ///
    /// # Errors
    /// If the manager's configuration cannot be read.
    pub async fn read(hub: &Hub) -> Result<Self, Failure> {
        let manager = &hub.about.names.manager;
        let variables = function::variables(&hub.session, manager).await;
        let mut variables = variables.map_err(|error| Failure::aws(&error, manager))?;
        let mut value = |name: &str| variables.remove(name).filter(|value| !value.is_empty());
        Ok(Self {
            text: value("TAG_POLICY").unwrap_or_else(|| "{}".to_owned()),
            path: value("POLICY_PARAMETERS"),
            approved: value("APPROVED_POLICIES").iter().flat_map(|all| all.split(',')).map(str::to_owned).collect(),
        })
    }

    /// The policy that is deployed for an agency, or for all that have none of their own.
    ///
    /// # Errors
    /// If a parameter cannot be read.
    pub async fn deployed(&self, hub: &Hub, agency: Option<&AccountId>) -> Result<String, Failure> {
        let Some(path) = &self.path else { return Ok(self.text.clone()) };
        for name in agency.map(AccountId::as_str).into_iter().chain([DEFAULT]) {
            if let Some(text) = hub.session.parameter(&format!("{path}/{name}")).await? {
                return Ok(text);
            }
        }
        Ok(self.text.clone())
    }

    /// The policy that the tags of a node go through, by the agency that owns it.
    ///
    /// # Errors
    /// If the manager's configuration or a parameter cannot be read.
    pub async fn of_node(hub: &Hub, tags: &BTreeMap<String, String>) -> Result<String, Failure> {
        let owner = tags.get(AGENCY_TAG_KEY).and_then(|owner| owner.parse().ok());
        Self::read(hub).await?.deployed(hub, owner.as_ref()).await
    }

    /// True if a policy with this digest may take tags away, as that of an agency or of all without one of their own.
    ///
    /// # Errors
    /// If the parameter cannot be read.
    pub async fn is_approved(&self, hub: &Hub, agency: Option<&AccountId>, digest: &str) -> Result<bool, Failure> {
        let is_configured = self.approved.iter().any(|approved| approved == digest);
        match &self.path {
            Some(path) if !is_configured => Ok(hub.session.parameter(&approval(path, agency, digest)).await?.is_some()),
            _ => Ok(is_configured),
        }
    }
}

/// Approves the policy with this digest, as that of an agency or of all without one of their own, in the name of `by`.
///
/// # Errors
/// If the parameter cannot be written.
pub async fn approve(
    hub: &Hub,
    path: &str,
    agency: Option<&AccountId>,
    digest: &str,
    by: &str,
    at: &str,
) -> Result<(), Failure> {
    let name = approval(path, agency, digest);
    let value: Value = json!({"approvedBy": by, "at": at});
    let put = hub.session.ssm().put_parameter().name(&name).value(value.to_string());
    let put = put.r#type(aws_sdk_ssm::types::ParameterType::String).overwrite(true).send().await;
    put.map(drop).map_err(|error| Failure::aws(&AwsError::from_sdk("ssm:PutParameter", &error), &name))
}

fn approval(path: &str, agency: Option<&AccountId>, digest: &str) -> String {
    format!("{path}/approved/{}/{digest}", agency.map_or(DEFAULT, AccountId::as_str))
}
