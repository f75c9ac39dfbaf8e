//! The edge to AWS: who this instance is, what its parameters say, and its one tag.

mod imds;
mod trust;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_ec2::types::Tag;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use hub::{AccountId, AwsError, Ec2InstanceId, MANAGED_INSTANCE_ID_TAG_KEY, ManagedInstanceId, Region};

use crate::proxy::Proxies;

/// Which instance this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The agency's account.
    pub account: AccountId,
    /// Where the instance runs, which need not be the Region of the hub.
    pub region: Region,
    /// The instance.
    pub instance: Ec2InstanceId,
}

/// What this tool needs of AWS.
#[expect(async_fn_in_trait, reason = "one thread runs the tool: no future has to be sent")]
pub trait Aws {
    /// Which instance this is, from the metadata service.
    async fn identity(&self) -> Result<Identity, AwsError>;

    /// The EC2 tag `managedinstanceid` of this instance, as the metadata service shows it: hours late, or, as is the
    /// default, not at all.
    async fn own_tag(&self) -> Option<String>;

    /// The value of a parameter in the instance's own account and Region, decrypted.
    async fn parameter(&self, identity: &Identity, name: &str) -> Result<String, AwsError>;

    /// Sets the EC2 tag `managedinstanceid` of this instance.
    async fn write_tag(&self, identity: &Identity, node: &ManagedInstanceId) -> Result<(), AwsError>;

    /// Goes through these proxies from now on, but to the metadata service.
    fn use_proxies(&self, proxies: &Proxies);
}

/// Clients of the real services. They connect when they are first used.
#[derive(Debug)]
pub struct Clients {
    imds: aws_config::imds::Client,
    metadata: ProviderConfig,
    /// What AWS is called through. A custom endpoint, as of a test, may be `http`.
    http: RefCell<SharedHttpClient>,
    is_endpoint_plain: bool,
    endpoint_port: u16,
    /// The environment says that the metadata service may not be asked.
    is_metadata_disabled: bool,
}

impl Clients {
    /// Clients with the credentials that the metadata service has, and no others. Of the environment they take
    /// endpoints. The files of root's profiles are not read: an agent writes there, and they may name other endpoints.
    ///
    /// # Errors
    /// An endpoint in the environment is not a URL, or there is no certificate where the environment says.
    pub fn new(environment: &BTreeMap<String, String>) -> Result<Self, String> {
        let value = |name: &str| environment.get(name).map(String::as_str).filter(|value| !value.is_empty());
        trust::check(environment)?;
        for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SSM", "AWS_ENDPOINT_URL_EC2"] {
            if let Some(url) = value(name).filter(|url| !is_url(url)) {
                return Err(format!("{name}: expected a URL such as https://ssm.us-east-1.amazonaws.com, got {url:?}"));
            }
        }
        let config = ProviderConfig::without_region()
            .with_behavior_version(Some(BehaviorVersion::latest()))
            .with_http_client(http_client(&ProxyConfig::disabled()));
        let is_ipv6 =
            value("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
        let metadata = if is_ipv6 { "http://[fd00:ec2::254]" } else { "http://169.254.169.254" };
        let metadata = value("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or(metadata);
        let imds = aws_config::imds::Client::builder().configure(&config).endpoint(metadata);
        let imds = imds.map_err(|error| {
            format!("AWS_EC2_METADATA_SERVICE_ENDPOINT: expected a URL such as http://169.254.169.254, got {metadata:?} ({error})")
        });
        let imds = imds?.build();
        let is_endpoint_plain = value("AWS_ENDPOINT_URL").is_some_and(|endpoint| endpoint.starts_with("http://"));
        let port = value("AWS_ENDPOINT_URL").and_then(port_in);
        Ok(Self {
            metadata: config,
            imds,
            http: RefCell::new(http_client(&ProxyConfig::disabled())),
            is_endpoint_plain,
            endpoint_port: port.unwrap_or(if is_endpoint_plain { 80 } else { 443 }),
            is_metadata_disabled: value("AWS_EC2_METADATA_DISABLED")
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }

    /// Endpoints from the environment, everything else said here.
    async fn sdk(&self, operation: &'static str, region: &Region) -> Result<SdkConfig, AwsError> {
        let of_this = |error: AwsError| AwsError { operation, ..error };
        let role = imds::role(&self.imds).await.map_err(of_this)?;
        let credentials = ImdsCredentialsProvider::builder().configure(&self.metadata).imds_client(self.imds.clone());
        let credentials = credentials.profile(role).build().provide_credentials().await;
        let credentials = credentials.map_err(|error| of_this(imds::no_credentials(&error)))?;
        let http = self.http.borrow().clone();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .operation_attempt_timeout(Duration::from_secs(20))
            .build();
        Ok(aws_config::defaults(BehaviorVersion::latest())
            .region(aws_config::Region::new(region.to_string()))
            .credentials_provider(credentials)
            .http_client(http)
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts)
            .profile_files(no_profiles())
            .load()
            .await)
    }
}

/// One empty file: the SDK wants at least one.
#[expect(deprecated, reason = "the new name is in a crate that nothing else here needs")]
fn no_profiles() -> aws_config::profile::profile_file::ProfileFiles {
    use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
    ProfileFiles::builder().with_contents(ProfileFileKind::Config, "").build()
}

/// The SDK's own default reads the proxies from the environment, for the metadata service too.
fn http_client(proxies: &ProxyConfig) -> SharedHttpClient {
    let proxies = proxies.clone();
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.set_proxy_config(Some(proxies.clone()));
        connector.build()
    })
}

impl Aws for Clients {
    async fn identity(&self) -> Result<Identity, AwsError> {
        if self.is_metadata_disabled {
            return Err(imds::disabled());
        }
        imds::identity(&self.imds).await
    }

    async fn own_tag(&self) -> Option<String> {
        imds::own_tag(&self.imds).await
    }

    async fn parameter(&self, identity: &Identity, name: &str) -> Result<String, AwsError> {
        let sdk = self.sdk("ssm:GetParameter", &identity.region).await?;
        parameter(&aws_sdk_ssm::Client::new(&sdk), name).await
    }

    async fn write_tag(&self, identity: &Identity, node: &ManagedInstanceId) -> Result<(), AwsError> {
        let sdk = self.sdk("ec2:CreateTags", &identity.region).await?;
        write_tag(&aws_sdk_ec2::Client::new(&sdk), &identity.instance, node).await
    }

    fn use_proxies(&self, proxies: &Proxies) {
        let proxy = if self.is_endpoint_plain { &proxies.http } else { &proxies.https };
        // One that is not a URL is reported by the agent, which does not get through either.
        let config = proxy.as_deref().and_then(|proxy| ProxyConfig::all(with_scheme(proxy)).ok());
        let config = config.unwrap_or_else(ProxyConfig::disabled);
        let config = match proxies.exceptions(self.endpoint_port) {
            Some(hosts) if proxy.is_some() => config.no_proxy(hosts),
            _ => config,
        };
        *self.http.borrow_mut() = http_client(&config);
    }
}

/// True for what begins as a URL of the web and has no characters that no URL has.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

/// The port that a URL names.
fn port_in(url: &str) -> Option<u16> {
    let (_, rest) = url.split_once("://")?;
    rest.split('/').next()?.rsplit_once(':')?.1.parse().ok()
}

/// Go, and so the agent, takes a proxy without a scheme for `http`.
fn with_scheme(proxy: &str) -> String {
    if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") }
}

async fn parameter(client: &aws_sdk_ssm::Client, name: &str) -> Result<String, AwsError> {
    let call = client.get_parameter().name(name).with_decryption(true).send().await;
    let output = call.map_err(|error| AwsError::from_sdk("ssm:GetParameter", &error))?;
    output.parameter.and_then(|parameter| parameter.value).ok_or_else(|| AwsError {
        operation: "ssm:GetParameter",
        code: "NoValue".to_owned(),
        message: "the answer has no value".to_owned(),
        request_id: None,
        retryable: false,
    })
}

async fn write_tag(
    client: &aws_sdk_ec2::Client,
    instance: &Ec2InstanceId,
    node: &ManagedInstanceId,
) -> Result<(), AwsError> {
    let tag = Tag::builder().key(MANAGED_INSTANCE_ID_TAG_KEY).value(node.as_str()).build();
    let call = client.create_tags().resources(instance.as_str()).tags(tag).send().await;
    call.map(drop).map_err(|error| AwsError::from_sdk("ec2:CreateTags", &error))
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::operation::create_tags::CreateTagsOutput;
    use aws_sdk_ssm::operation::get_parameter::{GetParameterError, GetParameterOutput};
    use aws_sdk_ssm::types::Parameter;
    use aws_sdk_ssm::types::error::ParameterNotFound;
    use aws_smithy_mocks::{MockResponseInterceptor, create_mock_http_client, mock, mock_client};

    use super::*;

    #[tokio::test]
    async fn a_parameter_is_read_decrypted() {
        let found = mock!(aws_sdk_ssm::Client::get_parameter)
            .match_requests(|request| {
                request.name() == Some("/tag-hub/activation") && request.with_decryption() == Some(true)
            })
            .then_output(|| GetParameterOutput::builder().parameter(Parameter::builder().value("{}").build()).build());
        let client = mock_client!(aws_sdk_ssm, [&found]);
        assert_eq!(parameter(&client, "/tag-hub/activation").await.unwrap(), "{}");
    }

    #[tokio::test]
    async fn a_missing_parameter_says_so() {
        let missing = mock!(aws_sdk_ssm::Client::get_parameter).then_error(|| {
            let metadata = aws_sdk_ssm::error::ErrorMetadata::builder().code("ParameterNotFound").build();
            GetParameterError::ParameterNotFound(ParameterNotFound::builder().meta(metadata).build())
        });
        let client = mock_client!(aws_sdk_ssm, [&missing]);
        assert_eq!(parameter(&client, "/tag-hub/activation").await.unwrap_err().code, "ParameterNotFound");
    }

    #[tokio::test]
    async fn the_tag_is_set_on_this_instance_alone() {
        let written = mock!(aws_sdk_ec2::Client::create_tags)
            .match_requests(|request| {
                let [tag] = request.tags() else { return false };
                request.resources() == ["i-0123456789abcdef0"]
                    && (tag.key(), tag.value()) == (Some("managedinstanceid"), Some("mi-0123456789abcdef0"))
            })
            .then_output(|| CreateTagsOutput::builder().build());
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_ec2::config::Region::new("us-west-2"))
            .credentials_provider(aws_sdk_ec2::config::Credentials::new("222222222222", "secret", None, None, "test"))
            .http_client(create_mock_http_client())
            .interceptor(MockResponseInterceptor::new().with_rule(&written))
            .build();
        let client = aws_sdk_ec2::Client::from_conf(config);
        let (instance, node) = ("i-0123456789abcdef0".parse().unwrap(), "mi-0123456789abcdef0".parse().unwrap());
        write_tag(&client, &instance, &node).await.unwrap();
        assert_eq!(written.num_calls(), 1);
    }
}
