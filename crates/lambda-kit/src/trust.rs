//! Which certificate authorities the AWS clients trust.

use std::path::Path;

use aws_smithy_http_client::HttpClientError;
use aws_smithy_http_client::tls::TrustStore;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// The variables that name one file of certificates, the more important one first: the AWS CLI reads the first, OpenSSL
/// the second.
const BUNDLE_VARIABLES: [&str; 2] = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"];
/// The variable that names a folder of them.
const FOLDER_VARIABLE: &str = "SSL_CERT_DIR";
/// Where a system keeps all certificates in one file: Amazon Linux, and so Lambda, then Debian.
const BUNDLES: [&str; 2] = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];

/// Why there is no HTTPS client.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("{variable}: {path:?} cannot be read: {source}")]
    Unreadable {
        /// The variable that names the file.
        variable: &'static str,
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The file has nothing to trust in it.
    #[error("{variable}: expected certificates in PEM form in {path:?}, found none")]
    NoCertificates {
        /// The variable that names the file.
        variable: &'static str,
        /// The file.
        path: String,
    },
    /// The HTTP client refuses the certificates.
    #[error(transparent)]
    Client(#[from] HttpClientError),
}

/// What the clients trust: the bundle that the environment names, or else the system's.
///
/// The system's folder of certificates beside its bundle holds the same ones again, each in a file of its own, and
/// reading them all takes longer than the rest of the start. Where there is no bundle, or the environment names a
/// folder, the SDK looks for certificates as it always does.
pub(crate) fn trust_store(lookup: impl Fn(&str) -> Option<String>) -> Result<TrustStore, TrustError> {
    let set = |variable| lookup(variable).filter(|path| !path.is_empty());
    if set(BUNDLE_VARIABLES[0]).is_none() && set(FOLDER_VARIABLE).is_some() {
        return Ok(TrustStore::default());
    }
    for variable in BUNDLE_VARIABLES {
        let Some(path) = set(variable) else { continue };
        return match std::fs::read(&path) {
            Ok(pem) => of(&pem).ok_or(TrustError::NoCertificates { variable, path }),
            Err(source) => Err(TrustError::Unreadable { variable, path, source }),
        };
    }
    Ok(system(&BUNDLES).unwrap_or_default())
}

/// The first of these bundles that has certificates.
fn system(bundles: &[impl AsRef<Path>]) -> Option<TrustStore> {
    bundles.iter().find_map(|path| of(&std::fs::read(path).ok()?))
}

/// The certificates in a bundle. None if there are none.
///
/// The HTTP client panics at the first certificate that it cannot parse, and a bundle of a hundred may well have one
/// with an oddity: such a certificate is left out, as the SDK leaves it out of the system's.
fn of(pem: &[u8]) -> Option<TrustStore> {
    let usable = |cert: &CertificateDer<'_>| webpki::anchor_from_trusted_cert(cert).is_ok();
    let mut kept = String::new();
    for cert in CertificateDer::pem_slice_iter(pem).flatten().filter(usable) {
        kept.push_str("-----BEGIN CERTIFICATE-----\n");
        STANDARD.encode_string(&cert, &mut kept);
        kept.push_str("\n-----END CERTIFICATE-----\n");
    }
    (!kept.is_empty()).then(|| TrustStore::empty().with_pem_certificate(kept))
}
