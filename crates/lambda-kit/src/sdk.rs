//! The configuration that all AWS clients of a function share.

use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Connector, HttpClientError};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};

use crate::trust::{TrustError, trust_store};

/// Every client's time for a connection: the one connector knows no other.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A loader with the HTTPS client that all clients of the function share. Retries and timeouts are each function's own;
/// the timeout of a connection is not, and one that is set does nothing.
///
/// `lookup` gives the value of an environment variable: it says which certificates are trusted. The proxy is the one
/// that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name, as in the SDK's own client.
///
/// # Errors
/// The bundle of certificates that the environment names cannot be used.
pub fn sdk_loader(lookup: impl Fn(&str) -> Option<String>) -> Result<ConfigLoader, TrustError> {
    let client = https_client(trust_store(lookup)?)?;
    Ok(aws_config::defaults(BehaviorVersion::latest()).http_client(client))
}

/// One client with one pool of connections.
///
/// The SDK's own client parses all certificates once for each service, only to see whether that works, and once more
/// for each different timeout. This one parses them once.
fn https_client(trusted: TrustStore) -> Result<SharedHttpClient, HttpClientError> {
    let connector = Connector::builder()
        .connector_settings(HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(TlsContext::builder().with_trust_store(trusted).build()?)
        .build();
    let connector = SharedHttpConnector::new(connector);
    Ok(http_client_fn(move |_, _| connector.clone()))
}
