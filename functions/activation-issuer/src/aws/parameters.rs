//! The agencies' parameters, with the writer role of each.

use aws_sdk_ssm::Client as SsmClient;
use aws_sdk_ssm::config::{Builder, Credentials, Region as SdkRegion};
use aws_sdk_ssm::types::{ParameterTier, ParameterType};
use aws_sdk_sts::Client as StsClient;
use hub::{AccountId, AwsError, Region, Timestamp};

use super::unexpected;
use crate::activation::{Parameter, StoredActivation};
use crate::config::Config;
use crate::ports::{Agencies, Store};

/// What the trail of an agency calls the function.
const SESSION_NAME: &str = "tag-hub-activation-issuer";
/// What the history names for a parameter without a key of the agency's.
const DEFAULT_KEY: &str = "alias/aws/ssm";
/// The largest page: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameterHistory.html>.
const VERSIONS_PER_PAGE: i32 = 50;
/// The shortest there is, and as long as the longest invocation.
const SESSION_SECONDS: i32 = 900;

/// The parameters of all agencies.
#[derive(Debug, Clone)]
pub struct AgencyParameters {
    writer_role_name: String,
    parameter_name: String,
    sts: StsClient,
    /// One client for all agencies and Regions: they share its connections and its certificates. Its own
    /// credentials are never used here.
    ssm: SsmClient,
}

/// The same, in the partition that the function runs in.
#[derive(Debug, Clone)]
pub struct PartitionParameters<'a> {
    parameters: &'a AgencyParameters,
    partition: String,
}

/// The parameters of one agency.
#[derive(Debug)]
pub struct OpenParameters<'a> {
    parameters: &'a AgencyParameters,
    credentials: Credentials,
}

impl AgencyParameters {
    /// Parameters that these clients reach.
    pub fn new(config: &Config, sts: StsClient, ssm: SsmClient) -> Self {
        let (writer_role_name, parameter_name) = (config.writer_role_name.clone(), config.parameter_name.clone());
        Self { writer_role_name, parameter_name, sts, ssm }
    }

    /// The same in a partition.
    pub fn in_partition(&self, partition: String) -> PartitionParameters<'_> {
        PartitionParameters { parameters: self, partition }
    }
}

impl<'a> Agencies for PartitionParameters<'a> {
    type Store = OpenParameters<'a>;

    async fn open(&self, agency: &AccountId) -> Result<OpenParameters<'a>, AwsError> {
        const OPERATION: &str = "sts:AssumeRole";
        let Self { parameters, partition } = self;
        let output = parameters
            .sts
            .assume_role()
            .role_arn(format!("arn:{partition}:iam::{agency}:role/{}", parameters.writer_role_name))
            .role_session_name(SESSION_NAME)
            .external_id(agency.as_str())
            .duration_seconds(SESSION_SECONDS)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(OPERATION, &error))?;
        let taken =
            output.credentials.ok_or_else(|| unexpected(OPERATION, "the answer has no credentials".to_owned()))?;
        // Without their end: they last as long as the longest invocation, and are dropped with the agency.
        let credentials = Credentials::new(
            taken.access_key_id,
            taken.secret_access_key,
            Some(taken.session_token),
            None,
            "activation-issuer",
        );
        Ok(OpenParameters { parameters, credentials })
    }
}

impl OpenParameters<'_> {
    /// The agency's own key of the parameter, if it has one: a write that names none takes the account's default key.
    async fn own_key(&self, region: &Region) -> Result<Option<String>, AwsError> {
        const OPERATION: &str = "ssm:GetParameterHistory";
        let AgencyParameters { ssm, parameter_name, .. } = self.parameters;
        let mut latest: Option<(i64, Option<String>)> = None;
        let mut token = None;
        loop {
            let read =
                ssm.get_parameter_history().name(parameter_name).max_results(VERSIONS_PER_PAGE).set_next_token(token);
            let page = match read.customize().config_override(self.place(region)).send().await {
                Ok(page) => page,
                Err(error) => {
                    let error = AwsError::from_sdk(OPERATION, &error);
                    return if error.code == "ParameterNotFound" { Ok(None) } else { Err(error) };
                }
            };
            for version in page.parameters.unwrap_or_default() {
                if latest.as_ref().is_none_or(|(number, _)| version.version > *number) {
                    latest = Some((version.version, version.key_id));
                }
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(latest.and_then(|(_, key)| key).filter(|key| key != DEFAULT_KEY && !key.is_empty()));
            }
        }
    }

    /// The agency's credentials and the Region, for one call.
    fn place(&self, region: &Region) -> Builder {
        Builder::new().region(SdkRegion::new(region.to_string())).credentials_provider(self.credentials.clone())
    }
}

impl Store for OpenParameters<'_> {
    async fn read(&self, region: &Region) -> Result<Parameter, AwsError> {
        let AgencyParameters { ssm, parameter_name, .. } = self.parameters;
        let read = ssm.get_parameter().name(parameter_name).with_decryption(true);
        let output = match read.customize().config_override(self.place(region)).send().await {
            Ok(output) => output,
            Err(error) => {
                let error = AwsError::from_sdk("ssm:GetParameter", &error);
                return if error.code == "ParameterNotFound" { Ok(Parameter::Missing) } else { Err(error) };
            }
        };
        let Some(parameter) = output.parameter else { return Ok(Parameter::Missing) };
        let is_secret = parameter.r#type == Some(ParameterType::SecureString);
        let stored =
            parameter.value.as_deref().filter(|_| is_secret).and_then(|value| StoredActivation::from_value(value).ok());
        let modified = parameter.last_modified_date.map(|date| Timestamp::from_unix_seconds(date.secs()));
        Ok(stored.map_or(Parameter::Malformed, |stored| Parameter::Holds { stored, modified }))
    }

    async fn write(&self, region: &Region, stored: &StoredActivation) -> Result<(), AwsError> {
        let AgencyParameters { ssm, parameter_name, .. } = self.parameters;
        let write = ssm
            .put_parameter()
            .name(parameter_name)
            .value(stored.to_value())
            .r#type(ParameterType::SecureString)
            .tier(ParameterTier::Standard)
            .set_key_id(self.own_key(region).await?)
            .overwrite(true);
        match write.customize().config_override(self.place(region)).send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let mut error = AwsError::from_sdk("ssm:PutParameter", &error);
                // The service quotes a value that it does not take.
                error.message = error.message.replace(stored.activation_code.expose(), "(hidden)");
                Err(error)
            }
        }
    }
}
