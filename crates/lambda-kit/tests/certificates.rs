//! Which certificates the clients trust, tried on a server with a private certificate authority.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::http::{HttpClient as _, HttpConnector as _, HttpConnectorSettings};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use lambda_kit::{TrustError, sdk_loader};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A certificate authority that no system knows.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Serves every request with an empty answer, under a certificate of this authority. Gives the port.
    async fn serve(&self) -> u16 {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust this server ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        });
        port
    }
}

fn file(content: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

async fn config(variables: &[(&str, &Path)]) -> Result<SdkConfig, TrustError> {
    let lookup = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, path)| path.to_str().unwrap().to_owned())
    };
    Ok(sdk_loader(lookup)?.empty_test_environment().load().await)
}

/// The status of an answer, or why there is none.
async fn get(config: &SdkConfig, port: u16) -> Result<u16, String> {
    let components = RuntimeComponentsBuilder::for_tests().build().unwrap();
    let settings = HttpConnectorSettings::builder().build();
    let connector = config.http_client().unwrap().http_connector(&settings, &components);
    let request = HttpRequest::get(format!("https://localhost:{port}/")).unwrap();
    let response = connector.call(request).await.map_err(|error| format!("{error:?}"))?;
    Ok(response.status().as_u16())
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_the_environment_names_it() {
    let (authority, other) = (Authority::new(), Authority::new());
    let port = authority.serve().await;
    let (bundle, foreign) = (file(authority.0.pem().as_bytes()), file(other.0.pem().as_bytes()));
    for variables in [
        &[("AWS_CA_BUNDLE", bundle.path())][..],
        &[("SSL_CERT_FILE", bundle.path())],
        &[("SSL_CERT_FILE", foreign.path()), ("AWS_CA_BUNDLE", bundle.path())],
        &[("AWS_CA_BUNDLE", bundle.path()), ("SSL_CERT_DIR", Path::new("/nowhere"))],
    ] {
        assert_eq!(get(&config(variables).await.unwrap(), port).await, Ok(204), "{variables:?}");
    }
    for variables in [&[][..], &[("AWS_CA_BUNDLE", foreign.path())], &[("SSL_CERT_FILE", foreign.path())]] {
        let refused = get(&config(variables).await.unwrap(), port).await.unwrap_err();
        assert!(refused.contains("InvalidCertificate"), "{variables:?}: {refused}");
    }
}

#[tokio::test]
async fn what_is_odd_in_a_bundle_is_left_out() {
    let authority = Authority::new();
    let port = authority.serve().await;
    let odd = "# a heading\n-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n\
               -----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    let bundle = file(format!("{odd}{}{odd}", authority.0.pem()).as_bytes());
    assert_eq!(get(&config(&[("AWS_CA_BUNDLE", bundle.path())]).await.unwrap(), port).await, Ok(204));
}

#[tokio::test]
async fn a_bundle_that_is_named_and_cannot_be_used_is_an_error() {
    let empty = file(b"no certificates here\n");
    let broken = file(b"-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n");
    for variable in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        let error = config(&[(variable, Path::new("/nowhere/bundle.pem"))]).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{variable}: \"/nowhere/bundle.pem\" cannot be read: ")), "{error}");
        for file in [&empty, &broken] {
            let error = config(&[(variable, file.path())]).await.unwrap_err().to_string();
            let path = file.path().to_str().unwrap();
            assert_eq!(error, format!("{variable}: expected certificates in PEM form in {path:?}, found none"));
        }
    }
}
