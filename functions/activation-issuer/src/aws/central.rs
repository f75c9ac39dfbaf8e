//! The central account: who has a grant, and the activations.

use std::collections::BTreeSet;

use aws_sdk_lambda::Client as LambdaClient;
use aws_sdk_ssm::Client as SsmClient;
use aws_sdk_ssm::types::{
    Activation as SdkActivation, DescribeActivationsFilter, DescribeActivationsFilterKeys,
    InstanceInformationStringFilter, Tag as SdkTag,
};
use aws_smithy_types::DateTime;
use hub::{AGENCY_ALIAS_PREFIX, AGENCY_TAG_KEY, AccountId, AwsError, Timestamp};

use super::unexpected;
use crate::activation::{Activation, ActivationCode, ActivationId, NewActivation, description};
use crate::config::Config;
use crate::plan::census::{NodeCounts, Tier};
use crate::ports::Hub;

/// The largest page: <https://docs.aws.amazon.com/lambda/latest/api/API_ListAliases.html>.
const ALIASES_PER_PAGE: i32 = 50;
/// The largest page: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeActivations.html>.
const ACTIVATIONS_PER_PAGE: i32 = 50;
/// The largest page: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeInstanceInformation.html>.
const NODES_PER_PAGE: i32 = 50;

/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetServiceSetting.html>
const TIER_SETTING: &str = "/ssm/managed-instance/activation-tier";

/// The central account and Region.
#[derive(Debug, Clone)]
pub struct CentralAccount {
    name_prefix: String,
    manager_function_name: String,
    lambda: LambdaClient,
    ssm: SsmClient,
}

impl CentralAccount {
    /// The account and Region of these clients.
    pub fn new(config: &Config, lambda: LambdaClient, ssm: SsmClient) -> Self {
        let (name_prefix, manager_function_name) = (config.name_prefix.clone(), config.manager_function_name.clone());
        Self { name_prefix, manager_function_name, lambda, ssm }
    }
}

impl Hub for CentralAccount {
    async fn granted(&self) -> Result<BTreeSet<AccountId>, AwsError> {
        let mut granted = BTreeSet::new();
        let mut marker = None;
        loop {
            let page = self
                .lambda
                .list_aliases()
                .function_name(&self.manager_function_name)
                .max_items(ALIASES_PER_PAGE)
                .set_marker(marker)
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("lambda:ListAliases", &error))?;
            let names = page.aliases.unwrap_or_default().into_iter().filter_map(|alias| alias.name);
            // Aliases with other names are for other purposes.
            granted.extend(names.filter_map(|name| name.strip_prefix(AGENCY_ALIAS_PREFIX)?.parse().ok()));
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(granted);
            }
        }
    }

    async fn activations(&self, only: Option<&ActivationId>) -> Result<Vec<Activation>, AwsError> {
        let filters = only.map(|id| {
            let key = DescribeActivationsFilterKeys::ActivationIds;
            vec![DescribeActivationsFilter::builder().filter_key(key).filter_values(id.as_str()).build()]
        });
        let mut activations = Vec::new();
        let mut token = None;
        loop {
            let page = self
                .ssm
                .describe_activations()
                .set_filters(filters.clone())
                .max_results(ACTIVATIONS_PER_PAGE)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| AwsError::from_sdk("ssm:DescribeActivations", &error))?;
            let listed = page.activation_list.unwrap_or_default().into_iter();
            activations.extend(listed.filter_map(|one| activation(&self.name_prefix, one)));
            // The end may also be an empty token.
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        // Whatever the service makes of the filter, nothing else gets through.
        activations.retain(|activation| only.is_none_or(|id| activation.id == *id));
        Ok(activations)
    }

    async fn nodes(&self, new_since: Timestamp) -> Result<NodeCounts, AwsError> {
        const OPERATION: &str = "ssm:DescribeInstanceInformation";
        let hybrid = InstanceInformationStringFilter::builder().key("ResourceType").values("ManagedInstance").build();
        let hybrid = hybrid.map_err(|error| unexpected(OPERATION, error.to_string()))?;
        let mut counts = NodeCounts::default();
        let mut token = None;
        loop {
            let page = self
                .ssm
                .describe_instance_information()
                .filters(hybrid.clone())
                .max_results(NODES_PER_PAGE)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| AwsError::from_sdk(OPERATION, &error))?;
            for node in page.instance_information_list.unwrap_or_default() {
                counts.total = counts.total.saturating_add(1);
                if node.registration_date.is_some_and(|date| date.secs() >= new_since.unix_seconds()) {
                    counts.new = counts.new.saturating_add(1);
                }
                // The name is that of the activation; the agency has no say in it.
                let agency = node.name.as_deref().and_then(|name| name.strip_prefix(AGENCY_ALIAS_PREFIX)?.parse().ok());
                if let Some(agency) = agency {
                    *counts.by_agency.entry(agency).or_default() += 1;
                }
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(counts);
            }
        }
    }

    async fn tier(&self) -> Result<Tier, AwsError> {
        const OPERATION: &str = "ssm:GetServiceSetting";
        let setting = self.ssm.get_service_setting().setting_id(TIER_SETTING).send().await;
        let setting = setting.map_err(|error| AwsError::from_sdk(OPERATION, &error))?.service_setting;
        match setting.and_then(|setting| setting.setting_value).as_deref() {
            Some("standard") => Ok(Tier::Standard),
            Some("advanced") => Ok(Tier::Advanced),
            other => Err(unexpected(OPERATION, format!("{TIER_SETTING} is {other:?}"))),
        }
    }

    async fn create(&self, new: &NewActivation) -> Result<(ActivationId, ActivationCode), AwsError> {
        const OPERATION: &str = "ssm:CreateActivation";
        let NewActivation { agency, node_role, registration_limit, expiration_date } = new;
        let tag = SdkTag::builder().key(AGENCY_TAG_KEY).value(agency.as_str()).build();
        let tag = tag.map_err(|error| unexpected(OPERATION, error.to_string()))?;
        let limit = i32::try_from(*registration_limit).map_err(|error| unexpected(OPERATION, error.to_string()))?;
        let output = self
            .ssm
            .create_activation()
            .description(description(&self.name_prefix, agency))
            .default_instance_name(format!("{AGENCY_ALIAS_PREFIX}{agency}"))
            .iam_role(node_role)
            .registration_limit(limit)
            .expiration_date(DateTime::from_secs(expiration_date.unix_seconds()))
            .tags(tag)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(OPERATION, &error))?;
        let id = output.activation_id.and_then(|id| ActivationId::try_from(id).ok());
        let code = output.activation_code.and_then(|code| ActivationCode::try_from(code).ok());
        id.zip(code).ok_or_else(|| unexpected(OPERATION, "the answer has no activation".to_owned()))
    }

    async fn delete(&self, id: &ActivationId) -> Result<(), AwsError> {
        let result = self.ssm.delete_activation().activation_id(id.as_str()).send().await;
        match result.map_err(|error| AwsError::from_sdk("ssm:DeleteActivation", &error)) {
            // Somebody else was faster.
            Err(error) if error.code == "InvalidActivation" || error.code == "InvalidActivationId" => Ok(()),
            other => other.map(drop),
        }
    }
}

/// None for an activation without a proper id, which nothing could be done about.
fn activation(prefix: &str, activation: SdkActivation) -> Option<Activation> {
    let tag = activation.tags().iter().find(|tag| tag.key() == AGENCY_TAG_KEY).map_or("", SdkTag::value);
    let agency = Activation::agency_of(prefix, activation.description().unwrap_or_default(), tag);
    let count = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
    let time = |date: &DateTime| Timestamp::from_unix_seconds(date.secs());
    Some(Activation {
        agency,
        // Of an activation without limit or end nothing good is assumed.
        registration_limit: count(activation.registration_limit).unwrap_or_default(),
        registrations_count: count(activation.registrations_count).unwrap_or_default(),
        expiration_date: activation.expiration_date.as_ref().map_or(Timestamp::from_unix_seconds(0), time),
        is_expired: activation.expired,
        created_date: activation.created_date.as_ref().map(time),
        node_role: activation.iam_role,
        id: ActivationId::try_from(activation.activation_id?).ok()?,
    })
}
