//! The configuration that all AWS clients of a function share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Connector, HttpClientError};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector, http_client_fn};

use crate::trust::{Bundle, TrustError, bundle};

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
    let connector = match bundle(lookup)? {
        Some(bundle) => trusting(&bundle)?,
        None => connector(TrustStore::default())?,
    };
    // One connector with one pool of connections. The SDK's own client parses all certificates once for each service,
    // only to see whether that works, and once more for each different timeout.
    let connector = SharedHttpConnector::new(connector);
    Ok(aws_config::defaults(BehaviorVersion::latest()).http_client(http_client_fn(move |_, _| connector.clone())))
}

/// A connector that trusts a bundle, or what can be parsed of it.
///
/// The client panics at the first certificate that it cannot parse, and in a bundle of a hundred and forty there may be
/// one with an oddity. To look at each certificate first would take as long as the client itself takes, in every start.
/// So that is done only after a panic, which the standard error tells too.
fn trusting(bundle: &Bundle) -> Result<Connector, TrustError> {
    if let Ok(connector) = catch_unwind(AssertUnwindSafe(|| connector(bundle.as_it_is()))) {
        return Ok(connector?);
    }
    let (usable, left_out_count) = bundle.usable()?;
    tracing::warn!(path = bundle.path(), left_out_count, "ignored certificates that cannot be parsed");
    Ok(connector(usable)?)
}

fn connector(trusted: TrustStore) -> Result<Connector, HttpClientError> {
    Ok(Connector::builder()
        .connector_settings(HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(TlsContext::builder().with_trust_store(trusted).build()?)
        .build())
}
