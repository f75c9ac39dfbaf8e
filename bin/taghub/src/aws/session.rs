//! Credentials, Region and clients for one account.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use aws_config::default_provider::region::DefaultRegionChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileSet};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use hub::{AccountId, AwsError, Region};

use crate::app::App;
use crate::aws::credentials::Kept;
use crate::failure::{Exit, Failure};

/// How long one attempt of a call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an invocation of a function may take: Lambda's 15 minutes and some more.
const INVOKE_TIMEOUT: Duration = Duration::from_secs(910);

/// Credentials and a Region.
#[derive(Debug, Clone)]
pub struct Session {
    /// The SDK's configuration.
    pub config: SdkConfig,
    /// Where calls go.
    pub region: Region,
    /// The profile that was asked for.
    pub profile: Option<String>,
    verbose: bool,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account: AccountId,
    /// The ARN of the user or session.
    pub arn: String,
}

impl Session {
    /// Opens a session by AWS's own chain of credentials. `region` goes before what the profile says.
    ///
    /// # Errors
    /// Without credentials, and without a Region.
    pub async fn open(app: &App, profile: Option<&str>, region: Option<&Region>) -> Result<Self, Failure> {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(CALL_TIMEOUT).build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(5))
            .timeout_config(timeouts);
        let mut region = region.map(|region| aws_config::Region::new(region.as_str().to_owned()));
        if let Some(profile) = profile {
            if region.is_none() {
                region = DefaultRegionChain::builder().profile_name(profile).build().region().await;
            }
            // A profile that was named goes before keys in the environment, as in the AWS CLI.
            let provider = ProviderConfig::without_region().with_region(region.clone());
            let chosen = ProfileFileCredentialsProvider::builder().profile_name(profile).configure(&provider);
            loader = loader.profile_name(profile).credentials_provider(chosen.build());
        }
        if let Some(region) = region {
            loader = loader.region(region);
        }
        if let Some(url) = &app.global.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let config = loader.load().await;
        let named = profile.map(str::to_owned).or_else(|| (app.lookup)("AWS_PROFILE"));
        let Some(provider) = config.credentials_provider() else {
            return Err(no_credentials(named.as_deref(), "there is no provider", false));
        };
        let provider = SharedCredentialsProvider::new(Kept::new(provider, app.clock));
        if let Err(error) = provider.provide_credentials().await {
            let needs_cli = only_the_cli_reads(named.as_deref().unwrap_or("default")).await;
            return Err(no_credentials(named.as_deref(), &chain(&error), needs_cli));
        }
        let config = config.into_builder().credentials_provider(provider).build();
        let region = config.region().map(|region| region.as_ref().parse::<Region>());
        let region = match region {
            Some(Ok(region)) => region,
            Some(Err(problem)) => return Err(Failure::usage(format!("the Region is not one: {problem}"))),
            None => return Err(Failure::usage("no AWS Region").help("add --region, or set AWS_REGION")),
        };
        Ok(Self { config, region, profile: named, verbose: app.global.verbose })
    }

    /// Who calls.
    ///
    /// # Errors
    /// If STS does not say.
    pub async fn caller(&self) -> Result<Caller, Failure> {
        let mut builder = aws_sdk_sts::config::Builder::from(&self.config);
        if let Some(tracer) = self.tracer() {
            builder = builder.interceptor(tracer);
        }
        let client = aws_sdk_sts::Client::from_conf(builder.build());
        let answer = client.get_caller_identity().send().await;
        let answer = answer.map_err(|error| Failure::aws(&AwsError::from_sdk("sts:GetCallerIdentity", &error), ""))?;
        let account = answer.account().and_then(|account| account.parse().ok());
        let account =
            account.ok_or_else(|| Failure::new(Exit::Aws, "unexpected", "sts:GetCallerIdentity named no account"))?;
        Ok(Caller { account, arn: answer.arn().unwrap_or_default().to_owned() })
    }

    /// Systems Manager.
    pub fn ssm(&self) -> aws_sdk_ssm::Client {
        let mut builder = aws_sdk_ssm::config::Builder::from(&self.config);
        if let Some(tracer) = self.tracer() {
            builder = builder.interceptor(tracer);
        }
        aws_sdk_ssm::Client::from_conf(builder.build())
    }

    /// What a parameter holds, if it is there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn parameter(&self, name: &str) -> Result<Option<String>, Failure> {
        match self.ssm().get_parameter().name(name).send().await {
            Ok(answer) => Ok(Some(answer.parameter.and_then(|parameter| parameter.value).unwrap_or_default())),
            Err(error) => {
                let error = AwsError::from_sdk("ssm:GetParameter", &error);
                if error.code == "ParameterNotFound" { Ok(None) } else { Err(Failure::aws(&error, name)) }
            }
        }
    }

    /// The Resource Groups Tagging API.
    pub fn tagging(&self) -> aws_sdk_resourcegroupstagging::Client {
        let mut builder = aws_sdk_resourcegroupstagging::config::Builder::from(&self.config);
        if let Some(tracer) = self.tracer() {
            builder = builder.interceptor(tracer);
        }
        aws_sdk_resourcegroupstagging::Client::from_conf(builder.build())
    }

    /// EC2, in a Region.
    pub fn ec2(&self, region: &Region) -> aws_sdk_ec2::Client {
        let region = aws_config::Region::new(region.as_str().to_owned());
        let mut builder = aws_sdk_ec2::config::Builder::from(&self.config).region(region);
        if let Some(tracer) = self.tracer() {
            builder = builder.interceptor(tracer);
        }
        aws_sdk_ec2::Client::from_conf(builder.build())
    }

    /// Lambda, with the time that an invocation may take.
    pub fn lambda(&self) -> aws_sdk_lambda::Client {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(INVOKE_TIMEOUT).build();
        // Silence is no stall: the function is at work.
        let quiet = aws_sdk_lambda::config::StalledStreamProtectionConfig::disabled();
        let mut builder = aws_sdk_lambda::config::Builder::from(&self.config)
            .timeout_config(timeouts)
            .stalled_stream_protection(quiet);
        if let Some(tracer) = self.tracer() {
            builder = builder.interceptor(tracer);
        }
        aws_sdk_lambda::Client::from_conf(builder.build())
    }

    /// Shows each call, with `--verbose`.
    pub fn tracer(&self) -> Option<Tracer> {
        self.verbose.then_some(Tracer)
    }
}

/// The profiles of the AWS configuration that name an account: by single sign-on, or by a role in it.
pub async fn profiles_of(account: &AccountId) -> Vec<String> {
    // What cannot be read names nothing; whoever needs a profile is told to name it.
    profiles().await.map_or_else(Vec::new, |profiles| naming(&profiles, account))
}

async fn profiles() -> Option<ProfileSet> {
    let environment = aws_types::os_shim_internal::Env::real();
    let files = aws_types::os_shim_internal::Fs::real();
    let default = aws_runtime::env_config::file::EnvConfigFiles::default();
    aws_config::profile::load(&files, &environment, &default, None).await.ok()
}

/// True for a profile that asks for a code of an MFA device, or that `aws login` signed in to: the SDK reads neither.
async fn only_the_cli_reads(profile: &str) -> bool {
    let profiles = profiles().await;
    let known = profiles.as_ref().and_then(|profiles| profiles.get_profile(profile));
    known.is_some_and(|known| ["mfa_serial", "login_session"].iter().any(|name| known.get(name).is_some()))
}

fn naming(profiles: &ProfileSet, account: &AccountId) -> Vec<String> {
    let role = format!(":iam::{account}:role/");
    let names_it = |name: &&str| {
        profiles.get_profile(name).is_some_and(|profile| {
            profile.get("sso_account_id") == Some(account.as_str())
                || profile.get("role_arn").is_some_and(|arn| arn.contains(&role))
        })
    };
    let mut found: Vec<String> = profiles.profiles().filter(names_it).map(str::to_owned).collect();
    found.sort();
    found
}

fn no_credentials(profile: Option<&str>, why: &str, needs_cli: bool) -> Failure {
    let tried = match profile {
        Some(profile) => format!("tried the environment and profile \"{profile}\": {why}"),
        None => format!("tried the environment and the default profile: {why}"),
    };
    let login = profile.map_or("aws sso login".to_owned(), |profile| format!("aws sso login --profile {profile}"));
    let help = if needs_cli {
        let profile = profile.unwrap_or("default");
        format!(
            r#"eval "$(aws configure export-credentials --profile {profile} --format env)", then without --profile"#
        )
    } else if why.to_lowercase().contains("sso") || why.contains("token") {
        login
    } else {
        "set AWS_PROFILE or add --profile; with IAM Identity Center run aws sso login first".to_owned()
    };
    Failure::new(Exit::Denied, "no-credentials", "no AWS credentials").detail(tried).help(help)
}

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !words.iter().any(|word| word.contains(&text)) {
            words.push(text);
        }
        source = cause.source();
    }
    words.join(": ")
}

/// Prints a line about each call, on standard error.
#[derive(Debug, Clone, Copy)]
pub struct Tracer;

#[derive(Debug)]
struct Began(Instant);

impl Storable for Began {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Tracer {
    fn name(&self) -> &'static str {
        "Tracer"
    }

    fn read_before_execution(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(Began(Instant::now()));
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let name =
            config.load::<Metadata>().map_or_else(String::new, |call| format!("{} {}", call.service(), call.name()));
        let time = config.load::<Began>().map_or(0, |began| began.0.elapsed().as_millis());
        let attempts = config.load::<RequestAttempts>().map_or(1, RequestAttempts::attempts);
        let attempts = if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
        let response = context.response();
        let id = response.and_then(|response| {
            let headers = response.headers();
            headers.get("x-amzn-requestid").or_else(|| headers.get("x-amz-request-id"))
        });
        let status = response.map_or_else(|| "no answer".to_owned(), |response| response.status().to_string());
        // Nobody may be reading, which is no reason to stop.
        let _ = writeln!(io::stderr(), "{name}  {status}  {time} ms  {attempts}  {}", id.unwrap_or("no request id"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_sign_in_says_how_to_sign_in() {
        let failure = no_credentials(Some("central"), "the SSO token has expired", false);
        insta::assert_snapshot!(failure.to_text(), @r#"
        error: no AWS credentials
          tried the environment and profile "central": the SSO token has expired
          help: aws sso login --profile central
        "#);
        assert_eq!(failure.exit, Exit::Denied);
        let help = no_credentials(Some("ops"), "an AccessDenied", true).help.unwrap();
        assert!(help.starts_with(r#"eval "$(aws configure export-credentials --profile ops --format env)""#), "{help}");
        assert!(no_credentials(None, "nothing provided any", false).help.unwrap().contains("--profile"));
    }
}
