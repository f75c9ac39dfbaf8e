//! The agencies' parameters, with the writer role of each.

use aws_sdk_ssm::Client as SsmClient;
use aws_sdk_ssm::config::{Builder, Credentials, Region as SdkRegion};
use aws_sdk_ssm::types::{ParameterTier, ParameterType};
use aws_sdk_sts::Client as StsClient;
use hub::{AccountId, AwsError, FunctionArn, Invalid, Region, Timestamp, WireError};

use super::unexpected;
use crate::activation::{Parameter, StoredActivation};
use crate::config::Config;
use crate::handler::{Agencies, Store};

/// What the trail of an agency calls the function.
const SESSION_NAME: &str = "tag-hub-activation-issuer";
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

    /// In the partition of the function with this ARN.
    ///
    /// # Errors
    /// Where that is no ARN of a function.
    pub fn in_partition_of(&self, function_arn: &str) -> Result<PartitionParameters<'_>, WireError> {
        let arn: FunctionArn = function_arn.parse().map_err(|error: Invalid| WireError {
            path: "context.invokedFunctionArn".to_owned(),
            problem: error.to_string(),
        })?;
        Ok(PartitionParameters { parameters: self, partition: arn.partition })
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
        let stored = parameter.value.as_deref().filter(|_| is_secret).and_then(StoredActivation::from_value);
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
